"""
How addresses are read and written.
"""

from __future__ import annotations

import socket
from ipaddress import IPv6Address

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.addresses import Address, DatagramAddress, numeric, text6


class AddressTests(SynchronousTestCase):
    """
    One value for three families.
    """

    def test_text(self) -> None:
        """
        Addresses are written as nginx writes them.
        """
        self.assertEqual(Address("inet", "127.0.0.1", 80).text, "127.0.0.1:80")
        self.assertEqual(Address("inet6", "::1", 80).text, "[::1]:80")
        self.assertEqual(Address("unix", "/run/a.sock").text, "unix:/run/a.sock")

    def test_sockaddr(self) -> None:
        """
        Sockets get a pair for the internet's families and a path for unix.
        """
        self.assertEqual(Address("inet", "127.0.0.1", 80).sockaddr, ("127.0.0.1", 80))
        self.assertEqual(Address("inet6", "::1", 80).sockaddr, ("::1", 80))
        self.assertEqual(Address("unix", "/run/a.sock").sockaddr, "/run/a.sock")

    def test_datagrams(self) -> None:
        """
        Where datagrams are received is another place than where connections are, with the same text.
        """
        stream, datagrams = Address("inet", "127.0.0.1", 80), DatagramAddress("inet", "127.0.0.1", 80)
        self.assertEqual(datagrams, DatagramAddress("inet", "127.0.0.1", 80))
        self.assertEqual((datagrams.text, datagrams.sockaddr), (stream.text, stream.sockaddr))
        self.assertEqual(len({stream, datagrams, DatagramAddress("inet", "127.0.0.1", 80)}), 2)

    def test_numeric(self) -> None:
        """
        Numeric hosts become addresses in their shortest form; brackets belong to IPv6 alone.
        """
        for host, address in (
            ("10.0.0.1", Address("inet", "10.0.0.1", 7)),
            ("2001:DB8:0::1", Address("inet6", "2001:db8::1", 7)),
            ("[::1]", Address("inet6", "::1", 7)),
            ("[10.0.0.1]", None),
            ("example.com", None),
            ("10.0.0.256", None),
            ("[::1", None),
            ("", None),
        ):
            self.assertEqual(numeric(host, 7), address, host)

    def test_text6(self) -> None:
        """
        IPv6 addresses are written as nginx writes them, which is what the C library does but for the last one.
        """
        for text in (
            "::",
            "::1",
            "::2",
            "::5",
            "2001:db8::1",
            "1:0:0:2::",
            "::ffff:192.0.2.1",
            "::192.0.2.1",
            "::0.1.0.0",
            "::ffff:0:0:1",
            "fe80::1:0:0:1",
        ):
            number = int(IPv6Address(text))
            self.assertEqual(text6(number), text)
            self.assertEqual(socket.inet_ntop(socket.AF_INET6, number.to_bytes(16, "big")), text)
        self.assertEqual(text6(0x502), "::0.0.5.2")
        self.assertEqual(text6(0x501), "::501")
