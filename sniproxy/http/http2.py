"""
HTTP/2 with a client: many requests on the client's leg, each on a stream of its own (RFC 9113, ngx_http_v2_module).

Strategy: what comes is read by h2 a little at a time, and what it means is done at once; what is to be sent is gathered
and goes out at the end of a turn, a frame of each stream in its order. As long as the leg takes nothing, streams are
stopped; and a client that takes nothing of what it makes us say is not read from either. Work that a client wants done
and then does not want is counted, and so are bytes that carry nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from struct import Struct
from typing import Any, Final

from h2.errors import ErrorCodes
from h2.events import (
    DataReceived,
    RequestReceived,
    StreamReset,
    TrailersReceived,
)
from h2.exceptions import ProtocolError

from sniproxy.common.phases import BAD_REQUEST, OK
from sniproxy.common.session import Session
from sniproxy.common.ssl_errors import broken, level_of
from sniproxy.http.body import Body
from sniproxy.http.headers import Headers
from sniproxy.http.http2_head import BadHead, head_of, line_of, trailers_of
from sniproxy.http.http2_protocol import SETTINGS, Protocol
from sniproxy.http.http2_stream import Stream, frame
from sniproxy.http.phases import CLIENT_CLOSED
from sniproxy.http.request import Request
from sniproxy.http.server import HttpServer
from sniproxy.wire.hpack import NO_TABLE

PIECE: Final = 16384
"""Bytes that are read at a time: what they say is all done before anything else is looked at."""

TURN: Final = 8
"""Pieces that are read, or sent, in one turn: then others have theirs."""

MUCH: Final = 65536
"""Bytes waiting to be sent from which on no more of bodies is framed; with twice as many nothing is read."""

WASTE: Final = 1 << 20
"""Bytes besides eight times their payload that are read from each client (ngx_http_v2_read_handler)."""

REFUSED: Final = 100
"""Streams that may be refused on one connection, or as many as there may be at once."""

GOAWAY: Final = 7
_GOODBYE: Final = Struct(">II").pack
"""The last stream that is answered, and an error code (RFC 9113, 6.8)."""

_ACTION: Final = "processing HTTP/2 connection"

# What comes next from the client.
_FRAMES: Final = 0
_LINGER: Final = 1
_OVER: Final = 2


class Http2:
    """
    One connection. Owns the client's leg, as the content of its session, until the session is finished. Holds what
    streams hold, and at most C{2 * MUCH} bytes to be sent besides one frame of each stream's fields.

    @ivar runtime: whose deadlines streams use.
    @ivar most: bytes of a frame to the client.
    @ivar streams: those with a request that is not over, by number.
    """

    __slots__ = (
        "_asked",
        "_busy",
        "_done",
        "_expecting",
        "_gone",
        "_heard",
        "_last",
        "_leaving",
        "_limits",
        "_lingered",
        "_new",
        "_opened",
        "_out",
        "_payload",
        "_protocol",
        "_read_bytes",
        "_ready",
        "_refused",
        "_requests",
        "_resets",
        "_server",
        "_settings",
        "_size",
        "_stuck",
        "_tables",
        "_unread",
        "_waiting",
        "leg",
        "runtime",
        "session",
        "streams",
    )

    def __init__(self, session: Session, server: HttpServer) -> None:
        self.session = session
        self.runtime = session.runtime
        self.leg: Any = session.client
        self.streams: dict[int, Stream] = {}
        self._server = server
        self._settings = server.http2_settings
        self._limits = server.place.limits
        head = self._limits.head
        self._protocol = Protocol(self._settings, max(2 * head.header * head.count, 65536))
        self._opened = self.runtime.now()
        self._expecting = _FRAMES
        self._out: list[bytes | memoryview] = []
        self._size = 0
        self._stuck = False
        self._busy = False
        self._asked = False
        self._unread = False
        self._leaving = False
        self._last = 0
        self._gone = False
        self._tables = False
        self._waiting: dict[Stream, None] = {}
        self._ready: dict[Stream, None] = {}
        self._heard: dict[Stream, None] = {}
        self._done: list[Stream] = []
        self._requests = 0
        self._new = 0
        self._refused = 0
        self._resets = 0
        self._payload = 0
        self._read_bytes = 0
        self._lingered = 0.0

    def begin_connection(self) -> None:
        """
        Take the leg.
        """
        session = self.session
        session.pending = self
        session.action = _ACTION
        self.leg.handler = self._event
        self.runtime.idle.add(self)
        session.wait(self._limits.header_timeout, self._late)
        self._collect()
        if not self.leg.watch():
            self._event(0)

    # Edges.

    def _event(self, bits: int) -> None:
        self._busy = True
        if self._stuck:
            self._flush()
        self._read()
        self._flush()
        self._busy = False
        if self._unread and not self._stuck and self._expecting == _FRAMES:
            self._unread = False
            self.leg.again()

    def _read(self) -> None:
        for _ in range(TURN):
            if self._expecting == _OVER or self._gone:
                return
            if self._size > 2 * MUCH:
                self._unread = True
                return
            try:
                data = self.leg.receive(PIECE)
            except OSError as error:
                self._ended(error)
                return
            if data is None:
                return
            if not data:
                self._ended(None)
                return
            if self._expecting == _LINGER:
                if not self._linger_on():
                    return
            else:
                self._feed(data)
        self._unread = True

    def _feed(self, data: bytes) -> None:
        """
        Do what a piece of what the client sends says.
        """
        self._read_bytes += len(data)
        self._new = 0
        protocol = self._protocol
        try:
            events = protocol.receive_data(data)
        except ProtocolError as error:
            words = str(error) or type(error).__name__
            self._fail(ErrorCodes(error.error_code), f"client sent invalid HTTP/2: {words}")
            return
        self._collect()
        given_up = {event.stream_id for event in events if type(event) is StreamReset}
        for event in events:
            act = _ACTS.get(type(event))
            if act is None:
                continue
            if type(event) is RequestReceived and event.stream_id in given_up:
                # nobody has begun, and nobody shall
                self._requests += 1
                self._count_reset()
            else:
                act(self, event)
            if self._expecting != _FRAMES:
                return
        heard, self._heard = self._heard, {}
        for stream in heard:
            if stream.number in self.streams:
                stream.tell()
        if self._expecting != _FRAMES:
            return
        if self._read_bytes // 8 > self._payload + WASTE:
            self._fail(ErrorCodes.NO_ERROR, "http2 flood detected")
        elif len(protocol.remote_settings) > SETTINGS:
            self._fail(ErrorCodes.ENHANCE_YOUR_CALM, "client sent too many settings")
        elif protocol.overlong:
            self._fail(ErrorCodes.FRAME_SIZE_ERROR, "client sent too long frame")

    # What the client says.

    def _begun(self, event: RequestReceived) -> None:
        """
        A request.
        """
        number: int = event.stream_id
        settings = self._settings
        h2 = self._protocol.streams.get(number)
        if h2 is None or h2.closed:
            return
        if self._leaving:
            self._refuse(number)
            return
        if len(self.streams) >= settings.streams:
            self.session.info(f"concurrent streams exceeded {len(self.streams)}")
            self._refuse(number)
            return
        self._new += 1
        if self._new > 2 * settings.streams:
            self.session.info("client sent too many streams at once")
            self._refuse(number)
            return
        session = self.session
        session.stop_waiting()
        self._requests += 1
        self._last = number
        stream = Stream(self, number, h2, settings.preread)
        self.streams[number] = stream
        request = stream.request = Request(session, stream, self._server, self.runtime.now())
        request.started = self.runtime.time()
        request.count = self._requests
        limits = self._limits
        if (
            self._requests >= limits.keepalive_requests
            or self.runtime.now() - self._opened > limits.keepalive_time
            or self.runtime.stopped
        ):
            self._say_goodbye()
        stream.ended = event.stream_ended is not None
        try:
            head = head_of(event.headers, limits.head)
            self._payload += head.size
            self._start(stream, request, head)
        except BadHead as bad:
            request.action = "reading client request headers"
            request.line = bad.line
            self._malformed(stream, bad.reason, bad.status)

    def _start(self, stream: Stream, request: Request, head: Any) -> None:
        request.length = head.size
        request.method = head.method
        request.target = head.target
        request.line = line_of(head.method, head.target)
        request.headers = Headers(head.headers)
        request.fields = head.fields
        request.sift()
        request.body = Body(stream, 0 if stream.ended else head.length)
        stream.expect(head.length, head.fields.get("expect", "").lower() == "100-continue")
        wrong = stream.end_of_body() if stream.ended else ""
        if wrong:
            self._malformed(stream, wrong)
        else:
            request.start()

    def _data(self, event: DataReceived) -> None:
        data: bytes = event.data
        stream = self.streams.get(event.stream_id)
        size: int = event.flow_controlled_length
        if stream is None or stream.closed:
            self._protocol.acknowledge_received_data(size, event.stream_id)
            return
        self._payload += len(data)
        if size > len(data):
            self._protocol.acknowledge_received_data(size - len(data), event.stream_id)
        wrong = stream.arrive(data)
        if not wrong and event.stream_ended is not None:
            wrong = stream.end_of_body()
        if wrong:
            self._malformed(stream, wrong)
        else:
            self._heard[stream] = None

    def _trailers(self, event: TrailersReceived) -> None:
        stream = self.streams.get(event.stream_id)
        if stream is None or stream.closed:
            return
        wrong = stream.end_of_body()
        if not wrong:
            try:
                stream.trailers = trailers_of(event.headers)
            except BadHead as bad:
                wrong = bad.reason
        if wrong:
            self._malformed(stream, wrong)
        else:
            self._heard[stream] = None

    def _reset(self, event: StreamReset) -> None:
        """
        The client has given a request up, or has done what ends its stream.
        """
        stream = self.streams.get(event.stream_id)
        if stream is None:
            return
        request = stream.request
        if event.remote_reset:
            request.info(f"client terminated stream {stream.number} with status {int(event.error_code or 0)}")
        else:
            request.info(f"client broke stream {stream.number}")
        self._count_reset()
        if not request.over:
            stream.lose(CLIENT_CLOSED)

    def _count_reset(self) -> None:
        """
        A request was begun for nothing; those that were answered make up for it.
        """
        self._resets += 1
        if self._resets > 2 * self._settings.streams:
            self._fail(ErrorCodes.ENHANCE_YOUR_CALM, "client sent too many resets")

    def _malformed(self, stream: Stream, reason: str, status: int = 0) -> None:
        """
        What the client has sent is no request.

        @param status: how it is answered; 0 for the end of the stream.
        """
        request = stream.request
        request.info(reason)
        request.body.done = request.body.done or stream.ended
        if status:
            request.run(request.finalize, status)
            return
        request.status = request.status or BAD_REQUEST
        stream.reset(ErrorCodes.PROTOCOL_ERROR)
        stream.lose(BAD_REQUEST)
        self._count_reset()

    def _refuse(self, number: int) -> None:
        """
        A request that another connection may take: nothing was done for it.
        """
        self._protocol.reset_stream(number, ErrorCodes.REFUSED_STREAM)
        self._collect()
        self._refused += 1
        if self._refused > max(self._settings.streams, REFUSED):
            self._fail(ErrorCodes.NO_ERROR, "client sent too many refused streams")

    # What streams ask.

    @property
    def most(self) -> int:
        """
        Bytes of a frame to the client at most.
        """
        return min(self._protocol.max_outbound_frame_size, MUCH)

    def first_block(self, block: bytes) -> bytes:
        """
        @return: the same fields, with what has to be said before the first of all.
        """
        if self._tables:
            return block
        self._tables = True
        return NO_TABLE + block

    def give(self, pieces: Iterable[bytes | memoryview], size: int) -> None:
        """
        Take something to be sent.

        @param size: bytes of all pieces.
        """
        self._out.extend(pieces)
        self._size += size
        self._payload += size

    def pump(self, stream: Stream) -> bool:
        """
        Send what a stream has, as far as can be.

        @return: whether all of it was taken.
        """
        self._waiting[stream] = None
        if len(self._waiting) == 1 and not self._stuck:
            self._share()
        self._turn()
        return stream not in self._waiting

    def taken(self, stream: Stream, size: int) -> None:
        """
        That much of a body has been read.
        """
        self._protocol.acknowledge_received_data(size, stream.number)
        self._turn()

    def open(self, stream: Stream, size: int) -> None:
        """
        Let the client send more of a body than it could before anybody wanted it.
        """
        self._protocol.increment_flow_control_window(size, stream.number)
        self._turn()

    def reset(self, stream: Stream, code: ErrorCodes) -> None:
        """
        Break a stream off.
        """
        self._waiting.pop(stream, None)
        self._protocol.reset_stream(stream.number, code)
        self._collect()
        self._turn()

    def ended(self, stream: Stream) -> None:
        """
        The end of an answer was given.
        """
        self._done.append(stream)

    def finish(self, stream: Stream) -> None:
        """
        A request is over.
        """
        if self.streams.pop(stream.number, None) is None:
            return
        self._waiting.pop(stream, None)
        self._ready.pop(stream, None)
        unread = stream.forget()
        if unread and not self._gone and self._expecting == _FRAMES:
            self._protocol.acknowledge_received_data(unread, stream.number)
        request = stream.request
        request.body.discarded = True
        request.done()
        stream.dissolve()
        if not self.streams:
            self._rest()

    def _rest(self) -> None:
        """
        No request is under way.
        """
        if self._gone:
            self._expecting = _OVER
            self.session.finish(OK)
        elif self._expecting == _FRAMES:
            if self.runtime.stopped or not self._limits.keepalive_timeout:
                self._say_goodbye()
            if not self._stuck:
                self._wait()
            self._turn()

    def _wait(self) -> None:
        if not self.streams:
            self.session.wait(self._limits.keepalive_timeout, self.leave)
        else:
            self.session.stop_waiting()

    # Sending.

    def _collect(self) -> None:
        """
        Take what h2 has to say, in its place.
        """
        data = self._protocol.data_to_send() if self._expecting == _FRAMES else b""
        if data:
            self._out.append(data)
            self._size += len(data)

    def _turn(self) -> None:
        """
        Send at the end of this turn.
        """
        if not self._busy and not self._asked:
            self._asked = True
            self.runtime.network.later(self._later)

    def _later(self) -> None:
        self._asked = False
        if not self._busy:
            self._busy = True
            self.session.run(self._flush)
            self._busy = False

    def _share(self) -> None:
        """
        A frame of each stream that waits, one after the other, until the client's windows are full, or we have enough.
        """
        protocol = self._protocol
        waiting = self._waiting
        moved = True
        while moved and waiting:
            moved = False
            for stream in list(waiting):
                if self._size >= MUCH:
                    return
                if stream not in waiting:
                    continue
                taken = stream.write(
                    protocol.outbound_flow_control_window, MUCH - self._size if len(waiting) == 1 else 0
                )
                if taken > 0:
                    protocol.outbound_flow_control_window -= taken
                waiting.pop(stream, None)
                if stream.waiting:
                    waiting[stream] = None
                    moved = moved or taken >= 0
                elif stream.stopped:
                    self._ready[stream] = None

    def _fill(self) -> None:
        self._collect()
        if self._waiting:
            self._share()

    def _flush(self) -> None:
        """
        Send what there is, and tell whoever may send more.
        """
        for _ in range(TURN):
            if self._expecting != _FRAMES or self._gone:
                return
            if not self._stuck:
                self._fill()
            if not self._push():
                return
            done, self._done = self._done, []
            for stream in done:
                if stream.number not in self.streams:
                    continue  # it was given up before its end was with the leg
                stream.request.complete = True
                self._resets = max(0, self._resets - 1)
                self.finish(stream)
            ready, self._ready = self._ready, {}
            for stream in ready:
                if stream.number in self.streams:
                    stream.stopped = False
                    stream.request.run(stream.request.on_writable)
            self._fill()
            if not self._out:
                break
        else:
            self.leg.again()
            return
        if self._leaving and not self.streams:
            self._linger()

    def _push(self) -> bool:
        """
        @return: whether the leg has taken all.
        """
        out = self._out
        if not out:
            return True
        data: bytes | memoryview = out[0] if len(out) == 1 else b"".join(out)
        out.clear()
        send = self.leg.send
        try:
            while True:
                sent = send(data)
                self._size -= sent
                if sent == len(data):
                    break
                if not sent:
                    out.append(data)
                    self._stuck = True
                    self.session.wait(self._limits.send_timeout, self._late_sending)
                    return False
                data = memoryview(data)[sent:]
        except OSError as error:
            self._ended(error)
            return False
        if self._stuck:
            self._stuck = False
            self._wait()
        return True

    # The end.

    def _say_goodbye(self, code: ErrorCodes = ErrorCodes.NO_ERROR) -> None:
        """
        Let the client open no more streams (RFC 9113, 6.8).
        """
        if self._leaving:
            return
        self._leaving = True
        self._collect()
        data = frame(GOAWAY, 0, 0, 8) + _GOODBYE(self._last, code)
        self._out.append(data)
        self._size += len(data)
        self._turn()

    def leave(self) -> None:
        """
        No more requests: because the configuration takes none, or none has come for long. Those that are under way are
        answered.
        """
        self._say_goodbye()
        self._turn()

    def _fail(self, code: ErrorCodes, words: str) -> None:
        """
        The client has done what ends the connection: say so, and give up all that it wanted.
        """
        session = self.session
        session.info(words)
        self._leaving = False
        self._protocol.clear_outbound_data_buffer()
        self._say_goodbye(code)
        self._lose_all()
        if not self._stuck:
            self._push()
        self._linger()

    def _lose_all(self) -> None:
        for stream in list(self.streams.values()):
            request = stream.request
            request.status = request.status or CLIENT_CLOSED
            request.run(stream.give_up)

    def _ended(self, error: OSError | None) -> None:
        """
        The client has gone.
        """
        session = self.session
        if self._expecting != _FRAMES:
            self._expecting = _OVER
            session.finish(OK)
            return
        if error is not None:
            session.log(level_of(error, "client"), broken(error, "recv()"))
        elif self.streams:
            session.info("client prematurely closed connection")
        self._gone = True
        self._out.clear()
        self._waiting.clear()
        session.stop_waiting()
        for stream in list(self.streams.values()):
            stream.lose(CLIENT_CLOSED)
        if not self.streams:
            self._rest()

    def _linger(self) -> None:
        """
        Say that this is all, and drop what still comes: a socket that is closed with bytes nobody took is reset, and
        the reset can overtake the answers.
        """
        session = self.session
        if self._expecting != _FRAMES:
            return
        limits = self._limits
        if limits.lingering == "off" or self._gone:
            self._expecting = _OVER
            session.finish(OK)
            return
        self._expecting = _LINGER
        self._lingered = self.runtime.now() + limits.lingering_time
        self._out.clear()
        self.leg.finish()
        session.wait(min(limits.lingering_timeout, limits.lingering_time), self._close)
        self.leg.again()

    def _linger_on(self) -> bool:
        left = self._lingered - self.runtime.now()
        if left <= 0:
            self._close()
            return False
        self.session.wait(min(self._limits.lingering_timeout, left), self._close)
        return True

    def _close(self) -> None:
        self._expecting = _OVER
        self.session.finish(OK)

    def _late(self) -> None:
        """
        No request has come in time.
        """
        self.session.info("client timed out (110: Connection timed out)")
        self.leave()

    def _late_sending(self) -> None:
        """
        The client takes nothing.
        """
        self.session.info("client timed out (110: Connection timed out) while sending to client")
        self._gone = True
        self._lose_all()
        self._close()

    def cancel(self) -> None:
        """
        The session ends.
        """
        self.runtime.idle.discard(self)
        self._lose_all()
        self._expecting = _OVER
        self._protocol.dissolve()


_ACTS: Final[dict[type[Any], Callable[[Http2, Any], None]]] = {
    RequestReceived: Http2._begun,
    DataReceived: Http2._data,
    TrailersReceived: Http2._trailers,
    StreamReset: Http2._reset,
}
"""What is done about what the client says; the rest is h2's own affair."""
