"""
Fields of an answer as HPACK has them (RFC 7541), where nothing is remembered of one answer for the next.

Strategy: every field is a literal that no table takes, its name by the static table where it is there. So the bytes of
a field are always the same and are kept; nothing that one answer says is to be guessed from the length of another
(CRIME); and the client's table may be of any size, since we say once that ours has none. nginx does the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

NO_TABLE: Final = b"\x20"
"""The first thing in the first block of a connection: our dynamic table has no bytes (section 6.3)."""

KEPT: Final = 512
"""How many fields are kept, and how many names: those of short life push others out, and there is no more to it."""

LONG: Final = 256
"""Characters of a value from which on it is not kept."""

_STATUSES: Final = {200: 8, 204: 9, 206: 10, 304: 11, 400: 12, 404: 13, 500: 14}
_NAMES: Final = {
    "accept-ranges": 18, "age": 21, "allow": 22, "cache-control": 24, "content-disposition": 25,
    "content-encoding": 26, "content-language": 27, "content-length": 28, "content-location": 29,
    "content-range": 30, "content-type": 31, "date": 33, "etag": 34, "expires": 36, "last-modified": 44, "link": 45,
    "location": 46, "proxy-authenticate": 48, "refresh": 52, "retry-after": 53, "server": 54, "set-cookie": 55,
    "strict-transport-security": 56, "transfer-encoding": 57, "vary": 59, "via": 60, "www-authenticate": 61,
}  # fmt: skip
"""Of the static table, what answers have (appendix A)."""

_STATUS: Final = 8
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+")
_SPOILED: Final = re.compile(r"[\0\r\n]")


def number(value: int, bits: int, first: int = 0) -> bytes:
    """
    An integer (section 5.1).

    @param bits: of the first byte that it has.
    @param first: the other bits of that byte.
    """
    most = (1 << bits) - 1
    if value < most:
        return bytes((first | value,))
    found = [first | most]
    value -= most
    while value >= 128:
        found.append(value & 127 | 128)
        value >>= 7
    found.append(value)
    return bytes(found)


@lru_cache(KEPT)
def _name(name: str) -> bytes:
    lower = name.lower()
    place = _NAMES.get(lower)
    if place is not None:
        return number(place, 4)
    if not _TOKEN.fullmatch(lower):
        raise ValueError("no name of a header field")
    data = lower.encode("ascii")
    return b"\x00" + number(len(data), 7) + data


def _field(name: str, value: str) -> bytes:
    if _SPOILED.search(value):
        raise ValueError("a line end or NUL in a header")
    data = value.encode("utf-8", "surrogateescape")
    return _name(name) + number(len(data), 7) + data


_kept_field: Final = lru_cache(KEPT)(_field)


@lru_cache(KEPT)
def status_field(status: int) -> bytes:
    """
    The pseudo field C{:status}.
    """
    place = _STATUSES.get(status)
    if place is not None:
        return number(place, 7, 0x80)
    return number(_STATUS, 4) + b"\x03%03d" % status


def fields_block(fields: Iterable[tuple[str, str]]) -> bytes:
    """
    @param fields: names, in any case, and values, in order.
    @raise ValueError: a name that is none, or a value that HTTP/1 would take for several.
    """
    return b"".join([_kept_field(name, value) if len(value) < LONG else _field(name, value) for name, value in fields])
