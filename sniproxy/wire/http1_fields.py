"""
The fields of an HTTP/1 message: the lines behind its first one, and those behind its last chunk (RFC 9112, 5).

Strategy: llhttp, by httptools, reads them in its strict manner, and what it refuses is refused: folded lines, blanks
before the colon, ends of line that are not CR LF, control bytes. It gets them behind a request line that is always the
same, and each section has a parser of its own: it never sees a body, nor two messages.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection
from typing import Final, NamedTuple

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

Headers = tuple[tuple[str, str], ...]

SPOILED: Final = re.compile(rb"\0|(?<!\r)\n|\r(?!\n|\Z)|\n[\t ]")
"""
Ends of line that are not CR LF, a NUL, a line that goes on in the next: what is wrong as soon as it comes, before
there is a whole section to be read.
"""

_LINE: Final = b"GET / HTTP/1.1\r\n"


class _Fields:
    """
    What llhttp calls back.
    """

    __slots__ = ("names", "values", "whole")

    def __init__(self) -> None:
        self.names: list[bytes] = []
        self.values: list[bytes] = []
        self.whole = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """
        A field.
        """
        self.names.append(name)
        self.values.append(value)

    def on_headers_complete(self) -> None:
        """
        The empty line.
        """
        self.whole = True


class Section(NamedTuple):
    """
    Fields up to an empty line.

    @ivar headers: names as sent, and values.
    @ivar fields: values by names in lower case, joined where a name is repeated.
    @ivar repeated: the names, in lower case, that come more than once.
    @ivar wrong: None, or what llhttp refuses; then C{headers} and C{fields} may lack any of those there are.
    """

    headers: Headers
    fields: dict[str, str]
    repeated: Collection[str]
    wrong: str | None


def read_section(block: bytes) -> Section:
    """
    @param block: lines of fields and the empty line at their end, at which it ends.
    """
    got = _Fields()
    try:
        HttpRequestParser(got).feed_data(_LINE + block)
    except HttpParserUpgrade:
        # Said of a whole head that asks for another protocol.
        pass
    except HttpParserError as error:
        return _wrong(block, got, str(error))
    if not got.whole:
        raise AssertionError(f"llhttp sees another end: {block!r}")
    return _told(got)


def _told(got: _Fields) -> Section:
    if not got.names:
        return Section((), {}, (), None)
    # All at once: names are ASCII, and no value holds an end of line.
    joined = b"\n".join(got.values)
    values = joined.decode("utf-8", "surrogateescape").split("\n")
    if joined.endswith((b" ", b"\t")) or b" \n" in joined or b"\t\n" in joined:
        values = [value.rstrip(" \t") for value in values]
    sent = b"\n".join(got.names).decode("ascii")
    names = sent.lower().split("\n")
    headers = tuple(zip(sent.split("\n"), values, strict=True))
    fields = dict(zip(names, values, strict=True))
    if len(fields) == len(names):
        return Section(headers, fields, (), None)
    gathered: dict[str, list[str]] = {}
    for name, value in zip(names, values, strict=True):
        gathered.setdefault(name, []).append(value)
    repeated = {name for name, several in gathered.items() if len(several) > 1}
    for name in repeated:
        fields[name] = ("; " if name == "cookie" else ", ").join(gathered[name])
    return Section(headers, fields, repeated, None)


def _wrong(block: bytes, got: _Fields, error: str) -> Section:
    """
    What llhttp refuses, with as much as one needs to say why.
    """
    if SPOILED.search(_LINE + block):
        # Whoever had seen the bytes come one by one would have stopped there, and known nothing of the rest.
        return Section((), {}, (), "spoiled line")
    told = _told(got)
    names = Counter(line.partition(b":")[0].lower() for line in block.split(b"\r\n"))
    # A name that is repeated may be what llhttp stopped at.
    repeated = {name.decode("utf-8", "surrogateescape") for name, times in names.items() if times > 1}
    return Section(told.headers, told.fields, repeated, error)
