"""
The target of a request: which path it means, and what is left over as arguments.

Strategy: as ngx_http_parse_complex_uri, but in whole steps: cut off arguments and fragment, decode, then walk the
segments once. What cannot be a path (an escape that is none, a NUL, a way out of the root) is refused, and never
approximated: two readers of one path are what traversals live on.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

_ESCAPE: Final = re.compile(rb"%(.{0,2})", re.DOTALL)
_PLAIN: Final = re.compile(r"(?:/[A-Za-z0-9_~!$&'()*,;=:@-][A-Za-z0-9_~!$&'()*,;=:@.-]*)*/?\Z")
"""Paths that mean what they say: no escapes, no empty segments, none that begins with a dot."""

_ABSOLUTE: Final = re.compile(r"(?i:https?)://([^/?#]*)(.*)\Z", re.DOTALL)


class BadTarget(ValueError):
    """
    No path is meant by this.
    """


@dataclass(init=False, slots=True)
class Target:
    """
    What a target says.

    @ivar path: decoded, without C{.}, C{..} and empty segments; begins with a slash.
    @ivar args: what follows the question mark, as it was sent; None where there is no question mark.
    @ivar raw: path, arguments and fragment as they were sent, without the scheme and authority of an absolute target.
    @ivar host: the authority of an absolute target; None where it is none.
    """

    path: Final[str]
    args: Final[str | None]
    raw: Final[str]
    host: Final[str | None]

    def __init__(self, path: str, args: str | None, raw: str, host: str | None = None) -> None:
        self.path = path
        self.args = args
        self.raw = raw
        self.host = host


def _decode(found: re.Match[bytes]) -> bytes:
    try:
        byte = int(found[1], 16) if len(found[1]) == 2 and found[1].isalnum() else 0
    except ValueError:
        byte = 0
    if not byte:
        raise BadTarget("invalid escape")
    return bytes((byte,))


def unescape(text: str) -> str:
    """
    Percent-encoding undone (RFC 3986 section 2.1).

    @raise BadTarget: an escape that is none, or that of NUL.
    """
    if "%" not in text:
        return text
    return _ESCAPE.sub(_decode, text.encode("utf-8", "surrogateescape")).decode("utf-8", "surrogateescape")


def clean(path: str, merge_slashes: bool = True) -> str:
    """
    @param path: decoded, begins with a slash.
    @return: without C{.} and C{..}, and without empty segments where these are merged.
    @raise BadTarget: it leads out of the root.
    """
    segments: list[str] = []
    parts = path.split("/")[1:]
    last = len(parts) - 1
    for place, part in enumerate(parts):
        if part == "..":
            if not segments:
                raise BadTarget("leads out of the root")
            segments.pop()
        elif part != "." and (part or not merge_slashes or place == last):
            segments.append(part)
            continue
        if place == last and part in (".", ".."):
            segments.append("")
    return "/" + "/".join(segments)


def target_of(text: str, merge_slashes: bool = True) -> Target:
    """
    Read a target of a request: a path, or an absolute one with scheme and host (RFC 9112 section 3.2).

    @raise BadTarget: it is neither, or no path.
    """
    host = None
    if not text.startswith("/"):
        absolute = _ABSOLUTE.match(text)
        if absolute is None or not absolute[1]:
            raise BadTarget("not a path")
        host, text = absolute[1], absolute[2]
        if not text.startswith("/"):
            text = "/" + text
    path, question, args = (text.partition("#")[0] if "#" in text else text).partition("?")
    if not _PLAIN.match(path):
        path = clean(unescape(path), merge_slashes)
    return Target(path, args if question else None, text, host)


_UNSAFE: Final = re.compile(rb'[\x00-\x20"#%<>?\\^`{|}\x7f-\xff]')


def escape(path: str) -> str:
    """
    A path as it may stand in a target, as nginx's NGX_ESCAPE_URI has it.
    """
    data = path.encode("utf-8", "surrogateescape")
    return _UNSAFE.sub(lambda found: b"%%%02X" % found[0][0], data).decode("ascii")


_HOST: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+,;=%-]+?)\.?(?::([0-9]*))?\Z")
"""RFC 3986, section 3.2.2."""


LONGEST_USUAL: Final = 255
"""Characters of a name that is worth being remembered."""


def host_of(text: str) -> str | None:
    """
    The host that a Host field names, in lower case, without port and final dot.

    @return: None where it is none, as ngx_http_validate_host finds.
    """
    return _usual(text) if len(text) <= LONGEST_USUAL else _host_of(text)


@lru_cache(maxsize=512)
def _usual(text: str) -> str | None:
    """
    Most clients of a server name the same few hosts.
    """
    return _host_of(text)


def _host_of(text: str) -> str | None:
    found = _HOST.match(text)
    if found is None or ".." in found[1] or found[1] == ".":
        return None
    return found[1].lower()
