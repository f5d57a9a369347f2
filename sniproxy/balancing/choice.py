"""
One session's way through the peers of an upstream: what all methods of balancing have in common.

Strategy: a method is a subclass of L{Choice} with C{pick}, which knows one group; the walk on to the backups, the count
of tries and of connections, and what a failure means, are told here once (nginx has them in
ngx_stream_upstream_round_robin.c, and its other methods call there). A group of one peer is no matter for any method.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from zope.interface import implementer

from sniproxy.balancing.only import Only
from sniproxy.balancing.peers import Group, Peer
from sniproxy.interfaces import IBalancer, IChoice

Clock = Callable[[Any], float]
"""Given a subject: now, in seconds, on one clock for all subjects."""

Disabled = Callable[[Any, Peer], None]
"""Told of a subject and the peer that was put aside for its failures."""


def unheard(subject: Any, peer: Peer) -> None:
    """
    Nobody wants to know that a peer was put aside.
    """


@implementer(IChoice)
class Choice:
    """
    One session's choices. It holds no peer longer than from C{next} to C{release}.

    @ivar tries: how many peers are left to try, the one in use included; may be lowered (C{proxy_next_upstream_tries}).
    @ivar name: the upstream's, for messages where there is no peer.
    """

    __slots__ = (
        "_clock",
        "_current",
        "_disabled",
        "_first",
        "_group",
        "_subject",
        "_tried",
        "name",
        "tries",
    )

    def __init__(self, group: Group, subject: Any, clock: Clock, disabled: Disabled = unheard) -> None:
        self.name = group.name
        self.tries = group.tries
        self._first = group
        self._group = group
        self._subject = subject
        self._clock = clock
        self._disabled = disabled
        self._tried = 0
        self._current: Peer | None = None

    def next(self) -> Peer | None:
        """
        @return: a peer, which counts as connected until it is released; None: no live upstreams.
        """
        now = self._clock(self._subject)
        guard = self._first.guard
        if guard is not None:
            guard.acquire()
        try:
            peer = self._take(self._group, self.pick(self._group, now), now)
            if peer is None and self._group.backup is not None:
                self._group = self._group.backup
                self._tried = 0
                peer = self._take(self._group, self.pick_backup(self._group, now), now)
            if peer is not None:
                peer.enter()
        finally:
            if guard is not None:
                guard.release()
        self._current = peer
        return peer

    def connected(self) -> None:
        """
        The peer answered: a new chance after failures was used well. Without this only the end of the session would
        tell, and stream sessions are long.
        """
        if self._current is not None:
            self._current.worked()

    def release(self, failed: bool) -> None:
        """
        The peer is not used any more; nothing happens where none is.
        """
        peer, self._current = self._current, None
        if peer is None:
            return
        peer.leave()
        if not failed:
            peer.worked()
        elif self._failed(peer):
            self._disabled(self._subject, peer)
        if self.tries:
            self.tries -= 1

    def _failed(self, peer: Peer) -> bool:
        now = self._clock(self._subject)
        guard = peer.guard
        if guard is None:
            return peer.failed(now)
        guard.acquire()
        try:
            return peer.failed(now)
        finally:
            guard.release()

    def available(self, place: int, peer: Peer, now: float) -> bool:
        """
        Whether a peer may be picked: not tried in this session, not down, not aside, not full.

        @param place: of the peer in its group.
        """
        # mostly nothing is wrong with a peer, and that is seen without asking it
        return not (
            self._tried >> place & 1
            or peer.down
            or (peer.fails and peer.aside(now))
            or (peer.max_conns and peer.full())
        )

    def pick(self, group: Group, now: float) -> int | None:
        """
        The method itself.

        @return: the place in the group of an available peer; None where there is none.
        """
        raise NotImplementedError

    def pick_backup(self, group: Group, now: float) -> int | None:
        """
        The method where the peers before the backups were of no use a moment ago; most methods know no difference.

        @return: as C{pick}.
        """
        return self.pick(group, now)

    def _take(self, group: Group, place: int | None, now: float) -> Peer | None:
        if place is None:
            return None
        self._tried |= 1 << place
        peer = group.peers[place]
        if now - peer.checked > peer.fail_timeout:
            peer.checked = now
        return peer


@implementer(IBalancer)
class Balancer:
    """
    Gives each session its own L{Choice} over peers that all share.

    @ivar group: the peers. Sessions that have begun go on with the group they began with.
    """

    choice: type[Choice] = Choice

    def __init__(self, group: Group, clock: Clock, disabled: Disabled = unheard) -> None:
        self.group = group
        self._clock = clock
        self._disabled = disabled

    def begin(self, subject: Any) -> Any:
        """
        @param subject: the session; given back to C{disabled}.
        @return: L{sniproxy.interfaces.IChoice}.
        """
        group = self.group
        return Only(group) if group.single else self.choose(group, subject)

    def choose(self, group: Group, subject: Any) -> Choice:
        """
        What C{begin} returns where there is something to choose: the method's own.
        """
        return self.choice(group, subject, self._clock, self._disabled)

    def renew(self, group: Group) -> None:
        """
        From now on there are other peers; those that stay are the same objects, with all that is known of them.
        """
        self.group = group
