"""
How bytes get from one leg to the other: the relay that fits any two legs.

Strategy: a relay is two flows. A flow receives into one pending piece and sends it on; it reads again only when the
piece is gone, so back-pressure needs no high-water mark and a flow holds at most C{buffer_size} bytes, or C{WIDE}
where TLS is on a side and that is more. A flow waits either for its source (it is hungry) or for its sink (it is
stuck); an edge of a leg therefore concerns one flow that is hungry for it and one that is stuck on it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal

from zope.interface import classImplements

from sniproxy.interfaces import ILeg, IRelay
from sniproxy.net.bound import over, plain, receive, send, send_last, set_handler, take_held, watch
from sniproxy.net.legs import nothing
from sniproxy.net.poller import ERR, HUP, READABLE
from sniproxy.net.timers import Holder, put_off

TURN: Final = 64
"""How many pieces a flow moves before others have their turn."""

WIDE: Final = 64 * 1024
"""Bytes that a flow moves at a time at least, where TLS is on a side: a few records cost little more than one."""

GONE: Final = ERR | HUP
"""A leg is broken, or closed both ways: after its last byte was received, there is nobody left to send to."""

NEVER: Final = 1 << 62
"""More bytes than any flow moves."""

Side = Literal["client", "upstream"]


@dataclass(frozen=True, slots=True)
class Options:
    """
    How a relay is to behave.

    @ivar buffer_size: bytes a flow may hold; L{WIDE} at least where TLS is on a side.
    @ivar half_close: the end of one flow leaves the other going (C{proxy_half_close}).
    @ivar timeout: seconds without a byte either way after which C{holder} expires (C{proxy_timeout}).
    """

    buffer_size: int = 16384
    half_close: bool = False
    timeout: float = 600.0


@dataclass(init=False, slots=True)
class Result:
    """
    Why a relay ended.

    @ivar side: whose end or failure it was.
    @ivar error: what broke that leg; None where it ended in good order.
    @ivar sending: whether it broke while we sent to it, and not while we received.
    """

    side: Side
    error: OSError | None
    sending: bool

    def __init__(self, side: Side, error: OSError | None = None, sending: bool = False) -> None:
        self.side = side
        self.error = error
        self.sending = sending


def _told(result: Result) -> None:
    """
    Who was told, or wants to hear no more, is not kept: it keeps the relay.
    """


class Flow:
    """
    One direction; the handler of its source, since it is there anyway, and has to live as long.

    @ivar received: bytes taken from the source.
    @ivar began: when the first of them came, on the clock of the deadline; None before.
    @ivar sent: bytes the sink took; the difference is pending.
    @ivar stuck: waits for the sink.
    @ivar ended: the source has ended.
    @ivar finished: and the sink was told.
    @ivar switch_at: bytes received after which a relay may move the rest another way.
    @ivar relay: whose direction it is, while that is at work.
    """

    __slots__ = (
        "began",
        "ended",
        "finished",
        "pending",
        "pipe",
        "received",
        "relay",
        "sent",
        "side",
        "sink",
        "source",
        "stuck",
        "switch_at",
    )

    def __init__(self, side: Side, source: Any, sink: Any) -> None:
        self.side: Side = side
        self.source = source
        self.sink = sink
        self.pending: bytes = b""
        self.received = 0
        self.began: float | None = None
        self.sent = 0
        self.stuck = False
        self.ended = False
        self.finished = False
        self.switch_at = NEVER
        self.pipe: Any = None
        self.relay: Relaying | None = None

    def __call__(self, bits: int) -> None:
        """
        An edge of the source.
        """
        relay = self.relay
        assert relay is not None  # else somebody else is the handler
        relay.event(self, bits)


class Relaying:
    """
    Two flows at work. Owns the legs' handlers until C{done}; does not close them. Waits under C{holder}'s deadline,
    which every move puts off.
    """

    __slots__ = ("_closing", "_done", "_ended", "_size", "down", "holder", "now", "options", "up")

    def __init__(
        self,
        client: Any,
        upstream: Any,
        options: Options,
        done: Callable[[Result], None],
        holder: Holder,
        now: Callable[[], float],
    ) -> None:
        self.options = options
        self.holder = holder
        self.now = now
        self.up = Flow("client", client, upstream)
        self.down = Flow("upstream", upstream, client)
        self._done = done
        self._size = options.buffer_size
        if not (plain(client) and plain(upstream)):
            self._size = max(self._size, WIDE)
        self._ended = False
        self._closing: Result | None = None

    def begin(self) -> None:
        """
        Take the legs, and move what is there already.
        """
        up, down = self.up, self.down
        up.relay = down.relay = self
        set_handler(up.source, up)
        set_handler(up.sink, down)
        self._begin_with_held(up)
        self._begin_with_held(down)
        watch(up.source)
        watch(down.source)
        self.pump(up)
        if not self._ended:
            self.pump(down)

    def _begin_with_held(self, flow: Flow) -> None:
        flow.pending = held = take_held(flow.source)
        if held:
            flow.received = len(held)
            flow.began = self.now()

    def event(self, flow: Flow, bits: int) -> None:
        """
        An edge of the leg that C{flow} receives from.
        """
        if not (flow.stuck or flow.finished) and (bits & READABLE or not plain(flow.source)):
            self.pump(flow)
        other = self.down if flow is self.up else self.up
        if other.stuck and not self._ended:
            self.pump(other)
        if flow.finished and bits & GONE and not self._ended:
            self.end(Result(flow.side))

    def pump(self, flow: Flow) -> None:
        """
        Move what can be moved now.
        """
        side = flow.side
        other: Side = "upstream" if side == "client" else "client"
        size = self._size
        now = self.now()
        due = now + self.options.timeout
        postponed = False
        for _ in range(TURN):
            data = flow.pending
            if data:
                try:
                    taken = send_last(flow.sink, data) if self._is_last(flow) else send(flow.sink, data)
                except OSError as error:
                    self.end(Result(other, error, sending=True))
                    return
                if taken:
                    flow.sent += taken
                    if not postponed:
                        put_off(self.holder, due)
                        postponed = True
                if taken < len(data):
                    flow.pending = data[taken:]
                    flow.stuck = True
                    return
                flow.pending = b""
                flow.stuck = False
            if flow.ended or self._closing is not None:
                self._flow_ended(flow)
                return
            if flow.received >= flow.switch_at:
                self.switch(flow)
                return
            try:
                got = receive(flow.source, size)
            except OSError as error:
                self.broken(flow, error)
                return
            if got is None:
                return
            if got:
                if flow.began is None:
                    flow.began = now
                if not postponed:
                    put_off(self.holder, due)
                    postponed = True
                flow.received += len(got)
                flow.pending = got
            else:
                flow.ended = True
        (flow.sink if flow.pending else flow.source).again()
        flow.stuck = bool(flow.pending)

    def _is_last(self, flow: Flow) -> bool:
        """
        Whether the relay ends, or the sink is told the end, as soon as what is pending has been sent.
        """
        return over(flow.source) and not (self.down if flow is self.up else self.up).stuck

    def switch(self, flow: Flow) -> None:
        """
        The flow has moved C{switch_at} bytes: move the rest another way.
        """
        raise NotImplementedError

    def broken(self, flow: Flow, error: OSError) -> None:
        """
        A source failed: what it sent before still goes out where it can, then the relay ends.
        """
        self.end(Result(flow.side, error))

    def _flow_ended(self, flow: Flow) -> None:
        other = self.down if flow is self.up else self.up
        if self._closing is None:
            if self.options.half_close and not other.ended:
                flow.finished = True
                flow.sink.finish()
                return
            self._closing = Result(flow.side)
        if other.stuck:
            return
        self.end(self._closing)

    def end(self, result: Result) -> None:
        """
        Report, once.
        """
        if not self._ended:
            done = self._done
            self.stop()
            done(result)

    def stop(self) -> None:
        """
        Give the legs back without a report.
        """
        if not self._ended:
            self._ended = True
            self._done = _told
            self.up.relay = self.down.relay = None
            set_handler(self.up.source, nothing)
            set_handler(self.down.source, nothing)


class PumpRelay:
    """
    Carries any two legs.
    """

    def can_carry(self, client: ILeg, upstream: ILeg) -> bool:
        """
        @see: L{IRelay.can_carry}
        """
        return True

    def make(
        self,
        client: Any,
        upstream: Any,
        options: Options,
        done: Callable[[Result], None],
        holder: Holder,
        now: Callable[[], float],
    ) -> Relaying:
        """
        @see: L{IRelay.make}
        """
        return Relaying(client, upstream, options, done, holder, now)


classImplements(PumpRelay, IRelay)
