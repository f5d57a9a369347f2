"""
The network for reactors without epoll: the surface of L{sniproxy.net.network.Network} on Twisted's own transports.
The same sessions run on it, slower.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from typing import Any, Final

from twisted.internet.interfaces import IConnector, IDelayedCall, IReadDescriptor
from twisted.internet.protocol import ClientFactory
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import classImplements

from sniproxy.addresses import Address
from sniproxy.errors import TransparencyError
from sniproxy.interfaces import ILeg, IRelay
from sniproxy.net.accept import Listener
from sniproxy.net.connect import Connected, Connecting, ConnectOptions, Refused
from sniproxy.net.connect import connect as connect_socket
from sniproxy.net.datagrams import DatagramListener, DatagramPorts
from sniproxy.net.poller import ERR, HUP, IN, OUT, Watched
from sniproxy.net.portable import Landing, LandingFactory, PortableLeg
from sniproxy.net.relay import PumpRelay
from sniproxy.net.tickets import Tickets
from sniproxy.net.timers import Deadlines
from sniproxy.net.tls_leg import TlsLeg

REST: Final = 0.01
"""Seconds for which a socket is left alone from which not all was taken."""

_AT_ONCE: Final = frozenset({errno.ENETUNREACH, errno.EACCES, errno.EPERM, errno.EADDRNOTAVAIL, errno.EINVAL})
"""Failures of connect(2) that no packet brings."""


class Reader:
    """
    One listening socket among the readers of a reactor. Lent the socket.
    """

    log = Logger()

    def __init__(self, descriptor: int, watched: Watched) -> None:
        self._descriptor = descriptor
        self._watched = watched

    def fileno(self) -> int:
        """
        What the reactor watches.
        """
        return self._descriptor

    def logPrefix(self) -> str:
        """
        What Twisted calls this reader in its log.
        """
        return "sniproxy listener"

    def doRead(self) -> None:
        """
        Somebody has come. Nothing escapes to the reactor, which would answer by losing this reader.
        """
        try:
            self._watched.handler(IN)
        except Exception:
            self.log.failure("internal error while accepting a connection")
            self._watched.crashed()

    def connectionLost(self, reason: object) -> None:
        """
        The reactor has stopped.
        """


class Lazy(Reader):
    """
    A socket whose owner need not take all there is: then it is left alone for a moment, for the reactor would tell of
    it again and again.
    """

    def __init__(self, descriptor: int, watched: Watched, rest: Callable[[Reader], None]) -> None:
        super().__init__(descriptor, watched)
        self._rest = rest

    def doRead(self) -> None:
        """
        There is something.
        """
        self._watched.told = IN
        super().doRead()
        if self._watched.told:
            self._rest(self)


class Readers:
    """
    What L{Listener} and datagrams need of a poller, on any reactor that has readers.

    @ivar clock: the reactor, as C{IReactorTime}.
    """

    def __init__(self, reactor: Any) -> None:
        self.clock = reactor
        self._reactor = reactor
        self._readers: dict[int, Reader] = {}
        self._resting: dict[Reader, IDelayedCall] = {}

    def watch_level(self, descriptor: int, watched: Watched) -> None:
        """
        Tell C{watched.handler} as long as there is something to read.
        """
        reader = self._readers[descriptor] = Reader(descriptor, watched)
        self._reactor.addReader(reader)

    def step_back(self, descriptor: int) -> None:
        """
        All processes that listen are woken as it is.
        """

    def watch(self, descriptor: int, watched: Watched) -> None:
        """
        The same, with pauses where what there is was not taken.
        """
        reader = self._readers[descriptor] = Lazy(descriptor, watched, self._rest)
        self._reactor.addReader(reader)

    def _rest(self, reader: Reader) -> None:
        if self._readers.get(reader.fileno()) is reader:
            self._reactor.removeReader(reader)
            self._resting[reader] = self.clock.callLater(REST, self._go_on, reader)

    def _go_on(self, reader: Reader) -> None:
        del self._resting[reader]
        self._reactor.addReader(reader)

    def again(self, descriptor: int, watched: Watched) -> None:
        """
        No pause any more.
        """
        reader = self._readers[descriptor]
        if reader in self._resting:
            self._resting[reader].cancel()
            self._go_on(reader)

    def close(self, descriptor: int, sock: Any) -> None:
        """
        Stop watching a descriptor, if it is watched, and close its socket.
        """
        if descriptor in self._readers:
            self.forget(descriptor)
        sock.close()

    def forget(self, descriptor: int) -> None:
        """
        Stop watching.
        """
        reader = self._readers.pop(descriptor)
        self._reactor.removeReader(reader)
        resting = self._resting.pop(reader, None)
        if resting is not None:
            resting.cancel()

    def stop(self) -> None:
        """
        Stop watching all of them.
        """
        for descriptor in list(self._readers):
            self.forget(descriptor)


class Adopting:
    """
    Gives the connections of one listening socket to the reactor.

    Not C{adoptStreamPort}: Twisted's port would shorten the backlog, and take away the name of a unix socket when
    it stops, which a reload still needs.
    """

    def __init__(self, reactor: Any, family: int, accepted: Callable[[Any], None]) -> None:
        self._reactor = reactor
        self._family = family
        self._factory = LandingFactory(reactor, accepted)

    def made(self, descriptor: int) -> None:
        """
        Take a connection.
        """
        try:
            os.set_blocking(descriptor, False)
            self._reactor.adoptStreamConnection(descriptor, self._family, self._factory)
        except OSError:
            pass  # that client is gone again
        finally:
            os.close(descriptor)  # the reactor has a copy


class PortableConnecting(ClientFactory):
    """
    An attempt. C{done} is called once with the leg or the error, or never after L{cancel}; has no deadline of its own.
    """

    noisy = False

    log = Logger()

    def __init__(self, reactor: Any, options: ConnectOptions, done: Callable[[Any, int], None], bits: int) -> None:
        """
        @param bits: what C{done} gets with a failure: 0 where the kernel knows at once.
        """
        self._reactor = reactor
        self._bits = bits
        self._options = options
        self._done: Callable[[Any, int], None] | None = done
        self.connector: IConnector | None = None

    def buildProtocol(self, addr: object) -> Landing:
        """
        It is connected.
        """
        return Landing(self._reactor, self._connected)

    def _connected(self, leg: PortableLeg) -> None:
        done, self._done = self._done, None
        if done is None:
            leg.abort()
            return
        options = self._options
        sock = leg.socket()
        if sock is not None:
            if sock.family != socket.AF_UNIX:
                if options.nodelay:
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if options.keepalive:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            if options.receive_buffer is not None:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, options.receive_buffer)
            if options.send_buffer is not None:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, options.send_buffer)
        leg.watched = True
        self._tell(done, leg, OUT)

    def clientConnectionFailed(self, connector: IConnector, reason: Failure) -> None:
        """
        It is not.
        """
        done, self._done = self._done, None
        if done is not None:
            number = getattr(reason.value, "osError", None)
            if not isinstance(number, int):
                number = errno.ECONNREFUSED
            self._tell(done, OSError(number, os.strerror(number)), 0 if number in _AT_ONCE else self._bits)

    def _tell(self, done: Callable[[Any, int], None], outcome: Any, bits: int) -> None:
        try:
            done(outcome, bits)
        except Exception:
            self.log.failure("internal error after connecting")
            if isinstance(outcome, PortableLeg):
                outcome.crashed()

    def cancel(self) -> None:
        """
        Give up: C{done} is not called.
        """
        if self._done is not None:
            self._done = None
            if self.connector is not None:
                self.connector.disconnect()


Attempt = PortableConnecting | Connecting | Connected | Refused


class PortableNetwork:
    """
    Sockets of a reactor. Owns nothing but waits and what watches listening sockets.

    @ivar clock: the reactor, as C{IReactorTime}.
    @ivar deadlines: every wait of the process.
    @ivar tickets: the one wait that is none of those.
    """

    lingering: Final = False
    """Sockets close as Twisted closes them."""

    def __init__(self, reactor: Any) -> None:
        """
        @param reactor: C{IReactorTime}, C{IReactorFDSet}, C{IReactorSocket}, C{IReactorTCP} and C{IReactorUNIX}, as
            far as it is used.
        """
        self.clock = reactor
        self.deadlines = Deadlines(reactor)
        self.tickets = Tickets(reactor)
        self._reactor = reactor
        self._readers = Readers(reactor)
        self._ports = DatagramPorts(self._readers)
        self._relay = PumpRelay()

    def listen(
        self, sock: socket.socket, accepted: Callable[[PortableLeg], None], complain: Callable[[OSError], None]
    ) -> Listener:
        """
        @see: L{sniproxy.net.network.Network.listen}
        """
        adopting = Adopting(self._reactor, sock.family, accepted)
        return Listener(self._readers, self._reactor, sock, accepted, complain, adopting.made)

    def listen_datagrams(
        self, sock: socket.socket, accepted: Callable[[Any], None], complain: Callable[[OSError], None]
    ) -> DatagramListener:
        """
        @see: L{DatagramPorts.listen}
        """
        return self._ports.listen(sock, accepted, complain)

    def connect(self, address: Address, options: ConnectOptions, done: Callable[[Any, int], None]) -> Attempt:
        """
        @see: L{sniproxy.net.connect.connect}
        """
        if options.datagrams:
            return connect_socket(self._readers, address, options, done)
        if options.transparent:
            return Refused(self.clock, TransparencyError(errno.ENOSYS, os.strerror(errno.ENOSYS)), done)
        attempt = PortableConnecting(self._reactor, options, done, 0 if address.family == "unix" else ERR | HUP)
        if address.family == "unix":
            attempt.connector = self._reactor.connectUNIX(os.fsencode(address.host), attempt, timeout=None)
        else:
            bind = None if options.bind is None else options.bind.sockaddr
            attempt.connector = self._reactor.connectTCP(
                address.host, address.port, attempt, timeout=None, bindAddress=bind
            )
        return attempt

    def later(self, step: Callable[[], None]) -> None:
        """
        At once: nothing is known of turns.
        """
        step()

    def drop(self, what: Any) -> None:
        """
        At once, for the same reason.
        """

    def start_tls(self, leg: Any, connection: Any) -> TlsLeg:
        """
        @see: L{sniproxy.net.network.Network.start_tls}
        """
        return TlsLeg(leg, connection)

    def relay(self, client: ILeg, upstream: ILeg) -> IRelay:
        """
        @return: the relay that carries any two legs.
        """
        relay: IRelay = self._relay
        return relay

    def stop(self) -> None:
        """
        Watch nothing, wait for nothing.
        """
        self.deadlines.stop()
        self.tickets.stop()
        self._ports.stop()
        self._readers.stop()


classImplements(Reader, IReadDescriptor)
