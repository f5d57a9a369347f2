"""
What of work that is large or odd? Sessions of many gigabytes, bytes that come one by one, readers that are slow, and
crowds that say nothing.

Strategy: here memory is what may go wrong, so it is watched all the time, and a proxy that takes more than it may has
no figure. Nothing has a bar in processor time.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Final

from benchmarks.bench import Bench, attempt, turns
from benchmarks.proxies import Kind, Trouble
from benchmarks.report import NOTHING, Results, figure, table
from benchmarks.rows import GB, Row

MIB: Final = 2**20
MOST_PER_SESSION: Final = MIB
"""Bytes of memory that a session may take, however slow its reader."""
LOADED: Final = 512 * 1024
"""What a process may take besides, once: what it loads and makes when such work first comes."""


@dataclass(frozen=True, slots=True)
class Stream:
    """
    Streams whose bytes are counted and whose memory is bounded.

    @ivar row: the work.
    @ivar rounds: at most.
    """

    row: Row
    rounds: int = 3

    @property
    def name(self) -> str:
        """
        What C{--rows} calls it.
        """
        return self.row.name

    def measure(self, kinds: Sequence[Kind], bench: Bench, rounds: int, results: Results) -> None:
        """
        All rounds; a proxy is started for each.
        """

        def one(kind: Kind) -> None:
            with bench.running(kind) as proxy:
                bench.warm(self.row, proxy)
                found = bench.cost(self.row, proxy)
            if found.memory > MOST_PER_SESSION * self.row.at_once + LOADED:
                raise Trouble(f"memory grew by {found.memory / MIB:.0f} MiB")
            results.add(self.row.name, kind.name, found)

        for kind in turns([each for each in kinds if not each.apart], min(rounds, self.rounds)):
            attempt(results, self.name, kind, partial(one, kind))


@dataclass(frozen=True, slots=True)
class Silence:
    """
    Clients that say nothing, or half of what they should, while others work. The others must not notice.

    @ivar name: what C{--rows} calls it.
    @ivar crowd: the silent.
    @ivar others: those who work: too few to fill the proxy, since latency is what is looked for.
    @ivar rounds: at most.
    """

    name: str
    crowd: Row
    others: Row
    rounds: int = 3

    def measure(self, kinds: Sequence[Kind], bench: Bench, rounds: int, results: Results) -> None:
        """
        All rounds, each without the silent and then with them; a proxy is started for each.
        """

        def one(kind: Kind) -> None:
            with bench.running(kind) as proxy, ExitStack() as stack:
                bench.warm(self.others, proxy)
                without = bench.cost(self.others, proxy)
                stack.enter_context(bench.holding(self.crowd, proxy, self.crowd.scaled(bench.scale)))
                time.sleep(0.5)  # until they all are where they wait
                beside = bench.cost(self.others, proxy)
                stack.close()
            results.add(f"{self.name} without", kind.name, without)
            results.add(f"{self.name} with", kind.name, beside)

        for kind in turns([each for each in kinds if not each.apart], min(rounds, self.rounds)):
            attempt(results, self.name, kind, partial(one, kind))


STREAMS: Final = (
    Stream(
        Row(
            "large",
            "one session of 20 GB to the client",
            "bytes",
            "passed",
            server_name="bytes.example.com",
            down=20 * GB,
            watched=True,
        ),
        rounds=1,
    ),
    Stream(
        Row(
            "tls-large",
            "one session of 6 GB from the client, TLS ended here",
            "bytes",
            "ended",
            server_name="bytes.example.com",
            tls=True,
            up=6 * GB,
            watched=True,
        ),
        rounds=1,
    ),
    Stream(
        Row(
            "small-writes",
            "4 sessions, written byte by byte both ways",
            "bytes",
            "passed",
            server_name="bytes.example.com",
            at_once=4,
            up=100_000,
            down=100_000,
            piece=1,
            watched=True,
        )
    ),
    Stream(
        Row(
            "slow-readers",
            "16 sessions, clients that read 4 MB/s each",
            "bytes",
            "passed",
            server_name="bytes.example.com",
            at_once=16,
            down=16_000_000,
            pace=4_000_000,
            watched=True,
        ),
        rounds=1,
    ),
    Stream(
        Row(
            "tls-slow-readers",
            "the same, TLS ended here",
            "bytes",
            "ended",
            server_name="bytes.example.com",
            tls=True,
            at_once=16,
            down=16_000_000,
            pace=4_000_000,
            watched=True,
        ),
        rounds=1,
    ),
)
SILENCE: Final = Silence(
    "silent",
    Row("crowd", "silent clients", "silent", "passed", server_name="answer.example.com", at_once=5_000),
    Row("others", "connection", "answer", "passed", server_name="answer.example.com", count=4_000, at_once=4),
)


def section(streams: Sequence[Stream], silence: Sequence[Silence], kinds: Sequence[Kind], results: Results) -> str:
    """
    Their part of the page.
    """
    names = [kind.name for kind in kinds if not kind.apart]
    parts = []
    if streams:
        lines = [["work", "proxy", "cost", "rate", "memory grew by, MiB"]]
        for stream in streams:
            for name in names:
                found = results.middle(stream.name, name)
                if found is None:
                    lines.append(
                        [
                            stream.row.title,
                            name,
                            results.troubles.get((stream.name, name), NOTHING).partition("\n")[0],
                            "",
                            "",
                        ]
                    )
                    continue
                rate = f"{figure(found.rate)} {stream.row.rate_unit}"
                cost = f"{figure(found.cost)} {stream.row.unit}"
                lines.append([stream.row.title, name, cost, rate, f"{found.memory / MIB:.2f}"])
        parts.append(table(lines))
    for each in silence:
        lines = [[f"connection beside {each.crowd.at_once:,} silent clients", "proxy", "without them", "with them"]]
        for title, pick in (("cost, µs", 0), ("p50, ms", 1), ("p99, ms", 2)):
            for name in names:
                line = [title, name]
                for when in ("without", "with"):
                    got = results.middle(f"{each.name} {when}", name)
                    failed = got is None or (each.name, name) in results.troubles
                    line.append(
                        NOTHING if got is None or failed else figure((got.cost, got.p50 / 1000, got.p99 / 1000)[pick])
                    )
                lines.append(line)
        parts.append(table(lines))
    return "\n\n".join(parts) + "\n"
