"""
Tests for L{sniproxy.http.upstream_leg}.
"""

from __future__ import annotations

import errno
import os
from typing import Any

from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.errors import BindError, TransparencyError
from sniproxy.tls.native import session_reused
from tests.support import pki
from tests.support.sessions import FakeLeg, FarEnd, server_of, server_settings
from tests.support.upstreams import Proxied, answer, asked, one
from tests.support.webs import head

ROOT = pki.authority("Root")
WEB = pki.leaf(ROOT, "web.example", names=("web.example",))
GET = head("GET /a HTTP/1.1")
FILES = {"/etc/ca.pem": ROOT.pem}


class KeptTests(SynchronousTestCase):
    """
    Connections between two requests.
    """

    def setUp(self) -> None:
        self.web = Proxied("location / { proxy_pass http://group; }", http=self.group("keepalive 2;"))
        self.client = self.web.client()

    def group(self, more: str) -> str:
        """
        A group of one upstream.
        """
        return f"upstream group {{ server 192.0.2.2; {more} }}"

    def other(self, more: str) -> None:
        """
        Another group.
        """
        self.web = Proxied("location / { proxy_pass http://group; }", http=self.group(more))
        self.client = self.web.client()

    def serve(self, upstream: FakeLeg, data: bytes | None = None) -> None:
        """
        Answer the request that an upstream has got.
        """
        asked(upstream)
        upstream.arrive(answer(b"x") if data is None else data)
        self.web.turn()
        self.assertEqual(one(self.client).body, b"x")

    def first(self, data: bytes | None = None) -> FakeLeg:
        """
        A request, answered on a new connection.
        """
        self.client.arrive(GET)
        upstream = self.web.connected()
        self.serve(upstream, data)
        return upstream

    def test_again(self) -> None:
        """
        The next request goes over the same connection.
        """
        upstream = self.first()
        self.client.arrive(GET)
        self.serve(upstream)
        self.assertEqual(len(self.web.world.network.attempts), 1)
        self.assertEqual(self.web.request().upstream_states[0].connect_time, 0.0)

    def test_ended(self) -> None:
        """
        One that the upstream has ended meanwhile is not used again.
        """
        self.first().end()
        self.first()
        self.assertEqual(len(self.web.world.network.attempts), 2)

    def test_lost(self) -> None:
        """
        Nor is one that broke; nobody needs to know.
        """
        upstream = self.first()
        upstream.lose()
        self.assertTrue(upstream.closed)
        self.assertEqual(self.web.complaints(), [])
        self.first()

    def test_talkative(self) -> None:
        """
        Nor one on which something came that nobody had asked for, be it with the answer or later.
        """
        self.assertTrue(self.first(answer(b"x") + b"HTTP/1.1 200 OK\r\n\r\n").closed)
        upstream = self.first()
        upstream.arrive(b"")
        self.assertFalse(upstream.closed)
        upstream.arrive(b"x")
        self.assertTrue(upstream.closed)

    def test_talkative_behind(self) -> None:
        """
        Nor one that has more to say when the answer is whole, or is broken by then.
        """
        for spoil in (lambda leg: leg._incoming.extend(b"more"), lambda leg: setattr(leg, "_broken", OSError(104, ""))):
            self.client.arrive(GET)
            upstream = self.web.connected()
            receive = upstream.receive

            def received(limit: int, spoil: Any = spoil, upstream: Any = upstream, receive: Any = receive) -> Any:
                data = receive(limit)
                if data:
                    spoil(upstream)
                return data

            upstream.receive = received  # type: ignore[method-assign]
            self.serve(upstream)
            self.assertTrue(upstream.closed)

    def test_close(self) -> None:
        """
        Nor one whose upstream says that it closes it, or speaks HTTP/1.0.
        """
        self.assertTrue(self.first(answer(b"x", "Connection: close")).closed)
        self.assertTrue(self.first(answer(b"x", "Connection: keep-alive", line="HTTP/1.0 200 OK")).closed)

    def test_timeout(self) -> None:
        """
        It is kept for so long and no longer.
        """
        self.other("keepalive_timeout 10s;")
        upstream = self.first()
        self.web.world.pass_time(9)
        self.client.arrive(GET)
        self.serve(upstream)
        self.web.world.pass_time(9)
        self.assertFalse(upstream.closed)
        self.web.world.pass_time(2)
        self.assertTrue(upstream.closed)

    def test_requests(self) -> None:
        """
        It carries so many requests and no more.
        """
        self.other("keepalive_requests 2;")
        upstream = self.first()
        self.client.arrive(GET)
        self.serve(upstream)
        self.assertTrue(upstream.closed)

    def test_time(self) -> None:
        """
        It is used for so long and no longer.
        """
        self.other("keepalive_time 5s;")
        upstream = self.first()
        self.web.world.pass_time(6)
        self.client.arrive(GET)
        self.serve(upstream)
        self.assertTrue(upstream.closed)

    def test_none(self) -> None:
        """
        With keepalive 0 none is kept.
        """
        self.other("keepalive 0;")
        self.assertTrue(self.first().closed)

    def test_stopped(self) -> None:
        """
        A configuration that takes no more requests closes what it has kept, and keeps nothing.
        """
        self.client.arrive(GET)
        upstream = self.web.connected()
        kept = self.first_of_another()
        self.web.world.runtime.stop()
        self.assertTrue(kept.closed)
        self.serve(upstream)
        self.assertTrue(upstream.closed)

    def first_of_another(self) -> FakeLeg:
        """
        A connection that was kept by a second client.
        """
        client = self.web.client(GET)
        upstream = self.web.connected()
        upstream.arrive(answer(b"x"))
        client.end()
        return upstream

    def test_crash(self) -> None:
        """
        A fault of ours ends the request that uses it, and a connection nobody uses.
        """
        self.client.arrive(GET)
        upstream = self.web.connected()
        owner: Any = upstream.owner
        owner.crashed()
        self.assertTrue(upstream.closed)
        self.assertIn(b" 500 ", self.client.taken())
        self.client = self.web.client()
        idle = self.first()
        owner = idle.owner
        owner.crashed()
        self.assertTrue(idle.closed)


class ConnectingTests(SynchronousTestCase):
    """
    Making connections.
    """

    def setUp(self) -> None:
        self.web = Proxied(
            "proxy_connect_timeout 5s; location / { proxy_pass http://192.0.2.2; }"
            " location /unix { proxy_pass http://unix:/run/x:/y; }"
            " location /bound { proxy_bind 192.0.2.9; proxy_pass http://192.0.2.2; }"
            " location /port { proxy_bind 192.0.2.9:5; proxy_pass http://192.0.2.2; }"
        )

    def failed(self, path: str = "/a") -> tuple[FakeLeg, Any]:
        """
        A request on its way, and the attempt to connect.
        """
        return self.web.client(head(f"GET {path} HTTP/1.1")), self.web.world.attempt()

    def test_refused(self) -> None:
        """
        Who is refused is told 502, and the log says by whom.
        """
        client, attempt = self.failed()
        attempt.fail()
        self.assertEqual(one(client).status, 502)
        self.assertEqual(
            self.web.complaints(),
            [
                "connect() failed (111: Connection refused) while connecting to upstream, client: 192.0.2.77, server: ,"
                ' request: "GET /a HTTP/1.1", upstream: "http://192.0.2.2:80/a", host: "x"'
            ],
        )
        self.assertEqual(self.web.request().upstream_states[0].status, 502)

    def test_at_once(self) -> None:
        """
        A missing socket is louder, and is named.
        """
        client, attempt = self.failed("/unix/z")
        attempt.fail(errno.ENOENT, at_once=True)
        self.assertEqual(one(client).status, 502)
        (line,) = self.web.complaints()
        self.assertIn("[crit] *1 connect() to unix:/run/x failed (2: No such file or directory)", self.web.lines[0])
        self.assertIn('upstream: "http://unix:/run/x:/y/z"', line)

    def test_late(self) -> None:
        """
        Who does not answer in time is given up, 504.
        """
        client, attempt = self.failed()
        self.web.world.pass_time(5.1)
        self.assertTrue(attempt.cancelled)
        self.assertEqual(one(client).status, 504)
        self.assertEqual(
            self.web.complaint(), "upstream timed out (110: Connection timed out) while connecting to upstream"
        )

    def test_ours(self) -> None:
        """
        What we have run out of is no fault of a peer's: 500.
        """
        client, attempt = self.failed()
        attempt.fail(errno.EMFILE, at_once=True)
        self.assertEqual(one(client).status, 500)
        self.assertTrue(self.web.complaint().startswith("socket() failed (24: "))
        self.assertEqual(self.web.request().upstream_states[0].peer, "")

    def bound(self, path: str, error: OSError) -> str:
        """
        What is said when a local address cannot be had.
        """
        client, attempt = self.failed(path)
        attempt.answered = True
        attempt._done(error, 0)
        self.assertEqual(one(client).status, 500)
        return self.web.complaint()

    def test_unbound(self) -> None:
        """
        So is an address of ours that cannot be had.
        """
        self.assertEqual(
            self.bound("/bound", BindError(99, os.strerror(99))),
            "bind(192.0.2.9) failed (99: Cannot assign requested address) while connecting to upstream",
        )

    def test_unbound_port(self) -> None:
        """
        With its port, where it has one.
        """
        self.assertIn("bind(192.0.2.9:5) failed", self.bound("/port", BindError(98, os.strerror(98))))

    def test_not_transparent(self) -> None:
        """
        One that is not ours needs a right that is missing.
        """
        error = TransparencyError(1, os.strerror(1))
        self.assertTrue(self.bound("/bound", error).startswith(f"{error.call} failed (1: "))
        self.assertTrue(self.web.lines[0].startswith("[alert]"))

    def test_gone(self) -> None:
        """
        Nothing is left of an attempt whose client has gone.
        """
        client, attempt = self.failed()
        client.end()
        self.assertTrue(attempt.cancelled)


class TlsTests(SynchronousTestCase):
    """
    TLS with upstreams.
    """

    def web(self, more: str = "", place: str = "") -> Proxied:
        """
        A proxy that judges its upstream.
        """
        self.settings = server_settings(WEB)
        return Proxied(
            "proxy_ssl_verify on; proxy_ssl_trusted_certificate ca.pem; proxy_ssl_name $arg_n;"
            " proxy_connect_timeout 5s;"
            f" proxy_ssl_server_name on; {more} location / {{ proxy_pass https://group/; {place} }}",
            http="upstream group { server 192.0.2.2; }",
            files=FILES,
        )

    def shaken(self, web: Proxied) -> FarEnd:
        """
        The upstream, with its handshake done as far as it goes.
        """
        leg = FakeLeg(web.world.network, web.world.attempt().address, web.world.listening[0].address)
        leg.watch()
        web.world.network.due.clear()
        far = FarEnd(leg, server_of(self.settings))
        web.world.attempt().deliver(leg)
        return far.shake()

    def ask(self, web: Proxied, name: str = "web.example") -> FakeLeg:
        """
        A client.
        """
        return web.client(head(f"GET /?n={name} HTTP/1.1"))

    def test_good(self) -> None:
        """
        A good upstream gets the request, and answers.
        """
        web = self.web()
        client = self.ask(web)
        far = self.shaken(web)
        self.assertIn(b"GET /?n=web.example HTTP/1.1\r\nHost: group\r\n", far.heard)
        self.assertEqual(far.connection.get_servername(), b"web.example")
        far.say(answer(b"hi"))
        self.assertEqual(one(client).body, b"hi")

    def test_port(self) -> None:
        """
        A name may come with its port, which no certificate has.
        """
        web = self.web()
        self.ask(web, "web.example:443")
        self.assertIn(b"GET /", self.shaken(web).heard)

    def test_wrong_name(self) -> None:
        """
        One whose certificate is for somebody else gets nothing: 502.
        """
        web = self.web()
        client = self.ask(web, "other.example")
        far = self.shaken(web)
        self.assertEqual((far.heard, far.leg.closed), (b"", True))
        self.assertEqual(one(client).status, 502)
        self.assertEqual(
            web.complaint(),
            'upstream SSL certificate does not match "other.example" while SSL handshaking to upstream',
        )

    def test_wrong_authority(self) -> None:
        """
        Nor does one whose authority nobody trusts.
        """
        web = self.web()
        self.settings = server_settings(pki.leaf(pki.authority("Other"), "web.example", names=("web.example",)))
        client = self.ask(web)
        self.assertEqual(self.shaken(web).heard, b"")
        self.assertEqual(one(client).status, 502)
        words = "upstream SSL certificate verify error: (21:unable to verify the first certificate)"
        self.assertEqual(web.complaint(), words + " while SSL handshaking to upstream")

    def test_no_tls(self) -> None:
        """
        Who does not speak TLS is given up.
        """
        web = self.web()
        client = self.ask(web)
        web.connected().arrive(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        self.assertEqual(one(client).status, 502)
        self.assertIn("SSL_do_handshake() failed (SSL: error:", web.complaint())

    def test_late(self) -> None:
        """
        A handshake has as much time as a connection: 504.
        """
        web = self.web()
        client = self.ask(web)
        upstream = web.connected()
        web.world.pass_time(5.1)
        self.assertTrue(upstream.closed)
        self.assertEqual(one(client).status, 504)
        self.assertEqual(
            web.complaint(), "upstream timed out (110: Connection timed out) while SSL handshaking to upstream"
        )

    def test_crash(self) -> None:
        """
        A fault of ours in the middle of a handshake ends the request.
        """
        web = self.web()
        client = self.ask(web)
        upstream = web.connected()
        owner: Any = upstream.owner
        owner.crashed()
        self.assertTrue(upstream.closed)
        self.assertEqual(one(client).status, 500)

    def test_resumed(self) -> None:
        """
        The next connection resumes the session of the one before, which was judged by the same rules.
        """
        for version in (SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION):
            web = self.web("keepalive_timeout 60s;")
            self.settings = server_settings(WEB, version=version)
            for reused in (False, True):
                client = self.ask(web)
                far = self.shaken(web)
                far.say(answer(b"hi", "Connection: close"))
                self.assertEqual(one(client).body, b"hi")
                self.assertEqual(reused, session_reused(far.connection))

    def test_not_shared(self) -> None:
        """
        A connection that was judged for one name does not serve another.
        """
        web = self.web()
        first = self.ask(web)
        self.shaken(web).say(answer(b"hi"))
        self.assertEqual(one(first).body, b"hi")
        self.ask(web, "other.example")
        self.assertEqual(len(web.world.network.attempts), 2)
        second = self.ask(web)
        self.assertEqual(len(web.world.network.attempts), 2)
        second.end()

    def test_failed_later(self) -> None:
        """
        A connection that is given up in the middle of an answer does not spoil its session.
        """
        web = self.web("proxy_read_timeout 5s;")
        client = self.ask(web)
        far = self.shaken(web)
        far.say(answer(b"", "Content-Length: 5", length=False))
        web.world.pass_time(6)
        self.assertTrue(far.leg.closed)
        self.assertTrue(client.closed)
        self.ask(web)
        again = self.shaken(web)
        self.assertTrue(session_reused(again.connection))
