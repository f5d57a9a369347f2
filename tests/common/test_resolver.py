"""
Tests for L{sniproxy.common.resolver}.
"""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor as real_reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.names.dns import Record_A, Record_AAAA
from twisted.plugin import IPlugin
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface.verify import verifyObject

from sniproxy.addresses import Address
from sniproxy.common import resolver as under_test
from sniproxy.common.lookups import MAX_ABSENCE
from sniproxy.common.resolver import ResolveFailure, Resolver, ResolverSettings, resolver, resolver_module
from sniproxy.config.build import Build, configure
from sniproxy.config.directives import Directive, Inherit
from sniproxy.config.known import SOLD
from sniproxy.config.values import block
from sniproxy.errors import ConfigErrors
from sniproxy.interfaces import IModule, IResolver
from sniproxy.levels import ERROR
from sniproxy.wire.dns import SRV, wire_name
from tests.support.datagrams import DatagramReactor
from tests.support.dns_server import NameServer
from tests.support.places import Declared, Places

ONE = Address("inet", "192.0.2.53", 53)
TWO = Address("inet", "192.0.2.54", 53)

NOT_FOUND = ResolveFailure(3, "Host not found")
TIMED_OUT = ResolveFailure(110, "Operation timed out")


class ResolverCase(SynchronousTestCase):
    """
    A resolver in memory.
    """

    def setUp(self) -> None:
        self.reactor = DatagramReactor()
        self.lines: list[tuple[int, str]] = []
        self.answers: list[Any] = []
        self.throws: list[int] = []

    def dice(self, sides: int) -> int:
        """
        What the test says, else 0.
        """
        return self.throws.pop(0) if sides < 65536 and self.throws else 0

    def resolver(self, *servers: Address, **settings: Any) -> Resolver:
        """
        Asking these servers, or one.
        """
        return Resolver(
            ResolverSettings(servers or (ONE,), **settings),
            self.reactor,
            lambda level, line: self.lines.append((level, line)),
            self.dice,
        )

    def resolve(self, resolver: Resolver, name: str = "a.example") -> Any:
        """
        Ask for a name.
        """
        return resolver.resolve(name, self.answers.append)

    def serve(self, *hosts: str, **settings: Any) -> None:
        """
        Answer all open questions: those of these addresses that are of its kind.
        """
        for port in self.reactor.open:
            kind = port.query().type
            payloads = [
                Record_AAAA(host) if kind == 28 else Record_A(host) for host in hosts if (":" in host) == (kind == 28)
            ]
            port.answer(payloads, **settings)

    def asked(self) -> int:
        """
        How many questions were asked so far.
        """
        return len(self.reactor.ports)


class ResolverTests(ResolverCase):
    """
    Names, answers and how long they are kept.
    """

    def test_interface(self) -> None:
        """
        A resolver is what the interface says.
        """
        self.assertTrue(verifyObject(IResolver, self.resolver()))

    def test_both_families(self) -> None:
        """
        A and AAAA are asked for, and the answer has both.
        """
        self.resolve(self.resolver())
        self.assertEqual(sorted(port.query().type for port in self.reactor.open), [1, 28])
        self.serve("192.0.2.1", "2001:db8::1")
        self.assertEqual(self.answers, [["192.0.2.1", "2001:db8::1"]])
        self.assertEqual((self.reactor.open, self.reactor.getDelayedCalls()), ([], []))

    def test_how_long(self) -> None:
        """
        Who wants to know is told for how long an answer is good, and what is left of that when it comes from the store.
        """
        for valid, life in ((None, 60.0), (7.0, 7.0)):
            self.setUp()
            resolver = self.resolver(ipv6=False, valid=valid)
            for _ in range(2):
                resolver.find("a.example", lambda found, life: self.answers.append((found, life)))
                if self.reactor.open:
                    self.serve("192.0.2.1", ttl=60)
                    self.reactor.advance(2)
            self.assertEqual(self.answers, [(["192.0.2.1"], life), (["192.0.2.1"], life - 2)])

    def test_one_question(self) -> None:
        """
        A question of another kind can be put to the servers in their turns.
        """
        resolver = self.resolver(ONE, TWO)
        for _ in range(2):
            resolver.question(wire_name("a.example"), SRV, self.answers.append).ask()
        self.assertEqual([port.peer for port in self.reactor.open], [("192.0.2.53", 53), ("192.0.2.54", 53)])
        self.assertEqual({port.query().type for port in self.reactor.open}, {SRV})

    def test_one_family(self) -> None:
        """
        With ipv6=off or ipv4=off only the other is asked for.
        """
        for settings, kind in (({"ipv6": False}, 1), ({"ipv4": False}, 28)):
            self.setUp()
            self.resolve(self.resolver(**settings))
            self.assertEqual([port.query().type for port in self.reactor.open], [kind])

    def test_numeric(self) -> None:
        """
        A numeric address is its own answer, with brackets or without.
        """
        resolver = self.resolver()
        for name in ("192.0.2.1", "[2001:DB8::1]", "2001:db8::1"):
            self.resolve(resolver, name).cancel()
        self.assertEqual(self.answers, [["192.0.2.1"], ["2001:db8::1"], ["2001:db8::1"]])
        self.assertEqual(self.asked(), 0)

    def test_names_that_cannot_be(self) -> None:
        """
        A name that cannot be asked for is not found, and nobody is asked.
        """
        resolver = self.resolver()
        for name in ("", "a..b", "x" * 64):
            self.resolve(resolver, name).cancel()
        self.assertEqual((self.answers, self.asked()), ([NOT_FOUND] * 3, 0))

    def test_kept_by_ttl(self) -> None:
        """
        An answer is given at once, in any spelling of the name, until its time is over.
        """
        resolver = self.resolver()
        self.resolve(resolver)
        self.serve("192.0.2.1", ttl=60)
        self.reactor.advance(59.9)
        self.resolve(resolver, "A.Example.").cancel()
        self.assertEqual((self.answers, self.asked()), ([["192.0.2.1"]] * 2, 2))
        self.reactor.advance(0.1)
        self.resolve(resolver)
        self.assertEqual((len(self.answers), self.asked()), (2, 4))

    def test_valid_beats_ttl(self) -> None:
        """
        With valid= the record's own life means nothing, be it longer or shorter; valid=0 is as without.
        """
        for valid, ttl, life in ((300.0, 1, 300), (5.0, 900, 5), (0.0, 60, 60)):
            self.setUp()
            resolver = self.resolver(valid=valid)
            self.resolve(resolver)
            self.serve("192.0.2.1", ttl=ttl)
            self.reactor.advance(life - 0.1)
            self.resolve(resolver)
            self.assertEqual(len(self.answers), 2)
            self.reactor.advance(0.1)
            self.resolve(resolver)
            self.assertEqual(len(self.answers), 2)

    def test_life_of_nothing(self) -> None:
        """
        An answer with TTL 0 is for those who wait for it.
        """
        resolver = self.resolver()
        self.resolve(resolver)
        self.serve("192.0.2.1", ttl=0)
        self.resolve(resolver)
        self.assertEqual((len(self.answers), self.asked()), (1, 4))

    def test_absence_is_kept_shortly(self) -> None:
        """
        That a name does not exist is remembered for some seconds where the server vouches for it, whatever valid= says.
        """
        resolver = self.resolver(valid=300.0)
        self.resolve(resolver)
        self.serve(code=3, absence=900)
        self.resolve(resolver)
        self.assertEqual((self.answers, self.asked()), ([NOT_FOUND] * 2, 2))
        self.reactor.advance(MAX_ABSENCE)
        self.resolve(resolver)
        self.serve("192.0.2.1")
        self.assertEqual(self.answers[2:], [["192.0.2.1"]])

    def test_failures(self) -> None:
        """
        Refusals of servers are told by nginx's numbers and words, and not remembered.
        """
        resolver = self.resolver()
        for code, text in (
            (1, "(1: Format error)"),
            (2, "(2: Server failure)"),
            (3, "(3: Host not found)"),
            (4, "(4: Unimplemented)"),
            (5, "(5: Operation refused)"),
            (9, "(9: Unknown error)"),
        ):
            self.resolve(resolver)
            self.serve(code=code)
            self.assertEqual((self.answers[-1].code, str(self.answers[-1])), (code, text))

    def test_timeout(self) -> None:
        """
        When no server answers within the timeout the failure says so, and nothing is left.
        """
        self.resolve(self.resolver(timeout=2.0))
        self.reactor.advance(1.9)
        self.assertEqual(self.answers, [])
        self.reactor.advance(0.1)
        self.assertEqual((self.answers, str(self.answers[0])), ([TIMED_OUT], "(110: Operation timed out)"))
        self.assertEqual((self.reactor.open, self.reactor.getDelayedCalls()), ([], []))

    def test_one_lookup_for_many(self) -> None:
        """
        Who asks for a name that is being looked up waits for the same answer.
        """
        resolver = self.resolver()
        for name in ("a.example", "A.example.", "a.EXAMPLE"):
            self.resolve(resolver, name)
        self.assertEqual(self.asked(), 2)
        self.serve("192.0.2.1")
        self.assertEqual(self.answers, [["192.0.2.1"]] * 3)

    def test_cancel(self) -> None:
        """
        Who cancels is not answered; when all have, the lookup is given up.
        """
        resolver = self.resolver()
        one, two = self.resolve(resolver), self.resolve(resolver)
        one.cancel()
        self.assertEqual(len(self.reactor.open), 2)
        two.cancel()
        self.assertEqual((self.reactor.open, self.reactor.getDelayedCalls(), self.answers), ([], [], []))
        self.resolve(resolver)
        self.serve("192.0.2.1")
        self.assertEqual(self.answers, [["192.0.2.1"]])

    def test_who_cannot_take_it(self) -> None:
        """
        One who fails over the answer is logged, and the others get theirs.
        """
        resolver = self.resolver()
        resolver.resolve("a.example", lambda answer: [].pop())
        self.resolve(resolver)
        self.serve("192.0.2.1")
        self.assertEqual(self.answers, [["192.0.2.1"]])
        self.assertEqual(len(self.flushLoggedErrors(IndexError)), 1)

    def test_asked_again_while_answered(self) -> None:
        """
        Who is answered may ask again at once.
        """
        resolver = self.resolver()
        resolver.resolve("a.example", lambda answer: self.resolve(resolver))
        self.serve("192.0.2.1", ttl=0)
        self.serve("192.0.2.2")
        self.assertEqual(self.answers, [["192.0.2.2"]])

    def test_turning(self) -> None:
        """
        Each answer begins anywhere: first within each family, then over all.
        """
        resolver = self.resolver()
        self.throws = [1, 0, 0]
        self.resolve(resolver)
        self.serve("192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2")
        self.throws = [0, 1, 3]
        self.resolve(resolver)
        self.assertEqual(
            self.answers,
            [
                ["192.0.2.2", "192.0.2.1", "2001:db8::1", "2001:db8::2"],
                ["2001:db8::1", "192.0.2.1", "192.0.2.2", "2001:db8::2"],
            ],
        )

    def test_servers_take_turns(self) -> None:
        """
        Each lookup begins with the next server, and both of its questions with the same.
        """
        resolver = self.resolver(ONE, TWO)
        for name in ("a.example", "b.example", "c.example"):
            self.resolve(resolver, name)
        hosts = [port.peer[0] for port in self.reactor.ports if port.peer is not None]
        self.assertEqual(hosts, [host for host in ("192.0.2.53", "192.0.2.54", "192.0.2.53") for _ in range(2)])

    def test_next_server(self) -> None:
        """
        A server that is not there is logged, and the next one asked.
        """
        self.resolve(self.resolver(ONE, TWO, ipv6=False))
        self.reactor.ports[0].refuse()
        self.reactor.ports[1].answer([Record_A("192.0.2.1")])
        self.assertEqual(self.answers, [["192.0.2.1"]])
        self.assertEqual([level for level, _ in self.lines], [ERROR])

    def test_close(self) -> None:
        """
        A resolver that is closed releases all, and answers nobody.
        """
        resolver = self.resolver()
        self.patch(under_test, "MAX_LOOKUPS", 1)
        self.resolve(resolver)
        self.resolve(resolver, "b.example")
        resolver.close()
        self.assertEqual((self.reactor.open, self.reactor.getDelayedCalls(), self.answers), ([], [], []))

    def test_quiet_by_itself(self) -> None:
        """
        Without a log and dice a resolver still works, and its numbers are not foretold.
        """
        resolver = Resolver(ResolverSettings((ONE,)), self.reactor)
        for n in range(8):
            self.resolve(resolver, f"{n}.example")
        self.assertGreater(len({port.sent[0][:2] for port in self.reactor.open}), 10)
        self.reactor.open[0].refuse()
        self.serve("192.0.2.1", "192.0.2.2")
        self.assertEqual(sorted(self.answers[0]), ["192.0.2.1", "192.0.2.2"])


class CapsTests(ResolverCase):
    """
    Names that come from clients cannot use up anything.
    """

    def test_lookups_are_capped(self) -> None:
        """
        Lookups beyond the cap wait for one that ends, in order, and within their own time.
        """
        self.patch(under_test, "MAX_LOOKUPS", 2)
        resolver = self.resolver(ipv6=False, timeout=9.0)
        waits = [self.resolve(resolver, f"{n}.example") for n in range(6)]
        self.assertEqual([port.query().name.name for port in self.reactor.open], [b"0.example", b"1.example"])
        waits[2].cancel()
        self.reactor.open[0].answer([Record_A("192.0.2.1")])
        self.assertEqual([port.query().name.name for port in self.reactor.open], [b"1.example", b"3.example"])
        waits[1].cancel()
        self.assertEqual([port.query().name.name for port in self.reactor.open], [b"3.example", b"4.example"])
        self.reactor.advance(9)
        self.assertEqual(self.answers, [["192.0.2.1"]] + [TIMED_OUT] * 3)
        self.assertEqual((self.reactor.open, self.reactor.getDelayedCalls()), ([], []))

    def test_queued_lookup_is_shared(self) -> None:
        """
        A name that waits for its turn is looked up once for all.
        """
        self.patch(under_test, "MAX_LOOKUPS", 1)
        resolver = self.resolver(ipv6=False)
        for name in ("a.example", "b.example", "b.example"):
            self.resolve(resolver, name)
        self.serve("192.0.2.1")
        self.serve("192.0.2.2")
        self.assertEqual(self.answers, [["192.0.2.1"], ["192.0.2.2"], ["192.0.2.2"]])

    def test_memory_is_capped(self) -> None:
        """
        Of too many names the one that was not asked for the longest is forgotten.
        """
        self.patch(under_test, "MAX_KEPT", 2)
        resolver = self.resolver(ipv6=False)
        for name in ("a.example", "b.example", "a.example", "c.example"):
            self.resolve(resolver, name)
            self.serve("192.0.2.1")
        self.assertEqual(self.asked(), 3)
        self.resolve(resolver, "a.example")
        self.assertEqual(self.asked(), 3)
        self.resolve(resolver, "b.example")
        self.assertEqual(self.asked(), 4)


class Around:
    """
    The blocks that a resolver stands in.
    """

    name = "around"
    directives = (
        Directive("stream", ("main",), (0, 0), block, None, opens="stream"),
        Directive("server", ("stream",), (0, 0), block, None, opens="stream.server", inherit=Inherit.NEVER),
    )
    variables = ()

    def prepare(self, build: Build) -> None:
        """
        Nothing.
        """


class DirectiveTests(SynchronousTestCase):
    """
    What is configured.
    """

    def lookup(self, host: str) -> tuple[str, ...]:
        """
        One name has two addresses.
        """
        if host != "ns.example":
            raise OSError
        return ("192.0.2.1", "2001:db8::1")

    def build(self, text: str) -> Build:
        """
        A configuration with this in its stream block.
        """
        return configure(f"stream {{ {text} }}", [Around(), resolver_module], file="edge.conf", lookup=self.lookup)

    def settings(self, text: str) -> ResolverSettings | None:
        """
        What is in force in the server of a configuration.
        """
        (stream,) = self.build(text).root.inside("stream")
        (server,) = stream.inside("stream.server")
        return resolver(server)

    def test_interfaces(self) -> None:
        """
        The module is a plugin that needs nothing of a server.
        """
        self.assertTrue(verifyObject(IModule, resolver_module))
        self.assertTrue(IPlugin.providedBy(resolver_module))
        self.assertIsNone(resolver_module.attach(None, None))  # type: ignore[func-returns-value, arg-type]

    def test_none(self) -> None:
        """
        Without the directive there is no resolver.
        """
        self.assertIsNone(self.settings("resolver_timeout 5s; server { }"))

    def test_defaults(self) -> None:
        """
        A server is asked on port 53, for both families, for 30 seconds, and believed for as long as it says.
        """
        self.assertEqual(
            self.settings("resolver 192.0.2.53; server { }"),
            ResolverSettings((Address("inet", "192.0.2.53", 53),), None, True, True, 30.0),
        )

    def test_all_parameters(self) -> None:
        """
        Servers may be addresses and names with and without ports; each address of a name is a server.
        """
        self.assertEqual(
            self.settings("resolver 192.0.2.53:54 [::1] [::1]:55 ns.example:56 valid=5m ipv6=off ipv4=on; server { }"),
            ResolverSettings(
                (
                    Address("inet", "192.0.2.53", 54),
                    Address("inet6", "::1", 53),
                    Address("inet6", "::1", 55),
                    Address("inet", "192.0.2.1", 56),
                    Address("inet6", "2001:db8::1", 56),
                ),
                300.0,
                True,
                False,
            ),
        )

    def test_inheritance(self) -> None:
        """
        The server's own directives count before those around it, each by itself.
        """
        text = "resolver 192.0.2.53; resolver_timeout 3s; server { resolver_timeout 500ms; }"
        self.assertEqual(self.settings(text), ResolverSettings((ONE,), timeout=0.5))
        text = "resolver 192.0.2.53; resolver_timeout 3s; server { resolver 192.0.2.54; }"
        self.assertEqual(self.settings(text), ResolverSettings((TWO,), timeout=3.0))

    def test_equal_settings_are_equal(self) -> None:
        """
        Settings can be keys: what one directive said is one key in every server.
        """
        text = "resolver 192.0.2.53 valid=1s; server { }"
        self.assertEqual(len({self.settings(text), self.settings(text)}), 1)

    def test_faults(self) -> None:
        """
        What is wrong is told in nginx's words.
        """
        for text, complaint in (
            ("192.0.2.53 valid=x", "invalid parameter: valid=x"),
            ("192.0.2.53 ipv4=x", "invalid parameter: ipv4=x"),
            ("192.0.2.53 ipv6=", "invalid parameter: ipv6="),
            ("192.0.2.53 ipv4=off ipv6=off", '"ipv4" and "ipv6" cannot both be "off"'),
            ("valid=5s", "no name servers defined"),
            ("nowhere.example", 'host not found in resolver "nowhere.example"'),
            (
                "192.0.2.53 status_zone=z",
                f'"status_zone" parameter is not supported by sniproxy: {SOLD}',
            ),
            ("bogus=1", 'host not found in resolver "bogus=1"'),
            ("192.0.2.53:x", 'invalid port in resolver "192.0.2.53:x"'),
            ("unix:/s", 'invalid host in resolver "unix:/s"'),
        ):
            errors = self.assertRaises(ConfigErrors, self.build, f"resolver {text};").errors
            self.assertEqual([error.message for error in errors], [complaint])

    def test_http(self) -> None:
        """
        It stands in the blocks of http as well, a group of peers included.
        """
        group_block = Directive("upstream", ("http",), (1, 1), block, None, opens="http.upstream")
        world = Places(
            "resolver 192.0.2.1; server { location / { resolver 192.0.2.2; } } upstream b { resolver 192.0.2.3; }",
            [resolver_module, Declared(group_block)],
        )
        found = [resolver(place.scope) for place in world.places]
        (http,) = world.build.root.inside("http")
        (group,) = http.inside("http.upstream")
        hosts = [each.servers[0].host for each in (*found, resolver(group)) if each is not None]
        self.assertEqual(hosts, ["192.0.2.1", "192.0.2.2", "192.0.2.3"])


class RealTests(TestCase):
    """
    Over real sockets, against a real name server.
    """

    ZONE = """
        a.example A 192.0.2.1
        a.example AAAA 2001:db8::1
        alias.example CNAME a.example
        big.example TRUNCATE
        big.example A 192.0.2.2
        gone.example NXDOMAIN
        bad.example SERVFAIL
    """

    def setUp(self) -> None:
        self.server = NameServer(lambda: self.ZONE, real_reactor)
        port = self.server.listen()
        # nothing listens on port 1: the first question to it moves on to the real server
        servers = (Address("inet", "127.0.0.1", 1), Address("inet", "127.0.0.1", port))
        self.resolver = Resolver(ResolverSettings(servers, timeout=20.0), real_reactor, dice=lambda sides: sides - 1)
        self.addCleanup(self.stop)

    def stop(self) -> Deferred[Any]:
        """
        Close all.
        """
        self.resolver.close()
        return gatherResults([each for each in self.server.close() if each is not None])

    def answer(self, name: str) -> Deferred[Any]:
        """
        Resolve a name.
        """
        answered: Deferred[Any] = Deferred()
        self.resolver.resolve(name, answered.callback)
        return answered

    async def test_all(self) -> None:
        """
        Addresses, aliases, truncated answers and refusals come from a real server as they do in memory.
        """
        both = ["192.0.2.1", "2001:db8::1"]
        self.assertEqual(sorted(await self.answer("a.example")), both)
        self.assertEqual(sorted(await self.answer("Alias.Example")), both)
        self.assertEqual(await self.answer("big.example"), ["192.0.2.2"])
        self.assertEqual(self.server.asked["big.example", "A", "tcp"], 1)
        self.assertEqual(str(await self.answer("gone.example")), "(3: Host not found)")
        self.assertEqual(str(await self.answer("bad.example")), "(2: Server failure)")
        await self.answer("a.example")
        self.assertEqual(self.server.asked["a.example", "A", "udp"], 1)
