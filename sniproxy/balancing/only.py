"""
What is there to choose where an upstream is one peer? Whether it takes another connection; failures do not count, for
there is no one else to ask (the C{single} of nginx's ngx_stream_upstream_round_robin.c, whatever the method).
"""

from __future__ import annotations

from typing import Any

from zope.interface import classImplements

from sniproxy.interfaces import IChoice


class Only:
    """
    One session's way through a group of one peer. It holds the peer from C{next} to C{release}.

    @ivar tries: 1 until the peer is released.
    @ivar name: the upstream's.
    """

    __slots__ = ("_guard", "_held", "_peer", "name", "tries")

    def __init__(self, group: Any) -> None:
        """
        @param group: L{sniproxy.balancing.peers.Group}, a C{single} one.
        """
        self.name: str = group.name
        self.tries: int = group.tries
        self._peer: Any = group.peers[0]
        self._guard: Any = group.guard
        self._held = False

    def next(self) -> Any:
        """
        @return: the peer; None where it is down, or full.
        """
        guard = self._guard
        if guard is None:
            return self._take()
        guard.acquire()
        try:
            return self._take()
        finally:
            guard.release()

    def _take(self) -> Any:
        peer = self._peer
        if peer.down or (peer.max_conns and peer.full()):
            return None
        peer.enter()
        self._held = True
        return peer

    def connected(self) -> None:
        """
        That it answered is no news.
        """

    def release(self, failed: bool) -> None:
        """
        The peer is not used any more, and there is no other; nothing happens where it was not.
        """
        if self._held:
            self._held = False
            self.tries = 0
            self._peer.leave()


classImplements(Only, IChoice)
