"""
Tests for L{sniproxy.common.session}.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.addresses import Address
from sniproxy.common.phases import DONE, WAIT, Phase
from sniproxy.common.session import INTERNAL_ERROR, Session
from sniproxy.levels import DEBUG, ERROR, INFO, WARN
from sniproxy.net.legs import nothing
from tests.support.messages import Correspondent
from tests.support.sessions import FakeLeg, World

ONE = "server { listen 192.0.2.1:1; proxy_pass 192.0.2.2:2; }"
TWO = """
server { listen 192.0.2.1:1; proxy_pass 192.0.2.2:2; server_name a.example; }
server { listen 192.0.2.1:1; proxy_pass 192.0.2.3:3; server_name b.example; }
"""


class SessionCase(SynchronousTestCase):
    """
    A world whose servers do what the test says.
    """

    def make(self, text: str = ONE, **settings: Any) -> World:
        """
        A world without handlers but the one that counts the ends.
        """
        world = World(text, **settings)
        self.calls: list[str] = []
        for server in {server for listening in world.listening for server in listening.servers}:
            for phase in Phase:
                if phase is not Phase.LOG:
                    server.phases[phase].clear()
            server.content = self.says("content")
        self.server = world.listening[0].default
        return world

    def says(self, word: str, answer: Any = None) -> Callable[[Session], Any]:
        """
        A handler that notes that it was called.
        """

        def handler(session: Session) -> Any:
            self.calls.append(word)
            return answer

        return handler

    def begun(self, world: World) -> Session:
        """
        The session of a new client.
        """
        world.client()
        return world.session()


class WalkTests(SessionCase):
    """
    The way through the phases.
    """

    def test_order(self) -> None:
        """
        Handlers run in the order of the phases, and in one phase in the order they were given; content comes last.
        """
        world = self.make()
        for phase in reversed(Phase):
            for word in ("a", "b"):
                self.server.handle(phase, self.says(f"{phase.name} {word}"))
        session = self.begun(world)
        walked = ["POST_ACCEPT", "PREACCESS", "ACCESS", "SSL", "PREREAD"]
        self.assertEqual(self.calls, [f"{name} {word}" for name in walked for word in "ab"] + ["content"])
        self.calls.clear()
        session.finish()
        self.assertEqual(self.calls, ["LOG a", "LOG b"])

    def test_done(self) -> None:
        """
        DONE ends its phase and no other.
        """
        world = self.make()
        self.server.handle(Phase.ACCESS, self.says("first", DONE))
        self.server.handle(Phase.ACCESS, self.says("second"))
        self.server.handle(Phase.SSL, self.says("ssl"))
        self.begun(world)
        self.assertEqual(self.calls, ["first", "ssl", "content"])

    def test_status(self) -> None:
        """
        A status ends the session with it: no further handler runs but those of the log, and the client is closed.
        """
        world = self.make()
        self.server.handle(Phase.PREACCESS, self.says("deny", 403))
        self.server.handle(Phase.PREACCESS, self.says("never"))
        client = world.client()
        self.assertEqual(self.calls, ["deny"])
        self.assertEqual(world.statuses(), [403])
        self.assertTrue(client.closed)
        self.assertEqual(world.runtime.sessions, set())

    def test_wait_and_resume(self) -> None:
        """
        WAIT stops the walk; resume goes on with the next handler of the phase.
        """
        world = self.make()
        self.server.handle(Phase.ACCESS, self.says("asks", WAIT))
        self.server.handle(Phase.ACCESS, self.says("next"))
        session = self.begun(world)
        self.assertEqual(self.calls, ["asks"])
        session.resume()
        self.assertEqual(self.calls, ["asks", "next", "content"])

    def test_answer(self) -> None:
        """
        A handler that waited answers later as it could have at once.
        """
        for answer, calls, statuses in (
            (None, ["asks", "next", "content"], []),
            (DONE, ["asks", "content"], []),
            (WAIT, ["asks"], []),
            (503, ["asks"], [503]),
        ):
            world = self.make()
            self.server.handle(Phase.ACCESS, self.says("asks", WAIT))
            self.server.handle(Phase.ACCESS, self.says("next"))
            session = self.begun(world)
            session.answer(answer)
            self.assertEqual((self.calls, world.statuses()), (calls, statuses))

    def test_change_of_server(self) -> None:
        """
        After a change of server in the middle the next handler is the new server's, in the same place of the same
        phase.
        """
        world = self.make(TWO)
        one, two = world.listening[0].servers

        def change(session: Session) -> None:
            self.calls.append("one")
            session.server = two

        one.handle(Phase.ACCESS, change)
        one.handle(Phase.ACCESS, self.says("never"))
        two.handle(Phase.ACCESS, self.says("never either"))
        two.handle(Phase.ACCESS, self.says("two"))
        two.content = self.says("content of two")
        session = self.begun(world)
        self.assertEqual(self.calls, ["one", "two", "content of two"])
        two.handle(Phase.LOG, self.says("log of two"))
        one.handle(Phase.LOG, self.says("log of one"))
        session.finish()
        self.assertEqual(self.calls[3:], ["log of two"])

    def test_resume_after_the_end(self) -> None:
        """
        Who resumes a session that has ended meanwhile does nothing.
        """
        world = self.make()
        self.server.handle(Phase.ACCESS, self.says("asks", WAIT))
        session = self.begun(world)
        session.finish(403)
        session.resume()
        session.answer(None)
        session.answer(500)
        self.assertEqual((self.calls, world.statuses()), (["asks"], [403]))

    def test_action_is_over(self) -> None:
        """
        What a phase was doing is forgotten when content takes the session.
        """
        world = self.make()

        def acts(session: Session) -> None:
            session.action = "looking"

        self.server.handle(Phase.ACCESS, acts)
        self.assertEqual(self.begun(world).action, "")


class FaultTests(SessionCase):
    """
    Our own faults.
    """

    def raises(self, session: Session) -> Any:
        """
        A handler with a fault.
        """
        raise ZeroDivisionError("a fault of ours")

    def assertEndedBadly(self, world: World, client: FakeLeg) -> None:
        """
        The session is over with 500, the traceback is in Twisted's log and a line in the error log.
        """
        self.assertEqual(world.statuses(), [500])
        self.assertTrue(client.closed)
        self.assertEqual(world.runtime.sessions, set())
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(
            [line for line in world.lines if line.startswith(f"[alert] *1 {INTERNAL_ERROR}")], world.lines[1:]
        )
        self.assertEqual(len(world.lines), 2)

    def test_handler_raises(self) -> None:
        """
        A handler that raises ends its session closed, whichever phase it is of, and the next client is served.
        """
        for phase in (Phase.POST_ACCEPT, Phase.PREREAD):
            world = self.make()
            self.server.handle(phase, self.raises)
            self.assertEndedBadly(world, world.client())
            self.server.phases[phase].clear()
            world.client()
            self.assertEqual(self.calls, ["content"])

    def test_content_raises(self) -> None:
        """
        So does content.
        """
        world = self.make()
        self.server.content = self.raises
        self.assertEndedBadly(world, world.client())

    def test_later_handler_raises(self) -> None:
        """
        So does a handler that runs after a wait, whoever resumes the session.
        """
        world = self.make()
        self.server.handle(Phase.ACCESS, self.says("asks", WAIT))
        self.server.handle(Phase.ACCESS, self.raises)
        client = world.client()
        world.session().resume()
        self.assertEndedBadly(world, client)

    def test_deadline_raises(self) -> None:
        """
        So does what a deadline calls.
        """
        world = self.make()
        self.server.handle(Phase.ACCESS, self.says("asks", WAIT))
        client = world.client()
        session = world.session()
        session.wait(1.0, lambda: self.raises(session))
        world.pass_time(2)
        self.assertEndedBadly(world, client)

    def test_edge_raises(self) -> None:
        """
        So does what an edge of the client's leg calls.
        """
        world = self.make()
        self.server.content = lambda session: session.client.watch() and None
        client = world.client()
        client.handler = lambda bits: self.raises(world.session())
        client.arrive(b"x")
        self.assertEndedBadly(world, client)

    def test_log_raises(self) -> None:
        """
        A handler of the log phase that raises keeps neither the client open nor the session.
        """
        world = self.make()
        self.server.phases[Phase.LOG].append(self.raises)
        client = world.client()
        world.session().finish(200)
        self.assertEqual(world.statuses(), [200])
        self.assertTrue(client.closed)
        self.assertEqual(world.runtime.sessions, set())
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertIn("[alert] *1 " + INTERNAL_ERROR, world.lines[-1])

    def test_cancel_raises(self) -> None:
        """
        What the session waited for may raise when it is given up: the log is written and the client closed all the
        same.
        """
        world = self.make()
        client = world.client()
        session = world.session()
        session.pending = SimpleNamespace(cancel=lambda: self.raises(session))
        session.finish(200)
        self.assertEqual((world.statuses(), client.closed, world.runtime.sessions), ([200], True, set()))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_crashed_after_the_end(self) -> None:
        """
        A session that is over cannot crash.
        """
        world = self.make()
        session = self.begun(world)
        session.finish(200)
        session.crashed()
        self.assertEqual(world.statuses(), [200])
        self.assertEqual(len(world.lines), 1)


class EndTests(SessionCase):
    """
    How sessions end.
    """

    def test_once(self) -> None:
        """
        A session ends once: the first status counts, the log is written once, the leg is closed once.
        """
        world = self.make()
        client = world.client()
        session = world.session()
        session.finish(502)
        session.finish(200)
        self.assertEqual(world.statuses(), [502])
        self.assertTrue(client.closed)
        self.assertIs(client.handler, nothing)

    def test_pending_is_cancelled(self) -> None:
        """
        What the session waits for is given up before the log is written, once.
        """
        world = self.make()
        session = self.begun(world)
        session.pending = SimpleNamespace(cancel=lambda: self.calls.append(f"cancelled, {len(world.ended)} logged"))
        session.finish()
        session.finish()
        self.assertEqual(self.calls, ["content", "cancelled, 0 logged"])

    def test_log_sees_the_status(self) -> None:
        """
        In the log phase the session has its status, and its leg is still open.
        """
        world = self.make()
        seen: list[tuple[int, bool]] = []
        client = world.client()
        self.server.handle(Phase.LOG, lambda session: seen.append((session.status, client.closed)))
        world.session().finish(403)
        self.assertEqual(seen, [(403, False)])

    def test_no_deadline_is_left(self) -> None:
        """
        After the end of the last session no timer has anything to do, and nothing comes of the deadline it had.
        """
        world = self.make()
        session = self.begun(world)
        session.wait(1.0, lambda: self.calls.append("late"))
        session.finish()
        world.pass_time(2)
        self.assertEqual(self.calls, ["content"])
        self.assertEqual(world.reactor.getDelayedCalls(), [])


class DeadlineTests(SessionCase):
    """
    One deadline at a time.
    """

    def test_expires_once(self) -> None:
        """
        What is late is called once, in time.
        """
        world = self.make()
        self.begun(world).wait(1.0, lambda: self.calls.append("late"))
        world.pass_time(0.95)
        self.assertEqual(self.calls, ["content"])
        world.pass_time(5)
        self.assertEqual(self.calls, ["content", "late"])

    def test_replaced(self) -> None:
        """
        A second wait takes the place of the first, be it longer or shorter.
        """
        for seconds in (0.5, 5.0):
            world = self.make()
            session = self.begun(world)
            session.wait(1.0, lambda: self.calls.append("first"))
            session.wait(seconds, lambda: self.calls.append("second"))
            world.pass_time(seconds - 0.1)
            self.assertEqual(self.calls, ["content"])
            world.pass_time(0.2)
            self.assertEqual(self.calls, ["content", "second"])
            world.pass_time(5)
            self.assertEqual(self.calls, ["content", "second"])

    def test_another_step_of_the_same_wait(self) -> None:
        """
        wait_on leaves the deadline where it is and calls something else.
        """
        world = self.make()
        session = self.begun(world)
        session.wait(1.0, lambda: self.calls.append("first"))
        world.pass_time(0.5)
        session.wait_on(lambda: self.calls.append("second"))
        world.pass_time(0.6)
        self.assertEqual(self.calls, ["content", "second"])

    def test_stopped(self) -> None:
        """
        What has come is not waited for.
        """
        world = self.make()
        session = self.begun(world)
        session.wait(1.0, lambda: self.calls.append("late"))
        session.stop_waiting()
        world.pass_time(2)
        self.assertEqual(self.calls, ["content"])

    def test_nobody_waits(self) -> None:
        """
        A deadline that passes when nobody waits any more changes nothing.
        """
        world = self.make()
        session = self.begun(world)
        session.expired()
        self.assertEqual(world.statuses(), [])


class FactsTests(SessionCase):
    """
    What handlers and variables read.
    """

    def test_numbers(self) -> None:
        """
        Sessions are counted from 1, and remember when they began.
        """
        world = self.make()
        world.pass_time(2)
        first = self.begun(world)
        first.finish()
        second = self.begun(world)
        self.assertEqual((first.number, second.number), (1, 2))
        self.assertIs(first.session, first)
        self.assertAlmostEqual(first.begun, 2.0)
        self.assertIs(first.clock, world.runtime)

    def test_addresses(self) -> None:
        """
        Peer and local are those of the leg.
        """
        world = self.make()
        peer = Address("inet6", "2001:db8::7", 7)
        world.client(peer=peer)
        self.assertEqual((world.session().peer, world.session().local), (peer, Address("inet", "192.0.2.1", 1)))

    def test_begin_again(self) -> None:
        """
        A session that begins again at another address walks all phases there, with its number and its notes and
        nothing else of what was known; what it waited for is not waited for any more.
        """
        world = self.make(ONE + "server { listen 192.0.2.3:3; proxy_pass 192.0.2.2:1; }")
        session = self.begun(world)
        session.values["a"] = "b"
        session.notes["c"] = 1
        session.captures = ("d",)
        session.upstream_states.append("state")
        session.wait(5, lambda: self.calls.append("late"))
        self.calls.clear()
        other = world.listening[1]
        other.default.handle(Phase.POST_ACCEPT, self.says("accepted"))
        world.pass_time(1)
        local = Address("inet", "192.0.2.4", 3)
        session.begin_again(other, local)
        world.pass_time(10)
        self.assertEqual(self.calls, ["accepted", "content"])
        self.assertEqual((session.number, session.server, session.local), (1, other.default, local))
        self.assertEqual((session.values, session.captures, session.upstream_states), ({}, None, []))
        self.assertEqual(session.notes["c"], 1)
        self.assertAlmostEqual(session.begun, 1.0)
        session.finish()
        self.assertEqual(world.ended, [session])

    def test_kept_by_modules(self) -> None:
        """
        Values, notes and tries are made when they are asked for, and stay.
        """
        session = self.begun(self.make())
        session.values["a"] = "b"
        session.notes["c"] = 1
        session.upstream_states.append("state")
        self.assertEqual((session.values, session.notes, session.upstream_states), ({"a": "b"}, {"c": 1}, ["state"]))

    def test_bytes(self) -> None:
        """
        Nothing counts before content takes the session; then content counts.
        """
        session = self.begun(self.make())
        self.assertEqual((session.bytes_received, session.bytes_sent), (0, 0))
        session.traffic = SimpleNamespace(bytes_received=3, bytes_sent=4, bytes_to_upstream=1, bytes_from_upstream=2)
        self.assertEqual((session.bytes_received, session.bytes_sent), (3, 4))


class LogTests(SessionCase):
    """
    What a session says.
    """

    def log(self, change: Callable[[Session], None], **settings: Any) -> str:
        """
        The last line after a message of a session that was changed.
        """
        world = self.make(**settings)
        session = self.begun(world)
        change(session)
        session.log(ERROR, "something happened")
        return world.lines[-1]

    def test_plain(self) -> None:
        """
        A line has the number of the connection, the client without its port, and the server's address.
        """
        self.assertEqual(
            self.log(lambda session: None),
            "[error] *1 something happened, client: 192.0.2.77, server: 192.0.2.1:1",
        )

    def test_datagrams(self) -> None:
        """
        A client that sends datagrams is called so, and its first one counts at once.
        """
        world = self.make("server { listen 192.0.2.1:1 udp; return x; }")
        Correspondent(world, b"12345")
        session = world.session()
        self.assertEqual((session.bytes_received, session.bytes_sent), (5, 0))
        session.error("something happened")
        self.assertEqual(world.lines[-1], "[error] *1 something happened, udp client: 192.0.2.77, server: 192.0.2.1:1")

    def test_action(self) -> None:
        """
        What the session is doing comes behind the message.
        """

        def act(session: Session) -> None:
            session.action = "connecting to upstream"

        self.assertTrue(
            self.log(act).startswith("[error] *1 something happened while connecting to upstream, client: ")
        )

    def test_traffic(self) -> None:
        """
        Once content has taken it the bytes are told, and the upstream when there is one.
        """

        def carry(session: Session) -> None:
            session.traffic = SimpleNamespace(
                bytes_received=1, bytes_sent=2, bytes_from_upstream=3, bytes_to_upstream=4
            )

        def carry_to(session: Session) -> None:
            carry(session)
            session.upstream = "192.0.2.2:2"

        counts = ", bytes from/to client:1/2, bytes from/to upstream:3/4"
        self.assertTrue(self.log(carry).endswith(f", server: 192.0.2.1:1{counts}"))
        self.assertTrue(self.log(carry_to).endswith(f', server: 192.0.2.1:1, upstream: "192.0.2.2:2"{counts}'))

    def test_odd_clients(self) -> None:
        """
        A client on a unix socket has no name, and one that is gone before it was asked is unknown.
        """
        world = self.make()
        world.client(peer=Address("unix", ""))
        self.assertEqual(world.session().client_text(), "unix:")

        class Gone:
            @property
            def peer(self) -> Address:
                raise OSError("not connected")

        session = world.session()
        leg, session.client = session.client, Gone()
        self.assertEqual(session.client_text(), "unknown")
        session.client = leg

    def test_levels(self) -> None:
        """
        What nobody wants to hear is not written.
        """
        world = self.make(level=WARN)
        session = self.begun(world)
        session.info("a")
        session.log(INFO, "b")
        session.log(DEBUG, "c")
        session.tell("d")
        session.log(WARN, "e")
        session.error("f")
        self.assertEqual([line.split(",")[0] for line in world.lines], ["[warn] *1 e", "[error] *1 f"])
        world = self.make(level=INFO)
        session = self.begun(world)
        session.info("a")
        session.tell("d")
        self.assertEqual(world.lines[1:], ["[info] *1 a, client: 192.0.2.77, server: 192.0.2.1:1", "[info] *1 d"])

    def test_the_server_in_force(self) -> None:
        """
        The error log is that of the server that was chosen.
        """
        world = self.make(TWO)
        session = self.begun(world)
        session.server = world.listening[0].servers[1]
        written: list[tuple[Any, ...]] = []
        session.server.error_log = SimpleNamespace(level=ERROR, write=lambda *what: written.append(what))  # type: ignore[assignment]
        session.error("x")
        self.assertEqual([each[0] for each in written], [ERROR])
