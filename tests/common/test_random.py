"""
Tests for L{sniproxy.common.random_}.
"""

from __future__ import annotations

from twisted.plugin import IPlugin
from zope.interface.verify import verifyObject

from sniproxy.common.random_ import random
from sniproxy.common.upstream import groups
from sniproxy.interfaces import IModule
from tests.support.balanced import BalancedTestCase


class RandomTests(BalancedTestCase):
    """
    The directive at work.
    """

    def test_interfaces(self) -> None:
        """
        The module is a plugin, and does nothing by itself.
        """
        self.assertTrue(verifyObject(IModule, random))
        self.assertTrue(IPlugin.providedBy(random))
        self.assertIsNone(random.attach(None, None))  # type: ignore[func-returns-value, arg-type]

    def test_chance(self) -> None:
        """
        Clients go anywhere.
        """
        world = self.world("random;")
        self.assertEqual({self.port(world) for _ in range(64)}, {1, 2, 3})

    def test_two(self) -> None:
        """
        With two, a server that is busy has no more than it must.
        """
        for line in ("random two;", "random two least_conn;"):
            world = self.world(line)
            groups(world.build)["back"].group.peers[1].conns = 1000
            self.assertEqual({self.port(world) for _ in range(64)}, {1, 3})

    def test_faults(self) -> None:
        """
        Other words are refused, least_time by its name, and backups after it.
        """
        self.assertEqual(self.complaints("random three;"), ['invalid parameter "three" in /etc/edge.conf:2'])
        self.assertEqual(self.complaints("random two most;"), ['invalid parameter "most" in /etc/edge.conf:2'])
        self.assertEqual(
            self.complaints("random two least_time=connect;"),
            ['"least_time" method is not supported by sniproxy: nginx sells it in /etc/edge.conf:2'],
        )
        self.assertEqual(
            self.complaints("random;\nserver 192.0.2.2:4 backup;"),
            ['balancing method does not support parameter "backup" in /etc/edge.conf:3'],
        )
