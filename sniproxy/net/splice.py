"""
How the kernel moves bytes that we need not see: the relay between two plain sockets.

Strategy: the first C{FIRST} bytes of a flow go by recv and send, since most flows are short and a pipe costs more
than it saves; the rest is spliced through a borrowed pipe, which is given back whenever the flow is hungry.

What this relay no longer guarantees once a flow is spliced: nobody sees its bytes, and C{buffer_size} does not bound
them (the pipe's capacity does).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Protocol

from zope.interface import classImplements

from sniproxy.interfaces import ILeg, IRelay
from sniproxy.net.legs import PEEK
from sniproxy.net.pipes import Pipe
from sniproxy.net.poller import PRI
from sniproxy.net.relay import NEVER, Flow, Options, Relaying, Result, Side
from sniproxy.net.timers import Holder, put_off

if TYPE_CHECKING:
    import _socket

FIRST: Final = 128 * 1024

TURN: Final = 16
"""How many times a flow fills or empties its pipe before others have their turn."""

_CANNOT: Final = frozenset({errno.EINVAL, errno.ENOSYS})
"""How splice(2) says that it does not do this; a sandbox may not have it at all."""

_FLAGS: Final = 1 | 2
"""SPLICE_F_MOVE | SPLICE_F_NONBLOCK"""


class Lender(Protocol):
    """
    Who lends pipes: L{sniproxy.net.pipes.Pipes}.
    """

    def borrow(self) -> Pipe | None:
        """
        @return: an empty pipe; None where there is none to be had.
        """

    def give_back(self, pipe: Pipe) -> None:
        """
        Take it back, whatever is inside.
        """


def _at_mark(sock: _socket.socket) -> bool:
    """
    @return: whether what splice took for the end is only a mark of urgent data.
    """
    try:
        return bool(sock.recv(1, PEEK))
    except OSError:
        return True  # nothing is behind it yet; or what is wrong is told to whoever receives


class Splicing(Relaying):
    """
    Flows that end up in the kernel. Borrows a pipe for each that moves.
    """

    __slots__ = ("_pipes", "_turn")

    def __init__(
        self,
        pipes: Lender,
        turn: int,
        client: Any,
        upstream: Any,
        options: Options,
        done: Callable[[Result], None],
        holder: Holder,
        now: Callable[[], float],
    ) -> None:
        super().__init__(client, upstream, options, done, holder, now)
        self._pipes = pipes
        self._turn = turn
        self.up.switch_at = self.down.switch_at = FIRST

    def pump(self, flow: Flow) -> None:
        """
        @see: L{Relaying.pump}
        """
        if flow.pipe is None and flow.received < flow.switch_at:
            super().pump(flow)
        elif flow.pending:
            super().pump(flow)
        else:
            self.switch(flow)

    def switch(self, flow: Flow) -> None:
        """
        Move what can be moved now, in the kernel.
        """
        pipe = flow.pipe
        if pipe is None:
            pipe = self._pipes.borrow()
            if pipe is None:
                flow.switch_at = flow.received + FIRST
                super().pump(flow)
                return
            flow.pipe = pipe
            for sock in (flow.source.sock, flow.sink.sock):
                if sock.gettimeout() != 0.0:  # splice has no MSG_DONTWAIT
                    sock.setblocking(False)
        source = flow.source.number
        sink = flow.sink.number
        other: Side = "upstream" if flow.side == "client" else "client"
        due = self.now() + self.options.timeout
        for _ in range(self._turn):
            if pipe.inside:
                try:
                    moved = os.splice(pipe.read, sink, pipe.inside, flags=_FLAGS)
                except BlockingIOError:
                    flow.stuck = True
                    return
                except OSError as error:
                    if error.errno in _CANNOT:
                        self._give_up(flow)
                    else:
                        self.end(Result(other, error, sending=True))
                    return
                put_off(self.holder, due)
                pipe.inside -= moved
                flow.sent += moved
                continue
            flow.stuck = False
            if flow.ended or self._closing is not None:
                self._return_pipe(flow)
                self._flow_ended(flow)
                return
            try:
                moved = os.splice(source, pipe.write, pipe.capacity, flags=_FLAGS)
            except BlockingIOError:
                if flow.source.told & PRI:
                    self._give_up(flow)  # a mark of urgent data (tcp(7)), which splice never gets past
                else:
                    self._return_pipe(flow)
                return
            except OSError as error:
                if error.errno in _CANNOT:
                    self._give_up(flow)
                else:
                    self.broken(flow, error)
                return
            if moved == 0:
                if _at_mark(flow.source.sock):
                    self._give_up(flow)
                    return
                flow.ended = True
            else:
                put_off(self.holder, due)
                if moved == pipe.capacity:
                    pipe.grow()
                pipe.inside = moved
                flow.received += moved
        flow.stuck = bool(pipe.inside)
        (flow.sink if pipe.inside else flow.source).again()

    def _give_up(self, flow: Flow) -> None:
        """
        The kernel does not splice these: the flow goes on by recv and send, with what is in the pipe.
        """
        pipe = flow.pipe
        if pipe.inside:
            flow.pending = os.read(pipe.read, pipe.inside)
            pipe.inside = 0
        self._return_pipe(flow)
        flow.switch_at = NEVER
        super().pump(flow)

    def _return_pipe(self, flow: Flow) -> None:
        if flow.pipe is not None:
            self._pipes.give_back(flow.pipe)
            flow.pipe = None

    def stop(self) -> None:
        """
        @see: L{Relaying.stop}
        """
        self._return_pipe(self.up)
        self._return_pipe(self.down)
        super().stop()


class SpliceRelay:
    """
    Carries two legs that both answer a descriptor.
    """

    def __init__(self, pipes: Lender, turn: int = TURN) -> None:
        """
        @param turn: how many times a flow fills or empties its pipe in one go.
        """
        self._pipes = pipes
        self._turn = turn

    def can_carry(self, client: ILeg, upstream: ILeg) -> bool:
        """
        @see: L{IRelay.can_carry}
        """
        return client.descriptor() is not None and upstream.descriptor() is not None

    def make(
        self,
        client: Any,
        upstream: Any,
        options: Options,
        done: Callable[[Result], None],
        holder: Holder,
        now: Callable[[], float],
    ) -> Splicing:
        """
        @see: L{IRelay.make}
        """
        return Splicing(self._pipes, self._turn, client, upstream, options, done, holder, now)


classImplements(SpliceRelay, IRelay)
