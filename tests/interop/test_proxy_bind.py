"""
Do connections to upstreams come from where nginx's come from?
"""

from __future__ import annotations

from tests.support import clients
from tests.support.backends import Backend, greet
from tests.support.ports import free_port
from tests.support.programs import PATIENCE, eventually, read_text
from tests.support.proxies import NGINX, ProxyTestCase

CONFIGURATION = """stream {
    log_format end '$status $upstream_addr';
    access_log @log@ end;
    map $remote_addr $nothing { default ''; }
    map $remote_addr $nonsense { default 'nonsense'; }
    map $remote_addr $own { default 127.0.0.7; }
    server { listen 127.0.0.1:@port@; proxy_pass 127.0.0.1:@back@; proxy_bind @bind@; }
}
"""


class Bind(ProxyTestCase):
    """
    C{proxy_bind} in all its forms.
    """

    def setUp(self) -> None:
        """
        A back end that knows who comes.
        """
        super().setUp()
        self.back = Backend(greet(b"x"))
        self.addCleanup(self.back.close)

    def source(self, bind: str) -> str:
        """
        @return: the address the back end has seen; what the log says where it has seen nobody.
        """
        port = free_port()
        log = self.path(f"{port}.access")
        edge = self.proxy(CONFIGURATION, f"edge{port}", log=log, port=port, back=self.back.port, bind=bind)
        before = self.back.accepted
        with clients.plain(port) as client:
            client.settimeout(PATIENCE)
            heard = client.recv(1)
        line = eventually(lambda: read_text(log), "the end of the session in the access log")
        if heard:
            self.assertEqual(line, f"200 127.0.0.1:{self.back.port}\n")
            self.complaints = [str(each) for each in edge.lines() if each.level in ("crit", "error", "alert")]
            return self.back.visit(before).peer[0]
        self.assertEqual(line, "500 \n")
        (complaint,) = (str(each) for each in edge.lines() if each.level in ("crit", "error", "alert"))
        complaint, _, rest = complaint.partition(", client: ")
        self.assertEqual(
            rest,
            f'127.0.0.1, server: 127.0.0.1:{port}, upstream: "127.0.0.1:{self.back.port}", '
            "bytes from/to client:0/0, bytes from/to upstream:0/0",
        )
        return complaint

    def test_addresses(self) -> None:
        """
        The address is as it is written, or as the variable says; where that says nothing it is any.
        """
        self.assertEqual(self.source("127.0.0.5"), "127.0.0.5")
        self.assertEqual(self.source("$own"), "127.0.0.7")
        self.assertEqual(self.source("off"), "127.0.0.1")
        self.assertEqual(self.source("$nothing"), "127.0.0.1")

    def test_port(self) -> None:
        """
        A port is taken too.
        """
        port = free_port()
        self.assertEqual(self.source(f"127.0.0.5:{port}"), "127.0.0.5")
        self.assertEqual(self.back.visits[-1].peer[1], port)

    def test_nonsense(self) -> None:
        """
        A variable that is no address is told, and the session goes on from any.
        """
        self.assertEqual(self.source("$nonsense"), "127.0.0.1")
        (complaint,) = self.complaints
        self.assertTrue(complaint.startswith('[error] invalid local address "nonsense"'), complaint)

    def test_refused(self) -> None:
        """
        An address of another machine is no address of ours, and one of another family neither.
        """
        self.assertEqual(
            self.source("192.0.2.1"),
            "[crit] bind(192.0.2.1) failed (99: Cannot assign requested address) while connecting to upstream",
        )
        self.assertEqual(
            self.source("[::1]:9"),
            "[crit] bind([::1]:9) failed (97: Address family not supported by protocol) while connecting to upstream",
        )

    def test_transparent(self) -> None:
        """
        With the privilege the client's own address goes on; without it the log says so.
        """
        found = self.source("$remote_addr transparent")
        self.assertIn(
            found,
            (
                "127.0.0.1",
                "[alert] setsockopt(IP_TRANSPARENT) failed (1: Operation not permitted) while connecting to upstream",
            ),
        )


class BindNginx(Bind):
    """
    nginx does the same.
    """

    kind = NGINX
