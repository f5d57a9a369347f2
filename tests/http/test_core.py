"""
Tests for L{sniproxy.http.core}.
"""

from __future__ import annotations

import os
from typing import Any

from twisted.plugin import IPlugin
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sniproxy.common.listen import listenings
from sniproxy.config.build import Build
from sniproxy.errors import ConfigError, ConfigErrors
from sniproxy.http.core import http_core, limits_of, places
from sniproxy.http.limits import Limits
from sniproxy.http.place import Place
from sniproxy.interfaces import IModule
from tests.support.pki import authority, leaf
from tests.support.sessions import configured
from tests.support.webs import Web

IDENTITY = leaf(authority(), "a.example")
FILES = {"/etc/a.pem": IDENTITY.full_pem, "/etc/a.key": IDENTITY.key_pem}
TLS = "ssl_certificate a.pem; ssl_certificate_key a.key;"


def build(text: str, modules: tuple[Any, ...] = ()) -> Build:
    """
    What stands in C{http}.
    """
    return configured(f"http {{\n{text}\n}}", FILES, {}, modules)


class Failing:
    """
    A module that finds something wrong in every place.
    """

    name = "test_failing"
    directives: tuple[Any, ...] = ()
    variables: tuple[Any, ...] = ()

    def prepare(self, build: Build) -> None:
        """
        Nothing to do.
        """

    def attach(self, server: Any, build: Build) -> None:
        """
        Nothing to do.
        """

    def attach_place(self, place: Place, build: Build) -> None:
        """
        Complain.
        """
        raise ConfigError("this is wrong")


class ServersTests(SynchronousTestCase):
    """
    How blocks become servers.
    """

    def test_interfaces(self) -> None:
        """
        It is a plugin and a module, which attaches nothing by itself.
        """
        self.assertTrue(verifyObject(IModule, http_core))
        self.assertTrue(verifyObject(IPlugin, http_core))
        http_core.prepare(build(""))
        http_core.attach(None, build(""))

    def test_addresses(self) -> None:
        """
        Servers share addresses, by their names; without C{listen} it is nginx's usual port.
        """
        made = build("server { server_name a; listen 192.0.2.1; } server { server_name b; listen 192.0.2.1:80; }")
        (listening,) = listenings(made)
        self.assertEqual((listening.text, listening.by_name), ("192.0.2.1:80", True))
        self.assertEqual([server.names for server in listening.servers], [("a",), ("b",)])
        for user, port in ((0, 80), (1000, 8000)):
            self.patch(os, "geteuid", lambda user=user: user)
            (listening,) = listenings(build("server { }"))
            self.assertEqual((listening.text, listening.by_name), (f"0.0.0.0:{port}", False))
            self.assertEqual(listening.default.names, ("",))

    def test_beside_stream(self) -> None:
        """
        C{stream} and C{http} live in one process, but not on one address.
        """
        text = "stream {{ server {{ listen 192.0.2.1:{}; return a; }} }} http {{ server {{ listen 192.0.2.1:80; }} }}"
        self.assertEqual(len(listenings(configured(text.format(81)))), 2)
        (error,) = self.assertRaises(ConfigErrors, configured, text.format(80)).errors
        self.assertEqual(error.message, "bind() to 192.0.2.1:80 failed (98: Address already in use)")

    def test_tls(self) -> None:
        """
        A server that listens with C{ssl} has a context, and says whom it asks for certificates.
        """
        (listening,) = listenings(
            build(f"server {{ listen 192.0.2.1:443 ssl; {TLS} ssl_verify_client optional_no_ca; }}")
        )
        server: Any = listening.default
        self.assertEqual((server.tls is None, server.verify, server.http2), (False, "optional_no_ca", False))
        self.assertRaises(ConfigErrors, build, "server { listen 192.0.2.1:443 ssl; }")

    def test_opening(self) -> None:
        """
        TLS clients may choose among the versions of HTTP, and have as much time as for a request's head.
        """
        (listening,) = listenings(build(f"server {{ listen 192.0.2.1:443 ssl; {TLS} client_header_timeout 7s; }}"))
        server: Any = listening.default
        self.assertEqual(server.tls.policy.alpn[:1], ("http/1.1",))
        self.assertEqual(server.opening_timeout, 7.0)

    def test_http2(self) -> None:
        """
        HTTP/2 is switched on by its directive, or in the old way.
        """
        for text in ("listen 192.0.2.1:80; http2 on;", "listen 192.0.2.1:80 http2;"):
            server: Any = listenings(build(f"server {{ {text} }}"))[0].default
            self.assertTrue(server.http2)

    def test_limits(self) -> None:
        """
        What a block says of requests, inner blocks inherit; nothing said means nginx's defaults.
        """
        (place,) = places(build("server { listen 192.0.2.1:80; }")).values()
        self.assertEqual(place.limits, Limits())
        text = """
            large_client_header_buffers 2 1k; keepalive_timeout 5s 6s; client_max_body_size 0; server_tokens off;
            server { listen 192.0.2.1:80; location /a { client_max_body_size 7; internal; location /a/b { } } }
        """
        server, outer, inner = (limits_of(scope) for scope in places(build(text)))
        self.assertEqual((server.head.line, server.head.header, server.head.count), (1024, 1024, 2))
        self.assertEqual((server.keepalive_timeout, server.keepalive_header, server.body_size), (5.0, 6, 0))
        self.assertEqual((outer.body_size, outer.internal, inner.body_size, inner.internal), (7, True, 7, False))
        self.assertEqual(inner.server_tokens, "off")

    def test_wrong_values(self) -> None:
        """
        What cannot be is said with its place.
        """
        rows = {
            "large_client_header_buffers 0 1k;": '"large_client_header_buffers" directive invalid value',
            "large_client_header_buffers 1 x;": '"large_client_header_buffers" directive invalid value',
            "keepalive_timeout x;": '"keepalive_timeout" directive invalid value',
            "keepalive_timeout 1 x;": '"keepalive_timeout" directive invalid value',
            "client_body_temp_path a 1 x;": '"client_body_temp_path" directive invalid value',
            "client_body_temp_path a 0;": '"client_body_temp_path" directive invalid value',
            "location ~ ( { }": None,
        }
        for text, words in rows.items():
            errors = self.assertRaises(ConfigErrors, build, f"server {{ listen 192.0.2.1:80; {text} }}").errors
            self.assertEqual(errors[0].line, 2)
            if words is not None:
                self.assertEqual([error.message for error in errors], [words])

    def test_inside(self) -> None:
        """
        Blocks inside of locations have places of their own; expressions may be inside of anything; what is inside of
        them begins as they are written.
        """
        text = """server { listen 192.0.2.1:80; location /a { location ~ /a.*b { location /a.*bc { } }
            limit_except get { } location =/a/d { } } location @e { } location ^~ /f { limit_except PUT { } } }"""
        made = places(build(text))
        names = [(place.name, place.around is not None) for place in made.values()]
        expected = [("", False), ("/a", False), ("/a.*b", False), ("/a.*bc", False), ("/a", True), ("/a/d", False)]
        self.assertEqual(names, [*expected, ("@e", False), ("/f", False), ("/f", True)])
        allowed = [place.excepted[0] for place in made.values() if place.excepted is not None]
        self.assertEqual(allowed, [{"GET", "HEAD"}, {"PUT"}])

    def test_wrong(self) -> None:
        """
        What cannot be is refused with nginx's words.
        """
        rows = {
            "location ! /a { }": 'invalid location modifier "!"',
            "location /a { } location /a { }": 'duplicate location "/a"',
            "location = /a { } location = /a { }": 'duplicate location "/a"',
            "location /a { limit_except GET FOO { } }": 'invalid method "FOO"',
            "location ~ /a { location /b { } }": 'location "/b" is outside location "/a"',
            "location @a { } location @a { }": 'duplicate location "@a"',
            "location = /a { location /a/b { } }": 'location "/a/b" cannot be inside the exact location "/a"',
            "location @a { location /b { } }": 'location "/b" cannot be inside the named location "@a"',
            "location /a { location @b { } }": 'named location "@b" can be on the server level only',
            "location /a { location /b { } }": 'location "/b" is outside location "/a"',
        }
        for text, words in rows.items():
            with self.subTest(text):
                (error,) = self.assertRaises(ConfigErrors, build, f"server {{ listen 192.0.2.1:80; {text} }}").errors
                self.assertEqual(error.message, words)

    def test_modules_complain(self) -> None:
        """
        What a module finds wrong in a place is said of its block.
        """
        errors = self.assertRaises(
            ConfigErrors, build, "server {\nlisten 192.0.2.1:80;\nlocation / { }\n}", (Failing(),)
        ).errors
        self.assertEqual(
            [(error.message, error.line) for error in errors], [("this is wrong", 2), ("this is wrong", 4)]
        )

    def test_nested_expressions(self) -> None:
        """
        An expression that may keep the process busy is warned of.
        """
        made = build("server { listen 192.0.2.1:80; location ~ (a+)+$ { } }")
        self.assertIn("repeats what repeats", str(made.warnings[0]))

    def test_captures(self) -> None:
        """
        What an expression of a location has found is a variable.
        """
        web = Web("location ~ ^/(?<who>[a-z]+)$ { content hello; }")
        template = web.world.build.template("$who$1", web.world.build.nodes[0], "http")
        web.ask("GET /abc HTTP/1.1")
        self.assertEqual(template(web.over[0]), "abcabc")
