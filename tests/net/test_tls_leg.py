"""
Tests of sniproxy/net/tls_leg.py: legs that speak TLS.
"""

from __future__ import annotations

import socket
from typing import Any

from OpenSSL import SSL
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sniproxy.errors import TlsFailure
from sniproxy.interfaces import ILeg
from sniproxy.net import tls_leg
from sniproxy.net.legs import LINGER, nothing
from sniproxy.net.poller import IN, Poller
from sniproxy.net.tickets import WAIT, Tickets
from sniproxy.net.tls_leg import TlsLeg
from sniproxy.tls.native import stop_at_records_without_data
from tests.net.conformance import TlsFar, World, noise
from tests.support import tls
from tests.support.legs import Reactor, Waiter, open_descriptors


class TlsLegTests(SynchronousTestCase):
    """
    Over a socket, for the most part.
    """

    def setUp(self) -> None:
        """
        A leg over a unix socket, and its far end, which speaks TLS too.
        """
        self.before = open_descriptors()
        self.world = World()
        self.leg: Any
        self.far: Any

    def tearDown(self) -> None:
        """
        Nothing stays open.
        """
        self.world.end()
        self.assertEqual(open_descriptors() - self.before, set())

    def fresh(self, server: Any = None, tcp: bool = False) -> Any:
        """
        A leg whose handshake has not begun, and the socket at its far end.
        """
        raw, end = self.world.plain_tcp() if tcp else self.world.plain_unix()
        leg = TlsLeg(raw, server or tls.server())
        self.world.legs.append(leg)
        self.world.fars.append(end)
        self.leg = leg
        return leg, end

    def shaken(self, tcp: bool = False, version: int | None = None) -> Any:
        """
        One whose handshake is done.
        """
        raw, end = self.world.plain_tcp() if tcp else self.world.plain_unix()
        leg = TlsLeg(raw, tls.server(version))
        far = TlsFar(end, tls.client())
        self.world.legs.append(leg)
        self.world.fars.append(far)
        leg.watch()
        self.world.until(lambda: bool(far.shake()) + leg.handshake() == 2)
        self.leg, self.far = leg, far
        return leg, far

    def received(self, length: int) -> bytes:
        """
        What the leg receives.
        """
        got = bytearray()

        def step() -> bool:
            got.extend(self.leg.receive(length - len(got)) or b"")
            return len(got) == length

        self.world.until(step)
        return bytes(got)

    def reads(self) -> bytes:
        """
        What the far end gets until the end.
        """
        got = bytearray()

        def step() -> bool:
            piece: bytes | None = self.far.read(65536)
            got.extend(piece or b"")
            return piece == b""

        self.world.until(step)
        return bytes(got)

    def block(self) -> int:
        """
        Send until nothing is taken any more.
        """
        data = noise(16384)
        total = taken = 0
        while taken or not total:
            taken = self.leg.send(data)
            total += taken
        return total

    def test_interface(self) -> None:
        """
        It is a leg, whose descriptor carries other bytes than its own; what it does not know, the leg below does.
        """
        leg, _ = self.shaken()
        self.assertTrue(verifyObject(ILeg, leg))
        self.assertFalse(leg.plain)
        self.assertIsNone(leg.descriptor())
        self.assertIs(leg.socket(), leg.raw.sock)
        self.assertEqual((leg.peer, leg.local), (leg.raw.peer, leg.raw.local))
        self.assertFalse(leg.watch())
        self.assertFalse(leg.cramped(1))
        owner = Waiter()
        edges: list[int] = []
        leg.owner, leg.handler = owner, edges.append
        self.assertIs(leg.owner, owner)
        self.assertEqual(leg.handler, edges.append)
        self.world.turn()
        edges.clear()
        leg.again()
        self.world.turn()
        self.assertEqual(len(edges), 1)

    def test_bytes(self) -> None:
        """
        Bytes go both ways.
        """
        leg, far = self.shaken()
        self.assertIsNone(leg.receive(10))
        far.write(b"hello")
        self.assertEqual(self.received(5), b"hello")
        self.assertEqual(leg.send(memoryview(b"you too")), 7)
        leg.close()
        self.assertEqual(self.reads(), b"you too")

    def test_held(self) -> None:
        """
        What is held comes first; peeking holds, and so does filling, to a limit.
        """
        leg, far = self.shaken()
        self.assertIsNone(leg.peek(3))
        leg.hold(b"first ")
        far.write(b"second third")
        self.assertEqual(leg.peek(3), b"fir")
        self.assertEqual(leg.take_held(), b"first ")
        self.world.until(lambda: leg.peek(6) == b"second")
        self.assertTrue(leg.fill(9))
        self.assertEqual(leg.held, b"second th")
        self.assertTrue(leg.fill(100))
        self.assertEqual(leg.receive(100), b"second third")
        far.finish()
        self.world.until(lambda: not leg.fill(100))
        self.assertEqual(leg.peek(1), b"")

    def test_first_read(self) -> None:
        """
        Whoever waits for the first bytes is told once.
        """
        leg, far = self.shaken()
        told: list[int] = []
        leg.first_read = lambda: told.append(1)
        self.assertIsNone(leg.receive(1))
        self.assertEqual(told, [])
        far.write(b"abc")
        self.received(2)
        self.received(1)
        self.assertEqual(told, [1])

    def test_half_close(self) -> None:
        """
        After our close_notify we still receive; after theirs we still send.
        """
        leg, far = self.shaken()
        leg.send(b"question")
        leg.finish()
        leg.finish()
        self.assertEqual(self.reads(), b"question")
        far.write(b"answer")
        self.assertEqual(self.received(6), b"answer")
        leg, far = self.shaken()
        far.write(b"question")
        far.finish()
        self.assertEqual(self.received(8), b"question")
        self.world.until(lambda: leg.receive(10) == b"")
        self.assertEqual(leg.receive(10), b"")
        self.assertEqual(leg.send(b"answer"), 6)
        leg.close()
        self.assertEqual(self.reads(), b"answer")

    def test_silent(self) -> None:
        """
        It is silent when all that came was received, down to the last byte of the last record, and until more comes.
        """
        leg, far = self.shaken()
        self.assertTrue(leg.silent())
        self.assertIsNone(leg.receive(10))
        self.assertTrue(leg.silent())
        for data in (b"a word", noise(16384)):
            far.write(data)
            far.turn()
            self.world.until(lambda: not leg.silent())
            self.assertEqual(self.received(len(data) - 1), data[:-1])
            self.assertFalse(leg.silent())
            self.assertEqual(leg.receive(10), data[-1:])
            self.world.until(lambda: leg.receive(10) is None and leg.silent())
        leg.hold(b"held")
        self.assertFalse(leg.silent())
        self.assertEqual(leg.take_held(), b"held")
        far.finish()
        far.turn()
        self.world.until(lambda: not leg.silent())
        self.assertEqual(leg.receive(10), b"")
        self.assertFalse(leg.silent())

    def test_silent_before_the_end(self) -> None:
        """
        It is not when an end came with the bytes, whether it was seen with them or waits.
        """
        for data in (b"a word", noise(16384)):
            leg, far = self.shaken()
            self.assertIsNone(leg.receive(10))
            far.write(data)
            far.finish()
            far.turn()
            self.world.until(lambda leg=leg: not leg.silent())  # type: ignore[misc]
            self.assertEqual(leg.receive(65536), data)
            self.assertFalse(leg.silent())
            self.assertEqual(leg.receive(65536), b"")

    def test_silent_no_more(self) -> None:
        """
        It is not when an error waits to be told.
        """
        leg, far = self.shaken()
        self.assertIsNone(leg.receive(10))
        far._raw.write(b"no record at all")
        self.world.until(lambda: not leg.silent())
        self.assertRaises(OSError, leg.receive, 10)

    def test_end_without_notice(self) -> None:
        """
        An end without close_notify is an end.
        """
        leg, far = self.shaken()
        far.write(b"abc")
        far.turn()
        far._raw.finish()
        self.assertEqual(self.received(3), b"abc")
        self.world.until(lambda: leg.receive(10) == b"")

    def test_end_in_handshake(self) -> None:
        """
        A far end that leaves during the handshake is no TLS failure, and nginx has words for it.
        """
        leg, end = self.fresh()
        self.assertFalse(leg.handshake())
        end.close()
        error = self.assertRaises(ConnectionResetError, leg.handshake)
        self.assertEqual((error.errno, str(error)), (0, "[Errno 0] peer closed connection in SSL handshake"))
        leg.finish()

    def test_reset_in_handshake(self) -> None:
        """
        One that breaks the connection is.
        """
        leg, end = self.fresh(tcp=True)
        self.assertFalse(leg.handshake())
        end.reset()
        error = self.assertRaises(OSError, leg.handshake)
        self.assertNotIsInstance(error, TlsFailure)
        self.assertEqual(error.errno, 104)

    def test_not_tls(self) -> None:
        """
        What is not TLS fails with OpenSSL's reasons, and the far end gets an alert.
        """
        leg, end = self.fresh()
        end.write(b"\x16\x03\x01\x00\x05hello")
        error = self.assertRaises(TlsFailure, leg.handshake)
        self.assertEqual(error.reasons[0][0], "SSL routines")
        self.assertEqual(str(error), error.reasons[0][2])
        self.assertEqual(end.read(100)[:1], b"\x15")
        leg.close()
        self.assertEqual(end.read(100), b"")

    def test_bad_record(self) -> None:
        """
        A record that was tampered with breaks the connection: nothing is received, and nothing is sent after the alert.
        """
        leg, far = self.shaken()
        far._raw.write(b"\x17\x03\x03\x00\x20" + bytes(32))
        self.world.turn()
        self.assertRaises(TlsFailure, leg.receive, 100)
        self.assertRaises(OSError, leg.send, b"more")
        leg.finish()
        leg.close()

    def test_broken(self) -> None:
        """
        A connection that breaks is no TLS failure, whether it is noticed by receiving or by sending.
        """
        for call in (lambda leg: leg.receive(100), lambda leg: [leg.send(b"x" * 1000) for _ in range(3)]):
            leg, far = self.shaken(tcp=True)
            far.reset()
            self.world.turn()
            error = self.assertRaises(OSError, call, leg)
            self.assertNotIsInstance(error, TlsFailure)
            self.assertIn(error.errno, (32, 104))
            leg.finish()
            leg.close()

    def test_pressure(self) -> None:
        """
        When nothing is taken any more, 0 is answered, and the same bytes come again.
        """
        leg, far = self.shaken()
        data = noise(1_000_000)
        sent = 0
        got = bytearray()

        def step() -> bool:
            nonlocal sent
            while sent < len(data) and (taken := leg.send(memoryview(data)[sent : sent + 40_000])):
                sent += taken
            got.extend(far.read(30_000) or b"")
            return len(got) == len(data)

        self.world.until(step)
        self.assertTrue(bytes(got) == data)

    def test_close(self) -> None:
        """
        A close says so, and what was sent is delivered.
        """
        leg, _ = self.shaken()
        leg.send(b"last words")
        leg.close()
        self.assertEqual(self.reads(), b"last words")

    def fill(self) -> int:
        """
        Send until there is no room, but owe nothing.
        """
        total: int = self.block()
        data = noise(16384)
        read = 0
        while (taken := self.leg.send(data)) < len(data):
            total += taken
            read += len(self.far.read(1024) or b"")
        return int(total + taken - read)

    def drained(self, then: Any = None) -> int:
        """
        How much the far end gets until the end.
        """
        got = 0

        def step() -> bool:
            nonlocal got
            piece: bytes | None = self.far.read(65536)
            got += len(piece or b"")
            if then is not None:
                then()
            return piece == b""

        self.world.until(step)
        return got

    def test_close_without_room(self) -> None:
        """
        A close_notify that finds no room goes out when there is some: else the far end would take it for an attack.
        """
        leg, far = self.shaken()
        total = self.fill()
        leg.owner = Waiter()
        leg.close()
        self.assertGreaterEqual(leg.raw.number, 0)
        self.assertEqual(self.drained(), total)
        self.world.turn()
        self.assertEqual(leg.raw.number, -1)
        self.assertTrue(far.notified)
        self.assertEqual(self.world.reactor.getDelayedCalls(), [])

    def test_close_to_nobody(self) -> None:
        """
        But not for ever.
        """
        leg, _ = self.shaken()
        self.fill()
        leg.close()
        self.world.turn()
        self.assertGreaterEqual(leg.raw.number, 0)
        self.world.reactor.advance(LINGER + 0.1)
        self.assertEqual(leg.raw.number, -1)

    def test_close_too_early(self) -> None:
        """
        A leg that is closed before everything was taken says no such thing: the far end shall notice that something
        is missing.
        """
        leg, far = self.shaken()
        self.block()
        leg.close()
        self.assertEqual(leg.raw.number, -1)
        self.drained()
        self.assertFalse(far.notified)

    def test_finish_without_room(self) -> None:
        """
        One that ends our half only goes out with the next event.
        """
        leg, far = self.shaken()
        total = self.fill()
        leg.finish()
        self.assertEqual(self.drained(lambda: leg.receive(100)), total)
        self.assertTrue(far.notified)
        far.write(b"and yet")
        self.assertEqual(self.received(7), b"and yet")

    def test_last(self) -> None:
        """
        What is sent last goes with the end; where there is no end, or too much for one record, it goes like anything.
        """
        for data in (b"last", noise(20_000)):
            leg, far = self.shaken()
            taken = leg.send_last(data)
            while taken < len(data):
                taken += leg.send_last(data[taken:])
            self.world.turn()
            leg.close()
            self.assertEqual(self.reads(), data)
            self.assertTrue(far.notified)

    def test_last_behind(self) -> None:
        """
        Where the far end lacks some of what came before, the last record is not kept: it might not find room later.
        """
        leg, far = self.shaken()
        leg.send(b"first")
        self.assertEqual(leg.send_last(b", second"), 8)
        got: list[bytes] = []

        def whole() -> bool:
            got.append(far.read(99) or b"")
            return sum(map(len, got)) == 13

        self.world.until(whole)
        self.assertEqual(b"".join(got), b"first, second")
        self.assertEqual(leg.send_last(b", third"), 7)
        self.assertIsNone(far.read(99))
        leg.close()
        self.assertEqual(self.reads(), b", third")

    def test_last_without_room(self) -> None:
        """
        It waits for its turn behind what found no room.
        """
        leg, _ = self.shaken()
        self.block()
        self.assertEqual(leg.send_last(b"x"), 0)

    def test_notice_behind_a_record(self) -> None:
        """
        A close_notify that has come with the last whole record is told after it.
        """
        leg, far = self.shaken()
        data = noise(16384)
        self.assertEqual(far.write(data), 16384)
        far._connection.shutdown()
        far._flush()
        self.world.turn()
        self.assertEqual([leg.receive(65536), leg.receive(65536)], [data, b""])

    def test_lingers_below(self) -> None:
        """
        Whoever is over a TLS leg, and has last words, waits below it.
        """
        leg, _ = self.shaken()
        leg.linger(lambda: True)
        self.assertGreaterEqual(leg.raw.number, 0)
        self.world.until(lambda: leg.raw.number < 0 or leg.raw.handler(4))

    def test_no_circle(self) -> None:
        """
        A leg that was closed keeps nobody whom it would have told of its first bytes.
        """
        for end in ("close", "abort"):
            leg, _ = self.shaken()
            leg.first_read = lambda: None
            getattr(leg, end)()
            self.assertIsNone(leg.first_read)

    def test_abort(self) -> None:
        """
        An abort says nothing, not even later.
        """
        leg, far = self.shaken(tcp=True)
        leg.abort()
        leg.close()
        leg.finish()
        far._raw.sock.setblocking(True)

        def read() -> None:
            while far._raw.sock.recv(65536):
                pass

        self.assertRaises(ConnectionResetError, read)

    def test_unfinished_handshake(self) -> None:
        """
        A leg that is closed before its handshake is done just closes.
        """
        leg, end = self.fresh()
        leg.handshake()
        leg.close()
        self.assertEqual(end.read(100), b"")

    def test_several_records(self) -> None:
        """
        A few records are received at once, where they have come and more is asked for than one bears; the rest is
        received next, and so is what breaks behind them.
        """
        leg, far = self.shaken()
        data = noise(3 * 16384 + 100)
        sent = 0
        while sent < len(data):
            sent += far.write(data[sent:])
            self.world.turn()
        first = leg.receive(40000)
        self.assertEqual((len(first), first), (40000, data[:40000]))
        self.assertEqual(self.received(len(data) - 40000), data[40000:])
        far.write(data[:16384])
        far._raw.write(b"\x17\x03\x03\x00\x20" + bytes(32))
        self.world.turn()
        self.assertEqual(leg.receive(65536), data[:16384])
        self.assertRaises(TlsFailure, leg.receive, 65536)
        self.assertRaises(TlsFailure, leg.receive, 65536)

    def test_several_records_out(self) -> None:
        """
        What is sent goes into as many records as it needs, a few at a time.
        """
        leg, _ = self.shaken()
        data = noise(100_000)
        self.assertEqual(leg.send(data), 65536)
        leg.send(data[65536:])
        leg.close()
        self.assertEqual(self.reads(), data)

    def test_brief(self) -> None:
        """
        The last words of a handshake wait for the first bytes, if they may, or until some are waited for.
        """
        for act in (lambda leg: leg.send(b"word"), lambda leg: leg.receive(10)):
            raw, end = self.world.plain_unix()
            leg, far = TlsLeg(raw, tls.client()), TlsFar(end, tls.server())
            leg.brief = True
            self.world.legs.append(leg)
            self.world.fars.append(far)
            leg.watch()
            self.world.until(lambda: leg.handshake() or bool(far.shake()))  # noqa: B023
            for _ in range(5):
                self.world.turn()
                self.assertFalse(far.shake())
            act(leg)
            self.world.until(lambda: bool(far.shake()))  # noqa: B023

    def ticketed(self, version: int | None = None) -> Any:
        """
        A server's leg whose handshake is done, and whose tickets may wait; the end of what the far end was sent is the
        last that was said before.
        """
        raw, end = self.world.plain_unix()
        leg, far = TlsLeg(raw, tls.server(version)), TlsFar(end, tls.client())
        leg.tickets_wait = True
        self.world.legs.append(leg)
        self.world.fars.append(far)
        leg.watch()
        self.world.until(lambda: (far.shake(), leg.handshake())[1])
        self.sock = end.sock
        return leg

    def waiting(self) -> int:
        """
        How many bytes there are for the far end.
        """
        try:
            return len(self.sock.recv(1 << 16, socket.MSG_PEEK | socket.MSG_DONTWAIT))
        except BlockingIOError:
            return 0

    def test_tickets_with_the_first_bytes(self) -> None:
        """
        A TLS 1.3 server's tickets go with its first bytes, and with its last if there are no others.
        """
        for act in (lambda leg: leg.send(b"word"), lambda leg: leg.finish(), lambda leg: leg.close()):
            leg = self.ticketed()
            self.assertIsNone(leg.receive(10))
            self.assertEqual(self.waiting(), 0)
            act(leg)
            self.assertGreater(self.waiting(), 300)

    def test_tickets_before_a_long_wait(self) -> None:
        """
        If it says nothing, they go when bytes are waited for the second time.
        """
        leg = self.ticketed()
        for waiting in (False, True, True):
            self.assertIsNone(leg.receive(10))
            self.assertEqual(bool(self.waiting()), waiting)

    def test_tickets_hurry(self) -> None:
        """
        They do not wait for ever; and who is closed before has them sent, and is not held for their sake.
        """
        clock = Clock()
        tickets = Tickets(clock)
        leg = self.ticketed()
        leg.wait_with(tickets)
        clock.pump([WAIT * 0.9, WAIT * 0.2])
        self.assertEqual(self.waiting(), 0)
        clock.advance(WAIT)
        self.assertGreater(self.waiting(), 300)
        leg.wait_with(tickets)
        self.assertEqual(clock.getDelayedCalls(), [])
        for end in (TlsLeg.close, TlsLeg.abort):
            leg = self.ticketed()
            leg.wait_with(tickets)
            end(leg)
            self.assertEqual(tickets._young[-1], [])

    def test_tickets_hurry_to_nobody(self) -> None:
        """
        Where the far end is gone, that is for those to find who read or send.
        """
        leg = self.ticketed()
        leg.raw.sock.close()
        leg.hurry()
        leg.hurry()

    def test_nothing_else_waits(self) -> None:
        """
        What a TLS 1.2 server says last ends the handshake: it goes at once.
        """
        self.ticketed(SSL.TLS1_2_VERSION)
        self.assertGreater(self.waiting(), 0)

    def test_hungry(self) -> None:
        """
        One that is told to begin with what the far end says begins with what is held below.
        """
        raw, end = self.world.plain_unix()
        leg, far = TlsLeg(raw, tls.server()), TlsFar(end, tls.client())
        self.world.legs.append(leg)
        self.world.fars.append(far)
        leg.hungry = True
        leg.watch()
        self.assertFalse(leg.handshake())
        self.assertEqual(leg.connection.get_state_string(), b"before SSL initialization")
        far.shake()
        self.world.until(lambda: raw.fill(4096) and bool(raw.held))
        self.assertFalse(leg.handshake())
        self.assertEqual(raw.held, b"")
        self.world.until(lambda: bool(far.shake()) + leg.handshake() == 2)

    def records_without_data(self) -> list[bytes | None]:
        """
        What a leg receives from a server that sends two tickets before its first word.
        """
        raw, end = self.world.plain_unix()
        connection = tls.client()
        stop_at_records_without_data(connection)
        leg, far = TlsLeg(raw, connection), TlsFar(end, tls.server())
        self.world.legs.append(leg)
        self.world.fars.append(far)
        leg.watch()
        self.world.until(lambda: leg.handshake() + bool(far.shake()) == 2)
        far.write(b"behind two tickets")
        got: list[bytes | None] = []
        leg.handler = lambda bits: got.append(leg.receive(100))
        self.world.until(lambda: any(got))
        return got

    def test_records_without_data(self) -> None:
        """
        OpenSSL stops at records without data; what is behind them is received nevertheless.
        """
        self.assertEqual(self.records_without_data(), [b"behind two tickets"])

    def test_patience(self) -> None:
        """
        Too many such records at once, and others have their turn before the rest.
        """
        self.patch(tls_leg, "PATIENCE", 1)
        self.patch(tls_leg, "RECORD", 100)
        got = self.records_without_data()
        self.assertGreater(len(got), 3)
        self.assertEqual((set(got[:-1]), got[-1]), ({None}, b"behind two tickets"))

    def test_short_numbers(self) -> None:
        """
        A closed leg never says anything again: its number may be somebody else's.
        """
        leg, _ = self.shaken()
        number = leg.raw.number
        leg.abort()
        near, far = socket.socketpair()
        if far.fileno() == number:
            near, far = far, near
        self.assertEqual(near.fileno(), number)
        far.setblocking(False)
        leg.finish()
        leg.close()
        self.assertRaises(BlockingIOError, far.recv, 10)
        near.close()
        far.close()

    def test_held_below(self) -> None:
        """
        Bytes that were taken early, and put back, are TLS's.
        """
        raw, end = self.world.plain_unix()
        far = TlsFar(end, tls.client())
        self.world.legs.append(raw)
        self.world.fars.append(end)
        far.shake()
        raw.fill(100)
        self.assertEqual(len(raw.held), 100)
        leg = TlsLeg(raw, tls.server())
        self.world.until(lambda: bool(far.shake()) + leg.handshake() == 2)

    def test_counts(self) -> None:
        """
        A record that the leg below did not take is not counted before it does.
        """
        leg, far = self.shaken()
        total = self.block()
        self.assertGreater(leg._owed, 0)
        self.assertEqual(leg.send(b"the same again"), 0)
        got = 0

        def step() -> bool:
            nonlocal got
            got += len(far.read(65536) or b"")
            return bool(leg._flush()) and got == total + leg._owed

        self.world.until(step)
        owed = leg._owed
        self.assertEqual(leg.send(b"x" * owed), owed)
        self.assertEqual(leg._owed, 0)

    def test_over_itself(self) -> None:
        """
        It goes over any leg, one of its own kind, too.
        """
        outer, far = self.shaken()
        inner = TlsLeg(outer, tls.server())
        inside = TlsFar(far, tls.client())
        self.world.until(lambda: bool(inside.shake()) + inner.handshake() == 2)
        inside.write(b"deep")
        self.world.until(lambda: inner.peek(4) == b"deep")

    def test_alert_to_nobody(self) -> None:
        """
        A failure is told as such, though its alert finds nobody.
        """
        leg, end = self.fresh()
        end.write(b"\x16\x03\x01\x00\x05hello")
        end.close()
        self.assertRaises(TlsFailure, leg.handshake)

    def test_finish_to_nobody(self) -> None:
        """
        An end that nobody hears is no error.
        """
        leg, far = self.shaken()
        far.close()
        leg.finish()
        leg.finish()

    def test_without_option(self) -> None:
        """
        Where OpenSSL takes an end without close_notify for an error, it is an end all the same.
        """
        context = SSL.Context(SSL.TLS_METHOD)
        raw, end = self.world.plain_unix()
        connection = SSL.Connection(context, None)
        connection.set_connect_state()
        leg = self.leg = TlsLeg(raw, connection)
        server = SSL.Connection(tls.server_context(), None)
        server.set_accept_state()
        far = TlsFar(end, server)
        self.world.legs.append(leg)
        self.world.fars.append(end)
        self.world.until(lambda: leg.handshake() + bool(far.shake()) == 2)
        end.close()
        self.world.until(lambda: leg.receive(10) == b"")


class Below:
    """
    A leg in memory, and its far end, which speaks TLS: for who must see the order in which things happen.
    """

    plain = True
    owner = None

    def __init__(self, name: str, order: list[str], waiting: list[Any], far: SSL.Connection) -> None:
        self.handler: Any = None
        self.closed = False
        self._name = name
        self._order = order
        self._waiting = waiting
        self._far = far

    def later(self, step: Any) -> None:
        """
        Wait for the next wave.
        """
        self._waiting.append(step)

    def receive(self, limit: int) -> bytes | None:
        """
        What the far end has said.
        """
        try:
            data = bytes(self._far.bio_read(limit))
        except SSL.WantReadError:
            return None
        self._order.append(f"{self._name} receives")
        return data

    def send(self, data: bytes) -> int:
        """
        Let the far end have it.
        """
        self._order.append(f"{self._name} sends")
        return self._far.bio_write(data)

    def again(self) -> None:
        """
        Nobody gets that far.
        """

    def close(self) -> None:
        """
        Note it.
        """
        self.closed = True


class ShakeTests(SynchronousTestCase):
    """
    Handshakes that take their steps together.
    """

    def setUp(self) -> None:
        """
        Two servers' legs, each with a client's hello to read.
        """
        self.order: list[str] = []
        self.waiting: list[Any] = []
        self.told: list[tuple[str, OSError | None]] = []
        self.fars: dict[str, SSL.Connection] = {}
        self.legs: dict[str, TlsLeg] = {}
        for name in "ab":
            self.begin(name)

    def begin(self, name: str) -> None:
        """
        One of them.
        """
        far = self.fars[name] = tls.client()
        self.assertRaises(SSL.WantReadError, far.do_handshake)
        leg = self.legs[name] = TlsLeg(Below(name, self.order, self.waiting, far), tls.server())
        leg.hungry = True

    def shake(self) -> None:
        """
        Begin with both.
        """
        for name, leg in self.legs.items():
            leg.shake(lambda error, name=name: self.told.append((name, error)))  # type: ignore[misc]

    def wave(self) -> None:
        """
        Take all steps that wait.
        """
        waiting = self.waiting[:]
        self.waiting.clear()
        for step in waiting:
            step()

    def edges(self) -> None:
        """
        Tell all of something new.
        """
        self.edges_of("".join(self.legs))

    def test_together(self) -> None:
        """
        Both receive, then OpenSSL goes on with both, then both send, before anybody receives again.
        """
        self.shake()
        self.assertEqual(self.order, ["a receives", "b receives"])
        self.wave()
        self.assertEqual(self.order[2:], [])
        self.wave()
        self.assertEqual(self.order[2:], ["a sends", "b sends"])
        self.assertEqual((self.waiting, self.told), ([], []))
        for far in self.fars.values():
            far.do_handshake()
        self.edges()
        self.wave()
        self.assertEqual(self.told, [])
        self.wave()
        self.assertEqual(self.told, [("a", None), ("b", None)])
        self.assertEqual([leg.established for leg in self.legs.values()], [True, True])
        self.assertIs(self.legs["a"].raw.handler, nothing)
        self.fars["a"].send(b"a word")
        self.assertEqual(self.legs["a"].receive(10), b"a word")

    def test_edge_between_the_steps(self) -> None:
        """
        An edge while OpenSSL's turn is yet to come asks for no second one.
        """
        self.shake()
        self.edges()
        self.assertEqual(len(self.waiting), 2)
        self.wave()
        self.edges()
        self.assertEqual(len(self.waiting), 2)

    def test_failure(self) -> None:
        """
        What fails one is told with its alert sent, and the other goes on.
        """
        self.shake()
        self.wave()
        self.wave()
        self.fars["a"] = tls.client()  # it knows nothing of the handshake, and begins one
        self.legs["a"].raw._far = self.fars["a"]
        self.assertRaises(SSL.WantReadError, self.fars["a"].do_handshake)
        self.fars["b"].do_handshake()
        self.order.clear()
        self.edges()
        self.wave()
        ((name, error),) = self.told
        self.assertEqual(name, "a")
        self.assertIsInstance(error, TlsFailure)
        self.assertEqual(self.order, ["a receives", "b receives", "a sends"])
        self.wave()
        self.assertEqual(self.told[1:], [("b", None)])

    def test_counted(self) -> None:
        """
        Where steps can wait for each other, handshakes are counted as long as they are in progress, however they end.
        """
        cohort = Poller(Reactor())
        self.addCleanup(cohort.stop)
        for name in "abc":
            far = self.fars[name] = tls.client()
            self.assertRaises(SSL.WantReadError, far.do_handshake)
            self.legs[name] = TlsLeg(Below(name, self.order, self.waiting, far), tls.server(), cohort)
            self.legs[name].hungry = True
        self.shake()
        self.assertEqual(cohort.shaking, 3)
        self.legs["c"].close()
        self.assertEqual(cohort.shaking, 2)
        self.wave()
        self.fars["a"].do_handshake()
        self.edges_of("a")
        self.wave()
        self.assertEqual(cohort.shaking, 1)
        self.legs["b"].raw.receive = lambda limit: b""
        self.edges_of("b")
        self.assertEqual([name for name, _ in self.told], ["a", "b"])
        self.assertEqual(cohort.shaking, 0)
        self.legs["b"].close()
        self.assertEqual(cohort.shaking, 0)

    def edges_of(self, names: str) -> None:
        """
        Tell some of them of something new.
        """
        for name in names:
            self.legs[name].raw.handler(IN)

    def test_closed_between_the_steps(self) -> None:
        """
        Nobody is told of a leg that was closed, whichever step it waited for.
        """
        self.shake()
        self.legs["a"].close()
        self.wave()
        self.legs["b"].close()
        self.wave()
        self.assertEqual((self.order, self.waiting, self.told), (["a receives", "b receives"], [], []))
        self.assertTrue(self.legs["a"].raw.closed and self.legs["b"].raw.closed)

    def test_end(self) -> None:
        """
        A far end that leaves is told of as one.
        """
        self.shake()
        self.wave()
        self.wave()
        raw = self.legs["a"].raw
        raw.receive = lambda limit: b""
        raw.handler(IN)
        self.wave()
        ((name, error),) = self.told
        self.assertEqual(name, "a")
        self.assertIsInstance(error, ConnectionResetError)
        raw.handler(IN)
        self.assertEqual((len(self.told), self.waiting), (1, []))
