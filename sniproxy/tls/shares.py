"""
Which key share does an upstream get in our ClientHello? One of the group that it keeps choosing (RFC 8446 section
4.2.8).

Strategy: OpenSSL cannot know what the far end will choose. It sends shares of two groups, X25519MLKEM768 and X25519;
what is not chosen was computed in vain, and where neither is, the upstream has to ask for another hello. But we meet
the same upstreams again. All groups stay on offer, in OpenSSL's own order; only the shares are fewer, so an upstream
that wants another group can ask for it with a HelloRetryRequest.

Not all do: there are servers that take the share they find though they know a better group, and behind one address may
be several that do not choose alike. What they would choose is only seen where OpenSSL sends its shares. So L{AGREED}
connections in a row have to agree before shares are fewer; one in L{EVERY} asks anew for as long as they are, and so
does the first after L{CONFIRMED} seconds; and one that chooses otherwise, asks for another hello or fails gives the
choice of the shares back to OpenSSL for L{DOUBTED} seconds.

Groups that a configuration names are left to OpenSSL, and so is everything where it does not do what is said here.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from contextlib import suppress
from typing import Any, Final

from OpenSSL import SSL

from sniproxy.tls import names, native
from sniproxy.tls.contexts import ClientContext
from sniproxy.tls.native import TLSConnection

LIMIT: Final = 1024
"""
Upstreams of one context.
"""
AGREED: Final = 8
EVERY: Final = 16
CONFIRMED: Final = 60.0
DOUBTED: Final = 3600.0

SUPPORTED_GROUPS: Final = 10
KEY_SHARE: Final = 51
_BEFORE_SESSION_ID: Final = 5 + 4 + 2 + 32


class _Choice:
    """
    What an upstream chose of OpenSSL's shares.

    @ivar group: see L{native.chosen_group}; empty as long as OpenSSL is to choose the shares.
    @ivar agreed: how many connections in a row have chosen it.
    @ivar listed: what to offer, see L{KeyShares.listed}; None to leave it to OpenSSL.
    @ivar until: how long that holds, in seconds since the epoch.
    @ivar met: how many connections were made since.
    """

    __slots__ = ("agreed", "group", "listed", "met", "until")

    def __init__(self, group: str, until: float) -> None:
        self.group = group
        self.agreed = 1
        self.listed: Any = None
        self.until = until
        self.met = 0


class KeyShares:
    """
    The choices of upstreams, of one context: at most C{limit}, what was learnt first goes first.
    """

    __slots__ = ("_chosen", "_context", "_limit", "_listed")

    def __init__(self, context: ClientContext, limit: int = LIMIT) -> None:
        self._context: Final = context
        self._limit: Final = limit
        self._chosen: Final[OrderedDict[Hashable, _Choice]] = OrderedDict()
        self._listed: Final[dict[str, Any]] = {}

    def offer(self, connection: TLSConnection, key: Hashable) -> None:
        """
        Before the handshake.

        @param connection: one of the context.
        @param key: as L{sniproxy.tls.sessions.SessionCache.offer}.
        """
        choice = self._chosen.get(key)
        if choice is None or choice.listed is None:
            return
        choice.met += 1
        if choice.met % EVERY == 0 or choice.until <= self._context.clock():
            return
        if native.offer_groups(connection, choice.listed):
            connection.share = choice.group

    def note(self, connection: TLSConnection, key: Hashable) -> None:
        """
        After the handshake: what has the upstream chosen?
        """
        group = native.chosen_group(connection)
        if not group or group == connection.share:
            return
        known = self._chosen.get(key)
        if connection.share:
            self._remember(key, _Choice("", self._context.clock() + DOUBTED))
        elif known is None or (not known.group and known.until <= self._context.clock()):
            self._remember(key, _Choice(group, self._context.clock() + CONFIRMED))
        elif known.group == group:
            known.agreed += 1
            known.until = self._context.clock() + CONFIRMED
            if known.agreed == AGREED:
                known.listed = self.listed(group)
        elif known.group:
            self._remember(key, _Choice("", self._context.clock() + DOUBTED))

    def forget(self, connection: TLSConnection, key: Hashable) -> None:
        """
        The handshake failed or took too long, or the upstream was refused: it may have been for the share.
        """
        if connection.share:
            self._remember(key, _Choice("", self._context.clock() + DOUBTED))

    def _remember(self, key: Hashable, choice: _Choice) -> None:
        self._chosen[key] = choice
        if len(self._chosen) > self._limit:
            self._chosen.popitem(last=False)

    def listed(self, group: str) -> Any:
        """
        @param group: see L{native.chosen_group}.
        @return: for L{native.offer_groups}: what OpenSSL offers by itself, with a share of C{group} and no other. None
            where there is no such thing.
        """
        if group not in self._listed:
            self._listed[group] = self._tried(group)
        return self._listed[group]

    def _tried(self, group: str) -> Any:
        if self._context.policy.curves != "auto":
            return None
        usual, _ = offered(_hello(self._context.connection()))
        called = [names.in_lists(code) for code in usual]
        if group not in called:
            return None
        listed = native.group_list(":".join(f"*{name}" if name == group else name for name in called))
        connection = self._context.connection()
        wanted = (usual, (usual[called.index(group)],))
        if not native.offer_groups(connection, listed) or offered(_hello(connection)) != wanted:
            return None
        return listed


def offered(hello: bytes) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """
    What OpenSSL says by itself; C{wire/} reads what strangers say, and is another room.

    @param hello: a ClientHello that OpenSSL has written, in one record.
    @return: the groups it supports, and those it has shares of.
    """
    at = _BEFORE_SESSION_ID
    for size in (1, 2, 1):  # session identifier, cipher suites, compression methods
        at += size + int.from_bytes(hello[at : at + size], "big")
    at += 2
    found: dict[int, bytes] = {}
    while at < len(hello):
        end = at + 4 + _short(hello, at + 2)
        found[_short(hello, at)] = hello[at + 4 : end]
        at = end
    groups = found.get(SUPPORTED_GROUPS, b"")
    listed = found.get(KEY_SHARE, b"")
    shares = []
    at = 2  # both begin with the length of their list
    while at < len(listed):
        shares.append(_short(listed, at))
        at += 4 + _short(listed, at + 2)
    return tuple(_short(groups, at) for at in range(2, len(groups), 2)), tuple(shares)


def _short(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 2], "big")


def _hello(connection: TLSConnection) -> bytes:
    with suppress(SSL.WantReadError):  # the answer does not come
        connection.do_handshake()
    return connection.bio_read(1 << 16)
