"""
Tests for L{sniproxy.wire.cursor}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.errors import PeerError
from sniproxy.wire.cursor import Cursor, WireError


class CursorTests(SynchronousTestCase):
    """
    L{Cursor} reads forward within its window.
    """

    def test_reads_in_order(self) -> None:
        """
        Numbers, bytes and the rest follow each other, and the length tells what is left.
        """
        cursor = Cursor(b"\x01\x02\x03abcde")
        self.assertEqual(cursor.number(1, "x"), 1)
        self.assertEqual(cursor.number(2, "x"), 0x0203)
        self.assertEqual(cursor.take(3, "x"), b"abc")
        self.assertEqual(len(cursor), 2)
        self.assertEqual(cursor.rest(), b"de")
        self.assertFalse(cursor)

    def test_window_on_part(self) -> None:
        """
        A window on the middle of some bytes sees neither what is before nor what is behind.
        """
        cursor = Cursor(b"abcdef", 2, 4)
        self.assertEqual(cursor.rest(), b"cd")
        self.assertRaises(WireError, cursor.take, 1, "x")

    def test_vector_is_a_window(self) -> None:
        """
        A vector's cursor ends where the vector ends, and the outer one goes on behind it.
        """
        outer = Cursor(b"\x00\x02abcd")
        inner = outer.vector(2, "names")
        self.assertEqual(inner.take(2, "name"), b"ab")
        with self.assertRaises(WireError) as caught:
            inner.take(1, "name")
        self.assertEqual(str(caught.exception), "name: needs 1 bytes where 0 are left")
        self.assertEqual(outer.rest(), b"cd")

    def test_vector_too_long(self) -> None:
        """
        A vector that would reach beyond its window is refused, though there are bytes behind it.
        """
        cursor = Cursor(b"\x03abcd", 0, 3)
        with self.assertRaises(WireError) as caught:
            cursor.vector(1, "names")
        self.assertEqual((caught.exception.field, caught.exception.reason), ("names", "needs 3 bytes where 2 are left"))

    def test_length_not_here(self) -> None:
        """
        A length that is itself cut off is refused.
        """
        self.assertRaises(WireError, Cursor(b"\x00").vector, 2, "names")

    def test_end(self) -> None:
        """
        Trailing bytes are named; an empty window is an end.
        """
        cursor = Cursor(b"ab")
        with self.assertRaises(WireError) as caught:
            cursor.end("names")
        self.assertEqual(str(caught.exception), "names: 2 bytes left over")
        cursor.rest()
        cursor.end("names")

    def test_blame(self) -> None:
        """
        Wrong bytes are the peer's fault.
        """
        self.assertTrue(issubclass(WireError, PeerError))
