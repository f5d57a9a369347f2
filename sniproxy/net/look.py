"""
Look, don't eat: what a client's first bytes are, while they stay where they are.

Strategy: the leg is peeked at after each edge, until the reader has a verdict. Where peeking cannot see all, because
the kernel's buffer fills before the verdict is there (a unix socket takes some 70 small writes, a receive window may
be small), the bytes are taken after all and held by the leg, which hands them to whoever reads next.
"""

from __future__ import annotations

from enum import Enum
from typing import Final, Protocol, TypeVar

from sniproxy.interfaces import ILeg
from sniproxy.net.bound import fill
from sniproxy.net.poller import ENDED, ERR

V = TypeVar("V")
V_co = TypeVar("V_co", covariant=True)

PATIENCE: Final = 16
"""How often the same bytes are peeked at before they are taken."""


class Reader(Protocol[V_co]):
    """
    Judges a growing prefix, as L{sniproxy.wire.client_hello.HelloReader} does.
    """

    def look(self, prefix: bytes) -> V_co | None:
        """
        @param prefix: all bytes so far.
        @return: a verdict, or None for more.
        """


class Gone(Enum):
    """
    The client left before there was a verdict.
    """

    GONE = "gone"


GONE: Final = Gone.GONE


def look(leg: ILeg, reader: Reader[V], limit: int, bits: int, looks: int) -> V | Gone | None:
    """
    Look once.

    @param limit: how many bytes the reader may see.
    @param bits: the edge that made us look; 0 for none, when an end may have been told of before and will not be again.
    @param looks: how often the leg was looked at before.
    @return: the verdict; L{GONE} when none can come any more; None to wait for the next edge.
    @raise OSError: the connection is broken.
    """
    if looks < PATIENCE and not leg.held:
        data = leg.peek(limit)
        if data is None:
            return None
        verdict = reader.look(data) if data else None
        if verdict is not None:
            return verdict
        if bits & ERR:
            fill(leg, limit)  # raises what broke it
        if not data or bits & ENDED:
            return GONE
        if bits and not leg.cramped(len(data)):
            return None
    broken = None
    try:
        more = fill(leg, limit)
    except OSError as error:
        more, broken = False, error
    if leg.held:
        verdict = reader.look(leg.held[:limit])
        if verdict is not None:
            return verdict
    if broken is not None:
        raise broken
    return None if more else GONE
