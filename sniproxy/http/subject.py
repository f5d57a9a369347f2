"""
What is known of a request: what handlers, variables and logs read.

Strategy: it answers to the same names as L{sniproxy.common.session.Session}, so that what stream and http share does
not know which of the two it looks at.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sniproxy.addresses import Address
from sniproxy.http.body import Body
from sniproxy.http.exchange import Encoder, Exchange, Reply
from sniproxy.http.headers import Headers
from sniproxy.levels import ERROR, INFO
from sniproxy.net.timers import NEVER

if TYPE_CHECKING:
    from sniproxy.http.place import Place
    from sniproxy.http.server import HttpServer


def nobody_waits() -> None:
    """
    What is called where nobody wants to be.
    """


class Subject:
    """
    The facts of one request, until its log has been written.

    @ivar session: the connection.
    @ivar runtime: the configuration at work.
    @ivar server: chosen by the host that was asked for.
    @ivar place: in force.
    @ivar method: as sent.
    @ivar line: the request line as sent; for HTTP/2 what it would be.
    @ivar target: path and arguments as sent.
    @ivar uri: the path, decoded and cleaned; internal redirects change it.
    @ivar args: behind the question mark; empty for none.
    @ivar question: whether there is a question mark.
    @ivar text: C{HTTP/1.1}, C{HTTP/2.0}.
    @ivar headers: received.
    @ivar fields: their values by names in lower case, several of one name joined by commas.
    @ivar host: asked for, in lower case without port; empty for none.
    @ivar internal: it was sent on from within.
    @ivar begun: when its first byte came, on the clock of deadlines.
    @ivar started: the same on the wall.
    @ivar length: bytes of it so far.
    @ivar body: its body.
    @ivar status: of the answer; 0 until it is known.
    @ivar reply: the head of the answer, once that was begun.
    @ivar encoder: what the body runs through; None where it is sent as it is.
    @ivar bytes_sent: to the client, C{$bytes_sent}: heads too.
    @ivar body_sent: of the body alone.
    @ivar upstream_states: one record for each peer that was tried.
    @ivar upstream: the upstream's name for the error log.
    @ivar keep_alive: whether the connection may carry another request.
    @ivar on_writable: called when C{send} may go on.
    @ivar gone: called when the client has gone before it was answered; answers whether it has taken care.
    @ivar cleanup: called once when it is over.
    @ivar over: whether it is.
    @ivar complete: whether all of its answer was sent.
    @ivar count: the how manieth it is on its connection.
    @ivar pipelined: it had come before the one before it was answered.
    @ivar changed: the C{uri} has changed, and a location is to be found again.
    @ivar asked: path and arguments as the client asked for them: as long as C{uri} and C{args} are these, C{target} is
        what it means.
    @ivar located: the C{uri} that the location in force was found for.
    """

    __slots__ = (
        "_notes",
        "_peer",
        "_values",
        "action",
        "args",
        "asked",
        "begun",
        "body",
        "body_sent",
        "bodyless",
        "bucket",
        "captures",
        "changed",
        "cleanup",
        "complete",
        "count",
        "due",
        "encoder",
        "exchange",
        "fields",
        "gone",
        "headers",
        "host",
        "internal",
        "keep_alive",
        "length",
        "line",
        "located",
        "method",
        "on_writable",
        "over",
        "pipelined",
        "place",
        "question",
        "redirects",
        "reply",
        "runtime",
        "server",
        "session",
        "started",
        "status",
        "target",
        "text",
        "upstream",
        "upstream_states",
        "uri",
    )

    def __init__(self, session: Any, exchange: Any, server: Any, begun: float) -> None:
        self.session: Any = session
        self.runtime: Any = session.runtime
        self.exchange: Exchange = exchange
        self.server: HttpServer = server
        self.place: Place = server.place
        self.begun = begun
        self.started = 0.0
        self.method = ""
        self.line = ""
        self.target = ""
        self.uri = ""
        self.args = ""
        self.question = False
        self.text: str = exchange.text
        self.headers = Headers()
        self.fields: dict[str, str] = {}
        self.host = ""
        self.internal = False
        self.length = 0
        self.body = Body(exchange, 0)
        self.status = 0
        self.reply: Reply | None = None
        self.bodyless = False
        self.encoder: Encoder | None = None
        self.body_sent = 0
        self.upstream_states: list[Any] = []
        self.upstream: str | None = None
        self.keep_alive = True
        self.action = "reading client request headers"
        self.on_writable: Callable[[], None] = nobody_waits
        self.gone: Callable[[], bool] | None = None
        self.cleanup: list[Callable[[], None]] = []
        self.over = False
        self.complete = False
        self.count = 1
        self.pipelined = False
        self.changed = False
        self.redirects = 0
        self.asked = ("", "")
        self.located = ""
        self.captures: tuple[str, ...] | None = None
        self.due = NEVER
        self.bucket = 0
        self._peer: Address | None = None
        self._values: dict[str, str | None] | None = None
        self._notes: dict[Any, Any] | None = None

    # What handlers and variables read; named as on a session.

    @property
    def clock(self) -> Any:
        """
        C{now()} for intervals and C{time()} for the wall.
        """
        return self.runtime

    @property
    def listening(self) -> Any:
        """
        The address it came in by.
        """
        return self.session.listening

    @property
    def number(self) -> int:
        """
        The connection's serial number.
        """
        number: int = self.session.number
        return number

    @property
    def peer(self) -> Address:
        """
        The client's address, or what a proxy before us has told that is believed.
        """
        peer: Address = self._peer or self.session.peer
        return peer

    @peer.setter
    def peer(self, address: Address) -> None:
        self._peer = address

    @property
    def local(self) -> Address:
        """
        The address the client connected to.
        """
        local: Address = self.session.local
        return local

    @property
    def tls(self) -> Any:
        """
        Facts about TLS with the client, or None.
        """
        return self.session.tls

    @property
    def hello(self) -> Any:
        """
        The ClientHello, when one was read.
        """
        return self.session.hello

    @property
    def values(self) -> dict[str, str | None]:
        """
        Cached variables; made on first use.
        """
        if self._values is None:
            self._values = {}
        return self._values

    @property
    def notes(self) -> dict[Any, Any]:
        """
        Whatever modules keep for this request; made on first use.
        """
        if self._notes is None:
            self._notes = {}
        return self._notes

    @property
    def bytes_sent(self) -> int:
        """
        Bytes of the answer, with its head.
        """
        return self.exchange.head_sent + self.body_sent

    @property
    def scheme(self) -> str:
        """
        C{http} or C{https}.
        """
        return "http" if self.session.tls is None else "https"

    def absolute(self, location: str) -> str:
        """
        What C{Location} says for a path of ours: scheme, host and port before it, unless C{absolute_redirect off}.
        """
        limits = self.place.limits
        if not location.startswith("/") or not limits.absolute_redirect:
            return location
        host = self.host
        if limits.server_name_in_redirect or not host:
            host = self.server.names[0] if self.server.names and self.server.names[0] else self.local.host
        port = self.local.port
        usual = port == (443 if self.scheme == "https" else 80)
        shown = "" if usual or not limits.port_in_redirect or not port else f":{port}"
        return f"{self.scheme}://{host}{shown}{location}"

    # The log.

    def log(self, level: int, message: str) -> None:
        """
        Write to the error log of the place in force, with what nginx adds for a request.
        """
        error_log = self.place.error_log
        if level > error_log.level:
            return
        parts = [message]
        if self.action:
            parts.append(f" while {self.action}")
        parts.append(f", client: {self.client_text()}, server: {self.server_text()}")
        if self.line:
            parts.append(f', request: "{self.line}"')
        if self.upstream is not None:
            parts.append(f', upstream: "{self.upstream}"')
        host = self.fields.get("host")
        if host is not None:
            parts.append(f', host: "{host}"')
        referer = self.fields.get("referer")
        if referer is not None:
            parts.append(f', referrer: "{referer}"')
        error_log.write(level, "".join(parts), self.session.number)

    def client_text(self) -> str:
        """
        The client as the error log names it: without its port.
        """
        try:
            peer = self.peer
        except OSError:
            return "unknown"
        return "unix:" if peer.family == "unix" else peer.host

    def server_text(self) -> str:
        """
        The server as the error log names it: by its first name.
        """
        return self.server.names[0] if self.server.names else ""

    def error(self, message: str) -> None:
        """
        Log at the level C{error}.
        """
        self.log(ERROR, message)

    def info(self, message: str) -> None:
        """
        Log at the level C{info}.
        """
        if self.place.error_log.level >= INFO:
            self.log(INFO, message)
