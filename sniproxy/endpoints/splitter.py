"""
The SNI splitter: one port, many places behind it, chosen by the server name in the ClientHello, and nothing
decrypted on the way.

Strategy: a route takes the whole arrival, hello and all: it relays the bytes to a place, gives the undecrypted
connection to a factory, or ends the TLS here. What is not a ClientHello with a known name goes where the splitter
was told to send it, and nowhere where it was told nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Protocol, TypeAlias

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import (
    IListeningPort,
    IProtocolFactory,
    IStreamClientEndpoint,
    IStreamServerEndpoint,
)
from twisted.logger import Logger
from zope.interface import implementer

from sniproxy.config.hostnames import Hostnames
from sniproxy.config.hostnames import Verdict as Taken
from sniproxy.endpoints.arrivals import MISSING_EXTENSION, UNRECOGNIZED_NAME, Arrival
from sniproxy.endpoints.client import CONNECT_TIMEOUT
from sniproxy.endpoints.dialing import Dialer, Dialled, Outcome, Over, To
from sniproxy.endpoints.engine import Engine, Lease
from sniproxy.endpoints.listening import BACKLOG, DoorPort, Where, open_port
from sniproxy.endpoints.names import canonical
from sniproxy.endpoints.transports import PlainTransport, build
from sniproxy.net.legs import nothing
from sniproxy.net.relay import Options, Relaying, Result
from sniproxy.net.timers import NEVER
from sniproxy.net.transport import twisted_address
from sniproxy.wire.client_hello import ClientHello, NotTLS, Verdict

HELLO_TIMEOUT: Final = 30.0
"""Seconds for the ClientHello, as nginx's C{preread_timeout}."""


class Route(Protocol):
    """
    Where connections go.
    """

    def take(self, arrival: Arrival, verdict: Verdict) -> None:
        """
        See to an arrival: drop it or hand it over before its deadline.
        """


Destination: TypeAlias = "Route | IProtocolFactory | IStreamClientEndpoint | tuple[str, int]"
"""
A host and a port, or an endpoint, to relay to; a factory whose protocols get the undecrypted connection;
L{sniproxy.endpoints.terminate.Terminate}; or a route of your own.
"""


class ToFactory:
    """
    To protocols of this program, which get what the client sends from its first byte.
    """

    def __init__(self, factory: IProtocolFactory) -> None:
        self._factory = factory

    def take(self, arrival: Arrival, verdict: Verdict) -> None:
        """
        @see: L{Route.take}
        """
        leg, engine, claim = arrival.leg, arrival.engine, arrival.hand_over()
        protocol = build(self._factory, leg, twisted_address(leg.peer))
        if protocol is None:
            leg.close()
            claim.end()
            return
        hello = verdict if isinstance(verdict, ClientHello) else None
        PlainTransport(leg, engine, hello, claim.end).start(protocol)


class ToPlace:
    """
    To somewhere else: bytes are relayed both ways, by the kernel where it can.
    """

    def __init__(self, way: Dialer, connect_timeout: float, options: Options) -> None:
        self._way = way
        self._connect_timeout = connect_timeout
        self._options = options

    def take(self, arrival: Arrival, verdict: Verdict) -> None:
        """
        @see: L{Route.take}
        """
        leg, engine, claim = arrival.leg, arrival.engine, arrival.hand_over()
        _Passage(engine, claim, leg, self._options).begin(self._way, self._connect_timeout)


class _Passage:
    """
    One connection on its way through. Owns both legs and the lease. Its deadline is that of the connect, then of a
    silence.

    @ivar due: belongs to the deadlines, as C{bucket}.
    """

    log = Logger()

    def __init__(self, engine: Engine, claim: Lease, client: Any, options: Options) -> None:
        self.due = NEVER
        self.bucket = 0
        self._engine = engine
        self._claim = claim
        self._client = client
        self._options = options
        self._trying: Any = None
        self._far: Dialled | None = None
        self._relaying: Relaying | None = None
        self._over = False

    def begin(self, way: Dialer, seconds: float) -> None:
        self._client.owner = self
        self._engine.deadlines.set(self, seconds)
        self._trying = way.dial(self._engine, self._dialled)

    def _dialled(self, outcome: Outcome) -> None:
        if not isinstance(outcome, Dialled):
            self.log.error("cannot connect to where a client is to go: {error}", error=outcome)
            self._end(False)
            return
        self._trying = None
        self._far = outcome
        outcome.leg.owner = self
        engine = self._engine
        engine.deadlines.set(self, self._options.timeout)
        relay = engine.relay(self._client, outcome.leg)
        relaying: Relaying = relay.make(
            self._client, outcome.leg, self._options, self._relayed, self, engine.deadlines.now
        )
        self._relaying = relaying
        relaying.begin()

    def _relayed(self, result: Result) -> None:
        self._end(result.error is None)

    def expired(self) -> None:
        """
        The far end did not answer, or nobody said anything for too long.
        """
        self._end(False)

    def crashed(self) -> None:
        """
        We have a fault; it is logged already.
        """
        self._end(False)

    def _end(self, orderly: bool) -> None:
        if self._over:
            return
        self._over = True
        self._engine.deadlines.clear(self)
        if self._trying is not None:
            self._trying.cancel()
        if self._relaying is not None:
            self._relaying.stop()
        far = self._far
        if far is not None:
            far.ending(orderly)
        for leg in (self._client, None if far is None else far.leg):
            if leg is not None:
                leg.handler = nothing
                leg.owner = None
                leg.close()
        self._claim.end()


@implementer(IStreamServerEndpoint)
class SNISplitter:
    """
    Sends each connection to where its server name says. A client has C{timeout} seconds for its ClientHello of at
    most 64 KiB.

    Whatever has no destination is closed: C{fallback} is for names that are not in the table, C{no_name} for
    clients that name nobody, C{not_tls} for what is not TLS at all, and C{malformed} for a ClientHello that breaks
    the rules: a TLS server would see another name in it than we, or none; send it only where nothing is guarded by
    a name.
    """

    def __init__(
        self,
        reactor: Any,
        where: Where,
        routes: Mapping[str | tuple[str, ...], Destination],
        *,
        fallback: Destination | None = None,
        no_name: Destination | None = None,
        not_tls: Destination | None = None,
        malformed: Destination | None = None,
        timeout: float = HELLO_TIMEOUT,
        connect_timeout: float = CONNECT_TIMEOUT,
        idle_timeout: float = 600.0,
        half_close: bool = False,
        backlog: int = BACKLOG,
    ) -> None:
        """
        @param where: C{("", 443)}, or any L{IStreamServerEndpoint}.
        @param routes: by names and masks (C{"a.example"}, C{"*.example"}, C{".example"}, C{"www.*"}), or several in
            a tuple.
        @param connect_timeout: seconds to reach a place.
        @param idle_timeout: seconds without a byte either way after which a relayed connection is ended.
        @param half_close: the end of one direction leaves the other going.
        @raise ValueError: a name or a mask is none, or is there twice.
        """
        self._reactor = reactor
        self._where = where
        self._timeout = timeout
        self._backlog = backlog
        self._connect_timeout = connect_timeout
        self._options = Options(half_close=half_close, timeout=idle_timeout)
        self._table: Hostnames[Route] = Hostnames()
        for names, destination in routes.items():
            route = self._route(destination)
            for name in (names,) if isinstance(names, str) else names:
                taken = self._table.add(canonical(name), route) if name else Taken.INVALID
                if taken is not Taken.TAKEN:
                    raise ValueError(f'server name "{name}": {taken.value}')
        self._fallback = self._perhaps(fallback)
        self._no_name = self._perhaps(no_name)
        self._not_tls = self._perhaps(not_tls)
        self._malformed = self._perhaps(malformed)

    def _perhaps(self, destination: Destination | None) -> Route | None:
        return None if destination is None else self._route(destination)

    def _route(self, destination: Any) -> Route:
        if isinstance(destination, tuple):
            return ToPlace(To(*destination), self._connect_timeout, self._options)
        way = getattr(destination, "way", None)
        if way is not None:
            return ToPlace(way, self._connect_timeout, self._options)
        if IStreamClientEndpoint.providedBy(destination):
            return ToPlace(Over(destination), self._connect_timeout, self._options)
        if IProtocolFactory.providedBy(destination):
            return ToFactory(destination)
        if callable(getattr(destination, "take", None)):
            route: Route = destination
            return route
        raise TypeError(f"{destination!r} is no destination")

    def listen(self, protocolFactory: IProtocolFactory | None = None) -> Deferred[IListeningPort]:
        """
        @param protocolFactory: the C{fallback} of this port; None for the splitter's own.
        @see: L{IStreamServerEndpoint.listen}
        """
        fallback = self._fallback
        if protocolFactory is not None:
            if fallback is not None:
                return fail(ValueError("there is a fallback already"))
            fallback = ToFactory(protocolFactory)

        def decided(arrival: Arrival, verdict: Verdict) -> None:
            self._decide(arrival, verdict, fallback)

        opening: Deferred[Any] = open_port(self._reactor, self._where, self._backlog, self._timeout, decided)

        def opened(port: DoorPort) -> DoorPort:
            if protocolFactory is not None:
                protocolFactory.doStart()
                port.when_closed(protocolFactory.doStop)
            return port

        return opening.addCallback(opened)

    def _decide(self, arrival: Arrival, verdict: Verdict, fallback: Route | None) -> None:
        why = f"{verdict}"
        alert = None
        if isinstance(verdict, ClientHello):
            name = verdict.server_name
            route = self._no_name if name is None else self._table.find(name) or fallback
            why = "it names no server" if name is None else f'there is no way to "{name}"'
            alert = MISSING_EXTENSION if name is None else UNRECOGNIZED_NAME
        elif isinstance(verdict, NotTLS):
            route = self._not_tls
        else:
            route = self._malformed
        if route is None:
            arrival.refuse(why, alert)
        else:
            route.take(arrival, verdict)
