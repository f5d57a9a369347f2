"""
Do we do what nginx does, area by area? Addresses that are listened on, limits, headers, ends, choices, variables and
formats of logs; the same configurations and clients for both, see L{tests.support.differential}.
"""

from __future__ import annotations

import struct
from typing import Final

from tests.support.differential import Case, Differential
from tests.support.lies import NAMES
from tests.support.proxies import SNIPROXY
from tests.support.visits import DROP, END, HALF, Tls, Visit, hear, send, until

DIFFERENT: Final = ("other", "longchain", "selfpointer")
"""Names of which nginx believes what does not belong to them."""
V2: Final = b"\r\n\r\n\0\r\nQUIT\n"
INET: Final = bytes((192, 0, 2, 1, 192, 0, 2, 2)) + struct.pack("!HH", 1111, 2222)
PEERS: Final = ("server 127.0.0.1:@b0@ {};", "server 127.0.0.1:@b1@ {};", "server 127.0.0.1:@b2@ {};")
BYTES: Final = "'$server_port $remote_addr $status $bytes_received $bytes_sent \"$upstream_addr\"';"
GREETED: Final = (hear(b"0:"),)


def server(number: int, text: str, parameters: str = "") -> str:
    """
    A server on one of the ports.
    """
    return f"server {{ listen 127.0.0.1:@p{number}@ {parameters}; {text} }} "


def upstream(name: str, text: str, *parameters: str) -> str:
    """
    A group of three, with parameters for each.
    """
    lines = " ".join(line.format(each) for line, each in zip(PEERS, (*parameters, "", "", ""), strict=False))
    return f"upstream {name} {{ {text} {lines} }} "


def tlv(kind: int, value: bytes) -> bytes:
    """
    One of version 2.
    """
    return struct.pack("!BH", kind, len(value)) + value


def binary(body: bytes, command: int = 0x21, kind: int = 0x11) -> bytes:
    """
    A header of version 2.
    """
    return V2 + bytes((command, kind)) + struct.pack("!H", len(body)) + body


HEADERS: Final = (
    b"PROXY TCP4 192.0.2.1 192.0.2.2 1111 2222\r\n",
    b"PROXY TCP6 2001:db8::1 2001:db8::2 1 65535\r\n",
    b"PROXY TCP4 192.0.2.1 192.0.2.2 65536 1\r\n",
    b"PROXY TCP4 192.0.2.1 192.0.2.2 1 -1\r\n",
    b"PROXY TCP4 192.0.2.1 192.0.2.2 1x 1\r\n",
    b"PROXY TCP4 192.0.2.1 192.0.2.2 1 1 \r\n",
    b"PROXY TCP4 192.0.2.1  192.0.2.2 1 1\r\n",
    b"PROXY TCP4 192.0.2.1\r\n",
    b"PROXY TCP4 \r\n",
    b"PROXY TCP4\r\n",
    b"PROXY TCP4 host 192.0.2.2 1 1\r\n",
    b"PROXY TCP4 192.0.2.1 192.0.2.2 1 1\n\r",
    b"PROXY  TCP4 192.0.2.1 192.0.2.2 1 1\r\n",
    b"PROXY UNKNOWN\r\n",
    b"PROXY UNKNOWN ::1 ::1 1 1\r\n",
    b"PROXY \r\n",
    b"PROXYx",
    b"PROXY TCP4 " + b"1" * 100 + b"\r\n",
    b"PROX\r\n",
    b"HELO\r\n",
    binary(INET),
    binary(INET + tlv(4, b"\0" * 30)),
    binary(INET + tlv(1, b"h2") + tlv(0xEE, b"")),
    binary(INET + b"\x01"),
    binary(INET + b"\x01\xff\xff"),
    binary(INET, 0x20),
    binary(b"", 0x20, 0),
    binary(INET, 0x22),
    binary(INET, 0x11),
    binary(INET, 0x21, 0x12),
    binary(INET, 0x21, 0x01),
    binary(INET[:11]),
    binary(bytes(36), 0x21, 0x21),
    binary(bytes(35), 0x21, 0x21),
    binary(b"", 0x21, 0x11),
)

IN: Final = (
    Case(
        "proxy headers",
        "set_real_ip_from 127.0.0.0/30; proxy_protocol_timeout 500ms; proxy_timeout 500ms; "
        + server(0, "return '$proxy_protocol_addr $proxy_protocol_port $remote_addr $remote_port';", "proxy_protocol")
        + server(1, "proxy_pass 127.0.0.1:@b0@;", "proxy_protocol")
        + server(2, "deny 192.0.2.0/24; proxy_pass 127.0.0.1:@b0@;", "proxy_protocol")
        + server(3, "set_real_ip_from 192.0.2.1; return '$remote_addr $realip_remote_addr';", "proxy_protocol"),
        (
            *(Visit((send(header), END)) for header in HEADERS),
            *(
                Visit((send(header + b"hello"), hear(b"0:hello"), HALF, END), port)
                for port in (1, 2)
                for header in HEADERS[:2] + HEADERS[20:23]
            ),
            *(Visit((send(HEADERS[0]), END), 3, f"127.0.0.{last}") for last in (1, 3, 4)),
            *(Visit((send(HEADERS[0]), END), 0, f"127.0.0.{last}") for last in (1, 3, 4)),
            Visit((END,), 1),
            Visit((HALF, END), 1),
        ),
        "'$server_port $remote_addr $realip_remote_addr $proxy_protocol_addr $proxy_protocol_port $status';",
        ((r"(?s)broken header: \".*", "broken header"), (r".*header is too short for its addresses.*", "")),
    ),
    Case(
        "headers out",
        "proxy_timeout 500ms; "
        + server(0, "proxy_protocol on; proxy_pass 127.0.0.1:@b0@;")
        + server(1, "proxy_protocol on; proxy_pass 127.0.0.1:@b0@;", "proxy_protocol")
        + server(2, "set_real_ip_from 127.0.0.1; proxy_protocol on; proxy_pass 127.0.0.1:@b0@;", "proxy_protocol")
        + server(3, "proxy_protocol on; ssl_preread on; proxy_pass 127.0.0.1:@b0@;"),
        (
            Visit((hear(b"0:PROXY TCP4 127.0.0.1 127.0.0.1 11111 22222\r\n"), HALF, END)),
            Visit(
                (send(b"x" * 100), hear(b"0:PROXY TCP4 127.0.0.1 127.0.0.1 11111 22222\r\n" + b"x" * 100), HALF, END)
            ),
            *(
                Visit((send(header + b"more"), until(b"more"), HALF, END), port)
                for port in (1, 2)
                for header in (HEADERS[0], HEADERS[1], HEADERS[13], HEADERS[20], HEADERS[25])
            ),
        ),
        BYTES,
        ((r"client:\d+/\d+", "client:N"), (r"upstream:\d+/\d+", "upstream:N")),
    ),
)

CHOICES: Final = (
    Case(
        "weights and failures",
        upstream("a", "", "weight=7", "weight=3", "weight=1")
        + upstream("b", "", "max_conns=1", "max_conns=2", "backup")
        + "upstream c { server 127.0.0.1:@closed@ max_fails=2 fail_timeout=1h; server 127.0.0.1:@b1@ weight=2;"
        " server 127.0.0.2:@closed@; } "
        + "upstream d { least_conn; server 127.0.0.1:@closed@; server 127.0.0.1:@b1@ weight=2;"
        " server 127.0.0.1:@b2@ backup; } "
        + upstream("e", "zone e 64k;", "down", "weight=2", "weight=3")
        + upstream("f", "hash $remote_addr$server_addr;", "weight=5", "weight=2", "down")
        + upstream("g", "hash $remote_addr consistent;", "weight=5", "weight=2", "down")
        + "upstream h { hash $remote_addr; server 127.0.0.1:@closed@ weight=9; server 127.0.0.1:@b1@; } "
        + "upstream i { random; server 127.0.0.1:@b1@; server 127.0.0.1:1 down; } "
        + "upstream j { server localhost:@b0@; server unix:/nonexistent; } "
        + "upstream k { server 127.0.0.1:@closed@; server 127.0.0.1:@closed@; server 127.0.0.1:@b0@ backup; } "
        + "".join(server(number, f"proxy_pass {name};") for number, name in enumerate("abcdefghijk"))
        + server(11, "proxy_next_upstream_tries 1; proxy_pass k;")
        + server(12, "proxy_next_upstream off; proxy_pass k;"),
        (
            *(Visit(GREETED, port, times=15) for port in (0, 2, 3, 4)),
            *(Visit(GREETED, 1) for _ in range(4)),
            *(
                Visit(GREETED, port, f"127.0.{third}.{last}")
                for port in (5, 6, 7)
                for third, last in ((0, 1), (0, 9), (1, 1), (3, 200), (9, 9), (77, 254), (200, 3), (255, 255), (1, 2))
            ),
            *(Visit(GREETED, port, times=3) for port in (8, 10, 11, 12)),
        ),
        BYTES,
    ),
    Case(
        "hashes of many names",
        "map $remote_addr $key { volatile; 127.0.0.1 ''; 127.0.0.2 a; 127.0.0.3 b; ~9$ nine; default $remote_addr; } "
        + upstream("a", "hash $key;", "weight=2")
        + upstream("b", "hash $key consistent;", "weight=2")
        + upstream("c", "hash x$server_port;")
        + "upstream d { hash $key consistent; "
        + "".join(f"server 127.0.0.{number}:@closed@ weight={number}; " for number in range(1, 8))
        + "} "
        + server(0, "proxy_pass a;")
        + server(1, "proxy_pass b;")
        + server(2, "proxy_pass d;"),
        tuple(
            Visit(GREETED if port < 2 else (END,), port, f"127.0.0.{last}")
            for port in (0, 1, 2)
            for last in (*range(1, 25), 99, 128, 201, 255 - 1)
        ),
        BYTES,
    ),
)

ENDS: Final = (
    Case(
        "ends and times",
        "proxy_timeout 500ms; "
        + server(0, "proxy_pass 127.0.0.1:@b0@;")
        + server(1, "proxy_half_close on; proxy_pass 127.0.0.1:@b0@;")
        + server(2, "proxy_pass 127.0.0.1:@p3@;")
        + server(3, "return bye;")
        + server(4, "proxy_connect_timeout 500ms; proxy_pass 127.0.0.1:@closed@;")
        + server(5, "proxy_buffer_size 64; proxy_pass 127.0.0.1:@b0@;")
        + server(6, "proxy_upload_rate 100k; proxy_pass 127.0.0.1:@b0@;")
        + server(7, "proxy_socket_keepalive on; tcp_nodelay off; proxy_pass 127.0.0.1:@b0@;", "so_keepalive=on")
        + server(8, "return '';")
        + server(9, "proxy_pass unix:/nonexistent;")
        + server(10, "proxy_bind 192.0.2.1; proxy_pass 127.0.0.1:@b0@;"),
        (
            *(
                Visit(acts, port)
                for port in (0, 1, 5, 7)
                for acts in (
                    (hear(b"0:"), send(b"abc"), hear(b"abc"), HALF, END),
                    (hear(b"0:"), HALF, END),
                    (hear(b"0:"), END),
                    (hear(b"0:"), send(b"abc"), hear(b"abc"), DROP),
                    (send(b"y" * 50_000), hear(b"0:" + b"y" * 50_000), HALF, END),
                )
                if (port, acts[-1]) != (1, DROP)
            ),
            *(Visit((END,), port) for port in (2, 3, 4, 8, 9)),
            Visit((send(b"z" * 30_000), hear(b"0:" + b"z" * 30_000), HALF, END), 6),
            Visit((END,), 10),
        ),
        BYTES,
    ),
)

VALUES: Final = (
    Case(
        "forms of variables",
        r"""
        map $msec $msec_form { ~^\d+\.\d\d\d$ good; default $msec; }
        map $session_time $session_form { ~^\d\.\d\d\d$ good; default $session_time; }
        map $time_iso8601 $iso_form { "~^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d$" iso; }
        map $time_local $local_form { "~^\d\d/[A-Z][a-z][a-z]/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}$" local; }
        map $pid $pid_form { ~^\d+$ good; default $pid; }
        map $connection $connection_form { ~^\d+$ good; default $connection; }
        map $upstream_connect_time $connect_form { ~^\d\.\d\d\d$ good; default $upstream_connect_time; }
        map $upstream_first_byte_time $first_form { ~^\d\.\d\d\d$ good; default $upstream_first_byte_time; }
        map $upstream_session_time $whole_form { ~^\d\.\d\d\d$ good; default $upstream_session_time; }
        map $hostname $host_form { ~^[\w.-]+$ good; default $hostname; }
        map $remote_port $port_form { "~^\d{4,5}$" good; default $remote_port; }
        map $ssl_session_id $id_form { "~^[0-9a-f]{64}$" good; default $ssl_session_id; }
        upstream two { server 127.0.0.1:@closed@; server 127.0.0.1:@b0@; }
        ssl_certificate @a@; ssl_certificate_key @a_key@; ssl_protocols TLSv1.2; ssl_session_tickets off;
        variables_hash_bucket_size 64; variables_hash_max_size 512;
        """
        + server(0, "return $msec_form$session_form$iso_form$local_form$pid_form$connection_form$host_form$port_form;")
        + server(1, "return '$binary_remote_addr|$protocol|$server_addr|$bytes_sent|$status|$upstream_addr';")
        + server(2, "proxy_pass two;")
        + server(3, "proxy_pass 127.0.0.1:@closed@;")
        + server(4, "proxy_pass 127.0.0.1:@b0@;", "ssl")
        + server(5, "deny all; return x;"),
        (
            Visit(),
            Visit(port=1),
            Visit((send(b"abc"), hear(b"0:abc"), HALF, END), 2),
            Visit(port=3),
            Visit((hear(b"0:"),), 4, tls=Tls()),
            Visit((END,), 5),
        ),
        "'$server_port $msec_form $session_form $connect_form/$first_form/$whole_form $status $id_form "
        '"$upstream_addr" $upstream_bytes_sent/$upstream_bytes_received\';',
        ((r"^(@p2@ good good) .* (?=200 )", r"\1 FORMS "),),
    ),
    Case(
        "tables",
        r"""
        map $remote_addr $text { volatile; hostnames; default d; 127.0.0.1 "a b"; 127.0.0.2 'q"u';
            ~^127\.0\.1\.(\d+)$ c$1;
            "~*^127\.0\.2\.(?<named>\d+)" n$named; 127.0.0.4 $server_port; 127.0.0.5 ""; }
        map $remote_addr$text $joined { default no; "127.0.0.1a b" yes; }
        map "$remote_addr:$protocol" $both { default -; ~^127\.0\.0\.[12]:TCP$ low; }
        geo $zone { default none; 127.0.0.0/24 c0; 127.0.0.128/25 upper; 127.0.1.1/32 one; 127.0.0.0/30 tiny;
            delete 127.0.0.0/30; }
        geo $remote_addr $ranged { ranges; default r-; 127.0.0.0-127.0.0.4 r0; 127.0.0.5-127.0.1.0 r1;
            127.0.1.1-127.0.1.1 r2; }
        split_clients "$remote_addr" $split { 0.5% tiny; 20% a; 30.01% b; * rest; }
        split_clients "$remote_addr$zone" $none { 1% one; }
        """
        + server(0, "return '$text|$joined|$both|$named';")
        + server(1, "return '$zone|$ranged|$split|$none';")
        + server(2, "set $one $remote_addr; set $two $one-$one; set $one x; return '$one $two ${one}y';")
        + server(3, 'set $three $four; return "$three";')
        + "map $remote_addr $four { default $split; 127.0.0.3 dollar; }",
        tuple(
            Visit(port=port, source=source)
            for port in (0, 1, 2, 3)
            for source in (
                *(f"127.0.0.{last}" for last in (1, 2, 3, 4, 5, 6, 127, 128, 254)),
                *(f"127.0.1.{last}" for last in (0, 1, 2, 77)),
                *(f"127.0.2.{last}" for last in (1, 33)),
                "127.1.2.3",
                "127.9.9.9",
            )
        ),
        "'$server_port $remote_addr $text $zone $ranged $split';",
    ),
    Case(
        "forms of logs",
        r"""
        map $remote_addr $nasty { 127.0.0.1 'a"b\\c'; 127.0.0.2 "tab	end"; 127.0.0.3 "new
line"; 127.0.0.4 "ümlaut"; 127.0.0.5 ''; default plain; }
        map $remote_addr $if { 127.0.0.1 0; 127.0.0.2 1; 127.0.0.3 ''; 127.0.0.4 00; default yes; }
        log_format plain '$nasty|$upstream_addr|';
        log_format as_default escape=default '"$nasty"';
        log_format as_json escape=json '{"v":"$nasty","u":"$upstream_addr"}';
        log_format as_none escape=none $nasty;
        log_format glued 'a' 'b$status' "c";
        """
        + "".join(
            server(number, f"access_log @folder@/access.log {name}; return '';")
            for number, name in enumerate(("plain", "as_default", "as_json", "as_none", "glued"))
        )
        + server(5, "access_log @folder@/access.log glued if=$if; access_log @folder@/access.log plain; return '';")
        + server(6, "access_log off; return '';")
        + server(7, "access_log @folder@/access.log plain buffer=4k flush=1s; return '';")
        + server(8, "access_log @folder@/$protocol.log plain; return '';"),
        tuple(Visit(port=port, source=f"127.0.0.{last}") for port in range(9) for last in range(1, 7)),
        "",
    ),
    Case(
        "limits",
        "limit_conn_zone $server_port zone=one:1m; limit_conn_zone $binary_remote_addr zone=two:1m; "
        "map $remote_addr $empty { 127.0.0.1 ''; default x; } limit_conn_zone $empty zone=three:32k; "
        + server(0, "limit_conn one 1; proxy_pass 127.0.0.1:@p1@;")
        + server(1, "limit_conn two 1; proxy_pass 127.0.0.1:@p2@;")
        + server(2, "limit_conn two 1; limit_conn_log_level warn; proxy_pass 127.0.0.1:@b0@;")
        + server(3, "limit_conn two 1; limit_conn one 1; proxy_pass 127.0.0.1:@p4@;")
        + server(4, "limit_conn two 1; limit_conn_dry_run on; limit_conn_log_level notice; return x;")
        + server(5, "limit_conn three 1; proxy_pass 127.0.0.1:@p6@;")
        + server(6, "limit_conn three 1; return $limit_conn_status;")
        + server(7, "limit_conn one 2; limit_conn_dry_run on; return $limit_conn_status;"),
        tuple(Visit(port=port, source=f"127.0.0.{last}", times=2) for port in (0, 3, 5, 7) for last in (1, 2)),
        "'$server_port $remote_addr $status $limit_conn_status \"$upstream_addr\"';",
    ),
)

LIES: Final = (
    Case(
        "name servers that lie",
        "resolver 127.0.0.1:@dns@ ipv6=off; resolver_timeout 1s; proxy_timeout 1s; "
        "upstream known.test { server 127.0.0.1:@b1@; } map $remote_addr $name { "
        + "".join(f"127.0.0.{number} {name}.a.test; " for number, name in enumerate(NAMES, 1))
        + "127.0.0.99 known.test; } "
        + server(0, "proxy_pass $name:@b0@;")
        + server(1, "proxy_pass $name;"),
        (
            *(
                Visit(GREETED if good else (END,), 0, f"127.0.0.{number}")
                for number, (name, good) in enumerate(NAMES.items(), 1)
                if name not in DIFFERENT
            ),
            Visit((hear(b"1:"),), 1, "127.0.0.99"),
            Visit((END,), 1, "127.0.0.1"),
        ),
        "'$server_port $status $name \"$upstream_addr\"';",
        ((r".*(DNS response|\[error\] (recv|connect)\(\) failed .* while resolving).*", ""),),
    ),
)

ADDRESSES: Final = (
    Case(
        "addresses",
        """
        server { listen *:@p0@; return any-$server_addr; }
        server { listen 127.0.0.3:@p0@; return own-$server_addr; }
        server { listen [::1]:@p0@; return six-$server_addr-$remote_addr; }
        server { listen 127.0.0.1:@p1@; listen 127.0.0.2:@p1@; return $server_addr:$server_port; }
        server { listen [::]:@p2@ ipv6only=off; return "$remote_addr|$server_addr"; }
        server { listen unix:@socket@; return "$remote_addr|$server_addr|$server_port|$remote_port"; }
        server { listen 127.0.0.1:@p3@; proxy_pass unix:@socket@; }
        server { listen localhost:@p4@ so_keepalive=10m:20s:3 backlog=77 rcvbuf=32k sndbuf=32k; return $server_addr; }
        server { listen 127.0.0.1:@p5@ bind; return later; }
        server { listen @p6@; return "$server_addr"; }
        server { listen 127.0.0.1:@p7@; proxy_protocol on; proxy_pass [::1]:@p8@; }
        server { listen [::1]:@p8@ proxy_protocol; return "$proxy_protocol_addr $proxy_protocol_server_addr"; }
        """,
        (
            *(Visit(to=f"127.0.0.{last}") for last in (1, 2, 3, 4)),
            Visit(to="::1"),
            *(Visit(port=1, to=f"127.0.0.{last}") for last in (1, 2, 3)),
            *(Visit(port=2, to=to) for to in ("127.0.0.1", "::1", "127.0.0.9")),
            Visit(to="unix:"),
            Visit(port=3),
            Visit(port=4),
            Visit(port=5),
            Visit(port=6, to="127.0.0.5"),
            Visit(port=7),
        ),
        BYTES,
    ),
    Case(
        "what is inherited",
        """
        log_format top '$server_port $status'; log_format low '$status $remote_addr'; access_log @folder@/top.log top;
        deny 127.0.0.9; error_log @folder@/error-top.log warn; proxy_timeout 500ms; proxy_next_upstream off;
        limit_conn_zone $server_port zone=z:1m; limit_conn z 5; set_real_ip_from 127.0.0.0/8;
        server { listen 127.0.0.1:@p0@; return a; }
        server { listen 127.0.0.1:@p1@; access_log @folder@/low.log low; return b; }
        server { listen 127.0.0.1:@p2@; access_log off; deny 127.0.0.8; return c; }
        server { listen 127.0.0.1:@p3@; error_log @folder@/error-own.log info; proxy_pass 127.0.0.1:@closed@; }
        server { listen 127.0.0.1:@p4@; error_log @folder@/error-own.log crit; proxy_pass 127.0.0.1:@closed@; }
        server { listen 127.0.0.1:@p5@; proxy_next_upstream on; proxy_pass two; }
        server { listen 127.0.0.1:@p6@; proxy_pass two; }
        server { listen 127.0.0.1:@p7@; access_log @folder@/low.log low; access_log @folder@/top.log top; return d; }
        server { listen 127.0.0.1:@p8@; error_log @folder@/error-a.log error; error_log @folder@/error-b.log info;
            limit_conn z 1; proxy_pass 127.0.0.1:@closed@; }
        server { listen 127.0.0.1:@p9@; allow 127.0.0.9; deny all; return e;
            access_log @folder@/$server_port-x.log low; }
        upstream two { server 127.0.0.1:@closed@ max_fails=0; server 127.0.0.1:@b0@ backup; }
        """,
        (
            *(Visit(port=port, source=f"127.0.0.{last}") for port in (0, 1, 2, 7, 9) for last in (1, 8, 9)),
            *(Visit(port=port) for port in (3, 4, 6, 8)),
            Visit(GREETED, 5),
        ),
        BYTES,
    ),
)

VERDICTS: Final = (
    # listen
    "server { listen 127.0.0.1:@p@-1; return x; }",
    "server { listen 127.0.0.1:0; return x; }",
    "server { listen 127.0.0.1:65536; return x; }",
    "server { listen 127.0.0.1:x; return x; }",
    "server { listen [::1; return x; }",
    "server { listen [::zz]:80; return x; }",
    "server { listen 127.0.0.1:@p@ backlog=x; return x; }",
    "server { listen 127.0.0.1:@p@ reuseport ssl; ssl_certificate @folder@/nosuch; return x; }",
    "server { listen 127.0.0.1:@p@ ssl; return x; }",
    "server { listen; return x; }",
    "server { listen 127.0.0.1:@p@ so_keepalive=on:off; return x; }",
    # proxy
    "server { listen 127.0.0.1:@p@; proxy_pass; }",
    "server { listen 127.0.0.1:@p@; proxy_pass 127.0.0.1:1; proxy_pass 127.0.0.1:2; }",
    "server { listen 127.0.0.1:@p@; proxy_pass 127.0.0.1; }",
    "server { listen 127.0.0.1:@p@; proxy_pass unix:; }",
    "server { listen 127.0.0.1:@p@; proxy_pass 127.0.0.1:99999; }",
    "server { listen 127.0.0.1:@p@; proxy_timeout 0x; proxy_pass 127.0.0.1:1; }",
    "server { listen 127.0.0.1:@p@; proxy_buffer_size 0; proxy_pass 127.0.0.1:1; }",
    "server { listen 127.0.0.1:@p@; proxy_buffer_size -1; proxy_pass 127.0.0.1:1; }",
    "server { listen 127.0.0.1:@p@; proxy_half_close yes; proxy_pass 127.0.0.1:1; }",
    "server { listen 127.0.0.1:@p@; proxy_download_rate x; proxy_pass 127.0.0.1:1; }",
    "server { listen 127.0.0.1:@p@; proxy_next_upstream maybe; proxy_pass 127.0.0.1:1; }",
    "server { listen 127.0.0.1:@p@; proxy_next_upstream_tries x; proxy_pass 127.0.0.1:1; }",
    "server { listen 127.0.0.1:@p@; proxy_connect_timeout; proxy_pass 127.0.0.1:1; }",
    "server { listen 127.0.0.1:@p@; proxy_ssl_verify on; proxy_ssl on; proxy_pass 127.0.0.1:1; }",
    "server { listen 127.0.0.1:@p@; proxy_ssl on; proxy_ssl_certificate @folder@/nosuch; proxy_pass 127.0.0.1:1; }",
    "server { listen 127.0.0.1:@p@; proxy_bind 127.0.0.1 x; proxy_pass 127.0.0.1:1; }",
    "proxy_pass 127.0.0.1:1;",
    "upstream b { server 127.0.0.1:1; } upstream b { server 127.0.0.1:2; }",
    "upstream b { server 127.0.0.1:1 weight=-1; }",
    "upstream b { server 127.0.0.1:1 weight=; }",
    "upstream b { server 127.0.0.1:1 max_fails=-1; }",
    "upstream b { server 127.0.0.1:1 fail_timeout=x; }",
    "upstream b { server 127.0.0.1:99999; }",
    "upstream b { server; }",
    "upstream { server 127.0.0.1:1; }",
    "upstream b { least_conn; random; server 127.0.0.1:1; }",
    "upstream b { server 127.0.0.1:1; least_conn; }",
    "upstream b { proxy_timeout 5s; server 127.0.0.1:1; }",
    # tables
    "map $remote_addr { a b; }",
    "map $remote_addr x { a b; }",
    "map $remote_addr $x { a; }",
    "map $remote_addr $x { a b c; }",
    "map $remote_addr $x { default a; default b; }",
    "map $remote_addr $x { include /nonexistent; }",
    "map $nosuch $x { a b; }",
    "map $remote_addr $x { ~[ b; }",
    "map $remote_addr $remote_port { a b; }",
    "map $remote_addr $x { a b; } map $remote_addr $x { c d; }",
    "geo x { default a; }",
    "geo $x { 127.0.0.1 a b; }",
    "geo $x { 127.0.0.0/40 a; }",
    "geo $x { nonsense a; }",
    "geo $x { 127.0.0.1 a; 127.0.0.1 b; }",
    "geo $x { 127.0.0.1/8 a; }",
    "geo $x { ranges; 127.0.0.1 a; }",
    "geo $x { ranges; 127.0.0.1-127.0.0.5 a; 127.0.0.3-127.0.0.9 b; }",
    "split_clients $remote_addr $x { 50% a; * b; 10% c; }",
    "split_clients $remote_addr $x { 0% a; }",
    "split_clients $remote_addr $x { 50.555% a; }",
    "split_clients $remote_addr $x { x% a; }",
    "split_clients $remote_addr x { 5% a; }",
    # access, limits, set, return, realip
    "allow; deny all;",
    "allow 127.0.0.1 127.0.0.2;",
    "deny 300.0.0.1;",
    "deny ::1/129;",
    "set_real_ip_from 127.0.0.1/99;",
    "server { listen 127.0.0.1:@p@; set $x; return x; }",
    "server { listen 127.0.0.1:@p@; set x y; return x; }",
    "server { listen 127.0.0.1:@p@; set $ y; return x; }",
    "server { listen 127.0.0.1:@p@; return; }",
    "server { listen 127.0.0.1:@p@; return x y; }",
    "return x;",
    "server { listen 127.0.0.1:@p@; return $; }",
    "server { listen 127.0.0.1:@p@; return ${; }",
    # logs
    "access_log;",
    "access_log @folder@/x;",
    "access_log @folder@/x nosuch;",
    "log_format x; access_log @folder@/x x;",
    "log_format x '$nosuch';",
    "log_format x a; log_format x b;",
    "log_format x escape=html a;",
    "log_format x a; access_log @folder@/x x buffer=x;",
    "log_format x a; access_log @folder@/x x gzip=10;",
    "log_format x a; access_log @folder@/x x flush=1s;",
    "log_format x a; access_log @folder@/x x buffer=1k flush=x;",
    "log_format x a; access_log @folder@/x x if=;",
    "log_format x a; access_log @folder@/x x nonsense;",
    "log_format x a; access_log syslog:x x;",
    "log_format x a; access_log syslog:server=127.0.0.1,facility=x x;",
    "log_format x a; access_log syslog:server=127.0.0.1,severity=x x;",
    "log_format x a; access_log off x;",
    "open_log_file_cache;",
    "open_log_file_cache max=x;",
    "open_log_file_cache inactive=5s;",
    "open_log_file_cache max=5 min_uses=x;",
    "error_log @folder@/x verbose;",
    "error_log;",
    # ssl
    "ssl_protocols TLSv9;",
    "ssl_verify_client maybe;",
    "ssl_verify_depth x;",
    "ssl_session_cache shared:x;",
    "ssl_session_cache shared::1m;",
    "ssl_session_cache builtin:x;",
    "ssl_session_cache shared:x:1k;",
    "ssl_session_cache nonsense;",
    "ssl_session_timeout x;",
    "ssl_handshake_timeout -1;",
    "ssl_prefer_server_ciphers maybe;",
    "ssl_ciphers;",
    "ssl_conf_command MinProtocol;",
    "ssl_preread maybe;",
    "preread_buffer_size 1x;",
    "preread_timeout 5 s;",
    "proxy_protocol_timeout x;",
    "tcp_nodelay maybe;",
    "variables_hash_max_size x;",
    "map_hash_max_size x; map_hash_bucket_size 64;",
    # grammar
    "server { listen 127.0.0.1:@p@; return x; } }",
    "server { listen 127.0.0.1:@p@; return x;",
    "nonsense on;",
    "server nonsense { }",
    "server;",
    "server { server { } }",
    "upstream b { server 127.0.0.1:1; upstream c { } }",
    "server { listen 127.0.0.1:@p@; return 'x; }",
    "stream { }",
    "{ }",
    ";",
    "include /nonexistent/x.conf;",
    "!stream { } nonsense;",
    "!worker_processes 1; worker_processes 1; stream { }",
    "!worker_rlimit_nofile x; stream { }",
    "!error_log stderr nonsense; stream { }",
    "!stream x { }",
)


class Same(Differential):
    """
    No difference that is not named.
    """

    def test_headers(self) -> None:
        """
        The PROXY protocol, in and out.
        """
        self.check(IN)

    def test_choices(self) -> None:
        """
        Whom a session goes to, and where next.
        """
        self.check(CHOICES)

    def test_ends(self) -> None:
        """
        How sessions end.
        """
        self.check(ENDS)

    def test_values(self) -> None:
        """
        Variables, tables, limits and the lines of access logs.
        """
        self.check(VALUES)

    def test_addresses(self) -> None:
        """
        What is listened on, and what servers inherit.
        """
        self.check(ADDRESSES)

    def test_lies(self) -> None:
        """
        What is made of the answers of name servers.
        """
        self.check(LIES)

    def test_verdicts(self) -> None:
        """
        Configuration tests say the same, on the same lines.
        """
        self.check_verdicts(VERDICTS)


class Newer(Differential):
    """
    What only newer versions of nginx know than Debian's.
    """

    def test_verdicts(self) -> None:
        """
        What tunes tables and caches is accepted, and checked.
        """
        for text, said in (
            ("server_names_hash_max_size 1024; server_names_hash_bucket_size 128;", ""),
            ("server_names_hash_max_size x;", '"server_names_hash_max_size" directive invalid number in F:2'),
            ("server_names_hash_bucket_size x;", '"server_names_hash_bucket_size" directive invalid number in F:2'),
            ("!ssl_object_cache_inheritable off; stream { }", ""),
            (
                "ssl_object_cache_inheritable off;",
                '"ssl_object_cache_inheritable" directive is not allowed here in F:2',
            ),
        ):
            self.assertEqual(self.verdict(SNIPROXY, "newer", text), said, text)
