"""
Tests for L{sniproxy.balancing.hash}.
"""

from __future__ import annotations

from typing import Any
from zlib import crc32

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.addresses import Address
from sniproxy.balancing.choice import Choice
from sniproxy.balancing.hash import POINTS, TRIES, Circle, ConsistentHash, Hash, points_of
from sniproxy.balancing.peers import Group, Peer


def peer(number: int, server: str = "", **more: Any) -> Peer:
    """
    A peer with a port of this number.
    """
    return Peer(Address("inet", "127.0.0.1", number), server or f"127.0.0.1:{number}", **more)


def ports(choice: Choice, count: int = 1) -> list[int]:
    """
    Whom one session is given, one after the other; 0 for nobody.
    """
    found = []
    for _ in range(count):
        given = choice.next()
        found.append(0 if given is None else given.address.port)
        choice.release(False)
    return found


def memcached(key: bytes, tries: int) -> list[int]:
    """
    The numbers of a key, as the documentation of Cache::Memcached has them.
    """
    found, total = [], 0
    for number in range(tries):
        total += crc32((str(number).encode() if number else b"") + key) >> 16 & 0x7FFF
        found.append(total)
    return found


class HashTests(SynchronousTestCase):
    """
    Keys by rest.
    """

    def balancer(self, *peers: Peer) -> Hash:
        """
        Over these peers; subjects are keys.
        """
        return Hash(Group.of("back", peers), lambda subject: 1000.0, key=lambda subject: bytes(subject))

    @settings(derandomize=True, deadline=None, database=None)
    @given(st.binary(min_size=1, max_size=20), st.lists(st.integers(1, 5), min_size=2, max_size=5))
    def test_arithmetic(self, key: bytes, weights: list[int]) -> None:
        """
        The walk of a key is that of Cache::Memcached: the sum of its hashes, by the sum of the weights.
        """
        shares = [number for number, weight in enumerate(weights, 1) for _ in range(weight)]
        expected: list[int] = []
        for value in memcached(key, TRIES + 1):
            port = shares[value % len(shares)]
            if port not in expected:
                expected.append(port)
        balancer = self.balancer(*(peer(number, weight=weight) for number, weight in enumerate(weights, 1)))
        self.assertEqual(ports(balancer.begin(key), len(expected)), expected)

    def test_known(self) -> None:
        """
        Some keys go where nginx sends them.
        """
        balancer = self.balancer(peer(1), peer(2, weight=2), peer(3))
        self.assertEqual(
            [ports(balancer.begin(b"127.0.0.%d" % number))[0] for number in range(1, 11)],
            [3, 2, 2, 2, 2, 3, 1, 3, 1, 2],
        )

    def test_gives_up(self) -> None:
        """
        When a key finds nobody, round robin does, for the rest of the session.
        """
        group = [peer(number, down=number < 40) for number in range(1, 43)]
        key = next(key for key in (b"%d" % n for n in range(99)) if all(v % 42 < 39 for v in memcached(key, TRIES + 1)))
        self.assertEqual(ports(self.balancer(*group).begin(key), 4), [40, 41, 42, 0])

    def test_no_key(self) -> None:
        """
        Sessions without a key take turns.
        """
        balancer = self.balancer(peer(1), peer(2))
        self.assertEqual([ports(balancer.begin(b""))[0] for _ in range(3)], [1, 2, 1])

    def test_few(self) -> None:
        """
        One peer with a backup needs no arithmetic, and among several backups left over the key decides again.
        """
        balancer = self.balancer(peer(1), *(peer(number, backup=True) for number in (2, 3, 4)))
        walk = [2 + value % 3 for value in memcached(b"key", 1)]
        first, *rest = ports(balancer.begin(b"key"), 5)
        self.assertEqual((first, rest[0], sorted(rest)), (1, 2, [0, 2, 3, 4]))
        self.assertEqual(rest[1], walk[0] if walk[0] != 2 else rest[1])

    def test_others(self) -> None:
        """
        When the group changes, sessions that begin then have the new weights.
        """
        balancer = self.balancer(peer(1), peer(2))
        balancer.renew(Group.of("back", [peer(1), peer(2), peer(3, weight=10**9)]))
        self.assertEqual(ports(balancer.begin(b"key")), [3])


class ConsistentTests(SynchronousTestCase):
    """
    Keys on a circle.
    """

    def balancer(self, *peers: Peer) -> ConsistentHash:
        """
        Over these peers; subjects are keys.
        """
        return ConsistentHash(Group.of("back", peers), lambda subject: 1000.0, key=lambda subject: bytes(subject))

    def test_points(self) -> None:
        """
        A server's points are those of Cache::Memcached::Fast: host, zero byte, port, and the point before.
        """
        for server, text in (
            ("backend.example:443", b"backend.example\x00443"),
            ("[::1]:80", b"[::1]\x0080"),
            ("unix:/run/a:1", b"/run/a:1\x00"),
            ("UNIX:/run/a", b"/run/a\x00"),
            ("node.example", b"node.example\x00"),
            ("2001:db8::a", b"2001:db8::a\x00"),
        ):
            points, last = points_of(server, 2), 0
            self.assertEqual(len(points), 2 * POINTS)
            for point in points:
                last = crc32(text + last.to_bytes(4, "little"))
                self.assertEqual(point, last)

    def test_next_point(self) -> None:
        """
        A key belongs to the first point at or after its hash, and behind the last to the first.
        """
        balancer = self.balancer(peer(1), peer(2), peer(3, weight=3))
        circle = Circle(balancer.group)
        for number in range(200):
            key = b"%d" % number
            after = [place for point, place in zip(circle.hashes, circle.places, strict=True) if point >= crc32(key)]
            (place,) = (after or circle.places)[0]
            self.assertEqual(ports(balancer.begin(key)), [place + 1])

    def test_weight(self) -> None:
        """
        Each unit of weight is 160 points, each point once.
        """
        circle = Circle(Group.of("back", [peer(1), peer(2, weight=2)]))
        self.assertEqual((len(circle.hashes), circle.hashes), (3 * POINTS, sorted(set(circle.hashes))))
        self.assertEqual(sum(place == [1] for place in circle.places), 2 * POINTS)

    def test_stays(self) -> None:
        """
        When a server goes, only its own keys go elsewhere.
        """
        before, after = self.balancer(peer(1), peer(2), peer(3)), self.balancer(peer(1), peer(3))
        for key in (b"%d" % number for number in range(200)):
            (port,) = ports(before.begin(key))
            if port != 2:
                self.assertEqual(ports(after.begin(key)), [port])

    def test_addresses_of_a_server(self) -> None:
        """
        The addresses of one server are one place on the circle, and take turns there.
        """
        balancer = self.balancer(peer(1, "a:1"), peer(2, "a:1"))
        self.assertEqual([ports(balancer.begin(b"key"))[0] for _ in range(3)], [1, 2, 1])

    def test_goes_on(self) -> None:
        """
        Where nobody of a server can be had the next point counts, then round robin, then the backups.
        """
        balancer = self.balancer(peer(1), peer(2), peer(3, backup=True), peer(4, backup=True))
        for key in (b"%d" % number for number in range(20)):
            self.assertEqual(sorted(ports(balancer.begin(key), 5)), [0, 1, 2, 3, 4])
        alone = self.balancer(*(peer(number, down=number != 40) for number in range(1, 41)))
        self.assertEqual([ports(alone.begin(b"%d" % number))[0] for number in range(50)], [40] * 50)

    def test_no_key_nobody(self) -> None:
        """
        Sessions without a key take turns; where there is nobody, nobody is chosen.
        """
        balancer = self.balancer(peer(1), peer(2))
        self.assertEqual([ports(balancer.begin(b""))[0] for _ in range(3)], [1, 2, 1])
        self.assertEqual(ports(self.balancer().begin(b"key")), [0])

    def test_others(self) -> None:
        """
        When the group changes, sessions that begin then have the new circle, and earlier ones go on on theirs.
        """
        balancer = self.balancer(peer(1), peer(2))
        earlier = balancer.begin(b"key")
        balancer.renew(Group.of("back", [peer(3), peer(4)]))
        self.assertIn(ports(earlier), ([1], [2]))
        self.assertIn(ports(balancer.begin(b"key")), ([3], [4]))
