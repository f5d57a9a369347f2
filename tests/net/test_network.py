"""
Tests of sniproxy/net/network.py: the engine of one process.
"""

from __future__ import annotations

import os
import select
import socket
from typing import Any
from weakref import ref

from twisted.internet.interfaces import IReactorFDSet
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import directlyProvides

from sniproxy.addresses import Address
from sniproxy.net.connect import DEFAULT, ConnectOptions
from sniproxy.net.network import Network, network_for
from sniproxy.net.portable_network import PortableNetwork
from sniproxy.net.relay import PumpRelay
from sniproxy.net.splice import SpliceRelay
from sniproxy.net.tls_leg import TlsLeg
from tests.net.conformance import World
from tests.support import tls
from tests.support.legs import Reactor, Waiter, leg_of, open_descriptors, tcp_pair, unix_pair


class ChoiceTests(SynchronousTestCase):
    """
    Which network a reactor carries.
    """

    def reactor(self) -> Reactor:
        """
        One that has readers.
        """
        reactor = Reactor()
        directlyProvides(reactor, IReactorFDSet)
        return reactor

    def test_epoll(self) -> None:
        """
        On Linux, and with a reactor that has readers, our own.
        """
        network = network_for(self.reactor())
        self.assertIsInstance(network, Network)
        network.stop()

    def test_without_readers(self) -> None:
        """
        Without readers, Twisted's transports.
        """
        self.assertIsInstance(network_for(Clock()), PortableNetwork)

    def test_elsewhere(self) -> None:
        """
        Nor where the system has no epoll, or no splice.
        """
        for module, name in ((select, "epoll"), (os, "splice")):
            with self.subTest(name):
                patch = self.patch(module, name, None)
                delattr(module, name)
                self.assertIsInstance(network_for(self.reactor()), PortableNetwork)
                setattr(module, name, None)
                patch.restore()


class NetworkTests(SynchronousTestCase):
    """
    All of it, on loopback.
    """

    def setUp(self) -> None:
        self.before = open_descriptors()
        self.world = World()
        self.network = self.world.network

    def tearDown(self) -> None:
        self.world.end()
        self.assertEqual(open_descriptors() - self.before, set())

    def keep(self, *sides: Any) -> Any:
        """
        Have them closed in the end.
        """
        self.world.legs += [leg for leg, _ in sides]
        self.world.fars += [far for _, far in sides]
        return [leg for leg, _ in sides]

    def test_listen_and_connect(self) -> None:
        """
        What goes out comes in.
        """
        inside: list[Any] = []
        outside: list[Any] = []
        with socket.create_server(("127.0.0.1", 0)) as server:
            listener = self.network.listen(server, inside.append, outside.append)
            listener.start()
            address = Address("inet", *server.getsockname())
            self.network.connect(address, DEFAULT, lambda leg, bits: outside.append(leg))
            self.world.until(lambda: inside and outside)
            listener.stop()
        self.world.legs += inside + outside
        self.assertEqual(inside[0].peer, outside[0].local)

    def test_datagrams(self) -> None:
        """
        Datagrams come in and go out, and their sockets end with the network.
        """
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind(("127.0.0.1", 0))
            legs: list[Any] = []
            self.network.listen_datagrams(sock, legs.append, self.fail).start()
            address = Address("inet", *sock.getsockname())
            self.network.connect(address, ConnectOptions(datagrams=True), lambda leg, bits: legs.append(leg))
            legs[0].send(b"hello")
            self.world.until(lambda: len(legs) == 2)
            self.assertEqual(legs[1].receive(9), b"hello")
            legs[0].close()

    def test_start_tls(self) -> None:
        """
        TLS goes over any leg.
        """
        (raw,) = self.keep(self.world.plain_unix())
        leg = self.network.start_tls(raw, tls.server())
        self.assertEqual((type(leg), leg.raw), (TlsLeg, raw))

    def test_relay(self) -> None:
        """
        The cheapest relay that fits is chosen.
        """
        plain, other, memory = self.keep(self.world.plain_unix(), self.world.plain_unix(), self.world.memory())
        self.assertIsInstance(self.network.relay(plain, other), SpliceRelay)
        self.assertIsInstance(self.network.relay(plain, memory), PumpRelay)

    def test_lingering(self) -> None:
        """
        What lingers is known; on Twisted's transports nothing does.
        """
        near, far = tcp_pair()
        leg = leg_of(self.network.poller, near)
        while leg.send(b"x" * 65536):
            pass
        self.assertFalse(self.network.lingering)
        leg.close()
        self.assertTrue(self.network.lingering)
        far.close()
        self.assertFalse(PortableNetwork.lingering)
        self.world.until(lambda: not self.network.lingering)
        leg = leg_of(self.network.poller, unix_pair()[0])
        leg.linger(lambda: False)
        self.assertTrue(self.network.lingering)
        leg.close()
        self.assertFalse(self.network.lingering)
        leg.linger(lambda: False)  # one that is closed has nothing to say
        self.assertFalse(self.network.lingering)

    def test_later(self) -> None:
        """
        Where no batch is being handled, what is to be done later is done at once.
        """
        done: list[int] = []
        self.network.later(lambda: done.append(1))
        self.assertEqual(done, [1])

    def test_dropped(self) -> None:
        """
        What is dropped while one is being handled lives to its end; else nothing keeps it.
        """
        (raw,) = self.keep(self.world.plain_unix())
        kept: list[ref[Any]] = []
        alive: list[bool] = []

        def drop(bits: int) -> None:
            waiter = Waiter()
            kept.append(ref(waiter))
            self.network.drop(waiter)
            del waiter
            alive.append(kept[-1]() is not None)

        drop(0)
        raw.handler = drop
        raw.watch()
        self.network.poller.doRead()
        self.assertEqual((alive, [each() for each in kept]), ([False, True], [None, None]))

    def test_stop(self) -> None:
        """
        A stopped network waits for nothing.
        """
        waiter = Waiter()
        self.network.deadlines.set(waiter, 1)
        self.network.stop()
        self.assertEqual((self.world.reactor.getDelayedCalls(), self.world.reactor.readers), ([], []))
