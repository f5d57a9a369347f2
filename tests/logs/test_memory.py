"""
What is in the memory that the error log may be.
"""

from __future__ import annotations

import os
import sys

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sniproxy.config.grammar import Node
from sniproxy.errors import ConfigError
from sniproxy.interfaces import ISessionLog
from sniproxy.logs.memory import Memory, MemoryLog, parse

NODE = Node("error_log", ("memory:32k",), (False, False), None, "/etc/edge.conf", 7)
LEAST = 2048 + 40 + len("MEMLOG  :\n") + 1 + len("/etc/edge.conf")


def descriptors() -> dict[int, str]:
    """
    What this process has open that is in memory.
    """
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            to = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            continue
        if to.startswith("/memfd:error_log"):
            found[int(name)] = to
    return found


class ParseTests(SynchronousTestCase):
    """
    The parameter as it is written.
    """

    def test_sizes(self) -> None:
        """
        There must be room for a line.
        """
        self.assertEqual(parse("memory:32k", NODE), Memory(32768, "/etc/edge.conf:7"))
        self.assertEqual(parse(f"memory:{LEAST}", NODE).size, LEAST)
        for word in ("", "x", "-1", "4g", str(LEAST - 1)):
            error = self.assertRaises(ConfigError, parse, f"memory:{word}", NODE)
            self.assertEqual(error.message, f'invalid buffer size "{word}"')


class MemoryLogTests(SynchronousTestCase):
    """
    The buffer.
    """

    def setUp(self) -> None:
        if sys.platform != "linux":
            self.skipTest("there is no memfd here")
        self.before = descriptors()

    def log(self, size: int) -> MemoryLog:
        """
        One whose header has 17 bytes, where the size has two digits.
        """
        made = MemoryLog(Memory(size, "file:7"))
        self.addCleanup(made.close)
        return made

    def held(self) -> bytes:
        """
        What anybody who may look into the process sees.
        """
        (number,) = descriptors().keys() - self.before.keys()
        with open(f"/proc/self/fd/{number}", "rb") as file:
            return file.read()

    def test_shape(self) -> None:
        """
        A header says how large it is and which line it comes from, then there are lines; the interface is that of logs.
        """
        log = self.log(4096)
        log.write(b"one\n")
        log.write(b"two\n")
        self.assertEqual(self.held().rstrip(b"\0"), b"MEMLOG 4096 file:7\none\ntwo\n")
        self.assertEqual(len(self.held()), 4096)
        self.assertTrue(verifyObject(ISessionLog, log))

    def test_circle(self) -> None:
        """
        At the end lines go on at the begin, over the oldest; the header stays.
        """
        header = b"MEMLOG 30 file:7\n"
        for lines, expected in (
            ((b"0123456789AB",), b"0123456789AB\0"),
            ((b"0123456789ABC",), b"0123456789ABC"),
            ((b"0123456789AB", b"xyz"), b"yz23456789ABx"),
            ((b"0123456789ABC", b"xyz"), b"xyz3456789ABC"),
            ((b"0123456789", b"xyz", b"!"), b"!123456789xyz"),
        ):
            log = self.log(30)
            for line in lines:
                log.write(line)
            self.assertEqual(self.held(), header + expected)
            log.close()

    def test_first_line(self) -> None:
        """
        Nothing is held before the first line and after the end, which may come twice.
        """
        log = self.log(4096)
        self.assertEqual(descriptors(), self.before)
        log.write(b"x\n")
        log.reopen()
        self.assertIn("x", self.held().decode())
        log.close()
        log.close()
        log.write(b"y\n")
        self.assertEqual(descriptors(), self.before)

    def test_no_memory(self) -> None:
        """
        Where there is no memory lines are lost, and it is not tried again.
        """
        log = self.log(2**62)
        log.write(b"x\n")
        log.write(b"y\n")
        log.close()
        self.assertEqual(descriptors(), self.before)

    def test_elsewhere(self) -> None:
        """
        Where there are no such files the memory is there all the same, for a debugger.
        """
        self.patch(sys, "platform", "freebsd14")
        log = self.log(4096)
        log.write(b"x\n")
        self.assertEqual(descriptors(), self.before)
        log.close()
