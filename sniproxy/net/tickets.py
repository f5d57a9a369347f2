"""
How long do session tickets wait for company? A TLS 1.3 server sends them after the handshake, when nobody waits for
them, so they go out with its first bytes; but a client that only came for a ticket gets it, too.

Strategy: one delayed call for all who wait, and two generations: who has seen one call pass is told by the next.
"""

from __future__ import annotations

from typing import Any, Final

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

WAIT: Final = 0.05
"""Seconds that they wait at least; twice as many at most."""


class Tickets:
    """
    Legs whose tickets wait. Holds each for twice L{WAIT} at most, unless it is closed before.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._log = Logger()
        self._call: IDelayedCall | None = None
        self._young: list[list[Any]] = []
        self._old: list[list[Any]] = []

    def wait(self, leg: Any) -> list[Any]:
        """
        @param leg: L{sniproxy.net.tls_leg.TlsLeg}, which is told to C{hurry} when its time has come.
        @return: what holds it until then; to be emptied by who will not wait any more.
        """
        place = [leg]
        self._young.append(place)
        if self._call is None:
            self._call = self._clock.callLater(WAIT, self._tick)
        return place

    def _tick(self) -> None:
        self._call = None
        late, self._old, self._young = self._old, self._young, []
        if self._old:
            self._call = self._clock.callLater(WAIT, self._tick)
        for place in late:
            for leg in place:
                try:
                    leg.hurry()
                except Exception:
                    self._log.failure("internal error while tickets were sent")

    def stop(self) -> None:
        """
        Nobody waits any more.
        """
        call, self._call = self._call, None
        if call is not None:
            call.cancel()
        self._young, self._old = [], []
