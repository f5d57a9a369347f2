"""
HTTP/1 readers in tests: what they say of bytes, however these are cut.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from sniproxy.wire.http1 import Data, End, Limits, Refused, RequestHead, RequestReader, ResponseHead, ResponseReader

Said = RequestHead | ResponseHead | bytes | End | Refused


def drained(reader: RequestReader | ResponseReader) -> Iterator[RequestHead | ResponseHead | Data | End | Refused]:
    """
    The events that there are now.
    """
    while (event := reader.next()) is not None:
        yield event


def heard(reader: RequestReader | ResponseReader, pieces: Sequence[bytes]) -> list[Said]:
    """
    All events, with what is said of one body in one piece.
    """
    events: list[Said] = []
    for piece in pieces:
        reader.feed(piece)
        for event in drained(reader):
            if not isinstance(event, Data):
                events.append(event)
            elif events and isinstance(events[-1], bytes):
                events[-1] += event.data
            else:
                events.append(event.data)
    return events


def requests(*pieces: bytes, limits: Limits | None = None) -> list[Said]:
    """
    What a reader of requests says of these pieces.
    """
    return heard(RequestReader(limits or Limits()), pieces)


def response(*pieces: bytes, method: str = "GET", limit: int = 4096) -> list[Said]:
    """
    What a reader of responses says of these pieces, and of the end of the connection.
    """
    reader = ResponseReader(limit)
    reader.begin(method)
    events = heard(reader, pieces)
    end = reader.finish()
    return events if end is None else [*events, end]


def singly(data: bytes) -> list[bytes]:
    """
    Bytes one by one.
    """
    return [data[at : at + 1] for at in range(len(data))]


def every_cut(data: bytes) -> Iterator[list[bytes]]:
    """
    Whole, one by one, and in two pieces, cut at every place.
    """
    yield [data]
    yield singly(data)
    for at in range(1, len(data)):
        yield [data[:at], data[at:]]


def spoiled(data: bytes, values: Sequence[int]) -> Iterator[bytes]:
    """
    The same with one byte changed, at every place, to each of these values.
    """
    for at in range(len(data)):
        for value in values:
            if data[at] != value:
                yield data[:at] + bytes([value]) + data[at + 1 :]


def kinds(events: Iterable[object]) -> list[type]:
    """
    What came, without what it says.
    """
    return [type(event) for event in events]


def refusal(events: list[Said]) -> tuple[int, str]:
    """
    Status and reason of what the events end with.
    """
    refused = events[-1]
    assert isinstance(refused, Refused), events
    return refused.status, refused.reason


def of_request(events: list[Said]) -> RequestHead:
    """
    The head that the events begin with.
    """
    head = events[0]
    assert isinstance(head, RequestHead), events
    return head


def of_response(events: list[Said]) -> ResponseHead:
    """
    The head that the events begin with.
    """
    head = events[0]
    assert isinstance(head, ResponseHead), events
    return head
