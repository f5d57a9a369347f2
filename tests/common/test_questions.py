"""
Tests for L{sniproxy.common.questions}, against name servers in memory whose bytes are those of twisted.names.
"""

from __future__ import annotations

from typing import Any

from twisted.internet import error
from twisted.internet.testing import StringTransport
from twisted.names.dns import CH, Query, Record_A, Record_AAAA, Record_CNAME
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.addresses import Address
from sniproxy.common.questions import ALIASES, RESEND, Datagrams, Outcome, Question, Stream
from sniproxy.levels import ERROR
from sniproxy.wire.dns import AAAA, A, wire_name
from tests.support.datagrams import DatagramReactor, answered, parsed

ONE = Address("inet", "192.0.2.53", 53)
TWO = Address("inet6", "2001:db8::53", 5353)

GOOD = Outcome(0, ("192.0.2.1",), 60)


class QuestionCase(SynchronousTestCase):
    """
    A question in memory.
    """

    def setUp(self) -> None:
        self.reactor = DatagramReactor()
        self.outcomes: list[Outcome] = []
        self.lines: list[tuple[int, str]] = []
        self.rolled = 0

    def dice(self, sides: int) -> int:
        """
        Count up, from 1000.
        """
        self.assertEqual(sides, 65536)
        self.rolled += 1
        return 999 + self.rolled

    def ask(self, *servers: Address, kind: int = A) -> Question:
        """
        Ask for a.example.
        """
        question = Question(
            self.reactor,
            servers or (ONE,),
            wire_name("a.example"),
            kind,
            self.outcomes.append,
            self.dice,
            lambda level, line: self.lines.append((level, line)),
        )
        question.ask()
        return question

    def ended(self, outcome: Outcome) -> None:
        """
        The question has this outcome, and nothing is left of it.
        """
        self.assertEqual(self.outcomes, [outcome])
        self.assertEqual((self.reactor.open, self.reactor.getDelayedCalls()), ([], []))


class QuestionTests(QuestionCase):
    """
    One question and its servers.
    """

    def test_what_is_sent(self) -> None:
        """
        A query goes to the first server, from a socket connected to it, with a number from the dice.
        """
        self.ask(ONE, TWO)
        (port,) = self.reactor.ports
        message = parsed(port.sent[0])
        self.assertEqual((port.peer, port.interface), (("192.0.2.53", 53), ""))
        self.assertEqual((message.id, message.recDes, message.queries), (1000, 1, [Query(b"a.example", A)]))

    def test_ipv6_server(self) -> None:
        """
        A server with an IPv6 address is asked from an IPv6 socket.
        """
        self.ask(TWO)
        self.assertEqual((self.reactor.ports[0].peer, self.reactor.ports[0].interface), (("2001:db8::53", 5353), "::"))
        self.reactor.ports[0].answer([Record_A("192.0.2.1")])
        self.ended(GOOD)

    def test_addresses(self) -> None:
        """
        The addresses of an answer are the outcome.
        """
        self.ask(kind=AAAA)
        self.reactor.ports[0].answer([Record_AAAA("2001:db8::1"), Record_AAAA("2001:db8::2")], ttl=9)
        self.ended(Outcome(0, ("2001:db8::1", "2001:db8::2"), 9))

    def test_absent_name(self) -> None:
        """
        A name that does not exist is not found, for as long as the server says.
        """
        self.ask(ONE, TWO)
        self.reactor.ports[0].answer(code=3, absence=7)
        self.ended(Outcome(3, negative_life=7))

    def test_no_such_addresses(self) -> None:
        """
        A name without addresses of the kind is not found either.
        """
        self.ask()
        self.reactor.ports[0].answer()
        self.ended(Outcome(3))

    def test_absent_name_with_addresses(self) -> None:
        """
        An answer that says both is taken as absence.
        """
        self.ask()
        self.reactor.ports[0].answer([Record_A("192.0.2.1")], code=3)
        self.ended(Outcome(3))

    def test_silence_then_next(self) -> None:
        """
        After a while of silence the next server is asked, then the first again with the same number and port.
        """
        self.ask(ONE, TWO)
        one = self.reactor.ports[0]
        self.reactor.advance(RESEND - 0.1)
        self.assertEqual(len(self.reactor.ports), 1)
        self.reactor.advance(0.1)
        two = self.reactor.ports[1]
        self.assertEqual(two.peer, ("2001:db8::53", 5353))
        self.assertNotEqual(two.sent[0][:2], one.sent[0][:2])
        self.reactor.advance(RESEND)
        self.assertEqual((len(self.reactor.ports), one.sent[1]), (2, one.sent[0]))
        two.answer([Record_A("192.0.2.1")])
        self.ended(GOOD)

    def test_late_answer_counts(self) -> None:
        """
        What the first server says after the second was asked is an answer.
        """
        self.ask(ONE, TWO)
        self.reactor.advance(RESEND)
        self.reactor.ports[0].answer([Record_A("192.0.2.1")])
        self.ended(GOOD)

    def test_server_failure_then_next(self) -> None:
        """
        A server that fails is left at once for the next; when all fail the last failure is the outcome.
        """
        self.ask(ONE, TWO)
        self.reactor.ports[0].answer(code=2)
        self.assertEqual(self.outcomes, [])
        self.reactor.ports[1].answer(code=5)
        self.ended(Outcome(5))

    def test_late_failure_does_not_count(self) -> None:
        """
        A failure of a server that was left already changes nothing.
        """
        self.ask(ONE, TWO)
        self.reactor.advance(RESEND)
        self.reactor.ports[0].answer(code=2)
        self.assertEqual(self.outcomes, [])
        self.reactor.ports[1].answer([Record_A("192.0.2.1")])
        self.ended(GOOD)

    def test_refused_then_next(self) -> None:
        """
        Where nothing listens the next server is asked at once, and the log says so in nginx's words.
        """
        self.ask(ONE, TWO)
        self.reactor.ports[0].refuse()
        self.assertEqual(
            self.lines,
            [(ERROR, "recv() failed (111: Connection refused) while resolving, resolver: 192.0.2.53:53")],
        )
        self.reactor.ports[1].answer([Record_A("192.0.2.1")])
        self.ended(GOOD)

    def test_refused_by_all(self) -> None:
        """
        When no server is left time may help: the first is asked again after a while, and not at once.
        """
        self.ask()
        self.reactor.ports[0].refuse()
        self.assertEqual((len(self.reactor.ports), self.reactor.open), (1, []))
        self.reactor.advance(RESEND)
        self.reactor.ports[1].answer([Record_A("192.0.2.1")])
        self.ended(GOOD)

    def test_socket_closed_by_the_reactor(self) -> None:
        """
        A reactor that closes the socket instead of telling that it was refused says the same.
        """
        self.ask(ONE, TWO)
        self.reactor.ports[0].lose()
        self.assertEqual(
            self.lines,
            [(ERROR, "recv() failed (111: Connection refused) while resolving, resolver: 192.0.2.53:53")],
        )
        self.reactor.advance(RESEND)
        self.reactor.ports[2].answer([Record_A("192.0.2.1")])
        self.ended(GOOD)

    def test_no_socket(self) -> None:
        """
        When no socket can be had all servers are tried once, and again later.
        """
        self.reactor.exhausted = True
        self.ask(ONE, TWO)
        self.assertEqual(len(self.lines), 2)
        self.assertIn("Too many open files. while resolving, resolver: 192.0.2.53:53", self.lines[0][1])
        self.reactor.exhausted = False
        self.reactor.advance(RESEND)
        self.reactor.ports[0].answer([Record_A("192.0.2.1")])
        self.ended(GOOD)

    def test_unreachable(self) -> None:
        """
        A socket that cannot send is given up for the next server's, and made anew.
        """
        self.ask(ONE, TWO)
        one = self.reactor.ports[0]
        self.reactor.advance(RESEND)
        one.broken = OSError(101, "Network is unreachable")
        self.reactor.advance(RESEND)
        self.assertFalse(one.open)
        self.assertEqual(len(self.reactor.ports[1].sent), 2)
        self.reactor.advance(RESEND)
        self.assertEqual(self.reactor.ports[2].peer, ("192.0.2.53", 53))

    def test_what_is_not_believed(self) -> None:
        """
        Answers with another number, name or kind, from another address, or that mean nothing, change nothing.
        """
        self.ask()
        port = self.reactor.ports[0]
        good = [Record_A("192.0.2.66")]
        port.answer(good, ident=7)
        port.answer(good, name="b.example")
        port.answer([Record_AAAA("2001:db8::66")], kind=AAAA)
        port.receive(answered(port.sent[0], good), ("192.0.2.54", 53))
        port.receive(answered(port.sent[0], good), ("192.0.2.53", 54))
        port.receive(port.sent[0])
        port.receive(b"")
        self.assertEqual(self.outcomes, [])
        port.answer([Record_A("192.0.2.1")])
        self.ended(GOOD)

    def test_what_is_not_believed_is_told(self) -> None:
        """
        The log has what came instead of an answer, in nginx's words, for the first few of a question.
        """
        self.ask()
        port = self.reactor.ports[0]
        port.answer(ident=7)
        port.answer(name="b.example")
        port.receive(b"x" * 5)
        for _ in range(100):
            port.answer(ident=8)
        self.assertEqual(
            self.lines,
            [
                (ERROR, "wrong ident 7 in DNS response for a.example, expect 1000"),
                (ERROR, "unexpected DNS response for b.example"),
                (ERROR, "invalid DNS response (header: needs 12 bytes where 5 are left)"),
            ],
        )

    def test_other_class_is_not_believed(self) -> None:
        """
        An answer about another class of the same name changes nothing.
        """
        self.ask()
        port = self.reactor.ports[0]
        data = bytearray(answered(port.sent[0]))
        data[-1] = CH
        port.receive(bytes(data))
        self.assertEqual(self.outcomes, [])

    def test_cancel(self) -> None:
        """
        A question that was cancelled is over, and nobody is told what still arrives.
        """
        question = self.ask(ONE, TWO)
        self.reactor.advance(RESEND)
        one, two = self.reactor.ports
        question.cancel()
        self.assertEqual((self.reactor.open, self.reactor.getDelayedCalls()), ([], []))
        one.answer([Record_A("192.0.2.1")])
        two.refuse()
        self.assertEqual((self.outcomes, self.lines), ([], []))

    def test_alias_is_asked_on(self) -> None:
        """
        Where a server gives only an alias its end is asked for, with a new number; the shortest life counts.
        """
        self.ask(ONE, TWO)
        self.reactor.ports[0].answer([Record_CNAME(b"b.example")], ttl=5)
        self.assertEqual(len(self.reactor.open), 1)
        port = self.reactor.open[0]
        self.assertEqual((port.query().name.name, port.peer), (b"b.example", ("192.0.2.53", 53)))
        port.answer([Record_A("192.0.2.1")])
        self.ended(Outcome(0, ("192.0.2.1",), 5))

    def test_alias_of_nothing(self) -> None:
        """
        An alias whose end the server knows to have no addresses is not asked on.
        """
        self.ask()
        self.reactor.ports[0].answer([Record_CNAME(b"b.example")], absence=5)
        self.ended(Outcome(3, negative_life=5))

    def test_endless_aliases(self) -> None:
        """
        A server that always gives another alias is asked a bounded number of times.
        """
        self.ask()
        for n in range(ALIASES + 1):
            self.assertEqual(self.outcomes, [])
            self.reactor.open[0].answer([Record_CNAME(f"{n}.example".encode())])
        self.ended(Outcome(3))


class StreamTests(QuestionCase):
    """
    Answers that do not fit into a datagram.
    """

    def truncated(self, *servers: Address) -> tuple[Stream, Any]:
        """
        Ask, be told to use TCP, and be connected.
        """
        self.ask(*servers)
        self.reactor.ports[0].answer(truncated=True)
        host, port, factory, timeout, _ = self.reactor.tcpClients[-1]
        self.assertEqual((host, port, timeout), ("192.0.2.53", 53, RESEND))
        assert isinstance(factory, Stream)
        return factory, self.connected(factory)

    def connected(self, factory: Any) -> StringTransport:
        """
        Connect, as the reactor does.
        """
        transport = StringTransport()
        factory.buildProtocol(None).makeConnection(transport)
        return transport

    def framed(self, transport: Any, *answers: Any, **settings: Any) -> bytes:
        """
        An answer to what was sent, with its length.
        """
        asked = transport.value()
        self.assertEqual(int.from_bytes(asked[:2], "big"), len(asked) - 2)
        data = answered(asked[2:], answers, **settings)
        return len(data).to_bytes(2, "big") + data

    def test_every_cut(self) -> None:
        """
        A truncated answer is fetched over TCP, wherever the network cuts it.
        """
        stream, transport = self.truncated()
        data = self.framed(transport, Record_A("192.0.2.1"))
        for n in range(len(data) - 1):
            stream.dataReceived(data[n : n + 1])
        self.assertEqual(self.outcomes, [])
        stream.dataReceived(data[-1:] + b"more")
        self.assertTrue(transport.disconnecting)
        self.ended(GOOD)
        stream.dataReceived(data)
        stream.connectionLost(Failure(error.ConnectionDone()))
        self.ended(GOOD)

    def test_one_connection(self) -> None:
        """
        Truncated answers that come twice make one connection.
        """
        self.truncated()
        self.reactor.ports[0].answer(truncated=True)
        self.assertEqual(len(self.reactor.tcpClients), 1)

    def test_nonsense(self) -> None:
        """
        What comes over TCP and is no answer, or is truncated again, is a failure of the server.
        """
        for settings in ({"ident": 7}, {"truncated": True}):
            self.setUp()
            stream, transport = self.truncated(ONE, TWO)
            stream.dataReceived(self.framed(transport, Record_A("192.0.2.1"), **settings))
            self.assertTrue(transport.disconnecting)
            self.assertEqual(self.lines, [(ERROR, "unexpected DNS response while resolving, resolver: 192.0.2.53:53")])
            self.reactor.ports[1].answer([Record_A("192.0.2.1")])
            self.ended(GOOD)

    def test_lost(self) -> None:
        """
        A connection that is lost before the answer is a failure of the server, and can be made again.
        """
        stream, _ = self.truncated()
        stream.connectionLost(Failure(error.ConnectionDone()))
        self.assertIn("recv() failed (Connection was closed cleanly.) while resolving", self.lines[0][1])
        self.reactor.advance(RESEND)
        self.reactor.ports[0].answer(truncated=True)
        self.assertEqual(len(self.reactor.tcpClients), 2)

    def test_refused(self) -> None:
        """
        A connection that cannot be made is a failure of the server.
        """
        self.ask(ONE, TWO)
        self.reactor.ports[0].answer(truncated=True)
        factory: Any = self.reactor.tcpClients[0][2]
        factory.clientConnectionFailed(None, Failure(error.ConnectionRefusedError(111)))
        self.assertIn("connect() failed (111: Connection refused) while", self.lines[0][1])
        self.assertEqual(len(self.reactor.ports), 2)

    def test_connected_too_late(self) -> None:
        """
        A connection that is made when the question is over is closed and asked nothing.
        """
        question = self.ask()
        self.reactor.ports[0].answer(truncated=True)
        question.cancel()
        transport = self.connected(self.reactor.tcpClients[0][2])
        self.assertEqual((transport.disconnecting, transport.value()), (True, b""))

    def test_cancelled_while_connected(self) -> None:
        """
        A question that is cancelled closes its connection.
        """
        _, transport = self.truncated(ONE)
        self.reactor.ports[0].answer([Record_A("192.0.2.1")])
        self.assertTrue(transport.disconnecting)
        self.ended(GOOD)

    def test_quiet(self) -> None:
        """
        Sockets and connections do not announce themselves in Twisted's log.
        """
        self.assertEqual((Datagrams.noisy, Stream.noisy), (False, False))
