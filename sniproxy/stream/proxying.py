"""
One session on its way to an upstream: find it, choose a peer, connect, speak TLS, relay; or try the next.

Strategy: each step is one method that either goes on to the next or leaves a wait behind. Whatever happens to one peer
before bytes flow (refused, late, a failed handshake, a wrong certificate) ends in C{_next}, the one place that
decides whether there is another try, as ngx_stream_proxy_next_upstream does. Nothing of the client goes to a peer
before its certificate was judged.
"""

from __future__ import annotations

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

from sniproxy.addresses import Address, numeric
from sniproxy.common.phases import BAD_GATEWAY, INTERNAL_SERVER_ERROR, OK
from sniproxy.common.resolver import ResolveFailure
from sniproxy.common.ssl_errors import HANDSHAKE, broken, level_of, moving
from sniproxy.common.upstream import Upstream, literal
from sniproxy.common.upstream_variables import UpstreamState
from sniproxy.config.places import upstream_place
from sniproxy.errors import BindError, ConfigError
from sniproxy.levels import ALERT, CRIT, ERROR, INFO
from sniproxy.net.bound import close
from sniproxy.net.rated import RatedRelaying, Rates
from sniproxy.net.relay import Relaying, Result
from sniproxy.tls.sessions import release
from sniproxy.tls.verify import judge_server

if TYPE_CHECKING:
    from sniproxy.common.proxy_ssl import UpstreamTls
    from sniproxy.common.session import Session
    from sniproxy.stream.proxy import ProxyPolicy

_OUR_OWN: Final = frozenset({EMFILE, ENFILE, ENOBUFS, ENOMEM})
"""What this process or machine has run out of: no fault of a peer's, and the next one would not help."""

_USUAL: Final = frozenset({EAGAIN, ECONNREFUSED, ECONNRESET, EHOSTDOWN, EHOSTUNREACH, ENETDOWN, ENETUNREACH})
"""How networks refuse at once; anything else, a missing unix socket being one, is louder."""


class Proxying:
    """
    Owns the upstream's leg, the attempt to connect, the question to the resolver and the relay; C{cancel} ends
    whichever there is.
    """

    __slots__ = (
        "_begun",
        "_choice",
        "_host",
        "_introduced",
        "_key",
        "_leg",
        "_options",
        "_peer",
        "_policy",
        "_port",
        "_question",
        "_relaying",
        "_session",
        "_state",
        "_tls",
        "_tried_at",
    )

    def __init__(self, session: Session, policy: ProxyPolicy) -> None:
        self._session = session
        self._policy = policy
        self._host = policy.host
        self._introduced = 0
        self._port = 0
        self._begun = session.runtime.now()
        self._tried_at = self._begun
        # a ClientHello that was only looked at is still there, and goes on
        self._options = policy.connect_after if session.hello is not None and session.tls is None else policy.connect
        self._choice: Any = None
        self._peer: Any = None
        self._leg: Any = None
        self._question: Any = None
        self._relaying: Relaying | None = None
        self._state: UpstreamState | None = None
        self._key: Any = None
        self._tls: UpstreamTls | None = None
        session.traffic = self
        session.pending = self

    # Traffic

    @property
    def bytes_received(self) -> int:
        """
        From the client.
        """
        return 0 if self._relaying is None else self._relaying.up.received

    @property
    def bytes_sent(self) -> int:
        """
        To the client.
        """
        return 0 if self._relaying is None else self._relaying.down.sent

    @property
    def bytes_to_upstream(self) -> int:
        """
        To the upstream.
        """
        return self._introduced if self._relaying is None else self._introduced + self._relaying.up.sent

    @property
    def bytes_from_upstream(self) -> int:
        """
        From the upstream.
        """
        return 0 if self._relaying is None else self._relaying.down.received

    @property
    def first_byte_time(self) -> float | None:
        """
        Seconds from the begin of this try to the first byte of the upstream; None before there is one.
        """
        relaying = self._relaying
        return None if relaying is None or relaying.down.began is None else relaying.down.began - self._tried_at

    # Which upstream

    def begin(self) -> None:
        """
        Find the upstream.
        """
        policy = self._policy
        if policy.upstream is not None:
            self._choose(policy.upstream)
            return
        session = self._session
        text = policy.target.render(session)
        known = policy.literals.get(text)
        if known is not None:
            upstream, self._host = known
            self._choose(upstream)
            return
        group = policy.groups.get(text.lower())
        if group is not None:
            self._host = text.partition(":")[0]
            self._choose(group)
            return
        try:
            place = upstream_place(text)
        except ConfigError as error:
            session.error(error.message)
            session.finish(INTERNAL_SERVER_ERROR)
            return
        self._host = place.host
        self._port = place.port or 0
        if place.family is not None:
            self._choose(policy.literal(text, Address(place.family, place.host, self._port), place.host))
            return
        resolver = session.runtime.resolver(policy.resolver)
        if resolver is None:
            session.error(f"no resolver defined to resolve {place.host}")
            session.finish(INTERNAL_SERVER_ERROR)
            return
        question = resolver.resolve(place.host, self._resolved)
        if self._choice is None:
            self._question = question  # else the answer was known, and there is another question already

    def _resolved(self, answer: Any) -> None:
        self._session.run(self._answered, answer)

    def _answered(self, answer: Any) -> None:
        session = self._session
        self._question = None
        if isinstance(answer, ResolveFailure):
            session.error(f"{self._host} could not be resolved ({answer.code}: {answer.text})")
            session.finish(INTERNAL_SERVER_ERROR)
            return
        addresses = [address for host in answer if (address := numeric(host, self._port)) is not None]
        self._choose(literal(addresses, self._host))

    # Which peer

    def _choose(self, upstream: Upstream) -> None:
        self._choice = choice = upstream.begin(self._session)
        if self._policy.local is not None:
            self._options = self._policy.local.options(self._session, self._options)
        tries = self._policy.next_tries
        if tries and choice.tries > tries:
            choice.tries = tries
        self._connect()

    def _connect(self) -> None:
        session = self._session
        session.action = "connecting to upstream"
        self._tried_at = session.runtime.now()
        self._introduced = 0
        peer = self._peer = self._choice.next()
        if peer is None:
            session.upstream = self._choice.name
            session.upstream_states.append(UpstreamState(self._choice.name))
            session.error("no live upstreams")
            session.finish(BAD_GATEWAY)
            return
        session.upstream = text = peer.name
        self._state = UpstreamState(text)
        session.upstream_states.append(self._state)
        session.runtime.next_number()
        session.wait(self._policy.connect_timeout, self._late)
        self._question = session.runtime.network.connect(peer.address, self._options, self._connected)

    def _late(self) -> None:
        if self._leg is None:
            self._call_it_proxying()
        elif self._tls is not None and self._key is not None:
            self._tls.sessions.forget(self._leg.connection, self._key)
        self._session.error("upstream timed out (110: Connection timed out)")
        self._next()

    def _call_it_proxying(self) -> None:
        """
        nginx looks once for what a client of TLS says, as soon as the first peer is being connected, and from then on
        names what it does by that.
        """
        if self._session.tls is not None and len(self._session.upstream_states) == 1:
            self._session.action = "proxying connection"

    def _next(self) -> None:
        """
        This peer failed: try another where the policy allows it.
        """
        session, policy = self._session, self._policy
        self._leave(failed=True)
        spent = session.runtime.now() - self._begun
        if not policy.next_upstream or not self._choice.tries or (policy.next_timeout and spent >= policy.next_timeout):
            session.finish(BAD_GATEWAY)
            return
        self._connect()

    def _connected(self, outcome: Any, bits: int) -> None:
        """
        @param bits: 0 where the system refused at once.
        """
        self._question = None
        session = self._session
        if isinstance(outcome, OSError):
            if outcome.errno in _OUR_OWN:
                self._unmade()
                session.log(CRIT, f"socket() failed ({outcome.errno}: {outcome.strerror})")
                session.run(session.finish, INTERNAL_SERVER_ERROR)
                return
            if isinstance(outcome, BindError):
                self._unmade()
                bind = self._options.bind
                assert bind is not None
                where = bind.text if bind.port else bind.host
                level, call = (ALERT, outcome.call) if outcome.call else (CRIT, f"bind({where})")
                session.log(level, f"{call} failed ({outcome.errno}: {outcome.strerror})")
                session.run(session.finish, INTERNAL_SERVER_ERROR)
                return
            where = "" if bits else f" to {self._peer.address.text}"
            level = ERROR if bits or outcome.errno in _USUAL else CRIT
            if bits:
                self._call_it_proxying()
            session.log(level, f"connect(){where} failed ({outcome.errno}: {outcome.strerror})")
            session.run(self._next)
            return
        self._leg = outcome
        outcome.owner = session
        if self._policy.header is not None and not self._introduce(self._policy.header(session)):
            return
        tls = self._tls = self._policy.tls
        if tls is None:
            self._established()
            return
        if tls.find is not None:
            try:
                tls = self._tls = tls.find(session)
            except ConfigError as error:
                session.error(error.message)
                session.run(session.finish, INTERNAL_SERVER_ERROR)
                return
        session.action = "SSL handshaking to upstream"
        name = tls.name.render(session) if tls.name is not None else self._host
        send_name = name if tls.send_name else ""
        alpn = None if tls.alpn is None else tls.alpn(session)
        leg = self._leg = session.runtime.network.start_tls(outcome, tls.context.connection(send_name, alpn))
        self._key = (self._peer.address, name, alpn)
        tls.sessions.offer(leg.connection, self._key)
        leg.brief = True
        session.wait(self._policy.connect_timeout, self._late)
        leg.shake(self._shaken)

    def _introduce(self, header: bytes) -> bool:
        """
        Tell the peer who the client is, at once and before anything else: the kernel has room for it.

        @return: whether to go on.
        """
        session = self._session
        session.action = "sending PROXY protocol header to upstream"
        try:
            self._introduced = self._leg.send(header)
        except OSError as error:
            session.log(level_of(error, "upstream"), broken(error, "send()"))
            session.run(session.finish, OK)
            return False
        if self._introduced < len(header):
            session.error("could not send PROXY protocol header at once")
            session.run(session.finish, INTERNAL_SERVER_ERROR)
            return False
        return True

    def _unmade(self) -> None:
        """
        There was not even an attempt: to nginx's variables nobody was tried.
        """
        assert self._state is not None
        self._state.peer = ""

    def _shaken(self, error: OSError | None) -> None:
        session, tls = self._session, self._tls
        assert tls is not None
        if error is not None:
            tls.sessions.forget(self._leg.connection, self._key)
            session.log(level_of(error, "upstream"), broken(error, HANDSHAKE))
            self._next()
            return
        connection = self._leg.connection
        judgement = judge_server(connection, tls.context, self._key[1], session.runtime.report)
        if not judgement.ok:
            tls.sessions.forget(connection, self._key)
            session.error(judgement.message)
            self._next()
            return
        tls.sessions.accept(connection, self._key)
        self._leg.first_read = self._keep_session
        self._established()

    def _keep_session(self) -> None:
        tls = self._tls
        assert tls is not None
        tls.sessions.keep(self._leg.connection, self._key)

    # Bytes

    def _established(self) -> None:
        session = self._session
        runtime = session.runtime
        assert self._state is not None
        self._state.connect_time = runtime.now() - self._tried_at
        self._choice.connected()
        session.action = ""
        if session.server.error_log.level >= INFO:
            session.tell(f"proxy {self._leg.local.text} connected to {self._peer.address.text}")
        session.wait(self._policy.relay.timeout, self._idle)
        client = session.client
        rates = self._policy.rates
        up, down = (0, 0) if rates is None else rates.of(session)
        relaying: Relaying
        if up or down:
            network = runtime.network
            limits = Rates(up, down, self._begun)
            relaying = RatedRelaying(
                limits, network.clock, client, self._leg, self._policy.relay, self._relayed, session, runtime.now
            )
        else:
            relay: Any = runtime.network.relay(client, self._leg)
            relaying = relay.make(client, self._leg, self._policy.relay, self._relayed, session, runtime.now)
        self._relaying = relaying
        relaying.begin()

    def _idle(self) -> None:
        self._session.info("connection timed out (110: Connection timed out) while proxying connection")
        self._session.finish(OK)

    def _relayed(self, result: Result) -> None:
        session = self._session
        error = result.error
        if error is not None:
            session.action = f"proxying and {'sending to' if result.sending else 'reading from'} {result.side}"
            tls = session.tls is not None if result.side == "client" else self._tls is not None
            told = moving(error, "send()" if result.sending else "recv()", tls)
            if told:
                session.log(level_of(error, result.side), told)
        if session.server.error_log.level >= INFO:
            session.tell(
                f"{result.side} disconnected, bytes from/to client:{self.bytes_received}/{self.bytes_sent}"
                f", bytes from/to upstream:{self.bytes_from_upstream}/{self.bytes_to_upstream}"
            )
        session.finish(OK)

    # The end

    def _leave(self, failed: bool) -> None:
        """
        Let go of the peer in use, with whatever is under way to it.
        """
        if self._question is not None:
            question, self._question = self._question, None
            question.cancel()
        if self._relaying is not None:
            self._relaying.stop()
        state, self._state = self._state, None
        if state is not None:
            state.session_time = self._session.runtime.now() - self._tried_at
            state.bytes_sent = self.bytes_to_upstream
            state.bytes_received = self.bytes_from_upstream
            state.first_byte_time = self.first_byte_time
        if self._peer is not None:
            self._peer = None
            self._choice.release(failed)
        if self._leg is not None:
            leg, self._leg = self._leg, None
            key, self._key = self._key, None
            if key is not None and leg.established:
                tls = self._tls
                assert tls is not None
                if failed:
                    release(leg.connection)
                else:
                    tls.sessions.keep(leg.connection, key)
            close(leg)

    def cancel(self) -> None:
        """
        The session ends.
        """
        self._leave(failed=False)
