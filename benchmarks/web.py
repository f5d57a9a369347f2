"""
What does an HTTP proxy cost? Requests over HTTP in, HTTPS out with a client certificate and kept connections; and long
bodies both ways.

Strategy: nginx and sniproxy read one file; behind them another nginx answers, or a sink that counts what it is sent.
The clients are requests.c. What Twisted's own reverse proxy costs is told beside, which has no TLS to pay for.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

from benchmarks.bench import TURNS, Bench, Running
from benchmarks.configurations import CONNECTIONS
from benchmarks.layout import Layout
from benchmarks.proxies import Kind, Proxy, Trouble, find, listens, on_cores
from benchmarks.report import BASE, NOTHING, Measurement, Results, figure, spread, table
from benchmarks.rows import GB

COMPARED: Final = ("sniproxy", "nginx")
TWISTED: Final = "twisted.web"
TIMES: Final = 3
"""So much more than ours Twisted's must cost."""
SMALL: Final = 1024
"""Bytes of the body of a small answer."""
WARMTH: Final = 0.02


@dataclass(frozen=True, slots=True)
class Web:
    """
    One kind of requests.

    @ivar name: what C{--rows} calls it.
    @ivar title: what the table calls it.
    @ivar path: what is asked for.
    @ivar count: requests of a full run.
    @ivar at_once: connections.
    @ivar down: bytes of the answer's body; in a full run, where it is the body that is measured.
    @ivar up: bytes of the request's body, likewise.
    @ivar must: the bar: cost as a share of nginx's.
    @ivar goal: where we want to be.
    @ivar twisted: whether Twisted's reverse proxy does it too.
    """

    name: str
    title: str
    path: str
    must: float
    goal: float
    count: int = 4
    at_once: int = 4
    down: int = 0
    up: int = 0
    twisted: bool = False

    @property
    def long(self) -> bool:
        """
        Whether bytes are what costs, and not requests.
        """
        return self.path != "/small"

    def amount(self, scale: float) -> tuple[int, int, int]:
        """
        @return: requests, bytes to the client and bytes from it, of each.
        """
        if self.long:
            return self.count, int(self.down * scale), int(self.up * scale)
        return max(int(self.count * scale), self.at_once * 4), self.down, self.up

    def measure(self, kinds: Sequence[Kind], bench: Bench, rounds: int, results: Results) -> None:
        """
        All rounds, the proxies in turn.
        """
        chosen = [replace(kind, configuration=configuration) for kind in kinds if kind.name in COMPARED]
        bench = replace(bench, scale=bench.scale / TURNS)
        with ExitStack() as stack:
            layout = next(iter(bench.layouts.values()))
            program = compiled(layout.folder)
            try:
                stack.enter_context(site(layout, bench.load_cores, self.amount(bench.scale)[1]))
                stack.enter_context(sink(layout, bench.load_cores))
            except (Trouble, OSError) as trouble:
                for kind in chosen:
                    results.fail(self.name, kind.name, str(trouble))
                return

            def up(kind: Kind) -> Proxy:
                proxy = stack.enter_context(bench.running(kind, lambda layout: listens(layout.ports["web"])))
                self._work(program, bench, kind.name, WARMTH * bench.scale)
                return proxy

            running = Running(self.name, results)
            for kind in (*chosen, *self._twisted(chosen, bench)):
                running.start(kind, partial(up, kind))
            running.measure(rounds, partial(self._one, program, bench))

    def _twisted(self, chosen: Sequence[Kind], bench: Bench) -> Sequence[Kind]:
        """
        Twisted's reverse proxy, on the ports of ours, which has none of its own.
        """
        if not self.twisted or not any(kind.name == "sniproxy" for kind in chosen):
            return ()
        ports = dict(bench.layouts["sniproxy"].ports)
        ports["web"] = ports["other"]
        layout = replace(bench.layouts["sniproxy"], ports=ports)
        bench.layouts[TWISTED] = layout  # type: ignore[index]
        script = os.path.join(os.path.dirname(__file__), "reverse.py")
        command = [script, str(ports["web"]), str(ports["plain"])]
        return (Kind(TWISTED, sys.executable, lambda layout, folder: "", lambda p, c, f: [p, *command], "none", ()),)

    def _one(self, program: str, bench: Bench, proxy: Proxy) -> Measurement:
        count, down, up = self.amount(bench.scale)
        lines, before = proxy.settle(), proxy.seconds()
        report = self._work(program, bench, proxy.kind.name, bench.scale)
        if proxy.kind.name != TWISTED:
            proxy.wait_for_sessions(lines + count)
        spent = proxy.seconds() - before
        moved = count * (down + up)
        if self.long:
            return Measurement(spent / moved * GB, moved / report["seconds"] / 1e6)
        rate = count / report["seconds"]
        return Measurement(spent / count * 1e6, rate, report["p50_us"], report["p99_us"])

    def _work(self, program: str, bench: Bench, name: str, scale: float) -> dict[str, Any]:
        """
        @raise Trouble: not all requests were answered as they should be.
        """
        count, down, up = self.amount(bench.scale)
        if not self.long:
            count = self.amount(scale)[0]
        elif scale < bench.scale:
            count = 1
        arguments = {
            "--port": bench.layouts[name].ports["web"],
            "--path": self.path,
            "--count": count,
            "--at-once": min(self.at_once, count),
            "--down": down,
            "--up": up,
        }
        words = [program, *(str(each) for pair in arguments.items() for each in pair)]
        done = subprocess.run(
            words, capture_output=True, encoding="utf-8", preexec_fn=on_cores(bench.load_cores), check=False
        )
        if not done.stdout.strip():
            raise Trouble(f"the clients have said nothing: {done.stderr}")
        report: dict[str, Any] = json.loads(done.stdout)
        wanted = {"errors": 0, "short_reads": 0, "done": count, "up": count * up}
        wrong = [f"{each} {report[each]}, not {value}" for each, value in wanted.items() if report[each] != value]
        if not up and report["down"] != count * down:
            wrong.append(f"{report['down']} bytes, not {count * down}")
        if wrong:
            raise Trouble(f"{'; '.join(wrong)}; first error: {report['first_error']}")
        return report


def lines_of(studies: Sequence[Web], results: Results) -> str:
    """
    The part of the page about these rows.
    """
    lines = [["row", "proxy", "cost", "rate", "p50, ms", "p99, ms", f"share of {BASE}'s", "must", "goal"]]
    for study in studies:
        for name in (*COMPARED, *([TWISTED] if study.twisted else [])):
            found = results.middle(study.name, name)
            share = spread(results.shares(study.name, name)) if name != BASE else ""
            bars = [f"{study.must:.2f}", f"{study.goal:.2f}"] if name == "sniproxy" else ["", ""]
            if found is None:
                lines.append([study.title, name, *[NOTHING] * 4, share, *bars])
                continue
            units = ("s/GB", "MB/s") if study.long else ("µs", "requests/s")
            figures = [f"{figure(found.cost)} {units[0]}", f"{figure(found.rate)} {units[1]}"]
            waits = [figure(found.p50 / 1000), figure(found.p99 / 1000)]
            lines.append([study.title, name, *figures, *waits, share, *bars])
    beside = [spread(results.shares(study.name, TWISTED, "sniproxy")) for study in studies if study.twisted]
    told = [f"\nTwisted's own costs {times} times what sniproxy does; that must be {TIMES}.\n" for times in beside]
    return table(lines) + "\n" + "".join(told)


def configuration(layout: Layout, folder: str, workers: int = 1) -> str:
    """
    The file that nginx and sniproxy read.

    @param folder: for what the proxy writes.
    """
    ports = layout.ports
    return f"""\
{"user root;" if os.geteuid() == 0 else ""}
worker_processes {workers};
pid {folder}/proxy.pid;
error_log {folder}/error.log warn;
events {{
    worker_connections {CONNECTIONS};
}}
http {{
    log_format requests '$remote_addr [$time_local] "$request" $status $body_bytes_sent $request_time '
                        '"$http_user_agent" "$upstream_addr" $upstream_status $upstream_response_time';
    access_log {folder}/access.log requests;
    client_body_temp_path {folder}/bodies;
    proxy_temp_path {folder}/answers;
    client_max_body_size 0;
    keepalive_requests 1000000;
    upstream site {{ server 127.0.0.1:{ports["site"]}; keepalive 32; }}
    upstream sink {{ server 127.0.0.1:{ports["sink"]}; keepalive 32; }}
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_ssl_protocols TLSv1.2 TLSv1.3;
    proxy_ssl_certificate {layout.client.certificate};
    proxy_ssl_certificate_key {layout.client.key};
    proxy_ssl_trusted_certificate {layout.authority};
    proxy_ssl_verify on;
    proxy_ssl_name secret.example.com;
    proxy_ssl_server_name on;
    proxy_max_temp_file_size 0;
    server {{
        listen 127.0.0.1:{ports["web"]} backlog=4096;
        server_name www.example.com;
        location / {{ proxy_pass https://site; }}
        location /up {{ proxy_pass https://sink; proxy_request_buffering off; }}
    }}
}}
"""


def compiled(folder: str) -> str:
    """
    @return: the path of the clients' program.
    @raise CalledProcessError: the compiler has said why.
    """
    program = os.path.join(folder, "requests")
    source = os.path.join(os.path.dirname(__file__), "requests.c")
    subprocess.run(["cc", "-O2", "-std=gnu11", "-o", program, source], check=True)
    return program


@contextmanager
def site(layout: Layout, cores: frozenset[int], size: int) -> Iterator[None]:
    """
    What answers behind the proxies: an nginx that asks for certificates, and says the same without TLS.

    @param size: bytes of the long answer.
    @raise Trouble: it does not start.
    """
    program = find("nginx")
    if program is None:
        raise Trouble("nginx is not installed")
    folder = layout.path("site")
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "long"), "wb") as long:
        long.truncate(size)
    path = os.path.join(folder, "site.conf")
    ports = layout.ports
    with open(path, "w", encoding="ascii") as written:
        written.write(f"""\
{"user root;" if os.geteuid() == 0 else ""}
worker_processes 1;
daemon off;
pid {folder}/site.pid;
error_log {folder}/error.log warn;
events {{ worker_connections {CONNECTIONS}; }}
http {{
    access_log off;
    keepalive_requests 100000000;
    ssl_certificate {layout.server.certificate};
    ssl_certificate_key {layout.server.key};
    ssl_client_certificate {layout.authority};
    ssl_protocols TLSv1.2 TLSv1.3;
    client_body_temp_path {folder}/bodies;
    root {folder};
    server {{
        listen 127.0.0.1:{ports["site"]} ssl backlog=4096;
        ssl_verify_client on;
        location = /small {{ return 200 "{"x" * SMALL}"; }}
    }}
    server {{
        listen 127.0.0.1:{ports["plain"]} backlog=4096;
        location = /small {{ return 200 "{"x" * SMALL}"; }}
    }}
}}
""")
    with subprocess.Popen(
        [program, "-e", f"{folder}/error.log", "-p", folder, "-c", path], preexec_fn=on_cores(cores)
    ) as process:
        try:
            _wait_for(process, ports["site"])
            yield
        finally:
            process.terminate()


@contextmanager
def sink(layout: Layout, cores: frozenset[int]) -> Iterator[None]:
    """
    What takes long bodies behind the proxies.

    @raise Trouble: it does not start.
    """
    script = os.path.join(os.path.dirname(__file__), "sink.py")
    files = [layout.server.certificate, layout.server.key, layout.authority]
    with subprocess.Popen(
        [sys.executable, script, str(layout.ports["sink"]), *files],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        preexec_fn=on_cores(cores),
    ) as process:
        assert process.stdout is not None
        try:
            if not process.stdout.readline():
                raise Trouble("the sink does not start")
            yield
        finally:
            process.terminate()


def _wait_for(process: subprocess.Popen[bytes], port: int) -> None:
    for _ in range(200):
        if listens(port):
            return
        if process.poll() is not None:
            break
        time.sleep(0.02)
    raise Trouble("what should answer does not start")


WEBS: Final = (
    Web(
        "requests",
        "HTTP in, HTTPS out, certificate, kept connections, 1 KiB",
        "/small",
        4.0,
        2.5,
        count=20_000,
        at_once=32,
        down=SMALL,
        twisted=True,
    ),
    Web("web-downloads", "the same, 4 answers of 250 MB", "/long", 1.5, 1.0, down=GB // 4),
    Web("web-uploads", "the same, 4 requests of 250 MB", "/up", 1.5, 1.0, up=GB // 4),
)
