"""
A Twisted transport in memory with what the ones at hand lack: back-pressure both ways, half-close and resets.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IConsumer, IHalfCloseableProtocol, IPushProducer, ITCPTransport
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from zope.interface import implementer

ROOM = 65536
"""Bytes on the wire each way before the writer has to wait."""


@implementer(ITCPTransport, IConsumer, IPushProducer)
class MemoryTransport:
    """
    The near end, which a protocol lives on; the test is the far end, and calls L{turn} where a reactor would work.

    @ivar nodelay: what was set.
    """

    def __init__(self) -> None:
        self.protocol: Any = None
        self.nodelay = False
        self.keepalive = False
        self.lost = False
        self._out = bytearray()
        self._out_ended = False
        self._in = bytearray()
        self._in_ended = False
        self._in_told = False
        self._reading = True
        self._producer: Any = None
        self._producer_paused = False
        self._closing = False
        self._closing_write = False
        self._fate: Exception | None = None
        self._reset = False

    def start(self, protocol: Any) -> None:
        """
        Give it its protocol.
        """
        self.protocol = protocol
        protocol.makeConnection(self)

    # The far end.

    def far_write(self, data: bytes) -> int:
        """
        @return: how many bytes the wire took.
        """
        if self.lost or self._fate is not None:
            raise BrokenPipeError(32, "Broken pipe")
        taken = max(0, min(len(data), ROOM - len(self._in)))
        self._in += data[:taken]
        return taken

    def far_read(self, limit: int) -> bytes | None:
        """
        @return: None for nothing now, empty for the end.
        """
        if self._out:
            data = bytes(self._out[:limit])
            del self._out[:limit]
            return data
        if self._reset:
            raise ConnectionResetError(104, "Connection reset by peer")
        return b"" if self._out_ended else None

    def far_finish(self) -> None:
        """
        A FIN.
        """
        self._in_ended = True

    def far_reset(self) -> None:
        """
        A RST.
        """
        self._fate = ConnectionLost()

    def turn(self) -> None:
        """
        What a reactor would do.
        """
        if self.lost or self.protocol is None:
            return
        if self._fate is not None:
            self._lose(self._fate)
            return
        if self._reading and self._in:
            data = bytes(self._in)
            self._in.clear()
            self.protocol.dataReceived(data)
        if self._reading and self._in_ended and not self._in and not self._in_told and not self.lost:
            self._in_told = True
            half = IHalfCloseableProtocol(self.protocol, None)
            if half is None:
                self._lose(ConnectionDone())
                return
            half.readConnectionLost()
        if not self._out and self._producer is not None and self._producer_paused:
            self._producer_paused = False
            self._producer.resumeProducing()
        if len(self._out) <= ROOM and self._producer is None and not self.lost:
            if self._closing_write:
                self._out_ended = True
            if self._closing:
                self._lose(ConnectionDone())

    def _lose(self, why: Exception) -> None:
        self.lost = self._out_ended = True
        self.protocol.connectionLost(Failure(why))

    # The near end.

    def write(self, data: bytes) -> None:
        """
        @see: C{ITransport.write}
        """
        assert isinstance(data, bytes)
        if self.lost or self._out_ended:
            return
        self._out += data
        if len(self._out) > ROOM and self._producer is not None and not self._producer_paused:
            self._producer_paused = True
            self._producer.pauseProducing()

    def writeSequence(self, data: Any) -> None:
        """
        @see: C{ITransport.writeSequence}
        """
        self.write(b"".join(data))

    def loseConnection(self) -> None:
        """
        @see: C{ITransport.loseConnection}
        """
        self._closing = True
        self._reading = False

    def loseWriteConnection(self) -> None:
        """
        @see: C{ITCPTransport.loseWriteConnection}
        """
        self._closing_write = True

    def abortConnection(self) -> None:
        """
        @see: C{ITCPTransport.abortConnection}
        """
        self._reset = True
        self._out.clear()
        self._fate = ConnectionAborted()

    def getPeer(self) -> Any:
        """
        @see: C{ITransport.getPeer}
        """
        return IPv4Address("TCP", "192.0.2.1", 1234)

    def getHost(self) -> Any:
        """
        @see: C{ITransport.getHost}
        """
        return IPv4Address("TCP", "192.0.2.2", 443)

    def getTcpNoDelay(self) -> bool:
        """
        @see: C{ITCPTransport.getTcpNoDelay}
        """
        return self.nodelay

    def setTcpNoDelay(self, enabled: bool) -> None:
        """
        @see: C{ITCPTransport.setTcpNoDelay}
        """
        self.nodelay = enabled

    def getTcpKeepAlive(self) -> bool:
        """
        @see: C{ITCPTransport.getTcpKeepAlive}
        """
        return self.keepalive

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """
        @see: C{ITCPTransport.setTcpKeepAlive}
        """
        self.keepalive = enabled

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """
        @see: C{IConsumer.registerProducer}
        """
        assert streaming and self._producer is None
        self._producer = producer
        self._producer_paused = False

    def unregisterProducer(self) -> None:
        """
        @see: C{IConsumer.unregisterProducer}
        """
        self._producer = None

    def pauseProducing(self) -> None:
        """
        @see: C{IPushProducer.pauseProducing}
        """
        self._reading = False

    def resumeProducing(self) -> None:
        """
        @see: C{IPushProducer.resumeProducing}
        """
        self._reading = not self._closing

    def stopProducing(self) -> None:
        """
        @see: C{IPushProducer.stopProducing}
        """
        self.loseConnection()


class Recorder(Protocol):
    """
    A protocol that remembers.

    @ivar received: all bytes.
    @ivar reasons: what C{connectionLost} was told, each time.
    """

    def __init__(self) -> None:
        self.received = bytearray()
        self.reasons: list[Any] = []
        self.made = 0

    def connectionMade(self) -> None:
        """
        Remember.
        """
        self.made += 1

    def dataReceived(self, data: bytes) -> None:
        """
        Remember.
        """
        self.received += data

    def connectionLost(self, reason: Any = None) -> None:
        """
        Remember.
        """
        self.reasons.append(reason.value)
