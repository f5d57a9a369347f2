"""
A connection to an upstream: how it is made, what reads its answers, and what becomes of it while nobody uses it.

Strategy: whoever takes a connection takes its leg's edges as well, and gives them back with it. The certificate of the
other side is judged before anybody gets the connection, so that no byte of a request can have been sent before.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from errno import (
    EAGAIN,
    ECONNREFUSED,
    ECONNRESET,
    EHOSTDOWN,
    EHOSTUNREACH,
    EMFILE,
    ENETDOWN,
    ENETUNREACH,
    ENFILE,
    ENOBUFS,
    ENOMEM,
)
from typing import TYPE_CHECKING, Any, Final

from sniproxy.common.ssl_errors import HANDSHAKE, broken, level_of
from sniproxy.errors import BindError
from sniproxy.levels import ALERT, CRIT, ERROR
from sniproxy.net.bound import silent
from sniproxy.net.connect import ConnectOptions
from sniproxy.net.legs import nothing
from sniproxy.net.timers import NEVER
from sniproxy.tls.sessions import release
from sniproxy.tls.verify import judge_server
from sniproxy.wire.http1 import ResponseReader

if TYPE_CHECKING:
    from sniproxy.common.proxy_ssl import UpstreamTls
    from sniproxy.common.runtime import Runtime
    from sniproxy.http.keepalive import Pool
    from sniproxy.http.request import Request

_OUR_OWN: Final = frozenset({EMFILE, ENFILE, ENOBUFS, ENOMEM})
"""What this process or machine has run out of: no fault of a peer's, and the next one would not help."""

_USUAL: Final = frozenset({EAGAIN, ECONNREFUSED, ECONNRESET, EHOSTDOWN, EHOSTUNREACH, ENETDOWN, ENETUNREACH})
"""How networks refuse at once; anything else, a missing unix socket being one, is louder."""


@dataclass(frozen=True, slots=True)
class Way:
    """
    How one request's connections are made.

    @ivar options: of the socket.
    @ivar timeout: seconds for the connection, and again for the handshake.
    @ivar limit: bytes of an answer's head.
    @ivar tls: None where the upstream is spoken to in plain.
    @ivar name: what its certificate is for.
    @ivar alpn: the protocols to offer, where these are not those of the context.
    """

    options: ConnectOptions
    timeout: float
    limit: int
    tls: UpstreamTls | None = None
    name: str = ""
    alpn: tuple[str, ...] | None = None

    def key(self, peer: Any) -> Hashable:
        """
        What connections have in common that may stand for each other.

        @param peer: L{sniproxy.balancing.peers.Peer}. Its name is its address, as a text whose hash is at hand.
        """
        tls = self.tls
        if tls is None:
            return peer.name, self.options.bind
        return peer.name, self.options.bind, tls.context, self.name, self.alpn


class UpstreamLeg:
    """
    A connection. Owns its leg; belongs to the request that uses it, or to the pool that keeps it.

    @ivar leg: its bytes.
    @ivar reader: of the answers on it.
    @ivar key: L{Way.key}.
    @ivar requests: that it has carried, the one in hand included.
    @ivar opened: when it was made, on the clock of deadlines.
    @ivar user: the request it is used by; None while nobody does.
    """

    __slots__ = ("_pool", "_runtime", "_tls", "bucket", "due", "key", "leg", "opened", "reader", "requests", "user")

    def __init__(self, leg: Any, limit: int, key: Hashable, runtime: Runtime, tls: UpstreamTls | None) -> None:
        self.leg = leg
        self.reader = ResponseReader(limit)
        self.key = key
        self.requests = 0
        self.opened = runtime.now()
        self.user: Request | None = None
        self.due = NEVER
        self.bucket = 0
        self._runtime = runtime
        self._tls = tls
        self._pool: Pool | None = None
        leg.owner = self

    def use(self, request: Request, handler: Callable[[int], None], method: str) -> None:
        """
        A request takes it, and begins.

        @param handler: told of each edge.
        @param method: the request's.
        """
        self._pool = None
        self.due = NEVER
        self.user = request
        self.requests += 1
        self.leg.handler = handler
        self.reader.begin(method)

    def leave(self, pool: Pool | None) -> None:
        """
        The answer was read to its end: keep the connection where that is wanted, and nothing else came on it.

        @param pool: where it may be kept; None for nowhere.
        """
        self.user = None
        leg = self.leg
        if pool is not None and self._lasts(pool) and not self.reader.held:
            leg.handler = self._idle
            if (silent(leg) or self._asked()) and pool.keep(self, self._runtime):
                self._pool = pool
                self._runtime.deadlines.set(self, pool.settings.timeout)
                return
        self.close()

    def _lasts(self, pool: Pool) -> bool:
        settings = pool.settings
        return self.requests < settings.requests and self._runtime.now() - self.opened < settings.time

    def _idle(self, bits: int) -> None:
        """
        Nothing may come that nobody asked for; mostly it is the end.
        """
        if not self._asked():
            self._forget()

    def _asked(self) -> bool:
        """
        @return: whether nothing is there to be read.
        """
        try:
            return self.leg.receive(1) is None
        except OSError:
            return False

    def expired(self) -> None:
        """
        It was kept long enough.
        """
        self._forget()

    def crashed(self) -> None:
        """
        A handler raised.
        """
        if self.user is not None:
            self.user.crashed()
        else:
            self._forget()

    def _forget(self) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.forget(self)
        self.close()

    def close(self, failed: bool = False) -> None:
        """
        End it.

        @param failed: whether it was no good, or is left in the middle.
        """
        self.user = None
        self._pool = None
        self._runtime.deadlines.clear(self)
        leg = self.leg
        leg.handler = nothing
        if failed and self._tls is not None:
            release(leg.connection)
        leg.close()


class Connecting:
    """
    An attempt to have a connection to one peer. Owns what there is of it until C{done}, which is called once, unless
    C{cancel} is before. What goes wrong is in the log when C{failed} is called.

    Waits under the request's deadline.
    """

    __slots__ = ("_done", "_failed", "_key", "_leg", "_peer", "_question", "_request", "_way")

    def __init__(
        self,
        request: Request,
        way: Way,
        peer: Any,
        done: Callable[[UpstreamLeg], None],
        failed: Callable[[bool, bool], None],
    ) -> None:
        """
        @param failed: called with whether it was too late, and whether the fault is ours, so that it would be the same
            with another peer.
        """
        self._request = request
        self._way = way
        self._peer = peer
        self._done = done
        self._failed = failed
        self._leg: Any = None
        self._key: Hashable = None
        self._question: Any = None

    def begin(self) -> None:
        """
        Connect.
        """
        request = self._request
        request.runtime.next_number()
        request.wait(self._way.timeout, self._late)
        self._question = request.runtime.network.connect(self._peer.address, self._way.options, self._connected)

    def cancel(self) -> None:
        """
        Give up; nobody is told.
        """
        question, self._question = self._question, None
        if question is not None:
            question.cancel()
        leg, self._leg = self._leg, None
        if leg is not None:
            leg.handler = nothing
            leg.close()

    def _late(self) -> None:
        if self._key is not None and self._way.tls is not None:
            self._way.tls.sessions.forget(self._leg.connection, self._key)
        self._request.error("upstream timed out (110: Connection timed out)")
        self._fail(late=True)

    def _fail(self, late: bool = False, ours: bool = False) -> None:
        self.cancel()
        self._failed(late, ours)

    def crashed(self) -> None:
        """
        A handler raised.
        """
        self._request.crashed()

    def _connected(self, outcome: Any, bits: int) -> None:
        """
        @param bits: 0 where the system refused at once.
        """
        self._question = None
        self._request.run(self._refused if isinstance(outcome, OSError) else self._opened, outcome, bits)

    def _refused(self, error: OSError, bits: int) -> None:
        request = self._request
        bind = self._way.options.bind
        if error.errno in _OUR_OWN:
            request.log(CRIT, f"socket() failed ({error.errno}: {error.strerror})")
            self._fail(ours=True)
        elif isinstance(error, BindError):
            assert bind is not None
            where = bind.text if bind.port else bind.host
            level, call = (ALERT, error.call) if error.call else (CRIT, f"bind({where})")
            request.log(level, f"{call} failed ({error.errno}: {error.strerror})")
            self._fail(ours=True)
        else:
            where = "" if bits else f" to {self._peer.address.text}"
            level = ERROR if bits or error.errno in _USUAL else CRIT
            request.log(level, f"connect(){where} failed ({error.errno}: {error.strerror})")
            self._fail()

    def _opened(self, leg: Any, bits: int) -> None:
        request, way = self._request, self._way
        leg.owner = self
        self._leg = leg
        tls = way.tls
        if tls is None:
            self._ready()
            return
        request.action = "SSL handshaking to upstream"
        server_name = way.name if tls.send_name else ""
        leg = self._leg = request.runtime.network.start_tls(leg, tls.context.connection(server_name, way.alpn))
        self._key = (self._peer.address, way.name, way.alpn)
        tls.sessions.offer(leg.connection, self._key)
        leg.brief = True
        request.wait(way.timeout, self._late)
        leg.shake(self._shaken)

    def _shaken(self, error: OSError | None) -> None:
        request, way, leg = self._request, self._way, self._leg
        tls = way.tls
        assert tls is not None
        if error is not None:
            tls.sessions.forget(leg.connection, self._key)
            request.log(level_of(error, "upstream"), broken(error, HANDSHAKE))
            self._fail()
            return
        judgement = judge_server(leg.connection, tls.context, way.name, request.runtime.report)
        if not judgement.ok:
            tls.sessions.forget(leg.connection, self._key)
            request.error(judgement.message)
            release(leg.connection)
            self._fail()
            return
        keep, connection, key = tls.sessions.keep, leg.connection, self._key
        tls.sessions.accept(connection, key)
        leg.first_read = lambda: keep(connection, key)
        self._ready()

    def _ready(self) -> None:
        leg, self._leg = self._leg, None
        leg.handler = nothing
        way = self._way
        made = UpstreamLeg(leg, way.limit, way.key(self._peer), self._request.runtime, way.tls)
        self._done(made)
