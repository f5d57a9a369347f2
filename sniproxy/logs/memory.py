"""
C{error_log memory:SIZE}: the newest lines and no others, in memory; for levels that a disk would be too slow for.

Strategy: nginx's buffer, of the same shape (ngx_log_memory_writer), is for those who look into the process with a
debugger. Ours is a file that is nowhere but in memory, and mapped: a line is a copy to where the one before ended, and
C{/proc/PID/fd} shows the file, by the name C{memfd:error_log}, to whoever may look into the process.
"""

from __future__ import annotations

import mmap
import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from zope.interface import classImplements

from sniproxy.config.values import size_of
from sniproxy.errors import ConfigError
from sniproxy.interfaces import ISessionLog

if TYPE_CHECKING:
    from sniproxy.config.grammar import Node

PREFIX: Final = "memory:"

NAME: Final = "error_log"
"""What the file is called where descriptors are listed."""

_ROOM: Final = 2048 + 20 + 20 + len("MEMLOG  :\n") + 1
"""Bytes that nginx wants there to be, beside the name of the file: a line and the longest header."""


@dataclass(frozen=True, slots=True)
class Memory:
    """
    One C{memory:SIZE}, as it is written.

    @ivar size: in bytes.
    @ivar place: file and line of the directive, which tell one from another.
    """

    size: int
    place: str


def parse(text: str, node: Node) -> Memory:
    """
    @param text: with L{PREFIX}.
    @raise ConfigError: in nginx's words.
    """
    word = text[len(PREFIX) :]
    size = size_of(word)
    if size is None or size < _ROOM + len(os.fsencode(node.file)):
        raise ConfigError(f'invalid buffer size "{word}"')
    return Memory(size, f"{node.file}:{node.line}")


class MemoryLog:
    """
    The buffer: a line that says what it is, then lines in a circle. Owns its memory from the first line to C{close}.
    """

    __slots__ = ("_at", "_begin", "_map", "_memory", "_open")

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._map: mmap.mmap | None = None
        self._begin = self._at = 0
        self._open = True

    def write(self, line: bytes) -> None:
        """
        Over the oldest lines. Never raises: where there is no memory lines are lost.
        """
        if self._map is None and self._open:
            self._map = self._make()
        if self._map is None:
            return
        size = self._memory.size
        rest = size - self._at
        if len(line) < rest:
            self._map[self._at : self._at + len(line)] = line
            self._at += len(line)
        else:
            self._map[self._at : size] = line[:rest]
            self._at = self._begin + len(line) - rest
            self._map[self._begin : self._at] = line[rest:]

    def _make(self) -> mmap.mmap | None:
        size = self._memory.size
        try:
            made = self._mapped(size)
        except (OSError, OverflowError, ValueError):
            self._open = False
            return None
        header = f"MEMLOG {size} {self._memory.place}\n".encode("utf-8", "surrogateescape")
        made[: len(header)] = header
        self._begin = self._at = len(header)
        return made

    def _mapped(self, size: int) -> mmap.mmap:
        if sys.platform != "linux":
            return mmap.mmap(-1, size)
        descriptor = os.memfd_create(NAME)
        try:
            os.ftruncate(descriptor, size)
            return mmap.mmap(descriptor, size)  # which has its own of it
        finally:
            os.close(descriptor)

    def reopen(self) -> None:
        """
        It has no name that could have changed.
        """

    def close(self) -> None:
        """
        Give the memory back; later lines are lost. May be called twice.
        """
        self._open = False
        if self._map is not None:
            self._map.close()
            self._map = None


classImplements(MemoryLog, ISessionLog)
