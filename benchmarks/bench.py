"""
How is a row measured? The proxies, the back end and the clients brought together, and one measurement taken.

Strategy: for each row the proxies run side by side on one core and take turns, a different one first in each round, so
that whatever the machine does in the meantime it does to all. A round is L{TURNS} turns of each, for what shares the
machine comes and goes within seconds. Only the work is counted: not the start, nor the first
connections, nor the end.
"""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final

from benchmarks.layout import SERVICES, Layout
from benchmarks.proxies import Kind, Proxy, Trouble, listens, on_cores
from benchmarks.report import Measurement, Results, together
from benchmarks.rows import GB, Amount, Row

TURNS: Final = 4
"""Into so many parts the work of a round is cut, of one proxy after the other."""
WARMTH: Final = 0.01
"""The share of a full run that is done before the first round."""
HELD_BEFORE: Final = 16
"""Connections held once before memory is measured, so that what is made on first use is not counted."""
GLANCES: Final = 0.05
"""Seconds between two looks at a proxy's memory."""


@dataclass(frozen=True, slots=True)
class Bench:
    """
    What all measurements need.

    @ivar program: the load generator.
    @ivar layouts: by the names of the proxies.
    @ivar load_cores: where it and the runner run.
    @ivar proxy_cores: where the proxies run.
    @ivar scale: the share of a full run that is done.
    @ivar backends: process ids of the back end.
    """

    program: str
    layouts: Mapping[str, Layout]
    load_cores: frozenset[int]
    proxy_cores: frozenset[int]
    scale: float
    backends: list[int] = field(default_factory=list)

    @contextmanager
    def unbound(self) -> Iterator[Bench]:
        """
        The same, where everybody runs on all cores, for the length of a C{with}.
        """
        every = self.load_cores | self.proxy_cores
        members = (os.getpid(), *self.backends)
        for pid in members:
            os.sched_setaffinity(pid, every)
        try:
            yield replace(self, load_cores=every, proxy_cores=every)
        finally:
            for pid in members:
                os.sched_setaffinity(pid, self.load_cores)

    @contextmanager
    def running(self, kind: Kind, ready: Callable[[Layout], bool] | None = None) -> Iterator[Proxy]:
        """
        A proxy that runs for the length of a C{with}.

        @param ready: whether it is up; by default, whether it listens.
        """
        layout = self.layouts[kind.name]
        up = partial(listens, layout.ports["wrapped"]) if ready is None else partial(ready, layout)
        proxy = Proxy(kind, layout, self.proxy_cores, up)
        try:
            yield proxy
        finally:
            proxy.stop()

    @contextmanager
    def backend(self) -> Iterator[None]:
        """
        The back end of all proxies, for the length of a C{with}.
        """
        layout = next(iter(self.layouts.values()))
        arguments = [each for name in SERVICES for each in (f"--{name}", str(layout.ports[name]))]
        arguments += ["--tls-answer", str(layout.ports["secret"]), "--ca", layout.authority]
        arguments += ["--cert", layout.server.certificate, "--key", layout.server.key]
        with subprocess.Popen(
            [self.program, "backend", *arguments],
            stdout=subprocess.PIPE,
            encoding="utf-8",
            preexec_fn=on_cores(self.load_cores),
        ) as process:
            assert process.stdout is not None
            self.backends.append(process.pid)
            try:
                if not process.stdout.readline():
                    raise Trouble("the back end does not start")
                yield
            finally:
                process.terminate()
                self.backends.remove(process.pid)

    @contextmanager
    def clients(self, row: Row, proxy: Proxy, amount: Amount) -> Iterator[subprocess.Popen[str]]:
        """
        The clients of a row at their work; who leaves early ends it.
        """
        with subprocess.Popen(
            [self.program, *row.arguments(proxy.layout, amount)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
            preexec_fn=on_cores(self.load_cores),
        ) as process:
            try:
                yield process
            finally:
                if process.poll() is None:
                    process.kill()

    @contextmanager
    def holding(self, row: Row, proxy: Proxy, amount: Amount) -> Iterator[None]:
        """
        Connections held for the length of a C{with}.

        @raise Trouble: one was not held from the beginning to the end.
        """
        with self.clients(row, proxy, amount) as clients:
            assert clients.stdout is not None
            first = clients.stdout.readline()
            yield
            said, _ = clients.communicate()
        checked(row, amount, said or first)

    def work(self, row: Row, proxy: Proxy, amount: Amount) -> dict[str, Any]:
        """
        Let the clients do their work to its end.

        @return: their report.
        @raise Trouble: not all of it was done.
        """
        with self.clients(row, proxy, amount) as clients:
            said, _ = clients.communicate("\n" if row.apart else None)
        return checked(row, amount, said)

    def warm(self, row: Row, proxy: Proxy) -> None:
        """
        Do a little of a row's work; where memory is watched, as little as can be.
        """
        amount = row.scaled(WARMTH * self.scale)
        if row.watched:
            row, amount = replace(row, at_once=1), replace(amount, count=1, at_once=1)
        self.work(row, proxy, amount)

    def cost(self, row: Row, proxy: Proxy) -> Measurement:
        """
        Processor time for the work of a row, and how far memory grew where the row wants that watched.

        @raise Trouble: the work was not done well, or not logged.
        """
        amount = row.scaled(self.scale)
        lines, before = proxy.settle(), proxy.seconds()
        with growth(proxy) if row.watched else nothing() as grown, self.clients(row, proxy, amount) as clients:
            if row.apart:
                assert clients.stdout is not None
                clients.stdout.readline()
                time.sleep(0.05)
                before = proxy.seconds()
            said, _ = clients.communicate("\n" if row.apart else None)
        report = checked(row, amount, said)
        proxy.wait_for_sessions(lines + report["sessions"])
        spent = proxy.seconds() - before
        if row.kind == "bytes":
            proxy.check_bytes(amount, preread=not row.tls)
            rate = amount.bytes / report["seconds"] / (1 if row.piece else 1e6)
            cost = spent / amount.bytes * (1e6 if row.piece else GB)
            return Measurement(cost, rate, memory=max(grown, default=0))
        rate = amount.count / report["seconds"]
        return Measurement(spent / amount.count * 1e6, rate, report["p50_us"], report["p99_us"])

    def memory(self, row: Row, kind: Kind) -> Measurement:
        """
        Memory for each connection held, in a proxy that has just started.

        @raise Trouble: a connection was not held.
        """
        amount = row.scaled(self.scale)
        with self.running(kind) as proxy:
            self.work(row, proxy, Amount(HELD_BEFORE, HELD_BEFORE))
            proxy.settle()
            before = proxy.memory()
            with self.holding(row, proxy, amount):
                time.sleep(1)  # a proxy may give buffers back when a connection has been idle
                grown = proxy.memory() - before
        return Measurement(grown / 1024 / amount.count)


@contextmanager
def growth(proxy: Proxy) -> Iterator[list[int]]:
    """
    How many bytes of memory a proxy has more than at the beginning, seen again and again for the length of a C{with}.
    """
    seen: list[int] = []
    before, over = proxy.memory(), threading.Event()

    def watch() -> None:
        while not over.wait(GLANCES):
            try:
                seen.append(proxy.memory() - before)
            except OSError:
                return  # it has ended, of which others will tell

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield seen
    finally:
        over.set()
        watcher.join()


@contextmanager
def nothing() -> Iterator[list[int]]:
    """
    No looks.
    """
    yield []


def checked(row: Row, amount: Amount, said: str) -> dict[str, Any]:
    """
    @param said: by the load generator.
    @return: its report.
    @raise Trouble: it does not say that all was done.
    """
    if not said.strip():
        raise Trouble("the load generator has said nothing")
    report: dict[str, Any] = json.loads(said.splitlines()[-1])
    complaint = row.complaint(amount, report)
    if complaint:
        raise Trouble(complaint)
    return report


def turns(kinds: Sequence[Kind], rounds: int) -> Iterator[Kind]:
    """
    Who is measured when: each once a round, a different one first in each.
    """
    for number in range(rounds if kinds else 0):
        first = number % len(kinds)
        yield from (*kinds[first:], *kinds[:first])


def attempt(results: Results, row: str, kind: Kind, act: Callable[[], None], proxy: Proxy | None = None) -> None:
    """
    Do something of a row's. Who fails once is not asked again.

    @param proxy: whose last words tell more.
    """
    if (row, kind.name) in results.troubles:
        return
    try:
        act()
    except (Trouble, OSError) as trouble:
        words = proxy.last_words() if proxy is not None else ""
        results.fail(row, kind.name, f"{trouble}\n{words}".strip())


@dataclass(frozen=True, slots=True)
class Running:
    """
    The proxies of a row, up and warm.

    @ivar row: its name.
    @ivar results: what was measured.
    @ivar proxies: those that came up.
    """

    row: str
    results: Results
    proxies: dict[Kind, Proxy] = field(default_factory=dict)

    def start(self, kind: Kind, act: Callable[[], Proxy]) -> None:
        """
        @param act: starts it, and lets it do a little.
        """

        def started() -> None:
            self.proxies[kind] = act()

        attempt(self.results, self.row, kind, started)

    def measure(self, rounds: int, act: Callable[[Proxy], Measurement]) -> None:
        """
        Take all measurements.

        @param act: takes a part of one.
        """
        for _ in range(rounds):
            parts: dict[str, list[Measurement]] = {kind.name: [] for kind in self.proxies}
            for kind in turns(list(self.proxies), TURNS):
                self._take(kind, act, parts[kind.name])
            for name, found in parts.items():
                if (self.row, name) not in self.results.troubles:
                    self.results.add(self.row, name, together(found))

    def _take(self, kind: Kind, act: Callable[[Proxy], Measurement], found: list[Measurement]) -> None:
        proxy = self.proxies[kind]
        attempt(self.results, self.row, kind, lambda: found.append(act(proxy)), proxy)


def measure(row: Row, chosen: Sequence[Kind], bench: Bench, rounds: int, results: Results) -> None:
    """
    All rounds of one row.
    """
    chosen = [kind for kind in chosen if not kind.apart or row.portable]

    def held(kind: Kind) -> None:
        results.add(row.name, kind.name, bench.memory(row, kind))

    if row.kind == "hold":
        for kind in turns(chosen, rounds):
            attempt(results, row.name, kind, partial(held, kind))
        return
    part = replace(bench, scale=bench.scale / TURNS)
    with ExitStack() as stack:

        def up(kind: Kind) -> Proxy:
            proxy = stack.enter_context(part.running(kind))
            part.warm(row, proxy)
            proxy.check_place(part.proxy_cores)
            return proxy

        running = Running(row.name, results)
        for kind in chosen:
            running.start(kind, partial(up, kind))
        running.measure(rounds, partial(part.cost, row))
