"""
One stream of an HTTP/2 connection: the exchange of one request (RFC 9113, 5 and 8).

Strategy: what a client sends of a body is kept until it is asked for, and the window is opened again only by what was
taken: who reads slowly makes the client wait. What is to be sent is kept in pieces until there is enough for a frame,
or somebody says flush; when the windows or the connection take no more, the request is told to stop. h2 knows the
state of the stream; frames are written here, so that the bytes of bodies are copied once.
"""

from __future__ import annotations

from collections import deque
from struct import Struct
from typing import TYPE_CHECKING, Any, Final

from h2.errors import ErrorCodes
from h2.stream import StreamInputs

from sniproxy.http.body import BodyError
from sniproxy.http.exchange import Pairs, Reply
from sniproxy.http.fields import fields_of
from sniproxy.http.http2_settings import CHUNK
from sniproxy.http.phases import CLIENT_CLOSED, REQUEST_TIMEOUT
from sniproxy.http.request import Request
from sniproxy.net.timers import NEVER
from sniproxy.wire.hpack import fields_block, status_field

if TYPE_CHECKING:
    from sniproxy.http.http2 import Http2

ENOUGH: Final = 1460
"""Bytes that are worth a frame: less is kept until there is more, C{postpone_output}."""

SMALL: Final = 4096
"""Bytes up to which what came in several frames is kept in one piece: each has its price, and a frame may have one."""

WINDOW: Final = 65536
"""Bytes a client may send before those are taken that it has sent, once somebody reads."""

DATA: Final = 0
HEADERS: Final = 1
CONTINUATION: Final = 9
_END_STREAM: Final = 1
_END_HEADERS: Final = 4
HEAD: Final = 9
"""Bytes of the head of a frame."""

_FRAME: Final = Struct(">BHBBI").pack
"""Length in 24 bits, type, flags, stream (RFC 9113, 4.1)."""

_CONTINUE: Final = status_field(100)
_CONNECTION: Final = frozenset(("connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"))


def frame(kind: int, flags: int, number: int, size: int) -> bytes:
    """
    The head of a frame.
    """
    return _FRAME(size >> 16, size & 0xFFFF, kind, flags, number)


class Stream:
    """
    Owned by its connection. Holds of the body what the window allows, and of the answer what one C{send} was given. Its
    one deadline is C{send_timeout} while the client takes nothing, else C{client_body_timeout} while it sends nothing.

    @ivar number: of the stream.
    @ivar request: what it carries.
    @ivar text: the version.
    @ivar head_sent: bytes of what was sent that are no body.
    @ivar ended: the client has sent all.
    @ivar closed: nothing goes to the client any more.
    @ivar over: the end of the answer has been given to the connection.
    @ivar stopped: the request waits until it may send again.
    @ivar trailers: the fields behind the body.
    """

    __slots__ = (
        "_chunk",
        "_connection",
        "_continue",
        "_ending",
        "_expected",
        "_failure",
        "_h2",
        "_head",
        "_kept",
        "_left",
        "_out",
        "_pieces",
        "_received",
        "_trailers",
        "_unread",
        "_wanted",
        "_window",
        "bucket",
        "closed",
        "due",
        "ended",
        "head_sent",
        "number",
        "over",
        "request",
        "stopped",
        "text",
        "trailers",
    )

    def __init__(self, connection: Http2, number: int, h2: Any, window: int) -> None:
        """
        @param h2: what the library knows of it.
        @param window: bytes the client may send from the beginning.
        """
        self._connection = connection
        self._h2 = h2
        self._window = window
        self.number = number
        self.request: Request
        self.text = "HTTP/2.0"
        self.head_sent = 0
        self.ended = False
        self.closed = False
        self.over = False
        self.stopped = False
        self.trailers: tuple[tuple[str, str], ...] = ()
        self.due = NEVER
        self.bucket = 0
        self._continue = False
        self._expected: int | None = None
        self._failure = 0
        self._pieces: deque[bytes] = deque()
        self._received = 0
        self._unread = 0
        self._wanted = False
        self._chunk = 0
        self._ending = False
        self._head: bytes | None = None
        self._kept = 0
        self._left: int | None = None
        self._out: deque[bytes | memoryview] = deque()
        self._trailers: bytes | None = None

    # The body.

    def expect(self, length: int | None, asks: bool) -> None:
        """
        @param length: what the head says of the body.
        @param asks: whether the client waits to be asked for it.
        """
        self._expected = length
        self._continue = asks

    def arrive(self, data: bytes) -> str:
        """
        A piece of the body has come.

        @return: what is wrong with it; empty for nothing.
        """
        self._received += len(data)
        if self._expected is not None and self._received > self._expected:
            return "client intended to send body data larger than declared"
        pieces = self._pieces
        self._unread += len(data)
        if pieces and len(pieces[-1]) + len(data) <= SMALL:
            pieces[-1] += data
        elif data:
            pieces.append(data)
        return ""

    def end_of_body(self) -> str:
        """
        The client sends no more.

        @return: as C{arrive}.
        """
        self.ended = True
        if self._expected is not None and self._received != self._expected:
            return (
                f"client prematurely closed stream: only {self._received} out of {self._expected} bytes"
                " of request body received"
            )
        return ""

    def tell(self) -> None:
        """
        What was waited for may have come.
        """
        if self._wanted:
            self._wanted = False
            self._arm()
            self.request.run(self.request.body.on_data)

    def read_body(self) -> bytes | None:
        """
        @see: L{sniproxy.http.exchange.Exchange.read_body}
        """
        if self._failure:
            raise BodyError(self._failure)
        request = self.request
        if self._pieces:
            data = self._pieces.popleft()
            self._unread -= len(data)
            request.length += len(data)
            self._connection.taken(self, len(data))
            return data
        if self.ended:
            request.body.trailers = self.trailers
            return b""
        if self.closed:
            raise BodyError(CLIENT_CLOSED)
        self._ask()
        self._wanted = True
        self._arm()
        return None

    def _ask(self) -> None:
        """
        Let the client send its body.
        """
        if self._h2.closed:
            return  # we are about to hear of it
        if self._continue:
            self._continue = False
            if not self._received:
                self._h2.state_machine.process_input(StreamInputs.SEND_INFORMATIONAL_HEADERS)
                self._write_block(_CONTINUE, 0)
        if self._window < WINDOW:
            self._connection.open(self, WINDOW - self._window)
            self._window = WINDOW

    # The answer.

    def begin(self, request: Request, reply: Reply, bodyless: bool) -> None:
        """
        @see: L{sniproxy.http.exchange.Exchange.begin}
        """
        if self.closed:
            return
        first, rest = fields_of(request, reply)
        block = status_field(reply.status) + fields_block(first)
        if rest:
            block += fields_block([pair for pair in rest if pair[0].lower() not in _CONNECTION])
        self._chunk = min(request.place.scope[CHUNK], self._connection.most)
        self._head = block
        self._left = None if bodyless else reply.length

    def send(self, data: bytes) -> bool:
        """
        @see: L{sniproxy.http.exchange.Exchange.send}
        """
        if data and not self.closed:
            self._out.append(data)
            self._kept += len(data)
            if self._left is not None:
                self._left -= len(data)
            if self._kept >= ENOUGH or self.stopped:
                self.stopped = not self._connection.pump(self)
        return not self.stopped

    def flush(self) -> None:
        """
        @see: L{sniproxy.http.exchange.Exchange.flush}
        """
        if self.waiting and not self.stopped:
            self._connection.pump(self)

    def end(self, trailers: Pairs) -> None:
        """
        @see: L{sniproxy.http.exchange.Exchange.end}
        """
        if self.closed:
            self._connection.finish(self)
        elif self._left:
            # less than was promised: the client must not take it for all
            self.abort()
        else:
            if trailers:
                self._trailers = fields_block([pair for pair in trailers if pair[0].lower() not in _CONNECTION])
            self._ending = True
            self._connection.pump(self)

    def abort(self) -> None:
        """
        @see: L{sniproxy.http.exchange.Exchange.abort}
        """
        self.reset(ErrorCodes.INTERNAL_ERROR)
        self._connection.finish(self)

    def upgrade(self, reply: Reply) -> Any:
        """
        @return: None: a stream is no connection to be given up (RFC 9113, 8.6).
        """
        return None

    # What the connection asks.

    @property
    def waiting(self) -> bool:
        """
        Whether there is something that the connection has not been given.
        """
        return self._head is not None or self._kept > 0 or (self._ending and not self.over)

    def write(self, room: int, most: int) -> int:
        """
        Give the connection the next frame of the answer, and its head before it.

        @param room: what the connection's window has.
        @param most: bytes of the body that may go in several frames, where no other stream waits; else 0.
        @return: how much of that was taken; -1 where nothing can be given now.
        """
        h2 = self._h2
        if h2.closed:  # the client has given it up, and we shall hear of it
            self._drop()
            return -1
        last = self._ending and self._trailers is None
        if self._head is not None:
            head, self._head = self._head, None
            h2.state_machine.process_input(StreamInputs.SEND_HEADERS)
            end = last and not self._kept
            self._write_block(head, _END_STREAM if end else 0)
            if end:
                self._end()
                return 0
        if self._kept:
            return self._write_data(room, most, last)
        if not self._ending:
            return 0
        if self._trailers is not None:
            h2.state_machine.process_input(StreamInputs.SEND_HEADERS)
            self._write_block(self._trailers, _END_STREAM)
        else:
            self._give(frame(DATA, _END_STREAM, self.number, 0))
        self._end()
        return 0

    def _write_data(self, room: int, most: int, last: bool) -> int:
        h2 = self._h2
        chunk = self._chunk
        size: int = min(self._kept, room, h2.outbound_flow_control_window, most or chunk)
        if size <= 0:
            self._arm()
            return -1
        end = last and size == self._kept
        number = self.number
        found: list[bytes | memoryview] = []
        out = self._out
        heads = 0
        left = size
        while left:
            part = min(left, chunk)
            left -= part
            heads += 1
            found.append(frame(DATA, _END_STREAM if end and not left else 0, number, part))
            while part:
                piece = out[0]
                length = len(piece)
                if length <= part:
                    found.append(out.popleft())
                    part -= length
                else:
                    view = memoryview(piece)
                    found.append(view[:part])
                    out[0] = view[part:]
                    part = 0
        self.head_sent += heads * HEAD
        self._connection.give(found, size + heads * HEAD)
        self._kept -= size
        h2.outbound_flow_control_window -= size
        if end:
            self._end()
        elif self.due != NEVER:
            self._arm()
        return size

    def _end(self) -> None:
        self.over = True
        self._h2.state_machine.process_input(StreamInputs.SEND_END_STREAM)
        self._arm()
        if not self._h2.closed:
            # Whatever still comes of the body nobody wants (RFC 9113, 8.1).
            self._connection.reset(self, ErrorCodes.NO_ERROR)
        self._connection.ended(self)

    def _give(self, data: bytes) -> None:
        self.head_sent += len(data)
        self._connection.give((data,), len(data))

    def _write_block(self, block: bytes, flags: int) -> None:
        """
        Fields, in as many frames as they need.
        """
        block = self._connection.first_block(block)
        most = self._connection.most
        kind = HEADERS
        while len(block) > most:
            self._give(frame(kind, flags, self.number, most) + block[:most])
            block = block[most:]
            kind, flags = CONTINUATION, 0
        self._give(frame(kind, flags | _END_HEADERS, self.number, len(block)) + block)

    def reset(self, code: ErrorCodes) -> None:
        """
        Break the stream off; the client is told, where it is not over yet.
        """
        if not self._h2.closed:
            self._connection.reset(self, code)
        self.close()

    def close(self) -> None:
        """
        Nothing is sent any more, and nothing comes.
        """
        self.closed = True
        self._drop()
        self._arm()

    def _drop(self) -> None:
        self._head = None
        self._out.clear()
        self._kept = 0

    def forget(self) -> int:
        """
        The request is over.

        @return: bytes of the body that nobody has taken.
        """
        self.close()
        self._wanted = False
        self._pieces.clear()
        unread, self._unread = self._unread, 0
        self._connection.runtime.deadlines.clear(self)
        self._failure = CLIENT_CLOSED
        return unread

    def dissolve(self) -> None:
        """
        Let go of the request, which knows its stream.
        """
        del self.request

    def lose(self, status: int) -> None:
        """
        The client has given the request up, or there can be no whole one.

        @param status: for the log.
        """
        self.close()
        self.stopped = False
        request = self.request
        if not self.ended:
            self._failure = status
            self.tell()
        if not request.over:
            request.run(request.lost)

    # Waits.

    def _arm(self) -> None:
        """
        Set the deadline that is to be, if any.
        """
        limits = self.request.place.limits
        deadlines = self._connection.runtime.deadlines
        if self._kept and not self.closed:
            deadlines.set(self, limits.send_timeout)
        elif self._wanted and not self.closed:
            deadlines.set(self, limits.body_timeout)
        else:
            self.due = NEVER

    def expired(self) -> None:
        """
        The client lets us wait for too long.
        """
        request = self.request
        if self._kept:
            request.info("client timed out (110: Connection timed out) while sending to client")
            request.status = request.status or REQUEST_TIMEOUT
            self.reset(ErrorCodes.INTERNAL_ERROR)
            request.run(self.give_up)
        elif self._wanted:
            self._failure = REQUEST_TIMEOUT
            request.info("client timed out (110: Connection timed out)")
            self.tell()

    def give_up(self) -> None:
        """
        End the request, whatever whoever is busy with it thinks.
        """
        request = self.request
        self.close()
        if request.gone is not None:
            request.gone()
        self._connection.finish(self)
