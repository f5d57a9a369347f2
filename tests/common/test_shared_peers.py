"""
Tests for L{sniproxy.common.shared_peers}.
"""

from __future__ import annotations

from sniproxy.addresses import Address
from sniproxy.balancing.peers import Peer
from sniproxy.balancing.shared import SharedPeer
from sniproxy.common.shared_memory import BUCKET, nothing_to_mend
from sniproxy.common.shared_peers import SharedPeers, shape_of
from tests.support.tables import TableCase


def peer(port: int, **settings: object) -> Peer:
    """
    A peer that nobody else knows.
    """
    return Peer(Address("inet", "127.0.0.1", port), "b", **settings)  # type: ignore[arg-type]


class SharedPeersTests(TableCase):
    """
    Two workers with an upstream.
    """

    def setUp(self) -> None:
        self.table = self.master(shape_of(65536, 2))

    def worker_of(self, seat: int, name: str = "u") -> SharedPeers:
        """
        An upstream of a worker that is born.
        """
        return SharedPeers(self.worker(self.table, seat), name)

    def held(self) -> int:
        """
        How many rows are taken.
        """
        self.table.acquire()
        self.table.release()
        return sum(map(bool, self.table.words))

    def test_the_same(self) -> None:
        """
        What is written alike is the same peer in both workers; what differs in anything is another one, and so is the
        same peer of another upstream.
        """
        kinds: list[dict[str, object]] = [{}, {"weight": 2}, {"max_conns": 1}, {"max_fails": 2}, {"fail_timeout": 1.0}]
        kinds += [{"backup": True}, {"down": True}]
        workers = [self.worker_of(0), self.worker_of(1), self.worker_of(1, "other")]
        first, second, other = [
            shared.adopt((), [peer(1), peer(2), *(peer(3, **kind) for kind in kinds)]) for shared in workers
        ]
        for number, each in enumerate(first):
            each.fails = number + 1
            each.enter()
        self.assertEqual([(each.fails, each.conns) for each in second], [(number + 1, 1) for number in range(9)])
        self.assertEqual([(each.fails, each.conns) for each in other], [(0, 0)] * 9)
        self.assertEqual([each.effective_weight for each in other], [1, 1, 1, 2, 1, 1, 1, 1, 1])
        self.assertEqual(first[0].guard, workers[0]._table)

    def test_equal_ones(self) -> None:
        """
        Of equal ones each is a peer, in both workers the first and the second.
        """
        first, second = [self.worker_of(seat).adopt((), [peer(1), peer(1)]) for seat in range(2)]
        first[0].fails = 5
        self.assertEqual([each.fails for each in second], [5, 0])
        self.assertEqual(self.held(), 2)

    def test_change(self) -> None:
        """
        Those that stay are the same objects; those that go give their rows back when no worker has them or is
        connected; those that come again then are new.
        """
        one, two = self.worker_of(0), self.worker_of(1)
        first, second = one.adopt((), [peer(1), peer(2)]), two.adopt((), [peer(1), peer(2)])
        first[0].fails = 7
        second[0].enter()
        later = one.adopt(first, [first[1], peer(3)])
        self.assertIs(later[0], first[1])
        self.assertEqual((self.held(), second[0].fails), (3, 7))
        # it is gone here and still there
        self.assertEqual([each.fails for each in one.adopt(later, [peer(1)])], [7])
        two.adopt(second, [])
        self.assertEqual(self.held(), 1)
        one.adopt(one.adopt((), [peer(1)]), [])
        self.assertEqual(self.held(), 1)

    def test_new_after_all(self) -> None:
        """
        When a connection was the last that a peer had, who comes next finds nothing known.
        """
        one = self.worker_of(0)
        (known,) = one.adopt((), [peer(1)])
        known.fails = 7
        known.enter()
        one.adopt([known], [])
        self.assertEqual(self.held(), 1)
        known.leave()
        self.assertEqual((self.held(), known.fails), (0, 7))
        self.assertEqual([each.fails for each in one.adopt((), [peer(1)])], [0])

    def test_who_came_later_and_stays(self) -> None:
        """
        Of equal ones the second may stay alone; who comes then is another one.
        """
        one = self.worker_of(0)
        first = one.adopt((), [peer(1), peer(1)])
        later = one.adopt(first, [first[1], peer(1)])
        self.assertEqual(len({each.identity for each in later if isinstance(each, SharedPeer)}), 2)
        self.assertEqual(self.held(), 2)

    def test_no_room(self) -> None:
        """
        Who finds no room is a peer of one worker alone.
        """
        one = self.worker_of(0)
        for row in range(self.table.shape.rows):
            self.table.words[row] = row + 1 << 4
            self.table.cells[row] = 1
        (alone,) = one.adopt((), [peer(1)])
        self.assertNotIsInstance(alone, SharedPeer)
        self.assertEqual(one.adopt([alone], [alone]), (alone,))
        self.assertEqual(one.adopt([alone], []), ())

    def test_the_dead(self) -> None:
        """
        The connections of a worker that died do not count any more; what it learned does, where others have the peer.
        """
        first, second = [self.worker_of(seat).adopt((), [peer(1)]) for seat in range(2)]
        first[0].enter()
        first[0].fails = 3
        self.table.clear(0, nothing_to_mend)
        self.assertEqual((second[0].conns, second[0].fails), (0, 3))
        (again,) = self.worker_of(0).adopt((), [peer(1)])
        self.assertEqual(again.fails, 3)
        for seat in range(2):
            self.table.clear(seat, nothing_to_mend)
        self.assertEqual(self.held(), 0)

    def test_room_for(self) -> None:
        """
        There is room for what the size of the zone suggests, and for twice those that are written down.
        """
        self.assertEqual(shape_of(65536, 2).rows, 256)
        self.assertEqual(shape_of(32768, 1000).rows, 4000)
        self.assertEqual(shape_of(0, 0).rows, BUCKET)
