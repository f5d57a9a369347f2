"""
What stands behind a proxy in a test? A server of a few lines in a thread: it greets, echoes, counts, stays silent
or resets.

Each one listens on a loopback port of its own from its construction on, counts whom it has accepted, and writes
down what it saw of each connection. C{close} ends the listener and every connection, and waits for the threads.
"""

from __future__ import annotations

import hashlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from tests.support.programs import PATIENCE, ProgramTestCase, eventually

BLOCK: Final = 65536
LINGER_ZERO: Final = struct.pack("ii", 1, 0)


@dataclass
class Visit:
    """
    One connection, seen from the server.

    @ivar error: why the TLS handshake or the talk failed, None where it did not.
    @ivar name: the server name the client asked for.
    @ivar reused: whether the TLS session was resumed.
    @ivar received: the bytes that L{echo}, L{greet} and L{swallow} have read.
    """

    peer: tuple[str, int]
    error: Exception | None = None
    name: str | None = None
    reused: bool | None = None
    certificate: bytes | None = None
    version: str | None = None
    received: bytearray = field(default_factory=bytearray)
    ended: threading.Event = field(default_factory=threading.Event)
    saw_end: bool = False


Talk = Callable[[socket.socket, Visit], None]


def echo(connection: socket.socket, visit: Visit) -> None:
    """
    Send back what comes, until the client ends.
    """
    while block := connection.recv(BLOCK):
        visit.received += block
        connection.sendall(block)
    visit.saw_end = True


def greet(text: bytes) -> Talk:
    """
    Say C{text} first, then echo.
    """

    def talk(connection: socket.socket, visit: Visit) -> None:
        connection.sendall(text)
        echo(connection, visit)

    return talk


def say(text: bytes) -> Talk:
    """
    Say C{text} and end.
    """

    def talk(connection: socket.socket, visit: Visit) -> None:
        connection.sendall(text)

    return talk


def swallow(connection: socket.socket, visit: Visit) -> None:
    """
    Read to the end and answer nothing.
    """
    while block := connection.recv(BLOCK):
        visit.received += block
    visit.saw_end = True


def digest(connection: socket.socket, visit: Visit) -> None:
    """
    Read to the end, then answer the count and the SHA-256 of what came.
    """
    count, summary = 0, hashlib.sha256()
    while block := connection.recv(BLOCK):
        count += len(block)
        summary.update(block)
    visit.saw_end = True
    connection.sendall(f"{count} {summary.hexdigest()}".encode())


def reset(connection: socket.socket, visit: Visit) -> None:
    """
    Read something and end with a reset. Earlier it might come before the connection is known to be one.
    """
    connection.recv(1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_ZERO)


class Backend:
    """
    A TCP or TLS server.

    @ivar port: where it listens on 127.0.0.1.
    @ivar visits: its connections, in the order of their acceptance.
    """

    def __init__(
        self, talk: Talk = echo, context: ssl.SSLContext | None = None, *, port: int = 0, address: str = "127.0.0.1"
    ) -> None:
        self._talk = talk
        self._context = context
        self.visits: list[Visit] = []
        self._open: dict[socket.socket, threading.Thread] = {}
        self._lock = threading.Lock()
        self._names: dict[int, str | None] = {}
        if context is not None:
            context.sni_callback = self._named
        self._listener = socket.create_server((address, port), backlog=512)
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    @property
    def accepted(self) -> int:
        """
        How many connections it has had.
        """
        return len(self.visits)

    def visit(self, number: int) -> Visit:
        """
        Wait for the C{number}th connection, from 0, and its end.
        """
        eventually(lambda: self.accepted > number, f"connection {number} at the back end")
        visit = self.visits[number]
        if not visit.ended.wait(PATIENCE):
            raise AssertionError(f"connection {number} at the back end does not end")
        return visit

    def _accept(self) -> None:
        while True:
            try:
                connection, peer = self._listener.accept()
            except OSError:
                return
            connection.settimeout(2 * PATIENCE)
            visit = Visit(peer)
            thread = threading.Thread(target=self._serve, args=(connection, visit), daemon=True)
            with self._lock:
                self.visits.append(visit)
                self._open[connection] = thread
            thread.start()

    def _serve(self, raw: socket.socket, visit: Visit) -> None:
        connection = raw
        try:
            if self._context is not None:
                connection = self._greet_tls(raw, visit)
            self._talk(connection, visit)
        except (OSError, ValueError) as error:
            visit.error = error
        finally:
            if isinstance(connection, ssl.SSLSocket):
                with suppress(OSError, ValueError):
                    connection.settimeout(1)
                    connection.unwrap()
            connection.close()
            raw.close()
            with self._lock:
                self._open.pop(raw, None)
            visit.ended.set()

    def _greet_tls(self, raw: socket.socket, visit: Visit) -> socket.socket:
        assert self._context is not None
        copy = raw.dup()
        copy.settimeout(2 * PATIENCE)
        wrapped = self._context.wrap_socket(copy, server_side=True, do_handshake_on_connect=False)
        try:
            wrapped.do_handshake()
        except BaseException:
            wrapped.close()
            raise
        visit.name = self._names.pop(id(wrapped), None)
        visit.reused = wrapped.session_reused
        visit.certificate = wrapped.getpeercert(binary_form=True)
        visit.version = wrapped.version()
        return wrapped

    def _named(self, connection: ssl.SSLSocket | ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> None:
        self._names[id(connection)] = name

    def close(self) -> None:
        """
        End the listener and every connection.
        """
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(PATIENCE)
        with self._lock:
            running = list(self._open.items())
        for connection, _ in running:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for _, thread in running:
            thread.join(PATIENCE)


class _Page(BaseHTTPRequestHandler):
    text = b""

    def do_GET(self) -> None:
        """
        Answer every request with the same page.
        """
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(self.text)))
        self.end_headers()
        self.wfile.write(self.text)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """
        Keep quiet.
        """


def web(test: ProgramTestCase, text: bytes) -> int:
    """
    @return: the port of a web server of Python's own, which ends with the test.
    """
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Page", (_Page,), {"text": text}))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join(PATIENCE)

    test.addCleanup(stop)
    return int(server.server_address[1])


def backend(
    test: ProgramTestCase, talk: Talk = echo, context: ssl.SSLContext | None = None, *, port: int = 0
) -> Backend:
    """
    A back end that ends with the test.
    """
    server = Backend(talk, context, port=port)
    test.addCleanup(server.close)
    return server


def closed_port(test: ProgramTestCase) -> int:
    """
    @return: a port that refuses connections for as long as the test runs: it is bound, and nobody listens.
    """
    holder = socket.socket()
    holder.bind(("127.0.0.1", 0))
    test.addCleanup(holder.close)
    return int(holder.getsockname()[1])


def hang_up(connection: socket.socket, visit: Visit) -> None:
    """
    Read something and end, answering nothing.
    """
    connection.recv(BLOCK)


def deaf_port(test: ProgramTestCase) -> int:
    """
    @return: a port that neither accepts nor refuses connections: it listens, and its queue is full.
    """
    listener = socket.socket()
    test.addCleanup(listener.close)
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    for _ in range(8):
        filler = socket.socket()
        test.addCleanup(filler.close)
        filler.setblocking(False)
        filler.connect_ex(listener.getsockname())
    return int(listener.getsockname()[1])
