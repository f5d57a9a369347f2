"""
Groups of peers: C{upstream} and its C{server}s, and the groups nobody wrote down (nginx's ngx_stream_upstream_module).

Strategy: a group is made once for a configuration, when the whole file has been read, and is shared by all that pass to
it: its peers keep what is known of them until the next reload. What was tried in a session is noted in
C{session.upstream_states} by whoever connects; the variables only read it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from twisted.plugin import IPlugin
from zope.interface import implementer

from sniproxy.addresses import Address, numeric
from sniproxy.balancing.choice import Balancer, Choice, Clock, Disabled
from sniproxy.balancing.peers import Group, Peer
from sniproxy.balancing.round_robin import RoundRobin
from sniproxy.config.build import Build
from sniproxy.config.directives import MANY, Directive, Inherit, Repeat, Scope
from sniproxy.config.grammar import Node
from sniproxy.config.places import upstream_addresses
from sniproxy.config.template import Variable
from sniproxy.config.values import block, number_of, size_of, time_of
from sniproxy.errors import ConfigError
from sniproxy.interfaces import IModule
from sniproxy.levels import WARN

if TYPE_CHECKING:
    from sniproxy.stream.session import Session

Method = Callable[[Group, Clock, Disabled], Balancer]
"""A way of balancing: L{RoundRobin}, or what a directive inside C{upstream} chose."""

SMALLEST_ZONE: Final = 8 * 4096
"""What nginx asks of C{zone} at least, in bytes."""

REFUSED_PARAMETERS: Final = {
    "resolve": "names of servers are looked up at start and at reload",
    "service": "SRV records are not asked for",
    "slow_start": "a server that comes back has its whole weight at once",
}
"""What nginx has after C{server} and we do not, and why."""


@dataclass(slots=True)
class UpstreamState:
    """
    How one try of one session went; kept in C{session.upstream_states}, in the order of the tries.

    @ivar peer: its address, or the name of the group where no peer was live.
    @ivar connect_time: seconds until it was connected, and with C{proxy_ssl} its handshake was over; None if never.
    @ivar first_byte_time: seconds until its first byte came; None if never.
    @ivar session_time: seconds until it was left; None while it is in use.
    @ivar bytes_sent: to it.
    @ivar bytes_received: from it.
    """

    peer: str
    connect_time: float | None = None
    first_byte_time: float | None = None
    session_time: float | None = None
    bytes_sent: int = 0
    bytes_received: int = 0


class Upstream:
    """
    Where sessions may be passed to: a group and its way of balancing. Holds nothing that must be closed.

    @ivar name: for logs: the group's name, or the host's.
    @ivar group: its peers.
    """

    __slots__ = ("_balancer", "group", "name")

    def __init__(self, name: str, peers: Iterable[Peer], method: Method = RoundRobin) -> None:
        self.name = name
        self.group = Group.of(name, peers)
        self._balancer = method(self.group, _now, _disabled)

    def balancer(self) -> Balancer:
        """
        Who chooses among the peers.
        """
        return self._balancer

    def begin(self, session: Session) -> Choice:
        """
        One session's way through the peers.
        """
        return self._balancer.begin(session)


def _now(session: Session) -> float:
    now: float = session.clock.now()
    return now


def _disabled(session: Session, peer: Peer) -> None:
    session.log(WARN, "upstream server temporarily disabled")


# What others ask of this module.


def groups(build: Build) -> dict[str, Upstream]:
    """
    The groups of a configuration by their names in lower case; to be asked only when the whole file has been read.
    """
    known: dict[str, Upstream] | None = build.shared.get(groups)
    if known is None:
        known = build.shared[groups] = {}
        for stream in build.root.inside("stream"):
            for scope in stream.inside(UPSTREAM_CONTEXT):
                _add_group(known, scope, build)
    return known


def implicit(build: Build, host: str, port: int | None, node: Node) -> Upstream:
    """
    The group that C{proxy_pass host:port} means: all addresses of the host, in turn. Made once for each host and port.

    What is wrong is an error of the build; then the group has no peers.

    @param host: a name, or a numeric address with or without brackets.
    @param node: the directive that names it.
    """
    key = (implicit, host.lower(), port)
    known: Upstream | None = build.shared.get(key)
    if known is not None:
        return known
    addresses: tuple[Address, ...] = ()
    if port is None:
        build.error(f'no port in upstream "{host}"', node)
    elif host.lower() in groups(build):
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
    text = host if port is None else f"{host}:{port}"
    made = build.shared[key] = Upstream(host, [Peer(address, text) for address in addresses])
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
        build.error("no servers are inside upstream", node)
    peers = [peer for line in scope[SERVER] for peer in line.peers()]
    known[name.lower()] = made = Upstream(name, peers, _balancing(build, scope).method)
    if made.group.backup is not None and not made.group.peers:
        build.error(f'no servers in upstream "{name}"', node)


# The directives.


@dataclass(frozen=True, slots=True)
class Line:
    """
    One C{server} of a group.

    @ivar text: its address as it is written.
    @ivar addresses: what that meant at start-up; each becomes a peer.
    """

    text: str
    addresses: tuple[Address, ...]
    weight: int = 1
    max_conns: int = 0
    max_fails: int = 1
    fail_timeout: float = 10.0
    backup: bool = False
    down: bool = False

    def peers(self) -> list[Peer]:
        """
        New peers, of which nothing is known.
        """
        return [
            Peer(
                address,
                self.text,
                self.weight,
                self.max_conns,
                self.max_fails,
                self.fail_timeout,
                self.backup,
                self.down,
            )
            for address in self.addresses
        ]


def _line(node: Node, build: Build, scope: Scope) -> Line:
    settings: dict[str, Any] = {}
    for word in node.args[1:]:
        name, equals, text = word.partition("=")
        value: float | None = None
        if word == "backup" and not _balancing(build, scope).backups:
            raise ConfigError(f'balancing method does not support parameter "{word}"')
        if word in ("backup", "down"):
            value = True
        elif not equals:
            pass
        elif name in ("weight", "max_conns", "max_fails"):
            value = number_of(text)
            if name == "weight" and value == 0:
                value = None
        elif name == "fail_timeout":
            value = time_of(text, seconds=True)
        if value is None:
            if name in REFUSED_PARAMETERS and bool(equals) is (name != "resolve"):
                raise ConfigError(f'"{name}" parameter is not supported by sniproxy: {REFUSED_PARAMETERS[name]}')
            raise ConfigError(f'invalid parameter "{word}"')
        settings[name] = value
    return Line(node.args[0], upstream_addresses(node.args[0], build.lookup), **settings)


def _zone(node: Node, build: Build, scope: Scope) -> str:
    name = node.args[0]
    if not name:
        raise ConfigError(f'invalid zone name "{name}"')
    if len(node.args) > 1:
        size = size_of(node.args[1])
        if size is None:
            raise ConfigError(f'invalid zone size "{node.args[1]}"')
        if size < SMALLEST_ZONE:
            raise ConfigError(f'zone "{name}" is too small')
    return name


UPSTREAM_CONTEXT: Final = "stream.upstream"

UPSTREAM: Final[Directive[tuple[Scope, ...]]] = Directive(
    "upstream",
    ("stream",),
    (1, 1),
    block,
    (),
    repeat=Repeat.LISTED,
    opens=UPSTREAM_CONTEXT,
)

SERVER: Final[Directive[tuple[Line, ...]]] = Directive(
    "server", (UPSTREAM_CONTEXT,), (1, MANY), _line, (), inherit=Inherit.NEVER, repeat=Repeat.LISTED
)

ZONE: Final[Directive[str | None]] = Directive(
    "zone",
    (UPSTREAM_CONTEXT,),
    (1, 2),
    _zone,
    None,
    inherit=Inherit.NEVER,
    ignored="each worker knows its peers by itself",
)


# The variables.


def _listed(show: Callable[[UpstreamState], str]) -> Callable[[Session], str | None]:
    """
    A variable with one entry for each try; none where nothing was tried.
    """

    def get(session: Session) -> str | None:
        states: list[UpstreamState] = session.upstream_states
        return ", ".join([show(state) for state in states]) if states else None

    return get


def _time(seconds: float | None) -> str:
    """
    Milliseconds after the point, always three; a dash where there was no such moment.
    """
    return "-" if seconds is None else f"{max(seconds, 0.0):.3f}"


VARIABLES: Final = (
    Variable("upstream_addr", _listed(lambda state: state.peer), volatile=True),
    Variable("upstream_bytes_received", _listed(lambda state: str(state.bytes_received)), volatile=True),
    Variable("upstream_bytes_sent", _listed(lambda state: str(state.bytes_sent)), volatile=True),
    Variable("upstream_connect_time", _listed(lambda state: _time(state.connect_time)), volatile=True),
    Variable("upstream_first_byte_time", _listed(lambda state: _time(state.first_byte_time)), volatile=True),
    Variable("upstream_session_time", _listed(lambda state: _time(state.session_time)), volatile=True),
)


@implementer(IPlugin, IModule)
class UpstreamModule:
    """
    C{upstream} blocks of the stream context.
    """

    name = "stream_upstream"
    directives = (UPSTREAM, SERVER, ZONE)
    variables = VARIABLES

    def prepare(self, build: Build) -> None:
        """
        Make the groups, so that what is wrong with them is told even where nobody passes to them.
        """
        groups(build)

    def attach(self, server: Any, build: Build) -> None:
        """
        A group does nothing in a server by itself.
        """


upstream = UpstreamModule()
