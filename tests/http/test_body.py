"""
Tests for L{sniproxy.http.body}.
"""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.http.body import Body, BodyError


class Pieces:
    """
    An exchange that has these pieces of a body.
    """

    def __init__(self, *pieces: bytes | None) -> None:
        self.pieces = list(pieces)

    def read_body(self) -> Any:
        """
        The next one.
        """
        return self.pieces.pop(0)


class BodyTests(SynchronousTestCase):
    """
    The body of a request.
    """

    def test_read(self) -> None:
        """
        Pieces come as they come, and at the end nothing does, as often as it is asked.
        """
        body = Body(Pieces(b"abc", None, b"de", b""), None)
        self.assertEqual([body.read() for _ in range(6)], [b"abc", None, b"de", b"", b"", b""])
        self.assertEqual((body.received, body.done), (5, True))

    def test_none(self) -> None:
        """
        A body of no bytes is done before anybody asks.
        """
        self.assertEqual((Body(Pieces(), 0).done, Body(Pieces(), 0).read()), (True, b""))

    def test_too_large(self) -> None:
        """
        One that is larger than it may be is refused when that is seen, unless nobody wants it anyway.
        """
        body = Body(Pieces(b"abc", b"d", b"e"), None)
        body.most = 3
        body.on_data()
        self.assertEqual(body.read(), b"abc")
        error = self.assertRaises(BodyError, body.read)
        self.assertEqual(error.status, 413)
        self.assertEqual(error.reason, "client intended to send too large chunked body: 3+1 bytes")
        body.discarded = True
        self.assertEqual(body.read(), b"e")

    def test_announced(self) -> None:
        """
        It is seen already when a chunk says how large it will be.
        """
        body = Body(Pieces(b"abc", b"d"), None)
        body.most = 10
        body.announced = 7
        self.assertEqual(body.read(), b"abc")
        error = self.assertRaises(BodyError, body.read)
        self.assertEqual(error.reason, "client intended to send too large chunked body: 3+8 bytes")
