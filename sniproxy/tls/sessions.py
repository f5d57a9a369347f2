"""
Which session does an upstream get offered? One it gave us before, under the same context, key and still good
certificate. And with it the key share that it is likely to take, of which L{sniproxy.tls.shares} knows.

Strategy: pyOpenSSL binds a session to its context, so a cache belongs to one context, and a change of authorities,
revocation lists or depth, which makes a new context, begins with an empty one. The name and the address of the peer
are in the key. In TLS 1.3 tickets come after the handshake: keep the session after the first bytes were read or at
the close, not before. And OpenSSL strikes off the session of a connection that is dropped without a close_notify:
call L{release} before dropping one.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import Final

from OpenSSL import SSL

from sniproxy.tls import native
from sniproxy.tls.contexts import ClientContext
from sniproxy.tls.native import TLSConnection
from sniproxy.tls.shares import KeyShares

LIMIT: Final = 1024
"""
Sessions of one cache. A session takes some 2 to 6 KiB.
"""
_SEQUENCE: Final = 0x30
_OCTETS: Final = 0x04
_TICKET: Final = 0xAA  # [10] EXPLICIT OCTET STRING


@dataclass(frozen=True, slots=True)
class _Kept:
    """
    @ivar good_until: seconds since the epoch.
    """

    session: SSL.Session
    good_until: float


class SessionCache:
    """
    Sessions with upstreams, of one context: at most C{limit}, the least recently offered or kept goes first. It owns
    the sessions; a connection that one was offered to holds its own reference.
    """

    __slots__ = ("_context", "_kept", "_limit", "_shares")

    def __init__(self, context: ClientContext, limit: int = LIMIT) -> None:
        self._context: Final = context
        self._limit: Final = limit
        self._kept: Final[OrderedDict[Hashable, _Kept]] = OrderedDict()
        self._shares: Final = KeyShares(context, limit)

    def __len__(self) -> int:
        return len(self._kept)

    def offer(self, connection: TLSConnection, key: Hashable) -> bool:
        """
        Before the handshake: let C{connection} resume what was kept under C{key}.

        @param key: everything that may differ between connections of the context: the peer's address, the name it is
            verified by, the SNI and the ALPN protocols.
        @return: whether there was something to offer.
        @raise ValueError: the connection is of another context.
        """
        if not self._context.made(connection):
            raise ValueError("the connection is of another context")
        self._shares.offer(connection, key)
        kept = self._kept.get(key)
        if kept is None:
            return False
        if kept.good_until <= self._context.clock():
            del self._kept[key]
            return False
        self._kept.move_to_end(key)
        connection.offered_until = kept.good_until
        connection.set_session(kept.session)
        return True

    def accept(self, connection: TLSConnection, key: Hashable) -> None:
        """
        After L{sniproxy.tls.verify.judge_server} found the upstream good, once: remember what can be of it.
        """
        self._shares.note(connection, key)
        self.keep(connection, key)

    def keep(self, connection: TLSConnection, key: Hashable) -> None:
        """
        After L{accept}: remember the newest session the upstream gave. Does nothing where there is none to resume, so
        it may be called more than once.
        """
        good_until = connection.good_until
        if good_until is None or not self._context.resumes or good_until <= self._context.clock():
            return
        if not resumable(native.session_der(connection)):
            return
        session = connection.get_session()
        if session is not None:
            self._kept[key] = _Kept(session, good_until)
            self._kept.move_to_end(key)
            if len(self._kept) > self._limit:
                self._kept.popitem(last=False)

    def forget(self, connection: TLSConnection, key: Hashable) -> None:
        """
        A handshake after L{offer} failed or took too long, or its upstream was refused.
        """
        self._shares.forget(connection, key)
        self._kept.pop(key, None)


def release(connection: SSL.Connection) -> None:
    """
    Before a connection is dropped without an orderly end: let its session live. For both sides, since a server's own
    cache loses such sessions too. Sends nothing.
    """
    connection.set_shutdown(SSL.SENT_SHUTDOWN | SSL.RECEIVED_SHUTDOWN)


def session_id(der: bytes) -> bytes:
    """
    @param der: L{native.session_der}.
    @return: the session's identifier, perhaps empty.
    """
    parts = list(_parts(der))
    return parts[3][1] if len(parts) > 3 and parts[3][0] == _OCTETS else b""


def resumable(der: bytes) -> bool:
    """
    Whether a session can be asked for again: it has a ticket or, before TLS 1.3, an identifier.
    """
    parts = list(_parts(der))
    if any(tag == _TICKET and value for tag, value in parts):
        return True
    return len(parts) > 3 and parts[1][1] < b"\x03\x04" and bool(parts[3][1])


def _parts(der: bytes) -> Iterator[tuple[int, bytes]]:
    """
    The elements of a SEQUENCE that OpenSSL itself wrote: tag and content of each.
    """
    if der and der[0] == _SEQUENCE:
        at, _ = _length(der, 1)
        while at < len(der):
            begin, length = _length(der, at + 1)
            yield der[at], der[begin : begin + length]
            at = begin + length


def _length(der: bytes, at: int) -> tuple[int, int]:
    first = der[at]
    if first < 0x80:
        return at + 1, first
    end = at + 1 + (first & 0x7F)
    return end, int.from_bytes(der[at + 1 : end], "big")
