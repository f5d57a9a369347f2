"""
Tests for L{sniproxy.common.ip_hash}.
"""

from __future__ import annotations

from twisted.plugin import IPlugin
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sniproxy.addresses import Address
from sniproxy.balancing.ip_hash import IpHash
from sniproxy.balancing.peers import Peer
from sniproxy.common.ip_hash import ip_hash, network_of
from sniproxy.common.upstream import groups, upstream
from sniproxy.errors import ConfigErrors
from sniproxy.interfaces import IModule
from tests.support.places import FakeRequest, Places

SERVERS = "server 192.0.2.1; server 192.0.2.2; server 192.0.2.3;"


class IpHashTests(SynchronousTestCase):
    """
    The directive at work.
    """

    def test_interfaces(self) -> None:
        """
        The module is a plugin, and does nothing by itself.
        """
        self.assertTrue(verifyObject(IModule, ip_hash))
        self.assertTrue(IPlugin.providedBy(ip_hash))
        self.assertIsNone(ip_hash.attach(None, None))  # type: ignore[func-returns-value, arg-type]

    def test_networks(self) -> None:
        """
        Of IPv4 the last octet does not count, of IPv6 all do, and unix sockets are one network.
        """
        for peer, octets in (
            (Address("inet", "192.0.2.7", 1), b"\xc0\0\2"),
            (Address("inet6", "2001:db8::7", 1), b"\x20\x01\x0d\xb8" + bytes(11) + b"\7"),
            (Address("unix", "", 0), bytes(3)),
        ):
            self.assertEqual(network_of(FakeRequest(peer=peer)), octets)

    def test_same(self) -> None:
        """
        Clients of one network go to one peer, those of others mostly elsewhere.
        """
        found = groups(Places(f"upstream b {{ ip_hash; {SERVERS} }}", [upstream, ip_hash]).build, "http")["b"]
        self.assertIsInstance(found.balancer(), IpHash)

        def given(host: str) -> str:
            peer = found.begin(FakeRequest(peer=Address("inet", host, 1))).next()
            assert isinstance(peer, Peer)
            return peer.name

        self.assertEqual({given(f"10.1.1.{last}") for last in range(1, 255)}, {given("10.1.1.0")})
        self.assertEqual(len({given(f"10.1.{third}.1") for third in range(20)}), 3)

    def test_faults(self) -> None:
        """
        It takes no argument, and no backup behind it; in a group of stream it may not stand.
        """
        for text, complaint in (
            ("http { upstream b { ip_hash x; server 192.0.2.1; } }", "invalid number of arguments in"),
            (
                "http { upstream b { ip_hash; server 192.0.2.1 backup; } }",
                "balancing method does not support parameter",
            ),
            (
                "stream { upstream b { ip_hash; server 192.0.2.1:1; } } http {}",
                '"ip_hash" directive is not allowed here',
            ),
        ):
            problem: ConfigErrors = self.assertRaises(ConfigErrors, Places, text, [upstream, ip_hash])
            self.assertIn(complaint, str(problem.errors[0]))
