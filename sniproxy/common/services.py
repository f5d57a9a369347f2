"""
Services by name: where they are (SRV records, RFC 2782), and the addresses of the hosts there.

Strategy: one question for the service, then one lookup for each host, all at once; whoever asked is told once, when the
last of them is known. A host without addresses leaves the others alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from sniproxy.addresses import Address, numeric
from sniproxy.common.lookups import TIMED_OUT
from sniproxy.common.questions import NOT_FOUND, Outcome
from sniproxy.common.resolver import Cancellable, ResolveFailure, Resolver
from sniproxy.wire.cursor import WireError
from sniproxy.wire.dns import SRV, Service, wire_name


@dataclass(frozen=True, slots=True)
class Place:
    """
    One host of a service.

    @ivar service: what the record says.
    @ivar addresses: of the host, with the port; or why there are none.
    """

    service: Service
    addresses: tuple[Address, ...] | ResolveFailure


Places = Callable[["list[Place] | ResolveFailure", float], None]
"""Told of the places, at least one and one with addresses, or of the failure; and for how many seconds that is good."""


def service_name(service: str, name: str) -> str:
    """
    The name to ask for: C{http} at C{a.example} is C{_http._tcp.a.example}; what has a dot stands for itself.
    """
    return f"{service}.{name}" if "." in service else f"_{service}._tcp.{name}"


class ServiceLookup:
    """
    One service looked up once. Owns its question, its lookups of hosts, and the timer of the question, which ends after
    the resolver's timeout, as each lookup does; C{cancel} or the end releases them.
    """

    def __init__(self, resolver: Resolver, reactor: Any, service: str, name: str, answer: Places) -> None:
        """
        @param reactor: provides IReactorTime.
        @param service: a word, or a prefix with dots: see L{service_name}.
        @param answer: called once, perhaps before this returns, unless cancelled.
        """
        self._resolver = resolver
        self._answer = answer
        self._life = 0.0
        self._services: Sequence[Service] = ()
        self._addresses: dict[int, tuple[Address, ...] | ResolveFailure] = {}
        self._under_way: list[Cancellable] = []
        self._timer: Any = None
        self._over = False
        try:
            key = wire_name(service_name(service, name))
        except WireError:
            self._end(ResolveFailure.of(NOT_FOUND))
            return
        self._timer = reactor.callLater(resolver.settings.timeout, self._late)
        question = resolver.question(key, SRV, self._heard)
        self._under_way.append(question)
        question.ask()

    def cancel(self) -> None:
        """
        Nobody wants to know any more.
        """
        self._over = True
        self._stop_timer()
        for each in self._under_way:
            each.cancel()
        self._under_way.clear()

    def _late(self) -> None:
        self._timer = None
        self._end(ResolveFailure.of(TIMED_OUT))

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _heard(self, outcome: Outcome) -> None:
        self._stop_timer()
        self._under_way.clear()
        if outcome.code:
            self._end(ResolveFailure.of(outcome.code))
            return
        self._life = self._resolver.settings.valid or outcome.life
        # as the addresses of a name, in an order of the servers' own; those to be asked first come first
        self._services = sorted(outcome.services, key=lambda service: service.priority)
        for number, service in enumerate(self._services):
            self._under_way.append(self._resolver.find(service.target, partial(self._found, number)))

    def _found(self, number: int, found: list[str] | ResolveFailure, life: float) -> None:
        if isinstance(found, ResolveFailure):
            self._addresses[number] = found
        else:
            self._life = min(self._life, life)
            port = self._services[number].port
            self._addresses[number] = tuple(address for host in found if (address := numeric(host, port)) is not None)
        if len(self._addresses) == len(self._services):
            self._all_found()

    def _all_found(self) -> None:
        places = [Place(service, self._addresses[number]) for number, service in enumerate(self._services)]
        failures = [place.addresses for place in places if isinstance(place.addresses, ResolveFailure)]
        if len(failures) < len(places):
            self._end(places)
        else:
            # one name that does not exist says more than servers that do not answer
            self._end(next((failure for failure in failures if failure.code == NOT_FOUND), failures[0]))

    def _end(self, found: list[Place] | ResolveFailure) -> None:
        if not self._over:
            self.cancel()
            self._answer(found, self._life)
