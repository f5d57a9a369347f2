"""
One side of a session over any Twisted transport: the leg for reactors without epoll, for embedders and for tests in
memory.

Strategy: the transport tells us of bytes, and a leg wants to be asked for them; so what arrives is held, and the
transport is paused while much is held. What the transport tells is passed on as an edge, but never while it is
being called itself: an edge in the middle of a C{send} would find a relay between two of its thoughts.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from socket import socket as Socket
from typing import Any, Final

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import (
    IDelayedCall,
    IHalfCloseableProtocol,
    IPushProducer,
    IReactorTime,
    ISSLTransport,
    ISystemHandle,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import classImplements

from sniproxy.addresses import Address
from sniproxy.interfaces import ILeg
from sniproxy.net.legs import Owner, nothing
from sniproxy.net.poller import AGAIN, ERR, HUP, IN, OUT, RDHUP

CAP: Final = 131072
"""Bytes held before the transport is paused; it goes on when half of them are gone."""

CLOSE_TIMEOUT: Final = 30.0
"""Seconds a transport may take to deliver what it was given before it is aborted."""


def our_address(address: object) -> Address:
    """
    Twisted's address in our words: a unix socket without a name for whatever has none.
    """
    if isinstance(address, IPv4Address):
        return Address("inet", address.host, address.port)
    if isinstance(address, IPv6Address):
        return Address("inet6", address.host.partition("%")[0], address.port)
    if isinstance(address, UNIXAddress) and address.name:
        return Address("unix", os.fsdecode(address.name))
    return Address("unix", "")


class PortableLeg:
    """
    A connected Twisted transport. Owns it. Holds at most L{CAP} bytes and one piece of the transport's own making;
    what was sent lies in the transport's buffer, which asks us to pause. A close waits L{CLOSE_TIMEOUT} seconds for
    that.

    @ivar owner: who is told when a handler raised.
    """

    log = Logger()

    plain = True
    connection = None

    __slots__ = (
        "_bits",
        "_call",
        "_clock",
        "_closed",
        "_ended",
        "_error",
        "_forced",
        "_inside",
        "_late",
        "_paused",
        "_stuck",
        "_transport",
        "handler",
        "held",
        "local",
        "owner",
        "peer",
        "watched",
    )

    def __init__(self, transport: Any, clock: IReactorTime) -> None:
        self._transport = transport
        self._clock = clock
        self._bits = 0
        self._call: IDelayedCall | None = None
        self._late: IDelayedCall | None = None
        self._inside = False
        self._paused = False
        self._stuck = False
        self._forced = False
        self._ended = False
        self._closed = False
        self._error: OSError | None = None
        self.held = b""
        self.handler: Callable[[int], None] = nothing
        self.owner: Owner | None = None
        self.watched = False
        self.peer = our_address(transport.getPeer())
        self.local = our_address(transport.getHost())

    # What the transport tells.

    def arrived(self, data: bytes) -> None:
        """
        Bytes have come.
        """
        if self._closed:
            return
        self.held += data
        if len(self.held) >= CAP and not self._paused:
            self._paused = True
            self._transport.pauseProducing()
        self._edge(IN)

    def ended(self) -> None:
        """
        The far end will send nothing more.
        """
        self._ended = True
        self._edge(IN | RDHUP)

    def lost(self, reason: Failure) -> None:
        """
        The transport is gone.
        """
        if self._late is not None:
            self._late.cancel()
            self._late = None
        if isinstance(reason.value, ConnectionDone):
            self._error = BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
            self._ended = True
            self._edge(IN | OUT | RDHUP | HUP)
        else:
            self._error = ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
            self._edge(IN | OUT | RDHUP | HUP | ERR)

    def stuck(self) -> None:
        """
        The transport has enough for now.
        """
        self._stuck = True

    def unstuck(self) -> None:
        """
        The transport takes bytes again.
        """
        self._stuck = False
        self._edge(OUT)

    # Edges.

    def _edge(self, bits: int) -> None:
        if self._inside or not self.watched:
            self._bits |= bits
            if self.watched:
                self._soon()
        else:
            self._tell(bits)

    def _soon(self) -> None:
        if self._call is None and not self._closed:
            self._call = self._clock.callLater(0, self._now)

    def _now(self) -> None:
        self._call = None
        bits, self._bits = self._bits, 0
        self._tell(bits)

    def _tell(self, bits: int) -> None:
        try:
            self.handler(bits)
        except Exception:
            self.log.failure("internal error while handling a connection")
            self.crashed()

    def watch(self) -> bool:
        """
        @see: L{ILeg.watch}
        """
        if self.watched:
            return False
        self.watched = True
        self._bits |= AGAIN
        self._soon()
        return True

    def again(self) -> None:
        """
        @see: L{ILeg.again}
        """
        self._bits |= AGAIN
        self._soon()

    def later(self, step: Callable[[], None]) -> None:
        """
        At once: nothing is known of others.
        """
        step()

    # Bytes.

    @property
    def over(self) -> bool:
        """
        @see: L{ILeg.over}
        """
        return self._ended and not self.held

    def receive(self, limit: int) -> bytes | None:
        """
        @see: L{ILeg.receive}
        """
        held = self.held
        if held:
            self.held = held[limit:]
            if self._paused and len(self.held) <= CAP // 2:
                self._paused = False
                self._inside = True
                self._transport.resumeProducing()
                self._inside = False
            return held[:limit]
        if self._ended:
            return b""
        if self._error is not None:
            raise self._error
        return None

    def peek(self, limit: int) -> bytes | None:
        """
        @see: L{ILeg.peek}
        """
        return self.held[:limit] if self.held else self.receive(limit)

    def hold(self, data: bytes) -> None:
        """
        @see: L{ILeg.hold}
        """
        self.held += data

    def fill(self, limit: int) -> bool:
        """
        @see: L{ILeg.fill}
        """
        if self._error is not None and not self._ended:
            raise self._error
        return not self._ended

    def take_held(self) -> bytes:
        """
        @see: L{ILeg.take_held}
        """
        return self.receive(len(self.held)) or b"" if self.held else b""

    def cramped(self, seen: int) -> bool:
        """
        Everything is held here.
        """
        return False

    def send(self, data: bytes | memoryview) -> int:
        """
        @see: L{ILeg.send}
        """
        if self._error is not None:
            raise self._error
        if self._stuck and not self._forced:
            return 0
        self._inside = True
        self._transport.write(bytes(data))
        self._inside = False
        return len(data)

    def send_last(self, data: bytes | memoryview) -> int:
        """
        @see: L{ILeg.send_last}
        """
        return self.send(data)

    # The end.

    def finish(self) -> None:
        """
        @see: L{ILeg.finish}. Where the transport cannot say it, as Twisted's TLS cannot, nothing is said before the
            close.
        """
        transport = self._transport
        if (
            self._error is None
            and not ISSLTransport.providedBy(transport)
            and hasattr(transport, "loseWriteConnection")
        ):
            self._inside = True
            transport.unregisterProducer()  # else it waits for more
            transport.loseWriteConnection()
            self._inside = False

    def close(self) -> None:
        """
        @see: L{ILeg.close}
        """
        if self._leave() and self._error is None:
            self._late = self._clock.callLater(CLOSE_TIMEOUT, self._give_up)
            self._transport.unregisterProducer()
            if self._paused:
                self._transport.resumeProducing()  # else some never hear of the end
            self._transport.loseConnection()

    def _give_up(self) -> None:
        self._late = None
        self._transport.abortConnection()

    def abort(self) -> None:
        """
        @see: L{ILeg.abort}
        """
        if self._leave() and self._error is None:
            self._transport.abortConnection()

    def linger(self, flush: Callable[[], bool]) -> None:
        """
        The transport buffers what is left, which is bounded by whoever has it, and L{close} waits for it.
        """
        self._forced = True
        try:
            flush()
        except OSError:
            pass  # nobody is there to hear it
        self.close()

    def _leave(self) -> bool:
        """
        @return: whether this is the first time.
        """
        if self._closed:
            return False
        self._closed = True
        self.handler = nothing
        self.owner = None
        self.held = b""
        if self._call is not None:
            self._call.cancel()
            self._call = None
        return True

    def crashed(self) -> None:
        """
        A handler raised: whoever owns the leg ends what it is part of.
        """
        if self.owner is None:
            self.abort()
        else:
            self.owner.crashed()

    def descriptor(self) -> int | None:
        """
        None: the transport has it.
        """
        return None

    def socket(self) -> Any:
        """
        @see: L{ILeg.socket}
        """
        handle = self._transport.getHandle() if ISystemHandle.providedBy(self._transport) else None
        return handle if isinstance(handle, Socket) else None


class Landing(Protocol):
    """
    The protocol through which a Twisted transport talks to its leg; a push producer, since that is how a transport
    says that it has enough.

    @ivar leg: made when the connection is.
    """

    leg: PortableLeg

    def __init__(self, clock: IReactorTime, made: Callable[[PortableLeg], None]) -> None:
        """
        @param made: called with the leg, which is not watched yet.
        """
        self._clock = clock
        self._made = made

    def connectionMade(self) -> None:
        """
        Make the leg.
        """
        transport: Any = self.transport
        self.leg = PortableLeg(transport, self._clock)
        transport.registerProducer(self, True)
        self._made(self.leg)

    def dataReceived(self, data: bytes) -> None:
        """
        Pass it on.
        """
        self.leg.arrived(data)

    def readConnectionLost(self) -> None:
        """
        Pass it on.
        """
        self.leg.ended()

    def writeConnectionLost(self) -> None:
        """
        We said so ourselves.
        """

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Pass it on.
        """
        self.leg.lost(reason)

    def pauseProducing(self) -> None:
        """
        Pass it on.
        """
        self.leg.stuck()

    def resumeProducing(self) -> None:
        """
        Pass it on.
        """
        self.leg.unstuck()

    def stopProducing(self) -> None:
        """
        C{connectionLost} follows.
        """


class LandingFactory(Factory):
    """
    Makes a leg of each connection.
    """

    noisy = False

    def __init__(self, clock: IReactorTime, made: Callable[[PortableLeg], None]) -> None:
        self._clock = clock
        self._made = made

    def buildProtocol(self, addr: object) -> Landing:
        """
        @return: a protocol that hands its leg to C{made}.
        """
        return Landing(self._clock, self._made)


classImplements(PortableLeg, ILeg)
classImplements(Landing, IHalfCloseableProtocol, IPushProducer)
