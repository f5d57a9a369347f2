"""
Do we do what nginx does? The same configurations and the same clients for both; see L{tests.support.differential}.
"""

from __future__ import annotations

from typing import Final

from tests.support.clients import hello, records
from tests.support.differential import Case, Differential
from tests.support.visits import END, HALF, Visit, hear, send

VERDICTS: Final = (
    "server { listen 127.0.0.1:@p@ backlog=0; return x; }",
    "server { listen 127.0.0.1:@p@ backlog=-1; return x; }",
    "server { listen 127.0.0.1:@p@ rcvbuf=0 sndbuf=1m; return x; }",
    "server { listen 127.0.0.1:@p@ rcvbuf=1g; return x; }",
    "server { listen 127.0.0.1:@p@ sndbuf=; return x; }",
    "server { listen 127.0.0.1:@p@ fastopen=-1; return x; }",
    "server { listen 127.0.0.1:@p@ so_keepalive=10; return x; }",
    "server { listen 127.0.0.1:@p@ so_keepalive=10m:20s:30; return x; }",
    "server { listen 127.0.0.1:@p@ so_keepalive=::; return x; }",
    "server { listen 127.0.0.1:@p@ so_keepalive=0:0:0; return x; }",
    "server { listen 127.0.0.1:@p@ so_keepalive=10:20:30:40; return x; }",
    "server { listen 127.0.0.1:@p@ so_keepalive=a:b:c; return x; }",
    "server { listen 127.0.0.1:@p@ default; return x; }",
    "server { listen 127.0.0.1:@p@ setfib=1; return x; }",
    "server { listen 127.0.0.1:@p@ ipv6only=of; return x; }",
    "server { listen 127.0.0.1:@p@ proxy_protocol=on; return x; }",
    "server { listen unix:@folder@/a so_keepalive=on; return x; }",
    "server { listen unix:; return x; }",
    "server { listen 127.0.0.1:-1; return x; }",
    "server { listen nosuch.invalid:1; return x; }",
    "server {\n return x;\n}",
    "server { listen 127.0.0.1:@p@; return x; return y; }",
    "server { listen 127.0.0.1:@p@; proxy_pass [::1]; }",
    "server { listen 127.0.0.1:@p@; proxy_pass 127.0.0.1:80/x; }",
    "server { listen 127.0.0.1:@p@; proxy_pass $nope; }",
    'server { listen 127.0.0.1:@p@; return "${a b}"; }',
    "server { listen 127.0.0.1:@p@; return x }",
    "server { listen 127.0.0.1:@p@; return 'x'y; }",
    "server { listen 127.0.0.1:@p@; set $remote_addr 5; return x; }",
    "server { listen 127.0.0.1:@p@;\n proxy_timeout\n 5q\n;\n return x; }",
    "server { listen 127.0.0.1:@p@; proxy_upstream_buffer 4k; return x; }",
    "server { listen 127.0.0.1:@p@; proxy_upstream_buffer 4k; proxy_buffer_size 8k; return x; }",
    "server { listen 127.0.0.1:@p@; proxy_requests x; return x; }",
    "server { listen 127.0.0.1:@p@; allow 127.0.0.0/33; return x; }",
    "server { listen 127.0.0.1:@p@; allow 127.0.0.1/8; return x; }",
    "server { listen 127.0.0.1:@p@; set_real_ip_from x; return x; }",
    "upstream b {\n}",
    "upstream b {\n server 127.0.0.1:1;\n\n server 127.0.0.1:2 foo;\n}",
    "upstream b { zone b 64k; zone c 64k; server 127.0.0.1:1; }",
    "upstream b { server foo.invalid; }",
    "upstream b { server $remote_addr; }",
    "upstream b { server 127.0.0.1:1 fail_timeout=100ms; }",
    "upstream b { hash $remote_addr; hash $remote_addr; server 127.0.0.1:1; }",
    "upstream b { least_conn; least_conn; server 127.0.0.1:1; }",
    "upstream b { random; least_conn; server 127.0.0.1:1; }",
    "upstream b { hash $remote_addr; server 127.0.0.1:1; server 127.0.0.1:2 backup; }",
    "upstream b { server 127.0.0.1:1; } server { listen 127.0.0.1:@p@; proxy_pass b:80; }",
    "split_clients $remote_addr $x {\n60% a;\n60% b;\n}",
    "map $remote_addr $x { a b; A c; }",
    "map $remote_addr $x { hostnames; *.a.b c; .a.b d; }",
    "map $remote_addr $x { ~( c; }",
    "geo $x { default a; default b; }",
    "geo $x { ranges; 127.0.0.5-127.0.0.1 a; }",
    "limit_conn_zone $remote_addr zone=z:1m; server { listen 127.0.0.1:@p@; return x; limit_conn y 1; }",
    "!worker_processes x; stream { }",
    "!stream { }\nstream { }",
)
"""What a configuration test says: one fault or oddity in each. Insides of C{stream}, or whole files after C{!}."""

V1: Final = b"PROXY TCP4 192.0.2.1 192.0.2.2 1111 2222\r\n"
V2: Final = b"\r\n\r\n\0\r\nQUIT\n"
PEERS: Final = "server 127.0.0.1:@b0@; server 127.0.0.1:@b1@; server 127.0.0.1:@b2@;"
SHUT: Final = "server 127.0.0.1:@closed@; server 127.0.0.2:@closed@; server 127.0.0.3:@closed@ {};"
CHAINED: Final = b"PROXY TCP4 127.0.0.5 127.0.0.1 33333 22222\r\nhello"
"""As long as what comes back through two proxies: all ports have five digits."""
GREETED: Final = (hear(b"0:"),)
TALK: Final = (hear(b"0:"), send(b"hello"), hear(b"hello"), HALF, END)


def server(number: int, text: str, parameters: str = "") -> str:
    """
    A server on one of the ports.
    """
    return f"server {{ listen 127.0.0.1:@p{number}@ {parameters}; {text} }} "


def upstream(name: str, text: str) -> str:
    """
    A group.
    """
    return f"upstream {name} {{ {text} }} "


def clients(*last: int, acts: tuple[tuple[str, bytes], ...] = (END,), port: int = 0) -> tuple[Visit, ...]:
    """
    Visits from 127.0.0.x.
    """
    return tuple(Visit(acts, port, f"127.0.0.{number}") for number in last)


CASES: Final = (
    Case(
        "passing",
        server(0, "proxy_pass 127.0.0.1:@b0@;")
        + server(1, "proxy_half_close on; proxy_pass 127.0.0.1:@b0@;")
        + server(2, "proxy_timeout 300ms; proxy_pass 127.0.0.1:@b0@;")
        + server(3, "proxy_download_rate 50000; proxy_pass 127.0.0.1:@b0@;"),
        (
            Visit(TALK),
            Visit((send(b"x" * 99998), hear(b"x" * 100000), HALF, END)),
            Visit(TALK, 1),
            Visit(port=2),
            Visit((hear(b"0:"), send(b"x" * 20000), hear(b"x" * 20000), HALF, END), 3),
        ),
    ),
    Case(
        "turns",
        upstream("a", "server 127.0.0.1:@b0@ weight=5; server 127.0.0.1:@b1@; server 127.0.0.1:@b2@ weight=2;")
        + upstream("b", "server 127.0.0.1:@closed@ weight=3 max_fails=2; server 127.0.0.1:@b1@;")
        + upstream("c", "server 127.0.0.1:@closed@; server 127.0.0.1:@b1@ backup; server 127.0.0.1:@b2@ backup;")
        + upstream("d", "least_conn; server 127.0.0.1:@b0@ weight=2; server 127.0.0.1:@b1@; server 127.0.0.1:1 down;")
        + "".join(server(number, f"proxy_pass {name};") for number, name in enumerate("abcd")),
        tuple(Visit(GREETED, number, times=9) for number in range(4)),
    ),
    Case(
        "nobody",
        upstream("a", SHUT.format("down"))
        + upstream("b", SHUT.format("max_fails=0"))
        + upstream("c", "server 127.0.0.1:@closed@;")
        + upstream("d", "least_conn; server 127.0.0.1:@b0@ down; server 127.0.0.1:@b1@ down;")
        + server(0, "proxy_pass a;")
        + server(1, "proxy_next_upstream_tries 2; proxy_pass b;")
        + server(2, "proxy_next_upstream off; proxy_pass c;")
        + server(3, "proxy_pass d;"),
        tuple(Visit((END,), number, times=4) for number in range(4)),
    ),
    Case(
        "hashes",
        upstream("a", "hash $remote_addr; " + PEERS)
        + upstream("b", "hash $remote_addr; " + PEERS + " server 127.0.0.1:@closed@; server 127.0.0.1:2 down;")
        + upstream("c", "hash $remote_addr consistent; server 127.0.0.1:1; server 127.0.0.2:2 weight=3;")
        + upstream("d", "hash $no_name; " + PEERS)
        + "map $remote_addr $no_name { nobody 1; } "
        + "".join(server(number, f"proxy_pass {name};") for number, name in enumerate("abcd")),
        clients(*range(1, 12), acts=GREETED)
        + clients(*range(1, 12), acts=GREETED, port=1)
        + clients(*range(1, 12), port=2)
        + clients(1, 2, 3, acts=GREETED, port=3),
    ),
    Case(
        "named by variables",
        upstream("b", "server 127.0.0.1:@b0@;")
        + """map $remote_addr $to {
            127.0.0.1 b; 127.0.0.2 127.0.0.1:@b1@; 127.0.0.3 ''; 127.0.0.4 nosuch; 127.0.0.5 host:80;
            127.0.0.6 127.0.0.1; 127.0.0.7 127.0.0.1:x; 127.0.0.8 unix:/nonexistent; 127.0.0.9 B; 127.0.0.10 b:80;
            127.0.0.11 [::1]:1; 127.0.0.12 127.0.0.1:0; 127.0.0.13 :80; 127.0.0.14 unix:;
        }
        map $remote_addr $from { 127.0.0.1 127.0.0.77; 127.0.0.2 ''; 127.0.0.3 x; 127.0.0.4 127.0.0.1:0; }
        """
        + server(0, "proxy_pass $to;")
        + server(1, "proxy_bind $from; proxy_pass 127.0.0.1:@p2@;")
        + server(2, "return $remote_addr;"),
        clients(*range(1, 15), acts=GREETED) + clients(1, 2, 3, 4, port=1),
    ),
    Case(
        "headers",
        server(0, "proxy_pass 127.0.0.1:@b0@;", "proxy_protocol")
        + server(1, "set_real_ip_from 127.0.0.0/8; return '$remote_addr $realip_remote_addr';", "proxy_protocol")
        + server(2, "proxy_protocol on; proxy_pass 127.0.0.1:@p3@;")
        + server(3, "return '$proxy_protocol_addr $proxy_protocol_server_addr';", "proxy_protocol"),
        tuple(
            visit
            for header in (
                V1,
                b"PROXY UNKNOWN a b\r\n",
                b"PROXY TCP6 ::1 ::2 1 2\r\n",
                b"PROXY TCP4 192.0.2.444 192.0.2.2 1 2\r\n",
                b"PROXY TCP4 192.0.2.1 192.0.2.2 01 0\r\n",
                V2 + b"\x21\x11\0\x0c\1\2\3\4\5\6\7\x08\0\x50\0\x51",
                V2 + b"\x20\0\0\0",
                V2 + b"\x21\0\0\0",
                V2 + b"\x21\x31\0\3abc",
                V2 + b"\x22\x11\0\x0c\1\2\3\4\5\6\7\x08\0\x50\0\x51",
            )
            for visit in (Visit((send(header + b"abc"), hear(b"0:abc"), HALF, END)), Visit((send(header), END), 1))
        )
        + clients(1, port=2),
        "'$remote_addr $status $bytes_received $bytes_sent $proxy_protocol_addr';",
    ),
    Case(
        "values",
        """
        map $remote_addr $m {
            default d; 127.0.0.2 two; "~^127\\.0\\.0\\.(?<n>\\d)$" n$n; ~*X x; "127.0.0.22" "q q";
        }
        map $m $k { hostnames; default none; two TWO; n3 $remote_addr-$m; .example.com e; }
        geo $g { default d; 127.0.0.0/8 eight; 127.0.0.2 two; }
        geo $x $y { ranges; default n; 127.0.0.1-127.0.0.3 low; 127.0.0.4-127.0.0.255 high; }
        map $remote_addr $x { default $remote_addr; 127.0.0.9 bogus; 127.0.0.8 ::1; }
        split_clients $remote_addr$server_addr $s { 10% a; 33.33% b; 0.01% c; * d; }
        split_clients $remote_addr $t { 50% x; }
        """
        + server(0, "return $m/$k/$n;")
        + server(1, "return '$g $y $s $t';")
        + server(2, "set $a x$remote_addr; set $b ${a}y; set $a 2; return $b-$a$c;")
        + server(3, "set $c 5; return $c$1.$Remote_Addr;"),
        clients(1, 2, 3, 22, 33) + clients(*range(1, 20), port=1) + clients(1, port=2) + clients(1, port=3),
    ),
    Case(
        "quotes",
        "log_format j escape=json '$q'; log_format n escape=none '$q|$status'; log_format d '$q'; "
        + server(0, 'return "a\\"b\\\'c\\\\d\\te\\qf";')
        + server(1, "return 'a;b{c}#d';")
        + server(2, 'return a\\ b\\;c\\"d;')
        + server(
            3,
            "set $q '\"a\\\\b\\nc\\x01\u00e9\"'; access_log @folder@/access.log j; access_log @folder@/access.log n;"
            ' access_log @folder@/access.log d; return "$q ${protocol}x$server_addr.-";',
        ),
        tuple(Visit(port=number) for number in range(4)),
    ),
    Case(
        "who may",
        "limit_conn_zone $server_port zone=z:1m; deny 127.0.0.9; "
        + server(0, "allow 127.0.0.2; deny 127.0.0.0/28; return x;")
        + server(1, "limit_conn z 1; proxy_pass 127.0.0.1:@p1@;")
        + server(2, "limit_conn z 1; limit_conn_dry_run on; return x;")
        + server(3, "proxy_pass 127.0.0.1:@b0@;"),
        clients(1, 2, 9, 40) + clients(1, port=1) + clients(1, 9, port=2) + clients(9, port=3),
        "'$remote_addr $status $bytes_sent $limit_conn_status';",
    ),
    Case(
        "first bytes",
        "map $ssl_preread_server_name $n { hostnames; default none; *.example.com some; ~^b(?<d>\\d)\\. digit$d; } "
        + server(0, "ssl_preread on; return '$n|$ssl_preread_server_name|$ssl_preread_alpn_protocols|';")
        + server(1, "ssl_preread on; return '$ssl_preread_protocol|';")
        + server(2, "ssl_preread on; preread_timeout 300ms; return '$bytes_received $status|';")
        + server(3, "ssl_preread on; preread_buffer_size 16; return x;"),
        tuple(
            Visit((send(first), END), number)
            for number, firsts in enumerate(
                (
                    (
                        hello("a.example.com", alpn=["h2", "x,y"]),
                        hello("B7.EXAMPLE.org"),
                        hello(None),
                        b"GET / \r\n",
                        records(hello("www.a.example.com"), 7),
                    ),
                    (hello(version="TLSv1.2"), hello(version="TLSv1.3"), hello()),
                    (b"", b"\x80\x2e\x01\x03\x01", b"\x15\x03\x01\0\x02\x01\0"),
                    (b"\x16\x03\x01\x02\0\x01\0\x01" + b"x" * 40,),
                )
            )
            for first in firsts
        ),
        "'$remote_addr $status $bytes_sent $ssl_preread_server_name';",
    ),
    Case(
        "logs and chains",
        "map $remote_addr $log { 127.0.0.1 0; 127.0.0.2 ''; default 1; } log_format f '$remote_addr $status'; "
        + server(0, "access_log @folder@/access.log f if=$log; return x;")
        + server(1, "access_log off; return y;")
        + server(2, "proxy_protocol on; access_log off; proxy_pass 127.0.0.1:@p3@;")
        + server(
            3,
            "set_real_ip_from 127.0.0.1; proxy_protocol on; access_log @folder@/access.log f;"
            " proxy_pass 127.0.0.1:@b0@;",
            "proxy_protocol",
        ),
        clients(1, 2, 3)
        + clients(4, port=1)
        + clients(5, acts=(hear(b"0:"), send(b"hello"), hear(CHAINED), HALF, END), port=2),
        "",
    ),
)


class Same(Differential):
    """
    No difference that is not named.
    """

    def test_verdicts(self) -> None:
        """
        Configuration tests say the same, on the same lines.
        """
        self.check_verdicts(VERDICTS)

    def test_behaviour(self) -> None:
        """
        Clients hear the same, and the logs tell the same.
        """
        self.check(CASES)
