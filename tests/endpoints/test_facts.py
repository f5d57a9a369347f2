"""
Tests of L{sniproxy.endpoints.facts}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.endpoints.facts import TLSFacts
from sniproxy.tls.policies import ClientPolicy, ServerPolicy
from sniproxy.tls.verify import judge_client
from tests.support import hellos, pki
from tests.tls.pump import Disk, pair


class FactsTests(SynchronousTestCase):
    """
    What is known of a connection.
    """

    def setUp(self) -> None:
        self.disk = Disk()
        authority = pki.authority()
        self.trust = self.disk.trust("ca", authority)
        self.web = self.disk.add("web", pki.leaf(authority, "a.example"))
        self.me = self.disk.add("me", pki.leaf(authority, "me"))
        self.server = self.disk.server(
            ServerPolicy((self.web,), verify="optional", client_certificate=self.trust, alpn=("h2",))
        )

    def test_verified(self) -> None:
        """
        The facts of a client that proved who it is.
        """
        client = self.disk.client(ClientPolicy((self.me,), alpn=("h2",)))
        _, connection = pair(client, self.server)
        judgement = judge_client(connection, self.server, self.fail)
        facts = TLSFacts(connection, judgement, hellos.parsed(server_name="a.example"))
        self.assertEqual(
            (facts.server_name, facts.subject, facts.verified, facts.protocol, facts.alpn, facts.resumed),
            ("a.example", "CN=me", True, "TLSv1.3", "h2", False),
        )
        self.assertIs(facts.certificate, judgement.certificate)
        self.assertIn("AES", facts.cipher)

    def test_nobody(self) -> None:
        """
        The facts of a client that showed nothing and named nobody.
        """
        _, connection = pair(self.disk.client(ClientPolicy()), self.server)
        facts = TLSFacts(connection, judge_client(connection, self.server, self.fail))
        self.assertEqual(
            (facts.server_name, facts.subject, facts.verified, facts.alpn, facts.certificate),
            (None, "", False, "", None),
        )

    def test_resumed(self) -> None:
        """
        A resumed session is told.
        """
        client = self.disk.client(ClientPolicy((self.me,)))
        first, _ = pair(client, self.server)
        session = first.get_session()
        assert session is not None
        _, connection = pair(client, self.server, session)
        self.assertTrue(TLSFacts(connection, judge_client(connection, self.server, self.fail)).resumed)
