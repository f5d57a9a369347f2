"""
Do nginx and openssl get on with us at the other end of the wire?

nginx is machine A against our B, and machine B against our A; nginx's web server and C{openssl s_server} stand
behind the proxy under test, and their own logs say what they saw: which certificate, which name, and whether the
session was resumed.
"""

from __future__ import annotations

import re
import subprocess

from tests.interop import test_seed_stream as tutorial
from tests.support import clients, pki
from tests.support.ports import free_port, free_ports
from tests.support.programs import eventually, need, read_text, run
from tests.support.proxies import NGINX, SNIPROXY, ProxyTestCase


class NginxAsA(tutorial.BothWays):
    """
    nginx verifies our B.
    """

    kind_of_a = NGINX
    kind_of_b = SNIPROXY


class NginxAsTerminatingA(tutorial.Terminating):
    """
    nginx verifies our B at its outer server.
    """

    kind_of_a = NGINX
    kind_of_b = SNIPROXY


class NginxAsB(tutorial.BothWays):
    """
    We verify nginx's B.
    """

    kind_of_a = SNIPROXY
    kind_of_b = NGINX


class NginxAsBOfTerminatingA(tutorial.Terminating):
    """
    We verify nginx's B at our outer server.
    """

    kind_of_a = SNIPROXY
    kind_of_b = NGINX


class NginxAsFirstB(tutorial.OneWay):
    """
    nginx verifies our A.
    """

    kind_of_a = SNIPROXY
    kind_of_b = NGINX


class WebBehindTestCase(ProxyTestCase):
    """
    nginx's web server behind the proxy.
    """

    def setUp(self) -> None:
        """
        Make the certificates.
        """
        super().setUp()
        self.authority, self.others = pki.authority("Web"), pki.authority("Proxies")
        self.trust = pki.write(self.folder, "authority.pem", self.authority.pem)
        self.files = pki.leaf(self.authority, "web.example.com").write(self.folder, "web")
        self.shown = pki.leaf(self.others, "proxy.example.com").write(self.folder, "proxy")

    def web(self, *ports: int, version: str = "TLSv1.2 TLSv1.3") -> None:
        """
        Start the web server on plain port C{ports[0]} and on the others with TLS and a client's certificate demanded.
        """
        temporary = "".join(
            f"{kind}_temp_path {self.folder}/{kind}; " for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        servers = "".join(
            f"""
            server {{
                listen 127.0.0.1:{port} ssl;
                ssl_certificate {self.files.certificate};
                ssl_certificate_key {self.files.key};
                ssl_protocols {version};
                ssl_session_cache shared:s{port}:1m;
                ssl_verify_client on;
                ssl_client_certificate {pki.write(self.folder, "proxies.pem", self.others.pem)};
                location / {{ return 200 "sealed {port}\\n"; }}
            }}"""
            for port in ports[1:]
        )
        self.proxy(
            """http {
                @temporary@
                log_format hit '$server_port $ssl_session_reused $ssl_protocol $ssl_server_name $ssl_client_s_dn';
                access_log @folder@/hits.log hit;
                server { listen 127.0.0.1:@port@; location / { return 200 "open\\n"; } }
                @servers@
            }
            """,
            "web",
            kind=NGINX,
            temporary=temporary,
            folder=self.folder,
            port=ports[0],
            servers=servers,
        )

    def hits(self, count: int) -> list[str]:
        """
        Wait for C{count} lines of the web server's log.
        """
        path = self.path("hits.log")
        eventually(lambda: read_text(path).count("\n") >= count, f"{count} hits")
        return read_text(path).split("\n")[:-1]

    def ask(self, port: int) -> str:
        """
        @return: the page, asked for without TLS.
        """
        answer = run(need("curl"), "-q", "-s", "--noproxy", "*", "--max-time", "20", f"http://127.0.0.1:{port}/")
        return answer.stdout


class Web(WebBehindTestCase):
    """
    Pages through the proxy, and the sessions it keeps.
    """

    wrapping = """stream {
        upstream group { @servers@ }
        proxy_ssl on;
        proxy_ssl_certificate @certificate@;
        proxy_ssl_certificate_key @key@;
        proxy_ssl_verify on;
        proxy_ssl_trusted_certificate @trust@;
        proxy_ssl_name web.example.com;
        proxy_ssl_server_name on;
        proxy_ssl_protocols @version@;
        server { listen 127.0.0.1:@port@; proxy_pass group; }
        server { listen 127.0.0.1:@unkept@; proxy_ssl_session_reuse off; proxy_pass group; }
    }
    """

    def wrap(self, *peers: int, version: str) -> tuple[int, int]:
        """
        Start the proxy before the web server.

        @return: the port that keeps sessions, and the one that does not.
        """
        port, unkept = free_ports(2)
        self.proxy(
            self.wrapping,
            servers=" ".join(f"server 127.0.0.1:{peer};" for peer in peers),
            certificate=self.shown.certificate,
            key=self.shown.key,
            trust=self.trust,
            version=version,
            port=port,
            unkept=unkept,
        )
        return port, unkept

    def test_terminating(self) -> None:
        """
        curl gets nginx's page through TLS that the proxy ends, and believes the certificate.
        """
        behind, port = free_ports(2)
        self.web(behind)
        self.proxy(
            """stream {
                server {
                    listen 127.0.0.1:@port@ ssl;
                    ssl_certificate @certificate@;
                    ssl_certificate_key @key@;
                    proxy_pass 127.0.0.1:@behind@;
                }
            }
            """,
            port=port,
            behind=behind,
            certificate=self.files.certificate,
            key=self.files.key,
        )
        answer = run(
            need("curl"),
            *("-q", "-s", "--noproxy", "*", "--max-time", "20", "--cacert", self.trust),
            *("--resolve", f"web.example.com:{port}:127.0.0.1", f"https://web.example.com:{port}/"),
        )
        self.assertEqual((answer.stdout, answer.returncode), ("open\n", 0))

    def check_reuse(self, version: str) -> None:
        """
        The second handshake with nginx resumes; without reuse none does.
        """
        behind, sealed = free_ports(2)
        self.web(behind, sealed, version=version)
        port, unkept = self.wrap(sealed, version=version)
        for _ in range(3):
            self.assertEqual(self.ask(port), f"sealed {sealed}\n")
        for _ in range(2):
            self.assertEqual(self.ask(unkept), f"sealed {sealed}\n")
        wanted = [f"{sealed} {reused} {version} web.example.com CN=proxy.example.com" for reused in ".rr.."]
        self.assertEqual(self.hits(5), wanted)

    def test_reuse_tls12(self) -> None:
        """
        On TLS 1.2 nginx sees our certificate and name, and the second and third sessions resumed.
        """
        self.check_reuse("TLSv1.2")

    def test_reuse_tls13(self) -> None:
        """
        So it does on TLS 1.3.
        """
        self.check_reuse("TLSv1.3")

    def test_reuse_of_three(self) -> None:
        """
        Of three peers the first three handshakes are full and the next six resumed, because sessions are kept for each.
        """
        behind, *sealed = free_ports(4)
        self.web(behind, *sealed, version="TLSv1.3")
        port, _ = self.wrap(*sealed, version="TLSv1.3")
        pages = [self.ask(port) for _ in range(9)]
        self.assertEqual(pages, [f"sealed {peer}\n" for peer in sealed] * 3)
        seen = [line.split()[:2] for line in self.hits(9)]
        self.assertEqual(seen, [[str(peer), reused] for reused in ".rr" for peer in sealed])


class WebNginx(Web):
    """
    The same on nginx.
    """

    kind = NGINX


class Openssl(WebBehindTestCase):
    """
    C{openssl s_server} behind the proxy.
    """

    def s_server(self, *options: str) -> int:
        """
        Start it.

        @return: its port.
        """
        port = free_port()
        server = self.start(
            f"s_server-{port}",
            need("openssl"),
            *("s_server", "-accept", f"127.0.0.1:{port}", "-cert", self.files.certificate, "-key", self.files.key),
            *("-www", *options),
            stdin=subprocess.PIPE,
        )
        server.ready(lambda: "ACCEPT" in server.output(), "openssl accepts")
        return port

    def status(self, port: int) -> str:
        """
        @return: the page on which openssl describes the connection it has.
        """
        with clients.plain(port) as connection:
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            return clients.read_all(connection).decode("latin-1")

    def wrap(self, peer: int, *settings: str, name: str = "edge") -> int:
        """
        Start the proxy before it.
        """
        port = free_port()
        self.edge = self.proxy(
            """stream {
                proxy_ssl on;
                proxy_ssl_verify on;
                proxy_ssl_trusted_certificate @trust@;
                proxy_ssl_name web.example.com;
                @settings@
                server { listen 127.0.0.1:@port@; proxy_pass 127.0.0.1:@peer@; }
            }
            """,
            name,
            trust=self.trust,
            settings=" ".join(settings),
            port=port,
            peer=peer,
        )
        return port

    def test_demanding(self) -> None:
        """
        openssl that demands a certificate of our authority (-Verify) accepts ours, and resumes the second session.
        """
        demanded = pki.write(self.folder, "proxies.pem", self.others.pem)
        for version in ("1_2", "1_3"):
            peer = self.s_server("-Verify", "3", "-verify_return_error", "-CAfile", demanded, f"-tls{version}")
            name = f"TLSv{version.replace('_', '.')}"
            port = self.wrap(
                peer,
                f"proxy_ssl_certificate {self.shown.certificate};",
                f"proxy_ssl_certificate_key {self.shown.key};",
                f"proxy_ssl_protocols {name};",
                name=name,
            )
            first, second = self.status(port), self.status(port)
            self.assertRegex(first, rf"\nNew, {re.escape(name)}, Cipher is ")
            self.assertRegex(first, r"Subject: CN ?= ?proxy\.example\.com")
            self.assertRegex(second, rf"\nReused, {re.escape(name)}, Cipher is ")

    def test_demanding_another(self) -> None:
        """
        Where openssl demands another authority's, nothing comes back.
        """
        peer = self.s_server("-Verify", "3", "-verify_return_error", "-CAfile", self.trust)
        port = self.wrap(
            peer, f"proxy_ssl_certificate {self.shown.certificate};", f"proxy_ssl_certificate_key {self.shown.key};"
        )
        self.assertEqual(self.status(port), "")

    def test_ciphers(self) -> None:
        """
        proxy_ssl_ciphers and proxy_ssl_protocols decide what is offered.
        """
        peer = self.s_server()
        port = self.wrap(peer, "proxy_ssl_protocols TLSv1.2;", "proxy_ssl_ciphers ECDHE-ECDSA-CHACHA20-POLY1305;")
        self.assertRegex(self.status(port), r"\nNew, TLSv1.2, Cipher is ECDHE-ECDSA-CHACHA20-POLY1305")


class OpensslNginx(Openssl):
    """
    The same on nginx.
    """

    kind = NGINX
