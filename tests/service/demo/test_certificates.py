"""
Tests for L{sniproxy.service.demo.certificates}.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_ssh_private_key, load_ssh_public_key
from OpenSSL import SSL, crypto
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.service.demo.certificates import Certificate, authority, certificate, ssh_key

NOW = datetime(2026, 3, 31, 15, 5, tzinfo=timezone.utc)


def verified(leaf: Certificate, root: Certificate, at: datetime = NOW) -> str:
    """
    What OpenSSL says of a certificate under an authority, at its strictest.
    """
    store = crypto.X509Store()
    store.add_cert(crypto.X509.from_cryptography(root.certificate))
    store.set_flags(crypto.X509StoreFlags.X509_STRICT)
    store.set_time(at.replace(tzinfo=None))
    try:
        crypto.X509StoreContext(store, crypto.X509.from_cryptography(leaf.certificate)).verify_certificate()
    except crypto.X509StoreContextError as error:
        return str(error)
    return "ok"


class CertificateTests(SynchronousTestCase):
    """
    What the machines show each other.
    """

    def setUp(self) -> None:
        self.root = authority("an authority", NOW)
        self.leaf = certificate(self.root, "a machine", NOW)

    def test_chain(self) -> None:
        """
        A certificate is believed under its own authority, by OpenSSL at its strictest.
        """
        self.assertEqual(verified(self.leaf, self.root), "ok")

    def test_other_authority(self) -> None:
        """
        It is not believed under another authority, not even under one of the same name.
        """
        self.assertNotEqual(verified(self.leaf, authority("an authority", NOW)), "ok")

    def test_end(self) -> None:
        """
        It is good from an hour before it was made until a week later.
        """
        for distance, good in ((-61, False), (-59, True), (7 * 1440 - 1, True), (7 * 1440 + 1, False)):
            said = verified(self.leaf, self.root, NOW + timedelta(minutes=distance))
            self.assertEqual(said == "ok", good, said)

    def test_names(self) -> None:
        """
        It is for every name under example.com.
        """
        names = self.leaf.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        self.assertEqual(names.get_values_for_type(x509.DNSName), ["*.example.com"])

    def test_no_authority(self) -> None:
        """
        Nothing signed by a machine's certificate is believed: it is no authority.
        """
        self.assertNotEqual(verified(certificate(self.leaf, "below", NOW), self.leaf), "ok")

    def test_files(self) -> None:
        """
        OpenSSL takes the two files as a pair that fits.
        """
        context = SSL.Context(SSL.TLS_METHOD)
        context.use_certificate(crypto.load_certificate(crypto.FILETYPE_PEM, self.leaf.pem).to_cryptography())
        context.use_privatekey(load_pem_private_key(self.leaf.key_pem, None))  # type: ignore[arg-type]
        context.check_privatekey()


class SshKeyTests(SynchronousTestCase):
    """
    What ssh and sshd show each other.
    """

    def test_pair(self) -> None:
        """
        The two halves are in OpenSSH's formats and belong together, and no two keys are the same.
        """
        first, second = ssh_key(), ssh_key()
        own = load_ssh_private_key(first.private, None).public_key()
        self.assertEqual(own, load_ssh_public_key(first.public))
        self.assertTrue(first.public.startswith(b"ssh-ed25519 "))
        self.assertNotEqual(first.public, second.public)
