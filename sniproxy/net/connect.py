"""
How connections go out.
"""

from __future__ import annotations

import _socket
import errno
import socket
from collections.abc import Callable
from dataclasses import dataclass
from os import strerror
from typing import Any, Final

from twisted.internet.interfaces import IReactorTime

from sniproxy.addresses import Address
from sniproxy.errors import BindError, TransparencyError
from sniproxy.net.datagrams import UpstreamDatagrams
from sniproxy.net.legs import SocketLeg, nothing
from sniproxy.net.poller import ERR, HUP, OUT

_FAMILIES: Final = {"inet": int(socket.AF_INET), "inet6": int(socket.AF_INET6), "unix": int(socket.AF_UNIX)}

_AT_BIRTH: Final = int(getattr(socket, "SOCK_NONBLOCK", 0) | getattr(socket, "SOCK_CLOEXEC", 0))
_STREAM: Final = int(socket.SOCK_STREAM) | _AT_BIRTH
_DATAGRAMS: Final = int(socket.SOCK_DGRAM) | _AT_BIRTH


_TRANSPARENT: Final = {"inet": (socket.IPPROTO_IP, 19), "inet6": (socket.IPPROTO_IPV6, 75)}
"""IP_TRANSPARENT and IPV6_TRANSPARENT, which Python has no names for."""

_BIND_ADDRESS_NO_PORT: Final = 24
"""IP_BIND_ADDRESS_NO_PORT, likewise."""


@dataclass(frozen=True, slots=True)
class ConnectOptions:
    """
    How an outgoing socket is made.

    @ivar bind: the local address, or None.
    @ivar nodelay: TCP_NODELAY.
    @ivar keepalive: SO_KEEPALIVE.
    @ivar receive_buffer: SO_RCVBUF in bytes, or None.
    @ivar send_buffer: SO_SNDBUF in bytes, or None.
    @ivar transparent: C{bind} need be no address of this machine.
    @ivar datagrams: it is to carry datagrams.
    @ivar speaks_first: we have something to say, at once: the last acknowledgement of the TCP handshake can go with it,
        which is a segment less (TCP_QUICKACK, tcp(7)).
    """

    bind: Address | None = None
    nodelay: bool = True
    keepalive: bool = False
    receive_buffer: int | None = None
    send_buffer: int | None = None
    transparent: bool = False
    datagrams: bool = False
    speaks_first: bool = False


DEFAULT: Final = ConnectOptions()

_IN_PROGRESS: Final = errno.EINPROGRESS
_TCP: Final = int(socket.IPPROTO_TCP)
_NODELAY: Final = int(socket.TCP_NODELAY)
_QUICK_ACK: Final = int(getattr(socket, "TCP_QUICKACK", 0))
"""0 where there is none."""

Done = Callable[[Any, int], None]
"""Takes the leg or the OSError, and event bits."""


class Refused:
    """
    An attempt that failed at once. Says so soon, because whoever asks cannot have what happens before it got an answer.
    """

    __slots__ = ("_call",)

    def __init__(self, clock: IReactorTime, error: OSError, done: Done) -> None:
        self._call = clock.callLater(0, done, error, 0)

    def cancel(self) -> None:
        """
        C{done} is not called.
        """
        if self._call.active():
            self._call.cancel()


class Connected:
    """
    An attempt that needed no waiting.
    """

    __slots__ = ()

    def cancel(self) -> None:
        """
        It is over.
        """


class Connecting:
    """
    An attempt. Owns the leg until C{done}, which is called once with the leg or the error; has no deadline of its own.
    """

    __slots__ = ("_done", "_leg")

    def __init__(self, leg: SocketLeg, done: Done) -> None:
        self._leg: SocketLeg | None = leg
        self._done = done
        leg.owner = self
        leg.handler = self._event
        leg.watch()

    def _event(self, bits: int) -> None:
        leg = self._leg
        assert leg is not None
        if bits & (ERR | HUP):
            error = leg.error()
            if error is not None:
                self.cancel()
                self._done(error, bits)
                return
        elif not bits & OUT:
            return
        self._leg = None
        leg.handler = nothing
        leg.owner = None
        self._done(leg, bits)

    def cancel(self) -> None:
        """
        Give up: C{done} is not called.
        """
        if self._leg is not None:
            leg, self._leg = self._leg, None
            leg.close()

    def crashed(self) -> None:
        """
        C{done} raised: what it was given is its own to close.
        """
        self.cancel()


def _bind(sock: _socket.socket, address: Address, transparent: bool) -> None:
    try:
        if transparent:
            level, option = _TRANSPARENT[address.family]
            sock.setsockopt(level, option, 1)
    except OSError as error:
        raise TransparencyError(*error.args) from None
    try:
        if not address.port and address.family != "unix":
            # the port is found at connect, when the other end is known: so there are more of them
            sock.setsockopt(socket.IPPROTO_IP, _BIND_ADDRESS_NO_PORT, 1)
    except OSError:
        pass  # older systems
    family = _FAMILIES[address.family]
    if sock.family != family:
        # the system's answers; Python would have others
        number = errno.EAFNOSUPPORT if sock.family == socket.AF_INET else errno.EINVAL
        raise BindError(number, strerror(number))
    try:
        sock.bind(address.sockaddr)
    except OSError as error:
        raise BindError(*error.args) from None


def connect(poller: Any, address: Address, options: ConnectOptions, done: Done) -> Connecting | Connected | Refused:
    """
    Connect without blocking.

    @param poller: L{sniproxy.net.poller.Poller}; for datagrams also what watches sockets as it does.
    @param done: called with the leg, or the error, and the event bits that came with it (0 for an immediate failure).
        The leg is watched already. For datagrams nobody has to be asked: their leg comes before this returns, and is
        not watched yet; everything else comes later.
    @return: what can be cancelled.
    """
    sock = None
    try:
        sock = _socket.socket(_FAMILIES[address.family], _DATAGRAMS if options.datagrams else _STREAM, 0)
        if address.family != "unix":
            if not options.datagrams:
                if options.nodelay:
                    sock.setsockopt(_TCP, _NODELAY, 1)
                if options.speaks_first and _QUICK_ACK:
                    sock.setsockopt(_TCP, _QUICK_ACK, 0)
            if options.keepalive:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if options.receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, options.receive_buffer)
        if options.send_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, options.send_buffer)
        if options.bind is not None:
            _bind(sock, options.bind, options.transparent)
        number = sock.connect_ex(address.sockaddr)
        if number and number != _IN_PROGRESS:
            raise OSError(number, strerror(number))
    except OSError as error:
        if sock is not None:
            sock.close()
        return Refused(poller.clock, error, done)
    if options.datagrams:
        done(UpstreamDatagrams(poller, sock, address), OUT)
        return Connected()
    leg = SocketLeg(poller, sock, address)
    leg.told = 0  # nobody can have said anything yet
    return Connecting(leg, done)
