"""
What does the proxy cost, beside nginx and HAProxy? C{python benchmarks/run.py} measures all rows and writes
docs/performance.md; C{--help} tells how to pick.

Strategy: for each row the proxies run side by side on one core and take turns, a different one first in each round, so
that whatever the machine does in the meantime it does to all. Only the work is counted: not the start, nor the first
connections, nor the end.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
if __name__ == "__main__":
    # Python put this folder first, whose names are nobody's business but ours.
    sys.path[0] = str(ROOT)

from benchmarks import machine  # noqa: E402
from benchmarks.layout import SERVICES, Layout, make  # noqa: E402
from benchmarks.plot import picture  # noqa: E402
from benchmarks.proxies import Kind, Proxy, Trouble, kinds, on_core  # noqa: E402
from benchmarks.report import Measurement, Results, figures, kept_notes, page, ratios  # noqa: E402
from benchmarks.rows import GB, ROWS, Amount, Row  # noqa: E402

PAGE: Final = "performance.md"
PLOT: Final = "performance.svg"
WARMTH: Final = 0.01
"""The share of a full run that is done before the first round."""
HELD_BEFORE: Final = 16
"""Connections held once before memory is measured, so that what is made on first use is not counted."""


@dataclass(frozen=True, slots=True)
class Bench:
    """
    What all measurements need.

    @ivar program: the load generator.
    @ivar layouts: by the names of the proxies.
    @ivar load_core: where it and the runner run; None on a machine with one core.
    @ivar proxy_core: where the proxies run.
    @ivar scale: the share of a full run that is done.
    """

    program: str
    layouts: Mapping[str, Layout]
    load_core: int | None
    proxy_core: int | None
    scale: float

    @contextmanager
    def running(self, kind: Kind) -> Iterator[Proxy]:
        """
        A proxy that runs for the length of a C{with}.
        """
        proxy = Proxy(kind, self.layouts[kind.name], self.proxy_core)
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
            preexec_fn=on_core(self.load_core),
        ) as process:
            assert process.stdout is not None
            try:
                if not process.stdout.readline():
                    raise Trouble("the back end does not start")
                yield
            finally:
                process.terminate()

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
            preexec_fn=on_core(self.load_core),
        ) as process:
            try:
                yield process
            finally:
                if process.poll() is None:
                    process.kill()

    def work(self, row: Row, proxy: Proxy, amount: Amount) -> dict[str, Any]:
        """
        Let the clients do their work to its end.

        @return: their report.
        @raise Trouble: not all of it was done.
        """
        with self.clients(row, proxy, amount) as clients:
            said, _ = clients.communicate()
        return checked(row, amount, said)

    def cost(self, row: Row, proxy: Proxy) -> Measurement:
        """
        Processor time for the work of a row.

        @raise Trouble: the work was not done well, or not logged.
        """
        amount = row.scaled(self.scale)
        lines, before = proxy.settle(), proxy.seconds()
        report = self.work(row, proxy, amount)
        proxy.wait_for_sessions(lines + report["sessions"])
        spent = proxy.seconds() - before
        if row.kind == "bytes":
            return Measurement(spent / (amount.bytes / GB), amount.bytes / 1e6 / report["seconds"])
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
            with self.clients(row, proxy, amount) as clients:
                assert clients.stdout is not None
                first = clients.stdout.readline()
                time.sleep(1)  # a proxy may give buffers back when a connection has been idle
                grown = proxy.memory() - before
                said, _ = clients.communicate()
            checked(row, amount, said or first)
        return Measurement(grown / 1024 / amount.count)


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
    for number in range(rounds):
        first = number % len(kinds)
        yield from (*kinds[first:], *kinds[:first])


def measure(row: Row, chosen: Sequence[Kind], bench: Bench, rounds: int, results: Results) -> None:
    """
    All rounds of one row. A proxy that fails once is not asked again.
    """
    proxies: dict[str, Proxy] = {}
    failed: set[str] = set()

    def attempt(kind: Kind, act: Callable[[], None]) -> None:
        if kind.name in failed:
            return
        try:
            act()
        except Trouble as trouble:
            failed.add(kind.name)
            words = proxies[kind.name].last_words() if kind.name in proxies else ""
            results.fail(row.name, kind.name, f"{trouble}\n{words}".strip())

    with ExitStack() as stack:

        def start(kind: Kind) -> None:
            proxies[kind.name] = stack.enter_context(bench.running(kind))
            bench.work(row, proxies[kind.name], row.scaled(WARMTH * bench.scale))

        if row.kind != "hold":
            for kind in chosen:
                attempt(kind, partial(start, kind))
        for kind in turns(chosen, rounds):
            attempt(kind, partial(one, row, kind, proxies.get(kind.name), bench, results))


def one(row: Row, kind: Kind, proxy: Proxy | None, bench: Bench, results: Results) -> None:
    """
    One measurement.

    @param proxy: what runs already; None where one is to be started for this alone.
    """
    found = bench.memory(row, kind) if proxy is None else bench.cost(row, proxy)
    results.add(row.name, kind.name, found)


def compile_load(folder: str) -> str:
    """
    @return: the path of the load generator.
    @raise CalledProcessError: the compiler has said why.
    """
    program = os.path.join(folder, "load")
    source = os.path.join(os.path.dirname(__file__), "load.c")
    subprocess.run(["cc", "-O2", "-std=gnu11", "-o", program, source, "-lssl", "-lcrypto"], check=True)
    return program


def options(arguments: Sequence[str]) -> argparse.Namespace:
    """
    The command line.
    """
    names = [row.name for row in ROWS]
    every = [kind.name for kind in kinds()]
    parser = argparse.ArgumentParser(description="Measure the proxy beside nginx and HAProxy.")
    parser.add_argument("--rows", default=",".join(names), help=f"which of {', '.join(names)}")
    parser.add_argument("--proxies", default=",".join(every), help=f"which of {', '.join(every)}")
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured (5)")
    parser.add_argument(
        "--seconds-scale", type=float, default=1.0, help="share of a full run's work, 0.1 for a quick look"
    )
    parser.add_argument("--output", help=f"folder for {PAGE} and {PLOT}; docs/ for a full run, none for any other")
    parser.add_argument("--install", action="store_true", help="install missing Debian packages")
    parser.add_argument("--keep", help="a folder to work in and leave as it is, to look at logs and configurations")
    found = parser.parse_args(arguments)
    found.rows = [row for row in ROWS if row.name in found.rows.split(",")]
    found.proxies = [kind for kind in kinds() if kind.name in found.proxies.split(",")]
    if not found.rows or not found.proxies or found.rounds < 1 or found.seconds_scale <= 0:
        parser.error("nothing to measure")
    full = len(found.rows) == len(ROWS) and len(found.proxies) == len(every) and found.seconds_scale >= 1
    if found.output is None and full:
        found.output = str(ROOT / "docs")
    return found


def write(
    folder: Path, rows: Sequence[Row], names: Sequence[str], results: Results, told: Mapping[str, str], rounds: int
) -> None:
    """
    Write the page and its picture; notes below the page stay.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / PAGE
    notes = kept_notes(path.read_text("utf-8") if path.exists() else "")
    path.write_text(page(rows, names, results, told, rounds, PLOT, notes), "utf-8")
    (folder / PLOT).write_text(picture(rows, names, results), "utf-8")


def cores() -> tuple[int | None, int | None]:
    """
    @return: that of the load, and that of the proxies.
    """
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < 2:
        print("One core only: load and proxies share it, and the figures are worth little.", file=sys.stderr)
        return None, None
    return allowed[0], allowed[-1]


def main(arguments: Sequence[str]) -> int:
    """
    @return: 0; 1 when a row has no figure for some proxy; 2 when there was no measuring.
    """
    chosen = options(arguments)
    lacking = machine.missing()
    if lacking and chosen.install:
        machine.install(lacking)
        lacking = machine.missing()
    if lacking:
        print(f"missing: {' '.join(lacking)}; `--install` installs them, on Debian", file=sys.stderr)
        return 2
    names = [kind.name for kind in chosen.proxies]
    programs = {kind.name: kind for kind in kinds()}
    chosen.proxies = [programs[name] for name in names]
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    load_core, proxy_core = cores()
    told = machine.described(chosen.proxies, chosen.seconds_scale)
    results = Results()
    with ExitStack() as stack:
        folder = chosen.keep or stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-"))
        os.makedirs(folder, exist_ok=True)
        if load_core is not None:
            os.sched_setaffinity(0, {load_core})
        bench = Bench(compile_load(folder), make(folder, names), load_core, proxy_core, chosen.seconds_scale)
        stack.enter_context(bench.backend())
        for row in chosen.rows:
            measure(row, chosen.proxies, bench, chosen.rounds, results)
            print(figures([row], names, results).partition("\n")[2].partition("\n")[2], flush=True)
    print()
    print(ratios(chosen.rows, names, results))
    for (row_name, proxy), reason in results.troubles.items():
        print(f"\n{row_name}, {proxy}: {reason}", file=sys.stderr)
    if chosen.output:
        write(Path(chosen.output), chosen.rows, names, results, told, chosen.rounds)
    return 1 if results.troubles else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
