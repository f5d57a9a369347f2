"""
By which algorithm has each side of a handshake signed? For C{$ssl_sigalg} and C{$ssl_client_sigalg}.

Strategy: pyOpenSSL binds nothing that tells it, so it is read out of the handshake messages while OpenSSL sends and
receives them (L{sniproxy.tls.native.show_handshakes}): the CertificateVerify of RFC 8446 section 4.4.3 and RFC 5246
section 7.4.8, and the ServerKeyExchange of RFC 5246 section 7.4.3. That costs a call for each message, so only contexts
whose configuration asks for one of the two are built so.
"""

from __future__ import annotations

from typing import Final

SERVER_KEY_EXCHANGE: Final = 12
CERTIFICATE_VERIFY: Final = 15

_HEADER: Final = 4
_NAMED_CURVE: Final = 3


def scheme(message: bytes) -> int:
    """
    @param message: a handshake message with its header, as OpenSSL itself has sent it or is about to check it.
    @return: the number of the signature scheme it names; 0 for none.
    """
    if len(message) < _HEADER:
        return 0
    if message[0] == CERTIFICATE_VERIFY:
        return _signed(message, _HEADER)
    if message[0] == SERVER_KEY_EXCHANGE:
        return _signed(message, _behind_point(message)) or _signed(message, _behind_numbers(message))
    return 0


def _signed(message: bytes, at: int) -> int:
    """
    The scheme at a place, if what is behind it is one signature and nothing else: before TLS 1.2 there is no scheme.
    """
    if at <= 0 or at + 4 > len(message) or at + 4 + int.from_bytes(message[at + 2 : at + 4], "big") != len(message):
        return 0
    return int.from_bytes(message[at : at + 2], "big")


def _behind_point(message: bytes) -> int:
    """
    Where a point of a named curve ends (RFC 8422 section 5.4).
    """
    if len(message) < _HEADER + 4 or message[_HEADER] != _NAMED_CURVE:
        return 0
    return _HEADER + 4 + message[_HEADER + 3]


def _behind_numbers(message: bytes) -> int:
    """
    Where the three numbers of ephemeral Diffie-Hellman end.
    """
    at = _HEADER
    for _ in range(3):
        at += 2 + int.from_bytes(message[at : at + 2], "big")
    return at
