"""
Tests for L{sniproxy.tls.shares}.
"""

from __future__ import annotations

from typing import Any

from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.tls import native, shares
from sniproxy.tls.contexts import ClientContext, ServerContext
from sniproxy.tls.policies import ClientPolicy, ServerPolicy
from sniproxy.tls.shares import AGREED, CONFIRMED, DOUBTED, EVERY, KeyShares, offered
from tests.support import pki
from tests.tls.pump import NOW, Disk, shake

CA = pki.authority("CA")
X25519, SECP256R1, SECP384R1, X25519MLKEM768 = 0x001D, 0x0017, 0x0018, 0x11EC
USUAL = (X25519MLKEM768, X25519)
"""
What OpenSSL sends shares of by itself.
"""
SERVER_HELLO, RETRY = 2, bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")
"""
The random of a HelloRetryRequest (RFC 8446 section 4.1.3).
"""


class SharesCase(SynchronousTestCase):
    """
    A client with a clock, and upstreams that want a group.
    """

    def setUp(self) -> None:
        self.disk = Disk()
        self.now = NOW
        self.client = self.context()
        self.shares = KeyShares(self.client)
        self.groups = shares.offered(self.hello(self.client.connection()))[0]

    def context(self, **words: Any) -> ClientContext:
        """
        Of a client.
        """
        return self.disk.client(ClientPolicy(**words), lambda: self.now)

    def server(self, curves: str = "auto", protocol: str = "TLSv1.3") -> ServerContext:
        """
        An upstream.
        """
        identity = (self.disk.add("s", pki.leaf(CA, "s.example.com")),)
        return self.disk.server(ServerPolicy(identity, protocols=(protocol,), curves=curves))

    def hello(self, connection: SSL.Connection) -> bytes:
        """
        What a connection begins with.
        """
        self.assertRaises(SSL.WantReadError, connection.do_handshake)
        return connection.bio_read(1 << 16)

    def visit(
        self, server: ServerContext, key: str = "peer", *, remembered: KeyShares | None = None, good: bool = True
    ) -> tuple[tuple[int, ...], bool]:
        """
        One connection, from offer to note.

        @param good: whether the upstream is accepted.
        @return: which shares were sent at first, and whether the upstream has asked for another.
        """
        known = self.shares if remembered is None else remembered
        one, other = self.client.connection(), server.connection()
        known.offer(one, key)
        hello = self.hello(one)
        groups, sent = offered(hello)
        self.assertEqual(groups, self.groups)  # whatever is remembered, nothing is kept from the upstream
        other.bio_write(hello)
        self.assertRaises(SSL.WantReadError, other.do_handshake)
        answer = other.bio_read(1 << 16)
        self.assertEqual(answer[5], SERVER_HELLO)
        one.bio_write(answer)
        shake(one, other)
        (known.note if good else known.forget)(one, key)
        return sent, answer[11:43] == RETRY


class KeySharesTests(SharesCase):
    """
    L{KeyShares}.
    """

    def learn(self, server: ServerContext, key: str = "peer", *, remembered: KeyShares | None = None) -> None:
        """
        Meet an upstream as often as it takes.
        """
        for _ in range(AGREED):
            self.assertEqual(self.visit(server, key, remembered=remembered)[0], USUAL)

    def test_last_choice(self) -> None:
        """
        At first OpenSSL chooses, then the upstream has.
        """
        for curves, group, again in (
            ("X25519", X25519, False),
            ("X25519MLKEM768", X25519MLKEM768, False),
            ("prime256v1", SECP256R1, True),
            ("secp384r1", SECP384R1, True),
            ("auto", X25519MLKEM768, False),
        ):
            server, remembered = self.server(curves), KeyShares(self.client)
            visits = [self.visit(server, remembered=remembered) for _ in range(AGREED + 3)]
            self.assertEqual(visits, [(USUAL, again)] * AGREED + [((group,), False)] * 3, curves)

    def test_older(self) -> None:
        """
        A server of TLS 1.2 chooses too.
        """
        server = self.server("prime256v1", "TLSv1.2")
        self.learn(server)
        self.assertEqual(self.visit(server), ((SECP256R1,), False))

    def test_each_its_own(self) -> None:
        """
        What one upstream chose is nothing to another.
        """
        self.learn(self.server("X25519"), "a")
        self.assertEqual(self.visit(self.server("prime256v1"), "b"), (USUAL, True))
        self.assertEqual(self.visit(self.server("X25519"), "a"), ((X25519,), False))

    def test_another_mind(self) -> None:
        """
        An upstream that wants another group gets it, and then OpenSSL chooses the shares for long.
        """
        old, new = self.server("X25519"), self.server()
        self.learn(old)
        self.assertEqual(self.visit(new), ((X25519,), True))
        for _ in range(AGREED):
            self.assertEqual([self.visit(old), self.visit(new)], [(USUAL, False)] * 2)
        self.now += DOUBTED
        self.learn(new)
        self.assertEqual(self.visit(new), ((X25519MLKEM768,), False))

    def test_asked_anew(self) -> None:
        """
        A server that takes the share it finds, though it knows a better group, is met soon, and is not weakened after.
        """
        old, new = self.server("X25519"), self.server("X25519MLKEM768:X25519")
        self.learn(old)
        sent = [self.visit(new)[0] for _ in range(3 * EVERY)]
        self.assertEqual(sent, [(X25519,)] * (EVERY - 1) + [USUAL] * (2 * EVERY + 1))

    def test_agreed_anew(self) -> None:
        """
        One connection in so many asks, and if it agrees all goes on.
        """
        server = self.server("X25519")
        self.learn(server)
        sent = [self.visit(server)[0] for _ in range(2 * EVERY)]
        self.assertEqual(sent, ([(X25519,)] * (EVERY - 1) + [USUAL]) * 2)

    def test_mixed(self) -> None:
        """
        Several behind one address that do not choose alike are all sent what OpenSSL sends.
        """
        several = [self.server("X25519"), self.server("X25519MLKEM768:X25519")]
        visits = [self.visit(several[turn % 5 == 4]) for turn in range(5 * AGREED)]
        self.assertEqual(visits, [(USUAL, False)] * len(visits))

    def test_not_for_long(self) -> None:
        """
        After a while without it being confirmed an upstream may choose freely again; a connection that was under way
        with one share does not confirm it.
        """
        server = self.server("X25519")
        self.learn(server)
        one, other = self.client.connection(), server.connection()
        self.shares.offer(one, "peer")
        self.now += CONFIRMED - 1
        self.assertEqual(self.visit(server), ((X25519,), False))
        self.now += 1
        shake(one, other)
        self.shares.note(one, "peer")
        self.assertEqual(self.visit(server), (USUAL, False))
        self.assertEqual(self.visit(server), ((X25519,), False))

    def test_failed(self) -> None:
        """
        If a handshake with one share failed OpenSSL chooses for long; if one with OpenSSL's failed nothing changes.
        """
        server = self.server("X25519")
        self.learn(server)
        self.assertEqual(self.visit(server, good=False), ((X25519,), False))
        for _ in range(2 * AGREED):
            self.assertEqual(self.visit(server), (USUAL, False))
        self.assertEqual(self.visit(server, good=False), (USUAL, False))
        self.now += DOUBTED
        self.learn(server)
        self.assertEqual(self.visit(server), ((X25519,), False))

    def test_bounded(self) -> None:
        """
        What was learnt first is forgotten first.
        """
        server, remembered = self.server("X25519"), KeyShares(self.client, limit=2)
        for key in ("a", "b", "c"):
            self.learn(server, key, remembered=remembered)
        self.assertEqual(
            [self.visit(server, key, remembered=remembered)[0] for key in ("c", "b", "a")],
            [(X25519,), (X25519,), USUAL],
        )

    def test_named(self) -> None:
        """
        Groups that were named are left alone.
        """
        self.assertIsNone(KeyShares(self.context(curves="X25519MLKEM768:X25519")).listed("x25519"))

    def test_nothing_to_share(self) -> None:
        """
        There is nothing to say to OpenSSL where no key shares are sent, and where a group is not on offer.
        """
        self.assertIsNone(KeyShares(self.context(protocols=("TLSv1.2",))).listed("secp256r1"))
        self.assertIsNone(self.shares.listed("ffdhe8192"))
        self.assertIsNotNone(self.shares.listed("ffdhe2048"))

    def test_another_openssl(self) -> None:
        """
        An OpenSSL that does not know how shares are asked for, or offers other groups then, is left alone.
        """
        making = native.group_list
        for listed in ("*X25519", "X25519MLKEM768:X25519", "nothing:*X25519"):
            self.patch(native, "group_list", lambda _, listed=listed: making(listed))
            self.assertIsNone(KeyShares(self.client).listed("x25519"), listed)

    def test_refused(self) -> None:
        """
        If OpenSSL no longer takes what it took, everything is as usual.
        """
        server = self.server("X25519")
        self.learn(server)
        self.patch(native, "_set_groups", lambda *_: 0)
        self.assertEqual(self.visit(server), (USUAL, False))


class OfferedTests(SynchronousTestCase):
    """
    L{offered}.
    """

    def test_written(self) -> None:
        """
        Groups and shares are found wherever they stand.
        """
        groups = bytes.fromhex("000a 0006 0004 001d 0017")
        key_share = bytes.fromhex("0033 000d 000b 001d 0002 aaaa 0017 0001 bb")
        other = bytes.fromhex("0000 0003 010203")
        for extensions in (groups + key_share, key_share + groups, other + groups + other + key_share + other):
            begin = bytes(43) + b"\x02ss" + bytes.fromhex("0002 1301 0100") + len(extensions).to_bytes(2, "big")
            self.assertEqual(offered(begin + extensions), ((X25519, SECP256R1), (X25519, SECP256R1)))
            self.assertEqual(offered(begin + other), ((), ()))

    def test_nothing(self) -> None:
        """
        Where there is no hello there is nothing.
        """
        self.assertEqual(offered(b""), ((), ()))
