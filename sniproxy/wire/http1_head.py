"""
What the head of an HTTP/1 message says: its first line, its fields, and how its body is framed (RFC 9112).

Strategy: first lines are read here by one expression each, since methods are any for nginx, and a list for llhttp,
which reads the fields. Where the body ends is decided in one place, C{body_length}, from the very fields that the
caller is given.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from sniproxy.wire.cursor import WireError
from sniproxy.wire.http1_fields import Headers, Section, decode, read_section

BAD_REQUEST: Final = 400
URI_TOO_LARGE: Final = 414
HEADER_TOO_LARGE: Final = 494
"""nginx's own: a client is told 400, the log and C{error_page} know better."""
NOT_IMPLEMENTED: Final = 501
BAD_GATEWAY: Final = 502
VERSION_NOT_SUPPORTED: Final = 505

READING_LINE: Final = "reading client request line"
READING_HEADERS: Final = "reading client request headers"
READING_BODY: Final = "reading client request body"
READING_RESPONSE: Final = "reading response header from upstream"
READING_UPSTREAM: Final = "reading upstream"

_REQUEST_LINE: Final = re.compile(rb"[A-Z_-]+ [\x21-\x7e\x80-\xff]+ HTTP/[1-9][0-9]{0,2}\.[0-9]")
_METHOD: Final = re.compile(rb"[A-Z_-]+(?: |\Z)")
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.[0-9] [1-9][0-9]{2}(?: [\t\x20-\x7e\x80-\xff]*)?")
_LENGTH: Final = re.compile(r"[0-9]{1,19}")
_BOTH: Final = '{} sent "Content-Length" and "Transfer-Encoding" headers at the same time'
_MOST: Final = 2**63 - 1
"""The largest length there can be: nginx's off_t."""

_LONG: Final = 19
"""Digits of it; a number that has less is smaller."""

_STATUS_LINES: Final[dict[bytes, tuple[int, int, str]]] = {}
"""Status lines that were read, and what they say: most answers have one of a few."""

REMEMBERED: Final = 100
"""How many of them there may be."""

UNSAID: Final = -1
"""The length where neither Content-Length nor Transfer-Encoding is there."""


@dataclass(init=False, slots=True)
class RequestHead:
    """
    The head of a request. It is made for each request, so it is made by a method that is compiled: that of a named
    tuple, or of a dataclass, is not.

    @ivar method: as sent.
    @ivar target: as sent: C{/path?query}, C{http://host/path}, C{host:port} or C{*}; no blanks, no control bytes.
    @ivar version: 1 and the minor version.
    @ivar headers: names as sent, values without the blanks around them.
    @ivar line: the first line, without its end.
    @ivar length: what Content-Length says, 0 where there is no body, None where it comes in chunks.
    @ivar keep_alive: what version and Connection say.
    @ivar upgrade: the client asks for another protocol.
    @ivar size: bytes of the whole head.
    @ivar fields: values by names in lower case; those of repeated fields joined, as nginx's C{$http_} variables are.
    """

    method: Final[str]
    target: Final[str]
    version: Final[tuple[int, int]]
    headers: Final[Headers]
    line: Final[str]
    length: Final[int | None]
    keep_alive: Final[bool]
    upgrade: Final[bool]
    size: Final[int]
    fields: Final[dict[str, str]]

    def __init__(
        self,
        method: str,
        target: str,
        version: tuple[int, int],
        headers: Headers,
        line: str,
        length: int | None,
        keep_alive: bool,
        upgrade: bool,
        size: int,
        fields: dict[str, str],
    ) -> None:
        self.method = method
        self.target = target
        self.version = version
        self.headers = headers
        self.line = line
        self.length = length
        self.keep_alive = keep_alive
        self.upgrade = upgrade
        self.size = size
        self.fields = fields


@dataclass(init=False, slots=True)
class ResponseHead:
    """
    The head of a response.

    @ivar status: 100 to 999.
    @ivar reason: as sent, perhaps empty.
    @ivar length: how long the body is, 0 where there is none; None where its length is not known beforehand.
    @ivar chunked: the body comes in chunks.
    @ivar until_close: the body ends with the connection.
    @ivar keep_alive: whether the connection can be used again after this response.
    @ivar size: bytes of the whole head.

    Else as in L{RequestHead}.
    """

    status: Final[int]
    reason: Final[str]
    version: Final[tuple[int, int]]
    headers: Final[Headers]
    length: Final[int | None]
    chunked: Final[bool]
    until_close: Final[bool]
    keep_alive: Final[bool]
    line: Final[str]
    size: Final[int]
    fields: Final[dict[str, str]]

    def __init__(
        self,
        status: int,
        reason: str,
        version: tuple[int, int],
        headers: Headers,
        length: int | None,
        chunked: bool,
        until_close: bool,
        keep_alive: bool,
        line: str,
        size: int,
        fields: dict[str, str],
    ) -> None:
        self.status = status
        self.reason = reason
        self.version = version
        self.headers = headers
        self.length = length
        self.chunked = chunked
        self.until_close = until_close
        self.keep_alive = keep_alive
        self.line = line
        self.size = size
        self.fields = fields


class Fault(WireError):
    """
    A message that is refused.

    @ivar status: what the client is told.
    @ivar reason: nginx's words.
    @ivar action: what was being done, in nginx's words: the log has it behind "while".
    @ivar host: what a request's C{Host} says, empty for nothing; None where its fields were not read.
    """

    def __init__(self, status: int, reason: str, action: str, host: str | None = None) -> None:
        super().__init__("HTTP/1 message", reason)
        self.status = status
        self.action = action
        self.host = host


def body_length(section: Section, status: int, who: str, action: str) -> int | None:
    """
    How long the body is: the one place that decides.

    @param status: of a refusal.
    @param who: client or upstream.
    @return: bytes, None for chunks, C{UNSAID} where neither field is there.
    @raise Fault: two answers, or none that is understood.
    """
    fields = section.fields
    coding = fields.get("transfer-encoding")
    length = fields.get("content-length")
    if section.repeated:
        for name in ("Content-Length", "Transfer-Encoding"):
            if name.lower() in section.repeated:
                raise Fault(status, f'{who} sent duplicate header line: "{name}"', action)
    if coding is not None:
        if length is not None:
            raise Fault(status, _BOTH.format(who), action)
        if coding.lower() != "chunked":
            unknown = NOT_IMPLEMENTED if status == BAD_REQUEST else status
            raise Fault(unknown, f'{who} sent unknown "Transfer-Encoding": "{coding}"', action)
        return None
    if length is None:
        return UNSAID
    if len(length) < _LONG and length.isdigit() and length.isascii():
        return int(length)
    if not _LENGTH.fullmatch(length) or int(length) > _MOST:
        raise Fault(status, f'{who} sent invalid "Content-Length" header', action)
    return int(length)


def _fault(section: Section, wrong: str, status: int, who: str, action: str) -> Fault:
    """
    What llhttp refuses; where that is for the framing, with nginx's words and status for it.
    """
    guilty = [name for name in ("Content-Length", "Transfer-Encoding") if name in wrong]
    if len(guilty) == 2:
        return Fault(status, _BOTH.format(who), action)
    try:
        # What it has told may be at fault alone.
        body_length(section, status, who, action)
    except Fault as fault:
        return fault
    if "Content-Length" in guilty:
        return Fault(status, f'{who} sent invalid "Content-Length" header', action)
    if guilty:
        unknown = NOT_IMPLEMENTED if status == BAD_REQUEST else status
        return Fault(unknown, f'{who} sent unknown "Transfer-Encoding"', action)
    return Fault(status, f"{who} sent invalid header{' line' if who == 'client' else ''}", action)


def _connection(fields: dict[str, str], minor: int) -> tuple[bool, bool]:
    """
    @return: whether the connection may be kept, and whether another protocol is asked for.
    """
    said = fields.get("connection")
    if said is None:
        return minor > 0, False
    said = said.lower()
    if said == "keep-alive":
        return True, False
    options = [option.strip() for option in said.split(",")]
    if "close" in options:
        return False, False
    return minor > 0 or "keep-alive" in options, minor > 0 and "upgrade" in options and "upgrade" in fields


def check_method(start: bytes) -> None:
    """
    @param start: what there is of a request line.
    @raise Fault: no request begins so.
    """
    if not _METHOD.match(start):
        raise Fault(BAD_REQUEST, "client sent invalid method", READING_LINE)


def read_request_line(line: bytes) -> tuple[str, str, int]:
    """
    @param line: without its end.
    @return: the method, the target, the minor version.
    @raise Fault: 400, or 505 for versions from 2 on.
    """
    if not _REQUEST_LINE.fullmatch(line):
        check_method(line)
        raise Fault(BAD_REQUEST, "client sent invalid request", READING_LINE)
    method, target, protocol = decode(line).split(" ")
    if not protocol.startswith("HTTP/1."):
        raise Fault(VERSION_NOT_SUPPORTED, "client sent invalid version", READING_LINE)
    return method, target, int(protocol[7:])


def _request_length(section: Section, minor: int, most: int) -> int | None:
    """
    @return: as C{body_length}.
    @raise Fault: no request has fields like these.
    """
    if section.wrong is not None:
        raise _fault(section, section.wrong, BAD_REQUEST, "client", READING_HEADERS)
    if len(section.headers) > most:
        raise Fault(HEADER_TOO_LARGE, "client sent too many header lines", READING_HEADERS)
    length = body_length(section, BAD_REQUEST, "client", READING_HEADERS)
    if "host" in section.repeated:
        one, other, *_ = section.repeated["host"]
        words = f'client sent duplicate host header: "Host: {other}", previous value: "Host: {one}"'
        raise Fault(BAD_REQUEST, words, READING_HEADERS)
    if minor == 0:
        if length is None:
            words = 'client sent HTTP/1.0 request with "Transfer-Encoding" header'
            raise Fault(BAD_REQUEST, words, READING_HEADERS)
    elif "host" not in section.fields:
        raise Fault(BAD_REQUEST, 'client sent HTTP/1.1 request without "Host" header', READING_HEADERS)
    return length


def read_request_head(line: bytes, block: bytes, most: int) -> RequestHead:
    """
    @param line: the request line, without its end.
    @param block: the fields, with the empty line.
    @param most: how many fields are taken.
    @raise Fault: it is refused.
    """
    method, target, minor = read_request_line(line)
    section = read_section(block)
    fields = section.fields
    try:
        length = _request_length(section, minor, most)
    except Fault as fault:
        hosts = section.repeated.get("host") or [fields.get("host", "")]
        fault.host = hosts[0]
        raise
    keep_alive, upgrade = _connection(fields, minor)
    return RequestHead(
        method,
        target,
        (1, minor),
        tuple(section.headers),
        decode(line),
        0 if length == UNSAID else length,
        keep_alive,
        upgrade,
        len(line) + 2 + len(block),
        fields,
    )


def read_status_line(line: bytes) -> tuple[int, int, str]:
    """
    @param line: without its end.
    @return: the minor version, the status, the reason.
    @raise Fault: it is none.
    """
    known = _STATUS_LINES.get(line)
    if known is not None:
        return known
    if not _STATUS_LINE.fullmatch(line):
        raise Fault(BAD_GATEWAY, "upstream sent no valid HTTP/1.0 header", READING_RESPONSE)
    found = (line[7] - 48, int(line[9:12]), decode(line[13:]))
    if len(_STATUS_LINES) < REMEMBERED and len(line) < 64:
        _STATUS_LINES[line] = found
    return found


def read_response_head(line: bytes, block: bytes, method: str) -> ResponseHead:
    """
    @param line: the status line, without its end.
    @param block: the fields, with the empty line.
    @param method: of the request that this answers.
    @raise Fault: it is refused.
    """
    minor, status, reason = read_status_line(line)
    section = read_section(block)
    if section.wrong is not None:
        raise _fault(section, section.wrong, BAD_GATEWAY, "upstream", READING_RESPONSE)
    length = body_length(section, BAD_GATEWAY, "upstream", READING_RESPONSE)
    keep_alive, _ = _connection(section.fields, minor)
    chunked = until_close = False
    # RFC 9112, 6.3: these have no body, whatever their fields say.
    if status < 200 or status in (204, 304) or method == "HEAD":
        length = 0
    elif length is None:
        chunked = True
        # RFC 9112, 6.1: what speaks HTTP/1.0 may have passed on what it did not understand.
        keep_alive = keep_alive and minor > 0
    elif length == UNSAID:
        length = None
        until_close = True
        keep_alive = False
    return ResponseHead(
        status,
        reason,
        (1, minor),
        tuple(section.headers),
        length,
        chunked,
        until_close,
        keep_alive,
        decode(line),
        len(line) + 2 + len(block),
        section.fields,
    )


def read_trailers(block: bytes, status: int, who: str, action: str) -> Headers:
    """
    @param block: the fields behind the last chunk, with the empty line.
    @param status: of a refusal.
    @param who: client or upstream.
    @raise Fault: they are refused, or say what may only be said before the body.
    """
    section = read_section(block)
    if section.wrong is not None:
        raise Fault(status, f"{who} sent invalid trailer", action)
    for name in ("transfer-encoding", "content-length", "host"):
        if name in section.fields:
            raise Fault(status, f'{who} sent "{name}" in trailers', action)
    return tuple(section.headers)
