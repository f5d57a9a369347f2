"""
Whoever the dice say, by weight; or of two whom they say the one with fewer connections
(ngx_stream_upstream_random_module.c). The dice are handed in.

Strategy: the dice do not know who is available. They are thrown again, C{TRIES} times in a session; after that it is
round robin's turn, and stays so.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any, Final

from sniproxy.balancing.choice import Balancer, Clock, Disabled, unheard
from sniproxy.balancing.peers import Group, Peer
from sniproxy.balancing.round_robin import RoundRobinChoice

TRIES: Final = 20
"""How many throws of one session may be in vain."""

Dice = Callable[[int], int]
"""From n to any of the numbers from 0 to n - 1."""


def ends_of(group: Group) -> tuple[int, ...]:
    """
    Where the shares of the peers end when they lie side by side, each as long as its weight.
    """
    return tuple(accumulate(peer.weight for peer in group.peers))


class RandomChoice(RoundRobinChoice):
    """
    One session's throws.
    """

    __slots__ = ("_dice", "_ends", "_two", "_vain")

    def __init__(
        self,
        group: Group,
        subject: Any,
        clock: Clock,
        disabled: Disabled,
        dice: Dice,
        two: bool,
        ends: Sequence[int],
    ) -> None:
        super().__init__(group, subject, clock, disabled)
        self._dice = dice
        self._two = two
        self._ends = ends
        self._vain = 0

    def pick(self, group: Group, now: float) -> int | None:
        """
        @return: the place the dice have chosen; round robin's, when they had bad luck.
        """
        if group is not self._first:
            self._ends = ends_of(group)
        if len(group.peers) < 2:
            return super().pick(group, now)
        before: int | None = None
        while self._vain <= TRIES:
            place = bisect_right(self._ends, self._dice(self._ends[-1]))
            peer = group.peers[place]
            if place != before and self.available(place, peer, now):
                if not self._two:
                    return place
                if before is not None:
                    return before if _busier(peer, group.peers[before]) else place
                before = place
                continue
            self._vain += 1
        return super().pick(group, now)

    def pick_backup(self, group: Group, now: float) -> int | None:
        """
        @return: round robin's choice among the backups.
        """
        return super().pick(group, now)


def _busier(peer: Peer, other: Peer) -> bool:
    return peer.conns * other.weight > other.conns * peer.weight


class Random(Balancer):
    """
    Chance over a group.
    """

    def __init__(self, group: Group, clock: Clock, disabled: Disabled = unheard, *, dice: Dice, two: bool) -> None:
        """
        @param two: take the better of two.
        """
        super().__init__(group, clock, disabled)
        self._dice = dice
        self._two = two
        self._ends = ends_of(group)

    def choose(self, group: Group, subject: Any) -> RandomChoice:
        """
        @see: L{Balancer.choose}
        """
        return RandomChoice(group, subject, self._clock, self._disabled, self._dice, self._two, self._ends)

    def renew(self, group: Group) -> None:
        """
        @see: L{Balancer.renew}
        """
        super().renew(group)
        self._ends = ends_of(group)
