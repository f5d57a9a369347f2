"""
How is a proxy run and watched? Started on its own core, asked what it has used, ended by its process id.

Strategy: the processor time of each process of the proxy is read from its own clock (C{clock_getcpuclockid(3)}: user
and system time of all its threads, in nanoseconds, where C{/proc/PID/stat} counts in hundredths), and that of children
that have ended from their parent's C{/proc/PID/stat}. Memory is what no file backs, pages that
processes share counted once: those of programs and libraries are not a matter of connections, and their shares change
with whatever else runs on the machine.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks import configurations
from benchmarks.layout import Layout
from benchmarks.rows import ORDER, TRAILER, Amount

SYSTEM: Final = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"))
STREAM_MODULE: Final = "/usr/lib/nginx/modules/ngx_stream_module.so"
PATIENCE: Final = 30.0
PREREAD: Final = 16 * 1024
"""The most that is looked at of a session's first bytes, and more than any ClientHello here."""
TICK: Final = os.sysconf("SC_CLK_TCK")
_SIZES: Final = re.compile(rb"\] (?:TCP )?-?\d+ (\d+) (\d+) ")
"""Bytes to the client and from it, in a line of any proxy's log."""


class Trouble(Exception):
    """
    A measurement that does not count, and why.
    """


@dataclass(frozen=True, slots=True)
class Kind:
    """
    One of the programs compared.

    @ivar name: what C{--proxies} calls it.
    @ivar program: its path; None where it is not installed.
    @ivar configuration: writes what it reads.
    @ivar command: its command line, from the program, the configuration's path and the folder.
    @ivar log: where its lines per session go, inside the folder.
    @ivar version: its command line to say what it is.
    @ivar apart: whether it is measured beside the others, in a table of its own.
    """

    name: str
    program: str | None
    configuration: Callable[[Layout, str], str]
    command: Callable[[str, str, str], list[str]]
    log: str
    version: tuple[str, ...]
    apart: bool = False


def _nginx(program: str, configuration: str, folder: str) -> list[str]:
    module = f"load_module {STREAM_MODULE}; " if os.path.exists(STREAM_MODULE) else ""
    # Its compiled-in error log is opened before the configuration is read.
    return [program, "-e", f"{folder}/error.log", "-p", folder, "-c", configuration, "-g", f"{module}daemon off;"]


def _haproxy(program: str, configuration: str, folder: str) -> list[str]:
    return [program, "-db", "-f", configuration]


def _sniproxy(program: str, configuration: str, folder: str) -> list[str]:
    return [program, "--nodaemon", "--pidfile=", "sniproxy", "--config", configuration, "--prefix", folder]


def _portable(program: str, configuration: str, folder: str) -> list[str]:
    beside = os.path.join(os.path.dirname(__file__), "portable.py")
    return [program, beside, *_sniproxy("", configuration, folder)[1:]]


def find(program: str) -> str | None:
    """
    @return: the path of a program, those for administrators included.
    """
    return shutil.which(program, path=SYSTEM)


def kinds() -> tuple[Kind, ...]:
    """
    The programs that are compared, ours first.
    """
    beside = os.path.join(os.path.dirname(sys.executable), "twistd")
    twistd = beside if os.path.exists(beside) else find("twistd")
    return (
        Kind("sniproxy", twistd, configurations.nginx, _sniproxy, "access.log", ()),
        Kind("nginx", find("nginx"), configurations.nginx, _nginx, "access.log", ("-v",)),
        Kind("haproxy", find("haproxy"), configurations.haproxy, _haproxy, "output", ("-v",)),
        Kind("portable", sys.executable, configurations.nginx, _portable, "access.log", (), apart=True),
    )


def on_cores(cores: Collection[int]) -> Callable[[], None]:
    """
    For C{preexec_fn}: bind a process, and so all that it starts, to some cores.
    """
    return lambda: os.sched_setaffinity(0, cores)


class Proxy:
    """
    A proxy that runs. Owns its process; C{stop()} ends it.

    @ivar layout: where it listens.
    @ivar folder: what it writes.
    @ivar configuration: the path of what it reads.
    @ivar start: seconds until it was up.
    """

    def __init__(self, kind: Kind, layout: Layout, cores: Collection[int], up: Callable[[], bool]) -> None:
        """
        Start it, and wait until it is up.

        @raise Trouble: it does not come up.
        """
        if kind.program is None:
            raise Trouble(f"{kind.name} is not installed")
        self.kind = kind
        self.layout = layout
        self.folder = layout.path(kind.name)
        shutil.rmtree(self.folder, ignore_errors=True)
        os.mkdir(self.folder)
        self.configuration = os.path.join(self.folder, "proxy.conf")
        with open(self.configuration, "w", encoding="ascii") as written:
            written.write(kind.configuration(layout, self.folder))
        begun = time.monotonic()
        with open(os.path.join(self.folder, "output"), "wb") as output:
            self._process = subprocess.Popen(
                kind.command(kind.program, self.configuration, self.folder),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                preexec_fn=on_cores(cores),
            )
        try:
            self._wait(up, "it is up", pause=0.001)
            self.start = time.monotonic() - begun
            self.settle()
        except BaseException:
            self.stop()
            raise

    def _wait(self, question: Callable[[], bool], what: str, patience: float = PATIENCE, pause: float = 0.01) -> None:
        end = time.monotonic() + patience
        while not question():
            if self._process.poll() is not None or time.monotonic() > end:
                raise Trouble(f"{self.kind.name}: not so: {what}\n{self.last_words()}")
            time.sleep(pause)

    def last_words(self) -> str:
        """
        The end of its error log and output.
        """
        said = ""
        for name in ("error.log", "output"):
            try:
                with open(os.path.join(self.folder, name), "rb") as words:
                    said += words.read()[-2000:].decode("utf-8", "replace")
            except OSError:
                continue
        return said

    def sessions(self) -> int:
        """
        Lines in its log of sessions.
        """
        lines = 0
        path = os.path.join(self.folder, self.kind.log)
        if not os.path.exists(path):
            return 0
        with open(path, "rb") as log:
            while block := log.read(1 << 20):
                lines += block.count(b"\n")
        return lines

    def settle(self) -> int:
        """
        Wait until nothing more is written to the log.

        @return: the lines in it.
        """
        before = -1
        while (lines := self.sessions()) != before:
            before = lines
            time.sleep(0.15)
        return lines

    def wait_for_sessions(self, lines: int) -> None:
        """
        @raise Trouble: it has not logged as many sessions as there were.
        """
        try:
            self._wait(lambda: self.sessions() >= lines, "", 5.0)
        except Trouble:
            raise Trouble(f"{self.kind.name} has logged {self.sessions()} sessions, not {lines}") from None

    def check_bytes(self, amount: Amount, preread: bool) -> None:
        """
        @param preread: whether the proxy has looked at the first bytes, which nginx then does not count among those it
            has received, and the ClientHello is among the bytes.
        @raise Trouble: the last lines of its log do not tell how much the streams of a row have carried.
        """
        with open(os.path.join(self.folder, self.kind.log), "rb") as log:
            log.seek(max(0, os.path.getsize(log.name) - 512 * amount.count))
            lines = log.read().splitlines()[-amount.count :]
        found = [tuple(map(int, match.groups())) for match in map(_SIZES.search, lines) if match]
        most = amount.up + ORDER
        least, most = (most - PREREAD, most + PREREAD) if preread else (most, most)
        good = [each for each in found if each[0] == amount.down + TRAILER and least <= each[1] <= most]
        if len(good) != amount.count:
            raise Trouble(f"{self.kind.name} has logged other sizes than it carried: {found}")

    def check_place(self, cores: Collection[int]) -> None:
        """
        @raise Trouble: a thread of it may run elsewhere.
        """
        for pid in family(self._process.pid):
            for thread in os.listdir(f"/proc/{pid}/task"):
                if not os.sched_getaffinity(int(thread)) <= set(cores):
                    raise Trouble(f"{self.kind.name} does not stay on its core")

    def reload(self, configuration: str) -> None:
        """
        Give it another configuration, and tell it so.
        """
        with open(self.configuration, "w", encoding="ascii") as written:
            written.write(configuration)
        self._process.send_signal(signal.SIGHUP)

    def processes(self) -> list[int]:
        """
        The ids of all its processes, the first one's first.
        """
        return list(family(self._process.pid))

    def seconds(self) -> float:
        """
        Processor time of all its processes so far, those that have ended included.
        """
        return sum(used(pid) for pid in family(self._process.pid))

    def memory(self) -> int:
        """
        Bytes of all its processes, shared pages counted once.
        """
        return sum(held(pid) for pid in family(self._process.pid))

    def stop(self) -> None:
        """
        End it, at once if it does not obey.
        """
        members = list(family(self._process.pid))
        if self._process.poll() is None:
            self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            for pid in members:
                os.kill(pid, 9)
            self._process.wait()


def listens(port: int) -> bool:
    """
    Whether somebody takes connections there.
    """
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def family(ancestor: int) -> Iterator[int]:
    """
    A process, and all that descend from it.
    """
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                children.setdefault(int(_stat(int(name))[1]), []).append(int(name))
            except OSError:
                continue
    waiting = [ancestor]
    while waiting:
        pid = waiting.pop()
        yield pid
        waiting += children.get(pid, [])


def used(pid: int) -> float:
    """
    Seconds of processor time of one process, and of its children that have ended.
    """
    ended = sum(map(int, _stat(pid)[13:15])) / TICK
    return time.clock_gettime((~pid << 3) | 2) + ended


def held(pid: int) -> int:
    """
    Bytes of memory of one process: its proportional set size, without files (C{proc_pid_smaps(5)}).
    """
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as rollup:
        found = re.findall(r"^Pss_(?:Anon|Shmem):\s+(\d+) kB$", rollup.read(), re.MULTILINE)
    return sum(map(int, found)) * 1024


def _stat(pid: int) -> Sequence[str]:
    """
    The fields of /proc/PID/stat from the third (state) on: the second may hold anything.
    """
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as stat:
        return stat.read().rpartition(")")[2].split()
