"""
Tests of sniproxy/net/rated.py: how bytes are moved no faster than so many a second.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.addresses import Address
from sniproxy.net.poller import IN, OUT
from sniproxy.net.rated import RatedRelaying, Rates
from sniproxy.net.relay import Options, Result
from tests.support.sessions import FakeLeg, FakeNetwork

HERE = Address("inet", "192.0.2.1", 1)


class Session:
    """
    Who waits.
    """

    due = 0.0
    bucket = 0

    def expired(self) -> None:
        """
        Never called here.
        """


class RatedTests(SynchronousTestCase):
    """
    Two legs in memory, and a clock.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(100)
        self.network = FakeNetwork(self.clock)
        self.client, self.upstream = (FakeLeg(self.network, HERE, HERE) for _ in range(2))
        self.results: list[Result] = []
        self.session = Session()

    def relay(self, up: int = 0, down: int = 0, size: int = 1000, **options: Any) -> RatedRelaying:
        """
        Begin, with both legs known to be silent so far.
        """
        relaying = RatedRelaying(
            Rates(up, down, self.clock.seconds()),
            self.clock,
            self.client,
            self.upstream,
            Options(size, **options),
            self.results.append,
            self.session,
            self.clock.seconds,
        )
        relaying.begin()
        self.network.turn()
        return relaying

    def wait(self, seconds: float) -> None:
        """
        Let time pass.
        """
        self.clock.advance(seconds)
        self.network.turn()

    def test_large_pieces(self) -> None:
        """
        With a rate below the size of the buffer, as much as a second allows goes each second.
        """
        self.relay(up=10)
        self.client.arrive(b"x" * 35)
        taken = []
        for _ in range(5):
            taken.append(len(self.upstream.taken()))
            self.wait(1.01)
        self.assertEqual(taken, [10, 10, 10, 5, 0])

    def test_small_pieces(self) -> None:
        """
        After each piece there is a pause as long as the piece is worth.
        """
        self.relay(down=1000, size=100)
        self.upstream.arrive(b"y" * 250)
        self.assertEqual(len(self.client.taken()), 100)
        self.wait(0.09)
        self.assertEqual(len(self.client.taken()), 0)
        self.wait(0.011)
        self.assertEqual(len(self.client.taken()), 100)
        self.wait(0.101)
        self.assertEqual(len(self.client.taken()), 50)

    def test_one_direction(self) -> None:
        """
        The other flow knows no rate.
        """
        self.relay(up=1)
        self.upstream.arrive(b"y" * 5000)
        self.client.arrive(b"x" * 5000)
        self.assertEqual((len(self.client.taken()), len(self.upstream.taken())), (5000, 1))

    def test_what_was_held_counts(self) -> None:
        """
        What was read before goes on at once, and is waited for afterwards.
        """
        self.client.hold(b"x" * 50)
        relaying = self.relay(up=10)
        self.client.arrive(b"z" * 50)
        self.assertEqual(self.upstream.taken(), b"x" * 50)
        self.assertEqual(relaying.up.received, 50)
        self.wait(4.9)
        self.assertEqual(self.upstream.taken(), b"")
        self.wait(0.11)
        self.assertEqual(self.upstream.taken(), b"z" * 10)

    def test_time_before(self) -> None:
        """
        The time since the session began is worth something.
        """
        relaying = RatedRelaying(
            Rates(10, 0, self.clock.seconds() - 4),
            self.clock,
            self.client,
            self.upstream,
            Options(1000),
            self.results.append,
            self.session,
            self.clock.seconds,
        )
        relaying.begin()
        self.network.turn()
        self.client.arrive(b"x" * 100)
        self.assertEqual(len(self.upstream.taken()), 50)

    def test_too_short_to_pause(self) -> None:
        """
        What is worth less than a millisecond makes no pause.
        """
        self.relay(up=1_000_000, size=100)
        self.client.arrive(b"x" * 5000)
        self.assertEqual(len(self.upstream.taken()), 5000)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_end_waits_too(self) -> None:
        """
        The end of a stream is seen when its last bytes may have passed, and ends the relay.
        """
        self.relay(up=10)
        self.client.arrive(b"x" * 15)
        self.client.end()
        self.assertEqual((len(self.upstream.taken()), self.results), (10, []))
        self.wait(1.01)
        self.assertEqual((len(self.upstream.taken()), self.results), (5, []))
        self.wait(0.6)
        self.assertEqual(self.results, [Result("client")])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_half_close(self) -> None:
        """
        A flow that has ended is not woken.
        """
        relaying = self.relay(up=10, half_close=True)
        self.client.arrive(b"x")
        self.wait(1)
        self.client.end()
        self.assertTrue(self.upstream.finished and relaying.up.finished)
        self.upstream.arrive(b"y")
        self.wait(5)
        self.assertEqual((self.client.taken(), self.results), (b"y", []))

    def test_stuck(self) -> None:
        """
        Where the far end takes nothing more the pause ends, and the flow goes on when there is room.
        """
        self.upstream.room = 5
        self.relay(up=10)
        self.client.arrive(b"x" * 20)
        self.wait(3)
        self.assertEqual(self.upstream.taken(), b"xxxxx")
        self.assertEqual(self.upstream.taken(), b"xxxxx")
        self.wait(3)
        self.assertEqual(self.upstream.taken(), b"xxxxx")

    def test_broken(self) -> None:
        """
        A client that breaks is seen after the pause.
        """
        self.relay(up=10)
        self.client.arrive(b"x" * 15)
        self.client.lose()
        self.wait(1.01)
        ((result),) = self.results
        self.assertEqual((result.side, result.sending), ("client", False))

    def test_stop(self) -> None:
        """
        A relay that is stopped waits for nothing.
        """
        relaying = self.relay(up=10)
        self.client.arrive(b"x" * 15)
        relaying.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.client.edge(IN | OUT)
        self.assertEqual(len(self.upstream.taken()), 10)

    def test_not_idle(self) -> None:
        """
        The deadline for idleness begins where a pause ends, whatever the other flow does meanwhile.
        """
        self.client.hold(b"x" * 1000)
        self.relay(up=10, timeout=5.0)
        self.client.arrive(b"x")
        self.assertAlmostEqual(self.session.due, 100 + 100 + 5, places=2)
        self.wait(1)
        self.upstream.arrive(b"y")
        self.assertAlmostEqual(self.session.due, 100 + 100 + 5, places=2)
        self.wait(99.1)
        self.assertAlmostEqual(self.session.due, 200.1 + 0.1 + 5, places=1)

    def test_handler(self) -> None:
        """
        The leg's handler is the one to be seen.
        """
        relaying = self.relay(up=10)
        self.assertEqual(relaying.up.source.handler, self.client.handler)
