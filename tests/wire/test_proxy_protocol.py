"""
PROXY headers: whole, in pieces, spoiled, and written.

Strategy: Twisted's parser is a second opinion on what we write; HAProxy and nginx are asked in
tests/interop/test_proxy_protocol.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.protocols.haproxy import _v1parser, _v2parser
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.addresses import Address
from sniproxy.wire.cursor import WireError
from sniproxy.wire.proxy_protocol import (
    ALPN,
    AUTHORITY,
    CLIENT_CERT_CONN,
    CLIENT_SSL,
    CRC32C,
    LIMIT,
    LINE_LIMIT,
    NETNS,
    NOOP,
    SIGNATURE,
    SSL,
    SSL_CN,
    SSL_VERSION,
    UNIQUE_ID,
    Broken,
    Endpoint,
    ProxyHeader,
    SslTlv,
    broken,
    crc32c,
    find_tlv,
    read_header,
    read_tlvs,
    write_header,
    write_line,
    write_tlv,
)

CLIENT = Address("inet", "192.0.2.77", 40000)
SERVER = Address("inet", "192.0.2.1", 443)
CLIENT6 = Address("inet6", "2001:db8::1", 1111)
SERVER6 = Address("inet6", "::1", 2222)
INET = bytes((192, 0, 2, 77, 192, 0, 2, 1)) + b"\x9c\x40\x01\xbb"
ENDS = Endpoint("192.0.2.77", 40000), Endpoint("192.0.2.1", 443)
LINE = b"PROXY TCP4 192.0.2.77 192.0.2.1 40000 443\r\n"
TLVS = (
    (ALPN, b"h2"),
    (AUTHORITY, b"a.example.com"),
    (SSL, SslTlv(CLIENT_SSL, 0, write_tlv(SSL_VERSION, b"TLSv1.3") + write_tlv(SSL_CN, b"client")).write()),
    (0xE7, b""),
)
RICH = write_header(CLIENT, SERVER, TLVS)


def binary(body: bytes, command: int = 0x21, kind: int = 0x11) -> bytes:
    """
    A header of version 2.
    """
    return SIGNATURE + bytes((command, kind)) + len(body).to_bytes(2, "big") + body


SAMPLES = (
    LINE,
    b"PROXY TCP6 2001:DB8::1 ::1 1 65535\r\n",
    b"PROXY UNKNOWN\r\n",
    b"PROXY UNKNOWN ffff:f...f:ffff x\r\n",
    binary(INET),
    binary(bytes(range(36)), kind=0x21),
    binary(b"", command=0x20, kind=0),
    RICH,
)


def verdicts(data: bytes) -> Iterator[ProxyHeader | Broken | None]:
    """
    What is said after each byte.
    """
    return (read_header(data[:size]) for size in range(1, len(data) + 1))


class LineTests(SynchronousTestCase):
    """
    Version 1.
    """

    def test_addresses(self) -> None:
        """
        Hosts are kept as they came, as nginx keeps them; the rest is the client's.
        """
        for text, source, destination in (
            (b"TCP4 192.0.2.77 192.0.2.1 40000 443", *ENDS),
            (b"TCP6 2001:DB8::1 ::1 1 65535", Endpoint("2001:DB8::1", 1), Endpoint("::1", 65535)),
            (b"TCP4 ::1 1.2.3.4 0 0", Endpoint("::1", 0), Endpoint("1.2.3.4", 0)),
            (b"TCP4 999.1  01 00002", Endpoint("999.1", 1), Endpoint("", 2)),
        ):
            line = b"PROXY " + text + b"\r\n"
            self.assertEqual(read_header(line + b"\r\nx 1 2"), ProxyHeader(len(line), source, destination))

    def test_unknown(self) -> None:
        """
        What follows UNKNOWN is of no concern, up to the end of the line.
        """
        for text in (b"", b" ", b" a b c d e f g", b"x", b" \n \r"):
            line = b"PROXY UNKNOWN" + text + b"\r\n"
            self.assertEqual(read_header(line + b"abc"), ProxyHeader(len(line)))

    def test_broken(self) -> None:
        """
        What cannot become a header is broken as soon as that is known.
        """
        for text in (
            b"G",
            b"PROXY\t",
            b"PROXYX",
            b"PROXY T4",
            b"PROXY TCP5",
            b"PROXY TCP4\r",
            b"PROXY TCP44",
            b"PROXY UNKNOWM",
            b"PROXY TCP4 1.2.3.4,",
            b"PROXY TCP4 1.2.3.4 g",
            b"PROXY TCP4 1.2.3.4 5.6.7.8\r",
            b"PROXY TCP4 1.2.3.4 5.6.7.8 1x",
            b"PROXY TCP4 1.2.3.4 5.6.7.8 -",
            b"PROXY TCP4 1.2.3.4 5.6.7.8  ",
            b"PROXY TCP4 1.2.3.4 5.6.7.8 65536 ",
            b"PROXY TCP4 1.2.3.4 5.6.7.8 1\r",
            b"PROXY TCP4 1.2.3.4 5.6.7.8 1 \r",
            b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2 ",
            b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n",
            b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\rx",
            b"PROXY TCP4 1.2.3.4 5.6.7.8 1 65536\r\n",
        ):
            *before, last = verdicts(text)
            self.assertEqual(before, [None] * (len(text) - 1), text)
            self.assertIsInstance(last, Broken, text)

    def test_longest(self) -> None:
        """
        A line has 107 bytes at most.
        """
        room = LINE_LIMIT - len(b"PROXY UNKNOWN\r\n")
        line = b"PROXY UNKNOWN" + b"x" * room + b"\r\n"
        self.assertEqual(read_header(line), ProxyHeader(LINE_LIMIT))
        self.assertIsNone(read_header(line[:-1]))
        self.assertEqual(
            read_header(b"PROXY UNKNOWN" + b"x" * (room + 2)), broken(b"PROXY UNKNOWN" + b"x" * (room + 2))
        )
        long = b"PROXY TCP4 " + b"1" * 95
        self.assertIsNone(read_header(long))
        self.assertIsInstance(read_header(long + b"1"), Broken)

    def test_words(self) -> None:
        """
        The log gets the first line of what is no header.
        """
        self.assertEqual(read_header(b"GET / HTTP/1.0\r\nHost: a"), Broken('broken header: "GET / HTTP/1.0"'))
        self.assertEqual(broken(b""), Broken('broken header: ""'))
        self.assertEqual(broken(b"\xff\n"), Broken('broken header: "\udcff"'))


class BinaryTests(SynchronousTestCase):
    """
    Version 2.
    """

    def test_addresses(self) -> None:
        """
        Both families of the internet are read, and what follows them is kept.
        """
        self.assertEqual(read_header(binary(INET) + b"abc"), ProxyHeader(28, *ENDS))
        self.assertEqual(read_header(binary(INET + b"\xe0\0\1x")), ProxyHeader(32, *ENDS, b"\xe0\0\1x"))
        mapped = bytes(10) + b"\xff\xff\1\2\3\4" + bytes(14) + b"\x05\x02" + b"\0\1\0\0"
        self.assertEqual(
            read_header(binary(mapped, kind=0x21)),
            ProxyHeader(52, Endpoint("::ffff:1.2.3.4", 1), Endpoint("::0.0.5.2", 0)),
        )

    def test_nothing_told(self) -> None:
        """
        LOCAL, other commands, families and transports are skipped, as nginx does it.
        """
        for command, kind in (
            (0x20, 0),
            (0x20, 0x11),
            (0x22, 0x11),
            (0x21, 0x12),
            (0x21, 0x31),
            (0x21, 0),
            (0x21, 0x41),
        ):
            self.assertEqual(read_header(binary(INET, command, kind) + b"x"), ProxyHeader(28), (command, kind))
        self.assertEqual(read_header(binary(b"", 0x20, 0)), ProxyHeader(16))

    def test_broken(self) -> None:
        """
        Another version, a length beyond the limit, and addresses that are not all there are broken.
        """
        for data, words in (
            (SIGNATURE + b"\x31", "unknown PROXY protocol version: 3"),
            (SIGNATURE + b"\x01", "unknown PROXY protocol version: 0"),
            (SIGNATURE + b"\x21\x11" + (LIMIT - 15).to_bytes(2, "big"), "header is too large"),
            (binary(INET[:-1]), "header is too short for its addresses"),
            (binary(INET, kind=0x21), "header is too short for its addresses"),
        ):
            *before, last = verdicts(data)
            self.assertEqual(before, [None] * (len(data) - 1))
            self.assertEqual(last, Broken(words))
        self.assertEqual(read_header(b"\r\n\r\nX"), Broken('broken header: ""'))

    def test_largest(self) -> None:
        """
        A header may fill the limit.
        """
        data = binary(INET + bytes((NOOP, *(LIMIT - 31).to_bytes(2, "big"))) + bytes(LIMIT - 31))
        self.assertEqual(len(data), LIMIT)
        found = read_header(data)
        assert isinstance(found, ProxyHeader)
        self.assertEqual((found.size, len(found.tlvs)), (LIMIT, LIMIT - 28))

    def test_checksum(self) -> None:
        """
        A checksum must be right; none need be there, and behind broken TLVs none is looked for.
        """
        found = read_header(RICH)
        assert isinstance(found, ProxyHeader)
        self.assertEqual((found.source, found.destination), ENDS)
        for at in range(16, len(RICH)):
            spoiled = RICH[:at] + bytes((RICH[at] ^ 1,)) + RICH[at + 1 :]
            verdict = read_header(spoiled)
            if isinstance(verdict, ProxyHeader):
                # the type or a length was hit, so that there is no checksum to be found
                self.assertNotIn(CRC32C, kinds(verdict.tlvs))
            else:
                self.assertEqual(verdict, Broken("wrong checksum in PROXY protocol header"))
        self.assertIsInstance(read_header(binary(INET + b"\3\0\3abc")), Broken)
        self.assertIsInstance(read_header(binary(INET + b"\3\0\x04abc")), ProxyHeader)
        self.assertIsInstance(read_header(binary(INET + b"\1")), ProxyHeader)


def kinds(data: bytes) -> list[int]:
    """
    The types of TLVs, as far as they can be read.
    """
    found = []
    try:
        for kind, _ in read_tlvs(data):
            found.append(kind)
    except WireError:
        pass
    return found


class TlvTests(SynchronousTestCase):
    """
    What follows the addresses.
    """

    def test_found(self) -> None:
        """
        The first of a type counts; what comes behind it is not looked at.
        """
        data = write_tlv(UNIQUE_ID, b"1") + write_tlv(NETNS, b"") + write_tlv(UNIQUE_ID, b"2") + b"\xff"
        self.assertEqual([find_tlv(data, kind) for kind in (UNIQUE_ID, NETNS)], [b"1", b""])
        self.assertRaises(WireError, find_tlv, data, ALPN)
        self.assertIsNone(find_tlv(data[:-1], ALPN))
        self.assertIsNone(find_tlv(b"", ALPN))

    def test_cut(self) -> None:
        """
        A TLV that is cut anywhere is an error.
        """
        data = write_tlv(ALPN, b"h2")
        for size in range(1, len(data)):
            self.assertRaises(WireError, find_tlv, data[:size], ALPN)

    def test_ssl(self) -> None:
        """
        The one about TLS has two numbers before those inside it.
        """
        value = SslTlv(CLIENT_SSL | CLIENT_CERT_CONN, 0x01020304, write_tlv(SSL_CN, b"x"))
        self.assertEqual(value.write(), b"\x03\1\2\3\4\x22\0\1x")
        self.assertEqual(SslTlv.read(value.write()), value)
        for size in range(5):
            self.assertRaises(WireError, SslTlv.read, bytes(size))


class HostileTests(SynchronousTestCase):
    """
    Whatever comes, there is a verdict.
    """

    def test_every_cut(self) -> None:
        """
        Before its last byte a header needs more; with it, it is there, and what follows changes nothing.
        """
        for sample in SAMPLES:
            *before, last = verdicts(sample)
            self.assertEqual(before, [None] * (len(sample) - 1))
            self.assertIsInstance(last, ProxyHeader)
            for rest in (b"x", b"\r\n", bytes(5000)):
                self.assertEqual(read_header(sample + rest), last)

    def test_every_byte(self) -> None:
        """
        With any one byte changed there is a verdict after each byte, and one that was made stays.
        """
        for sample in SAMPLES:
            for at in range(len(sample)):
                for value in {0, 0x0A, 0x0D, 0x20, 0x30, 0x7F, 0x80, 0xFF, sample[at] ^ 1, sample[at] ^ 0x20}:
                    data = sample[:at] + bytes((value,)) + sample[at + 1 :] + b"\r\n"
                    made = [verdict for verdict in verdicts(data) if verdict is not None]
                    for verdict in made:
                        self.assertIs(type(verdict), type(made[0]))
                        if isinstance(verdict, ProxyHeader):
                            self.assertEqual(verdict, made[0])
                            self.assertTrue(0 < verdict.size <= len(data))

    @settings(derandomize=True, deadline=None, database=None, max_examples=300)
    @given(
        st.sampled_from((b"", b"PROXY ", b"PROXY TCP4 ", SIGNATURE, SIGNATURE + b"\x21\x11")), st.binary(max_size=200)
    )
    def test_anything(self, start: bytes, rest: bytes) -> None:
        """
        Any bytes have a verdict, and need no more than the limit.
        """
        data = start + rest or b"x"
        read_header(data)
        self.assertIsNotNone(read_header(data + bytes(LIMIT)))


class WritingTests(SynchronousTestCase):
    """
    What we say.
    """

    def test_line(self) -> None:
        """
        Version 1 is written as nginx writes it, whose family is the client's.
        """
        unix = Address("unix", "/run/x")
        self.assertEqual(write_line(CLIENT, SERVER), LINE)
        self.assertEqual(write_line(CLIENT6, SERVER6), b"PROXY TCP6 2001:db8::1 ::1 1111 2222\r\n")
        self.assertEqual(write_line(CLIENT6, SERVER), b"PROXY TCP6 2001:db8::1 192.0.2.1 1111 443\r\n")
        self.assertEqual(write_line(unix, unix), b"PROXY UNKNOWN\r\n")
        self.assertEqual(write_line(CLIENT, unix), b"PROXY TCP4 192.0.2.77 unix:/run/x 40000 0\r\n")
        parsed: Any = _v1parser.V1Parser.parse(LINE[:-2])
        self.assertEqual((parsed.source.host, parsed.destination.port), ("192.0.2.77", 443))

    def test_header(self) -> None:
        """
        Version 2 has addresses, TLVs and a checksum, and others read it too.
        """
        self.assertEqual(RICH[:28], binary(INET)[:14] + (len(RICH) - 16).to_bytes(2, "big") + INET)
        found = read_header(RICH)
        assert isinstance(found, ProxyHeader)
        self.assertEqual(found.size, len(RICH))
        self.assertEqual(list(read_tlvs(found.tlvs))[:-1], list(TLVS))
        self.assertEqual(kinds(found.tlvs)[-1], CRC32C)
        parsed: Any = _v2parser.V2Parser.parse(write_header(CLIENT6, SERVER6))
        self.assertEqual((parsed.source.host, parsed.source.port), ("2001:db8:0:0:0:0:0:1", 1111))

    def test_families(self) -> None:
        """
        Two families make it IPv6, unless both stand for IPv4; with a unix socket it is LOCAL.
        """
        mapped = Address("inet6", "::ffff:192.0.2.77", 40000)
        for source, destination, kind, ends in (
            (CLIENT, SERVER, 0x11, ("192.0.2.77", "192.0.2.1")),
            (mapped, SERVER, 0x11, ("192.0.2.77", "192.0.2.1")),
            (CLIENT6, SERVER, 0x21, ("2001:db8::1", "::ffff:192.0.2.1")),
            (CLIENT, SERVER6, 0x21, ("::ffff:192.0.2.77", "::1")),
        ):
            data = write_header(source, destination)
            found = read_header(data)
            assert isinstance(found, ProxyHeader) and found.source is not None and found.destination is not None
            self.assertEqual((data[13], found.source.host, found.destination.host), (kind, *ends))
        for source, destination in ((Address("unix", ""), SERVER), (CLIENT, Address("unix", "/x"))):
            data = write_header(source, destination, [(ALPN, b"h2")])
            self.assertEqual(data[12:14], b"\x20\x00")
            self.assertEqual(read_header(data), ProxyHeader(len(data)))

    def test_datagrams(self) -> None:
        """
        Who exchange datagrams are told from those who have a connection by four bits, and the checksum.
        """
        for source, destination, kind in ((CLIENT, SERVER, 0x12), (CLIENT6, SERVER6, 0x22)):
            data, stream = write_header(source, destination, datagrams=True), write_header(source, destination)
            self.assertEqual((data[13], data[:13] + data[14:-4]), (kind, stream[:13] + stream[14:-4]))
            self.assertEqual(crc32c(data[:-4] + bytes(4)), int.from_bytes(data[-4:], "big"))
        self.assertEqual(write_header(Address("unix", ""), SERVER, datagrams=True)[12:14], b"\x20\x00")

    def test_checksum(self) -> None:
        """
        The checksum is that of the RFC.
        """
        self.assertEqual(crc32c(b"123456789"), 0xE3069283)
        self.assertEqual(crc32c(bytes(32)), 0x8A9136AA)
        self.assertEqual(crc32c(bytes(range(32))), 0x46DD794E)
