"""
Which peers of an upstream are the same in all workers? Those of a C{zone}, each in a row of a table that they share.

Strategy: a peer is found by what is written of it, since each worker hears of those that come at run time by itself, in
its own time. A row is a peer's while any worker has it in its group or connected; who comes when that is over finds
nothing known.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Final

from sniproxy.balancing.peers import Peer
from sniproxy.balancing.shared import FIELDS, Place, SharedPeer
from sniproxy.common.shared_memory import Shape, Table

_PEER: Final = 512
"""Bytes of a zone that nginx needs for a peer, about."""

_SPARE: Final = 2
"""Room for so many times the peers that are written down, at least."""


def shape_of(size: int, peers: int) -> Shape:
    """
    @param size: of the zone, in bytes.
    @param peers: how many are written down.
    """
    return Shape.of(max(size // _PEER, _SPARE * peers), FIELDS, 2)


class SharedPeers:
    """
    The peers of one upstream. The first cell of a row counts who has the peer, the second its connections.
    """

    def __init__(self, table: Table, name: str) -> None:
        """
        @param name: the upstream's.
        """
        self._table = table
        self._name = name

    def adopt(self, before: Iterable[Peer], now: Sequence[Peer]) -> tuple[Peer, ...]:
        """
        Others know of these peers, too.

        @param before: all that there were.
        @param now: all that there are from now on.
        @return: the same, with shared ones in the places of those that are not. One for whom there is no room stays as
            it is.
        """
        numbers = Counter[str]()
        taken = {peer.identity for peer in now if isinstance(peer, SharedPeer)}
        found: list[Peer] = []
        for peer in now:
            if not isinstance(peer, SharedPeer):
                text = _written(self._name, peer)
                while (identity := (text, numbers[text])) in taken:
                    numbers[text] += 1
                taken.add(identity)
                peer = self._shared(peer, identity) or peer
            found.append(peer)
        stay = set(found)
        for peer in before:
            if isinstance(peer, SharedPeer) and peer not in stay:
                peer.retire()
        return tuple(found)

    def _shared(self, peer: Peer, identity: tuple[str, int]) -> SharedPeer | None:
        table = self._table
        digest = blake2b(repr(identity).encode("utf-8", "surrogateescape"), digest_size=8, key=table.secret).digest()
        word = int.from_bytes(digest, "little") | 1
        table.acquire()
        try:
            row = table.seek(word)
            if row < 0:
                return None
            first = table.shape.rows + row
            place = Place(table.numbers, table.moments, row * FIELDS, table, first, table.own + first)
            shared = SharedPeer(peer, identity, place, table, lambda: self._give_back(row))
            if not table.total(row):
                shared.begin()
                table.words[row] = word
            table.cells[table.own + row] += 1
            return shared
        finally:
            table.release()

    def _give_back(self, row: int) -> None:
        table = self._table
        table.acquire()
        try:
            table.cells[table.own + row] -= 1
            if not table.total(row):
                table.vacate(row)
        finally:
            table.release()


def _written(name: str, peer: Peer) -> str:
    return repr(
        (
            name, peer.address.text, peer.server, peer.weight, peer.max_conns, peer.max_fails, peer.fail_timeout,
            peer.backup, peer.down,
        )
    )  # fmt: skip
