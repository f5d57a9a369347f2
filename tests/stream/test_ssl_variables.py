"""
Tests for L{sniproxy.stream.ssl_variables}.
"""

from __future__ import annotations

from functools import cache

from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.stream.session import Session
from sniproxy.stream.ssl_variables import SSL_VARIABLES
from sniproxy.tls import facts
from tests.support import pki
from tests.support.sessions import FarEnd, World, client_of, client_settings

OF_CERTIFICATE = {
    "ssl_client_s_dn": "CN=client",
    "ssl_client_i_dn": "CN=Variables CA",
    "ssl_client_serial": "ABCD",
    "ssl_client_v_start": "Jan  1 00:00:00 2024 GMT",
    "ssl_client_v_end": "Jan  1 00:00:00 2099 GMT",
}


@cache
def identities() -> tuple[pki.Identity, pki.Identity, pki.Identity]:
    """
    An authority, a server and a client.
    """
    root = pki.authority("Variables CA")
    return root, pki.leaf(root, "a.example"), pki.leaf(root, "client", serial=0xABCD)


class SslVariablesTests(SynchronousTestCase):
    """
    What sessions tell.
    """

    def setUp(self) -> None:
        root, server, client = identities()
        files = {"/etc/ca.pem": root.pem, "/etc/a.pem": server.full_pem, "/etc/a.key": server.key_pem}
        self.world = World(
            """
            server {
                listen 192.0.2.1:443 ssl; listen 192.0.2.1:80; proxy_pass 192.0.2.2:1;
                ssl_certificate a.pem; ssl_certificate_key a.key; ssl_alpn h2;
                ssl_verify_client optional; ssl_client_certificate ca.pem;
            }
            """,
            files,
        )
        self.settings = client_settings(version=SSL.TLS1_2_VERSION, identity=client)
        self.bare = client_settings(version=SSL.TLS1_2_VERSION)
        self.settings.set_alpn_protos([b"h2"])
        self.far: FarEnd

    def session(self, settings: SSL.Context, session: SSL.Session | None = None, name: str = "A.example") -> Session:
        """
        A session after its handshake.
        """
        self.far = FarEnd(self.world.client(), client_of(settings, name, session)).shake()
        self.assertTrue(self.far.done)
        return self.world.session()

    def told(self, session: Session) -> dict[str, str | None]:
        """
        All variables of this module.
        """
        return {variable.name: variable.get(session) for variable in SSL_VARIABLES}

    def test_certificate(self) -> None:
        """
        What a client's certificate says is told in nginx's spellings.
        """
        told = self.told(self.session(self.settings))
        self.assertEqual({name: told[name] for name in OF_CERTIFICATE}, OF_CERTIFICATE)
        certificate = identities()[2].certificate
        self.assertEqual(told["ssl_client_fingerprint"], facts.fingerprint(certificate))
        self.assertEqual(told["ssl_client_raw_cert"], facts.raw_pem(certificate))
        self.assertEqual(told["ssl_client_cert"], facts.tabbed_pem(certificate))
        self.assertEqual(told["ssl_client_escaped_cert"], facts.escaped_pem(certificate))
        self.assertEqual(told["ssl_client_v_remain"], facts.days_left(certificate, self.world.engine.time()))
        self.assertEqual(told["ssl_client_verify"], "SUCCESS")

    def test_connection(self) -> None:
        """
        What was agreed on is told.
        """
        told = self.told(self.session(self.settings))
        self.assertEqual(told["ssl_protocol"], "TLSv1.2")
        self.assertEqual(told["ssl_cipher"], self.far.connection.get_cipher_name())
        self.assertEqual(told["ssl_alpn_protocol"], "h2")
        self.assertEqual(told["ssl_session_reused"], ".")
        self.assertEqual(told["ssl_server_name"], "A.example")
        self.assertNotEqual(told["ssl_curve"], "")

    def test_no_certificate(self) -> None:
        """
        Of a client without a certificate nothing is told but that.
        """
        told = self.told(self.session(self.bare))
        self.assertEqual(told["ssl_client_verify"], "NONE")
        self.assertEqual({told[name] for name in (*OF_CERTIFICATE, "ssl_client_v_remain", "ssl_client_cert")}, {None})

    def test_resumed(self) -> None:
        """
        On a resumed session the certificate is known as before, and the name is that of this ClientHello.
        """
        self.session(self.settings).finish()
        kept = self.far.connection.get_session()
        assert kept is not None
        told = self.told(self.session(self.settings, kept, "other.example"))
        self.assertEqual((told["ssl_session_reused"], told["ssl_client_s_dn"]), ("r", "CN=client"))
        self.assertEqual(told["ssl_server_name"], "other.example")

    def test_no_tls(self) -> None:
        """
        Without TLS no variable is found.
        """
        self.world.client(at=1)
        self.assertEqual(set(self.told(self.world.session()).values()), {None})
