"""
One session of datagrams on its way to an upstream: what L{sniproxy.stream.proxying} does for streams, where there is
neither a handshake nor an end.

Strategy: which upstream and which peer is found as ever. A datagram socket is connected as soon as it is asked for, so
a peer fails there only where the system knows no way to it; that it does not listen is known by what the network says
later, when it is too late for another one: then it is marked when the session ends, as ngx_stream_proxy_finalize does,
and the next session goes elsewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sniproxy.common.phases import BAD_GATEWAY, OK
from sniproxy.common.ssl_errors import broken, level_of
from sniproxy.levels import INFO
from sniproxy.net.datagram_relay import DatagramRelaying
from sniproxy.net.rated import Rates
from sniproxy.net.relay import Result
from sniproxy.stream.proxying import Proxying

if TYPE_CHECKING:
    from sniproxy.common.session import Session
    from sniproxy.stream.proxy import ProxyPolicy


class DatagramProxying(Proxying):
    """
    Owns what L{Proxying} owns, and the relay of datagrams.
    """

    __slots__ = ("_failed", "_moving")

    def __init__(self, session: Session, policy: ProxyPolicy) -> None:
        super().__init__(session, policy)
        self._options = policy.connect_datagrams
        self._moving: DatagramRelaying | None = None
        self._failed = False

    # Traffic

    @property
    def bytes_received(self) -> int:
        """
        From the client, whose first datagram counts from the beginning.
        """
        first: int = self._session.client.first
        return first if self._moving is None else self._moving.up.received

    @property
    def bytes_sent(self) -> int:
        """
        To the client.
        """
        return 0 if self._moving is None else self._moving.down.sent

    @property
    def bytes_to_upstream(self) -> int:
        """
        To the upstream.
        """
        return 0 if self._moving is None else self._moving.up.sent

    @property
    def bytes_from_upstream(self) -> int:
        """
        From the upstream.
        """
        return 0 if self._moving is None else self._moving.down.received

    @property
    def first_byte_time(self) -> float | None:
        """
        Seconds from the begin of this try to the first answer; None before there is one.
        """
        moving = self._moving
        return None if moving is None or moving.down.began is None else moving.down.began - self._tried_at

    # Which peer

    def _connected(self, outcome: Any, bits: int) -> None:
        self._question = None
        if isinstance(outcome, OSError):
            super()._connected(outcome, bits)
            return
        self._leg = outcome
        outcome.owner = self._session
        self._established()

    # Datagrams

    def _established(self) -> None:
        session, policy = self._session, self._policy
        runtime = session.runtime
        assert self._state is not None
        self._state.connect_time = runtime.now() - self._tried_at
        self._choice.connected()
        if session.server.error_log.level >= INFO:
            session.tell(f"udp proxy {self._leg.local.text} connected to {self._peer.address.text}")
        session.action = "proxying connection"
        session.wait(policy.datagrams.timeout, self._idle)
        up, down = (0, 0) if policy.rates is None else policy.rates.of(session)
        self._moving = moving = DatagramRelaying(
            session.client,
            self._leg,
            policy.datagrams,
            Rates(up, down, self._begun),
            runtime.network.clock,
            self._moved,
            self._refused,
            session,
            b"" if policy.header is None else policy.header(session),
        )
        moving.begin()

    def _refused(self, error: OSError) -> None:
        """
        The network has answered in the place of the peer.
        """
        session = self._session
        self._failed = True
        session.action = "proxying and reading from upstream"
        session.log(level_of(error, "upstream"), broken(error, "recv()"))
        session.action = "proxying connection"

    def _idle(self) -> None:
        session, moving = self._session, self._moving
        assert moving is not None
        if moving.complete:
            self._report("udp timed out")
            session.finish(OK)
            return
        session.error("upstream timed out (110: Connection timed out)")
        self._failed = True
        session.finish(BAD_GATEWAY)

    def _moved(self, result: Result | None) -> None:
        session = self._session
        if result is None:
            self._report("udp done")
        else:
            assert result.error is not None
            self._failed = self._failed or result.side == "upstream"
            session.action = f"proxying and sending to {result.side}"
            session.log(level_of(result.error, result.side), broken(result.error, "sendmsg()"))
            session.action = "proxying connection"
        session.finish(OK)

    def _report(self, what: str) -> None:
        session, moving = self._session, self._moving
        assert moving is not None
        if session.server.error_log.level >= INFO:
            session.tell(
                f"{what}, packets from/to client:{moving.up.count}/{moving.down.count}"
                f", bytes from/to client:{self.bytes_received}/{self.bytes_sent}"
                f", bytes from/to upstream:{self.bytes_from_upstream}/{self.bytes_to_upstream}"
            )

    # The end

    def _leave(self, failed: bool) -> None:
        if self._moving is not None:
            self._moving.stop()
        super()._leave(failed)

    def cancel(self) -> None:
        """
        The session ends.
        """
        self._leave(self._failed)
