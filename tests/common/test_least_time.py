"""
Tests for L{sniproxy.common.least_time}.
"""

from __future__ import annotations

from types import SimpleNamespace

from twisted.plugin import IPlugin
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sniproxy.balancing.least_time import LeastTime, Times, Until
from sniproxy.common.least_time import least_time, times_of_request
from sniproxy.common.upstream import groups, upstream
from sniproxy.errors import ConfigErrors
from sniproxy.interfaces import IModule
from tests.support.balanced import BalancedTestCase
from tests.support.places import FakeRequest, Places
from tests.support.sessions import World, configured


class LeasttimeTests(BalancedTestCase):
    """
    The directive at work.
    """

    def test_interfaces(self) -> None:
        """
        The module is a plugin, and does nothing by itself.
        """
        self.assertTrue(verifyObject(IModule, least_time))
        self.assertTrue(IPlugin.providedBy(least_time))
        self.assertIsNone(least_time.attach(None, None))  # type: ignore[func-returns-value, arg-type]

    def one(self, world: World, seconds: float, byte: float, last: float) -> None:
        """
        A session that takes so long to connect, to the first byte and to its end.
        """
        client = world.client()
        world.pass_time(seconds)
        upstream = world.attempt().succeed()
        world.pass_time(byte)
        upstream.arrive(b"x")
        world.pass_time(last)
        client.end()

    def test_measured(self) -> None:
        """
        Each of the three times is what a session took from the begin of its try.
        """
        for line in ("least_time connect;", "least_time first_byte inflight;", "least_time LAST_BYTE;"):
            world = self.world(line)
            self.one(world, 0.5, 0.25, 1.0)
            upstream = groups(world.build)["back"]
            balancer = upstream.balancer()
            assert isinstance(balancer, LeastTime)
            averages = balancer.record(upstream.group.peers[0]).averages
            self.assertEqual(averages, {Until.CONNECT: 500, Until.FIRST_BYTE: 750, Until.LAST_BYTE: 1750})

    def test_quickest(self) -> None:
        """
        Clients go where it was quick.
        """
        world = self.world("least_time connect;")
        for seconds in (0.5, 0.05, 0.5):
            self.one(world, seconds, 0.0, 0.0)
        self.assertEqual([self.port(world) for _ in range(3)], [2, 2, 2])

    def test_inflight(self) -> None:
        """
        A client who waits for its first byte keeps others away, until it has come.
        """
        world = self.world("least_time first_byte inflight;")
        client = world.client()
        self.assertEqual(world.attempt().address.port, 1)
        upstream = world.attempt().succeed()
        for _ in range(2):
            self.one(world, 0.0, 1.0, 0.0)
        world.pass_time(5)
        self.assertEqual(sorted(self.port(world) for _ in range(3)), [2, 2, 3])
        upstream.arrive(b"x")
        client.end()

    def test_faults(self) -> None:
        """
        Other words are refused.
        """
        self.assertEqual(self.complaints("least_time header;"), ['invalid value "header" in /etc/edge.conf:2'])
        self.assertEqual(self.complaints("least_time connect x;"), ['invalid parameter "x" in /etc/edge.conf:2'])
        configured("stream { upstream b { least_time connect; server 192.0.2.2:1; server 192.0.2.2:2 backup; } }")


class HttpTests(SynchronousTestCase):
    """
    Groups of http.
    """

    def test_header(self) -> None:
        """
        The header of an answer is measured, or its end; the times are those of the last try.
        """
        for word, until in (("header", Until.FIRST_BYTE), ("last_byte inflight", Until.LAST_BYTE)):
            text = f"upstream b {{ least_time {word}; server 192.0.2.1; server 192.0.2.2; }}"
            balancer = groups(Places(text, [upstream, least_time]).build, "http")["b"].balancer()
            assert isinstance(balancer, LeastTime)
            self.assertEqual((balancer.until, balancer.inflight), (until, "inflight" in word))
            request = FakeRequest()
            request.upstream_states = [
                None,
                SimpleNamespace(connect_time=0.1, header_time=0.2, response_time=0.3),
            ]
            self.assertEqual(balancer.timing(request), Times(0.1, 0.2, 0.3))
            self.assertEqual(times_of_request(request), Times(0.1, 0.2, 0.3))

    def test_words(self) -> None:
        """
        The words of stream mean nothing in http.
        """
        text = "upstream b { least_time connect; server 192.0.2.1; }"
        problem: ConfigErrors = self.assertRaises(ConfigErrors, Places, text, [upstream, least_time])
        self.assertEqual(str(problem.errors[0]), 'invalid value "connect" in /etc/edge.conf:2')
