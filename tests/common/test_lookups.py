"""
Tests for L{sniproxy.common.lookups}.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.common.lookups import MAX_ABSENCE, TIMED_OUT, Found, Lookup, together
from sniproxy.common.questions import RESEND, Outcome
from sniproxy.wire.dns import AAAA, A

FOUR = Outcome(0, ("192.0.2.1",), 60)
SIX = Outcome(0, ("2001:db8::1",), 30)


class TogetherTests(SynchronousTestCase):
    """
    What two questions mean together.
    """

    def test_both(self) -> None:
        """
        Addresses of both families are good for the shorter life.
        """
        self.assertEqual(together({A: FOUR, AAAA: SIX}), Found(0, ("192.0.2.1",), ("2001:db8::1",), 30))

    def test_one_makes_up_for_the_other(self) -> None:
        """
        One family's addresses are an answer, whatever became of the other.
        """
        for other in (Outcome(3, negative_life=1), Outcome(2)):
            self.assertEqual(together({A: FOUR, AAAA: other}), Found(0, ("192.0.2.1",), (), 60))
            self.assertEqual(together({A: other, AAAA: SIX}), Found(0, (), ("2001:db8::1",), 30))
        self.assertEqual(together({AAAA: SIX}), Found(0, (), ("2001:db8::1",), 30))

    def test_failure_before_absence(self) -> None:
        """
        Where one family is absent and the other failed nobody can say that the name does not exist, and it is not kept.
        """
        for outcomes in ({A: Outcome(3, negative_life=9), AAAA: Outcome(2)}, {A: Outcome(2), AAAA: Outcome(3)}):
            self.assertEqual(together(outcomes), Found(2))

    def test_absence(self) -> None:
        """
        Absence is kept for the shorter life, for a few seconds at most, and not at all unless both lives are known.
        """
        for lives, life in (((1, 2), 1.0), ((900, 900), MAX_ABSENCE), ((None, 9), 0.0), ((0, 9), 0.0)):
            outcomes = {kind: Outcome(3, negative_life=each) for kind, each in zip((A, AAAA), lives, strict=True)}
            self.assertEqual(together(outcomes), Found(3, life=life))

    def test_too_early(self) -> None:
        """
        What is not known yet is not absent.
        """
        self.assertEqual(together({A: Outcome(3, negative_life=9)}, TIMED_OUT), Found(TIMED_OUT))
        self.assertEqual(together({}, TIMED_OUT), Found(TIMED_OUT))


class FakeQuestion:
    """
    A question that the test answers.
    """

    def __init__(self, kind: int, done: Callable[[Outcome], None]) -> None:
        self.kind = kind
        self.done = done
        self.state = "new"

    def ask(self) -> None:
        """
        Begin.
        """
        self.state = "asked"

    def cancel(self) -> None:
        """
        Release.
        """
        self.state = "over"


class LookupTests(SynchronousTestCase):
    """
    The life of a lookup.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.questions: list[FakeQuestion] = []
        self.ends: list[Found | None] = []
        self.given: list[Found] = []
        self.lookup = Lookup(b"\x01a\x00", self.clock, (A, AAAA), self.asked, self.over)

    def asked(self, kind: int, done: Callable[[Outcome], None]) -> Any:
        """
        Make a question.
        """
        self.questions.append(FakeQuestion(kind, done))
        return self.questions[-1]

    def over(self, lookup: Lookup, found: Found | None) -> None:
        """
        What the resolver does at the end.
        """
        self.assertIs(lookup, self.lookup)
        self.ends.append(found)
        if found is not None:
            for give in lookup.stop():
                give(found)

    def released(self) -> None:
        """
        Nothing is left of the lookup.
        """
        self.assertEqual({question.state for question in self.questions}, {"over"})
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_asks_each_kind(self) -> None:
        """
        Nothing is asked before the start, then a question of each kind.
        """
        self.assertEqual(self.questions, [])
        self.lookup.start()
        self.assertEqual([(each.kind, each.state) for each in self.questions], [(A, "asked"), (AAAA, "asked")])

    def test_end(self) -> None:
        """
        When all questions have an outcome all who wait are given it.
        """
        self.lookup.start()
        for _ in range(3):
            self.lookup.wait(self.given.append, 30)
        self.questions[1].done(SIX)
        self.assertEqual(self.given, [])
        self.questions[0].done(FOUR)
        found = together({A: FOUR, AAAA: SIX})
        self.assertEqual((self.ends, self.given), ([found], [found] * 3))
        self.released()

    def test_other_family_is_not_waited_for_long(self) -> None:
        """
        With addresses of one family the other is given a little more time only.
        """
        self.lookup.start()
        self.lookup.wait(self.given.append, 30)
        self.questions[0].done(FOUR)
        self.clock.advance(RESEND - 0.1)
        self.assertEqual(self.given, [])
        self.clock.advance(0.1)
        self.assertEqual((self.ends, self.given), ([together({A: FOUR})], [together({A: FOUR})]))
        self.released()

    def test_absence_waits_for_the_other_family(self) -> None:
        """
        Absence of one family ends nothing before the other is known.
        """
        self.lookup.start()
        self.lookup.wait(self.given.append, 30)
        self.questions[0].done(Outcome(3))
        self.clock.advance(29)
        self.assertEqual(self.given, [])
        self.questions[1].done(SIX)
        self.assertEqual(self.given, [together({AAAA: SIX})])
        self.released()

    def test_deadline(self) -> None:
        """
        Who has waited long enough is told so; the lookup goes on for others, and ends with the last of them.
        """
        self.lookup.start()
        self.lookup.wait(self.given.append, 30)
        self.clock.advance(10)
        self.lookup.wait(self.given.append, 30)
        self.clock.advance(20)
        self.assertEqual((self.given, self.ends, self.questions[0].state), ([Found(TIMED_OUT)], [], "asked"))
        self.clock.advance(10)
        self.assertEqual((self.given, self.ends), ([Found(TIMED_OUT)] * 2, [None]))
        self.released()

    def test_deadline_with_half_an_answer(self) -> None:
        """
        At a deadline the addresses of one family are better than none.
        """
        self.lookup.start()
        self.lookup.wait(self.given.append, 1)
        self.questions[0].done(FOUR)
        self.clock.advance(1)
        self.assertEqual((self.given, self.ends), ([together({A: FOUR})], [None]))
        self.released()

    def test_cancel(self) -> None:
        """
        Who cancels is told nothing; without anyone the lookup ends, and cancelling again does nothing.
        """
        self.lookup.start()
        first, second = self.lookup.wait(self.given.append, 30), self.lookup.wait(self.given.append, 30)
        first.cancel()
        self.assertEqual((self.ends, self.questions[0].state), ([], "asked"))
        second.cancel()
        first.cancel()
        self.assertEqual((self.ends, self.given), ([None], []))
        self.released()

    def test_end_before_the_start(self) -> None:
        """
        A lookup that was never started can be left as well.
        """
        self.lookup.wait(self.given.append, 1)
        self.clock.advance(1)
        self.assertEqual((self.ends, self.given), ([None], [Found(TIMED_OUT)]))
