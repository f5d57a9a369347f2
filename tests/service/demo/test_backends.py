"""
Tests for L{sniproxy.service.demo.backends}.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.error import CannotListenError
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.service.demo.backends import PATIENCE, Backend, greeter, greeting, web


class Reactor(MemoryReactorClock):
    """
    Remembers which of its ports still listen.
    """

    def __init__(self) -> None:
        super().__init__()
        self.listening: set[int] = set()

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> Any:
        """
        Each port once.
        """
        if port in self.listening:
            raise CannotListenError(interface, port, OSError("taken"))
        self.listening.add(port)
        listener = super().listenTCP(port, factory, backlog, interface)
        listener.stopListening = lambda: self.listening.discard(port)
        return listener

    def visit(self) -> tuple[Any, StringTransport]:
        """
        Connect to what was listened for last.
        """
        factory: Any = self.tcpServers[-1][1]
        protocol = factory.buildProtocol(None)
        transport = StringTransport()
        protocol.makeConnection(transport)
        return protocol, transport


class BackendTests(SynchronousTestCase):
    """
    What stands behind.
    """

    def setUp(self) -> None:
        self.reactor = Reactor()

    def test_listens_at_once(self) -> None:
        """
        A server behind listens from the moment it is made, on loopback alone, so that a taken port is known at once.
        """
        greeter("ssh1", 22021, self.reactor)
        ((port, _, _, interface),) = self.reactor.tcpServers
        self.assertEqual((port, interface), (22021, "127.0.0.1"))
        self.assertRaises(CannotListenError, web, "a page", 22021, self.reactor)

    def test_ends(self) -> None:
        """
        With the service the listening ends.
        """
        backend = greeter("ssh1", 22021, self.reactor)
        backend.startService()
        self.successResultOf(backend.stopService())
        self.assertEqual(self.reactor.listening, set())
        self.assertFalse(backend.running)

    def test_greeting(self) -> None:
        """
        A greeter says who it is before anything is asked.
        """
        greeter("ssh1", 22021, self.reactor)
        _, transport = self.reactor.visit()
        self.assertEqual(transport.value(), f"{greeting('ssh1')}\n".encode())
        self.assertFalse(transport.disconnecting)

    def test_greeter_listens(self) -> None:
        """
        A greeter ends the conversation at an empty line, however that line ends, and not before.
        """
        greeter("ssh1", 22021, self.reactor)
        for line in (b"\n", b"\r\n"):
            protocol, transport = self.reactor.visit()
            protocol.dataReceived(b"GET / HTTP/1.1\r\nHost")
            protocol.dataReceived(b": x\r\n")
            self.assertFalse(transport.disconnecting)
            protocol.dataReceived(line)
            self.assertTrue(transport.disconnecting)

    def test_silent_visitor(self) -> None:
        """
        A visitor who says nothing is shown out in the end.
        """
        greeter("ssh1", 22021, self.reactor)
        _, transport = self.reactor.visit()
        self.reactor.advance(PATIENCE - 1)
        self.assertFalse(transport.disconnected)
        self.reactor.advance(1)
        self.assertTrue(transport.disconnected)

    def test_nothing_waits(self) -> None:
        """
        Nothing waits for a visitor who has left, and one who was shown out may leave as well.
        """
        greeter("ssh1", 22021, self.reactor)
        protocol, _ = self.reactor.visit()
        protocol.connectionLost(Failure(ConnectionError()))
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        protocol, _ = self.reactor.visit()
        self.reactor.advance(PATIENCE)
        protocol.connectionLost(Failure(ConnectionError()))
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_page(self) -> None:
        """
        Every path of the web server is the page.
        """
        backend = web("a page: é\n", 28080, self.reactor)
        self.assertIsInstance(backend, Backend)
        protocol, transport = self.reactor.visit()
        protocol.dataReceived(b"GET /any/path HTTP/1.0\r\n\r\n")
        head, _, body = transport.value().partition(b"\r\n\r\n")
        self.assertTrue(head.startswith(b"HTTP/1.0 200 OK"), head)
        self.assertIn(b"text/plain; charset=utf-8", head)
        self.assertEqual(body.decode(), "a page: é\n")
        protocol.connectionLost(Failure(ConnectionError()))
