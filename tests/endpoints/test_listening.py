"""
Tests of L{sniproxy.endpoints.listening}.
"""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, fail
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface.verify import verifyObject

from sniproxy.endpoints.engine import lease
from sniproxy.endpoints.listening import DoorPort, listening_socket, local_address, open_port
from tests.endpoints.loopback import HOST, reactor
from tests.endpoints.memory import MemoryPort, hello


class SocketTests(SynchronousTestCase):
    """
    Sockets of our own.
    """

    def setUp(self) -> None:
        self.reactor: Any = MemoryReactorClock()

    def open(self, where: Any) -> Any:
        port = self.successResultOf(open_port(self.reactor, where, 5, 10.0, lambda arrival, verdict: None))
        self.addCleanup(port.stopListening)
        return port

    def test_addresses(self) -> None:
        """
        An interface is an IP address or empty for every IPv4 address; names are refused.
        """
        self.assertEqual(local_address("", 1).text, "0.0.0.0:1")
        self.assertEqual(local_address("::1", 1).text, "[::1]:1")
        self.assertRaises(ValueError, local_address, "localhost", 1)

    def test_both_families(self) -> None:
        """
        It listens on IPv4 and on IPv6, each for itself, and says where.
        """
        port = self.open((HOST, 0))
        verifyObject(IListeningPort, port)
        port.startListening()
        self.assertEqual(port.getHost(), IPv4Address("TCP", HOST, port.getHost().port))
        six = self.open(("::1", 0))
        self.assertIsInstance(six.getHost(), IPv6Address)
        with listening_socket(local_address("::", 0), 5) as sock:
            self.assertEqual(sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY), 1)

    def test_nodelay_is_inherited(self) -> None:
        """
        What is accepted sends small writes at once.
        """
        with listening_socket(local_address(HOST, 0), 5) as sock:
            with socket.create_connection(sock.getsockname()):
                with sock.accept()[0] as accepted:
                    self.assertTrue(accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    def test_cannot_listen(self) -> None:
        """
        An address in use fails as Twisted's endpoints fail, and leaves nothing behind.
        """
        taken = self.open((HOST, 0)).getHost().port
        other: Any = MemoryReactorClock()
        opening = open_port(other, (HOST, taken), 5, 10.0, lambda arrival, verdict: None)
        error = self.failureResultOf(opening, CannotListenError).value
        self.assertEqual((error.interface, error.port), (HOST, taken))
        self.assertEqual((other.getReaders(), other.getDelayedCalls()), ([], []))
        self.failureResultOf(open_port(other, ("here", 1), 5, 10.0, lambda arrival, verdict: None), ValueError)

    def test_stop_leaves_nothing(self) -> None:
        """
        A port that was stopped leaves no reader, no delayed call and no socket.
        """
        port = self.open((HOST, 0))
        number = port.getHost().port
        closed: list[int] = []
        port.when_closed(lambda: closed.append(1))
        self.successResultOf(port.stopListening())
        self.successResultOf(port.stopListening())
        self.assertEqual((self.reactor.getReaders(), self.reactor.getDelayedCalls(), closed), ([], [], [1]))
        listening_socket(local_address(HOST, number), 5).close()


class OverTests(SynchronousTestCase):
    """
    What another endpoint listens on.
    """

    def setUp(self) -> None:
        self.reactor: Any = MemoryReactorClock()
        self.inner: Any = MemoryPort(self.reactor)
        self.decided: list[Any] = []

    def open(self, where: Any) -> Deferred[DoorPort]:
        return open_port(self.reactor, where, 5, 10.0, lambda arrival, verdict: self.decided.append((arrival, verdict)))

    def test_arrivals(self) -> None:
        """
        Its connections arrive as those of our own sockets do.
        """
        port = self.successResultOf(self.open(self.inner))
        self.assertEqual(port.getHost(), self.inner.getHost())
        line = self.inner.knock()
        line.say(hello("a.example"))
        ((arrival, verdict),) = self.decided
        self.assertEqual(verdict.server_name, "a.example")
        arrival.drop("enough")
        self.assertTrue(line.closed)
        self.successResultOf(port.stopListening())

    def test_stop(self) -> None:
        """
        Stopping stops the other port, and ends those who have arrived.
        """
        port = self.successResultOf(self.open(self.inner))
        line = self.inner.knock()
        self.successResultOf(port.stopListening())
        self.assertFalse(self.inner.listening)
        self.assertTrue(line.closed)
        engine, claim = lease(self.reactor)
        self.assertEqual(engine._leases, 1)
        claim.end()

    def test_fails(self) -> None:
        """
        What the other endpoint fails with comes through, and nothing stays.
        """
        self.inner.listen = lambda factory: fail(CannotListenError("", 1, OSError()))
        self.failureResultOf(self.open(self.inner), CannotListenError)
        self.assertEqual(self.reactor.getReaders(), [])


class RealTests(TestCase):
    """
    A real client of a real socket.
    """

    timeout = 20

    async def test_arrival(self) -> None:
        """
        A connection over loopback arrives with its hello.
        """
        decided: Deferred[Any] = Deferred()
        port = await open_port(
            reactor, (HOST, 0), 5, 10.0, lambda arrival, verdict: decided.callback((arrival, verdict))
        )
        with socket.create_connection((HOST, port.getHost().port)) as sock:
            sock.sendall(hello("a.example"))
            arrival, verdict = await decided
            self.assertEqual(verdict.server_name, "a.example")
            self.assertEqual(arrival.leg.peer.port, sock.getsockname()[1])
            arrival.drop("enough")
        await port.stopListening()
