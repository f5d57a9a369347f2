"""
Datagrams for tests in memory: who sends them to us, and who we send them to.

    world = World("server { listen 192.0.2.1:53 udp; proxy_pass 192.0.2.2:53; }")
    client = Correspondent(world, b"question")      # a session has begun
    upstream = upstream_of(world)                   # the socket to the upstream
    upstream.taken()                                # [b"question"]
    upstream.arrive(b"answer")
    client.taken()                                  # [b"answer"]
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import Any

from sniproxy.addresses import Address
from sniproxy.net.datagrams import RETRY, ClientDatagrams
from sniproxy.net.legs import nothing
from sniproxy.net.poller import ERR, IN, OUT
from tests.support.sessions import CLIENT, World


class FakePort:
    """
    What L{ClientDatagrams} needs of its port.

    @ivar sent: what was sent and nobody has taken.
    @ivar room: how many more datagrams may be sent; None for any number.
    @ivar error: what sending raises, or None.
    """

    def __init__(self, clock: Any, room: int | None = None, error: OSError | None = None) -> None:
        self.poller = Clocked(clock)
        self.clients: dict[Any, ClientDatagrams] = {}
        self.sent: list[bytes] = []
        self.gone: list[ClientDatagrams] = []
        self.room = room
        self.error = error

    def send(self, data: bytes, sockaddr: Any, reply: Any) -> None:
        """
        Take a datagram.
        """
        if self.error is not None:
            raise self.error
        if self.room is not None:
            if not self.room:
                raise BlockingIOError
            self.room -= 1
        self.sent.append(data)

    def left(self, leg: ClientDatagrams) -> None:
        """
        A client is gone.
        """
        self.gone.append(leg)


class Clocked:
    """
    A poller that has nothing but a clock.
    """

    def __init__(self, clock: Any) -> None:
        self.clock = clock


class FakeUpstream:
    """
    A connected socket in memory.

    @ivar sent: what was sent and nobody has taken.
    @ivar room: how many more datagrams may be sent; None for any number.
    @ivar error: what sending raises, or None.
    """

    peer = Address("inet", "192.0.2.2", 53)
    local = Address("inet", "192.0.2.99", 50000)

    def __init__(self, clock: Any) -> None:
        self.clock = clock
        self.handler: Callable[[int], None] = nothing
        self.owner: Any = None
        self.sent: list[bytes] = []
        self.room: int | None = None
        self.error: OSError | None = None
        self.closed = False
        self.watched = False
        self._incoming: list[bytes | OSError] = []

    # What the house does.

    def watch(self) -> bool:
        """
        Begin to tell.
        """
        self.watched = True
        return True

    def again(self) -> None:
        """
        Tell once more, soon.
        """
        self.clock.callLater(0, lambda: self.handler(IN))

    def receive(self, limit: int) -> bytes | None:
        """
        One datagram.
        """
        assert not self.closed
        if not self._incoming:
            return None
        got = self._incoming.pop(0)
        if isinstance(got, OSError):
            raise got
        return got[:limit]

    def send_datagram(self, data: bytes) -> bool:
        """
        Take one.
        """
        assert not self.closed
        if self.error is not None:
            raise self.error
        if self.room is not None:
            if not self.room:
                self.clock.callLater(RETRY, lambda: self.handler(OUT))
                return False
            self.room -= 1
        self.sent.append(data)
        return True

    def close(self) -> None:
        """
        The end.
        """
        self.handler = nothing
        self.closed = True

    # What the far end does.

    def arrive(self, *messages: bytes) -> None:
        """
        Datagrams come in, at once.
        """
        self._incoming += messages
        self.tell(IN)

    def refuse(self, number: int = errno.ECONNREFUSED) -> None:
        """
        The network has something to say.
        """
        self._incoming.append(OSError(number, os.strerror(number)))
        self.tell(IN | ERR)

    def tell(self, bits: int) -> None:
        """
        An edge.
        """
        if self.watched:
            self.handler(bits)

    def taken(self) -> list[bytes]:
        """
        What was sent.
        """
        sent, self.sent = self.sent, []
        return sent


class Correspondent:
    """
    A client of a L{World} that sends datagrams.

    @ivar leg: ours to it.
    """

    def __init__(
        self, world: World, data: bytes = b"", at: int = 0, peer: Address = CLIENT, port: FakePort | None = None
    ) -> None:
        """
        @param data: its first datagram.
        @param at: which of the addresses it sends it to.
        @param port: the socket there, if something is to be wrong with it.
        """
        self.port = port or FakePort(world.reactor)
        listening = world.listening[at]
        self.leg = ClientDatagrams(self.port, "key", ("sockaddr",), peer, listening.address, (), data)
        self.port.clients["key"] = self.leg
        world.runtime.begin(listening, self.leg)

    @property
    def known(self) -> bool:
        """
        Whether its next datagram belongs to this session.
        """
        return bool(self.port.clients)

    def send(self, data: bytes) -> None:
        """
        One more datagram.
        """
        assert self.known
        self.leg.arrive(data)

    def taken(self) -> list[bytes]:
        """
        What it was sent.
        """
        sent, self.port.sent = self.port.sent, []
        return sent


def upstream_of(world: World) -> FakeUpstream:
    """
    The socket to the upstream that is asked for: connected.
    """
    return world.attempt().deliver(FakeUpstream(world.reactor))
