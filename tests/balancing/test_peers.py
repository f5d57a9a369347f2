"""
Tests for L{sniproxy.balancing.peers}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.addresses import Address
from sniproxy.balancing.peers import Group, Peer


def peer(port: int = 1, **settings: object) -> Peer:
    """
    A peer on loopback.
    """
    return Peer(Address("inet", "127.0.0.1", port), f"b:{port}", **settings)  # type: ignore[arg-type]


class PeerTests(SynchronousTestCase):
    """
    What is known of one peer.
    """

    def test_begins_with_its_whole_weight(self) -> None:
        """
        The effective weight of a new peer is its weight.
        """
        self.assertEqual((peer(weight=7).effective_weight, peer().effective_weight), (7, 1))

    def test_name_is_the_address(self) -> None:
        """
        Logs call a peer by its address and not by the text of its server line.
        """
        self.assertEqual(peer(8080).name, "127.0.0.1:8080")

    def test_connections(self) -> None:
        """
        They come and go.
        """
        one = peer()
        one.enter()
        one.enter()
        one.leave()
        self.assertEqual(one.conns, 1)

    def test_full(self) -> None:
        """
        max_conns is the count that may not be exceeded, and none means any number.
        """
        limited, free = peer(max_conns=2), peer()
        limited.conns = free.conns = 1
        self.assertEqual((limited.full(), free.full()), (False, False))
        limited.conns = free.conns = 2
        self.assertEqual((limited.full(), free.full()), (True, False))

    def test_aside_for_fail_timeout(self) -> None:
        """
        A peer that failed max_fails times is aside until more than fail_timeout seconds have passed.
        """
        one = peer(max_fails=2, fail_timeout=5.0)
        self.assertFalse(one.failed(100.0))
        self.assertFalse(one.aside(100.0))
        self.assertTrue(one.failed(101.0))
        self.assertTrue(one.aside(106.0))
        self.assertFalse(one.aside(106.5))

    def test_max_fails_zero_is_never_aside(self) -> None:
        """
        With max_fails=0 failures are counted, take no weight and put nobody aside.
        """
        one = peer(max_fails=0, weight=4)
        self.assertFalse(one.failed(1.0))
        self.assertEqual((one.aside(1.0), one.effective_weight, one.fails), (False, 4, 1))

    def test_failure_takes_weight(self) -> None:
        """
        Each failure takes weight / max_fails, rounded down, and never goes below nothing.
        """
        one = peer(max_fails=3, weight=10)
        weights = []
        for _ in range(4):
            one.failed(1.0)
            weights.append(one.effective_weight)
        self.assertEqual(weights, [7, 4, 1, 0])

    def test_success_forgives_only_after_a_new_chance(self) -> None:
        """
        Failures are forgotten when the peer worked in a chance given after them, not by a session that began before.
        """
        one = peer()
        one.failed(10.0)
        one.worked()
        self.assertEqual(one.fails, 1)
        one.checked = 21.0
        one.worked()
        self.assertEqual(one.fails, 0)


class GroupTests(SynchronousTestCase):
    """
    Peers together.
    """

    def test_backups_apart(self) -> None:
        """
        Backups go to a group of their own, in file order, under the same name.
        """
        a, b, c = peer(1), peer(2, backup=True), peer(3)
        group = Group.of("back", (a, b, c))
        self.assertEqual(group.peers, (a, c))
        assert group.backup is not None
        self.assertEqual((group.backup.peers, group.backup.name, group.backup.backup), ((b,), "back", None))

    def test_single(self) -> None:
        """
        A lone peer is single, with a second one or a backup it is not.
        """
        self.assertTrue(Group.of("x", [peer()]).single)
        self.assertFalse(Group.of("x", [peer(), peer()]).single)
        self.assertFalse(Group.of("x", [peer(), peer(backup=True)]).single)

    def test_tries(self) -> None:
        """
        Every peer that is not down is one try, backups too.
        """
        group = Group.of("x", [peer(), peer(down=True), peer(backup=True), peer(backup=True, down=True)])
        self.assertEqual(group.tries, 2)
        self.assertEqual(Group.of("x", [peer(down=True)]).tries, 0)
