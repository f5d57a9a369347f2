"""
The body of a request, kept: in memory, or where that is too much in a file that has no name; and how it gets there.

Strategy: what is kept can be read from any place and more than once, because a request that failed with one upstream
goes to the next. The kernel gives the file's room back when it is closed, whatever becomes of this process.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from sniproxy.common.phases import INTERNAL_SERVER_ERROR
from sniproxy.http.body import BodyError
from sniproxy.levels import CRIT, WARN

if TYPE_CHECKING:
    from sniproxy.http.request import Request

PIECE: Final = 65536
"""Bytes that are read from a file at a time."""

TURN: Final = 64
"""Pieces that are taken from one client before others have their turn."""


class Spool:
    """
    Bytes that were kept. Holds C{limit} bytes in memory and one piece more, all others in a file, which it owns.

    @ivar length: bytes that there are.
    @ivar path: what the file was called while it had a name; empty where there is none.
    """

    __slots__ = ("_file", "_folder", "_limit", "_pieces", "length", "path")

    def __init__(self, limit: int, folder: str = "") -> None:
        """
        @param limit: bytes in memory.
        @param folder: of the file, made when it is needed; the system's for such files where empty.
        """
        self.length = 0
        self.path = ""
        self._limit = limit
        self._folder = folder
        self._pieces: list[bytes] = []
        self._file = -1

    @property
    def filed(self) -> bool:
        """
        Whether the bytes are in a file.
        """
        return self._file >= 0

    def add(self, data: bytes) -> None:
        """
        Keep a piece, behind the others.

        @raise OSError: the file could not be made, or written.
        """
        self.length += len(data)
        if self._file < 0 and self.length <= self._limit:
            self._pieces.append(data)
            return
        if self._file < 0:
            self._file, self.path = _nameless(self._folder)
            pieces, self._pieces = self._pieces, []
            for piece in pieces:
                self._write(piece)
        self._write(data)

    def _write(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            left = left[os.write(self._file, left) :]

    def read(self, at: int) -> bytes:
        """
        @param at: where to begin.
        @return: as much as there is from there on, of a file L{PIECE} bytes at most; empty at the end.
        @raise OSError: the file cannot be read.
        """
        if self._file >= 0:
            return os.pread(self._file, PIECE, at)
        if len(self._pieces) > 1:
            self._pieces = [b"".join(self._pieces)]
        return self._pieces[0][at:] if self._pieces else b""

    def close(self) -> None:
        """
        Let go of the file; what is in memory can still be read, by the log.
        """
        number, self._file = self._file, -1
        if number >= 0:
            os.close(number)


def _nameless(folder: str) -> tuple[int, str]:
    """
    @return: the descriptor of a new file that nobody else can find, and where it was for a moment.
    @raise OSError: there is no room, or the folder is not ours.
    """
    if folder:
        os.makedirs(folder, 0o700, exist_ok=True)
    number, path = tempfile.mkstemp(dir=folder or None)
    os.unlink(path)
    return number, path


class Gathering:
    """
    Takes a whole body from the client, as fast as it comes, and tells C{done}. What is wrong with it is what the
    request is answered.
    """

    __slots__ = ("_done", "_request", "_spool")

    def __init__(self, request: Request, done: Callable[[Spool], None]) -> None:
        """
        @param done: called with what was kept; it is the request's, which closes it when it is over.
        """
        limits = request.place.limits
        self._request = request
        self._done = done
        self._spool = Spool(limits.body_buffer, limits.body_folder)
        request.cleanup.append(self._spool.close)

    def begin(self) -> None:
        """
        Take what is there already.
        """
        self._request.action = "reading client request body"
        self._request.body.on_data = self._more
        self._more()

    def _more(self) -> None:
        request = self._request
        if request.over:
            return
        body = request.body
        for _ in range(TURN):
            try:
                data = body.read()
                if data is None:
                    return
                if not data:
                    self._finished()
                    return
                self._keep(data)
            except BodyError as error:
                if error.reason:
                    request.error(error.reason)
                request.finalize(error.status)
                return
            except OSError as error:
                request.log(CRIT, f"a temporary file failed ({error.errno}: {error.strerror})")
                request.finalize(INTERNAL_SERVER_ERROR)
                return
        request.runtime.network.clock.callLater(0, request.run, self._more)

    def _keep(self, data: bytes) -> None:
        spool = self._spool
        filed = spool.filed
        spool.add(data)
        if spool.filed and not filed:
            self._request.log(WARN, f"a client request body is buffered to a temporary file {spool.path}")

    def _finished(self) -> None:
        done = self._done
        self._request.action = ""
        done(self._spool)
