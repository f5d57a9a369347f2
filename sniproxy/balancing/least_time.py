"""
Who is the quickest? (ngx_stream_upstream_least_time_module.c.)

Strategy: of each peer three averages are kept, of the times to connect, to the first byte and to the end. What a peer
is expected to need is its average, in steps of C{STEP}, times the connections it would have; what was long ago counts
half for each C{fail_timeout} since, so that the slow get their chances. With C{inflight} the wait of those who have
not been answered yet counts too. Who knows the times of a session is handed in; of first bytes nobody is told, so that
they are asked for before each choice.

All times are whole milliseconds here, as in nginx, whose rounding decides who takes turns with whom.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from sniproxy.balancing.choice import Balancer, Choice, Clock, Disabled, unheard
from sniproxy.balancing.peers import Group, Peer
from sniproxy.balancing.round_robin import take_turn

SLOWEST: Final = 5000
"""Peers that need longer are alike."""

STEP: Final = 20
"""Peers whose times are in one step are alike."""


class Until(Enum):
    """
    What is measured.
    """

    CONNECT = "connect"
    FIRST_BYTE = "first_byte"
    LAST_BYTE = "last_byte"


@dataclass(frozen=True, slots=True)
class Times:
    """
    How long the current try of a session took, in seconds since it began; None for what has not happened.
    """

    connect: float | None
    first_byte: float | None
    last_byte: float | None

    def of(self, until: Until) -> float | None:
        """
        One of them.
        """
        if until is Until.CONNECT:
            return self.connect
        return self.first_byte if until is Until.FIRST_BYTE else self.last_byte


Timing = Callable[[Any], Times]
"""From a subject to its times."""


class Record:
    """
    What is known of one peer's times, in milliseconds.

    @ivar averages: by what is measured; 0 where nothing is known.
    @ivar waiting: choices that have not come to the moment that is measured, with when they began.
    @ivar inflight: the average wait of those.
    @ivar spent: the sum of their waits up to C{changed}.
    @ivar changed: when their number changed.
    """

    __slots__ = ("averages", "changed", "inflight", "spent", "waiting")

    def __init__(self) -> None:
        self.averages = dict.fromkeys(Until, 0)
        self.waiting: dict[LeastTimeChoice, int] = {}
        self.inflight = 0
        self.spent = 0
        self.changed = 0

    def learn(self, until: Until, seconds: float | None) -> None:
        """
        One time more.
        """
        if seconds is not None:
            self.averages[until] = mean(self.averages[until], round(seconds * 1000))

    def begin(self, choice: LeastTimeChoice, now: int) -> None:
        """
        One more waits.
        """
        self.spent += (now - self.changed) * len(self.waiting)
        self.changed = now
        self.waiting[choice] = now

    def done(self, choice: LeastTimeChoice, now: int) -> None:
        """
        One less waits, if it did.
        """
        begun = self.waiting.get(choice)
        if begun is None:
            return
        if len(self.waiting) == 1:
            self.spent = 0
        else:
            self.spent += (now - self.changed) * len(self.waiting) - (now - begun)
            self.changed = now
        del self.waiting[choice]

    def look(self, now: int) -> None:
        """
        Take the waits of now into their average.
        """
        count = len(self.waiting)
        if count:
            self.inflight = mean(self.inflight, self.spent // count + (now - self.changed))


def mean(average: int, value: int) -> int:
    """
    An average that forgets: a twentieth of what is new.
    """
    return int(0.5 + value * 0.05 + average * 0.95) if average else value


class LeastTimeChoice(Choice):
    """
    One session's choices.
    """

    __slots__ = ("_balancer",)

    def __init__(self, group: Group, subject: Any, clock: Clock, disabled: Disabled, balancer: LeastTime) -> None:
        super().__init__(group, subject, clock, disabled)
        self._balancer = balancer

    def next(self) -> Peer | None:
        """
        @see: L{Choice.next}
        """
        balancer = self._balancer
        peer = super().next()
        if peer is not None and balancer.inflight:
            balancer.record(peer).begin(self, self._milliseconds())
        return peer

    def pick(self, group: Group, now: float) -> int | None:
        """
        @return: the place of the peer that is expected to be the quickest.
        """
        balancer = self._balancer
        milliseconds = self._milliseconds()
        best: Peer | None = None
        least = 0
        places: list[int] = []
        for place, peer in enumerate(group.peers):
            if not self.available(place, peer, now):
                continue
            record = balancer.record(peer)
            if record.waiting:
                balancer.settle(record)
                record.look(milliseconds)
            expected = balancer.expected(peer, record, now)
            if best is None or expected * best.weight < least * peer.weight:
                best, least, places = peer, expected, [place]
            elif expected * best.weight == least * peer.weight:
                places.append(place)
        return take_turn(group, places) if len(places) > 1 else next(iter(places), None)

    def connected(self) -> None:
        """
        @see: L{Choice.connected}
        """
        if self._balancer.until is Until.CONNECT:
            self.arrived()
        super().connected()

    def release(self, failed: bool) -> None:
        """
        @see: L{Choice.release}
        """
        peer, balancer = self._current, self._balancer
        if peer is not None:
            if balancer.until is Until.FIRST_BYTE:
                self.arrived()
            record = balancer.record(peer)
            record.done(self, self._milliseconds())
            if not failed:
                times = balancer.timing(self._subject)
                for until in Until:
                    if not (balancer.inflight and until is balancer.until is not Until.LAST_BYTE):
                        record.learn(until, times.of(until))
        super().release(failed)

    def moment(self) -> float | None:
        """
        How many seconds after its begin that happened which is measured; None if it has not.
        """
        return self._balancer.timing(self._subject).of(self._balancer.until)

    def arrived(self) -> None:
        """
        Perhaps that has happened which is measured: then this session does not wait any more. Without C{inflight} times
        are looked at when a session is over.
        """
        if self._current is None:
            return
        record = self._balancer.record(self._current)
        begun = record.waiting.get(self)
        if begun is not None:
            seconds = self.moment()
            if seconds is not None:
                record.learn(self._balancer.until, seconds)
                record.done(self, begun + round(seconds * 1000))

    def _milliseconds(self) -> int:
        return round(self._clock(self._subject) * 1000)


class LeastTime(Balancer):
    """
    The least expected time over a group. Keeps a record of each peer it has.

    @ivar until: what is measured.
    @ivar inflight: whether those who wait count.
    @ivar timing: who knows the times of a session.
    """

    def __init__(
        self,
        group: Group,
        clock: Clock,
        disabled: Disabled = unheard,
        *,
        until: Until,
        inflight: bool,
        timing: Timing,
    ) -> None:
        super().__init__(group, clock, disabled)
        self.until = until
        self.inflight = inflight
        self.timing = timing
        self._records: dict[Peer, Record] = {}

    def choose(self, group: Group, subject: Any) -> LeastTimeChoice:
        """
        @see: L{Balancer.choose}
        """
        return LeastTimeChoice(group, subject, self._clock, self._disabled, self)

    def renew(self, group: Group) -> None:
        """
        @see: L{Balancer.renew}
        """
        super().renew(group)
        stay = {*group.peers, *(group.backup.peers if group.backup is not None else ())}
        self._records = {peer: record for peer, record in self._records.items() if peer in stay}

    def record(self, peer: Peer) -> Record:
        """
        What is known of a peer's times.
        """
        known = self._records.get(peer)
        if known is None:
            known = self._records[peer] = Record()
        return known

    def settle(self, record: Record) -> None:
        """
        First bytes tell nobody that they have come: look who has had one, the earliest first.
        """
        if self.until is Until.FIRST_BYTE:
            come = [
                (begun + seconds * 1000, number, choice)
                for number, (choice, begun) in enumerate(record.waiting.items())
                if (seconds := choice.moment()) is not None
            ]
            for _, _, choice in sorted(come):
                choice.arrived()

    def expected(self, peer: Peer, record: Record, now: float) -> int:
        """
        How long a new session may have to wait for a peer, in milliseconds times connections.
        """
        time = record.averages[self.until]
        idle = now - peer.checked
        if idle > peer.fail_timeout:
            time >>= min(int(idle // (peer.fail_timeout + 1)), 64)
        if record.waiting:
            time = max(time, record.inflight)
        time = SLOWEST if time > SLOWEST else time + STEP - time % STEP
        return time * (1 + peer.conns)
