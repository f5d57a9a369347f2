"""
Do two programs do the same? One configuration and one script of a client's actions, given to nginx and to sniproxy;
what clients heard, what was logged and what the configuration test said is compared.

Strategy: what differs from run to run (ports, times, folders) is replaced by a word before anything is compared, the
same word in both. A case is data: the text of a C{stream} block with places for ports and paths, and visits, each a
tuple of acts. nginx stops at its first fault, so only the first one counts.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Final

from sniproxy.errors import ConfigErrors
from sniproxy.service.load import load
from tests.support.ports import free_port
from tests.support.programs import need, read_text, run, write_text
from tests.support.proxies import (
    NEWER_WORDS,
    NGINX,
    SNIPROXY,
    Kind,
    Line,
    Proxy,
    ProxyTestCase,
    command,
    fill,
    prelude,
    read_lines,
)
from tests.support.stage import furnished
from tests.support.visits import Purse, Visit, visited

LEVELS: Final = ("emerg", "alert", "crit", "error", "warn", "info")
"""Those that operators parse. The notices are about processes, and those differ."""

USUAL: Final = "'$remote_addr $protocol $status $bytes_received $bytes_sent \"$upstream_addr\"';"

_VERDICT: Final = re.compile(r"\[(?P<level>emerg|warn)\] ?(?:\d+#\d+: )?(?P<text>.*)")
_OWN_PORT: Final = re.compile(r"((?:client|proxy) (?:127\.\d+\.\d+\.\d+|\[[0-9a-f:.]+\])):\d+(?= connected)")
_OF_PROCESSES: Final = re.compile(r"signal|worker|process|exit|using|start|built|OS:|getrlimit|reconfigur")


@dataclass(frozen=True)
class Case:
    """
    @ivar text: the inside of C{stream}; C{@p0@} … are ports, C{@u0@} … such for datagrams, C{@socket@} is a path for a
        unix socket, C{@folder@} a folder, whose logs are compared (of C{error*} what operators parse), and the other
        places are those of L{tests.support.stage}.
    @ivar format: what the access log has; empty for none.
    @ivar but: what is made the same in all lines of both: a pattern, and what stands for it; an
        error that becomes empty is none. For differences that are named.
    """

    name: str
    text: str
    visits: tuple[Visit, ...] = (Visit(),)
    format: str = USUAL
    but: tuple[tuple[str, str], ...] = ()


@dataclass
class Seen:
    """
    What one of the two has done.
    """

    heard: list[str]
    access: list[str]
    errors: list[str]


@dataclass(frozen=True)
class Run:
    """
    One of the two, running.

    @ivar folder: where it has its logs.
    @ivar values: what stands in its places.
    """

    proxy: Proxy
    folder: str
    values: Mapping[str, object]


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

    def check(self, cases: Sequence[Case]) -> None:
        """
        Both do the same in all cases.
        """
        found = [each for case in cases for each in self.compare(case)]
        if found:
            self.fail("\n".join(found))

    def check_verdicts(self, texts: Sequence[str]) -> None:
        """
        Both say the same of all configurations. C{@p@} is a port.
        """
        values = {"p": free_port(), "folder": self.folder}
        found = [
            each
            for number, text in enumerate(texts)
            for each in self.compare_verdicts(str(number), fill(text, **values))
        ]
        if found:
            self.fail("\n".join(found))

    def enter(self, kind: Kind, case: Case, values: Mapping[str, object]) -> Run:
        """
        Start one of the two with a case.

        @param values: those of L{furnished}.
        """
        slug = re.sub(r"\W+", "-", case.name)
        folder = self.path(f"{kind}-{slug}")
        write_text(f"{folder}/made", "")
        own: dict[str, object] = {"folder": folder, "socket": self.socket_path("s")}
        for letter, type_ in (("p", socket.SOCK_STREAM), ("u", socket.SOCK_DGRAM)):
            count = 1 + max((int(each) for each in re.findall(rf"@{letter}(\d+)@", case.text)), default=-1)
            own.update({f"{letter}{number}": free_port(type_) for number in range(count)})
        head = f"log_format seen {case.format} access_log @folder@/access.log seen;" if case.format else ""
        text = fill(f"stream {{\n{head}{case.text}\n}}\n", **values, **own)
        return Run(self.proxy(text, f"{kind}-{slug}", kind=kind), folder, {**values, **own})

    def compare(self, case: Case) -> list[str]:
        """
        Where something is not the same, look again: on a busy machine the moment may decide.

        @return: what is not the same, in words; empty where all is.
        """
        return self.compare_once(case) and self.compare_once(replace(case, name=f"{case.name} again"))

    def compare_once(self, case: Case) -> list[str]:
        """
        @see: L{compare}
        """
        values = furnished(self)
        runs = [self.enter(kind, case, values) for kind in (NGINX, SNIPROXY)]
        with ThreadPoolExecutor(2) as pool:
            theirs, ours = pool.map(lambda run: seen(run, case), runs)
        found = [
            f"{case.name}: {visit}\n    nginx: {nginx[:300]!r}\n    we:    {we[:300]!r}"
            for visit, nginx, we in zip(each_visit(case), theirs.heard, ours.heard, strict=True)
            if nginx != we
        ]
        for what, nginx, we in (("access", theirs.access, ours.access), ("errors", theirs.errors, ours.errors)):
            left = _apart(nginx, we)
            if any(left):
                found.append("\n    ".join((f"{case.name}: {what}", "nginx:", *left[0], "we:", *left[1])))
        return found


def each_visit(case: Case) -> list[Visit]:
    """
    All visits, in order, each as often as it is made.
    """
    return [visit for visit in case.visits for _ in range(visit.times)]


def seen(run: Run, case: Case) -> Seen:
    """
    Make all visits, and read what was logged when it has ended.
    """
    purse = Purse(run.values)
    told = [
        visited(visit, int(str(run.values[f"{'u' if visit.udp else 'p'}{visit.port}"])), purse)
        for visit in each_visit(case)
    ]
    run.proxy.quit()  # it ends when all sessions have, and their last lines are written
    run.proxy.program.wait()
    words = {str(value): f"@{name}@" for name, value in run.values.items()}
    normal = re.compile(r"(?<!\w)(?:" + "|".join(map(re.escape, sorted(words, key=len, reverse=True))) + r")(?!\w)")

    def plain(line: str) -> str:
        line = normal.sub(lambda found: words[found[0]], _OWN_PORT.sub("\\1", line))
        for pattern, word in (*NEWER_WORDS, *((re.compile(each), word) for each, word in case.but)):
            line = pattern.sub(word, line)
        return line

    def errors_in(lines: Sequence[Line], before: str = "") -> list[str]:
        return [f"{before}{line}" for line in lines if line.level in LEVELS and not _OF_PROCESSES.search(line.text)]

    errors, access = errors_in(run.proxy.lines()), []
    for name in sorted(os.listdir(run.folder)):
        path = os.path.join(run.folder, name)
        if name.startswith("error"):
            errors += errors_in(read_lines(path), f"{name}: ")
        elif name.endswith(".log"):
            access += [line if name == "access.log" else f"{name}: {line}" for line in read_text(path).splitlines()]
    return Seen(
        [plain(text) for text in told],
        sorted(map(plain, access)),
        sorted(filter(None, map(plain, errors))),
    )


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
