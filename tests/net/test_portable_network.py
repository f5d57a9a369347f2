"""
Tests of sniproxy/net/portable_network.py: the network for reactors without epoll.

Strategy: a reactor that is a clock, and Twisted's own sockets on it, which the test reads and writes by select; so
Twisted's real transports are tried, and nobody waits.
"""

from __future__ import annotations

import errno
import os
import select
import socket
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from twisted.internet import tcp, unix
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IReadDescriptor
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sniproxy.addresses import Address
from sniproxy.errors import TransparencyError
from sniproxy.net.accept import PAUSE
from sniproxy.net.connect import DEFAULT, ConnectOptions
from sniproxy.net.poller import ERR, HUP, OUT
from sniproxy.net.portable_network import REST, PortableNetwork, Reader
from sniproxy.net.relay import Options, PumpRelay, Result
from sniproxy.net.tls_leg import TlsLeg
from tests.net.conformance import SocketFar as Far
from tests.net.conformance import TlsFar, noise
from tests.support import tls
from tests.support.legs import Reactor, Waiter, open_descriptors


class SelectReactor(Reactor):
    """
    The least that Twisted's sockets need.
    """

    def __init__(self) -> None:
        super().__init__()
        self.writers: list[Any] = []

    def addReader(self, reader: Any) -> None:
        """
        Watch it, once.
        """
        if reader not in self.readers:
            self.readers.append(reader)

    def removeReader(self, reader: Any) -> None:
        """
        Forget it.
        """
        if reader in self.readers:
            self.readers.remove(reader)

    def addWriter(self, writer: Any) -> None:
        """
        Watch it, once.
        """
        if writer not in self.writers:
            self.writers.append(writer)

    def removeWriter(self, writer: Any) -> None:
        """
        Forget it.
        """
        if writer in self.writers:
            self.writers.remove(writer)

    def adoptStreamConnection(self, descriptor: int, family: int, factory: Any) -> Any:
        """
        As Twisted's.
        """
        if family == socket.AF_UNIX:
            return unix.Server._fromConnectedSocket(descriptor, factory, self)
        return tcp.Server._fromConnectedSocket(descriptor, family, factory, self)

    def connectTCP(self, host: str, port: int, factory: Any, timeout: Any, bindAddress: Any) -> Any:
        """
        As Twisted's.
        """
        connector: Any = tcp.Connector(host, port, factory, timeout, bindAddress, self)
        connector.connect()
        return connector

    def connectUNIX(self, path: bytes, factory: Any, timeout: Any) -> Any:
        """
        As Twisted's.
        """
        connector: Any = unix.Connector(path, factory, timeout, self, False)
        connector.connect()
        return connector

    def turn(self) -> None:
        """
        Once.
        """
        readers, writers, _ = select.select(self.readers, self.writers, [], 0.001)
        for ready, name in ((readers, "doRead"), (writers, "doWrite")):
            for each in ready:
                if each in self.readers or each in self.writers:
                    why = getattr(each, name)()
                    if why:
                        self.lose(each, why, name)
        self.advance(0)

    def lose(self, selectable: Any, why: Any, name: str) -> None:
        """
        As PosixReactorBase._disconnectSelectable.
        """

        self.removeReader(selectable)
        if name == "doRead" and isinstance(why, ConnectionDone) and hasattr(selectable, "readConnectionLost"):
            selectable.readConnectionLost(Failure(why))
        else:
            self.removeWriter(selectable)
            selectable.connectionLost(Failure(why))


class PortableNetworkTests(SynchronousTestCase):
    """
    Sockets on loopback.
    """

    def setUp(self) -> None:
        self.before = open_descriptors()
        self.reactor = SelectReactor()
        self.network = PortableNetwork(self.reactor)
        self.server = socket.create_server(("127.0.0.1", 0))
        self.address = Address("inet", *self.server.getsockname())
        self.legs: list[Any] = []
        self.others: list[Any] = []
        self.complaints: list[OSError] = []
        self.outcomes: list[Any] = []

    def tearDown(self) -> None:
        for leg in self.legs:
            leg.abort()
        self.network.stop()
        for each in (*self.others, self.server):
            each.close()
        for _ in range(5):
            self.reactor.turn()
        self.assertEqual(open_descriptors() - self.before, set())

    def until(self, condition: Callable[[], Any]) -> None:
        """
        Turn until something holds.
        """
        for _ in range(3000):
            self.reactor.turn()
            if condition():
                return
        raise AssertionError("it does not happen")

    def listen(self, sock: Any = None) -> Any:
        """
        Accept.
        """
        listener = self.network.listen(sock or self.server, self.legs.append, self.complaints.append)
        listener.start()
        return listener

    def come_in(self) -> tuple[Any, Any]:
        """
        A leg that came in, and its far end.
        """
        far = socket.create_connection(self.server.getsockname())
        far.setblocking(False)
        self.others.append(far)
        count = len(self.legs)
        self.until(lambda: len(self.legs) > count)
        return self.legs[-1], Far(far)

    def connect(self, address: Address, options: ConnectOptions = DEFAULT) -> Any:
        """
        Go out.
        """
        return self.network.connect(address, options, lambda *outcome: self.outcomes.append(outcome))

    def go_out(self, address: Address, options: ConnectOptions = DEFAULT) -> Any:
        """
        The outcome.
        """
        self.outcomes.clear()
        self.connect(address, options)
        self.until(lambda: self.outcomes)
        ((outcome, bits),) = self.outcomes
        if not isinstance(outcome, OSError):
            self.legs.append(outcome)
            self.assertEqual((bits, outcome.watch()), (OUT, False))
        return outcome

    def test_accept(self) -> None:
        """
        What comes in is a leg, with its addresses; the listening socket stays as it was.
        """
        listener = self.listen()
        leg, far = self.come_in()
        self.assertEqual(leg.peer, Address("inet", *far.sock.getsockname()))
        self.assertEqual(leg.local, self.address)
        far.write(b"hello")
        self.until(lambda: leg.peek(5) == b"hello")
        listener.stop()
        self.assertEqual(self.reactor.readers.count(self.server), 0)
        self.assertEqual(self.server.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN), 1)

    def test_datagrams(self) -> None:
        """
        Datagrams come in and go out here, too: the reactor tells of them as long as they are not taken, but not all
        the time.
        """
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.others.append(sock)
        sock.bind(("127.0.0.1", 0))
        self.network.listen_datagrams(sock, self.legs.append, self.complaints.append).start()
        self.connect(Address("inet", *sock.getsockname()), ConnectOptions(datagrams=True))
        ((upstream, _),) = self.outcomes
        bits: list[int] = []
        upstream.handler = bits.append
        upstream.watch()
        upstream.send(b"hello")
        self.until(lambda: self.legs)
        self.assertEqual(self.legs[0].receive(9), b"hello")
        self.legs[0].send(b"answer")
        self.until(lambda: bits)
        for _ in range(3):
            self.reactor.turn()
        self.assertEqual(len(bits), 1)
        self.reactor.advance(REST)
        self.until(lambda: len(bits) == 2)
        upstream.again()
        self.until(lambda: len(bits) == 3)

        def take(bits: int) -> None:
            taken.append(upstream.receive(9))
            taken.append(upstream.receive(9))

        taken: list[Any] = []
        upstream.handler = take
        upstream.again()
        self.until(lambda: taken)
        self.assertEqual(taken, [b"answer", None])
        self.legs[0].send(b"more")
        self.until(lambda: len(taken) == 4)
        upstream.again()
        upstream.handler = bits.append
        self.legs[0].send(b"last")
        self.until(lambda: len(bits) == 4)
        for _ in range(2):
            upstream.close()
        self.connect(Address("inet", *sock.getsockname()), ConnectOptions(datagrams=True))
        self.outcomes[-1][0].close()

    def test_unix(self) -> None:
        """
        Unix sockets work both ways, and keep their name when nobody listens any more.
        """
        path = self.mktemp()
        self.assertEqual(self.go_out(Address("unix", path)).errno, errno.ENOENT)
        self.assertEqual(self.outcomes[0][1], 0)
        server = socket.socket(socket.AF_UNIX)
        self.others.append(server)
        server.bind(path)
        server.listen()
        listener = self.listen(server)
        leg = self.go_out(Address("unix", path), ConnectOptions(receive_buffer=9000))
        self.assertEqual(leg.peer, Address("unix", path))
        self.until(lambda: len(self.legs) == 2)
        leg.send(b"hello")
        inside = next(each for each in self.legs if each is not leg)
        self.until(lambda: inside.peek(5) == b"hello")
        listener.stop()
        self.assertTrue(os.path.exists(path))

    def test_connect(self) -> None:
        """
        What goes out is a leg that is watched already, with the options that were asked for.
        """
        options = ConnectOptions(
            bind=Address("inet", "127.0.0.1"), nodelay=True, keepalive=True, receive_buffer=9000, send_buffer=8000
        )
        sock = self.go_out(self.address, options).socket()
        self.assertEqual(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY), 1)
        self.assertEqual(sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE), 1)
        self.assertEqual(sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF), 18000)
        self.assertEqual(sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF), 16000)

    def test_connect_plainly(self) -> None:
        """
        And no others.
        """
        sock = self.go_out(self.address, ConnectOptions(nodelay=False)).socket()
        self.assertEqual(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY), 0)
        self.assertEqual(sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE), 0)

    def test_refused(self) -> None:
        """
        Nobody listens.
        """
        self.server.close()
        self.assertEqual(self.go_out(self.address).errno, errno.ECONNREFUSED)
        self.assertEqual(self.outcomes[0][1], ERR | HUP)

    def test_unreachable(self) -> None:
        """
        What the kernel knows at once is told as such, though Twisted tells it later.
        """
        options = ConnectOptions(bind=Address("inet", "192.0.2.1"))
        self.assertEqual(self.go_out(self.address, options).errno, errno.EADDRNOTAVAIL)
        self.assertEqual(self.outcomes[0][1], 0)

    def test_no_transparency(self) -> None:
        """
        Foreign addresses are not to be had here, and that is told.
        """
        options = ConnectOptions(bind=Address("inet", "127.0.0.1"), transparent=True)
        error = self.go_out(self.address, options)
        self.assertIsInstance(error, TransparencyError)
        self.assertEqual(error.errno, errno.ENOSYS)

    def test_unknown_failure(self) -> None:
        """
        What Twisted gives no number counts as refused.
        """
        attempt = self.connect(self.address)

        class Reason:
            """
            Says nothing.
            """

            value = Exception()

        attempt.clientConnectionFailed(None, Reason())
        self.assertEqual(self.outcomes[0][0].errno, errno.ECONNREFUSED)
        attempt.clientConnectionFailed(None, Reason())
        attempt.cancel()
        for _ in range(5):
            self.reactor.turn()
        self.assertEqual(len(self.outcomes), 1)

    def test_cancel(self) -> None:
        """
        Who gives up is told nothing.
        """
        attempt = self.connect(self.address)
        attempt.cancel()
        attempt.cancel()
        for _ in range(5):
            self.reactor.turn()
        self.assertEqual(self.outcomes, [])

    def test_cancelled_too_late(self) -> None:
        """
        A connection that is made all the same is aborted.
        """
        attempt = self.connect(self.address)
        attempt._done = None
        for _ in range(5):
            self.reactor.turn()
        self.assertEqual(self.outcomes, [])

    def test_fault(self) -> None:
        """
        If whoever is told raises, the connection is lost, and Twisted hears nothing of it.
        """

        def done(outcome: Any, bits: int) -> None:
            self.outcomes.append(outcome)
            raise ZeroDivisionError

        self.network.connect(self.address, DEFAULT, done)
        self.until(lambda: self.outcomes)
        self.network.connect(Address("unix", self.mktemp()), DEFAULT, done)
        self.until(lambda: len(self.outcomes) == 2)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)

    def test_reader(self) -> None:
        """
        A listening socket is a reader of the reactor; a fault in its handler does not lose it.
        """
        listener = self.listen()
        (reader,) = self.reactor.readers
        self.assertTrue(verifyObject(IReadDescriptor, reader))
        self.assertEqual((reader.fileno(), reader.logPrefix()), (self.server.fileno(), "sniproxy listener"))
        self.assertIsInstance(reader, Reader)
        reader.connectionLost(None)

        def fault() -> None:
            raise ZeroDivisionError

        self.patch(listener, "_sock", SimpleNamespace(_accept=fault, fileno=self.server.fileno))
        self.assertIsNone(reader.doRead())
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_gone_already(self) -> None:
        """
        A client that cannot be taken over is forgotten, and its descriptor with it.
        """

        def refuse(descriptor: int, family: int, factory: Any) -> Any:
            self.outcomes.append(descriptor)
            raise OSError(errno.ENOTCONN, "Transport endpoint is not connected")

        self.patch(self.reactor, "adoptStreamConnection", refuse)
        self.listen()
        self.others.append(socket.create_connection(self.server.getsockname()))
        self.until(lambda: self.outcomes)
        self.assertRaises(OSError, os.fstat, self.outcomes[0])

    def test_exhausted(self) -> None:
        """
        Without descriptors it complains, pauses, and goes on.
        """
        listener = self.listen()

        class Failing:
            """
            The same socket, out of descriptors.
            """

            fileno = self.server.fileno

            def _accept(self) -> Any:
                raise OSError(errno.EMFILE, "Too many open files")

        listener._sock = Failing()
        self.others.append(socket.create_connection(self.server.getsockname()))
        self.until(lambda: self.complaints)
        self.assertEqual(self.reactor.readers, [])
        listener._sock = self.server
        self.reactor.advance(PAUSE)
        self.until(lambda: self.legs)

    def test_relay(self) -> None:
        """
        A session works as on the other network: look, connect, relay, both ways, and the ends pass through.
        """
        self.listen()
        client, far = self.come_in()
        client.watch()
        far.write(b"hello")
        self.until(lambda: client.peek(5) == b"hello")
        upstream = self.go_out(self.address)
        self.until(lambda: len(self.legs) == 3)
        beyond = next(leg for leg in self.legs if leg not in (client, upstream))
        beyond.watch()
        relay = self.network.relay(client, upstream)
        self.assertIsInstance(relay, PumpRelay)
        done: list[Result] = []
        holder = Waiter()
        relaying = relay.make(client, upstream, Options(half_close=True), done.append, holder, self.reactor.seconds)
        relaying.begin()
        self.until(lambda: beyond.receive(10) == b"hello")
        data = noise(600_000)
        sent = 0
        got = bytearray()

        def step() -> bool:
            nonlocal sent
            sent += beyond.send(data[sent : sent + 50_000]) if sent < len(data) else 0
            got.extend(far.read(50_000) or b"")
            return len(got) == len(data)

        self.until(step)
        self.assertTrue(bytes(got) == data)
        far.finish()
        self.until(lambda: beyond.receive(10) == b"")
        self.assertEqual(done, [])
        beyond.close()
        self.until(lambda: done)
        self.assertEqual(done, [Result("upstream")])

    def test_tls(self) -> None:
        """
        TLS goes over memory.
        """
        self.listen()
        raw, far = self.come_in()
        leg = self.network.start_tls(raw, tls.server())
        self.assertIsInstance(leg, TlsLeg)
        end = TlsFar(far, tls.client())
        self.until(lambda: bool(end.shake()) + leg.handshake() == 2)
        end.write(b"secret")
        self.until(lambda: leg.peek(6) == b"secret")
        leg.send(b"answer")
        leg.close()
        self.until(lambda: end.read(100) == b"answer")
        self.until(lambda: end.read(100) == b"")
        self.assertTrue(end.notified)

    def test_stop(self) -> None:
        """
        A stopped network watches nothing and waits for nothing.
        """
        self.listen()
        waiter = Waiter()
        self.network.deadlines.set(waiter, 1)
        self.network.stop()
        self.assertEqual((self.reactor.readers, self.reactor.getDelayedCalls()), ([], []))
