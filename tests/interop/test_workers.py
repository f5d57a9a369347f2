"""
What do several worker processes do, and what becomes of them when one of them, or their master, dies?

Strategy: what holds for one process holds for a master with two workers: the tests of the process are run again with
them. Then comes what only several can show.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import threading
from typing import Any, Final

from tests.interop import test_process
from tests.interop.test_process import ProcessTestCase
from tests.support import backends
from tests.support.clients import plain, read_all, read_exactly
from tests.support.ports import free_port
from tests.support.programs import children, eventually, missing, read_text, run, twistd, write_text
from tests.support.proxies import NGINX, Proxy, command, environment, prelude

NOBODY: Final = 65534

FLAW: Final = """
import sys

from twisted.plugin import IPlugin
from zope.interface import implementer

from sniproxy.config.directives import Directive
from sniproxy.interfaces import IModule


def convert(node, build, scope):
    if "sniproxy: worker process" in sys.argv:
        raise ZeroDivisionError("a fault of ours")
    return True


@implementer(IPlugin, IModule)
class Flaw:
    name = "flaw"
    directives = (Directive("flaw", ("main",), (0, 0), convert, False),)
    variables = ()

    def prepare(self, build):
        pass

    def attach(self, server, build):
        pass


flaw = Flaw()
"""
"""
A module whose directive master and worker do not read alike.
"""


def alive(pid: int) -> bool:
    """
    Whether a process runs; one that has ended and waits to be asked for does not.
    """
    return read_text(f"/proc/{pid}/stat").rpartition(")")[2].split()[:1] not in ([], ["Z"])


class Workers(ProcessTestCase):
    """
    Two workers behind one address.

    @cvar workers: what stands before each configuration.
    """

    workers = "worker_processes 2; "

    def proxy(self, text: str, name: str = "edge", **settings: Any) -> Proxy:
        """
        @see: L{ProxyTestCase.proxy}
        """
        return super().proxy(self.workers + text, name, **settings)

    def pair(self, text: str | None = None, **settings: Any) -> Proxy:
        """
        A proxy whose two workers both accept.
        """
        access = f"log_format who $pid; access_log {self.path('access.log')} who;"
        edge = self.proxy(text or self.simple().replace("stream {", f"stream {{ {access}", 1), **settings)
        self.both(edge)
        return edge

    def both(self, edge: Proxy) -> None:
        """
        Wait until there are two workers, and each has served somebody.
        """

        def served() -> bool:
            with plain(self.port) as first, plain(self.port) as second:
                read_exactly(first, 1)
                read_exactly(second, 1)
            said = set(read_text(self.path("access.log")).split())
            return len(children(edge.program.pid)) == 2 and said.issuperset(map(str, children(edge.program.pid)))

        eventually(served, "each worker serves somebody")

    def held(self, edge: Proxy) -> dict[int, socket.socket]:
        """
        A session in each worker, by the worker's process number; it ends with the test.
        """
        found: dict[int, socket.socket] = {}

        def more() -> bool:
            before = {pid: sockets(pid) for pid in children(edge.program.pid)}
            connection = plain(self.port)
            self.addCleanup(connection.close)
            read_exactly(connection, 1)
            for pid, count in before.items():
                if sockets(pid) > count:
                    found.setdefault(pid, connection)
            return len(found) == len(before) == 2

        eventually(more, "a session in each worker")
        return found


def descriptor_links(pid: int) -> list[str]:
    """
    What the descriptors of a process are.
    """
    found = []
    for number in os.listdir(f"/proc/{pid}/fd"):
        try:
            found.append(os.readlink(f"/proc/{pid}/fd/{number}"))
        except OSError:
            pass  # it was the one that listed them
    return found


def epolls(*pids: int) -> list[int]:
    """
    How many epolls each process has.
    """
    return [descriptor_links(pid).count("anon_inode:[eventpoll]") for pid in pids]


def sockets(pid: int) -> int:
    """
    How many a process holds.
    """
    return sum(link.startswith("socket:") for link in descriptor_links(pid))


class WorkersReload(test_process.Reload, Workers):
    """
    HUP with workers.
    """

    def test_nothing_stays_open(self) -> None:
        """
        Reloads leave no descriptor behind, neither in the master nor in workers.
        """
        edge = self.pair()

        def again() -> tuple[int, int]:
            old = set(edge.processes())
            edge.reload()
            eventually(lambda: len(edge.processes()) == 2 and not old & set(edge.processes()), "the old workers end")
            self.both(edge)
            return len(os.listdir(f"/proc/{edge.program.pid}/fd")), len(edge.descriptors())

        first = again()
        counts = [again(), again()]
        eventually(lambda: len(os.listdir(f"/proc/{edge.program.pid}/fd")) <= first[0], f"{counts} not above {first}")
        eventually(lambda: len(edge.descriptors()) <= first[1] + 4, f"{counts} not above {first}")


class WorkersReloadNginx(WorkersReload):
    """
    The same on nginx.
    """

    kind = NGINX


class WorkersEnd(test_process.End, Workers):
    """
    QUIT, TERM and INT with workers.
    """


class WorkersEndNginx(WorkersEnd):
    """
    The same on nginx, which forgets to log what TERM ends.
    """

    kind = NGINX
    logged_at_end = 0


class WorkersReopen(test_process.Reopen, Workers):
    """
    USR1 with workers.
    """


class WorkersReopenNginx(WorkersReopen):
    """
    The same on nginx.
    """

    kind = NGINX


class Several(Workers):
    """
    What only several workers show.
    """

    def test_both_serve(self) -> None:
        """
        Both workers get connections, and both write into one access log and one error log, each line whole.
        """
        edge = self.pair()
        workers = set(map(str, children(edge.program.pid)))
        for _ in range(100):
            self.assertEqual(self.who(), b"1")
        eventually(lambda: read_text(self.path("access.log")).count("\n") >= 100, "a line for each session")
        self.assertEqual(set(read_text(self.path("access.log")).split()), workers)
        said = set(re.findall(r"\[info\] (\d+)#\d+: \*", read_text(edge.log_path)))
        self.assertEqual(said, workers)

    def test_one_is_killed(self) -> None:
        """
        When a worker is killed another takes its place at once; sessions of the other go on, nobody is refused.
        """
        edge = self.pair()
        sessions = self.held(edge)
        (dead, lost), (other, kept) = sessions.items()
        os.kill(dead, signal.SIGKILL)
        self.assertEqual(self.who(), b"1")
        self.assertEqual(ended(lost), b"")
        edge.logged(f"[alert] worker process {dead} exited on signal 9")
        eventually(lambda: len(children(edge.program.pid)) == 2, "another worker")
        new = (set(children(edge.program.pid)) - {other}).pop()
        edge.logged(f"[notice] start worker process {new}")
        self.both(edge)
        kept.sendall(b"still here")
        self.assertEqual(read_exactly(kept, 10), b"still here")
        self.assertTrue(alive(other))

    def test_the_file_has_changed_meanwhile(self) -> None:
        """
        A worker that takes the place of another works under the configuration that is in force, whatever the file
        says by then.
        """
        edge = self.pair()
        edge.rewrite("stream { bogus on; }")
        victim = children(edge.program.pid)[0]
        os.kill(victim, signal.SIGKILL)
        eventually(lambda: victim not in children(edge.program.pid), "it is gone")
        self.both(edge)

    def test_reload_under_load(self) -> None:
        """
        While workers come and go, no connection is refused, reset, or left without an answer.
        """
        edge = self.pair()
        answers: list[bytes] = []
        over = threading.Event()

        def knock() -> None:
            while not over.is_set():
                answers.append(self.who())

        knocking = [threading.Thread(target=knock) for _ in range(4)]
        for thread in knocking:
            thread.start()
        try:
            for _ in range(3):
                old = set(children(edge.program.pid))
                edge.reload()
                eventually(lambda old=old: not any(map(alive, old)), "the old workers end")  # type: ignore[misc]
        finally:
            over.set()
            for thread in knocking:
                thread.join()
        self.assertEqual(set(answers), {b"1"})
        self.assertGreater(len(answers), 50)

    def test_number_changes(self) -> None:
        """
        A reload may change how many workers there are.
        """
        edge = self.pair()
        for number in (3, 1):
            text = self.simple(self.second if number == 3 else self.first)
            edge.rewrite(f"worker_processes {number}; master_process on; " + text)
            edge.reload()
            self.says(b"2" if number == 3 else b"1")
            eventually(lambda number=number: len(children(edge.program.pid)) == number, f"{number} workers")  # type: ignore[misc]

    def test_quit(self) -> None:
        """
        QUIT lets the sessions of both workers finish, and the master ends after them; no process stays behind.
        """
        edge = self.pair()
        workers = children(edge.program.pid)
        sessions = self.held(edge)
        edge.quit()
        self.says(b"")
        for pid, connection in sessions.items():
            self.assertTrue(alive(pid))
            connection.sendall(b"last words")
            self.assertEqual(read_exactly(connection, 10), b"last words")
        self.assertFalse(edge.program.ended())
        self.release()
        self.assertEqual(edge.program.wait(), 0)
        self.assertEqual([pid for pid in workers if alive(pid)], [])

    def release(self) -> None:
        """
        End the sessions that are held.
        """
        self.first.close()

    def test_told_to_end(self) -> None:
        """
        A worker that is told to end, quickly or gracefully, does, and another takes its place.
        """
        edge = self.pair()
        for number in (signal.SIGTERM, signal.SIGQUIT):
            victim = children(edge.program.pid)[0]
            os.kill(victim, number)
            edge.logged(f"[notice] worker process {victim} exited with code 0")
            self.both(edge)

    def test_ignores_hup(self) -> None:
        """
        A worker ignores HUP: only the master reads the configuration again.
        """
        edge = self.pair()
        workers = children(edge.program.pid)
        for pid in workers:
            os.kill(pid, signal.SIGHUP)
        edge.logged(re.compile(r"^\[notice\] signal 1 \(SIGHUP\) received.*, ignoring$"))
        self.assertEqual(children(edge.program.pid), workers)
        self.both(edge)

    def test_reuseport(self) -> None:
        """
        With C{reuseport} each worker has a socket of its own, and a reload that has more workers makes more.
        """
        text = self.simple().replace(f"{self.port};", f"{self.port} reuseport;")
        access = f"stream {{ log_format who $pid; access_log {self.path('access.log')} who;"
        edge = self.pair(text.replace("stream {", access, 1))
        self.assertEqual(listening(self.port), 2)
        edge.rewrite("worker_processes 3; " + text)
        edge.reload()
        eventually(lambda: listening(self.port) == 3, "three sockets")
        edge.rewrite("worker_processes 3; " + self.simple(self.second))
        edge.reload()
        eventually(lambda: listening(self.port) == 1, "one socket again")
        self.says(b"2")

    def test_affinity(self) -> None:
        """
        Each worker runs on the core that is said, with the priority and the limits that are said.
        """
        cores = sorted(os.sched_getaffinity(0))
        if len(cores) < 2 or cores[:2] != [0, 1]:
            missing("two cores are needed")
        self.workers = "worker_processes 2; worker_cpu_affinity 01 10; worker_rlimit_nofile 4000; worker_priority 5; "
        edge = self.pair()
        found = sorted(sorted(os.sched_getaffinity(pid)) for pid in children(edge.program.pid))
        self.assertEqual(found, [[0], [1]])
        for pid in children(edge.program.pid):
            self.assertEqual(os.getpriority(os.PRIO_PROCESS, pid), 5)
            self.assertRegex(read_text(f"/proc/{pid}/limits"), r"Max open files +4000 +4000 ")
        self.assertEqual(os.getpriority(os.PRIO_PROCESS, edge.program.pid), 0)


def end(pid: int) -> None:
    """
    End a process that should have ended.
    """
    if alive(pid):
        os.kill(pid, signal.SIGKILL)


def listening(port: int) -> int:
    """
    How many sockets listen on a port of IPv4.
    """
    lines = read_text("/proc/net/tcp").splitlines()
    return sum(line.split()[1].endswith(f":{port:04X}") and line.split()[3] == "0A" for line in lines[1:])


def ended(connection: socket.socket) -> bytes:
    """
    What comes until the end of a connection, which may be abrupt.
    """
    try:
        return read_all(connection)
    except ConnectionError:
        return b""


class SeveralNginx(Several):
    """
    The same on nginx.
    """

    kind = NGINX


class User(Workers):
    """
    C{user}: the master stays who it was, workers do not.
    """

    def setUp(self) -> None:
        """
        Only root can become somebody else.
        """
        if os.geteuid() != 0:
            missing("only root can become another user")
        super().setUp()

    def restricted(self, text: str) -> Proxy:
        """
        A pair whose workers are nobody special.
        """
        for folder in (self.folder, os.path.dirname(self.folder)):
            os.chmod(folder, 0o755)
        return self.pair(text)

    def test_reload_as_root(self) -> None:
        """
        Workers are nobody special; a reload may still bind a port below 1024, and read and write what only root may.
        """
        self.workers = "worker_processes 2; user nobody nogroup; "
        access = f"stream {{ log_format who $pid; access_log {self.path('access.log')} who;"
        edge = self.restricted(self.simple().replace("stream {", access, 1))
        self.assertEqual([uid(pid) for pid in children(edge.program.pid)], [NOBODY] * 2)
        self.assertEqual(uid(edge.program.pid), 0)
        low = low_port()
        secret = self.path("secret.conf")
        with open(secret, "w") as file:
            file.write(self.simple(self.second).replace(f":{self.port};", f":{low};"))
        os.chmod(secret, 0o600)
        with open(secret) as file:
            inside = file.read().split("{", 1)[1].rpartition("}")[0]
        with open(secret, "w") as file:
            file.write(inside)
        edge.rewrite(f"worker_processes 2; user nobody nogroup; stream {{ include {secret}; }}")
        edge.reload()
        self.says(b"2", low)
        eventually(lambda: [uid(pid) for pid in edge.processes()] == [NOBODY] * 2, "workers are nobody special")

    def test_reopen(self) -> None:
        """
        After USR1 workers write into the new files too.
        """
        self.workers = "worker_processes 2; user nobody nogroup; "
        access = self.path("access.log")
        edge = self.restricted(
            self.simple().replace("stream {", f"stream {{ log_format who $pid; access_log {access} who;", 1)
        )
        os.rename(access, f"{access}.1")
        edge.program.signal(signal.SIGUSR1)
        eventually(lambda: os.path.exists(access), "a new log")
        self.both(edge)
        self.assertEqual(os.stat(access).st_uid, NOBODY)


class UserNginx(User):
    """
    The same on nginx.
    """

    kind = NGINX


def uid(pid: int) -> int:
    """
    Whose process it is.
    """
    found = re.search(r"^Uid:\t\d+\t(\d+)", read_text(f"/proc/{pid}/status"), re.MULTILINE)
    return -1 if found is None else int(found[1])


def low_port() -> int:
    """
    A free port that only root may bind.
    """
    for port in range(1023, 600, -1):
        with socket.socket() as attempt:
            try:
                attempt.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    return missing("no port below 1024 is free")


class Ours(Workers):
    """
    What nginx does not do, or not so.
    """

    def test_master_is_killed(self) -> None:
        """
        When the master is killed its workers take no more sessions, finish those they have, and end; the address is
        free for whoever starts the program anew.
        """
        edge = self.pair()
        sessions = self.held(edge)
        os.kill(edge.program.pid, signal.SIGKILL)
        edge.program.wait()
        self.says(b"")
        self.assertEqual(read_lines_of(edge).count("the master process is gone"), 2)
        for connection in sessions.values():
            connection.sendall(b"still here")
            self.assertEqual(read_exactly(connection, 10), b"still here")
        again = self.pair(self.simple().replace("stream {", self.access("again"), 1), name="again")
        self.assertTrue(all(map(alive, sessions)))
        again.quit()
        self.first.close()
        eventually(lambda: not any(map(alive, sessions)), "the workers end")

    def access(self, name: str) -> str:
        """
        The beginning of a stream block with an access log.
        """
        return f"stream {{ log_format who $pid; access_log {self.path('access.log')} who;"

    def test_new_workers_cannot_begin(self) -> None:
        """
        Where new workers cannot begin, the old ones go on as if nothing had been asked, and the machine is left in
        peace: the pauses between attempts grow.
        """
        write_text(self.path("path", "sniproxy", "plugins", "flaw.py"), FLAW)
        edge = self.pair(modules=self.path("path"))
        old = set(children(edge.program.pid))
        edge.rewrite(self.workers + "flaw; " + self.simple(self.second))
        edge.reload()
        edge.logged(re.compile(r"^\[alert\] worker process \d+ exited with code 1$"))
        eventually(lambda: "a fault of ours" in edge.program.output(), "the fault is printed")
        self.assertEqual(self.who(), b"1")
        self.assertTrue(all(map(alive, old)))
        edge.rewrite(self.workers + self.simple(self.second))
        edge.reload()
        self.says(b"2")
        eventually(lambda: not any(map(alive, old)), "the old workers end")
        self.assertLess(sum("exited with code 1" in line for line in read_lines_of(edge)), 9)

    def test_one_process(self) -> None:
        """
        C{master_process off} is one process, whatever else is said.
        """
        edge = self.proxy("master_process off; " + self.simple())
        self.assertEqual(self.who(), b"1")
        self.assertEqual(children(edge.program.pid), [])

    def test_one_worker_with_a_master(self) -> None:
        """
        C{master_process on} gives a single worker a master.
        """
        self.workers = "master_process on; "
        edge = self.proxy(self.simple())
        self.assertEqual(self.who(), b"1")
        self.assertEqual(len(children(edge.program.pid)), 1)

    def test_terminal(self) -> None:
        """
        What a terminal says to master and workers at once, they obey once: nobody is started anew, the status is 0.
        """
        edge = self.pair()
        workers = children(edge.program.pid)
        os.killpg(edge.program.pid, signal.SIGINT)
        self.assertEqual(edge.program.wait(), 0)
        self.assertFalse(any(map(alive, workers)))
        self.assertEqual(sum("start worker process " in line for line in read_lines_of(edge)), 2)

    def test_many_reloads(self) -> None:
        """
        However often a reload is asked for, processes do not pile up, and the last configuration is the one that stays.
        """
        edge = self.pair()
        edge.rewrite(self.workers + self.simple(self.second))
        most = 0
        for _ in range(20):
            edge.program.signal(signal.SIGHUP)
            self.assertIn(self.who(), (b"1", b"2"))
            most = max(most, len(children(edge.program.pid)))
        self.says(b"2")
        eventually(lambda: len(children(edge.program.pid)) == 2, "the old workers end")
        self.assertLessEqual(most, 6)

    def test_daemon(self) -> None:
        """
        As a daemon it leaves the terminal, and works and ends as in the foreground.
        """
        path = write_text(
            self.path("edge.conf"), self.workers + prelude(self.kind, self.folder, "edge") + self.simple()
        )
        arguments = [*twistd(), f"--pidfile={self.path('twistd.pid')}", f"--logfile={self.path('twistd.log')}"]
        answer = run(*arguments, "sniproxy", "--config", path, env=environment(self.kind), folder=self.folder)
        self.assertEqual(answer.returncode, 0, answer.stderr)
        master = int(eventually(lambda: read_text(self.path("edge.pid")), "the pid file"))
        self.addCleanup(end, master)
        self.says(b"1")
        workers = children(master)
        os.kill(workers[0], signal.SIGKILL)
        eventually(lambda: len(children(master)) == 2 and workers[0] not in children(master), "another worker")
        os.kill(master, signal.SIGHUP)
        self.says(b"1")
        os.kill(master, signal.SIGQUIT)
        eventually(lambda: not alive(master) and not any(map(alive, workers)), "all end")
        self.assertFalse(os.path.exists(self.path("edge.pid")))

    def test_closed_streams(self) -> None:
        """
        With all standard streams closed workers start and answer, and no log line runs into a connection.
        """
        path = write_text(
            self.path("edge.conf"), self.workers + prelude(self.kind, self.folder, "edge") + self.simple()
        )
        closing = ("sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh")
        program = self.start("edge", *closing, *command(self.kind, path), env=environment(self.kind))
        program.ready(lambda: read_text(self.path("edge.pid")).strip(), "the pid file")
        for _ in range(5):
            with plain(self.port) as connection:
                connection.sendall(b"abc")
                self.assertEqual(read_exactly(connection, 4), b"1abc")

    def test_reactors(self) -> None:
        """
        Workers have a reactor of the kind that their master has.
        """
        for name in ("select", "asyncio"):
            text = self.workers + prelude(self.kind, self.folder, name) + self.simple()
            path = write_text(self.path(f"{name}.conf"), text)
            arguments = [*twistd(), "-n", "--pidfile=", f"--reactor={name}", "sniproxy", "--config", path]
            program = self.start(name, *arguments, env=environment(self.kind))
            program.ready(lambda: self.who() == b"1", "an answer")
            # ours, of the network, beside what the reactor has: select has none, asyncio has one
            wanted = {"select": [0, 1, 1], "asyncio": [1, 2, 2]}[name]
            pids = (program.pid, *children(program.pid))
            eventually(lambda pids=pids, wanted=wanted: epolls(*pids) == wanted, f"{name} everywhere")  # type: ignore[misc]
            program.signal(signal.SIGQUIT)
            self.assertEqual(program.wait(), 0)

    def test_log_of_twisted(self) -> None:
        """
        Without an C{error_log} what workers complain of is printed by the master.
        """
        closed = backends.closed_port(self)
        other = free_port()
        text = self.simple()
        text = text[: text.rindex("}")] + f"server {{ listen 127.0.0.1:{other}; proxy_pass 127.0.0.1:{closed}; }}\n}}\n"
        program = test_process.Ours.start_with(self, self.workers + text)  # type: ignore[arg-type]
        self.assertEqual(self.who(other), b"")
        eventually(lambda: "connect() failed (111: Connection refused)" in program.output(), "the error is printed")


def read_lines_of(edge: Proxy) -> list[str]:
    """
    What a log says.
    """
    return [line.text for line in edge.lines()]
