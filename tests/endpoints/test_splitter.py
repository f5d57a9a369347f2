"""
Tests of L{sniproxy.endpoints.splitter}.
"""

from __future__ import annotations

import os
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.interfaces import IStreamServerEndpoint
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sniproxy.endpoints.client import ClientTLS
from sniproxy.endpoints.engine import _engines
from sniproxy.endpoints.splitter import SNISplitter
from sniproxy.endpoints.terminate import Terminate
from tests.endpoints.loopback import HOST, LoopbackCase, reactor
from tests.endpoints.memory import Echo, Kept, MemoryPort, hello
from tests.support import hellos


class InMemoryTests(SynchronousTestCase):
    """
    Which way connections go, over ports in memory.
    """

    def setUp(self) -> None:
        self.reactor: Any = MemoryReactorClock()
        self.inner: Any = MemoryPort(self.reactor)
        self.far: Any = MemoryPort(self.reactor)

    def split(self, routes: Any, factory: Any = None, **more: Any) -> Any:
        splitter = SNISplitter(self.reactor, self.inner, routes, **more)
        port = self.successResultOf(splitter.listen(factory))
        self.addCleanup(port.stopListening)
        return port

    def knock(self, data: bytes) -> Any:
        line = self.inner.knock()
        line.say(data)
        return line

    def heard(self, kept: Kept) -> list[bytes]:
        return [each.heard for each in kept.made]

    def test_interface(self) -> None:
        """
        It is a Twisted server endpoint.
        """
        verifyObject(IStreamServerEndpoint, SNISplitter(self.reactor, self.inner, {}))

    def test_factories_by_name(self) -> None:
        """
        Each name goes to its factory, undecrypted and from the first byte; whole names win over masks; case does
        not matter.
        """
        whole, mask = Kept(), Kept()
        self.split({"A.example": whole, (".example", "www.*"): mask})
        for name, kept in (("a.example", whole), ("b.example", mask), ("example", mask), ("www.org", mask)):
            data = hello(name)
            line = self.knock(data)
            self.assertEqual(kept.made[-1].heard, data, name)
            self.assertEqual(kept.made[-1].transport.hello.server_name, name)
            self.assertEqual(line.heard(), data)
        self.assertEqual((len(whole.made), len(mask.made)), (1, 3))

    def test_nowhere_to_go(self) -> None:
        """
        What nobody was named for is closed: TLS with an alert, all else without a word, and no destination hears of it.
        """
        kept = Kept()
        self.split({"a.example": kept})
        data = hello("a.example")
        for data, answer in (
            (hello("b.example"), b"\x15\x03\x03\x00\x02\x02\x70"),
            (hello(), b"\x15\x03\x03\x00\x02\x02\x6d"),
            (b"GET / HTTP/1.1\r\n", b""),
            (b"\x16\x03\x01\x00\x04\x02\x00\x00\x00", b""),
        ):
            line = self.knock(data)
            self.assertTrue(line.closed)
            self.assertEqual(line.heard(), answer)
        self.assertEqual(kept.made, [])

    def test_each_kind_has_its_way(self) -> None:
        """
        A fallback is for unknown names alone; no name, not TLS, and malformed go where each was told to go.
        """
        kinds = {kind: Kept() for kind in ("fallback", "no_name", "not_tls", "malformed")}
        self.split({"a.example": Kept()}, **kinds)
        sent = {
            "fallback": hello("b.example"),
            "no_name": hello(),
            "not_tls": b"SSH-2.0-x\r\n",
            "malformed": b"\x16\x03\x01\x00\x04\x02\x00\x00\x00",
        }
        for data in sent.values():
            self.knock(data)
        for kind, kept in kinds.items():
            self.assertEqual(self.heard(kept), [sent[kind]], kind)
        self.assertIsNone(kinds["not_tls"].made[0].transport.hello)

    def test_malformed_never_falls_back(self) -> None:
        """
        A hello with two names goes to neither of them, nor to the fallback.
        """
        one, other = Kept(), Kept()
        self.split({"a.example": one}, fallback=other, no_name=other)
        data = hellos.hello(server_name="a.example")
        twice = hellos.with_extensions(data, lambda these: [*these, next(each for each in these if each[0] == 0)])
        self.assertTrue(self.knock(twice).closed)
        self.assertEqual((one.made, other.made), ([], []))

    def test_factory_of_the_port(self) -> None:
        """
        The factory that listens is the fallback, is told of beginning and end, and there may be one fallback.
        """
        factory = Kept()
        port = self.split({}, factory)
        self.knock(hello("x.example"))
        self.assertEqual((len(factory.made), factory.running), (1, 1))
        self.successResultOf(port.stopListening())
        self.assertEqual(factory.running, 0)
        splitter = SNISplitter(self.reactor, self.inner, {}, fallback=Kept())
        self.failureResultOf(splitter.listen(Kept()), ValueError)

    def test_relays_to_an_endpoint(self) -> None:
        """
        A client endpoint gets every byte from the first, and its answers come back; the end of one is the end of
        the other.
        """
        self.split({"a.example": self.far})
        data = hello("a.example")
        line = self.knock(data)
        (far,) = self.far.lines
        self.reactor.advance(0)
        self.assertEqual(far.heard(), data)
        far.say(b"answer")
        self.assertEqual(line.heard(), b"answer")
        line.say(b"more")
        self.assertEqual(far.heard(), b"more")
        far.protocol.readConnectionLost()
        self.reactor.advance(0)
        self.assertTrue(line.closed and far.closed)

    def test_endpoint_fails(self) -> None:
        """
        Where the endpoint cannot be reached the client's connection ends.
        """
        self.far.connect = lambda factory: fail(Refused())
        self.split({"a.example": self.far})
        self.assertTrue(self.knock(hello("a.example")).closed)

    def test_connect_timeout(self) -> None:
        """
        An endpoint that does not answer is given up at its deadline.
        """
        trying: Deferred[Any] = Deferred()
        self.far.connect = lambda factory: trying
        self.split({"a.example": self.far}, connect_timeout=5.0)
        line = self.knock(hello("a.example"))
        self.reactor.advance(4.9)
        self.assertFalse(line.closed)
        self.reactor.advance(0.2)
        self.assertTrue(line.closed)
        self.assertTrue(trying.called)

    def test_idle_timeout(self) -> None:
        """
        A relayed connection ends when nobody has said anything for too long; every byte puts that off.
        """
        self.split({"a.example": self.far}, idle_timeout=60.0)
        line = self.knock(hello("a.example"))
        self.reactor.advance(50)
        line.say(b"here")
        self.reactor.advance(50)
        self.assertFalse(line.closed)
        self.reactor.advance(10.1)
        self.assertTrue(line.closed and self.far.lines[0].closed)

    def test_hello_timeout(self) -> None:
        """
        Half a hello has as long as it was said.
        """
        self.split({"a.example": self.far}, timeout=5.0)
        line = self.knock(hello("a.example")[:50])
        self.reactor.advance(5.1)
        self.assertTrue(line.closed)

    def test_relayed_connections_outlive_the_port(self) -> None:
        """
        When the port is closed, what is relayed goes on; with its end nothing is left.
        """
        port = self.split({"a.example": self.far})
        line = self.knock(hello("a.example"))
        self.successResultOf(port.stopListening())
        line.say(b"more")
        self.assertTrue(self.far.lines[0].heard().endswith(b"more"))
        self.assertIn(self.reactor, _engines)
        line.protocol.readConnectionLost()
        self.reactor.advance(0)
        self.assertNotIn(self.reactor, _engines)

    def test_fault(self) -> None:
        """
        A fault of ours while relaying ends that connection and is logged.
        """
        self.split({"a.example": self.far})
        line = self.knock(hello("a.example"))

        def broken(bits: int) -> None:
            raise ZeroDivisionError

        line.protocol.leg.handler = broken
        line.say(b"more")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertTrue(line.closed and self.far.lines[0].closed)

    def test_route_of_your_own(self) -> None:
        """
        Anything with take is a route; anything else is none.
        """
        taken: list[Any] = []

        class Route:
            def take(self, arrival: Any, verdict: Any) -> None:
                taken.append(verdict.server_name)
                arrival.drop("seen")

        self.split({"a.example": Route()})
        self.knock(hello("a.example"))
        self.assertEqual(taken, ["a.example"])
        self.assertRaises(TypeError, SNISplitter, self.reactor, self.inner, {"a.example": object()})

    def test_bad_names(self) -> None:
        """
        A name that is none, or there twice, is refused.
        """
        for routes in ({"": self.far}, {"a*": self.far}, {"a": self.far, "A.": self.far}):
            self.assertRaises(ValueError, SNISplitter, self.reactor, self.inner, routes)

    def test_no_protocol(self) -> None:
        """
        A factory may want no protocol: the connection is closed and its lease ends.
        """
        kept = Kept()
        kept.buildProtocol = lambda addr: None  # type: ignore[method-assign]
        port = self.split({"a.example": kept})
        self.assertTrue(self.knock(hello("a.example")).closed)
        self.successResultOf(port.stopListening())
        self.assertNotIn(self.reactor, _engines)


class LoopbackTests(LoopbackCase):
    """
    Real sockets: three machines behind one port.
    """

    async def behind(self) -> tuple[int, Kept]:
        factory = Kept()
        return await self.listen(factory), factory

    async def check(self, where: Any, destination: Any, factory: Kept, **more: Any) -> None:
        splitter = SNISplitter(reactor, where, {"a.example": destination}, **more)
        port = await self.opened(splitter.listen())
        data = os.urandom(500_000)
        asking = await self.ask(self.way(port), data)
        self.assertEqual(asking.heard, data)
        self.assertEqual(asking.facts.subject, "CN=a.example")
        self.assertEqual(factory.made[-1].heard, data)
        await factory.made[-1].over

    async def test_by_our_sockets(self) -> None:
        """
        A host and a port behind our own socket: bytes pass undecrypted, and the client verifies the far machine.
        """
        number, factory = await self.behind()
        await self.check((HOST, 0), (HOST, number), factory)

    async def test_by_twisted_endpoints(self) -> None:
        """
        The same over Twisted's endpoints on both sides.
        """
        number, factory = await self.behind()
        where = TCP4ServerEndpoint(reactor, 0, interface=HOST)
        await self.check(where, TCP4ClientEndpoint(reactor, HOST, number), factory, half_close=True)

    async def test_mixed(self) -> None:
        """
        Our socket in front and Twisted's endpoint behind.
        """
        number, factory = await self.behind()
        await self.check((HOST, 0), TCP4ClientEndpoint(reactor, HOST, number), factory)

    async def test_terminates_here(self) -> None:
        """
        A name may end its TLS here, while another passes through.
        """
        number, far = await self.behind()
        here = Kept()
        routes: Any = {"a.example": Terminate(self.guarded_policy(), here), "b.example": (HOST, number)}
        port = await self.opened(SNISplitter(reactor, (HOST, 0), routes).listen())
        asking = await self.ask(self.way(port, self.client_policy(certificates=(self.me,))))
        self.assertEqual(asking.heard, b"hello")
        self.assertEqual((here.made[0].transport.facts.subject, far.made), ("CN=me", []))
        await here.made[0].over

    async def test_wrapped_in_tls(self) -> None:
        """
        A TLS client endpoint wraps what is relayed in TLS of its own, certificate and all, and its session is resumed.
        """
        ends: list[Deferred[Any]] = []

        class Far(Echo):
            def connectionMade(self) -> None:
                ends.append(self.over)
                transport: Any = self.transport
                self.told = (transport.facts.subject, transport.facts.resumed)

        factory = Kept(Far)
        number = await self.listen(factory, self.guarded_policy())
        tunnel = self.way(number, ClientTLS(self.client_policy(certificates=(self.me,))))
        splitter = SNISplitter(reactor, (HOST, 0), {}, not_tls=tunnel)
        port = await self.opened(splitter.listen())
        plain = TCP4ClientEndpoint(reactor, HOST, port)
        for resumed in (False, True):
            asking = await self.ask(plain, b"plain words")
            self.assertEqual(asking.heard, b"plain words")
            await ends[-1]
            self.assertEqual(factory.made[-1].told, ("CN=me", resumed))
