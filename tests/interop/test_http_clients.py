"""
Do real clients get through the http proxy? curl in HTTP/1.0, 1.1 and 2, with uploads of all kinds; a WebSocket; wrk and
h2load for what many requests at once do. (A browser: test_browser.py.)

Strategy: before the proxy and behind it there is TLS, and behind that an application that sums up what it is sent, so
that every byte of bodies of 64 MiB counts in both directions.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import threading
from typing import Final

from tests.support import clients, pki
from tests.support.applications import BINARY, BLOCK, CLOSE, PING, PONG, TEXT, WebSocket, application, pattern
from tests.support.ports import free_ports
from tests.support.programs import eventually, need, read_text, run
from tests.support.proxies import NGINX, ProxyTestCase

LARGE: Final = 64 << 20
MIDDLE: Final = 5_000_001

CONFIGURATION: Final = """
http {
    @temporary@
    log_format seen '$request $status $body_bytes_sent $request_length $upstream_status';
    access_log @log@ seen;
    proxy_http_version 1.1; proxy_set_header Connection "";
    proxy_ssl_name back.example.com; proxy_ssl_verify on; proxy_ssl_trusted_certificate @trust@;
    proxy_ssl_certificate @shown@; proxy_ssl_certificate_key @shown_key@; proxy_ssl_protocols TLSv1.2 TLSv1.3;
    upstream app { server 127.0.0.1:@back@; keepalive 16; }
    client_max_body_size 0;
    keepalive_requests 100000;
    server {
        listen 127.0.0.1:@port@;
        listen 127.0.0.1:@secure@ ssl @http2@;
        @http2_on@
        server_name www.example.com;
        ssl_certificate @certificate@; ssl_certificate_key @key@; ssl_protocols TLSv1.2 TLSv1.3;
        location / { proxy_pass https://app; }
        location /now/ { proxy_pass https://app/; proxy_buffering off; proxy_request_buffering off; }
        location = /echo { proxy_pass https://app; proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection upgrade; }
        location /files/ { alias @folder@/files/; types { text/html html; text/css css; } }
        location = /moved { return 301 /files/page.html; }
        location = /short { return 200 "0123456789"; }
    }
}
"""


class RealClients(ProxyTestCase):
    """
    The proxy and what stands behind it.
    """

    def setUp(self) -> None:
        """
        Start them.
        """
        super().setUp()
        root, edges = pki.authority("Servers CA"), pki.authority("Edges CA")
        identity = pki.leaf(root, "www.example.com").write(self.folder, "www")
        behind = pki.leaf(root, "back.example.com").write(self.folder, "back")
        shown = pki.leaf(edges, "edge.example.com").write(self.folder, "edge")
        demanded = pki.write(self.folder, "edges.pem", edges.pem)
        self.trust = pki.write(self.folder, "servers.pem", root.pem)
        self.port, self.secure = free_ports(2)
        os.makedirs(self.path("files"))
        self.page = os.urandom(300000)
        with open(self.path("files", "page.html"), "wb") as file:
            file.write(self.page)
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi") if self.kind == NGINX else ("client_body",)
        self.edge = self.proxy(
            CONFIGURATION,
            temporary=" ".join(f"{kind}_temp_path {self.path(kind)};" for kind in kinds),
            log=self.path("access.log"),
            folder=self.folder,
            back=application(self, clients.server_context(behind, trust=demanded)),
            port=self.port,
            secure=self.secure,
            http2="http2" if self.kind == NGINX else "",
            http2_on="" if self.kind == NGINX else "http2 on;",
            trust=self.trust,
            shown=shown.certificate,
            shown_key=shown.key,
            certificate=identity.certificate,
            key=identity.key,
        )
        self.before = self.edge.connections()

    def curl(self, path: str, *options: str, tls: bool = True, stdin: bytes = b"") -> tuple[str, dict[str, object]]:
        """
        Run curl against one of the ports.

        @return: the text it printed, and what it knows of the transfer.
        """
        port = self.secure if tls else self.port
        url = f"http{'s' if tls else ''}://www.example.com:{port}{path}"
        done = run(
            need("curl"),
            *("-sS", "--max-time", "60", "--resolve", f"www.example.com:{port}:127.0.0.1", "--cacert", self.trust),
            *("-w", "\n%{json}", *options, url),
            stdin=stdin,
        )
        self.assertEqual((done.returncode, done.stderr), (0, ""), (path, options))
        text, _, facts = done.stdout.rpartition("\n")
        return text, json.loads(facts)

    def quiet(self) -> None:
        """
        No connection of a client is left, and nothing went wrong.
        """
        eventually(lambda: self.edge.connections() <= self.before + 16, "clients are gone")
        said = [str(line) for line in self.edge.lines() if line.level in ("error", "crit", "alert", "emerg")]
        self.assertEqual(said, [])
        self.assertNotIn("Traceback", self.edge.program.output())


WAYS: Final = (
    (("--http1.1",), False, "1.1"),
    (("--http1.1",), True, "1.1"),
    (("--http1.0",), True, "1.1"),
    (("--http2",), True, "2"),
)
"""How curl asks: options, whether over TLS, and the version of the answer."""


class CurlTests(RealClients):
    """
    curl.
    """

    def download(self, path: str, length: int, *options: str, tls: bool) -> dict[str, object]:
        """
        Every byte of an answer is there.
        """
        target = self.path("got")
        _, facts = self.curl(path, "-o", target, *options, tls=tls)
        summary = hashlib.sha256()
        with open(target, "rb") as file:
            while block := file.read(1 << 20):
                summary.update(block)
        self.assertEqual(f"{os.path.getsize(target)} {summary.hexdigest()}", pattern(length), (path, options))
        return facts

    def test_downloads(self) -> None:
        """
        An answer with a length or in chunks, buffered or passed on at once, arrives whole in every version.
        """
        for options, tls, version in WAYS:
            for path in ("/length/", "/chunks/", "/now/length/", "/now/chunks/"):
                facts = self.download(f"{path}{MIDDLE}", MIDDLE, *options, tls=tls)
                self.assertEqual((facts["http_code"], facts["http_version"]), (200, version))
        self.quiet()

    def test_large_downloads(self) -> None:
        """
        So does one of 64 MiB.
        """
        for options, tls, _ in WAYS[1:4:2]:
            self.download(f"/length/{LARGE}", LARGE, *options, tls=tls)
        self.quiet()

    def uploaded(self, length: int) -> tuple[str, str]:
        """
        @return: the path of a file to upload, and what the application says of it.
        """
        path = self.path(f"up-{length}")
        with open(path, "wb") as file:
            left = length
            while left:
                left -= file.write(BLOCK[:left])
        return path, pattern(length)

    def test_uploads(self) -> None:
        """
        A body with a length, one whose client waits to be told to go on, and one in chunks arrive whole, gathered or
        passed on as they come.
        """
        path, said = self.uploaded(MIDDLE)
        ways = (
            ("-T", path),
            ("-T", path, "-H", "Expect: 100-continue"),
            ("-T", path, "-H", "Expect:"),
            ("-T", path, "-H", "Transfer-Encoding: chunked"),
            ("--data-binary", f"@{path}"),
            ("-T", path, "--limit-rate", "20M"),
        )
        for options, tls, _ in WAYS:
            for where in ("/up", "/now/up"):
                for way in ways:
                    if options != ("--http1.1",) and "Transfer-Encoding: chunked" in way:
                        continue
                    text, facts = self.curl(where, *options, *way, tls=tls)
                    self.assertEqual((text, facts["http_code"]), (said, 200), (options, where, way))
        self.quiet()

    def test_large_uploads(self) -> None:
        """
        So does one of 64 MiB.
        """
        path, said = self.uploaded(LARGE)
        for where, options, tls in (
            ("/up", "--http1.1", False),
            ("/now/up", "--http1.1", True),
            ("/now/up", "--http2", True),
        ):
            self.assertEqual(self.curl(where, options, "-T", path, tls=tls)[0], said)
        self.quiet()

    def test_files(self) -> None:
        """
        Files, parts of them, heads and redirects are as they should be, on one connection.
        """
        for options, tls, _ in WAYS:
            target = self.path("got")
            self.curl("/files/page.html", *options, "-o", target, tls=tls)
            with open(target, "rb") as file:
                self.assertEqual(file.read(), self.page)
            self.curl("/files/page.html", *options, "-r", "1000-1999", "-o", target, tls=tls)
            with open(target, "rb") as file:
                self.assertEqual(file.read(), self.page[1000:2000])
            text, facts = self.curl("/files/page.html", *options, "-I", tls=tls)
            self.assertIn(f"content-length: {len(self.page)}", text.lower())
            text, facts = self.curl("/moved", *options, "-L", "-o", target, tls=tls)
            self.assertEqual((facts["http_code"], facts["num_redirects"]), (200, 1))
            if options != ("--http1.0",):
                self.assertEqual(facts["num_connects"], 1)
            self.assertEqual(self.curl("/files/none", *options, "-o", target, tls=tls)[1]["http_code"], 404)

    def test_many(self) -> None:
        """
        Many at once over one connection of HTTP/2 each get their own.
        """
        url = f"https://www.example.com:{self.secure}"
        targets: list[str] = []
        for number in range(20):
            targets += ["-o", self.path(f"many-{number}"), f"{url}/length/{10000 + number}"]
        resolve = f"www.example.com:{self.secure}:127.0.0.1"
        done = run(
            need("curl"),
            *(
                "-sS",
                "--no-progress-meter",
                "--http2",
                "--parallel",
                "--resolve",
                resolve,
                "--cacert",
                self.trust,
                "-w",
                "%{num_connects} ",
            ),
            *targets,
        )
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual(sum(map(int, done.stdout.split())), 1)
        for number in range(20):
            with open(self.path(f"many-{number}"), "rb") as file:
                data = file.read()
            self.assertEqual(f"{len(data)} {hashlib.sha256(data).hexdigest()}", pattern(10000 + number))
        self.quiet()


class CurlTestsNginx(CurlTests):
    """
    The same on nginx.
    """

    kind = NGINX

    def quiet(self) -> None:
        """
        nginx warns of other things.
        """


class WebSocketTests(RealClients):
    """
    A WebSocket.
    """

    def test_echo(self) -> None:
        """
        Frames of all sizes come back, pings are answered by the application, and the end goes through in both ways.
        """
        for tls in (False, True):
            raw = clients.tls(self.secure, "www.example.com") if tls else clients.plain(self.port)
            with raw:
                web = WebSocket(raw, "/echo", "www.example.com")
                for data in (b"", b"hello", b"x" * 125, b"y" * 126, b"z" * 65535, BLOCK * 20):
                    web.send(BINARY, data)
                    self.assertEqual(web.receive(), (BINARY, data))
                web.send(PING, b"there?")
                self.assertEqual(web.receive(), (PONG, b"there?"))
                web.send(CLOSE, b"\x03\xe8")
                self.assertEqual(web.receive(), (CLOSE, b"\x03\xe8"))
                self.assertEqual(raw.recv(1), b"")
        eventually(lambda: read_text(self.path("access.log")).count("GET /echo HTTP/1.1 101 ") == 2, "both are logged")
        self.quiet()

    def test_both_ways(self) -> None:
        """
        16 MiB go each way at the same time.
        """
        with clients.tls(self.secure, "www.example.com") as raw:
            web = WebSocket(raw, "/echo", "www.example.com")
            frames = [BLOCK * 4] * 64
            # the client says no word before it was answered: two threads may not use one SSLSocket
            sent, got = hashlib.sha256(), hashlib.sha256()
            for data in frames:
                web.send(BINARY, data)
                sent.update(data)
                got.update(web.receive()[1])
            self.assertEqual(got.digest(), sent.digest())
        with clients.plain(self.port) as plain:
            web = WebSocket(plain, "/echo", "www.example.com")

            def push() -> None:
                for data in frames:
                    web.send(BINARY, data)

            thread = threading.Thread(target=push)
            thread.start()
            self.assertEqual([web.receive() for _ in frames], [(BINARY, data) for data in frames])
            thread.join()
        self.quiet()

    def test_many(self) -> None:
        """
        Fifty at once each hear their own, and those who leave without a word leave nothing behind.
        """
        webs = [WebSocket(clients.plain(self.port), "/echo") for _ in range(50)]
        for number, web in enumerate(webs):
            web.send(TEXT, b"%d" % number)
        self.assertEqual([web.receive() for web in webs], [(TEXT, b"%d" % number) for number in range(50)])
        for web in webs:
            web.close()
        self.quiet()

    def test_not_asked(self) -> None:
        """
        Where no upgrade is passed on there is none.
        """
        with clients.plain(self.port) as raw:
            self.assertRaises(ValueError, WebSocket, raw, "/short")


class WebSocketTestsNginx(WebSocketTests):
    """
    The same on nginx.
    """

    kind = NGINX


class LoadTests(RealClients):
    """
    Clients that ask as fast as they can, for a moment.
    """

    def test_wrk(self) -> None:
        """
        wrk sees no error and no other status, plain and over TLS, of proxied and of own answers.
        """
        for port, scheme in ((self.port, "http"), (self.secure, "https")):
            for path in ("/length/1000", "/chunks/1000", "/short"):
                url = f"{scheme}://127.0.0.1:{port}{path}"
                done = run(need("wrk"), "-t1", "-c16", "-d1s", "-H", "Host: www.example.com", url)
                self.assertEqual(done.returncode, 0, done.stderr)
                found = re.search(r"(\d+) requests in", done.stdout)
                self.assertTrue(found and int(found[1]) > 50, done.stdout)
                self.assertNotRegex(done.stdout, "Socket errors|Non-2xx")
        self.quiet()

    def test_h2load(self) -> None:
        """
        h2load gets all that it asks for, many requests at once on each connection.
        """
        for path, options in (("/length/1000", ()), ("/short", ()), ("/up", ("-d", self.path("files", "page.html")))):
            url = f"https://127.0.0.1:{self.secure}{path}"
            done = run(need("h2load"), "-n300", "-c4", "-m10", *options, url)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn("300 total, 300 started, 300 done, 300 succeeded, 0 failed, 0 errored", done.stdout)
            self.assertIn("status codes: 300 2xx", done.stdout)
        self.quiet()


class LoadTestsNginx(LoadTests):
    """
    The same on nginx.
    """

    kind = NGINX

    def quiet(self) -> None:
        """
        nginx warns of other things.
        """
