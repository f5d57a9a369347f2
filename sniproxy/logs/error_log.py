"""
ngx_errlog_module: who hears about what happens, from which severity on, and the shape of a line.

Strategy: the question "does anybody want this?" is one comparison of numbers, C{level > log.level}, which a caller
makes before it builds a message. The time is written out once a second. A message may hold what a stranger sent:
control characters are written as escapes, so that nobody else's line begins in it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from twisted.logger import Logger, LogLevel
from twisted.plugin import IPlugin
from zope.interface import implementer

from sniproxy.config.directives import MANY, Directive, Repeat, Scope
from sniproxy.errors import ConfigError
from sniproxy.interfaces import IModule
from sniproxy.levels import ALERT, CRIT, DEBUG, EMERG, ERROR, INFO, NAMES, NOTICE, WARN
from sniproxy.logs import memory
from sniproxy.logs.memory import Memory, MemoryLog
from sniproxy.logs.sinks import STDERR, files_of
from sniproxy.logs.syslog import PREFIX, Syslog, SyslogLog, parse

if TYPE_CHECKING:
    from sniproxy.config.build import Build
    from sniproxy.config.grammar import Node

Hear = Callable[[int, bytes], None]
"""What takes a line: its level, and the line with its newline."""

LONGEST: Final = 2048
"""Bytes of a line with its newline (NGX_MAX_ERROR_STR); longer ones are cut."""

STAMP: Final = len("2023/03/17 08:19:45 ")

DEBUG_FILTERS: Final = frozenset(
    f"debug_{part}" for part in ("core", "alloc", "mutex", "event", "http", "mail", "stream")
)
"""nginx's words for parts of its debug log; to us they all mean C{debug}."""

ESCAPES: Final = {code: f"\\x{code:02X}" for code in (*range(32), 127)}

TWISTED: Final = {
    EMERG: LogLevel.critical,
    ALERT: LogLevel.critical,
    CRIT: LogLevel.critical,
    ERROR: LogLevel.error,
    WARN: LogLevel.warn,
    NOTICE: LogLevel.info,
    INFO: LogLevel.info,
    DEBUG: LogLevel.debug,
}

_log: Final = Logger("sniproxy")


def hear_for_twisted(level: int, line: bytes) -> None:
    """
    Give a line to Twisted's log, which has a time of its own: where no C{error_log} is configured.
    """
    text = line[STAMP:-1].decode("utf-8", "surrogateescape")
    _log.emit(TWISTED.get(level, LogLevel.critical), "{text}", text=text.encode("utf-8", "backslashreplace").decode())


class ErrorLog:
    """
    Where one part of the program complains. Owns nothing: what is behind the targets belongs to L{sinks.Files}.

    @ivar level: the most talkative level anybody hears; a message above it need not be made.
    """

    __slots__ = ("_second", "_stamp", "_targets", "_time", "level")

    def __init__(self, targets: Sequence[tuple[int, Hear]], time: Callable[[], float]) -> None:
        """
        @param targets: each with the most talkative level that it hears.
        @param time: wall clock, seconds since the epoch.
        """
        # nginx tells the most talkative first, too
        self._targets = tuple(sorted(targets, key=lambda target: -target[0]))
        self._time = time
        self._second = -1
        self._stamp = ""
        self.level = max((bound for bound, _ in self._targets), default=0)

    def write(self, level: int, message: str, connection: int | None = None) -> None:
        """
        Write a line to all who hear this level. Never raises for what a target does wrong with files or sockets.

        @param level: of L{sniproxy.levels}, from EMERG to DEBUG.
        @param message: without a newline; a message of many lines becomes one.
        @param connection: the number of the session that it is about.
        """
        if level > self.level:
            return
        line = self._line(level, message, connection)
        for bound, hear in self._targets:
            if level <= bound:
                hear(level, line)

    def _line(self, level: int, message: str, connection: int | None) -> bytes:
        now = int(self._time())
        if now != self._second:
            self._second = now
            self._stamp = f"{datetime.fromtimestamp(now):%Y/%m/%d %H:%M:%S}"
        process = os.getpid()
        about = "" if connection is None else f"*{connection} "
        if not message.isprintable():
            message = message.translate(ESCAPES)
        text = f"{self._stamp} [{NAMES[level]}] {process}#{process}: {about}{message}"
        try:
            data = text.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            # surrogates that stand for no byte: the text came neither from a file nor from a wire
            data = text.encode("utf-8", "backslashreplace")
        return data[: LONGEST - 1] + b"\n"


@dataclass(frozen=True, slots=True)
class Target:
    """
    One C{error_log} as it is written.

    @ivar where: C{"stderr"}, the path of a file, a syslog server, or a buffer in memory.
    @ivar level: the most talkative level it hears.
    @ivar node: the directive.
    """

    where: str | Syslog | Memory
    level: int
    node: Node


def _convert(node: Node, build: Build, scope: Scope) -> Target:
    level = _level(node.args[1:])
    text = node.args[0]
    if text.startswith(PREFIX):
        return Target(parse(text, build), level, node)
    if text.startswith(memory.PREFIX):
        return Target(memory.parse(text, node), level, node)
    if text in ("stderr", ""):
        return Target("stderr", level, node)
    return Target(build.prefixed(text), level, node)


def _level(words: Sequence[str]) -> int:
    """
    @raise ConfigError: a word that is none, or two levels.
    """
    level = 0
    filtered = False
    for word in words:
        if word in DEBUG_FILTERS and (filtered or not level):
            filtered, level = True, DEBUG
        elif word in NAMES[EMERG:]:
            if level:
                raise ConfigError(f'duplicate log level "{word}"')
            level = NAMES.index(word)
        else:
            raise ConfigError(f'invalid log level "{word}"')
    return level or ERROR


ERROR_LOG: Final[Directive[tuple[Target, ...]]] = Directive(
    "error_log",
    ("main", "stream", "stream.server", "http", "http.server", "http.server.location"),
    (1, MANY),
    _convert,
    default=(),
    repeat=Repeat.LISTED,
)


def error_log_of(build: Build, scope: Scope) -> ErrorLog:
    """
    The error log of a block: its own targets, else those of the nearest block around it, else Twisted's log from
    C{error} on. Blocks with the same targets share one object.

    Its files are opened with all others of the configuration, see L{sniproxy.logs.sinks.files_of}; before that only
    Twisted hears.
    """
    targets = scope[ERROR_LOG]
    key = (ErrorLog, tuple((target.where, target.level) for target in targets))
    log = build.shared.get(key)
    if log is None:
        heard = [(target.level, _hear(target, build)) for target in targets]
        log = build.shared[key] = ErrorLog(heard or [(ERROR, hear_for_twisted)], build.time)
    assert isinstance(log, ErrorLog)
    return log


def _hear(target: Target, build: Build) -> Hear:
    files = files_of(build)
    if isinstance(target.where, Syslog):
        syslog = SyslogLog(target.where, build.time, files.complain)
        files.adopt(syslog)
        return lambda level, line: syslog.send(level - 1, line)
    if isinstance(target.where, Memory):
        buffer = MemoryLog(target.where)
        files.adopt(buffer)
        return lambda level, line: buffer.write(line)
    sink = STDERR if target.where == "stderr" else files.declare(target.where, target.node)
    return lambda level, line: sink.write(line)


@implementer(IPlugin, IModule)
class ErrorLogModule:
    """
    The directive; who needs a log asks L{error_log_of}.
    """

    name: Final = "errlog"
    directives: Final = (ERROR_LOG,)
    variables: Final[tuple[Any, ...]] = ()

    def prepare(self, build: Build) -> None:
        """
        The main block's log is there even where nobody else asks for it, so that its file is opened.
        """
        error_log_of(build, build.root)

    def attach(self, server: Any, build: Build) -> None:
        """
        A stream server asks by itself.
        """


errlog: Final = ErrorLogModule()
