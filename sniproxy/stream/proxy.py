"""
ngx_stream_proxy_module: C{proxy_pass} and how a session is passed on. The directives, and what they come to for one
server.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Final

from twisted.plugin import IPlugin
from zope.interface import implementer

from sniproxy.addresses import Address
from sniproxy.common import proxy_ssl
from sniproxy.common.proxy_bind import BIND, Local
from sniproxy.common.resolver import ResolverSettings, resolver
from sniproxy.common.server import Server
from sniproxy.common.session import Session
from sniproxy.common.upstream import Upstream, groups, implicit, literal
from sniproxy.config import values
from sniproxy.config.build import Build
from sniproxy.config.directives import Directive, Inherit, Scope
from sniproxy.config.grammar import Node
from sniproxy.config.places import upstream_place
from sniproxy.config.template import Template
from sniproxy.errors import ConfigError
from sniproxy.interfaces import IModule
from sniproxy.net.connect import DEFAULT, ConnectOptions
from sniproxy.net.datagram_relay import DatagramOptions
from sniproxy.net.relay import Options
from sniproxy.stream import proxy_rates
from sniproxy.stream.proxy_protocol_out import OFF, WRITERS
from sniproxy.stream.proxying import Proxying
from sniproxy.stream.proxying_datagrams import DatagramProxying

_PLACES: Final = ("stream", "stream.server")

DATAGRAMS: Final = ConnectOptions(datagrams=True)

LITERALS: Final = 1024
"""How many addresses that variables name are remembered."""


def _buffer(node: Node, build: Build, scope: Scope) -> int:
    """
    A size that has one name and two obsolete ones.
    """
    names = (BUFFER_SIZE, DOWNSTREAM_BUFFER, UPSTREAM_BUFFER)
    if sum(len(scope.nodes.get(directive, ())) for directive in names) > 1:
        raise ConfigError(f'"{node.name}" directive is duplicate')
    if node.name != BUFFER_SIZE.name:
        build.warn(f'the "{node.name}" directive is deprecated, use the "{BUFFER_SIZE.name}" directive instead', node)
    return values.size(node, build, scope)


PROXY_PASS: Final[Directive[Template | None]] = Directive(
    "proxy_pass", ("stream.server",), (1, 1), values.template(), None, Inherit.NEVER
)
CONNECT_TIMEOUT: Final = Directive("proxy_connect_timeout", _PLACES, (1, 1), values.time, 60.0)
TIMEOUT: Final = Directive("proxy_timeout", _PLACES, (1, 1), values.time, 600.0)
BUFFER_SIZE: Final = Directive("proxy_buffer_size", _PLACES, (1, 1), _buffer, 16384)
DOWNSTREAM_BUFFER: Final = Directive("proxy_downstream_buffer", _PLACES, (1, 1), _buffer, 16384)
UPSTREAM_BUFFER: Final = Directive("proxy_upstream_buffer", _PLACES, (1, 1), _buffer, 16384)
NEXT_UPSTREAM: Final = Directive("proxy_next_upstream", _PLACES, (1, 1), values.flag, True)
NEXT_TRIES: Final = Directive("proxy_next_upstream_tries", _PLACES, (1, 1), values.number, 0)
NEXT_TIMEOUT: Final = Directive("proxy_next_upstream_timeout", _PLACES, (1, 1), values.time, 0.0)
HALF_CLOSE: Final = Directive("proxy_half_close", _PLACES, (1, 1), values.flag, False)
KEEPALIVE: Final = Directive("proxy_socket_keepalive", _PLACES, (1, 1), values.flag, False)
PROXY_PROTOCOL: Final = Directive(
    "proxy_protocol", _PLACES, (1, 1), values.one_of({word: word for word in WRITERS}), OFF
)
RCVBUF: Final[Directive[int | None]] = Directive("proxy_socket_rcvbuf", _PLACES, (1, 1), values.size, None)
REQUESTS: Final = Directive("proxy_requests", _PLACES, (1, 1), values.number, 0)
RESPONSES: Final[Directive[int | None]] = Directive("proxy_responses", _PLACES, (1, 1), values.number, None)
SNDBUF: Final[Directive[int | None]] = Directive("proxy_socket_sndbuf", _PLACES, (1, 1), values.size, None)


@dataclass(frozen=True, slots=True)
class ProxyPolicy:
    """
    What one server says about passing on.

    @ivar upstream: where to, when the configuration says it; else None and C{target} says it for each session.
    @ivar host: the name in C{proxy_pass}, for certificates, where C{upstream} is known.
    @ivar groups: the upstreams a variable may name, see L{_reachable}.
    @ivar resolver: for names that variables give; None where there is none.
    @ivar tls: None where upstreams are spoken to in plain.
    @ivar header: makes the PROXY header that comes before anything else; None where there is none.
    @ivar local: which address of ours connections come from; None for any.
    @ivar rates: how fast sessions may be; None for any speed.
    @ivar datagrams: how datagrams are relayed, where it is they that come.
    @ivar connect_datagrams: C{connect} for them.
    @ivar connect_after: C{connect} for sessions whose client has said something already that will go on.
    @ivar literals: upstreams of one address that variables have named, each with its host; at most L{LITERALS}.
    """

    target: Template
    upstream: Upstream | None
    host: str
    groups: dict[str, Upstream]
    resolver: ResolverSettings | None
    tls: proxy_ssl.UpstreamTls | None
    connect_timeout: float
    relay: Options
    connect: ConnectOptions
    next_upstream: bool
    next_tries: int
    next_timeout: float
    header: Callable[[Session], bytes] | None = None
    local: Local | None = None
    rates: proxy_rates.Rates | None = None
    datagrams: DatagramOptions = field(default_factory=DatagramOptions)
    connect_datagrams: ConnectOptions = DATAGRAMS
    connect_after: ConnectOptions = DEFAULT
    literals: dict[str, tuple[Upstream, str]] = field(default_factory=dict)

    def literal(self, text: str, address: Address, host: str) -> Upstream:
        """
        The upstream that is one address. It is made once, for most variables have few values, and shares nothing that
        counts between sessions: a lone peer is never put aside.

        @param text: what a variable said.
        @param host: the address in it.
        """
        if len(self.literals) >= LITERALS:
            self.literals.clear()
        upstream = literal([address], text)
        self.literals[text] = upstream, host
        return upstream

    def __call__(self, session: Session) -> None:
        """
        @see: L{sniproxy.interfaces.IContentHandler}
        """
        if session.listening.udp:
            DatagramProxying(session, self).begin()
        else:
            Proxying(session, self).begin()


def _static(target: Template, node: Node, build: Build) -> tuple[Upstream | None, str]:
    """
    The upstream of a C{proxy_pass} without variables, and its name.
    """
    text = target.constant
    if text is None:
        return None, ""
    known = _reachable(build)
    group = known.get(text.lower())
    if group is not None and ":" not in text:
        return group, text
    place = upstream_place(text, need_port=False)
    if place.family == "unix":
        return literal([Address("unix", place.host)], place.text), place.host
    made = implicit(build, place.host, place.port, node)
    if place.family is None:
        known[f"{place.host}:{place.port}".lower()] = made
    return made, place.host


def _reachable(build: Build) -> dict[str, Upstream]:
    """
    The upstreams that C{proxy_pass} can name, by what it says in lower case: groups, but for those that are called as
    if they had a port, since that is never part of a group's name; and, for variables, each C{host:port} that another
    C{proxy_pass} has written down.
    """
    known: dict[str, Upstream] | None = build.shared.get(_reachable)
    if known is None:
        known = {name: group for name, group in groups(build).items() if ":" not in name}
        build.shared[_reachable] = known
    return known


def _check_tls(scope: Scope, build: Build) -> None:
    """
    The C{proxy_ssl} of a server that passes nothing on: what is wrong is told nevertheless, once for all servers that
    have it from the same lines.
    """
    if not scope[proxy_ssl.PROXY_SSL]:
        return
    checked: set[tuple[int, ...]] = build.shared.setdefault(_check_tls, set())
    lines = tuple(id(scope.where(directive)) for directive in proxy_ssl.DIRECTIVES)
    if lines not in checked:
        checked.add(lines)
        try:
            proxy_ssl.upstream_tls(scope, build)
        except ConfigError as error:
            build.error(error, scope.where(proxy_ssl.PROXY_SSL))


def _buffer_size(scope: Scope) -> int:
    """
    The nearest of C{proxy_buffer_size} and its two obsolete names. Never nothing: that would look like the end.
    """
    at: Scope | None = scope
    while at is not None:
        for name in (BUFFER_SIZE, DOWNSTREAM_BUFFER, UPSTREAM_BUFFER):
            if at.has(name):
                return max(at[name], 1)
        at = at.parent
    return BUFFER_SIZE.default


@implementer(IPlugin, IModule)
class Proxy:
    """
    The module.
    """

    name = "stream_proxy"
    directives: tuple[Directive[Any], ...] = (
        PROXY_PASS, CONNECT_TIMEOUT, TIMEOUT, BUFFER_SIZE, DOWNSTREAM_BUFFER, UPSTREAM_BUFFER, NEXT_UPSTREAM,
        NEXT_TRIES, NEXT_TIMEOUT, HALF_CLOSE, KEEPALIVE, RCVBUF, SNDBUF, PROXY_PROTOCOL, *proxy_ssl.DIRECTIVES,
        BIND, *proxy_rates.DIRECTIVES, REQUESTS, RESPONSES,
    )  # fmt: skip
    variables = ()

    def prepare(self, build: Build) -> None:
        """
        @see: L{IModule.prepare}
        """

    def attach(self, server: Server, build: Build) -> None:
        """
        @see: L{IModule.attach}
        """
        scope = server.scope
        target = scope[PROXY_PASS]
        node = scope.where(PROXY_PASS)
        if target is None or node is None:
            _check_tls(scope, build)
            return
        try:
            upstream, host = _static(target, node, build)
        except ConfigError as error:
            build.error(error, node)
            return
        try:
            tls = proxy_ssl.upstream_tls(scope, build)
        except ConfigError as error:
            build.error(error, scope.where(proxy_ssl.PROXY_SSL) or node)
            return
        if tls is not None and any(listening.udp for listening in server.listenings):
            build.warn('"proxy_ssl" has no effect on datagrams, which are sent in the clear', node)
        if tls is not None:
            for warning in tls.context.warnings:
                build.warn(warning, scope.where(proxy_ssl.PROXY_SSL))
        connect = ConnectOptions(
            nodelay=server.tcp_nodelay,
            keepalive=scope[KEEPALIVE],
            receive_buffer=scope[RCVBUF],
            send_buffer=scope[SNDBUF],
            speaks_first=tls is not None or scope[PROXY_PROTOCOL] != OFF,
        )
        policy = ProxyPolicy(
            target=target,
            upstream=upstream,
            host=host,
            groups=_reachable(build),
            resolver=resolver(scope),
            tls=tls,
            connect_timeout=scope[CONNECT_TIMEOUT],
            relay=Options(_buffer_size(scope), scope[HALF_CLOSE], scope[TIMEOUT]),
            connect=connect,
            next_upstream=scope[NEXT_UPSTREAM],
            next_tries=scope[NEXT_TRIES],
            next_timeout=scope[NEXT_TIMEOUT],
            local=scope[BIND],
            rates=proxy_rates.rates_of(scope),
            header=WRITERS[scope[PROXY_PROTOCOL]],
            datagrams=DatagramOptions(scope[REQUESTS], scope[RESPONSES], scope[TIMEOUT]),
            connect_datagrams=replace(connect, datagrams=True, speaks_first=False),
            connect_after=replace(connect, speaks_first=True),
        )
        server.take_content(policy, node)


proxy = Proxy()
