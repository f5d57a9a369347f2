"""
C{error_page} and C{recursive_error_pages} of ngx_http_core_module: what else is answered than nginx's own pages.

Strategy: a status goes to a path, a named location or an address. What is answered there keeps the status it was
called for, unless another one was said: a filter of every place sets it, and C{request.notes} remember it on the way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from twisted.plugin import IPlugin
from zope.interface import implementer

from sniproxy.common.phases import OK
from sniproxy.config import values
from sniproxy.config.build import Build
from sniproxy.config.directives import MANY, Directive, Repeat, Scope
from sniproxy.config.grammar import Node
from sniproxy.config.template import Template
from sniproxy.errors import ConfigError
from sniproxy.http.phases import (
    CERTIFICATE_ERROR,
    FOUND,
    HEADER_TOO_LARGE,
    NO_CERTIFICATE,
    NOT_MODIFIED,
    PARTIAL_CONTENT,
    PLAIN_ON_TLS,
)
from sniproxy.interfaces import IModule

if TYPE_CHECKING:
    from sniproxy.common.server import Server
    from sniproxy.http.exchange import Reply
    from sniproxy.http.place import Place
    from sniproxy.http.request import Request

_CONTEXTS: Final = ("http", "http.server", "http.server.location", "http.server.location.if")

_BAD_REQUESTS: Final = frozenset((HEADER_TOO_LARGE, CERTIFICATE_ERROR, NO_CERTIFICATE, PLAIN_ON_TLS))
_DATED: Final = frozenset((OK, PARTIAL_CONTENT, NOT_MODIFIED))
"""Answers that may say when what is in them was changed."""

_MOST: Final = 10
"""After so many changes of the path another one would be refused."""

_KEPT: Final = "error_page: the status"
_DONE: Final = "error_page: was asked"


@dataclass(frozen=True, slots=True)
class ErrorPage:
    """
    One C{error_page}.

    @ivar statuses: what it is for.
    @ivar shown: the status the client is told; 0 for that of the answer, None for the one it is for.
    @ivar target: a path, a C{@name}, or an address.
    """

    statuses: tuple[int, ...]
    shown: int | None
    target: Template


def _error_page(node: Node, build: Build, scope: Scope) -> ErrorPage:
    *words, target = node.args
    shown: int | None = None
    if words[-1].startswith("="):
        word = words.pop()
        shown = values.number_of(word[1:]) if word[1:] else 0
        if not words or shown is None:
            raise ConfigError(f'invalid value "{word}"')
    statuses = []
    for word in words:
        status = values.number_of(word)
        if status is None or status == 499:
            raise ConfigError(f'invalid value "{word}"')
        if not 300 <= status <= 599:
            raise ConfigError(f'value "{word}" must be between 300 and 599')
        statuses.append(status)
    return ErrorPage(tuple(statuses), shown, build.template(target, node))


def _noted(node: Node, build: Build, scope: Scope) -> ErrorPage:
    page = _error_page(node, build, scope)
    build.shared[ErrorPages] = True
    return page


ERROR_PAGE: Final = Directive[tuple[ErrorPage, ...]](
    "error_page", _CONTEXTS, (2, MANY), _noted, (), repeat=Repeat.LISTED
)
RECURSIVE: Final[Directive[bool]] = Directive("recursive_error_pages", _CONTEXTS[:3], (1, 1), values.flag, False)


class ErrorPages:
    """
    Those of one place.
    """

    __slots__ = ("_pages", "_recursive")

    def __init__(self, scope: Scope) -> None:
        self._recursive = scope[RECURSIVE]
        self._pages: dict[int, ErrorPage] = {}
        for page in scope[ERROR_PAGE]:
            for status in page.statuses:
                self._pages.setdefault(status, page)

    def __call__(self, request: Request, status: int) -> bool:
        """
        @return: whether the request has gone elsewhere.
        """
        notes = request.notes
        notes.pop(_KEPT, None)
        if not self._pages or _DONE in notes or request.redirects > _MOST:
            return False
        if not self._recursive:
            notes[_DONE] = True
        page = self._pages.get(status)
        if page is None:
            return False
        shown = page.shown
        if shown is None:
            shown = 400 if status in _BAD_REQUESTS else status
        target = page.target.render(request)
        if not target.startswith(("/", "@")):
            request.redirect_out(FOUND, target)
            return True
        request.status = notes[_KEPT] = shown
        if target.startswith("@"):
            request.named(target)
            return True
        if request.method != "HEAD":
            request.method = "GET"
        path, question, args = target.partition("?")
        request.redirect(path, args if question else None)
        return True


def kept(request: Request) -> int:
    """
    The status an answer will have that stands for an error; 0 where it is its own.
    """
    status: int = request.notes.get(_KEPT, 0) if request.internal else 0
    return status


def keep(request: Request, reply: Reply) -> None:
    """
    The filter that gives it.
    """
    status = kept(request)
    if status == OK and reply.status in _DATED:
        request.status = reply.status  # parts and conditions count for it
    elif status:
        request.status = reply.status = status
        reply.reason = None
        if status not in _DATED:
            reply.headers.remove("last-modified")


@implementer(IPlugin, IModule)
class ErrorPageModule:
    """
    The module. Its name comes before those of modules whose filters want to know the status.
    """

    name = "http_error_page"
    directives = (ERROR_PAGE, RECURSIVE)
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
        if ErrorPages in build.shared:
            place.error_page = ErrorPages(place.scope)
            place.filter(keep)


error_page = ErrorPageModule()
