"""
What became of each peer that a request has tried: what C{$upstream_…} variables and C{least_time} read.
"""

from __future__ import annotations

from sniproxy.wire.http1_fields import Headers


class UpstreamState:
    """
    How one try of one request went; kept in C{request.upstream_states}, in the order of the tries.

    @ivar peer: its address, or the name of the group where no peer was live.
    @ivar status: of its answer, or what its failure comes to; 0 where there was none.
    @ivar connect_time: seconds until it was connected, and over C{https} its handshake was over; 0 for a connection
        that was kept; None if never.
    @ivar header_time: seconds until the head of its answer was there; None if never.
    @ivar response_time: seconds until it was left; None while it is in use.
    @ivar response_length: bytes that came behind the head of its answer, frames of chunks among them.
    @ivar bytes_sent: to it.
    @ivar bytes_received: from it.
    @ivar headers: the fields of its answer, as they came.
    @ivar fields: their values by names in lower case, several of one name joined.
    @ivar trailers: the fields behind the body.
    """

    __slots__ = (
        "bytes_received",
        "bytes_sent",
        "connect_time",
        "fields",
        "header_time",
        "headers",
        "peer",
        "response_length",
        "response_time",
        "status",
        "trailers",
    )

    def __init__(self, peer: str) -> None:
        self.peer = peer
        self.status = 0
        self.connect_time: float | None = None
        self.header_time: float | None = None
        self.response_time: float | None = None
        self.response_length = 0
        self.bytes_sent = 0
        self.bytes_received = 0
        self.headers: Headers = ()
        self.fields: dict[str, str] = {}
        self.trailers: Headers = ()
