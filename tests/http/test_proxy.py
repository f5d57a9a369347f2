"""
Tests for L{sniproxy.http.proxy}.
"""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sniproxy.errors import ConfigErrors
from sniproxy.http.proxy import NO_URI, http_proxy
from sniproxy.interfaces import IModule
from tests.support import pki
from tests.support.upstreams import Proxied, answer, asked, one
from tests.support.webs import head

GET = head("GET /a HTTP/1.1")


class ProxyTests(SynchronousTestCase):
    """
    What the directives of a location come to.
    """

    def target(self, server: str, path: str, **more: Any) -> str:
        """
        What an upstream is asked for.
        """
        web = Proxied(server, **more)
        web.client(head(f"GET {path} HTTP/1.1"))
        return asked(web.connected()).target

    def fault(self, server: str, **more: Any) -> str:
        """
        What is wrong with a server.
        """
        raised = self.assertRaises(ConfigErrors, Proxied, server, **more)
        return str(raised.errors[0].message)

    def test_module(self) -> None:
        """
        It is one.
        """
        verifyObject(IModule, http_proxy)
        nothing: Any = None
        http_proxy.prepare(nothing)
        http_proxy.attach(nothing, nothing)

    def test_uri(self) -> None:
        """
        The URI stands for the name of the location; without one the request goes on as it was sent.
        """
        self.assertEqual(self.target("location /a/ { proxy_pass http://192.0.2.2/b; }", "/a//c%20d?e"), "/bc%20d?e")
        self.assertEqual(self.target("location /a/ { proxy_pass http://192.0.2.2; }", "/a//c%20d?e"), "/a//c%20d?e")

    def test_regex(self) -> None:
        """
        Where there is no name there must be no URI, unless it is made of variables.
        """
        for place in ("location ~ ^/a { X }", "location @a { X }", "location /a { limit_except GET { X } }",
                      "location /a { if ($host) { X } }"):  # fmt: skip
            self.assertEqual(self.fault(place.replace("X", "proxy_pass http://192.0.2.2/;")), NO_URI)
            Proxied(place.replace("X", "proxy_pass http://192.0.2.2;"))
        self.assertEqual(self.target("location ~ ^/(.) { proxy_pass http://192.0.2.2/v/$1; }", "/abc"), "/v/a")

    def test_limit_except(self) -> None:
        """
        Other methods may go elsewhere.
        """
        web = Proxied("location / { proxy_pass http://192.0.2.2; limit_except GET { proxy_pass http://192.0.2.3; } }")
        web.client(head("PUT /a HTTP/1.1", "Content-Length: 0"))
        self.assertEqual(web.world.attempt().address.text, "192.0.2.3:80")

    def test_slash(self) -> None:
        """
        Who leaves the slash out is sent to where it is.
        """
        web = Proxied("location /a/ { proxy_pass http://192.0.2.2; }")
        found = web.ask("GET /a?b HTTP/1.1")
        self.assertEqual((found.status, found.headers.get("location")), (301, "http://x/a/?b"))

    def test_wrong(self) -> None:
        """
        What is wrong is told in nginx's words.
        """
        self.assertEqual(self.fault("location / { proxy_pass ftp://a; }"), "invalid URL prefix")
        self.assertEqual(self.fault("location / { proxy_pass http://none; }"), 'host not found in upstream "none"')
        words = '"proxy_redirect default" cannot be used with "proxy_pass" directive with variables'
        self.assertEqual(self.fault("location / { proxy_pass http://$host; proxy_redirect default; }"), words)
        words = "no proxy_ssl_trusted_certificate for proxy_ssl_verify"
        self.assertEqual(self.fault("location / { proxy_pass https://192.0.2.2; proxy_ssl_verify on; }"), words)

    def test_unix(self) -> None:
        """
        Sockets with a path are upstreams as others, and keep their connections.
        """
        web = Proxied(
            "location /a { proxy_pass http://unix:/run/x; } location /b { proxy_pass http://unix:/run/x:/c; }"
        )
        client = web.client(GET)
        self.assertEqual(web.world.attempt().address.text, "unix:/run/x")
        upstream = web.connected()
        self.assertEqual(asked(upstream).fields["host"], "localhost")
        upstream.arrive(answer(b"x"))
        self.assertFalse(upstream.closed)
        self.assertEqual(one(client).body, b"x")
        self.assertEqual(web.request().upstream_states[0].peer, "unix:/run/x")

    def test_secure(self) -> None:
        """
        Certificates that are worth a warning are told of where they are used.
        """
        root = pki.authority("Root")
        files = {"/etc/ca.pem": root.pem}
        more = "proxy_ssl_verify on; proxy_ssl_trusted_certificate ca.pem;"
        web = Proxied(f"{more} location / {{ proxy_pass https://192.0.2.2; }}", files=files)
        self.assertEqual(web.world.build.warnings, [])

    def test_kept_by_location(self) -> None:
        """
        Each location keeps its own connections, unless the group says otherwise.
        """
        for more, again in (("", False), ("keepalive 4;", True), ("keepalive 4 local;", False)):
            web = Proxied(
                "location /a { proxy_pass http://group; } location /b { proxy_pass http://group; }",
                http=f"upstream group {{ server 192.0.2.2; {more} }}",
            )
            client = web.client(GET)
            upstream = web.connected()
            upstream.arrive(answer(b"x"))
            self.assertEqual(one(client).body, b"x")
            client.arrive(head("GET /b HTTP/1.1"))
            self.assertEqual(len(web.world.network.attempts), 1 if again else 2)

    def test_not_kept(self) -> None:
        """
        With keepalive 0 no connection is kept.
        """
        web = Proxied(
            "location / { proxy_pass http://group; }", http="upstream group { server 192.0.2.2; keepalive 0; }"
        )
        web.client(GET)
        upstream = web.connected()
        upstream.arrive(answer(b"x"))
        self.assertTrue(upstream.closed)


class VariableTests(SynchronousTestCase):
    """
    The variables of the module.
    """

    def told(self, server: str, path: str = "/") -> tuple[str, str]:
        """
        $proxy_host and $proxy_port, as an upstream is told of them.
        """
        web = Proxied(f"proxy_set_header H $proxy_host; proxy_set_header P $proxy_port; {server}")
        web.client(head(f"GET {path} HTTP/1.1"))
        found = asked(web.connected()).fields
        return found.get("h", ""), found.get("p", "")

    def test_host(self) -> None:
        """
        They are what proxy_pass says, be it with variables.
        """
        self.assertEqual(self.told("location / { proxy_pass http://192.0.2.2:80; }"), ("192.0.2.2", "80"))
        self.assertEqual(self.told("location / { proxy_pass http://192.0.2.2:81/x; }"), ("192.0.2.2:81", "81"))
        found = self.told("location / { proxy_pass http://$arg_to; }", "/?to=192.0.2.3:82")
        self.assertEqual(found, ("192.0.2.3:82", "82"))
        self.assertEqual(self.told("location / { proxy_pass http://unix:/run/x; }"), ("localhost", ""))

    def test_nothing(self) -> None:
        """
        Where nothing is passed on they are empty.
        """
        web = Proxied("location / { return 200 [$proxy_host$proxy_port$proxy_add_x_forwarded_for]; }")
        self.assertEqual(web.ask("GET / HTTP/1.1").body, b"[192.0.2.77]")
