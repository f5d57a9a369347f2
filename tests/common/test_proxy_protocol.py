"""
PROXY headers that clients' proxies send first.
"""

from __future__ import annotations

import errno

from twisted.plugin import IPlugin
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sniproxy.addresses import Address
from sniproxy.common.phases import Phase
from sniproxy.common.proxy_protocol import HEADER, header_of, proxy_protocol
from sniproxy.errors import ConfigErrors
from sniproxy.interfaces import IModule
from sniproxy.levels import ERROR
from sniproxy.wire.proxy_protocol import (
    ALPN,
    AUTHORITY,
    NETNS,
    SSL,
    SSL_CIPHER,
    SSL_CN,
    SSL_KEY_ALG,
    SSL_SIG_ALG,
    SSL_VERSION,
    UNIQUE_ID,
    Endpoint,
    ProxyHeader,
    SslTlv,
    write_header,
    write_tlv,
)
from tests.support import pki
from tests.support.hellos import hello
from tests.support.places import FakeRequest, Places
from tests.support.sessions import CLIENT, FakeLeg, FarEnd, World, client_connection, configured, lone_session

LINE = b"PROXY TCP4 198.51.100.7 198.51.100.1 1111 2222\r\n"
SOURCE = Address("inet6", "2001:db8::1", 1111)
DESTINATION = Address("inet6", "2001:db8::2", 2222)
LOCAL = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"
SSL_VALUE = SslTlv(
    1,
    0x01020304,
    write_tlv(SSL_VERSION, b"TLSv1.3")
    + write_tlv(SSL_CN, b"client")
    + write_tlv(SSL_CIPHER, b"AES")
    + write_tlv(SSL_SIG_ALG, b"SHA256")
    + write_tlv(SSL_KEY_ALG, b"RSA2048"),
).write()
TLVS = (
    (ALPN, b"h2"),
    (AUTHORITY, b"a.example.com"),
    (UNIQUE_ID, b"\xff\0id"),
    (SSL, SSL_VALUE),
    (NETNS, b"blue"),
    (0xEA, b"vpce"),
)
ENDS = "$proxy_protocol_addr|$proxy_protocol_port|$proxy_protocol_server_addr|$proxy_protocol_server_port"


class ProxyProtocolTestCase(SynchronousTestCase):
    """
    What the tests share.
    """

    def serve(self, text: str = "", listen: str = "192.0.2.1:22 proxy_protocol", level: int = 4) -> World:
        """
        A server that passes on.
        """
        return World("server { listen " + listen + "; proxy_pass 192.0.2.2:22; " + text + "}", level=level)

    def passed(self, world: World, client: FakeLeg, end: bool = True) -> bytes:
        """
        What a client's upstream gets.
        """
        upstream = world.attempt().succeed()
        data = bytes(upstream.sent)
        if end:
            client.end()
        return data


class ReadingTests(ProxyProtocolTestCase):
    """
    The header comes, and is taken.
    """

    def test_taken(self) -> None:
        """
        The header is taken exactly; what follows goes to the upstream.
        """
        for header in (LINE, write_header(SOURCE, DESTINATION, TLVS), LOCAL, b"PROXY UNKNOWN\r\n"):
            world = self.serve(level=7)
            client = world.client(header + b"SSH-2.0-x\r\n")
            self.assertEqual(self.passed(world, client), b"SSH-2.0-x\r\n")
            self.assertEqual(world.statuses(), [200])
            self.assertIn("bytes from/to client:11/0", world.lines[-1])

    def test_pieces(self) -> None:
        """
        It may come byte by byte, together with what follows or before it.
        """
        for header in (LINE, write_header(SOURCE, DESTINATION, TLVS)):
            world = self.serve("", level=7)
            client = world.client()
            for at in range(len(header)):
                self.assertEqual(world.network.attempts, [])
                client.arrive(header[at : at + 1])
            self.assertEqual(client.left, b"")
            client.arrive(b"hello")
            self.assertEqual(self.passed(world, client), b"hello")

    def test_before_anything(self) -> None:
        """
        A client may come to be heard only after its header, and nothing is done for it before.
        """
        world = World("server { listen 192.0.2.1:22 proxy_protocol; deny all; return x; }", level=4)
        client = world.client()
        self.assertEqual(world.ended, [])
        client.arrive(LINE)
        self.assertEqual(world.statuses(), [403])

    def test_preread(self) -> None:
        """
        What comes behind the header is looked at as if there had been none.
        """
        world = self.serve("ssl_preread on;")
        flight = hello("a.example.com")
        client = world.client(LINE + flight)
        self.assertEqual(self.passed(world, client), flight)
        self.assertEqual(world.value("$ssl_preread_server_name"), "a.example.com")

    def test_tls(self) -> None:
        """
        The header comes in plain, and TLS behind it, on a leg that holds bytes as well.
        """
        identity = pki.leaf(pki.authority(), "a.example.com")
        files = {"/c": identity.pem, "/k": identity.key_pem}
        for small in (False, True):
            world = World(
                "server { listen 192.0.2.1:22 ssl proxy_protocol; ssl_certificate /c; ssl_certificate_key /k;"
                " return $ssl_server_name-$proxy_protocol_addr; }",
                files,
            )
            client = world.client()
            far = FarEnd(client, client_connection("a.example.com"))
            flight = LINE + far.hello()
            client.small = small
            client.arrive(flight[:10])
            client.arrive(flight[10:])
            far.shake()
            self.assertEqual(far.heard, b"a.example.com-198.51.100.7")

    def test_some_addresses(self) -> None:
        """
        Only on addresses that say so a header is read.
        """
        world = World(
            "server { listen 192.0.2.1:22; listen 192.0.2.1:23 proxy_protocol; return <$proxy_protocol_addr>; }"
        )
        self.assertEqual(bytes(world.client(LINE).sent), b"<>")
        self.assertEqual(bytes(world.client(LINE, at=1).sent), b"<198.51.100.7>")

    def test_shared_address(self) -> None:
        """
        An address that one server wants headers on has them for all.
        """
        world = World(
            "server { listen 192.0.2.1:22; server_name a; return <$proxy_protocol_addr>; }\n"
            "server { listen 192.0.2.1:22 proxy_protocol; server_name b; return b; }"
        )
        self.assertEqual(bytes(world.client(LINE).sent), b"<198.51.100.7>")


class BrokenTests(ProxyProtocolTestCase):
    """
    The header does not come.
    """

    def test_broken(self) -> None:
        """
        What is no header ends the session with the status 400 and a line in the log.
        """
        for data, words in (
            (b"GET / HTTP/1.0\r\n", 'broken header: "GET / HTTP/1.0"'),
            (b"\r\n\r\n\0\r\nQUIT\n\x31", "unknown PROXY protocol version: 3"),
            (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff", "header is too large"),
            (write_header(SOURCE, DESTINATION)[:-1] + b"x", "wrong checksum in PROXY protocol header"),
        ):
            world = self.serve()
            client = world.client(data)
            self.assertEqual((world.statuses(), client.closed), ([400], True))
            self.assertEqual(
                world.lines,
                [f"[error] *1 {words} while reading PROXY protocol, client: 192.0.2.77, server: 192.0.2.1:22"],
            )

    def test_end(self) -> None:
        """
        A client that leaves before its header is there has sent a broken one.
        """
        for data in (b"", b"PROXY TCP4 1.2.3.4 5.6"):
            world = self.serve()
            client = world.client(data)
            client.end()
            self.assertEqual(world.statuses(), [400])
            self.assertIn(f'broken header: "{data.decode()}" while reading PROXY protocol', world.lines[0])

    def test_late(self) -> None:
        """
        The whole header has to come in proxy_protocol_timeout, 30 seconds unless told otherwise.
        """
        for text, seconds in (("", 30), ("proxy_protocol_timeout 2s;", 2)):
            world = self.serve(text, level=7)
            client = world.client()
            world.pass_time(seconds - 1)
            client.arrive(LINE[:10])
            self.assertEqual(world.ended, [])
            world.pass_time(1.2)
            self.assertEqual((world.statuses(), client.closed), ([200], True))
            self.assertEqual(
                world.lines[-1],
                "[info] *1 client timed out (110: Connection timed out) while reading PROXY protocol,"
                " client: 192.0.2.77, server: 192.0.2.1:22",
            )

    def test_in_time(self) -> None:
        """
        When the header is there its deadline is over.
        """
        world = self.serve("proxy_protocol_timeout 2s; ssl_preread on; preread_timeout 20s;", level=7)
        world.client(LINE)
        world.pass_time(10)
        self.assertEqual(world.ended, [])

    def test_lost(self) -> None:
        """
        A connection that breaks is no fault of the header.
        """
        world = self.serve("", level=7)
        world.client().lose(errno.ECONNRESET)
        self.assertEqual(world.statuses(), [200])
        self.assertIn("recv() failed (104: Connection reset by peer) while reading PROXY protocol", world.lines[-1])


class VariablesTests(ProxyProtocolTestCase):
    """
    What the header says.
    """

    def said(self, header: bytes, text: str) -> str:
        """
        A text with variables, for a client with this header.
        """
        self.world = World('server { listen 192.0.2.1:22 proxy_protocol; return "' + text + '"; }', level=4)
        return self.world.client(header).sent.decode("utf-8", "surrogateescape")

    def test_ends(self) -> None:
        """
        Both ends are told as they were written; a port 0 is none.
        """
        self.assertEqual(self.said(LINE, ENDS), "198.51.100.7|1111|198.51.100.1|2222")
        self.assertEqual(self.said(write_header(SOURCE, DESTINATION), ENDS), "2001:db8::1|1111|2001:db8::2|2222")
        self.assertEqual(self.said(b"PROXY TCP4 999.1  0 00\r\n", ENDS), "999.1|||")

    def test_nothing(self) -> None:
        """
        Without a header, and with one that tells nothing, the variables are not found.
        """
        for header in (LOCAL, b"PROXY UNKNOWN\r\n"):
            self.assertEqual(self.said(header, ENDS + "$proxy_protocol_tlv_alpn"), "|||")
            for name in ("addr", "port", "server_addr", "server_port", "tlv_alpn"):
                self.world.value(f"$proxy_protocol_{name}")
                self.assertIsNone(self.world.ended[-1].values[f"proxy_protocol_{name}"])
            self.assertIsNone(header_of(self.world.ended[-1]))

    def test_tlvs(self) -> None:
        """
        TLVs have names, or numbers; those inside the one about TLS too.
        """
        for name, value in (
            ("alpn", b"h2"),
            ("authority", b"a.example.com"),
            ("unique_id", b"\xff\0id"),
            ("netns", b"blue"),
            ("ssl", SSL_VALUE),
            ("0x01", b"h2"),
            ("0xEA", b"vpce"),
            ("0x0000ea", b"vpce"),
            ("0x1ea", b""),
            ("0x40", b""),
            ("ssl_version", b"TLSv1.3"),
            ("ssl_cn", b"client"),
            ("ssl_cipher", b"AES"),
            ("ssl_sig_alg", b"SHA256"),
            ("ssl_key_alg", b"RSA2048"),
            ("ssl_verify", b"16909060"),
            ("ssl_0x22", b"client"),
            ("ssl_0x01", b""),
        ):
            found = self.said(write_header(SOURCE, DESTINATION, TLVS), "$proxy_protocol_tlv_" + name)
            self.assertEqual(found.encode("utf-8", "surrogateescape"), value, name)
            self.assertEqual(self.world.lines, [], name)

    def test_not_there(self) -> None:
        """
        A TLV that is not there, and any of a header of version 1, is not found.
        """
        for header in (LINE, write_header(SOURCE, DESTINATION)):
            for name in ("alpn", "ssl", "ssl_verify", "ssl_cn", "0xea"):
                self.assertEqual(self.said(header, "<$proxy_protocol_tlv_" + name + ">"), "<>")
                self.assertEqual(self.world.lines, [])
                self.assertIsNone(self.world.ended[0].values[f"proxy_protocol_tlv_{name}"])

    def test_wrong_names(self) -> None:
        """
        A name that is none is an error when it is asked for.
        """
        for name, words in (
            ("nope", 'unknown PROXY protocol TLV "nope"'),
            ("", 'unknown PROXY protocol TLV ""'),
            ("ssl_nope", 'unknown PROXY protocol TLV "ssl_nope"'),
            ("0x", 'invalid PROXY protocol TLV "0x"'),
            ("0xzz", 'invalid PROXY protocol TLV "0xzz"'),
            ("ssl_0xzz", 'invalid PROXY protocol TLV "ssl_0xzz"'),
        ):
            header = write_header(SOURCE, DESTINATION, TLVS)
            self.assertEqual(self.said(header, "<${proxy_protocol_tlv_" + name + "}>"), "<>")
            (line,) = self.world.lines
            self.assertTrue(line.startswith(f"[error] *1 {words} while returning text, "), line)

    def test_broken_tlvs(self) -> None:
        """
        TLVs that are broken are an error when one behind is asked for; a short one about TLS has nothing in it.
        """
        header = bytearray(write_header(SOURCE, DESTINATION, [(ALPN, b"h2"), (SSL, b"1234"), (NETNS, b"x")]))
        header[16 + 36 + 5 + 7 + 2] = 200
        self.assertEqual(self.said(bytes(header), "<$proxy_protocol_tlv_alpn$proxy_protocol_tlv_ssl_cn>"), "<h2>")
        self.assertEqual(self.world.lines, [])
        self.assertEqual(self.said(bytes(header), "<$proxy_protocol_tlv_netns>"), "<>")
        self.assertIn("broken PROXY protocol TLV", self.world.lines[0])
        value = SslTlv(1, 0, b"\x22\0\x09x").write()
        header = bytearray(write_header(SOURCE, DESTINATION, [(SSL, value)]))
        self.assertEqual(self.said(bytes(header), "<$proxy_protocol_tlv_ssl_cn>$proxy_protocol_tlv_ssl_verify"), "<>0")
        self.assertIn("broken PROXY protocol TLV", self.world.lines[0])

    def test_peer_stays(self) -> None:
        """
        The client's address is the connected one, whatever the header says, unless it is believed.
        """
        self.assertEqual(self.said(LINE, "$remote_addr:$remote_port"), CLIENT.text)


class ModuleTests(SynchronousTestCase):
    """
    The module as the rest of the program sees it.
    """

    def test_interfaces(self) -> None:
        """
        It is a module, found as a plugin.
        """
        self.assertTrue(verifyObject(IModule, proxy_protocol))
        self.assertTrue(verifyObject(IPlugin, proxy_protocol))

    def test_wrong(self) -> None:
        """
        The timeout is a time.
        """
        problem: ConfigErrors = self.assertRaises(ConfigErrors, configured, "stream { proxy_protocol_timeout x; }")
        self.assertEqual(
            [str(each) for each in problem.errors],
            ['"proxy_protocol_timeout" directive invalid value in /etc/edge.conf:1'],
        )


class HttpTests(ProxyProtocolTestCase):
    """
    Of requests and their servers.
    """

    def test_requests(self) -> None:
        """
        A request knows what a proxy has said of its connection; what is wrong with a name is told in its own log.
        """
        session = lone_session()
        session.notes[HEADER] = ProxyHeader(0, Endpoint("192.0.2.9", 9), Endpoint("192.0.2.8", 8), b"")
        request = FakeRequest(session=session)
        places = Places("server { }", [proxy_protocol])
        text = "$proxy_protocol_addr $proxy_protocol_port $proxy_protocol_server_addr $proxy_protocol_server_port"
        self.assertEqual(places.value(text, request), "192.0.2.9 9 192.0.2.8 8")
        self.assertEqual(places.value("$proxy_protocol_tlv_nonsense", request), "")
        self.assertEqual(request.lines, [(ERROR, 'unknown PROXY protocol TLV "nonsense"')])

    def test_time(self) -> None:
        """
        A server may say how long it waits.
        """
        world = World("server { listen 192.0.2.1:22 proxy_protocol; return x; }")
        default = world.listening[0].default
        default.opening_timeout = 3.0
        default.phases[Phase.POST_ACCEPT].clear()
        proxy_protocol.attach(default, world.build)
        leg = world.client(b"PROXY")
        world.pass_time(2.9)
        self.assertFalse(leg.closed)
        world.pass_time(0.2)
        self.assertTrue(leg.closed)
