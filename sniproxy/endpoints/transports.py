"""
The transports that protocols of our endpoints live on: those of L{sniproxy.net.transport}, which also know when
they are over, and what was found out about the far end.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IProtocol

from sniproxy.endpoints.engine import Engine
from sniproxy.endpoints.facts import TLSFacts
from sniproxy.net.transport import LegTransport, TlsTransport
from sniproxy.wire.client_hello import ClientHello

Ended = Callable[[bool], None]
"""Told once that a connection is over, and whether in good order; its leg is closed by then."""


class PlainTransport(LegTransport):
    """
    Of a connection that was routed and not decrypted.

    @ivar hello: what the client said first, which the protocol will receive; None where it was not TLS.
    """

    def __init__(self, leg: Any, engine: Engine, hello: ClientHello | None, ended: Ended) -> None:
        super().__init__(leg, engine)
        self.hello = hello
        self._ended = ended

    def _lose(self, fate: Exception, orderly: bool) -> None:
        if self.protocol is not None:
            super()._lose(fate, orderly)
            self._ended(isinstance(fate, ConnectionDone))


class SecureTransport(TlsTransport):
    """
    Of a connection whose TLS ends here. C{getPeerCertificate} and C{negotiatedProtocol} are Twisted's.

    @ivar facts: about the far end.
    """

    def __init__(self, leg: Any, engine: Engine, facts: TLSFacts, ended: Ended) -> None:
        super().__init__(leg, engine)
        self.facts = facts
        self._ended = ended

    def _lose(self, fate: Exception, orderly: bool) -> None:
        if self.protocol is not None:
            super()._lose(fate, orderly)
            self._ended(isinstance(fate, ConnectionDone))


def build(factory: Any, leg: Any, address: Any) -> IProtocol | None:
    """
    Ask a factory for the protocol of a connection that was let in.

    @return: None where it wants none, or raised, which is logged.
    """
    try:
        protocol: IProtocol | None = factory.buildProtocol(address)
    except Exception:
        LegTransport.log.failure("unhandled error in buildProtocol")
        return None
    return protocol
