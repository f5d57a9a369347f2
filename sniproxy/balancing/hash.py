"""
The same key, the same peer: C{hash}, by the arithmetic of Cache::Memcached and, with C{consistent}, of
Cache::Memcached::Fast, so that nginx and they choose alike (ngx_stream_upstream_hash_module.c).

Strategy: a key falls on a place among the weights laid side by side, and where the peer there cannot be had it is
hashed again with a number before it. The consistent way lays 160 points for each unit of weight on a circle, by hashes
of the server's text; a key belongs to the next point, and goes on to the next where nobody of that server can be had.
Both give up after C{TRIES}, and round robin goes on.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from typing import Any, Final
from zlib import crc32

from sniproxy.balancing.choice import Balancer, Choice, Clock, Disabled, unheard
from sniproxy.balancing.peers import Group
from sniproxy.balancing.random_ import ends_of
from sniproxy.balancing.round_robin import RoundRobinChoice, take_turn

TRIES: Final = 20
"""How often a session may look elsewhere."""

POINTS: Final = 160
"""Points on the circle for each unit of weight."""

Key = Callable[[Any], bytes]
"""From a subject to what is hashed; empty where it has none, and is given to round robin."""


class HashChoice(RoundRobinChoice):
    """
    One session's key on its way.
    """

    __slots__ = ("_ends", "_hash", "_key", "_rehash", "_vain")

    def __init__(
        self, group: Group, subject: Any, clock: Clock, disabled: Disabled, key: bytes, ends: Sequence[int]
    ) -> None:
        super().__init__(group, subject, clock, disabled)
        self._key = key
        self._ends = ends
        self._hash = 0
        self._rehash = 0
        self._vain = 0

    def pick(self, group: Group, now: float) -> int | None:
        """
        @return: the place of the key, or the next one it has; round robin's, when it has run out of them.
        """
        if group is not self._first:
            self._ends = ends_of(group)
        if len(group.peers) > 1 and self._key:
            while self._vain <= TRIES:
                text = b"%d%s" % (self._rehash, self._key) if self._rehash else self._key
                self._rehash += 1
                self._hash += crc32(text) >> 16 & 0x7FFF
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


class Hash(Balancer):
    """
    Keys over a group.
    """

    def __init__(self, group: Group, clock: Clock, disabled: Disabled = unheard, *, key: Key) -> None:
        super().__init__(group, clock, disabled)
        self._key = key
        self._ends = ends_of(group)

    def choose(self, group: Group, subject: Any) -> Choice:
        """
        @see: L{Balancer.choose}
        """
        return HashChoice(group, subject, self._clock, self._disabled, self._key(subject), self._ends)

    def renew(self, group: Group) -> None:
        """
        @see: L{Balancer.renew}
        """
        super().renew(group)
        self._ends = ends_of(group)


class Circle:
    """
    The points of a group.

    @ivar hashes: of the points, ascending, each once.
    @ivar places: for each point, the places of the peers of its server.
    """

    __slots__ = ("hashes", "places")

    def __init__(self, group: Group) -> None:
        servers: dict[str, list[int]] = {}
        points: dict[int, str] = {}
        for place, peer in enumerate(group.peers):
            servers.setdefault(peer.server, []).append(place)
            for point in points_of(peer.server, peer.weight):
                # of two servers on one point nginx keeps the one that its sort puts first
                points.setdefault(point, peer.server)
        self.hashes = sorted(points)
        self.places = [servers[points[point]] for point in self.hashes]


def points_of(server: str, weight: int) -> list[int]:
    """
    Where one server stands on the circle.

    @param server: as it is written: C{backend.example:443}, C{unix:/path}.
    """
    if server[:5].lower() == "unix:":
        host, port = server[5:], ""
    else:
        host, colon, port = server.rpartition(":")
        if not colon or not (port == "" or (port.isascii() and port.isdigit())):
            host, port = server, ""
    base = crc32(f"{host}\0{port}".encode("utf-8", "surrogateescape"))
    found = []
    last = 0
    for _ in range(weight * POINTS):
        last = crc32(last.to_bytes(4, "little"), base)
        found.append(last)
    return found


class ConsistentChoice(RoundRobinChoice):
    """
    One session's way around the circle.
    """

    __slots__ = ("_at", "_circle", "_key", "_vain")

    def __init__(
        self, group: Group, subject: Any, clock: Clock, disabled: Disabled, key: bytes, circle: Circle
    ) -> None:
        super().__init__(group, subject, clock, disabled)
        self._key = key
        self._circle = circle
        self._at = bisect_left(circle.hashes, crc32(key))
        self._vain = 0

    def pick(self, group: Group, now: float) -> int | None:
        """
        @return: the place of a peer of the server whose point is next; its peers take turns.
        """
        if group is self._first and self._key and self._circle.places:
            places = self._circle.places
            while self._vain <= TRIES:
                mine = places[self._at % len(places)]
                place = take_turn(group, [each for each in mine if self.available(each, group.peers[each], now)])
                if place is not None:
                    return place
                self._at += 1
                self._vain += 1
        return super().pick(group, now)


class ConsistentHash(Balancer):
    """
    Keys over a circle.
    """

    def __init__(self, group: Group, clock: Clock, disabled: Disabled = unheard, *, key: Key) -> None:
        super().__init__(group, clock, disabled)
        self._key = key
        self._circle = Circle(group)

    def choose(self, group: Group, subject: Any) -> Choice:
        """
        @see: L{Balancer.choose}
        """
        return ConsistentChoice(group, subject, self._clock, self._disabled, self._key(subject), self._circle)

    def renew(self, group: Group) -> None:
        """
        @see: L{Balancer.renew}
        """
        super().renew(group)
        self._circle = Circle(group)
