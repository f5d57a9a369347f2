"""
Tests for L{sniproxy.common.upstream}.
"""

from __future__ import annotations

from twisted.plugin import IPlugin
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sniproxy.addresses import Address
from sniproxy.balancing.peers import Peer
from sniproxy.balancing.round_robin import RoundRobin
from sniproxy.common.keepalive import DEFAULT
from sniproxy.common.upstream import (
    Upstream,
    balance_with,
    groups,
    implicit,
    literal,
    upstream,
)
from sniproxy.config.build import Build, configure
from sniproxy.config.directives import Directive, Inherit, Scope
from sniproxy.config.grammar import Node
from sniproxy.config.values import block
from sniproxy.errors import ConfigErrors
from sniproxy.interfaces import IBalancer, IModule
from tests.support.places import Places
from tests.support.sessions import lone_session

NODE = Node("proxy_pass", ("x",), (False, False), None, "edge.conf", 9)

NAMES = {"two.example": ("192.0.2.1", "2001:db8::1"), "odd.example": ("not numeric",)}


def lookup(host: str) -> tuple[str, ...]:
    """
    The names of this test.
    """
    if host not in NAMES:
        raise OSError("Name or service not known")
    return NAMES[host]


class Last(RoundRobin):
    """
    Another way of balancing.
    """


def last(node: Node, build: Build, scope: Scope) -> bool:
    """
    What the converter of a balancing directive does.
    """
    balance_with(build, scope, Last, node)
    return True


class Around:
    """
    The C{stream} block, and a directive that chooses a way of balancing.
    """

    name = "around"
    directives = (
        Directive("stream", ("main",), (0, 0), block, None, opens="stream"),
        Directive("last", ("stream.upstream",), (0, 0), last, False, inherit=Inherit.NEVER),
        Directive("last_again", ("stream.upstream",), (0, 0), last, False, inherit=Inherit.NEVER),
    )
    variables = ()

    def prepare(self, build: Build) -> None:
        """
        Nothing.
        """


def build(text: str) -> Build:
    """
    A configuration with this inside its stream block.
    """
    return configure("stream {\n" + text + "\n}", [Around(), upstream], file="edge.conf", lookup=lookup)


class Case(SynchronousTestCase):
    """
    What tests of this module share.
    """

    def complaints(self, text: str) -> list[str]:
        """
        What is wrong with a configuration.
        """
        return [str(error) for error in self.assertRaises(ConfigErrors, build, text).errors]

    def peers(self, group: Upstream) -> list[tuple[str, str]]:
        """
        Address and server text of each peer of a group.
        """
        return [(peer.name, peer.server) for peer in group.group.peers]


class GroupsTests(Case):
    """
    Groups that are written down.
    """

    def test_interfaces(self) -> None:
        """
        The module is a plugin, and groups have balancers.
        """
        self.assertTrue(verifyObject(IModule, upstream))
        self.assertTrue(IPlugin.providedBy(upstream))
        self.assertTrue(verifyObject(IBalancer, literal([Address("unix", "/s")]).balancer()))
        self.assertIsNone(upstream.attach(None, None))  # type: ignore[func-returns-value, arg-type]

    def test_defaults(self) -> None:
        """
        A server without parameters has nginx's defaults.
        """
        found = groups(build("upstream Back { server 192.0.2.1:443; }"))
        (peer,) = found["back"].group.peers
        self.assertEqual(found["back"].name, "Back")
        self.assertEqual(peer.address, Address("inet", "192.0.2.1", 443))
        self.assertEqual(
            (peer.weight, peer.max_conns, peer.max_fails, peer.fail_timeout, peer.backup, peer.down),
            (1, 0, 1, 10.0, False, False),
        )

    def test_parameters(self) -> None:
        """
        Each parameter of a server reaches its peers.
        """
        text = "server [::1]:1 weight=5 max_conns=7 max_fails=0 fail_timeout=1m; server unix:/s backup down;"
        group = groups(build(f"upstream b {{ {text} }}"))["b"].group
        (peer,) = group.peers
        self.assertEqual((peer.name, peer.weight, peer.max_conns), ("[::1]:1", 5, 7))
        self.assertEqual((peer.max_fails, peer.fail_timeout), (0, 60.0))
        assert group.backup is not None
        (peer,) = group.backup.peers
        self.assertEqual((peer.address, peer.backup, peer.down), (Address("unix", "/s"), True, True))

    def test_each_address_is_a_peer(self) -> None:
        """
        A name is looked up at start-up, and each of its addresses is a peer with the server's weight.
        """
        group = groups(build("upstream b { server two.example:8 weight=3; }"))["b"]
        self.assertEqual(self.peers(group), [("192.0.2.1:8", "two.example:8"), ("[2001:db8::1]:8", "two.example:8")])
        self.assertEqual([peer.weight for peer in group.group.peers], [3, 3])

    def test_made_once(self) -> None:
        """
        All who ask for the groups of one configuration get the same ones, and those of another get others.
        """
        text = "upstream b { server 192.0.2.1:1; }"
        one, other = build(text), build(text)
        self.assertIs(groups(one)["b"], groups(one)["b"])
        self.assertIsNot(groups(one)["b"], groups(other)["b"])

    def test_wrong_parameters(self) -> None:
        """
        A parameter nginx does not know, or a value it does not take, is refused in its words and with its line.
        """
        for word in (
            "weight=0",
            "weight=-1",
            "weight=x",
            "weight=",
            "weight",
            "max_conns=x",
            "max_fails=x",
            "fail_timeout=x",
            "fail_timeout=5ms",
            "backup=1",
            "bogus",
            "bogus=1",
            "resolve=1",
            "service",
        ):
            self.assertEqual(
                self.complaints(f"upstream b {{\nserver 192.0.2.1:1 {word}; }}"),
                [f'invalid parameter "{word}" in edge.conf:3'],
            )

    def test_parameter_not_carried(self) -> None:
        """
        What nginx sells and we do not have is refused by its name, with the reason.
        """
        (complaint,) = self.complaints("upstream b { server 192.0.2.1:1 slow_start=5s; }")
        self.assertEqual(
            complaint,
            '"slow_start" parameter is not supported by sniproxy: nginx sells it, and sniproxy does not have it yet'
            " in edge.conf:2",
        )

    def test_names_at_run_time(self) -> None:
        """
        A name with resolve is not looked up at start-up, and has no peers yet; an address needs no resolving.
        """
        text = "server later.example:8 resolve weight=3; server _x.later.example service=http resolve backup;"
        found = groups(build(f"upstream b {{ {text} server 192.0.2.1:1 resolve; }}"))["b"]
        self.assertEqual(self.peers(found), [("192.0.2.1:1", "192.0.2.1:1")])
        name, service, address = found.lines
        self.assertEqual((name.host, name.port, name.service, name.weight), ("later.example", 8, "", 3))
        self.assertEqual((service.host, service.port, service.service), ("_x.later.example", 0, "http"))
        self.assertEqual((address.host, address.addresses), ("", (Address("inet", "192.0.2.1", 1),)))

    def test_wrong_names_at_run_time(self) -> None:
        """
        What is wrong with a service is told in nginx's words.
        """
        for server, complaint in (
            ("a.example service=http", 'service upstream "a.example" requires "resolve" parameter'),
            ("a.example:1 service=http resolve", 'service upstream "a.example:1" may not have port'),
            ("192.0.2.1 service=http resolve", 'service upstream "192.0.2.1" requires domain name'),
            ("a.example service= resolve", "service is empty"),
            ("a.example resolve", 'no port in upstream "a.example"'),
        ):
            self.assertEqual(self.complaints(f"upstream b {{ server {server}; }}"), [f"{complaint} in edge.conf:2"])

    def test_others_from_now_on(self) -> None:
        """
        A group can be given other peers, and those who look at it see them.
        """
        found = groups(build("upstream b { server 192.0.2.1:1; server 192.0.2.1:2 backup; }"))["b"]
        self.assertEqual(len(found.peers), 2)
        found.renew(found.peers[:1])
        self.assertEqual((found.group.peers, found.group.backup), (found.peers, None))

    def test_wrong_addresses(self) -> None:
        """
        Addresses that mean nothing, have no port or cannot be looked up are refused in nginx's words.
        """
        for address, complaint in (
            ("192.0.2.1", "no port"),
            ("nowhere.example:1", "host not found"),
            ("192.0.2.1:0", "invalid port"),
        ):
            self.assertEqual(
                self.complaints(f"upstream b {{\nserver {address}; }}"),
                [f'{complaint} in upstream "{address}" in edge.conf:3'],
            )

    def test_wrong_groups(self) -> None:
        """
        Empty groups, groups of backups alone, and two groups of one name in any case are refused.
        """
        self.assertEqual(self.complaints("upstream b {\n }"), ["no servers are inside upstream in edge.conf:3"])
        self.assertEqual(
            self.complaints("upstream b { server 192.0.2.1:1 backup; }"), ['no servers in upstream "b" in edge.conf:2']
        )
        self.assertEqual(
            self.complaints("upstream b { server 192.0.2.1:1; }\nupstream B { server 192.0.2.1:1; }"),
            ['duplicate upstream "B" in edge.conf:3'],
        )

    def test_another_method(self) -> None:
        """
        A directive inside the block chooses how it is balanced; a second one is a warning, and counts.
        """
        found = build("upstream b { last; last_again; server 192.0.2.1:1; } upstream c { server 192.0.2.1:1; }")
        self.assertIs(type(groups(found)["b"].balancer()), Last)
        self.assertIs(type(groups(found)["c"].balancer()), RoundRobin)
        self.assertEqual([str(one) for one in found.warnings], ["load balancing method redefined in edge.conf:2"])


class UnwrittenTests(Case):
    """
    Groups that nobody wrote down.
    """

    def test_host_and_port(self) -> None:
        """
        The group of a name has each of its addresses.
        """
        group = implicit(build(""), "two.example", 22, NODE)
        self.assertEqual(
            self.peers(group), [("192.0.2.1:22", "two.example:22"), ("[2001:db8::1]:22", "two.example:22")]
        )
        self.assertEqual(group.name, "two.example")

    def test_numeric(self) -> None:
        """
        A numeric host is looked up nowhere, brackets or not.
        """
        for host, name in (("192.0.2.9", "192.0.2.9:1"), ("[::1]", "[::1]:1"), ("::1", "[::1]:1")):
            self.assertEqual([peer.name for peer in implicit(build(""), host, 1, NODE).group.peers], [name])

    def test_made_once(self) -> None:
        """
        One host and port is one group, with one memory of failures.
        """
        made = build("")
        one = implicit(made, "two.example", 22, NODE)
        self.assertIs(implicit(made, "Two.example", 22, NODE), one)
        self.assertIsNot(implicit(made, "two.example", 23, NODE), one)

    def test_faults(self) -> None:
        """
        What is wrong is told once, with the place of the directive, and the group is empty.
        """
        for host, port, complaint in (
            ("nowhere.example", 1, 'host not found in upstream "nowhere.example"'),
            ("odd.example", 1, 'host not found in upstream "odd.example"'),
            ("two.example", None, 'no port in upstream "two.example"'),
            ("2001:db8::1", None, 'no port in upstream "[2001:db8::1]"'),
            ("Back", 1, 'upstream "Back" may not have port 1'),
        ):
            made = build("upstream back { server 192.0.2.1:1; }")
            for _ in range(2):
                self.assertEqual(implicit(made, host, port, NODE).group.peers, ())
            self.assertEqual([str(error) for error in made.errors], [f"{complaint} in edge.conf:9"])

    def test_literal(self) -> None:
        """
        Addresses found at run time are a group under the host's name, or the first address.
        """
        addresses = [Address("inet", "192.0.2.1", 1), Address("unix", "/s")]
        self.assertEqual(literal(addresses).name, "192.0.2.1:1")
        group = literal(addresses, "a.example")
        self.assertEqual((group.name, [peer.address for peer in group.group.peers]), ("a.example", addresses))


class SessionTests(Case):
    """
    Groups in use.
    """

    def setUp(self) -> None:
        self.lines: list[str] = []
        self.session = lone_session(lines=self.lines, action="")

    def test_failures_are_logged_in_the_session(self) -> None:
        """
        A peer that is put aside is a warning in the log of the session, and comes back by the session's clock.
        """
        group = Upstream("b", [Peer(Address("inet", "192.0.2.1", 1)), Peer(Address("inet", "192.0.2.1", 2))])
        choice = group.begin(self.session)
        self.assertEqual(choice.next(), group.group.peers[0])
        choice.release(True)
        (line,) = self.lines
        self.assertTrue(line.startswith("[warn] *1 upstream server temporarily disabled, client: "), line)
        self.assertNotIn(group.group.peers[0], [group.begin(self.session).next() for _ in range(3)])
        self.session.runtime.now = lambda: 10.5
        self.assertIn(group.group.peers[0], [group.begin(self.session).next() for _ in range(3)])


class HttpTests(Case):
    """
    Groups of http.
    """

    def test_apart(self) -> None:
        """
        Groups of one name in stream and http are two.
        """
        text = "stream { upstream b { server 192.0.2.1:22; } } http { upstream B { server 192.0.2.2:8080; } }"
        found = Places(text, [upstream]).build
        self.assertEqual(self.peers(groups(found)["b"]), [("192.0.2.1:22", "192.0.2.1:22")])
        self.assertEqual(self.peers(groups(found, "http")["b"]), [("192.0.2.2:8080", "192.0.2.2:8080")])
        self.assertEqual((groups(found)["b"].keepalive, groups(found, "http")["b"].keepalive), (None, DEFAULT))

    def test_default_port(self) -> None:
        """
        A server without a port is on port 80, whether it is looked up now or later.
        """
        lines = "server 192.0.2.1; server [::1]; server two.example; server unix:/s; server d.example resolve;"
        found = groups(Places(f"upstream b {{ {lines} }}", [upstream], names=NAMES).build, "http")["b"]
        self.assertEqual(
            self.peers(found),
            [
                ("192.0.2.1:80", "192.0.2.1"),
                ("[::1]:80", "[::1]"),
                ("192.0.2.1:80", "two.example"),
                ("[2001:db8::1]:80", "two.example"),
                ("unix:/s", "unix:/s"),
            ],
        )
        self.assertEqual([(line.host, line.port) for line in found.lines if line.host], [("d.example", 80)])

    def test_faults(self) -> None:
        """
        What is not carried is refused by its name; in stream it means nothing.
        """
        for line in ("server 192.0.2.1 route=a;", "server 192.0.2.1 drain;"):
            word = "route" if "route" in line else "drain"
            problem: ConfigErrors = self.assertRaises(ConfigErrors, Places, f"upstream b {{ {line} }}", [upstream])
            self.assertEqual(
                str(problem.errors[0]),
                f'"{word}" parameter is not supported by sniproxy: sessions are not sticky yet in /etc/edge.conf:2',
            )
        self.assertEqual(
            self.complaints("upstream b { server 192.0.2.1:1 drain; }")[0], 'invalid parameter "drain" in edge.conf:2'
        )

    def test_implicit(self) -> None:
        """
        A host has a group of its own in http, which keeps connections, and may not bear the name of one there.
        """
        text = "stream { upstream s { server 192.0.2.1:1; } } http { upstream h { server 192.0.2.1; } }"
        made = Places(text, [upstream], names=NAMES).build
        group = implicit(made, "two.example", 80, NODE, "http")
        self.assertEqual((len(group.peers), group.keepalive), (2, DEFAULT))
        self.assertIs(implicit(made, "two.example", 80, NODE, "http"), group)
        self.assertIsNot(implicit(made, "two.example", 80, NODE), group)
        implicit(made, "h", 80, NODE, "http")
        implicit(made, "nobody", 80, NODE, "http")
        self.assertEqual(
            [error.message for error in made.errors],
            ['upstream "h" may not have port 80', 'host not found in upstream "nobody"'],
        )
