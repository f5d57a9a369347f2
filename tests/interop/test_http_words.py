"""
Do nginx and we find the same faults in what C{http} says of files, rewriting and pages?

Strategy: nginx's first complaint is what it says, so there is one fault in each text, on a line of its own.
"""

from __future__ import annotations

from typing import Final

from tests.support.differential import Differential

SERVERS: Final = """
return 1000;
return x;
return http://h x;
return;
rewrite ^ a sometimes;
rewrite ^ "";
rewrite a;
rewrite "a(" b;
rewrite ^ $nope;
set a b;
set $ b;
set $uri b;
set $a;
set $a $nope;
set $args x;
set $http_x 1;
set $arg_x 1;
break x;
if a { }
if ($a) { }
if ($uri { }
if () { }
if ( ) { }
if ($) { }
if ($uri b) { }
if ($uri == b) { }
if ($uri = b c) { }
if ($uri ~ "b(") { }
if (-g /a) { }
if (-f) { }
if (-f a b) { }
if (!f /a) { }
if (${uri}) { }
if ($uri) { if ($uri) { } }
if ($uri) { root /x; }
if ($uri) { add_header a b; }
location / { if ($uri) { add_header a b; error_page 404 /x; expires 1h; root /x; } }
location / { if ($uri) { alias /x; } }
location / { if ($uri) { index x; } }
location / { if ($uri) { try_files a b; } }
location / { if ($uri) { default_type x; } }
location / { if ($uri) { etag on; } }
location / { if ($uri) { log_not_found on; } }
location / { if ($uri) { sendfile on; } }
location / { if ($uri) { internal; } }
location / { if ($uri) { recursive_error_pages on; } }
location / { if ($uri) { rewrite_log on; uninitialized_variable_warn off; } }
if ($uri) { rewrite_log on; uninitialized_variable_warn off; }
alias /x;
location /a { alias /x; root /y; }
location /a { root /x; alias /y; }
location /a { root /x; root /y; }
location @a { alias /x; }
root $document_root;
root $realpath_root/x;
index /a b;
index "";
index a a;
try_files a;
try_files a =x;
try_files a =1000;
try_files a b; try_files a b;
error_page /a;
error_page x /a;
error_page 200 /a;
error_page 499 /a;
error_page 404 =x /a;
error_page =200 /a;
error_page 404 = /a;
error_page 600 /a;
error_page 404 $nope;
recursive_error_pages x;
add_header A;
add_header A b never;
add_header A $nope;
add_trailer A b never;
expires soon;
expires created 1h;
expires modified @1h;
expires @25h;
expires max; expires off;
expires;
if_modified_since x;
etag x;
max_ranges x;
log_not_found x;
open_file_cache max=10; open_file_cache_valid 10; open_file_cache_min_uses 1; open_file_cache_errors on;
sendfile x;
sendfile on; sendfile_max_chunk 1m; directio 4m; output_buffers 2 32k; aio off; read_ahead 1;
tcp_nopush on; postpone_output 1460; directio off; directio_alignment 512;
types { a; }
types { a b; c b; }
types { a b { } }
types x { }
default_type;
default_type a; default_type b;
default_type "";
directio x;
output_buffers 2;
location / { set $x $y; } location /b { set $y 1; }
location ~ (?<uri>x) { }
rewrite (?<uri>x) /y;
rewrite (?<host>x) /y; set $host y;
rewrite (?<mine>x) /y$mine; set $mine y;
"""
"""The inside of a C{server}, a line for each."""

TEMPORARY: Final = " ".join(f"{each}_temp_path @folder@/{each};" for each in ("client_body", "proxy"))


class WordsTests(Differential):
    """
    Configurations.
    """

    def test_verdicts(self) -> None:
        """
        The same faults are found, in the same words and lines, and what is right is taken by both.
        """
        texts = SERVERS.strip().split("\n")
        self.assertGreater(len(texts), 90)
        self.check_verdicts([f"!http {{ {TEMPORARY}\nserver {{\n{text} }} }}\n" for text in texts])
