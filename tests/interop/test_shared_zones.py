"""
Do workers count together what nginx's do? Limits, full and failed peers, wherever a connection lands, over reloads, and
when a worker dies.
"""

from __future__ import annotations

import os
import signal
import socket
from collections import Counter
from contextlib import ExitStack

from tests.interop.test_workers import Workers, ended, sockets
from tests.support.clients import plain
from tests.support.ports import free_port
from tests.support.programs import children, eventually, read_text
from tests.support.proxies import NGINX, Proxy, fill

CONFIGURATION = """stream {
    log_format who '$pid $status';
    access_log @log@ who;
    @zones@
    server { listen 127.0.0.1:@port@; proxy_pass @to@; @settings@ }
}
"""


class Zones(Workers):
    """
    Two workers behind one address.
    """

    def edge(self, zones: str, to: str, settings: str = "") -> Proxy:
        """
        A proxy.
        """
        self.log = self.path("access.log")
        return self.proxy(fill(CONFIGURATION, log=self.log, zones=zones, port=self.port, to=to, settings=settings))

    def limited(self) -> Proxy:
        """
        One that lets one connection of a client in.
        """
        zones = "limit_conn_zone $remote_addr zone=one:32k;"
        return self.edge(zones, f"127.0.0.1:{self.first.port}", "limit_conn one 1;")

    def come(self) -> bytes:
        """
        @return: what a client hears who does not stay; nothing where it is not let in.
        """
        with plain(self.port) as connection:
            try:
                return connection.recv(1)
            except ConnectionError:
                return b""

    def enter(self) -> socket.socket:
        """
        A client that stays, as soon as it is let in.
        """
        found: list[socket.socket] = []

        def entered() -> bool:
            connection = plain(self.port)
            try:
                found.append(connection) if connection.recv(1) else connection.close()
            except ConnectionError:
                connection.close()
            return bool(found)

        eventually(entered, "a client that is let in")
        self.addCleanup(found[0].close)
        return found[0]

    def burst(self) -> None:
        """
        Several clients come at once, and go.
        """
        with ExitStack() as stack:
            connections = [stack.enter_context(plain(self.port)) for _ in range(24)]
            for connection in connections:
                try:
                    connection.recv(1)
                except ConnectionError:
                    pass

    def seen(self, lines: int = 0) -> Counter[tuple[str, ...]]:
        """
        The processes and statuses of those who have gone, but for the first lines.
        """
        return Counter(tuple(line.split()) for line in read_text(self.log).splitlines()[lines:])

    def by_both(self, edge: Proxy) -> Counter[str]:
        """
        Clients come until both workers have had some.

        @return: the statuses of those.
        """
        before = sum(self.seen().values())

        def had() -> bool:
            self.burst()
            pids = {pid for pid, _ in self.seen(before)}
            return pids.issuperset(map(str, children(edge.program.pid)))

        eventually(had, "clients of both workers")
        return Counter({status: count for (_, status), count in self.seen(before).items()})


class SharedZones(Zones):
    """
    Two workers that live.
    """

    def test_limit(self) -> None:
        """
        A limit of one is one, whichever worker has it and whichever is asked.
        """
        edge = self.limited()
        first = self.enter()
        self.assertEqual(set(self.by_both(edge)), {"503"})
        first.close()
        self.enter()
        self.assertEqual([line for line in edge.lines() if line.level == "alert"], [])

    def test_limit_over_a_reload(self) -> None:
        """
        Connections of the workers before count with those of the workers now.
        """
        edge = self.limited()
        first = self.enter()
        old = set(children(edge.program.pid))
        edge.reload()

        def changed() -> bool:
            now = set(children(edge.program.pid))
            return (len(now - old), len(now & old)) == (2, 1)

        eventually(changed, "two new workers, and one of the old ones")
        before = sum(self.seen().values())

        def had() -> bool:
            self.burst()
            pids = {int(pid) for pid, _ in self.seen(before)}
            return pids >= set(children(edge.program.pid)) - old

        eventually(had, "clients of both new workers")
        self.assertEqual({status for _, status in self.seen(before)}, {"503"})
        first.close()
        self.enter()

    def test_full_peer(self) -> None:
        """
        A peer has no more connections than it may have, from all workers together.
        """
        edge = self.edge(f"upstream one {{ zone one 64k; server 127.0.0.1:{self.first.port} max_conns=1; }}", "one")
        first = self.enter()
        self.assertEqual(set(self.by_both(edge)), {"502"})
        first.close()
        self.enter()

    def failures(self, zone: str) -> int:
        """
        How often both workers together have tried a peer that is not there.
        """
        dead = f"server 127.0.0.1:{free_port()} fail_timeout=1h"
        edge = self.edge(f"upstream two {{ {zone} {dead}; server 127.0.0.1:{self.first.port}; }}", "two")
        # one after the other, so that nobody else tries before the failure is known
        for _ in range(4):
            self.assertEqual(self.come(), b"1")
        self.assertEqual(set(self.by_both(edge)), {"200"})
        return sum("connect() failed" in line.text for line in edge.lines())

    def test_failed_peer(self) -> None:
        """
        What one worker has learned of a peer that fails the other one does not try again.
        """
        self.assertEqual(self.failures("zone two 64k;"), 1)

    def test_without_a_zone(self) -> None:
        """
        Without a zone each learns it by itself; of clients that come at once, several may find it out.
        """
        self.assertGreater(self.failures(""), 1)


class SharedZonesNginx(SharedZones):
    """
    The same on nginx.
    """

    kind = NGINX


class Killed(Zones):
    """
    Workers that die; nginx counts for ever what such a worker had counted.
    """

    def kill_holder(self, edge: Proxy, connection: socket.socket) -> None:
        """
        Kill the worker that has a session.
        """
        victim = max(children(edge.program.pid), key=sockets)
        os.kill(victim, signal.SIGKILL)
        self.assertEqual(ended(connection), b"")
        edge.logged(f"[alert] worker process {victim} exited on signal 9")

    def test_limit_of_the_dead(self) -> None:
        """
        What a worker had counted that is killed does not count any more.
        """
        edge = self.limited()
        first = self.enter()
        self.kill_holder(edge, first)
        second = self.enter()
        self.assertEqual(set(self.by_both(edge)), {"503"})
        second.close()
        self.enter()

    def test_connections_of_the_dead(self) -> None:
        """
        Nor do the connections that it had to a peer.
        """
        edge = self.edge(f"upstream one {{ zone one 64k; server 127.0.0.1:{self.first.port} max_conns=1; }}", "one")
        first = self.enter()
        self.kill_holder(edge, first)
        self.enter()
        self.assertEqual(set(self.by_both(edge)), {"502"})
