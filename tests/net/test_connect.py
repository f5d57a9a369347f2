"""
Tests of sniproxy/net/connect.py: how connections go out.
"""

from __future__ import annotations

import _socket
import errno
import os
import socket
from struct import unpack_from
from typing import Any
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.addresses import Address
from sniproxy.errors import BindError, TransparencyError
from sniproxy.net import connect as under_test
from sniproxy.net.connect import DEFAULT, Connecting, ConnectOptions, connect
from sniproxy.net.poller import OUT
from tests.support.legs import Engine, open_descriptors

SEGMENTS_OUT = 136
"""Where C{tcpi_segs_out} is in C{struct tcp_info} (linux/tcp.h)."""


class ConnectTests(SynchronousTestCase):
    """
    Sockets on loopback.
    """

    def setUp(self) -> None:
        self.before = open_descriptors()
        self.engine = Engine()
        self.server = socket.create_server(("127.0.0.1", 0))
        self.address = Address("inet", *self.server.getsockname())
        self.outcomes: list[tuple[Any, int]] = []
        self.leg: Any = None

    def tearDown(self) -> None:
        if self.leg is not None:
            self.leg.close()
        self.server.close()
        self.engine.turn()
        self.engine.stop()
        self.assertEqual(open_descriptors() - self.before, set())

    def connect(self, address: Address, options: ConnectOptions = DEFAULT) -> Any:
        """
        Try.
        """
        attempt = connect(self.engine.poller, address, options, lambda *outcome: self.outcomes.append(outcome))
        self.assertEqual(self.outcomes, [], "told before it could be cancelled")
        return attempt

    def connected(self, address: Address, options: ConnectOptions = DEFAULT) -> Any:
        """
        Try, and succeed.
        """
        self.connect(address, options)
        self.engine.until(lambda: self.outcomes)
        ((self.leg, bits),) = self.outcomes
        self.assertTrue(bits & OUT)
        return self.leg

    def failed(self, address: Address, options: ConnectOptions = DEFAULT) -> OSError:
        """
        Try, and fail.
        """
        self.connect(address, options)
        self.engine.until(lambda: self.outcomes)
        ((error, _),) = self.outcomes
        self.assertIsInstance(error, OSError)
        assert isinstance(error, OSError)
        return error

    def test_connected(self) -> None:
        """
        A leg that is watched, owned by nobody, and knows where it goes.
        """
        leg = self.connected(self.address)
        self.assertEqual((leg.peer, leg.owner, leg.watch()), (self.address, None, False))
        leg.send(b"hello")
        with self.server.accept()[0] as far:
            self.assertEqual(far.recv(10), b"hello")
            far.send(b"you too")
            edges: list[int] = []
            leg.handler = edges.append
            self.engine.until(lambda: edges)
            self.assertEqual(leg.receive(10), b"you too")

    def test_options(self) -> None:
        """
        The socket has the options that were asked for.
        """
        options = ConnectOptions(
            bind=Address("inet", "127.0.0.1"), nodelay=True, keepalive=True, receive_buffer=9000, send_buffer=8000
        )
        sock = self.connected(self.address, options).sock
        self.assertEqual(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY), 1)
        self.assertEqual(sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE), 1)
        self.assertEqual(sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF), 18000)
        self.assertEqual(sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF), 16000)
        self.assertFalse(os.get_inheritable(sock.fileno()))

    def test_no_options(self) -> None:
        """
        And no others.
        """
        sock = self.connected(self.address, ConnectOptions(nodelay=False)).sock
        self.assertEqual(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY), 0)
        self.assertEqual(sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE), 0)

    def test_speaks_first(self) -> None:
        """
        Where we have something to say, the handshake's last acknowledgement waits for it; else it goes out at once.
        """
        for speaks_first, segments in ((True, 1), (False, 2)):
            self.outcomes.clear()
            sock = self.connected(self.address, ConnectOptions(speaks_first=speaks_first)).sock
            info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, SEGMENTS_OUT + 4)
            self.assertEqual(unpack_from("I", info, SEGMENTS_OUT), (segments,))

    def test_datagrams(self) -> None:
        """
        A socket for datagrams is there at once, from the address that is asked for; where it cannot be, that is told
        later.
        """
        options = ConnectOptions(Address("inet", "127.0.0.2"), keepalive=True, receive_buffer=20000, datagrams=True)
        address = Address("inet", "127.0.0.1", 9)
        connect(self.engine.poller, address, options, lambda *outcome: self.outcomes.append(outcome)).cancel()
        ((self.leg, bits),) = self.outcomes
        self.assertEqual((bits, self.leg.sock.type & 0xF), (OUT, int(socket.SOCK_DGRAM)))
        self.assertEqual((self.leg.local.host, self.leg.peer), ("127.0.0.2", address))
        self.assertEqual(self.leg.sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF), 40000)
        self.assertFalse(os.get_inheritable(self.leg.number))
        self.outcomes.clear()
        self.connect(Address("inet6", "::1", 9), options)
        self.engine.until(lambda: self.outcomes)
        ((error, bits),) = self.outcomes
        self.assertEqual((type(error), bits), (BindError, 0))

    def test_refused(self) -> None:
        """
        Nobody listens.
        """
        self.server.close()
        self.assertEqual(self.failed(self.address).errno, errno.ECONNREFUSED)

    def test_unreachable(self) -> None:
        """
        An address that cannot be connected to fails at once, and is told a moment later.
        """
        self.assertIn(self.failed(Address("inet", "255.255.255.255", 1)).errno, (errno.EACCES, errno.ENETUNREACH))

    def test_bind_fails(self) -> None:
        """
        So does a local address that is not ours.
        """
        options = ConnectOptions(bind=Address("inet", "192.0.2.1"))
        self.assertEqual(self.failed(self.address, options).errno, errno.EADDRNOTAVAIL)

    def test_no_descriptor(self) -> None:
        """
        So does a process without descriptors.
        """

        def refuse(*args: Any) -> Any:
            raise OSError(errno.EMFILE, "Too many open files")

        self.patch(_socket, "socket", refuse)
        self.assertEqual(self.failed(self.address).errno, errno.EMFILE)

    def test_unix(self) -> None:
        """
        Unix sockets are connected to by their path, and one that is not there fails.
        """
        path = self.mktemp()
        self.assertEqual(self.failed(Address("unix", path)).errno, errno.ENOENT)
        self.outcomes.clear()
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path)
            server.listen()
            leg = self.connected(Address("unix", path), ConnectOptions(keepalive=True))
            self.assertEqual(leg.peer, Address("unix", path))

    def test_cancel(self) -> None:
        """
        Who gives up is told nothing, and nothing stays open; giving up twice, or too late, is nothing.
        """
        attempt = self.connect(self.address)
        attempt.cancel()
        attempt.cancel()
        refused = self.connect(Address("unix", self.mktemp()))
        refused.cancel()
        refused.cancel()
        for _ in range(5):
            self.engine.turn()
        self.assertEqual(self.outcomes, [])
        done = self.connect(self.address)
        self.engine.until(lambda: self.outcomes)
        self.leg = self.outcomes[0][0]
        done.cancel()
        self.assertEqual(self.leg.send(b"still there"), 11)

    def test_nothing_yet(self) -> None:
        """
        An edge that says neither yes nor no is no answer.
        """
        attempt = self.connect(self.address)
        attempt._event(0)
        self.assertEqual(self.outcomes, [])
        self.engine.until(lambda: self.outcomes)
        self.leg = self.outcomes[0][0]

    def test_gone_again(self) -> None:
        """
        A connection that was made, and hung up at once, counts as made: reading tells the rest.
        """
        leg, far = self.engine.pair()
        self.leg = leg
        far.close()
        Connecting(leg, lambda *outcome: self.outcomes.append(outcome))
        self.engine.until(lambda: self.outcomes)
        self.assertIs(self.outcomes[0][0], leg)
        self.assertEqual(leg.receive(1), b"")

    def test_fault(self) -> None:
        """
        If whoever is told raises, what it was not given is closed.
        """

        def done(outcome: Any, bits: int) -> None:
            self.outcomes.append((outcome, bits))
            raise ZeroDivisionError

        connect(self.engine.poller, self.address, DEFAULT, done)
        self.engine.until(lambda: self.outcomes)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.outcomes[0][0].number, -1)

    def test_crash(self) -> None:
        """
        An attempt that has crashed is given up.
        """
        attempt = self.connect(self.address)
        attempt.crashed()
        self.engine.turn()
        self.assertEqual(self.outcomes, [])

    def test_own_address_refused(self) -> None:
        """
        An address that is not ours, or of another family, is told apart from what the other end does.
        """
        for bind, number in (
            (Address("inet", "192.0.2.1"), errno.EADDRNOTAVAIL),
            (Address("inet", "127.0.0.1", self.address.port), errno.EADDRINUSE),
            (Address("inet6", "::1"), errno.EAFNOSUPPORT),
            (Address("unix", "/s"), errno.EAFNOSUPPORT),
        ):
            error = self.failed(self.address, ConnectOptions(bind=bind))
            self.assertIsInstance(error, BindError)
            self.assertEqual(getattr(error, "call", None), "")
            self.assertEqual(error.errno, number)
            self.outcomes.clear()
        error = self.failed(Address("unix", "/nowhere"), ConnectOptions(bind=Address("inet", "127.0.0.1")))
        self.assertEqual((type(error), error.errno), (BindError, errno.EINVAL))

    def test_transparent(self) -> None:
        """
        A foreign address needs a privilege: it is there, or its absence is told.
        """
        self.connect(self.address, ConnectOptions(bind=Address("inet", "127.0.0.9"), transparent=True))
        self.engine.until(lambda: self.outcomes)
        ((outcome, _),) = self.outcomes
        if isinstance(outcome, OSError):
            assert isinstance(outcome, TransparencyError)
            self.assertEqual((outcome.errno, outcome.call), (errno.EPERM, "setsockopt(IP_TRANSPARENT)"))
        else:
            self.leg = outcome
            self.assertEqual(outcome.local.host, "127.0.0.9")

    def test_no_transparency(self) -> None:
        """
        A system that knows no transparency refuses it.
        """
        changed = mock.patch.dict(under_test._TRANSPARENT, inet=(socket.IPPROTO_IP, 9999))
        changed.start()
        self.addCleanup(changed.stop)
        error = self.failed(self.address, ConnectOptions(bind=Address("inet", "127.0.0.9"), transparent=True))
        self.assertIsInstance(error, TransparencyError)
