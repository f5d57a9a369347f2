"""
Tests of sniproxy/net/legs.py: the plain leg.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sniproxy.addresses import Address
from sniproxy.interfaces import ILeg
from sniproxy.net.legs import FLIGHT, LINGER, NativeLeg, SocketLeg, address_of, nothing
from sniproxy.net.poller import IN, OUT, READABLE
from tests.support.legs import Engine, Waiter, bare, open_descriptors, tcp_pair, unix_pair


class AddressTests(SynchronousTestCase):
    """
    What the calls of the kernel answer, in our words.
    """

    def test_families(self) -> None:
        """
        Addresses of each family, scopes left out and abstract names as they are.
        """
        for family, sockaddr, address in (
            (socket.AF_INET, ("192.0.2.1", 80), Address("inet", "192.0.2.1", 80)),
            (socket.AF_INET6, ("2001:db8::1", 80, 0, 0), Address("inet6", "2001:db8::1", 80)),
            (socket.AF_INET6, ("fe80::1%eth0", 80, 0, 2), Address("inet6", "fe80::1", 80)),
            (socket.AF_UNIX, "/run/a.sock", Address("unix", "/run/a.sock")),
            (socket.AF_UNIX, b"\0abstract\xff", Address("unix", "\0abstract\udcff")),
            (socket.AF_UNIX, "", Address("unix", "")),
            (socket.AF_UNIX, None, Address("unix", "")),
        ):
            self.assertEqual(address_of(family, sockaddr), address)


class NativeLegTests(SynchronousTestCase):
    """
    What is no leg yet.
    """

    def test_nothing_there(self) -> None:
        """
        Each kind of leg says for itself what it does.
        """
        leg = NativeLeg()
        steps: tuple[Callable[[], object], ...] = (
            lambda: leg.over,
            lambda: leg.set_handler(nothing),
            leg.watch,
            lambda: leg.receive(1),
            leg.silent,
            leg.take_held,
            lambda: leg.fill(1),
            lambda: leg.send(b""),
            lambda: leg.send_last(b""),
            leg.close,
        )
        for step in steps:
            self.assertRaises(NotImplementedError, step)


class SocketLegTests(SynchronousTestCase):
    """
    A leg over a unix socket, and its far end.
    """

    def setUp(self) -> None:
        self.before = open_descriptors()
        self.engine = Engine()
        self.leg, self.far = self.engine.pair()
        self.others: list[Any] = []

    def tearDown(self) -> None:
        for each in (self.leg, self.far, *self.others):
            each.close()
        self.engine.turn()
        self.engine.stop()
        self.assertEqual(open_descriptors() - self.before, set())

    def tcp(self) -> tuple[SocketLeg, socket.socket]:
        """
        The same over TCP.
        """
        made = self.engine.tcp()
        self.others += made
        return made

    def test_interface(self) -> None:
        """
        It is a leg, whose bytes are those of its descriptor.
        """
        self.assertTrue(verifyObject(ILeg, self.leg))
        self.assertEqual(self.leg.descriptor(), self.leg.sock.fileno())
        self.assertIs(self.leg.socket(), self.leg.sock)
        self.assertIsNone(self.leg.connection)
        self.assertTrue(self.leg.plain)

    def test_addresses(self) -> None:
        """
        It asks for its addresses when they are wanted, and once.
        """
        leg, far = self.tcp()
        peer, local = Address("inet", *far.getsockname()), Address("inet", *far.getpeername())
        self.assertEqual((leg.peer, leg.local), (peer, local))
        leg.close()
        self.assertEqual((leg.peer, leg.local), (peer, local))

    def test_receive(self) -> None:
        """
        Bytes, nothing now, the end.
        """
        self.assertIsNone(self.leg.receive(10))
        self.far.send(b"hello")
        self.assertEqual((self.leg.receive(2), self.leg.receive(10)), (b"he", b"llo"))
        self.far.close()
        self.assertEqual((self.leg.receive(10), self.leg.receive(10)), (b"", b""))

    def test_urgent(self) -> None:
        """
        Behind urgent data there may be more, where the kernel gave less than it was asked for; and then the end.
        """
        leg, far = self.tcp()
        leg.watch()
        far.send(b"abc")
        far.send(b"!", socket.MSG_OOB)
        far.send(b"def")
        far.shutdown(socket.SHUT_WR)
        self.engine.turn()
        self.assertEqual([leg.receive(10) for _ in range(4)], [b"abc", b"def", b"", b""])

    def test_urgent_later(self) -> None:
        """
        What comes after urgent data is told of, and there is nothing before.
        """
        leg, far = self.tcp()
        leg.watch()
        far.send(b"abc")
        far.send(b"!", socket.MSG_OOB)
        self.engine.turn()
        self.assertEqual([leg.receive(10), leg.receive(10)], [b"abc", None])
        far.send(b"def")
        self.engine.turn()
        self.assertEqual([leg.receive(10), leg.receive(10)], [b"def", None])

    def test_peek_before_the_edge(self) -> None:
        """
        What came after the last edge and was peeked at can be received at once, though no edge has told of it.
        """
        self.leg.watch()
        self.engine.turn()
        self.assertIsNone(self.leg.receive(10))
        self.far.send(b"header, data")
        self.assertEqual(self.leg.peek(100), b"header, data")
        self.assertEqual(self.leg.receive(8), b"header, ")

    def test_peek(self) -> None:
        """
        What is peeked at stays.
        """
        self.assertIsNone(self.leg.peek(10))
        self.far.send(b"hello")
        self.assertEqual((self.leg.peek(2), self.leg.peek(10), self.leg.receive(10)), (b"he", b"hello", b"hello"))
        self.far.close()
        self.assertEqual(self.leg.peek(10), b"")

    def test_held(self) -> None:
        """
        What is held comes first, in order, and can be taken back.
        """
        self.far.send(b"third")
        self.leg.hold(b"first")
        self.leg.hold(b"second")
        self.assertEqual(self.leg.peek(7), b"firstse")
        self.assertEqual([self.leg.receive(6) for _ in range(3)], [b"firsts", b"econd", b"third"])
        self.leg.hold(b"more")
        self.assertEqual((self.leg.take_held(), self.leg.take_held()), (b"more", b""))

    def test_fill(self) -> None:
        """
        What has arrived is taken and held, up to a limit, and the end is noticed.
        """
        self.assertTrue(self.leg.fill(10))
        self.far.send(b"0123456")
        self.assertTrue(self.leg.fill(10))
        self.far.send(b"789abc")
        self.assertTrue(self.leg.fill(10))
        self.assertEqual(self.leg.held, b"0123456789")
        self.far.close()
        self.assertTrue(self.leg.fill(10))
        self.assertFalse(self.leg.fill(20))
        self.assertEqual(self.leg.held, b"0123456789abc")

    def test_send_last(self) -> None:
        """
        A few last bytes go with the end; where there were more, they go at once. What finds no room is not taken.
        """
        leg, far = self.tcp()
        self.assertEqual(leg.send_last(b"last"), 4)
        self.assertRaises(BlockingIOError, far.recv, 9)
        leg.finish()
        self.engine.until(lambda: far.recv(9, socket.MSG_PEEK) == b"last")
        leg, far = self.tcp()
        leg.send(b"x" * FLIGHT)
        self.assertEqual(leg.send_last(b"last"), 4)
        self.assertEqual(leg.sent, FLIGHT + 4)
        while self.leg.send(b"x" * 65536):
            pass
        self.leg.sent = 0
        self.assertEqual(self.leg.send_last(b"last"), 0)

    def test_fill_once(self) -> None:
        """
        Of a leg that is watched, the socket is not asked again when it has given less than it was asked for, before
        there is an edge; an end that came with the bytes is an end.
        """
        self.leg.watch()
        self.far.send(b"word")
        self.engine.turn()
        self.assertTrue(self.leg.fill(10))
        self.far.send(b"more")
        self.assertTrue(self.leg.fill(10))
        self.assertEqual(self.leg.held, b"word")
        self.far.close()
        self.engine.turn()
        self.assertFalse(self.leg.fill(10))
        self.assertEqual(self.leg.held, b"wordmore")

    def test_send(self) -> None:
        """
        What is taken is counted, 0 when nothing is; a broken connection says so.
        """
        total = 0
        while sent := self.leg.send(memoryview(b"x" * 65536)):
            total += sent
        self.assertGreater(total, 0)
        self.assertEqual(self.leg.send(b"x"), 0)
        self.far.close()
        self.assertRaises(OSError, self.leg.send, b"x")

    def test_finish(self) -> None:
        """
        The far end sees our end and may go on; saying it to nobody is no error.
        """
        self.leg.finish()
        self.assertEqual(self.far.recv(1), b"")
        self.far.send(b"still here")
        self.assertEqual(self.leg.receive(20), b"still here")
        leg, _ = self.tcp()
        leg.abort()
        leg.finish()

    def test_watch(self) -> None:
        """
        Watching begins once, and tells what is ready; asking again tells it again.
        """
        edges: list[int] = []
        self.leg.handler = edges.append
        self.far.send(b"x")
        self.assertEqual((self.leg.watch(), self.leg.watch()), (True, False))
        self.engine.turn()
        self.assertEqual(edges, [IN | OUT])
        self.leg.again()
        self.engine.turn()
        self.assertEqual(edges, [IN | OUT] * 2)

    def test_again_without_room(self) -> None:
        """
        Who asks to be called again is called even if the kernel has nothing to read and no room to write: bytes may
        be held.
        """
        edges: list[int] = []
        self.leg.watch()
        self.engine.turn()
        while self.leg.send(b"x" * 65536):
            pass
        self.leg.handler = edges.append
        self.leg.hold(b"held")
        self.leg.again()
        self.engine.turn()
        self.assertTrue(edges[0] & READABLE)

    def test_later(self) -> None:
        """
        What an edge leaves for later is done in the same turn, and if it raises the owner of the leg hears of it.
        """
        done: list[str] = []
        waiter = Waiter()
        self.leg.owner = waiter

        def handler(bits: int) -> None:
            self.leg.later(lambda: done.append("later"))
            self.leg.later(lambda: done.append(str(1 / 0)))
            done.append("edge")

        self.leg.handler = handler
        self.leg.watch()
        self.engine.turn()
        self.assertEqual((done, waiter.crashes), (["edge", "later"], 1))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_close(self) -> None:
        """
        A closed leg tells nothing, and what it sent is delivered.
        """
        self.leg.watch()
        self.leg.handler = self.fail
        self.leg.owner = Waiter()
        self.leg.send(b"last words")
        self.leg.close()
        self.assertEqual((self.far.recv(20), self.far.recv(20)), (b"last words", b""))
        self.assertEqual((self.leg.handler, self.leg.owner), (nothing, None))

    def test_close_twice(self) -> None:
        """
        Closing twice closes once: by the second time, the number may be somebody else's.
        """
        for end in (SocketLeg.close, SocketLeg.abort):
            leg, far = self.tcp()
            number = leg.number
            leg.watch()
            leg.close()
            near, far = unix_pair()
            if far.fileno() == number:
                near, far = far, near
            self.assertEqual(near.fileno(), number)
            self.others.append(far)
            other = SocketLeg(self.engine.poller, bare(near))
            self.others.append(other)
            edges: list[int] = []
            other.handler = edges.append
            other.watch()
            end(leg)
            self.engine.turn()
            self.assertEqual(edges, [OUT])
            far.send(b"x")
            self.engine.turn()
            self.assertEqual(other.receive(1), b"x")

    def test_abort(self) -> None:
        """
        Where there are resets, an abort is one; a unix socket is closed.
        """
        leg, far = self.tcp()
        leg.abort()
        leg.abort()
        self.assertRaises(ConnectionResetError, far.recv, 20)
        self.leg.abort()
        self.assertEqual(self.far.recv(1), b"")

    def test_error(self) -> None:
        """
        Why a socket is broken is known once.
        """
        leg, far = self.tcp()
        self.assertIsNone(leg.error())
        far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        far.close()
        error = leg.error()
        self.assertIsInstance(error, OSError)
        self.assertEqual(str(error), "[Errno 104] Connection reset by peer")
        self.assertIsNone(leg.error())

    def test_crashed(self) -> None:
        """
        The owner of a leg hears of faults in its handler; where there is none, the leg is closed.
        """
        waiter = Waiter()
        self.leg.owner = waiter
        self.leg.crashed()
        self.assertEqual((waiter.crashes, self.leg.number >= 0), (1, True))
        self.leg.owner = None
        self.leg.crashed()
        self.assertEqual(self.leg.number, -1)

    def test_cramped(self) -> None:
        """
        A unix socket may never show more; a TCP socket with a buffer of some size will.
        """
        self.assertTrue(self.leg.cramped(1))
        leg, _ = self.tcp()
        leg.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.assertFalse(leg.cramped(1000))
        self.assertTrue(leg.cramped(1024))

    def test_default_timeout(self) -> None:
        """
        A program that calls socket.setdefaulttimeout does not make us wait.
        """
        near, far = tcp_pair()
        self.others.append(far)
        self.addCleanup(socket.setdefaulttimeout, socket.getdefaulttimeout())
        socket.setdefaulttimeout(30)
        made = bare(near)
        self.assertEqual(made.gettimeout(), 30)
        leg = SocketLeg(self.engine.poller, made)
        self.others.append(leg)
        self.assertIsNone(leg.receive(1))
        self.assertEqual(made.gettimeout(), 0)

    def test_linger(self) -> None:
        """
        A leg with last words is closed when they are out.
        """
        answers = [False, True]
        self.leg.watch()
        self.engine.turn()
        self.leg.owner = Waiter()
        self.leg.linger(lambda: answers.pop(0))
        self.assertIsNone(self.leg.owner)
        self.far.send(b"x")
        self.engine.turn()
        self.assertGreaterEqual(self.leg.number, 0)
        self.far.send(b"x")
        self.engine.turn()
        self.assertEqual((self.leg.number, self.engine.reactor.getDelayedCalls()), (-1, []))

    def test_linger_to_nobody(self) -> None:
        """
        Or when there is nobody to hear them.
        """

        def flush() -> bool:
            raise BrokenPipeError

        self.leg.watch()
        self.leg.linger(flush)
        self.engine.turn()
        self.assertEqual((self.leg.number, self.engine.reactor.getDelayedCalls()), (-1, []))

    def test_linger_too_long(self) -> None:
        """
        Or when it takes too long.
        """
        self.leg.watch()
        self.leg.linger(lambda: False)
        self.engine.turn()
        self.engine.reactor.advance(LINGER - 0.1)
        self.assertGreaterEqual(self.leg.number, 0)
        self.engine.reactor.advance(0.2)
        self.assertEqual(self.leg.number, -1)
