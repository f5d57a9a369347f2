"""
The files of a policy are read once, refused in nginx's words, and told apart by their content.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.errors import ConfigError
from sniproxy.tls.files import Files, failed, wire
from sniproxy.tls.policies import ServerPolicy
from tests.support import pki
from tests.tls.pump import Disk

CA = pki.authority("CA")
NOT_THERE = (
    "error:80000002:system library::No such file or directory:calling fopen(/no, r) "
    "error:10000080:BIO routines::no such file error:05880002:x509 certificate routines::system lib"
)


class FilesTests(SynchronousTestCase):
    """
    L{Files}.
    """

    def setUp(self) -> None:
        self.disk = Disk()
        self.reads: list[str] = []
        self.files = Files(self.read)

    def read(self, path: str) -> bytes:
        """
        The disk, counted.
        """
        self.reads.append(path)
        return self.disk.read(path)

    def test_data(self) -> None:
        """
        What is written down is there without the disk, byte by byte, and makes a difference.
        """
        self.assertEqual(self.files.read("data:\udcff x:y"), b"\xff x:y")
        self.assertEqual(self.reads, [])
        other = Files(self.read)
        other.read("data:z")
        self.assertNotEqual(self.files.digest(ServerPolicy(())), other.digest(ServerPolicy(())))

    def test_once(self) -> None:
        """
        A file is read once, however often and by whatever it is asked for.
        """
        trust = self.disk.trust("ca", CA)
        self.assertEqual(self.files.authorities(trust), (CA.certificate,))
        self.assertEqual(self.files.authorities(trust), (CA.certificate,))
        self.assertEqual(self.files.read(trust), CA.pem)
        self.assertEqual(self.reads, [trust])

    def test_refusals(self) -> None:
        """
        Missing, empty and damaged files are told with the call that failed in nginx.
        """
        self.disk.files["/empty"] = b""
        self.disk.files["/cut"] = CA.pem[:100]
        cut = "error:04800066:PEM routines::bad end line error:05880009:x509 certificate routines::PEM lib"
        nothing = "error:05800088:x509 certificate routines::no certificate or crl found"
        for path, text in (("/no", NOT_THERE), ("/empty", nothing), ("/cut", cut)):
            for call, parse in (
                ("SSL_CTX_load_verify_locations", self.files.authorities),
                ("X509_LOOKUP_load_file", self.files.revocation_lists),
            ):
                error = self.assertRaises(ConfigError, parse, path)
                self.assertEqual(error.message, f'{call}("{path}") failed (SSL: {text})')

    def test_revocation_lists(self) -> None:
        """
        Revocation lists come from a file of their own or from one with certificates.
        """
        self.disk.files["/crl"] = CA.pem + pki.crl(CA)
        (found,) = self.files.revocation_lists("/crl")
        self.assertEqual(found.issuer, CA.certificate.subject)

    def test_digest(self) -> None:
        """
        The digest has 32 bytes and follows the policy, the paths and the content.
        """

        def digest(policy: ServerPolicy, *paths: str) -> bytes:
            files = Files(self.disk.read)
            for path in paths:
                files.read(path)
            return files.digest(policy)

        policy = ServerPolicy(())
        self.disk.files.update({"/a": b"one", "/b": b"one"})
        digests = [
            digest(policy),
            digest(policy, "/a"),
            digest(policy, "/b"),
            digest(ServerPolicy((), depth=2), "/a"),
        ]
        self.disk.files["/a"] = b"two"
        digests.append(digest(policy, "/a"))
        self.assertEqual({len(each) for each in digests}, {32})
        self.assertEqual(len(set(digests)), len(digests))
        self.assertEqual(digest(policy, "/a", "/b"), digest(policy, "/b", "/a"))


class WordsTests(SynchronousTestCase):
    """
    The small ones.
    """

    def test_failed(self) -> None:
        """
        A failed call is told as nginx tells it.
        """
        self.assertEqual(str(failed("call", "argument", "why")), 'call("argument") failed (SSL: why)')

    def test_wire(self) -> None:
        """
        Bytes that were no UTF-8 in the configuration come out as they were.
        """
        self.assertEqual(wire("\u00fc\udcff"), b"\xc3\xbc\xff")
