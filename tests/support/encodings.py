"""
A way to encode bodies that anybody can read: they are kept back as long as can be, and end with a full stop.
"""

from __future__ import annotations

from typing import Any

from sniproxy.http.exchange import Reply


class Keeping:
    """
    Encodes the bodies of one place, one at a time, and is its own encoder.

    @ivar came: pieces of bodies so far.
    """

    def __init__(self) -> None:
        self.came = 0
        self._kept = b""

    def may_part(self, request: Any, reply: Reply) -> bool:
        """
        Never.
        """
        return False

    def encoder(self, request: Any, reply: Reply) -> Keeping:
        """
        For each body.
        """
        reply.length = None
        return self

    def encode(self, data: bytes) -> bytes:
        """
        Keep it.
        """
        self.came += 1
        self._kept += data
        return b""

    def flush(self) -> bytes:
        """
        What was kept.
        """
        data, self._kept = self._kept, b""
        return data

    def finish(self) -> bytes:
        """
        The same, and the end.
        """
        return self.flush() + b"."
