"""
One client's way through the phases: the spine that handlers hang on.

Strategy: a session is one slotted object that is its own deadline holder, its own log context and the subject of
variables. It walks the phases of its server by two counters, so that a handler may stop the walk, wait for anything,
and C{resume()} it; and so that a change of server in the middle (by the name in the ClientHello) takes effect with
the next handler.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Protocol

from sniproxy.addresses import Address
from sniproxy.common.phases import INTERNAL_SERVER_ERROR, OK, Answer, Phase
from sniproxy.levels import ALERT, ERROR, INFO
from sniproxy.net.bound import close, set_handler
from sniproxy.net.legs import nothing
from sniproxy.net.timers import NEVER, Waiting

if TYPE_CHECKING:
    from sniproxy.common.listening import Listening
    from sniproxy.common.runtime import Runtime
    from sniproxy.common.server import Server
    from sniproxy.wire.client_hello import ClientHello

_CONTENT: Final = int(Phase.CONTENT)
_LOG: Final = int(Phase.LOG)
"""Plain numbers, which the walk compares and counts."""

INTERNAL_ERROR: Final = "internal error; the traceback is in the log of twistd"
"""What the error log says of our own faults."""


LOCAL: Final = "the address that the client connected to"
"""The key in C{session.notes} where that is not the one of its socket."""


class Cancellable(Protocol):
    """
    What a session waits for besides its client.
    """

    def cancel(self) -> None:
        """
        Give up; nobody is told.
        """


class Traffic(Protocol):
    """
    Who counts a session's bytes once content has taken it.
    """

    @property
    def bytes_received(self) -> int:
        """
        From the client.
        """

    @property
    def bytes_sent(self) -> int:
        """
        To the client.
        """

    @property
    def bytes_to_upstream(self) -> int:
        """
        To the upstream.
        """

    @property
    def bytes_from_upstream(self) -> int:
        """
        From the upstream.
        """


class Totals:
    """
    What a session that has ended had moved.
    """

    __slots__ = ("bytes_from_upstream", "bytes_received", "bytes_sent", "bytes_to_upstream")

    def __init__(self, traffic: Traffic) -> None:
        self.bytes_received = traffic.bytes_received
        self.bytes_sent = traffic.bytes_sent
        self.bytes_to_upstream = traffic.bytes_to_upstream
        self.bytes_from_upstream = traffic.bytes_from_upstream


class Session(Waiting):
    """
    Owns the client's leg, and through C{traffic} and C{pending} all that content needs; has one deadline at a time.

    @ivar number: C{$connection}: counts over all accepted and outgoing connections of the process.
    @ivar listening: the address it came in by.
    @ivar server: the server block in force: the address's default until a name chooses another.
    @ivar client: its leg; a TLS leg once the ssl phase is over.
    @ivar begun: on the clock of deadlines, seconds.
    @ivar status: C{$status}; 0 until the session ends.
    @ivar hello: the ClientHello, when one was read.
    @ivar action: what it is doing, in nginx's words, for the error log; empty for nothing in particular.
    @ivar upstream: the upstream's name for the error log; None before there is one.
    @ivar traffic: who counts bytes; None before content.
    @ivar plain_on_tls: the client speaks something else than TLS where TLS is expected, and content takes it.
    @ivar pending: what it waits for besides its client.
    @ivar upstream_states: one record for each peer that was tried.
    @ivar tls: facts about TLS with the client, or None; see L{sniproxy.common.ssl}.
    @ivar values: cached variables.
    @ivar captures: of the last regular expression that matched.
    @ivar notes: whatever modules keep for this session, by keys of their own.
    """

    __slots__ = (
        "_notes",
        "_on_expired",
        "_peer",
        "_phase",
        "_step",
        "_upstream_states",
        "_values",
        "action",
        "begun",
        "captures",
        "client",
        "ended",
        "hello",
        "listening",
        "number",
        "pending",
        "plain_on_tls",
        "runtime",
        "server",
        "status",
        "tls",
        "traffic",
        "upstream",
    )

    def __init__(self, runtime: Runtime, listening: Listening, client: Any, server: Server) -> None:
        super().__init__()
        self.runtime = runtime
        self.listening = listening
        self.server = server
        self.client = client
        self.number = runtime.next_number()
        self.begun = runtime.now()
        self.status = 0
        self.ended = False
        self.hello: ClientHello | None = None
        self.action = "initializing session"
        self.upstream: str | None = None
        self.traffic: Traffic | None = None
        self.pending: Cancellable | None = None
        self.tls: Any = None
        self.plain_on_tls = False
        self.captures: tuple[str, ...] | None = None
        self._upstream_states: list[Any] | None = None
        self._values: dict[str, str | None] | None = None
        self._notes: dict[Any, Any] | None = None
        self._on_expired: Callable[[], None] | None = None
        self._peer: Address | None = None
        self._phase = 0
        self._step = 0
        client.owner = self

    def begin_again(self, listening: Listening, local: Address) -> None:
        """
        Go on as a client that has connected somewhere else. TLS with it is kept, and what modules have noted: some of
        them have to undo something at the end.

        @param listening: the address it comes in by now.
        @param local: the address it has connected to.
        """
        self.stop_waiting()
        self.listening = listening
        self.server = listening.default
        self.begun = self.runtime.now()
        self.upstream = None
        self.captures = None
        self._upstream_states = None
        self._values = None
        self.notes[LOCAL] = local
        self._phase = 0
        self._step = 0
        if self.tls is None:
            self.hello = None
        self.runtime.greet(self)
        self.action = "initializing session"
        self._walk()

    # What handlers and variables read.

    @property
    def session(self) -> Session:
        """
        Itself: those who read sessions and requests alike find in either what belongs to the connection.
        """
        return self

    @property
    def clock(self) -> Runtime:
        """
        C{now()} for intervals and C{time()} for the wall.
        """
        return self.runtime

    @property
    def peer(self) -> Address:
        """
        The client's address: that of its leg, unless a proxy before us has told another one, and is believed.
        """
        peer: Address = self._peer or self.client.peer
        return peer

    @peer.setter
    def peer(self, address: Address) -> None:
        self._peer = address

    @property
    def local(self) -> Address:
        """
        The address the client connected to.
        """
        local: Address = self.client.local
        return local if self._notes is None else self._notes.get(LOCAL, local)

    @property
    def values(self) -> dict[str, str | None]:
        """
        Made on first use: most sessions ask for few variables.
        """
        if self._values is None:
            self._values = {}
        return self._values

    @property
    def notes(self) -> dict[Any, Any]:
        """
        Made on first use.
        """
        if self._notes is None:
            self._notes = {}
        return self._notes

    @property
    def upstream_states(self) -> list[Any]:
        """
        Made on first use.
        """
        if self._upstream_states is None:
            self._upstream_states = []
        return self._upstream_states

    @property
    def bytes_received(self) -> int:
        """
        Bytes taken from the client; those that were only looked at do not count, but the datagram a session began with.
        """
        if self.traffic is None:
            return self.client.first if self.listening.udp else 0
        return self.traffic.bytes_received

    @property
    def bytes_sent(self) -> int:
        """
        Bytes given to the client.
        """
        return 0 if self.traffic is None else self.traffic.bytes_sent

    # The walk.

    def resume(self) -> None:
        """
        Go on with the next handler of the phase, then with the next phase. Nothing happens in a session that has ended.
        """
        if not self.ended:
            try:
                self._walk()
            except Exception:
                self._failed()

    def _walk(self) -> None:
        phases = self.server.phases
        while self._phase < _CONTENT:
            handlers = phases[self._phase]
            if self._step < len(handlers):
                handler = handlers[self._step]
                self._step += 1
                answer = handler(self)
                phases = self.server.phases  # it may be another one by now
                if answer is None:
                    continue
                if answer is Answer.WAIT:
                    return
                if answer is not Answer.DONE:
                    self.finish(answer)
                    return
            self._phase += 1
            self._step = 0
        self.action = ""
        self.server.content(self)

    def answer(self, answer: Any) -> None:
        """
        Go on as if the handler that waited had answered this at once.

        @param answer: see L{sniproxy.interfaces.IPhaseHandler}; C{WAIT} changes nothing.
        """
        if answer is Answer.WAIT:
            return
        if answer is None or answer is Answer.DONE:
            if answer is not None:
                self._phase += 1
                self._step = 0
            self.resume()
        else:
            self.finish(answer)

    def wait(self, seconds: float, expired: Callable[[], None]) -> None:
        """
        Call C{expired} in that many seconds, unless there is another wait or an end before. One wait at a time.
        """
        self._on_expired = expired
        self.runtime.deadlines.set(self, seconds)

    def wait_on(self, expired: Callable[[], None]) -> None:
        """
        Call this instead when the deadline that is set has passed: one time for several steps.
        """
        self._on_expired = expired

    def stop_waiting(self) -> None:
        """
        What was waited for has come. The next wait mostly ends later: the place among the deadlines is kept for it.
        """
        self._on_expired = None
        self.due = NEVER

    def expired(self) -> None:
        """
        The deadline has passed.
        """
        on_expired, self._on_expired = self._on_expired, None
        if on_expired is not None:
            self.run(on_expired)

    def run(self, step: Callable[..., None], *arguments: Any) -> None:
        """
        Call what was waited for. If it raises, that is our fault and the end of this session, and of nothing else.
        """
        try:
            step(*arguments)
        except Exception:
            self._failed()

    def _failed(self) -> None:
        """
        We handle an exception of what was done for this session.
        """
        self.runtime.internal_error()
        self.crashed()

    def finish(self, status: int = OK) -> None:
        """
        End the session: its log phase runs, then its legs are closed. Later calls do nothing.
        """
        if self.ended:
            return
        self.ended = True
        self.status = status
        self._on_expired = None
        self.runtime.deadlines.clear(self)
        pending, self.pending = self.pending, None
        try:
            if pending is not None:
                pending.cancel()
        except Exception:
            self._failed_at_end()
        try:
            for handler in self.server.phases[_LOG]:
                handler(self)
        except Exception:
            self._failed_at_end()
        try:
            set_handler(self.client, nothing)
            close(self.client)
        except Exception:
            self._failed_at_end()
        traffic = self.traffic
        if traffic is not None:
            # Whoever counted knows the session: a circle would live until the collector comes, in thousands.
            self.runtime.network.drop(traffic)
            self.traffic = Totals(traffic)
        self.runtime.ended(self)

    def _failed_at_end(self) -> None:
        """
        The same where it ends in any case.
        """
        self.runtime.internal_error()
        self.log(ALERT, INTERNAL_ERROR)

    def crashed(self) -> None:
        """
        There was an internal error in something done for this session: end closed.
        """
        if not self.ended:
            self.log(ALERT, INTERNAL_ERROR)
            self.finish(INTERNAL_SERVER_ERROR)

    # The log.

    def tell(self, message: str) -> None:
        """
        Log at the level C{info} without anything added, as nginx does for what happens to connections.
        """
        self.server.error_log.write(INFO, message, self.number)

    def log(self, level: int, message: str) -> None:
        """
        Write to the error log of the server in force, with what nginx adds for a stream session: what it was doing,
        client, server, upstream and bytes.
        """
        error_log = self.server.error_log
        if level > error_log.level:
            return
        parts = [message]
        if self.action:
            parts.append(f" while {self.action}")
        udp = "udp " if self.listening.udp else ""
        parts.append(f", {udp}client: {self.client_text()}, server: {self.listening.text}")
        traffic = self.traffic
        if traffic is not None:
            if self.upstream is not None:
                parts.append(f', upstream: "{self.upstream}"')
            parts.append(
                f", bytes from/to client:{traffic.bytes_received}/{traffic.bytes_sent}"
                f", bytes from/to upstream:{traffic.bytes_from_upstream}/{traffic.bytes_to_upstream}"
            )
        error_log.write(level, "".join(parts), self.number)

    def client_text(self) -> str:
        """
        The client as the error log names it: without its port.
        """
        try:
            peer = self.peer
        except OSError:
            return "unknown"
        return peer.text if peer.family == "unix" else peer.host

    def error(self, message: str) -> None:
        """
        Log at the level C{error}.
        """
        self.log(ERROR, message)

    def info(self, message: str) -> None:
        """
        Log at the level C{info}.
        """
        if self.server.error_log.level >= INFO:
            self.log(INFO, message)
