"""
ngx_stream_upstream_least_time_module and ngx_http_upstream_least_time_module: C{least_time}.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from twisted.plugin import IPlugin
from zope.interface import implementer

from sniproxy.balancing.least_time import LeastTime, Times, Until
from sniproxy.common.contexts import UPSTREAMS
from sniproxy.common.listen import kind_of
from sniproxy.common.session import Session
from sniproxy.common.upstream import balance_with
from sniproxy.common.upstream_variables import UpstreamState
from sniproxy.config.build import Build
from sniproxy.config.directives import Directive, Inherit, Repeat, Scope
from sniproxy.config.grammar import Node
from sniproxy.config.template import Variable
from sniproxy.config.values import one_of
from sniproxy.errors import ConfigError
from sniproxy.interfaces import IModule

_UNTIL: Final = {
    "stream": one_of({until.value: until for until in Until}),
    "http": one_of({"header": Until.FIRST_BYTE, "last_byte": Until.LAST_BYTE}),
}


def _least_time(node: Node, build: Build, scope: Scope) -> Until:
    kind = kind_of(scope)
    until = _UNTIL[kind](node, build, scope)
    if len(node.args) > 1 and node.args[1] != "inflight":
        raise ConfigError(f'invalid parameter "{node.args[1]}"')
    inflight = len(node.args) > 1
    timing = times_of_request if kind == "http" else times_of
    balance_with(build, scope, partial(LeastTime, until=until, inflight=inflight, timing=timing), node)
    return until


def times_of(session: Session) -> Times:
    """
    The times of the try a session makes now, or made last.
    """
    state: UpstreamState = session.upstream_states[-1]
    traffic: Any = session.traffic
    return Times(state.connect_time, traffic.first_byte_time, state.session_time)


def times_of_request(request: Any) -> Times:
    """
    The same of an http request, whose header is what a first byte is to a stream.
    """
    state = request.upstream_states[-1]
    return Times(state.connect_time, state.header_time, state.response_time)


LEAST_TIME: Final[Directive[Until | None]] = Directive(
    "least_time", UPSTREAMS, (1, 2), _least_time, None, Inherit.NEVER, Repeat.LAST
)


@implementer(IPlugin, IModule)
class LeastTimeModule:
    """
    The module.
    """

    name = "stream_upstream_least_time"
    directives = (LEAST_TIME,)
    variables: tuple[Variable, ...] = ()

    def prepare(self, build: Build) -> None:
        """
        The groups are made by L{sniproxy.common.upstream}.
        """

    def attach(self, server: Any, build: Build) -> None:
        """
        A way of balancing does nothing in a server by itself.
        """


least_time = LeastTimeModule()
