"""
What is said to name servers and what they answer (RFC 1035): one question out, its addresses or services (RFC 2782),
alias or refusal back.

Strategy: of an answer only what belongs to the question is kept: records are looked up from the question's own name
along its aliases, so that nothing else a server adds can be believed. Names stay in their wire form in lower case,
which compares exactly even where a label holds a dot. Pointers lead backwards only, few times; records beyond
L{MAX_RECORDS} are not read: what an answer costs is bounded whatever it holds.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from struct import Struct
from typing import Final

from sniproxy.wire.cursor import WireError

A: Final = 1
CNAME: Final = 5
SOA: Final = 6
AAAA: Final = 28
SRV: Final = 33

INTERNET: Final = 1
"""The class of all we ask."""

MAX_NAME: Final = 255
MAX_LABEL: Final = 63
MAX_POINTERS: Final = 32
"""How often one name may jump; each jump goes backwards."""

MAX_RECORDS: Final = 256
"""How many records of one answer are read."""

MAX_ALIASES: Final = 16
"""How many aliases are followed within one answer."""

HEADER: Final = Struct("!HHHHHH")
QUESTION: Final = Struct("!HH")
RECORD: Final = Struct("!HHIH")
SERIALS: Final = Struct("!IIIII")
SERVICE: Final = Struct("!HHH")

RESPONSE: Final = 0x8000
OPCODE: Final = 0x7800
TRUNCATED: Final = 0x0200
RECURSION_DESIRED: Final = 0x0100
CODE: Final = 0x000F

ADDRESS_SIZES: Final = {A: 4, AAAA: 16}


@dataclass(frozen=True, slots=True)
class Service:
    """
    One place where a service is.

    @ivar priority: those with the least are asked first.
    @ivar weight: the share among those of one priority.
    @ivar port: there.
    @ivar target: the host's name, without its last dot.
    """

    priority: int
    weight: int
    port: int
    target: str


@dataclass(frozen=True, slots=True)
class Answer:
    """
    What a server answered to one question.

    @ivar ident: the number of the query.
    @ivar name: the question's name, in wire form.
    @ivar kind: L{A}, L{AAAA} or L{SRV}, or whatever was asked.
    @ivar code: the response code: 0, or 3 where the name does not exist, or another refusal.
    @ivar truncated: ask again over TCP; then all below is empty.
    @ivar addresses: numeric, in the server's order.
    @ivar services: in the server's order, where they were asked for; never one that says there is none.
    @ivar alias: where the aliases end, when they end without anything; None where there is no alias.
    @ivar life: seconds that what was found or the alias is good for: the least of what led there.
    @ivar negative_life: seconds that the absence is good for (RFC 2308); None where the server does not say.
    """

    ident: int
    name: bytes
    kind: int
    code: int
    truncated: bool = False
    addresses: tuple[str, ...] = ()
    alias: bytes | None = None
    life: int = 0
    negative_life: int | None = None
    services: tuple[Service, ...] = ()


def wire_name(name: str) -> bytes:
    """
    @param name: with or without its last dot, in any case.
    @return: its wire form, in lower case.
    @raise WireError: it cannot be asked.
    """
    out = bytearray()
    raw = name.encode("utf-8", "surrogateescape").lower()
    for label in raw.removesuffix(b".").split(b"."):
        if not 0 < len(label) <= MAX_LABEL:
            raise WireError("name", f"label of {len(label)} bytes")
        out.append(len(label))
        out += label
    out.append(0)
    if len(out) > MAX_NAME:
        raise WireError("name", f"{len(out)} bytes long")
    return bytes(out)


def text_name(name: bytes) -> str:
    """
    @param name: in wire form, not compressed.
    @return: the name, without its last dot.
    """
    labels = []
    at = 0
    while size := name[at]:
        labels.append(name[at + 1 : at + 1 + size])
        at += 1 + size
    return b".".join(labels).decode("utf-8", "surrogateescape")


def query(ident: int, name: bytes, kind: int) -> bytes:
    """
    A question to a server that is to do all the work.

    @param name: in wire form.
    """
    return HEADER.pack(ident, RECURSION_DESIRED, 1, 0, 0, 0) + name + QUESTION.pack(kind, INTERNET)


def read_answer(data: bytes) -> Answer:
    """
    @param data: one whole message.
    @raise WireError: it is not an answer to one question, or is broken where it matters.
    """
    ident, flags, questions, answers, authorities, _ = _unpack(HEADER, data, 0, "header")
    if flags & (RESPONSE | OPCODE) != RESPONSE:
        raise WireError("header", "not an answer to a query")
    if questions != 1:
        raise WireError("header", f"{questions} questions")
    name, at = _name(data, HEADER.size, "question")
    kind, family = _unpack(QUESTION, data, at, "question")
    if family != INTERNET:
        raise WireError("question", f"class {family}")
    code = flags & CODE
    if flags & TRUNCATED:
        return Answer(ident, name, kind, code, truncated=True)
    records = _Records(data, at + QUESTION.size, kind)
    records.read(min(answers, MAX_RECORDS), authority=False)
    records.read(min(authorities, max(0, MAX_RECORDS - answers)), authority=True)
    return records.answer(ident, name, code)


class _Records:
    """
    The records of one answer that may matter, by their owner.
    """

    __slots__ = ("_aliases", "_at", "_data", "_found", "_kind", "_negative")

    def __init__(self, data: bytes, at: int, kind: int) -> None:
        self._data = data
        self._at = at
        self._kind = kind
        self._found: dict[bytes, list[tuple[str | Service | None, int]]] = {}
        self._aliases: dict[bytes, tuple[bytes, int]] = {}
        self._negative: int | None = None

    def read(self, count: int, authority: bool) -> None:
        """
        Read so many records of one section.
        """
        data = self._data
        for _ in range(count):
            owner, at = _name(data, self._at, "owner")
            kind, family, life, size = _unpack(RECORD, data, at, "record")
            start = at + RECORD.size
            self._at = end = start + size
            if end > len(data):
                raise WireError("record", f"needs {size} bytes where {len(data) - start} are left")
            if family != INTERNET:
                continue
            if life >> 31:
                life = 0  # RFC 2181, section 8
            if authority:
                if kind == SOA:
                    self._negative = min(life, self._minimum(start, end))
            elif kind == CNAME:
                target, after = _name(data, start, "CNAME")
                if after != end:
                    raise WireError("CNAME", "does not end with its record")
                self._aliases.setdefault(owner, (target, life))
            elif kind == self._kind and kind in ADDRESS_SIZES:
                if size != ADDRESS_SIZES[kind]:
                    raise WireError("address", f"{size} bytes long")
                raw = data[start:end]
                host = str(IPv4Address(raw) if kind == A else IPv6Address(raw))
                self._found.setdefault(owner, []).append((host, life))
            elif kind == self._kind == SRV:
                self._found.setdefault(owner, []).append((self._service(start, end), life))

    def answer(self, ident: int, name: bytes, code: int) -> Answer:
        """
        What they mean for the name that was asked.
        """
        life = (1 << 31) - 1
        owner = name
        for _ in range(MAX_ALIASES):
            if owner in self._found or owner not in self._aliases:
                break
            owner, given = self._aliases[owner]
            life = min(life, given)
        else:
            # Too many, or a circle: then there is nothing at its end.
            return Answer(ident, name, self._kind, code)
        found = self._found.get(owner, [])
        life = min([life, *(given for _, given in found)])
        addresses = tuple(each for each, _ in found if isinstance(each, str))
        services = tuple(each for each, _ in found if isinstance(each, Service))
        alias = owner if owner != name and not found else None
        return Answer(ident, name, self._kind, code, False, addresses, alias, life, self._negative, services)

    def _service(self, start: int, end: int) -> Service | None:
        """
        What a SRV record says; None for the root as its target: there is no such service (RFC 2782).
        """
        priority, weight, port = _unpack(SERVICE, self._data, start, "SRV")
        target, after = _name(self._data, start + SERVICE.size, "SRV")
        if after != end:
            raise WireError("SRV", "does not end with its record")
        text = text_name(target)
        return Service(priority, weight, port, text) if text else None

    def _minimum(self, start: int, end: int) -> int:
        """
        The last number of a SOA record, the life of what is not there.
        """
        _, at = _name(self._data, start, "SOA")
        _, at = _name(self._data, at, "SOA")
        if at + SERIALS.size != end:
            raise WireError("SOA", "does not end with its record")
        minimum: int = SERIALS.unpack_from(self._data, at)[4]
        return minimum


def _unpack(shape: Struct, data: bytes, at: int, field: str) -> tuple[int, ...]:
    if at + shape.size > len(data):
        raise WireError(field, f"needs {shape.size} bytes where {len(data) - at} are left")
    return shape.unpack_from(data, at)


def _name(data: bytes, at: int, field: str) -> tuple[bytes, int]:
    """
    A name, perhaps compressed.

    @return: its wire form in lower case, and where what follows it begins.
    """
    out = bytearray()
    behind: int | None = None
    lowest = at
    pointers = 0
    while True:
        if at >= len(data):
            raise WireError(field, "name goes beyond the end")
        size = data[at]
        if size >= 0xC0:
            if at + 2 > len(data):
                raise WireError(field, "name goes beyond the end")
            target = (size & 0x3F) << 8 | data[at + 1]
            if behind is None:
                behind = at + 2
            pointers += 1
            if target >= lowest or pointers > MAX_POINTERS:
                raise WireError(field, "name points in circles")
            at = lowest = target
            continue
        if size > MAX_LABEL:
            raise WireError(field, f"label type {size:#x}")
        out += data[at : at + 1 + size]
        at += 1 + size
        if len(out) > MAX_NAME or at > len(data):
            raise WireError(field, "name is too long")
        if not size:
            return bytes(out).lower(), at if behind is None else behind
