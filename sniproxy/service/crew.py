"""
The workers of one configuration: how many, which of them live, and when one that died is started again.

Strategy: a place for each worker. One that dies unasked has its place filled at once; if that happens again before
the next one has lived for a while, later and later, so that what cannot live does not keep the machine busy.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Final

from twisted.internet.error import ProcessExitedAlready
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from sniproxy.levels import ALERT, NOTICE
from sniproxy.service.channel import LOG, QUIT, READY, STOP, Lines, line, tell_twisted
from sniproxy.service.plan import HEAR

SETTLED: Final = 10.0
"""Seconds after which a worker that dies was no failure of its start."""

LEAST: Final = 0.5
"""Seconds before the second attempt to fill a place; doubled for each further one."""

MOST: Final = 30.0

PATIENCE: Final = 30.0
"""Seconds that workers may take to begin before they count as such that cannot."""


class Worker(ProcessProtocol):
    """
    One process, as its master sees it.

    @ivar place: from 0.
    @ivar born: when it was started, in seconds.
    @ivar pid: its process number.
    @ivar seat: its column in tables.
    """

    transport: Any
    pid = 0
    seat = 0

    def __init__(self, crew: Crew, place: int, born: float) -> None:
        self.place = place
        self.born = born
        self._crew = crew
        self._lines = Lines(self._heard)

    def connectionMade(self) -> None:
        """
        It has been started.
        """
        self.pid = self.transport.pid

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        """
        It has spoken.
        """
        self._lines.feed(data)

    def _heard(self, word: str, *more: str) -> None:
        if word == READY:
            self._crew._is_ready(self)
        elif word == LOG:
            tell_twisted(*more)

    def tell(self, word: str) -> None:
        """
        Say something to it; it may be deaf by now.
        """
        try:
            self.transport.writeToChild(HEAR, line(word))
        except KeyError:
            pass  # its end of the pipe is closed already

    def kill(self) -> None:
        """
        End it whether it hears or not.
        """
        try:
            self.transport.signalProcess("KILL")
        except ProcessExitedAlready:
            pass

    def processEnded(self, reason: Failure) -> None:
        """
        It has ended, and all that it said has been heard.
        """
        self._crew._has_ended(self, reason.value)


Spawn = Callable[[Worker], Any]
"""Starts a worker, with what hears of it. Raises OSError."""


class Crew:
    """
    Owns its workers until C{gone} is called.

    @ivar leaving: whether no place is filled again.
    @ivar begun: whether it is known how its workers begin: all accept, or one has died or takes too long.
    """

    def __init__(
        self,
        clock: IReactorTime,
        number: int,
        spawn: Spawn,
        write: Callable[[int, str], None],
        known: Callable[[Crew], None],
        gone: Callable[[Crew], None],
        ended: Callable[[Worker], None],
    ) -> None:
        """
        @param write: a line of the error log, with its level.
        @param known: called once when C{begun}, and once more if not all accept by then but later do.
        @param gone: called once, when the last worker has ended after L{quit} or L{stop}.
        @param ended: called with each worker that has ended, before another takes its place.
        """
        self._clock = clock
        self._number = number
        self._spawn = spawn
        self._write = write
        self._known = known
        self._gone = gone
        self._ended = ended
        self._workers: dict[int, Worker] = {}
        self._missing = set(range(number))
        self._failures = [0] * number
        self._calls: dict[int, IDelayedCall] = {}
        self.leaving = False
        self.begun = False
        self._late: IDelayedCall | None = None

    def start(self) -> None:
        """
        Fill all places.
        """
        self._late = self._clock.callLater(PATIENCE, self._takes_too_long)
        for place in range(self._number):
            self._fill(place)

    def _takes_too_long(self) -> None:
        self._late = None
        self._has_begun()

    def _has_begun(self) -> None:
        self._in_time()
        self.begun = True
        self._known(self)

    def _in_time(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _fill(self, place: int) -> None:
        self._calls.pop(place, None)
        worker = Worker(self, place, self._clock.seconds())
        try:
            self._spawn(worker)
        except OSError as error:
            self._write(ALERT, f"fork() failed while spawning a worker process ({error.errno}: {error.strerror})")
            self._fill_later(place)
            self._has_failed()
            return
        self._workers[place] = worker
        self._write(NOTICE, f"start worker process {worker.pid}")

    def _fill_later(self, place: int) -> None:
        self._failures[place] += 1
        pause = min(MOST, LEAST * 2 ** min(self._failures[place] - 2, 16))
        self._calls[place] = self._clock.callLater(pause, self._fill, place)

    @property
    def accepts(self) -> bool:
        """
        Whether every place has had a worker that accepts.
        """
        return not self._missing

    def _is_ready(self, worker: Worker) -> None:
        if worker.place in self._missing:
            self._missing.discard(worker.place)
            if not self._missing and not self.leaving:
                self._has_begun()

    def _has_ended(self, worker: Worker, how: Any) -> None:
        place = worker.place
        del self._workers[place]
        self._ended(worker)
        self._write(*_how(worker.pid, how))
        if self.leaving:
            self._perhaps_gone()
            return
        if self._clock.seconds() - worker.born >= SETTLED:
            self._failures[place] = 0
        if self._failures[place]:
            self._fill_later(place)
        else:
            self._failures[place] = 1
            self._fill(place)
        self._has_failed()

    def _has_failed(self) -> None:
        if not self.begun:
            self._has_begun()

    def tell(self, word: str) -> None:
        """
        Say something to all.
        """
        for worker in list(self._workers.values()):
            worker.tell(word)

    def quit(self) -> None:
        """
        All accept no more and end with their last sessions.
        """
        if not self.leaving:
            self._leave(QUIT)

    def stop(self) -> None:
        """
        All end at once.
        """
        self._leave(STOP)

    def kill(self) -> None:
        """
        End those that did not obey.
        """
        for worker in list(self._workers.values()):
            worker.kill()

    def _leave(self, word: str) -> None:
        first, self.leaving = not self.leaving, True
        for call in self._calls.values():
            call.cancel()
        self._calls.clear()
        self._in_time()
        self.tell(word)
        if first:
            self._perhaps_gone()

    def _perhaps_gone(self) -> None:
        if not self._workers:
            self._gone(self)


def _how(pid: int, how: Any) -> tuple[int, str]:
    """
    How a process has ended, in nginx's words.
    """
    if how.signal is not None:
        core = " (core dumped)" if os.WCOREDUMP(how.status) else ""
        return ALERT, f"worker process {pid} exited on signal {how.signal}{core}"
    return ALERT if how.exitCode else NOTICE, f"worker process {pid} exited with code {how.exitCode}"
