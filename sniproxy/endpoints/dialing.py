"""
How do connections go out? By sockets of our own to an address or a name, or by whatever another Twisted endpoint
connects with.

Strategy: a name may have many addresses, some of them dead. They are tried in the order of RFC 8305, families in
turn, a next one whenever one failed or a quarter of a second has passed; the first that answers wins and the others
are let go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import chain, zip_longest
from typing import Any, Final, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.error import DNSLookupError, getConnectError
from twisted.internet.interfaces import IHostResolution, IResolutionReceiver, IStreamClientEndpoint
from twisted.python.failure import Failure
from zope.interface import implementer

from sniproxy.addresses import Address, numeric
from sniproxy.endpoints.engine import Engine
from sniproxy.endpoints.transports import Ending, nothing_to_do
from sniproxy.net.connect import DEFAULT, ConnectOptions
from sniproxy.net.portable import LandingFactory

STAGGER: Final = 0.25
"""Seconds until the next address is tried while one does not answer (RFC 8305 section 5)."""

MOST: Final = 16
"""Addresses of a name that are tried."""


class Dialled:
    """
    A leg to the far end; whoever is given one owns the leg and calls C{ending} once before closing it.

    @ivar facts: of TLS, or None.
    """

    __slots__ = ("ending", "facts", "leg")

    def __init__(self, leg: Any, facts: Any = None, ending: Ending = nothing_to_do) -> None:
        self.leg = leg
        self.facts = facts
        self.ending = ending


Outcome = Dialled | BaseException
Done = Callable[[Outcome], None]


class Cancellable(Protocol):
    """
    Something under way.
    """

    def cancel(self) -> None:
        """
        Give up; nobody is told.
        """


class Dialer(Protocol):
    """
    A way to one place.
    """

    def dial(self, engine: Engine, done: Done) -> Cancellable:
        """
        @param done: called once, perhaps before this returns, with a leg or with what went wrong. There is no deadline.
        """


def interleaved(addresses: Iterable[Address]) -> list[Address]:
    """
    Families in turn, the one of the first address first (RFC 8305 section 4).
    """
    listed = list(dict.fromkeys(addresses))
    if not listed:
        return []
    first = [each for each in listed if each.family == listed[0].family]
    others = [each for each in listed if each.family != listed[0].family]
    return [each for each in chain.from_iterable(zip_longest(first, others)) if each is not None]


@implementer(IResolutionReceiver)
class _Race:
    """
    One attempt to reach one of a name's addresses. Owns the attempts under way.
    """

    def __init__(self, engine: Engine, host: str, port: int, options: ConnectOptions, done: Done) -> None:
        self._engine = engine
        self._host = host
        self._port = port
        self._options = options
        self._done: Done | None = done
        self._found: list[Address] = []
        self._waiting: list[Address] = []
        self._attempts: dict[Address, Any] = {}
        self._stagger: Any = None

    # Names

    def begin(self) -> None:
        address = numeric(self._host, self._port)
        if address is not None:
            self._found.append(address)
            self.resolutionComplete()
        else:
            self._engine.reactor.nameResolver.resolveHostName(self, self._host, self._port)

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:
        """
        @see: L{IResolutionReceiver.resolutionBegan}
        """

    def addressResolved(self, address: Any) -> None:
        """
        @see: L{IResolutionReceiver.addressResolved}
        """
        found = numeric(address.host, self._port)
        if found is not None and len(self._found) < MOST:
            self._found.append(found)

    def resolutionComplete(self) -> None:
        """
        @see: L{IResolutionReceiver.resolutionComplete}
        """
        self._waiting = interleaved(self._found)
        if self._done is None:
            return
        if not self._waiting:
            self._end(DNSLookupError(f'no addresses found for "{self._host}"'))
        else:
            self._next()

    # Addresses

    def _next(self) -> None:
        self._stop_stagger()
        address = self._waiting.pop(0)
        self._attempts[address] = None
        if self._waiting:
            self._stagger = self._engine.reactor.callLater(STAGGER, self._later)
        attempt = self._engine.network.connect(
            address, self._options, lambda outcome, bits: self._tried(address, outcome)
        )
        if address in self._attempts:
            self._attempts[address] = attempt

    def _later(self) -> None:
        self._stagger = None
        self._next()

    def _tried(self, address: Address, outcome: Any) -> None:
        del self._attempts[address]
        if not isinstance(outcome, OSError):
            self._end(Dialled(outcome))
        elif self._waiting:
            self._next()
        elif not self._attempts:
            error: BaseException = getConnectError((outcome.errno, outcome.strerror))  # type: ignore[no-untyped-call]
            error.__cause__ = outcome
            self._end(error)

    def _stop_stagger(self) -> None:
        call, self._stagger = self._stagger, None
        if call is not None:
            call.cancel()

    def _end(self, outcome: Outcome) -> None:
        done = self._done
        self.cancel()
        assert done is not None
        done(outcome)

    def cancel(self) -> None:
        """
        Give up.
        """
        self._done = None
        self._stop_stagger()
        for attempt in self._attempts.values():
            if attempt is not None:
                attempt.cancel()
        self._attempts.clear()


class _Borrowing:
    """
    One attempt by another endpoint, which does what it does; its leg is ours.
    """

    def __init__(self, done: Done) -> None:
        self._done: Done | None = done
        self._trying: Deferred[Any] | None = None

    def begin(self, engine: Engine, endpoint: IStreamClientEndpoint) -> None:
        self._trying = endpoint.connect(LandingFactory(engine.reactor, self._connected))
        self._trying.addErrback(self._failed)

    def _connected(self, leg: Any) -> None:
        done, self._done = self._done, None
        if done is None:
            leg.close()
        else:
            done(Dialled(leg))

    def _failed(self, failure: Failure) -> None:
        done, self._done = self._done, None
        if done is not None:
            assert failure.value is not None
            done(failure.value)

    def cancel(self) -> None:
        """
        Give up.
        """
        self._done = None
        if self._trying is not None:
            self._trying.cancel()


class Over:
    """
    By another endpoint.
    """

    def __init__(self, endpoint: IStreamClientEndpoint) -> None:
        self._endpoint = endpoint

    def dial(self, engine: Engine, done: Done) -> Cancellable:
        """
        @see: L{Dialer.dial}
        """
        borrowing = _Borrowing(done)
        borrowing.begin(engine, self._endpoint)
        return borrowing


class To:
    """
    To an address or a name, and a port.
    """

    def __init__(self, host: str, port: int, options: ConnectOptions = DEFAULT) -> None:
        self.host = host
        self.port = port
        self._options = options

    def dial(self, engine: Engine, done: Done) -> Cancellable:
        """
        @see: L{Dialer.dial}
        """
        race = _Race(engine, self.host, self.port, self._options, done)
        race.begin()
        return race
