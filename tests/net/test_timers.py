"""
Tests of sniproxy/net/timers.py: coarse deadlines.
"""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.net.timers import NEVER, RESOLUTION, Deadlines, Waiting, put_off
from tests.support.legs import Waiter


class Doing(Waiter):
    """
    A holder that does something when it expires.
    """

    def __init__(self, then: Callable[[], None]) -> None:
        super().__init__()
        self.then = then

    def expired(self) -> None:
        """
        Note it, and do it.
        """
        super().expired()
        self.then()


class DeadlinesTests(SynchronousTestCase):
    """
    With a clock that stands still until it is told.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_000_000.017)
        self.deadlines = Deadlines(self.clock)

    def calls(self) -> int:
        """
        How many calls the clock owes.
        """
        return len(self.clock.getDelayedCalls())

    def test_known_to_the_compiler(self) -> None:
        """
        A holder of that kind is told, put off and cleared as any other.
        """
        holder = Waiting()
        self.deadlines.set(holder, 5)
        put_off(holder, self.deadlines.now() + 10)
        self.clock.advance(6)
        self.assertNotEqual((holder.due, holder.bucket), (NEVER, 0))
        self.deadlines.clear(holder)
        self.assertEqual((holder.due, holder.bucket), (NEVER, 0))
        self.deadlines.set(holder, 5)
        self.clock.advance(6)
        self.assertEqual(len(self.flushLoggedErrors(NotImplementedError)), 1)
        self.assertEqual((holder.due, holder.bucket), (NEVER, 0))

    def test_late_and_never_early(self) -> None:
        """
        A deadline fires not before its time, and at most one resolution after it.
        """
        for seconds in (0.0, 0.01, 0.05, 0.1, 1.234, 60.0):
            waiter = Waiter()
            self.deadlines.set(waiter, seconds)
            self.clock.advance(max(0.0, seconds - 0.002))
            self.assertEqual(waiter.expirations, 0, seconds)
            self.clock.pump([0.002 + RESOLUTION, 0, 0])
            self.assertEqual(waiter.expirations, 1, seconds)
            self.assertEqual((waiter.due, waiter.bucket), (NEVER, 0))
        self.clock.advance(100)
        self.assertEqual(self.calls(), 0)

    def test_put_off(self) -> None:
        """
        A deadline is put off by writing its time.
        """
        waiter = Waiter()
        self.deadlines.set(waiter, 1)
        for _ in range(10):
            self.clock.advance(0.9)
            waiter.due = self.clock.seconds() + 1
        self.assertEqual(waiter.expirations, 0)
        self.clock.advance(0.9)
        self.clock.advance(0.2)
        self.assertEqual(waiter.expirations, 1)

    def test_set_later_and_earlier(self) -> None:
        """
        Setting anew counts, whether it is later or earlier than before.
        """
        waiter = Waiter()
        self.deadlines.set(waiter, 1)
        self.deadlines.set(waiter, 5)
        self.clock.pump([1.5, 2])
        self.assertEqual(waiter.expirations, 0)
        self.deadlines.set(waiter, 0.5)
        self.clock.advance(0.6)
        self.assertEqual(waiter.expirations, 1)
        self.clock.advance(10)
        self.assertEqual(waiter.expirations, 1)

    def test_clear(self) -> None:
        """
        A cleared one does not fire; clearing twice is nothing; it can be set again.
        """
        waiter = Waiter()
        self.deadlines.set(waiter, 1)
        self.deadlines.clear(waiter)
        self.deadlines.clear(waiter)
        self.clock.advance(2)
        self.assertEqual(waiter.expirations, 0)
        self.deadlines.set(waiter, 1)
        self.clock.advance(1.1)
        self.assertEqual(waiter.expirations, 1)

    def test_cleared_by_writing(self) -> None:
        """
        One whose time was written to never does not fire either.
        """
        waiter = Waiter()
        self.deadlines.set(waiter, 1)
        waiter.due = NEVER
        self.clock.advance(2)
        self.assertEqual((waiter.expirations, self.calls()), (0, 0))

    def test_one_call(self) -> None:
        """
        Thousands of holders cost the clock one call, for the earliest of them.
        """
        waiters = [Waiter() for _ in range(3000)]
        for number, waiter in enumerate(waiters):
            self.deadlines.set(waiter, 10 + (number * 7919 % 3000) / 100)
        self.assertEqual(self.calls(), 1)
        for _ in range(900):
            self.clock.advance(RESOLUTION)
        self.assertEqual({waiter.expirations for waiter in waiters}, {1})
        self.assertEqual(self.calls(), 0)

    def test_set_again_when_expired(self) -> None:
        """
        A holder may wait anew as soon as it is told.
        """
        waiter = Doing(lambda: self.deadlines.set(waiter, 1))
        self.deadlines.set(waiter, 1)
        for _ in range(4):
            self.clock.advance(1.06)
        self.assertEqual(waiter.expirations, 4)

    def ripe_together(self, then: Callable[[Waiter], None]) -> Waiter:
        """
        Two holders ripe at once, of which the first told does something to the other.

        @return: the other.
        """
        first = Doing(lambda: then(second))
        second = Doing(lambda: then(first))
        self.deadlines.set(first, 1)
        self.deadlines.set(second, 1)
        self.clock.advance(1.1)
        self.assertEqual(first.expirations + second.expirations, 1)
        return second if first.expirations else first

    def test_cleared_while_ripe(self) -> None:
        """
        One that is cleared by another which was told in the same moment is not told.
        """
        other = self.ripe_together(self.deadlines.clear)
        self.clock.advance(10)
        self.assertEqual(other.expirations, 0)

    def test_set_while_ripe(self) -> None:
        """
        One that is set anew by another waits anew.
        """
        other = self.ripe_together(lambda waiter: self.deadlines.set(waiter, 1))
        self.clock.advance(1.1)
        self.assertEqual(other.expirations, 1)

    def test_put_off_while_ripe(self) -> None:
        """
        One that is put off by another waits on.
        """

        def put_off(waiter: Waiter) -> None:
            waiter.due = self.clock.seconds() + 1

        other = self.ripe_together(put_off)
        self.clock.advance(0.9)
        self.assertEqual(other.expirations, 0)
        self.clock.advance(0.2)
        self.assertEqual(other.expirations, 1)

    def test_faults(self) -> None:
        """
        One that raises does not keep the others from being told.
        """

        def fault() -> None:
            raise ZeroDivisionError

        waiters = [Doing(fault) for _ in range(3)]
        for waiter in waiters:
            self.deadlines.set(waiter, 1)
        self.clock.advance(1.1)
        self.assertEqual([waiter.expirations for waiter in waiters], [1, 1, 1])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 3)

    def test_let_go(self) -> None:
        """
        Who is cleared is let go.
        """

        class Heavy(Waiter):
            """
            Can be referred to weakly.
            """

        waiter = Heavy()
        seen = weakref.ref(waiter)
        self.deadlines.set(waiter, 1000)
        self.deadlines.set(waiter, 500)
        self.deadlines.clear(waiter)
        del waiter
        gc.collect()
        self.assertIsNone(seen())

    def test_stop(self) -> None:
        """
        A stop forgets all; stopping twice is nothing; it can be used again.
        """
        waiter = Waiter()
        self.deadlines.set(waiter, 1)
        self.deadlines.stop()
        self.deadlines.stop()
        self.assertEqual((self.calls(), waiter.bucket), (0, 0))
        self.deadlines.set(waiter, 2)
        self.clock.advance(2.1)
        self.assertEqual(waiter.expirations, 1)
