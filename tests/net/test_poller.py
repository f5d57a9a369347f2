"""
Tests of sniproxy/net/poller.py: what wakes up legs.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any
from weakref import ref

from twisted.internet.interfaces import IReadDescriptor
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sniproxy.net import poller as module
from sniproxy.net.poller import AGAIN, ENDED, HUP, IN, OUT, RDHUP, Poller
from tests.support.legs import Reactor, bare, open_descriptors, unix_pair


class Noting:
    """
    Something watched, which notes its edges.
    """

    def __init__(self, then: Callable[[], None] | None = None) -> None:
        self.edges: list[int] = []
        self.told = 0
        self.crashes = 0
        self.then = then

    def handler(self, bits: int) -> None:
        """
        Note it.
        """
        self.edges.append(bits)
        if self.then is not None:
            self.then()

    def crashed(self) -> None:
        """
        Note it.
        """
        self.crashes += 1


class PollerTests(SynchronousTestCase):
    """
    A real epoll, turned by hand.
    """

    def setUp(self) -> None:
        self.before = open_descriptors()
        self.reactor = Reactor()
        self.poller = Poller(self.reactor)
        self.sockets: list[Any] = []

    def tearDown(self) -> None:
        self.poller.stop()
        for sock in self.sockets:
            sock.close()
        self.assertEqual(open_descriptors() - self.before, set())

    def pair(self) -> tuple[Any, socket.socket]:
        """
        Two ends.
        """
        near, far = unix_pair()
        made = bare(near), far
        self.sockets += made
        return made

    def watched(self, then: Callable[[], None] | None = None) -> tuple[Noting, Any, socket.socket]:
        """
        Something watched whose first edge has been told.
        """
        near, far = self.pair()
        noting = Noting()
        self.poller.watch(near.fileno(), noting)
        self.poller.doRead()
        self.assertEqual(noting.edges, [OUT])
        noting.edges.clear()
        noting.then = then
        return noting, near, far

    def test_reader(self) -> None:
        """
        It is a reader of its reactor.
        """
        self.assertTrue(verifyObject(IReadDescriptor, self.poller))
        self.assertEqual(self.reactor.readers, [self.poller])
        self.assertGreaterEqual(self.poller.fileno(), 0)
        self.assertEqual(self.poller.logPrefix(), "sniproxy poller")

    def test_edges(self) -> None:
        """
        What is ready is told once, and told anew when more comes.
        """
        noting, _, far = self.watched()
        far.send(b"a")
        self.poller.doRead()
        self.poller.doRead()
        self.assertEqual(noting.edges, [IN | OUT])
        far.send(b"b")
        self.poller.doRead()
        self.assertEqual(len(noting.edges), 2)

    def test_end(self) -> None:
        """
        An end and a hang-up are told as such.
        """
        noting, _, far = self.watched()
        far.shutdown(socket.SHUT_WR)
        self.poller.doRead()
        self.assertEqual(noting.edges[0] & ENDED, RDHUP)
        far.close()
        self.poller.doRead()
        self.assertEqual(noting.edges[1] & ENDED, RDHUP | HUP)

    def test_levels(self) -> None:
        """
        What is watched by level is told again and again, and of nothing but reading.
        """
        near, far = self.pair()
        noting = Noting()
        self.poller.watch_level(near.fileno(), noting)
        self.poller.doRead()
        self.assertEqual(noting.edges, [])
        far.send(b"a")
        self.poller.doRead()
        self.assertEqual(noting.edges, [IN] * module.ROUNDS)

    def test_forget(self) -> None:
        """
        What is forgotten stays open and is not told; forgetting twice is nothing.
        """
        noting, near, far = self.watched()
        self.assertFalse(self.poller.idle)
        self.poller.forget(near.fileno())
        self.poller.forget(near.fileno())
        self.assertTrue(self.poller.idle)
        far.send(b"a")
        self.poller.doRead()
        self.assertEqual(noting.edges, [])
        self.assertEqual(near.recv(1), b"a")

    def test_hand_over(self) -> None:
        """
        Somebody else is told from now on, of what was watched and of what was not.
        """
        noting, near, far = self.watched()
        unwatched, beside = self.pair()
        heir = Noting()
        self.poller.hand_over(near.fileno(), heir)
        self.poller.hand_over(unwatched.fileno(), heir)
        far.send(b"a")
        beside.send(b"a")
        self.poller.doRead()
        self.assertEqual((noting.edges, heir.edges), ([], [IN | OUT] * 2))

    def test_close(self) -> None:
        """
        Outside of a batch a socket is closed at once.
        """
        _, near, far = self.watched()
        self.poller.close(near.fileno(), near)
        self.assertEqual(far.recv(1), b"")

    def test_numbers_in_a_batch(self) -> None:
        """
        A descriptor that is closed by an earlier event of the batch is not told, and its number cannot come back
        within the batch.
        """
        self.poller.stop()
        self.poller = Poller(self.reactor, rounds=1)
        fresh: list[Any] = []
        first, second = self.watched(), self.watched()

        def close(number: int, sock: Any) -> None:
            self.poller.close(number, sock)
            made = self.pair()
            fresh.append((made[0].fileno(), number))
            noting = Noting()
            fresh.append(noting)
            self.poller.watch(made[0].fileno(), noting)

        def close_second() -> None:
            first[0].then = None
            close(second[1].fileno(), second[1])

        def close_first() -> None:
            second[0].then = None
            close(first[1].fileno(), first[1])

        first[0].then, second[0].then = close_second, close_first
        first[2].send(b"a")
        second[2].send(b"a")
        self.poller.doRead()
        self.assertEqual(len(first[0].edges) + len(second[0].edges), 1)
        (numbers, noting) = fresh
        self.assertNotEqual(*numbers)
        self.assertEqual(noting.edges, [])

    def test_closed_after_batch(self) -> None:
        """
        What is closed within a batch is closed when the batch is over.
        """
        noting, near, far = self.watched()
        noting.then = lambda: self.poller.close(near.fileno(), near)
        far.send(b"a")
        self.poller.doRead()
        self.assertEqual(near.fileno(), -1)

    def test_later(self) -> None:
        """
        What is to be done later is done when the batch is over, once, and before its sockets are closed; outside of a
        batch it is done at once. Its faults are logged, and others' things are done all the same.
        """
        noting, near, far = self.watched()
        done: list[Any] = []

        def then() -> None:
            self.poller.close(near.fileno(), near)
            self.poller.later(lambda: done.append(1 / 0))
            self.poller.later(lambda: done.append(near.fileno()))
            done.append("handled")

        noting.then = then
        number = near.fileno()
        far.send(b"a")
        self.poller.doRead()
        self.assertEqual(done, ["handled", number])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.poller.later(lambda: done.append("at once"))
        self.assertEqual(done, ["handled", number, "at once"])

    def test_waves(self) -> None:
        """
        All steps of a wave are taken before the first one of those they ask for, all of it in the same batch.
        """
        done: list[str] = []

        def beginning(name: str) -> Callable[[], None]:
            def second() -> None:
                done.append(f"{name} again")

            def first() -> None:
                done.append(name)
                self.poller.later(second)

            return lambda: self.poller.later(first)

        fars = []
        for name in "abc":
            noting, _, far = self.watched()
            noting.then = beginning(name)
            fars.append(far)
        for far in fars:
            far.send(b"a")
        self.poller.doRead()
        self.assertEqual(done, ["a", "b", "c", "a again", "b again", "c again"])

    def test_step_with_a_fault(self) -> None:
        """
        Whoever a step belongs to is told that it raised, and is all that is lost.
        """
        noting, _, far = self.watched()
        other, _, _ = self.watched()
        done: list[str] = []

        def then() -> None:
            self.poller.later(lambda: done.append(str(1 / 0)), other)
            self.poller.later(lambda: done.append("done"), noting)

        noting.then = then
        far.send(b"a")
        self.poller.doRead()
        self.assertEqual((done, noting.crashes, other.crashes), (["done"], 0, 1))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_dropped(self) -> None:
        """
        What is dropped in a batch lives to its end, and no longer; outside of one nothing keeps it.
        """
        noting, _, far = self.watched()
        kept: list[ref[Any]] = []
        alive: list[bool] = []

        def then() -> None:
            thing = Noting()
            kept.append(ref(thing))
            self.poller.drop(thing)
            del thing
            self.poller.later(lambda: alive.append(kept[0]() is not None))

        noting.then = then
        far.send(b"a")
        self.poller.doRead()
        self.assertEqual(alive, [True])
        self.assertIsNone(kept[0]())
        noting.then = None
        then()
        self.assertIsNone(kept[1]())

    def raising(self, error: BaseException) -> Callable[[], None]:
        """
        A handler with a fault.
        """

        def then() -> None:
            raise error

        return then

    def test_faults(self) -> None:
        """
        A handler that raises is told so and the others go on; not even an exit leaves the loop.
        """
        for error in (ZeroDivisionError(), SystemExit()):
            bad, _, bad_far = self.watched(self.raising(error))
            good, _, good_far = self.watched()
            bad_far.send(b"a")
            good_far.send(b"a")
            self.poller.doRead()
            self.assertEqual((bad.crashes, len(bad.edges), len(good.edges)), (1, 1, 1))
            self.assertEqual(len(self.flushLoggedErrors(type(error))), 1)
            good_far.send(b"b")
            self.poller.doRead()
            self.assertEqual(len(good.edges), 2)

    def test_fault_while_ending(self) -> None:
        """
        So is one whose ending raises, too.
        """
        bad, _, far = self.watched(self.raising(ZeroDivisionError()))
        self.patch(bad, "crashed", self.raising(KeyError()))
        far.send(b"a")
        self.poller.doRead()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)
        bad.then = None
        far.send(b"a")
        self.poller.doRead()
        self.assertEqual(len(bad.edges), 2)

    def test_again(self) -> None:
        """
        Who asks to be called again is called, though the kernel has nothing new to say: from outside, in the
        reactor's next turn.
        """
        noting, near, _ = self.watched()
        self.poller.again(near.fileno(), noting)
        self.poller.again(near.fileno(), noting)
        self.assertEqual(noting.edges, [])
        self.reactor.advance(0)
        self.assertEqual(noting.edges, [AGAIN, AGAIN])
        self.reactor.advance(1)
        self.assertEqual(len(noting.edges), 2)

    def test_again_after_others(self) -> None:
        """
        Who asks within an event is called after the others that are ready.
        """
        order: list[str] = []
        greedy, near, far = self.watched()

        def ask() -> None:
            order.append("greedy")
            if len(order) == 1 or order[-2] != "greedy":
                self.poller.again(near.fileno(), greedy)

        greedy.then = ask
        _, _, modest_far = self.watched(lambda: order.append("modest"))
        far.send(b"a")
        modest_far.send(b"a")
        self.poller.doRead()
        self.assertEqual(order[0:2], ["greedy", "modest"])
        self.assertEqual(order[-1], "greedy")

    def test_again_for_ever(self) -> None:
        """
        Who asks again and again does not keep the reactor from its other work, and is not forgotten either.
        """
        noting, near, far = self.watched()
        noting.then = lambda: self.poller.again(near.fileno(), noting)
        far.send(b"a")
        self.poller.doRead()
        self.assertEqual(len(noting.edges), 2 * module.ROUNDS - module.ROUNDS + 1)
        self.assertEqual(len(self.reactor.getDelayedCalls()), 1)
        noting.then = None
        self.reactor.advance(0)
        self.assertEqual(len(noting.edges), module.ROUNDS + 2)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_again_too_late(self) -> None:
        """
        Who was closed, or replaced by somebody else, in the meantime, is not called.
        """
        noting, near, _ = self.watched()
        self.poller.again(near.fileno(), noting)
        self.poller.forget(near.fileno())
        other = Noting()
        self.poller.watch(near.fileno(), other)
        self.reactor.advance(0)
        self.assertEqual((noting.edges, other.edges), ([], [OUT]))

    def test_again_fault(self) -> None:
        """
        A fault in such a call is like any other.
        """
        noting, near, _ = self.watched(self.raising(ZeroDivisionError()))
        self.poller.again(near.fileno(), noting)
        self.reactor.advance(0)
        self.assertEqual(noting.crashes, 1)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_not_registered(self) -> None:
        """
        A descriptor that cannot be watched is not taken for a watched one.
        """
        with self.assertRaises(OSError):
            self.poller.watch(9999, Noting())
        with self.assertRaises(OSError):
            self.poller.watch_level(9999, Noting())
        self.assertTrue(self.poller.idle)

    def test_stop(self) -> None:
        """
        A stopped poller watches nothing, and stopping twice is nothing.
        """
        noting, near, _ = self.watched()
        self.poller.again(near.fileno(), noting)
        self.poller.stop()
        self.poller.connectionLost(None)
        self.assertEqual((self.poller.fileno(), self.reactor.readers, self.reactor.getDelayedCalls()), (-1, [], []))
        self.poller.again(near.fileno(), noting)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_wait(self) -> None:
        """
        One that leads is no reader and sets no timers; it handles what is ready, and says whether that is true of the
        descriptor that it was given.
        """
        noting, near, far = self.watched()
        theirs, other = self.pair()
        self.poller.lead(theirs.fileno())
        self.assertEqual(self.reactor.readers, [])
        self.assertFalse(self.poller.wait(0))
        far.send(b"a")
        self.assertFalse(self.poller.wait(None))
        self.assertEqual(noting.edges, [IN | OUT])
        other.send(b"b")
        self.assertTrue(self.poller.wait(None))
        self.poller.again(near.fileno(), noting)
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        theirs.recv(1)
        self.assertFalse(self.poller.wait(None))
        self.assertEqual(noting.edges[1:], [AGAIN])

    def test_step_back(self) -> None:
        """
        Who steps back leaves its place among those who wait for a socket and is told of it as before; who does not lead
        has no such place.
        """
        theirs, _ = self.pair()
        near, far = self.pair()
        noting = Noting()
        self.poller.watch_level(near.fileno(), noting)
        self.poller.step_back(9999)
        self.poller.lead(theirs.fileno())
        with self.assertRaises(OSError):
            self.poller.step_back(9999)
        far.send(b"a")
        self.poller.step_back(near.fileno())
        self.poller.wait(0)
        self.assertEqual(noting.edges, [IN])

    def test_wait_for_more(self) -> None:
        """
        After several events it looks for more without sleeping, but not for ever; what they have asked for is done
        before it is asked to wait again.
        """
        theirs, _ = self.pair()
        self.poller.stop()
        self.poller = Poller(self.reactor, rounds=3)
        self.poller.lead(theirs.fileno())
        both = [self.pair() for _ in range(2)]
        notings = [Noting() for _ in both]
        for (near, far), noting in zip(both, notings, strict=True):
            noting.then = lambda far=far: far.send(b"more")
            self.poller.watch(near.fileno(), noting)
        self.assertFalse(self.poller.wait(None))
        self.assertEqual([noting.edges for noting in notings], [[OUT, IN | OUT, IN | OUT]] * 2)

    def holding(self, steps: list[str], shaking: int) -> list[socket.socket]:
        """
        Three whose edges leave a step each, C{shaking} handshakes in progress, and one who leads.

        @return: their far ends.
        """
        theirs, _ = self.pair()
        fars = []
        for name in "abc":
            noting, _, far = self.watched()
            noting.then = lambda name=name, noting=noting: self.poller.hold(lambda: steps.append(name), noting)
            fars.append(far)
        self.poller.lead(theirs.fileno())
        self.poller.shaking = shaking
        return fars

    def test_hold(self) -> None:
        """
        Where many handshakes are in progress, a step waits until a part of them takes one, all in one wave.
        """
        steps: list[str] = []
        fars = self.holding(steps, module.MANY - 1)
        fars[0].send(b"a")
        self.poller.wait(0)
        self.assertEqual(steps, ["a"])  # so few do not wait for each other
        self.poller.shaking = module.MANY
        for far in fars[1:]:
            far.send(b"a")
        self.poller.wait(0)
        self.assertEqual(steps, ["a"])
        self.poller.shaking = module.SHARE * 2  # the others have ended meanwhile
        self.poller.wait(0)
        self.assertEqual(sorted(steps[1:]), ["b", "c"])

    def test_held_for_a_moment(self) -> None:
        """
        It waits no longer than a moment, which ends the wait for events, too.
        """
        steps: list[str] = []
        fars = self.holding(steps, 1000)
        fars[0].send(b"a")
        self.poller.wait(None)
        self.poller.wait(None)  # comes back, with nothing there
        self.assertEqual(steps, [])
        self.reactor.advance(module.PATIENCE)
        self.poller.wait(None)
        self.assertEqual(steps, ["a"])
        fars[1].send(b"a")
        self.poller.wait(5)
        self.poller.wait(5)
        self.assertEqual(steps, ["a"])
        self.poller.stop()
        self.assertEqual(steps, ["a"])

    def test_held_by_nobody(self) -> None:
        """
        Who does not wait for events himself holds nothing back.
        """
        noting, _, far = self.watched()
        steps: list[int] = []
        noting.then = lambda: self.poller.hold(lambda: steps.append(1), noting)
        self.poller.shaking = 1000
        far.send(b"a")
        self.poller.doRead()
        self.assertEqual(steps, [1])

    def test_stop_in_a_batch(self) -> None:
        """
        A handler may stop it: no one else is called, and what was being closed is closed.
        """
        first, near, far = self.watched()

        def stop() -> None:
            self.poller.close(near.fileno(), near)
            self.poller.stop()

        second, _, second_far = self.watched(stop)
        first.then = stop
        far.send(b"a")
        second_far.send(b"a")
        self.poller.doRead()
        self.assertEqual(len(first.edges) + len(second.edges), 1)
        self.assertEqual(near.fileno(), -1)
