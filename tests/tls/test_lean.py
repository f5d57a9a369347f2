"""
A connection that is no more than its bytes is the same to OpenSSL as any other, and becomes whole when it is asked for.
"""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.tls import native
from sniproxy.tls.lean import Lean, connect, whole
from sniproxy.tls.policies import ClientPolicy, ServerPolicy
from sniproxy.tls.verify import NOT_ASKED, judge_client
from tests.support import pki
from tests.support.house import TOP
from tests.tls.pump import Disk, shake


class LeanTests(SynchronousTestCase):
    """
    L{Lean} of a server that asks for nothing.
    """

    def setUp(self) -> None:
        self.disk = Disk()
        ca = pki.authority("CA")
        self.trust = self.disk.trust("ca", ca)
        self.policy = ServerPolicy((self.disk.add("s", pki.leaf(ca, "s.example.com")),))

    def test_whole(self) -> None:
        """
        The whole connection drives the same SSL object, has all that pyOpenSSL's own have, and is made once.
        """
        context = self.disk.server(self.policy)
        begun = context.begin()
        assert isinstance(begun, Lean)
        connection: Any = begun.whole()
        self.assertIs(begun.whole(), connection)
        self.assertIs(whole(begun), connection)
        self.assertIs(whole(connection), connection)
        self.assertTrue(context.made(connection))
        for name, value in vars(SSL.Connection(connection.get_context(), None)).items():
            self.assertIs(type(getattr(connection, name)), type(value), name)
        self.assertNotIn(connection._ssl, SSL.Connection._reverse_mapping)
        shake(self.disk.client(ClientPolicy()).connection(), connection)
        self.assertEqual(connection.links, [])

    def test_not_lean(self) -> None:
        """
        Where callbacks ask for the connection, and where pyOpenSSL's connections are not what we know, it is whole from
        the beginning.
        """
        policy = ServerPolicy(self.policy.certificates, verify="on", client_certificate=self.trust)
        self.assertIsInstance(self.disk.server(policy).begin(), native.TLSConnection)
        self.patch(native, "familiar", lambda: False)
        self.assertIsInstance(self.disk.server(self.policy).begin(), native.TLSConnection)

    def test_judged(self) -> None:
        """
        Who was not asked for a certificate comes in, unless the server that the name has chosen demands one.
        """
        context = self.disk.server(self.policy)
        self.assertIs(judge_client(context.begin(), context, self.fail), NOT_ASKED)
        self.assertFalse(judge_client(context.begin(), context, self.fail, "on").ok)

    def test_connect(self) -> None:
        """
        What is made at once is known to callbacks only where it is said that they ask; and a context of which there are
        connections does not change any more.
        """
        for server in (True, False):
            for called in (True, False):
                context = native.ready(SSL.Context(SSL.TLS_METHOD))
                connection = connect(context, server, called)
                self.assertIs(connection.get_context(), context)
                self.assertEqual(connection._ssl in SSL.Connection._reverse_mapping, called)
                self.assertRaises(ValueError, context.set_verify, SSL.VERIFY_NONE)
                self.assertRaises(SSL.WantReadError, connection.do_handshake)
                self.assertEqual(connection.get_state_string() == b"before SSL initialization", server)

    def test_no_memory(self) -> None:
        """
        Where OpenSSL has none, there is no connection.
        """
        self.addCleanup(SSL._lib.ERR_clear_error)  # type: ignore[attr-defined]
        with self.assertRaises(MemoryError):
            Lean(SimpleNamespace(_context=SSL._ffi.NULL), True)  # type: ignore[arg-type, attr-defined]

    def test_bindings(self) -> None:
        """
        pyOpenSSL is not familiar unless it has all that is taken from its bindings here.
        """
        taken = re.findall(r'getattr\(_lib, "(\w+)"', (TOP / "sniproxy/tls/lean.py").read_text())
        self.assertIn("SSL_set_accept_state", taken)
        self.assertEqual(set(taken) - set(native._MAKERS), set())
