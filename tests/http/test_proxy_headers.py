"""
Tests for L{sniproxy.http.proxy_headers}.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.config.template import Template, pieces
from sniproxy.http.headers import Headers
from sniproxy.http.proxy_headers import HeaderPlan, forwarded_for


def subject(*fields: tuple[str, str], **values: str) -> Any:
    """
    A request with these fields and variables.
    """
    joined = {name.lower(): value for name, value in fields}
    return SimpleNamespace(headers=Headers(fields), fields=joined, values=values, client_text=lambda: "192.0.2.77")


def template(text: str) -> Template:
    """
    A text whose variables are those of the subject.
    """
    made = Template(text, pieces(text))
    made.bind(lambda name: lambda request: request.values.get(name) or "")
    return made


class HeaderPlanTests(SynchronousTestCase):
    """
    The fields of requests that go on.
    """

    def fields(self, request: Any, *sets: tuple[str, str], passes: bool = True, framing: Any = None) -> list[Any]:
        """
        What an upstream is sent.
        """
        plan = HeaderPlan([(name, template(value)) for name, value in sets], passes)
        return plan.fields(request, "up.example", framing)

    def test_lasting(self) -> None:
        """
        A connection may be kept as the version has it, unless the configuration tells the upstream otherwise.
        """
        for sets, expected in (
            ((), (False, True)),
            ((("connection", "Keep-Alive"),), (True, True)),
            ((("Connection", "$c"),), (False, False)),
            ((("Connection", ""),), (False, True)),
        ):
            plan = HeaderPlan([(name, template(value)) for name, value in sets])
            self.assertEqual(tuple(plan.lasting(subject(c="Close"), new) for new in (False, True)), expected)

    def test_default(self) -> None:
        """
        Host is the upstream's; the client's fields go on, but for those that concern its connection to us.
        """
        request = subject(
            ("Host", "client.example"),
            ("Accept", "*/*"),
            ("Connection", "close, x"),
            ("TE", "trailers"),
            ("Keep-Alive", "5"),
            ("Proxy-Connection", "close"),
            ("Upgrade", "websocket"),
            ("Expect", "100-continue"),
            ("Content-Length", "3"),
            ("Transfer-Encoding", "chunked"),
            ("X", "1"),
            ("x", "2"),
        )
        self.assertEqual(self.fields(request), [("Host", "up.example"), ("Accept", "*/*"), ("X", "1"), ("x", "2")])

    def test_framing(self) -> None:
        """
        Where the body ends is said once, whatever the client or the configuration says.
        """
        request = subject(("Content-Length", "5"), ("A", "b"))
        sets = ("content-length", "7"), ("Transfer-Encoding", "chunked")
        found = self.fields(request, *sets, framing=("Content-Length", "3"))
        self.assertEqual(found, [("Host", "up.example"), ("Content-Length", "3"), ("A", "b")])

    def test_set(self) -> None:
        """
        What is set comes first and in order, once for each time it is said, and instead of the client's.
        """
        request = subject(("HOST", "client.example"), ("x-a", "client's"), ("B", "b"), it="v")
        found = self.fields(request, ("Host", "$it.example"), ("X-A", "1"), ("x-a", "2$it"))
        self.assertEqual(found, [("Host", "v.example"), ("X-A", "1"), ("x-a", "2v"), ("B", "b")])

    def test_removed(self) -> None:
        """
        What is set to nothing is not sent at all.
        """
        request = subject(("Accept-Encoding", "gzip"), ("X", "y"))
        self.assertEqual(self.fields(request, ("accept-encoding", ""), ("Host", "$none")), [("X", "y")])

    def test_connection(self) -> None:
        """
        An upgrade is asked for only where that is set.
        """
        request = subject(("Upgrade", "h2c"), ("Connection", "upgrade"), up="websocket")
        found = self.fields(request, ("Upgrade", "$up"), ("Connection", "upgrade"))
        self.assertEqual(found, [("Upgrade", "websocket"), ("Connection", "upgrade"), ("Host", "up.example")])

    def test_not_passed(self) -> None:
        """
        With proxy_pass_request_headers off nothing of the client's goes on.
        """
        self.assertEqual(
            self.fields(subject(("X", "y")), ("A", "b"), passes=False), [("A", "b"), ("Host", "up.example")]
        )


class ForwardedForTests(SynchronousTestCase):
    """
    $proxy_add_x_forwarded_for.
    """

    def test_first(self) -> None:
        """
        It is the client, where nobody has passed the request on before.
        """
        self.assertEqual(forwarded_for(subject()), "192.0.2.77")

    def test_behind(self) -> None:
        """
        Else it comes behind those who have.
        """
        self.assertEqual(forwarded_for(subject(("X-Forwarded-For", "a, b"))), "a, b, 192.0.2.77")
