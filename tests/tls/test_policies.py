"""
The defaults are nginx's.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.tls.policies import ClientPolicy, ServerPolicy


class PolicyTests(SynchronousTestCase):
    """
    The two values.
    """

    def test_server_defaults(self) -> None:
        """
        A server block that says nothing more than its certificate has nginx's defaults.
        """
        policy = ServerPolicy((("/a", "/b"),))
        self.assertEqual(policy.protocols, ("TLSv1.2", "TLSv1.3"))
        self.assertEqual(policy.ciphers, "HIGH:!aNULL:!MD5")
        self.assertEqual((policy.verify, policy.depth), ("off", 1))
        self.assertEqual((policy.session_cache, policy.session_tickets, policy.session_timeout), (("none",), True, 300))

    def test_client_defaults(self) -> None:
        """
        So has its other side.
        """
        policy = ClientPolicy()
        self.assertEqual((policy.ciphers, policy.verify, policy.depth), ("DEFAULT", False, 1))
        self.assertTrue(policy.session_reuse)

    def test_passwords_hidden(self) -> None:
        """
        A policy that gets into a log tells no password.
        """
        self.assertNotIn("secret", repr(ServerPolicy((), passwords=(b"secret",))))
        self.assertNotIn("secret", repr(ClientPolicy(passwords=(b"secret",))))
