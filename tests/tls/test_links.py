"""
What the verify callback notes of a chain, and what becomes of the handshake.
"""

from __future__ import annotations

from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.tls import native
from sniproxy.tls.policies import ClientPolicy, ServerPolicy
from tests.support import pki
from tests.tls.pump import Disk, pair, shake


class LinksTests(SynchronousTestCase):
    """
    Links of clients' chains.
    """

    def test_links_of_a_handshake(self) -> None:
        """
        The links are noted with their errors, the errors stay in the result, and the handshake finishes.
        """
        disk = Disk()
        ca, unknown = pki.authority("CA"), pki.authority("Unknown")
        server = disk.server(
            ServerPolicy(
                (disk.add("s", pki.leaf(ca, "s.example.com")),), verify="on", client_certificate=disk.trust("ca", ca)
            )
        )
        client = disk.client(ClientPolicy(certificates=(disk.add("c", pki.leaf(unknown, "c.example.com")),)))
        _, other = pair(client, server)
        self.assertEqual(native.verify_result(other), 21)
        self.assertEqual([(link.depth, link.error) for link in other.links], [(0, 20), (0, 21), (0, 0)])
        self.assertEqual(repr(other.links[0]), "<Link 0 error 20>")
        self.assertEqual(other.links[0].subject, "CN=c.example.com")
        self.assertIn(b"\x04", native.session_der(other))

    def test_cannot_note(self) -> None:
        """
        Where a link cannot be noted the handshake fails.
        """
        disk = Disk()
        ca = pki.authority("CA")
        files = disk.add("s", pki.leaf(ca, "s.example.com"))
        server = disk.server(ServerPolicy((files,), verify="on", client_certificate=disk.trust("ca", ca)))
        one, other = disk.client(ClientPolicy(certificates=(files,))).connection(), server.connection()
        other.links = None  # type: ignore[assignment]
        self.assertRaises(SSL.Error, shake, one, other)
