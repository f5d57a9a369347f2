"""
Tests for L{sniproxy.http.server}.
"""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.common.listen import listenings
from sniproxy.config.grammar import Node
from tests.support.sessions import configured


class ServerTests(SynchronousTestCase):
    """
    A server of http.
    """

    def test_dissolve(self) -> None:
        """
        What is over lets go of its places, and they of theirs.
        """
        build = configured("http { server { listen 192.0.2.1:80; location / { } location @a { } } }")
        (listening,) = listenings(build)
        server: Any = listening.default
        named = server.named["@a"]
        named.take_content(lambda request: None, Node("x", (), (), None, "f", 1))
        self.assertTrue(server.lenient)
        server.dissolve()
        self.assertEqual((list(server.place.inside), server.named, named.content), ([], {}, None))
