"""
Tests for L{sniproxy.balancing.roster}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.addresses import Address
from sniproxy.balancing.peers import Peer
from sniproxy.balancing.roster import Member, renewed


def member(port: int, server: str = "a", weight: int = 1, backup: bool = False) -> Member:
    """
    On a port of loopback.
    """
    return Member(Address("inet", "127.0.0.1", port), server, weight, backup)


def make(member: Member) -> Peer:
    """
    A peer that is new.
    """
    return Peer(member.address, member.server, member.weight, backup=member.backup)


class RosterTests(SynchronousTestCase):
    """
    Who stays, who goes and who is new.
    """

    def setUp(self) -> None:
        self.source, self.other = object(), object()
        self.fixed = make(member(1))
        self.peers = renewed([self.fixed], self.other, [member(2)], make)
        self.peers = renewed(self.peers, self.source, [member(3), member(4), member(5)], make)

    def ports(self, peers: tuple[Peer, ...]) -> list[int]:
        """
        Their ports.
        """
        return [peer.address.port for peer in peers]

    def test_new_come_last(self) -> None:
        """
        Who is new comes behind those who are there, in the order of the answer.
        """
        self.assertEqual(self.ports(self.peers), [1, 2, 3, 4, 5])
        self.assertEqual(self.ports(renewed(self.peers, self.other, [member(7), member(6), member(2)], make)), [
            1, 2, 3, 4, 5, 7, 6
        ])  # fmt: skip

    def test_who_stays_is_the_same(self) -> None:
        """
        Those who stay keep their places and what is known of them, whatever the order of the answer is.
        """
        peers = renewed(self.peers, self.source, [member(5), member(6), member(3)], make)
        self.assertEqual(self.ports(peers), [1, 2, 3, 5, 6])
        self.assertIs(peers[2], self.peers[2])
        self.assertIs(peers[3], self.peers[4])

    def test_others_are_left_alone(self) -> None:
        """
        When a name has nobody any more, those of others stay, and those written down.
        """
        self.assertEqual(renewed(self.peers, self.source, [], make), self.peers[:2])

    def test_what_makes_the_difference(self) -> None:
        """
        Another server's name, another weight or another rank is somebody else.
        """
        (peer,) = renewed([], self.source, [member(3)], make)
        for other in (member(3, "b"), member(3, weight=2), member(3, backup=True)):
            (now,) = renewed([peer], self.source, [other], make)
            self.assertIsNot(now, peer)
            self.assertEqual((now.server, now.weight, now.backup), (other.server, other.weight, other.backup))

    def test_twice(self) -> None:
        """
        An answer that has one twice means two, and one of them goes when it has it once.
        """
        twice = renewed([], self.source, [member(3), member(3)], make)
        self.assertEqual(len(twice), 2)
        self.assertEqual(renewed(twice, self.source, [member(3)], make), twice[:1])
