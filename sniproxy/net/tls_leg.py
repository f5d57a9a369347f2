"""
One side of a session that speaks TLS, over any other leg.

Strategy: the bytes of the leg below are fed to OpenSSL, and what it answers is sent there, in as few calls as can be:
all that a step of the handshake says goes out at once, and so do the last record, close_notify and FIN. The connection
is handed in; what it trusts is not this room's business.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from OpenSSL import SSL
from zope.interface import classImplements

from sniproxy.addresses import Address
from sniproxy.errors import TlsFailure
from sniproxy.interfaces import ILeg
from sniproxy.net.bound import close, receive, send, send_last, set_handler, silent, watch
from sniproxy.net.channel import ROOM, Channel
from sniproxy.net.legs import NativeLeg, Owner, nothing
from sniproxy.net.lingering import undelivered
from sniproxy.net.poller import Poller
from sniproxy.net.tickets import Tickets

MOST: Final = 16384
"""What one TLS record carries at most (RFC 8446 §5.1)."""

AT_ONCE: Final = 4
"""How many records are taken from the leg below, or given to it, in one call."""

SPARED: Final = 2
"""With which wait for bytes a TLS 1.3 server's tickets go out, if it has not had anything to say before."""

# The next two are not Final, which compiled code would keep for good: tests have less.

RECORD = MOST + 5 + 256
"""The longest record of all (RFC 8446 §5.2). OpenSSL is fed with as much, since its memory never gets smaller."""

PATIENCE = 4
"""
How many records without data (tickets, key updates) one call of C{receive} swallows before others have their turn. A
flood of them costs the far end next to nothing, and us new keys for each.
"""


def failure(error: SSL.Error) -> OSError:
    """
    What OpenSSL's complaint is to those who know only legs.
    """
    if isinstance(error, (SSL.SysCallError, SSL.ZeroReturnError)):  # numbers are of other calls: these make none
        return ConnectionResetError(0, "peer closed connection in SSL handshake")
    reasons = error.args[0] if error.args else ()
    return TlsFailure(tuple(tuple(reason) for reason in reasons))


class TlsLeg(NativeLeg):
    """
    TLS over a leg, which it owns. Holds what was taken for OpenSSL and not read yet, and at most C{AT_ONCE} records
    that the leg below would not take; they are owed to C{send}, which counts them as taken when they are with the leg
    below, so that nothing that counts is lost at a close.

    @ivar raw: the leg below.
    @ivar established: the handshake is done.
    @ivar brief: what a handshake has left to say when it is done (a client's certificate and Finished) goes out with
        the first bytes, or else before some are waited for: a segment less, and a wake-up.
    @ivar hungry: the next step of the handshake takes something from the far end: a server's first one, and all but a
        client's first.
    @ivar tickets_wait: what a TLS 1.3 server has left to say when it is done are session tickets, for which nobody
        waits: they go out with its first bytes, or before it waits for some the second time, or at L{hurry}.
    @ivar first_read: called once, when the first bytes were received: a TLS 1.3 server has sent its session tickets
        by then.
    """

    plain = False

    __slots__ = (
        "_agreed",
        "_ahead",
        "_broken",
        "_channel",
        "_cohort",
        "_dry",
        "_end",
        "_finished",
        "_late",
        "_outgoing",
        "_owed",
        "_place",
        "_shaken",
        "_spared",
        "_thinking",
        "brief",
        "established",
        "first_read",
        "held",
        "hungry",
        "raw",
        "tickets_wait",
    )

    def __init__(self, raw: Any, connection: Any, cohort: Poller | None = None) -> None:
        """
        @param connection: see L{Channel}.
        @param cohort: who lets the steps of handshakes wait for those of others; None for the leg below.
        """
        self.raw = raw
        self._cohort = cohort
        self.established = False
        self.first_read: Callable[[], None] | None = None
        self.brief = False
        self.hungry = False
        self.tickets_wait = False
        self.held = b""
        self._channel = Channel(connection)
        self._agreed = False
        self._ahead = b""
        self._shaken: Callable[[OSError | None], None] | None = None
        self._thinking = False
        self._late: OSError | None = None
        self._outgoing = b""
        self._owed = 0
        self._spared = 0
        self._place: list[Any] | None = None
        self._broken = False
        self._finished = False
        self._end = False
        self._dry = False  # True where OpenSSL has given all there is, and was fed nothing since

    @property
    def connection(self) -> Any:
        """
        The pyOpenSSL connection.
        """
        return self._channel.connection

    # What is the leg's below.

    @property
    def handler(self) -> Callable[[int], None]:
        """
        The handler of the leg below.
        """
        handler: Callable[[int], None] = self.raw.handler
        return handler

    @handler.setter
    def handler(self, handler: Callable[[int], None]) -> None:
        set_handler(self.raw, handler)

    def set_handler(self, handler: Callable[[int], None]) -> None:
        """
        @see: L{NativeLeg.set_handler}
        """
        set_handler(self.raw, handler)

    @property
    def over(self) -> bool:
        """
        @see: L{ILeg.over}
        """
        return False

    @property
    def owner(self) -> Owner | None:
        """
        The owner of the leg below.
        """
        owner: Owner | None = self.raw.owner
        return owner

    @owner.setter
    def owner(self, owner: Owner | None) -> None:
        self.raw.owner = owner

    @property
    def peer(self) -> Address:
        """
        The far end.
        """
        peer: Address = self.raw.peer
        return peer

    @property
    def local(self) -> Address:
        """
        Our end.
        """
        local: Address = self.raw.local
        return local

    def watch(self) -> bool:
        """
        @see: L{ILeg.watch}
        """
        return watch(self.raw)

    def again(self) -> None:
        """
        @see: L{ILeg.again}
        """
        self.raw.again()

    def later(self, step: Callable[[], None]) -> None:
        """
        @see: L{ILeg.later}
        """
        self.raw.later(step)

    def linger(self, flush: Callable[[], bool]) -> None:
        """
        @see: L{ILeg.linger}
        """
        self.raw.linger(flush)

    def descriptor(self) -> int | None:
        """
        None: the bytes of the descriptor are not the bytes of this leg.
        """
        return None

    def socket(self) -> Any:
        """
        @see: L{ILeg.socket}
        """
        return self.raw.socket()

    # What is held.

    def hold(self, data: bytes) -> None:
        """
        @see: L{ILeg.hold}
        """
        self.held += data

    def fill(self, limit: int) -> bool:
        """
        @see: L{ILeg.fill}
        """
        while len(self.held) < limit:
            held, self.held = self.held, b""
            try:
                data = self.receive(limit - len(held))
            finally:
                self.held = held
            if data is None:
                return True
            if not data:
                return False
            self.held = held + data
        return True

    def take_held(self) -> bytes:
        """
        @see: L{ILeg.take_held}
        """
        held, self.held = self.held, b""
        return held

    def cramped(self, seen: int) -> bool:
        """
        What is peeked at is held here, and not by the kernel.
        """
        return False

    def peek(self, limit: int) -> bytes | None:
        """
        @see: L{ILeg.peek}
        """
        if not self.held:
            data = self.receive(limit)
            if not data:
                return data
            self.held = data
        return self.held[:limit]

    # Bytes.

    def handshake(self) -> bool:
        """
        Go on with the handshake.

        @return: whether it is done; else try again at the next edge.
        @raise OSError: it failed; L{TlsFailure} where TLS itself did.
        """
        while self._hear():
            self._think()
            if self._speak():
                return True
        return False

    def shake(self, shaken: Callable[[OSError | None], None]) -> None:
        """
        The same until it is done, with the handler of the leg: each step of it together with those of other legs, so
        that OpenSSL goes on from one to the next with nothing between them.

        @param shaken: called once, perhaps before this returns, with None or what C{handshake} would have raised;
            not at all if the leg is closed before.
        """
        self._shaken = shaken
        if self._cohort is not None:
            self._cohort.shaking += 1
        set_handler(self.raw, self._edge)
        self._next_step()

    def _edge(self, bits: int) -> None:
        if not self._thinking:
            self._next_step()

    def _next_step(self) -> None:
        try:
            heard = self._hear()
        except OSError as error:
            self._tell(error)
            return
        if heard:
            self._thinking = True
            if self._cohort is not None:
                self._cohort.hold(self._think_together, self.raw)
            else:
                self.raw.later(self._think_together)

    def _think_together(self) -> None:
        if self._shaken is not None:
            try:
                self._think()
            except OSError as error:
                self._tell(error)
                return
            self.raw.later(self._speak_together)

    def _speak_together(self) -> None:
        if self._shaken is not None:
            self._thinking = False
            try:
                done = self._speak()
            except OSError as error:
                self._tell(error)
                return
            if done:
                self._tell(None)
            else:
                self._next_step()

    def _tell(self, error: OSError | None) -> None:
        shaken = self._shaken
        assert shaken is not None
        self._shake_no_more()
        set_handler(self.raw, nothing)
        shaken(error)

    def _shake_no_more(self) -> None:
        if self._shaken is not None:
            self._shaken = None
            if self._cohort is not None:
                self._cohort.shaking -= 1

    def _hear(self) -> bool:
        """
        @return: whether OpenSSL can go on.
        """
        if self.hungry:
            if self._outgoing:
                self._flush()
            if not self._fill():
                if self._end:
                    self._broken = True
                    raise ConnectionResetError(0, "peer closed connection in SSL handshake")
                return False
        return True

    def _think(self) -> None:
        """
        Let OpenSSL go on.
        """
        try:
            self._agreed = self._channel.handshake()
        except SSL.Error as error:
            raise self._fail(error) from None

    def _speak(self) -> bool:
        """
        @return: whether the handshake is done.
        """
        if not self._agreed:
            self.hungry = True
            self._flush()
            return False
        self.established = True
        self._dry = not self._channel.fed()
        if self.tickets_wait and self._channel.newest():
            self._spared = SPARED
        elif not self.brief:
            self._flush()
        return True

    def receive(self, limit: int) -> bytes | None:
        """
        @see: L{ILeg.receive}
        """
        if self.held:
            held, self.held = self.held[:limit], self.held[limit:]
            return held
        if self._late is not None:
            raise self._late
        stops = 0
        while True:
            if not self._dry:
                try:
                    data = self._read(limit)
                except SSL.Error as error:
                    if self._end and isinstance(error, SSL.SysCallError):
                        return b""
                    raise self._fail(error) from None
                if data is not None:
                    if self.first_read is not None and data:
                        self._tell_first_read()
                    return self._more(data, limit) if len(data) == MOST < limit else data
            if not self._spared:
                self._flush()
            if not self._dry or (self._ahead and self._fill()):
                stops += 1
                if stops == PATIENCE:
                    self.raw.again()
                    return None
            elif not self._fill():
                if self._end:
                    return b""
                if self._spared:
                    self._spared -= 1
                    if not self._spared:
                        self._flush()
                return None

    def silent(self) -> bool:
        """
        @see: L{NativeLeg.silent}
        """
        if self.held or self._ahead or self._end or self._late is not None or not self._dry:
            return False
        return silent(self.raw)

    def _read(self, limit: int) -> bytes | None:
        data = self._channel.read(limit)
        self._dry = (data is None or 0 < len(data) < limit) and not self._channel.fed()
        return data

    def _more(self, data: bytes, limit: int) -> bytes:
        """
        @param data: a whole record's worth.
        @return: with those that follow it and are here already, up to C{limit} bytes.
        """
        pieces = [data]
        length = len(data)
        while length < limit and (self._channel.fed() or (self._ahead and self._fill())):
            try:
                piece = self._read(limit - length)
            except SSL.Error as error:
                self._late = self._fail(error)  # these bytes came before it
                break
            if piece:
                pieces.append(piece)
                length += len(piece)
            elif piece == b"" or not self._ahead:
                break
        return b"".join(pieces)

    def _tell_first_read(self) -> None:
        tell, self.first_read = self.first_read, None
        assert tell is not None
        tell()

    def send(self, data: bytes | memoryview) -> int:
        """
        @see: L{ILeg.send}
        """
        if self._outgoing and not self._flush():
            return 0
        if self._owed:
            owed, self._owed = self._owed, 0
            return owed
        taken = self._write(data)
        if self._flush():
            return taken
        self._owed = taken
        return 0

    def send_last(self, data: bytes | memoryview) -> int:
        """
        @see: L{ILeg.send_last}
        """
        if self._outgoing or self._owed or len(data) > MOST or self._behind():
            return self.send(data)
        return self._write(data)

    def _behind(self) -> bool:
        """
        Whether the leg below might not take a record at once: what is kept for the end would be late, or lost.
        """
        sock = self.raw.socket()
        return sock is not None and undelivered(sock.fileno())

    def _write(self, data: bytes | memoryview) -> int:
        """
        @return: how much went into records: all of it, or C{AT_ONCE} of them.
        """
        try:
            if len(data) <= MOST:
                return self._channel.write(data)
            taken = 0
            for at in range(0, min(len(data), AT_ONCE * MOST), MOST):
                taken += self._channel.write(data[at : at + MOST])
            return taken
        except SSL.Error as error:
            raise self._fail(error) from None

    def _fill(self) -> bool:
        """
        @return: whether OpenSSL has something new to read, be it the end.
        """
        if self._end:
            return False
        record = RECORD
        data = self._ahead or receive(self.raw, AT_ONCE * record)
        if data is None:
            return False
        self._dry = False
        if data:
            if len(data) <= record:
                self._channel.feed(data)
                self._ahead = b""
            else:
                self._channel.feed(data[:record])
                self._ahead = data[record:]
        else:
            self._end = True
            self._channel.feed_end()
        return True

    def _flush(self) -> bool:
        """
        @return: whether all that OpenSSL wrote is with the leg below.
        """
        while True:
            more = bool(self._outgoing)
            if not more:
                self._outgoing = self._channel.drain()
                more = len(self._outgoing) == ROOM
            if self._outgoing:
                sent = send(self.raw, self._outgoing)
                if sent < len(self._outgoing):
                    self._outgoing = self._outgoing[sent:]
                    return False
                self._outgoing = b""
            if not more:
                return True

    def _fail(self, error: SSL.Error) -> OSError:
        self._broken = True
        try:
            self._flush()  # the alert
        except OSError:
            pass
        return failure(error)

    # The end.

    def finish(self) -> None:
        """
        Send close_notify (RFC 8446 §6.1); the far end may go on. Not if there was more to send: nobody shall take
        what has arrived for all.
        """
        if self._farewell():
            try:
                self._flush()
            except OSError:
                self._broken = True

    def _farewell(self) -> bool:
        """
        @return: whether close_notify was written just now.
        """
        if not self.established or self._broken or self._finished or self._owed:
            return False
        self._finished = True
        try:
            self._channel.shutdown()
        except SSL.Error:
            self._broken = True
        return not self._broken

    def wait_with(self, tickets: Tickets) -> None:
        """
        If there are tickets that wait, let them not wait for too long.
        """
        if self._spared:
            self._place = tickets.wait(self)

    def hurry(self) -> None:
        """
        Tickets that still wait go out now.
        """
        if self._spared and not (self._broken or self._finished):
            self._spared = 0
            try:
                self._flush()
            except OSError:
                pass  # whoever reads or sends next is told

    def close(self) -> None:
        """
        @see: L{ILeg.close}
        """
        self._spared = 0
        self._forget()
        self.first_read = None  # whoever is told knows the leg: a circle
        if self._farewell() and not self._outgoing:
            self._outgoing = self._channel.drain()
            try:
                sent = send_last(self.raw, self._outgoing)
            except OSError:
                sent = len(self._outgoing)  # nobody is there to hear it
            self._outgoing = self._outgoing[sent:]
        if self._outgoing and not (self._broken or self._owed):
            self.raw.linger(self._flush)
        else:
            close(self.raw)

    def abort(self) -> None:
        """
        @see: L{ILeg.abort}
        """
        self._forget()
        self.first_read = None
        self.raw.abort()

    def _forget(self) -> None:
        self._shake_no_more()
        place, self._place = self._place, None
        if place is not None:
            place.clear()


classImplements(TlsLeg, ILeg)
