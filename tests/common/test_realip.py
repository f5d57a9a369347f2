"""
C{set_real_ip_from}.
"""

from __future__ import annotations

from twisted.plugin import IPlugin
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sniproxy.addresses import Address
from sniproxy.common.core_variables import CORE_VARIABLES
from sniproxy.common.proxy_protocol import HEADER
from sniproxy.common.realip import realip
from sniproxy.errors import ConfigErrors
from sniproxy.interfaces import IHttpModule, IModule
from sniproxy.wire.proxy_protocol import Endpoint, ProxyHeader
from tests.support.places import Declared, FakeRequest, Places
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


class HttpTests(SynchronousTestCase):
    """
    Whom requests are from.
    """

    def said(
        self, text: str, *headers: tuple[str, str], peer: Address = CLIENT, note: ProxyHeader | None = None
    ) -> str:
        """
        Who a request of a location is from, as soon as its head is there; and what is known of the connection.
        """
        world = Places(f"server {{ location / {{ {text} }} }}", [realip, Declared(variables=CORE_VARIABLES)])
        request = FakeRequest(headers, peer)
        if note is not None:
            request.session.notes[HEADER] = note
        self.assertEqual(set(world.run("post_read", request)), {None} if "from" in text else set())
        known = request.peer
        request.headers.items.clear()
        world.run("preaccess", request)
        self.assertIs(request.peer, known)
        self.assertEqual(
            world.value("$realip_remote_addr|$realip_remote_port", request),
            f"{peer.host}|{peer.port}" if peer.family != "unix" else "unix:|",
        )
        return world.value("$remote_addr|$remote_port", request)

    def test_interface(self) -> None:
        """
        The module has something to do in http.
        """
        self.assertTrue(verifyObject(IHttpModule, realip))

    def test_one_field(self) -> None:
        """
        One field tells the address, perhaps with a port: the first of its name, whatever the case of its name.
        """
        trust = "set_real_ip_from 192.0.2.77;"
        field = ("x-real-ip", "198.51.100.7")
        self.assertEqual(self.said(trust, field, ("X-Real-IP", "198.51.100.8")), "198.51.100.7|")
        self.assertEqual(
            self.said(trust + "real_ip_header X-Client;", ("X-CLIENT", "[2001:db8::1]:8")), "2001:db8::1|8"
        )
        self.assertEqual(self.said(trust + "real_ip_header X-Client;", field), "192.0.2.77|40000")
        self.assertEqual(self.said(trust, ("X-Real-IP", "a.example")), "192.0.2.77|40000")
        self.assertEqual(self.said("set_real_ip_from 192.0.2.78;", field), "192.0.2.77|40000")
        self.assertEqual(self.said("", field), "192.0.2.77|40000")
        self.assertEqual(self.said("set_real_ip_from unix:;", field, peer=Address("unix", "")), "198.51.100.7|")

    def test_forwarded(self) -> None:
        """
        The last word counts; with recursion each word is believed as long as whoever said it is trusted, through all
        fields of the name from the last to the first.
        """
        trust = "set_real_ip_from 192.0.2.0/24; real_ip_header X-Forwarded-For; real_ip_recursive {};"
        name = "X-Forwarded-For"
        for recursive, values, found in (
            ("off", ["198.51.100.1, 192.0.2.1"], "192.0.2.1|"),
            ("on", ["198.51.100.1, 192.0.2.1"], "198.51.100.1|"),
            ("on", ["198.51.100.0, 198.51.100.1:80,192.0.2.1 , "], "198.51.100.1|80"),
            ("on", ["198.51.100.1", "192.0.2.2", "192.0.2.1"], "198.51.100.1|"),
            ("off", ["198.51.100.1", "192.0.2.2"], "192.0.2.2|"),
            ("on", ["192.0.2.3, nobody, 192.0.2.2"], "192.0.2.2|"),
            ("on", ["192.0.2.3, 192.0.2.2"], "192.0.2.3|"),
            ("on", [",192.0.2.2"], "192.0.2.77|40000"),
            ("on", ["198.51.100.1 nobody"], "192.0.2.77|40000"),
            ("on", [" , "], "192.0.2.77|40000"),
            ("on", [], "192.0.2.77|40000"),
        ):
            self.assertEqual(self.said(trust.format(recursive), *((name, value) for value in values)), found, values)

    def test_header(self) -> None:
        """
        The PROXY header of the connection may be what is believed.
        """
        note = ProxyHeader(0, Endpoint("198.51.100.7", 1111), Endpoint("192.0.2.1", 80))
        trust = "set_real_ip_from 192.0.2.77;"
        self.assertEqual(self.said(trust + "real_ip_header proxy_protocol;", note=note), "198.51.100.7|1111")
        self.assertEqual(self.said(trust, note=note), "192.0.2.77|40000")
        self.assertEqual(self.said(trust + "real_ip_header proxy_protocol;"), "192.0.2.77|40000")

    def test_later(self) -> None:
        """
        A location may believe whom its server does not; who is known by then stays.
        """
        world = Places("set_real_ip_from 192.0.2.77; server { location / { real_ip_header X-Other; } }", [realip])
        request = FakeRequest([("X-Other", "198.51.100.9")])
        world.run("post_read", request, 0)
        self.assertEqual(request.peer, CLIENT)
        world.run("preaccess", request, 1)
        self.assertEqual(request.peer.host, "198.51.100.9")

    def test_stream_has_no_fields(self) -> None:
        """
        In stream there is nothing to choose.
        """
        problem: ConfigErrors = self.assertRaises(ConfigErrors, configured, "stream { real_ip_header X-Real-IP; }")
        self.assertEqual(str(problem.errors[0]), '"real_ip_header" directive is not allowed here in /etc/edge.conf:1')
