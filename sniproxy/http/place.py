"""
One location, ready to run: its handlers by phase, what answers its requests, and which locations lie inside.

Strategy: a server outside of any location, and each C{if} block, is a place as well. Modules fill places in and never
look at each other; where an inner block inherits, the scope has said so already.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sniproxy.config.directives import Scope
from sniproxy.config.grammar import Node
from sniproxy.config.regex import Regex
from sniproxy.http.limits import Limits
from sniproxy.http.phases import BY_NAME
from sniproxy.logs.error_log import ErrorLog

if TYPE_CHECKING:
    from sniproxy.http.exchange import Encoding, Reply
    from sniproxy.http.request import Request
    from sniproxy.http.server import HttpServer

Handler = Callable[["Request"], Any]
Content = Callable[["Request"], None]
Filter = Callable[["Request", "Reply"], None]


class Place:
    """
    Built by the modules' C{attach_place}; not changed afterwards.

    @ivar scope: its block of the configuration.
    @ivar server: the server it belongs to.
    @ivar error_log: where its requests complain.
    @ivar limits: what the core module says of its requests (L{sniproxy.http.limits.Limits}).
    @ivar phases: the handlers of each phase, in the order the modules gave them.
    @ivar content: what answers; None where nothing was configured to.
    @ivar fallback: what answers then: files.
    @ivar error_page: what else may be made of a status; answers whether it has taken the request.
    @ivar filters: what is done to the head of each answer, in order.
    @ivar encoding: what is done to bodies, when that is done; or None.
    @ivar name: the prefix, exact path or C{@name} of a location; empty otherwise.
    @ivar exact: C{location =}.
    @ivar final: C{location ^~}: no expression is tried after it.
    @ivar regex: of C{location ~}.
    @ivar redirects: whether its name without the final slash is sent there (it passes requests on).
    @ivar inside: the locations in it.
    @ivar around: the place of the block that an C{if} or C{limit_except} stands in; None for others.
    @ivar excepted: the methods C{limit_except} lets through, and the place of all others; or None.
    """

    __slots__ = (
        "_content_place",
        "_late",
        "around",
        "content",
        "encoding",
        "error_log",
        "error_page",
        "exact",
        "excepted",
        "fallback",
        "filters",
        "final",
        "inside",
        "limits",
        "name",
        "phases",
        "redirects",
        "regex",
        "scope",
        "server",
    )

    def __init__(self, scope: Scope, server: HttpServer, error_log: ErrorLog, limits: Limits) -> None:
        self.scope = scope
        self.server = server
        self.error_log = error_log
        self.limits = limits
        self.phases: tuple[list[Handler], ...] = tuple([] for _ in BY_NAME)
        self.content: Content | None = None
        self.fallback: Content | None = None
        self.error_page: Callable[[Request, int], bool] | None = None
        self.filters: list[Filter] = []
        self.encoding: Encoding | None = None
        self.name = ""
        self.exact = False
        self.final = False
        self.regex: Regex | None = None
        self.redirects = False
        self.inside = Locations()
        self.around: Place | None = None
        self.excepted: tuple[frozenset[str], Place] | None = None
        self._content_place = -1
        self._late: dict[int, int] = {}

    def handle(self, phase: str, handler: Handler, late: bool = False) -> None:
        """
        Add a handler, behind those the phase has.

        @param phase: C{"post_read"}, C{"server_rewrite"}, C{"rewrite"}, C{"preaccess"}, C{"access"}, C{"content"} or
            C{"log"}.
        @param late: behind those that are not, too, whenever they are added.
        """
        number = BY_NAME[phase]
        handlers = self.phases[number]
        if late:
            self._late[number] = self._late.get(number, 0) + 1
            handlers.append(handler)
        else:
            handlers.insert(len(handlers) - self._late.get(number, 0), handler)

    def filter(self, change: Filter) -> None:
        """
        Let something be done to the head of each answer, behind what is done already.
        """
        self.filters.append(change)

    def take_content(self, content: Content, node: Node) -> None:
        """
        Say what answers the requests of this place. Of several directives that say so the last one in the block counts,
        as in nginx.

        @param node: the directive that says so; in the place's own block or, for an C{if}, in one around it.
        """
        block: Any = () if self.scope.node is None else self.scope.node.block or ()
        place = next((place for place, each in enumerate(block) if each is node), -1)
        if place >= self._content_place:
            self._content_place = place
            self.content = content

    def dissolve(self) -> None:
        """
        Let go of all, when the last request is over: what it holds goes round in circles.
        """
        self.phases = tuple([] for _ in BY_NAME)
        self.content = self.fallback = self.error_page = None
        self.filters = []
        self.encoding = None
        for each in self.inside:
            each.dissolve()
        self.inside = Locations()


class Locations:
    """
    The locations of one block: which of them is a path's, by the rules of ngx_http_core_find_location.
    """

    __slots__ = ("_all", "_exact", "_lengths", "_prefixes", "_regexes")

    def __init__(self) -> None:
        self._all: list[Place] = []
        self._exact: dict[str, Place] = {}
        self._prefixes: dict[str, Place] = {}
        self._lengths: tuple[int, ...] = ()
        self._regexes: list[Place] = []

    def __iter__(self) -> Any:
        return iter(self._all)

    def __bool__(self) -> bool:
        return bool(self._all)

    def add(self, place: Place) -> bool:
        """
        @return: whether there is no other of that name.
        """
        self._all.append(place)
        if place.regex is not None:
            self._regexes.append(place)
            return True
        if place.name.startswith("@"):
            return True  # these are the server's, see L{sniproxy.http.server.HttpServer.named}
        known = self._exact if place.exact else self._prefixes
        if place.name in known:
            return False
        known[place.name] = place
        self._lengths = tuple(sorted({len(name) for name in self._prefixes}, reverse=True))
        return True

    def find(self, path: str, subject: Any) -> tuple[Place | None, bool]:
        """
        @param subject: whose captures an expression that matches sets.
        @return: the innermost place of a path, or None; and whether the search ended with it for good (C{=}, an
            expression, or a name that only lacks the final slash).
        """
        exact = self._exact.get(path)
        if exact is not None:
            return exact, True
        found: Place | None = None
        inner: Place | None = None
        size = len(path)
        for length in self._lengths:
            if length == size + 1:
                slashed = self._prefixes.get(path + "/")
                if slashed is not None and slashed.redirects:
                    return slashed, True
            elif length <= size:
                found = self._prefixes.get(path[:length])
                if found is not None:
                    break
        slashed = self._exact.get(path + "/")
        if slashed is not None and slashed.redirects:
            return slashed, True
        if found is not None and found.inside:
            inner, sure = found.inside.find(path, subject)
            if sure:
                return inner, True
        best = inner or found
        if self._regexes and not (found is not None and found.final):
            data = path.encode("utf-8", "surrogateescape")
            for each in self._regexes:
                assert each.regex is not None
                if each.regex.test(subject, data):
                    return each.inside.find(path, subject)[0] or each, True
        return best, False
