"""
Tests for L{sniproxy.config.dump}.
"""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.config.build import Build
from sniproxy.config.directives import Scope
from sniproxy.config.dump import dump, quote
from sniproxy.config.grammar import Node, Parser
from sniproxy.config.template import Template
from tests.config.mini import DOCUMENTS, FILE, MODULES, Disk, build, faults

WORD = st.text("ab \t\r\n;{}\"'\\$#)ä\udcff", max_size=12)


def parsed(text: str) -> tuple[Node, ...]:
    """
    The tree of a text without faults.
    """
    parser = Parser("/etc", lambda path: b"", lambda pattern: ())
    tree = parser.parse(text.encode("utf-8", "surrogateescape"), FILE)
    assert not parser.errors, parser.errors
    return tree


def values(build: Build) -> object:
    """
    All effective values of all blocks, without their places.
    """

    def plain(value: object) -> object:
        if isinstance(value, Scope):
            return value.context
        if isinstance(value, Template):
            return value.text
        if isinstance(value, Node):
            return (value.name, value.args)
        if isinstance(value, tuple):
            return tuple(plain(item) for item in value)
        return value

    def inside(scope: Scope) -> object:
        here = {
            directive.name: plain(scope[directive])
            for candidates in build.declared.values()
            for directive in candidates
            if scope.context in directive.contexts
        }
        return here, [inside(child) for child in scope.children]

    return inside(build.root)


class Quoting(SynchronousTestCase):
    """
    How words are written.
    """

    def test_examples(self) -> None:
        """
        A word has quotes where it needs them or had them, and as few backslashes as will do.
        """
        for word, expected in (
            ("a", "a"),
            ("${a}", "${a}"),
            ("~^(a|b)\\.c$", "~^(a|b)\\.c$"),
            ("", '""'),
            ("a b", '"a b"'),
            ("a;", '"a;"'),
            ("{", '"{"'),
            ("a{2}", '"a{2}"'),
            ("}", '"}"'),
            ("a}", "a}"),
            ("#a", '"#a"'),
            ("a#", "a#"),
            ('a"b', 'a"b'),
            ('"a', "'\"a'"),
            ("\"'", '"\\"\'"'),
            ("\t", '"\\t"'),
            ("\\", '"\\\\"'),
            ("a\\n", '"a\\\\n"'),
            ("a \\.", '"a \\."'),
        ):
            self.assertEqual(quote(word), expected)
        self.assertEqual(quote("a", True), '"a"')

    @settings(derandomize=True, deadline=None, database=None, max_examples=500)
    @given(st.lists(st.tuples(WORD, st.booleans()), min_size=1, max_size=4))
    @example([("a\\", True), ('\\"', False), ("\\'", True), (";\\\r", False)])
    def test_any_words(self, words: list[tuple[str, bool]]) -> None:
        """
        Any words, written side by side, are read as they were.
        """
        text = " ".join(quote(word, quoted) for word, quoted in words)
        (node,) = parsed(f"x {text};")
        self.assertEqual(node.args, tuple(word for word, _ in words))
        for (_, quoted), found in zip(words, node.quoted[1:], strict=True):
            self.assertLessEqual(quoted, found)


class Dumps(SynchronousTestCase):
    """
    What is written of a whole configuration.
    """

    def test_dump(self) -> None:
        """
        Includes are in their places, inherited values where they end up with whence they come, and data as it is.
        """
        disk = Disk({"/etc/a.conf": b"tcp_nodelay off;", "/etc/lines": b"'a b' c;"})
        made = build(
            """
            error_log a; # first
            error_log "b" info;
            stream {
                include a.conf;
                map $remote_addr $x { include lines; default ""; }
                server { listen 1; proxy_pass "$x"; }
                server { tcp_nodelay on; error_log c; }
            }
            """,
            read=disk.read,
            globals_text="anywhere here;",
        )
        self.assertEqual(
            dump(made),
            """\
# configuration file /etc/edge.conf:
anywhere here;
error_log a;
error_log "b" info;
stream {
    tcp_nodelay off;
    map $remote_addr $x {
        "a b" c;
        default "";
    }
    server {
        tcp_nodelay off; # inherited from /etc/a.conf:1
        error_log a; # inherited from /etc/edge.conf:2
        error_log "b" info; # inherited from /etc/edge.conf:3
        listen 1;
        proxy_pass "$x";
    }
    server {
        tcp_nodelay on;
        error_log c;
    }
}
""",
        )

    def test_not_inherited(self) -> None:
        """
        What does not inherit, and what no block inside may have, is not repeated; the deepest block is where it shows.
        """
        made = build("error_log a; stream { upstream u { server a:1; } }")
        self.assertEqual(
            dump(made).splitlines()[2:],
            [
                "stream {",
                "    error_log a; # inherited from /etc/edge.conf:1",
                "    upstream u {",
                "        server a:1;",
                "    }",
                "}",
            ],
        )

    def test_command_line(self) -> None:
        """
        What is inherited from the command line says so, and a free block can be inherited too.
        """
        made = build("stream { server {} }", globals_text="error_log a;")
        self.assertIn("error_log a; # inherited from command line", dump(made))

    def test_names_of_files(self) -> None:
        """
        The name of a file cannot end the remark it stands in.
        """
        disk = Disk({"/etc/a\nbogus;": b"tcp_nodelay off;"})
        text = dump(build('stream { include "a\nbogus;"; server {} }', read=disk.read))
        self.assertIn("# inherited from /etc/a?bogus;:1\n", text)
        self.assertEqual(faults(text), [])

    def test_round_trip(self) -> None:
        """
        Each document without fault, written and read again, has the same values, and so has that once more.
        """
        count = 0
        for source in DOCUMENTS.values():
            if not source.startswith(b"stream {"):
                source = b"stream { " + source + b"}"
            source = b"error_log logs/error.log warn; " + source
            if faults(source):
                continue
            count += 1
            made = build(source)
            again = build(dump(made))
            self.assertEqual(values(again), values(made))
            self.assertEqual(values(build(dump(again))), values(made))
        self.assertEqual(count, 17)

    def test_modules(self) -> None:
        """
        Nothing but the tree and the declarations decides what is written.
        """
        self.assertEqual(dump(build("", MODULES)), "# configuration file /etc/edge.conf:\n")
