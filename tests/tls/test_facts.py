"""
The variables say what nginx says; the texts about the certificate were printed by nginx 1.22 for the same one.
"""

from __future__ import annotations

from cryptography import x509
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import NameOID
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.tls import facts
from sniproxy.tls.policies import ClientPolicy, ServerPolicy
from tests.support import pki
from tests.tls.pump import Disk, pair

CA = pki.authority(
    [
        (NameOID.COUNTRY_NAME, "DE"),
        (NameOID.ORGANIZATION_NAME, "K\u00e4se, Inc. <x>"),
        (NameOID.COMMON_NAME, "CA"),
    ]
)
SUBJECT = (
    (NameOID.COUNTRY_NAME, "DE"),
    (NameOID.ORGANIZATION_NAME, ' a+b "c"; #d\\ '),
    (NameOID.ORGANIZATIONAL_UNIT_NAME, "#\u00fcnit\x01\x7f\u20ac"),
    (NameOID.EMAIL_ADDRESS, "a@b.example"),
    (NameOID.SURNAME, "S"),
    (NameOID.GIVEN_NAME, "G"),
    (NameOID.DOMAIN_COMPONENT, "dc"),
    (NameOID.USER_ID, "u"),
    (NameOID.STREET_ADDRESS, "st"),
    (x509.ObjectIdentifier("1.2.3.4"), "odd"),
    (NameOID.COMMON_NAME, "x=y"),
)
LEAF = pki.leaf(CA, SUBJECT, names=("a",), serial=0xABC123).certificate


class CertificateTests(SynchronousTestCase):
    """
    Facts of a certificate.
    """

    def test_names(self) -> None:
        """
        Distinguished names are printed as OpenSSL prints RFC 2253.
        """
        self.assertEqual(
            facts.subject(LEAF),
            "CN=x=y,1.2.3.4=#0C036F6464,street=st,UID=u,DC=dc,GN=G,SN=S,emailAddress=a@b.example,"
            'OU=\\#\\C3\\BCnit\\01\\7F\\E2\\82\\AC,O=\\ a\\+b \\"c\\"\\; #d\\\\\\ ,C=DE',
        )
        self.assertEqual(facts.issuer(LEAF), "CN=CA,O=K\\C3\\A4se\\, Inc. \\<x\\>,C=DE")

    def test_odd_names(self) -> None:
        """
        Attributes that share a place are joined by a plus, bits are dumped, and no attributes are no text.
        """
        several = x509.RelativeDistinguishedName(
            [x509.NameAttribute(NameOID.COMMON_NAME, "a"), x509.NameAttribute(NameOID.USER_ID, "b")]
        )
        self.assertIn(facts.distinguished_name(x509.Name([several])), ("UID=b+CN=a", "CN=a+UID=b"))
        bits = x509.NameAttribute(NameOID.X500_UNIQUE_IDENTIFIER, b"\x00\x05", _type=_ASN1Type.BitString)
        self.assertEqual(facts.distinguished_name(x509.Name([bits])), "2.5.4.45=#03020005")
        self.assertEqual(facts.distinguished_name(x509.Name([])), "")

    def test_serial(self) -> None:
        """
        Serial numbers are whole bytes.
        """
        self.assertEqual(facts.serial(LEAF), "ABC123")
        self.assertEqual(facts.serial(pki.leaf(CA, "a", serial=0xABC12).certificate), "0ABC12")

    def test_fingerprint(self) -> None:
        """
        The fingerprint is 20 bytes in lower case.
        """
        self.assertRegex(facts.fingerprint(LEAF), "^[0-9a-f]{40}$")

    def test_times(self) -> None:
        """
        Times are printed as OpenSSL prints them; the days that remain are whole and never negative.
        """
        self.assertEqual(facts.valid_from(LEAF), "Jan  1 00:00:00 2024 GMT")
        self.assertEqual(facts.valid_to(LEAF), "Jan  1 00:00:00 2099 GMT")
        end = pki.END.timestamp()
        for before, days in ((0.0, "0"), (86399.0, "0"), (86400.0, "1"), (3 * 86400 + 0.5, "3"), (-86401.0, "0")):
            self.assertEqual(facts.days_left(LEAF, end - before), days)

    def test_pem(self) -> None:
        """
        The three forms of the certificate itself.
        """
        raw = facts.raw_pem(LEAF)
        self.assertEqual(x509.load_pem_x509_certificate(raw.encode()), LEAF)
        self.assertTrue(raw.endswith("-----END CERTIFICATE-----\n"))
        self.assertEqual(facts.tabbed_pem(LEAF), "\n\t".join(raw.splitlines()))
        self.assertTrue(facts.escaped_pem(LEAF).startswith("-----BEGIN%20CERTIFICATE-----%0AMII"))
        self.assertNotRegex(facts.escaped_pem(LEAF), r"[\s+/=]")


class ConnectionTests(SynchronousTestCase):
    """
    Facts of a connection.
    """

    def test_full_and_resumed(self) -> None:
        """
        What was agreed on is told on both kinds of handshake.
        """
        disk = Disk()
        server = disk.server(
            ServerPolicy(
                (disk.add("s", pki.leaf(CA, "s.example.com")),),
                protocols=("TLSv1.2",),
                ciphers="ECDHE-ECDSA-AES128-GCM-SHA256",
                curves="prime256v1",
                alpn=("h2",),
            )
        )
        client = disk.client(ClientPolicy(alpn=("h2",)))
        one, other = pair(client, server)
        self.assertEqual(facts.protocol(other), "TLSv1.2")
        self.assertEqual(facts.cipher(other), "ECDHE-ECDSA-AES128-GCM-SHA256")
        self.assertEqual(facts.curve(other), "prime256v1")
        self.assertEqual(facts.alpn(other), "h2")
        self.assertEqual(facts.session_reused(other), ".")
        _, again = pair(client, server, one.get_session())
        self.assertEqual(facts.session_reused(again), "r")
        self.assertRegex(facts.session_id(again), "^[0-9a-f]{64}$")

    def test_offered(self) -> None:
        """
        What a client offers has OpenSSL's names where it has any; signatures are named where they were noted.
        """
        disk = Disk()
        server = disk.server(ServerPolicy((disk.add("s", pki.leaf(CA, "s")),), signatures=True))
        _, other = pair(disk.client(ClientPolicy()), server)
        self.assertEqual(facts.ciphers(other, (0x1301, 0x0A0A, 0x002F)), "TLS_AES_128_GCM_SHA256:0x0a0a:AES128-SHA")
        self.assertEqual((facts.signature(other), facts.peer_signature(other)), ("ecdsa_secp256r1_sha256", ""))
        other.peer_signature = 0x0804
        self.assertEqual(facts.peer_signature(other), "rsa_pss_rsae_sha256")

    def test_before(self) -> None:
        """
        Before a handshake there is nothing to tell.
        """
        disk = Disk()
        connection = disk.server(ServerPolicy((disk.add("s", pki.leaf(CA, "s")),))).connection()
        for fact in (facts.cipher, facts.curve, facts.session_id, facts.alpn, facts.signature):
            self.assertEqual(fact(connection), "")
        self.assertEqual(facts.session_reused(connection), ".")
