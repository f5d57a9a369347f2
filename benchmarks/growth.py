"""
What does a connection cost as the work grows? The same work beside more sessions, behind a longer map, among more
servers; and how long a start and a reload take.

Strategy: for each size a proxy is started, does the work, and is reloaded, all within one round; growth is the quotient
of the biggest and the smallest within a round. A reload is over when what it brings answers; how long it keeps others
waiting is the longest answer of what was there before.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from statistics import median
from typing import Final

from benchmarks import grown
from benchmarks.bench import HELD_BEFORE, Bench, attempt, turns
from benchmarks.layout import Layout
from benchmarks.proxies import Kind, Proxy, Trouble
from benchmarks.report import NOTHING, Measurement, Results, figure, table
from benchmarks.rows import LEAST_HELD, Amount, Row

MOST_ROUNDS: Final = 3
"""Quotients of one program vary less than those of two."""
PATIENCE: Final = 60.0
REQUEST: Final = b"r" * 64
HELD: Final = Row("held", "held sessions", "hold", "passed", server_name="echo.example.com")


@dataclass(frozen=True, slots=True)
class Growth:
    """
    One thing that grows.

    @ivar name: what C{--rows} calls it.
    @ivar title: what the page calls it.
    @ivar what: what is counted by the sizes.
    @ivar sizes: from the smallest to the biggest.
    @ivar configuration: writes the file.
    @ivar work: the rows done at each size.
    @ivar programs: those that can.
    @ivar held: whether the size is that of sessions held meanwhile.
    """

    name: str
    title: str
    what: str
    sizes: tuple[int, ...]
    configuration: grown.Configuration
    work: Callable[[int], Sequence[Row]]
    programs: tuple[str, ...] = ("sniproxy", "nginx")
    held: bool = False

    def measure(self, kinds: Sequence[Kind], bench: Bench, rounds: int, results: Results) -> None:
        """
        All rounds of all sizes.
        """
        able = [kind for kind in kinds if kind.name in self.programs]
        for kind in turns(able, min(rounds, MOST_ROUNDS)) if able else ():
            act = self._beside if self.held else self._through
            attempt(results, self.name, kind, partial(act, kind, bench, results))

    def _proxy(self, kind: Kind, size: int) -> Kind:
        return replace(kind, configuration=lambda layout, folder: self.configuration(layout, folder, size, "before"))

    def _through(self, kind: Kind, bench: Bench, results: Results) -> None:
        for size in self.sizes:
            with bench.running(self._proxy(kind, size), partial(answers, "before")) as proxy:
                self._take(results, kind, "start, ms", size, proxy.start * 1000)
                self._take(results, kind, "memory, MiB", size, proxy.memory() / 2**20)
                for row in self.work(size):
                    bench.warm(row, proxy)
                    results.add(self._key(row.title, size), kind.name, bench.cost(row, proxy))
                text = self.configuration(proxy.layout, proxy.folder, size, "after")
                whole, longest = reload(proxy, text)
                self._take(results, kind, "reload, ms", size, whole * 1000)
                self._take(results, kind, "longest wait of others meanwhile, ms", size, longest * 1000)

    def _beside(self, kind: Kind, bench: Bench, results: Results) -> None:
        for size in self.sizes:
            beside, over = self.work(size)
            with bench.running(self._proxy(kind, size), partial(answers, "before")) as proxy:
                bench.work(HELD, proxy, Amount(HELD_BEFORE, HELD_BEFORE))
                proxy.settle()
                before = proxy.memory()
                with bench.holding(HELD, proxy, Amount(size, size)):
                    if size >= LEAST_HELD:
                        each = (proxy.memory() - before) / size
                        self._take(results, kind, "memory of a session, KiB", size, each / 1024)
                    bench.warm(beside, proxy)
                    results.add(self._key(beside.title, size), kind.name, bench.cost(beside, proxy))
                results.add(self._key(over.title, size), kind.name, bench.cost(over, proxy))

    def _key(self, title: str, size: int) -> str:
        return f"{self.name} {title} {size}"

    def _take(self, results: Results, kind: Kind, title: str, size: int, value: float) -> None:
        results.add(self._key(title, size), kind.name, Measurement(value))

    def section(self, kinds: Sequence[Kind], results: Results) -> str:
        """
        Its part of the page.
        """
        lines = [[f"{self.what}:", "", *(f"{size:,}" for size in self.sizes), "growth"]]
        titles = [f"{row.title}, µs" for row in self.work(self.sizes[0])]
        titles += ["memory of a session, KiB"] if self.held else []
        titles += (
            [] if self.held else ["start, ms", "reload, ms", "longest wait of others meanwhile, ms", "memory, MiB"]
        )
        for title in titles:
            for kind in kinds:
                if kind.name in self.programs:
                    lines.append([title, kind.name, *self._line(title.removesuffix(", µs"), kind.name, results)])
        return f"### {self.title}\n\n{table(lines)}\n"

    def _line(self, title: str, program: str, results: Results) -> list[str]:
        if (self.name, program) in results.troubles:
            return [NOTHING] * (len(self.sizes) + 1)
        found = [results.whole(self._key(title, size), program) for size in self.sizes]
        known = [[each.cost for each in measured] for measured in found if measured]
        middle = [figure(median(each.cost for each in measured)) if measured else NOTHING for measured in found]
        if len(known) < 2 or not all(known[0]):
            return [*middle, NOTHING]
        shares = [last / first for first, last in zip(known[0], known[-1], strict=True)]
        return [*middle, f"{median(shares):.2f}"]


def answers(which: str, layout: Layout) -> bool:
    """
    Whether a plain listener of a proxy brings an answer.

    @raise Trouble: it takes the connection and brings none.
    """
    try:
        with socket.create_connection(("127.0.0.1", layout.ports[which]), PATIENCE) as client:
            client.sendall(REQUEST)
            if not client.recv(len(REQUEST)):
                raise Trouble(f"no answer from the listener {which}")
    except ConnectionRefusedError:
        return False
    except OSError as error:
        raise Trouble(f"the listener {which}: {error}") from None
    return True


def reload(proxy: Proxy, configuration: str) -> tuple[float, float]:
    """
    @return: seconds until the new configuration is at work, and the longest that somebody else waited meanwhile.
    @raise Trouble: it does not come to work, or others get no answer.
    """
    begun, longest = time.monotonic(), 0.0
    proxy.reload(configuration)
    while True:
        asked = time.monotonic()
        if not answers("steady", proxy.layout):
            raise Trouble("a reload has closed what it was to keep open")
        longest = max(longest, time.monotonic() - asked)
        if answers("after", proxy.layout):
            return time.monotonic() - begun, longest
        if time.monotonic() > begun + PATIENCE:
            raise Trouble("a reload does not come to work")
        time.sleep(0.001)


def _connections(size: int) -> Sequence[Row]:
    return (
        Row(
            "connection",
            "connection",
            "answer",
            "passed",
            server_name=grown.name(size - 1),
            count=6_000,
            at_once=64,
        ),
    )


def _handshakes(size: int) -> Sequence[Row]:
    return (
        Row(
            "handshake",
            "full handshake",
            "answer",
            "ended",
            server_name=grown.name(size - 1),
            tls=True,
            count=1_500,
            at_once=64,
        ),
    )


def _among(size: int) -> Sequence[Row]:
    return (
        replace(_connections(size)[0], title="connection while they are idle", server_name="answer.example.com"),
        Row(
            "trip",
            "64-byte round trip over all of them",
            "echo",
            "passed",
            server_name="echo.example.com",
            count=50_000,
            at_once=size,
            apart=True,
        ),
    )


_OURS: Final = ("sniproxy",)
_FEW: Final = (10, 1_000)
GROWTHS: Final = (
    Growth("sessions", "Sessions", "open sessions", (10, 1_000, 8_000), grown.sessions, _among, held=True),
    Growth("map", "Map entries", "entries, a tenth of them wildcards", (10, 1_000, 100_000), grown.table, _connections),
    Growth("listens", "Servers, a listener each", "servers", _FEW, grown.listening, _connections),
    Growth("tls-listens", "Servers that end TLS, a listener each", "servers", _FEW, grown.listening_ended, _handshakes),
    Growth("names", "Servers by name, one listener", "servers", _FEW, grown.named, _connections, _OURS),
    Growth("tls-names", "Servers that end TLS by name", "servers", _FEW, grown.named_ended, _handshakes, _OURS),
)
