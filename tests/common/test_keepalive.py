"""
Tests for L{sniproxy.common.keepalive}.
"""

from __future__ import annotations

from twisted.plugin import IPlugin
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sniproxy.common.keepalive import Keepalive, keepalive
from sniproxy.common.upstream import groups, upstream
from sniproxy.errors import ConfigErrors
from sniproxy.interfaces import IModule
from tests.support.places import Places


class KeepaliveTests(SynchronousTestCase):
    """
    What groups keep.
    """

    def kept(self, line: str) -> Keepalive | None:
        """
        By a group with this line.
        """
        text = f"upstream b {{ {line} server 192.0.2.1; }}"
        return groups(Places(text, [upstream, keepalive]).build, "http")["b"].keepalive

    def test_interfaces(self) -> None:
        """
        The module is a plugin, and does nothing by itself.
        """
        self.assertTrue(verifyObject(IModule, keepalive))
        self.assertTrue(IPlugin.providedBy(keepalive))
        self.assertIsNone(keepalive.attach(None, None))  # type: ignore[func-returns-value, arg-type]

    def test_said(self) -> None:
        """
        A group keeps what it says; one that says nothing keeps 32 connections for each location.
        """
        self.assertEqual(self.kept(""), Keepalive(32, True, 1000, 3600.0, 60.0))
        self.assertEqual(self.kept("keepalive 5;"), Keepalive(5, False))
        self.assertEqual(self.kept("keepalive 0 local;"), Keepalive(0, True))
        self.assertEqual(
            self.kept("keepalive 1; keepalive_requests 2; keepalive_time 3m; keepalive_timeout 4s;"),
            Keepalive(1, False, 2, 180.0, 4.0),
        )

    def test_faults(self) -> None:
        """
        What is no number, no word of it, or said twice is an error.
        """
        for line, complaint in (
            ("keepalive x;", 'invalid value "x" in "keepalive" directive'),
            ("keepalive 1 x;", 'invalid parameter "x"'),
            ("keepalive 1; keepalive 1;", '"keepalive" directive is duplicate'),
            ("keepalive_time x;", '"keepalive_time" directive invalid value'),
        ):
            problem: ConfigErrors = self.assertRaises(ConfigErrors, self.kept, line)
            self.assertEqual([str(each) for each in problem.errors], [f"{complaint} in /etc/edge.conf:2"])
