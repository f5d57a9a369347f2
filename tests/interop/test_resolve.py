"""
Do groups follow their names while the program runs? A real name server, whose zone changes, and real back ends; nginx
of Debian has no C{resolve}, so that there is nothing to compare.
"""

from __future__ import annotations

import re
import sys

from tests.support import clients
from tests.support.backends import Backend, greet
from tests.support.ports import free_port
from tests.support.programs import PATIENCE, eventually, python_environment, write_text
from tests.support.proxies import Proxy, ProxyTestCase

GROUP = """stream {
    resolver 127.0.0.1:@dns@ ipv6=off valid=1s;
    upstream back { zone back 64k; @servers@ }
    server { listen 127.0.0.1:@port@; proxy_pass back; }
}
"""


class ResolveTestCase(ProxyTestCase):
    """
    A name server, and back ends on one port of three addresses.
    """

    def setUp(self) -> None:
        """
        Start them.
        """
        super().setUp()
        self.zone("")
        program = self.start(
            "dns",
            sys.executable,
            "-m",
            "tests.support.dns_server",
            "--zone",
            self.path("zone"),
            env=python_environment(),
        )
        self.dns = int(program.ready(lambda: program.output().partition("\n")[0], "the name server's port"))
        self.back_port, self.port = free_port(), free_port()
        for letter, host in (("a", "127.0.0.2"), ("b", "127.0.0.3"), ("c", "127.0.0.4")):
            backend = Backend(greet(letter.encode()), port=self.back_port, address=host)
            self.addCleanup(backend.close)

    def zone(self, text: str) -> None:
        """
        What the name server knows from now on.
        """
        write_text(self.path("zone"), text)

    def edge(self, servers: str) -> Proxy:
        """
        The proxy, with these servers in its group.
        """
        return self.proxy(GROUP, dns=self.dns, servers=servers, port=self.port)

    def meets(self) -> str:
        """
        Whom a client meets; a dash for nobody.
        """
        with clients.plain(self.port) as client:
            client.settimeout(PATIENCE)
            return client.recv(1).decode() or "-"

    def waits_for(self, *letters: str) -> None:
        """
        Wait until clients meet exactly these, in turns.
        """
        wanted = sorted(letters)
        eventually(lambda: sorted(self.meets() for _ in wanted) == wanted, f"clients meet {wanted}")


class Resolve(ResolveTestCase):
    """
    Names and services.
    """

    def test_name(self) -> None:
        """
        Peers come and go with the answers; sessions go on; a reload keeps what is known.
        """
        self.zone("back.example A 127.0.0.2 1\n")
        edge = self.edge(f"server back.example:{self.back_port} resolve;")
        self.waits_for("a")
        with clients.plain(self.port) as stays:
            stays.settimeout(PATIENCE)
            self.assertEqual(stays.recv(1), b"a")
            self.zone("back.example A 127.0.0.3 1\nback.example A 127.0.0.4 1\n")
            self.waits_for("b", "c")
            stays.sendall(b"still")
            self.assertEqual(stays.recv(5), b"still")
        self.zone("back.example SERVFAIL\n")
        edge.logged("[error] back.example could not be resolved (2: Server failure)")
        edge.reload()
        self.waits_for("b", "c")
        self.assertNotIn("-", self.meets())

    def test_service(self) -> None:
        """
        A service has its hosts, ports and backups from the name server.
        """
        port = self.back_port
        hosts = "one.example A 127.0.0.2 1\ntwo.example A 127.0.0.3 1\nthree.example A 127.0.0.4 1\n"
        name = "_echo._tcp.back.example SRV"
        self.zone(f"{hosts}{name} 1:1:{port}:one.example 1\n{name} 2:1:{port}:two.example 1\n")
        self.edge("server back.example service=echo resolve;")
        self.waits_for("a", "a")
        self.zone(f"{hosts}{name} 1:1:{free_port()}:one.example 1\n{name} 2:1:{port}:two.example 1\n")
        self.waits_for("b", "b")
        self.zone(f"{hosts}{name} 1:2:{port}:three.example 1\n{name} 1:1:{port}:one.example 1\n")
        self.waits_for("c", "c", "a")

    def test_gone(self) -> None:
        """
        When a name does not exist any more there is nobody, and the log says so.
        """
        self.zone("back.example A 127.0.0.2 1\n")
        edge = self.edge(f"server back.example:{self.back_port} resolve;")
        self.waits_for("a")
        self.zone("")
        edge.logged("[error] back.example could not be resolved (3: Host not found)")
        self.waits_for("-")
        edge.logged(re.compile(r"^\[error\] no live upstreams while connecting to upstream, client"))
