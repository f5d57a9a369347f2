"""
ngx_http_headers_module: C{add_header}, C{add_trailer} and C{expires}, fields that the operator adds to answers.

Strategy: what is in force is put together once for each place. A block that adds fields has its own alone, unless
C{add_header_inherit} says otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from twisted.plugin import IPlugin
from zope.interface import implementer

from sniproxy.config import values
from sniproxy.config.build import Build
from sniproxy.config.directives import Directive, Repeat, Scope
from sniproxy.config.grammar import Node
from sniproxy.config.template import Template
from sniproxy.errors import ConfigError
from sniproxy.http.expires import EXPIRES, Late
from sniproxy.http.phases import BODYLESS
from sniproxy.interfaces import IModule

if TYPE_CHECKING:
    from sniproxy.common.server import Server
    from sniproxy.http.exchange import Reply
    from sniproxy.http.place import Place
    from sniproxy.http.request import Request

_CONTEXTS: Final = ("http", "http.server", "http.server.location", "http.server.location.if")

_SAFE: Final = frozenset((200, 201, 204, 206, 301, 302, 303, 304, 307, 308))
"""Statuses whose answers get what is not for always."""

_ALONE: Final = frozenset(("last-modified", "etag"))
"""Fields of which there is one: ours stands in the place of the answer's, and an empty one takes it away."""

_BROKEN: Final = re.compile(r"[\x00\r\n]")


@dataclass(frozen=True, slots=True)
class Added:
    """
    One field.

    @ivar always: whatever the status.
    """

    name: str
    value: Template
    always: bool

    def text(self, request: Request) -> str:
        """
        Its value for one request, in one line.
        """
        return _BROKEN.sub(" ", self.value.render(request))


def _added(node: Node, build: Build, scope: Scope) -> Added:
    if len(node.args) == 3 and node.args[2] != "always":
        raise ConfigError(f'invalid parameter "{node.args[2]}"')
    return Added(node.args[0], build.template(node.args[1], node), len(node.args) == 3)


def _listed(name: str) -> Directive[tuple[Added, ...]]:
    return Directive(name, _CONTEXTS, (2, 3), _added, (), repeat=Repeat.LISTED)


def _inherited(name: str) -> Directive[str]:
    return Directive(name, _CONTEXTS, (1, 1), values.one_of({word: word for word in ("on", "off", "merge")}), "on")


ADD_HEADER: Final = _listed("add_header")
ADD_TRAILER: Final = _listed("add_trailer")
ADD_HEADER_INHERIT: Final = _inherited("add_header_inherit")
ADD_TRAILER_INHERIT: Final = _inherited("add_trailer_inherit")


def in_force(
    scope: Scope | None, directive: Directive[tuple[Added, ...]], inherit: Directive[str]
) -> tuple[Added, ...]:
    """
    What a block adds: its own, and what it has of the one around it.
    """
    if scope is None:
        return ()
    own: tuple[Added, ...] = scope.values.get(directive, ())
    way = scope[inherit]
    if way == "off" or (own and way == "on"):
        return own
    return own + in_force(scope.parent, directive, inherit)


class HeadersFilter:
    """
    The filter of one place.
    """

    __slots__ = ("_expires", "_headers", "_trailers")

    def __init__(self, scope: Scope) -> None:
        self._headers = in_force(scope, ADD_HEADER, ADD_HEADER_INHERIT)
        self._trailers = in_force(scope, ADD_TRAILER, ADD_TRAILER_INHERIT)
        self._expires = scope[EXPIRES]

    def __bool__(self) -> bool:
        return bool(self._headers or self._trailers or self._expires)

    def __call__(self, request: Request, reply: Reply) -> None:
        """
        Add what is due.
        """
        safe = reply.status in _SAFE
        expires = self._expires
        if safe and expires is not None:
            found = expires.find(request) if isinstance(expires, Late) else expires
            if found is not None:
                found.say(reply, request.clock.time())
        for each in self._headers:
            if safe or each.always:
                _add(request, reply, each)
        due = [each for each in self._trailers if safe or each.always]
        if due and reply.status not in BODYLESS and request.method != "HEAD" and _may_follow(request):
            reply.trailers = True
            reply.trailing = lambda: _trailing(request, due)
            if request.text == "HTTP/1.1":
                reply.length = None


def _add(request: Request, reply: Reply, field: Added) -> None:
    text = field.text(request)
    if field.name.lower() not in _ALONE:
        if text:
            reply.headers.add(field.name, text)
    elif text:
        reply.headers.set(field.name, text)
    else:
        reply.headers.remove(field.name.lower())


def _may_follow(request: Request) -> bool:
    """
    Whether fields can come behind a body: one in chunks, or a stream of HTTP/2.
    """
    return request.text != "HTTP/1.0" and (request.text != "HTTP/1.1" or request.place.limits.chunked)


def _trailing(request: Request, due: Sequence[Added]) -> list[tuple[str, str]]:
    said = [(each.name, each.text(request)) for each in due]
    return [pair for pair in said if pair[1]]


@implementer(IPlugin, IModule)
class HeadersModule:
    """
    The module.
    """

    name = "http_headers"
    directives: tuple[Directive[Any], ...] = (
        ADD_HEADER,
        ADD_TRAILER,
        ADD_HEADER_INHERIT,
        ADD_TRAILER_INHERIT,
        EXPIRES,
    )
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
        added = HeadersFilter(place.scope)
        if added:
            place.filter(added)


headers = HeadersModule()
