"""
In which version of HTTP a client speaks: what was agreed upon with TLS, or what its first bytes are.
"""

from __future__ import annotations

from typing import Any, Final

from sniproxy.common.session import Session
from sniproxy.http.http1 import Http1
from sniproxy.http.http2 import Http2
from sniproxy.http.server import HttpServer
from sniproxy.net.poller import ERR, HUP, RDHUP
from sniproxy.wire.http1 import PREFACE, is_preface

H2: Final = "h2"

OLD: Final = ("http/1.1", "http/1.0", "http/0.9")
"""What TLS clients may choose from (NGX_HTTP_ALPN_PROTOS)."""

_GONE: Final = RDHUP | HUP | ERR


def protocols_of(server: HttpServer) -> tuple[str, ...]:
    """
    What TLS clients of a server may choose from.
    """
    return (H2, *OLD) if server.http2 else OLD


def content(session: Session) -> None:
    """
    Speak HTTP with a client.
    """
    server: Any = session.server
    if not server.http2 or session.plain_on_tls:
        Http1(session, server).begin_connection()
    elif session.tls is None:
        Looking(session, server).begin()
    elif session.tls.connection.get_alpn_proto_negotiated() == H2.encode():
        Http2(session, server).begin_connection()
    else:
        Http1(session, server).begin_connection()


class Looking:
    """
    Waits for the first bytes, and takes none of them; its deadline is C{client_header_timeout}.
    """

    __slots__ = ("_server", "_session")

    def __init__(self, session: Session, server: HttpServer) -> None:
        self._session = session
        self._server = server

    def begin(self) -> None:
        """
        Take the leg.
        """
        session = self._session
        session.action = "waiting for request"
        session.client.handler = self._look
        session.runtime.idle.add(self)
        session.pending = self
        session.wait(self._server.place.limits.header_timeout, self._late)
        if not session.client.watch():
            self._look(0)

    def _look(self, bits: int) -> None:
        session = self._session
        verdict: bool | None = False
        try:
            begun = session.client.peek(len(PREFACE))
            if begun != b"" and not bits & _GONE:
                verdict = is_preface(begun or b"")
        except OSError:
            pass  # who reads next will hear of it, and say so
        if verdict is None:
            return
        self.cancel()
        speaker = Http2 if verdict else Http1
        speaker(session, self._server).begin_connection()

    def _late(self) -> None:
        session = self._session
        session.info("client timed out (110: Connection timed out)")
        session.finish()

    def leave(self) -> None:
        """
        The configuration takes no more requests.
        """
        self._session.finish()

    def cancel(self) -> None:
        """
        No longer.
        """
        self._session.runtime.idle.discard(self)
        self._session.pending = None
