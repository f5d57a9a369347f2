"""
ngx_stream_set_module: C{set}, a variable that a server gives a value.

It happens in the preread phase, before anybody looks at what the client sends; a variable that has no value yet is
empty. Where a block of the configuration (C{map}, C{geo}) makes the same variable, that is its value until then.
"""

from __future__ import annotations

from typing import Final

from twisted.plugin import IPlugin
from zope.interface import implementer

from sniproxy.common.phases import Phase
from sniproxy.common.server import Server
from sniproxy.common.session import Session
from sniproxy.config.build import Build
from sniproxy.config.directives import Directive, Inherit, Repeat, Scope
from sniproxy.config.grammar import Node
from sniproxy.config.template import Template, Variable
from sniproxy.errors import ConfigError
from sniproxy.interfaces import IModule


def _empty(session: Session) -> str:
    """
    A variable before it was set, or on a server that does not set it.
    """
    return ""


def _set(node: Node, build: Build, scope: Scope) -> tuple[str, Template]:
    name, text = node.args
    if not name.startswith("$"):
        raise ConfigError(f'invalid variable name "{name}"')
    name = name[1:].lower()
    build.define(Variable(name, _empty), node, weak=True)
    return name, build.template(text, node)


SET: Final = Directive[tuple[tuple[str, Template], ...]](
    "set", ("stream.server",), (2, 2), _set, (), Inherit.NEVER, Repeat.LISTED
)


class Assign:
    """
    The handler of one server.
    """

    def __init__(self, assignments: tuple[tuple[str, Template], ...]) -> None:
        self._assignments = assignments

    def __call__(self, session: Session) -> None:
        """
        @see: L{sniproxy.interfaces.IPhaseHandler}
        """
        for name, text in self._assignments:
            session.values[name] = text.render(session)


@implementer(IPlugin, IModule)
class Set:
    """
    The module.
    """

    name = "stream_set"
    directives = (SET,)
    variables = ()

    def prepare(self, build: Build) -> None:
        """
        @see: L{IModule.prepare}
        """

    def attach(self, server: Server, build: Build) -> None:
        """
        @see: L{IModule.attach}
        """
        assignments = server.scope[SET]
        if assignments:
            server.handle(Phase.PREREAD, Assign(assignments))


set_ = Set()
