"""
How a log reaches its file: one write for each line or buffered and perhaps compressed, opened anew when it was renamed.

Strategy: as in nginx a configuration only declares its logs, and they are opened together when all of it has been read;
so a configuration that is only looked at, or is wrong, touches no file. Whoever declares one path twice gets one file.
A log that cannot be written never stops a session: it says so once a minute, elsewhere, and the lines are lost.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from zope.interface import classImplements

from sniproxy.errors import ConfigError, ConfigErrors
from sniproxy.interfaces import ISessionLog

if TYPE_CHECKING:
    from sniproxy.config.build import Build
    from sniproxy.config.grammar import Node

STDERR_FILENO: Final = 2

COMPLAINTS: Final = 60.0
"""Seconds between two complaints about one log."""

GZIP_MEMBER: Final = 31
"""zlib's C{wbits} for a whole gzip member: the file is their concatenation."""

_log: Final = Logger("sniproxy")


def complain_to_twisted(message: str) -> None:
    """
    Tell whoever reads what twistd prints.
    """
    _log.critical("{message}", message=message)


def hold_standard_streams() -> None:
    """
    Put C{/dev/null} where a standard stream was closed before the start, lest a socket or file of ours be taken for it.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # the lowest free number, which is this one
            os.open(os.devnull, os.O_RDWR)


class FileLog:
    """
    One file that lines are appended to.

    Owns its descriptor from C{open} to C{close}. With a buffer it keeps at most C{buffer} bytes, at most C{flush}
    seconds if that is given.

    @ivar path: absolute, or relative to where the process runs.
    @ivar node: the directive that declared it first.
    @ivar later: calls something at the end of a turn in which many sessions may end; None where nothing knows of turns.
    """

    def __init__(
        self,
        path: str,
        node: Node | None,
        complain: Callable[[str], None],
        buffer: int = 0,
        flush: float | None = None,
        gzip: int = 0,
    ) -> None:
        self.path = path
        self.node = node
        self.options = (buffer, flush, gzip)
        self._complain = complain
        self._complained: float | None = None
        self._buffer = buffer
        self._flush = flush
        self._gzip = gzip
        self._clock: IReactorTime | None = None
        self._descriptor: int | None = None
        self._pending: list[bytes] = []
        self._size = 0
        self._call: IDelayedCall | None = None
        self.later: Callable[[Callable[[], None]], None] | None = None

    def open(self, clock: IReactorTime) -> None:
        """
        From now on lines are written; those before are lost.

        @raise ConfigError: it cannot be opened, in nginx's words.
        """
        self._clock = clock
        try:
            self._descriptor = _open(self.path)
        except OSError as error:
            raise ConfigError(_failed("open()", self.path, error)) from None

    def write(self, line: bytes) -> None:
        """
        Write, or keep for later. Never raises.
        """
        if self._descriptor is None:
            return
        if not self._buffer:
            self.flush()
            self._append(line)
            return
        if self._size + len(line) > self._buffer:
            self.flush()
        if len(line) > self._buffer:
            self._append(self._packed(line))
            return
        self._pending.append(line)
        self._size += len(line)
        if self._flush is not None and self._call is None and self._clock is not None:
            self._call = self._clock.callLater(self._flush, self._late)

    def gather(self, line: bytes) -> None:
        """
        As L{write}, but lines of one turn are written together, at its end.
        """
        if self._buffer or self.later is None:
            self.write(line)
            return
        self._pending.append(line)
        if len(self._pending) == 1:
            self.later(self.flush)

    def flush(self) -> None:
        """
        Write what is kept.
        """
        if self._call is not None:
            self._call.cancel()
            self._call = None
        if self._pending:
            data = b"".join(self._pending)
            self._pending.clear()
            self._size = 0
            self._append(self._packed(data))

    def reopen(self) -> None:
        """
        What is kept goes to the old file, all later lines to the one that now has the name. If that cannot be opened
        the old one stays.
        """
        if self._descriptor is None:
            return
        self.flush()
        try:
            new = _open(self.path)
        except OSError as error:
            self._complain(_failed("open()", self.path, error))
            return
        os.close(self._descriptor)
        self._descriptor = new

    def close(self) -> None:
        """
        Write what is kept and give the file back; later lines are lost. May be called twice.
        """
        self.flush()
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _late(self) -> None:
        self._call = None
        self.flush()

    def _packed(self, data: bytes) -> bytes:
        if not self._gzip:
            return data
        packer = zlib.compressobj(self._gzip, zlib.DEFLATED, GZIP_MEMBER)
        return packer.compress(data) + packer.flush()

    def _append(self, data: bytes) -> None:
        if self._descriptor is None:
            return
        try:
            written = os.write(self._descriptor, data)
        except OSError as error:
            self._trouble(_failed("write() to", self.path, error))
            return
        if written != len(data):
            self._trouble(f'write() to "{self.path}" was incomplete: {written} of {len(data)}')

    def _trouble(self, message: str) -> None:
        """
        Complain, if that was not done just now. The complaint may come back here as a line: by then it was done.
        """
        now = 0.0 if self._clock is None else self._clock.seconds()
        if self._complained is None or now - self._complained >= COMPLAINTS:
            self._complained = now
            self._complain(message)


class StderrLog:
    """
    Descriptor 2, whoever has put what there; borrowed, so never closed. Where it is closed, lines are lost.
    """

    def write(self, line: bytes) -> None:
        """
        Write at once. Never raises.
        """
        try:
            os.write(STDERR_FILENO, line)
        except OSError:
            # There is nowhere left to say so.
            pass

    def reopen(self) -> None:
        """
        It has no name that could have changed.
        """

    def close(self) -> None:
        """
        It is not ours.
        """


class Files:
    """
    All logs of one configuration: declared while it is read, opened when it is taken, closed when it is done with.

    @ivar complain: where to say that a log cannot be written.
    """

    def __init__(self, complain: Callable[[str], None] = complain_to_twisted) -> None:
        """
        @param complain: called with a message when a log cannot be written, at most once a minute for each.
        """
        self.complain = complain
        self._files: dict[str, FileLog] = {}
        self._others: list[ISessionLog] = []

    def declare(
        self, path: str, node: Node | None = None, *, buffer: int = 0, flush: float | None = None, gzip: int = 0
    ) -> FileLog:
        """
        @param node: the directive, for errors.
        @param buffer: bytes to keep before writing; 0 to write each line at once.
        @param flush: seconds that a line is kept at most; None for no limit.
        @param gzip: 0 for none, or zlib's level from 1 to 9; needs a buffer.
        @return: the log, whose lines are lost until L{open}; the same for the same path.
        @raise ConfigError: the path was declared with other parameters.
        """
        log = self._files.get(path)
        if log is None:
            log = self._files[path] = FileLog(path, node, self.complain, buffer, flush, gzip)
        elif log.options != (buffer, flush, gzip):
            raise ConfigError(f'access_log "{path}" already defined with conflicting parameters')
        return log

    def adopt(self, log: ISessionLog) -> None:
        """
        Reopen and close this one too.
        """
        self._others.append(log)

    @property
    def paths(self) -> tuple[str, ...]:
        """
        Of all files that were declared.
        """
        return tuple(self._files)

    def open(self, clock: IReactorTime) -> None:
        """
        Open all, or none.

        @param clock: for the times of C{flush}.
        @raise ConfigErrors: some cannot be opened.
        """
        errors = []
        for log in self._files.values():
            try:
                log.open(clock)
            except ConfigError as error:
                errors.append(error if log.node is None else error.at(log.node.file, log.node.line))
        if errors:
            self.close()
            raise ConfigErrors(tuple(errors))

    def gather(self, later: Callable[[Callable[[], None]], None]) -> None:
        """
        Let lines of sessions that end in one turn be written together.

        @param later: calls something at the end of the turn, or at once where there is none.
        """
        for log in self._files.values():
            log.later = later

    def reopen(self) -> None:
        """
        For USR1: files may have been renamed.
        """
        for log in (*self._files.values(), *self._others):
            log.reopen()

    def flush(self) -> None:
        """
        Write what is kept.
        """
        for log in self._files.values():
            log.flush()

    def close(self) -> None:
        """
        Write what is kept, and close all.
        """
        for log in (*self._files.values(), *self._others):
            log.close()


def files_of(build: Build) -> Files:
    """
    The logs of a configuration; whoever takes the configuration opens and closes them.
    """
    files = build.shared.get(Files)
    if files is None:
        files = build.shared[Files] = Files()
    assert isinstance(files, Files)
    return files


def _open(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)


def _failed(call: str, path: str, error: OSError) -> str:
    return f'{call} "{path}" failed ({error.errno}: {error.strerror})'


STDERR: Final = StderrLog()

classImplements(FileLog, ISessionLog)
classImplements(StderrLog, ISessionLog)
