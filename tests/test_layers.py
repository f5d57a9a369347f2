"""
The laws of the house that a machine can read: floors, pure rooms, no circles, one test file for each file.
"""

from __future__ import annotations

import ast
import re
from typing import Final

from twisted.trial.unittest import SynchronousTestCase

from tests.exemptions import LESS_COVERED, NO_OWN_TEST, PURE, SLEEPS
from tests.support.house import HOUSE, TOP, Import, circles, imports, modules, room

FLOORS: Final = (
    {"", "errors", "addresses", "levels"},
    {"interfaces"},
    {"wire", "config", "net", "tls"},
    {"balancing", "logs"},
    {"common"},
    {"stream", "endpoints", "http"},
    {"service"},
    {"tap", "plugins"},
)
"""
From the ground up; a room imports only rooms of lower floors. Interfaces speak of addresses: they stand a step above.
"""

FLOOR: Final = {name: number for number, names in enumerate(FLOORS) for name in names}

SHELF: Final = "sniproxy.plugins"
"""Where plugins are looked for; importing the package itself brings none of them, so any floor may name it."""

IMPURE: Final = frozenset(
    "twisted OpenSSL cryptography service_identity ssl socket _socket select selectors time random secrets os io "
    "pathlib glob shutil tempfile subprocess threading asyncio signal sys".split()
)
"""What a pure room may not import: it is handed what it needs of these."""


def climbs(here: str, found: Import) -> bool:
    """
    Whether an import goes to a room that is not on a lower floor.
    """
    there = room(found.name)
    if found.name == SHELF:
        return False
    return there != room(here) and FLOOR[there] >= FLOOR[room(here)]


class LayersTests(SynchronousTestCase):
    """
    The house as it stands.
    """

    maxDiff = None

    def setUp(self) -> None:
        self.known = modules()
        self.found = {name: list(imports(path.read_text(), self.known)) for name, path in self.known.items()}

    def test_rooms_have_floors(self) -> None:
        """
        Every room has its place in the table of floors.
        """
        self.assertEqual({room(name) for name in self.known} - FLOOR.keys(), set())

    def test_imports_go_down(self) -> None:
        """
        A room imports only rooms of lower floors.
        """
        climbing = [
            f"{name}:{found.line}: {found.name}"
            for name, all_found in self.found.items()
            for found in all_found
            if found.name.split(".")[0] == HOUSE.name and climbs(name, found)
        ]
        self.assertEqual(climbing, [])

    def test_pure_rooms(self) -> None:
        """
        Pure rooms import no Twisted, no OpenSSL, no socket, no clock, no dice and no disk, and open no file.
        """
        spoiled = [
            f"{name}:{found.line}: {found.name}"
            for name, all_found in self.found.items()
            for found in all_found
            if room(name) in PURE and found.name.split(".")[0] in IMPURE
        ]
        spoiled += [
            f"{name}:{node.lineno}: open()"
            for name, path in self.known.items()
            if room(name) in PURE
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "open"
        ]
        self.assertEqual(spoiled, [])

    def test_no_circles(self) -> None:
        """
        No two files import each other at run time, not even around corners.
        """
        arrows = {
            name: {found.name for found in all_found if not found.typing and found.name in self.known}
            for name, all_found in self.found.items()
        }
        self.assertEqual(circles(arrows), [])

    def test_own_test_files(self) -> None:
        """
        sniproxy/x/y.py is proved by tests/x/test_y.py.
        """
        missing = []
        for path in self.known.values():
            inside = path.relative_to(HOUSE)
            if path.name == "__init__.py" or f"{HOUSE.name}/{inside}" in NO_OWN_TEST:
                continue
            # return_.py and its like carry the underscore for Python's sake alone.
            if not (TOP / "tests" / inside.parent / f"test_{path.stem.rstrip('_')}.py").exists():
                missing.append(str(inside))
        self.assertEqual(missing, [])

    def test_packages_hold_no_logic(self) -> None:
        """
        A package's own file names things and does nothing, so it needs no test file.
        """
        busy = [
            f"{name}:{node.lineno}"
            for name, path in self.known.items()
            if path.name == "__init__.py"
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.If, ast.For, ast.While))
        ]
        self.assertEqual(busy, [])

    def test_exemptions_are_needed(self) -> None:
        """
        What is exempt from a law exists, and does not keep it all the same.
        """
        for path in [*NO_OWN_TEST, *LESS_COVERED, *SLEEPS]:
            self.assertTrue((TOP / path).exists(), path)
        for path in NO_OWN_TEST:
            inside = (TOP / path).relative_to(HOUSE)
            self.assertFalse((TOP / "tests" / inside.parent / f"test_{inside.name}").exists(), path)


class TestsOfTestsTests(SynchronousTestCase):
    """
    The manner of the tests themselves.
    """

    def test_tests_are_sentences(self) -> None:
        """
        Each test says in one sentence what is true when it passes.
        """
        silent = []
        for path in sorted((TOP / "tests").rglob("test_*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name.startswith("test_"):
                    said = ast.get_docstring(node) or ""
                    if not said or not re.search(r"[.:)]$", said.strip()):
                        silent.append(f"{path.relative_to(TOP)}:{node.lineno} {node.name}")
        self.assertEqual(silent, [])

    def test_no_sleep(self) -> None:
        """
        No unit test sleeps: time is a Clock, and what is awaited is an event.
        """
        asleep = [
            f"{path.relative_to(TOP)}:{node.lineno}"
            for path in sorted((TOP / "tests").rglob("*.py"))
            if "interop" not in path.parts and str(path.relative_to(TOP)) not in SLEEPS
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == "sleep"
        ]
        self.assertEqual(asleep, [])


class LawTests(SynchronousTestCase):
    """
    The readers behind these laws see what they should.
    """

    def test_climbing_is_seen(self) -> None:
        """
        An import upwards or sideways climbs; one downwards or within a room does not.
        """
        for here, there, bad in (
            ("sniproxy.net.legs", "sniproxy.common.session", True),
            ("sniproxy.net.legs", "sniproxy.tls.contexts", True),
            ("sniproxy.net.legs", "sniproxy.net.poller", False),
            ("sniproxy.stream.proxy", "sniproxy.net.legs", False),
            ("sniproxy.errors", "sniproxy.addresses", True),
            ("sniproxy.errors", "sniproxy", True),
            ("sniproxy.service.load", "sniproxy.plugins", False),
            ("sniproxy.service.load", "sniproxy.plugins.shipped", True),
        ):
            self.assertIs(climbs(here, Import(there, 1, False)), bad, f"{here} -> {there}")

    def test_every_form_of_import(self) -> None:
        """
        Imports are found in every form and at every depth, and those for the type checker are told apart.
        """
        source = (
            "import a.b as c, d\n"
            "from sniproxy.net import legs, Thing\n"
            "if TYPE_CHECKING:\n    from e import f\n"
            "def g():\n    import h\n"
        )
        found = sorted(imports(source, {"sniproxy.net.legs": None}))
        self.assertEqual(
            found,
            [
                Import("a.b", 1, False),
                Import("d", 1, False),
                Import("e", 4, True),
                Import("h", 6, False),
                Import("sniproxy.net", 2, False),
                Import("sniproxy.net.legs", 2, False),
            ],
        )

    def test_relative_import(self) -> None:
        """
        A relative import is refused, since it hides which room it goes to.
        """
        self.assertRaises(ValueError, list, imports("from . import x"))

    def test_circles_are_seen(self) -> None:
        """
        A circle is found whatever its length, and a shared friend is no circle.
        """
        arrows = {"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": set(), "e": {"d"}, "f": {"f"}}
        self.assertEqual(circles(arrows), [["a", "b", "c"], ["f"]])
