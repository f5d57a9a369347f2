"""
Tests for L{sniproxy.http.proxying}.
"""

from __future__ import annotations

import gc
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.http.attempt import Attempt
from sniproxy.http.outgoing import Outgoing
from sniproxy.http.proxying import Proxying
from sniproxy.http.request import Request
from tests.support.sessions import FakeLeg
from tests.support.upstreams import Proxied, answer, asked, one
from tests.support.webs import head

GET = head("GET /a HTTP/1.1")
POST = head("POST /a HTTP/1.1", "Content-Length: 4") + b"body"
TWO = "upstream group { server 192.0.2.2; server 192.0.2.3; }"


class ProxyingCase(SynchronousTestCase):
    """
    What tests of this file share.
    """

    def web(self, more: str = "", http: str = TWO, **others: Any) -> Proxied:
        """
        A proxy of a group.
        """
        self.it = Proxied(f"location / {{ proxy_pass http://group; {more} }}", http=http, **others)
        return self.it

    def peers(self) -> list[tuple[str, int]]:
        """
        Whom the last request was sent to, and what came of it.
        """
        return [(state.peer, state.status) for state in self.it.request().upstream_states]

    def fails(self, client: FakeLeg, status: int) -> None:
        """
        What the client is told.
        """
        self.assertEqual(one(client).status, status)


class NextTests(ProxyingCase):
    """
    C{proxy_next_upstream}.
    """

    def test_refused(self) -> None:
        """
        Where one upstream refuses another one is asked, and the first is left alone for a while.
        """
        web = self.web()
        client = web.client(GET)
        web.world.attempt().fail()
        upstream = web.connected()
        self.assertEqual(asked(upstream).fields["host"], "group")
        upstream.arrive(answer(b"fine"))
        self.assertEqual(one(client).body, b"fine")
        self.assertEqual(self.peers(), [("192.0.2.2:80", 502), ("192.0.2.3:80", 200)])
        self.assertIn("upstream server temporarily disabled", "".join(web.lines))

    def test_all(self) -> None:
        """
        Each is asked once.
        """
        web = self.web()
        client = web.client(GET)
        web.world.attempt().fail()
        web.connected().lose()
        self.fails(client, 502)
        self.assertEqual(self.peers(), [("192.0.2.2:80", 502), ("192.0.2.3:80", 502)])

    def test_none(self) -> None:
        """
        Where none can be asked it is 502 at once.
        """
        web = self.web(http="upstream group { server 192.0.2.2 down; server 192.0.2.3 down; }")
        client = web.client(GET)
        self.fails(client, 502)
        self.assertEqual(self.peers(), [("group", 502)])
        self.assertEqual(
            web.complaints(),
            [
                "no live upstreams while connecting to upstream, client: 192.0.2.77, server: , "
                'request: "GET /a HTTP/1.1", upstream: "http://group/a", host: "x"'
            ],
        )

    def test_off(self) -> None:
        """
        C{off} asks nobody else.
        """
        web = self.web("proxy_next_upstream off;")
        client = web.client(GET)
        web.world.attempt().fail()
        self.fails(client, 502)

    def test_kinds(self) -> None:
        """
        What is not named is no reason to ask another one.
        """
        web = self.web("proxy_next_upstream timeout; proxy_read_timeout 5s;")
        client = web.client(GET)
        web.world.attempt().fail()
        self.fails(client, 502)
        web.world.pass_time(11)
        client = web.client(GET)
        web.connected()
        web.world.pass_time(5.1)
        web.connected().arrive(b"nonsense\r\n")
        self.fails(client, 502)
        self.assertEqual(self.peers(), [("192.0.2.3:80", 504), ("192.0.2.2:80", 502)])

    def test_invalid(self) -> None:
        """
        Nonsense is one, where it is named.
        """
        web = self.web("proxy_next_upstream invalid_header;")
        client = web.client(GET)
        web.connected().arrive(b"nonsense\r\n")
        web.connected().arrive(answer(b"fine"))
        self.assertEqual(one(client).body, b"fine")

    def test_statuses(self) -> None:
        """
        An answer is one where it is named, as long as there is somebody else; the last one's is passed on.
        """
        web = self.web("proxy_next_upstream http_503 http_404;")
        for status in (503, 404):
            client = web.client(GET)
            first = web.connected()
            first.arrive(answer(b"a", line=f"HTTP/1.1 {status} A"))
            self.assertTrue(first.closed)
            web.connected().arrive(answer(b"b", line=f"HTTP/1.1 {status} B"))
            self.assertEqual(one(client).reason, "B")
            self.assertEqual([found for _, found in self.peers()], [status, status])
            web.world.pass_time(61)

    def test_no_failure(self) -> None:
        """
        That something was not found is no failure of who says so: it is asked again the next time.
        """
        web = self.web("proxy_next_upstream http_404;")
        for peer in ("192.0.2.2:80", "192.0.2.3:80"):
            client = web.client(GET)
            for _ in range(2):
                web.connected().arrive(answer(b"", "Connection: close", line="HTTP/1.1 404 A"))
            self.fails(client, 404)
            self.assertEqual(self.peers()[0][0], peer)

    def test_tries(self) -> None:
        """
        So many are asked at most.
        """
        web = self.web("proxy_next_upstream_tries 1;")
        client = web.client(GET)
        web.world.attempt().fail()
        self.fails(client, 502)

    def test_timeout(self) -> None:
        """
        For so long at most.
        """
        web = self.web(
            "proxy_next_upstream_timeout 3s; proxy_connect_timeout 2s;", http=TWO.replace("}", "server 192.0.2.4; }")
        )
        client = web.client(GET)
        web.world.pass_time(2.1)
        web.world.pass_time(2.1)
        self.fails(client, 504)
        self.assertEqual(len(self.peers()), 2)

    def test_unsafe(self) -> None:
        """
        What must not happen twice is not asked for twice once it was sent, unless that is allowed.
        """
        web = self.web()
        client = web.client(POST)
        web.world.attempt().fail()
        web.connected().lose()
        self.fails(client, 502)
        web = self.web("proxy_next_upstream error non_idempotent;")
        client = web.client(POST)
        web.connected().lose()
        upstream = web.connected()
        self.assertEqual(asked(upstream).body, b"body")
        upstream.arrive(answer(b"fine"))
        self.assertEqual(one(client).body, b"fine")

    def test_streamed(self) -> None:
        """
        Nor is what was not kept, once a part of it was sent.
        """
        web = self.web("proxy_request_buffering off;")
        client = web.client(head("PUT /a HTTP/1.1", "Content-Length: 4") + b"bo")
        web.world.attempt().fail()
        upstream = web.connected()
        self.assertTrue(upstream.taken().endswith(b"bo"))
        upstream.lose()
        self.fails(client, 502)

    def test_kept(self) -> None:
        """
        A connection that was kept and has died meanwhile is no try: a new one is made to the same upstream.
        """
        web = self.web(http="upstream group { server 192.0.2.2; }")
        client = web.client(GET)
        upstream = web.connected()
        upstream.arrive(answer(b"one"))
        self.assertEqual(one(client).body, b"one")
        client.arrive(GET)
        upstream.lose()
        web.connected().arrive(answer(b"two"))
        self.assertEqual(one(client).body, b"two")
        self.assertEqual(self.peers(), [("192.0.2.2:80", 502), ("192.0.2.2:80", 200)])


class WayTests(ProxyingCase):
    """
    Which upstream, and what it is asked.
    """

    def test_variable(self) -> None:
        """
        A variable may name a group, or an address.
        """
        web = Proxied("location / { proxy_pass http://$arg_to; }", http=TWO)
        for to, address in (("GROUP", "192.0.2.2:80"), ("192.0.2.9:81", "192.0.2.9:81")):
            client = web.client(head(f"GET /?to={to} HTTP/1.1"))
            self.assertEqual(web.world.attempt().address.text, address)
            web.connected().arrive(answer(b"fine"))
            self.assertEqual(one(client).body, b"fine")

    def test_nowhere(self) -> None:
        """
        What it says may be no address: 500; or not be found: 502.
        """
        web = Proxied("location / { proxy_pass $arg_to; }")
        for to, status in (("x", 500), ("http://up", 502)):
            self.assertEqual(web.ask(f"GET /?to={to} HTTP/1.1").status, status)

    def test_resolver_asked(self) -> None:
        """
        A client that goes while a name is looked up takes the question with it.
        """
        web = Proxied("resolver 192.0.2.53; location / { proxy_pass http://$arg_to; }")
        resolver = Silent()
        runtime: Any = web.world.runtime
        server: Any = web.world.listening[0].default
        place, _ = server.place.inside.find("/", None)
        runtime._resolvers[place.content.resolver] = resolver
        client = web.client(head("GET /?to=up.example HTTP/1.1"))
        client.end()
        self.assertEqual(web.request().status, 499)
        self.assertEqual(web.complaints(), [])
        self.assertEqual(resolver.cancelled, 1)

    def test_unix(self) -> None:
        """
        A socket's path is told apart from the URI in the log; what we have run out of is no fault of its.
        """
        web = self.web(http="upstream group { server unix:/run/x; }")
        client = web.client(GET)
        web.world.attempt().fail(24, at_once=True)
        self.fails(client, 500)
        self.assertIn('upstream: "http://unix:/run/x:/a"', web.complaints()[0])
        self.assertEqual(self.peers(), [("", 0)])

    def test_smuggled(self) -> None:
        """
        A variable that would end a line, or the target, makes it a bad request, and nobody is asked.
        """
        web = Proxied("location / { proxy_pass http://192.0.2.2; proxy_set_header X $uri; }")
        self.assertEqual(web.ask("GET /a%0d%0aX HTTP/1.1").status, 400)
        web = Proxied("location / { proxy_pass http://192.0.2.2$uri; }")
        self.assertEqual(web.ask("GET /a%20b HTTP/1.1").status, 400)
        self.assertEqual(web.world.network.attempts, [])

    def test_certificate(self) -> None:
        """
        Where a certificate that a variable names cannot be had it is 500.
        """
        web = Proxied(
            "location / { proxy_pass https://192.0.2.2;"
            " proxy_ssl_certificate $arg_c; proxy_ssl_certificate_key $arg_c; }"
        )
        self.assertEqual(web.ask("GET /?c=none.pem HTTP/1.1").status, 500)
        self.assertIn("none.pem", web.complaint())

    def test_version(self) -> None:
        """
        With proxy_http_version 1.0 that is spoken, and a body of unknown length is kept first.
        """
        web = self.web("proxy_http_version 1.0; proxy_request_buffering off;")
        client = web.client(head("PUT /a HTTP/1.1", "Transfer-Encoding: chunked") + b"2\r\nbo\r\n")
        self.assertEqual(web.world.network.attempts, [])
        client.arrive(b"2\r\ndy\r\n0\r\n\r\n")
        upstream = web.connected()
        found = asked(upstream)
        self.assertEqual((found.head.version, found.fields["content-length"], found.body), ((1, 0), "4", b"body"))

    def test_crash(self) -> None:
        """
        A fault of ours ends the request, its upstream's connection and nothing else.
        """
        web = self.web()
        client = web.client(GET)
        upstream = web.connected()
        content: Any = web.world.session().pending
        content.request.place.filters.append(fail)
        upstream.arrive(answer(b"fine"))
        self.assertTrue(upstream.closed)
        self.assertIn("internal error", web.complaint())
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertTrue(client.closed or client.finished)


def fail(request: Request, reply: Any) -> None:
    """
    A filter with a fault.
    """
    raise ZeroDivisionError


class Silent:
    """
    A resolver that does not answer.
    """

    def __init__(self) -> None:
        self.cancelled = 0

    def resolve(self, name: str, answered: Any) -> Any:
        """
        @see: L{sniproxy.interfaces.IResolver}
        """
        return self

    def cancel(self) -> None:
        """
        Nobody waits any more.
        """
        self.cancelled += 1

    def close(self) -> None:
        """
        The end.
        """


class AnswerTests(ProxyingCase):
    """
    What is made of answers.
    """

    def test_intercept(self) -> None:
        """
        With proxy_intercept_errors what error_page says takes the place of an error; others are passed on.
        """
        web = Proxied(
            "error_page 404 /missing; location / { proxy_pass http://192.0.2.2; proxy_intercept_errors on; }"
            " location /missing { content hello; }"
        )
        client = web.client(GET)
        upstream = web.connected()
        upstream.arrive(answer(b"theirs", line="HTTP/1.1 404 Not Found"))
        found = one(client)
        self.assertEqual((found.status, found.body), (404, b"hello\n"))
        self.assertTrue(upstream.closed)
        self.assertEqual(web.request().upstream_states[0].status, 404)
        client.arrive(GET)
        web.connected().arrive(answer(b"theirs", line="HTTP/1.1 403 Forbidden"))
        self.assertEqual(one(client).body, b"theirs")

    def test_intercepted_challenge(self) -> None:
        """
        What takes the place of 401 keeps its challenges; after 500 the connection is over, whatever is told instead.
        """
        web = Proxied(
            "error_page 401 500 =200 /other; location / { proxy_pass http://192.0.2.2; proxy_intercept_errors on; }"
            " location /other { content hello; }"
        )
        client = web.client(GET)
        web.connected().arrive(answer(b"", "WWW-Authenticate: a", "www-authenticate: b", line="HTTP/1.1 401 No"))
        found = one(client)
        self.assertEqual((found.status, found.headers.all("www-authenticate")), (200, ["a", "b"]))
        self.assertEqual(found.headers.get("connection"), "keep-alive")
        client.arrive(GET)
        web.connected().arrive(answer(b"", "WWW-Authenticate: a", line="HTTP/1.1 500 Oh"))
        found = one(client)
        self.assertEqual((found.headers.all("www-authenticate"), found.headers.get("connection")), ([], "close"))

    def test_not_intercepted(self) -> None:
        """
        What no error_page is for is passed on as it is.
        """
        web = Proxied("error_page 404 /a; location / { proxy_pass http://192.0.2.2; proxy_intercept_errors on; }")
        client = web.client(GET)
        for status in (401, 500):
            upstream = web.connected()
            upstream.arrive(answer(b"", "WWW-Authenticate: a", "Connection: close", line=f"HTTP/1.1 {status} No"))
            found = one(client)
            self.assertEqual((found.status, found.headers.all("www-authenticate")), (status, ["a"]))
            self.assertEqual(found.headers.get("connection"), "keep-alive")
            client.arrive(GET)

    def test_no_page(self) -> None:
        """
        Where there is no error_page nothing is intercepted.
        """
        web = self.web("proxy_intercept_errors on;")
        client = web.client(GET)
        web.connected().arrive(answer(b"theirs", line="HTTP/1.1 404 Not Found"))
        self.assertEqual(one(client).body, b"theirs")

    def test_our_page(self) -> None:
        """
        What is wrong at our side is told by error_page too.
        """
        web = Proxied(
            "error_page 502 =200 /missing; location / { proxy_pass http://192.0.2.2; }"
            " location /missing { content hello; }"
        )
        client = web.client(GET)
        web.world.attempt().fail()
        found = one(client)
        self.assertEqual((found.status, found.body), (200, b"hello\n"))

    def test_redirected(self) -> None:
        """
        X-Accel-Redirect sends the request elsewhere, perhaps to another upstream, which gets the body as well.
        """
        web = Proxied(
            "location / { proxy_pass http://192.0.2.2; } location @b { proxy_pass http://192.0.2.3; }",
        )
        client = web.client(POST)
        web.connected().arrive(answer(b"", "X-Accel-Redirect: @b"))
        upstream = web.connected()
        self.assertEqual(asked(upstream).body, b"body")
        upstream.arrive(answer(b"fine"))
        self.assertEqual(one(client).body, b"fine")
        self.assertEqual([state.peer for state in web.request().upstream_states], ["192.0.2.2:80", "", "192.0.2.3:80"])

    def test_unbuffered(self) -> None:
        """
        An answer may ask to be passed on at once.
        """
        web = self.web()
        client = web.client(GET)
        web.connected().arrive(answer(b"", "X-Accel-Buffering: no", "Content-Length: 3", length=False) + b"x")
        self.assertTrue(client.taken().endswith(b"\r\n\r\nx"))

    def test_switch(self) -> None:
        """
        Another protocol is spoken where it was asked for, and is no answer elsewhere.
        """
        switch = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"
        web = self.web("proxy_set_header Upgrade x;")
        client = web.client(GET)
        upstream = web.connected()
        upstream.arrive(b"HTTP/1.1 100 Continue\r\n\r\n" + switch + b"hello")
        self.assertTrue(client.taken().endswith(b"\r\n\r\nhello"))
        web = self.web("proxy_next_upstream off;")
        client = web.client(GET)
        web.connected().arrive(switch)
        self.fails(client, 502)


class GoneTests(ProxyingCase):
    """
    Clients that go.
    """

    def test_waiting(self) -> None:
        """
        Whoever goes before the answer takes the upstream with it: 499.
        """
        web = self.web()
        client = web.client(GET)
        upstream = web.connected()
        client.end()
        self.assertTrue(upstream.closed)
        self.assertEqual(web.request().status, 499)

    def test_ignored(self) -> None:
        """
        With proxy_ignore_client_abort the upstream may finish what it does.
        """
        web = self.web("proxy_ignore_client_abort on;")
        client = web.client(GET)
        upstream = web.connected()
        client.end()
        self.assertFalse(upstream.closed)
        upstream.arrive(answer(b"fine"))
        web.turn()
        self.assertEqual(web.request().status, 200)
        self.assertFalse(upstream.closed)

    def test_nothing_left(self) -> None:
        """
        Nothing of a request that is over goes round in circles.
        """
        web = Proxied("location / { proxy_pass http://192.0.2.2; }")
        client = web.client(POST)
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)
        web.world.attempt().fail()
        self.fails(client, 502)
        client.arrive(GET)
        upstream = web.connected()
        upstream.arrive(answer(b"one"))
        client.arrive(GET)
        upstream.arrive(answer(b"", "Content-Length: 9", length=False))
        client.lose()
        web.world.network.attempts.clear()  # the test's own memory of whom to tell
        left = [type(each) for each in gc.get_objects() if isinstance(each, Proxying | Attempt | Outgoing)]
        self.assertEqual(left, [])

    def test_released(self) -> None:
        """
        The peer that was in use has one connection less then.
        """
        web = self.web(http="upstream group { server 192.0.2.2 max_conns=1; }")
        client = web.client(GET)
        web.connected()
        client.end()
        other = web.client(GET)
        web.connected().arrive(answer(b"fine"))
        self.assertEqual(one(other).body, b"fine")
