"""
What stands behind an http proxy? An application of a few lines: it sends long answers, sums up what it is sent, and
echoes over WebSocket (RFC 6455).

C{GET /length/N} answers N bytes of L{pattern}, C{GET /chunks/N} the same in chunks; C{PUT} and C{POST} answer the count
and the SHA-256 of the body; C{GET /echo} with an upgrade is a WebSocket that sends back what it gets.
"""

from __future__ import annotations

import base64
import hashlib
import socket
import ssl
import struct
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from tests.support.programs import PATIENCE, ProgramTestCase

BLOCK: Final = bytes(range(256)) * 256
_MAGIC: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

TEXT: Final = 1
BINARY: Final = 2
CLOSE: Final = 8
PING: Final = 9
PONG: Final = 10


def pattern(length: int) -> str:
    """
    @return: count and SHA-256 of the bytes that C{/length/N} answers, as C{PUT} tells them.
    """
    summary = hashlib.sha256()
    left = length
    while left:
        piece = BLOCK[:left]
        summary.update(piece)
        left -= len(piece)
    return f"{length} {summary.hexdigest()}"


def accepted(key: bytes) -> bytes:
    """
    @return: what C{Sec-WebSocket-Accept} has to be.
    """
    return base64.b64encode(hashlib.sha1(key + _MAGIC).digest())


def frame(kind: int, data: bytes, mask: bytes = b"") -> bytes:
    """
    @param mask: four bytes, as clients must have them.
    """
    bit = 0x80 if mask else 0
    size = len(data)
    if size < 126:
        head = struct.pack("!BB", 0x80 | kind, bit | size)
    elif size < 65536:
        head = struct.pack("!BBH", 0x80 | kind, bit | 126, size)
    else:
        head = struct.pack("!BBQ", 0x80 | kind, bit | 127, size)
    return head + mask + (masked(data, mask) if mask else data)


def masked(data: bytes, mask: bytes) -> bytes:
    """
    Data with its mask put on, or taken off.
    """
    size = len(data)
    key = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(data, "big") ^ int.from_bytes(key, "big")).to_bytes(size, "big")


def read_frame(file: Any) -> tuple[int, bytes]:
    """
    @return: kind and data of the next frame; C{CLOSE} at the end.
    """
    head = file.read(2)
    if len(head) < 2:
        return CLOSE, b""
    size = head[1] & 127
    if size > 125:
        size = int.from_bytes(file.read(2 if size == 126 else 8), "big")
    mask = file.read(4) if head[1] & 0x80 else b""
    data = file.read(size)
    return head[0] & 15, masked(data, mask) if mask else data


class _Application(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """
        Send something long, or upgrade.
        """
        _, what, *rest = self.path.split("/")
        if what == "echo":
            self._echo()
            return
        length = int(rest[0])
        self.send_response(200)
        if what == "length":
            self.send_header("Content-Length", str(length))
        else:
            self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        while length:
            piece = BLOCK[:length]
            length -= len(piece)
            self.wfile.write(piece if what == "length" else b"%x\r\n%b\r\n" % (len(piece), piece))
        if what == "chunks":
            self.wfile.write(b"0\r\n\r\n")

    def do_POST(self) -> None:
        """
        Sum up a body.
        """
        count, summary = 0, hashlib.sha256()
        chunked = self.headers.get("Transfer-Encoding") == "chunked"
        left = 0 if chunked else int(self.headers.get("Content-Length", "0"))
        while left or chunked:
            if not left:
                left = int(self.rfile.readline(), 16)
                if not left:
                    self.rfile.readline()
                    break
            piece = self.rfile.read(min(left, 65536))
            if not piece:
                self.close_connection = True
                return
            count += len(piece)
            left -= len(piece)
            summary.update(piece)
            if chunked and not left:
                self.rfile.readline()
        text = f"{count} {summary.hexdigest()}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_PUT = do_POST

    def _echo(self) -> None:
        self.close_connection = True
        key = self.headers.get("Sec-WebSocket-Key", "").encode()
        self.send_response(101)
        for name, value in (("Upgrade", "websocket"), ("Connection", "Upgrade")):
            self.send_header(name, value)
        self.send_header("Sec-WebSocket-Accept", accepted(key).decode())
        self.end_headers()
        while True:
            kind, data = read_frame(self.rfile)
            self.wfile.write(frame(PONG if kind == PING else kind, data))
            if kind == CLOSE:
                return

    def handle_expect_100(self) -> bool:
        """
        Go on: proxies answer this themselves.
        """
        return True

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """
        Keep quiet.
        """


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512

    def handle_error(self, request: Any, client_address: Any) -> None:
        """
        Who breaks off is none of our business.
        """


def application(test: ProgramTestCase, context: ssl.SSLContext | None = None) -> int:
    """
    @return: the port of an application that ends with the test.
    """
    server = _Server(("127.0.0.1", 0), _Application)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join(PATIENCE)

    test.addCleanup(stop)
    return int(server.server_address[1])


class WebSocket:
    """
    A client's side of one, blocking.
    """

    def __init__(self, connection: socket.socket, path: str, host: str = "x") -> None:
        """
        @raise ValueError: the server does not agree.
        """
        self.connection = connection
        self._file = connection.makefile("rb")
        key = base64.b64encode(b"sixteen bytes!!!")
        lines = (
            f"GET {path} HTTP/1.1",
            f"Host: {host}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Key: {key.decode()}",
            "",
            "",
        )
        connection.sendall("\r\n".join(lines).encode())
        self.head = b""
        while not self.head.endswith(b"\r\n\r\n"):
            line = self._file.readline()
            if not line:
                break
            self.head += line
        if not self.head.startswith(b"HTTP/1.1 101 ") or accepted(key) not in self.head:
            raise ValueError(self.head)

    def send(self, kind: int, data: bytes) -> None:
        """
        Send a frame.
        """
        self.connection.sendall(frame(kind, data, b"mask"))

    def receive(self) -> tuple[int, bytes]:
        """
        Wait for one.
        """
        return read_frame(self._file)

    def close(self) -> None:
        """
        Leave without a word.
        """
        self._file.close()
        self.connection.close()
