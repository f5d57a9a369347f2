"""
Who is next, when everyone has a turn: smooth weighted round robin, nginx's default (ngx_stream_upstream_round_robin.c).

Strategy: each turn every available peer's running sum grows by its effective weight; the greatest sum wins, and pays
the total. Weights 5, 1, 1 give a a b a c a a and never five in a row. A failed peer's effective weight is lowered, and
comes back by one each turn.
"""

from __future__ import annotations

from collections.abc import Iterable

from sniproxy.balancing.choice import Balancer, Choice
from sniproxy.balancing.peers import Group, Peer


def take_turn(group: Group, places: Iterable[int]) -> int | None:
    """
    One turn among some of the peers of a group, all of them available: for methods that find several alike.

    @return: the place of the peer whose turn it is; None where there are no places.
    """
    best: Peer | None = None
    chosen: int | None = None
    total = 0
    for place in places:
        peer = group.peers[place]
        peer.current_weight += peer.effective_weight
        total += peer.effective_weight
        if peer.effective_weight < peer.weight:
            peer.effective_weight += 1
        if best is None or peer.current_weight > best.current_weight:
            best, chosen = peer, place
    if best is not None:
        best.current_weight -= total
    return chosen


class RoundRobinChoice(Choice):
    """
    One session's turns.
    """

    __slots__ = ()

    def pick(self, group: Group, now: float) -> int | None:
        """
        @return: the place of the peer whose turn it is; the first of equals.
        """
        available = self.available
        return take_turn(group, [place for place, peer in enumerate(group.peers) if available(place, peer, now)])


class RoundRobin(Balancer):
    """
    Smooth weighted round robin over a group.
    """

    choice = RoundRobinChoice
