"""
Where do ClientHellos come from in tests? Recorded from real clients, and from here cut anew or bent.

    RECORDED["curl"].stream                             what curl sent, byte for byte
    in_records(RECORDED["curl"].stream, 1)              the same in records of one byte
    with_extensions(stream, lambda these: [...])        the same with other extensions
    hello(server_name="a.example", alpn=("h2",))        a real client's, with this name and these protocols
    parsed(server_name="a.example")                     the same as a L{ClientHello}
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sniproxy.wire.client_hello import ClientHello, HelloReader, Verdict

FOLDER: Final = Path(__file__).parent.parent / "data" / "hellos"

LIMIT: Final = 65536

Extensions = list[tuple[int, bytes]]


@dataclass(frozen=True)
class Recorded:
    """
    What one real client sent, and what it was told to ask for.

    @ivar stream: the bytes.
    @ivar version: a version it offers.
    @ivar group: a group it offers.
    """

    stream: bytes
    client: str
    server_name: str | None
    alpn: tuple[bytes, ...]
    version: int
    group: int
    ech: bool


def _recorded() -> Iterator[tuple[str, Recorded]]:
    """
    Every recording, by the name of its file.
    """
    for name, told in json.loads((FOLDER / "hellos.json").read_text()).items():
        told["alpn"] = tuple(protocol.encode() for protocol in told["alpn"])
        yield name, Recorded((FOLDER / f"{name}.bin").read_bytes(), **told)


RECORDED: Final = dict(_recorded())


def record(payload: bytes, kind: int = 22, version: int = 0x0301) -> bytes:
    """
    One record.
    """
    return bytes([kind]) + version.to_bytes(2, "big") + len(payload).to_bytes(2, "big") + payload


def payload(stream: bytes) -> bytes:
    """
    What the records of a stream bear.
    """
    found = b""
    while stream:
        end = 5 + int.from_bytes(stream[3:5], "big")
        found += stream[5:end]
        stream = stream[end:]
    return found


def in_records(stream: bytes, size: int) -> bytes:
    """
    The same message in records of at most C{size} bytes of payload.
    """
    message = payload(stream)
    return b"".join(record(message[at : at + size]) for at in range(0, len(message), size))


def sized(width: int, data: bytes) -> bytes:
    """
    A vector: its length in C{width} bytes, then its bytes.
    """
    return len(data).to_bytes(width, "big") + data


def message(body: bytes, kind: int = 1) -> bytes:
    """
    A handshake message.
    """
    return bytes([kind]) + sized(3, body)


def split(stream: bytes) -> tuple[bytes, Extensions]:
    """
    The body of a ClientHello up to its extensions, and these.
    """
    body = payload(stream)[4:]
    at = 35 + body[34]
    at += 2 + int.from_bytes(body[at : at + 2], "big")
    at += 1 + body[at]
    head, rest = body[:at], body[at + 2 :]
    extensions = []
    while rest:
        end = 4 + int.from_bytes(rest[2:4], "big")
        extensions.append((int.from_bytes(rest[:2], "big"), rest[4:end]))
        rest = rest[end:]
    return head, extensions


def joined(extensions: Extensions) -> bytes:
    """
    Extensions as they stand in a ClientHello, without the length of them all.
    """
    return b"".join(kind.to_bytes(2, "big") + sized(2, data) for kind, data in extensions)


def with_extensions(stream: bytes, change: Callable[[Extensions], Extensions]) -> bytes:
    """
    A hello with other extensions, in records as large as they may be.
    """
    head, extensions = split(stream)
    return in_records(record(message(head + sized(2, joined(change(extensions))))), 2**14)


def replaced(stream: bytes, kind: int, data: bytes | None) -> bytes:
    """
    A hello with one extension replaced where it stood, or put in front; None takes it away.
    """

    def change(extensions: Extensions) -> Extensions:
        if data is None:
            return [one for one in extensions if one[0] != kind]
        if kind not in dict(extensions):
            return [(kind, data), *extensions]
        return [(kind, data) if one[0] == kind else one for one in extensions]

    return with_extensions(stream, change)


def appended(stream: bytes, kind: int, data: bytes) -> bytes:
    """
    A hello with one more extension, behind the others.
    """
    return with_extensions(stream, lambda extensions: [*extensions, (kind, data)])


def name_list(*names: bytes, kind: int = 0) -> bytes:
    """
    The content of a server_name extension.
    """
    return sized(2, b"".join(bytes([kind]) + sized(2, name) for name in names))


def hello(server_name: str | None = "a.example", alpn: tuple[str, ...] = ()) -> bytes:
    """
    What openssl s_client sends for TLS 1.3, with this name and these protocols.
    """
    stream = RECORDED["openssl-tls13"].stream
    stream = replaced(stream, 0, None if server_name is None else name_list(server_name.encode()))
    protocols = b"".join(sized(1, protocol.encode()) for protocol in alpn)
    return replaced(stream, 16, sized(2, protocols) if alpn else None)


def parsed(server_name: str | None = "a.example", alpn: tuple[str, ...] = ()) -> ClientHello:
    """
    The same, read.
    """
    verdict = HelloReader(65536).look(hello(server_name, alpn))
    assert isinstance(verdict, ClientHello), verdict
    return verdict


def look(stream: bytes, limit: int = LIMIT) -> Verdict | None:
    """
    The verdict on bytes that are seen all at once.
    """
    return HelloReader(limit).look(stream)


def fed(pieces: Iterable[bytes], limit: int = LIMIT) -> Verdict | None:
    """
    The verdict on bytes that are consumed piece by piece.
    """
    reader = HelloReader(limit)
    verdict = None
    for piece in pieces:
        verdict = reader.feed(piece)
    return verdict


def single(stream: bytes) -> Iterator[bytes]:
    """
    A stream in pieces of one byte.
    """
    return (stream[at : at + 1] for at in range(len(stream)))


def everything(verdict: Verdict | None) -> tuple[object, ...]:
    """
    All that a verdict can tell; decodes what a hello decodes lazily.
    """
    if not isinstance(verdict, ClientHello):
        return (verdict,)
    return (
        verdict.server_name,
        verdict.alpn,
        verdict.legacy_version,
        verdict.versions,
        verdict.cipher_suites,
        verdict.groups,
        verdict.signature_algorithms,
        verdict.session_id,
        verdict.random,
        verdict.has_ech,
        verdict.extensions,
    )
