"""
What does the proxy cost, beside nginx and HAProxy? C{python benchmarks/run.py} measures all rows and writes
docs/performance.md; C{--help} tells how to pick.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
if __name__ == "__main__":
    # Python put this folder first, whose names are nobody's business but ours.
    sys.path[0] = str(ROOT)

from benchmarks import machine, odd  # noqa: E402
from benchmarks.bench import Bench, measure  # noqa: E402
from benchmarks.growth import GROWTHS, Growth  # noqa: E402
from benchmarks.layout import make  # noqa: E402
from benchmarks.odd import SILENCE, STREAMS, Silence, Stream  # noqa: E402
from benchmarks.plot import picture  # noqa: E402
from benchmarks.profiles import profile  # noqa: E402
from benchmarks.proxies import Kind, Trouble, kinds  # noqa: E402
from benchmarks.report import BASE, Results, figures, kept_notes, page, ratios  # noqa: E402
from benchmarks.rows import ROWS, Row  # noqa: E402
from benchmarks.web import WEBS, Web, lines_of  # noqa: E402
from benchmarks.workers import WORKERS, Workers  # noqa: E402

Study = Workers | Growth | Stream | Silence | Web

PAGE: Final = "performance.md"
PLOT: Final = "performance.svg"
STUDIES: Final[tuple[Study, ...]] = (WORKERS, *GROWTHS, *STREAMS, SILENCE, *WEBS)
PROFILED: Final = ("sniproxy", "portable")


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
    names = [each.name for each in (*ROWS, *STUDIES)]
    every = [kind.name for kind in kinds()]
    parser = argparse.ArgumentParser(description="Measure the proxy beside nginx and HAProxy.")
    parser.add_argument("--rows", default=",".join(names), help=f"which of {', '.join(names)}")
    parser.add_argument("--proxies", default=",".join(every), help=f"which of {', '.join(every)}")
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured (5)")
    parser.add_argument(
        "--seconds-scale", type=float, default=1.0, help="share of a full run's work, 0.1 for a quick look"
    )
    parser.add_argument("--output", help=f"folder for {PAGE} and {PLOT}; docs/ for a full run, none for any other")
    parser.add_argument(
        "--profile", action="store_true", help="then profile each row of the table; into the output, or build/profiles"
    )
    parser.add_argument("--install", action="store_true", help="install missing Debian packages")
    parser.add_argument("--keep", help="a folder to work in and leave as it is, to look at logs and configurations")
    found = parser.parse_args(arguments)
    asked_rows, asked_proxies = found.rows.split(","), found.proxies.split(",")
    unknown = [each for each in asked_rows if each not in names] + [each for each in asked_proxies if each not in every]
    if unknown:
        parser.error(f"there is no {', '.join(unknown)}")
    if found.rounds < 1 or found.seconds_scale <= 0:
        parser.error("nothing to measure")
    found.rows = [row for row in ROWS if row.name in asked_rows]
    found.studies = [study for study in STUDIES if study.name in asked_rows]
    found.proxies = [kind for kind in kinds() if kind.name in asked_proxies]
    found.profiles = Path(found.output) if found.output else ROOT / "build" / "profiles"
    full = {*names, *every} == {*asked_rows, *asked_proxies} and found.seconds_scale >= 1
    if found.output is None and full:
        found.output = str(ROOT / "docs")
    return found


def sections(rows: Sequence[Row], studies: Sequence[Study], chosen: Sequence[Kind], results: Results) -> dict[str, str]:
    """
    What the page says below its table, by headings; only what was measured.
    """
    found = {}
    workers = [each for each in studies if isinstance(each, Workers)]
    growths = [each for each in studies if isinstance(each, Growth)]
    streams = [each for each in studies if isinstance(each, Stream)]
    silence = [each for each in studies if isinstance(each, Silence)]
    webs = [each for each in studies if isinstance(each, Web)]
    if webs:
        found["HTTP"] = WEB + lines_of(webs, results)
    if workers:
        found["Two workers"] = TWO + workers[0].section(chosen, results)
    if growths:
        found["As work grows"] = GROWN + "\n".join(each.section(chosen, results) for each in growths)
    if streams or silence:
        found["Large and odd"] = ODD + odd.section(streams, silence, chosen, results)
    apart = [kind.name for kind in chosen if kind.apart]
    beside = [BASE] if BASE in (kind.name for kind in chosen) else []
    carried = [row for row in rows if row.portable]
    if apart and carried:
        share = ratios(carried, [*apart, *beside], results, bars=False) + "\n\n" if beside else ""
        found["The portable relay"] = PORTABLE + share + figures(carried, apart, results) + "\n"
    return found


WEB: Final = """\
Requests over kept connections of clients, to an upstream of HTTPS that asks for the proxy's certificate and is
verified, over kept connections too; a line in the access log for each. Twisted's own reverse proxy, told beside, speaks
plain HTTP to its upstream, on a connection for each request.

"""
TWO: Final = """\
The rate of passed-through connections, 64 at a time. Nobody is bound to a core: clients and back end share both cores
with the proxy, so that there is less than a second core to gain.

"""
GROWN: Final = """\
The same work with more around it; growth is the cost at the biggest size as a share of the cost at the smallest, the
median of the rounds. Where there is no line for nginx, Debian's has no such thing. The longest wait is that of a
connection to a server that was there before, while the reload went on.

"""
ODD: Final = """\
Memory is all that the proxy's processes hold and no file backs, seen every 50 ms; kernel buffers do not count. A proxy
that grows by more than 1 MiB for a session has no figure. The slow read less than a tenth of what the back end could
write. Silent clients have connected and said nothing, or half of a ClientHello.

"""
PORTABLE: Final = """\
Where a platform has no epoll or no splice(2), sessions run on Twisted's own transports. This is the same program on
this machine, told that there is no splice(2) ([benchmarks/portable.py](../benchmarks/portable.py)), in turn with the
others in the same rounds.

"""


def write(folder: Path, chosen: argparse.Namespace, results: Results, told: Mapping[str, str]) -> None:
    """
    Write the page and its picture; notes below the page stay.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / PAGE
    names = [kind.name for kind in chosen.proxies if not kind.apart]
    notes = kept_notes(path.read_text("utf-8") if path.exists() else "")
    more = sections(chosen.rows, chosen.studies, chosen.proxies, results)
    path.write_text(page(chosen.rows, names, results, told, chosen.rounds, PLOT, more, notes), "utf-8")
    (folder / PLOT).write_text(picture(chosen.rows, names, results), "utf-8")


def profiled(row: Row, chosen: argparse.Namespace, bench: Bench) -> None:
    """
    Write a row's profiles, a file for each of our programs.
    """
    chosen.profiles.mkdir(parents=True, exist_ok=True)
    for kind in chosen.proxies:
        if kind.name in PROFILED and (row.portable or not kind.apart):
            try:
                text = profile(row, kind, bench)
            except Trouble as trouble:
                text = f"{row.name}, {kind.name}: {trouble}\n"
            path = chosen.profiles / f"profile-{row.name}-{kind.name}.txt"
            path.write_text(text, "utf-8")
            print(path, flush=True)


def cores() -> tuple[frozenset[int], frozenset[int]]:
    """
    @return: those of the load, and those of the proxies.
    """
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < 2:
        print("One core only: load and proxies share it, and the figures are worth little.", file=sys.stderr)
    return frozenset(allowed[:1]), frozenset(allowed[-1:])


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
    chosen.proxies = [programs[name] for name in names]  # with what was just installed
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    load_cores, proxy_cores = cores()
    told = machine.described(chosen.proxies, chosen.seconds_scale)
    begun = time.monotonic()
    results = Results()
    with ExitStack() as stack:
        folder = (
            os.path.abspath(chosen.keep)
            if chosen.keep
            else stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-"))
        )
        os.makedirs(folder, exist_ok=True)
        os.sched_setaffinity(0, load_cores)
        bench = Bench(compile_load(folder), make(folder, names), load_cores, proxy_cores, chosen.seconds_scale)
        stack.enter_context(bench.backend())
        for row in chosen.rows:
            measure(row, chosen.proxies, bench, chosen.rounds, results)
            here = [name for name in names if row.portable or not programs[name].apart]
            print(figures([row], here, results).partition("\n")[2].partition("\n")[2], flush=True)
            if chosen.profile:
                profiled(row, chosen, bench)
        for study in chosen.studies:
            study.measure(chosen.proxies, bench, chosen.rounds, results)
            told_now = sections((), [study], chosen.proxies, results)
            print("\n" + "\n".join(text.partition("\n\n")[2] for text in told_now.values()), flush=True)
    if chosen.rows:
        print()
        print(ratios(chosen.rows, [name for name in names if not programs[name].apart], results))
    for (row_name, proxy), reason in results.troubles.items():
        print(f"\n{row_name}, {proxy}: {reason}", file=sys.stderr)
    told["the run took"] = f"{(time.monotonic() - begun) / 60:.0f} minutes"
    if chosen.output:
        write(Path(chosen.output), chosen, results, told)
    return 1 if results.troubles else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
