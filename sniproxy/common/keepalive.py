"""
ngx_http_upstream_keepalive_module: how many connections to the peers of a group are kept for the next request, and for
how long. Who keeps them is the http proxy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from twisted.plugin import IPlugin
from zope.interface import implementer

from sniproxy.common.contexts import HTTP_UPSTREAM
from sniproxy.config import values
from sniproxy.config.build import Build
from sniproxy.config.directives import Directive, Inherit, Scope
from sniproxy.config.grammar import Node
from sniproxy.config.template import Variable
from sniproxy.errors import ConfigError
from sniproxy.interfaces import IModule


@dataclass(frozen=True, slots=True)
class Keepalive:
    """
    What one group keeps.

    @ivar connections: how many that nobody uses at the moment; 0 for none.
    @ivar local: each location keeps its own; else all that pass to the group share them.
    @ivar requests: that one connection serves at most.
    @ivar time: seconds after which a connection serves no further request.
    @ivar timeout: seconds that one is kept without being used.
    """

    connections: int = 32
    local: bool = True
    requests: int = 1000
    time: float = 3600.0
    timeout: float = 60.0


DEFAULT: Final = Keepalive()
"""Of a group that says nothing of it, and of those nobody wrote down."""


def keepalive_of(scope: Scope) -> Keepalive:
    """
    What an C{upstream} block says.
    """
    connections, local = scope[KEEPALIVE]
    return Keepalive(connections, local, scope[REQUESTS], scope[TIME], scope[TIMEOUT])


def _keepalive(node: Node, build: Build, scope: Scope) -> tuple[int, bool]:
    connections = values.number_of(node.args[0])
    if connections is None:
        raise ConfigError(f'invalid value "{node.args[0]}" in "{node.name}" directive')
    if len(node.args) > 1 and node.args[1] != "local":
        raise ConfigError(f'invalid parameter "{node.args[1]}"')
    return connections, len(node.args) > 1


def _within(name: str, convert: Any, default: Any) -> Directive[Any]:
    return Directive(name, (HTTP_UPSTREAM,), (1, 1), convert, default, Inherit.NEVER)


KEEPALIVE: Final[Directive[tuple[int, bool]]] = Directive(
    "keepalive", (HTTP_UPSTREAM,), (1, 2), _keepalive, (DEFAULT.connections, DEFAULT.local), Inherit.NEVER
)
REQUESTS: Final[Directive[int]] = _within("keepalive_requests", values.number, DEFAULT.requests)
TIME: Final[Directive[float]] = _within("keepalive_time", values.time, DEFAULT.time)
TIMEOUT: Final[Directive[float]] = _within("keepalive_timeout", values.time, DEFAULT.timeout)


@implementer(IPlugin, IModule)
class KeepaliveModule:
    """
    The module.
    """

    name = "http_upstream_keepalive"
    directives: tuple[Directive[Any], ...] = (KEEPALIVE, REQUESTS, TIME, TIMEOUT)
    variables: tuple[Variable, ...] = ()

    def prepare(self, build: Build) -> None:
        """
        The groups are made by L{sniproxy.common.upstream}.
        """

    def attach(self, server: Any, build: Build) -> None:
        """
        Nothing is kept in a stream server.
        """


keepalive = KeepaliveModule()
