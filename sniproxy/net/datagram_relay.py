"""
How datagrams get from a client to an upstream and back: whole, counted, and no faster than is allowed.

Strategy: what L{sniproxy.net.relay} is for streams, without an end that could be seen. Each side is read until there
is nothing more; a datagram that the other side has no room for waits, and with it those behind it. After each step it
is asked whether the session has what it was to have: so many datagrams from the client (C{proxy_requests}), and so
many answers to each (C{proxy_responses}; ngx_stream_proxy_test_finalize).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from sniproxy.net.datagrams import LARGEST
from sniproxy.net.legs import nothing
from sniproxy.net.rated import MOMENT, Rates
from sniproxy.net.relay import Result, Side
from sniproxy.net.timers import Holder

TURN: Final = 64
"""How many datagrams a way moves before others have their turn."""


@dataclass(frozen=True, slots=True)
class DatagramOptions:
    """
    How a relay of datagrams is to behave.

    @ivar requests: how many datagrams a client may send in one session; 0 for any number.
    @ivar responses: how many answers each of them gets; None where that is not known.
    @ivar timeout: seconds without a datagram either way after which the holder expires.
    """

    requests: int = 0
    responses: int | None = None
    timeout: float = 600.0


class Pace:
    """
    No more than so many bytes a second, in whole datagrams. Owns a timer while it lets nothing through.

    @ivar until: when it lets something through again; None while it does.
    """

    __slots__ = ("_begun", "_clock", "_rate", "_timer", "_wake", "moved", "until")

    def __init__(self, rate: int, begun: float, clock: IReactorTime, wake: Callable[[], None]) -> None:
        """
        @param rate: bytes a second; 0 for any number.
        @param wake: called when it lets something through again.
        """
        self._rate = rate
        self._begun = begun
        self._clock = clock
        self._wake = wake
        self._timer: IDelayedCall | None = None
        self.moved = 0
        self.until: float | None = None

    def ready(self) -> bool:
        """
        Whether one more datagram may pass, of whatever size.
        """
        if not self._rate:
            return True
        if self.until is not None:
            return False
        now = self._clock.seconds()
        spare = self._rate * (int(now - self._begun) + 1) - self.moved
        if spare > 0:
            return True
        self._wait(now, -spare / self._rate + MOMENT)
        return False

    def passed(self, size: int) -> None:
        """
        One has.
        """
        self.moved += size
        if self._rate:
            seconds = size / self._rate
            if seconds >= MOMENT:
                self._wait(self._clock.seconds(), seconds)

    def _wait(self, now: float, seconds: float) -> None:
        self.until = now + seconds
        self._timer = self._clock.callLater(seconds, self._over)

    def _over(self) -> None:
        self.until = self._timer = None
        self._wake()

    def stop(self) -> None:
        """
        Wake nobody any more.
        """
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()


class Way:
    """
    One direction.

    @ivar received: bytes taken from the source.
    @ivar sent: bytes the sink took.
    @ivar count: datagrams taken from the source.
    @ivar began: when the first one came, on the clock of the deadline; None before.
    @ivar pending: what the sink has no room for.
    """

    __slots__ = ("began", "count", "pace", "pending", "prefix", "received", "sent", "side", "sink", "source")

    def __init__(self, side: Side, source: Any, sink: Any, pace: Pace) -> None:
        self.side: Side = side
        self.source = source
        self.sink = sink
        self.pace = pace
        self.prefix = b""
        self.pending: bytes | None = None
        self.received = 0
        self.sent = 0
        self.count = 0
        self.began: float | None = None


class DatagramRelaying:
    """
    Two ways at work. Owns the legs' handlers until C{done}; does not close them. Waits under C{holder}'s deadline,
    which every move puts off, and which waits for rates.
    """

    __slots__ = ("_done", "_ended", "_now", "_refused", "down", "holder", "options", "up")

    def __init__(
        self,
        client: Any,
        upstream: Any,
        options: DatagramOptions,
        rates: Rates,
        clock: IReactorTime,
        done: Callable[[Result | None], None],
        refused: Callable[[OSError], None],
        holder: Holder,
        prefix: bytes = b"",
    ) -> None:
        """
        @param client: L{sniproxy.net.datagrams.ClientDatagrams}.
        @param upstream: L{sniproxy.net.datagrams.UpstreamDatagrams}.
        @param clock: the one of deadlines.
        @param done: called once, with what could not be sent, or None where the session has all that it was to have.
        @param refused: called with each error that the upstream, or the network before it, has answered.
        @param prefix: what stands before the first datagram to the upstream, in the same one.
        """
        self.options = options
        self.holder = holder
        self._now = clock.seconds
        self._done: Callable[[Result | None], None] | None = done
        self._refused = refused
        self._ended = False
        self.up = Way("client", client, upstream, Pace(rates.up, rates.begun, clock, client.again))
        self.up.prefix = prefix
        self.down = Way("upstream", upstream, client, Pace(rates.down, rates.begun, clock, upstream.again))

    def begin(self) -> None:
        """
        Take the legs, and move what is there already.
        """
        up, down = self.up, self.down
        up.source.handler = self.client_event
        down.source.handler = self.upstream_event
        if self.options.requests:
            up.source.stop_at(self.options.requests)
        down.source.watch()
        self.move(up)

    def client_event(self, bits: int) -> None:
        """
        The client has sent something, or there is room for what it is to get.
        """
        self.move(self.up)
        if self.down.pending is not None and not self._ended:
            self.move(self.down)

    def upstream_event(self, bits: int) -> None:
        """
        The same of the upstream.
        """
        self.move(self.down)
        if self.up.pending is not None and not self._ended:
            self.move(self.up)

    def move(self, way: Way) -> None:
        """
        Move what can be moved now.
        """
        for _ in range(TURN):
            if way.pending is not None and not self._send(way):
                break
            if not way.pace.ready():
                break
            try:
                data: bytes | None = way.source.receive(LARGEST)
            except OSError as error:
                # What the network says of a datagram that was sent counts as the answer to it, and an empty one goes
                # to the client, as with nginx.
                self._refused(error)
                self._take(way, b"")
            else:
                if data is None:
                    break
                self._take(way, data)
            if self._ended:
                return
        else:
            way.source.again()
        if not self._ended:
            self._put_off()
            self._finish()

    def _take(self, way: Way, data: bytes) -> None:
        if way.began is None:
            way.began = self._now()
        way.count += 1
        way.received += len(data)
        way.pace.passed(len(data))
        way.pending = way.prefix + data if way.prefix else data
        way.prefix = b""

    def _send(self, way: Way) -> bool:
        """
        @return: whether to go on.
        """
        data = way.pending
        assert data is not None
        try:
            if not way.sink.send_datagram(data):
                return False
        except OSError as error:
            way.pending = None
            self.end(Result("upstream" if way.side == "client" else "client", error, sending=True))
            return False
        way.sent += len(data)
        way.pending = None
        return True

    def _put_off(self) -> None:
        due = self._now() + self.options.timeout
        for way in (self.up, self.down):
            if way.pace.until is not None:
                due = max(due, way.pace.until + self.options.timeout)
        self.holder.due = due

    @property
    def complete(self) -> bool:
        """
        Whether there were as many answers as there were to be; also where nobody knows how many.
        """
        responses = self.options.responses
        return responses is None or self.down.count >= responses * self.up.count

    def _finish(self) -> None:
        options = self.options
        if options.responses is None or self.up.count < options.requests or not self.complete:
            return
        if self.up.pending is None and self.down.pending is None:
            self.end(None)

    def end(self, result: Result | None) -> None:
        """
        Report, once.
        """
        done = self._done
        self.stop()
        if done is not None:
            done(result)

    def stop(self) -> None:
        """
        Give the legs back without a report.
        """
        self._ended = True
        self._done = None
        for way in (self.up, self.down):
            way.pace.stop()
            way.source.handler = nothing
