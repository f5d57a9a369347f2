"""
Tests for L{sniproxy.common.ssl_settings}.
"""

from __future__ import annotations

from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.common import certificates
from sniproxy.common.ssl import ssl
from sniproxy.errors import ConfigErrors
from tests.common import test_ocsp, test_ssl
from tests.common.test_ssl import CERTIFICATE, VERSIONS, files, identities, server, world
from tests.support import pki
from tests.support.places import Places
from tests.support.sessions import FarEnd, World, client_of, client_settings, configured


class DirectiveTests(test_ssl.SslCase):
    """
    What may be said, and what is wrong.
    """

    def complaints(self, settings: str, listen: str = "443 ssl") -> list[str]:
        """
        What is wrong with one server.
        """
        text = f"stream {{\nserver {{\nlisten {listen}; proxy_pass 192.0.2.2:1;\n{settings}\n}}\n}}"
        return [str(error) for error in self.assertRaises(ConfigErrors, configured, text, files()).errors]

    def test_wrong_values(self) -> None:
        """
        What a directive does not take is refused with its line.
        """
        for line, complaint in (
            ("ssl_protocols TLSv1.9;", 'invalid value "TLSv1.9"'),
            ("ssl_verify_client maybe;", 'invalid value "maybe"'),
            (f"ssl_alpn {'x' * 256};", '"ssl_alpn" directive protocol too long'),
            ("ssl_session_cache shared:a;", 'invalid session cache "shared:a"'),
            ("ssl_session_cache shared:a:1k;", 'session cache "shared:a:1k" is too small'),
            (
                "ssl_conf_command Opt x;",
                'SSL_CONF_cmd("Opt", "x") failed (SSL: error:0A000182:SSL routines::unknown cmd name:cmd=Opt)',
            ),
            ("ssl_certificate_key data:$x;", 'unknown "x" variable'),
        ):
            found = self.complaints(f"{line}", "443")
            self.assertEqual(found, [f"{complaint} in /etc/edge.conf:4"])

    def test_shared_files(self) -> None:
        """
        Servers and upstreams that have one certificate in common load it once, and are contexts of their own.
        """
        inside = "proxy_ssl on; proxy_ssl_certificate a.example.pem; proxy_ssl_certificate_key a.example.key;"
        here = world("", *(server(inside, listen=f"{port} ssl") for port in (443, 444)))
        first, second = (listening.default for listening in here.listening)
        self.assertIsNot(first.tls, second.tls)
        self.assertEqual(first.tls.digest, second.tls.digest)
        self.assertIs(first.tls.credentials[0], second.tls.credentials[0])
        (known,) = certificates.once(here.build).credentials.values()
        self.assertIs(first.tls.credentials[0], known)

    def test_commands(self) -> None:
        """
        ssl_conf_command changes what the directives say; a value that is none is told where a context is made, and what
        has no effect is a warning, once.
        """
        here = world(
            "ssl_conf_command Options KTLS;",
            server("ssl_conf_command Options ServerPreference; ssl_conf_command DHParameters dh.pem;", listen="80"),
            server("ssl_conf_command MaxProtocol TLSv1.2; ssl_conf_command Options KTLS;"),
            server(listen="444 ssl"),
        )
        self.assertEqual(here.listening[1].default.tls.policy.protocols, ("TLSv1.2",))
        self.assertEqual(
            [str(each) for each in here.build.warnings if "ktls" in str(each)],
            ['the option "ktls" of "ssl_conf_command" has no effect in /etc/edge.conf:3'],
        )
        self.assertEqual(
            self.complaints(CERTIFICATE + "ssl_conf_command MinProtocol x;"),
            [
                'SSL_CONF_cmd("MinProtocol", "x") failed (SSL: error:0A000180:SSL routines::bad value:cmd=MinProtocol,'
                " value=x) in /etc/edge.conf:4"
            ],
        )

    def test_compression(self) -> None:
        """
        Certificates are not compressed: whoever wants it is told why not.
        """
        self.assertEqual(world(server("ssl_certificate_compression off;")).build.warnings, [])
        self.assertEqual(
            self.complaints("ssl_certificate_compression on;", "443"),
            [
                '"ssl_certificate_compression" is not supported by sniproxy: pyOpenSSL cannot compress certificates in'
                " /etc/edge.conf:4"
            ],
        )

    def test_key_missing(self) -> None:
        """
        Each certificate needs a key.
        """
        (complaint,) = self.complaints(CERTIFICATE + "ssl_certificate b.example.pem;")
        self.assertIn('no "ssl_certificate_key" is defined for certificate "b.example.pem"', complaint)

    def test_passwords(self) -> None:
        """
        The passwords of a file open the key, and a file that cannot be read is told.
        """
        locked = "ssl_certificate a.example.pem; ssl_certificate_key locked.key; ssl_password_file passwords;"
        here = world(server(locked))
        self.assertLetIn(here, self.begun(here))
        (complaint,) = self.complaints("ssl_password_file nowhere;", "443")
        self.assertIn("/etc/nowhere", complaint)

    def test_repeated(self) -> None:
        """
        Protocols and caches of several directives of a block are joined; what comes twice is a warning.
        """
        here = world(
            "ssl_protocols TLSv1.2;",
            server(
                "ssl_protocols TLSv1.3; ssl_protocols TLSv1.2 TLSv1.3;"
                "ssl_session_cache builtin; ssl_session_cache none;"
            ),
        )
        policy = here.listening[0].default.tls.policy
        self.assertEqual((policy.protocols, policy.session_cache), (("TLSv1.3", "TLSv1.2"), ("builtin", "none")))
        self.assertEqual([each.message for each in here.build.warnings], ['duplicate value "TLSv1.3"'])

    def test_protocol_words(self) -> None:
        """
        A word that comes twice counts once, and what OpenSSL cannot do is a warning.
        """
        here = world(server("ssl_protocols TLSv1.2 TLSv1.2 SSLv3;"))
        self.assertEqual(here.listening[0].default.tls.policy.protocols, ("TLSv1.2", "SSLv3"))
        self.assertIn("SSLv3", str(here.build.warnings))

    def test_shared_cache(self) -> None:
        """
        A shared cache is one of this process, which is told once for all servers; the other kinds are as they are.
        """
        here = world("ssl_session_cache shared:SSL:10m;", server(), server(listen="444 ssl"))
        (warning,) = here.build.warnings
        self.assertIn('session cache "shared:SSL:10m" is kept by each worker for itself', str(warning))
        self.assertEqual(world(server("ssl_session_cache off;")).build.warnings, [])

    def test_zones(self) -> None:
        """
        A shared cache is a zone: its name has one use and one size, wherever it occurs.
        """
        for line, complaint in (
            (
                "ssl_session_cache shared:a:1m shared:a:2m;",
                'the size 2097152 of shared memory zone "a" conflicts with already declared size 1048576',
            ),
            (
                "ssl_session_cache shared:a:1m; ssl_ocsp_cache shared:a:1m;",
                'the shared memory zone "a" is already declared for a different use',
            ),
        ):
            self.assertEqual(self.complaints(line, "443"), [f"{complaint} in /etc/edge.conf:4"])
        twice = "ssl_session_cache shared:a:1m;"
        self.assertEqual(len(world(twice, server(twice)).build.errors), 0)

    def test_all_reach_the_policy(self) -> None:
        """
        What is said in the block, or around it, is what the context is made from.
        """
        here = world(
            "ssl_ciphers HIGH; ssl_alpn h2 http/1.1;",
            server(
                "ssl_prefer_server_ciphers on; ssl_session_tickets off; ssl_session_timeout 10m;"
                "ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256; ssl_ecdh_curve prime256v1;"
                "ssl_verify_client optional_no_ca; ssl_trusted_certificate tc.pem; ssl_verify_depth 3;"
                "ssl_certificate a.example.pem; ssl_certificate_key a.example.key;"
            ),
        )
        policy = here.listening[0].default.tls.policy
        self.assertEqual((policy.ciphers, policy.alpn), ("HIGH", ("h2", "http/1.1")))
        self.assertEqual(
            (policy.prefer_server_ciphers, policy.session_tickets, policy.session_timeout), (True, False, 600)
        )
        self.assertEqual((policy.tls13_ciphers, policy.curves), ("TLS_AES_128_GCM_SHA256", "prime256v1"))
        self.assertEqual((policy.verify, policy.depth), ("optional_no_ca", 3))
        self.assertEqual((policy.trusted_certificate, policy.client_certificate), ("/etc/tc.pem", ""))
        self.assertEqual(policy.certificates, (("/etc/a.example.pem", "/etc/a.example.key"),))
        self.assertEqual(policy.session_cache, ("none",))


NAMED = """
ssl_certificate $chain; ssl_certificate_key $key;
map $ssl_server_name $chain { default $ssl_server_name.pem; copy.example /etc/a.example.pem; inline "data:$pem"; }
map $ssl_server_name $key { default $ssl_server_name.key; copy.example a.example.key; inline "data:$pem"; }
map $ssl_server_name $pem { inline "@inline@"; }
"""


class NamedTests(test_ssl.SslCase):
    """
    Certificates named by variables.
    """

    def setUp(self) -> None:
        self.disk = files()

    def named(self, settings: str = "", text: str = "") -> World:
        """
        A server that takes the certificate from the name it is asked for.
        """
        pem = (identities()["b.example"].full_pem + identities()["b.example"].key_pem).decode()
        return World(NAMED.replace("@inline@", pem) + (text or server(settings)), self.disk)

    def subject(self, far: FarEnd) -> str:
        """
        Whose certificate the client was shown.
        """
        certificate = far.connection.get_peer_certificate(as_cryptography=True)
        return "" if certificate is None else certificate.subject.rfc4514_string()

    def test_by_name(self) -> None:
        """
        Each client is shown the certificate that its name leads to: a file, or what is written down.
        """
        here = self.named()
        for name, subject in (
            ("a.example", "CN=a.example"),
            ("b.example", "CN=b.example"),
            ("copy.example", "CN=a.example"),
            ("inline", "CN=b.example"),
        ):
            for version in VERSIONS:
                far = self.begun(here, name, version=version)
                self.assertEqual(self.subject(far), subject)
                for session in list(here.runtime.sessions):
                    session.finish()

    def test_nothing_there(self) -> None:
        """
        Where a file is missing, or is not what it must be, the handshake ends as nginx ends it, and the log says why.
        """
        self.disk["/etc/junk.pem"] = b"junk"
        self.disk["/etc/junk.key"] = b"junk"
        self.disk["/etc/half.pem"] = identities()["a.example"].full_pem
        self.disk["/etc/half.key"] = identities()["b.example"].key_pem
        self.disk["/etc/no.pem"] = identities()["a.example"].full_pem
        missing = "error:80000002:system library::No such file or directory:calling fopen({}, r)"
        for name, message in (
            ("x", f'cannot load certificate "/etc/x.pem": BIO_new_file() failed (SSL: {missing.format("/etc/x.pem")}'),
            (
                "junk",
                'cannot load certificate "/etc/junk.pem": PEM_read_bio_X509_AUX() failed (SSL: error:0480006C:PEM'
                " routines::no start line:Expecting: TRUSTED CERTIFICATE)",
            ),
            (
                "half",
                'SSL_use_PrivateKey("/etc/half.key") failed (SSL: error:05800074:x509 certificate routines::key values'
                " mismatch)",
            ),
            ("no", 'cannot load certificate key "/etc/no.key": BIO_new_file() failed'),
        ):
            for version in VERSIONS:
                here = self.named()
                far = self.begun(here, name, version=version)
                self.assertIn("internal error", str(far.error))
                self.assertRefused(
                    here,
                    far.leg,
                    "[info] *1 SSL_do_handshake() failed (SSL: error:0A000179:SSL routines::cert cb error) while SSL",
                )
                self.assertIn(f"[error] *1 {message}", here.lines[-2])
                self.assertIn(" while SSL handshaking, client: 192.0.2.77, server: 192.0.2.1:443", here.lines[-2])
                protocol = "TLSv1.2" if version == SSL.TLS1_2_VERSION else "TLSv1.3"
                self.assertEqual(here.value("$ssl_protocol $ssl_cipher $ssl_server_name"), f"{protocol} (NONE) {name}")

    def test_no_key_in_the_log(self) -> None:
        """
        A key that is written down is not written to the log.
        """
        here = World(
            f"ssl_certificate $x; ssl_certificate_key data:secret; map $pid $x {{ default a.example.pem; }} {server()}",
            self.disk,
        )
        self.begun(here)
        self.assertIn('cannot load certificate key "data:...": PEM_read_bio_PrivateKey() failed', here.lines[-2])
        self.assertNotIn("secret", "".join(here.lines))

    def test_changed(self) -> None:
        """
        Without a cache the next client sees a file that was changed; with one it does when that is no longer valid.
        """
        for settings, waits in (
            ("", (0,)),
            ("ssl_certificate_cache off;", (0,)),
            ("ssl_certificate_cache max=4 valid=5s;", (4, 2)),
            ("ssl_certificate_cache max=4 inactive=1s;", (0.5, 1.5)),
        ):
            self.disk = files()
            here = self.named(settings)
            self.assertEqual(self.subject(self.begun(here, "a.example")), "CN=a.example")
            self.disk["/etc/a.example.pem"] = identities()["b.example"].full_pem
            self.disk["/etc/a.example.key"] = identities()["b.example"].key_pem
            for number, seconds in enumerate(waits, 1):
                here.pass_time(seconds)
                last = number == len(waits)
                self.assertEqual(
                    self.subject(self.begun(here, "a.example")), "CN=b.example" if last else "CN=a.example", settings
                )

    def test_resumed(self) -> None:
        """
        A session is resumed under the certificate it was made with, whatever its name, and under no other.
        """
        for version in VERSIONS:
            for second, reused in (("a.example", "r"), ("copy.example", "r"), ("b.example", ".")):
                here = self.named("ssl_session_cache shared:s:1m;")
                settings = client_settings(version=version)
                far = FarEnd(here.client(), client_of(settings, "a.example")).shake()
                self.assertLetIn(here, far)
                session = far.connection.get_session()
                here.session().finish()
                FarEnd(here.client(), client_of(settings, second, session)).shake()
                self.assertEqual(here.value("$ssl_session_reused", here.session()), reused)

    def test_the_rest_of_the_policy(self) -> None:
        """
        All else is that of the server, as it was when the configuration was read.
        """
        here = self.named("ssl_verify_client on; ssl_client_certificate ca.pem; ssl_alpn h2; ssl_protocols TLSv1.2;")
        del self.disk["/etc/ca.pem"]
        self.assertRefused(here, self.begun(here, "a.example").leg, "client sent no required SSL certificate")
        far = self.begun(here, "a.example", identity=identities()["B"])
        self.assertEqual(here.value("$ssl_protocol $ssl_client_verify", here.session()), "TLSv1.2 SUCCESS")
        self.assertIsNone(far.error)

    def test_beside_a_command(self) -> None:
        """
        A certificate of another type that ssl_conf_command names stands beside the one that a variable names.
        """
        more = pki.leaf(identities()["ca"], "more", kind="rsa")
        self.disk.update({"/etc/more.pem": more.full_pem, "/etc/more.key": more.key_pem})
        here = self.named("ssl_conf_command Certificate more.pem; ssl_conf_command PrivateKey more.key;")
        for ciphers, subject in ((b"ECDHE-RSA-AES128-GCM-SHA256", "CN=more"), (b"ECDHE+aECDSA", "CN=a.example")):
            context = client_settings(version=SSL.TLS1_2_VERSION)
            context.set_cipher_list(ciphers)
            self.assertEqual(self.subject(FarEnd(here.client(), client_of(context, "a.example")).shake()), subject)

    def test_rejecting_and_lending(self) -> None:
        """
        A default server that rejects shows nothing of them; one that lends its certificate lends the named one.
        """
        for settings, first in (("", "CN=a.example"), ("ssl_reject_handshake on;", "")):
            here = self.named(
                text=server(settings) + server("server_name b.example; ssl_certificate_cache off;", port=2),
            )
            self.assertEqual(self.subject(self.begun(here, "a.example")), first)
        own = "ssl_certificate $ssl_server_name.pem; ssl_certificate_key $ssl_server_name.key;"
        for settings in ("", "ssl_reject_handshake on;"):
            here = World(server(own + settings) + server("server_name b.example;", port=2), self.disk)
            far = self.begun(here, "b.example")
            self.assertEqual((self.subject(far), here.attempt().address.port), ("CN=b.example", 2))
            self.assertLetIn(here, far)

    def test_offers_decide(self) -> None:
        """
        What the client offers may decide, too: it is known before the handshake.
        """
        here = World(
            "map $ssl_sigalgs $kind { default b; ~^ecdsa a; } map $ssl_ciphers $known { ~TLS_AES_128 example; }"
            + server("ssl_certificate $kind.$known.pem; ssl_certificate_key $kind.$known.key;"),
            self.disk,
        )
        for algorithms, subject in (
            ("ECDSA+SHA256:rsa_pss_rsae_sha256", "CN=a.example"),
            ("ed25519:ECDSA+SHA256", "CN=b.example"),
        ):
            settings = client_settings()
            lib = SSL._lib  # type: ignore[attr-defined]
            lib.SSL_CTX_set1_sigalgs_list(settings._context, algorithms.encode())
            self.assertEqual(self.subject(FarEnd(here.client(), client_of(settings)).shake()), subject)


class OcspTests(test_ocsp.ClientCase):
    """
    What may be said of C{ssl_ocsp}.
    """

    def test_directives(self) -> None:
        """
        What does not fit is told in nginx's words.
        """
        for settings, verify, message in (
            ("ssl_ocsp on;", "optional_no_ca", '"ssl_ocsp" is incompatible with "ssl_verify_client optional_no_ca"'),
            ("ssl_ocsp maybe;", "on", 'invalid value "maybe"'),
            ("ssl_ocsp_cache on;", "on", 'invalid OCSP cache "on"'),
            ("ssl_ocsp_cache shared:a;", "on", 'invalid OCSP cache "shared:a"'),
            ("ssl_ocsp_cache shared::1m;", "on", 'invalid OCSP cache "shared::1m"'),
            ("ssl_ocsp_cache shared:a:x;", "on", 'invalid OCSP cache "shared:a:x"'),
            ("ssl_ocsp_cache shared:a:1k;", "on", 'OCSP cache "shared:a:1k" is too small'),
            (
                "ssl_ocsp_responder https://a/;",
                "on",
                'invalid URL prefix in OCSP responder "https://a/" in "ssl_ocsp_responder"',
            ),
            (
                "ssl_ocsp_responder http://nowhere.example/;",
                "on",
                'host not found in OCSP responder "nowhere.example/" in "ssl_ocsp_responder"',
            ),
        ):
            text = (
                "stream { server { listen 1 ssl; ssl_certificate server.pem; ssl_certificate_key server.key; return in;"
                f" {settings} ssl_verify_client {verify}; ssl_client_certificate root.pem; }} }}"
            )
            (error,) = self.assertRaises(ConfigErrors, configured, text, test_ocsp.files()).errors
            self.assertEqual(error.message, message)
        test_ocsp.world("ssl_ocsp on; ssl_ocsp_cache off;")

    def test_good(self) -> None:
        """
        What is said is done.
        """
        here = test_ocsp.world("ssl_ocsp leaf; ssl_ocsp_cache shared:a:1m; ssl_ocsp_responder http://192.0.2.9/;")
        self.come(here)
        self.assertEqual(here.attempt().address.text, "192.0.2.9:80")


class StaplingTests(test_ocsp.StaplingCase):
    """
    What may be said of C{ssl_stapling}.
    """

    def test_bad_file(self) -> None:
        """
        A file that cannot be read, or is no response, is told in nginx's words.
        """
        for name, message in (
            ("nope", 'BIO_new_file("/etc/nope") failed (SSL: error:80000002:'),
            ("root.pem", 'd2i_OCSP_RESPONSE_bio("/etc/root.pem") failed (SSL: error:'),
        ):
            (error,) = self.assertRaises(ConfigErrors, self.world, f"ssl_stapling_file {name};").errors
            self.assertIn(message, error.message)

    def test_responder(self) -> None:
        """
        The responder of the directive is asked instead; authorities that are trusted may be the issuer.
        """
        here = self.world("ssl_stapling_responder http://192.0.2.95/; ssl_trusted_certificate root.pem;", "plain")
        self.stapled(here)
        self.assertEqual(here.attempt().address.text, "192.0.2.95:80")

    def test_ignored(self) -> None:
        """
        Where nobody can be asked there is a warning, as with nginx, and nothing is shown.
        """
        for settings, certificate, warning in (
            ("", "server", 'issuer certificate not found for certificate "/etc/server.pem"'),
            (
                "ssl_trusted_certificate root.pem;",
                "plain",
                'no OCSP responder URL in the certificate "/etc/plain.pem"',
            ),
            (
                "ssl_stapling_responder ftp://x;",
                "chained",
                'invalid URL prefix in OCSP responder "ftp://x" in the certificate "/etc/chained.pem"',
            ),
        ):
            here = self.world(settings, certificate)
            self.assertEqual([each.message for each in here.build.warnings], [f'"ssl_stapling" ignored, {warning}'])
            self.assertEqual((self.stapled(here), here.network.attempts), (b"", []))
        (error,) = self.assertRaises(ConfigErrors, self.world, "ssl_trusted_certificate nope.pem;").errors
        self.assertIn('SSL_CTX_load_verify_locations("/etc/nope.pem") failed', error.message)

    def test_file(self) -> None:
        """
        With a file nobody is asked.
        """
        self.assertNotEqual(self.stapled(self.world("ssl_stapling_file staple.der;")), b"")


class HttpTests(SynchronousTestCase):
    """
    The directives in http.
    """

    def test_places(self) -> None:
        """
        They stand in http and in its servers; those of stream alone do not, nor does any in a location.
        """
        Places("ssl_ciphers HIGH; server { ssl_protocols TLSv1.2; ssl_buffer_size 4k; ssl_early_data off; }", [ssl])
        for text, complaint in (
            ("ssl_alpn h2;", '"ssl_alpn" directive is not supported by sniproxy: it is not carried yet'),
            ("ssl_handshake_timeout 1s;", '"ssl_handshake_timeout" directive is not allowed here'),
            ("server { location / { ssl_ciphers HIGH; } }", '"ssl_ciphers" directive is not allowed here'),
        ):
            problem: ConfigErrors = self.assertRaises(ConfigErrors, Places, text, [ssl])
            self.assertEqual(str(problem.errors[0]), f"{complaint} in /etc/edge.conf:2")

    def test_early_data(self) -> None:
        """
        Early data is refused with the reason.
        """
        problem: ConfigErrors = self.assertRaises(ConfigErrors, Places, "ssl_early_data on;", [ssl])
        self.assertEqual(
            problem.errors[0].message,
            '"ssl_early_data" is not supported by sniproxy:'
            " pyOpenSSL cannot read what comes before a handshake is over",
        )
