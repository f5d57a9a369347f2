"""
Do nginx and we find the same faults in what C{http} says of requests, upstreams, access, tables, logs and TLS? What is
said of files and rewriting is compared in L{tests.interop.test_http_words}.

Strategy: nginx's first complaint is what it says, so there is one fault in each text, on a line of its own.
"""

from __future__ import annotations

from typing import Final

from tests.support.differential import Differential
from tests.support.stage import identities

HTTPS: Final = """
client_max_body_size x;
client_max_body_size 1g2;
client_max_body_size -1;
client_max_body_size;
client_max_body_size 1 2;
client_max_body_size 1; client_max_body_size 2;
client_body_buffer_size x;
client_body_timeout x;
client_body_timeout 1y1y;
client_body_temp_path a b;
client_body_temp_path a 4;
client_body_temp_path a 1 2 3 4;
client_header_timeout -1;
client_header_buffer_size 0x1;
large_client_header_buffers 4;
large_client_header_buffers 0 1k;
large_client_header_buffers x 1k;
large_client_header_buffers 4 x;
underscores_in_headers maybe;
ignore_invalid_headers 1;
merge_slashes On;
merge_slashes no;
keepalive_timeout x;
keepalive_timeout 5 x;
keepalive_timeout 1 2 3;
keepalive_requests x;
keepalive_requests -1;
keepalive_time x;
lingering_close never;
lingering_time x;
lingering_timeout x;
reset_timedout_connection x;
server_tokens maybe;
satisfy none;
satisfy;
send_timeout x;
absolute_redirect x;
port_in_redirect x;
server_name_in_redirect x;
chunked_transfer_encoding x;
msie_padding x;
tcp_nodelay x;
server { listen 127.0.0.1:@p@ foo; }
server { listen 127.0.0.1:@p@ default_server default; }
server { listen 127.0.0.1:@p@ backlog=0; }
server { listen 127.0.0.1:@p@ backlog=x; }
server { listen 127.0.0.1:@p@ rcvbuf=x; }
server { listen 127.0.0.1:@p@ ipv6only=on; }
server { listen [::1]:@p@ ipv6only=x; }
server { listen 127.0.0.1:@p@ so_keepalive=x; }
server { listen 127.0.0.1:@p@ setfib=1; }
server { listen 127.0.0.1:@p@ fastopen=x; }
server { listen 127.0.0.1:@p@ accept_filter=x; }
server { listen 127.0.0.1:70000; }
server { listen 127.0.0.1:x; }
server { listen nohost.invalid:80; }
server { listen unix:; }
server { listen; }
server { listen 127.0.0.1:@p@ default_server; } server { listen 127.0.0.1:@p@ default_server; }
server { listen 127.0.0.1:@p@ backlog=5; } server { listen 127.0.0.1:@p@ backlog=6; }
server { listen 127.0.0.1:@p@; listen 127.0.0.1:@p@; }
server { listen 127.0.0.1:@p@; server_name a; } server { listen 127.0.0.1:@p@; server_name a; }
server { listen 127.0.0.1:@p@; } server { listen 127.0.0.1:@p@; }
server { listen 127.0.0.1:@p@ ssl; }
server { listen 127.0.0.1:@p@ ssl; } server { listen 127.0.0.1:@p@; ssl_certificate @a@; ssl_certificate_key @a_key@; }
server { listen 127.0.0.1:@p@ ssl; ssl_certificate @a@; }
server { listen 127.0.0.1:@p@ ssl; ssl_certificate /none; ssl_certificate_key /none; }
server { listen 127.0.0.1:@p@ ssl; ssl_certificate @a@; ssl_certificate_key @b_key@; }
server { listen 127.0.0.1:@p@ ssl; ssl_certificate @a@; ssl_certificate_key @a_key@; ssl_verify_client maybe; }
server { listen 127.0.0.1:@p@ ssl; ssl_certificate @a@; ssl_certificate_key @a_key@; ssl_protocols x; }
server { listen 127.0.0.1:@p@ ssl; ssl_certificate @a@; ssl_certificate_key @a_key@; ssl_ciphers x; }
server { listen 127.0.0.1:@p@ ssl; ssl_certificate @a@; ssl_certificate_key @a_key@; ssl_session_cache x; }
server { listen 127.0.0.1:@p@ ssl; ssl_certificate @a@; ssl_certificate_key @a_key@; ssl_session_cache shared:a:1; }
server { listen 127.0.0.1:@p@ ssl; ssl_certificate @a@; ssl_certificate_key @a_key@; ssl_dhparam /none; }
server { listen 127.0.0.1:@p@ ssl; ssl_certificate @a@; ssl_certificate_key @a_key@; ssl_verify_depth x; }
server { listen 127.0.0.1:@p@ ssl; ssl_certificate @a@; ssl_certificate_key @a_key@; ssl_session_timeout x; }
server { listen 127.0.0.1:@p@ ssl; ssl_certificate @a@; ssl_certificate_key @a_key@; ssl_session_tickets x; }
server { listen 127.0.0.1:@p@ ssl; ssl_certificate @a@; ssl_certificate_key @a_key@; ssl_buffer_size x; }
server { listen 127.0.0.1:@p@ ssl; ssl_reject_handshake on; }
server { server_name *a; }
server { server_name *.; }
server { server_name .; }
server { server_name ~; }
server { server_name ~(; }
server { server_name a/b; }
server { server_name; }
server { server_name a.*.b; } server { }
server { server_name **.a; } server { }
server { server_name a*; } server { }
server a { }
server { foo; }
server { upstream a { server b:1; } }
location / { }
events { }
http { }
stream { }
foo bar;
root /a; root /b;
access_log;
access_log @folder@/a none;
access_log off x;
access_log @folder@/a combined foo=1;
access_log @folder@/a combined buffer=x;
access_log @folder@/a combined gzip=10;
access_log @folder@/a combined flush=1s;
access_log @folder@/a combined if=;
access_log @folder@/$none combined;
log_format a;
log_format a b; log_format a c;
log_format combined x;
log_format a escape=x b;
log_format a escape=json $none;
log_format a escape=json; access_log @folder@/x a;
map $uri a { }
map $none $a { } server { return 200 $a; }
map uri $a { a b; }
map $uri $a { a; }
map $uri $a { a b c; }
map $uri $a { default a; default b; }
map $uri $a { a b; a c; }
map $uri $a { hostnames; *.a b; *.a c; }
map $uri $a { ~( b; }
map $uri $a { a $none; } server { return 200 $a; }
map $uri;
geo $a { x y; }
geo $a { 1.2.3.4/33 y; }
geo $a { default; }
geo $a { 1.2.3.4 a b; }
geo $none $a { } server { return 200 $a; }
geo { }
split_clients $uri $a { 50% a; 60% b; }
split_clients $uri $a { x a; }
split_clients $uri $a { 0.001% a; }
split_clients $uri a { }
limit_conn_zone $uri zone=a:1;
limit_conn_zone $uri zone=a:1m; limit_conn_zone $uri zone=a:1m;
limit_conn_zone $uri;
limit_conn_zone $none zone=a:1m;
limit_conn_zone $uri foo=a:1m;
limit_conn_zone $uri zone=a;
limit_conn a 1;
limit_conn_zone $uri zone=a:1m; limit_conn a 0;
limit_conn_zone $uri zone=a:1m; limit_conn a x;
limit_conn_zone $uri zone=a:1m; limit_conn a 70000;
limit_conn_zone $uri zone=a:1m; limit_conn a 1; limit_conn a 2;
limit_conn_status 399;
limit_conn_status 600;
limit_conn_status x;
limit_conn_log_level debug;
limit_conn_dry_run x;
allow x;
allow 1.2.3.4/33;
deny;
deny all all;
allow unix: x;
set_real_ip_from x;
set_real_ip_from 1.2.3.4/33;
real_ip_header;
real_ip_header a b;
real_ip_recursive x;
resolver;
resolver x.invalid;
resolver 127.0.0.1 valid=x;
resolver 127.0.0.1 ipv6=x;
resolver 127.0.0.1 foo=x;
resolver_timeout x;
error_log;
error_log @folder@/e foo;
types_hash_max_size x;
variables_hash_max_size 0;
server_names_hash_bucket_size x;
upstream a { }
upstream { server b:1; }
upstream a { server; }
upstream a { server 127.0.0.1:1 weight=x; }
upstream a { server 127.0.0.1:1 weight=0; }
upstream a { server 127.0.0.1:1 max_fails=x; }
upstream a { server 127.0.0.1:1 fail_timeout=x; }
upstream a { server 127.0.0.1:1 max_conns=x; }
upstream a { server 127.0.0.1:1 foo; }
upstream a { server 127.0.0.1:x; }
upstream a { server http://127.0.0.1; }
upstream a { server nohost.invalid; }
upstream a { server 127.0.0.1:1; } upstream a { server 127.0.0.1:1; }
upstream a { server 127.0.0.1:1 backup; }
upstream a { ip_hash; server 127.0.0.1:1; server 127.0.0.1:2 backup; }
upstream a { hash; server 127.0.0.1:1; }
upstream a { hash $uri x; server 127.0.0.1:1; }
upstream a { hash $none; server 127.0.0.1:1; }
upstream a { least_conn x; server 127.0.0.1:1; }
upstream a { random x; server 127.0.0.1:1; }
upstream a { random two x; server 127.0.0.1:1; }
upstream a { ip_hash; least_conn; server 127.0.0.1:1; }
upstream a { ip_hash x; server 127.0.0.1:1; }
upstream a { keepalive x; server 127.0.0.1:1; }
upstream a { keepalive; server 127.0.0.1:1; }
upstream a { server 127.0.0.1:1; keepalive_timeout x; }
upstream a { server 127.0.0.1:1; keepalive_requests x; }
upstream a { server 127.0.0.1:1; keepalive_time x; }
upstream a { zone; server 127.0.0.1:1; }
upstream a { zone b 1; server 127.0.0.1:1; }
upstream a { zone b x; server 127.0.0.1:1; }
upstream a { zone b; server 127.0.0.1:1; }
upstream a { server 127.0.0.1:1; listen 80; }
upstream a { server 127.0.0.1:1; } server { location / { proxy_pass http://a:80; } }
upstream a { server 127.0.0.1:1; } server { location / { proxy_pass http://a:90; } }
upstream a { server 127.0.0.1:1 down; server 127.0.0.1:2 backup down; }
"""
"""The inside of C{http}, a line for each."""

LOCATIONS: Final = """
proxy_pass;
proxy_pass a b;
proxy_pass a;
proxy_pass http://;
proxy_pass http:///;
proxy_pass ftp://a;
proxy_pass http://127.0.0.1:x;
proxy_pass http://127.0.0.1:70000;
proxy_pass http://127.0.0.1:0;
proxy_pass http://nohost.invalid;
proxy_pass http://nohost.invalid/x;
proxy_pass http://unix:;
proxy_pass http://unix:/a:/b;
proxy_pass http://$none;
proxy_pass http://$host$;
proxy_pass http://127.0.0.1; proxy_pass http://127.0.0.1;
proxy_pass https://127.0.0.1;
proxy_pass HTTP://127.0.0.1;
proxy_http_version 2.0;
proxy_http_version 1;
proxy_http_version;
proxy_set_header A;
proxy_set_header A $none;
proxy_set_header A b c;
proxy_set_header "" b;
proxy_hide_header;
proxy_pass_header a b;
proxy_ignore_headers X-Foo;
proxy_ignore_headers;
proxy_redirect;
proxy_redirect default;
proxy_pass http://127.0.0.1; proxy_redirect default;
proxy_redirect default; proxy_pass http://127.0.0.1;
proxy_pass http://$host; proxy_redirect default;
proxy_redirect off off;
proxy_redirect x;
proxy_redirect ~( b;
proxy_redirect ~* b;
proxy_redirect a $none;
proxy_redirect a b c;
proxy_redirect off; proxy_redirect a b;
proxy_redirect a b; proxy_redirect off;
proxy_cookie_domain a;
proxy_cookie_domain ~( b;
proxy_cookie_domain a b c;
proxy_cookie_path a;
proxy_cookie_path ~( b;
proxy_cookie_flags ~( secure;
proxy_cookie_flags;
proxy_cookie_flags off; proxy_cookie_flags a secure;
proxy_buffering x;
proxy_buffers 4;
proxy_buffers x 1k;
proxy_buffers 4 0;
proxy_buffer_size x;
proxy_buffer_size 4g2;
proxy_request_buffering x;
proxy_connect_timeout x;
proxy_read_timeout x;
proxy_send_timeout x;
proxy_next_upstream foo;
proxy_next_upstream;
proxy_next_upstream http_500 http_500;
proxy_next_upstream_tries x;
proxy_next_upstream_timeout x;
proxy_intercept_errors x;
proxy_ignore_client_abort x;
proxy_pass_request_body x;
proxy_pass_request_headers x;
proxy_method;
proxy_method $none;
proxy_set_body;
proxy_set_body $none;
proxy_bind;
proxy_bind x;
proxy_bind 127.0.0.1 x;
proxy_bind $none;
proxy_socket_keepalive x;
proxy_max_temp_file_size x;
proxy_temp_file_write_size x;
proxy_ssl_verify on; proxy_pass https://127.0.0.1;
proxy_ssl_verify x;
proxy_ssl_verify_depth x;
proxy_ssl_protocols x;
proxy_ssl_ciphers x; proxy_pass https://127.0.0.1;
proxy_ssl_certificate @a@; proxy_pass https://127.0.0.1;
proxy_ssl_certificate @a@; proxy_ssl_certificate_key @b_key@; proxy_pass https://127.0.0.1;
proxy_ssl_certificate /none; proxy_ssl_certificate_key /none; proxy_pass https://127.0.0.1;
proxy_ssl_trusted_certificate /none; proxy_ssl_verify on; proxy_pass https://127.0.0.1;
proxy_ssl_name $none; proxy_pass https://127.0.0.1;
proxy_ssl_server_name x;
proxy_ssl_session_reuse x;
proxy_ssl_crl /none; proxy_pass https://127.0.0.1;
limit_except;
limit_except FOO { }
limit_except GET { foo; }
limit_except GET { deny all; } limit_except GET { deny all; }
limit_except get { deny all; }
limit_except GET { proxy_pass http://127.0.0.1/x; }
limit_except GET { return 200; }
if ($uri) { proxy_pass http://127.0.0.1/x; }
internal x;
internal; internal;
location /b { }
location / { location = /c { } }
location /a { location /a { } location /a { } }
location = /a/b { location /a/b/c { } }
location /a { location @b { } }
location ~ ( { }
location ~ a b { }
location a b c { }
location ! a { }
location { }
location;
location @b { }
satisfy x;
default_type a b;
listen 80;
server_name a;
client_header_timeout 1;
large_client_header_buffers 4 1k;
underscores_in_headers on;
ssl_certificate a;
resolver_timeout;
client_max_body_size 1M;
client_max_body_size 1K;
client_max_body_size 1T;
client_max_body_size 9999999999999999999;
keepalive_timeout 9999999999999999999;
send_timeout 1h30m;
send_timeout 30m1h;
send_timeout 1s1;
send_timeout 5M;
"""
"""The inside of C{location /a}, a line for each."""

SERVERS: Final = """
location / { } location / { }
location = / { } location = / { }
location /a { } location ^~ /a { }
location ~ a { } location ~ a { }
location @a { proxy_pass http://127.0.0.1/; }
location ~ a { proxy_pass http://127.0.0.1/; }
location ~ a { proxy_pass http://127.0.0.1/$1; }
location ~ a { alias /x; }
location /a { location /b { } }
location ~ /a { location /b { } }
location ~* (?<uri>a) { }
location =/a { } location /a { }
location =@a { }
location ^~/a { }
location "" { }
location a { }
try_files $uri @none;
error_page 404 @none;
limit_except GET { }
proxy_pass http://127.0.0.1;
internal;
if ($uri) { proxy_pass http://127.0.0.1; }
if ($uri) { location / { } }
server { }
upstream a { }
map $uri $a { }
ssl_verify_client on;
listen 127.0.0.1:@p@ proxy_protocol;
"""
"""The inside of a C{server}, a line for each."""


class WordsTests(Differential):
    """
    Configurations.
    """

    def check_all(self, texts: str, whole: str) -> None:
        """
        @param whole: what is around each of the texts.
        """
        values: dict[str, str] = {}
        for name in ("a", "b"):
            values[name], values[f"{name}_key"] = identities()[name].write(self.path("pki"), name)
        temporary = " ".join(f"{each}_temp_path {self.folder}/{each};" for each in ("client_body", "proxy"))
        found = []
        for text in texts.strip().split("\n"):
            around = temporary if "_temp_path" not in text else ""
            for name, value in values.items():
                text = text.replace(f"@{name}@", value)
            found.append("!" + whole.replace("#", text).replace("%", around))
        self.check_verdicts(found)

    def test_http(self) -> None:
        """
        The same faults are found in C{http}.
        """
        self.check_all(HTTPS, "http { %\n#\n}\n")

    def test_locations(self) -> None:
        """
        The same faults are found in C{location}.
        """
        self.check_all(LOCATIONS, "http { %\nserver { listen 127.0.0.1:@p@; location /a {\n#\n} } }\n")

    def test_servers(self) -> None:
        """
        The same faults are found in C{server}.
        """
        self.check_all(SERVERS, "http { %\nserver {\n#\n} }\n")
