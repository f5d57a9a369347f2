"""
Who is there: TLS, something else, or somebody who breaks the rules? The first bytes of a stream, up to the end of the
ClientHello; what the message says is L{sniproxy.wire.hello_message}'s.

Strategy: records are walked once, byte for byte, and their payload is gathered until the message is whole. The usual
case, a hello in one record that is all there, needs no walk.

Sources: RFC 8446 section 5.1 and, where it leaves room, what OpenSSL 4 does (the tests hold us to it): payload may be
cut into records of one byte; up to 32 records in a row may be empty; no record bears more than 2**14 bytes; the minor
record version means nothing; a record that is not a handshake, in the middle, ends it all.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from typing import Final, TypeAlias

from sniproxy.wire.hello_message import ClientHello, Malformed, parse

__all__ = ("ClientHello", "HelloReader", "Malformed", "NotTLS", "TooLarge", "Verdict")

HANDSHAKE: Final = 22
CLIENT_HELLO: Final = 1

LONGEST_RECORD: Final = 2**14
MOST_EMPTY_RECORDS: Final = 32

RECORD_HEADER: Final = 5
HANDSHAKE_HEADER: Final = 4
HEADERS: Final = RECORD_HEADER + HANDSHAKE_HEADER
"""What precedes a hello that stands in one record."""

_FIRST: Final = Struct(">BBxHI")
"""Record type, major version, payload length; then type and length of the handshake message in one number."""


@dataclass(frozen=True, slots=True)
class NotTLS:
    """
    A verdict, not an error: this client speaks something else.

    @ivar reason: how it is known.
    @ivar version: of a hello in SSL 2's form, which no TLS library reads any more, the version it asks for: 2 for SSL
        2.0, 0x0300 and up for its successors; nginx's C{$ssl_preread_protocol} tells it. None for all else.
    """

    reason: str
    version: int | None = None


@dataclass(frozen=True, slots=True)
class TooLarge:
    """
    There is no verdict within the bytes we are willing to look at.

    @ivar limit: how many those are.
    """

    limit: int


Verdict: TypeAlias = ClientHello | NotTLS | Malformed | TooLarge


class HelloReader:
    """
    Reads one client's first bytes until it knows what they are. It never raises, whatever they are.

    The answer depends on the bytes alone and not on how they were cut; once given it stays. Records are read whole, as
    nginx and OpenSSL read them; what is behind the hello in its last record, and behind that record, is not looked at.
    It owns a copy of at most C{limit} bytes and has no deadline: the caller has one.
    """

    __slots__ = ("_at", "_empty", "_header", "_left", "_limit", "_message", "_started", "_verdict")

    def __init__(self, limit: int) -> None:
        """
        @param limit: how many bytes of the stream to look at, record headers included.
        """
        self._limit = limit
        self._at = 0  # how much of the stream was walked
        self._header = b""  # of the record that is beginning, while it is not whole
        self._left = 0  # payload still to come in this record
        self._empty = 0  # empty records in a row
        self._started = False  # whether a first record header was accepted
        self._message = bytearray()
        self._verdict: Verdict | None = None

    def look(self, prefix: bytes) -> Verdict | None:
        """
        Look at a view of the stream that grows from call to call (C{MSG_PEEK}); what was walked is not walked again.

        @param prefix: all bytes of the stream so far.
        @return: None: more is needed.
        """
        if self._verdict is None:
            self._verdict = self._walk(prefix, self._at)
        return self._verdict

    def feed(self, piece: bytes) -> Verdict | None:
        """
        Read on in a stream that is consumed.

        @param piece: the bytes that follow those already seen, by C{feed} or by L{look}.
        @return: None: more is needed.
        """
        if self._verdict is None:
            self._verdict = self._walk(piece, 0)
        return self._verdict

    def _walk(self, data: bytes, at: int) -> Verdict | None:
        """
        @param at: where in C{data} the bytes begin that were not walked yet.
        """
        verdict: Verdict | None = _whole(data, self._limit) if self._at == 0 else None
        if verdict is not None:
            return verdict
        stop = min(len(data), at + self._limit - self._at)
        while at < stop:
            if self._left:
                end = min(at + self._left, stop)
                self._message += data[at:end]
                self._left -= end - at
            else:
                end = min(at + RECORD_HEADER - len(self._header), stop)
                self._header += data[at:end]
            self._at += end - at
            at = end
            verdict = self._judge_record() if self._header else self._judge_message()
            if verdict is not None:
                return verdict
        return TooLarge(self._limit) if self._at >= self._limit else None

    def _judge_record(self) -> Verdict | None:
        """
        Judge the header of a record by as many of its bytes as there are, and open the record when it is whole.
        """
        header = self._header
        if header[0] != HANDSHAKE:
            if self._started:
                return Malformed("record type", f"{header[0]} within the ClientHello")
            return _not_a_record(header)
        if len(header) > 1 and header[1] != 3:
            if self._started:
                return Malformed("record version", f"{header[1]} within the ClientHello")
            return NotTLS(f"record version {header[1]}")
        if len(header) < RECORD_HEADER:
            return None
        size = header[3] << 8 | header[4]
        if size > LONGEST_RECORD:
            return Malformed("record length", f"{size} bytes")
        self._empty = 0 if size else self._empty + 1
        if self._empty > MOST_EMPTY_RECORDS:
            return Malformed("record length", f"more than {MOST_EMPTY_RECORDS} empty records in a row")
        self._started = True
        self._header = b""
        self._left = size
        return None

    def _judge_message(self) -> Verdict | None:
        """
        Judge the handshake message by as much of it as there is.
        """
        message = self._message
        if message[0] != CLIENT_HELLO:
            return Malformed("handshake type", f"{message[0]} is not a ClientHello")
        if len(message) < HANDSHAKE_HEADER:
            return None
        size = HANDSHAKE_HEADER + int.from_bytes(message[1:4], "big")
        if RECORD_HEADER + size > self._limit:
            return TooLarge(self._limit)
        if len(message) < size or self._left:
            return None
        return parse(bytes(message[HANDSHAKE_HEADER:size]), self._at)


def _whole(data: bytes, limit: int) -> ClientHello | Malformed | None:
    """
    The short way for what nearly every client sends: one record with the whole hello in it.

    @return: what the long way would find; None where that must be taken.
    """
    if len(data) < HEADERS:
        return None
    kind, major, size, message = _FIRST.unpack_from(data)
    stop = HEADERS + (message & 0xFFFFFF)
    end = RECORD_HEADER + size
    if (
        kind == HANDSHAKE
        and major == 3
        and message >> 24 == CLIENT_HELLO
        and size <= LONGEST_RECORD
        and stop <= end <= len(data)
        and end <= limit
    ):
        return parse(data[HEADERS:stop], end)
    return None


def _not_a_record(header: bytes) -> NotTLS | None:
    """
    The stream does not begin with a handshake record: perhaps with a hello in SSL 2's form, told as nginx tells it.

    @param header: the first bytes, five at most.
    @return: None: more are needed.
    """
    reason = f"first byte 0x{header[0]:02x} is not a handshake record"
    if not header[0] & 0x80 or header[2:3] not in (b"", b"\1") or header[3:4] not in (b"", b"\0", b"\3"):
        return NotTLS(reason)
    if len(header) < RECORD_HEADER:
        return None
    return NotTLS(reason, header[3] << 8 | header[4])
