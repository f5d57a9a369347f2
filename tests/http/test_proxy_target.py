"""
Tests for L{sniproxy.http.proxy_target}.
"""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.errors import ConfigError
from sniproxy.http.proxy_target import Target, asked, target_of
from tests.support.requests import Site


class TargetOfTests(SynchronousTestCase):
    """
    What proxy_pass says.
    """

    def facts(self, text: str) -> tuple[str, str, str, str, str, str]:
        """
        Scheme, address, host, port, name and URI.
        """
        found: Target = target_of(text)
        return found.scheme, found.address, found.host, found.port, found.name, found.uri

    def test_plain(self) -> None:
        """
        A name without a port has the usual one, which is not said.
        """
        self.assertEqual(self.facts("http://up"), ("http://", "up", "up", "80", "up", ""))
        self.assertEqual(self.facts("http://up:80/a/"), ("http://", "up:80", "up", "80", "up", "/a/"))
        self.assertEqual(self.facts("http://up:443"), ("http://", "up:443", "up:443", "443", "up", ""))
        self.assertFalse(target_of("http://up").secure)

    def test_secure(self) -> None:
        """
        The scheme's case does not matter; the usual port is another one.
        """
        self.assertEqual(self.facts("HTTPS://up/?a=b"), ("https://", "up", "up", "443", "up", "/?a=b"))
        self.assertEqual(self.facts("https://up:443"), ("https://", "up:443", "up", "443", "up", ""))
        self.assertEqual(
            self.facts("https://[::1]:8443/"), ("https://", "[::1]:8443", "[::1]:8443", "8443", "[::1]", "/")
        )
        self.assertTrue(target_of("https://up").secure)

    def test_query(self) -> None:
        """
        Arguments alone are those of the root.
        """
        self.assertEqual(target_of("http://up?a=/b").uri, "/?a=/b")

    def test_unix(self) -> None:
        """
        A socket's path ends at a colon; whoever is there is called localhost.
        """
        self.assertEqual(self.facts("http://unix:/run/x"), ("http://", "unix:/run/x", "localhost", "", "localhost", ""))
        self.assertEqual(target_of("http://unix:/run/x:/a/b").uri, "/a/b")
        self.assertEqual(target_of("http://unix:/run/x:/a/b").written.host, "/run/x")

    def test_refused(self) -> None:
        """
        What is no address is refused in nginx's words.
        """
        for text, words in (
            ("up", "invalid URL prefix"),
            ("ftp://up", "invalid URL prefix"),
            ("http://", 'no host in upstream ""'),
            ("http:///a", 'no host in upstream "/a"'),
            ("http://up:x/", 'invalid port in upstream "up:x"'),
            ("http://unix:", 'no path in the unix domain socket in upstream "unix:"'),
        ):
            self.assertEqual(self.assertRaises(ConfigError, target_of, text).message, words)


class AskedTests(SynchronousTestCase):
    """
    What is asked for at the upstream.
    """

    def asked(self, passed: str, prefix: int = 0, whole: bool = False, **changed: Any) -> str:
        """
        Of a request for C{/a/b c?x=1}, sent as C{/a//b%20c?x=1}.
        """
        facts: dict[str, Any] = {
            "uri": "/a/b c",
            "args": "x=1",
            "asked": ("/a/b c", "x=1"),
            "located": "/a/b c",
            "target": "/a//b%20c?x=1",
            "internal": False,
        }
        request = Site("", []).get("/").request
        assert request is not None
        for name, value in {**facts, **changed}.items():
            setattr(request, name, value)
        return asked(request, passed, prefix, whole)

    def test_as_sent(self) -> None:
        """
        Without a URI it is what the client has sent, byte for byte.
        """
        self.assertEqual(self.asked(""), "/a//b%20c?x=1")

    def test_changed(self) -> None:
        """
        Unless path or arguments were changed meanwhile.
        """
        self.assertEqual(self.asked("", uri="/new path"), "/new%20path?x=1")
        self.assertEqual(self.asked("", args="y"), "/a/b%20c?y")
        self.assertEqual(self.asked("", args=""), "/a/b%20c")

    def test_replaced(self) -> None:
        """
        A URI stands in the place of the location's name.
        """
        self.assertEqual(self.asked("/up/", 3), "/up/b%20c?x=1")
        self.assertEqual(self.asked("/up", 2, args=""), "/up/b%20c")

    def test_escaped(self) -> None:
        """
        What the client has sent without escapes goes on without them, unless we have changed it.
        """
        plain: dict[str, Any] = {"uri": '/a/"b', "asked": ('/a/"b', "x=%1"), "located": '/a/"b', "args": "x=%1"}
        sent = {**plain, "target": '/a/"b?x=%1'}
        self.assertEqual(self.asked("/up/", 3, **sent), '/up/"b?x=%1')
        self.assertEqual(self.asked("/up/", 3, **{**sent, "internal": True}), "/up/%22b?x=%1")
        self.assertEqual(self.asked("/up/", 3, **{**sent, "target": "/a/%22b?x=%1"}), "/up/%22b?x=%1")

    def test_rewritten(self) -> None:
        """
        What was rewritten in the location itself is asked for as it is.
        """
        self.assertEqual(self.asked("/up/", 3, uri="/other"), "/other?x=1")

    def test_variables(self) -> None:
        """
        A URI made of variables is all that is asked for; without one there is nothing special.
        """
        self.assertEqual(self.asked("/v?y", 3, whole=True), "/v?y")
        self.assertEqual(self.asked("", 3, whole=True), "/a//b%20c?x=1")
