"""
Do nginx and we compress the same answers, for the same clients, with the same heads? Both get one configuration and
one list of requests; bodies are compared as the client understands them.
"""

from __future__ import annotations

import os
import re
import socket
import zlib
from collections.abc import Sequence
from typing import Final

from sniproxy.wire.http1 import Data, End, ResponseHead, ResponseReader
from tests.support.clients import read_all
from tests.support.ports import free_ports
from tests.support.programs import PATIENCE
from tests.support.proxies import NGINX, SNIPROXY, ProxyTestCase

MOMENT: Final = 784111777
LONG: Final = b"<p>The same again and again, and then something else.</p>\n" * 4000

Request = tuple[str, ...]
"""The line without its version, then fields."""

GZIP: Final = "Accept-Encoding: gzip"
VIA: Final = "Via: 1.1 somebody"


class Understood:
    """
    What a client makes of an answer.

    @ivar text: head and body, for comparing.
    @ivar body: as it was before it was compressed.
    @ivar sent: bytes of the body that came.
    """

    def __init__(self, method: str, data: bytes, port: int) -> None:
        reader = ResponseReader(65536)
        reader.begin(method)
        reader.feed(data)
        raw, head = b"", None
        while not isinstance(event := reader.next() or reader.finish(), End):
            assert isinstance(event, ResponseHead | Data), event
            if isinstance(event, Data):
                raw += event.data
            else:
                head = event
        if head is None:
            raise AssertionError(data)
        self.sent = len(raw)
        self.encoded = "gzip" in head.fields.get("content-encoding", "")
        self.body = zlib.decompress(raw, 31) if self.encoded and raw else raw
        said = sorted(f"{name}: {value}".replace(str(port), "PORT") for name, value in head.headers)
        said = [re.sub(r"nginx/[\d.]+", "nginx/VERSION", line) for line in said if not line.startswith("Date:")]
        self.text = "\n".join([f"{head.status} {head.reason}", *said, str(re.sub(rb"nginx/[\d.]+", b"", self.body))])


class GzipTests(ProxyTestCase):
    """
    Both proxies with one C{http}.
    """

    maxDiff = None

    def serve(self, text: str, outside: str = "") -> None:
        """
        Start both, over some files.
        """
        root = self.path("root")
        files = {"long.html": LONG, "short.html": b"1234567890123456789", "twenty.html": b"12345678901234567890",
                 "long.txt": LONG, "long.css": LONG, "long.bin": LONG, "dir/index.html": LONG}  # fmt: skip
        for name, data in files.items():
            path = os.path.join(root, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as file:
                file.write(data)
            os.utime(path, (MOMENT, MOMENT))
        self.ports: dict[str, int] = {}
        for kind, (port, behind) in zip((NGINX, SNIPROXY), (free_ports(2), free_ports(2)), strict=True):
            temporary = "".join(
                f"{each}_temp_path {self.path(each)}; "
                for each in ("client_body", "proxy", *(("fastcgi", "uwsgi", "scgi") if kind == NGINX else ()))
                if kind == NGINX or each == "client_body"
            )
            self.proxy(
                "http { access_log off; include /etc/nginx/mime.types; @temporary@ @outside@\n"
                "server { listen 127.0.0.1:@port@; server_name www.example.com; root @root@;\n@inside@\n} }\n",
                name=kind,
                kind=kind,
                temporary=temporary,
                outside=outside.replace("@behind@", str(behind)),
                port=port,
                root=root,
                inside=text.replace("@behind@", str(behind)).replace("@root@", root),
            )
            self.ports[kind] = port

    def ask(self, kind: str, request: Request, version: str = "1.1") -> Understood:
        """
        One request on a connection of its own.
        """
        line, *fields = request
        port = self.ports[kind]
        head = [f"{line} HTTP/{version}", "Host: www.example.com", "Connection: close", *fields, "", ""]
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as connection:
            connection.sendall("\r\n".join(head).encode())
            return Understood(line.partition(" ")[0], read_all(connection), port)

    def compare(self, *requests: Request | str, version: str = "1.1") -> Sequence[Understood]:
        """
        Ask both, and want the same answers.

        @return: ours.
        """
        asked = [(each,) if isinstance(each, str) else each for each in requests]
        pairs = [(each, self.ask(NGINX, each, version), self.ask(SNIPROXY, each, version)) for each in asked]
        wrong = [
            f"{each}\n--- nginx\n{theirs.text[:500]}\n--- sniproxy\n{ours.text[:500]}"
            for each, theirs, ours in pairs
            if theirs.text != ours.text
        ]
        self.assertEqual(wrong, [], "\n".join(wrong))
        for each, theirs, ours in pairs:
            self.assertLessEqual(ours.sent, theirs.sent * 1.05 + 20, each)
        return [ours for _, _, ours in pairs]

    def test_what(self) -> None:
        """
        Types, lengths and statuses decide alike, and change the same fields.
        """
        self.serve(
            "gzip on; gzip_vary on; gzip_types text/css TEXT/CSS application/json; error_page 403 /long.html;"
            "location /all/ { gzip_types *; alias @root@/; }"
            "location /least/ { gzip_min_length 100000; alias @root@/; }"
            "location /off/ { gzip off; alias @root@/; }"
            "location /odd/ { add_header ETag odd; alias @root@/; }"
            "location /weak/ { add_header ETag 'W/\"a\"'; alias @root@/; }"
            "location /said { default_type application/json; return 200 \"{ 'some': 'thing that is long enough' }\"; }"
            "location /moved { return 301 /somewhere/else/that/is/long/enough; }"
            "location /forbidden { return 403; } location /fails { return 500; } location /nothing { return 204; }"
            "location /if { if ($arg_a) { gzip off; return 200 'a text that is not so very short'; }"
            " default_type text/html; return 200 'a text that is not so very short'; }",
        )
        paths = (
            "/long.html /long.txt /long.css /long.bin /short.html /twenty.html /dir/ /dir /none /said /moved /forbidden"
            " /fails /nothing /all/long.bin /all/short.html /least/long.html /off/long.html /odd/long.html"
            " /weak/long.html /if /if?a=b"
        ).split()
        found = self.compare(*((f"GET {path}", GZIP) for path in paths), *((f"HEAD {path}", GZIP) for path in paths))
        self.compare(*(f"GET {path}" for path in paths), *(f"HEAD {path}" for path in paths))
        self.assertEqual(
            [path for path, each in zip(paths, found, strict=False) if each.encoded],
            "/long.html /long.css /twenty.html /dir/ /none /said /forbidden /all/long.bin /least/long.html"
            " /weak/long.html /if".replace(" /least/long.html", " /least/long.html /odd/long.html").split(),
        )

    def test_for_whom(self) -> None:
        """
        Who takes gzip is understood alike.
        """
        self.serve('gzip on; gzip_disable msie6 "^Old [0-3]"; location /new { gzip_disable "x{2}"; return 404; }')
        accepted = (
            "", "gzip", "GZIP", "gzi", "deflate", "deflate, gzip", "deflate,gzip", "xgzip", "x-gzip", "xgzip, gzip",
            "xgzipgzip", "gzip;q=0", "gzip;q=0.0", "gzip;q=0.000", "gzip;q=0.001", "gzip; q=0.5, deflate", "gzip;q=1",
            "gzip;q=1.000", "gzip;q=1.001", "gzip;q=0.0001", "gzip;q=2", "gzip;q=x", "gzip;q=", "gzip;q", "gzip;", "*",
            "gzip ; q=0.2", "gzip;Q=0.2", "gzip;x=1", "gzip;q=0.5x", "gzip;q=0.5 x", "gzip x", "gzip,;q=0", "gzip;q=0.",
            "gzip;q=1.", "gzip;q=0,gzip", "gzip ,deflate", "identity;q=1, gzip;q=0.5",
        )  # fmt: skip
        found = self.compare(*(("GET /none", f"Accept-Encoding: {each}") for each in accepted))
        self.assertEqual(
            [each for each, answer in zip(accepted, found, strict=True) if answer.encoded][:5],
            ["gzip", "GZIP", "deflate, gzip", "deflate,gzip", "xgzip, gzip"],
        )
        agents = (
            "Mozilla/4.0 (compatible; MSIE 6.0; Windows NT 5.1)", "Mozilla/4.0 (compatible; MSIE 6.0; NT; SV1)",
            "MSIE 5.0; x", "MSIE 7.0; x", "MSIE 4.0 Opera", "MSIE 6", "MSIE 6.0", "MSIE 6.", "MSIE 60; x",
            "MSIE 7.0; MSIE 6.0; x", "old 2", "Very old 2", "Old 4", "xx",
        )  # fmt: skip
        self.compare(*((f"GET {path}", GZIP, f"User-Agent: {each}") for path in ("/", "/new") for each in agents))
        self.compare(("GET /none", GZIP), version="1.0")

    def test_for_proxies(self) -> None:
        """
        What may go to a proxy is understood alike.
        """
        words = "off any expired no-cache no-store private no_last_modified no_etag auth".split()
        heads = {
            "plain": "",
            "past": "expires -1h;",
            "future": "expires 1h;",
            "nocache": "add_header Cache-Control no-cache;",
            "nostore": "add_header Cache-Control 'a=b, no-store , x';",
            "private": "add_header Cache-Control 'x;private'; ",
            "notprivate": "add_header Cache-Control 'privately, private=x'; add_header Cache-Control private;",
            "notag": "etag off;",
            "notime": "add_header Last-Modified '';",
        }
        several = (*words, "expired no-cache private", "no_etag no_last_modified")
        self.serve(
            "".join(
                f"location /{place}/{name}/ {{ alias {self.path('root')}/; gzip_proxied {said}; {text} }}"
                for place, said in enumerate(several)
                for name, text in heads.items()
            ),
            "gzip on; gzip_http_version 1.0;",
        )
        targets = [f"GET /{place}/{name}/long.html" for place in range(len(several)) for name in heads]
        found = self.compare(*((each, GZIP, VIA) for each in targets))
        self.assertIn(True, [each.encoded for each in found])
        self.assertIn(False, [each.encoded for each in found])
        self.compare(*((each, GZIP, VIA, "Authorization: Basic eA==") for each in targets[:: len(heads)]))
        self.compare(("GET /0/plain/long.html", GZIP), ("GET /1/plain/long.html", GZIP, VIA), version="1.0")

    def test_parts_and_conditions(self) -> None:
        """
        What is compressed has no parts; what the client has already is not sent again.
        """
        self.serve("gzip on; gzip_vary on;")
        (first,) = self.compare(("HEAD /long.html", GZIP))
        tag = next(line for line in first.text.split("\n") if line.startswith("ETag")).partition(" ")[2]
        self.assertTrue(tag.startswith('W/"'))
        strong = tag.removeprefix("W/")
        self.compare(
            *(("GET /long.html", encoding, "Range: bytes=5-9") for encoding in (GZIP, "X: y")),
            ("GET /long.html", GZIP, "Range: bytes=999999-"),
            ("GET /long.txt", GZIP, "Range: bytes=5-9"),
            *(("GET /long.html", GZIP, f"If-None-Match: {each}") for each in (tag, strong)),
            *(("GET /long.html", GZIP, f"If-Match: {each}") for each in (tag, strong)),
            *(("GET /long.html", GZIP, "Range: bytes=5-9", f"If-Range: {each}") for each in (tag, strong)),
        )

    def test_proxied(self) -> None:
        """
        What upstreams answer is compressed, whatever they say of its length, unless they have done so themselves.
        """
        self.serve(
            "gzip on; gzip_types application/json; gzip_proxied any; "
            "location / { proxy_pass http://127.0.0.1:@behind@; }"
            "location /own/ { proxy_pass http://127.0.0.1:@behind@/; proxy_set_header Accept-Encoding gzip; }"
            "location /unbuffered/ { proxy_pass http://127.0.0.1:@behind@/; proxy_buffering off;"
            " proxy_http_version 1.1; }",
            "server { listen 127.0.0.1:@behind@; root " + self.path("root") + "; gzip on; gzip_http_version 1.0;"
            " gzip_proxied any; location /json { default_type 'application/json; charset=utf-8';"
            ' return 200 \'{ "some": "json that is not so very short" }\'; } }',
        )
        self.compare(
            *(
                (f"{method} {path}", GZIP)
                for method in ("GET", "HEAD")
                for path in ("/long.html", "/json", "/none", "/own/long.html", "/unbuffered/long.html", "/long.txt")
            ),
            ("GET /long.html", GZIP, "Range: bytes=5-9"),
            "GET /long.html",
        )

    def test_charset(self) -> None:
        """
        The charset is said of the same answers, and what has one is compressed alike.
        """
        self.serve(
            "gzip on; gzip_types text/plain; charset utf-8; location /off/ { charset off; alias @root@/; }"
            "location /all/ { charset_types *; alias @root@/; } location /own { default_type 'text/html; charset=a';"
            " return 200 'a text that is not so very short'; } location /other { default_type 'text/html; x=y';"
            " return 200 'a text that is not so very short'; } location /if { if ($arg_a) { charset $arg_a; }"
            " return 200 'a text that is not so very short'; }"
            + "".join(f"location /{status} {{ return {status} /x; }}" for status in (301, 302, 303, 307, 308))
            + "location /moved { return 301; } location /404 { return 404; } location /proxied/ {"
            " proxy_pass http://127.0.0.1:@behind@/; }",
            "server { listen 127.0.0.1:@behind@; location / { default_type $arg_t;"
            " return 200 'a text that is not so very short'; } }",
        )
        self.compare(
            *(
                (f"GET {path}", *fields)
                for path in (
                    "/long.html /long.css /long.bin /off/long.html /all/long.bin /other /if /if?a=koi8-r"
                    " /301 /302 /303 /307 /308 /moved /404 /proxied/?t=text/html;charset=x /proxied/?t=text/html;x=y"
                    " /proxied/?t=text/html /proxied/"
                ).split()
                for fields in ((), (GZIP,))
            ),
        )


del ProxyTestCase
