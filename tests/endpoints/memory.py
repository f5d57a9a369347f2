"""
Endpoints in memory: a port that anybody may knock at, and the two ends of a line.

Strategy: the port is an endpoint like any other, so what is tested runs on it as on Twisted's transports; time is a
Clock, and nothing waits.
"""

from __future__ import annotations

from typing import Any

from OpenSSL import SSL
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IListeningPort, IStreamClientEndpoint, IStreamServerEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from sniproxy.endpoints.arrivals import Arrivals
from sniproxy.endpoints.engine import Engine, lease
from sniproxy.net.portable import LandingFactory
from sniproxy.tls.policies import ClientPolicy
from tests.support import pki
from tests.tls.pump import Disk

__all__ = ("Arrivals", "Disk", "Echo", "Kept", "Line", "MemoryPort", "engine", "hello", "shake")


def engine(test: Any) -> tuple[MemoryReactorClock, Engine]:
    """
    @return: a reactor whose clock stands, and its engine, which is stopped at the end of C{test}.
    """
    reactor: Any = MemoryReactorClock()
    made, claim = lease(reactor)
    test.addCleanup(claim.end)
    return reactor, made


class Line:
    """
    One connection to whoever listens, seen from its far end.

    @ivar closed: whether the other end has closed it.
    """

    def __init__(self, factory: Any, reactor: Any, peer: str = "192.0.2.7") -> None:
        self._reactor = reactor
        self.transport = StringTransport(peerAddress=IPv4Address("TCP", peer, 4711))
        self.protocol = factory.buildProtocol(self.transport.getPeer())
        self.protocol.makeConnection(self.transport)
        reactor.advance(0)

    @property
    def closed(self) -> bool:
        return self.transport.disconnecting

    def say(self, data: bytes) -> None:
        """
        Send.
        """
        self.protocol.dataReceived(data)
        self._reactor.advance(0)

    def heard(self) -> bytes:
        """
        @return: what has come since the last time.
        """
        self._reactor.advance(0)
        data: bytes = self.transport.value()
        self.transport.clear()
        return data

    def lose(self, why: BaseException | None = None) -> None:
        """
        The line is gone.
        """
        self.protocol.connectionLost(Failure(why or ConnectionDone()))
        self._reactor.advance(0)


@implementer(IListeningPort, IStreamServerEndpoint, IStreamClientEndpoint)
class MemoryPort:
    """
    An endpoint, its port, and the way to it.

    @ivar lines: what C{connect} made, the far ends of connections that we began.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self.factory: Any = None
        self.listening = False
        self.lines: list[Line] = []

    def listen(self, protocolFactory: Any) -> Deferred[IListeningPort]:
        self.factory = protocolFactory
        self.listening = True
        return succeed(self)

    def startListening(self) -> None:
        self.listening = True

    def stopListening(self) -> None:
        self.listening = False

    def getHost(self) -> Any:
        return IPv4Address("TCP", "192.0.2.1", 443)

    def knock(self) -> Line:
        """
        @return: a new connection.
        """
        return Line(self.factory, self._reactor)

    def connect(self, protocolFactory: Any) -> Deferred[Any]:
        line = Line(protocolFactory, self._reactor, "192.0.2.9")
        self.lines.append(line)
        return succeed(line.protocol)


def arrivals_factory(reactor: Any, arrivals: Arrivals) -> LandingFactory:
    """
    @return: what makes an arrival of each L{Line}.
    """
    return LandingFactory(reactor, arrivals.accepted)


class Kept(Factory):
    """
    Makes protocols and keeps them.
    """

    noisy = False

    def __init__(self, protocol: Any = None) -> None:
        self.protocol = protocol or Echo
        self.made: list[Any] = []
        self.running = 0

    def doStart(self) -> None:
        self.running += 1

    def doStop(self) -> None:
        self.running -= 1

    def buildProtocol(self, addr: Any) -> Any:
        made = super().buildProtocol(addr)
        self.made.append(made)
        return made


class Echo(Protocol):
    """
    Says what it hears.

    @ivar heard: all of it.
    @ivar lost: why it is over; None while it is not.
    """

    def __init__(self) -> None:
        self.heard = b""
        self.lost: Any = None
        self.over: Deferred[Any] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        self.heard += data
        assert self.transport is not None
        self.transport.write(data)

    def connectionLost(self, reason: Any = None) -> None:
        self.lost = reason.value
        self.over.callback(reason.value)


def client(server_name: str = "", policy: ClientPolicy | None = None, disk: Disk | None = None) -> Any:
    """
    @return: an OpenSSL connection in memory that trusts everybody unless C{policy} says otherwise.
    """
    return (disk or Disk()).client(policy or ClientPolicy()).connection(server_name)


def heard(connection: SSL.Connection) -> bytes:
    """
    @return: the data that has come, behind tickets perhaps.
    """
    for _ in range(2):
        try:
            return connection.recv(1 << 16)
        except SSL.WantReadError:
            pass  # it stops at each record without data
    return connection.recv(1 << 16)


def drain(connection: SSL.Connection) -> bytes:
    """
    @return: what OpenSSL wants to send.
    """
    try:
        return connection.bio_read(1 << 20)
    except SSL.WantReadError:
        return b""


def hello(server_name: str = "") -> bytes:
    """
    @return: OpenSSL's first bytes.
    """
    connection = client(server_name)
    try:
        connection.do_handshake()
    except SSL.WantReadError:
        pass
    return drain(connection)


def shake(connection: SSL.Connection, line: Line) -> bytes:
    """
    Shake hands with whoever is at the other end.

    @return: what came in the clear behind the handshake.
    @raise SSL.Error: it failed on our side.
    """
    for _ in range(10):
        try:
            connection.do_handshake()
            break
        except SSL.WantReadError:
            pass
        finally:
            exchange(connection, line)
    exchange(connection, line)
    try:
        return connection.recv(1 << 16)
    except (SSL.WantReadError, SSL.ZeroReturnError):
        return b""


def exchange(connection: SSL.Connection, line: Line) -> None:
    """
    Carry bytes both ways, once.
    """
    data = drain(connection)
    if data:
        line.say(data)
    back = line.heard()
    if back:
        connection.bio_write(back)


def certified(disk: Disk, authority: pki.Identity, stem: str, *names: str) -> tuple[str, str]:
    """
    @return: paths of a certificate for C{names}.
    """
    return disk.add(stem, pki.leaf(authority, names[0] if names else stem, names=names or (stem,)))
