"""
Tests for L{sniproxy.common.listening}.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.addresses import Address
from sniproxy.common.listening import Listening, ListenOptions
from sniproxy.config.grammar import Node
from sniproxy.config.hostnames import Verdict
from sniproxy.config.regex import Regex

NODE = Node("listen", ("443",), (False,), None, "edge.conf", 1)


class ListeningTests(SynchronousTestCase):
    """
    Which server a name chooses.
    """

    def setUp(self) -> None:
        self.session: Any = SimpleNamespace(values={}, captures=None)
        self.listening = Listening(Address("inet", "0.0.0.0", 443), ListenOptions(), True, self.server("default"), NODE)

    def server(self, name: str) -> Any:
        """
        Something that stands for a server.
        """
        return SimpleNamespace(name=name)

    def chosen(self, name: str | None) -> str:
        """
        The server of a name.
        """
        server: Any = self.listening.choose(name, self.session)
        return str(server.name)

    def test_text(self) -> None:
        """
        Logs call it by its address.
        """
        self.assertEqual(self.listening.text, "0.0.0.0:443")

    def test_default(self) -> None:
        """
        Who names nobody, or somebody unknown, gets the default server.
        """
        self.listening.add_name("a.example", self.server("a"))
        self.assertEqual([self.chosen(name) for name in (None, "", "b.example")], ["default"] * 3)

    def test_precedence(self) -> None:
        """
        A whole name wins over the longest mask in front, that over the longest mask behind, and that over the first
        expression that matches.
        """
        for name in ("www.a.example", "*.a.example", "*.example", "www.a.*", "www.*"):
            self.assertIs(self.listening.add_name(name, self.server(name)), Verdict.TAKEN)
        for pattern in ("^www", "^ww"):
            self.listening.add_pattern(Regex(pattern), self.server(pattern))
        for name, server in (
            ("www.a.example", "www.a.example"),
            ("ftp.a.example", "*.a.example"),
            ("www.b.example", "*.example"),
            ("www.a.test", "www.a.*"),
            ("www.b.test", "www.*"),
            ("www2.b.test", "^www"),
            ("ww.b.test", "^ww"),
            ("w.b.test", "default"),
        ):
            self.assertEqual(self.chosen(name), server)

    def test_any_bytes(self) -> None:
        """
        Expressions are asked about whatever a client has sent.
        """
        self.listening.add_pattern(Regex("\xe4"), self.server("expression"))
        self.assertEqual(self.chosen("\udce4"), "default")
        self.assertEqual(self.chosen("\xe4"), "expression")

    def test_names_are_added_once(self) -> None:
        """
        The first server that has a name keeps it, and what is no name is told.
        """
        self.listening.add_name("a.example", self.server("first"))
        self.assertIs(self.listening.add_name("a.example", self.server("second")), Verdict.CONFLICT)
        self.assertIs(self.listening.add_name("a.*.example", self.server("third")), Verdict.INVALID)
        self.assertEqual(self.chosen("a.example"), "first")

    def test_captures(self) -> None:
        """
        The expression that chooses leaves what it captured in the session.
        """
        self.listening.add_pattern(Regex(r"^(.+)\.(?<zone>example)$"), self.server("by expression"))
        self.assertEqual(self.chosen("a.b.example"), "by expression")
        self.assertEqual(self.session.captures, ("a.b", "example"))
        self.assertEqual(self.session.values["zone"], "example")
