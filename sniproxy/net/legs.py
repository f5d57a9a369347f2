"""
One side of a session over a socket of our own: the plain leg.

Strategy: the Python-level socket is the bare C{_socket.socket}, which costs no bookkeeping, and is read with
C{MSG_DONTWAIT}, which costs no C{ioctl}. The kernel is not asked what it has said already: when it gave less than it
was asked for there is nothing more (epoll(7)), and if a FIN was told of before, there never will be; but where there
is urgent data (tcp(7)) it may just have stopped at the mark. Bytes that were
read too early (an inbound header, a peek that could not see all) are held and come first; whoever lets the kernel move
bytes takes the held ones before.
"""

from __future__ import annotations

import socket as _names
from collections.abc import Callable
from os import strerror
from socket import AF_INET, AF_INET6, AF_UNIX, MSG_DONTWAIT, MSG_PEEK, SHUT_WR, SO_LINGER, SOL_SOCKET
from struct import pack
from typing import TYPE_CHECKING, Any, Final, Protocol

from zope.interface import classImplements

from sniproxy.addresses import Address
from sniproxy.interfaces import ILeg
from sniproxy.net.lingering import linger, undelivered
from sniproxy.net.poller import ENDED, IN, PRI, RDHUP, Poller

if TYPE_CHECKING:
    import _socket

LINGER: Final = 3.0
"""Seconds for the last words of a leg that is closed, if the far end does not take them (ngx_ssl_shutdown's, too)."""

_NOW: Final = int(MSG_DONTWAIT)
PEEK: Final = int(MSG_DONTWAIT | MSG_PEEK)
"""Plain numbers: to join the flags of C{socket} costs more than the call they are for."""

FLIGHT: Final = 4096
"""Bytes with which nobody waits for the far end: any but the smallest windows take them at once (RFC 6928 §2)."""

_MORE: Final = _NOW | int(getattr(_names, "MSG_MORE", 0))
"""The end follows at once, and can go in the same segment."""

_SAID: Final = IN | ENDED

_INET: Final = int(AF_INET)
_INET6: Final = int(AF_INET6)

_RESET: Final = pack("ii", 1, 0)


def nothing(bits: int) -> None:
    """
    The handler of a leg that nobody waits for.
    """


def address_of(family: int, sockaddr: Any) -> Address:
    """
    @param sockaddr: what C{accept}, C{getpeername} and C{getsockname} answer for this family.
    """
    if family == _INET:
        return Address("inet", sockaddr[0], sockaddr[1])
    if family == _INET6:
        host = sockaddr[0].partition("%")[0]
        return Address("inet6", host, sockaddr[1])
    if isinstance(sockaddr, bytes):  # an abstract one
        sockaddr = sockaddr.decode("utf-8", "surrogateescape")
    return Address("unix", sockaddr or "")


class Owner(Protocol):
    """
    Whatever a leg is a part of.
    """

    def crashed(self) -> None:
        """
        End, and close the legs: there was an internal error.
        """


class NativeLeg:
    """
    What a leg of a stream does for each session at least once, and so whoever is compiled calls it as C calls C: see
    L{sniproxy.net.bound}. It is what L{ILeg} says; a handler is set by a method, since it may be that of another leg.

    @ivar plain: see L{ILeg}.
    """

    plain = True

    __slots__ = ()

    @property
    def over(self) -> bool:
        """
        @see: L{ILeg.over}
        """
        raise NotImplementedError

    def set_handler(self, handler: Callable[[int], None]) -> None:
        """
        The same as to assign C{handler}.
        """
        raise NotImplementedError

    def watch(self) -> bool:
        """
        @see: L{ILeg.watch}
        """
        raise NotImplementedError

    def receive(self, limit: int) -> bytes | None:
        """
        @see: L{ILeg.receive}
        """
        raise NotImplementedError

    def silent(self) -> bool:
        """
        Whether there is nothing to C{receive}, not even an end, and an edge will tell when there is. C{False} where
        only C{receive} can know.
        """
        raise NotImplementedError

    def take_held(self) -> bytes:
        """
        @see: L{ILeg.take_held}
        """
        raise NotImplementedError

    def fill(self, limit: int) -> bool:
        """
        @see: L{ILeg.fill}
        """
        raise NotImplementedError

    def send(self, data: bytes | memoryview) -> int:
        """
        @see: L{ILeg.send}
        """
        raise NotImplementedError

    def send_last(self, data: bytes | memoryview) -> int:
        """
        @see: L{ILeg.send_last}
        """
        raise NotImplementedError

    def close(self) -> None:
        """
        @see: L{ILeg.close}
        """
        raise NotImplementedError


class SocketLeg(NativeLeg):
    """
    A connected (or connecting) stream socket. Owns the socket. Holds at most what L{hold} was given; waits for
    nothing itself.

    @ivar sock: the socket, for relays that move its bytes themselves.
    @ivar owner: who is told when a handler raised.
    @ivar sent: bytes the kernel took, but for last ones that went with the end.
    @ivar told: what edges have said and nobody has answered; C{IN} as long as nothing is known.
    """

    connection = None

    __slots__ = ("_local", "_peer", "handler", "held", "number", "owner", "poller", "sent", "sock", "told", "watched")

    def __init__(self, poller: Poller, sock: _socket.socket, peer: Address | None = None) -> None:
        if sock.gettimeout():  # somebody called socket.setdefaulttimeout(): recv would wait that long
            sock.setblocking(False)
        self.poller = poller
        self.sock = sock
        self.number = sock.fileno()
        self.held = b""
        self.handler: Callable[[int], None] = nothing
        self.owner: Owner | None = None
        self.watched = False
        self.told = IN
        self.sent = 0
        self._peer = peer
        self._local: Address | None = None

    @property
    def peer(self) -> Address:
        """
        The far end.
        """
        if self._peer is None:
            self._peer = address_of(self.sock.family, self.sock.getpeername())
        return self._peer

    @property
    def local(self) -> Address:
        """
        Our end.
        """
        if self._local is None:
            self._local = address_of(self.sock.family, self.sock.getsockname())
        return self._local

    def set_handler(self, handler: Callable[[int], None]) -> None:
        """
        @see: L{NativeLeg.set_handler}
        """
        self.handler = handler

    def watch(self) -> bool:
        """
        @see: L{ILeg.watch}
        """
        if self.watched:
            return False
        self.watched = True
        self.poller.watch(self.number, self)
        return True

    def receive(self, limit: int) -> bytes | None:
        """
        @see: L{ILeg.receive}
        """
        if self.held:
            data, self.held = self.held[:limit], self.held[limit:]
            return data
        return self._take(limit)

    def _take(self, limit: int) -> bytes | None:
        """
        What the socket has, as L{receive} gives it.
        """
        if self.watched:
            said = self.told & _SAID
            if said == RDHUP:
                return b""
            if not said:
                return None
        try:
            data = self.sock.recv(limit, _NOW)
        except BlockingIOError:
            self.told &= ~(IN | PRI)
            return None
        if len(data) < limit and not (data and self.told & PRI):
            self.told &= ~IN
            if not data:
                self.told |= RDHUP
        return data

    def silent(self) -> bool:
        """
        @see: L{NativeLeg.silent}
        """
        return self.watched and not self.held and not self.told & _SAID

    @property
    def over(self) -> bool:
        """
        @see: L{ILeg.over}
        """
        return self.told & _SAID == RDHUP and self.watched and not self.held

    def peek(self, limit: int) -> bytes | None:
        """
        @see: L{ILeg.peek}
        """
        if self.held:
            return self.held[:limit]
        try:
            data = self.sock.recv(limit, PEEK)
        except BlockingIOError:
            return None
        if data:
            self.told |= IN  # it came after the last edge, perhaps: what was seen can be received
        return data

    def hold(self, data: bytes) -> None:
        """
        Put bytes back behind those already held: they are received before what the socket has.
        """
        self.held += data

    def fill(self, limit: int) -> bool:
        """
        @see: L{ILeg.fill}
        """
        while len(self.held) < limit:
            data = self._take(limit - len(self.held))
            if data is None:
                return True
            if not data:
                return False
            self.held += data
        return True

    def take_held(self) -> bytes:
        """
        @see: L{ILeg.take_held}
        """
        held, self.held = self.held, b""
        return held

    def again(self) -> None:
        """
        @see: L{ILeg.again}
        """
        self.poller.again(self.number, self)

    def later(self, step: Callable[[], None]) -> None:
        """
        @see: L{ILeg.later}
        """
        self.poller.later(step, self)

    def send(self, data: bytes | memoryview) -> int:
        """
        @see: L{ILeg.send}
        """
        try:
            sent = self.sock.send(data, _NOW)
        except BlockingIOError:
            return 0
        self.sent += sent
        return sent

    def send_last(self, data: bytes | memoryview) -> int:
        """
        @see: L{ILeg.send_last}
        """
        if self.sent + len(data) > FLIGHT:
            return self.send(data)
        try:
            return self.sock.send(data, _MORE)
        except BlockingIOError:
            return 0

    def error(self) -> OSError | None:
        """
        Why the socket is broken, asked once: the outcome of a connect that has ended.
        """
        number = self.sock.getsockopt(SOL_SOCKET, _names.SO_ERROR)
        return OSError(number, strerror(number)) if number else None

    def finish(self) -> None:
        """
        @see: L{ILeg.finish}
        """
        try:
            self.sock.shutdown(SHUT_WR)
        except OSError:
            pass  # the far end is gone: there is nobody left to tell

    def close(self) -> None:
        """
        @see: L{ILeg.close}
        """
        number, self.number = self.number, -1
        if number >= 0:  # the second time, the number may be somebody else's
            self.handler = nothing
            self.owner = None
            if self.sent > FLIGHT and self._cut_short(number):
                linger(self.poller, number, self.sock, self.told)
            else:
                self.poller.close(number, self.sock)
            if self.poller.speaking:
                self.poller.speaking.discard(self)

    def _cut_short(self, number: int) -> bool:
        """
        Whether the far end might lose something if the socket were closed now, by something that it says; but whoever
        has set C{SO_LINGER} has said how it is to end.
        """
        if self.sock.family == AF_UNIX or self.over or not undelivered(number):
            return False
        return not any(self.sock.getsockopt(SOL_SOCKET, SO_LINGER, len(_RESET))[: len(_RESET) // 2])

    def abort(self) -> None:
        """
        @see: L{ILeg.abort}
        """
        if self.number >= 0 and self.sock.family != AF_UNIX:
            self.sock.setsockopt(SOL_SOCKET, SO_LINGER, _RESET)
        self.sent = 0
        self.close()

    def linger(self, flush: Callable[[], bool]) -> None:
        """
        @see: L{ILeg.linger}
        """
        late = self.poller.clock.callLater(LINGER, self.close)

        def event(bits: int) -> None:
            try:
                flushed = flush()
            except OSError:
                flushed = True  # nobody is there to hear it
            if flushed:
                late.cancel()
                self.close()

        self.owner = None
        self.handler = event
        if self.number >= 0:
            self.poller.speaking.add(self)

    def cramped(self, seen: int) -> bool:
        """
        @see: L{ILeg.cramped}
        """
        if self.sock.family == AF_UNIX:
            return True
        return seen * 8 >= self.sock.getsockopt(SOL_SOCKET, _names.SO_RCVBUF)

    def descriptor(self) -> int | None:
        """
        @see: L{ILeg.descriptor}
        """
        return self.number

    def socket(self) -> _socket.socket | None:
        """
        @see: L{ILeg.socket}
        """
        return self.sock

    def crashed(self) -> None:
        """
        A handler raised: whoever owns the leg ends what it is part of.
        """
        if self.owner is None:
            self.abort()
        else:
            self.owner.crashed()


classImplements(SocketLeg, ILeg)
