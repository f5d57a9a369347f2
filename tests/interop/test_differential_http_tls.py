"""
Do we do with TLS and HTTP what nginx does, and with nginx's own pages, redirects and fields of answers? See
L{tests.support.differential_http}.
"""

from __future__ import annotations

from typing import Final

from tests.support.differential_http import Ask, HttpDifferential, get, raw

PLAIN: Final = b"GET / HTTP/1.1\r\nHost: a.example.com\r\n\r\n"

VARIABLES: Final = (
    "ssl_protocol ssl_cipher ssl_server_name ssl_session_reused ssl_client_verify ssl_client_s_dn ssl_client_i_dn "
    "ssl_client_serial ssl_client_fingerprint ssl_client_v_start ssl_client_v_end "
    "ssl_client_escaped_cert ssl_early_data ssl_alpn_protocol ssl_curve https scheme host server_name"
).split()


def asked(data: bytes = PLAIN, answers: int = 1, port: int = 0, name: str = "a.example.com", shows: str = "") -> Ask:
    """
    A request over TLS.
    """
    return Ask(((data, answers),), port, name, shows)


class TlsTests(HttpDifferential):
    """
    Servers that speak TLS.
    """

    def test_certificates(self) -> None:
        """
        Clients are told the same of their certificates, and logs as well.
        """
        text = " ".join(f"{number}=${name}" for number, name in enumerate(VARIABLES))
        good = "ssl_certificate @a@; ssl_certificate_key @a_key@; ssl_session_tickets off; ssl_session_cache none;"
        shown = f"location / {{ return 200 '{text}'; }} location /back {{ proxy_pass http://127.0.0.1:@b0@; }}"
        pages = "error_page 495 496 497 =200 /why; location /why { return 200 'why $status $ssl_client_verify'; }"
        trust = "ssl_client_certificate @ca@; ssl_verify_depth 2;"
        self.compare(
            "proxy_http_version 1.0; ssl_protocols TLSv1.2 TLSv1.3;"
            f"server {{ listen 127.0.0.1:@p0@ ssl; server_name a.example.com; {good} {shown} }}"
            "server { listen 127.0.0.1:@p0@ ssl; server_name b.example.com; ssl_certificate @b@;"
            " ssl_certificate_key @b_key@;"
            f" {shown} }}"
            f"server {{ listen 127.0.0.1:@p1@ ssl; {good} {trust} ssl_verify_client on; {shown} }}"
            f"server {{ listen 127.0.0.1:@p2@ ssl; {good} {trust} ssl_verify_client optional; {shown} }}"
            f"server {{ listen 127.0.0.1:@p3@ ssl; {good} {trust} ssl_verify_client optional_no_ca; {shown} }}"
            f"server {{ listen 127.0.0.1:@p4@ ssl; {good} {trust} ssl_verify_client on; {shown} {pages} }}"
            f"server {{ listen 127.0.0.1:@p5@ ssl; {good} ssl_client_certificate @ca@; ssl_verify_depth 1;"
            f" ssl_verify_client on; ssl_crl @ca_list@; {shown} }}"
            f"server {{ listen 127.0.0.1:@p6@ ssl; {good} {shown} error_page 497 https://other$request_uri; }}"
            f"server {{ listen 127.0.0.1:@p7@ ssl; ssl_reject_handshake on; }}"
            f"server {{ listen 127.0.0.1:@p7@ ssl; server_name a.example.com; {good} {shown} }}"
            f"server {{ listen 127.0.0.1:@p8@ ssl; server_name x; {good} location / {{ return 301 /y; }}"
            " location /dir/ { proxy_pass http://127.0.0.1:@b0@; } location /port { port_in_redirect off;"
            " return 302 /y; } }",
            [
                *(asked(name=name) for name in ("a.example.com", "b.example.com", "c.example.com", "")),
                *(
                    asked(PLAIN.replace(b"Host: a", b"Host: b"), name=name)
                    for name in ("a.example.com", "b.example.com")
                ),
                asked(PLAIN * 3, 3),
                *(
                    asked(port=port, shows=shows)
                    for port in (0, 1, 2, 3, 4, 5)
                    for shows in ("", "mary", "john", "late", "gone", "deep")
                ),
                *(raw(PLAIN, 1, port) for port in (0, 1, 4, 6)),
                *(raw(sent, 1) for sent in (b"GET / HTTP/1.0\r\n\r\n", b"junk\r\n\r\n")),
                asked(PLAIN.replace(b"GET /", b"GET /back"), port=2, shows="mary"),
                *(asked(port=7, name=name) for name in ("a.example.com", "b.example.com", "")),
                *(asked(PLAIN.replace(b"GET /", b"GET " + path), port=8) for path in (b"/", b"/dir", b"/port")),
                asked(b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n", port=1),
                asked(b"junk\r\n\r\n", port=0),
                asked(b"GET /.. HTTP/1.1\r\nHost: x\r\n\r\n", port=0),
            ],
            log="'$server_port $status $body_bytes_sent \"$request\" $ssl_client_verify $ssl_server_name'",
        )


class PagesTests(HttpDifferential):
    """
    What is answered without anybody else.
    """

    said = {
        "s404": b"HTTP/1.1 404 No\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno",
        "s200": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Own: o\r\nConnection: close\r\n\r\nok",
    }

    def test_pages(self) -> None:
        """
        Statuses go to the same places, whoever answers there, and take the same fields along.
        """
        self.compare(
            "proxy_http_version 1.0; add_header Outer o; error_page 410 /410;"
            "server { listen 127.0.0.1:@p0@; server_name h www; root @root@; error_page 404 /404.html;"
            " error_page 403 = @at;"
            " error_page 500 502 503 504 /50x; error_page 401 =402 /up/; error_page 400 =200 /410;"
            " location = /410 { internal; return 200 'page $uri $request_uri $args'; }"
            " location @at { add_header Inner '$status'; return 200 'at $uri $request_method'; }"
            " location /50x { return 200 'fifty $status $request_uri'; } location /up/ { proxy_pass"
            " http://127.0.0.1:@b0@; }"
            " location /404 { return 404; } location /404t { return 404 text; } location /403 { return 403; }"
            " location /401 { return 401; } location /500 { return 500; } location /410x { return 410; }"
            " location /400 { return 400; } location /503 { return 503; error_page 503 http://away/$uri; }"
            " location /none { error_page 404 =200 /none/again; } location /empty { error_page 404 =204 @at; }"
            " location /var { error_page 404 /$arg_to; } location /named { error_page 404 $arg_to; }"
            " location /up/say/ { proxy_intercept_errors on; error_page 404 =200 @at; proxy_pass"
            " http://127.0.0.1:@b0@/say/; }"
            " location /dead { error_page 502 = @at; proxy_pass http://127.0.0.1:@closed@; }"
            " location /dead2 { error_page 502 /404.html; proxy_pass http://127.0.0.1:@closed@; }"
            " location /dead3 { error_page 502 =200 /up/other; proxy_pass http://127.0.0.1:@closed@; }"
            " location /dead4 { error_page 502 @none; proxy_pass http://127.0.0.1:@closed@; }"
            " location /rec { recursive_error_pages on; error_page 404 /rec2; location /rec2 { return 404; } }"
            " location /own { add_header Mine m always; add_header Other x; error_page 404 /own; return 404; }"
            " location /if { error_page 404 /410; if ($arg_a) { return 404; } if ($arg_b) { error_page 405 =200 @at;"
            " return 405; } return 200 x; }"
            " location /slow { limit_except GET { deny all; } error_page 403 =418 @at; return 200 x; } }"
            "server { listen 127.0.0.1:@p1@; server_name h; server_tokens off; absolute_redirect off; root @root@;"
            " location /r { return 301 /x; } location /dir/ { proxy_pass http://127.0.0.1:@b0@; } location / { } }"
            "server { listen 127.0.0.1:@p2@; server_name first second; server_name_in_redirect on;"
            " port_in_redirect off;"
            " root @root@; location /r { return 301 /x?$args; } location /rel { return 302 x; } location / { }"
            " location /full { return 307 https://y/$uri; } location /esc { return 302 '/a b\"<>'; }"
            " location /only { return http://z; } location /scheme { return $scheme://z$request_uri; } }",
            [
                *(
                    f"{method} {path}"
                    for method in ("GET", "HEAD")
                    for path in (
                        "/404 /404t /403 /401 /500 /410x /400 /503 /none /empty /var?to=410 /var?to=none "
                        "/named?to=/410 /named?to=@at /named?to=http://z/ /up/say/s404 /up/say/s200 /dead "
                        "/dead2 /dead3 /dead4 /rec /own /if /if?a=1 /if?b=1 /slow /410 /nothing /dir /idx /idx/ "
                        "/n.txt /n.txt/ /dir/"
                    ).split()
                ),
                get("POST /slow", "Content-Length: 0"),
                *(
                    get(f"POST {path}", "Content-Length: 3", body=b"abc")
                    for path in ("/n.txt", "/404", "/dead3", "/403", "/idx/")
                ),
                *(get(f"{method} /n.txt") for method in ("OPTIONS", "DELETE", "PUT", "FOO", "TRACE")),
                *(
                    get(f"GET {path}", port=port, host=host)
                    for port in (1, 2)
                    for path in ("/r", "/r?a=b", "/dir", "/idx", "/404", "/rel", "/full", "/esc", "/only", "/scheme?q")
                    for host in ("h", "H:99", "second")
                ),
                get("GET /r", version="1.0", host="", port=1),
                get("GET /r", version="1.0", host="", port=2),
                *(
                    get("GET /n.txt", field)
                    for field in (
                        "Range: bytes=2-3",
                        "If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT",
                        "If-Unmodified-Since: Sat, 05 Nov 1994 08:49:37 GMT",
                        "If-None-Match: *",
                        "If-Match: x",
                    )
                ),
            ],
            errors_but=(('(could not find named location "@none") while [a-z ]+', r"\1"),),
        )
