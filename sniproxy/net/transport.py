"""
How a Twisted protocol lives on a leg: the transport it is given.

Strategy: what a protocol writes is gathered and sent when the event that made it write is over, so that many small
writes are one call and one TLS record, and so that nothing that breaks while sending is told in the middle of a
C{write}. Every wish that a protocol utters asks the leg for one more event (L{ILeg.again}) and is granted in it;
there C{connectionLost} is called, and nowhere else but at a deadline.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable
from typing import Any, Final, Protocol, cast

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IConsumer,
    IHalfCloseableProtocol,
    INegotiated,
    IProtocol,
    IPushProducer,
    ISystemHandle,
    ITCPTransport,
)
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import classImplements

from sniproxy.addresses import Address
from sniproxy.interfaces import ILeg
from sniproxy.net.legs import nothing
from sniproxy.net.poller import ERR, HUP, READABLE
from sniproxy.net.timers import NEVER, Deadlines

PIECE: Final = 65536
"""Bytes received at once at most, and so the longest piece a protocol is given."""

HIGH_WATER: Final = 65536
"""Bytes waiting to be sent above which a producer is paused."""

TURN: Final = 16
"""How many pieces are received, or times a producer is asked, before others have their turn."""

CLOSE_TIMEOUT: Final = 30.0
"""Seconds in which a far end takes nothing of what C{loseConnection} still has to send before it is given up."""


class Waiting(Protocol):
    """
    What a transport needs of L{sniproxy.net.network.Network}.
    """

    @property
    def deadlines(self) -> Deadlines:
        """
        Where deadlines are kept.
        """


def twisted_address(address: Address) -> IPv4Address | IPv6Address | UNIXAddress:
    """
    The same address in Twisted's words.
    """
    if address.family == "inet":
        return IPv4Address("TCP", address.host, address.port)
    if address.family == "inet6":
        return IPv6Address("TCP", address.host, address.port)
    return UNIXAddress(os.fsencode(address.host) or None)


class LegTransport:
    """
    A connected leg and its protocol. Owns the leg. Holds what the protocol writes: without a producer that obeys
    C{pauseProducing} that has no cap, as in Twisted. Waits without a deadline, the protocol's own excepted, until
    C{loseConnection}; then at most C{close_timeout} seconds for each progress.

    @ivar protocol: who lives here; None once its connection is lost.
    @ivar connected: C{connectionLost} has not been called.
    @ivar disconnecting: C{loseConnection} has been called.
    @ivar due: belongs to L{Deadlines}, as C{bucket}.
    """

    log = Logger()

    def __init__(self, leg: ILeg, network: Waiting, close_timeout: float = CLOSE_TIMEOUT) -> None:
        self.leg: Any = leg
        self.protocol: IProtocol | None = None
        self.connected = False
        self.disconnecting = False
        self.due = NEVER
        self.bucket = 0
        self._deadlines = network.deadlines
        self._close_timeout = close_timeout
        self._peer = twisted_address(leg.peer)
        self._host = twisted_address(leg.local)
        self._pieces: list[bytes] = []
        self._sending = memoryview(b"")
        self._waiting = 0
        self._paused: bool = False
        self._read_ended = False
        self._closing_write = False
        self._write_ended = False
        self._producer: Any = None
        self._streaming = False
        self._producer_paused = False
        self._in_event = False
        self._asked = False
        self._fate: Exception | None = None

    def start(self, protocol: IProtocol) -> None:
        """
        Begin: C{protocol.makeConnection} is called before this returns, C{dataReceived} only later.
        """
        leg = self.leg
        self.protocol = protocol
        self.connected = True
        leg.owner = self
        leg.handler = self._event
        if not leg.watch() or leg.held:
            self._ask()
        try:
            protocol.makeConnection(cast(Any, self))
        except Exception:
            self._fail("unhandled error in connectionMade")

    # Events.

    def _ask(self) -> None:
        """
        Have L{_event} called soon.
        """
        if not self._asked and not self._in_event:
            self._asked = True
            self.leg.again()

    def _event(self, bits: int) -> None:
        self._asked = False
        self._in_event = True
        try:
            if self._read_ended:
                if bits & (ERR | HUP) and self._waiting == 0:
                    self._fate = ConnectionLost("the far end is gone")
            elif not self._paused and (bits & READABLE or not self.leg.plain):
                self._read()
            self._write()
        except OSError as error:
            self._fate = lost = ConnectionLost(str(error) or type(error).__name__)
            lost.__cause__ = error
        finally:
            self._in_event = False
        if self._fate is not None:
            fate = self._fate
            # an abort is a ConnectionLost to Twisted, and yet nothing more is to be delivered
            self._lose(
                fate, isinstance(fate, (ConnectionDone, ConnectionLost)) and not isinstance(fate, ConnectionAborted)
            )

    def _read(self) -> None:
        receive = self.leg.receive
        protocol = self.protocol
        assert protocol is not None
        for _ in range(TURN):
            if self._paused or self.disconnecting or self._fate is not None:
                return
            data = receive(PIECE)
            if data is None:
                return
            if not data:
                self._end_of_reading()
                return
            try:
                protocol.dataReceived(data)
            except Exception:
                self._fail("unhandled error in dataReceived")
        self._asked = True
        self.leg.again()

    def _end_of_reading(self) -> None:
        self._read_ended = True
        protocol: Any = IHalfCloseableProtocol(self.protocol, None)
        if protocol is not None and not self._write_ended:
            try:
                protocol.readConnectionLost()
            except Exception:
                self._fail("unhandled error in readConnectionLost")
            return
        if self._waiting:
            self._send()  # what the kernel takes at once, since nobody will ask again
        self._fate = ConnectionDone()

    def _write(self) -> None:
        """
        Send what waits, ask the producer for more, and close what was to be closed once nothing waits.
        """
        for _ in range(TURN):
            if self._fate is not None or (self._waiting and not self._send()):
                return
            if self._producer is None:
                if not self._drained():
                    return
                continue  # what it was told may have made the protocol wish for more
            if not self._producer_paused:
                return
            self._producer_paused = False
            self._producer.resumeProducing()
        self._asked = True
        self.leg.again()

    def _send(self) -> bool:
        """
        @return: whether nothing waits any more.
        """
        before = self._waiting
        send = self.leg.send
        while self._waiting:
            if not self._sending:
                pieces = self._pieces
                self._sending = memoryview(pieces[0] if len(pieces) == 1 else b"".join(pieces))
                self._pieces = []
            taken = send(self._sending)
            if not taken:
                break
            self._sending = self._sending[taken:]
            self._waiting -= taken
        if self.disconnecting:
            if not self._waiting:
                self._deadlines.clear(self)
            elif self._waiting < before:
                self._deadlines.set(self, self._close_timeout)
        return not self._waiting

    def _drained(self) -> bool:
        """
        @return: whether the protocol was told something.
        """
        if self.disconnecting:
            self._fate = ConnectionDone()
        elif self._closing_write and not self._write_ended:
            self._write_ended = True
            self.leg.finish()
            protocol: Any = IHalfCloseableProtocol(self.protocol, None)
            if protocol is not None:
                try:
                    protocol.writeConnectionLost()
                except Exception:
                    self._fail("unhandled error in writeConnectionLost")
            if self._read_ended and self._fate is None:
                self._fate = ConnectionDone()
            return True
        return False

    # The end.

    def _fail(self, what: str) -> None:
        """
        The protocol raised: it loses its connection.
        """
        failure = Failure()  # type: ignore[no-untyped-call]
        self.log.failure(what, failure)
        self._fate = cast(Exception, failure.value)
        self._ask()

    def _lose(self, fate: Exception, orderly: bool) -> None:
        """
        The end, once.

        @param orderly: deliver what was sent (an alert, say); else reset.
        """
        protocol, self.protocol = self.protocol, None
        if protocol is None:
            return
        self.connected = False
        self._deadlines.clear(self)
        self.leg.handler = nothing
        if orderly:
            self.leg.close()
        else:
            self.leg.abort()
        self._pieces.clear()
        self._sending = memoryview(b"")
        self._waiting = 0
        producer, self._producer = self._producer, None
        try:
            if producer is not None:
                producer.stopProducing()
        except Exception:
            self.log.failure("unhandled error in stopProducing")
        try:
            protocol.connectionLost(Failure(fate))  # type: ignore[no-untyped-call]
        except Exception:
            self.log.failure("unhandled error in connectionLost")

    def expired(self) -> None:
        """
        The far end does not take what it is owed.
        """
        self._lose(ConnectionLost("the far end does not read"), False)

    def crashed(self) -> None:
        """
        A producer raised, or we have a fault.
        """
        self._lose(ConnectionLost("internal error"), False)

    # ITransport

    def write(self, data: bytes) -> None:
        """
        Send bytes, soon.
        """
        if isinstance(data, str):
            raise TypeError("data must be bytes")
        if not data or not self.connected or self._write_ended:
            return
        self._pieces.append(bytes(data))
        self._waiting += len(data)
        if self._producer is not None and not self._producer_paused:
            if not self._streaming:
                self._producer_paused = True  # it has produced, and may be asked again
            elif self._waiting > HIGH_WATER:
                self._producer_paused = True
                self._producer.pauseProducing()
        if self.disconnecting and self.due == NEVER:
            self._deadlines.set(self, self._close_timeout)
        self._ask()

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """
        Send them all, in order.
        """
        self.write(b"".join(data))

    def loseConnection(self) -> None:
        """
        Close when everything written was sent and no producer is registered. Nothing is received any more.
        """
        if self.connected and not self.disconnecting:
            self.disconnecting = True
            if self._waiting:
                self._deadlines.set(self, self._close_timeout)
            self._ask()

    def abortConnection(self) -> None:
        """
        Close now, with a reset where there is one; C{connectionLost} is called soon.
        """
        if self.connected and self._fate is None:
            self._fate = ConnectionAborted()
            self._ask()

    def getPeer(self) -> Any:
        """
        The far end.
        """
        return self._peer

    def getHost(self) -> Any:
        """
        Our end.
        """
        return self._host

    # ITCPTransport

    def loseWriteConnection(self) -> None:
        """
        Send nothing more after what was written; go on receiving.
        """
        if self.connected and not self._closing_write:
            self._closing_write = True
            self._ask()

    def getTcpNoDelay(self) -> bool:
        """
        Whether small packets are sent at once; False where there is no TCP.
        """
        return self._option(socket.IPPROTO_TCP, socket.TCP_NODELAY)

    def setTcpNoDelay(self, enabled: bool) -> None:
        """
        Send small packets at once, or not; nothing where there is no TCP.
        """
        self._set_option(socket.IPPROTO_TCP, socket.TCP_NODELAY, enabled)

    def getTcpKeepAlive(self) -> bool:
        """
        Whether the kernel asks a silent far end if it is alive.
        """
        return self._option(socket.SOL_SOCKET, socket.SO_KEEPALIVE)

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """
        Have the kernel ask a silent far end if it is alive.
        """
        self._set_option(socket.SOL_SOCKET, socket.SO_KEEPALIVE, enabled)

    def _option(self, level: int, name: int) -> bool:
        sock = self.leg.socket() if self.connected else None
        if sock is None or sock.family == socket.AF_UNIX:
            return False
        return bool(sock.getsockopt(level, name))

    def _set_option(self, level: int, name: int, enabled: bool) -> None:
        sock = self.leg.socket() if self.connected else None
        if sock is not None and sock.family != socket.AF_UNIX:
            sock.setsockopt(level, name, int(enabled))

    def getHandle(self) -> object:
        """
        The OpenSSL connection, or else the socket, or else None.
        """
        return self.leg.connection or self.leg.socket()

    # IPushProducer: what the far end sends.

    def pauseProducing(self) -> None:
        """
        Call C{dataReceived} no more for now.
        """
        self._paused = True

    def resumeProducing(self) -> None:
        """
        Go on calling C{dataReceived}, not before this returns.
        """
        if self._paused:
            self._paused = False
            if self.connected:
                # Even within an event, which may have passed its reading already.
                self._asked = True
                self.leg.again()

    def stopProducing(self) -> None:
        """
        The protocol's consumer is gone.
        """
        self.loseConnection()

    # IConsumer: what is sent to the far end.

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """
        @param streaming: it produces by itself and obeys C{pauseProducing}; else it produces when C{resumeProducing}
            is called.
        @raise RuntimeError: there is one already.
        """
        if self._producer is not None:
            raise RuntimeError(f"cannot register {producer!r}: {self._producer!r} was never unregistered")
        if not self.connected:
            producer.stopProducing()
            return
        self._producer = producer
        self._streaming = streaming
        self._producer_paused = False
        if streaming:
            if self._waiting > HIGH_WATER:
                self._producer_paused = True
                producer.pauseProducing()
        else:
            producer.resumeProducing()

    def unregisterProducer(self) -> None:
        """
        It has produced all.
        """
        self._producer = None
        if self.disconnecting or self._closing_write:
            self._ask()


class TlsTransport(LegTransport):
    """
    A transport over a leg that speaks TLS and has done its handshake.
    """

    def getPeerCertificate(self) -> Any:
        """
        @return: C{OpenSSL.crypto.X509}, or None where the far end showed none.
        """
        return self.leg.connection.get_peer_certificate()

    @property
    def negotiatedProtocol(self) -> bytes | None:
        """
        What ALPN (RFC 7301) agreed on; None where it was not used.
        """
        return self.leg.connection.get_alpn_proto_negotiated() or None


def open_protocol(
    leg: ILeg, protocol: IProtocol, network: Waiting, close_timeout: float = CLOSE_TIMEOUT
) -> LegTransport:
    """
    Let a protocol live on a leg from here on.

    @param leg: connected; if it speaks TLS, its handshake is done.
    @param close_timeout: see L{CLOSE_TIMEOUT}.
    @return: its transport, started.
    """
    made = (TlsTransport if leg.connection is not None else LegTransport)(leg, network, close_timeout)
    made.start(protocol)
    return made


classImplements(LegTransport, ITCPTransport, IPushProducer, IConsumer, ISystemHandle)
classImplements(TlsTransport, INegotiated)
