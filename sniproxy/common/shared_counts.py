"""
How many connections of one key are there in all workers? The counts of C{limit_conn}, in a table that workers share.

Strategy: a key is a word there, 60 bits of its keyed digest, and the size of what nginx would allocate for it: two keys
that share a word would share their limit, which for a full zone of 10 megabytes happens once in a hundred million, and
not at a stranger's will. Which keys this worker counts, and in which rows, it remembers itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import Enum
from hashlib import blake2b
from typing import Final

from sniproxy.common.shared_memory import Mend, Shape, Table
from sniproxy.common.zones import Room, place

_SMALLEST: Final = 64
"""Bytes of the smallest slot in which a count fits, with its key."""


class Verdict(Enum):
    """
    What becomes of one who would be counted.
    """

    ENTERED = "entered"
    TOO_MANY = "too many"
    NO_ROOM = "no room"


def shape_of(size: int) -> Shape:
    """
    @param size: of the zone, in bytes.
    """
    return Shape.of(size // _SMALLEST)


def mending(room: Callable[[], Room]) -> Mend:
    """
    @param room: makes the room of a zone that counts nothing.
    """

    def mend(table: Table, words: Iterable[int]) -> None:
        used = list(room().used)
        for word in words:
            used[word & 15] += 1
        for each, count in enumerate(used):
            table.notes[each] = count

    return mend


class SharedCounts:
    """
    The connections of one zone by their keys, see L{sniproxy.common.limit_conn.Counts}.

    @ivar size: of the zone, in bytes.
    @ivar key: what it counts by, as it is written.
    """

    def __init__(self, table: Table, size: int, key: str, node: int) -> None:
        """
        @param node: bytes that nginx needs for a count, beside its key.
        """
        self.size = size
        self.key = key
        self._table = table
        self._node = node
        self._room = Room(size, table.notes)
        self._rows: dict[bytes, int] = {}

    def enter(self, key: bytes, most: int) -> Verdict:
        """
        One more, if there are less than so many.
        """
        table = self._table
        row = self._rows.get(key)
        word = 0 if row is not None else self._word(key)
        table.acquire()
        try:
            if row is None:
                row = table.seek(word)
                if row < 0:
                    return Verdict.NO_ROOM
            count = table.total(row)
            if count >= most:
                return Verdict.TOO_MANY
            at = table.own + row
            if count:
                table.cells[at] += 1
            elif not self._room.has(self._node + len(key)):
                return Verdict.NO_ROOM
            else:
                # in this order: see the strategy of tables
                table.words[row] = word
                table.cells[at] = 1
                self._room.take(self._node + len(key))
        finally:
            table.release()
        self._rows[key] = row
        return Verdict.ENTERED

    def leave(self, key: bytes) -> None:
        """
        One less.
        """
        table = self._table
        row = self._rows[key]
        at = table.own + row
        count = table.cells[at]
        if count > 1:
            table.cells[at] = count - 1  # ours alone; nobody decides anything by the row being there
            return
        del self._rows[key]
        table.acquire()
        try:
            if table.total(row) > 1:
                table.cells[at] = 0
            else:
                self._room.give(self._node + len(key))
                table.cells[at] = 0
                table.vacate(row)
        finally:
            table.release()

    def _word(self, key: bytes) -> int:
        digest = blake2b(key, digest_size=8, key=self._table.secret).digest()
        return int.from_bytes(digest, "little") & ~15 | place(self._node + len(key))
