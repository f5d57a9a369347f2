"""
Tests of sniproxy/net/splice.py: the relay that lets the kernel move bytes.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
from typing import Any

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sniproxy.interfaces import IRelay
from sniproxy.net.pipes import FIRST as PIPE
from sniproxy.net.pipes import LARGE, Pipe, Pipes
from sniproxy.net.relay import Options, Relaying, Result
from sniproxy.net.splice import FIRST, TURN, SpliceRelay
from tests.net.conformance import LARGE as MUCH
from tests.net.conformance import RelayTestCase, World, noise


class Counting:
    """
    Pipes that are counted.
    """

    def __init__(self) -> None:
        self._pipes = Pipes()
        self.lent: list[Pipe | None] = []
        self.returned: list[Pipe] = []

    def borrow(self) -> Pipe | None:
        """
        Count.
        """
        pipe = self._pipes.borrow()
        self.lent.append(pipe)
        return pipe

    def give_back(self, pipe: Pipe) -> None:
        """
        Count.
        """
        self.returned.append(pipe)
        self._pipes.give_back(pipe)

    def close(self) -> None:
        """
        Close the idle ones.
        """
        self._pipes.close()


class SplicingTestCase(RelayTestCase):
    """
    With pipes of its own.

    @cvar turn: how many steps a flow takes in one go.
    """

    turn = TURN

    def setUp(self) -> None:
        self.pipes = self.make_pipes()
        super().setUp()

    def make_pipes(self) -> Any:
        """
        The pipes of one test.
        """
        return Counting()

    def tearDown(self) -> None:
        if self.world.relaying is not None:
            self.world.relaying.stop()
        self.pipes.close()
        super().tearDown()

    def relay(self, world: World) -> Any:
        return SpliceRelay(self.pipes, self.turn)


class UnixTests(SplicingTestCase):
    """
    Two unix sockets.
    """

    resets = False

    def connect(self, world: World) -> Any:
        return world.plain_unix(), world.plain_unix()

    def test_nobody_sees(self) -> None:
        """
        After the first bytes pipes carry the rest, and all of them come back.
        """
        self.go()
        self.carry((self.client, self.upstream, noise(MUCH)), (self.upstream, self.client, noise(MUCH)))
        self.assertGreater(len(self.pipes.lent), 1)
        self.assertEqual(self.pipes.lent, self.pipes.returned)

    def test_short_flows_need_none(self) -> None:
        """
        A flow that stays short borrows no pipe.
        """
        self.go()
        self.carry((self.client, self.upstream, noise(FIRST - 1)))
        self.assertEqual(self.pipes.lent, [])

    def test_hungry_flows_keep_none(self) -> None:
        """
        A flow that waits for its source has no pipe, however much it has carried.
        """
        relaying = self.go()
        self.carry((self.client, self.upstream, noise(MUCH)))
        self.world.turn()
        self.assertIsNone(relaying.up.pipe)

    def test_sockets_must_not_block(self) -> None:
        """
        Sockets are made not to block before they are spliced, since splice(2) has no other word for it.
        """
        for leg in self.world.legs:
            leg.sock.setblocking(True)
        self.go()
        self.carry((self.client, self.upstream, noise(MUCH)))
        self.assertEqual([os.get_blocking(leg.number) for leg in self.world.legs], [False, False])

    def test_source_cannot(self) -> None:
        """
        Where the kernel does not splice at all, the flow goes on by recv and send.
        """

        def refuse(*args: Any, **names: Any) -> int:
            raise OSError(errno.ENOSYS, "Function not implemented")

        self.patch(os, "splice", refuse)
        relaying = self.go()
        self.carry((self.client, self.upstream, noise(MUCH)))
        self.assertEqual(relaying.up.sent, MUCH)
        self.assertEqual(len(self.pipes.lent), 1)

    def test_sink_cannot(self) -> None:
        """
        So it does where only the sink refuses, with what is in the pipe already.
        """
        whole = os.splice

        def refuse(source: int, sink: int, *args: Any, **names: Any) -> int:
            if sink == self.world.legs[1].number:
                raise OSError(errno.EINVAL, "Invalid argument")
            return whole(source, sink, *args, **names)

        self.patch(os, "splice", refuse)
        relaying = self.go()
        self.carry((self.client, self.upstream, noise(MUCH)))
        self.assertEqual(relaying.up.sent, MUCH)

    def test_sink_breaks(self) -> None:
        """
        An upstream that leaves while bytes are in a pipe ends the relay, and the pipe is closed with what is inside.
        """
        relaying = self.go()
        self.fill(self.client)
        pipe = relaying.up.pipe
        self.assertGreater(pipe.inside, 0)
        self.upstream.close()
        self.world.until(lambda: self.world.done)
        (result,) = self.world.done
        self.assertEqual(result.side, "upstream")
        self.assertIsInstance(result.error, ConnectionError)
        self.assertRaises(OSError, os.fstat, pipe.read)

    def test_full_pipes_grow(self) -> None:
        """
        A pipe that runs full takes more at once from then on.
        """
        self.go()
        self.pipes.lent.append(self.pipes.borrow())
        pipe = self.pipes.lent[0]
        self.pipes.give_back(pipe)
        pipe.capacity = 4096  # so that it is full at once, whatever sockets deliver
        self.carry((self.client, self.upstream, noise(MUCH)))
        self.assertGreater(pipe.capacity, PIPE)

    def test_turns(self) -> None:
        """
        A flow that has moved its share lets others have their turn, and goes on by itself.
        """
        self.turn = 1
        self.go()
        self.carry((self.client, self.upstream, noise(MUCH)), (self.upstream, self.client, noise(MUCH)))


class TcpTests(SplicingTestCase):
    """
    Two TCP sockets.
    """

    def connect(self, world: World) -> Any:
        return world.plain_tcp(), world.plain_tcp()

    def test_urgent(self) -> None:
        """
        Urgent data in a spliced stream, which splice does not get past, costs nobody the bytes behind it.
        """
        relaying = self.go()
        self.carry((self.client, self.upstream, noise(MUCH)))
        self.client.sock.send(b"abc")
        self.client.sock.send(b"!", socket.MSG_OOB)
        self.client.sock.send(b"def")
        self.assertEqual(self.gather(self.upstream, 6), b"abcdef")
        self.carry((self.client, self.upstream, noise(MUCH)))
        self.client.finish()
        self.reads(self.upstream, b"")
        self.assertEqual((relaying.up.sent, len(self.world.done)), (2 * MUCH + 6, 1))

    def test_urgent_and_the_end(self) -> None:
        """
        An end behind urgent data in a spliced stream is not told before the bytes between them.
        """
        self.go()
        self.carry((self.client, self.upstream, noise(MUCH)))
        self.client.sock.send(b"!", socket.MSG_OOB)
        self.client.sock.send(b"def")
        self.client.finish()
        self.assertEqual(self.gather(self.upstream, 3), b"def")
        self.assertEqual([(got.side, got.error) for got in self.world.done], [("client", None)])

    def test_urgent_at_last(self) -> None:
        """
        Urgent data with nothing behind it, in a spliced stream, is not the end.
        """
        relaying = self.go()
        self.carry((self.client, self.upstream, noise(MUCH)))
        self.client.sock.send(b"!", socket.MSG_OOB)
        self.world.turn()
        self.assertEqual(self.world.done, [])
        self.carry((self.client, self.upstream, noise(MUCH)))
        self.assertEqual((relaying.up.sent, self.world.done), (2 * MUCH, []))


class OneTurnTests(SplicingTestCase):
    """
    One step at a time, so that every flow stops in every place.
    """

    resets = False
    turn = 1

    def connect(self, world: World) -> Any:
        return world.plain_unix(), world.plain_unix()


class NoPipes(Counting):
    """
    There is no descriptor left.
    """

    def borrow(self) -> Pipe | None:
        """
        Sorry.
        """
        return None


class NoPipeTests(SplicingTestCase):
    """
    Descriptors have run out: bytes go by recv and send, and pipes are asked for again later.
    """

    resets = False

    def make_pipes(self) -> Any:
        return NoPipes()

    def connect(self, world: World) -> Any:
        return world.plain_unix(), world.plain_unix()

    def test_asks_again(self) -> None:
        """
        Once there are pipes again, they are used.
        """
        relaying = self.go()
        self.carry((self.client, self.upstream, noise(FIRST)))
        self.world.turn()
        self.assertEqual(relaying.up.switch_at, 2 * FIRST)
        counting = Counting()
        self.addCleanup(counting.close)
        self.world.relaying._pipes = counting
        self.carry((self.client, self.upstream, noise(2 * FIRST)))
        self.assertGreater(len(counting.lent), 0)


class SmallPipeTests(SplicingTestCase):
    """
    The user has no pipe memory left: pipes stay small.
    """

    resets = False

    def setUp(self) -> None:
        def refuse(descriptor: int, command: int, argument: int) -> int:
            self.assertEqual(argument, LARGE)
            raise PermissionError(errno.EPERM, "Operation not permitted")

        self.patch(fcntl, "fcntl", refuse)
        super().setUp()

    def connect(self, world: World) -> Any:
        return world.plain_unix(), world.plain_unix()


class CapabilityTests(SynchronousTestCase):
    """
    Which legs it fits.
    """

    def setUp(self) -> None:
        self.world = World()
        self.addCleanup(self.world.end)

    def legs(self, *sides: Any) -> Any:
        """
        The legs of some sides.
        """
        self.world.legs = [leg for leg, far in sides]
        self.world.fars = [far for leg, far in sides]
        return self.world.legs

    def test_plain(self) -> None:
        """
        Two legs with descriptors are carried.
        """
        relay = SpliceRelay(Pipes())
        self.assertTrue(verifyObject(IRelay, relay))
        self.assertTrue(relay.can_carry(*self.legs(self.world.plain_unix(), self.world.plain_tcp())))

    def test_others(self) -> None:
        """
        A leg without one is not, on either side.
        """
        memory, plain = self.legs(self.world.memory(), self.world.plain_unix())
        relay = SpliceRelay(Pipes())
        self.assertFalse(relay.can_carry(memory, plain))
        self.assertFalse(relay.can_carry(plain, memory))

    def test_begins_like_any(self) -> None:
        """
        What it makes is a relay like the portable one, with thresholds.
        """
        client, upstream = self.legs(self.world.plain_unix(), self.world.plain_unix())
        made = SpliceRelay(Pipes()).make(client, upstream, Options(), self.world.report, self.world.holder, lambda: 0.0)
        self.assertIsInstance(made, Relaying)
        self.assertEqual((made.up.switch_at, made.down.switch_at), (FIRST, FIRST))
        made.end(Result("client"))


del RelayTestCase, SplicingTestCase
