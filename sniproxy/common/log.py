"""
ngx_stream_log_module and ngx_http_log_module: C{log_format}, C{access_log} and C{open_log_file_cache}: a line for each
session, or request, that has ended.

Strategy: formats and places are checked when the directive is read, in file order as nginx does it; files are only
declared, and opened by whoever takes the configuration. What is left for a session is to fill one line in.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from twisted.plugin import IPlugin
from zope.interface import implementer

from sniproxy.common.contexts import IF_IN_LOCATION, KINDS, LIMIT_EXCEPT, PLACES
from sniproxy.common.listen import kind_of
from sniproxy.common.phases import Phase
from sniproxy.config.build import Build
from sniproxy.config.directives import MANY, Directive, Inherit, Repeat, Scope
from sniproxy.config.grammar import Node
from sniproxy.config.template import ANY, Getter, Template
from sniproxy.config.values import number_of, size_of, time_of
from sniproxy.errors import ConfigError
from sniproxy.interfaces import IHttpModule, IModule, ISessionLog
from sniproxy.levels import CRIT, ERROR
from sniproxy.logs.by_name import NOTHING, Keep, LogsByName
from sniproxy.logs.log_format import LogFormat
from sniproxy.logs.sinks import FileLog, files_of
from sniproxy.logs.syslog import PREFIX, Syslog, SyslogLog, parse

if TYPE_CHECKING:
    from sniproxy.common.server import Server

Write = Callable[[Any, bytes], None]

GZIP_BUFFER: Final = 64 * 1024
"""What C{gzip} buffers where no size is given, in bytes."""

COMBINED: Final = "combined"
"""The format that http has without being told, and takes where none is named."""

_COMBINED: Final = (
    '$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent"'
)

_FORMATS: Final = "log formats"
"""The key in C{build.shared} of formats, by their kind and name."""

_BUFFERS: Final = "access log buffers"
_LOGS: Final = "access logs"


@dataclass(frozen=True, slots=True)
class Buffering:
    """
    How lines are kept back before they are written.

    @ivar size: bytes; 0 for not at all.
    @ivar flush: seconds at most, None for no limit.
    @ivar gzip: zlib's level; 0 for none.
    """

    size: int = 0
    flush: float | None = None
    gzip: int = 0


@dataclass(frozen=True, eq=False, slots=True)
class AccessLog:
    """
    One C{access_log}.

    @ivar place: the path of a file; a path with variables, relative to C{base}; or a syslog server.
    @ivar base: what stands before a path with variables.
    @ivar condition: C{if=}: no line where it is empty or C{0}.
    """

    place: str | Template | Syslog
    base: str
    format: LogFormat
    condition: Template | None
    node: Node


def variable_of(build: Build, name: str, node: Node) -> Getter:
    """
    What reads a variable and tells not found from empty, as a log must and a template does not.

    A variable nobody provides is an error of C{node}.
    """
    template = build.template(f"${{{name}}}", node)
    kinds = (build.kind, ANY)
    provided = [found for module in build.modules for found in module.variables if found.kind in kinds]
    exact = [found for found in provided if not found.prefix and found.name.lower() == name]
    begun = [found for found in provided if found.prefix and name.startswith(found.name.lower())]
    for found in exact or sorted(begun, key=lambda found: -len(found.name))[:1]:
        if found.volatile:
            get: Getter = found.get(name) if found.prefix else found.get
            return get
        if not found.prefix:  # what a module provides whole is not made anew by the configuration
            return _kept(name, found.get)

    def read(subject: Any) -> str | None:
        # what is not volatile is cached, None included; what is, and is made by the configuration, is never not found
        return template.render(subject) or subject.values.get(name, "")

    return read


def _kept(name: str, get: Getter) -> Getter:
    """
    What L{template.cached} is for templates: a variable is asked once for a subject.
    """

    def read(subject: Any) -> str | None:
        values: dict[str, str | None] = subject.values
        if name in values:
            return values[name]
        value = values[name] = get(subject)
        return value

    return read


def _log_format(node: Node, build: Build, scope: Scope) -> None:
    formats = _formats(build, kind_of(scope))
    name = node.args[0]
    if name in formats or (name == COMBINED and kind_of(scope) == "http"):
        raise ConfigError(f'duplicate "log_format" name "{name}"')
    # known even if it is wrong, so that its users are not wrong too
    formats[name] = LogFormat()
    formats[name].read(node.args[1:], lambda variable: variable_of(build, variable, node))


def _formats(build: Build, kind: str) -> dict[str, LogFormat]:
    """
    Those of one kind by their names: what others have made of a session means nothing of a request.
    """
    formats: dict[str, LogFormat] = build.shared.setdefault((_FORMATS, kind), {})
    return formats


def _format(name: str, build: Build, kind: str, node: Node) -> LogFormat:
    """
    nginx compares these names without case where they are used, and with it where they are made.
    """
    formats = _formats(build, kind)
    for known, found in formats.items():
        if known.lower() == name.lower():
            return found
    if kind == "http" and name.lower() == COMBINED:
        # made only where it is used: then alone its variables have to be there
        made = formats[COMBINED] = LogFormat()
        made.read([_COMBINED], lambda variable: variable_of(build, variable, node))
        return made
    raise ConfigError(f'unknown log format "{name}"')


def _access_log(node: Node, build: Build, scope: Scope) -> AccessLog | None:
    """
    @return: None for C{off}.
    """
    text = node.args[0]
    if text == "off":
        if len(node.args) > 1:
            raise ConfigError(f'invalid parameter "{node.args[1]}"')
        return None
    place: str | Template | Syslog = build.prefixed(text)
    base = ""
    if text.startswith(PREFIX):
        place = parse(text, build)
    elif "$" in text:
        # what a variable holds must not make an absolute path of a relative one
        base = "" if text.startswith("/") else build.prefixed("")
        place = build.template(text, node)
    kind = kind_of(scope)
    if len(node.args) < 2 and kind == "stream":
        raise ConfigError("log format is not specified")
    found = _format(node.args[1] if len(node.args) > 1 else COMBINED, build, kind, node)
    condition = None
    buffering = Buffering()
    for word in node.args[2:]:
        if word.startswith("if="):
            condition = build.template(word[len("if=") :], node)
        else:
            buffering = _buffering(word, buffering)
    if buffering.flush is not None and not buffering.size:
        raise ConfigError(f'no buffer is defined for access_log "{text}"')
    if buffering.size:
        _buffer(text, place, buffering, build)
    log = AccessLog(place, base, found, condition, node)
    build.shared.setdefault(_LOGS, []).append(log)
    return log


def _buffering(word: str, before: Buffering) -> Buffering:
    """
    What one more parameter makes of what those before it said.
    """
    name, equals, value = word.partition("=")
    if name == "buffer" and equals:
        size = size_of(value)
        if not size:
            raise ConfigError(f'invalid buffer size "{value}"')
        return Buffering(size, before.flush, before.gzip)
    if name == "flush" and equals:
        flush = time_of(value)
        if not flush:
            raise ConfigError(f'invalid flush time "{value}"')
        return Buffering(before.size, flush, before.gzip)
    if name == "gzip":
        level = number_of(value) if equals else 1
        if level is None or not 1 <= level <= 9:
            raise ConfigError(f'invalid compression level "{value}"')
        return Buffering(before.size or GZIP_BUFFER, before.flush, level)
    raise ConfigError(f'invalid parameter "{word}"')


def _buffer(text: str, place: str | Template | Syslog, buffering: Buffering, build: Build) -> None:
    """
    Note the buffer of a file: all that is logged there goes through it, whoever asked for it.
    """
    if isinstance(place, Template):
        raise ConfigError("buffered logs cannot have variables in name")
    if isinstance(place, Syslog):
        raise ConfigError("logs to syslog cannot be buffered")
    if build.shared.setdefault(_BUFFERS, {}).setdefault(place, buffering) != buffering:
        raise ConfigError(f'access_log "{text}" already defined with conflicting parameters')


def _open_log_file_cache(node: Node, build: Build, scope: Scope) -> Keep:
    most, inactive, min_uses, valid = 0, 10.0, 1, 60.0
    off = False
    for word in node.args:
        name, _, value = word.partition("=")
        count = number_of(value) if name in ("max", "min_uses") else None
        seconds = time_of(value, seconds=True) if name in ("inactive", "valid") else None
        if word == "off":
            off = True
        elif name == "max" and count is not None:
            most = count
        elif name == "min_uses" and count is not None:
            min_uses = count
        elif name == "inactive" and seconds is not None:
            inactive = seconds
        elif name == "valid" and seconds is not None:
            valid = seconds
        else:
            raise ConfigError(f'invalid "open_log_file_cache" parameter "{word}"')
    if off:
        return NOTHING
    if not most:
        raise ConfigError('"open_log_file_cache" must have "max" parameter')
    return Keep(most, inactive, min_uses, valid)


LOG_FORMAT: Final = Directive[tuple[None, ...]](
    "log_format", KINDS, (2, MANY), _log_format, (), Inherit.NEVER, Repeat.LISTED
)
ACCESS_LOG: Final = Directive[tuple["AccessLog | None", ...]](
    "access_log", (*PLACES, IF_IN_LOCATION, LIMIT_EXCEPT), (1, MANY), _access_log, (), repeat=Repeat.LISTED
)
OPEN_LOG_FILE_CACHE: Final = Directive[Keep]("open_log_file_cache", PLACES, (1, 4), _open_log_file_cache, NOTHING)


def _sink(log: AccessLog, build: Build) -> ISessionLog:
    """
    What takes the lines for a place without variables; the same for the same place.
    """
    files = files_of(build)
    if isinstance(log.place, Syslog):
        key = (AccessLog, log.place)
        if key not in build.shared:
            build.shared[key] = SyslogLog(log.place, build.time, files.complain)
            files.adopt(build.shared[key])
        sink: ISessionLog = build.shared[key]
        return sink
    assert isinstance(log.place, str)
    buffering = build.shared.get(_BUFFERS, {}).get(log.place, Buffering())
    return files.declare(log.place, log.node, buffer=buffering.size, flush=buffering.flush, gzip=buffering.gzip)


def _by_name(keep: Keep, build: Build) -> LogsByName:
    key = (LogsByName, keep)
    if key not in build.shared:
        build.shared[key] = LogsByName(keep)
        files_of(build).adopt(build.shared[key])
    logs: LogsByName = build.shared[key]
    return logs


def _writer(log: AccessLog, keep: Keep, build: Build) -> Write:
    """
    What writes a line of a session, or a request, where it belongs.
    """
    place = log.place
    if not isinstance(place, Template):
        sink = _sink(log, build)
        write_line = sink.gather if isinstance(sink, FileLog) else sink.write
        return lambda subject, line: write_line(line)
    logs = _by_name(keep, build)
    template, base = place, log.base

    def write(subject: Any, line: bytes) -> None:
        path = base + template.render(subject)
        # a name that a client sent must not lead out of the folder
        if "/../" in f"/{path}/" and ".." not in base + template.text:
            subject.log(ERROR, f'access_log "{path}" is ignored: a variable leads out of its folder')
            return
        try:
            logs.aim(path, subject.clock.now()).write(line)
        except OSError as error:
            call = "write() to" if error.filename is None else "open()"
            subject.log(CRIT, f'{call} "{path}" failed ({error.errno}: {error.strerror})')
        except ValueError:
            subject.log(CRIT, f'access_log "{path}" is ignored: no file can have this name')

    return write


@implementer(IPlugin, IModule, IHttpModule)
class Log:
    """
    The module.
    """

    name = "stream_log"
    directives = (LOG_FORMAT, ACCESS_LOG, OPEN_LOG_FILE_CACHE)
    variables = ()

    def prepare(self, build: Build) -> None:
        """
        Declare all files, those of a block without servers too: nginx opens every file that is named.
        """
        for log in build.shared.get(_LOGS, ()):
            if not isinstance(log.place, Template):
                try:
                    _sink(log, build)
                except ConfigError as error:
                    build.error(error, log.node)

    def attach(self, server: Server, build: Build) -> None:
        """
        Log the sessions of a server, unless its block, or the nearest that has C{access_log}, says C{off}.
        """
        writers = _writers(server.scope, build)
        if writers:
            server.handle(Phase.LOG, _logging(writers))

    def attach_place(self, place: Any, build: Build) -> None:
        """
        The same for the requests of a place.
        """
        writers = _writers(place.scope, build)
        if writers:
            place.handle("log", _logging(writers))


def _writers(scope: Scope, build: Build) -> list[tuple[AccessLog, Write]]:
    """
    What is in force in a block; nothing where one of them is C{off}.
    """
    logs = [log for log in scope[ACCESS_LOG] if log is not None]
    if len(logs) < len(scope[ACCESS_LOG]):
        return []
    return [(log, _writer(log, scope[OPEN_LOG_FILE_CACHE], build)) for log in logs]


def _logging(writers: list[tuple[AccessLog, Write]]) -> Callable[[Any], None]:
    def handler(subject: Any) -> None:
        for log, write in writers:
            if log.condition is None or log.condition.render(subject) not in ("", "0"):
                write(subject, log.format.render(subject) + b"\n")

    return handler


log = Log()
