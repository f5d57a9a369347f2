"""
How bytes are moved no faster than so many a second (ngx_stream_proxy_process's C{limit_rate}).

Strategy: a flow with a rate has a L{Throttle} in the place of its source. It lets in what the seconds since the begin
allow, the one that has begun included, and after each piece lets nothing in for as long as the piece is worth. To the
relay that looks as if nothing had come; when the time is over the leg is asked to tell its handler once more. So the
relay is the ordinary one, and those without rates know nothing of all this.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from sniproxy.net.relay import Flow, Options, Relaying, Result
from sniproxy.net.timers import Holder

MOMENT: Final = 0.001
"""Seconds that are waited at least."""


@dataclass(frozen=True, slots=True)
class Rates:
    """
    How fast both flows may be.

    @ivar up: bytes a second from the client; 0: any number.
    @ivar down: bytes a second to it; 0: any number.
    @ivar begun: when the session began to be passed on, on the clock of deadlines.
    """

    up: int
    down: int
    begun: float


class Throttle:
    """
    A source that lets in only so much. Owns a timer while it lets in nothing; C{stop} cancels it.

    @ivar until: when it lets in something again; None while it does.
    """

    plain = False  # edges do not tell all
    over = False

    def __init__(self, leg: Any, rate: int, begun: float, clock: IReactorTime) -> None:
        """
        @param rate: bytes a second, at least 1.
        """
        self.until: float | None = None
        self._leg = leg
        self._rate = rate
        self._begun = begun
        self._clock = clock
        self._moved = 0
        self._timer: IDelayedCall | None = None

    @property
    def handler(self) -> Callable[[int], None]:
        """
        Of the leg.
        """
        handler: Callable[[int], None] = self._leg.handler
        return handler

    @handler.setter
    def handler(self, handler: Callable[[int], None]) -> None:
        self._leg.handler = handler

    def watch(self) -> bool:
        """
        @see: L{sniproxy.interfaces.ILeg.watch}
        """
        first: bool = self._leg.watch()
        return first

    def again(self) -> None:
        """
        @see: L{sniproxy.interfaces.ILeg.again}
        """
        self._leg.again()

    def take_held(self) -> bytes:
        """
        What was taken before goes on at once, and counts.
        """
        held: bytes = self._leg.take_held()
        self._moved += len(held)
        return held

    def receive(self, limit: int) -> bytes | None:
        """
        @see: L{sniproxy.interfaces.ILeg.receive}
        """
        if self.until is not None:
            return None
        now = self._clock.seconds()
        allowed = self._rate * (int(now - self._begun) + 1) - self._moved
        if allowed <= 0:
            self._pause(max(self._begun + self._moved // self._rate - now, MOMENT))
            return None
        got: bytes | None = self._leg.receive(min(limit, allowed))
        if got:
            self._moved += len(got)
            pause = len(got) / self._rate
            if pause >= MOMENT:
                self._pause(pause)
        return got

    def stop(self) -> None:
        """
        Wake nobody any more.
        """
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _pause(self, seconds: float) -> None:
        self.until = self._clock.seconds() + seconds
        self._timer = self._clock.callLater(seconds, self._over)

    def _over(self) -> None:
        self.until = self._timer = None
        self._leg.again()


class RatedRelaying(Relaying):
    """
    Two flows, one of them or both with a rate. Time in which nothing is let in is not idle: the deadline waits for it.
    """

    __slots__ = ("_throttles",)

    def __init__(
        self,
        rates: Rates,
        clock: IReactorTime,
        client: Any,
        upstream: Any,
        options: Options,
        done: Callable[[Result], None],
        holder: Holder,
        now: Callable[[], float],
    ) -> None:
        """
        @param clock: the one of C{now}, which wakes the flows.
        """
        super().__init__(client, upstream, options, done, holder, now)
        self._throttles: list[Throttle] = []
        for flow, rate in ((self.up, rates.up), (self.down, rates.down)):
            if rate:
                flow.source = Throttle(flow.source, rate, rates.begun, clock)
                self._throttles.append(flow.source)

    def pump(self, flow: Flow) -> None:
        """
        @see: L{Relaying.pump}
        """
        super().pump(flow)
        if not self._ended:
            for throttle in self._throttles:
                if throttle.until is not None:
                    self.holder.due = max(self.holder.due, throttle.until + self.options.timeout)

    def stop(self) -> None:
        """
        @see: L{Relaying.stop}
        """
        for throttle in self._throttles:
            throttle.stop()
        super().stop()
