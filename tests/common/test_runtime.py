"""
Tests for L{sniproxy.common.runtime}.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.testing import MemoryReactorClock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import classImplements

from sniproxy.addresses import Address
from sniproxy.common.listening import Listening
from sniproxy.common.resolver import ResolverSettings
from sniproxy.common.runtime import Door, Engine, Runtime, attend, doors_in, doors_of
from sniproxy.config.build import Build
from sniproxy.interfaces import ISessionLog
from sniproxy.logs.sinks import files_of
from sniproxy.net.network import network_for
from tests.support.messages import Correspondent
from tests.support.sessions import FakeLeg, FakeNetwork, World, failure

PASS = "proxy_pass 192.0.2.2:1;"


def servers(*listens: str) -> World:
    """
    One server for each address.
    """
    return World("".join(f"server {{ listen {listen}; {PASS} }}\n" for listen in listens))


class Attending:
    """
    A module that does something by itself.
    """

    name = "test_attending"
    directives: tuple[Any, ...] = ()
    variables: tuple[Any, ...] = ()

    def __init__(self, begin: Callable[[Runtime], Callable[[], None]]) -> None:
        self._begin = begin

    def prepare(self, build: Build) -> None:
        """
        Announce it.
        """
        attend(build, self._begin)

    def attach(self, server: Any, build: Build) -> None:
        """
        Nothing.
        """


class Closing:
    """
    A log that notes that it is closed.
    """

    def __init__(self, noted: list[str]) -> None:
        self._noted = noted

    def write(self, line: bytes) -> None:
        """
        Nothing.
        """

    def reopen(self) -> None:
        """
        Nothing.
        """

    def close(self) -> None:
        """
        Note it.
        """
        self._noted.append("files")


classImplements(Closing, ISessionLog)


class EngineTests(SynchronousTestCase):
    """
    What a process has once.
    """

    def test_counter(self) -> None:
        """
        Connections are counted from 1.
        """
        engine = Engine(MemoryReactorClock(), lambda: 5.0, FakeNetwork(MemoryReactorClock()))
        self.assertEqual([engine.next_number() for _ in range(3)], [1, 2, 3])
        self.assertEqual(engine.time(), 5.0)

    def test_network(self) -> None:
        """
        The network is the best there is for the reactor, and ends with the engine.
        """
        best = network_for(MemoryReactorClock())
        best.stop()
        reactor = MemoryReactorClock()
        engine = Engine(reactor, lambda: 0.0)
        self.addCleanup(engine.stop)
        self.assertIs(type(engine.network), type(best))
        self.assertIs(engine.network.clock, reactor)
        made = FakeNetwork(reactor)
        Engine(reactor, lambda: 0.0, made).stop()
        self.assertTrue(made.stopped)


class DoorsTests(SynchronousTestCase):
    """
    Which sockets there are.
    """

    def doors(self, *listens: str) -> dict[str, list[str]]:
        """
        By the text of each socket's address: the addresses that come in by it as well.
        """
        found = doors_of(servers(*listens).listening)
        for address, (listening, _) in found.items():
            self.assertEqual(listening.address, address)
        return {address.text: [other.text for other in others.values()] for address, (_, others) in found.items()}

    def test_each_its_own(self) -> None:
        """
        Addresses without a wildcard have a socket each, unix sockets too.
        """
        self.assertEqual(
            self.doors("192.0.2.1:1", "192.0.2.1:2", "[::1]:1", "unix:/run/a.sock"),
            {"192.0.2.1:1": [], "192.0.2.1:2": [], "[::1]:1": [], "unix:/run/a.sock": []},
        )

    def test_covered(self) -> None:
        """
        An address that a wildcard of its family and port covers comes in by that, wherever they stand.
        """
        for order in ((0, 1, 2, 3, 4), (4, 3, 2, 1, 0)):
            listens = ("192.0.2.1:1", "*:1", "192.0.2.2:1", "[::1]:1", "192.0.2.1:2")
            self.assertEqual(
                {text: sorted(others) for text, others in self.doors(*(listens[place] for place in order)).items()},
                {"0.0.0.0:1": ["192.0.2.1:1", "192.0.2.2:1"], "[::1]:1": [], "192.0.2.1:2": []},
            )
        self.assertEqual(self.doors("[::]:1", "[::1]:1"), {"[::]:1": ["[::1]:1"]})

    def test_options(self) -> None:
        """
        bind, or any other option of the socket, demands a socket of its own.
        """
        for word in ("bind", "backlog=5"):
            self.assertEqual(self.doors("*:1", f"192.0.2.1:1 {word}"), {"0.0.0.0:1": [], "192.0.2.1:1": []})


class RuntimeTests(SynchronousTestCase):
    """
    A configuration at work.
    """

    def opened(self, world: World) -> list[Any]:
        """
        Open the doors.

        @return: the listeners.
        """
        wanted: dict[Address, Any] = {address: address.text for address in doors_of(world.listening)}
        world.runtime.open(wanted)
        return world.network.listeners

    def drained(self, world: World) -> list[str]:
        """
        @return: what will have been noted when the last session is over.
        """
        notes: list[str] = []
        world.runtime.drained = lambda: notes.append("drained")
        return notes

    def accept(self, world: World, listener: Any, local: Address) -> Listening:
        """
        A client comes in at an address of this host.

        @return: the address in the configuration that its session has.
        """
        known = set(world.runtime.sessions)
        listener.accepted(FakeLeg(world.network, Address("inet", "192.0.2.77", 1), local))
        (session,) = world.runtime.sessions - known
        return session.listening

    def test_open(self) -> None:
        """
        Each door listens on its socket, and a client gets the server of the address it came to.
        """
        world = servers("*:1", "192.0.2.1:1", "192.0.2.1:2")
        wild, other = self.opened(world)
        self.assertEqual(
            [(each.sock, each.started) for each in (wild, other)], [("0.0.0.0:1", True), ("192.0.2.1:2", True)]
        )
        for listener, local, text in (
            (wild, "192.0.2.1", "192.0.2.1:1"),
            (wild, "192.0.2.9", "0.0.0.0:1"),
            (other, "192.0.2.1", "192.0.2.1:2"),
        ):
            self.assertEqual(self.accept(world, listener, Address("inet", local, 1)).text, text)

    def test_open_after_another(self) -> None:
        """
        A configuration that takes the place of another has its doors where the sockets stay, without a moment in which
        nobody accepts, and makes others; those that nobody needs are the other one's to close.
        """
        world = servers("*:1", "192.0.2.1:2", "192.0.2.1:3 udp")
        first, gone, datagrams = self.opened(world)
        other = servers("192.0.2.1:1", "*:1", "192.0.2.1:3 udp", "192.0.2.1:4")
        after = Runtime(world.engine, other.build)
        self.assertIs(doors_in(other.build), doors_in(other.build))
        after.open({address: address.text for address in doors_in(other.build)}, world.runtime)  # type: ignore[misc]
        self.assertEqual(len(world.network.listeners), 4)
        new = world.network.listeners[3]
        self.assertEqual((new.sock, first.sock), ("192.0.2.1:4", "0.0.0.0:1"))
        world.runtime.pause()
        started = [each.started for each in (first, gone, datagrams, new)]
        self.assertEqual(started, [True, False, True, True])
        local = Address("inet", "192.0.2.1", 1)
        first.accepted(FakeLeg(world.network, Address("inet", "192.0.2.77", 1), local))
        (session,) = after.sessions
        self.assertEqual((session.listening.text, world.runtime.sessions), ("192.0.2.1:1", set()))
        after.pause()
        self.assertFalse(any(each.started for each in world.network.listeners))

    def test_no_room(self) -> None:
        """
        Where there is no room for a new door, those of the other configuration still lead there, and no new one stays.
        """
        world = servers("192.0.2.1:1")
        (first,) = self.opened(world)
        after = Runtime(world.engine, servers("192.0.2.1:1", "192.0.2.1:2", "192.0.2.1:3").build)
        listen = world.network.listen

        def refuse(sock: Any, accepted: Any, complain: Any) -> Any:
            if sock == "192.0.2.1:3":
                raise failure(24)
            return listen(sock, accepted, complain)

        self.patch(world.network, "listen", refuse)
        sockets: Any = {address: address.text for address in doors_in(after.build)}
        self.assertRaises(OSError, after.open, sockets, world.runtime)
        self.assertEqual([each.started for each in world.network.listeners], [True, False])
        self.accept(world, first, Address("inet", "192.0.2.1", 1))
        self.assertEqual((len(world.runtime.sessions), after.sessions), (1, set()))

    def test_exhaustion(self) -> None:
        """
        When descriptors run out the error log says so.
        """
        world = servers("1")
        door = Door(world.runtime, world.listening[0], {})
        door.complain(failure(24))
        self.assertEqual(world.lines, ["[crit] accept4() failed (24: Too many open files)"])

    def test_datagrams(self) -> None:
        """
        Addresses of datagrams have sockets and wildcards of their own; who has sent one is greeted as such.
        """
        world = servers("192.0.2.1:1", "192.0.2.1:1 udp", "*:1 udp")
        doors = doors_of(world.listening)
        self.assertEqual(
            [(address.text, each.udp, [*others]) for address, (each, others) in doors.items()],
            [("192.0.2.1:1", False, []), ("0.0.0.0:1", True, ["192.0.2.1"])],
        )
        self.opened(world)
        world.network.listeners[1].complain(failure(12))
        Correspondent(world, at=1)
        self.assertEqual(
            world.lines[:2],
            [
                "[crit] recvmsg() failed (12: Cannot allocate memory)",
                "[info] *1 udp client 192.0.2.77:40000 connected to 192.0.2.1:1",
            ],
        )

    def test_greeting(self) -> None:
        """
        The log tells who connected where, with its port; a client on a unix socket has no name.
        """
        world = servers("192.0.2.1:1")
        world.client()
        world.client(peer=Address("unix", ""))
        self.assertEqual(
            [line for line in world.lines if "client" in line],
            [
                "[info] *1 client 192.0.2.77:40000 connected to 192.0.2.1:1",
                "[info] *3 client unix: connected to 192.0.2.1:1",
            ],
        )

    def test_fault_while_greeting(self) -> None:
        """
        A fault of ours before the first phase ends that session, and no other.
        """
        world = servers("192.0.2.1:1")

        class Odd(FakeLeg):
            @property
            def peer(self) -> Address:
                raise OSError("not connected")

            @peer.setter
            def peer(self, peer: Address) -> None:
                """
                Forget it.
                """

        leg = Odd(world.network, Address("unix", ""), Address("unix", ""))
        world.runtime.begin(world.listening[0], leg)
        self.assertEqual((world.statuses(), leg.closed, world.network.attempts), ([500], True, []))
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)

    def test_resolvers_are_shared(self) -> None:
        """
        Equal settings share one resolver, others have their own, and none is none.
        """
        runtime = servers("1").runtime
        server = Address("inet", "192.0.2.53", 53)
        one = runtime.resolver(ResolverSettings((server,)))
        self.assertIs(runtime.resolver(ResolverSettings((server,))), one)
        self.assertIsNot(runtime.resolver(ResolverSettings((server,), timeout=1.0)), one)
        self.assertIsNone(runtime.resolver(None))

    def test_hooks_that_raise(self) -> None:
        """
        What a hook raised is in Twisted's log.
        """
        with capturedLogs() as events:
            servers("1").runtime.report(ValueError("odd"))
        self.assertEqual([formatEvent(event) for event in events], ["a verify hook raised ValueError('odd')"])

    def test_pause(self) -> None:
        """
        A paused configuration accepts no more, and its sessions go on.
        """
        world = servers("1")
        (listener,) = self.opened(world)
        client = world.client()
        notes = self.drained(world)
        world.runtime.pause()
        self.assertFalse(listener.started)
        client.arrive(b"x")
        world.session().finish()
        self.assertEqual(notes, [])

    def test_attendants(self) -> None:
        """
        Who does something by himself is told of the begin of a configuration, and of its end, once.
        """
        said: list[str] = []

        def begin(runtime: Runtime) -> Callable[[], None]:
            said.append("begin")
            return lambda: said.append("end")

        world = World(f"server {{ listen 192.0.2.1:1; {PASS} }}", modules=[Attending(begin)])
        self.assertEqual(said, ["begin"])
        world.runtime.stop()
        world.runtime.stop()
        self.assertEqual(said, ["begin", "end"])

    def test_expected(self) -> None:
        """
        Who wants to know is told when all that was asked for has been heard; at once where nothing was.
        """
        runtime = servers("1").runtime
        told: list[int] = []
        runtime.when_heard(lambda: told.append(1))
        runtime.expect("a")
        runtime.expect("b")
        runtime.when_heard(lambda: told.append(2))
        runtime.heard("a")
        runtime.heard("c")
        self.assertEqual(told, [1])
        runtime.heard("b")
        runtime.heard("b")
        self.assertEqual(told, [1, 2])

    def test_idle_connections(self) -> None:
        """
        Connections without anything under way are told to leave.
        """
        runtime = servers("1").runtime
        left: list[str] = []
        runtime.idle.add(type("Idle", (), {"leave": lambda self: left.append("gone")})())
        runtime.stop()
        self.assertEqual((left, runtime.stopped), (["gone"], True))

    def test_stop_when_idle(self) -> None:
        """
        A configuration without sessions is drained when it stops.
        """
        world = servers("1")
        (listener,) = self.opened(world)
        notes = self.drained(world)
        world.runtime.stop()
        self.assertEqual((listener.started, notes), (False, ["drained"]))

    def test_stop_with_sessions(self) -> None:
        """
        One with sessions is when the last is over, once; its logs and resolvers are closed then and not before.
        """
        world = servers("1")
        settings = ResolverSettings((Address("inet", "192.0.2.53", 53),))
        resolver: Any = world.runtime.resolver(settings)
        order: list[str] = []
        self.patch(resolver, "close", lambda: order.append("resolver"))
        files_of(world.build).adopt(Closing(order))
        world.runtime.drained = lambda: order.append("drained")
        world.client()
        world.client()
        world.runtime.stop()
        first, second = world.runtime.sessions
        first.finish()
        self.assertEqual(order, [])
        second.finish()
        self.assertEqual(order, ["resolver", "drained", "files"])
        world.runtime.stop()
        self.assertEqual(order.count("drained"), 1)
        self.assertIsNot(world.runtime.resolver(settings), resolver)

    def test_files_are_closed_all_the_same(self) -> None:
        """
        Who is told and raises keeps no file open.
        """
        world = servers("1")
        closed: list[str] = []
        files_of(world.build).adopt(Closing(closed))

        def raises() -> None:
            raise ZeroDivisionError

        world.runtime.drained = raises
        self.assertRaises(ZeroDivisionError, world.runtime.stop)
        self.assertEqual(closed, ["files"])

    def test_abort(self) -> None:
        """
        Aborted sessions end at once with 200, each is logged, and the configuration is drained, whether it had
        stopped or not.
        """
        for stopped in (False, True):
            world = servers("1")
            self.opened(world)
            clients = [world.client(), world.client()]
            notes = self.drained(world)
            if stopped:
                world.runtime.stop()
            world.runtime.abort()
            self.assertEqual((world.statuses(), notes), ([200, 200], ["drained"]))
            self.assertTrue(all(client.closed for client in clients))
            self.assertTrue(all(attempt.cancelled for attempt in world.network.attempts))
