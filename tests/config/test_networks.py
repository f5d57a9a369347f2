"""
Texts of networks, and the look-up of addresses in many of them.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.addresses import Address
from sniproxy.config.networks import (
    Areas,
    Network,
    located,
    network,
    number4,
    number6,
    numbered,
    unmapped,
)

Span = tuple[int, int, int, str]


class NumberTests(SynchronousTestCase):
    """
    Addresses as numbers.
    """

    def test_inet(self) -> None:
        """
        Leading zeros mean nothing and an octet without digits is 0, as nginx has it.
        """
        for text, number in (
            ("192.0.2.1", 0xC0000201),
            ("0.0.0.0", 0),
            ("001.002.003.0004", 0x01020304),
            ("1..2.3", 0x01000203),
            ("1.2.3.", 0x01020300),
            ("...", 0),
            ("255.255.255.254", 0xFFFFFFFE),
            ("255.255.255.255", None),
            ("1.2.3.256", None),
            ("1.2.3", None),
            ("1.2.3.4.5", None),
            ("1.2.3.x", None),
            ("1.2.3.-4", None),
            ("1.2.3.4 ", None),
            ("1.2.3.\u0664", None),
            ("", None),
        ):
            self.assertEqual(number4(text), number, text)

    def test_inet6(self) -> None:
        """
        No brackets, no zones.
        """
        for text, number in (
            ("::", 0),
            ("::1", 1),
            ("2001:DB8::A", 0x20010DB800000000000000000000000A),
            ("::ffff:192.0.2.1", 0xFFFFC0000201),
            ("[::1]", None),
            ("::1%lo", None),
            ("1.2.3.4", None),
            ("", None),
        ):
            self.assertEqual(number6(text), number, text)

    def test_mapped(self) -> None:
        """
        An IPv4 address behind ::ffff: is an IPv4 address.
        """
        self.assertEqual(unmapped(0xFFFFC0000201), ("inet", 0xC0000201))
        self.assertEqual(unmapped(0x1FFFFC0000201), ("inet6", 0x1FFFFC0000201))

    def test_numbered(self) -> None:
        """
        A text is an address of either family, or none.
        """
        for text, found in (
            ("1.2.3.4", ("inet", 0x01020304)),
            ("::ffff:1.2.3.4", ("inet", 0x01020304)),
            ("::2", ("inet6", 2)),
            ("unix:", None),
            ("255.255.255.255", None),
        ):
            self.assertEqual(numbered(text), found, text)

    def test_located(self) -> None:
        """
        The address of a socket has a number, unless it is a unix socket.
        """
        self.assertEqual(located(Address("inet", "1.2.3.4", 5)), ("inet", 0x01020304))
        self.assertEqual(located(Address("inet6", "::ffff:1.2.3.4", 5)), ("inet", 0x01020304))
        self.assertEqual(located(Address("inet6", "2001:db8::", 5)), ("inet6", 0x20010DB8 << 96))
        self.assertIsNone(located(Address("unix", "/run/x")))


class NetworkTests(SynchronousTestCase):
    """
    Networks as they are written.
    """

    def test_networks(self) -> None:
        """
        An address alone is a network of one; bits behind the prefix are dropped, and that they were there is known.
        """
        for text, found in (
            ("192.0.2.0/24", Network("inet", 0xC0000200, 24)),
            ("192.0.2.9/24", Network("inet", 0xC0000200, 24, True)),
            ("192.0.2.9", Network("inet", 0xC0000209, 32)),
            ("0.0.0.0/0", Network("inet", 0, 0)),
            ("1.0.0.0/008", Network("inet", 1 << 24, 8)),
            ("2001:db8::/32", Network("inet6", 0x20010DB8 << 96, 32)),
            ("2001:db8::1/32", Network("inet6", 0x20010DB8 << 96, 32, True)),
            ("::/0", Network("inet6", 0, 0)),
            ("::1", Network("inet6", 1, 128)),
        ):
            self.assertEqual(network(text), found, text)

    def test_none(self) -> None:
        """
        What is no network is None.
        """
        for text in (
            "",
            "/",
            "1.2.3.4/",
            "1.2.3.4/33",
            "1.2.3.4/-1",
            "1.2.3.4/x",
            "::1/129",
            "localhost",
            "1.2.3.4/8/8",
        ):
            self.assertIsNone(network(text), text)
        self.assertIsNone(network("255.255.255.255/32"))

    def test_last(self) -> None:
        """
        A network knows its last address.
        """
        found = [network(text) for text in ("192.0.2.0/24", "0.0.0.0/0", "::1", "::/0")]
        lasts = [each.last for each in found if each is not None]
        self.assertEqual(lasts, [0xC00002FF, 0xFFFFFFFF, 1, (1 << 128) - 1])


class AreasTests(SynchronousTestCase):
    """
    Which value wins.
    """

    def test_nothing(self) -> None:
        """
        Where there is no span there is no value.
        """
        self.assertIsNone(Areas[str](()).find(5))
        areas = Areas([(2, 3, 0, "a")])
        self.assertEqual([areas.find(number) for number in range(1, 5)], [None, "a", "a", None])

    def test_ranks(self) -> None:
        """
        The lowest rank wins, and of equals the first, however they overlap.
        """
        areas = Areas([(0, 9, 5, "wide"), (2, 4, 1, "narrow"), (3, 6, 3, "right"), (2, 4, 1, "late"), (9, 9, 0, "end")])
        self.assertEqual(
            [areas.find(number) for number in range(11)],
            ["wide"] * 2 + ["narrow"] * 3 + ["right"] * 2 + ["wide"] * 2 + ["end", None],
        )

    @settings(derandomize=True, deadline=None, database=None, max_examples=200)
    @given(
        st.lists(
            st.tuples(st.integers(0, 30), st.integers(0, 10), st.integers(0, 3), st.sampled_from("abc")), max_size=12
        )
    )
    def test_like_a_search(self, found: list[Span]) -> None:
        """
        The answer is what one finds by looking at each span in turn.
        """
        spans = [(first, first + size, rank, value) for first, size, rank, value in found]
        areas = Areas(spans)
        for number in range(-1, 43):
            around = [(rank, place) for place, (first, last, rank, _) in enumerate(spans) if first <= number <= last]
            self.assertEqual(areas.find(number), spans[min(around)[1]][3] if around else None)

    def test_many(self) -> None:
        """
        A hundred thousand networks in each other are told apart.
        """
        spans = [(place << 8, (place << 8) + 255, -24, str(place)) for place in range(100_000)]
        areas = Areas([(0, 0xFFFFFFFF, 0, "all"), *spans])
        for place in (0, 1, 50_000, 99_999):
            self.assertEqual(areas.find((place << 8) + 7), str(place))
        self.assertEqual(areas.find(100_000 << 8), "all")
