"""
Two ends and a clock, for tests of how bytes move: a reactor that does nothing by itself, and sockets to try it with.

Strategy: the epoll is real and the sockets are real, but nobody waits: tests call C{doRead} themselves. On
socketpairs what was written is there at once; over loopback TCP the epoll is polled for a bounded time.
"""

from __future__ import annotations

import os
import select
import socket
import time
from collections.abc import Callable
from typing import Any

from twisted.internet.task import Clock

from sniproxy.net.legs import SocketLeg
from sniproxy.net.network import Network
from sniproxy.net.poller import Poller
from sniproxy.net.timers import NEVER

PATIENCE = 5.0
"""Seconds until loopback is given up: never waited for by a test that passes."""


class Reactor(Clock):
    """
    A clock, and a list of readers that nobody reads.
    """

    def __init__(self) -> None:
        super().__init__()
        self.readers: list[Any] = []

    def addReader(self, reader: Any) -> None:
        """
        Remember it.
        """
        self.readers.append(reader)

    def removeReader(self, reader: Any) -> None:
        """
        Forget it.
        """
        self.readers.remove(reader)


class Waiter:
    """
    A holder of a deadline, and an owner, that notes what happens to it.
    """

    def __init__(self) -> None:
        self.due = NEVER
        self.bucket = 0
        self.expirations = 0
        self.crashes = 0

    def expired(self) -> None:
        """
        Note it.
        """
        self.expirations += 1

    def crashed(self) -> None:
        """
        Note it.
        """
        self.crashes += 1


def until(turn: Callable[[], None], poller: Poller, condition: Callable[[], Any]) -> None:
    """
    Turn until something holds; for what the kernel does in its own time.

    @raise AssertionError: it does not hold for C{PATIENCE} seconds.
    """
    waiting = select.poll()
    waiting.register(poller.fileno(), select.POLLIN)
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        for _ in range(20):
            turn()
            if condition():
                return
        waiting.poll(1)
    raise AssertionError("it does not happen")


def unix_pair() -> tuple[socket.socket, socket.socket]:
    """
    Two connected unix sockets, not blocking.
    """
    first, second = socket.socketpair()
    first.setblocking(False)
    second.setblocking(False)
    return first, second


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    """
    Two connected TCP sockets on loopback, not blocking.
    """
    with socket.create_server(("127.0.0.1", 0)) as server:
        first = socket.create_connection(server.getsockname())
        second, _ = server.accept()
    for sock in (first, second):
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return first, second


def bare(sock: socket.socket) -> Any:
    """
    The same connection as legs want it: without the wrapper, which is left empty.
    """
    import _socket

    family, kind, proto = sock.family, sock.type, sock.proto
    return _socket.socket(family, kind, proto, sock.detach())


def leg_of(poller: Poller, sock: socket.socket) -> SocketLeg:
    """
    A leg that owns the connection of C{sock}, which is left empty.
    """
    return SocketLeg(poller, bare(sock))


def open_descriptors() -> set[tuple[int, str]]:
    """
    What this process has open.
    """
    found = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            found.add((int(name), os.readlink(f"/proc/self/fd/{name}")))
        except OSError:
            pass  # the descriptor of the listing itself
    return found


class Engine:
    """
    A network on a reactor that does nothing by itself.
    """

    def __init__(self) -> None:
        self.reactor = Reactor()
        self.network = Network(self.reactor)
        self.poller = self.network.poller

    def turn(self) -> None:
        """
        One turn.
        """
        self.poller.doRead()
        self.reactor.advance(0)

    def until(self, condition: Callable[[], Any]) -> None:
        """
        @see: L{until}
        """
        until(self.turn, self.poller, condition)

    def pair(self) -> tuple[SocketLeg, socket.socket]:
        """
        A leg, and its far end.
        """
        near, far = unix_pair()
        return leg_of(self.poller, near), far

    def tcp(self) -> tuple[SocketLeg, socket.socket]:
        """
        A leg over TCP, and its far end.
        """
        near, far = tcp_pair()
        return leg_of(self.poller, near), far

    def stop(self) -> None:
        """
        The end.
        """
        self.network.stop()
