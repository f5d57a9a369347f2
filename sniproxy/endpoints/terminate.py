"""
How is TLS ended here? From the ClientHello that was looked at to a protocol on a transport.

Strategy: the name in the hello chooses the context, the context makes the OpenSSL connection, the handshake runs,
the certificate is judged, and only then is the factory asked for a protocol. What a context demands is never
changed for a connection that has begun; so no client gets in by the demands of one name and out by the certificate
of another.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IProtocolFactory
from twisted.logger import Logger

from sniproxy.endpoints.arrivals import DECODE_ERROR, MISSING_EXTENSION, UNRECOGNIZED_NAME, Arrival
from sniproxy.endpoints.facts import TLSFacts
from sniproxy.endpoints.names import Policies, ServerNames, ServerSide
from sniproxy.endpoints.transports import SecureTransport, build
from sniproxy.net.legs import nothing
from sniproxy.net.transport import twisted_address
from sniproxy.tls.contexts import ServerContext
from sniproxy.tls.verify import judge_client
from sniproxy.wire.client_hello import ClientHello, NotTLS, Verdict


class Terminate:
    """
    Ends the TLS of connections and gives them to a factory: what a server endpoint does, and a route of a splitter.

    @ivar names: the contexts.
    @ivar factory: makes the protocols; it is never asked about a client that was refused.
    """

    log = Logger()

    def __init__(
        self, tls: Policies | ServerNames, factory: IProtocolFactory, default: ServerSide | str | None = None
    ) -> None:
        """
        @see: L{ServerNames}
        """
        self.names = tls if isinstance(tls, ServerNames) else ServerNames(tls, default)
        self.factory = factory

    def take(self, arrival: Arrival, verdict: Verdict) -> None:
        """
        See to an arrival. Its deadline goes on until it is handed over.
        """
        if isinstance(verdict, NotTLS):
            arrival.drop(f"it does not speak TLS: {verdict.reason}")
        elif not isinstance(verdict, ClientHello):
            arrival.refuse(f"its ClientHello cannot be read: {verdict}", DECODE_ERROR)
        else:
            context = self.names.choose(verdict.server_name)
            if context is not None:
                _Handshake(self, arrival, verdict, context).begin()
            elif verdict.server_name is None:
                arrival.refuse("it names no server", MISSING_EXTENSION)
            else:
                arrival.refuse(f'nobody here is called "{verdict.server_name}"', UNRECOGNIZED_NAME)

    def report(self, error: Exception) -> None:
        """
        A verify hook raised; its client is refused.
        """
        self.log.error("a verify hook raised {error!r}", error=error)

    def opened(self, arrival: Arrival, facts: TLSFacts) -> None:
        """
        The client is let in: it is the factory's from here on.
        """
        leg, engine, lease = arrival.leg, arrival.engine, arrival.hand_over()
        protocol = build(self.factory, leg, twisted_address(leg.peer))
        if protocol is None:
            leg.close()
            lease.end()
            return
        SecureTransport(leg, engine, facts, lease.end).start(protocol)


class _Handshake:
    """
    One handshake. The arrival owns the leg and has the deadline.
    """

    __slots__ = ("_arrival", "_context", "_hello", "_leg", "_terminate")

    def __init__(self, terminate: Terminate, arrival: Arrival, hello: ClientHello, context: ServerContext) -> None:
        self._terminate = terminate
        self._arrival = arrival
        self._hello = hello
        self._context = context
        self._leg: Any = None

    def begin(self) -> None:
        arrival = self._arrival
        self._leg = arrival.leg = arrival.engine.start_tls(arrival.leg, self._context.connection())
        self._leg.handler = self._event
        self._event(0)

    def _event(self, bits: int) -> None:
        arrival, leg = self._arrival, self._leg
        try:
            if not leg.handshake():
                return
        except OSError as error:
            arrival.drop(f"the TLS handshake failed: {error.strerror or error}")
            return
        leg.handler = nothing
        judgement = judge_client(leg.connection, self._context, self._terminate.report)
        if not judgement.ok:
            arrival.drop(judgement.message)
            return
        self._terminate.opened(arrival, TLSFacts(leg.connection, judgement, self._hello))
