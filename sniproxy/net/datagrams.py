"""
How datagrams come in and go out: one socket for all clients of an address, told apart by who they are, and one
connected socket for each session to its upstream. Both look like legs to whoever holds them.

Strategy: a datagram socket has no connections, so they are made up (ngx_event_udp.c): the first datagram of a client
makes a leg, and as long as the leg is known its further datagrams go there. A client is an address and a port; on a
wildcard socket also the address of ours that it wrote to, from which it must be answered (IP_PKTINFO). C{receive}
gives one whole datagram and C{send} sends one: what is a piece of a stream for other legs is a message here, and an
empty one is not the end.

The clients are known to a L{DatagramPort}, one for each socket, which outlives the listeners on it: what a client
sends after a reload goes to the session it has.
"""

from __future__ import annotations

import _socket
import errno
import socket as _names
from collections import deque
from collections.abc import Callable
from socket import AF_INET, AF_INET6, AF_UNIX, IPPROTO_IP, IPPROTO_IPV6, MSG_DONTWAIT, inet_ntop
from typing import Any, Final

from twisted.internet.interfaces import IDelayedCall
from zope.interface import classImplements

from sniproxy.addresses import Address
from sniproxy.interfaces import ILeg
from sniproxy.net.legs import Owner, address_of, nothing
from sniproxy.net.poller import IN, OUT

LARGEST: Final = 65536
"""Bytes: no datagram of the internet is as large."""

WAITING: Final = 65536
"""Bytes of datagrams that a leg keeps for a session that does not take them; what comes then is lost."""

OVERHEAD: Final = 64
"""Bytes that a datagram counts for besides its own."""

TURN: Final = 64
"""How many datagrams one wake-up takes from a socket before others have their turn."""

RETRY: Final = 0.01
"""Seconds after which it is tried again to send where the kernel has no room."""

PAUSE: Final = 0.5
"""Seconds in which nothing is taken from a socket that has failed."""

_NOW: Final = int(MSG_DONTWAIT)
_TRUNCATED: Final = int(_names.MSG_TRUNC)
_IP_PKTINFO: Final = 8  # which Python has no name for everywhere
_IPV6_RECVPKTINFO: Final = int(getattr(_names, "IPV6_RECVPKTINFO", 49))
_IPV6_PKTINFO: Final = int(getattr(_names, "IPV6_PKTINFO", 50))
_ANCILLARY: Final = 64
_ANY: Final = ("0.0.0.0", "::")

_IPV4: Final = int(IPPROTO_IP)
_IPV6: Final = int(IPPROTO_IPV6)


class DatagramLeg:
    """
    What the two kinds have in common. Waits for nothing but room in the kernel, and asks for that every L{RETRY}
    seconds.

    @ivar told: for the poller; 0 when all was taken.
    """

    plain = True
    connection = None
    over = False
    held = b""

    __slots__ = ("_retry", "handler", "owner", "poller", "told")

    def __init__(self, poller: Any) -> None:
        """
        @param poller: L{sniproxy.net.poller.Poller}, or what watches sockets as it does.
        """
        self.poller = poller
        self.handler: Callable[[int], None] = nothing
        self.owner: Owner | None = None
        self.told = 0
        self._retry: IDelayedCall | None = None

    def call_in(self, seconds: float) -> None:
        """
        Call the handler in some seconds, if not before: it stopped, or the kernel has no room, and nothing would tell.
        """
        if self._retry is None:
            self._retry = self.poller.clock.callLater(seconds, self._room)

    def _room(self) -> None:
        self._retry = None
        try:
            self.handler(OUT)
        except Exception:
            self.crashed()
            raise

    def _let_go(self) -> None:
        self.handler = nothing
        self.owner = None
        retry, self._retry = self._retry, None
        if retry is not None:
            retry.cancel()

    def send_datagram(self, data: bytes) -> bool:
        """
        @return: whether it was taken; False where there is no room.
        @raise OSError: it cannot be sent.
        """
        raise NotImplementedError

    def close(self) -> None:
        """
        @see: L{ILeg.close}
        """
        raise NotImplementedError

    def send(self, data: bytes | memoryview) -> int:
        """
        One datagram.

        @see: L{ILeg.send}
        """
        return len(data) if self.send_datagram(bytes(data)) else 0

    def send_last(self, data: bytes | memoryview) -> int:
        """
        @see: L{ILeg.send_last}
        """
        return self.send(data)

    def finish(self) -> None:
        """
        There is no way to say it.
        """

    def abort(self) -> None:
        """
        @see: L{ILeg.abort}
        """
        self.close()

    def linger(self, flush: Callable[[], bool]) -> None:
        """
        There are no last words over datagrams.
        """
        self.close()

    def cramped(self, seen: int) -> bool:
        """
        The kernel keeps whole datagrams.
        """
        return False

    def fill(self, limit: int) -> bool:
        """
        What was peeked at is whole.
        """
        return False

    def hold(self, data: bytes) -> None:
        """
        Nothing is put back: it would be part of the next datagram.
        """
        raise OSError(errno.EOPNOTSUPP, "datagrams are not put back")

    def take_held(self) -> bytes:
        """
        Nothing is.
        """
        return b""

    def descriptor(self) -> int | None:
        """
        The kernel cannot move these for us.
        """
        return None

    def crashed(self) -> None:
        """
        A handler raised: whoever owns the leg ends what it is part of.
        """
        if self.owner is None:
            self.close()
        else:
            self.owner.crashed()


class ClientDatagrams(DatagramLeg):
    """
    One client of a port. Keeps one datagram that nobody has taken, or L{WAITING} bytes of them at most.

    @ivar peer: the client.
    @ivar local: the address of ours that it wrote to.
    @ivar arrived: how many datagrams came, those that were lost included.
    @ivar first: bytes of the first one.
    """

    __slots__ = (
        "_key", "_most", "_port", "_queue", "_reply", "_size", "_sockaddr", "arrived", "first", "local", "peer",
    )  # fmt: skip

    def __init__(
        self, port: Any, key: Any, sockaddr: Any, peer: Address, local: Address, reply: Any, data: bytes
    ) -> None:
        """
        @param port: L{DatagramPort}, or what has its C{poller}, C{clients}, C{send} and C{left}.
        @param key: by which the port knows it; None where it does not.
        @param reply: ancillary data of what is sent.
        @param data: the first datagram.
        """
        super().__init__(port.poller)
        self._port = port
        self._key = key
        self._sockaddr = sockaddr
        self._reply = reply
        self._most = 0
        self._queue: deque[bytes] = deque((data,))
        self._size = len(data) + OVERHEAD
        self.arrived = 1
        self.first = len(data)
        self.peer = peer
        self.local = local

    def arrive(self, data: bytes) -> None:
        """
        The port has one more.
        """
        self.arrived += 1
        if self.arrived == self._most:
            self.forget()
        if not self._queue or self._size + len(data) + OVERHEAD <= WAITING:
            self._queue.append(data)
            self._size += len(data) + OVERHEAD
            self.handler(IN)

    def stop_at(self, number: int) -> None:
        """
        Take so many datagrams in all; the next one is that of a new client.
        """
        self._most = number
        if self.arrived >= number:
            self.forget()

    def forget(self) -> None:
        """
        The next datagram is that of a new client.
        """
        key, self._key = self._key, None
        if key is not None:
            del self._port.clients[key]

    def watch(self) -> bool:
        """
        The port does it. There is something from the beginning.
        """
        return False

    def again(self) -> None:
        """
        @see: L{ILeg.again}
        """
        self.call_in(0)

    def later(self, step: Callable[[], None]) -> None:
        """
        At once: it is not for datagrams.
        """
        step()

    def receive(self, limit: int) -> bytes | None:
        """
        @return: one datagram, cut at C{limit}.
        """
        if not self._queue:
            return None
        data = self._queue.popleft()
        self._size -= len(data) + OVERHEAD
        return data[:limit]

    def peek(self, limit: int) -> bytes | None:
        """
        @see: L{ILeg.peek}
        """
        return self._queue[0][:limit] if self._queue else None

    def send_datagram(self, data: bytes) -> bool:
        """
        @see: L{DatagramLeg.send_datagram}
        """
        try:
            self._port.send(data, self._sockaddr, self._reply)
        except BlockingIOError:
            self.call_in(RETRY)
            return False
        return True

    def close(self) -> None:
        """
        @see: L{ILeg.close}
        """
        self._let_go()
        self.forget()
        self._queue.clear()
        self._port.left(self)

    def socket(self) -> _socket.socket | None:
        """
        It is not this client's alone.
        """
        return None


class UpstreamDatagrams(DatagramLeg):
    """
    A connected datagram socket. Owns the socket.
    """

    __slots__ = ("_local", "number", "peer", "sock", "watched")

    def __init__(self, poller: Any, sock: _socket.socket, peer: Address) -> None:
        super().__init__(poller)
        self.sock = sock
        self.number = sock.fileno()
        self.peer = peer
        self.watched = False
        self._local: Address | None = None

    @property
    def local(self) -> Address:
        """
        Our end.
        """
        if self._local is None:
            self._local = address_of(self.sock.family, self.sock.getsockname())
        return self._local

    def watch(self) -> bool:
        """
        @see: L{ILeg.watch}
        """
        if self.watched:
            return False
        self.watched = True
        self.poller.watch(self.number, self)
        return True

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

    def receive(self, limit: int) -> bytes | None:
        """
        @return: one datagram, cut at C{limit}.
        @raise OSError: what the network has said of one that was sent.
        """
        try:
            return self.sock.recv(limit, _NOW)
        except BlockingIOError:
            self.told = 0
            return None

    def peek(self, limit: int) -> bytes | None:
        """
        @see: L{ILeg.peek}
        """
        try:
            return self.sock.recv(limit, _NOW | int(_names.MSG_PEEK))
        except BlockingIOError:
            return None

    def send_datagram(self, data: bytes) -> bool:
        """
        @see: L{DatagramLeg.send_datagram}
        """
        try:
            self.sock.send(data, _NOW)
        except BlockingIOError:
            self.call_in(RETRY)
            return False
        return True

    def close(self) -> None:
        """
        @see: L{ILeg.close}
        """
        number, self.number = self.number, -1
        if number >= 0:
            self._let_go()
            self.poller.close(number, self.sock)

    def socket(self) -> _socket.socket | None:
        """
        @see: L{ILeg.socket}
        """
        return self.sock


class DatagramPort:
    """
    One socket for all its clients. Owns a copy of the descriptor, so that those who are known can be answered after
    whoever lent the socket has closed it; it is closed with the last of them, once nobody listens.

    How many clients there are is bounded by what their sessions need: one descriptor each where they are passed on.

    @ivar clients: those whose datagrams go to a session.
    """

    __slots__ = (
        "_close", "_current", "_is_unix", "_legs", "_listener", "_local", "_past", "_pause", "_sock", "_to", "_wild",
        "clients", "poller", "told",
    )  # fmt: skip

    def __init__(self, poller: Any, sock: Any, close: Callable[[], None]) -> None:
        """
        @param sock: bound; lent.
        @param close: called when there are neither listeners nor clients any more.
        """
        self.poller = poller
        self.told = 0
        self.clients: dict[Any, ClientDatagrams] = {}
        self._close = close
        self._legs: set[ClientDatagrams] = set()
        self._listener: DatagramListener | None = None
        self._current: ClientDatagrams | None = None
        self._pause: IDelayedCall | None = None
        copy = sock.dup()
        self._sock = _socket.socket(copy.family, copy.type, copy.proto, copy.detach())
        self._sock.setblocking(False)
        self._is_unix = self._sock.family == AF_UNIX
        self._local = address_of(self._sock.family, self._sock.getsockname())
        self._wild = self._local.host in _ANY
        # where the address that was written to stands in what the kernel tells of it
        self._to, self._past = (8, 12) if self._sock.family == AF_INET else (0, 16)
        if self._wild and self._sock.family == AF_INET:
            self._sock.setsockopt(IPPROTO_IP, _IP_PKTINFO, 1)
        elif self._wild:
            self._sock.setsockopt(IPPROTO_IPV6, _IPV6_RECVPKTINFO, 1)

    # Who listens

    def listen(self, listener: DatagramListener) -> None:
        """
        Datagrams of clients that are not known are those of this one's from now on.
        """
        if self._listener is None:
            self._resume()
        self._listener = listener

    def leave(self, listener: DatagramListener) -> None:
        """
        This one listens no more; if nobody does nothing is taken from the socket, which others may have as well.
        """
        if self._listener is listener:
            self._listener = None
            self._rest()
            self._end()

    def left(self, leg: ClientDatagrams) -> None:
        """
        A client's session is over.
        """
        if leg in self._legs:
            self._legs.discard(leg)
            self._end()

    def _resume(self) -> None:
        self._pause = None
        self.poller.watch_level(self._sock.fileno(), self)

    def _rest(self) -> None:
        if self._pause is None:
            self.poller.forget(self._sock.fileno())
        else:
            self._pause.cancel()
            self._pause = None

    def _end(self) -> None:
        if self._listener is None and not self._legs and self._sock.fileno() >= 0:
            self._sock.close()
            self._close()

    def stop(self) -> None:
        """
        All is over, whoever is there.
        """
        if self._listener is not None:
            self.leave(self._listener)
        for leg in tuple(self._legs):
            leg.close()

    # What comes in

    def handler(self, bits: int) -> None:
        """
        Take what is waiting.
        """
        receive = self._receive_with if self._wild or self._is_unix else self._receive_plain
        for _ in range(TURN):
            try:
                receive()
            except BlockingIOError:
                return
            except OSError as error:
                if self._listener is not None and self._pause is None:
                    self._rest()
                    self._pause = self.poller.clock.callLater(PAUSE, self._resume)
                    self._listener.complain(error)
                return
            if self._listener is None:
                return

    def _receive_plain(self) -> None:
        data, sockaddr = self._sock.recvfrom(LARGEST, _NOW)
        leg = self.clients.get(sockaddr)
        if leg is None:
            self._begin(sockaddr, sockaddr, self._local, (), data)
        else:
            self._go_on(leg, data)

    def _receive_with(self) -> None:
        """
        As the other one, with what the kernel knows besides.
        """
        data, ancillary, flags, sockaddr = self._sock.recvmsg(LARGEST, _ANCILLARY, _NOW)
        if flags & _TRUNCATED:
            if self._listener is not None:
                self._listener.complain(OSError(errno.EMSGSIZE, "truncated data"))
            return
        if self._is_unix:
            # who has no name is somebody else each time, and cannot be answered
            key = sockaddr if sockaddr and sockaddr[:1] not in (b"\0", "\0") else None
            leg = None if key is None else self.clients.get(key)
            if leg is None:
                self._begin(key, sockaddr, self._local, (), data)
            else:
                self._go_on(leg, data)
            return
        told = b""
        for level, kind, value in ancillary:
            if (level, kind) in ((_IPV4, _IP_PKTINFO), (_IPV6, _IPV6_PKTINFO)):
                told = value
        key = (sockaddr, told[self._to : self._past])
        leg = self.clients.get(key)
        if leg is not None:
            self._go_on(leg, data)
            return
        local, reply = self._local, []
        if len(told) == 12:  # in_pktinfo: interface, from where to answer, to where it was sent
            local = Address("inet", inet_ntop(AF_INET, told[8:]), local.port)
            reply = [(_IPV4, _IP_PKTINFO, bytes(4) + told[4:8] + bytes(4))]
        elif len(told) == 20:  # in6_pktinfo: to where it was sent, interface
            local = Address("inet6", inet_ntop(AF_INET6, told[:16]), local.port)
            reply = [] if told[0] == 0xFF else [(_IPV6, _IPV6_PKTINFO, told)]
        self._begin(key, sockaddr, local, reply, data)

    def _go_on(self, leg: ClientDatagrams, data: bytes) -> None:
        self._current = leg
        leg.arrive(data)
        self._current = None

    def _begin(self, key: Any, sockaddr: Any, local: Address, reply: Any, data: bytes) -> None:
        if self._listener is None:
            return
        peer = address_of(self._sock.family, sockaddr or "")
        leg = ClientDatagrams(self, key, sockaddr, peer, local, reply, data)
        self._legs.add(leg)
        if key is not None:
            self.clients[key] = leg
        self._current = leg
        self._listener.accepted(leg)
        self._current = None

    def crashed(self) -> None:
        """
        What was being done for one client is lost; the others go on.
        """
        leg, self._current = self._current, None
        if leg is not None:
            leg.crashed()

    # What goes out

    def send(self, data: bytes, sockaddr: Any, reply: Any) -> None:
        """
        @raise BlockingIOError: there is no room.
        @raise OSError: it cannot be sent.
        """
        if reply:
            self._sock.sendmsg((data,), reply, _NOW, sockaddr)
        elif sockaddr:
            self._sock.sendto(data, _NOW, sockaddr)
        else:
            raise OSError(errno.EDESTADDRREQ, "Destination address required")


class DatagramListener:
    """
    Those who are new on a port, for one configuration.

    @ivar accepted: called with the leg of each new client.
    @ivar complain: called with the error when the socket fails; it is tried again after L{PAUSE}.
    """

    def __init__(
        self,
        find: Callable[[], DatagramPort],
        accepted: Callable[[Any], None],
        complain: Callable[[OSError], None],
    ) -> None:
        """
        @param find: the port of the socket, made if there is none.
        """
        self._find = find
        self._port: DatagramPort | None = None
        self.accepted = accepted
        self.complain = complain

    def start(self) -> None:
        """
        Begin to listen, in the place of whoever does.
        """
        if self._port is None:
            self._port = self._find()
            self._port.listen(self)

    def last(self) -> None:
        """
        Take what waits already, before a process stops for good; see L{sniproxy.net.accept.Listener.last}.
        """
        if self._port is not None:
            self._port.handler(IN)

    def stop(self) -> None:
        """
        Listen no more; those who are known are answered until their sessions end.
        """
        port, self._port = self._port, None
        if port is not None:
            port.leave(self)


class DatagramPorts:
    """
    All ports of a network, by the sockets that were lent.
    """

    def __init__(self, poller: Any) -> None:
        """
        @param poller: as L{DatagramLeg} wants it, with C{watch_level} and C{forget}.
        """
        self._poller = poller
        self._ports: dict[Any, DatagramPort] = {}

    def listen(
        self, sock: Any, accepted: Callable[[Any], None], complain: Callable[[OSError], None]
    ) -> DatagramListener:
        """
        @param sock: bound; lent.
        @return: not started yet.
        """
        return DatagramListener(lambda: self._port(sock), accepted, complain)

    def _port(self, sock: Any) -> DatagramPort:
        port = self._ports.get(sock)
        if port is None:
            port = self._ports[sock] = DatagramPort(self._poller, sock, lambda: self._close(sock))
        return port

    def _close(self, sock: Any) -> None:
        del self._ports[sock]

    def stop(self) -> None:
        """
        Close all of them.
        """
        for port in tuple(self._ports.values()):
            port.stop()


classImplements(ClientDatagrams, ILeg)
classImplements(UpstreamDatagrams, ILeg)
