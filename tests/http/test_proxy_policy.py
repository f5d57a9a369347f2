"""
Tests for L{sniproxy.http.proxy_policy}.
"""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.addresses import Address
from sniproxy.common.resolver import ResolveFailure
from sniproxy.http import proxy_policy
from sniproxy.http.proxy_policy import ProxyPolicy
from tests.support.upstreams import Proxied, answer, asked, one
from tests.support.webs import head


class PolicyCase(SynchronousTestCase):
    """
    What tests of this file share.
    """

    def policy(self, web: Proxied, name: str = "/") -> ProxyPolicy:
        """
        Of a location.
        """
        server: Any = web.world.listening[0].default
        place, _ = server.place.inside.find(name, None)
        assert isinstance(place.content, ProxyPolicy)
        return place.content


class WayTests(PolicyCase):
    """
    How connections are made.
    """

    def request(self, location: str, path: str = "/", **more: Any) -> tuple[Proxied, Any]:
        """
        A request under way, and its attempt to connect.
        """
        web = Proxied(f"location / {{ {location} }}", **more)
        web.client(head(f"GET {path} HTTP/1.1"))
        return web, web.world.attempt()

    def test_fixed(self) -> None:
        """
        What is the same for all is worked out once.
        """
        web, attempt = self.request("proxy_pass http://192.0.2.2; proxy_socket_keepalive on; proxy_bind 192.0.2.9;")
        self.assertEqual((attempt.options.keepalive, attempt.options.bind.host), (True, "192.0.2.9"))
        self.assertTrue(attempt.options.speaks_first)
        policy = self.policy(web)
        pending: Any = next(iter(web.world.runtime.sessions)).pending
        target: Any = policy.target
        self.assertIs(policy.way(pending.request, target), policy.way(pending.request, target))

    def test_bind(self) -> None:
        """
        A variable may say where connections come from.
        """
        location = "proxy_pass http://192.0.2.2; proxy_bind $arg_b;"
        web, attempt = self.request(location, "/?b=192.0.2.8")
        self.assertEqual(attempt.options.bind.host, "192.0.2.8")
        web.client(head("GET /?b= HTTP/1.1"))
        self.assertIsNone(web.world.network.attempts[1].options.bind)

    def test_tls_fixed(self) -> None:
        """
        So it is with TLS, where no variable has a say in it.
        """
        for more, fixed in (("", True), ("proxy_ssl_name a;", True), ("proxy_ssl_name $host;", False)):
            web, _ = self.request(f"proxy_pass https://192.0.2.2; {more}")
            policy = self.policy(web)
            request: Any = next(iter(web.world.runtime.sessions)).pending
            target: Any = policy.target
            first, second = (policy.way(request.request, target) for _ in range(2))
            assert first is not None
            self.assertEqual(first is second, fixed)
            self.assertEqual(first.name, {"": "192.0.2.2", "proxy_ssl_name a;": "a"}.get(more, "x"))

    def test_alpn(self) -> None:
        """
        Protocols that are offered may be named by variables.
        """
        web, _ = self.request("proxy_pass https://192.0.2.2; proxy_ssl_alpn $arg_p;", "/?p=h9")
        policy = self.policy(web)
        pending: Any = next(iter(web.world.runtime.sessions)).pending
        target: Any = policy.target
        way = policy.way(pending.request, target)
        assert way is not None
        self.assertEqual(way.alpn, ("h9",))

    def test_brackets(self) -> None:
        """
        An address in brackets is no name with a port, unless it has one.
        """
        self.assertEqual(proxy_policy._portless("[::1]"), "[::1]")
        self.assertEqual(proxy_policy._portless("[::1]:443"), "[::1]")
        self.assertEqual(proxy_policy._portless("::1"), "::1")
        self.assertEqual(proxy_policy._portless("a:443"), "a")
        self.assertEqual(proxy_policy._portless("a:b"), "a:b")


class FindTests(PolicyCase):
    """
    Where variables say where to.
    """

    def setUp(self) -> None:
        self.web = Proxied(
            "resolver 192.0.2.53; location / { proxy_pass $arg_to; }"
            " location /other { proxy_pass http://known.example:8080; }",
            http="upstream group { server 192.0.2.2; }",
            names={"known.example": ["192.0.2.7"]},
        )

    def to(self, text: str) -> str:
        """
        The address that is connected to.
        """
        self.web.client(head(f"GET /?to={text} HTTP/1.1"))
        return self.web.world.network.attempts[-1].address.text

    def asks(self, resolver: Names) -> Names:
        """
        Names are looked up by this one.
        """
        runtime: Any = self.web.world.runtime
        runtime._resolvers[self.policy(self.web).resolver] = resolver
        return resolver

    def test_known(self) -> None:
        """
        Groups are known by their names, and so is what others have written down.
        """
        self.assertEqual(self.to("http://group/a"), "192.0.2.2:80")
        self.assertEqual(self.to("http://KNOWN.example:8080"), "192.0.2.7:8080")

    def test_literal(self) -> None:
        """
        Addresses are remembered, but not all there are.
        """
        literals = self.policy(self.web)._literals
        self.assertEqual(self.to("http://192.0.2.1"), "192.0.2.1:80")
        known = literals[Address("inet", "192.0.2.1", 80)]
        literals.update({Address("inet", "192.0.2.1", port): known for port in range(1, proxy_policy.LITERALS)})
        for last in (2, 1):
            self.assertEqual(self.to(f"http://192.0.2.{last}"), f"192.0.2.{last}:80")
        self.assertEqual(len(literals), proxy_policy.LITERALS)
        self.assertEqual(self.to("http://192.0.2.3"), "192.0.2.3:80")
        self.assertEqual(len(literals), 1)
        self.assertEqual(self.to("http://unix:/run/x:/y"), "unix:/run/x")

    def test_nothing_kept(self) -> None:
        """
        Connections to what variables name are not kept, unless it is a group.
        """
        for to, closed in (("http://192.0.2.9", True), ("http://group", False)):
            client = self.web.client(head(f"GET /?to={to} HTTP/1.1"))
            upstream = self.web.connected()
            upstream.arrive(answer(b"x"))
            self.assertEqual(one(client).body, b"x")
            self.assertEqual(upstream.closed, closed)

    def test_wrong(self) -> None:
        """
        What is no address is told in nginx's words.
        """
        for text, words in (
            ("x", 'invalid URL prefix in "x"'),
            ("http://a:x", 'invalid port in upstream "a:x"'),
        ):
            self.assertEqual(self.web.ask(f"GET /?to={text} HTTP/1.1").status, 500)
            self.assertIn(words, self.web.complaints()[-1])

    def test_no_resolver(self) -> None:
        """
        A name needs a resolver.
        """
        web = Proxied("location / { proxy_pass http://$arg_to; }")
        self.assertEqual(web.ask("GET /?to=up.example:81 HTTP/1.1").status, 502)
        self.assertTrue(web.complaint().startswith("no resolver defined to resolve up.example"))

    def test_resolved(self) -> None:
        """
        What the resolver finds is asked, at the port that was said.
        """
        resolver = self.asks(Names())
        client = self.web.client(head("GET /?to=http://up.example:81/x HTTP/1.1"))
        self.assertEqual([name for name, _ in resolver.asked], ["up.example"])
        resolver.asked[0][1](["192.0.2.5"])
        self.assertEqual(self.web.world.attempt().address.text, "192.0.2.5:81")
        upstream = self.web.connected()
        self.assertEqual(asked(upstream).fields["host"], "up.example:81")
        upstream.arrive(answer(b"x"))
        self.assertEqual(one(client).body, b"x")

    def test_known_at_once(self) -> None:
        """
        It may know the answer already.
        """
        self.asks(Names(["192.0.2.5"]))
        self.web.client(head("GET /?to=http://up.example HTTP/1.1"))
        self.assertEqual(self.web.world.attempt().address.text, "192.0.2.5:80")

    def test_unresolved(self) -> None:
        """
        What it does not find is 502.
        """
        self.asks(Names(ResolveFailure.of(3)))
        self.assertEqual(self.web.ask("GET /?to=http://up.example HTTP/1.1").status, 502)
        self.assertIn("up.example could not be resolved (3: Host not found)", self.web.complaint())


class Names:
    """
    A resolver that answers when the test says so, or at once.
    """

    def __init__(self, found: Any = None) -> None:
        self.asked: list[tuple[str, Any]] = []
        self._found = found

    def resolve(self, name: str, answered: Any) -> Any:
        """
        @see: L{sniproxy.interfaces.IResolver}
        """
        self.asked.append((name, answered))
        if self._found is not None:
            answered(self._found)
        return self

    def cancel(self) -> None:
        """
        Nobody waits.
        """

    def close(self) -> None:
        """
        The end.
        """
