"""
C{return} of ngx_http_rewrite_module: a status, with a text or an address.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from sniproxy.common.phases import WAIT
from sniproxy.config import values
from sniproxy.config.build import Build
from sniproxy.config.directives import Directive, Inherit, Repeat, Scope
from sniproxy.config.grammar import Node
from sniproxy.config.template import Template
from sniproxy.errors import ConfigError
from sniproxy.http.phases import FOUND, MOVED_PERMANENTLY, NO_CONTENT, PERMANENT_REDIRECT, SEE_OTHER, TEMPORARY_REDIRECT
from sniproxy.http.types import ContentTypes

if TYPE_CHECKING:
    from sniproxy.http.request import Request

CONTEXTS: Final = ("http.server", "http.server.location", "http.server.if", "http.server.location.if")

ADDRESSES: Final = ("http://", "https://", "$scheme")
"""How a text begins that is an address of somewhere else."""

_REDIRECTS: Final = frozenset((MOVED_PERMANENTLY, FOUND, SEE_OTHER, TEMPORARY_REDIRECT, PERMANENT_REDIRECT))
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_ERROR: Final = 400


class Return:
    """
    One C{return}.
    """

    __slots__ = ("_status", "_text")

    def __init__(self, status: int, text: Template | None) -> None:
        self._status = status
        self._text = text

    def __call__(self, request: Request, types: ContentTypes) -> Any:
        """
        @param types: of the block it stands in.
        @return: a status that has no text of its own, or C{WAIT} where the request has been answered.
        """
        status, text = self._status, self._text
        if status >= _ERROR and (text is None or not text.text):
            return status
        request.status = request.status or status  # which the text may show
        said = "" if text is None else text.render(request)
        if status in _REDIRECTS:
            send_elsewhere(request, status, said)
        elif status == NO_CONTENT:
            request.respond(status)
        else:
            body = said.encode("utf-8", "surrogateescape")
            request.respond(status, body, types.of(request.uri) or None)
        return WAIT


def send_elsewhere(request: Request, status: int, location: str) -> None:
    """
    Answer with an address, unless an C{error_page} stands for the status. What the client has put into it ends no line.
    """
    error_page = request.place.error_page
    if error_page is None or not error_page(request, status):
        request.redirect_out(status, _CONTROL.sub(lambda found: f"%{ord(found[0]):02X}", location))


def _return(node: Node, build: Build, scope: Scope) -> Return:
    first = node.args[0]
    status = values.number_of(first)
    if status is None:
        if len(node.args) > 1 or not first.startswith(ADDRESSES):
            raise ConfigError(f'invalid return code "{first}"')
        return Return(FOUND, build.template(first, node))
    if status > 999:
        raise ConfigError(f'invalid return code "{first}"')
    return Return(status, build.template(node.args[1], node) if len(node.args) > 1 else None)


RETURN: Final[Directive[tuple[Return, ...]]] = Directive(
    "return", CONTEXTS, (1, 2), _return, (), Inherit.NEVER, Repeat.LISTED
)
