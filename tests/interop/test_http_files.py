"""
Do nginx and we answer the same, where files, rewriting and nginx's own pages are the answer? Both get one
configuration and one list of requests; answers and error logs are compared, byte for byte.

Strategy: what differs from run to run (versions, dates, ports, boundaries) is replaced by a word before anything is
compared, the same word in both, and fields are put in order. A request is a line, as C{GET /a} with fields behind it.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Sequence
from typing import Final

from sniproxy.http.statuses import REASONS
from tests.support.clients import read_all
from tests.support.ports import free_ports
from tests.support.programs import PATIENCE
from tests.support.proxies import NGINX, SNIPROXY, Proxy, ProxyTestCase, read_lines

MOMENT: Final = 784111777

_LEVELS: Final = ("emerg", "alert", "crit", "error", "warn")
_SAME: Final = (
    (re.compile(rb"nginx/\d+\.\d+\.\d+"), b"nginx/VERSION"),
    (re.compile(rb"(?m)^Date: .*$"), b"Date: NOW"),
    (re.compile(rb"\b\d{20}\b"), b"BOUNDARY"),
)

FILES: Final = {
    "n.txt": b"0123456789",
    "a.html": b"<a>",
    "b.unknown": b"b",
    "empty.css": b"",
    ".hidden": b"hidden",
    "dir/x.txt": b"x",
    "idx/index.html": b"index",
    'odd "dir/x': b"odd",
    "404.html": b"<404>",
    "big.bin": bytes(range(256)) * 2048,
}

Request = tuple[str, ...]
"""The line without its version, then fields."""

CHROME: Final = "User-Agent: Mozilla/5.0 (X11) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0 Safari/537.36"
MSIE: Final = "User-Agent: Mozilla/4.0 (compatible; MSIE 6.0; Windows NT 5.1)"


class Twins(ProxyTestCase):
    """
    Both proxies with one C{server}.
    """

    maxDiff = None

    def serve(self, text: str, outside: str = "") -> None:
        """
        Start both, over some files.
        """
        root = self.path("root")
        for name, data in FILES.items():
            path = os.path.join(root, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as file:
                file.write(data)
            os.utime(path, (MOMENT, MOMENT))
        self.twins: dict[str, tuple[Proxy, int]] = {}
        for kind, port in zip((NGINX, SNIPROXY), free_ports(2), strict=True):
            temporary = "".join(
                f"{each}_temp_path {self.path(each)}; "
                for each in ("client_body", *(("proxy", "fastcgi", "uwsgi", "scgi") if kind == NGINX else ()))
            )
            proxy = self.proxy(
                "http { access_log off; @temporary@ @outside@\n"
                "server { listen 127.0.0.1:@port@; server_name www.example.com; root @root@;\n@inside@\n} }\n",
                name=kind,
                kind=kind,
                level="warn",
                temporary=temporary,
                outside=outside,
                port=port,
                root=root,
                inside=text.replace("@root@", root),
            )
            self.twins[kind] = proxy, port

    def answers(self, requests: Sequence[Request], kind: str) -> list[str]:
        """
        What one of both answers.
        """
        _, port = self.twins[kind]
        return [answer(port, request) for request in requests]

    def compare(self, *requests: Request | str) -> list[str]:
        """
        Ask both, and want the same answers and the same lines in the logs.

        @return: the answers.
        """
        asked = [(each,) if isinstance(each, str) else each for each in requests]
        theirs, ours = (self.answers(asked, kind) for kind in (NGINX, SNIPROXY))
        wrong = [
            f"{request}\n--- nginx\n{their[:600]}\n--- sniproxy\n{our[:600]}"
            for request, their, our in zip(asked, theirs, ours, strict=True)
            if their != our
        ]
        self.assertEqual(wrong, [], "\n".join(wrong))
        self.assertEqual(self.logged(SNIPROXY), self.logged(NGINX))
        return ours

    def logged(self, kind: str) -> list[str]:
        """
        The lines of a log that tell of trouble.
        """
        proxy, port = self.twins[kind]
        return [str(line).replace(str(port), "PORT") for line in read_lines(proxy.log_path) if line.level in _LEVELS]


def answer(port: int, request: Request) -> str:
    """
    One request on a connection of its own.
    """
    line, *fields = request
    head = [f"{line} HTTP/1.1", "Host: www.example.com", "Connection: close", *fields, "", ""]
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as connection:
        connection.sendall("\r\n".join(head).encode())
        data = read_all(connection)
    for pattern, word in _SAME:
        data = pattern.sub(word, data)
    first, end, body = data.decode("latin-1").replace(str(port), "PORT").partition("\r\n\r\n")
    status, *told = first.split("\r\n")
    return "\r\n".join([status, *sorted(told)]) + end + body


class StatusTests(Twins):
    """
    nginx's own pages.
    """

    def test_every_status(self) -> None:
        """
        Each status has the line, the head and the page that nginx gives it, alone and with a text.
        """
        known = (*REASONS, 203, 205, 207, 226, 299, 300, 305, 306, 309, 407, 417, 418, 422, 426, 428, 431, 451, 494)
        statuses = (*known, 495, 496, 497, 498, 506, 508, 511, 599, 444, 499)
        self.serve(
            "".join(
                f"location = /{status} {{ return {status}; }} location = /text/{status} {{ return {status} text; }}"
                for status in statuses
            )
        )
        self.compare(*(f"GET /{status}" for status in statuses))
        self.compare(*(f"GET /text/{status}" for status in statuses))
        self.compare(*(f"HEAD /{status}" for status in (200, 301, 404, 500, 204)))

    def test_padding_and_tokens(self) -> None:
        """
        Browsers that hide short pages get longer ones; how much is said of the server is the operator's choice.
        """
        self.serve(
            "location /off { server_tokens off; return 404; } location /short { msie_padding off; return 404; }"
            " location /moved { return 301 /x; } location / { return 404; }"
        )
        self.compare(
            *((f"GET {path}", agent) for path in ("/", "/off", "/short", "/moved") for agent in (CHROME, MSIE)),
            ("GET /", "User-Agent: Opera Chrome/1"),
            ("GET /", "User-Agent: Gecko/1 Chrome/1"),
            ("GET /", "User-Agent: MSIE 6"),
        )

    def test_redirects(self) -> None:
        """
        A redirect goes where nginx sends it.
        """
        self.serve(
            "location /a { return 301 /b; } location /c { return https://h$uri?$args; } location /d { return 302 e; }"
            " location /f { port_in_redirect off; return 301 /b; } location /g { absolute_redirect off;"
            " return 301 /b; } location /h { server_name_in_redirect on; return 301 /b; } location /i { return 303; }"
        )
        self.compare(*(f"GET {path}" for path in ("/a", "/c/x?y=z", "/d", "/f", "/g", "/h", "/i", "/c/%20%c3")))


class FileTests(Twins):
    """
    Files.
    """

    def setUp(self) -> None:
        """
        A server with several ways to its files.
        """
        super().setUp()
        self.serve(
            """
            include /etc/nginx/mime.types;
            default_type application/octet-stream;
            location /alias/ { alias @root@/; }
            location /sticks { alias @root@/idx; }
            location ~ ^/regex/(.*)$ { alias @root@/$1; }
            location = /exact { alias @root@/n.txt; }
            location /quiet { log_not_found off; }
            location /plain { types { } default_type text/plain; etag off; max_ranges 0; alias @root@/n.txt; }
            location /one { max_ranges 1; alias @root@/n.txt; }
            location /before { if_modified_since before; alias @root@/n.txt; }
            location /never { if_modified_since off; alias @root@/n.txt; }
            location /indexes/ { index none x.txt /a.html; alias @root@/; }
            location /inside { internal; }
            location /try/ { try_files $uri /n.txt; }
            location /try2/ { try_files /none /dir/ =444; }
            location /try3/ { try_files /none @named; }
            location /try4/ { try_files /none /a.html?a=b; }
            location /try5/ { try_files $uri $uri/ =404; alias @root@/; }
            location /try6/ { try_files /none =418; }
            location ~ ^/try7/(.*)$ { alias @root@/$1; try_files "" /x.txt =404; }
            location @named { return 200 "named $uri$is_args$args"; }
            location /names { return 200 "$document_root|$request_filename|$realpath_root"; }
            """,
        )

    def test_found(self) -> None:
        """
        Files come with the same heads, whatever way leads to them.
        """
        self.compare(
            "GET /n.txt",
            "HEAD /n.txt",
            "GET /a.html?x",
            "GET /b.unknown",
            "GET /empty.css",
            "GET /.hidden",
            "GET /idx/",
            "GET /idx/?a=b",
            "GET /dir/../n.txt",
            "GET /./dir//x.txt",
            "GET /%6e.txt",
            "GET /odd%20%22dir/x",
            "GET /alias/n.txt",
            "GET /alias/idx/",
            "GET /sticks/index.html",
            "GET /sticks/",
            "GET /regex/n.txt",
            "GET /exact",
            "GET /plain",
            "GET /indexes/dir/",
            "GET /indexes/idx/",
            "GET /big.bin",
            "GET /names/x",
        )

    def test_not_found(self) -> None:
        """
        What is not there, is a folder, or is asked for in a wrong way is said in the same words.
        """
        self.compare(
            "GET /none",
            "GET /none/",
            "GET /n.txt/",
            "GET /n.txt/x",
            "GET /dir",
            "GET /dir?a=b",
            "GET /odd%20%22dir?%20",
            "GET /dir/",
            "GET /alias",
            "GET /alias/idx",
            "GET /alias/none",
            "GET /sticks",
            "GET /regex/idx",
            "GET /quiet",
            "GET /inside",
            "GET /" + "x" * 300,
            "GET /..%2f..%2fetc/passwd",
            "GET /../etc/passwd",
            "GET /alias/../../etc/passwd",
            "DELETE /n.txt",
            ("POST /n.txt", "Content-Length: 0"),
            ("POST /none", "Content-Length: 0"),
            ("POST /dir", "Content-Length: 0"),
            ("POST /dir/", "Content-Length: 0"),
            ("PUT /dir/", "Content-Length: 0"),
            ("PUT /new", "Content-Length: 0"),
        )

    def test_tried(self) -> None:
        """
        C{try_files} finds the same.
        """
        self.compare(
            "GET /try/x",
            "GET /try2/",
            "GET /try3/x?a=b",
            "GET /try4/x?c=d",
            "GET /try5/n.txt",
            "GET /try5/dir",
            "GET /try5/idx/",
            "GET /try5/none",
            "GET /try6/x",
            "GET /try7/n.txt",
            "GET /try7/dir",
            "GET /try7/idx",
        )

    def test_parts(self) -> None:
        """
        Ranges are understood alike.
        """
        ranges = (
            "bytes=0-0 bytes=2-4 bytes=5- bytes=-3 bytes=-99 bytes=5-99 bytes=10- bytes=99-100 bytes=5-3 bytes=-0 "
            "bytes=0-0,-1 bytes=4-5,0-1 bytes=0-0,99- bytes=0-5,5-9 bytes=0-,0- bytes=a bytes= bytes=1-2, items=1-2 "
            "BYTES=1-2 bytes=--1 bytes=1-2x bytes=18446744073709551616-"
        ).split()
        self.compare(
            *(("GET /n.txt", f"Range: {each}") for each in (*ranges, "bytes= 1 - 2 , 4-5")),
            *(("GET /one", f"Range: {each}") for each in ("bytes=1-2", "bytes=1-2,4-5")),
            *(("GET /plain", f"Range: {each}") for each in ("bytes=1-2", "bytes=99-")),
            ("HEAD /n.txt", "Range: bytes=1-2"),
            ("HEAD /n.txt", "Range: bytes=1-2,4-5"),
            ("GET /empty.css", "Range: bytes=0-"),
            ("GET /big.bin", "Range: bytes=100000-400000"),
            ("GET /big.bin", "Range: bytes=100000-400000,5-6,-70000"),
        )

    def test_conditions(self) -> None:
        """
        Conditions are understood alike.
        """
        (first,) = self.compare("HEAD /n.txt")
        found = re.search('ETag: (".*")', first)
        assert found is not None
        tag, date = found[1], "Sun, 06 Nov 1994 08:49:37 GMT"
        later, other = "Sun, 06 Nov 1994 08:49:38 GMT", "Sunday, 06-Nov-94 08:49:37 GMT"
        tags = (tag, '"x"', "*", f"W/{tag}", f'"x", {tag}', f'W/"x" , W/{tag}', f"{tag}x", "", ",,", tag[:-1])
        dates = (date, later, other, "Sun Nov  6 08:49:37 1994", "yesterday", "", "Mon, 07 Nov 1994 08:49:36 GMT")
        self.compare(
            *(("GET /n.txt", f"{name}: {each}") for name in ("If-None-Match", "If-Match") for each in tags),
            *(
                (f"GET {path}", f"{name}: {each}")
                for path in ("/n.txt", "/before", "/never")
                for name in ("If-Modified-Since", "If-Unmodified-Since")
                for each in dates
            ),
            ("GET /n.txt", f"If-None-Match: {tag}", f"If-Modified-Since: {later}"),
            ("GET /n.txt", 'If-None-Match: "x"', f"If-Modified-Since: {date}"),
            ("GET /plain", f"If-None-Match: {tag}"),
            *(("GET /n.txt", "Range: bytes=0-0", f"If-Range: {each}") for each in (tag, date, later, '"x"', other)),
        )


class RewritingTests(Twins):
    """
    C{rewrite}, C{if}, C{set}, C{error_page}, C{add_header}.
    """

    def test_rewritten(self) -> None:
        """
        Paths and variables become the same.
        """
        self.serve(
            """
            set $server_set s;
            rewrite ^/moved/(.*)$ /said/$1;
            location /said { return 200 "$uri|$args|$server_set|$1"; }
            location /break { rewrite ^/break/(.*)$ /n.txt?x=$1 break; }
            location /break2 { rewrite ^/break2/(.*)$ /n.txt; break; }
            location /last { rewrite ^/last/(.*)$ /said/$1?x=$1 last; return 200 no; }
            location /drop { rewrite ^/drop/(.*)$ /said/$1? last; }
            location /both { rewrite ^/both/a /both/b; rewrite ^/both/b /said/c last; return 200 no; }
            location /away { rewrite ^/away/(.*)$ http://h/$1?x=$1 redirect; }
            location /away2 { rewrite ^/away2/(.*)$ https://h/$1? permanent; }
            location /away3 { rewrite ^/away3/(?<name>.*)$ /said/$name permanent; }
            location /round { rewrite ^/round(.*)$ /roundx$1 last; }
            location /nothing { rewrite ^ $arg_none last; }
            location /set { set $a 1; set $b $a$arg_x; if ($b = 1) { set $a one; }
                if ($b ~ ^1(.)$) { set $a two$1; break; } set $a "$a-end"; return 200 $a; }
            location /args { set $args "q=$arg_p"; return 200 "$args $arg_q $is_args"; }
            location /unset { if ($unset) { set $unset 1; } return 200 "<$unset>"; }
            location /if { add_header Where outer; if ($arg_a) { add_header Where a; } if ($arg_b = x) { return 200 b; }
                if ($arg_c ~* ^(?<c>Y)) { return 200 "c $c $1"; }
                if ($arg_d !~ z) { set $d none; } alias @root@/n.txt; }
            location /files { if (-f $document_root/$arg_f) { return 200 file; } if (-d $document_root/$arg_f) {
                return 200 folder; } if (!-e $document_root/$arg_f) { return 200 none; } return 200 other; }
            """
        )
        self.compare(
            "GET /said?a=b",
            "GET /moved/x?y",
            "GET /break/x",
            "GET /break/x%20%26y?z",
            "GET /break2/x?y",
            "GET /last/x",
            "GET /last/x%20%26%2b?y=z",
            "GET /drop/x?y=z",
            "GET /both/a",
            "GET /away/x",
            "GET /away/a%20%26%3fb%c3%a4?q=1",
            "GET /away/a%22%3c%3e%5c%5e%60%7b%7c%7d+b",
            "GET /away2/x?y",
            "GET /away3/a%2bb?y",
            "GET /round",
            "GET /nothing",
            "GET /set",
            "GET /set?x=5",
            "GET /set?x=55",
            "GET /args?p=1",
            "GET /unset",
            *(f"GET /if?{args}" for args in ("", "a=1", "a=0", "b=x", "b=y", "c=yes", "a=1&b=x", "d=z")),
            *(f"GET /files?f={name}" for name in ("n.txt", "dir", "none", "n.txt/x")),
        )

    def test_error_pages(self) -> None:
        """
        Statuses go to the same places.
        """
        statuses = (403, 404, 405, 410, 411, 412, 497, 500)
        self.serve(
            """
            error_page 404 /404.html;
            error_page 403 =200 /n.txt;
            error_page 405 = /code?x=y;
            error_page 410 @named;
            error_page 411 http://other/$uri;
            error_page 412 =413 @named;
            error_page 500 /gone;
            error_page 497 @named;
            location /code { return 201 "c $args $request_method"; }
            location @named { return 200 "named $uri $status"; }
            location /gone { return 404; }
            @statuses@
            location /again { recursive_error_pages on; error_page 500 /again/404; error_page 404 /n.txt;
                location /again/500 { return 500; } location /again/404 { return 404; } }
            location /own { error_page 403 /n.txt; return 404; }
            location /text { return 404 text; }
            location /loop { recursive_error_pages on; error_page 404 /loop; return 404; }
            """.replace("@statuses@", "".join(f"location = /r/{each} {{ return {each}; }}" for each in statuses))
        )
        self.compare(
            *(f"{method} /r/{each}" for each in statuses for method in ("GET", "HEAD")),
            ("GET /r/404", "If-None-Match: *", "Range: bytes=0-0"),
            ("GET /r/403", "Range: bytes=0-0"),
            ("POST /r/405", "Content-Length: 0"),
            "GET /again/500",
            "GET /own",
            "GET /text",
            "GET /none",
            "GET /loop",
        )

    def test_added(self) -> None:
        """
        The same fields are added.
        """
        self.serve(
            """
            add_header A outer;
            location /own { add_header A b; add_header C d always; add_header Cache-Control private;
                add_header ETag x; add_header Last-Modified ""; alias @root@/n.txt; }
            location /epoch { expires epoch; return 200 x; }
            location /max { expires max; return 200 x; }
            location /off { expires max; location /off/inner { expires off; return 200 x; } }
            location /late { expires $arg_e; return 200 x; }
            location /error { expires max; add_header A b; add_header C d always; return 404; }
            location /trailers { add_trailer T v; add_trailer U $status; add_trailer V ""; alias @root@/n.txt; }
            """
        )
        self.compare(
            *(
                f"{method} {path}"
                for method in ("GET", "HEAD")
                for path in ("/n.txt", "/own", "/epoch", "/max", "/off/inner", "/error", "/trailers")
            ),
            "GET /late?e=max",
            "GET /late?e=junk",
            ("GET /trailers", "Range: bytes=1-2"),
            ("GET /trailers", "If-None-Match: *"),
        )
