"""
ngx_http_v2_module: its directives but C{http2} itself, which is the core module's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from twisted.plugin import IPlugin
from zope.interface import implementer

from sniproxy.config import values
from sniproxy.config.build import Build
from sniproxy.config.directives import Directive, Scope
from sniproxy.config.grammar import Node
from sniproxy.errors import ConfigError
from sniproxy.interfaces import IHttpModule, IModule

_SERVERS: Final = ("http", "http.server")
_PLACES: Final = ("http", "http.server", "http.server.location")

MOST_WINDOW: Final = (1 << 31) - 1
"""Bytes (RFC 9113, 6.9.1)."""


@dataclass(frozen=True, slots=True)
class Http2Settings:
    """
    What one server says.

    @ivar streams: requests at once on one connection.
    @ivar preread: bytes of each body that a client may send before anybody reads it.
    """

    streams: int = 128
    preread: int = 65536


def _preread(node: Node, build: Build, scope: Scope) -> int:
    size = values.size(node, build, scope)
    if size > MOST_WINDOW:
        raise ConfigError(f"the maximum body preread buffer size is {MOST_WINDOW}")
    return size


def _streams(node: Node, build: Build, scope: Scope) -> int:
    number = values.number(node, build, scope)
    if not number:
        raise ConfigError(f'invalid value "{node.args[0]}"')
    return number


def _chunk(node: Node, build: Build, scope: Scope) -> int:
    size = values.size(node, build, scope)
    if not size:
        raise ConfigError(f'invalid value "{node.args[0]}"')
    return min(size, (1 << 24) - 1)


def _obsolete(name: str, instead: str = "") -> Directive[None]:
    """
    A directive that nginx takes and warns of.
    """
    what = f'use the "{instead}" directive instead' if instead else "ignored"

    def convert(node: Node, build: Build, scope: Scope) -> None:
        build.warn(f'the "{name}" directive is obsolete, {what}', node)

    contexts = _PLACES if name == "http2_push" else _SERVERS
    return Directive(name, contexts, (1, 1), convert, None)


STREAMS: Final = Directive("http2_max_concurrent_streams", _SERVERS, (1, 1), _streams, 128)
PREREAD: Final = Directive("http2_body_preread_size", _SERVERS, (1, 1), _preread, 65536)
CHUNK: Final = Directive("http2_chunk_size", _PLACES, (1, 1), _chunk, 8192)

DIRECTIVES: Final[tuple[Directive[Any], ...]] = (
    STREAMS,
    PREREAD,
    CHUNK,
    Directive("http2_recv_buffer_size", ("http",), (1, 1), values.size, 262144, ignored="bytes are read as they come"),
    Directive("http2_pool_size", _SERVERS, (1, 1), values.size, 4096, ignored="nothing is taken from pools"),
    Directive(
        "http2_streams_index_size", _SERVERS, (1, 1), values.number, 32, ignored="streams are found without an index"
    ),
    _obsolete("http2_recv_timeout", "client_header_timeout"),
    _obsolete("http2_idle_timeout", "keepalive_timeout"),
    _obsolete("http2_max_requests", "keepalive_requests"),
    _obsolete("http2_max_field_size", "large_client_header_buffers"),
    _obsolete("http2_max_header_size", "large_client_header_buffers"),
    _obsolete("http2_max_concurrent_pushes"),
    _obsolete("http2_push"),
    _obsolete("http2_push_preload"),
)


@implementer(IPlugin, IModule, IHttpModule)
class Http2Module:
    """
    The module.
    """

    name = "http_v2"
    directives = DIRECTIVES
    variables = ()

    def prepare(self, build: Build) -> None:
        """
        @see: L{IModule.prepare}
        """

    def attach(self, server: Any, build: Build) -> None:
        """
        @see: L{IModule.attach}
        """

    def attach_place(self, place: Any, build: Build) -> None:
        """
        @see: L{IHttpModule.attach_place}
        """
        if place is place.server.place:
            place.server.http2_settings = Http2Settings(place.scope[STREAMS], place.scope[PREREAD])


http_v2 = Http2Module()
