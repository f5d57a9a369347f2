"""
HTTP/1 messages that we write: heads and chunks (RFC 9112).

Strategy: a head is made as one text, and its ends of line are counted: where there are more than it has lines, one came
with a name or a value, and would be believed by whoever reads it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_TARGET: Final = re.compile(r"[^\x00-\x20\x7f]+")


_METHODS: Final = frozenset(("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"))
"""The usual ones need not be looked at."""

_GOOD: Final[dict[str, str]] = {}
"""Names that were looked at and are good, and how their lines begin: most heads have the same ones."""

REMEMBERED: Final = 1000
"""How many of them there may be."""


def _begun(name: str) -> str:
    """
    @return: how the line of a field begins, with the end of the one before it.
    @raise ValueError: this is no name of a field.
    """
    if not _TOKEN.fullmatch(name):
        raise ValueError("no name of a header field")
    begun = f"\r\n{name}: "
    if len(_GOOD) < REMEMBERED and len(name) < 64:
        _GOOD[name] = begun
    return begun


def _head(line: str, headers: Iterable[tuple[str, str]]) -> bytes:
    parts = [line]
    lines = 2
    for name, value in headers:
        parts.append(_GOOD.get(name) or _begun(name))
        parts.append(value)
        lines += 1
    parts.append("\r\n\r\n")
    text = "".join(parts)
    if text.count("\r") != lines or text.count("\n") != lines or "\0" in text:
        raise ValueError("a line end or NUL in a header")
    return text.encode("utf-8", "surrogateescape")


def request_head(method: str, target: str, version: tuple[int, int], headers: Iterable[tuple[str, str]]) -> bytes:
    """
    @param target: as it shall stand in the request line.
    @param headers: names and values, in order.
    @raise ValueError: a part would end, or split, the line it is in.
    """
    if method not in _METHODS and not _TOKEN.fullmatch(method):
        raise ValueError("no method of a request")
    # what is printable has no control characters, nor blanks but the usual one
    if not target or ((" " in target or not target.isprintable()) and not _TARGET.fullmatch(target)):
        raise ValueError("no target of a request")
    major, minor = version
    protocol = "HTTP/1.1" if major == 1 and minor == 1 else f"HTTP/{major}.{minor}"
    return _head(f"{method} {target} {protocol}", headers)


def response_head(status: int, reason: str, headers: Iterable[tuple[str, str]]) -> bytes:
    """
    Of HTTP/1.1, as servers answer whatever version they were asked in.

    @param reason: perhaps empty.
    @param headers: names and values, in order.
    @raise ValueError: a part would end the line it is in.
    """
    shown = str(status) if status > 99 else f"{status:03d}"
    return _head(f"HTTP/1.1 {shown} {reason}", headers)


def chunk(data: bytes) -> bytes:
    """
    @param data: a piece of a body; of an empty one nothing is made, since an empty chunk is the last one.
    """
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""


def last_chunk(trailers: Iterable[tuple[str, str]] = ()) -> bytes:
    """
    The end of a body in chunks.

    @param trailers: names and values, in order.
    @raise ValueError: a part would end the line it is in.
    """
    return _head("0", trailers)
