"""
One request on one connection to an upstream: what is sent, what comes back, and how it gets to the client.

Strategy: what comes is read when there is something, and handed on at once, so that of a body no more is held than one
piece and what the client has not taken. What is to be made of a head, and of a failure, is for whoever began this to
say.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sniproxy.common.phases import OK
from sniproxy.common.ssl_errors import broken, level_of
from sniproxy.http.body import BodyError
from sniproxy.http.exchange import Pairs, Reply
from sniproxy.http.outgoing import Outgoing
from sniproxy.http.upstream_leg import UpstreamLeg
from sniproxy.http.upstream_states import UpstreamState
from sniproxy.levels import WARN
from sniproxy.wire.http1 import Data, End, Refused, ResponseHead

if TYPE_CHECKING:
    from sniproxy.http.proxying import Proxying
    from sniproxy.http.request import Request

PIECE: Final = 65536
"""Bytes that are read from an upstream at a time."""

TURN: Final = 16
"""Pieces that are moved before others have their turn."""

# How a try can fail, C{proxy_next_upstream}.
ERROR: Final = 1
TIMEOUT: Final = 2
INVALID: Final = 4

READING_HEADER: Final = "reading response header from upstream"
READING_BODY: Final = "reading upstream"

TOO_MUCH: Final = 'upstream sent more data than specified in "Content-Length" header'
LATE: Final = "upstream timed out (110: Connection timed out)"


class Attempt:
    """
    Owns the connection until the answer is over or C{drop} is called; and holds what the client has not taken of the
    answer, as many bytes as C{proxy_buffers} say and one piece more.

    @ivar handed: whether the client has got the head of the answer, so that there is no other try.
    @ivar leg: the connection; None when it was given back.
    @ivar state: what the log is told.
    @ivar lasting: whether the upstream will take another request.
    @ivar unbuffered: whether what comes goes out at once.
    """

    __slots__ = (
        "_ahead",
        "_chunked",
        "_ended",
        "_headed",
        "_heads",
        "_held",
        "_out",
        "_outgoing",
        "_owner",
        "_policy",
        "_raw",
        "_request",
        "_stuck",
        "_torn",
        "handed",
        "lasting",
        "leg",
        "state",
        "unbuffered",
    )

    def __init__(
        self, owner: Proxying, request: Request, outgoing: Outgoing, leg: UpstreamLeg, state: UpstreamState
    ) -> None:
        self._owner = owner
        self._request = request
        self._outgoing = outgoing
        self._policy = policy = owner.policy
        self.leg: UpstreamLeg | None = leg
        self._raw = leg.leg
        self.state = state
        self.handed = False
        self.lasting = False
        self.unbuffered = not policy.buffering
        self._out: Any = b""
        self._stuck = False
        self._torn = False
        self._chunked = False
        self._headed = False
        self._heads = 0
        self._ahead: list[bytes] = []
        self._held = 0
        self._ended: Pairs | None = None

    # What is sent.

    def begin(self) -> None:
        """
        Send what can be sent now.
        """
        request, outgoing, leg = self._request, self._outgoing, self.leg
        assert leg is not None
        leg.use(request, self._event, outgoing.method)
        request.action = "sending request to upstream"
        request.on_writable = self._writable
        if outgoing.streams:
            request.body.on_data = self._more
        self._out = outgoing.begin()
        self._push()

    def _more(self) -> None:
        """
        There is more of a body that is passed on as it comes.
        """
        if self.leg is not None and not self._torn and not self._outgoing.whole:
            self._push()

    def _push(self) -> None:
        request, raw, outgoing = self._request, self._raw, self._outgoing
        try:
            for _ in range(TURN):
                out = self._out
                if out:
                    sent = raw.send(out)
                    self.state.bytes_sent += sent
                    if sent < len(out):
                        self._out = memoryview(out)[sent:]
                        request.wait(self._policy.send_timeout, self._late)
                        return
                    self._out = b""
                if outgoing.whole:
                    self._sent()
                    return
                piece = outgoing.next()
                if piece is None:
                    request.stop_waiting()
                    return
                self._out = piece
            raw.again()
        except BodyError as refused:  # compiled, a name has one type
            if refused.reason:
                self._request.error(refused.reason)
            self._owner.give_up(refused.status)
        except OSError as error:
            self._unsent(error)

    def _sent(self) -> None:
        """
        All has been sent: now it is the upstream's turn.
        """
        request = self._request
        if not self.handed:
            request.action = READING_HEADER
        if not self._stuck:
            request.wait(self._policy.read_timeout, self._late)

    def _unsent(self, error: OSError) -> None:
        """
        The upstream takes no more. It may have said why before it went away.
        """
        self._torn = True
        if self.handed:
            return
        self._read()
        if self.leg is not None and not self.handed:
            self._request.log(level_of(error, "upstream"), broken(error, "send()"))
            self._owner.failed(ERROR)

    def _late(self) -> None:
        self._request.error(LATE)
        if self.handed:
            self._break_off()
        else:
            self._owner.failed(TIMEOUT)

    def _break_off(self) -> None:
        """
        What the client has got of the answer is all it will get.
        """
        self._owner.leave(failed=True)
        self._request.abort()

    # What comes.

    def _event(self, bits: int) -> None:
        if not self._stuck or self._held < self._policy.buffers:
            self._read()
        if self.leg is not None and not self._torn and (self._out or not self._outgoing.whole):
            self._push()

    def _read(self) -> None:
        request, raw, leg, state = self._request, self._raw, self.leg, self.state
        assert leg is not None
        reader = leg.reader
        for _ in range(TURN):
            try:
                data = raw.receive(PIECE)
            except OSError as error:
                self._broken(error)
                return
            if data is None:
                if self.unbuffered and self.handed and not self._stuck:
                    request.flush()
                return
            if not data:
                self._upstream_ended()
                return
            state.bytes_received += len(data)
            if self._headed:
                state.response_length += len(data)
            reader.feed(data)
            while (event := reader.next()) is not None:
                if isinstance(event, Data):
                    going = self._relay(event.data)
                elif isinstance(event, ResponseHead):
                    self._count(event)
                    going = self._owner.answered(event)
                else:
                    self._end(event)
                    return
                if not going:
                    return
            if self._stuck:
                request.stop_waiting()
                if self._held >= self._policy.buffers:
                    return
            elif self._outgoing.whole:
                request.wait(self._policy.read_timeout, self._late)
        raw.again()

    def _count(self, head: ResponseHead) -> None:
        """
        What comes behind the head that is the last one is the body, with its frames and with what it should not have.
        """
        self._heads += head.size
        if head.status >= OK:
            self._chunked = head.chunked

    def hand(self, reply: Reply) -> bool:
        """
        Begin to answer the client.

        @return: whether to go on.
        """
        self.handed = True
        request = self._request
        if request.method != "HEAD":
            # what nobody reads is not counted
            self._headed = True
            self.state.response_length = self.state.bytes_received - self._heads
        request.action = READING_BODY
        request.begin(reply)
        return self.leg is not None

    def _relay(self, data: bytes) -> bool:
        """
        Hand a piece of the body on.

        @return: whether to go on.
        """
        if self._stuck:
            self._ahead.append(data)
            self._held += len(data)
        elif not self._request.send(data):
            self._stuck = True
        return self.leg is not None

    def _writable(self) -> None:
        """
        The client takes more.
        """
        request = self._request
        self._stuck = False
        while self._ahead:
            data = self._ahead.pop(0)
            self._held -= len(data)
            if not request.send(data):
                self._stuck = True
                return
        if self._ended is not None:
            request.end(self._ended)
        elif self.leg is not None:
            if self._outgoing.whole:
                request.wait(self._policy.read_timeout, self._late)
            self._read()

    def _end(self, event: End | Refused) -> None:
        """
        The answer is over, or is none.
        """
        request = self._request
        if isinstance(event, Refused):
            request.action = event.action
            request.error(event.reason)
            if self.handed:
                self._break_off()
            else:
                self._owner.failed(INVALID)
            return
        leg, self.leg = self.leg, None
        assert leg is not None
        self.state.trailers = event.trailers
        if leg.reader.held and request.method != "HEAD":  # there nobody reads on
            request.log(WARN, "upstream sent data after final chunk" if self._chunked else TOO_MUCH)
        if self.lasting and self._outgoing.whole and not (self._out or self._torn):
            leg.leave(self._owner.pool)
        else:
            leg.close()
        self._owner.leave(failed=False)
        request.stop_waiting()
        ended: Pairs = event.trailers if self._policy.pass_trailers else ()
        if self._stuck:
            self._ended = ended
        else:
            request.end(ended)

    def _upstream_ended(self) -> None:
        request, leg = self._request, self.leg
        assert leg is not None
        event = leg.reader.finish()
        assert event is not None  # an answer is awaited
        if self.handed or isinstance(event, End):
            self._end(event)
        else:
            request.action = READING_HEADER
            request.error("upstream prematurely closed connection")
            self._owner.failed(ERROR)

    def _broken(self, error: OSError) -> None:
        request = self._request
        request.action = READING_BODY if self.handed else READING_HEADER
        request.log(level_of(error, "upstream"), broken(error, "recv()"))
        if self.handed:
            self._break_off()
        else:
            self._owner.failed(ERROR)

    # The end.

    def drop(self, failed: bool) -> None:
        """
        Let go of the connection, in the middle of whatever it is.
        """
        leg, self.leg = self.leg, None
        if leg is not None:
            leg.close(failed)
