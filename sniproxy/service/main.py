"""
The life of the process: start, reload, reopen, quit.

Strategy: a reload is one mechanism and no special case of starting: the new configuration is built whole beside the old
one, its files and sockets are opened, and only when nothing can fail any more does it take over. Whatever fails before
that is logged, and nothing has changed. It is built in turns with the sessions, which do not stand still meanwhile.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred

from sniproxy.addresses import Address
from sniproxy.common.core_variables import NGINX_VERSION
from sniproxy.common.runtime import doors_in
from sniproxy.config.build import Build
from sniproxy.errors import ConfigErrors
from sniproxy.levels import EMERG, NOTICE, WARN
from sniproxy.logs.error_log import error_log_of
from sniproxy.logs.sinks import files_of
from sniproxy.service.core import PID, WORKERS, has_master
from sniproxy.service.limits import settle
from sniproxy.service.load import load, world
from sniproxy.service.memory import Memory, settle_collector
from sniproxy.service.pidfile import check_pid, move_pid, remove_pid, write_pid
from sniproxy.service.serving import Serving
from sniproxy.service.signals import take_signals
from sniproxy.service.snapshot import World
from sniproxy.service.sockets import close_socket, open_sockets
from sniproxy.service.turns import Turns


class ProxyService(Service):
    """
    A configuration at work in this one process, under twistd or inside any application. Owns the listening sockets.

    @ivar signals: whether the process's signals mean what they mean to nginx; off inside other people's programs.
    """

    def __init__(
        self,
        file: str,
        prefix: str | None = None,
        globals_text: str = "",
        reactor: Any = None,
        signals: bool = False,
        build: Build | None = None,
    ) -> None:
        """
        Read the configuration and open its files and sockets, so that what is wrong is known before anything runs.

        @param build: what is in the file, where that has been read already.
        @raise ConfigErrors: all that is wrong.
        """
        if reactor is None:
            from twisted.internet import reactor
        self._reactor: Any = reactor
        self._file = os.path.abspath(file)
        self._prefix = os.path.abspath(prefix) if prefix is not None else None
        self._globals = globals_text
        self.signals = signals
        self._serving: Serving | None = None
        self._gone: Deferred[None] = Deferred()
        self._memory = Memory(self._reactor, signals)
        self._reading: Turns | None = None
        self._again = False
        self._build = build = load(self._file, self._prefix, globals_text) if build is None else build
        build.forget_lines()
        check_pid(build)
        self._sockets: dict[Address, socket.socket] = open_sockets(build, {})
        try:
            files_of(build).open(self._reactor)
        except ConfigErrors:
            self._close_sockets()
            raise

    # Starting and stopping, called by Twisted

    def startService(self) -> None:
        """
        Begin to accept.
        """
        super().startService()  # type: ignore[no-untyped-call]
        self._serving = serving = Serving(self._reactor, self._build, self._ended, self.signals)
        self._warn(self._build)
        serving.open(self._sockets)
        log = serving.runtime.error_log
        log.write(NOTICE, f"nginx/{NGINX_VERSION} (sniproxy)")
        log.write(NOTICE, f"start worker process {os.getpid()}")
        if self.signals:
            take_signals(
                self._reactor,
                {
                    signal.SIGHUP: self.reload,
                    signal.SIGQUIT: self.quit,
                    signal.SIGUSR1: self.reopen,
                    signal.SIGTERM: self._reactor.stop,  # Twisted would end by the signal, and not with status 0
                    signal.SIGINT: self._reactor.stop,
                },
            )
            settle_collector()
        self._reactor.callWhenRunning(self._ready)

    def _warn(self, build: Build) -> None:
        log = error_log_of(build, build.root)
        for warning in build.warnings:
            log.write(WARN, str(warning))
        if has_master(build.root):
            # nothing of that kind is known here: either we are a guest, or the file has said so only since the start
            why = "that takes a restart" if self.signals else "this is somebody else's program"
            log.write(WARN, f'"worker_processes {build.root[WORKERS]}" is one process, without a master: {why}')

    def _ready(self) -> None:
        """
        Tell those who wait for the pid file that connections and signals may come.
        """
        if self._serving is None:
            return  # stopped before the reactor ran
        write_pid(self._build)
        log = self._serving.runtime.error_log
        try:
            settle(self._build.root, log)
        except OSError as error:
            log.write(EMERG, f"cannot become the user of the configuration ({error.errno}: {error.strerror})")
            if not self.signals:
                raise
            self._reactor.stop()

    def stopService(self) -> None:
        """
        End at once: sessions still open are logged, files are flushed.
        """
        super().stopService()  # type: ignore[no-untyped-call]
        self._stop_reading()
        self._memory.stop()
        serving, self._serving = self._serving, None
        if serving is not None:
            serving.stop()
            remove_pid(self._build)
        self._close_sockets()
        files_of(self._build).close()

    def _close_sockets(self) -> None:
        for address, sock in self._sockets.items():
            close_socket(address, sock)
        self._sockets = {}

    # Signals

    def reload(self) -> None:
        """
        HUP: put the configuration file as it is now in the place of the old one, or change nothing. Sessions go on
        while it is read, so it may not be done when this returns.
        """
        serving = self._serving
        if serving is None or serving.quitting:
            return
        serving.runtime.error_log.write(NOTICE, "signal 1 (SIGHUP) received, reconfiguring")
        if self._reading is not None:
            self._again = True  # what is being read may have been read before it was changed; once will do
            return
        self._read()

    def _read(self) -> None:
        def job(turns: Turns) -> Build:
            real = world()
            asked = World(turns.asking(real.read), turns.asking(real.glob), turns.asking(real.lookup))
            build = load(self._file, self._prefix, self._globals, asked, turns.rest)
            build.forget_lines()
            doors_in(build)  # so that nobody waits for it later
            return build

        self._reading = turns = Turns(self._reactor, job, self._has_read, self._cannot_read)
        self._memory.hold()
        turns.start()

    def _stop_reading(self) -> None:
        turns, self._reading = self._reading, None
        self._again = False
        if turns is not None:
            turns.stop()
            self._memory.release(made=False)

    def _cannot_read(self, trouble: BaseException) -> None:
        self._reading = None
        self._memory.release(made=False)
        self._complain(trouble)
        self._read_again()

    def _has_read(self, build: Build) -> None:
        self._reading = None
        self._memory.release(made=True)
        try:
            self._take_over(build)
        except Exception as error:
            self._memory.leave(build)
            self._complain(error)
        self._read_again()

    def _read_again(self) -> None:
        again, self._again = self._again, False
        if again:
            self._read()

    def _complain(self, trouble: BaseException) -> None:
        assert self._serving is not None
        log = self._serving.runtime.error_log
        if isinstance(trouble, ConfigErrors):
            for error in trouble.errors:
                log.write(EMERG, str(error))
        else:
            log.write(EMERG, f"the configuration could not be loaded: {trouble!r}")

    def _take_over(self, build: Build) -> None:
        """
        Have a configuration at work from here on.

        @raise ConfigErrors: its files or sockets cannot be had, and nothing has changed.
        """
        serving = self._serving
        assert serving is not None
        sockets = self._prepare(build)
        old, gone = self._build, {key: sock for key, sock in self._sockets.items() if key not in sockets}
        self._warn(build)
        error_log_of(build, build.root).write(NOTICE, "reconfiguring")
        used, self._build, self._sockets = self._sockets, build, sockets
        try:
            move_pid(old, build)
            serving.replace(build, sockets)
        except BaseException:
            self._build, self._sockets = old, used
            for address, sock in sockets.items():
                if address not in used:
                    close_socket(address, sock)
            move_pid(build, old)  # last: it may fail as well
            raise
        for address, sock in gone.items():
            close_socket(address, sock)

    def _prepare(self, build: Build) -> dict[Address, socket.socket]:
        """
        Open what a configuration needs: nothing of it can fail any more, and nothing has changed.

        @raise ConfigErrors: all that is wrong.
        """
        if build.root[PID] != self._build.root[PID]:
            check_pid(build)  # the old one may be beyond us by now, see C{user}
        files = files_of(build)
        files.open(self._reactor)
        try:
            return open_sockets(build, self._sockets, self._build)
        except BaseException:
            files.close()
            raise

    def _ended(self, build: Build) -> None:
        serving = self._serving
        assert serving is not None
        serving.runtime.error_log.write(NOTICE, f"worker process {os.getpid()} exited with code 0")
        if build is not self._build:  # what was the last to take sessions is needed to the end
            self._memory.leave(build)
        if serving.over:
            self._gone.callback(None)
            if self.signals:
                self._reactor.stop()

    def quit(self) -> Deferred[None]:
        """
        QUIT: accept no more. Under C{signals} the reactor stops when the last session has ended.

        @return: fires when the last session has ended; the service is still to be stopped.
        """
        serving = self._serving
        if serving is not None and not serving.quitting:
            log = serving.runtime.error_log
            log.write(NOTICE, "signal 3 (SIGQUIT) received, shutting down")
            log.write(NOTICE, "gracefully shutting down")
            self._stop_reading()
            sockets, self._sockets = self._sockets, {}
            serving.quit()
            for address, sock in sockets.items():
                close_socket(address, sock)
        return self._gone

    def reopen(self) -> None:
        """
        USR1: log files may have been renamed.
        """
        serving = self._serving
        if serving is not None:
            log = serving.runtime.error_log
            log.write(NOTICE, "signal 10 (SIGUSR1) received, reopening logs")
            log.write(NOTICE, "reopening logs")
            serving.reopen()


def complain(errors: ConfigErrors) -> None:
    """
    Tell the operator, on standard error, one line each.
    """
    say(str(errors))


def say(text: str) -> None:
    """
    Tell the operator, on standard error; nobody, where that is closed.
    """
    try:
        if sys.stderr is not None:  # where it was closed before the start, Python has None
            sys.stderr.write(text + "\n")
            sys.stderr.flush()
    except (OSError, ValueError):
        pass
