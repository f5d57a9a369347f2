"""
Types of files.
"""

from __future__ import annotations

from typing import Any, ClassVar
from unittest import SkipTest

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.config.template import Variable
from sniproxy.http.types import DEFAULT_TYPE, TYPES, ContentTypes, extension
from tests.support.requests import Site


class Types:
    """
    A module of the two directives alone.
    """

    name = "test_types"
    directives: ClassVar[tuple[Any, ...]] = (TYPES, DEFAULT_TYPE)
    variables: ClassVar[tuple[Variable, ...]] = ()

    def prepare(self, build: Any) -> None:
        """
        Nothing to do.
        """

    def attach(self, server: Any, build: Any) -> None:
        """
        Nothing to do.
        """


class TypesTests(SynchronousTestCase):
    """
    Ends of names and what they mean.
    """

    def test_extension(self) -> None:
        """
        It is what follows the last dot of the last segment, in lower case, if anything is before the dot.
        """
        for path, wanted in (
            ("/a/b.HTML", "html"),
            ("/a.tar.gz", "gz"),
            ("/a.b/c", ""),
            ("/.htaccess", ""),
            ("/a.", ""),
            ("/", ""),
            ("/x/.a.b", "b"),
        ):
            self.assertEqual(extension(path), wanted, path)

    def of(self, site: Site, place: str, *paths: str) -> list[str]:
        """
        The types of some paths.
        """
        found = ContentTypes(site.places[place].scope)
        return [found.of(path) for path in paths]

    def test_default(self) -> None:
        """
        Without any block nginx knows three ends; the rest is plain text.
        """
        site = Site("", [Types()])
        self.assertEqual(
            self.of(site, "", "/a.html", "/a.gif", "/a.jpg", "/a.js", "/a"),
            ["text/html", "image/gif", "image/jpeg", "text/plain", "text/plain"],
        )

    def test_blocks(self) -> None:
        """
        Blocks of one level add up, an inner level has its own alone, and an empty one knows nothing.
        """
        site = Site(
            "location /a { types { text/x a; } default_type x/y; } location /b { types { } } location /c { }",
            [Types()],
            outside="types { text/html html HTM; } types { text/css css; }",
        )
        self.assertEqual(
            self.of(site, "/c", "/x.html", "/x.htm", "/x.css", "/x.gif"),
            ["text/html", "text/html", "text/css", "text/plain"],
        )
        self.assertEqual(self.of(site, "/a", "/x.a", "/x.html"), ["text/x", "x/y"])
        self.assertEqual(self.of(site, "/b", "/x.html"), ["text/plain"])

    def test_duplicate(self) -> None:
        """
        One end that is said twice on a level is a warning, and the last counts.
        """
        site = Site("types { text/a x; }\ntypes { text/b x; }", [Types()])
        self.assertEqual(
            site.warnings,
            ['duplicate extension "x", content type: "text/b", previous content type: "text/a" in /etc/edge.conf:2'],
        )
        self.assertEqual(self.of(site, "", "/a.x"), ["text/b"])

    def test_of_the_system(self) -> None:
        """
        The table that Debian ships is read, and has what everybody needs.
        """
        try:
            with open("/etc/nginx/mime.types", "rb") as file:
                table = file.read()
        except OSError as problem:
            raise SkipTest("nginx is not installed") from problem
        site = Site("include mime.types;", [Types()], files={"/etc/mime.types": table})
        self.assertEqual(site.warnings, [])
        self.assertEqual(
            self.of(site, "", "/a.css", "/a.js", "/a.svg", "/a.woff2", "/a.PNG"),
            ["text/css", "application/javascript", "image/svg+xml", "font/woff2", "image/png"],
        )
