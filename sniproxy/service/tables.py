"""
What does a master hold that its workers count in? The tables of its configurations, and who has which column.

Strategy: each worker that lives has a seat, the lowest that was free, and with it its column in all tables it is born
with. Workers of a configuration that was left keep theirs until their last session is over; so a zone that is the same
in both configurations counts the sessions of both.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from sniproxy.common.shared_memory import Share, Table, shares
from sniproxy.config.build import Build
from sniproxy.errors import ConfigError, ConfigErrors
from sniproxy.service.core import WORKERS
from sniproxy.service.snapshot import nameless

Stock = tuple[tuple[Share, Table], ...]
"""The tables of one configuration, in the order of its L{wanted}."""


def wanted(build: Build) -> list[Share]:
    """
    What the workers of a configuration share. One that is alone shares with the one after a reload, and with nobody
    else.
    """
    return [each for each in shares(build) if each.kept or build.root[WORKERS] > 1]


class Tables:
    """
    Owns the tables of all configurations that have workers, and closes each with its last user.
    """

    def __init__(self) -> None:
        self._kept: dict[tuple[str | int, ...], Table] = {}
        self._users: dict[Table, int] = {}
        self._seats: set[int] = set()

    def open(self, build: Build) -> Stock:
        """
        The tables of a configuration, to be given back with L{close}.

        @raise ConfigErrors: there is no memory for them, or no descriptor; then nothing has changed.
        """
        found: list[tuple[Share, Table]] = []
        for each in wanted(build):
            table = self._kept.get(each.key) if each.kept else None
            try:
                table = _make(each) if table is None else table
            except OSError as error:
                self.close(tuple(found))
                message = f'shared memory of zone "{each.key[1]}" failed ({error.errno}: {error.strerror})'
                raise ConfigErrors((ConfigError(message),)) from None
            if each.kept:
                self._kept[each.key] = table
            self._users[table] = self._users.get(table, 0) + 1
            found.append((each, table))
        return tuple(found)

    def lend(self, stock: Stock) -> None:
        """
        One more uses these tables, and will L{close} them.
        """
        for _, table in stock:
            self._users[table] += 1

    def close(self, stock: Stock) -> None:
        """
        A user does not need its tables any more.
        """
        for each, table in stock:
            self._users[table] -= 1
            if not self._users[table]:
                del self._users[table]
                if self._kept.get(each.key) is table:
                    del self._kept[each.key]
                table.close()

    def sit(self, stock: Stock) -> int:
        """
        A worker is to be born: give it a seat.

        @raise OSError: there is no memory for one more; then it has none.
        """
        seat = next(number for number in range(len(self._seats) + 1) if number not in self._seats)
        for _, table in stock:
            table.grow(seat + 1)
        self._seats.add(seat)
        return seat

    def rise(self, stock: Stock, seat: int) -> None:
        """
        That worker has ended: whatever it counted does not count any more.
        """
        for each, table in stock:
            table.clear(seat, each.mend)
        self._seats.discard(seat)


def _make(wish: Share) -> Table:
    descriptor = nameless(b"")
    try:
        return Table.make(descriptor, wish.shape, wish.mend)
    except BaseException:
        os.close(descriptor)
        raise


def take_tables(build: Build, descriptors: Sequence[int], seat: int) -> None:
    """
    For a worker: have its configuration count in the tables that it was born with.

    @param descriptors: of the tables, in the order of L{wanted}; they are ours for good.
    """
    for wish, descriptor in zip(wanted(build), descriptors, strict=True):
        wish.take(Table(descriptor, wish.shape, seat))
