"""
What may a name server say that is wrong? One that does, for each name, what its first label asks for.
"""

from __future__ import annotations

import random
import struct
from itertools import pairwise
from typing import Final

from twisted.names import dns

NAMES: Final = {
    # what a name does, and whether clients get through
    "good": True,
    "twice": True,
    "wrongid": True,
    "chain": True,
    "many": True,
    "truncated": False,
    "loop": False,
    "longchain": False,
    "selfpointer": False,
    "forward": False,
    "other": False,
    "short": False,
    "garbage": False,
    "empty": False,
    "counts": False,
    "question": False,
    "refused": False,
    "mute": False,
}


def lie(question: bytes) -> list[bytes]:
    """
    A name server that does what the first label of a name asks for.
    """
    message = dns.Message()
    try:
        message.fromStr(question)
    except EOFError:
        return []
    query = message.queries[0]
    label = query.name.name.split(b".")[0].decode("ascii").lower()
    if query.type != dns.A or label == "mute":
        return []
    header, body = bytearray(question[:12]), question[12:]
    header[2] |= 0x84

    def answer(*records: bytes, count: int | None = None) -> bytes:
        head = bytes(header[:6]) + struct.pack("!H", len(records) if count is None else count) + bytes(4)
        return head + body + b"".join(records)

    def record(kind: int, data: bytes, name: bytes = b"\xc0\x0c") -> bytes:
        return name + struct.pack("!HHIH", kind, 1, 60, len(data)) + data

    def alias(number: int) -> bytes:
        return bytes([2]) + b"%02d" % number + b"\0"

    address = record(dns.A, b"\x7f\0\0\1")
    good = answer(address)
    wrong = bytes([good[0] ^ 0xFF]) + good[1:]

    def chain(length: int) -> bytes:
        names = [b"\xc0\x0c", *(alias(number) for number in range(length))]
        links = [record(dns.CNAME, to, name) for name, to in pairwise(names)]
        return answer(*links, record(dns.A, b"\x7f\0\0\1", names[-1]))

    told: dict[str, list[bytes]] = {
        "good": [good],
        "twice": [good, good],
        "wrongid": [wrong] * 50 + [good],
        "chain": [chain(5)],
        "many": [answer(*[address] * 100)],
        "truncated": [bytes(header[:2]) + bytes([header[2] | 2]) + good[3:]],
        "loop": [answer(record(dns.CNAME, alias(1)), record(dns.CNAME, b"\xc0\x0c", alias(1)))],
        "longchain": [chain(40)],
        "selfpointer": [answer(record(dns.A, b"\x7f\0\0\1", b"\xc0" + bytes([12 + len(body)])))],
        "forward": [answer(record(dns.A, b"\x7f\0\0\1", b"\xc0\xff"), bytes(300))],
        "other": [answer(record(dns.A, b"\x7f\0\0\1", b"\5other\0"))],
        "short": [good[:size] for size in range(len(good))],
        "garbage": [random.Random(7).randbytes(size) for size in range(1, 600, 7)],
        "empty": [b"", answer()],
        "counts": [answer(address, count=65535), answer(count=65535)],
        "question": [question],
        "refused": [bytes(header[:3]) + b"\x85" + good[4:12] + body],
    }
    return told.get(label, [])
