"""
The life of a master: it holds the listening sockets, has workers serve them, and carries signals. It serves nobody
itself, so nothing that a client sends can end it; and whichever worker dies, the sockets stay.

Strategy: a reload is what a start is: the configuration is built whole, sockets are opened, a crew is started. The crew
before goes on accepting until every worker of the new one does, then it is told to end with its sessions. So nobody is
turned away in between, and if new workers cannot live the old ones still do.
"""

from __future__ import annotations

import gc
import os
import signal
from typing import Any, Final

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall

from sniproxy.common.core_variables import NGINX_VERSION
from sniproxy.config.build import Build
from sniproxy.errors import ConfigErrors
from sniproxy.levels import EMERG, NOTICE, WARN
from sniproxy.logs.error_log import error_log_of
from sniproxy.logs.sinks import files_of
from sniproxy.service.channel import REOPEN
from sniproxy.service.core import PID, USER, WORKERS, has_master
from sniproxy.service.crew import Crew, Worker
from sniproxy.service.load import load, world
from sniproxy.service.main import ProxyService
from sniproxy.service.memory import hold_collector, settle_collector
from sniproxy.service.pidfile import check_pid, move_pid, remove_pid, write_pid
from sniproxy.service.plan import HEAR, PLAN, SAY, SOCKETS, Plan, command, python_path, reactor_module
from sniproxy.service.signals import take_signals
from sniproxy.service.snapshot import Recorder, nameless
from sniproxy.service.sockets import Queues, close_queues, open_queues, queues_of
from sniproxy.service.tables import Stock, Tables

PATIENCE: Final = 5.0
"""Seconds after which workers that were told to end at once are killed."""


class Read:
    """
    A configuration as it was read.

    @ivar build: the configuration.
    @ivar snapshot: what it was made from.
    """

    def __init__(self, file: str, prefix: str | None, globals_text: str) -> None:
        """
        @raise ConfigErrors: all that is wrong with it.
        """
        recorder = Recorder(world())
        self.build = load(file, prefix, globals_text, recorder.world)
        self.build.forget_lines()
        self.snapshot = recorder.snapshot()


class MasterService(Service):
    """
    A configuration at work in workers. Owns the listening sockets with their names, the pid file, and the workers.
    """

    def __init__(
        self,
        file: str,
        prefix: str | None = None,
        globals_text: str = "",
        reactor: Any = None,
        read: Read | None = None,
    ) -> None:
        """
        Read the configuration and open its files and sockets, so that what is wrong is known before anything runs.

        @param read: what is in the file, where that has been read already.
        @raise ConfigErrors: all that is wrong.
        """
        if reactor is None:
            from twisted.internet import reactor
        self._reactor: Any = reactor
        self._file = os.path.abspath(file)
        self._prefix = os.path.abspath(prefix) if prefix is not None else None
        self._globals = globals_text
        self._path = python_path()
        self._crews: list[Crew] = []
        self._left: Queues = {}
        self._tables = Tables()
        self._quitting = False
        self._stopping: Deferred[None] | None = None
        self._killing: IDelayedCall | None = None
        self._begun = False
        self._again = False
        self._read = read = self._read_file() if read is None else read
        check_pid(read.build)
        self._queues: Queues = open_queues(read.build, {}, read.build.root[WORKERS])
        self._stock: Stock = ()
        try:
            self._stock = self._tables.open(read.build)
            files_of(read.build).open(self._reactor)
        except ConfigErrors:
            self._close_queues()
            raise

    def _read_file(self) -> Read:
        return Read(self._file, self._prefix, self._globals)

    # Starting and stopping, called by Twisted

    def startService(self) -> None:
        """
        Have workers begin, when the reactor runs.
        """
        super().startService()  # type: ignore[no-untyped-call]
        self._warn(self._read.build)
        self._write(NOTICE, f"nginx/{NGINX_VERSION} (sniproxy)")
        take_signals(
            self._reactor,
            {
                signal.SIGHUP: self.reload,
                signal.SIGQUIT: self.quit,
                signal.SIGUSR1: self.reopen,
                signal.SIGTERM: lambda: self._end("signal 15 (SIGTERM) received, exiting"),
                signal.SIGINT: lambda: self._end("signal 2 (SIGINT) received, exiting"),
            },
        )
        settle_collector()
        self._reactor.callWhenRunning(self._begin)

    def _begin(self) -> None:
        if self.running:
            self._begun = True
            self._muster()
            write_pid(self._read.build)

    def stopService(self) -> Deferred[None]:
        """
        End all workers at once.

        @return: fires when the last of them has ended.
        """
        super().stopService()  # type: ignore[no-untyped-call]
        if self._stopping is None:
            self._stopping = Deferred()
            if self._crews:
                self._killing = self._reactor.callLater(PATIENCE, self._kill)
                for crew in list(self._crews):
                    crew.stop()
            else:
                self._clear()
        return self._stopping

    def _kill(self) -> None:
        self._killing = None
        for crew in self._crews:
            crew.kill()

    def _clear(self) -> None:
        """
        The last worker has ended.
        """
        if self._killing is not None:
            self._killing.cancel()
            self._killing = None
        self._close_queues()
        if self._begun:
            self._write(NOTICE, "exit")
            remove_pid(self._read.build)
        files_of(self._read.build).close()
        if self._stopping is not None:
            self._stopping.callback(None)

    def _close_queues(self) -> None:
        """
        Nobody is to come any more; and nobody is to be started who would count.
        """
        self._tables.close(self._stock)
        self._stock = ()
        close_queues(self._queues, {})
        close_queues(self._left, {})
        self._queues, self._left = {}, {}

    def _write(self, level: int, message: str) -> None:
        build = self._read.build
        error_log_of(build, build.root).write(level, message)

    def _warn(self, build: Build) -> None:
        for warning in build.warnings:
            self._write(WARN, str(warning))

    # Workers

    def _muster(self) -> None:
        """
        Have a crew work under the configuration.
        """
        read, queues, stock, workers = self._read, self._queues, self._stock, self._read.build.root[WORKERS]
        plan = Plan(
            self._file,
            self._prefix,
            self._globals,
            read.snapshot,
            tuple(queues),
            reactor_module(self._reactor),
            len(stock),
            bool(self._crews),
        )
        papers = nameless(plan.dumps())
        self._tables.lend(stock)

        def spawn(worker: Worker) -> None:
            worker.seat = self._tables.sit(stock)
            descriptors: dict[int, Any] = {0: 0, 1: 1, 2: 2, HEAR: "w", SAY: "r", PLAN: papers}
            born_with = [sock.fileno() for sock in queues_of(queues, worker.place).values()]
            born_with += [table.descriptor for _, table in stock]
            descriptors.update(enumerate(born_with, SOCKETS))
            arguments = command(self._path, worker.place, worker.seat)
            try:
                self._reactor.spawnProcess(worker, arguments[0], arguments, env=None, childFDs=descriptors)
            except OSError:
                ended(worker)
                raise

        def ended(worker: Worker) -> None:
            self._tables.rise(stock, worker.seat)

        def gone(crew: Crew) -> None:
            os.close(papers)
            self._tables.close(stock)
            self._crews.remove(crew)
            self._crew_gone()

        crew = Crew(self._reactor, workers, spawn, self._write, self._crew_known, gone, ended)
        self._crews.append(crew)
        self._write(NOTICE, "start worker processes")
        crew.start()

    def _crew_known(self, crew: Crew) -> None:
        """
        Either all workers of a crew accept, and those before it are not needed any more; or some cannot, and they are.
        """
        if crew.accepts:
            for older in self._crews[: self._crews.index(crew)]:
                older.quit()
        if self._again and not self._quitting and self._stopping is None:
            # first: it may want sockets again that those who were just told to go have not closed yet
            self._again = False
            self._reload()
        if crew.accepts and crew is self._crews[-1]:
            close_queues(self._left, self._queues)
            self._left = {}

    def _crew_gone(self) -> None:
        # Configurations are full of circles; the collector looks seldom, and would keep hundreds, keys and all.
        self._reactor.callLater(0, gc.collect)
        if not self._crews:
            if self._stopping is not None:
                self._clear()
            elif self._quitting:
                self._reactor.stop()

    # Signals

    def reload(self) -> None:
        """
        HUP: put the configuration file as it is now in the place of the old one, or change nothing. While new workers
        are on their way that waits for them.
        """
        if not self._crews or self._quitting or self._stopping is not None:
            return
        self._write(NOTICE, "signal 1 (SIGHUP) received, reconfiguring")
        if self._crews[-1].begun:
            self._reload()
        else:
            self._again = True  # once, however often it is asked for: processes shall not pile up

    def _reload(self) -> None:
        kept = {key: self._queues.get(key, ()) + self._left.get(key, ()) for key in (*self._queues, *self._left)}
        try:
            read, queues, stock = self._prepare(kept)
        except ConfigErrors as errors:
            for error in errors.errors:
                self._write(EMERG, str(error))
            return
        except Exception as error:
            self._write(EMERG, f"the configuration could not be loaded: {error!r}")
            return
        old, self._read, self._queues = self._read, read, queues
        self._tables.close(self._stock)
        self._stock = stock
        # workers that are still to end accept on these
        self._left = {key: tuple(sock for sock in kept[key] if sock not in queues.get(key, ())) for key in kept}
        self._warn(read.build)
        self._write(NOTICE, "reconfiguring")
        files_of(old.build).close()
        move_pid(old.build, read.build)
        self._muster()

    def _prepare(self, kept: Queues) -> tuple[Read, Queues, Stock]:
        """
        A new configuration, whole: nothing of it can fail any more, and nothing has changed.

        @raise ConfigErrors: all that is wrong.
        """
        read = self._read_file()
        if read.build.root[PID] != self._read.build.root[PID]:
            check_pid(read.build)
        files = files_of(read.build)
        files.open(self._reactor)
        stock: Stock = ()
        try:
            stock = self._tables.open(read.build)
            return read, open_queues(read.build, kept, read.build.root[WORKERS]), stock
        except BaseException:
            self._tables.close(stock)
            files.close()
            raise

    def quit(self) -> None:
        """
        QUIT: accept no more; the reactor stops when the last session has ended.
        """
        if self._quitting or self._stopping is not None:
            return
        self._quitting = True
        self._write(NOTICE, "signal 3 (SIGQUIT) received, shutting down")
        self._close_queues()
        for crew in list(self._crews):
            crew.quit()

    def _end(self, message: str) -> None:
        """
        TERM and INT.
        """
        if self._stopping is None:
            self._write(NOTICE, message)
            self._reactor.stop()

    def reopen(self) -> None:
        """
        USR1: log files may have been renamed. New ones must be such that workers may open them too, whoever they are.
        """
        self._write(NOTICE, "signal 10 (SIGUSR1) received, reopening logs")
        self._write(NOTICE, "reopening logs")
        build = self._read.build
        files_of(build).reopen()
        account = build.root[USER]
        if account is not None:
            for path in files_of(build).paths:
                try:
                    os.chown(path, account.user, -1)
                except OSError as error:
                    self._write(EMERG, f'chown("{path}", {account.user}) failed ({error.errno}: {error.strerror})')
        for crew in self._crews:
            crew.tell(REOPEN)


def make_service(file: str, prefix: str | None = None, globals_text: str = "") -> Service:
    """
    What the configuration asks for: one process, or a master with its workers.

    @raise ConfigErrors: all that is wrong with it.
    """
    hold_collector()
    read = Read(file, prefix, globals_text)
    if has_master(read.build.root):
        return MasterService(file, prefix, globals_text, read=read)
    return ProxyService(file, prefix, globals_text, signals=True, build=read.build)
