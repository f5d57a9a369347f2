"""
The charset of answers.
"""

from __future__ import annotations

from typing import Any

from twisted.plugin import IPlugin
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sniproxy.errors import ConfigErrors
from sniproxy.http.charset import CharsetModule, charset
from sniproxy.http.rewrite import rewrite
from sniproxy.interfaces import IModule
from tests.support.requests import Site


class CharsetTests(SynchronousTestCase):
    """
    One server whose answers have a type.
    """

    def said(self, text: str, kind: str | None = "text/html", status: int = 200) -> str | None:
        """
        The type an answer comes with.
        """
        site = Site(text, [CharsetModule(), rewrite])
        for place in site.by_scope.values():
            place.fallback = lambda request: request.respond(status, b"x", kind)
        return site.get("/").field("content-type")

    def test_added(self) -> None:
        """
        It is added to types that are text, or that are listed.
        """
        for kind in ("text/html", "text/PLAIN", "text/xml", "application/javascript"):
            self.assertEqual(self.said("charset utf-8;", kind), f"{kind}; charset=utf-8")
        self.assertEqual(self.said("charset utf-8;", "image/png"), "image/png")
        self.assertEqual(self.said("charset a; charset_types image/png;", "image/png"), "image/png; charset=a")
        self.assertEqual(self.said("charset a; charset_types image/png;", "text/plain"), "text/plain")
        self.assertEqual(self.said("charset a; charset_types *;", "x/y"), "x/y; charset=a")
        self.assertIsNone(self.said("charset a; charset_types *;", None))

    def test_not_added(self) -> None:
        """
        Not where there is one, where the client is sent elsewhere, or where it is off.
        """
        self.assertEqual(self.said("charset a;", "text/html; Charset=b"), "text/html; Charset=b")
        for status, wanted in ((301, "text/html"), (302, "text/html"), (303, "text/html; charset=a")):
            self.assertEqual(self.said("charset a;", status=status), wanted)
        self.assertEqual(self.said("charset a; location / { charset off; }"), "text/html")
        self.assertEqual(self.said(""), "text/html")

    def test_variable(self) -> None:
        """
        It may depend on the request, and be none.
        """
        self.assertEqual(self.said("set $c koi8-r; charset $c;"), "text/html; charset=koi8-r")
        self.assertEqual(self.said('set $c ""; charset $c;'), "text/html")

    def test_refused(self) -> None:
        """
        What would recode is refused by its name.
        """
        for text in ("source_charset koi8-r;", "charset_map a b { }"):
            error = self.assertRaises(ConfigErrors, self.said, text)
            self.assertIn("directive is not supported by sniproxy", str(error))

    def test_module(self) -> None:
        """
        The module is one.
        """
        verifyObject(IModule, charset)
        verifyObject(IPlugin, charset)
        build: Any = None
        charset.prepare(build)
        charset.attach(build, build)
