"""
What becomes of a socket that is closed while the kernel has yet to deliver what it was given?

Strategy: a socket that is gone answers whatever the far end still says with a reset, and then the kernel delivers
nothing more: a TLS 1.3 upstream that is late with its session tickets would lose the end of what it was sent. So the
end is said (FIN), and the socket stays, its bytes read and dropped, until the far end has said the end, too; but for no
longer than C{TIMES} looks, no longer than the far end has everything, and for no more than C{MOST} sockets at once: the
others are closed as the kernel closes them. It is what nginx calls a lingering close, and does for HTTP only.
"""

from __future__ import annotations

from fcntl import ioctl
from socket import MSG_DONTWAIT, SHUT_WR
from termios import TIOCOUTQ
from typing import TYPE_CHECKING, Final

from sniproxy.net.poller import Poller

if TYPE_CHECKING:
    import _socket

PAUSE: Final = 3.0
"""Seconds from one look to the next."""

TIMES: Final = 10
"""Looks at most: half a minute, as much as C{lingering_time} of nginx."""

MOST: Final = 128
"""Sockets that stay at the same time, for each poller."""

TURN: Final = 16
"""How many pieces are dropped before others have their turn."""

_NOW: Final = int(MSG_DONTWAIT)
_PIECE: Final = 65536
_NOTHING: Final = b"\0\0\0\0"


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

    __slots__ = ("_late", "_left", "_number", "_poller", "_sock", "told")

    def __init__(self, poller: Poller, descriptor: int, sock: _socket.socket) -> None:
        self.told = 0
        self._poller = poller
        self._number = descriptor
        self._sock = sock
        self._left = TIMES
        poller.lingering.add(self)
        self._late = poller.clock.callLater(PAUSE, self._look)

    def handler(self, bits: int) -> None:
        """
        Drop what has come; at the end, be it a bad one, close.
        """
        try:
            for _ in range(TURN):
                if not self._sock.recv(_PIECE, _NOW):
                    self._end()
                    return
        except BlockingIOError:
            return
        except OSError:
            self._end()
            return
        self._poller.again(self._number, self)

    def crashed(self) -> None:
        """
        Close at once.
        """
        self._end()

    def _look(self) -> None:
        self._left -= 1
        if self._left and undelivered(self._number):
            self._late = self._poller.clock.callLater(PAUSE, self._look)
        else:
            self._end()

    def _end(self) -> None:
        if self._late.active():
            self._late.cancel()
        self._poller.lingering.discard(self)
        self._poller.close(self._number, self._sock)


def linger(poller: Poller, descriptor: int, sock: _socket.socket) -> None:
    """
    Close a TCP socket when what it was given has been delivered.
    """
    if len(poller.lingering) < MOST and poller.fileno() >= 0:
        try:
            sock.shutdown(SHUT_WR)
        except OSError:
            pass  # the far end is gone: there is nobody to deliver to
        else:
            lingering = Lingering(poller, descriptor, sock)
            poller.hand_over(descriptor, lingering)
            lingering.handler(0)
            return
    poller.close(descriptor, sock)
