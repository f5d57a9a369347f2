"""
Tests of L{sniproxy.endpoints.failures}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.endpoints.failures import CertificateRefused, HandshakeFailed
from sniproxy.errors import UpstreamError
from sniproxy.tls.verify import Judgement


class FailuresTests(SynchronousTestCase):
    """
    What failures say.
    """

    def test_handshake(self) -> None:
        """
        A failed handshake has OpenSSL's words, if there are any.
        """
        self.assertEqual(HandshakeFailed("no").reasons, ())
        failure = HandshakeFailed("no", ("alert",))
        self.assertEqual((str(failure), failure.reasons), ("no", ("alert",)))

    def test_certificate(self) -> None:
        """
        A refused certificate brings the judgement, and is another thing than a failed handshake.
        """
        failure = CertificateRefused(Judgement(False, 20, "r", "upstream SSL certificate verify error: (20:r)"))
        self.assertEqual(failure.judgement.code, 20)
        self.assertIn("(20:r)", str(failure))
        self.assertIsInstance(failure, UpstreamError)
        self.assertNotIsInstance(failure, HandshakeFailed)
