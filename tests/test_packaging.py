"""
What an installation finds: the plugins, the promise of types, the floors of what we depend on.
"""

from __future__ import annotations

import os
import re
import stat
from configparser import ConfigParser
from importlib.metadata import version
from pathlib import Path

from twisted.application.service import IServiceMaker, ServiceMaker
from twisted.plugin import getPlugins
from twisted.trial.unittest import SkipTest, SynchronousTestCase

import sniproxy
from tests.support.house import HOUSE, TOP
from tests.support.programs import need

FRAGMENT = re.compile(r"(\+[\w-]+|[\w-]+)\.(feature|bugfix|removal|doc|misc)(\.\d+)?\.md")


def declared() -> ConfigParser:
    """
    What setup.cfg says.
    """
    parser = ConfigParser()
    parser.read(TOP / "setup.cfg")
    return parser


def pairs(text: str, between: str) -> dict[str, str]:
    """
    Names and versions of requirements, one a line, comments apart.
    """
    lines = [line.partition("#")[0].strip() for line in text.splitlines()]
    return dict(line.split(between) for line in lines if line)


class PackagingTests(SynchronousTestCase):
    """
    The project as pip and twistd see it.
    """

    def test_twistd_finds_the_service(self) -> None:
        """
        twistd offers exactly one service by our name, and no plugin file loads a reactor.
        """
        (maker,) = [maker for maker in getPlugins(IServiceMaker) if maker.tapname == "sniproxy"]
        assert isinstance(maker, ServiceMaker)
        self.assertEqual(maker.module, "sniproxy.tap")
        for path in (TOP / "twisted/plugins").glob("*.py"):
            self.assertNotIn("reactor", path.read_text())

    def test_twisted_plugins_is_no_package(self) -> None:
        """
        twisted/ and twisted/plugins/ have no __init__.py, which would hide Twisted itself.
        """
        self.assertEqual([str(path) for path in (TOP / "twisted").rglob("__init__.py")], [])

    def test_every_package_is_found(self) -> None:
        """
        Each folder with Python files in it is a package, so that no room is missing from a wheel.
        """
        folders = {path.parent for path in HOUSE.rglob("*.py")}
        self.assertEqual([str(folder) for folder in folders if not (folder / "__init__.py").exists()], [])

    def test_typed(self) -> None:
        """
        Type checkers of users are told that the package has types, in the tree and in what is packaged.
        """
        self.assertTrue((HOUSE / "py.typed").exists())
        self.assertIn("py.typed", declared()["options.package_data"]["sniproxy"])

    def test_version(self) -> None:
        """
        The version is written once, in the package.
        """
        self.assertRegex(sniproxy.__version__, r"^\d+\.\d+\.\d+$")
        self.assertEqual(declared()["metadata"]["version"], "attr: sniproxy.__version__")
        self.assertEqual(version("sniproxy"), sniproxy.__version__)

    def test_floors_are_tried(self) -> None:
        """
        The floors that setup.cfg promises are the versions that the floor environment installs.
        """
        promised = pairs(declared()["options"]["install_requires"], ">=")
        tried = pairs((TOP / "tests/constraints-floor.txt").read_text(), "==")
        self.assertEqual(promised.keys(), tried.keys())
        for name, floor in promised.items():
            self.assertEqual(tried[name].split(".")[: len(floor.split("."))], floor.split("."), name)
            self.assertEqual(set(tried[name].split(".")[len(floor.split(".")) :]) - {"0"}, set(), name)

    def test_fragments(self) -> None:
        """
        Each news fragment has a name that towncrier collects, and says something.
        """
        for path in (TOP / "newsfragments").iterdir():
            if path.name not in ("README.md", ".gitignore"):
                self.assertRegex(path.name, FRAGMENT)
                self.assertNotEqual(path.read_text().strip(), "", path.name)

    def test_ci_can_be_run(self) -> None:
        """
        The script that CI runs is executable.
        """
        self.assertTrue(os.stat(TOP / ".ci/run").st_mode & stat.S_IXUSR)


class ProgramsTests(SynchronousTestCase):
    """
    What happens to a test whose program is not there.
    """

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()

    def test_found(self) -> None:
        """
        A program on the path is found.
        """
        program = self.folder.resolve() / "some-server"
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
        self.assertEqual(need("some-server", {"PATH": str(self.folder.resolve()), "CI": "1"}), str(program))

    def test_missing_on_a_desk(self) -> None:
        """
        On a developer's machine a missing program skips the test, by name.
        """
        skipped = self.assertRaises(SkipTest, need, "no-such-server", {"PATH": str(self.folder)})
        self.assertIn("no-such-server", str(skipped))

    def test_missing_in_ci(self) -> None:
        """
        Where CI is set a missing program fails the test, so that nothing is left out in silence.
        """
        failed = self.assertRaises(RuntimeError, need, "no-such-server", {"PATH": str(self.folder), "CI": "true"})
        self.assertIn("no-such-server", str(failed))
