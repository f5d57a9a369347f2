"""
C{error_page}.
"""

from __future__ import annotations

from typing import Any

from twisted.plugin import IPlugin
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sniproxy.errors import ConfigErrors
from sniproxy.http.error_page import ErrorPageModule, error_page
from sniproxy.http.pages import page
from sniproxy.http.rewrite import RewriteModule
from sniproxy.http.static import StaticModule
from sniproxy.interfaces import IModule
from tests.support.requests import Answer, MemoryDisk, Site

BASE = """
    root /srv;
    location @named { return 200 "named $uri $status"; }
    location /code { return 201 "$args $request_method"; }
    location /gone { return 404; }
"""


class ErrorPageTests(SynchronousTestCase):
    """
    Where statuses go.
    """

    def setUp(self) -> None:
        self.disk = MemoryDisk({"/srv/n.txt": b"0123456789", "/srv/404.html": b"<404>"})

    def get(self, text: str, target: str = "/x", *fields: tuple[str, str], method: str = "GET") -> Answer:
        """
        What one request gets.
        """
        self.site = Site(BASE + text, [ErrorPageModule(), RewriteModule(), StaticModule(self.disk)])
        answer = self.site.get(target, *fields, method=method)
        assert answer.request is not None
        self.assertEqual(answer.request.status, answer.status)
        return answer

    def said(self, text: str, *arguments: Any, **options: Any) -> tuple[int, bytes]:
        """
        Status and body of that.
        """
        answer = self.get(text, *arguments, **options)
        return answer.status, answer.body

    def test_path(self) -> None:
        """
        The answer of another path has the status it stands for, and neither age nor conditions nor parts.
        """
        answer = self.get("error_page 404 /404.html;", "/none", ("If-None-Match", "*"), ("Range", "bytes=0-0"))
        self.assertEqual((answer.status, answer.body), (404, b"<404>"))
        self.assertEqual([name for name, _ in answer.headers], ["Content-Type", "ETag"])

    def test_other_status(self) -> None:
        """
        The status can be another one, or that of the answer.
        """
        answer = self.get("error_page 404 =200 /n.txt;", "/none")
        self.assertEqual((answer.status, answer.body), (200, b"0123456789"))
        self.assertIsNotNone(answer.field("last-modified"))
        answer = self.get("error_page 404 =200 /n.txt;", "/none", ("Range", "bytes=1-2"))
        self.assertEqual((answer.status, answer.body), (206, b"12"))
        self.assertEqual(self.said("error_page 404 =503 /n.txt;", "/none"), (503, b"0123456789"))
        self.assertEqual(self.said("error_page 404 = /code?a=b;", "/none"), (201, b"a=b GET"))

    def test_several(self) -> None:
        """
        One page may be for several statuses; of several pages for one the first counts.
        """
        text = "error_page 403 404 /n.txt; error_page 404 /404.html; location /a { return 403; }"
        self.assertEqual(self.said(text, "/none"), (404, b"0123456789"))
        self.assertEqual(self.said(text, "/a"), (403, b"0123456789"))

    def test_named(self) -> None:
        """
        A named location keeps path and method.
        """
        self.assertEqual(self.said("error_page 404 @named;", "/none"), (404, b"named /none 404"))
        self.assertEqual(self.said("error_page 404 =418 @named;", "/none"), (418, b"named /none 418"))

    def test_address(self) -> None:
        """
        An address is where the client is sent.
        """
        answer = self.get("error_page 404 http://h$uri;", "/none")
        self.assertEqual((answer.status, answer.field("location")), (302, "http://h/none"))

    def test_method(self) -> None:
        """
        A path is asked for with GET, unless it was HEAD.
        """
        text = "error_page 405 = /code?a; location /a { return 405; }"
        self.assertEqual(self.said(text, "/a", method="POST"), (201, b"a GET"))
        answer = self.get(text, "/a", method="HEAD")
        assert answer.reply is not None
        self.assertEqual((answer.status, answer.reply.length), (201, 6))

    def test_arguments(self) -> None:
        """
        Variables are asked when it happens; without a question mark there are no arguments.
        """
        self.assertEqual(self.said("error_page 404 = /code?u=$uri;", "/none?x"), (201, b"u=/none GET"))
        self.assertEqual(self.said("error_page 404 = /code;", "/none?x"), (201, b" GET"))

    def test_once(self) -> None:
        """
        An error of an error page is answered by nginx's own page, with its own status.
        """
        self.assertEqual(self.said("error_page 403 404 /gone; location /a { return 403; }", "/a"), (404, page(404)))

    def test_once_elsewhere(self) -> None:
        """
        That holds where the error page lies in a place that knows nothing of error pages.
        """
        text = "location /a { error_page 403 /gone; return 403; }"
        self.assertEqual(self.said(text, "/a"), (404, page(404)))

    def test_recursive(self) -> None:
        """
        Unless errors of error pages may have pages too, until the path has changed too often.
        """
        text = "recursive_error_pages on; error_page 403 /gone; error_page 404 /n.txt; location /a { return 403; }"
        self.assertEqual(self.said(text, "/a"), (404, b"0123456789"))
        text = "recursive_error_pages on; error_page 404 /gone;"
        self.assertEqual(self.said(text, "/a")[0], 500)
        self.assertIn("redirection cycle while internally redirecting", self.site.said()[-1])

    def test_too_often(self) -> None:
        """
        A path that has changed too often is not changed for an error page.
        """
        text = "recursive_error_pages on; error_page 500 /n.txt; location /a { rewrite ^ /a last; }"
        self.assertEqual(self.said(text, "/a"), (500, page(500)))

    def test_bad_requests(self) -> None:
        """
        nginx's own statuses are told as bad requests.
        """
        self.assertEqual(self.said("error_page 497 @named; location /a { return 497; }", "/a"), (400, b"named /a 400"))
        self.assertEqual(self.said("error_page 497 =402 @named; location /a { return 497; }", "/a")[0], 402)

    def test_own_text(self) -> None:
        """
        An error that was answered with a text is none any more.
        """
        self.assertEqual(self.said("error_page 404 /n.txt; location /a { return 404 mine; }", "/a"), (404, b"mine"))

    def test_inherited(self) -> None:
        """
        A block that has one has its own alone.
        """
        text = "error_page 403 /n.txt; location /a { error_page 404 /n.txt; return 403; } location /b { return 403; }"
        self.assertEqual(self.said(text, "/a"), (403, page(403)))
        self.assertEqual(self.said(text, "/b"), (403, b"0123456789"))

    def test_none(self) -> None:
        """
        A configuration without any costs nothing.
        """
        self.assertEqual(self.said("", "/none"), (404, page(404)))
        self.assertEqual(self.site.server.place.filters, [])
        self.assertIsNone(self.site.server.place.error_page)

    def test_wrong(self) -> None:
        """
        Mistakes are named with their line.
        """
        for text, words in (
            ("\nerror_page /a;", 'invalid number of arguments in "error_page" directive'),
            ("\nerror_page x /a;", 'invalid value "x"'),
            ("\nerror_page 200 /a;", 'value "200" must be between 300 and 599'),
            ("\nerror_page 499 /a;", 'invalid value "499"'),
            ("\nerror_page 404 =x /a;", 'invalid value "=x"'),
            ("\nerror_page =200 /a;", 'invalid value "=200"'),
            ("\nerror_page 404 $nope;", 'unknown "nope" variable'),
        ):
            problem: ConfigErrors = self.assertRaises(ConfigErrors, Site, text, [ErrorPageModule()])
            self.assertEqual([str(each) for each in problem.errors], [words + " in /etc/edge.conf:2"])

    def test_interfaces(self) -> None:
        """
        It is a module, found as a plugin, and its filter comes before those that add fields by the status.
        """
        self.assertTrue(verifyObject(IModule, error_page))
        self.assertTrue(verifyObject(IPlugin, error_page))
        self.assertLess(error_page.name, "http_headers")
