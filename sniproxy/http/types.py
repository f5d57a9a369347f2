"""
Which C{Content-Type} has what is found under a path? C{types} and C{default_type} of ngx_http_core_module.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from sniproxy.config import values
from sniproxy.config.build import Build
from sniproxy.config.directives import Directive, Repeat, Scope
from sniproxy.config.grammar import Node

CONTEXTS: Final = ("http", "http.server", "http.server.location")

DEFAULT_TYPES: Final = MappingProxyType({"html": "text/html", "gif": "image/gif", "jpg": "image/jpeg"})
"""Where no block has said any."""

Types = dict[str, str]
"""Types by the ends of names, in lower case."""

_SEEN: Final = "types of a block"


def _types(node: Node, build: Build, scope: Scope) -> Types:
    found: Types = {}
    seen: Types = build.shared.setdefault((_SEEN, scope), {})
    for line in build.lines(node):
        for word in line.args:
            end = word.lower()
            if end in seen:
                build.warn(
                    f'duplicate extension "{end}", content type: "{line.name}", previous content type: "{seen[end]}"',
                    line,
                )
            seen[end] = found[end] = line.name
    return found


TYPES: Final[Directive[tuple[Types, ...]]] = Directive(
    "types", CONTEXTS, (0, 0), _types, (), repeat=Repeat.LISTED, free=True
)
DEFAULT_TYPE: Final[Directive[str]] = Directive("default_type", CONTEXTS, (1, 1), values.text, "text/plain")


def extension(path: str) -> str:
    """
    What follows the last dot of the last segment, in lower case; empty where there is none, or nothing before it.
    """
    name = path[path.rfind("/") + 1 :]
    dot = name.rfind(".")
    return name[dot + 1 :].lower() if dot > 0 else ""


class ContentTypes:
    """
    The types of one place.
    """

    __slots__ = ("_default", "_types")

    def __init__(self, scope: Scope) -> None:
        self._default = scope[DEFAULT_TYPE]
        self._types: dict[str, str] = {}
        blocks = scope[TYPES]
        if scope.where(TYPES) is None:
            self._types.update(DEFAULT_TYPES)
        for block in blocks:
            self._types.update(block)

    def of(self, path: str) -> str:
        """
        @param path: decoded.
        @return: its type; empty where C{default_type} is.
        """
        return self._types.get(extension(path), self._default)
