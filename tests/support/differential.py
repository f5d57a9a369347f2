"""
Do two programs do the same? One configuration and one script of a client's actions, given to nginx and to sniproxy;
what clients heard, what was logged and what the configuration test said is compared.

Strategy: what differs from run to run (ports, times, folders) is replaced by a word before anything is compared, the
same word in both. A case is data: the text of a C{stream} block with places for ports and paths, and visits, each a
tuple of acts. nginx stops at its first fault, so only the first one counts.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Final

from sniproxy.errors import ConfigErrors
from sniproxy.service.load import load
from tests.support.backends import LINGER_ZERO, Backend, backend, closed_port, greet
from tests.support.clients import read_exactly
from tests.support.ports import free_ports
from tests.support.programs import PATIENCE, need, read_text, run, write_text
from tests.support.proxies import NGINX, SNIPROXY, Kind, ProxyTestCase, command, fill, prelude

PORTS: Final = 4
BACKENDS: Final = 3
LEVELS: Final = ("emerg", "alert", "crit", "error", "warn", "info")
"""Those that operators parse. The notices are about processes, and those differ."""

USUAL: Final = "'$remote_addr $protocol $status $bytes_received $bytes_sent \"$upstream_addr\"';"

_VERDICT: Final = re.compile(r"\[(?P<level>emerg|warn)\] ?(?:\d+#\d+: )?(?P<text>.*)")
_OWN_PORT: Final = re.compile(r"((?:client|proxy) 127\.\d+\.\d+\.\d+):\d+(?= connected)")
_OF_PROCESSES: Final = re.compile(r"signal|worker|process|exit|using|start|built|OS:|getrlimit|reconfigur")

Act = tuple[str, bytes]
"""
What a client does: C{send} bytes, C{hear} (read as many bytes as these and keep them), C{half} (end our direction),
C{end} (read to the end and keep it), C{drop} (end with a reset: the last act).
"""


def send(data: bytes) -> Act:
    """
    Send bytes.
    """
    return "send", data


def hear(data: bytes) -> Act:
    """
    Read as many bytes as C{data} has.
    """
    return "hear", data


HALF: Final[Act] = ("half", b"")
END: Final[Act] = ("end", b"")
DROP: Final[Act] = ("drop", b"")


@dataclass(frozen=True)
class Visit:
    """
    One client: from where to which of the ports, and what it does.

    @ivar source: its address.
    @ivar times: how often the same is done again, one after another.
    """

    acts: tuple[Act, ...] = (END,)
    port: int = 0
    source: str = "127.0.0.1"
    times: int = 1


@dataclass(frozen=True)
class Case:
    """
    @ivar text: the inside of C{stream}; C{@p0@} … are ports, C{@b0@} … back ends that say their number and echo,
        C{@closed@} a port that refuses, C{@folder@} a folder.
    @ivar format: what the access log has; empty for none.
    """

    name: str
    text: str
    visits: tuple[Visit, ...] = (Visit(),)
    format: str = USUAL


@dataclass
class Seen:
    """
    What one of the two has done.
    """

    heard: list[str]
    access: list[str]
    errors: list[str]


class Differential(ProxyTestCase):
    """
    A test that compares the two.
    """

    def setUp(self) -> None:
        """
        Nothing can be compared without the other.
        """
        super().setUp()
        need("nginx")

    def verdict(self, kind: Kind, name: str, text: str) -> str:
        """
        The first complaint of a configuration test with its place, or all warnings, or nothing.

        @param text: the whole configuration, or the inside of C{stream} where it does not begin with C{!}.
        """
        whole = text[1:] if text.startswith("!") else f"stream {{\n{text}\n}}\n"
        path = write_text(self.path(f"{kind}-{name}.conf"), prelude(kind, self.folder, kind) + whole)
        if kind == NGINX:
            return said_first(run(*command(kind, path, "-t")).stderr, path)
        # in this process: there are very many of them, and each would take Python half a second to start
        try:
            warnings = load(path).warnings
        except ConfigErrors as errors:
            return str(errors.errors[0]).replace(path, "F")
        return "\n".join(dict.fromkeys(str(warning).replace(path, "F") for warning in warnings))

    def compare_verdicts(self, name: str, text: str) -> list[str]:
        """
        @return: what is not the same, in words. The place counts where nginx tells one.
        """
        theirs, ours = self.verdict(NGINX, name, text), self.verdict(SNIPROXY, name, text)
        if " in F:" not in theirs:
            ours = re.sub(r" in F:\d+", "", ours)
        return [] if theirs == ours else [f"{text}\n    nginx: {theirs}\n    we:    {ours}"]

    def see(self, kind: Kind, case: Case) -> Seen:
        """
        Run a case with one of the two.
        """
        slug = case.name.replace(" ", "-")
        folder = self.path(f"{kind}-{slug}")
        write_text(f"{folder}/made", "")
        ports = free_ports(PORTS)
        servers: list[Backend] = [backend(self, greet(b"%d:" % number)) for number in range(BACKENDS)]
        values: dict[str, object] = {"folder": folder, "closed": closed_port(self)}
        values.update({f"p{number}": port for number, port in enumerate(ports)})
        values.update({f"b{number}": server.port for number, server in enumerate(servers)})
        head = f"log_format seen {case.format} access_log @folder@/access.log seen;" if case.format else ""
        text = fill(f"stream {{\n{head}{case.text}\n}}\n", **values)
        edge = self.proxy(text, f"{kind}-{slug}", kind=kind)
        told = [visited(visit, ports[visit.port]) for visit in case.visits for _ in range(visit.times)]
        edge.quit()  # it ends when all sessions have, and their last lines are written
        edge.program.wait()
        access = f"{folder}/access.log"
        words = {str(value): f"@{name}@" for name, value in values.items()}
        normal = re.compile(r"\b(?:" + "|".join(map(re.escape, sorted(words, key=len, reverse=True))) + r")\b")

        def plain(line: str) -> str:
            return _OWN_PORT.sub("\\1", normal.sub(lambda found: words[found[0]], line))

        errors = [str(line) for line in edge.lines() if line.level in LEVELS and not _OF_PROCESSES.search(line.text)]
        return Seen(
            [plain(text) for text in told],
            sorted(plain(line) for line in read_text(access).splitlines()),
            sorted(plain(line) for line in errors),
        )

    def compare(self, case: Case) -> list[str]:
        """
        @return: what is not the same, in words; empty where all is.
        """
        theirs, ours = self.see(NGINX, case), self.see(SNIPROXY, case)
        return [
            f"{case.name}: {what}\n    nginx: {nginx}\n    we:    {we}"
            for what, nginx, we in (
                ("heard", theirs.heard, ours.heard),
                ("access", theirs.access, ours.access),
                ("errors", *_apart(theirs.errors, ours.errors)),
            )
            if nginx != we
        ]


def _apart(one: Sequence[str], other: Sequence[str]) -> tuple[list[str], list[str]]:
    """
    What each of two lists has and the other has not.
    """
    left, right = list(one), list(other)
    for line in one:
        if line in right:
            left.remove(line)
            right.remove(line)
    return left, right


def said_first(output: str, path: str) -> str:
    """
    What a configuration test said: its first complaint, or its warnings where that is all.

    @param path: of the configuration file, which is called F.
    """
    found = [(each["level"], each["text"].replace(path, "F")) for each in _VERDICT.finditer(output)]
    complaints = [text for level, text in found if level == "emerg"]
    warnings = dict.fromkeys(text for level, text in found if level == "warn")
    return complaints[0] if complaints else "\n".join(warnings)


def visited(visit: Visit, port: int) -> str:
    """
    Do what a client does.

    @return: what it heard, with C{|} between its readings, and C{reset} where the connection broke.
    """
    heard: list[str] = []
    with closing(socket.create_connection(("127.0.0.1", port), PATIENCE, source_address=(visit.source, 0))) as client:
        own = str(client.getsockname()[1])
        try:
            for act, data in visit.acts:
                _act(client, act, data, heard)
        except (ConnectionResetError, BrokenPipeError):
            heard.append("reset")
    return "|".join(heard).replace(own, "@client@")


def _act(client: socket.socket, act: str, data: bytes, heard: list[str]) -> None:
    """
    Do one thing.

    @raise OSError: the connection broke.
    """
    if act == "send":
        client.sendall(data)
    elif act == "hear":
        heard.append(read_exactly(client, len(data)).decode("latin-1"))
    elif act == "half":
        client.shutdown(socket.SHUT_WR)
    elif act == "drop":
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_ZERO)
    else:
        heard.append("")
        while block := client.recv(65536):
            heard[-1] += block.decode("latin-1")
