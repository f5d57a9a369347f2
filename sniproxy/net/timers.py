"""
How waits end: one coarse deadline for each holder, however often it is put off.

Strategy: holders lie in buckets of C{RESOLUTION} seconds, and one delayed call of the clock waits for the earliest
bucket. Putting a deadline off is one attribute write, C{holder.due = later}: the holder stays in its bucket, and is
moved when that bucket comes up. So the cost of activity is nothing, and that of a wait one set operation.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from math import inf
from typing import Any, ClassVar, Final, Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

RESOLUTION: Final = 0.05
"""Seconds. A deadline fires at most this much late, and never early."""

NEVER: Final = inf

_RIPE: Final = -inf
"""C{due} of a holder that is about to be told; unless one told before it clears it, sets it or puts it off."""


class Holder(Protocol):
    """
    Whatever may wait.

    @ivar due: when the wait ends, on the clock of L{Deadlines.now}; L{NEVER} where there is none. May be written
        directly to put off a deadline that is set.
    @ivar bucket: belongs to L{Deadlines}; begins as 0.
    """

    due: float
    bucket: int

    def expired(self) -> None:
        """
        The deadline has passed; it is cleared.
        """


class Waiting:
    """
    A L{Holder} of which the compiler knows that it is one: what it holds is written as C writes it. Others do the same.
    """

    __slots__ = ("bucket", "due")

    def __init__(self) -> None:
        self.due = NEVER
        self.bucket = 0

    def expired(self) -> None:
        """
        @see: L{Holder.expired}
        """
        raise NotImplementedError


def put_off(holder: Any, due: float) -> None:
    """
    Write C{holder.due}.
    """
    if isinstance(holder, Waiting):
        holder.due = due
    else:
        holder.due = due


def _bucket(holder: Any) -> int:
    if isinstance(holder, Waiting):
        return holder.bucket
    bucket: int = holder.bucket
    return bucket


def _lay(holder: Any, bucket: int) -> None:
    """
    Write C{holder.bucket}.
    """
    if isinstance(holder, Waiting):
        holder.bucket = bucket
    else:
        holder.bucket = bucket


class Deadlines:
    """
    All deadlines of a process. Caps nothing itself: it holds each holder once at most.
    """

    log: ClassVar[Logger] = Logger()

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self.now: Callable[[], float] = clock.seconds
        self._buckets: dict[int, set[Holder]] = {}
        self._order: list[int] = []
        self._call: IDelayedCall | None = None
        self._called_for = 0

    def set(self, holder: Holder, seconds: float) -> None:
        """
        End the holder's wait C{seconds} from now, whatever was set before.
        """
        due = self.now() + seconds
        put_off(holder, due)
        held = _bucket(holder)
        if held and held * RESOLUTION <= due:
            return  # mostly; the bucket asks again
        wanted = int(due / RESOLUTION) + 1
        if held:
            if held <= wanted:
                return
            self._buckets[held].discard(holder)
        self._put(holder, wanted)

    def clear(self, holder: Holder) -> None:
        """
        The holder waits no more.
        """
        put_off(holder, NEVER)
        held = _bucket(holder)
        if held:
            self._buckets[held].discard(holder)
            _lay(holder, 0)

    def _put(self, holder: Holder, number: int) -> None:
        _lay(holder, number)
        bucket = self._buckets.get(number)
        if bucket is not None:
            bucket.add(holder)
            return
        self._buckets[number] = {holder}
        heappush(self._order, number)
        if self._order[0] == number:
            self._arm()

    def _arm(self) -> None:
        first = self._order[0]
        if self._call is not None:
            if self._called_for <= first:
                return
            self._call.cancel()
        self._called_for = first
        self._call = self._clock.callLater(max(0.0, first * RESOLUTION - self.now()), self._tick)

    def _tick(self) -> None:
        self._call = None
        now = self.now()
        ripe = int(now / RESOLUTION + 1e-6)
        expired: list[Holder] = []
        while self._order and self._order[0] <= ripe:
            for holder in self._buckets.pop(heappop(self._order)):
                holder.bucket = 0
                if holder.due <= now:
                    holder.due = _RIPE
                    expired.append(holder)
                elif holder.due != NEVER:
                    self._put(holder, max(int(holder.due / RESOLUTION) + 1, ripe + 1))
        if self._order:
            self._arm()
        for holder in expired:
            if holder.due == _RIPE:
                holder.due = NEVER
                try:
                    holder.expired()
                except Exception:
                    self.log.failure("internal error at a deadline")
            elif holder.due != NEVER and not holder.bucket:  # put off by one that expired before it
                self._put(holder, max(int(holder.due / RESOLUTION) + 1, ripe + 1))

    def stop(self) -> None:
        """
        Forget all holders.
        """
        if self._call is not None:
            self._call.cancel()
            self._call = None
        for bucket in self._buckets.values():
            for holder in bucket:
                holder.bucket = 0
        self._buckets.clear()
        self._order.clear()
