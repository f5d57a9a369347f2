"""
Tests of L{sniproxy.endpoints.arrivals}.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.error import ConnectionLost
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.endpoints.arrivals import HELLO_LIMIT, LAST_READS, UNRECOGNIZED_NAME, Arrivals
from sniproxy.net.portable import LandingFactory
from sniproxy.wire.client_hello import ClientHello, Malformed, NotTLS, TooLarge
from tests.endpoints.memory import Line, arrivals_factory, engine, hello

ALERT = b"\x15\x03\x03\x00\x02\x02"


class Endless:
    """
    Always has more.
    """

    asked = 0

    def __call__(self, limit: int) -> bytes:
        self.asked += 1
        return bytes(limit)


class Talker:
    """
    A leg whose far end never stops.
    """

    def __init__(self, leg: Any, receive: Any) -> None:
        self.receive = receive
        self.send = leg.send
        self.close = leg.close


class ArrivalsTests(SynchronousTestCase):
    """
    Who has come, and what becomes of them.
    """

    def setUp(self) -> None:
        self.reactor, self.engine = engine(self)
        self.decided: list[Any] = []
        self.arrivals = Arrivals(self.engine, 10.0, lambda arrival, verdict: self.decided.append((arrival, verdict)))
        self.factory = arrivals_factory(self.reactor, self.arrivals)

    def line(self) -> Line:
        return Line(self.factory, self.reactor)

    def only(self) -> Any:
        ((arrival, verdict),) = self.decided
        return arrival, verdict

    def test_hello_is_looked_at_and_not_taken(self) -> None:
        """
        Whoever decides gets the hello and a leg that still has every byte of it.
        """
        data = hello("a.example")
        self.line().say(data + b"more")
        arrival, verdict = self.only()
        self.assertEqual(verdict.server_name, "a.example")
        self.assertEqual(arrival.leg.receive(65536), data + b"more")

    def test_every_piece(self) -> None:
        """
        A hello in pieces of one byte is decided once, with its last byte.
        """
        line, data = self.line(), hello("a.example")
        for at in range(len(data)):
            self.assertEqual(self.decided, [])
            line.say(data[at : at + 1])
        self.assertIsInstance(self.only()[1], ClientHello)

    def test_other_verdicts(self) -> None:
        """
        What is no hello is decided too: not TLS, malformed, too large.
        """
        for data, kind in (
            (b"SSH-2.0-x\r\n", NotTLS),
            (b"\x16\x03\x01\x00\x04\x02\x00\x00\x00", Malformed),
            (b"\x16\x03\x01\x40\x00\x01\x02\x00\x00" + bytes(16000), TooLarge),
        ):
            self.decided.clear()
            self.line().say(data)
            self.assertIsInstance(self.only()[1], kind)
        self.assertEqual(HELLO_LIMIT, 65536)

    def test_deadline(self) -> None:
        """
        One deadline covers the whole look: a byte now and then does not put it off.
        """
        line = self.line()
        for at in range(9):
            line.say(hello()[at : at + 1])
            self.reactor.advance(1)
        self.assertFalse(line.closed)
        self.reactor.advance(1.1)
        self.assertTrue(line.closed)
        self.assertEqual(self.decided, [])

    def test_gone(self) -> None:
        """
        A client that ends within its hello is over at once, and so is one whose connection broke.
        """
        line = self.line()
        line.say(hello()[:50])
        line.protocol.readConnectionLost()
        self.assertTrue(line.closed)
        broken = self.line()
        broken.say(hello()[:50])
        broken.lose(ConnectionLost())
        self.assertEqual(self.decided, [])
        self.arrivals.close()

    def test_close(self) -> None:
        """
        Those nobody has yet end with the port; those who were handed over are left alone.
        """
        first, second = self.line(), self.line()
        second.say(hello())
        self.only()[0].hand_over()
        self.arrivals.close()
        self.assertTrue(first.closed)
        self.assertFalse(second.closed)

    def test_refuse_with_an_alert(self) -> None:
        """
        Who is refused hears why, after what it sent was taken, and only once.
        """
        line = self.line()
        line.say(hello())
        arrival = self.only()[0]
        arrival.refuse("no", UNRECOGNIZED_NAME)
        arrival.refuse("no", UNRECOGNIZED_NAME)
        self.assertEqual(line.heard(), ALERT + b"\x70")
        self.assertTrue(line.closed)
        self.assertTrue(arrival.gone)

    def test_refuse_who_talks_on(self) -> None:
        """
        A client that sends without end does not keep us reading.
        """
        line = self.line()
        line.say(hello())
        arrival = self.only()[0]
        endless = Endless()
        arrival.leg = Talker(arrival.leg, endless)
        arrival.refuse("no", UNRECOGNIZED_NAME)
        self.assertEqual(endless.asked, LAST_READS)
        self.assertTrue(line.closed)

    def test_refuse_in_silence(self) -> None:
        """
        Without an alert nothing is sent.
        """
        line = self.line()
        line.say(b"GET / HTTP/1.0\r\n")
        self.only()[0].refuse("no")
        self.assertEqual(line.heard(), b"")
        self.assertTrue(line.closed)

    def test_refuse_who_is_gone(self) -> None:
        """
        An alert for somebody whose connection is broken troubles nobody.
        """
        line = self.line()
        line.say(hello())
        line.lose(ConnectionLost())
        self.only()[0].refuse("no", UNRECOGNIZED_NAME)
        self.assertTrue(self.only()[0].gone)

    def test_fault(self) -> None:
        """
        An exception while deciding ends that connection, is logged, and the next one is served.
        """

        def raises(arrival: Any, verdict: Any) -> None:
            raise RuntimeError("a fault")

        self.arrivals.decided = raises
        line = self.line()
        line.say(hello())
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.assertTrue(line.closed)
        self.arrivals.decided = lambda arrival, verdict: self.decided.append((arrival, verdict))
        self.line().say(hello())
        self.assertIsInstance(self.only()[1], ClientHello)

    def test_leases(self) -> None:
        """
        Each arrival keeps the engine until it is dropped, or whoever has it ends its lease.
        """
        leases = self.engine._leases
        line, other = self.line(), self.line()
        self.assertEqual(self.engine._leases, leases + 2)
        line.say(hello())
        claim = self.only()[0].hand_over()
        other.protocol.readConnectionLost()
        self.assertEqual(self.engine._leases, leases + 1)
        claim.end()
        self.assertEqual(self.engine._leases, leases)

    def test_watched_leg(self) -> None:
        """
        A leg that is watched already is looked at at once.
        """
        made: list[Any] = []
        line = Line(LandingFactory(self.reactor, made.append), self.reactor)
        made[0].watch()
        line.say(hello("a.example"))
        self.arrivals.accepted(made[0])
        self.assertEqual(self.only()[1].server_name, "a.example")

    def test_complain(self) -> None:
        """
        Trouble with accepting is logged and no more.
        """
        self.arrivals.complain(OSError(24, "Too many open files"))
