"""
Each directive has its effect on a real handshake, or is refused in nginx's words.
"""

from __future__ import annotations

from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.errors import ConfigError
from sniproxy.tls import native, settings
from sniproxy.tls.contexts import ServerContext
from sniproxy.tls.facts import curve
from sniproxy.tls.policies import ClientPolicy, ServerPolicy
from tests.support import pki
from tests.tls.pump import DH_PARAMETERS, Disk, pair, shake

CA = pki.authority("CA")
LEAF = pki.leaf(CA, "leaf.example.com")
RSA = pki.leaf(CA, "leaf.example.com", kind="rsa")
OLD = "TLSv1", "TLSv1.1"


SMALL_DH_PARAMETERS = b"""\
-----BEGIN DH PARAMETERS-----
MEYCQQC9vt1VOExQgpI/ZNjwqpQF/Ol373oZbrWe3K2L4SEwZgtekZEyvXcFYzDe
3OpUXKXHbUsyCHcbQfF3G8Br/Hf3AgEC
-----END DH PARAMETERS-----
"""
"""
512 bits, which OpenSSL does not take.
"""


class SettingsCase(SynchronousTestCase):
    """
    A disk with a server's certificate.
    """

    def setUp(self) -> None:
        self.disk = Disk()
        self.files = self.disk.add("s", LEAF)

    def server(self, **words: object) -> ServerContext:
        """
        A context of one certificate and some directives.
        """
        return self.disk.server(ServerPolicy((self.files,), **words))  # type: ignore[arg-type]

    def refusal(self, **words: object) -> str:
        """
        @return: the message of the error.
        """
        return str(self.assertRaises(ConfigError, self.server, **words).message)

    def meet(self, server: ServerContext, **words: object) -> SSL.Connection:
        """
        @return: the client's side after a handshake.
        """
        one, _ = pair(self.disk.client(ClientPolicy(**words)), server)  # type: ignore[arg-type]
        return one


class ProtocolTests(SettingsCase):
    """
    ssl_protocols and ssl_ciphers.
    """

    def test_each_version(self) -> None:
        """
        A single version is spoken, the old ones at security level 0.
        """
        for word in (*OLD, "TLSv1.2", "TLSv1.3"):
            server = self.server(protocols=(word,), ciphers="DEFAULT@SECLEVEL=0")
            self.assertEqual(server.warnings, ())
            client = self.meet(server, protocols=(*OLD, "TLSv1.2", "TLSv1.3"), ciphers="DEFAULT@SECLEVEL=0")
            self.assertEqual(client.get_protocol_version_name(), word)

    def test_hole(self) -> None:
        """
        A version that is left out between two others is not spoken.
        """
        server = self.server(protocols=("TLSv1.1", "TLSv1.3"), ciphers="DEFAULT@SECLEVEL=0")
        client = self.meet(server, protocols=("TLSv1.1", "TLSv1.2"), ciphers="DEFAULT@SECLEVEL=0")
        self.assertEqual(client.get_protocol_version_name(), "TLSv1.1")

    def test_old_need_level(self) -> None:
        """
        Without security level 0 the old versions are a warning each, as they fail in nginx without a word.
        """
        for ciphers in ("DEFAULT", "DEFAULT@SECLEVEL=0:@SECLEVEL=1"):
            self.assertEqual(
                self.server(protocols=(*OLD, "TLSv1.2"), ciphers=ciphers).warnings,
                tuple(f'protocol "{word}" needs security level 0, add "@SECLEVEL=0" to the ciphers' for word in OLD),
            )

    def test_gone(self) -> None:
        """
        SSLv2 and SSLv3 are accepted as words and warned of.
        """
        first, second = self.server(protocols=("SSLv2", "SSLv3", "TLSv1.2")).warnings
        self.assertRegex(first, r'^protocol "SSLv2" is not supported by OpenSSL \d+\.\d+\.\d+$')
        self.assertIn('"SSLv3"', second)

    def test_nothing_left(self) -> None:
        """
        A server with no usable version starts and refuses every handshake.
        """
        server = self.server(protocols=("SSLv3",))
        self.assertIn("no usable protocol is enabled, every handshake will fail", server.warnings)
        self.assertRaises(SSL.Error, self.meet, server)

    def test_ciphers(self) -> None:
        """
        The cipher lists of both kinds of versions decide, the server's order where it is preferred.
        """
        server = self.server(
            protocols=("TLSv1.2",),
            ciphers="ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384",
            prefer_server_ciphers=True,
        )
        words = "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-GCM-SHA256"
        self.assertEqual(self.meet(server, ciphers=words).get_cipher_name(), "ECDHE-ECDSA-AES128-GCM-SHA256")
        server = self.server(
            protocols=("TLSv1.2",), ciphers="ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384"
        )
        self.assertEqual(self.meet(server, ciphers=words).get_cipher_name(), "ECDHE-ECDSA-AES256-GCM-SHA384")
        server = self.server(tls13_ciphers="TLS_CHACHA20_POLY1305_SHA256")
        self.assertEqual(self.meet(server).get_cipher_name(), "TLS_CHACHA20_POLY1305_SHA256")

    def test_bad_ciphers(self) -> None:
        """
        A list without any known cipher is refused.
        """
        self.assertEqual(
            self.refusal(ciphers="BOGUS"),
            'SSL_CTX_set_cipher_list("BOGUS") failed (SSL: error:0A0000B9:SSL routines::no cipher match)',
        )
        self.assertIn('SSL_CTX_set_ciphersuites("BOGUS") failed', self.refusal(tls13_ciphers="BOGUS"))


class CredentialTests(SettingsCase):
    """
    ssl_certificate in the context.
    """

    def test_key_types(self) -> None:
        """
        With two key types a client gets the certificate that it can use, with that one's own chain.
        """
        ec = pki.leaf(pki.chain(CA, 1, "EC"), "ec.example.com")
        rsa = pki.leaf(pki.chain(CA, 2, "RSA"), "rsa.example.com", kind="rsa")
        server = self.disk.server(ServerPolicy((self.disk.add("ec", ec), self.disk.add("rsa", rsa))))
        self.assertEqual(len(server.credentials), 2)
        for kind, identity in (("ECDSA", ec), ("RSA", rsa)):
            client = self.meet(server, protocols=("TLSv1.2",), ciphers=f"ECDHE-{kind}-AES128-GCM-SHA256")
            sent = client.get_peer_cert_chain(as_cryptography=True)
            self.assertEqual(sent, [identity.certificate, *identity.chain])

    def test_chain(self) -> None:
        """
        The chain of the file is sent in its order.
        """
        identity = pki.leaf(pki.chain(CA, 2), "chained.example.com")
        server = self.disk.server(ServerPolicy((self.disk.add("c", identity),)))
        sent = self.meet(server).get_peer_cert_chain(as_cryptography=True)
        self.assertEqual(sent, [identity.certificate, *identity.chain])

    def test_file_chain_only(self) -> None:
        """
        What is trusted is never added to the chain that is sent.
        """
        server = self.server(verify="optional", client_certificate=self.disk.trust("ca", CA))
        self.assertEqual(self.meet(server).get_peer_cert_chain(as_cryptography=True), [LEAF.certificate])

    def test_weak_certificate(self) -> None:
        """
        A certificate that the security level forbids is refused by name.
        """
        message = self.assertRaises(
            ConfigError, self.disk.server, ServerPolicy((self.disk.add("r", RSA),), ciphers="DEFAULT@SECLEVEL=4")
        ).message
        self.assertEqual(
            message, 'SSL_CTX_use_certificate("/r.pem") failed (SSL: error:SSL routines::ee key too small)'
        )

    def test_key_refused(self) -> None:
        """
        A key that OpenSSL does not take is refused by name.
        """

        def refuse(context: SSL.Context, key: object) -> None:
            raise SSL.Error([("x", "", "y")])

        self.patch(SSL.Context, "use_privatekey", refuse)
        self.assertEqual(self.refusal(), 'SSL_CTX_use_PrivateKey("/s.key") failed (SSL: error:x::y)')


class KeyExchangeTests(SettingsCase):
    """
    ssl_ecdh_curve and ssl_dhparam.
    """

    def test_curve(self) -> None:
        """
        The named groups are used.
        """
        self.assertEqual(curve(self.meet(self.server(curves="secp384r1"))), "secp384r1")

    def test_bad_curve(self) -> None:
        """
        An unknown group is refused.
        """
        self.assertEqual(
            self.refusal(curves="bogus"),
            'SSL_CTX_set1_curves_list("bogus") failed '
            "(SSL: error:0A080106:SSL routines::passed invalid argument:group 'bogus' cannot be set)",
        )

    def test_dh(self) -> None:
        """
        Ephemeral DH is spoken with the parameters of the file, and without only where nothing else is allowed.
        """
        self.files = self.disk.add("r", RSA)
        self.disk.files["/dh"] = DH_PARAMETERS
        only = {"protocols": ("TLSv1.2",), "ciphers": "DHE-RSA-AES128-GCM-SHA256"}
        for words in ({"dhparam": "/dh"}, only):
            client = self.meet(self.server(**words), **only)
            self.assertEqual(client.get_cipher_name(), "DHE-RSA-AES128-GCM-SHA256")
        self.assertRaises(SSL.Error, self.meet, self.server(), **only)

    def test_bad_dh(self) -> None:
        """
        A file that is not there and a file without parameters are told.
        """
        self.disk.files["/small"] = SMALL_DH_PARAMETERS
        self.assertTrue(self.refusal(dhparam="/no").startswith('BIO_new_file("/no") failed (SSL: error:80000002:'))
        self.assertEqual(
            self.refusal(dhparam="/small"),
            'SSL_CTX_set_tmp_dh("/small") failed (SSL: error:0A00018A:SSL routines::dh key too small)',
        )
        self.assertEqual(self.refusal(curves=""), 'SSL_CTX_set1_curves_list("") failed')
        self.assertEqual(
            self.refusal(dhparam="/s.pem"),
            'PEM_read_bio_DHparams("/s.pem") failed '
            "(SSL: error:0480006C:PEM routines::no start line:Expecting: DH PARAMETERS)",
        )


class SessionTests(SettingsCase):
    """
    ssl_session_cache and its neighbours.
    """

    def resumed(self, protocol: str, **words: object) -> bool:
        """
        Whether a second connection resumes the session of the first.
        """
        server = self.server(protocols=(protocol,), **words)
        client = self.disk.client(ClientPolicy())
        one, other = pair(client, server)
        one.shutdown()
        other.shutdown()
        one, _ = pair(client, server, one.get_session())
        return native.session_reused(one)

    def test_table(self) -> None:
        """
        Tickets resume whatever the cache is; without them only a cache does.
        """
        for protocol in ("TLSv1.2", "TLSv1.3"):
            for word in ("off", "none"):
                case = f"{protocol} {word}"
                self.assertTrue(self.resumed(protocol, session_cache=(word,)), case)
                self.assertFalse(self.resumed(protocol, session_cache=(word,), session_tickets=False), case)
            for cache in (("builtin",), ("shared:a:1m",), ("builtin:100", "shared:a:40k")):
                self.assertTrue(
                    self.resumed(protocol, session_cache=cache, session_tickets=False), f"{protocol} {cache}"
                )

    def test_last_word(self) -> None:
        """
        Of off, none and builtin the last one counts, and the first two leave a shared cache unused, in any order.
        """
        shared = "shared:a:1m"
        for cache, resumed in (
            ((shared, "none"), False),
            (("off", shared), False),
            (("off", "builtin"), True),
            (("none", "builtin", shared), True),
            (("builtin", "none"), False),
        ):
            self.assertEqual(self.resumed("TLSv1.2", session_cache=cache, session_tickets=False), resumed, cache)
            if not resumed:
                self.assertEqual(self.server(session_cache=cache).warnings, ())

    def test_warnings(self) -> None:
        """
        What a cache is not is told.
        """
        self.assertEqual(
            self.server(session_cache=("builtin:100", "shared:a:1m")).warnings,
            (
                'session cache "builtin:100" has OpenSSL\'s size, 20480 sessions',
                'session cache "shared:a:1m" is kept by each worker for itself and for each server alone',
            ),
        )
        self.assertEqual(self.server(session_cache=("builtin",)).warnings, ())

    def test_bad(self) -> None:
        """
        Malformed caches are refused in nginx's words, and ticket keys by name.
        """
        for word in ("foo", "shared:a", "shared::1m", "builtin:x", "builtin:"):
            self.assertEqual(self.refusal(session_cache=(word,)), f'invalid session cache "{word}"')
        self.assertEqual(self.refusal(session_cache=("shared:a:31k",)), 'session cache "shared:a:31k" is too small')
        self.assertIn('"ssl_session_ticket_key" is not supported', self.refusal(session_ticket_key=("/k",)))

    def test_timeout(self) -> None:
        """
        The timeout is OpenSSL's, in whole seconds and at least one.
        """
        for given, kept in ((300.0, 300), (0.5, 1)):
            context = SSL.Context(SSL.TLS_SERVER_METHOD)
            settings.set_sessions(context, ServerPolicy((), session_timeout=given), True)
            self.assertEqual(context.get_timeout(), kept)


class TrustTests(SettingsCase):
    """
    The files of authorities and revocation lists.
    """

    def test_advertised(self) -> None:
        """
        The names in ssl_client_certificate are sent in the order of the file, once each; ssl_trusted_certificate is
        not.
        """
        first, second, third = pki.authority("Z first"), pki.authority("A second"), pki.authority("M third")
        same = pki.authority("Z first")
        server = self.server(
            verify="optional",
            client_certificate=self.disk.trust("cc", first, second, same, first),
            trusted_certificate=self.disk.trust("tc", third),
        )
        names = [name.CN for name in self.meet(server).get_client_ca_list()]
        self.assertEqual(names, ["Z first", "A second"])

    def test_nothing_advertised(self) -> None:
        """
        Without ssl_client_certificate the list is empty.
        """
        server = self.server(verify="optional_no_ca", trusted_certificate=self.disk.trust("tc", CA))
        self.assertEqual(self.meet(server).get_client_ca_list(), [])

    def test_missing_authority(self) -> None:
        """
        A mode that needs an authority and has none is refused, on both sides; one that is trusted and not advertised is
        enough.
        """
        for mode in ("on", "optional"):
            self.assertEqual(
                self.refusal(verify=mode),
                "no ssl_client_certificate or ssl_trusted_certificate for ssl_verify_client",
            )
            server = self.server(verify=mode, trusted_certificate=self.disk.trust("tc", CA))
            self.assertEqual(self.meet(server).get_client_ca_list(), [])
        error = self.assertRaises(ConfigError, self.disk.client, ClientPolicy(verify=True))
        self.assertEqual(error.message, "no proxy_ssl_trusted_certificate for proxy_ssl_verify")

    def test_bad_files(self) -> None:
        """
        Files that are missing, empty or damaged are told in nginx's words.
        """
        self.disk.files["/empty"] = b""
        self.disk.files["/cut"] = CA.pem[:100]
        trust = self.disk.trust("ca", CA)
        tails = {
            "/no": "error:80000002:system library::No such file or directory:calling fopen(/no, r) error:10000080:BIO "
            "routines::no such file error:05880002:x509 certificate routines::system lib",
            "/empty": "error:05800088:x509 certificate routines::no certificate or crl found",
            "/cut": "error:04800066:PEM routines::bad end line error:05880009:x509 certificate routines::PEM lib",
        }
        for path, tail in tails.items():
            message = f'SSL_CTX_load_verify_locations("{path}") failed (SSL: {tail})'
            self.assertEqual(self.refusal(verify="on", client_certificate=path), message)
            self.assertEqual(self.refusal(verify="on", client_certificate=trust, trusted_certificate=path), message)
        self.disk.files["/cut"] = pki.crl(CA)[:100]
        for path, tail in tails.items():
            self.assertEqual(
                self.refusal(verify="on", client_certificate=trust, crl=path),
                f'X509_LOOKUP_load_file("{path}") failed (SSL: {tail})',
            )

    def test_not_read_when_off(self) -> None:
        """
        As in nginx, files that nothing would be verified with are not opened.
        """
        self.server(client_certificate="/no", trusted_certificate="/no", crl="/no")
        self.disk.client(ClientPolicy(trusted_certificate="/no", crl="/no"))


class VerificationTests(SettingsCase):
    """
    What the peer is asked for and what is noted of it.
    """

    def test_noted(self) -> None:
        """
        With and without the private binding the same is noted, and an error ends no handshake.
        """
        trust = self.disk.trust("ca", CA)
        stranger = self.disk.add("c", pki.leaf(pki.authority("stranger"), "c.example.com"))
        noted = []
        for names in (native.BINDINGS, ("SSL_not_there",)):
            self.patch(native, "BINDINGS", names)
            server = self.server(verify="on", client_certificate=trust)
            for shown in (self.files, stranger):
                _, other = pair(self.disk.client(ClientPolicy(certificates=(shown,))), server)
                noted.append([(link.depth, link.error, link.subject) for link in other.links])
        self.assertEqual(noted[0], [(1, 0, "CN=CA"), (0, 0, "CN=leaf.example.com")])
        self.assertEqual([error for _, error, _ in noted[1]], [20, 21, 0])
        self.assertEqual(noted[2:], noted[:2])

    def test_upstream(self) -> None:
        """
        A client's context notes the chain of its upstream, with what the revocation lists say.
        """
        self.disk.files["/crl"] = pki.crl(CA, LEAF)
        policy = ClientPolicy(verify=True, trusted_certificate=self.disk.trust("ca", CA), crl="/crl")
        one, _ = pair(self.disk.client(policy), self.server())
        self.assertEqual([(link.depth, link.error) for link in one.links], [(0, 23), (1, 0), (0, 0)])


class ALPNTests(SettingsCase):
    """
    ssl_alpn.
    """

    def test_preference(self) -> None:
        """
        The server's first protocol that the client offers is taken.
        """
        server = self.server(alpn=("h2", "http/1.1"))
        self.assertEqual(self.meet(server, alpn=("http/1.1", "h2")).get_alpn_proto_negotiated(), b"h2")

    def test_no_offer(self) -> None:
        """
        A client that offers nothing is welcome.
        """
        self.assertEqual(self.meet(self.server(alpn=("h2",))).get_alpn_proto_negotiated(), b"")

    def test_no_overlap(self) -> None:
        """
        A client that offers only others gets the alert no_application_protocol, and the next one is served.
        """
        server = self.server(alpn=("h2",))
        one = self.disk.client(ClientPolicy(alpn=("imap",))).connection()
        other = server.connection()
        self.assertRaises(SSL.Error, shake, one, other)
        error = self.assertRaises(SSL.Error, one.do_handshake)
        self.assertIn("no application protocol", error.args[0][0][2])
        self.meet(server, alpn=("h2",))


class AddressTests(SynchronousTestCase):
    """
    L{settings.is_address}.
    """

    def test_cases(self) -> None:
        """
        IP addresses, in brackets or not, are addresses; names are not.
        """
        for text, answer in (("127.0.0.1", True), ("::1", True), ("[::1]", True), ("a.example", False), ("", False)):
            self.assertEqual(settings.is_address(text), answer)
