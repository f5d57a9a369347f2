"""
Tests for L{sniproxy.net.tickets}.
"""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.net.tickets import WAIT, Tickets


class Leg:
    """
    One whose tickets wait.
    """

    def __init__(self, fault: Exception | None = None) -> None:
        self.hurried = 0
        self.fault = fault

    def hurry(self) -> None:
        """
        It is time.
        """
        self.hurried += 1
        if self.fault is not None:
            raise self.fault


class TicketsTests(SynchronousTestCase):
    """
    Tickets that wait for company.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.tickets = Tickets(self.clock)

    def test_time(self) -> None:
        """
        Each waits for its time at least and twice as long at most, and is told once.
        """
        first, second = Leg(), Leg()
        self.tickets.wait(first)
        self.clock.advance(WAIT * 0.9)
        self.tickets.wait(second)
        self.clock.advance(WAIT * 0.2)
        self.assertEqual((first.hurried, second.hurried), (0, 0))
        self.clock.advance(WAIT)
        self.assertEqual((first.hurried, second.hurried), (1, 1))
        self.assertEqual(self.clock.getDelayedCalls(), [])
        third = Leg()
        self.tickets.wait(third)
        self.clock.pump([WAIT, WAIT, WAIT])
        self.assertEqual((first.hurried, third.hurried), (1, 1))

    def test_gone(self) -> None:
        """
        Who is gone by then is not held, and not told.
        """
        leg = Leg()
        self.tickets.wait(leg).clear()
        self.clock.pump([WAIT, WAIT])
        self.assertEqual(leg.hurried, 0)

    def test_fault(self) -> None:
        """
        A fault of one is not that of the others.
        """
        legs = [Leg(RuntimeError("ours")), Leg()]
        for leg in legs:
            self.tickets.wait(leg)
        self.clock.pump([WAIT, WAIT])
        self.assertEqual([leg.hurried for leg in legs], [1, 1])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_stop(self) -> None:
        """
        After the end nobody is told.
        """
        leg = Leg()
        self.tickets.stop()
        self.tickets.wait(leg)
        self.tickets.stop()
        self.clock.pump([WAIT] * 3)
        self.assertEqual((leg.hurried, self.clock.getDelayedCalls()), (0, []))
