"""
The life of a worker: it is one process that serves connections, born with its listening sockets, and does what its
master tells it.

Strategy: it reads its configuration as any other process would, but from the answers that its master got, so both have
the same. Only when all is open that takes privileges does it give them up, and only then it accepts.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any, Final

from twisted.application.service import Service
from twisted.logger import Logger, globalLogBeginner

from sniproxy.addresses import Address
from sniproxy.config.build import Build
from sniproxy.errors import ConfigErrors
from sniproxy.levels import ALERT, NOTICE
from sniproxy.logs.sinks import files_of
from sniproxy.service.channel import QUIT, READY, REOPEN, STOP, Ear, Mouth, Telling
from sniproxy.service.limits import settle
from sniproxy.service.load import load
from sniproxy.service.memory import settle_collector
from sniproxy.service.plan import HEAR, PLAN, SAY, SOCKETS, Plan, loads
from sniproxy.service.serving import Serving
from sniproxy.service.signals import take_signals
from sniproxy.service.snapshot import contents, replay
from sniproxy.service.tables import take_tables

_log: Final = Logger("sniproxy")


PATIENCE: Final = 5.0
"""Seconds that a worker waits, where others accept meanwhile, for the first answers to what it has to ask for."""


class WorkerService(Service):
    """
    One configuration at work in a process of its own. Owns its copies of the listening sockets; their names, if they
    have any, belong to the master.
    """

    def __init__(
        self,
        reactor: Any,
        build: Build,
        sockets: Mapping[Address, socket.socket],
        worker: int,
        say: Callable[..., None],
        patient: bool = False,
    ) -> None:
        """
        @param worker: which one it is, from 0.
        @param say: tells the master.
        @param patient: whether others accept meanwhile.
        """
        self._patient = patient
        self._late: Any = None
        self._opened = False
        self._reactor = reactor
        self._build = build
        self._sockets = dict(sockets)
        self._worker = worker
        self._say = say
        self._serving: Serving | None = None

    def startService(self) -> None:
        """
        Begin to accept.

        @raise ConfigErrors: a log cannot be opened.
        @raise OSError: the process cannot become whom it is to be.
        """
        super().startService()  # type: ignore[no-untyped-call]
        files_of(self._build).open(self._reactor)
        self._serving = serving = Serving(self._reactor, self._build, self._ended, ours=True)
        settle(self._build.root, serving.runtime.error_log, self._worker)
        take_signals(
            self._reactor,
            {
                signal.SIGHUP: lambda: self._log("signal 1 (SIGHUP) received, ignoring"),
                signal.SIGQUIT: lambda: self._asked("signal 3 (SIGQUIT) received, shutting down", self.quit),
                signal.SIGUSR1: lambda: self._asked("signal 10 (SIGUSR1) received, reopening logs", self.reopen),
                signal.SIGTERM: lambda: self._asked("signal 15 (SIGTERM) received, exiting", self.stop),
            },
        )
        settle_collector()
        if self._patient:
            self._late = self._reactor.callLater(PATIENCE, self._open)
            serving.runtime.when_heard(self._open)
        else:
            self._open()

    def _open(self) -> None:
        """
        Accept, and tell the master so.
        """
        self._wait_no_more()
        serving = self._serving
        if serving is not None and not serving.quitting and not self._opened:
            self._opened = True
            serving.open(self._sockets)
            self._reactor.callWhenRunning(self._say, READY)

    def _wait_no_more(self) -> None:
        late, self._late = self._late, None
        if late is not None and late.active():
            late.cancel()

    def stopService(self) -> None:
        """
        End at once: sessions still open are logged, files are flushed.
        """
        super().stopService()  # type: ignore[no-untyped-call]
        serving, self._serving = self._serving, None
        self._wait_no_more()
        if serving is not None:
            if not serving.over:
                serving.runtime.error_log.write(NOTICE, "exiting")
                serving.runtime.error_log.write(NOTICE, "exit")
            serving.stop()
        self._close_sockets()
        files_of(self._build).close()

    def _close_sockets(self) -> None:
        for sock in self._sockets.values():
            sock.close()
        self._sockets.clear()

    def _log(self, message: str, level: int = NOTICE) -> None:
        if self._serving is not None:
            self._serving.runtime.error_log.write(level, message)

    def _asked(self, message: str, act: Callable[[], None]) -> None:
        self._log(message)
        act()

    # What it is told

    def heard(self, word: str) -> None:
        """
        The master has spoken.
        """
        {QUIT: self.quit, STOP: self.stop, REOPEN: self.reopen}[word]()

    def orphaned(self) -> None:
        """
        The master is gone: nobody would start another worker, nor tell this one when to end; and whoever starts the
        program anew needs the addresses.
        """
        self._log("the master process is gone", ALERT)
        self.quit()

    def quit(self) -> None:
        """
        Accept no more, and end with the last session.
        """
        serving = self._serving
        if serving is not None and not serving.quitting:
            self._log("gracefully shutting down")
            serving.quit()
            self._close_sockets()

    def _ended(self, build: Build) -> None:
        self._log("exiting")
        self._log("exit")
        self.stop()

    def stop(self) -> None:
        """
        End at once.
        """
        if self.running:
            self.running = False
            self._reactor.stop()

    def reopen(self) -> None:
        """
        Log files may have been renamed.
        """
        if self._serving is not None:
            self._log("reopening logs")
            self._serving.reopen()


def take_sockets(plan: Plan, first: int = SOCKETS) -> dict[Address, socket.socket]:
    """
    The listening sockets that this process was born with.
    """
    sockets: dict[Address, socket.socket] = {}
    for descriptor, address in enumerate(plan.addresses, first):
        os.set_inheritable(descriptor, False)
        sockets[address] = socket.socket(fileno=descriptor)
    return sockets


def descriptors_of_tables(plan: Plan, first: int = SOCKETS) -> list[int]:
    """
    Those of the tables that this process was born with.
    """
    begin = first + len(plan.addresses)
    descriptors = list(range(begin, begin + plan.tables))
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)
    return descriptors


def make(
    reactor: Any,
    plan: Plan,
    worker: int,
    sockets: Mapping[Address, socket.socket],
    mouth: Mouth,
    tables: Sequence[int] = (),
    seat: int = 0,
) -> WorkerService:
    """
    The service of a worker, at work.

    @param tables: descriptors of the tables to count in.
    @param seat: which column there is ours.
    @raise ConfigErrors: the configuration that the master has taken cannot be had here.
    @raise OSError: see L{WorkerService.startService}.
    """
    build = load(plan.file, plan.prefix, plan.globals_text, replay(plan.snapshot))
    build.forget_lines()
    take_tables(build, tables, seat)
    service = WorkerService(reactor, build, sockets, worker, mouth.say, plan.patient)
    Ear(reactor, HEAR, service.heard, service.orphaned)
    service.startService()
    return service


def main() -> None:
    """
    What the process runs: the numbers of the worker and of its seat are its last arguments.
    """
    # A terminal says it to all of us. Who obeyed before the master did would be replaced; he tells what to do.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    worker, seat = map(int, sys.argv[-2:])
    for descriptor in (HEAR, SAY, PLAN):
        os.set_inheritable(descriptor, False)
    mouth = Mouth(SAY)
    globalLogBeginner.beginLoggingTo([Telling(mouth)], redirectStandardIO=False)
    plan = loads(contents(PLAN))
    os.close(PLAN)
    if plan.reactor:
        import_module(plan.reactor).install()
    from twisted.internet import reactor

    run(reactor, plan, worker, mouth, seat)


def run(reactor: Any, plan: Plan, worker: int, mouth: Mouth, seat: int) -> None:
    """
    Serve, to the end.

    @raise SystemExit: it cannot begin; why is in the log.
    """
    try:
        service = make(reactor, plan, worker, take_sockets(plan), mouth, descriptors_of_tables(plan), seat)
    except ConfigErrors as errors:
        for error in errors.errors:
            _log.critical("{error}", error=f"[emerg] {error}")
        raise SystemExit(1) from None
    except Exception:
        _log.failure("a worker cannot begin")
        raise SystemExit(1) from None
    reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
    reactor.run()
