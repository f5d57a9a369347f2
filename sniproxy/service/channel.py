"""
How do a master and a worker talk? By two pipes, a line of JSON for each message: a list, whose first word says what it
is about.

Strategy: both ends of a pipe are our own, so a line that is none is a fault, and is not hidden. The end of the file is
a message too: whoever was at the other end is gone, however it went. A worker never waits for its master: what does not
fit into the pipe is lost, but never the half of a line.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any, Final

from twisted.internet.interfaces import IReadDescriptor
from twisted.logger import ILogObserver, Logger, LogLevel, eventAsText
from zope.interface import implementer

QUIT: Final = "quit"
"""To a worker: accept no more, and end with the last session."""

STOP: Final = "stop"
"""To a worker: end at once."""

REOPEN: Final = "reopen"
"""To a worker: log files may have been renamed."""

READY: Final = "ready"
"""From a worker: it accepts."""

LOG: Final = "log"
"""From a worker, with a level, a namespace and a text: for Twisted's log, which only the master writes."""

BLOCK: Final = 65536

Heard = Callable[..., None]
"""Called with the words of a message."""


class Lines:
    """
    From bytes, in whatever pieces they come, to messages.
    """

    def __init__(self, heard: Heard) -> None:
        self._heard = heard
        self._rest = b""

    def feed(self, data: bytes) -> None:
        """
        More has come.
        """
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._heard(*json.loads(line))


def line(*words: str) -> bytes:
    """
    A message as it is written.
    """
    return json.dumps(words).encode("ascii") + b"\n"


@implementer(IReadDescriptor)
class Ear:
    """
    The worker's end that listens, a reader of its reactor. Owns the descriptor.
    """

    log = Logger()

    def __init__(self, reactor: Any, descriptor: int, heard: Heard, gone: Callable[[], None]) -> None:
        """
        @param gone: the master is no more.
        """
        self._reactor = reactor
        self._descriptor = descriptor
        self._lines = Lines(heard)
        self._gone = gone
        os.set_blocking(descriptor, False)
        reactor.addReader(self)

    def fileno(self) -> int:
        """
        What the reactor watches; -1 when it is closed.
        """
        return self._descriptor

    def logPrefix(self) -> str:
        """
        What Twisted calls this reader in its log.
        """
        return "sniproxy master"

    def doRead(self) -> None:
        """
        Something has come, or nothing will any more.
        """
        try:
            data = os.read(self._descriptor, BLOCK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self._lines.feed(data)
        else:
            self.connectionLost(None)

    def connectionLost(self, reason: object) -> None:
        """
        The other end is closed, which epoll says without anything to read; or the reactor has stopped.
        """
        if self._descriptor >= 0:
            self._reactor.removeReader(self)
            os.close(self._descriptor)
            self._descriptor = -1
            self._gone()


class Mouth:
    """
    The worker's end that speaks. Never waits, never raises; keeps what is left of one line. Is lent the descriptor.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._rest = b""
        os.set_blocking(descriptor, False)

    def say(self, *words: str) -> None:
        """
        Tell the master, unless it has not heard what was said before.
        """
        if self._rest:
            self._write(self._rest)
        if not self._rest:
            self._write(line(*words))

    def _write(self, data: bytes) -> None:
        try:
            written = os.write(self._descriptor, data)
        except BlockingIOError:
            # nothing of it has gone: a line that was begun is to be ended, another is lost
            self._rest = data if data is self._rest else b""
        except OSError:
            self._rest = b""  # nobody is there
        else:
            self._rest = data[written:]


@implementer(ILogObserver)
class Telling:
    """
    An observer that gives Twisted's log of this process to the master.
    """

    def __init__(self, mouth: Mouth) -> None:
        self._mouth = mouth

    def __call__(self, event: Any) -> None:
        """
        @see: L{ILogObserver}
        """
        text = eventAsText(event, includeTimestamp=False, includeSystem=False)
        if text:
            level = event.get("log_level", LogLevel.info)
            self._mouth.say(LOG, level.name, event.get("log_namespace") or "sniproxy", f"[{os.getpid()}] {text}")


def tell_twisted(level: str, namespace: str, text: str) -> None:
    """
    What the master does with C{LOG}.
    """
    Logger(namespace).emit(LogLevel.levelWithName(level), "{text}", text=text)
