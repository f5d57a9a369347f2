"""
Groups of peers: C{upstream} and its C{server}s, and the groups nobody wrote down (nginx's ngx_stream_upstream_module
and ngx_http_upstream_module).

Strategy: a group is made once for a configuration, when the whole file has been read, and is shared by all that pass to
it: its peers keep what is known of them until the next reload. Groups of C{stream} and of C{http} know nothing of each
other, whatever their names are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from twisted.plugin import IPlugin
from zope.interface import implementer

from sniproxy.addresses import Address, numeric
from sniproxy.balancing.choice import Balancer, Clock, Disabled
from sniproxy.balancing.peers import Group, Peer
from sniproxy.balancing.roster import Member
from sniproxy.balancing.round_robin import RoundRobin
from sniproxy.common.contexts import HTTP_UPSTREAM, KINDS, UPSTREAMS
from sniproxy.common.keepalive import DEFAULT, Keepalive, keepalive_of
from sniproxy.common.listen import HTTP_PORT, kind_of
from sniproxy.common.upstream_variables import VARIABLES
from sniproxy.config.build import Build
from sniproxy.config.directives import MANY, Directive, Inherit, Repeat, Scope
from sniproxy.config.grammar import Node
from sniproxy.config.known import SOLD
from sniproxy.config.places import upstream_addresses, upstream_place
from sniproxy.config.values import block, number_of, time_of
from sniproxy.errors import ConfigError
from sniproxy.interfaces import IModule
from sniproxy.levels import WARN

Method = Callable[[Group, Clock, Disabled], Balancer]
"""A way of balancing: L{RoundRobin}, or what a directive inside C{upstream} chose."""

Adopt = Callable[[tuple[Peer, ...], tuple[Peer, ...]], tuple[Peer, ...]]

SLOW_START: Final = "a server that comes back has its whole weight at once"
"""Why there is no C{slow_start}."""

STICKY: Final = "sessions are not sticky yet"
"""Why there is no C{route=} and no C{drain}."""


class Upstream:
    """
    Where sessions may be passed to: peers and a way of balancing. Holds nothing that must be closed.

    @ivar name: for logs: the group's name, or the host's.
    @ivar peers: all of them, in file order; those whose addresses were found at run time come last.
    @ivar lines: the C{server}s it was made of, where it was written down.
    @ivar scope: its block, likewise.
    @ivar adopt: makes peers such that other workers know of them, too: given those before and those from now on; None
        where nobody else does.
    @ivar keepalive: which connections to it are kept; None where there are no requests, and for a group of one session.
    """

    __slots__ = ("_balancer", "adopt", "keepalive", "lines", "name", "peers", "scope")

    def __init__(
        self,
        name: str,
        peers: Iterable[Peer],
        method: Method = RoundRobin,
        lines: tuple[Line, ...] = (),
        scope: Scope | None = None,
        keepalive: Keepalive | None = None,
    ) -> None:
        self.name = name
        self.peers = tuple(peers)
        self.lines = lines
        self.scope = scope
        self.adopt: Adopt | None = None
        self.keepalive = keepalive
        self._balancer = method(Group.of(name, self.peers), _now, _disabled)

    @property
    def group(self) -> Group:
        """
        The peers, as sessions have them that begin now.
        """
        return self._balancer.group

    def renew(self, peers: tuple[Peer, ...]) -> None:
        """
        From now on it has these. Sessions under way go on with those they began with.
        """
        self.peers = peers if self.adopt is None else self.adopt(self.peers, peers)
        self._balancer.renew(Group.of(self.name, self.peers))

    def balancer(self) -> Balancer:
        """
        Who chooses among the peers.
        """
        return self._balancer

    def begin(self, subject: Any) -> Any:
        """
        @return: L{sniproxy.interfaces.IChoice}: the way of one session, or one request, through the peers.
        """
        return self._balancer.begin(subject)


def _now(subject: Any) -> float:
    now: float = subject.clock.now()
    return now


def _disabled(subject: Any, peer: Peer) -> None:
    subject.log(WARN, "upstream server temporarily disabled")


# What others ask of this module.


def groups(build: Build, kind: str = "stream") -> dict[str, Upstream]:
    """
    The groups of a configuration by their names in lower case; to be asked only when the whole file has been read.

    @param kind: C{"stream"} or C{"http"}: whose groups.
    """
    known: dict[str, Upstream] | None = build.shared.get((groups, kind))
    if known is None:
        known = build.shared[groups, kind] = {}
        for around in build.root.inside(kind):
            for scope in around.inside(f"{kind}.upstream"):
                _add_group(known, scope, build)
    return known


def implicit(build: Build, host: str, port: int | None, node: Node, kind: str = "stream") -> Upstream:
    """
    The group that C{proxy_pass host:port} means: all addresses of the host, in turn. Made once for each host and port.

    What is wrong is an error of the build; then the group has no peers.

    @param host: a name, or a numeric address with or without brackets.
    @param node: the directive that names it.
    @param kind: C{"stream"} or C{"http"}.
    """
    key = (implicit, kind, host.lower(), port)
    known: Upstream | None = build.shared.get(key)
    if known is not None:
        return known
    addresses: tuple[Address, ...] = ()
    if port is None:
        build.error(f'no port in upstream "{f"[{host}]" if ":" in host else host}"', node)
    elif host.lower() in groups(build, kind):
        build.error(f'upstream "{host}" may not have port {port}', node)
    elif (address := numeric(host, port)) is not None:
        addresses = (address,)
    else:
        try:
            found = build.lookup(host)
        except OSError:
            found = ()
        addresses = tuple(address for one in found if (address := numeric(one, port)) is not None)
        if not addresses:
            build.error(f'host not found in upstream "{host}"', node)
    name = host if port is None else f"{host}:{port}"
    peers = [Peer(address, name) for address in addresses]
    made = build.shared[key] = Upstream(host, peers, keepalive=DEFAULT if kind == "http" else None)
    return made


def literal(addresses: Sequence[Address], name: str = "") -> Upstream:
    """
    A group for one session: addresses that a variable or the resolver gave.

    @param name: the host they are of; the first address where empty.
    """
    text = name or addresses[0].text
    return Upstream(text, [Peer(address, text) for address in addresses])


@dataclass(frozen=True, slots=True)
class Balancing:
    """
    How one C{upstream} block is balanced.

    @ivar backups: whether the C{server}s that follow may be C{backup}.
    """

    method: Method = RoundRobin
    backups: bool = True


def balance_with(build: Build, scope: Scope, method: Method, node: Node, *, backups: bool = True) -> None:
    """
    For the converters of directives such as C{least_conn}: choose how one C{upstream} block is balanced.

    @param backups: whether C{server}s that follow may be C{backup}; those before may in any case, as in nginx.
    """
    key = (Balancing, scope)
    if key in build.shared:
        build.warn("load balancing method redefined", node)
    build.shared[key] = Balancing(method, backups)


def _balancing(build: Build, scope: Scope) -> Balancing:
    """
    What the block has said so far.
    """
    found: Balancing = build.shared.get((Balancing, scope), Balancing())
    return found


def _add_group(known: dict[str, Upstream], scope: Scope, build: Build) -> None:
    node = scope.node
    assert node is not None
    name = node.args[0]
    if name.lower() in known:
        build.error(f'duplicate upstream "{name}"', node)
        return
    if SERVER not in scope.nodes:
        build.error(ConfigError("no servers are inside upstream", node.file, node.end))
    lines = scope[SERVER]
    peers = [peer for line in lines for peer in line.peers()]
    kept = keepalive_of(scope) if scope.context == HTTP_UPSTREAM else None
    known[name.lower()] = Upstream(name, peers, _balancing(build, scope).method, lines, scope, kept)
    if lines and all(line.backup for line in lines):
        build.error(f'no servers in upstream "{name}"', node)


# The directives.


@dataclass(frozen=True, slots=True)
class Line:
    """
    One C{server} of a group.

    @ivar text: its address as it is written.
    @ivar addresses: what that meant at start-up; each becomes a peer.
    @ivar host: with C{resolve}, the name that is asked for again and again while the program runs; else empty.
    @ivar port: the port there.
    @ivar service: what the name is asked for, with C{service=}; else empty.
    """

    text: str
    addresses: tuple[Address, ...]
    weight: int = 1
    max_conns: int = 0
    max_fails: int = 1
    fail_timeout: float = 10.0
    backup: bool = False
    down: bool = False
    host: str = ""
    port: int = 0
    service: str = ""

    def peers(self) -> list[Peer]:
        """
        New peers, of which nothing is known.
        """
        return [self.peer(Member(address, self.text, self.weight, self.backup)) for address in self.addresses]

    def peer(self, member: Member) -> Peer:
        """
        A new peer of this line.
        """
        return Peer(
            member.address,
            member.server,
            member.weight,
            self.max_conns,
            self.max_fails,
            self.fail_timeout,
            member.backup,
            self.down,
        )


def _line(node: Node, build: Build, scope: Scope) -> Line:
    settings: dict[str, Any] = {}
    resolve = False
    for word in node.args[1:]:
        if kind_of(scope) == "http" and word.split("=")[0] in ("route", "drain"):
            raise ConfigError(f'"{word.split("=")[0]}" parameter is not supported by sniproxy: {STICKY}')
        if word == "backup" and not _balancing(build, scope).backups:
            raise ConfigError(f'balancing method does not support parameter "{word}"')
        if word in ("backup", "down"):
            settings[word] = True
        elif word == "resolve":
            resolve = True
        else:
            name, value = _parameter(word)
            settings[name] = value
    text = node.args[0]
    service = settings.get("service")
    port = HTTP_PORT if kind_of(scope) == "http" else None
    place = upstream_place(text, need_port=resolve and service is None and port is None)
    if service is not None:
        if not resolve:
            raise ConfigError(f'service upstream "{text}" requires "resolve" parameter')
        if place.ports:
            raise ConfigError(f'service upstream "{text}" may not have port')
        if place.family is not None:
            raise ConfigError(f'service upstream "{text}" requires domain name')
    if resolve and place.family is None:
        return Line(text, (), host=place.host, port=place.port or port or 0, **settings)
    return Line(text, upstream_addresses(text, build.lookup, port), **settings)


def _parameter(word: str) -> tuple[str, Any]:
    """
    One C{name=value}.
    """
    name, equals, text = word.partition("=")
    value: Any = None
    if not equals:
        pass
    elif name in ("weight", "max_conns", "max_fails"):
        value = number_of(text)
        if name == "weight" and value == 0:
            value = None
    elif name == "fail_timeout":
        value = time_of(text, seconds=True)
    elif name == "service":
        if not text:
            raise ConfigError("service is empty")
        value = text
    elif name == "slow_start":
        raise ConfigError(f'"slow_start" parameter is not supported by sniproxy: {SOLD}')
    if value is None:
        raise ConfigError(f'invalid parameter "{word}"')
    return name, value


def _upstream(kind: str) -> Directive[tuple[Scope, ...]]:
    return Directive("upstream", (kind,), (1, 1), block, (), repeat=Repeat.LISTED, opens=f"{kind}.upstream")


BLOCKS: Final = tuple(_upstream(kind) for kind in KINDS)
"""C{upstream}, which opens one context in C{stream} and another in C{http}."""

SERVER: Final[Directive[tuple[Line, ...]]] = Directive(
    "server", UPSTREAMS, (1, MANY), _line, (), inherit=Inherit.NEVER, repeat=Repeat.LISTED
)


@implementer(IPlugin, IModule)
class UpstreamModule:
    """
    C{upstream} blocks.
    """

    name = "stream_upstream"
    directives = (*BLOCKS, SERVER)
    variables = VARIABLES

    def prepare(self, build: Build) -> None:
        """
        Make the groups, so that what is wrong with them is told even where nobody passes to them.
        """
        for kind in KINDS:
            groups(build, kind)

    def attach(self, server: Any, build: Build) -> None:
        """
        A group does nothing in a server by itself.
        """


upstream = UpstreamModule()
