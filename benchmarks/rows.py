"""
What is measured? One L{Row} for each kind of work: how much is done, what the clients must report, what it may cost.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from benchmarks.layout import Layout

Kind = Literal["answer", "echo", "bytes", "hold", "silent"]

GB: Final = 1_000_000_000
ORDER: Final = 32
"""Bytes with which a client says how much a stream is to carry, see load.c."""
TRAILER: Final = 8
"""Bytes with which the back end ends a stream."""
LEAST_BYTES: Final = 1_000_000
"""However short a run: a stream must outlive the relay's first buffers."""
LEAST_COUNT: Final = 256
LEAST_HELD: Final = 1_000
"""Fewer disappear in what a process has in hand."""


@dataclass(frozen=True, slots=True)
class Row:
    """
    One row of the table.

    @ivar name: what C{--rows} calls it.
    @ivar title: what the table calls it.
    @ivar kind: what the load generator does, see load.c.
    @ivar entrance: the listener of the proxy that it goes through, a field of L{Layout.ports}.
    @ivar server_name: the name in the ClientHello, which routes it; empty where no hello is sent.
    @ivar tls: whether the clients speak TLS, and do not only begin like it.
    @ivar resume: whether all handshakes but the first resume its session.
    @ivar certified: whether the clients have a certificate.
    @ivar count: connections or round trips of a full run.
    @ivar at_once: how many connections at the same time.
    @ivar up: bytes of each stream to the back end, in a full run.
    @ivar down: bytes of each stream from it.
    @ivar piece: bytes of each write; 0 for as many as go.
    @ivar pace: bytes that the client reads of each stream in a second, at most; 0 for all that come.
    @ivar must: the bar: cost as a share of nginx's; 0 where there is none.
    @ivar goal: where we want to be; likewise.
    @ivar portable: whether the portable relay is measured too.
    @ivar apart: whether opening the connections is no part of the work.
    @ivar watched: whether memory is watched during the work.
    """

    name: str
    title: str
    kind: Kind
    entrance: str
    must: float = 0.0
    goal: float = 0.0
    server_name: str = ""
    tls: bool = False
    resume: bool = False
    certified: bool = False
    count: int = 0
    at_once: int = 1
    up: int = 0
    down: int = 0
    piece: int = 0
    pace: int = 0
    portable: bool = False
    apart: bool = False
    watched: bool = False

    @property
    def unit(self) -> str:
        """
        What the cost is given in.
        """
        if self.kind == "hold":
            return "KiB"
        return "s/GB" if self.kind == "bytes" and not self.piece else "µs"

    @property
    def rate_unit(self) -> str:
        """
        What the rate is given in.
        """
        if self.piece:
            return "bytes/s"
        return {"answer": "connections/s", "echo": "round trips/s", "bytes": "MB/s"}.get(self.kind, "")

    def scaled(self, scale: float) -> Amount:
        """
        @param scale: 1 for a full run; less for a quick look.
        """
        if self.kind == "bytes":
            fewest = LEAST_BYTES // 100 if self.piece else LEAST_BYTES
            up, down = (max(fewest, int(each * scale)) if each else 0 for each in (self.up, self.down))
            return Amount(self.at_once, self.at_once, up, down)
        least = max(self.at_once, LEAST_COUNT)
        if self.kind in ("hold", "silent"):
            held = max(LEAST_HELD, int(self.at_once * scale))
            return Amount(held, held)
        return Amount(max(least, int(self.count * scale)), self.at_once)

    def arguments(self, layout: Layout, amount: Amount) -> list[str]:
        """
        The load generator's command line, without the program.
        """
        found = [self.kind, "--port", str(layout.ports[self.entrance])]
        found += ["--count", str(amount.count), "--at-once", str(amount.at_once)]
        found += ["--up", str(amount.up), "--down", str(amount.down)]
        found += ["--piece", str(self.piece), "--pace", str(self.pace)]
        if self.tls:
            found += ["--tls", self.server_name, "--ca", layout.authority]
        elif self.server_name:
            found += ["--hello", self.server_name]
        if self.resume:
            found.append("--resume")
        if self.apart:
            found.append("--wait")
        if self.certified:
            found += ["--cert", layout.deep_client.certificate, "--key", layout.deep_client.key]
        return found

    def complaint(self, amount: Amount, report: Mapping[str, object]) -> str:
        """
        Was all the work done, and nothing but the work?

        @param report: the load generator's.
        @return: empty, or what is wrong.
        """
        wanted = {"errors": 0, "short_reads": 0, "done": amount.count}
        if self.resume:
            wanted["resumed"] = amount.count
        elif self.tls:
            wanted["resumed"] = 0
        if self.kind == "bytes":
            wanted |= {"up": amount.up * amount.at_once, "down": amount.down * amount.at_once}
        wrong = [
            f"{name} {report.get(name)}, not {value}" for name, value in wanted.items() if report.get(name) != value
        ]
        if wrong and report.get("first_error"):
            wrong.append(f"first error: {report['first_error']}")
        return "; ".join(wrong)


@dataclass(frozen=True, slots=True)
class Amount:
    """
    How much of a row's work one measurement does.

    @ivar count: connections or round trips.
    @ivar at_once: connections at the same time.
    @ivar up: bytes of each stream to the back end.
    @ivar down: bytes of each stream from it.
    """

    count: int
    at_once: int
    up: int = 0
    down: int = 0

    @property
    def bytes(self) -> int:
        """
        Of all streams, both ways.
        """
        return (self.up + self.down) * self.at_once


ROWS: Final = (
    Row(
        name="connections",
        title="passed-through TLS connection",
        kind="answer",
        entrance="passed",
        server_name="answer.example.com",
        count=20_000,
        at_once=64,
        must=1.50,
        goal=1.00,
        portable=True,
    ),
    Row(
        name="bytes",
        title="passed-through bytes, both ways at once",
        kind="bytes",
        entrance="passed",
        server_name="bytes.example.com",
        at_once=4,
        up=1 * GB,
        down=1 * GB,
        must=0.35,
        goal=0.25,
        portable=True,
    ),
    Row(
        name="downloads",
        title="passed-through bytes, to the client only",
        kind="bytes",
        entrance="passed",
        server_name="bytes.example.com",
        at_once=4,
        down=2 * GB,
        must=0.35,
        goal=0.25,
    ),
    Row(
        name="trips",
        title="64-byte round trip, 16 passed-through connections",
        kind="echo",
        entrance="passed",
        server_name="echo.example.com",
        count=100_000,
        at_once=16,
        must=1.80,
        goal=1.00,
        portable=True,
    ),
    Row(
        name="idle",
        title="memory of an idle passed-through connection",
        kind="hold",
        entrance="passed",
        server_name="echo.example.com",
        at_once=3_000,
        must=0.50,
        goal=0.20,
    ),
    Row(
        name="handshakes",
        title="TLS ended here, full handshake (P-256)",
        kind="answer",
        entrance="ended",
        server_name="answer.example.com",
        tls=True,
        count=4_000,
        at_once=64,
        must=0.95,
        goal=0.85,
    ),
    Row(
        name="resumed",
        title="TLS ended here, resumed (TLS 1.3 ticket)",
        kind="answer",
        entrance="ended",
        server_name="answer.example.com",
        tls=True,
        resume=True,
        count=5_000,
        at_once=64,
        must=1.00,
        goal=0.85,
    ),
    Row(
        name="tls-bytes",
        title="TLS ended here, bytes both ways at once",
        kind="bytes",
        entrance="ended",
        server_name="bytes.example.com",
        tls=True,
        at_once=4,
        up=GB // 4,
        down=GB // 4,
        must=0.95,
        goal=0.80,
    ),
    Row(
        name="certificates",
        title="TLS ended here, client certificate verified (depth 6)",
        kind="answer",
        entrance="certified",
        server_name="answer.example.com",
        tls=True,
        certified=True,
        count=1_500,
        at_once=64,
        must=0.85,
        goal=0.60,
    ),
    Row(
        name="upstream",
        title="TLS to the upstream, client certificate, verified, no reuse, X25519",
        kind="answer",
        entrance="wrapped",
        count=2_500,
        at_once=64,
        must=0.95,
        goal=0.85,
    ),
    Row(
        name="upstream-defaults",
        title="The same with the groups of each one's OpenSSL, ours with ML-KEM among them",
        kind="answer",
        entrance="hybrid",
        count=2_500,
        at_once=64,
        must=0.95,
        goal=0.85,
    ),
)
