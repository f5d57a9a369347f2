"""
Tests of sniproxy/net/datagram_relay.py: datagrams from a client to an upstream and back.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.net.datagram_relay import TURN, DatagramOptions, DatagramRelaying
from sniproxy.net.datagrams import RETRY, ClientDatagrams
from sniproxy.net.legs import nothing
from sniproxy.net.poller import IN
from sniproxy.net.rated import Rates
from sniproxy.net.relay import Result
from tests.support.legs import Waiter
from tests.support.messages import FakePort, FakeUpstream
from tests.support.sessions import CLIENT, failure

ANY = Rates(0, 0, 0.0)


class RelayCase(SynchronousTestCase):
    """
    Two ends in memory.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.port = FakePort(self.clock)
        self.upstream = FakeUpstream(self.clock)
        self.waiter = Waiter()
        self.results: list[Result | None] = []
        self.refusals: list[OSError] = []

    def begin(
        self, first: bytes = b"first", prefix: bytes = b"", rates: Rates = ANY, **options: Any
    ) -> DatagramRelaying:
        """
        A relay at work.
        """
        self.client = ClientDatagrams(self.port, "key", (), CLIENT, CLIENT, (), first)
        self.port.clients["key"] = self.client
        self.relay = DatagramRelaying(
            self.client,
            self.upstream,
            DatagramOptions(**options),
            rates,
            self.clock,
            self.results.append,
            self.refusals.append,
            self.waiter,
            prefix,
        )
        self.relay.begin()
        return self.relay


class MovingTests(RelayCase):
    """
    What goes where.
    """

    def test_whole(self) -> None:
        """
        Each datagram goes on whole, however large or empty, and is counted.
        """
        relay = self.begin()
        for data in (b"", b"x" * 60000, b"y"):
            self.client.arrive(data)
        self.assertEqual(self.upstream.taken(), [b"first", b"", b"x" * 60000, b"y"])
        self.clock.advance(7)
        self.upstream.arrive(b"", b"z" * 60000)
        self.assertEqual(self.port.sent, [b"", b"z" * 60000])
        up, down = relay.up, relay.down
        self.assertEqual((up.count, up.received, up.sent), (4, 60006, 60006))
        self.assertEqual((down.count, down.received, down.sent, down.began), (2, 60000, 60000, 7.0))
        self.assertEqual(self.results, [])

    def test_prefix(self) -> None:
        """
        A header stands in the first datagram, and is sent but not received.
        """
        relay = self.begin(prefix=b"PROXY ")
        self.client.arrive(b"second")
        self.assertEqual(self.upstream.taken(), [b"PROXY first", b"second"])
        self.assertEqual((relay.up.received, relay.up.sent), (11, 17))

    def test_deadline(self) -> None:
        """
        Each datagram puts the deadline off, either way.
        """
        self.begin(timeout=10.0)
        self.assertEqual(self.waiter.due, 10)
        self.clock.advance(3)
        self.client.arrive(b"x")
        self.assertEqual(self.waiter.due, 13)
        self.clock.advance(3)
        self.upstream.arrive(b"x")
        self.assertEqual(self.waiter.due, 16)

    def test_turns(self) -> None:
        """
        Others have their turn after so many datagrams.
        """
        self.begin()
        self.upstream.arrive(*[b"x"] * (TURN + 1))
        self.assertEqual(len(self.port.sent), TURN - 1)  # the last one waits for the next turn
        self.clock.advance(0)
        self.assertEqual(len(self.port.sent), TURN + 1)

    def test_no_room_upstream(self) -> None:
        """
        What there is no room for waits, and those behind it with it.
        """
        self.upstream.room = 1
        self.begin()
        self.client.arrive(b"2")
        self.client.arrive(b"3")
        self.assertEqual(self.upstream.taken(), [b"first"])
        self.upstream.arrive(b"answer")
        self.assertEqual(self.port.sent, [b"answer"])
        self.upstream.room = 2
        self.clock.advance(RETRY)
        self.assertEqual(self.upstream.taken(), [b"2", b"3"])

    def test_no_room_at_the_client(self) -> None:
        """
        The same the other way.
        """
        self.begin(responses=2)
        self.port.room = 1
        self.upstream.arrive(b"1", b"2")
        self.client.arrive(b"x")
        self.upstream.arrive(b"3", b"4")
        self.assertEqual((self.port.sent, self.results), ([b"1"], []))
        self.port.room = None
        self.clock.advance(RETRY)
        self.assertEqual((self.port.sent, self.results), ([b"1", b"2", b"3", b"4"], [None]))

    def test_refused(self) -> None:
        """
        What the network says is reported, counts as an answer, and the client gets an empty one; the relay goes on.
        """
        relay = self.begin()
        self.upstream.refuse()
        self.assertEqual([error.errno for error in self.refusals], [111])
        self.assertEqual((self.port.sent, relay.down.count, relay.down.received), ([b""], 1, 0))
        self.upstream.arrive(b"there I am")
        self.assertEqual(self.port.sent, [b"", b"there I am"])

    def test_broken(self) -> None:
        """
        Where sending fails it ends, with the side that failed.
        """
        for side, broken in (("upstream", self.upstream), ("client", self.port)):
            broken.error = failure(1)
            self.begin()
            if side == "client":
                self.upstream.error = None
                self.upstream.arrive(b"x", b"y")
            result = self.results.pop()
            assert result is not None
            assert result.error is not None
            self.assertEqual((result.side, result.error.errno, result.sending), (side, 1, True))
            self.assertIs(self.upstream.handler, nothing)
            self.upstream.error = None

    def test_broken_later(self) -> None:
        """
        The same where it is found out by what the other side did.
        """
        self.begin()
        self.upstream.room = 0
        self.client.arrive(b"x")
        self.upstream.error = failure(1)
        self.upstream.arrive(b"y")
        self.assertEqual([result and result.side for result in self.results], ["upstream"])
        self.port.room = 0
        self.upstream = FakeUpstream(self.clock)
        self.begin()
        self.upstream.arrive(b"y")
        self.port.error = failure(1)
        self.client.arrive(b"x")
        self.assertEqual([result and result.side for result in self.results], ["upstream", "client"])
        self.relay.end(None)
        self.assertEqual(len(self.results), 2)


class CountingTests(RelayCase):
    """
    When it is enough.
    """

    def test_unknown(self) -> None:
        """
        Where nobody knows how many answers there are it never is.
        """
        relay = self.begin(requests=1)
        self.upstream.arrive(b"x")
        self.assertEqual((self.results, relay.complete), ([], True))
        self.assertEqual(self.port.clients, {})

    def test_none(self) -> None:
        """
        Without answers it is when the first datagram was sent.
        """
        self.begin(responses=0)
        self.assertEqual((self.upstream.taken(), self.results), ([b"first"], [None]))

    def test_one_each(self) -> None:
        """
        With one answer to each datagram it is when there are as many as datagrams.
        """
        relay = self.begin(responses=1)
        self.client.arrive(b"second")
        self.upstream.arrive(b"1")
        self.assertEqual((self.results, relay.complete), ([], False))
        self.upstream.arrive(b"2")
        self.assertEqual((self.results, relay.complete), ([None], True))

    def test_so_many(self) -> None:
        """
        Before the client has sent all that it may in one session, it is not, however many answers there were.
        """
        self.begin(requests=2, responses=1)
        self.upstream.arrive(b"1", b"2", b"3")
        self.assertEqual((self.results, list(self.port.clients)), ([], ["key"]))
        self.client.arrive(b"second")
        self.assertEqual((self.results, self.port.clients), ([None], {}))

    def test_no_room(self) -> None:
        """
        What waits for room must go first.
        """
        self.upstream.room = 0
        self.begin(responses=0)
        self.assertEqual(self.results, [])
        self.upstream.room = 1
        self.clock.advance(RETRY)
        self.assertEqual((self.upstream.taken(), self.results), ([b"first"], [None]))


class RateTests(RelayCase):
    """
    How fast.
    """

    def test_upload(self) -> None:
        """
        A datagram passes while the seconds since the begin allow more, whole; then as much time passes as it is worth,
        which is not idle.
        """
        self.begin(bytes(50), rates=Rates(100, 0, 0.0), timeout=10.0)
        self.client.arrive(bytes(120))
        self.assertEqual(len(self.upstream.sent), 1)
        self.assertEqual(self.waiter.due, 10.5)
        self.clock.advance(0.5)
        self.clock.advance(0)
        self.assertEqual(len(self.upstream.sent), 2)  # 50 of 100 bytes were left
        self.client.arrive(b"x")
        self.clock.advance(1.1)
        self.clock.advance(0)
        self.assertEqual(len(self.upstream.sent), 2)
        self.clock.advance(0.1)
        self.clock.advance(0)
        self.assertEqual(len(self.upstream.sent), 3)

    def test_more_than_allowed(self) -> None:
        """
        Who has had more than the seconds allow waits until they do.
        """
        relay = self.begin(bytes(50), rates=Rates(100, 0, 0.0))
        relay.up.pace.moved = 250
        self.clock.advance(1)
        self.client.arrive(b"x")
        self.clock.advance(0)
        self.assertEqual(len(self.upstream.sent), 1)
        self.clock.advance(1)
        self.clock.advance(0)
        self.assertEqual(len(self.upstream.sent), 2)

    def test_download(self) -> None:
        """
        The other way is counted by itself; a datagram that is worth no time lets the next one pass at once.
        """
        self.begin(rates=Rates(0, 100000, 0.0))
        self.upstream.arrive(b"1", b"2", bytes(1000), b"3")
        self.client.arrive(b"x")
        self.assertEqual((len(self.port.sent), len(self.upstream.sent)), (3, 2))
        self.upstream.handler(IN)
        self.assertEqual(len(self.port.sent), 3)
        self.clock.advance(0.01)
        self.clock.advance(0)
        self.assertEqual(len(self.port.sent), 4)

    def test_stop(self) -> None:
        """
        Who stops is not woken.
        """
        relay = self.begin(bytes(50), rates=Rates(100, 0, 0.0))
        self.client.arrive(b"x")
        relay.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
