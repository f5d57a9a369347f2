"""
Tests of sniproxy/net/channel.py: OpenSSL without sockets.
"""

from __future__ import annotations

from typing import Any

from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.net.channel import Channel
from tests.support import pki, tls


class ChannelTests(SynchronousTestCase):
    """
    Two channels whose bytes the test carries.
    """

    def setUp(self) -> None:
        """
        A client and a server, nothing said.
        """
        self.client = Channel(tls.client())
        self.server = Channel(tls.server())

    def carry(self) -> None:
        """
        Bring what each side wrote to the other.
        """
        for near, far in ((self.client, self.server), (self.server, self.client)):
            while data := near.drain():
                far.feed(data)

    def shake(self) -> None:
        """
        Do the handshake.
        """
        done = [False, False]
        while not all(done):
            done = [side.handshake() for side in (self.client, self.server)]
            self.carry()

    def test_handshake(self) -> None:
        """
        Nobody is done before both have spoken, and then both are.
        """
        self.assertFalse(self.client.handshake())
        self.assertFalse(self.server.handshake())
        self.shake()
        self.assertTrue(self.client.handshake())
        self.assertTrue(self.server.handshake())

    def test_newest(self) -> None:
        """
        It knows whether TLS 1.3 was agreed on.
        """
        for version, newest in ((SSL.TLS1_2_VERSION, False), (SSL.TLS1_3_VERSION, True)):
            self.client, self.server = Channel(tls.client()), Channel(tls.server(version))
            self.shake()
            self.assertEqual((self.server.newest(), self.client.newest()), (newest, newest))

    def test_bytes(self) -> None:
        """
        What is written is read, in bytes or a view of them, as much as was asked for.
        """
        self.shake()
        self.assertEqual(self.client.write(b"hello "), 6)
        self.assertEqual(self.client.write(memoryview(b"-world-")[1:6]), 5)
        self.carry()
        self.assertEqual(
            [self.server.read(3), self.server.read(100), self.server.read(100)], [b"hel", b"lo ", b"world"]
        )
        self.assertIsNone(self.server.read(100))

    def test_much(self) -> None:
        """
        A record takes 16 KiB, and what is drained at once has a bound.
        """
        self.shake()
        data = bytes(range(256)) * 1024
        sent = 0
        while sent < len(data):
            sent += self.client.write(data[sent : sent + 16384])
        first = self.client.drain()
        self.assertEqual(len(first), 65536)
        self.server.feed(first)
        self.carry()
        got = b""
        while (piece := self.server.read(1 << 20)) is not None:
            got += piece
        self.assertEqual(got, data)

    def test_fed(self) -> None:
        """
        Whether OpenSSL has something to read yet.
        """
        self.shake()
        self.server.read(1)
        self.assertFalse(self.server.fed())
        self.client.write(b"x")
        self.carry()
        self.assertTrue(self.server.fed())
        self.assertEqual(self.server.read(1), b"x")
        self.assertFalse(self.server.fed())

    def test_orderly_end(self) -> None:
        """
        After close_notify there are no more bytes, each time one asks.
        """
        self.shake()
        self.client.shutdown()
        self.carry()
        self.assertEqual([self.server.read(1), self.server.read(1)], [b"", b""])
        self.server.shutdown()

    def test_sudden_end(self) -> None:
        """
        Without it the end is an error where OpenSSL was not told to overlook it.
        """
        connection = SSL.Connection(SSL.Context(SSL.TLS_METHOD))
        connection.set_connect_state()
        self.client = Channel(connection)
        self.shake()
        self.client.feed_end()
        with self.assertRaises(SSL.SysCallError):
            while self.client.read(1) is None:
                pass

    def test_nonsense(self) -> None:
        """
        What is not TLS is an error with OpenSSL's words; and so is whatever is tried after it.
        """
        self.server.feed(b"GET / HTTP/1.0\r\n\r\n")
        error = self.assertRaises(SSL.Error, self.server.handshake)
        self.assertEqual(error.args[0][0][2], "http request")
        self.assertRaises(SSL.Error, self.server.write, b"x")
        self.assertRaises(SSL.Error, self.server.shutdown)

    def test_before_the_handshake(self) -> None:
        """
        A write before the handshake waits for it, and begins it.
        """
        self.assertEqual(self.client.write(b"early"), 0)
        self.assertNotEqual(self.client.drain(), b"")

    def test_exception_in_a_callback(self) -> None:
        """
        An exception in a callback fails the handshake, and is told.
        """

        def select(connection: Any, offered: list[bytes]) -> Any:
            raise KeyError("our fault")

        identity = pki.self_signed("leg.example.com")
        context = SSL.Context(SSL.TLS_METHOD)
        context.use_certificate(identity.certificate)
        context.use_privatekey(identity.key)
        context.set_alpn_select_callback(select)
        connection = SSL.Connection(context)
        connection.set_accept_state()
        self.client, self.server = Channel(tls.client(alpn=True)), Channel(connection)
        self.client.handshake()
        self.carry()
        self.assertRaises(KeyError, self.server.handshake)

    def test_nothing_to_complain_of(self) -> None:
        """
        An error of which pyOpenSSL knows nothing is an error.
        """

        class Silent:
            _ssl = self.server.connection._ssl
            _into_ssl = self.server.connection._into_ssl
            _from_ssl = self.server.connection._from_ssl

            def whole(self) -> Any:
                """
                This is all of it.
                """
                return self

            def _raise_ssl_error(self, ssl: Any, result: int) -> None:
                """
                Nothing is wrong.
                """

        self.server.feed(b"GET / HTTP/1.0\r\n\r\n")
        self.assertRaises(SSL.Error, Channel(Silent()).handshake)
