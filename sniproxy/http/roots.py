"""
Which path on the disk does a request mean? C{root} and C{alias} of ngx_http_core_module.

Strategy: a place finds the nearest of the two once; a request then only adds its path. What is added has been cleaned
when the request came, but a C{rewrite} or C{try_files} may have made another one of what the client sent: nothing that
climbs is ever looked up.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from sniproxy.config.build import Build
from sniproxy.config.directives import Directive, Scope
from sniproxy.config.grammar import Node
from sniproxy.config.template import Reference, Template
from sniproxy.errors import ConfigError

LOCATION: Final = "http.server.location"
IF: Final = "http.server.location.if"

_FORBIDDEN: Final = ("document_root", "realpath_root")


class BadPath(Exception):
    """
    There is no path on the disk for this request, and the message says why.

    @ivar status: what the request comes to.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def _folder(node: Node, build: Build, scope: Scope) -> Template:
    other = ALIAS if node.name == "root" else ROOT
    if scope.has(other):
        if other is ALIAS:
            raise ConfigError('"root" directive is duplicate, "alias" directive was specified earlier')
        raise ConfigError('"alias" directive is duplicate, "root" directive was specified earlier')
    text = node.args[0]
    if other is ROOT and located(scope).startswith("@"):
        raise ConfigError('the "alias" directive cannot be used inside the named location')
    template = build.template(text, node)
    for piece in template.pieces:
        if isinstance(piece, Reference) and piece.name in _FORBIDDEN:
            raise ConfigError(f'the ${piece.name} variable cannot be used in the "{node.name}" directive')
    return template


ROOT: Final[Directive[Template | None]] = Directive(
    "root", ("http", "http.server", LOCATION, IF), (1, 1), _folder, None
)
ALIAS: Final[Directive[Template | None]] = Directive("alias", (LOCATION,), (1, 1), _folder, None)


def located(scope: Scope) -> str:
    """
    @return: the beginning of paths, the path or the C{@name} that a location is for; empty for an expression, and
        where the block is no location.
    """
    node = scope.node
    if node is None or node.name != "location" or not node.args:
        return ""
    name = node.args[-1]
    modifier = node.args[0] if len(node.args) > 1 else ""
    if not modifier:
        # the modifier may stick to the name
        modifier = next((each for each in ("^~", "~*", "=", "~") if name.startswith(each)), "")
        name = name[len(modifier) :]
    return "" if modifier in ("~", "~*") else name


class Root:
    """
    Where the files of one place are.

    @ivar alias: whether the location's own part of the path is left out.
    @ivar name: that part; empty for an expression, whose alias is the whole path.
    """

    __slots__ = ("_constant", "_prefixed", "_text", "alias", "name")

    def __init__(self, scope: Scope, build: Build) -> None:
        self._prefixed: Callable[[str], str] = build.prefixed
        self._text: Template | None = None
        self._constant: str | None = None
        self.alias = False
        self.name = ""
        at: Scope | None = scope
        while at is not None and self._text is None:
            if at.has(ALIAS):
                self._text, self.alias, self.name = at.values[ALIAS], True, located(at)
            elif at.has(ROOT):
                self._text = at.values[ROOT]
            at = at.parent
        if self._text is None:
            self._constant = build.prefixed("html")
        elif self._text.constant is not None:
            self._constant = self._whole(self._text.constant)

    def _whole(self, text: str) -> str:
        folder = self._prefixed(text)
        return folder[:-1] if folder.endswith("/") and not self.alias else folder

    def folder(self, request: Any) -> str:
        """
        C{$document_root}: absolute, without a slash at the end unless an C{alias} has one.
        """
        if self._constant is not None:
            return self._constant
        assert self._text is not None
        return self._whole(self._text.render(request))

    def path(self, request: Any) -> str:
        """
        C{$request_filename}.

        @raise BadPath: it would lie outside, or cannot be said.
        """
        uri: str = request.uri
        check(uri)
        folder = self.folder(request)
        if not self.alias:
            return folder + uri
        if not self.name:
            return folder + uri if request.notes.get(Root) else folder
        if not uri.startswith(self.name):
            raise BadPath(500, f'"alias" cannot be used in location "{self.name}" where URI was rewritten')
        return folder + uri[len(self.name) :]


def check(path: str) -> None:
    """
    @raise BadPath: it climbs, or has a NUL.
    """
    if (".." in path and ".." in path.split("/")) or "\0" in path:
        raise BadPath(404, f'unsafe URI "{path}" was detected')
