"""
Is what the documents say true? Code in them is the code of the examples, configurations in them are accepted, links
lead somewhere, and what is generated is fresh.
"""

from __future__ import annotations

import ast
import re
import runpy
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.config.known import KNOWN
from tests.support.house import HOUSE, TOP

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def documents() -> list[Path]:
    """
    All pages that people read.
    """
    return sorted([*TOP.glob("*.md"), *(TOP / "docs").rglob("*.md"), *(TOP / "examples").rglob("*.md")])


def blocks(path: Path, language: str) -> list[str]:
    """
    The code of one language in a page, in order.
    """
    return [code for found, code in FENCE.findall(path.read_text()) if found == language]


def squeezed(code: str) -> list[str]:
    """
    The lines of a piece of code, without the empty ones between its parts.
    """
    return [line for line in code.splitlines() if line.strip()]


class PagesTests(SynchronousTestCase):
    """
    What holds for every page.
    """

    maxDiff = None

    def test_links(self) -> None:
        """
        Each link to a file of the project leads to one.
        """
        broken = [
            f"{path.relative_to(TOP)}: {target}"
            for path in documents()
            for target in LINK.findall(FENCE.sub("", path.read_text()))
            if "://" not in target and not (path.parent / target.partition("#")[0]).exists()
        ]
        self.assertEqual(broken, [])

    def test_no_tabs(self) -> None:
        """
        Pages have no tabs and no trailing blanks, which every viewer shows in another way.
        """
        ragged = [
            f"{path.relative_to(TOP)}:{number}"
            for path in documents()
            for number, line in enumerate(path.read_text().splitlines(), 1)
            if "\t" in line or line != line.rstrip()
        ]
        self.assertEqual(ragged, [])


class ModulesPageTests(SynchronousTestCase):
    """
    docs/modules.md.
    """

    page = TOP / "docs/modules.md"
    module = TOP / "examples/plugin/sniproxy/plugins/notice.py"

    def test_code(self) -> None:
        """
        The pieces of Python in it, one after the other, are the whole file of the example.
        """
        told = squeezed("".join(blocks(self.page, "python")))
        self.assertEqual(told, squeezed(self.module.read_text()))

    def test_configuration(self) -> None:
        """
        Its configuration is the one that lies beside the example.
        """
        (text,) = blocks(self.page, "nginx")
        beside = (TOP / "examples/plugin/notice.conf").read_text()
        self.assertEqual(squeezed(text), [line for line in squeezed(beside) if not line.startswith("#")])


class CompatibilityPageTests(SynchronousTestCase):
    """
    docs/compatibility.md, which is made and not written.
    """

    def setUp(self) -> None:
        self.maker = runpy.run_path(str(TOP / "docs/compatibility.py"))

    def test_fresh(self) -> None:
        """
        The page is what the modules declare now; `make docs` makes it so.
        """
        self.assertEqual((TOP / "docs/compatibility.md").read_text(), self.maker["page"](), "run `make docs`")

    def test_whole(self) -> None:
        """
        Each directive and variable that nginx has in these blocks, and each of ours, is on the page.
        """
        page = (TOP / "docs/compatibility.md").read_text()
        names = [f"`{name}`" for name, known in KNOWN.items() if known.rooms & {"main", "stream", "http"}]
        names += [
            f"`{each.name}`"
            for module in self.maker["modules"]()
            for each in module.directives
            if self.maker["places"](each)
        ]
        names += [f"`${name}`" for _, _, known in self.maker["NGINX_VARIABLES"] for name in known.split()]
        names += [f"`${each.name}`" for module in self.maker["modules"]() for each in module.variables]
        self.assertEqual([name for name in names if name not in page], [])
        self.assertGreater(len(set(names)), 250)

    def test_defaults(self) -> None:
        """
        Defaults are written as an operator would write them.
        """
        shown = self.maker["shown"]
        for value, text in (
            (True, "on"),
            (False, "off"),
            (30.0, "30s"),
            (60.0, "60s"),
            (600.0, "10m"),
            (0.0, "0"),
            (16384, "16k"),
            (1, "1"),
            (("TLSv1.2", "TLSv1.3"), "TLSv1.2 TLSv1.3"),
            ("auto", "auto"),
            ("", ""),
            ((), ""),
            (None, ""),
        ):
            self.assertEqual(shown(value), text, repr(value))


class ArchitecturePageTests(SynchronousTestCase):
    """
    ARCHITECTURE.md: the map has no white spots and no lands that are not there.
    """

    def setUp(self) -> None:
        self.page = (TOP / "ARCHITECTURE.md").read_text()
        self.listed = re.findall(r"^- `([\w/.]+\.py)`", self.page, re.MULTILINE)

    def test_every_file(self) -> None:
        """
        Each file of the package has its line, once.
        """
        there = sorted(str(path.relative_to(HOUSE)) for path in HOUSE.rglob("*.py"))
        listed = [name for name in self.listed if not name.startswith("twisted/")]
        self.assertEqual(sorted(listed), there, "ARCHITECTURE.md lists other files than there are")

    def test_every_path(self) -> None:
        """
        Each file or folder that is named in it exists.
        """
        named = re.findall(r"`([a-z_][\w./]*(?:\.(?:py|md|cfg|typed)|/))`", self.page)
        self.assertGreater(len(named), 100)
        self.assertEqual([name for name in named if not ((HOUSE / name).exists() or (TOP / name).exists())], [])

    def test_every_name(self) -> None:
        """
        Each class that is named in it is one of ours.
        """
        named = set(re.findall(r"`([A-Z][a-z]\w+)[.s`]", self.page))
        ours = {
            node.name
            for path in HOUSE.rglob("*.py")
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.ClassDef)
        }
        self.assertGreater(len(named), 25)
        self.assertEqual(named - ours, set())

    def test_size(self) -> None:
        """
        It can be read in one sitting: what is not the list of files is short, and each line of a file's is one line.
        """
        self.assertLess(len(self.page.splitlines()) - len(self.listed), 200)
