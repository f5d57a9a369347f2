"""
Chunks, taken apart.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.wire.http1_body import END, LINE_LIMIT, Chunks, Data, End
from sniproxy.wire.http1_head import Fault
from tests.support.http1 import every_cut

BODY = b'3\r\nabc\r\nA;a=b\r\n0123456789\r\n000F; q="\xff\t"\r\n' + b"x" * 15 + b"\r\n0;last\r\n"
SAID = b"abc0123456789" + b"x" * 15


def read(pieces: list[bytes]) -> tuple[bytes, bytes, bool]:
    """
    @return: the data in these pieces, what was not read of them, and whether the last chunk was.
    """
    chunks = Chunks(400, "broken", "reading")
    held = said = b""
    for piece in pieces:
        held += piece
        while not chunks.whole:
            data, at = chunks.read(held, 0)
            held = held[at:]
            if not data:
                break
            said += data
    return said, held, chunks.whole


class EventsTests(SynchronousTestCase):
    """
    What a reader of messages tells of a body.
    """

    def test_same(self) -> None:
        """
        They are what they say.
        """
        self.assertEqual(Data(b"abc"), Data(b"abc"))
        self.assertNotEqual(Data(b"abc"), Data(b"abd"))
        self.assertEqual(End(()), END)
        self.assertNotEqual(End((("A", "b"),)), END)


class ChunksTests(SynchronousTestCase):
    """
    L{Chunks}.
    """

    def test_cuts(self) -> None:
        """
        Chunks are told from their lines wherever the network cuts them, and what follows the last one is not read.
        """
        for pieces in every_cut(BODY):
            self.assertEqual(read(pieces), (SAID, b"", True), pieces)
        self.assertEqual(read([BODY + b"\r\nGET"]), (SAID, b"\r\nGET", True))

    def test_together(self) -> None:
        """
        Chunks that came together are one piece of data.
        """
        chunks = Chunks(400, "broken", "reading")
        self.assertEqual(chunks.read(b"1\r\na\r\n" * 100, 0), (b"a" * 100, 600))
        self.assertEqual(chunks.read(b"??2\r\nab", 2), (b"ab", 7))

    def test_big(self) -> None:
        """
        A piece that is all data is handed through, not copied.
        """
        chunks = Chunks(400, "broken", "reading")
        chunks.read(b"FFFF\r\n", 0)
        piece = bytes(1000)
        data, at = chunks.read(piece, 0)
        self.assertTrue(data is piece)
        self.assertEqual(at, 1000)

    def test_largest(self) -> None:
        """
        A chunk may have as many bytes as a file, and not one more.
        """
        self.assertEqual(read([b"7fffffffffffffff\r\nabc"]), (b"abc", b"", False))
        self.assertRaises(Fault, read, [b"8000000000000000\r\n"])

    def test_long_line(self) -> None:
        """
        A line has so many bytes with its end, and not one more.
        """
        line = b"3;" + b"x" * (LINE_LIMIT - 4) + b"\r\n"
        for pieces in ([line], [line[:-1], line[-1:]], [line[:500], line[500:]]):
            self.assertEqual(read([*pieces, b"abc"]), (b"abc", b"", False))
        for pieces in ([b"3;x" + line[2:]], [b"3;x" + line[2:-1]]):
            self.assertRaises(Fault, read, pieces)

    def test_broken(self) -> None:
        """
        What no chunk begins with is refused at the first byte that is wrong, with the words that were handed in.
        """
        for good, bad in (
            (b"", b"g"),
            (b"", b"\r"),
            (b"", b";"),
            (b"3", b" "),
            (b"3", b"\n"),
            (b"3\r", b"a"),
            (b"3;", b"\0"),
            (b"3;a", b"\n"),
            (b"3;a\r", b"b"),
            (b"0123456789abcdef", b"0"),
            (b"3\r\nabc", b"d"),
            (b"3\r\nabc", b"\n"),
            (b"3\r\nabc\r", b"d"),
            (b"3\r\nabc\r\n", b"\r"),
        ):
            read([good])
            for pieces in ([good + bad], [good, bad]):
                with self.assertRaises(Fault) as raised:
                    read(pieces)
                fault = raised.exception
                self.assertEqual((fault.status, fault.reason, fault.action), (400, "broken", "reading"))

    def test_data_first(self) -> None:
        """
        The data before what is broken is told, and the fault found behind it.
        """
        for broken in (b"3\r\nabcd", b"3\r\nabc\r\nxyz", b"3\r\nabc\r\n8000000000000000\r\n"):
            chunks = Chunks(400, "broken", "reading")
            data, at = chunks.read(broken, 0)
            self.assertEqual(data, b"abc")
            self.assertRaises(Fault, chunks.read, broken, at)

    def test_left(self) -> None:
        """
        What is still to come of a chunk is known as soon as its line is read.
        """
        chunks = Chunks(400, "broken", "reading")
        self.assertEqual(chunks.left, 0)
        self.assertEqual(chunks.read(b"ff\r\nabc", 0), (b"abc", 7))
        self.assertEqual(chunks.left, 252)
