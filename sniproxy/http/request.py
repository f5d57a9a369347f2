"""
One request on its way through the phases, and how it is answered.

Strategy: a request never knows how it came. An L{Exchange} of HTTP/1 or HTTP/2 reads its body and writes its answer;
the request walks its place's handlers, as a session does those of its server, is the subject of variables, and has a
deadline of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from sniproxy.common.phases import (
    BAD_REQUEST,
    FORBIDDEN,
    INTERNAL_SERVER_ERROR,
    Answer,
)
from sniproxy.common.session import INTERNAL_ERROR
from sniproxy.http.exchange import Pairs, Reply
from sniproxy.http.headers import Headers, parted
from sniproxy.http.pages import page_of
from sniproxy.http.phases import (
    ACCESS,
    BODYLESS,
    CERTIFICATE_ERROR,
    CLIENT_CLOSED,
    CLOSE,
    CONTENT,
    LAST_CONNECTION,
    LOG,
    MISDIRECTED,
    MOVED_PERMANENTLY,
    NO_CERTIFICATE,
    NOT_ALLOWED,
    NOT_FOUND,
    PLAIN_ON_TLS,
    POST_READ,
    REQUEST_TIMEOUT,
    REWRITE,
    SERVER_REWRITE,
    SPECIAL,
    TOO_LARGE,
    UNAUTHORIZED,
)
from sniproxy.http.subject import Subject, nobody_waits
from sniproxy.http.uri import BadTarget, escape, host_of, target_of
from sniproxy.levels import ALERT
from sniproxy.net.timers import NEVER

MOST_REDIRECTS: Final = 10
"""How often a request may be sent elsewhere from within (NGX_HTTP_MAX_URI_CHANGES)."""

_HTML: Final = "text/html"


_REFUSED: Final = frozenset(("CONNECT", "TRACE"))
"""One would make a tunnel of us, the other shows what proxies have added."""

_USUAL: Final = frozenset(
    (
        "accept",
        "accept-encoding",
        "accept-language",
        "authorization",
        "cache-control",
        "connection",
        "content-length",
        "content-type",
        "cookie",
        "host",
        "if-modified-since",
        "if-none-match",
        "origin",
        "range",
        "referer",
        "upgrade-insecure-requests",
        "user-agent",
    )
)
"""Names with nothing strange in them, and most requests have no others."""


def reading_line(pipelined: bool) -> str:
    """
    What is being done, for the log.
    """
    return f"reading client {'pipelined ' if pipelined else ''}request line"


class Request(Subject):
    """
    Owned by its exchange; is over once, and then tells C{cleanup} and the log.
    """

    __slots__ = ("_handlers", "_on_expired", "_phase", "_step", "_verdict")

    def __init__(self, session: Any, exchange: Any, server: Any, begun: float) -> None:
        super().__init__(session, exchange, server, begun)
        self._on_expired: Callable[[], None] | None = None
        self._handlers: list[Callable[[Request], Any]] = []
        self._phase = 0
        self._step = 0
        self._verdict = 0

    # The beginning.

    def sift(self) -> None:
        """
        Let go of fields with strange names, C{ignore_invalid_headers} and C{underscores_in_headers}. None of them says
        how the message is framed.
        """
        if self.fields.keys() <= _USUAL or "".join(self.fields).replace("-", "").isalnum():
            return
        limits = self.place.limits
        if not limits.ignore_invalid:
            return
        kept, passed = parted(self.headers, limits.underscores)
        self.headers = Headers(kept)
        for name, value in passed:
            self.fields.pop(name.lower(), None)
            self.info(f'client sent invalid header line: "{name}: {value}"')

    def start(self) -> None:
        """
        The head has been read: find out who is asked for what, and go.
        """
        self.run(self._start)

    def _start(self) -> None:
        server = self.server
        session = self.session
        if session.plain_on_tls:
            self.info("client sent plain HTTP request to HTTPS port")
            self.finalize(PLAIN_ON_TLS)
            return
        try:
            target = target_of(self.target, server.place.limits.merge_slashes)
            named = target.host if target.host is not None else self.fields.get("host")
            host = "" if named is None else host_of(named)
            if host is None and target.host is not None:
                raise BadTarget("no host")
        except BadTarget:
            # what stands behind a line like this is not looked at
            self.headers, self.fields, self.target = Headers(), {}, ""
            self.action = reading_line(self.pipelined)
            self.info("client sent invalid request")
            self.finalize(BAD_REQUEST)
            return
        if host is None:
            self.info("client sent invalid host header")
            self.finalize(BAD_REQUEST)
            return
        self.enter(host)
        if self.method in _REFUSED:
            self.keep_alive = False
            self.info(f"client sent {self.method} method")
            self.finalize(NOT_ALLOWED)
            return
        self.target, self.uri = target.raw, target.path
        if target.args is not None:
            self.args, self.question = target.args, True
        self.asked = (self.uri, self.args)
        if self.scheme == "https" and self.server.verify != "off":
            status = self._judge()
            if status:
                self.finalize(status)
                return
        self.action = ""
        self._enter(POST_READ)
        self._walk()

    def enter(self, host: str) -> None:
        """
        Go to the server of a host; empty for none.
        """
        self.host = host
        if self.listening.by_name:
            chosen: Any = self.listening.choose(host, self)
            self.server, self.place = chosen, chosen.place

    def _judge(self) -> int:
        """
        What C{ssl_verify_client} of the server makes of the client's certificate.

        @return: a status, or 0.
        """
        session = self.session
        if self.server is not session.server:
            self.info("client attempted to request the server name different from the one that was negotiated")
            return MISDIRECTED
        judgement = session.tls.judgement
        if judgement.ok:
            return 0
        self.info(judgement.message)
        return NO_CERTIFICATE if judgement.certificate is None else CERTIFICATE_ERROR

    # The walk.

    def _enter(self, phase: int) -> None:
        self._phase = phase
        self._step = 0
        self._handlers = self.place.phases[phase]

    def resume(self) -> None:
        """
        Go on with the next handler. Nothing happens in a request that is over.
        """
        if not self.over:
            self.run(self._walk)

    def answer(self, answer: Any) -> None:
        """
        Go on as if the handler that waited had answered this at once.
        """
        if self.over or answer is Answer.WAIT:
            return
        self.run(self._answered, answer)

    def _answered(self, answer: Any) -> None:
        if self._take(answer):
            self._walk()

    def _walk(self) -> None:
        while not self.over:
            if self._step < len(self._handlers):
                handler = self._handlers[self._step]
                self._step += 1
                answer = handler(self)
                if answer is not None and not self._take(answer):
                    return
            elif not self._next_phase():
                return

    def _take(self, answer: Any) -> bool:
        """
        @return: whether the walk goes on.
        """
        if answer is Answer.WAIT:
            return False
        if self._phase == ACCESS:
            if answer is Answer.DONE:
                if self.place.limits.satisfy_any:
                    self._verdict = 0
                    self._step = len(self._handlers)
                return True
            if answer in (FORBIDDEN, UNAUTHORIZED) and self.place.limits.satisfy_any:
                if self._verdict != UNAUTHORIZED:
                    self._verdict = answer
                return True
        if answer is None:
            return True
        if answer is Answer.DONE:
            self._step = len(self._handlers)
            return True
        self.finalize(answer)
        return False

    def _next_phase(self) -> bool:
        phase = self._phase
        if phase == ACCESS and self._verdict:
            if self._verdict == FORBIDDEN:
                self.error("access forbidden by rule")
            self.finalize(self._verdict)
            return False
        if phase == SERVER_REWRITE or (phase == REWRITE and self.changed):
            if self.changed and phase == REWRITE:
                self.redirects += 1
                if self.redirects > MOST_REDIRECTS:
                    self.error(f'rewrite or internal redirection cycle while processing "{self.uri}"')
                    self.finalize(INTERNAL_SERVER_ERROR)
                    return False
            self.changed = False
            if not self._locate():
                return False
            self._enter(REWRITE)
            return True
        if phase == CONTENT:
            self._content()
            return False
        self._enter(phase + 1)
        return True

    def _locate(self) -> bool:
        """
        Find the location of the path.

        @return: whether the walk goes on.
        """
        top = self.server.place
        self.located = self.uri
        found, _ = top.inside.find(self.uri, self) if top.inside else (None, False)
        self.place = place = found or top
        if place.excepted is not None and self.method not in place.excepted[0]:
            self.place = place.excepted[1]
        if found is not None and len(found.name) == len(self.uri) + 1 and found.regex is None:
            self.redirect_out(MOVED_PERMANENTLY, escape(self.uri) + "/" + (f"?{self.args}" if self.args else ""))
            return False
        return self._admit()

    def _admit(self) -> bool:
        """
        @return: whether the place takes the request.
        """
        limits = self.place.limits
        if limits.internal and not self.internal:
            self.finalize(NOT_FOUND)
            return False
        self.body.most = limits.body_size
        length = self.body.length
        if length is not None and limits.body_size and length > limits.body_size and not self.body.discarded:
            self.body.discarded = True  # wherever an error_page leads, it fits there
            self.error(f"client intended to send too large body: {length} bytes")
            self.finalize(TOO_LARGE)
            return False
        return True

    def _content(self) -> None:
        self.action = ""
        content = self.place.content or self.place.fallback
        if content is None:
            self.finalize(NOT_FOUND)
        else:
            content(self)

    # Elsewhere.

    def redirect(self, uri: str, args: str | None = None) -> None:
        """
        Go on as a request for another path, from the server's rewrite phase on.

        @param args: None for no arguments.
        """
        self.redirects += 1
        if self.redirects > MOST_REDIRECTS:
            self.error(f'rewrite or internal redirection cycle while internally redirecting to "{uri}"')
            self.finalize(INTERNAL_SERVER_ERROR)
            return
        self.uri = uri
        self.args = args or ""
        self.question = args is not None
        self.internal = True
        self.changed = False
        self.place = self.server.place
        self._enter(SERVER_REWRITE)
        self.run(self._walk)

    def named(self, name: str) -> None:
        """
        Go on in a named location.

        @param name: with its C{@}.
        """
        self.redirects += 1
        if self.redirects > MOST_REDIRECTS:
            self.error(f'rewrite or internal redirection cycle while redirecting to named location "{name}"')
            self.finalize(INTERNAL_SERVER_ERROR)
            return
        place = self.server.named.get(name)
        if place is None:
            self.error(f'could not find named location "{name}"')
            self.finalize(INTERNAL_SERVER_ERROR)
            return
        self.place = place
        self.internal = True
        self.changed = False
        self._enter(REWRITE)
        self.run(self._walk)

    def redirect_out(self, status: int, location: str) -> None:
        """
        Send the client elsewhere.

        @param location: a path of ours, or a whole address.
        """
        self._special(status, location)

    # The answer.

    def finalize(self, status: int) -> None:
        """
        Answer a status: as C{error_page} says, or with nginx's own page; or, where an answer has been begun already,
        break it off.
        """
        if self.over:
            return
        self.stop_waiting()
        if status in (CLOSE, CLIENT_CLOSED, REQUEST_TIMEOUT):
            self.status = self.status or status
            self.abort()
            return
        if self.reply is not None:
            self.abort()
            return
        if status < SPECIAL and status not in (201, 204):
            self.respond(status)
            return
        if status in LAST_CONNECTION:
            self.keep_alive = False
        hook = self.place.error_page
        if hook is not None and hook(self, status):
            return
        self._special(status)

    def _special(self, status: int, location: str | None = None) -> None:
        """
        Answer with nginx's own page.
        """
        self.stop_waiting()
        shown, body = page_of(status, self.place.limits, self.fields.get("user-agent", ""))
        if status in LAST_CONNECTION:
            self.keep_alive = False
        headers = Headers()
        if body:
            headers.add("Content-Type", _HTML)
        if location is not None:
            headers.add("Location", self.absolute(location))
        self.status = shown
        self._answer(Reply(shown, headers, len(body or b"")), body or b"")

    def respond(
        self, status: int, body: bytes = b"", content_type: str | None = None, headers: Headers | Pairs = ()
    ) -> None:
        """
        Answer at once, and wholly.

        @param headers: more fields; a Content-Type of their own goes before C{content_type}.
        """
        found = headers if isinstance(headers, Headers) else Headers(headers)
        if content_type is not None and found.get("content-type") is None:
            found.add("Content-Type", content_type)
        self.status = status
        self._answer(Reply(status, found, len(body)), body)

    def _answer(self, reply: Reply, body: bytes) -> None:
        self.begin(reply)
        if body and not self.over:
            self.send(body)
        if not self.over:
            self.end()

    def begin(self, reply: Reply) -> None:
        """
        Begin the answer; C{send} and C{end} follow.
        """
        if not self.status:
            self.status = reply.status
        self.reply = reply
        for change in self.place.filters:
            change(self, reply)
        encoding = self.place.encoding
        if encoding is not None:
            self.encoder = encoding.encoder(self, reply)
        self.bodyless = self.method == "HEAD" or reply.status in BODYLESS
        self.exchange.begin(self, reply, self.bodyless)

    def send(self, data: bytes) -> bool:
        """
        @return: False where no more should come until C{on_writable} is called.
        """
        if self.bodyless:
            return True
        if self.encoder is not None:
            data = self.encoder.encode(data)
        self.body_sent += len(data)
        return self.exchange.send(data)

    def _send_encoded(self, data: bytes) -> None:
        self.body_sent += len(data)
        self.exchange.send(data)

    def flush(self) -> None:
        """
        Send what was taken and is kept until there is more.
        """
        if self.encoder is not None and not self.bodyless:
            self._send_encoded(self.encoder.flush())
            if self.over:
                return
        self.exchange.flush()

    def end(self, trailers: Pairs = ()) -> None:
        """
        The answer is whole.
        """
        reply = self.reply
        if self.encoder is not None and not self.bodyless:
            self._send_encoded(self.encoder.finish())
            if self.over:
                return
        if reply is not None and reply.trailing is not None:
            trailers = (*trailers, *reply.trailing())
        self.exchange.end(trailers)

    def abort(self) -> None:
        """
        There will be no more of the answer that was begun, or none at all; the client shall notice.
        """
        if not self.over:
            self.keep_alive = False
            self.exchange.abort()

    # The end, called by exchanges.

    def lost(self) -> None:
        """
        The client has gone before it was answered.
        """
        if self.over or (self.gone is not None and self.gone()):
            return
        self.finalize(CLIENT_CLOSED)

    def done(self) -> None:
        """
        It is over, whatever became of it: clean up, and write the log.
        """
        if self.over:
            return
        self.over = True
        self._on_expired = None
        self.runtime.deadlines.clear(self)
        cleanup, self.cleanup = self.cleanup, []
        for step in cleanup:
            self._finally(step)
        self._finally(self._write_log)
        # What was handed in knows the request: circles would live until the collector comes.
        self.on_writable = nobody_waits
        self.gone = None
        self.body.on_data = nobody_waits

    def _finally(self, step: Callable[[], None]) -> None:
        try:
            step()
        except Exception:
            self.runtime.internal_error()
            self.log(ALERT, INTERNAL_ERROR)

    def _write_log(self) -> None:
        for handler in self.place.phases[LOG]:
            handler(self)

    # Waits and faults.

    def wait(self, seconds: float, expired: Callable[[], None]) -> None:
        """
        Call C{expired} in that many seconds, unless there is another wait or an end before. One wait at a time.
        """
        self._on_expired = expired
        self.runtime.deadlines.set(self, seconds)

    def stop_waiting(self) -> None:
        """
        What was waited for has come.
        """
        self._on_expired = None
        self.due = NEVER

    def expired(self) -> None:
        """
        The deadline has passed.
        """
        on_expired, self._on_expired = self._on_expired, None
        if on_expired is not None:
            self.run(on_expired)

    def run(self, step: Callable[..., None], *arguments: Any) -> None:
        """
        Call what was waited for. If it raises, that is our fault and the end of this request, and of nothing else.
        """
        try:
            step(*arguments)
        except Exception:
            self.runtime.internal_error()
            self.crashed()

    def crashed(self) -> None:
        """
        There was an internal error in something done for this request: 500, or an end in the middle.
        """
        if self.over:
            return
        self.log(ALERT, INTERNAL_ERROR)
        if self.reply is None:
            self.place = self.server.place
            try:
                self._special(INTERNAL_SERVER_ERROR)
                return
            except Exception:
                self.runtime.internal_error()
        self.abort()
