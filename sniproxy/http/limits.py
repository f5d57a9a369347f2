"""
What ngx_http_core_module says of requests, in numbers: sizes, waits, and what is let through.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from sniproxy.wire.http1 import Limits as HeadLimits


@dataclass(frozen=True, slots=True)
class Limits:
    """
    The settings of one place; those of a server count where there is no place yet.

    @ivar head: how long heads may be (C{large_client_header_buffers}, C{max_headers}).
    @ivar header_timeout: seconds for a whole head.
    @ivar body_timeout: seconds between two pieces of a body.
    @ivar send_timeout: seconds between two pieces that the client takes.
    @ivar keepalive_timeout: seconds between two requests; 0 for one request a connection.
    @ivar keepalive_header: seconds told to the client, or 0.
    @ivar keepalive_requests: requests a connection carries.
    @ivar keepalive_time: seconds of a connection's life after which it ends with the request.
    @ivar lingering: C{"on"}, C{"always"} or C{"off"}.
    @ivar lingering_time: seconds at most in which what a client still sends is read and dropped.
    @ivar lingering_timeout: seconds between two pieces of that.
    @ivar body_size: bytes of a body at most; 0 for no limit.
    @ivar body_buffer: bytes of a body that are kept in memory, C{client_body_buffer_size}.
    @ivar body_folder: where those of longer ones are kept meanwhile.
    @ivar server_tokens: C{"on"}, C{"off"} or C{"build"}.
    @ivar satisfy_any: C{satisfy any}.
    @ivar internal: only for requests that were sent here from within.
    @ivar underscores: names of fields may have them.
    @ivar ignore_invalid: fields with other strange names are passed over; else refused.
    @ivar merge_slashes: C{merge_slashes}.
    @ivar chunked: C{chunked_transfer_encoding}.
    @ivar msie_padding: whether old browsers get longer pages.
    @ivar absolute_redirect: whether C{Location} gets scheme and host.
    @ivar server_name_in_redirect: whether that host is the server's first name.
    @ivar port_in_redirect: whether it gets the port.
    @ivar reset_timedout: connections that are too slow are reset.
    @ivar methods: what C{limit_except} lets through is found in its own place.
    """

    head: HeadLimits = field(default_factory=HeadLimits)
    header_timeout: float = 60.0
    body_timeout: float = 60.0
    send_timeout: float = 60.0
    keepalive_timeout: float = 75.0
    keepalive_header: int = 0
    keepalive_requests: int = 1000
    keepalive_time: float = 3600.0
    lingering: str = "on"
    lingering_time: float = 30.0
    lingering_timeout: float = 5.0
    body_size: int = 1 << 20
    body_buffer: int = 16384
    body_folder: str = ""
    server_tokens: str = "on"
    satisfy_any: bool = False
    internal: bool = False
    underscores: bool = False
    ignore_invalid: bool = True
    merge_slashes: bool = True
    chunked: bool = True
    msie_padding: bool = True
    absolute_redirect: bool = True
    server_name_in_redirect: bool = False
    port_in_redirect: bool = True
    reset_timedout: bool = False
