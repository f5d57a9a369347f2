"""
Tests for L{sniproxy.balancing.least_conn}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.addresses import Address
from sniproxy.balancing.least_conn import LeastConn
from sniproxy.balancing.peers import Group, Peer


def peers(*weights: int) -> list[Peer]:
    """
    Peers of these weights, on ports 1, 2, 3, …
    """
    return [Peer(Address("inet", "127.0.0.1", n), weight=weight) for n, weight in enumerate(weights, 1)]


class LeastConnTests(SynchronousTestCase):
    """
    Who is chosen.
    """

    def begin(self, group: list[Peer], count: int) -> list[int]:
        """
        The ports of sessions that all go on.
        """
        balancer = LeastConn(Group.of("back", group), lambda subject: 1000.0)
        found = [balancer.begin(None).next() for _ in range(count)]
        return [peer.address.port if peer is not None else 0 for peer in found]

    def test_fewest_by_weight(self) -> None:
        """
        Connections are compared with weights: of 4 and 2, two of three sessions go to the first.
        """
        self.assertEqual(self.begin(peers(4, 2), 6), [1, 2, 1, 2, 1, 1])

    def test_equals_take_turns(self) -> None:
        """
        Peers with equal shares take turns by smooth weighted round robin, which remembers who had one.
        """
        group = peers(1, 1, 1)
        self.assertEqual(self.begin(group, 1), [1])
        group[0].conns = 0
        self.assertEqual(self.begin(group, 1), [2])
        group[1].conns = 0
        self.assertEqual(self.begin(group, 1), [3])

    def test_one_alone_has_no_turn(self) -> None:
        """
        A peer that is better than all others is chosen without a turn: weight that was lost does not come back by it.
        """
        group = peers(4, 4)
        group[1].conns = 1
        group[0].effective_weight = 1
        self.assertEqual(self.begin(group, 1), [1])
        self.assertEqual((group[0].effective_weight, group[0].current_weight), (1, 0))

    def test_unavailable(self) -> None:
        """
        Peers that are down, full or tried are passed over, and where nobody is left there is nobody.
        """
        group = peers(1, 1, 1)
        group[0].down = True
        group[1].max_conns = group[1].conns = 1
        balancer = LeastConn(Group.of("back", group), lambda subject: 1000.0)
        choice = balancer.begin(None)
        self.assertIs(choice.next(), group[2])
        self.assertIsNone(choice.next())

    def test_backups_too(self) -> None:
        """
        Among backups the one with the fewest connections is chosen as well.
        """
        group = peers(1, 1, 1)
        group[0].down = True
        group[1].backup = group[2].backup = True
        group[1].conns = 3
        self.assertEqual(self.begin(group, 2), [3, 3])
