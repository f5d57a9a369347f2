"""
Does anything go wrong if everything happens? C{python -m tests.net.soak [SECONDS [SEED]]} relays random bytes in
random pieces between random kinds of legs, with ends, closes, resets and silences at random moments, and checks
what must hold whatever happens.

Strategy: bytes are a function of their place in the stream, so that each piece that arrives can be checked by
itself. One seed is one run: what went wrong goes wrong again. Not a part of the suite, which knows no dice.
"""

from __future__ import annotations

import random
import sys
import time
from typing import Any

from sniproxy.net import relay as relay_module
from sniproxy.net import splice as splice_module
from sniproxy.net.pipes import Pipes
from sniproxy.net.relay import Options, PumpRelay
from sniproxy.net.splice import SpliceRelay
from tests.net.conformance import World, noise
from tests.support.legs import open_descriptors

STREAM = noise(1 << 20)


class End:
    """
    One far end and what it does.

    @ivar written: bytes taken from it.
    @ivar read: bytes it got.
    """

    def __init__(self, far: Any, dice: random.Random) -> None:
        self.far = far
        self.dice = dice
        self.written = self.read = 0
        self.lazy = dice.random() < 0.3
        self.finished = self.gone = self.ended = self.broken = False
        self.piece = dice.choice((1, 100, 5000, 65536, 200_000))

    def act(self) -> None:
        """
        Do something, perhaps.
        """
        chance = self.dice.random()
        try:
            if self.gone:
                return
            if chance < 0.004:
                self.gone = True
                self.far.reset()
            elif chance < 0.008:
                self.gone = True
                self.far.close()
            elif chance < 0.02 and not self.finished:
                self.finished = True
                self.far.finish()
            elif chance < 0.03:
                self.lazy = not self.lazy
            if not self.finished and not self.gone and self.dice.random() < 0.5:
                start = self.written % (len(STREAM) - self.piece)
                self.written += self.far.write(self.stream(start))
            if not self.lazy and not self.gone and not self.ended:
                self.take()
        except OSError:
            self.broken = self.gone = True

    def stream(self, start: int) -> bytes:
        """
        What comes at a place: the noise, over and over.
        """
        place = self.written % len(STREAM)
        return STREAM[place : place + self.piece]

    def take(self) -> None:
        """
        Read, and check.
        """
        data = self.far.read(self.dice.choice((1, 1000, 65536, 65536)))
        if data == b"":
            self.ended = True
        elif data:
            place = self.read % len(STREAM)
            wanted = (STREAM + STREAM)[place : place + len(data)]
            assert data == wanted, f"other bytes at {self.read}"
            self.read += len(data)


def session(dice: random.Random) -> None:
    """
    One relay from its beginning to its end.
    """
    before = open_descriptors()
    world = World()
    pipes = Pipes(dice.choice((0, 2)))
    kinds = (
        world.plain_unix,
        world.plain_tcp,
        world.memory,
        lambda: world.tls_over(world.plain_tcp),
        lambda: world.tls_over(world.plain_unix),
        lambda: world.tls_over(world.memory),
    )
    client, upstream = dice.choice(kinds)(), dice.choice(kinds)()
    world.legs, world.fars = [client[0], upstream[0]], [client[1], upstream[1]]
    relay = next(each for each in (SpliceRelay(pipes), PumpRelay()) if each.can_carry(*world.legs))
    relay_module.TURN, splice_module.TURN, splice_module.FIRST = (  # type: ignore[misc]
        dice.choice((1, 3, 64)),
        dice.choice((1, 16)),
        dice.choice((1, 10_000, 131_072)),
    )
    options = Options(half_close=dice.random() < 0.5, timeout=30.0, buffer_size=dice.choice((1000, 4096, 16384)))
    if dice.random() < 0.3:
        client[0].hold(STREAM[:300])
    world.begin(relay, options)
    ends = End(client[1], dice), End(upstream[1], dice)
    ends[0].written = len(client[0].held)
    if dice.random() < 0.5:
        for end in ends:
            end.act()
    relaying = world.relaying
    world.network.deadlines.set(world.holder, options.timeout)
    relaying.begin()
    for _ in range(3000):
        if world.done:
            break
        for end in ends:
            end.act()
        if all(end.gone or end.finished for end in ends):
            for end in ends:
                end.lazy = False
        if dice.random() < 0.9:
            world.turn()
    else:
        # Nobody has ended both ways: then the deadline does, once nothing moves.
        for end in ends:
            end.gone = True
            try:
                end.far.reset()
            except OSError:
                pass  # it is closed already
        world.until(lambda: world.done)
    assert len(world.done) == 1, world.done
    for flow, source, sink in ((relaying.up, *ends), (relaying.down, *reversed(ends))):
        assert flow.sent <= flow.received <= source.written, (flow.received, source.written)
        if not sink.gone:
            for _ in range(20_000):
                if sink.ended or sink.broken:
                    break
                try:
                    sink.take()
                except OSError:
                    sink.broken = True
                if not sink.ended:
                    world.turn()
            if sink.ended:
                # What goes by way of memory may have arrived while we were still to be told that it was taken.
                assert 0 <= sink.read - flow.sent <= getattr(flow.sink, "_owed", 0), (sink.read, flow.sent)
    pipes.close()
    world.end()
    assert world.holder.crashes == 0
    left = open_descriptors() - before
    assert not left, left


def main(arguments: list[str]) -> int:
    """
    @return: the exit status.
    """
    seconds = float(arguments[0]) if arguments else 8.0
    seed = int(arguments[1]) if len(arguments) > 1 else random.randrange(1 << 32)
    end = time.monotonic() + seconds
    count = 0
    while time.monotonic() < end and not (len(arguments) > 1 and count):
        try:
            session(random.Random(seed + count))
        except BaseException:
            sys.stderr.write(f"seed {seed + count}\n")
            raise
        count += 1
    sys.stdout.write(f"{count} sessions from seed {seed}: nothing went wrong\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
