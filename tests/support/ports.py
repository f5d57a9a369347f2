"""
Which port may a test listen on? One that is free now and that nobody gets by accident before it is used.

Strategy: ports are drawn from below the range that Linux gives to outgoing connections (32768 and up), so that of
all the connections of a test run none takes a port between its choice and its use. A port is chosen once in a
process, and by one process at a time: each holds a lock on one byte of a file for each of its ports.
"""

from __future__ import annotations

import fcntl
import os
import random
import socket
import tempfile
from typing import Final

LOWEST: Final = 12000
HIGHEST: Final = 32000

_taken: set[int] = set()
_dice: Final = random.SystemRandom()
_locks: Final = os.open(
    os.path.join(tempfile.gettempdir(), f"sniproxy-test-ports-{os.getuid()}"),
    os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW,
    0o600,
)
"""Record locks (C{fcntl(2)}), which end with the process."""


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """
    @return: a port that is free on every IPv4 address and that no earlier call returned, here or in another process
        that still runs.
    @raise OSError: there is none.
    """
    for _ in range(1000):
        port = _dice.randrange(LOWEST, HIGHEST)
        if port not in _taken and _is_claimed(port) and _is_free(port, kind):
            _taken.add(port)
            return port
    raise OSError("no free port")


def free_ports(count: int) -> tuple[int, ...]:
    """
    @return: C{count} of them.
    """
    return tuple(free_port() for _ in range(count))


def _is_claimed(port: int) -> bool:
    try:
        fcntl.lockf(_locks, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except OSError:
        return False
    return True


def _is_free(port: int, kind: socket.SocketKind) -> bool:
    with socket.socket(socket.AF_INET, kind) as trial:
        if kind == socket.SOCK_STREAM:  # for datagrams it would let us share a port with somebody
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind(("", port))
        except OSError:
            return False
    return True
