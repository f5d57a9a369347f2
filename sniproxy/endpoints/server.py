"""
The Twisted server endpoint that terminates TLS, asks clients for certificates and means it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint
from twisted.python.runtime import seconds
from zope.interface import implementer

from sniproxy.endpoints.listening import BACKLOG, DoorPort, Where, open_port
from sniproxy.endpoints.names import Policies, Read, ServerNames, ServerSide, Watch, read_file
from sniproxy.endpoints.terminate import Terminate

HANDSHAKE_TIMEOUT: Final = 60.0
"""Seconds from the arrival of a client to its admission, as nginx's C{ssl_handshake_timeout}."""

WATCH: Final = 60.0
"""Seconds between two looks at the files of certificates, authorities and revocation lists."""


@implementer(IStreamServerEndpoint)
class TLSServerEndpoint:
    """
    Listens, ends TLS, and gives a factory those clients that it lets in; the others never reach C{buildProtocol}.

    A client has C{handshake_timeout} for everything up to then; its ClientHello is at most 64 KiB. Protocols get a
    L{sniproxy.endpoints.transports.SecureTransport}.

    @ivar names: the contexts; may be shared with other endpoints.
    """

    def __init__(
        self,
        reactor: Any,
        where: Where,
        tls: Policies | ServerNames,
        *,
        default: ServerSide | str | None = None,
        handshake_timeout: float = HANDSHAKE_TIMEOUT,
        watch: float | None = WATCH,
        backlog: int = BACKLOG,
        read: Read = read_file,
        clock: Callable[[], float] = seconds,
    ) -> None:
        """
        Files are read here, so that what is wrong is known before anything runs.

        @param where: C{("127.0.0.1", 8443)}, or any L{IStreamServerEndpoint}.
        @param tls: a L{sniproxy.tls.policies.ServerPolicy} for every client, or a mapping from names to policies,
            see L{ServerNames}.
        @param default: with a mapping, for clients that name nobody or somebody unknown: a policy, or one of the
            names in the mapping; without it they are refused.
        @param watch: seconds between two looks at the files while listening; None: they are read at L{reload} alone.
        @raise ConfigError: a file cannot be read or used; in nginx's words.
        @raise ValueError: a name or a mask is none.
        """
        self._reactor = reactor
        self._where = where
        self.names = tls if isinstance(tls, ServerNames) else ServerNames(tls, default, read=read, clock=clock)
        self._handshake_timeout = handshake_timeout
        self._watch = watch
        self._backlog = backlog

    def listen(self, factory: IProtocolFactory) -> Deferred[IListeningPort]:
        """
        @see: L{IStreamServerEndpoint.listen}
        """
        terminate = Terminate(self.names, factory)
        opening: Deferred[Any] = open_port(
            self._reactor, self._where, self._backlog, self._handshake_timeout, terminate.take
        )

        def opened(port: DoorPort) -> DoorPort:
            watch = None if self._watch is None else Watch(self.names, self._reactor, self._watch)
            factory.doStart()

            def closed() -> None:
                if watch is not None:
                    watch.stop()
                factory.doStop()

            port.when_closed(closed)
            return port

        return opening.addCallback(opened)

    def reload(self) -> bool:
        """
        Read the files again, now; see L{ServerNames.reload}.
        """
        return self.names.reload()
