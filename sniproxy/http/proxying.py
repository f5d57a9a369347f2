"""
One request on its way to an upstream; and to the next, where one has failed.

Strategy: each step is one method that goes on to the next or leaves a wait behind. Whatever happens before the client
was answered ends in C{failed}, which decides whether there is another try, as ngx_http_upstream_next does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sniproxy.common.phases import BAD_GATEWAY, BAD_REQUEST, INTERNAL_SERVER_ERROR
from sniproxy.http.attempt import ERROR, INVALID, READING_HEADER, TIMEOUT, Attempt
from sniproxy.http.outgoing import Outgoing
from sniproxy.http.phases import GATEWAY_TIMEOUT, LAST_CONNECTION, UNAUTHORIZED
from sniproxy.http.proxy_replies import Kept
from sniproxy.http.spool import Gathering, Spool
from sniproxy.http.upgrade import SWITCHING, Upgrade
from sniproxy.http.upstream_leg import Connecting, UpstreamLeg, Way
from sniproxy.http.upstream_states import UpstreamState
from sniproxy.wire.http1 import ResponseHead

if TYPE_CHECKING:
    from sniproxy.common.upstream import Upstream
    from sniproxy.http.keepalive import Pool
    from sniproxy.http.proxy_policy import ProxyPolicy
    from sniproxy.http.proxy_target import Target
    from sniproxy.http.request import Request

NON_IDEMPOTENT: Final = 8
"""C{proxy_next_upstream non_idempotent}; L{sniproxy.http.attempt} has the other kinds of failures."""

STATUSES: Final = {500: 0x010, 502: 0x020, 503: 0x040, 504: 0x080, 403: 0x100, 404: 0x200, 429: 0x400}
"""The same for answers that count as failures."""

NEUTRAL: Final = frozenset((403, 404))
"""Answers for which another peer is asked, but which are no failure of the first."""

_UNSAFE: Final = frozenset(("POST", "LOCK", "PATCH"))
"""What may not be asked twice."""


class Proxying:
    """
    Owns the question to the resolver, the attempt to connect and the attempt to be answered; C{cancel} ends whichever
    there is.

    @ivar policy: what its location says.
    @ivar pool: where connections to its upstream are kept.
    """

    __slots__ = (
        "_attempt",
        "_begun",
        "_cached",
        "_choice",
        "_connecting",
        "_outgoing",
        "_question",
        "_request",
        "_sent",
        "_spool",
        "_state",
        "_target",
        "_tried_at",
        "_uri",
        "_way",
        "policy",
        "pool",
    )

    def __init__(self, request: Request, policy: ProxyPolicy) -> None:
        self._request = request
        self.policy = policy
        self.pool: Pool | None = None
        self._target: Target | None = policy.target
        self._uri = ""
        self._spool: Spool | None = None
        self._outgoing: Outgoing | None = None
        self._way: Way | None = None
        self._choice: Any = None
        self._question: Any = None
        self._connecting: Connecting | None = None
        self._attempt: Attempt | None = None
        self._state: UpstreamState | None = None
        self._begun = 0.0
        self._tried_at = 0.0
        self._cached = False
        self._sent = False

    # The body of the request.

    def begin(self) -> None:
        """
        Take the request.
        """
        request, policy, body = self._request, self.policy, self._request.body
        request.cleanup.append(self.cancel)
        request.gone = self._client_gone
        if request.upstream_states:
            request.upstream_states.append(UpstreamState(""))  # what follows belongs to another group
        if body.done:
            if body.received:
                self._spool = request.notes.get(Spool)
            self._find(streams=False)
        elif policy.request_buffering or (body.length is None and policy.version < (1, 1)):
            Gathering(request, self._gathered).begin()
        else:
            self._find(streams=True)

    def _gathered(self, spool: Spool) -> None:
        self._spool = self._request.notes[Spool] = spool
        self._find(streams=False)

    def _client_gone(self) -> bool:
        return self.policy.ignore_client_abort

    # Which upstream.

    def _find(self, streams: bool) -> None:
        policy = self.policy
        if policy.upstream is not None:
            self._choose(policy.upstream, streams)
            return

        def found(target: Target | None, upstream: Upstream | None) -> None:
            self._question = None
            self._target = target
            if upstream is None:
                self.give_up(INTERNAL_SERVER_ERROR if target is None else BAD_GATEWAY)
            else:
                self._choose(upstream, streams)

        self._question = policy.find(self._request, found)

    def _choose(self, upstream: Upstream, streams: bool) -> None:
        request, policy, target = self._request, self.policy, self._target
        assert target is not None
        self._begun = self._tried_at = request.runtime.now()
        self._uri = policy.uri(request, target)
        try:
            self._outgoing = Outgoing(request, policy, target, self._uri, self._spool, streams)
        except ValueError:
            request.error("a blank, a line end or a NUL in what was to be sent to the upstream")
            self.give_up(BAD_REQUEST)
            return
        self._way = policy.way(request, target)
        if self._way is None:
            self.give_up(INTERNAL_SERVER_ERROR)
            return
        self.pool = policy.pool_of(upstream)
        self._choice = choice = upstream.begin(request)
        if policy.next_tries and choice.tries > policy.next_tries:
            choice.tries = policy.next_tries
        self._connect()

    # Which peer.

    def _connect(self) -> None:
        request, target, way = self._request, self._target, self._way
        assert target is not None and way is not None
        request.action = "connecting to upstream"
        peer = self._choice.next()
        name = self._choice.name if peer is None else peer.name
        state = UpstreamState(name)
        request.upstream_states.append(state)
        request.upstream = f"{target.scheme}{name}{self._uri}"
        if peer is None:
            state.status = BAD_GATEWAY
            request.error("no live upstreams")
            self.give_up(BAD_GATEWAY)
            return
        if peer.address.family == "unix":
            request.upstream = f"{target.scheme}{name}:{self._uri}"
        self._state = state
        if self.pool is not None:
            leg = self.pool.take(way.key(peer))
            if leg is not None:
                self._cached = True
                state.connect_time = 0.0
                self._ask(leg)
                return
        self._cached = False
        self._connecting = Connecting(request, way, peer, self._connected, self._unconnected)
        self._connecting.begin()

    def _unconnected(self, late: bool, ours: bool) -> None:
        self._connecting = None
        if not ours:
            self.failed(TIMEOUT if late else ERROR)
            return
        assert self._state is not None
        self._state.peer = ""
        self.give_up(INTERNAL_SERVER_ERROR)

    def _connected(self, leg: UpstreamLeg) -> None:
        self._connecting = None
        assert self._state is not None
        self._state.connect_time = self._request.runtime.now() - self._tried_at
        self._choice.connected()
        self._ask(leg)

    def _ask(self, leg: UpstreamLeg) -> None:
        assert self._outgoing is not None and self._state is not None
        self._sent = True
        self._attempt = attempt = Attempt(self, self._request, self._outgoing, leg, self._state)
        attempt.begin()

    # What becomes of it.

    def failed(self, kind: int, status: int = 0) -> None:
        """
        This peer has failed, and it is in the log: try another where the policy allows it.

        @param kind: how.
        @param status: its answer's; 0 where there was none.
        """
        comes_to = status or (GATEWAY_TIMEOUT if kind == TIMEOUT else BAD_GATEWAY)
        if self._state is not None:
            self._state.status = comes_to
        self.leave(failed=status not in NEUTRAL)
        choice = self._choice
        if self._cached and kind == ERROR:
            # it was closed while nobody used it: that was no try
            choice.tries += 1
        if choice.tries and self._again(kind):
            self._tried_at = self._request.runtime.now()
            self._connect()
        else:
            self.give_up(comes_to)

    def _again(self, kind: int) -> bool:
        """
        Whether C{proxy_next_upstream} allows another try after this.
        """
        policy, outgoing = self.policy, self._outgoing
        assert outgoing is not None
        if self._sent:
            if outgoing.streams:
                return False
            if outgoing.method in _UNSAFE:
                kind |= NON_IDEMPOTENT
        if policy.next_upstream & kind != kind:
            return False
        return not policy.next_timeout or self._request.runtime.now() - self._begun < policy.next_timeout

    def give_up(self, status: int) -> None:
        """
        Answer a status ourselves.
        """
        self.leave(failed=False)
        self._request.finalize(status)

    def answered(self, head: ResponseHead) -> bool:
        """
        The head of an answer has come: decide what is made of it.

        @return: whether the attempt goes on.
        """
        request, policy, attempt, state = self._request, self.policy, self._attempt, self._state
        assert attempt is not None and state is not None
        status = head.status
        if status < 200 and status != SWITCHING:
            return True
        state.header_time = request.runtime.now() - self._tried_at
        state.status = status
        state.headers = head.headers
        state.fields = head.fields
        if status == SWITCHING:
            self._switch(attempt, state, head)
            return False
        attempt.lasting = (
            head.keep_alive and head.version[1] > 0 and policy.headers.lasting(request, policy.version >= (1, 1))
        )
        if status >= 300:
            kind = policy.next_statuses.get(status, 0)
            if kind and self._choice.tries > 1 and self._again(kind):
                self.failed(kind, status)
                return False
            if policy.intercept and self._intercepted(status):
                return False
        replies = policy.replies
        if replies.accelerated(head.fields):
            steps = replies.steps(request, head)
            if steps is not None:
                self.leave(failed=False)
                request.stop_waiting()
                steps()
                return False
            attempt.unbuffered = replies.unbuffered(head.fields, attempt.unbuffered)
        return attempt.hand(replies.reply(request, head))

    def _intercepted(self, status: int) -> bool:
        """
        Whether C{error_page} has taken the request.
        """
        request = self._request
        hook = request.place.error_page
        if hook is None:
            return False
        self._time()
        before = request.keep_alive
        request.keep_alive = before and status not in LAST_CONNECTION
        if status == UNAUTHORIZED:
            assert self._state is not None
            challenges = [pair for pair in self._state.headers if pair[0].lower() == "www-authenticate"]
            request.notes[Kept] = Kept(tuple(challenges))
        if not hook(request, status):
            request.keep_alive = before
            request.notes.pop(Kept, None)
            return False
        self.leave(failed=False)
        return True

    def _switch(self, attempt: Attempt, state: UpstreamState, head: ResponseHead) -> None:
        outgoing, leg = self._outgoing, attempt.leg
        assert outgoing is not None and leg is not None
        if not outgoing.upgrades:
            self._request.action = READING_HEADER
            self._request.error("upstream switched to another protocol, which nobody had asked for")
            self.failed(INVALID)
            return
        attempt.handed = True
        Upgrade(self._request, leg, self.policy, state, self.leave).begin(head)

    # The end.

    def _time(self) -> None:
        if self._state is not None:
            self._state.response_time = self._request.runtime.now() - self._tried_at

    def leave(self, failed: bool) -> None:
        """
        Let go of the peer in use, with whatever is under way to it.
        """
        question, self._question = self._question, None
        if question is not None:
            question.cancel()
        connecting, self._connecting = self._connecting, None
        if connecting is not None:
            connecting.cancel()
        attempt, self._attempt = self._attempt, None
        if attempt is not None:
            attempt.drop(failed)
        if self._state is not None:
            self._time()
            self._state = None
            self._choice.release(failed)

    def cancel(self) -> None:
        """
        The request is over.
        """
        self.leave(failed=False)
