"""
What an upstream is made of: its peers with what is known of each, in one group, and perhaps a group of backups.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

from sniproxy.addresses import Address


class Guard(Protocol):
    """
    A lock, where others change what is known of peers, too.
    """

    def acquire(self) -> None:
        """
        Wait until nobody else has it.
        """

    def release(self) -> None:
        """
        Let others have it.
        """


@dataclass(eq=False, slots=True)
class Peer:
    """
    One address of one C{server} line, as configured and as it fared (ngx_stream_upstream_rr_peer_t).

    @ivar address: where to connect to.
    @ivar server: the C{server} line's own text, C{backend.example:443}.
    @ivar weight: its share, at least 1.
    @ivar max_conns: how many connections it may have at once; 0: any number.
    @ivar max_fails: how many failures within C{fail_timeout} put it aside; 0: never.
    @ivar fail_timeout: seconds in which the failures are counted, and for which it is put aside.
    @ivar backup: asked only when no other peer can be had.
    @ivar down: never asked.

    @ivar current_weight: the running sum of smooth weighted round robin.
    @ivar effective_weight: C{weight}, less what failures took from it and time has not yet given back.
    @ivar fails: failures counted.
    @ivar accessed: when it last failed, on the balancer's clock.
    @ivar checked: when it last failed, or was last given another chance.
    @ivar conns: connections it has now.
    @ivar name: what logs and C{$upstream_addr} call it.
    @ivar source: who says that it is there: None for one written down, or a name that is asked again and again.
    @ivar guard: to be held while something is decided by what is known of it; None where nobody else knows it.
    """

    address: Address
    server: str = ""
    weight: int = 1
    max_conns: int = 0
    max_fails: int = 1
    fail_timeout: float = 10.0
    backup: bool = False
    down: bool = False
    current_weight: int = field(default=0, init=False)
    effective_weight: int = field(default=0, init=False)
    fails: int = field(default=0, init=False)
    accessed: float = field(default=0.0, init=False)
    checked: float = field(default=0.0, init=False)
    conns: int = field(default=0, init=False)
    name: str = field(default="", init=False)
    source: object = field(default=None, init=False)
    guard: Guard | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.effective_weight = self.weight
        self.name = self.address.text

    def enter(self) -> None:
        """
        One connection more.
        """
        self.conns += 1

    def leave(self) -> None:
        """
        One connection less.
        """
        self.conns -= 1

    def full(self) -> bool:
        """
        Whether it has all the connections it may have.
        """
        return 0 < self.max_conns <= self.conns

    def aside(self, now: float) -> bool:
        """
        Whether it failed too often, too short a time ago.
        """
        return 0 < self.max_fails <= self.fails and now - self.checked <= self.fail_timeout

    def failed(self, now: float) -> bool:
        """
        Count a failure, and take weight for it.

        @return: whether it is put aside now.
        """
        self.fails += 1
        self.accessed = self.checked = now
        if not self.max_fails:
            return False
        self.effective_weight = max(0, self.effective_weight - self.weight // self.max_fails)
        return self.fails >= self.max_fails

    def worked(self) -> None:
        """
        Forget the failures, if this was a new chance after them.
        """
        if self.accessed < self.checked:
            self.fails = 0


@dataclass(eq=False, slots=True)
class Group:
    """
    The peers of one upstream that are asked before others.

    @ivar name: of the upstream.
    @ivar peers: in file order.
    @ivar backup: whom to ask when none of these can be had.
    @ivar single: whether there is no one else to ask: then failures do not count.
    @ivar tries: how many peers one session can be given.
    @ivar guard: to be held while one of them is picked; None where that is not needed.
    """

    name: str
    peers: tuple[Peer, ...]
    backup: Group | None = None
    single: bool = field(init=False)
    tries: int = field(init=False)
    guard: Guard | None = field(init=False)

    def __post_init__(self) -> None:
        self.single = len(self.peers) == 1 and self.backup is None
        self.tries = sum(not peer.down for peer in self.peers)
        if self.backup is not None:
            self.tries += self.backup.tries
        everyone = self.peers if self.backup is None else self.peers + self.backup.peers
        self.guard = next((peer.guard for peer in everyone if peer.guard is not None), None)
        if self.single and not self.peers[0].max_conns:
            self.guard = None  # nothing is decided

    @classmethod
    def of(cls, name: str, peers: Iterable[Peer]) -> Group:
        """
        Sort peers into the group and its backups.
        """
        everyone = tuple(peers)
        primary = tuple(peer for peer in everyone if not peer.backup)
        backup = tuple(peer for peer in everyone if peer.backup)
        return cls(name, primary, cls(name, backup) if backup else None)
