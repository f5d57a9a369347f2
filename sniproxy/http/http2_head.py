"""
What the fields of a request of HTTP/2 ask for: its pseudo fields and the others, as one head (RFC 9113, 8.2 and 8.3).

Strategy: what is found here may be passed on as HTTP/1, so that nothing may be in it which would end a line there, or
begin another message: it is refused, in nginx's words where nginx has some. A message that cannot be one is the end of
its stream; one that only lacks something is told so.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final, NamedTuple

from sniproxy.common.phases import BAD_REQUEST
from sniproxy.http.phases import HEADER_TOO_LARGE
from sniproxy.wire.http1 import Limits

URI_TOO_LARGE: Final = 414

_CONNECTION: Final = frozenset(("connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"))
"""What a message of HTTP/2 has no use for (RFC 9113, 8.2.2)."""

_PSEUDO: Final = {b":method": 0, b":scheme": 1, b":path": 2, b":authority": 3}
_TOKEN: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9a-z-]+")
_METHOD: Final = re.compile(rb"[A-Z_-]+")
_SCHEME: Final = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*")
_PATH: Final = re.compile(rb"/[^\x00-\x20\x7f]*")
_SPOILED: Final = re.compile(rb"[\0\r\n]")
_LENGTH: Final = re.compile(r"[0-9]{1,18}")


class Head(NamedTuple):
    """
    A request's.

    @ivar host: what C{:authority} or C{Host} says.
    @ivar length: of the body; None where it is not said.
    @ivar headers: names in lower case and values, in order; C{host} is among them.
    @ivar fields: the same by name, several of one name joined.
    @ivar size: bytes of all names and values.
    """

    method: str
    target: str
    headers: list[tuple[str, str]]
    fields: dict[str, str]
    length: int | None
    size: int


class BadHead(Exception):
    """
    There is no request in it.

    @ivar status: what the client is told; 0 where its stream ends without an answer.
    @ivar line: as much as there is of the request line.
    """

    def __init__(self, reason: str, status: int = 0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status
        self.line = ""


def text(data: bytes) -> str:
    """
    Bytes as text, from which they can be had again.
    """
    return data.decode("utf-8", "surrogateescape")


@lru_cache(1024)
def _name(name: bytes) -> str:
    """
    @return: the name, or nothing where it is none.
    """
    return name.decode("ascii") if _TOKEN.fullmatch(name) else ""


def _pseudo(pairs: list[tuple[bytes, bytes]]) -> tuple[list[bytes | None], int]:
    """
    @return: method, scheme, path and authority; and where the other fields begin.
    """
    found: list[bytes | None] = [None, None, None, None]
    for count, (name, value) in enumerate(pairs):
        if name[:1] != b":":
            return found, count
        place = _PSEUDO.get(name)
        if place is None:
            raise BadHead(f'client sent unknown pseudo-header "{text(name)}"', BAD_REQUEST)
        if found[place] is not None:
            raise BadHead(f"client sent duplicate {text(name)} header", BAD_REQUEST)
        if not value:
            raise BadHead(f"client sent empty {text(name)} header", BAD_REQUEST)
        found[place] = value
    return found, len(pairs)


def _line(found: list[bytes | None], limits: Limits) -> tuple[str, str]:
    """
    @return: method and target.
    """
    method, scheme, path, authority = found
    if method is None:
        raise BadHead("client sent no :method header", BAD_REQUEST)
    if not _METHOD.fullmatch(method):
        raise BadHead(f'client sent invalid method: "{text(method)}"', BAD_REQUEST)
    if scheme is None:
        raise BadHead("client sent no :scheme header", BAD_REQUEST)
    if not _SCHEME.fullmatch(scheme):
        raise BadHead(f'client sent invalid :scheme header: "{text(scheme)}"', BAD_REQUEST)
    if path is None:
        raise BadHead("client sent no :path header", BAD_REQUEST)
    if not _PATH.fullmatch(path):
        raise BadHead(f'client sent invalid :path header: "{text(path)}"', BAD_REQUEST)
    if len(path) > limits.line:
        raise BadHead("client sent too long URI", URI_TOO_LARGE)
    if authority is not None and _SPOILED.search(authority):
        raise BadHead(f'client sent header ":authority" with invalid value: "{text(authority)}"')
    return text(method), text(path)


def _add(fields: dict[str, str], name: str, value: str) -> None:
    """
    One more of a name that is there already.
    """
    if name in ("host", "content-length"):
        raise BadHead(f'client sent duplicate header line: "{name}: {value}"', BAD_REQUEST)
    fields[name] += ("; " if name == "cookie" else ", ") + value


def _fields(pairs: Iterable[tuple[bytes, bytes]]) -> tuple[list[tuple[str, str]], dict[str, str]]:
    headers: list[tuple[str, str]] = []
    fields: dict[str, str] = {}
    for raw, sent in pairs:
        name = _name(raw)
        if not name:
            if raw[:1] == b":":
                raise BadHead("client sent out of order pseudo-headers", BAD_REQUEST)
            raise BadHead(f'client sent invalid header name: "{text(raw)}"')
        if _SPOILED.search(sent):
            raise BadHead(f'client sent header "{name}" with invalid value: "{text(sent)}"')
        if name in _CONNECTION:
            raise BadHead(f'client sent "{name}" header')
        value = text(sent).strip(" \t")
        if name == "te" and value.lower() != "trailers":
            raise BadHead(f'client sent invalid "TE" header: "{value}"')
        if name not in fields:
            fields[name] = value
            headers.append((name, value))
        else:
            _add(fields, name, value)
            if name != "cookie":
                headers.append((name, value))
    return headers, fields


def head_of(pairs: list[tuple[bytes, bytes]], limits: Limits) -> Head:
    """
    @param pairs: of the request's first block of fields.
    @param limits: C{large_client_header_buffers}: a path, a field, and all together.
    @raise BadHead: there is no request in them.
    """
    found: list[bytes | None] = []
    try:
        found, begin = _pseudo(pairs)
        method, target = _line(found, limits)
        size = 0
        for name, value in pairs:
            length = len(name) + len(value)
            if length > limits.header:
                raise BadHead("client sent too long header line", HEADER_TOO_LARGE)
            size += length
        if size > limits.header * limits.count:
            raise BadHead("client sent too large request", HEADER_TOO_LARGE)
        if len(pairs) - begin > limits.headers:
            raise BadHead("client sent too many header lines", HEADER_TOO_LARGE)
        headers, fields = _fields(pairs[begin:])
        authority = found[3]
        if authority is not None:
            host = text(authority)
            if fields.setdefault("host", host) != host:
                raise BadHead('client sent ":authority" and "Host" headers with different values', BAD_REQUEST)
            if not headers or headers[0][0] != "host":
                headers = [("host", host), *(pair for pair in headers if pair[0] != "host")]
        elif "host" not in fields:
            raise BadHead('client sent HTTP/2 request without ":authority" or "Host" header', BAD_REQUEST)
        if "cookie" in fields:
            headers = [(name, fields[name] if name == "cookie" else value) for name, value in headers]
        said = fields.get("content-length")
        if said is not None and not _LENGTH.fullmatch(said):
            raise BadHead('client sent invalid "Content-Length" header', BAD_REQUEST)
    except BadHead as bad:
        if len(found) == 4 and found[0] and found[2]:
            bad.line = line_of(text(found[0]), text(found[2]))
        raise
    return Head(method, target, headers, fields, None if said is None else int(said), size)


def line_of(method: str, target: str) -> str:
    """
    The request line that the request would have in HTTP/1.
    """
    return f"{method} {target} HTTP/2.0"


def trailers_of(pairs: Iterable[tuple[bytes, bytes]]) -> tuple[tuple[str, str], ...]:
    """
    The fields behind a body.

    @raise BadHead: they are none, or may only be said before the body.
    """
    headers, fields = _fields(pairs)
    for name in ("content-length", "host"):
        if name in fields:
            raise BadHead(f'client sent "{name}" in trailers')
    return tuple(headers)
