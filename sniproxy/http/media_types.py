"""
Which C{Content-Type}s does a directive mean? Lists of types, as C{gzip_types} has one (C{ngx_http_types_slot}).
"""

from __future__ import annotations

import re
from typing import Final

from sniproxy.config.build import Build
from sniproxy.config.directives import Directive, Scope
from sniproxy.config.grammar import Node
from sniproxy.config.values import Convert
from sniproxy.http.headers import Headers

Types = frozenset[str]
"""In lower case."""

_CHARSET: Final = re.compile("; *charset=", re.IGNORECASE)

ANY: Final[Types] = frozenset("*")
"""All of them, and answers that say none."""


def media_types(*always: str) -> Convert[Types]:
    """
    A list in a file.

    @param always: what a list has besides what it says.
    """

    def convert(node: Node, build: Build, scope: Scope) -> Types:
        seen: set[str] = build.shared.setdefault((media_types, node.name, scope), set(always))
        found: set[str] = set(always)
        for word in node.args:
            if word == "*":
                return ANY
            if word.lower() in seen:
                build.warn(f'duplicate MIME type "{word.lower()}"', node)
            seen.add(word.lower())
            found.add(word.lower())
        return frozenset(found)

    return convert


def types_in_force(scope: Scope, directive: Directive[tuple[Types, ...]], *default: str) -> Types:
    """
    @param default: what holds where no block says anything.
    """
    found = scope[directive]
    return ANY if ANY in found else frozenset(default if not found else ()).union(*found)


def type_of(headers: Headers) -> str:
    """
    What an answer says it is, in lower case and without the charset; with other parameters it is none of a list's, as
    in nginx. Empty where it says nothing.
    """
    said = headers.get("content-type") or ""
    found = _CHARSET.search(said)
    return said[: found.start()].lower() if found else said.lower()


def has_charset(said: str) -> bool:
    """
    Whether a type comes with a charset.
    """
    return _CHARSET.search(said) is not None
