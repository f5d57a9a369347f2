"""
What carries a request and its answer, whatever the version of HTTP; and the head of an answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from sniproxy.http.headers import Headers

if TYPE_CHECKING:
    from sniproxy.http.request import Request

Pairs = Sequence[tuple[str, str]]
"""Fields: names and values, in order."""


class Exchange(Protocol):
    """
    What carries one request and its answer.

    @ivar text: C{"HTTP/1.1"} and its like.
    @ivar head_sent: bytes of answers' heads so far.
    """

    text: str
    head_sent: int

    def read_body(self) -> bytes | None:
        """
        @return: what came next of the request's body; None when there is nothing now, and the body's C{on_data} will be
            called; C{b""} at its end.
        @raise BodyError: there will be no whole body.
        """

    def begin(self, request: Request, reply: Reply, bodyless: bool) -> None:
        """
        Take the head of the answer. It may be kept until there is more.
        """

    def send(self, data: bytes) -> bool:
        """
        Take a piece of the answer's body.

        @return: False where no more should come until the request's C{on_writable} is called.
        """

    def flush(self) -> None:
        """
        Send what is kept.
        """

    def end(self, trailers: Pairs) -> None:
        """
        The answer is whole. C{request.sent} is called when the client's side has taken it.
        """

    def abort(self) -> None:
        """
        The answer that was begun, or none at all, is all there will be: the client shall notice.
        """

    def upgrade(self, reply: Reply) -> Any:
        """
        Send the head of an answer 101 and give the connection up.

        @return: its leg, what the client has sent already held in it; None where this exchange cannot.
        """


class Encoder(Protocol):
    """
    What a body runs through on its way to the client.
    """

    def encode(self, data: bytes) -> bytes:
        """
        @return: what can be sent of it by now; may be empty.
        """

    def flush(self) -> bytes:
        """
        @return: what was kept, so that the client can read all there was.
        """

    def finish(self) -> bytes:
        """
        @return: the rest.
        """


class Encoding(Protocol):
    """
    How the bodies of one place are encoded.
    """

    def may_part(self, request: Request, reply: Reply) -> bool:
        """
        Whether parts can be sent of an answer: not of one that will be encoded. Its fields are changed where they would
        be other ones for another client.

        @param reply: the whole answer.
        """

    def encoder(self, request: Request, reply: Reply) -> Encoder | None:
        """
        Change the head of an answer whose body is to be encoded.

        @return: None where it is sent as it is.
        """


class Reply:
    """
    The head of an answer.

    @ivar reason: the phrase behind the status; None for the usual one.
    @ivar headers: with Content-Type and its like, without those that concern the connection.
    @ivar length: of the body, or None where it is not known beforehand.
    @ivar trailers: whether fields will follow the body.
    @ivar trailing: asked for more of these at the end of the body; None where there are none.
    """

    __slots__ = ("headers", "length", "reason", "status", "trailers", "trailing")

    def __init__(
        self, status: int, headers: Headers | Pairs = (), length: int | None = None, reason: str | None = None
    ) -> None:
        self.status = status
        self.headers = headers if isinstance(headers, Headers) else Headers(headers)
        self.length = length
        self.reason = reason
        self.trailers = False
        self.trailing: Callable[[], Pairs] | None = None
