"""
Which key share does an upstream get, and what if it wants another? C{openssl s_server} behind the proxy tells how many
ClientHellos it needs; nginx, whose OpenSSL sends the same share each time, is the other witness.
"""

from __future__ import annotations

import socket

from sniproxy.tls.shares import AGREED
from tests.support import clients, pki
from tests.support.ports import free_port, free_ports
from tests.support.programs import Program, need
from tests.support.proxies import NGINX, ProxyTestCase


class KeyShares(ProxyTestCase):
    """
    TLS to an upstream of TLS 1.3 that takes one group only, and not one that OpenSSL sends shares of.

    @cvar AGAIN: how many ClientHellos a connection takes once the upstream is known.
    """

    AGAIN = 1

    def setUp(self) -> None:
        """
        A listener of each kind before one upstream.
        """
        super().setUp()
        self.identity = pki.leaf(pki.authority("Root"), "up.example").write(self.folder, "up")
        self.upstream = free_port()
        self.stream, self.web = free_ports(2)
        self.edge = self.proxy(
            "stream { proxy_ssl_protocols TLSv1.3; proxy_connect_timeout 3s;\n"
            "server { listen 127.0.0.1:@stream@; proxy_pass 127.0.0.1:@upstream@; proxy_ssl on; } }\n"
            "http { server { listen 127.0.0.1:@web@; proxy_ssl_protocols TLSv1.3; proxy_connect_timeout 3s;\n"
            "location / { proxy_pass https://127.0.0.1:@upstream@; } } }",
            stream=self.stream,
            web=self.web,
            upstream=self.upstream,
        )

    def server(self, name: str, group: str) -> Program:
        """
        An upstream that takes one group.
        """
        server = self.start(
            name, need("openssl"), "s_server", "-accept", f"127.0.0.1:{self.upstream}", "-www", "-msg", "-tls1_3",
            "-groups", group, "-cert", self.identity.certificate, "-key", self.identity.key,
        )  # fmt: skip
        server.ready(lambda: "ACCEPT" in server.output(), name)
        return server

    def hellos(self, server: Program, port: int) -> int:
        """
        @return: how many ClientHellos one connection through the proxy has taken.
        """
        before = server.output().count(", ClientHello")
        with clients.plain(port) as connection:
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            page = clients.read_all(connection)
        self.assertIn(b"TLSv1.3", page)
        return server.output().count(", ClientHello") - before

    def test_groups(self) -> None:
        """
        After some connections the next has the right share. When the upstream wants another group it gets that, too,
        and so do those behind it.
        """
        for port in (self.stream, self.web):
            server = self.server(f"first {port}", "P-384")
            self.assertEqual([self.hellos(server, port) for _ in range(AGREED)], [2] * AGREED)
            self.assertEqual([self.hellos(server, port) for _ in range(3)], [self.AGAIN] * 3)
            server.stop()
            server = self.server(f"second {port}", "P-521")
            self.assertEqual([self.hellos(server, port) for _ in range(2)], [2, 2])
            server.stop()
            server = self.server(f"third {port}", "X25519")
            self.assertEqual([self.hellos(server, port) for _ in range(2)], [1, 1])
            server.stop()

    def test_silence(self) -> None:
        """
        If an upstream does not answer in time it may be for the share: the next gets OpenSSL's.
        """
        for port in (self.stream, self.web):
            server = self.server(f"first {port}", "P-384")
            for _ in range(AGREED):
                self.hellos(server, port)
            self.assertEqual(self.hellos(server, port), self.AGAIN)
            server.stop()
            with socket.create_server(("127.0.0.1", self.upstream)), clients.plain(port) as connection:
                connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
                self.assertNotIn(b"TLSv1.3", clients.read_all(connection))
            server = self.server(f"second {port}", "P-384")
            self.assertEqual([self.hellos(server, port) for _ in range(2)], [2, 2])
            server.stop()


class KeySharesNginx(KeyShares):
    """
    The same by nginx, which asks for a share in vain each time.
    """

    kind = NGINX
    AGAIN = 2
