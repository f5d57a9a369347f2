"""
Heads and chunks that we write; that they are read as they were meant is proved in tests/wire/test_http1_roundtrips.py.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.wire import http1_write
from sniproxy.wire.http1_write import chunk, last_chunk, request_head, response_head


class WriteTests(SynchronousTestCase):
    """
    What is written, and what is not.
    """

    def test_request(self) -> None:
        """
        A request's head has its line, its fields in order, and an empty line.
        """
        self.assertEqual(
            request_head("GET", "/\udcff?é", (1, 0), [("Host", "a"), ("X", "b: c"), ("x", "")]),
            b"GET /\xff?\xc3\xa9 HTTP/1.0\r\nHost: a\r\nX: b: c\r\nx: \r\n\r\n",
        )
        self.assertEqual(request_head("GET", "*", (1, 1), []), b"GET * HTTP/1.1\r\n\r\n")

    def test_response(self) -> None:
        """
        So has a response's.
        """
        self.assertEqual(response_head(200, "OK", [("A", "b")]), b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n")
        self.assertEqual(response_head(204, "", ()), b"HTTP/1.1 204 \r\n\r\n")
        self.assertEqual(response_head(7, "", ()), b"HTTP/1.1 007 \r\n\r\n")

    def test_chunks(self) -> None:
        """
        A chunk has its size before it; nothing is not a chunk, since it would be the last one.
        """
        self.assertEqual(chunk(b"0123456789"), b"a\r\n0123456789\r\n")
        self.assertEqual(chunk(b""), b"")
        self.assertEqual(last_chunk(), b"0\r\n\r\n")
        self.assertEqual(last_chunk([("A", "b")]), b"0\r\nA: b\r\n\r\n")

    def test_injection(self) -> None:
        """
        Nothing that is written ends its line, or its field, before its time.
        """
        for text in ("a\r\nb", "a\nb", "a\rb", "a\0b", "\r\n", "a\r", "\n"):
            for headers in ([("A", text)], [("A", "b"), (text, "c"), ("D", "e")]):
                self.assertRaises(ValueError, request_head, "GET", "/", (1, 1), headers)
                self.assertRaises(ValueError, response_head, 200, "OK", headers)
                self.assertRaises(ValueError, last_chunk, headers)
            self.assertRaises(ValueError, response_head, 200, text, [])
            self.assertRaises(ValueError, request_head, "GET", text, (1, 1), [])
            self.assertRaises(ValueError, request_head, text, "/", (1, 1), [])

    def test_names(self) -> None:
        """
        Names are tokens.
        """
        for name in ("", "A B", "A:", "Ä", "A:B", "A: b", "A ", "(A)"):
            self.assertRaises(ValueError, response_head, 200, "OK", [("B", "c"), (name, "b")])
            self.assertRaises(ValueError, response_head, 200, "OK", [(name, "b"), ("B", "c")])

    def test_remembered(self) -> None:
        """
        Names that were good once are remembered, but not more of them than there is room for, and no long ones.
        """
        http1_write._GOOD.clear()
        http1_write.response_head(200, "", [("a", "b"), ("c" * 64, "d")])
        self.assertEqual(http1_write._GOOD, {"a": "\r\na: "})
        http1_write._GOOD.update((f"x{number}", "") for number in range(http1_write.REMEMBERED))
        http1_write.response_head(200, "", [("e", "f")])
        self.assertNotIn("e", http1_write._GOOD)
        http1_write._GOOD.clear()

    def test_lines(self) -> None:
        """
        Methods and targets have no blanks, and are not empty.
        """
        for method, target in (("", "/"), ("GET", ""), ("G T", "/"), ("GET", "/ x"), ("GET", "/\x7f"), ("GET", "/\t")):
            self.assertRaises(ValueError, request_head, method, target, (1, 1), [])

    def test_no_bytes(self) -> None:
        """
        Text that stands for no bytes cannot be written.
        """
        self.assertRaises(ValueError, response_head, 200, "OK", [("A", "\ud800")])
