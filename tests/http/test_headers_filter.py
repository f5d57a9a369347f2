"""
Fields that are added.
"""

from __future__ import annotations

from typing import Any

from twisted.plugin import IPlugin
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sniproxy.errors import ConfigErrors
from sniproxy.http.headers_filter import HeadersModule, headers
from sniproxy.interfaces import IModule
from tests.support.requests import Answer, Site
from tests.support.sessions import NOW


class HeadersTests(SynchronousTestCase):
    """
    One server whose answers have some fields already.
    """

    def get(self, text: str, target: str = "/", *, status: int = 200, fields: Any = (), **options: Any) -> Answer:
        """
        What one request gets.
        """
        site = Site(text, [HeadersModule()])
        for place in site.by_scope.values():
            place.fallback = lambda request: request.respond(status, b"body", headers=fields)
        return site.get(target, **options)

    def added(self, *arguments: Any, **options: Any) -> list[tuple[str, str]]:
        """
        The head of that.
        """
        return self.get(*arguments, **options).headers.items

    def test_add(self) -> None:
        """
        Fields are added with their variables, in order, whatever there is; empty ones are not.
        """
        text = 'add_header A $uri; add_header A b; add_header Cache-Control x; add_header C "$arg_none";'
        self.assertEqual(
            self.added(text, "/x", fields=[("Cache-Control", "y")]),
            [("Cache-Control", "y"), ("A", "/x"), ("A", "b"), ("Cache-Control", "x")],
        )

    def test_statuses(self) -> None:
        """
        Only answers that went well get them, or all where it says so.
        """
        text = "add_header A b; add_header C d always; expires max;"
        for status in (200, 201, 204, 206, 301, 302, 303, 304, 307, 308):
            self.assertEqual(len(self.added(text, status=status)), 4, status)
        for status in (203, 300, 404, 500):
            self.assertEqual(self.added(text, status=status), [("C", "d")], status)

    def test_alone(self) -> None:
        """
        Age and tag take the place of the answer's; an empty one takes them away.
        """
        given = [("ETag", "x"), ("Last-Modified", "y")]
        self.assertEqual(self.added('add_header etag z; add_header Last-Modified "";', fields=given), [("etag", "z")])
        self.assertEqual(self.added("add_header ETag z;"), [("ETag", "z")])

    def test_one_line(self) -> None:
        """
        What a client sends cannot end the line.
        """
        self.assertEqual(self.added("add_header A $uri;", "/a%0d%0aX:%20y"), [("A", "/a  X: y")])

    def test_inherited(self) -> None:
        """
        A block that adds fields has its own alone; or those around it as well; or none of these in any case.
        """
        text = """
            add_header A 1;
            location /a { }
            location /b { add_header B 2; }
            location /c { add_header_inherit merge; add_header C 3; location /c/d { add_header D 4; } }
            location /e { add_header_inherit off; }
        """
        for target, wanted in (("/", "A"), ("/a", "A"), ("/b", "B"), ("/c", "CA"), ("/c/d", "DCA"), ("/e", "")):
            self.assertEqual("".join(name for name, _ in self.added(text, target)), wanted, target)

    def test_expires(self) -> None:
        """
        The age that is added is one by the clock; with variables what is none is left out.
        """
        self.assertEqual(self.added("expires 1h;")[1], ("Cache-Control", "max-age=3600"))
        self.assertEqual(self.added("expires modified +1h;")[1], ("Cache-Control", "max-age=3600"))
        self.assertEqual(self.added("expires $arg_e;", "/?e=1d")[1], ("Cache-Control", "max-age=86400"))
        for target in ("/", "/?e=junk", "/?e=off"):
            self.assertEqual(self.added("expires $arg_e;", target), [], target)
        self.assertEqual(self.added("expires 1h; location /a { expires off; }", "/a"), [])
        self.assertEqual(NOW, 1_800_000_000.0)
        self.assertEqual(self.added("expires 1h;")[0], ("Expires", "Fri, 15 Jan 2027 09:00:00 GMT"))

    def test_trailers(self) -> None:
        """
        Trailers follow a body in chunks, with what is known at its end.
        """
        answer = self.get('add_trailer A $uri; add_trailer B "$arg_none"; add_trailer C $status always;')
        assert answer.reply is not None
        self.assertEqual((answer.reply.length, answer.reply.trailers), (None, True))
        self.assertEqual(list(answer.trailers), [("A", "/"), ("C", "200")])
        self.assertEqual(list(self.get("add_trailer A b; add_trailer C d always;", status=404).trailers), [("C", "d")])

    def test_no_trailers(self) -> None:
        """
        Where nothing can follow the body the answer is as it was.
        """

        def old(request: Any) -> None:
            request.text = "HTTP/1.0"

        for options in ({"status": 304}, {"method": "HEAD"}, {"prepared": old}):
            answer = self.get("add_trailer A b;", **options)
            assert answer.reply is not None
            self.assertEqual((answer.reply.length, list(answer.trailers)), (4, []), options)
        answer = self.get("add_trailer A b;", status=404)
        assert answer.reply is not None
        self.assertEqual((answer.reply.length, list(answer.trailers)), (4, []))

    def test_trailers_and_versions(self) -> None:
        """
        In HTTP/2 the length may be told all the same; in HTTP/1.1 chunks have to be allowed.
        """

        def newer(request: Any) -> None:
            request.text = "HTTP/2.0"

        answer = self.get("add_trailer A b;", prepared=newer)
        assert answer.reply is not None
        self.assertEqual((answer.reply.length, list(answer.trailers)), (4, [("A", "b")]))
        site = Site("add_trailer A b;", [HeadersModule()], chunked=False)
        site.server.place.fallback = lambda request: request.respond(200, b"body")
        answer = site.get("/")
        assert answer.reply is not None
        self.assertEqual((answer.reply.length, list(answer.trailers)), (4, []))

    def test_none(self) -> None:
        """
        A place that adds nothing has no filter.
        """
        self.assertEqual(Site("expires off;", [HeadersModule()]).server.place.filters, [])

    def test_wrong(self) -> None:
        """
        Mistakes are named with their line.
        """
        for text, words in (
            ("\nadd_header A;", 'invalid number of arguments in "add_header" directive'),
            ("\nadd_header A b never;", 'invalid parameter "never"'),
            ("\nadd_header A $nope;", 'unknown "nope" variable'),
            ("\nexpires created 1h;", '"expires" directive invalid value'),
            ("\nexpires soon;", '"expires" directive invalid value'),
            ("\nadd_header_inherit yes;", 'invalid value "yes"'),
        ):
            problem: ConfigErrors = self.assertRaises(ConfigErrors, Site, text, [HeadersModule()])
            self.assertEqual([str(each) for each in problem.errors], [words + " in /etc/edge.conf:2"])

    def test_interfaces(self) -> None:
        """
        It is a module, found as a plugin.
        """
        self.assertTrue(verifyObject(IModule, headers))
        self.assertTrue(verifyObject(IPlugin, headers))
