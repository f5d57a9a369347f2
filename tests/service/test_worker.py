"""
Tests for L{sniproxy.service.worker}.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import replace
from fcntl import F_DUPFD, fcntl
from importlib import import_module
from typing import Any

from twisted.logger import globalLogBeginner

from sniproxy.addresses import Address
from sniproxy.common.runtime import Runtime, attend
from sniproxy.common.shared_counts import shape_of
from sniproxy.common.shared_memory import Table, nothing_to_mend, shares
from sniproxy.service import worker as under_test
from sniproxy.service.channel import REOPEN, Mouth
from sniproxy.service.core import USER, Account
from sniproxy.service.load import load, world
from sniproxy.service.plan import HEAR, PLAN, SAY, SOCKETS, Plan
from sniproxy.service.serving import LOOK
from sniproxy.service.snapshot import Recorder, nameless
from sniproxy.service.sockets import open_sockets
from sniproxy.service.worker import PATIENCE, WorkerService, descriptors_of_tables, main, make, run, take_sockets
from tests.support.processes import twisted_log
from tests.support.services import ServiceCase


class WorkerCase(ServiceCase):
    """
    A worker in memory.
    """

    def setUp(self) -> None:
        super().setUp()
        self.taken: dict[int, Any] = {}
        self.patch(signal, "signal", self.taken.__setitem__)
        self.spoken: list[Any] = []

    def worker(self, *names: str, more: str = "", number: int = 1) -> WorkerService:
        """
        A worker that accepts; its sockets have names, which somebody else takes away.
        """
        self.configure(*names, more=more)
        build = load(self.path("edge.conf"))
        self.sockets = open_sockets(build, {})
        service = WorkerService(self.reactor, build, self.sockets, number, lambda *words: self.spoken.append(words))
        self.addCleanup(service.stopService)
        self.addCleanup(self.close_sockets)
        return service

    def close_sockets(self) -> None:
        """
        Those that are open still.
        """
        for sock in self.sockets.values():
            sock.close()

    def working(self, *names: str, more: str = "") -> WorkerService:
        """
        One that has begun.
        """
        service = self.worker(*names, more=more)
        service.startService()
        self.reactor.begin()
        return service

    def signalled(self, number: signal.Signals) -> None:
        """
        The process gets a signal.
        """
        self.taken[number](number, None)
        self.reactor.advance(0)


class LifeTests(WorkerCase):
    """
    From its birth to its end.
    """

    def test_begins(self) -> None:
        """
        It accepts, and says so when the reactor runs; what is told of the start is for the master to tell.
        """
        service = self.worker("a", "b")
        service.startService()
        self.assertEqual((sorted(self.listeners()), self.spoken), (["a", "b"], []))
        self.assertEqual(self.ours, [True])
        self.reactor.begin()
        self.assertEqual((self.spoken, self.lines()), ([("ready",)], []))
        self.assertEqual(self.collector, ["collect", "freeze", "set_threshold", "enable"])

    def expecting(self) -> tuple[WorkerService, Runtime]:
        """
        A patient worker whose configuration has asked for something.
        """
        service = self.worker("a")
        service._patient = True
        found: list[Runtime] = []

        def begin(runtime: Runtime) -> Callable[[], None]:
            runtime.expect("a name")
            found.append(runtime)
            return lambda: None

        attend(service._build, begin)
        service.startService()
        self.reactor.begin()
        self.assertEqual((self.listeners(), self.spoken), ({}, []))
        return service, found[0]

    def test_patient(self) -> None:
        """
        Where others accept meanwhile, it waits for the answers to what it has to ask for first; but not for ever.
        """
        service, runtime = self.expecting()
        runtime.heard("another name")
        self.assertEqual(self.spoken, [])
        runtime.heard("a name")
        self.assertEqual((sorted(self.listeners()), self.spoken), (["a"], [("ready",)]))
        runtime.heard("a name")
        self.reactor.advance(PATIENCE)
        self.assertEqual(self.spoken, [("ready",)])
        service.stopService()

    def test_patient_for_long(self) -> None:
        """
        An answer that does not come is not waited for.
        """
        service, runtime = self.expecting()
        self.reactor.advance(PATIENCE)
        self.assertEqual((sorted(self.listeners()), self.spoken), (["a"], [("ready",)]))
        runtime.heard("a name")
        self.assertEqual(self.spoken, [("ready",)])
        service.stopService()

    def test_patient_in_vain(self) -> None:
        """
        Who is told to go before does not accept any more.
        """
        service, runtime = self.expecting()
        service.quit()
        runtime.heard("a name")
        self.assertEqual((self.listeners(), self.spoken), ({}, []))

    def test_becomes(self) -> None:
        """
        It becomes whom it is to be when its logs are open, and before it accepts; if it cannot, it does not.
        """
        seen: list[Any] = []

        def become(*what: Any) -> None:
            seen.append((sorted(self.listeners()), os.path.exists(self.path("access.log"))))
            raise PermissionError(1, "Operation not permitted")

        self.patch(os, "initgroups", become)
        service = self.worker("a")
        service._build.root.values[USER] = Account("proxy", 13, 14)
        self.assertRaises(PermissionError, service.startService)
        self.assertEqual((seen, self.listeners()), ([([], True)], {}))

    def test_cores(self) -> None:
        """
        It runs where a worker of its number is to run.
        """
        asked: list[Any] = []
        self.patch(os, "sched_setaffinity", lambda pid, cores: asked.append(sorted(cores)))
        self.working("a", more="worker_processes 2; worker_cpu_affinity 01 10;")
        self.assertEqual(asked, [[1]])

    def test_quit(self) -> None:
        """
        QUIT closes its sockets, but takes no name away, and the process ends with the last session.
        """
        service = self.working("a")
        client = self.client("a")
        service.heard("quit")
        service.heard("quit")
        self.assertEqual((self.listeners(), self.names()), ({}, ["a"]))
        self.assertEqual([sock.fileno() for sock in self.sockets.values()], [-1])
        self.assertFalse(self.reactor.hasStopped)
        client.owner.finish(200)
        self.assertTrue(self.reactor.hasStopped)
        service.stopService()
        self.assertEqual(self.lines()[-3:], ["gracefully shutting down", "exiting", "exit"])
        self.assertEqual(self.lines().count("exit"), 1)

    def test_quit_undelivered(self) -> None:
        """
        The process stays for bytes that have not been delivered, unless it is stopped.
        """
        for stopped in (False, True):
            self.setUp()
            service = self.working("a")
            self.engine.network.lingering = True
            service.heard("quit")
            self.assertFalse(self.reactor.hasStopped)
            if stopped:
                service.heard("stop")
                self.assertTrue(self.reactor.hasStopped)
            self.engine.network.lingering = False
            self.reactor.advance(LOOK)
            self.assertTrue(self.reactor.hasStopped)
            service.stopService()

    def test_stop(self) -> None:
        """
        STOP ends it at once, sessions are logged; the reactor is stopped once.
        """
        service = self.working("a")
        self.client("a")
        stopped: list[int] = []
        self.patch(self.reactor, "stop", lambda: stopped.append(1))
        service.heard("stop")
        service.stop()
        service.stopService()
        self.assertEqual((stopped, self.names()), ([1], ["a"]))
        self.assertEqual(self.lines("access.log"), [f"1 200 {os.getpid()}"])
        self.assertEqual(self.lines()[-2:], ["exiting", "exit"])

    def test_never_began(self) -> None:
        """
        One that never began has nothing to say.
        """
        service = self.worker("a")
        service.quit()
        service.reopen()
        service.orphaned()
        service.stopService()
        self.assertFalse(os.path.exists(self.path("edge.log")))

    def test_orphaned(self) -> None:
        """
        Without its master it takes no more sessions, and ends with the last one.
        """
        service = self.working("a")
        client = self.client("a")
        service.orphaned()
        self.assertEqual(self.lines()[-2:], ["the master process is gone", "gracefully shutting down"])
        self.assertEqual(self.listeners(), {})
        client.owner.finish(200)
        self.assertTrue(self.reactor.hasStopped)

    def test_reopen(self) -> None:
        """
        Its logs are opened anew when it is told so.
        """
        service = self.working("a")
        os.rename(self.path("access.log"), self.path("access.log.1"))
        service.heard(REOPEN)
        self.client("a").owner.finish(200)
        self.assertEqual(self.lines("access.log"), [f"1 200 {os.getpid()}"])
        self.assertEqual(self.lines()[0], "reopening logs")


class SignalTests(WorkerCase):
    """
    What a worker does with signals of its own.
    """

    def test_meanings(self) -> None:
        """
        HUP is ignored, USR1 opens logs anew, QUIT and TERM end it; each is logged.
        """
        for number, line, stops in (
            (signal.SIGHUP, "signal 1 (SIGHUP) received, ignoring", False),
            (signal.SIGUSR1, "signal 10 (SIGUSR1) received, reopening logs", False),
            (signal.SIGQUIT, "signal 3 (SIGQUIT) received, shutting down", True),
            (signal.SIGTERM, "signal 15 (SIGTERM) received, exiting", True),
        ):
            self.setUp()
            self.working("a")
            self.signalled(number)
            self.assertEqual(self.lines()[0], line)
            self.assertEqual(self.reactor.hasStopped, stops, line)


class BirthTests(WorkerCase):
    """
    From descriptors to a service.
    """

    def plan(self, *names: str, more: str = "", zones: str = "") -> Plan:
        """
        What a master would give.
        """
        self.configure(*names, more=more)
        with open(self.path("edge.conf")) as file:
            text = file.read()
        with open(self.path("edge.conf"), "w") as file:
            file.write(text.replace("stream {", f"stream {{ {zones}", 1))
        recorder = Recorder(world())
        build = load(self.path("edge.conf"), asked=recorder.world)
        addresses = tuple(Address("unix", self.path(name)) for name in names)
        self.assertEqual(build.file, self.path("edge.conf"))
        return Plan(self.path("edge.conf"), None, "", recorder.snapshot(), addresses, "")

    def mouth(self) -> Mouth:
        """
        One end of a pipe.
        """
        reading, writing = os.pipe()
        self.addCleanup(os.close, reading)
        self.addCleanup(os.close, writing)
        return Mouth(writing)

    def ear(self) -> None:
        """
        The worker's ear hears nothing yet.
        """
        self.patch(under_test, "Ear", lambda reactor, number, heard, gone: self.spoken.append((number, heard, gone)))

    def open(self, plan: Plan) -> dict[Address, socket.socket]:
        """
        Its sockets.
        """
        self.sockets = open_sockets(load(plan.file), {})
        self.addCleanup(self.close_sockets)
        return self.sockets

    def test_sockets(self) -> None:
        """
        The descriptors it is born with are sockets again, and go to no process that it might start.
        """
        plan = self.plan("a", "b")
        opened = self.open(plan)
        one, other = opened.values()
        # far up, where two in a row are nobody's
        first = fcntl(one.fileno(), F_DUPFD, 500)
        self.assertEqual(fcntl(other.fileno(), F_DUPFD, first + 1), first + 1)
        os.set_inheritable(first, True)
        found = take_sockets(plan, first)
        for sock in found.values():
            self.addCleanup(sock.close)
        self.assertEqual([sock.getsockname() for sock in found.values()], [self.path("a"), self.path("b")])
        self.assertEqual([os.get_inheritable(sock.fileno()) for sock in found.values()], [False, False])
        self.assertEqual(SOCKETS, max(HEAR, SAY, PLAN) + 1)

    def test_takes_tables(self) -> None:
        """
        The descriptors of tables come behind those of sockets; they are for nobody else, and it counts in them.
        """
        plan = replace(self.plan("a", zones="limit_conn_zone $remote_addr zone=one:32k;"), tables=1)
        sockets = self.open(plan)
        master = Table.make(nameless(b""), shape_of(32768), nothing_to_mend)
        self.addCleanup(master.close)
        master.grow(3)
        os.set_inheritable(master.descriptor, True)
        tables = descriptors_of_tables(plan, master.descriptor - 1)
        self.assertEqual((tables, os.get_inheritable(master.descriptor)), ([master.descriptor], False))
        self.ear()
        service = make(self.reactor, plan, 0, sockets, self.mouth(), [os.dup(tables[0])], 2)
        self.addCleanup(service.stopService)
        (wish,) = shares(service._build)
        zone = wish.take.__self__  # type: ignore[attr-defined]
        zone.counts.enter(b"x", 1)
        self.assertEqual(
            [list(master.cells[seat * master.stride :][: master.stride]).count(1) for seat in range(3)], [0, 0, 1]
        )

    def test_the_file_has_changed(self) -> None:
        """
        It serves what its master has read, whatever the file says now.
        """
        plan = self.plan("a")
        sockets = self.open(plan)
        os.unlink(self.path("edge.conf"))
        self.ear()
        service = make(self.reactor, plan, 0, sockets, self.mouth())
        self.addCleanup(service.stopService)
        self.assertEqual(sorted(self.listeners()), ["a"])
        self.assertEqual(self.spoken, [(HEAR, service.heard, service.orphaned)])

    def run_it(self, plan: Plan) -> list[Any]:
        """
        @return: what it logs.
        """
        self.ear()
        told = twisted_log(self)
        self.patch(under_test, "take_sockets", lambda plan: self.sockets)
        run(self.reactor, plan, 0, self.mouth(), 0)
        return told

    def test_runs(self) -> None:
        """
        It serves until its reactor stops, and ends in order.
        """
        plan = self.plan("a")
        self.open(plan)
        self.run_it(plan)
        self.assertEqual(self.reactor.ran, 1)
        ((phase, event, stop),) = self.reactor.at_end
        self.assertEqual((phase, event), ("before", "shutdown"))
        stop()
        self.assertEqual(self.listeners(), {})

    def test_cannot_begin(self) -> None:
        """
        What keeps it from beginning is logged, a line for each mistake, a traceback for a fault of ours, and it ends
        with status 1.
        """
        told = twisted_log(self)
        plan = self.plan("a")
        self.open(plan)
        os.unlink(self.path("edge.conf"))
        os.rename(self.folder, f"{self.folder}.gone")
        self.addCleanup(os.rename, f"{self.folder}.gone", self.folder)
        end = self.assertRaises(SystemExit, self.run_it, plan)
        self.assertEqual(end.code, 1)
        lines = [event["error"] for event in told if "error" in event]
        self.assertIn(f'[emerg] open() "{self.path("edge.log")}" failed (2: No such file or directory)', lines[0])

        def broken(*what: Any) -> Any:
            raise ZeroDivisionError("a fault of ours")

        self.patch(under_test, "load", broken)
        end = self.assertRaises(SystemExit, self.run_it, plan)
        self.assertEqual((end.code, len(self.flushLoggedErrors(ZeroDivisionError))), (1, 1))

    def test_main(self) -> None:
        """
        The process ignores what a terminal says to all, tells its log to its master, reads its plan, installs the
        reactor that is asked for, and runs.
        """
        plan = Plan("edge.conf", None, "", b"", (), "tests.service.test_worker")
        import_module("twisted.internet.reactor")  # it opens descriptors, which would take the place of ours
        papers = nameless(plan.dumps())
        reading, writing = os.pipe()
        for name, number in (("HEAR", reading), ("SAY", writing), ("PLAN", papers)):
            self.patch(under_test, name, number)
        self.addCleanup(os.close, reading)
        self.addCleanup(os.close, writing)
        self.patch(sys, "argv", ["-c", "sniproxy: worker process", "3", "7"])
        begun: list[Any] = []
        self.patch(
            globalLogBeginner, "beginLoggingTo", lambda observers, redirectStandardIO: begun.append(redirectStandardIO)
        )
        ran: list[Any] = []
        self.patch(under_test, "run", lambda reactor, plan, worker, mouth, seat: ran.append((plan, worker, seat)))
        INSTALLED.clear()
        main()
        self.assertEqual((ran, begun, INSTALLED), ([(plan, 3, 7)], [False], ["once"]))
        self.assertEqual(self.taken, {signal.SIGINT: signal.SIG_IGN})
        self.assertRaises(OSError, os.fstat, papers)
        papers = nameless(Plan("edge.conf", None, "", b"", (), "").dumps())
        self.patch(under_test, "PLAN", papers)
        main()
        self.assertEqual((len(ran), INSTALLED), (2, ["once"]))


INSTALLED: list[str] = []


def install() -> None:
    """
    What a module of a reactor has.
    """
    INSTALLED.append("once")
