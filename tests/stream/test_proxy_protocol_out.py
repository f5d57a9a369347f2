"""
PROXY headers that upstreams get.
"""

from __future__ import annotations

from functools import cache

from cryptography.x509.oid import NameOID
from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.addresses import Address
from sniproxy.errors import ConfigErrors
from sniproxy.wire.proxy_protocol import (
    ALPN,
    AUTHORITY,
    CLIENT_CERT_CONN,
    CLIENT_CERT_SESS,
    CLIENT_SSL,
    CRC32C,
    SSL_CIPHER,
    SSL_CN,
    SSL_KEY_ALG,
    SSL_SIG_ALG,
    SSL_VERSION,
    ProxyHeader,
    SslTlv,
    read_header,
    read_tlvs,
    write_header,
)
from sniproxy.wire.proxy_protocol import SSL as TLS
from tests.support import pki
from tests.support.hellos import hello
from tests.support.sessions import (
    CLIENT,
    FarEnd,
    World,
    client_of,
    client_settings,
    configured,
    server_of,
    server_settings,
)

OURS = Address("inet", "192.0.2.1", 22)
LINE = b"PROXY TCP4 192.0.2.77 192.0.2.1 40000 22\r\n"


@cache
def identities() -> dict[str, pki.Identity]:
    """
    Certificates of several kinds.
    """
    root = pki.authority("Headers CA")
    return {
        "root": root,
        "ec": pki.leaf(root, "a.example"),
        "rsa": pki.leaf(root, "a.example", kind="rsa"),
        "ed25519": pki.leaf(root, "a.example", kind="ed25519"),
        "client": pki.leaf(root, "client"),
        "nameless": pki.leaf(root, [(NameOID.ORGANIZATION_NAME, "x")]),
        "two": pki.leaf(root, [(NameOID.COMMON_NAME, "first"), (NameOID.COMMON_NAME, "second")]),
        "other": pki.leaf(pki.authority("Other CA"), "client"),
    }


class HeaderTestCase(SynchronousTestCase):
    """
    What the tests share.
    """

    def serve(self, text: str, level: int = 4) -> World:
        """
        A server that passes on.
        """
        return World(
            "server { listen 192.0.2.1:22; listen unix:/run/x; proxy_pass 192.0.2.2:22; " + text + " }", level=level
        )


class PlainTests(HeaderTestCase):
    """
    The header comes first.
    """

    def test_off(self) -> None:
        """
        Without the directive, and with off, nothing is added.
        """
        for text in ("", "proxy_protocol off;"):
            world = self.serve(text)
            world.client(b"hello")
            self.assertEqual(world.attempt().succeed().taken(), b"hello")

    def test_line(self) -> None:
        """
        On sends version 1, before the client says anything; it counts as sent to the upstream, and only there.
        """
        world = self.serve("proxy_protocol on;", level=7)
        client = world.client()
        upstream = world.attempt().succeed()
        self.assertEqual(upstream.taken(), LINE)
        client.arrive(b"hello")
        self.assertEqual(upstream.taken(), b"hello")
        client.end()
        self.assertEqual(world.value("$upstream_bytes_sent|$upstream_bytes_received"), f"{len(LINE) + 5}|0")
        self.assertIn(f"bytes from/to client:5/0, bytes from/to upstream:0/{len(LINE) + 5}", world.lines[-1])

    def test_header(self) -> None:
        """
        V2 sends version 2; a client that speaks no TLS with us has no TLVs, whatever was seen of its hello.
        """
        world = self.serve("proxy_protocol v2; ssl_preread on;")
        flight = hello("a.example")
        world.client(flight)
        self.assertEqual(world.attempt().succeed().taken(), write_header(CLIENT, OURS) + flight)

    def test_unix(self) -> None:
        """
        Of a client on a unix socket there is nothing to tell.
        """
        for text, wanted in (("on", b"PROXY UNKNOWN\r\n"), ("v2", write_header(Address("unix", ""), OURS))):
            world = self.serve("proxy_protocol " + text + ";")
            world.client(b"x", at=1, peer=Address("unix", ""))
            self.assertEqual(world.attempt().succeed().taken(), wanted + b"x")

    def test_passed_on(self) -> None:
        """
        Who is believed to be the client is told on.
        """
        world = World(
            "server { listen 192.0.2.1:22 proxy_protocol; proxy_pass 192.0.2.2:22; proxy_protocol on;"
            " set_real_ip_from 0.0.0.0/0; }"
        )
        world.client(b"PROXY TCP6 2001:DB8::5 ::1 5 6\r\nx")
        self.assertEqual(world.attempt().succeed().taken(), b"PROXY TCP6 2001:db8::5 192.0.2.1 5 22\r\nx")

    def test_each_peer(self) -> None:
        """
        Each peer that is connected gets it, and is counted by itself.
        """
        world = World(
            "proxy_protocol on; upstream u { server 192.0.2.2:1; server 192.0.2.3:1; }"
            " server { listen 192.0.2.1:22; proxy_pass u; proxy_ssl on; }"
        )
        world.client()
        first = world.attempt().succeed()
        self.assertTrue(first.sent.startswith(LINE + b"\x16"))
        first.lose()
        second = world.attempt()
        second.fail()
        self.assertEqual(world.statuses(), [502])
        self.assertEqual(world.value("$upstream_bytes_sent"), f"{len(LINE)}, 0")

    def test_before_tls(self) -> None:
        """
        It comes in plain, before TLS with the upstream.
        """
        world = self.serve("proxy_protocol v2; proxy_ssl on;")
        client = world.client(b"hello")
        leg = world.attempt().succeed()
        header = write_header(CLIENT, OURS)
        self.assertEqual(bytes(leg.sent[: len(header)]), header)
        del leg.sent[: len(header)]
        far = FarEnd(leg, server_of(server_settings(identities()["ec"]))).shake()
        self.assertEqual(far.heard, b"hello")
        client.end()
        self.assertEqual(world.value("$upstream_bytes_sent"), str(len(header) + 5))


class DirectiveTests(SynchronousTestCase):
    """
    How it is written down.
    """

    def test_wrong(self) -> None:
        """
        There are three words for it.
        """
        problem: ConfigErrors = self.assertRaises(ConfigErrors, configured, "stream { proxy_protocol v1; }")
        self.assertEqual([str(each) for each in problem.errors], ['invalid value "v1" in /etc/edge.conf:1'])


class TlsTests(SynchronousTestCase):
    """
    What is told of TLS with the client.
    """

    def world(self, kind: str, verify: str = "optional") -> World:
        """
        A server with a certificate of some kind.
        """
        own, root = identities()[kind], identities()["root"]
        return World(
            "server { listen 192.0.2.1:22 ssl; proxy_pass 192.0.2.2:22; proxy_protocol v2; ssl_alpn h2;"
            f" ssl_certificate /c; ssl_certificate_key /k; ssl_verify_client {verify}; ssl_client_certificate /ca; }}",
            {"/c": own.full_pem, "/k": own.key_pem, "/ca": root.pem},
        )

    def told(
        self, world: World, context: SSL.Context, name: str | None = "A.example", session: SSL.Session | None = None
    ) -> tuple[dict[int, bytes], SslTlv, dict[int, bytes]]:
        """
        What the upstream gets to know: the TLVs, the one about TLS, and what is in it.
        """
        client = world.client()
        self.far = FarEnd(client, client_of(context, name, session)).shake()
        self.assertIsNone(self.far.error)
        data = world.attempt().succeed().taken()
        found = read_header(data)
        assert isinstance(found, ProxyHeader)
        self.assertEqual(found.size, len(data))
        tlvs = dict(read_tlvs(found.tlvs))
        about = SslTlv.read(tlvs.pop(TLS))
        self.assertEqual(len(tlvs.pop(CRC32C)), 4)
        return tlvs, about, dict(read_tlvs(about.tlvs))

    def test_told(self) -> None:
        """
        Name, protocol, version, cipher, and by what our certificate is signed and may sign.
        """
        for kind, key in (("ec", b"EC256"), ("rsa", b"RSA2048"), ("ed25519", None)):
            context = client_settings(version=SSL.TLS1_2_VERSION)
            context.set_alpn_protos([b"h2"])
            tlvs, about, inside = self.told(self.world(kind), context)
            self.assertEqual(tlvs, {AUTHORITY: b"A.example", ALPN: b"h2"})
            self.assertEqual((about.client, about.verify), (CLIENT_SSL, 1))
            cipher = self.far.connection.get_cipher_name()
            assert cipher is not None
            wanted = {SSL_VERSION: b"TLSv1.2", SSL_CIPHER: cipher.encode(), SSL_SIG_ALG: b"ecdsa-with-SHA256"}
            self.assertEqual(inside, wanted if key is None else {**wanted, SSL_KEY_ALG: key})

    def test_nothing_asked(self) -> None:
        """
        A client that asks for no name and no protocol has none.
        """
        tlvs, _, inside = self.told(self.world("ec"), client_settings(), name=None)
        self.assertEqual((tlvs, inside[SSL_VERSION]), ({}, b"TLSv1.3"))

    def test_certificate(self) -> None:
        """
        Who has shown a certificate has a name, the first one in it, if there is one that is short enough.
        """
        for who, name in (("client", b"client"), ("nameless", None), ("two", b"first")):
            _, about, inside = self.told(self.world("ec"), client_settings(identity=identities()[who]))
            self.assertEqual(about.client, CLIENT_SSL | CLIENT_CERT_CONN | CLIENT_CERT_SESS)
            self.assertEqual((about.verify, inside.get(SSL_CN)), (0, name))

    def test_forgiven(self) -> None:
        """
        What is wrong with a certificate that is overlooked is told by its number.
        """
        world = self.world("ec", "optional_no_ca")
        _, about, inside = self.told(world, client_settings(identity=identities()["other"]))
        self.assertEqual((about.verify, inside[SSL_CN]), (21, b"client"))

    def test_resumed(self) -> None:
        """
        On a resumed session the certificate was shown earlier.
        """
        world = self.world("ec")
        context = client_settings(identity=identities()["client"], version=SSL.TLS1_2_VERSION)
        self.told(world, context)
        session = self.far.connection.get_session()
        self.far.leg.end()
        _, about, inside = self.told(world, context, session=session)
        self.assertEqual((about.client, about.verify, inside[SSL_CN]), (CLIENT_SSL | CLIENT_CERT_SESS, 0, b"client"))
