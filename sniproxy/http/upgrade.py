"""
Another protocol behind an answer 101, WebSocket for one: bytes go to and fro, and nobody looks at them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from sniproxy.common.phases import BAD_GATEWAY, OK
from sniproxy.common.ssl_errors import broken, level_of
from sniproxy.http.upstream_states import UpstreamState
from sniproxy.net.relay import Options, Result

if TYPE_CHECKING:
    from sniproxy.http.proxy_policy import ProxyPolicy
    from sniproxy.http.request import Request
    from sniproxy.http.upstream_leg import UpstreamLeg
    from sniproxy.wire.http1 import ResponseHead

SWITCHING: Final = 101


class Upgrade:
    """
    One request that has become a tunnel. Is lent both legs; each byte puts C{proxy_read_timeout} off.
    """

    __slots__ = ("_leave", "_leg", "_policy", "_relaying", "_request", "_state")

    def __init__(
        self, request: Request, leg: UpstreamLeg, policy: ProxyPolicy, state: UpstreamState, leave: Callable[..., None]
    ) -> None:
        """
        @param leave: lets go of the upstream.
        """
        self._request = request
        self._leg = leg
        self._policy = policy
        self._state = state
        self._leave = leave
        self._relaying: Any = None

    def begin(self, head: ResponseHead) -> None:
        """
        Tell the client, and relay.
        """
        request = self._request
        reply = self._policy.replies.reply(request, head)
        reply.headers.set("Connection", "upgrade")
        reply.length = None
        request.stop_waiting()
        request.status = request.status or head.status
        client = request.exchange.upgrade(reply)
        if request.over:
            return  # and has let go of the upstream
        if client is None:
            request.status = 0
            request.error("the client's connection cannot be given to another protocol")
            self._leave(failed=True)
            request.finalize(BAD_GATEWAY)
            return
        request.reply = reply
        request.action = "proxying upgraded connection"
        upstream = self._leg.leg
        held = self._leg.reader.held
        if held:
            upstream.hold(held)
            self._state.bytes_received -= len(held)  # the relay receives them
        network = request.runtime.network
        options = Options(self._policy.buffer_size, False, self._policy.read_timeout)
        relay = network.relay(client, upstream)
        self._relaying = relay.make(client, upstream, options, self._relayed, request, request.runtime.now)
        # before everything else that is done at the end, while it can be counted
        request.cleanup.insert(0, self._count)
        client.owner = request
        request.wait(self._policy.read_timeout, self._late)
        self._relaying.begin()

    def _late(self) -> None:
        self._request.info("upstream timed out (110: Connection timed out)")
        self._request.session.finish(OK)

    def _relayed(self, result: Result) -> None:
        request, error = self._request, result.error
        if error is not None:
            request.action = f"{'sending to' if result.sending else 'reading from'} {result.side}"
            request.log(level_of(error, result.side), broken(error, "send()" if result.sending else "recv()"))
        request.session.finish(OK)

    def _count(self) -> None:
        relaying, self._relaying = self._relaying, None
        relaying.stop()
        request, state = self._request, self._state
        up, down = relaying.up, relaying.down
        request.length += up.received
        request.body_sent += down.sent
        state.bytes_sent += up.sent
        state.bytes_received += down.received
        state.response_length += down.received
