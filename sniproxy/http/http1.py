"""
HTTP/1.x with a client: one request behind the other on the client's leg, and the exchange of each.

Strategy: nothing is read that nobody asked for. Where no request is under way the next head is read; while one is, its
body is read when it is asked for. What is to be sent is kept in pieces until there is enough for a segment, or somebody
says flush; when the leg takes no more, the request is told to stop. Holds one head, one piece of a body, and what one
C{send} was given.
"""

from __future__ import annotations

from socket import SO_LINGER, SOL_SOCKET
from struct import pack
from typing import Any, Final

from sniproxy.common.phases import BAD_REQUEST, OK
from sniproxy.common.session import Session
from sniproxy.common.ssl_errors import broken, level_of
from sniproxy.http.body import Body, BodyError
from sniproxy.http.exchange import Pairs, Reply
from sniproxy.http.fields import fields_of
from sniproxy.http.headers import Headers
from sniproxy.http.limits import Limits
from sniproxy.http.phases import CLIENT_CLOSED, REQUEST_TIMEOUT
from sniproxy.http.request import Request, reading_line
from sniproxy.http.server import HttpServer
from sniproxy.http.statuses import reason
from sniproxy.http.uri import host_of
from sniproxy.levels import INFO
from sniproxy.net.bound import silent
from sniproxy.net.legs import nothing
from sniproxy.net.poller import ERR, HUP, RDHUP
from sniproxy.wire.http1 import Data, End, Refused, RequestHead, RequestReader
from sniproxy.wire.http1_fields import decode
from sniproxy.wire.http1_head import READING_HEADERS, READING_LINE
from sniproxy.wire.http1_write import chunk, last_chunk, response_head

PIECE: Final = 65536
"""Bytes that are read at a time."""

ENOUGH: Final = 1460
"""Bytes that are worth a segment: less is kept until there is more, C{postpone_output}."""

TURN: Final = 1 << 20
"""Bytes of answers that one turn of a connection may give to its leg."""

MUCH: Final = 65536
"""Bytes from which on pieces are sent one by one, and not joined."""

DISCARDED: Final = 1 << 20
"""Bytes of a body nobody wanted that are read and dropped, to have the connection for the next request."""

_RESET: Final = pack("ii", 1, 0)
_GONE: Final = RDHUP | HUP | ERR
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"

# What comes next from the client.
_HEAD: Final = 0
_BODY: Final = 1
_DISCARD: Final = 2
_LINGER: Final = 3
_OVER: Final = 4


class Http1:
    """
    One connection. Owns the client's leg, as the content of its session, until the session is finished.

    @ivar text: the version of the request in hand.
    @ivar head_sent: bytes of its answer's head.
    """

    __slots__ = (
        "_answered",
        "_awaited",
        "_began",
        "_chunked",
        "_continue",
        "_discarded",
        "_ending",
        "_expecting",
        "_failure",
        "_given",
        "_inside",
        "_left",
        "_limits",
        "_lingered",
        "_opened",
        "_out",
        "_pipelined",
        "_reader",
        "_requests",
        "_resting",
        "_size",
        "_stuck",
        "_wanted",
        "head_sent",
        "leg",
        "request",
        "session",
        "text",
    )

    def __init__(self, session: Session, server: HttpServer) -> None:
        self.session = session
        self.leg: Any = session.client
        self.request: Request | None = None
        self.text = "HTTP/1.1"
        self.head_sent = 0
        self._limits: Limits = server.place.limits
        self._reader = RequestReader(self._limits.head)
        self._requests = 0
        self._opened = session.runtime.now()
        self._began = -1.0
        self._expecting = _HEAD
        self._out: list[bytes | memoryview] = []
        self._pipelined = False
        self._size = 0
        self._stuck = False
        self._chunked = False
        self._ending = False
        self._left: int | None = None
        self._answered = False
        self._awaited = False
        self._continue = False
        self._wanted = False
        self._failure = 0
        self._discarded = 0
        self._lingered = 0.0
        self._inside = False
        self._given = 0
        self._resting = False

    def begin_connection(self) -> None:
        """
        Take the leg.
        """
        session = self.session
        session.pending = self
        session.action = ""
        self.leg.handler = self._event
        session.wait(self._limits.header_timeout, self._late)
        if not self.leg.watch():
            self._event(0)

    # Edges.

    def _event(self, bits: int) -> None:
        self._inside = True
        self._given = 0
        if self._out:
            self._push()
        if self._resting and not self._stuck:
            self._resting = False
            self._tell_writable()
        if self._expecting == _BODY:
            if self._wanted:
                self._wanted = False
                self.session.stop_waiting()
                self._tell_body()
            elif bits & _GONE and not self._answered:
                self._look_for_end()
        self._read()
        self._inside = False

    def _tell_writable(self) -> None:
        request = self.request
        if request is not None:
            request.run(request.on_writable)

    def _tell_body(self) -> None:
        request = self.request
        if request is not None:
            request.run(request.body.on_data)

    def _look_for_end(self) -> None:
        """
        The client may be gone while its request is answered: who has shut down its side is taken for gone, as nginx
        does it; but one that has sent another request before is not.
        """
        request = self.request
        if request is None or not request.body.done or self._reader.held:
            return
        try:
            data = self.leg.peek(1)
        except OSError as error:
            request.log(level_of(error, "client"), broken(error, "recv()"))
            data = b""
        if data == b"":
            request.info("client prematurely closed connection")
            request.lost()

    def _read(self) -> None:
        """
        Go on with whatever comes next: heads, what is dropped, the end.
        """
        while self._expecting != _OVER and self._expecting != _BODY:
            event = self._reader.next() if self._expecting != _LINGER else None
            if event is None:
                if self._expecting == _HEAD:
                    self._await_head()
                if not self._fill():
                    return
            elif self._expecting == _HEAD:
                self._take(event)
            else:
                self._drop(event)

    def _fill(self) -> bool:
        """
        Feed the reader.

        @return: whether there was something.
        """
        try:
            data = self.leg.receive(PIECE)
        except OSError as error:
            self._ended(error)
            return False
        if data is None:
            return False
        if not data:
            self._ended(None)
            return False
        if self._expecting == _LINGER:
            return self._linger_on()
        if self._expecting == _HEAD and not self._reading:
            self._begin_head()
        self._reader.feed(data)
        return True

    @property
    def _reading(self) -> bool:
        """
        Whether a head has begun to come.
        """
        return bool(self._began >= 0)

    def _begin_head(self) -> None:
        session = self.session
        self._began = session.runtime.now()
        self._awaited = False
        session.runtime.idle.discard(self)

    def _await_head(self) -> None:
        """
        The head that is read is not whole, unless none has begun yet. Most come whole, and no wait is set for them.
        """
        if not self._reading:
            if not self._reader.held:
                return
            self._begin_head()  # some of it had come with the request before
        if not self._awaited:
            self._awaited = True
            self.session.wait(self._limits.header_timeout, self._late)

    # Requests.

    def _take(self, event: RequestHead | Data | End | Refused) -> None:
        session = self.session
        if isinstance(event, Refused):
            self._refuse(event)
            return
        if not isinstance(event, RequestHead):
            return
        if not self._reading:
            self._begin_head()
        request = self._make()
        request.length = event.size
        request.method = event.method
        request.line = event.line
        request.target = event.target
        minor = event.version[1]
        self.text = request.text = "HTTP/1.1" if minor == 1 else f"HTTP/1.{minor}"
        request.headers = Headers(event.headers)
        request.fields = event.fields
        request.body = Body(self, event.length)
        limits = self._limits
        request.sift()
        request.keep_alive = (
            event.keep_alive
            and limits.keepalive_timeout > 0
            and self._requests < limits.keepalive_requests
            and session.runtime.now() - self._opened < limits.keepalive_time
            and not session.runtime.stopped
        )
        self._continue = minor > 0 and event.fields.get("expect", "").lower() == "100-continue"
        if event.length == 0:
            self._reader.next()  # the end of a body that is none
        session.stop_waiting()
        request.start()

    def _make(self) -> Request:
        session = self.session
        server: Any = session.server
        self._requests += 1
        request = Request(session, self, server, self._began)
        request.started = session.runtime.time() - (session.runtime.now() - self._began)
        request.count = self._requests
        request.pipelined = self._pipelined
        self.request = request
        self.head_sent = 0
        self._expecting = _BODY
        self._answered = self._ending = self._chunked = self._wanted = False
        self._failure = 0
        self._discarded = 0
        return request

    def _refuse(self, refused: Refused) -> None:
        if not self._reading:
            self._begin_head()
        self.session.stop_waiting()
        request = self._make()
        request.line = refused.line
        request.keep_alive = False
        request.body.done = True
        request.action = reading_line(request.pipelined) if refused.action == READING_LINE else refused.action
        if refused.host is not None:
            request.fields = {"host": refused.host} if refused.host else {}
            request.enter(host_of(refused.host) or "")
        request.info(refused.reason)
        request.run(request.finalize, refused.status)

    def read_body(self) -> bytes | None:
        """
        @see: L{sniproxy.http.exchange.Exchange.read_body}
        """
        request = self.request
        assert request is not None
        if self._failure:
            raise BodyError(self._failure)
        if self._continue:
            self._continue = False
            self._out.append(_CONTINUE)
            self._push()
        while True:
            event = self._reader.next()
            if isinstance(event, Data):
                request.length += len(event.data)
                if request.body.length is None:
                    request.body.announced = self._reader.announced
                return event.data
            if isinstance(event, End):
                request.body.trailers = event.trailers
                return b""
            if isinstance(event, Refused):
                request.error(event.reason)
                raise self._failed(BAD_REQUEST)
            try:
                data = self.leg.receive(PIECE)
            except OSError as error:
                request.log(level_of(error, "client"), broken(error, "recv()"))
                raise self._gone_early(request) from None
            if data is None:
                self._wanted = True
                self.session.wait(request.place.limits.body_timeout, self._late_body)
                return None
            if not data:
                request.info("client prematurely closed connection")
                raise self._gone_early(request)
            self._reader.feed(data)

    def _gone_early(self, request: Request) -> BodyError:
        """
        A client that goes in its body is told nothing, and the log 400.
        """
        request.status = BAD_REQUEST
        return self._failed(CLIENT_CLOSED)

    def _failed(self, status: int) -> BodyError:
        self._failure = status
        request = self.request
        if request is not None:
            request.keep_alive = False
        return BodyError(status)

    def _late_body(self) -> None:
        request = self.request
        if request is not None and self._wanted:
            self._wanted = False
            self._failure = REQUEST_TIMEOUT
            request.keep_alive = False
            request.info("client timed out (110: Connection timed out)")
            request.run(request.body.on_data)

    # Answers.

    def begin(self, request: Request, reply: Reply, bodyless: bool) -> None:
        """
        @see: L{sniproxy.http.exchange.Exchange.begin}
        """
        limits = request.place.limits
        first, rest = fields_of(request, reply)
        length = reply.length
        self._left = None if bodyless else length
        if length is None and not bodyless:
            if self.text != "HTTP/1.0" and limits.chunked:
                self._chunked = True
                first.append(("Transfer-Encoding", "chunked"))
            else:
                request.keep_alive = False
        if request.keep_alive and not request.body.done and not self._may_discard(request):
            request.keep_alive = False
        first.append(("Connection", "keep-alive" if request.keep_alive else "close"))
        if request.keep_alive and limits.keepalive_header:
            first.append(("Keep-Alive", f"timeout={limits.keepalive_header}"))
        phrase = reply.reason if reply.reason is not None else reason(reply.status)
        head = response_head(reply.status, phrase, first + rest)
        self.head_sent += len(head)
        self._out.append(head)
        self._size += len(head)
        self._answered = True

    def _may_discard(self, request: Request) -> bool:
        length = request.body.length
        return length is None or length - request.body.received <= DISCARDED

    def send(self, data: bytes) -> bool:
        """
        @see: L{sniproxy.http.exchange.Exchange.send}
        """
        if not data:
            return not self._stuck
        if self._chunked:
            framed = chunk(data)
            self._framed(len(framed) - len(data))
            data = framed
        elif self._left is not None:
            self._left -= len(data)
        self._out.append(data)
        self._size += len(data)
        if self._size < ENOUGH and not self._stuck:
            return True
        if not self._push():
            return False
        self._given += len(data)
        if self._given < TURN:
            return True
        # a client that takes all at once must not keep the others waiting
        self._resting = True
        self.leg.again()
        return False

    def _framed(self, count: int) -> None:
        """
        Bytes of chunks' frames go out: they count as the body's.
        """
        if self.request is not None:
            self.request.body_sent += count

    def flush(self) -> None:
        """
        @see: L{sniproxy.http.exchange.Exchange.flush}
        """
        if self._out and not self._stuck:
            self._push()

    def end(self, trailers: Pairs) -> None:
        """
        @see: L{sniproxy.http.exchange.Exchange.end}
        """
        request = self.request
        assert request is not None
        if self._left:
            # less than was promised: the client must not take what follows for the rest
            request.keep_alive = False
        if self._chunked:
            last = last_chunk(trailers)
            self._framed(len(last))
            self._out.append(last)
        self._ending = True
        if not self._stuck:
            self._push()

    def abort(self) -> None:
        """
        @see: L{sniproxy.http.exchange.Exchange.abort}
        """
        request = self.request
        if request is None:
            return
        if self._out and not self._stuck:
            try:
                self._write()
            except OSError:
                pass  # there is nobody to notice
        self._out.clear()
        self.request = None
        request.done()
        self._close()

    def upgrade(self, reply: Reply) -> Any:
        """
        @see: L{sniproxy.http.exchange.Exchange.upgrade}
        """
        request = self.request
        assert request is not None
        phrase = reply.reason if reply.reason is not None else reason(reply.status)
        first, rest = fields_of(request, reply)
        head = response_head(reply.status, phrase, first + rest)
        self.head_sent += len(head)
        self._out.append(head)
        self._push()
        self._expecting = _OVER
        self._answered = True
        self.session.stop_waiting()
        self.leg.handler = nothing
        held = self._reader.held
        if held:
            self.leg.hold(held)
        if self._out:
            return None  # a client that takes not even this is none to relay to
        return self.leg

    def _push(self) -> bool:
        """
        Send what there is.

        @return: whether the leg has taken all.
        """
        was_stuck = self._stuck
        try:
            taken = self._write()
        except OSError as error:
            self._broken(error)
            return False
        session = self.session
        if not taken:
            if not self._stuck or not was_stuck:
                self._stuck = True
            request = self.request
            limits = self._limits if request is None else request.place.limits
            session.wait(limits.send_timeout, self._late_sending)
            return False
        if was_stuck:
            self._stuck = False
            session.stop_waiting()
        if self._ending:
            self._finish()
        elif was_stuck:
            self._tell_writable()
        return True

    def _write(self) -> bool:
        out = self._out
        send = self.leg.send
        while out:
            if len(out) > 1 and self._size <= MUCH:
                joined = b"".join(out)
                out.clear()
                out.append(joined)
            piece = out[0]
            sent: int = send(piece)
            self._size -= sent
            if sent == len(piece):
                out.pop(0)
            elif sent:
                out[0] = memoryview(piece)[sent:]
            else:
                return False
        self._size = 0
        return True

    def _broken(self, error: OSError) -> None:
        """
        The client takes no more, for good.
        """
        self._out.clear()
        self._size = 0
        self._stuck = False
        request, self.request = self.request, None
        if request is not None:
            request.log(level_of(error, "client"), broken(error, "send()"))
            request.status = request.status or CLIENT_CLOSED
            self._expecting = _OVER
            request.run(self._give_up, request)
        self.session.finish(OK)

    def _give_up(self, request: Request) -> None:
        if request.gone is not None:
            request.gone()
        request.done()

    def _late_sending(self) -> None:
        request, self.request = self.request, None
        if request is not None:
            request.info("client timed out (110: Connection timed out) while sending to client")
            request.status = request.status or REQUEST_TIMEOUT
            request.run(self._give_up, request)
        self._expecting = _OVER
        self._finish_late()

    # Between requests, and the end.

    def _finish(self) -> None:
        """
        An answer is with the client's side.
        """
        request, self.request = self.request, None
        self._ending = False
        if request is None:
            return
        keep = request.keep_alive
        body = request.body
        body.discarded = True
        self._pipelined = bool(self._reader.held)
        request.complete = not self._left
        request.done()
        if not body.done and not self._failure:
            if not keep:
                self._linger()
                return
            self._discarded = body.received
            self._expecting = _DISCARD
            self._continue = False
            self.session.wait(self._limits.lingering_time, self._close)
            self._later()
            return
        if not keep or self.session.runtime.stopped:
            self._close()
            return
        self._idle()

    def _idle(self) -> None:
        """
        Wait for the next request, which may be there already.
        """
        self._expecting = _HEAD
        self._began = -1.0
        session = self.session
        session.wait(self._limits.keepalive_timeout, self._close)
        session.runtime.idle.add(self)
        if self._reader.held or not silent(self.leg):
            self._later()

    def _later(self) -> None:
        """
        What was read with the request before, or has come meanwhile, has been told already: look after it when whoever
        called is through.
        """
        if not self._inside:
            self.leg.again()

    def _drop(self, event: RequestHead | Data | End | Refused) -> None:
        """
        A piece of a body that nobody wants.
        """
        if isinstance(event, End):
            self._idle()
            return
        if isinstance(event, Data):
            self._discarded += len(event.data)
            if self._discarded <= DISCARDED:
                return
        self._linger()

    def _close(self) -> None:
        """
        Nothing more is read from this client, or sent to it.
        """
        session = self.session
        if self._expecting == _LINGER or self._limits.lingering == "off":
            self._expecting = _OVER
            session.finish(OK)
        elif self._reader.held or self._limits.lingering == "always":
            self._linger()
        else:
            self._expecting = _OVER
            session.finish(OK)

    def _linger(self) -> None:
        """
        Say that this is all, and drop what still comes: a socket that is closed with bytes nobody took is reset, and
        the reset can overtake the answer.
        """
        if self._limits.lingering == "off":
            self._expecting = _OVER
            self.session.finish(OK)
            return
        session = self.session
        self._expecting = _LINGER
        self._lingered = session.runtime.now() + self._limits.lingering_time
        self.leg.finish()
        session.wait(min(self._limits.lingering_timeout, self._limits.lingering_time), self._close)
        self._later()

    def _linger_on(self) -> bool:
        session = self.session
        left = self._lingered - session.runtime.now()
        if left <= 0:
            self._close()
            return False
        session.wait(min(self._limits.lingering_timeout, left), self._close)
        return True

    def _ended(self, error: OSError | None) -> None:
        """
        There is nothing more to read, where no request is under way.
        """
        session = self.session
        if self._expecting != _HEAD:
            self._expecting = _OVER
            session.finish(OK)
            return
        if self._reading and self._reader.held:
            request = self._unfinished()
            if error is None:
                request.info("client prematurely closed connection")
            else:
                request.log(level_of(error, "client"), broken(error, "recv()"))
            request.status = BAD_REQUEST
            self.request = None
            request.done()
        elif error is not None:
            session.action = "waiting for request" if not self._requests else "keepalive"
            session.log(level_of(error, "client"), broken(error, "recv()"))
        elif session.server.error_log.level >= INFO:
            if self._requests:
                session.tell(f"client {session.client_text()} closed keepalive connection")
            else:
                session.action = "waiting for request"
                session.info("client closed connection")
        self._expecting = _OVER
        session.finish(OK)

    def _unfinished(self) -> Request:
        """
        A request of which there is a part of the head, for the log.
        """
        request = self._make()
        line, end, _ = self._reader.held.partition(b"\r\n")
        request.line = decode(line)
        request.keep_alive = False
        request.body.done = True
        request.action = READING_HEADERS if end else reading_line(request.pipelined)
        return request

    def _late(self) -> None:
        """
        No whole head has come in time.
        """
        if self._reader.held:
            request = self._unfinished()
            request.info("client timed out (110: Connection timed out)")
            request.status = REQUEST_TIMEOUT
            self.request = None
            request.done()
        else:
            self.session.action = "waiting for request"
            self.session.info("client timed out (110: Connection timed out)")
        self._expecting = _OVER
        self._finish_late()

    def _finish_late(self) -> None:
        """
        The client has let us wait for too long.
        """
        sock = self.leg.socket() if self._limits.reset_timedout else None
        if sock is not None:
            sock.setsockopt(SOL_SOCKET, SO_LINGER, _RESET)
        self.session.finish(OK)

    def leave(self) -> None:
        """
        The configuration takes no more requests, and this connection has none.
        """
        self._expecting = _OVER
        self.session.finish(OK)

    def cancel(self) -> None:
        """
        The session ends.
        """
        self.session.runtime.idle.discard(self)
        self._expecting = _OVER
        request, self.request = self.request, None
        if request is not None:
            request.status = request.status or CLIENT_CLOSED
            request.run(self._give_up, request)
