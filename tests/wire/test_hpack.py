"""
Tests for L{sniproxy.wire.hpack}, with the decoder of the hpack library at the other end.
"""

from __future__ import annotations

from hpack import Decoder
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.wire.hpack import LONG, NO_TABLE, fields_block, number, status_field

NAMES = st.from_regex(r"[!#$%&'*+.^_`|~0-9a-z-]+", fullmatch=True)
VALUES = st.text(st.characters(exclude_characters="\0\r\n", exclude_categories=["Cs"]), max_size=2 * LONG)


def decoded(block: bytes) -> list[tuple[bytes, bytes]]:
    """
    What a client makes of a block.
    """
    return [(bytes(name), bytes(value)) for name, value in Decoder().decode(block, raw=True)]


class NumberTests(SynchronousTestCase):
    """
    Integers.
    """

    def test_examples(self) -> None:
        """
        The examples of RFC 7541 (C.1) are written as they are there.
        """
        self.assertEqual(number(10, 5), b"\x0a")
        self.assertEqual(number(1337, 5), b"\x1f\x9a\x0a")
        self.assertEqual(number(42, 8), b"\x2a")

    def test_other_bits(self) -> None:
        """
        What shares the first byte stays.
        """
        self.assertEqual(number(62, 6, 0x80), b"\xbe")
        self.assertEqual(number(63, 6, 0x80), b"\xbf\x00")


class BlockTests(SynchronousTestCase):
    """
    Fields.
    """

    def test_statuses(self) -> None:
        """
        A status is an index where there is one, else three digits.
        """
        self.assertEqual(status_field(200), b"\x88")
        for status in (100, 200, 204, 206, 301, 304, 400, 404, 499, 500, 502):
            self.assertEqual(decoded(status_field(status)), [(b":status", str(status).encode())])

    def test_fields(self) -> None:
        """
        Known names, others and long values all arrive, in lower case and in order.
        """
        pairs = [("Server", "a"), ("X-Other", "\udcff\u00e9"), ("Set-Cookie", "b" * 1000), ("Empty", "")]
        wanted = [(b"server", b"a"), (b"x-other", b"\xff\xc3\xa9"), (b"set-cookie", b"b" * 1000), (b"empty", b"")]
        self.assertEqual(decoded(fields_block(pairs)), wanted)

    def test_no_table(self) -> None:
        """
        The table that a client keeps for us stays empty, whatever is said.
        """
        decoder = Decoder()
        decoder.decode(NO_TABLE + fields_block([("Server", "a"), ("X", "y")]))
        self.assertEqual((decoder.header_table_size, len(decoder.header_table.dynamic_entries)), (0, 0))

    def test_spoiled(self) -> None:
        """
        What would end a line of HTTP/1, and a name that is none, is refused, be it said once or twice.
        """
        for pair in (
            ("X", "a\r\nb"),
            ("X", "a\nb"),
            ("X", "\0"),
            ("", "a"),
            ("a b", "c"),
            (":status", "200"),
            ("é", ""),
        ):
            for _ in range(2):
                self.assertRaises(ValueError, fields_block, [pair])

    @settings(derandomize=True, deadline=None, database=None)
    @given(st.lists(st.tuples(NAMES, VALUES)))
    def test_any(self, pairs: list[tuple[str, str]]) -> None:
        """
        Whatever may be said arrives.
        """
        block = fields_block(pairs)
        decoder = Decoder(max_header_list_size=1 << 24)
        self.assertEqual([tuple(pair) for pair in decoder.decode(block)], pairs)
