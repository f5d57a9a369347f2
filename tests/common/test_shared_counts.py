"""
Tests for L{sniproxy.common.shared_counts}.
"""

from __future__ import annotations

from sniproxy.common.limit_conn import Counts, room_of
from sniproxy.common.shared_counts import SharedCounts, Verdict, mending, shape_of
from sniproxy.common.shared_memory import Table
from sniproxy.common.zones import PAGE
from tests.support.tables import TableCase

SIZE = 8 * PAGE
MEND = mending(lambda: room_of("one", SIZE))


class CountsCase(TableCase):
    """
    One zone and its workers.
    """

    def setUp(self) -> None:
        self.table = self.master(shape_of(SIZE), MEND)

    def counts(self, seat: int) -> SharedCounts:
        """
        Those of a worker that is born.
        """
        return SharedCounts(self.worker(self.table, seat), SIZE, "$remote_addr", 36)

    def pair(self) -> tuple[SharedCounts, SharedCounts]:
        """
        Those of two workers.
        """
        return self.counts(0), self.counts(1)

    def fill(self, counts: SharedCounts | Counts, length: int = 16) -> int:
        """
        How many keys go in.
        """
        number = 0
        while counts.enter(b"%0*d" % (length, number), 1) is Verdict.ENTERED:
            number += 1
        return number

    def as_new(self, seen: Table) -> bool:
        """
        Whether a table counts nothing, and has all its room.
        """
        return not any(seen.cells) and list(seen.notes)[:13] == room_of("one", SIZE).used


class SharedCountsTests(CountsCase):
    """
    Two workers count the same keys.
    """

    def test_limit(self) -> None:
        """
        A limit is one of all workers, wherever connections come and go.
        """
        first, second = self.pair()
        self.assertEqual(first.enter(b"x", 1), Verdict.ENTERED)
        self.assertEqual([each.enter(b"x", 1) for each in (first, second)], [Verdict.TOO_MANY] * 2)
        self.assertEqual([each.enter(b"x", 3) for each in (second, first, second)].count(Verdict.ENTERED), 2)
        second.leave(b"x")
        self.assertEqual(second.enter(b"x", 2), Verdict.TOO_MANY)
        first.leave(b"x")
        self.assertEqual(second.enter(b"x", 2), Verdict.ENTERED)
        self.assertEqual(first.enter(b"y", 1), Verdict.ENTERED)

    def test_ends(self) -> None:
        """
        Counts of a key end with its last connection, in whichever worker that is.
        """
        first, second = self.pair()
        for each in (first, second, first):
            each.enter(b"x", 9)
        for each in (first, first, second):
            self.assertFalse(self.as_new(self.table))
            each.leave(b"x")
        self.assertEqual((first._rows, second._rows), ({}, {}))
        self.table.acquire()
        self.table.release()
        self.assertTrue(self.as_new(self.table))
        self.assertFalse(any(self.table.words))

    def test_room(self) -> None:
        """
        As many keys go in as with one process; what one worker gives back, the other one may have.
        """
        first, second = self.pair()
        number = self.fill(first)
        self.assertEqual(number, self.fill(Counts("one", SIZE, "$remote_addr")))
        self.assertEqual(second.enter(b"another", 1), Verdict.NO_ROOM)
        self.assertEqual(second.enter(b"%016d" % 0, 2), Verdict.ENTERED)
        first.leave(b"%016d" % 1)
        self.assertEqual(second.enter(b"another", 1), Verdict.ENTERED)
        self.assertEqual(first.enter(b"one more", 1), Verdict.NO_ROOM)

    def test_sizes(self) -> None:
        """
        Long keys take more room than short ones.
        """
        for length in (28, 29, 92, 93, 255):
            self.setUp()
            self.assertEqual(
                self.fill(self.counts(0), length), self.fill(Counts("one", SIZE, "$remote_addr"), length), length
            )

    def test_no_row(self) -> None:
        """
        Where every row is taken nobody else comes in.
        """
        first, _ = self.pair()
        for row in range(self.table.shape.rows):
            self.table.words[row] = row + 1 << 4
            self.table.cells[row] = 1
        self.assertEqual(first.enter(b"x", 1), Verdict.NO_ROOM)

    def test_the_dead(self) -> None:
        """
        What a worker counted ends with it; what others count does not, and the room is what they have left.
        """
        first, second = self.pair()
        number = self.fill(first)
        self.assertEqual(second.enter(b"%016d" % 5, 2), Verdict.ENTERED)
        self.table.clear(0, MEND)
        self.assertEqual(second.enter(b"%016d" % 5, 1), Verdict.TOO_MANY)
        again = self.counts(0)
        self.assertEqual(again.enter(b"%016d" % 5, 1), Verdict.TOO_MANY)
        again.enter(b"%016d" % 5, 2)
        again.leave(b"%016d" % 5)
        self.assertEqual(self.fill(again, 17), number - 1)
        second.leave(b"%016d" % 5)
        self.table.clear(0, MEND)
        self.assertTrue(self.as_new(self.table))

    def test_dead_in_between(self) -> None:
        """
        Whoever dies between two steps leaves nothing behind, neither a count nor a room that is too small.
        """

        class Dead(Exception):
            """
            It was here.
            """

        class Steps:
            """
            Memory in which only so many things can be changed.
            """

            def __init__(self, memory: memoryview, left: list[int]) -> None:
                self.memory = memory
                self.left = left

            def __getitem__(self, key: int | slice) -> object:
                return self.memory[key]

            def __setitem__(self, key: int, value: int) -> None:
                if not self.left[0]:
                    raise Dead
                self.left[0] -= 1
                self.memory[key] = value

            def __iter__(self) -> object:
                return iter(self.memory)

        for last in range(7):
            self.setUp()
            counts = self.counts(0)
            table = counts._table
            left = [last]
            for name in ("words", "cells", "notes"):
                setattr(table, name, Steps(getattr(table, name), left))
            counts._room.used = table.notes
            died = False
            try:
                counts.enter(b"x", 1)
                counts.leave(b"x")
            except Dead:
                died = True
            self.assertEqual(died, last < 6, last)
            self.table.clear(0, MEND)
            self.assertTrue(self.as_new(self.table), last)
            self.assertEqual(self.counts(1).enter(b"x", 1), Verdict.ENTERED)
