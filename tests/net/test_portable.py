"""
Tests of sniproxy/net/portable.py: a leg over any Twisted transport.
"""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import IHalfCloseableProtocol, IPushProducer, ISSLTransport, ISystemHandle
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import alsoProvides
from zope.interface.verify import verifyObject

from sniproxy.addresses import Address
from sniproxy.interfaces import ILeg
from sniproxy.net.look import GONE, look
from sniproxy.net.poller import AGAIN, ERR, HUP, IN, OUT, RDHUP
from sniproxy.net.portable import CAP, CLOSE_TIMEOUT, Landing, LandingFactory, our_address
from tests.support.legs import Waiter
from tests.support.memory import ROOM, MemoryTransport


class AddressTests(SynchronousTestCase):
    """
    Twisted's addresses in our words.
    """

    def test_kinds(self) -> None:
        """
        Of each kind; what is unknown has no name.
        """
        for twisted, ours in (
            (IPv4Address("TCP", "192.0.2.1", 80), Address("inet", "192.0.2.1", 80)),
            (IPv6Address("TCP", "fe80::1%eth0", 80), Address("inet6", "fe80::1", 80)),
            (UNIXAddress(b"/run/\xff"), Address("unix", "/run/\udcff")),
            (UNIXAddress(None), Address("unix", "")),
            (object(), Address("unix", "")),
        ):
            self.assertEqual(our_address(twisted), ours)


class PortableLegTests(SynchronousTestCase):
    """
    A leg over a transport in memory.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.transport = MemoryTransport()
        self.made: list[Any] = []
        self.landing = LandingFactory(self.clock, self.made.append).buildProtocol(None)
        self.transport.start(self.landing)
        (self.leg,) = self.made
        self.edges: list[int] = []

    def watch(self) -> None:
        """
        Watch it, and have the first edge told.
        """
        self.leg.handler = self.edges.append
        self.leg.watch()
        self.clock.advance(0)
        self.edges.clear()

    def turn(self, times: int = 1) -> None:
        """
        What a reactor does.
        """
        for _ in range(times):
            self.transport.turn()
            self.clock.advance(0)

    def test_interfaces(self) -> None:
        """
        It is a leg without a descriptor, and its protocol a push producer that knows of half-closes.
        """
        self.assertTrue(verifyObject(ILeg, self.leg))
        for interface in (IHalfCloseableProtocol, IPushProducer):
            self.assertTrue(verifyObject(interface, self.landing))
        self.assertIsInstance(self.landing, Landing)
        self.assertIsNone(self.leg.descriptor())
        self.assertIsNone(self.leg.socket())
        self.assertEqual(self.leg.peer, Address("inet", "192.0.2.1", 1234))
        self.assertEqual(self.leg.local, Address("inet", "192.0.2.2", 443))
        self.assertFalse(self.leg.cramped(1))
        self.landing.stopProducing()

    def test_socket(self) -> None:
        """
        A transport with a socket shows it.
        """
        alsoProvides(self.transport, ISystemHandle)
        with socket.socket() as sock:
            self.transport.getHandle = lambda: sock  # type: ignore[attr-defined]
            self.assertIs(self.leg.socket(), sock)
        self.transport.getHandle = object  # type: ignore[attr-defined]
        self.assertIsNone(self.leg.socket())

    def test_receive(self) -> None:
        """
        Bytes, nothing now, the end.
        """
        self.watch()
        self.assertIsNone(self.leg.receive(10))
        self.transport.far_write(b"hello")
        self.turn()
        self.assertEqual(self.edges, [IN])
        self.assertEqual((self.leg.peek(3), self.leg.receive(2), self.leg.receive(10)), (b"hel", b"he", b"llo"))
        self.assertIsNone(self.leg.peek(3))
        self.transport.far_finish()
        self.turn()
        self.assertEqual(self.edges, [IN, IN | RDHUP])
        self.assertEqual((self.leg.receive(10), self.leg.peek(10)), (b"", b""))
        self.assertEqual(self.leg.send(b"still"), 5)

    def test_lost(self) -> None:
        """
        A connection that is closed has ended, one that breaks is broken; neither takes anything more.
        """
        self.watch()
        self.transport.far_write(b"last")
        self.turn()
        self.transport.loseConnection()
        self.transport.unregisterProducer()
        self.turn()
        self.assertEqual(self.edges[1:], [IN | OUT | RDHUP | HUP])
        self.assertEqual((self.leg.receive(10), self.leg.receive(10)), (b"last", b""))
        self.assertRaises(BrokenPipeError, self.leg.send, b"x")
        self.leg.finish()
        self.leg.close()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_broken(self) -> None:
        """
        What came before it broke is received first.
        """
        self.watch()
        self.transport.far_write(b"last")
        self.turn()
        self.transport.far_reset()
        self.turn()
        self.assertEqual(self.edges[1:], [IN | OUT | RDHUP | HUP | ERR])
        self.assertRaises(ConnectionResetError, self.leg.fill, 10)
        self.assertEqual(self.leg.receive(10), b"last")
        self.assertRaises(ConnectionResetError, self.leg.receive, 10)
        self.leg.abort()

    def test_cap(self) -> None:
        """
        It holds no more than it may: the transport is paused, and goes on when half is gone.
        """
        self.watch()
        written = 0
        for _ in range(20):
            written += self.transport.far_write(b"x" * ROOM)
            self.turn()
        self.assertLess(len(self.leg.held), CAP + ROOM)
        self.assertEqual(self.transport.far_write(b"x"), 0)
        self.leg.receive(len(self.leg.held) - CAP // 2 - 1)
        self.turn()
        self.assertEqual(self.transport.far_write(b"x"), 0)
        self.leg.receive(1)
        self.turn()
        self.assertEqual(self.transport.far_write(b"x"), 1)
        self.assertEqual(self.leg.take_held() != b"", True)

    def test_held(self) -> None:
        """
        What is put back comes first; what is taken is gone.
        """
        self.leg.hold(b"early ")
        self.transport.far_write(b"bird")
        self.turn()
        self.assertTrue(self.leg.fill(1))
        self.assertEqual((self.leg.take_held(), self.leg.take_held()), (b"early bird", b""))

    def test_look(self) -> None:
        """
        It can be looked at, before the end and after.
        """

        class Line:
            """
            Wants a newline.
            """

            def look(self, prefix: bytes) -> bytes | None:
                """
                @return: all of it.
                """
                return prefix if b"\n" in prefix else None

        line = Line()
        self.assertIsNone(look(self.leg, line, 100, 0, 0))
        self.transport.far_write(b"li")
        self.turn()
        self.assertIsNone(look(self.leg, line, 100, IN, 1))
        self.transport.far_write(b"ne\n")
        self.turn()
        self.assertEqual(look(self.leg, line, 100, IN, 2), b"line\n")
        self.leg.take_held()
        self.transport.far_write(b"li")
        self.transport.far_finish()
        self.turn()
        self.assertIs(look(self.leg, line, 100, IN, 1), GONE)

    def test_pressure(self) -> None:
        """
        When the transport has enough, nothing is taken; an edge tells when it has room.
        """
        self.watch()
        total = 0
        while taken := self.leg.send(memoryview(b"x" * 10_000)):
            total += taken
        self.assertLess(total, ROOM + 20_000)
        while self.transport.far_read(ROOM):
            pass
        self.turn()
        self.assertEqual(self.edges, [OUT])
        self.assertEqual(self.leg.send(b"x"), 1)

    # Edges.

    def test_watch(self) -> None:
        """
        Watching begins once; what has come before is told, later.
        """
        self.transport.far_write(b"x")
        self.turn()
        self.leg.handler = self.edges.append
        self.assertEqual((self.leg.watch(), self.leg.watch()), (True, False))
        self.assertEqual(self.edges, [])
        self.clock.advance(0)
        self.assertEqual(self.edges, [AGAIN])
        self.leg.again()
        self.leg.again()
        self.assertEqual(self.edges, [AGAIN])
        self.clock.advance(0)
        self.assertEqual(self.edges, [AGAIN, AGAIN])

    def test_end_before_watch(self) -> None:
        """
        So is an end.
        """
        self.transport.far_finish()
        self.turn()
        self.leg.handler = self.edges.append
        self.leg.watch()
        self.clock.advance(0)
        self.assertEqual(self.edges, [AGAIN | RDHUP])

    def test_no_edge_within(self) -> None:
        """
        What a transport tells while it is being called is told later: nobody expects an edge in the middle of a send.
        """
        self.watch()

        def write(data: bytes) -> None:
            self.landing.pauseProducing()
            self.landing.resumeProducing()
            self.landing.dataReceived(b"echo")

        self.transport.write = write  # type: ignore[method-assign]
        self.leg.send(b"x")
        self.assertEqual(self.edges, [])
        self.clock.advance(0)
        self.assertEqual(self.edges, [IN | OUT])

    def test_fault(self) -> None:
        """
        A handler that raises is a fault of its owner; of a leg without one, the end.
        """

        def fault(bits: int) -> None:
            raise ZeroDivisionError

        owner = Waiter()
        self.watch()
        self.leg.handler = fault
        self.leg.owner = owner
        self.transport.far_write(b"x")
        self.turn()
        self.assertEqual((owner.crashes, self.transport.lost), (1, False))
        self.leg.owner = None
        self.transport.far_write(b"x")
        self.turn(2)
        self.assertTrue(self.transport.lost)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)

    # The end.

    def test_finish(self) -> None:
        """
        The far end sees our end and may go on.
        """
        self.leg.send(b"question")
        self.leg.finish()
        self.turn()
        self.assertEqual((self.transport.far_read(10), self.transport.far_read(10)), (b"question", b""))
        self.transport.far_write(b"answer")
        self.turn()
        self.assertEqual(self.leg.receive(10), b"answer")

    def test_finish_over_tls(self) -> None:
        """
        Twisted's TLS cannot say it, and would break if asked to.
        """
        alsoProvides(self.transport, ISSLTransport)
        self.leg.finish()
        self.turn()
        self.assertIsNone(self.transport.far_read(10))

    def test_close(self) -> None:
        """
        A closed leg tells nothing; what it sent is delivered, and a deadline watches over that.
        """
        self.watch()
        self.leg.send(b"last words")
        self.leg.again()
        self.leg.close()
        self.leg.close()
        self.assertEqual([call.getTime() for call in self.clock.getDelayedCalls()], [CLOSE_TIMEOUT])
        self.landing.dataReceived(b"too late")
        self.turn()
        self.assertEqual((self.transport.far_read(20), self.transport.far_read(20)), (b"last words", b""))
        self.assertEqual((self.edges, self.clock.getDelayedCalls(), self.leg.held), ([], [], b""))

    def test_close_while_paused(self) -> None:
        """
        A leg that is full can be closed.
        """
        for _ in range(5):
            self.transport.far_write(b"x" * ROOM)
            self.turn()
        self.leg.close()
        self.turn()
        self.assertTrue(self.transport.lost)

    def test_close_deadline(self) -> None:
        """
        A transport that does not get rid of its bytes is aborted.
        """
        while self.leg.send(b"x" * 10_000):
            pass
        self.leg.close()
        self.turn(3)
        self.assertFalse(self.transport.lost)
        self.clock.advance(CLOSE_TIMEOUT)
        self.turn()
        self.assertTrue(self.transport.lost)
        self.assertRaises(ConnectionResetError, self.transport.far_read, 1)

    def test_abort(self) -> None:
        """
        An abort is one.
        """
        self.leg.send(b"never mind")
        self.leg.abort()
        self.leg.abort()
        self.turn()
        self.assertRaises(ConnectionResetError, self.transport.far_read, 1)

    def test_linger(self) -> None:
        """
        Last words are given to the transport at once, though it has enough.
        """
        while self.leg.send(b"x" * 10_000):
            pass
        self.leg.linger(lambda: bool(self.leg.send(b"bye")))
        got = b""
        while data := self.transport.far_read(1 << 20):
            got += data
        self.assertTrue(got.endswith(b"xbye"))

    def test_linger_to_nobody(self) -> None:
        """
        Unless nobody is there.
        """

        def flush() -> bool:
            raise BrokenPipeError

        self.leg.linger(flush)
        self.turn()
        self.assertTrue(self.transport.lost)
