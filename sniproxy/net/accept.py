"""
How connections come in: a listening socket that makes legs.

Strategy: mostly one connection waits, and to ask for a second one costs a tenth of a session. So one is accepted; if
there are more, we are told so again in the next batch of events, and then they are taken together, as long as several
come at a time.
"""

from __future__ import annotations

import _socket
import errno
import socket
from collections.abc import Callable
from typing import Any, Final

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from sniproxy.net.legs import SocketLeg, address_of

TURN: Final = 8
"""
How many connections one wake-up accepts before others have their turn: the sessions of this process, and other
workers, which would have nothing to do if one took all that a burst brings.
"""

SHARE: Final = 16
"""How many connections one of several processes takes before it steps back behind the others (nginx's, too)."""

LAST: Final = 1024
"""How many of those who wait already are accepted at the end: more would come as fast as they are taken."""

PAUSE: Final = 0.5
"""Seconds without accepting after descriptors ran out (nginx's ngx_accept_disabled timer)."""

_GONE: Final = frozenset(
    getattr(errno, name)
    for name in (
        "ECONNABORTED EPROTO EPERM ENOPROTOOPT EOPNOTSUPP ENETDOWN ENETUNREACH EHOSTDOWN EHOSTUNREACH ENONET".split()
    )
    if hasattr(errno, name)
)
"""What is wrong with one connection only, and not with accepting (accept(2), "Error handling")."""


class Listener:
    """
    Accepts on one socket as long as it is started. Lent the socket: whoever made it closes it.

    @ivar accepted: called with each new leg, which is not watched yet.
    @ivar complain: called with the error when accepting fails, for want of descriptors or memory mostly; it is tried
        again after L{PAUSE}.
    """

    def __init__(
        self,
        poller: Any,
        clock: IReactorTime,
        sock: socket.socket,
        accepted: Callable[[Any], None],
        complain: Callable[[OSError], None],
        made: Callable[[int], None] | None = None,
        turn: int = TURN,
    ) -> None:
        """
        @param poller: L{sniproxy.net.poller.Poller}, or what watches a listening socket as it does.
        @param made: takes the descriptor of each connection, and closes it, where no leg is to be made of it.
        @param turn: how many are accepted in one go.
        """
        self._poller = poller
        self._clock = clock
        self._sock = sock
        self._accepted = accepted
        self._complain = complain
        self._made = made
        self._turn = turn
        self._started = False
        self._count = 0
        self._crowd = False
        self._batch = -1
        self._pause: IDelayedCall | None = None
        self.told = 0
        self._kind = (sock.family, sock.type, sock.proto)
        sock.setblocking(False)

    def start(self) -> None:
        """
        Begin to accept.
        """
        if not self._started and self._pause is None:
            self._started = True
            self._poller.watch_level(self._sock.fileno(), self)

    def stop(self) -> None:
        """
        Accept no more; the socket stays open.
        """
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None
        if self._started:
            self._started = False
            self._poller.forget(self._sock.fileno())

    def last(self) -> None:
        """
        Accept those who wait already, before a process stops for good: of several that share the socket it may be the
        only one that was told of them (L{sniproxy.net.poller.Poller.watch_level}).
        """
        if self._started:
            self._accept(LAST)

    def handler(self, bits: int) -> None:
        """
        Accept what is waiting.
        """
        if self._made is not None:
            self._accept(self._turn)  # where it is a reactor that tells, to be told again costs more
            return
        batch = self._poller.batch
        if self._crowd or batch == self._batch + 1:
            self._crowd = self._accept(self._turn) > 1
        else:
            self._accept(1)
        self._batch = batch

    def _accept(self, most: int) -> int:
        """
        @return: how many were accepted, of those there were.
        """
        accept = self._sock._accept  # type: ignore[attr-defined]  # accept() costs three needless calls a connection
        for number in range(most):
            try:
                descriptor, sockaddr = accept()
            except BlockingIOError:
                return number
            except OSError as error:
                if error.errno in _GONE:
                    continue
                self.stop()
                self._pause = self._clock.callLater(PAUSE, self._resume)
                self._complain(error)
                return number
            if self._count % SHARE == 0:
                self._poller.step_back(self._sock.fileno())
            self._count += 1
            if self._made is None:
                self._make_leg(descriptor, sockaddr)
            else:
                self._made(descriptor)
            if not self._started:
                return number + 1
        return most

    def _make_leg(self, descriptor: int, sockaddr: Any) -> None:
        """
        There is a connection, whose descriptor is ours.
        """
        family, kind, protocol = self._kind
        sock = _socket.socket(family, kind, protocol, descriptor)
        leg = SocketLeg(self._poller, sock, address_of(family, sockaddr))
        try:
            self._accepted(leg)
        except BaseException:
            leg.abort()
            raise

    def _resume(self) -> None:
        self._pause = None
        if self._sock.fileno() >= 0:
            self.start()

    def crashed(self) -> None:
        """
        The session that was being made is lost; accepting goes on.
        """
