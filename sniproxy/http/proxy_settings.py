"""
The directives of ngx_http_proxy_module, but for those about TLS, which stream has too.
"""

from __future__ import annotations

from typing import Any, Final

from sniproxy.common.contexts import HTTP, IF_IN_LOCATION, LIMIT_EXCEPT
from sniproxy.config import values
from sniproxy.config.build import Build
from sniproxy.config.directives import MANY, Directive, Inherit, Repeat, Scope
from sniproxy.config.grammar import Node
from sniproxy.config.template import Template
from sniproxy.errors import ConfigError
from sniproxy.http.attempt import ERROR, INVALID, TIMEOUT
from sniproxy.http.proxy_rewrites import Flags, Rewrite, cookie_flags, cookie_pair, pair
from sniproxy.http.proxying import NON_IDEMPOTENT, STATUSES

_KINDS: Final = {
    "error": ERROR,
    "timeout": TIMEOUT,
    "invalid_header": INVALID,
    "non_idempotent": NON_IDEMPOTENT,
    "off": 0,
    **{f"http_{status}": kind for status, kind in STATUSES.items()},
}

_IGNORABLE: Final = (
    "X-Accel-Redirect", "X-Accel-Expires", "X-Accel-Limit-Rate", "X-Accel-Buffering", "X-Accel-Charset", "Expires",
    "Cache-Control", "Set-Cookie", "Vary",
)  # fmt: skip

DEFAULT: Final = "default"
"""C{proxy_redirect default}."""

NO_FILES: Final = "what the client has not taken is kept in memory alone, and the upstream waits"
"""Why answers have no temporary files."""


def _next_upstream(node: Node, build: Build, scope: Scope) -> int:
    found = values.some_of(_KINDS)(node, build, scope)
    kinds = 0
    for kind in found:
        kinds |= kind
    return 0 if 0 in found else kinds


def _buffers(node: Node, build: Build, scope: Scope) -> int:
    number, size = values.buffers(node, build, scope)
    if number < 2:
        raise ConfigError(f'there must be at least 2 "{node.name}"')
    return number * size


def _set_header(node: Node, build: Build, scope: Scope) -> tuple[str, Template]:
    name, value = node.args
    return name, build.template(value, node)


def _redirect(node: Node, build: Build, scope: Scope) -> Rewrite | str | None:
    if node.args == (DEFAULT,):
        if PROXY_PASS not in scope.nodes:
            raise ConfigError('"proxy_redirect default" should be placed after the "proxy_pass" directive')
        return DEFAULT
    return pair(node, build)


def _or_off(convert: Any) -> Any:
    """
    For what C{off} may stand for as well: then it stands alone.
    """

    def converted(node: Node, build: Build, scope: Scope) -> Any:
        value = convert(node, build, scope)
        before = next((found for directive, found in scope.values.items() if directive.name == node.name), ())
        if before and (value is None or None in before):
            raise ConfigError(f'"{node.name}" directive is duplicate')
        return value

    return converted


def _one(name: str, convert: Any, default: Any) -> Directive[Any]:
    return Directive(name, HTTP, (1, 1), convert, default)


def _many(name: str, convert: Any, arity: tuple[int, int] = (1, 1)) -> Directive[Any]:
    return Directive(name, HTTP, arity, convert, (), repeat=Repeat.LISTED)


def _without_effect(name: str, arity: tuple[int, int], convert: Any, why: str) -> Directive[Any]:
    return Directive(name, HTTP, arity, convert, None, ignored=why)


PROXY_PASS: Final[Directive[Template | None]] = Directive(
    "proxy_pass",
    ("http.server.location", IF_IN_LOCATION, LIMIT_EXCEPT),
    (1, 1),
    values.template(),
    None,
    Inherit.NEVER,
)
CONNECT_TIMEOUT: Final[Directive[float]] = _one("proxy_connect_timeout", values.time, 60.0)
SEND_TIMEOUT: Final[Directive[float]] = _one("proxy_send_timeout", values.time, 60.0)
READ_TIMEOUT: Final[Directive[float]] = _one("proxy_read_timeout", values.time, 60.0)
VERSION: Final[Directive[tuple[int, int]]] = _one(
    "proxy_http_version", values.one_of({"1.0": (1, 0), "1.1": (1, 1)}), (1, 1)
)
METHOD: Final[Directive[Template | None]] = _one("proxy_method", values.template(), None)
SET_HEADER: Final[Directive[tuple[tuple[str, Template], ...]]] = _many("proxy_set_header", _set_header, (2, 2))
SET_BODY: Final[Directive[Template | None]] = _one("proxy_set_body", values.template(), None)
PASS_HEADERS: Final[Directive[bool]] = _one("proxy_pass_request_headers", values.flag, True)
PASS_BODY: Final[Directive[bool]] = _one("proxy_pass_request_body", values.flag, True)
PASS_TRAILERS: Final[Directive[bool]] = _one("proxy_pass_trailers", values.flag, False)
REQUEST_BUFFERING: Final[Directive[bool]] = _one("proxy_request_buffering", values.flag, True)
BUFFERING: Final[Directive[bool]] = _one("proxy_buffering", values.flag, True)
BUFFER_SIZE: Final[Directive[int]] = _one("proxy_buffer_size", values.size, 4096)
BUFFERS: Final[Directive[int]] = Directive("proxy_buffers", HTTP, (2, 2), _buffers, 8 * 4096)
IGNORE_ABORT: Final[Directive[bool]] = _one("proxy_ignore_client_abort", values.flag, False)
INTERCEPT: Final[Directive[bool]] = _one("proxy_intercept_errors", values.flag, False)
NEXT_UPSTREAM: Final[Directive[int]] = Directive(
    "proxy_next_upstream", HTTP, (1, MANY), _next_upstream, ERROR | TIMEOUT
)
NEXT_TRIES: Final[Directive[int]] = _one("proxy_next_upstream_tries", values.number, 0)
NEXT_TIMEOUT: Final[Directive[float]] = _one("proxy_next_upstream_timeout", values.time, 0.0)
HIDE_HEADER: Final[Directive[tuple[str, ...]]] = _many("proxy_hide_header", values.text)
PASS_HEADER: Final[Directive[tuple[str, ...]]] = _many("proxy_pass_header", values.text)
IGNORE_HEADERS: Final[Directive[frozenset[str]]] = Directive(
    "proxy_ignore_headers",
    HTTP,
    (1, MANY),
    values.some_of({name.lower(): name for name in _IGNORABLE}),
    frozenset(),
)
REDIRECT: Final[Directive[tuple[Rewrite | str | None, ...]]] = _many("proxy_redirect", _or_off(_redirect), (1, 2))
COOKIE_DOMAIN: Final[Directive[tuple[Rewrite | None, ...]]] = _many(
    "proxy_cookie_domain", _or_off(cookie_pair(True)), (1, 2)
)
COOKIE_PATH: Final[Directive[tuple[Rewrite | None, ...]]] = _many(
    "proxy_cookie_path", _or_off(cookie_pair(False)), (1, 2)
)
COOKIE_FLAGS: Final[Directive[tuple[Flags | None, ...]]] = _many("proxy_cookie_flags", _or_off(cookie_flags), (1, 5))
SOCKET_KEEPALIVE: Final[Directive[bool]] = _one("proxy_socket_keepalive", values.flag, False)
SOCKET_RCVBUF: Final[Directive[int | None]] = _one("proxy_socket_rcvbuf", values.size, None)
SOCKET_SNDBUF: Final[Directive[int | None]] = _one("proxy_socket_sndbuf", values.size, None)

_WITHOUT: Final = (
    _without_effect("proxy_busy_buffers_size", (1, 1), values.size, NO_FILES),
    _without_effect("proxy_max_temp_file_size", (1, 1), values.offset, NO_FILES),
    _without_effect("proxy_temp_file_write_size", (1, 1), values.size, NO_FILES),
    _without_effect("proxy_temp_path", (1, 4), values.words, NO_FILES),
    _without_effect("proxy_headers_hash_max_size", (1, 1), values.number, "tables have the size they need"),
    _without_effect("proxy_headers_hash_bucket_size", (1, 1), values.number, "tables have the size they need"),
    _without_effect("proxy_send_lowat", (1, 1), values.size, "Linux ignores it, and so does nginx there"),
)

DIRECTIVES: Final[tuple[Directive[Any], ...]] = (
    PROXY_PASS, CONNECT_TIMEOUT, SEND_TIMEOUT, READ_TIMEOUT, VERSION, METHOD, SET_HEADER, SET_BODY, PASS_HEADERS,
    PASS_BODY, PASS_TRAILERS, REQUEST_BUFFERING, BUFFERING, BUFFER_SIZE, BUFFERS, IGNORE_ABORT, INTERCEPT,
    NEXT_UPSTREAM, NEXT_TRIES, NEXT_TIMEOUT, HIDE_HEADER, PASS_HEADER, IGNORE_HEADERS, REDIRECT, COOKIE_DOMAIN,
    COOKIE_PATH, COOKIE_FLAGS, SOCKET_KEEPALIVE, SOCKET_RCVBUF, SOCKET_SNDBUF, *_WITHOUT,
)  # fmt: skip
