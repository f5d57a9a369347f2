"""
What do a process's signals mean? Whoever runs the process says so, here they are brought into the reactor's thread.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping
from typing import Any


def take_signals(reactor: Any, meanings: Mapping[signal.Signals, Callable[[], object]]) -> None:
    """
    Give these signals their meanings when the reactor runs: it sets handlers of its own when it begins to.

    @param meanings: called in a turn of the reactor, with nothing under way.
    """

    def heard(number: int, frame: Any) -> None:
        reactor.callFromThread(meanings[signal.Signals(number)])

    def take() -> None:
        for number in meanings:
            signal.signal(number, heard)

    reactor.callWhenRunning(take)
