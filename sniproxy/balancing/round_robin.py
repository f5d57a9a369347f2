"""
Who is next, when everyone has a turn: smooth weighted round robin, nginx's default (ngx_stream_upstream_round_robin.c).

Strategy: each turn every available peer's running sum grows by its effective weight; the greatest sum wins, and pays
the total. Weights 5, 1, 1 give a a b a c a a and never five in a row. A failed peer's effective weight is lowered, and
comes back by one each turn.
"""

from __future__ import annotations

from sniproxy.balancing.choice import Balancer, Choice
from sniproxy.balancing.peers import Group, Peer


class RoundRobinChoice(Choice):
    """
    One session's turns.
    """

    __slots__ = ()

    def pick(self, group: Group, now: float) -> int | None:
        """
        @return: the place of the peer whose turn it is; the first of equals.
        """
        best: Peer | None = None
        place: int | None = None
        total = 0
        for index, peer in enumerate(group.peers):
            if not self.available(index, peer, now):
                continue
            peer.current_weight += peer.effective_weight
            total += peer.effective_weight
            if peer.effective_weight < peer.weight:
                peer.effective_weight += 1
            if best is None or peer.current_weight > best.current_weight:
                best, place = peer, index
        if best is not None:
            best.current_weight -= total
        return place


class RoundRobin(Balancer):
    """
    Smooth weighted round robin over a group.
    """

    choice = RoundRobinChoice
