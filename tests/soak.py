"""
Is everything given back? C{python -m tests.soak [SECONDS [SEED]]} runs sniproxy, sends mixed traffic through many of
its features at once, well-behaved and not, and compares descriptors, pipes and memory before and after.

Strategy: what is measured first comes after some traffic, when all that is kept for good is there. Every echo is
checked. Not a part of the suite, which knows no dice.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from typing import Final

from tests.support import pki
from tests.support.ports import free_port
from tests.support.programs import python_environment, twistd

STREAM: Final = """
log_format line '$remote_addr $protocol $status $bytes_sent $bytes_received $session_time '
    '$ssl_server_name $upstream_addr';
access_log @folder@/access.log line buffer=32k flush=1s;
ssl_certificate @cert@; ssl_certificate_key @key@; ssl_handshake_timeout 2s; preread_timeout 2s; proxy_timeout 5s;
proxy_connect_timeout 2s; proxy_next_upstream_tries 3;
limit_conn_zone $binary_remote_addr zone=clients:1m;
map $ssl_preread_server_name $where { hostnames; .known known; default tls; }
upstream plain { server 127.0.0.1:@dead@; server 127.0.0.1:@echo@; server 127.0.0.1:@echo@ backup; }
upstream tls { least_conn; server 127.0.0.1:@echo_tls@; }
upstream known { hash $remote_port consistent; server 127.0.0.1:@echo_tls@; }
server { listen 127.0.0.1:@plain@; proxy_pass plain; }
server { listen 127.0.0.1:@half@; proxy_half_close on; proxy_pass plain; }
server { listen 127.0.0.1:@ssl@ ssl; proxy_pass plain; }
server { listen 127.0.0.1:@both@ ssl; proxy_ssl on; proxy_pass tls; }
server { listen 127.0.0.1:@preread@; ssl_preread on; proxy_pass $where; }
server { listen 127.0.0.1:@limited@; limit_conn clients 3; limit_conn_log_level info; proxy_pass plain; }
server { listen 127.0.0.1:@rated@; proxy_download_rate 2m; proxy_upload_rate 2m; proxy_pass plain; }
"""
PLAIN: Final = ("plain", "half", "limited", "rated")
TLS: Final = ("ssl", "both", "preread")


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """
    An upstream.
    """
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


class Soak:
    """
    One run.

    @ivar wrong: what was not as it must be.
    @ivar counts: how many clients did what.
    """

    def __init__(self, folder: str, seed: int) -> None:
        self.folder = folder
        self.dice = random.Random(seed)
        self.wrong: list[str] = []
        self.counts: dict[str, int] = {}
        self.ports: dict[str, int] = {name: free_port() for name in (*PLAIN, *TLS, "dead")}
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.context.check_hostname = False
        self.context.verify_mode = ssl.CERT_NONE

    async def client(self) -> None:
        """
        Connect somewhere and do something.
        """
        kind = self.dice.choice((*PLAIN, *TLS))
        what = self.dice.choice(("echo", "echo", "echo", "vanish", "reset", "garbage", "silent"))
        self.counts[what] = self.counts.get(what, 0) + 1
        secure = kind in TLS and what in ("echo", "vanish", "reset")
        try:
            reader, writer = await asyncio.open_connection(
                "127.0.0.1",
                self.ports[kind],
                ssl=self.context if secure else None,
                server_hostname=self.dice.choice(("a.known", "other")) if secure else None,
            )
        except (OSError, ssl.SSLError) as error:
            self.wrong.append(f"{kind} {what}: {error!r}")
            return
        try:
            await asyncio.wait_for(self.act(kind, what, reader, writer), 30)
        except (OSError, asyncio.IncompleteReadError) as error:
            if what == "echo" and kind != "limited":
                self.wrong.append(f"{kind} {what}: {error!r}")
        except asyncio.TimeoutError:
            self.wrong.append(f"{kind} {what}: does not end")
        finally:
            writer.close()

    async def act(self, kind: str, what: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """
        Be this client.
        """
        data = self.dice.randbytes(self.dice.choice((1, 1000, 20_000, 300_000)))
        if what == "silent":
            writer.write(b"\x16\x03\x01\x02")
            await asyncio.sleep(self.dice.random())
        elif what == "garbage":
            writer.write(data)
            await asyncio.sleep(0.05)
        else:
            writer.write(data)
            if what == "echo":
                if await reader.readexactly(len(data)) != data:
                    self.wrong.append(f"{kind}: other bytes than were sent")
                if kind == "half":
                    writer.write_eof()
                    if await reader.read():
                        self.wrong.append("half: more than was sent")
            elif what == "reset":
                writer.transport.get_extra_info("socket").setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0"
                )
                writer.transport.abort()

    async def traffic(self, seconds: float, at_once: int = 20) -> None:
        """
        Clients, C{at_once} of them at any time.
        """
        end = time.monotonic() + seconds

        async def one_by_one() -> None:
            while time.monotonic() < end:
                await self.client()

        await asyncio.gather(*(one_by_one() for _ in range(at_once)))

    async def run(self, seconds: float) -> None:
        """
        All of it.
        """
        identity = pki.leaf(pki.authority(), names=("a.known",))
        files = identity.write(self.folder, "server")
        inside = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        inside.load_cert_chain(files.certificate, files.key)
        values: dict[str, object] = {"folder": self.folder, "cert": files.certificate, "key": files.key, **self.ports}
        for name, context in (("echo", None), ("echo_tls", inside)):
            server = await asyncio.start_server(echo, "127.0.0.1", 0, ssl=context)
            values[name] = server.sockets[0].getsockname()[1]
        path = os.path.join(self.folder, "soak.conf")
        text = re.sub(r"@(\w+)@", lambda found: str(values[found[1]]), STREAM)
        with open(path, "w", encoding="utf-8") as file:
            file.write(f"error_log {self.folder}/error.log info; stream {{ {text} }}")
        process = subprocess.Popen(
            [*twistd(), "-n", "--pidfile=", "sniproxy", "--config", path],
            env={**os.environ, **python_environment()},
            stdout=subprocess.DEVNULL,
        )
        try:
            for _ in range(200):
                with socket.socket() as sock:
                    if sock.connect_ex(("127.0.0.1", self.ports["rated"])) == 0:
                        break
                await asyncio.sleep(0.05)
            await self.traffic(max(5.0, seconds / 4))
            before = await self.measure(process.pid)
            await self.traffic(seconds)
            after = await self.measure(process.pid)
            self.compare(before, after)
            if process.poll() is not None:
                self.wrong.append("sniproxy has ended")
        finally:
            process.terminate()
            process.wait()
        with open(f"{self.folder}/error.log", encoding="utf-8", errors="replace") as file:
            bad = [line for line in file if re.search(r"\[(alert|emerg)\]|internal error", line)]
        self.wrong += bad[:10]

    async def measure(self, pid: int) -> tuple[dict[str, int], int, float]:
        """
        @return: open descriptors by kind, resident KiB, and processor seconds of an idle second; when all is quiet.
        """
        await asyncio.sleep(7)  # longer than any timeout of the configuration
        kinds: dict[str, int] = {}
        for number in os.listdir(f"/proc/{pid}/fd"):
            kind = re.split(r"[:\[]", os.readlink(f"/proc/{pid}/fd/{number}"))[0]
            kind = "file" if kind.startswith("/") else kind
            kinds[kind] = kinds.get(kind, 0) + 1
        with open(f"/proc/{pid}/status", encoding="ascii") as file:
            found = re.search(r"VmRSS:\s+(\d+)", file.read())
        assert found is not None
        began = self.spent(pid)
        await asyncio.sleep(2)
        return kinds, int(found[1]), self.spent(pid) - began

    def spent(self, pid: int) -> float:
        """
        Processor seconds so far.
        """
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def compare(self, before: tuple[dict[str, int], int, float], after: tuple[dict[str, int], int, float]) -> None:
        """
        Say what is not as it was.
        """
        sys.stdout.write(f"before: {before}\nafter:  {after}\nclients: {self.counts}\n")
        sockets = after[0].get("socket", 0) - before[0].get("socket", 0)
        if sockets > 0 or sum(after[0].values()) > sum(before[0].values()) + 8:  # idle pipes are kept, up to a few
            self.wrong.append("descriptors are left over")
        if after[1] > before[1] * 1.1 + 4096:
            self.wrong.append("memory has grown")
        if after[2] > 0.1:
            self.wrong.append("it is busy with nothing")


def main(seconds: float = 180.0, seed: int = 1) -> int:
    """
    @return: the exit code.
    """
    with tempfile.TemporaryDirectory() as folder:
        soak = Soak(folder, seed)
        asyncio.run(soak.run(seconds))
    for line in soak.wrong[:20]:
        sys.stdout.write(f"wrong: {line.rstrip()}\n")
    return 1 if soak.wrong else 0


if __name__ == "__main__":
    sys.exit(main(*(kind(word) for kind, word in zip((float, int), sys.argv[1:], strict=False))))
