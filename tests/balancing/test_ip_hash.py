"""
Tests for L{sniproxy.balancing.ip_hash}.
"""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.addresses import Address
from sniproxy.balancing.choice import Choice
from sniproxy.balancing.hash import TRIES
from sniproxy.balancing.ip_hash import IpHash, hashed
from sniproxy.balancing.peers import Group, Peer


def peer(number: int, **more: Any) -> Peer:
    """
    A peer with a port of this number.
    """
    return Peer(Address("inet", "127.0.0.1", number), f"127.0.0.1:{number}", **more)


def ports(choice: Choice, count: int = 1) -> list[int]:
    """
    Whom one session is given, one after the other; 0 for nobody.
    """
    found = []
    for _ in range(count):
        given = choice.next()
        found.append(0 if given is None else given.address.port)
        choice.release(False)
    return found


def balancer(*peers: Peer) -> IpHash:
    """
    Over these peers; subjects are octets.
    """
    return IpHash(Group.of("back", peers), lambda subject: 1000.0, key=bytes)


class IpHashTests(SynchronousTestCase):
    """
    Networks.
    """

    def test_sum(self) -> None:
        """
        Each octet is added to a hundred and thirteen times what was before, by the rest of 6271.
        """
        self.assertEqual(hashed(b""), 89)
        self.assertEqual(hashed(b"\x7f"), (89 * 113 + 127) % 6271)
        self.assertEqual(hashed(b"\x7f\0\0"), 4040)
        self.assertEqual(hashed(b"\0\0", hashed(b"\x7f")), 4040)

    @settings(derandomize=True, deadline=None, database=None)
    @given(st.binary(min_size=3, max_size=16), st.lists(st.integers(1, 5), min_size=2, max_size=5))
    def test_walk(self, octets: bytes, weights: list[int]) -> None:
        """
        Whoever cannot be had is passed over by hashing on, until that was in vain too often.
        """
        shares = [number for number, weight in enumerate(weights, 1) for _ in range(weight)]
        expected: list[int] = []
        value = 89
        for _ in range(TRIES + 1):
            for octet in octets:
                value = (value * 113 + octet) % 6271
            if shares[value % len(shares)] not in expected:
                expected.append(shares[value % len(shares)])
        choice = balancer(*(peer(number, weight=weight) for number, weight in enumerate(weights, 1))).begin(octets)
        self.assertEqual(ports(choice, len(expected)), expected)

    def test_gives_up(self) -> None:
        """
        When a network finds nobody, round robin does.
        """
        group = [peer(number, down=number < 40) for number in range(1, 41)]
        self.assertEqual(ports(balancer(*group).begin(b"\x7f\0\0")), [40])
        self.assertEqual(ports(balancer(peer(1, down=True), peer(2, down=True)).begin(b"\x7f\0\0")), [0])

    def test_lone(self) -> None:
        """
        One peer is everybody's.
        """
        self.assertEqual(ports(balancer(peer(7)).begin(b"\x7f\0\0")), [7])
        self.assertEqual(ports(balancer(peer(7), peer(8, backup=True)).begin(b"\x7f\0\0"), 2), [7, 8])

    def test_backups(self) -> None:
        """
        Backups take turns, whatever the network.
        """
        group = balancer(peer(1, down=True), peer(2, down=True), peer(3, backup=True), peer(4, backup=True))
        self.assertEqual([ports(group.begin(b"\x7f\0\0"))[0] for _ in range(4)], [3, 4, 3, 4])

    def test_renewed(self) -> None:
        """
        Who begins after a change chooses among the new peers.
        """
        one, two, three = peer(1), peer(2), peer(3)
        group = balancer(one, two)
        self.assertEqual(ports(group.begin(b"\x7f\0\0")), [4040 % 2 + 1])
        group.renew(Group.of("back", (one, two, three)))
        self.assertEqual(ports(group.begin(b"\x7f\0\0")), [4040 % 3 + 1])
