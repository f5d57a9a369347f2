"""
The private bindings are there and do what is expected of them; a new pyOpenSSL that breaks one is noticed here.
"""

from __future__ import annotations

from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL, crypto
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.tls import native
from sniproxy.tls.policies import ClientPolicy, ServerPolicy
from sniproxy.tls.shares import offered
from tests.support import pki, tls
from tests.tls.pump import DH_PARAMETERS, Disk, move, pair, shake


class NativeTests(SynchronousTestCase):
    """
    L{native} by itself.
    """

    def test_everything_there(self) -> None:
        """
        This pyOpenSSL has every binding; if this fails, sniproxy resumes no session any more and needs mending.
        """
        self.assertEqual(native.missing(), ())

    def test_gone_is_named(self) -> None:
        """
        A binding and an attribute that are gone are both named.
        """
        self.patch(native, "BINDINGS", ("SSL_get_verify_result", "SSL_not_there"))
        self.patch(native, "ATTRIBUTES", ((SSL.Connection, "_not_there"), (SSL.Connection, "_reverse_mapping")))
        self.assertEqual(native.missing(), ("SSL_not_there", "_not_there"))

    def test_reused_without_binding(self) -> None:
        """
        Where it cannot be told whether a session was resumed, none was: nothing is resumed then.
        """
        self.patch(native, "_lib", object())
        self.assertFalse(native.session_reused(SSL.Connection(SSL.Context(SSL.TLS_METHOD))))

    def test_error_text(self) -> None:
        """
        OpenSSL's words come with their numbers.
        """
        self.assertEqual(native.error_text(20), "unable to get local issuer certificate")

    def test_error_line(self) -> None:
        """
        A complaint of OpenSSL is written with its code, and an alert that was received with its number.
        """
        self.assertEqual(native.error_line("SSL routines", "http request"), "error:0A00009C:SSL routines::http request")
        self.assertEqual(
            native.error_line("SSL routines", "tlsv1 alert unknown ca"),
            "error:0A000418:SSL routines::tlsv1 alert unknown ca:SSL alert number 48",
        )
        self.assertEqual(native.error_code("SSL routines", "http request"), 0x0A00009C)

    def test_unknown_error_line(self) -> None:
        """
        A complaint whose code cannot be found is written without one.
        """
        self.assertEqual(native.error_line("other routines", "odd"), "error:other routines::odd")
        self.assertEqual(native.error_code("other routines", "odd"), 0)

    def test_no_session(self) -> None:
        """
        A connection that has not shaken hands has no session.
        """
        self.assertEqual(native.session_der(SSL.Connection(SSL.Context(SSL.TLS_METHOD))), b"")

    def test_reused(self) -> None:
        """
        A resumed handshake is known from a full one.
        """
        disk = Disk()
        server = disk.server(ServerPolicy((disk.add("s", pki.leaf(pki.authority("CA"), "s.example.com")),)))
        client = disk.client(ClientPolicy())
        one, other = pair(client, server)
        self.assertFalse(native.session_reused(other))
        self.assertIn(b"\x04", native.session_der(other))
        _, other = pair(client, server, one.get_session())
        self.assertTrue(native.session_reused(other))

    def reads(self, there: bool) -> list[bytes | None]:
        """
        What reads of a client come to, None for nothing yet, while a server's two tickets and a word lie before it.
        """
        near, far = tls.client(), tls.server()
        if not there:
            self.patch(native, "_lib", object())
        native.stop_at_records_without_data(near)
        shake(near, far)
        far.send(b"word")
        move(far, near)
        got: list[bytes | None] = []
        while not any(got):
            try:
                got.append(near.recv(10))
            except SSL.WantReadError:
                got.append(None)
        return got

    def test_stop_at_records_without_data(self) -> None:
        """
        A read ends at a record without data instead of going on; where the binding is gone it goes on.
        """
        self.assertEqual(self.reads(there=True), [None, None, b"word"])
        self.assertEqual(self.reads(there=False), [b"word"])

    def test_peer_certificate(self) -> None:
        """
        A peer's certificate is the one it has shown, however large and however often it is asked for; without one it is
        None.
        """
        near, far = tls.client(), tls.server()
        self.assertIsNone(native.peer_certificate(near))
        shake(near, far)
        shown = near.get_peer_certificate(as_cryptography=True)
        for _ in range(3):
            self.assertEqual(native.peer_certificate(near), shown)
        self.assertIsNone(native.peer_certificate(far))
        large = pki.self_signed(names=[f"{number:05d}.{'x' * 50}.example.com" for number in range(600)]).certificate
        self.assertGreater(len(large.public_bytes(Encoding.DER)), 2 * native._ROOM)
        self.assertEqual(native.readable(crypto.X509.from_cryptography(large)), large)
        self.assertEqual(native.peer_certificate(near), shown)

    def test_familiar(self) -> None:
        """
        The pyOpenSSL that is installed makes connections of what we know. If this fails nothing is broken, but slow:
        see what its constructor does by now, and do it in L{sniproxy.tls.lean}.
        """
        self.assertTrue(native.familiar())

    def test_constructor(self) -> None:
        """
        Where it is not, pyOpenSSL's constructor makes connections, which remember the same.
        """
        connection = native.TLSConnection(SSL.Context(SSL.TLS_METHOD))
        self.assertEqual((connection.links, connection.good_until, connection.signature), ([], None, 0))
        self.assertIs(SSL.Connection._reverse_mapping[connection._ssl], connection)

    def test_unfamiliar(self) -> None:
        """
        One that puts something else into a connection is not familiar, nor is one without the bindings; its contexts
        are left as they are.
        """

        class Other(SSL.Connection):
            def __init__(self, context: SSL.Context, socket: object) -> None:
                super().__init__(context, None)
                self.another = 1

        self.addCleanup(native.familiar.cache_clear)
        for patch in ((SSL, "Connection", Other), (native, "_MAKERS", ("SSL_new", "SSL_as_of_old"))):
            patched = self.patch(*patch)
            native.familiar.cache_clear()
            context = SSL.Context(SSL.TLS_METHOD)
            self.assertFalse(native.familiar())
            self.assertIs(native.ready(context), context)
            self.assertFalse(context._used)
            patched.restore()

    def test_reject_hellos(self) -> None:
        """
        A context that rejects answers every ClientHello with one alert.
        """
        server, client = SSL.Context(SSL.TLS_METHOD), SSL.Connection(SSL.Context(SSL.TLS_METHOD))
        native.reject_hellos(server)
        connection = SSL.Connection(server)
        connection.set_accept_state()
        client.set_connect_state()
        self.assertRaises(SSL.WantReadError, client.do_handshake)
        connection.bio_write(client.bio_read(1 << 16))
        error = self.assertRaises(SSL.Error, connection.do_handshake)
        self.assertEqual([reason for _, _, reason in error.args[0]], ["callback failed"])
        self.assertEqual(connection.bio_read(1 << 16), b"\x15\x03\x03\x00\x02\x02\x70")

    def handshake(self) -> list[tuple[bool, int]]:
        """
        The handshake messages of a server that are shown, by who sent them and their type, up to its first flight.
        """
        heard: list[tuple[bool, int]] = []
        server = SSL.Context(SSL.TLS_METHOD)
        identity = pki.self_signed()
        server.use_certificate(identity.certificate)
        server.use_privatekey(identity.key)
        native.show_handshakes(server, lambda connection, sent, message: heard.append((sent, message[0])))
        connection, client = SSL.Connection(server), SSL.Connection(SSL.Context(SSL.TLS_METHOD))
        connection.set_accept_state()
        client.set_connect_state()
        self.assertRaises(SSL.WantReadError, client.do_handshake)
        connection.bio_write(client.bio_read(1 << 16))
        self.assertRaises(SSL.WantReadError, connection.do_handshake)
        return heard

    def test_show_handshakes(self) -> None:
        """
        Handshake messages are shown, and who sends them; nothing else is, and nothing where the binding is gone.
        """
        self.assertEqual(self.handshake(), [(False, 1), (True, 2), (True, 8), (True, 11), (True, 15), (True, 20)])
        self.patch(native, "_lib", object())
        self.assertEqual(self.handshake(), [])

    def test_hearing_fails(self) -> None:
        """
        Whoever listens may fail: the handshake goes on.
        """
        server = SSL.Context(SSL.TLS_METHOD)
        native.show_handshakes(server, lambda *_: 1 / 0)  # type: ignore[arg-type]
        client = SSL.Connection(SSL.Context(SSL.TLS_METHOD))
        client.set_connect_state()
        self.assertRaises(SSL.WantReadError, client.do_handshake)
        connection = SSL.Connection(server)
        connection.set_accept_state()
        connection.bio_write(client.bio_read(1 << 16))
        error = self.assertRaises(SSL.Error, connection.do_handshake)
        self.assertIn("no shared cipher", str(error))

    def test_fail_for_certificates(self) -> None:
        """
        A context without certificates fails as nginx's that cannot load one, and later where the binding is gone.
        """
        for there, words, alert in (
            (True, "cert cb error", b"\x15\x03\x03\x00\x02\x02\x50"),
            (False, "no shared cipher", b"\x15\x03\x03\x00\x02\x02\x28"),
        ):
            server, client = SSL.Context(SSL.TLS_METHOD), SSL.Connection(SSL.Context(SSL.TLS_METHOD))
            if not there:
                self.patch(native, "_lib", object())
            native.fail_for_certificates(server)
            connection = SSL.Connection(server)
            connection.set_accept_state()
            client.set_connect_state()
            self.assertRaises(SSL.WantReadError, client.do_handshake)
            connection.bio_write(client.bio_read(1 << 16))
            error = self.assertRaises(SSL.Error, connection.do_handshake)
            self.assertIn(words, str(error))
            self.assertEqual(connection.bio_read(1 << 16), alert)

    def test_cipher_name(self) -> None:
        """
        A cipher suite has OpenSSL's name, or none.
        """
        connection = SSL.Connection(SSL.Context(SSL.TLS_METHOD))
        found = [native.cipher_name(connection, code) for code in (0x1301, 0x002F, 0x00FF, 0x0A0A)]
        self.assertEqual(found, ["TLS_AES_128_GCM_SHA256", "AES128-SHA", "TLS_EMPTY_RENEGOTIATION_INFO_SCSV", ""])

    def test_groups(self) -> None:
        """
        Known groups are taken, unknown ones are not and leave no error behind.
        """
        context = SSL.Context(SSL.TLS_METHOD)
        self.assertTrue(native.set_groups(context, "X25519:prime256v1"))
        self.assertFalse(native.set_groups(context, "bogus"))
        self.assertEqual(native._lib.ERR_peek_error(), 0)

    def test_chosen_group(self) -> None:
        """
        It is known after the handshake, where OpenSSL tells it and could be told another one.
        """
        disk = Disk()
        server = ServerPolicy((disk.add("s", pki.leaf(pki.authority("CA"), "s.example.com")),), curves="secp384r1")
        one, other = disk.client(ClientPolicy()).connection(), disk.server(server).connection()
        self.assertEqual(native.chosen_group(one), "")
        shake(one, other)
        self.assertEqual(native.chosen_group(one), "secp384r1")
        for gone in ("_group_name", "_set_groups"):
            patch = self.patch(native, gone, None)
            self.assertEqual(native.chosen_group(one), "", gone)
            patch.restore()

    def test_offer_groups(self) -> None:
        """
        A connection offers what it is told to; words that OpenSSL does not know change nothing and leave no error.
        """
        connection = Disk().client(ClientPolicy()).connection()
        self.assertTrue(native.offer_groups(connection, native.group_list("secp384r1:*X448")))
        for words in ("*", "X25519:", "x:*y"):
            self.assertFalse(native.offer_groups(connection, native.group_list(words)), words)
            self.assertEqual(native._lib.ERR_peek_error(), 0, words)
        self.assertRaises(SSL.WantReadError, connection.do_handshake)
        self.assertEqual(offered(connection.bio_read(1 << 16)), ((0x0018, 0x001E), (0x001E,)))

    def test_has_dh_parameters(self) -> None:
        """
        Whether there are DH parameters can be told apart from whether they are taken.
        """
        self.assertEqual((native.has_dh_parameters(DH_PARAMETERS), native.has_dh_parameters(b"x")), (True, False))

    def test_dh_parameters(self) -> None:
        """
        DH parameters are taken from PEM, and what is none is not and leaves no error behind.
        """
        context = SSL.Context(SSL.TLS_METHOD)
        self.assertTrue(native.set_dh_parameters(context, DH_PARAMETERS))
        self.assertFalse(native.set_dh_parameters(context, b"nothing"))
        self.assertEqual(native._lib.ERR_peek_error(), 0)
