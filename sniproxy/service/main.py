"""
The life of the process: start, reload, reopen, quit.

Strategy: a reload is one mechanism and no special case of starting: the new configuration is built whole beside the old
one, its files and sockets are opened, and only when nothing can fail any more does it take over. Whatever fails before
that is logged, and nothing has changed.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
import time
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall

from sniproxy.addresses import Address
from sniproxy.config.build import Build
from sniproxy.errors import ConfigError, ConfigErrors
from sniproxy.levels import EMERG, NOTICE, WARN
from sniproxy.logs.error_log import error_log_of
from sniproxy.logs.sinks import files_of
from sniproxy.service.core import PID, SHUTDOWN_TIMEOUT, USER
from sniproxy.service.load import load
from sniproxy.service.sockets import close_socket, open_sockets
from sniproxy.stream.core_variables import NGINX_VERSION
from sniproxy.stream.runtime import Engine, Runtime


class ProxyService(Service):
    """
    A configuration at work under twistd, or inside any application. Owns the listening sockets and the engine.

    @ivar signals: whether the process's signals mean what they mean to nginx; off inside other people's programs.
    """

    def __init__(
        self, file: str, prefix: str | None = None, globals_text: str = "", reactor: Any = None, signals: bool = False
    ) -> None:
        """
        Read the configuration and open its files and sockets, so that what is wrong is known before anything runs.

        @raise ConfigErrors: all that is wrong.
        """
        if reactor is None:
            from twisted.internet import reactor
        self._reactor: Any = reactor
        self._file = os.path.abspath(file)
        self._prefix = os.path.abspath(prefix) if prefix is not None else None
        self._globals = globals_text
        self.signals = signals
        self._engine: Engine | None = None
        self._runtime: Runtime | None = None
        self._draining: list[Runtime] = []
        self._limits: dict[Runtime, IDelayedCall] = {}
        self._quitting = False
        self._gone: Deferred[None] = Deferred()
        self._build = self._load("")
        self._sockets: dict[Address, socket.socket] = open_sockets(self._build, {})
        try:
            files_of(self._build).open(self._reactor)
        except ConfigErrors:
            self._close_sockets()
            raise

    def _load(self, pid: str) -> Build:
        """
        @param pid: the pid file there is; it may be beyond us by now, see C{user}.
        """
        build = load(self._file, self._prefix, self._globals)
        if build.root[PID] != pid:
            check_pid(build)
        return build

    # Starting and stopping, called by Twisted

    def startService(self) -> None:
        """
        Begin to accept.
        """
        super().startService()  # type: ignore[no-untyped-call]
        self._engine = Engine(self._reactor, time.time)
        self._runtime = runtime = Runtime(self._engine, self._build)
        log = runtime.error_log
        for warning in self._build.warnings:
            log.write(WARN, str(warning))
        runtime.open(self._sockets)
        log.write(NOTICE, f"nginx/{NGINX_VERSION} (sniproxy)")
        log.write(NOTICE, f"start worker process {os.getpid()}")
        if self.signals:
            # the reactor sets its own handlers when it begins to run
            self._reactor.callWhenRunning(self._take_signals)
            # Sessions free themselves; the collector has little to find, and need not look so often.
            gc.collect()
            gc.freeze()
            gc.set_threshold(10_000, 50, 100)
        self._reactor.callWhenRunning(self._ready)

    def _ready(self) -> None:
        """
        Tell those who wait for the pid file that connections and signals may come.
        """
        if self._runtime is None:
            return  # stopped before the reactor ran
        self._write_pid(self._build)
        self._drop_privileges()

    def stopService(self) -> None:
        """
        End at once: sessions still open are logged, files are flushed.
        """
        super().stopService()  # type: ignore[no-untyped-call]
        for runtime in (*self._draining, *([self._runtime] if self._runtime else ())):
            runtime.drained = None
            self._unlimit(runtime)
            runtime.abort()
        if self._runtime is not None:
            self._remove_pid(self._runtime.build)
            self._runtime = None
        self._draining.clear()
        self._close_sockets()
        files_of(self._build).close()
        if self._engine is not None:
            self._engine.stop()
            self._engine = None

    def _close_sockets(self) -> None:
        for address, sock in self._sockets.items():
            close_socket(address, sock)
        self._sockets = {}

    # Signals

    def _take_signals(self) -> None:
        meanings = {
            signal.SIGHUP: self.reload,
            signal.SIGQUIT: self.quit,
            signal.SIGUSR1: self.reopen,
            signal.SIGTERM: self._reactor.stop,  # Twisted would end by the signal, and not with status 0
            signal.SIGINT: self._reactor.stop,
        }

        def heard(number: int, frame: Any) -> None:
            self._reactor.callFromThread(meanings[signal.Signals(number)])

        for number in meanings:
            signal.signal(number, heard)

    def reload(self) -> None:
        """
        HUP: put the configuration file as it is now in the place of the old one, or change nothing.
        """
        old, engine = self._runtime, self._engine
        if old is None or engine is None or self._quitting:
            return
        log = old.error_log
        log.write(NOTICE, "signal 1 (SIGHUP) received, reconfiguring")
        try:
            build = self._load(old.build.root[PID])
            files = files_of(build)
            files.open(self._reactor)
            try:
                sockets = open_sockets(build, self._sockets)
            except BaseException:
                files.close()
                raise
        except ConfigErrors as errors:
            for error in errors.errors:
                log.write(EMERG, str(error))
            return
        except Exception as error:
            log.write(EMERG, f"the configuration could not be loaded: {error!r}")
            return
        runtime = Runtime(engine, build)
        for warning in build.warnings:
            runtime.error_log.write(WARN, str(warning))
        runtime.error_log.write(NOTICE, "reconfiguring")
        gone = {address: sock for address, sock in self._sockets.items() if address not in sockets}
        self._draining.append(old)
        old.drained = lambda: self._drained(old)
        old.pause()
        runtime.open(sockets)
        for address, sock in gone.items():
            close_socket(address, sock)
        self._sockets = sockets
        self._runtime, self._build = runtime, build
        if old.build.root[PID] != build.root[PID]:
            self._remove_pid(old.build)
            self._write_pid(build)
        self._limit(old)
        old.stop()

    def _drained(self, runtime: Runtime) -> None:
        self._draining.remove(runtime)
        self._unlimit(runtime)
        current = self._runtime
        if current is not None:
            current.error_log.write(NOTICE, f"worker process {os.getpid()} exited with code 0")
            if self.signals:
                # Configurations are full of circles; the collector looks seldom, and would keep hundreds, keys and all.
                self._reactor.callLater(0, gc.collect)
        if self._quitting and not self._draining:
            self._gone.callback(None)
            if self.signals:
                self._reactor.stop()

    def _limit(self, runtime: Runtime) -> None:
        """
        C{worker_shutdown_timeout}: how long sessions of a configuration that has been left may go on.
        """
        seconds = runtime.build.root[SHUTDOWN_TIMEOUT]
        if seconds and runtime not in self._limits:
            self._limits[runtime] = self._reactor.callLater(seconds, runtime.abort)

    def _unlimit(self, runtime: Runtime) -> None:
        call = self._limits.pop(runtime, None)
        if call is not None and call.active():
            call.cancel()

    def quit(self) -> Deferred[None]:
        """
        QUIT: accept no more. Under C{signals} the reactor stops when the last session has ended.

        @return: fires when the last session has ended; the service is still to be stopped.
        """
        runtime = self._runtime
        if runtime is None or self._quitting:
            return self._gone
        self._quitting = True
        runtime.error_log.write(NOTICE, "signal 3 (SIGQUIT) received, shutting down")
        runtime.error_log.write(NOTICE, "gracefully shutting down")
        self._draining.append(runtime)
        runtime.drained = lambda: self._drained(runtime)
        for old in self._draining:
            self._limit(old)
        runtime.pause()
        self._close_sockets()
        runtime.stop()
        return self._gone

    def reopen(self) -> None:
        """
        USR1: log files may have been renamed.
        """
        runtime = self._runtime
        if runtime is not None:
            runtime.error_log.write(NOTICE, "signal 10 (SIGUSR1) received, reopening logs")
            runtime.error_log.write(NOTICE, "reopening logs")
            for each in (*self._draining, runtime):
                files_of(each.build).reopen()

    # The pid file and the user

    def _write_pid(self, build: Build) -> None:
        path = build.root[PID]
        if path:
            try:
                with open(path, "w", encoding="ascii") as file:
                    file.write(f"{os.getpid()}\n")
            except OSError as error:
                error_log_of(build, build.root).write(EMERG, str(_unwritable(build, error)))

    def _remove_pid(self, build: Build) -> None:
        path = build.root[PID]
        if path:
            try:
                os.unlink(path)
            except OSError:
                pass  # somebody else took it away

    def _drop_privileges(self) -> None:
        """
        C{user}: from here on the process is nobody special; the directive says nothing where it was not root.
        """
        account = self._build.root[USER]
        if account is not None:
            os.initgroups(account.name, account.group)
            os.setgid(account.group)
            os.setuid(account.user)


def check_pid(build: Build) -> None:
    """
    Find out early whether the pid file can be written; there must be none before the sockets are open.

    @raise ConfigErrors: it cannot.
    """
    path = build.root[PID]
    if path:
        try:
            folder = os.open(os.path.dirname(path) or ".", os.O_RDONLY | os.O_DIRECTORY)
            os.close(folder)
            if os.path.exists(path):
                os.close(os.open(path, os.O_WRONLY))
        except OSError as error:
            raise ConfigErrors((_unwritable(build, error),)) from None


def _unwritable(build: Build, error: OSError) -> ConfigError:
    node = build.root.where(PID)
    assert node is not None
    message = f'open() "{build.root[PID]}" failed ({error.errno}: {error.strerror})'
    return ConfigError(message, node.file, node.line)


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
