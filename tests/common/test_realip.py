"""
C{set_real_ip_from}.
"""

from __future__ import annotations

from twisted.plugin import IPlugin
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sniproxy.addresses import Address
from sniproxy.common.realip import realip
from sniproxy.errors import ConfigErrors
from sniproxy.interfaces import IModule
from tests.support.sessions import CLIENT, World, configured

TEXT = "$remote_addr|$remote_port|$realip_remote_addr|$realip_remote_port"
BELIEVED = "198.51.100.7|1111|192.0.2.77|40000"
OWN = "192.0.2.77|40000|192.0.2.77|40000"
LINE = b"PROXY TCP4 198.51.100.7 198.51.100.1 1111 2222\r\n"
NAMES = {"lb.example.com": ("192.0.2.77", "2001:db8::77")}


class RealIpTests(SynchronousTestCase):
    """
    Whom we believe.
    """

    def said(self, text: str, header: bytes = LINE, peer: Address = CLIENT, outer: str = "") -> str:
        """
        What a client hears of itself.
        """
        self.world = World(
            outer + "server { listen 192.0.2.1:22 proxy_protocol; return " + TEXT + "; " + text + "}",
            names=NAMES,
            level=4,
        )
        return self.world.client(header, peer=peer).sent.decode()

    def test_trusted(self) -> None:
        """
        An address, a network, a name, any of several: who is among them is believed, and nobody else.
        """
        for text, found in (
            ("192.0.2.77", BELIEVED),
            ("192.0.2.0/24", BELIEVED),
            ("lb.example.com", BELIEVED),
            ("10.0.0.0/8; set_real_ip_from 192.0.2.64/26", BELIEVED),
            ("192.0.2.78", OWN),
            ("::/0", OWN),
            ("unix:", OWN),
        ):
            self.assertEqual(self.said("set_real_ip_from " + text + ";"), found, text)
        self.assertEqual(self.said(""), OWN)

    def test_families(self) -> None:
        """
        Proxies may come by IPv6, by IPv4 in it, and by a unix socket, and tell of any family.
        """
        header = b"PROXY TCP6 2001:DB8::A ::1 5 6\r\n"
        for peer, text, connected in (
            (Address("inet6", "2001:db8::77", 9), "lb.example.com", "2001:db8::77|9"),
            (Address("inet6", "::ffff:192.0.2.77", 9), "192.0.2.0/24", "::ffff:192.0.2.77|9"),
            (Address("unix", ""), "unix:", "unix:|"),
        ):
            self.assertEqual(self.said(f"set_real_ip_from {text};", header, peer), "2001:db8::a|5|" + connected)
        self.assertEqual(self.said("set_real_ip_from 0.0.0.0/0;", peer=Address("unix", "")), "unix:||unix:|")

    def test_nothing_told(self) -> None:
        """
        A header that tells nothing, or no address, changes nothing.
        """
        for header in (
            b"PROXY UNKNOWN\r\n",
            b"PROXY TCP4 999.1 1.2.3.4 1 2\r\n",
            b"PROXY TCP4 255.255.255.255 1.2.3.4 1 2\r\n",
        ):
            self.assertEqual(self.said("set_real_ip_from 0.0.0.0/0;", header), OWN)

    def test_without_headers(self) -> None:
        """
        Where no header is read there is nobody to believe.
        """
        world = World("server { listen 192.0.2.1:22; set_real_ip_from 0.0.0.0/0; return " + TEXT + "; }")
        self.assertEqual(world.client(LINE).sent.decode(), OWN)

    def test_inherited(self) -> None:
        """
        A server without the directive has those of the outer block, one with it its own alone.
        """
        outer = "set_real_ip_from 192.0.2.77; "
        self.assertEqual(self.said("", outer=outer), BELIEVED)
        self.assertEqual(self.said("set_real_ip_from 10.0.0.0/8;", outer=outer), OWN)

    def test_everywhere(self) -> None:
        """
        Rules, tables and the log know the client by the address that is believed.
        """
        world = World(
            "geo $v { 198.51.100.7 geo; } server { listen 192.0.2.1:22 proxy_protocol; set_real_ip_from 192.0.2.77;"
            " deny 198.51.100.7; return x; }",
            level=4,
        )
        world.client(LINE)
        self.assertEqual(world.statuses(), [403])
        self.assertEqual(
            world.lines,
            [
                "[error] *1 access forbidden by rule while initializing session, client: 198.51.100.7, server:"
                " 192.0.2.1:22"
            ],
        )
        self.assertEqual(world.value("$v $binary_remote_addr"), "geo \udcc63d\x07")

    def test_wrong(self) -> None:
        """
        What is no network and no name is an error; bits behind the prefix are a warning.
        """
        for word in ("nope.example.com", "1.2.3.4/33", "unix:/x"):
            problem: ConfigErrors = self.assertRaises(
                ConfigErrors, configured, f"stream {{ set_real_ip_from {word}; }}"
            )
            self.assertEqual(
                [str(each) for each in problem.errors],
                [f'host not found in set_real_ip_from "{word}" in /etc/edge.conf:1'],
            )
        build = configured("stream { set_real_ip_from 10.1.2.3/8; }")
        self.assertEqual(
            [str(each) for each in build.warnings],
            ["low address bits of 10.1.2.3/8 are meaningless in /etc/edge.conf:1"],
        )

    def test_interfaces(self) -> None:
        """
        It is a module, found as a plugin.
        """
        self.assertTrue(verifyObject(IModule, realip))
        self.assertTrue(verifyObject(IPlugin, realip))
