"""
Tests for L{sniproxy.common.zones}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.common.zones import PAGE, Room, check, declare
from sniproxy.config.build import Build
from sniproxy.config.grammar import Node
from sniproxy.errors import ConfigError

NODE = Node("zone", ("a",), (False,), None, "edge.conf", 9)
LATER = Node("zone", ("a",), (False,), None, "edge.conf", 10)


class ZonesTests(SynchronousTestCase):
    """
    Names, uses and sizes.
    """

    def setUp(self) -> None:
        self.build = Build([], file="edge.conf")

    def test_one_name_one_zone(self) -> None:
        """
        Who speaks of a zone again means the same one; its size may be said at any time.
        """
        zone = declare(self.build, "a", 0, "upstream", NODE)
        self.assertIs(declare(self.build, "a", 65536, "upstream", LATER), zone)
        self.assertIs(declare(self.build, "a", 0, "upstream", LATER), zone)
        self.assertIs(declare(self.build, "a", 65536, "upstream", LATER), zone)
        self.assertEqual((zone.size, zone.node), (65536, NODE))
        self.assertIsNot(declare(self.build, "b", 65536, "upstream", NODE), zone)

    def test_conflicts(self) -> None:
        """
        Another use and another size are refused.
        """
        declare(self.build, "a", 65536, "upstream", NODE)
        error = self.assertRaises(ConfigError, declare, self.build, "a", 0, "limit_conn", NODE)
        self.assertEqual(error.message, 'the shared memory zone "a" is already declared for a different use')
        error = self.assertRaises(ConfigError, declare, self.build, "a", 32768, "upstream", NODE)
        self.assertEqual(
            error.message, 'the size 32768 of shared memory zone "a" conflicts with already declared size 65536'
        )

    def test_no_size(self) -> None:
        """
        A zone whose size nobody has said is an error where it was first spoken of; whoever uses it looks.
        """
        check(self.build, "upstream")
        declare(self.build, "a", 0, "upstream", NODE)
        declare(self.build, "a", 0, "upstream", LATER)
        declare(self.build, "b", 65536, "upstream", LATER)
        check(self.build, "limit_conn")
        self.assertEqual(self.build.errors, [])
        check(self.build, "upstream")
        self.assertEqual(
            [str(error) for error in self.build.errors], ['zero size shared memory zone "a" in edge.conf:9']
        )


class RoomTests(SynchronousTestCase):
    """
    How much fits.
    """

    def fill(self, room: Room, size: int) -> int:
        """
        How many of a size go in.
        """
        count = 0
        while room.take(size):
            count += 1
        return count

    def test_pages(self) -> None:
        """
        The smallest zone has seven pages; what is in them depends on the size, rounded up.
        """
        for size, count in ((64, 64), (40, 64), (65, 32), (291, 8), (2048, 2), (33, 64), (32, 127), (8, 504)):
            self.assertEqual(self.fill(Room(8 * PAGE), size), 7 * count, size)
        self.assertEqual(self.fill(Room(1024 * 1024), 64), 254 * 64)

    def test_each_size_has_its_pages(self) -> None:
        """
        A page belongs to one size, until it is empty.
        """
        room = Room(8 * PAGE)
        self.assertTrue(room.take(8))
        self.assertEqual(self.fill(room, 64), 6 * 64)
        self.assertTrue(room.take(8))
        room.give(8)
        room.give(8)
        self.assertEqual(self.fill(room, 64), 64)
        for _ in range(64):
            room.give(64)
        self.assertEqual(self.fill(room, 2048), 2)
