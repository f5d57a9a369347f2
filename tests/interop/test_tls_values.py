"""
What do the variables say about what a TLS client offers, and about one whose handshake fails?

Strategy: as L{tests.interop.test_variables}: one log line for each client, and nginx proves what it must be.
"""

from __future__ import annotations

import contextlib
import re
import ssl
from typing import Final

from OpenSSL import SSL

from tests.support import backends, clients, pki
from tests.support.ports import free_port
from tests.support.programs import eventually, read_text
from tests.support.proxies import NGINX, ProxyTestCase

TLS12: Final = SSL.TLS1_2_VERSION
TLS13: Final = SSL.TLS1_3_VERSION

FORMAT: Final = (
    "$status|$ssl_protocol|$ssl_cipher|$ssl_ciphers|$ssl_curves|$ssl_session_reused|$ssl_server_name"
    "|$ssl_alpn_protocol|$ssl_client_verify"
)


class Offered(ProxyTestCase):
    """
    One TLS port, whose clients say little.
    """

    FORMAT = FORMAT

    def setUp(self) -> None:
        """
        Start the proxy.
        """
        super().setUp()
        server = pki.leaf(pki.authority("Servers"), "a.example.com", kind="rsa").write(self.folder, "server")
        self.port = free_port()
        self.edge = self.proxy(
            """stream {
                log_format offered '@format@';
                access_log @folder@/offered.log offered;
                server {
                    listen 127.0.0.1:@port@ ssl;
                    ssl_certificate @certificate@;
                    ssl_certificate_key @key@;
                    ssl_alpn h2;
                    ssl_handshake_timeout 1s;
                    ssl_protocols TLSv1.2 TLSv1.3;
                    proxy_pass 127.0.0.1:@echo@;
                }
            }
            """,
            format=self.FORMAT,
            folder=self.folder,
            port=self.port,
            echo=backends.backend(self).port,
            certificate=server.certificate,
            key=server.key,
        )

    def line(self, count: int = 1) -> str:
        """
        @return: that line of the log.
        """
        path = self.path("offered.log")
        eventually(lambda: read_text(path).count("\n") >= count, f"{count} lines of the access log")
        return read_text(path).split("\n")[count - 1]

    def come(
        self, context: SSL.Context, name: str | None = None, alpn: bytes = b"", session: SSL.Session | None = None
    ) -> SSL.Session | None:
        """
        Shake hands, as far as the server lets us.
        """
        with clients.plain(self.port) as connection:
            connection.settimeout(None)
            far = SSL.Connection(context, connection)
            far.set_connect_state()
            if name is not None:
                far.set_tlsext_host_name(name.encode())
            if alpn:
                far.set_alpn_protos([alpn])
            if session is not None:
                far.set_session(session)
            with contextlib.suppress(SSL.Error):
                far.do_handshake()
                far.send(b"x")
                far.recv(1)
                kept = far.get_session()
                far.shutdown()
                return kept
        return None

    def context(self, version: int, groups: str, ciphers: str = "") -> SSL.Context:
        """
        A client that offers these, in this order.
        """
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_min_proto_version(version)
        context.set_max_proto_version(version)
        if ciphers:
            context.set_cipher_list(ciphers.encode())
        lib = SSL._lib  # type: ignore[attr-defined]
        self.assertEqual(lib.SSL_CTX_set1_curves_list(context._context, groups.encode()), 1)
        return context


class OfferedTests(Offered):
    """
    Clients whose handshake is done.
    """

    def test_lists(self) -> None:
        """
        Ciphers and groups are listed in the client's order, by OpenSSL's names or in hexadecimal.
        """
        self.come(
            self.context(TLS12, "P-521:X25519:brainpoolP256r1:P-256", "ECDHE-RSA-AES128-GCM-SHA256:AES128-SHA"), "A.b"
        )
        self.assertRegex(
            self.line(),
            r"^200\|TLSv1\.2\|ECDHE-RSA-AES128-GCM-SHA256"
            r"\|ECDHE-RSA-AES128-GCM-SHA256:AES128-SHA(:TLS_EMPTY_RENEGOTIATION_INFO_SCSV)?"
            r"\|secp521r1:X25519:brainpoolP256r1:prime256v1\|\.\|A\.b\|-\|NONE$",
        )
        self.come(self.context(TLS13, "X448:X25519MLKEM768:ffdhe2048:P-256"), None, b"h2")
        self.assertEqual(
            self.line(2),
            "200|TLSv1.3|TLS_AES_256_GCM_SHA384"
            "|TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256"
            "|X448:0x11ec:ffdhe2048:prime256v1|.|-|h2|NONE",
        )

    def test_resumed(self) -> None:
        """
        Who resumes a session of TLS 1.2 is not asked for groups.
        """
        for number, (version, groups) in enumerate(((TLS12, "-"), (TLS13, "X25519:prime256v1")), 0):
            context = self.context(version, "X25519:P-256", "AES128-SHA256:ECDHE-RSA-AES128-GCM-SHA256")
            session = self.come(context, "a.example.com")
            self.assertEqual(self.line(2 * number + 1).split("|")[4:6], ["X25519:prime256v1", "."])
            self.come(context, "a.example.com", session=session)
            self.assertEqual(self.line(2 * number + 2).split("|")[4:6], [groups, "r"])


class OfferedTestsNginx(OfferedTests):
    """
    The same on nginx.
    """

    kind = NGINX


class FailedTests(Offered):
    """
    Clients whose handshake fails. nginx of Debian dies where $ssl_curves is asked of one that has sent no hello.
    """

    FORMAT = FORMAT.replace("$ssl_curves|", "").replace("$ssl_ciphers|", "")

    def test_failed(self) -> None:
        """
        What is known is told, whether or not there was a hello.
        """
        unsaid = "500|TLSv1.3|(NONE)|.|-|-|NONE"
        with clients.plain(self.port) as connection:
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            clients.read_all(connection)
        self.assertEqual(self.line(1), unsaid)
        with clients.plain(self.port) as connection:
            connection.sendall(clients.hello()[:50])
        self.assertEqual(self.line(2), unsaid)
        clients.plain(self.port).close()
        self.assertEqual(self.line(3), unsaid)
        with clients.plain(self.port) as connection:
            clients.read_all(connection)
            self.assertEqual(self.line(4), unsaid)
        self.come(self.context(TLS13, "X25519"), None, b"other")
        self.assertEqual(self.line(5), unsaid)
        self.come(self.context(TLS12, "X25519"), None, b"other")
        self.assertEqual(self.line(6), unsaid.replace("3", "2"))

    def test_distrusted(self) -> None:
        """
        Of a client that does not like our certificate the rest is known.
        """
        trust = pki.write(self.folder, "other.pem", pki.authority("Others").pem)
        with self.assertRaises(ssl.SSLError):
            clients.tls(self.port, "a.example.com", clients.context("TLSv1.3", trust=trust))
        self.assertRegex(self.line(), re.escape("500|TLSv1.3|TLS_AES_256_GCM_SHA384|.|a.example.com|-|NONE"))


class FailedTestsNginx(FailedTests):
    """
    The same on nginx.
    """

    kind = NGINX
