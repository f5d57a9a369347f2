"""
What the error log says of TLS and sockets that broke, and how loud: nginx's words and levels.

Strategy: nginx knows by number which complaints of OpenSSL any stranger on the network can cause
(ngx_ssl_connection_error), and logs these as it logs broken connections: C{info} for clients, C{error} for upstreams.
All others are C{crit}. Operators have their alarms set by that.
"""

from __future__ import annotations

from typing import Final, Literal

from sniproxy.errors import TlsFailure
from sniproxy.levels import CRIT, ERROR, INFO
from sniproxy.tls.native import error_code, error_line

HANDSHAKE: Final = "SSL_do_handshake()"

_ORDINARY: Final = frozenset(
    {
        101, 103, 108, 110, 111, 112, 115, 118, 122, 129, 133, 145, 146, 149, 150, 151, 152, 154, 155, 156, 159, 160,
        182, 183, 186, 187, 193, 198, 199, 213, 226, 227, 234, 235, 244, 245, 246, 252, 258, 267, 271, 281, 291, 292,
        293, 298, 300, 306, 335, 336, 337, 338, 339, 345, 373, 376, 377, 396, 404, 409, 424, 443, 1000, 1010, 1020,
        1021, 1022, 1030, 1040, 1041, 1042, 1043, 1044, 1045, 1046, 1047, 1048, 1049, 1050, 1051, 1060, 1070, 1071,
        1080, 1086, 1090, 1100, 1109, 1110, 1111, 1112, 1113, 1114, 1115, 1120,
    }
)  # fmt: skip
"""Reasons of the SSL library (sslerr.h) that strangers can cause."""

_TLS_CALLS: Final = {"recv()": "SSL_read()", "send()": "SSL_write()"}

_REASON: Final = 0x7FFFFF

REJECTED: Final = "callback failed"
"""What OpenSSL says when C{ssl_reject_handshake} has said no; no other callback of ours can."""


def broken(error: OSError, call: str) -> str:
    """
    @param error: what a leg raised.
    @param call: whose failure it is: L{HANDSHAKE}, C{recv()}; C{recv()} and C{send()} are C{SSL_read()} and
        C{SSL_write()} where TLS broke.
    @return: C{recv() failed (104: Connection reset by peer)}, C{SSL_do_handshake() failed (SSL: error:…)}, …
    """
    if isinstance(error, TlsFailure):
        if error.reasons and error.reasons[-1][2] == REJECTED:
            return "handshake rejected"
        call = _TLS_CALLS.get(call, call)
        return f"{call} failed (SSL: {' '.join(error_line(library, why) for library, _, why in error.reasons)})"
    why = f" ({error.errno}: {error.strerror})" if error.errno else ""
    if isinstance(error, TimeoutError):
        return f"client timed out{why}"
    if call == HANDSHAKE:
        return f"peer closed connection in SSL handshake{why}"
    return f"{call} failed{why}"


def moving(error: OSError, call: str, tls: bool) -> str:
    """
    The same of bytes on their way.

    @param tls: whether the leg speaks TLS. There a connection that is reset while it is read has ended, for nginx looks
        into OpenSSL's queue first, where nothing is.
    @return: empty where nothing is to be told.
    """
    if not tls or isinstance(error, TlsFailure):
        return broken(error, call)
    return "" if call == "recv()" else broken(error, _TLS_CALLS[call])


def level_of(error: OSError, side: Literal["client", "upstream"]) -> int:
    """
    How loud that is.

    @param side: whose leg broke.
    """
    if isinstance(error, TlsFailure) and error.reasons:
        library, _, why = error.reasons[-1]
        if error_code(library, why) & _REASON not in _ORDINARY:
            return CRIT
    return INFO if side == "client" else ERROR
