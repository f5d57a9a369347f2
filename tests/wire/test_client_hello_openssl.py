"""
Tests that L{sniproxy.wire.client_hello} and a real TLS server read the same bytes alike: where we find a name, OpenSSL
finds this name or refuses the hello. Otherwise a client could be routed by one name and served by another.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.wire.client_hello import ClientHello, HelloReader, Malformed, Verdict
from tests.support.hellos import RECORDED, appended, in_records, name_list, payload, record, replaced, sized
from tests.support.pki import authority, leaf

PLAIN = RECORDED["openssl-alpn"].stream
UNSEEN = object()


class Server:
    """
    OpenSSL as the server, over memory.

    @ivar name: the name it saw in the last hello; None for none; L{UNSEEN} where it did not get so far.
    @ivar alpn: likewise the protocols.
    @ivar refused: whether it ended the handshake.
    """

    def __init__(self) -> None:
        identity = leaf(authority("A CA"), "a.example")
        self.name: object = UNSEEN
        self.alpn: object = UNSEEN
        self.refused = False
        self._context = SSL.Context(SSL.TLS_SERVER_METHOD)
        self._context.use_certificate(identity.certificate)
        self._context.use_privatekey(identity.key)
        self._context.set_tlsext_servername_callback(self._named)
        self._context.set_alpn_select_callback(self._offered)

    def _named(self, connection: SSL.Connection) -> None:
        self.name = connection.get_servername()

    def _offered(self, connection: SSL.Connection, protocols: list[bytes]) -> bytes:
        self.alpn = tuple(protocols)
        return protocols[0]

    def read(self, stream: bytes) -> None:
        """
        Let it read a stream from the beginning.
        """
        self.name = self.alpn = UNSEEN
        self.refused = False
        connection = SSL.Connection(self._context, None)
        connection.set_accept_state()
        for at in range(0, len(stream), 16384):
            connection.bio_write(stream[at : at + 16384])
            try:
                connection.do_handshake()
            except SSL.WantReadError:
                continue
            except SSL.Error:
                self.refused = True
                break


def spoiled(dice: random.Random) -> Iterator[bytes]:
    """
    Hellos with a byte changed: every byte of a server_name extension, and anywhere.
    """
    for name in ("openssl-alpn", "openssl-tls12", "curl", "node", "chromium"):
        told = RECORDED[name]
        assert told.server_name is not None
        end = told.stream.lower().index(told.server_name.encode()) + len(told.server_name)
        near = range(end - len(told.server_name) - 9, end + 4)
        places = [*near, *dice.sample(range(len(told.stream)), 40), *range(11), 43, 76, 77]
        for at in places:
            for value in (told.stream[at] ^ 1, told.stream[at] ^ 0x20, dice.randrange(256)):
                yield told.stream[:at] + bytes([value]) + told.stream[at + 1 :]


class AgreementTests(SynchronousTestCase):
    """
    Two readers, one meaning.
    """

    def setUp(self) -> None:
        """
        A server for the test.
        """
        self.server = Server()

    def agree(self, stream: bytes) -> Verdict | None:
        """
        Insist that OpenSSL reads what we read, or refuses.
        """
        verdict = HelloReader(65536).look(stream)
        self.server.read(stream)
        if isinstance(verdict, ClientHello):
            if self.server.name is UNSEEN:
                self.assertTrue(self.server.refused, stream)
            else:
                seen = self.server.name
                name = seen.decode("ascii").lower().removesuffix(".") if isinstance(seen, bytes) else seen
                self.assertEqual(name, verdict.server_name, stream)
            if self.server.alpn is not UNSEEN:
                self.assertEqual(self.server.alpn, verdict.alpn, stream)
        elif verdict is None:
            self.assertIs(self.server.name, UNSEEN, stream)
        return verdict

    def test_recorded(self) -> None:
        """
        What real clients send is read alike, and OpenSSL does see a name.
        """
        for name, told in RECORDED.items():
            for stream in (told.stream, in_records(told.stream, 1), in_records(told.stream, 100)):
                with self.subTest(name):
                    self.server.read(stream)
                    expected = None if told.server_name is None else told.server_name.encode()
                    assert self.server.name is None or isinstance(self.server.name, bytes), self.server.name
                    self.assertEqual(self.server.name and self.server.name.lower(), expected)
                    if len(stream) < 65536:
                        self.assertIsInstance(self.agree(stream), ClientHello)

    def test_spoiled(self) -> None:
        """
        One wrong byte never gives us a name that OpenSSL does not see.
        """
        verdicts = [self.agree(stream) for stream in spoiled(random.Random(20))]
        self.assertGreater(len(verdicts), 500)
        self.assertGreater(sum(isinstance(verdict, ClientHello) for verdict in verdicts), 100)
        self.assertGreater(sum(isinstance(verdict, Malformed) for verdict in verdicts), 100)

    def test_names(self) -> None:
        """
        Of whatever stands in the extension, we never read more than OpenSSL.
        """
        one = b"\0" + sized(2, b"a.example")
        for content in (
            name_list(b"A.Example."),
            name_list(b"a" * 255),
            name_list(b"a" * 256),
            name_list(b"127.0.0.1"),
            name_list(b""),
            name_list(b"a.example", b"b.example"),
            name_list(b"a.example", kind=1),
            sized(2, one + b"\1" + sized(2, b"b")),
            name_list(b"a\0.example"),
            name_list(b"a.example") + b"x",
            b"",
            b"\0\0",
        ):
            with self.subTest(content=content):
                self.agree(replaced(PLAIN, 0, content))
        self.agree(appended(PLAIN, 0, name_list(b"b.example")))

    def test_records(self) -> None:
        """
        OpenSSL draws the lines of the record layer where we draw them.
        """
        said = payload(PLAIN)
        padded = payload(appended(PLAIN, 21, b""))
        for size, good in ((2**14, True), (2**14 + 1, False)):
            filled = payload(appended(PLAIN, 21, bytes(size - len(padded))))
            with self.subTest(size=size):
                self.assertIs(isinstance(self.agree(record(filled)), ClientHello), good)
                self.assertIs(self.server.refused, not good)
        for count, good in ((32, True), (33, False)):
            for stream in (record(b"") * count + PLAIN, record(said[:9]) + record(b"") * count + record(said[9:])):
                with self.subTest(empty=count):
                    self.assertIs(isinstance(self.agree(stream), ClientHello), good)
                    self.assertIs(self.server.refused, not good)
        for kind in (20, 21, 23):
            with self.subTest(kind=kind):
                self.assertIsInstance(
                    self.agree(record(said[:50]) + record(b"\1\x5a", kind) + record(said[50:])), Malformed
                )
                self.assertTrue(self.server.refused)
        self.assertIsInstance(self.agree(record(said[:50]) + record(said[50:], version=0x0403)), Malformed)
        self.assertTrue(self.server.refused)
