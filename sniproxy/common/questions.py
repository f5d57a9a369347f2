"""
How one question is put to name servers until one of them answers it.

Strategy: each question has for each server a socket of its own, connected to the server, from a port the kernel picks,
and a number from the dice: whoever wants to answer in the server's stead must guess both, and repeat the name and
kind. A server that is silent for C{RESEND} seconds, refuses or fails is left for the next one, round and round; what a
silent one says later still counts. Truncated answers are fetched over TCP. Aliases whose end the server left open are
asked on, a bounded number of times.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from os import strerror
from typing import Any, Final

from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IAddress, IDelayedCall
from twisted.internet.protocol import ClientFactory, DatagramProtocol, Protocol
from twisted.python.failure import Failure

from sniproxy.addresses import Address, numeric
from sniproxy.levels import ERROR
from sniproxy.wire.cursor import WireError
from sniproxy.wire.dns import Answer, Service, query, read_answer, text_name

RESEND: Final = 5.0
"""Seconds of silence after which the next server is asked, as in nginx."""

ALIASES: Final = 16
"""How many aliases are asked on."""

UDP_SIZE: Final = 4096
"""Bytes of the longest datagram that is read."""

NOT_FOUND: Final = 3
"""The response code for a name that does not exist."""

TOLD: Final = 3
"""How many datagrams that are no answer to a question are told in the log: a flood of them is no flood of lines."""

Log = Callable[[int, str], None]
Dice = Callable[[int], int]
"""From n to a number from 0 to n - 1 that nobody can foretell."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """
    The end of a question.

    @ivar code: 0 where something was found; else the response code, 3 also for a name without such records.
    @ivar addresses: numeric.
    @ivar services: where services were asked for.
    @ivar life: seconds that what was found is good for.
    @ivar negative_life: seconds their absence is good for; None where nobody knows.
    """

    code: int
    addresses: tuple[str, ...] = ()
    life: int = 0
    negative_life: int | None = None
    services: tuple[Service, ...] = ()


class Question:
    """
    One name and kind. Owns a socket for each server it asked and at most one TCP connection for each; C{cancel} or the
    end closes them. It has no deadline of its own: whoever waits for it has one.
    """

    def __init__(
        self,
        reactor: Any,
        servers: Sequence[Address],
        name: bytes,
        kind: int,
        done: Callable[[Outcome], None],
        dice: Dice,
        log: Log,
    ) -> None:
        """
        @param reactor: provides IReactorUDP, IReactorTCP and IReactorTime.
        @param servers: in the order they are to be asked.
        @param name: in wire form.
        @param done: called once, unless cancelled.
        """
        self.reactor = reactor
        self.log = log
        self._servers = servers
        self._name = name
        self._kind = kind
        self._done = done
        self._dice = dice
        self._life = (1 << 31) - 1
        self._aliases = 0
        self._asked = 0
        self._odd = 0
        self._tries: dict[Address, Try] = {}
        self._current: Try | None = None
        self._timer: IDelayedCall | None = None

    def ask(self) -> None:
        """
        Ask the next server, or the first that can be asked at all.
        """
        self._stop_timer()
        for _ in self._servers:
            server = self._servers[self._asked % len(self._servers)]
            self._asked += 1
            self._current = self._tries.get(server)
            if self._current is None:
                packet = query(self._dice(1 << 16), self._name, self._kind)
                self._current = self._tries[server] = Try(self, server, packet)
            if self._current.send():
                break
        self._timer = self.reactor.callLater(RESEND, self._resend)

    def cancel(self) -> None:
        """
        Nobody wants to know any more.
        """
        self._stop_timer()
        tries = list(self._tries.values())
        self._tries.clear()
        for each in tries:
            each.close()

    def fault(self, answer: Answer, ident: int) -> str:
        """
        @param ident: the number of the question.
        @return: why it is no answer to this question, in nginx's words; empty where it is one.
        """
        if answer.ident != ident:
            return f"wrong ident {answer.ident} in DNS response for {text_name(self._name)}, expect {ident}"
        if answer.name != self._name or answer.kind != self._kind:
            return f"unexpected DNS response for {text_name(answer.name)}"
        return ""

    def odd(self, what: str) -> None:
        """
        Something came that is no answer.
        """
        self._odd += 1
        if self._odd <= TOLD:
            self.log(ERROR, what)

    def heard(self, source: Try, answer: Answer) -> None:
        """
        A server answered.
        """
        if answer.code not in (0, NOT_FOUND):
            if source is self._current:
                if self._asked < len(self._servers):
                    self.ask()
                else:
                    self._end(Outcome(answer.code))
            return
        self._life = min(self._life, answer.life)
        if answer.code == 0 and (answer.addresses or answer.services):
            self._end(Outcome(0, answer.addresses, self._life, services=answer.services))
        elif answer.code == NOT_FOUND or answer.alias is None or answer.negative_life is not None:
            self._end(Outcome(NOT_FOUND, negative_life=answer.negative_life))
        elif self._aliases >= ALIASES:
            self._end(Outcome(NOT_FOUND))
        else:
            self.cancel()
            self._aliases += 1
            self._asked = 0
            self._name = answer.alias
            self.ask()

    def failed(self, source: Try, what: str) -> None:
        """
        A server cannot be reached: the next one, if one is left; else time may help.
        """
        self.log(ERROR, f"{what} while resolving, resolver: {source.server.text}")
        if source is self._current and self._asked < len(self._servers):
            self.ask()

    def _resend(self) -> None:
        self._timer = None
        self.ask()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _end(self, outcome: Outcome) -> None:
        self.cancel()
        self._done(outcome)


class Try:
    """
    What is between one question and one server: a UDP socket, and a TCP connection when an answer was truncated.

    @ivar server: whom it asks.
    """

    def __init__(self, question: Question, server: Address, packet: bytes) -> None:
        self.server = server
        self._question = question
        self._reactor = question.reactor
        self._packet = packet
        self._datagrams: Datagrams | None = None
        self._stream: Stream | None = None

    def send(self) -> bool:
        """
        Ask, for the first time or again.

        @return: whether that was possible.
        """
        try:
            if self._datagrams is None:
                datagrams = Datagrams(self)
                self._reactor.listenUDP(0, datagrams, "::" if self.server.family == "inet6" else "", UDP_SIZE)
                self._datagrams = datagrams
                datagrams.socket.connect(self.server.host, self.server.port)
            self._datagrams.socket.write(self._packet)
        except (OSError, CannotListenError) as error:
            self._question.log(ERROR, f"{error} while resolving, resolver: {self.server.text}")
            self._close_socket()
            return False
        return True

    def take(self, data: bytes, over_tcp: bool) -> bool:
        """
        Look at what may be an answer.

        @return: whether it is one to this question.
        """
        question = self._question
        try:
            answer = read_answer(data)
        except WireError as error:
            fault = f"invalid DNS response ({error})"
        else:
            fault = question.fault(answer, int.from_bytes(self._packet[:2], "big"))
        if fault:
            if not over_tcp:  # there the end of the connection is told
                question.odd(fault)
            return False
        if not answer.truncated:
            question.heard(self, answer)
        elif over_tcp:
            return False
        elif self._stream is None:
            self._stream = Stream(self, self._packet)
            self._reactor.connectTCP(self.server.host, self.server.port, self._stream, timeout=RESEND)
        return True

    def socket_lost(self) -> None:
        """
        The socket is gone, since nothing listens there; another may be made.
        """
        self._datagrams = None
        self._question.failed(self, "recv() failed (111: Connection refused)")

    def stream_ended(self, what: str | None) -> None:
        """
        The TCP connection is over; another may be made.

        @param what: why, when it brought no answer.
        """
        self._stream = None
        if what is not None:
            self._question.failed(self, what)

    def close(self) -> None:
        """
        Release all; what comes later is not looked at.
        """
        self._close_socket()
        if self._stream is not None:
            self._stream.close()

    def _close_socket(self) -> None:
        datagrams, self._datagrams = self._datagrams, None
        if datagrams is not None:
            datagrams.close()


class Datagrams(DatagramProtocol):
    """
    One connected UDP socket.

    That nothing listens at the other end is told in two ways: some reactors read the error and call
    C{connectionRefused}; the one over epoll takes it for the end of the socket, closes it, and calls C{stopProtocol}
    alone.
    """

    noisy = False

    def __init__(self, owner: Try) -> None:
        self._owner: Try | None = owner

    @property
    def socket(self) -> Any:
        """
        The transport; connected, it wants no address in C{write}, other than IUDPTransport says.
        """
        return self.transport

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """
        Somebody answers.
        """
        if self._owner is not None and numeric(addr[0], addr[1]) == self._owner.server:
            self._owner.take(datagram, over_tcp=False)

    def connectionRefused(self) -> None:
        """
        Nothing listens there.
        """
        owner = self._owner
        if owner is not None:
            self.close()
            owner.socket_lost()

    def stopProtocol(self) -> None:
        """
        The socket is closed; by the reactor, if not by us.
        """
        owner, self._owner = self._owner, None
        if owner is not None:
            owner.socket_lost()

    def close(self) -> None:
        """
        Release the socket; nobody is told.
        """
        self._owner = None
        self.socket.stopListening()


class Stream(ClientFactory, Protocol):
    """
    One question over TCP (RFC 1035, section 4.2.2): its own factory, since there is one connection.

    It reads one message of at most 65535 bytes and has the question's deadline.
    """

    noisy = False

    def __init__(self, owner: Try, packet: bytes) -> None:
        self._owner: Try | None = owner
        self._packet = packet
        self._read = bytearray()

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        """
        There is one connection.
        """
        return self

    def connectionMade(self) -> None:
        """
        Ask.
        """
        assert self.transport is not None
        if self._owner is None:
            self.close()
        else:
            self.transport.write(len(self._packet).to_bytes(2, "big") + self._packet)

    def dataReceived(self, data: bytes) -> None:
        """
        Wait for the whole message.
        """
        owner = self._owner
        if owner is None:
            return
        self._read += data
        end = 2 + int.from_bytes(self._read[:2], "big")
        if len(self._read) < 2 or len(self._read) < end:
            return
        self.close()
        known = owner.take(bytes(self._read[2:end]), over_tcp=True)
        owner.stream_ended(None if known else "unexpected DNS response")

    def connectionLost(self, reason: Failure = Failure(ConnectionError())) -> None:  # type: ignore[no-untyped-call]  # noqa: B008
        """
        Perhaps before an answer.
        """
        self._over(f"recv() failed ({reason.getErrorMessage()})")

    def clientConnectionFailed(self, connector: Any, reason: Failure) -> None:
        """
        Nothing listens there.
        """
        number = getattr(reason.value, "osError", None)
        self._over(f"connect() failed ({f'{number}: {strerror(number)}' if number else reason.getErrorMessage()})")

    def close(self) -> None:
        """
        Release the connection; nobody is told.
        """
        self._owner = None
        transport: Any = self.transport
        if transport is not None:
            transport.abortConnection()

    def _over(self, what: str) -> None:
        owner, self._owner = self._owner, None
        if owner is not None:
            owner.stream_ended(what)
