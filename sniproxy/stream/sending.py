"""
How a handler says something to a client and ends its session: what C{return} does, and any content handler that only
talks.

Strategy: send until the kernel takes no more, wait for the next edge, go on. At the end whatever the client has sent
meanwhile is taken and dropped: a socket that is closed with bytes nobody took is reset, and a reset can overtake the
text.
"""

from __future__ import annotations

from typing import Final

from sniproxy.common.phases import INTERNAL_SERVER_ERROR, OK
from sniproxy.common.session import Session
from sniproxy.common.ssl_errors import broken, level_of

PATIENCE: Final = 5.0
"""Seconds in which a client has to take something more: those of ngx_stream_return_module."""

DROPPED: Final = 65536
"""Bytes of a client's own that are taken at most, so that it cannot keep us busy."""


def send_text(
    session: Session,
    text: str | bytes,
    status: int = OK,
    *,
    patience: float = PATIENCE,
    action: str = "returning text",
) -> None:
    """
    Send a text and end the session; to be called in the content phase, and nothing after it.

    @param text: all of it; text is sent as UTF-8.
    @param status: C{$status}, where everything was sent; else it is 500, as nginx has it.
    @param patience: seconds; the client is given up when it takes nothing for so long.
    @param action: what the error log calls this.
    """
    data = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
    Sending(session, data, status, patience, action).go_on(0)


class Sending:
    """
    One text on its way. Owns the handler of the client's leg and the session's deadline until it finishes the session;
    holds the text and nothing else.

    @ivar bytes_received: of a datagram, which was there before us. What a connection says is taken, lest its end be a
        reset, and not counted, since nginx does not take it.
    @ivar bytes_sent: how much the kernel, or OpenSSL, has taken.
    @ivar bytes_to_upstream: there is none.
    @ivar bytes_from_upstream: there is none.
    """

    bytes_to_upstream = 0
    bytes_from_upstream = 0

    __slots__ = ("_patience", "_rest", "_session", "_status", "bytes_received", "bytes_sent")

    def __init__(self, session: Session, data: bytes, status: int, patience: float, action: str) -> None:
        self._session = session
        self._rest = memoryview(data)
        self._status = status
        self._patience = patience
        self.bytes_received = 0
        self.bytes_sent = 0
        session.traffic = self
        session.action = action

    def go_on(self, bits: int) -> None:
        """
        Send what is left, as far as it goes now.
        """
        session = self._session
        leg = session.client
        before = len(self._rest)
        try:
            while self._rest:
                taken = leg.send(self._rest)
                if not taken:
                    self._wait(moved=len(self._rest) < before)
                    return
                self.bytes_sent += taken
                self._rest = self._rest[taken:]
        except OSError as error:
            call = "sendmsg()" if session.listening.udp else "send()"
            session.log(level_of(error, "client"), broken(error, call))
            session.finish(INTERNAL_SERVER_ERROR)
            return
        self._drop()
        session.finish(self._status)

    def _wait(self, moved: bool) -> None:
        """
        The next edge says when to go on: it cannot have passed, for the leg has just said that it would block.
        """
        session = self._session
        if session.client.handler != self.go_on:
            session.client.handler = self.go_on
            session.client.watch()
            moved = True
        if moved:
            session.wait(self._patience, self._late)

    def _late(self) -> None:
        self._session.info("connection timed out (110: Connection timed out)")
        self._session.finish(INTERNAL_SERVER_ERROR)

    def _drop(self) -> None:
        dropped = 0
        try:
            while dropped < DROPPED:
                data = self._session.client.receive(DROPPED - dropped)
                if not data:
                    return
                dropped += len(data)
                if self._session.listening.udp:
                    self.bytes_received = dropped
        except OSError:
            pass  # the client is gone: it has what it has
