"""
Where do large bodies go? A server of HTTPS that takes them, a thread for each connection, and answers how much came.

    python benchmarks/sink.py PORT CERTIFICATE KEY CA

It says a line on its standard output when it listens, and ends with its standard input. Clients need a certificate.
"""

from __future__ import annotations

import re
import socket
import ssl
import sys
import threading
from io import BufferedReader
from socket import SocketIO
from typing import Final

PIECE: Final = 256 * 1024
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
_CHUNKED: Final = re.compile(rb"\r\ntransfer-encoding: *chunked\r\n", re.IGNORECASE)


def serve(connection: socket.socket, context: ssl.SSLContext) -> None:
    """
    One connection, until it ends.
    """
    try:
        with context.wrap_socket(connection, server_side=True) as stream:
            lines = BufferedReader(SocketIO(stream, "r"), PIECE)
            while True:
                head = b"\r\n"
                while not head.endswith(b"\r\n\r\n"):
                    line = lines.readline()
                    if not line:
                        return
                    head += line
                found = _LENGTH.search(head)
                left = int(found[1]) if found else 0
                taken = 0
                buffer = memoryview(bytearray(PIECE))
                while taken < left:
                    got = lines.readinto1(buffer[: min(PIECE, left - taken)])
                    if not got:
                        return
                    taken += got
                while _CHUNKED.search(head):
                    size = int(lines.readline().partition(b";")[0], 16)
                    taken += len(lines.read(size + 2)) - 2
                    if not size:
                        break
                text = str(taken).encode()
                stream.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(text), text))
    except OSError:
        return  # the proxy has gone, which its clients will tell


def main(port: str, certificate: str, key: str, authority: str) -> None:
    """
    Serve until the standard input ends.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    context.load_verify_locations(authority)
    context.verify_mode = ssl.CERT_REQUIRED
    listener = socket.create_server(("127.0.0.1", int(port)), backlog=128)

    def accept() -> None:
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=serve, args=(connection, context), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    print("listens", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
