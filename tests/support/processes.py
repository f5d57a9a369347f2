"""
What runs a program, in memory: a reactor that other threads may call, that starts no processes, and remembers which
ones it should have started.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from twisted.internet.error import ProcessDone, ProcessExitedAlready, ProcessTerminated
from twisted.logger import globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.support.datagrams import DatagramReactor


class FakeProcess:
    """
    A process that was asked for, and the transport of whoever asked.

    @ivar said: what was written to each of its descriptors.
    @ivar signals: those it was sent.
    """

    def __init__(self, protocol: Any, pid: int, arguments: Sequence[str], descriptors: Mapping[int, Any]) -> None:
        self.protocol = protocol
        self.pid = pid
        self.arguments = list(arguments)
        self.descriptors = dict(descriptors)
        self.said: list[tuple[int, bytes]] = []
        self.signals: list[str] = []
        self.ended = False

    def writeToChild(self, childFD: int, data: bytes) -> None:
        """
        It hears something.
        """
        if self.ended:
            raise KeyError(childFD)
        self.said.append((childFD, data))

    def signalProcess(self, signalID: str) -> None:
        """
        It gets a signal.
        """
        if self.ended:
            raise ProcessExitedAlready()
        self.signals.append(signalID)

    def end(self, code: int = 0, signal: int | None = None, core: bool = False) -> None:
        """
        It ends, with a code or by a signal.
        """
        self.ended = True
        how: Exception = ProcessDone(0)
        if signal is not None:
            how = ProcessTerminated(None, signal, signal | (0x80 if core else 0))
        elif code:
            how = ProcessTerminated(code, None, code << 8)
        self.protocol.processEnded(Failure(how))


class Reactor(DatagramReactor):
    """
    A reactor in memory that other threads may call, and that goes on running.

    @ivar processes: all that were asked for.
    @ivar refuse: raised instead of starting one.
    @ivar watching: the readers.
    @ivar at_end: what is to be done at the end.
    """

    def __init__(self) -> None:
        super().__init__()
        self.hooks: list[Callable[[], object]] = []
        self.processes: list[FakeProcess] = []
        self.refuse: OSError | None = None
        self.watching: list[Any] = []
        self.at_end: list[tuple[str, str, Callable[[], object]]] = []
        self.ran = 0
        self.begun = False

    def callWhenRunning(self, callable: Callable[..., object], *args: Any, **kw: Any) -> None:  # noqa: A002
        """
        When the test calls C{begin}, or at once where it has.
        """
        if self.begun:
            callable(*args, **kw)
        else:
            self.hooks.append(lambda: callable(*args, **kw))

    def begin(self) -> None:
        """
        The reactor runs.
        """
        self.begun = True
        hooks, self.hooks = self.hooks, []
        for hook in hooks:
            hook()

    def callFromThread(self, called: Callable[..., object], *arguments: Any) -> None:
        """
        At the next turn.
        """
        self.callLater(0, called, *arguments)

    def spawnProcess(
        self,
        processProtocol: Any,
        executable: str,
        args: Sequence[str] = (),
        env: Any = (),
        childFDs: Mapping[int, Any] | None = None,
    ) -> FakeProcess:
        """
        Remember what should be started.
        """
        if self.refuse is not None:
            raise self.refuse
        assert env is None and executable == args[0]
        process = FakeProcess(processProtocol, 1001 + len(self.processes), args, childFDs or {})
        self.processes.append(process)
        processProtocol.makeConnection(process)
        return process

    def addReader(self, reader: Any) -> None:
        """
        Watch.
        """
        self.watching.append(reader)

    def removeReader(self, reader: Any) -> None:
        """
        Watch no more.
        """
        self.watching.remove(reader)

    def addSystemEventTrigger(self, phase: str, eventType: str, callable: Any, *args: Any, **kw: Any) -> None:  # noqa: A002
        """
        Something is to be done at the end.
        """
        self.at_end.append((phase, eventType, lambda: callable(*args, **kw)))

    def run(self) -> None:
        """
        Nothing happens.
        """
        self.ran += 1


def twisted_log(test: SynchronousTestCase) -> list[Any]:
    """
    @return: the events of Twisted's log from now to the end of the test.
    """
    events: list[Any] = []
    observer: Any = events.append
    globalLogPublisher.addObserver(observer)
    test.addCleanup(globalLogPublisher.removeObserver, observer)
    return events
