"""
Tests for L{sniproxy.balancing.choice}.
"""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sniproxy.addresses import Address
from sniproxy.balancing.choice import Balancer, Choice
from sniproxy.balancing.peers import Group, Peer
from sniproxy.interfaces import IBalancer, IChoice


class FirstChoice(Choice):
    """
    The simplest method there is: the first available peer.
    """

    __slots__ = ()

    def pick(self, group: Group, now: float) -> int | None:
        """
        The first that can be had.
        """
        return next((n for n, peer in enumerate(group.peers) if self.available(n, peer, now)), None)


class First(Balancer):
    """
    Sessions of L{FirstChoice}.
    """

    choice = FirstChoice


def peer(port: int, **settings: object) -> Peer:
    """
    A peer on loopback.
    """
    return Peer(Address("inet", "127.0.0.1", port), **settings)  # type: ignore[arg-type]


class ChoiceTests(SynchronousTestCase):
    """
    The walk through a group.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000)
        self.disabled: list[tuple[object, str]] = []

    def balancer(self, *peers: Peer) -> First:
        """
        Over these peers, on the test's clock.
        """
        return First(
            Group.of("back", peers),
            lambda subject: self.clock.seconds(),
            lambda subject, peer: self.disabled.append((subject, peer.name)),
        )

    def test_interfaces(self) -> None:
        """
        Balancers and choices are what the interfaces say.
        """
        balancer = self.balancer(peer(1))
        self.assertTrue(verifyObject(IBalancer, balancer))
        self.assertTrue(verifyObject(IChoice, balancer.begin(None)))

    def test_method_is_needed(self) -> None:
        """
        A choice without a method refuses to guess.
        """
        choice = Balancer(Group.of("back", [peer(1), peer(2)]), lambda subject: self.clock.seconds()).begin(None)
        self.assertRaises(NotImplementedError, choice.next)

    def test_each_peer_once_in_a_session(self) -> None:
        """
        A session is given each peer once, then nothing.
        """
        a, b = peer(1), peer(2)
        choice = self.balancer(a, b).begin(None)
        given = []
        for _ in range(3):
            given.append(choice.next())
            choice.release(False)
        self.assertEqual(given, [a, b, None])

    def test_sessions_do_not_share_what_they_tried(self) -> None:
        """
        What one session has tried another may still have.
        """
        a, b = peer(1), peer(2)
        balancer = self.balancer(a, b)
        balancer.begin(None).next()
        self.assertIs(balancer.begin(None).next(), a)

    def test_connections_are_counted(self) -> None:
        """
        A peer has a connection from next to release, and a second release changes nothing.
        """
        a, b = peer(1), peer(2)
        choice = self.balancer(a, b).begin(None)
        choice.next()
        self.assertEqual((a.conns, b.conns), (1, 0))
        choice.release(False)
        choice.release(True)
        self.assertEqual((a.conns, a.fails, choice.tries), (0, 0, 1))

    def test_full_peer_is_passed_over(self) -> None:
        """
        A peer with max_conns connections is not given, and is given again when one ends.
        """
        a, b = peer(1, max_conns=1), peer(2)
        balancer = self.balancer(a, b)
        first = balancer.begin(None)
        self.assertIs(first.next(), a)
        self.assertIs(balancer.begin(None).next(), b)
        first.release(False)
        self.assertIs(balancer.begin(None).next(), a)

    def test_down_peer_is_never_given(self) -> None:
        """
        A peer that is down is passed over.
        """
        b = peer(2)
        self.assertIs(self.balancer(peer(1, down=True), b).begin(None).next(), b)

    def test_failed_peer_is_aside_and_comes_back(self) -> None:
        """
        A failed peer is not given to anyone for fail_timeout, then gets one chance in each fail_timeout.
        """
        a, b = peer(1), peer(2)
        balancer = self.balancer(a, b)
        choice = balancer.begin("subject")
        choice.next()
        choice.release(True)
        self.assertEqual(self.disabled, [("subject", "127.0.0.1:1")])
        self.assertIs(balancer.begin(None).next(), b)
        self.clock.advance(10)
        self.assertIs(balancer.begin(None).next(), b)
        self.clock.advance(0.5)
        chance = balancer.begin(None)
        self.assertIs(chance.next(), a)
        self.assertIs(balancer.begin(None).next(), b)
        chance.connected()
        self.assertEqual(a.fails, 0)
        self.assertIs(balancer.begin(None).next(), a)

    def test_end_of_session_forgives_too(self) -> None:
        """
        A session that ends well forgives the failures before it.
        """
        a, b = peer(1), peer(2)
        balancer = self.balancer(a, b)
        for failed in (True, False):
            choice = balancer.begin(None)
            self.assertIs(choice.next(), a)
            choice.release(failed)
            self.clock.advance(11)
        self.assertEqual(a.fails, 0)

    def test_not_yet_aside_is_not_told(self) -> None:
        """
        Nobody is told of a failure that does not put the peer aside.
        """
        choice = self.balancer(peer(1, max_fails=2), peer(2)).begin(None)
        choice.next()
        choice.release(True)
        self.assertEqual(self.disabled, [])

    def test_nobody_need_listen(self) -> None:
        """
        Without a listener failures are still counted.
        """
        a = peer(1)
        choice = First(Group.of("back", [a, peer(2)]), lambda subject: self.clock.seconds()).begin(None)
        choice.next()
        choice.release(True)
        self.assertEqual(a.fails, 1)

    def test_backups_when_nobody_else(self) -> None:
        """
        Backups are asked when every other peer was tried, and the walk ends behind them.
        """
        a, b, c = peer(1), peer(2, backup=True), peer(3, backup=True)
        choice = self.balancer(a, b, c).begin(None)
        given = []
        for _ in range(4):
            given.append(choice.next())
            choice.release(True)
        self.assertEqual(given, [a, b, c, None])

    def test_backups_only_while_needed(self) -> None:
        """
        A new session begins with the primary peers again, once they are back.
        """
        a, b = peer(1), peer(2, backup=True)
        balancer = self.balancer(a, b)
        choice = balancer.begin(None)
        choice.next()
        choice.release(True)
        self.assertIs(balancer.begin(None).next(), b)
        self.clock.advance(11)
        self.assertIs(balancer.begin(None).next(), a)

    def test_tries_go_down_and_may_be_lowered(self) -> None:
        """
        Each release is one try less, and a lowered count stays at nothing.
        """
        choice = self.balancer(peer(1), peer(2), peer(3)).begin(None)
        self.assertEqual(choice.tries, 3)
        choice.next()
        choice.release(True)
        self.assertEqual(choice.tries, 2)
        choice.tries = 0
        choice.next()
        choice.release(True)
        self.assertEqual(choice.tries, 0)

    def test_connected_without_a_peer(self) -> None:
        """
        News of a connection without a peer in use changes nothing.
        """
        choice = self.balancer(peer(1), peer(2)).begin(None)
        choice.connected()
        self.assertEqual(choice.tries, 2)

    def test_others_from_now_on(self) -> None:
        """
        When the group changes, sessions that have begun go on with theirs, and those that begin have the new one.
        """
        a, b, c = peer(1), peer(2), peer(3)
        balancer = self.balancer(a, b)
        earlier = balancer.begin(None)
        earlier.next()
        balancer.renew(Group.of("back", [b, c]))
        later = balancer.begin(None)
        self.assertEqual([later.next(), later.next(), later.next()], [b, c, None])
        earlier.release(True)
        self.assertEqual([earlier.next(), earlier.next()], [b, None])

    def test_guard(self) -> None:
        """
        Where others know the peers, too, their lock is held while one is picked and while a failure is counted, but not
        while that is told; a peer that nobody else knows needs no lock for its failure.
        """

        class Lock:
            """
            It remembers.
            """

            def acquire(self) -> None:
                """
                Taken.
                """
                told.append("[")

            def release(self) -> None:
                """
                Given back.
                """
                told.append("]")

        told: list[str] = []
        a, b = peer(1), peer(2)
        a.guard = Lock()
        balancer = First(Group.of("back", [a, b]), lambda subject: 1.0, lambda subject, peer: told.append(peer.name))
        choice = balancer.begin(None)
        for _ in range(2):
            choice.next()
            choice.release(True)
        self.assertEqual(told, ["[", "]", "[", "]", a.name, "[", "]", b.name])
