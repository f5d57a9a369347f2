"""
Do the HTTP configurations of the tutorials work? As they are printed nginx refuses them, and so do we, in its words and
at its lines; repaired they run, with real nginx and openssl behind them.

C{tests/data/seeds/http-first} and C{http-second} hold the blocks of two tutorials as they are printed. Repairing is to
drop the lines of dots, and to put in the semicolon and the brace that are missing; beyond that addresses, ports and
paths are replaced here, and nothing else.
"""

from __future__ import annotations

import os
import re
import shutil
import ssl
from dataclasses import dataclass
from typing import Final

from tests.interop.test_seed_stream import DATA, exchange, printed
from tests.support import backends, clients, pki
from tests.support.differential import Differential
from tests.support.pki import Files, Identity
from tests.support.ports import free_port
from tests.support.programs import eventually, need, read_text
from tests.support.proxies import NGINX, Proxy, ProxyTestCase

FIRST: Final = "http-first"
SECOND: Final = "http-second"
APPLICATION: Final = b"the application\n"

REFUSES: Final = "400 The SSL certificate error"


def repaired(text: str) -> str:
    """
    A printed block without its faults.
    """
    text = re.sub(r"(?m)^\s*\.\.\.$\n", "", text)
    text = re.sub(r"(client\.key)$", r"\1;", text, flags=re.MULTILINE)
    first, brace, second = text.partition("        }\n\n    server {\n")
    return f"{first}        }}\n    }}\n\n    server {{\n{second}" if brace else text


def temporary(folder: str) -> str:
    """
    Where both put bodies that are too long for memory; nginx wants to be told of all.
    """
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    return " ".join(f"{kind}_temp_path {folder}/temporary-{kind};" for kind in kinds)


def own_temporary(kind: str, folder: str) -> str:
    """
    The same for one of both.
    """
    return temporary(folder) if kind == NGINX else f"client_body_temp_path {folder}/temporary;"


class Printed(Differential):
    """
    The blocks as they stand in the tutorials.
    """

    maxDiff = None

    def setUp(self) -> None:
        """
        Make the certificates that they name.
        """
        super().setUp()
        root = pki.authority("Tutorial CA")
        files = pki.leaf(root, "backend.example.com").write(self.path("ssl"), "both")
        for name in ("client.pem", "server.crt", "ca.crt", "trusted_ca_cert.crt"):
            shutil.copy(files.certificate, self.path("ssl", name))
        for name in ("client.key", "server.key"):
            shutil.copy(files.key, self.path("ssl", name))

    def placed(self, text: str) -> str:
        """
        With paths and addresses of this machine; nothing else is changed, so that lines stay lines.
        """
        text = re.sub(r"/etc/(?:nginx|ssl/certs)/", self.path("ssl", ""), text)
        text = re.sub(r"backend(\d)\.example\.com:443", r"127.0.0.1:1\1", text)
        text = text.replace("url_to_app.com", "127.0.0.1:9").replace("listen      443", "listen      @p@")
        text = text.replace("listen      80;", "listen      127.0.0.1:@p@;")
        if text.startswith("http {"):
            return f"!{text}"
        group = "upstream backend.example.com { server 127.0.0.1:9; }"
        if text.startswith("server {"):
            return f"!http {{ {group}\n{text}}}\n"
        return f"!http {{ {group} server {{ listen 127.0.0.1:@p@;\n{text}}} }}\n"

    def test_verdicts(self) -> None:
        """
        Each printed block is refused or taken as nginx does it, with the same words and the same line, and each is
        taken when it is repaired.
        """
        texts = {
            f"{folder}/{name}": printed(f"{folder}/{name}")
            for folder in (FIRST, SECOND)
            for name in sorted(os.listdir(os.path.join(DATA, folder)))
        }
        self.assertEqual(len(texts), 16)
        self.check_verdicts([self.placed(text) for text in texts.values()])
        mended = [self.placed(repaired(text)) for text in texts.values()]
        # A client's certificate cannot be demanded without a certificate of one's own.
        mended = [text for text in mended if "ssl_client_certificate" not in text or "ssl_certificate " in text]
        # We alone warn of the oldest protocols, which OpenSSL does not speak as it is set up by default.
        self.check_verdicts([re.sub(r"TLSv1 +TLSv1.1 ", "", text) for text in mended])

    def test_faults(self) -> None:
        """
        What is found is what a reader finds: dots, a missing semicolon, a server in a location.
        """
        said = {
            (FIRST, "certificate"): 'unexpected "}" in F:6',
            (FIRST, "trusted"): 'unknown directive "..." in F:4',
            (FIRST, "whole"): 'unknown directive "..." in F:3',
            (SECOND, "whole"): '"server" directive is not allowed here in F:41',
        }
        for (folder, name), words in said.items():
            text = self.placed(printed(f"{folder}/{name}.conf")).replace("@p@", str(free_port()))
            for kind in ("nginx", "sniproxy"):
                self.assertEqual(self.verdict(kind, f"{folder}-{name}", text), words)


@dataclass(frozen=True)
class Seen:
    """
    One request as an upstream of nginx has logged it.
    """

    number: str
    dn: str
    verified: str
    reused: str
    protocol: str
    cipher: str
    status: str


class Tutorial(ProxyTestCase):
    """
    The whole example of a tutorial, with certificates of here.

    @cvar tutorial: whose whole example is running.
    """

    tutorial = FIRST
    maxDiff = None

    def setUp(self) -> None:
        """
        Make the authorities, one for servers and one for the edge.
        """
        super().setUp()
        self.servers, self.edges = pki.authority("Servers CA"), pki.authority("Edges CA")
        self.edge_identity = pki.leaf(self.edges, "edge.example.com")
        self.certificates = self.path("edge", "")
        self.show(self.edge_identity)
        pki.write(self.certificates, "trusted_ca_cert.crt", self.servers.pem)
        self.demanded = pki.write(self.path("upstreams"), "ca.crt", self.edges.pem)
        self.application = backends.web(self, APPLICATION)
        self.ports = {number: free_port() for number in (1, 2)}
        self.port = free_port()

    def show(self, identity: Identity) -> None:
        """
        Have the edge show this certificate.
        """
        pki.write(self.certificates, "client.pem", identity.full_pem)
        pki.write(self.certificates, "client.key", identity.key_pem)

    def server(self, depth: int = 0, name: str = "backend.example.com", root: Identity | None = None) -> Files:
        """
        A certificate of the group, under so many intermediates.
        """
        identity = pki.leaf(pki.chain(root or self.servers, depth), name)
        return identity.write(self.path("upstreams"), f"{name}-{depth}-{free_port()}")

    def whole(self) -> str:
        """
        @return: the printed example, repaired, with addresses and paths of here.
        """
        changes = {f"backend{number}.example.com:443": f"127.0.0.1:{port}" for number, port in self.ports.items()}
        return exchange(
            repaired(printed(f"{self.tutorial}/whole.conf")),
            **changes,
            **{
                "listen      80;": f"listen      127.0.0.1:{self.port};",
                "/etc/nginx/": self.certificates,
                "location /upstream ": "location /yourapp ",
                "http {\n": f"http {{ {own_temporary(self.kind, self.folder)} access_log off;"
                " ssl_protocols TLSv1.2 TLSv1.3;\n",
            },
        )

    def edge(self, **changes: str) -> Proxy:
        """
        Start the front half of the example; its second half is the upstreams'.
        """
        front = self.whole()
        front = front[: front.index("    server {\n        listen      443")] + "}\n"
        return self.proxy(exchange(front, **changes), "edge")

    def nginx_upstream(self, number: int, files: Files, verify: str = "on", name: str = "") -> Proxy:
        """
        Start one server of the second half on nginx: it demands the edge's certificate, and logs whom it has seen.
        """
        block = repaired(printed(f"{self.tutorial}/server.conf"))
        text = exchange(
            block,
            **{
                "listen              443 ssl": f"listen 127.0.0.1:{self.ports[number]} ssl",
                "backend1": f"backend{number}",
                "/etc/ssl/certs/server.crt": files.certificate,
                "/etc/ssl/certs/server.key": files.key,
                "url_to_app.com": f"127.0.0.1:{self.application}",
            },
        )
        demand = f"ssl_client_certificate {self.demanded}; ssl_verify_client {verify}; keepalive_timeout 0;"
        log = (
            f'log_format seen "{number}|$ssl_client_s_dn|$ssl_client_verify|$ssl_session_reused'
            f'|$ssl_protocol|$ssl_cipher|$status"; access_log {self.path("seen.log")} seen;'
        )
        return self.proxy(
            f"http {{ {temporary(self.folder)} {log} ssl_session_cache shared:s:1m; {demand}\n{text}}}",
            name or f"upstream{number}",
            kind=NGINX,
        )

    def openssl_upstream(self, number: int, files: Files, *options: str) -> None:
        """
        Start openssl's server for one of the group: it demands the edge's certificate, and answers with what it knows
        of the connection.
        """
        program = self.start(
            f"s_server{number}",
            need("openssl"),
            *("s_server", "-accept", f"127.0.0.1:{self.ports[number]}", "-cert", files.certificate),
            *("-cert_chain", files.certificate, "-key", files.key, "-CAfile", self.demanded),
            *("-Verify", "2", "-verify_return_error", *options),
        )
        program.ready(lambda: "ACCEPT" in program.output(), "openssl's server listens")

    def get(self, path: str = "/yourapp") -> tuple[int, bytes]:
        """
        @return: status and body of one request to the edge.
        """
        with clients.plain(self.port) as client:
            client.sendall(f"GET {path} HTTP/1.0\r\nHost: www.example.com\r\n\r\n".encode())
            answer = clients.read_all(client)
        head, _, body = answer.partition(b"\r\n\r\n")
        return int(head.split(b" ")[1]), body

    def seen(self, count: int) -> list[Seen]:
        """
        @return: the requests that the upstreams have logged.
        """

        def look() -> list[Seen]:
            lines = read_text(self.path("seen.log")).splitlines()
            return [Seen(*line.split("|")) for line in lines] if len(lines) >= count else []

        return eventually(look, f"{count} requests in the log of the upstreams")


class Upstreams(Tutorial):
    """
    The edge of the tutorials before two servers of the group.
    """

    def test_nginx(self) -> None:
        """
        Both servers are reached in turn and answer; each sees the edge's certificate and has verified it, speaks TLS
        1.2, as the protocols allow, and does one handshake in full: later ones are resumed.
        """
        for number in self.ports:
            self.nginx_upstream(number, self.server())
        self.edge()
        for _ in range(6):
            self.assertEqual(self.get(), (200, APPLICATION))
        seen = self.seen(6)
        self.assertEqual([each.number for each in seen], ["1", "2"] * 3)
        self.assertEqual({(each.dn, each.verified) for each in seen}, {("CN=edge.example.com", "SUCCESS")})
        self.assertEqual({each.protocol for each in seen}, {"TLSv1.2"})
        self.assertEqual([each.reused for each in seen], [".", ".", "r", "r", "r", "r"])

    def test_unknown_path(self) -> None:
        """
        The back ends only have /yourapp: any other path is not found there.
        """
        for number in self.ports:
            self.nginx_upstream(number, self.server())
        self.edge(**{"location /yourapp ": "location /upstream "})
        self.assertEqual(self.get("/upstream")[0], 404)
        self.assertEqual([(each.number, each.status) for each in self.seen(1)], [("1", "404")])
        self.assertEqual(self.get("/yourapp")[0], 404)  # which the edge has not
        self.assertEqual(len(self.seen(1)), 1)

    def test_openssl(self) -> None:
        """
        openssl's own server is reached in the same way, with the certificate, and takes a session up again.
        """
        for number in self.ports:
            self.openssl_upstream(number, self.server(), "-www")
        self.edge()
        bodies: list[str] = []
        for _ in range(4):
            status, body = self.get()
            self.assertEqual(status, 200)
            bodies.append(body.decode("latin-1"))
        self.assertEqual(
            [re.findall(r"(New|Reused), TLSv1.2, Cipher is", body) for body in bodies],
            [["New"], ["New"], ["Reused"], ["Reused"]],
        )
        for text in bodies:
            self.assertIn("Subject: CN = edge.example.com", text.replace("CN=", "CN = "))

    def test_openssl_http(self) -> None:
        """
        A file that openssl serves with a head of its own arrives byte for byte.
        """
        body = os.urandom(100000)
        with open(self.path("yourapp"), "wb") as file:
            file.write(b"HTTP/1.0 200 OK\r\nContent-Type: application/x-thing\r\n\r\n" + body)
        for number in self.ports:
            self.openssl_upstream(number, self.server(), "-HTTP")
        self.edge()
        for _ in range(3):
            self.assertEqual(self.get(), (200, body))

    def test_ciphers(self) -> None:
        """
        The edge offers what its ciphers allow.
        """
        for number in self.ports:
            self.nginx_upstream(number, self.server())
        self.edge(
            **{
                "HIGH:!aNULL:!MD5": "ECDHE-ECDSA-AES256-GCM-SHA384",
            }
        )
        self.assertEqual(self.get(), (200, APPLICATION))
        self.assertEqual(self.seen(1)[0].cipher, "ECDHE-ECDSA-AES256-GCM-SHA384")

    def test_protocols(self) -> None:
        """
        An upstream of TLS 1.3 alone is refused where the protocols end at TLS 1.2.
        """
        for number in self.ports:
            self.openssl_upstream(number, self.server(), "-www", "-tls1_3")
        edge = self.edge()
        self.assertEqual(self.get()[0], 502)
        edge.logged(re.compile(r"\[error\] SSL_do_handshake\(\) failed .*while SSL handshaking to upstream"))

    def refused(self, words: str, **changes: str) -> None:
        """
        The edge does not believe its upstreams, tries both, tells why, and answers 502; neither hears a request.
        """
        edge = self.edge(**changes)
        self.assertEqual(self.get()[0], 502)
        told = [str(line) for line in edge.lines() if line.level == "error"]
        self.assertEqual(
            [re.sub(r"\((?:7|20|21):[^)]*\)", "(WHY)", line) for line in told],
            [
                f"[error] {words} while SSL handshaking to upstream, client: 127.0.0.1, server: www.example.com,"
                f' request: "GET /yourapp HTTP/1.0", upstream: "https://127.0.0.1:{port}/yourapp",'
                ' host: "www.example.com"'
                for port in self.ports.values()
            ],
        )
        self.assertEqual(read_text(self.path("seen.log")).replace("|400\n", ""), "")

    def test_wrong_authority(self) -> None:
        """
        A server whose certificate another authority of the same name has signed is refused.
        """
        stranger = pki.authority("Servers CA")
        for number in self.ports:
            self.nginx_upstream(number, self.server(root=stranger))
        self.refused("upstream SSL certificate verify error: (WHY)")

    def test_wrong_name(self) -> None:
        """
        A server with a certificate for another name is refused.
        """
        for number in self.ports:
            self.nginx_upstream(number, self.server(name="backend1.example.com"))
        self.refused('upstream SSL certificate does not match "backend.example.com"')

    def test_depth(self) -> None:
        """
        Two certificates between a server's and the root are as many as the depth allows.
        """
        for number in self.ports:
            self.nginx_upstream(number, self.server(depth=2))
        self.edge()
        self.assertEqual([self.get() for _ in self.ports], [(200, APPLICATION)] * 2)

    def test_too_deep(self) -> None:
        """
        Three are too many.
        """
        for number in self.ports:
            self.nginx_upstream(number, self.server(depth=3))
        self.refused("upstream SSL certificate verify error: (WHY)")

    def test_without_certificate(self) -> None:
        """
        An edge whose certificate the upstream does not trust is told so by the upstream, and hands the answer on.
        """
        self.show(pki.leaf(pki.authority("Edges CA"), "edge.example.com"))
        for number in self.ports:
            self.nginx_upstream(number, self.server())
        self.edge()
        for _ in range(4):
            status, body = self.get()
            self.assertEqual((status, REFUSES in body.decode()), (400, True))
        self.assertFalse([each for each in self.seen(4) if each.verified == "SUCCESS"])


class UpstreamsNginx(Upstreams):
    """
    The same on nginx.
    """

    kind = NGINX


class SecondUpstreams(Upstreams):
    """
    The second tutorial's.
    """

    tutorial = SECOND


class SecondUpstreamsNginx(SecondUpstreams):
    """
    The same on nginx.
    """

    kind = NGINX


class Servers(Tutorial):
    """
    The whole example in one process: the edge, and the servers of the group that it asks.

    @cvar verify: what the servers say of certificates of clients.
    """

    verify = "off"

    def setUp(self) -> None:
        """
        Start it.
        """
        super().setUp()
        self.secure = self.ports[2] = self.ports[1]
        files = self.server()
        changes = {
            "listen      443 ssl": f"listen 127.0.0.1:{self.secure} ssl",
            "/etc/ssl/certs/server.crt": files.certificate,
            "/etc/ssl/certs/server.key": files.key,
            "/etc/ssl/certs/ca.crt": self.demanded,
            "url_to_app.com": f"127.0.0.1:{self.application}",
        }
        text = self.whole()
        self.assertEqual(text.count(f"ssl_verify_client      {self.verify};"), 2)
        self.whole_edge = self.proxy(exchange(text, **changes), "edge")
        stranger = pki.leaf(pki.authority("Edges CA"), "stranger.example.com").write(self.folder, "stranger")
        known = self.edge_identity.write(self.folder, "known")
        self.shown: dict[str, Files | None] = {"none": None, "known": known, "stranger": stranger}

    def direct(
        self, settings: ssl.SSLContext, session: ssl.SSLSession | None
    ) -> tuple[str, ssl.SSLSession | None, bool]:
        """
        One request to a server of the group.

        @return: status and title, the session, and whether it was taken up.
        """
        with clients.tls(self.secure, "backend2.example.com", settings, session=session) as client:
            client.sendall(b"GET /yourapp HTTP/1.1\r\nHost: backend2.example.com\r\nConnection: close\r\n\r\n")
            answer = clients.read_all(client).decode()
            reused = bool(client.session_reused)
            found = re.search(r"<title>(.*)</title>", answer)
            return found[1] if found else answer[9:12], client.session, reused

    def test_through(self) -> None:
        """
        A request goes to the edge, over TLS to the server behind, and to the application.
        """
        self.assertEqual([self.get() for _ in range(4)], [(200, APPLICATION)] * 4)
        self.assertEqual(
            [str(line) for line in self.whole_edge.lines() if line.level in ("error", "crit", "alert")], []
        )

    def test_clients(self) -> None:
        """
        Whoever shows nothing or a good certificate is let in; who shows another gets nginx's page where certificates
        are looked at, and gets it again when he takes up his session.
        """
        bad = "200" if self.verify == "off" else REFUSES
        for version in clients.VERSIONS:
            for name, files in self.shown.items():
                settings = clients.context(version, identity=files)
                answer, session, _ = self.direct(settings, None)
                self.assertEqual(answer, bad if name == "stranger" else "200", (version, name))
                again, _, reused = self.direct(settings, session)
                self.assertEqual((again, reused), (answer, True), (version, name))

    def test_plain(self) -> None:
        """
        Who speaks plain HTTP where TLS is spoken is told so.
        """
        with clients.plain(self.secure) as client:
            client.sendall(b"GET /yourapp HTTP/1.1\r\nHost: backend2.example.com\r\n\r\n")
            answer = clients.read_all(client)
        self.assertIn(b"<title>400 The plain HTTP request was sent to HTTPS port</title>", answer)


class ServersNginx(Servers):
    """
    The same on nginx.
    """

    kind = NGINX


class SecondServers(Servers):
    """
    The second tutorial's servers look at certificates, and demand none.
    """

    tutorial = SECOND
    verify = "optional"


class SecondServersNginx(SecondServers):
    """
    The same on nginx.
    """

    kind = NGINX
