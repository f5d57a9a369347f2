"""
Logs with a name for each session.
"""

from __future__ import annotations

import os

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sniproxy.interfaces import ISessionLog
from sniproxy.logs.by_name import Keep, LogsByName


class ByNameTests(SynchronousTestCase):
    """
    Which files are open, and where lines go when one was renamed.
    """

    def setUp(self) -> None:
        self.folder = self.mktemp()
        os.mkdir(self.folder)

    def path(self, name: str) -> str:
        """
        A name in the folder of this test.
        """
        return os.path.join(self.folder, name)

    def text(self, name: str) -> str:
        """
        What is in a file.
        """
        with open(self.path(name)) as file:
            return file.read()

    def logs(self, keep: Keep | None = None) -> LogsByName:
        """
        Logs that are closed when the test is over.
        """
        made = LogsByName() if keep is None else LogsByName(keep)
        self.addCleanup(made.close)
        return made

    def open_files(self) -> set[str]:
        """
        The files of the folder that this process has open.
        """
        folder = os.path.realpath(self.folder)
        targets = []
        for number in os.listdir("/proc/self/fd"):
            try:
                targets.append(os.readlink(f"/proc/self/fd/{number}"))
            except FileNotFoundError:
                # the one that listed the folder
                continue
        return {os.path.basename(target) for target in targets if os.path.dirname(target) == folder}

    def test_interface(self) -> None:
        """
        They can be reopened and closed with all other logs.
        """
        self.assertTrue(verifyObject(ISessionLog, self.logs()))

    def test_nothing_kept(self) -> None:
        """
        Without a cache no file stays open, and a renamed file is left at once.
        """
        logs = self.logs()
        logs.aim(self.path("a"), 0.0).write(b"1\n")
        logs.aim(self.path("b"), 0.0).write(b"2\n")
        logs.aim(self.path("a"), 0.0).write(b"3\n")
        self.assertEqual((self.text("a"), self.text("b"), self.open_files()), ("1\n3\n", "2\n", set()))
        os.rename(self.path("a"), self.path("c"))
        logs.aim(self.path("a"), 0.0).write(b"4\n")
        self.assertEqual((self.text("a"), self.text("c")), ("4\n", "1\n3\n"))

    def test_last_used_stay(self) -> None:
        """
        With a cache the files used last stay open, and no more than it allows.
        """
        logs = self.logs(Keep(2))
        for name in ("a", "b", "a", "c"):
            logs.aim(self.path(name), 0.0).write(name.encode())
        self.assertEqual(self.open_files(), {"a", "c"})
        self.assertEqual(self.text("a"), "aa")

    def test_inactive(self) -> None:
        """
        A file nobody wrote to for long is closed when the next line comes, whose ever it is.
        """
        logs = self.logs(Keep(9, inactive=10.0))
        logs.aim(self.path("a"), 0.0).write(b"1")
        logs.aim(self.path("b"), 5.0).write(b"1")
        logs.aim(self.path("c"), 10.0).write(b"1")
        self.assertEqual(self.open_files(), {"a", "b", "c"})
        logs.aim(self.path("c"), 15.0).write(b"1")
        self.assertEqual(self.open_files(), {"b", "c"})

    def test_min_uses(self) -> None:
        """
        A file that is used less often is closed after each line.
        """
        logs = self.logs(Keep(9, min_uses=2))
        logs.aim(self.path("a"), 0.0).write(b"1")
        self.assertEqual(self.open_files(), set())
        logs.aim(self.path("a"), 1.0).write(b"2")
        self.assertEqual(self.open_files(), {"a"})
        logs.aim(self.path("b"), 2.0).write(b"1")
        logs.aim(self.path("b"), 20.0).write(b"1")
        self.assertEqual(self.open_files(), set())
        self.assertEqual((self.text("a"), self.text("b")), ("12", "11"))

    def test_valid(self) -> None:
        """
        After some time the name is opened anew, so that a renamed file is left.
        """
        logs = self.logs(Keep(9, inactive=1000.0, valid=60.0))
        logs.aim(self.path("a"), 0.0).write(b"1")
        os.rename(self.path("a"), self.path("old"))
        logs.aim(self.path("a"), 60.0).write(b"2")
        logs.aim(self.path("a"), 60.5).write(b"3")
        self.assertEqual((self.text("old"), self.text("a"), self.open_files()), ("12", "3", {"a"}))

    def test_reopen(self) -> None:
        """
        When logs are reopened the next line goes to the file that has the name then.
        """
        logs = self.logs(Keep(9))
        logs.aim(self.path("a"), 0.0).write(b"1")
        os.rename(self.path("a"), self.path("old"))
        logs.reopen()
        self.assertEqual(self.open_files(), set())
        logs.aim(self.path("a"), 0.0).write(b"2")
        self.assertEqual((self.text("old"), self.text("a")), ("1", "2"))

    def test_cannot_open(self) -> None:
        """
        A file that cannot be opened is told, keeps nothing open, and others go on.
        """
        for logs in (self.logs(), self.logs(Keep(9))):
            problem: OSError = self.assertRaises(OSError, logs.aim(self.path("no/such"), 0.0).write, b"1")
            self.assertEqual(problem.filename, self.path("no/such"))
            self.assertRaises(ValueError, logs.aim("a\0b", 0.0).write, b"1")
            logs.aim(self.path("a"), 0.0).write(b"1")
        self.assertEqual(self.open_files(), {"a"})

    def test_cannot_write(self) -> None:
        """
        A file that cannot be written is told without its name, and nothing stays open that should not.
        """
        logs = self.logs()
        problem: OSError = self.assertRaises(OSError, logs.aim("/dev/full", 0.0).write, b"1")
        self.assertIsNone(problem.filename)
        kept = self.logs(Keep(9, inactive=1.0))
        self.assertRaises(OSError, kept.aim("/dev/full", 0.0).write, b"1")
        kept.aim(self.path("a"), 5.0).write(b"1")
        self.assertEqual(self.text("a"), "1")
