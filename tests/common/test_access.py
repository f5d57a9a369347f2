"""
C{allow} and C{deny}.
"""

from __future__ import annotations

from twisted.plugin import IPlugin
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sniproxy.addresses import Address
from sniproxy.common.access import Rule, access, rules
from sniproxy.common.phases import DONE
from sniproxy.errors import ConfigErrors
from sniproxy.interfaces import IHttpModule, IModule
from sniproxy.levels import ERROR
from tests.support.places import FakeRequest, Places
from tests.support.sessions import World, configured

UNIX = Address("unix", "")


class AccessTestCase(SynchronousTestCase):
    """
    What the tests share.
    """

    def outcome(self, text: str, *peers: Address | str, outer: str = "") -> str:
        """
        What becomes of clients, a letter each: B{a}llowed or B{f}orbidden.
        """
        world = World(outer + "server { listen 192.0.2.1:22; return hi; " + text + "}", level=4)
        for peer in peers:
            if isinstance(peer, str):
                peer = Address("inet6" if ":" in peer else "inet", peer, 7)
            world.client(peer=peer)
        self.assertEqual(len(world.lines), world.statuses().count(403))
        return "".join({200: "a", 403: "f"}[status] for status in world.statuses())


class RulesTests(AccessTestCase):
    """
    Who may come.
    """

    def test_first_wins(self) -> None:
        """
        The first rule that fits counts, and whoever fits none may come.
        """
        text = "allow 10.0.0.1; deny 10.0.0.0/8; allow 10.0.0.0/16; deny 192.0.2.0/24;"
        self.assertEqual(self.outcome(text, "10.0.0.1", "10.0.0.2", "11.0.0.1", "192.0.2.255"), "afaf")

    def test_order_of_both(self) -> None:
        """
        Allow and deny stand in one list.
        """
        self.assertEqual(self.outcome("deny 10.0.0.1; allow all; deny 10.0.0.2;", "10.0.0.1", "10.0.0.2"), "fa")
        self.assertEqual(self.outcome("allow 10.0.0.2; deny all;", "10.0.0.1", "10.0.0.2"), "fa")

    def test_families(self) -> None:
        """
        A rule is about one family, and IPv4 behind ::ffff: is IPv4.
        """
        text = "deny 10.0.0.0/8; deny 2001:db8::/32; allow ::/0;"
        self.assertEqual(self.outcome(text, "10.1.2.3", "::ffff:10.1.2.3", "2001:db8::5", "2001:db9::", UNIX), "fffaa")

    def test_all(self) -> None:
        """
        All is every family, and unix sockets.
        """
        self.assertEqual(self.outcome("deny all;", "10.0.0.1", "::1", UNIX), "fff")

    def test_unix(self) -> None:
        """
        Clients on unix sockets have a rule of their own.
        """
        self.assertEqual(self.outcome("deny unix:;", "10.0.0.1", "::1", UNIX), "aaf")
        self.assertEqual(self.outcome("allow unix:; deny all;", "10.0.0.1", UNIX), "fa")
        self.assertEqual(self.outcome("deny 0.0.0.0/0; deny ::/0;", UNIX), "a")

    def test_inherited(self) -> None:
        """
        A server without rules has those of the outer block, one with any has its own alone.
        """
        self.assertEqual(self.outcome("", "10.0.0.1", "10.0.0.2", outer="allow 10.0.0.1; deny all;"), "af")
        self.assertEqual(self.outcome("deny 10.0.0.1;", "10.0.0.1", "10.0.0.2", outer="deny 10.0.0.2;"), "fa")
        self.assertEqual(self.outcome("allow 10.0.0.1;", "10.0.0.2", outer="deny all;"), "a")

    def test_many(self) -> None:
        """
        A hundred thousand rules are one look-up.
        """
        text = "".join(f"allow 10.{n >> 11}.{n >> 3 & 255}.{(n & 7) << 5}/28;" for n in range(100_000)) + "deny all;"
        self.assertEqual(self.outcome(text, "10.0.0.9", "10.0.0.16", "10.48.211.239", "10.48.212.0"), "afaf")


class LogTests(AccessTestCase):
    """
    What is said of it.
    """

    def test_forbidden(self) -> None:
        """
        The line is an error of the session, which ends before content.
        """
        world = World("server { listen 192.0.2.1:22; deny all; proxy_pass 192.0.2.2:22; }", level=4)
        client = world.client(b"hello")
        self.assertEqual(
            world.lines,
            [
                "[error] *1 access forbidden by rule while initializing session, client: 192.0.2.77, server:"
                " 192.0.2.1:22"
            ],
        )
        self.assertEqual((world.statuses(), client.closed, world.network.attempts), ([403], True, []))

    def test_vague(self) -> None:
        """
        Bits behind the prefix are a warning.
        """
        build = configured("stream {\nallow 10.1.2.3/8;\n}")
        self.assertEqual(
            [str(each) for each in build.warnings],
            ["low address bits of 10.1.2.3/8 are meaningless in /etc/edge.conf:2"],
        )

    def test_wrong(self) -> None:
        """
        What is no network is an error.
        """
        for word in ("localhost", "255.255.255.255", "10.0.0.0/33", "unix:/x", "ALL", "[::1]", "10.0.0.1:5"):
            problem: ConfigErrors = self.assertRaises(ConfigErrors, configured, "stream { deny " + word + "; }")
            self.assertEqual(
                [str(each) for each in problem.errors], [f'invalid parameter "{word}" in /etc/edge.conf:1']
            )


class ModuleTests(SynchronousTestCase):
    """
    The module as the rest of the program sees it.
    """

    def test_interfaces(self) -> None:
        """
        It is a module, found as a plugin.
        """
        self.assertTrue(verifyObject(IModule, access))
        self.assertTrue(verifyObject(IHttpModule, access))
        self.assertTrue(verifyObject(IPlugin, access))

    def test_rules(self) -> None:
        """
        The rules of a block are told in order.
        """
        build = configured("stream { deny all; allow unix:; }")
        (scope,) = build.root.inside("stream")
        self.assertEqual(rules(scope), (Rule(0, True, "all"), Rule(1, False, "unix:")))
        self.assertEqual(rules(build.root), ())


class HttpTests(SynchronousTestCase):
    """
    Places of http.
    """

    def test_places(self) -> None:
        """
        A place has its own rules, or those around it; whoever is allowed needs nothing else of the phase.
        """
        world = Places(
            "deny 192.0.2.77; server { location /a { allow 192.0.2.77; deny all; limit_except GET { deny all; } }"
            " location /b { } }",
            [access],
        )
        found = [world.run("access", FakeRequest(), at) for at in range(4)]
        self.assertEqual(found, [[403], [DONE], [403], [403]])
        self.assertEqual(world.run("access", FakeRequest(peer=Address("inet", "192.0.2.78", 1)), 3), [None])
        self.assertEqual(Places("server { }", [access]).places[0].phases, {})

    def test_told(self) -> None:
        """
        The log is told, unless somebody else may still let the client in.
        """
        world = Places("server { deny all; }", [access])
        for satisfy_any, lines in ((False, [(ERROR, "access forbidden by rule")]), (True, [])):
            request = FakeRequest()
            request.place.limits.satisfy_any = satisfy_any
            self.assertEqual(world.run("access", request), [403])
            self.assertEqual(request.lines, lines)
