"""
Tests for L{sniproxy.stream.proxying_datagrams}.
"""

from __future__ import annotations

import errno

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.addresses import Address
from sniproxy.wire.proxy_protocol import read_header
from tests.support.messages import Correspondent, FakeUpstream, upstream_of
from tests.support.sessions import World, failure

WHERE = ', udp client: 192.0.2.77, server: 192.0.2.1:53, upstream: "192.0.2.2:53"'

LOGGED = (
    "$protocol $status $bytes_received/$bytes_sent $upstream_addr $upstream_bytes_sent/$upstream_bytes_received"
    " $upstream_connect_time $upstream_first_byte_time $session_time"
)


def world_with(settings: str = "", around: str = "") -> World:
    """
    One server for datagrams.
    """
    return World(f"{around} server {{ listen 192.0.2.1:53 udp; proxy_pass 192.0.2.2:53; {settings} }}")


class PassingOn(SynchronousTestCase):
    """
    A client, and an upstream.
    """

    def test_exchange(self) -> None:
        """
        What the client sends goes to the upstream, its answers to the client, and the log tells of all.
        """
        world = world_with("proxy_responses 2; proxy_timeout 5s;")
        client = Correspondent(world, b"question")
        attempt = world.attempt()
        self.assertEqual((attempt.address, attempt.options.datagrams), (Address("inet", "192.0.2.2", 53), True))
        upstream = upstream_of(world)
        self.assertEqual(upstream.taken(), [b"question"])
        world.pass_time(0.25)
        upstream.arrive(b"part")
        self.assertEqual((client.taken(), world.ended), ([b"part"], []))
        upstream.arrive(b"rest")
        self.assertEqual(client.taken(), [b"rest"])
        self.assertEqual((client.known, upstream.closed), (False, True))
        self.assertEqual(world.value(LOGGED), "UDP 200 8/8 192.0.2.2:53 8/8 0.000 0.250 0.250")
        self.assertEqual(
            world.lines,
            [
                "[info] *1 udp client 192.0.2.77:40000 connected to 192.0.2.1:53",
                "[info] *1 udp proxy 192.0.2.99:50000 connected to 192.0.2.2:53",
                "[info] *1 udp done, packets from/to client:1/2, bytes from/to client:8/8, bytes from/to upstream:8/8",
            ],
        )

    def test_silent_log(self) -> None:
        """
        None of this is said to a log that wants to hear of errors only.
        """
        world = World("server { listen 192.0.2.1:53 udp; proxy_pass 192.0.2.2:53; proxy_responses 0; }", level=4)
        Correspondent(world)
        upstream_of(world)
        self.assertEqual((world.lines, world.statuses()), ([], [200]))

    def test_new_session(self) -> None:
        """
        With C{proxy_requests} sent, the next datagram of a client begins another session, while the first goes on.
        """
        world = world_with("proxy_requests 2;")
        client = Correspondent(world, b"1")
        client.send(b"2")
        self.assertTrue(client.known)
        upstream = upstream_of(world)
        self.assertEqual((upstream.taken(), client.known), ([b"1", b"2"], False))
        upstream.arrive(b"late")
        self.assertEqual((client.taken(), len(world.runtime.sessions)), ([b"late"], 1))

    def test_before_the_upstream_is_known(self) -> None:
        """
        The first datagram counts from the beginning, though it goes nowhere.
        """
        world = World("upstream u { server 192.0.2.2:53 down; } server { listen 192.0.2.1:53 udp; proxy_pass u; }")
        Correspondent(world, b"12345")
        self.assertEqual(world.value(LOGGED), "UDP 502 5/0 u 0/0 - - 0.000")
        self.assertEqual(
            world.lines[-1],
            "[error] *1 no live upstreams while connecting to upstream, udp client: 192.0.2.77, server: 192.0.2.1:53"
            ', upstream: "u", bytes from/to client:5/0, bytes from/to upstream:0/0',
        )

    def test_not_passed_on(self) -> None:
        """
        Who is turned away before that has sent one datagram, too; whoever is told something gets one.
        """
        world = World("server { listen 192.0.2.1:53 udp; deny all; return x; }")
        Correspondent(world, b"12345")
        self.assertEqual(world.value("$status $bytes_received"), "403 5")
        self.assertEqual(
            world.lines[-1],
            "[error] *1 access forbidden by rule while initializing session, udp client: 192.0.2.77"
            ", server: 192.0.2.1:53",
        )
        world = World('server { listen 192.0.2.1:53 udp; set $a 1; return "$protocol $a $bytes_received"; }')
        client = Correspondent(world, b"12345")
        self.assertEqual((client.taken(), client.known), ([b"UDP 1 5"], False))
        self.assertEqual(world.value("$status $bytes_received/$bytes_sent"), "200 5/7")

    def test_unix(self) -> None:
        """
        A client on a unix socket may have a name, by which logs know it.
        """
        world = World("server { listen unix:/run/s udp; deny unix:; return x; }")
        Correspondent(world, peer=Address("unix", "/run/c"))
        self.assertEqual(
            world.lines,
            [
                "[info] *1 udp client unix:/run/c connected to unix:/run/s",
                "[error] *1 access forbidden by rule while initializing session, udp client: unix:/run/c"
                ", server: unix:/run/s",
            ],
        )

    def test_no_preread(self) -> None:
        """
        C{ssl_preread} does not look at datagrams.
        """
        world = World('server { listen 192.0.2.1:53 udp; ssl_preread on; return "-$ssl_preread_protocol-"; }')
        self.assertEqual(Correspondent(world, b"\x16\x03\x01\x00\x10").taken(), [b"--"])

    def test_rates(self) -> None:
        """
        Rates hold for datagrams, by themselves and by variables.
        """
        for rate in ("10", "$bytes_received"):
            world = world_with(f"proxy_upload_rate {rate}; proxy_download_rate 10;")
            client = Correspondent(world, bytes(10))
            upstream = upstream_of(world)
            client.send(b"x")
            upstream.arrive(bytes(10), b"y")
            self.assertEqual((len(upstream.sent), len(client.port.sent)), (1, 1))
            world.pass_time(2)
            self.assertEqual((len(upstream.sent), len(client.port.sent)), (2, 2))

    def test_headers(self) -> None:
        """
        An upstream that is to know who the client is finds it in the first datagram.
        """
        world = world_with("proxy_protocol on;")
        client = Correspondent(world, b"1")
        upstream = upstream_of(world)
        client.send(b"2")
        self.assertEqual(upstream.taken(), [b"PROXY TCP4 192.0.2.77 192.0.2.1 40000 53\r\n1", b"2"])
        world = world_with("proxy_protocol v2;")
        Correspondent(world, b"1")
        (data,) = upstream_of(world).taken()
        self.assertEqual((data[12:14], data[-1:]), (b"\x21\x12", b"1"))
        self.assertIsNotNone(read_header(data[:13] + b"\x11" + data[14:]))

    def test_tls(self) -> None:
        """
        TLS is for streams: there is none, and a warning says so.
        """
        world = world_with("proxy_ssl on;")
        Correspondent(world, b"1")
        self.assertEqual(upstream_of(world).taken(), [b"1"])
        self.assertEqual(
            [str(warning) for warning in world.build.warnings],
            ['"proxy_ssl" has no effect on datagrams, which are sent in the clear in /etc/edge.conf:2'],
        )


class Failures(SynchronousTestCase):
    """
    Peers that do not answer.
    """

    def test_unreachable(self) -> None:
        """
        Where the system knows no way to a peer the next one is tried, which gets the datagram.
        """
        world = World(
            "upstream u { server 192.0.2.2:53; server 192.0.2.3:53; }"
            " server { listen 192.0.2.1:53 udp; proxy_pass u; proxy_responses 1; }"
        )
        Correspondent(world, b"1")
        world.attempt().fail(errno.ENETUNREACH, at_once=True)
        upstream = upstream_of(world)
        self.assertEqual(upstream.taken(), [b"1"])
        upstream.arrive(b"2")
        self.assertEqual(world.value("$status $upstream_addr"), "200 192.0.2.2:53, 192.0.2.3:53")
        self.assertIn("[error] *1 connect() to 192.0.2.2:53 failed (101: Network is unreachable)", world.lines[1])

    def test_descriptors(self) -> None:
        """
        Where the process has no socket left the session ends, and nothing else.
        """
        world = world_with()
        Correspondent(world, b"1")
        world.attempt().fail(errno.EMFILE, at_once=True)
        self.assertEqual(world.statuses(), [500])
        self.assertIn("[crit] *1 socket() failed (24: Too many open files) while connecting", world.lines[-1])
        client = Correspondent(world, b"2")
        upstream_of(world).arrive(b"answer")
        self.assertEqual(client.taken(), [b"answer"])

    def test_nobody_listens(self) -> None:
        """
        What the network says of a peer is in the log; the client gets an empty datagram; and when the session ends the
        peer is left alone for a while.
        """
        world = World(
            "upstream u { server 192.0.2.2:53; server 192.0.2.3:53; }"
            " server { listen 192.0.2.1:53 udp; proxy_pass u; proxy_responses 1; }"
        )
        client = Correspondent(world, b"1")
        upstream_of(world).refuse()
        self.assertEqual((client.taken(), world.statuses()), ([b""], [200]))
        traffic = ", bytes from/to client:1/0, bytes from/to upstream:0/1"
        self.assertEqual(
            world.lines[2:],
            [
                "[error] *1 recv() failed (111: Connection refused) while proxying and reading from upstream"
                f"{WHERE}{traffic}",
                f"[info] *1 udp done, packets from/to client:1/1{traffic}",
                f"[warn] *1 upstream server temporarily disabled while proxying connection{WHERE}{traffic}",
            ],
        )
        for _ in range(2):
            Correspondent(world, b"1")
            self.assertEqual(world.attempt().address.host, "192.0.2.3")
            upstream_of(world).arrive(b"here")

    def test_sending_fails(self) -> None:
        """
        Where sending fails the session ends; only the upstream's failure is held against the peer.
        """
        for side, level, disabled in (("upstream", "error", True), ("client", "info", False)):
            world = World(
                "upstream u { server 192.0.2.2:53; server 192.0.2.3:53; }"
                " server { listen 192.0.2.1:53 udp; proxy_pass u; }"
            )
            client = Correspondent(world, b"1")
            upstream = upstream_of(world)
            if side == "upstream":
                upstream.error = failure(errno.ECONNREFUSED)
                client.send(b"2")
            else:
                client.port.error = failure(errno.EPERM)
                upstream.arrive(b"2")
            self.assertEqual(world.statuses(), [200])
            self.assertEqual("temporarily disabled" in world.lines[-1], disabled)
            (line,) = [line for line in world.lines if "sendmsg() failed" in line]
            self.assertTrue(line.startswith(f"[{level}] *1 "), line)
            self.assertIn(f") while proxying and sending to {side}{WHERE}", line)

    def test_timeout(self) -> None:
        """
        A session that nobody says anything in is over; where nobody knows of answers that are missing that is well.
        """
        world = world_with("proxy_timeout 2s;")
        client = Correspondent(world, b"1")
        upstream_of(world)
        world.pass_time(1.5)
        client.send(b"2")
        world.pass_time(1.5)
        self.assertEqual(world.statuses(), [])
        world.pass_time(1)
        self.assertEqual(world.statuses(), [200])
        self.assertEqual(
            world.lines[-1],
            "[info] *1 udp timed out, packets from/to client:2/0, bytes from/to client:2/0, bytes from/to upstream:0/2",
        )

    def test_no_answer(self) -> None:
        """
        Where answers are missing it is the peer's fault.
        """
        world = World(
            "upstream u { server 192.0.2.2:53; server 192.0.2.3:53; }"
            " server { listen 192.0.2.1:53 udp; proxy_pass u; proxy_timeout 2s; proxy_responses 1; }"
        )
        Correspondent(world, b"1")
        upstream_of(world)
        world.pass_time(2.5)
        self.assertEqual(world.statuses(), [502])
        traffic = ", bytes from/to client:1/0, bytes from/to upstream:0/1"
        self.assertEqual(
            world.lines[2:],
            [
                f"[error] *1 upstream timed out (110: Connection timed out) while proxying connection{WHERE}{traffic}",
                f"[warn] *1 upstream server temporarily disabled while proxying connection{WHERE}{traffic}",
            ],
        )

    def test_abort(self) -> None:
        """
        Who is ended from outside closes what it has.
        """
        world = world_with()
        client = Correspondent(world, b"1")
        upstream: FakeUpstream = upstream_of(world)
        world.runtime.abort()
        self.assertEqual((client.known, upstream.closed, world.statuses()), (False, True, [200]))
