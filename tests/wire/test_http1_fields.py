"""
Fields, by llhttp.

Strategy: what llhttp refuses is pinned here, since it may be another one tomorrow: the library's switches for what is
lenient are off, and must be off by themselves.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.wire import http1_fields
from sniproxy.wire.http1_fields import read_section


class SectionTests(SynchronousTestCase):
    """
    L{read_section}.
    """

    def test_fields(self) -> None:
        """
        Fields are told in order, with names as sent, and without the blanks around values.
        """
        section = read_section(b"Host: a.example\r\nX-b_C.d:\t 1  2 \t\r\nEmpty:\r\nBlank: \t\r\n\r\n")
        self.assertEqual(section.headers, [("Host", "a.example"), ("X-b_C.d", "1  2"), ("Empty", ""), ("Blank", "")])
        self.assertEqual(section.fields, {"host": "a.example", "x-b_c.d": "1  2", "empty": "", "blank": ""})
        self.assertEqual(section.repeated, {})
        self.assertIsNone(section.wrong)

    def test_blanks_at_the_end(self) -> None:
        """
        Blanks behind a value are no part of it, wherever it stands.
        """
        for lines in (b"A: b \r\n\r\n", b"A: b\t\r\n\r\n", b"A: b \r\nC: d\r\n\r\n", b"A: b\t\r\nC: d\r\n\r\n"):
            self.assertEqual(read_section(lines).headers[0], ("A", "b"), lines)

    def test_remembered(self) -> None:
        """
        Names are remembered as they were sent, but not more of them than there is room for, and no long ones.
        """
        names = http1_fields._NAMES
        names.clear()
        for _ in range(2):
            section = read_section(b"Ab: 1\r\nAB: 2\r\n" + b"c" * 64 + b": 3\r\n\r\n")
            self.assertEqual(section.headers, [("Ab", "1"), ("AB", "2"), ("c" * 64, "3")])
            self.assertEqual(section.fields, {"ab": "1, 2", "c" * 64: "3"})
        self.assertEqual(names, {b"Ab": ("Ab", "ab"), b"AB": ("AB", "ab")})
        names.update((b"x%d" % number, ("", "")) for number in range(http1_fields.REMEMBERED))
        self.assertEqual(read_section(b"New: 1\r\n\r\n").fields, {"new": "1"})
        self.assertNotIn(b"New", names)
        names.clear()

    def test_none(self) -> None:
        """
        There may be none.
        """
        section = read_section(b"\r\n")
        self.assertEqual((section.headers, section.fields, section.wrong), ([], {}, None))

    def test_bytes(self) -> None:
        """
        Bytes that are no text can be had again, and those of one value do not run into the next.
        """
        raw = bytes([9, *range(32, 127), *range(128, 256)])
        headers = read_section(b"A: |" + raw + b"|\r\nB: \xc3\r\nC: \xa9\r\n\r\n").headers
        self.assertEqual(
            [value.encode("utf-8", "surrogateescape") for _, value in headers], [b"|" + raw + b"|", b"\xc3", b"\xa9"]
        )

    def test_repeated(self) -> None:
        """
        Repeated fields are joined as nginx's variables have them, and named.
        """
        section = read_section(b"A: 1\r\nCookie: x=1\r\na: 2\r\nB: 3\r\ncookie: y=2\r\nA: 4\r\n\r\n")
        self.assertEqual(section.fields, {"a": "1, 2, 4", "cookie": "x=1; y=2", "b": "3"})
        self.assertEqual(section.repeated, {"a": ["1", "2", "4"], "cookie": ["x=1", "y=2"]})
        self.assertEqual(len(section.headers), 6)

    def test_repeated_and_wrong(self) -> None:
        """
        Which fields are repeated is known even where llhttp stops at the second.
        """
        section = read_section(b"Content-Length: 3\r\nA: b\r\ncontent-length: 3\r\n\r\n")
        self.assertIsNotNone(section.wrong)
        self.assertIn("content-length", section.repeated)
        self.assertNotIn("a", section.repeated)

    def test_another_protocol(self) -> None:
        """
        That another protocol is asked for, or a body announced, is of no importance here.
        """
        for lines in (
            b"Upgrade: x\r\nConnection: upgrade\r\n\r\n",
            b"Content-Length: 5\r\n\r\n",
            b"Transfer-Encoding: chunked\r\n\r\n",
            b"Connection: close\r\n\r\n",
        ):
            section = read_section(lines)
            self.assertIsNone(section.wrong)
            self.assertGreater(len(section.headers), 0)

    def test_strict(self) -> None:
        """
        llhttp refuses what it should, and nothing behind it is told.
        """
        for line in (
            b": b", b"A : b", b"A\t: b", b"A b", b"A\x80: b", b"A(: b", b"A: \x01", b"A: \x7f", b"A: \x0b",
            b"Content-Length: +1", b"Content-Length: 1 1", b"Content-Length:", b"Content-Length: 99999999999999999999",
        ):  # fmt: skip
            section = read_section(b"First: 1\r\nSecond: 2\r\n" + line + b"\r\nLast: 3\r\n\r\n")
            self.assertEqual(section.headers[:1], [("First", "1")], line)
            self.assertNotIn("last", section.fields, line)
            self.assertIsInstance(section.wrong, str, line)

    def test_spoiled(self) -> None:
        """
        Of lines that end or go on in a wrong manner nothing is told.
        """
        for lines in (
            b"A: b\n\r\n", b"A: b\r\n\n", b"A: b\rC: d\r\n\r\n", b"A: b\r\n c\r\n\r\n", b"A: b\r\n\tc\r\n\r\n",
            b" A: b\r\n\r\n", b"A: \0\r\n\r\n", b"A: b\r\r\n\r\n",
        ):  # fmt: skip
            section = read_section(b"B: c\r\n" + lines)
            self.assertEqual((section.headers, section.fields, section.wrong), ([], {}, "spoiled line"), lines)

    def test_another_end(self) -> None:
        """
        Were llhttp to see another end than we, nothing would be believed.
        """
        self.assertRaises(AssertionError, read_section, b"A: b\r\n")
