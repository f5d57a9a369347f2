"""
In which blocks may a directive stand that stream and http both have? The contexts of L{Directive}, by the names nginx's
documentation gives them.
"""

from __future__ import annotations

from typing import Final

KINDS: Final = ("stream", "http")
"""The blocks that servers are in, and the kinds of what is served."""

STREAM: Final = ("stream", "stream.server")

HTTP_SERVERS: Final = ("http", "http.server")

HTTP: Final = (*HTTP_SERVERS, "http.server.location")

SERVERS: Final = (*STREAM, *HTTP_SERVERS)

PLACES: Final = (*STREAM, *HTTP)

LIMIT_EXCEPT: Final = "http.server.location.limit_except"

IF_IN_LOCATION: Final = "http.server.location.if"

HTTP_UPSTREAM: Final = "http.upstream"

UPSTREAMS: Final = ("stream.upstream", HTTP_UPSTREAM)
