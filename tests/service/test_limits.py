"""
Tests for L{sniproxy.service.limits}.
"""

from __future__ import annotations

import os
import resource
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.levels import ALERT, NOTICE
from sniproxy.service.core import USER, Account
from sniproxy.service.limits import settle
from tests.support.sessions import configured


class SettleTests(SynchronousTestCase):
    """
    What the system is asked for.
    """

    def setUp(self) -> None:
        self.calls: list[Any] = []
        self.refused: set[str] = set()
        self.lines: list[tuple[int, str]] = []
        for where, name in (
            (os, "setpriority"),
            (os, "initgroups"),
            (os, "setgid"),
            (os, "setuid"),
            (os, "sched_setaffinity"),
            (resource, "setrlimit"),
        ):
            self.patch(where, name, lambda *what, name=name: self.asked(name, *what))

    def asked(self, name: str, *what: Any) -> None:
        """
        The system answers.
        """
        self.calls.append((name, *what))
        if name in self.refused:
            raise PermissionError(1, "Operation not permitted")

    def settle(self, text: str, account: Account | None = None, worker: int = 0) -> list[Any]:
        """
        @return: what was asked for, in order.
        """
        root = configured(text).root
        root.values[USER] = account
        log: Any = self
        settle(root, log, worker)
        return self.calls

    def write(self, level: int, message: str) -> None:
        """
        A line of the log.
        """
        self.lines.append((level, message))

    def test_nothing(self) -> None:
        """
        Nothing said, nothing is changed.
        """
        self.assertEqual(self.settle(""), [])
        self.assertEqual(self.lines, [])

    def test_order(self) -> None:
        """
        What only root may do comes first; the user comes after his groups; the cores come last.
        """
        self.assertEqual(
            self.settle(
                "worker_priority -5; worker_rlimit_nofile 9; worker_rlimit_core 1m; worker_cpu_affinity 01 110;",
                Account("proxy", 13, 14),
                1,
            ),
            [
                ("setpriority", os.PRIO_PROCESS, 0, -5),
                ("setrlimit", resource.RLIMIT_NOFILE, (9, 9)),
                ("setrlimit", resource.RLIMIT_CORE, (1 << 20, 1 << 20)),
                ("initgroups", "proxy", 14),
                ("setgid", 14),
                ("setuid", 13),
                ("sched_setaffinity", 0, frozenset({1, 2})),
            ],
        )
        self.assertEqual(self.lines, [(NOTICE, f"sched_setaffinity(): using cpu #{core}") for core in (1, 2)])

    def test_refused(self) -> None:
        """
        What the system refuses is an alert each, and stops nothing.
        """
        self.refused = {"setpriority", "setrlimit", "sched_setaffinity"}
        self.settle("worker_priority -5; worker_rlimit_nofile 9; worker_rlimit_core 1; worker_cpu_affinity 1;")
        self.assertEqual(
            [line for level, line in self.lines if level == ALERT],
            [
                "setpriority(-5) failed (1: Operation not permitted)",
                "setrlimit(RLIMIT_NOFILE, 9) failed ([Errno 1] Operation not permitted)",
                "setrlimit(RLIMIT_CORE, 1) failed ([Errno 1] Operation not permitted)",
                "sched_setaffinity() failed (1: Operation not permitted)",
            ],
        )

    def test_not_that_user(self) -> None:
        """
        Who cannot become the user he is to be must not go on.
        """
        self.refused = {"setuid"}
        self.assertRaises(PermissionError, self.settle, "", Account("proxy", 13, 14))

    def test_system_without_it(self) -> None:
        """
        Where a process cannot be bound to cores that is said; an empty C{auto} asks for nothing.
        """
        self.settle("worker_cpu_affinity auto 0;")
        self.assertEqual(self.lines, [])
        self.patch(os, "sched_setaffinity", None)
        del os.sched_setaffinity
        self.settle("worker_cpu_affinity 1;")
        self.assertEqual(self.lines[-1], (ALERT, "sched_setaffinity() is not there on this system"))
