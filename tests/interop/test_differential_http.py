"""
Do nginx and we find the same location, ask upstreams for the same, and take the same requests? The same C{http} and
the same bytes of clients for both, see L{tests.support.differential_http}.
"""

from __future__ import annotations

from tests.support.differential_http import HttpDifferential, get, raw


def locations(*names: str, first: int = 0) -> str:
    """
    Locations that say who they are.
    """
    return "".join(f"location {name} {{ return 200 '{number} $uri'; }}\n" for number, name in enumerate(names, first))


class PlacesTests(HttpDifferential):
    """
    Which server, which location?
    """

    def test_locations(self) -> None:
        """
        The same location takes a path.
        """
        self.compare(
            "server { listen 127.0.0.1:@p0@; "
            + locations("/", "= /", "= /exact", "/exact", "/images/", "^~ /images/raw/", r"~ \.png$", r"~* \.JPG$")
            + locations("/a/b", "/a/", "/a", "~ ^/a/b/c", "/dir/sub/", r"~ ^/re/(\d+)$", "^~ /st", "/st/long", first=20)
            + r"""
            proxy_http_version 1.0;
            location /out { location /out/in { return 200 in; } location ~ \.x$ { return 200 inre; }
                location = /out/is { return 200 is; } location ^~ /out/up { return 200 up; } return 200 out; }
            location ^~ /top { location ~ \.png$ { return 200 'nested png'; } return 200 top; }
            location ~ ^/rx { location ~ one { return 200 one; } location ~ two { return 200 two; } return 200 rx; }
            location /with_space { return 200 space; }
            location /%61 { return 200 percent; }
            location /é { return 200 accent; }
            location /proxied/ { proxy_pass http://127.0.0.1:@b0@; }
            location = /proxied { return 200 own; }
            location /slash/ { proxy_pass http://127.0.0.1:@b0@; }
            location /slash/deep/ { proxy_pass http://127.0.0.1:@b0@; }
            location @named { return 200 "named $uri $args"; }
            location /named { error_page 418 = @named; return 418; }
            location ~ ^/cap/(?<what>[a-z]+)/(.*)$ { return 200 "$what $1 $2"; }
            location ~* ^/ci/(A+) { return 200 "$1"; }
            }
            """,
            [
                *(
                    f"GET {path}"
                    for path in (
                        "/ /x /exact /exact/ /exactly /images/ /images /images/a.png /images/raw/a.png /a.jpg "
                        "/A.JpG /a /a/ /a/b /a/b/c /a/bc /ab /dir/sub/x /dir /dir/sub /re/12 /re/x /re/12/ "
                        "/st/long /st /st/x.png /out /out/ /out/in /out/inner /out/in.x /out/is /out/is/ "
                        "/out/is.x /out/up.x /out/a.png /top /top/a.png /top/b /rx /rxone /rxtwoone "
                        "/with%20space /with%20spaces /a%20b /%61 /%2561 /%C3%A9 /proxied /proxied/ /proxied/x "
                        "/proxied?a /slash /slash?a=b /slash/deep /slash/deep?x /named?q=1 /cap/abc/def "
                        "/cap/ABC/def /cap/a/ /ci/aAa /CI/a /IMAGES/ /a//b /a/./b /a/x/../b /../a /a/../../b "
                        "/a/b/.. /a/b/. /a/b/..?x /a/b#c /a%2fb /a%2Fb/c /%2e%2e/a /a/%2e%2e/b /a%00b /a%zz /a% "
                        "/a%2 /a%5cb /a\\b /a;b /a?b?c /a??b /?a/../b /a%3fb /a%23b /a%25b /a%0ab //a ///a "
                        "//a//b/ /a/..x /a/.b /a/...x /. /.. /./ /../ /..%2f /a/b/../../.. http://h/a "
                        "http://other/a/b http://h http://h?x HTTP://H/a https://h/a http://h:80/a http://h:/a "
                        "http://[::1]/a http://u@h/a * a"
                    ).split()
                ),
                *(f"OPTIONS {path}" for path in ("*", "/a", "http://h/")),
                get("POST /slash", "Content-Length: 0"),
                get("HEAD /slash"),
            ],
        )

    def test_servers(self) -> None:
        """
        The same server takes a host.
        """
        names = (
            ("a.example", ""),
            ("*.wild.example", ""),
            (".dot.example", ""),
            ("mail.*", ""),
            (r"~^re(\d+)\.example$", ""),
            (r"~^(?<who>.+)\.named\.example$", ""),
            ("'' empty.example", ""),
            ("b.wild.example UPPER.example", ""),
            ("_", " default_server"),
            ("$hostname", ""),
        )
        servers = "".join(
            f"server {{ listen 127.0.0.1:@p0@{default}; server_name {name}; "
            f"return 200 '{number} $server_name $host $http_host $1 $who'; }}\n"
            for number, (name, default) in enumerate(names)
        )
        hosts = (
            "a.example A.EXAMPLE a.example. a.example:80 a.example.:99 a.wild.example wild.example "
            "b.wild.example x.b.wild.example dot.example x.dot.example xdot.example mail.x mail.x.y mail. "
            "re12.example rex.example bob.named.example a.b.named.example empty.example upper.example none _ "
            "[::1] [::1]:80 ::1 127.0.0.1 a..example .a.example a/b a,b -a a_b a%41 : :80 . .. a"
        ).split(" ")
        self.compare(
            "server { listen 127.0.0.1:@p1@; server_name one; return 200 one; }"
            "server { listen 127.0.0.1:@p1@; server_name two; return 200 two; }"
            "server { listen 127.0.0.1:@p2@; return 200 '$server_name $host'; }" + servers,
            [
                *(get("GET /", host=host) for host in hosts),
                *(get("GET /", host=host, port=1) for host in ("one", "two", "three")),
                *(get("GET /", host=host, port=2) for host in ("one", "ONE:1")),
                *(get("GET /", host=host, version="1.0") for host in ("", "a.example")),
                get("GET /", host=""),
                get("GET /", "Host: b", host="a.example"),
                get("GET /", "Host:", host=""),
                get("GET /", "Host: ", host="", version="1.0"),
                get("GET /", "host: a.example", host=""),
                get("GET http://a.example/", host="mail.x"),
                get("GET http://a.example/", host="", version="1.0"),
                get("GET http://A.example./x", host="b"),
                raw(b"\r\n\r\nGET / HTTP/1.1\r\nHost: a.example\r\n\r\n"),
            ],
        )


class UpstreamTests(HttpDifferential):
    """
    What upstreams are asked, and what is made of their answers.
    """

    said = {
        "moved": b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/x/y\r\nContent-Length: 0\r\n\r\n",
        "refresh": b"HTTP/1.1 200 OK\r\nRefresh: 5; url=http://127.0.0.1/x/y\r\nContent-Length: 0\r\n\r\n",
        "cookies": b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b; domain=old.example; path=/two/x; Secure\r\n"
        b"Set-Cookie: c=d; Path=/; Domain=.OLD.example; HttpOnly; SameSite=Lax\r\nSet-Cookie: e\r\n"
        b"Set-Cookie: f=g;path=/two;domain=x.old.example\r\nContent-Length: 0\r\n\r\n",
        "fields": b"HTTP/1.1 200 Very Fine\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nServer: origin/1\r\nX-Pad: p\r\n"
        b"X-Accel-Buffering: no\r\nX-Accel-Expires: 5\r\nX-Accel-Charset: utf-8\r\nX-Accel-Limit-Rate: 0\r\n"
        b"X-Own: one\r\nx-own: two\r\nContent-Type: text/x-own; charset=koi8-r\r\nLast-Modified: Sun, 06 Nov 1994 "
        b'08:49:37 GMT\r\nETag: "e"\r\nConnection: X-Own\r\nKeep-Alive: timeout=1\r\nContent-Length: 2\r\nVary: *\r\n'
        b"Cache-Control: a\r\nCache-Control: b\r\nWWW-Authenticate: x\r\nAccept-Ranges: bytes\r\nStatus: 201\r\n"
        b"Content-Encoding: br\r\nUpgrade: z\r\nWarning: 1\r\nLink: </a>\r\n"
        b"X_Under: u\r\nContent-Disposition: x\r\nExpires: -1\r\nP3P: a\r\nContent-Language: de\r\n\r\nok",
        "jump": b"HTTP/1.1 200 OK\r\nX-Accel-Redirect: /other?a=b\r\nSet-Cookie: a\r\nContent-Type: x/y\r\nX-Own: o\r\n"
        b"Cache-Control: z\r\nContent-Length: 2\r\n\r\nno",
        "named": b"HTTP/1.1 200 OK\r\nX-Accel-Redirect: @named\r\nContent-Length: 2\r\n\r\nno",
        "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n",
        "endless": b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nto the end",
        "old": b"HTTP/1.0 200 OK\r\n\r\nold",
        "empty": b"HTTP/1.1 204 No Content\r\nX: y\r\n\r\n",
        "unchanged": b'HTTP/1.1 304 Not Modified\r\nETag: "e"\r\nContent-Length: 5\r\n\r\n',
        "created": b"HTTP/1.1 201 Created\r\nLocation: /new\r\nContent-Length: 1\r\n\r\nc",
        "nothing": b"",
        "shorter": b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
        "longer": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nlonger",
        "cut": b"HTTP/1.1 200 OK\r\nContent-",
        "lame": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc",
        "badfield": b"HTTP/1.1 200 OK\r\nbad field\r\nContent-Length: 2\r\n\r\nok",
        "s404": b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\nX-Own: o\r\n\r\nno",
        "s401": b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=x\r\nContent-Length: 2\r\n\r\nno",
        "s500": b"HTTP/1.1 500 Oh\r\nContent-Length: 2\r\n\r\nno",
        "s503": b"HTTP/1.1 503 Oh\r\nRetry-After: 5\r\nContent-Length: 2\r\n\r\nno",
        "s999": b"HTTP/1.1 999 What\r\nContent-Length: 2\r\n\r\nno",
        "keep": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        "big": b"HTTP/1.1 200 OK\r\nX: " + b"x" * 5000 + b"\r\nContent-Length: 2\r\n\r\nok",
    }

    def test_asked(self) -> None:
        """
        Upstreams get the same bytes.
        """
        self.compare(
            "proxy_http_version 1.0;"
            "upstream up { server 127.0.0.1:@b0@; } map $arg_m $mapped { default ''; ~. $arg_m; }"
            "upstream name.with.dots { server 127.0.0.1:@b0@; }"
            "server { listen 127.0.0.1:@p0@; server_name h; set $back http://127.0.0.1:@b0@; set $part /set;"
            + "".join(
                f"location {name} {{ {text} }}\n"
                for name, text in (
                    ("/", "proxy_pass http://127.0.0.1:@b0@;"),
                    ("/uri/", "proxy_pass http://127.0.0.1:@b0@/new/;"),
                    ("/root/", "proxy_pass http://127.0.0.1:@b0@/;"),
                    ("/noslash", "proxy_pass http://127.0.0.1:@b0@/new;"),
                    ("/query/", "proxy_pass http://127.0.0.1:@b0@/new?fixed=1;"),
                    ("/only/", "proxy_pass http://127.0.0.1:@b0@/?x=y;"),
                    ("/enc/", "proxy_pass http://127.0.0.1:@b0@/a%20b/;"),
                    ("= /exact", "proxy_pass http://127.0.0.1:@b0@/exactly;"),
                    (r"~ ^/re/(.*)$", "proxy_pass http://127.0.0.1:@b0@;"),
                    (r"~ ^/rev/(.*)$", "proxy_pass http://127.0.0.1:@b0@/got/$1;"),
                    (r"~ ^/rev2/(.*)$", "proxy_pass http://127.0.0.1:@b0@/got/$1$is_args$args;"),
                    ("/var/", "proxy_pass $back;"),
                    ("/varuri/", "proxy_pass $back$part;"),
                    ("/varreq/", "proxy_pass http://127.0.0.1:@b0@$request_uri;"),
                    ("/varuri2/", "proxy_pass http://127.0.0.1:@b0@$uri;"),
                    ("/vargroup/", "set $g up; proxy_pass http://$g;"),
                    ("/group/", "proxy_pass http://up;"),
                    ("/dots/", "proxy_pass http://name.with.dots/x/;"),
                    ("/rw/", "rewrite ^/rw/(.*)$ /rewritten/$1 break; proxy_pass http://127.0.0.1:@b0@;"),
                    ("/rwuri/", "rewrite ^/rwuri/(.*)$ /rewritten/$1 break; proxy_pass http://127.0.0.1:@b0@/u/;"),
                    ("/rwargs/", "rewrite ^/rwargs/(.*)$ /r/$1?n=1 break; proxy_pass http://127.0.0.1:@b0@;"),
                    ("/rwlast/", "rewrite ^/rwlast/(.*)$ /uri/$1 last;"),
                    ("/setargs/", "set $args new=1; proxy_pass http://127.0.0.1:@b0@;"),
                    ("/if/", "if ($arg_x) { proxy_pass http://127.0.0.1:@b0@; } return 200 no;"),
                    ("/limited/", "limit_except GET { proxy_pass http://127.0.0.1:@b0@; } return 404;"),
                    ("/try/", "try_files /none @back;"),
                    ("@back", "proxy_pass http://127.0.0.1:@b0@;"),
                    ("/err/", "error_page 404 = /uri/fallback; root @root@;"),
                    ("/erq/", "error_page 404 = /uri/fallback?q=1; root @root@;"),
                    ("/ern/", "error_page 404 = @back; root @root@;"),
                    (
                        "/hdr/",
                        "proxy_set_header Host $host; proxy_set_header X-A a; proxy_set_header X-Empty '';"
                        "proxy_set_header X-Var $arg_v; proxy_set_header Accept none; proxy_pass http://127.0.0.1:@b0@;"
                        "location /hdr/inner { proxy_pass http://127.0.0.1:@b0@; }"
                        "location /hdr/own { proxy_set_header X-B b; proxy_pass http://127.0.0.1:@b0@; }",
                    ),
                    (
                        "/hdrs/",
                        "proxy_set_header Connection upgrade; proxy_set_header Upgrade $http_upgrade;"
                        "proxy_set_header Content-Length ''; proxy_set_header Te x; proxy_set_header Keep-Alive y;"
                        "proxy_set_header Host ''; proxy_pass http://127.0.0.1:@b0@;",
                    ),
                    (
                        "/twice/",
                        "proxy_set_header X-A 1; proxy_set_header X-A 2; proxy_set_header x-a 3;"
                        "proxy_pass http://127.0.0.1:@b0@;",
                    ),
                    (
                        "/fwd/",
                        "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header X-Host "
                        "'$proxy_host $proxy_port'; proxy_pass http://127.0.0.1:@b0@;",
                    ),
                    ("/nohdr/", "proxy_pass_request_headers off; proxy_pass http://127.0.0.1:@b0@;"),
                    (
                        "/nobody/",
                        "proxy_pass_request_body off; proxy_pass http://127.0.0.1:@b0@;",
                    ),
                    (
                        "/nobody2/",
                        "proxy_pass_request_body off; proxy_set_header Content-Length '';"
                        "proxy_pass http://127.0.0.1:@b0@;",
                    ),
                    ("/setbody/", "proxy_set_body 'b=$arg_b'; proxy_pass http://127.0.0.1:@b0@;"),
                    ("/method/", "proxy_method PUT; proxy_pass http://127.0.0.1:@b0@;"),
                    ("/methodv/", "proxy_method $arg_m; proxy_pass http://127.0.0.1:@b0@;"),
                    (
                        "/v11/",
                        "proxy_http_version 1.1; proxy_set_header Connection ''; proxy_pass http://127.0.0.1:@b0@;",
                    ),
                    (
                        "/v11c/",
                        "proxy_http_version 1.1; proxy_set_header Connection close; proxy_pass http://127.0.0.1:@b0@;",
                    ),
                    (
                        "/unbuf/",
                        "proxy_http_version 1.1; proxy_set_header Connection close; proxy_request_buffering off;"
                        "proxy_pass http://127.0.0.1:@b0@;",
                    ),
                    ("/unbuf0/", "proxy_request_buffering off; proxy_pass http://127.0.0.1:@b0@;"),
                    ("/nobuf/", "proxy_buffering off; proxy_pass http://127.0.0.1:@b0@;"),
                    (
                        "/hide/",
                        "proxy_set_header X-Secret ''; proxy_set_header Cookie $http_cookie; "
                        "proxy_pass http://127.0.0.1:@b0@;",
                    ),
                )
            )
            + "}",
            [
                *(
                    f"GET {path}"
                    for path in (
                        "/ /x?a=b /x? /x?? /a//b /a/./b /a/../b /a%20b /a%2fb /a%2Fb%3f%23%25 /%41%62 /a+b "
                        "/a%zzb /~a!$&'()*,;=:@ /%c3%a4 /ä /a|b /a\"b /a<b> /a`b /a{b} /a^b /a\\b /uri/ /uri/x "
                        "/uri/x%20y /uri/a//b /uri/a/../b /uri/a%2fb /uri/%3fx /uri/%25 /uri/x?a=%20b /uri/ä "
                        "/uri/a'b(c) /uri/a;b /uri?x /root/ /root/x /root//x /noslash /noslash/x /noslashx "
                        "/noslash?q /query/x /query/x?y /only/x /only/x?y /enc/x /enc/%20 /exact /exact?a=b "
                        "/re/a%20b /re/a//b?c /rev/x /rev/x?y /rev/%3f /rev2/x?y /var/x?y /var/a%20b/../c "
                        "/varuri/x?y /varreq/x%20y?z /varreq//x /varuri2/x?y /vargroup/x /group/x?y /dots/x "
                        "/rw/x /rw/x?y /rw/a%20b /rw/a%2fb%3f%23 /rw/a+b /rwuri/x /rwuri/x%20y?z /rwargs/x "
                        "/rwargs/x?y /rwargs/x?? /rwlast/x /rwlast/x%20y?z /setargs/x?y /setargs/x /if/?x=1 "
                        "/if/ /try/x?y /try/x%20y /err/x?y /err/x%20y /erq/x?y /ern/x%20y?z /hdr/ /hdr/?v=w "
                        "/hdr/inner/x?v=1 /hdr/own /hdrs/ /twice/ /fwd/ /nohdr/ /nobody/ /setbody/?b=x%20y "
                        "/method/ /methodv/?m=get /v11/x /v11c/x /nobuf/x /hide/ /x#frag /uri/x#frag?y "
                        "/x?y#frag"
                    ).split()
                ),
                get(
                    "GET /", "Connection: keep-alive, X-Own", "Keep-Alive: 5", "X-Own: o", "TE: trailers", "Upgrade: ws"
                ),
                get("GET /", "Proxy-Authorization: y", "Trailer: z", "Expect: nothing"),
                get("GET /", "Transfer-Encoding: identity"),
                get("GET /", "X-A: 1", "X-A: 2", "x-a: 3", "Cookie: a=b", "Cookie: c=d", "Accept: x", "Accept: y"),
                get("GET /", "X-Empty:", "X-Blank:   ", "X-Spaces:  a  b  "),
                get("GET /", "X-High: \xe4\xff", "X_Under: u", "X.Dot: d", "X-1: 1"),
                get("GET /hdr/?v=a%20b", "Accept: a", "X-A: client", "X-Empty: client", "X-Var: client", "x-var: c2"),
                get("GET /hdr/own", "X-A: client", "X-B: client"),
                get("GET /hdrs/", "Upgrade: ws", "Connection: upgrade", "TE: a", "Keep-Alive: b"),
                get("GET /fwd/", "X-Forwarded-For: 1.2.3.4"),
                get("GET /fwd/", "X-Forwarded-For: 1.2.3.4", "X-Forwarded-For: 5.6.7.8"),
                get("GET /", host="other.example:8080"),
                get("GET /group/", host="other.example:8080"),
                get("GET http://other/x?y", host="h"),
                get("GET http://other", host="h"),
                get("GET http://other?x", host="h"),
                *(get("GET /x?y", version=version, host=host) for version in ("1.0", "1.1") for host in ("h", "H:1")),
                get("GET /", version="1.0", host=""),
                *(
                    get(f"{method} {path}", *fields, body=body)
                    for path in (
                        "/",
                        "/uri/",
                        "/nobody2/",
                        "/setbody/?b=1",
                        "/method/",
                        "/v11/",
                        "/unbuf0/",
                        "/nohdr/",
                        "/limited/",
                        "/rw/x",
                    )
                    for method, fields, body in (
                        ("POST", ("Content-Length: 5", "Content-Type: a/b"), b"hello"),
                        ("POST", ("Content-Length: 0",), b""),
                        ("POST", ("Transfer-Encoding: chunked",), b"3\r\nabc\r\n2;x\r\nde\r\n0\r\n\r\n"),
                        ("DELETE", (), b""),
                        ("GET", ("Content-Length: 2",), b"hi"),
                    )
                ),
                get("POST /unbuf/", "Content-Length: 3", body=b"abc"),
                get("PUT /", "Content-Length: 3", "Expect: 100-continue", body=b"abc"),
                *(get(f"{method} /") for method in "HEAD OPTIONS PATCH PROPFIND M-SEARCH FOO TRACE A_B".split()),
                get("OPTIONS *"),
                get("CONNECT h:80"),
                get("CONNECT /"),
                get("get /"),
                get("GET1 /"),
            ],
            but=((r"#\d+$", "#N"), (r' \d+ "PUT ', ' N "PUT ')),
        )

    def test_answered(self) -> None:
        """
        Clients get the same of what upstreams say, whatever it is.
        """
        paths = [f"/say/{name}" for name in self.said]
        self.compare(
            "proxy_http_version 1.0;"
            "server { listen 127.0.0.1:@p0@; server_name h; proxy_read_timeout 1s;"
            "location / { proxy_pass http://127.0.0.1:@b0@; }"
            "location /nobuf/ { proxy_buffering off; proxy_pass http://127.0.0.1:@b0@/; }"
            "location /v11/ { proxy_http_version 1.1; proxy_set_header Connection close;"
            " proxy_pass http://127.0.0.1:@b0@/; }"
            "location /hide/ { proxy_hide_header X-Own; proxy_hide_header Vary; proxy_pass_header Server;"
            " proxy_pass_header Date; proxy_pass_header X-Pad; proxy_pass_header X-Accel-Expires;"
            " proxy_pass http://127.0.0.1:@b0@/; location /hide/in/ { proxy_hide_header ETag;"
            " proxy_pass http://127.0.0.1:@b0@/; } }"
            "location /ignore/ { proxy_ignore_headers X-Accel-Redirect X-Accel-Charset X-Accel-Buffering Expires;"
            " proxy_pass http://127.0.0.1:@b0@/; }"
            "location /intercept/ { proxy_intercept_errors on; error_page 404 /404.html; error_page 500 =200 @named;"
            " error_page 401 /404.html; error_page 503 =503 @named; proxy_pass http://127.0.0.1:@b0@/; }"
            "location /errpage/ { error_page 502 504 =200 @named; error_page 404 @named;"
            " proxy_pass http://127.0.0.1:@b0@/; }"
            "location /dead { proxy_pass http://127.0.0.1:@closed@; }"
            "location /deadpage { error_page 502 /404.html; proxy_pass http://127.0.0.1:@closed@; }"
            "location /add/ { add_header X-New n; add_header X-All a always; expires 1h;"
            " proxy_pass http://127.0.0.1:@b0@/; }"
            "location = /404.html { root @root@; }"
            "location /other { internal; return 200 'other $args $sent_http_x_own $upstream_http_x_own'; }"
            "location @named { return 200 'named $status $upstream_status $uri'; }"
            "location /new { return 200 new; } }",
            [
                *(f"GET {path}" for path in paths),
                *(get(f"GET {path}", version="1.0") for path in paths),
                *(
                    f"HEAD {path}"
                    for path in ("/say/keep", "/say/fields", "/say/s404", "/x", "/say/nothing", "/say/chunked")
                ),
                *(f"GET /{prefix}{path}" for prefix in ("nobuf", "v11") for path in paths),
                *(f"GET /{prefix}/say/fields" for prefix in ("hide", "hide/in", "ignore", "add")),
                *(f"GET /ignore/say/{name}" for name in ("jump", "named")),
                *(
                    f"GET /intercept/say/{name}"
                    for name in ("s404", "s401", "s500", "s503", "keep", "nothing", "created")
                ),
                *(f"GET /errpage/say/{name}" for name in ("s404", "nothing", "cut", "jump")),
                *(f"GET /add/say/{name}" for name in ("keep", "s404", "s500", "unchanged", "created", "empty")),
                "GET /dead",
                "GET /deadpage",
                "HEAD /dead",
                get("POST /dead", "Content-Length: 3", body=b"abc"),
                get("GET /say/fields", 'If-None-Match: "e"'),
                get("GET /say/fields", "If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT"),
                get("GET /say/fields", "Range: bytes=0-0"),
            ],
            errors_but=(
                (" while (sending to client|reading upstream|reading response header from upstream),", " while busy,"),
                (r'invalid header: ".*?"', "invalid header"),
                ('.*unknown charset "utf-8" to override.*', ""),
            ),
        )

    def test_rewritten_answers(self) -> None:
        """
        Addresses and cookies in answers become the same.
        """
        back = "proxy_pass http://127.0.0.1:@b0@/say/;"
        self.said = {
            **self.said,
            **{
                f"to{number}": b"HTTP/1.1 302 Found\r\nLocation: " + to + b"\r\nContent-Length: 0\r\n\r\n"
                for number, to in enumerate(
                    (
                        b"/say/x",
                        b"/x",
                        b"http://one.example/a?b",
                        b"http://one.example:80/a",
                        b"HTTP://ONE.example/a",
                        b"https://other/",
                        b"//one.example/a",
                        b"relative",
                        b"",
                        b"http://two.example/Two/3",
                    )
                )
            },
        }
        self.compare(
            "proxy_http_version 1.0;"
            "server { listen 127.0.0.1:@p0@; server_name h; "
            + "".join(
                f"location /{number}/ {{ {text.replace('@pass@', back)} {'' if '@pass@' in text else back} }}\n"
                for number, text in enumerate(
                    (
                        "",
                        "proxy_redirect off;",
                        "@pass@ proxy_redirect default;",
                        "proxy_redirect http://one.example/ /one/;",
                        "proxy_redirect http://one.example/ http://$host:$server_port/;",
                        "proxy_redirect http://$arg_h/ /var/;",
                        r"proxy_redirect ~^http://([^.]+)\.example(?::\d+)?/(.*)$ /re/$1/$2;",
                        r"proxy_redirect ~*^http://ONE /ci;",
                        "proxy_redirect / /slash/; proxy_redirect http://one.example/ /;",
                        "@pass@ proxy_redirect http://two.example/ /2/; proxy_redirect default;",
                        "proxy_cookie_domain old.example new.example;",
                        "proxy_cookie_domain .old.example $host;",
                        r"proxy_cookie_domain ~(\w+)\.old\.example $1.new;",
                        "proxy_cookie_path /two/ /one/;",
                        "proxy_cookie_path / /one/; proxy_cookie_domain old.example new.example;",
                        r"proxy_cookie_path ~^/two(.*)$ /re$1; proxy_cookie_domain off;",
                        "proxy_cookie_flags a nosecure; proxy_cookie_flags c secure nohttponly samesite=strict;",
                        "proxy_cookie_flags ~ secure httponly samesite=none;",
                        "proxy_cookie_flags a samesite=lax; proxy_cookie_flags ~c nosamesite;",
                    )
                )
            )
            + "}",
            [
                *(f"GET /{number}/to{to}?h=one.example" for number in range(10) for to in range(10)),
                *(f"GET /{number}/refresh?h=one.example" for number in range(10)),
                *(f"GET /{number}/moved" for number in range(10)),
                *(f"GET /{number}/cookies" for number in (0, *range(10, 19))),
            ],
        )

    def test_kept(self) -> None:
        """
        Connections are kept for the next request, and the next upstream is asked, alike.
        """
        tries = (
            "",
            "proxy_next_upstream off;",
            "proxy_next_upstream http_503 http_404;",
            "proxy_next_upstream error http_500 non_idempotent;",
            "proxy_next_upstream invalid_header timeout; proxy_next_upstream_tries 1;",
            "proxy_next_upstream error timeout http_404; proxy_next_upstream_tries 2;",
        )
        said = ("keep", "s404", "s500", "s503", "nothing", "cut", "empty", "created", "badfield")
        self.compare(
            "proxy_http_version 1.1; proxy_set_header Connection '';"
            "upstream kept { server 127.0.0.1:@b0@; keepalive 1; }"
            "upstream few { server 127.0.0.1:@b0@; keepalive 4; keepalive_requests 2; }"
            "upstream dead { server 127.0.0.1:@closed@ max_fails=0; server 127.0.0.1:@b0@ max_fails=0; keepalive 1; }"
            "upstream spare { server 127.0.0.1:@closed@ max_fails=0; server 127.0.0.1:@b0@ backup max_fails=0;"
            " keepalive 1; }"
            + "".join(
                f"upstream two{number} {{ server 127.0.0.1:@b0@ max_fails=0; server 127.0.0.1:@b1@ max_fails=0; }}"
                for number in range(len(tries))
            )
            + "server { listen 127.0.0.1:@p0@; server_name h; location /kept { proxy_pass http://kept; }"
            " location /few { proxy_pass http://few; } location /dead { proxy_pass http://dead; }"
            " location /spare { proxy_pass http://spare; } location /say/ { proxy_pass http://kept; }"
            + "".join(
                f" location /{number}/ {{ {text} proxy_pass http://two{number}/say/; }}"
                for number, text in enumerate(tries)
            )
            + "}",
            [
                *("GET /kept",) * 3,
                raw(b"GET /kept HTTP/1.1\r\nHost: h\r\n\r\n" * 3, 3),
                get("HEAD /kept"),
                get("POST /kept", "Content-Length: 3", body=b"abc"),
                get("GET /kept", version="1.0"),
                "GET /say/keep",
                "GET /say/nothing",
                "GET /kept",
                *("GET /few",) * 5,
                *("GET /dead",) * 4,
                *("GET /spare",) * 2,
                *(f"GET /{number}/{name}" for number in range(len(tries)) for name in said),
                *(
                    get(f"POST /{number}/{name}", "Content-Length: 3", body=b"abc")
                    for number in range(len(tries))
                    for name in said
                ),
            ],
            errors_but=((r'invalid header: ".*?"', "invalid header"),),
        )
