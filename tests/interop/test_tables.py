"""
Which rule, network, range or part is a client's? The modules that look addresses and texts up, by C{return}: a client
comes from an address of its own, and is told.
"""

from __future__ import annotations

import socket
from typing import Final

from sniproxy.common.split_clients import murmur2
from tests.support.clients import hello, read_all
from tests.support.ports import free_ports
from tests.support.programs import PATIENCE, read_text, run, write_text
from tests.support.proxies import NGINX, ProxyTestCase, command, environment, prelude


def told(port: int, source: str = "127.0.0.1", first: bytes = b"") -> str:
    """
    What a client from some address of this machine hears before the end; C{reset} where the connection breaks.
    """
    host = "::1" if ":" in source else "127.0.0.1"
    with socket.create_connection((host, port), PATIENCE, source_address=(source, 0)) as connection:
        if first:
            connection.sendall(first)
        try:
            return read_all(connection).decode("utf-8", "surrogateescape")
        except ConnectionResetError:
            return "reset"


def told_on(path: str) -> str:
    """
    What a client on a unix socket hears.
    """
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(PATIENCE)
        connection.connect(path)
        return read_all(connection).decode()


class Tables(ProxyTestCase):
    """
    What clients are told.
    """

    def serve(self, text: str, lines: str = "") -> None:
        """
        Start the proxy with a stream block that has a server on each of some ports, C{@p0@} and so on, and on the
        unix socket C{@sock@}.
        """
        self.ports = free_ports(4)
        self.sock = self.socket_path("edge.sock")
        zero, one, two, three = self.ports
        self.edge = self.proxy(
            "stream {\n" + text + "\n}\n",
            folder=self.folder,
            sock=self.sock,
            lines=lines,
            p0=zero,
            p1=one,
            p2=two,
            p3=three,
        )

    def check(self, wanted: dict[str, str], port: int = 0) -> None:
        """
        Ask from several addresses.
        """
        self.assertEqual({source: told(self.ports[port], source) for source in wanted}, wanted)

    def test_access(self) -> None:
        """
        The first rule that fits decides; who is forbidden hears nothing, has the status 403 and a line in the log.
        """
        self.serve(
            """
            log_format short '$remote_addr $status $bytes_sent';
            access_log @folder@/access.log short;
            deny 127.0.0.9;
            server {
                listen 127.0.0.1:@p0@; listen unix:@sock@; listen [::1]:@p0@;
                allow 127.0.0.2; deny 127.0.0.0/30; allow 127.0.0.0/16; deny 127.0.0.0/8; deny ::1; allow unix:;
                deny all;
                return yes;
            }
            server { listen 127.0.0.1:@p1@; return inherited; }
            """
        )
        self.check(
            {"127.0.0.1": "", "127.0.0.2": "yes", "127.0.0.3": "", "127.0.0.9": "yes", "127.1.0.1": "", "::1": ""}
        )
        self.check({"127.0.0.9": "", "127.0.0.1": "inherited"}, port=1)
        self.assertEqual(told_on(self.sock), "yes")
        self.assertEqual(
            read_text(self.path("access.log")).splitlines(),
            [
                "127.0.0.1 403 0", "127.0.0.2 200 3", "127.0.0.3 403 0", "127.0.0.9 200 3", "127.1.0.1 403 0",
                "::1 403 0", "127.0.0.9 403 0", "127.0.0.1 200 9", "unix: 200 3",
            ],
        )  # fmt: skip
        self.edge.logged(
            "[error] access forbidden by rule while initializing session, client: 127.0.0.1, server:"
            f" 127.0.0.1:{self.ports[0]}"
        )

    def test_networks(self) -> None:
        """
        The longest network around an address counts.
        """
        self.serve(
            """
            geo $v {
                default D; 127.0.0.0/8 eight; 127.1.0.0/16 sixteen; 127.1.2.3 one; 127.1.0.0/24 gone;
                delete 127.1.0.0/24; ::1 six; 127.2.0.0/15 fifteen; 255.255.255.255 nobody;
            }
            map $remote_addr $other {
                default "255.255.255.255"; 127.0.0.2 127.1.2.3; 127.0.0.3 ::1; 127.0.0.4 ::ffff:127.1.2.3; 127.0.0.5 x;
                127.0.0.6 2001:db8::; 127.0.0.7 127.1.2.3:80;
            }
            geo $other $w { default D; 127.1.2.3 one; ::1 six; 255.255.255.255 nobody; }
            geo $e { 127.0.0.2 two; }
            server { listen 127.0.0.1:@p0@; listen [::1]:@p0@; listen unix:@sock@; return $v; }
            server { listen 127.0.0.1:@p1@; return $w; }
            server { listen 127.0.0.1:@p2@; return "<$e>"; }
            """
        )
        self.check(
            {
                "127.0.0.1": "eight",
                "127.1.0.1": "sixteen",
                "127.1.2.3": "one",
                "127.1.2.4": "sixteen",
                "127.3.2.1": "fifteen",
                "127.4.0.0": "eight",
                "::1": "six",
            }
        )
        self.assertEqual(told_on(self.sock), "nobody")
        self.check(
            {
                "127.0.0.1": "nobody",
                "127.0.0.2": "one",
                "127.0.0.3": "six",
                "127.0.0.4": "one",
                "127.0.0.5": "nobody",
                "127.0.0.6": "D",
                "127.0.0.7": "nobody",
            },
            port=1,
        )
        self.check({"127.0.0.1": "<>", "127.0.0.2": "<two>"}, port=2)

    def test_ranges(self) -> None:
        """
        The range around an address counts, and one inside another before it.
        """
        lines = write_text(self.path("lines.conf"), "127.5.0.0-127.5.0.9 five;\n")
        self.serve(
            """
            geo $v {
                ranges; default D; 127.0.0.0-127.1.255.255 wide; 127.0.0.5-127.0.0.9 narrow; 127.0.0.0-127.0.0.1 low;
                127.1.255.255-127.1.255.255 high; 127.3.0.0-127.3.0.9 gone; delete 127.3.0.0-127.3.0.9;
                include @lines@;
            }
            server { listen 127.0.0.1:@p0@; listen [::1]:@p0@; listen unix:@sock@; return $v; }
            """,
            lines=lines,
        )
        self.check(
            {
                "127.0.0.1": "low",
                "127.0.0.2": "wide",
                "127.0.0.5": "narrow",
                "127.0.0.9": "narrow",
                "127.0.0.10": "wide",
                "127.1.255.254": "wide",
                "127.1.255.255": "high",
                "127.2.0.0": "D",
                "127.3.0.5": "D",
                "127.5.0.9": "five",
                "::1": "D",
            }
        )
        self.assertEqual(told_on(self.sock), "D")

    def test_split(self) -> None:
        """
        Every client has the part that its hash gives it, to the hundredth of a per cent.
        """
        shares = [1] * 50 + [150] * 60
        body = " ".join(f"{share / 100:.2f}% {number};" for number, share in enumerate(shares))
        self.serve(
            "split_clients $text $v { " + body + " * rest; }"
            "split_clients $remote_addr $w { 33.3% a; .7% b; 0.01% c; 50% d; }"
            """
            map $remote_addr $text {
                volatile; 127.0.0.1 ""; 127.0.0.2 a; 127.0.0.3 ab; 127.0.0.4 abc; 127.0.0.5 abcd; 127.0.0.6 "a b c d é";
                default "the address is $remote_addr";
            }
            server { listen 127.0.0.1:@p0@; return "$v $text"; }
            server { listen 127.0.0.1:@p1@; return <$w>; }
            """
        )
        bounds, bound = [], 0
        for share in shares:
            bound += share * 0xFFFFFFFF // 10000
            bounds.append(bound)
        for number in range(1, 200):
            part, _, text = told(self.ports[0], f"127.0.0.{number}").partition(" ")
            hashed = murmur2(text.encode())
            wanted = next((str(place) for place, bound in enumerate(bounds) if hashed < bound), "rest")
            self.assertEqual(part, wanted, text)
        tops = ((3330, "<a>"), (3400, "<b>"), (3401, "<c>"), (8401, "<d>"), (10000, "<>"))
        for number in range(1, 60):
            source = f"127.0.{number}.1"
            hundredth = murmur2(source.encode()) * 10000 / 0xFFFFFFFF
            wanted = next(value for top, value in tops if hundredth < top)
            self.assertEqual(told(self.ports[1], source), wanted, source)

    def test_set(self) -> None:
        """
        A value is given in the preread phase, before the first bytes are looked at; elsewhere the variable is empty.
        """
        self.serve(
            """
            map $remote_port $mapped { volatile; default map; }
            server { listen 127.0.0.1:@p0@; set $a 1; set $b "$a$remote_addr"; set $a 2; return "$a $b"; }
            server { listen 127.0.0.1:@p1@; return "<$a>"; }
            server { listen 127.0.0.1:@p2@; set $c $mapped; set $mapped own; return "$c $mapped"; }
            server { listen 127.0.0.1:@p3@; ssl_preread on; set $d <$ssl_preread_server_name>;
                return "$d $ssl_preread_protocol"; }
            """
        )
        self.assertEqual([told(port) for port in self.ports[:3]], ["2 1127.0.0.1", "<>", "map own"])
        self.assertEqual(told(self.ports[3], first=hello("a.example.com")), "<> TLSv1.3")

    def test_return(self) -> None:
        """
        The text is all that a client hears, whatever it says itself; of two directives the last one counts.
        """
        self.serve(
            r"""
            log_format short '$status $bytes_sent';
            access_log @folder@/access.log short;
            server { listen 127.0.0.1:@p0@; return "a\tb $nginx_version\n"; }
            server { listen 127.0.0.1:@p1@; return ""; }
            server { listen 127.0.0.1:@p2@; proxy_pass 127.0.0.1:9; return last; }
            server { listen 127.0.0.1:@p3@; return $binary_remote_addr; }
            """
        )
        self.assertRegex(told(self.ports[0]), "^a\tb [0-9.]+\n$")
        self.assertEqual(told(self.ports[1]), "")
        self.assertEqual(told(self.ports[2]), "last")
        self.assertEqual(told(self.ports[3]), "\x7f\0\0\1")
        lines = read_text(self.path("access.log")).splitlines()
        self.assertEqual(lines[1:], ["200 0", "200 4", "200 4"])


class TablesNginx(Tables):
    """
    The same on nginx.
    """

    kind = NGINX


WRONG: Final = (
    ("server { listen 127.0.0.1:1; return a; deny 255.255.255.255; }", 'invalid parameter "255.255.255.255"'),
    ("server { listen 127.0.0.1:2; return a; allow unix:/x; }", 'invalid parameter "unix:/x"'),
    ("server { listen 127.0.0.1:4; return a; return b; }", '"return" directive is duplicate'),
    ("server { listen 127.0.0.1:5; return a; set x y; }", 'invalid variable name "x"'),
    ("server { listen 127.0.0.1:6; return a; set $remote_addr y; }", 'the duplicate "remote_addr" variable'),
    ("split_clients $pid $v1 { 50% a; 50.123% b; }", 'invalid percent value "50.123%"'),
    ("split_clients $pid $v2 { 0% a; }", 'invalid percent value "0%"'),
    ("split_clients $pid $v3 { * a; 1% b; }", "percent total is greater than 100%"),
    ("split_clients $pid v4 { * a; }", 'invalid variable name "v4"'),
    ("geo $v5 { ranges; 1.2.3.4-255.255.255.255 a; }", 'invalid range "1.2.3.4-255.255.255.255"'),
    ("geo $v6 { ranges; 1.0.0.0-1.0.0.9 a; 1.0.0.5-1.0.1.0 b; }", 'range "1.0.0.5-1.0.1.0" overlaps "1.0.0.0-1.0.0.9"'),
    ("geo $va { default a; ranges; }", 'the "ranges" directive must be the first directive inside "geo" block'),
    ("geo $ve { 1.2.3.4; }", "invalid number of the geo parameters"),
    ("geo $vf { proxy 1.2.3.5; }", 'invalid network "proxy"'),
    ("geo $vg { ::1/129 c; }", 'invalid network "::1/129"'),
    ("geo $nope $vh { default a; }", 'unknown "nope" variable'),
    ("geo $a-b $vi { default a; }", 'unknown "a-b" variable'),
    ("geo $pid vj { default a; }", 'invalid variable name "vj"'),
)
"""Mistakes, and what is said of each."""

DOUBTFUL: Final = (
    ("server { listen 127.0.0.1:3; return a; allow 1.2.3.4/8; }", "low address bits of 1.2.3.4/8 are meaningless"),
    (
        "geo $v7 { ranges; 10.0.0.0-10.0.255.255 a; 10.0.0.0-10.1.255.255 b; }",
        'duplicate range "10.0.0.0-10.1.255.255", value: "b", old value: "a"',
    ),
    ("geo $v8 { ranges; delete 1.0.0.0-1.0.0.3; }", 'no address range "1.0.0.0-1.0.0.3" to delete'),
    ("geo $v9 { ranges; default a; default c; }", 'duplicate default geo range value: "c", old value: "a"'),
    ("geo $vb { default d; default e; }", 'duplicate network "default", value: "e", old value: "d"'),
    ("geo $vc { 1.2.3.0/24 c; 1.2.3.9/24 f; }", 'duplicate network "1.2.3.9/24", value: "f", old value: "c"'),
    ("geo $vd { delete 2.0.0.0/8; }", 'no network "2.0.0.0/8" to delete'),
)
"""What is no mistake, and the warning for each."""


class Complaints(ProxyTestCase):
    """
    What is said of wrong directives.
    """

    def said(self, text: str) -> str:
        """
        All that a check of the configuration says.
        """
        path = write_text(self.path("wrong.conf"), prelude(self.kind, self.folder, "wrong") + "stream {" + text + "}")
        done = run(*command(self.kind, path, "-t" if self.kind == NGINX else "--test"), env=environment(self.kind))
        return done.stderr + done.stdout

    def test_words(self) -> None:
        """
        Each mistake is called what nginx calls it; nginx stops at the first, so that it is asked about each alone.
        """
        for table in (WRONG, DOUBTFUL):
            together = "" if self.kind == NGINX else self.said("\n".join(text for text, _ in table))
            for text, words in table:
                self.assertIn(words, together or self.said(text), text)


class ComplaintsNginx(Complaints):
    """
    The same on nginx.
    """

    kind = NGINX
