"""
ngx_stream_upstream_random_module and ngx_http_upstream_random_module: C{random}.
"""

from __future__ import annotations

from functools import partial
from secrets import randbelow
from typing import Any, Final

from twisted.plugin import IPlugin
from zope.interface import implementer

from sniproxy.balancing.random_ import Random
from sniproxy.common.contexts import UPSTREAMS
from sniproxy.common.upstream import balance_with
from sniproxy.config.build import Build
from sniproxy.config.directives import Directive, Inherit, Repeat, Scope
from sniproxy.config.grammar import Node
from sniproxy.config.template import Variable
from sniproxy.errors import ConfigError
from sniproxy.interfaces import IModule


def _random(node: Node, build: Build, scope: Scope) -> bool:
    for word, wanted in zip(node.args, ("two", "least_conn"), strict=False):
        if word.startswith("least_time=") and wanted == "least_conn":
            raise ConfigError('"least_time" method is not supported by sniproxy: nginx sells it')
        if word != wanted:
            raise ConfigError(f'invalid parameter "{word}"')
    balance_with(build, scope, partial(Random, dice=randbelow, two=bool(node.args)), node, backups=False)
    return True


RANDOM: Final = Directive("random", UPSTREAMS, (0, 2), _random, False, Inherit.NEVER, Repeat.LAST)


@implementer(IPlugin, IModule)
class RandomModule:
    """
    The module.
    """

    name = "stream_upstream_random"
    directives = (RANDOM,)
    variables: tuple[Variable, ...] = ()

    def prepare(self, build: Build) -> None:
        """
        The groups are made by L{sniproxy.common.upstream}.
        """

    def attach(self, server: Any, build: Build) -> None:
        """
        A way of balancing does nothing in a server by itself.
        """


random = RandomModule()
