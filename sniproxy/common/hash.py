"""
ngx_stream_upstream_hash_module and ngx_http_upstream_hash_module: C{hash}.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from twisted.plugin import IPlugin
from zope.interface import implementer

from sniproxy.balancing.hash import ConsistentHash, Hash
from sniproxy.common.contexts import UPSTREAMS
from sniproxy.common.session import Session
from sniproxy.common.upstream import balance_with
from sniproxy.config.build import Build
from sniproxy.config.directives import Directive, Inherit, Repeat, Scope
from sniproxy.config.grammar import Node
from sniproxy.config.template import Template, Variable
from sniproxy.errors import ConfigError
from sniproxy.interfaces import IModule


def _hash(node: Node, build: Build, scope: Scope) -> Template:
    template = build.template(node.args[0], node)
    if len(node.args) > 1 and node.args[1] != "consistent":
        raise ConfigError(f'invalid parameter "{node.args[1]}"')

    def key(session: Session) -> bytes:
        return template.render(session).encode("utf-8", "surrogateescape")

    method = Hash if len(node.args) == 1 else ConsistentHash
    balance_with(build, scope, partial(method, key=key), node, backups=False)
    return template


HASH: Final[Directive[Template | None]] = Directive("hash", UPSTREAMS, (1, 2), _hash, None, Inherit.NEVER, Repeat.LAST)


@implementer(IPlugin, IModule)
class HashModule:
    """
    The module.
    """

    name = "stream_upstream_hash"
    directives = (HASH,)
    variables: tuple[Variable, ...] = ()

    def prepare(self, build: Build) -> None:
        """
        The groups are made by L{sniproxy.common.upstream}.
        """

    def attach(self, server: Any, build: Build) -> None:
        """
        A way of balancing does nothing in a server by itself.
        """


hash_ = HashModule()
