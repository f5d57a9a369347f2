"""
Who is let in, and who is believed, where http speaks TLS on either side? Whatever is not proved is refused, in every
location and version, at first sight and when a session is taken up again.

Strategy: the same is asked of nginx where it holds there; where nginx is known to be weaker, of us alone.
"""

from __future__ import annotations

import os
import re
import socket
import ssl
from typing import Final

from tests.support import backends, clients, pki
from tests.support.backends import Visit
from tests.support.ports import free_ports
from tests.support.proxies import NGINX, SNIPROXY, ProxyTestCase

BACK: Final = "back.example.com"
TEMPORARY: Final = " ".join(f"{kind}_temp_path @folder@/{kind};" for kind in ("client_body", "proxy"))

SERVERS: Final = """
http {
    client_body_temp_path @folder@/body;
    ssl_certificate @certificate@; ssl_certificate_key @key@; ssl_protocols TLSv1.2 TLSv1.3;
    server { listen 127.0.0.1:@port@ ssl; server_name open.example.com; location / { return 200 open; } }
    server {
        listen 127.0.0.1:@port@ ssl; server_name strict.example.com; root @folder@;
        ssl_client_certificate @trust@; ssl_verify_client on;
        if ($arg_early) { return 200 secret; }
        location / { return 200 secret; }
        location = /file { alias @certificate@; }
        location = /proxied { proxy_pass http://127.0.0.1:@back@; }
        location ^~ /deep/ { location ~ secret$ { return 200 secret; } }
        location @named { return 200 secret; }
        error_page 404 @named;
    }
    server {
        listen 127.0.0.1:@port@ ssl; server_name paged.example.com;
        ssl_client_certificate @trust@; ssl_verify_client on;
        error_page 495 496 =403 /refused;
        location / { return 200 secret; }
        location = /refused { return 403 "refused $ssl_client_verify"; }
    }
    server {
        listen 127.0.0.1:@port@ ssl; server_name optional.example.com;
        ssl_client_certificate @trust@; ssl_verify_client optional;
        location / { return 200 "let in $ssl_client_verify"; }
    }
}
"""

PATHS: Final = ("/", "/file", "/proxied", "/deep/secret", "/none?early=1", "//x/../file")
NONE: Final = "400 No required SSL certificate was sent"
WRONG: Final = "400 The SSL certificate error"


class Clients(ProxyTestCase):
    """
    Servers that demand certificates, beside one that does not.
    """

    def setUp(self) -> None:
        """
        Start them on one port.
        """
        super().setUp()
        root, other = pki.authority("Clients CA"), pki.authority("Clients CA")
        server = pki.leaf(pki.authority("Servers CA"), "strict.example.com").write(self.folder, "server")
        self.identities = {
            "none": None,
            "good": pki.leaf(root, "client").write(self.folder, "good"),
            "stranger": pki.leaf(other, "client").write(self.folder, "stranger"),
            "expired": pki.leaf(root, "client", validity=pki.EXPIRED).write(self.folder, "expired"),
            "self": pki.self_signed("client").write(self.folder, "self"),
        }
        (self.port,) = free_ports(1)
        self.behind = backends.backend(self, backends.say(b"HTTP/1.0 200 OK\r\n\r\nsecret"))
        text = SERVERS
        if self.kind == NGINX:
            kinds = ("proxy", "fastcgi", "uwsgi", "scgi")
            more = " ".join(f"{kind}_temp_path {self.path(kind)};" for kind in kinds)
            text = text.replace("http {", f"http {{ {more}", 1)
        self.edge = self.proxy(
            text,
            folder=self.folder,
            certificate=server.certificate,
            key=server.key,
            trust=pki.write(self.folder, "ca.pem", root.pem),
            port=self.port,
            back=self.behind.port,
        )

    def ask(
        self,
        settings: ssl.SSLContext,
        path: str = "/",
        *,
        name: str | None = "strict.example.com",
        host: str = "strict.example.com",
        version: str = "1.1",
        session: ssl.SSLSession | None = None,
    ) -> tuple[str, ssl.SSLSession | None, bool]:
        """
        @return: the title or the body of the answer, the session, and whether it was taken up again.
        """
        with clients.tls(self.port, name, settings, session=session) as client:
            client.sendall(f"GET {path} HTTP/{version}\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            answer = clients.read_all(client).decode()
            head, _, body = answer.partition("\r\n\r\n")
            found = re.search(r"<title>(.*)</title>", body)
            said = found[1] if found else f"{head[9:12]} {body}"
            return said, client.session, bool(client.session_reused)

    def test_everywhere(self) -> None:
        """
        Without a certificate, or with one that is not trusted, there is a 400 whatever is asked for, in either version
        of HTTP and of TLS, and again on a session that is taken up.
        """
        for version in clients.VERSIONS:
            for who, files in self.identities.items():
                settings = clients.context(version, identity=files)
                session: ssl.SSLSession | None = None
                for path in PATHS:
                    for http in ("1.1", "1.0"):
                        said, session, _ = self.ask(settings, path, version=http, session=session)
                        where = (version, who, path, http)
                        if who == "good":
                            self.assertTrue(said.startswith("200 "), where)
                        else:
                            self.assertEqual(said, NONE if who == "none" else WRONG, where)
        self.assertEqual(self.behind.accepted, 2 * 2)

    def test_resumed(self) -> None:
        """
        A session that is taken up again tells the same of its client.
        """
        for version in clients.VERSIONS:
            for who, files in self.identities.items():
                for name in ("strict.example.com", "optional.example.com"):
                    settings = clients.context(version, identity=files)
                    first, session, _ = self.ask(settings, name=name, host=name)
                    again, _, reused = self.ask(settings, name=name, host=name, session=session)
                    self.assertEqual((again, reused), (first, True), (version, who, name))
                    if name.startswith("optional"):
                        told = {"none": "200 let in NONE", "good": "200 let in SUCCESS"}.get(who, WRONG)
                        self.assertEqual(first, told)

    def test_error_pages(self) -> None:
        """
        error_page may say it in other words, but not let anybody in.
        """
        name = "paged.example.com"
        for who, files in self.identities.items():
            said, *_ = self.ask(clients.context(identity=files), name=name, host=name)
            if who == "good":
                self.assertEqual(said, "200 secret")
            else:
                self.assertTrue(said.startswith("403 refused " + ("NONE" if who == "none" else "FAILED")), said)

    def test_misdirected(self) -> None:
        """
        A connection that was made to one server does not lead to another that demands a certificate, nor from there to
        elsewhere.
        """
        for version in clients.VERSIONS:
            for who in ("none", "good"):
                settings = clients.context(version, identity=self.identities[who])
                for name in ("open.example.com", "optional.example.com"):
                    said, *_ = self.ask(settings, name=name)
                    self.assertEqual(said, "421 Misdirected Request", (version, who, name))
                for nobody in ("other.example.com", None):
                    said, *_ = self.ask(settings, name=nobody)
                    # nginx, to which a name that no server has is none, finds no certificate
                    self.assertIn(said, (NONE, "421 Misdirected Request"), (version, who, nobody))

    def test_from_strict(self) -> None:
        """
        From the server that demands one to the open one: what is open is open.
        """
        settings = clients.context(identity=self.identities["good"])
        said, *_ = self.ask(settings, host="open.example.com")
        self.assertEqual(said, "200 open")

    def test_plain(self) -> None:
        """
        Plain HTTP gets nothing but the hint.
        """
        with clients.plain(self.port) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: strict.example.com\r\n\r\n")
            self.assertIn(b"400 The plain HTTP request was sent to HTTPS port", clients.read_all(client))


class ClientsNginx(Clients):
    """
    The same on nginx.
    """

    kind = NGINX


def once(connection: socket.socket, visit: Visit) -> None:
    """
    Answer one request, and end.
    """
    while b"\r\n\r\n" not in visit.received:
        block = connection.recv(65536)
        if not block:
            return
        visit.received += block
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nsecret")


def web(connection: socket.socket, visit: Visit) -> None:
    """
    Answer each request with the same.
    """
    data = b""
    while block := connection.recv(65536):
        visit.received += block
        data += block
        while b"\r\n\r\n" in data:
            _, _, data = data.partition(b"\r\n\r\n")
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecret")


UPSTREAM: Final = """
http {
    client_body_temp_path @folder@/body;
    upstream back { server 127.0.0.1:@back@ max_fails=0; keepalive 8; }
    server {
        listen 127.0.0.1:@port@;
        proxy_http_version 1.1; proxy_set_header Connection ""; proxy_ssl_protocols TLSv1.2 TLSv1.3;
        location /open/ { proxy_pass https://back; proxy_ssl_name back.example.com; }
        location /strict/ {
            proxy_pass https://back; proxy_ssl_name back.example.com; proxy_ssl_verify on;
            proxy_ssl_trusted_certificate @trust@;
        }
        location /other/ {
            proxy_pass https://back; proxy_ssl_name other.example.com; proxy_ssl_verify on;
            proxy_ssl_trusted_certificate @trust@;
        }
        location /variable/ {
            proxy_pass https://back; proxy_ssl_name $arg_name; proxy_ssl_verify on;
            proxy_ssl_trusted_certificate @trust@;
        }
        location /elsewhere/ {
            proxy_pass https://back; proxy_ssl_name back.example.com; proxy_ssl_verify on;
            proxy_ssl_trusted_certificate @stranger@;
        }
        location /shown/ {
            proxy_pass https://back; proxy_ssl_name back.example.com;
            proxy_ssl_certificate @certificate@; proxy_ssl_certificate_key @key@;
        }
    }
}
"""


class Servers(ProxyTestCase):
    """
    Upstreams with certificates of all kinds.
    """

    def begin(
        self, identity: pki.Identity, trust: pki.Identity, talk: backends.Talk = web, version: str | None = None
    ) -> None:
        """
        Start an upstream with a certificate, and the proxy.
        """
        files = identity.write(self.folder, "server")
        shown = pki.leaf(trust, "edge").write(self.folder, "shown")
        self.back = backends.backend(self, talk, clients.server_context(files, version=version))
        (self.port,) = free_ports(1)
        text = UPSTREAM
        if self.kind == NGINX:
            kinds = ("proxy", "fastcgi", "uwsgi", "scgi")
            more = " ".join(f"{kind}_temp_path {self.path(kind)};" for kind in kinds)
            text = text.replace("http {", f"http {{ {more}", 1)
        self.edge = self.proxy(
            text,
            folder=self.folder,
            port=self.port,
            back=self.back.port,
            trust=pki.write(self.folder, "ca.pem", trust.pem),
            stranger=pki.write(self.folder, "stranger.pem", pki.authority("Servers CA").pem),
            certificate=shown.certificate,
            key=shown.key,
        )

    def get(self, path: str) -> str:
        """
        @return: the status of one request.
        """
        with clients.plain(self.port) as client:
            client.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            return clients.read_all(client)[9:12].decode()

    def refused(self, identity: pki.Identity, trust: pki.Identity, words: str) -> None:
        """
        The proxy does not talk to it, and says why, as often as it is asked; where it is not asked to look, it does.
        """
        self.begin(identity, trust)
        self.assertEqual(self.get("/open/"), "200")
        for _ in range(3):
            self.assertEqual(self.get("/strict/"), "502")
        told = [line.text for line in self.edge.lines() if line.level == "error"]
        self.assertEqual(len(told), 3)
        for line in told:
            self.assertRegex(line, f"^{words} while SSL handshaking to upstream, client: 127.0.0.1, server: ")
        heard = b"".join(bytes(visit.received) for visit in self.back.visits)
        self.assertEqual((heard.count(b"/open/"), heard.count(b"/strict/")), (1, 0))


class ServersTests(Servers):
    """
    Single faults.
    """

    def test_good(self) -> None:
        """
        One without is believed.
        """
        root = pki.authority("Servers CA")
        self.begin(pki.leaf(root, BACK), root)
        self.assertEqual([self.get("/strict/") for _ in range(3)], ["200"] * 3)

    def test_name(self) -> None:
        """
        A certificate for somebody else.
        """
        root = pki.authority("Servers CA")
        self.refused(pki.leaf(root, "front.example.com"), root, f'upstream SSL certificate does not match "{BACK}"')

    def test_expired(self) -> None:
        """
        A certificate of yesterday.
        """
        root = pki.authority("Servers CA")
        identity = pki.leaf(root, BACK, validity=pki.EXPIRED)
        self.refused(identity, root, r"upstream SSL certificate verify error: \(10:certificate has expired\)")

    def test_self_signed(self) -> None:
        """
        A certificate that nobody has signed.
        """
        words = r"upstream SSL certificate verify error: \(18:self-signed certificate\)"
        self.refused(pki.self_signed(BACK), pki.authority("Servers CA"), words)

    def test_stranger(self) -> None:
        """
        A certificate of an authority of the same name.
        """
        identity = pki.leaf(pki.authority("Servers CA"), BACK)
        words = r"upstream SSL certificate verify error: \((?:20|21|7):[^)]*\)"
        self.refused(identity, pki.authority("Servers CA"), words)


class ServersTestsNginx(ServersTests):
    """
    The same on nginx, which however takes a connection that was kept for one location for another.
    """

    kind = NGINX

    def refused(self, identity: pki.Identity, trust: pki.Identity, words: str) -> None:
        """
        The same without the connection that was kept.
        """
        self.begin(identity, trust)
        for _ in range(3):
            self.assertEqual(self.get("/strict/"), "502")
        told = [line.text for line in self.edge.lines() if line.level == "error"]
        for line in told:
            self.assertRegex(line, f"^{words} while SSL handshaking to upstream, client: 127.0.0.1, server: ")
        self.assertEqual(self.get("/open/"), "200")
        self.assertEqual(self.get("/strict/"), "200")  # this is what we do not do


PATHS_AND_STATUSES: Final = (
    ("/open/", "200"),
    ("/strict/", "200"),
    ("/other/", "502"),
    ("/elsewhere/", "502"),
    ("/shown/", "200"),
    (f"/variable/?name={BACK}", "200"),
    ("/variable/?name=other.example.com", "502"),
    ("/variable/?name=", "502"),
)
"""Locations that look at the upstream in their own ways, and what they answer."""


class KeptTests(Servers):
    """
    Connections and sessions that are kept are for those alone who would have made the same.
    """

    kind = SNIPROXY

    def rounds(self) -> list[Visit]:
        """
        Ask all locations again and again.

        @return: the connections on which something was asked.
        """
        for _ in range(3):
            for path, status in PATHS_AND_STATUSES:
                self.assertEqual(self.get(path), status, path)
        good = [visit for visit in self.back.visits if visit.received]
        for visit in good:
            paths = set(re.findall(rb"GET /(\w+)/", visit.received))
            self.assertEqual(len(paths), 1, visit.received)
        for words in (b"/other/", b"/elsewhere/", b"name=other", b"name= "):
            self.assertNotIn(words, b"".join(bytes(visit.received) for visit in good))
        return good

    def test_connections(self) -> None:
        """
        One that nobody has looked at serves no location that looks, one for a name none for another, one without our
        certificate none that shows it; each finds its own again.
        """
        root = pki.authority("Servers CA")
        self.begin(pki.leaf(root, BACK), root)
        self.assertEqual(len(self.rounds()), 4)

    def test_sessions(self) -> None:
        """
        The same holds for sessions of TLS, where connections end: whoever has made one takes it up, and nobody else.
        """
        root = pki.authority("Servers CA")
        for number, version in enumerate(clients.VERSIONS):
            self.folder = self.path(f"session-{number}")
            os.makedirs(self.folder)
            self.begin(pki.leaf(root, BACK), root, once, version)
            good = self.rounds()
            reused = [visit.reused for visit in good]
            self.assertEqual(reused, [False] * 4 + [True] * 8, version)
            self.edge.program.stop()
