"""
Where we differ from nginx on purpose.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.config.differences import DIFFERENCES
from sniproxy.plugins import shipped
from tests.support.house import HOUSE


class DifferencesTests(SynchronousTestCase):
    """
    The list as operators get it.
    """

    def test_names(self) -> None:
        """
        Whatever is said to differ is a directive or a variable that a module of ours provides.
        """
        modules = [getattr(shipped, name) for name in shipped.__all__]
        known = {directive.name for module in modules for directive in module.directives}
        known |= {
            f"{context.split('.')[-1]}.{directive.name}"
            for module in modules
            for directive in module.directives
            for context in directive.contexts
        }
        known |= {f"${variable.name}" for module in modules for variable in module.variables}
        named = {name for difference in DIFFERENCES for name in difference.names}
        self.assertEqual(named - known, set())

    def test_files(self) -> None:
        """
        It is done where it is said to be done.
        """
        self.assertEqual([each.file for each in DIFFERENCES if not (HOUSE / each.file).is_file()], [])

    def test_sentences(self) -> None:
        """
        What it is, what nginx does and why are sentences, and the first and the last are always there.
        """
        for each in DIFFERENCES:
            for text in (each.here, each.why, each.nginx or "."):
                self.assertTrue(text.endswith("."), text)
                self.assertNotIn("|", text)
            self.assertGreater(min(len(each.here), len(each.why)), 10)

    def test_once(self) -> None:
        """
        Nothing is said twice.
        """
        said = [each.here for each in DIFFERENCES]
        self.assertEqual(len(said), len(set(said)))
