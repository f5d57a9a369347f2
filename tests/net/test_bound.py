"""
Tests of sniproxy/net/bound.py: legs of all kinds, called alike.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.net.bound import close, fill, over, plain, receive, send, send_last, set_handler, silent, take_held, watch
from sniproxy.net.legs import nothing
from sniproxy.net.tls_leg import TlsLeg
from tests.net.conformance import World
from tests.support import tls


class BoundTests(SynchronousTestCase):
    """
    A leg over a socket, and one that the compiler knows nothing of.
    """

    def setUp(self) -> None:
        self.world = World()
        self.addCleanup(self.world.end)

    def sides(self) -> list[tuple[Any, Any]]:
        """
        Legs, and their far ends.
        """
        sides: list[tuple[Any, Any]] = [self.world.plain_unix(), self.world.memory()]
        for leg, far in sides:
            self.world.legs.append(leg)
            self.world.fars.append(far)
        return sides

    def read(self, far: Any, wanted: bytes) -> None:
        """
        The far end gets this.
        """
        got = bytearray()

        def step() -> bool:
            got.extend(far.read(100) or b"")
            return len(got) >= len(wanted)

        self.world.until(step)
        self.assertEqual(bytes(got), wanted)

    def test_send(self) -> None:
        """
        What is sent arrives, the last words too, and is counted.
        """
        ways: tuple[Callable[[Any, bytes], int], ...] = (send, send_last)
        for leg, far in self.sides():
            leg.watch()
            for way in ways:
                self.assertEqual(way(leg, b"word"), 4)
                if way is send:
                    self.read(far, b"word")
            leg.close()
            self.read(far, b"word")

    def test_receive(self) -> None:
        """
        What the far end says is received, up to a limit; None where there is nothing.
        """
        for leg, far in self.sides():
            self.assertIsNone(receive(leg, 10))
            leg.watch()
            far.write(b"a word")
            got: list[bytes] = []

            def step(leg: Any = leg, got: list[bytes] = got) -> bool:
                got.extend(filter(None, (receive(leg, 3),)))
                return len(got) == 2

            self.world.until(step)
            self.assertEqual(got, [b"a w", b"ord"])

    def test_over(self) -> None:
        """
        An end that is known is told; a leg that speaks TLS never tells before it is received.
        """
        leg, far = self.world.plain_unix()
        self.world.legs.append(leg)
        self.world.fars.append(far)
        leg.watch()
        self.assertFalse(over(leg))
        far.write(b"last word")
        far.finish()
        self.world.until(lambda: receive(leg, 100) == b"last word")
        self.assertTrue(over(leg))
        self.assertFalse(over(TlsLeg(leg, tls.server())))

    def test_silent(self) -> None:
        """
        A leg is silent when all that came was received, and until more comes, be it the end; of one that the compiler
        knows nothing of nothing is known.
        """
        (leg, far), (other, _) = self.sides()
        self.assertFalse(silent(leg))
        leg.watch()
        self.world.until(lambda: receive(leg, 10) is None and silent(leg))
        far.write(b"word")
        self.world.until(lambda: not silent(leg))
        self.assertEqual(receive(leg, 3), b"wor")
        self.assertFalse(silent(leg))
        self.assertEqual(receive(leg, 3), b"d")
        self.assertTrue(silent(leg))
        leg.hold(b"held")
        self.assertFalse(silent(leg))
        self.assertEqual(take_held(leg), b"held")
        far.finish()
        self.world.until(lambda: not silent(leg))
        self.assertEqual(receive(leg, 3), b"")
        self.assertFalse(silent(leg))
        self.assertFalse(silent(other))

    def test_held(self) -> None:
        """
        What a leg is filled with is held, and taken once.
        """
        for leg, far in self.sides():
            self.assertEqual(take_held(leg), b"")
            self.assertTrue(watch(leg))
            self.assertFalse(watch(leg))
            far.write(b"word")

            def step(leg: Any = leg) -> bool:
                return fill(leg, 4) and bool(leg.held)

            self.world.until(step)
            self.assertEqual((take_held(leg), take_held(leg)), (b"word", b""))

    def test_handler(self) -> None:
        """
        A handler is that of the leg that has the bytes; both are closed as one.
        """
        heard: list[int] = []
        for leg, _ in self.sides():
            for each in (leg, TlsLeg(leg, tls.server())):
                set_handler(each, nothing)
                set_handler(each, heard.append)
                leg.handler(1)
                self.assertEqual(each.handler, leg.handler)
            self.assertFalse(plain(each))
            self.assertTrue(plain(leg))
            close(each)
            self.assertIsNot(leg.handler, heard.append)
        self.assertEqual(heard, [1] * 4)
