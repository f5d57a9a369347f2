"""
Messages that two programs could read in two ways, or that hide a second one: each is refused, whatever the cuts.

Strategy: a row is a name, the bytes, the status, and words of the reason. Behind each stands a request that a careless
reader would believe; it must never come out.
"""

from __future__ import annotations

from typing import Final

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.wire.http1 import End, Refused, RequestHead, ResponseHead
from tests.support.http1 import every_cut, requests, response

HIDDEN: Final = b"GET /hidden HTTP/1.1\r\nHost: h\r\n\r\n"


def get(*lines: bytes) -> bytes:
    """
    A request without a body, with these lines behind its Host.
    """
    return b"\r\n".join((b"GET /a HTTP/1.1", b"Host: a.example", *lines, b"", b""))


def post(*lines: bytes, body: bytes = b"") -> bytes:
    """
    The same with a body.
    """
    return b"\r\n".join((b"POST /a HTTP/1.1", b"Host: a.example", *lines, b"", body))


def chunks(body: bytes) -> bytes:
    """
    A request with this for chunks.
    """
    return post(b"Transfer-Encoding: chunked", body=body)


BOTH: Final = '"Content-Length" and "Transfer-Encoding"'
CODING: Final = 'unknown "Transfer-Encoding"'
LENGTH: Final = '"Content-Length"'
HEADER: Final = "invalid header line"
REQUEST: Final = "invalid request"
METHOD: Final = "invalid method"
VERSION: Final = "invalid version"
CHUNK: Final = "invalid chunked body"

REQUESTS: Final[tuple[tuple[str, bytes, int, str], ...]] = (
    # Two lengths.
    ("CL.TE", post(b"Content-Length: 6", b"Transfer-Encoding: chunked", body=b"0\r\n\r\nG"), 400, BOTH),
    ("TE.CL", post(b"Transfer-Encoding: chunked", b"Content-Length: 3", body=b"8\r\nSMUGGLED\r\n0\r\n\r\n"), 400, BOTH),
    ("CL.TE in other letters", post(b"content-length: 6", b"TRANSFER-ENCODING: CHUNKED"), 400, BOTH),
    ("CL 0 and TE", post(b"Content-Length: 0", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"), 400, BOTH),
    ("two lengths", post(b"Content-Length: 3", b"Content-Length: 4", body=b"abcd"), 400, LENGTH),
    ("two equal lengths", post(b"Content-Length: 3", b"Content-Length: 3", body=b"abc"), 400, LENGTH),
    ("two lengths with others between", post(b"Content-Length: 3", b"A: b", b"content-length: 4"), 400, LENGTH),
    ("a list of lengths", post(b"Content-Length: 3, 4", body=b"abcd"), 400, LENGTH),
    ("a list of equal lengths", post(b"Content-Length: 3, 3", body=b"abc"), 400, LENGTH),
    ("two codings", post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"), 400, "duplicate"),
    ("two codings, one unknown", post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: cow"), 400, "duplicate"),
    (
        "two codings, the first unknown",
        post(b"Transfer-Encoding: cow", b"Transfer-Encoding: chunked"),
        400,
        "duplicate",
    ),
    # Lengths that are none.
    ("CL with plus", post(b"Content-Length: +3", body=b"abc"), 400, LENGTH),
    ("CL with minus", post(b"Content-Length: -3", body=b"abc"), 400, LENGTH),
    ("CL in hex", post(b"Content-Length: 0x3", body=b"abc"), 400, LENGTH),
    ("CL with hex digits", post(b"Content-Length: a", body=b"0123456789"), 400, LENGTH),
    ("CL with a blank inside", post(b"Content-Length: 1 3", body=b"abc"), 400, LENGTH),
    ("CL with a tab inside", post(b"Content-Length: 1\t3", body=b"abc"), 400, LENGTH),
    ("empty CL", post(b"Content-Length:"), 400, LENGTH),
    ("blank CL", post(b"Content-Length:  "), 400, LENGTH),
    ("CL with a point", post(b"Content-Length: 3.0", body=b"abc"), 400, LENGTH),
    ("CL with an underscore", post(b"Content-Length: 1_0", body=b"abc"), 400, LENGTH),
    ("CL in quotes", post(b'Content-Length: "3"', body=b"abc"), 400, LENGTH),
    ("CL in digits of another script", post("Content-Length: ٣".encode(), body=b"abc"), 400, LENGTH),
    ("CL over 64 bits", post(b"Content-Length: 18446744073709551619", body=b"abc"), 400, LENGTH),
    ("CL over 63 bits", post(b"Content-Length: 9223372036854775808", body=b"abc"), 400, LENGTH),
    ("CL with a thousand zeros", post(b"Content-Length: " + b"0" * 1000 + b"3", body=b"abc"), 400, LENGTH),
    ("CL with a form feed", post(b"Content-Length: \x0c3", body=b"abc"), 400, ""),
    # Codings that are not chunked.
    ("TE identity", post(b"Transfer-Encoding: identity"), 501, CODING),
    ("TE gzip", post(b"Transfer-Encoding: gzip"), 501, CODING),
    ("TE gzip, chunked", post(b"Transfer-Encoding: gzip, chunked"), 501, CODING),
    ("TE chunked, gzip", post(b"Transfer-Encoding: chunked, gzip"), 501, CODING),
    ("TE chunked twice in a line", post(b"Transfer-Encoding: chunked, chunked"), 501, CODING),
    ("TE xchunked", post(b"Transfer-Encoding: xchunked"), 501, CODING),
    ("TE chunkedx", post(b"Transfer-Encoding: chunkedx"), 501, CODING),
    ("TE with a comma", post(b"Transfer-Encoding: chunked,"), 501, CODING),
    ("TE with a comma before", post(b"Transfer-Encoding: ,chunked"), 501, CODING),
    ("TE with a parameter", post(b"Transfer-Encoding: chunked;q=1"), 501, CODING),
    ("TE in quotes", post(b'Transfer-Encoding: "chunked"'), 501, CODING),
    ("empty TE", post(b"Transfer-Encoding:"), 501, CODING),
    ("TE with a vertical tab", post(b"Transfer-Encoding: \x0bchunked"), 400, HEADER),
    ("TE with a NUL", post(b"Transfer-Encoding: chunked\0"), 400, HEADER),
    ("TE with a high byte", post(b"Transfer-Encoding: chunked\xa0"), 501, CODING),
    ("TE in HTTP/1.0", b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "HTTP/1.0 request"),
    # Lines.
    ("bare LF in place of all ends", b"GET / HTTP/1.1\nHost: a\n\n", 400, REQUEST),
    ("bare LF behind the request line", b"GET / HTTP/1.1\nHost: a\r\n\r\n", 400, REQUEST),
    ("bare LF behind a field", b"GET / HTTP/1.1\r\nHost: a\nA: b\r\n\r\n", 400, HEADER),
    ("bare LF hides a length", b"GET / HTTP/1.1\r\nHost: a\r\nA: b\nContent-Length: 36\r\n\r\n", 400, HEADER),
    ("bare LF at the end", b"GET / HTTP/1.1\r\nHost: a\r\n\n", 400, HEADER),
    ("bare LF before the end", b"GET / HTTP/1.1\r\nHost: a\n\r\n", 400, HEADER),
    ("bare CR behind a field", b"GET / HTTP/1.1\r\nHost: a\rA: b\r\n\r\n", 400, HEADER),
    ("bare CR hides a coding", get(b"A: b\rTransfer-Encoding: chunked"), 400, HEADER),
    ("bare CR before an end", get(b"A: b\r"), 400, HEADER),
    ("bare CR at the end", b"GET / HTTP/1.1\r\nHost: a\r\n\r\r\n\r\n", 400, HEADER),
    ("bare CR in the request line", b"GET /\r HTTP/1.1\r\nHost: a\r\n\r\n", 400, REQUEST),
    ("bare LF before the request line", b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400, METHOD),
    ("NUL in a value", get(b"A: b\0c"), 400, HEADER),
    ("NUL in a name", get(b"A\0B: c"), 400, HEADER),
    ("NUL in the target", b"GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", 400, REQUEST),
    ("folded line", get(b"A: b", b" c"), 400, HEADER),
    ("line folded by a tab", get(b"A: b", b"\tc"), 400, HEADER),
    ("folded coding", post(b"Transfer-Encoding:", b" chunked"), 400, ""),
    ("folded length", post(b"Content-Length: 0", b" 36"), 400, ""),
    ("first line of fields folded", b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400, HEADER),
    ("blank first line of fields", b"GET / HTTP/1.1\r\n \r\nHost: a\r\n\r\n", 400, HEADER),
    # Names.
    ("blank before the colon", post(b"Transfer-Encoding : chunked", b"Content-Length: 3", body=b"abc"), 400, HEADER),
    ("tab before the colon", post(b"Content-Length\t: 36"), 400, HEADER),
    ("blank inside a name", get(b"Content Length: 36"), 400, HEADER),
    ("empty name", get(b": b"), 400, HEADER),
    ("no colon", get(b"Content-Length"), 400, HEADER),
    ("vertical tab before a name", post(b"\x0bTransfer-Encoding: chunked"), 400, HEADER),
    ("high byte in a name", post(b"Transfer-Encoding\xa0: chunked"), 400, HEADER),
    ("parenthesis in a name", get(b"A(b): c"), 400, HEADER),
    ("quotes around a name", post(b'"Content-Length": 36'), 400, HEADER),
    ("control byte in a value", get(b"A: b\x01"), 400, HEADER),
    # Request lines.
    ("two blanks", b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400, REQUEST),
    ("two blanks before the version", b"GET /  HTTP/1.1\r\nHost: a\r\n\r\n", 400, REQUEST),
    ("blank behind the version", b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 400, REQUEST),
    ("blank in the target", b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 400, REQUEST),
    ("blank before the method", b" GET / HTTP/1.1\r\nHost: a\r\n\r\n", 400, METHOD),
    ("tab for a blank", b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, METHOD),
    ("method in small letters", b"get / HTTP/1.1\r\nHost: a\r\n\r\n", 400, METHOD),
    ("no target", b"GET HTTP/1.1\r\nHost: a\r\n\r\n", 400, REQUEST),
    ("HTTP/0.9", b"GET /\r\n", 400, REQUEST),
    ("version 0.9", b"GET / HTTP/0.9\r\nHost: a\r\n\r\n", 400, REQUEST),
    ("version in small letters", b"GET / http/1.1\r\nHost: a\r\n\r\n", 400, REQUEST),
    ("version without a minor", b"GET / HTTP/1\r\nHost: a\r\n\r\n", 400, REQUEST),
    ("version with a letter", b"GET / HTTP/1.x\r\nHost: a\r\n\r\n", 400, REQUEST),
    ("version with two digits", b"GET / HTTP/1.10\r\nHost: a\r\n\r\n", 400, REQUEST),
    ("version 2", b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505, VERSION),
    ("version 11", b"GET / HTTP/11.1\r\nHost: a\r\n\r\n", 505, VERSION),
    ("the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, VERSION),
    ("DEL in the target", b"GET /\x7f HTTP/1.1\r\nHost: a\r\n\r\n", 400, REQUEST),
    ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, METHOD),
    # Hosts.
    ("no Host", b"GET / HTTP/1.1\r\n\r\n", 400, '"Host"'),
    ("no Host, absolute target", b"GET http://a.example/ HTTP/1.1\r\nA: b\r\n\r\n", 400, '"Host"'),
    ("two Hosts", get(b"Host: b.example"), 400, "duplicate host"),
    ("two equal Hosts", get(b"host: a.example"), 400, "duplicate host"),
    ("two Hosts in HTTP/1.0", b"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", 400, "duplicate host"),
    # Chunks.
    ("chunk size with 0x", chunks(b"0x3\r\nabc\r\n0\r\n\r\n"), 400, CHUNK),
    ("chunk size with plus", chunks(b"+3\r\nabc\r\n0\r\n\r\n"), 400, CHUNK),
    ("chunk size with minus", chunks(b"-3\r\nabc\r\n0\r\n\r\n"), 400, CHUNK),
    ("empty chunk size", chunks(b"\r\nabc\r\n0\r\n\r\n"), 400, CHUNK),
    ("chunk size of an extension", chunks(b";a=b\r\nabc\r\n0\r\n\r\n"), 400, CHUNK),
    ("blank before a chunk size", chunks(b" 3\r\nabc\r\n0\r\n\r\n"), 400, CHUNK),
    ("blank behind a chunk size", chunks(b"3 \r\nabc\r\n0\r\n\r\n"), 400, CHUNK),
    ("chunk size with an underscore", chunks(b"1_0\r\n0123456789012345\r\n0\r\n\r\n"), 400, CHUNK),
    ("chunk size of 17 digits", chunks(b"00000000000000003\r\nabc\r\n0\r\n\r\n"), 400, CHUNK),
    ("chunk size over 64 bits", chunks(b"10000000000000003\r\nabc\r\n0\r\n\r\n"), 400, CHUNK),
    ("chunk size over 63 bits", chunks(b"8000000000000000\r\nabc\r\n0\r\n\r\n"), 400, CHUNK),
    ("chunk size of letters", chunks(b"xyz\r\nabc\r\n0\r\n\r\n"), 400, CHUNK),
    ("bare LF behind a chunk size", chunks(b"3\nabc\r\n0\r\n\r\n"), 400, CHUNK),
    ("bare CR behind a chunk size", chunks(b"3\rabc\r\n0\r\n\r\n"), 400, CHUNK),
    ("bare LF in an extension", chunks(b"3;a\nb\r\nabc\r\n0\r\n\r\n"), 400, CHUNK),
    ("bare CR in an extension", chunks(b"3;a\rb\r\nabc\r\n0\r\n\r\n"), 400, CHUNK),
    ("NUL in an extension", chunks(b"3;a\0\r\nabc\r\n0\r\n\r\n"), 400, CHUNK),
    ("extension without an end", chunks(b"3;" + b"a" * 1030 + b"\r\nabc\r\n0\r\n\r\n"), 400, CHUNK),
    ("chunk longer than its size", chunks(b"3\r\nabcd\r\n0\r\n\r\n"), 400, CHUNK),
    ("chunk shorter than its size", chunks(b"4\r\nabc\r\n0\r\n\r\n"), 400, CHUNK),
    ("bare LF behind a chunk", chunks(b"3\r\nabc\n0\r\n\r\n"), 400, CHUNK),
    ("bare CR behind a chunk", chunks(b"3\r\nabc\r0\r\n\r\n"), 400, CHUNK),
    ("no end of line behind a chunk", chunks(b"3\r\nabc0\r\n\r\n"), 400, CHUNK),
    ("folded trailer", chunks(b"0\r\nA: b\r\n c\r\n\r\n"), 400, "trailer"),
    ("trailer without a name", chunks(b"0\r\n: b\r\n\r\n"), 400, "trailer"),
    ("bare LF in trailers", chunks(b"0\r\nA: b\n\r\n"), 400, "trailer"),
    ("bare LF behind the last chunk", chunks(b"0\r\n\n"), 400, "trailer"),
    ("request behind a last chunk without an end", chunks(b"0\r\n") + HIDDEN, 400, "trailer"),
    ("CL in trailers", chunks(b"0\r\nContent-Length: 36\r\n\r\n"), 400, "content-length"),
    ("TE in trailers", chunks(b"0\r\nTransfer-Encoding: chunked\r\n\r\n"), 400, "transfer-encoding"),
    ("Host in trailers", chunks(b"0\r\nHost: b\r\n\r\n"), 400, "host"),
)


def answer(*lines: bytes, body: bytes = b"") -> bytes:
    """
    A response with these lines.
    """
    return b"\r\n".join((b"HTTP/1.1 200 OK", *lines, b"", body))


RESPONSES: Final[tuple[tuple[str, bytes, str], ...]] = (
    ("CL.TE", answer(b"Content-Length: 6", b"Transfer-Encoding: chunked", body=b"0\r\n\r\nG"), BOTH),
    ("TE.CL", answer(b"Transfer-Encoding: chunked", b"Content-Length: 3", body=b"0\r\n\r\n"), BOTH),
    ("two lengths", answer(b"Content-Length: 3", b"Content-Length: 4", body=b"abcd"), LENGTH),
    ("two equal lengths", answer(b"Content-Length: 3", b"Content-Length: 3", body=b"abc"), LENGTH),
    ("length with plus", answer(b"Content-Length: +3", body=b"abc"), LENGTH),
    ("length over 63 bits", answer(b"Content-Length: 9223372036854775808"), LENGTH),
    ("unknown coding", answer(b"Transfer-Encoding: gzip, chunked"), CODING),
    ("two codings", answer(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"), "header"),
    ("bare LF", b"HTTP/1.1 200 OK\nContent-Length: 0\n\n", "no valid HTTP/1.0 header"),
    ("bare LF behind a field", b"HTTP/1.1 200 OK\r\nA: b\nContent-Length: 0\r\n\r\n", "invalid header"),
    ("folded line", answer(b"A: b", b" c"), "invalid header"),
    ("blank before the colon", answer(b"Content-Length : 3", body=b"abc"), "invalid header"),
    ("NUL", answer(b"A: b\0"), "invalid header"),
    ("no status line", b"<html></html>\r\n\r\n", "no valid HTTP/1.0 header"),
    ("another protocol", b"SSH-2.0-OpenSSH_9.2\r\n", "no valid HTTP/1.0 header"),
    ("version 2", b"HTTP/2.0 200 OK\r\n\r\n", "no valid HTTP/1.0 header"),
    ("status of two digits", b"HTTP/1.1 20 OK\r\n\r\n", "no valid HTTP/1.0 header"),
    ("status of four digits", b"HTTP/1.1 2000 OK\r\n\r\n", "no valid HTTP/1.0 header"),
    ("status with a zero", b"HTTP/1.1 020 OK\r\n\r\n", "no valid HTTP/1.0 header"),
    ("two blanks", b"HTTP/1.1  200 OK\r\n\r\n", "no valid HTTP/1.0 header"),
    ("control byte in the reason", b"HTTP/1.1 200 O\x01K\r\n\r\n", "no valid HTTP/1.0 header"),
    ("chunk size with 0x", answer(b"Transfer-Encoding: chunked", body=b"0x3\r\n"), "invalid chunked response"),
    ("bare LF behind a chunk", answer(b"Transfer-Encoding: chunked", body=b"3\r\nabc\n"), "invalid chunked response"),
    ("length in trailers", answer(b"Transfer-Encoding: chunked", body=b"0\r\nContent-Length: 1\r\n\r\n"), "trailers"),
)


class SmugglingTests(SynchronousTestCase):
    """
    The corpus.
    """

    def test_names(self) -> None:
        """
        Each row has a name of its own.
        """
        self.assertEqual(len({name for name, *_ in REQUESTS}), len(REQUESTS))
        self.assertEqual(len({name for name, *_ in RESPONSES}), len(RESPONSES))
        self.assertGreater(len(REQUESTS), 100)

    def test_requests(self) -> None:
        """
        Each request is refused with its status and words; nothing comes whole, and nothing hidden comes at all.
        """
        for name, data, status, words in REQUESTS:
            events = requests(data + HIDDEN)
            refused = events[-1]
            assert isinstance(refused, Refused), (name, events)
            self.assertEqual(refused.status, status, (name, refused))
            self.assertIn(words, refused.reason, name)
            self.assertFalse([event for event in events if isinstance(event, End)], name)
            heads = [event for event in events if isinstance(event, RequestHead)]
            self.assertLessEqual(len(heads), 1, name)
            self.assertNotIn("/hidden", [head.target for head in heads], name)

    def test_requests_cut(self) -> None:
        """
        Where the network cuts such a request changes nothing.
        """
        for name, data, status, _ in REQUESTS:
            for pieces in every_cut(data + HIDDEN):
                refused = requests(*pieces)[-1]
                assert isinstance(refused, Refused), (name, pieces)
                self.assertEqual(refused.status, status, (name, pieces))

    def test_responses(self) -> None:
        """
        Each response is refused with its words, whatever the cuts, and never comes whole.
        """
        for name, data, words in RESPONSES:
            for pieces in every_cut(data + b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"):
                events = response(*pieces)
                refused = events[-1]
                assert isinstance(refused, Refused), (name, events)
                self.assertEqual(refused.status, 502, (name, refused))
                self.assertIn(words, refused.reason, name)
                self.assertFalse([event for event in events if isinstance(event, End)], name)
                self.assertLessEqual(sum(isinstance(event, ResponseHead) for event in events), 1, name)
