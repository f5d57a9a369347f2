"""
Tests for L{sniproxy.common.least_conn}.
"""

from __future__ import annotations

from twisted.plugin import IPlugin
from zope.interface.verify import verifyObject

from sniproxy.common.least_conn import least_conn
from sniproxy.interfaces import IModule
from tests.support.balanced import BalancedTestCase
from tests.support.sessions import configured


class LeastconnTests(BalancedTestCase):
    """
    The directive at work.
    """

    def test_interfaces(self) -> None:
        """
        The module is a plugin, and does nothing by itself.
        """
        self.assertTrue(verifyObject(IModule, least_conn))
        self.assertTrue(IPlugin.providedBy(least_conn))
        self.assertIsNone(least_conn.attach(None, None))  # type: ignore[func-returns-value, arg-type]

    def test_fewest(self) -> None:
        """
        Clients go where the fewest are.
        """
        world = self.world("least_conn;")
        self.assertEqual([self.port(world) for _ in range(3)], [1, 2, 3])
        world.network.attempts[1].cancelled = True
        for session in list(world.runtime.sessions):
            if session.upstream == "192.0.2.2:2":
                session.finish()
        self.assertEqual([self.port(world) for _ in range(1)], [2])

    def test_faults(self) -> None:
        """
        It has no arguments, and a second way of balancing is a warning.
        """
        self.assertEqual(
            self.complaints("least_conn x;"),
            ['invalid number of arguments in "least_conn" directive in /etc/edge.conf:2'],
        )
        for text in ("random; least_conn;", "least_conn; least_conn;"):
            warnings = self.world(text).build.warnings
            self.assertEqual([str(each) for each in warnings], ["load balancing method redefined in /etc/edge.conf:2"])

    def test_backups(self) -> None:
        """
        Servers may be backups.
        """
        configured("stream { upstream b { least_conn; server 192.0.2.2:1; server 192.0.2.2:2 backup; } }")
