"""
Who waits, the reactor or we? Where the process is ours, we do.

Strategy: a nested epoll is asked twice for each wake-up, and Twisted's loop stands between the two; and since nobody
waits for the inner one, the kernel wakes all processes that share a listening socket for each connection. So the
nesting is turned inside out: the reactor's own epoll becomes one descriptor among ours, and when it has something, the
reactor turns once without waiting. Timers, threads and signals stay the reactor's: it says how long we may wait, and
its waker is in its epoll. For that its C{doIteration} is replaced on this one object. As long as nothing is there for
the reactor, no call and no timer, we wait again without going back to it. Any other reactor than Twisted's own for
epoll, and one whose inside is not what we know, is left alone; all works nested, too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from sniproxy.net.poller import Poller

_TURN: Final = "doIteration"

_INSIDE: Final = ("_newTimedCalls", "_pendingTimedCalls", "_justStopped", "threadCallQueue", "running")
"""
What tells that the reactor has something to do: L{twisted.internet.base.ReactorBase}.
"""

_NEVER: Final = 2147483.0
"""
Seconds, the longest that epoll can wait: what the reactor asks for at most, too.
"""

_EPOLL = "_poller"  # not Final, which compiled code would keep for good: tests have another
"""
What the reactor calls its epoll.
"""


class Lead:
    """
    The turns of a reactor as long as we wait for it. Owns nothing; whoever stops the poller calls L{end} first.
    """

    def __init__(self, reactor: Any, poller: Poller) -> None:
        """
        See L{lead}.
        """
        self._reactor = reactor
        self._state: dict[str, Any] = vars(reactor)
        self._poller = poller
        self._ended = False
        self._turn: Callable[[float], None] = getattr(reactor, _TURN)
        poller.lead(getattr(reactor, _EPOLL).fileno())
        setattr(reactor, _TURN, self.turn)

    def turn(self, timeout: Any) -> None:
        """
        What the reactor calls between its timers.

        @param timeout: seconds it has nothing to do for; None where it has no timer, C{False} while it starts or stops.
        """
        while not self._poller.wait(timeout):
            timeout = self._left()
            if timeout <= 0.0:
                return
        self._turn(0)

    def _left(self) -> float:
        """
        @return: how many seconds the reactor has nothing to do for.
        """
        state = self._state
        if (
            self._ended
            or state["_newTimedCalls"]
            or state["threadCallQueue"]
            or state["_justStopped"]
            or not state["running"]
        ):
            return 0.0
        calls = state["_pendingTimedCalls"]
        if not calls:
            return _NEVER
        left: float = calls[0].time - self._reactor.seconds()
        return min(left, _NEVER)

    def end(self) -> None:
        """
        The reactor waits for itself again.
        """
        self._ended = True
        self._reactor.__dict__.pop(_TURN, None)


def lead(reactor: Any, poller: Poller) -> Lead | None:
    """
    Wait for a reactor from here on.

    @param poller: a reader of it so far.
    @return: None where it cannot be done: all stays as it was.
    """
    try:
        from twisted.internet.epollreactor import EPollReactor
    except ImportError:
        return None
    if type(reactor) is not EPollReactor or _TURN in vars(reactor):
        return None
    if not hasattr(reactor, _EPOLL) or not all(name in vars(reactor) for name in _INSIDE):
        return None
    return Lead(reactor, poller)
