"""
Tests for L{sniproxy.balancing.round_robin}.
"""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.addresses import Address
from sniproxy.balancing.peers import Group, Peer
from sniproxy.balancing.round_robin import RoundRobin


def peers(*weights: int) -> list[Peer]:
    """
    Peers of these weights, on ports 1, 2, 3, …
    """
    return [Peer(Address("inet", "127.0.0.1", n), weight=weight) for n, weight in enumerate(weights, 1)]


class RoundRobinTests(SynchronousTestCase):
    """
    The order of turns.
    """

    def setUp(self) -> None:
        self.clock = Clock()

    def turns(self, balancer: RoundRobin, count: int, fails: frozenset[int] = frozenset()) -> list[int]:
        """
        The ports that sessions are given first; those in C{fails} fail.
        """
        ports = []
        for _ in range(count):
            choice = balancer.begin(None)
            peer = choice.next()
            assert peer is not None
            ports.append(peer.address.port)
            choice.release(peer.address.port in fails)
        return ports

    def balancer(self, group: list[Peer]) -> RoundRobin:
        """
        On the test's clock.
        """
        return RoundRobin(Group.of("back", group), lambda subject: self.clock.seconds())

    def test_smooth(self) -> None:
        """
        Weights 5, 1 and 1 give nginx's a a b a c a a, again and again.
        """
        balancer = self.balancer(peers(5, 1, 1))
        for _ in range(3):
            self.assertEqual(self.turns(balancer, 7), [1, 1, 2, 1, 3, 1, 1])

    def test_equals_in_file_order(self) -> None:
        """
        Equal peers take turns in file order.
        """
        self.assertEqual(self.turns(self.balancer(peers(1, 1, 1)), 7), [1, 2, 3, 1, 2, 3, 1])

    def test_next_in_one_session(self) -> None:
        """
        Within a session the next peer is another one, and after the last there is none.
        """
        choice = self.balancer(peers(1, 3)).begin(None)
        ports = []
        while (peer := choice.next()) is not None:
            ports.append(peer.address.port)
            choice.release(True)
        self.assertEqual(ports, [2, 1])

    def test_recovery_is_gradual(self) -> None:
        """
        A peer that lost its weight by failing gets it back by one each turn: turns as nginx's arithmetic has them.
        """
        group = peers(4, 4)
        group[0].max_fails = 1
        balancer = self.balancer(group)
        self.assertEqual(self.turns(balancer, 1, frozenset({1})), [1])
        self.assertEqual(group[0].effective_weight, 0)
        self.clock.advance(11)
        weights = []
        ports = []
        for _ in range(6):
            weights.append(group[0].effective_weight)
            ports += self.turns(balancer, 1)
        self.assertEqual(weights, [0, 1, 2, 3, 4, 4])
        self.assertEqual(ports, [2, 2, 2, 2, 1, 2])

    @settings(derandomize=True, deadline=None, database=None)
    @given(st.lists(st.integers(1, 9), min_size=2, max_size=6))
    def test_shares_are_exact(self, weights: list[int]) -> None:
        """
        In as many turns as the weights sum up to, each peer has exactly its weight of them.
        """
        count = Counter(self.turns(self.balancer(peers(*weights)), sum(weights)))
        self.assertEqual([count[n] for n in range(1, len(weights) + 1)], weights)
