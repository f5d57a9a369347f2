"""
The body of an HTTP/1 message: what a reader says of it, and how chunks are taken apart (RFC 9112, 7.1).

Strategy: bytes are handed through in the slices they came in; of chunks, all that one piece holds become one slice. A
chunk's line is read by one expression, and refused as soon as no line could begin so.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from sniproxy.wire.http1_fields import Headers
from sniproxy.wire.http1_head import Fault

LINE_LIMIT: Final = 1024
"""Bytes of a chunk's line, with its extensions and its end."""

_LINE: Final = re.compile(rb"([0-9A-Fa-f]{1,16})(?:;[\t\x20-\x7e\x80-\xff]*)?\r\n")
_BEGUN: Final = re.compile(rb"(?:[0-9A-Fa-f]{1,16}(?:;[\t\x20-\x7e\x80-\xff]*)?\r?)?")
_MOST: Final = 2**63 - 1

_SIZE: Final = 0
_DATA: Final = 1
_AFTER: Final = 2


@dataclass(init=False, slots=True)
class Data:
    """
    A piece of a body, as long as it came.
    """

    data: Final[bytes]

    def __init__(self, data: bytes) -> None:
        self.data = data


@dataclass(init=False, slots=True)
class End:
    """
    A message is whole.

    @ivar trailers: the fields behind the last chunk.
    """

    trailers: Final[Headers]

    def __init__(self, trailers: Headers) -> None:
        self.trailers = trailers


END: Final = End(())


class Chunks:
    """
    The chunks of one body, up to the line of the last one.

    @ivar left: bytes that are still to come of the chunk that is being read.
    @ivar whole: whether the last one was read.
    """

    __slots__ = ("_action", "_state", "_status", "_words", "left", "whole")

    def __init__(self, status: int, words: str, action: str) -> None:
        """
        @param status: of a refusal; C{words} and C{action} likewise.
        """
        self._status = status
        self._words = words
        self._action = action
        self._state = _SIZE
        self.left = 0
        self.whole = False

    def read(self, buffer: bytes, at: int) -> tuple[bytes, int]:
        """
        @param buffer: what has come.
        @param at: where in it what was not read begins.
        @return: the data in it, and how far it was read. Where data precedes what is wrong, the data: the fault is
            found when this is called again.
        @raise Fault: no chunk is like this.
        """
        parts: list[bytes] = []
        end = len(buffer)
        while at < end:
            if self._state == _DATA:
                stop = min(at + self.left, end)
                parts.append(buffer[at:stop] if stop - at < end else buffer)
                self.left -= stop - at
                at = stop
                if not self.left:
                    self._state = _AFTER
            elif self._state == _AFTER:
                after = buffer[at : at + 2]
                if after != b"\r\n":
                    if after != b"\r" and not parts:
                        raise self._fault()
                    break
                at += 2
                self._state = _SIZE
            else:
                line = _LINE.match(buffer, at, at + LINE_LIMIT)
                size = int(line[1], 16) if line else 0
                if line is None or size > _MOST:
                    if not parts and (line or not _BEGUN.fullmatch(buffer, at) or end - at >= LINE_LIMIT):
                        raise self._fault()
                    break
                at = line.end()
                if not size:
                    self.whole = True
                    break
                self.left = size
                self._state = _DATA
        return parts[0] if len(parts) == 1 else b"".join(parts), at

    def _fault(self) -> Fault:
        return Fault(self._status, self._words, self._action)
