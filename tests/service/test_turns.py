"""
Tests for L{sniproxy.service.turns}.
"""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from threading import Event, current_thread
from typing import Any, Final

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.service import turns as under_test
from sniproxy.service.turns import Stopped, Turns
from tests.support.processes import Reactor

LONG: Final = 30.0
"""Seconds that nothing here takes."""


class Posting(Reactor):
    """
    A reactor that tells when another thread has called.
    """

    def __init__(self) -> None:
        super().__init__()
        self.posted = Event()

    def callFromThread(self, called: Callable[..., object], *arguments: Any) -> None:
        """
        At the next turn.
        """
        super().callFromThread(called, *arguments)
        self.posted.set()


class Case(SynchronousTestCase):
    """
    A job in turns, each of which is over at once.
    """

    def setUp(self) -> None:
        self.reactor = Posting()
        self.patch(under_test, "TURN", 0.0)
        self.patch(under_test, "PATIENCE", LONG)
        self.said: list[Any] = []

    def turns(self, job: Callable[[Turns], Any]) -> Turns:
        """
        Begun.
        """
        made = Turns(self.reactor, job, lambda value: self.said.append(value), lambda error: self.said.append(error))
        self.addCleanup(made.stop)
        made.start()
        return made

    def ended(self, turns: Turns) -> bool:
        """
        Whether its thread ends.
        """
        turns._thread.join(LONG)
        return not turns._thread.is_alive()


class TurnsTests(Case):
    """
    One and then the other.
    """

    def test_turns(self) -> None:
        """
        It works until it rests, and goes on where it has rested at the reactor's next turn.
        """

        def job(turns: Turns) -> str:
            for number in range(3):
                self.said.append(number)
                turns.rest()
            return "over"

        made = self.turns(job)
        self.assertEqual(self.said, [0])
        self.reactor.advance(0)
        self.assertEqual(self.said, [0, 1, 2, "over"])
        self.assertTrue(self.ended(made))
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_never_both(self) -> None:
        """
        While it works the reactor waits, and the other way round: what both count comes out right.
        """
        count = [0]
        seen: list[int] = []

        def job(turns: Turns) -> None:
            for _ in range(500):
                seen.append(count[0])
                turns.rest()

        def reactor() -> None:
            count[0] += 1
            if len(seen) < 500:
                self.reactor.callLater(0, reactor)

        self.turns(job)
        reactor()
        self.reactor.advance(0)
        self.assertEqual(seen, list(range(500)))

    def test_short(self) -> None:
        """
        What has not had its time does not stop to rest.
        """
        self.patch(under_test, "TURN", 0.5)

        def job(turns: Turns) -> None:
            turns.rest()
            self.said.append("a")
            self.reactor.rightNow += 1.0  # it took long
            turns.rest()
            self.said.append("b")

        self.turns(job)
        self.assertEqual(self.said, ["a"])
        self.reactor.advance(0)
        self.assertEqual(self.said, ["a", "b", None])

    def test_failure(self) -> None:
        """
        Whatever it raises is told, and the reactor goes on.
        """
        for error in (ValueError("a"), SystemExit(1)):
            self.said.clear()

            def job(turns: Turns, error: BaseException = error) -> None:
                raise error

            self.turns(job)
            self.assertEqual(self.said, [error])

    def test_no_thread(self) -> None:
        """
        So is that there are no more threads to be had.
        """
        error = RuntimeError("can't start new thread")

        class NoThread:
            def __init__(self, **what: Any) -> None: ...

            def start(self) -> None:
                raise error

        self.patch(under_test, "Thread", NoThread)
        self.turns(lambda turns: None)
        self.assertEqual(self.said, [error])

    def test_in_its_own_thread(self) -> None:
        """
        What is done when it is over is done by the reactor.
        """
        threads: list[object] = []
        made = Turns(
            self.reactor,
            lambda turns: threads.append(current_thread()),
            lambda value: threads.append(current_thread()),
            self.fail,
        )
        made.start()
        self.assertIs(threads[1], current_thread())
        self.assertIsNot(threads[0], current_thread())

    def test_nothing_is_kept(self) -> None:
        """
        When it is over what it has made is kept by nobody.
        """

        class Thing:
            pass

        made: list[weakref.ref[Thing]] = []

        def job(turns: Turns) -> Thing:
            thing = Thing()
            made.append(weakref.ref(thing))
            return thing

        gc.disable()
        self.addCleanup(gc.enable)
        turns = Turns(self.reactor, job, lambda value: None, self.fail)
        turns.start()
        self.assertIsNone(made[0]())


class StopTests(Case):
    """
    Nobody wants it any more.
    """

    def test_at_rest(self) -> None:
        """
        What rests is told by an exception where it does, and nobody is told of that.
        """

        def job(turns: Turns) -> None:
            try:
                turns.rest()
            except Stopped:
                self.said.append("stopped")
                raise

        made = self.turns(job)
        made.stop()
        self.assertTrue(self.ended(made))
        self.assertEqual((self.said, self.reactor.getDelayedCalls()), (["stopped"], []))
        made.stop()

    def test_over(self) -> None:
        """
        What is over is not disturbed.
        """
        made = self.turns(lambda turns: 1)
        made.stop()
        self.assertEqual(self.said, [1])

    def test_while_it_asks(self) -> None:
        """
        What asks the world meanwhile is told when it has its answer, and goes no further.
        """
        self.patch(under_test, "PATIENCE", 0.001)
        answer = Event()

        def job(turns: Turns) -> None:
            turns.asking(lambda question: answer.wait(LONG))(None)
            self.said.append("went on")

        made = self.turns(job)
        made.stop()
        answer.set()
        self.assertTrue(self.ended(made))
        self.assertEqual((self.said, self.reactor.posted.is_set()), ([], False))

    def test_with_its_answer(self) -> None:
        """
        So is what has its answer and waits for its turn.
        """
        self.patch(under_test, "PATIENCE", 0.001)
        answer = Event()

        def job(turns: Turns) -> None:
            turns.asking(lambda question: answer.wait(LONG))(None)
            self.said.append("went on")

        made = self.turns(job)
        answer.set()
        self.assertTrue(self.reactor.posted.wait(LONG))
        made.stop()
        self.assertTrue(self.ended(made))
        self.reactor.advance(0)
        self.assertEqual(self.said, [])


class AskingTests(Case):
    """
    Questions to the world.
    """

    def test_at_once(self) -> None:
        """
        An answer that comes at once takes no turn.
        """

        def ask(question: int) -> int:
            if question < 0:
                raise OSError(2, "no")
            return question + 1

        def job(turns: Turns) -> int:
            asked = turns.asking(ask)
            self.assertRaises(OSError, asked, -1)
            return asked(1)

        self.turns(job)
        self.assertEqual(self.said, [2])

    def test_slow(self) -> None:
        """
        For one that takes longer the reactor does not wait; with it comes the next turn.
        """
        self.patch(under_test, "PATIENCE", 0.001)
        answer = Event()

        def ask(question: str) -> str:
            self.assertTrue(answer.wait(LONG))
            return f"{question}!"

        def job(turns: Turns) -> str:
            asked = turns.asking(ask)
            found = asked("a")
            self.said.append("its turn")
            return found

        self.turns(job)
        self.reactor.advance(1)
        self.assertEqual(self.said, [])
        answer.set()
        self.assertTrue(self.reactor.posted.wait(LONG))
        self.assertEqual(self.said, [])
        self.reactor.advance(0)
        self.assertEqual(self.said, ["its turn", "a!"])

    def test_long_work_is_waited_for(self) -> None:
        """
        What works on without a rest has its turn for as long as it takes.
        """
        self.patch(under_test, "PATIENCE", 0.0001)
        self.turns(lambda turns: sum(range(300_000)))
        self.assertEqual(self.said, [sum(range(300_000))])

    def test_afterwards(self) -> None:
        """
        Who keeps a question asks as anybody would when all is over, and need not rest.
        """
        kept: list[Callable[[int], int]] = []

        def job(turns: Turns) -> None:
            kept.append(turns.asking(lambda question: question + 1))

        made = self.turns(job)
        self.assertEqual(kept[0](1), 2)
        made.rest()
        self.assertEqual(self.said, [None])
