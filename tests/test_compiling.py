"""
What is compiled, whether the rest of the house can live with it, and what a build does where it cannot be.
"""

from __future__ import annotations

import ast
import io
import os
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from unittest import mock

from setuptools import Extension, build_meta
from twisted.trial.unittest import SynchronousTestCase

from compiling import backend
from compiling.modules import COMPILED, INTERPRETED
from tests.support.house import TOP, modules

EXTENSIONS: Final = backend.extensions
"""The real one, which most tests do without."""


def extended(source: str) -> Iterator[tuple[str, str]]:
    """
    The classes that a file extends: (module, name), those of other files of ours only.
    """
    tree = ast.parse(source)
    origins = {
        alias.asname or alias.name: (node.module, alias.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            for base in node.bases:
                if isinstance(base, ast.Name) and base.id in origins:
                    yield origins[base.id]
                elif isinstance(base, ast.Attribute) and isinstance(base.value, ast.Name) and base.value.id in origins:
                    package, name = origins[base.value.id]
                    yield f"{package}.{name}", base.attr


def replaced(source: str) -> Iterator[tuple[str, str]]:
    """
    What the tests of a file patch: (module, name).
    """
    tree = ast.parse(source)
    origins = {
        alias.asname or alias.name: f"{node.module}.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "patch":
            place, name, *_ = [*node.args, None, None]
            if isinstance(place, ast.Name) and place.id in origins and isinstance(name, ast.Constant):
                yield origins[place.id], str(name.value)


def bound(source: str) -> set[str]:
    """
    The names of a module that compiled code looks up once: functions, classes, and what is C{Final}.
    """
    found = set()
    for node in ast.parse(source).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            if ast.unparse(node.annotation).startswith("Final"):
                found.add(node.target.id)
    return found


class ListTests(SynchronousTestCase):
    """
    The list of what is compiled.
    """

    def test_there(self) -> None:
        """
        Each module on it is there, and what is left out on purpose is there and left out.
        """
        known = modules()
        self.assertEqual([name for name in COMPILED if name not in known], [])
        self.assertEqual(sorted(set(COMPILED)), list(COMPILED))
        for name in INTERPRETED:
            self.assertTrue(any(each == name or each.startswith(f"{name}.") for each in known), name)
            self.assertEqual([each for each in COMPILED if each == name or each.startswith(f"{name}.")], [])

    def test_not_extended(self) -> None:
        """
        No interpreted class extends a compiled one: importing it would fail.
        """
        others = {name: path for name, path in modules().items() if name not in COMPILED}
        others.update({str(path.relative_to(TOP)): path for path in (TOP / "examples").rglob("*.py")})
        wrong = [
            f"{name} extends {base} of {module}"
            for name, path in others.items()
            for module, base in extended(path.read_text())
            if module in COMPILED
        ]
        self.assertEqual(wrong, [])

    def test_no_words_of_the_compiler(self) -> None:
        """
        No attribute of a compiled class becomes a word of the C compiler, once it has another underscore.
        """
        known = modules()
        wrong = {
            f"{name}: {node.attr}"
            for name in COMPILED
            for node in ast.walk(ast.parse(known[name].read_text()))
            if isinstance(node, ast.Attribute) and node.attr in ("_unix", "_linux")
        }
        self.assertEqual(wrong, set())

    def test_tests_keep_to_it(self) -> None:
        """
        No class of tests extends a compiled one, and no test replaces a function, class or constant of a compiled
        module: compiled code would not see it.
        """
        wrong = []
        for path in sorted((TOP / "tests").rglob("*.py")):
            source = path.read_text()
            wrong += [f"{path.name} extends {base} of {name}" for name, base in extended(source) if name in COMPILED]
            wrong += [
                f"{path.name} replaces {what} of {name}"
                for name, what in replaced(source)
                if name in COMPILED and what in bound(modules()[name].read_text())
            ]
        self.assertEqual(wrong, [])

    def test_replacing_is_seen(self) -> None:
        """
        What is replaced is found under all names of its module, and what is bound for good is told from the rest.
        """
        source = 'from a.b import c as under_test\nclass X:\n    def y(self):\n        self.patch(under_test, "d", 1)\n'
        self.assertEqual(list(replaced(source)), [("a.b.c", "d")])
        source = "A: Final = 1\nB: Final[int] = 1\nC = 2\nD: int = 3\ndef e(): pass\nclass F: pass\n"
        self.assertEqual(bound(source), {"A", "B", "e", "F"})

    def test_extending_is_seen(self) -> None:
        """
        Classes that are extended are found by their own names, by others, and through their modules.
        """
        source = (
            "from a.b import C as D, E\nfrom a import b\n"
            "class F(D): pass\nclass G(object, b.H): pass\nclass I(F, dict): pass\n"
        )
        self.assertEqual(sorted(extended(source)), [("a.b", "C"), ("a.b", "H")])


class HindranceTests(SynchronousTestCase):
    """
    Where there is no point in trying.
    """

    def test_forbidden(self) -> None:
        """
        The environment can forbid it.
        """
        for value in ("1", "yes"):
            self.assertEqual(backend.hindrance({"SNIPROXY_PURE": value}), "SNIPROXY_PURE is set")
        for value in ("", "0"):
            self.assertNotEqual(backend.hindrance({"SNIPROXY_PURE": value}), "SNIPROXY_PURE is set")

    def test_interpreter(self) -> None:
        """
        Only CPython on Linux has been tried.
        """
        self.patch(sys, "platform", "plan9")
        self.assertEqual(backend.hindrance({}), "not tried on plan9")
        self.patch(sys.implementation, "name", "pypy")
        self.assertEqual(backend.hindrance({}), "pypy is not CPython")

    def test_no_compiler(self) -> None:
        """
        There must be a C compiler, that of the environment or the one that Python was made with, and Python's headers.
        """
        self.assertEqual(backend.hindrance({"CC": "no-such-cc -O1"}), "there is no C compiler (no-such-cc)")
        folder = os.path.abspath(self.mktemp())
        self.patch(sysconfig, "get_path", lambda name: folder)
        self.assertEqual(backend.hindrance({"CC": sys.executable}), f"there is no {folder}/Python.h")
        os.mkdir(folder)
        Path(folder, "Python.h").touch()
        self.assertIsNone(backend.hindrance({"CC": sys.executable}))


class BackendTests(SynchronousTestCase):
    """
    What pip asks for, with setuptools in the hands of the test.
    """

    def setUp(self) -> None:
        self.reason: str | None = None
        self.told: list[dict[str, Any]] = []
        self.err = io.StringIO()
        self.patch(sys, "stderr", self.err)
        self.patch(backend, "hindrance", lambda environment: self.reason)
        self.patch(backend, "extensions", lambda folder: [f"of {folder}"])
        self.patch(backend, "MYPYC", "ast")
        self.patch(build_meta, "build_wheel", self.build_wheel)
        self.patch(build_meta, "get_requires_for_build_wheel", lambda settings: ["wheel"])

    def build_wheel(self, folder: str, settings: Any, metadata: str | None) -> str:
        """
        Run setup.py, as setuptools would.
        """
        self.told.append(backend.arguments(["bdist_wheel"]))
        return "a.whl"

    def test_compiled(self) -> None:
        """
        A wheel is compiled, in a folder of its own that is gone afterwards, and nothing is said.
        """
        self.assertEqual(backend.build_wheel("dist"), "a.whl")
        (told,) = self.told
        place = os.path.dirname(told["options"]["build"]["build_base"])
        self.assertEqual(told["ext_modules"], [f"of {place}"])
        self.assertFalse(os.path.exists(place))
        self.assertEqual(self.err.getvalue(), "")
        self.assertEqual(backend.get_requires_for_build_wheel(), ["wheel", *backend.COMPILER])

    def test_hindered(self) -> None:
        """
        Where it cannot be compiled nothing is asked for, and the wheel is pure; why is said in a line.
        """
        self.reason = "there is no C compiler (cc)"
        self.assertEqual(backend.build_wheel("dist"), "a.whl")
        self.assertEqual([list(told) for told in self.told], [["options"]])
        self.assertEqual(
            self.err.getvalue(),
            "sniproxy: made without compiling, in pure Python: there is no C compiler (cc)\n",
        )
        self.assertEqual(backend.get_requires_for_build_wheel(), ["wheel"])

    def test_no_mypy(self) -> None:
        """
        So it is where whoever builds has not brought mypy.
        """
        self.patch(backend, "MYPYC", "no_such_compiler")
        backend.build_wheel("dist")
        self.assertEqual([list(told) for told in self.told], [["options"]])
        self.assertTrue(self.err.getvalue().endswith("in pure Python: there is no mypy\n"))

    def test_failure(self) -> None:
        """
        A build that fails, in whatever manner, is done once more in pure Python, from the beginning.
        """
        for error in (SystemExit(1), OSError("no space")):
            self.setUp()

            def fail(folder: str, error: BaseException = error) -> Any:
                raise error

            self.patch(backend, "extensions", fail)
            self.assertEqual(backend.build_wheel("dist"), "a.whl")
            self.assertEqual([list(told) for told in self.told], [["options"]])
            self.assertIn(f"compiling failed ({type(error).__name__}: {error})\n", self.err.getvalue())

    def test_interrupted(self) -> None:
        """
        Who interrupts a build wants no other.
        """

        def fail(folder: str) -> Any:
            raise KeyboardInterrupt

        self.patch(backend, "extensions", fail)
        self.assertRaises(KeyboardInterrupt, backend.build_wheel, "dist")
        self.assertEqual(self.told, [])

    def test_others(self) -> None:
        """
        An editable install, a source distribution and questions about the project compile nothing; C{build_ext} does.
        """
        for words in (["editable_wheel"], ["sdist"], ["egg_info"], []):
            self.assertEqual(backend.arguments(words), {})
        told = backend.arguments(["build_ext", "--inplace"])
        self.assertTrue(told["options"]["build"]["build_base"].endswith("/build"))
        self.assertEqual(len(told["ext_modules"]), 1)

    def test_flags(self) -> None:
        """
        The library of the group, by the name that mypyc gives it, is built for short code; the doors are as mypyc
        wants them.
        """
        made: dict[str, Any] = {}

        def mypycify(files: list[str], **options: Any) -> list[Extension]:
            made.update(options)
            names = (f"{options['group_name']}__mypyc", "sniproxy.addresses")
            return [Extension(name, [], extra_compile_args=["-O2"]) for name in names]

        folder = self.mktemp()
        os.mkdir(folder)
        self.patch(backend, "extensions", EXTENSIONS)
        with mock.patch.dict(sys.modules, {"mypyc": mock.Mock(), "mypyc.build": mock.Mock(mypycify=mypycify)}):
            library, door = backend.extensions(folder)
        self.assertEqual(made["opt_level"], "2")
        self.assertEqual(library.extra_compile_args, ["-O2", *backend.FLAGS])
        self.assertEqual(door.extra_compile_args, ["-O2"])
        self.assertIn("CPy_AddTraceback", Path(backend.COLD).read_text())

    def test_declared(self) -> None:
        """
        It is the backend that pyproject.toml names, and a source distribution brings it.
        """
        declared = (TOP / "pyproject.toml").read_text()
        self.assertIn(f'build-backend = "{backend.__name__}"\nbackend-path = ["."]\n', declared)
        self.assertIn("recursive-include compiling *.py *.h", (TOP / "MANIFEST.in").read_text())
