"""
What responders say is believed from the right ones alone.
"""

from __future__ import annotations

from cryptography.hazmat.primitives import hashes
from cryptography.x509 import ocsp as x509_ocsp
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.tls import ocsp
from sniproxy.tls.ocsp import FOREVER, OcspError, Status, question, responder, status
from tests.support import pki, responses
from tests.tls.pump import NOW

CA = pki.authority("CA")
OTHER = pki.authority("CA")
LEAF = pki.leaf(CA, "leaf.example.com")
SECOND = pki.leaf(CA, "second.example.com")


class QuestionTests(SynchronousTestCase):
    """
    What is asked, and of whom.
    """

    def test_question(self) -> None:
        """
        A request is about one certificate of one issuer, without a nonce, as nginx's.
        """
        asked = x509_ocsp.load_der_ocsp_request(question(LEAF.certificate, CA.certificate))
        self.assertEqual(asked.serial_number, LEAF.certificate.serial_number)
        self.assertEqual((asked.hash_algorithm.name, len(asked.extensions)), ("sha1", 0))

    def test_responder(self) -> None:
        """
        The first responder a certificate names is asked; many name none.
        """
        named = responses.with_url(CA, "x", "http://one/", "http://two/")
        self.assertEqual(responder(named.certificate), "http://one/")
        self.assertEqual(responder(LEAF.certificate), "")
        self.assertEqual(responder(responses.with_url(CA, "x").certificate), "")


class StatusTests(SynchronousTestCase):
    """
    L{status}.
    """

    def refusal(self, data: bytes, verify: bool = True) -> str:
        """
        Why a response says nothing about the leaf.
        """
        error = self.assertRaises(OcspError, status, data, LEAF.certificate, CA.certificate, NOW, verify)
        return str(error)

    def test_words(self) -> None:
        """
        Good, revoked and unknown are told apart, with the time they are good for.
        """
        for word in ("good", "revoked", "unknown"):
            found = status(responses.response(LEAF, CA, NOW, word), LEAF.certificate, CA.certificate, NOW)
            self.assertEqual(found, Status(word, NOW + 3600))
        found = status(responses.response(LEAF, CA, NOW, lasts=None), LEAF.certificate, CA.certificate, NOW)
        self.assertEqual(found.until, FOREVER)

    def test_keys_and_hashes(self) -> None:
        """
        Authorities of all kinds of keys are believed, and certificates may be told apart by other hashes than SHA-1.
        """
        for kind in ("ec", "rsa", "ed25519"):
            root = pki.authority("CA", kind=kind)
            leaf = pki.leaf(root, "leaf")
            data = responses.response(leaf, root, NOW, algorithm=hashes.SHA256())
            self.assertEqual(status(data, leaf.certificate, root.certificate, NOW).word, "good")

    def test_delegates(self) -> None:
        """
        The issuer may let another sign; nobody else may, be he of the same issuer or shown or not.
        """
        good = responses.delegate(CA)
        data = responses.response(LEAF, CA, NOW, signer=good, shown=good)
        self.assertEqual(status(data, LEAF.certificate, CA.certificate, NOW).word, "good")
        for signer, shown in (
            (OTHER, None),
            (OTHER, OTHER),
            (good, None),
            (responses.delegate(CA, usage=False),) * 2,
            (responses.delegate(CA, validity=pki.EXPIRED),) * 2,
            (responses.delegate(OTHER),) * 2,
            (SECOND, SECOND),
            (LEAF, LEAF),
        ):
            data = responses.response(LEAF, CA, NOW, signer=signer, shown=shown)
            self.assertEqual(self.refusal(data), "OCSP_basic_verify() failed")
            self.assertEqual(status(data, LEAF.certificate, CA.certificate, NOW, verify=False).word, "good")

    def test_somebody_else(self) -> None:
        """
        A response about another certificate, or about one with its number of another issuer, says nothing.
        """
        missing = "certificate status not found in the OCSP response"
        self.assertEqual(self.refusal(responses.response(SECOND, CA, NOW)), missing)
        twin = pki.leaf(OTHER, "leaf.example.com", serial=LEAF.certificate.serial_number)
        self.assertEqual(self.refusal(responses.response(twin, OTHER, NOW, signer=CA)), missing)

    def test_times(self) -> None:
        """
        What is of tomorrow or too old says nothing; five minutes do not matter.
        """
        late = "OCSP_check_validity() failed"
        for age, lasts, refused in (
            (-299.0, 3600.0, False),
            (-301.0, 3600.0, True),
            (3600.0, -299.0, False),
            (3600.0, -301.0, True),
        ):
            data = responses.response(LEAF, CA, NOW, age=age, lasts=lasts)
            if refused:
                self.assertEqual(self.refusal(data), late)
            else:
                self.assertEqual(status(data, LEAF.certificate, CA.certificate, NOW).word, "good")

    def test_unsuccessful(self) -> None:
        """
        A responder that does not answer says why.
        """
        for code, number, word in (
            (x509_ocsp.OCSPResponseStatus.MALFORMED_REQUEST, 1, "malformedrequest"),
            (x509_ocsp.OCSPResponseStatus.TRY_LATER, 3, "trylater"),
            (x509_ocsp.OCSPResponseStatus.UNAUTHORIZED, 6, "unauthorized"),
        ):
            self.assertEqual(
                self.refusal(responses.unsuccessful(code)), f"OCSP response not successful ({number}: {word})"
            )

    def test_spoiled(self) -> None:
        """
        Garbage is no response, and no change of one byte, or of one bit, makes a good certificate of a revoked one.
        """
        for data in (b"", b"junk", responses.response(LEAF, CA, NOW)[:-1]):
            self.assertEqual(self.refusal(data), "d2i_OCSP_RESPONSE() failed")
        revoked = responses.response(LEAF, CA, NOW, "revoked")
        for at in range(len(revoked)):
            for change in (1, 2, 4, 8, 16, 32, 64, 128, 255):
                spoiled = bytearray(revoked)
                spoiled[at] ^= change
                try:
                    found = status(bytes(spoiled), LEAF.certificate, CA.certificate, NOW)
                except OcspError:
                    continue
                self.assertEqual(found, Status("revoked", NOW + 3600))

    def test_keys_that_cannot_sign(self) -> None:
        """
        A key that signs no responses is no signer.
        """
        self.patch(ocsp, "rsa", type("Rsa", (), {"RSAPublicKey": ()}))
        root = pki.authority("CA", kind="rsa")
        leaf = pki.leaf(root, "leaf")
        data = responses.response(leaf, root, NOW)
        self.assertRaises(OcspError, status, data, leaf.certificate, root.certificate, NOW)
