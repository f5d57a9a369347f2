"""
Tests for L{sniproxy.service.about}.
"""

from __future__ import annotations

from importlib.machinery import EXTENSION_SUFFIXES
from types import ModuleType

from twisted.trial.unittest import SynchronousTestCase

import sniproxy
from sniproxy.service import about
from sniproxy.service.about import is_compiled, long, short


class AboutTests(SynchronousTestCase):
    """
    What the program says of itself.
    """

    def test_compiled(self) -> None:
        """
        Modules are compiled if each comes from a library; one that comes from nowhere does not.
        """
        library = ModuleType("library")
        library.__file__ = f"/x/library{EXTENSION_SUFFIXES[0]}"
        self.assertTrue(is_compiled(library))
        self.assertFalse(is_compiled(library, about))
        self.assertFalse(is_compiled(ModuleType("nowhere")))

    def test_all_or_none(self) -> None:
        """
        Of the modules that are asked, all are compiled or none is.
        """
        self.assertEqual(len({is_compiled(module) for module in about._HOT}), 1)
        self.assertEqual(is_compiled(), is_compiled(about._HOT[0]))

    def test_short(self) -> None:
        """
        Name and version, and whether it is compiled.
        """
        how = "compiled" if is_compiled() else "pure Python"
        self.assertEqual(short(), f"sniproxy/{sniproxy.__version__} ({how})")

    def test_long(self) -> None:
        """
        Below, what it stands on.
        """
        first, second = long().splitlines()
        self.assertEqual(first, short())
        self.assertRegex(
            second, r"^\w+ 3\.\d+\.\S+, Twisted \d+\.\S+, pyOpenSSL \d+\.\S+, cryptography \d+\.\S+, OpenSSL \d+\.\d+"
        )
