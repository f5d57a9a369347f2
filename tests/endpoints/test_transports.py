"""
Tests of L{sniproxy.endpoints.transports}.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.interfaces import IConsumer, INegotiated, IPushProducer, ISSLTransport, ITCPTransport
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sniproxy.endpoints.facts import TLSFacts
from sniproxy.endpoints.transports import PlainTransport, SecureTransport, build
from sniproxy.net.portable import LandingFactory
from sniproxy.tls.verify import NOT_ASKED
from tests.endpoints.memory import Echo, Kept, Line, client, engine
from tests.support import hellos


class TransportsTests(SynchronousTestCase):
    """
    What protocols live on.
    """

    def setUp(self) -> None:
        self.reactor, self.engine = engine(self)
        self.legs: list[Any] = []
        self.ended: list[int] = []
        self.line = Line(LandingFactory(self.reactor, self.legs.append), self.reactor)
        self.protocol = Echo()

    def plain(self) -> PlainTransport:
        hello = hellos.parsed(server_name="a.example")
        return PlainTransport(self.legs[0], self.engine, hello, lambda: self.ended.append(1))

    def secure(self) -> SecureTransport:
        connection = client("a.example")
        leg = self.engine.start_tls(self.legs[0], connection)
        return SecureTransport(leg, self.engine, TLSFacts(connection, NOT_ASKED), lambda: self.ended.append(1))

    def test_interfaces(self) -> None:
        """
        Both declare what Twisted's protocols ask for: back-pressure both ways, and TLS where it is.
        """
        plain, secure = self.plain(), self.secure()
        for transport in (plain, secure):
            for interface in (ITCPTransport, IPushProducer, IConsumer):
                verifyObject(interface, transport)
        verifyObject(INegotiated, secure)
        self.assertFalse(ISSLTransport.providedBy(plain))

    def test_hello(self) -> None:
        """
        Who gets an undecrypted connection can ask for whom it was.
        """
        hello = self.plain().hello
        assert hello is not None
        self.assertEqual(hello.server_name, "a.example")

    def start(self, make: Any) -> tuple[Any, list[Any]]:
        self.setUp()
        transport = make()
        told: list[Any] = []
        if make == self.secure:
            transport._ending = lambda orderly: told.append((orderly, self.protocol.lost, self.line.closed))
        transport._ended = lambda: told.append((type(self.protocol.lost), self.line.closed))
        transport.start(self.protocol)
        return transport, told

    def test_ended_in_good_order(self) -> None:
        """
        The end is told once, after connectionLost; of TLS also before, while the connection is there, and as good
        where it is.
        """
        for make in (self.plain, self.secure):
            transport, told = self.start(make)
            transport.loseConnection()
            self.reactor.advance(0)
            transport.crashed()
            self.assertEqual(told.pop(), (ConnectionDone, True))
            self.assertEqual(told, [(True, None, False)] if make == self.secure else [])

    def test_ended_otherwise(self) -> None:
        """
        An abort is not a good end.
        """
        for make in (self.plain, self.secure):
            transport, told = self.start(make)
            transport.abortConnection()
            self.reactor.advance(0)
            self.assertEqual(told.pop(), (ConnectionAborted, True))
            self.assertEqual(told, [(False, None, False)] if make == self.secure else [])

    def test_nothing_to_do(self) -> None:
        """
        Where nobody wants to hear of the end, nothing is done.
        """
        transport = self.secure()
        transport.start(self.protocol)
        transport.loseConnection()
        self.reactor.advance(0)
        self.assertEqual(self.ended, [1])

    def test_build(self) -> None:
        """
        A factory's protocol, its None, and its exception, which is logged.
        """
        kept = Kept()
        self.assertIs(build(kept, None, None), kept.made[0])
        kept.buildProtocol = lambda addr: None  # type: ignore[method-assign]
        self.assertIsNone(build(kept, None, None))
        kept.buildProtocol = lambda addr: 1 / 0  # type: ignore[method-assign]
        self.assertIsNone(build(kept, None, None))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
