"""
The fields of an HTTP/1 message: the lines behind its first one, and those behind its last chunk (RFC 9112, 5).

Strategy: llhttp, by httptools, reads them in its strict manner, and what it refuses is refused: folded lines, blanks
before the colon, ends of line that are not CR LF, control bytes. It gets them behind a request line that is always the
same, and each section has a parser of its own: it never sees a body, nor two messages.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

Headers = tuple[tuple[str, str], ...]

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
    @ivar wrong: None, or what llhttp refuses; then the rest is what came before that.
    """

    headers: Headers
    fields: dict[str, str]
    repeated: tuple[str, ...]
    wrong: str | None


def read_section(block: bytes) -> Section:
    """
    @param block: lines of fields and the empty line at their end, at which it ends.
    """
    got = _Fields()
    wrong = None
    try:
        HttpRequestParser(got).feed_data(_LINE + block)
    except HttpParserUpgrade:
        # Said of a whole head that asks for another protocol.
        pass
    except HttpParserError as error:
        wrong = str(error)
    if wrong is None and not got.whole:
        raise AssertionError(f"llhttp sees another end: {block!r}")
    if not got.names:
        return Section((), {}, (), wrong)
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
        return Section(headers, fields, (), wrong)
    return Section(headers, _joined(names, values), tuple(name for name in fields if names.count(name) > 1), wrong)


def _joined(names: list[str], values: list[str]) -> dict[str, str]:
    fields: dict[str, str] = {}
    for name, value in zip(names, values, strict=True):
        if name in fields:
            value = f"{fields[name]}{'; ' if name == 'cookie' else ', '}{value}"
        fields[name] = value
    return fields
