"""
How a handler looks at what a client sends first, without taking it.

Strategy: one L{Looking} serves ssl_preread, the choice of a server on TLS listeners, and any plugin that reads a first word. It waits for
edges under one deadline of the session, and answers to the walk of phases like any handler.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sniproxy.net.legs import nothing
from sniproxy.net.look import GONE, look
from sniproxy.stream.phases import OK, WAIT
from sniproxy.stream.session import Session


class Looking:
    """
    Looks until its reader has a verdict, the client is gone or the session's deadline passes.

    The reader sees at most C{limit} bytes. Owns the leg's handler meanwhile.
    """

    __slots__ = ("_decided", "_expired", "_limit", "_looks", "_reader", "_session")

    def __init__(self, session: Session, reader: Any, limit: int, decided: Callable[[Session, Any], Any]) -> None:
        """
        @param reader: L{sniproxy.net.look.Reader}.
        @param decided: called once with the session and the verdict; its answer is the handler's.
        """
        self._session = session
        self._reader = reader
        self._limit = limit
        self._decided = decided
        self._looks = 0
        self._expired: Callable[[Session], None]

    def begin(self, seconds: float, expired: Callable[[Session], None]) -> Any:
        """
        @param seconds: how long the whole look may take.
        @param expired: called when it took longer; it ends the session.
        @return: what the handler has to answer.
        """
        self._expired = expired
        leg = self._session.client
        leg.handler = self._event
        answer = WAIT if leg.watch() else self._look(0)
        if answer is WAIT:
            self._session.wait(seconds, self._late)
        return answer

    def _late(self) -> None:
        self._count()
        self._expired(self._session)

    def _event(self, bits: int) -> None:
        answer = self._look(bits)
        if answer is not WAIT:
            self._session.stop_waiting()
            self._session.answer(answer)

    def _look(self, bits: int) -> Any:
        session = self._session
        try:
            verdict = look(session.client, self._reader, self._limit, bits, self._looks)
        except OSError:
            verdict = GONE
        if verdict is None:
            self._looks += 1
            return WAIT
        session.client.handler = nothing
        if verdict is GONE:
            self._count()
            return OK
        return self._decided(session, verdict)

    def _count(self) -> None:
        """
        Let the bytes that were looked at count as received, since nobody will take them.
        """
        try:
            self._session.prefix = len(self._session.client.peek(self._limit) or b"")
        except OSError:
            pass
