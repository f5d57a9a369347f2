"""
One side of a session that speaks TLS: over a socket of its own, or over any other leg.

Strategy: L{TlsLeg} binds the OpenSSL connection to the socket itself, so that no byte passes through Python twice;
L{BioTlsLeg} feeds OpenSSL by memory BIOs, for legs that have no socket or hold bytes that OpenSSL must see first.
Both are made from a connection that is handed in; what it trusts is not this room's business.
"""

from __future__ import annotations

from collections.abc import Callable
from os import strerror
from typing import TYPE_CHECKING, Any, Final

from OpenSSL import SSL
from zope.interface import classImplements

from sniproxy.addresses import Address
from sniproxy.interfaces import ILeg
from sniproxy.net.legs import PEEK, Owner, SocketLeg

if TYPE_CHECKING:
    from sniproxy.interfaces import ILeg as AnyLeg

MOST: Final = 16384
"""What one TLS record carries at most (RFC 8446 §5.1)."""

PATIENCE: Final = 4
"""
How many records without data (tickets, key updates) one call of C{receive} swallows before others have their turn. A
flood of them costs the far end next to nothing, and us new keys for each.
"""

FILLS: Final = 2
"""The same, over another leg, in pieces of C{MOST} bytes: the longest record takes two."""


class TlsFailure(OSError):
    """
    TLS broke: an alert, a bad record, a refused handshake.

    @ivar reasons: OpenSSL's error queue, the oldest first: (library, function, reason).
    """

    def __init__(self, reasons: tuple[tuple[str, str, str], ...]) -> None:
        super().__init__(reasons[0][2] if reasons else "unknown TLS error")
        self.reasons = reasons


def failure(error: SSL.Error) -> OSError:
    """
    What OpenSSL's complaint is to those who know only legs.
    """
    if isinstance(error, SSL.SysCallError):
        number = error.args[0]
        if number > 0:
            return OSError(number, strerror(number))
    if isinstance(error, (SSL.SysCallError, SSL.ZeroReturnError)):
        return ConnectionResetError(0, "peer closed connection in SSL handshake")
    reasons = error.args[0] if error.args else ()
    return TlsFailure(tuple(tuple(reason) for reason in reasons))


class _Tls:
    """
    What both TLS legs share: OpenSSL's answers in the words of L{ILeg}.

    @ivar connection: the pyOpenSSL connection, with its state set.
    @ivar established: the handshake is done.
    @ivar first_read: called once, when the first bytes were received: a TLS 1.3 server has sent its session tickets
        by then.
    """

    plain = False

    __slots__ = (
        "_broken",
        "_due",
        "_end",
        "_finished",
        "_owed",
        "connection",
        "established",
        "first_read",
        "held",
        "raw",
    )

    def __init__(self, raw: Any, connection: Any) -> None:
        self.raw = raw
        self.connection: Any = connection
        self.established = False
        self.first_read: Callable[[], None] | None = None
        self._broken = False
        self._finished = False
        self._due = False
        self._owed = 0
        self._end = False
        self.held = b""

    @property
    def handler(self) -> Callable[[int], None]:
        """
        The handler of the leg below.
        """
        handler: Callable[[int], None] = self.raw.handler
        return handler

    @handler.setter
    def handler(self, handler: Callable[[int], None]) -> None:
        self.raw.handler = handler

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
        begun: bool = self.raw.watch()
        return begun

    def again(self) -> None:
        """
        @see: L{ILeg.again}
        """
        self.raw.again()

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

    def receive(self, limit: int) -> bytes | None:
        """
        @see: L{ILeg.receive}
        """
        raise NotImplementedError

    def _tell_first_read(self) -> None:
        tell, self.first_read = self.first_read, None
        assert tell is not None
        tell()

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


class TlsLeg(_Tls):
    """
    TLS over the socket of a L{SocketLeg}, which must hold nothing. Owns the leg.
    """

    __slots__ = ()

    raw: SocketLeg

    def __init__(self, raw: SocketLeg, connection: SSL.Connection) -> None:
        """
        @param connection: bound to C{raw.sock}, accept or connect state set.
        """
        super().__init__(raw, connection)
        raw.sock.setblocking(False)

    def handshake(self) -> bool:
        """
        Go on with the handshake.

        @return: whether it is done; else try again at the next edge.
        @raise OSError: it failed; L{TlsFailure} where TLS itself did.
        """
        try:
            self.connection.do_handshake()
        except (SSL.WantReadError, SSL.WantWriteError):
            return False
        except SSL.Error as error:
            self._broken = True
            raise failure(error) from None
        self.established = True
        return True

    def receive(self, limit: int) -> bytes | None:
        """
        @see: L{ILeg.receive}
        """
        if self.held:
            held, self.held = self.held[:limit], self.held[limit:]
            return held
        if self._due:
            self._farewell()
        for _ in range(PATIENCE):
            try:
                data: bytes = self.connection.recv(limit)
            except SSL.WantReadError:
                if not self._more():
                    return None
            except SSL.WantWriteError:
                return None
            except SSL.ZeroReturnError:
                return b""
            except SSL.Error as error:
                self._broken = True
                raise failure(error) from None
            else:
                if self.first_read is not None:
                    self._tell_first_read()
                return data
        self.raw.again()
        return None

    def _more(self) -> bool:
        """
        Whether the kernel holds what OpenSSL has not read: it may stop at a record without data, and of what is behind
        that no edge will tell.
        """
        try:
            self.raw.sock.recv(1, PEEK)
        except BlockingIOError:
            return False
        except OSError:
            self._broken = True
            raise
        return True

    def send(self, data: bytes | memoryview) -> int:
        """
        @see: L{ILeg.send}
        """
        try:
            taken: int = self.connection.send(data)
        except (SSL.WantReadError, SSL.WantWriteError):
            self._owed = 1
            return 0
        except SSL.Error as error:
            self._broken = True
            raise failure(error) from None
        self._owed = 0
        return taken

    def finish(self) -> None:
        """
        Send close_notify (RFC 8446 §6.1); the far end may go on. Not if there was more to send: nobody shall take
        what has arrived for all.
        """
        if self.established and not (self._broken or self._finished or self._owed):
            self._finished = True
            self._farewell()

    def _farewell(self) -> bool:
        """
        @return: whether close_notify is with the kernel, or never will be; else it is due when there is room.
        """
        try:
            self.connection.shutdown()
        except (SSL.WantReadError, SSL.WantWriteError):
            self._due = True
            return False
        except SSL.Error:
            self._broken = True
        self._due = False
        return True

    def close(self) -> None:
        """
        @see: L{ILeg.close}
        """
        self.finish()
        self._finished = True
        if self._due and not self._broken:
            self.raw.linger(self._farewell)
        else:
            self.raw.close()

    def abort(self) -> None:
        """
        @see: L{ILeg.abort}
        """
        self._finished = True  # OpenSSL knows a number, which may be somebody else's soon
        self.raw.abort()


class BioTlsLeg(_Tls):
    """
    TLS over any leg, by memory BIOs. Owns the leg. Holds at most one record that the leg below would not take; it is
    owed to C{send}, which counts it as taken when it is with the leg below, so that nothing that counts is lost at a
    close.
    """

    __slots__ = ("_outgoing",)

    def __init__(self, raw: AnyLeg, connection: SSL.Connection) -> None:
        """
        @param connection: without a socket, accept or connect state set.
        """
        super().__init__(raw, connection)
        self._outgoing = b""

    def _flush(self) -> bool:
        """
        @return: whether all that OpenSSL wrote is with the leg below.
        """
        while True:
            if not self._outgoing:
                try:
                    self._outgoing = self.connection.bio_read(1 << 18)
                except SSL.WantReadError:
                    return True
            sent = self.raw.send(self._outgoing)
            self._outgoing = self._outgoing[sent:]
            if self._outgoing:
                return False

    def _fill(self) -> bool:
        """
        @return: whether OpenSSL has something new to read, be it the end.
        """
        if self._end:
            return False
        data = self.raw.receive(MOST)
        if data is None:
            return False
        if data:
            self.connection.bio_write(data)
        else:
            self._end = True
            self.connection.bio_shutdown()
        return True

    def _fail(self, error: SSL.Error) -> OSError:
        self._broken = True
        try:
            self._flush()  # the alert
        except OSError:
            pass
        return failure(error)

    def handshake(self) -> bool:
        """
        @see: L{TlsLeg.handshake}
        """
        while True:
            try:
                self.connection.do_handshake()
            except (SSL.WantReadError, SSL.WantWriteError):
                self._flush()
                if not self._fill():
                    if self._end:
                        self._broken = True
                        raise ConnectionResetError(0, "peer closed connection in SSL handshake") from None
                    return False
            except SSL.Error as error:
                raise self._fail(error) from None
            else:
                self._flush()
                self.established = True
                return True

    def receive(self, limit: int) -> bytes | None:
        """
        @see: L{ILeg.receive}
        """
        if self.held:
            held, self.held = self.held[:limit], self.held[limit:]
            return held
        fills = 0
        while True:
            try:
                data: bytes = self.connection.recv(limit)
            except (SSL.WantReadError, SSL.WantWriteError):
                self._flush()
                if fills == FILLS:
                    self.raw.again()
                    return None
                if not self._fill():
                    return b"" if self._end else None
                fills += 1
            except SSL.ZeroReturnError:
                return b""
            except SSL.Error as error:
                if self._end and isinstance(error, SSL.SysCallError):
                    return b""
                raise self._fail(error) from None
            else:
                if self.first_read is not None:
                    self._tell_first_read()
                return data

    def send(self, data: bytes | memoryview) -> int:
        """
        @see: L{ILeg.send}
        """
        if not self._flush():
            return 0
        if self._owed:
            owed, self._owed = self._owed, 0
            return owed
        try:
            taken: int = self.connection.send(data[:MOST])
        except (SSL.WantReadError, SSL.WantWriteError):
            return 0
        except SSL.Error as error:
            raise self._fail(error) from None
        if self._flush():
            return taken
        self._owed = taken
        return 0

    def finish(self) -> None:
        """
        @see: L{TlsLeg.finish}
        """
        if self.established and not (self._broken or self._finished or self._owed):
            self._finished = True
            try:
                self.connection.shutdown()
                self._flush()
            except (SSL.Error, OSError):
                self._broken = True

    def close(self) -> None:
        """
        @see: L{ILeg.close}
        """
        self.finish()
        if self._outgoing and not (self._broken or self._owed):
            self.raw.linger(self._flush)
        else:
            self.raw.close()

    def abort(self) -> None:
        """
        @see: L{ILeg.abort}
        """
        self.raw.abort()

classImplements(TlsLeg, ILeg)
classImplements(BioTlsLeg, ILeg)
