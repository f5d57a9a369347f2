"""
ngx_stream_return_module: C{return}, a text for whoever connects.
"""

from __future__ import annotations

from typing import Final

from twisted.plugin import IPlugin
from zope.interface import implementer

from sniproxy.common.server import Server
from sniproxy.common.session import Session
from sniproxy.config import values
from sniproxy.config.build import Build
from sniproxy.config.directives import Directive, Inherit
from sniproxy.config.template import Template
from sniproxy.interfaces import IModule
from sniproxy.stream.sending import send_text

RETURN: Final[Directive[Template | None]] = Directive(
    "return", ("stream.server",), (1, 1), values.template(), None, Inherit.NEVER
)


class Saying:
    """
    The content of one server.
    """

    def __init__(self, text: Template) -> None:
        self._text = text

    def __call__(self, session: Session) -> None:
        """
        @see: L{sniproxy.interfaces.IContentHandler}
        """
        session.action = "returning text"  # for what its variables may have to say
        send_text(session, self._text.render(session))


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
            server.take_content(Saying(text), node)


return_ = Return()
