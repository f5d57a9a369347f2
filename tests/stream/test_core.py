"""
Tests for L{sniproxy.stream.core}.
"""

from __future__ import annotations

from typing import Any

from twisted.plugin import IPlugin
from zope.interface.verify import verifyObject

from sniproxy.common.listen import TCP_NODELAY, listenings
from sniproxy.common.server import Server
from sniproxy.config.build import Build
from sniproxy.errors import ConfigError
from sniproxy.interfaces import IModule
from sniproxy.stream.core import PREREAD_BUFFER_SIZE, PREREAD_TIMEOUT, core
from tests.common.test_listen import FILES, NAMES, PASS, ListenCase, build, warnings
from tests.support.sessions import configured


class ModuleTests(ListenCase):
    """
    The module itself.
    """

    def test_interfaces(self) -> None:
        """
        It is a plugin and a module, which attaches nothing by itself.
        """
        self.assertTrue(verifyObject(IModule, core))
        self.assertTrue(IPlugin.providedBy(core))
        server: Any = None
        core.attach(server, build("listen 80;"))

    def test_defaults(self) -> None:
        """
        The limits of preread and TCP_NODELAY have nginx's defaults, and are inherited.
        """
        scope = self.only("listen 80;").default.scope
        self.assertEqual((scope[PREREAD_BUFFER_SIZE], scope[PREREAD_TIMEOUT], scope[TCP_NODELAY]), (16384, 30.0, True))
        made = configured(
            "stream { preread_buffer_size 1k; preread_timeout 5s; tcp_nodelay off; server { listen 80; " + PASS + " } }"
        )
        (listening,) = listenings(made)
        scope = listening.default.scope
        self.assertEqual((scope[PREREAD_BUFFER_SIZE], scope[PREREAD_TIMEOUT], scope[TCP_NODELAY]), (1024, 5.0, False))
        self.assertFalse(listening.default.tcp_nodelay)

    def test_nothing(self) -> None:
        """
        A configuration without servers has no addresses, and one that was not assembled neither.
        """
        self.assertEqual(listenings(configured("stream { }")), ())
        self.assertEqual(listenings(Build([], file="edge.conf")), ())

    def test_no_listen(self) -> None:
        """
        A server that listens nowhere is refused.
        """
        self.assertEqual(self.complaints(""), ['no "listen" is defined for server in /etc/edge.conf:2'])

    def test_modules_attach_in_order(self) -> None:
        """
        Modules attach when all addresses are known, server by server; what one complains of is an error of that
        server.
        """

        class Attaches:
            name = "test_attaches"
            directives = variables = ()

            def __init__(self) -> None:
                self.seen: list[tuple[int, int]] = []

            def prepare(self, build: Build) -> None:
                """
                Nothing.
                """

            def attach(self, server: Server, build: Build) -> None:
                """
                Refuse the second.
                """
                self.seen.append((len(server.listenings), len(server.listenings[0].servers)))
                if len(self.seen) == 2:
                    raise ConfigError("this one is wrong")

        attaches = Attaches()
        self.assertEqual(
            self.complaints("listen 443;", "listen 443;", "listen 443;", more=(attaches,)),
            ["this one is wrong in /etc/edge.conf:3"],
        )
        self.assertEqual(attaches.seen, [(1, 3)] * 3)

    def test_no_handler(self) -> None:
        """
        A server that does nothing with its sessions is a warning: most likely its proxy_pass was forgotten.
        """
        made = configured("stream {\nserver { listen 1; }\n}", FILES, NAMES, ())
        self.assertEqual(warnings(made), ["no handler for server: its clients are sent away in /etc/edge.conf:2"])
