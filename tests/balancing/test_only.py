"""
Tests for L{sniproxy.balancing.only}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sniproxy.addresses import Address
from sniproxy.balancing.choice import Balancer
from sniproxy.balancing.only import Only
from sniproxy.balancing.peers import Group, Peer
from sniproxy.interfaces import IChoice


class Lock:
    """
    It tells what was done with it.
    """

    def __init__(self) -> None:
        self.told = ""

    def acquire(self) -> None:
        """
        Taken.
        """
        self.told += "("

    def release(self) -> None:
        """
        Given back.
        """
        self.told += ")"


def group(guard: Lock | None = None, **settings: object) -> Group:
    """
    One peer, which several processes know where there is a lock.
    """
    peer = Peer(Address("inet", "127.0.0.1", 1), **settings)  # type: ignore[arg-type]
    peer.guard = guard
    return Group.of("back", [peer])


class OnlyTests(SynchronousTestCase):
    """
    The walk through a group of one.
    """

    def test_interface(self) -> None:
        """
        It is what a balancer of any method gives out for a group of one, and what the interface says.
        """
        choice = Balancer(group(), lambda subject: 0.0).begin(None)
        self.assertIsInstance(choice, Only)
        self.assertTrue(verifyObject(IChoice, choice))
        self.assertEqual(choice.name, "back")

    def test_never_aside(self) -> None:
        """
        A lone peer is given however often it failed, counts no failures and is one try.
        """
        alone = group()
        (a,) = alone.peers
        for _ in range(3):
            choice = Only(alone)
            self.assertEqual(choice.tries, 1)
            self.assertIs(choice.next(), a)
            self.assertEqual(a.conns, 1)
            choice.connected()
            choice.release(True)
            self.assertEqual((choice.tries, a.fails, a.conns), (0, 0, 0))

    def test_released_once(self) -> None:
        """
        A peer that is not in use is not released, neither before nor after it was.
        """
        alone = group()
        choice = Only(alone)
        choice.release(True)
        self.assertEqual((choice.tries, alone.peers[0].conns), (1, 0))
        choice.next()
        choice.release(False)
        choice.release(False)
        self.assertEqual((choice.tries, alone.peers[0].conns), (0, 0))

    def test_down(self) -> None:
        """
        A lone peer that is down is not given, and is no try.
        """
        choice = Only(group(down=True))
        self.assertIsNone(choice.next())
        self.assertEqual(choice.tries, 0)

    def test_full(self) -> None:
        """
        Nor is one that has all the connections it may have, until it has one less.
        """
        alone = group(max_conns=1)
        first, second = Only(alone), Only(alone)
        self.assertIs(first.next(), alone.peers[0])
        self.assertIsNone(second.next())
        first.release(False)
        self.assertIs(second.next(), alone.peers[0])

    def test_locked(self) -> None:
        """
        Where others know the peer, too, and its connections are limited, there is a lock around the question.
        """
        lock = Lock()
        alone = group(lock, max_conns=1)
        self.assertIs(Only(alone).next(), alone.peers[0])
        self.assertIsNone(Only(alone).next())
        self.assertEqual(lock.told, "()()")
        Only(group(lock)).next()
        self.assertEqual(lock.told, "()()")
