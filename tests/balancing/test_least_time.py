"""
Tests for L{sniproxy.balancing.least_time}.
"""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.addresses import Address
from sniproxy.balancing.least_time import LeastTime, LeastTimeChoice, Record, Times, Until, mean
from sniproxy.balancing.peers import Group, Peer


class Subject:
    """
    A session that knows its times.
    """

    def __init__(self) -> None:
        self.times = Times(None, None, None)


class LeastTimeTests(SynchronousTestCase):
    """
    Who is chosen.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000)
        self.peers = [Peer(Address("inet", "127.0.0.1", port), f"127.0.0.1:{port}") for port in (1, 2, 3)]

    def balancer(self, until: Until = Until.CONNECT, inflight: bool = False, *peers: Peer) -> LeastTime:
        """
        Over these peers, or the test's.
        """
        return LeastTime(
            Group.of("back", peers or self.peers),
            lambda subject: self.clock.seconds(),
            until=until,
            inflight=inflight,
            timing=lambda subject: subject.times,
        )

    def begin(self, balancer: LeastTime) -> tuple[int, LeastTimeChoice, Subject]:
        """
        One session and its peer's port.
        """
        subject = Subject()
        choice = balancer.begin(subject)
        peer = choice.next()
        return 0 if peer is None else peer.address.port, choice, subject

    def teach(self, balancer: LeastTime, **times: float) -> None:
        """
        Three sessions at once, one for each peer, whose times are one, two and three times these.
        """
        subjects = [Subject() for _ in self.peers]
        choices = [balancer.begin(subject) for subject in subjects]
        for turn, choice in enumerate(choices):
            choice._tried = 0b111 ^ 1 << turn
            choice.next()
        for port, (choice, subject) in enumerate(zip(choices, subjects, strict=True), 1):
            subject.times = Times(**{name: port * time for name, time in times.items()})
            choice.connected()
            choice.release(False)

    def next_ports(self, balancer: LeastTime, count: int) -> list[int]:
        """
        Whom sessions are given that all go on.
        """
        return [self.begin(balancer)[0] for _ in range(count)]

    def test_unknown_take_turns(self) -> None:
        """
        While nothing is known, each peer has its share; who had none of the last turns has the next.
        """
        self.assertEqual(self.next_ports(self.balancer(), 6), [1, 2, 3, 3, 2, 1])

    def test_quickest(self) -> None:
        """
        Each of the three times counts where it is asked for: the quickest has most connections.
        """
        for until, times in (
            (Until.CONNECT, {"connect": 0.1, "first_byte": 0.0, "last_byte": 0.0}),
            (Until.FIRST_BYTE, {"connect": 0.0, "first_byte": 0.1, "last_byte": 0.0}),
            (Until.LAST_BYTE, {"connect": 0.0, "first_byte": 0.0, "last_byte": 0.1}),
        ):
            self.setUp()
            balancer = self.balancer(until)
            self.teach(balancer, **times)
            # 120, 220 and 320 milliseconds, times connections
            self.assertEqual(self.next_ports(balancer, 6), [1, 2, 1, 3, 1, 2])

    def test_weight(self) -> None:
        """
        A peer of twice the weight may need twice the time.
        """
        self.peers[1].weight = 2
        balancer = self.balancer()
        self.teach(balancer, connect=0.09, first_byte=0.0, last_byte=0.0)
        # 100, 200 and 280 milliseconds by 1, 2 and 1: the first two are equal
        self.assertEqual([self.begin(balancer)[0] for _ in range(2)], [1, 2])

    def test_steps(self) -> None:
        """
        Times within twenty milliseconds are alike, and so are all above five seconds.
        """
        for times in ({1: 0.001, 2: 0.019, 3: 0.0}, {1: 5.001, 2: 9.0, 3: 6.0}):
            self.setUp()
            balancer = self.balancer()
            for port, choice, subject in [self.begin(balancer) for _ in self.peers]:
                subject.times = Times(times[port], None, None)
                choice.release(False)
            self.assertEqual(sorted(self.next_ports(balancer, 3)), [1, 2, 3])

    def test_failures_teach_nothing(self) -> None:
        """
        A session that failed, and a moment that never came, leave the averages alone.
        """
        balancer = self.balancer(Until.FIRST_BYTE)
        _, choice, subject = self.begin(balancer)
        subject.times = Times(9.0, None, 9.0)
        choice.release(True)
        _, choice, subject = self.begin(balancer)
        subject.times = Times(0.5, None, 0.7)
        choice.release(False)
        averages = [tuple(balancer.record(peer).averages.values()) for peer in self.peers]
        self.assertEqual(averages, [(0, 0, 0), (500, 0, 700), (0, 0, 0)])

    def test_long_ago(self) -> None:
        """
        What was long ago counts half for each fail_timeout that has passed, and nothing in the end.
        """
        balancer = self.balancer()
        peer, record = self.peers[0], Record()
        record.averages[Until.CONNECT] = 399
        for idle, expected in ((0, 400), (10, 400), (11, 200), (22, 100), (33, 60), (10**6, 20)):
            peer.checked = 1000.0 - idle
            self.assertEqual(balancer.expected(peer, record, 1000.0), expected)

    def test_mean(self) -> None:
        """
        An average begins with the first value, and forgets a twentieth with each new one.
        """
        self.assertEqual((mean(0, 100), mean(100, 200), mean(100, 0), mean(1, 0)), (100, 105, 95, 1))

    def test_unavailable_and_backups(self) -> None:
        """
        Peers that are down are passed over; then come backups, then nobody.
        """
        self.peers[0].down = True
        self.peers[2].backup = True
        balancer = self.balancer()
        _, choice, _ = self.begin(balancer)
        self.assertIs(choice._current, self.peers[1])
        choice.release(True)
        self.assertIs(choice.next(), self.peers[2])
        choice.release(True)
        self.assertIsNone(choice.next())
        choice.release(False)
        choice.connected()

    def test_lone_peer(self) -> None:
        """
        A lone peer is given without looking at the watch.
        """
        balancer = self.balancer(Until.CONNECT, True, self.peers[0])
        port, choice, _ = self.begin(balancer)
        choice.connected()
        choice.release(False)
        self.assertEqual((port, balancer.record(self.peers[0]).waiting), (1, {}))

    def test_others(self) -> None:
        """
        When the group changes, what is known of those who stay is kept, backups included, and the rest forgotten.
        """
        self.peers[1].backup = True
        balancer = self.balancer()
        records = [balancer.record(peer) for peer in self.peers]
        balancer.renew(Group.of("back", self.peers[:2]))
        self.assertEqual(balancer._records, dict(zip(self.peers[:2], records[:2], strict=True)))
        balancer.renew(Group.of("back", self.peers[:1]))
        self.assertIs(balancer.record(self.peers[0]), records[0])
        self.assertIsNot(balancer.record(self.peers[1]), records[1])


class InflightTests(LeastTimeTests):
    """
    Those who wait count; what is told above holds as well.
    """

    def balancer(self, until: Until = Until.CONNECT, inflight: bool = True, *peers: Peer) -> LeastTime:
        """
        With C{inflight}.
        """
        return super().balancer(until, True, *peers)

    def test_waits_count(self) -> None:
        """
        A peer that lets sessions wait longer than it usually takes is slow.
        """
        balancer = self.balancer(Until.CONNECT)
        two = self.begin(balancer), self.begin(balancer)
        two[1][2].times = Times(0.01, None, None)
        two[1][1].connected()
        self.assertEqual([len(balancer.record(peer).waiting) for peer in self.peers], [1, 0, 0])
        self.clock.advance(0.5)
        # the first has let one wait for half a second; the second has a connection, and the third none
        self.assertEqual(self.next_ports(balancer, 3), [3, 3, 2])
        self.assertEqual(balancer.record(self.peers[0]).inflight, 500)

    def test_first_bytes_are_looked_for(self) -> None:
        """
        Who has had a first byte since does not wait any more, and the time is known at once.
        """
        balancer = self.balancer(Until.FIRST_BYTE)
        sessions = [self.begin(balancer) for _ in range(6)]
        self.clock.advance(1)
        for (_, _, subject), time in zip(sessions, (0.2, None, 0.3, 0.1), strict=False):
            subject.times = Times(0.0, time, None)
        self.begin(balancer)
        records = [balancer.record(peer) for peer in self.peers]
        self.assertEqual([record.averages[Until.FIRST_BYTE] for record in records], [200, 0, mean(100, 300)])
        self.assertEqual([len(record.waiting) for record in records][1], 2)

    def test_sums(self) -> None:
        """
        The waits of those who still wait are counted to the millisecond, however others come and go.
        """
        balancer = self.balancer(Until.FIRST_BYTE)
        record = Record()
        choices = [balancer.begin(Subject()) for _ in range(3)]
        record.begin(choices[0], 1000)
        record.begin(choices[1], 1100)
        record.begin(choices[2], 1300)
        record.done(choices[0], 1400)
        self.assertEqual((record.spent, record.changed), (300 + 100, 1400))
        record.look(1500)
        self.assertEqual(record.inflight, 400 // 2 + 100)
        record.done(choices[2], 1500)
        record.done(choices[1], 1600)
        record.done(choices[1], 1700)
        self.assertEqual((record.spent, record.waiting), (0, {}))
        record.look(1800)
        self.assertEqual(record.inflight, 300)

    def test_never_answered(self) -> None:
        """
        A session that ends before the moment came does not wait any more.
        """
        balancer = self.balancer(Until.FIRST_BYTE)
        _, choice, subject = self.begin(balancer)
        subject.times = Times(0.1, None, 0.2)
        choice.release(False)
        self.assertEqual(balancer.record(self.peers[0]).waiting, {})
