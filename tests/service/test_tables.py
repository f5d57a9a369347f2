"""
Tests for L{sniproxy.service.tables}.
"""

from __future__ import annotations

import os

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.common.shared_memory import Shape, Share, Table, nothing_to_mend, share
from sniproxy.config.build import Build
from sniproxy.errors import ConfigErrors
from sniproxy.service import tables as under_test
from sniproxy.service.snapshot import nameless
from sniproxy.service.tables import Stock, Tables, take_tables, wanted
from tests.support.sessions import configured


class TablesTests(SynchronousTestCase):
    """
    The tables of a master.
    """

    def setUp(self) -> None:
        self.tables = Tables()
        self.taken: list[tuple[str, Table]] = []
        self.made: dict[int, int] = {}

        def make(data: bytes) -> int:
            descriptor = nameless(data)
            self.made[descriptor] = os.fstat(descriptor).st_ino
            return descriptor

        self.patch(under_test, "nameless", make)
        self.addCleanup(self.close)

    def close(self) -> None:
        """
        What is open still.
        """
        for descriptor in self.open():
            os.close(descriptor)

    def open(self) -> list[int]:
        """
        The descriptors that are, and of what they were made for: a number may be somebody else's by now.
        """
        found = []
        for descriptor, file in self.made.items():
            try:
                if os.fstat(descriptor).st_ino == file:
                    found.append(descriptor)
            except OSError:
                continue
        return found

    def build(self, *names: str, workers: int = 2, rows: int = 16) -> Build:
        """
        A configuration that wishes for tables; those with a small letter are kept.
        """
        build = configured(f"worker_processes {workers};")
        for name in names:
            kept = name.islower()
            take = lambda table, name=name: self.taken.append((name, table))  # noqa: E731
            share(build, Share(("zone", name, rows), Shape(rows), kept, take, nothing_to_mend))
        return build

    def of(self, stock: Stock) -> list[Table]:
        """
        The tables.
        """
        return [table for _, table in stock]

    def test_alone(self) -> None:
        """
        A single worker shares what is kept with the next one, and nothing else.
        """
        self.assertEqual([each.key[1] for each in wanted(self.build("a", "B", workers=1))], ["a"])
        self.assertEqual([each.key[1] for each in wanted(self.build("a", "B"))], ["a", "B"])

    def test_kept(self) -> None:
        """
        A configuration that wishes for the same has the same table, where that is kept; else it has a new one.
        """
        first = self.of(self.tables.open(self.build("a", "B")))
        second = self.of(self.tables.open(self.build("a", "B")))
        third = self.of(self.tables.open(self.build("a", rows=32)))
        self.assertEqual([one is two for one, two in zip(first, second, strict=True)], [True, False])
        self.assertIsNot(third[0], first[0])
        self.assertEqual(len(self.open()), 4)

    def test_closed(self) -> None:
        """
        A table is closed with its last user; who wishes for it then has a new one.
        """
        stock = self.tables.open(self.build("a", "B"))
        self.tables.lend(stock)
        self.tables.close(stock)
        again = self.tables.open(self.build("a"))
        self.tables.close(stock)
        self.assertEqual(self.open(), [again[0][1].descriptor])
        self.tables.close(again)
        self.assertEqual(self.open(), [])
        self.assertIsNot(self.of(self.tables.open(self.build("a")))[0], self.of(stock)[0])

    def test_an_older_one_closes_later(self) -> None:
        """
        The end of an older table of the same wish does not forget the newer one.
        """
        older = self.tables.open(self.build("a"))
        self.tables._kept.clear()
        newer = self.tables.open(self.build("a"))
        self.tables.close(older)
        self.assertIs(self.of(self.tables.open(self.build("a")))[0], self.of(newer)[0])

    def test_refused(self) -> None:
        """
        Where there is no memory for one, none is left open.
        """
        truncate = os.ftruncate
        for where in ("nameless", "ftruncate"):
            count = [2]

            def refuse(*arguments: object, count: list[int] = count, where: str = where) -> int:
                count[0] -= 1
                if not count[0]:
                    raise OSError(24, "Too many open files")
                if where == "nameless":
                    return nameless(b"")
                truncate(*arguments)  # type: ignore[arg-type]
                return 0

            if where == "nameless":
                self.patch(under_test, "nameless", refuse)
            else:
                self.setUp()
                self.patch(os, "ftruncate", refuse)
            errors = self.assertRaises(ConfigErrors, self.tables.open, self.build("a", "b"))
            self.assertEqual(
                [str(error) for error in errors.errors],
                ['shared memory of zone "b" failed (24: Too many open files)'],
            )
            self.assertEqual((self.open(), self.tables._kept, self.tables._users), ([], {}, {}))

    def test_seats(self) -> None:
        """
        Each worker has the lowest seat that is free, and all tables have its column.
        """
        stock = self.tables.open(self.build("a", "B"))
        self.assertEqual([self.tables.sit(stock) for _ in range(3)], [0, 1, 2])
        for table in self.of(stock):
            self.assertGreaterEqual(len(table.cells), 3 * 16)
        self.tables.rise(stock, 1)
        other = self.tables.open(self.build("a", "B"))
        self.assertEqual([self.tables.sit(other), self.tables.sit(stock)], [1, 3])

    def test_rise(self) -> None:
        """
        What a worker counted ends with it.
        """
        stock = self.tables.open(self.build("a", "B"))
        seats = [self.tables.sit(stock) for _ in range(2)]
        for table in self.of(stock):
            for seat in seats:
                table.words[3] = 3 << 4
                table.cells[seat * 16 + 3] = 1
        self.tables.rise(stock, 0)
        self.assertEqual([table.total(3) for table in self.of(stock)], [1, 1])
        self.tables.rise(stock, 1)
        self.assertEqual([table.words[3] for table in self.of(stock)], [0, 0])

    def test_no_seat(self) -> None:
        """
        Where a table cannot grow nobody has the seat.
        """
        stock = self.tables.open(self.build("a"))
        self.tables.sit(stock)

        def refuse(descriptor: int, size: int) -> None:
            raise OSError(12, "Cannot allocate memory")

        with_memory = os.ftruncate
        self.patch(os, "ftruncate", refuse)
        self.assertRaises(OSError, self.tables.sit, stock)
        self.patch(os, "ftruncate", with_memory)
        self.assertEqual(self.tables.sit(stock), 1)

    def test_take(self) -> None:
        """
        A worker takes its tables in their order, with its seat.
        """
        build = self.build("a", "B")
        stock = self.tables.open(build)
        seat = [self.tables.sit(stock) for _ in range(2)][1]
        descriptors = [os.dup(table.descriptor) for table in self.of(stock)]
        self.made |= {descriptor: os.fstat(descriptor).st_ino for descriptor in descriptors}
        take_tables(build, descriptors, seat)
        self.assertEqual([(name, table.seat) for name, table in self.taken], [("a", 1), ("B", 1)])
        for (_, mine), master in zip(self.taken, self.of(stock), strict=True):
            mine.cells[mine.own + 2] = 4
            self.assertEqual((master.total(2), mine.secret), (4, master.secret))
        self.assertRaises(ValueError, take_tables, build, [], 0)
