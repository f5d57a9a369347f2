"""
Commands change policies, in nginx's words where they cannot.
"""

from __future__ import annotations

from typing import Any

from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.errors import ConfigError
from sniproxy.tls import native
from sniproxy.tls.commands import COMMANDS, FILES, REFUSED, check_name, perform
from sniproxy.tls.policies import ClientPolicy, ServerPolicy
from tests.support import pki
from tests.tls.pump import DH_PARAMETERS, Disk, pair

CA = pki.authority("CA")
BAD = "error:0A000180:SSL routines::bad value:cmd={}, value={}"


class CommandCase(SynchronousTestCase):
    """
    What these tests share.
    """

    def setUp(self) -> None:
        self.disk = Disk({"/dh.pem": DH_PARAMETERS})
        self.own = self.disk.add("own", pki.leaf(CA, "own"))
        self.policy = ServerPolicy((self.own,))

    def done(self, *commands: tuple[str, str], **policy: Any) -> ServerPolicy:
        """
        The policy that commands make of one with these fields, without warnings.
        """
        made, warnings = perform(ServerPolicy((self.own,), **policy), commands, "ssl_conf_command", self.disk.read)
        self.assertEqual(warnings, ())
        return made

    def refusal(self, name: str, value: str) -> str:
        """
        Why a command cannot be done.
        """
        with self.assertRaises(ConfigError) as caught:
            check_name(name, value, "ssl_conf_command")
            self.done((name, value))
        return str(caught.exception.message)


class NameTests(CommandCase):
    """
    Which commands there are.
    """

    def test_all_are_known(self) -> None:
        """
        Every command of OpenSSL for files is carried, or refused by its name with a reason.
        """
        self.assertEqual(len(COMMANDS) + len(REFUSED), 26)
        self.assertTrue(FILES <= set(COMMANDS))
        for name in COMMANDS.values():
            check_name(name, "x", "ssl_conf_command")
            check_name(name.upper(), "x", "ssl_conf_command")
        self.assertEqual(
            self.refusal("VerifyMode", "Peer"),
            'the "VerifyMode" command of "ssl_conf_command" is not supported by sniproxy: who is let in is decided by'
            " ssl_verify_client and proxy_ssl_verify alone",
        )
        self.assertEqual(
            self.refusal("NumTickets", "1"),
            'the "NumTickets" command of "ssl_conf_command" is not supported by sniproxy: pyOpenSSL has nothing for it',
        )

    def test_unknown(self) -> None:
        """
        What is no command is told as nginx tells it; those of the command line are none.
        """
        for name in ("Foo", "-cipher", ""):
            self.assertEqual(
                self.refusal(name, "bar"),
                f'SSL_CONF_cmd("{name}", "bar") failed (SSL: error:0A000182:SSL routines::unknown cmd name:cmd={name})',
            )


class ValueTests(CommandCase):
    """
    What values mean.
    """

    def test_nothing(self) -> None:
        """
        Without commands the policy stays as it is.
        """
        self.assertEqual(self.done(), self.policy)

    def test_lists(self) -> None:
        """
        Ciphers, suites, groups and signature algorithms replace what the directives say; the last one counts.
        """
        made = self.done(
            ("CipherString", "ALL"),
            ("cipherstring", "kRSA"),
            ("Ciphersuites", "TLS_AES_128_GCM_SHA256"),
            ("Curves", "P-256"),
            ("Groups", "X25519:P-384"),
            ("SignatureAlgorithms", "ECDSA+SHA256:rsa_pss_rsae_sha256"),
            ("DHParameters", "/dh.pem"),
        )
        self.assertEqual((made.ciphers, made.tls13_ciphers), ("kRSA", "TLS_AES_128_GCM_SHA256"))
        self.assertEqual((made.curves, made.dhparam), ("X25519:P-384", "/dh.pem"))
        self.assertEqual(made.signature_algorithms, "ECDSA+SHA256:rsa_pss_rsae_sha256")
        self.assertEqual(self.done(("ECDHParameters", "P-521")).curves, "P-521")
        self.assertEqual(self.done(("ECDHParameters", "Automatic")).curves, "auto")
        self.assertEqual(self.done(("Ciphersuites", "")).protocols, ("TLSv1.2",))

    def test_protocols(self) -> None:
        """
        Protocols are switched on and off, one by one or all; bounds leave out what is beyond them.
        """
        for commands, expected in (
            ((("Protocol", "TLSv1.1"),), ("TLSv1.1", "TLSv1.2", "TLSv1.3")),
            ((("Protocol", "-tlsv1.2"),), ("TLSv1.3",)),
            ((("Protocol", " -ALL , +TLSv1.2"),), ("TLSv1.2",)),
            ((("Protocol", "TLSv1.2,-ALL,DTLSv1"),), ()),
            ((("MinProtocol", "TLSv1.3"),), ("TLSv1.3",)),
            ((("MinProtocol", "TLSv1.1"),), ("TLSv1.2", "TLSv1.3")),
            (
                (("MaxProtocol", "TLSv1.2"), ("Protocol", "ALL"), ("MinProtocol", "TLSv1")),
                ("TLSv1", "TLSv1.1", "TLSv1.2"),
            ),
            ((("MaxProtocol", "TLSv1.2"), ("MaxProtocol", "None")), ("TLSv1.2", "TLSv1.3")),
            ((("MinProtocol", "DTLSv1.2"),), ("TLSv1.2", "TLSv1.3")),
        ):
            self.assertEqual(self.done(*commands).protocols, expected, commands)

    def test_options(self) -> None:
        """
        Options set bits, or leave out those that are set else; two of them have directives, which they overrule.
        """
        made = self.done(("Options", "-SessionTicket,+ServerPreference, PrioritizeChaCha"))
        self.assertEqual((made.session_tickets, made.prefer_server_ciphers), (False, True))
        self.assertEqual(made.options & SSL.OP_NO_TICKET, SSL.OP_NO_TICKET)
        self.assertEqual(made.options & 1 << 21, 1 << 21)
        made = self.done(
            ("Options", "-SessionTicket,-IgnoreUnexpectedEOF"),
            ("Options", "sessionticket,-serverpreference"),
            prefer_server_ciphers=True,
            session_tickets=False,
        )
        self.assertEqual((made.session_tickets, made.prefer_server_ciphers), (True, False))
        self.assertEqual(made.without & SSL.OP_IGNORE_UNEXPECTED_EOF, SSL.OP_IGNORE_UNEXPECTED_EOF)
        self.assertEqual(self.done(("Options", "Compression,-ClientRenegotiation")).options, 0)

    def test_options_that_mean_nothing(self) -> None:
        """
        Of an option that is accepted and has no effect the operator is told.
        """
        _, warnings = perform(self.policy, [("Options", "KTLS")], "ssl_conf_command", self.disk.read)
        self.assertEqual(warnings, ('the option "ktls" of "ssl_conf_command" has no effect',))
        self.assertEqual(self.done(("Options", "-KTLS")), self.policy)

    def test_options_that_cannot_be(self) -> None:
        """
        What cannot or must not be had is refused by its name, with the reason.
        """
        for value, name, reason in (
            ("-MiddleboxCompat", "-middleboxcompat", "pyOpenSSL cannot take an option away"),
            ("+ClientRenegotiation", "clientrenegotiation", "nobody may renegotiate"),
            ("UnsafeLegacyRenegotiation", "unsafelegacyrenegotiation", "nobody may renegotiate"),
            ("StrictCertCheck", "strictcertcheck", "pyOpenSSL has nothing for it"),
        ):
            self.assertEqual(
                self.refusal("Options", value),
                f'the option "{name}" of "ssl_conf_command" is not supported by sniproxy: {reason}',
            )

    def test_bad_values(self) -> None:
        """
        nginx 1.22 says the same of them.
        """
        group = "error:0A080106:SSL routines::passed invalid argument:group 'zz' cannot be set "
        cipher = "error:0A0000B9:SSL routines::no cipher match "
        for name, value, before in (
            ("CipherString", "zz", cipher),
            ("CipherString", "", cipher),
            ("ciphersuites", "zz", cipher),
            ("Options", "zz", ""),
            ("Options", "SessionTicket,zz", ""),
            ("Options", "", ""),
            ("Options", "ServerPreference,,KTLS", ""),
            ("Protocol", "zz", ""),
            ("MinProtocol", "zz", ""),
            ("MinProtocol", "", ""),
            ("MaxProtocol", "tlsv1.2", ""),
            ("Groups", "zz", group),
            ("Groups", "", ""),
            ("ECDHParameters", "zz", group),
            ("SignatureAlgorithms", "zz", ""),
        ):
            self.assertEqual(
                self.refusal(name, value),
                f'SSL_CONF_cmd("{name}", "{value}") failed (SSL: {before}{BAD.format(name, value)})',
            )

    def test_bad_files(self) -> None:
        """
        Of files it is said what is wrong with them.
        """
        missing = (
            "error:80000002:system library::No such file or directory:calling fopen(/nope, r)"
            " error:10080002:BIO routines::system lib"
        )
        unsupported = "error:1E08010C:DECODER routines::unsupported:No supported data to decode. Input type: PEM"
        for name, path, text in (
            ("Certificate", "/nope", f"{missing} error:0A080002:SSL routines::system lib"),
            ("PrivateKey", "/nope", f"{missing} error:0A080002:SSL routines::system lib"),
            ("DHParameters", "/nope", missing),
            (
                "Certificate",
                "/own.key",
                "error:0480006C:PEM routines::no start line:Expecting: TRUSTED CERTIFICATE"
                " error:0A080009:SSL routines::PEM lib",
            ),
            ("PrivateKey", "/own.pem", f"{unsupported} error:0A080009:SSL routines::PEM lib"),
            ("DHParameters", "/own.pem", unsupported),
        ):
            self.assertEqual(
                self.refusal(name, path),
                f'SSL_CONF_cmd("{name}", "{path}") failed (SSL: {text} {BAD.format(name, path)})',
            )

    def test_certificates(self) -> None:
        """
        Certificates come behind those of the directives, each with its key.
        """
        more = self.disk.add("more", pki.leaf(CA, "more", kind="rsa"))
        made = self.done(("Certificate", more[0]), ("PrivateKey", more[1]))
        self.assertEqual(made.certificates, (self.own, more))
        self.assertIn('"ssl_conf_command" needs a "PrivateKey"', self.refusal("Certificate", more[0]))


class EffectTests(CommandCase):
    """
    What connections are like.
    """

    def test_both_sides(self) -> None:
        """
        What is commanded is what a handshake comes to, whichever side commands.
        """
        commands = [
            ("Protocol", "-TLSv1.3"),
            ("CipherString", "ECDHE-RSA-AES128-GCM-SHA256"),
            ("Groups", "P-384"),
        ]
        policy = ServerPolicy((self.disk.add("rsa", pki.leaf(CA, "rsa", kind="rsa")),))
        made, _ = perform(policy, commands, "ssl_conf_command", self.disk.read)
        asking, warnings = perform(
            ClientPolicy(), [*commands, ("Options", "-SessionTicket"), ("DHParameters", "/dh.pem")], "x", self.disk.read
        )
        self.assertEqual(warnings, ())
        for client, server in ((ClientPolicy(), made), (asking, policy)):
            one, _ = pair(self.disk.client(client), self.disk.server(server))
            self.assertEqual(
                (one.get_protocol_version_name(), one.get_cipher_name(), one.get_group_name()),
                ("TLSv1.2", "ECDHE-RSA-AES128-GCM-SHA256", "secp384r1"),
            )

    def test_signature_algorithms(self) -> None:
        """
        A server signs as it is commanded to.
        """
        rsa = self.disk.add("rsa", pki.leaf(CA, "rsa", kind="rsa"))
        made, _ = perform(
            ServerPolicy((rsa,), signatures=True), [("SignatureAlgorithms", "RSA-PSS+SHA512")], "x", self.disk.read
        )
        _, other = pair(self.disk.client(ClientPolicy()), self.disk.server(made))
        self.assertEqual(other.signature, 0x0806)

    def test_second_certificate(self) -> None:
        """
        A client that wants another key type gets the certificate that was commanded; one of the same type is replaced.
        """
        more = self.disk.add("more", pki.leaf(CA, "more", kind="rsa"))
        same = self.disk.add("same", pki.leaf(CA, "same"))
        made = self.done(
            ("Certificate", more[0]), ("PrivateKey", more[1]), ("Certificate", same[0]), ("PrivateKey", same[1])
        )
        server = self.disk.server(made)
        for algorithms, name in (("RSA-PSS+SHA256", "CN=more"), ("ECDSA+SHA256", "CN=same")):
            one, _ = pair(self.disk.client(ClientPolicy(signature_algorithms=algorithms)), server)
            certificate = one.get_peer_certificate(as_cryptography=True)
            assert certificate is not None
            self.assertEqual(certificate.subject.rfc4514_string(), name)

    def test_tickets_can_be_forbidden_and_not_forced(self) -> None:
        """
        Without tickets none is resumed; and where resumption is not safe no command allows it.
        """
        for value, resumed in (("-SessionTicket", False), ("SessionTicket", True)):
            made = self.done(("Options", value), ("Protocol", "-TLSv1.3"))
            server, client = self.disk.server(made), self.disk.client(ClientPolicy())
            one, _ = pair(client, server)
            _, again = pair(client, server, one.get_session())
            self.assertEqual(native.session_reused(again), resumed)
        made = self.done(("Options", "SessionTicket"), verify="optional_no_ca", hook=lambda *_: True)
        self.assertFalse(self.disk.server(made).resumes)
        client = self.disk.client(ClientPolicy())
        one, _ = pair(client, self.disk.server(made))
        _, again = pair(client, self.disk.server(made), one.get_session())
        self.assertFalse(native.session_reused(again))
