"""
ngx_stream_access_module and ngx_http_access_module: C{allow} and C{deny}, who may come at all.

Strategy: the rules of a block are put together once, so that the first that fits a client is found by bisection,
however many there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, Final

from twisted.plugin import IPlugin
from zope.interface import implementer

from sniproxy.common.contexts import LIMIT_EXCEPT, PLACES
from sniproxy.common.phases import DONE, FORBIDDEN, Phase
from sniproxy.common.server import Server
from sniproxy.config.build import Build
from sniproxy.config.directives import Directive, Inherit, Repeat, Scope
from sniproxy.config.grammar import Node
from sniproxy.config.networks import BITS, Areas, Inet, Network, located, network
from sniproxy.errors import ConfigError
from sniproxy.interfaces import IHttpModule, IModule


@dataclass(frozen=True, slots=True)
class Rule:
    """
    One C{allow} or C{deny}.

    @ivar place: how many rules the whole configuration has before it.
    @ivar where: a network; C{"unix:"} for clients on unix sockets; C{"all"} for everybody.
    """

    place: int
    deny: bool
    where: Network | str


def _rule(node: Node, build: Build, scope: Scope) -> Rule:
    word = node.args[0]
    where: Network | str | None = word if word in ("all", "unix:") else network(word)
    if where is None:
        raise ConfigError(f'invalid parameter "{word}"')
    if isinstance(where, Network) and where.vague:
        build.warn(f"low address bits of {word} are meaningless", node)
    return Rule(next(build.shared.setdefault(Rule, count())), node.name == "deny", where)


def _listed(name: str) -> Directive[tuple[Rule, ...]]:
    return Directive(name, (*PLACES, LIMIT_EXCEPT), (1, 1), _rule, (), Inherit.NEVER, Repeat.LISTED)


ALLOW: Final = _listed("allow")
DENY: Final = _listed("deny")


def rules(scope: Scope) -> tuple[Rule, ...]:
    """
    Those in force, in file order: of the nearest block that has an C{allow} or a C{deny}.
    """
    at: Scope | None = scope
    while at is not None:
        if at.has(ALLOW) or at.has(DENY):
            return tuple(sorted(at[ALLOW] + at[DENY], key=lambda rule: rule.place))
        at = at.parent
    return ()


class Access:
    """
    The handler of one server, or of one place of http.
    """

    def __init__(self, found: Sequence[Rule]) -> None:
        self._areas = {family: _areas(found, family) for family in BITS}
        self._unix = next((rule.deny for rule in found if isinstance(rule.where, str)), None)

    def __call__(self, subject: Any) -> Any:
        """
        @see: L{sniproxy.interfaces.IPhaseHandler}
        """
        place = located(subject.peer)
        deny = self._unix if place is None else self._areas[place[0]].find(place[1])
        if deny is None:
            return None
        if not deny:
            return DONE
        self.forbidden(subject)
        return FORBIDDEN

    def forbidden(self, subject: Any) -> None:
        """
        Say so in the log.
        """
        subject.error("access forbidden by rule")


class HttpAccess(Access):
    """
    The handler of one place of http.
    """

    def forbidden(self, subject: Any) -> None:
        """
        Where somebody else may still let the client in (C{satisfy any}) nothing is said.
        """
        if not subject.place.limits.satisfy_any:
            super().forbidden(subject)


def _areas(found: Sequence[Rule], family: Inet) -> Areas[bool]:
    """
    Whether the addresses of one family are denied.
    """
    spans = []
    for rule in found:
        if rule.where == "all":
            spans.append((0, (1 << BITS[family]) - 1, rule.place, rule.deny))
        elif isinstance(rule.where, Network) and rule.where.family == family:
            spans.append((rule.where.first, rule.where.last, rule.place, rule.deny))
    return Areas(spans)


@implementer(IPlugin, IModule, IHttpModule)
class AccessModule:
    """
    The module.
    """

    name = "stream_access"
    directives = (ALLOW, DENY)
    variables = ()

    def prepare(self, build: Build) -> None:
        """
        @see: L{IModule.prepare}
        """

    def attach(self, server: Server, build: Build) -> None:
        """
        @see: L{IModule.attach}
        """
        found = rules(server.scope)
        if found:
            server.handle(Phase.ACCESS, Access(found))

    def attach_place(self, place: Any, build: Build) -> None:
        """
        @see: L{IHttpModule.attach_place}
        """
        found = rules(place.scope)
        if found:
            place.handle("access", HttpAccess(found))


access = AccessModule()
