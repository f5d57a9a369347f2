"""
What do sessions of tests run on? A network in memory: legs with scripted bytes, attempts to connect that the test
answers by hand, deadlines on a clock that the test moves; and real OpenSSL at both ends where there is TLS.

    world = World("server { listen 192.0.2.1:22; proxy_pass 192.0.2.2:22; }")
    client = world.client(b"hello")                 # a session has begun, and goes as far as it can
    upstream = world.attempt().succeed()            # the leg of the upstream
    upstream.taken()                                # b"hello"
    world.ended                                     # the sessions that are over
    world.lines                                     # what the error log says, without time and process

Strategy: everything of the house that is not a socket is real: L{Runtime}, L{Session}, the modules as they ship, the
relay over any two legs, L{TlsLeg}. An edge happens when the test says so (C{arrive}, C{end}, C{lose}, C{take}); what
epoll would tell right after a leg is first watched is told by C{World.turn}, which C{client} and C{succeed} call.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, TypeVar

from OpenSSL import SSL, crypto
from twisted.internet.task import Clock
from twisted.logger import Logger
from zope.interface import implementer

from sniproxy.addresses import Address
from sniproxy.common.listen import listenings
from sniproxy.common.listening import Listening
from sniproxy.common.phases import Phase
from sniproxy.common.runtime import Engine, Runtime
from sniproxy.common.server import Server
from sniproxy.common.session import Session
from sniproxy.config.build import Build, configure
from sniproxy.config.grammar import Node
from sniproxy.http import core as http_core
from sniproxy.interfaces import ILeg
from sniproxy.levels import DEBUG
from sniproxy.logs.error_log import ErrorLog
from sniproxy.net.legs import nothing
from sniproxy.net.poller import ERR, HUP, IN, OUT, RDHUP
from sniproxy.net.relay import PumpRelay
from sniproxy.net.tickets import Tickets
from sniproxy.net.timers import Deadlines
from sniproxy.net.tls_leg import TlsLeg
from sniproxy.plugins import shipped
from sniproxy.stream import core as stream_core
from tests.support.datagrams import DatagramReactor

T = TypeVar("T")

FILE: Final = "/etc/edge.conf"
"""What the configuration of a test is called."""

NOW: Final = 1_800_000_000.0
"""Some time in which the certificates of L{tests.support.pki} are good."""

CLIENT: Final = Address("inet", "192.0.2.77", 40000)

HEADER: Final = re.compile(r"^\S+ \S+ \[(\w+)\] \d+#\d+: ")


def failure(number: int) -> OSError:
    """
    What the system says for an error number.
    """
    return OSError(number, os.strerror(number))


def bare_line(line: bytes) -> str:
    """
    A line of the error log without time and process.
    """
    return HEADER.sub(r"[\1] ", line.decode("utf-8", "surrogateescape").rstrip("\n"))


# Configurations


class Watching:
    """
    A module that hears what would go to Twisted's log, and counts sessions that have ended.
    """

    name = "test_watching"
    directives: tuple[Any, ...] = ()
    variables: tuple[Any, ...] = ()

    def __init__(self, lines: list[str], ended: list[Session], level: int) -> None:
        self._lines = lines
        self._ended = ended
        self._level = level

    def prepare(self, build: Build) -> None:
        """
        Where no C{error_log} is configured, this is it.
        """
        build.shared[ErrorLog, ()] = ErrorLog([(self._level, self._hear)], build.time)

    def attach(self, server: Server, build: Build) -> None:
        """
        Hear of the end of each session.
        """
        server.handle(Phase.LOG, self._ended.append)

    def _hear(self, level: int, line: bytes) -> None:
        self._lines.append(bare_line(line))


def shipped_modules() -> list[Any]:
    """
    The modules that ship, in the order of their names.
    """
    found = [getattr(shipped, name) for name in shipped.__all__]
    return sorted(found, key=lambda module: str(module.name))


def configured(
    text: str,
    files: Mapping[str, bytes] = {},
    names: Mapping[str, Sequence[str]] = {},
    modules: Sequence[Any] = (),
    time: Callable[[], float] = lambda: NOW,
) -> Build:
    """
    A configuration of a whole file's text, by all modules that ship.

    @param files: what C{include}, certificates and the like may read, by their paths.
    @param names: addresses by the names that are known at start-up.
    @param modules: more of them, which come first.
    @raise sniproxy.errors.ConfigErrors: what is wrong.
    """

    def read(path: str) -> bytes:
        if path not in files:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", path)
        return files[path]

    def lookup(host: str) -> tuple[str, ...]:
        if host not in names:
            raise OSError(-2, "Name or service not known")
        return tuple(names[host])

    return configure(
        text,
        [*modules, *shipped_modules()],
        file=FILE,
        prefix="/var",
        read=read,
        glob=lambda pattern: [path for path in files if path == pattern],
        lookup=lookup,
        time=time,
        assemble=(stream_core.assemble, http_core.assemble),
    )


# The network


@implementer(ILeg)
class FakeLeg:
    """
    A connection in memory.

    @ivar sent: what was sent and the far end has not taken.
    @ivar room: how many bytes may be sent before the far end takes some; None for any number.
    @ivar finished: our FIN has been sent.
    @ivar closed: C{close} or C{abort} was called.
    @ivar aborted: C{abort} was called.
    @ivar small: the kernel keeps little more than has been peeked at.
    """

    plain = True
    connection = None

    _log = Logger()

    def __init__(self, network: FakeNetwork, peer: Address, local: Address) -> None:
        self.peer = peer
        self.local = local
        self.handler: Callable[[int], None] = nothing
        self.owner: Any = None
        self.held = b""
        self.sent = bytearray()
        self.room: int | None = None
        self.finished = False
        self.closed = False
        self.aborted = False
        self.small = False
        self._network = network
        self._incoming = bytearray()
        self._over = False
        self._broken: OSError | None = None
        self._watched = False
        self._lingering: Callable[[], bool] | None = None

    # What the house does.

    def watch(self) -> bool:
        """
        @see: L{ILeg.watch}
        """
        first, self._watched = not self._watched, True
        if first:
            self._network.due.append(self)
        return first

    def receive(self, limit: int) -> bytes | None:
        """
        @see: L{ILeg.receive}
        """
        if self.held:
            data, self.held = self.held[:limit], self.held[limit:]
            return data
        got = self._peeked(limit)
        if got:
            del self._incoming[: len(got)]
        return got

    def peek(self, limit: int) -> bytes | None:
        """
        @see: L{ILeg.peek}
        """
        return self.held[:limit] if self.held else self._peeked(limit)

    def _peeked(self, limit: int) -> bytes | None:
        assert not self.closed
        if self._broken is not None:
            raise self._broken
        if self._incoming:
            return bytes(self._incoming[:limit])
        return b"" if self._over else None

    def send(self, data: bytes | memoryview) -> int:
        """
        @see: L{ILeg.send}
        """
        assert not self.closed and not self.finished
        if self._broken is not None:
            raise self._broken
        taken = len(data) if self.room is None else min(len(data), self.room - len(self.sent))
        self.sent += data[:taken]
        return taken

    def send_last(self, data: bytes | memoryview) -> int:
        """
        @see: L{ILeg.send_last}
        """
        return self.send(data)

    @property
    def over(self) -> bool:
        """
        @see: L{ILeg.over}
        """
        return self._over and not (self._incoming or self.held)

    def finish(self) -> None:
        """
        @see: L{ILeg.finish}
        """
        self.finished = True

    def close(self) -> None:
        """
        @see: L{ILeg.close}
        """
        assert not self.closed, "closed twice"
        self.closed = True
        self.handler = nothing
        self.owner = None

    def abort(self) -> None:
        """
        @see: L{ILeg.abort}
        """
        self.aborted = True
        self.close()

    def linger(self, flush: Callable[[], bool]) -> None:
        """
        Close when C{flush} says so; it is asked whenever the far end has taken something.
        """
        self.handler = nothing
        self.owner = None
        self._lingering = flush

    def cramped(self, seen: int) -> bool:
        """
        Never, unless the test says so.
        """
        return self.small

    def socket(self) -> Any:
        """
        There is none.
        """
        return None

    def again(self) -> None:
        """
        @see: L{ILeg.again}
        """
        self._network.due.append(self)

    def later(self, step: Callable[[], None]) -> None:
        """
        At once.
        """
        step()

    def hold(self, data: bytes) -> None:
        """
        @see: L{ILeg.hold}
        """
        self.held += data

    def fill(self, limit: int) -> bool:
        """
        @see: L{ILeg.fill}
        """
        data = self._peeked(limit - len(self.held))
        if data:
            del self._incoming[: len(data)]
            self.held += data
            return not self._over
        return data is None

    def take_held(self) -> bytes:
        """
        @see: L{ILeg.take_held}
        """
        held, self.held = self.held, b""
        return held

    def descriptor(self) -> int | None:
        """
        There is none.
        """
        return None

    # What the far end does.

    def arrive(self, data: bytes) -> None:
        """
        Bytes come in.
        """
        self._incoming += data
        self.edge(IN | OUT)

    def end(self) -> None:
        """
        The far end says that it sends no more.
        """
        self._over = True
        self.edge(IN | OUT | RDHUP)

    def lose(self, number: int = errno.ECONNRESET) -> None:
        """
        The connection breaks.
        """
        self._broken = failure(number)
        self._incoming.clear()
        self.edge(IN | OUT | RDHUP | ERR | HUP)

    def taken(self) -> bytes:
        """
        The far end takes all that was sent.
        """
        data = bytes(self.sent)
        self.sent.clear()
        if self._lingering is not None and self._lingering():
            self._lingering = None
            self.close()
        if self.room is not None and data:
            self.edge(OUT)
        return data

    @property
    def left(self) -> bytes:
        """
        What came in and nobody has taken.
        """
        return bytes(self._incoming)

    def ready(self) -> int:
        """
        What epoll would say of it now.
        """
        return (
            OUT | (IN if self._incoming else 0) | (IN | RDHUP if self._over else 0) | (ERR | HUP if self._broken else 0)
        )

    def edge(self, bits: int) -> None:
        """
        Tell the handler, as the poller does: one that raises loses its own connection and nothing else.
        """
        if not self._watched or self.closed:
            return
        try:
            self.handler(bits)
        except Exception:
            self._log.failure("internal error while handling a connection")
            if self.owner is None:
                self.abort()
            else:
                self.owner.crashed()


class Attempt:
    """
    An attempt to connect, which the test answers.
    """

    def __init__(self, network: FakeNetwork, address: Address, options: Any, done: Callable[[Any, int], None]) -> None:
        self.address = address
        self.options = options
        self.cancelled = False
        self.answered = False
        self._network = network
        self._done = done

    def cancel(self) -> None:
        """
        Nobody waits any more.
        """
        assert not self.answered and not self.cancelled
        self.cancelled = True

    def succeed(self, data: bytes = b"") -> FakeLeg:
        """
        @param data: what the upstream has said already.
        @return: the leg to it.
        """
        assert not self.answered and not self.cancelled
        self.answered = True
        leg = FakeLeg(self._network, self.address, Address("inet", "192.0.2.99", 50000))
        leg.watch()
        leg._incoming += data
        self._network.due.remove(leg)
        self._done(leg, leg.ready())
        self._network.turn()
        return leg

    def deliver(self, leg: T) -> T:
        """
        @param leg: the one to the upstream, made by the test.
        """
        assert not self.answered and not self.cancelled
        self.answered = True
        self._done(leg, OUT)
        return leg

    def fail(self, number: int = errno.ECONNREFUSED, *, at_once: bool = False) -> None:
        """
        The system says no.

        @param at_once: as it does to C{connect} itself.
        """
        assert not self.answered and not self.cancelled
        self.answered = True
        self._done(failure(number), 0 if at_once else ERR | HUP)
        self._network.turn()


class FakeListener:
    """
    One listening socket at work.
    """

    def __init__(self, sock: Any, accepted: Callable[[Any], None], complain: Callable[[OSError], None]) -> None:
        self.sock = sock
        self.accepted = accepted
        self.complain = complain
        self.started = False
        self.waiting: list[Any] = []

    def last(self) -> None:
        """
        Accept those who wait.
        """
        while self.started and self.waiting:
            self.accepted(self.waiting.pop())

    def start(self) -> None:
        """
        Accept.
        """
        self.started = True

    def stop(self) -> None:
        """
        Accept no more.
        """
        self.started = False


class FakeNetwork:
    """
    What L{sniproxy.net.network.Network} offers, in memory.

    @ivar attempts: to connect, in order; those that were answered too.
    @ivar listeners: by their sockets, in order.
    @ivar due: legs whose next edge has not been told.
    @ivar lingering: whether there are sockets that stay to see their bytes delivered.
    """

    def __init__(self, reactor: Any) -> None:
        self.clock = reactor
        self.lingering = False
        self.deadlines = Deadlines(reactor)
        self.tickets = Tickets(reactor)
        self.attempts: list[Attempt] = []
        self.listeners: list[FakeListener] = []
        self.due: list[FakeLeg] = []
        self.stopped = False
        self.relays: list[Any] = []
        self._relay = PumpRelay()

    def listen(self, sock: Any, accepted: Callable[[Any], None], complain: Callable[[OSError], None]) -> FakeListener:
        """
        @see: L{sniproxy.net.network.Network.listen}
        """
        self.listeners.append(FakeListener(sock, accepted, complain))
        return self.listeners[-1]

    listen_datagrams = listen

    def connect(self, address: Address, options: Any, done: Callable[[Any, int], None]) -> Attempt:
        """
        @see: L{sniproxy.net.network.Network.connect}
        """
        self.attempts.append(Attempt(self, address, options, done))
        return self.attempts[-1]

    def start_tls(self, leg: Any, connection: Any) -> TlsLeg:
        """
        @see: L{sniproxy.net.network.Network.start_tls}
        """
        return TlsLeg(leg, connection)

    def later(self, step: Callable[[], None]) -> None:
        """
        At once.
        """
        step()

    def drop(self, what: Any) -> None:
        """
        At once.
        """

    def relay(self, client: Any, upstream: Any) -> PumpRelay:
        """
        @see: L{sniproxy.net.network.Network.relay}
        """
        self.relays.append((client, upstream))
        return self._relay

    def stop(self) -> None:
        """
        The end.
        """
        self.stopped = True
        self.deadlines.stop()
        self.tickets.stop()

    def turn(self) -> None:
        """
        Tell of what is ready where that was not told: the first edge of a leg, and those that were asked for again.
        """
        while self.due:
            leg = self.due.pop(0)
            leg.edge(leg.ready())


def engine_in_memory(reactor: Any) -> Engine:
    """
    An engine over a network in memory, whose wall clock goes as the other one does.
    """
    return Engine(reactor, lambda: NOW + float(reactor.seconds()), FakeNetwork(reactor))


class World:
    """
    One configuration at work, with the far ends in the test's hands.

    @ivar reactor: move its clock with C{pass_time}.
    @ivar lines: of the error log: C{[error] *1 message}.
    @ivar ended: the sessions whose log phase has run, in order.
    """

    def __init__(
        self,
        text: str,
        files: Mapping[str, bytes] = {},
        names: Mapping[str, Sequence[str]] = {},
        modules: Sequence[Any] = (),
        level: int = DEBUG,
        engine: Engine | None = None,
    ) -> None:
        """
        @param text: the inside of C{stream}, or a whole file that has such a block, or one of C{http}.
        """
        self.engine = engine_in_memory(DatagramReactor()) if engine is None else engine
        self.reactor: DatagramReactor = self.engine.reactor
        self.network: FakeNetwork = self.engine.network
        self.lines: list[str] = []
        self.ended: list[Session] = []
        watching = Watching(self.lines, self.ended, level)
        whole = text if "stream {" in text or "http {" in text else f"stream {{\n{text}\n}}"
        self.build = configured(whole, files, names, [watching, *modules], self.engine.time)
        self.runtime = Runtime(self.engine, self.build)

    @property
    def listening(self) -> tuple[Listening, ...]:
        """
        The addresses, in file order.
        """
        return listenings(self.build)

    def client(self, data: bytes = b"", at: int = 0, peer: Address = CLIENT) -> FakeLeg:
        """
        A client connects.

        @param data: what it has sent already.
        @param at: which of the addresses.
        @return: its leg.
        """
        listening = self.listening[at]
        leg = FakeLeg(self.network, peer, listening.address)
        leg._incoming += data
        self.runtime.begin(listening, leg)
        self.network.turn()
        return leg

    def session(self) -> Session:
        """
        The one session that is under way.
        """
        (session,) = self.runtime.sessions
        return session

    def attempt(self) -> Attempt:
        """
        The attempt to connect that is under way.
        """
        (attempt,) = [each for each in self.network.attempts if not each.answered and not each.cancelled]
        return attempt

    def pass_time(self, seconds: float) -> None:
        """
        Let time pass, in steps that are no longer than deadlines are coarse.
        """
        self.reactor.pump([0.05] * round(seconds / 0.05) if seconds < 60 else [seconds])
        self.network.turn()

    def value(self, text: str, session: Session | None = None) -> str:
        """
        @param text: with variables.
        @param session: the one that ended last, unless told otherwise.
        """
        session = self.ended[-1] if session is None else session
        node = Node("test", (text,), (True,), None, FILE, 1)
        return self.build.template(text, node).render(session)

    def statuses(self) -> list[int]:
        """
        Of the sessions that have ended, in order.
        """
        return [session.status for session in self.ended]


@lru_cache
def idle() -> Build:
    """
    A configuration in which nothing happens.
    """
    return configured("stream { server { listen 192.0.2.1:443; return x; } }")


def lone_session(
    peer: Address = CLIENT, local: Address | None = None, lines: list[str] | None = None, **facts: Any
) -> Session:
    """
    A session in which nothing happens: what variables and logs are asked for.

    @param local: the address it has connected to; that of its C{listen}, unless told otherwise.
    @param lines: to which its error log is added, without time and process.
    @param facts: attributes that it has got meanwhile.
    """
    engine = engine_in_memory(Clock())
    (listening,) = listenings(idle())
    leg = FakeLeg(engine.network, peer, local or listening.address)
    heard: list[str] = [] if lines is None else lines
    log = ErrorLog([(DEBUG, lambda level, line: heard.append(bare_line(line)))], engine.time)
    server = Server(listening.default.scope, log, True)
    session = Session(Runtime(engine, idle()), listening, leg, server)
    for name, value in facts.items():
        setattr(session, name, value)
    return session


class FarEnd:
    """
    The other side of TLS on a leg: real OpenSSL, with the bytes carried by hand.

    @ivar connection: pyOpenSSL's, with memory BIOs and its state set.
    @ivar done: its handshake is over.
    @ivar error: why it failed.
    @ivar heard: what it was told.
    """

    def __init__(self, leg: FakeLeg, connection: SSL.Connection) -> None:
        self.leg = leg
        self.connection = connection
        self.done = False
        self.error: SSL.Error | None = None
        self.heard = b""
        self.closed = False
        self.ticketed = False

    def shake(self) -> FarEnd:
        """
        Carry bytes to and fro until nothing moves any more. Tickets come with it, as if the server had something to say
        by then: without them nobody resumes.
        """
        moving = True
        while moving:
            self._step()
            moving = self._carry() or self._get_tickets()
        return self

    def _get_tickets(self) -> bool:
        near = getattr(self.leg.owner, "client", None)
        if self.ticketed or not isinstance(near, TlsLeg) or not near.established:
            return False
        self.ticketed = True
        near._flush()
        return True

    def say(self, data: bytes) -> None:
        """
        Send something, encrypted.
        """
        self.connection.send(data)
        self.shake()

    def hello(self) -> bytes:
        """
        The first flight of a client, which is not sent.
        """
        self._step()
        return self.connection.bio_read(1 << 16)

    def _step(self) -> None:
        try:
            if not self.done:
                self.connection.do_handshake()
                self.done = True
            self.heard += self.connection.recv(1 << 16)
        except (SSL.WantReadError, SSL.WantWriteError):
            pass
        except SSL.ZeroReturnError:
            self.closed = True
        except SSL.Error as error:
            self.error = self.error or error

    def _carry(self) -> bool:
        moved = False
        try:
            data = self.connection.bio_read(1 << 20)
        except SSL.WantReadError:
            pass
        else:
            moved = True
            self.leg.arrive(data)
        answer = self.leg.taken()
        if answer:
            self.connection.bio_write(answer)
        return moved or bool(answer)


def client_connection(
    name: str | None = None, *, version: int | None = None, identity: Any = None, session: SSL.Session | None = None
) -> SSL.Connection:
    """
    A client's connection that asks for a name and trusts everybody.

    @param version: C{SSL.TLS1_2_VERSION} or C{SSL.TLS1_3_VERSION}; both where None.
    @param identity: L{tests.support.pki.Identity}, shown when asked for.
    @param session: to resume; of a connection of the same context.
    """
    return client_of(client_settings(version=version, identity=identity), name, session)


def client_settings(*, version: int | None = None, identity: Any = None) -> SSL.Context:
    """
    What L{client_connection} makes connections from.
    """
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    if version is not None:
        context.set_min_proto_version(version)
        context.set_max_proto_version(version)
    if identity is not None:
        context.use_certificate(identity.certificate)
        context.use_privatekey(identity.key)
    return context


def client_of(context: SSL.Context, name: str | None = None, session: SSL.Session | None = None) -> SSL.Connection:
    """
    One connection of such a context.
    """
    connection = SSL.Connection(context, None)
    if name is not None:
        connection.set_tlsext_host_name(name.encode())
    if session is not None:
        connection.set_session(session)
    connection.set_connect_state()
    return connection


def server_settings(identity: Any, *, authority: Any = None, version: int | None = None) -> SSL.Context:
    """
    What TLS servers of tests are made from.

    @param authority: whose certificate a client must show; None: it is not asked.
    """
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_session_id(b"test")
    context.use_certificate(identity.certificate)
    for each in identity.chain:
        context.add_extra_chain_cert(each)
    context.use_privatekey(identity.key)
    if version is not None:
        context.set_min_proto_version(version)
        context.set_max_proto_version(version)
    if authority is not None:
        store = context.get_cert_store()
        assert store is not None
        store.add_cert(crypto.X509.from_cryptography(authority.certificate))
        context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, lambda *_: bool(_[-1]))
    return context


def server_of(context: SSL.Context) -> SSL.Connection:
    """
    One connection of such a context.
    """
    connection = SSL.Connection(context, None)
    connection.set_accept_state()
    return connection
