"""
Tests for L{sniproxy.http.versions}.
"""

from __future__ import annotations

from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.net.poller import IN, RDHUP
from sniproxy.wire.http1 import PREFACE
from tests.http.test_http1 import GET
from tests.support.http2 import Client
from tests.support.pki import self_signed
from tests.support.sessions import FakeLeg, FarEnd, client_of, client_settings
from tests.support.webs import Web, answers

IDENTITY = self_signed("localhost")


class PlainTests(SynchronousTestCase):
    """
    Clients without TLS, whose first bytes tell.
    """

    def web(self, server: str = "http2 on;") -> Web:
        """
        A server that speaks both.
        """
        self.last = Web(f"{server} location /a {{ content hello; }}")
        return self.last

    def status(self, leg: FakeLeg) -> int:
        """
        Of the one answer of HTTP/1.
        """
        (answer,) = answers(leg.taken())
        return answer.status

    def test_both(self) -> None:
        """
        One address answers either version.
        """
        web = self.web()
        client = Client(web.client())
        self.assertEqual(client.answers, {0: client.answers[0]})
        number = client.ask()
        self.assertEqual(client.turn().answers[number].status, 200)
        self.assertEqual(self.status(web.client(GET)), 200)
        self.assertEqual([request.text for request in web.over], ["HTTP/2.0", "HTTP/1.1"])

    def test_slowly(self) -> None:
        """
        The first bytes may come one by one; as long as they could be either, nothing is said.
        """
        leg = self.web().client()
        for at in range(len(PREFACE) - 1):
            leg.arrive(PREFACE[at : at + 1])
            self.assertEqual(leg.sent, b"")
        leg.arrive(PREFACE[-1:])
        self.assertEqual(leg.taken()[3], 4)
        leg = self.web().client(b"PR")
        leg.arrive(b"OPFIND /a HTTP/1.1\r\nHost: x\r\n\r\n")
        self.assertEqual(self.status(leg), 200)

    def test_off(self) -> None:
        """
        Where HTTP/2 is off, its preface is a bad request.
        """
        leg = self.web("").client(PREFACE)
        self.assertTrue(leg.taken().startswith(b"HTTP/1.1 "))

    def test_gone(self) -> None:
        """
        A client that goes before it has said which it is, is HTTP/1's.
        """
        for begun in (b"", b"PRI"):
            leg = self.web().client(begun)
            leg.end()
            self.assertTrue(leg.closed)
        leg = self.web().client()
        leg.lose()
        self.assertTrue(leg.closed)
        self.assertIn("Connection reset by peer", self.last.lines[-1])

    def test_late(self) -> None:
        """
        A client that does not say in time, is left.
        """
        leg = self.web("http2 on; client_header_timeout 2s;").client(b"PRI")
        self.last.world.pass_time(2.1)
        self.assertEqual((leg.closed, leg.sent), (True, b""))
        self.assertIn("client timed out (110: Connection timed out) while waiting for request", self.last.lines[-1])

    def test_stopped(self) -> None:
        """
        A configuration that takes no more requests lets those go who have not begun.
        """
        leg = self.web().client(b"PRI")
        self.last.world.runtime.stop()
        self.assertEqual((leg.closed, self.last.world.runtime.idle), (True, set()))

    def test_watched_already(self) -> None:
        """
        What came before with a header of the PROXY protocol is looked at at once.
        """
        web = Web("listen 192.0.2.1:80 proxy_protocol; http2 on; location /a { content hello; }")
        leg = web.client(b"PROXY TCP4 192.0.2.3 192.0.2.4 1 2\r\n" + GET)
        leg.edge(IN)
        self.assertEqual(self.status(leg), 200)
        leg = web.client(b"PROXY TCP4 192.0.2.3 192.0.2.4 1 2\r\n" + PREFACE)
        self.assertEqual(leg.taken()[3], 4)
        leg.edge(IN | RDHUP)


class TlsTests(SynchronousTestCase):
    """
    Clients with TLS, who agree on a version beforehand.
    """

    def shaken(self, offered: list[bytes], server: str = "http2 on;") -> FarEnd:
        """
        A client that offers protocols.
        """
        files = {"/c.pem": IDENTITY.pem, "/k.pem": IDENTITY.key_pem}
        where = "listen 192.0.2.1:443 ssl; ssl_certificate /c.pem; ssl_certificate_key /k.pem;"
        self.web = Web(f"{where} {server} location /a {{ content hello; }}", files=files)
        connection = client_of(client_settings(), "localhost")
        if offered:
            connection.set_alpn_protos(offered)
        return FarEnd(self.web.client(), connection).shake()

    def test_agreed(self) -> None:
        """
        HTTP/2 comes first where the server speaks it, and the client too.
        """
        for offered, server, agreed in (
            ([b"http/1.1", b"h2"], "http2 on;", b"h2"),
            ([b"http/1.1"], "http2 on;", b"http/1.1"),
            ([], "http2 on;", b""),
            ([b"h2", b"http/1.1"], "", b"http/1.1"),
        ):
            far = self.shaken(offered, server)
            self.assertEqual(far.connection.get_alpn_proto_negotiated(), agreed)
            if agreed == b"h2":
                self.assertEqual(far.heard[3], 4)
            else:
                far.say(GET)
                self.assertTrue(far.heard.startswith(b"HTTP/1.1 200 "))

    def test_nothing_in_common(self) -> None:
        """
        Who offers other protocols alone is refused.
        """
        far = self.shaken([b"spdy/1"])
        self.assertIsInstance(far.error, SSL.Error)

    def test_plain_on_tls(self) -> None:
        """
        Who does not speak TLS where it is spoken is told so in HTTP/1.
        """
        self.shaken([b"h2"])
        leg = self.web.client(GET)
        self.assertTrue(leg.taken().startswith(b"HTTP/1.1 400 "))
