"""
Tests for L{sniproxy.service.crew}.
"""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.levels import ALERT, NOTICE
from sniproxy.service.channel import LOG, READY, line
from sniproxy.service.crew import LEAST, MOST, PATIENCE, SETTLED, Crew
from sniproxy.service.plan import HEAR, SAY
from tests.support.processes import FakeProcess, Reactor, twisted_log


class CrewCase(SynchronousTestCase):
    """
    A crew of two, whose processes are in memory.
    """

    def setUp(self) -> None:
        self.reactor = Reactor()
        self.lines: list[tuple[int, str]] = []
        self.events: list[str] = []
        self.ended: list[Any] = []
        self.crew = Crew(
            self.reactor,
            2,
            self.spawn,
            lambda level, message: self.lines.append((level, message)),
            lambda crew: self.events.append("accepts" if crew.accepts else "fails"),
            lambda crew: self.events.append("gone"),
            self.ended.append,
        )
        self.places: list[int] = []

    def spawn(self, worker: Any) -> None:
        """
        Start one.
        """
        self.places.append(worker.place)
        self.reactor.spawnProcess(worker, "python", ["python"], None, {})

    def begun(self) -> list[FakeProcess]:
        """
        The processes of a crew that has begun.
        """
        self.crew.start()
        return self.reactor.processes

    def says(self, process: FakeProcess, *words: str) -> None:
        """
        A worker speaks.
        """
        process.protocol.childDataReceived(SAY, line(*words))


class BeginTests(CrewCase):
    """
    From nothing to all places filled.
    """

    def test_start(self) -> None:
        """
        Each place gets a worker, and the log tells of it.
        """
        self.begun()
        self.assertEqual(self.places, [0, 1])
        self.assertEqual(self.lines, [(NOTICE, f"start worker process {pid}") for pid in (1001, 1002)])

    def test_ready(self) -> None:
        """
        A crew accepts, once, when a worker of each place does; not when one of them says so twice.
        """
        first, second = self.begun()
        self.says(first, READY)
        self.says(first, READY)
        self.assertEqual(self.events, [])
        self.says(second, READY)
        self.says(second, READY)
        self.assertEqual((self.events, self.crew.begun), (["accepts"], True))
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_fails(self) -> None:
        """
        One that dies before all accept, or that takes too long, is told, once; so is it when all accept at last.
        """
        for slow in (False, True):
            self.setUp()
            first, second = self.begun()
            self.says(first, READY)
            if slow:
                self.reactor.advance(PATIENCE)
            else:
                second.end(1)
                self.reactor.processes[-1].end(1)
                self.reactor.advance(LEAST)
            self.assertEqual((self.events, self.crew.accepts), (["fails"], False))
            self.says(self.reactor.processes[-1], READY)
            self.assertEqual((self.events, self.crew.accepts), (["fails", "accepts"], True))

    def test_too_late(self) -> None:
        """
        When it is to end already it does not matter any more.
        """
        first, second = self.begun()
        self.crew.quit()
        self.says(first, READY)
        self.says(second, READY)
        self.reactor.advance(PATIENCE)
        self.assertEqual(self.events, [])

    def test_log(self) -> None:
        """
        What a worker logs is logged; what it says besides means nothing yet.
        """
        told = twisted_log(self)
        first, _ = self.begun()
        self.says(first, LOG, "info", "there", "a line")
        self.says(first, "what")
        self.assertEqual([event["text"] for event in told], ["a line"])


class DeathTests(CrewCase):
    """
    Workers that end unasked.
    """

    def test_words(self) -> None:
        """
        How one ended is said in nginx's words, as loud as it is bad.
        """
        for how, wanted in (
            ({"signal": 9}, (ALERT, "worker process 1001 exited on signal 9")),
            ({"signal": 11, "core": True}, (ALERT, "worker process 1001 exited on signal 11 (core dumped)")),
            ({"code": 1}, (ALERT, "worker process 1001 exited with code 1")),
            ({}, (NOTICE, "worker process 1001 exited with code 0")),
        ):
            self.setUp()
            first, _ = self.begun()
            self.lines.clear()
            first.end(**how)  # type: ignore[arg-type]
            self.assertEqual(self.lines, [wanted, (NOTICE, "start worker process 1003")])
            self.assertEqual(self.places, [0, 1, 0])

    def test_told_before_the_next(self) -> None:
        """
        That one has ended is told before another is started in its place.
        """
        first, _ = self.begun()
        places = []
        self.crew._ended = lambda worker: places.append((worker, len(self.places)))
        first.end()
        self.assertEqual((places, len(self.places)), ([(first.protocol, 2)], 3))

    def test_again_and_again(self) -> None:
        """
        One that dies again before it has settled is replaced later and later, to a bound.
        """
        self.begun()
        self.reactor.processes[-1].end(1)
        pauses = []
        for _ in range(10):
            before = len(self.reactor.processes)
            self.reactor.processes[-1].end(1)
            (call,) = [each for each in self.reactor.getDelayedCalls() if "_fill" in str(each)]
            pauses.append(call.getTime() - self.reactor.seconds())
            self.assertEqual(len(self.reactor.processes), before)
            self.reactor.advance(pauses[-1])
            self.assertEqual(len(self.reactor.processes), before + 1)
        self.assertEqual(pauses, [LEAST, 1.0, 2.0, 4.0, 8.0, 16.0, MOST, MOST, MOST, MOST])
        self.assertEqual(set(self.places[2:]), {1})

    def test_settled(self) -> None:
        """
        One that has lived for a while is replaced at once, however often others before it have died.
        """
        self.begun()
        for _ in range(3):
            self.reactor.processes[-1].end(1)
            self.reactor.advance(MOST)
        self.reactor.advance(SETTLED)
        before = len(self.reactor.processes)
        self.reactor.processes[-1].end(signal=9)
        self.assertEqual(len(self.reactor.processes), before + 1)

    def test_no_process_to_be_had(self) -> None:
        """
        Where the system gives no process that is an alert, and it is tried again.
        """
        self.reactor.refuse = BlockingIOError(11, "Resource temporarily unavailable")
        self.begun()
        self.assertEqual(self.events, ["fails"])
        words = "fork() failed while spawning a worker process (11: Resource temporarily unavailable)"
        self.assertEqual(self.lines, [(ALERT, words)] * 2)
        self.reactor.refuse = None
        self.reactor.advance(LEAST)
        self.assertEqual(len(self.reactor.processes), 2)


class EndTests(CrewCase):
    """
    Workers that are told to end.
    """

    def test_quit(self) -> None:
        """
        All are told, no place is filled again, and when the last one has ended the crew is gone.
        """
        first, second = self.begun()
        self.crew.quit()
        self.assertTrue(self.crew.leaving)
        self.assertEqual([each.said for each in (first, second)], [[(HEAR, line("quit"))]] * 2)
        first.end()
        self.assertEqual(self.events, [])
        second.end()
        self.assertEqual((self.events, len(self.reactor.processes)), (["gone"], 2))

    def test_stop_after_quit(self) -> None:
        """
        Those that take too long may be told to end at once, and killed; who has ended by then is spared.
        """
        first, second = self.begun()
        self.crew.quit()
        self.crew.stop()
        self.assertEqual(first.said[-1], (HEAR, line("stop")))
        second.ended = True
        self.crew.tell("reopen")
        self.crew.kill()
        self.assertEqual((first.signals, second.signals), (["KILL"], []))
        first.end(signal=9)
        second.end()
        self.assertEqual(self.events, ["gone"])

    def test_nobody_left(self) -> None:
        """
        A crew whose places wait to be filled is gone at once, and nothing waits any more.
        """
        self.reactor.refuse = BlockingIOError(11, "Resource temporarily unavailable")
        self.begun()
        self.crew.quit()
        self.crew.quit()
        self.assertEqual((self.events, self.reactor.getDelayedCalls()), (["fails", "gone"], []))
