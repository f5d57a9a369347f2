"""
PEM files are read as OpenSSL reads them.
"""

from __future__ import annotations

from cryptography import x509
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.tls import pem
from tests.support import pki

CA = pki.authority("CA")
LEAF = pki.leaf(CA, "leaf.example.com")


class PemTests(SynchronousTestCase):
    """
    L{pem} by itself.
    """

    def test_certificates(self) -> None:
        """
        All certificates come in order; text, keys and other line ends do not matter.
        """
        data = b"comment\n" + LEAF.pem.replace(b"\n", b"\r\n") + LEAF.key_pem + b"more\n" + CA.pem.rstrip()
        self.assertEqual(pem.certificates(data), (LEAF.certificate, CA.certificate))

    def test_old_label(self) -> None:
        """
        X509 CERTIFICATE means the same as CERTIFICATE.
        """
        self.assertEqual(pem.certificates(LEAF.pem.replace(b" CERTIFICATE", b" X509 CERTIFICATE")), (LEAF.certificate,))

    def test_written(self) -> None:
        """
        What is written is what is read.
        """
        self.assertEqual(
            pem.certificates(pem.text(LEAF.certificate, CA.certificate)), (LEAF.certificate, CA.certificate)
        )
        self.assertEqual(pem.certificates(b""), ())

    def test_revocation_lists(self) -> None:
        """
        Revocation lists are found among certificates.
        """
        made = pki.crl(CA, LEAF)
        self.assertEqual(pem.revocation_lists(CA.pem + made), (x509.load_pem_x509_crl(made),))
        self.assertEqual(pem.revocation_lists(CA.pem), ())

    def test_damaged(self) -> None:
        """
        Each kind of damage is told in OpenSSL's words.
        """
        begin, end = b"-----BEGIN CERTIFICATE-----\n", b"-----END CERTIFICATE-----\n"
        for data, text in (
            (LEAF.pem[:200], "error:04800066:PEM routines::bad end line"),
            (begin + b"!!!!\n" + end, "error:04800064:PEM routines::bad base64 decode"),
            (begin + b"AAAA\n" + end, "error:0488000D:PEM routines::ASN1 lib"),
        ):
            self.assertEqual(str(self.assertRaises(pem.PemError, pem.certificates, data)), text)
        damaged = b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n"
        error = self.assertRaises(pem.PemError, pem.revocation_lists, damaged)
        self.assertEqual(str(error), "error:0488000D:PEM routines::ASN1 lib")

    def test_every_byte_spoiled(self) -> None:
        """
        A file with any one byte changed gives certificates or a PemError, never another exception.
        """
        data = LEAF.pem
        answers: set[int | str] = set()
        for at in range(len(data)):
            for byte in (0x00, 0x0A, 0x2D, 0x41, 0xFF):
                try:
                    answers.add(len(pem.certificates(data[:at] + bytes((byte,)) + data[at + 1 :])))
                except pem.PemError as error:
                    answers.add(str(error))
        self.assertIn(1, answers)
        self.assertIn(0, answers)
        self.assertIn(pem.BAD_END, answers)

    def test_read_failure(self) -> None:
        """
        A file that is not there, and one that may not be read, are told as OpenSSL 3 tells it.
        """
        self.assertEqual(
            pem.read_failure("/a", FileNotFoundError(2, "No such file or directory")),
            "error:80000002:system library::No such file or directory:calling fopen(/a, r) "
            "error:10000080:BIO routines::no such file",
        )
        self.assertEqual(
            pem.read_failure("/a", PermissionError(13, "Permission denied")),
            "error:8000000D:system library::Permission denied:calling fopen(/a, r) "
            "error:10080002:BIO routines::system lib",
        )
        self.assertIn("error:80000005:", pem.read_failure("/a", OSError("odd")))
