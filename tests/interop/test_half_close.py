"""
Do all bytes arrive, whoever ends first, however many they are, and however slowly they are read?

Strategy: the same talk goes over a plain listener, one that ends TLS, one that begins TLS, and one that does both;
the back ends count and digest what they get.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import select
import signal
import socket
import ssl
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Final

from tests.support import backends, clients, pki
from tests.support.backends import BLOCK, LINGER_ZERO, Backend, Visit
from tests.support.clients import plain, read_all, read_exactly
from tests.support.ports import free_port
from tests.support.programs import PATIENCE, eventually, read_text
from tests.support.proxies import NGINX, ProxyTestCase

MEGABYTE: Final = 1 << 20
BULK: Final = 50 * MEGABYTE
CHUNK: Final = os.urandom(MEGABYTE)
NAME: Final = "bulk.example.com"


def bulk_digest(size: int = BULK) -> str:
    """
    @return: the SHA-256 of what L{pour} sends.
    """
    summary = hashlib.sha256()
    for at in range(0, size, MEGABYTE):
        summary.update(CHUNK[: min(MEGABYTE, size - at)])
    return summary.hexdigest()


def pour(connection: socket.socket, size: int = BULK) -> None:
    """
    Send C{size} bytes.
    """
    for at in range(0, size, MEGABYTE):
        connection.sendall(CHUNK[: min(MEGABYTE, size - at)])


def drain(connection: socket.socket) -> tuple[int, str]:
    """
    @return: count and SHA-256 of everything until the end.
    """
    count, summary = 0, hashlib.sha256()
    while block := connection.recv(BLOCK):
        count += len(block)
        summary.update(block)
    return count, summary.hexdigest()


def gush(connection: socket.socket, visit: Visit) -> None:
    """
    A back end that sends the bulk and ends.
    """
    pour(connection)


def swap(connection: socket.socket, least: int | None = None) -> tuple[int, str]:
    """
    Send the bulk and read at the same time, from one thread: OpenSSL does not bear two on one connection.

    @param least: how many bytes to read; None for all until the end.
    @return: count and SHA-256 of what was read.
    """
    connection.setblocking(False)
    blocked = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
    data, sent, count, summary = memoryview(CHUNK), 0, 0, hashlib.sha256()
    end = time.monotonic() + 4 * PATIENCE
    while time.monotonic() < end:
        moved = False
        if sent < BULK:
            start = sent % MEGABYTE
            with contextlib.suppress(*blocked):
                sent += connection.send(data[start : start + 16384])
                moved = True
        if least is None or count < least:
            with contextlib.suppress(*blocked):
                block = connection.recv(BLOCK)
                if not block:
                    return count, summary.hexdigest()
                count += len(block)
                summary.update(block)
                moved = True
        elif sent == BULK:
            connection.setblocking(True)
            return count, summary.hexdigest()
        if not moved:
            select.select([connection], [connection] if sent < BULK else [], [], 1)
    raise AssertionError(f"{sent} sent and {count} read, and no end")


def exchange(connection: socket.socket, visit: Visit) -> None:
    """
    A back end that sends the bulk while it reads as much, then tells the digest of what it read, and ends.
    """
    _, digest = swap(connection, BULK)
    connection.sendall(digest.encode())


class TransferTestCase(ProxyTestCase):
    """
    The four ways through the proxy.
    """

    def setUp(self) -> None:
        """
        Make the certificate.
        """
        super().setUp()
        authority = pki.authority("CA")
        self.trust = pki.write(self.folder, "ca.pem", authority.pem)
        self.files = pki.leaf(authority, NAME).write(self.folder, "server")

    def ways(self, talk: backends.Talk, settings: str = "", main: str = "") -> dict[str, Callable[[], socket.socket]]:
        """
        Start a plain and a TLS back end, and the proxy.

        @return: functions that connect.
        """
        self.open = backends.backend(self, talk)
        self.sealed = backends.backend(self, talk, clients.server_context(self.files))
        ports = {way: free_port() for way in ("plain", "terminating", "wrapping", "both")}
        self.edge = self.proxy(
            main
            + """stream {
                log_format end '$server_port $status $bytes_received $bytes_sent '
                               '$upstream_bytes_sent $upstream_bytes_received';
                access_log @folder@/access.log end;
                ssl_certificate @certificate@;
                ssl_certificate_key @key@;
                proxy_ssl_verify on;
                proxy_ssl_trusted_certificate @trust@;
                proxy_ssl_name @believed@;
                @settings@
                server { listen 127.0.0.1:@plain@; proxy_pass 127.0.0.1:@open@; }
                server { listen 127.0.0.1:@terminating@ ssl; proxy_pass 127.0.0.1:@open@; }
                server { listen 127.0.0.1:@wrapping@; proxy_ssl on; proxy_pass 127.0.0.1:@sealed@; }
                server { listen 127.0.0.1:@both@ ssl; proxy_ssl on; proxy_pass 127.0.0.1:@sealed@; }
            }
            """,
            folder=self.folder,
            certificate=self.files.certificate,
            key=self.files.key,
            trust=self.trust,
            believed=NAME,
            open=self.open.port,
            sealed=self.sealed.port,
            settings=settings,
            plain=ports["plain"],
            terminating=ports["terminating"],
            wrapping=ports["wrapping"],
            both=ports["both"],
        )
        self.ports = ports

        def secure(way: str) -> Callable[[], socket.socket]:
            return lambda: clients.tls(ports[way], NAME, clients.context(trust=self.trust))

        return {
            "plain": lambda: plain(ports["plain"]),
            "terminating": secure("terminating"),
            "wrapping": lambda: plain(ports["wrapping"]),
            "both": secure("both"),
        }

    def behind(self, way: str) -> Backend:
        """
        @return: the back end that a way leads to.
        """
        return self.open if way in ("plain", "terminating") else self.sealed

    def counted(self, way: str) -> list[str]:
        """
        @return: what the access log says of connections by this way: status, from client, to client, to upstream,
            from upstream.
        """
        lines = read_text(self.path("access.log")).split("\n")[:-1]
        return [line.split(" ", 1)[1] for line in lines if line.startswith(f"{self.ports[way]} ")]

    def late_words(self, main: str = "", quits: bool = False) -> dict[str, int]:
        """
        An upstream speaks when the session is over, and only then reads.

        @param quits: whether the proxy is told to, meanwhile, with the first.
        @return: how much of the client's 3 MB it gets, for each way.
        """
        over = threading.Event()

        def talk(connection: socket.socket, visit: Visit) -> None:
            over.wait(PATIENCE)
            connection.sendall(b"late")
            backends.swallow(connection, visit)

        got = {}
        for way, connect in self.ways(talk, main=main).items():
            over.clear()
            with connect() as connection:
                pour(connection, 3 * MEGABYTE)
                if isinstance(connection, ssl.SSLSocket):
                    connection.settimeout(PATIENCE)
                    with contextlib.suppress(OSError):
                        connection.unwrap()  # the proxy need not answer in kind
                else:
                    connection.shutdown(socket.SHUT_WR)
                self.wait_counted(way)
                if quits:
                    self.edge.program.signal(signal.SIGQUIT)
                    eventually(lambda: "gracefully shutting down" in read_text(self.path("edge.log")), "the end")
                over.set()
                got[way] = len(self.behind(way).visit(way in ("terminating", "both")).received)
            if quits:
                break
        return got

    def wait_counted(self, way: str) -> None:
        """
        Wait until a connection by this way is logged.
        """
        eventually(lambda: self.counted(way), "the access log")

    def assert_counted(self, way: str, wanted: str) -> None:
        """
        The one connection by this way is logged with these counts.
        """
        self.wait_counted(way)
        self.assertEqual(self.counted(way), [wanted], way)


class Bulk(TransferTestCase):
    """
    Much at once.
    """

    def test_down(self) -> None:
        """
        Fifty megabytes from the upstream arrive whole before its end does, and are counted.
        """
        wanted = (BULK, bulk_digest())
        for way, connect in self.ways(gush).items():
            with connect() as connection:
                self.assertEqual(drain(connection), wanted, way)
            self.assert_counted(way, f"200 0 {BULK} 0 {BULK}")

    def test_both_ways(self) -> None:
        """
        Fifty megabytes each way at once arrive whole, and are counted.
        """
        summary = hashlib.sha256(CHUNK * (BULK // MEGABYTE))
        summary.update(bulk_digest().encode())
        wanted = (BULK + 64, summary.hexdigest())
        for way, connect in self.ways(exchange).items():
            with connect() as connection:
                got = swap(connection)
            self.assertEqual(got, wanted, way)
            self.assert_counted(way, f"200 {BULK} {BULK + 64} {BULK} {BULK + 64}")


class BulkNginx(Bulk):
    """
    The same on nginx.
    """

    kind = NGINX


class HalfClose(TransferTestCase):
    """
    One side ends before the other.
    """

    def test_on(self) -> None:
        """
        With proxy_half_close the client's FIN is passed on, and the answer that follows it comes back.
        """
        connect = self.ways(backends.digest, "proxy_half_close on;")["plain"]
        with connect() as connection:
            pour(connection, 3 * MEGABYTE)
            connection.shutdown(socket.SHUT_WR)
            self.assertEqual(read_all(connection), f"{3 * MEGABYTE} {bulk_digest(3 * MEGABYTE)}".encode())

    def test_off(self) -> None:
        """
        Without it the client's FIN ends the session, after all bytes before it have been delivered.
        """
        connect = self.ways(backends.digest)["plain"]
        with connect() as connection:
            pour(connection, 3 * MEGABYTE)
            connection.shutdown(socket.SHUT_WR)
            self.assertEqual(read_all(connection), b"")
        visit = self.open.visit(0)
        self.assertTrue(visit.saw_end)
        eventually(lambda: self.counted("plain"), "the access log")
        self.assertEqual(self.counted("plain")[0].split()[:4], ["200", str(3 * MEGABYTE), "0", str(3 * MEGABYTE)])

    def test_upstream_ends(self) -> None:
        """
        The upstream's FIN ends the session on every way, after all bytes before it have been delivered to a client
        that reads late.
        """
        for way, connect in self.ways(backends.say(CHUNK * 3)).items():
            with connect() as connection:
                self.behind(way).visit(0) if way == "plain" else None
                self.assertEqual(drain(connection), (3 * MEGABYTE, bulk_digest(3 * MEGABYTE)), way)

    def test_tls_end(self) -> None:
        """
        A TLS client's close_notify ends the session, after all bytes before it have been delivered.
        """
        for way, connect in self.ways(backends.swallow).items():
            if way in ("plain", "wrapping"):
                continue
            connection = connect()
            assert isinstance(connection, ssl.SSLSocket)
            with closing(connection):
                pour(connection, 3 * MEGABYTE)
                connection.settimeout(PATIENCE)
                try:
                    connection.unwrap().close()
                except OSError:
                    pass  # the proxy need not answer in kind
            visit = self.behind(way).visit(0)
            self.assertEqual(len(visit.received), 3 * MEGABYTE, way)
            self.assertTrue(visit.saw_end, way)

    def test_late_words(self) -> None:
        """
        What an upstream says when the session is over costs it nothing of what it was sent before.
        """
        self.assertEqual(self.late_words(), dict.fromkeys(self.ports, 3 * MEGABYTE))

    def test_client_resets(self) -> None:
        """
        A client's reset ends the upstream's connection on every way.
        """
        for way, connect in self.ways(backends.echo).items():
            with connect() as connection:
                connection.sendall(b"x")
                self.assertEqual(connection.recv(1), b"x")
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_ZERO)
            self.behind(way).visit(0)

    def test_upstream_resets(self) -> None:
        """
        An upstream's reset in the middle ends the client's connection on every way.
        """

        def vanish(connection: socket.socket, visit: Visit) -> None:
            connection.recv(1)
            backends.reset(connection, visit)

        for connect in self.ways(vanish).values():
            with connect() as connection:
                connection.sendall(b"xyz")
                self.assertEqual(read_all(connection), b"")


class HalfCloseNginx(HalfClose):
    """
    The same on nginx.
    """

    kind = NGINX

    def test_late_words(self) -> None:
        """
        Here nginx differs: the system resets the connection, and what it had not delivered is lost.
        """
        for way, got in self.late_words().items():
            self.assertLess(got, 3 * MEGABYTE, way)


class LastBytes(TransferTestCase):
    """
    The proxy ends while not all is delivered.
    """

    def test_quit(self) -> None:
        """
        It ends when all is.
        """
        self.assertEqual(self.late_words(quits=True), {"plain": 3 * MEGABYTE})
        self.assertEqual(self.edge.program.wait(), 0)

    def test_workers(self) -> None:
        """
        So does each worker.
        """
        self.assertEqual(self.late_words("worker_processes 2;\n", quits=True), {"plain": 3 * MEGABYTE})
        self.assertEqual(self.edge.program.wait(), 0)


class Pressure(TransferTestCase):
    """
    Whoever reads slowly slows the other down, and nobody's memory grows.
    """

    def memory(self) -> int:
        """
        @return: kilobytes the proxy's processes have in memory.
        """
        total = 0
        for pid in self.edge.processes():
            for line in read_text(f"/proc/{pid}/status").splitlines():
                if line.startswith("VmRSS:"):
                    total += int(line.split()[1])
        return total

    def test_slow_reader(self) -> None:
        """
        A client that does not read stops the upstream from sending, on every way; when it reads at last, all is there.
        """
        sent: dict[int, int] = {}

        def measured(connection: socket.socket, visit: Visit) -> None:
            for at in range(0, BULK, BLOCK):
                connection.sendall(CHUNK[:BLOCK])
                sent[id(visit)] = at + BLOCK

        for way, connect in self.ways(measured).items():
            sent.clear()
            before = self.memory()
            with connect() as connection:
                stalled = eventually(self.standing(sent), "the upstream stops sending")
                self.assertLess(stalled, BULK * 3 // 4, way)
                self.assertLess(self.memory() - before, 16 * 1024, way)
                self.assertEqual(drain(connection)[0], BULK, way)

    def standing(self, sent: dict[int, int]) -> Callable[[], int]:
        """
        @return: a question that is answered with the bytes sent when there have been no more for a quarter of a second.
        """
        last = [(-1, time.monotonic())]

        def question() -> int:
            now = sum(sent.values())
            if now != last[0][0]:
                last[0] = (now, time.monotonic())
            return now if now and time.monotonic() - last[0][1] > 0.25 else 0

        return question

    def test_many(self) -> None:
        """
        Two hundred connections at once each get their own bytes back, over plain and TLS, and none stays.
        """
        ways = self.ways(backends.echo)
        before = self.edge.connections()

        def talk(number: int) -> bool:
            connect = list(ways.values())[number % 4]
            mine = number.to_bytes(2, "big") * 5000
            with connect() as connection:
                connection.sendall(mine)
                barrier.wait(4 * PATIENCE)
                return read_exactly(connection, len(mine)) == mine

        barrier = threading.Barrier(200)
        with ThreadPoolExecutor(200) as pool:
            self.assertEqual(list(pool.map(talk, range(200))), [True] * 200)
        self.assertEqual(self.open.accepted + self.sealed.accepted, 200)
        eventually(lambda: self.edge.connections() <= before, f"no more than {before} sockets")


class PressureNginx(Pressure):
    """
    The same on nginx.
    """

    kind = NGINX


class Timeouts(TransferTestCase):
    """
    Silence.
    """

    def test_idle(self) -> None:
        """
        A session in which nothing moves for proxy_timeout ends on both sides, on every way, and the log says so.
        """
        ways = self.ways(backends.echo, "proxy_timeout 1s;")
        for way, connect in ways.items():
            with connect() as connection:
                own = connection.getsockname()[1]
                connection.sendall(b"x")
                self.assertEqual(connection.recv(1), b"x")
                begin = time.monotonic()
                self.assertEqual(read_all(connection), b"", way)
                self.assertGreater(time.monotonic() - begin, 0.8, way)
                self.assertLess(time.monotonic() - begin, 5, way)
            self.behind(way).visit(0)
            port, peer = self.ports[way], self.behind(way).port
            self.edge.tells(
                own,
                f"[info] proxy connected to 127.0.0.1:{peer}",
                "[info] connection timed out (110: Connection timed out) while proxying connection, client: 127.0.0.1, "
                f'server: 127.0.0.1:{port}, upstream: "127.0.0.1:{peer}", '
                "bytes from/to client:1/1, bytes from/to upstream:1/1",
            )

    def test_any_byte_counts(self) -> None:
        """
        A byte now and then in one direction keeps a session longer than proxy_timeout.
        """
        connect = self.ways(backends.swallow, "proxy_timeout 1s;")["plain"]
        with connect() as connection:
            connection.settimeout(0.4)
            begin = time.monotonic()
            while time.monotonic() - begin < 2.5:
                connection.sendall(b"x")
                with self.assertRaises(TimeoutError):
                    connection.recv(1)


class TimeoutsNginx(Timeouts):
    """
    The same on nginx.
    """

    kind = NGINX
