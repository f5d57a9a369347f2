"""
The directives of nginx that only tune its own engine: accepted and checked, since most files have some, and without
effect here. Each says why. A module that gives one of them a meaning declares it anew and takes it over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from zope.interface import implementer

from sniproxy.config import values
from sniproxy.config.directives import Directive, Repeat
from sniproxy.config.template import Variable
from sniproxy.errors import ConfigError
from sniproxy.interfaces import IModule

if TYPE_CHECKING:
    from sniproxy.config.build import Build
    from sniproxy.config.directives import Scope
    from sniproxy.config.grammar import Node

_HASH: Final = "tables need no size here"
_EVENTS: Final = "there is one way of waiting for events here"
_LINE: Final = 64
"""Bytes of a cache line, as nginx has it."""

_LARGEST_BUCKET: Final = 65536 - _LINE

_PROCESS: Final = "the service manager sets this"


def _setting(
    name: str,
    contexts: tuple[str, ...],
    convert: Any,
    ignored: str,
    arity: tuple[int, int] = (1, 1),
    repeat: Repeat = Repeat.REFUSED,
) -> Directive[Any]:
    default = () if repeat is Repeat.LISTED else None
    return Directive(name, contexts, arity, convert, default, repeat=repeat, ignored=ignored)


def _bucket(node: Node, build: Build, scope: Scope) -> int:
    """
    The size of buckets of the one table that is always built, rounded up to cache lines.
    """
    size = -(-values.number(node, build, scope) // _LINE) * _LINE
    if not size:
        raise ConfigError(f"could not build variables_hash, you should increase {node.name}: 0")
    if size > _LARGEST_BUCKET:
        raise ConfigError(f"could not build variables_hash, too large {node.name}: {size}")
    return size


def _table(node: Node, build: Build, scope: Scope) -> int:
    """
    How many buckets that table may have.
    """
    size = values.number(node, build, scope)
    if not size:
        raise ConfigError(f"could not build variables_hash, you should increase {node.name}: 0")
    return size


def _thread_pool(node: Node, build: Build, scope: Scope) -> str:
    """
    @return: its name.
    """
    name = node.args[0]
    threads = 0
    for word in node.args[1:]:
        key, _, text = word.partition("=")
        number = values.number_of(text)
        if key == "threads":
            threads = number or 0
        if (key == "threads" and not threads) or (key == "max_queue" and number is None):
            raise ConfigError(f'invalid {key} value "{word}"')
    if not threads:
        raise ConfigError(f'"{node.name}" must have "threads" parameter')
    pools: set[str] = build.shared.setdefault(_thread_pool, set())
    if name in pools:
        raise ConfigError(f'duplicate thread pool "{name}"')
    pools.add(name)
    return name


EVENTS: Final[Directive[Any]] = Directive(
    "events", ("main",), (0, 0), values.block, None, opens="events", ignored="its contents have no effect"
)

_SIZES: Final = {"variables bucket_size": _bucket, "variables max_size": _table}

_HASHES: Final = tuple(
    _setting(f"{table}_hash_{limit}", contexts, _SIZES.get(f"{table} {limit}", values.number), _HASH)
    for table, contexts in (
        ("map", ("stream", "http")),
        ("variables", ("stream", "http")),
        ("server_names", ("stream", "http")),
        ("types", ("http", "http.server", "http.server.location")),
    )
    for limit in ("bucket_size", "max_size")
)

DIRECTIVES: Final[tuple[Directive[Any], ...]] = (
    EVENTS,
    _setting("worker_connections", ("events",), values.number, "the limit of open files is the limit"),
    _setting("epoll_events", ("events",), values.number, _EVENTS),
    _setting("use", ("events",), values.text, _EVENTS),
    _setting("multi_accept", ("events",), values.flag, "all waiting connections are accepted at once"),
    _setting("accept_mutex", ("events",), values.flag, _EVENTS),
    _setting("accept_mutex_delay", ("events",), values.time, _EVENTS),
    _setting("stall_threshold", ("events",), values.time, _EVENTS),
    _setting("worker_aio_requests", ("events",), values.number, _EVENTS),
    _setting("debug_connection", ("events",), values.text, "the level of error_log decides", repeat=Repeat.LISTED),
    *_HASHES,
    _setting("load_module", ("main",), values.text, "modules are found as plugins", repeat=Repeat.LISTED),
    _setting("lock_file", ("main",), values.prefixed_path, "nothing is locked"),
    _setting("pcre_jit", ("main",), values.flag, "expressions are Python's"),
    _setting("thread_pool", ("main",), _thread_pool, "no file is read by threads", (2, 3), Repeat.LISTED),
    _setting("timer_resolution", ("main",), values.time, "the clock is asked when it is needed"),
    _setting("debug_points", ("main",), values.one_of({"stop": "stop", "abort": "abort"}), "there are none"),
    _setting("working_directory", ("main",), values.prefixed_path, _PROCESS),
    _setting("env", ("main",), values.text, "the environment is passed on as it is", repeat=Repeat.LISTED),
    _setting("ssl_object_cache_inheritable", ("main",), values.flag, "each reload reads its files anew"),
    _setting(
        "open_log_file_cache",
        ("stream", "stream.server", "http", "http.server", "http.server.location"),
        values.words,
        "log files stay open",
        (1, 4),
    ),
)


@implementer(IModule)
class Internals:
    """
    The module of these directives.
    """

    name = "internals"
    directives: tuple[Directive[Any], ...] = DIRECTIVES
    variables: tuple[Variable, ...] = ()

    def prepare(self, build: Build) -> None:
        """
        Nothing follows from them.
        """

    def attach(self, server: Any, build: Build) -> None:
        """
        Nothing follows from them.
        """


INTERNALS: Final = Internals()
