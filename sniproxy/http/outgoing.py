"""
The request that goes to an upstream, written out: its head, and its body a piece at a time.

Strategy: it is written before anybody is asked, and can be sent again, to another peer, as long as its body is not one
that goes through as it comes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sniproxy.http.exchange import Pairs
from sniproxy.wire.http1_write import chunk, last_chunk, request_head

if TYPE_CHECKING:
    from sniproxy.http.proxy_policy import ProxyPolicy
    from sniproxy.http.proxy_target import Target
    from sniproxy.http.spool import Spool

SMALL: Final = 16384
"""Bytes of a body that go into one send with the head."""


class Outgoing:
    """
    One request. Holds its head and a small body; is lent the spool.

    @ivar method: of it.
    @ivar first: what is sent first, and at once: the head, and the body where that is small.
    @ivar whole: whether all of it has been handed out.
    @ivar streams: whether the body is the client's, as it comes.
    """

    __slots__ = ("_at", "_chunked", "_fields", "_request", "_spool", "first", "method", "streams", "whole")

    def __init__(
        self, request: Any, policy: ProxyPolicy, target: Target, uri: str, spool: Spool | None, streams: bool
    ) -> None:
        """
        @param request: L{sniproxy.http.request.Request}.
        @param uri: what is asked for.
        @param spool: the body, where it is kept.
        @param streams: whether it is passed on as it comes.
        @raise ValueError: a variable has brought in what no head may hold.
        """
        body = b""
        framing: tuple[str, str] | None = None
        self._chunked = False
        if policy.set_body is not None:
            body = policy.set_body.render(request).encode("utf-8", "surrogateescape")
            framing = ("Content-Length", str(len(body)))
            spool, streams = None, False
        elif not policy.pass_body:
            spool, streams = None, False
        elif streams:
            length = request.body.length
            self._chunked = length is None
            framing = ("Transfer-Encoding", "chunked") if length is None else ("Content-Length", str(length))
        elif spool is not None:
            framing = ("Content-Length", str(spool.length))
            if spool.length <= SMALL and not spool.filed:
                body, spool = spool.read(0), None
        elif "content-length" in request.fields:
            framing = ("Content-Length", "0")
        self.method = request.method if policy.method is None else policy.method.render(request)
        self._fields: Pairs = policy.headers.fields(request, target.host, framing)
        self.first = request_head(self.method, uri, policy.version, self._fields) + body
        self._request = request
        self._spool = spool
        self.streams = streams
        self._at = 0
        self.whole = False

    @property
    def upgrades(self) -> bool:
        """
        Whether it asks for another protocol.
        """
        return any(name.lower() == "upgrade" for name, _ in self._fields)

    def begin(self) -> bytes:
        """
        From the beginning.

        @return: C{first}.
        """
        self._at = 0
        self.whole = self._spool is None and not self.streams
        return self.first

    def next(self) -> bytes | None:
        """
        @return: what comes next; None where that has not come yet; perhaps nothing at the end.
        @raise OSError: a temporary file cannot be read.
        @raise BodyError: the client will not send it.
        """
        spool = self._spool
        if spool is not None:
            piece = spool.read(self._at)
            self._at += len(piece)
            self.whole = self._at >= spool.length
            return piece
        data = self._request.body.read()
        if data:
            return chunk(data) if self._chunked else data
        if data is None:
            return None
        self.whole = True
        return last_chunk() if self._chunked else b""
