"""
The one object that the rooms above ask for sockets, waits and relays: the engine of one process.
"""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.interfaces import IReactorFDSet

from sniproxy.addresses import Address
from sniproxy.interfaces import ILeg, IRelay
from sniproxy.net.accept import Listener
from sniproxy.net.connect import ConnectOptions, connect
from sniproxy.net.datagrams import DatagramListener, DatagramPorts
from sniproxy.net.lead import lead
from sniproxy.net.legs import SocketLeg
from sniproxy.net.pipes import Pipes
from sniproxy.net.poller import Poller
from sniproxy.net.portable_network import PortableNetwork
from sniproxy.net.relay import PumpRelay
from sniproxy.net.splice import SpliceRelay
from sniproxy.net.tickets import Tickets
from sniproxy.net.timers import Deadlines
from sniproxy.net.tls_leg import TlsLeg


class Cancellable(Protocol):
    """
    Something under way.
    """

    def cancel(self) -> None:
        """
        Give up; nobody is told.
        """


def network_for(reactor: Any, ours: bool = False) -> Network | PortableNetwork:
    """
    The best network that runs on a reactor of this platform.

    @param ours: whether the process is, and so the reactor.
    """
    if hasattr(select, "epoll") and hasattr(os, "splice") and IReactorFDSet.providedBy(reactor):
        return Network(reactor, ours)
    return PortableNetwork(reactor)


class Network:
    """
    Sockets on an epoll of our own, nested in the reactor or around it. Owns the poller and the idle pipes.

    @ivar clock: the reactor, as C{IReactorTime}.
    @ivar deadlines: every wait of the process.
    @ivar tickets: the one wait that is none of those.
    """

    def __init__(self, reactor: Any, ours: bool = False) -> None:
        """
        @param reactor: C{IReactorFDSet} and C{IReactorTime}.
        @param ours: whether we may wait for it, as L{sniproxy.net.lead} does; where it is somebody else's, we do not.
        """
        self.clock = reactor
        self.deadlines = Deadlines(reactor)
        self.poller = Poller(reactor)
        self._lead = lead(reactor, self.poller) if ours else None
        self._ports = DatagramPorts(self.poller)
        self._pipes = Pipes()
        self.tickets = Tickets(reactor)
        self._relays: tuple[Any, ...] = (SpliceRelay(self._pipes), PumpRelay())

    def listen(
        self, sock: socket.socket, accepted: Callable[[SocketLeg], None], complain: Callable[[OSError], None]
    ) -> Listener:
        """
        @param sock: bound and listening; lent.
        @return: not started yet.
        """
        return Listener(self.poller, self.clock, sock, accepted, complain)

    def listen_datagrams(
        self, sock: socket.socket, accepted: Callable[[Any], None], complain: Callable[[OSError], None]
    ) -> DatagramListener:
        """
        @see: L{DatagramPorts.listen}
        """
        return self._ports.listen(sock, accepted, complain)

    def connect(self, address: Address, options: ConnectOptions, done: Callable[[Any, int], None]) -> Cancellable:
        """
        @see: L{sniproxy.net.connect.connect}
        """
        return connect(self.poller, address, options, done)

    def start_tls(self, leg: Any, connection: Any) -> TlsLeg:
        """
        Speak TLS on a leg from here on.

        @param connection: see L{sniproxy.net.channel.Channel}.
        """
        return TlsLeg(leg, connection, self.poller if isinstance(leg, SocketLeg) else None)

    def relay(self, client: ILeg, upstream: ILeg) -> IRelay:
        """
        @return: the cheapest relay that can carry these two.
        """
        chosen: IRelay
        for chosen in self._relays:
            if chosen.can_carry(client, upstream):
                break
        return chosen  # the last one carries everything

    def later(self, step: Callable[[], None]) -> None:
        """
        @see: L{Poller.later}
        """
        self.poller.later(step)

    def drop(self, what: Any) -> None:
        """
        @see: L{Poller.drop}
        """
        self.poller.drop(what)

    @property
    def lingering(self) -> bool:
        """
        Whether there are sockets that nobody uses, and that have something to say yet or to see it delivered.
        """
        return bool(self.poller.lingering or self.poller.speaking)

    def stop(self) -> None:
        """
        Watch nothing, wait for nothing.
        """
        self.deadlines.stop()
        self.tickets.stop()
        self._ports.stop()
        if self._lead is not None:
            self._lead.end()
        self.poller.stop()
        self._pipes.close()
