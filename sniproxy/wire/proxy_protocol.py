"""
The PROXY protocol, versions 1 and 2: who the client of a proxy before us is, and how we tell that to one behind us
(haproxy.org, proxy-protocol.txt).

Strategy: C{read_header} is a function of all bytes so far. It has a verdict as early as there can be one, whatever
the cuts: a byte that no header could have there is the end of it, and so is one more than a header may have. TLVs are
kept as they came and looked into when asked about, as nginx does it; only a checksum is verified at once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from sniproxy.addresses import Address, text6
from sniproxy.wire.cursor import Cursor, WireError

SIGNATURE: Final = b"\r\n\r\n\0\r\nQUIT\n"

LINE_LIMIT: Final = 107
"""Bytes of a header of version 1, with its end of line."""

LIMIT: Final = 4096
"""Bytes of a header of version 2 that we take: nginx's NGX_PROXY_PROTOCOL_MAX_HEADER."""

ALPN: Final = 0x01
AUTHORITY: Final = 0x02
CRC32C: Final = 0x03
NOOP: Final = 0x04
UNIQUE_ID: Final = 0x05
SSL: Final = 0x20
SSL_VERSION: Final = 0x21
SSL_CN: Final = 0x22
SSL_CIPHER: Final = 0x23
SSL_SIG_ALG: Final = 0x24
SSL_KEY_ALG: Final = 0x25
NETNS: Final = 0x30

CLIENT_SSL: Final = 0x01
CLIENT_CERT_CONN: Final = 0x02
CLIENT_CERT_SESS: Final = 0x04

_LOCAL: Final = 0x20
_PROXY: Final = 0x21
_STREAM: Final = 0x1
_DGRAM: Final = 0x2
_INET: Final = 0x1
_INET6: Final = 0x2

_WORDS: Final = (b"TCP4", b"TCP6", b"UNKNOWN")
_HOST: Final = re.compile(rb"[0-9A-Fa-f.:]*\Z")
_PORT: Final = re.compile(rb"[0-9]*\Z")
_END_OF_LINE: Final = re.compile(rb"[\r\n]")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """
    One end of the connection that a header tells of.

    @ivar host: version 1 has any text of digits, letters, dots and colons there; it is kept as it came.
    @ivar port: 0 to 65535.
    """

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """
    A whole header.

    @ivar size: its bytes: what follows them is the client's.
    @ivar source: the client; None where the header tells nothing: UNKNOWN, LOCAL, other families than the
        internet's.
    @ivar destination: what the client connected to; None together with C{source}.
    @ivar tlvs: what follows the addresses in version 2, not looked into.
    """

    size: int
    source: Endpoint | None = None
    destination: Endpoint | None = None
    tlvs: bytes = b""


@dataclass(frozen=True, slots=True)
class Broken:
    """
    These bytes are no header, and will not become one.

    @ivar words: why, as nginx says it.
    """

    words: str


def broken(prefix: bytes) -> Broken:
    """
    What is said of bytes that are no header: their first line.
    """
    line = _END_OF_LINE.split(prefix, maxsplit=1)[0]
    return Broken(f'broken header: "{line.decode("utf-8", "surrogateescape")}"')


def read_header(prefix: bytes) -> ProxyHeader | Broken | None:
    """
    @param prefix: all bytes so far, of a stream that has to begin with a header; at least one.
    @return: None where more is needed.
    """
    if prefix.startswith(SIGNATURE):
        return _binary(prefix)
    if SIGNATURE.startswith(prefix):
        return None
    return _line(prefix)


# Version 1


def _line(prefix: bytes) -> ProxyHeader | Broken | None:
    data = prefix[:LINE_LIMIT]
    if data.startswith(b"PROXY UNKNOWN"):
        end = data.find(b"\r\n")
        if end >= 0:
            return ProxyHeader(end + 2)
        return broken(prefix) if len(data) == LINE_LIMIT else None
    words = data.split(b" ", 5)
    if not _begun(words):
        return broken(prefix)
    if len(words) == 6:
        port, end_of_line, _ = words[5].partition(b"\r\n")
        if end_of_line:
            ports = _number(words[4]), _number(port)
            if ports[0] is None or ports[1] is None:
                return broken(prefix)
            size = len(data) - len(words[5]) + len(port) + 2
            source, destination = (host.decode("ascii") for host in words[2:4])
            return ProxyHeader(size, Endpoint(source, ports[0]), Endpoint(destination, ports[1]))
    return broken(prefix) if len(data) == LINE_LIMIT else None


def _begun(words: list[bytes]) -> bool:
    """
    Whether a line may begin with these words, of which the last may not be all there.
    """
    last = len(words) - 1
    for place, word in enumerate(words):
        if place == 0:
            fits = b"PROXY" == word if last else b"PROXY".startswith(word)
        elif place == 1:
            fits = word in _WORDS[:2] if last > 1 else any(each.startswith(word) for each in _WORDS)
        elif place < 4:
            fits = _HOST.match(word) is not None
        elif place == 4:
            fits = _PORT.match(word) is not None and (last == 4 or _number(word) is not None)
        else:
            port, end, rest = word.partition(b"\r")
            fits = _PORT.match(port) is not None and rest[:1] in (b"", b"\n") and (not end or bool(port))
        if not fits:
            return False
    return True


def _number(word: bytes) -> int | None:
    """
    A port.
    """
    value = int(word) if word else -1
    return value if 0 <= value <= 65535 else None


# Version 2


def _binary(prefix: bytes) -> ProxyHeader | Broken | None:
    head = prefix[len(SIGNATURE) :]
    if head and head[0] >> 4 != 2:
        return Broken(f"unknown PROXY protocol version: {head[0] >> 4}")
    if len(head) < 4:
        return None
    size = len(SIGNATURE) + 4 + int.from_bytes(head[2:4], "big")
    if size > LIMIT:
        return Broken("header is too large")
    if len(prefix) < size:
        return None
    command, transport, family = head[0], head[1] & 0xF, head[1] >> 4
    if command != _PROXY or transport != _STREAM or family not in (_INET, _INET6):
        return ProxyHeader(size)
    width = 4 if family == _INET else 16
    body = Cursor(prefix, len(SIGNATURE) + 4, size)
    try:
        hosts = [body.take(width, "address") for _ in range(2)]
        ports = [body.number(2, "port") for _ in range(2)]
    except WireError:
        return Broken("header is too short for its addresses")
    tlvs = body.rest()
    if not _intact(prefix[:size], len(tlvs)):
        return Broken("wrong checksum in PROXY protocol header")
    source, destination = (
        Endpoint(str(IPv4Address(host)) if width == 4 else text6(int.from_bytes(host, "big")), port)
        for host, port in zip(hosts, ports, strict=True)
    )
    return ProxyHeader(size, source, destination, tlvs)


def _intact(header: bytes, length: int) -> bool:
    """
    Whether the checksum is right, if there is one.

    @param length: how many bytes of TLVs the header ends with.
    """
    at = len(header) - length
    try:
        for kind, value in read_tlvs(header[at:]):
            at += 3 + len(value)
            if kind == CRC32C:
                blank = header[: at - len(value)] + bytes(len(value)) + header[at:]
                return value == crc32c(blank).to_bytes(4, "big")
    except WireError:
        pass  # said when somebody asks for one of them
    return True


def read_tlvs(data: bytes) -> Iterator[tuple[int, bytes]]:
    """
    The types and values in a row of TLVs.

    @raise WireError: on the way, where one is longer than what is left.
    """
    cursor = Cursor(data)
    while cursor:
        kind = cursor.number(1, "TLV")
        yield kind, cursor.vector(2, "TLV").rest()


def find_tlv(data: bytes, wanted: int) -> bytes | None:
    """
    The value of the first TLV of a type; None where there is none.

    @raise WireError: what comes before it is broken, or its place would.
    """
    return next((value for kind, value in read_tlvs(data) if kind == wanted), None)


@dataclass(frozen=True, slots=True)
class SslTlv:
    """
    The value of a TLV of the type L{SSL}.

    @ivar client: L{CLIENT_SSL} and its like.
    @ivar verify: 0 where the client has shown a certificate that was verified.
    @ivar tlvs: what is inside.
    """

    client: int
    verify: int
    tlvs: bytes = b""

    @classmethod
    def read(cls, value: bytes) -> SslTlv:
        """
        @raise WireError: it is too short.
        """
        cursor = Cursor(value)
        return cls(cursor.number(1, "TLV"), cursor.number(4, "TLV"), cursor.rest())

    def write(self) -> bytes:
        """
        The bytes of the value.
        """
        return self.client.to_bytes(1, "big") + self.verify.to_bytes(4, "big") + self.tlvs


# What we say


def write_line(source: Address, destination: Address) -> bytes:
    """
    A header of version 1, as nginx writes it: the family is the client's, even where the other end has another one.
    """
    if source.family == "unix":
        return b"PROXY UNKNOWN\r\n"
    word = "TCP4" if source.family == "inet" else "TCP6"
    other = f"unix:{destination.host}" if destination.family == "unix" else destination.host
    return f"PROXY {word} {source.host} {other} {source.port} {destination.port}\r\n".encode("utf-8", "surrogateescape")


def write_tlv(kind: int, value: bytes) -> bytes:
    """
    One TLV.

    @param value: at most 65535 bytes.
    """
    return kind.to_bytes(1, "big") + len(value).to_bytes(2, "big") + value


def write_header(
    source: Address, destination: Address, tlvs: Sequence[tuple[int, bytes]] = (), *, datagrams: bool = False
) -> bytes:
    """
    A header of version 2 with a checksum. Without two addresses of the internet it is a LOCAL one; where one of them is
    IPv6 both are written so, unless they stand for IPv4.

    @param tlvs: types and values, in this order; their sum must fit in 65535 bytes, which is the caller's to see to.
    @param datagrams: that is what both exchange.
    """
    transport = _DGRAM if datagrams else _STREAM
    command, kind, addresses = _LOCAL, 0, b""
    if "unix" not in (source.family, destination.family):
        hosts = [_packed(end) for end in (source, destination)]
        command, kind = _PROXY, _INET6 << 4 | transport
        if all(host.startswith(_MAPPED) for host in hosts):
            kind = _INET << 4 | transport
            hosts = [host[len(_MAPPED) :] for host in hosts]
        addresses = b"".join(hosts) + source.port.to_bytes(2, "big") + destination.port.to_bytes(2, "big")
    body = addresses + b"".join(write_tlv(each, value) for each, value in tlvs) + write_tlv(CRC32C, bytes(4))
    blank = SIGNATURE + bytes((command, kind)) + len(body).to_bytes(2, "big") + body
    return blank[:-4] + crc32c(blank).to_bytes(4, "big")


_MAPPED: Final = bytes(10) + b"\xff\xff"


def _packed(address: Address) -> bytes:
    if address.family == "inet":
        return _MAPPED + IPv4Address(address.host).packed
    return IPv6Address(address.host).packed


# The checksum


def _table() -> tuple[int, ...]:
    found = []
    for number in range(256):
        for _ in range(8):
            number = number >> 1 ^ (0x82F63B78 if number & 1 else 0)
        found.append(number)
    return tuple(found)


_REST: Final = _table()


def crc32c(data: bytes) -> int:
    """
    The checksum of Castagnoli (RFC 3720, appendix B.4).
    """
    rest = 0xFFFFFFFF
    for byte in data:
        rest = rest >> 8 ^ _REST[(rest ^ byte) & 0xFF]
    return rest ^ 0xFFFFFFFF
