"""
What does a ClientHello say? The message alone, without the records it came in.

Strategy: one flat pass over plain offsets, because this runs for every connection. Each length is checked against the
end of the vector around it before anything inside is looked at. The server name is taken out at once; the other lists
are only checked here, and decoded when somebody asks.

Sources: RFC 8446 sections 4.1.2 and 4.2, RFC 6066 section 3, RFC 7301; where these leave room, what OpenSSL 4 does.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from struct import Struct
from typing import Final

from sniproxy.wire.cursor import Cursor, WireError

SERVER_NAME: Final = 0
SUPPORTED_GROUPS: Final = 10
SIGNATURE_ALGORITHMS: Final = 13
ALPN: Final = 16
SUPPORTED_VERSIONS: Final = 43
ENCRYPTED_CLIENT_HELLO: Final = 0xFE0D

LONGEST_SESSION_ID: Final = 32
LONGEST_NAME: Final = 255

_EXTENSION: Final = Struct(">HH")
"""Type and length."""
_ONE_NAME: Final = Struct(">HBH")
"""A ServerNameList up to its first name: the list's length, the name's type, the name's length."""


@dataclass(init=False, slots=True, unsafe_hash=True)
class ClientHello:
    """
    A ClientHello that is well formed. Lists keep the client's order and its GREASE values (RFC 8701).

    @ivar server_name: whom the client asks for: in lower case and without a trailing dot, never empty, ASCII without
        control characters, spaces and slashes; an IP address stays as it is (RFC 6066 forbids it, clients send it).
        None where there is no such extension.
    @ivar length: how many bytes of the stream it took: its records, whole and with their headers.
    @ivar body: the message without its handshake header.
    """

    server_name: Final[str | None]
    length: Final[int]
    body: bytes = field(repr=False)

    def __init__(self, server_name: str | None, length: int, body: bytes) -> None:
        self.server_name = server_name
        self.length = length
        self.body = body

    @property
    def sent_name(self) -> str | None:
        """
        The server name as the client wrote it: its case, and its trailing dot if it has one.
        """
        place = self._place(SERVER_NAME)
        return None if place is None else self.body[place[0] + 5 : place[1]].decode("ascii")

    @property
    def legacy_version(self) -> int:
        """
        0x0303 from every client of today, see L{versions}.
        """
        return self.body[0] << 8 | self.body[1]

    @property
    def random(self) -> bytes:
        """
        32 bytes.
        """
        return self.body[2:34]

    @property
    def session_id(self) -> bytes:
        """
        Up to 32 bytes.
        """
        return self.body[35 : 35 + self.body[34]]

    @property
    def cipher_suites(self) -> tuple[int, ...]:
        """
        At least one.
        """
        start, _, _ = _sections(self.body)
        return _codes(self.body, start, start + 2 + (self.body[start] << 8 | self.body[start + 1]), 2)

    @property
    def versions(self) -> tuple[int, ...]:
        """
        What supported_versions lists, else the legacy version alone.
        """
        place = self._place(SUPPORTED_VERSIONS)
        return (self.legacy_version,) if place is None else _codes(self.body, *place, 1)

    @property
    def groups(self) -> tuple[int, ...]:
        """
        supported_groups, or nothing.
        """
        place = self._place(SUPPORTED_GROUPS)
        return () if place is None else _codes(self.body, *place, 2)

    @property
    def signature_algorithms(self) -> tuple[int, ...]:
        """
        signature_algorithms, or nothing.
        """
        place = self._place(SIGNATURE_ALGORITHMS)
        return () if place is None else _codes(self.body, *place, 2)

    @property
    def alpn(self) -> tuple[bytes, ...]:
        """
        The application protocols offered: any bytes, none of them empty.
        """
        place = self._place(ALPN)
        names: list[bytes] = []
        if place is not None:
            listed = Cursor(self.body, *place).vector(2, "alpn")
            while listed:
                names.append(listed.vector(1, "alpn").rest())
        return tuple(names)

    @property
    def extensions(self) -> tuple[int, ...]:
        """
        The types of all extensions.
        """
        body = self.body
        _, at, stop = _sections(body)
        kinds = []
        while at < stop:
            kind, size = _EXTENSION.unpack_from(body, at)
            kinds.append(kind)
            at += 4 + size
        return tuple(kinds)

    @property
    def has_ech(self) -> bool:
        """
        Whether the client sent encrypted_client_hello, in earnest or as GREASE; L{server_name} is the outer name then.
        """
        return self._place(ENCRYPTED_CLIENT_HELLO) is not None

    def _place(self, wanted: int) -> tuple[int, int] | None:
        """
        Start and end of one extension, None where the client did not send it.
        """
        body = self.body
        _, at, stop = _sections(body)
        while at < stop:
            kind = body[at] << 8 | body[at + 1]
            start = at + 4
            at = start + (body[at + 2] << 8 | body[at + 3])
            if kind == wanted:
                return start, at
        return None


@dataclass(frozen=True, slots=True)
class Malformed:
    """
    This client began to speak TLS and then broke its rules: whoever routes by name has no name to route by.

    @ivar field: what is wrong, in RFC 8446's words.
    @ivar reason: what is wrong with it.
    """

    field: str
    reason: str


def parse(body: bytes, length: int) -> ClientHello | Malformed:
    """
    Read a whole ClientHello.

    @param body: the message without its handshake header.
    @param length: what to note as L{ClientHello.length}.
    """
    name = None
    kinds: list[int] = []
    try:
        _, at, stop = _sections(body)
        while at < stop:
            if stop - at < 4:
                raise WireError("extensions", f"{stop - at} bytes left over")
            kind = body[at] << 8 | body[at + 1]
            start = at + 4
            at = start + (body[at + 2] << 8 | body[at + 3])
            if at > stop:
                raise WireError("extensions", f"type {kind} needs {at - start} bytes where {stop - start} are left")
            kinds.append(kind)
            # calls that the compiler can see, of C functions, where a table would be looked up and called
            if kind == SERVER_NAME:
                name = _server_name(body, start, at)
            elif kind == SUPPORTED_GROUPS:
                _check_list("supported_groups", body, start, at)
            elif kind == SIGNATURE_ALGORITHMS:
                _check_list("signature_algorithms", body, start, at)
            elif kind == ALPN:
                _check_alpn(body, start, at)
            elif kind == SUPPORTED_VERSIONS:
                _check_versions(body, start, at)
    except WireError as error:
        return Malformed(error.field, error.reason)
    if len(set(kinds)) < len(kinds):
        if kinds.count(SERVER_NAME) > 1:
            return Malformed("server_name", "the extension is repeated")
        return Malformed("extensions", f"type {next(kind for kind in kinds if kinds.count(kind) > 1)} is repeated")
    return ClientHello(name, length, body)


def _sections(body: bytes) -> tuple[int, int, int]:
    """
    Where the cipher suites, with their length, and the extensions begin, and where the extensions end.

    @raise WireError: one of the vectors before or around the extensions is wrong.
    """
    size = len(body)
    if size < 35:
        raise WireError("random" if size < 34 else "session_id", "missing")
    ciphers = 35 + body[34]
    if body[34] > LONGEST_SESSION_ID:
        raise WireError("session_id", f"{body[34]} bytes")
    if ciphers + 2 > size:
        raise WireError("cipher_suites", "missing")
    listed = body[ciphers] << 8 | body[ciphers + 1]
    compression = ciphers + 2 + listed
    if not listed or listed & 1 or compression >= size:
        raise WireError("cipher_suites", f"{listed} bytes where {size - ciphers - 2} are left")
    at = compression + 1 + body[compression]
    if not body[compression] or at > size:
        raise WireError("compression_methods", f"{body[compression]} bytes where {size - compression - 1} are left")
    if at == size:  # a client before TLS 1.2 may have no extensions at all
        return ciphers, at, at
    if size - at < 2 or size - at - 2 != body[at] << 8 | body[at + 1]:
        raise WireError("extensions", "the length is not that of the rest of the message")
    return ciphers, at + 2, size


def _server_name(body: bytes, start: int, stop: int) -> str:
    """
    The one host name in a server_name extension, in the form in which names are compared.

    @raise WireError: a TLS server would refuse the extension, or the name cannot be a host's.
    """
    size = stop - start
    if size < 5 or _ONE_NAME.unpack_from(body, start) != (size - 2, 0, size - 5):
        raise _not_one_name(Cursor(body, start, stop))
    sent = body[start + 5 : stop]
    if len(sent) > LONGEST_NAME:
        raise WireError("server_name", f"{len(sent)} bytes")
    name = sent.decode("latin-1").lower()
    # What nginx refuses in a host name, and all that is not ASCII, since names are sent as A-labels.
    if not (sent.isascii() and name.isprintable()) or " " in name or "/" in name:
        raise WireError("server_name", f"{sent!r} has characters that no host name has")
    if not name or name.startswith(".") or ".." in name:
        raise WireError("server_name", f"{sent!r} has an empty label")
    return name.removesuffix(".")


def _not_one_name(extension: Cursor) -> WireError:
    """
    What is wrong with a ServerNameList that is not one host name.
    """
    try:
        names = extension.vector(2, "server_name")
        extension.end("server_name")
        kind = names.number(1, "server_name")
        if kind:
            return WireError("server_name", f"unknown name type {kind}")
        names.vector(2, "server_name")
        return WireError("server_name", f"{len(names)} bytes after the first name")
    except WireError as error:
        return error


def _check_list(field: str, body: bytes, start: int, stop: int) -> None:
    """
    An extension that is nothing but a list of 16-bit numbers, at least one (RFC 8446, sections 4.2.3 and 4.2.7).
    """
    size = stop - start
    if size < 4 or size & 1 or body[start] << 8 | body[start + 1] != size - 2:
        raise WireError(field, f"{size} bytes are not a list")


def _check_versions(body: bytes, start: int, stop: int) -> None:
    """
    RFC 8446, section 4.2.1: its length has one byte.
    """
    size = stop - start
    if size < 3 or not size & 1 or body[start] != size - 1:
        raise WireError("supported_versions", f"{size} bytes are not a list")


def _check_alpn(body: bytes, start: int, stop: int) -> None:
    """
    As RFC 7301 wants it: at least one name, and none of them empty.
    """
    at = start + 2
    if at >= stop or body[start] << 8 | body[start + 1] != stop - at:
        raise WireError("alpn", f"{stop - start} bytes are not a list")
    while at < stop:
        if not body[at]:
            raise WireError("alpn", "an empty name")
        at += 1 + body[at]
    if at > stop:
        raise WireError("alpn", f"the last name ends {at - stop} bytes behind the list")


def _codes(body: bytes, start: int, stop: int, width: int) -> tuple[int, ...]:
    """
    The 16-bit numbers of a list that was checked before, behind a length of C{width} bytes.
    """
    start += width
    return Struct(f">{(stop - start) // 2}H").unpack_from(body, start)
