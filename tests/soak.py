"""
Is everything given back? C{python -m tests.soak [SECONDS [SEED [WORKERS]]]} runs sniproxy with so many workers, sends
mixed traffic through all of its features at once, well-behaved and not, tells it to read its configuration again every
few seconds, and compares descriptors, pipes and memory before and after.

Strategy: what is measured first comes after some traffic, when all that is kept for good is there. Both times the
configuration is the same one and all is quiet. Not a part of the suite, which knows no dice.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from typing import Final

from tests.soak_clients import DOORS, HEAD, ZONES, Door, Sink, UdpEcho, Visitors, echo
from tests.support import clients, pki
from tests.support.ports import free_port
from tests.support.programs import children, python_environment, read_text, twistd

RELOAD: Final = 7.0
"""Seconds between two reloads."""
QUIET: Final = 9.0
"""Seconds: longer than any timeout of the configuration."""
PACE: Final = 1.0
"""Seconds that a client thinks before it comes, at most."""
BAD: Final = re.compile(r"\[(alert|emerg)\]|internal error|Traceback|Unhandled")


@dataclass
class Measured:
    """
    What the processes have when all is quiet.

    @ivar kinds: open descriptors, of all processes, by kind.
    @ivar resident: KiB.
    @ivar idle: processor seconds of two idle seconds.
    """

    kinds: dict[str, int]
    resident: int
    idle: float


class Soak:
    """
    One run.

    @ivar wrong: what was not as it must be.
    """

    def __init__(self, folder: str, seed: int, workers: int) -> None:
        self.folder = folder
        self.dice = random.Random(seed)
        self.workers = workers
        self.values: dict[str, object] = {"folder": folder, "turn": 1}
        for door in DOORS:
            self.values[door.name] = free_port(socket.SOCK_DGRAM if door.datagrams else socket.SOCK_STREAM)
        self.holder = socket.socket()  # bound, not listening: a port that refuses for as long as it is held
        self.holder.bind(("127.0.0.1", 0))
        closed = self.holder.getsockname()[1]
        self.values.update(closed=closed, closed_udp=free_port(socket.SOCK_DGRAM), extra=free_port())
        ports = {door.name: int(str(self.values[door.name])) for door in DOORS}
        self.visitors = Visitors(self.dice, asyncio.sleep, ports)
        self.wrong = self.visitors.wrong
        self.reloads = 0

    # -- what is there

    def fill(self, text: str) -> str:
        """
        Put values in their places.
        """
        return re.sub(r"@(\w+)@", lambda found: str(self.values[found[1]]), text)

    def write(self, name: str, text: str) -> str:
        """
        @return: the path of the file.
        """
        path = os.path.join(self.folder, name)
        with open(f"{path}.new", "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(f"{path}.new", path)  # nobody shall read half of it
        return path

    def configure(self, turn: int) -> str:
        """
        Write the configuration; in every second turn it has one address more.
        """
        self.values["turn"] = turn
        servers = "".join(map(self.server, DOORS))
        if turn % 2 == 0:
            servers += "server { listen 127.0.0.66:@extra@; return x; }"
        crew = f"worker_processes {self.workers}; error_log @folder@/error.log info;"
        self.write("zone", self.fill(ZONES[turn % 2]))
        return self.write("soak.conf", self.fill(f"{crew} stream {{ {HEAD} {servers} }}"))

    def server(self, door: Door) -> str:
        """
        A door's block.
        """
        reuse = "reuseport" if door.datagrams and self.workers > 1 else ""
        return f"server {{ listen 127.0.0.1:@{door.name}@ {door.parameters} {reuse}; {door.text} }}\n"

    async def furnish(self) -> subprocess.Popen[bytes]:
        """
        Make certificates and start all upstreams.

        @return: the name server.
        """
        root = pki.authority()
        for suffix, name in (("", "a.known"), ("2", "b.known")):
            files = pki.leaf(root, names=(name,)).write(self.folder, f"server{suffix}")
            self.values.update({f"cert{suffix}": files.certificate, f"key{suffix}": files.key})
        self.visitors.shows(clients.context(identity=pki.leaf(root, "client").write(self.folder, "client")))
        inside = clients.server_context(files)
        loop = asyncio.get_running_loop()
        for key, context in (("echo", None), ("echo_tls", inside)):
            server = await asyncio.start_server(echo, "0.0.0.0", 0, ssl=context)
            self.values[key] = server.sockets[0].getsockname()[1]
        self.values["echo_udp"] = port = free_port(socket.SOCK_DGRAM)
        for last in range(1, 5):  # one socket each: an answer must come from where the question went
            await loop.create_datagram_endpoint(UdpEcho, (f"127.0.0.{last}", port))
        transport, self.sink = await loop.create_datagram_endpoint(Sink, ("127.0.0.1", 0))
        self.values["syslog"] = transport.get_extra_info("sockname")[1]
        self.write("zone", self.fill(ZONES[0]))
        asked = os.path.join(self.folder, "asked")
        with open(asked, "wb") as output:
            names = subprocess.Popen(
                [sys.executable, "-m", "tests.support.dns_server", "--zone", os.path.join(self.folder, "zone")],
                env={**os.environ, **python_environment()},
                stdout=output,
            )
        while "\n" not in read_text(asked):
            await asyncio.sleep(0.05)
        self.values["dns"] = int(read_text(asked).partition("\n")[0])
        return names

    # -- what happens

    async def traffic(self, seconds: float, at_once: int = 16) -> None:
        """
        Clients, C{at_once} of them at any time, and reloads.
        """
        end = time.monotonic() + seconds

        async def one_by_one() -> None:
            while time.monotonic() < end:
                await asyncio.sleep(self.dice.random() * PACE)
                await self.visitors.one()

        async def reloading() -> None:
            turn = 1
            while time.monotonic() < end - RELOAD:
                await asyncio.sleep(RELOAD)
                turn += 1
                self.reload(turn)

        await asyncio.gather(reloading(), *(one_by_one() for _ in range(at_once)))
        self.reload(1)

    def reload(self, turn: int) -> None:
        """
        Have the configuration of that turn read.
        """
        self.configure(turn)
        self.process.send_signal(signal.SIGHUP)
        self.reloads += 1

    async def run(self, seconds: float) -> None:
        """
        All of it.
        """
        names = await self.furnish()
        path = self.configure(1)
        printed = os.path.join(self.folder, "printed")
        with open(printed, "wb") as output:
            self.process = subprocess.Popen(
                [*twistd(), "-n", "--pidfile=", "sniproxy", "--config", path],
                env={**os.environ, **python_environment()},
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            for _ in range(200):
                with socket.socket() as sock:
                    if sock.connect_ex(("127.0.0.1", int(str(self.values["told"])))) == 0:
                        break
                await asyncio.sleep(0.05)
            await asyncio.sleep(1)  # until names are known: before that their groups have nobody, as with nginx
            await self.traffic(max(15.0, seconds / 4))
            before = await self.measure()
            await self.traffic(seconds)
            after = await self.measure()
            self.compare(before, after)
            if self.process.poll() is not None:
                self.wrong.append("sniproxy has ended")
        finally:
            for process in (self.process, names):
                process.terminate()
                process.wait()
        said = read_text(os.path.join(self.folder, "error.log")) + read_text(printed)
        self.wrong += [line for line in said.splitlines() if BAD.search(line)][:10]

    # -- what is left

    async def measure(self) -> Measured:
        """
        Wait until all is quiet, then look at each process.
        """
        wanted = 1 if self.workers == 1 else 1 + self.workers
        for _ in range(60):  # on a busy machine workers begin late, and those before them end later
            await asyncio.sleep(1)
            if len(children(self.process.pid)) == wanted - 1:
                break
        await asyncio.sleep(QUIET)
        pids = [self.process.pid, *children(self.process.pid)]
        if len(pids) != wanted:
            self.wrong.append(f"{len(pids)} processes are there")
        kinds: dict[str, int] = {}
        resident = 0
        for pid in pids:
            for number in os.listdir(f"/proc/{pid}/fd"):
                kind = re.split(r"[:\[]", os.readlink(f"/proc/{pid}/fd/{number}"))[0]
                kind = "file" if kind.startswith("/") else kind
                kinds[kind] = kinds.get(kind, 0) + 1
            found = re.search(r"VmRSS:\s+(\d+)", read_text(f"/proc/{pid}/status"))
            assert found is not None
            resident += int(found[1])
        began = sum(map(spent, pids))
        await asyncio.sleep(2)
        return Measured(kinds, resident, sum(map(spent, pids)) - began)

    def compare(self, before: Measured, after: Measured) -> None:
        """
        Say what is not as it was.
        """
        asked, lost, dropped = sum(self.visitors.counts.values()), sum(self.visitors.lost.values()), self.dropped()
        sys.stdout.write(
            f"before: {before}\nafter:  {after}\nclients: {dict(self.visitors.counts)}\n"
            f"lost: {dict(self.visitors.lost)}\n"
            f"{asked} clients, {lost} datagrams lost, {dropped} dropped by the kernel, {self.reloads} reloads,"
            f" {self.sink.lines} lines to syslog\n"
        )
        sockets = after.kinds.get("socket", 0) - before.kinds.get("socket", 0)
        idle_pipes = 8 * self.workers  # these are kept, up to a few
        if sockets > 0 or sum(after.kinds.values()) > sum(before.kinds.values()) + idle_pipes:
            self.wrong.append("descriptors are left over")
        if after.resident > before.resident * 1.1 + 4096:
            self.wrong.append("memory has grown")
        if after.idle > 0.1 * self.workers:
            self.wrong.append("it is busy with nothing")
        if lost > dropped + (self.workers > 1) * asked / 100:  # a worker that leaves may take a datagram with it
            self.wrong.append("datagrams are lost")

    def dropped(self) -> int:
        """
        How many datagrams the kernel had no room for, on the way to doors and to upstreams.
        """
        ports = {int(str(self.values[door.name])) for door in DOORS if door.datagrams} | {self.values["echo_udp"]}
        lines = [line.split() for line in read_text("/proc/net/udp").splitlines()[1:]]
        return sum(int(words[-1]) for words in lines if int(words[1].partition(":")[2], 16) in ports)


def spent(pid: int) -> float:
    """
    Processor seconds of a process so far.
    """
    fields = read_text(f"/proc/{pid}/stat").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main(seconds: float = 180.0, seed: int = 1, workers: int = 1) -> int:
    """
    @return: the exit code.
    """
    with tempfile.TemporaryDirectory() as folder:
        soak = Soak(folder, seed, workers)
        asyncio.run(soak.run(seconds))
    for line in soak.wrong[:20]:
        sys.stdout.write(f"wrong: {line.rstrip()}\n")
    return 1 if soak.wrong else 0


if __name__ == "__main__":
    sys.exit(main(*(kind(word) for kind, word in zip((float, int, int), sys.argv[1:], strict=False))))
