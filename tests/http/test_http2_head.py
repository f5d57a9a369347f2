"""
Tests for L{sniproxy.http.http2_head}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.http.http2_head import BadHead, Head, head_of, trailers_of
from sniproxy.wire.http1 import Limits

Pairs = list[tuple[bytes, bytes]]

GET: Pairs = [(b":method", b"GET"), (b":scheme", b"https"), (b":path", b"/a?b"), (b":authority", b"x:1")]


def without(name: bytes) -> Pairs:
    """
    A sound request that lacks a field.
    """
    return [pair for pair in GET if pair[0] != name]


def with_(name: bytes, value: bytes) -> Pairs:
    """
    A sound request with another value.
    """
    return [(known, value if known == name else old) for known, old in GET]


class HeadTests(SynchronousTestCase):
    """
    The first block of fields of a request.
    """

    def refused(self, pairs: Pairs, limits: Limits | None = None) -> tuple[int, str]:
        """
        @return: the status and the reason.
        """
        bad = self.assertRaises(BadHead, head_of, pairs, limits or Limits())
        return bad.status, bad.reason

    def test_one(self) -> None:
        """
        A request has its parts, and the authority as its host.
        """
        head = head_of([*GET, (b"accept", b" */*\t")], Limits())
        headers = [("host", "x:1"), ("accept", "*/*")]
        size = sum(len(name) + len(value) for name, value in GET) + 11
        self.assertEqual(head, Head("GET", "/a?b", headers, dict(headers), None, size))

    def test_host(self) -> None:
        """
        A host may stand for the authority, or beside it if it is the same; but there is one.
        """
        host = (b"host", b"x:1")
        self.assertEqual(head_of([*without(b":authority"), (b"a", b"b"), host], Limits()).fields["host"], "x:1")
        head = head_of([*GET, (b"a", b"b"), host], Limits())
        self.assertEqual(head.headers, [("host", "x:1"), ("a", "b")])
        self.assertEqual(self.refused([*GET, (b"host", b"y")])[0], 400)
        self.assertEqual(self.refused(without(b":authority"))[0], 400)
        self.assertEqual(self.refused([*GET, host, host]), (400, 'client sent duplicate header line: "host: x:1"'))

    def test_cookies(self) -> None:
        """
        Crumbs of cookies are one field; other fields that come twice stay two, and are joined for who asks by name.
        """
        more = [(b"cookie", b"a=b"), (b"x", b"1"), (b"cookie", b"c=d"), (b"x", b"2"), (b"x", b"3")]
        head = head_of([*GET, *more], Limits())
        self.assertEqual(head.headers[1:], [("cookie", "a=b; c=d"), ("x", "1"), ("x", "2"), ("x", "3")])
        self.assertEqual((head.fields["cookie"], head.fields["x"]), ("a=b; c=d", "1, 2, 3"))

    def test_bytes(self) -> None:
        """
        Bytes that are no text can be had again.
        """
        head = head_of([*GET, (b"x", b"\xff\xc3\xa9")], Limits())
        self.assertEqual(head.fields["x"].encode("utf-8", "surrogateescape"), b"\xff\xc3\xa9")

    def test_length(self) -> None:
        """
        A length is a number, said once.
        """
        self.assertEqual(head_of([*GET, (b"content-length", b"12")], Limits()).length, 12)
        for value in (b"", b"-1", b"1a", b"+1", b"1, 1", b"9" * 30):
            self.assertEqual(self.refused([*GET, (b"content-length", value)])[0], 400, value)
        self.assertEqual(self.refused([*GET, (b"content-length", b"1"), (b"content-length", b"1")])[0], 400)

    def test_pseudo(self) -> None:
        """
        Pseudo fields are there once, known, sound and before all others.
        """
        for name in (b":method", b":scheme", b":path"):
            words = f"client sent no {name.decode()} header"
            self.assertEqual(self.refused(without(name)), (400, words))
        for name in (b":method", b":scheme", b":path", b":authority"):
            self.assertEqual(self.refused(with_(name, b"")), (400, f"client sent empty {name.decode()} header"))
            self.assertEqual(self.refused([*GET, (name, b"a")]), (400, f"client sent duplicate {name.decode()} header"))
        self.assertEqual(self.refused([*GET, (b":status", b"1")]), (400, 'client sent unknown pseudo-header ":status"'))
        late = [*without(b":authority"), (b"a", b"b"), (b":authority", b"x")]
        self.assertEqual(self.refused(late), (400, "client sent out of order pseudo-headers"))
        self.assertEqual(self.refused([]), (400, "client sent no :method header"))

    def test_line(self) -> None:
        """
        What could not stand in a request line of HTTP/1 is refused, so that nothing can be smuggled behind it.
        """
        for value in (b"get", b"GET /x HTTP/1.1\r\nHost: y\r\n\r\nGET", b"G T", b"G\0"):
            self.assertEqual(self.refused(with_(b":method", value))[0], 400, value)
        for value in (b"a", b"*", b"http://y/", b"/ HTTP/1.1", b"/\r\nX: y", b"/\0", b"/\x7f"):
            self.assertEqual(self.refused(with_(b":path", value))[0], 400, value)
        self.assertEqual(self.refused(with_(b":scheme", b"1"))[0], 400)
        self.assertEqual(self.refused(with_(b":authority", b"x\r\ny"))[0], 0)
        self.assertEqual(head_of(with_(b":path", b"/\xff"), Limits()).target, "/\udcff")

    def test_malformed(self) -> None:
        """
        Names that are none, values that are several lines, and what concerns a connection, end the stream.
        """
        for name, value in (
            (b"Upper", b"a"), (b"a b", b"c"), (b"a:", b"c"), (b"", b"c"), (b"\xff", b"c"), (b"x\r\ny", b"z"),
            (b"x", b"a\r\nb"), (b"x", b"a\nb"), (b"x", b"\0"), (b"connection", b"close"), (b"keep-alive", b"1"),
            (b"proxy-connection", b"x"), (b"transfer-encoding", b"chunked"), (b"upgrade", b"x"), (b"te", b"gzip"),
        ):  # fmt: skip
            self.assertEqual(self.refused([*GET, (name, value)])[0], 0, name)
        self.assertEqual(head_of([*GET, (b"te", b"Trailers")], Limits()).fields["te"], "Trailers")

    def test_sizes(self) -> None:
        """
        Paths, fields, all of them together and their number are bounded.
        """
        limits = Limits(line=10, header=20, count=4, headers=3)
        self.assertEqual(self.refused(with_(b":path", b"/" + b"a" * 10), limits)[0], 414)
        self.assertEqual(self.refused([*GET, (b"x", b"a" * 20)], limits)[0], 494)
        self.assertEqual(self.refused([*GET, (b"x", b"a" * 18), (b"y", b"a" * 18)], limits)[0], 494)
        self.assertEqual(self.refused([*GET, *[(b"x", b"a")] * 4], limits)[0], 494)
        self.assertEqual(len(head_of([*GET, *[(b"x", b"a")] * 3], limits).headers), 4)

    def test_line_of_refused(self) -> None:
        """
        Who is refused for the rest is logged with the line that there is.
        """
        bad = self.assertRaises(BadHead, head_of, [*GET, (b"Upper", b"a")], Limits())
        self.assertEqual(bad.line, "GET /a?b HTTP/2.0")
        self.assertEqual(self.assertRaises(BadHead, head_of, without(b":path"), Limits()).line, "")


class TrailerTests(SynchronousTestCase):
    """
    The fields behind a body.
    """

    def test_some(self) -> None:
        """
        They are fields as any others.
        """
        self.assertEqual(trailers_of([(b"a", b"b"), (b"c", b"d")]), (("a", "b"), ("c", "d")))

    def test_refused(self) -> None:
        """
        What may only be said before the body is refused behind it.
        """
        for name in (b"content-length", b"host", b":path", b"Upper", b"connection"):
            self.assertRaises(BadHead, trailers_of, [(name, b"1")])
