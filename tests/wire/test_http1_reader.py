"""
What both readers do with what they were fed.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.wire.http1 import Limits, Refused, RequestReader, ResponseReader
from sniproxy.wire.http1_body import Data, End
from tests.support.http1 import drained, heard, refusal, requests, response, singly

HEAD = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


class ReaderTests(SynchronousTestCase):
    """
    Bodies, trailers, what is held.
    """

    def test_lengths(self) -> None:
        """
        A body of a length ends there, and what follows is held.
        """
        reader = RequestReader(Limits())
        reader.feed(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhe")
        self.assertEqual(list(drained(reader))[1:], [Data(b"he")])
        reader.feed(b"lloPOS")
        self.assertEqual(list(drained(reader)), [Data(b"llo"), End(())])
        self.assertEqual(reader.held, b"POS")

    def test_held_grows(self) -> None:
        """
        What was fed and not asked about is held, in order.
        """
        reader = RequestReader(Limits())
        for piece in (b"GET / HTTP/1.0\r\n\r\nGET /b", b" HTTP/1.0\r\n", b"\r\n"):
            reader.feed(piece)
        reader.next()
        reader.feed(b"GE")
        self.assertEqual(reader.held, b"GET /b HTTP/1.0\r\n\r\nGE")
        self.assertEqual(len(list(drained(reader))), 3)
        self.assertEqual(reader.held, b"GE")

    def test_until_close(self) -> None:
        """
        A body without a length is all that comes.
        """
        self.assertEqual(response(b"HTTP/1.0 200 OK\r\n\r\n", b"a", b"", b"b")[1:], [b"ab", End(())])

    def test_chunks(self) -> None:
        """
        Chunks come with trailers or without, of both sides, whatever the cuts.
        """
        for end, trailers in ((b"\r\n", ()), (b"A: b\r\nC: d\r\n\r\n", (("A", "b"), ("C", "d")))):
            body = b"3\r\nabc\r\n2\r\nde\r\n0\r\n" + end
            for cut in ([body], [body[:10], body[10:]], singly(body)):
                self.assertEqual(requests(HEAD, *cut)[1:], [b"abcde", End(trailers)])
                self.assertEqual(response(ANSWER, *cut)[1:], [b"abcde", End(trailers)])

    def test_announced(self) -> None:
        """
        What is still to come of a chunk is known, where there is one.
        """
        reader = RequestReader(Limits())
        self.assertEqual(reader.announced, 0)
        reader.feed(HEAD + b"5\r\nhe")
        self.assertEqual((list(drained(reader))[1:], reader.announced), ([Data(b"he")], 3))

    def test_next_behind_trailers(self) -> None:
        """
        A request may follow the trailers of another.
        """
        for end in (b"0\r\n\r\n", b"0\r\nA: b\r\n\r\n"):
            self.assertEqual(len(requests((HEAD + end) * 3)), 6)

    def test_broken(self) -> None:
        """
        Broken chunks and trailers are refused with the words for the side, and the line of the message.
        """
        for body, words in (
            (b"x\r\n", ("client sent invalid chunked body", "upstream sent invalid chunked response")),
            (b"0\r\nA\n", ("client sent invalid trailer", "upstream sent invalid trailer")),
            (b"0\r\nA\r\n\r\n", ("client sent invalid trailer", "upstream sent invalid trailer")),
            (b"0\r\nA: " + b"x" * 8190, ("client sent too big trailers", "upstream sent too big trailers")),
            (
                b"0\r\nA: " + b"x" * 8190 + b"\r\n\r\n",
                ("client sent too big trailers", "upstream sent too big trailers"),
            ),
        ):
            self.assertEqual(refusal(requests(HEAD + body)), (400, words[0]))
            self.assertEqual(refusal(response(ANSWER + body)), (502, words[1]))
        refused = requests(HEAD + b"x")[-1]
        assert isinstance(refused, Refused)
        self.assertEqual(refused.line, "POST / HTTP/1.1")

    def test_refused(self) -> None:
        """
        Behind a refusal nothing is held, and nothing taken.
        """
        reader = RequestReader(Limits())
        self.assertEqual(refusal(heard(reader, [b"x" * 10000]))[0], 400)
        reader.feed(b"GET / HTTP/1.0\r\n\r\n")
        self.assertEqual((reader.held, reader.next()), (b"", None))

    def test_idle(self) -> None:
        """
        A reader of responses says nothing before a request.
        """
        reader = ResponseReader(100)
        reader.feed(b"HTTP/1.1 200 OK\r\n\r\n")
        self.assertIsNone(reader.next())
        self.assertEqual(reader.held, b"HTTP/1.1 200 OK\r\n\r\n")

    def test_small_pieces_cost_little(self) -> None:
        """
        A head in pieces of one byte is looked at once: the search goes on where it stopped.
        """
        reader = RequestReader(Limits())
        for piece in singly(b"GET / HTTP/1.1\r\nHost: a\r\nA: " + b"x" * 4000):
            reader.feed(piece)
            self.assertIsNone(reader.next())
        self.assertGreater(reader._scanned, 4000)
