"""
Requests over connections in memory, to a whole configuration: L{tests.support.sessions.World} for C{http}.

    web = Web("location /a { answer 200 hello; }")
    web.ask("GET /a HTTP/1.1", "Host: x")          # an Answer: status, headers, body

The directive C{answer} is a test's content: it waits for nobody. What else a test wants done it hands in as modules.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from sniproxy.config import values
from sniproxy.config.build import Build
from sniproxy.config.directives import Directive, Inherit
from sniproxy.http.headers import Headers
from sniproxy.http.place import Place
from sniproxy.http.request import Request
from sniproxy.wire.http1 import Data, End, Refused, ResponseHead, ResponseReader
from tests.support.sessions import FakeLeg, World

CONTEXTS = ("http.server", "http.server.location", "http.server.location.if")


class Answer(NamedTuple):
    """
    What a client gets.
    """

    status: int
    headers: Headers
    body: bytes
    reason: str


class Content:
    """
    A module whose directive C{content NAME} lets a function of the test answer; requests that are over are kept.

    @ivar over: in order, when their log phase runs.
    """

    name = "test_content"
    variables = ()

    def __init__(self, contents: Mapping[str, Callable[[Request], None]]) -> None:
        self.contents = contents
        self.over: list[Request] = []
        self.directive: Directive[str | None] = Directive("content", CONTEXTS, (1, 1), values.text, None, Inherit.NEVER)
        self.directives = (self.directive,)

    def prepare(self, build: Build) -> None:
        """
        Nothing to do.
        """

    def attach(self, server: Any, build: Build) -> None:
        """
        Nothing to do.
        """

    def attach_place(self, place: Place, build: Build) -> None:
        """
        Let the test answer.
        """
        place.handle("log", self.over.append)
        name = place.scope[self.directive]
        node = place.scope.where(self.directive)
        if name is not None and node is not None:
            place.take_content(self.contents[name], node)


def hello(request: Request) -> None:
    """
    A short answer.
    """
    request.respond(200, b"hello\n", "text/plain")


class Web:
    """
    One server of http at work, with its clients in the test's hands.

    @ivar world: the world it is in.
    @ivar over: requests that are over.
    """

    def __init__(
        self,
        server: str,
        contents: Mapping[str, Callable[[Request], None]] = {},
        http: str = "",
        modules: Sequence[Any] = (),
        **more: Any,
    ) -> None:
        """
        @param server: the inside of the server.
        @param contents: what answers, by the names that C{content} has; C{hello} is there.
        @param http: what stands before the server.
        """
        self._content = Content({"hello": hello, **contents})
        listen = "" if "listen " in server else "listen 192.0.2.1:80;"
        text = f"http {{ {http}\nserver {{ {listen} {server} }} }}"
        self.world = World(text, modules=[self._content, *modules], **more)
        self.over = self._content.over
        self.lines = self.world.lines

    def client(self, data: bytes = b"") -> FakeLeg:
        """
        A client connects.
        """
        return self.world.client(data)

    def ask(self, line: str, *fields: str, body: bytes = b"") -> Answer:
        """
        One request on a connection of its own, which ends with it.
        """
        leg = self.client(head(line, *fields) + body)
        (answer,) = answers(leg.taken(), [line.split(" ")[0]])
        leg.end()
        self.world.network.turn()
        return answer

    def turn(self) -> None:
        """
        Tell of what is due.
        """
        self.world.network.turn()


def head(line: str, *fields: str) -> bytes:
    """
    The head of a request; with a host, unless there is one.
    """
    if not any(field.lower().startswith("host:") for field in fields):
        fields = ("Host: x", *fields)
    return "\r\n".join([line, *fields, "", ""]).encode("utf-8", "surrogateescape")


def answers(data: bytes, methods: Sequence[str] = ("GET",)) -> list[Answer]:
    """
    What the bytes of a connection say; those that are still to come are not asked for.
    """
    found: list[Answer] = []
    for method in methods:
        reader = ResponseReader(65536)
        reader.begin(method)
        reader.feed(data)
        answer: ResponseHead | None = None
        body = b""
        while True:
            event = reader.next()
            if isinstance(event, ResponseHead):
                answer = event
            elif isinstance(event, Data):
                body += event.data
            elif isinstance(event, Refused):
                raise AssertionError(event.reason)
            else:
                if event is None:
                    event = reader.finish()
                break
        data = reader.held
        if answer is None:
            break
        assert isinstance(event, End), event
        found.append(Answer(answer.status, Headers(answer.headers), body, answer.reason))
    return found
