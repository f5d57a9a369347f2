"""
The same network, the same peer: C{ip_hash}, so that a client who comes again is served by who served him before
(ngx_http_upstream_ip_hash_module.c).

Strategy: the octets of the address fall on a place among the weights laid side by side. Where the peer there cannot be
had they are hashed again, on from where the sum was; after C{TRIES} round robin goes on.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any, Final

from sniproxy.balancing.choice import Balancer, Choice, Clock, Disabled, unheard
from sniproxy.balancing.hash import TRIES, Key
from sniproxy.balancing.peers import Group
from sniproxy.balancing.random_ import ends_of
from sniproxy.balancing.round_robin import RoundRobinChoice

SEED: Final = 89
FACTOR: Final = 113
MODULUS: Final = 6271


def hashed(octets: bytes, before: int = SEED) -> int:
    """
    @param before: what the same octets gave when they were hashed the last time.
    """
    for octet in octets:
        before = (before * FACTOR + octet) % MODULUS
    return before


class IpHashChoice(RoundRobinChoice):
    """
    One client's network on its way.
    """

    __slots__ = ("_ends", "_hash", "_octets", "_vain")

    def __init__(
        self, group: Group, subject: Any, clock: Clock, disabled: Disabled, octets: bytes, ends: Sequence[int]
    ) -> None:
        super().__init__(group, subject, clock, disabled)
        self._octets = octets
        self._ends = ends
        self._hash = SEED
        self._vain = 0

    def pick(self, group: Group, now: float) -> int | None:
        """
        @return: the place of the network, or the next one it has; round robin's, when it has run out of them.
        """
        if len(group.peers) > 1:
            while self._vain <= TRIES:
                self._hash = hashed(self._octets, self._hash)
                place = bisect_right(self._ends, self._hash % self._ends[-1])
                if self.available(place, group.peers[place], now):
                    return place
                self._vain += 1
        return super().pick(group, now)

    def pick_backup(self, group: Group, now: float) -> int | None:
        """
        @return: round robin's choice among the backups.
        """
        return super().pick(group, now)


class IpHash(Balancer):
    """
    Networks over a group.
    """

    def __init__(self, group: Group, clock: Clock, disabled: Disabled = unheard, *, key: Key) -> None:
        """
        @param key: from a subject to the octets of its client's network, at least one.
        """
        super().__init__(group, clock, disabled)
        self._key = key
        self._ends = ends_of(group)

    def choose(self, group: Group, subject: Any) -> Choice:
        """
        @see: L{Balancer.choose}
        """
        return IpHashChoice(group, subject, self._clock, self._disabled, self._key(subject), self._ends)

    def renew(self, group: Group) -> None:
        """
        @see: L{Balancer.renew}
        """
        super().renew(group)
        self._ends = ends_of(group)
