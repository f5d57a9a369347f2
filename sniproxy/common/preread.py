"""
How a handler looks at what a client sends first, without taking it from those who come after it.

Strategy: one L{Looking} serves ssl_preread, the choice of a server on TLS listeners, and any plugin that reads a first
word. It waits for edges under one deadline of the session, and answers to the walk of phases like any handler.
"""

from __future__ import annotations

from collections.abc import Callable
from errno import ETIMEDOUT
from os import strerror
from typing import Any

from sniproxy.common.phases import WAIT
from sniproxy.common.session import Session
from sniproxy.net.bound import plain, set_handler, watch
from sniproxy.net.legs import nothing
from sniproxy.net.look import GONE, PATIENCE, look
from sniproxy.net.poller import READABLE


class Looking:
    """
    Looks until its reader has a verdict, the client is gone or the session's deadline passes.

    The reader sees at most C{limit} bytes. Owns the leg's handler meanwhile.
    """

    __slots__ = ("_decided", "_failed", "_limit", "_looks", "_reader", "_seen", "_session")

    def __init__(
        self,
        session: Session,
        reader: Any,
        limit: int,
        decided: Callable[[Session, Any], Any],
        failed: Callable[[Session, OSError | None, bool], Any],
        taken: bool = False,
    ) -> None:
        """
        @param reader: L{sniproxy.net.look.Reader}.
        @param decided: called with the session and the verdict; its answer is the handler's.
        @param failed: called instead, where there will be no verdict, with what happened (None for an orderly end,
            L{TimeoutError} when the time was up) and whether any byte was seen; its answer is a status.
        @param taken: whether what is seen may be taken from the kernel at once, and held: for whoever reads it himself
            next that is a call less.
        """
        self._session = session
        self._reader = reader
        self._limit = limit
        self._decided = decided
        self._failed = failed
        self._looks = PATIENCE if taken else 0
        self._seen = False

    def begin(self, seconds: float) -> Any:
        """
        @param seconds: how long the whole look may take.
        @return: what the handler has to answer.
        """
        session = self._session
        leg = session.client
        set_handler(leg, self._event)
        session.wait(seconds, self._late)
        answer = WAIT if watch(leg) else self._look(0)
        if answer is not WAIT:
            session.stop_waiting()
        return answer

    def look(self, prefix: bytes) -> Any:
        """
        @see: L{sniproxy.net.look.Reader.look}
        """
        self._seen = True
        return self._reader.look(prefix)

    def _late(self) -> None:
        set_handler(self._session.client, nothing)
        self._session.finish(self._fail(TimeoutError(ETIMEDOUT, strerror(ETIMEDOUT))))

    def _event(self, bits: int) -> None:
        if not bits & READABLE and plain(self._session.client):
            return  # the first edge, mostly, of a client who has said nothing yet
        answer = self._look(bits)
        if answer is not WAIT:
            self._session.stop_waiting()
            self._session.answer(answer)

    def _look(self, bits: int) -> Any:
        session = self._session
        error: OSError | None = None
        try:
            verdict = look(session.client, self, self._limit, bits, self._looks)
        except OSError as broken:
            verdict, error = GONE, broken
        if verdict is None:
            self._looks += 1
            return WAIT
        set_handler(session.client, nothing)
        if verdict is GONE:
            return self._fail(error)
        return self._decided(session, verdict)

    def _fail(self, error: OSError | None) -> Any:
        """
        Take what was looked at: bytes that nobody has read would make the system end the connection with a reset.
        """
        try:
            self._session.client.receive(self._limit)
        except OSError:
            pass  # it has ended like that already
        return self._failed(self._session, error, self._seen)
