"""
Where does the time of a row go? The same work once more under observers, after it was measured: who watches slows.

Strategy: perf tells the shares of the kernel, of OpenSSL and of the interpreter, and their hottest functions; py-spy
tells which functions of ours the interpreter was in. Each gets a run of its own; what is not installed is left out.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from benchmarks.bench import Bench, checked
from benchmarks.proxies import Kind, Proxy
from benchmarks.rows import Row

MOST: Final = 25
"""Lines of each list."""
KINDS: Final = (
    ("kernel", re.compile(r"^\[(kernel|guest|vdso)|^\[k\]")),
    ("OpenSSL", re.compile(r"_rust\.abi3|^lib(ssl|crypto)|_openssl")),
    ("our compiled modules", re.compile(r"sniproxy|__mypyc")),
    ("interpreter and its library", re.compile(r"^(lib)?python|\.cpython-|^_?[a-z]+\.so$")),
)
INTERPRETED: Final = ("sniproxy", "portable")
OTHER: Final = "C library and others"


def profiler(name: str) -> str | None:
    """
    @return: the path of perf or py-spy; the latter may stand beside the interpreter.
    """
    return shutil.which(name) or shutil.which(name, path=os.path.dirname(sys.executable))


def profile(row: Row, kind: Kind, bench: Bench) -> str:
    """
    Do the work of a row under each profiler there is.

    @return: a few dozen lines.
    @raise Trouble: the work was not done.
    """
    amount = row.scaled(bench.scale)
    found = [f"{row.name}: {row.title}, {kind.name}"]

    def watched(begin: Callable[[Proxy, str], list[str]], tell: Callable[[str], str]) -> None:
        with bench.running(kind) as proxy, tempfile.TemporaryDirectory() as folder:
            bench.warm(row, proxy)
            result = os.path.join(folder, "profile")
            with observing(begin(proxy, result)), bench.clients(row, proxy, amount) as clients:
                if row.kind == "hold":
                    assert clients.stdout is not None
                    clients.stdout.readline()
                said, _ = clients.communicate()
            checked(row, amount, said)
            found.append(tell(result))

    perf, spy = profiler("perf"), profiler("py-spy")
    if perf is not None:
        watched(lambda proxy, result: _perf(perf, proxy, result), lambda result: shares(perf_lines(perf, result)))
    if spy is not None and kind.name in INTERPRETED:
        watched(lambda proxy, result: _spy(spy, proxy, result), functions_of)
    if perf is None and spy is None:
        found.append("neither perf nor py-spy is installed")
    return "\n\n".join(found) + "\n"


def _perf(perf: str, proxy: Proxy, result: str) -> list[str]:
    members = ",".join(map(str, proxy.processes()))
    return [perf, "record", "--quiet", "--event", "cpu-clock", "--freq", "499", "--pid", members, "--output", result]


def _spy(spy: str, proxy: Proxy, result: str) -> list[str]:
    how = [
        "--format",
        "raw",
        "--function",
        "--rate",
        "200",
        "--duration",
        "unlimited",
        "--nonblocking",
        "--subprocesses",
    ]
    return [spy, "record", *how, "--pid", str(proxy.processes()[0]), "--output", result]


@contextmanager
def observing(command: Sequence[str]) -> Iterator[None]:
    """
    A profiler at work for the length of a C{with}; what it says besides is dropped.
    """
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        time.sleep(0.5)  # until it watches
        try:
            yield
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(30)


def perf_lines(perf: str, result: str) -> list[str]:
    """
    @return: lines of a share, an object and a symbol, divided by semicolons.
    """
    done = subprocess.run(
        [perf, "report", "--stdio", "--quiet", "--no-children", "--sort", "dso,symbol", "-t", ";", "--input", result],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    return done.stdout.splitlines()


def shares(lines: Iterable[str]) -> str:
    """
    @param lines: see L{perf_lines}.
    @return: whose time it was, and the hottest functions.
    """
    whose: Counter[str] = Counter()
    hottest: list[tuple[float, str]] = []
    for line in lines:
        match = re.match(r"\s*([\d.]+)%?\s*;([^;]*);([^;]*)", line)
        if match is None:
            continue
        share, where, symbol = float(match[1]), match[2].strip(), match[3].strip()
        owner = next((name for name, pattern in KINDS if pattern.search(where)), OTHER)
        whose[owner] += share  # type: ignore[assignment]
        hottest.append((share, f"{symbol.removeprefix('[.] ').removeprefix('[k] ')}  ({where})"))
    if not hottest:
        return "perf: no samples"
    told = ["whose time, % of processor time (perf, cpu-clock)"]
    told += [f"  {share:5.1f}  {name}" for name, share in whose.most_common()]
    told += ["", "hottest functions, %"]
    told += [f"  {share:5.1f}  {symbol}" for share, symbol in sorted(hottest, reverse=True)[:MOST]]
    return "\n".join(told)


def functions_of(path: str) -> str:
    """
    @param path: what py-spy wrote.
    """
    if not os.path.exists(path):
        return "py-spy: no samples"
    return functions(Path(path).read_text("utf-8", "replace").splitlines())


def functions(lines: Iterable[str]) -> str:
    """
    @param lines: stacks of frames divided by semicolons, outermost first, each with a number of samples.
    @return: the functions in which time was spent by themselves, and ours with all that they called.
    """
    own: Counter[str] = Counter()
    whole: Counter[str] = Counter()
    for line in lines:
        stack, _, number = line.rpartition(" ")
        if not number.isdigit():
            continue
        frames = [frame for frame in stack.split(";") if not frame.startswith(("process ", "thread "))]
        if not frames:
            continue
        own[frames[-1]] += int(number)
        for frame in set(frames):
            if "(sniproxy/" in frame:
                whole[frame] += int(number)
    samples = own.total()
    if not samples:
        return "py-spy: no samples"
    told = [f"functions of Python, % of {samples} samples (py-spy)"]
    for title, counter in (("by themselves", own), ("ours, with what they called", whole)):
        told += ["", f"  {title}"]
        told += [f"  {100 * number / samples:5.1f}  {frame}" for frame, number in counter.most_common(MOST)]
    return "\n".join(told)
