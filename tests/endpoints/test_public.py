"""
Tests of the names that L{sniproxy.endpoints} promises.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy import endpoints

PROMISED = (
    "CertificateFolder CertificateRefused ClientPolicy ClientTLS ConfigError HandshakeFailed SNISplitter ServerNames "
    "ServerPolicy TLSClientEndpoint TLSFacts TLSServerEndpoint Terminate"
).split()


class PublicTests(SynchronousTestCase):
    """
    The thin public face.
    """

    def test_names(self) -> None:
        """
        Exactly the promised names are exported, and each is there.
        """
        self.assertEqual(sorted(endpoints.__all__), sorted(PROMISED))
        for name in PROMISED:
            self.assertTrue(hasattr(endpoints, name), name)

    def test_documented(self) -> None:
        """
        Each of them says what it is.
        """
        for name in PROMISED:
            self.assertTrue(getattr(endpoints, name).__doc__, name)
