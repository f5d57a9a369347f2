"""
What becomes of a socket that is closed while the kernel has yet to deliver what it was given?

Strategy: a socket that is gone answers whatever the far end still says with a reset, and then the kernel delivers
nothing more: a TLS 1.3 upstream that is late with its session tickets would lose the end of what it was sent. So the
end is said (FIN), and the socket stays until the far end has said the end, too; but not when it has everything, which
is looked at now and then, and for C{LONGEST} at most. What the far end says is dropped, up to C{DROPPED} bytes: then it
is left where it is, so that nobody goes on for ever. Of many such sockets the eldest is closed as the kernel closes
them. It is what nginx calls a lingering close, and does for HTTP only.
"""

from __future__ import annotations

import resource
from fcntl import ioctl
from socket import MSG_DONTWAIT, SHUT_WR
from termios import TIOCOUTQ
from typing import TYPE_CHECKING, Final

from sniproxy.net.poller import ERR, HUP, RDHUP, Poller

if TYPE_CHECKING:
    import _socket

PAUSE: Final = 3.0
"""Seconds from one look to the next."""

LONGEST: Final = 30.0
"""Seconds that a socket stays at most: C{lingering_time} of nginx."""

MOST: Final = 128
"""Sockets that stay at the same time, for each poller,"""

SHARE: Final = 16
"""and which share of all descriptors they are, at most."""

DROPPED: Final = 1 << 20
"""Bytes of the far end's that are read and dropped: who says more has to stop and listen."""

_NOW: Final = int(MSG_DONTWAIT)
_PIECE: Final = 65536
_NOTHING: Final = b"\0\0\0\0"
_OVER: Final = RDHUP | HUP | ERR


def undelivered(descriptor: int) -> bool:
    """
    Whether the far end has not acknowledged all that a TCP socket was given (C{SIOCOUTQ}, tcp(7)).
    """
    try:
        return ioctl(descriptor, TIOCOUTQ, _NOTHING) != _NOTHING
    except OSError:
        return False


class Lingering:
    """
    A socket that stays to see its bytes delivered. Owns it.
    """

    __slots__ = ("_dropped", "_late", "_number", "_poller", "_sock", "_until", "told")

    def __init__(self, poller: Poller, descriptor: int, sock: _socket.socket) -> None:
        self.told = 0
        self._poller = poller
        self._number = descriptor
        self._sock = sock
        self._dropped = 0
        self._until = poller.clock.seconds() + LONGEST
        self._late = poller.clock.callLater(PAUSE, self._look)

    def handler(self, bits: int) -> None:
        """
        Drop what has come; at the end, be it a bad one, close.
        """
        over = bits & _OVER  # then all that there is: no more can come, and what is left would be answered by a reset
        try:
            while over or self._dropped < DROPPED:
                data = self._sock.recv(_PIECE, _NOW)
                if not data:
                    self.crashed()
                    return
                self._dropped += len(data)
        except BlockingIOError:
            return
        except OSError:
            self.crashed()  # the connection is broken

    def crashed(self) -> None:
        """
        Close at once.
        """
        if self._late.active():
            self._late.cancel()
        self._poller.lingering.pop(self, None)
        self._poller.close(self._number, self._sock)

    def _look(self) -> None:
        clock = self._poller.clock
        if clock.seconds() < self._until and undelivered(self._number):
            self._late = clock.callLater(PAUSE, self._look)
        else:
            self.crashed()


def linger(poller: Poller, descriptor: int, sock: _socket.socket, told: int) -> None:
    """
    Close a TCP socket when what it was given has been delivered.

    @param told: what edges have said of it.
    """
    try:
        sock.shutdown(SHUT_WR)
    except OSError:  # the far end is gone: there is nobody to deliver to
        poller.close(descriptor, sock)
        return
    lingering = Lingering(poller, descriptor, sock)
    try:
        poller.hand_over(descriptor, lingering)
    except (OSError, ValueError):  # no memory, or the poller has been stopped
        lingering.crashed()
        return
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST if soft < 0 else max(min(MOST, soft // SHARE), 1)
    while len(poller.lingering) >= most:
        next(iter(poller.lingering)).crashed()
    poller.lingering[lingering] = None
    lingering.handler(told)
