"""
The operating system's files.
"""

from __future__ import annotations

import errno
import os

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.http.files import MISSING, SYSTEM, Disk, Facts, OpenFile, trouble


class FilesTests(SynchronousTestCase):
    """
    A folder with some files.
    """

    def setUp(self) -> None:
        self.folder = self.mktemp()
        os.mkdir(self.folder)
        self.path = os.path.join(self.folder, "a.txt")
        with open(self.path, "wb") as file:
            file.write(b"0123456789")
        os.utime(self.path, (0, 784111777.9))

    def opened(self, path: str) -> OpenFile:
        """
        An open file, closed at the end.
        """
        disk: Disk = SYSTEM
        file = disk.open(path)
        self.addCleanup(file.close)
        return file

    def test_read(self) -> None:
        """
        Pieces are read from any place; behind the end there is nothing.
        """
        file = self.opened(self.path)
        self.assertEqual(file.facts, Facts(10, 784111777))
        self.assertEqual([file.read(2, 3), file.read(8, 99), file.read(10, 1)], [b"234", b"89", b""])

    def test_facts(self) -> None:
        """
        Folders, links to files, programs and pipes are told apart.
        """
        self.assertTrue(SYSTEM.facts(self.folder).is_folder)
        os.symlink(os.path.abspath(self.path), os.path.join(self.folder, "link"))
        os.chmod(self.path, 0o700)
        self.assertEqual(SYSTEM.facts(os.path.join(self.folder, "link")), Facts(10, 784111777, executable=True))
        os.mkfifo(os.path.join(self.folder, "pipe"))
        facts = self.opened(os.path.join(self.folder, "pipe")).facts
        self.assertFalse(facts.is_file or facts.is_folder)

    def test_not_there(self) -> None:
        """
        What is not there is an error with its number, whichever way it is asked for.
        """
        for ask in (SYSTEM.open, SYSTEM.facts, SYSTEM.real):
            for path, number in (
                ("none", errno.ENOENT),
                ("a.txt/x", errno.ENOTDIR),
                ("x" * 300, errno.ENAMETOOLONG),
            ):
                error: OSError = self.assertRaises(OSError, ask, os.path.join(self.folder, path))
                self.assertEqual(error.errno, number)
                self.assertIn(number, MISSING)
        error = self.assertRaises(OSError, SYSTEM.open, os.path.join(self.folder, "none"))
        self.assertEqual(trouble(error), "(2: No such file or directory)")

    def test_names(self) -> None:
        """
        Names are bytes: those that are no UTF-8 are found as well.
        """
        with open(os.path.join(os.fsencode(self.folder), b"\xff\xc3\xa4"), "wb"):
            pass
        self.assertEqual(self.opened(os.path.join(self.folder, "\udcffä")).facts.size, 0)

    def test_real(self) -> None:
        """
        Links are resolved on the way to the real path.
        """
        os.symlink(os.path.abspath(self.folder), os.path.join(self.folder, "up"))
        found = SYSTEM.real(os.path.join(self.folder, "up", "a.txt"))
        self.assertEqual(found, os.path.realpath(self.path))
