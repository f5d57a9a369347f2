"""
Tests for L{sniproxy.stream.proxying}.
"""

from __future__ import annotations

import errno
from functools import cache
from typing import Any

from OpenSSL import SSL
from twisted.names.dns import Record_A
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.addresses import Address
from sniproxy.balancing.choice import Balancer
from sniproxy.common.upstream import groups
from sniproxy.errors import BindError, TransparencyError
from sniproxy.levels import ERROR
from tests.support import hellos, pki
from tests.support.sessions import (
    Attempt,
    FakeLeg,
    FarEnd,
    World,
    client_connection,
    failure,
    server_of,
    server_settings,
)

LISTEN = "listen 192.0.2.1:443;"
ONE = f"server {{ {LISTEN} proxy_pass 192.0.2.2:2; }}"
THREE = """
upstream back {{
    server 192.0.2.2:1 {one}; server 192.0.2.2:2 {two}; server 192.0.2.2:3 {three};
}}
server {{ listen 192.0.2.1:443; proxy_pass back; {settings} }}
"""

TRIED = "$upstream_addr"
TIMES = "$upstream_connect_time/$upstream_first_byte_time/$upstream_session_time"
BYTES = "$upstream_bytes_sent/$upstream_bytes_received"


def three(settings: str = "", one: str = "", two: str = "", three: str = "") -> str:
    """
    A server before a group of three.
    """
    return THREE.format(settings=settings, one=one, two=two, three=three)


class Counting:
    """
    A choice that counts what is done with it.
    """

    def __init__(self, choice: Any, calls: list[str]) -> None:
        self._choice = choice
        self._calls = calls
        self.name = choice.name

    @property
    def tries(self) -> int:
        """
        As the choice says.
        """
        tries: int = self._choice.tries
        return tries

    @tries.setter
    def tries(self, tries: int) -> None:
        self._choice.tries = tries

    def next(self) -> Any:
        """
        Count a peer.
        """
        peer = self._choice.next()
        self._calls.append("next" if peer is not None else "none")
        return peer

    def connected(self) -> None:
        """
        Count an answer.
        """
        self._calls.append("connected")
        self._choice.connected()

    def release(self, failed: bool) -> None:
        """
        Count a release.
        """
        self._calls.append("failed" if failed else "released")
        self._choice.release(failed)


class ProxyingCase(SynchronousTestCase):
    """
    What tests of this module share.
    """

    def setUp(self) -> None:
        self.calls: list[str] = []
        begin = Balancer.begin
        self.patch(Balancer, "begin", lambda balancer, session: Counting(begin(balancer, session), self.calls))

    def counted(self, text: str, **settings: Any) -> World:
        """
        A world that notes in C{calls} what becomes of peers.
        """
        self.calls.clear()
        return World(text, **settings)

    def assertAllReleased(self, world: World) -> None:
        """
        Each peer was released exactly once, and none counts a connection.
        """
        self.assertEqual(self.calls.count("next"), self.calls.count("failed") + self.calls.count("released"))
        for group in groups(world.build).values():
            self.assertEqual([peer.conns for peer in group.group.peers], [0] * len(group.group.peers))

    def ports(self, world: World) -> list[int]:
        """
        Which peers were tried.
        """
        return [attempt.address.port for attempt in world.network.attempts]

    def assertOver(self, world: World, client: FakeLeg, status: int) -> None:
        """
        The one session is over, and nothing of it is left.
        """
        self.assertEqual((world.statuses(), client.closed, world.runtime.sessions), ([status], True, set()))
        self.assertEqual([each for each in world.network.attempts if not each.answered and not each.cancelled], [])
        world.pass_time(1000)
        self.assertEqual((world.statuses(), world.reactor.getDelayedCalls()), ([status], []))


class RelayTests(ProxyingCase):
    """
    Bytes, once an upstream is there.
    """

    def test_both_ways(self) -> None:
        """
        What was said before and after the connection is passed on, both ways, and counted.
        """
        world = World(ONE)
        client = world.client(b"early ")
        upstream = world.attempt().succeed(b"banner")
        client.arrive(b"late")
        self.assertEqual((upstream.taken(), client.taken()), (b"early late", b"banner"))
        session = world.session()
        self.assertEqual((session.bytes_received, session.bytes_sent), (10, 6))
        traffic = session.traffic
        assert traffic is not None
        self.assertEqual((traffic.bytes_to_upstream, traffic.bytes_from_upstream), (10, 6))

    def test_nothing_counts_before(self) -> None:
        """
        Before the upstream is there no byte counts.
        """
        world = World(ONE)
        world.client(b"early")
        traffic = world.session().traffic
        assert traffic is not None
        self.assertEqual(
            (traffic.bytes_received, traffic.bytes_sent, traffic.bytes_to_upstream, traffic.bytes_from_upstream),
            (0, 0, 0, 0),
        )

    def test_options(self) -> None:
        """
        The socket is made as the server says, and the attempt counts as a connection of the process.
        """
        world = World(f"server {{ {LISTEN} proxy_pass 192.0.2.2:2; proxy_socket_keepalive on; tcp_nodelay off; }}")
        world.client()
        options = world.attempt().options
        self.assertEqual((options.keepalive, options.nodelay), (True, False))
        self.assertEqual(world.engine.next_number(), 3)

    def test_speaks_first(self) -> None:
        """
        It is known that we shall speak first to an upstream where there is a ClientHello to pass on, a PROXY header or
        TLS of our own; else it may be the upstream that does.
        """
        for words, said, speaks in (
            ("ssl_preread on;", hellos.hello(), True),
            ("ssl_preread on;", b"SSH-2.0-x\r\n", False),
            ("", b"", False),
            ("proxy_protocol on;", b"", True),
            ("proxy_ssl on;", b"", True),
        ):
            world = World(f"server {{ {LISTEN} proxy_pass 192.0.2.2:2; {words} }}")
            world.client(said)
            self.assertEqual(world.attempt().options.speaks_first, speaks, words)

    def test_either_end(self) -> None:
        """
        The end of either side ends both, after what it said last was passed on.
        """
        for side in ("client", "upstream"):
            world = self.counted(three())
            client = world.client()
            upstream = world.attempt().succeed()
            here, there = (client, upstream) if side == "client" else (upstream, client)
            there.room = 3
            here.arrive(b"last words")
            here.end()
            self.assertFalse(client.closed)
            there.room = None
            self.assertEqual(there.taken(), b"las")
            there.edge(4)
            self.assertEqual(there.taken(), b"t words")
            self.assertOver(world, client, 200)
            self.assertTrue(upstream.closed)
            self.assertEqual(self.calls, ["next", "connected", "released"])
            self.assertTrue(any(f"{side} disconnected" in line for line in world.lines))

    def test_half_close(self) -> None:
        """
        With proxy_half_close the other side may go on.
        """
        world = World(f"server {{ {LISTEN} proxy_pass 192.0.2.2:2; proxy_half_close on; }}")
        client = world.client(b"question")
        upstream = world.attempt().succeed()
        client.end()
        self.assertTrue(upstream.finished)
        upstream.arrive(b"answer")
        self.assertEqual(client.taken(), b"answer")
        upstream.end()
        self.assertOver(world, client, 200)

    def test_breaks(self) -> None:
        """
        A connection that breaks ends the session and says so: as an error for the upstream, as information for the
        client.
        """
        for side, level in (("client", "info"), ("upstream", "error")):
            world = self.counted(three())
            client = world.client()
            upstream = world.attempt().succeed()
            (client if side == "client" else upstream).lose()
            self.assertOver(world, client, 200)
            self.assertTrue(upstream.closed)
            self.assertTrue(
                any(f"[{level}] *1 recv() failed (104: Connection reset by peer)" in line for line in world.lines)
            )
            self.assertAllReleased(world)

    def test_breaks_while_sending(self) -> None:
        """
        A connection that breaks when it is sent to is told as such.
        """
        world = World(ONE)
        client = world.client()
        upstream = world.attempt().succeed()
        upstream._broken = OSError(errno.EPIPE, "Broken pipe")
        client.arrive(b"x")
        self.assertOver(world, client, 200)
        self.assertTrue(any("send() failed (32: Broken pipe)" in line for line in world.lines))

    def test_idle(self) -> None:
        """
        Without a byte for proxy_timeout the session ends with 200; each byte puts that off.
        """
        world = self.counted(three("proxy_timeout 5s;"))
        client = world.client()
        upstream = world.attempt().succeed()
        for leg in (client, upstream, client):
            world.pass_time(4)
            leg.arrive(b"x")
        world.pass_time(4.8)
        self.assertFalse(client.closed)
        world.pass_time(0.4)
        self.assertOver(world, client, 200)
        self.assertTrue(upstream.closed)
        self.assertIn("timed out", world.lines[-1])
        self.assertAllReleased(world)

    def test_states(self) -> None:
        """
        What is known of the upstream afterwards: its address, when it was connected, when it spoke first, how long it
        was in use, and the bytes.
        """
        world = World(ONE)
        client = world.client(b"12345")
        world.pass_time(1)
        upstream = world.attempt().succeed()
        self.assertEqual(world.value(TIMES, world.session()), "1.000/-/-")
        world.pass_time(1)
        upstream.arrive(b"123")
        world.pass_time(1)
        client.end()
        self.assertEqual(world.value(TRIED), "192.0.2.2:2")
        self.assertEqual(world.value(TIMES), "1.000/2.000/3.000")
        self.assertEqual(world.value(BYTES), "5/3")

    def test_quiet_log(self) -> None:
        """
        Where nobody wants to hear it nothing is said of connections.
        """
        world = World(ONE, level=ERROR)
        client = world.client()
        world.attempt().succeed()
        client.end()
        self.assertEqual(world.lines, [])


class RatedTests(ProxyingCase):
    """
    Sessions that may move only so many bytes a second.
    """

    def test_rated(self) -> None:
        """
        Their bytes are counted as any others.
        """
        world = self.counted(f"server {{ {LISTEN} proxy_pass 192.0.2.2:2; proxy_upload_rate 3; }}")
        client = world.client(b"hello")
        upstream = world.attempt().succeed()
        self.assertEqual(upstream.taken(), b"hel")
        world.pass_time(1.1)
        self.assertEqual(upstream.taken(), b"lo")
        upstream.arrive(b"x")
        client.lose()
        world.pass_time(2)
        self.assertEqual((world.value(BYTES), world.statuses()), ("5/1", [200]))


class NextPeerTests(ProxyingCase):
    """
    Peers that fail, and the next.
    """

    def test_refused(self) -> None:
        """
        A peer that refuses is left for the next one, and is told in the log and by the variables.
        """
        for at_once in (False, True):
            world = self.counted(three())
            client = world.client(b"x")
            world.pass_time(1)
            world.attempt().fail(at_once=at_once)
            self.assertIn(" failed (111: Connection refused) while connecting to upstream", "".join(world.lines))
            world.pass_time(2)
            upstream = world.attempt().succeed()
            self.assertEqual(upstream.taken(), b"x")
            client.end()
            self.assertEqual(world.value(TRIED), "192.0.2.2:1, 192.0.2.2:2")
            self.assertEqual(world.value(TIMES), "-, 2.000/-, -/1.000, 2.000")
            self.assertEqual(world.value(BYTES), "0, 1/0, 0")
            self.assertEqual(self.calls, ["next", "failed", "next", "connected", "released"])
            self.assertAllReleased(world)

    def test_own_address_refused(self) -> None:
        """
        Where our own address cannot be had the session ends with 500, and to the variables nobody was tried.
        """
        for kind, said in (
            (BindError, "[crit] *1 bind(192.0.2.9) failed (99: Cannot assign requested address) while connecting to"),
            (TransparencyError, "[alert] *1 setsockopt(IP_TRANSPARENT) failed (99: Cannot assign requested address)"),
        ):
            world = self.counted(three("proxy_bind 192.0.2.9 transparent;"))
            client = world.client()
            attempt = world.attempt()
            self.assertEqual(attempt.options.bind, Address("inet", "192.0.2.9"))
            attempt.answered = True
            attempt._done(kind(errno.EADDRNOTAVAIL, "Cannot assign requested address"), 0)
            self.assertOver(world, client, 500)
            self.assertIn(said, "".join(world.lines))
            self.assertEqual(world.value(TRIED), "")
            self.assertAllReleased(world)

    def test_unusual_refusals_are_louder(self) -> None:
        """
        What networks do every day is an error; what the system says of a socket that is not there is critical.
        """
        for number, level in ((errno.ENETUNREACH, "error"), (errno.ENOENT, "crit"), (errno.EACCES, "crit")):
            world = self.counted(three())
            world.client()
            world.attempt().fail(number, at_once=True)
            self.assertIn(f"[{level}] *1 connect() to 192.0.2.2:1 failed ({number}: ", "".join(world.lines))

    def test_nothing_left_of_ours(self) -> None:
        """
        Where we have run out of something ourselves the session ends with 500, and no peer is thought worse of.
        """
        for number in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
            world = self.counted(three())
            client = world.client()
            world.attempt().fail(number, at_once=True)
            self.assertOver(world, client, 500)
            self.assertEqual(self.ports(world), [1])
            self.assertEqual(self.calls, ["next", "released"])
            self.assertIn(f"[crit] *1 socket() failed ({number}: ", "".join(world.lines))
            self.assertAllReleased(world)
            self.calls.clear()

    def test_all_refused(self) -> None:
        """
        When all have refused the session ends with 502.
        """
        world = self.counted(three())
        client = world.client()
        for _ in range(3):
            world.attempt().fail()
        self.assertOver(world, client, 502)
        self.assertEqual(self.ports(world), [1, 2, 3])
        self.assertEqual(self.calls, ["next", "failed"] * 3)
        self.assertAllReleased(world)

    def test_many(self) -> None:
        """
        However many refuse, each in the call that tries it.
        """
        peers = "".join(f"server 192.0.2.2:{port};" for port in range(1, 401))
        world = World(f"upstream back {{ {peers} }} server {{ {LISTEN} proxy_pass back; }}", level=ERROR)
        client = world.client()
        while world.runtime.sessions:
            world.attempt().fail(at_once=True)
        self.assertEqual(len(world.network.attempts), 400)
        self.assertOver(world, client, 502)

    def test_alone(self) -> None:
        """
        A peer that is alone is tried once, and is not put aside.
        """
        world = World(ONE)
        client = world.client()
        world.attempt().fail()
        self.assertOver(world, client, 502)
        world.client()
        self.assertEqual(self.ports(world), [2, 2])

    def test_no_live(self) -> None:
        """
        With no live peer the session ends with 502 at once, and the name of the group stands for the peer.
        """
        world = self.counted(three(one="down", two="down", three="down"))
        client = world.client()
        self.assertOver(world, client, 502)
        self.assertEqual(self.calls, ["none"])
        self.assertIn("[error] *1 no live upstreams while connecting to upstream, client: 192.0.2.77", world.lines[-1])
        self.assertIn('upstream: "back"', world.lines[-1])
        self.assertEqual(world.value(TRIED), "back")

    def test_aside(self) -> None:
        """
        A peer that failed is not tried again before its fail_timeout, and the log says so.
        """
        world = World(three())
        world.client()
        world.attempt().fail()
        self.assertTrue(any("[warn] *1 upstream server temporarily disabled" in line for line in world.lines))
        world.attempt().fail()
        world.attempt().fail()
        client = world.client()
        self.assertEqual(world.statuses(), [502, 502])
        self.assertTrue(client.closed)
        self.assertIn("no live upstreams", world.lines[-1])
        world.pass_time(100)
        world.client()
        self.assertEqual(len(self.ports(world)), 4)

    def test_off(self) -> None:
        """
        With proxy_next_upstream off the first failure is the end.
        """
        world = self.counted(three("proxy_next_upstream off;"))
        client = world.client()
        world.attempt().fail()
        self.assertOver(world, client, 502)
        self.assertAllReleased(world)

    def test_tries(self) -> None:
        """
        proxy_next_upstream_tries limits the tries; a limit above the number of peers changes nothing.
        """
        for limit, tries in ((1, 1), (2, 2), (9, 3)):
            world = self.counted(three(f"proxy_next_upstream_tries {limit};"))
            client = world.client()
            for _ in range(tries):
                world.attempt().fail()
            self.assertOver(world, client, 502)
            self.assertAllReleased(world)

    def test_time(self) -> None:
        """
        proxy_next_upstream_timeout limits the time in which a next try may begin.
        """
        world = self.counted(three("proxy_next_upstream_timeout 5s; proxy_connect_timeout 3s;"))
        client = world.client()
        world.pass_time(3.1)
        self.assertEqual(self.ports(world), [1, 2])
        world.pass_time(3.1)
        self.assertOver(world, client, 502)
        self.assertEqual(self.ports(world), [1, 2])
        self.assertAllReleased(world)

    def test_late(self) -> None:
        """
        A peer that does not answer within proxy_connect_timeout is given up and the next one tried.
        """
        world = self.counted(three("proxy_connect_timeout 3s;"))
        client = world.client()
        first = world.attempt()
        world.pass_time(3.1)
        self.assertTrue(first.cancelled)
        self.assertIn(
            "upstream timed out (110: Connection timed out) while connecting to upstream", "".join(world.lines)
        )
        world.attempt().succeed()
        world.pass_time(10)
        self.assertEqual(world.statuses(), [])
        client.end()
        self.assertEqual(self.calls, ["next", "failed", "next", "connected", "released"])
        self.assertAllReleased(world)

    def test_limits_are_given_back(self) -> None:
        """
        A place under max_conns is free again after a refusal, a timeout, an abort while connecting, and the end of a
        relay.
        """

        def refuse(attempt: Attempt, client: FakeLeg) -> None:
            attempt.fail()

        def wait(attempt: Attempt, client: FakeLeg) -> None:
            world.pass_time(61)

        def abort(attempt: Attempt, client: FakeLeg) -> None:
            world.session().finish(200)

        def relay(attempt: Attempt, client: FakeLeg) -> None:
            attempt.succeed()
            client.end()

        for path in (refuse, wait, abort, relay):
            world = World(
                f"upstream one {{ server 192.0.2.2:1 max_conns=1 max_fails=0; }} server {{ {LISTEN} proxy_pass one; }}"
            )
            client = world.client()
            attempt = world.attempt()
            second = world.client()
            self.assertTrue(second.closed)
            self.assertIn("no live upstreams", "".join(world.lines))
            path(attempt, client)
            world.client()
            self.assertEqual(len(self.ports(world)), 2, path.__name__)


class EndWhileConnectingTests(ProxyingCase):
    """
    Sessions that end before there is an upstream.
    """

    def test_connecting(self) -> None:
        """
        The attempt is given up, and its peer is not blamed.
        """
        world = self.counted(three())
        client = world.client()
        attempt = world.attempt()
        world.session().finish(200)
        self.assertTrue(attempt.cancelled)
        self.assertOver(world, client, 200)
        self.assertEqual(self.calls, ["next", "released"])

    def test_second_attempt(self) -> None:
        """
        So is the second attempt, after a first that failed.
        """
        for at_once in (False, True):
            world = self.counted(three())
            client = world.client()
            world.attempt().fail(at_once=at_once)
            second = world.attempt()
            world.session().finish(200)
            self.assertTrue(second.cancelled)
            self.assertOver(world, client, 200)
            self.assertAllReleased(world)

    def test_handshaking(self) -> None:
        """
        A leg whose handshake is under way is closed.
        """
        world = self.counted(three("proxy_ssl on;"))
        client = world.client()
        upstream = world.attempt().succeed()
        world.session().finish(200)
        self.assertTrue(upstream.closed)
        self.assertOver(world, client, 200)
        self.assertAllReleased(world)

    def test_fault_at_the_next(self) -> None:
        """
        A fault of ours when the next peer is tried ends the session, and nothing waits any more.
        """
        world = self.counted(three())
        client = world.client()
        attempt = world.attempt()

        def raises(choice: Counting) -> Any:
            raise ZeroDivisionError("a fault of ours")

        self.patch(Counting, "next", raises)
        attempt.fail()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertOver(world, client, 500)


class VariablesTests(ProxyingCase):
    """
    Targets that a variable gives.
    """

    TEXT = """
    upstream Group {{ server 192.0.2.2:1; }}
    map $remote_addr $target {{ default "{target}"; }}
    server {{ listen 192.0.2.1:443; proxy_pass $target; {settings} }}
    """

    def world(self, target: str, settings: str = "") -> World:
        """
        A world whose only client goes there.
        """
        world = World(self.TEXT.format(target=target, settings=settings))
        self.client = world.client()
        return world

    def test_places(self) -> None:
        """
        A variable may name a group in any case, a numeric address, or a unix socket.
        """
        for target, address in (
            ("group", Address("inet", "192.0.2.2", 1)),
            ("192.0.2.9:9", Address("inet", "192.0.2.9", 9)),
            ("[2001:db8::9]:9", Address("inet6", "2001:db8::9", 9)),
            ("unix:/run/a.sock", Address("unix", "/run/a.sock")),
        ):
            world = self.world(target)
            self.assertEqual(world.attempt().address, address)
            self.assertEqual(world.value(TRIED, world.session()), address.text)

    def test_wrong_places(self) -> None:
        """
        What means no place ends the session with 500, and the log says why in nginx's words.
        """
        for target, complaint in (
            ("", 'no host in upstream ""'),
            ("a.example", 'no port in upstream "a.example"'),
            ("192.0.2.9:x", 'invalid port in upstream "192.0.2.9:x"'),
        ):
            world = self.world(target)
            self.assertOver(world, self.client, 500)
            self.assertIn(f"[error] *1 {complaint}", world.lines[-1])

    def test_host_of_another(self) -> None:
        """
        A host and port that another proxy_pass has written down needs no resolver.
        """
        world = World(
            "map x $target { default Back.example:9; }\n"
            "server { listen 192.0.2.1:22; proxy_pass $target; }\n"
            "server { listen 192.0.2.1:23; proxy_pass back.example:9; }",
            names={"back.example": ("192.0.2.9",)},
        )
        world.client()
        self.assertEqual(world.attempt().address, Address("inet", "192.0.2.9", 9))

    def test_no_resolver(self) -> None:
        """
        A name needs a resolver.
        """
        world = self.world("a.example:9")
        self.assertOver(world, self.client, 500)
        self.assertIn("[error] *1 no resolver defined to resolve a.example, client: ", world.lines[-1])


class ResolverTests(ProxyingCase):
    """
    Targets that are names.
    """

    def setUp(self) -> None:
        super().setUp()
        self.world = World(
            f"""
            resolver 192.0.2.53 ipv6=off valid=10m; resolver_timeout 5s;
            map $remote_addr $target {{ default a.example:9; }}
            server {{ {LISTEN} proxy_pass $target; }}
            """
        )

    def answer(self, *hosts: str, **settings: Any) -> None:
        """
        The name server answers.
        """
        (port,) = self.world.reactor.open
        port.answer([Record_A(host) for host in hosts], **settings)

    def test_answer(self) -> None:
        """
        The session waits for the answer, and goes to an address in it; the log and the variables name that.
        """
        self.world.client(b"x")
        self.assertEqual(self.world.network.attempts, [])
        self.answer("192.0.2.9")
        self.assertEqual(self.world.attempt().address, Address("inet", "192.0.2.9", 9))
        self.assertEqual(self.world.attempt().succeed().taken(), b"x")

    def test_several(self) -> None:
        """
        If one address fails the next is tried; when all have failed the session ends with 502.
        """
        client = self.world.client()
        self.answer("192.0.2.8", "192.0.2.9")
        self.world.attempt().fail()
        self.world.attempt().fail()
        self.assertEqual(
            sorted(attempt.address.host for attempt in self.world.network.attempts), ["192.0.2.8", "192.0.2.9"]
        )
        self.assertOver(self.world, client, 502)

    def test_known(self) -> None:
        """
        An answer that is known is used at once, and the attempt that follows can still be given up.
        """
        self.world.client()
        self.answer("192.0.2.9")
        self.world.session().finish(200)
        client = self.world.client()
        attempt = self.world.attempt()
        self.world.session().finish(200)
        self.assertTrue(attempt.cancelled and client.closed)
        self.assertEqual(self.world.reactor.open, [])

    def test_failure(self) -> None:
        """
        A name that does not exist ends the session with 500, as in nginx, also when that is known.
        """
        self.world.client()
        self.answer(code=3, absence=60)
        self.world.client()
        self.assertEqual(self.world.statuses(), [500, 500])
        for line in (self.world.lines[-1], self.world.lines[-3]):
            self.assertIn("a.example could not be resolved (3: Host not found), client: ", line)

    def test_late(self) -> None:
        """
        Nobody waits longer than resolver_timeout.
        """
        client = self.world.client()
        self.world.pass_time(5.1)
        self.assertOver(self.world, client, 500)
        self.assertIn("a.example could not be resolved (110: Operation timed out)", self.world.lines[-1])

    def test_end(self) -> None:
        """
        A session that ends meanwhile does not wait any more, and its answer goes nowhere.
        """
        client = self.world.client()
        self.world.session().finish(200)
        if self.world.reactor.open:
            self.answer("192.0.2.9")
        self.assertEqual(self.world.network.attempts, [])
        self.assertEqual((self.world.statuses(), client.closed), ([200], True))

    def test_fault(self) -> None:
        """
        A fault of ours when the answer comes ends the session.
        """
        client = self.world.client()

        def raises(balancer: Balancer, session: Any) -> Any:
            raise ZeroDivisionError("a fault of ours")

        self.patch(Balancer, "begin", raises)
        self.answer("192.0.2.9")
        self.assertEqual((self.world.statuses(), client.closed), ([500], True))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


@cache
def identities() -> dict[str, pki.Identity]:
    """
    An authority, good and bad upstreams, and a client.
    """
    root = pki.authority("Upstreams' CA")
    return {
        "ca": root,
        "good": pki.leaf(root, "back.example", names=("back", "back.example", "192.0.2.2")),
        "other": pki.leaf(root, "other.example"),
        "old": pki.leaf(root, "back.example", names=("back",), validity=pki.EXPIRED),
        "unknown": pki.leaf(pki.authority("Nobody's CA"), "back", names=("back",)),
        "client": pki.leaf(root, "client"),
    }


VERIFY = "proxy_ssl on; proxy_ssl_verify on; proxy_ssl_trusted_certificate ca.pem;"
VERSIONS = (SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION)


class TlsTests(ProxyingCase):
    """
    Upstreams that speak TLS.
    """

    def world(self, settings: str = VERIFY, text: str | None = None, more: str = "") -> World:
        """
        A server before a group, with its files.
        """
        root, client = identities()["ca"], identities()["client"]
        files = {"/etc/ca.pem": root.pem, "/etc/client.pem": client.full_pem, "/etc/client.key": client.key_pem}
        return self.counted((three(settings) if text is None else text) + more, files=files)

    def far(self, world: World, who: str = "good", **settings: Any) -> FarEnd:
        """
        The upstream that is being connected to, after its handshake.
        """
        context = server_settings(identities()[who], **settings)
        return FarEnd(world.attempt().succeed(), server_of(context)).shake()

    def test_reset(self) -> None:
        """
        An upstream whose connection is reset has ended: that is all that is told.
        """
        world = self.world()
        client = world.client(b"early")
        self.far(world).leg.lose()
        self.assertOver(world, client, 200)
        self.assertEqual([line for line in world.lines if "failed" in line], [])
        self.assertIn("upstream disconnected", world.lines[-1])

    def test_verified(self) -> None:
        """
        An upstream whose certificate is good gets what the client says, encrypted, and answers.
        """
        for version in VERSIONS:
            world = self.world()
            client = world.client(b"early")
            far = self.far(world, version=version)
            self.assertEqual(far.heard, b"early")
            far.say(b"answer")
            self.assertEqual(client.taken(), b"answer")
            client.end()
            self.assertOver(world, client, 200)
            far.shake()
            self.assertTrue(far.closed)
            self.assertAllReleased(world)

    def test_wrong_certificates(self) -> None:
        """
        Another name, an expired certificate and an unknown authority lead to the next peer, and not a byte of the
        client's has been sent.
        """
        for version in VERSIONS:
            for who, complaint in (
                ("other", 'upstream SSL certificate does not match "back"'),
                ("old", "upstream SSL certificate verify error: (10:certificate has expired)"),
                ("unknown", "upstream SSL certificate verify error: (21:"),
            ):
                world = self.world()
                client = world.client(b"secret")
                bad = self.far(world, who, version=version)
                self.assertEqual((bad.heard, bad.leg.closed), (b"", True))
                self.assertIn(f"[error] *1 {complaint}", "".join(world.lines))
                good = self.far(world, version=version)
                self.assertEqual(good.heard, b"secret")
                client.end()
                self.assertOver(world, client, 200)
                self.assertEqual(self.ports(world), [1, 2])
                self.assertEqual(self.calls, ["next", "failed", "next", "connected", "released"])

    def test_not_a_byte_before(self) -> None:
        """
        Nothing of the client is sent as long as the handshake is under way, whatever the upstream sends.
        """
        world = self.world()
        world.client(b"secret")
        upstream = world.attempt().succeed()
        hello = upstream.taken()
        self.assertEqual(hello[:1], b"\x16")
        self.assertNotIn(b"secret", hello)
        session = world.session()
        self.assertEqual(session.client.left, b"secret")
        upstream.arrive(b"not TLS at all")
        self.assertTrue(upstream.closed)
        self.assertNotIn(b"secret", upstream.taken())

    def test_all_wrong(self) -> None:
        """
        When no upstream is the right one the session ends with 502.
        """
        world = self.world()
        client = world.client()
        for _ in range(3):
            self.far(world, "other")
        self.assertOver(world, client, 502)
        self.assertAllReleased(world)

    def test_not_verified(self) -> None:
        """
        Without proxy_ssl_verify any certificate will do.
        """
        world = self.world("proxy_ssl on;")
        world.client(b"x")
        self.assertEqual(self.far(world, "unknown").heard, b"x")

    def test_names(self) -> None:
        """
        The name in proxy_pass is verified and by default not sent; proxy_ssl_name, which may have variables, takes its
        place, and proxy_ssl_server_name sends it.
        """
        for settings, who, sent in (
            (VERIFY, "good", None),
            (VERIFY + "proxy_ssl_server_name on;", "good", b"back"),
            (VERIFY + "proxy_ssl_name other.example;", "other", None),
            (VERIFY + "proxy_ssl_name $protocol.example; proxy_ssl_server_name on;", "other", b"TCP.example"),
        ):
            world = self.world(settings)
            world.client(b"x")
            far = self.far(world, who)
            self.assertEqual(far.connection.get_servername(), sent)
            if not settings.count("$protocol"):
                self.assertEqual(far.heard, b"x")

    def test_numeric_host(self) -> None:
        """
        A numeric host is looked for among the addresses of the certificate, and never sent as a name.
        """
        world = self.world(text=f"server {{ {LISTEN} proxy_pass 192.0.2.2:1; {VERIFY} proxy_ssl_server_name on; }}")
        world.client(b"x")
        far = self.far(world)
        self.assertEqual((far.heard, far.connection.get_servername()), (b"x", None))

    def test_our_certificate(self) -> None:
        """
        An upstream that demands a certificate gets ours.
        """
        world = self.world("proxy_ssl on; proxy_ssl_certificate client.pem; proxy_ssl_certificate_key client.key;")
        world.client(b"x")
        far = self.far(world, authority=identities()["ca"])
        self.assertEqual(far.heard, b"x")

    def shown(self, world: World) -> str | None:
        """
        Whose certificate an upstream that asks for one is shown; None where it is shown none.
        """
        context = server_settings(identities()["good"])
        context.set_verify(SSL.VERIFY_PEER, lambda *_: True)
        far = FarEnd(world.attempt().succeed(), server_of(context)).shake()
        certificate = far.connection.get_peer_certificate(as_cryptography=True)
        return None if certificate is None else certificate.subject.rfc4514_string()

    def test_certificate_by_variable(self) -> None:
        """
        The certificate may be named by variables; an empty name is none. What cannot be loaded ends the session, at no
        upstream's fault.
        """
        name = identities()["client"].certificate.subject.rfc4514_string()
        for who, key, expected in (("client.pem", "client.key", name), ('""', '""', None), ('""', "nope", None)):
            world = self.world(
                "proxy_ssl on; proxy_ssl_certificate $who; proxy_ssl_certificate_key $key;",
                more=f"map $pid $who {{ default {who}; }} map $pid $key {{ default {key}; }}",
            )
            world.client(b"x")
            self.assertEqual(self.shown(world), expected)
        world = self.world("proxy_ssl on; proxy_ssl_certificate $pid.pem; proxy_ssl_certificate_key client.key;")
        client = world.client(b"x")
        upstream = world.attempt().succeed()
        self.assertEqual((upstream.closed, upstream.taken()), (True, b""))
        self.assertOver(world, client, 500)
        line = next(line for line in world.lines if "[error]" in line)
        self.assertIn('[error] *1 cannot load certificate "/etc/', line)
        self.assertIn("while connecting to upstream, client: ", line)
        self.assertIn('upstream: "192.0.2.2:1"', line)

    def test_sessions_of_certificates(self) -> None:
        """
        A session that was made with one certificate is not offered with another.
        """
        world = self.world(
            text=f"server {{ {LISTEN} proxy_pass 192.0.2.2:1; proxy_ssl on; proxy_ssl_certificate $who;"
            " proxy_ssl_certificate_key client.key; }"
            "map $remote_port $who { 40000 client.pem; default ''; }"
        )
        context = server_settings(identities()["good"])
        context.set_verify(SSL.VERIFY_PEER, lambda *_: True)
        resumed = []
        for port in (40000, 40000, 2, 2, 40000):
            client = world.client(b"x", peer=Address("inet", "192.0.2.77", port))
            far = FarEnd(world.attempt().succeed(), server_of(context)).shake()
            far.say(b"y")
            lib: Any = SSL._lib  # type: ignore[attr-defined]
            resumed.append(bool(lib.SSL_session_reused(far.connection._ssl)))
            client.end()
        self.assertEqual(resumed, [False, True, False, True, True])

    def test_alpn_by_variable(self) -> None:
        """
        Protocols to offer may be variables; what is empty or too long is not offered.
        """
        for value, offered in (("h2", [b"h2", b"x"]), ('""', [b"x"]), ("y" * 256, [b"x"])):
            world = self.world("proxy_ssl on; proxy_ssl_alpn $proto x;", more=f"map $pid $proto {{ default {value}; }}")
            world.client(b"x")
            context = server_settings(identities()["good"])
            heard: list[bytes] = []

            def choose(connection: Any, names: list[bytes], heard: list[bytes] = heard) -> bytes:
                heard.extend(names)
                return names[0]

            context.set_alpn_select_callback(choose)
            FarEnd(world.attempt().succeed(), server_of(context)).shake()
            self.assertEqual(heard, offered)
        world = self.world("proxy_ssl on; proxy_ssl_alpn $proto;", more="map $pid $proto { default ''; }")
        world.client(b"x")
        self.assertEqual(self.far(world).connection.get_alpn_proto_negotiated(), b"")

    def test_refused_by_the_upstream(self) -> None:
        """
        An upstream that refuses us by an alert: on TLS 1.2 within the handshake, so the next is tried; on TLS 1.3
        after it, so the session ends.
        """
        world = self.world("proxy_ssl on;")
        world.client(b"x")
        self.far(world, authority=identities()["ca"], version=SSL.TLS1_2_VERSION)
        self.assertEqual(self.ports(world), [1, 2])
        self.assertIn("SSL_do_handshake() failed (SSL: error:", "".join(world.lines))
        world = self.world("proxy_ssl on;")
        client = world.client(b"x")
        self.far(world, authority=identities()["ca"], version=SSL.TLS1_3_VERSION)
        self.assertEqual(self.ports(world), [1])
        self.assertIn("SSL_read() failed (SSL: error:", "".join(world.lines))
        self.assertOver(world, client, 200)

    def test_breaks_off(self) -> None:
        """
        An upstream that ends or resets within the handshake is left for the next.
        """
        for leave in ("end", "lose"):
            world = self.world()
            world.client()
            getattr(world.attempt().succeed(), leave)()
            self.assertEqual(self.ports(world), [1, 2])
            self.assertIn("peer closed connection in SSL handshake", "".join(world.lines))

    def test_late(self) -> None:
        """
        An upstream that does not finish the handshake within proxy_connect_timeout is left for the next.
        """
        world = self.world(VERIFY + "proxy_connect_timeout 3s;")
        world.client()
        first = world.attempt().succeed()
        world.pass_time(3.1)
        self.assertTrue(first.closed)
        self.assertEqual(self.ports(world), [1, 2])
        self.assertIn(
            "upstream timed out (110: Connection timed out) while SSL handshaking to upstream", "".join(world.lines)
        )

    def test_sessions(self) -> None:
        """
        The session an upstream gave is offered at the next connection to the same peer, and to no other.
        """
        for version in VERSIONS:
            world = self.world()
            contexts = {port: server_settings(identities()["good"], version=version) for port in (1, 2, 3)}
            resumed = []
            for _ in range(6):
                client = world.client(b"ping")
                attempt = world.attempt()
                far = FarEnd(attempt.succeed(), server_of(contexts[attempt.address.port])).shake()
                far.say(b"pong")
                lib: Any = SSL._lib  # type: ignore[attr-defined]
                resumed.append(bool(lib.SSL_session_reused(far.connection._ssl)))
                self.assertEqual((far.heard, client.taken()), (b"ping", b"pong"))
                client.end()
            self.assertEqual(resumed, [False] * 3 + [True] * 3)

    def test_session_of_a_refused_upstream(self) -> None:
        """
        The session of an upstream whose certificate was refused is not kept, and one that was is forgotten.
        """
        world = self.world(text=f"server {{ {LISTEN} proxy_pass 192.0.2.2:1; {VERIFY} }}")
        policy: Any = world.listening[0].default.content
        client = world.client(b"x")
        self.far(world).say(b"y")
        client.end()
        self.assertEqual(len(policy.tls.sessions), 1)
        world.client(b"x")
        self.far(world, "other")
        self.assertEqual(len(policy.tls.sessions), 0)
        self.assertEqual(world.statuses(), [200, 502])

    def test_fault_when_tls_begins(self) -> None:
        """
        A fault of ours between connection and handshake ends the session and closes the upstream.
        """
        world = self.world()
        client = world.client()
        attempt = world.attempt()

        def raises(leg: Any, make: Any) -> Any:
            raise ZeroDivisionError("a fault of ours")

        self.patch(world.network, "start_tls", raises)
        self.assertRaises(ZeroDivisionError, attempt.succeed)
        world.session().crashed()
        self.assertOver(world, client, 500)
        self.assertAllReleased(world)

    def test_tls_on_both_sides(self) -> None:
        """
        A client's TLS is ended here, and the upstream's begun.
        """
        good = identities()["good"]
        world = World(
            """
            server { listen 192.0.2.1:443 ssl; ssl_certificate a.pem; ssl_certificate_key a.key;
                      proxy_pass 192.0.2.2:1; proxy_ssl on; }
            """,
            {"/etc/a.pem": good.full_pem, "/etc/a.key": good.key_pem},
        )
        client = FarEnd(world.client(), client_connection("back.example")).shake()
        client.say(b"question")
        upstream = self.far(world)
        self.assertEqual(upstream.heard, b"question")
        upstream.say(b"answer")
        self.assertEqual(client.shake().heard, b"answer")

    def test_no_upstream_for_tls(self) -> None:
        """
        Where a client speaks TLS the first peer fails "while proxying connection", as with nginx; later ones, and one
        that fails at once, do so while it is connected.
        """
        good = identities()["good"]
        text = (
            "upstream back { server 192.0.2.2:1; server 192.0.2.2:2; } proxy_connect_timeout 3s;"
            " server { listen 192.0.2.1:443 ssl; ssl_certificate a.pem; ssl_certificate_key a.key; proxy_pass back; }"
        )
        for at_once, first in ((False, "proxying connection"), (True, "connecting to upstream")):
            world = World(text, {"/etc/a.pem": good.full_pem, "/etc/a.key": good.key_pem})
            FarEnd(world.client(), client_connection("back.example")).shake()
            world.attempt().fail(at_once=at_once)
            world.attempt().fail()
            told = [line.partition(" while ")[2].partition(",")[0] for line in world.lines if "refused" in line]
            self.assertEqual(told, [first, "connecting to upstream"])
        world = World(text, {"/etc/a.pem": good.full_pem, "/etc/a.key": good.key_pem})
        FarEnd(world.client(), client_connection("back.example")).shake()
        world.attempt()
        world.pass_time(3.1)
        self.assertIn("upstream timed out (110: Connection timed out) while proxying connection", "".join(world.lines))


class HeaderTests(ProxyingCase):
    """
    The PROXY header before everything else.
    """

    def test_sent(self) -> None:
        """
        It is sent at once, and counts as sent to the upstream.
        """
        world = World(f"proxy_protocol on; {ONE}", level=ERROR)
        client = world.client(b"hello")
        header = b"PROXY TCP4 192.0.2.77 192.0.2.1 40000 443\r\n"
        self.assertEqual(world.attempt().succeed().taken(), header + b"hello")
        client.end()
        self.assertEqual(world.value(BYTES), f"{len(header) + 5}/0")

    def test_no_room(self) -> None:
        """
        A header that does not go at once is never sent in pieces.
        """
        world = World(f"proxy_protocol on; {ONE}", level=ERROR)
        world.client()
        self.patch(FakeLeg, "send", lambda leg, data: len(data) - 1)
        leg = world.attempt().succeed()
        self.assertEqual((world.statuses(), leg.closed), ([500], True))
        self.assertEqual(
            world.lines,
            [
                "[error] *1 could not send PROXY protocol header at once while sending PROXY protocol header to"
                ' upstream, client: 192.0.2.77, server: 192.0.2.1:443, upstream: "192.0.2.2:2",'
                " bytes from/to client:0/0, bytes from/to upstream:0/42"
            ],
        )

    def test_broken(self) -> None:
        """
        A connection that has just broken ends the session.
        """
        world = World(f"proxy_protocol on; {ONE}", level=ERROR)
        world.client()

        def send(leg: FakeLeg, data: bytes) -> int:
            raise failure(errno.EPIPE)

        self.patch(FakeLeg, "send", send)
        leg = world.attempt().succeed()
        self.assertEqual((world.statuses(), leg.closed), ([200], True))
        self.assertIn("send() failed (32: Broken pipe) while sending PROXY protocol header to upstream", world.lines[0])
