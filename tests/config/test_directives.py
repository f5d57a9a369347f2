"""
Tests for L{sniproxy.config.directives}.
"""

from __future__ import annotations

from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.config.directives import Scope, allowed, clashes, declared
from sniproxy.config.grammar import Node
from tests.config.mini import ANYWHERE, ERROR_LOG, LISTEN, PASS, PEER, SERVER, TCP_NODELAY, Module


def node(name: str, line: int) -> Node:
    """
    A directive of nothing but a place.
    """
    return Node(name, (), (False,), None, "f", line)


class Scopes(SynchronousTestCase):
    """
    What a block sees.
    """

    def setUp(self) -> None:
        self.main = Scope("main", None, None)
        self.stream = Scope("stream", node("stream", 1), self.main)
        self.server = Scope("stream.server", node("server", 2), self.stream)
        self.main.children.append(self.stream)
        self.stream.children.append(self.server)

    def test_default(self) -> None:
        """
        What nobody sets has its default and no place.
        """
        self.assertIs(self.server[TCP_NODELAY], True)
        self.assertIsNone(self.server.where(TCP_NODELAY))
        self.assertEqual(self.server[LISTEN], ())

    def test_inherited(self) -> None:
        """
        The nearest block that sets a directive is the one that counts, and tells where.
        """
        self.stream.values[TCP_NODELAY] = False
        self.stream.nodes[TCP_NODELAY] = [node("tcp_nodelay", 3), node("tcp_nodelay", 4)]
        self.assertIs(self.server[TCP_NODELAY], False)
        self.assertIs(self.main[TCP_NODELAY], True)
        place = self.server.where(TCP_NODELAY)
        assert place is not None
        self.assertEqual(place.line, 4)
        self.assertEqual((self.server.has(TCP_NODELAY), self.stream.has(TCP_NODELAY)), (False, True))

    def test_never_inherited(self) -> None:
        """
        A directive that does not inherit counts in its own block only.
        """
        self.stream.values[PASS] = "a"
        self.stream.nodes[PASS] = [node("proxy_pass", 3)]
        self.assertIsNone(self.server[PASS])
        self.assertIsNone(self.server.where(PASS))
        self.assertEqual(self.stream[PASS], "a")

    def test_inside(self) -> None:
        """
        The blocks inside can be had by their context.
        """
        self.assertEqual(list(self.stream.inside("stream.server")), [self.server])
        self.assertEqual(list(self.stream.inside("stream.upstream")), [])


class Declarations(SynchronousTestCase):
    """
    Which directive a name means.
    """

    def test_declared(self) -> None:
        """
        Directives of one name are kept together.
        """
        found = declared((Module("a", (SERVER, LISTEN)), Module("b", (PEER,))))
        self.assertEqual(found, {"server": [SERVER, PEER], "listen": [LISTEN]})

    def test_allowed(self) -> None:
        """
        The context decides; a directive with a meaning goes before one that is ignored.
        """
        ignored = replace(ERROR_LOG, ignored="for a reason")
        self.assertIs(allowed((SERVER, PEER), "stream.upstream"), PEER)
        self.assertIsNone(allowed((SERVER, PEER), "main"))
        self.assertIs(allowed((ANYWHERE,), "main"), ANYWHERE)
        self.assertIs(allowed((ignored, ERROR_LOG), "main"), ERROR_LOG)
        self.assertIs(allowed((ignored, replace(ignored)), "main"), ignored)

    def test_clashes(self) -> None:
        """
        Two meanings in one context clash, once; in two contexts, or beside an ignored one, they do not.
        """
        twice = {"error_log": [ERROR_LOG, replace(ERROR_LOG, contexts=("stream",)), ERROR_LOG]}
        self.assertEqual(list(clashes(twice)), ["error_log"])
        ignored = replace(ERROR_LOG, ignored="for a reason")
        self.assertEqual(list(clashes({"server": [SERVER, PEER], "error_log": [ignored, ERROR_LOG, ignored]})), [])
