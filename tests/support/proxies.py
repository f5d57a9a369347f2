"""
Which proxy is under test? nginx or sniproxy: both are given the same stream text, started alike, asked alike.

Strategy: a test states behaviour once, for sniproxy, and a subclass of one line runs it against the real nginx,
which proves that the test expects the right thing. What differs between the two programs (the modules nginx must
load, the blocks it demands, who the worker is) is here and nowhere else. The lines needed for that stand before the
text on its first line, so that line numbers in errors stay what they are.
"""

from __future__ import annotations

import os
import re
import signal
import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Literal

from tests.support.programs import (
    PATIENCE,
    Program,
    ProgramTestCase,
    children,
    eventually,
    missing,
    need,
    python_environment,
    read_text,
    run,
    twistd,
    write_text,
)

Kind = Literal["nginx", "sniproxy"]

NGINX: Final[Kind] = "nginx"
SNIPROXY: Final[Kind] = "sniproxy"
MODULES: Final = (
    "/usr/lib/nginx/modules",
    "/usr/lib64/nginx/modules",
    "/usr/local/nginx/modules",
    "/etc/nginx/modules",
)

_LINE: Final = re.compile(
    r"^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d \[(?P<level>[a-z]+)\] \d+#\d+: (?:\*(?P<number>\d+) )?(?P<text>.*)$"
)
# Words of OpenSSL that newer versions say differently.
NEWER_WORDS: Final = (
    (re.compile(r"\b(ssl/tls|tls) alert handshake failure"), "sslv3 alert handshake failure"),
    (re.compile(r" or the system clock is incorrect"), ""),
    (
        re.compile(
            r"error:0A000092:SSL routines::data length too long error:0A000139:SSL routines::record layer failure"
        ),
        "error:0A0000C6:SSL routines::packet length too long",
    ),
)
_OWN_PORT: Final = re.compile(r"\] proxy 127\.0\.0\.1:\d+ connected")
_VALUE: Final = re.compile(r"@(\w+)@")


@dataclass(frozen=True)
class Line:
    """
    A line of an error log.

    @ivar number: the serial number of the connection, None where the line is not about one.
    @ivar text: what follows.
    """

    level: str
    number: int | None
    text: str

    def __str__(self) -> str:
        return f"[{self.level}] {self.text}"


def fill(text: str, **values: object) -> str:
    """
    Put values in the places of a configuration: C{@name@}, because nginx's grammar has other uses for braces,
    dollars and percents.

    @raise KeyError: a place without a value.
    """
    return _VALUE.sub(lambda found: str(values[found[1]]), text)


def nginx_module() -> str:
    """
    @return: the directive that loads nginx's stream module; empty where it is compiled in.
    """
    built = run(need("nginx"), "-V").stderr
    if "--with-stream " in built + " " and "--with-stream=dynamic" not in built:
        return ""
    for folder in MODULES:
        path = os.path.join(folder, "ngx_stream_module.so")
        if os.path.exists(path):
            return f"load_module {path}; "
    return missing("nginx has no stream module")


def prelude(kind: Kind, folder: str, name: str, level: str = "info") -> str:
    """
    @return: what stands before a stream text: where the process id and the errors go, and what nginx demands.
    """
    common = f"pid {folder}/{name}.pid; error_log {folder}/{name}.log {level}; "
    if kind == NGINX:
        user = "user root; " if os.geteuid() == 0 else ""
        return f"{nginx_module()}daemon off; {user}{common}events {{ worker_connections 4096; }} "
    return common


def command(
    kind: Kind, configuration: str, *options: str, prefix: str | None = None, globals_text: str = ""
) -> list[str]:
    """
    The arguments that run a proxy with a configuration file.
    """
    if kind == NGINX:
        arguments = [need("nginx"), "-e", "stderr", "-c", configuration]
        arguments += ["-p", prefix] if prefix else []
        arguments += ["-g", globals_text] if globals_text else []
    else:
        arguments = [*twistd(), "-n", "--pidfile=", "sniproxy", "--config", configuration]
        arguments += ["--prefix", prefix] if prefix else []
        arguments += ["--globals", globals_text] if globals_text else []
    return arguments + list(options)


def environment(kind: Kind) -> dict[str, str]:
    """
    What the program needs in its environment.
    """
    return python_environment() if kind == SNIPROXY else {}


class Proxy:
    """
    One of the two, running.

    @ivar configuration: the path of its configuration file.
    """

    def __init__(
        self,
        test: ProgramTestCase,
        kind: Kind,
        text: str,
        name: str,
        *,
        level: str,
        as_printed: bool,
        modules: str | None = None,
    ) -> None:
        """
        @param as_printed: the file holds the text and nothing else (for nginx: beside what it demands).
        @param modules: a folder in which Python finds more modules.
        """
        self.kind = kind
        self.name = name
        self._folder = test.folder
        self._level = level
        self._as_printed = as_printed and kind == SNIPROXY
        self.pid_path = test.path(f"{name}.pid")
        self.log_path = test.path(f"{name}.log")
        self.configuration = test.path(f"{name}.conf")
        if os.path.exists(self.configuration):
            raise ValueError(f"a test has two proxies called {name}")
        self.rewrite(text)
        extra = prelude(kind, test.folder, name, level) if self._as_printed else ""
        arguments = command(kind, self.configuration, globals_text=extra.strip())
        env = environment(kind)
        if modules is not None:
            env["PYTHONPATH"] = os.pathsep.join((modules, env.get("PYTHONPATH", "")))
        self.program: Program = test.start(name, *arguments, env=env)
        test.papers.append(lambda: (self.configuration, read_text(self.configuration)))
        test.papers.append(lambda: (self.log_path, read_text(self.log_path)))
        self.program.ready(lambda: read_text(self.pid_path).strip(), f"the pid file of {name}")
        if kind == NGINX:
            # It writes the file before it has a worker, and a new worker closes what it has from the master.
            self.program.ready(lambda: all(map(waits, self.processes())), f"the workers of {name}")

    def rewrite(self, text: str) -> None:
        """
        Replace the configuration file, without telling the program.
        """
        before = "" if self._as_printed else prelude(self.kind, self._folder, self.name, self._level)
        if re.search(r"\buser ", text):
            before = before.replace("user root; ", "")
        write_text(self.configuration, before + text)

    # -- what it says

    def lines(self) -> list[Line]:
        """
        Its error log.
        """
        return read_lines(self.log_path)

    def logged(self, wanted: str | re.Pattern[str], patience: float = PATIENCE) -> Line:
        """
        Wait for a line of the error log.

        @param wanted: C{[level] text}: the whole line without its time, process and connection numbers; or a
            pattern found in that.
        """

        def look() -> Line | None:
            for line in self.lines():
                if wanted.search(str(line)) if isinstance(wanted, re.Pattern) else str(line) == wanted:
                    return line
            return None

        found = eventually(look, f"in the error log of {self.name}: {wanted}", patience)
        assert found is not None
        return found

    def story(self, client: int) -> list[str]:
        """
        @param client: the port of a client of ours on 127.0.0.1.
        @return: all lines about its connection, without what is different each time: its own port, and the proxy's
            port at the upstream.
        """
        lines = self.lines()
        begin = f"client 127.0.0.1:{client} connected to "
        numbers = [line.number for line in lines if line.text.startswith(begin)]
        if not numbers:
            return []
        told = [str(line) for line in lines if line.number == numbers[-1]]
        told = [line.replace(begin, "client connected to ") for line in told]
        for pattern, words in (
            *NEWER_WORDS,
            (re.compile(r"\] proxy 127\.0\.0\.1:\d+ connected"), "] proxy connected"),
        ):
            told = [pattern.sub(words, line) for line in told]
        return told

    def tells(self, client: int, *wanted: str, but: tuple[str, str] | None = None) -> None:
        """
        Wait until the story of a connection is C{wanted}, or fail with both.

        @param wanted: what follows the line that a client has connected.
        @param but: a pattern, and what stands for whatever it matches, where the moment decides.
        """

        def told() -> list[str]:
            lines = self.story(client)[1:]
            return [re.sub(*but, line) for line in lines] if but else lines

        with suppress(AssertionError):
            eventually(lambda: told() == list(wanted), "", PATIENCE / 3)
        if told() != list(wanted):
            lists = ("\n    ".join(lines) for lines in (told(), wanted))
            raise AssertionError("{} tells\n    {}\ninstead of\n    {}".format(self.name, *lists))

    # -- what it has

    def processes(self) -> list[int]:
        """
        The process ids of those that serve connections.
        """
        return children(self.program.pid) or [self.program.pid]

    def descriptors(self) -> list[str]:
        """
        What its processes hold open, sorted, see L{held}.
        """
        return sorted(each for pid in self.processes() for each in held(pid))

    def connections(self) -> int:
        """
        How many sockets its processes hold, those that listen among them.
        """
        return self.descriptors().count("socket")

    # -- what it is told

    def reload(self) -> None:
        """
        Read the configuration again. Returns when the old workers of nginx have been told, or sniproxy has taken
        the new one, or either has refused.
        """
        before = len(self.lines())
        old = self.processes()
        self.program.signal(signal.SIGHUP)

        def done() -> bool:
            if any(line.level == "emerg" for line in self.lines()[before:]):
                return True
            if self.kind == NGINX:
                return bool(set(self.processes()) - set(old)) and any(
                    line.text.startswith("gracefully shutting down") or line.text == "exiting"
                    for line in self.lines()[before:]
                )
            return any("reconfigur" in line.text for line in self.lines()[before:])

        eventually(done, f"{self.name} reads its configuration again")

    def quit(self) -> None:
        """
        Ask it to end when its sessions have.
        """
        self.program.signal(signal.SIGQUIT)


def read_lines(path: str) -> list[Line]:
    """
    @return: the whole lines of an error log.
    """
    text = read_text(path)
    found = []
    for raw in text[: text.rfind("\n") + 1].splitlines():
        match = _LINE.match(raw)
        if match:
            found.append(Line(match["level"], int(match["number"]) if match["number"] else None, match["text"]))
    return found


def waits(pid: int) -> bool:
    """
    Whether a process sleeps and holds an epoll descriptor: an event loop that has begun.
    """
    state = read_text(f"/proc/{pid}/stat").rpartition(")")[2].split()[:1]
    return state == ["S"] and "anon_inode:[eventpoll]" in held(pid)


def held(pid: int) -> list[str]:
    """
    What a process holds open: C{socket}, C{pipe}, C{/a/path}, …
    """
    folder = f"/proc/{pid}/fd"
    found = []
    with suppress(OSError):  # a process that has just ended has none
        for number in os.listdir(folder):
            with suppress(OSError):
                found.append(re.sub(r":\[\d+\]$", "", os.readlink(f"{folder}/{number}")))
    return found


def is_socket(path: str) -> bool:
    """
    Whether there is a unix socket.
    """
    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError:
        return False


class ProxyTestCase(ProgramTestCase):
    """
    Behaviour of a proxy, stated once.

    @cvar kind: the proxy under test; a subclass that says nginx proves the test.
    """

    kind: Kind = SNIPROXY

    def proxy(
        self,
        text: str,
        name: str = "edge",
        *,
        kind: Kind | None = None,
        level: str = "info",
        as_printed: bool = False,
        modules: str | None = None,
        **values: object,
    ) -> Proxy:
        """
        Start a proxy that ends with the test and is ready for connections.

        @param text: its configuration, with places for C{values}, see L{fill}.
        """
        filled = fill(text, **values)
        return Proxy(self, kind or self.kind, filled, name, level=level, as_printed=as_printed, modules=modules)

    def keep(self, what: Callable[[], None]) -> None:
        """
        Do something at the end of the test.
        """
        self.addCleanup(what)
