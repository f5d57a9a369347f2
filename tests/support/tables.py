"""
Tables that workers share, with several of them in one process.
"""

from __future__ import annotations

import os
import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.common.shared_memory import Mend, Shape, Table, nothing_to_mend, shares
from sniproxy.config.build import Build
from sniproxy.service.snapshot import nameless

_TRY = """
import fcntl, sys
try:
    fcntl.lockf(int(sys.argv[1]), fcntl.LOCK_EX | fcntl.LOCK_NB)
except OSError:
    print("locked")
"""


def together(test: SynchronousTestCase, *builds: Build) -> list[Table]:
    """
    Equal configurations are those of workers of one master, in the order of their seats.

    @return: the tables of the master.
    """
    masters = []
    for wishes in zip(*map(shares, builds), strict=True):
        master = Table.make(nameless(b""), wishes[0].shape, wishes[0].mend)
        test.addCleanup(master.close)
        master.grow(len(wishes))
        for seat, wish in enumerate(wishes):
            table = Table(os.dup(master.descriptor), wish.shape, seat)
            test.addCleanup(table.close)
            wish.take(table)
        masters.append(master)
    return masters


class TableCase(SynchronousTestCase):
    """
    Workers are objects here: locks, which are between processes, do not part them.
    """

    def descriptor(self) -> int:
        """
        Of an empty file, which somebody else closes.
        """
        return nameless(b"")

    def master(self, shape: Shape, mend: Mend = nothing_to_mend) -> Table:
        """
        A new table, as its master has it.
        """
        table = Table.make(self.descriptor(), shape, mend)
        self.addCleanup(table.close)
        return table

    def worker(self, master: Table, seat: int) -> Table:
        """
        A worker is born.
        """
        master.grow(seat + 1)
        table = Table(os.dup(master.descriptor), master.shape, seat)
        self.addCleanup(table.close)
        return table

    def workers(self, shape: Shape, number: int = 2) -> list[Table]:
        """
        Workers of a new table.
        """
        master = self.master(shape)
        found = [self.worker(master, seat) for seat in range(number)]
        for table in found:
            # so that each has seen the others
            table.acquire()
            table.release()
        return found

    def is_locked(self, table: Table) -> bool:
        """
        Whether another process would have to wait.
        """
        answer = subprocess.run(
            [sys.executable, "-c", _TRY, str(table.descriptor)],
            pass_fds=(table.descriptor,),
            capture_output=True,
            text=True,
            check=True,
        )
        return answer.stdout == "locked\n"
