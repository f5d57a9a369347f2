"""
The disk, as far as requests may see it: open, look, read a piece.

Strategy: all that is known of the operating system's files stands here, behind two small protocols, so that what
decides about paths can be tested without a disk.
"""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass
from typing import Final, Protocol

MISSING: Final = frozenset((errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG))
"""What the system says where there is no such file, as nginx sees it."""


@dataclass(frozen=True, slots=True)
class Facts:
    """
    What is known of a file.

    @ivar size: bytes.
    @ivar modified: seconds since the epoch.
    @ivar is_file: a regular one.
    @ivar is_folder: a directory.
    @ivar executable: its owner may execute it.
    """

    size: int = 0
    modified: int = 0
    is_file: bool = True
    is_folder: bool = False
    executable: bool = False


class OpenFile(Protocol):
    """
    A file that is open for reading; whoever opened it closes it.
    """

    facts: Facts

    def read(self, place: int, size: int) -> bytes:
        """
        @return: up to C{size} bytes from C{place} on; empty behind the end.
        @raise OSError: it cannot be read.
        """

    def close(self) -> None:
        """
        Give it back.
        """


class Disk(Protocol):
    """
    Where files are. Paths are text: bytes that are no UTF-8 are surrogates in it.
    """

    def open(self, path: str) -> OpenFile:
        """
        Open for reading, whatever it is; nothing is waited for.

        @raise OSError: it is not there, or not for us.
        """

    def facts(self, path: str) -> Facts:
        """
        @raise OSError: it is not there, or we may not know.
        """

    def real(self, path: str) -> str:
        """
        @return: the absolute path without symbolic links.
        @raise OSError: it is not there.
        """


def encoded(path: str) -> bytes:
    """
    The bytes that a path stands for.
    """
    return path.encode("utf-8", "surrogateescape")


def trouble(error: OSError) -> str:
    """
    What the error log says of it: C{(2: No such file or directory)}.
    """
    return f"({error.errno}: {error.strerror})"


class SystemFile:
    """
    One file of the operating system. Owns a descriptor until C{close}.
    """

    __slots__ = ("_descriptor", "facts")

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.facts = _facts(os.fstat(descriptor))

    def read(self, place: int, size: int) -> bytes:
        """
        @see: L{OpenFile.read}
        """
        return os.pread(self._descriptor, size, place)

    def close(self) -> None:
        """
        @see: L{OpenFile.close}
        """
        number, self._descriptor = self._descriptor, -1
        if number >= 0:  # the second time, the number may be somebody else's
            os.close(number)


class SystemDisk:
    """
    The operating system's files. Symbolic links are followed, as nginx follows them.
    """

    def open(self, path: str) -> OpenFile:
        """
        @see: L{Disk.open}
        """
        # nobody waits for the other end of a pipe that lies among the files
        return SystemFile(os.open(encoded(path), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY))

    def facts(self, path: str) -> Facts:
        """
        @see: L{Disk.facts}
        """
        return _facts(os.stat(encoded(path)))

    def real(self, path: str) -> str:
        """
        @see: L{Disk.real}
        """
        return os.path.realpath(encoded(path), strict=True).decode("utf-8", "surrogateescape")


def _facts(found: os.stat_result) -> Facts:
    return Facts(
        found.st_size,
        int(found.st_mtime_ns // 1_000_000_000),
        stat.S_ISREG(found.st_mode),
        stat.S_ISDIR(found.st_mode),
        bool(found.st_mode & stat.S_IXUSR),
    )


SYSTEM: Final = SystemDisk()
