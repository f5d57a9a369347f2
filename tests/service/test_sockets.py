"""
Tests for L{sniproxy.service.sockets}.
"""

from __future__ import annotations

import os
import shutil
import socket
import stat
import tempfile
from types import SimpleNamespace
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.addresses import Address, DatagramAddress
from sniproxy.common.listening import Listening, ListenOptions
from sniproxy.config.build import Build
from sniproxy.config.grammar import Node
from sniproxy.errors import ConfigError, ConfigErrors
from sniproxy.service import sockets as under_test
from sniproxy.service.sockets import (
    Queues,
    close_queues,
    close_socket,
    open_queues,
    open_socket,
    open_sockets,
    queues_of,
)
from tests.support.ports import free_port
from tests.support.sessions import configured

LOOPBACK = Address("inet", "127.0.0.1", 0)
NODE = Node("listen", ("x",), (False,), None, "edge.conf", 7)


def listening(address: Address = LOOPBACK, nodelay: bool = True, **options: Any) -> Listening:
    """
    An address to listen on.
    """
    server: Any = SimpleNamespace(tcp_nodelay=nodelay)
    return Listening(address, ListenOptions(**options), False, server, NODE)


class SocketsCase(SynchronousTestCase):
    """
    A folder for unix sockets, with a short name.
    """

    def setUp(self) -> None:
        self.folder = tempfile.mkdtemp(prefix="sniproxy")
        self.addCleanup(shutil.rmtree, self.folder)

    def path(self, name: str) -> str:
        """
        Of a unix socket.
        """
        return os.path.join(self.folder, name)

    def open(self, wanted: Listening) -> socket.socket:
        """
        Open, and close in the end.
        """
        sock = open_socket(wanted)
        self.addCleanup(sock.close)
        return sock

    def build(self, *names: str) -> Build:
        """
        A configuration that listens on unix sockets.
        """
        servers = "\n".join(f"server {{ listen unix:{self.path(name)}; proxy_pass 192.0.2.1:1; }}" for name in names)
        return configured(f"stream {{\n{servers}\n}}")

    def listens(self, name: str) -> bool:
        """
        Whether somebody takes connections there.
        """
        with socket.socket(socket.AF_UNIX) as client:
            return client.connect_ex(self.path(name)) == 0


class OpenSocketTests(SocketsCase):
    """
    One socket.
    """

    def option(self, sock: socket.socket, level: int, name: int) -> int:
        """
        What the system says of a socket.
        """
        return sock.getsockopt(level, name)

    def test_listens(self) -> None:
        """
        The socket accepts connections, and its address can be taken again at once.
        """
        sock = self.open(listening())
        with socket.create_connection(sock.getsockname()):
            accepted, _ = sock.accept()
            accepted.close()
        self.assertTrue(self.option(sock, socket.SOL_SOCKET, socket.SO_REUSEADDR))
        self.assertFalse(self.option(sock, socket.SOL_SOCKET, socket.SO_REUSEPORT))

    def test_backlog(self) -> None:
        """
        The backlog is the one that is said, or else nginx's.
        """
        queues: list[int] = []

        class Recording(socket.socket):
            def listen(self, queue: int = 0) -> None:
                queues.append(queue)
                super().listen(queue)

        self.patch(socket, "socket", Recording)
        self.open(listening(backlog=7))
        self.open(listening())
        self.assertEqual(queues, [7, 511])

    def test_datagrams(self) -> None:
        """
        A socket for datagrams takes a port that one for connections has, with its options, and is used again.
        """
        stream = self.open(listening())
        address = DatagramAddress("inet", "127.0.0.1", stream.getsockname()[1])
        wanted = listening(address, reuseport=True, receive_buffer=20000)
        sock = self.open(wanted)
        self.assertEqual((sock.type, sock.getsockname()), (socket.SOCK_DGRAM, stream.getsockname()))
        self.assertTrue(self.option(sock, socket.SOL_SOCKET, socket.SO_REUSEPORT))
        self.assertEqual(self.option(sock, socket.SOL_SOCKET, socket.SO_RCVBUF), 40000)
        port = address.port
        servers = f"server {{ listen 127.0.0.1:{port} udp reuseport; proxy_pass 192.0.2.1:1; }}"
        build = configured(f"stream {{ {servers} }}")
        self.assertEqual(open_sockets(build, {address: sock}), {address: sock})
        queues = open_queues(build, {address: (sock,)}, 2)
        self.addCleanup(close_queues, queues, {})
        self.assertEqual([each.type for each in queues[address]], [socket.SOCK_DGRAM] * 2)

    def test_options(self) -> None:
        """
        Each option reaches the socket.
        """
        sock = self.open(
            listening(
                nodelay=False, keepalive=(100, None, 9), reuseport=True, receive_buffer=20000, send_buffer=30000,
                fastopen=5, deferred=True,
            )
        )  # fmt: skip
        tcp, level = socket.IPPROTO_TCP, socket.SOL_SOCKET
        self.assertTrue(self.option(sock, level, socket.SO_REUSEPORT))
        self.assertTrue(self.option(sock, level, socket.SO_KEEPALIVE))
        self.assertEqual(self.option(sock, tcp, socket.TCP_KEEPIDLE), 100)
        self.assertEqual(self.option(sock, tcp, socket.TCP_KEEPCNT), 9)
        self.assertEqual(self.option(sock, level, socket.SO_RCVBUF), 40000)
        self.assertEqual(self.option(sock, level, socket.SO_SNDBUF), 60000)
        self.assertFalse(self.option(sock, tcp, socket.TCP_NODELAY))
        self.assertNotEqual(self.option(sock, tcp, socket.TCP_DEFER_ACCEPT), 0)

    def test_keepalive(self) -> None:
        """
        Keepalive is on, off, or left as the system has it.
        """
        for value in (True, False):
            sock = self.open(listening(keepalive=value))
            self.assertEqual(bool(self.option(sock, socket.SOL_SOCKET, socket.SO_KEEPALIVE)), value)
        self.assertTrue(self.option(self.open(listening()), socket.IPPROTO_TCP, socket.TCP_NODELAY))

    def test_ipv6(self) -> None:
        """
        An IPv6 socket takes IPv6 alone, unless it is told otherwise.
        """
        for only in (True, False):
            sock = self.open(listening(Address("inet6", "::", 0), ipv6only=only))
            self.assertEqual(bool(self.option(sock, socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)), only)

    def test_unix(self) -> None:
        """
        A unix socket is open to everybody, as nginx's is.
        """
        self.open(listening(Address("unix", self.path("a")), receive_buffer=20000))
        self.assertTrue(self.listens("a"))
        self.assertEqual(stat.S_IMODE(os.stat(self.path("a")).st_mode), 0o666)

    def test_in_use(self) -> None:
        """
        An address that somebody has is one line, with the place of the directive.
        """
        port = self.open(listening()).getsockname()[1]
        error = self.assertRaises(ConfigError, open_socket, listening(Address("inet", "127.0.0.1", port)))
        self.assertEqual(str(error), f"bind() to 127.0.0.1:{port} failed (98: Address already in use) in edge.conf:7")

    def test_no_socket(self) -> None:
        """
        So is a family that the system lacks, and nothing is left open.
        """

        def refuse(*settings: Any) -> Any:
            raise OSError(97, "Address family not supported by protocol")

        self.patch(socket, "socket", refuse)
        error = self.assertRaises(ConfigError, open_socket, listening(Address("inet6", "::1", 1)))
        self.assertEqual(
            str(error), "socket() [::1]:1 failed (97: Address family not supported by protocol) in edge.conf:7"
        )

    def test_failure_after_bind(self) -> None:
        """
        Whatever fails when a unix socket has its name takes the name away again.
        """

        def refuse(path: str, mode: int) -> None:
            raise PermissionError(1, "Operation not permitted")

        self.patch(os, "chmod", refuse)
        error = self.assertRaises(ConfigError, open_socket, listening(Address("unix", self.path("a"))))
        self.assertIn(f"chmod() unix:{self.path('a')} failed (1: Operation not permitted)", str(error))
        self.assertFalse(os.path.exists(self.path("a")))


class OpenSocketsTests(SocketsCase):
    """
    All sockets of a configuration.
    """

    def all(
        self, build: Build, kept: dict[Address, socket.socket] | None = None, before: Build | None = None
    ) -> dict[Address, socket.socket]:
        """
        Open, and close in the end.
        """
        found = open_sockets(build, kept or {}, before)
        for sock in found.values():
            self.addCleanup(sock.close)
        return found

    def test_new(self) -> None:
        """
        Each door gets its socket.
        """
        found = self.all(self.build("a", "b"))
        self.assertEqual([address.host for address in found], [self.path("a"), self.path("b")])
        self.assertTrue(self.listens("a") and self.listens("b"))

    def test_kept(self) -> None:
        """
        Those whose address stays are used again, others are made, and those that are gone are left to their owner.
        """
        old = self.all(self.build("a", "b"))
        new = self.all(self.build("c", "b"), old)
        self.assertEqual([address.host for address in new], [self.path("c"), self.path("b")])
        stays = Address("unix", self.path("b"))
        self.assertIs(new[stays], old[stays])
        self.assertTrue(self.listens("a") and self.listens("b") and self.listens("c"))

    def test_all_or_nothing(self) -> None:
        """
        If any cannot be had all that is wrong is told, and no new one stays, nor its name.
        """
        self.open(listening(Address("unix", self.path("taken"))))
        self.open(listening(Address("unix", self.path("too"))))
        error = self.assertRaises(ConfigErrors, open_sockets, self.build("new", "taken", "too"), {})
        self.assertEqual(
            str(error).split("\n"),
            [
                f"[emerg] bind() to unix:{self.path(name)} failed (98: Address already in use) in /etc/edge.conf:{line}"
                for name, line in (("taken", 3), ("too", 4))
            ],
        )
        self.assertEqual(sorted(os.listdir(self.folder)), ["taken", "too"])

    def test_options_that_differ(self) -> None:
        """
        What is kept gets its options anew where they may differ from those that it has, and only there.
        """

        def build(listen: str, more: str = "") -> Build:
            path = self.path("a")
            return configured(f"stream {{ {more} server {{ listen unix:{path} {listen}; proxy_pass 192.0.2.1:1; }} }}")

        first = build("")
        old = self.all(first)
        asked: list[str] = []
        self.patch(under_test, "apply_options", lambda sock, listening: asked.append(listening.text))
        for after, before, wanted in (
            (build(""), first, 0),
            (build(""), None, 1),
            (build("rcvbuf=8k"), first, 1),
            (build("rcvbuf=8k"), build("rcvbuf=8k"), 0),
            (build("rcvbuf=8k"), build("rcvbuf=16k"), 1),
            (build(""), build("rcvbuf=8k"), 1),
            (build("", "tcp_nodelay off;"), first, 1),
        ):
            self.assertEqual(self.all(after, old, before), old)
            self.assertEqual(len(asked), wanted)
            asked.clear()

    def test_options_given_back(self) -> None:
        """
        Where a configuration comes to nothing, sockets get back the options they had, as far as the system lets them.
        """

        def build(options: str) -> Build:
            listens = "".join(f"server {{ listen unix:{self.path(name)} {options}; proxy_pass a:1; }}" for name in "ab")
            return configured(f"stream {{ {listens} }}".replace("a:1", "192.0.2.1:1"))

        first = build("")
        old = self.all(first)
        asked: list[tuple[str, int | None]] = []

        def refuse(sock: socket.socket, listening: Listening) -> None:
            asked.append((listening.text[-1], listening.options.receive_buffer))
            if listening.text.endswith("/b"):
                raise OSError(92, "Protocol not available")

        self.patch(under_test, "apply_options", refuse)
        self.assertRaises(ConfigErrors, open_sockets, build("rcvbuf=8k"), old, first)
        self.assertEqual(asked, [("a", 8192), ("b", 8192), ("a", None), ("b", None)])

    def test_kept_that_refuses(self) -> None:
        """
        A kept socket that takes no new options is an error, and the new ones are given up.
        """
        old = self.all(self.build("a"))

        def refuse(sock: socket.socket, listening: Listening) -> None:
            if listening.text.endswith("/a"):
                raise OSError(92, "Protocol not available")

        self.patch(under_test, "apply_options", refuse)
        error = self.assertRaises(ConfigErrors, open_sockets, self.build("a", "b"), old)
        self.assertIn(f"setsockopt() unix:{self.path('a')} failed (92: Protocol not available)", str(error))
        self.assertEqual(os.listdir(self.folder), ["a"])
        self.assertTrue(self.listens("a"))


class QueuesTests(SocketsCase):
    """
    Sockets for several workers.
    """

    def build_inet(self, *listens: str) -> Build:
        """
        A configuration that listens on ports of loopback.
        """
        servers = "\n".join(f"server {{ listen {listen}; proxy_pass 192.0.2.1:1; }}" for listen in listens)
        return configured(f"stream {{\n{servers}\n}}")

    def open_all(self, build: Build, kept: Queues, workers: int) -> Queues:
        """
        Open, and close in the end.
        """
        queues = open_queues(build, kept, workers)
        for sockets in queues.values():
            for sock in sockets:
                self.addCleanup(sock.close)
        return queues

    def test_shared(self) -> None:
        """
        Workers share one socket of an address; with reuseport each has one of its own, but of a unix socket.
        """
        one, two = free_port(), free_port()
        unix = f"unix:{self.path('a')}"
        queues = self.open_all(self.build_inet(f"127.0.0.1:{one}", f"127.0.0.1:{two} reuseport", unix), {}, 3)
        self.assertEqual([len(sockets) for sockets in queues.values()], [1, 3, 1])
        lent = [queues_of(queues, worker) for worker in range(3)]
        first, second = Address("inet", "127.0.0.1", one), Address("inet", "127.0.0.1", two)
        self.assertEqual(len({id(each[first]) for each in lent}), 1)
        self.assertEqual(len({id(each[second]) for each in lent}), 3)

    def test_more_and_fewer(self) -> None:
        """
        Those there are are kept, with new options; what is missing is made; what is too much is closed in the end.
        """
        port = free_port()
        address = Address("inet", "127.0.0.1", port)
        plain = self.open_all(self.build_inet(f"127.0.0.1:{port}"), {}, 2)
        two = self.open_all(self.build_inet(f"127.0.0.1:{port} reuseport"), plain, 2)
        self.assertIs(two[address][0], plain[address][0])
        three = self.open_all(self.build_inet(f"127.0.0.1:{port} reuseport so_keepalive=on"), two, 3)
        self.assertEqual(three[address][:2], two[address])
        for sock in three[address]:
            self.assertTrue(sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))
        again = self.open_all(self.build_inet(f"127.0.0.1:{port}"), three, 2)
        self.assertEqual(again[address], (plain[address][0],))
        close_queues(three, again)
        self.assertEqual([sock.fileno() >= 0 for sock in three[address]], [True, False, False])

    def test_all_or_nothing(self) -> None:
        """
        If one cannot be had no new one stays, and those that were there do.
        """
        port, other = free_port(), free_port()
        address = Address("inet", "127.0.0.1", port)
        kept = self.open_all(self.build_inet(f"127.0.0.1:{port} reuseport"), {}, 2)
        before = len(os.listdir("/proc/self/fd"))
        left = [3]

        def open_some(wanted: Listening) -> socket.socket:
            left[0] -= 1
            if not left[0]:
                raise ConfigError("too many")
            return open_socket(wanted)

        self.patch(under_test, "open_socket", open_some)
        build = self.build_inet(f"127.0.0.1:{port} reuseport", f"127.0.0.1:{other}", f"unix:{self.path('a')}")
        error = self.assertRaises(ConfigErrors, open_queues, build, kept, 3)
        self.assertEqual(str(error), "[emerg] too many")
        self.assertEqual((len(os.listdir("/proc/self/fd")), os.listdir(self.folder)), (before, []))
        self.assertEqual([sock.fileno() >= 0 for sock in kept[address]], [True, True])


class CloseTests(SocketsCase):
    """
    The end of a socket.
    """

    def test_unix(self) -> None:
        """
        A unix socket that is closed for good loses its name, if it still has one.
        """
        for gone in (False, True):
            address = Address("unix", self.path("a"))
            sock = self.open(listening(address))
            if gone:
                os.unlink(self.path("a"))
            close_socket(address, sock)
            self.assertEqual((sock.fileno(), os.listdir(self.folder)), (-1, []))

    def test_inet(self) -> None:
        """
        Others are closed.
        """
        sock = self.open(listening())
        close_socket(LOOPBACK, sock)
        self.assertEqual(sock.fileno(), -1)
