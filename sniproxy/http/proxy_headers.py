"""
What upstreams are sent: the fields of the request that goes on, C{proxy_set_header}.

Strategy: what a location changes is compiled once: the fields that it sets, in order, and the names that the client's
are not passed on under. Where the body ends is never said by a configuration or a client: it is the proxy that writes
the body, and knows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sniproxy.config.template import Template

HOP_BY_HOP: Final = frozenset(("connection", "proxy-connection", "te", "keep-alive", "expect", "upgrade"))
"""Of a client's fields these concern its connection to us alone (RFC 9110 section 7.6.1)."""

FRAMING: Final = frozenset(("content-length", "transfer-encoding"))


class HeaderPlan:
    """
    The fields of one location's requests.
    """

    __slots__ = ("_connection", "_dropped", "_host", "_passes", "_said", "_sets")

    def __init__(self, sets: Sequence[tuple[str, Template]] = (), passes: bool = True) -> None:
        """
        @param sets: the C{proxy_set_header}s in force.
        @param passes: whether the client's fields are passed on, C{proxy_pass_request_headers}.
        """
        named = {name.lower() for name, _ in sets}
        # what is empty is not sent
        self._sets = [each for each in sets if each[0].lower() not in FRAMING and each[1].constant != ""]
        self._host = "host" not in named
        self._dropped = named | HOP_BY_HOP | FRAMING | {"host"}
        self._passes = passes
        connection = next((template for name, template in sets if name.lower() == "connection"), None)
        constant = "" if connection is None else connection.constant
        self._said = "" if constant is None else constant.lower()
        self._connection = connection if constant is None else None

    def lasting(self, request: Any, otherwise: bool) -> bool:
        """
        Whether the connection of a request may be kept: whoever is told, or takes it for granted, that it is the last
        one closes it, and the next one would run into that.

        @param otherwise: what the version of the request says.
        """
        said = self._said if self._connection is None else self._connection.render(request).lower()
        return "close" not in said if otherwise else "keep-alive" in said

    def fields(self, request: Any, host: str, framing: tuple[str, str] | None) -> list[tuple[str, str]]:
        """
        @param request: L{sniproxy.http.request.Request}.
        @param host: of the upstream, C{$proxy_host}.
        @param framing: what says where the body ends, where there is one.
        @return: names and values, in the order of nginx.
        """
        found: list[tuple[str, str]] = []
        for name, template in self._sets:
            value = template.render(request)
            if value:
                found.append((name, value))
        if self._host:
            found.append(("Host", host))
        if framing is not None:
            found.append(framing)
        if self._passes:
            dropped = self._dropped
            items: list[tuple[str, str]] = request.headers.items
            found += [pair for pair in items if pair[0].lower() not in dropped]
        return found


def forwarded_for(request: Any) -> str | None:
    """
    C{$proxy_add_x_forwarded_for}: whom the request has come through already, and the client.
    """
    client: str = request.client_text()
    before = request.fields.get("x-forwarded-for")
    return f"{before}, {client}" if before else client
