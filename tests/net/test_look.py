"""
Tests of sniproxy/net/look.py: what a client's first bytes are, while they stay where they are.
"""

from __future__ import annotations

import socket
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.net.look import GONE, PATIENCE, look
from sniproxy.net.poller import ERR, HUP, IN, RDHUP
from tests.support.legs import Engine, leg_of, open_descriptors


class Line:
    """
    Reads up to a newline; judges 60,000 bytes without one as endless.
    """

    def __init__(self) -> None:
        self.seen: list[int] = []

    def look(self, prefix: bytes) -> str | None:
        """
        @return: the line.
        """
        self.seen.append(len(prefix))
        line, end, _ = prefix.partition(b"\n")
        return line.decode() if end else "endless" if len(prefix) >= 60_000 else None


class LookTests(SynchronousTestCase):
    """
    Real sockets, looked at by hand.
    """

    def setUp(self) -> None:
        self.before = open_descriptors()
        self.engine = Engine()
        self.line = Line()
        self.leg, self.far = self.engine.tcp()
        self.others: list[Any] = []

    def tearDown(self) -> None:
        for each in (self.leg, self.far, *self.others):
            each.close()
        self.engine.stop()
        self.assertEqual(open_descriptors() - self.before, set())

    def look(self, bits: int = IN, looks: int = 0, limit: int = 60_000) -> Any:
        """
        Once.
        """
        return look(self.leg, self.line, limit, bits, looks)

    def send(self, data: bytes) -> None:
        """
        Have it arrive.
        """
        before = len(self.leg.peek(1 << 20) or b"") if not self.leg.held else 0
        self.far.setblocking(True)
        self.far.sendall(data)
        if not self.leg.held:
            self.engine.until(lambda: len(self.leg.peek(1 << 20) or b"") == before + len(data))

    def test_nothing(self) -> None:
        """
        Nothing has come: wait, and trouble no reader.
        """
        self.assertIsNone(self.look())
        self.assertEqual(self.line.seen, [])

    def test_verdict(self) -> None:
        """
        The verdict comes with the bytes that suffice, and all bytes stay where they are.
        """
        self.send(b"GET")
        self.assertIsNone(self.look())
        self.send(b" /\nrest")
        self.assertEqual(self.look(), "GET /")
        self.assertEqual((self.leg.held, self.leg.receive(100)), (b"", b"GET /\nrest"))

    def test_limit(self) -> None:
        """
        The reader sees no more than it may.
        """
        self.send(b"x" * 100)
        self.look(limit=10)
        self.assertEqual(self.line.seen, [10])

    def test_end(self) -> None:
        """
        A client that ends without a verdict is gone, at once; one that says enough before it ends is not.
        """
        self.far.shutdown(socket.SHUT_WR)
        self.engine.until(lambda: self.leg.peek(1) == b"")
        self.assertIs(self.look(IN | RDHUP), GONE)
        self.assertIs(self.look(0), GONE)

    def test_half_and_end(self) -> None:
        """
        So is one that ends in the middle: there will be no further edge.
        """
        self.send(b"half")
        for bits in (RDHUP, HUP):
            self.assertIs(self.look(IN | bits), GONE)
        self.assertEqual(self.leg.held, b"")

    def test_half_and_reset(self) -> None:
        """
        One that breaks the connection in the middle is told as such, whatever it said before; a mere suspicion ends
        it, too.
        """
        self.send(b"half")
        self.assertIs(self.look(IN | ERR | HUP), GONE)
        self.leg.take_held()
        self.send(b"half")
        self.far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.far.close()
        self.assertRaises(ConnectionResetError, self.look, IN | ERR | HUP)

    def test_whole_and_end(self) -> None:
        """
        One that says enough before it ends has a verdict.
        """
        self.send(b"whole\n")
        self.far.shutdown(socket.SHUT_WR)
        self.assertEqual(self.look(IN | RDHUP), "whole")

    def test_end_told_before(self) -> None:
        """
        Without an edge an end may have been told of before, and is looked for.
        """
        self.send(b"half")
        self.assertIsNone(self.look(0))
        self.far.shutdown(socket.SHUT_WR)
        self.engine.until(lambda: self.look(0) is GONE)

    def test_broken(self) -> None:
        """
        A broken connection is told as such.
        """
        self.far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.far.close()
        self.assertRaises(ConnectionResetError, self.look)

    def test_patience(self) -> None:
        """
        Who takes too many pieces is not peeked at for ever: the bytes are taken, and come first later.
        """
        self.send(b"one ")
        self.assertIsNone(self.look(looks=PATIENCE - 1))
        self.assertEqual(self.leg.held, b"")
        self.assertIsNone(self.look(looks=PATIENCE))
        self.assertEqual(self.leg.held, b"one ")
        self.send(b"line\nmore")
        self.engine.until(lambda: self.look(looks=PATIENCE + 1) == "one line")
        self.assertEqual(self.leg.take_held() + (self.leg.receive(100) or b""), b"one line\nmore")

    def test_held(self) -> None:
        """
        Where bytes are held already, more of them are held.
        """
        self.leg.hold(b"hel")
        self.assertIsNone(self.look())
        self.send(b"lo\n")
        self.engine.until(lambda: self.look() == "hello")

    def test_held_and_broken(self) -> None:
        """
        One that breaks the connection is told as such, unless enough is held.
        """
        self.far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.leg.hold(b"hel")
        self.far.close()
        self.assertRaises(ConnectionResetError, self.look)

        def fill(limit: int) -> bool:
            raise ConnectionResetError

        class Broken:
            """
            A leg whose end is there already.
            """

            held = b"whole\n"

        broken: Any = Broken()
        broken.fill = fill
        self.assertEqual(look(broken, self.line, 100, IN, 0), "whole")

    def test_held_and_gone(self) -> None:
        """
        And a client that ends is gone.
        """
        self.leg.hold(b"hel")
        self.far.close()
        self.engine.until(lambda: self.look() is GONE)

    def test_taken_without_bytes(self) -> None:
        """
        Patience that ends with nothing there waits on.
        """
        self.assertIsNone(self.look(looks=PATIENCE))
        self.assertEqual(self.line.seen, [])

    def test_large(self) -> None:
        """
        What is too large for the kernel's buffer is taken too, up to the limit.
        """
        self.far.setblocking(False)
        data = b"x" * 100_000
        sent = 0

        def step() -> bool:
            nonlocal sent
            try:
                sent += self.far.send(data[sent:])
            except BlockingIOError:
                pass
            return bool(self.look() == "endless")

        self.engine.until(step)
        self.assertLessEqual(len(self.leg.held), 60_000)

    def stalling(self, leg: Any, far: socket.socket, data: bytes, piece: int) -> None:
        """
        The client writes as much as is taken, then we look, once for each edge. It must not come to a stop.
        """
        self.leg.close()
        self.leg = leg
        self.others.append(far)
        verdicts: list[Any] = []
        looks = 0
        sent = 0

        def event(bits: int) -> None:
            nonlocal looks
            verdict = look(leg, self.line, 60_000, bits, looks)
            looks += 1
            if verdict is not None:
                verdicts.append(verdict)

        def step() -> bool:
            nonlocal sent
            try:
                while sent < len(data):
                    sent += far.send(data[sent : sent + piece])
            except BlockingIOError:
                pass
            return bool(verdicts)

        leg.handler = event
        leg.watch()
        step()
        self.engine.until(step)
        self.assertEqual(verdicts[0], "x" * (len(data) - 1))

    def test_unix_stall(self) -> None:
        """
        A unix socket that fills with small writes before the verdict does not stop.
        """
        leg, far = self.engine.pair()
        self.stalling(leg, far, b"x" * 2000 + b"\n", 1)

    def test_small_window(self) -> None:
        """
        Nor does a TCP socket whose receive buffer is smaller than what is looked for.
        """
        with socket.socket() as server:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2304)
            server.bind(("127.0.0.1", 0))
            server.listen()
            far = socket.create_connection(server.getsockname())
            far.setblocking(False)
            near, _ = server.accept()
        self.stalling(leg_of(self.engine.poller, near), far, b"x" * 20_000 + b"\n", 1400)
