"""
Tests for L{sniproxy.service.main}.
"""

from __future__ import annotations

import io
import os
import shutil
import signal
import socket
import sys
from typing import Any

from twisted.internet import reactor as real_reactor
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.common.session import Session
from sniproxy.errors import ConfigError, ConfigErrors
from sniproxy.service import main, turns
from sniproxy.service.core import USER, Account
from sniproxy.service.load import load
from sniproxy.service.main import ProxyService, complain, say
from sniproxy.service.serving import LOOK
from tests.support.services import ServiceCase


class StartTests(ServiceCase):
    """
    From nothing to accepting, and back.
    """

    def test_sockets_before_start(self) -> None:
        """
        Sockets are open, and logs there, when the service is made; it accepts when it is started.
        """
        self.configure("a", "b")
        service = self.service()
        self.assertEqual(self.names(), ["a", "b"])
        self.assertEqual(self.lines(), [])
        self.assertEqual(self.listeners(), {})
        service.startService()
        self.assertEqual(sorted(self.listeners()), ["a", "b"])
        self.assertTrue(service.running)

    def test_start_lines(self) -> None:
        """
        The log tells that it starts and what it is compatible with, and first what the configuration warns of.
        """
        self.patch(os, "geteuid", lambda: 1000)
        self.started("a", more="user nobody;")
        warned, version, worker = self.lines()
        self.assertIn('the "user" directive makes sense only if', warned)
        self.assertEqual((version, worker), ("nginx/1.31.5 (sniproxy)", f"start worker process {os.getpid()}"))

    def test_no_master_here(self) -> None:
        """
        Several workers are one process inside somebody else's program, and in one that was started as one; the log says
        so. C{master_process off} asks for nothing else.
        """
        self.patch(signal, "signal", lambda number, heard: None)
        words = '"worker_processes 2" is one process, without a master: '
        self.started("a", more="worker_processes 2;")
        self.assertEqual(self.lines()[0], f"{words}this is somebody else's program")
        service = self.started("b", signals=True)
        self.assertEqual(self.ours, [False, True])
        self.configure("b", more="worker_processes 2;")
        service.reload()
        self.assertTrue(self.said(f"{words}that takes a restart"))
        before = len(self.lines())
        self.configure("b", more="worker_processes 2; master_process off;")
        service.reload()
        self.assertFalse(any(words in line for line in self.lines()[before:]))

    def test_given(self) -> None:
        """
        A configuration that was read already is not read again.
        """
        self.configure("a")
        build = load(self.path("edge.conf"))
        os.unlink(self.path("edge.conf"))
        self.service(build=build).startService()
        self.assertEqual(sorted(self.listeners()), ["a"])

    def test_pid_file(self) -> None:
        """
        The pid file is there when the service accepts and the reactor runs, not before, and is gone when it has
        stopped.
        """
        self.configure("a", more="pid edge.pid;")
        service = self.service()
        service.startService()
        self.assertFalse(os.path.exists(self.path("edge.pid")))
        self.reactor.begin()
        with open(self.path("edge.pid")) as file:
            self.assertEqual(file.read(), f"{os.getpid()}\n")
        service.stopService()
        self.assertFalse(os.path.exists(self.path("edge.pid")))

    def test_pid_file_trouble(self) -> None:
        """
        A pid file that cannot be written is an error of its line before anything is opened; one that cannot be written
        all the same is told, and one that somebody took away troubles nobody.
        """
        for file, why in (("nowhere/edge.pid", "2: No such file or directory"), ("run.d", "21: Is a directory")):
            os.makedirs(self.path("run.d"), exist_ok=True)
            self.configure("a", more=f"pid {file};")
            error = self.assertRaises(ConfigErrors, self.service)
            place = self.path("edge.conf")
            self.assertEqual(str(error), f'[emerg] open() "{self.path(file)}" failed ({why}) in {place}:2')
            self.assertEqual(self.names(), [])
        self.configure("a", more="pid run.d/edge.pid;")
        service = self.service()
        service.startService()
        shutil.rmtree(self.path("run.d"))
        self.reactor.begin()
        self.assertTrue(self.said(f'open() "{self.path("run.d/edge.pid")}" failed (2: No such file or directory)'))
        service.stopService()

    def test_stopped_before_the_reactor_runs(self) -> None:
        """
        A service that is stopped before the reactor runs writes no pid file.
        """
        self.configure("a", more="pid edge.pid;")
        service = self.service()
        service.startService()
        service.stopService()
        self.reactor.begin()
        self.assertFalse(os.path.exists(self.path("edge.pid")))

    def test_prefix_and_globals(self) -> None:
        """
        A prefix says where logs are, and directives may be given beside the file.
        """
        os.mkdir(self.path("logs"))
        self.configure("a")
        ProxyService(self.path("edge.conf"), self.path("logs"), "pid b.pid;", reactor=self.reactor).stopService()
        self.assertEqual(sorted(os.listdir(self.path("logs"))), ["access.log", "edge.log"])

    def test_wrong_configuration(self) -> None:
        """
        A configuration with faults makes no service, and no socket.
        """
        self.configure("a", more="bogus;")
        error = self.assertRaises(ConfigErrors, self.service)
        self.assertIn('unknown directive "bogus"', str(error))
        self.assertEqual(self.names(), [])

    def test_address_in_use(self) -> None:
        """
        Nor does one whose address somebody has: one line says which, and where it stands.
        """
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(self.path("b"))
            self.configure("a", "b")
            error = self.assertRaises(ConfigErrors, self.service)
        self.assertEqual(
            str(error),
            f"[emerg] bind() to unix:{self.path('b')} failed (98: Address already in use)"
            f" in {self.path('edge.conf')}:4",
        )
        self.assertEqual(self.names(), ["b"])

    def test_log_that_cannot_be_opened(self) -> None:
        """
        Nor one whose logs cannot be opened: the sockets are closed again.
        """
        self.configure("a", more="error_log nowhere/x.log;")
        error = self.assertRaises(ConfigErrors, self.service)
        self.assertIn("nowhere/x.log", str(error))
        self.assertEqual(self.names(), [])

    def test_never_started(self) -> None:
        """
        A service that was made and never started leaves nothing open.
        """
        self.configure("a")
        before = len(os.listdir("/proc/self/fd"))
        ProxyService(self.path("edge.conf"), reactor=self.reactor).stopService()
        self.assertEqual(len(os.listdir("/proc/self/fd")), before)
        self.assertEqual(self.names(), [])

    def test_reactor(self) -> None:
        """
        Unless told otherwise the reactor is that of the process.
        """
        self.configure("a")
        service = ProxyService(self.path("edge.conf"))
        self.assertIs(service._reactor, real_reactor)
        service.stopService()

    def test_collector(self) -> None:
        """
        Only where the process is ours the collector is told what stays.
        """
        self.patch(signal, "signal", lambda number, heard: None)
        self.started("a").stopService()
        self.assertEqual(self.collector, [])
        self.started("a", signals=True)
        self.assertEqual(self.collector, ["collect", "freeze", "set_threshold", "enable"])

    def test_collector_while_reading(self) -> None:
        """
        Where the process is ours the collector does not look at a configuration while it is made, nor afterwards if it
        stays; guests leave all that to their host.
        """
        self.patch(signal, "signal", lambda number, heard: None)
        for signals, made, failed in ((False, [], []), (True, ["disable", "freeze", "enable"], ["disable", "enable"])):
            service = self.started("a", signals=signals)
            self.collector.clear()
            service.reload()
            self.assertEqual(self.collector, made)
            self.collector.clear()
            self.configure("a", more="bogus;")
            service.reload()
            self.assertEqual(self.collector, failed)
            service.stopService()

    def test_old_configurations_are_taken_apart(self) -> None:
        """
        A configuration that is gone is taken apart.
        """
        service = self.started("a")
        old = service._build
        service.reload()
        self.assertNotEqual(old.shared, {})
        self.reactor.advance(0)
        self.assertEqual(old.shared, {})


class UserTests(ServiceCase):
    """
    Whom the process becomes.
    """

    def become(self, account: Account | None) -> list[Any]:
        """
        @return: what the system was asked for, in order, and whether sockets and pid file were there by then.
        """
        calls: list[Any] = []
        self.configure("a", more="pid edge.pid;")
        service = self.service()
        service._build.root.values[USER] = account
        self.patch(os, "initgroups", lambda *what: calls.append(("initgroups", *what)))
        self.patch(os, "setgid", lambda *what: calls.append(("setgid", *what)))
        self.patch(os, "setuid", lambda *what: calls.append(("setuid", *what, os.path.exists(self.path("edge.pid")))))
        service.startService()
        self.reactor.begin()
        return calls

    def test_becomes(self) -> None:
        """
        Groups first and the user last, when all is open that only root may open.
        """
        self.assertEqual(
            self.become(Account("proxy", 13, 14)), [("initgroups", "proxy", 14), ("setgid", 14), ("setuid", 13, True)]
        )

    def test_cannot(self) -> None:
        """
        Who cannot become that user does not go on as who he was: the process ends, or its owner is told.
        """
        self.patch(signal, "signal", lambda number, heard: None)
        for signals in (True, False):
            self.reactor.begun = False
            self.configure("a")
            service = self.service(signals=signals)
            service._build.root.values[USER] = Account("proxy", 13, 14)

            def refuse(*what: Any) -> None:
                raise PermissionError(1, "Operation not permitted")

            self.patch(os, "initgroups", refuse)
            service.startService()
            if signals:
                self.reactor.begin()
                self.assertTrue(self.reactor.hasStopped)
            else:
                self.assertRaises(PermissionError, self.reactor.begin)
            self.assertTrue(self.said("cannot become the user of the configuration (1: Operation not permitted)"))
            service.stopService()

    def test_stays(self) -> None:
        """
        Without the directive, or where the process was not root, nothing changes.
        """
        self.assertEqual(self.become(None), [])


class StopTests(ServiceCase):
    """
    TERM: the end at once.
    """

    def test_sessions_are_logged(self) -> None:
        """
        Sessions under way end with 200 and are logged, sockets lose their names, and the engine stops.
        """
        service = self.started("a")
        client = self.client("a")
        service.stopService()
        self.assertTrue(client.closed)
        self.assertEqual(self.lines("access.log"), [f"1 200 {os.getpid()}"])
        self.assertEqual((self.names(), self.engine.network.stopped, service.running), ([], True, False))

    def test_twice(self) -> None:
        """
        Stopping twice does no harm, and afterwards no signal means anything.
        """
        service = self.started("a")
        service.stopService()
        service.stopService()
        before = self.lines()
        service.reload()
        service.quit()
        service.reopen()
        self.assertEqual(self.lines(), before)

    def test_with_old_configurations(self) -> None:
        """
        Sessions of configurations that were left end too, and no timer is left.
        """
        service = self.started("a", more="worker_shutdown_timeout 1h;")
        client = self.client("a")
        service.reload()
        service.stopService()
        self.assertTrue(client.closed)
        self.reactor.advance(1000)
        self.assertEqual(self.reactor.getDelayedCalls(), [])


class ReloadTests(ServiceCase):
    """
    HUP.
    """

    def test_sockets(self) -> None:
        """
        A socket whose address stays is kept, one that is new is made, one that is gone is closed and loses its name.
        """
        service = self.started("a", "b")
        kept = self.listeners()["a"].sock
        gone = self.listeners()["b"].sock
        self.configure("a", "c")
        service.reload()
        self.assertEqual(sorted(self.listeners()), ["a", "c"])
        self.assertIs(self.listeners()["a"].sock, kept)
        self.assertEqual((gone.fileno(), self.names()), (-1, ["a", "c"]))

    def test_lines(self) -> None:
        """
        The log tells of the signal, of the new configuration with its warnings, and when the old one is gone.
        """
        service = self.started("a")
        self.patch(os, "geteuid", lambda: 1000)
        self.configure("a", more="user nobody;")
        service.reload()
        asked, warned, taken, exited = self.lines()[2:]
        self.assertEqual((asked, taken), ("signal 1 (SIGHUP) received, reconfiguring", "reconfiguring"))
        self.assertIn('the "user" directive', warned)
        self.assertEqual(exited, f"worker process {os.getpid()} exited with code 0")

    def test_sessions_go_on(self) -> None:
        """
        Sessions under way go on under the old configuration, whose end is told when the last of them is over.
        """
        service = self.started("a")
        client = self.client("a")
        service.reload()
        self.assertFalse(client.closed)
        self.assertFalse(self.said("exited with code"))
        new = self.client("a")
        session: Session = client.owner
        session.finish(200)
        self.assertTrue(self.said("exited with code 0"))
        self.assertFalse(new.closed)
        self.assertEqual(self.lines("access.log"), [f"1 200 {os.getpid()}"])

    def test_broken_file(self) -> None:
        """
        A file with faults changes nothing: each is logged, sockets and sessions stay, and a good file is taken next
        time.
        """
        service = self.started("a", more="pid edge.pid;")
        client = self.client("a")
        listener = self.listeners()["a"]
        self.configure("b", more="bogus;\npid other.pid; more_bogus;")
        service.reload()
        self.assertTrue(self.said('unknown directive "bogus" in ') and self.said('unknown directive "more_bogus" in '))
        self.assertIs(self.listeners()["a"], listener)
        self.assertEqual((self.names(), client.closed), (["a"], False))
        self.assertTrue(os.path.exists(self.path("edge.pid")))
        self.client("a")
        self.configure("b")
        service.reload()
        self.assertEqual(sorted(self.listeners()), ["b"])

    def test_missing_file(self) -> None:
        """
        So does a file that is not there.
        """
        service = self.started("a")
        os.unlink(self.path("edge.conf"))
        service.reload()
        self.assertTrue(self.said(f'open() "{self.path("edge.conf")}" failed (2: No such file or directory)'))
        self.assertEqual(sorted(self.listeners()), ["a"])

    def test_address_in_use(self) -> None:
        """
        So does an address that somebody has, and the logs that were opened for the new configuration are closed.
        """
        service = self.started("a")
        before = len(os.listdir("/proc/self/fd"))
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(self.path("b"))
            self.configure("a", "new", "b", more="error_log second.log;")
            service.reload()
        self.assertTrue(self.said(f"bind() to unix:{self.path('b')} failed (98: Address already in use)"))
        self.assertEqual((sorted(self.listeners()), self.names()), (["a"], ["a", "b"]))
        self.assertEqual(len(os.listdir("/proc/self/fd")), before)

    def test_fault_of_ours(self) -> None:
        """
        So does a fault of ours.
        """
        service = self.started("a")

        def raises(*settings: Any) -> Any:
            raise ZeroDivisionError("a fault of ours")

        self.patch(main, "load", raises)
        service.reload()
        self.assertTrue(self.said("the configuration could not be loaded: ZeroDivisionError('a fault of ours')"))
        self.assertEqual(sorted(self.listeners()), ["a"])

    def test_no_room_for_a_listener(self) -> None:
        """
        So does a listener for which there is no room, though its socket was to be had: all stays, and the next file is
        taken.
        """
        service = self.started("a", more="pid one.pid;")
        network, listen = self.engine.network, self.engine.network.listen

        def refuse(sock: Any, accepted: Any, complain: Any) -> Any:
            if os.path.basename(sock.getsockname()) == "b":
                raise OSError(24, "Too many open files")
            return listen(sock, accepted, complain)

        self.patch(network, "listen", refuse)
        self.configure("a", "new", "b", more="pid two.pid;")
        before = len(os.listdir("/proc/self/fd"))
        service.reload()
        self.assertTrue(self.said("the configuration could not be loaded: OSError(24, 'Too many open files')"))
        self.assertEqual((sorted(self.listeners()), self.names()), (["a"], ["a"]))
        self.assertEqual(len(os.listdir("/proc/self/fd")), before)
        self.assertEqual([os.path.exists(self.path(f"{name}.pid")) for name in ("one", "two")], [True, False])
        client = self.client("a")
        self.patch(network, "listen", listen)
        service.reload()
        self.assertEqual((sorted(self.listeners()), self.names()), (["a", "b", "new"],) * 2)
        client.owner.finish(200)

    def test_pid_file_moves(self) -> None:
        """
        A pid file of another name takes the place of the old one; one of the same name stays as it is.
        """
        service = self.started("a", more="pid one.pid;")
        service.reload()
        self.assertTrue(os.path.exists(self.path("one.pid")))
        self.configure("a", more="pid two.pid;")
        service.reload()
        self.assertEqual((os.path.exists(self.path("one.pid")), os.path.exists(self.path("two.pid"))), (False, True))
        self.configure("a")
        service.reload()
        self.assertFalse(os.path.exists(self.path("two.pid")))

    def test_pid_file_of_somebody_else(self) -> None:
        """
        A pid file that stays is not asked for again: the process may be nobody special by now.
        """
        service = self.started("a", more="pid edge.pid;")
        os.unlink(self.path("edge.pid"))
        os.mkdir(self.path("edge.pid"))
        service.reload()
        self.assertTrue(self.said("exited with code 0"))
        self.configure("a", more="pid nowhere/edge.pid;")
        service.reload()
        self.assertIn("nowhere/edge.pid", self.lines()[-1])

    def test_shutdown_timeout(self) -> None:
        """
        worker_shutdown_timeout ends the sessions of the configuration that was left.
        """
        service = self.started("a", more="worker_shutdown_timeout 5s;")
        client = self.client("a")
        service.reload()
        self.reactor.advance(4)
        self.assertFalse(client.closed)
        self.reactor.advance(2)
        self.assertTrue(client.closed)
        self.assertTrue(self.said("exited with code 0"))

    def test_no_timer_is_left(self) -> None:
        """
        When the last session is over before that nothing waits any more.
        """
        service = self.started("a", more="worker_shutdown_timeout 1h;")
        service.reload()
        for _ in range(3):
            self.reactor.advance(0)
        self.assertEqual(self.reactor.getDelayedCalls(), [])


class ReadingTests(ServiceCase):
    """
    HUP, while the file is read in turns with the sessions.
    """

    def setUp(self) -> None:
        super().setUp()
        # every turn is over at once
        self.patch(turns, "TURN", 0.0)

    def finish(self, service: ProxyService) -> None:
        """
        Turn after turn, to the end.
        """
        self.assertIsNotNone(service._reading)
        self.reactor.advance(0)
        self.assertIsNone(service._reading)

    def test_sessions_go_on(self) -> None:
        """
        The old configuration takes sessions until the new one is whole, and then that does.
        """
        service = self.started("a")
        self.configure("a", "b")
        service.reload()
        old = service._build
        self.assertEqual(sorted(self.listeners()), ["a"])
        client = self.client("a")
        self.finish(service)
        self.assertEqual(sorted(self.listeners()), ["a", "b"])
        self.assertIs(client.owner.server.scope.parent.parent, old.root)
        self.assertFalse(client.closed)

    def test_error(self) -> None:
        """
        What is wrong with the new file is told when it has been read, and the next one is read as if nothing was.
        """
        service = self.started("a")
        old = service._build
        self.configure("a", "b", more="bogus;")
        service.reload()
        self.assertFalse(self.said("bogus"))
        self.finish(service)
        self.assertTrue(self.said('unknown directive "bogus"'))
        self.assertIs(service._build, old)
        self.configure("a", "b")
        service.reload()
        self.finish(service)
        self.assertEqual(sorted(self.listeners()), ["a", "b"])

    def test_again(self) -> None:
        """
        Who asks while a file is read gets the file as it is then, too, read once however often he asks.
        """
        service = self.started("a")
        self.configure("a", "b")
        service.reload()
        self.configure("a", "c")
        service.reload()
        service.reload()
        self.finish(service)
        self.assertEqual(sorted(self.listeners()), ["a", "c"])
        self.assertEqual(len([line for line in self.lines() if line == "reconfiguring"]), 2)
        self.assertEqual(len([line for line in self.lines() if "SIGHUP" in line]), 3)

    def test_again_after_an_error(self) -> None:
        """
        So does he who has mended what was wrong before it was told.
        """
        service = self.started("a")
        self.configure("a", "b", more="bogus;")
        service.reload()
        self.configure("a", "c")
        service.reload()
        self.finish(service)
        self.assertTrue(self.said('unknown directive "bogus"'))
        self.assertEqual(sorted(self.listeners()), ["a", "c"])

    def test_quit(self) -> None:
        """
        QUIT is obeyed at once: what was being read is dropped.
        """
        service = self.started("a")
        client = self.client("a")
        self.configure("a", "b")
        service.reload()
        service.reload()
        gone = service.quit()
        self.assertEqual((self.listeners(), self.names(), service._reading), ({}, [], None))
        client.owner.finish(200)
        self.successResultOf(gone)
        self.assertNotIn("reconfiguring", self.lines())

    def test_stop(self) -> None:
        """
        So is TERM, and nothing is left that would go on.
        """
        service = self.started("a")
        self.configure("a", "b")
        service.reload()
        service.stopService()
        self.assertEqual((self.names(), self.reactor.getDelayedCalls()), ([], []))

    def test_reopen(self) -> None:
        """
        USR1 is obeyed meanwhile.
        """
        service = self.started("a")
        service.reload()
        os.rename(self.path("edge.log"), self.path("edge.log.1"))
        service.reopen()
        self.assertEqual(self.lines("edge.log.1")[-1], "reopening logs")
        self.finish(service)
        self.assertEqual(self.lines()[0], "reconfiguring")


class QuitTests(ServiceCase):
    """
    QUIT.
    """

    def quitting(self, *sockets: str, more: str = "") -> ProxyService:
        """
        A service whose process is its own.
        """
        self.patch(signal, "signal", lambda number, handler: None)
        return self.started(*sockets, more=more, signals=True)

    def test_embedded(self) -> None:
        """
        Inside somebody else's program the reactor goes on, and whoever asked is told of the end.
        """
        service = self.started("a")
        client = self.client("a")
        gone = service.quit()
        self.assertNoResult(gone)
        client.owner.finish(200)
        self.assertIs(gone, service.quit())
        self.assertIsNone(self.successResultOf(gone))
        self.assertFalse(self.reactor.hasStopped)

    def test_idle(self) -> None:
        """
        Without sessions the process ends at once, having said so.
        """
        service = self.quitting("a")
        service.quit()
        self.assertTrue(self.reactor.hasStopped)
        self.assertEqual((self.listeners(), self.names()), ({}, []))
        self.assertEqual(
            self.lines()[2:],
            [
                "signal 3 (SIGQUIT) received, shutting down",
                "gracefully shutting down",
                f"worker process {os.getpid()} exited with code 0",
            ],
        )

    def test_to_the_end(self) -> None:
        """
        What the last configuration says holds to the end, which may be some turns later: its pid file goes only then.
        """
        service = self.quitting("a", more="pid edge.pid;")
        old = self.client("a")
        service.reload()
        service.quit()
        for _ in range(3):
            self.reactor.advance(0)
        self.assertTrue(os.path.exists(self.path("edge.pid")))
        old.owner.finish(200)
        for _ in range(3):
            self.reactor.advance(0)
        service.stopService()
        self.assertFalse(os.path.exists(self.path("edge.pid")))

    def test_last_session(self) -> None:
        """
        With sessions no more are accepted, sockets are closed, and the process ends after the last session, be it of an
        older configuration.
        """
        service = self.quitting("a")
        old = self.client("a")
        service.reload()
        new = self.client("a")
        service.quit()
        self.assertEqual((self.listeners(), self.names(), self.reactor.hasStopped), ({}, [], False))
        new.owner.finish(200)
        self.assertFalse(self.reactor.hasStopped)
        old.owner.finish(200)
        self.assertTrue(self.reactor.hasStopped)
        service.stopService()
        self.assertEqual(len(self.lines("access.log")), 2)

    def test_undelivered(self) -> None:
        """
        The process stays for bytes that have not been delivered; who stops it does not have it stopped twice.
        """
        for stopped in (False, True):
            self.setUp()
            service = self.quitting("a")
            stops: list[int] = []
            self.patch(self.reactor, "stop", lambda stops=stops: stops.append(1))
            self.engine.network.lingering = True
            service.quit()
            self.assertEqual(stops, [])
            if stopped:
                service.stopService()
            self.engine.network.lingering = False
            self.reactor.advance(LOOK)
            self.assertEqual(stops, [] if stopped else [1])

    def test_no_way_back(self) -> None:
        """
        After QUIT neither another QUIT nor HUP changes anything.
        """
        service = self.quitting("a")
        self.client("a")
        service.quit()
        before = self.lines()
        service.quit()
        service.reload()
        self.assertEqual(self.lines(), before)

    def test_shutdown_timeout(self) -> None:
        """
        worker_shutdown_timeout ends what is left, and the process with it.
        """
        service = self.quitting("a", more="worker_shutdown_timeout 5s;")
        client = self.client("a")
        service.quit()
        self.reactor.advance(5.1)
        self.assertTrue(client.closed and self.reactor.hasStopped)
        self.assertEqual(self.lines("access.log"), [f"1 200 {os.getpid()}"])

    def test_stop_while_quitting(self) -> None:
        """
        TERM after QUIT ends what is left.
        """
        service = self.quitting("a")
        client = self.client("a")
        service.quit()
        service.stopService()
        self.assertTrue(client.closed)
        self.assertEqual(self.lines("access.log"), [f"1 200 {os.getpid()}"])


class SignalTests(ServiceCase):
    """
    Signals and what they mean.
    """

    def test_reopen(self) -> None:
        """
        USR1 opens log files anew, those of older configurations too.
        """
        service = self.started("a")
        client = self.client("a")
        service.reload()
        os.rename(self.path("edge.log"), self.path("edge.log.1"))
        os.rename(self.path("access.log"), self.path("access.log.1"))
        service.reopen()
        client.owner.finish(200)
        self.assertEqual(self.lines("edge.log.1")[-1], "reopening logs")
        self.assertEqual(self.lines("access.log"), [f"1 200 {os.getpid()}"])
        self.assertTrue(self.said("exited with code 0"))

    def test_meanings(self) -> None:
        """
        HUP, QUIT and USR1 are taken when the reactor runs, and act in its thread.
        """
        taken: dict[int, Any] = {}
        self.patch(signal, "signal", taken.__setitem__)
        service = self.started("a", signals=True)
        self.assertEqual(set(taken), {signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGTERM, signal.SIGINT})
        for number, word in (
            (signal.SIGUSR1, "signal 10 (SIGUSR1)"),
            (signal.SIGHUP, "signal 1 (SIGHUP)"),
            (signal.SIGQUIT, "signal 3 (SIGQUIT)"),
        ):
            taken[number](number, None)
            self.assertFalse(self.said(word))
            self.reactor.advance(0)
            self.assertTrue(self.said(word))
        service.stopService()

    def test_the_end(self) -> None:
        """
        TERM and INT stop the reactor, so that the process ends with status 0.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            self.setUp()
            taken: dict[int, Any] = {}
            self.patch(signal, "signal", taken.__setitem__)
            self.started("a", signals=True)
            taken[number](number, None)
            self.reactor.advance(0)
            self.assertTrue(self.reactor.hasStopped)

    def test_guests_take_no_signals(self) -> None:
        """
        Inside somebody else's program no signal is touched.
        """
        taken: dict[int, Any] = {}
        self.patch(signal, "signal", taken.__setitem__)
        self.started("a")
        self.assertEqual(taken, {})


class ComplainTests(SynchronousTestCase):
    """
    What the operator is told before there is a log.
    """

    def test_lines(self) -> None:
        """
        Each error is a line on standard error.
        """
        stream = io.StringIO()
        self.patch(sys, "stderr", stream)
        complain(ConfigErrors((ConfigError("one", "a.conf", 1), ConfigError("two"))))
        self.assertEqual(stream.getvalue(), "[emerg] one in a.conf:1\n[emerg] two\n")

    def test_closed(self) -> None:
        """
        A standard error that is closed, or was never there, troubles nobody.
        """
        closed = io.StringIO()
        closed.close()
        for stream in (None, closed):
            self.patch(sys, "stderr", stream)
            say("x")
