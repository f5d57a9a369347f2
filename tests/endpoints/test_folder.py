"""
Tests of L{sniproxy.endpoints.folder}.
"""

from __future__ import annotations

import os
from datetime import datetime, timezone
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.endpoints.folder import CertificateFolder
from sniproxy.endpoints.names import ServerNames
from sniproxy.errors import ConfigError
from sniproxy.tls.policies import ServerPolicy
from tests.support import pki
from tests.tls.pump import NOW

EARLIER = (datetime(2023, 1, 1, tzinfo=timezone.utc), pki.END)


class CertificateFolderTests(SynchronousTestCase):
    """
    Which certificates serve which names.
    """

    def setUp(self) -> None:
        self.files: dict[str, bytes] = {}
        self.listed = 0
        self.authority = pki.authority()
        self.folder = CertificateFolder(
            "/certs", ServerPolicy((), alpn=("h2",)), clock=lambda: NOW, listing=self.listing
        )

    def listing(self, path: str) -> list[str]:
        self.listed += 1
        self.assertEqual(path, "/certs")
        return [os.path.basename(file) for file in self.files]

    def read(self, path: str) -> bytes:
        if path not in self.files:
            raise FileNotFoundError(2, "No such file or directory", path)
        return self.files[path]

    def add(self, stem: str, identity: pki.Identity, beside: bool = False) -> None:
        together = b"" if beside else identity.key_pem
        self.files[f"/certs/{stem}.pem"] = identity.full_pem + together
        if beside:
            self.files[f"/certs/{stem}.key"] = identity.key_pem

    def served(self) -> dict[str, tuple[Any, ...]]:
        return {name: policy.certificates for names, policy in self.folder(self.read).items() for name in names}

    def test_names_of_the_certificate(self) -> None:
        """
        A certificate serves the names in it, with the key in its file or beside it, under the policy that was given.
        """
        self.add("one", pki.leaf(self.authority, "a.example", names=("a.example", "*.A.example", "192.0.2.1")))
        self.add("two", pki.leaf(self.authority, "b.example"), beside=True)
        one = (("/certs/one.pem", "/certs/one.pem"),)
        self.assertEqual(
            self.served(),
            {"a.example": one, "*.a.example": one, "b.example": (("/certs/two.pem", "/certs/two.key"),)},
        )
        self.assertEqual({policy.alpn for policy in self.folder(self.read).values()}, {("h2",)})

    def test_one_context_for_the_names_of_a_certificate(self) -> None:
        """
        The names of one certificate share a context, and those of another have their own.
        """
        self.add("one", pki.leaf(self.authority, "a.example", names=("a.example", "b.example")))
        self.add("two", pki.leaf(self.authority, "c.example"))
        names = ServerNames(self.folder, read=self.read, clock=lambda: NOW)
        self.assertIs(names.choose("a.example"), names.choose("b.example"))
        self.assertIsNot(names.choose("a.example"), names.choose("c.example"))
        self.assertIsNone(names.choose("d.example"))

    def test_the_folder_is_not_read_for_clients(self) -> None:
        """
        Names that nobody has cost no look at the folder; a reload is one.
        """
        self.add("one", pki.leaf(self.authority, "a.example"))
        names = ServerNames(self.folder, read=self.read, clock=lambda: NOW)
        for number in range(1000):
            self.assertIsNone(names.choose(f"{number}.example"))
        self.assertEqual(self.listed, 1)
        self.add("two", pki.leaf(self.authority, "b.example"))
        self.assertTrue(names.reload())
        self.assertIsNotNone(names.choose("b.example"))

    def test_good_today_wins(self) -> None:
        """
        A certificate that is good today wins over one that has expired and one that is not good yet, wherever they
        stand.
        """
        self.add("1", pki.leaf(self.authority, "a.example", validity=pki.EXPIRED))
        self.add("2", pki.leaf(self.authority, "a.example"))
        self.add("3", pki.leaf(self.authority, "a.example", validity=pki.FUTURE))
        self.assertEqual(self.served()["a.example"][0][0], "/certs/2.pem")

    def test_last_issued_wins(self) -> None:
        """
        Of two that are good today the one that was issued last wins.
        """
        self.add("1", pki.leaf(self.authority, "a.example"))
        self.add("2", pki.leaf(self.authority, "a.example", validity=EARLIER))
        self.assertEqual(self.served()["a.example"][0][0], "/certs/1.pem")

    def test_key_types(self) -> None:
        """
        A name may have a certificate of each type of key.
        """
        self.add("ec", pki.leaf(self.authority, "a.example"))
        self.add("rsa", pki.leaf(self.authority, "a.example", kind="rsa"))
        self.assertEqual({pair[0] for pair in self.served()["a.example"]}, {"/certs/ec.pem", "/certs/rsa.pem"})
        ServerNames(self.folder, read=self.read, clock=lambda: NOW)

    def test_other_files(self) -> None:
        """
        What is no certificate, has no key or no name is passed over.
        """
        self.add("one", pki.leaf(self.authority, "a.example"))
        self.files["/certs/chain.pem"] = self.authority.pem
        self.files["/certs/readme.txt"] = b"-----BEGIN CERTIFICATE-----"
        self.files["/certs/only.pem"] = pki.leaf(self.authority).key_pem
        self.add("nameless", pki.leaf(self.authority, "b.example", names=()))
        self.assertEqual(list(self.served()), ["a.example"])

    def test_nothing_there(self) -> None:
        """
        A folder without anything that can be used is an error, and so is one that is not there.
        """
        self.assertRaisesRegex(ConfigError, 'no certificate with a key and a name in "/certs"', self.folder, self.read)
        missing = CertificateFolder(self.mktemp(), ServerPolicy(()))
        self.assertRaisesRegex(ConfigError, "No such file", missing, self.read)

    def test_broken_files(self) -> None:
        """
        A file that cannot be read or is damaged is an error that names it.
        """
        self.add("one", pki.leaf(self.authority, "a.example"))
        self.files["/certs/two.pem"] = b"-----BEGIN CERTIFICATE-----\nAAAA"
        self.assertRaisesRegex(ConfigError, "two.pem", self.folder, self.read)
        del self.files["/certs/two.pem"]
        gone = CertificateFolder("/certs", ServerPolicy(()), listing=lambda path: ["gone.pem"])
        self.assertRaisesRegex(ConfigError, "gone.pem", gone, self.read)
