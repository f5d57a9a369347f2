"""
Who has the fewest connections for its weight? (ngx_stream_upstream_least_conn_module.c.)

Strategy: shares are compared by cross products, so that nothing is divided; those that are equal take turns.
"""

from __future__ import annotations

from sniproxy.balancing.choice import Balancer, Choice
from sniproxy.balancing.peers import Group, Peer
from sniproxy.balancing.round_robin import take_turn


class LeastConnChoice(Choice):
    """
    One session's choices.
    """

    __slots__ = ()

    def pick(self, group: Group, now: float) -> int | None:
        """
        @return: the place of the peer with the fewest connections for its weight.
        """
        best: Peer | None = None
        fewest = 0
        places: list[int] = []
        for place, peer in enumerate(group.peers):
            if not self.available(place, peer, now):
                continue
            conns = peer.conns
            if best is None or conns * best.weight < fewest * peer.weight:
                best, fewest, places = peer, conns, [place]
            elif conns * best.weight == fewest * peer.weight:
                places.append(place)
        # one that is alone at the top has no turn: its weight does not recover by it
        return take_turn(group, places) if len(places) > 1 else next(iter(places), None)


class LeastConn(Balancer):
    """
    Fewest connections over a group.
    """

    choice = LeastConnChoice
