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
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks import configurations
from benchmarks.layout import Layout

SYSTEM: Final = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"))
STREAM_MODULE: Final = "/usr/lib/nginx/modules/ngx_stream_module.so"
PATIENCE: Final = 30.0
TICK: Final = os.sysconf("SC_CLK_TCK")


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
    """

    name: str
    program: str | None
    configuration: Callable[[Layout, str], str]
    command: Callable[[str, str, str], list[str]]
    log: str
    version: tuple[str, ...]


def _nginx(program: str, configuration: str, folder: str) -> list[str]:
    module = f"load_module {STREAM_MODULE}; " if os.path.exists(STREAM_MODULE) else ""
    # Its compiled-in error log is opened before the configuration is read.
    return [program, "-e", f"{folder}/error.log", "-p", folder, "-c", configuration, "-g", f"{module}daemon off;"]


def _haproxy(program: str, configuration: str, folder: str) -> list[str]:
    return [program, "-db", "-f", configuration]


def _sniproxy(program: str, configuration: str, folder: str) -> list[str]:
    return [program, "--nodaemon", "--pidfile=", "sniproxy", "--config", configuration, "--prefix", folder]


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
    )


def on_core(core: int | None) -> Callable[[], None]:
    """
    For C{preexec_fn}: bind a process, and so all that it starts, to one core.
    """
    return lambda: os.sched_setaffinity(0, {core}) if core is not None else None


class Proxy:
    """
    A proxy that runs. Owns its process; C{stop()} ends it.

    @ivar layout: where it listens.
    @ivar folder: what it writes.
    """

    def __init__(self, kind: Kind, layout: Layout, core: int | None) -> None:
        """
        Start it, and wait until it listens.

        @raise Trouble: it does not.
        """
        if kind.program is None:
            raise Trouble(f"{kind.name} is not installed")
        self.kind = kind
        self.layout = layout
        self.folder = layout.path(kind.name)
        shutil.rmtree(self.folder, ignore_errors=True)
        os.mkdir(self.folder)
        configuration = os.path.join(self.folder, "proxy.conf")
        with open(configuration, "w", encoding="ascii") as written:
            written.write(kind.configuration(layout, self.folder))
        with open(os.path.join(self.folder, "output"), "wb") as output:
            self._process = subprocess.Popen(
                kind.command(kind.program, configuration, self.folder),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                preexec_fn=on_core(core),
            )
        try:
            self._wait(lambda: listens(layout.ports["wrapped"]), "it listens")
            self.settle()
        except BaseException:
            self.stop()
            raise

    def _wait(self, question: Callable[[], bool], what: str, patience: float = PATIENCE) -> None:
        end = time.monotonic() + patience
        while not question():
            if self._process.poll() is not None or time.monotonic() > end:
                raise Trouble(f"{self.kind.name}: not so: {what}\n{self.last_words()}")
            time.sleep(0.01)

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
        with open(os.path.join(self.folder, self.kind.log), "rb") as log:
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
