"""
Tests of sniproxy/net/datagrams.py: how datagrams come in and go out.
"""

from __future__ import annotations

import errno
import gc
import os
import socket
from typing import Any

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sniproxy.addresses import Address
from sniproxy.interfaces import ILeg
from sniproxy.net.connect import ConnectOptions, connect
from sniproxy.net.datagrams import (
    OVERHEAD,
    PAUSE,
    RETRY,
    TURN,
    WAITING,
    ClientDatagrams,
    DatagramLeg,
    DatagramPorts,
    UpstreamDatagrams,
)
from sniproxy.net.poller import ERR, IN, OUT
from tests.support.legs import Engine, Waiter, open_descriptors
from tests.support.messages import FakePort

CLIENT = Address("inet", "192.0.2.77", 40000)
SERVER = Address("inet", "192.0.2.1", 53)


def fail(bits: int) -> None:
    """
    A handler with a fault.
    """
    raise ZeroDivisionError


class SocketsCase(SynchronousTestCase):
    """
    Sockets on loopback; none is left open.
    """

    def setUp(self) -> None:
        gc.collect()
        self.before = open_descriptors()
        self.engine = Engine()
        self.open: list[socket.socket] = []
        self.legs: list[Any] = []
        self.complaints: list[OSError] = []

    def tearDown(self) -> None:
        for each in (*self.legs, *self.open):
            each.close()
        self.engine.turn()
        self.engine.stop()
        self.assertEqual(open_descriptors() - self.before, set())

    def bound(self, host: str = "127.0.0.1", family: int = socket.AF_INET) -> socket.socket:
        """
        A socket of its own.
        """
        sock = socket.socket(family, socket.SOCK_DGRAM)
        self.open.append(sock)
        sock.bind((host, 0) if family != socket.AF_UNIX else host)
        sock.settimeout(5)
        return sock

    def listener(self, sock: Any, accepted: Any = None) -> Any:
        """
        One that has begun.
        """
        listener = self.engine.network.listen_datagrams(sock, accepted or self.legs.append, self.complaints.append)
        listener.start()
        return listener

    def until_legs(self, number: int) -> None:
        """
        Wait for so many clients.
        """
        self.engine.until(lambda: len(self.legs) >= number)
        self.assertEqual(len(self.legs), number)


class PortTests(SocketsCase):
    """
    Many clients, one socket.
    """

    def test_clients(self) -> None:
        """
        The first datagram of a client makes a leg, which gets all the others of it, and each is answered.
        """
        server = self.bound()
        self.listener(server)
        first, second = self.bound(), self.bound()
        for client, text in ((first, b"one"), (second, b"two"), (first, b"three"), (first, b"")):
            client.sendto(text, server.getsockname())
        self.until_legs(2)
        one, two = self.legs
        self.engine.until(lambda: one.arrived == 3)
        self.assertEqual([one.receive(9) for _ in range(4)], [b"one", b"three", b"", None])
        self.assertEqual((two.peek(2), two.receive(2), two.receive(2), two.peek(2)), (b"tw", b"tw", None, None))
        self.assertEqual((one.peer, one.local), tuple(Address("inet", *each.getsockname()) for each in (first, server)))
        self.assertEqual((one.first, one.arrived, two.first), (3, 3, 3))
        for leg in self.legs:
            self.assertEqual(leg.send(memoryview(b"to you")), 6)
        for client in (first, second):
            self.assertEqual(client.recvfrom(99), (b"to you", server.getsockname()))
        self.assertTrue(verifyObject(ILeg, one))

    def test_last(self) -> None:
        """
        What has come already can be taken without waiting to be told; not by a listener that has stopped.
        """
        server, client = self.bound(), self.bound()
        listener = self.listener(server)
        client.sendto(b"1", server.getsockname())
        listener.last()
        self.assertEqual([leg.receive(9) for leg in self.legs], [b"1"])
        listener.stop()
        listener.last()

    def test_told(self) -> None:
        """
        A leg that is known tells its handler of each datagram.
        """
        server, client = self.bound(), self.bound()
        self.listener(server)
        client.sendto(b"1", server.getsockname())
        self.until_legs(1)
        bits: list[int] = []
        self.legs[0].handler = bits.append
        self.assertFalse(self.legs[0].watch())
        client.sendto(b"2", server.getsockname())
        self.engine.until(lambda: bits)
        self.assertEqual(bits, [IN])

    def test_forgotten(self) -> None:
        """
        When its session is over a client is a new one.
        """
        server, client = self.bound(), self.bound()
        self.listener(server)
        client.sendto(b"1", server.getsockname())
        self.until_legs(1)
        self.legs[0].close()
        client.sendto(b"2", server.getsockname())
        self.until_legs(2)
        self.assertEqual(self.legs[1].receive(9), b"2")

    def wildcard(self, sock: socket.socket, hosts: tuple[str, str], family: int) -> None:
        """
        One client writes to two addresses of a wildcard socket.
        """
        port = sock.getsockname()[1]
        self.listener(sock)
        client = self.bound("::" if family == socket.AF_INET6 else "0.0.0.0", family)
        for host in (*hosts, hosts[0]):
            client.sendto(host.encode(), (host, port))
        self.until_legs(2)
        self.engine.until(lambda: self.legs[0].arrived == 2)
        for host, leg in zip(hosts, self.legs, strict=True):
            self.assertEqual((leg.local.host, leg.local.port), (host, port))
            self.assertEqual(leg.receive(99), host.encode())
            leg.send(b"from " + host.encode())
            data, sender = client.recvfrom(99)
            self.assertEqual((data, sender[0]), (b"from " + host.encode(), host))

    def test_wildcard(self) -> None:
        """
        On a wildcard socket the address that a client has written to makes a difference, and is the one that answers.
        """
        self.wildcard(self.bound("0.0.0.0"), ("127.0.0.1", "127.0.0.2"), socket.AF_INET)

    def test_wildcard6(self) -> None:
        """
        The same with IPv6; IPv4 clients may come in by it as well.
        """
        sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        self.open.append(sock)
        try:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            sock.bind(("::", 0))
        except OSError:  # pragma: no cover
            self.skipTest("no IPv6 here")
        self.wildcard(sock, ("::1", "::ffff:127.0.0.2"), socket.AF_INET6)

    def test_unix(self) -> None:
        """
        On a unix socket clients with a name are known by it; those without are somebody else each time, and cannot be
        answered. What is too large to be taken whole is lost, with a complaint.
        """
        folder = os.path.relpath(self.mktemp())
        os.makedirs(folder)
        server = self.bound(f"{folder}/s", socket.AF_UNIX)
        self.listener(server)
        named = self.bound(f"{folder}/c", socket.AF_UNIX)
        nameless = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.open.append(nameless)
        for client in (named, nameless, named, nameless):
            client.sendto(b"x", f"{folder}/s")
        self.until_legs(3)
        one, two, three = self.legs
        self.engine.until(lambda: one.arrived == 2)
        self.assertEqual(
            (one.peer, two.peer, one.local.host), (Address("unix", f"{folder}/c"), three.peer, f"{folder}/s")
        )
        one.send(b"y")
        self.assertEqual(named.recv(9), b"y")
        self.assertRaises(OSError, two.send, b"y")
        named.sendto(bytes(100_000), f"{folder}/s")
        self.engine.until(lambda: self.complaints)
        self.assertEqual((self.complaints[0].errno, one.arrived), (errno.EMSGSIZE, 2))

    def test_reload(self) -> None:
        """
        Who is known stays so when somebody else begins to listen on the socket: those who are new are theirs.
        """
        server, known, new = self.bound(), self.bound(), self.bound()
        old = self.listener(server)
        known.sendto(b"1", server.getsockname())
        self.until_legs(1)
        others: list[Any] = []
        old.stop()
        self.listener(server, others.append)
        old.stop()
        known.sendto(b"2", server.getsockname())
        new.sendto(b"3", server.getsockname())
        self.engine.until(lambda: others)
        self.legs += others
        self.assertEqual([leg.arrived for leg in self.legs], [2, 1])

    def test_left(self) -> None:
        """
        When nobody listens any more nothing is taken, but who is known is still answered, though the socket was closed
        by whoever lent it; with the last of them the copy goes.
        """
        server, client = self.bound(), self.bound()
        address = server.getsockname()
        listener = self.listener(server)
        listener.start()
        client.sendto(b"1", address)
        self.until_legs(1)
        listener.stop()
        client.sendto(b"2", address)
        self.engine.turn()
        self.assertEqual(self.legs[0].arrived, 1)
        server.close()
        self.legs[0].send(b"late")
        self.assertEqual(client.recvfrom(9), (b"late", address))
        self.legs[0].close()
        self.legs[0].close()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as next_one:
            next_one.bind(address)

    def test_stopped_by_the_first(self) -> None:
        """
        A listener that is stopped by the client it has just got takes no more.
        """
        server, client, other = self.bound(), self.bound(), self.bound()
        client.sendto(b"1", server.getsockname())
        other.sendto(b"2", server.getsockname())
        listener: Any = None

        def accepted(leg: Any) -> None:
            self.legs.append(leg)
            listener.stop()

        listener = self.listener(server, accepted)
        self.engine.turn()
        self.engine.turn()
        self.assertEqual(len(self.legs), 1)

    def test_turns(self) -> None:
        """
        One wake-up takes so many datagrams; the next one goes on.
        """
        server, client = self.bound(), self.bound()
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.listener(server)
        for _ in range(TURN + 1):
            client.sendto(b"1", server.getsockname())
        self.until_legs(1)
        self.engine.until(lambda: self.legs[0].arrived == TURN + 1)

    def test_crash(self) -> None:
        """
        A handler that raises ends its own session, one that has none its leg; the others go on.
        """
        server, first, second = self.bound(), self.bound(), self.bound()
        self.listener(server)
        first.sendto(b"1", server.getsockname())
        second.sendto(b"1", server.getsockname())
        self.until_legs(2)
        waiter = Waiter()
        self.legs[0].owner = waiter
        self.legs[0].handler = self.legs[1].handler = fail
        for client in (first, second):
            client.sendto(b"2", server.getsockname())
        self.engine.until(lambda: waiter.crashes)
        self.engine.until(lambda: len(self.flushLoggedErrors(ZeroDivisionError)) == 2)
        second.sendto(b"3", server.getsockname())
        self.until_legs(3)

    def test_crash_at_first(self) -> None:
        """
        The same of who takes the new ones; what raises for nobody's sake concerns nobody.
        """
        server, client = self.bound(), self.bound()
        self.listener(server, lambda leg: 1 // 0)
        client.sendto(b"1", server.getsockname())
        errors: list[Any] = []

        def crashed() -> bool:
            errors.extend(self.flushLoggedErrors(ZeroDivisionError))
            return bool(errors)

        self.engine.until(crashed)
        (port,) = self.engine.network._ports._ports.values()
        self.assertEqual(port.clients, {})
        port.crashed()

    def test_failing(self) -> None:
        """
        A socket that fails is left alone for a while; whoever stops meanwhile is not called again.
        """
        server, client = self.bound(), self.bound()
        listener = self.listener(server)
        (port,) = self.engine.network._ports._ports.values()

        class Broken:
            real = port._sock

            def recvfrom(self, *arguments: Any) -> Any:
                raise OSError(errno.ENOMEM, "Cannot allocate memory")

            def fileno(self) -> int:
                return self.real.fileno()

        broken: Any = Broken()
        port._sock = broken
        client.sendto(b"1", server.getsockname())
        self.engine.until(lambda: self.complaints)
        port.handler(IN)
        self.engine.turn()
        self.assertEqual([each.errno for each in self.complaints], [errno.ENOMEM])
        port._sock = broken.real
        self.engine.reactor.advance(PAUSE)
        self.until_legs(1)
        port._sock = broken
        client.sendto(b"2", server.getsockname())
        self.engine.until(lambda: len(self.complaints) == 2)
        port._sock = broken.real
        listener.stop()
        self.engine.reactor.advance(PAUSE)
        self.engine.turn()
        self.assertEqual(self.legs[0].arrived, 1)

    def test_stop(self) -> None:
        """
        The end of the network is that of all ports, their clients included.
        """
        server, client = self.bound(), self.bound()
        ports = DatagramPorts(self.engine.poller)
        ports.listen(server, self.legs.append, self.complaints.append).start()
        client.sendto(b"1", server.getsockname())
        self.until_legs(1)
        ports.stop()
        self.assertEqual(ports._ports, {})


class ClientTests(SynchronousTestCase):
    """
    One client, and a port in memory.
    """

    def setUp(self) -> None:
        self.engine = Engine()
        self.addCleanup(self.engine.stop)
        self.port = FakePort(self.engine.reactor)
        self.leg = ClientDatagrams(self.port, "key", ("host", 1), CLIENT, SERVER, (), b"first")
        self.port.clients["key"] = self.leg

    def test_bounded(self) -> None:
        """
        A leg keeps so many bytes that nobody takes, each datagram counting for some more than it has; or one.
        """
        self.leg.receive(99)
        self.leg.arrive(bytes(WAITING + 1))
        self.leg.arrive(b"")
        self.assertEqual([len(self.leg.receive(WAITING * 2) or b"") for _ in range(2)], [WAITING + 1, 0])
        self.assertIsNone(self.leg.receive(9))
        for _ in range(WAITING):
            self.leg.arrive(b"")
        count = 0
        while self.leg.receive(9) is not None:
            count += 1
        self.assertEqual(count, WAITING // OVERHEAD)

    def test_so_many(self) -> None:
        """
        With the last datagram of those it may take the port forgets a leg, which still has them.
        """
        self.leg.stop_at(3)
        self.leg.arrive(b"2")
        self.assertEqual(list(self.port.clients), ["key"])
        self.leg.arrive(b"3")
        self.assertEqual(self.port.clients, {})
        self.assertEqual([self.leg.receive(9) for _ in range(4)], [b"first", b"2", b"3", None])
        self.leg.forget()

    def test_so_many_already(self) -> None:
        """
        That may be known late.
        """
        self.leg.stop_at(1)
        self.assertEqual(self.port.clients, {})

    def test_no_room(self) -> None:
        """
        Where the kernel has no room the handler is called once, later; who is closed is not called.
        """
        bits: list[int] = []
        self.leg.handler = bits.append
        self.port.room = 0
        self.assertEqual((self.leg.send(b"x"), self.leg.send_last(b"y")), (0, 0))
        self.engine.reactor.advance(RETRY)
        self.assertEqual(bits, [OUT])
        self.leg.again()
        self.engine.reactor.advance(0)
        self.assertEqual(bits, [OUT, OUT])
        self.leg.send(b"x")
        self.leg.close()
        self.engine.reactor.advance(RETRY)
        self.assertEqual(bits, [OUT, OUT])
        self.assertEqual(self.port.gone, [self.leg])

    def test_crash(self) -> None:
        """
        A handler that raises then ends its session.
        """
        waiter = Waiter()
        self.leg.owner = waiter
        self.leg.handler = fail
        self.leg.again()
        self.assertRaises(ZeroDivisionError, self.engine.reactor.advance, 0)
        self.assertEqual(waiter.crashes, 1)

    def test_not_a_stream(self) -> None:
        """
        What only streams have is answered without harm.
        """
        leg = self.leg
        leg.finish()
        self.assertEqual(
            (leg.take_held(), leg.descriptor(), leg.socket(), leg.fill(9), leg.cramped(9), leg.over, leg.held),
            (b"", None, None, False, False, False, b""),
        )
        self.assertRaises(OSError, leg.hold, b"x")
        for end in (leg.abort, lambda: leg.linger(lambda: True)):
            end()
        self.assertEqual(self.port.gone, [leg, leg])

    def test_base(self) -> None:
        """
        The common part alone can neither send nor close.
        """
        bare: Any = DatagramLeg(self.port.poller)
        self.assertRaises(NotImplementedError, bare.send_datagram, b"")
        self.assertRaises(NotImplementedError, bare.close)


class UpstreamTests(SocketsCase):
    """
    Connected sockets.
    """

    def connected(self, far: socket.socket) -> UpstreamDatagrams:
        """
        A socket of ours to a far end.
        """
        outcomes: list[tuple[Any, int]] = []
        address = Address("inet", *far.getsockname())
        attempt = connect(
            self.engine.poller, address, ConnectOptions(datagrams=True), lambda *told: outcomes.append(told)
        )
        attempt.cancel()
        ((leg, bits),) = outcomes
        self.legs.append(leg)
        self.assertEqual((bits, leg.peer), (OUT, address))
        found: UpstreamDatagrams = leg
        return found

    def test_moves(self) -> None:
        """
        Datagrams go out and come in whole, empty ones too, and are told of when they come.
        """
        far = self.bound()
        leg = self.connected(far)
        bits: list[int] = []
        leg.handler = bits.append
        self.assertEqual((leg.watch(), leg.watch()), (True, False))
        self.assertTrue(verifyObject(ILeg, leg))
        for text in (b"one", b""):
            leg.send(text)
            self.assertEqual(far.recvfrom(9), (text, (leg.local.host, leg.local.port)))
        self.assertEqual((leg.receive(9), leg.peek(9)), (None, None))
        far.sendto(b"answer", leg.local.sockaddr)
        far.sendto(b"", leg.local.sockaddr)
        self.engine.until(lambda: any(each & IN for each in bits))
        self.assertEqual([leg.peek(3), leg.receive(9), leg.receive(9), leg.receive(9)], [b"ans", b"answer", b"", None])
        bits.clear()
        leg.again()
        self.engine.turn()
        self.assertEqual(bits, [IN | OUT])
        sock = leg.socket()
        assert sock is not None
        self.assertEqual(sock.fileno(), leg.number)
        leg.abort()
        leg.close()

    def test_refused(self) -> None:
        """
        What the network says of a datagram is raised where the answer would come.
        """
        far = self.bound()
        leg = self.connected(far)
        far.close()
        leg.watch()
        bits: list[int] = []
        leg.handler = bits.append
        leg.send(b"x")
        self.engine.until(lambda: any(each & ERR for each in bits))
        self.assertRaises(ConnectionRefusedError, leg.receive, 9)

    def test_no_room(self) -> None:
        """
        Where the kernel has no room it is tried again later.
        """
        leg = self.connected(self.bound())

        class Full:
            def send(self, data: bytes, flags: int) -> int:
                raise BlockingIOError

        real, full = leg.sock, Full()
        leg.sock = full  # type: ignore[assignment]
        bits: list[int] = []
        leg.handler = bits.append
        self.assertFalse(leg.send_datagram(b"x"))
        leg.sock = real
        self.engine.reactor.advance(RETRY)
        self.assertEqual(bits, [OUT])
