"""
Connections to upstreams that nobody uses at the moment, kept for the next request (ngx_http_upstream_keepalive_module).

Strategy: a connection is good for those alone who would have made the very same one: the peer, what its certificate was
judged by, the name it was judged for and the address it comes from are the key. Of those that fit the last one that
was used is taken; the one that has waited longest goes first when there are too many.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Protocol

from sniproxy.common.keepalive import Keepalive


class Idle(Protocol):
    """
    A connection that nobody uses; L{sniproxy.http.upstream_leg.UpstreamLeg} is one.

    @ivar key: what it has in common with those that may stand for it.
    """

    key: Hashable

    def close(self) -> None:
        """
        End it.
        """


class Pool:
    """
    What is kept for one group, or for one location of it. Owns at most C{settings.connections} connections, each for
    C{settings.timeout} seconds.
    """

    __slots__ = ("_by_key", "_idle", "settings")

    def __init__(self, settings: Keepalive) -> None:
        self.settings = settings
        self._by_key: dict[Hashable, list[Any]] = {}
        self._idle: dict[Any, Any] = {}

    def __len__(self) -> int:
        return len(self._idle)

    def take(self, key: Hashable) -> Any:
        """
        @return: a connection that was made for the same key, the taker's from now on; None where there is none.
        """
        fitting = self._by_key.get(key)
        if not fitting:
            return None
        leg = fitting.pop()
        if not fitting:
            del self._by_key[key]
        del self._idle[leg]
        return leg

    def keep(self, leg: Idle, runtime: Any) -> bool:
        """
        @param leg: idle, and as it must be for a next request.
        @param runtime: L{sniproxy.common.runtime.Runtime}.
        @return: whether it is kept; else it is still the caller's.
        """
        if not self.settings.connections or runtime.stopped:
            return False
        if len(self._idle) >= self.settings.connections:
            oldest = next(iter(self._idle))
            self.forget(oldest)
            oldest.close()
        self._by_key.setdefault(leg.key, []).append(leg)
        self._idle[leg] = runtime
        runtime.idle.add(self)
        return True

    def forget(self, leg: Idle) -> None:
        """
        It is not to be had any more.
        """
        runtime = self._idle.pop(leg, None)
        if runtime is None:
            return
        fitting = self._by_key[leg.key]
        fitting.remove(leg)
        if not fitting:
            del self._by_key[leg.key]
        if not self._idle:
            runtime.idle.discard(self)

    def leave(self) -> None:
        """
        The configuration takes no more requests: nobody will ask.
        """
        for leg in list(self._idle):
            self.forget(leg)
            leg.close()
