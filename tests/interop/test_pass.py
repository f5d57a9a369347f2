"""
C{pass} on real sockets: one port for TLS that ends here, for TLS that does not, and for what is no TLS. nginx of Debian
does not have the directive.
"""

from __future__ import annotations

from tests.support import backends, clients, pki
from tests.support.ports import free_ports
from tests.support.programs import eventually, read_text
from tests.support.proxies import ProxyTestCase


class PassTests(ProxyTestCase):
    """
    One front, three addresses behind it.
    """

    def setUp(self) -> None:
        """
        Start the proxy.
        """
        super().setUp()
        root = pki.authority("Servers")
        here = pki.leaf(root, "here.example.com").write(self.folder, "here")
        there = pki.leaf(root, "there.example.com").write(self.folder, "there")
        self.front, self.ends, self.decrypted = free_ports(3)
        self.edge = self.proxy(
            """stream {
                log_format passed '$connection|$server_port|$ssl_server_name';
                access_log @folder@/passed.log passed;
                map $ssl_preread_server_name $behind {
                    here.example.com  127.0.0.1:@ends@;
                    there.example.com unix:@folder@/s;
                    default           127.0.0.1:@decrypted@;
                }
                server { listen 127.0.0.1:@front@; ssl_preread on; pass $behind; }
                server { listen unix:@folder@/s; proxy_pass 127.0.0.1:@tls@; }
                server {
                    listen 127.0.0.1:@ends@ ssl;
                    ssl_certificate @certificate@;
                    ssl_certificate_key @key@;
                    pass 127.0.0.1:@decrypted@;
                }
                server { listen 127.0.0.1:@decrypted@; proxy_pass 127.0.0.1:@echo@; }
            }
            """,
            folder=self.folder,
            front=self.front,
            ends=self.ends,
            decrypted=self.decrypted,
            echo=backends.backend(self).port,
            tls=backends.backend(self, context=clients.server_context(there)).port,
            certificate=here.certificate,
            key=here.key,
        )

    def test_ways(self) -> None:
        """
        Each client gets where it belongs, in both directions and to the end, and nothing is left open.
        """
        text = b"x" * 300_000
        before = self.edge.connections()
        for _ in range(2):
            for name in ("here.example.com", "there.example.com"):
                with clients.tls(self.front, name) as connection:
                    self.assertEqual(clients.common_name(connection), name)
                    connection.sendall(text)
                    self.assertEqual(clients.read_exactly(connection, len(text)), text)
            with clients.plain(self.front) as connection:
                connection.sendall(b"SSH-2.0-test\r\n")
                self.assertEqual(clients.read_exactly(connection, 14), b"SSH-2.0-test\r\n")
        path = self.path("passed.log")
        eventually(lambda: read_text(path).count("\n") == 6, "six lines in the log")
        lines = [line.split("|")[1:] for line in read_text(path).splitlines()]
        self.assertEqual(
            sorted(lines),
            sorted(2 * [[str(self.decrypted), "here.example.com"], ["", "-"], [str(self.decrypted), "-"]]),
        )
        eventually(lambda: self.edge.connections() == before, "as many sockets as before")  # they close after the line
        with clients.plain(self.front) as connection:
            connection.sendall(b"ping")
            self.assertEqual(clients.read_exactly(connection, 4), b"ping")
            self.assertEqual(self.edge.connections(), before + 2)
        eventually(lambda: self.edge.connections() == before, "as many sockets as before")
