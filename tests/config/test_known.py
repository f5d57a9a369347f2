"""
Tests for L{sniproxy.config.known}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.config.known import KNOWN, NOT_CARRIED, SOLD, refusal


class Refusals(SynchronousTestCase):
    """
    What is said of directives that no module declares.
    """

    def test_by_name(self) -> None:
        """
        A directive of nginx is refused with the reason.
        """
        for name, room, reason in (
            ("keyval", "stream", SOLD),
            ("limit_conn", "stream", NOT_CARRIED),
            ("http", "main", "HTTP is not carried yet"),
            ("fastcgi_param", "http", NOT_CARRIED),
            ("ssl_session_ticket_key", "http", "pyOpenSSL cannot set the keys of tickets"),
            ("ssl_session_ticket_key", "stream", "pyOpenSSL cannot set the keys of tickets"),
        ):
            self.assertEqual(refusal(name, room), f'"{name}" directive is not supported by sniproxy: {reason}')

    def test_elsewhere(self) -> None:
        """
        A directive that belongs into another room is not allowed, whoever knows it.
        """
        for name in ("location", "uwsgi_pass", "pid"):
            self.assertEqual(refusal(name, "stream"), f'"{name}" directive is not allowed here')
        self.assertEqual(refusal("ours", "stream", declared=True), '"ours" directive is not allowed here')

    def test_unknown(self) -> None:
        """
        What nginx does not know either is unknown.
        """
        for name in ("bogus", "...", "", "Listen"):
            self.assertEqual(refusal(name, "stream"), f'unknown directive "{name}"')

    def test_table(self) -> None:
        """
        Names are words and reasons are short, and a name of two rooms is known in both.
        """
        for name, known in KNOWN.items():
            self.assertRegex(name, r"\A[a-z0-9_]+\Z")
            self.assertLess(len(known.reason), 60)
            self.assertLessEqual(known.rooms, {"main", "stream", "http"})
        self.assertEqual(KNOWN["map"].rooms, {"stream", "http"})
        self.assertGreater(len(KNOWN), 450)
