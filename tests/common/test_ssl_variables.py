"""
Tests for L{sniproxy.common.ssl_variables}.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.common.session import Session
from sniproxy.common.ssl_variables import SSL_VARIABLES
from sniproxy.config.template import ANY
from sniproxy.tls import facts, native
from tests.support import pki
from tests.support.places import FakeRequest
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


def _signing(settings: SSL.Context, algorithms: str) -> None:
    """
    Let clients offer these signature algorithms alone.
    """
    taken = SSL._lib.SSL_CTX_set1_sigalgs_list(settings._context, algorithms.encode())  # type: ignore[attr-defined]
    assert taken == 1


class SslVariablesTests(SynchronousTestCase):
    """
    What sessions tell.
    """

    TEXT = """
        server {
            listen 192.0.2.1:443 ssl; listen 192.0.2.1:80; proxy_pass 192.0.2.2:1;
            ssl_certificate a.pem; ssl_certificate_key a.key; ssl_alpn h2;
            ssl_verify_client optional; ssl_client_certificate ca.pem;
        }
        """

    def setUp(self) -> None:
        root, server, client = identities()
        files = {"/etc/ca.pem": root.pem, "/etc/a.pem": server.full_pem, "/etc/a.key": server.key_pem}
        self.files = files
        self.world = World(self.TEXT, files)
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

    def test_offered(self) -> None:
        """
        What the client offers is told in its order; nothing of its groups and signatures where it resumes a session of
        TLS 1.2, which nobody looks at.
        """
        for version, resumed in ((SSL.TLS1_2_VERSION, False), (SSL.TLS1_3_VERSION, True)):
            settings = client_settings(version=version)
            settings.set_cipher_list(b"AES128-SHA:ECDHE-ECDSA-AES128-GCM-SHA256")
            native.set_groups(settings, "P-521:X25519:P-256")
            _signing(settings, "ECDSA+SHA256:rsa_pss_rsae_sha256")
            told = self.told(self.session(settings))
            ciphers = told["ssl_ciphers"]
            self.assertIn("AES128-SHA:ECDHE-ECDSA" if version == SSL.TLS1_2_VERSION else "TLS_AES_128", ciphers or "")
            self.assertEqual(told["ssl_curves"], "secp521r1:X25519:prime256v1")
            self.assertEqual(told["ssl_sigalgs"], "ecdsa_secp256r1_sha256:rsa_pss_rsae_sha256")
            kept = self.far.connection.get_session()
            self.world.session().finish()
            told = self.told(self.session(settings, kept))
            self.assertEqual(told["ssl_session_reused"], "r")
            self.assertEqual(told["ssl_ciphers"], ciphers)
            self.assertEqual((told["ssl_curves"] is not None, told["ssl_sigalgs"] is not None), (resumed, resumed))
            self.world.session().finish()

    def test_signatures(self) -> None:
        """
        By which algorithms both have signed is told where the configuration asks for one of them, and else not noted.
        """
        self.assertIsNone(self.told(self.session(self.settings))["ssl_sigalg"])
        self.world = World("log_format signed $ssl_client_sigalg; access_log x signed;" + self.TEXT, self.files)
        told = self.told(self.session(self.settings))
        self.assertEqual(told["ssl_sigalg"], "ecdsa_secp256r1_sha256")
        self.assertEqual(told["ssl_client_sigalg"], "ecdsa_secp256r1_sha256")
        self.world.session().finish()
        self.assertIsNone(self.told(self.session(self.bare))["ssl_client_sigalg"])

    def test_empty_is_not_found(self) -> None:
        """
        What there is nothing of is not found, so that a log has a hyphen.
        """
        session = self.session(client_settings(version=SSL.TLS1_2_VERSION), name="")
        told = self.told(session)
        self.assertEqual((told["ssl_alpn_protocol"], told["ssl_server_name"]), (None, None))

    def test_failed(self) -> None:
        """
        Of a handshake that failed, or never began, is told what OpenSSL knows: that there is no cipher yet.
        """
        nothing = {"ssl_cipher": "(NONE)", "ssl_session_reused": ".", "ssl_client_verify": "NONE"}
        self.settings.set_alpn_protos([b"other"])
        FarEnd(self.world.client(), client_of(self.settings, "A.example")).shake()
        leg = self.world.client(FarEnd(self.world.client(), client_of(self.settings, "A.example")).hello()[:20])
        leg.end()
        for ended, name, version in zip(self.world.ended, ("A.example", None), ("TLSv1.2", "TLSv1.3"), strict=True):
            told = self.told(ended)
            self.assertEqual(told["ssl_protocol"], version)
            self.assertEqual(told["ssl_server_name"], name)
            self.assertEqual({key: told[key] for key in nothing}, nothing)
            self.assertEqual(told["ssl_ciphers"] is None, name is None)

    def test_refused_before(self) -> None:
        """
        Of a session that ended before its TLS began nothing is told, and none of one that has not come so far.
        """
        self.world.client()
        session = self.world.session()
        self.assertEqual(set(self.told(session).values()), {None})
        session.action = ""
        session.finish(403)
        self.assertEqual(set(self.told(session).values()), {None})

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

    def test_request(self) -> None:
        """
        A request knows what is known of its connection; of early data there is none.
        """
        session = self.session(self.settings)
        request: Any = FakeRequest(session=session)
        told = self.told(session)
        self.assertEqual(told["ssl_client_verify"], "SUCCESS")
        self.assertEqual(self.told(request), told)
        kinds = {variable.name: variable.kind for variable in SSL_VARIABLES}
        self.assertEqual(kinds.pop("ssl_early_data"), "http")
        self.assertEqual(set(kinds.values()), {ANY})
        self.assertIsNone(told["ssl_early_data"])
