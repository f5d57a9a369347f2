"""
C{expires}.
"""

from __future__ import annotations

from datetime import datetime

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.errors import ConfigError, ConfigErrors
from sniproxy.http.dates import http_date
from sniproxy.http.exchange import Reply
from sniproxy.http.expires import EXPIRES, Late, expires_of
from sniproxy.http.headers_filter import HeadersModule
from tests.support.requests import Site

CHANGED = 784111777
NOW = CHANGED + 1000.5


class ExpiresTests(SynchronousTestCase):
    """
    Settings and what they say.
    """

    def said(self, text: str, modified: bool = False, now: float = NOW, dated: bool = True) -> tuple[str | None, ...]:
        """
        The two fields of an answer that was changed a thousand seconds ago.
        """
        found = expires_of(text, modified)
        assert found is not None
        reply = Reply(200, [("Last-Modified", http_date(CHANGED))] if dated else ())
        found.say(reply, now)
        return reply.headers.get("expires"), reply.headers.get("cache-control")

    def test_from_now(self) -> None:
        """
        So many seconds from now, with a plus or without; nothing is now, and what is past is not kept.
        """
        self.assertEqual(self.said("1h"), (http_date(NOW + 3600), "max-age=3600"))
        self.assertEqual(self.said("+1h30m"), (http_date(NOW + 5400), "max-age=5400"))
        self.assertEqual(self.said("0"), (http_date(NOW), "max-age=0"))
        self.assertEqual(self.said("-10"), (http_date(NOW - 10), "no-cache"))

    def test_from_then(self) -> None:
        """
        So many seconds from when it was changed, or from now where that is not known.
        """
        self.assertEqual(self.said("+1h", True), (http_date(CHANGED + 3600), "max-age=2600"))
        self.assertEqual(self.said("10", True), (http_date(CHANGED + 10), "no-cache"))
        self.assertEqual(self.said("1h", True, dated=False), (http_date(NOW + 3600), "max-age=3600"))
        self.assertEqual(self.said("0", True), (http_date(NOW), "max-age=0"))

    def test_daily(self) -> None:
        """
        A time of the day is the next one.
        """
        noon = datetime(2026, 6, 1, 12).timestamp()
        self.assertEqual(self.said("@13h", now=noon), (http_date(noon + 3600), "max-age=3600"))
        self.assertEqual(self.said("@11h", now=noon), (http_date(noon + 82800), "max-age=82800"))
        self.assertEqual(self.said("@12h", now=noon), (http_date(noon + 86400), "max-age=86400"))
        self.assertEqual(self.said("@0", now=noon), (http_date(noon + 43200), "max-age=43200"))
        self.assertEqual(self.said("@24h", now=noon), (http_date(noon + 43200), "max-age=43200"))

    def test_words(self) -> None:
        """
        Never, for ever, and nothing at all.
        """
        self.assertEqual(self.said("epoch"), ("Thu, 01 Jan 1970 00:00:01 GMT", "no-cache"))
        self.assertEqual(self.said("max"), ("Thu, 31 Dec 2037 23:55:55 GMT", "max-age=315360000"))
        self.assertIsNone(expires_of("off", False))

    def test_replaced(self) -> None:
        """
        What the answer said of this is said no more.
        """
        reply = Reply(200, [("expires", "x"), ("A", "b"), ("cache-control", "y"), ("Cache-Control", "z")])
        found = expires_of("max", False)
        assert found is not None
        found.say(reply, NOW)
        self.assertEqual(
            reply.headers.items,
            [
                ("Expires", "Thu, 31 Dec 2037 23:55:55 GMT"),
                ("A", "b"),
                ("Cache-Control", "max-age=315360000"),
            ],
        )

    def test_wrong(self) -> None:
        """
        nginx's words for what is no time.
        """
        for text, modified, words in (
            ("x", False, "invalid value"),
            ("", False, "invalid value"),
            ("-", False, "invalid value"),
            ("epoch", True, "invalid value"),
            ("@25h", False, "daily time value must be less than 24 hours"),
            ("@1h", True, 'daily time cannot be used with "modified" parameter'),
        ):
            problem: ConfigError = self.assertRaises(ConfigError, expires_of, text, modified)
            self.assertEqual(problem.message, f'"expires" directive {words}')


class DirectiveTests(SynchronousTestCase):
    """
    The directive.
    """

    def test_constant(self) -> None:
        """
        A time without variables is known when the file is read.
        """
        for text, wanted in (
            ("1h", expires_of("1h", False)),
            ("modified 1h", expires_of("1h", True)),
            ("off", None),
        ):
            self.assertEqual(Site(f"expires {text};", [HeadersModule()]).server.scope[EXPIRES], wanted)

    def test_late(self) -> None:
        """
        One with variables is found for each request, if it is one.
        """
        site = Site("expires modified $arg_e;", [HeadersModule()])
        late = site.server.scope[EXPIRES]
        assert isinstance(late, Late)
        for target, wanted in (("/?e=1h", expires_of("1h", True)), ("/?e=max", None), ("/", None)):
            request = site.get(target).request
            assert request is not None
            self.assertEqual(late.find(request), wanted)

    def test_wrong(self) -> None:
        """
        Mistakes are named with their line.
        """
        for text in ("expires created 1h;", "expires soon;"):
            problem: ConfigErrors = self.assertRaises(ConfigErrors, Site, "\n" + text, [HeadersModule()])
            self.assertEqual(
                [str(each) for each in problem.errors], ['"expires" directive invalid value in /etc/edge.conf:2']
            )
