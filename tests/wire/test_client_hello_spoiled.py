"""
Tests that nothing a client may write makes L{sniproxy.wire.client_hello} raise, or answer by how the bytes were cut.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.wire.client_hello import HelloReader
from tests.support.hellos import (
    LIMIT,
    RECORDED,
    Extensions,
    everything,
    fed,
    hello,
    look,
    message,
    record,
    single,
    with_extensions,
)

PLAIN = RECORDED["openssl-alpn"].stream
SHORT = ("openssl-tls12", "openssl-alpn")


class SpoiledTests(SynchronousTestCase):
    """
    Whatever the bytes, there is a verdict or more is needed.
    """

    def test_every_byte_every_value(self) -> None:
        """
        Each byte of a short hello changed to each value gives an answer, and what it promises can be decoded.
        """
        for name in SHORT:
            stream = bytearray(RECORDED[name].stream)
            for at, good in enumerate(bytes(stream)):
                for value in range(256):
                    stream[at] = value
                    everything(look(bytes(stream)))
                stream[at] = good

    def test_every_byte_some_values(self) -> None:
        """
        Each byte of the other hellos changed to values that lengths and types are sensitive to gives an answer, and
        the same in one piece and in pieces.
        """
        for name, told in RECORDED.items():
            stream = bytearray(told.stream)
            for at in range(len(stream)):
                if at % 5 and 600 < at < len(stream) - 600:  # inside a ticket
                    continue
                good = stream[at]
                for value in {0, 255, good ^ 1, good ^ 0x80} - {good}:
                    stream[at] = value
                    spoiled = bytes(stream)
                    verdict = look(spoiled)
                    if len(stream) < 600:
                        reader = HelloReader(LIMIT)
                        for start in range(0, len(spoiled), 100):
                            reader.feed(spoiled[start : start + 100])
                        self.assertEqual(reader.feed(b""), verdict, (name, at, value))
                stream[at] = good

    def test_every_byte_left_out_or_doubled(self) -> None:
        """
        A byte less or more gives an answer.
        """
        for name in SHORT:
            stream = RECORDED[name].stream
            for at in range(len(stream)):
                everything(look(stream[:at] + stream[at + 1 :]))
                everything(look(stream[:at] + stream[at : at + 1] + stream[at:]))

    @given(st.binary(max_size=300), st.integers(1, 300), st.integers(1, 300))
    @settings(derandomize=True, deadline=None, database=None, max_examples=300)
    def test_any_bytes(self, data: bytes, cut: int, limit: int) -> None:
        """
        Any bytes, as a stream, as a record and as a body, get the same answer in one piece and in two.
        """
        for stream in (data, record(data), record(message(data)), record(message(PLAIN[9:52] + data))):
            found = look(stream, limit)
            everything(found)
            reader = HelloReader(limit)
            reader.look(stream[:cut])
            self.assertEqual(reader.look(stream), found)
            self.assertEqual(fed(single(stream), limit), found)

    @given(st.lists(st.tuples(st.sampled_from([0, 10, 13, 16, 43, 0xFE0D, 7]), st.binary(max_size=12)), max_size=4))
    @settings(derandomize=True, deadline=None, database=None, max_examples=300)
    def test_any_extensions(self, extensions: Extensions) -> None:
        """
        Extensions with any content are read or refused, and what is read can be decoded.
        """
        self.assertIsNotNone(everything(look(with_extensions(hello(), lambda _: extensions))))
