"""
Tests for L{sniproxy.config.places}. The faults were recorded from nginx 1.22.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.addresses import Address
from sniproxy.config.places import (
    listen_addresses,
    place,
    quad,
    upstream_addresses,
    upstream_place,
)
from sniproxy.errors import ConfigError

NAMES = {"both.example": ("192.0.2.1", "2001:db8::1"), "none.example": ()}


def lookup(host: str) -> tuple[str, ...]:
    """
    A resolver of a few names.
    """
    if host not in NAMES:
        raise OSError(-2, "Name or service not known")
    return NAMES[host]


class Listen(SynchronousTestCase):
    """
    The address of C{listen}.
    """

    def texts(self, text: str) -> list[str]:
        """
        What is listened on.
        """
        return [address.text for address in listen_addresses(text, lookup)]

    def test_addresses(self) -> None:
        """
        A port alone and a star mean all IPv4 addresses; IPv6 has brackets; a name means all it has.
        """
        for text, expected in (
            ("80", ["0.0.0.0:80"]),
            ("*:80", ["0.0.0.0:80"]),
            ("127.0.0.1:80", ["127.0.0.1:80"]),
            ("[::1]:80", ["[::1]:80"]),
            ("[0:0::0]:80", ["[::]:80"]),
            ("unix:/run/a.sock", ["unix:/run/a.sock"]),
            ("UNIX:a", ["unix:a"]),
            ("both.example:80", ["192.0.2.1:80", "[2001:db8::1]:80"]),
            ("65535", ["0.0.0.0:65535"]),
        ):
            self.assertEqual(self.texts(text), expected, text)

    def test_ranges(self) -> None:
        """
        A range of ports means each of them.
        """
        self.assertEqual(self.texts("80-82"), ["0.0.0.0:80", "0.0.0.0:81", "0.0.0.0:82"])
        self.assertEqual(self.texts("127.0.0.1:5-6"), ["127.0.0.1:5", "127.0.0.1:6"])
        self.assertEqual(self.texts("[::1]:5-5"), ["[::1]:5"])
        self.assertEqual(len(self.texts("both.example:5-6")), 4)

    def test_zeros(self) -> None:
        """
        Leading zeros in an IPv4 address mean nothing, and never that it is octal.
        """
        self.assertEqual(self.texts("127.000.000.010:5"), ["127.0.0.10:5"])

    def test_faults(self) -> None:
        """
        nginx's words for each fault.
        """
        for text, reason in (
            ("0", "invalid port"),
            ("70000", "invalid port"),
            ("3-70000", "invalid port"),
            ("3-2", "invalid port range"),
            ("1.1.1.1:3-2", "invalid port range"),
            ("1.1.1.1:", "invalid port"),
            ("1.1.1.1:x", "invalid port"),
            ("1.1.1.1:-", "invalid port"),
            ("::1:80", "invalid port"),
            ("1.2.3.4", "no port"),
            ("*", "no port"),
            ("both.example", "no port"),
            ("a", "host not found"),
            ("5-x", "host not found"),
            ("[::1]", "no port"),
            ("[::1", "invalid host"),
            ("[::1]5", "invalid host"),
            ("[::1]:5/a", "invalid host"),
            ("[::1]:x", "invalid port"),
            ("[zz]:5", "invalid IPv6 address"),
            ("[fe80::1%lo]:5", "invalid IPv6 address"),
            ("[]:5", "no host"),
            (":5", "no host"),
            ("", "no host"),
            ("a/b:5", "invalid host"),
            ("a?b:5", "invalid host"),
            ("unix:", "no path in the unix domain socket"),
            ("unix:" + "x" * 108, "too long path in the unix domain socket"),
            ("unix:" + "ä" * 54, "too long path in the unix domain socket"),
            ("nohost.example:5", "host not found"),
            ("none.example:5", "host not found"),
            ("256.1.1.1:5", "host not found"),
        ):
            error = self.assertRaises(ConfigError, listen_addresses, text, lookup)
            self.assertEqual(str(error), f'{reason} in "{text}" of the "listen" directive')
        self.assertEqual(self.texts("unix:" + "x" * 107), ["unix:" + "x" * 107])

    def test_place(self) -> None:
        """
        Without looking names up the parts can be had.
        """
        found = place("a.example:5-7", listen=True)
        self.assertEqual((found.family, found.host, found.ports, found.port), (None, "a.example", range(5, 8), 5))


class Upstream(SynchronousTestCase):
    """
    The address of a peer.
    """

    def test_addresses(self) -> None:
        """
        A host and a port, or a socket's path; a name means all it has.
        """
        for text, expected in (
            ("192.0.2.1:22", ("192.0.2.1:22",)),
            ("[::1]:22", ("[::1]:22",)),
            ("both.example:1", ("192.0.2.1:1", "[2001:db8::1]:1")),
            ("unix:/a", ("unix:/a",)),
        ):
            self.assertEqual(tuple(address.text for address in upstream_addresses(text, lookup)), expected)

    def test_faults(self) -> None:
        """
        nginx's words for each fault; what only C{listen} knows is none of it.
        """
        for text, reason in (
            ("both.example", "no port"),
            ("a", "host not found"),
            ("80", "host not found"),
            ("[::1]", "no port"),
            ("a:b", "invalid port"),
            ("a:0", "invalid port"),
            ("1.1.1.1:1-3", "invalid port"),
            ("a:1/b", "invalid host"),
            ("*:1", "host not found"),
            ("nohost.example:1", "host not found"),
        ):
            error = self.assertRaises(ConfigError, upstream_addresses, text, lookup)
            self.assertEqual(str(error), f'{reason} in upstream "{text}"')

    def test_port_of_an_upstream(self) -> None:
        """
        An upstream's port may not miss, unless that is said.
        """
        error = self.assertRaises(ConfigError, upstream_place, "a.example")
        self.assertEqual(error.message, 'no port in upstream "a.example"')

    def test_port_may_miss(self) -> None:
        """
        Where the port may be missing, one can be given for the addresses.
        """
        found = upstream_place("both.example", need_port=False)
        self.assertIsNone(found.port)
        self.assertEqual(len(found.addresses(lookup, 53)), 2)
        self.assertEqual(place("192.0.2.1:5").addresses(lookup, 53), (Address("inet", "192.0.2.1", 5),))
        self.assertRaises(ConfigError, found.addresses, lookup)


class Anything(SynchronousTestCase):
    """
    No text breaks the reading of addresses.
    """

    @settings(derandomize=True, deadline=None, database=None, max_examples=300)
    @given(st.text("01259.:-[]*/?unix%af٣", max_size=14), st.booleans())
    def test_any_text(self, text: str, listen: bool) -> None:
        """
        Any text is a place or a fault, and a numeric place has an address.
        """
        try:
            found = place(text, listen=listen)
        except ConfigError as error:
            self.assertNotEqual(error.message, "")
            return
        self.assertEqual(found.text, text)
        if found.family is not None and found.ports:
            self.assertEqual(found.addresses(lookup)[0].family, found.family)

    def test_quad(self) -> None:
        """
        Four numbers up to 255 are an IPv4 address.
        """
        self.assertEqual(quad("1.02.003.255"), "1.2.3.255")
        for text in ("1.2.3", "1.2.3.256", "1.2.3.4.5", "1.2.3.4\n", "1..2.3", "٣.1.1.1", "1.1.1." + "9" * 5000):
            self.assertIsNone(quad(text), text)
