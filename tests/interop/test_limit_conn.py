"""
Do we let in whom nginx lets in? Both have the same limits and see the same clients, one after the other.
"""

from __future__ import annotations

import resource
import socket
from collections.abc import Iterable

from tests.support.backends import Backend, greet
from tests.support.ports import free_port
from tests.support.programs import PATIENCE, eventually, read_text
from tests.support.proxies import NGINX, SNIPROXY, Kind, ProxyTestCase

CONFIGURATION = """stream {
    log_format limits '$remote_addr $status $limit_conn_status';
    access_log @log@ limits;
    @settings@
    server { listen 127.0.0.1:@port@; proxy_pass 127.0.0.1:@back@; @limits@ }
}
"""


class Door:
    """
    One proxy and its clients.
    """

    def __init__(self, test: LimitConnTestCase, kind: Kind, limits: str, settings: str) -> None:
        self.port = free_port()
        self._test = test
        self._log = test.path(f"{kind}{self.port}.access")
        self.proxy = test.proxy(
            CONFIGURATION,
            f"{kind}{self.port}",
            kind=kind,
            log=self._log,
            port=self.port,
            back=test.back.port,
            limits=limits,
            settings=settings,
        )
        self._clients: list[socket.socket] = []
        self._gone = 0
        self.let_in = ""

    def come(self, host: str) -> None:
        """
        A client comes: a plus where it is let in.
        """
        client = socket.socket()
        self._test.addCleanup(client.close)
        client.settimeout(PATIENCE)
        client.bind((host, 0))
        client.connect(("127.0.0.1", self.port))
        self._clients.append(client)
        try:
            heard = client.recv(1)
        except ConnectionResetError:
            heard = b""
        self.let_in += "+" if heard else "-"
        if not heard:
            self._end(client)

    def go(self, number: int) -> None:
        """
        A client goes.
        """
        self._end(self._clients[number])

    def _end(self, client: socket.socket) -> None:
        client.close()
        self._gone += 1
        eventually(lambda: len(self.ended()) == self._gone, "the end of the session in the access log")

    def ended(self) -> list[str]:
        """
        The access log.
        """
        return read_text(self._log).splitlines()


class LimitConnTestCase(ProxyTestCase):
    """
    A back end that greets.
    """

    def setUp(self) -> None:
        """
        Open it.
        """
        super().setUp()
        self.back = Backend(greet(b"x"))
        self.addCleanup(self.back.close)

    def same(self, limits: str, script: Iterable[str | int], settings: str) -> str:
        """
        Run a script of clients that come and go on both.
        """
        steps = list(script)
        ours, theirs = (Door(self, kind, limits, settings) for kind in (SNIPROXY, NGINX))
        for door in (ours, theirs):
            for step in steps:
                if isinstance(step, str):
                    door.come(step)
                else:
                    door.go(step)
        self.assertEqual(ours.let_in, theirs.let_in)
        self.assertEqual(ours.ended(), theirs.ended())
        said = [
            [str(line).partition(", server:")[0] for line in door.proxy.lines() if "limiting" in line.text]
            for door in (ours, theirs)
        ]
        self.assertEqual(said[0], said[1])
        return ours.let_in


class SameLimits(LimitConnTestCase):
    """
    Limits of one and of several zones.
    """

    ZONE = "limit_conn_zone $remote_addr zone=one:32k;"

    def test_limit(self) -> None:
        """
        Clients of one address are counted while they stay.
        """
        met = self.same("limit_conn one 2;", [*["127.0.1.1"] * 3, "127.0.1.2", 0, "127.0.1.1", "127.0.1.1"], self.ZONE)
        self.assertEqual(met, "++-++-")

    def test_dry_run_and_level(self) -> None:
        """
        A dry run refuses nobody.
        """
        settings = self.ZONE + "limit_conn one 1; limit_conn_dry_run on; limit_conn_log_level notice;"
        self.same("", [*["127.0.1.1"] * 3, 2, 0, 1, "127.0.1.1", 3], settings)

    def test_several(self) -> None:
        """
        Several limits count together, and own ones instead of those around.
        """
        zones = self.ZONE + "limit_conn_zone $server_addr zone=all:32k; limit_conn all 1;"
        script: list[str | int] = [*["127.0.1.1"] * 3, *["127.0.1.2"] * 3, 0, "127.0.1.2", "127.0.1.3", "127.0.1.1"]
        self.same("limit_conn one 2; limit_conn all 4;", script, zones)

    def test_no_key(self) -> None:
        """
        Who has no key is not counted.
        """
        zones = "map $remote_addr $key { default ''; 127.0.1.1 x; } limit_conn_zone $key zone=one:32k;"
        self.same("limit_conn one 1;", [*["127.0.1.2"] * 3, *["127.0.1.1"] * 2, 0, 1, 2, 3], zones)

    def test_full(self) -> None:
        """
        A zone is full when nginx's is, for short keys and for long ones.
        """
        if resource.getrlimit(resource.RLIMIT_NOFILE)[0] < 4096:
            soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
            self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        for key, count in (("$binary_remote_addr", 390), ("x" * 100 + "$remote_addr", 110)):
            hosts = [f"127.0.{1 + number // 200}.{1 + number % 200}" for number in range(count)]
            met = self.same("limit_conn one 1;", hosts, f"limit_conn_zone {key} zone=one:32k;")
            self.assertIn("-", met)
