"""
How is memory given back without anybody waiting for it?

Strategy: sessions free themselves, so the collector has little to find, and must not look at what stays: a
configuration may be a million objects, and sessions would stand still for each of its rounds. So it is kept from them
while one is made, and told afterwards that they stay. But configurations are full of circles; one that was left is
therefore taken apart by hand, between other things. Only if that was not enough everything is looked at.
"""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any, Final

from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from sniproxy.common.listen import listenings
from sniproxy.config.build import Build
from sniproxy.config.grammar import Rest
from sniproxy.service.turns import Turns

_log: Final = Logger("sniproxy")

MANY: Final = 50
"""How many configurations may go before everything is looked at: modules of others may keep circles of their own."""


def dissolve(build: Build, rest: Rest) -> None:
    """
    Take a configuration apart whose last session is over.
    """
    build.rest = rest
    for listening in listenings(build):
        for server in listening.servers:
            rest()
            server.dissolve()
        listening.servers.clear()
    build.dissolve()


def hold_collector() -> None:
    """
    Where the process is ours, and makes what stays, until L{settle_collector}.
    """
    gc.disable()


def settle_collector() -> None:
    """
    Where the process is ours: what is there by now stays, and the collector need not look so often.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 10, 10)
    gc.enable()


def look_at_everything() -> None:
    """
    Find all circles that nobody holds any more. Everything waits.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()


class Memory:
    """
    What a process does about it that makes configurations and leaves them. Owns what is under way.
    """

    def __init__(self, reactor: Any, ours: bool) -> None:
        """
        @param ours: whether the process is. The collector of somebody else's is let be: it will find the circles.
        """
        self._reactor = reactor
        self._ours = ours
        self._left = 0
        self._leaving: set[Turns] = set()
        self._later: list[IDelayedCall] = []

    def hold(self) -> None:
        """
        Much is made from here on that stays, until L{release}.
        """
        if self._ours:
            gc.disable()

    def release(self, made: bool) -> None:
        """
        @param made: whether it stays indeed.
        """
        if self._ours:
            if made:
                gc.freeze()
            gc.enable()

    def leave(self, build: Build) -> None:
        """
        The last session of a configuration is over, or about to be when this returns.
        """
        self._soon(self._leave, build)

    def stop(self) -> None:
        """
        The process ends, or goes on with something else.
        """
        for call in self._later:
            if call.active():
                call.cancel()
        for turns in self._leaving:
            turns.stop()
        self._later.clear()
        self._leaving.clear()

    def _soon(self, act: Callable[[Any], None], what: Any) -> None:
        self._later.append(self._reactor.callLater(0, act, what))

    def _begin(self) -> None:
        # a call that is over still holds what it was given
        self._later = [call for call in self._later if call.active()]

    def _leave(self, build: Build) -> None:
        self._begin()
        left = weakref.ref(build)

        def over(trouble: BaseException | None) -> None:
            self._leaving.discard(turns)
            if trouble is not None:
                _log.error("a configuration could not be taken apart: {trouble!r}", trouble=trouble)
            self._soon(self._check, left)  # until we return it is held here

        turns = Turns(self._reactor, lambda turns: dissolve(build, turns.rest), over, over)
        self._leaving.add(turns)
        turns.start()

    def _check(self, left: weakref.ref[Build]) -> None:
        self._begin()
        self._left += 1
        if self._ours and (left() is not None or self._left % MANY == 0):
            look_at_everything()
