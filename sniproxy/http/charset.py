"""
ngx_http_charset_filter_module, as far as it says in which charset answers are: C{charset} and C{charset_types}.
Nothing is ever recoded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from twisted.plugin import IPlugin
from zope.interface import implementer

from sniproxy.config.build import Build
from sniproxy.config.directives import MANY, Directive, Repeat, Scope
from sniproxy.config.grammar import Node
from sniproxy.config.template import Template
from sniproxy.http.media_types import ANY, Types, has_charset, media_types, type_of, types_in_force
from sniproxy.http.phases import FOUND, MOVED_PERMANENTLY
from sniproxy.interfaces import IModule

if TYPE_CHECKING:
    from sniproxy.common.server import Server
    from sniproxy.http.exchange import Reply
    from sniproxy.http.place import Place
    from sniproxy.http.request import Request

_CONTEXTS: Final = ("http", "http.server", "http.server.location")

_DEFAULT: Final = (
    "text/html",
    "text/xml",
    "text/plain",
    "text/vnd.wap.wml",
    "application/javascript",
    "application/rss+xml",
)

_ELSEWHERE: Final = frozenset((MOVED_PERMANENTLY, FOUND))
"""Old browsers took the charset of these for that of the page they lead to."""


def _charset(node: Node, build: Build, scope: Scope) -> Template | None:
    word = node.args[0]
    if word == "off":
        return None
    return build.template(word, node) if word.startswith("$") else Template(word, (word,))


CHARSET: Final[Directive[Template | None]] = Directive(
    "charset", (*_CONTEXTS, "http.server.location.if"), (1, 1), _charset, None
)
TYPES: Final[Directive[tuple[Types, ...]]] = Directive(
    "charset_types", _CONTEXTS, (1, MANY), media_types("text/html"), (), repeat=Repeat.LISTED
)


class CharsetFilter:
    """
    The filter of one place.
    """

    __slots__ = ("_charset", "_types")

    def __init__(self, charset: Template, types: Types) -> None:
        self._charset = charset
        self._types = types

    def __call__(self, request: Request, reply: Reply) -> None:
        """
        Add the charset, where none is said.
        """
        headers = reply.headers
        said = headers.get("content-type")
        if not said or reply.status in _ELSEWHERE or has_charset(said):
            return
        if self._types is ANY or type_of(headers) in self._types:
            charset = self._charset.render(request)
            if charset:
                headers.set("Content-Type", f"{said}; charset={charset}")


@implementer(IPlugin, IModule)
class CharsetModule:
    """
    The module.
    """

    name = "http_charset"
    directives = (CHARSET, TYPES)
    variables = ()

    def prepare(self, build: Build) -> None:
        """
        @see: L{IModule.prepare}
        """

    def attach(self, server: Server, build: Build) -> None:
        """
        @see: L{IModule.attach}
        """

    def attach_place(self, place: Place, build: Build) -> None:
        """
        @see: L{sniproxy.interfaces.IHttpModule}
        """
        charset = place.scope[CHARSET]
        if charset is not None:
            place.filter(CharsetFilter(charset, types_in_force(place.scope, TYPES, *_DEFAULT)))


charset = CharsetModule()
