"""
Tests for L{sniproxy.common.services}.
"""

from __future__ import annotations

from typing import Any

from twisted.names.dns import Record_A, Record_SRV
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.addresses import Address
from sniproxy.common.resolver import ResolveFailure, Resolver, ResolverSettings
from sniproxy.common.services import Place, ServiceLookup, service_name
from sniproxy.wire.dns import Service
from tests.support.datagrams import DatagramReactor, FakePort

SERVER = Address("inet", "192.0.2.53", 53)


class ServicesTests(SynchronousTestCase):
    """
    A lookup in memory.
    """

    def setUp(self) -> None:
        self.reactor = DatagramReactor()
        self.answers: list[tuple[Any, float]] = []

    def look(self, name: str = "a.example", **settings: Any) -> ServiceLookup:
        """
        Look for http there.
        """
        resolver = Resolver(ResolverSettings((SERVER,), ipv6=False, **settings), self.reactor, dice=lambda n: 0)
        return ServiceLookup(
            resolver, self.reactor, "http", name, lambda found, life: self.answers.append((found, life))
        )

    def port(self) -> FakePort:
        """
        The one open question.
        """
        (port,) = self.reactor.open
        return port

    def ask_hosts(self) -> dict[str, FakePort]:
        """
        The open questions by their names.
        """
        return {port.query().name.name.decode(): port for port in self.reactor.open}

    def assertQuiet(self) -> None:
        """
        Nothing is under way any more.
        """
        self.assertEqual((self.reactor.open, self.reactor.getDelayedCalls()), ([], []))

    def test_names(self) -> None:
        """
        A word is a protocol over TCP; what has a dot is a beginning.
        """
        self.assertEqual(service_name("http", "a.example"), "_http._tcp.a.example")
        self.assertEqual(service_name("_x._udp", "a.example"), "_x._udp.a.example")

    def test_places(self) -> None:
        """
        Each host's addresses are found, with the port of its record; those to be asked first come first.
        """
        self.look()
        self.assertEqual((self.port().query().name.name, self.port().query().type), (b"_http._tcp.a.example", 33))
        self.port().answer([Record_SRV(2, 1, 81, b"b.example"), Record_SRV(1, 3, 80, b"c.example")], ttl=50)
        hosts = self.ask_hosts()
        hosts["c.example"].answer([Record_A("192.0.2.1"), Record_A("192.0.2.2")], ttl=40)
        self.assertEqual(self.answers, [])
        hosts["b.example"].answer([Record_A("192.0.2.3")], ttl=70)
        first = Place(
            Service(1, 3, 80, "c.example"), (Address("inet", "192.0.2.1", 80), Address("inet", "192.0.2.2", 80))
        )
        second = Place(Service(2, 1, 81, "b.example"), (Address("inet", "192.0.2.3", 81),))
        self.assertEqual(self.answers, [([first, second], 40)])
        self.assertQuiet()

    def test_valid(self) -> None:
        """
        The resolver's own idea of how long answers are good counts for services too.
        """
        self.look(valid=7.0)
        self.port().answer([Record_SRV(2, 1, 81, b"b.example")], ttl=50)
        self.port().answer([Record_A("192.0.2.3")], ttl=70)
        self.assertEqual(self.answers[0][1], 7.0)

    def test_numeric_host(self) -> None:
        """
        A host that is an address is its own answer.
        """
        self.look()
        self.port().answer([Record_SRV(2, 1, 81, b"192.0.2.9")], ttl=50)
        self.assertEqual(
            self.answers, [([Place(Service(2, 1, 81, "192.0.2.9"), (Address("inet", "192.0.2.9", 81),))], 50)]
        )
        self.assertQuiet()

    def test_some_hosts_fail(self) -> None:
        """
        A host without addresses leaves the others alone.
        """
        self.look()
        self.port().answer([Record_SRV(1, 1, 80, b"b.example"), Record_SRV(1, 1, 80, b"c.example")])
        hosts = self.ask_hosts()
        hosts["b.example"].answer(code=3)
        hosts["c.example"].answer([Record_A("192.0.2.1")])
        ((places, _),) = self.answers
        self.assertEqual(places[0].addresses, ResolveFailure.of(3))
        self.assertEqual(len(places[1].addresses), 1)

    def test_all_hosts_fail(self) -> None:
        """
        When no host has addresses the service has failed: with a name that does not exist, if one of them does not.
        """
        for codes, code in (((2, 3), 3), ((5, 2), 5)):
            self.setUp()
            self.look()
            self.port().answer([Record_SRV(1, 1, 80, b"b.example"), Record_SRV(1, 1, 80, b"c.example")])
            hosts = self.ask_hosts()
            for host, number in zip(("b.example", "c.example"), codes, strict=True):
                hosts[host].answer(code=number)
            self.assertEqual([found for found, _ in self.answers], [ResolveFailure.of(code)])
            self.assertQuiet()

    def test_no_service(self) -> None:
        """
        A service that is not there, and a name that cannot be asked, are not found; a server's failure is told.
        """
        self.look()
        self.port().answer(code=3)
        self.look("a" * 64)
        self.look()
        self.port().answer([Record_SRV(0, 0, 0, b"")])
        self.look()
        self.port().answer(code=2)
        self.assertEqual([found.code for found, _ in self.answers], [3, 3, 3, 2])
        self.assertQuiet()

    def test_silence(self) -> None:
        """
        When no server answers the resolver's timeout is the end.
        """
        self.look(timeout=12.0)
        self.reactor.pump([1.0] * 11)
        self.assertEqual(self.answers, [])
        self.reactor.advance(1)
        self.assertEqual(self.answers, [(ResolveFailure.of(110), 0.0)])
        self.assertQuiet()

    def test_cancel(self) -> None:
        """
        Whoever does not want to know any more is not told, before or after the hosts are known.
        """
        self.look().cancel()
        self.assertQuiet()
        lookup = self.look()
        self.port().answer([Record_SRV(1, 1, 80, b"b.example"), Record_SRV(1, 1, 80, b"c.example")])
        lookup.cancel()
        self.assertQuiet()
        self.assertEqual(self.answers, [])
