"""
Upstreams of http proxies, in the test's hands: a L{Web} whose locations pass requests on.

    web = Proxied("location / { proxy_pass http://192.0.2.2; }")
    client = web.client(head("GET /a HTTP/1.1"))
    upstream = web.connected()                     # its leg
    asked(upstream).target                         # "/a"
    upstream.arrive(answer(b"hello"))
    answers(client.taken())[0].body                # b"hello"
"""

from __future__ import annotations

from sniproxy.http.request import Request
from sniproxy.wire.http1 import Data, Limits, Refused, RequestHead, RequestReader
from tests.support.sessions import FakeLeg
from tests.support.webs import Answer, Web, answers


class Proxied(Web):
    """
    A server whose upstreams the test is.
    """

    def connected(self, data: bytes = b"") -> FakeLeg:
        """
        Let the attempt to connect that is under way succeed.

        @param data: what the upstream has said already.
        """
        return self.world.attempt().succeed(data)

    def request(self) -> Request:
        """
        The one that ended last.
        """
        return self.over[-1]

    def complaints(self) -> list[str]:
        """
        What the error log has at the level of errors and worse.
        """
        levels = ("[error]", "[crit]", "[alert]")
        return [line.partition("*")[2].partition(" ")[2] for line in self.lines if line.startswith(levels)]

    def complaint(self) -> str:
        """
        The only one, up to the client.
        """
        (line,) = self.complaints()
        return line.partition(", client: ")[0]


def answer(body: bytes = b"", *fields: str, line: str = "HTTP/1.1 200 OK", length: bool = True) -> bytes:
    """
    What an upstream answers.

    @param length: whether it tells the length of the body.
    """
    told = (f"Content-Length: {len(body)}",) if length else ()
    return "\r\n".join([line, *told, *fields, "", ""]).encode("utf-8", "surrogateescape") + body


def chunked(*pieces: bytes) -> bytes:
    """
    An answer in chunks, without the last one.
    """
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)


class Asked:
    """
    One request that an upstream has got, as much as there is of it.
    """

    def __init__(self, head: RequestHead, body: bytes) -> None:
        self.head = head
        self.method = head.method
        self.target = head.target
        self.fields = head.fields
        self.names = [name for name, _ in head.headers]
        self.body = body


def asked(leg: FakeLeg) -> Asked:
    """
    What was sent to an upstream since it was looked at last.
    """
    reader = RequestReader(Limits())
    reader.feed(leg.taken())
    head: RequestHead | None = None
    body = b""
    while (event := reader.next()) is not None:
        if isinstance(event, RequestHead):
            head = event
        elif isinstance(event, Data):
            body += event.data
        elif isinstance(event, Refused):
            raise AssertionError(event.reason)
        else:
            break
    assert head is not None
    return Asked(head, body)


def one(leg: FakeLeg, method: str = "GET") -> Answer:
    """
    The only answer that a client has got since it was looked at last.
    """
    (found,) = answers(leg.taken(), [method])
    return found
