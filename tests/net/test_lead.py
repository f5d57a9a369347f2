"""
Tests of sniproxy/net/lead.py: who waits.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any
from unittest import mock

from twisted.internet.epollreactor import EPollReactor
from twisted.internet.selectreactor import SelectReactor
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.net import lead as module
from sniproxy.net.lead import lead
from sniproxy.net.poller import IN, OUT, Poller
from tests.net.test_poller import Noting
from tests.support.legs import bare, unix_pair


class Reading:
    """
    A reader of the reactor's own, which reads all that comes.
    """

    def __init__(self, sock: Any) -> None:
        self.sock = sock
        self.heard = b""
        self.then: Callable[[], object] = int

    def fileno(self) -> int:
        """
        What is watched.
        """
        return int(self.sock.fileno())

    def logPrefix(self) -> str:
        """
        For the log.
        """
        return "reading"

    def connectionLost(self, reason: object) -> None:
        """
        The reactor is done.
        """

    def doRead(self) -> None:
        """
        Read it.
        """
        self.heard += self.sock.recv(100)
        self.then()


class LeadTests(SynchronousTestCase):
    """
    A reactor of Twisted's for epoll, that is nobody else's.
    """

    def setUp(self) -> None:
        self.reactor: Any = EPollReactor()
        self.addCleanup(self.close)
        self.poller = Poller(self.reactor)
        self.leading = lead(self.reactor, self.poller)
        self.sockets: list[Any] = []

    def close(self) -> None:
        """
        Give back what the reactor holds.
        """
        if self.leading is not None:
            self.leading.end()
        self.poller.stop()
        for reader in self.reactor.removeAll():
            reader.connectionLost(None)
        self.reactor._poller.close()
        for sock in self.sockets:
            sock.close()

    def pair(self) -> tuple[Any, Any]:
        """
        Two ends.
        """
        near, far = unix_pair()
        made = bare(near), far
        self.sockets += made
        return made

    def noting(self) -> tuple[Noting, Any]:
        """
        Something that we watch, and its far end.
        """
        near, far = self.pair()
        noting = Noting()
        self.poller.watch(near.fileno(), noting)
        return noting, far

    def run_reactor(self) -> None:
        """
        Until something stops it; at most as long as a test may take.
        """
        late = self.reactor.callLater(10, self.reactor.crash)
        self.reactor.run(installSignalHandlers=False)
        self.assertTrue(late.active(), "it was never stopped")
        late.cancel()

    def test_not_a_reader(self) -> None:
        """
        The reactor does not wait for us any more.
        """
        self.assertNotIn(self.poller, self.reactor.getReaders())

    def test_ours(self) -> None:
        """
        What we watch is handled in the reactor's turns.
        """
        noting, far = self.noting()
        self.reactor.iterate()
        far.send(b"a")
        self.reactor.iterate()
        self.assertEqual(noting.edges, [OUT, IN | OUT])

    def test_theirs(self) -> None:
        """
        What the reactor watches is handled too.
        """
        near, far = self.pair()
        reading = Reading(near)
        self.reactor.addReader(reading)
        far.send(b"theirs")
        self.reactor.iterate()
        self.assertEqual(reading.heard, b"theirs")
        self.reactor.removeReader(reading)

    def test_waits(self) -> None:
        """
        It sleeps for what we watch, and for what the reactor watches.
        """
        near, far = self.pair()
        reading = Reading(near)
        self.reactor.addReader(reading)
        noting, ours = self.noting()
        noting.then = lambda: None if noting.edges[-1] == OUT else far.send(b"theirs")
        reading.then = self.reactor.crash
        teller = threading.Timer(0.02, ours.send, (b"ours",))
        teller.start()
        self.run_reactor()
        teller.join()
        self.assertEqual(reading.heard, b"theirs")
        self.reactor.removeReader(reading)

    def test_timers(self) -> None:
        """
        It sleeps no longer than the reactor's timers let it, those too that our handlers set.
        """
        noting, far = self.noting()
        noting.then = lambda: None if noting.edges[-1] == OUT else self.reactor.callLater(0.01, self.reactor.crash)
        self.reactor.callLater(0.01, far.send, b"a")
        self.run_reactor()
        self.assertEqual(noting.edges, [OUT, IN | OUT])

    def test_threads(self) -> None:
        """
        Other threads wake it.
        """
        teller = threading.Timer(0.02, self.reactor.callFromThread, (self.reactor.crash,))
        teller.start()
        self.run_reactor()
        teller.join()

    def test_again(self) -> None:
        """
        Who asks to be called again is called in the next turn, though nothing is ready and no timer set.
        """
        noting, _ = self.noting()
        self.reactor.iterate()
        descriptor = next(iter(self.poller._watched))
        noting.then = self.reactor.crash
        before = len(self.reactor.getDelayedCalls())
        self.poller.again(descriptor, noting)
        self.assertEqual(len(self.reactor.getDelayedCalls()), before)
        self.run_reactor()
        self.assertEqual(noting.edges, [OUT, IN | OUT])

    def test_stays(self) -> None:
        """
        As long as nothing is there for the reactor, it is not asked.
        """
        noting, far = self.noting()
        turns: list[int] = []
        asked = self.reactor.runUntilCurrent

        def ask() -> None:
            turns.append(len(noting.edges))
            asked()

        self.reactor.runUntilCurrent = ask

        def then() -> None:
            if len(noting.edges) < 20:
                far.send(b"a")
            else:
                self.reactor.crash()

        noting.then = then
        self.run_reactor()
        self.assertEqual(len(noting.edges), 20)
        self.assertEqual(turns, [0])

    def test_busy(self) -> None:
        """
        Who has always something to do does not keep the reactor from its timers.
        """
        noting, _ = self.noting()
        descriptor = next(iter(self.poller._watched))
        noting.then = lambda: self.poller.again(descriptor, noting)
        self.reactor.callLater(0.02, self.reactor.crash)
        self.run_reactor()

    def test_stop(self) -> None:
        """
        A handler may stop the reactor.
        """
        noting, _ = self.noting()
        ended: list[bool] = []
        self.reactor.addSystemEventTrigger("after", "shutdown", ended.append, True)
        noting.then = self.reactor.stop
        self.run_reactor()
        self.assertEqual(ended, [True])

    def test_stopped_in_a_turn(self) -> None:
        """
        A handler may end it all.
        """
        noting, _ = self.noting()

        def end() -> None:
            assert self.leading is not None
            self.leading.end()
            self.poller.stop()

        noting.then = end
        self.reactor.callLater(0.02, self.reactor.crash)
        self.run_reactor()
        self.assertEqual(self.poller.fileno(), -1)

    def test_end(self) -> None:
        """
        In the end the reactor is as it was; the second time changes nothing.
        """
        assert self.leading is not None
        self.assertIn("doIteration", vars(self.reactor))
        self.leading.end()
        self.leading.end()
        self.assertNotIn("doIteration", vars(self.reactor))

    def test_once(self) -> None:
        """
        A reactor that somebody waits for already is left to him.
        """
        other = Poller(self.reactor)
        self.addCleanup(other.stop)
        self.assertIsNone(lead(self.reactor, other))
        self.assertIn(other, self.reactor.getReaders())


class OtherTests(SynchronousTestCase):
    """
    Reactors that wait for themselves.
    """

    def left_alone(self, reactor: Any) -> None:
        """
        It is, and the poller remains its reader.
        """
        poller = Poller(reactor)
        self.assertIsNone(lead(reactor, poller))
        self.assertIn(poller, reactor.getReaders())
        self.assertNotIn("doIteration", vars(reactor))
        poller.stop()
        for reader in reactor.removeAll():
            reader.connectionLost(None)

    def test_select(self) -> None:
        """
        One that does not use epoll.
        """
        self.left_alone(SelectReactor())

    def test_somebody_elses(self) -> None:
        """
        One that was made from Twisted's, and may turn in another way.
        """

        class Other(EPollReactor):
            pass

        reactor: Any = Other()
        self.left_alone(reactor)
        reactor._poller.close()

    def test_unfamiliar(self) -> None:
        """
        One whose epoll we do not find.
        """
        reactor: Any = EPollReactor()
        with mock.patch.object(module, "_EPOLL", "_something"):
            self.left_alone(reactor)
        reactor._poller.close()

    def test_without_epoll(self) -> None:
        """
        Where Twisted has none for epoll.
        """
        with mock.patch.dict("sys.modules", {"twisted.internet.epollreactor": None}):
            self.left_alone(SelectReactor())
