"""
What does a second worker bring? The rate of passed-through connections, with one and with two, everybody on all cores.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from statistics import median
from typing import Final

from benchmarks.bench import Bench, attempt, turns
from benchmarks.layout import Layout
from benchmarks.proxies import Kind
from benchmarks.report import NOTHING, Results, figure, spread, table
from benchmarks.rows import Row

MOST_ROUNDS: Final = 5


@dataclass(frozen=True, slots=True)
class Workers:
    """
    Two workers against one. Nobody is bound to a core: clients and back end run beside the proxy.

    @ivar name: what C{--rows} calls it.
    @ivar row: the work.
    """

    name: str
    row: Row

    def measure(self, kinds: Sequence[Kind], bench: Bench, rounds: int, results: Results) -> None:
        """
        All rounds, each with one worker and with two.
        """

        def one(kind: Kind, free: Bench) -> None:
            for number in (1, 2):
                several = replace(kind, configuration=_with(kind.configuration, number))
                with free.running(several) as proxy:
                    free.warm(self.row, proxy)
                    results.add(f"{self.name} {number}", kind.name, free.cost(self.row, proxy))

        with ExitStack() as stack:
            free = stack.enter_context(bench.unbound())
            for kind in turns([each for each in kinds if not each.apart], min(rounds, MOST_ROUNDS)):
                attempt(results, self.name, kind, partial(one, kind, free))

    def gain(self, program: str, results: Results) -> list[float]:
        """
        How many times the rate, of each round.
        """
        if (self.name, program) in results.troubles:
            return []
        rates = ([each.rate for each in results.whole(f"{self.name} {number}", program)] for number in (1, 2))
        return [two / one for one, two in zip(*rates, strict=True)]

    def section(self, kinds: Sequence[Kind], results: Results) -> str:
        """
        Its part of the page.
        """
        head = ["proxy", "one worker, connections/s", "two workers, connections/s", "times (must: more than 1)"]
        lines = [[*head, "cost with one, µs", "cost with two, µs"]]
        for kind in kinds:
            if kind.apart:
                continue
            gains = self.gain(kind.name, results)
            if not gains:
                lines.append([kind.name, *[NOTHING] * 5])
                continue
            found = [results.whole(f"{self.name} {number}", kind.name) for number in (1, 2)]
            rates = [figure(median(each.rate for each in measured)) for measured in found]
            costs = [figure(median(each.cost for each in measured)) for measured in found]
            lines.append([kind.name, *rates, spread(gains), *costs])
        return table(lines) + "\n"


def _with(configuration: Callable[..., str], workers: int) -> Callable[[Layout, str], str]:
    return lambda layout, folder: configuration(layout, folder, workers)


WORKERS: Final = Workers(
    "workers",
    Row(
        "two",
        "passed-through TLS connection",
        "answer",
        "passed",
        server_name="answer.example.com",
        count=10_000,
        at_once=64,
    ),
)
