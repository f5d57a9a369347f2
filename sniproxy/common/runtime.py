"""
A configuration at work: its open doors, the sessions under way, and what they all share.

Strategy: L{Engine} is the process, one for its life: sockets, clocks, the counter of connections. L{Runtime} is one
configuration on it; a reload makes another one beside it, to which the doors lead from then on, and the old one lives
until its last session ends.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Hashable, Iterable, Mapping
from itertools import count
from typing import Any, Final, TypeAlias

from twisted.logger import Logger

from sniproxy.addresses import Address
from sniproxy.common.listen import listenings
from sniproxy.common.listening import Listening
from sniproxy.common.resolver import Resolver, ResolverSettings
from sniproxy.common.session import Session
from sniproxy.config.build import Build
from sniproxy.interfaces import ILeg
from sniproxy.levels import CRIT, INFO
from sniproxy.logs.error_log import ErrorLog, error_log_of
from sniproxy.logs.sinks import files_of
from sniproxy.net.network import network_for
from sniproxy.net.timers import Deadlines

_WILD: Final = ("0.0.0.0", "::")


Ending = Callable[[], None]


def attend(build: Build, begin: Callable[[Runtime], Ending]) -> None:
    """
    For the C{prepare} of modules that do something by themselves while a configuration is at work.

    @param begin: called once when it begins; what it gives back is called when the last session is over.
    """
    build.shared.setdefault(attend, []).append(begin)


class Engine:
    """
    What a process has once. Owns the network.

    @ivar reactor: Twisted's.
    @ivar time: wall clock, seconds since the epoch.
    @ivar kept: what modules keep from one configuration to the next, by keys of their own.
    """

    def __init__(self, reactor: Any, time: Callable[[], float], network: Any = None, ours: bool = False) -> None:
        """
        @param network: L{sniproxy.net.network.Network} or what has its surface; None for the best this reactor carries.
        @param ours: whether the process is.
        """
        self.reactor = reactor
        self.time = time
        self.network: Any = network_for(reactor, ours) if network is None else network
        self.next_number: Callable[[], int] = count(1).__next__
        self.kept: dict[Hashable, Any] = {}

    def stop(self) -> None:
        """
        No more sockets, no more waits.
        """
        self.network.stop()


class Door:
    """
    One listening socket and the addresses that come in by it: its own, and those a wildcard covers. It stays where
    another configuration takes the place of the one it leads to.

    @ivar listener: who accepts.
    """

    def __init__(self, runtime: Runtime, listening: Listening, others: dict[str, Listening]) -> None:
        self.lead_to(runtime, listening, others)
        self.listener: Any = None

    def lead_to(self, runtime: Runtime, listening: Listening, others: dict[str, Listening]) -> None:
        """
        From here on, whoever comes in is served by this configuration.
        """
        self.listening = listening
        self.others = others
        self._runtime = runtime

    def accepted(self, leg: ILeg) -> None:
        """
        Begin a session.
        """
        listening = self.listening
        if self.others:
            listening = self.others.get(leg.local.host, listening)
        self._runtime.begin(listening, leg)

    def complain(self, error: OSError) -> None:
        """
        Descriptors ran out, or the socket has failed.
        """
        call = "recvmsg()" if self.listening.udp else "accept4()"
        self._runtime.error_log.write(CRIT, f"{call} failed ({error.errno}: {error.strerror})")


Doors: TypeAlias = dict[Address, tuple[Listening, dict[str, Listening]]]
"""What L{doors_of} finds."""

DOORS: Final = "doors"
"""The key in C{build.shared} of what was found."""


def doors_in(build: Build) -> Doors:
    """
    L{doors_of} a configuration that is complete, found once.
    """
    doors: Doors | None = build.shared.get(DOORS)
    if doors is None:
        doors = build.shared[DOORS] = doors_of(listenings(build))
    return doors


def doors_of(found: Iterable[Listening]) -> Doors:
    """
    Which sockets are needed: an address of a port that has a wildcard needs none of its own, unless it says C{bind} or
    sets an option.

    @return: by the address to bind: the listening of the socket, and those that come in by it as well, by their host.
    """
    listed = tuple(found)
    wild = {_port_of(each): each for each in listed if each.address.host in _WILD}
    doors: Doors = {}
    for listening in listed:
        if listening.address.host in _WILD or not _covered(listening, wild):
            doors[listening.address] = (listening, {})
    for listening in listed:
        if listening.address not in doors:
            over = wild[_port_of(listening)]
            doors[over.address][1][listening.address.host] = listening
    return doors


def _port_of(listening: Listening) -> tuple[bool, str, int]:
    """
    What addresses have in common that one wildcard socket can receive.
    """
    return listening.udp, listening.address.family, listening.address.port


def _covered(listening: Listening, wild: dict[Any, Listening]) -> bool:
    return listening.address.family != "unix" and _port_of(listening) in wild and not listening.options.given


class Runtime:
    """
    One configuration. Owns its log files and its sessions; is lent the listening sockets.

    @ivar build: the configuration.
    @ivar error_log: of the main block.
    @ivar sessions: those under way.
    @ivar idle: connections that have nothing under way, each with a C{leave()}.
    @ivar stopped: whether no more is begun.
    @ivar drained: called when it has stopped and the last session is over.
    @ivar delivered: asked before that: whether it may be over now; else L{stop} is called again.
    """

    def __init__(self, engine: Engine, build: Build) -> None:
        self.engine = engine
        self.build = build
        self.network = engine.network
        self.deadlines: Deadlines = engine.network.deadlines
        self.now = self.deadlines.now
        self.time = engine.time
        self.next_number = engine.next_number
        self.error_log: ErrorLog = error_log_of(build, build.root)
        files_of(build).gather(engine.network.later)
        self.sessions: set[Session] = set()
        self.idle: set[Any] = set()
        self.stopped = False
        self._unheard: set[Hashable] = set()
        self._when_heard: Callable[[], None] | None = None
        self.drained: Callable[[], None] | None = None
        self.delivered: Callable[[], bool] | None = None
        self._log = Logger()
        self._doors: dict[socket.socket, Door] = {}
        self._resolvers: dict[ResolverSettings, Resolver] = {}
        self._endings: list[Ending] = [begin(self) for begin in build.shared.get(attend, ())]

    def expect(self, what: Hashable) -> None:
        """
        Something is asked for without which some sessions would find nobody.
        """
        self._unheard.add(what)

    def heard(self, what: Hashable) -> None:
        """
        There was an answer, be it a good one or not.
        """
        self._unheard.discard(what)
        if not self._unheard:
            told, self._when_heard = self._when_heard, None
            if told is not None:
                told()

    def when_heard(self, tell: Callable[[], None]) -> None:
        """
        Call C{tell} when nothing is expected any more, perhaps now.
        """
        if self._unheard:
            self._when_heard = tell
        else:
            tell()

    def open(self, sockets: Mapping[Address, socket.socket], before: Runtime | None = None) -> None:
        """
        Accept on these.

        @param sockets: bound and listening, by the addresses that L{doors_of} wants.
        @param before: who accepts on some of them so far, and will not from here on.
        @raise OSError: there is no room for what listens; nothing has changed then.
        """
        known = {} if before is None else before._doors
        doors = doors_in(self.build)
        try:
            for address, (listening, others) in doors.items():
                sock = sockets[address]
                if sock not in known:
                    door = self._doors[sock] = Door(self, listening, others)
                    listen = self.network.listen_datagrams if listening.udp else self.network.listen
                    door.listener = listen(sock, door.accepted, door.complain)
                    door.listener.start()
        except BaseException:
            self._doors = {sock: door for sock, door in self._doors.items() if door.listener is not None}
            self.pause()
            raise
        for address, (listening, others) in doors.items():
            sock = sockets[address]
            if sock in known:
                door = self._doors[sock] = known.pop(sock)
                door.lead_to(self, listening, others)

    def begin(self, listening: Listening, leg: Any) -> Session:
        """
        A client has come in by an address.
        """
        server = listening.default
        session = Session(self, listening, leg, server)
        self.sessions.add(session)
        if server.error_log.level >= INFO:
            session.run(self.greet, session)
        session.resume()
        return session

    def greet(self, session: Session) -> None:
        """
        Say in the log who has come, and where.
        """
        error_log = session.server.error_log
        if error_log.level >= INFO and session.server.greets:
            who = session.peer.text
            udp = "udp " if session.listening.udp else ""
            error_log.write(INFO, f"{udp}client {who} connected to {session.listening.text}", session.number)

    def ended(self, session: Session) -> None:
        """
        A session is over.
        """
        self.sessions.discard(session)
        self.network.drop(session)
        if self.stopped and not self.sessions:
            self._perhaps_finish()

    def resolver(self, settings: ResolverSettings | None) -> Resolver | None:
        """
        The resolver of one C{resolver} directive; equal ones share it.
        """
        if settings is None:
            return None
        known = self._resolvers.get(settings)
        if known is None:
            known = self._resolvers[settings] = Resolver(settings, self.engine.reactor, self.error_log.write)
        return known

    def internal_error(self) -> None:
        """
        We have a fault, and handle an exception of it: say where, and go on.
        """
        self._log.failure("internal error in a session")

    def report(self, error: Exception) -> None:
        """
        A hook that was handed in raised.
        """
        self._log.error("a verify hook raised {error!r}", error=error)

    def take_last(self) -> None:
        """
        Begin the sessions of those who have connected already, before this process stops for good.
        """
        for door in self._doors.values():
            door.listener.last()

    def pause(self) -> None:
        """
        Accept no more; the sockets are somebody else's from here on.
        """
        for door in self._doors.values():
            door.listener.stop()
        self._doors.clear()

    def stop(self) -> None:
        """
        Accept no more; sessions go on. C{drained} is called when there are none, perhaps now.
        """
        self.pause()
        self.stopped = True
        for connection in list(self.idle):
            connection.leave()
        if not self.sessions:
            self._perhaps_finish()

    def abort(self) -> None:
        """
        End all sessions now; each is logged.
        """
        for session in list(self.sessions):
            session.finish(session.status or 200)
        self.stop()

    def _perhaps_finish(self) -> None:
        if self.delivered is None or self.delivered():
            self._finish()

    def _finish(self) -> None:
        endings, self._endings = self._endings, []
        for end in endings:
            end()
        for resolver in self._resolvers.values():
            resolver.close()
        self._resolvers.clear()
        drained, self.drained = self.drained, None
        try:
            if drained is not None:
                drained()
        finally:
            # last, so that whoever is told may still say so in the log
            files_of(self.build).close()
