"""
What do the workers of one master count together? Counts in memory that all of them have, each worker in a column of its
own, so that what a worker counted goes with it, however it ends.

Strategy: a L{Table} is one file without a name, which a master makes and its workers are born with. A row is found by a
word, in one of two buckets: the fuller one gets no more, so that both are full only when nearly all are; nothing is
ever moved, and to look costs the same whatever was there before. A row is taken as long as any column counts in it.
Only the owner of a column writes there, and the master when the owner is dead. All that takes more than one step is
done under a lock of the system's, which goes with its holder, too; and the steps are in such an order that whoever dies
between two of them has still something in his column, by which the master knows that there is something to mend.
"""

from __future__ import annotations

import fcntl
import mmap
import os
from array import array
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from sniproxy.config.build import Build

HEAD: Final = 256
"""Bytes before the rows."""

NOTES: Final = 16
"""How many numbers of 8 bytes whoever uses a table has in its head."""

BUCKET: Final = 16
"""Rows of a bucket; tables have whole ones."""

_COLUMNS: Final = 0
_SECRET: Final = 8
_SECRET_SIZE: Final = 16
_NOTES: Final = 32

_BLOCK: Final = 4096

Mend = Callable[["Table", Iterable[int]], None]
"""Given a locked table and the words of all rows that are taken: make what is noted in its head true again."""


@dataclass(frozen=True, slots=True)
class Shape:
    """
    How large a table is.

    @ivar rows: how many, whole buckets; twice as many as are wanted, or more.
    @ivar fields: numbers of 8 bytes that belong to each row, whoever counts in it.
    @ivar cells: counts that each column has for each row; a row is taken where any first one is not 0.
    """

    rows: int
    fields: int = 0
    cells: int = 1

    @classmethod
    def of(cls, wanted: int, fields: int = 0, cells: int = 1) -> Shape:
        """
        One in which there is room for so many.
        """
        return cls(-(-max(wanted, 1) * 2 // BUCKET) * BUCKET, fields, cells)

    @property
    def common(self) -> int:
        """
        Bytes before the columns.
        """
        return HEAD + self.rows * 8 * (1 + self.fields)

    @property
    def stride(self) -> int:
        """
        Cells from one column to the next.
        """
        return self.rows * self.cells


class Table:
    """
    One table, as one process sees it. Owns the descriptor.

    @ivar descriptor: of the file.
    @ivar shape: as all its users know it.
    @ivar seat: which column is ours, from 0.
    @ivar stride: cells from one column to the next.
    @ivar own: where it begins in C{cells}.
    @ivar words: by row: what it is found by; 0 where nobody has it.
    @ivar numbers: the fields of all rows, as integers with a sign.
    @ivar moments: the same memory as floats.
    @ivar cells: of all columns, one behind the other.
    @ivar notes: C{NOTES} numbers for whoever uses the table.
    @ivar secret: bytes that strangers do not know, the same for all.
    """

    def __init__(self, descriptor: int, shape: Shape, seat: int = 0) -> None:
        """
        @param descriptor: of a file that L{make} has seen.
        @raise OSError: there is not so much memory.
        """
        self.descriptor = descriptor
        self.shape = shape
        self.seat = seat
        self.stride = shape.stride
        self.own = seat * self.stride
        self._buckets = shape.rows // BUCKET
        whole = memoryview(mmap.mmap(descriptor, shape.common))
        rows = HEAD + shape.rows * 8
        self._head = whole[:8].cast("Q")
        self.secret = bytes(whole[_SECRET : _SECRET + _SECRET_SIZE])
        self.notes = whole[_NOTES : _NOTES + NOTES * 8].cast("Q")
        self.words = whole[HEAD:rows].cast("Q")
        self.numbers = whole[rows:].cast("q")
        self.moments = whole[rows:].cast("d")
        self._maps: list[memoryview] = []
        self._map()

    def _map(self) -> None:
        """
        Look at all columns there are. What was looked at before stays: to close it would drop the lock, since locks of
        this kind go with any descriptor of their file.
        """
        self._columns = columns = self._head[_COLUMNS]
        # a mapping begins at a page
        common = self.shape.common
        begin = common - common % mmap.ALLOCATIONGRANULARITY
        size = columns * self.stride * 4
        whole = memoryview(mmap.mmap(self.descriptor, common - begin + size, offset=begin))
        self._maps.append(whole)
        self.cells = whole[common - begin :].cast("I")

    def acquire(self) -> None:
        """
        Nobody else changes anything until L{release}. Must not be called twice.
        """
        fcntl.lockf(self.descriptor, fcntl.LOCK_EX)
        if self._head[_COLUMNS] != self._columns:
            self._map()

    def release(self) -> None:
        """
        Others may go on.
        """
        fcntl.lockf(self.descriptor, fcntl.LOCK_UN)

    def close(self) -> None:
        """
        For the master, when no worker has it any more; the memory is given back when nothing looks at it.
        """
        number, self.descriptor = self.descriptor, -1
        if number >= 0:  # the second time, the number may be somebody else's
            os.close(number)

    # Rows; all of these under the lock

    def total(self, row: int) -> int:
        """
        What all columns together count in a row.
        """
        return sum(self.cells[row :: self.stride])

    def seek(self, word: int) -> int:
        """
        @param word: not 0; its lower 4 bits do not decide where it is.
        @return: the row of this word; where there is none, one that it may have; -1: there is no room.
        """
        words = self.words
        buckets = self._buckets
        one = (word >> 4) % buckets * BUCKET
        other = (word >> 34) % buckets * BUCKET
        here = words[one : one + BUCKET].tolist()
        if word in here:
            return one + here.index(word)
        there = words[other : other + BUCKET].tolist()
        if word in there:
            return other + there.index(word)
        if there.count(0) > here.count(0):
            one, here = other, there
        if 0 in here:
            return one + here.index(0)
        # whoever died before he could count has left a word
        return next((row for row in range(one, one + BUCKET) if not self.total(row)), -1)

    def vacate(self, row: int) -> None:
        """
        Nobody counts in a row any more.
        """
        self.words[row] = 0

    # For the master

    @classmethod
    def make(cls, descriptor: int, shape: Shape, mend: Mend) -> Table:
        """
        @param descriptor: of an empty file.
        @raise OSError: there is not so much memory.
        """
        os.ftruncate(descriptor, shape.common + shape.stride * 4)
        os.pwrite(descriptor, (1).to_bytes(8, "little") + os.urandom(_SECRET_SIZE), 0)
        table = cls(descriptor, shape)
        mend(table, ())
        return table

    def grow(self, columns: int) -> None:
        """
        Have so many columns at least. Each further time there are twice as many: growing is rare.

        @raise OSError: there is not so much memory.
        """
        if columns > self._head[_COLUMNS]:
            columns = max(columns, 2 * self._head[_COLUMNS])
            os.ftruncate(self.descriptor, self.shape.common + columns * self.stride * 4)
            self._head[_COLUMNS] = columns
            self._map()

    def clear(self, seat: int, mend: Mend) -> None:
        """
        The owner of a column is dead.
        """
        size = self.stride * 4
        begin = self.shape.common + seat * size
        # to read what nobody has written costs memory, but not by this call
        column = os.pread(self.descriptor, size, begin)
        if not column.strip(b"\0"):
            return
        self.acquire()
        try:
            cells = self.cells[seat * self.stride : (seat + 1) * self.stride].cast("B")
            for at in range(0, size, _BLOCK):
                block = column[at : at + _BLOCK]
                if block.strip(b"\0"):
                    cells[at : at + len(block)] = bytes(len(block))
            mend(self, self._taken())
        finally:
            self.release()

    def _taken(self) -> list[int]:
        """
        The words of the rows that are taken; the others have none from now on.
        """
        words = array("Q", os.pread(self.descriptor, self.shape.rows * 8, HEAD))
        found = []
        for row, word in enumerate(words):
            if word and self.total(row):
                found.append(word)
            elif word:
                self.vacate(row)
        return found


@dataclass(frozen=True, slots=True)
class Share:
    """
    What a configuration wants a table for.

    @ivar key: where a configuration and the next one have equal ones, they have the same table.
    @ivar kept: whether that may be; else each configuration begins anew.
    @ivar take: called in each worker, before it begins, with its table.
    @ivar mend: see C{Mend}.
    """

    key: tuple[str | int, ...]
    shape: Shape
    kept: bool
    take: Callable[[Table], None]
    mend: Mend


def share(build: Build, wish: Share) -> None:
    """
    For the C{prepare} of modules that count together with their like in other workers. Where there are no workers,
    nobody comes with a table.
    """
    build.shared.setdefault(share, []).append(wish)


def shares(build: Build) -> list[Share]:
    """
    What has been wished, in the order in which the modules were prepared, which is the same in all processes.
    """
    found: list[Share] = build.shared.get(share, [])
    return found


def nothing_to_mend(table: Table, words: Iterable[int]) -> None:
    """
    For tables that have nothing noted in their heads.
    """
