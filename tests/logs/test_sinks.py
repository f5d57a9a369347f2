"""
How lines reach files, and what happens when they cannot.
"""

from __future__ import annotations

import contextlib
import gzip
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from sniproxy.config.build import Build
from sniproxy.config.grammar import Node
from sniproxy.errors import ConfigError, ConfigErrors
from sniproxy.interfaces import ISessionLog
from sniproxy.logs import sinks
from sniproxy.logs.sinks import COMPLAINTS, Files, StderrLog, complain_to_twisted, files_of, hold_standard_streams
from tests.support.descriptors import divert


def descriptors(path: Path) -> int:
    """
    How many descriptors of this process are of one file.
    """
    found = 0
    for number in os.listdir("/proc/self/fd"):
        # the one that lists the folder is gone by now
        with contextlib.suppress(OSError):
            found += os.readlink(f"/proc/self/fd/{number}") == str(path.resolve())
    return found


class SinksTestCase(SynchronousTestCase):
    """
    Logs in a folder of their own, closed at the end.
    """

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.path = self.folder / "a.log"
        self.clock = Clock()
        self.complaints: list[str] = []
        self.files = Files(self.complaints.append)
        self.addCleanup(self.files.close)


class FileLogTests(SinksTestCase):
    """
    One file.
    """

    def test_interface(self) -> None:
        """
        A file is a session log.
        """
        self.assertTrue(verifyObject(ISessionLog, self.files.declare("x")))

    def test_each_line_at_once(self) -> None:
        """
        Without a buffer a line is in the file when write returns, after what was there before.
        """
        self.path.write_bytes(b"old\n")
        log = self.files.declare(str(self.path))
        self.files.open(self.clock)
        log.write(b"one\n")
        self.assertEqual(self.path.read_bytes(), b"old\none\n")
        log.write(b"two\n")
        self.assertEqual(self.path.read_bytes(), b"old\none\ntwo\n")

    def test_lines_of_a_turn(self) -> None:
        """
        Lines that are gathered are written together when the turn ends, before any that is written; where nothing is
        known of turns, or there is a buffer, they are like any line.
        """
        log, kept = self.files.declare(str(self.path)), self.files.declare(str(self.folder / "b.log"), buffer=100)
        self.files.open(self.clock)
        log.gather(b"one\n")
        self.assertEqual(self.path.read_bytes(), b"one\n")
        due: list[Callable[[], None]] = []
        self.files.gather(due.append)
        for line in (b"two\n", b"three\n"):
            log.gather(line)
            kept.gather(line)
        self.assertEqual((self.path.read_bytes(), len(due)), (b"one\n", 1))
        due.pop()()
        self.assertEqual(self.path.read_bytes(), b"one\ntwo\nthree\n")
        log.gather(b"four\n")
        log.write(b"five\n")
        due.pop()()
        self.assertEqual(self.path.read_bytes(), b"one\ntwo\nthree\nfour\nfive\n")
        self.assertEqual((self.folder / "b.log").read_bytes(), b"")

    def test_before_and_after(self) -> None:
        """
        A declared file is not touched before it is opened; lines before that and after the end are lost.
        """
        log = self.files.declare(str(self.path))
        log.write(b"early\n")
        log.reopen()
        self.assertFalse(self.path.exists())
        self.files.open(self.clock)
        self.files.close()
        log.write(b"late\n")
        log.close()
        self.assertEqual(self.path.read_bytes(), b"")

    def test_buffer(self) -> None:
        """
        Lines are kept until the next one does not fit.
        """
        log = self.files.declare(str(self.path), buffer=10)
        self.files.open(self.clock)
        log.write(b"1234\n")
        log.write(b"6789\n")
        self.assertEqual(self.path.read_bytes(), b"")
        log.write(b"x\n")
        self.assertEqual(self.path.read_bytes(), b"1234\n6789\n")
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.files.flush()
        self.assertEqual(self.path.read_bytes(), b"1234\n6789\nx\n")

    def test_line_larger_than_the_buffer(self) -> None:
        """
        A line that no buffer holds is written at once, after those that were kept.
        """
        log = self.files.declare(str(self.path), buffer=10)
        self.files.open(self.clock)
        log.write(b"small\n")
        log.write(b"a very long line\n")
        self.assertEqual(self.path.read_bytes(), b"small\na very long line\n")

    def test_flush_time(self) -> None:
        """
        With flush= a line is kept so long at most, counted from the first that is kept.
        """
        log = self.files.declare(str(self.path), buffer=100, flush=5.0)
        self.files.open(self.clock)
        log.write(b"one\n")
        self.clock.advance(3)
        log.write(b"two\n")
        self.clock.advance(1.9)
        self.assertEqual(self.path.read_bytes(), b"")
        self.clock.advance(0.1)
        self.assertEqual(self.path.read_bytes(), b"one\ntwo\n")
        log.write(b"three\n")
        self.clock.advance(5)
        self.assertEqual(self.path.read_bytes(), b"one\ntwo\nthree\n")

    def test_close_flushes(self) -> None:
        """
        Closing writes what is kept and leaves no delayed call behind.
        """
        log = self.files.declare(str(self.path), buffer=100, flush=5.0)
        self.files.open(self.clock)
        log.write(b"one\n")
        self.files.close()
        self.assertEqual(self.path.read_bytes(), b"one\n")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_gzip(self) -> None:
        """
        A compressed log is whole gzip members one after the other, large lines included.
        """
        log = self.files.declare(str(self.path), buffer=64, gzip=6)
        self.files.open(self.clock)
        lines = [b"line %d\n" % number for number in range(30)] + [b"x" * 500 + b"\n", b"last\n"]
        for line in lines:
            log.write(line)
        self.files.close()
        self.assertEqual(gzip.decompress(self.path.read_bytes()), b"".join(lines))

    def test_gzip_level(self) -> None:
        """
        The level reaches zlib, which notes in the header whether it was fast or thorough (RFC 1952, 2.3.1).
        """
        for level, note in ((1, 4), (6, 0), (9, 2)):
            path = self.folder / f"{level}.gz"
            log = self.files.declare(str(path), buffer=100, gzip=level)
            self.files.open(self.clock)
            log.write(b"text\n")
            self.files.close()
            self.assertEqual(path.read_bytes()[8], note)


class ReopenTests(SinksTestCase):
    """
    What USR1 asks for.
    """

    def test_renamed(self) -> None:
        """
        After a renaming what was kept goes to the old file, and what comes to a new one.
        """
        log = self.files.declare(str(self.path), buffer=100)
        self.files.open(self.clock)
        log.write(b"old\n")
        moved = self.folder / "a.log.1"
        self.path.rename(moved)
        self.files.reopen()
        log.write(b"new\n")
        self.files.flush()
        self.assertEqual((moved.read_bytes(), self.path.read_bytes()), (b"old\n", b"new\n"))
        self.assertEqual(self.complaints, [])

    def test_no_descriptor_leaks(self) -> None:
        """
        However often a file is opened anew, it holds one descriptor, and none when it is closed.
        """
        self.files.declare(str(self.path))
        self.files.open(self.clock)
        for _ in range(5):
            self.files.reopen()
        self.assertEqual(descriptors(self.path), 1)
        self.files.close()
        self.assertEqual(descriptors(self.path), 0)

    def test_cannot_be_opened_anew(self) -> None:
        """
        Where the new file cannot be opened the old one is kept, and that is said in nginx's words.
        """
        inside = self.folder / "logs"
        inside.mkdir()
        log = self.files.declare(str(inside / "a.log"))
        self.files.open(self.clock)
        moved = self.folder / "moved"
        inside.rename(moved)
        self.files.reopen()
        log.write(b"still\n")
        self.assertEqual((moved / "a.log").read_bytes(), b"still\n")
        self.assertEqual(self.complaints, [f'open() "{inside}/a.log" failed (2: No such file or directory)'])

    def test_others(self) -> None:
        """
        Logs that are no files are reopened and closed with the rest.
        """
        done = []

        @implementer(ISessionLog)
        class Other:
            """
            Notes what is asked.
            """

            def write(self, line: bytes) -> None:
                done.append("write")

            def reopen(self) -> None:
                done.append("reopen")

            def close(self) -> None:
                done.append("close")

        self.files.adopt(Other())
        self.files.open(self.clock)
        self.files.reopen()
        self.files.close()
        self.assertEqual(done, ["reopen", "close"])


class TroubleTests(SinksTestCase):
    """
    Disks that are full, and worse.
    """

    def test_full_disk(self) -> None:
        """
        A full disk costs the lines and one complaint a minute, never an exception.
        """
        log = self.files.declare("/dev/full")
        self.files.open(self.clock)
        complaint = 'write() to "/dev/full" failed (28: No space left on device)'
        for _ in range(3):
            log.write(b"lost\n")
        self.assertEqual(self.complaints, [complaint])
        self.clock.advance(COMPLAINTS - 0.5)
        log.write(b"lost\n")
        self.assertEqual(self.complaints, [complaint])
        self.clock.advance(0.5)
        log.write(b"lost\n")
        self.assertEqual(self.complaints, [complaint, complaint])

    def test_complaint_into_the_same_log(self) -> None:
        """
        A complaint that is written to the very log that fails does not go in circles.
        """
        count = []

        def complain(message: str) -> None:
            count.append(message)
            log.write(message.encode())

        files = Files(complain)
        self.addCleanup(files.close)
        log = files.declare("/dev/full")
        files.open(self.clock)
        log.write(b"lost\n")
        self.assertEqual(len(count), 1)

    def test_part_of_a_line(self) -> None:
        """
        A write that took only a part is told.
        """
        reading, writing = os.pipe()
        self.addCleanup(os.close, reading)
        self.addCleanup(os.close, writing)
        os.set_blocking(writing, False)
        log = self.files.declare(str(self.path))
        self.files.open(self.clock)
        # The file becomes a pipe that nobody reads, so that a long line does not fit.
        assert log._descriptor is not None
        os.dup2(writing, log._descriptor)
        log.write(b"x" * (4 << 20))
        (complaint,) = self.complaints
        self.assertRegex(complaint, r'^write\(\) to ".*a.log" was incomplete: \d+ of 4194304$')

    def test_cannot_be_opened(self) -> None:
        """
        All files that cannot be opened are told together, each at its directive, and none stays open.
        """
        node = Node("access_log", (), (), None, "edge.conf", 7)
        self.files.declare(str(self.path))
        self.files.declare(f"{self.folder}/no/b.log", node)
        self.files.declare(str(self.folder))
        error = self.assertRaises(ConfigErrors, self.files.open, self.clock)
        self.assertEqual(
            [str(each) for each in error.errors],
            [
                f'open() "{self.folder}/no/b.log" failed (2: No such file or directory) in edge.conf:7',
                f'open() "{self.folder}" failed (21: Is a directory)',
            ],
        )
        self.assertEqual(descriptors(self.path), 0)

    def test_complaints_reach_twisted(self) -> None:
        """
        Where nobody else is told, Twisted's log is.
        """
        events: list[Any] = []
        self.patch(sinks._log, "observer", events.append)
        complain_to_twisted("write() {failed}")
        (event,) = events
        self.assertEqual((event["log_level"].name, event["message"]), ("critical", "write() {failed}"))


class FilesTests(SinksTestCase):
    """
    All logs of one configuration.
    """

    def test_one_path_one_file(self) -> None:
        """
        Who declares a path again gets the same file.
        """
        self.assertIs(self.files.declare("a", buffer=5), self.files.declare("a", buffer=5))
        self.assertIsNot(self.files.declare("a", buffer=5), self.files.declare("b", buffer=5))
        self.assertEqual(self.files.paths, ("a", "b"))

    def test_conflict(self) -> None:
        """
        One path with two sets of parameters is a mistake, in nginx's words.
        """
        self.files.declare("a", buffer=5)
        error = self.assertRaises(ConfigError, self.files.declare, "a", buffer=5, flush=1.0)
        self.assertEqual(str(error), 'access_log "a" already defined with conflicting parameters')

    def test_of_a_configuration(self) -> None:
        """
        All who ask for the logs of one configuration get the same, and of another configuration others.
        """
        build = Build([], file="a.conf")
        self.assertIs(files_of(build), files_of(build))
        self.assertIsNot(files_of(build), files_of(Build([], file="a.conf")))


class StderrTests(SynchronousTestCase):
    """
    Descriptor 2.
    """

    def test_interface(self) -> None:
        """
        Standard error is a session log.
        """
        self.assertTrue(verifyObject(ISessionLog, StderrLog()))

    def test_descriptor(self) -> None:
        """
        Lines go to the descriptor, whatever Python thinks of sys.stderr; and where it is closed they are lost.
        """
        reading, writing = os.pipe()
        self.addCleanup(os.close, reading)
        divert(self, 2, writing)
        log = StderrLog()
        log.write(b"heard\n")
        log.reopen()
        log.close()
        log.write(b"still\n")
        self.assertEqual(os.read(reading, 100), b"heard\nstill\n")
        os.close(writing)
        log.write(b"lost\n")

    def test_standard_streams(self) -> None:
        """
        Closed standard streams are filled, open ones are left alone.
        """
        state = {0: True, 1: False, 2: False}
        opened = []

        def fstat(number: int) -> None:
            if not state[number]:
                raise OSError(9, "Bad file descriptor")

        def open_(path: str, flags: int) -> int:
            opened.append((path, flags))
            return 0

        self.patch(os, "fstat", fstat)
        self.patch(os, "open", open_)
        hold_standard_streams()
        self.assertEqual(opened, [("/dev/null", os.O_RDWR)] * 2)
