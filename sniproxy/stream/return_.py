"""
ngx_stream_return_module: C{return}, a text for whoever connects.
"""

from __future__ import annotations

from typing import Final

from twisted.plugin import IPlugin
from zope.interface import implementer

from sniproxy.config import values
from sniproxy.config.build import Build
from sniproxy.config.directives import Directive, Inherit
from sniproxy.config.template import Template
from sniproxy.interfaces import IModule
from sniproxy.stream.sending import send_text
from sniproxy.stream.server import Server

RETURN: Final[Directive[Template | None]] = Directive(
    "return", ("stream.server",), (1, 1), values.template(), None, Inherit.NEVER
)


@implementer(IPlugin, IModule)
class Return:
    """
    The module.
    """

    name = "stream_return"
    directives = (RETURN,)
    variables = ()

    def prepare(self, build: Build) -> None:
        """
        @see: L{IModule.prepare}
        """

    def attach(self, server: Server, build: Build) -> None:
        """
        @see: L{IModule.attach}
        """
        text = server.scope[RETURN]
        node = server.scope.where(RETURN)
        if text is not None and node is not None:
            server.take_content(lambda session: send_text(session, text.render(session)), node)


return_ = Return()
