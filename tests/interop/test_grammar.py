"""
Do we read configurations as the real nginx reads them, faults included?

Strategy: nginx stops at its first fault and we tell all, so nginx's must be among ours, word for word with its line,
and none of ours may stand in an earlier line. What nginx only notices after the whole file is left to other tests.
"""

from __future__ import annotations

import random

from sniproxy.config.build import configure
from sniproxy.config.places import listen_addresses, upstream_place
from sniproxy.errors import ConfigError, ConfigErrors
from tests.config.mini import MODULES
from tests.support.programs import ProgramTestCase, need, run, write_text
from tests.support.proxies import nginx_module

LATE = ("no handler for server", 'no "listen" is defined', "no servers are inside", 'unknown "')
"""What nginx says when it has read a block or the file to its end."""

ODD = (
    b"\xef\xbb\xbfstream {}",
    b"#" + b"x" * 5000 + b"\nfoo;",
    b"}",
    b"stream { ",
    b";",
    b"{",
    b'"a"b;',
    b'"a")b;',
    b"\\; x",
    b"a\\;b;",
    b"a ${b{c;",
    b"include nope;",
    b"include no*;",
    b"include a b;",
    b"include;",
    b"include x {",
    b"include bad.conf;",
    b"stream;",
    b"listen 80;",
    b'"',
    b"a\n\n",
    b"stream { } }",
    b"a b }",
    b"env " + b"b" * 4094 + b" ;x;",
    b"env " + b"b" * 4095 + b" ;x;",
    b"env " + b"b" * 4095 + b";x;",
    b"env " + b"b" * 4096 + b";x;",
    b'env "' + b"b" * 4093 + b'" ;x;',
    b'env "' + b"b" * 4094 + b'" ;x;',
    b'env "' + b"b" * 4094 + b'";x;',
    b'env "' + b"b" * 4095 + b'";x;',
    b"env \n'" + b"b\n" * 2048 + b"';x;",
    b"#" + b"x" * 4094 + b"\nx;",
    b"#" + b"x" * 4095 + b"\nx;",
    b"stream { map $remote_addr $a { a{} } }",
    b"stream { map $remote_addr $a { include a b; } }",
    b"stream { server { proxy_pass $; } }",
    b"stream { server { proxy_pass ${a; } }",
    b"stream { server { proxy_pass ${}; } }",
    b"stream { proxy_timeout 1y; }",
    b'stream { proxy_timeout "1s 5m"; }',
    b'stream { proxy_timeout "1m 5s"; bogus; }',
    b"stream { tcp_nodelay maybe; }",
    b"stream { tcp_nodelay ON; bogus; }",
    b"stream {} stream {}",
    b"stream x {}",
    b"events {}",
    b"worker_connections 5;",
    b"stream { ... }",
    b"a\r\n;",
)

LISTENS = (
    "0 70000 3-2 1.1.1.1:3-2 1.1.1.1: 1.1.1.1:x ::1:80 [::1 [::1]5 [::1]:x [zz]:5 []:5 :5 a/b:5 a?b:5 unix:"
    f" unix:{'x' * 108} nohost.invalid:5 256.1.1.1:5"
).split()
PEERS = "a a:b a:0 1.1.1.1:1-3 [::1] [::1]x unix: :1".split()

STATEMENTS = (
    b"stream {",
    b"server {",
    b"} } } }",
    b"}",
    b"}",
    b"listen 80;",
    b"tcp_nodelay on;",
    b"tcp_nodelay off;",
    b"proxy_timeout 5s;",
    b'proxy_timeout "1m 5s";',
    b"map $remote_addr $b {",
    b"a b;",
    b"pcre_jit off;",
    b"bogus;",
    b"#c",
    b"include nope;",
    b"include no*;",
    b"...",
)
JUNK = b'" \' \\ ; { } $ ${ # ) a \xff on "on" "" \'a\' \n \t \r'.split(b" ")


class Grammar(ProgramTestCase):
    """
    nginx's first fault, and ours.
    """

    def setUp(self) -> None:
        super().setUp()
        self.nginx = need("nginx")
        self.needs = f"{nginx_module()}events {{}} ".encode()
        self.file = self.path("f")
        write_text(self.path("bad.conf"), "a b\nc")

    def theirs(self, source: bytes) -> str | None:
        """
        What nginx says, or None where it is content.
        """
        with open(self.file, "wb") as file:
            file.write(self.needs + source)
        done = run(self.nginx, "-t", "-e", "/dev/null", "-p", self.path(), "-c", self.file)
        for line in done.stderr.splitlines():
            if line.startswith("nginx: [emerg] ") and not line.startswith("nginx: [emerg] bind()"):
                text = line.removeprefix("nginx: [emerg] ")
                return text.encode("latin-1").decode("utf-8", "surrogateescape").replace(self.path(), "")
        return None

    def ours(self, source: bytes) -> list[str]:
        """
        What we say.
        """

        def read(path: str) -> bytes:
            with open(path, "rb") as file:
                return file.read()

        try:
            configure(self.needs + source, MODULES, file=self.file, read=read)
        except ConfigErrors as errors:
            return [str(error).replace(self.path(), "") for error in errors.errors]
        return []

    def compare(self, source: bytes) -> bool:
        """
        Check one text; return whether nginx had something to say that we may say too.
        """
        theirs = self.theirs(source)
        ours = [error for error in self.ours(source) if not error.startswith(LATE)]
        if theirs is not None and theirs.startswith(LATE):
            return False
        if any("\\x" in error for error in ours):
            # nginx prints control characters as they are, over several lines
            return False
        if theirs is None:
            self.assertEqual(ours, [], source)
            return False
        self.assertIn(theirs, ours, source)
        at, _, line = theirs.rpartition(":")
        for error in ours:
            where, _, number = error.rpartition(":")
            if where.endswith("/f") and at.endswith("/f"):
                self.assertGreaterEqual(int(number), int(line), source)
        return True

    def test_odd(self) -> None:
        """
        Texts with one fault each, of every kind.
        """
        self.assertGreater(sum(self.compare(source) for source in ODD), 40)

    def test_random(self) -> None:
        """
        Statements in any order, with a few characters put in or changed.
        """
        dice = random.Random(1)
        compared = 0
        for _ in range(200):
            lines = [dice.choice(STATEMENTS) for _ in range(dice.randrange(1, 14))]
            text = bytearray(b"\n".join(lines) + b"\n")
            for _ in range(dice.choice((0, 1, 1, 2, 3))):
                place = dice.randrange(len(text))
                text[place : place + dice.choice((0, 1))] = dice.choice(JUNK)
            compared += self.compare(bytes(text))
        self.assertGreater(compared, 150)

    def test_addresses(self) -> None:
        """
        Addresses that are none, where we listen and where we connect to.
        """

        def nothing(host: str) -> tuple[str, ...]:
            raise OSError

        for text in LISTENS:
            fault = self.theirs(f"stream {{ server {{ listen {text}; }} }}".encode())
            error = self.assertRaises(ConfigError, listen_addresses, text, nothing)
            self.assertEqual(f"{error} in /f:1", fault)
        for text in PEERS:
            fault = self.theirs(f"stream {{ server {{ listen 1; proxy_pass {text}; }} }}".encode())
            error = self.assertRaises(ConfigError, upstream_place, text)
            self.assertEqual(f"{error} in /f:1", fault)
