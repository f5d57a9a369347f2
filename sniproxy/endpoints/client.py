"""
The Twisted client endpoint that speaks TLS, shows its own certificate where asked, and trusts nobody unverified.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable
from dataclasses import replace
from typing import Any, Final, TypeAlias

from twisted.internet.address import HostnameAddress
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectingCancelledError, NoProtocol
from twisted.internet.error import TimeoutError as ConnectTimeout
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.python.runtime import seconds
from zope.interface import implementer

from sniproxy.endpoints.dialing import Cancellable, Dialer, Dialled, Done, Outcome, Over, To
from sniproxy.endpoints.engine import Engine, lease
from sniproxy.endpoints.facts import TLSFacts
from sniproxy.endpoints.failures import CertificateRefused, HandshakeFailed
from sniproxy.endpoints.names import Read, read_file
from sniproxy.endpoints.transports import SecureTransport
from sniproxy.errors import TlsFailure
from sniproxy.net.legs import nothing
from sniproxy.net.timers import NEVER
from sniproxy.net.transport import twisted_address
from sniproxy.tls.contexts import ClientContext, client_context
from sniproxy.tls.policies import ClientPolicy
from sniproxy.tls.sessions import SessionCache, release
from sniproxy.tls.verify import judge_server

CONNECT_TIMEOUT: Final = 30.0
"""Seconds until a connection is there, its handshake included."""

Remote: TypeAlias = "tuple[str, int] | IStreamClientEndpoint"
"""
A name or an IP address, and a port; or an endpoint to connect with.
"""


class ClientTLS:
    """
    A policy made ready: its context and the sessions it may resume. May be shared by endpoints. Reads files when it
    is made and at L{reload}.

    @ivar context: what connections are made from.
    @ivar sessions: of this context.
    """

    log = Logger()

    def __init__(
        self,
        policy: ClientPolicy,
        *,
        verify: bool = True,
        read: Read = read_file,
        clock: Callable[[], float] = seconds,
    ) -> None:
        """
        @param verify: whether the far end must be who it is to be. This counts, and C{policy.verify} does not: that
            one is off unless somebody says otherwise, as in nginx.
        @raise ConfigError: a file cannot be read or used, or there is nobody to trust.
        """

        def path(text: str) -> str:
            return os.path.abspath(text) if text else ""

        self._policy: Final = replace(
            policy,
            verify=verify,
            certificates=tuple((path(certificate), path(key)) for certificate, key in policy.certificates),
            trusted_certificate=path(policy.trusted_certificate),
            crl=path(policy.crl),
        )
        self._read = read
        self._clock = clock
        self.context: ClientContext = client_context(self._policy, read, clock)
        self.sessions: SessionCache = SessionCache(self.context)

    def reload(self) -> bool:
        """
        Read the files again.

        @return: whether anything in them is new: the context is then, and no session is known to it.
        @raise ConfigError: as when made; nothing has changed then.
        """
        context = client_context(self._policy, self._read, self._clock)
        if context.digest == self.context.digest:
            return False
        self.context = context
        self.sessions = SessionCache(context)
        return True

    def report(self, error: Exception) -> None:
        """
        A verify hook raised; the far end is refused.
        """
        self.log.error("a verify hook raised {error!r}", error=error)


class DialTLS:
    """
    A way to one place, with TLS on it.
    """

    def __init__(self, way: Dialer, tls: ClientTLS, place: Hashable, name: str, server_name: str) -> None:
        """
        @param place: what tells this place from others, for its sessions.
        @param name: what the certificate there must be for.
        @param server_name: what is sent as SNI; empty for nothing.
        """
        self.way = way
        self.tls = tls
        self.name = name
        self.server_name = server_name
        self.key: Final = (place, name, server_name)

    def dial(self, engine: Engine, done: Done) -> Cancellable:
        """
        @see: L{Dialer.dial}
        """
        dialling = _Dialling(self, engine, done)
        dialling.begin()
        return dialling


class _Dialling:
    """
    One attempt: connect, shake hands, judge. Owns what is under way.
    """

    def __init__(self, dialer: DialTLS, engine: Engine, done: Done) -> None:
        self._dialer = dialer
        self._engine = engine
        self._done: Done | None = done
        self._trying: Cancellable | None = None
        self._leg: Any = None
        # a reload during the attempt must not mix two contexts
        self._context = dialer.tls.context
        self._sessions = dialer.tls.sessions

    def begin(self) -> None:
        self._trying = self._dialer.way.dial(self._engine, self._connected)

    def _connected(self, outcome: Outcome) -> None:
        if not isinstance(outcome, Dialled):
            self._finish(outcome)
            return
        dialer = self._dialer
        self._leg = leg = self._engine.start_tls(outcome.leg, self._context.connection(dialer.server_name))
        self._sessions.offer(leg.connection, dialer.key)
        leg.owner = self
        leg.handler = self._event
        leg.watch()
        self._event(0)

    def _event(self, bits: int) -> None:
        leg, dialer = self._leg, self._dialer
        try:
            if not leg.handshake():
                return
        except OSError as error:
            reasons = tuple(reason for _, _, reason in error.reasons) if isinstance(error, TlsFailure) else ()
            failure = HandshakeFailed(f"the TLS handshake failed: {error.strerror or error}", reasons)
            failure.__cause__ = error
            self._finish(failure)
            return
        connection, sessions = leg.connection, self._sessions
        judgement = judge_server(connection, self._context, dialer.name, dialer.tls.report)
        if not judgement.ok:
            self._finish(CertificateRefused(judgement))
            return

        def keep() -> None:
            sessions.keep(connection, dialer.key)

        def ending(orderly: bool) -> None:
            # a TLS 1.3 server that refuses our certificate says so after the handshake: its session is worth nothing
            if orderly:
                keep()
            else:
                sessions.forget(connection, dialer.key)
                release(connection)

        sessions.accept(connection, dialer.key)
        leg.first_read = keep
        leg.handler = nothing
        self._leg = None
        self._finish(Dialled(leg, TLSFacts(connection, judgement), ending))

    def _finish(self, outcome: Outcome) -> None:
        done = self._done
        self.cancel()
        assert done is not None
        done(outcome)

    def crashed(self) -> None:
        """
        We have a fault; it is logged already.
        """
        self._finish(HandshakeFailed("internal error"))

    def cancel(self) -> None:
        """
        Give up.
        """
        self._done = None
        trying, self._trying = self._trying, None
        if trying is not None:
            trying.cancel()
        leg, self._leg = self._leg, None
        if leg is not None:
            self._sessions.forget(leg.connection, self._dialer.key)  # failed, refused or too slow
            leg.handler = nothing
            leg.owner = None
            leg.close()


@implementer(IStreamClientEndpoint)
class TLSClientEndpoint:
    """
    Connects, speaks TLS, verifies the far end, and gives the connection to a factory. Nothing is sent before the
    far end's certificate was found good.

    Fails with Twisted's C{ConnectError}s where there is no connection, L{HandshakeFailed} where TLS fails,
    L{CertificateRefused} where the far end is not who it must be, and C{TimeoutError}. In TLS 1.3 a far end that
    refuses I{our} certificate says so only after the handshake: the protocol then loses its connection with a
    C{ConnectionLost} whose C{__cause__} is a L{sniproxy.errors.TlsFailure}.

    @ivar tls: the context and its sessions; may be shared with other endpoints.
    """

    def __init__(
        self,
        reactor: Any,
        where: Remote,
        tls: ClientPolicy | ClientTLS,
        *,
        name: str = "",
        server_name: bool = True,
        verify: bool = True,
        timeout: float = CONNECT_TIMEOUT,
    ) -> None:
        """
        @param where: C{("web.example.com", 443)}, or any L{IStreamClientEndpoint}.
        @param name: what the far end's certificate must be for, a DNS name or an IP address; the host of C{where}
            unless given.
        @param server_name: whether C{name} is sent, as SNI.
        @param verify: see L{ClientTLS}, whose word counts where one is given.
        @param timeout: seconds for everything up to the protocol.
        @raise ConfigError: a file cannot be read or used, or there is nobody to trust.
        @raise ValueError: there is no name to verify.
        """
        self._reactor = reactor
        self.tls = tls if isinstance(tls, ClientTLS) else ClientTLS(tls, verify=verify)
        way: Dialer = To(*where) if isinstance(where, tuple) else Over(where)
        name = name or (where[0] if isinstance(where, tuple) else "")
        if self.tls.context.policy.verify and not name:
            raise ValueError("no name to verify: say name=")
        place = where if isinstance(where, tuple) else id(where)
        self.way = DialTLS(way, self.tls, place, name, name if server_name else "")
        self._timeout = timeout

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """
        @see: L{IStreamClientEndpoint.connect}
        """
        attempt = _Attempt(self._reactor, protocolFactory, self.way.name)
        attempt.begin(self.way, self._timeout)
        return attempt.result

    def reload(self) -> bool:
        """
        Read the files again, now; see L{ClientTLS.reload}.
        """
        return self.tls.reload()


class _Attempt:
    """
    One call of C{connect}: the deadline, the factory and the Deferred. Owns the lease until a transport has it.

    @ivar due: belongs to the deadlines, as C{bucket}.
    """

    def __init__(self, reactor: Any, factory: IProtocolFactory, name: str) -> None:
        self.due = NEVER
        self.bucket = 0
        self.result: Deferred[IProtocol] = Deferred(self._cancelled)
        self._name = name
        self._factory = factory
        self._engine, self._lease = lease(reactor)
        self._trying: Cancellable | None = None

    def begin(self, way: Dialer, seconds: float) -> None:
        self._factory.doStart()
        self._engine.deadlines.set(self, seconds)
        self._trying = way.dial(self._engine, self._dialled)

    def expired(self) -> None:
        """
        The deadline has passed.
        """
        self._give_up()
        self.result.errback(ConnectTimeout())  # type: ignore[no-untyped-call]

    def _cancelled(self, result: Deferred[IProtocol]) -> None:
        self._give_up()
        address = HostnameAddress(self._name.encode("utf-8", "surrogateescape"), 0)
        result.errback(ConnectingCancelledError(address))  # type: ignore[no-untyped-call]

    def _give_up(self) -> None:
        assert self._trying is not None
        self._trying.cancel()
        self._over()

    def _over(self) -> None:
        self._engine.deadlines.clear(self)
        self._ended()

    def _dialled(self, outcome: Outcome) -> None:
        if not isinstance(outcome, Dialled):
            self._over()
            self.result.errback(outcome)
            return
        leg = outcome.leg
        try:
            protocol = self._factory.buildProtocol(twisted_address(leg.peer))
            if protocol is None:
                raise NoProtocol
        except Exception:
            failure = Failure()  # type: ignore[no-untyped-call]
            outcome.ending(False)
            leg.close()
            self._over()
            self.result.errback(failure)
            return
        self._engine.deadlines.clear(self)

        SecureTransport(leg, self._engine, outcome.facts, self._ended, outcome.ending).start(protocol)
        self.result.callback(protocol)

    def _ended(self) -> None:
        self._lease.end()
        self._factory.doStop()
