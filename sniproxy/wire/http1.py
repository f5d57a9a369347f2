"""
HTTP/1 messages as they come: requests where we are the server, responses where we are the proxy's client (RFC 9112).

Strategy: a reader is fed whatever came and says what it means, one event at a time. A head is taken once it is whole,
and read in one go (L{sniproxy.wire.http1_head}); while it is not, what has come is looked at just enough to refuse what
cannot become one, and what is too long. There is one answer to what a message means, or none: what could be read in
two ways is refused, and nothing is read behind it.

Bounds: a reader holds a head up to its limits, a chunk's line, or else what it was fed and not asked about.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar, Final

from sniproxy.wire.http1_body import END, Data, End
from sniproxy.wire.http1_head import (
    BAD_GATEWAY,
    BAD_REQUEST,
    HEADER_TOO_LARGE,
    READING_HEADERS,
    READING_LINE,
    READING_RESPONSE,
    READING_UPSTREAM,
    URI_TOO_LARGE,
    Fault,
    RequestHead,
    ResponseHead,
    check_method,
    read_request_head,
    read_request_line,
    read_response_head,
    read_status_line,
)
from sniproxy.wire.http1_reader import CLOSE, HEAD, IDLE, REFUSED, WHOLE, Reader, Refused

__all__ = (
    "EMPTY_LINES",
    "INTERIM",
    "PREFACE",
    "Data",
    "End",
    "Limits",
    "Refused",
    "RequestHead",
    "RequestReader",
    "ResponseHead",
    "ResponseReader",
    "is_preface",
)

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""How a connection of HTTP/2 begins (RFC 9113, 3.4)."""

EMPTY_LINES: Final = 16
"""How many may precede a request: some clients send one behind a body."""

INTERIM: Final = 32
"""How many interim responses may precede one that counts."""

_CR: Final = 13
_LF: Final = 10

# What makes a first line wrong before its end is there.
_SPOILED_REQUEST: Final = re.compile(rb"[\0-\x0c\x0e-\x1f\x7f]|\r(?!\Z)")
_SPOILED_STATUS: Final = re.compile(rb"[\0-\x08\x0a-\x0c\x0e-\x1f\x7f]|\r(?!\Z)")


@dataclass(frozen=True, slots=True)
class Limits:
    """
    How long the head of a request may be: C{large_client_header_buffers}, and C{max_headers}.

    @ivar line: bytes of the request line, with its end.
    @ivar header: bytes of another line.
    @ivar count: all lines together have as many times C{header}.
    @ivar headers: how many lines there may be.
    """

    line: int = 8192
    header: int = 8192
    count: int = 4
    headers: int = 1000


def is_preface(prefix: bytes) -> bool | None:
    """
    Whether a connection is one of HTTP/2.

    @param prefix: its first bytes.
    @return: None where more are needed.
    """
    if prefix.startswith(PREFACE):
        return True
    return None if PREFACE.startswith(prefix) else False


class RequestReader(Reader):
    """
    Requests of one client, one behind the other.

    For each come a L{RequestHead}, what there is of L{Data}, and an L{End}. Whether another one is wanted is the
    caller's affair: who does not ask has it in C{held}, as whoever follows an Upgrade or CONNECT wants it.
    """

    __slots__ = ("_empty", "_limits")

    def __init__(self, limits: Limits) -> None:
        super().__init__()
        self._limits = limits
        self._empty = 0

    def next(self) -> RequestHead | Data | End | Refused | None:
        """
        @return: None where more is needed; nothing but None behind L{Refused}.
        """
        try:
            return self._head() if self._state == HEAD else self._body()
        except Fault as fault:
            return self._refuse(fault)

    def _head(self) -> RequestHead | None:
        buffer = self._buffer
        at = self._at
        while at + 1 < len(buffer) and buffer[at] == _CR and buffer[at + 1] == _LF:
            at += 2
            self._at = at
            self._empty += 1
            if self._empty > EMPTY_LINES:
                raise Fault(BAD_REQUEST, "client sent too many empty lines", READING_LINE)
        if at == len(buffer) or (buffer[at] == _CR and at + 1 == len(buffer)):
            return None
        stop = self._section()
        if stop < 0:
            self._unfinished()
            return None
        limits = self._limits
        line_end = buffer.find(b"\r\n", at)
        if stop - at > limits.line or stop - at > limits.header:
            self._fit(line_end, stop)
        head = read_request_head(buffer[at:line_end], buffer[line_end + 2 : stop], limits.headers)
        self._forward(stop)
        self._empty = 0
        self._lined = False
        self._begin_body(head.line, head.length, head.length is None)
        return head

    def _fit(self, line_end: int, stop: int) -> None:
        """
        @raise Fault: a whole head is too large.
        """
        limits = self._limits
        buffer = self._buffer
        if line_end + 2 - self._at > limits.line:
            check_method(buffer[self._at : line_end])
            raise Fault(URI_TOO_LARGE, "client sent too long URI", READING_LINE)
        if stop - self._at > limits.header * limits.count:
            raise Fault(HEADER_TOO_LARGE, "client sent too large request", READING_HEADERS)
        at = line_end + 2
        while at < stop:
            end = buffer.index(b"\n", at) + 1
            if end - at > limits.header:
                raise Fault(HEADER_TOO_LARGE, "client sent too long header line", READING_HEADERS)
            at = end

    def _unfinished(self) -> None:
        """
        @raise Fault: what there is of a head will not become one.
        """
        limits = self._limits
        buffer = self._buffer
        at = self._at
        start = at
        if not self._lined:
            start = buffer.find(b"\r\n", at)
            check_method(buffer[at:])
            if (len(buffer) if start < 0 else start + 1) - at >= limits.line:
                raise Fault(URI_TOO_LARGE, "client sent too long URI", READING_LINE)
            if start < 0:
                if _SPOILED_REQUEST.search(buffer, max(at, self._scanned)):
                    raise Fault(BAD_REQUEST, "client sent invalid request", READING_LINE)
                self._scanned = max(at, len(buffer) - 3)
                return
            read_request_line(buffer[at:start])
            self._lined = True
        if self._spoiled(start):
            raise Fault(BAD_REQUEST, "client sent invalid header line", READING_HEADERS)
        if len(buffer) - at >= limits.header * limits.count:
            raise Fault(HEADER_TOO_LARGE, "client sent too large request", READING_HEADERS)
        # The lines before the last one are measured once all is there.
        if len(buffer) - buffer.rfind(b"\n") > limits.header:
            raise Fault(HEADER_TOO_LARGE, "client sent too long header line", READING_HEADERS)


class ResponseReader(Reader):
    """
    Responses of one upstream, each to a request that was begun.

    For each come a L{ResponseHead}, what there is of L{Data}, and an L{End}. Interim responses are heads without an
    end; so is 101, behind which nothing is read: C{held} is what follows it.
    """

    __slots__ = ("_interim", "_limit", "_method", "_unasked")

    _guilty: ClassVar[int] = BAD_GATEWAY
    _who: ClassVar[str] = "upstream"
    _action: ClassVar[str] = READING_UPSTREAM
    _words: ClassVar[str] = "upstream sent invalid chunked response"
    _after: ClassVar[int] = IDLE

    def __init__(self, limit: int) -> None:
        """
        @param limit: bytes of a head, as C{proxy_buffer_size} says it.
        """
        super().__init__()
        self._limit = limit
        self._method = ""
        self._interim = 0
        self._unasked = False

    def begin(self, method: str) -> None:
        """
        A request goes out. What came before it answers nothing, and is refused.

        @param method: the request's; the answer to HEAD has no body.
        """
        if self._state != IDLE:
            raise AssertionError("the last request was not answered yet")
        self._state = HEAD
        self._method = method
        self._interim = 0
        self._unasked = self._at < len(self._buffer)

    def next(self) -> ResponseHead | Data | End | Refused | None:
        """
        @return: None where more is needed; nothing but None behind L{Refused}, and before C{begin}.
        """
        try:
            return self._head() if self._state == HEAD else self._body()
        except Fault as fault:
            return self._refuse(fault)

    def finish(self) -> End | Refused | None:
        """
        The upstream has ended the connection. Everything was asked for with C{next} before.

        @return: None where nothing was awaited; L{Refused} where the response is cut short.
        """
        state = self._state
        if state == CLOSE or state == WHOLE:
            self._state = IDLE
            return END
        if state == IDLE or state == REFUSED:
            return None
        action = READING_RESPONSE if state == HEAD else READING_UPSTREAM
        return self._refuse(Fault(BAD_GATEWAY, "upstream prematurely closed connection", action))

    def _head(self) -> ResponseHead | None:
        if self._unasked:
            raise Fault(BAD_GATEWAY, "upstream sent data before it was asked", READING_RESPONSE)
        buffer = self._buffer
        at = self._at
        if at == len(buffer):
            return None
        stop = self._section()
        if stop < 0:
            self._unfinished()
            return None
        if stop - at > self._limit:
            raise Fault(BAD_GATEWAY, "upstream sent too big header", READING_RESPONSE)
        line_end = buffer.find(b"\r\n", at)
        head = read_response_head(buffer[at:line_end], buffer[line_end + 2 : stop], self._method)
        self._forward(stop)
        self._lined = False
        if head.status >= 200:
            self._begin_body(head.line, head.length, head.chunked)
        elif head.status == 101:
            self._state = IDLE
        else:
            self._interim += 1
            if self._interim > INTERIM:
                raise Fault(BAD_GATEWAY, "upstream sent too many interim responses", READING_RESPONSE)
        return head

    def _unfinished(self) -> None:
        """
        @raise Fault: what there is of a head will not become one.
        """
        buffer = self._buffer
        at = self._at
        start = at
        if not self._lined:
            start = buffer.find(b"\r\n", at)
            if start >= 0:
                read_status_line(buffer[at:start])
                self._lined = True
            elif not b"HTTP/1.".startswith(buffer[at : at + 7]) or _SPOILED_STATUS.search(
                buffer, max(at, self._scanned)
            ):
                raise Fault(BAD_GATEWAY, "upstream sent no valid HTTP/1.0 header", READING_RESPONSE)
        if self._spoiled(max(start, at)):
            raise Fault(BAD_GATEWAY, "upstream sent invalid header", READING_RESPONSE)
        if len(buffer) - at >= self._limit:
            raise Fault(BAD_GATEWAY, "upstream sent too big header", READING_RESPONSE)
