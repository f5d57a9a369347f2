"""
What heads say: lines, lengths, whether connections are kept.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.wire import http1_head
from sniproxy.wire.cursor import WireError
from sniproxy.wire.http1_fields import Section
from sniproxy.wire.http1_head import (
    Fault,
    RequestHead,
    ResponseHead,
    body_length,
    check_method,
    read_request_head,
    read_request_line,
    read_response_head,
    read_status_line,
    read_trailers,
)

TWICE = 'client sent duplicate host header: "Host: {}", previous value: "Host: a"'


def request(*lines: str, line: str = "POST / HTTP/1.1", host: str = "a", most: int = 100) -> RequestHead:
    """
    A request with a Host and these fields.
    """
    return read_request_head(line.encode(), "\r\n".join((f"Host: {host}", *lines, "", "")).encode(), most)


def response(*lines: str, line: str = "HTTP/1.1 200 OK", method: str = "GET") -> ResponseHead:
    """
    A response with these fields.
    """
    return read_response_head(line.encode(), "\r\n".join((*lines, "", "")).encode() or b"\r\n", method)


class HeadTests(SynchronousTestCase):
    """
    Requests and responses.
    """

    def refused(self, status: int, words: str, head: str, *lines: str, line: str) -> None:
        """
        Assert that a head is refused.
        """
        read = request if head == "client" else response
        with self.assertRaises(Fault) as raised:
            read(*lines, line=line)
        self.assertEqual(raised.exception.status, status, lines)
        self.assertIn(f"{head} sent {words}", raised.exception.reason, lines)
        self.assertIsInstance(raised.exception, WireError)

    def test_lengths(self) -> None:
        """
        A body is as long as Content-Length says, in chunks, or not there.
        """
        self.assertEqual(request().length, 0)
        self.assertEqual(request("Content-Length: 0").length, 0)
        self.assertEqual(request("content-length: 007").length, 7)
        self.assertEqual(request("Content-Length: 9223372036854775807").length, 2**63 - 1)
        self.assertIsNone(request("Transfer-Encoding: CHUNKED").length)

    def test_lengths_of_responses(self) -> None:
        """
        A response without either field ends with the connection.
        """
        for lines, said in (
            (("Content-Length: 5",), (5, False, False, True)),
            (("Transfer-Encoding: chunked",), (None, True, False, True)),
            ((), (None, False, True, False)),
            (("Connection: close", "Content-Length: 0"), (0, False, False, False)),
        ):
            head = response(*lines)
            self.assertEqual((head.length, head.chunked, head.until_close, head.keep_alive), said)

    def test_chunks_of_the_old(self) -> None:
        """
        Chunks in a response of HTTP/1.0 are read, but the connection is not used again.
        """
        head = response("Transfer-Encoding: chunked", "Connection: keep-alive", line="HTTP/1.0 200 OK")
        self.assertEqual((head.chunked, head.keep_alive), (True, False))

    def test_no_body(self) -> None:
        """
        Answers to HEAD, interim ones, 204 and 304 have no body; what they say about one is checked all the same.
        """
        for line, method in (
            ("HTTP/1.1 200 OK", "HEAD"),
            ("HTTP/1.1 103 Early", "GET"),
            ("HTTP/1.1 204 No", "GET"),
            ("HTTP/1.1 304 No", "GET"),
        ):
            for field in ("Content-Length: 5", "Transfer-Encoding: chunked", "A: b"):
                found = response(field, line=line, method=method)
                self.assertEqual((found.length, found.chunked, found.until_close), (0, False, False), line)
            self.assertRaises(Fault, response, "Content-Length: x", line=line, method=method)
        self.assertEqual(response("Content-Length: 5", method="head").length, 5)

    def test_refused_lengths(self) -> None:
        """
        Two answers, or one that is none, are refused in nginx's words, of whoever sends them.
        """
        both = '"Content-Length" and "Transfer-Encoding" headers at the same time'
        cl = "Content-Length: 3"
        te = "Transfer-Encoding: chunked"
        for status, words, lines in (
            (400, both, (cl, te)),
            (400, both, (te, cl)),
            (400, "duplicate header line", (cl, cl)),
            (400, "duplicate header line", (te, te)),
            (400, "duplicate header line", (te, "Transfer-Encoding: gzip")),
            (400, 'invalid "Content-Length" header', ("Content-Length: 3,3",)),
            (400, 'invalid "Content-Length" header', ("Content-Length: 9223372036854775808",)),
            (400, 'invalid "Content-Length" header', ("Content-Length: 00000000000000000003",)),
            (501, 'unknown "Transfer-Encoding"', ("Transfer-Encoding: gzip",)),
            (501, 'unknown "Transfer-Encoding"', ("Transfer-Encoding: gzip, chunked",)),
            (501, 'unknown "Transfer-Encoding"', ("Transfer-Encoding: chunked, gzip",)),
            (400, "invalid header", ("A : b",)),
            (400, "invalid header", ("A: b\n",)),
        ):
            self.refused(status, words, "client", *lines, line="POST / HTTP/1.1")
            self.refused(502, words, "upstream", *lines, line="HTTP/1.1 200 OK")

    def test_second_reading(self) -> None:
        """
        Were llhttp to let lengths pass that it should not, they would be refused here.
        """
        for names, fields, words in (
            ((), {"content-length": "3", "transfer-encoding": "chunked"}, "at the same time"),
            (("content-length",), {"content-length": "3, 3"}, "duplicate"),
            (("transfer-encoding",), {"transfer-encoding": "chunked, chunked"}, "duplicate"),
            ((), {"content-length": "+3"}, "invalid"),
            ((), {"content-length": "\u0663"}, "invalid"),
            ((), {"transfer-encoding": "chunked, gzip"}, "unknown"),
        ):
            section = Section()
            section.fields = fields
            section.repeated = {name: [] for name in names}
            with self.assertRaises(Fault) as raised:
                body_length(section, 400, "client", "x")
            self.assertIn(words, raised.exception.reason)

    def test_hosts(self) -> None:
        """
        HTTP/1.1 has one Host, HTTP/1.0 one at most.
        """
        self.assertEqual(read_request_head(b"GET / HTTP/1.0", b"\r\n", 9).headers, ())
        self.assertEqual(request(host="").fields["host"], "")
        for line, block, words in (
            (b"GET / HTTP/1.1", b"A: b\r\n\r\n", 'client sent HTTP/1.1 request without "Host" header'),
            (b"GET / HTTP/1.1", b"Host: a\r\nhost: a\r\n\r\n", TWICE.format("a")),
            (b"GET / HTTP/1.0", b"Host: a\r\nhost: b\r\n\r\n", TWICE.format("b")),
        ):
            with self.assertRaises(Fault) as raised:
                read_request_head(line, block, 9)
            self.assertEqual((raised.exception.status, raised.exception.reason), (400, words))
            self.assertEqual(raised.exception.host, "a" if b"Host" in block else "")
        with self.assertRaises(Fault) as raised:
            read_request_head(b"GET /", b"Host: a\r\n\r\n", 9)
        self.assertIsNone(raised.exception.host)

    def test_chunks_in_an_old_request(self) -> None:
        """
        A request of HTTP/1.0 has no chunks.
        """
        words = 'HTTP/1.0 request with "Transfer-Encoding" header'
        self.refused(400, words, "client", "Transfer-Encoding: chunked", line="POST / HTTP/1.0")

    def test_too_many(self) -> None:
        """
        So many fields are taken, and not one more.
        """
        self.assertEqual(len(request("A: 1", "B: 2", most=3).headers), 3)
        with self.assertRaises(Fault) as raised:
            request("A: 1", "B: 2", "C: 3", most=3)
        self.assertEqual(raised.exception.status, 494)

    def test_keep_alive(self) -> None:
        """
        Whether a connection is kept is what the version and Connection say.
        """
        for version, said, kept in (
            ("1.1", None, True),
            ("1.0", None, False),
            ("1.1", "close", False),
            ("1.1", "Keep-Alive", True),
            ("1.0", "Keep-Alive", True),
            ("1.0", "close", False),
            ("1.1", "x, CLOSE ,keep-alive", False),
            ("1.0", "x ,keep-alive", True),
            ("1.0", "x", False),
            ("1.1", "x", True),
            ("1.1", "closed", True),
        ):
            lines = ("Content-Length: 0",) if said is None else ("Content-Length: 0", f"Connection: {said}")
            self.assertIs(request(*lines, line=f"GET / HTTP/{version}").keep_alive, kept, (version, said))
            self.assertIs(response(*lines, line=f"HTTP/{version} 200 OK").keep_alive, kept, (version, said))
        self.assertFalse(request("Connection: x", "Connection: close").keep_alive)

    def test_upgrade(self) -> None:
        """
        Another protocol is asked for by both fields together, from HTTP/1.1 on.
        """
        for lines, line, asked in (
            (("Upgrade: x", "Connection: upgrade"), "GET / HTTP/1.1", True),
            (("Upgrade: x", "Connection: keep-alive, Upgrade"), "GET / HTTP/1.1", True),
            (("Upgrade: x", "Connection: Upgrade", "Content-Length: 3"), "GET / HTTP/1.1", True),
            (("Upgrade: x", "Connection: keep-alive"), "GET / HTTP/1.1", False),
            (("Upgrade: x",), "GET / HTTP/1.1", False),
            (("Connection: upgrade",), "GET / HTTP/1.1", False),
            (("Upgrade: x", "Connection: upgrade"), "GET / HTTP/1.0", False),
        ):
            self.assertIs(request(*lines, line=line).upgrade, asked, lines)


class LineTests(SynchronousTestCase):
    """
    First lines.
    """

    def test_request_line(self) -> None:
        """
        A request line is a method, a target and a version, with one blank between them.
        """
        self.assertEqual(read_request_line(b"A-_Z /\xff?x#y HTTP/1.3"), ("A-_Z", "/\udcff?x#y", 3))
        for line, status, words in (
            (b"", 400, "client sent invalid method"),
            (b"get / HTTP/1.1", 400, "client sent invalid method"),
            (b"G1 / HTTP/1.1", 400, "client sent invalid method"),
            (b"GET", 400, "client sent invalid request"),
            (b"GET /", 400, "client sent invalid request"),
            (b"GET / HTTP/1.1\n", 400, "client sent invalid request"),
            (b"GET / HTTP/0.9", 400, "client sent invalid request"),
            (b"GET / HTTP/2.0", 505, "client sent invalid version"),
            (b"GET / HTTP/10.0", 505, "client sent invalid version"),
        ):
            with self.assertRaises(Fault) as raised:
                read_request_line(line)
            self.assertEqual((raised.exception.status, raised.exception.reason), (status, words), line)

    def test_method_begun(self) -> None:
        """
        A method that is not whole yet may become one.
        """
        check_method(b"GE")
        check_method(b"GET /")
        self.assertRaises(Fault, check_method, b"GE\n")

    def test_status_line(self) -> None:
        """
        A status line is a version, three digits and perhaps a reason.
        """
        self.assertEqual(read_status_line(b"HTTP/1.0 200"), (0, 200, ""))
        self.assertEqual(read_status_line(b"HTTP/1.1 999 \tI am \xff"), (1, 999, "\tI am \udcff"))
        for line in (
            b"HTTP/1.1 200\n",
            b"HTTP/1.1 099 x",
            b"HTTP/1.1 200x",
            b"HTTP/1.1",
            b"HTTP/0.9 200 OK",
            b"ICY 200 OK",
        ):
            self.assertRaises(Fault, read_status_line, line)


class TrailersTests(SynchronousTestCase):
    """
    L{read_trailers}.
    """

    def test_status_lines_remembered(self) -> None:
        """
        Status lines are remembered, but not more of them than there is room for, and no long ones.
        """
        known = http1_head._STATUS_LINES
        known.clear()
        for _ in range(2):
            self.assertEqual(read_status_line(b"HTTP/1.1 204 Gone"), (1, 204, "Gone"))
        self.assertEqual(read_status_line(b"HTTP/1.1 200 " + b"x" * 51), (1, 200, "x" * 51))
        self.assertEqual(known, {b"HTTP/1.1 204 Gone": (1, 204, "Gone")})
        known.update((b"%d" % number, (0, 0, "")) for number in range(http1_head.REMEMBERED))
        self.assertEqual(read_status_line(b"HTTP/1.0 200 "), (0, 200, ""))
        self.assertNotIn(b"HTTP/1.0 200 ", known)
        known.clear()

    def test_trailers(self) -> None:
        """
        Trailers are fields, but none that would have to be known before the body.
        """
        self.assertEqual(read_trailers(b"A: b\r\nC: d\r\n\r\n", 400, "client", "x"), (("A", "b"), ("C", "d")))
        for line in (b"A : b", b"Host: a", b"CONTENT-LENGTH: 3", b"Transfer-Encoding: chunked"):
            with self.assertRaises(Fault) as raised:
                read_trailers(b"A: b\r\n" + line + b"\r\n\r\n", 502, "upstream", "x")
            self.assertEqual((raised.exception.status, raised.exception.action), (502, "x"), line)
