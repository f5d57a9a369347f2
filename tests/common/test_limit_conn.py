"""
Tests for L{sniproxy.common.limit_conn}.
"""

from __future__ import annotations

from twisted.plugin import IPlugin
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sniproxy.addresses import Address
from sniproxy.common.core_variables import CORE_VARIABLES
from sniproxy.common.limit_conn import Counts, limit_conn
from sniproxy.common.shared_counts import Verdict
from sniproxy.common.shared_memory import shares
from sniproxy.errors import ConfigErrors
from sniproxy.interfaces import IHttpModule, IModule
from sniproxy.levels import ERROR
from tests.support.places import Declared, FakeRequest, Places
from tests.support.sessions import FakeLeg, World, configured
from tests.support.tables import together

ZONE = "limit_conn_zone $remote_addr zone=one:32k;"
SERVER = "server {{ listen 192.0.2.1:443; proxy_pass 192.0.2.2:1; {} }}"
STATUS = "$limit_conn_status"


class LimitConnCase(SynchronousTestCase):
    """
    What tests of this module share.
    """

    def world(self, settings: str, zones: str = ZONE, before: World | None = None) -> World:
        """
        A server with these settings.
        """
        return World(zones + SERVER.format(settings), engine=None if before is None else before.engine)

    def come(self, world: World, host: str = "192.0.2.77") -> FakeLeg:
        """
        A client comes; where it is let in it stays.
        """
        client = world.client(peer=Address("inet", host, 40000))
        if not client.closed:
            world.attempt().succeed()
        return client

    def complaints(self, text: str) -> list[str]:
        """
        What is wrong with the inside of a stream block, which begins in the second line.
        """
        return [str(each) for each in self.assertRaises(ConfigErrors, configured, f"stream {{\n{text}\n}}").errors]


class LimitTests(LimitConnCase):
    """
    Who is let in.
    """

    def test_interfaces(self) -> None:
        """
        The module is a plugin.
        """
        self.assertTrue(verifyObject(IModule, limit_conn))
        self.assertTrue(verifyObject(IHttpModule, limit_conn))
        self.assertTrue(IPlugin.providedBy(limit_conn))

    def test_limit(self) -> None:
        """
        No more than so many of one key are let in, until one of them goes; other keys are others.
        """
        world = self.world("limit_conn one 2;")
        first, second = self.come(world), self.come(world)
        self.assertTrue(self.come(world).closed)
        self.assertEqual(world.statuses(), [503])
        self.assertEqual(world.value(STATUS), "REJECTED")
        self.assertEqual(
            world.lines[-1],
            '[error] *5 limiting connections by zone "one" while initializing session, client: 192.0.2.77, '
            "server: 192.0.2.1:443",
        )
        self.assertFalse(self.come(world, "192.0.2.78").closed)
        first.end()
        self.assertEqual(world.value(STATUS), "PASSED")
        self.assertFalse(self.come(world).closed)
        second.lose()
        self.assertFalse(self.come(world).closed)
        self.assertTrue(self.come(world).closed)

    def test_levels(self) -> None:
        """
        The log is told as loud as the directive says.
        """
        for level in ("info", "notice", "warn", "ERROR"):
            world = self.world(f"limit_conn one 1; limit_conn_log_level {level};")
            self.come(world)
            self.come(world)
            self.assertIn(f"[{level.lower()}] *3 limiting connections by zone", "\n".join(world.lines))

    def test_dry_run(self) -> None:
        """
        A dry run lets everybody in, says so, and does not count whom it would have refused.
        """
        world = self.world("limit_conn one 1; limit_conn_dry_run on;")
        first, second = self.come(world), self.come(world)
        self.assertIn('limiting connections, dry run, by zone "one" while', "\n".join(world.lines))
        second.end()
        self.assertEqual(world.value(STATUS), "REJECTED_DRY_RUN")
        first.end()
        self.assertEqual(world.value(STATUS), "PASSED")
        self.come(world).end()
        self.assertEqual(world.value(STATUS), "PASSED")

    def test_several(self) -> None:
        """
        All limits count; whom one refuses the others forget.
        """
        zones = ZONE + "limit_conn_zone $server_addr zone=all:32k;"
        world = self.world("limit_conn all 3; limit_conn one 2;", zones)
        self.come(world)
        self.come(world)
        self.assertTrue(self.come(world).closed)
        self.assertFalse(self.come(world, "192.0.2.78").closed)
        self.assertTrue(self.come(world, "192.0.2.79").closed)
        self.assertIn('by zone "all"', world.lines[-1])

    def test_inherited(self) -> None:
        """
        A server without limits has those around it, one with limits has its own alone.
        """
        zones = ZONE + "limit_conn_zone $server_addr zone=all:32k; limit_conn all 1;"
        world = self.world("limit_conn one 2;", zones)
        self.assertEqual([self.come(world).closed for _ in range(3)], [False, False, True])
        world = self.world("", zones)
        self.assertEqual([self.come(world).closed for _ in range(2)], [False, True])
        self.assertIn('by zone "all"', world.lines[-1])

    def test_no_key(self) -> None:
        """
        Who has no key is not counted, and has no status.
        """
        zones = "map $remote_addr $key { default ''; 192.0.2.77 x; } limit_conn_zone $key zone=one:32k;"
        world = self.world("limit_conn one 1;", zones)
        legs = [self.come(world, "192.0.2.78") for _ in range(3)]
        self.assertEqual([leg.closed for leg in legs], [False] * 3)
        legs[0].end()
        self.assertEqual(world.value(STATUS), "")
        self.assertEqual([self.come(world).closed for _ in range(2)], [False, True])

    def test_long_key(self) -> None:
        """
        Who has a key that is too long is not counted; the log is told.
        """
        world = self.world("limit_conn one 1;", f"limit_conn_zone {'x' * 251}$server_port zone=one:32k;")
        self.assertEqual([self.come(world).closed for _ in range(2)], [False, True])
        world = self.world("limit_conn one 1;", f"limit_conn_zone {'x' * 253}$server_port zone=one:32k;")
        self.assertEqual([self.come(world).closed for _ in range(2)], [False, False])
        self.assertIn(f'the value of the "{"x" * 253}$server_port" key is more than 255 bytes: "xx', world.lines[1])

    def test_full(self) -> None:
        """
        When a zone has no room for another key, clients with new keys are refused, and the log is told.
        """
        world = self.world("limit_conn one 9;")
        taken = 0
        while not self.come(world, f"192.0.{taken // 200}.{taken % 200 + 1}").closed:
            taken += 1
        self.assertEqual(taken, 6 * 64 - 1)
        self.assertEqual(world.lines[-1], '[crit] ngx_slab_alloc() failed: no memory in limit_conn_zone "one"')
        self.assertEqual(world.value(STATUS), "REJECTED")
        self.assertFalse(self.come(world, "192.0.0.1").closed)

    def test_server_of_another_name(self) -> None:
        """
        A session that a name has led to another server is still taken out where it was counted.
        """
        world = self.world("limit_conn one 1;", ZONE + SERVER.format("server_name other; ").replace("443", "444"))
        client = self.come(world)
        world.session().server = world.listening[0].default
        client.end()
        self.assertFalse(self.come(world).closed)


class KeptTests(LimitConnCase):
    """
    Counts over a reload.
    """

    def test_reload(self) -> None:
        """
        Sessions of the configuration before count, and are taken out when they end.
        """
        before = self.world("limit_conn one 2;")
        old = self.come(before)
        after = self.world("limit_conn one 1;", before=before)
        before.runtime.stop()
        self.assertTrue(self.come(after).closed)
        old.end()
        self.assertFalse(self.come(after).closed)

    def test_workers(self) -> None:
        """
        A limit is one of all workers; what one of them counted ends with it, be it by its sessions or at once.
        """
        worlds = [self.world("limit_conn one 1;") for _ in range(2)]
        (table,) = together(self, *(world.build for world in worlds))
        (wish,) = shares(worlds[0].build)
        self.assertEqual((wish.key, wish.kept), (("limit_conn", "one", 32768, "$remote_addr"), True))
        first = self.come(worlds[0])
        self.assertTrue(self.come(worlds[1]).closed)
        self.assertFalse(self.come(worlds[1], "192.0.2.78").closed)
        self.assertTrue(self.come(worlds[0], "192.0.2.78").closed)
        first.lose()
        worlds[0].network.turn()
        self.assertFalse(self.come(worlds[1]).closed)
        table.clear(1, wish.mend)
        self.assertFalse(self.come(worlds[0]).closed)

    def test_another_zone(self) -> None:
        """
        A zone of another size or key begins anew.
        """
        for zone in ("limit_conn_zone $remote_addr zone=one:64k;", "limit_conn_zone $server_addr zone=one:32k;"):
            before = self.world("limit_conn one 1;")
            self.come(before)
            after = self.world("limit_conn one 1;", zone, before)
            self.assertEqual([self.come(after).closed for _ in range(2)], [False, True])

    def test_counts(self) -> None:
        """
        Counts of a key end with its last connection.
        """
        counts = Counts("one", 32768, "$remote_addr")
        self.assertEqual([counts.enter(b"x", 2) for _ in range(3)], [Verdict.ENTERED] * 2 + [Verdict.TOO_MANY])
        counts.leave(b"x")
        self.assertEqual(counts._counts, {b"x": 1})
        counts.leave(b"x")
        self.assertEqual(counts._counts, {})


class ConfigurationTests(LimitConnCase):
    """
    What is refused.
    """

    def test_zones(self) -> None:
        """
        Zones need a key, a name and a size, and have one key.
        """
        for text, complaint in (
            ("zone=one", 'invalid zone size "zone=one"'),
            ("zone=one:x", 'invalid zone size "zone=one:x"'),
            ("zone=one:1k", 'zone "zone=one:1k" is too small'),
            ("zone=:32k", '"limit_conn_zone" must have "zone" parameter'),
            ("one:32k", 'invalid parameter "one:32k"'),
        ):
            self.assertEqual(
                self.complaints(f"limit_conn_zone $remote_addr {text};"), [f"{complaint} in /etc/edge.conf:2"]
            )
        self.assertEqual(
            self.complaints(f"{ZONE}\nlimit_conn_zone $server_addr zone=one:32k;"),
            ['limit_conn_zone "one" is already bound to key "$remote_addr" in /etc/edge.conf:3'],
        )

    def test_limits(self) -> None:
        """
        Limits need a zone that there is, each once in a block, and a number.
        """
        self.assertEqual(
            self.complaints("limit_conn one 1;"), ['zero size shared memory zone "one" in /etc/edge.conf:2']
        )
        for text, complaint in (
            ("limit_conn one 0;", 'invalid number of connections "0"'),
            ("limit_conn one x;", 'invalid number of connections "x"'),
            ("limit_conn one 65536;", "connection limit must be less 65536"),
            ("limit_conn one 1; limit_conn one 2;", '"limit_conn" directive is duplicate'),
            ("limit_conn_log_level crit;", 'invalid value "crit"'),
        ):
            self.assertEqual(self.complaints(ZONE + text), [f"{complaint} in /etc/edge.conf:2"])
        self.world("limit_conn one 1;", ZONE + "limit_conn one 1;")
        self.assertEqual(
            self.complaints("server { listen 192.0.2.1:1; limit_conn one 1; return x; }"),
            ['zero size shared memory zone "one" in /etc/edge.conf:2'],
        )


class HttpTests(SynchronousTestCase):
    """
    Requests.
    """

    def places(self, settings: str, zones: str = ZONE) -> Places:
        """
        A location with these settings, and one behind it with none.
        """
        text = f"{zones} server {{ location /a {{ {settings} }} location /b {{ }} }}"
        return Places(text, [limit_conn, Declared(variables=CORE_VARIABLES)])

    def test_requests(self) -> None:
        """
        A request counts until it is over, whatever is done with it; one that is refused does not.
        """
        world = self.places("limit_conn one 1;")
        first, second, third = FakeRequest(), FakeRequest(), FakeRequest()
        self.assertEqual([world.run("preaccess", request, 1) for request in (first, second)], [[None], [503]])
        self.assertEqual(world.value(STATUS, first), "PASSED")
        self.assertEqual(world.value(STATUS, second), "REJECTED")
        self.assertEqual(second.lines, [(ERROR, 'limiting connections by zone "one"')])
        second.end()
        self.assertEqual(world.run("preaccess", second, 1), [None])
        first.end()
        self.assertEqual(world.run("preaccess", third, 1), [None])
        self.assertEqual(world.places[2].phases, {})

    def test_once(self) -> None:
        """
        A request that is sent elsewhere from within is not counted again.
        """
        world = self.places("limit_conn one 1;")
        request = FakeRequest()
        self.assertEqual([world.run("preaccess", request, 1) for _ in range(2)], [[None], [None]])
        self.assertEqual(len(request.cleanup), 1)

    def test_status(self) -> None:
        """
        Whoever is refused gets the status that is wanted; in a dry run nobody is refused.
        """
        for settings, answer in (
            ("limit_conn one 1; limit_conn_status 429;", 429),
            ("limit_conn one 1; limit_conn_status 429; limit_conn_dry_run on;", None),
        ):
            world = self.places(settings)
            self.assertEqual([world.run("preaccess", FakeRequest(), 1) for _ in range(2)], [[None], [answer]])

    def test_wrong(self) -> None:
        """
        A status is one of an error, and stands in http alone.
        """
        problem: ConfigErrors = self.assertRaises(ConfigErrors, self.places, "limit_conn_status 200;")
        self.assertEqual(problem.errors[0].message, "value must be between 400 and 599")
        problem = self.assertRaises(ConfigErrors, configured, "stream { limit_conn_status 503; }")
        self.assertEqual(problem.errors[0].message, '"limit_conn_status" directive is not allowed here')

    def test_apart(self) -> None:
        """
        A zone of sessions is none of requests.
        """
        text = f"stream {{ {ZONE} }} http {{ {ZONE} server {{ }} }}"
        modules = [limit_conn, Declared(variables=CORE_VARIABLES)]
        problem: ConfigErrors = self.assertRaises(ConfigErrors, Places, text, modules)
        self.assertEqual(
            [each.message for each in problem.errors],
            ['the shared memory zone "one" is already declared for a different use'],
        )
        Places(text.replace("=one", "=other", 1), modules)
