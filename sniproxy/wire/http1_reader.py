"""
What readers of requests and of responses have in common: what is held, how a body goes by, and how a message is
refused.

Strategy: what was fed is kept as it came, with a place in it: pipelined messages are read without moving the rest. What
was looked at in vain is not looked at again, so that a head in pieces of one byte costs no more than its length.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar, Final

from sniproxy.wire.http1_body import END, Chunks, Data, End
from sniproxy.wire.http1_fields import SPOILED, decode
from sniproxy.wire.http1_head import BAD_REQUEST, READING_BODY, Fault, read_trailers

TRAILERS_LIMIT: Final = 8192
"""Bytes of all trailers."""

LINE_LOGGED: Final = 8192
"""Bytes of a broken first line that are kept for the log."""

IDLE: Final = 0
HEAD: Final = 1
LENGTH: Final = 2
CHUNKS: Final = 3
TRAILERS: Final = 4
CLOSE: Final = 5
WHOLE: Final = 6
REFUSED: Final = 7

LINE_END: Final = re.compile(rb"[\r\n]")


@dataclass(init=False, slots=True)
class Refused:
    """
    The message is refused, and nothing more is read.

    @ivar status: what a client is told: 400, 414, 494 (nginx's word for a head too large), 501, 505; 502 where an
        upstream is guilty.
    @ivar reason: for the error log, in nginx's words.
    @ivar line: what is known of the message's first line.
    @ivar action: what nginx's log has behind "while".
    @ivar host: what a request's C{Host} said, empty for nothing; None where its fields were not read.
    """

    status: Final[int]
    reason: Final[str]
    line: Final[str]
    action: Final[str]
    host: Final[str | None]

    def __init__(self, status: int, reason: str, line: str, action: str, host: str | None = None) -> None:
        self.status = status
        self.reason = reason
        self.line = line
        self.action = action
        self.host = host


class Reader:
    """
    What requests and responses have in common.

    @cvar _guilty: the status of what is wrong in a body.
    @cvar _who: who sends.
    @cvar _action: what is done while the body is read.
    @cvar _words: what is said of broken chunks.
    @cvar _after: the state behind a message.
    """

    __slots__ = ("_at", "_buffer", "_chunks", "_left", "_line", "_lined", "_scanned", "_state")

    _guilty: ClassVar[int] = BAD_REQUEST
    _who: ClassVar[str] = "client"
    _action: ClassVar[str] = READING_BODY
    _words: ClassVar[str] = "client sent invalid chunked body"
    _after: ClassVar[int] = HEAD

    def __init__(self) -> None:
        self._buffer = b""
        self._at = 0
        # Before this there is no end of a head, and nothing spoiled.
        self._scanned = 0
        # Of a body whose length was said.
        self._left = 0
        self._chunks: Chunks | None = None
        self._state = self._after
        # The first line of the message whose body is read.
        self._line = ""
        # Whether the first line of a head that is not whole was found good.
        self._lined = False

    @property
    def announced(self) -> int:
        """
        Bytes that are still to come of the chunk that is being read.
        """
        chunks = self._chunks
        return 0 if chunks is None else chunks.left

    @property
    def held(self) -> bytes:
        """
        What was fed and is not interpreted.
        """
        return self._buffer[self._at :]

    def feed(self, data: bytes) -> None:
        """
        @param data: what came next, cut anywhere.
        """
        if self._state == REFUSED:
            return
        at = self._at
        if at >= len(self._buffer):
            self._buffer = data
            self._scanned = 0
        else:
            self._buffer = self._buffer[at:] + data
            self._scanned = max(0, self._scanned - at)
        self._at = 0

    def _forward(self, at: int) -> None:
        """
        Everything before C{at} is read. What is read to its end is not kept.
        """
        if at >= len(self._buffer):
            self._buffer = b""
            at = 0
        self._at = at

    def _refuse(self, fault: Fault) -> Refused:
        line = self._line
        if self._state == HEAD:
            line = decode(LINE_END.split(self._buffer[self._at : self._at + LINE_LOGGED], maxsplit=1)[0])
        self._state = REFUSED
        self._buffer = b""
        self._at = 0
        return Refused(fault.status, fault.reason, line, fault.action, fault.host)

    def _section(self) -> int:
        """
        @return: where the section of fields that begins here ends, with its empty line; -1 while it does not.
        """
        found = self._buffer.find(b"\r\n\r\n", max(self._at, self._scanned))
        return found + 4 if found >= 0 else -1

    def _spoiled(self, start: int) -> bool:
        """
        Whether there is something behind C{start} that no section of fields may hold. What was looked at is not looked
        at again.
        """
        spoiled = SPOILED.search(self._buffer, max(start, self._scanned))
        # What ends a section has four bytes, of which three may be here.
        self._scanned = max(self._at, len(self._buffer) - 3)
        return spoiled is not None

    def _begin_body(self, line: str, length: int | None, chunked: bool) -> None:
        self._line = line
        if chunked:
            self._chunks = Chunks(self._guilty, self._words, self._action)
            self._state = CHUNKS
        elif length is None:
            self._state = CLOSE
        elif length:
            self._left = length
            self._state = LENGTH
        else:
            self._state = WHOLE

    def _body(self) -> Data | End | None:
        """
        @raise Fault: chunks or trailers are broken.
        """
        state = self._state
        if state == WHOLE:
            self._state = self._after
            return END
        if state == LENGTH or state == CLOSE:
            at = self._at
            data = self._buffer
            size = len(data) - at
            if not size:
                return None
            if state == LENGTH:
                size = min(size, self._left)
                self._left -= size
                if not self._left:
                    self._state = WHOLE
            if size < len(data):
                data = data[at : at + size]
            self._forward(at + size)
            return Data(data)
        if state == CHUNKS and self._chunks is not None:
            data, at = self._chunks.read(self._buffer, self._at)
            self._forward(at)
            if self._chunks.whole:
                self._chunks = None
                self._state = TRAILERS
            if data:
                return Data(data)
        if self._state == TRAILERS:
            return self._trailers()
        return None

    def _trailers(self) -> End | None:
        buffer = self._buffer
        at = self._at
        if buffer.startswith(b"\r\n", at):
            self._forward(at + 2)
            self._state = self._after
            return END
        stop = self._section()
        if (len(buffer) if stop < 0 else stop) - at > TRAILERS_LIMIT:
            raise Fault(self._guilty, f"{self._who} sent too big trailers", self._action)
        if stop < 0:
            if self._spoiled(at):
                raise Fault(self._guilty, f"{self._who} sent invalid trailer", self._action)
            return None
        trailers = read_trailers(buffer[at:stop], self._guilty, self._who, self._action)
        self._forward(stop)
        self._state = self._after
        return End(trailers)
