"""
Tests for L{sniproxy.balancing.shared}.
"""

from __future__ import annotations

from array import array

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.addresses import Address
from sniproxy.balancing.choice import Balancer, Choice
from sniproxy.balancing.least_conn import LeastConn
from sniproxy.balancing.peers import Group, Peer
from sniproxy.balancing.round_robin import RoundRobin
from sniproxy.balancing.shared import FIELDS, Counts, Place, SharedPeer


class Memory:
    """
    What several workers know of some peers, and the lock of it.

    @ivar held: who has the lock, if anybody.
    @ivar locks: how often it was taken.
    @ivar given_back: whose places.
    """

    def __init__(self, peers: int) -> None:
        self.numbers = array("q", [0]) * (peers * FIELDS)
        self.moments = array("d", [0.0]) * (peers * FIELDS)
        self.counts = Counts(array("I", [0]) * (peers * 2), peers)
        self.held = False
        self.locks = 0
        self.given_back: list[int] = []

    def acquire(self) -> None:
        """
        @see: L{sniproxy.balancing.peers.Guard}
        """
        assert not self.held
        self.held = True
        self.locks += 1

    def release(self) -> None:
        """
        @see: L{sniproxy.balancing.peers.Guard}
        """
        assert self.held
        self.held = False

    def peer(self, like: Peer, row: int, worker: int) -> SharedPeer:
        """
        One peer, as one worker sees it.
        """
        place = Place(self.numbers, self.moments, row * FIELDS, self.counts, row, worker * self.counts.stride + row)
        return SharedPeer(like, row, place, self, lambda: self.given_back.append(row))


class SharedCase(SynchronousTestCase):
    """
    Two workers with the same peers.
    """

    def setUp(self) -> None:
        self.now = 100.0
        self.put_aside: list[str] = []

    def made(self, *likes: Peer) -> tuple[Memory, list[list[SharedPeer]]]:
        """
        What they know, and the peers of each.
        """
        memory = Memory(len(likes))
        workers = [[memory.peer(like, row, worker) for row, like in enumerate(likes)] for worker in range(2)]
        for peer in workers[0]:
            peer.begin()
        return memory, workers

    def clock(self, subject: object) -> float:
        """
        The same for both.
        """
        return self.now

    def disabled(self, subject: object, peer: Peer) -> None:
        """
        Somebody is put aside.
        """
        self.put_aside.append(peer.server)

    def balancers(self, method: type[Balancer], workers: list[list[SharedPeer]]) -> list[Balancer]:
        """
        One for each worker.
        """
        return [method(Group.of("u", peers), self.clock, self.disabled) for peers in workers]


def peer(name: str, **settings: object) -> Peer:
    """
    A peer as it is configured.
    """
    return Peer(Address("inet", "127.0.0.1", ord(name)), name, **settings)  # type: ignore[arg-type]


def taken(choice: Choice) -> str:
    """
    Whom it takes.
    """
    found = choice.next()
    return found.server if found is not None else "-"


class SharedPeerTests(SharedCase):
    """
    One peer.
    """

    def test_as_configured(self) -> None:
        """
        It is what it was made like, whatever was known of that one.
        """
        like = peer("a", weight=3, max_conns=4, max_fails=5, fail_timeout=6.0, backup=True, down=True)
        like.source, like.fails, like.conns = "there", 7, 8
        _, ((first,), (second,)) = self.made(like)
        for each in (first, second):
            self.assertEqual((each.address, each.server, each.name), (like.address, "a", "127.0.0.1:97"))
            self.assertEqual((each.weight, each.max_conns, each.max_fails, each.fail_timeout), (3, 4, 5, 6.0))
            self.assertEqual((each.backup, each.down, each.source, each.identity), (True, True, "there", 0))
            self.assertEqual((each.fails, each.conns, each.current_weight, each.effective_weight), (0, 0, 0, 3))
            self.assertEqual((each.accessed, each.checked), (0.0, 0.0))

    def test_what_one_learns(self) -> None:
        """
        What one worker writes, the other one reads.
        """
        _, ((first, other), (second, _)) = self.made(peer("a"), peer("b"))
        first.fails, first.current_weight, first.effective_weight = 1, -2, 3
        first.accessed, first.checked = 4.5, 5.5
        self.assertEqual((second.fails, second.current_weight, second.effective_weight), (1, -2, 3))
        self.assertEqual((second.accessed, second.checked), (4.5, 5.5))
        self.assertEqual((other.fails, other.current_weight, other.effective_weight, other.checked), (0, 0, 1, 0.0))

    def test_connections(self) -> None:
        """
        Connections are those of all; each changes its own.
        """
        memory, ((first, _), (second, _)) = self.made(peer("a", max_conns=3), peer("b"))
        first.enter()
        second.enter()
        second.enter()
        self.assertEqual((first.conns, second.conns, first.full()), (3, 3, True))
        self.assertEqual(list(memory.counts.cells), [1, 0, 2, 0])
        second.leave()
        first.conns = 5
        self.assertEqual((list(memory.counts.cells), second.conns), ([4, 0, 1, 0], 5))

    def test_retired(self) -> None:
        """
        One that has no connections gives its place back at once; what was known stays with it, for those who have it
        still.
        """
        memory, ((first,), (second,)) = self.made(peer("a"))
        second.enter()
        first.failed(50.0)
        first.retire()
        self.assertEqual((memory.given_back, first.fails, first.checked, first.conns), ([0], 1, 50.0, 0))
        first.enter()
        first.fails = 9
        first.leave()
        self.assertEqual((memory.given_back, second.fails, second.conns), ([0], 1, 1))

    def test_retired_while_connected(self) -> None:
        """
        One that has connections gives its place back with the last of them.
        """
        memory, ((first,), _) = self.made(peer("a"))
        first.enter()
        first.enter()
        first.retire()
        first.leave()
        self.assertEqual((memory.given_back, first.conns), ([], 1))
        first.leave()
        self.assertEqual((memory.given_back, first.conns), ([0], 0))


class ChoiceTests(SharedCase):
    """
    Choices of both.
    """

    def test_turns(self) -> None:
        """
        Workers take turns as if they were one.
        """
        memory, workers = self.made(peer("a", weight=5), peer("b"), peer("c"))
        balancers = self.balancers(RoundRobin, workers)
        chosen = [taken(balancers[number % 2].begin(None)) for number in range(7)]
        self.assertEqual("".join(chosen), "aabacaa")
        self.assertEqual((memory.locks, memory.held), (7, False))

    def test_least_conn(self) -> None:
        """
        The fewest connections are the fewest of all workers.
        """
        _, workers = self.made(peer("a"), peer("b"))
        first, second = self.balancers(LeastConn, workers)
        choices = [each.begin(None) for each in (first, second, second, first)]
        self.assertEqual("".join(map(taken, choices)), "abba")
        for choice in choices[::3]:
            choice.release(False)
        self.assertEqual(taken(second.begin(None)), "a")

    def test_max_conns(self) -> None:
        """
        A peer has no more connections than it may have, whoever made them.
        """
        _, workers = self.made(peer("a", max_conns=2), peer("b", backup=True))
        balancers = self.balancers(RoundRobin, workers)
        self.assertEqual("".join(taken(balancers[number % 2].begin(None)) for number in range(4)), "aabb")

    def test_failures(self) -> None:
        """
        A peer that failed in one worker is put aside in the other one, and gets its new chance in whichever comes
        first.
        """
        memory, workers = self.made(peer("a", max_fails=2), peer("b"))
        first, second = self.balancers(RoundRobin, workers)
        for balancer in (first, second):
            choice = balancer.begin(None)
            while taken(choice) != "a":
                choice.release(False)
            choice.release(True)
        self.assertEqual((self.put_aside, memory.held), (["a"], False))
        self.assertEqual([taken(balancer.begin(None)) for balancer in (first, second)], ["b", "b"])
        self.now += 11
        choice = first.begin(None)
        self.assertEqual(taken(choice), "a")
        self.assertEqual((workers[1][0].fails, taken(second.begin(None))), (2, "b"))
        choice.connected()
        self.assertEqual(workers[1][0].fails, 0)

    def test_failed_in_the_end(self) -> None:
        """
        The lock is given back, whatever a method does.
        """
        memory, workers = self.made(peer("a"), peer("b"))

        class Broken(Choice):
            """
            It has no method.
            """

        choice = Broken(Group.of("u", workers[0]), None, self.clock)
        self.assertRaises(NotImplementedError, choice.next)
        self.assertFalse(memory.held)

    def test_single(self) -> None:
        """
        Where there is nothing to decide there is nothing to lock; connections are counted all the same.
        """
        memory, workers = self.made(peer("a"))
        first, second = self.balancers(RoundRobin, workers)
        choices = [first.begin(None), second.begin(None)]
        self.assertEqual("".join(map(taken, choices)), "aa")
        self.assertEqual((memory.locks, workers[0][0].conns), (0, 2))
        choices[0].release(True)
        self.assertEqual((memory.locks, workers[1][0].conns, workers[1][0].fails), (0, 1, 0))

    def test_single_with_a_limit(self) -> None:
        """
        One that may have so many connections is a decision.
        """
        memory, workers = self.made(peer("a", max_conns=1))
        first, second = self.balancers(RoundRobin, workers)
        self.assertEqual(taken(first.begin(None)) + taken(second.begin(None)), "a-")
        self.assertEqual(memory.locks, 2)

    def test_some_of_them(self) -> None:
        """
        A group has the lock of those that others know, be it only its backups.
        """
        memory, ((shared,), _) = self.made(peer("a", backup=True))
        self.assertIs(Group.of("u", (peer("b"), shared)).guard, memory)
        self.assertIs(Group.of("u", (peer("b"), peer("c"))).guard, None)
