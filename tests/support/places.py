"""
What do modules do in http, by themselves? The blocks of C{http}, places that note their handlers, and requests in which
nothing happens: no core of http, so that what stream and http share is tried alone.

    world = Places("server { location / { deny all; } }", [access])
    request = world.request()
    world.run("access", request)        # what the handlers of the innermost place answer
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, Final

from sniproxy.addresses import Address
from sniproxy.config.build import Build, configure
from sniproxy.config.directives import Directive, Inherit, Repeat, Scope
from sniproxy.config.grammar import Node
from sniproxy.config.template import Variable
from sniproxy.config.values import block
from sniproxy.http.headers import Headers
from sniproxy.levels import DEBUG, ERROR, INFO
from tests.support.sessions import CLIENT, FILE, NOW, lone_session


def _block(name: str, contexts: tuple[str, ...], opens: str, most: int = 0) -> Directive[tuple[Scope, ...]]:
    return Directive(name, contexts, (0, most), block, (), Inherit.NEVER, Repeat.LISTED, opens=opens)


class Blocks:
    """
    The blocks themselves.
    """

    name = "blocks"
    directives: Final = (
        _block("stream", ("main",), "stream"),
        _block("http", ("main",), "http"),
        _block("server", ("http",), "http.server"),
        _block("server", ("stream",), "stream.server"),
        _block("location", ("http.server", "http.server.location"), "http.server.location", 2),
        _block("limit_except", ("http.server.location",), "http.server.location.limit_except", 9),
        _block("if", ("http.server.location",), "http.server.location.if", 9),
    )
    variables = ()

    def prepare(self, build: Build) -> None:
        """
        Nothing.
        """


class Declared:
    """
    A module of nothing but declarations.
    """

    name = "declared"

    def __init__(self, *directives: Directive[Any], variables: Sequence[Variable] = ()) -> None:
        self.directives = directives
        self.variables = tuple(variables)

    def prepare(self, build: Build) -> None:
        """
        Nothing.
        """


class FakePlace:
    """
    One block, and what is done in it.
    """

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.phases: dict[str, list[Callable[[Any], Any]]] = {}

    def handle(self, phase: str, handler: Callable[[Any], Any]) -> None:
        """
        @see: L{sniproxy.http.place.Place.handle}
        """
        self.phases.setdefault(phase, []).append(handler)


class FakeRequest:
    """
    A request in which nothing happens, of a connection in which nothing happens.

    @ivar lines: its error log, as C{(level, message)}.
    """

    def __init__(self, headers: Sequence[tuple[str, str]] = (), peer: Address = CLIENT, session: Any = None) -> None:
        self.session = lone_session(peer) if session is None else session
        self.runtime = self.clock = self.session.runtime
        self.listening = self.session.listening
        self.number = self.session.number
        self.peer = self.session.peer
        self.local = self.session.local
        self.headers = Headers(headers)
        self.values: dict[str, str | None] = {}
        self.captures: tuple[str, ...] | None = None
        self.notes: dict[Any, Any] = {}
        self.cleanup: list[Callable[[], None]] = []
        self.upstream_states: list[Any] = []
        self.place = SimpleNamespace(limits=SimpleNamespace(satisfy_any=False))
        self.status = 0
        self.lines: list[tuple[int, str]] = []

    @property
    def tls(self) -> Any:
        """
        Of the connection.
        """
        return self.session.tls

    @property
    def hello(self) -> Any:
        """
        Of the connection.
        """
        return self.session.hello

    def log(self, level: int, message: str) -> None:
        """
        Note a line.
        """
        if level <= DEBUG:
            self.lines.append((level, message))

    def error(self, message: str) -> None:
        """
        Note an error.
        """
        self.log(ERROR, message)

    def info(self, message: str) -> None:
        """
        Note something.
        """
        self.log(INFO, message)

    def end(self) -> None:
        """
        The request is over.
        """
        cleanup, self.cleanup = self.cleanup, []
        for step in cleanup:
            step()


class Places:
    """
    A configuration of nothing but these modules, and a place for each block inside C{http}.

    @ivar places: outer ones before those inside.
    """

    def __init__(
        self,
        text: str,
        modules: Sequence[Any],
        files: Mapping[str, bytes] = {},
        names: Mapping[str, Sequence[str]] = {},
        prefix: str = "/var",
    ) -> None:
        """
        @param text: the inside of C{http}, or a whole file that has such a block.
        @raise sniproxy.errors.ConfigErrors: what is wrong.
        """

        def read(path: str) -> bytes:
            if path not in files:
                raise FileNotFoundError(2, "No such file or directory", path)
            return files[path]

        def lookup(host: str) -> tuple[str, ...]:
            if host not in names:
                raise OSError(-2, "Name or service not known")
            return tuple(names[host])

        self.places: list[FakePlace] = []
        self.build = configure(
            text if "http {" in text else f"http {{\n{text}\n}}",
            [Blocks(), *modules],
            file=FILE,
            prefix=prefix,
            read=read,
            lookup=lookup,
            time=lambda: NOW,
            assemble=(self._assemble,),
        )

    def _assemble(self, build: Build) -> None:
        build.kind = "http"
        for http in build.root.inside("http"):
            for scope in _inside(http):
                place = FakePlace(scope)
                self.places.append(place)
                for module in build.modules:
                    if hasattr(module, "attach_place"):
                        module.attach_place(place, build)

    def run(self, phase: str, request: FakeRequest, at: int = -1) -> list[Any]:
        """
        @param at: which of the places.
        @return: what the handlers of the phase answer.
        """
        return [handler(request) for handler in self.places[at].phases.get(phase, ())]

    def value(self, text: str, request: Any) -> str:
        """
        @param text: with variables.
        """
        node = Node("test", (text,), (True,), None, FILE, 1)
        return self.build.template(text, node, "http").render(request)


def _inside(scope: Scope) -> Iterator[Scope]:
    """
    The servers and locations of C{http}, and what is in these; no groups.
    """
    for child in scope.children:
        if child.context != "http.upstream":
            yield child
            yield from _inside(child)
