"""
How a file becomes the body of an answer: a piece at a time, as fast as the client takes it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from sniproxy.http.files import OpenFile, trouble
from sniproxy.http.ranges import Span
from sniproxy.http.subject import nobody_waits
from sniproxy.levels import ALERT, CRIT

if TYPE_CHECKING:
    from sniproxy.http.request import Request

PIECE: Final = 65536
"""Bytes that are read at once: all that is held of a file, besides what the connection has taken."""

TURN: Final = 16
"""Pieces that may be encoded before others have their turn: however many there are, a client may take them all."""


class FileSending:
    """
    One body, of parts of a file and what stands between them. The file is the request's, which closes it.
    """

    __slots__ = ("_file", "_parts", "_path", "_place", "_request")

    def __init__(self, request: Request, file: OpenFile, path: str, parts: Sequence[Span | bytes]) -> None:
        """
        @param path: what the error log calls the file.
        """
        self._request = request
        self._file = file
        self._path = path
        self._parts = deque(parts)
        self._place = 0

    def begin(self) -> None:
        """
        Send, now and whenever there is room again, and end the answer.
        """
        self._go_on()

    def _next_turn(self) -> None:
        if not self._request.over:
            self._go_on()

    def _go_on(self) -> None:
        request = self._request
        request.on_writable = self._go_on
        left = TURN
        while self._parts:
            if request.encoder is not None and not left:
                request.on_writable = nobody_waits
                request.runtime.network.clock.callLater(0, request.run, self._next_turn)
                return
            left -= 1
            try:
                data = self._next()
            except OSError as error:
                request.log(CRIT, f'read() "{self._path}" failed {trouble(error)}')
                request.abort()
                return
            if not data:
                request.log(ALERT, f'file "{self._path}" was truncated at {self._place}')
                request.abort()
                return
            if not request.send(data) or request.over:
                return
        request.end()

    def _next(self) -> bytes:
        part = self._parts[0]
        if isinstance(part, bytes):
            self._parts.popleft()
            return part
        place = max(self._place, part.start)
        data = self._file.read(place, min(PIECE, part.end - place))
        self._place = place + len(data)
        if self._place == part.end:
            self._parts.popleft()
            self._place = 0
        return data
