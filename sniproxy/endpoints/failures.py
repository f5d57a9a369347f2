"""
Why did a connection of ours not come about? What endpoints of clients fail with, beside Twisted's own
C{ConnectError}s, which say that there was no connection at all.
"""

from __future__ import annotations

from sniproxy.errors import UpstreamError
from sniproxy.tls.verify import Judgement


class HandshakeFailed(UpstreamError):
    """
    The far end was reached and TLS with it failed: it sent an alert, left, or does not speak TLS. The cause is the
    C{OSError}.

    @ivar reasons: OpenSSL's words, the oldest first; empty where the connection ended.
    """

    def __init__(self, message: str, reasons: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.reasons = reasons


class CertificateRefused(UpstreamError):
    """
    The far end's certificate does not hold. Nothing was sent to it.

    @ivar judgement: what is wrong.
    """

    def __init__(self, judgement: Judgement) -> None:
        super().__init__(judgement.message)
        self.judgement = judgement
