"""
Tests for L{sniproxy.stream.proxy_rates}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.errors import ConfigErrors
from sniproxy.net.rated import RatedRelaying
from sniproxy.net.relay import Relaying
from tests.support.sessions import FakeLeg, World, configured

SERVER = "server {{ listen 192.0.2.1:443; proxy_pass 192.0.2.2:1; {} }}"


class ProxyRatesTests(SynchronousTestCase):
    """
    The directives at work.
    """

    def world(self, line: str, around: str = "") -> World:
        """
        With a client that is connected through.
        """
        world = World(around + SERVER.format(line))
        self.client: FakeLeg = world.client()
        self.upstream = world.attempt().succeed()
        return world

    def relaying(self, world: World) -> type:
        """
        What moves the session's bytes.
        """
        traffic = world.session().traffic
        return type(getattr(traffic, "_relaying", None))

    def complaints(self, line: str) -> list[str]:
        """
        What is wrong with it.
        """
        text = f"stream {{ {SERVER.format(line)} }}"
        return [str(error) for error in self.assertRaises(ConfigErrors, configured, text).errors]

    def test_both(self) -> None:
        """
        Each direction has its rate, in bytes a second.
        """
        world = self.world("proxy_upload_rate 10; proxy_download_rate 1k;")
        self.client.arrive(b"x" * 5000)
        self.upstream.arrive(b"y" * 5000)
        self.assertEqual((len(self.upstream.taken()), len(self.client.taken())), (10, 1024))
        for _ in range(21):
            world.pass_time(0.05)
        self.assertEqual((len(self.upstream.taken()), len(self.client.taken())), (10, 1024))

    def test_none(self) -> None:
        """
        Without rates, or with 0 or nothing, sessions have the relay that they had.
        """
        for line in ("", "proxy_upload_rate 0; proxy_download_rate 0;", "proxy_upload_rate $none;"):
            world = self.world(line, "map $remote_addr $none { default ''; }")
            self.assertIs(self.relaying(world), Relaying)
            self.assertEqual(len(world.network.relays), 1)

    def test_variables(self) -> None:
        """
        Each session may have its own rate; nonsense is an error in the log, and no rate.
        """
        rates = "map $remote_port $rate { default 2; 40000 3; }"
        world = self.world("proxy_download_rate $rate;", rates)
        self.assertIs(self.relaying(world), RatedRelaying)
        self.upstream.arrive(b"y" * 10)
        self.assertEqual(self.client.taken(), b"yyy")
        world = self.world("proxy_download_rate $remote_addr;")
        self.assertIs(self.relaying(world), Relaying)
        self.assertIn('[error] *1 invalid size "192.0.2.77"', "".join(world.lines))

    def test_inherited(self) -> None:
        """
        An inner block may take the rate back.
        """
        around = "proxy_upload_rate 10;"
        self.assertIs(self.relaying(self.world("", around)), RatedRelaying)
        self.assertIs(self.relaying(self.world("proxy_upload_rate 0;", around)), Relaying)

    def test_time_since_the_begin(self) -> None:
        """
        The time it took to connect is worth bytes too.
        """
        world = World(SERVER.format("proxy_upload_rate 10;"))
        client = world.client(b"x" * 100)
        world.pass_time(3.1)
        upstream = world.attempt().succeed()
        self.assertEqual(len(upstream.taken()), 40)
        client.lose()
        world.pass_time(10)
        world.pass_time(1)
        self.assertEqual(world.statuses(), [200])

    def test_end_of_the_session(self) -> None:
        """
        Whatever ends a session ends its pauses.
        """
        world = self.world("proxy_upload_rate 1;")
        self.client.arrive(b"x" * 5)
        self.assertEqual(len(world.reactor.getDelayedCalls()), 2)
        world.session().finish(200)
        world.network.deadlines.stop()
        self.assertEqual(world.reactor.getDelayedCalls(), [])

    def test_faults(self) -> None:
        """
        What is no size is refused.
        """
        for name in ("proxy_upload_rate", "proxy_download_rate"):
            for word in ("x", "-1", "1g"):
                self.assertEqual(
                    self.complaints(f"{name} {word};"), [f'"{name}" directive invalid value in /etc/edge.conf:1']
                )
