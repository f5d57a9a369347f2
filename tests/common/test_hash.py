"""
Tests for L{sniproxy.common.hash}.
"""

from __future__ import annotations

from bisect import bisect_left
from zlib import crc32

from twisted.plugin import IPlugin
from zope.interface.verify import verifyObject

from sniproxy.balancing.hash import Circle
from sniproxy.common.hash import hash_
from sniproxy.common.upstream import groups
from sniproxy.interfaces import IModule
from tests.support.balanced import BalancedTestCase
from tests.support.sessions import configured


class HashTests(BalancedTestCase):
    """
    The directive at work.
    """

    def test_interfaces(self) -> None:
        """
        The module is a plugin, and does nothing by itself.
        """
        self.assertTrue(verifyObject(IModule, hash_))
        self.assertTrue(IPlugin.providedBy(hash_))
        self.assertIsNone(hash_.attach(None, None))  # type: ignore[func-returns-value, arg-type]

    def test_by_variable(self) -> None:
        """
        The key is a text with variables, rendered for each session.
        """
        world = self.world("hash $remote_addr;")
        hosts = [f"192.0.2.{number}" for number in range(1, 9)]
        first = [self.port(world, host) for host in hosts]
        self.assertEqual([self.port(world, host) for host in hosts], first)
        self.assertEqual(set(first), {1, 2, 3})
        rests = [(crc32(host.encode()) >> 16 & 0x7FFF) % 3 + 1 for host in hosts]
        self.assertEqual(first, rests)

    def test_bytes(self) -> None:
        """
        A key that is no text is hashed by its bytes.
        """
        world = self.world("hash $binary_remote_addr;")
        for number in (1, 128, 255):
            rest = (crc32(bytes((192, 0, 2, number))) >> 16 & 0x7FFF) % 3 + 1
            self.assertEqual(self.port(world, f"192.0.2.{number}"), rest)

    def test_consistent(self) -> None:
        """
        With consistent the same client goes to the same server, wherever else others go.
        """
        world = self.world("hash $remote_addr consistent;")
        hosts = [f"192.0.2.{number}" for number in range(1, 20)]
        first = [self.port(world, host) for host in hosts]
        self.assertEqual([self.port(world, host) for host in hosts], first)
        circle = Circle(groups(world.build)["back"].group)
        for host, port in zip(hosts, first, strict=True):
            at = bisect_left(circle.hashes, crc32(host.encode())) % len(circle.hashes)
            self.assertEqual([port - 1], circle.places[at])

    def test_faults(self) -> None:
        """
        Another word, a variable nobody provides and backups after it are refused; backups before it are not.
        """
        self.assertEqual(self.complaints("hash x foo;"), ['invalid parameter "foo" in /etc/edge.conf:2'])
        self.assertEqual(self.complaints("hash $nothing;"), ['unknown "nothing" variable in /etc/edge.conf:2'])
        self.assertEqual(
            self.complaints("hash x;\nserver 192.0.2.2:4 backup;"),
            ['balancing method does not support parameter "backup" in /etc/edge.conf:3'],
        )
        configured("stream { upstream b { server 192.0.2.2:4 backup; server 192.0.2.2:5; hash x; } }")
