"""
The fields of an HTTP/1 message: the lines behind its first one, and those behind its last chunk (RFC 9112, 5).

Strategy: llhttp, by httptools, reads them in its strict manner, and what it refuses is refused: folded lines, blanks
before the colon, ends of line that are not CR LF, control bytes. It gets them behind a request line that is always the
same, and each section has a parser of its own: it never sees a body, nor two messages.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Final

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

Headers = tuple[tuple[str, str], ...]

SPOILED: Final = re.compile(rb"\0|(?<!\r)\n|\r(?!\n|\Z)|\n[\t ]")
"""
Ends of line that are not CR LF, a NUL, a line that goes on in the next: what is wrong as soon as it comes, before
there is a whole section to be read.
"""

_LINE: Final = b"GET / HTTP/1.1\r\n"

_NAMES: Final[dict[bytes, tuple[str, str]]] = {}
"""Names as sent, as text and in lower case: most heads have the same ones."""

REMEMBERED: Final = 1000
"""How many of them there may be."""


def decode(data: bytes) -> str:
    """
    Bytes as text, from which they can be had again.
    """
    try:
        return data.decode("utf-8")  # mostly they are, and without a word about errors it takes a third of the time
    except UnicodeDecodeError:
        return data.decode("utf-8", "surrogateescape")


def _named(name: bytes) -> tuple[str, str]:
    """
    What L{_NAMES} says, or should say, of a name.
    """
    sent = name.decode("ascii")
    found = (sent, sent.lower())
    if len(_NAMES) < REMEMBERED and len(name) < 64:
        _NAMES[name] = found
    return found


class Section:
    """
    Fields up to an empty line.

    @ivar headers: names as sent, and values without the blanks around them, in order.
    @ivar fields: values by names in lower case, joined where a name is repeated as nginx's variables have them.
    @ivar repeated: the values of names, in lower case, that come more than once.
    @ivar wrong: None, or what llhttp refuses; then C{headers} and C{fields} may lack any of those there are.
    """

    __slots__ = ("fields", "headers", "repeated", "whole", "wrong")

    def __init__(self) -> None:
        self.headers: list[tuple[str, str]] = []
        self.fields: dict[str, str] = {}
        self.repeated: dict[str, list[str]] = {}
        self.wrong: str | None = None
        self.whole = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """
        llhttp has a field. It takes the blanks before a value away, but not those behind it.
        """
        known = _NAMES.get(name)
        sent, lower = _named(name) if known is None else known
        text = decode(value).rstrip(" \t")
        self.headers.append((sent, text))
        if lower in self.fields:
            self.repeated.setdefault(lower, [self.fields[lower]]).append(text)
        else:
            self.fields[lower] = text

    def on_headers_complete(self) -> None:
        """
        llhttp has seen the empty line.
        """
        self.whole = True


def read_section(block: bytes) -> Section:
    """
    @param block: lines of fields and the empty line at their end, at which it ends.
    """
    section = Section()
    try:
        HttpRequestParser(section).feed_data(_LINE + block)
    except HttpParserUpgrade:
        # Said of a whole head that asks for another protocol.
        pass
    except HttpParserError as error:
        return _wrong(block, section, str(error))
    if not section.whole:
        raise AssertionError(f"llhttp sees another end: {block!r}")
    for name, several in section.repeated.items():
        section.fields[name] = ("; " if name == "cookie" else ", ").join(several)
    return section


def _wrong(block: bytes, section: Section, error: str) -> Section:
    """
    What llhttp refuses, with as much as one needs to say why.
    """
    if SPOILED.search(_LINE + block):
        # Whoever had seen the bytes come one by one would have stopped there, and known nothing of the rest.
        section = Section()
        section.wrong = "spoiled line"
        return section
    section.wrong = error
    names = Counter(line.partition(b":")[0].lower() for line in block.split(b"\r\n"))
    # A name that is repeated may be what llhttp stopped at.
    section.repeated = {name.decode("utf-8", "surrogateescape"): [] for name, times in names.items() if times > 1}
    return section
