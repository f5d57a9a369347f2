"""
Tests for L{sniproxy.config.grammar}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.config.grammar import AT_ONCE, DEPTH, FILES, Node, Parser
from tests.config.mini import Disk


class Case(SynchronousTestCase):
    """
    What all tests here need.
    """

    def parser(self, files: dict[str, bytes] | None = None) -> Parser:
        """
        A parser whose folder is /etc.
        """
        disk = Disk(files or {})
        return Parser("/etc", disk.read, disk.glob)

    def parse(self, source: str, *faults: str, files: dict[str, bytes] | None = None) -> tuple[Node, ...]:
        """
        The tree of a text with just these faults.
        """
        parser = self.parser(files)
        tree = parser.parse(source.encode(), "/etc/f")
        self.assertEqual([str(error) for error in parser.errors], list(faults))
        return tree

    def shape(self, nodes: tuple[Node, ...] | None) -> str:
        """
        A tree on one line.
        """
        return " ".join(
            "/".join((node.name, *node.args)) + ("" if node.block is None else f"[{self.shape(node.block)}]")
            for node in nodes or ()
        )


class Trees(Case):
    """
    Statements become a tree.
    """

    def test_nodes(self) -> None:
        """
        A directive keeps its words, which of them were quoted, its block, its file and its line.
        """
        tree = self.parse("a 'b' {\nc;\n}\nd\n;")
        inner = Node("c", (), (False,), None, "/etc/f", 2)
        self.assertEqual(
            tree,
            (
                Node("a", ("b",), (False, True), (inner,), "/etc/f", 1),
                Node("d", (), (False,), None, "/etc/f", 5),
            ),
        )

    def test_rests(self) -> None:
        """
        Reading much is interrupted often, and so is forgetting it.
        """
        rests: list[int] = []
        parser = Parser("/etc", Disk({}).read, Disk({}).glob, lambda: rests.append(1))
        (tree,) = parser.parse(b"a {" + b"b c;" * 10 * AT_ONCE + b"}", "/etc/f")
        self.assertEqual(len(tree.block or ()), 10 * AT_ONCE)
        self.assertEqual(len(rests), 11)
        tree.forget(lambda: rests.append(1))
        self.assertEqual((tree.block, len(rests)), ((), 21))

    def test_braces(self) -> None:
        """
        A brace too many is skipped, one too few is taken as there.
        """
        self.assertEqual(
            self.shape(self.parse("a;}\nb;}", 'unexpected "}" in /etc/f:1', 'unexpected "}" in /etc/f:2')), "a b"
        )
        tree = self.parse("a { b {\nc;", 'unexpected end of file, expecting "}" in /etc/f:2')
        self.assertEqual(self.shape(tree), "a[b[c]]")

    def test_unended(self) -> None:
        """
        Where the text ends inside of a directive, that is said and not also that a brace is missing.
        """
        self.parse("a { b", 'unexpected end of file, expecting ";" or "}" in /etc/f:1')

    def test_block_without_name(self) -> None:
        """
        What stands in a block without a name is left out.
        """
        self.assertEqual(self.shape(self.parse("a; { b { c; } } d;", 'unexpected "{" in /etc/f:1')), "a d")

    def test_order_of_faults(self) -> None:
        """
        Faults of words and of braces come in the order in which they stand.
        """
        self.parse(
            ";\n}\n;\n{",
            *(f'unexpected "{c}" in /etc/f:{n}' for n, c in enumerate(";};{", 1)),
            'unexpected end of file, expecting "}" in /etc/f:4',
        )

    def test_deep(self) -> None:
        """
        Blocks may stand in each other up to a limit, and a hundred thousand of them break nothing.
        """
        tree = self.parse("a{" * DEPTH + "}" * DEPTH)
        self.assertEqual(self.shape(tree).count("["), DEPTH)
        many = 100_000
        tree = self.parse("a{" * many + "}" * many, f"blocks are nested more than {DEPTH} deep in /etc/f:1")
        self.assertEqual(self.shape(tree).count("["), DEPTH)

    def test_deep_again(self) -> None:
        """
        Each block that is too deep is said once, not each one inside of it.
        """
        deep = "a{" * (DEPTH + 5) + "}" * (DEPTH + 5)
        fault = f"blocks are nested more than {DEPTH} deep in /etc/f:"
        self.parse(f"{deep}\n{deep}", fault + "1", fault + "2")


class Includes(Case):
    """
    C{include} is replaced by what it names.
    """

    def test_file(self) -> None:
        """
        A name is relative to the folder, an absolute one is not; what is included has its own file and lines.
        """
        tree = self.parse("a; include b.conf; c { include /d; }", files={"/etc/b.conf": b"\nb;", "/d": b"d;"})
        self.assertEqual(self.shape(tree), "a b c[d]")
        self.assertEqual((tree[1].file, tree[1].line), ("/etc/b.conf", 2))

    def test_pattern(self) -> None:
        """
        The files of a pattern come sorted, and there need be none.
        """
        tree = self.parse("include b*; include c*;", files={f"/etc/b{n}": f"b{n};".encode() for n in (2, 1, 3)})
        self.assertEqual(self.shape(tree), "b1 b2 b3")

    def test_missing(self) -> None:
        """
        A missing file and a folder are reported where they are included, as the system says it.
        """
        self.parse(
            "\ninclude b; include c/;",
            'open() "/etc/b" failed (2: No such file or directory) in /etc/f:2',
            'pread() "/etc/c/" failed (21: Is a directory) in /etc/f:2',
        )

    def test_faults_inside(self) -> None:
        """
        Each file must end its own blocks; its faults come before those that stand behind the include.
        """
        self.parse(
            ";include b; }",
            'unexpected ";" in /etc/f:1',
            'unexpected end of file, expecting "}" in /etc/b:1',
            'unexpected "}" in /etc/f:1',
            files={"/etc/b": b"b {"},
        )

    def test_not_an_include(self) -> None:
        """
        With another number of arguments, or a block, it is left for others to judge.
        """
        self.assertEqual(
            self.shape(self.parse("include; include a b; include a {}")), "include include/a/b include/a[]"
        )

    def test_itself(self) -> None:
        """
        A file that includes itself, also by way of another, is reported; one that comes twice is not.
        """
        self.parse("include f;", '"/etc/f" includes itself in /etc/f:1')
        self.parse("include b;", '"/etc/f" includes itself in /etc/b:1', files={"/etc/b": b"include f;"})
        self.assertEqual(self.shape(self.parse("include b; include b;", files={"/etc/b": b"b;"})), "b b")

    def test_chain(self) -> None:
        """
        Files may include each other up to a limit.
        """
        chain = {f"/etc/{n}": f"include {n + 1};".encode() for n in range(DEPTH + 3)}
        self.parse(
            "include 0;", f'"/etc/{DEPTH}" is included more than {DEPTH} files deep in /etc/{DEPTH - 1}:1', files=chain
        )

    def test_bomb(self) -> None:
        """
        Files that include two files each, over and over, are stopped by their number.
        """
        bomb = {f"/etc/{n}": f"include {n + 1}; include {n + 1};".encode() for n in range(40)}
        bomb["/etc/40"] = b""
        parser = self.parser(bomb)
        parser.parse(b"include 0;", "/etc/f")
        self.assertEqual([error.message for error in parser.errors], [f"more than {FILES} files are included"])

    def test_files(self) -> None:
        """
        The parser knows the files in the order they were opened.
        """
        parser = self.parser({"/etc/b": b"", "/etc/a": b"include b;"})
        parser.parse(b"include a; include b;", "/etc/f")
        self.assertEqual(list(parser.files), ["/etc/f", "/etc/a", "/etc/b"])


class CommandLine(Case):
    """
    Directives of the command line.
    """

    def test_parameter(self) -> None:
        """
        They have no lines, and may not have blocks unless these come from a file.
        """
        parser = self.parser({"/etc/b": b"b {}"})
        tree = parser.parameter(b"a; c {} include b;")
        self.assertEqual(self.shape(tree), "a b[]")
        self.assertEqual((tree[0].file, tree[0].line), ("command line", 0))
        self.assertEqual(
            [str(error) for error in parser.errors], ["block directives are not supported in -g option in command line"]
        )
