"""
Tests for L{sniproxy.http.proxy_settings}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.config.directives import Scope
from sniproxy.errors import ConfigErrors
from sniproxy.http import proxy_settings as said
from sniproxy.http.attempt import ERROR, TIMEOUT
from sniproxy.http.proxying import NON_IDEMPOTENT, STATUSES
from tests.support.sessions import configured


def location(directives: str) -> Scope:
    """
    A location with these directives.
    """
    build = configured(f"http {{ server {{ listen 80; location / {{ {directives} }} }} }}")
    (http,) = build.root.inside("http")
    (server,) = http.inside("http.server")
    (found,) = server.inside("http.server.location")
    return found


class SettingsTests(SynchronousTestCase):
    """
    What the directives' words mean.
    """

    def fault(self, directives: str) -> str:
        """
        What is wrong with these.
        """
        raised = self.assertRaises(ConfigErrors, location, directives)
        return str(raised.errors[0].message)

    def test_next_upstream(self) -> None:
        """
        Several kinds are added up; C{off} among them leaves none.
        """
        self.assertEqual(location("")[said.NEXT_UPSTREAM], ERROR | TIMEOUT)
        found = location("proxy_next_upstream ERROR http_503 non_idempotent;")[said.NEXT_UPSTREAM]
        self.assertEqual(found, ERROR | STATUSES[503] | NON_IDEMPOTENT)
        self.assertEqual(location("proxy_next_upstream error off;")[said.NEXT_UPSTREAM], 0)
        self.assertEqual(self.fault("proxy_next_upstream http_501;"), 'invalid value "http_501"')

    def test_buffers(self) -> None:
        """
        Number and size are multiplied; fewer than two are refused.
        """
        self.assertEqual(location("proxy_buffers 4 8k;")[said.BUFFERS], 32768)
        self.assertEqual(self.fault("proxy_buffers x 8k;"), '"proxy_buffers" directive invalid value')
        self.assertEqual(self.fault("proxy_buffers 4 0;"), '"proxy_buffers" directive invalid value')
        self.assertEqual(self.fault("proxy_buffers 1 8k;"), 'there must be at least 2 "proxy_buffers"')

    def test_set_header(self) -> None:
        """
        Fields that are set are collected; a lower block that has one has only its own.
        """
        sets = location("proxy_set_header A b; proxy_set_header A $host;")[said.SET_HEADER]
        self.assertEqual([(name, value.text) for name, value in sets], [("A", "b"), ("A", "$host")])

    def test_redirect(self) -> None:
        """
        C{default} is a word that means something behind C{proxy_pass}, pairs are pairs, and C{off} stands alone.
        """
        found = location("proxy_pass http://192.0.2.2; proxy_redirect default; proxy_redirect a b;")[said.REDIRECT]
        self.assertEqual((found[0], len(found)), (said.DEFAULT, 2))
        self.assertEqual(location("proxy_redirect off;")[said.REDIRECT], (None,))
        for name, value in (
            ("redirect", "a b"),
            ("cookie_path", "a b"),
            ("cookie_domain", "a b"),
            ("cookie_flags", "a"),
        ):
            one, other = f"proxy_{name} {value};", f"proxy_{name} off;"
            for text in (one + other, other + one, other + other):
                self.assertEqual(self.fault(text), f'"proxy_{name}" directive is duplicate')
        self.assertIn("should be placed after", self.fault("proxy_redirect default;"))

    def test_versions(self) -> None:
        """
        HTTP/1.1 is spoken unless told otherwise, and HTTP/2 is not.
        """
        self.assertEqual(location("")[said.VERSION], (1, 1))
        self.assertEqual(location("proxy_http_version 1.0;")[said.VERSION], (1, 0))
        self.assertEqual(self.fault("proxy_http_version 2;"), 'invalid value "2"')

    def test_ignored_fields(self) -> None:
        """
        Only some fields can be ignored.
        """
        found = location("proxy_ignore_headers expires x-accel-redirect;")[said.IGNORE_HEADERS]
        self.assertEqual(found, {"Expires", "X-Accel-Redirect"})
        self.assertEqual(self.fault("proxy_ignore_headers X;"), 'invalid value "X"')

    def test_without_effect(self) -> None:
        """
        What is about temporary files is accepted.
        """
        location("proxy_max_temp_file_size 1g; proxy_temp_path x 1 2; proxy_busy_buffers_size 8k;")
        self.assertIn("invalid value", self.fault("proxy_max_temp_file_size x;"))
