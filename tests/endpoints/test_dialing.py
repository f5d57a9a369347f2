"""
Tests of L{sniproxy.endpoints.dialing}.
"""

from __future__ import annotations

import errno
import socket
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, fail
from twisted.internet.error import ConnectError, DNSLookupError
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.interfaces import IResolutionReceiver
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sniproxy.addresses import Address
from sniproxy.endpoints.dialing import MOST, STAGGER, Over, To, interleaved
from sniproxy.endpoints.engine import lease
from tests.endpoints.loopback import HOST, LoopbackCase, reactor
from tests.endpoints.memory import MemoryPort, engine


def four(number: int) -> Address:
    """
    An IPv4 address.
    """
    return Address("inet", f"192.0.2.{number}", 443)


def six(number: int) -> Address:
    """
    An IPv6 address.
    """
    return Address("inet6", f"2001:db8::{number}", 443)


class FakeAttempt:
    """
    An attempt that waits to be told.
    """

    cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class FakeNetwork:
    """
    Connects when the test says so.
    """

    def __init__(self) -> None:
        self.tries: list[Any] = []
        self.refuse_at_once = False

    def connect(self, address: Address, options: Any, done: Any) -> Any:
        attempt = FakeAttempt()
        self.tries.append((address, done, attempt))
        if self.refuse_at_once:
            done(OSError(errno.ENETUNREACH, "Network is unreachable"), 0)
        return attempt


class FakeResolver:
    """
    Answers with what it was given, when it is told.
    """

    def __init__(self, *found: Any) -> None:
        self.found = found

    def resolveHostName(self, receiver: Any, host: str, port: int) -> None:
        verifyObject(IResolutionReceiver, receiver)
        receiver.resolutionBegan(None)
        for each in self.found:
            receiver.addressResolved(each)
        self.complete = receiver.resolutionComplete


class RaceTests(SynchronousTestCase):
    """
    Which address of a name is taken.
    """

    def setUp(self) -> None:
        self.clock: Any = Clock()
        self.network = FakeNetwork()
        self.outcomes: list[Any] = []
        engine: Any = type("Engine", (), {})()
        engine.reactor, engine.network = self.clock, self.network
        self.engine = engine

    def dial(self, *found: Any) -> Any:
        self.resolver = FakeResolver(*(self.twisted(each) for each in found))
        self.clock.nameResolver = self.resolver
        race = To("a.example", 443).dial(self.engine, self.outcomes.append)
        self.resolver.complete()
        return race

    def twisted(self, address: Any) -> Any:
        kind: Any = {"inet": IPv4Address, "inet6": IPv6Address}.get(getattr(address, "family", ""))
        return address if kind is None else kind("TCP", address.host, 0)

    def tried(self) -> list[Address]:
        return [address for address, _, _ in self.network.tries]

    def test_address(self) -> None:
        """
        An address needs no resolver and no second try.
        """
        To("192.0.2.1", 443).dial(self.engine, self.outcomes.append)
        self.assertEqual(self.tried(), [four(1)])
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.network.tries[0][1]("leg", 4)
        self.assertEqual(self.outcomes[0].leg, "leg")
        self.outcomes[0].ending(True)

    def test_next_after_a_while(self) -> None:
        """
        While one does not answer the next one is tried, and the first that answers wins.
        """
        self.dial(six(1), six(2), four(1))
        self.assertEqual(self.tried(), [six(1)])
        self.clock.advance(STAGGER)
        self.assertEqual(self.tried(), [six(1), four(1)])
        self.network.tries[1][1]("leg", 4)
        self.assertEqual(self.outcomes[0].leg, "leg")
        self.assertEqual([attempt.cancelled for _, _, attempt in self.network.tries], [True, False])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_next_after_a_failure(self) -> None:
        """
        A failure brings the next one at once, and the last failure is told as Twisted tells it.
        """
        self.dial(four(1), four(2))
        self.network.tries[0][1](OSError(errno.ECONNREFUSED, "no"), 0)
        self.assertEqual(self.tried(), [four(1), four(2)])
        self.network.tries[1][1](OSError(errno.ECONNREFUSED, "no"), 0)
        (error,) = self.outcomes
        self.assertIsInstance(error, Refused)
        self.assertIsInstance(error.__cause__, OSError)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_failure_waits_for_the_others(self) -> None:
        """
        While another attempt is under way a failure is not the end.
        """
        self.dial(four(1), four(2))
        self.clock.advance(STAGGER)
        self.network.tries[1][1](OSError(errno.ECONNREFUSED, "no"), 0)
        self.assertEqual(self.outcomes, [])
        self.network.tries[0][1]("leg", 4)
        self.assertEqual(self.outcomes[0].leg, "leg")

    def test_failures_at_once(self) -> None:
        """
        Addresses that fail within the call are all tried.
        """
        self.network.refuse_at_once = True
        self.dial(six(1), four(1))
        self.assertEqual(self.tried(), [six(1), four(1)])
        self.assertIsInstance(self.outcomes[0], ConnectError)

    def test_no_addresses(self) -> None:
        """
        A name without addresses, or with none that we can use, is a failed look-up.
        """
        self.dial()
        self.dial(IPv4Address("TCP", "not an address", 0))
        self.assertEqual([type(each) for each in self.outcomes], [DNSLookupError] * 2)

    def test_cap(self) -> None:
        """
        However many addresses a name has, a bounded number is tried.
        """
        self.network.refuse_at_once = True
        self.dial(*(four(number) for number in range(200)))
        self.assertEqual(len(self.tried()), MOST)

    def test_cancel(self) -> None:
        """
        Given up while attempts are under way, all of them end and nobody is told; a late answer to the look-up
        starts nothing.
        """
        race = self.dial(four(1), four(2), four(3))
        self.clock.advance(STAGGER)
        race.cancel()
        self.assertEqual([attempt.cancelled for _, _, attempt in self.network.tries], [True, True])
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.network.tries.clear()
        self.clock.nameResolver = resolver = FakeResolver(IPv4Address("TCP", "192.0.2.1", 0))
        To("a.example", 443).dial(self.engine, self.outcomes.append).cancel()
        resolver.complete()
        self.assertEqual((self.network.tries, self.outcomes), ([], []))

    def test_interleaved(self) -> None:
        """
        Families take turns, the first one's family first; what is there twice is tried once.
        """
        self.assertEqual(interleaved([]), [])
        self.assertEqual(interleaved([six(1), six(2), six(1), four(1)]), [six(1), four(1), six(2)])
        self.assertEqual(interleaved([four(1), six(1), six(2)]), [four(1), six(1), six(2)])


class OverTests(SynchronousTestCase):
    """
    By another endpoint.
    """

    def setUp(self) -> None:
        self.reactor, self.engine = engine(self)
        self.outcomes: list[Any] = []
        self.inner: Any = MemoryPort(self.reactor)

    def dial(self) -> Any:
        return Over(self.inner).dial(self.engine, self.outcomes.append)

    def test_leg(self) -> None:
        """
        Its connection becomes a leg.
        """
        self.dial()
        (dialled,) = self.outcomes
        dialled.leg.watch()
        dialled.leg.send(b"hello")
        self.assertEqual(self.inner.lines[0].heard(), b"hello")

    def test_failure(self) -> None:
        """
        Its failure is passed on as it is.
        """
        error = Refused()
        self.inner.connect = lambda factory: fail(error)
        self.dial()
        self.assertEqual(self.outcomes, [error])

    def test_cancel(self) -> None:
        """
        Given up, the other attempt is cancelled and nobody is told; a connection that comes all the same is closed.
        """
        waiting: Deferred[Any] = Deferred()
        connect, self.inner.connect = self.inner.connect, lambda factory: waiting
        self.dial().cancel()
        self.assertTrue(waiting.called)
        self.assertEqual(self.outcomes, [])
        factories: list[Any] = []

        def late(factory: Any) -> Deferred[Any]:
            factories.append(factory)
            return Deferred()

        self.inner.connect = late
        self.dial().cancel()
        connect(factories[0])
        self.assertTrue(self.inner.lines[0].closed)
        self.assertEqual(self.outcomes, [])


class RealTests(LoopbackCase):
    """
    Real sockets and the real resolver.
    """

    async def test_localhost(self) -> None:
        """
        A name that has addresses of both families is reached though one of them is refused.
        """
        with socket.create_server((HOST, 0)) as server:
            engine, claim = lease(reactor)
            outcome: Deferred[Any] = Deferred()
            To("localhost", server.getsockname()[1]).dial(engine, outcome.callback)
            dialled = await outcome
            self.assertEqual(dialled.leg.peer.port, server.getsockname()[1])
            dialled.leg.close()
            claim.end()
