"""
Tests for L{sniproxy.tls.names}.
"""

from __future__ import annotations

from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.tls import names, native
from sniproxy.tls.shares import offered
from sniproxy.wire.client_hello import ClientHello
from tests.support import hellos


class NamesTests(SynchronousTestCase):
    """
    Numbers of a ClientHello.
    """

    def test_known_and_unknown(self) -> None:
        """
        What is known has its name, the rest four digits, in the order they came in.
        """
        self.assertEqual(
            names.groups((0x11EC, 0x001D, 0x0017, 0x001E, 0x0018, 0x0019, 0x0029, 0x0100, 0x0104, 0x0A0A)),
            "0x11ec:X25519:prime256v1:X448:secp384r1:secp521r1:0x0029:ffdhe2048:ffdhe8192:0x0a0a",
        )
        self.assertEqual(
            names.groups((1, 19, 21, 26, 33, 34)),
            ("sect163k1:prime192v1:secp224r1:brainpoolP256r1:brainpoolP512r1tls13:0x0022"),
        )
        self.assertEqual(
            names.signatures((0x0403, 0x0804, 0x0401, 0x0809, 0x0807, 0x0905, 0x2A2A, 0x0203)),
            "ecdsa_secp256r1_sha256:rsa_pss_rsae_sha256:rsa_pkcs1_sha256:rsa_pss_pss_sha256:ed25519:mldsa65:0x2a2a"
            ":ecdsa_sha1",
        )
        self.assertEqual((names.groups(()), names.signatures(())), ("", ""))

    def test_in_lists(self) -> None:
        """
        OpenSSL takes the names by which groups are listed, for all it offers by itself.
        """
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        connection = SSL.Connection(context, None)
        connection.set_connect_state()
        self.assertRaises(SSL.WantReadError, connection.do_handshake)
        usual, _ = offered(connection.bio_read(1 << 16))
        self.assertIn(0x001D, usual)
        for code in usual:
            self.assertTrue(native.set_groups(context, names.in_lists(code)), hex(code))
        self.assertEqual(names.in_lists(0x0A0A), "0x0a0a")

    def test_names_of_groups_are_those_of_openssl(self) -> None:
        """
        OpenSSL knows all our names of groups, and offers the number that we have for each.
        """
        for code in (*range(1, 34), *range(0x100, 0x105)):
            name = names.groups((code,))
            context = SSL.Context(SSL.TLS_CLIENT_METHOD)
            context.set_cipher_list(b"ALL:@SECLEVEL=0")
            if SSL._lib.SSL_CTX_set1_curves_list(context._context, name.encode()) != 1:  # type: ignore[attr-defined]
                SSL._lib.ERR_clear_error()  # type: ignore[attr-defined]
                continue  # known to the registry, and no longer to OpenSSL
            connection = SSL.Connection(context)
            connection.set_connect_state()
            try:
                connection.do_handshake()
            except SSL.WantReadError:
                hello = hellos.look(connection.bio_read(1 << 16))
                assert isinstance(hello, ClientHello)
                self.assertEqual(hello.groups, (code,), name)
            except SSL.Error:
                pass  # for TLS 1.3 alone, or for older versions alone
