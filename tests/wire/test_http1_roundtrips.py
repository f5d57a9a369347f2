"""
HTTP/1 messages that we write are read again as they were meant; and any bytes at all have one meaning.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Final

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.wire.http1 import End
from sniproxy.wire.http1_write import chunk, last_chunk, request_head, response_head
from tests.support.http1 import kinds, of_request, of_response, requests, response, singly

END: Final = End(())

WHOLE: Final = (
    b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n",
    b"POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
    b"PUT /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nA: b\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"3\r\nabc\r\n",
    b"0\r\n\r\n",
    b"\r\n",
)

names = st.from_regex(r"[A-Za-z][A-Za-z0-9_-]{0,15}", fullmatch=True).map(lambda name: "X-" + name)
values = st.text(
    st.characters(min_codepoint=32, max_codepoint=0x2FF, exclude_characters="\x7f", exclude_categories=("Cs", "Cc")),
    max_size=30,
).map(lambda value: value.strip(" "))
fields = st.lists(st.tuples(names, values), max_size=6).map(tuple)
bodies = st.lists(st.binary(min_size=1, max_size=40), max_size=5)
targets = st.from_regex(r"/[a-zA-Z0-9/?&=%._~é-]{0,30}", fullmatch=True)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """
    Bytes in pieces, cut at these places.
    """
    at = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[start:end] for start, end in pairwise(at)]


class RoundTripTests(SynchronousTestCase):
    """
    What we write, we read again.
    """

    @settings(derandomize=True, deadline=None, database=None, max_examples=150)
    @given(targets, fields, bodies, fields, st.booleans(), st.lists(st.integers(0, 1000), max_size=5))
    def test_requests(
        self, target: str, headers: Any, body: list[bytes], trailers: Any, chunked: bool, places: list[int]
    ) -> None:
        """
        A request comes back with all its parts, however cut.
        """
        framing = ("Transfer-Encoding", "chunked") if chunked else ("Content-Length", str(len(b"".join(body))))
        sent = (("Host", "a.example"), *headers, framing)
        data = request_head("POST", target, (1, 1), sent)
        data += b"".join(map(chunk, body)) + last_chunk(trailers) if chunked else b"".join(body)
        events = requests(*cut(data, places))
        head = of_request(events)
        self.assertEqual((head.method, head.target, head.headers), ("POST", target, sent))
        self.assertEqual(events[1:-1], [b"".join(body)] if body else [])
        self.assertEqual(events[-1], End(trailers if chunked else ()))

    @settings(derandomize=True, deadline=None, database=None, max_examples=150)
    @given(st.integers(200, 599), fields, bodies, st.booleans(), st.lists(st.integers(0, 1000), max_size=5))
    def test_responses(self, status: int, headers: Any, body: list[bytes], chunked: bool, places: list[int]) -> None:
        """
        A response comes back with all its parts, however cut.
        """
        if status in (204, 304):
            body = []
        framing = (("Transfer-Encoding", "chunked"),) if chunked and body else ()
        data = response_head(status, "So be it", (*headers, *framing))
        data += b"".join(map(chunk, body)) + last_chunk() if framing else b"".join(body)
        events = response(*cut(data, places))
        head = of_response(events)
        self.assertEqual((head.status, head.reason, head.headers), (status, "So be it", (*headers, *framing)))
        self.assertEqual(events[1:], [*([b"".join(body)] if body else []), END])

    @settings(derandomize=True, deadline=None, database=None, max_examples=300)
    @given(st.lists(st.binary(max_size=30) | st.sampled_from(WHOLE), max_size=6))
    def test_anything(self, pieces: list[bytes]) -> None:
        """
        Any bytes are answered, refused, or wait for more, in the same way whatever the cuts.
        """
        data = b"".join(pieces)
        self.assertEqual(kinds(requests(*pieces)), kinds(requests(*singly(data))))
        self.assertEqual(kinds(response(*pieces)), kinds(response(*singly(data))))
