"""
Tests for L{sniproxy.http.place}.
"""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.config.build import Build
from sniproxy.config.grammar import Node
from sniproxy.http.core import places
from sniproxy.http.phases import ACCESS, PREACCESS
from sniproxy.http.place import Place
from tests.support.sessions import configured


class Subject:
    """
    Whose captures an expression sets.
    """

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.captures: tuple[str, ...] | None = None


def build(locations: str) -> Build:
    """
    A server with these locations.
    """
    return configured(f"http {{ server {{ listen 192.0.2.1:80; {locations} }} }}")


def chosen(locations: str, path: str) -> str:
    """
    The name of the location that a path chooses; empty for none.
    """
    top = next(iter(places(build(locations)).values()))
    found, _ = top.inside.find(path, Subject())
    return "" if found is None else found.name


class LocationsTests(SynchronousTestCase):
    """
    Which location is a path's.
    """

    def test_precedence(self) -> None:
        """
        Exact, then the longest prefix if it is final, then the first expression, then the longest prefix.
        """
        locations = r"""
            location = / { }
            location / { }
            location /documents/ { }
            location ^~ /images/ { }
            location ~* \.(gif|jpg|jpeg)$ { }
            location ~ \.gif$ { }
        """
        rows = {
            "/": "/",
            "/index.html": "/",
            "/documents/document.html": "/documents/",
            "/images/1.gif": "/images/",
            "/documents/1.jpg": r"\.(gif|jpg|jpeg)$",
            "/documents/1.GIF": r"\.(gif|jpg|jpeg)$",
        }
        self.assertEqual({path: chosen(locations, path) for path in rows}, rows)

    def test_nested(self) -> None:
        """
        Inner locations go before the outer one; an expression inside goes before those beside it.
        """
        locations = (
            r"location /a { location /a/b { location ~ x { } } location = /a/c { } } location ~ y { location ~ /y { } }"
        )
        rows = {
            "/a/": "/a",
            "/a/b": "/a/b",
            "/a/bx": "x",
            "/a/c": "/a/c",
            "/a/by": "y",
            "/y": "/y",
            "/": "",
            "/zy": "y",
        }
        self.assertEqual({path: chosen(locations, path) for path in rows}, rows)

    def test_final_only_for_itself(self) -> None:
        """
        C{^~} keeps the expressions beside it away, and not those inside.
        """
        locations = "location ^~ /a { location ~ x { } } location ~ y { }"
        self.assertEqual([chosen(locations, path) for path in ("/ax", "/ay", "/b", "/by")], ["x", "/a", "", "y"])

    def test_captures(self) -> None:
        """
        What an expression has found is there for the place.
        """
        top = next(iter(places(build("location ~ ^/(?<who>[a-z]+) { }")).values()))
        subject = Subject()
        top.inside.find("/abc", subject)
        self.assertEqual((subject.captures, subject.values), (("abc",), {"who": "abc"}))

    def test_slash_missing(self) -> None:
        """
        A path that only lacks the last slash of a place that passes requests on is that place's.
        """
        for locations in ("location /a/ { } location / { }", "location = /a/ { }"):
            top = next(iter(places(build(locations)).values()))
            for place in top.inside:
                place.redirects = place.name == "/a/"
            found, sure = top.inside.find("/a", Subject())
            assert found is not None
            self.assertEqual((found.name, sure), ("/a/", True))

    def test_marks_without_blank(self) -> None:
        """
        What stands before a name may be written on to it.
        """
        self.assertEqual([chosen("location =/a { } location ~*b { }", path) for path in ("/a", "/B")], ["/a", "b"])


class PlaceTests(SynchronousTestCase):
    """
    One place.
    """

    def setUp(self) -> None:
        self.build = build("location /a { satisfy any; server_tokens off; }")
        self.top, self.place = places(self.build).values()

    def test_filled_in(self) -> None:
        """
        Handlers are kept by phase, filters in order, and what comes last in the block is its content.
        """
        place = self.place
        handlers: list[Any] = [lambda request: None, lambda request: 1]
        place.handle("access", handlers[0])
        place.handle("access", handlers[1])
        self.assertEqual(place.phases[ACCESS][-2:], handlers)
        place.handle("preaccess", handlers[1], late=True)
        place.handle("preaccess", handlers[0])
        self.assertEqual(place.phases[PREACCESS][-2:], handlers)
        before = len(place.filters)
        place.filter(handlers[0])
        self.assertEqual(place.filters[before:], [handlers[0]])
        assert place.scope.node is not None and place.scope.node.block is not None
        first, second = place.scope.node.block
        place.take_content(handlers[1], second)
        place.take_content(handlers[0], first)
        self.assertIs(place.content, handlers[1])
        elsewhere = Node("x", (), (), None, "f", 1)
        inherited = Place(place.scope, place.server, place.error_log, place.limits)
        inherited.take_content(handlers[0], elsewhere)
        self.assertIs(inherited.content, handlers[0])

    def test_dissolve(self) -> None:
        """
        What is over lets go of all it holds, and so do the places inside.
        """
        self.place.take_content(lambda request: None, Node("x", (), (), None, "f", 1))
        self.top.dissolve()
        self.assertEqual((list(self.top.inside), bool(self.top.inside), self.place.content), ([], False, None))
