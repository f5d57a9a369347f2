"""
What every relay owes, whatever its legs: the one suite that runs over all of them.

Strategy: a L{World} has a relay between two legs, and the far end of each in the hands of the test. Far ends never
block; L{World.turn} lets everybody do what they can do now. What differs between relays (who reads with what) is in
the worlds, and never in a test.
"""

from __future__ import annotations

import hashlib
import socket
import struct
from collections.abc import Callable
from typing import Any

from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.net.poller import IN, OUT
from sniproxy.net.portable import Landing
from sniproxy.net.relay import WIDE, Options, PumpRelay, Relaying, Result
from sniproxy.net.tls_leg import TlsLeg
from tests.support import tls
from tests.support.legs import Engine, Waiter, open_descriptors
from tests.support.memory import MemoryTransport

RESET = struct.pack("ii", 1, 0)

LARGE = 700_001
"""Bytes that cross the threshold of splice and fill every buffer, and no round number."""


def noise(length: int, seed: bytes = b"") -> bytes:
    """
    Bytes in which nothing repeats, so that a piece lost, doubled or moved is noticed.
    """
    return hashlib.shake_128(seed + b"noise").digest(length)


class SocketFar:
    """
    The far end of a socket.
    """

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock

    def write(self, data: bytes) -> int:
        """
        @return: how many bytes were taken.
        """
        try:
            return self.sock.send(data)
        except BlockingIOError:
            return 0

    def read(self, limit: int) -> bytes | None:
        """
        @return: None for nothing now, empty for the end.
        """
        try:
            return self.sock.recv(limit)
        except BlockingIOError:
            return None

    def finish(self) -> None:
        """
        Say that nothing more will come.
        """
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """
        Break the connection.
        """
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.sock.close()

    def close(self) -> None:
        """
        Leave.
        """
        self.sock.close()

    def turn(self) -> None:
        """
        The kernel does it.
        """


class TlsFar:
    """
    TLS over a far end, by memory.

    @ivar notified: the end that was read came with close_notify.
    """

    def __init__(self, raw: Any, connection: SSL.Connection) -> None:
        self._raw = raw
        self._connection = connection
        self._out = b""
        self._ended = False
        self.notified = False

    def _flush(self) -> bool:
        """
        @return: whether all that OpenSSL wrote was taken.
        """
        while True:
            if not self._out:
                try:
                    self._out = self._connection.bio_read(65536)
                except SSL.WantReadError:
                    return True
            sent = self._raw.write(self._out)
            self._out = self._out[sent:]
            if not sent:
                return False

    def _feed(self, limit: int) -> None:
        data = None if self._ended else self._raw.read(limit)
        if data:
            self._connection.bio_write(data)
        elif data is not None:
            self._ended = True
            self._connection.bio_shutdown()

    def shake(self) -> bool:
        """
        @return: whether the handshake is done.
        """
        self._feed(65536)
        try:
            self._connection.do_handshake()
        except SSL.WantReadError:
            return False
        finally:
            self._flush()
        return True

    def write(self, data: bytes) -> int:
        """
        @return: how many bytes were taken.
        """
        if not self._flush():
            return 0
        sent = self._connection.send(data[:16384])
        self._flush()
        return sent

    def read(self, limit: int) -> bytes | None:
        """
        @return: None for nothing now, empty for the end.
        """
        for last in (False, True):
            try:
                return self._connection.recv(limit)
            except SSL.WantReadError:
                if not last:
                    self._feed(limit)
            except SSL.ZeroReturnError:
                self.notified = not self._ended
                return b""
        return None

    def finish(self) -> None:
        """
        Say that nothing more will come.
        """
        self._connection.shutdown()
        self._flush()

    def turn(self) -> None:
        """
        Send what is left.
        """
        try:
            self._flush()
        except OSError:
            self._out = b""
        self._raw.turn()

    def reset(self) -> None:
        """
        Break the connection.
        """
        self._raw.reset()

    def close(self) -> None:
        """
        Leave.
        """
        self._raw.close()


class MemoryFar:
    """
    The far end of a transport in memory.
    """

    def __init__(self, transport: MemoryTransport) -> None:
        self._transport = transport
        self.write = transport.far_write
        self.read = transport.far_read
        self.finish = transport.far_finish
        self.reset = transport.far_reset
        self.close = transport.far_finish
        self.turn = transport.turn


class World(Engine):
    """
    Two legs, a relay between them, and their far ends.

    @ivar done: what the relay reported, each time.
    """

    def __init__(self) -> None:
        super().__init__()
        self.memories: list[MemoryTransport] = []
        self.fars: list[Any] = []
        self.holder = Waiter()
        self.done: list[Result] = []
        self.legs: list[Any] = []
        self.relaying: Any = None

    def turn(self) -> None:
        """
        Everybody does what can be done now.
        """
        for far in self.fars:
            far.turn()
        super().turn()

    def plain_unix(self) -> tuple[Any, Any]:
        """
        A leg over a unix socket, and its far end.
        """
        leg, far = self.pair()
        return leg, SocketFar(far)

    def plain_tcp(self) -> tuple[Any, Any]:
        """
        A leg over TCP, and its far end.
        """
        leg, far = self.tcp()
        return leg, SocketFar(far)

    def memory(self) -> tuple[Any, Any]:
        """
        A leg over a transport in memory, and its far end.
        """
        transport = MemoryTransport()
        self.memories.append(transport)
        landing = Landing(self.reactor, lambda leg: None)
        transport.start(landing)
        return landing.leg, MemoryFar(transport)

    def tls_over(self, below: Callable[[], tuple[Any, Any]]) -> tuple[Any, Any]:
        """
        A leg that speaks TLS over another, its handshake done, and its far end.
        """
        raw, far = below()
        leg = TlsLeg(raw, tls.server())
        end = TlsFar(far, tls.client())
        leg.watch()
        for _ in range(1000):
            far.turn()
            ready = end.shake()
            if leg.handshake() and ready:
                return leg, end
            super().turn()
        raise AssertionError("the handshake does not end")

    def begin(self, relay: Any, options: Options) -> None:
        """
        Put a relay between them; not begun.
        """
        self.relaying = relay.make(*self.legs, options, self.report, self.holder, self.reactor.seconds)
        for leg in self.legs:
            leg.owner = self.holder

    def report(self, result: Result) -> None:
        """
        Note it, and close the legs, as sessions do.
        """
        self.done.append(result)
        for leg in self.legs:
            leg.close()

    def end(self) -> None:
        """
        Close everything.
        """
        if self.relaying is not None:
            self.relaying.stop()
        for leg in self.legs:
            leg.close()
        for far in self.fars:
            far.close()
        self.turn()
        self.reactor.advance(100)
        self.stop()


class Conformance:
    """
    Mixed into a test case that says C{connect}, and perhaps C{relay}.

    @ivar most: bytes that may lie anywhere between two far ends, one of which writes and the other does not read.
    """

    most = 24 * 1024 * 1024
    resets = True
    """Whether the far end can break the connection so that it is noticed as an error."""

    world: World

    def connect(self, world: World) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
        """
        @return: leg and far end of the client; the same of the upstream.
        """
        raise NotImplementedError

    def relay(self, world: World) -> Any:
        """
        @return: L{sniproxy.interfaces.IRelay}.
        """
        return PumpRelay()

    def setUp(self) -> None:
        """
        A world, and what was open before there was one.
        """
        self.before = open_descriptors()
        self.world = World()
        self.client_side, self.upstream_side = self.connect(self.world)
        self.client, self.upstream = self.client_side[1], self.upstream_side[1]
        self.world.legs = [self.client_side[0], self.upstream_side[0]]
        self.world.fars = [self.client, self.upstream]

    def tearDown(self) -> None:
        """
        Nothing stays open.
        """
        self.world.end()
        assert self.world.holder.crashes == 0
        assert open_descriptors() <= self.before, open_descriptors() - self.before

    def go(self, **options: Any) -> Relaying:
        """
        Begin to relay.
        """
        relay = self.relay(self.world)
        self.world.begin(relay, Options(**options))
        relaying: Relaying = self.world.relaying
        relaying.begin()
        return relaying

    def carry(self, *ways: tuple[Any, Any, bytes], piece: int = 65536, sip: int = 65536) -> None:
        """
        Write and read, each way at once, until everything has arrived as it was written.
        """
        test: Any = self
        written = [0] * len(ways)
        arrived = [bytearray() for _ in ways]

        def step() -> bool:
            for number, (source, sink, data) in enumerate(ways):
                if written[number] < len(data):
                    written[number] += source.write(data[written[number] :][:piece])
                got = sink.read(sip)
                if got:
                    arrived[number] += got
                test.assertNotEqual(got, b"", "an end before its time")
            return all(len(got) >= len(data) for got, (_, _, data) in zip(arrived, ways, strict=True))

        if not step():
            self.world.until(step)
        for got, (_, _, data) in zip(arrived, ways, strict=True):
            test.assertTrue(got == data, "other bytes than were written")

    def fill(self, far: Any) -> int:
        """
        Write until nothing is taken any more.

        @return: how much was taken.
        """
        data = noise(65536)
        total = idle = 0
        while idle < 50:
            taken = far.write(data)
            total += taken
            idle = 0 if taken else idle + 1
            self.world.turn()
            assert total < self.most, "no back-pressure"
        return total

    def drain(self, far: Any, length: int) -> int:
        """
        Read what comes until there are C{length} bytes or the end.
        """
        total = 0

        def step() -> bool:
            nonlocal total
            while got := far.read(65536):
                total += len(got)
            return got == b"" or total >= length

        self.world.until(step)
        return total

    def reads(self, far: Any, wanted: Any) -> None:
        """
        The next that comes is this.
        """
        test: Any = self
        got = []

        def step() -> bool:
            data = far.read(65536)
            if data is not None:
                got.append(data)
            return bool(got)

        self.world.until(step)
        test.assertEqual(got, [wanted])


class RelayTests(Conformance):
    """
    The suite.
    """

    def test_both_ways(self: Any) -> None:
        """
        Large streams go both ways at once, in order, and every byte is counted.
        """
        relaying = self.go()
        up, down = noise(LARGE, b"up"), noise(LARGE + 12345, b"down")
        self.carry((self.client, self.upstream, up), (self.upstream, self.client, down))
        self.assertEqual((relaying.up.received, relaying.up.sent), (len(up), len(up)))
        self.assertEqual((relaying.down.received, relaying.down.sent), (len(down), len(down)))
        self.assertEqual(self.world.done, [])

    def test_one_by_one(self: Any) -> None:
        """
        Bytes written one at a time arrive.
        """
        self.go()
        self.carry((self.client, self.upstream, noise(300)), (self.upstream, self.client, noise(200, b"b")), piece=1)

    def test_slow_reader(self: Any) -> None:
        """
        A reader who sips gets all.
        """
        self.go()
        self.carry((self.upstream, self.client, noise(300_000)), sip=3001)

    def test_ping_pong(self: Any) -> None:
        """
        Many small turns, first one side, then the other, and none is forgotten.
        """
        self.go()
        for number in range(100):
            self.carry((self.client, self.upstream, noise(64, bytes([number]))))
            self.carry((self.upstream, self.client, noise(64, bytes([number, 1]))))

    def test_upstream_first(self: Any) -> None:
        """
        An upstream that speaks first is heard, whether or not it had spoken before the relay began.
        """
        self.upstream.write(b"220 ready")
        self.go()
        self.reads(self.client, b"220 ready")

    def test_held(self: Any) -> None:
        """
        What was put back on either side goes first, and counts.
        """
        self.client_side[0].hold(b"first ")
        self.upstream_side[0].hold(b"erst ")
        relaying = self.go()
        self.client.write(b"second")
        self.assertEqual(self.gather(self.upstream, 12), b"first second")
        self.upstream.write(b"dann")
        self.assertEqual(self.gather(self.client, 9), b"erst dann")
        self.assertEqual((relaying.up.received, relaying.down.received), (12, 9))
        self.assertIsNotNone(relaying.up.began)

    def gather(self: Any, far: Any, length: int) -> bytes:
        got = bytearray()

        def step() -> bool:
            got.extend(far.read(65536) or b"")
            return len(got) >= length

        if not step():
            self.world.until(step)
        return bytes(got)

    def test_pressure_up(self: Any) -> None:
        """
        An upstream that does not read stops the client, and the relay holds no more than it may; then all arrives.
        """
        self.pressure(self.client, self.upstream, "up")

    def test_pressure_down(self: Any) -> None:
        """
        So does a client that does not read.
        """
        self.pressure(self.upstream, self.client, "down")

    def pressure(self: Any, source: Any, sink: Any, name: str) -> None:
        relaying = self.go()
        flow = getattr(relaying, name)
        total = self.fill(source)
        inside = flow.received - flow.sent
        most = Options().buffer_size if flow.source.plain and flow.sink.plain else WIDE
        self.assertLessEqual(inside, max(most, flow.pipe.capacity if flow.pipe else 0))
        self.assertTrue(flow.stuck)
        self.carry((sink, source, noise(5000)))  # the other way goes on meanwhile
        self.assertEqual(self.drain(sink, total), total)
        self.assertEqual((flow.received, flow.sent), (total, total))
        self.carry((source, sink, noise(5000)))

    def test_client_ends(self: Any) -> None:
        """
        The end of a client ends the relay, after everything it wrote has arrived.
        """
        self.go()
        data = noise(100_000)
        self.write_all(self.client, data, self.upstream)
        self.client.finish()
        self.ends(self.upstream, data)
        self.assertEqual(self.world.done, [Result("client")])

    def test_upstream_ends(self: Any) -> None:
        """
        So does that of an upstream.
        """
        self.go()
        data = noise(100_000)
        self.write_all(self.upstream, data, self.client)
        self.upstream.finish()
        self.ends(self.client, data)
        self.assertEqual(self.world.done, [Result("upstream")])

    def write_all(self: Any, far: Any, data: bytes, other: Any) -> None:
        """
        Have all of it taken; what comes out at the other end meanwhile is kept for L{ends}.
        """
        self.early = bytearray()
        position = 0

        def step() -> bool:
            nonlocal position
            if position < len(data):
                position += far.write(data[position:][:65536])
            self.early += other.read(65536) or b""
            return bool(position == len(data))

        if not step():
            self.world.until(step)

    def ends(self: Any, far: Any, data: bytes) -> None:
        got: bytearray = self.early

        def step() -> bool:
            piece: bytes | None = far.read(65536)
            got.extend(piece or b"")
            return piece == b""

        self.world.until(step)
        self.assertTrue(got == data, f"{len(got)} bytes of {len(data)}")

    def test_end_while_stuck(self: Any) -> None:
        """
        An upstream that ends while the client does not read: what was read still goes out, then the relay ends.
        """
        relaying = self.go()
        total = self.fill(self.upstream)
        self.upstream.finish()
        for _ in range(5):
            self.world.turn()
        self.assertEqual(self.world.done, [])
        self.assertEqual(self.drain(self.client, total + 1), total)
        self.assertEqual((relaying.down.received, relaying.down.sent), (total, total))
        self.assertEqual(self.world.done, [Result("upstream")])

    def test_end_while_other_stuck(self: Any) -> None:
        """
        A client that ends while it still owes reading gets what was taken for it, then the relay ends.
        """
        relaying = self.go()
        self.fill(self.upstream)
        self.assertTrue(relaying.down.stuck)
        self.client.finish()
        got = self.drain(self.client, 1 << 30)
        self.assertEqual(self.world.done, [Result("client")])
        self.assertEqual((relaying.down.received, relaying.down.sent), (got, got))

    def test_half_close(self: Any) -> None:
        """
        With half_close the end of a client is passed on, and the upstream may go on until it ends too.
        """
        self.go(half_close=True)
        self.write_all(self.client, b"question", self.upstream)
        self.client.finish()
        self.ends(self.upstream, b"question")
        self.assertEqual(self.world.done, [])
        answer = noise(300_000)
        self.carry((self.upstream, self.client, answer))
        self.assertEqual(self.world.done, [])
        self.upstream.finish()
        self.reads(self.client, b"")
        self.assertEqual(self.world.done, [Result("upstream")])

    def test_half_close_upstream(self: Any) -> None:
        """
        And the other way round.
        """
        self.go(half_close=True)
        self.write_all(self.upstream, b"greeting", self.client)
        self.upstream.finish()
        self.ends(self.client, b"greeting")
        self.carry((self.client, self.upstream, noise(300_000)))
        self.client.finish()
        self.reads(self.upstream, b"")
        self.assertEqual(self.world.done, [Result("client")])

    def test_end_with_last_bytes(self: Any) -> None:
        """
        Bytes and an end that are there before the relay begins are both seen.
        """
        self.client.write(b"all")
        self.client.finish()
        self.world.turn()
        self.go()
        self.early = bytearray()
        self.ends(self.upstream, b"all")
        self.assertEqual(self.world.done, [Result("client")])

    def test_end_after_exchange(self: Any) -> None:
        """
        An end that comes together with the last bytes is seen, however often bytes came before.
        """
        self.go(half_close=True)
        self.carry((self.client, self.upstream, noise(100)))
        self.carry((self.client, self.upstream, noise(100)))
        self.write_all(self.client, b"last", self.upstream)
        self.client.finish()
        self.ends(self.upstream, b"last")

    def test_reset_client(self: Any) -> None:
        """
        A client that breaks the connection ends the relay.
        """
        self.broken(self.client, "client")

    def test_reset_upstream(self: Any) -> None:
        """
        So does an upstream.
        """
        self.broken(self.upstream, "upstream")

    def broken(self: Any, far: Any, side: str) -> None:
        self.go()
        self.carry((self.client, self.upstream, noise(200_000)))
        far.reset()
        self.world.until(lambda: self.world.done)
        (result,) = self.world.done
        self.assertEqual(result.side, side)
        if self.resets:
            self.assertIsInstance(result.error, OSError)

    def test_reset_after_end(self: Any) -> None:
        """
        A client that has ended its half and then breaks the connection is not kept until the upstream speaks.
        """
        if not self.resets:
            return
        self.go(half_close=True)
        self.write_all(self.client, b"question", self.upstream)
        self.client.finish()
        self.ends(self.upstream, b"question")
        self.client.reset()
        self.world.until(lambda: self.world.done)
        self.assertEqual(self.world.done, [Result("client")])

    def test_reset_upstream_after_end(self: Any) -> None:
        """
        Nor is an upstream.
        """
        if not self.resets:
            return
        self.go(half_close=True)
        self.write_all(self.upstream, b"greeting", self.client)
        self.upstream.finish()
        self.ends(self.client, b"greeting")
        self.upstream.reset()
        self.world.until(lambda: self.world.done)
        self.assertEqual(self.world.done, [Result("upstream")])

    def test_idle(self: Any) -> None:
        """
        Bytes that move put the deadline off; events in which none does, do not.
        """
        relaying = self.go(timeout=10.0)
        world = self.world
        world.network.deadlines.set(world.holder, 10.0)
        for _ in range(3):
            world.reactor.advance(9)
            self.carry((self.client, self.upstream, b"I am here"))
            world.reactor.advance(9)
            self.carry((self.upstream, self.client, b"so am I"))
        self.assertEqual(world.holder.expirations, 0)
        world.reactor.advance(9)
        relaying.up(IN | OUT)
        relaying.down(IN | OUT)
        world.reactor.advance(1.1)
        self.assertEqual(world.holder.expirations, 1)

    def test_stop(self: Any) -> None:
        """
        A relay that is stopped gives the legs back: it moves nothing any more, and does not report.
        """
        relaying = self.go()
        self.carry((self.client, self.upstream, noise(200_000)))
        relaying.stop()
        self.client.write(b"for somebody else")
        for _ in range(5):
            self.world.turn()
        self.assertIsNone(self.upstream.read(100))
        self.assertEqual(self.world.done, [])
        self.world.until(lambda: self.client_side[0].peek(100) is not None)
        self.assertEqual(self.client_side[0].receive(100), b"for somebody else")

    def test_stop_while_stuck(self: Any) -> None:
        """
        So does one that is stopped while it holds bytes.
        """
        relaying = self.go()
        self.fill(self.client)
        relaying.stop()
        self.assertIsNone(relaying.up.pipe)

    def test_stopped_by_report(self: Any) -> None:
        """
        Whoever is told of the end may stop the relay and close the legs; nothing is told twice.
        """
        relaying = self.go()
        report = self.world.report

        def stopping(result: Result) -> None:
            relaying.stop()
            report(result)
            relaying.stop()

        relaying._done = stopping
        self.carry((self.client, self.upstream, noise(1000)))
        self.client.finish()
        self.world.until(lambda: self.world.done)
        relaying.end(Result("upstream"))
        self.assertEqual(self.world.done, [Result("client")])


class RelayTestCase(RelayTests, SynchronousTestCase):
    """
    What test cases derive from; it has no legs of its own.
    """

    def run(self, result: Any = None) -> Any:
        """
        Only classes that connect something have tests.
        """
        if type(self).connect is Conformance.connect:
            return None
        return super().run(result)
