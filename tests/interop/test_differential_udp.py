"""
Do datagrams fare as with nginx? The same configurations and the same clients for both: what comes back, to whom
sessions go, when they end and what is written about them, see L{tests.support.differential}.
"""

from __future__ import annotations

from typing import Final

from tests.support.differential import Case, Differential
from tests.support.visits import QUIET, Act, Visit, hear, send, wait

VALUES: Final = (
    '\'$server_port $remote_addr $protocol $status $bytes_received/$bytes_sent "$upstream_addr"'
    " $upstream_bytes_sent/$upstream_bytes_received $server_addr';"
)
PEERS: Final = "server 127.0.0.1:@d0@; server 127.0.0.1:@d1@; server 127.0.0.1:@d2@;"


def server(number: int, text: str, parameters: str = "") -> str:
    """
    A server of datagrams on one of the ports.
    """
    return f"server {{ listen 127.0.0.1:@u{number}@ udp {parameters}; {text} }} "


def upstream(name: str, text: str) -> str:
    """
    A group.
    """
    return f"upstream {name} {{ {text} }} "


def say(*texts: bytes) -> tuple[Act, ...]:
    """
    Datagrams, each answered by one.
    """
    return tuple(act for text in texts for act in (send(text), hear()))


def come(*acts: Act, port: int = 0, source: str = "127.0.0.1", times: int = 1) -> Visit:
    """
    A client.
    """
    return Visit(acts, port, source, times, udp=True)


CASES: Final = (
    Case(
        "sessions",
        "proxy_timeout 300ms; "
        + server(0, "proxy_pass 127.0.0.1:@d0@;")
        + server(1, "proxy_responses 1; proxy_pass 127.0.0.1:@d0@;")
        + server(2, "proxy_responses 0; proxy_pass 127.0.0.1:@d0@;")
        + server(3, "proxy_responses 2; proxy_pass 127.0.0.1:@twice@;")
        + server(4, "proxy_requests 2; proxy_pass 127.0.0.1:@d0@;")
        + server(5, "proxy_requests 2; proxy_responses 1; proxy_pass 127.0.0.1:@d0@;")
        + server(6, "proxy_requests 1; proxy_responses 0; proxy_pass 127.0.0.1:@d0@;")
        + server(7, "proxy_responses 2; proxy_pass 127.0.0.1:@d0@;")
        + server(8, "proxy_responses 3; proxy_pass 127.0.0.1:@twice@;")
        + server(9, "proxy_requests 3; proxy_responses 1; proxy_pass 127.0.0.1:@mute@;")
        + server(10, "proxy_pass 127.0.0.1:@mute@;")
        + server(11, "proxy_timeout 1s; proxy_pass 127.0.0.1:@d0@;"),
        (
            come(*say(b"", b"a", b"b" * 1000)),
            come(*say(b"a"), wait(0.8), *say(b"b")),
            come(*say(b"a"), wait(0.7), *say(b"b"), wait(0.7), *say(b"c"), port=11),
            *(come(*say(b"one", b"two", b"three"), port=port) for port in (1, 4, 5)),
            come(send(b"a"), QUIET, send(b"b"), QUIET, port=2),
            come(send(b"a"), hear(), hear(), send(b"b"), hear(), hear(), port=3),
            come(send(b"a"), send(b"b"), send(b"c"), QUIET, port=6),
            come(*say(b"a"), wait(0.8), *say(b"b"), port=7),
            come(send(b"a"), hear(), hear(), wait(0.8), port=8),
            come(send(b"a"), send(b"b"), send(b"c"), send(b"d"), wait(0.8), send(b"e"), wait(0.8), port=9),
            come(send(b"a"), wait(0.2), send(b"b"), wait(0.8), port=10),
        ),
        VALUES,
    ),
    Case(
        "peers",
        "proxy_timeout 300ms; proxy_responses 1; map $remote_addr $to { 127.0.0.1 b; 127.0.0.2 127.0.0.1:@d1@; "
        "127.0.0.3 ''; 127.0.0.4 nosuch; 127.0.0.5 127.0.0.1:0; 127.0.0.6 unix:/nonexistent; } "
        + upstream("a", "server 127.0.0.1:@d0@ weight=3; server 127.0.0.1:@d1@; server 127.0.0.1:@d2@ weight=2;")
        + upstream("b", "hash $remote_addr; " + PEERS)
        + upstream("c", "hash $remote_addr consistent; " + PEERS.replace("@d2@;", "@d2@ weight=4;"))
        + upstream("d", "least_conn; " + PEERS)
        + upstream("e", "server 127.0.0.1:@d0@ down; server 127.0.0.1:@d1@ backup; server 127.0.0.1:@d2@ backup;")
        + upstream("f", "server 127.0.0.1:@d0@ down; server 127.0.0.1:@d1@ down;")
        + "".join(server(number, f"proxy_pass {name};") for number, name in enumerate("abcdef"))
        + server(6, "proxy_pass $to;"),
        (
            *(come(*say(b"x"), port=port, times=12) for port in (0, 3, 4)),
            *(
                come(*say(b"x"), port=port, source=f"127.0.0.{last}")
                for port in (1, 2)
                for last in (*range(1, 12), 77, 200, 254)
            ),
            come(send(b"x"), QUIET, port=5, times=2),
            come(*say(b"x"), port=6),
            come(*say(b"x"), port=6, source="127.0.0.2"),
            *(come(send(b"x"), QUIET, port=6, source=f"127.0.0.{last}") for last in (3, 4, 5, 6)),
        ),
        VALUES,
    ),
    Case(
        "nobody there",
        "proxy_timeout 300ms; "
        + upstream("a", "server 127.0.0.1:@closed_udp@; server 127.0.0.1:@d1@;")
        + upstream("b", "server 127.0.0.1:@closed_udp@ max_fails=0; server 127.0.0.1:@d1@;")
        + upstream("c", "server 127.0.0.1:@mute@; server 127.0.0.1:@d1@;")
        + server(0, "proxy_pass 127.0.0.1:@closed_udp@;")
        + server(1, "proxy_responses 1; proxy_pass 127.0.0.1:@closed_udp@;")
        + server(2, "proxy_responses 1; proxy_pass a;")
        + server(3, "proxy_responses 1; proxy_pass b;")
        + server(4, "proxy_responses 1; proxy_pass c;")
        + server(5, "proxy_responses 1; proxy_next_upstream off; proxy_pass c;"),
        (
            come(*say(b"x"), port=1),
            *(come(*say(b"x"), port=2) for _ in range(3)),
            *(come(*say(b"x"), port=3) for _ in range(4)),
            *(come(send(b"x"), wait(0.8), port=port) for port in (4, 5)),
            *(come(*say(b"x"), port=port) for port in (4, 5) for _ in range(3)),
        ),
        VALUES,
    ),
    Case(
        "who may",
        "proxy_timeout 300ms; limit_conn_zone $binary_remote_addr zone=z:1m;"
        " geo $where { default out; 127.0.0.0/28 in; 127.0.0.3 three; }"
        " split_clients $remote_addr $part { 50% a; * b; } "
        + server(0, "allow 127.0.0.2; deny 127.0.0.0/28; return ok;")
        + server(1, "limit_conn z 1; proxy_pass 127.0.0.1:@d0@;")
        + server(2, "limit_conn z 1; limit_conn_dry_run on; return $limit_conn_status;")
        + server(3, "return '$protocol $where $part $bytes_received $remote_addr $server_addr $status';")
        + server(4, "set $a $bytes_received; return '';")
        + server(5, "deny all; proxy_pass 127.0.0.1:@d0@;")
        + server(6, "limit_conn z 1; limit_conn_log_level info; proxy_pass 127.0.0.1:@d1@;"),
        (
            *(come(send(b"x"), QUIET, source=f"127.0.0.{last}") for last in (1, 2, 15, 16)),
            come(*say(b"x", b"y"), port=1),
            come(send(b"x"), QUIET, port=6),
            come(send(b"x"), QUIET, port=2),
            *(come(*say(b"hello"), port=3, source=f"127.0.0.{last}") for last in (1, 3, 15, 16, 77)),
            come(send(b"hello"), QUIET, port=4),
            come(send(b"hello"), QUIET, port=5),
        ),
        VALUES.replace("$server_addr", "$server_addr $limit_conn_status"),
    ),
    Case(
        "headers and addresses",
        "proxy_timeout 300ms; "
        + server(0, "proxy_protocol on; proxy_pass 127.0.0.1:@d0@;")
        + server(1, "proxy_bind 127.0.0.9; proxy_pass 127.0.0.1:@u2@;")
        + server(2, "return '$remote_addr $bytes_received';")
        + server(3, "proxy_bind $remote_addr; proxy_responses 1; proxy_pass 127.0.0.1:@u2@;")
        + server(4, "proxy_download_rate 2000; proxy_responses 1; proxy_pass 127.0.0.1:@d0@;")
        + server(5, "proxy_buffer_size 20k; proxy_pass 127.0.0.1:@d0@;"),
        (
            come(*say(b"a", b"b")),
            come(*say(b"aa"), port=1),
            *(come(*say(b"aaa"), port=3, source=f"127.0.0.{last}") for last in (1, 5)),
            come(*say(b"a" * 1000, b"b" * 1000), port=4),
            come(*say(*(b"x" * size for size in (1, 1472, 9000, 16384))), port=5),
        ),
        VALUES.replace(" $remote_addr", ""),
    ),
)

VERDICTS: Final = (
    "server { listen 127.0.0.1:@p@ udp ssl; return x; }",
    "server { listen 127.0.0.1:@p@ udp backlog=5; return x; }",
    "server { listen 127.0.0.1:@p@ udp so_keepalive=on; return x; }",
    "server { listen 127.0.0.1:@p@ udp proxy_protocol; return x; }",
    "server { listen 127.0.0.1:@p@ udp fastopen=5; return x; }",
    "server { listen 127.0.0.1:@p@ udp reuseport; return x; }",
    "server { listen 127.0.0.1:@p@ udp rcvbuf=64k sndbuf=64k; return x; }",
    "server { listen 127.0.0.1:@p@ udp; return x; }\nserver { listen 127.0.0.1:@p@; return y; }",
    "server { listen unix:@folder@/s udp; return x; }",
    "server { listen 127.0.0.1:@p@ udp; proxy_responses -1; proxy_pass 127.0.0.1:1; }",
    "server { listen 127.0.0.1:@p@ udp; proxy_requests 1 2; proxy_pass 127.0.0.1:1; }",
    "server { listen 127.0.0.1:@p@ udp; proxy_responses 1; proxy_responses 1; proxy_pass 127.0.0.1:1; }",
    "proxy_requests 5; proxy_responses 5; server { listen 127.0.0.1:@p@ udp; proxy_pass 127.0.0.1:1; }",
    "upstream b { server 127.0.0.1:1; proxy_responses 1; }",
)


class Same(Differential):
    """
    No difference that is not named.
    """

    def test_behaviour(self) -> None:
        """
        Clients hear the same, and the logs tell the same.
        """
        self.check(CASES)

    def test_verdicts(self) -> None:
        """
        Configuration tests say the same, on the same lines.
        """
        self.check_verdicts(VERDICTS)
