"""
Tests for L{sniproxy.common.server}.
"""

from __future__ import annotations

from unittest.mock import Mock

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.common.phases import Phase
from sniproxy.common.server import Server
from sniproxy.common.session import Session
from sniproxy.config.directives import Scope
from sniproxy.config.grammar import Node
from sniproxy.logs.error_log import ErrorLog
from tests.support.sessions import World


def node(name: str, line: int, file: str = "edge.conf") -> Node:
    """
    A directive.
    """
    return Node(name, (), (), None, file, line)


class ServerTests(SynchronousTestCase):
    """
    A server while modules attach to it.
    """

    def setUp(self) -> None:
        self.directives = (node("return", 9, "included.conf"), node("proxy_pass", 3), node("return", 3))
        block = Node("server", (), (), self.directives, "edge.conf", 1)
        self.server = Server(Scope("stream.server", block, None), ErrorLog([], lambda: 0.0), True)

    def test_new(self) -> None:
        """
        A new server does nothing in any phase and speaks no TLS.
        """
        self.assertEqual(self.server.phases, tuple([] for _ in Phase))
        self.assertEqual((self.server.names, self.server.listenings, self.server.tls), ((), [], None))
        self.assertEqual((self.server.lenient, self.server.alpn, self.server.opening_timeout), (False, None, None))

    def test_handlers(self) -> None:
        """
        Handlers stay in the order in which they were given, in their own phase.
        """

        def first(session: Session) -> None:
            """
            Nothing.
            """

        def second(session: Session) -> None:
            """
            Nothing.
            """

        self.server.handle(Phase.ACCESS, first)
        self.server.handle(Phase.ACCESS, second)
        self.assertEqual(self.server.phases[Phase.ACCESS], [first, second])
        self.assertEqual(sum(map(len, self.server.phases)), 2)

    def test_the_last_directive_takes_content(self) -> None:
        """
        Of several directives that take content the last in the block does, whichever attaches last and whichever file
        they stand in.
        """
        taken: list[str] = []
        handlers = [(lambda session, name=name: taken.append(name)) for name in ("a", "b", "c")]
        for order in ((0, 1, 2), (2, 1, 0), (1, 2, 0)):
            self.setUp()
            for place in order:
                self.server.take_content(handlers[place], self.directives[place])
            self.assertIs(self.server.content, handlers[2])

    def test_dissolve(self) -> None:
        """
        A server that is taken apart holds nothing that could hold it.
        """
        self.server.tls = self.server.lent = self.server.ocsp = self.server.tls_of = self.server.lent_of = Mock()
        self.server.listenings.append(Mock())
        self.server.handle(Phase.ACCESS, Mock())
        self.server.take_content(Mock(), self.directives[0])
        self.server.dissolve()
        new = Server(self.server.scope, self.server.error_log, True)
        held = ("listenings", "phases", "content", "tls", "lent", "ocsp", "tls_of", "lent_of")
        for name in held:
            self.assertEqual(getattr(self.server, name), getattr(new, name), name)

    def test_no_content(self) -> None:
        """
        A server that nothing takes content in ends its sessions with 500.
        """
        world = World("server { listen 192.0.2.1:1; }")
        client = world.client()
        self.assertEqual((world.statuses(), client.closed), ([500], True))
