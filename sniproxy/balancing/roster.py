"""
Whom does an upstream have, when names tell other addresses than before?

Strategy: those who stay are the same objects, so that their weights, failures and connections stay with them. They keep
their order, and who is new comes behind, as in nginx (ngx_stream_upstream_zone_module.c).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from sniproxy.addresses import Address
from sniproxy.balancing.peers import Peer


@dataclass(frozen=True, slots=True)
class Member:
    """
    What a name says of one peer.

    @ivar server: the text of its server.
    """

    address: Address
    server: str
    weight: int = 1
    backup: bool = False


def renewed(
    peers: Sequence[Peer], source: object, members: Iterable[Member], make: Callable[[Member], Peer]
) -> tuple[Peer, ...]:
    """
    @param peers: all there are, backups too.
    @param source: those with this C{source} are replaced.
    @param members: by these, where they are others. Of equal ones each is a peer.
    @param make: makes a peer of one who is new; its C{source} is set here.
    @return: all there are now.
    """
    new = list(members)
    stay: list[Peer] = []
    for peer in peers:
        if peer.source is source:
            known = Member(peer.address, peer.server, peer.weight, peer.backup)
            if known not in new:
                continue
            new.remove(known)
        stay.append(peer)
    for member in new:
        peer = make(member)
        peer.source = source
        stay.append(peer)
    return tuple(stay)
