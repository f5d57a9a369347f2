"""
ngx_stream_upstream_least_conn_module and ngx_http_upstream_least_conn_module: C{least_conn}.
"""

from __future__ import annotations

from typing import Any, Final

from twisted.plugin import IPlugin
from zope.interface import implementer

from sniproxy.balancing.least_conn import LeastConn
from sniproxy.common.contexts import UPSTREAMS
from sniproxy.common.upstream import balance_with
from sniproxy.config.build import Build
from sniproxy.config.directives import Directive, Inherit, Repeat, Scope
from sniproxy.config.grammar import Node
from sniproxy.config.template import Variable
from sniproxy.interfaces import IModule


def _least_conn(node: Node, build: Build, scope: Scope) -> bool:
    balance_with(build, scope, LeastConn, node)
    return True


LEAST_CONN: Final = Directive("least_conn", UPSTREAMS, (0, 0), _least_conn, False, Inherit.NEVER, Repeat.LAST)


@implementer(IPlugin, IModule)
class LeastConnModule:
    """
    The module.
    """

    name = "stream_upstream_least_conn"
    directives = (LEAST_CONN,)
    variables: tuple[Variable, ...] = ()

    def prepare(self, build: Build) -> None:
        """
        The groups are made by L{sniproxy.common.upstream}.
        """

    def attach(self, server: Any, build: Build) -> None:
        """
        A way of balancing does nothing in a server by itself.
        """


least_conn = LeastConnModule()
