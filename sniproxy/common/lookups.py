"""
One name looked up for all who wait for it: a question for each family of addresses, and a deadline for each who waits.

Strategy: a lookup ends when all its questions have, or some time after the first brought addresses, or when nobody
waits for it any more; and it tells its end once, to whoever made it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from twisted.internet.interfaces import IDelayedCall

from sniproxy.common.questions import NOT_FOUND, RESEND, Outcome, Question
from sniproxy.wire.dns import AAAA, A

TIMED_OUT: Final = 110
"""nginx gives the number of ETIMEDOUT where others give the response code."""

MAX_ABSENCE: Final = 5.0
"""
Seconds that a name is taken to be not there, at most. nginx does not remember that at all: a name that appears is to be
seen soon.
"""


@dataclass(frozen=True, slots=True)
class Found:
    """
    What is known of a name.

    @ivar code: 0 where there are addresses, else a response code, or L{TIMED_OUT}.
    @ivar life: seconds that this is good for; 0: for those who wait, and no longer.
    """

    code: int
    ipv4: tuple[str, ...] = ()
    ipv6: tuple[str, ...] = ()
    life: float = 0.0


def together(outcomes: dict[int, Outcome], otherwise: int = NOT_FOUND) -> Found:
    """
    What the outcomes of the questions mean together. One family's addresses make up for whatever became of the other.

    @param outcomes: by kind.
    @param otherwise: the code where nothing was found and no server failed.
    """
    good = [outcome for outcome in outcomes.values() if outcome.addresses]
    if good:
        hosts = {kind: outcome.addresses for kind, outcome in outcomes.items()}
        return Found(0, hosts.get(A, ()), hosts.get(AAAA, ()), min(outcome.life for outcome in good))
    for outcome in outcomes.values():
        if outcome.code != NOT_FOUND:
            return Found(outcome.code)
    lives = [outcome.negative_life for outcome in outcomes.values()]
    if otherwise != NOT_FOUND or None in lives:
        return Found(otherwise)
    return Found(NOT_FOUND, life=min([MAX_ABSENCE, *(life for life in lives if life is not None)]))


Asked = Callable[[int, Callable[[Outcome], None]], Question]
"""From a kind, and who is to be told its outcome, to a question that has not been asked yet."""


class Lookup:
    """
    Owns its questions and the timers of those who wait; its end, by itself or by C{stop}, releases them all.

    @ivar key: the name, in wire form.
    """

    def __init__(
        self,
        key: bytes,
        reactor: Any,
        kinds: Sequence[int],
        asked: Asked,
        over: Callable[[Lookup, Found | None], None],
    ) -> None:
        """
        @param reactor: provides IReactorTime.
        @param kinds: what is asked for.
        @param over: told of the end: with what was found, while all who wait still do; or None when nobody waits any
            more.
        """
        self.key = key
        self.reactor = reactor
        self._kinds = kinds
        self._asked = asked
        self._over = over
        self._waiters: dict[Waiter, None] = {}
        self._questions: list[Question] = []
        self._outcomes: dict[int, Outcome] = {}
        self._timer: IDelayedCall | None = None

    def start(self) -> None:
        """
        Ask.
        """
        self._questions = [self._asked(kind, partial(self._heard, kind)) for kind in self._kinds]
        for question in self._questions:
            question.ask()

    def wait(self, give: Callable[[Found], None], seconds: float) -> Waiter:
        """
        One more who wants to know.

        @param give: called once, unless cancelled: at the end, or after so many seconds with what is known by then.
        """
        waiter = Waiter(self, give, seconds)
        self._waiters[waiter] = None
        return waiter

    def leave(self, waiter: Waiter) -> Found:
        """
        One less; when it was the last the lookup ends.

        @return: what is known by now.
        """
        del self._waiters[waiter]
        if not self._waiters:
            self.stop()
            self._over(self, None)
        return together(self._outcomes, TIMED_OUT)

    def stop(self) -> list[Callable[[Found], None]]:
        """
        Release all.

        @return: those who waited.
        """
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for question in self._questions:
            question.cancel()
        waiters = list(self._waiters)
        self._waiters.clear()
        for waiter in waiters:
            waiter.forget()
        return [waiter.give for waiter in waiters]

    def _heard(self, kind: int, outcome: Outcome) -> None:
        self._outcomes[kind] = outcome
        if len(self._outcomes) == len(self._kinds):
            self._finish()
        elif outcome.addresses:
            # some servers never answer AAAA: who could have an address by now does not wait until the end for them
            self._timer = self.reactor.callLater(RESEND, self._late)

    def _late(self) -> None:
        self._timer = None
        self._finish()

    def _finish(self) -> None:
        self._over(self, together(self._outcomes))


class Waiter:
    """
    One who wants to know an address, and has a deadline.
    """

    def __init__(self, lookup: Lookup, give: Callable[[Found], None], seconds: float) -> None:
        self.give = give
        self._lookup: Lookup | None = lookup
        self._timer: IDelayedCall = lookup.reactor.callLater(seconds, self._expired)

    def cancel(self) -> None:
        """
        Not any more. Nothing happens when the answer has been given.
        """
        lookup = self._lookup
        if lookup is not None:
            self.forget()
            lookup.leave(self)

    def forget(self) -> None:
        """
        The lookup is over.
        """
        self._lookup = None
        self._timer.cancel()

    def _expired(self) -> None:
        lookup, self._lookup = self._lookup, None
        assert lookup is not None
        self.give(lookup.leave(self))
