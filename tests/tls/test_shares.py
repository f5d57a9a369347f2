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
from sniproxy.tls.shares import PERIOD, KeyShares, offered
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
            visits = [self.visit(server, remembered=remembered) for _ in range(3)]
            self.assertEqual(visits, [(USUAL, again), ((group,), False), ((group,), False)], curves)

    def test_older(self) -> None:
        """
        A server of TLS 1.2 chooses too.
        """
        server = self.server("prime256v1", "TLSv1.2")
        self.assertEqual([self.visit(server) for _ in range(2)], [(USUAL, False), ((SECP256R1,), False)])

    def test_each_its_own(self) -> None:
        """
        What one upstream chose is nothing to another.
        """
        self.visit(self.server("X25519"), "a")
        self.assertEqual(self.visit(self.server("prime256v1"), "b"), (USUAL, True))
        self.assertEqual(self.visit(self.server("X25519"), "a"), ((X25519,), False))
        self.assertEqual(self.visit(self.server("prime256v1"), "b"), ((SECP256R1,), False))

    def test_another_mind(self) -> None:
        """
        An upstream that wants another group gets it, and for a while OpenSSL chooses the shares again.
        """
        old, new = self.server("X25519"), self.server()
        self.visit(old)
        self.assertEqual(self.visit(new), ((X25519,), True))
        for server in (old, new, old, new):
            self.assertEqual(self.visit(server), (USUAL, False))
        self.now += PERIOD
        self.assertEqual(self.visit(new), (USUAL, False))
        self.assertEqual(self.visit(new), ((X25519MLKEM768,), False))

    def test_not_for_long(self) -> None:
        """
        However often an upstream is met, it may choose freely once in a while: a connection that was under way then
        does not count.
        """
        server = self.server("X25519")
        self.visit(server)
        begun = []
        for _ in range(2):
            one, other = self.client.connection(), server.connection()
            self.shares.offer(one, "peer")
            begun.append((one, other))
        self.now += PERIOD - 1
        self.assertEqual(self.visit(server), ((X25519,), False))
        self.now += 1
        for one, other in begun:
            shake(one, other)
            self.shares.note(one, "peer")
        self.assertEqual(self.visit(server), (USUAL, False))
        self.assertEqual(self.visit(server), ((X25519,), False))

    def test_at_once(self) -> None:
        """
        Of those that began before anything was known all have to agree.
        """
        under_way = []
        for curves in ("X25519", "X25519", "secp384r1"):
            one, other = self.client.connection(), self.server(curves).connection()
            self.shares.offer(one, "peer")
            shake(one, other)
            under_way.append(one)
        for one in under_way[:2]:
            self.shares.note(one, "peer")
        self.assertEqual(self.visit(self.server("X25519")), ((X25519,), False))
        self.shares.note(under_way[2], "peer")
        self.assertEqual(self.visit(self.server("X25519")), (USUAL, False))

    def test_failed(self) -> None:
        """
        If a handshake with one share failed OpenSSL chooses for a while; if one with OpenSSL's failed nothing changes.
        """
        server = self.server("X25519")
        self.visit(server)
        self.assertEqual(self.visit(server, good=False), ((X25519,), False))
        self.assertEqual(self.visit(server), (USUAL, False))
        self.assertEqual(self.visit(server, good=False), (USUAL, False))
        self.now += PERIOD
        self.visit(server)
        self.assertEqual(self.visit(server), ((X25519,), False))

    def test_bounded(self) -> None:
        """
        What was learnt first is forgotten first.
        """
        server, remembered = self.server("X25519"), KeyShares(self.client, limit=2)
        for key in ("a", "b", "c"):
            self.visit(server, key, remembered=remembered)
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
        self.visit(server)
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
