"""
Do we do with requests what nginx does, area by area? Connections, sizes, names of fields, access, addresses that
proxies tell, tables, limits, variables and logs, TLS; see L{tests.support.differential_http}.
"""

from __future__ import annotations

from typing import Final

from tests.support.differential_http import Ask, HttpDifferential, get, raw

PLAIN: Final = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n"
LAST: Final = b"GET /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"


def post(line: str, body: bytes, *fields: str, port: int = 0) -> Ask:
    """
    A request with a body of that length.
    """
    return get(f"POST {line}", f"Content-Length: {len(body)}", *fields, body=body, port=port)


class ConnectionTests(HttpDifferential):
    """
    Requests one behind the other, sizes, and names of fields.
    """

    def test_kept(self) -> None:
        """
        Connections are kept, and ended, alike.
        """
        chunks = b"POST /back HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
        self.compare(
            "proxy_http_version 1.0;"
            "server { listen 127.0.0.1:@p0@; location / { return 200 '$connection_requests $request_length'; }"
            " location /back { proxy_pass http://127.0.0.1:@b0@; }"
            " location /static { alias @root@/n.txt; }"
            " location /404 { return 404; } location /500 { return 500; } location /400 { return 400; }"
            " location /413 { return 413; } location /444 { return 444; } location /408 { return 408; }"
            " location /499 { return 499; } location /301 { return 301 /x; } }"
            "server { listen 127.0.0.1:@p1@; keepalive_timeout 0; location / { return 200 x; } }"
            "server { listen 127.0.0.1:@p2@; keepalive_timeout 70 30; location / { return 200"
            " $sent_http_keep_alive; } }"
            "server { listen 127.0.0.1:@p3@; keepalive_requests 2; location / { return 200 $connection_requests; } }"
            "server { listen 127.0.0.1:@p4@; chunked_transfer_encoding off; location / { proxy_pass"
            " http://127.0.0.1:@b0@; } }"
            "server { listen 127.0.0.1:@p5@; client_header_timeout 300ms; keepalive_timeout 300ms;"
            " client_body_timeout 300ms; location / { return 200 x; } location /back { proxy_pass"
            " http://127.0.0.1:@b0@; } }",
            [
                raw(PLAIN * 3, 3),
                raw(PLAIN + LAST + PLAIN, 3),
                Ask(((PLAIN, 1), (PLAIN, 1), (LAST, 1))),
                Ask(((PLAIN[:10], 0), (PLAIN[10:], 1))),
                raw(PLAIN + b"\r\n" + LAST, 2),
                raw(PLAIN + b"junk\r\n\r\n", 2),
                raw(PLAIN + b"GET / HTTP/1.1\r\n\r\n", 2),
                *(
                    Ask(((b"GET /%s HTTP/%s\r\nHost: h\r\n%s\r\n" % (path, version, fields), 1), (LAST, 1)))
                    for path in (b"a", b"404", b"500", b"400", b"413", b"444", b"301", b"back", b"static")
                    for version in (b"1.1", b"1.0")
                    for fields in (b"", b"Connection: keep-alive\r\n", b"Connection: close\r\n")
                ),
                *(
                    Ask(((b"GET /a HTTP/%s\r\nHost: h\r\nConnection: %s\r\n\r\n" % (version, said), 1),))
                    for version in (b"1.0", b"1.1")
                    for said in (
                        b"Keep-Alive",
                        b"CLOSE",
                        b"x",
                        b"close, keep-alive",
                        b"keep-alive, close",
                        b"",
                        b"upgrade",
                    )
                ),
                *(
                    Ask(((b"POST /%s HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello" % path, 1), (LAST, 1)))
                    for path in (b"a", b"404", b"500", b"back", b"static", b"301", b"444")
                ),
                Ask(((b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhe", 1), (b"llo" + LAST, 1))),
                Ask(((b"POST /back HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhe", 0), (b"llo" + LAST, 2))),
                raw(chunks + LAST, 2),
                raw(chunks.replace(b"/back", b"/a") + LAST, 2),
                raw(chunks.replace(b"0\r\n\r\n", b"0\r\nX: y\r\n\r\n") + LAST, 2),
                raw(chunks.replace(b"3\r\n", b"3;a=b\r\n") + LAST, 2),
                raw(chunks.replace(b"3\r\n", b"zz\r\n") + LAST, 1),
                raw(chunks.replace(b"3\r\n", b"5\r\n"), 1),
                *(raw(PLAIN, 1, port) for port in (1, 2)),
                *(raw(PLAIN.replace(b"1.1", b"1.0"), 1, port) for port in (1, 2)),
                raw(PLAIN * 3, 3, 3),
                raw(PLAIN * 3, 3, 1),
                get("GET /x", port=4),
                get("POST /back", "Expect: 100-continue", "Content-Length: 3", body=b"abc"),
                get("POST /back", "Expect: 100-Continue", "Content-Length: 3", body=b"abc", version="1.0"),
                get("POST /back", "Expect: other", "Content-Length: 3", body=b"abc"),
                *(
                    Ask(((sent, 0), *more), 5)
                    for sent in (
                        b"GET / HT",
                        b"GET / HTTP/1.1\r\nX:",
                        PLAIN + b"GET / HT",
                        PLAIN + b"GET / HTTP/1.1\r\nX: y\r\n",
                    )
                    for more in ((), ((b"", 0),))
                ),
                Ask(((b"POST /back HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhe", 0),), 5),
                Ask(((PLAIN, 1), (b"", 0)), 5),
                Ask(((b"", 0),), 5),
            ],
            log="'$server_port $status \"$request\" $connection_requests $request_completion'",
        )

    def test_sizes(self) -> None:
        """
        What is too large is refused alike.
        """
        line = "GET /" + "a" * 2000
        self.compare(
            "proxy_http_version 1.0; client_header_buffer_size 128; large_client_header_buffers 2 1k;"
            "server { listen 127.0.0.1:@p0@; location / { return 200 'x$request_length'; } }"
            "server { listen 127.0.0.1:@p1@; error_page 400 414 494 /own; location /own { return 200 'own $status'; }"
            " location / { return 200 x; } }"
            "server { listen 127.0.0.1:@p2@; client_max_body_size 10; location / { proxy_pass http://127.0.0.1:@b0@; }"
            " location /free { client_max_body_size 0; proxy_pass http://127.0.0.1:@b0@; }"
            " location /more { client_max_body_size 20; proxy_pass http://127.0.0.1:@b0@; }"
            " location /return { return 200 x; } location /static { alias @root@/n.txt; }"
            " location /stream { proxy_request_buffering off; proxy_pass http://127.0.0.1:@b0@; }"
            " error_page 413 /own; location /own { return 200 'own'; } }"
            "server { listen 127.0.0.1:@p3@; client_max_body_size 10; location / { proxy_pass"
            " http://127.0.0.1:@b0@; } }",
            [
                *(
                    raw(f"{line[:size]} HTTP/1.1\r\nHost: h\r\n\r\n".encode(), 1, port)
                    for port in (0, 1)
                    for size in (100, 500, 990, 1010, 1014, 1015, 1020, 1500)
                ),
                *(
                    get("GET /", "X: " + "a" * size, port=port)
                    for port in (0, 1)
                    for size in (100, 900, 1018, 1025, 1500)
                ),
                *(get("GET /", *("X: " + "a" * 400,) * count, port=port) for port in (0, 1) for count in (2, 4, 5, 6)),
                *(get("GET /", *("X: a",) * count) for count in (50, 200)),
                *(
                    post(path, b"a" * size, port=port)
                    for port in (2, 3)
                    for size in (0, 9, 10, 11, 20, 21)
                    for path in ("/", "/free", "/more", "/return", "/static", "/stream")
                ),
                *(
                    raw(
                        b"POST %s HTTP/1.1\r\nHost: h\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
                        b"8\r\nabcdefgh\r\n%s0\r\n\r\n" % (path, more),
                        1,
                        port,
                    )
                    for port in (2, 3)
                    for path in (b"/", b"/more", b"/return")
                    for more in (b"", b"2\r\nab\r\n", b"3\r\nabc\r\n")
                ),
                *(
                    get("POST /", f"Content-Length: {said}", port=2)
                    for said in ("-1", "x", "", "1x", "99999999999999999999")
                ),
                get("POST /", "Content-Length: 11", "Expect: 100-continue", port=2),
            ],
            but=(("<nothing more comes>$", "<end>"),),
            errors_but=((r'(request: "GET /aaa).*', r"\1"),),
        )

    def test_names_of_fields(self) -> None:
        """
        Strange names, and paths with many slashes, are what the configuration says.
        """
        show = "location / { proxy_pass http://127.0.0.1:@b0@; add_header U '$http_x_y $http_x_z'; }"
        fields = ("X_Y: under", "X.Z: dot", "X-Z: dash", "-: d", "_: u", "1: one", "X Z: blank", "Bad@: at", "X: ok")
        self.compare(
            "proxy_http_version 1.0;"
            f"server {{ listen 127.0.0.1:@p0@; {show} }}"
            f"server {{ listen 127.0.0.1:@p1@; underscores_in_headers on; {show} }}"
            f"server {{ listen 127.0.0.1:@p2@; ignore_invalid_headers off; {show} }}"
            f"server {{ listen 127.0.0.1:@p3@; ignore_invalid_headers off; underscores_in_headers on; {show} }}"
            f"server {{ listen 127.0.0.1:@p4@; merge_slashes off; location /a/ {{ return 200 'a $uri'; }}"
            f" location /a//b {{ return 200 'b $uri'; }} location / {{ return 200 '/ $uri'; }} }}",
            [
                *(
                    get("GET /", field, port=port)
                    for port in range(4)
                    for field in fields
                    if " " not in field[:4] and "@" not in field
                ),
                *(f"GET {path}" for path in ("/a", "//")),
                *(
                    get(f"GET {path}", port=4)
                    for path in ("/a//b", "//a/b", "/a///b", "/a//../b", "/a//./b", "//", "/a/%2fb")
                ),
            ],
        )


class AccessTests(HttpDifferential):
    """
    Who may, and who is who.
    """

    def test_allowed(self) -> None:
        """
        The same clients are let in, with the same methods.
        """
        self.compare(
            "proxy_http_version 1.0; geo $near { default far; 127.0.0.1 near; 127.0.0.2/31 next; 10.0.0.0/8 ten; }"
            "geo $http_x_forwarded_for $told { default no; 10.1.0.0/16 yes; }"
            "map $near $table { near 1; ~^n 2; default 3; } map $arg_x:$near $both { hostnames; default -;"
            " a:near 1; ~(?<w>b) $w; }"
            "map $http_host $hosts { hostnames; *.a.example wild; .b.example dot; c.* tail; default none; }"
            "split_clients $arg_s $part { 30% a; 20.5% b; * c; }"
            "limit_conn_zone $server_port zone=z:64k; limit_conn_zone $arg_k zone=y:64k;"
            "server { listen 127.0.0.1:@p0@; location / { deny 127.0.0.2; allow 127.0.0.0/30; deny all; return"
            " 404; alias @root@/n.txt; }"
            " location /in { deny 127.0.0.2; allow 127.0.0.0/30; deny all; alias @root@/n.txt; }"
            " location /in/not { allow 127.0.0.2; deny all; alias @root@/n.txt; error_page 403 =200 /why; }"
            " location /in/none { alias @root@/n.txt; }"
            " location /why { return 200 'why $status'; }"
            " location /any { satisfy any; deny all; alias @root@/n.txt; }"
            " location /any2 { satisfy any; allow 127.0.0.1; deny all; alias @root@/n.txt; }"
            " location /all { satisfy all; allow 127.0.0.1; deny all; alias @root@/n.txt; }"
            " location /get { limit_except GET { deny all; } proxy_pass http://127.0.0.1:@b0@; }"
            " location /post { limit_except POST OPTIONS { allow 127.0.0.2; deny all; } proxy_pass"
            " http://127.0.0.1:@b0@; }"
            " location /head { limit_except HEAD { deny all; } proxy_pass http://127.0.0.1:@b0@; }"
            " location /file { limit_except POST { deny all; } alias @root@/n.txt; }"
            " location /tables { return 200 '$near $told $table $both $hosts $part'; }"
            " location /zero { limit_conn z 1; return 200 x; }"
            " location /conn { limit_conn y 1; limit_conn_status 429; alias @root@/n.txt; add_header L"
            " '$limit_conn_status'; } }"
            "server { listen 127.0.0.1:@p1@; set_real_ip_from 127.0.0.1; real_ip_header X-Real-IP;"
            " location / { add_header Realip '$realip_remote_addr'; return 200 '$remote_addr $remote_port"
            " $proxy_add_x_forwarded_for'; }"
            " location /guard { deny 1.2.3.4; alias @root@/n.txt; } }"
            "server { listen 127.0.0.1:@p2@; set_real_ip_from 127.0.0.0/8; set_real_ip_from 10.0.0.0/8;"
            " real_ip_header X-Forwarded-For; location / { return 200 '$remote_addr $remote_port'; }"
            " location /rec { real_ip_recursive on; return 200 '$remote_addr'; } }",
            [
                *(
                    raw(f"GET {path} HTTP/1.1\r\nHost: h\r\n\r\n".encode(), 1, 0, f"127.0.0.{last}")
                    for path in (
                        "/",
                        "/in",
                        "/in/not",
                        "/in/none",
                        "/any",
                        "/any2",
                        "/all",
                        "/tables",
                        "/conn?k=a",
                        "/zero",
                    )
                    for last in (1, 2, 3, 4)
                ),
                *(
                    get(f"{method} {path}", *(("Content-Length: 0",) if method in ("POST", "PUT") else ()))
                    for path in ("/get", "/post", "/head", "/file")
                    for method in ("GET", "HEAD", "POST", "PUT", "OPTIONS", "DELETE", "PATCH", "FOO")
                ),
                *(f"GET /tables?x={x}&s={s}" for x in ("a", "b", "") for s in ("", "1", "22", "333", "abc", "xyz")),
                *(
                    get("GET /tables", host=host)
                    for host in ("x.a.example", "b.example", "x.b.example", "c.d.e", "C.D", "d")
                ),
                get("GET /tables", "X-Forwarded-For: 10.1.2.3"),
                get("GET /tables", "X-Forwarded-For: 10.1.2.3, 1.1.1.1"),
                *(
                    get(f"GET {path}", f"X-Real-IP: {said}", port=1)
                    for path in ("/", "/guard")
                    for said in (
                        "1.2.3.4",
                        "1.2.3.4:80",
                        "::1",
                        "[::1]:5",
                        "x",
                        "",
                        "1.2.3.4, 5.6.7.8",
                        "unix:",
                        " 1.2.3.4 ",
                    )
                ),
                get("GET /", "X-Real-IP: 1.1.1.1", "X-Real-IP: 2.2.2.2", port=1),
                raw(b"GET / HTTP/1.1\r\nHost: h\r\nX-Real-IP: 1.2.3.4\r\n\r\n", 1, 1, "127.0.0.2"),
                *(
                    get(f"GET {path}", *(f"X-Forwarded-For: {each}" for each in said), port=2)
                    for path in ("/", "/rec")
                    for said in (
                        ("1.2.3.4",),
                        ("1.2.3.4, 10.0.0.1",),
                        ("1.2.3.4, 5.6.7.8, 10.0.0.1",),
                        ("10.0.0.1",),
                        ("1.2.3.4", "5.6.7.8"),
                        ("1.2.3.4", "10.0.0.1"),
                        ("x, 1.2.3.4",),
                        ("1.2.3.4, x",),
                        (",",),
                        ("1.2.3.4:99",),
                        ("1.2.3.4,10.0.0.1,10.0.0.2",),
                    )
                ),
            ],
            log="'$server_port $remote_addr $status \"$request\" $limit_conn_status'",
            but=((r"(127\.0\.0\.\d) \d{4,5}\b", r"\1 PORT"),),
        )


NAMES: Final = (
    "args arg_a arg_B arg_none binary_remote_addr body_bytes_sent connection_requests content_length "
    "content_type cookie_c cookie_D document_root document_uri host hostname http_x_a http_x_none http_host "
    "http_cookie http_x_forwarded_for http_referer http_user_agent http_via https is_args "
    "proxy_add_x_forwarded_for proxy_host proxy_port query_string realip_remote_addr realpath_root remote_addr "
    "remote_user request request_body request_completion request_filename request_length request_method "
    "request_uri scheme sent_http_content_type sent_http_content_length sent_http_location "
    "sent_http_last_modified sent_http_transfer_encoding sent_http_cache_control sent_http_x_own sent_http_none "
    "server_addr server_name server_port server_protocol status uri upstream_addr upstream_status "
    "upstream_response_length upstream_http_x_own upstream_http_content_type upstream_cookie_k "
    "upstream_trailer_t upstream_bytes_sent upstream_bytes_received proxy_protocol_addr limit_conn_status"
).split()


class LogTests(HttpDifferential):
    """
    What logs say.
    """

    said = {
        "own": b"HTTP/1.1 201 Made\r\nX-Own: o\r\nSet-Cookie: k=v; path=/\r\nSet-Cookie: l=w\r\nCache-Control: a\r\n"
        b"Cache-Control: b\r\nContent-Type: x/y\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc",
        "chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        "nothing": b"",
        "s503": b"HTTP/1.1 503 Oh\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno",
    }

    def test_variables(self) -> None:
        """
        Each variable is the same in the log, whatever was asked for.
        """
        names = [name for name in NAMES if not name.endswith("_")]
        log = "'$server_port " + " ".join(f"{number}=${name}" for number, name in enumerate(names)) + "'"
        paths = (
            "/ /x?a=1&B=2&a=3 /%41%20b?A=x&b=%20 /file /file? /none /back /back?x=%22 /say/own /say/chunks "
            "/say/nothing /301 /nocontent /internal /dead /two /vars?a=b /dir/ /idx/ /named /echo /set "
            "/a//b/../c#f?g /both/say/s503 /empty /accel"
        ).split()
        self.compare(
            "proxy_http_version 1.0; proxy_set_header Connection ''; upstream two { server 127.0.0.1:@closed@"
            " max_fails=0; server 127.0.0.1:@b0@; }"
            "upstream both { server 127.0.0.1:@b0@ max_fails=0; server 127.0.0.1:@b1@ max_fails=0; }"
            "server { listen 127.0.0.1:@p0@; server_name one.example two.example; root @root@; set_real_ip_from"
            " 127.0.0.2;"
            " location / { return 200 x; } location /file { alias @root@/n.txt; } location /none { }"
            " location /back { proxy_pass http://127.0.0.1:@b0@; } location /say { proxy_pass http://127.0.0.1:@b0@; }"
            " location /301 { return 301 /x$is_args$args; } location /nocontent { return 204; }"
            " location /internal { internal; } location /dead { proxy_pass http://127.0.0.1:@closed@; }"
            " location /two { proxy_pass http://two; } location /both/ { proxy_next_upstream http_503; proxy_pass"
            " http://both/; } location /dir/ { } location /idx/ { }"
            " location /vars { return 200 '$uri|$args|$is_args|$request_uri|$document_uri|$query_string|$arg_a'; }"
            " location /named { error_page 404 = @n; return 404; } location @n { return 418 named; }"
            " location /echo { proxy_set_body '<$request_body>'; proxy_pass http://127.0.0.1:@b0@; }"
            " location /set { set $args q=1; set $mine $uri; return 200 '$mine $args $query_string'; }"
            " location /empty { return 200; }"
            " location ~ ^/(acc)el { return 402 '$1'; } }",
            [
                *(f"GET {path}" for path in paths),
                *(get(f"HEAD {path}") for path in ("/", "/file", "/back", "/say/own", "/none", "/301")),
                *(get(f"GET {path}", version="1.0") for path in ("/", "/file", "/say/chunks", "/none")),
                *(
                    post(path, b"a=b&c", "Content-Type: x/form", "Referer: r", "User-Agent: u", "Via: v")
                    for path in ("/", "/back", "/echo", "/none", "/file", "/two")
                ),
                get("GET /", "Cookie: c=1; D=2; C=3", "Cookie: d=4; c=5", "X-A: 1", "X-Forwarded-For: 1.1.1.1"),
                get("GET /", "Cookie: xc=0;c=1", "Cookie:  D = 2", "X-A:", "Authorization: Basic dXNlcjpwYXNz"),
                *(
                    get("GET /", f"Authorization: {said}")
                    for said in (
                        "Basic",
                        "Basic dXNlcg==",
                        "basic dXNlcjo=",
                        "Basic  dXNlcjpw ",
                        "Bearer x",
                        "Basic !!",
                        "Basic Og==",
                    )
                ),
                *(get("GET /", host=host) for host in ("ONE.example:81", "two.example.", "three")),
                get("GET http://ONE.example:5/x?y", host="two.example"),
                get("GET /", host="", version="1.0"),
                raw(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", 1, 0, "127.0.0.2"),
                get("GET /", 'X-A: "quoted" \\back \t tab \xe4\xf6'),
                get('GET /\xe4"\\x?a="\'\\', "User-Agent: \xff\xfe"),
                get("OPTIONS /"),
                get("FOO /back"),
            ],
            log=log,
            but=((r"\(upstream: [^)]*\)", ""),),
        )

    def test_escapes(self) -> None:
        """
        Formats escape the same, and conditions leave out the same.
        """
        self.compare(
            'log_format json escape=json \'@p0@ {"a":"$http_x_a","b":"$arg_none","c":"$uri"}\';'
            "log_format none escape=none '@p0@ $http_x_a|$arg_none|$uri';"
            "log_format plain escape=default '$http_x_a|$arg_none|$uri'; map $status $bad { ~^[45] 1; default 0; }"
            "map $arg_if $if { default ''; ~. $arg_if; }"
            "server { listen 127.0.0.1:@p0@; access_log @folder@/access.log json; access_log @folder@/access.log none;"
            " access_log @folder@/access.log plain if=$if; access_log @folder@/access.log combined if=$bad;"
            " location / { return 200 x; } location /off { access_log off; return 200 x; }"
            " location /404 { return 404; } location /own { access_log @folder@/access.log seen; return 200; }"
            " location /named { access_log @folder@/$arg_none; return 200 x; } }",
            [
                *(
                    get(f"GET {path}", f"X-A: {value}")
                    for path in ("/", "/?if=1", "/?if=0", "/off", "/404", "/own", "/a%22b%5c%0a%01%7f%c3%a4")
                    for value in ("plain", 'a"b', "a\\b", "\xe4\xff", "a\tb", "")
                ),
            ],
            but=((r"\[\d\d/\w+/\d+:\d\d:\d\d:\d\d \+0000\]", "[NOW]"),),
        )
