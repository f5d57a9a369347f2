"""
ngx_http_static_module and ngx_http_index_module: files for requests that nothing else answers, and what of
ngx_http_core_module is about files.

Strategy: a place's path comes from L{sniproxy.http.roots}, what a client wants of a file from L{sniproxy.http.ranges},
and how it is sent from L{sniproxy.http.file_sending}; here is what nginx decides in between, in its words.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from twisted.plugin import IPlugin
from zope.interface import implementer

from sniproxy.common.phases import FORBIDDEN, INTERNAL_SERVER_ERROR, OK
from sniproxy.config import values
from sniproxy.config.build import Build
from sniproxy.config.directives import MANY, Directive, Repeat, Scope
from sniproxy.config.grammar import Node
from sniproxy.config.template import Template, Variable
from sniproxy.errors import ConfigError
from sniproxy.http.dates import http_date
from sniproxy.http.error_page import kept
from sniproxy.http.exchange import Reply
from sniproxy.http.file_sending import FileSending
from sniproxy.http.files import MISSING, SYSTEM, Disk, Facts, OpenFile, trouble
from sniproxy.http.headers import Headers
from sniproxy.http.pages import CONTENT_TYPE, page_of
from sniproxy.http.phases import (
    MOVED_PERMANENTLY,
    NOT_ALLOWED,
    NOT_FOUND,
    NOT_MODIFIED,
    PARTIAL_CONTENT,
    RANGE_NOT_SATISFIABLE,
)
from sniproxy.http.ranges import Multipart, Since, Span, may_be_partial, spans_of, verdict
from sniproxy.http.roots import ALIAS, ROOT, BadPath, Root
from sniproxy.http.types import CONTEXTS, DEFAULT_TYPE, TYPES, ContentTypes
from sniproxy.http.uri import escape
from sniproxy.interfaces import IModule
from sniproxy.levels import ALERT, CRIT, ERROR

if TYPE_CHECKING:
    from sniproxy.common.server import Server
    from sniproxy.http.place import Place
    from sniproxy.http.request import Request

_READING: Final = frozenset(("GET", "HEAD"))
_KNOWN: Final = frozenset(("GET", "HEAD", "POST"))


def _index(node: Node, build: Build, scope: Scope) -> tuple[Template, ...]:
    for place, name in enumerate(node.args):
        if name.startswith("/") and place != len(node.args) - 1:
            build.warn('only the last index in "index" directive should be absolute', node)
        if not name:
            raise ConfigError(f'index "{node.args[0]}" in "index" directive is invalid')
    return tuple(build.template(name, node) for name in node.args)


INDEX: Final = Directive[tuple[tuple[Template, ...], ...]](
    "index", CONTEXTS, (1, MANY), _index, (), repeat=Repeat.LISTED
)
ETAG: Final[Directive[bool]] = Directive("etag", CONTEXTS, (1, 1), values.flag, True)
MAX_RANGES: Final[Directive[int]] = Directive("max_ranges", CONTEXTS, (1, 1), values.number, MANY)
IF_MODIFIED_SINCE: Final[Directive[Since]] = Directive(
    "if_modified_since",
    CONTEXTS,
    (1, 1),
    values.one_of({"off": Since.OFF, "exact": Since.EXACT, "before": Since.BEFORE}),
    Since.EXACT,
)
LOG_NOT_FOUND: Final[Directive[bool]] = Directive("log_not_found", CONTEXTS, (1, 1), values.flag, True)


def _autoindex(node: Node, build: Build, scope: Scope) -> bool:
    if values.flag(node, build, scope):
        raise ConfigError('"autoindex" directive is not supported by sniproxy: folders are not listed')
    return False


AUTOINDEX: Final[Directive[bool]] = Directive(
    "autoindex", (*CONTEXTS, "http.server.location.if"), (1, 1), _autoindex, False
)

_INDEX_HTML: Final = Template("index.html", ("index.html",))


def unlogged(error: OSError) -> tuple[int, int]:
    """
    @return: the status and the level of the error log for a file that could not be opened.
    """
    if error.errno in MISSING:
        return NOT_FOUND, ERROR
    return (FORBIDDEN, ERROR) if error.errno == errno.EACCES else (INTERNAL_SERVER_ERROR, CRIT)


class Static:
    """
    The content of one place where no directive gives it another one.
    """

    __slots__ = ("_disk", "_etag", "_indexes", "_log_not_found", "_most", "_since", "_types", "root")

    def __init__(self, scope: Scope, build: Build, disk: Disk) -> None:
        self.root = Root(scope, build)
        self._disk = disk
        self._types = ContentTypes(scope)
        self._indexes = tuple(name for names in scope[INDEX] for name in names) or (_INDEX_HTML,)
        self._etag = scope[ETAG]
        self._most = scope[MAX_RANGES]
        self._since = scope[IF_MODIFIED_SINCE]
        self._log_not_found = scope[LOG_NOT_FOUND]

    def __call__(self, request: Request) -> None:
        """
        Answer with the file, or say why not.
        """
        try:
            path = self.root.path(request)
        except BadPath as problem:
            request.error(str(problem))
            request.finalize(problem.status)
            return
        folder = request.uri.endswith("/")
        if folder and request.method in _KNOWN and self._find_index(request, path):
            return
        if request.method not in _KNOWN:
            request.finalize(NOT_ALLOWED)
        elif folder:
            request.error(f'directory index of "{path}" is forbidden')
            request.finalize(FORBIDDEN)
        else:
            self._answer(request, path)

    # Folders.

    def _find_index(self, request: Request, folder: str) -> bool:
        """
        @return: whether the request has been answered, or sent on.
        """
        tested = False
        for template in self._indexes:
            name = template.render(request)
            if name.startswith("/"):
                request.redirect(name, request.args or None)
                return True
            path = folder + name
            try:
                self._disk.facts(path)
            except OSError as error:
                if error.errno in (errno.ENOTDIR, errno.ENAMETOOLONG, errno.EACCES):
                    self._no_index(request, path, error)
                    return True
                if not tested and not self._is_folder(request, folder, path):
                    return True
                tested = True
                if error.errno != errno.ENOENT:
                    request.log(CRIT, f'stat() "{path}" failed {trouble(error)}')
                    request.finalize(INTERNAL_SERVER_ERROR)
                    return True
            else:
                request.redirect(request.uri + name, request.args or None)
                return True
        return False

    def _no_index(self, request: Request, path: str, error: OSError) -> None:
        if error.errno == errno.EACCES:
            request.error(f'"{path}" is forbidden {trouble(error)}')
            request.finalize(FORBIDDEN)
            return
        if self._log_not_found:
            request.error(f'"{path}" is not found {trouble(error)}')
        request.finalize(NOT_FOUND)

    def _is_folder(self, request: Request, folder: str, path: str) -> bool:
        """
        @return: whether there is a folder; else the request has been answered.
        """
        try:
            facts = self._disk.facts(folder.removesuffix("/") or "/")
        except OSError as error:
            if error.errno == errno.EACCES:
                return True
            if error.errno == errno.ENOENT:
                self._no_index(request, path, error)
            else:
                request.log(CRIT, f'stat() "{folder}" failed {trouble(error)}')
                request.finalize(INTERNAL_SERVER_ERROR)
            return False
        if facts.is_folder:
            return True
        request.log(ALERT, f'"{path}" is not a directory')
        request.finalize(INTERNAL_SERVER_ERROR)
        return False

    # Files.

    def _answer(self, request: Request, path: str) -> None:
        try:
            file = self._disk.open(path)
        except OSError as error:
            status, level = unlogged(error)
            if status != NOT_FOUND or self._log_not_found:
                request.log(level, f'open() "{path}" failed {trouble(error)}')
            request.finalize(status)
            return
        facts = file.facts
        if facts.is_file and request.method in _READING:
            request.cleanup.append(file.close)
            self._send(request, file, facts, path)
            return
        file.close()
        if facts.is_folder:
            arguments = f"?{request.args}" if request.args else ""
            request.redirect_out(MOVED_PERMANENTLY, escape(request.uri) + "/" + arguments)
        elif not facts.is_file:
            request.log(CRIT, f'"{path}" is not a regular file')
            request.finalize(NOT_FOUND)
        else:
            request.finalize(NOT_ALLOWED)

    def _send(self, request: Request, file: OpenFile, facts: Facts, path: str) -> None:
        request.action = "sending response to client"
        etag = f'"{facts.modified:x}-{facts.size:x}"' if self._etag else None
        mine = kept(request) in (0, OK)  # an answer that stands for an error has no conditions and no parts
        status = verdict(request.headers, etag, facts.modified, self._since) if mine else None
        if status is not None and status != NOT_MODIFIED:
            request.finalize(status)
            return
        content_type = self._types.of(request.uri)
        headers = Headers([("Content-Type", content_type)] if content_type and status is None else ())
        headers.add("Last-Modified", http_date(facts.modified))
        if etag is not None:
            headers.add("ETag", etag)
        if status is not None:
            request.begin(Reply(status, headers))
            request.end()
            return
        reply = Reply(OK, headers, facts.size)
        spans: tuple[Span, ...] | None = None
        wanted = request.headers.get("range") if mine and self._most else None
        if wanted is not None and may_be_partial(request.headers, etag, facts.modified) and _may_part(request, reply):
            spans = spans_of(wanted, facts.size, self._most)
        if spans == ():
            _not_satisfiable(request, facts.size)
            return
        parts: Sequence[Span | bytes]
        if spans is None:
            if self._most and mine:
                headers.add("Accept-Ranges", "bytes")
            parts = (Span(0, facts.size),) if facts.size else ()
        elif len(spans) == 1:
            headers.add("Content-Range", spans[0].of(facts.size))
            reply, parts = Reply(PARTIAL_CONTENT, headers, len(spans[0])), spans
        else:
            body = Multipart(f"{int.from_bytes(os.urandom(8), 'big'):020}", content_type, spans, facts.size)
            headers.set("Content-Type", body.content_type)
            reply = Reply(PARTIAL_CONTENT, headers, body.length)
            parts = [part for pair in zip(body.heads, spans, strict=True) for part in pair]
            parts.append(body.tail)
        request.begin(reply)
        if request.bodyless:
            request.end()
        else:
            FileSending(request, file, path, parts).begin()


def _may_part(request: Request, reply: Reply) -> bool:
    encoding = request.place.encoding
    return encoding is None or encoding.may_part(request, reply)


def _not_satisfiable(request: Request, size: int) -> None:
    error_page = request.place.error_page
    if error_page is not None and error_page(request, RANGE_NOT_SATISFIABLE):
        return
    status, body = page_of(RANGE_NOT_SATISFIABLE, request.place.limits, request.fields.get("user-agent", ""))
    request.respond(status, body or b"", CONTENT_TYPE, [("Content-Range", f"bytes */{size}")])


# Variables


def _static(request: Request) -> Static | None:
    """
    What finds the files of the place in force.
    """
    fallback = request.place.fallback
    return fallback if isinstance(fallback, Static) else None


def _document_root(request: Request) -> str | None:
    static = _static(request)
    return None if static is None else static.root.folder(request)


def _request_filename(request: Request) -> str | None:
    static = _static(request)
    if static is None:
        return None
    try:
        return static.root.path(request)
    except BadPath as problem:
        request.error(str(problem))
        return None


@implementer(IPlugin, IModule)
class StaticModule:
    """
    The module.
    """

    name = "http_static"
    directives = (
        TYPES,
        DEFAULT_TYPE,
        ROOT,
        ALIAS,
        INDEX,
        ETAG,
        MAX_RANGES,
        IF_MODIFIED_SINCE,
        LOG_NOT_FOUND,
        AUTOINDEX,
    )

    def __init__(self, disk: Disk = SYSTEM) -> None:
        self.disk = disk
        self.variables = (
            Variable("document_root", _document_root, volatile=True, kind="http"),
            Variable("realpath_root", self._realpath_root, volatile=True, kind="http"),
            Variable("request_filename", _request_filename, volatile=True, kind="http"),
        )

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
        place.fallback = Static(place.scope, build, self.disk)

    def _realpath_root(self, request: Request) -> str | None:
        folder = _document_root(request)
        if folder is None:
            return None
        try:
            return self.disk.real(folder)
        except OSError as error:
            request.log(CRIT, f'realpath() "{folder}" failed {trouble(error)}')
            return None


static = StaticModule()
