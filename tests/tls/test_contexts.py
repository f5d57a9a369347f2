"""
Contexts are whole, and keep what belongs to others out.
"""

from __future__ import annotations

from dataclasses import replace

from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.tls import native
from sniproxy.tls.contexts import client_context, server_context
from sniproxy.tls.credentials import Known
from sniproxy.tls.policies import ClientPolicy, ServerPolicy
from tests.support import pki, responses
from tests.tls.pump import DH_PARAMETERS, NOW, Disk, move, pair, shake

CA = pki.authority("CA")
OTHER_CA = pki.authority("CA")
LEAF = pki.leaf(CA, "leaf.example.com")


class ServerContextTests(SynchronousTestCase):
    """
    L{sniproxy.tls.contexts.ServerContext}.
    """

    def setUp(self) -> None:
        self.disk = Disk()
        self.policy = ServerPolicy((self.disk.add("s", LEAF),))

    def test_digest_follows_content(self) -> None:
        """
        The digest is the same for the same policy and files, and another when a file or a directive is another.
        """
        trust = self.disk.trust("ca", CA)
        policy = ServerPolicy(self.policy.certificates, verify="on", client_certificate=trust)
        before = self.disk.server(policy).digest
        self.assertEqual(self.disk.server(policy).digest, before)
        deeper = ServerPolicy(self.policy.certificates, verify="on", client_certificate=trust, depth=2)
        self.assertNotEqual(self.disk.server(deeper).digest, before)
        self.disk.trust("ca", OTHER_CA)
        self.assertNotEqual(self.disk.server(policy).digest, before)

    def test_each_file_once(self) -> None:
        """
        A file that is named several times is read once.
        """
        reads: list[str] = []

        def read(path: str) -> bytes:
            reads.append(path)
            return self.disk.read(path)

        trust = self.disk.trust("ca", CA)
        server_context(
            ServerPolicy(self.policy.certificates, verify="on", client_certificate=trust, trusted_certificate=trust),
            read,
            lambda: 0.0,
        )
        self.assertEqual(sorted(reads), ["/ca.pem", "/s.key", "/s.pem"])

    def test_known(self) -> None:
        """
        What another context has loaded is not loaded again, and is part of the digest all the same; under another name,
        or with other passwords, it is something else.
        """
        known: Known = {}
        first = server_context(self.policy, self.disk.read, lambda: 0.0, known)
        ((chain, key),) = self.policy.certificates
        self.assertEqual(list(known), [(chain, key, ())])
        second = server_context(self.policy, self.disk.read, lambda: 0.0, known)
        self.assertIs(second.credentials[0], first.credentials[0])
        self.assertEqual(second.digest, self.disk.server(self.policy).digest)
        pair(self.disk.client(ClientPolicy()), second)
        client = client_context(ClientPolicy(self.policy.certificates), self.disk.read, lambda: 0.0, known)
        self.assertIs(client.credentials[0], first.credentials[0])
        server_context(replace(self.policy, passwords=(b"a",)), self.disk.read, lambda: 0.0, known)
        self.assertEqual(list(known), [(chain, key, ()), (chain, key, (b"a",))])

    def test_session_of_another(self) -> None:
        """
        A session made under one context is not resumed under another, even of the same policy, by ticket or by cache.
        """
        for protocol in ("TLSv1.2", "TLSv1.3"):
            for tickets in (True, False):
                policy = ServerPolicy(
                    self.policy.certificates,
                    protocols=(protocol,),
                    session_tickets=tickets,
                    session_cache=("shared:a:1m",),
                )
                first, second = self.disk.server(policy), self.disk.server(policy)
                client = self.disk.client(ClientPolicy())
                one, other = pair(client, first)
                one.shutdown()
                other.shutdown()
                one, _ = pair(client, first, session := one.get_session())
                self.assertTrue(native.session_reused(one))
                assert session is not None
                one, _ = pair(client, second, session)
                self.assertFalse(native.session_reused(one))

    def test_no_renegotiation(self) -> None:
        """
        A client cannot renegotiate.
        """
        server = self.disk.server(ServerPolicy(self.policy.certificates, protocols=("TLSv1.2",)))
        one, other = pair(self.disk.client(ClientPolicy()), server)
        self.assertRaises(SSL.Error, one.renegotiate)
        self.assertEqual(other.total_renegotiations(), 0)

    def test_end_without_close_notify(self) -> None:
        """
        A stream that ends without close_notify is an orderly end.
        """
        one, other = pair(self.disk.client(ClientPolicy()), self.disk.server(self.policy))
        other.bio_shutdown()
        self.assertRaises(SSL.ZeroReturnError, other.recv, 100)
        self.assertFalse(move(one, other))

    def test_unnamed(self) -> None:
        """
        Where certificates are not known the handshake ends where one is needed.
        """
        server = self.disk.server(ServerPolicy((), unnamed=True))
        error = self.assertRaises(SSL.Error, pair, self.disk.client(ClientPolicy()), server)
        self.assertIn("cert cb error", str(error))

    def test_staple(self) -> None:
        """
        What is stapled goes to clients that ask; nothing goes where there is nothing.
        """
        for staple in (responses.response(LEAF, CA, NOW), b""):
            shown: list[bytes] = []

            def keep(connection: SSL.Connection, response: bytes, data: object, shown: list[bytes] = shown) -> bool:
                shown.append(response)
                return True

            server = self.disk.server(replace(self.policy, staple={LEAF.certificate: staple}.__getitem__))
            context = SSL.Context(SSL.TLS_CLIENT_METHOD)
            context.set_ocsp_client_callback(keep)
            client = SSL.Connection(context)
            client.set_connect_state()
            client.request_ocsp()
            shake(client, server.connection())
            self.assertEqual(b"".join(shown), staple)
            self.assertTrue(server.resumes)
        self.assertFalse(self.disk.server(replace(self.policy, ocsp=True, verify="optional_no_ca")).resumes)

    def test_made(self) -> None:
        """
        A context knows its own connections.
        """
        one, other = self.disk.server(self.policy), self.disk.server(self.policy)
        self.assertEqual((one.made(one.connection()), one.made(other.connection())), (True, False))

    def test_rejects(self) -> None:
        """
        A policy that rejects lets no handshake through, whatever certificate it has.
        """
        server = self.disk.server(replace(self.policy, reject=True))
        error = self.assertRaises(SSL.Error, pair, self.disk.client(ClientPolicy()), server)
        self.assertIn("callback failed", str(error))

    def test_signatures(self) -> None:
        """
        Where it is asked for, a connection knows by which algorithm each side has signed, and nothing where nobody did.
        """
        trust = self.disk.trust("ca", CA)
        shown = ClientPolicy((self.disk.add("c", pki.leaf(CA, "client", kind="rsa")),), session_reuse=True)
        for protocol, ciphers, expected in (
            ("TLSv1.3", "HIGH", (0x0403, 0x0804)),
            ("TLSv1.2", "HIGH", (0x0403, 0x0804)),
            ("TLSv1.2", "kDHE", (0x0804, 0x0804)),
            ("TLSv1.2", "kRSA", (0, 0x0804)),
        ):
            identity = LEAF if ciphers == "HIGH" else pki.leaf(CA, "rsa", kind="rsa")
            self.disk.files["/dh.pem"] = DH_PARAMETERS
            server = self.disk.server(
                ServerPolicy(
                    (self.disk.add("t", identity),),
                    protocols=(protocol,),
                    ciphers=ciphers,
                    verify="on",
                    client_certificate=trust,
                    dhparam="/dh.pem",
                    signatures=True,
                )
            )
            client = self.disk.client(replace(shown, ciphers="ALL"))
            one, other = pair(client, server)
            self.assertEqual((other.signature, other.peer_signature), expected, (protocol, ciphers))
            _, again = pair(client, server, one.get_session())
            self.assertTrue(native.session_reused(again))
            self.assertEqual((again.signature, again.peer_signature), (0, 0))

    def test_unchangeable(self) -> None:
        """
        Nothing of a context can be set again.
        """
        context = self.disk.server(self.policy)
        context.connection()
        self.assertRaises(ValueError, context._context.set_verify, SSL.VERIFY_NONE)

    def test_endless_peer(self) -> None:
        """
        Reads stop at records without data, which may come without end; however connections are made.
        """
        for familiar in (True, False):
            self.patch(native, "familiar", lambda familiar=familiar: familiar)
            near, far = self.disk.client(ClientPolicy()).connection(), self.disk.server(self.policy).connection()
            near.set_connect_state()
            shake(near, far)
            far.send(b"word")
            move(far, near)
            for _ in range(2):  # two tickets
                self.assertRaises(SSL.WantReadError, near.recv, 9)
            self.assertEqual(near.recv(9), b"word")

    def test_called(self) -> None:
        """
        Callbacks that ask for the connection find it; where there are none it is not kept where they would look.
        """
        trust = self.disk.trust("ca", CA)

        def staple(certificate: object) -> bytes:
            return b""

        asked = (
            {"alpn": ("h2",)},
            {"verify": "optional", "client_certificate": trust},
            {"staple": staple},
            {"signatures": True},
        )
        for more in asked:
            connection = self.disk.server(replace(self.policy, **more)).connection()
            self.assertIs(SSL.Connection._reverse_mapping.get(connection._ssl), connection)
        connection = self.disk.server(self.policy).connection()
        self.assertNotIn(connection._ssl, SSL.Connection._reverse_mapping)
        for verify in (True, False):
            client = self.disk.client(ClientPolicy(verify=verify, trusted_certificate=trust)).connection()
            self.assertEqual(client._ssl in SSL.Connection._reverse_mapping, verify)

    def test_resumes(self) -> None:
        """
        A hook keeps sessions from being resumed only where it will be asked.
        """
        trust = self.disk.trust("ca", CA)
        certificates = self.policy.certificates

        def hook(*_: object) -> bool:
            return True

        self.assertTrue(self.disk.server(ServerPolicy(certificates, hook=hook)).resumes)
        policy = ServerPolicy(certificates, verify="on", client_certificate=trust)
        self.assertTrue(self.disk.server(policy).resumes)
        policy = ServerPolicy(certificates, verify="on", client_certificate=trust, hook=hook)
        self.assertFalse(self.disk.server(policy).resumes)


class ClientContextTests(SynchronousTestCase):
    """
    L{sniproxy.tls.contexts.ClientContext}.
    """

    def setUp(self) -> None:
        self.disk = Disk()
        self.server = self.disk.server(ServerPolicy((self.disk.add("s", LEAF),), alpn=("h2", "imap")))

    def test_verifies(self) -> None:
        """
        A context that verifies notes the links of its upstream, and one that does not notes none.
        """
        trust = self.disk.trust("ca", CA)
        for policy, links in ((ClientPolicy(verify=True, trusted_certificate=trust), 2), (ClientPolicy(), 0)):
            one, _ = pair(self.disk.client(policy), self.server)
            self.assertEqual(len(one.links), links)

    def name_of(self, name: str) -> bytes | None:
        """
        @return: the server name that the server got.
        """
        one, other = self.disk.client(ClientPolicy()).connection(server_name=name), self.server.connection()
        shake(one, other)
        return other.get_servername()

    def test_server_name(self) -> None:
        """
        A name is sent without its trailing dot; an address, and no name, are not sent.
        """
        self.assertEqual(self.name_of("a.example.com."), b"a.example.com")
        for name in ("", "127.0.0.1", "::1", "[::1]"):
            self.assertIsNone(self.name_of(name))

    def test_alpn(self) -> None:
        """
        The policy's protocols are offered, or those of the connection instead.
        """
        client = self.disk.client(ClientPolicy(alpn=("imap",)))
        for alpn, answer in ((None, b"imap"), (("h2",), b"h2")):
            one, other = client.connection(alpn=alpn), self.server.connection()
            shake(one, other)
            self.assertEqual(one.get_alpn_proto_negotiated(), answer)

    def test_resumes(self) -> None:
        """
        Sessions are kept unless the policy, a hook or a missing binding forbids it.
        """
        self.assertTrue(self.disk.client(ClientPolicy()).resumes)
        self.assertFalse(self.disk.client(ClientPolicy(session_reuse=False)).resumes)
        self.assertFalse(self.disk.client(ClientPolicy(hook=lambda *_: True)).resumes)
        self.patch(native, "BINDINGS", ("SSL_not_there",))
        self.assertFalse(self.disk.client(ClientPolicy()).resumes)
