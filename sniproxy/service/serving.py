"""
Which configurations are at work in this process? One that takes sessions, and those that were left and end with the
last of theirs.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from twisted.internet.interfaces import IDelayedCall

from sniproxy.addresses import Address
from sniproxy.common.runtime import Engine, Runtime
from sniproxy.config.build import Build
from sniproxy.logs.sinks import files_of
from sniproxy.service.core import SHUTDOWN_TIMEOUT

LOOK: Final = 0.1
"""Seconds from one look to the next, whether all is delivered."""


class Serving:
    """
    Owns the engine and its configurations, whose log files are open; is lent the listening sockets.

    @ivar runtime: takes sessions, or did so last.
    @ivar quitting: whether no more sessions are taken.
    """

    def __init__(self, reactor: Any, build: Build, ended: Callable[[Build], None], ours: bool = False) -> None:
        """
        @param ended: called with a configuration that was left when it has lost its last session.
        @param ours: whether the process is.
        """
        self._reactor = reactor
        self._engine = Engine(reactor, time.time, ours=ours)
        self._ended = ended
        self._draining: list[Runtime] = []
        self._limits: dict[Runtime, IDelayedCall] = {}
        self.runtime = Runtime(self._engine, build)
        self.quitting = False
        self._look: IDelayedCall | None = None

    @property
    def over(self) -> bool:
        """
        Whether all has come to its end after L{quit}.
        """
        return self.quitting and not self._draining

    def open(self, sockets: Mapping[Address, socket.socket]) -> None:
        """
        Begin to accept.
        """
        self.runtime.open(sockets)

    def replace(self, build: Build, sockets: Mapping[Address, socket.socket]) -> None:
        """
        Put a configuration in the place of the one that takes sessions, which goes on with those it has.
        """
        old = self.runtime
        new = Runtime(self._engine, build)
        try:
            new.open(sockets, old)
        except BaseException:
            new.stop()
            raise
        self._leave(old)
        self.runtime = new
        self._limit(old)
        old.stop()

    def quit(self) -> None:
        """
        Accept those who have connected already and no more, on no socket; they may be closed as soon as this returns.
        """
        self.runtime.take_last()
        self.quitting = True
        self._leave(self.runtime)
        for old in self._draining:
            self._limit(old)
        self.runtime.stop()

    def reopen(self) -> None:
        """
        Log files may have been renamed.
        """
        for each in self._all():
            files_of(each.build).reopen()

    def stop(self) -> None:
        """
        End at once: sessions still open are logged, files are flushed.
        """
        for each in self._all():
            each.drained = each.delivered = None
            self._unlimit(each)
            each.abort()
        if self._look is not None and self._look.active():
            self._look.cancel()
        self._draining.clear()
        self._engine.stop()

    def _all(self) -> list[Runtime]:
        return list(dict.fromkeys((*self._draining, self.runtime)))

    def _leave(self, runtime: Runtime) -> None:
        self._draining.append(runtime)
        runtime.drained = lambda: self._drained(runtime)
        runtime.delivered = lambda: self._delivered(runtime)
        runtime.pause()

    def _delivered(self, runtime: Runtime) -> bool:
        """
        @return: whether the process may end with this configuration: not as long as somebody lacks some of his bytes.
        """
        if self._draining != [runtime] or not (self.quitting and self._engine.network.lingering):
            return True
        if self._look is None or not self._look.active():
            self._look = self._reactor.callLater(LOOK, runtime.stop)
        return False

    def _drained(self, runtime: Runtime) -> None:
        self._draining.remove(runtime)
        self._unlimit(runtime)
        self._ended(runtime.build)

    def _limit(self, runtime: Runtime) -> None:
        """
        C{worker_shutdown_timeout}: how long sessions of a configuration that has been left may go on, and how long
        somebody may lack some of his bytes.
        """
        seconds = runtime.build.root[SHUTDOWN_TIMEOUT]
        if seconds and runtime not in self._limits:
            self._limits[runtime] = self._reactor.callLater(seconds, self._hurry, runtime)

    def _hurry(self, runtime: Runtime) -> None:
        runtime.delivered = None
        runtime.abort()

    def _unlimit(self, runtime: Runtime) -> None:
        call = self._limits.pop(runtime, None)
        if call is not None and call.active():
            call.cancel()
