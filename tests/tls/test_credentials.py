"""
Certificates and keys are loaded, or refused in nginx's words.
"""

from __future__ import annotations

import base64

from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.errors import ConfigError
from sniproxy.tls.credentials import Credentials, load, read_passwords
from tests.support import pki
from tests.tls.pump import Disk

CA = pki.authority("CA")
LEAF = pki.leaf(pki.chain(CA, 2), "leaf.example.com")
RSA = pki.leaf(CA, "rsa.example.com", kind="rsa")
NOT_A_KEY = "error:1E08010C:DECODER routines::unsupported:No supported data to decode. Input type: PEM"


class LoadTests(SynchronousTestCase):
    """
    L{load}.
    """

    def setUp(self) -> None:
        self.disk = Disk()
        self.disk.add("a", LEAF)

    def load(self, certificate: str = "/a.pem", key: str = "/a.key", *passwords: bytes) -> Credentials:
        """
        From the disk in memory.
        """
        return load(certificate, key, passwords, self.disk.read)

    def refusal(self, certificate: str = "/a.pem", key: str = "/a.key", *passwords: bytes) -> str:
        """
        @return: the message of the error.
        """
        return str(self.assertRaises(ConfigError, self.load, certificate, key, *passwords).message)

    def test_chain(self) -> None:
        """
        The first certificate is the leaf and the others are its chain.
        """
        loaded = self.load()
        self.assertEqual((loaded.certificate, loaded.chain), (LEAF.certificate, LEAF.chain))
        self.assertEqual(loaded.key.public_key(), LEAF.key.public_key())
        self.assertEqual((loaded.certificate_path, loaded.key_path), ("/a.pem", "/a.key"))
        self.assertNotIn("PrivateKey", repr(loaded))

    def test_one_file(self) -> None:
        """
        Certificate, parameters and key may be in one file.
        """
        traditional = LEAF.key.private_bytes(
            encoding=Encoding.PEM, format=PrivateFormat.TraditionalOpenSSL, encryption_algorithm=NoEncryption()
        )
        parameters = b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
        self.disk.files["/all"] = LEAF.full_pem + parameters + traditional
        self.assertEqual(self.load("/all", "/all").chain, LEAF.chain)

    def test_kinds(self) -> None:
        """
        RSA and Ed25519 keys load like ECDSA keys.
        """
        for identity in (RSA, pki.leaf(CA, "ed.example.com", kind="ed25519")):
            certificate, key = self.disk.add("k", identity)
            self.assertEqual(self.load(certificate, key).certificate, identity.certificate)

    def test_missing_files(self) -> None:
        """
        A file that cannot be opened is named.
        """
        tail = (
            "BIO_new_file() failed (SSL: error:80000002:system library::No such file or directory:"
            "calling fopen(/no, r) error:10000080:BIO routines::no such file)"
        )
        self.assertEqual(self.refusal("/no"), f'cannot load certificate "/no": {tail}')
        self.assertEqual(self.refusal(key="/no"), f'cannot load certificate key "/no": {tail}')

    def test_no_certificate(self) -> None:
        """
        A file without a certificate, and one with a damaged one, are told.
        """
        self.disk.files["/junk"] = b"hello\n"
        call = "PEM_read_bio_X509_AUX() failed"
        self.assertEqual(
            self.refusal("/junk"),
            f'cannot load certificate "/junk": {call} '
            "(SSL: error:0480006C:PEM routines::no start line:Expecting: TRUSTED CERTIFICATE)",
        )
        self.disk.files["/cut"] = LEAF.pem[:100]
        self.assertEqual(
            self.refusal("/cut"),
            f'cannot load certificate "/cut": {call} (SSL: error:04800066:PEM routines::bad end line)',
        )

    def test_no_key(self) -> None:
        """
        A file without a key, one that is cut, and one with a damaged key are told.
        """
        call = "PEM_read_bio_PrivateKey() failed"
        for name, data, text in (
            ("/junk", b"hello\n", NOT_A_KEY),
            ("/cut", LEAF.key_pem[:100], "error:04800066:PEM routines::bad end line"),
            ("/bad", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", NOT_A_KEY),
        ):
            self.disk.files[name] = data
            self.assertEqual(self.refusal(key=name), f'cannot load certificate key "{name}": {call} (SSL: {text})')

    def test_folders(self) -> None:
        """
        A folder can be opened and is empty, as OpenSSL has it.
        """

        def read(path: str) -> bytes:
            if path == "/etc/":
                raise IsADirectoryError(21, "Is a directory", path)
            return pki.self_signed().full_pem

        for chain, words in (
            (
                "/etc/",
                'certificate "/etc/": PEM_read_bio_X509_AUX() failed (SSL: error:0480006C:PEM routines::no start',
            ),
            ("/a", 'certificate key "/etc/": PEM_read_bio_PrivateKey() failed (SSL: error:1E08010C:DECODER routines'),
        ):
            error = self.assertRaises(ConfigError, load, chain, "/etc/", (), read)
            self.assertIn(f"cannot load {words}", error.message)

    def test_written_down(self) -> None:
        """
        A key that is written down in the configuration is in no message.
        """
        other = "data:" + pki.self_signed().key_pem.decode()

        def read(path: str) -> bytes:
            return path[5:].encode() if path.startswith("data:") else pki.self_signed().full_pem

        for key in ("data:secret", other):
            error = self.assertRaises(ConfigError, load, "/a", key, (), read)
            self.assertIn('"data:..."', error.message)
            self.assertNotIn(key[5:], error.message)

    def test_mismatch(self) -> None:
        """
        A key of another certificate is refused, whether of the same type or not.
        """
        self.disk.add("b", pki.leaf(CA, "b.example.com"))
        self.disk.add("rsa", RSA)
        self.assertEqual(
            self.refusal(key="/b.key"),
            'SSL_CTX_use_PrivateKey("/b.key") failed '
            "(SSL: error:05800074:x509 certificate routines::key values mismatch)",
        )
        self.assertEqual(
            self.refusal(key="/rsa.key"),
            'SSL_CTX_use_PrivateKey("/rsa.key") failed '
            "(SSL: error:05800073:x509 certificate routines::key type mismatch)",
        )

    def test_passwords(self) -> None:
        """
        An encrypted key is tried with each password in turn, in both of the ways that keys are encrypted.
        """
        old = LEAF.key.private_bytes(
            encoding=Encoding.PEM,
            format=PrivateFormat.TraditionalOpenSSL,
            encryption_algorithm=BestAvailableEncryption(b"secret"),
        )
        for data in (LEAF.encrypted_key_pem(b"secret"), old):
            self.disk.files["/locked"] = data
            self.assertEqual(self.load("/a.pem", "/locked", b"wrong", b"secret").certificate, LEAF.certificate)
            self.assertIn("bad decrypt", self.refusal("/a.pem", "/locked", b"wrong"))
            self.assertEqual(
                self.refusal("/a.pem", "/locked"),
                'cannot load certificate key "/locked": PEM_read_bio_PrivateKey() failed '
                "(SSL: error:04800068:PEM routines::bad password read)",
            )

    def test_open_key_needs_no_password(self) -> None:
        """
        Passwords do no harm to a key that is not encrypted.
        """
        self.assertEqual(self.load("/a.pem", "/a.key", b"unused").certificate, LEAF.certificate)

    def test_unknown_key_type(self) -> None:
        """
        A certificate whose key cryptography does not know is refused with its name.
        """
        # The object identifier of P-256 becomes one that nobody has given out.
        der = LEAF.certificate.public_bytes(Encoding.DER)
        spoiled = der.replace(bytes.fromhex("06082a8648ce3d030107"), bytes.fromhex("06082a8648ce3d03017f"))
        self.assertNotEqual(der, spoiled)
        self.disk.files["/odd"] = _pem(spoiled)
        self.assertTrue(self.refusal("/odd").startswith('cannot use certificate "/odd": '))


class PasswordTests(SynchronousTestCase):
    """
    L{read_passwords}.
    """

    def test_lines(self) -> None:
        """
        Each line is a password; line ends of both kinds and empty lines are dropped, blanks are kept.
        """
        disk = Disk({"/p": b"one\r\n\n two \nthree"})
        self.assertEqual(read_passwords("/p", disk.read), (b"one", b" two ", b"three"))

    def test_missing(self) -> None:
        """
        A file that cannot be opened is told in nginx's words.
        """
        error = self.assertRaises(ConfigError, read_passwords, "/no", Disk().read)
        self.assertEqual(error.message, 'open() "/no" failed (2: No such file or directory)')


def _pem(der: bytes) -> bytes:
    return b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(der) + b"-----END CERTIFICATE-----\n"
