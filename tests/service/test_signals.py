"""
Tests for L{sniproxy.service.signals}.
"""

from __future__ import annotations

import signal
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.service.signals import take_signals
from tests.support.processes import Reactor


class TakeSignalsTests(SynchronousTestCase):
    """
    From a signal to what it means.
    """

    def test_taken_late(self) -> None:
        """
        Handlers are set when the reactor runs, after it has set its own; and what they mean is done in its turn.
        """
        taken: dict[int, Any] = {}
        self.patch(signal, "signal", taken.__setitem__)
        reactor = Reactor()
        done: list[str] = []
        take_signals(
            reactor, {signal.SIGHUP: lambda: done.append("reload"), signal.SIGUSR1: lambda: done.append("reopen")}
        )
        self.assertEqual(taken, {})
        reactor.begin()
        self.assertEqual(set(taken), {signal.SIGHUP, signal.SIGUSR1})
        taken[signal.SIGUSR1](int(signal.SIGUSR1), None)
        self.assertEqual(done, [])
        reactor.advance(0)
        self.assertEqual(done, ["reopen"])
