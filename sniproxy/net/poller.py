"""
What wakes up legs: an edge-triggered epoll of our own, nested in the Twisted reactor.

Strategy: the descriptor of the epoll is the only thing the reactor watches. When it turns readable, L{Poller.doRead}
drains it in a tight loop; no Twisted transport and no log context exists for each event. Where the process is ours it
is the other way round, and we wait for the reactor: see L{sniproxy.net.lead}. Descriptors are registered once, for
everything, and never changed. A batch of events can name a descriptor that an earlier event of the same
batch closed, so descriptors are closed after the batch: until then the number cannot come back as somebody else.

What is done for many legs of a batch is done in waves, the same step for all of them before the next one for any
(L{Poller.later}; "cohort scheduling", Larus and Parkes 2002): a processor that has just done the same thing does it
again for a fraction of the time. Between the steps of one handshake OpenSSL fills its caches with other things.

Who stops before it would block asks to be called again; that is a list of our own and not a question to the kernel,
which knows nothing of bytes that are held in Python or inside OpenSSL, and would be silent about them.
"""

from __future__ import annotations

import select
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol

from twisted.internet.interfaces import IDelayedCall, IReadDescriptor
from twisted.logger import Logger
from zope.interface import classImplements

if TYPE_CHECKING:
    import _socket

IN: Final = 0x001
PRI: Final = 0x002
OUT: Final = 0x004
ERR: Final = 0x008
HUP: Final = 0x010
RDHUP: Final = 0x2000
ENDED: Final = ERR | HUP | RDHUP
"""The far end has said its last, or the connection is broken: no further edge may come."""

READABLE: Final = IN | ENDED
"""Reading has something to say."""

AGAIN: Final = IN | OUT
"""What a handler is told that asked to be called again."""

_EDGES: Final = IN | PRI | OUT | RDHUP | (1 << 31)
_EXCLUSIVE: Final = IN | int(getattr(select, "EPOLLEXCLUSIVE", 0))
"""
Of those processes that wait for one listening socket themselves, one is woken, and not all (epoll_ctl(2)). Whoever does
not wait is passed over, and so is an epoll within another one: they lose nothing.
"""

BATCH: Final = 64
"""How many events are handled together: all of them wait for the waves of each other."""

ROUNDS: Final = 8
"""How many batches are drained before the reactor has its turn."""

MANY: Final = 32
"""Handshakes in progress from which on their steps wait for others: with fewer, too few would come to be worth it."""

SHARE: Final = 4
"""They wait until one of so many takes a step."""

PATIENCE: Final = 0.002
"""Seconds after which they wait no more; about what five handshakes take."""

SEVERAL: Final = 2
"""Events of a batch after which there are likely to be more by now. With fewer, to ask costs more than it brings."""


class Watched(Protocol):
    """
    What the poller tells about edges.
    """

    told: int
    """
    All event bits so far; whoever is watched takes away what it has answered.
    """

    @property
    def handler(self) -> Callable[[int], None]:
        """
        Called with the event bits.
        """

    def crashed(self) -> None:
        """
        The handler raised.
        """


class Poller:
    """
    An epoll that is one reader of a reactor. Owns the epoll descriptor, not those it watches, until they are handed to
    L{close}.

    @ivar clock: the reactor, as C{IReactorTime}.
    @ivar batch: counts the batches of events.
    @ivar shaking: handshakes in progress, counted by those who L{hold} their steps.
    @ivar lingering: sockets that nobody uses any more, and that stay to see their bytes delivered, the eldest first.
    @ivar speaking: who has been closed, and has something to say before.
    """

    log: ClassVar[Logger] = Logger()

    def __init__(self, reactor: Any, rounds: int = ROUNDS) -> None:
        """
        @param reactor: C{IReactorFDSet} and C{IReactorTime}.
        @param rounds: how many batches are drained in one go.
        """
        self._rounds = rounds
        self.clock = reactor
        self._reactor = reactor
        self._epoll = select.epoll()
        self._watched: dict[int, Watched] = {}
        self._closing: list[_socket.socket] = []
        self._again: list[tuple[int, Watched]] = []
        self._after: list[tuple[Callable[[], None], Watched | None]] = []
        self._gone: list[Any] = []
        self._held: list[tuple[Callable[[], None], Watched | None]] = []
        self._held_until = 0.0
        self.batch = 0
        self.shaking = 0
        self.lingering: dict[Watched, None] = {}
        self.speaking: set[Watched] = set()
        self._call: IDelayedCall | None = None
        self._busy = False
        self._led = -1
        reactor.addReader(self)

    def fileno(self) -> int:
        """
        The descriptor the reactor watches; -1 when stopped.
        """
        return -1 if self._epoll.closed else self._epoll.fileno()

    def logPrefix(self) -> str:
        """
        What Twisted calls this reader in its log.
        """
        return "sniproxy poller"

    def connectionLost(self, reason: object) -> None:
        """
        The reactor has stopped.
        """
        self.stop()

    @property
    def idle(self) -> bool:
        """
        Whether nothing is watched, not even what lingers to say its last; what is C{lingering} has said it.
        """
        return len(self._watched) == len(self.lingering)

    def watch(self, descriptor: int, watched: Watched) -> None:
        """
        Tell C{watched.handler} about every edge of a descriptor. What is ready already is an edge.
        """
        self._epoll.register(descriptor, _EDGES)
        self._watched[descriptor] = watched

    def hand_over(self, descriptor: int, watched: Watched) -> None:
        """
        Tell C{watched.handler} from now on, whoever was told before; what is ready already may have been told.
        """
        if descriptor not in self._watched:
            self._epoll.register(descriptor, _EDGES)
        self._watched[descriptor] = watched

    def watch_level(self, descriptor: int, watched: Watched) -> None:
        """
        Tell C{watched.handler} as long as there is something to read: for listening sockets, which other processes may
        have too.
        """
        self._epoll.register(descriptor, _EXCLUSIVE)
        self._watched[descriptor] = watched

    def step_back(self, descriptor: int) -> None:
        """
        Let other processes be told first of what comes next on a listening socket: those who wait stand in a line, and
        of those who have nothing to do the kernel wakes the first.
        """
        if self._led >= 0:  # else nobody stands in that line
            self._epoll.unregister(descriptor)
            self._epoll.register(descriptor, _EXCLUSIVE)

    def again(self, descriptor: int, watched: Watched) -> None:
        """
        Call the handler once more, after the others that are ready, whatever the kernel thinks of the descriptor;
        unless it is watched by somebody else, or nobody, by then.
        """
        self._again.append((descriptor, watched))
        if not self._busy:
            self._wake()

    def forget(self, descriptor: int) -> None:
        """
        Stop watching a descriptor that stays open.
        """
        if self._watched.pop(descriptor, None) is not None:
            self._epoll.unregister(descriptor)

    def later(self, step: Callable[[], None], whose: Watched | None = None) -> None:
        """
        Call C{step} when all events of the batch have been handled that is being handled, or in the next wave of such
        steps where one asks for it; at once where there is no batch.

        @param whose: told when it raises, as if its handler had; where it is called at once, that is up to the caller.
        """
        if self._busy:
            self._after.append((step, whose))
        else:
            step()

    def hold(self, step: Callable[[], None], whose: Watched | None) -> None:
        """
        The same for a step of a handshake. Where many are in progress and we would have to wait anyway, it waits for
        the steps of others for a moment, since the more are taken together the less each costs; nothing else does.
        """
        if self._led < 0 or self.shaking < MANY:
            self.later(step, whose)
            return
        if not self._held:
            self._held_until = self.clock.seconds() + PATIENCE
        self._held.append((step, whose))

    def drop(self, what: Any) -> None:
        """
        Keep C{what} to the end of the batch: what has come to its end is taken apart together with others.
        """
        if self._busy:
            self._gone.append(what)

    def close(self, descriptor: int, sock: _socket.socket) -> None:
        """
        Stop watching a descriptor and close its socket, at once or after the batch that is being handled.
        """
        self._watched.pop(descriptor, None)
        if self._busy:
            self._closing.append(sock)
        else:
            sock.close()

    def doRead(self) -> None:
        """
        Handle what is ready. A handler that raises loses its own connection and nothing else; nothing escapes to the
        reactor, which would answer by losing this reader, and with it every connection.
        """
        for _ in range(self._rounds):
            if self._epoll.closed:
                break
            events = self._epoll.poll(0, BATCH)
            if not events and not self._again:
                break
            self._handle(events)
        if self._again:
            self._wake()

    def lead(self, descriptor: int) -> None:
        """
        Be no reader of the reactor any more: whoever calls L{wait} keeps it going.

        @param descriptor: turns readable when the reactor has something to do.
        """
        self._reactor.removeReader(self)
        self._epoll.register(descriptor, IN)
        self._led = descriptor

    def wait(self, timeout: float | None) -> bool:
        """
        Wait until something is ready, and handle it; and what has become ready meanwhile, where there is much to do.

        @param timeout: in seconds; None for as long as it takes.
        @return: whether that is true of the descriptor that we L{lead}.
        """
        theirs = False
        if self._held:
            left = max(self._held_until - self.clock.seconds(), 0.0)
            timeout = left if timeout is None else min(timeout, left)
        for _ in range(self._rounds):
            events = self._epoll.poll(0 if self._again else timeout, BATCH)
            theirs = self._handle(events) or theirs
            if theirs or self._epoll.closed or (len(events) < SEVERAL and not self._again):
                break
            timeout = 0
        return theirs

    def _handle(self, events: list[tuple[int, int]]) -> bool:
        """
        @return: whether there was an event of the descriptor that we lead.
        """
        watched = self._watched.get
        theirs = False
        self.batch += 1
        self._busy = True
        for descriptor, bits in events:
            whose = watched(descriptor)
            if whose is not None:
                whose.told |= bits
                try:
                    whose.handler(bits)
                except BaseException:
                    self._failed(whose)
            elif descriptor == self._led:
                theirs = True
        if self._again:
            self._call_again()
        if self._held and (len(self._held) * SHARE >= self.shaking or self.clock.seconds() >= self._held_until):
            held, self._held = self._held, []
            self._after += held
        while self._after:
            self._call_after()
        if self._closing:
            for sock in self._closing:
                sock.close()
            self._closing.clear()
        if self._gone:
            self._gone.clear()
        self._busy = False
        return theirs

    def _call_again(self) -> None:
        again, self._again = self._again, []
        for descriptor, whose in again:
            if self._watched.get(descriptor) is whose:
                try:
                    whose.handler(AGAIN)
                except BaseException:
                    self._failed(whose)

    def _call_after(self) -> None:
        after, self._after = self._after, []
        for step, whose in after:
            try:
                step()
            except BaseException:
                if whose is None:
                    self.log.failure("internal error at the end of a turn")
                else:
                    self._failed(whose)

    def _wake(self) -> None:
        if self._call is None and self._led < 0 and not self._epoll.closed:
            self._call = self._reactor.callLater(0, self._awake)

    def _awake(self) -> None:
        self._call = None
        self.doRead()

    def _failed(self, whose: Watched) -> None:
        self.log.failure("internal error while handling a connection")
        try:
            whose.crashed()
        except BaseException:
            self.log.failure("internal error while ending a connection")

    def stop(self) -> None:
        """
        Watch nothing any more.
        """
        if not self._epoll.closed:
            if self._led < 0:
                self._reactor.removeReader(self)
            self._epoll.close()
            if self._call is not None:
                self._call.cancel()
                self._call = None
            for each in list(self.lingering):
                each.crashed()
            self.speaking.clear()
            self._watched.clear()
            self._again.clear()
            self._held.clear()
            for sock in self._closing:
                sock.close()
            self._closing.clear()


classImplements(Poller, IReadDescriptor)
