"""
What do the measurements say? The arithmetic of the table, and the page that shows it.

Strategy: a ratio is taken within each round, where both programs met the same machine, and then the median of the
rounds; not the other way round, since a machine drifts from minute to minute. What people write below C{NOTES} in the
page is kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import harmonic_mean, mean, median
from typing import Final

from benchmarks.rows import Row

BASE: Final = "nginx"
"""All others are told as a share of this one."""
NOTHING: Final = "-"
NOTES: Final = "<!-- Notes: what stands below this line is written by hand and kept. -->"


@dataclass(frozen=True, slots=True)
class Measurement:
    """
    One row, once, through one proxy.

    @ivar cost: in the row's unit.
    @ivar rate: in the row's unit of rate; 0 where there is none.
    @ivar p50: of a connection or round trip as the client sees it, µs; 0 where that means nothing.
    @ivar p99: likewise.
    @ivar memory: bytes by which the proxy grew at most; 0 where nobody looked.
    """

    cost: float
    rate: float = 0.0
    p50: float = 0.0
    p99: float = 0.0
    memory: float = 0.0


def together(parts: Sequence[Measurement]) -> Measurement:
    """
    @param parts: of one measurement, at least one, with equal shares of its work.
    """
    rates = [part.rate for part in parts]
    return Measurement(
        mean(part.cost for part in parts),
        harmonic_mean(rates) if all(rates) else 0.0,
        median(part.p50 for part in parts),
        median(part.p99 for part in parts),
        max(part.memory for part in parts),
    )


@dataclass(slots=True)
class Results:
    """
    Of a run.

    @ivar measured: by row and proxy, one entry for each round; None where it failed.
    @ivar troubles: by row and proxy, what failed first.
    """

    measured: dict[tuple[str, str], list[Measurement | None]] = field(default_factory=dict)
    troubles: dict[tuple[str, str], str] = field(default_factory=dict)

    def add(self, row: str, proxy: str, measurement: Measurement) -> None:
        """
        Take the result of the next round.
        """
        self.measured.setdefault((row, proxy), []).append(measurement)

    def fail(self, row: str, proxy: str, reason: str) -> None:
        """
        Take the lack of one.
        """
        self.measured.setdefault((row, proxy), []).append(None)
        self.troubles.setdefault((row, proxy), reason)

    def whole(self, row: str, proxy: str) -> list[Measurement]:
        """
        The measurements of all rounds, or none at all: a row in which a round failed has no figure.
        """
        found = self.measured.get((row, proxy), [])
        good = [each for each in found if each is not None]
        return good if len(good) == len(found) else []

    def shares(self, row: str, proxy: str, base: str = BASE) -> list[float]:
        """
        Cost as a share of another's, in each round; empty where there is none.
        """
        these, those = self.whole(row, proxy), self.whole(row, base)
        if len(these) != len(those):
            return []
        return [one.cost / other.cost for one, other in zip(these, those, strict=True)]

    def ratio(self, row: str, proxy: str) -> float | None:
        """
        The median of the rounds' shares.
        """
        return median(shares) if (shares := self.shares(row, proxy)) else None

    def middle(self, row: str, proxy: str) -> Measurement | None:
        """
        The median of each figure by itself.
        """
        found = self.whole(row, proxy)
        if not found:
            return None
        return Measurement(
            median(each.cost for each in found),
            median(each.rate for each in found),
            median(each.p50 for each in found),
            median(each.p99 for each in found),
            median(each.memory for each in found),
        )


def figure(value: float | None) -> str:
    """
    Three digits that count; a dash where there is nothing.
    """
    if not value:
        return NOTHING
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 1 else f"{value:.3f}"


def spread(values: Sequence[float]) -> str:
    """
    The median, and between what the rounds lay; a dash where there are none.
    """
    if not values:
        return NOTHING
    middle = f"{median(values):.2f}"
    return middle if len(values) == 1 else f"{middle} ({min(values):.2f} to {max(values):.2f})"


def verdict(ratio: float | None, row: Row) -> str:
    """
    Where a ratio stands to the row's bars.
    """
    if ratio is None:
        return NOTHING
    return "goal" if ratio <= row.goal else "must" if ratio <= row.must else "**missed**"


def table(lines: Sequence[Sequence[str]]) -> str:
    """
    A table of Markdown.

    @param lines: the first is its head.
    """
    head, *body = (f"| {' | '.join(line)} |" for line in lines)
    ruler = f"| --- |{' ---: |' * (len(lines[0]) - 1)}"
    return "\n".join([head, ruler, *body])


def ratios(rows: Sequence[Row], proxies: Sequence[str], results: Results, bars: bool = True) -> str:
    """
    The table of shares, a line for each row.

    @param bars: whether the bars, and which was reached, are told too.
    """
    others = [each for each in proxies if each != BASE]
    head = ["must", "goal", *(["reached"] if "sniproxy" in others else [])]
    lines = [["row", *others, *(head if bars else [])]]
    for row in rows:
        shares = [spread(results.shares(row.name, each)) for each in others]
        reached = [verdict(results.ratio(row.name, "sniproxy"), row)] if "sniproxy" in others else []
        beside = [f"{row.must:.2f}", f"{row.goal:.2f}", *reached]
        lines.append([row.title, *shares, *(beside if bars else [])])
    return table(lines)


def figures(rows: Sequence[Row], proxies: Sequence[str], results: Results) -> str:
    """
    The table of figures, a line for each row and proxy.
    """
    lines = [["row", "proxy", "cost", "rate", "p50, ms", "p99, ms"]]
    for row in rows:
        for proxy in proxies:
            found = results.middle(row.name, proxy)
            if found is None:
                lines.append([row.title, proxy, NOTHING, NOTHING, NOTHING, NOTHING])
                continue
            rate = f"{figure(found.rate)} {row.rate_unit}" if found.rate else NOTHING
            cost = f"{figure(found.cost)} {row.unit}"
            lines.append([row.title, proxy, cost, rate, figure(found.p50 / 1000), figure(found.p99 / 1000)])
    return table(lines)


def page(
    rows: Sequence[Row],
    proxies: Sequence[str],
    results: Results,
    machine: Mapping[str, str],
    rounds: int,
    plot: str,
    sections: Mapping[str, str],
    notes: str,
) -> str:
    """
    docs/performance.md.

    @param machine: what was measured, on what, and when; by names.
    @param plot: the picture's file name.
    @param sections: what else was measured; by headings.
    @param notes: the last page's, see L{kept_notes}.
    """
    conditions = table([["", ""], *([name, value] for name, value in machine.items())])
    others = "".join(f"## {heading}\n\n{text}\n" for heading, text in sections.items())
    return f"""\
# Performance

Written by `make bench`, with what [benchmarks/](../benchmarks/README.md) holds; change nothing above the notes by hand.

Processor time (memory, in its row) that a proxy uses for the same work, as a share of what nginx uses: less is better,
1.00 is nginx. One worker on one core; the clients and the back end on another.

![cost as a share of nginx's]({plot})

{ratios(rows, proxies, results)}

## The figures

Cost is processor time, user and system, of all processes of the proxy: µs for a connection or a round trip, seconds for
10⁹ bytes (both ways together); or KiB for a connection that is held. Rate, p50 and p99 are what clients see of a proxy
that is kept busy, with the clients on a core that is busy too: they tell queueing more than distance.

{figures(rows, proxies, results)}

{others}## How it was measured

- All proxies take their turn in each round, a different one first in each (rounds: {rounds}). A ratio is taken within a
  round, where both programs met the same machine within seconds, and the table shows the median of the rounds' ratios
  and, in brackets, the least and the greatest. The quotient of two medians would mix minutes in which the machine was
  quick with minutes in which it was slow. The figures are medians, each by itself.
- nginx and sniproxy read one and the same file, and HAProxy's says the same in its words: a map by the server name, a
  line in the access log for each session. Each session must have left its line, and each stream its bytes.
- Every byte was counted at both ends. A row with an error, a short read or a session that was not logged has no figure.
- The clients and the back end are one small program in C. [benchmarks/README.md](../benchmarks/README.md) says more.

{conditions}

{NOTES}
{notes}"""


def kept_notes(before: str) -> str:
    """
    @param before: the page as it was; empty when there was none.
    @return: what people wrote below it.
    """
    return before.partition(f"{NOTES}\n")[2]
