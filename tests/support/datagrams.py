"""
A reactor in memory that also has datagrams, and name servers' answers to what was sent through it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.error import CannotListenError
from twisted.internet.protocol import DatagramProtocol
from twisted.internet.testing import MemoryReactorClock
from twisted.names import dns


class FakePort:
    """
    A UDP socket.

    @ivar peer: what it is connected to, or None.
    @ivar sent: all datagrams that were written.
    @ivar broken: raised by the next C{write}.
    """

    def __init__(self, protocol: DatagramProtocol, interface: str) -> None:
        self.protocol = protocol
        self.interface = interface
        self.peer: tuple[str, int] | None = None
        self.sent: list[bytes] = []
        self.open = True
        self.broken: OSError | None = None

    def connect(self, host: str, port: int) -> None:
        """
        Talk to one address only.
        """
        self.peer = (host, port)

    def write(self, data: bytes) -> None:
        """
        Send a datagram.
        """
        assert self.open and self.peer is not None
        if self.broken is not None:
            broken, self.broken = self.broken, None
            raise broken
        self.sent.append(data)

    def stopListening(self) -> None:
        """
        Close.
        """
        if self.open:
            self.open = False
            self.protocol.doStop()

    # What the test does.

    def query(self) -> dns.Query:
        """
        The question that was sent last.
        """
        return parsed(self.sent[-1]).queries[0]

    def receive(self, data: bytes, address: tuple[str, int] | None = None) -> None:
        """
        A datagram arrives, from the connected address unless told otherwise.
        """
        sender = address or self.peer
        assert sender is not None
        self.protocol.datagramReceived(data, sender)

    def answer(self, answers: Sequence[Any] = (), **settings: Any) -> None:
        """
        The server answers the last question, with these payloads.
        """
        self.receive(answered(self.sent[-1], answers, **settings))

    def refuse(self) -> None:
        """
        Nothing listens there, as most reactors tell it.
        """
        self.protocol.connectionRefused()

    def lose(self) -> None:
        """
        Nothing listens there, as the reactor over epoll tells it.
        """
        self.stopListening()


class DatagramReactor(MemoryReactorClock):
    """
    A clock, connections and datagrams, all in memory.

    @ivar ports: every UDP socket ever made.
    @ivar exhausted: whether no more can be made.
    """

    def __init__(self) -> None:
        super().__init__()
        self.ports: list[FakePort] = []
        self.exhausted = False

    def listenUDP(
        self, port: int, protocol: DatagramProtocol, interface: str = "", maxPacketSize: int = 8192
    ) -> FakePort:
        """
        Make a socket.
        """
        if self.exhausted:
            raise CannotListenError(interface, port, OSError(24, "Too many open files"))
        made = FakePort(protocol, interface)
        self.ports.append(made)
        protocol.makeConnection(made)  # type: ignore[arg-type]
        return made

    @property
    def open(self) -> list[FakePort]:
        """
        The sockets that are open.
        """
        return [port for port in self.ports if port.open]


def parsed(data: bytes) -> dns.Message:
    """
    A message as twisted.names reads it.
    """
    message = dns.Message()
    message.fromStr(data)
    return message


def answered(
    data: bytes,
    answers: Sequence[Any] = (),
    *,
    code: int = 0,
    ttl: int = 60,
    truncated: bool = False,
    absence: int | None = None,
    name: str | None = None,
    kind: int | None = None,
    ident: int | None = None,
) -> bytes:
    """
    A name server's answer to a query.

    @param answers: payloads of the question's name, or (name, payload).
    @param absence: the minimum of a SOA record in the authority section.
    @param name: another name than the question's.
    @param kind: another kind.
    @param ident: another number.
    """
    asked = parsed(data)
    (question,) = asked.queries
    owner = question.name.name if name is None else name.encode()
    message = dns.Message(
        asked.id if ident is None else ident, answer=1, rCode=code, trunc=truncated, recDes=1, recAv=1, maxSize=0
    )
    message.queries = [dns.Query(owner, question.type if kind is None else kind, dns.IN)]
    for each in answers:
        holder, payload = (each[0].encode(), each[1]) if isinstance(each, tuple) else (owner, each)
        message.answers.append(dns.RRHeader(holder, payload.TYPE, dns.IN, ttl, payload))
    if absence is not None:
        soa = dns.Record_SOA(b"ns.example", b"me.example", minimum=absence)
        message.authority = [dns.RRHeader(b"example", dns.SOA, dns.IN, 3600, soa)]
    encoded: bytes = message.toStr()
    return encoded
