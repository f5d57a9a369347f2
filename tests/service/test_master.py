"""
Tests for L{sniproxy.service.master}.
"""

from __future__ import annotations

import os
import signal
import socket
from typing import Any

from twisted.internet import reactor as real_reactor

from sniproxy.common.shared_counts import shape_of
from sniproxy.common.shared_memory import Table
from sniproxy.errors import ConfigErrors
from sniproxy.service import master as under_test
from sniproxy.service import tables
from sniproxy.service.channel import READY, line
from sniproxy.service.core import USER, Account
from sniproxy.service.crew import LEAST
from sniproxy.service.main import ProxyService
from sniproxy.service.master import PATIENCE, MasterService, make_service
from sniproxy.service.plan import HEAR, PLAN, SAY, SOCKETS, loads
from sniproxy.service.snapshot import contents, replay
from tests.support.processes import FakeProcess
from tests.support.services import ServiceCase


class MasterCase(ServiceCase):
    """
    A master whose workers are in memory.
    """

    workers = 2

    def setUp(self) -> None:
        super().setUp()
        self.taken: dict[int, Any] = {}
        self.patch(signal, "signal", self.taken.__setitem__)

    def master(self, *sockets: str, more: str = "", **settings: Any) -> MasterService:
        """
        Made, and stopped in the end.
        """
        self.configure(*sockets, more=f"worker_processes {self.workers}; {more}")
        service = MasterService(self.path("edge.conf"), reactor=self.reactor, **settings)
        self.addCleanup(self.finish, service)
        return service

    def finish(self, service: MasterService) -> None:
        """
        The end of a test.
        """
        service.stopService()
        for process in self.living():
            process.end()

    def working(self, *sockets: str, more: str = "") -> MasterService:
        """
        A master whose workers have been started.
        """
        service = self.master(*sockets, more=more)
        service.startService()
        self.reactor.begin()
        self.ready(*self.living())
        return service

    def living(self) -> list[FakeProcess]:
        """
        The processes that have not ended.
        """
        return [process for process in self.reactor.processes if not process.ended]

    def ready(self, *processes: FakeProcess) -> None:
        """
        Workers accept.
        """
        for process in processes:
            process.protocol.childDataReceived(SAY, line(READY))

    def told(self, *processes: FakeProcess) -> list[list[str]]:
        """
        What workers have heard.
        """
        return [[data.decode().strip('[]"\n') for _, data in process.said] for process in processes]

    def opened(self, service: MasterService) -> dict[str, list[socket.socket]]:
        """
        The sockets of a master, by their names.
        """
        return {os.path.basename(address.host): list(sockets) for address, sockets in service._queues.items()}

    def signalled(self, number: signal.Signals) -> None:
        """
        The process gets a signal.
        """
        self.taken[number](number, None)
        self.reactor.advance(0)


class StartTests(MasterCase):
    """
    From nothing to workers.
    """

    def test_sockets_before_start(self) -> None:
        """
        Sockets are open, and logs there, when the master is made; workers and the pid file come when the reactor runs.
        """
        service = self.master("a", "b", more="pid edge.pid;")
        self.assertEqual(self.names(), ["a", "b"])
        service.startService()
        self.assertEqual((self.reactor.processes, os.path.exists(self.path("edge.pid"))), ([], False))
        self.reactor.begin()
        self.assertEqual(len(self.reactor.processes), 2)
        with open(self.path("edge.pid")) as file:
            self.assertEqual(file.read(), f"{os.getpid()}\n")
        self.assertEqual(self.collector, ["collect", "freeze", "set_threshold", "enable"])

    def test_lines(self) -> None:
        """
        The log tells as nginx's does what is started, and first what the configuration warns of.
        """
        self.patch(os, "geteuid", lambda: 1000)
        self.working("a", more="user nobody;")
        warned, *rest = self.lines()
        self.assertIn('the "user" directive makes sense only if', warned)
        self.assertEqual(
            rest,
            [
                "nginx/1.31.5 (sniproxy)",
                "start worker processes",
                "start worker process 1001",
                "start worker process 1002",
            ],
        )

    def test_what_a_worker_gets(self) -> None:
        """
        A worker gets the standard streams, two pipes, the sockets, and the configuration as it was read; its number
        tells it from the others.
        """
        service = self.working("a", "b")
        os.unlink(self.path("edge.conf"))
        for number, process in enumerate(self.reactor.processes):
            given = process.descriptors
            self.assertEqual({key: given[key] for key in (0, 1, 2, HEAR, SAY)}, {0: 0, 1: 1, 2: 2, HEAR: "w", SAY: "r"})
            sockets = self.opened(service)
            self.assertEqual((given[SOCKETS], given[SOCKETS + 1]), (sockets["a"][0].fileno(), sockets["b"][0].fileno()))
            plan = loads(contents(given[PLAN]))
            self.assertEqual([os.path.basename(address.host) for address in plan.addresses], ["a", "b"])
            self.assertIn(b"worker_processes 2", replay(plan.snapshot).read(self.path("edge.conf")))
            self.assertEqual(process.arguments[-3:-1], [str(number), str(number)])

    def test_wrong(self) -> None:
        """
        A configuration with faults, an address that somebody has, a log or a pid file that cannot be written: no
        master, and nothing stays open.
        """
        for more, words in (
            ("bogus;", 'unknown directive "bogus"'),
            ("error_log nowhere/x.log;", "nowhere/x.log"),
            ("pid nowhere/x.pid;", "nowhere/x.pid"),
        ):
            error = self.assertRaises(ConfigErrors, self.master, "a", more=more)
            self.assertIn(words, str(error))
            self.assertEqual(self.names(), [])
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(self.path("b"))
            error = self.assertRaises(ConfigErrors, self.master, "a", "b")
        self.assertIn("(98: Address already in use)", str(error))

    def test_never_started(self) -> None:
        """
        A master that is stopped before the reactor runs starts nobody, and takes away no pid file but its own.
        """
        with open(self.path("edge.pid"), "w") as file:
            file.write("1\n")
        service = self.master("a", more="pid edge.pid;")
        service.startService()
        service.stopService()
        self.reactor.begin()
        self.assertEqual((self.reactor.processes, self.names()), ([], []))
        self.assertTrue(os.path.exists(self.path("edge.pid")))

    def test_reactor(self) -> None:
        """
        Unless told otherwise the reactor is that of the process.
        """
        self.configure("a")
        service = MasterService(self.path("edge.conf"))
        self.assertIs(service._reactor, real_reactor)
        service.stopService()


class ReloadTests(MasterCase):
    """
    HUP.
    """

    def test_one_after_the_other(self) -> None:
        """
        Old workers go on until all new ones accept; then they are told to end, and sockets that are gone are closed.
        """
        service = self.working("a", "b")
        old = self.living()
        kept, gone = self.opened(service)["a"], self.opened(service)["b"]
        self.configure("a", "c", more="worker_processes 2;")
        self.signalled(signal.SIGHUP)
        new = self.living()[2:]
        self.assertEqual((len(new), self.opened(service)["a"]), (2, kept))
        self.ready(new[0])
        self.assertEqual((self.told(*old), self.names()), ([[], []], ["a", "b", "c"]))
        self.ready(new[1])
        self.assertEqual(self.told(*old, *new), [["quit"], ["quit"], [], []])
        self.assertEqual((self.names(), gone[0].fileno()), (["a", "c"], -1))
        self.assertEqual(
            self.lines()[4:],
            [
                "signal 1 (SIGHUP) received, reconfiguring",
                "reconfiguring",
                "start worker processes",
                "start worker process 1003",
                "start worker process 1004",
            ],
        )
        self.collector.clear()
        for process in old:
            process.end()
        self.reactor.advance(0)
        self.assertEqual(self.collector, ["collect"])
        self.assertEqual(len(self.living()), 2)

    def test_papers(self) -> None:
        """
        What workers were given is kept as long as one may have to be replaced, and no longer.
        """
        self.working("a")
        old = self.living()
        papers = old[0].descriptors[PLAN]
        old[0].end(signal=9)
        self.assertEqual(self.living()[-1].descriptors[PLAN], papers)
        self.signalled(signal.SIGHUP)
        self.ready(*self.living()[-2:])
        os.fstat(papers)
        for process in self.living()[:2]:
            process.end()
        self.assertRaises(OSError, os.fstat, papers)

    def test_again(self) -> None:
        """
        While new workers are on their way another reload waits for them, and several are one.
        """
        self.working("a")
        self.signalled(signal.SIGHUP)
        for _ in range(3):
            self.signalled(signal.SIGHUP)
        self.assertEqual(len(self.living()), 4)
        self.ready(*self.living()[2:])
        self.assertEqual((len(self.living()), self.told(*self.living())), (6, [["quit"]] * 2 + [[]] * 4))
        self.ready(*self.living()[4:])
        self.assertEqual((len(self.living()), self.told(*self.living())), (6, [["quit"]] * 4 + [[]] * 2))
        self.assertEqual(self.lines().count("reconfiguring"), 2)

    def test_again_with_what_was_left(self) -> None:
        """
        A reload that has waited may want a socket again that the one before has left, and gets it; workers that end
        may still have it, so that another could not be bound. Without it, or where it is wrong, it is closed.
        """
        for text, names in ((("a", "b"), ["a", "b"]), (("a",), ["a"]), (("a", "nonsense/x/y"), ["a"])):
            service = self.working("a", "b")
            left = self.opened(service)["b"][0]
            self.configure("a", more="worker_processes 2;")
            self.signalled(signal.SIGHUP)
            self.configure(*text, more="worker_processes 2;")
            self.signalled(signal.SIGHUP)
            self.ready(*self.living()[2:])
            self.assertEqual(self.opened(service).get("b", [None])[0], left if "b" in names else None)
            self.ready(*self.living()[4:])
            self.assertEqual((self.names(), left.fileno() >= 0), (names, "b" in names))
            self.signalled(signal.SIGQUIT)
            for process in self.living():
                process.end()

    def test_again_and_the_end(self) -> None:
        """
        A reload that waits is forgotten when all is to end.
        """
        self.working("a")
        self.signalled(signal.SIGHUP)
        self.signalled(signal.SIGHUP)
        self.signalled(signal.SIGQUIT)
        self.ready(*self.living())
        self.assertEqual(len(self.living()), 4)

    def test_cannot_begin(self) -> None:
        """
        Where new workers cannot begin the old ones go on, until a reload brings some that can; a socket that was to be
        closed may be wanted again by then.
        """
        service = self.working("a", "b")
        gone = self.opened(service)["b"][0]
        self.configure("a", more="worker_processes 2;")
        self.signalled(signal.SIGHUP)
        self.living()[-1].end(1)
        self.configure("b", more="worker_processes 1; master_process on;")
        self.signalled(signal.SIGHUP)
        first, second, third, fourth, newest = self.living()
        self.assertIs(self.opened(service)["b"][0], gone)
        self.assertEqual(self.told(first, second, third, fourth, newest), [[]] * 5)
        self.ready(third, fourth)
        self.assertEqual(self.told(first, second, third, fourth, newest), [["quit"], ["quit"], [], [], []])
        self.assertEqual(self.names(), ["a", "b"])
        self.ready(newest)
        self.assertEqual(self.told(third, fourth, newest), [["quit"], ["quit"], []])
        self.assertEqual((self.names(), gone.fileno() >= 0), (["b"], True))

    def test_broken(self) -> None:
        """
        A file with faults, an address that somebody has, or a fault of ours changes nothing, and is logged.
        """
        service = self.working("a")
        self.configure("b", more="bogus;")
        self.signalled(signal.SIGHUP)
        self.assertTrue(self.said('unknown directive "bogus"'))
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(self.path("taken"))
            before = len(os.listdir("/proc/self/fd"))
            self.configure("a", "taken", more="worker_processes 2; pid two.pid; error_log second.log;")
            self.signalled(signal.SIGHUP)
            self.assertEqual(len(os.listdir("/proc/self/fd")), before)
        self.assertTrue(self.said("(98: Address already in use)"))

        def raises(*settings: Any) -> Any:
            raise ZeroDivisionError("a fault of ours")

        self.patch(under_test, "load", raises)
        self.signalled(signal.SIGHUP)
        self.assertTrue(self.said("the configuration could not be loaded: ZeroDivisionError('a fault of ours')"))
        self.assertEqual((len(self.reactor.processes), list(self.opened(service))), (2, ["a"]))

    def test_pid_file_moves(self) -> None:
        """
        A pid file of another name takes the place of the old one.
        """
        self.working("a", more="pid one.pid;")
        self.configure("a", more="worker_processes 2; pid two.pid;")
        self.signalled(signal.SIGHUP)
        self.assertEqual((os.path.exists(self.path("one.pid")), os.path.exists(self.path("two.pid"))), (False, True))


class TablesTests(MasterCase):
    """
    What workers count in.
    """

    zones = "limit_conn_zone $remote_addr zone=one:32k;"

    def configure(self, *sockets: str, more: str = "", level: str = "info") -> None:
        """
        Write a configuration with a zone.
        """
        super().configure(*sockets, more=more, level=level)
        with open(self.path("edge.conf")) as file:
            text = file.read()
        with open(self.path("edge.conf"), "w") as file:
            file.write(text.replace("stream {", f"stream {{ {self.zones}", 1))

    def table(self, process: FakeProcess) -> Table:
        """
        The one that a worker was born with, as it sees it.
        """
        plan = loads(contents(process.descriptors[PLAN]))
        self.assertEqual(plan.tables, 1)
        descriptor = process.descriptors[SOCKETS + len(plan.addresses)]
        table = Table(os.dup(descriptor), shape_of(32768), int(process.arguments[-2]))
        self.addCleanup(table.close)
        return table

    def count(self, process: FakeProcess, row: int) -> None:
        """
        A worker counts.
        """
        table = self.table(process)
        table.words[row] = row + 1 << 4
        table.cells[table.own + row] += 1

    def total(self, row: int) -> int:
        """
        What the workers that live count together.
        """
        return self.table(self.living()[-1]).total(row)

    def test_death(self) -> None:
        """
        What a worker has counted does not count any more before another has its place; what others count does.
        """
        self.working("a")
        first, second = self.living()
        for process in (first, second):
            self.count(process, 5)
        self.assertEqual(self.total(5), 2)
        first.end(signal=9)
        self.assertEqual(self.total(5), 1)
        self.assertEqual([self.table(process).seat for process in self.living()], [1, 0])

    def test_reload(self) -> None:
        """
        Workers before and after a reload count together, each in a column of its own, where the zone is the same.
        """
        service = self.working("a")
        old = self.living()
        self.count(old[0], 5)
        self.signalled(signal.SIGHUP)
        new = self.living()[2:]
        self.assertEqual([self.table(process).seat for process in new], [2, 3])
        self.count(new[1], 5)
        self.assertEqual(self.total(5), 2)
        self.ready(*new)
        for process in old:
            process.end()
        self.assertEqual(self.total(5), 1)
        self.zones = self.zones.replace("remote", "server")
        self.configure("a", more="worker_processes 2;")
        self.signalled(signal.SIGHUP)
        self.assertEqual(self.total(5), 0)
        descriptor = new[0].descriptors[SOCKETS + 1]
        os.fstat(descriptor)
        self.ready(*self.living()[2:])
        for process in new:
            process.end()
        self.assertRaises(OSError, os.fstat, descriptor)
        self.finish(service)
        self.assertEqual(service._tables._users, {})

    def test_cannot_be_started(self) -> None:
        """
        Who was not started has no seat.
        """
        self.working("a")
        self.reactor.refuse = OSError(11, "Resource temporarily unavailable")
        self.living()[0].end(signal=9)
        self.reactor.refuse = None
        self.reactor.advance(LEAST)
        self.assertEqual([self.table(process).seat for process in self.living()], [1, 0])

    def test_no_memory(self) -> None:
        """
        Where there is no memory for a zone nothing is left open, and a reload changes nothing.
        """

        def refuse(data: bytes) -> int:
            raise OSError(12, "Cannot allocate memory")

        service = self.working("a")
        self.zones = self.zones.replace("32k", "64k")
        self.configure("a", more="worker_processes 2;")
        self.patch(tables, "nameless", refuse)
        self.signalled(signal.SIGHUP)
        said = 'shared memory of zone "one" failed (12: Cannot allocate memory)'
        self.assertIn(said, self.lines()[-1])
        self.assertEqual((len(self.living()), len(service._tables._users)), (2, 1))
        self.finish(service)
        errors = self.assertRaises(ConfigErrors, MasterService, self.path("edge.conf"), reactor=self.reactor)
        self.assertEqual([str(error) for error in errors.errors], [said])


class EndTests(MasterCase):
    """
    QUIT, TERM and INT.
    """

    def test_quit(self) -> None:
        """
        QUIT closes the sockets at once, and the process ends with the last worker, in silence about the pid file.
        """
        service = self.working("a", more="pid edge.pid;")
        first, second = self.living()
        self.signalled(signal.SIGQUIT)
        self.signalled(signal.SIGQUIT)
        self.signalled(signal.SIGHUP)
        self.assertEqual((self.told(first, second), self.names()), ([["quit"], ["quit"]], []))
        first.end()
        self.assertFalse(self.reactor.hasStopped)
        second.end()
        self.assertTrue(self.reactor.hasStopped)
        self.successResultOf(service.stopService())
        self.assertEqual(len(self.reactor.processes), 2)
        self.assertFalse(os.path.exists(self.path("edge.pid")))
        self.assertEqual(
            self.lines()[4:],
            [
                "signal 3 (SIGQUIT) received, shutting down",
                "worker process 1001 exited with code 0",
                "worker process 1002 exited with code 0",
                "exit",
            ],
        )

    def test_stop(self) -> None:
        """
        TERM and INT stop the reactor; the service has stopped when all workers have ended, who are killed if they take
        too long.
        """
        for number, words in (
            (signal.SIGTERM, "signal 15 (SIGTERM) received, exiting"),
            (signal.SIGINT, "signal 2 (SIGINT) received, exiting"),
        ):
            self.setUp()
            service = self.working("a")
            self.signalled(number)
            self.assertTrue(self.reactor.hasStopped and self.said(words))
            stopped = service.stopService()
            self.signalled(number)
            self.signalled(signal.SIGQUIT)
            self.signalled(signal.SIGHUP)
            first, second = self.living()
            self.assertEqual(self.told(first, second), [["stop"], ["stop"]])
            first.end()
            self.assertNoResult(stopped)
            self.reactor.advance(PATIENCE)
            self.assertEqual((first.signals, second.signals), ([], ["KILL"]))
            second.end(signal=9)
            self.assertIsNone(self.successResultOf(stopped))
            self.assertIs(service.stopService(), stopped)
            self.assertEqual((self.names(), self.lines().count(words)), ([], 1))

    def test_obedient(self) -> None:
        """
        Nothing waits any more when they have obeyed.
        """
        service = self.working("a")
        stopped = service.stopService()
        for process in self.living():
            process.end()
        self.successResultOf(stopped)
        self.reactor.advance(0)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_stop_while_quitting(self) -> None:
        """
        TERM after QUIT ends what is left.
        """
        service = self.working("a")
        self.signalled(signal.SIGQUIT)
        stopped = service.stopService()
        self.assertEqual(self.told(*self.living()), [["quit", "stop"]] * 2)
        for process in self.living():
            process.end()
        self.successResultOf(stopped)


class ReopenTests(MasterCase):
    """
    USR1.
    """

    def test_all(self) -> None:
        """
        The master opens its logs anew, and tells all workers, older ones too.
        """
        self.working("a")
        self.signalled(signal.SIGHUP)
        os.rename(self.path("edge.log"), self.path("edge.log.1"))
        self.signalled(signal.SIGUSR1)
        self.assertEqual(self.told(*self.living()), [["reopen"]] * 4)
        self.assertEqual(self.lines("edge.log.1")[-1], "reopening logs")
        self.living()[0].end(signal=9)
        self.assertTrue(self.said("worker process 1001 exited on signal 9"))

    def test_theirs(self) -> None:
        """
        Where workers are somebody else the new files become theirs, before they are told.
        """
        service = self.master("a")
        service._read.build.root.values[USER] = Account("proxy", 13, 14)
        service.startService()
        self.reactor.begin()
        given: list[Any] = []

        def chown(path: str, user: int, group: int) -> None:
            given.append((os.path.basename(path), user, group, self.told(*self.living())))
            if path.endswith("edge.log"):
                raise PermissionError(1, "Operation not permitted")

        self.patch(os, "chown", chown)
        self.signalled(signal.SIGUSR1)
        self.assertEqual(sorted(given), [(name, 13, -1, [[], []]) for name in ("access.log", "edge.log")])
        self.assertTrue(self.said(f'chown("{self.path("edge.log")}", 13) failed (1: Operation not permitted)'))
        self.assertEqual(self.told(*self.living()), [["reopen"]] * 2)


class MakeTests(MasterCase):
    """
    One process or several.
    """

    def test_what_the_file_says(self) -> None:
        """
        Several workers have a master, and one that is asked for; else there is one process, whose signals are its own.
        """
        for text, kind in (
            ("", ProxyService),
            ("worker_processes 1;", ProxyService),
            ("worker_processes 2;", MasterService),
            ("worker_processes 2; master_process off;", ProxyService),
            ("worker_processes 2; master_process on;", MasterService),
            ("master_process on;", MasterService),
        ):
            self.configure("a", more=text)
            self.collector.clear()
            service = make_service(self.path("edge.conf"))
            self.assertEqual(self.collector, ["disable"])  # until it has begun
            self.assertIs(type(service), kind, text)
            if isinstance(service, ProxyService):
                self.assertTrue(service.signals)
            service.stopService()
