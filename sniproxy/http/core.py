"""
ngx_http_core_module: C{http}, C{server}, C{location}, and what they say of requests in general; and how the blocks
become servers and places.
"""

from __future__ import annotations

import os
from typing import Any, Final

from twisted.plugin import IPlugin
from zope.interface import implementer

from sniproxy.addresses import Address
from sniproxy.common.listen import LISTEN, SERVER_NAME, TCP_NODELAY, join, judge_names
from sniproxy.common.listening import Listen, ListenOptions
from sniproxy.common.proxy_protocol import proxy_protocol
from sniproxy.common.ssl import ssl
from sniproxy.common.ssl_settings import VERIFY_CLIENT
from sniproxy.config import values
from sniproxy.config.build import Build
from sniproxy.config.directives import MANY, Directive, Inherit, Repeat, Scope
from sniproxy.config.grammar import Node
from sniproxy.config.regex import NESTED, Regex
from sniproxy.config.template import Variable
from sniproxy.errors import ConfigError
from sniproxy.http.limits import Limits
from sniproxy.http.place import Place
from sniproxy.http.server import HttpServer
from sniproxy.http.variables import VARIABLES
from sniproxy.http.versions import content, protocols_of
from sniproxy.interfaces import IModule
from sniproxy.logs.error_log import error_log_of
from sniproxy.wire.http1 import Limits as HeadLimits

_SERVERS: Final = ("http", "http.server")
_PLACES: Final = ("http", "http.server", "http.server.location")
_EVERYWHERE: Final = (*_PLACES, "http.server.location.if")

LOCATION_CONTEXT: Final = "http.server.location"
EXCEPT_CONTEXT: Final = "http.server.location.limit_except"
IFS: Final = ("http.server.if", "http.server.location.if")


def _keepalive(node: Node, build: Build, scope: Scope) -> tuple[float, int]:
    seconds = values.time_of(node.args[0])
    told = values.time_of(node.args[1], seconds=True) if len(node.args) > 1 else 0
    if seconds is None or told is None:
        raise ConfigError(f'"{node.name}" directive invalid value')
    return seconds, int(told)


def _folder(node: Node, build: Build, scope: Scope) -> str:
    """
    A folder; how deep those in it are is checked, and of no use where files have no names.
    """
    if not all(values.number_of(word) for word in node.args[1:]):
        raise ConfigError(f'"{node.name}" directive invalid value')
    return values.prefixed_path(node, build, scope)


HTTP: Final = Directive[Any]("http", ("main",), (0, 0), values.block, None, opens="http")
SERVER: Final = Directive[tuple[Scope, ...]](
    "server", ("http",), (0, 0), values.block, (), Inherit.NEVER, Repeat.LISTED, opens="http.server"
)
LOCATION: Final = Directive[tuple[Scope, ...]](
    "location",
    ("http.server", LOCATION_CONTEXT),
    (1, 2),
    values.block,
    (),
    Inherit.NEVER,
    Repeat.LISTED,
    opens=LOCATION_CONTEXT,
)
LIMIT_EXCEPT: Final = Directive[Any](
    "limit_except", (LOCATION_CONTEXT,), (1, MANY), values.block, None, Inherit.NEVER, opens=EXCEPT_CONTEXT
)
HEADER_TIMEOUT: Final = Directive("client_header_timeout", _SERVERS, (1, 1), values.time, 60.0)
HEADER_BUFFER: Final = Directive("client_header_buffer_size", _SERVERS, (1, 1), values.size, 1024)
LARGE_BUFFERS: Final = Directive("large_client_header_buffers", _SERVERS, (2, 2), values.buffers, (4, 8192))
MAX_HEADERS: Final = Directive("max_headers", _SERVERS, (1, 1), values.number, 1000)
UNDERSCORES: Final = Directive("underscores_in_headers", _SERVERS, (1, 1), values.flag, False)
IGNORE_INVALID: Final = Directive("ignore_invalid_headers", _SERVERS, (1, 1), values.flag, True)
MERGE_SLASHES: Final = Directive("merge_slashes", _SERVERS, (1, 1), values.flag, True)
BODY_TIMEOUT: Final = Directive("client_body_timeout", _PLACES, (1, 1), values.time, 60.0)
BODY_SIZE: Final = Directive("client_max_body_size", _PLACES, (1, 1), values.size, 1 << 20)
BODY_BUFFER: Final = Directive("client_body_buffer_size", _PLACES, (1, 1), values.size, 16384)
BODY_FOLDER: Final = Directive[str](
    "client_body_temp_path", _PLACES, (1, 4), _folder, "", Inherit.VALUE, Repeat.REFUSED
)
SEND_TIMEOUT: Final = Directive("send_timeout", _PLACES, (1, 1), values.time, 60.0)
KEEPALIVE_TIMEOUT: Final = Directive("keepalive_timeout", _PLACES, (1, 2), _keepalive, (75.0, 0))
KEEPALIVE_REQUESTS: Final = Directive("keepalive_requests", _PLACES, (1, 1), values.number, 1000)
KEEPALIVE_TIME: Final = Directive("keepalive_time", _PLACES, (1, 1), values.time, 3600.0)
LINGERING_CLOSE: Final = Directive(
    "lingering_close", _PLACES, (1, 1), values.one_of({word: word for word in ("on", "off", "always")}), "on"
)
LINGERING_TIME: Final = Directive("lingering_time", _PLACES, (1, 1), values.time, 30.0)
LINGERING_TIMEOUT: Final = Directive("lingering_timeout", _PLACES, (1, 1), values.time, 5.0)
RESET_TIMEDOUT: Final = Directive("reset_timedout_connection", _PLACES, (1, 1), values.flag, False)
SERVER_TOKENS: Final = Directive(
    "server_tokens", _PLACES, (1, 1), values.one_of({word: word for word in ("on", "off", "build")}), "on"
)
SATISFY: Final = Directive("satisfy", _PLACES, (1, 1), values.one_of({"all": False, "any": True}), False)
INTERNAL: Final = Directive("internal", (LOCATION_CONTEXT,), (0, 0), values.present, False, Inherit.NEVER)
CHUNKED: Final = Directive("chunked_transfer_encoding", _PLACES, (1, 1), values.flag, True)
MSIE_PADDING: Final = Directive("msie_padding", _PLACES, (1, 1), values.flag, True)
ABSOLUTE_REDIRECT: Final = Directive("absolute_redirect", _PLACES, (1, 1), values.flag, True)
NAME_IN_REDIRECT: Final = Directive("server_name_in_redirect", _PLACES, (1, 1), values.flag, False)
PORT_IN_REDIRECT: Final = Directive("port_in_redirect", _PLACES, (1, 1), values.flag, True)
HTTP2: Final = Directive("http2", _SERVERS, (1, 1), values.flag, False)

DIRECTIVES: Final[tuple[Directive[Any], ...]] = (
    HTTP, SERVER, LOCATION, LIMIT_EXCEPT, HEADER_TIMEOUT, HEADER_BUFFER, LARGE_BUFFERS, MAX_HEADERS, UNDERSCORES,
    IGNORE_INVALID, MERGE_SLASHES, BODY_TIMEOUT, BODY_SIZE, BODY_BUFFER, BODY_FOLDER, SEND_TIMEOUT, KEEPALIVE_TIMEOUT,
    KEEPALIVE_REQUESTS, KEEPALIVE_TIME, LINGERING_CLOSE, LINGERING_TIME, LINGERING_TIMEOUT, RESET_TIMEDOUT,
    SERVER_TOKENS, SATISFY, INTERNAL, CHUNKED, MSIE_PADDING, ABSOLUTE_REDIRECT, NAME_IN_REDIRECT, PORT_IN_REDIRECT,
    HTTP2,
)  # fmt: skip


def limits_of(scope: Scope) -> Limits:
    """
    What one block says of its requests.
    """
    count, size = scope[LARGE_BUFFERS]
    seconds, told = scope[KEEPALIVE_TIMEOUT]
    return Limits(
        head=HeadLimits(size, size, count, scope[MAX_HEADERS]),
        header_timeout=scope[HEADER_TIMEOUT],
        body_timeout=scope[BODY_TIMEOUT],
        send_timeout=scope[SEND_TIMEOUT],
        keepalive_timeout=seconds,
        keepalive_header=told,
        keepalive_requests=scope[KEEPALIVE_REQUESTS],
        keepalive_time=scope[KEEPALIVE_TIME],
        lingering=scope[LINGERING_CLOSE],
        lingering_time=scope[LINGERING_TIME],
        lingering_timeout=scope[LINGERING_TIMEOUT],
        body_size=scope[BODY_SIZE],
        body_buffer=scope[BODY_BUFFER],
        body_folder=scope[BODY_FOLDER],
        server_tokens=scope[SERVER_TOKENS],
        satisfy_any=scope[SATISFY],
        internal=scope.context == LOCATION_CONTEXT and scope[INTERNAL],
        underscores=scope[UNDERSCORES],
        ignore_invalid=scope[IGNORE_INVALID],
        merge_slashes=scope[MERGE_SLASHES],
        chunked=scope[CHUNKED],
        msie_padding=scope[MSIE_PADDING],
        absolute_redirect=scope[ABSOLUTE_REDIRECT],
        server_name_in_redirect=scope[NAME_IN_REDIRECT],
        port_in_redirect=scope[PORT_IN_REDIRECT],
        reset_timedout=scope[RESET_TIMEDOUT],
    )


@implementer(IPlugin, IModule)
class Core:
    """
    The module; see L{assemble} for what it makes.
    """

    name = "http_core"
    directives = DIRECTIVES
    variables = VARIABLES

    def prepare(self, build: Build) -> None:
        """
        @see: L{IModule.prepare}
        """

    def attach(self, server: Any, build: Build) -> None:
        """
        @see: L{IModule.attach}
        """


http_core = Core()


def places(build: Build) -> dict[Scope, Place]:
    """
    The place of each block that has one: servers, locations, C{if} and C{limit_except}.
    """
    found: dict[Scope, Place] = build.shared.setdefault(Place, {})
    return found


def assemble(build: Build) -> None:
    """
    Make the servers and their places, find out which address belongs to whom, and then let every module attach what it
    does in them.
    """
    build.kind = "http"
    servers = [_server(build, scope) for http in build.root.inside("http") for scope in http.inside("http.server")]
    for server in servers:
        build.rest()
        ssl.attach(server, build)
        proxy_protocol.attach(server, build)
        server.verify = server.scope[VERIFY_CLIENT]
    for scope, place in places(build).items():
        build.rest()
        for module in build.modules:
            attach = getattr(module, "attach_place", None)
            if attach is not None:
                try:
                    attach(place, build)
                except ConfigError as error:
                    build.error(error, scope.node)
    for place in places(build).values():
        if place.around is not None and place.content is None:
            place.content = place.around.content
    judge_names(build)
    build.kind = "stream"


def _server(build: Build, scope: Scope) -> HttpServer:
    build.rest()
    server = HttpServer(scope, error_log_of(build, scope), scope[TCP_NODELAY], limits_of(scope))
    server.content = content
    listens = [listen for found in scope[LISTEN] for listen in found]
    if LISTEN not in scope.nodes:
        assert scope.node is not None
        port = 80 if os.geteuid() == 0 else 8000
        listens = [Listen(Address("inet", "0.0.0.0", port), False, False, ListenOptions(), scope.node)]
    server.http2 = scope[HTTP2] or any(listen.http2 for listen in listens)
    server.alpn = protocols_of(server)
    server.opening_timeout = scope[HEADER_TIMEOUT]
    join(build, server, listens)
    if SERVER_NAME not in scope.nodes:
        server.names = ("",)
    places(build)[scope] = server.place
    _inside(build, server, server.place)
    return server


def _inside(build: Build, server: HttpServer, outer: Place) -> None:
    """
    Make the places inside of one.
    """
    for scope in outer.scope.children:
        if scope.context == LOCATION_CONTEXT:
            place = _location(build, server, outer, scope)
            if place is None:
                continue
        elif scope.context in IFS or scope.context == EXCEPT_CONTEXT:
            place = Place(scope, server, error_log_of(build, scope), limits_of(scope))
            place.around = outer
            place.name, place.exact = outer.name, outer.exact
            if scope.context == EXCEPT_CONTEXT:
                assert scope.node is not None
                outer.excepted = _allowed(build, scope.node), place
        else:
            continue
        places(build)[scope] = place
        _inside(build, server, place)


METHODS: Final = frozenset(
    "GET HEAD POST PUT DELETE MKCOL COPY MOVE OPTIONS PROPFIND PROPPATCH LOCK UNLOCK PATCH".split()
)
"""What C{limit_except} knows."""


def _allowed(build: Build, node: Node) -> frozenset[str]:
    """
    The methods that C{limit_except} lets through; with C{GET} goes C{HEAD}.
    """
    named = {word.upper() for word in node.args}
    for word in node.args:
        if word.upper() not in METHODS:
            build.error(f'invalid method "{word}"', node)
    return frozenset(named | {"HEAD"} if "GET" in named else named)


def _modifier(node: Node) -> tuple[str, str]:
    """
    @return: what stands before the name of a location, and the name.
    @raise ConfigError: C{invalid location modifier}.
    """
    if len(node.args) == 2:
        mark, name = node.args
        if mark not in ("=", "^~", "~", "~*"):
            raise ConfigError(f'invalid location modifier "{mark}"')
        return mark, name
    name = node.args[0]
    for mark in ("=", "^~", "~*", "~"):
        if name.startswith(mark):
            return mark, name[len(mark) :]
    return "", name


def _location(build: Build, server: HttpServer, outer: Place, scope: Scope) -> Place | None:
    node = scope.node
    assert node is not None
    place = Place(scope, server, error_log_of(build, scope), limits_of(scope))
    try:
        mark, place.name = _modifier(node)
        if mark in ("~", "~*"):
            place.regex = _regex(build, node, place.name, mark == "~*")
        place.exact = mark == "="
        place.final = mark == "^~"
        named = not mark and place.name.startswith("@")
        if outer is not server.place:
            _check_inside(outer, place, named)
    except ConfigError as error:
        build.error(error, node)
        return None
    if named:
        known = place.name in server.named
        server.named[place.name] = place
        sound = not known
    else:
        sound = outer.inside.add(place)
    if not sound:
        build.error(f'duplicate location "{place.name}"', node)
        return None
    return place


def _regex(build: Build, node: Node, text: str, caseless: bool) -> Regex:
    """
    @raise ConfigError: it is none.
    """
    regex = Regex(text, caseless=caseless)
    if regex.nested:
        build.warn(NESTED.format(regex.text), node)
    for name in regex.names:
        build.define(Variable(name, lambda request, name=name: request.values.get(name)), node)
    return regex


def _check_inside(outer: Place, place: Place, named: bool) -> None:
    """
    @raise ConfigError: one location cannot be inside the other.
    """
    if outer.exact:
        raise ConfigError(f'location "{place.name}" cannot be inside the exact location "{outer.name}"')
    if outer.name.startswith("@") and outer.regex is None:
        raise ConfigError(f'location "{place.name}" cannot be inside the named location "{outer.name}"')
    if named:
        raise ConfigError(f'named location "{place.name}" can be on the server level only')
    if place.regex is None and not place.name.startswith(outer.name):  # of an expression, too, as it is written
        raise ConfigError(f'location "{place.name}" is outside location "{outer.name}"')
