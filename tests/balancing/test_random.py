"""
Tests for L{sniproxy.balancing.random_}.
"""

from __future__ import annotations

from collections.abc import Iterator

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.addresses import Address
from sniproxy.balancing.peers import Group, Peer
from sniproxy.balancing.random_ import TRIES, Random, RandomChoice, ends_of


def peers(*weights: int) -> list[Peer]:
    """
    Peers of these weights, on ports 1, 2, 3, …
    """
    return [Peer(Address("inet", "127.0.0.1", n), weight=weight) for n, weight in enumerate(weights, 1)]


class RandomTests(SynchronousTestCase):
    """
    What is made of throws.
    """

    def setUp(self) -> None:
        self.throws: Iterator[int] = iter(())
        self.asked: list[int] = []

    def dice(self, count: int) -> int:
        """
        The test's next throw.
        """
        self.asked.append(count)
        return next(self.throws)

    def balancer(self, group: list[Peer], throws: list[int], two: bool = False) -> Random:
        """
        With these throws to come.
        """
        self.throws = iter(throws)
        return Random(Group.of("back", group), lambda subject: 1000.0, dice=self.dice, two=two)

    def ports(self, choice: RandomChoice, count: int = 1) -> list[int]:
        """
        Whom one session is given, one after the other.
        """
        found = []
        for _ in range(count):
            peer = choice.next()
            found.append(0 if peer is None else peer.address.port)
            choice.release(False)
        return found

    def test_by_weight(self) -> None:
        """
        Each peer has as many of the throws as its weight says.
        """
        balancer = self.balancer(peers(1, 3, 2), [0, 1, 2, 3, 4, 5])
        self.assertEqual([self.ports(balancer.begin(None))[0] for _ in range(6)], [1, 2, 2, 2, 3, 3])
        self.assertEqual(self.asked, [6] * 6)

    def test_thrown_again(self) -> None:
        """
        A throw for one who was tried, is down or full, is in vain, and there is another.
        """
        group = peers(1, 1, 1, 1)
        group[1].down = True
        group[2].max_conns = group[2].conns = 1
        balancer = self.balancer(group, [0, 0, 1, 2, 3])
        self.assertEqual(self.ports(balancer.begin(None), 2), [1, 4])

    def test_bad_luck(self) -> None:
        """
        After so many throws in vain it is round robin's turn, for the rest of the session.
        """
        group = peers(1, 1, 1)
        balancer = self.balancer(group, [0] * (TRIES + 2))
        self.assertEqual(self.ports(balancer.begin(None), 4), [1, 2, 3, 0])
        self.assertEqual(len(self.asked), TRIES + 2)

    def test_better_of_two(self) -> None:
        """
        Of two different peers the one with fewer connections for its weight is taken, the second where they are equal.
        """
        group = peers(1, 2, 1)
        group[0].conns, group[1].conns = 2, 3
        balancer = self.balancer(group, [0, 0, 1, 2, 0, 0, 3], two=True)
        self.assertEqual([self.ports(balancer.begin(None))[0] for _ in range(3)], [2, 2, 3])
        group[1].conns = 4
        self.throws = iter([0, 1])
        self.assertEqual(self.ports(balancer.begin(None)), [2])

    def test_no_second(self) -> None:
        """
        When the dice find no second peer, round robin chooses.
        """
        group = peers(1, 1)
        group[1].down = True
        balancer = self.balancer(group, [0] * (TRIES + 2), two=True)
        self.assertEqual(self.ports(balancer.begin(None)), [1])

    def test_few(self) -> None:
        """
        For one peer, or none, nobody throws dice.
        """
        one, backup = peers(1, 1)
        backup.backup = True
        self.assertEqual(self.ports(self.balancer([one, backup], []).begin(None), 3), [1, 2, 0])
        self.assertEqual(self.ports(self.balancer([], []).begin(None)), [0])

    def test_backups(self) -> None:
        """
        When the others are used up round robin chooses a backup; dice that still have throws choose among the rest.
        """
        group = peers(1, 1, 2, 1)
        for peer in group[1:]:
            peer.backup = True
        balancer = self.balancer(group, [3, 0])
        self.assertEqual(self.ports(balancer.begin(None), 4), [1, 3, 4, 2])

    def test_others(self) -> None:
        """
        When the group changes, sessions that begin then have the new shares, and earlier ones keep theirs.
        """
        old, new = peers(1, 1), peers(1, 1, 5)
        balancer = self.balancer(old, [1])
        earlier = balancer.begin(None)
        balancer.renew(Group.of("back", new))
        self.assertEqual(self.ports(earlier), [2])
        self.throws = iter([6])
        self.assertEqual(self.ports(balancer.begin(None)), [3])
        self.assertEqual(ends_of(balancer.group), (1, 2, 7))
