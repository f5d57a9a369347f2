"""
Tests of sniproxy/net/transport.py: how a Twisted protocol lives on a leg.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IConsumer,
    IHalfCloseableProtocol,
    INegotiated,
    IPushProducer,
    ISSLTransport,
    ISystemHandle,
    ITCPTransport,
)
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site
from zope.interface import implementer
from zope.interface.verify import verifyObject

from sniproxy.addresses import Address
from sniproxy.net import transport as module
from sniproxy.net.poller import IN
from sniproxy.net.tls_leg import TlsLeg
from sniproxy.net.transport import HIGH_WATER, open_protocol, twisted_address
from tests.net.conformance import World, noise
from tests.support import tls
from tests.support.legs import leg_of, open_descriptors
from tests.support.memory import Recorder


@implementer(IHalfCloseableProtocol)
class Halves(Recorder):
    """
    A protocol that knows of half-closes, and does something when it is told.
    """

    def __init__(self, on_read: Any = None, on_write: Any = None) -> None:
        super().__init__()
        self.told: list[str] = []
        self.on_read, self.on_write = on_read, on_write

    def readConnectionLost(self) -> None:
        """
        Note it.
        """
        self.told.append("read")
        if self.on_read is not None:
            self.on_read(self)

    def writeConnectionLost(self) -> None:
        """
        Note it.
        """
        self.told.append("write")
        if self.on_write is not None:
            self.on_write(self)


class Doing(Recorder):
    """
    A protocol that does something with what it receives.
    """

    def __init__(self, then: Callable[[Any, bytes], None]) -> None:
        super().__init__()
        self.then = then

    def dataReceived(self, data: bytes) -> None:
        """
        Note it, and do it.
        """
        super().dataReceived(data)
        self.then(self, data)


def fault(*args: Any) -> None:
    """
    Whatever calls this has a fault.
    """
    raise ZeroDivisionError


class Producer:
    """
    Either kind of producer, which notes what it is told.
    """

    def __init__(self, then: Callable[[], None] | None = None) -> None:
        self.told: list[str] = []
        self.then = then

    def pauseProducing(self) -> None:
        """
        Note it.
        """
        self.told.append("pause")

    def resumeProducing(self) -> None:
        """
        Note it, and produce.
        """
        self.told.append("resume")
        if self.then is not None:
            self.then()

    def stopProducing(self) -> None:
        """
        Note it.
        """
        self.told.append("stop")


class AddressTests(SynchronousTestCase):
    """
    Our addresses in Twisted's words.
    """

    def test_families(self) -> None:
        """
        Of each family.
        """
        self.assertEqual(twisted_address(Address("inet", "192.0.2.1", 80)), IPv4Address("TCP", "192.0.2.1", 80))
        self.assertEqual(twisted_address(Address("inet6", "::1", 80)), IPv6Address("TCP", "::1", 80))
        self.assertEqual(twisted_address(Address("unix", "/run/\udcff")), UNIXAddress(b"/run/\xff"))
        self.assertEqual(twisted_address(Address("unix", "")), UNIXAddress(None))


class TransportTestCase(SynchronousTestCase):
    """
    One protocol on one leg.
    """

    def setUp(self) -> None:
        self.before = open_descriptors()
        self.world = World()
        self.far: Any = None
        self.transport: Any = None

    def tearDown(self) -> None:
        self.world.end()
        self.assertEqual(open_descriptors() - self.before, set())

    def side(self) -> Any:
        """
        A leg, and its far end.
        """
        return self.world.plain_unix()

    def live(self, protocol: Any, side: Any = None, **options: Any) -> Any:
        """
        Let it live.
        """
        leg, self.far = side or self.side()
        self.world.legs.append(leg)
        self.world.fars.append(self.far)
        self.transport = open_protocol(leg, protocol, self.world.network, **options)
        return protocol

    def turn(self, times: int = 3) -> None:
        """
        A few turns.
        """
        for _ in range(times):
            self.world.turn()

    def reads(self, wanted: Any) -> None:
        """
        The far end gets exactly this, end or not.
        """
        got = bytearray()

        def step() -> bool:
            piece = self.far.read(1 << 20)
            got.extend(piece or b"")
            return piece == b"" if wanted is None else len(got) >= len(wanted)

        self.world.until(step)
        if wanted is not None:
            self.assertTrue(bytes(got) == wanted, f"{len(got)} of {len(wanted)} bytes")

    def ended(self) -> None:
        """
        The far end sees an end, and nothing before it.
        """
        got: list[Any] = []

        def step() -> bool:
            piece = self.far.read(100)
            if piece is not None:
                got.append(piece)
            return bool(got)

        self.world.until(step)
        self.assertEqual(got, [b""])

    def lost(self, protocol: Any, kind: type[Exception]) -> None:
        """
        Its connection is lost, once, for this reason.
        """
        self.world.until(lambda: protocol.reasons)
        self.turn()
        self.assertEqual([type(reason) for reason in protocol.reasons], [kind])
        self.assertFalse(self.transport.connected)


class LegTransportTests(TransportTestCase):
    """
    On a plain leg.
    """

    def test_interfaces(self) -> None:
        """
        It says what it is: without IPushProducer declared, twisted.web would have no back-pressure.
        """
        self.live(Recorder())
        for interface in (ITCPTransport, IPushProducer, IConsumer, ISystemHandle):
            self.assertTrue(verifyObject(interface, self.transport))
        self.assertFalse(ISSLTransport.providedBy(self.transport))
        self.assertIs(self.transport.getHandle(), self.transport.leg.sock)

    def test_begin(self) -> None:
        """
        A protocol is told of its connection at once, and of bytes only later.
        """
        leg, far = self.side()
        far.write(b"early")
        leg.hold(b"held and ")
        protocol = self.live(Recorder(), (leg, far))
        self.assertEqual((protocol.made, protocol.received), (1, b""))
        self.turn()
        self.assertEqual(protocol.received, b"held and early")

    def test_begin_watched(self) -> None:
        """
        Bytes whose edge was told to somebody before are found.
        """
        leg, far = self.side()
        far.write(b"early")
        leg.watch()
        self.turn()
        protocol = self.live(Recorder(), (leg, far))
        self.turn()
        self.assertEqual(protocol.received, b"early")

    def test_echo(self) -> None:
        """
        Bytes come and go.
        """
        self.live(Doing(lambda protocol, data: protocol.transport.write(data)))
        data = noise(300_000)
        sent = 0
        got = bytearray()

        def step() -> bool:
            nonlocal sent
            sent += self.far.write(data[sent:][:50_000])
            got.extend(self.far.read(50_000) or b"")
            return len(got) == len(data)

        self.world.until(step)
        self.assertTrue(bytes(got) == data)

    def test_gathering(self) -> None:
        """
        What one event writes is sent at once, in one piece.
        """
        calls: list[int] = []

        def write(protocol: Any, data: bytes) -> None:
            protocol.transport.writeSequence([b"a", b"b"])
            protocol.transport.write(b"")
            protocol.transport.write(bytearray(b"c"))

        self.live(Doing(write))
        send = self.transport.leg.send

        class Leg:
            """
            Counts.
            """

            def __init__(self, leg: Any) -> None:
                self._leg = leg

            def __getattr__(self, name: str) -> Any:
                return getattr(self._leg, name)

            def send(self, data: Any) -> int:
                """
                Count.
                """
                calls.append(len(data))
                taken: int = send(data)
                return taken

        self.transport.leg = Leg(self.transport.leg)
        self.far.write(b"go")
        self.reads(b"abc")
        self.assertEqual(calls, [3])

    def test_not_bytes(self) -> None:
        """
        Text is no bytes.
        """
        self.live(Recorder())
        self.assertRaises(TypeError, self.transport.write, "text")

    def test_changing_buffer(self) -> None:
        """
        What was written is written, whatever becomes of the buffer.
        """
        self.live(Recorder())
        buffer = bytearray(b"abc")
        self.transport.write(buffer)
        buffer[0] = 0
        self.reads(b"abc")

    def test_addresses(self) -> None:
        """
        It knows both ends in Twisted's words, even when it is over.
        """
        leg, far = self.world.plain_tcp()
        protocol = self.live(Recorder(), (leg, far))
        self.transport.abortConnection()
        self.lost(protocol, ConnectionAborted)
        self.assertEqual(self.transport.getPeer(), twisted_address(leg.peer))
        self.assertEqual(self.transport.getHost(), twisted_address(leg.local))

    def test_options(self) -> None:
        """
        TCP has options; what is not TCP, or not connected, has not.
        """
        self.live(Recorder(), self.world.plain_tcp())
        transport = self.transport
        for get, put in (
            (transport.getTcpNoDelay, transport.setTcpNoDelay),
            (transport.getTcpKeepAlive, transport.setTcpKeepAlive),
        ):
            for value in (True, False, True):
                put(value)
                self.assertIs(get(), value)
        transport.abortConnection()
        self.turn()
        transport.setTcpNoDelay(True)
        self.assertFalse(transport.getTcpNoDelay())
        for side in (self.world.plain_unix(), self.world.memory()):
            self.live(Recorder(), side)
            self.transport.setTcpKeepAlive(True)
            self.assertFalse(self.transport.getTcpKeepAlive())
            self.transport.abortConnection()

    def test_turns(self) -> None:
        """
        A client that writes without end does not keep others from their turn, and none of it is forgotten.
        """
        self.patch(module, "TURN", 2)
        self.patch(module, "PIECE", 10)
        protocol = self.live(Recorder())
        self.far.write(noise(5000))
        self.world.legs[-1].told |= IN  # as the poller would
        self.transport._event(IN)
        self.assertEqual(len(protocol.received), 20)
        self.world.until(lambda: len(protocol.received) == 5000)

    # Reading, paused.

    def test_pause(self) -> None:
        """
        A paused transport delivers nothing; resumed, it delivers what came meanwhile, not before resumeProducing
        returns.
        """
        protocol = self.live(Recorder())
        self.transport.pauseProducing()
        self.far.write(b"abc")
        self.turn()
        self.assertEqual(protocol.received, b"")
        self.transport.resumeProducing()
        self.transport.resumeProducing()
        self.assertEqual(protocol.received, b"")
        self.turn()
        self.assertEqual(protocol.received, b"abc")

    def test_pause_in_the_middle(self) -> None:
        """
        Whoever pauses while receiving receives nothing more until resumed, though it has come already.
        """
        self.patch(module, "PIECE", 1)
        protocol = self.live(Doing(lambda protocol, data: protocol.transport.pauseProducing()))
        self.far.write(b"abc")
        self.turn()
        self.assertEqual(protocol.received, b"a")
        protocol.then = lambda protocol, data: None
        self.transport.resumeProducing()
        self.turn()
        self.assertEqual(protocol.received, b"abc")

    def test_pause_and_resume_at_once(self) -> None:
        """
        So does whoever resumes at once.
        """
        self.patch(module, "PIECE", 1)

        def both(protocol: Any, data: bytes) -> None:
            protocol.transport.pauseProducing()
            protocol.transport.resumeProducing()

        protocol = self.live(Doing(both))
        self.far.write(b"abc")
        self.turn()
        self.assertEqual(protocol.received, b"abc")

    def test_end_while_paused(self) -> None:
        """
        An end that comes while it is paused is told when it is resumed, after the bytes before it.
        """
        protocol = self.live(Recorder())
        self.transport.pauseProducing()
        self.far.write(b"last")
        self.far.close()
        self.turn()
        self.assertEqual((protocol.received, protocol.reasons), (b"", []))
        self.transport.resumeProducing()
        self.lost(protocol, ConnectionDone)
        self.assertEqual(protocol.received, b"last")
        self.transport.resumeProducing()

    def test_stop_producing(self) -> None:
        """
        To stop what the far end sends is to close.
        """
        protocol = self.live(Recorder())
        self.transport.stopProducing()
        self.lost(protocol, ConnectionDone)

    # The end.

    def test_far_end(self) -> None:
        """
        The end of the far end is the end of the connection, after what was written.
        """

        def answer(protocol: Any, data: bytes) -> None:
            protocol.transport.write(b"answer")

        protocol = self.live(Doing(answer))
        self.far.write(b"question")
        self.far.finish()
        self.lost(protocol, ConnectionDone)
        self.reads(b"answer")
        self.ended()

    def test_far_reset(self) -> None:
        """
        A broken connection is lost.
        """
        protocol = self.live(Recorder(), self.world.plain_tcp())
        self.far.reset()
        self.lost(protocol, ConnectionLost)
        self.assertIsInstance(protocol.reasons[0].__cause__, OSError)

    def test_lose(self) -> None:
        """
        A connection is closed after everything written was sent, and its protocol told later; nothing is received
        any more.
        """
        protocol = self.live(Recorder())
        data = noise(1_000_000)
        self.transport.write(data)
        self.transport.loseConnection()
        self.transport.loseConnection()
        self.assertTrue(self.transport.disconnecting)
        self.far.write(b"too late")
        self.turn()
        self.assertEqual((protocol.reasons, protocol.received), ([], b""))
        self.reads(data)
        self.lost(protocol, ConnectionDone)
        self.transport.write(b"nobody hears")
        self.transport.loseConnection()
        self.transport.loseWriteConnection()
        self.transport.abortConnection()
        self.turn()

    def test_lose_in_event(self) -> None:
        """
        Whoever closes while receiving has closed when the event is over.
        """

        def close(protocol: Any, data: bytes) -> None:
            protocol.transport.write(b"bye")
            protocol.transport.loseConnection()
            protocol.transport.write(b" bye")

        protocol = self.live(Doing(close))
        self.far.write(b"go")
        self.reads(b"bye bye")
        self.lost(protocol, ConnectionDone)

    def test_close_deadline(self) -> None:
        """
        A far end that never reads is given up some time after the close; one that reads slowly is not.
        """
        protocol = self.live(Recorder(), close_timeout=10.0)
        self.transport.write(noise(3_000_000))
        self.transport.loseConnection()
        self.turn()
        for _ in range(5):
            self.world.reactor.advance(8)
            self.assertTrue(self.far.read(200_000))
            self.turn()
        self.assertEqual(protocol.reasons, [])
        self.world.reactor.advance(10.1)
        self.lost(protocol, ConnectionLost)

    def test_no_deadline_for_producers(self) -> None:
        """
        After a close, time counts while bytes wait for the far end, and not while we wait for our producer.
        """
        protocol = self.live(Recorder(), close_timeout=10.0)
        self.transport.registerProducer(Producer(), True)
        self.transport.loseConnection()
        self.turn()
        self.world.reactor.advance(60)
        self.transport.write(noise(3_000_000))
        self.turn()
        self.world.reactor.advance(9)
        self.assertEqual(protocol.reasons, [])
        self.world.reactor.advance(1.1)
        self.lost(protocol, ConnectionLost)

    def test_deadline_ends_when_sent(self) -> None:
        """
        Once all is sent, a producer may take its time again.
        """
        protocol = self.live(Recorder(), close_timeout=10.0)
        self.transport.registerProducer(Producer(), True)
        self.transport.write(b"abc")
        self.transport.loseConnection()
        self.reads(b"abc")
        self.world.reactor.advance(60)
        self.assertEqual(protocol.reasons, [])
        self.transport.unregisterProducer()
        self.lost(protocol, ConnectionDone)

    def test_abort(self) -> None:
        """
        An aborted connection is reset, and its protocol told later, once.
        """
        protocol = self.live(Recorder(), self.world.plain_tcp())
        self.transport.write(b"never mind")
        self.transport.abortConnection()
        self.transport.abortConnection()
        self.assertEqual(protocol.reasons, [])
        self.lost(protocol, ConnectionAborted)
        self.assertRaises(ConnectionResetError, self.far.sock.recv, 100)

    def test_abort_in_event(self) -> None:
        """
        Whoever aborts while receiving receives nothing more.
        """
        self.patch(module, "PIECE", 1)
        protocol = self.live(Doing(lambda protocol, data: protocol.transport.abortConnection()))
        self.far.write(b"abc")
        self.lost(protocol, ConnectionAborted)
        self.assertEqual(protocol.received, b"a")

    # Faults.

    def failed(self, protocol: Any) -> None:
        """
        It has lost its connection by its own fault, which was logged.
        """
        self.lost(protocol, ZeroDivisionError)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_fault_in_data_received(self) -> None:
        """
        A protocol that raises loses its connection.
        """
        protocol = self.live(Doing(fault))
        self.far.write(b"abc")
        self.failed(protocol)
        self.assertEqual(protocol.received, b"abc")

    def test_fault_in_connection_made(self) -> None:
        """
        So does one that raises at the beginning.
        """
        protocol = Recorder()
        self.patch(protocol, "connectionMade", fault)
        self.failed(self.live(protocol))

    def test_fault_in_halves(self) -> None:
        """
        So does one that raises when told of a half-close, either half.
        """
        protocol = self.live(Halves(on_read=fault))
        self.far.finish()
        self.failed(protocol)
        protocol = self.live(Halves(on_write=fault))
        self.transport.loseWriteConnection()
        self.failed(protocol)

    def test_fault_in_the_end(self) -> None:
        """
        A fault in connectionLost, or in a producer that is stopped, is logged and changes nothing.
        """
        protocol = Recorder()
        self.patch(protocol, "connectionLost", fault)
        self.live(protocol)
        producer = Producer()
        self.patch(producer, "stopProducing", fault)
        self.transport.registerProducer(producer, True)
        self.transport.abortConnection()
        self.turn()
        self.assertFalse(self.transport.connected)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)

    def test_fault_in_producer(self) -> None:
        """
        A producer that raises loses the connection.
        """
        protocol = self.live(Recorder())
        producer = Producer(lambda: self.transport.write(b"x"))
        self.transport.registerProducer(producer, False)
        producer.then = fault
        self.lost(protocol, ConnectionLost)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    # Half-closes.

    def test_half_closed_by_far(self) -> None:
        """
        A protocol that knows of half-closes is told of one, and may go on writing.
        """
        protocol = self.live(Halves())
        self.far.write(b"question")
        self.far.finish()
        self.turn()
        self.assertEqual((protocol.received, protocol.told, protocol.reasons), (b"question", ["read"], []))
        data = noise(500_000)
        self.transport.write(data)
        self.transport.loseConnection()
        self.reads(data)
        self.ended()
        self.lost(protocol, ConnectionDone)

    def test_half_closed_by_us(self) -> None:
        """
        We may end our half, after what was written, and go on receiving; with the far end's half all is over.
        """
        protocol = self.live(Halves())
        self.transport.write(b"question")
        self.transport.loseWriteConnection()
        self.transport.loseWriteConnection()
        self.reads(b"question")
        self.ended()
        self.transport.write(b"too late")
        self.far.write(b"answer")
        self.turn()
        self.assertEqual((protocol.received, protocol.told), (b"answer", ["write"]))
        self.far.finish()
        self.lost(protocol, ConnectionDone)

    def test_half_closed_both(self) -> None:
        """
        The other way round, too: once both halves have ended nothing can happen any more.
        """
        protocol = self.live(Halves())
        self.far.finish()
        self.turn()
        self.transport.loseWriteConnection()
        self.lost(protocol, ConnectionDone)
        self.assertEqual(protocol.told, ["read", "write"])

    def test_half_closed_for_others(self) -> None:
        """
        A protocol that knows nothing of half-closes may ask for one.
        """
        protocol = self.live(Recorder())
        self.transport.loseWriteConnection()
        self.ended()
        self.far.write(b"answer")
        self.turn()
        self.assertEqual((protocol.received, protocol.reasons), (b"answer", []))
        self.transport.loseConnection()
        self.lost(protocol, ConnectionDone)

    def test_wish_when_told(self) -> None:
        """
        Whoever closes when told of its half-close is closed.
        """
        protocol = self.live(Halves(on_write=lambda protocol: protocol.transport.loseConnection()))
        self.transport.loseWriteConnection()
        self.lost(protocol, ConnectionDone)

    def test_gone_after_half(self) -> None:
        """
        A far end that breaks the connection after its half-close is noticed, though nothing is written.
        """
        protocol = self.live(Halves(), self.world.plain_tcp())
        self.far.finish()
        self.world.until(lambda: protocol.told)
        self.far.reset()
        self.lost(protocol, ConnectionLost)

    def test_gone_while_writing(self) -> None:
        """
        So is one that does while bytes wait.
        """
        protocol = self.live(Halves(), self.world.plain_tcp())
        self.far.finish()
        self.world.until(lambda: protocol.told)
        self.transport.write(noise(20_000_000))
        self.turn()
        self.far.reset()
        self.lost(protocol, ConnectionLost)

    # Producers.

    def test_push(self) -> None:
        """
        A push producer is paused when much waits, and resumed when nothing does.
        """
        self.live(Recorder())
        producer = Producer()
        self.transport.registerProducer(producer, True)
        data = noise(1_000_000)
        self.transport.write(data[:HIGH_WATER])
        self.assertEqual(producer.told, [])
        self.transport.write(data[HIGH_WATER:])
        self.transport.write(b"one more")
        self.assertEqual(producer.told, ["pause"])
        self.reads(data + b"one more")
        self.turn()
        self.assertEqual(producer.told, ["pause", "resume"])

    def test_push_onto_much(self) -> None:
        """
        One that comes when much waits already is paused at once.
        """
        self.live(Recorder())
        self.transport.write(noise(1_000_000))
        producer = Producer()
        self.transport.registerProducer(producer, True)
        self.assertEqual(producer.told, ["pause"])
        self.assertRaises(RuntimeError, self.transport.registerProducer, producer, True)

    def test_close_waits_for_producer(self) -> None:
        """
        A close waits until the producer is done.
        """
        protocol = self.live(Recorder())
        producer = Producer()
        self.transport.registerProducer(producer, True)
        self.transport.loseConnection()
        self.transport.write(b"more")
        self.reads(b"more")
        self.assertEqual(protocol.reasons, [])
        self.transport.unregisterProducer()
        self.lost(protocol, ConnectionDone)
        self.assertEqual(producer.told, [])

    def test_half_close_waits_for_producer(self) -> None:
        """
        So does a half-close.
        """
        self.live(Recorder())
        self.transport.registerProducer(Producer(), True)
        self.transport.loseWriteConnection()
        self.turn()
        self.assertIsNone(self.far.read(1))
        self.transport.write(b"last")
        self.transport.unregisterProducer()
        self.reads(b"last")
        self.ended()

    def test_unregister(self) -> None:
        """
        A producer may go; the connection stays.
        """
        protocol = self.live(Recorder())
        self.transport.registerProducer(Producer(), True)
        self.transport.unregisterProducer()
        self.turn()
        self.assertEqual(protocol.reasons, [])

    def test_lost_with_producer(self) -> None:
        """
        A producer whose consumer is gone is stopped; one that comes too late is, too.
        """
        protocol = self.live(Recorder())
        producer = Producer()
        self.transport.registerProducer(producer, True)
        self.transport.abortConnection()
        self.lost(protocol, ConnectionAborted)
        late = Producer()
        self.transport.registerProducer(late, True)
        self.assertEqual((producer.told, late.told), (["stop"], ["stop"]))

    def pulled(self, data: bytes, piece: int) -> Producer:
        """
        A pull producer of some bytes.
        """
        position = 0

        def produce() -> None:
            nonlocal position
            self.transport.write(data[position : position + piece])
            position += piece
            if position >= len(data):
                self.transport.unregisterProducer()
                self.transport.loseConnection()

        return Producer(produce)

    def test_pull(self) -> None:
        """
        A pull producer is asked whenever nothing waits, until it has produced all.
        """
        for piece in (100_000, 1000):
            protocol = self.live(Recorder())
            data = noise(500_000)
            producer = self.pulled(data, piece)
            self.transport.registerProducer(producer, False)
            self.reads(data)
            self.lost(protocol, ConnectionDone)
            self.assertEqual(producer.told, ["resume"] * (500_000 // piece))

    def test_pull_is_bounded(self) -> None:
        """
        One whose far end does not read is not asked.
        """
        self.live(Recorder())
        producer = Producer(lambda: self.transport.write(noise(100_000)))
        self.transport.registerProducer(producer, False)
        self.turn(20)
        asked = len(producer.told)
        self.turn(20)
        self.assertEqual(len(producer.told), asked)

    def test_pull_later(self) -> None:
        """
        One that has nothing now may write when it has.
        """
        self.live(Recorder())
        producer = Producer()
        self.transport.registerProducer(producer, False)
        self.far.write(b"an event, but not of its kind")
        self.turn()
        self.assertEqual(producer.told, ["resume"])
        self.transport.write(b"now")
        self.reads(b"now")
        self.turn()
        self.assertEqual(producer.told, ["resume", "resume"])

    def test_crashed(self) -> None:
        """
        A fault of ours loses the connection, once.
        """
        protocol = self.live(Recorder())
        self.transport.crashed()
        self.transport.crashed()
        self.lost(protocol, ConnectionLost)


class Streaming(Resource):
    """
    Answers with all of a body, as a push producer.
    """

    isLeaf = True

    def __init__(self, body: bytes) -> None:
        super().__init__()
        self.body = body
        self.paused = False

    def render_GET(self, request: Any) -> int:
        """
        Begin.
        """
        self.request = request
        request.registerProducer(self, True)
        self.resumeProducing()
        return NOT_DONE_YET

    def resumeProducing(self) -> None:
        """
        Write until paused.
        """
        self.paused = False
        while self.body and not self.paused:
            piece, self.body = self.body[:10_000], self.body[10_000:]
            self.request.write(piece)
        if not self.body:
            self.request.unregisterProducer()
            self.request.finish()

    def pauseProducing(self) -> None:
        """
        Stop for now.
        """
        self.paused = True

    def stopProducing(self) -> None:
        """
        Stop for good.
        """
        self.body = b""
        self.paused = True


class SiteTests(TransportTestCase):
    """
    twisted.web lives on it.
    """

    def test_large_answer(self) -> None:
        """
        A large answer arrives whole, and never lies in memory whole.
        """
        body = noise(3_000_000)
        self.live(Site(Streaming(body), reactor=self.world.reactor).buildProtocol(None))
        most = 0
        got = bytearray()
        self.far.write(b"GET / HTTP/1.0\r\n\r\n")

        def step() -> bool:
            nonlocal most
            most = max(most, self.transport._waiting)
            piece: bytes | None = self.far.read(50_000)
            got.extend(piece or b"")
            return piece == b""

        self.world.until(step)
        self.assertTrue(bytes(got).endswith(b"\r\n\r\n" + body))
        self.assertLess(most, HIGH_WATER + 20_000)


class TlsTests(TransportTestCase):
    """
    On legs that speak TLS.
    """

    def side(self) -> Any:
        return self.world.tls_over(self.world.plain_tcp)

    def test_interfaces(self) -> None:
        """
        It says that it is secure, and has what the handshake found: None where ALPN was not used, and not empty bytes.
        """
        self.live(Recorder())
        self.assertTrue(verifyObject(INegotiated, self.transport))
        self.assertTrue(verifyObject(ISSLTransport, self.transport))
        self.assertIsNone(self.transport.negotiatedProtocol)
        self.assertIsNone(self.transport.getPeerCertificate())
        self.assertIs(self.transport.getHandle(), self.transport.leg.connection)
        self.transport.setTcpNoDelay(True)
        self.assertTrue(self.transport.getTcpNoDelay())

    def test_negotiated(self) -> None:
        """
        A client sees the server's certificate, and both see the protocol.
        """
        near, far = self.world.pair()
        inside, outside = near, far

        server = TlsLeg(inside, tls.server())
        raw = leg_of(self.world.poller, outside)
        client = TlsLeg(raw, tls.client(alpn=True))
        self.world.until(lambda: bool(client.handshake()) + bool(server.handshake()) == 2)
        self.world.legs += [server, client]
        ours, theirs = Recorder(), Recorder()
        first = open_protocol(server, ours, self.world.network)
        second: Any = open_protocol(client, theirs, self.world.network)
        self.assertEqual((first.negotiatedProtocol, second.negotiatedProtocol), (tls.ALPN, tls.ALPN))  # type: ignore[attr-defined]
        self.assertEqual(second.getPeerCertificate().get_subject().CN, "leg.example.com")
        first.write(b"hello")
        second.write(b"you")
        self.world.until(lambda: ours.received == b"you" and theirs.received == b"hello")
        first.loseConnection()
        self.world.until(lambda: theirs.reasons)
        self.assertEqual([type(each) for each in ours.reasons + theirs.reasons], [ConnectionDone, ConnectionDone])

    def test_much(self) -> None:
        """
        Much goes out and all of it arrives, then the end.
        """
        protocol = self.live(Recorder(), self.world.tls_over(self.world.plain_unix))
        data = noise(500_000)
        self.transport.write(data)
        self.transport.loseConnection()
        self.reads(data)
        self.ended()
        self.lost(protocol, ConnectionDone)

    def test_pause(self) -> None:
        """
        What OpenSSL holds already is delivered after a pause, though the socket has nothing more to say.
        """
        self.patch(module, "PIECE", 10)
        protocol = self.live(Doing(lambda protocol, data: protocol.transport.pauseProducing()))
        self.far.write(b"x" * 100)
        for number in range(1, 11):
            self.world.until(lambda: len(protocol.received) == 10 * number)  # noqa: B023
            self.transport.resumeProducing()
        self.assertEqual(len(protocol.received), 100)


class PortableTests(TransportTestCase):
    """
    On a Twisted transport, by way of a leg.
    """

    def side(self) -> Any:
        return self.world.memory()

    def test_much(self) -> None:
        """
        Much goes out and all of it arrives, then the end.
        """
        protocol = self.live(Recorder())
        data = noise(500_000)
        self.transport.write(data)
        self.transport.loseConnection()
        self.reads(data)
        self.lost(protocol, ConnectionDone)
        self.assertIsNone(self.transport.getHandle())

    def test_fault(self) -> None:
        """
        A protocol with a fault loses its connection here, too.
        """
        protocol = self.live(Doing(fault))
        self.far.write(b"x")
        self.lost(protocol, ZeroDivisionError)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
