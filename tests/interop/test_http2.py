"""
Do real clients of HTTP/2 get what they ask for, and hostile ones what nginx gives them? curl, nghttp and h2load before
the proxy, nginx behind it; and frames by hand.

Strategy: each test says what nginx does, and the subclass of one line runs it on nginx; the old C{listen ... http2} is
what nginx 1.22 understands.
"""

from __future__ import annotations

import hashlib
import re
import select
import socket
from typing import Final

from hpack import Encoder
from hyperframe.frame import Frame, HeadersFrame, PingFrame, RstStreamFrame, SettingsFrame, WindowUpdateFrame

from tests.support import pki
from tests.support.http2 import Client, Pairs
from tests.support.ports import free_port
from tests.support.programs import eventually, need, read_text, run, write_text
from tests.support.proxies import NGINX, ProxyTestCase

MUCH: Final = bytes(range(256)) * 40_000
GET: Final = [(":method", "GET"), (":scheme", "http"), (":authority", "x"), (":path", "/r")]
IDENTITY: Final = pki.self_signed("localhost")


class Wire:
    """
    A connection whose bytes a L{Client} carries.
    """

    def __init__(self, port: int) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port))
        self.closed = False

    def arrive(self, data: bytes) -> None:
        """
        Send, to someone who may have gone.
        """
        try:
            self.sock.sendall(data)
        except OSError:
            self.closed = True

    def taken(self) -> bytes:
        """
        What has come by now.
        """
        if self.closed or not select.select([self.sock], [], [], 0)[0]:
            return b""
        try:
            data = self.sock.recv(1 << 20)
        except OSError:
            data = b""
        self.closed = not data
        return data


class Http2(ProxyTestCase):
    """
    What real clients see.
    """

    def edge(self, text: str, outside: str = "") -> None:
        """
        Start the proxy, on one address with TLS and one without.
        """
        self.port, self.plain = free_port(), free_port()
        files = IDENTITY.write(self.folder, "edge")
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi") if self.kind == NGINX else ("client_body",)
        temporary = " ".join(f"{each}_temp_path {self.path(each)};" for each in kinds)
        self.access = self.path("access.log")
        words = (
            f"http {{ log_format one '$status $server_protocol $http2 $request_method $uri $http_cookie';"
            f" access_log {self.access} one; {temporary} {outside} server {{"
            f" listen 127.0.0.1:{self.port} ssl http2; listen 127.0.0.1:{self.plain} http2;"
            f" ssl_certificate {files.certificate}; ssl_certificate_key {files.key};\n{text}\n}} }}"
        )
        self.at_work = self.proxy(words)

    def upstream(self) -> int:
        """
        Start an nginx that has a long file, and tells how long a body was.
        """
        port = free_port()
        write_text(self.path("root", "much"), MUCH.decode("latin-1"))
        with open(self.path("root", "much"), "wb") as file:
            file.write(MUCH)
        temporary = " ".join(
            f"{each}_temp_path {self.path(f'up-{each}')};"
            for each in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        self.proxy(
            f"http {{ access_log off; {temporary} server {{ listen 127.0.0.1:{port}; client_max_body_size 0;"
            f" location / {{ root {self.path('root')}; }}"
            f" location /length {{ client_body_in_single_buffer on; proxy_pass http://127.0.0.1:{port}/told; }}"
            ' location /told { return 200 "$request_method $content_length $host"; } } }',
            "upstream",
            kind=NGINX,
        )
        return port

    def curl(self, path: str, *options: str, stdin: bytes = b"") -> str:
        """
        What curl prints.
        """
        url = f"https://localhost:{self.port}{path}"
        where = ("--resolve", f"localhost:{self.port}:127.0.0.1", "-k")
        return run(need("curl"), "-sS", "--max-time", "20", *where, *options, url, stdin=stdin).stdout

    def client(self) -> Client:
        """
        A client that knows beforehand.
        """
        wire = Wire(self.plain)
        self.keep(wire.sock.close)
        return Client(wire)  # type: ignore[arg-type]

    def until(self, client: Client, number: int) -> tuple[int, int | None]:
        """
        Wait for the end of an answer.

        @return: its status, and how it was broken off; C{(-1, code)} where the whole connection was.
        """
        heard = client.answers[number]

        def ended() -> bool:
            client.turn()
            return heard.ended or heard.reset is not None or client.leg.closed or client.goodbye is not None

        eventually(ended, f"the end of stream {number}")
        if not heard.ended and heard.reset is None:
            return -1, client.goodbye
        return heard.status, heard.reset

    def test_curl(self) -> None:
        """
        curl agrees on HTTP/2 by ALPN, and may have HTTP/1.1 if it wants that.
        """
        self.edge('location /r { return 200 "$server_protocol $http2 $scheme $host $http_cookie"; }')
        told = "\\n%{http_version} %{http_code}"
        self.assertEqual(
            self.curl("/r", "--http2", "-w", told, "-b", "a=b; c=d"), "HTTP/2.0 h2 https localhost a=b; c=d\n2 200"
        )
        self.assertEqual(self.curl("/r", "--http1.1", "-w", told), "HTTP/1.1  https localhost \n1.1 200")
        self.assertEqual(
            eventually(lambda: read_text(self.access).splitlines()[:2] or None, "the access log"),
            ["200 HTTP/2.0 h2 GET /r a=b; c=d", "200 HTTP/1.1  GET /r -"],
        )
        self.assertIn("2 200", self.curl("/r", "--http2", "-I", "-w", told))

    def test_prior_knowledge(self) -> None:
        """
        Without TLS a client has to know.
        """
        self.edge('location /r { return 200 "$http2"; }')
        url = f"http://127.0.0.1:{self.plain}/r"
        self.assertEqual(run(need("curl"), "-sS", "--http2-prior-knowledge", url).stdout, "h2c")

    def test_long_bodies(self) -> None:
        """
        Long bodies go through whole, both ways, whoever is slower.
        """
        port = self.upstream()
        self.edge(
            f"client_max_body_size 0; location / {{ proxy_pass http://127.0.0.1:{port}; proxy_http_version 1.1; }}"
        )
        got = self.path("got")
        self.curl("/much", "--http2", "-o", got)
        with open(got, "rb") as file:
            self.assertEqual(hashlib.sha256(file.read()).digest(), hashlib.sha256(MUCH).digest())
        self.assertEqual(
            self.curl("/much", "--http2", "--limit-rate", "30M", "-o", got, "-w", "%{size_download}"), str(len(MUCH))
        )
        sent = self.curl("/length", "--http2", "-X", "POST", "--data-binary", "@" + self.path("root", "much"))
        self.assertEqual(sent, f"POST {len(MUCH)} 127.0.0.1")
        self.assertEqual(self.curl("/length", "--http2", "-d", "abc"), "POST 3 127.0.0.1")

    def test_many(self) -> None:
        """
        Hundreds of requests at once are all answered, over a few connections and over many streams.
        """
        port = self.upstream()
        self.edge(
            f"location / {{ proxy_pass http://127.0.0.1:{port}; }} location /r {{ return 200 hello; }}",
        )
        for path in ("/r", "/told"):
            said = run(need("h2load"), "-n400", "-c4", "-m50", f"https://127.0.0.1:{self.port}{path}").stdout
            self.assertIn("400 succeeded, 0 failed, 0 errored, 0 timeout", said)
        said = run(need("h2load"), "-n20", "-c2", "-m10", f"https://127.0.0.1:{self.port}/much").stdout
        self.assertIn("20 succeeded, 0 failed", said)

    def test_nghttp(self) -> None:
        """
        nghttp sees no fault in what it is sent, be it large or small.
        """
        port = self.upstream()
        self.edge(f"location / {{ proxy_pass http://127.0.0.1:{port}; }} location /r {{ return 200 hello; }}")
        said = run(
            need("nghttp"),
            "-ns",
            "-m3",
            "-w14",
            f"https://127.0.0.1:{self.port}/much",
            f"https://127.0.0.1:{self.port}/r",
        )
        self.assertEqual((said.returncode, len(re.findall(r" 200 ", said.stdout))), (0, 6), said.stdout + said.stderr)

    def test_table_of_requests(self) -> None:
        """
        What is no request is answered, broken off or let in as nginx does; but fields in the wrong order, which nginx
        lets in, may be refused (RFC 9113, 8.3).
        """
        self.edge("location / { return 204; }")
        rows: list[tuple[Pairs, tuple[int, ...]]] = [
            (GET, (204,)),
            (GET[1:], (400,)),
            ([GET[0], *GET[2:]], (400,)),
            (GET[:3], (400,)),
            ([*GET[:2], GET[3]], (400,)),
            ([*GET, GET[0]], (400,)),
            ([*GET, (":other", "x")], (400,)),
            ([*GET[1:], ("a", "b"), GET[0]], (400, 204)),
            ([("a", "b"), *GET], (400, 204)),
            ([*GET[:3], (":path", "r")], (400,)),
            ([*GET[:3], (":path", "/ HTTP/1.1\r\nX: y")], (400, 0)),
            ([*GET[:3], (":path", "")], (400,)),
            ([(":method", "g t"), *GET[1:]], (400,)),
            ([*GET, ("Upper", "x")], (400, 0)),
            ([*GET, ("a b", "x")], (400, 0)),
            ([*GET, ("x", "a\r\nb")], (400, 0)),
            ([*GET, ("x", "a\0b")], (400, 0)),
            ([*GET, ("content-length", "x")], (400,)),
            ([*GET, ("cookie", "a=b"), ("cookie", "c=d")], (204,)),
            ([*GET, ("te", "trailers")], (204,)),
        ]
        wrong = []
        for pairs, wanted in rows:
            client = self.client()
            number = client.raw(list(pairs))
            status, reset = self.until(client, number)
            if status not in wanted or (status == 0 and reset != 1):
                wrong.append((pairs[-1], status, reset, wanted))
        self.assertEqual(wrong, [])

    def test_one_of_many(self) -> None:
        """
        What is wrong with one request is no harm to another one on the same connection.
        """
        self.edge("location / { return 204; }")
        client = self.client()
        bad = client.raw([*GET, ("Upper", "x")])
        self.until(client, bad)
        number = client.raw(GET)
        self.assertEqual(self.until(client, number), (204, None))

    def test_broken_connections(self) -> None:
        """
        What breaks the rules of connections ends them with GOAWAY, or the end alone; the next client is served.
        """
        self.edge("location / { return 204; }")
        begin = HeadersFrame(1, Encoder().encode(GET))
        frames: dict[str, list[Frame]] = {
            "between fields": [begin, PingFrame(0, b"12345678")],
            "no fields": [HeadersFrame(1, b"\xff" * 20, flags=["END_HEADERS"])],
            "window": [WindowUpdateFrame(0, (1 << 31) - 1)],
            "setting": [SettingsFrame(0, {2: 7})],
            "even": [HeadersFrame(2, Encoder().encode(GET), flags=["END_HEADERS", "END_STREAM"])],
        }
        for what, said in frames.items():
            client = self.client()
            client.turn()
            for each in said:
                client.leg.arrive(each.serialize())

            def ended(client: Client = client) -> bool:
                client.turn()
                return client.leg.closed or client.goodbye is not None

            eventually(ended, what)
        client = self.client()
        self.assertEqual(self.until(client, client.raw(GET)), (204, None))

    def test_rapid_reset(self) -> None:
        """
        A client that begins thousands of requests and gives them up is left, and the next one served.
        """
        self.edge("location / { return 204; }")
        client = self.client()
        encoder = Encoder()
        for start in range(1, 8001, 200):
            said = b""
            for number in range(start, start + 200, 2):
                said += HeadersFrame(number, encoder.encode(GET), flags=["END_HEADERS", "END_STREAM"]).serialize()
                said += RstStreamFrame(number, 8).serialize()
            client.leg.arrive(said)

        def ended() -> bool:
            client.turn()
            return client.leg.closed or client.goodbye is not None

        eventually(ended, "the end of a flood")
        client = self.client()
        self.assertEqual(self.until(client, client.raw(GET)), (204, None))

    def test_reload(self) -> None:
        """
        At a reload a connection without requests is ended with GOAWAY, and new ones are served.
        """
        self.edge("location / { return 204; }")
        client = self.client()
        self.assertEqual(self.until(client, client.raw(GET)), (204, None))
        self.at_work.reload()
        eventually(lambda: client.turn().goodbye is not None or client.leg.closed, "goodbye")
        self.assertIn(client.goodbye, (0, None))
        client = self.client()
        self.assertEqual(self.until(client, client.raw(GET)), (204, None))


class Http2Nginx(Http2):
    """
    The same on nginx.
    """

    kind = NGINX
