"""
How is something long done while sessions go on? In turns: for a millisecond it works, then whatever else there is.

Strategy: what is done has a thread, but only for a stack of its own to stop on, anywhere. At any time either it works
or the reactor does, never both; so nothing that it touches needs a lock, and module authors need not know of it. Only
while it asks the world something (a disk, a name server) it has no turn, and the reactor does not wait for it.

A thread that works beside the reactor instead would take the interpreter's lock from it at every system call of every
session.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from threading import Lock, Thread
from typing import Any, Final, TypeVar

from twisted.internet.interfaces import IDelayedCall

T = TypeVar("T")
A = TypeVar("A")

TURN: Final = 0.001
"""Seconds of one turn, until it is asked to rest."""

PATIENCE: Final = 0.001
"""Seconds that the reactor waits for an answer of the world: most come at once."""


class Stopped(BaseException):
    """
    Raised inside of what is done when nobody wants it any more.
    """


class Turns:
    """
    One long job. Owns its thread, which ends with the job, or when it is stopped and takes notice.
    """

    def __init__(
        self,
        reactor: Any,
        job: Callable[[Turns], T],
        done: Callable[[T], None],
        failed: Callable[[BaseException], None],
    ) -> None:
        """
        @param reactor: provides IReactorTime and IReactorFromThreads.
        @param job: calls L{rest} often, and asks the world by L{asking}.
        @param done: called by the reactor with what the job gave back.
        @param failed: called by the reactor with what it raised.
        """
        self._reactor = reactor
        self._job: Callable[[Turns], Any] = job
        self._done: Callable[[Any], None] = done
        self._failed = failed
        self._until = 0.0
        self._go, self._back = Lock(), Lock()
        self._go.acquire()
        self._back.acquire()
        self._mutex = Lock()
        self._asks = self._alone = self._over = self._stopped = False
        self._outcome: Callable[[], None] | None = None
        self._next: IDelayedCall | None = None
        # a process that ends does not wait for it
        self._thread = Thread(target=self._run, name="sniproxy turns", daemon=True)

    # In the reactor's thread

    def start(self) -> None:
        """
        The first turn is now; it may be the last.
        """
        try:
            self._thread.start()
        except RuntimeError as error:  # the system has no more of them
            self._over = True
            self._failed(error)
        else:
            self._turn()

    def stop(self) -> None:
        """
        Nobody wants it any more; nothing is called.
        """
        if self._over or self._stopped:
            return
        self._stopped = True
        if self._next is not None:
            self._next.cancel()
            self._next = None
        with self._mutex:
            if self._asks:
                return  # it will see when it is answered
        self._go.release()

    def _turn(self) -> None:
        self._next = None
        if self._stopped:
            return
        self._until = self._reactor.seconds() + TURN
        self._alone = False
        self._go.release()
        while not self._back.acquire(timeout=PATIENCE):
            with self._mutex:
                if self._asks:
                    self._alone = True
                    return
        if self._over:
            self._thread.join()
            outcome, self._outcome = self._outcome, None  # what was made may keep our questions
            assert outcome is not None
            outcome()
        else:
            self._next = self._reactor.callLater(0, self._turn)

    # In the thread

    def _run(self) -> None:
        self._go.acquire()
        try:
            self._outcome = partial(self._done, self._job(self))
        except Stopped:
            return
        except BaseException as error:  # whatever it is, the reactor waits
            self._outcome = partial(self._failed, error)
        del self._job  # and with it all that it held
        self._over = True
        self._back.release()

    def rest(self) -> None:
        """
        Let others have their turn, if this one has been long enough. Does nothing when the job is done.

        @raise Stopped: nobody wants it any more.
        """
        if not self._over and self._reactor.seconds() >= self._until:
            self._back.release()
            self._wait()

    def asking(self, ask: Callable[[A], T]) -> Callable[[A], T]:
        """
        @return: the same question, for which the reactor does not wait longer than a moment.
        """

        def asked(question: A) -> T:
            if self._over:
                return ask(question)
            with self._mutex:
                self._asks = True
            try:
                return ask(question)
            finally:
                with self._mutex:
                    self._asks = False
                    alone = self._alone
                if self._stopped:
                    raise Stopped
                if alone:
                    self._reactor.callFromThread(self._turn)
                    self._wait()

        return asked

    def _wait(self) -> None:
        self._go.acquire()
        if self._stopped:
            raise Stopped
