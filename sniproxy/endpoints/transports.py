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

Ending = Callable[[bool], None]
"""
Told once that a connection ends, and whether in good order; its leg is open still and its protocol knows nothing yet.
"""

Ended = Callable[[], None]
"""
Told once when the leg is closed and the protocol has been told.
"""


def nothing_to_do(orderly: bool) -> None:
    """
    What a connection's end means to nobody in particular.
    """


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
            self._ended()


class SecureTransport(TlsTransport):
    """
    Of a connection whose TLS ends here. C{getPeerCertificate} and C{negotiatedProtocol} are Twisted's.

    @ivar facts: about the far end.
    """

    def __init__(self, leg: Any, engine: Engine, facts: TLSFacts, ended: Ended, ending: Ending = nothing_to_do) -> None:
        super().__init__(leg, engine)
        self.facts = facts
        self._ending = ending
        self._ended = ended

    def _lose(self, fate: Exception, orderly: bool) -> None:
        if self.protocol is not None:
            self._ending(isinstance(fate, ConnectionDone))
            super()._lose(fate, orderly)
            self._ended()


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
