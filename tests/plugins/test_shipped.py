"""
Tests for L{sniproxy.plugins.shipped}.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

from twisted.plugin import IPlugin, getPlugins
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sniproxy import plugins
from sniproxy.config.build import configure
from sniproxy.interfaces import IModule
from sniproxy.plugins import shipped


def modules() -> dict[str, Any]:
    """
    What the file offers, by the names in it.
    """
    return {name: getattr(shipped, name) for name in shipped.__all__}


class ShippedTests(SynchronousTestCase):
    """
    The modules that ship.
    """

    def test_interfaces(self) -> None:
        """
        Each is a plugin and a module, under a name of its own.
        """
        for name, module in modules().items():
            self.assertTrue(verifyObject(IModule, module), name)
            self.assertTrue(IPlugin.providedBy(module), name)
        names = [module.name for module in modules().values()]
        self.assertEqual(len(set(names)), len(names))

    def test_found(self) -> None:
        """
        Twisted finds them all on the shelf of plugins.
        """
        found = list(getPlugins(IModule, plugins))
        for module in modules().values():
            self.assertIn(module, found)

    def test_all_are_listed(self) -> None:
        """
        Every module object of the house is on the list, and the list is in order.
        """
        house = Path(plugins.__file__).parent.parent
        wanted = {
            path.relative_to(house.parent)
            for folder in ("stream", "service", "logs", "http")
            for path in house.glob(f"{folder}/*.py")
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.ClassDef)
            and any(ast.unparse(each) == "implementer(IPlugin, IModule)" for each in node.decorator_list)
        }
        listed = {Path(*type(module).__module__.split(".")).with_suffix(".py") for module in modules().values()}
        self.assertEqual(wanted - listed, set())
        self.assertEqual(shipped.__all__, sorted(shipped.__all__))

    def test_together(self) -> None:
        """
        They declare nothing twice, neither a directive nor a variable.
        """
        build = configure("", list(modules().values()), file="edge.conf")
        self.assertEqual((build.errors, build.warnings), ([], []))
