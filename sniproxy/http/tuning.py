"""
The directives of http that only tune nginx's own engine, or switch off what is not carried: accepted and checked, since
most files have some, and without effect here. Each says why.

Strategy: a module that gives one of them a meaning declares it anew and takes it over, as with
L{sniproxy.config.internals}.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from twisted.plugin import IPlugin
from zope.interface import implementer

from sniproxy.config import values
from sniproxy.config.build import Build
from sniproxy.config.directives import Directive, Scope
from sniproxy.config.grammar import Node
from sniproxy.config.known import NOT_CARRIED
from sniproxy.errors import ConfigError
from sniproxy.interfaces import IModule

if TYPE_CHECKING:
    from sniproxy.common.server import Server

_SERVERS: Final = ("http", "http.server")
_PLACES: Final = (*_SERVERS, "http.server.location")
_EVERYWHERE: Final = (*_PLACES, "http.server.location.if")

_DISK: Final = "the disk is asked each time"
_COPIES: Final = "files are read in pieces of 64 KiB"
_PACKETS: Final = "head and body are sent together as they are"
_MEMORY: Final = "memory is not allocated in pools here"
_REQUESTS: Final = "there are no subrequests"
_OFF: Final = "it can only be off"

_LEAST_POOL: Final = 112
_ALIGNED: Final = 16


def _pool(node: Node, build: Build, scope: Scope) -> int:
    size = values.size(node, build, scope)
    if size < _LEAST_POOL:
        raise ConfigError(f"the pool size must be no less than {_LEAST_POOL}")
    if size % _ALIGNED:
        raise ConfigError(f"the pool size must be a multiple of {_ALIGNED}")
    return size


def _cache(node: Node, build: Build, scope: Scope) -> int:
    most = 0
    for word in node.args:
        key, equals, text = word.partition("=")
        if key == "max" and equals:
            most = values.number_of(text) or 0
            sound = most > 0
        elif key == "inactive" and equals:
            sound = values.time_of(text, seconds=True) is not None
        else:
            sound = word == "off"
        if not sound:
            raise ConfigError(f'invalid "{node.name}" parameter "{word}"')
    if not most and "off" not in node.args:
        raise ConfigError(f'"{node.name}" must have the "max" parameter')
    return most


def _aio(node: Node, build: Build, scope: Scope) -> str:
    word = node.args[0]
    if word not in ("on", "off", "threads") and not word.startswith("threads="):
        raise ConfigError(f'"{node.name}" directive invalid value')
    return word


def _offset_or_off(node: Node, build: Build, scope: Scope) -> int | None:
    return None if node.args[0] == "off" else values.offset(node, build, scope)


def _off(node: Node, build: Build, scope: Scope) -> str:
    if node.args[0] != "off":
        raise ConfigError(f'"{node.name}" directive is not supported by sniproxy: {NOT_CARRIED}')
    return "off"


def _setting(
    name: str,
    convert: Any,
    reason: str,
    contexts: tuple[str, ...] = _PLACES,
    arity: tuple[int, int] = (1, 1),
) -> Directive[Any]:
    return Directive(name, contexts, arity, convert, None, ignored=reason)


DIRECTIVES: Final[tuple[Directive[Any], ...]] = (
    _setting("open_file_cache", _cache, _DISK, arity=(1, 2)),
    _setting("open_file_cache_valid", values.seconds, _DISK),
    _setting("open_file_cache_min_uses", values.number, _DISK),
    _setting("open_file_cache_errors", values.flag, _DISK),
    _setting("open_file_cache_events", values.flag, _DISK),
    _setting("sendfile", values.flag, _COPIES, _EVERYWHERE),
    _setting("sendfile_max_chunk", values.size, _COPIES),
    _setting("aio", _aio, _COPIES),
    _setting("aio_write", values.flag, _COPIES),
    _setting("directio", _offset_or_off, _COPIES),
    _setting("directio_alignment", values.offset, _COPIES),
    _setting("output_buffers", values.buffers, _COPIES, arity=(2, 2)),
    _setting("read_ahead", values.size, _COPIES),
    _setting("tcp_nopush", values.flag, _PACKETS),
    _setting("postpone_output", values.size, _PACKETS),
    _setting("send_lowat", values.size, _PACKETS),
    _setting("connection_pool_size", _pool, _MEMORY, _SERVERS),
    _setting("request_pool_size", _pool, _MEMORY, _SERVERS),
    _setting("client_body_in_single_buffer", values.flag, "no variable needs the body in one piece"),
    _setting("log_subrequest", values.flag, _REQUESTS),
    _setting("subrequest_output_buffer_size", values.size, _REQUESTS),
    _setting("auth_request", _off, _OFF),
    _setting("client_body_in_file_only", _off, _OFF),
    _setting("disable_symlinks", _off, _OFF, arity=(1, 2)),
    _setting("gunzip", _off, _OFF),
    _setting("gzip_static", _off, _OFF),
    _setting("mirror", _off, _OFF),
    _setting("override_charset", _off, "nothing is recoded", _EVERYWHERE),
    _setting("proxy_cache", _off, _OFF),
    _setting("proxy_store", _off, _OFF),
    _setting("random_index", _off, _OFF, ("http.server.location",)),
    _setting("ssi", _off, _OFF, _EVERYWHERE),
)


@implementer(IPlugin, IModule)
class Tuning:
    """
    The module of these directives.
    """

    name = "http_tuning"
    directives = DIRECTIVES
    variables = ()

    def prepare(self, build: Build) -> None:
        """
        Nothing follows from them.
        """

    def attach(self, server: Server, build: Build) -> None:
        """
        Nothing follows from them.
        """


tuning = Tuning()
