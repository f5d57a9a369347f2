"""
What do requests of tests run on? A configuration with the modules under test alone, the house's own requests and
places, and an exchange in memory that keeps what is answered.

    site = Site("location /a { return 200 b; }", [rewrite])
    answer = site.get("/a")
    answer.status, answer.body, answer.headers      # 200, b"b", Headers

Strategy: the blocks of C{http} are declared here in their simplest form, so that a module is proved without the rest
of the room; L{Request}, L{Place} and L{Headers} are real. An answer comes at once where the exchange has room.
"""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from sniproxy.addresses import Address
from sniproxy.config import values
from sniproxy.config.build import Build, configure
from sniproxy.config.directives import Directive, Inherit, Repeat, Scope
from sniproxy.config.regex import Regex
from sniproxy.config.template import Variable
from sniproxy.http.exchange import Reply
from sniproxy.http.files import Facts
from sniproxy.http.headers import Headers
from sniproxy.http.limits import Limits
from sniproxy.http.place import Place
from sniproxy.http.request import Request
from sniproxy.http.server import HttpServer
from sniproxy.levels import DEBUG
from sniproxy.logs.error_log import ErrorLog
from tests.support.sessions import NOW, bare_line

FILE: Final = "/etc/edge.conf"
LOCATION: Final = "http.server.location"
IFS: Final = ("http.server.if", "http.server.location.if")

CLIENT: Final = Address("inet", "192.0.2.77", 40000)
LOCAL: Final = Address("inet", "192.0.2.1", 80)


def _block(name: str, contexts: tuple[str, ...], arity: tuple[int, int], opens: str) -> Directive[Any]:
    return Directive(name, contexts, arity, values.block, (), Inherit.NEVER, Repeat.LISTED, opens=opens)


class Blocks:
    """
    The module of the blocks, and of some variables.
    """

    name = "test_blocks"
    directives = (
        _block("http", ("main",), (0, 0), "http"),
        _block("server", ("http",), (0, 0), "http.server"),
        _block("location", ("http.server", LOCATION), (1, 2), LOCATION),
    )
    variables = (
        Variable("uri", lambda request: request.uri, volatile=True, kind="http"),
        Variable("args", lambda request: request.args, volatile=True, kind="http"),
        Variable("host", lambda request: request.host, kind="http"),
        Variable("scheme", lambda request: request.scheme, kind="http"),
        Variable("status", lambda request: str(request.status), volatile=True, kind="http"),
        Variable("request_method", lambda request: request.method, kind="http"),
        Variable("http_", lambda name: lambda request: request.fields.get(name[5:]), prefix=True, kind="http"),
        Variable("arg_", lambda name: lambda request: _argument(request, name[4:]), prefix=True, kind="http"),
    )

    def prepare(self, build: Build) -> None:
        """
        Nothing to do.
        """

    def attach(self, server: Any, build: Build) -> None:
        """
        Nothing to do.
        """


def _argument(request: Request, name: str) -> str | None:
    for pair in request.args.split("&"):
        known, _, value = pair.partition("=")
        if known == name:
            return value
    return None


class _Deadlines:
    def clear(self, holder: Any) -> None:
        """
        Nobody waits here.
        """

    def set(self, holder: Any, seconds: float) -> None:
        """
        Nobody waits here.
        """


class _Runtime:
    """
    Clock and dice of a site.
    """

    def __init__(self) -> None:
        self.deadlines = _Deadlines()
        self.wall = NOW
        self.faults: list[BaseException] = []
        self.network: Any = None

    def now(self) -> float:
        """
        For intervals.
        """
        return self.wall - NOW

    def time(self) -> float:
        """
        For the wall.
        """
        return self.wall

    def internal_error(self) -> None:
        """
        What a test must not come to.
        """
        error = sys.exc_info()[1]
        assert error is not None
        raise error


class _Listening:
    by_name = False


class _Connection:
    """
    What a request asks of its session.
    """

    def __init__(self, runtime: _Runtime, tls: Any, local: Address) -> None:
        self.runtime = runtime
        self.listening = _Listening()
        self.number = 1
        self.peer = CLIENT
        self.local = local
        self.tls = tls
        self.hello = None
        self.plain_on_tls = False


class Answer:
    """
    An exchange in memory: one request, and what was answered.

    @ivar request: what is answered.
    @ivar body: what was sent.
    @ivar room: bytes that are taken before C{send} says to wait; None for no end.
    @ivar ended: the answer is whole.
    @ivar aborted: it never will be.
    @ivar trailers: what followed the body.
    """

    text = "HTTP/1.1"

    def __init__(self) -> None:
        self.request: Request | None = None
        self.reply: Reply | None = None
        self.body = b""
        self.pieces: list[int] = []
        self.head_sent = 0
        self.room: int | None = None
        self.ended = False
        self.aborted = False
        self.trailers: Sequence[tuple[str, str]] = ()

    @property
    def status(self) -> int:
        """
        That the client was told; 0 for none.
        """
        return 0 if self.reply is None else self.reply.status

    @property
    def headers(self) -> Headers:
        """
        Of the answer.
        """
        assert self.reply is not None, "nothing was answered"
        return self.reply.headers

    def field(self, name: str) -> str | None:
        """
        One field of the answer's head, by its name in any case.
        """
        return self.headers.get(name.lower())

    def read_body(self) -> bytes | None:
        """
        Nothing was sent.
        """
        return b""

    def begin(self, request: Request, reply: Reply, bodyless: bool) -> None:
        """
        Keep the head.
        """
        assert self.reply is None, "a second answer"
        self.reply = reply

    def send(self, data: bytes) -> bool:
        """
        Keep a piece.
        """
        assert self.reply is not None and not self.ended and not self.aborted
        self.body += data
        self.pieces.append(len(data))
        return self.room is None or len(self.body) < self.room

    def flush(self) -> None:
        """
        Nothing is kept.
        """

    def end(self, trailers: Sequence[tuple[str, str]]) -> None:
        """
        It is whole.
        """
        assert self.reply is not None and not self.ended
        if self.reply.length is not None and not self.reply.status == 304 and self.request is not None:
            assert self.request.bodyless or len(self.body) == self.reply.length, "not as long as promised"
        self.ended = True
        self.trailers = trailers
        self.over()

    def abort(self) -> None:
        """
        It is broken off.
        """
        self.aborted = True
        self.over()

    def over(self) -> None:
        """
        The request is over.
        """
        assert self.request is not None
        self.request.done()

    def upgrade(self, reply: Reply) -> Any:
        """
        Not here.
        """
        raise NotImplementedError

    def more_room(self, bytes_: int | None) -> None:
        """
        The client takes so many more.
        """
        self.room = None if bytes_ is None else len(self.body) + bytes_
        assert self.request is not None
        self.request.on_writable()


class Site:
    """
    One C{server} at work.

    @ivar lines: of the error log, without time and process.
    @ivar places: by the names of locations: C{"/a"}, C{"@b"}, the text of an expression; C{""} is the server.
    @ivar by_scope: all of them by their blocks, those of C{if} too.
    """

    def __init__(
        self,
        text: str,
        modules: Sequence[Any],
        *,
        outside: str = "",
        files: Mapping[str, bytes] = {},
        tls: Any = None,
        local: Address = LOCAL,
        **limits: Any,
    ) -> None:
        """
        @param text: the inside of the server.
        @param outside: what stands in C{http} besides.
        @param limits: settings of L{Limits}.
        """
        self.lines: list[str] = []
        self.runtime = _Runtime()
        self.places: dict[str, Place] = {}
        self.limits = Limits(**limits)
        self._tls = tls
        self._local = local
        self._log = ErrorLog([(DEBUG, lambda level, line: self.lines.append(bare_line(line)))], self.runtime.time)

        def read(path: str) -> bytes:
            if path not in files:
                raise FileNotFoundError(errno.ENOENT, "No such file or directory", path)
            return files[path]

        self.build = configure(
            f"http {{ {outside} server {{ {text} }} }}",
            [Blocks(), *modules],
            file=FILE,
            prefix="/var",
            read=read,
            time=self.runtime.time,
            assemble=[self._assemble],
        )
        self.warnings = [str(each) for each in self.build.warnings]

    def _assemble(self, build: Build) -> None:
        build.kind = "http"
        (http,) = build.root.inside("http")
        (scope,) = http.inside("http.server")
        self.server = HttpServer(scope, self._log, True, self.limits)
        self.server.names = ("www.example.com",)
        found: dict[Scope, Place] = build.shared.setdefault(Place, {})
        self.by_scope = found
        found[scope] = self.places[""] = self.server.place
        self._inside(self.server.place, found)
        for place in found.values():
            for module in build.modules:
                attach = getattr(module, "attach_place", None)
                if attach is not None:
                    attach(place, build)
        build.kind = "stream"

    def _inside(self, outer: Place, found: dict[Scope, Place]) -> None:
        for scope in outer.scope.children:
            place = Place(scope, self.server, self._log, self.limits)
            assert scope.node is not None
            if scope.context in IFS:
                place.around = outer
                place.name = outer.name
            else:
                *mark, place.name = scope.node.args
                if mark == ["~"]:
                    place.regex = Regex(place.name)
                place.exact = mark == ["="]
                if place.name.startswith("@"):
                    self.server.named[place.name] = place
                else:
                    outer.inside.add(place)
                self.places[place.name] = place
            found[scope] = place
            self._inside(place, found)

    def get(
        self,
        target: str,
        *fields: tuple[str, str],
        method: str = "GET",
        host: str = "www.example.com",
        room: int | None = None,
        prepared: Callable[[Request], None] | None = None,
    ) -> Answer:
        """
        A request comes.

        @param target: path and arguments as they are sent.
        @param fields: of its head, besides C{Host}.
        @param room: see L{Answer}.
        @param prepared: called with the request before it walks.
        """
        answer = Answer()
        answer.room = room
        session: Any = _Connection(self.runtime, self._tls, self._local)
        exchange: Any = answer
        request = Request(session, exchange, self.server, self.runtime.now())
        answer.request = request
        request.method = method
        request.target = target
        request.line = f"{method} {target} HTTP/1.1"
        pairs = [*([("Host", host)] if host else ()), *fields]
        request.headers = Headers(pairs)
        request.fields = {name.lower(): value for name, value in pairs}
        if prepared is not None:
            prepared(request)
        request.start()
        return answer

    def said(self) -> list[str]:
        """
        The error log without what is added about the request.
        """
        return [line.partition(", client:")[0] for line in self.lines]


class MemoryFile:
    """
    One file of a L{MemoryDisk}.
    """

    def __init__(self, disk: MemoryDisk, path: str, facts: Facts) -> None:
        self.facts = facts
        self._disk = disk
        self._path = path
        disk.open_files += 1

    def read(self, place: int, size: int) -> bytes:
        """
        @see: L{sniproxy.http.files.OpenFile.read}
        """
        self._disk.reads.append((place, size))
        data = self._disk.contents[self._path]
        if isinstance(data, OSError):
            raise data
        return data[place : place + size]

    def close(self) -> None:
        """
        @see: L{sniproxy.http.files.OpenFile.close}
        """
        self._disk.open_files -= 1


class MemoryDisk:
    """
    Files in memory, all last changed at one time.

    @ivar contents: by path; a folder is there where something lies in it. An error is raised where one stands.
    @ivar odd: paths of what is neither file nor folder.
    @ivar programs: paths of files that may be executed.
    @ivar refused: numbers of errors by paths.
    @ivar reads: place and size of each piece that was read.
    @ivar open_files: how many there are now.
    """

    MODIFIED: Final = 784111777

    def __init__(self, contents: Mapping[str, bytes | OSError] = {}) -> None:
        self.contents = dict(contents)
        self.odd: set[str] = set()
        self.programs: set[str] = set()
        self.refused: dict[str, int] = {}
        self.reads: list[tuple[int, int]] = []
        self.open_files = 0

    def facts(self, path: str) -> Facts:
        """
        @see: L{sniproxy.http.files.Disk.facts}
        """
        number = self.refused.get(path)
        if number is not None:
            raise OSError(number, "Refused", path)
        if path in self.odd:
            return Facts(is_file=False)
        data = self.contents.get(path)
        if data is not None and not path.endswith("/"):
            size = 10 if isinstance(data, OSError) else len(data)
            return Facts(size, self.MODIFIED, executable=path in self.programs)
        inside = path if path.endswith("/") else path + "/"
        if any(name.startswith(inside) for name in self.contents):
            return Facts(4096, self.MODIFIED, is_file=False, is_folder=True, executable=True)
        if any(path.startswith(name + "/") for name in self.contents):
            raise NotADirectoryError(errno.ENOTDIR, "Not a directory", path)
        raise FileNotFoundError(errno.ENOENT, "No such file or directory", path)

    def open(self, path: str) -> MemoryFile:
        """
        @see: L{sniproxy.http.files.Disk.open}
        """
        return MemoryFile(self, path, self.facts(path))

    def real(self, path: str) -> str:
        """
        @see: L{sniproxy.http.files.Disk.real}
        """
        self.facts(path)
        return "/real" + path
