"""
Tests for L{sniproxy.common.upstream_zone}.
"""

from __future__ import annotations

from typing import Any

from twisted.names.dns import Record_A, Record_SRV
from twisted.plugin import IPlugin
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sniproxy.common.resolver import Resolver
from sniproxy.common.shared_memory import shares
from sniproxy.common.upstream import Upstream, groups
from sniproxy.common.upstream_zone import upstream_zone
from sniproxy.errors import ConfigErrors
from sniproxy.interfaces import IModule
from tests.support.datagrams import FakePort
from tests.support.sessions import World, configured
from tests.support.tables import together

RESOLVER = "resolver 192.0.2.53 ipv6=off; resolver_timeout 20s;"
GROUP = "upstream back {{ zone back 64k; {resolver} {servers} }} server {{ listen 192.0.2.1:443; proxy_pass back; }}"


class ZoneCase(SynchronousTestCase):
    """
    What tests of this module share. Answers are given in their own order, and not beginning anywhere.
    """

    def setUp(self) -> None:
        self.patch(Resolver, "_turned", lambda resolver, addresses: list(addresses))

    def complaints(self, text: str) -> list[str]:
        """
        What is wrong with the inside of a stream block, which begins in the second line.
        """
        return [str(each) for each in self.assertRaises(ConfigErrors, configured, f"stream {{\n{text}\n}}").errors]


class ZoneTests(ZoneCase):
    """
    The directive.
    """

    def test_interfaces(self) -> None:
        """
        The module is a plugin, and does nothing in a server.
        """
        self.assertTrue(verifyObject(IModule, upstream_zone))
        self.assertTrue(IPlugin.providedBy(upstream_zone))
        self.assertIsNone(upstream_zone.attach(None, None))  # type: ignore[func-returns-value, arg-type]

    def test_accepted(self) -> None:
        """
        A zone has a name and a size, which may be said in another group; no two sizes.
        """
        configured(
            "stream { upstream b { zone z; server 192.0.2.1:1; } upstream c { zone z 64k; server 192.0.2.1:1; } }"
        )

    def test_faults(self) -> None:
        """
        Its faults are told as nginx tells them.
        """
        for zone, complaint in (
            ('"" 64k', 'invalid zone name ""'),
            ("b x", 'invalid zone size "x"'),
            ("b 32767", 'zone "b" is too small'),
            ("b", 'zero size shared memory zone "b"'),
        ):
            self.assertEqual(
                self.complaints(f"upstream b {{ zone {zone}; server 192.0.2.1:1; }}"),
                [f"{complaint} in /etc/edge.conf:2"],
            )
        self.assertEqual(
            self.complaints(
                "upstream b { zone z 64k; server 192.0.2.1:1; }\nupstream c { zone z 32k; server 192.0.2.1:1; }"
            ),
            ['the size 32768 of shared memory zone "z" conflicts with already declared size 65536 in /etc/edge.conf:3'],
        )

    def test_kinds(self) -> None:
        """
        A zone of groups of stream is none of groups of http.
        """
        text = (
            "stream {{ upstream b {{ zone z 64k; server 192.0.2.1:1; }} }} http {{ upstream b {{ zone {} 64k; {} }} }}"
        )
        problem: ConfigErrors = self.assertRaises(ConfigErrors, configured, text.format("z", "server 192.0.2.1;"))
        self.assertEqual(
            [each.message for each in problem.errors],
            ['the shared memory zone "z" is already declared for a different use'],
        )
        configured(text.format("y", "server 192.0.2.1;"))
        problem = self.assertRaises(ConfigErrors, configured, text.format("y", "server a.example resolve;"))
        self.assertIn("no resolver defined to resolve names at run time", problem.errors[0].message)

    def test_what_names_need(self) -> None:
        """
        Names at run time need a zone and a resolver, the group's own or the one around it.
        """
        line = "server a.example:1 resolve;"
        self.assertEqual(
            self.complaints(f"{RESOLVER} upstream b {{ {line} }}"),
            ['resolving names at run time requires upstream "b" in /etc/edge.conf:2 to be in shared memory'],
        )
        self.assertEqual(
            self.complaints(f"upstream b {{ zone z 64k; {line} }}"),
            ['no resolver defined to resolve names at run time in upstream "b" in /etc/edge.conf:2'],
        )
        configured(f"stream {{ {RESOLVER} upstream b {{ zone z 64k; {line} }} }}")
        configured(f"stream {{ upstream b {{ zone z 64k; {RESOLVER} {line} }} }}")


class ResolveTests(ZoneCase):
    """
    Peers by names.
    """

    def world(self, servers: str, resolver: str = RESOLVER, before: World | None = None) -> World:
        """
        A group of these servers; its first questions have been asked.
        """
        engine = None if before is None else before.engine
        world = World(GROUP.format(servers=servers, resolver=resolver), engine=engine)
        world.reactor.advance(0.01)
        return world

    def group(self, world: World) -> Upstream:
        """
        The group.
        """
        return groups(world.build)["back"]

    def peers(self, world: World) -> list[str]:
        """
        The names of its peers, with a plus for backups.
        """
        group = self.group(world).group
        backups = group.backup.peers if group.backup is not None else ()
        return [peer.name for peer in group.peers] + [f"+{peer.name}" for peer in backups]

    def port(self, world: World) -> FakePort:
        """
        The one open question.
        """
        (port,) = world.reactor.open
        return port

    def answer(self, world: World, *hosts: str, **settings: Any) -> None:
        """
        The name server tells these addresses.
        """
        self.port(world).answer([Record_A(host) for host in hosts], **settings)

    def test_found_soon(self) -> None:
        """
        A name is asked for as soon as the program runs; until the answer has come nobody is live.
        """
        world = self.world("server a.example:80 resolve weight=3;")
        client = world.client()
        self.assertTrue(client.closed)
        self.assertIn("[error] *1 no live upstreams while connecting to upstream", world.lines[-1])
        self.assertEqual(self.port(world).query().name.name, b"a.example")
        self.answer(world, "192.0.2.1", "192.0.2.2")
        self.assertEqual(self.peers(world), ["192.0.2.1:80", "192.0.2.2:80"])
        self.assertEqual([(peer.weight, peer.server) for peer in self.group(world).peers], [(3, "a.example:80")] * 2)
        world.client()
        self.assertEqual(world.attempt().address.text, "192.0.2.1:80")

    def test_changes(self) -> None:
        """
        When the answer is not good any more the name is asked for again; who stays keeps what is known of him.
        """
        world = self.world("server 192.0.2.9:9; server a.example:80 resolve;")
        self.answer(world, "192.0.2.1", "192.0.2.2", ttl=30)
        kept = self.group(world).peers[2]
        kept.fails, kept.conns = 7, 5
        world.reactor.advance(30.9)
        self.assertEqual(world.reactor.open, [])
        world.reactor.advance(0.2)
        self.answer(world, "192.0.2.3", "192.0.2.2", ttl=30)
        self.assertEqual(self.peers(world), ["192.0.2.9:9", "192.0.2.2:80", "192.0.2.3:80"])
        self.assertIs(self.group(world).peers[1], kept)
        self.assertEqual((kept.fails, kept.conns), (7, 5))

    def test_sessions_go_on(self) -> None:
        """
        A session whose peer goes away goes on, and one that is looking for a peer tries those it began with.
        """
        world = self.world("server a.example:80 resolve;")
        self.answer(world, "192.0.2.1", "192.0.2.2", ttl=1)
        stays = world.client(b"x")
        upstream = world.attempt().succeed()
        tries = world.client()
        world.reactor.advance(2.1)
        self.answer(world, "192.0.2.3")
        self.assertEqual(self.peers(world), ["192.0.2.3:80"])
        upstream.arrive(b"y")
        self.assertEqual(stays.taken(), b"y")
        world.attempt().fail()
        self.assertEqual(world.attempt().address.text, "192.0.2.1:80")
        world.attempt().succeed()
        tries.end()
        stays.end()
        self.assertEqual([peer.conns for peer in self.group(world).peers], [0])

    def test_gone(self) -> None:
        """
        A name that does not exist any more has no peers, and is asked for again after a while.
        """
        world = self.world("server a.example:80 resolve; server 192.0.2.9:9 backup;")
        self.answer(world, "192.0.2.1", ttl=1)
        world.reactor.advance(2.1)
        self.answer(world, code=3)
        self.assertEqual(self.peers(world), ["+192.0.2.9:9"])
        self.assertEqual(world.lines[-1], "[error] a.example could not be resolved (3: Host not found)")
        world.reactor.advance(10.9)
        self.assertEqual(world.reactor.open, [])
        world.reactor.advance(0.2)
        self.answer(world, "192.0.2.1")
        self.assertEqual(self.peers(world), ["192.0.2.1:80", "+192.0.2.9:9"])

    def test_no_answer(self) -> None:
        """
        While name servers fail or are silent the peers stay, and the name is asked for again.
        """
        world = self.world("server a.example:80 resolve;")
        self.answer(world, "192.0.2.1", ttl=1)
        world.reactor.advance(2.1)
        self.answer(world, code=2)
        self.assertEqual(world.lines[-1], "[error] a.example could not be resolved (2: Server failure)")
        self.assertEqual((self.peers(world), world.reactor.open), (["192.0.2.1:80"], []))
        world.reactor.advance(20.1)
        self.port(world)
        world.reactor.pump([1.0] * 21)
        self.assertEqual(world.lines[-1], "[error] a.example could not be resolved (110: Operation timed out)")
        world.reactor.pump([1.0] * 20)
        self.answer(world, "192.0.2.4")
        self.assertEqual(self.peers(world), ["192.0.2.4:80"])

    def test_valid(self) -> None:
        """
        With valid= the name is asked for that often, whatever answers say.
        """
        world = self.world("server a.example:80 resolve;", "resolver 192.0.2.53 ipv6=off valid=5s;")
        self.answer(world, "192.0.2.1", ttl=3600)
        world.reactor.advance(6.1)
        self.answer(world, code=3)
        world.reactor.advance(6.1)
        self.port(world)

    def test_shared_answers(self) -> None:
        """
        Two lines with one name ask once, and each has its own port.
        """
        world = self.world("server a.example:80 resolve; server a.example:81 resolve down;")
        self.answer(world, "192.0.2.1")
        self.assertEqual(self.peers(world), ["192.0.2.1:80", "192.0.2.1:81"])
        self.assertEqual([peer.down for peer in self.group(world).peers], [False, True])
        world.reactor.advance(61.1)
        self.answer(world, "192.0.2.2")
        self.assertEqual(self.peers(world), ["192.0.2.2:80", "192.0.2.2:81"])

    def test_answer_known_already(self) -> None:
        """
        A name whose answer the resolver has in store needs no question.
        """
        world = self.world("server a.example:80 resolve;", RESOLVER)
        self.answer(world, "192.0.2.1", ttl=60)
        later = World(GROUP.format(servers="server a.example:90 resolve;", resolver=RESOLVER), engine=world.engine)
        later.engine.kept.clear()
        self.assertEqual(self.peers(later), ["192.0.2.1:90"])

    def test_workers(self) -> None:
        """
        Workers know the same of peers, be they written down or found by each of them in its own time.
        """
        worlds = [self.world("server 192.0.2.9:9; server a.example:80 resolve max_conns=1;") for _ in range(2)]
        together(self, *(world.build for world in worlds))
        first, second = map(self.group, worlds)
        first.peers[0].fails = 7
        self.assertEqual(second.peers[0].fails, 7)
        self.answer(worlds[0], "192.0.2.1", "192.0.2.2")
        first.peers[1].enter()
        self.assertEqual(len(second.peers), 1)
        self.answer(worlds[1], "192.0.2.2", "192.0.2.1")
        self.assertEqual(
            [(peer.name, peer.full()) for peer in second.peers[1:]], [("192.0.2.2:80", False), ("192.0.2.1:80", True)]
        )

    def test_zones_of_their_own(self) -> None:
        """
        Each zone is a table, with the groups that name it; what has no zone is not shared. Each configuration begins
        anew.
        """
        group = "upstream {0} {{ {1} server 192.0.2.1:1; }}"
        zones = {"a": "zone one 64k;", "b": "zone two 32k;", "c": "zone one;", "d": ""}
        text = " ".join(group.format(name, zone) for name, zone in zones.items())
        builds = [configured(f"stream {{ {text} }}") for _ in range(2)]
        self.assertEqual([each.key[1] for each in shares(builds[0])], ["one", "two"])
        self.assertEqual([each.kept for each in shares(builds[0])], [False, False])
        together(self, *builds)
        for name, shared in zones.items():
            first, second = [groups(build)[name].peers[0] for build in builds]
            first.fails = ord(name)
            self.assertEqual(second.fails, ord(name) if shared else 0)

    def test_end(self) -> None:
        """
        When the configuration ends nothing is under way any more.
        """
        for answered in (False, True):
            world = self.world("server a.example:80 resolve;")
            if answered:
                self.answer(world, "192.0.2.1")
            world.runtime.stop()
            self.assertEqual((world.reactor.open, world.reactor.getDelayedCalls()), ([], []))

    def test_http(self) -> None:
        """
        Groups of http have names of their own, which are on port 80 where nothing else is said.
        """
        world = World(
            f"stream {{ {RESOLVER} server {{ listen 192.0.2.1:443; return x; }} }}"
            f" http {{ {RESOLVER} upstream back {{ zone back 64k; server a.example resolve; }} }}"
        )
        world.reactor.advance(0.01)
        self.answer(world, "192.0.2.7")
        self.assertEqual([peer.name for peer in groups(world.build, "http")["back"].peers], ["192.0.2.7:80"])

    def test_reload(self) -> None:
        """
        After a reload a group begins with the addresses it had, with its new port and weight, and asks in due time.
        """
        before = self.world("server a.example:80 resolve; server b.example:80 resolve;")
        for port in before.reactor.open:
            port.answer([Record_A("192.0.2.1" if port.query().name.name == b"a.example" else "192.0.2.2")], ttl=30)
        before.reactor.advance(10)
        after = self.world("server A.example:90 resolve weight=2;", before=before)
        self.assertEqual(self.peers(after), ["192.0.2.1:90"])
        self.assertEqual([(peer.weight, peer.server) for peer in self.group(after).peers], [(2, "A.example:90")])
        self.assertEqual(after.reactor.open, [])
        before.runtime.stop()
        after.reactor.advance(20.9)
        self.assertEqual(after.reactor.open, [])
        after.reactor.advance(0.2)
        self.answer(after, "192.0.2.1")
        third = self.world("server b.example:80 resolve;", before=after)
        self.assertEqual(self.peers(third), [])


class ServiceTests(ResolveTests):
    """
    Peers by services; names work beside them.
    """

    SERVICE = "server a.example service=http resolve {};"

    def serve(self, world: World, *services: tuple[int, int, int, str], **hosts: str) -> None:
        """
        The name server tells these services, and the addresses of their hosts.
        """
        self.port(world).answer(
            [Record_SRV(priority, weight, port, host.encode()) for priority, weight, port, host in services]
        )
        for port in world.reactor.open:
            host = hosts.get(port.query().name.name.decode())
            if host is None:
                port.answer(code=3)
            else:
                port.answer([Record_A(host)])

    def test_places(self) -> None:
        """
        Hosts of the first priority are peers with the port and weight of their record, all others are backups.
        """
        world = self.world(self.SERVICE.format("max_fails=3"))
        services = [(10, 0, 80, "b"), (20, 1, 81, "c"), (10, 7, 82, "d"), (30, 1, 83, "b")]
        self.serve(world, *services, b="192.0.2.1", c="192.0.2.2", d="192.0.2.3")
        self.assertEqual(self.peers(world), ["192.0.2.1:80", "192.0.2.3:82", "+192.0.2.2:81", "+192.0.2.1:83"])
        self.assertEqual(
            [(peer.server, peer.weight, peer.max_fails) for peer in self.group(world).peers],
            [("b", 1, 3), ("d", 7, 3), ("c", 1, 3), ("b", 1, 3)],
        )

    def test_weight_of_the_line(self) -> None:
        """
        A weight that is written down counts for all.
        """
        world = self.world(self.SERVICE.format("weight=4"))
        self.serve(world, (1, 9, 80, "b"), b="192.0.2.1")
        self.assertEqual([peer.weight for peer in self.group(world).peers], [4])

    def test_backup(self) -> None:
        """
        Of a backup's service the first priority is the backup, and the others are nobody.
        """
        world = self.world("server 192.0.2.9:9; " + self.SERVICE.format("backup"))
        self.serve(world, (1, 1, 80, "b"), (2, 1, 81, "c"), b="192.0.2.1", c="192.0.2.2")
        self.assertEqual(self.peers(world), ["192.0.2.9:9", "+192.0.2.1:80"])

    def test_host_without_address(self) -> None:
        """
        A host that has no address is told in the log; then the next priority is the first.
        """
        world = self.world(self.SERVICE.format(""))
        self.serve(world, (1, 1, 80, "b"), (2, 1, 81, "c"), c="192.0.2.2")
        self.assertEqual(self.peers(world), ["192.0.2.2:81"])
        self.assertEqual(
            world.lines[-1],
            "[error] b could not be resolved (3: Host not found) while resolving service http of a.example",
        )

    def test_service_fails(self) -> None:
        """
        A service that is not found is told with its name, and has nobody any more.
        """
        world = self.world(self.SERVICE.format(""))
        self.serve(world, (1, 1, 80, "b"), b="192.0.2.1")
        world.reactor.advance(61.1)
        self.port(world).answer(code=3)
        self.assertEqual(self.peers(world), [])
        self.assertEqual(world.lines[-1], "[error] service http of a.example could not be resolved (3: Host not found)")

    def test_reload_of_services(self) -> None:
        """
        After a reload a service's hosts are there at once, with the ports they had.
        """
        before = self.world(self.SERVICE.format(""))
        self.serve(before, (1, 1, 80, "b"), (2, 1, 81, "c"), b="192.0.2.1", c="192.0.2.2")
        after = self.world(self.SERVICE.format("max_conns=5"), before=before)
        self.assertEqual(self.peers(after), ["192.0.2.1:80", "+192.0.2.2:81"])
        self.assertEqual([peer.max_conns for peer in self.group(after).peers], [5, 5])
