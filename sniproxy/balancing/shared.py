"""
A peer of which several processes know the same.

Strategy: what is known of it is in memory that is handed in: numbers that all may write, under a guard, and of its
connections one count of ours beside those of others. Only ours is written here, so that the connections of a process
that dies can be taken out of the sum.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, MutableSequence
from dataclasses import dataclass
from typing import Any, Final

from sniproxy.balancing.peers import Guard, Peer

FIELDS: Final = 5
"""How many numbers there are of each peer that all may write."""

_FAILS: Final = 0
_CURRENT_WEIGHT: Final = 1
_EFFECTIVE_WEIGHT: Final = 2
_ACCESSED: Final = 3
_CHECKED: Final = 4

_AS_CONFIGURED: Final = (
    "address", "server", "weight", "max_conns", "max_fails", "fail_timeout", "backup", "down", "name", "source",
)  # fmt: skip


@dataclass(slots=True)
class Counts:
    """
    The counts of all processes.

    @ivar cells: those of one process after those of another; may become longer.
    @ivar stride: from one to the next.
    """

    cells: MutableSequence[int] | memoryview[int]
    stride: int


@dataclass(slots=True)
class Place:
    """
    Where one peer is in memory.

    @ivar numbers: what all may write, C{FIELDS} for each peer.
    @ivar moments: the same as floats.
    @ivar at: where those of this one begin.
    @ivar counts: connections, of all peers and processes; has what L{Counts} has.
    @ivar first: where those of this one are that the first process has.
    @ivar own: where ours are.
    """

    numbers: MutableSequence[int] | memoryview[int]
    moments: MutableSequence[float] | memoryview[float]
    at: int
    counts: Any
    first: int
    own: int


class SharedPeer(Peer):
    """
    One peer. It uses its place until it is retired and has lost the last connection of ours.

    @ivar identity: what is the same in all processes.
    """

    __slots__ = ("_at", "_counts", "_first", "_give_back", "_moments", "_numbers", "_own", "_retired", "identity")

    def __init__(
        self, like: Peer, identity: Hashable, place: Place, guard: Guard, give_back: Callable[[], None]
    ) -> None:
        """
        @param like: as it is configured; what is known of it does not count.
        @param guard: to be held by all who write numbers.
        @param give_back: called once, without the guard, when the place is not used any more.
        """
        # not Peer's own: that would say of it that nothing is known
        for name in _AS_CONFIGURED:
            setattr(self, name, getattr(like, name))
        self.guard = guard
        self.identity = identity
        self._give_back = give_back
        self._retired = False
        self._settle(place)

    def _settle(self, place: Place) -> None:
        self._numbers = place.numbers
        self._moments = place.moments
        self._at = place.at
        self._counts = place.counts
        self._first = place.first
        self._own = place.own

    def begin(self) -> None:
        """
        Nobody has known of it before.
        """
        self.fails = self.current_weight = 0
        self.effective_weight = self.weight
        self.accessed = self.checked = 0.0

    def retire(self) -> None:
        """
        Sessions that begin now do not have it any more.
        """
        self._retired = True
        if not self._counts.cells[self._own]:
            self._move_out()

    def _move_out(self) -> None:
        """
        A session that has begun may still ask for it: with what was known last.
        """
        self._retired = False
        at = self._at
        numbers, moments = list(self._numbers[at : at + FIELDS]), list(self._moments[at : at + FIELDS])
        self._settle(Place(numbers, moments, 0, Counts([0], 1), 0, 0))
        self._give_back()

    def enter(self) -> None:
        """
        @see: L{Peer.enter}
        """
        self._counts.cells[self._own] += 1

    def leave(self) -> None:
        """
        @see: L{Peer.leave}
        """
        cells = self._counts.cells
        cells[self._own] -= 1
        if self._retired and not cells[self._own]:
            self._move_out()

    @property
    def conns(self) -> int:
        """
        Connections of all processes. What is set is what they are to be together; only ours change.
        """
        counts = self._counts
        return sum(counts.cells[self._first :: counts.stride])

    @conns.setter
    def conns(self, value: int) -> None:
        self._counts.cells[self._own] += value - self.conns

    @property
    def fails(self) -> int:
        """
        @see: L{Peer}
        """
        return self._numbers[self._at + _FAILS]

    @fails.setter
    def fails(self, value: int) -> None:
        self._numbers[self._at + _FAILS] = value

    @property
    def current_weight(self) -> int:
        """
        @see: L{Peer}
        """
        return self._numbers[self._at + _CURRENT_WEIGHT]

    @current_weight.setter
    def current_weight(self, value: int) -> None:
        self._numbers[self._at + _CURRENT_WEIGHT] = value

    @property
    def effective_weight(self) -> int:
        """
        @see: L{Peer}
        """
        return self._numbers[self._at + _EFFECTIVE_WEIGHT]

    @effective_weight.setter
    def effective_weight(self, value: int) -> None:
        self._numbers[self._at + _EFFECTIVE_WEIGHT] = value

    @property
    def accessed(self) -> float:
        """
        @see: L{Peer}
        """
        return self._moments[self._at + _ACCESSED]

    @accessed.setter
    def accessed(self, value: float) -> None:
        self._moments[self._at + _ACCESSED] = value

    @property
    def checked(self) -> float:
        """
        @see: L{Peer}
        """
        return self._moments[self._at + _CHECKED]

    @checked.setter
    def checked(self, value: float) -> None:
        self._moments[self._at + _CHECKED] = value
