"""
Does the http proxy work between real programs? curl before it; nginx, C{openssl s_server} and lone sockets behind it.

Strategy: each test says what nginx does, and the subclass of one line runs it on nginx, which here is 1.22: what newer
versions do by default (HTTP/1.1 upstream, connections that are kept) is spelt out in the configurations.
"""

from __future__ import annotations

import hashlib
import os
import re
import socket
from typing import Final

from tests.support import backends, clients, pki
from tests.support.backends import Visit
from tests.support.ports import free_port
from tests.support.programs import eventually, need, read_text, run, write_text
from tests.support.proxies import NGINX, ProxyTestCase

MODERN: Final = 'proxy_http_version 1.1; proxy_set_header Connection "";'
MUCH: Final = bytes(range(256)) * 40_000


class HttpProxyTestCase(ProxyTestCase):
    """
    A proxy of http, an nginx behind it, and curl.
    """

    def temporary(self, kind: str, name: str) -> str:
        """
        Where bodies are kept that are too long for memory; nginx wants to be told of all kinds.
        """
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi") if kind == NGINX else ("client_body",)
        return " ".join(f"{each}_temp_path {self.path(f'{name}-{each}')};" for each in kinds)

    def upstream(self, text: str, outside: str = "") -> None:
        """
        Start an nginx with these servers.
        """
        temporary = self.temporary(NGINX, "upstream")
        self.proxy(f"http {{ access_log off; {temporary} {outside} {text} }}", "upstream", kind=NGINX)

    def edge(self, text: str, outside: str = "") -> None:
        """
        Start the proxy, with one server.
        """
        self.port = free_port()
        temporary = self.temporary(self.kind, "edge")
        words = f"http {{ access_log off; {temporary} {outside}\nserver {{ listen 127.0.0.1:{self.port};\n{text}\n}} }}"
        self.at_work = self.proxy(words)

    def curl(self, path: str, *options: str, stdin: bytes = b"") -> str:
        """
        What curl prints.
        """
        url = f"http://127.0.0.1:{self.port}{path}"
        return run(need("curl"), "-sS", "--max-time", "20", *options, url, stdin=stdin).stdout

    def status(self, path: str) -> str:
        """
        What a request comes to.
        """
        return self.curl(path, "-o", os.devnull, "-w", "%{http_code}")


class Passing(HttpProxyTestCase):
    """
    Requests and answers.
    """

    def test_targets(self) -> None:
        """
        Upstreams are asked for what nginx asks them for.
        """
        port = free_port()
        self.upstream(f'server {{ listen 127.0.0.1:{port}; location / {{ return 200 "$request_uri"; }} }}')
        up = f"http://127.0.0.1:{port}"
        self.edge(
            f"location / {{ proxy_pass {up}; }}"
            f" location /a/ {{ proxy_pass {up}/x/; }}"
            f" location /b {{ proxy_pass {up}/; }}"
            f" location = /c {{ proxy_pass {up}/y?z; }}"
            f" location /d/ {{ proxy_pass {up}/v?u=$arg_q; }}"
            f" location ~ ^/e/(.*) {{ proxy_pass {up}/w/$1$is_args$args; }}"
            f" location /f {{ rewrite ^/f(.*) /g$1 break; proxy_pass {up}; }}"
            f" location /h {{ rewrite ^/h(.*) /k$1 last; }} location /k/ {{ proxy_pass {up}/l/; }}"
            f" location /m {{ try_files /none @n; }} location @n {{ proxy_pass {up}; }}"
        )
        for asked, wanted in (
            ("/A//b/../c%2Fd?e=f", "/A//b/../c%2Fd?e=f"),
            ("/a/b%20c?d", "/x/b%20c?d"),
            ("/a//b/./c", "/x/b/c"),
            ("/b/c", "//c"),
            ("/c?q", "/y?z?q"),
            ("/d/x?q=1&r", "/v?u=1"),
            ("/e/x?y", "/w/x?y"),
            ("/f/1?2", "/g/1?2"),
            ("/h/1?2", "/l/1?2"),
            ("/m/1%20?2", "/m/1%20?2"),
        ):
            self.assertEqual(self.curl(asked, "--path-as-is"), wanted, asked)

    def test_fields(self) -> None:
        """
        Upstreams are sent the fields that nginx sends, and so are clients.
        """
        port = free_port()
        told = "$request_method|$http_host|$http_x_a|$http_b|$http_te|$http_expect|$http_x_forwarded_for|$http_accept"
        self.upstream(
            f'server {{ listen 127.0.0.1:{port}; location / {{ return 200 "{told}";'
            " add_header X-Accel-Expires 5; add_header X-Pad p; add_header X-Hidden h; add_header X-Shown s; } }"
        )
        self.edge(
            f"location / {{ proxy_pass http://127.0.0.1:{port}; proxy_set_header X-A $request_method-$host;"
            " proxy_set_header B $none; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;"
            " proxy_hide_header x-hidden; proxy_pass_header X-Pad; set $none ''; }"
        )
        found = self.curl("/", "-i", "-H", "b: mine", "-H", "TE: trailers", "-H", "X-Forwarded-For: there", "-d", "x")
        head, _, body = found.partition("\n\n")
        names = [line.partition(":")[0] for line in head.split("\n")[1:]]
        self.assertEqual(body, f"POST|127.0.0.1:{port}|POST-127.0.0.1||||there, 127.0.0.1|*/*")
        self.assertEqual([name for name in names if name.startswith("X")], ["X-Pad", "X-Shown"])

    def test_bodies(self) -> None:
        """
        Long bodies arrive whole, whether their length is told, whether they are kept first, and come back.
        """
        port = free_port()
        folder = self.path("files")
        os.makedirs(folder)
        os.chmod(folder, 0o777)
        self.upstream(f"server {{ listen 127.0.0.1:{port}; root {folder}; dav_methods PUT; client_max_body_size 0; }}")
        self.edge(
            f"client_max_body_size 0; location / {{ proxy_pass http://127.0.0.1:{port}; {MODERN} }}"
            f" location /s/ {{ proxy_pass http://127.0.0.1:{port}/; {MODERN} proxy_request_buffering off;"
            " proxy_buffering off; }"
        )
        source = self.path("source")
        with open(source, "wb") as file:
            file.write(MUCH)
        wanted = hashlib.sha256(MUCH).hexdigest()
        for number, prefix in enumerate(("", "/s", "", "/s")):
            chunked = ("-H", "Transfer-Encoding: chunked") if number > 1 else ()
            status = self.curl(f"{prefix}/{number}", "-T", source, "-o", os.devnull, "-w", "%{http_code}", *chunked)
            self.assertEqual(status, "201")
            back = self.path(f"back{number}")
            self.curl(f"{prefix}/{number}", "-o", back)
            with open(back, "rb") as file:
                self.assertEqual(hashlib.sha256(file.read()).hexdigest(), wanted, number)

    def test_rewritten(self) -> None:
        """
        Redirections and cookies are put into the proxy's words.
        """
        port = free_port()
        self.upstream(
            f"server {{ listen 127.0.0.1:{port}; absolute_redirect off;"
            f" location /up/ {{ return 302 http://127.0.0.1:{port}$uri/x; }}"
            " location /rel { return 302 /up/y; }"
            " location /cookie { add_header Set-Cookie 'a=b; domain=up.example; path=/up/; Secure'; return 204; } }"
        )
        self.edge(
            f"location /one/ {{ proxy_pass http://127.0.0.1:{port}/up/; }}"
            f" location / {{ proxy_pass http://127.0.0.1:{port}; proxy_redirect /up/ /one/;"
            " proxy_cookie_domain up.example front.example; proxy_cookie_path /up/ /;"
            " proxy_cookie_flags ~. httponly nosecure; }"
        )
        for path, wanted in (
            ("/one/a", f"Location: http://127.0.0.1:{self.port}/one/a/x"),
            ("/rel", f"Location: http://127.0.0.1:{self.port}/one/y"),
            ("/cookie", "Set-Cookie: a=b; domain=front.example; path=/; HttpOnly"),
        ):
            self.assertIn(wanted, self.curl(path, "-i").split("\n"))

    def test_kept(self) -> None:
        """
        One connection carries many requests.
        """
        port = free_port()
        self.upstream(f'server {{ listen 127.0.0.1:{port}; location / {{ return 200 "$connection_requests\\n"; }} }}')
        self.edge(
            f"location / {{ proxy_pass http://up; {MODERN} }}",
            f"upstream up {{ server 127.0.0.1:{port}; keepalive 4; }}",
        )
        self.assertEqual("".join(self.curl("/") for _ in range(4)), "1\n2\n3\n4\n")

    def test_next(self) -> None:
        """
        Where one upstream is down the next one answers.
        """
        port, down = free_port(), backends.closed_port(self)
        self.upstream(f'server {{ listen 127.0.0.1:{port}; location / {{ return 200 "$http_x"; }} }}')
        self.edge(
            "location / { proxy_pass http://up; proxy_set_header X fine; }",
            f"upstream up {{ server 127.0.0.1:{down}; server 127.0.0.1:{port}; }}",
        )
        self.assertEqual([self.curl("/") for _ in range(3)], ["fine"] * 3)

    def test_accelerated(self) -> None:
        """
        An upstream may point at a file of the proxy's.
        """
        port = free_port()
        write_text(self.path("secret"), "the secret")
        self.upstream(
            f"server {{ listen 127.0.0.1:{port}; location / {{ add_header X-Accel-Redirect /files/secret;"
            " add_header Content-Disposition inline; return 200 no; } }"
        )
        self.edge(
            f"location / {{ proxy_pass http://127.0.0.1:{port}; }}"
            f" location /files/ {{ internal; alias {self.folder}/; }}"
        )
        found = self.curl("/x", "-i")
        self.assertTrue(found.endswith("\n\nthe secret"))
        self.assertIn("\nContent-Disposition: inline\n", found)
        self.assertEqual(self.status("/files/secret"), "404")


class PassingNginx(Passing):
    """
    The same by nginx.
    """

    kind = NGINX


class Secure(HttpProxyTestCase):
    """
    TLS with upstreams.
    """

    def setUp(self) -> None:
        """
        Two nginxes' worth of servers that demand a certificate, and tell whose they got.
        """
        super().setUp()
        authority = pki.authority("Upstreams")
        chain = pki.chain(authority, 2)
        server = pki.leaf(chain, "up.example", names=("up.example",)).write(self.folder, "up")
        self.identity = pki.leaf(authority, "the proxy").write(self.folder, "proxy")
        self.trust = pki.write(self.folder, "trust.pem", authority.pem)
        self.other = pki.write(self.folder, "other.pem", pki.authority("Others").pem)
        self.ports = [free_port(), free_port()]
        self.upstream(
            "".join(
                f"server {{ listen 127.0.0.1:{port} ssl; ssl_session_cache shared:s{port}:1m; ssl_session_tickets off;"
                f" ssl_certificate {server.certificate}; ssl_certificate_key {server.key}; ssl_verify_client on;"
                f" ssl_client_certificate {self.trust}; ssl_protocols TLSv1.2;"
                ' location / { return 200 "$server_port $ssl_client_s_dn $ssl_session_reused $ssl_server_name";'
                " } }\n"
                for port in self.ports
            )
        )
        self.group = "upstream up { " + " ".join(f"server 127.0.0.1:{port};" for port in self.ports) + " }"

    def location(self, name: str, trust: str, depth: int, more: str = "") -> str:
        """
        A location that passes to them.
        """
        return (
            f"location /{name} {{ proxy_pass https://up; proxy_ssl_certificate {self.identity.certificate};"
            f" proxy_ssl_certificate_key {self.identity.key}; proxy_ssl_verify on; proxy_ssl_verify_depth {depth};"
            f" proxy_ssl_trusted_certificate {trust}; proxy_ssl_name up.example; {more} }}\n"
        )

    def test_certificates(self) -> None:
        """
        Both upstreams see the client certificate; sessions are reused from the second connection to each on.
        """
        self.edge(self.location("", self.trust, 2, "proxy_ssl_server_name on; proxy_http_version 1.0;"), self.group)
        found = [self.curl("/").split() for _ in range(6)]
        self.assertEqual({int(words[0]) for words in found}, set(self.ports))
        self.assertEqual({(words[1], words[-1]) for words in found}, {("CN=the", "up.example")})
        self.assertEqual([words[-2] for words in found], [".", ".", "r", "r", "r", "r"])

    def test_refused(self) -> None:
        """
        Another authority and a chain that is too long are 502, in nginx's words; nothing was sent.
        """
        self.edge(
            "proxy_ssl_session_reuse off;"  # nginx's sessions know no location
            + self.location("other", self.other, 3)
            + self.location("short", self.trust, 1)
            + self.location("name", self.trust, 2).replace("up.example", "else.example"),
            self.group.replace(f"server 127.0.0.1:{self.ports[1]};", ""),
        )
        for path, words in (
            ("/other", r"upstream SSL certificate verify error: \(\d+:[a-z ]+\)"),
            ("/short", r"upstream SSL certificate verify error: \(\d+:[a-z ]+\)"),
            ("/name", 'upstream SSL certificate does not match "else.example"'),
        ):
            self.assertEqual(self.status(path), "502")
            rest = (
                f' while SSL handshaking to upstream, client: 127.0.0.1, server: , request: "GET {path} HTTP/1.1",'
                f' upstream: "https://127.0.0.1:{self.ports[0]}{path}", host: "127.0.0.1:{self.port}"'
            )
            self.at_work.logged(re.compile(r"^\[error\] " + words + re.escape(rest) + "$"))

    def test_no_certificate(self) -> None:
        """
        An upstream that wants a certificate and gets none says so itself.
        """
        self.edge("location / { proxy_pass https://up; }", self.group)
        self.assertEqual(self.status("/"), "400")


class SecureNginx(Secure):
    """
    The same by nginx.
    """

    kind = NGINX


class OpenSsl(HttpProxyTestCase):
    """
    C{openssl s_server} behind the proxy.
    """

    def test_until_the_end(self) -> None:
        """
        Its answers end with the connection, and arrive whole.
        """
        identity = pki.leaf(pki.authority("Root"), "up.example").write(self.folder, "up")
        port = free_port()
        server = self.start(
            "s_server", need("openssl"), "s_server", "-accept", f"127.0.0.1:{port}", "-WWW",
            "-cert", identity.certificate, "-key", identity.key,
        )  # fmt: skip
        server.ready(lambda: "ACCEPT" in server.output(), "s_server")
        write_text(self.path("page.html"), "x" * 100_000)
        self.edge(f"location / {{ proxy_pass https://127.0.0.1:{port}; }}")
        self.assertEqual(len(self.curl("/page.html")), 100_000)


class OpenSslNginx(OpenSsl):
    """
    The same by nginx.
    """

    kind = NGINX


def shout(connection: socket.socket, visit: Visit) -> None:
    """
    Switch protocols, then answer in capitals.
    """
    while not visit.received.endswith(b"\r\n\r\n"):
        visit.received += connection.recv(65536)
    connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: shouting\r\nConnection: upgrade\r\n\r\nHELLO ")
    while block := connection.recv(65536):
        connection.sendall(block.upper())


class Lone(HttpProxyTestCase):
    """
    Lone sockets behind the proxy.
    """

    def behind(self, talk: backends.Talk, more: str = "") -> backends.Backend:
        """
        Start the proxy before one of them.
        """
        found = backends.backend(self, talk)
        self.edge(f"location / {{ proxy_pass http://127.0.0.1:{found.port}; {MODERN} {more} }}")
        return found

    def refused(self, talk: backends.Talk, words: str, status: str = "502", more: str = "") -> None:
        """
        What the client and the log are told.
        """
        port = self.behind(talk, more).port
        self.assertEqual(self.status("/x"), status)
        self.at_work.logged(
            f"[error] {words} while reading response header from upstream, client: 127.0.0.1, server: , "
            f'request: "GET /x HTTP/1.1", upstream: "http://127.0.0.1:{port}/x", host: "127.0.0.1:{self.port}"'
        )

    def test_nothing(self) -> None:
        """
        One that says nothing.
        """
        self.refused(read_head(b""), "upstream prematurely closed connection")

    def test_too_big(self) -> None:
        """
        One whose head is too long.
        """
        head = b"HTTP/1.1 200 OK\r\nX: " + b"x" * 5000 + b"\r\n\r\n"
        self.refused(read_head(head), "upstream sent too big header", more="proxy_buffer_size 4k;")

    def test_late(self) -> None:
        """
        One that takes too long.
        """
        words = "upstream timed out (110: Connection timed out)"
        self.refused(backends.swallow, words, "504", "proxy_read_timeout 300ms;")

    def test_broken_off(self) -> None:
        """
        One that ends in the middle of a body breaks the client's connection off.
        """
        self.behind(read_head(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"))
        found = run(need("curl"), "-sS", f"http://127.0.0.1:{self.port}/")
        self.assertEqual((found.returncode, found.stdout), (18, "abc"))
        self.at_work.logged(re.compile("upstream prematurely closed connection while reading upstream"))

    def test_upgrade(self) -> None:
        """
        Another protocol goes through, also what is said early.
        """
        self.behind(shout, "proxy_set_header Upgrade $http_upgrade;")
        connection = clients.plain(self.port)
        self.addCleanup(connection.close)
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: shouting\r\nConnection: upgrade\r\n\r\nearly ")
        found = b""
        while not found.endswith(b"EARLY "):
            found += connection.recv(65536)
        self.assertTrue(found.startswith(b"HTTP/1.1 101 Switching Protocols\r\n"))
        self.assertIn(b"\r\n\r\nHELLO EARLY ", found)
        connection.sendall(b"late")
        self.assertEqual(clients.read_exactly(connection, 4), b"LATE")

    def test_gone(self) -> None:
        """
        A client that goes takes the connection to the upstream with it.
        """
        behind = self.behind(backends.swallow)
        connection = clients.plain(self.port)
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        eventually(lambda: behind.accepted and b"\r\n\r\n" in behind.visits[0].received, "the request")
        connection.close()
        self.assertTrue(behind.visit(0).ended.is_set())
        eventually(lambda: "client prematurely closed connection" in read_text(self.at_work.log_path), "the log")


def read_head(answer: bytes) -> backends.Talk:
    """
    Read a request's head, answer, and end.
    """

    def talk(connection: socket.socket, visit: Visit) -> None:
        while not visit.received.endswith(b"\r\n\r\n"):
            visit.received += connection.recv(65536)
        connection.sendall(answer)

    return talk


class LoneNginx(Lone):
    """
    The same by nginx.
    """

    kind = NGINX
