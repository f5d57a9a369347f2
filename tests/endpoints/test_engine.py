"""
Tests of L{sniproxy.endpoints.engine}.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.endpoints.engine import LINGERING, Engine, lease
from sniproxy.net.network import Network
from sniproxy.net.timers import Deadlines


class FakePoller:
    """
    Watches as much as it is told.
    """

    idle = True


class FakeNetwork:
    """
    Notes that it was stopped.
    """

    def __init__(self, clock: Any) -> None:
        self.poller = FakePoller()
        self.deadlines = Deadlines(clock)
        self.stopped = 0
        self.calls: list[Any] = []

    def stop(self) -> None:
        self.stopped += 1

    def start_tls(self, leg: Any, make: Any) -> Any:
        self.calls.append((leg, make))
        return "tls"

    def relay(self, client: Any, upstream: Any) -> Any:
        self.calls.append((client, upstream))
        return "relay"


class EngineTests(SynchronousTestCase):
    """
    Leases and what they keep going.
    """

    def setUp(self) -> None:
        self.reactor: Any = MemoryReactorClock()
        self.network = FakeNetwork(self.reactor)
        self.stopped: list[int] = []
        self.engine = Engine(self.reactor, lambda: self.stopped.append(1), self.network)

    def test_one_engine_for_a_reactor(self) -> None:
        """
        Leases of one reactor share an engine, and a new one is made when the last has ended.
        """
        engine, first = lease(self.reactor)
        again, second = lease(self.reactor)
        self.assertIs(engine, again)
        self.assertIsInstance(engine.network, Network)
        self.assertEqual(len(self.reactor.getReaders()), 1)
        first.end()
        self.assertEqual(len(self.reactor.getReaders()), 1)
        second.end()
        self.assertEqual((self.reactor.getReaders(), self.reactor.getDelayedCalls()), ([], []))
        other, third = lease(self.reactor)
        self.assertIsNot(engine, other)
        third.end()

    def test_lease_ends_once(self) -> None:
        """
        A lease that is ended twice counts once.
        """
        first, second = self.engine.lease(), self.engine.lease()
        first.end()
        first.end()
        self.assertEqual(self.network.stopped, 0)
        second.end()
        self.assertEqual((self.network.stopped, self.stopped), (1, [1]))

    def test_lingering(self) -> None:
        """
        What still lingers in the poller keeps the network until it is gone.
        """
        claim = self.engine.lease()
        self.network.poller.idle = False
        claim.end()
        self.reactor.advance(LINGERING)
        self.assertEqual(self.network.stopped, 0)
        self.network.poller.idle = True
        self.reactor.advance(LINGERING)
        self.assertEqual((self.network.stopped, self.reactor.getDelayedCalls()), (1, []))

    def test_lease_while_lingering(self) -> None:
        """
        A lease that begins while something lingers keeps the network, and when it ends nobody looks twice.
        """
        claim = self.engine.lease()
        self.network.poller.idle = False
        claim.end()
        second = self.engine.lease()
        third = self.engine.lease()
        third.end()
        self.network.poller.idle = True
        self.reactor.advance(LINGERING)
        self.assertEqual(self.network.stopped, 0)
        self.network.poller.idle = False
        second.end()
        fourth = self.engine.lease()
        fourth.end()
        self.assertEqual(len(self.reactor.getDelayedCalls()), 1)
        self.network.poller.idle = True
        self.reactor.advance(LINGERING)
        self.assertEqual(self.network.stopped, 1)

    def test_network_does_the_work(self) -> None:
        """
        TLS and relays are the network's.
        """
        self.assertEqual(self.engine.start_tls(1, 2), "tls")
        self.assertEqual(self.engine.relay(3, 4), "relay")  # type: ignore[arg-type]
        self.assertEqual(self.network.calls, [(1, 2), (3, 4)])
        self.assertIs(self.engine.deadlines, self.network.deadlines)
