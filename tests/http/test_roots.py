"""
Paths on the disk.
"""

from __future__ import annotations

from typing import Any, ClassVar

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.config.directives import Scope
from sniproxy.config.grammar import Node
from sniproxy.config.template import Variable
from sniproxy.errors import ConfigErrors
from sniproxy.http.roots import ALIAS, ROOT, BadPath, Root, check, located
from tests.support.requests import Site


class Roots:
    """
    A module that answers with the path.
    """

    name = "test_roots"
    directives: ClassVar[tuple[Any, ...]] = (ROOT, ALIAS)
    variables: ClassVar[tuple[Variable, ...]] = (Variable("document_root", lambda request: "x", kind="http"),)

    def prepare(self, build: Any) -> None:
        """
        Nothing to do.
        """

    def attach(self, server: Any, build: Any) -> None:
        """
        Nothing to do.
        """

    def attach_place(self, place: Any, build: Any) -> None:
        """
        Say the path.
        """
        root = Root(place.scope, build)

        def content(request: Any) -> None:
            try:
                request.respond(200, f"{root.path(request)} {root.folder(request)}".encode("utf-8", "surrogateescape"))
            except BadPath as problem:
                request.respond(problem.status, str(problem).encode())

        place.fallback = content


class RootTests(SynchronousTestCase):
    """
    C{root} and C{alias}.
    """

    def path(self, text: str, target: str, **options: Any) -> str:
        """
        What is said to a request.
        """
        return Site(text, [Roots()]).get(target, **options).body.decode("utf-8", "surrogateescape")

    def test_root(self) -> None:
        """
        The path of the request follows the folder, whose slash at the end does not count.
        """
        self.assertEqual(self.path("root /srv;", "/a/b"), "/srv/a/b /srv")
        self.assertEqual(self.path("root /srv/;", "/a%20%ff"), "/srv/a \udcff /srv")
        self.assertEqual(self.path("root /;", "/a"), "/a ")
        self.assertEqual(self.path("root srv;", "/"), "/var/srv/ /var/srv")
        self.assertEqual(self.path("", "/a"), "/var/html/a /var/html")

    def test_inherited(self) -> None:
        """
        The nearest one counts, whichever it is, with the name of its own location.
        """
        text = "root /srv; location /a { location /a/b { } } location /c/ { alias /x/; location /c/d { } }"
        self.assertEqual(self.path(text, "/a/b"), "/srv/a/b /srv")
        self.assertEqual(self.path(text, "/c/d/e"), "/x/d/e /x/")
        self.assertEqual(self.path("location /c/ { alias /x/; location /c/d { root /y; } }", "/c/d"), "/y/c/d /y")

    def test_variables(self) -> None:
        """
        Variables are asked for each request.
        """
        self.assertEqual(self.path("root /srv/$host/;", "/a", host="b"), "/srv/b/a /srv/b")
        self.assertEqual(self.path("root $host;", "/a", host="b"), "/var/b/a /var/b")

    def test_alias(self) -> None:
        """
        It stands for the location's part of the path, just as it is written.
        """
        self.assertEqual(self.path("location /a/ { alias /x/; }", "/a/b"), "/x/b /x/")
        self.assertEqual(self.path("location /a { alias /x; }", "/ab"), "/xb /x")
        self.assertEqual(self.path("location = /a { alias /x/y; }", "/a"), "/x/y /x/y")

    def test_alias_of_expression(self) -> None:
        """
        There it is the whole path, with what was captured; unless C{try_files} has added to it.
        """
        text = r"location ~ ^/a/(\w+) { alias /x/$1.txt; }"
        self.assertEqual(self.path(text, "/a/b/c"), "/x/b.txt /x/b.txt")

        def added(request: Any) -> None:
            request.notes[Root] = True

        self.assertEqual(self.path(text, "/a/b", prepared=added), "/x/b.txt/a/b /x/b.txt")

    def test_elsewhere(self) -> None:
        """
        A path that does not begin as the location any more cannot have its alias.
        """
        site = Site("location /a/ { alias /x/; }", [Roots()])
        place = site.places["/a/"]

        def moved(request: Any) -> None:
            request.uri = "/b"

        place.handle("access", moved)
        answer = site.get("/a/c")
        self.assertEqual(answer.status, 500)
        self.assertEqual(answer.body, b'"alias" cannot be used in location "/a/" where URI was rewritten')

    def test_climbing(self) -> None:
        """
        What climbs has no path, however it came about; dots that do not climb have.
        """
        for path in ("/..", "/../a", "/a/..", "..", "/a/../b", "/\0"):
            problem: BadPath = self.assertRaises(BadPath, check, path)
            self.assertEqual((problem.status, str(problem)), (404, f'unsafe URI "{path}" was detected'))
        for path in ("/", "/...", "/a..b/..c/d..", "/.a"):
            check(path)

    def test_located(self) -> None:
        """
        A location's name is found with its modifier apart or sticking to it; an expression has none.
        """
        for words, wanted in (
            (("/a",), "/a"),
            (("=", "/a"), "/a"),
            (("=/a",), "/a"),
            (("^~/a",), "/a"),
            (("^~", "/a"), "/a"),
            (("~", "/a"), ""),
            (("~*/a",), ""),
            (("@a",), "@a"),
            ((), ""),
        ):
            scope = Scope("", Node("location", words, (False,) * len(words), (), "x", 1), None)
            self.assertEqual(located(scope), wanted, words)
        self.assertEqual(located(Scope("main", None, None)), "")

    def test_wrong(self) -> None:
        """
        One block has one of the two, without what is made of them.
        """
        for text, words in (
            (
                "location /a {\nroot /x; alias /y; }",
                '"alias" directive is duplicate, "root" directive was specified earlier',
            ),
            (
                "location /a {\nalias /x; root /y; }",
                '"root" directive is duplicate, "alias" directive was specified earlier',
            ),
            ("location /a {\nroot /x; root /y; }", '"root" directive is duplicate'),
            ("location @a {\nalias /x; }", 'the "alias" directive cannot be used inside the named location'),
            ("\nroot $document_root;", 'the $document_root variable cannot be used in the "root" directive'),
            ("\nroot $nope;", 'unknown "nope" variable'),
            ("\nalias /x;", '"alias" directive is not allowed here'),
        ):
            problem: ConfigErrors = self.assertRaises(ConfigErrors, Site, text, [Roots()])
            self.assertEqual([str(each) for each in problem.errors], [words + " in /etc/edge.conf:2"])
