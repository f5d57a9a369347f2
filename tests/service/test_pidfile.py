"""
Tests for L{sniproxy.service.pidfile}.
"""

from __future__ import annotations

import os

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.config.build import Build
from sniproxy.errors import ConfigErrors
from sniproxy.levels import EMERG
from sniproxy.logs.error_log import ErrorLog
from sniproxy.service.pidfile import check_pid, move_pid, remove_pid, write_pid
from tests.support.sessions import configured


class PidFileTests(SynchronousTestCase):
    """
    The file from its beginning to its end.
    """

    def setUp(self) -> None:
        self.folder = os.path.abspath(self.mktemp())
        os.mkdir(self.folder)

    def path(self, name: str) -> str:
        """
        Of a file in the folder.
        """
        return os.path.join(self.folder, name)

    def build(self, name: str = "edge.pid") -> Build:
        """
        A configuration with a pid file.
        """
        return configured(f"pid {self.path(name)};")

    def test_written_and_removed(self) -> None:
        """
        It has the number of this process in a line, and goes when it is not needed, even if it is gone already.
        """
        build = self.build()
        check_pid(build)
        write_pid(build)
        with open(self.path("edge.pid")) as file:
            self.assertEqual(file.read(), f"{os.getpid()}\n")
        check_pid(build)
        remove_pid(build)
        remove_pid(build)
        self.assertEqual(os.listdir(self.folder), [])

    def test_none(self) -> None:
        """
        Without the directive there is none.
        """
        build = configured("")
        check_pid(build)
        write_pid(build)
        remove_pid(build)

    def test_moves(self) -> None:
        """
        A new name takes the place of the old one; one that stays is left alone.
        """
        one, two = self.build("one.pid"), self.build("two.pid")
        write_pid(one)
        move_pid(one, two)
        self.assertEqual(os.listdir(self.folder), ["two.pid"])
        os.unlink(self.path("two.pid"))
        move_pid(two, two)
        self.assertEqual(os.listdir(self.folder), [])

    def test_impossible(self) -> None:
        """
        One that cannot be written is an error of its line; found out too late, it is a line of the log.
        """
        os.mkdir(self.path("run.d"))
        told: list[tuple[int, str]] = []
        self.patch(ErrorLog, "write", lambda log, *line: told.append(line))
        for name, why in (("nowhere/a.pid", "2: No such file or directory"), ("run.d", "21: Is a directory")):
            build = self.build(name)
            words = f'open() "{self.path(name)}" failed ({why}) in /etc/edge.conf:1'
            self.assertEqual(str(self.assertRaises(ConfigErrors, check_pid, build)), f"[emerg] {words}")
            write_pid(build)
            self.assertEqual(told.pop(), (EMERG, words))
