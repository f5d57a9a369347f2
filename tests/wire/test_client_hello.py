"""
Tests for L{sniproxy.wire.client_hello}: how streams are cut, and what is not a hello.

Spoiled bytes: C{test_client_hello_spoiled.py}; our reading against OpenSSL's: C{test_client_hello_openssl.py}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.wire.client_hello import ClientHello, HelloReader, Malformed, NotTLS, TooLarge, Verdict
from tests.support.hellos import (
    LIMIT,
    RECORDED,
    Extensions,
    appended,
    everything,
    fed,
    in_records,
    joined,
    look,
    message,
    payload,
    record,
    single,
    sized,
    split,
    with_extensions,
)

PLAIN = RECORDED["openssl-alpn"].stream


class CutTests(SynchronousTestCase):
    """
    Where the network and the client cut the bytes changes nothing.
    """

    def test_byte_by_byte(self) -> None:
        """
        More is needed up to the last byte, whether the bytes are peeked at or consumed; then the verdict stays.
        """
        for name, told in RECORDED.items():
            with self.subTest(name):
                whole = look(told.stream)
                peeking, eating = HelloReader(LIMIT), HelloReader(LIMIT)
                for end in range(len(told.stream)):
                    self.assertIsNone(peeking.look(told.stream[:end]))
                    self.assertIsNone(eating.feed(told.stream[end - 1 : end] if end else b""))
                self.assertEqual(peeking.look(told.stream), whole)
                self.assertEqual(eating.feed(told.stream[-1:]), whole)
                self.assertIs(peeking.look(told.stream + b"more"), peeking.look(told.stream))
                self.assertIs(eating.feed(b"more"), eating.feed(b""))

    def test_every_cut_in_two(self) -> None:
        """
        Two pieces are one, wherever the cut is; so are a look and a feed.
        """
        for name, told in RECORDED.items():
            if len(told.stream) > 2000:
                continue
            whole = look(told.stream)
            for cut in range(len(told.stream)):
                reader = HelloReader(LIMIT)
                self.assertIsNone(reader.look(told.stream[:cut]), name)
                self.assertEqual(reader.look(told.stream), whole, name)
                reader = HelloReader(LIMIT)
                reader.look(told.stream[:cut])
                self.assertEqual(reader.feed(told.stream[cut:]), whole, name)

    def test_every_truncation(self) -> None:
        """
        The beginning of a hello needs more and is nothing else.
        """
        for name, told in RECORDED.items():
            for end in range(0, len(told.stream), 1 + len(told.stream) // 3000):
                self.assertIsNone(look(told.stream[:end]), name)

    def test_records_of_any_size(self) -> None:
        """
        A hello in small records says the same, and its length counts their headers.
        """
        for name, told in RECORDED.items():
            for size in (1, 2, 3, 4, 5, 7, 100, 1000):
                with self.subTest(name, size=size):
                    stream = in_records(told.stream, size)
                    found = look(stream, 2**20)
                    assert isinstance(found, ClientHello), found
                    self.assertEqual(everything(found), everything(look(told.stream)))
                    self.assertEqual(found.length, len(stream))

    def test_small_records_byte_by_byte(self) -> None:
        """
        Small records may themselves arrive in small pieces.
        """
        for size in (1, 3, 50):
            stream = in_records(PLAIN, size)
            self.assertEqual(fed(single(stream)), look(stream))

    def test_glued_behind(self) -> None:
        """
        A ChangeCipherSpec, early data, further records or garbage behind the hello are not looked at.
        """
        for stream in (
            PLAIN + record(b"\1", 20) + record(b"early data" * 500, 23),
            PLAIN + PLAIN,
            PLAIN + b"\0\xff" * 50_000,
        ):
            self.assertEqual(look(stream), look(PLAIN))
            self.assertEqual(fed(single(stream[: len(PLAIN) + 50])), look(PLAIN))

    def test_glued_within(self) -> None:
        """
        Bytes behind the hello in its own record are waited for, counted, and not looked at.
        """
        stream = record(payload(PLAIN) + b"\x10\0\0\0")
        self.assertIsNone(look(stream[:-1]))
        found = look(stream)
        assert isinstance(found, ClientHello), found
        self.assertEqual(everything(found), everything(look(PLAIN)))
        self.assertEqual(found.length, len(stream))
        self.assertEqual(fed(single(stream)), found)

    def test_empty_records(self) -> None:
        """
        Up to 32 records in a row may be empty, in front and in the middle, as often as one likes.
        """
        bytewise = [record(payload(PLAIN)[at : at + 1]) for at in range(len(payload(PLAIN)))]
        for stream in (
            record(b"") * 32 + PLAIN,
            (record(b"") * 32).join(bytewise),
        ):
            self.assertEqual(everything(look(stream)), everything(look(PLAIN)))
            self.assertEqual(fed(single(stream)), look(stream))
        refused = Malformed("record length", "more than 32 empty records in a row")
        self.assertEqual(look(record(b"") * 33 + PLAIN), refused)
        self.assertEqual(look(bytewise[0] + record(b"") * 33 + PLAIN), refused)

    def test_minor_version(self) -> None:
        """
        The minor version of a record means nothing.
        """
        for version in (0x0300, 0x0303, 0x0304, 0x03FF):
            self.assertEqual(look(record(payload(PLAIN), version=version)), look(PLAIN))


class StreamTests(SynchronousTestCase):
    """
    What is not TLS, what breaks off being TLS, and what is too much.
    """

    def verdict(self, stream: bytes, limit: int = LIMIT) -> Verdict | None:
        """
        The verdict, the same however the stream is cut.
        """
        found = look(stream, limit)
        self.assertEqual(fed(single(stream), limit), found)
        return found

    def test_not_tls(self) -> None:
        """
        The first byte tells, and it is enough.
        """
        for stream in (
            b"SSH-2.0-x\r\n",
            b"GET / HTTP/1.1\r\n",
            b"\0",
            b"\x15\x03\x01",
            b"PROXY ",
            record(payload(PLAIN), 23),
        ):
            expected = NotTLS(f"first byte 0x{stream[0]:02x} is not a handshake record")
            self.assertEqual(self.verdict(stream), expected)
            self.assertEqual(look(stream[:1]), expected)

    def test_other_major_version(self) -> None:
        """
        A record of another major version is not TLS.
        """
        self.assertEqual(self.verdict(b"\x16\x02"), NotTLS("record version 2"))
        self.assertEqual(self.verdict(record(payload(PLAIN), version=0x0400)), NotTLS("record version 4"))

    def test_version_two_hello(self) -> None:
        """
        A hello in the form of SSL 2 is not TLS to us, and the version it asks for is told.
        """
        for version in (0x0002, 0x0300, 0x0301, 0x0303):
            body = b"\1" + version.to_bytes(2, "big") + b"\0\3\0\0\0\x10" + bytes(19)
            stream = bytes([0x80, len(body)]) + body
            self.assertEqual(self.verdict(stream), NotTLS("first byte 0x80 is not a handshake record", version))
            self.assertIsNone(look(stream[:4]))

    def test_not_version_two(self) -> None:
        """
        What begins as such a hello and goes on otherwise is known at its third or fourth byte.
        """
        expected = NotTLS("first byte 0x80 is not a handshake record")
        self.assertIsNone(look(b"\x80\x10"))
        self.assertEqual(self.verdict(b"\x80\x10\x02"), expected)
        self.assertIsNone(look(b"\x80\x10\x01"))
        self.assertEqual(self.verdict(b"\x80\x10\x01\x02"), expected)

    def test_other_record_within(self) -> None:
        """
        A record of another kind, or of another major version, in the middle of the hello is malformed.
        """
        said = payload(PLAIN)
        for kind in (20, 21, 23, 24, 0):
            stream = record(said[:50]) + record(b"\1\0", kind) + record(said[50:])
            self.assertEqual(self.verdict(stream), Malformed("record type", f"{kind} within the ClientHello"))
        stream = record(said[:50]) + record(said[50:], version=0x0203)
        self.assertEqual(self.verdict(stream), Malformed("record version", "2 within the ClientHello"))

    def test_record_too_long(self) -> None:
        """
        A record bears 16384 bytes and not one more.
        """
        for size, good in ((2**14, True), (2**14 + 1, False)):
            empty = len(payload(appended(PLAIN, 21, b"")))
            _, extensions = split(PLAIN)
            head, _ = split(PLAIN)
            padded = message(head + sized(2, joined([*extensions, (21, bytes(size - empty))])))
            self.assertEqual(len(padded), size)
            found = self.verdict(record(padded))
            if good:
                self.assertIsInstance(found, ClientHello)
            else:
                self.assertEqual(found, Malformed("record length", "16385 bytes"))

    def test_other_handshake(self) -> None:
        """
        Another handshake message is malformed, and its first byte is enough.
        """
        expected = Malformed("handshake type", "2 is not a ClientHello")
        self.assertEqual(self.verdict(record(message(payload(PLAIN)[4:], 2))), expected)
        self.assertEqual(look(record(b"\2")), expected)

    def test_too_large_is_told_at_once(self) -> None:
        """
        A message whose length alone is above the limit is not waited for.
        """
        self.assertEqual(self.verdict(PLAIN[:9], len(PLAIN) - 1), TooLarge(len(PLAIN) - 1))
        self.assertIsNone(self.verdict(PLAIN[:8], len(PLAIN) - 1))
        self.assertEqual(look(b"\x16\x03\x01\x40\x00\x01\xff\xff\xff"), TooLarge(LIMIT))

    def test_exactly_the_limit(self) -> None:
        """
        A hello may take the limit whole.
        """
        self.assertIsInstance(self.verdict(PLAIN, len(PLAIN)), ClientHello)
        self.assertIsInstance(self.verdict(in_records(PLAIN, 10), len(in_records(PLAIN, 10))), ClientHello)

    def test_limit_counts_headers(self) -> None:
        """
        Record headers count, and what is behind the limit is not looked at, though it is there.
        """
        for stream in (PLAIN, in_records(PLAIN, 10), record(payload(PLAIN) + b"\x10")):
            self.assertEqual(self.verdict(stream, len(stream) - 1), TooLarge(len(stream) - 1))
        self.assertEqual(look(PLAIN, 7), TooLarge(7))
        self.assertEqual(look(RECORDED["ticket-two-records"].stream, 16384), TooLarge(16384))

    def test_name_last_in_large_hello(self) -> None:
        """
        A name behind 16 KiB of other extensions is found.
        """

        def padded(extensions: Extensions) -> Extensions:
            name = [one for one in extensions if one[0] == 0]
            rest = [one for one in extensions if one[0] != 0]
            return [*rest, (21, bytes(16 * 1024)), *name]

        stream = with_extensions(PLAIN, padded)
        self.assertGreater(len(stream), 2**14)
        found = self.verdict(stream)
        assert isinstance(found, ClientHello), found
        self.assertEqual(found.server_name, "openssl.example")
