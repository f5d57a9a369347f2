"""
Do we choose the peers that nginx chooses? Both are given the same group and the same clients, one after the other, and
each client says whom it met.

Strategy: a script is a list of clients that come, each from an address of its own on loopback, and of clients that go;
back ends greet with their letters. What both programs answer, and what their access logs say of the tries, has to be
equal to the last letter. Nothing in a script depends on how long anything takes.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable, Sequence
from typing import Final

from tests.support.backends import Backend, greet
from tests.support.ports import free_port
from tests.support.programs import PATIENCE, eventually, read_text
from tests.support.proxies import NGINX, SNIPROXY, Kind, ProxyTestCase

LETTERS: Final = "abcd"

CONFIGURATION: Final = """stream {
    log_format tries '$upstream_addr $status';
    access_log @log@ tries;
    @before@
    upstream back { @group@ }
    server { listen 127.0.0.1:@port@; proxy_pass back; @settings@ }
}
"""

Step = str | int
"""An address from which a client comes; or the number of the client, from 0, that goes."""


def visits(count: int, first: int = 1) -> list[Step]:
    """
    So many clients, each from another address, who go at once.
    """
    steps: list[Step] = []
    for number in range(count):
        steps += [f"127.0.{first + number // 200}.{1 + number % 200}", number]
    return steps


class Table:
    """
    One proxy and its clients.
    """

    def __init__(self, test: BalancingTestCase, kind: Kind, group: str, settings: str, before: str) -> None:
        self.port = free_port()
        name = f"{kind}{self.port}"
        self._log = test.path(f"{name}.access")
        self.proxy = test.proxy(
            CONFIGURATION,
            name,
            kind=kind,
            log=self._log,
            port=self.port,
            group=group,
            settings=settings,
            before=before,
        )
        self._test = test
        self._clients: list[socket.socket] = []
        self._gone = 0
        self.met = ""

    def come(self, host: str) -> None:
        """
        A client comes, and hears a letter; or the end, for which there is a dash.
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
        self.met += heard.decode() or "-"
        if not heard:
            self._end(client)

    def visit(self, count: int) -> None:
        """
        So many clients, one after the other, from seven addresses in turn.
        """
        for number in range(count):
            self.come(f"127.0.0.{1 + number % 7}")
            self.go(len(self._clients) - 1)

    def go(self, number: int) -> None:
        """
        A client goes, if it is still there.
        """
        client = self._clients[number]
        if client.fileno() != -1:
            self._end(client)

    def _end(self, client: socket.socket) -> None:
        client.close()
        self._gone += 1
        eventually(lambda: len(self.tries()) == self._gone, "the end of the session in the access log")

    def tries(self) -> list[str]:
        """
        The access log.
        """
        return read_text(self._log).splitlines()


class BalancingTestCase(ProxyTestCase):
    """
    Four back ends, and a port where nobody listens.
    """

    def setUp(self) -> None:
        """
        Open the back ends.
        """
        super().setUp()
        self.ports = {"nobody": free_port()}
        for letter in LETTERS:
            backend = Backend(greet(letter.encode()))
            self.addCleanup(backend.close)
            self.ports[letter] = backend.port

    def servers(self, *lines: str) -> str:
        """
        @param lines: a letter and the parameters of its server.
        """
        found = ""
        for line in lines:
            name, _, parameters = line.partition(" ")
            found += f"server 127.0.0.1:{self.ports[name]} {parameters}; "
        return found

    def same(self, group: str, script: Iterable[Step], settings: str = "", before: str = "") -> str:
        """
        Run a script on both.

        @return: whom the clients met.
        """
        steps: Sequence[Step] = list(script)
        ours, theirs = (Table(self, kind, group, settings, before) for kind in (SNIPROXY, NGINX))
        for table in (ours, theirs):
            for step in steps:
                if isinstance(step, str):
                    table.come(step)
                else:
                    table.go(step)
        self.assertEqual(ours.met, theirs.met)
        self.assertEqual(ours.tries(), theirs.tries())
        for level in ("[crit]", "[error]", "[warn]"):
            said = [
                sorted(str(line).partition(",")[0] for line in table.proxy.lines() if str(line).startswith(level))
                for table in (ours, theirs)
            ]
            self.assertEqual(said[0], said[1])
        return ours.met


class SamePeers(BalancingTestCase):
    """
    Each way of balancing that has no dice and no watch.
    """

    def test_round_robin(self) -> None:
        """
        Weights are smooth, a server that is down has no turn.
        """
        met = self.same(self.servers("a weight=5", "b", "c weight=2", "d down"), visits(24))
        self.assertEqual(met.count("a"), 15)

    def test_backups(self) -> None:
        """
        Backups take turns when the others are of no use.
        """
        group = self.servers("nobody max_fails=0", "a down", "b backup weight=2", "c backup")
        self.assertEqual(set(self.same(group, visits(9))), {"b", "c"})

    def test_failures(self) -> None:
        """
        A server that fails is tried, put aside, and passed over; where all are aside there is nobody.
        """
        self.same(self.servers("nobody weight=3 fail_timeout=60", "a weight=2", "b"), visits(12))
        two = self.servers("nobody fail_timeout=60", "a fail_timeout=60 down")
        self.assertEqual(self.same(two, visits(3)), "---")

    def test_max_conns(self) -> None:
        """
        A server that is full is passed over until somebody goes.
        """
        group = "zone back 64k; " + self.servers("a max_conns=1", "b max_conns=2 weight=3")
        met = self.same(group, ["127.0.1.1", "127.0.1.2", "127.0.1.3", "127.0.1.4", 0, "127.0.1.5", 1, "127.0.1.6"])
        self.assertEqual(met[3], "-")

    def test_hash(self) -> None:
        """
        A key goes where nginx sends it, by weight, and elsewhere when that server cannot be had.
        """
        met = self.same("hash $remote_addr; " + self.servers("a", "b weight=2", "c", "d weight=4"), visits(200))
        self.assertEqual(set(met), {"a", "b", "c", "d"})

    def test_hash_known(self) -> None:
        """
        The addresses of a unit test go where it says.
        """
        script: list[Step] = [f"127.0.0.{number}" for number in range(1, 11)]
        met = self.same("hash $remote_addr; " + self.servers("a", "b weight=2", "c"), script)
        self.assertEqual(met, "cbbbbcacab")

    def test_hash_elsewhere(self) -> None:
        """
        Keys of servers that are down or fail are hashed again.
        """
        group = "hash $remote_addr; " + self.servers("a down", "nobody fail_timeout=60", "b weight=2", "c", "d")
        self.same(group, visits(60))

    def test_hash_nobody(self) -> None:
        """
        A key whose servers cannot be had goes wherever round robin goes.
        """
        downs = "".join(f"server 127.0.0.1:{1 + number} down; " for number in range(40))
        self.same("hash $remote_addr; " + downs + self.servers("a", "b"), visits(40))

    def test_hash_bytes(self) -> None:
        """
        A key may be any bytes.
        """
        self.same("hash $binary_remote_addr; " + self.servers("a", "b", "c"), visits(60))

    def test_consistent(self) -> None:
        """
        The circle is nginx's: points by weight, for addresses and names alike.
        """
        group = "hash $remote_addr consistent; " + self.servers("a", "b weight=2", "c", "d")
        self.assertEqual(set(self.same(group, visits(200))), {"a", "b", "c", "d"})

    def test_consistent_elsewhere(self) -> None:
        """
        From a server that is down or fails a key goes to the next point.
        """
        group = "hash $remote_addr consistent; " + self.servers("a down", "nobody fail_timeout=60", "b", "c", "d")
        self.same(group, visits(60))

    def test_consistent_nobody(self) -> None:
        """
        After many points of servers that are down round robin chooses.
        """
        downs = "".join(f"server 127.0.0.1:{1 + number} down; " for number in range(40))
        self.same("hash $remote_addr consistent; " + downs + self.servers("a", "b"), visits(40))

    def test_consistent_unix(self) -> None:
        """
        Sockets of this machine have their points too.
        """
        path = self.socket_path("s")
        group = f"hash $remote_addr consistent; server unix:{path} max_fails=0; " + self.servers("a", "b", "c")
        self.same(group, visits(60))

    def test_backups_before(self) -> None:
        """
        Backups that stand before C{hash} are accepted, and have their turns when the others are of no use.
        """
        servers = self.servers("a down", "nobody fail_timeout=60", "b backup", "c backup weight=2")
        for line in ("hash $remote_addr;", "hash $remote_addr consistent;"):
            self.assertEqual(set(self.same(servers + line, visits(9))), {"b", "c"})

    def test_twice(self) -> None:
        """
        A server that is listed twice is two peers, which share their points.
        """
        servers = self.servers("a", "a weight=2", "b", "c weight=3")
        for line in ("", "hash $remote_addr;", "hash $remote_addr consistent;", "least_conn;"):
            self.same(line + servers, visits(30))

    def test_names(self) -> None:
        """
        A server's name is its place on the circle, and each of its addresses a peer.
        """
        servers = f"server localhost:{self.ports['a']} max_fails=0; server localhost:{self.ports['b']} max_fails=0;"
        for line in ("", "hash $remote_addr;", "hash $remote_addr consistent;"):
            self.same(line + servers + self.servers("c"), visits(20))

    def test_no_key(self) -> None:
        """
        Without a key there is round robin, on the circle too.
        """
        before = "map $remote_port $nothing { default ''; }"
        servers = self.servers("a", "b weight=2", "c")
        for line in ("hash $nothing;", "hash $nothing consistent;"):
            self.same(line + servers, visits(12), before=before)

    def test_least_conn(self) -> None:
        """
        The fewest connections by weight; equals take turns.
        """
        script: list[Step] = [f"127.0.1.{number}" for number in range(1, 15)]
        script += [3, 4, "127.0.2.1", 0, 1, 2, "127.0.2.2", "127.0.2.3", "127.0.2.4", "127.0.2.5", 14, 12, "127.0.2.6"]
        self.same("least_conn; " + self.servers("a weight=4", "b weight=2", "c", "d"), script)

    def test_least_conn_failures(self) -> None:
        """
        Servers that fail or are full are passed over, and backups have the fewest too.
        """
        group = "zone back 64k; least_conn; " + self.servers(
            "nobody fail_timeout=60", "a max_conns=2", "b backup", "c backup weight=2"
        )
        self.same(group, [f"127.0.1.{number}" for number in range(1, 9)])

    def test_least_conn_visits(self) -> None:
        """
        Visitors that do not stay take turns.
        """
        self.same("least_conn; " + self.servers("a weight=3", "b", "c weight=2"), visits(18))

    def test_tries(self) -> None:
        """
        Only so many servers are tried.
        """
        group = self.servers("nobody max_fails=0", "a", "b") + "server 127.0.0.1:1 max_fails=0;"
        self.same(group, visits(12), settings="proxy_next_upstream_tries 1;")


class GoingAndComing(BalancingTestCase):
    """
    Back ends that end, and are there again.
    """

    OUT: Final = 2.0
    """C{fail_timeout} in seconds; nginx counts whole ones."""

    def setUp(self) -> None:
        """
        All that may end, by letter.
        """
        super().setUp()
        self.there: dict[str, Backend] = {}
        for letter in "xyz":
            self.ports[letter] = free_port()
            self.begin(letter)

    def begin(self, letter: str) -> None:
        """
        It is there from now on.
        """
        backend = self.there[letter] = Backend(greet(letter.encode()), port=self.ports[letter])
        self.addCleanup(backend.close)

    def test_weights(self) -> None:
        """
        A server that fails loses its turns, and gets them back when it has been aside long enough: at first one of
        them, and its weight when that was good. Backups are there when the others are not. So it is for every method.
        """
        out = f"fail_timeout={self.OUT:.0f}s"
        servers = self.servers(f"x weight=5 {out}", f"y weight=2 max_fails=2 {out}", f"z max_fails=3 {out}", "d down")
        backups = self.servers("a backup weight=2", "b backup")
        groups = (
            servers + backups,
            "least_conn; " + servers + backups,
            "hash $remote_addr; " + servers,
            "hash $remote_addr consistent; " + servers,
        )
        tables = [[Table(self, kind, group, "", "") for kind in (SNIPROXY, NGINX)] for group in groups]

        def visit(count: int) -> None:
            for table in (table for pair in tables for table in pair):
                table.visit(count)
                table.met += " "

        visit(40)
        self.there["x"].close()
        visit(8)
        self.there["y"].close()
        visit(8)
        for letter in "xy":
            self.begin(letter)
        since = time.monotonic()
        # a whole second more, which is what nginx may take
        eventually(lambda: time.monotonic() - since > self.OUT + 1.2, "the end of fail_timeout")
        visit(40)
        for letter in "xyz":
            self.there[letter].close()
        visit(6)
        for group, (ours, theirs) in zip(groups, tables, strict=True):
            self.assertEqual(ours.met, theirs.met, group)
            self.assertEqual(ours.tries(), theirs.tries(), group)
            _, _, _, again, last = theirs.met.split()
            if "hash" not in group:
                self.assertEqual(set(again), {"x", "y", "z"}, group)
            self.assertEqual(set(last), {"a", "b"} if "backup" in group else {"-"}, group)
