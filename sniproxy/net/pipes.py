"""
Pipes for splice, lent and given back.

Strategy: a pipe is borrowed only while bytes are moving, so a few serve thousands of sessions. It starts at the
kernel's 64 KiB and is grown when it runs full; a user without privileges may own only so much pipe memory, so growing
may fail and the pipe stays as it is.
"""

from __future__ import annotations

import fcntl
import os
from typing import Final

_GROW: Final = getattr(fcntl, "F_SETPIPE_SZ", 1031)

FIRST: Final = 64 * 1024
LARGE: Final = 1024 * 1024


class Pipe:
    """
    Two descriptors and how much they take.

    @ivar capacity: bytes.
    @ivar inside: bytes written and not yet read; whoever borrows the pipe keeps it true.
    """

    __slots__ = ("_large", "capacity", "inside", "read", "write")

    def __init__(self) -> None:
        self.read, self.write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self.capacity = FIRST
        self.inside = 0
        self._large = False

    def grow(self) -> None:
        """
        Take more at once from now on, if the kernel lets us; tried once.
        """
        if not self._large:
            self._large = True
            try:
                self.capacity = fcntl.fcntl(self.write, _GROW, LARGE)
            except OSError:
                pass  # EPERM: the user's share of pipe memory is used up

    def close(self) -> None:
        """
        Close both ends, and lose what is inside.
        """
        os.close(self.read)
        os.close(self.write)


class Pipes:
    """
    The pipes of a process. Owns those that are not lent; keeps at most C{spare} of them.
    """

    def __init__(self, spare: int = 64) -> None:
        self._spare = spare
        self._idle: list[Pipe] = []

    def borrow(self) -> Pipe | None:
        """
        @return: an empty pipe, or None when no descriptor is left.
        """
        if self._idle:
            return self._idle.pop()
        try:
            return Pipe()
        except OSError:
            return None

    def give_back(self, pipe: Pipe) -> None:
        """
        Take a pipe back; one with bytes inside is closed.
        """
        if pipe.inside or len(self._idle) >= self._spare:
            pipe.close()
        else:
            self._idle.append(pipe)

    def close(self) -> None:
        """
        Close the idle pipes.
        """
        for pipe in self._idle:
            pipe.close()
        self._idle.clear()
