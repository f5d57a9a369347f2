"""
What do the measurements say? The arithmetic of the table, and the page that shows it.

Strategy: a ratio is taken within each round, where both programs met the same machine, and then the median of the
rounds; not the other way round, since a machine drifts from minute to minute. What people write below C{NOTES} in the
page is kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
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
    """

    cost: float
    rate: float = 0.0
    p50: float = 0.0
    p99: float = 0.0


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

    def ratio(self, row: str, proxy: str) -> float | None:
        """
        Cost as a share of the base's: the median over the rounds of the quotient within a round.
        """
        ours, base = self.whole(row, proxy), self.whole(row, BASE)
        if not ours or len(ours) != len(base):
            return None
        return median(one.cost / other.cost for one, other in zip(ours, base, strict=True))

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


def verdict(ratio: float | None, row: Row) -> str:
    """
    Where a ratio stands to the row's bars.
    """
    if ratio is None:
        return NOTHING
    return "goal" if ratio <= row.goal else "must" if ratio <= row.must else "**missed**"


def _table(lines: Sequence[Sequence[str]]) -> str:
    head, *body = (f"| {' | '.join(line)} |" for line in lines)
    ruler = f"| --- |{' ---: |' * (len(lines[0]) - 1)}"
    return "\n".join([head, ruler, *body])


def ratios(rows: Sequence[Row], proxies: Sequence[str], results: Results) -> str:
    """
    The table of shares, a line for each row.
    """
    others = [each for each in proxies if each != BASE]
    lines = [["row", *others, "must", "goal", *(["reached"] if "sniproxy" in others else [])]]
    for row in rows:
        found = {each: results.ratio(row.name, each) for each in others}
        shares = [f"{share:.2f}" if share is not None else NOTHING for share in found.values()]
        reached = [verdict(found["sniproxy"], row)] if "sniproxy" in found else []
        lines.append([row.title, *shares, f"{row.must:.2f}", f"{row.goal:.2f}", *reached])
    return _table(lines)


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
    return _table(lines)


def page(
    rows: Sequence[Row],
    proxies: Sequence[str],
    results: Results,
    machine: Mapping[str, str],
    rounds: int,
    plot: str,
    notes: str,
) -> str:
    """
    docs/performance.md.

    @param machine: what was measured, on what, and when; by names.
    @param plot: the picture's file name.
    @param notes: the last page's, see L{kept_notes}.
    """
    conditions = _table([["", ""], *([name, value] for name, value in machine.items())])
    return f"""\
# Performance

Written by `make bench`, with what [benchmarks/](../benchmarks/README.md) holds; change nothing above the notes by hand.

Processor time (memory, in its row) that a proxy uses for the same work, as a share of what nginx uses: less is better,
1.00 is nginx. One worker on one core; the clients and the back end on another. All proxies take their turn in each
round, and the median of the rounds counts (rounds: {rounds}). Every byte was counted at both ends, and a row with an
error or a short read has no figure.

![cost as a share of nginx's]({plot})

{ratios(rows, proxies, results)}

## The figures

Cost is processor time, user and system, of all processes of the proxy: µs for a connection or a round trip, seconds for
10⁹ bytes (both ways together); or KiB for a connection that is held. Rate, p50 and p99 are what clients see of a proxy
that is kept busy, with the clients on a core that is busy too: they tell queueing more than distance.

{figures(rows, proxies, results)}

## Measured on

{conditions}

{NOTES}
{notes}"""


def kept_notes(before: str) -> str:
    """
    @param before: the page as it was; empty when there was none.
    @return: what people wrote below it.
    """
    return before.partition(f"{NOTES}\n")[2]
