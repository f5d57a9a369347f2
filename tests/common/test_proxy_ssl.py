"""
Tests for L{sniproxy.common.proxy_ssl}.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.common.proxy_ssl import DIRECTIVES, UpstreamTls, location_tls
from sniproxy.errors import ConfigError, ConfigErrors
from tests.support import pki
from tests.support.places import Declared, Places
from tests.support.sessions import World, configured


@cache
def files() -> dict[str, bytes]:
    """
    An authority and a client.
    """
    root = pki.authority("Upstreams' CA")
    client = pki.leaf(root, "client")
    return {
        "/etc/ca.pem": root.pem,
        "/etc/crl.pem": pki.crl(root),
        "/etc/client.pem": client.full_pem,
        "/etc/client.key": client.key_pem,
        "/etc/locked.key": client.encrypted_key_pem(b"sesame"),
        "/etc/passwords": b"sesame\n",
    }


class ProxySslTests(SynchronousTestCase):
    """
    What the directives come to.
    """

    def tls(self, settings: str, around: str = "") -> UpstreamTls | None:
        """
        What one server has for its upstreams.
        """
        world = World(f"{around} server {{ listen 1; proxy_pass 192.0.2.2:1; {settings} }}", files())
        policy: Any = world.listening[0].default.content
        found: UpstreamTls | None = policy.tls
        self.warnings = [str(warning) for warning in world.build.warnings]
        return found

    def policy(self, settings: str, around: str = "") -> Any:
        """
        What its contexts are made from.
        """
        tls = self.tls(f"proxy_ssl on; {settings}", around)
        assert tls is not None
        return tls.context.policy

    def complaints(self, settings: str) -> list[str]:
        """
        What is wrong with it.
        """
        text = f"stream {{\nserver {{ listen 1; proxy_pass 192.0.2.2:1;\nproxy_ssl on;\n{settings}\n}}\n}}"
        return [str(error) for error in self.assertRaises(ConfigErrors, configured, text, files()).errors]

    def test_off(self) -> None:
        """
        By default upstreams are spoken to in plain, and no file is opened.
        """
        self.assertIsNone(self.tls("proxy_ssl_certificate nowhere.pem; proxy_ssl_verify on;"))

    def test_defaults(self) -> None:
        """
        By default nothing is verified, no name is sent, sessions are reused, and the name is that of proxy_pass.
        """
        tls = self.tls("proxy_ssl on;")
        assert tls is not None
        policy = tls.context.policy
        self.assertEqual((tls.name, tls.send_name, len(tls.sessions)), (None, False, 0))
        self.assertEqual((policy.verify, policy.depth, policy.session_reuse), (False, 1, True))
        self.assertEqual((policy.protocols, policy.ciphers), (("TLSv1.2", "TLSv1.3"), "DEFAULT"))
        self.assertEqual((policy.certificates, policy.alpn, policy.tls13_ciphers), ((), (), ""))

    def test_all_reach_the_policy(self) -> None:
        """
        What is said in the block, or around it, is what the context is made from.
        """
        policy = self.policy(
            "proxy_ssl_certificate client.pem; proxy_ssl_certificate_key locked.key; proxy_ssl_password_file passwords;"
            "proxy_ssl_protocols TLSv1.2; proxy_ssl_verify on; proxy_ssl_verify_depth 4; proxy_ssl_crl crl.pem;"
            "proxy_ssl_alpn h2 http/1.1; proxy_ssl_session_reuse off;"
            "proxy_ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256;",
            "proxy_ssl_trusted_certificate ca.pem; proxy_ssl_ciphers HIGH;",
        )
        self.assertEqual(policy.certificates, (("/etc/client.pem", "/etc/locked.key"),))
        self.assertEqual(policy.passwords, (b"sesame",))
        self.assertEqual((policy.protocols, policy.ciphers), (("TLSv1.2",), "HIGH"))
        self.assertEqual((policy.verify, policy.depth, policy.crl), (True, 4, "/etc/crl.pem"))
        self.assertEqual((policy.trusted_certificate, policy.alpn), ("/etc/ca.pem", ("h2", "http/1.1")))
        self.assertEqual((policy.session_reuse, policy.tls13_ciphers), (False, "TLS_AES_128_GCM_SHA256"))

    def test_names(self) -> None:
        """
        The name may have variables.
        """
        tls = self.tls("proxy_ssl on; proxy_ssl_name $remote_addr.example; proxy_ssl_server_name on;")
        assert tls is not None and tls.name is not None
        self.assertEqual((tls.name.text, tls.send_name), ("$remote_addr.example", True))

    def test_commands(self) -> None:
        """
        proxy_ssl_conf_command changes what the directives say; what has no effect is a warning.
        """
        policy = self.policy("proxy_ssl_conf_command Groups P-384; proxy_ssl_conf_command Options KTLS;")
        self.assertEqual(policy.curves, "P-384")
        self.assertIn('"ktls" of "proxy_ssl_conf_command" has no effect', str(self.warnings))
        (complaint,) = self.complaints("proxy_ssl_conf_command Groups zz;")
        self.assertIn('SSL_CONF_cmd("Groups", "zz") failed', complaint)

    def test_named(self) -> None:
        """
        Where the certificate is named by variables it is not read with the configuration, and found for each session.
        """
        tls = self.tls("proxy_ssl on; proxy_ssl_certificate $pid.pem; proxy_ssl_certificate_key $pid.key;")
        assert tls is not None
        self.assertEqual(tls.context.policy.certificates, ())
        self.assertIsNotNone(tls.find)
        self.assertIsNone(tls.alpn)

    def test_faults(self) -> None:
        """
        What does not fit together is refused in nginx's words.
        """
        for settings, complaint in (
            (
                "proxy_ssl_certificate client.pem;",
                'no "proxy_ssl_certificate_key" is defined for certificate "client.pem" in /etc/edge.conf:3',
            ),
            ("proxy_ssl_verify on;", "no proxy_ssl_trusted_certificate for proxy_ssl_verify in /etc/edge.conf:3"),
            ("proxy_ssl_alpn h2 $x;", 'unknown "x" variable in /etc/edge.conf:4'),
            ("proxy_ssl_certificate_cache on;", 'invalid parameter "on" in /etc/edge.conf:4'),
            ('proxy_ssl_alpn "";', 'invalid ALPN protocol "" in /etc/edge.conf:4'),
            (f"proxy_ssl_alpn {'x' * 256};", f'invalid ALPN protocol "{"x" * 256}" in /etc/edge.conf:4'),
        ):
            self.assertEqual(self.complaints(settings), [complaint])

    def test_unreadable(self) -> None:
        """
        A file that cannot be read is told.
        """
        (complaint,) = self.complaints("proxy_ssl_trusted_certificate nowhere.pem; proxy_ssl_verify on;")
        self.assertIn("/etc/nowhere.pem", complaint)

    def test_warnings(self) -> None:
        """
        What OpenSSL cannot do is a warning.
        """
        self.policy("proxy_ssl_protocols SSLv3 TLSv1.2;")
        self.assertIn("SSLv3", str(self.warnings))


class LocationTests(SynchronousTestCase):
    """
    What locations say that pass to C{https://}.
    """

    def found(self, text: str) -> list[UpstreamTls]:
        """
        What each place has.
        """
        world = Places(text, [Declared(*DIRECTIVES)], files())
        return [location_tls(place.scope, world.build) for place in world.places]

    def test_said(self) -> None:
        """
        A location has what it says, and what is said around it where it is silent; no switch is needed.
        """
        server, location = self.found(
            "proxy_ssl_verify_depth 2; server { proxy_ssl_trusted_certificate ca.pem; location / {"
            " proxy_ssl_verify on; proxy_ssl_name a.example; proxy_ssl_server_name on; } }"
        )
        self.assertEqual((server.context.policy.verify, server.name, server.send_name), (False, None, False))
        assert location.name is not None
        self.assertEqual((location.name.text, location.send_name), ("a.example", True))
        policy = location.context.policy
        self.assertEqual((policy.verify, policy.depth, policy.trusted_certificate), (True, 2, "/etc/ca.pem"))

    def test_shared(self) -> None:
        """
        Places that say nothing themselves share what is said around them, and the sessions that may be resumed; what
        is said in one is its own.
        """
        text = (
            "proxy_ssl_ciphers HIGH;"
            " server { location /a { location /a/b { proxy_ssl_verify_depth 3; } } location /c { } }"
            " server { proxy_ssl_ciphers HIGH; location / { } } server { }"
        )
        one, a, b, c, two, d, three = self.found(text)
        self.assertIs(a, one)
        self.assertIs(c, one)
        self.assertIs(three, one)
        self.assertIs(d, two)
        self.assertEqual(len({id(one), id(b), id(two)}), 3)

    def test_faults(self) -> None:
        """
        What is missing is an error.
        """
        for text, complaint in (
            ("proxy_ssl_verify on;", "no proxy_ssl_trusted_certificate for proxy_ssl_verify"),
            (
                "proxy_ssl_certificate client.pem;",
                'no "proxy_ssl_certificate_key" is defined for certificate "client.pem"',
            ),
        ):
            problem = self.assertRaises(ConfigError, self.found, f"server {{ {text} }}")
            self.assertEqual(problem.message, complaint)

    def test_switch(self) -> None:
        """
        The switch is of stream alone.
        """
        problem: ConfigErrors = self.assertRaises(ConfigErrors, self.found, "proxy_ssl on;")
        self.assertIn('"proxy_ssl" directive is not allowed here', str(problem.errors[0]))
