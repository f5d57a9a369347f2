"""
The fields of an answer's head, in nginx's order (ngx_http_header_filter): what every answer has, then what the modules
added.
"""

from __future__ import annotations

from typing import Final

from sniproxy.http.dates import http_date
from sniproxy.http.exchange import Reply
from sniproxy.http.pages import signature
from sniproxy.http.phases import NO_CONTENT
from sniproxy.http.request import Request

_PLACED: Final = ("content-type", "content-length", "last-modified", "location")
_NAMES: Final = {
    "content-type": "Content-Type",
    "content-length": "Content-Length",
    "last-modified": "Last-Modified",
    "location": "Location",
}


def fields_of(request: Request, reply: Reply) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """
    What HTTP/1 and HTTP/2 say alike. Where the body's length is known, it is among it.

    @return: what comes before, and what comes behind, the fields that concern the connection.
    """
    first = [
        ("Server", signature(request.place.limits.server_tokens)),
        ("Date", http_date(request.runtime.time())),
    ]
    rest: list[tuple[str, str]] = []
    placed: dict[str, str] = {}
    if reply.length is not None and reply.status != NO_CONTENT:
        placed["content-length"] = str(reply.length)
    for pair in reply.headers.items:
        name = pair[0].lower()
        if name in _NAMES:
            placed.setdefault(name, pair[1])
        elif name == "server":
            first[0] = pair
        elif name == "date":
            first[1] = pair
        else:
            rest.append(pair)
    if reply.status == NO_CONTENT:
        placed.pop("content-type", None)
    first += [(_NAMES[name], placed[name]) for name in _PLACED if name in placed]
    return first, rest
