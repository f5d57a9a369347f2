"""
Which zones of memory does a configuration share, and how large is each? nginx's C{ngx_shared_memory_add}: a name has
one use and one size, wherever it occurs.

Strategy: what zones hold is Python's, and belongs to whoever asked for them. Their names and sizes are checked as in
nginx, so that a configuration which is good here is good there.
"""

from __future__ import annotations

from collections.abc import MutableSequence
from dataclasses import dataclass

from sniproxy.config.build import Build
from sniproxy.config.grammar import Node
from sniproxy.errors import ConfigError

PAGE = 4096
"""Bytes of a page of memory, which nginx asks the system for."""

SMALLEST = 8 * PAGE
"""What a zone must have at least, in bytes."""


@dataclass(slots=True)
class Zone:
    """
    One zone.

    @ivar use: what it is for.
    @ivar size: in bytes; 0 where nobody has said yet.
    @ivar node: where it was first spoken of.
    """

    name: str
    use: str
    size: int
    node: Node


def declare(build: Build, name: str, size: int, use: str, node: Node) -> Zone:
    """
    Speak of a zone.

    @param size: in bytes; 0 where it is said elsewhere.
    @param use: those who share a zone give the same.
    @raise ConfigError: somebody else has said something else of it.
    """
    zones: dict[str, Zone] = build.shared.setdefault(declare, {})
    zone = zones.get(name)
    if zone is None:
        zone = zones[name] = Zone(name, use, size, node)
        return zone
    if zone.use != use:
        raise ConfigError(f'the shared memory zone "{name}" is already declared for a different use')
    if not zone.size:
        zone.size = size
    elif size and size != zone.size:
        raise ConfigError(
            f'the size {size} of shared memory zone "{name}" conflicts with already declared size {zone.size}'
        )
    return zone


def check(build: Build, use: str) -> None:
    """
    When the whole file has been read: each zone for this use must have a size.
    """
    zones: dict[str, Zone] = build.shared.get(declare, {})
    for zone in zones.values():
        if zone.use == use and not zone.size:
            build.error(f'zero size shared memory zone "{zone.name}"', zone.node)


def declared(build: Build) -> dict[str, int]:
    """
    The sizes of all zones by their names, in bytes; to be asked when the whole file has been read.
    """
    zones: dict[str, Zone] = build.shared.get(declare, {})
    return {zone.name: zone.size for zone in zones.values()}


class Room:
    """
    How much fits into a zone: the count that nginx's slab allocator keeps, page by page, without the memory.

    Each size is rounded up to a power of two, and each of those has pages of its own.

    @ivar used: how many slots of each size are in use, by L{place}.
    """

    def __init__(self, size: int, used: MutableSequence[int] | memoryview[int] | None = None) -> None:
        """
        @param size: of the zone, in bytes.
        @param used: what is in use already, L{PLACES} numbers at least; changed here.
        """
        pages = (size - _HEAD) // (PAGE + _PAGE_NOTE)
        begin = -(-(_HEAD + pages * _PAGE_NOTE) // PAGE) * PAGE
        self._pages = min(pages, (size - begin) // PAGE)
        self.used: MutableSequence[int] | memoryview[int] = [0] * PLACES if used is None else used

    def has(self, size: int) -> bool:
        """
        Whether something of so many bytes would go in, at most half a page.
        """
        slot = _slot(size)
        if self.used[slot.bit_length()] % _slots(slot):
            return True
        used = sum(-(-count // _slots(1 << place >> 1)) for place, count in enumerate(self.used) if count)
        return used < self._pages

    def take(self, size: int) -> bool:
        """
        Put something of so many bytes in, at most half a page.

        @return: whether there is room.
        """
        if not self.has(size):
            return False
        self.used[place(size)] += 1
        return True

    def give(self, size: int) -> None:
        """
        Take out what is of so many bytes.
        """
        self.used[place(size)] -= 1


def place(size: int) -> int:
    """
    Where in C{Room.used} slots for so many bytes are counted.
    """
    return _slot(size).bit_length()


PLACES = 13
"""How many numbers C{Room.used} has."""

_HEAD = 712
"""Bytes of the allocator's own at the begin of a zone."""

_PAGE_NOTE = 24
"""Bytes there for each page."""

_EXACT = 64
"""Bytes of slots whose page needs no map of its own."""


def _slot(size: int) -> int:
    return max(8, 1 << (size - 1).bit_length())


def _slots(slot: int) -> int:
    """
    How many slots of a size a page has; the small ones have their map in the first of them.
    """
    count = PAGE // slot
    return count - -(-count // 8 // slot) if slot < _EXACT else count
