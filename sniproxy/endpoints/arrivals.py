"""
A connection has come in and nobody has it yet: who is it? What server endpoints and splitters begin with.

Strategy: look at the ClientHello without taking it, under one deadline for everything up to the hand-over, and only
then decide. Our own parser's word is final: what it calls malformed is never offered to a server.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from twisted.logger import Logger

from sniproxy.endpoints.engine import Engine, Lease
from sniproxy.net.legs import nothing
from sniproxy.net.look import Gone, look
from sniproxy.net.timers import NEVER
from sniproxy.wire.client_hello import HelloReader, Verdict

HELLO_LIMIT: Final = 65536
"""Bytes of a ClientHello at most."""

LAST_READS: Final = 4
"""How often at most a client that is refused is read from, so that its alert arrives."""

DECODE_ERROR: Final = 50
MISSING_EXTENSION: Final = 109
UNRECOGNIZED_NAME: Final = 112
"""Alerts of RFC 8446 section 6.2."""


class Arrivals:
    """
    Those who are being looked at on one port. Owns them until they are handed over; L{close} ends those that are left.

    @ivar engine: what their legs live on.
    """

    log = Logger()

    def __init__(self, engine: Engine, seconds: float, decided: Callable[[Arrival, Verdict], None]) -> None:
        """
        @param seconds: from the arrival to the hand-over.
        @param decided: called with each arrival and what it began with; it sees to the rest.
        """
        self.engine = engine
        self.decided = decided
        self._seconds = seconds
        self._open: set[Arrival] = set()

    def accepted(self, leg: Any) -> None:
        """
        Begin with a new leg.
        """
        arrival = Arrival(self, leg, self.engine.lease())
        self._open.add(arrival)
        arrival.begin(self._seconds)

    def complain(self, error: OSError) -> None:
        """
        Accepting failed for want of descriptors or memory.
        """
        self.log.error("cannot accept: {error}", error=error)

    def forget(self, arrival: Arrival) -> None:
        """
        It is somebody else's, or over.
        """
        self._open.discard(arrival)

    def close(self) -> None:
        """
        End those that nobody has yet.
        """
        for arrival in list(self._open):
            arrival.drop("the port was closed")


class Arrival:
    """
    One of them. Owns its leg and its lease until L{hand_over} or L{drop}, whichever comes first. Holds nothing but
    what the look has to take from the kernel, L{HELLO_LIMIT} bytes at most.

    @ivar leg: plain at first; whoever speaks TLS on it puts the TLS leg here.
    @ivar due: belongs to the deadlines, as C{bucket}.
    """

    __slots__ = ("_arrivals", "_lease", "_looks", "_reader", "bucket", "due", "engine", "leg", "peer")

    log = Logger()

    def __init__(self, arrivals: Arrivals, leg: Any, lease: Lease) -> None:
        self.engine = arrivals.engine
        self.leg = leg
        self.peer = leg.peer.text
        self.due = NEVER
        self.bucket = 0
        self._arrivals: Arrivals | None = arrivals
        self._lease = lease
        self._reader = HelloReader(HELLO_LIMIT)
        self._looks = 0

    @property
    def gone(self) -> bool:
        """
        Whether it was handed over or dropped.
        """
        return self._arrivals is None

    def begin(self, seconds: float) -> None:
        """
        Look, now and at each edge.
        """
        self.engine.deadlines.set(self, seconds)
        self.leg.owner = self
        self.leg.handler = self._look
        if not self.leg.watch():
            self._look(0)

    def _look(self, bits: int) -> None:
        try:
            verdict: Verdict | Gone | None = look(self.leg, self._reader, HELLO_LIMIT, bits, self._looks)
        except OSError as error:
            self.drop(str(error))
            return
        if verdict is None:
            self._looks += 1
        elif isinstance(verdict, Gone):
            self.drop("it left before its ClientHello was whole")
        else:
            self.leg.handler = nothing
            assert self._arrivals is not None
            self._arrivals.decided(self, verdict)

    def expired(self) -> None:
        """
        The deadline has passed.
        """
        self.drop("it took too long")

    def crashed(self) -> None:
        """
        We have a fault; it is logged already.
        """
        self.drop("internal error")

    def refuse(self, why: str, alert: int | None = None) -> None:
        """
        End it, with a fatal alert (RFC 8446 section 6) where TLS has not begun.
        """
        if alert is not None and not self.gone:
            try:
                for _ in range(LAST_READS):
                    # a socket that is closed with bytes unread is reset, and the alert is lost
                    if not self.leg.receive(HELLO_LIMIT):
                        break
                self.leg.send(bytes((21, 3, 3, 0, 2, 2, alert)))
            except OSError:
                pass  # there is nobody left to tell
        self.drop(why)

    def drop(self, why: str) -> None:
        """
        End it; the log says why.
        """
        if self._end():
            self.log.info("client {peer} was not let in: {why}", peer=self.peer, why=why)
            self.leg.handler = nothing
            self.leg.owner = None
            self.leg.close()
            self._lease.end()

    def hand_over(self) -> Lease:
        """
        @return: the lease, which with the leg is the caller's from here on.
        """
        ended = self._end()
        assert ended
        return self._lease

    def _end(self) -> bool:
        arrivals, self._arrivals = self._arrivals, None
        if arrivals is None:
            return False
        arrivals.forget(self)
        self.engine.deadlines.clear(self)
        return True
