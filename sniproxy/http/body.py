"""
The body of a request, pulled by whoever wants it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class BodyError(Exception):
    """
    There will be no whole body.

    @ivar status: what the request comes to: 400, 408, 413, 499.
    @ivar reason: what the log is to be told; empty where it has been told.
    """

    def __init__(self, status: int, reason: str = "") -> None:
        super().__init__(status)
        self.status = status
        self.reason = reason


def _nothing() -> None:
    """
    Nobody waits.
    """


class Body:
    """
    Reads only when it is asked: whoever does not ask makes the client wait. Holds nothing.

    @ivar length: what was announced; None where it is not known beforehand, 0 where there is none.
    @ivar most: bytes there may be; 0 for no limit.
    @ivar received: bytes so far.
    @ivar announced: bytes of a chunk that are still to come; 0 where they are not known.
    @ivar done: whether it has been read to its end.
    @ivar discarded: nobody wants it any more.
    @ivar trailers: the fields behind it.
    @ivar on_data: called when reading may go on, after C{read} answered None.
    """

    __slots__ = ("_exchange", "announced", "discarded", "done", "length", "most", "on_data", "received", "trailers")

    def __init__(self, exchange: Any, length: int | None) -> None:
        self._exchange = exchange
        self.length = length
        self.most = 0
        self.received = 0
        self.announced = 0
        self.done = length == 0
        self.discarded = False
        self.trailers: tuple[tuple[str, str], ...] = ()
        self.on_data: Callable[[], None] = _nothing

    def read(self) -> bytes | None:
        """
        @return: what came next; None when there is nothing now; C{b""} at the end.
        @raise BodyError: it is broken, too large, too late, or the client has gone.
        """
        if self.done:
            return b""
        data: bytes | None = self._exchange.read_body()
        if data:
            before = self.received
            self.received += len(data)
            if self.most and self.received + self.announced > self.most and not self.discarded:
                more = len(data) + self.announced
                raise BodyError(413, f"client intended to send too large chunked body: {before}+{more} bytes")
        elif data is not None:
            self.done = True
        return data
