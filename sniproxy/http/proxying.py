"""
One request on its way to an upstream, and the answer on its way back; or the next upstream, where one has failed.

Strategy: each step is one method that goes on to the next or leaves a wait behind. What comes from the upstream is read
when there is something and handed on at once, so that of a body no more is held than one piece and what the client has
not taken. Whatever happens before the client was answered ends in C{_next}, which decides whether there is another try,
as ngx_http_upstream_next does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sniproxy.common.phases import BAD_GATEWAY, BAD_REQUEST, INTERNAL_SERVER_ERROR
from sniproxy.common.ssl_errors import broken, level_of
from sniproxy.http.body import BodyError
from sniproxy.http.exchange import Pairs
from sniproxy.http.phases import GATEWAY_TIMEOUT
from sniproxy.http.spool import Gathering, Spool
from sniproxy.http.upgrade import Upgrade
from sniproxy.http.upstream_leg import Connecting, UpstreamLeg, Way
from sniproxy.http.upstream_states import UpstreamState
from sniproxy.wire.http1 import Data, End, Refused, ResponseHead
from sniproxy.wire.http1_write import chunk, last_chunk, request_head

if TYPE_CHECKING:
    from sniproxy.common.upstream import Upstream
    from sniproxy.http.keepalive import Pool
    from sniproxy.http.proxy_policy import ProxyPolicy
    from sniproxy.http.proxy_target import Target
    from sniproxy.http.request import Request

PIECE: Final = 65536
"""Bytes that are read from an upstream at a time."""

TURN: Final = 16
"""Pieces that are read from one upstream before others have their turn."""

SMALL: Final = 16384
"""Bytes of a body that go into one send with the head."""

# How a try can fail, C{proxy_next_upstream}.
ERROR: Final = 1
TIMEOUT: Final = 2
INVALID: Final = 4
NON_IDEMPOTENT: Final = 8

STATUSES: Final = {500: 0x010, 502: 0x020, 503: 0x040, 504: 0x080, 403: 0x100, 404: 0x200, 429: 0x400}
"""The same for answers that count as failures."""

NEUTRAL: Final = frozenset((403, 404))
"""Answers for which another peer is asked, but which are no failure of the first."""

READING_HEADER: Final = "reading response header from upstream"
_UNSAFE: Final = frozenset(("POST", "LOCK", "PATCH"))
"""What may not be asked twice, C{non_idempotent}."""

_SWITCHING: Final = 101


class Proxying:
    """
    Owns the attempt to connect, the connection while it is used, and what the client has not taken of the answer: as
    many bytes as C{proxy_buffers} say, and one piece. C{cancel} ends whichever there is.
    """

    __slots__ = (
        "_ahead",
        "_begun",
        "_body",
        "_cached",
        "_choice",
        "_chunked",
        "_connecting",
        "_ended",
        "_fields",
        "_handed",
        "_head",
        "_held",
        "_lasting",
        "_leg",
        "_method",
        "_out",
        "_place",
        "_policy",
        "_pool",
        "_question",
        "_raw",
        "_request",
        "_sent",
        "_spool",
        "_state",
        "_streams",
        "_stuck",
        "_target",
        "_tried_at",
        "_unbuffered",
        "_uri",
        "_way",
        "_whole",
    )

    def __init__(self, request: Request, policy: ProxyPolicy) -> None:
        self._request = request
        self._policy = policy
        self._begun = 0.0
        self._tried_at = 0.0
        self._choice: Any = None
        self._connecting: Connecting | None = None
        self._question: Any = None
        self._leg: UpstreamLeg | None = None
        self._raw: Any = None
        self._state: UpstreamState | None = None
        self._way: Way | None = None
        self._pool: Pool | None = None
        self._lasting = False
        self._target: Target | None = policy.target
        self._uri = ""
        self._method = ""
        self._head = b""
        self._fields: Pairs = ()
        # what is sent: the body, where it is kept; how far it is read; what a leg has not taken
        self._spool: Spool | None = None
        self._streams = False
        self._chunked = False
        self._body = b""
        self._place = 0
        self._out: Any = b""
        self._sent = False
        self._whole = False
        # what came: whether the client was answered, and what it has not taken
        self._cached = False
        self._handed = False
        self._unbuffered = not policy.buffering
        self._stuck = False
        self._ahead: list[bytes] = []
        self._held = 0
        self._ended: Pairs | None = None

    # The body of the request.

    def begin(self) -> None:
        """
        Take the request.
        """
        request, policy = self._request, self._policy
        request.cleanup.append(self.cancel)
        request.gone = self._client_gone
        request.on_writable = self._writable
        if request.upstream_states:
            request.upstream_states.append(UpstreamState(""))  # what follows belongs to another group
        if request.body.done:
            kept = request._notes and request._notes.get(Spool)
            if kept:
                self._spool = kept
            self._find()
        elif policy.request_buffering or (request.body.length is None and policy.version < (1, 1)):
            Gathering(request, self._gathered).begin()
        else:
            self._streams = True
            self._find()

    def _gathered(self, spool: Spool) -> None:
        self._spool = self._request.notes[Spool] = spool
        self._find()

    def _client_gone(self) -> bool:
        return self._policy.ignore_client_abort

    # Which upstream.

    def _find(self) -> None:
        policy = self._policy
        if policy.upstream is not None:
            self._choose(policy.upstream)
        else:
            self._question = policy.find(self._request, self._found)

    def _found(self, target: Target | None, upstream: Upstream | None) -> None:
        """
        @param upstream: None where there is none; the log says why.
        """
        self._question = None
        self._target = target
        if upstream is None:
            self._give_up(BAD_GATEWAY if target is not None else INTERNAL_SERVER_ERROR)
        else:
            self._choose(upstream)

    def _choose(self, upstream: Upstream) -> None:
        request, policy, target = self._request, self._policy, self._target
        assert target is not None
        self._begun = request.runtime.now()
        self._uri = policy.uri(request, target)
        try:
            self._head = self._make()
            self._way = policy.way(request, target)
        except ValueError:
            request.error("a line end, a blank or a NUL in what would be sent to the upstream")
            self._give_up(BAD_REQUEST)
            return
        if self._way is None:
            self._give_up(INTERNAL_SERVER_ERROR)
            return
        self._choice = choice = upstream.begin(request)
        if policy.next_tries and choice.tries > policy.next_tries:
            choice.tries = policy.next_tries
        self._pool = policy.pool_of(upstream)
        self._connect()

    def _make(self) -> bytes:
        """
        @return: the head of the request that goes on.
        @raise ValueError: it would not be one.
        """
        request, policy, target = self._request, self._policy, self._target
        assert target is not None
        framing: tuple[str, str] | None = None
        spool = self._spool
        if policy.set_body is not None:
            self._body = policy.set_body.render(request).encode("utf-8", "surrogateescape")
            framing = ("Content-Length", str(len(self._body)))
            self._spool = None
            self._streams = False
        elif not policy.pass_body:
            self._spool = None
            self._streams = False
        elif self._streams:
            length = request.body.length
            if length is None:
                self._chunked = True
                framing = ("Transfer-Encoding", "chunked")
            else:
                framing = ("Content-Length", str(length))
        elif spool is not None:
            framing = ("Content-Length", str(spool.length))
            if spool.length <= SMALL and not spool.filed:
                self._body = spool.read(0)
                self._spool = None
        elif "content-length" in request.fields:
            framing = ("Content-Length", "0")
        self._method = request.method if policy.method is None else policy.method.render(request)
        self._fields = policy.headers.fields(request, target.host, framing)
        return request_head(self._method, self._uri, policy.version, self._fields)

    # Which peer.

    def _connect(self) -> None:
        request, target, way = self._request, self._target, self._way
        assert target is not None and way is not None
        request.action = "connecting to upstream"
        self._tried_at = request.runtime.now()
        peer = self._choice.next()
        if peer is None:
            name = self._choice.name
            state = UpstreamState(name)
            state.status = BAD_GATEWAY
            request.upstream_states.append(state)
            request.upstream = f"{target.scheme}{name}{self._uri}"
            request.error("no live upstreams")
            self._give_up(BAD_GATEWAY)
            return
        name = peer.name
        self._state = state = UpstreamState(name)
        request.upstream_states.append(state)
        colon = ":" if peer.address.family == "unix" else ""
        request.upstream = f"{target.scheme}{name}{colon}{self._uri}"
        if self._pool is not None:
            leg = self._pool.take(way.key(peer.address))
            if leg is not None:
                self._cached = True
                state.connect_time = 0.0
                self._use(leg)
                return
        self._cached = False
        self._connecting = Connecting(request, way, peer, self._connected, self._unconnected)
        self._connecting.begin()

    def _unconnected(self, late: bool, ours: bool) -> None:
        self._connecting = None
        if ours:
            assert self._state is not None
            self._state.peer = ""
            self._give_up(INTERNAL_SERVER_ERROR)
        else:
            self._next(TIMEOUT if late else ERROR)

    def _connected(self, leg: UpstreamLeg) -> None:
        self._connecting = None
        state = self._state
        assert state is not None
        state.connect_time = self._request.runtime.now() - self._tried_at
        self._choice.connected()
        self._use(leg)

    def _next(self, kind: int, status: int = 0) -> None:
        """
        This peer has failed, in the log already: try another where the policy allows it.

        @param kind: how, as C{proxy_next_upstream} names it.
        @param status: what the client is told where there is no other try; 0 for what that comes to.
        """
        status = status or (GATEWAY_TIMEOUT if kind == TIMEOUT else BAD_GATEWAY)
        if self._state is not None:
            self._state.status = status
        self._leave(failed=status not in NEUTRAL)
        choice = self._choice
        if self._cached and kind == ERROR:
            choice.tries += 1
        if not choice.tries or not self._again(kind):
            self._give_up(status)
            return
        self._connect()

    def _again(self, kind: int) -> bool:
        """
        Whether C{proxy_next_upstream} allows another try after this.
        """
        policy = self._policy
        if self._sent:
            if self._method in _UNSAFE:
                kind |= NON_IDEMPOTENT
            if self._streams:
                return False
        if policy.next_upstream & kind != kind:
            return False
        spent = self._request.runtime.now() - self._begun
        return not policy.next_timeout or spent < policy.next_timeout

    def _give_up(self, status: int) -> None:
        self._leave(failed=False)
        self._request.finalize(status)

    # What is sent.

    def _use(self, leg: UpstreamLeg) -> None:
        request = self._request
        self._leg = leg
        self._raw = leg.leg
        leg.use(request, self._event, self._method)
        request.action = "sending request to upstream"
        self._sent = True
        self._place = 0
        self._out = self._head + self._body
        self._whole = self._spool is None and not self._streams
        if self._streams:
            request.body.on_data = self._body_event
        self._push()

    def _body_event(self) -> None:
        """
        There is more of a body that is passed on as it comes.
        """
        if self._leg is not None and not self._whole:
            self._push()

    def _push(self) -> None:
        """
        Send what can be sent now.
        """
        request, raw, state = self._request, self._raw, self._state
        assert state is not None
        try:
            for _ in range(TURN):
                out = self._out
                if out:
                    sent = raw.send(out)
                    state.bytes_sent += sent
                    if sent < len(out):
                        if sent:
                            self._out = memoryview(out)[sent:]
                        request.wait(self._policy.send_timeout, self._late)
                        return
                    self._out = b""
                if self._whole:
                    break
                piece = self._piece()
                if piece is None:
                    return
                self._out = piece
                if not piece:
                    self._whole = True
            else:
                raw.again()
                return
        except OSError as error:
            self._unsent(error)
            return
        if not self._handed:
            request.action = READING_HEADER
        if not self._stuck:
            request.wait(self._policy.read_timeout, self._late)

    def _piece(self) -> bytes | None:
        """
        @return: what comes next of the body; None where that is not known yet, or nobody wants it any more.
        @raise OSError: a temporary file cannot be read.
        """
        spool = self._spool
        if spool is not None:
            piece = spool.read(self._place)
            self._place += len(piece)
            return piece
        request = self._request
        try:
            data = request.body.read()
        except BodyError as error:
            self._give_up(error.status)
            return None
        if data is None:
            request.stop_waiting()
            return None
        if not self._chunked:
            return data
        if data:
            return chunk(data)
        self._whole = True
        return last_chunk()

    def _unsent(self, error: OSError) -> None:
        """
        The upstream takes no more. It may have said why before it went away.
        """
        self._whole = True
        self._out = b""
        if not self._handed:
            self._read()
            if self._leg is None or self._handed:
                return
            self._request.log(level_of(error, "upstream"), broken(error, "send()"))
            self._next(ERROR)

    def _late(self) -> None:
        request = self._request
        request.error("upstream timed out (110: Connection timed out)")
        if self._handed:
            self._leave(failed=True)
            request.abort()
        else:
            self._next(TIMEOUT)

    # What comes.

    def _event(self, bits: int) -> None:
        if not self._stuck or self._held < self._policy.buffers:
            self._read()
        if (self._out or not self._whole) and self._leg is not None:
            self._push()

    def _read(self) -> None:
        request, raw, policy = self._request, self._raw, self._policy
        leg, state = self._leg, self._state
        assert leg is not None and state is not None
        reader = leg.reader
        for _ in range(TURN):
            try:
                data = raw.receive(PIECE)
            except OSError as error:
                self._broken(error)
                return
            if data is None:
                if self._unbuffered and self._handed and not self._stuck:
                    request.flush()
                return
            if not data:
                self._upstream_ended()
                return
            state.bytes_received += len(data)
            reader.feed(data)
            while True:
                event = reader.next()
                if event is None:
                    break
                if isinstance(event, Data):
                    if not self._relay(event.data):
                        return
                elif isinstance(event, ResponseHead):
                    if not self._take_head(event):
                        return
                elif not self._end(event):
                    return
            if self._stuck:
                request.stop_waiting()
                if self._held >= policy.buffers:
                    return
            elif self._whole:
                request.wait(policy.read_timeout, self._late)
        raw.again()

    def _relay(self, data: bytes) -> bool:
        """
        Hand a piece of the body on.

        @return: whether to go on.
        """
        state = self._state
        assert state is not None
        state.response_length += len(data)
        if self._stuck:
            self._ahead.append(data)
            self._held += len(data)
            return True
        if not self._request.send(data):
            self._stuck = True
        return self._leg is not None

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
                self._stuck = not request.over
                return
        if self._ended is not None:
            request.end(self._ended)
        elif self._leg is not None:
            request.wait(self._policy.read_timeout, self._late)
            self._read()

    def _end(self, event: End | Refused) -> bool:
        """
        The answer is over.

        @return: False.
        """
        request, state = self._request, self._state
        if isinstance(event, Refused):
            request.action = event.action
            request.error(event.reason)
            if self._handed:
                self._leave(failed=True)
                request.abort()
            else:
                self._next(INVALID)
            return False
        assert state is not None
        state.trailers = event.trailers
        self._leave(failed=False, whole=True)
        request.stop_waiting()
        ended: Pairs = event.trailers if self._policy.pass_trailers else ()
        if self._stuck:
            self._ended = ended
        else:
            request.end(ended)
        return False

    def _upstream_ended(self) -> None:
        leg, request = self._leg, self._request
        assert leg is not None
        event = leg.reader.finish()
        assert event is not None
        if self._handed or isinstance(event, End):
            self._end(event)
            return
        request.action = READING_HEADER
        request.error("upstream prematurely closed connection")
        self._next(ERROR)

    def _broken(self, error: OSError) -> None:
        request = self._request
        request.action = "reading upstream" if self._handed else READING_HEADER
        request.log(level_of(error, "upstream"), broken(error, "recv()"))
        if self._handed:
            self._leave(failed=True)
            request.abort()
        else:
            self._next(ERROR)

    def _take_head(self, head: ResponseHead) -> bool:
        """
        @return: whether to go on.
        """
        status = head.status
        if status < 200:
            return self._interim(head)
        request, policy, state = self._request, self._policy, self._state
        assert state is not None
        state.status = status
        state.header_time = request.runtime.now() - self._tried_at
        state.headers = head.headers
        state.fields = head.fields
        request.action = "reading upstream"
        self._lasting = head.keep_alive and head.version[1] > 0
        if status >= 300:
            kind = policy.next_statuses.get(status, 0)
            if kind and self._choice.tries > 1 and self._again(kind):
                self._next(kind, status)
                return False
            if policy.intercept and self._intercepted(status):
                return False
        replies = policy.replies
        if replies.accelerated(head.fields):
            steps = replies.steps(request, head)
            if steps is not None:
                self._leave(failed=False)
                request.run(steps)
                return False
            self._unbuffered = replies.unbuffered(head.fields, self._unbuffered)
        reply = replies.reply(request, head)
        self._handed = True
        request.begin(reply)
        return self._leg is not None

    def _intercepted(self, status: int) -> bool:
        """
        Whether C{error_page} has taken the request.
        """
        request = self._request
        hook = request.place.error_page
        if hook is None:
            return False
        self._time()
        leg = self._leg
        if not hook(request, status):
            return False
        if self._leg is leg:
            self._leave(failed=False)
        return True

    def _interim(self, head: ResponseHead) -> bool:
        """
        An answer that is none yet. What it says is for us alone, unless it switches protocols.
        """
        if head.status != _SWITCHING:
            return True
        request, leg, state = self._request, self._leg, self._state
        assert leg is not None and state is not None
        if not any(name.lower() == "upgrade" for name, _ in self._fields):
            request.action = READING_HEADER
            request.error("upstream switched to another protocol, which nobody had asked for")
            self._next(INVALID)
            return False
        state.status = head.status
        state.header_time = request.runtime.now() - self._tried_at
        state.headers = head.headers
        state.fields = head.fields
        self._handed = True
        Upgrade(request, leg, self._policy, state, self._leave).begin(head)
        return False

    # The end.

    def _time(self) -> None:
        state = self._state
        if state is not None:
            state.response_time = self._request.runtime.now() - self._tried_at

    def _leave(self, failed: bool, whole: bool = False) -> None:
        """
        Let go of the peer in use, with whatever is under way to it.

        @param whole: the answer has been read to its end.
        """
        question, self._question = self._question, None
        if question is not None:
            question.cancel()
        connecting, self._connecting = self._connecting, None
        if connecting is not None:
            connecting.cancel()
        self._time()
        state, self._state = self._state, None
        leg, self._leg = self._leg, None
        self._raw = None
        if state is not None:
            self._choice.release(failed)
        if leg is not None:
            if whole and self._lasting and self._whole and not self._out:
                leg.leave(self._pool)
            else:
                leg.close(failed=failed or not whole)

    def cancel(self) -> None:
        """
        The request is over.
        """
        self._leave(failed=False)
        self._ahead.clear()
