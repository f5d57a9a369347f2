"""
Tests for L{sniproxy.common.shared_memory}.
"""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Iterable

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.common.shared_memory import BUCKET, HEAD, Shape, Share, Table, nothing_to_mend, share, shares
from tests.support.sessions import configured
from tests.support.tables import TableCase


class ShapeTests(SynchronousTestCase):
    """
    How large it is.
    """

    def test_sizes(self) -> None:
        """
        Before the columns there are a head, a word for each row, and its fields; each column has all cells.
        """
        shape = Shape(10, 5, 2)
        self.assertEqual((shape.common, shape.stride), (HEAD + 10 * 48, 20))
        self.assertEqual((Shape(10).common, Shape(10).stride), (HEAD + 80, 10))
        self.assertEqual([Shape.of(wanted).rows for wanted in (0, 8, 9, 100)], [16, 16, 32, 208])


class TableTests(TableCase):
    """
    Two workers on one table.
    """

    def test_sum(self) -> None:
        """
        What a worker counts, the other one sees; each has its own.
        """
        first, second = self.workers(Shape(8))
        first.cells[first.own + 3] += 1
        second.cells[second.own + 3] += 2
        self.assertEqual((first.total(3), second.total(3)), (3, 3))
        self.assertEqual((first.total(2), first.total(4)), (0, 0))
        self.assertEqual((first.cells[first.own + 3], second.cells[second.own + 3]), (1, 2))

    def test_fields(self) -> None:
        """
        Fields are numbers or moments, and belong to all; so do notes and the secret, which no other table has.
        """
        first, second = self.workers(Shape(8, 2))
        first.numbers[5] = -7
        first.moments[6] = 0.25
        first.notes[15] = 9
        self.assertEqual((second.numbers[5], second.moments[6], second.notes[15]), (-7, 0.25, 9))
        self.assertEqual(first.secret, second.secret)
        self.assertEqual(len(first.secret), 16)
        self.assertNotEqual(first.secret, self.workers(Shape(8))[0].secret)
        self.assertEqual((list(first.words), first.total(5)), ([0] * 8, 0))

    def put(self, table: Table, word: int) -> int:
        """
        Count in the row of a word.
        """
        row = table.seek(word)
        table.words[row] = word
        table.cells[table.own + row] += 1
        return row

    def leave(self, table: Table, row: int) -> None:
        """
        Count no more there.
        """
        table.cells[table.own + row] -= 1
        if not table.total(row):
            table.vacate(row)

    def word(self, one: int, other: int, more: int = 0) -> int:
        """
        One that may be in either of two buckets.
        """
        return other << 34 | one << 4 | more

    def test_seek(self) -> None:
        """
        A word has one row for all workers, in one of its two buckets; a new one goes to the emptier of them.
        """
        first, second = self.workers(Shape(4 * BUCKET))
        words = [self.word(1, 3, more) for more in range(4)]
        self.assertEqual([self.put(first, word) for word in words], [BUCKET, 3 * BUCKET, BUCKET + 1, 3 * BUCKET + 1])
        self.assertEqual([second.seek(word) for word in words], [first.seek(word) for word in words])
        self.assertEqual(self.put(second, words[2]), BUCKET + 1)
        self.leave(second, BUCKET + 1)
        self.leave(first, BUCKET)
        self.assertEqual(second.seek(self.word(1, 3, 9)), BUCKET)
        self.assertEqual(second.seek(words[2]), BUCKET + 1)
        self.leave(first, BUCKET + 1)
        self.assertEqual(first.words[BUCKET + 1], 0)

    def test_full(self) -> None:
        """
        Where both buckets are full there is no room, but in a row whose word somebody has left who did not live to
        count.
        """
        first, second = self.workers(Shape(2 * BUCKET))
        rows = {self.put(first, self.word(0, 1, number % 16) + (number // 16 << 40)) for number in range(2 * BUCKET)}
        self.assertEqual(rows, set(range(2 * BUCKET)))
        self.assertEqual(second.seek(self.word(0, 1, 1) + (7 << 40)), -1)
        first.cells[first.own + 5] = 0
        self.assertEqual(second.seek(self.word(0, 1, 1) + (7 << 40)), 5)

    def test_as_many_as_wanted(self) -> None:
        """
        There is room for as many as were wanted.
        """
        dice = random.Random(3)
        for wanted in (1, 64, 3000):
            (table,) = self.workers(Shape.of(wanted), 1)
            rows = {self.put(table, dice.getrandbits(64)) for _ in range(wanted)}
            self.assertEqual((len(rows), -1 in rows), (wanted, False))

    def test_as_a_dictionary(self) -> None:
        """
        Whatever comes and goes, and whoever counts it: a word has a row of its own while anybody counts in it.
        """
        dice = random.Random(7)
        workers = self.workers(Shape.of(40))
        known: dict[int, tuple[int, list[int]]] = {}
        for _ in range(4000):
            which = dice.randrange(2)
            table = workers[which]
            word = dice.randrange(1, 200) * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF
            row, counts = known.get(word, (-1, [0, 0]))
            if dice.random() < 0.5 and len(known) < 40:
                found = self.put(table, word)
                self.assertTrue(found == row or row < 0)
                counts[which] += 1
                known[word] = (found, counts)
            elif counts[which]:
                counts[which] -= 1
                self.leave(table, row)
                if not any(counts):
                    del known[word]
        self.assertEqual(len({row for row, _ in known.values()}), len(known))
        for word, (row, counts) in known.items():
            self.assertEqual((workers[0].seek(word), workers[1].total(row)), (row, sum(counts)))
        for row, counts in known.values():
            for which, count in enumerate(counts):
                for _ in range(count):
                    self.leave(workers[which], row)
        self.assertFalse(any(workers[0].words))

    def test_lock(self) -> None:
        """
        Who has the lock has it alone, among processes; and it goes with its holder.
        """
        (table,) = self.workers(Shape(8), 1)
        ready, say = os.pipe()
        child = os.fork()
        if not child:
            try:
                table.acquire()
                os.write(say, b"x")
                signal.pause()
            finally:
                os._exit(1)
        os.read(ready, 1)
        os.close(ready)
        os.close(say)
        try:
            self.assertTrue(self.is_locked(table))
        finally:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        table.acquire()
        table.release()


class MasterTests(TableCase):
    """
    What the master does.
    """

    def test_grow(self) -> None:
        """
        A worker that is born later counts, too, and those that are there already see it the next time they lock; what
        they had before is still there.
        """
        master = self.master(Shape(8))
        first = self.worker(master, 0)
        first.cells[first.own + 2] = 1
        words = first.words
        third = self.worker(master, 2)
        third.cells[third.own + 2] = 5
        self.assertEqual(third.total(2), 6)
        first.acquire()
        first.release()
        self.assertEqual(first.total(2), 6)
        third.words[1] = 77
        self.assertEqual((words[1], first.words is words), (77, True))
        size = os.fstat(master.descriptor).st_size
        master.grow(2)
        self.assertEqual(os.fstat(master.descriptor).st_size, size)

    def test_grows_under_the_lock(self) -> None:
        """
        To look at new columns does not lose the lock.
        """
        master = self.master(Shape(8))
        first = self.worker(master, 0)
        master.grow(4)
        first.acquire()
        self.assertTrue(self.is_locked(first))
        first.release()
        self.assertFalse(self.is_locked(first))

    def test_clear(self) -> None:
        """
        What a dead worker has counted does not count any more, and rows that only it had are free; what others have
        counted stays.
        """
        seen: list[list[int]] = []

        def mend(table: Table, words: Iterable[int]) -> None:
            self.assertTrue(self.is_locked(table))
            seen.append(sorted(words))

        shape = Shape(4096, cells=2)
        master = self.master(shape)
        first, second = self.worker(master, 0), self.worker(master, 1)
        for table, row in ((first, 2), (first, 4095), (second, 2), (first, 0)):
            table.words[row] = row + 1 << 4
            table.cells[table.own + row] += 1
            table.cells[table.own + shape.rows + row] += 3
        master.clear(0, mend)
        self.assertEqual(seen, [[3 << 4]])
        self.assertEqual([second.total(row) for row in (2, 4095, 0)], [1, 0, 0])
        self.assertEqual([row for row, word in enumerate(second.words) if word], [2])
        self.assertEqual(sum(second.cells), 4)
        self.assertFalse(self.is_locked(master))

    def test_nothing_to_clear(self) -> None:
        """
        A worker that has counted nothing up to its end costs nobody anything.
        """
        master = self.master(Shape(8))
        self.worker(master, 0)
        master.clear(0, lambda table, words: self.fail("called"))

    def test_mended_at_the_begin(self) -> None:
        """
        A new table is mended once, with no words.
        """
        seen: list[list[int]] = []
        self.master(Shape(8), lambda table, words: seen.append(list(words)))
        self.assertEqual(seen, [[]])

    def test_close(self) -> None:
        """
        It gives its descriptor back.
        """
        master = Table.make(self.descriptor(), Shape(8), nothing_to_mend)
        master.close()
        self.assertRaises(OSError, os.fstat, master.descriptor)


class ShareTests(SynchronousTestCase):
    """
    How a module wishes for a table.
    """

    def test_order(self) -> None:
        """
        Wishes are kept in their order; a configuration without any has none.
        """
        build = configured("")
        self.assertEqual(shares(build), [])
        wishes = [Share((name,), Shape(1), True, lambda table: None, nothing_to_mend) for name in "ba"]
        for wish in wishes:
            share(build, wish)
        self.assertEqual(shares(build), wishes)
