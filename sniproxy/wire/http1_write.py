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


_GOOD: Final[set[str]] = set()
"""Names that were looked at and are good: most heads have the same ones."""

REMEMBERED: Final = 1000
"""How many of them there may be."""


def _check(name: str) -> None:
    """
    @raise ValueError: this is no name of a field.
    """
    if not _TOKEN.fullmatch(name):
        raise ValueError("no name of a header field")
    if len(_GOOD) < REMEMBERED and len(name) < 64:
        _GOOD.add(name)


def _head(line: str, headers: Iterable[tuple[str, str]]) -> bytes:
    text = line
    lines = 2
    for name, value in headers:
        if name not in _GOOD:
            _check(name)
        text += f"\r\n{name}: {value}"
        lines += 1
    text += "\r\n\r\n"
    if text.count("\r") != lines or text.count("\n") != lines or "\0" in text:
        raise ValueError("a line end or NUL in a header")
    return text.encode("utf-8", "surrogateescape")


def request_head(method: str, target: str, version: tuple[int, int], headers: Iterable[tuple[str, str]]) -> bytes:
    """
    @param target: as it shall stand in the request line.
    @param headers: names and values, in order.
    @raise ValueError: a part would end, or split, the line it is in.
    """
    if not _TOKEN.fullmatch(method) or not _TARGET.fullmatch(target):
        raise ValueError("no method or target of a request")
    return _head(f"{method} {target} HTTP/{version[0]}.{version[1]}", headers)


def response_head(status: int, reason: str, headers: Iterable[tuple[str, str]]) -> bytes:
    """
    Of HTTP/1.1, as servers answer whatever version they were asked in.

    @param reason: perhaps empty.
    @param headers: names and values, in order.
    @raise ValueError: a part would end the line it is in.
    """
    return _head(f"HTTP/1.1 {status:03d} {reason}", headers)


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
