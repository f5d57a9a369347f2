"""
C{return}.
"""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.addresses import Address
from sniproxy.errors import ConfigErrors
from sniproxy.http.pages import page
from sniproxy.http.rewrite import RewriteModule
from sniproxy.http.static import StaticModule
from tests.support.requests import Answer, Site


class ReturnTests(SynchronousTestCase):
    """
    What is answered.
    """

    def get(self, text: str, target: str = "/a", **options: Any) -> Answer:
        """
        The answer of a server with one C{return}.
        """
        site = Site(text, [RewriteModule(), StaticModule()], **options)
        return site.get(target)

    def test_text(self) -> None:
        """
        A text is the body, of the type of the path, whatever the status.
        """
        answer = self.get('return 200 "a $uri ä";')
        self.assertEqual((answer.status, answer.body), (200, "a /a ä".encode()))
        self.assertEqual(answer.headers.items, [("Content-Type", "text/plain")])
        self.assertEqual(self.get("return 200 x;", "/a.html").field("content-type"), "text/html")
        self.assertEqual(self.get("default_type a/b; return 200 x;").field("content-type"), "a/b")
        self.assertIsNone(self.get('default_type ""; return 200 x;').field("content-type"))
        answer = self.get("return 404 gone;")
        self.assertEqual((answer.status, answer.body), (404, b"gone"))

    def test_its_own_status(self) -> None:
        """
        The text may show the status it comes with.
        """
        self.assertEqual(self.get("return 404 $status;").body, b"404")
        self.assertEqual(self.get("return 302 http://h/$status;").field("location"), "http://h/302")

    def test_status(self) -> None:
        """
        A status alone is nginx's page from 400 on, and an empty answer below.
        """
        for text in ("return 403;", 'return 403 "";'):
            answer = self.get(text)
            self.assertEqual((answer.status, answer.body), (403, page(403)))
        answer = self.get("return 200;")
        self.assertEqual((answer.status, answer.body, answer.field("content-type")), (200, b"", "text/plain"))
        self.assertEqual(self.get("return 418;").body, b"")
        answer = self.get("return 204 text;")
        self.assertEqual((answer.status, answer.body, answer.headers.items), (204, b"", []))

    def test_close(self) -> None:
        """
        444 ends the connection without a word.
        """
        answer = self.get("return 444;")
        self.assertTrue(answer.aborted)
        self.assertIsNone(answer.reply)

    def test_redirect(self) -> None:
        """
        The text of a redirect is where to; a path of ours gets scheme and host.
        """
        for status in (301, 302, 303, 307, 308):
            answer = self.get(f"return {status} https://h$uri;")
            self.assertEqual((answer.status, answer.field("location")), (status, "https://h/a"))
            self.assertEqual(answer.body, page(status))
        self.assertEqual(self.get("return 301 /b;").field("location"), "http://www.example.com/b")
        local = Address("inet", "192.0.2.1", 8080)
        self.assertEqual(self.get("return 301 /b;", local=local).field("location"), "http://www.example.com:8080/b")
        self.assertEqual(self.get("return 301 b;").field("location"), "b")
        self.assertEqual(self.get("return 301;").field("location"), "")

    def test_address(self) -> None:
        """
        An address without a status is 302.
        """
        for text in ("http://h/b", "https://h/b", "$scheme://h/b"):
            answer = self.get(f"return {text};")
            self.assertEqual(answer.status, 302)
            self.assertIn("://h/b", answer.field("location") or "")

    def test_no_second_line(self) -> None:
        """
        What a client sends cannot end the line of the address.
        """
        answer = self.get("return 302 http://h$uri;", "/a%0d%0aX:%20y")
        self.assertEqual(answer.field("location"), "http://h/a%0D%0AX: y")

    def test_error_page(self) -> None:
        """
        An error page may stand for a redirect.
        """
        site = Site("return 301 /b;", [RewriteModule()])
        hooked = []

        def hook(request: Any, status: int) -> bool:
            hooked.append(status)
            if len(hooked) == 1:
                request.respond(200, b"mine")
            return len(hooked) == 1

        site.server.place.error_page = hook
        self.assertEqual(site.get("/").body, b"mine")
        self.assertEqual(site.get("/").status, 301)

    def test_wrong(self) -> None:
        """
        A status has up to three digits, and only an address can do without.
        """
        for text, words in (
            ("\nreturn 1000;", 'invalid return code "1000"'),
            ("\nreturn x;", 'invalid return code "x"'),
            ("\nreturn http://h x;", 'invalid return code "http://h"'),
            ("\nreturn 200 $nope;", 'unknown "nope" variable'),
            ("\nreturn;", 'invalid number of arguments in "return" directive'),
        ):
            problem: ConfigErrors = self.assertRaises(ConfigErrors, Site, text, [RewriteModule()])
            self.assertEqual([str(each) for each in problem.errors], [words + " in /etc/edge.conf:2"])
