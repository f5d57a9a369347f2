"""
Tests for L{sniproxy.service.channel}.
"""

from __future__ import annotations

import os
from typing import Any

from twisted.internet.interfaces import IReadDescriptor
from twisted.logger import ILogObserver, Logger, LogLevel
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sniproxy.service.channel import Ear, Lines, Mouth, Telling, line, tell_twisted
from tests.support.processes import Reactor, twisted_log


class LinesTests(SynchronousTestCase):
    """
    From bytes to messages.
    """

    def test_every_cut(self) -> None:
        """
        Wherever the pipe cuts them, messages are the same; half of one is none yet.
        """
        data = line("quit") + line("log", "warn", "a", "two\nlines, \udcff and é") + line("ready")[:-1]
        wanted = [("quit",), ("log", "warn", "a", "two\nlines, \udcff and é")]
        for at in range(len(data)):
            heard: list[Any] = []
            lines = Lines(lambda *words, heard=heard: heard.append(words))
            lines.feed(data[:at])
            lines.feed(data[at:])
            self.assertEqual(heard, wanted)

    def test_no_message(self) -> None:
        """
        What is no message is a fault of ours, and not hidden.
        """
        self.assertRaises(ValueError, Lines(lambda *words: None).feed, b"what?\n")


class PipeCase(SynchronousTestCase):
    """
    A pipe.
    """

    def setUp(self) -> None:
        self.reading, self.writing = os.pipe()
        self.addCleanup(self.close, self.reading)
        self.addCleanup(self.close, self.writing)

    def close(self, descriptor: int) -> None:
        """
        Close, unless somebody did so.
        """
        try:
            os.close(descriptor)
        except OSError:
            pass


class EarTests(PipeCase):
    """
    The worker hears.
    """

    def setUp(self) -> None:
        super().setUp()
        self.heard: list[Any] = []
        self.reactor = Reactor()
        self.ear = Ear(
            self.reactor, self.reading, lambda *words: self.heard.append(words), lambda: self.heard.append("gone")
        )

    def test_messages(self) -> None:
        """
        It is a reader, which hears what there is, and nothing where there is nothing.
        """
        self.assertTrue(verifyObject(IReadDescriptor, self.ear))
        self.assertEqual(self.reactor.watching, [self.ear])
        self.assertEqual((self.ear.fileno(), self.ear.logPrefix()), (self.reading, "sniproxy master"))
        self.ear.doRead()
        os.write(self.writing, line("quit") + line("reopen"))
        self.ear.doRead()
        self.assertEqual(self.heard, [("quit",), ("reopen",)])

    def test_the_end(self) -> None:
        """
        When the master is gone that is told once, and nothing is listened to any more; epoll may tell it without
        anything to read.
        """
        os.close(self.writing)
        self.ear.doRead()
        self.ear.connectionLost(None)
        self.assertEqual((self.heard, self.reactor.watching, self.ear.fileno()), (["gone"], [], -1))
        self.assertRaises(OSError, os.fstat, self.reading)

    def test_lost(self) -> None:
        """
        A pipe that breaks is one that has ended.
        """
        os.close(self.reading)
        self.patch(os, "close", lambda descriptor: None)
        self.ear.doRead()
        self.assertEqual(self.heard, ["gone"])


class MouthTests(PipeCase):
    """
    The worker speaks.
    """

    def setUp(self) -> None:
        super().setUp()
        self.found: list[Any] = []
        self.lines = Lines(lambda *words: self.found.append(words))
        os.set_blocking(self.reading, False)

    def heard(self) -> list[Any]:
        """
        What has come out at the other end since this was asked.
        """
        self.found.clear()
        while True:
            try:
                self.lines.feed(os.read(self.reading, 65536))
            except BlockingIOError:
                return list(self.found)

    def test_says(self) -> None:
        """
        What is said is heard.
        """
        mouth = Mouth(self.writing)
        mouth.say("ready")
        mouth.say("log", "a")
        self.assertEqual(self.heard(), [("ready",), ("log", "a")])

    def test_never_waits(self) -> None:
        """
        What does not fit is lost, but a line that was begun is ended before another begins.
        """
        mouth = Mouth(self.writing)
        for number in range(40):
            mouth.say(str(number), "x" * 9000)
        first = self.heard()
        self.assertLess(len(first), 40)
        mouth.say("after")
        mouth.say("all")
        rest = self.heard()
        self.assertEqual([words[0] for words in first], [str(number) for number in range(len(first))])
        self.assertEqual(rest[-2:], [("after",), ("all",)])

    def test_halves(self) -> None:
        """
        The rest of a line waits as long as it must.
        """
        taken: list[bytes] = []
        room = [3, 0, 0, 2, 1000, 1000]

        def write(descriptor: int, data: bytes) -> int:
            size = room.pop(0)
            if not size:
                raise BlockingIOError
            taken.append(data[:size])
            return min(size, len(data))

        self.patch(os, "write", write)
        mouth = Mouth(self.writing)
        for word in ("one", "lost", "lost too", "lost again", "five"):
            mouth.say(word)
        self.assertEqual(b"".join(taken), line("one") + line("five"))

    def test_nobody(self) -> None:
        """
        Nobody may be there.
        """
        os.close(self.reading)
        Mouth(self.writing).say("ready")


class TwistedLogTests(PipeCase):
    """
    From the log of a worker to that of the master.
    """

    def test_events(self) -> None:
        """
        An event becomes one of the master: same level, same name, same words, tracebacks included, and whose it was;
        what has no words is nothing.
        """
        said: list[Any] = []
        mouth: Any = type("Heard", (), {"say": lambda self, *words: said.append(words)})()
        telling = Telling(mouth)
        self.assertTrue(verifyObject(ILogObserver, telling))
        logger = Logger("some.place", observer=telling)
        logger.warn("{what} happened", what="something")
        try:
            raise ZeroDivisionError("a fault")
        except ZeroDivisionError:
            logger.failure("oh")
        telling({"log_format": "no name", "log_level": LogLevel.info})
        telling({})
        self.assertEqual(said[0], ("log", "warn", "some.place", f"[{os.getpid()}] something happened"))
        self.assertIn("ZeroDivisionError: a fault", said[1][3])
        self.assertEqual(said[2], ("log", "info", "sniproxy", f"[{os.getpid()}] no name"))
        self.assertEqual(len(said), 3)
        told = twisted_log(self)
        tell_twisted(*said[0][1:])
        self.assertEqual((told[0]["log_level"], told[0]["log_namespace"]), (LogLevel.warn, "some.place"))
        self.assertEqual(told[0]["text"], f"[{os.getpid()}] something happened")
