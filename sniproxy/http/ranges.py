"""
Which part of what is there does a client want, if any? Ranges as ngx_http_range_filter_module reads them, and
conditions as ngx_http_not_modified_filter_module does (RFC 9110 sections 13 and 14).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final, Protocol

from sniproxy.http.dates import parse_date

_MOST: Final = (1 << 63) - 1
"""The greatest offset that nginx counts with."""

_RANGE: Final = re.compile(r" *(?:(?P<first>[0-9]+) *- *(?P<last>[0-9]*)|-(?P<suffix>[0-9]+)) *\Z")
_TAG_END: Final = re.compile(r"[ \t]*(?:,|\Z)")
_TAG_SKIP: Final = re.compile(r"[^,]*[ \t,]*")

PRECONDITION_FAILED: Final = 412
NOT_MODIFIED: Final = 304


class Fields(Protocol):
    """
    What is asked of a request's head.
    """

    def get(self, name: str) -> str | None:
        """
        The first value of a name in lower case.
        """


class Since(Enum):
    """
    C{if_modified_since}: when a date of the client's means that it has what there is.
    """

    OFF = "never"
    EXACT = "when it is that of the file"
    BEFORE = "when the file is not younger"


@dataclass(frozen=True, slots=True)
class Span:
    """
    A part of a body.

    @ivar start: of its first byte.
    @ivar end: behind its last byte; greater.
    """

    start: int
    end: int

    def __len__(self) -> int:
        return self.end - self.start

    def of(self, length: int) -> str:
        """
        The value of C{Content-Range}.
        """
        return f"bytes {self.start}-{self.end - 1}/{length}"


def spans_of(value: str, length: int, most: int) -> tuple[Span, ...] | None:
    """
    @param value: of C{Range}.
    @param length: of the whole, in bytes.
    @param most: C{max_ranges}.
    @return: the parts that are wanted, in order; empty where none of them is there (416); None where the whole is sent
        instead: other units, more ranges than allowed, or more bytes than there are.
    """
    if most == 0 or len(value) < 7 or value[:6].lower() != "bytes=":
        return None
    found: list[Span] = []
    size = 0
    for part in value[6:].split(","):
        span = _span(part, length)
        if span is None:
            return ()
        if span[0] < span[1]:
            found.append(Span(*span))
            size += span[1] - span[0]
            if len(found) > most:
                return None
        elif span[0] == 0:
            return None
    if not found:
        return ()
    return tuple(found) if size <= length else None


def _span(text: str, length: int) -> tuple[int, int] | None:
    """
    @return: from where to where; nothing where the first is not less than the second; None where it is no range.
    """
    match = _RANGE.match(text)
    if match is None:
        return None
    numbers = [int(group) if len(group) < 20 else _MOST + 1 for group in match.groups() if group]
    if max(numbers) > _MOST:
        return None
    if match["suffix"] is not None:
        return max(length - numbers[0], 0), length
    return numbers[0], min(numbers[1] + 1, length) if match["last"] else length


def may_be_partial(headers: Fields, etag: str | None, modified: int | None) -> bool:
    """
    Whether C{If-Range} lets ranges count: it is not there, or names just what there is.

    @param etag: of what there is.
    @param modified: when it was changed, seconds since the epoch.
    """
    wanted = headers.get("if-range")
    if wanted is None:
        return True
    if len(wanted) >= 2 and wanted.endswith('"'):
        return wanted == etag
    return modified is not None and parse_date(wanted) == modified


class Multipart:
    """
    The body C{multipart/byteranges}: several parts, each with a head of its own.

    @ivar length: of the whole body, in bytes.
    @ivar content_type: of the whole.
    @ivar heads: what comes before each of the parts.
    @ivar tail: what comes behind the last one.
    """

    __slots__ = ("content_type", "heads", "length", "tail")

    def __init__(self, boundary: str, content_type: str, spans: Sequence[Span], length: int) -> None:
        """
        @param boundary: occurs in none of the parts.
        @param content_type: of the parts; empty where they have none.
        @param length: of what they are parts of.
        """
        kind = f"Content-Type: {content_type}\r\n" if content_type else ""
        self.heads = tuple(
            f"\r\n--{boundary}\r\n{kind}Content-Range: {span.of(length)}\r\n\r\n".encode("utf-8", "surrogateescape")
            for span in spans
        )
        self.tail = f"\r\n--{boundary}--\r\n".encode("ascii")
        self.length = sum(map(len, self.heads)) + sum(map(len, spans)) + len(self.tail)
        self.content_type = f"multipart/byteranges; boundary={boundary}"


def verdict(headers: Fields, etag: str | None, modified: int | None, since: Since = Since.EXACT) -> int | None:
    """
    What the conditions of a request make of an answer that would be 200.

    @param etag: of what there is.
    @param modified: when it was changed, seconds since the epoch.
    @return: 304, 412, or None where the answer is sent as it is.
    """
    unmodified = headers.get("if-unmodified-since")
    if unmodified is not None:
        date = parse_date(unmodified)
        if date is None or modified is None or date < modified:
            return PRECONDITION_FAILED
    match = headers.get("if-match")
    if match is not None and not _lists(match, etag, weak=False):
        return PRECONDITION_FAILED
    changed = headers.get("if-modified-since")
    none = headers.get("if-none-match")
    if changed is None and none is None:
        return None
    if changed is not None and _is_newer(changed, modified, since):
        return None
    if none is not None and not _lists(none, etag, weak=True):
        return None
    return NOT_MODIFIED


def _is_newer(text: str, modified: int | None, since: Since) -> bool:
    if since is Since.OFF or modified is None:
        return True
    date = parse_date(text)
    return date != modified and (since is Since.EXACT or date is None or date < modified)


def _lists(text: str, etag: str | None, *, weak: bool) -> bool:
    """
    Whether a list of tags has one.

    @param weak: whether those that are said to be weak count too (RFC 9110 section 8.8.3.2).
    """
    if text == "*":
        return True
    if etag is None:
        return False
    if weak:
        etag = etag.removeprefix("W/")
    place = 0
    while place < len(text):
        if weak and text.startswith("W/", place):
            place += 2
        if text.startswith(etag, place) and _TAG_END.match(text, place + len(etag)):
            return True
        skip = _TAG_SKIP.match(text, place)
        assert skip is not None
        place = skip.end()
    return False
