"""
ngx_stream_upstream_zone_module and ngx_http_upstream_zone_module: C{zone}, and what needs one: peers by names that are
asked again and again while the program runs (C{server NAME resolve}, C{service=}).

Strategy: what is known of peers is shared by all workers (L{sniproxy.common.shared_peers}), anew for each
configuration, as in nginx; names are asked for by each. Each name has a L{Watch}, which asks, changes the group at one
stroke, and asks again when the answer is not good any more. What it has heard is kept beyond the configuration: after a
reload a group begins with the addresses its names had before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from twisted.plugin import IPlugin
from zope.interface import implementer

from sniproxy.addresses import Address, numeric
from sniproxy.balancing.roster import Member, renewed
from sniproxy.common.contexts import KINDS, UPSTREAMS
from sniproxy.common.listen import kind_of
from sniproxy.common.questions import NOT_FOUND
from sniproxy.common.resolver import ResolveFailure, ResolverSettings, resolver
from sniproxy.common.runtime import Ending, Runtime, attend
from sniproxy.common.services import Place, ServiceLookup
from sniproxy.common.shared_memory import Share, Table, nothing_to_mend, share
from sniproxy.common.shared_peers import SharedPeers, shape_of
from sniproxy.common.upstream import Line, Upstream, groups
from sniproxy.common.zones import SMALLEST, check, declare, declared
from sniproxy.config.build import Build
from sniproxy.config.directives import Directive, Inherit, Repeat, Scope
from sniproxy.config.grammar import Node
from sniproxy.config.template import Variable
from sniproxy.config.values import size_of
from sniproxy.errors import ConfigError
from sniproxy.interfaces import IModule
from sniproxy.levels import ERROR

USES: Final = {kind: f"{kind} upstream" for kind in KINDS}
"""What a zone is for: those of one kind do not share it with those of the other."""

SOON: Final = 0.001
"""Seconds after the begin in which a name is asked for that nobody knows."""

ABSENT: Final = 10.0
"""Seconds after which a name that does not exist is asked for again, where the resolver has no C{valid=}."""

LEAST: Final = 1.0
"""Seconds after which a name is asked for again, at least."""


@dataclass(frozen=True, slots=True)
class Known:
    """
    What a name has said.

    @ivar members: what it meant for its line.
    @ivar until: when it is to be asked for again, on the clock of the reactor.
    """

    members: tuple[Member, ...]
    until: float


class Watch:
    """
    One name of one group. Owns a timer or a question, until C{stop}.

    @ivar key: what is the same after a reload.
    """

    def __init__(
        self, runtime: Runtime, upstream: Upstream, line: Line, settings: ResolverSettings, memory: dict[Any, Known]
    ) -> None:
        """
        @param memory: where what is heard is noted, by C{key}.
        """
        assert upstream.scope is not None
        kind = kind_of(upstream.scope)
        self.key = (kind, upstream.scope[ZONE], upstream.name.lower(), line.host.lower(), line.service, line.backup)
        self._runtime = runtime
        self._reactor = runtime.engine.reactor
        self._upstream = upstream
        self._line = line
        self._settings = settings
        self._memory = memory
        self._timer: Any = None
        self._question: Any = None

    def begin(self, known: Known | None) -> None:
        """
        @param known: what the configuration before has heard.
        """
        if known is None:
            self._runtime.expect(self.key)
            self._wait(SOON)
            return
        self._memory[self.key] = known
        self._take([self._fitted(member) for member in known.members])
        self._wait(max(known.until - self._reactor.seconds(), SOON))

    def stop(self) -> None:
        """
        Nobody passes to the group any more.
        """
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._question is not None:
            self._question.cancel()
            self._question = None

    def _fitted(self, member: Member) -> Member:
        """
        A member as this line has it, which may have another port or weight than the line before the reload.
        """
        line = self._line
        if line.service:
            return member
        address = Address(member.address.family, member.address.host, line.port)
        return Member(address, line.text, line.weight, line.backup)

    def _wait(self, seconds: float) -> None:
        self._timer = self._reactor.callLater(seconds, self._ask)

    def _ask(self) -> None:
        self._timer = None
        line = self._line
        found = self._runtime.resolver(self._settings)
        assert found is not None
        if line.service:
            question: Any = ServiceLookup(found, self._reactor, line.service, line.host, self._placed)
        else:
            question = found.find(line.host, self._found)
        if self._timer is None:
            self._question = question  # else the answer was known, and the next question is waited for

    def _found(self, found: list[str] | ResolveFailure, life: float) -> None:
        line = self._line
        if isinstance(found, ResolveFailure):
            self._failed(line.host, found)
            return
        addresses = [address for host in found if (address := numeric(host, line.port)) is not None]
        self._heard([Member(address, line.text, line.weight, line.backup) for address in addresses], life)

    def _placed(self, found: list[Place] | ResolveFailure, life: float) -> None:
        line = self._line
        if isinstance(found, ResolveFailure):
            self._failed(f"service {line.service} of {line.host}", found)
            return
        members: list[Member] = []
        first = min(place.service.priority for place in found if not isinstance(place.addresses, ResolveFailure))
        for place in found:
            service = place.service
            if isinstance(place.addresses, ResolveFailure):
                self._complain(
                    f"{service.target} could not be resolved {place.addresses}"
                    f" while resolving service {line.service} of {line.host}"
                )
                continue
            later = service.priority != first
            if later and line.backup:
                continue  # there is nobody behind backups
            # a weight in the file counts for all; a weight of nothing is the least there is
            weight = line.weight if line.weight != 1 else max(service.weight, 1)
            members += [Member(address, service.target, weight, later or line.backup) for address in place.addresses]
        self._heard(members, life)

    def _heard(self, members: Sequence[Member], life: float) -> None:
        self._question = None
        seconds = max(life, 0.0) + LEAST
        self._memory[self.key] = Known(tuple(members), self._reactor.seconds() + seconds)
        self._take(members)
        self._wait(seconds)
        self._runtime.heard(self.key)

    def _failed(self, what: str, failure: ResolveFailure) -> None:
        self._complain(f"{what} could not be resolved {failure}")
        if failure.code == NOT_FOUND:
            self._heard((), self._settings.valid or ABSENT)
        else:
            self._question = None
            self._wait(max(self._settings.timeout, LEAST))
            self._runtime.heard(self.key)

    def _complain(self, message: str) -> None:
        self._runtime.error_log.write(ERROR, message)

    def _take(self, members: Sequence[Member]) -> None:
        upstream = self._upstream
        peers = renewed(upstream.peers, self._line, members, self._line.peer)
        if peers != upstream.peers:
            upstream.renew(peers)


Watched = tuple[Upstream, Line, ResolverSettings]


def watched(build: Build) -> list[Watched]:
    """
    The lines of all groups whose names are asked for while the program runs. What they lack is an error of the build.
    """
    found: list[Watched] = []
    for upstream in [upstream for kind in KINDS for upstream in groups(build, kind).values()]:
        lines = [line for line in upstream.lines if line.host]
        if not lines:
            continue
        assert upstream.scope is not None and upstream.scope.node is not None
        node = upstream.scope.node
        settings = resolver(upstream.scope)
        if upstream.scope[ZONE] is None:
            # nginx says the place in the middle
            build.error(
                f'resolving names at run time requires upstream "{upstream.name}" in {node.file}:{node.line}'
                " to be in shared memory"
            )
        elif settings is None:
            build.error(f'no resolver defined to resolve names at run time in upstream "{upstream.name}"', node)
        else:
            found += [(upstream, line, settings) for line in lines]
    return found


def watch(runtime: Runtime, lines: Sequence[Watched]) -> Ending:
    """
    Ask for all these names while a configuration is at work.
    """
    before: dict[Any, Known] = runtime.engine.kept.get(watch, {})
    memory: dict[Any, Known] = {}
    runtime.engine.kept[watch] = memory
    watches = [Watch(runtime, upstream, line, settings, memory) for upstream, line, settings in lines]
    for each in watches:
        each.begin(before.get(each.key))

    def end() -> None:
        for each in watches:
            each.stop()

    return end


def wish(build: Build) -> None:
    """
    Have workers share what they know of the peers of each zone.
    """
    sizes = declared(build)
    zones: dict[str, list[Upstream]] = {}
    for upstream in [upstream for kind in KINDS for upstream in groups(build, kind).values()]:
        name = upstream.scope[ZONE] if upstream.scope is not None else None
        if name is not None:
            zones.setdefault(name, []).append(upstream)
    for name, upstreams in zones.items():
        shape = shape_of(sizes[name], sum(len(upstream.peers) for upstream in upstreams))
        share(build, Share((ZONE.name, name), shape, False, partial(adopt, upstreams), nothing_to_mend))


def adopt(upstreams: Sequence[Upstream], table: Table) -> None:
    """
    All peers that these have and will have are to be in a table.
    """
    for upstream in upstreams:
        upstream.adopt = SharedPeers(table, upstream.name.lower()).adopt
        upstream.renew(upstream.peers)


def _zone(node: Node, build: Build, scope: Scope) -> str:
    name = node.args[0]
    if not name:
        raise ConfigError(f'invalid zone name "{name}"')
    size = 0
    if len(node.args) > 1:
        given = size_of(node.args[1])
        if given is None:
            raise ConfigError(f'invalid zone size "{node.args[1]}"')
        if given < SMALLEST:
            raise ConfigError(f'zone "{name}" is too small')
        size = given
    declare(build, name, size, USES[kind_of(scope)], node)
    return name


ZONE: Final[Directive[str | None]] = Directive("zone", UPSTREAMS, (1, 2), _zone, None, Inherit.NEVER, Repeat.LAST)


@implementer(IPlugin, IModule)
class UpstreamZone:
    """
    The module.
    """

    name = "stream_upstream_zone"
    directives = (ZONE,)
    variables: tuple[Variable, ...] = ()

    def prepare(self, build: Build) -> None:
        """
        Look who has to be watched. Even where that is nobody, what is known from before is to be forgotten.
        """
        for use in USES.values():
            check(build, use)
        lines = watched(build)
        attend(build, lambda runtime: watch(runtime, lines))
        wish(build)

    def attach(self, server: Any, build: Build) -> None:
        """
        A zone does nothing in a server by itself.
        """


upstream_zone = UpstreamZone()
