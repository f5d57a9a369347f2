"""
How to read a vector without ever seeing past its end.

Strategy: a L{Cursor} is a window on bytes that others own; nothing is copied until C{take}. What a length opens is a
cursor of its own, whose end is the vector's end, so that a wrong length inside can only be noticed and never believed.
"""

from __future__ import annotations

from sniproxy.errors import PeerError


class WireError(PeerError):
    """
    Bytes from the wire that do not mean anything.

    @ivar field: the protocol's name of the part that is wrong.
    @ivar reason: what is wrong with it.
    """

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(field, reason)
        self.field = field
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.field}: {self.reason}"


class Cursor:
    """
    A place in a window on bytes. It moves forward only, and is false at the end of its window.
    """

    __slots__ = ("_at", "_data", "_stop")

    def __init__(self, data: bytes, start: int = 0, stop: int | None = None) -> None:
        """
        @param data: what the window is on; kept, not copied.
        @param start: the first byte of the window.
        @param stop: the byte behind the window, not more than C{len(data)}; None for the end of C{data}.
        """
        self._data = data
        self._at = start
        self._stop = len(data) if stop is None else stop

    def __len__(self) -> int:
        """
        How many bytes are left.
        """
        return self._stop - self._at

    def _advance(self, size: int, field: str) -> int:
        """
        Step over C{size} bytes.

        @return: where they began.
        @raise WireError: there are fewer.
        """
        start = self._at
        if size > self._stop - start:
            raise WireError(field, f"needs {size} bytes where {self._stop - start} are left")
        self._at = start + size
        return start

    def take(self, size: int, field: str) -> bytes:
        """
        The next C{size} bytes.

        @raise WireError: there are fewer.
        """
        start = self._advance(size, field)
        return self._data[start : self._at]

    def number(self, width: int, field: str) -> int:
        """
        The next C{width} bytes as a number, most significant byte first.

        @raise WireError: there are fewer.
        """
        return int.from_bytes(self.take(width, field), "big")

    def vector(self, width: int, field: str) -> Cursor:
        """
        What follows a length of C{width} bytes: a window of its own (RFC 8446, section 3.4).

        @raise WireError: the length, or what it promises, is not all here.
        """
        start = self._advance(self.number(width, field), field)
        return Cursor(self._data, start, self._at)

    def rest(self) -> bytes:
        """
        Everything that is left.
        """
        return self.take(len(self), "")

    def end(self, field: str) -> None:
        """
        Insist that nothing is left.

        @raise WireError: there is.
        """
        if self._at < self._stop:
            raise WireError(field, f"{self._stop - self._at} bytes left over")
