"""
Tests of sniproxy/net/lingering.py: sockets that stay to see their bytes delivered.

Strategy: real sockets, since it is the kernel that delivers or does not. A leg is given all that the kernel takes while
nobody reads, and closed.
"""

from __future__ import annotations

import contextlib
import resource
import socket
from functools import partial

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.net.legs import FLIGHT, SocketLeg
from sniproxy.net.lingering import DROPPED, LONGEST, MOST, PAUSE, linger, undelivered
from sniproxy.net.poller import IN, RDHUP
from tests.support.legs import Engine, open_descriptors

PIECE = b"x" * 65536


def delivered(leg: SocketLeg) -> bool:
    """
    Whether the far end has all.
    """
    return not undelivered(leg.number)


def ended(leg: SocketLeg) -> bool:
    """
    Whether the far end has said its last word.
    """
    return leg.receive(1) == b""


class Talker:
    """
    A socket on which there is always more to read, or only so much.

    @ivar said: bytes that were read.
    @ivar left: pieces that are left; None for no end.
    """

    def __init__(self, sock: socket.socket) -> None:
        self.said = 0
        self.left: int | None = None
        self.shutdown = sock.shutdown
        self.close = sock.close

    def recv(self, limit: int, flags: int) -> bytes:
        """
        Some more.
        """
        if self.left is not None:
            if not self.left:
                return b""
            self.left -= 1
        self.said += limit
        return b"x" * limit


class LingeringTests(SynchronousTestCase):
    """
    A leg over TCP whose far end reads late.
    """

    def setUp(self) -> None:
        self.before = open_descriptors()
        self.engine = Engine()
        self.poller = self.engine.poller
        self.leg, self.far = self.engine.tcp()

    def tearDown(self) -> None:
        self.far.close()
        self.leg.close()
        self.engine.turn()
        self.engine.stop()
        self.assertEqual(open_descriptors() - self.before, set())
        self.assertEqual(self.engine.reactor.getDelayedCalls(), [])

    def pour(self, leg: SocketLeg | None = None) -> int:
        """
        Send all that the kernel takes.
        """
        leg = leg or self.leg
        sent = 0
        while taken := leg.send(PIECE):
            sent += taken
        self.assertEqual(leg.sent, sent)
        return sent

    def read(self) -> int:
        """
        What the far end gets, to the end.
        """
        got: list[int] = []

        def more() -> bool:
            try:
                got.append(len(self.far.recv(len(PIECE))))
            except BlockingIOError:
                return False
            return not got[-1]

        self.engine.until(more)
        return sum(got)

    def open(self) -> bool:
        """
        Whether the kernel still has the socket.
        """
        return len(self.poller.lingering) == 1

    def test_late_words(self) -> None:
        """
        What the far end says after the close costs it nothing: it gets all, and the end; then the socket is closed.
        """
        self.leg.watch()
        sent = self.pour()
        self.leg.close()
        self.assertEqual(self.leg.number, -1)
        self.far.send(b"late")
        self.engine.turn()
        self.far.send(b"later")
        self.assertEqual(self.read(), sent)
        self.assertTrue(self.open())
        self.far.close()
        self.engine.until(lambda: not self.open())
        self.assertTrue(self.poller.idle)

    def test_unread(self) -> None:
        """
        The same for what it said before, which nobody received, of a leg that was not watched.
        """
        sent = self.pour()
        self.far.send(b"before")
        self.leg.close()
        self.assertEqual(self.read(), sent)

    def test_all_there(self) -> None:
        """
        Where the far end has everything, or has said its last word, or it was little, the socket is closed at once; an
        abort is an abort.
        """
        self.leg.close()
        self.assertTrue(self.poller.idle)
        for reason in ("delivered", "over", "little", "aborted"):
            leg, far = self.engine.tcp()
            leg.watch()
            if reason == "delivered":
                leg.send(b"x" * (FLIGHT + 1))
                self.engine.until(partial(delivered, leg))
            elif reason == "little":
                leg.send(b"x" * FLIGHT)
            else:
                self.pour(leg)
            if reason == "over":
                far.shutdown(socket.SHUT_WR)
                self.engine.until(partial(ended, leg))
            (leg.abort if reason == "aborted" else leg.close)()
            self.assertTrue(self.poller.idle, reason)
            self.assertEqual(self.poller.lingering, {})
            far.close()

    def test_enough(self) -> None:
        """
        Once the far end has everything it has time until the next look to say its end.
        """
        self.pour()
        self.leg.close()
        self.engine.reactor.advance(PAUSE)
        self.assertTrue(self.open())
        self.read()
        (number,) = self.poller._watched
        self.engine.until(lambda: not undelivered(number))
        self.engine.reactor.advance(PAUSE - 0.1)
        self.assertTrue(self.open())
        self.engine.reactor.advance(0.2)
        self.assertFalse(self.open())

    def test_never(self) -> None:
        """
        Whoever never takes it is given up.
        """
        self.pour()
        self.leg.close()
        for _ in range(int(LONGEST / PAUSE) - 1):
            self.engine.reactor.advance(PAUSE)
        self.assertTrue(self.open())
        self.engine.reactor.advance(PAUSE)
        self.assertFalse(self.open())

    def test_most(self) -> None:
        """
        Of too many, by themselves or for the descriptors there may be, the eldest is closed.
        """
        for limit, most in ((32, 2), (20_000, MOST), (resource.RLIM_INFINITY, MOST), (4, 1)):
            self.patch(resource, "getrlimit", lambda what, limit=limit: (limit, limit))
            pairs = [self.engine.tcp() for _ in range(most + 1)]
            for leg, _ in pairs:
                leg.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)  # so that not so much is under way
                while leg.send(PIECE):
                    pass
                leg.close()
            self.assertEqual(len(self.poller.lingering), most)
            for number, (_, far) in enumerate(pairs):
                far.send(b"late")
                far.setblocking(True)
                with contextlib.suppress(ConnectionResetError) if number == 0 else contextlib.nullcontext():
                    while far.recv(len(PIECE)):
                        pass
                far.close()
            self.engine.until(lambda: not self.poller.lingering)

    def test_stop(self) -> None:
        """
        What lingers is idle, and ends with the poller; after that nothing lingers.
        """
        self.pour()
        self.leg.close()
        self.assertTrue(self.poller.idle and self.engine.network.lingering)
        leg, far = self.engine.tcp()
        self.pour(leg)
        self.engine.stop()
        leg.close()
        self.assertFalse(self.engine.network.lingering)
        far.close()

    def test_broken(self) -> None:
        """
        A far end that resets, before or after, has nothing to wait for.
        """
        self.pour()
        self.leg.close()
        self.far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.far.close()
        self.engine.until(lambda: not self.open())
        leg, far = self.engine.tcp()
        self.pour(leg)
        far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        far.close()
        leg.close()
        self.assertEqual((self.poller.lingering, self.poller._watched), ({}, {}))

    def test_nothing(self) -> None:
        """
        What was given nothing, or is no socket, has nothing undelivered.
        """
        self.assertFalse(undelivered(self.leg.number))
        with open("/dev/null", "rb") as null:
            self.assertFalse(undelivered(null.fileno()))

    def test_flood(self) -> None:
        """
        Of a far end that only talks so much is dropped, and no more; all of it where it has come to its end.
        """
        talker = Talker(self.far)
        linger(self.poller, self.far.fileno(), talker, IN)  # type: ignore[arg-type]
        self.poller.doRead()
        self.assertEqual(talker.said, DROPPED)
        talker.left = 3
        (lingering,) = self.poller.lingering
        lingering.handler(IN | RDHUP)
        self.assertEqual((talker.said, self.open()), (DROPPED + 3 * len(PIECE), False))

    def test_not_watched(self) -> None:
        """
        What cannot be watched is closed.
        """
        with open(__file__, "rb") as file:
            linger(self.poller, file.fileno(), Talker(self.far), IN)  # type: ignore[arg-type]
        self.assertEqual((self.poller.idle, self.open(), self.far.fileno()), (True, False, -1))

    def test_said_otherwise(self) -> None:
        """
        Who has set SO_LINGER has said how the socket is to end.
        """
        self.pour()
        self.leg.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.leg.close()
        self.assertTrue(self.poller.idle)
        self.assertFalse(self.open())
        self.far.setblocking(True)
        with self.assertRaises(ConnectionResetError):
            while True:
                self.far.recv(len(PIECE))

    def test_gone(self) -> None:
        """
        Where the end cannot be said, there is nobody to wait for.
        """
        self.far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.far.close()
        near = self.leg.sock
        self.assertRaises(ConnectionResetError, near.recv, 1)
        linger(self.poller, self.leg.number, near, IN)
        self.assertEqual((self.poller.lingering, self.poller._watched), ({}, {}))
