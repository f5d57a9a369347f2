"""
Lists of types.
"""

from __future__ import annotations

from typing import Any, Final

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.config.directives import MANY, Directive, Repeat
from sniproxy.http.headers import Headers
from sniproxy.http.media_types import ANY, has_charset, media_types, type_of, types_in_force
from tests.support.places import Declared, Places

TYPES: Final[Directive[Any]] = Directive(
    "some_types",
    ("http", "http.server", "http.server.location"),
    (1, MANY),
    media_types("text/html"),
    (),
    repeat=Repeat.LISTED,
)


class MediaTypesTests(SynchronousTestCase):
    """
    A directive that is one.
    """

    def found(self, text: str) -> Any:
        """
        What holds in the innermost place.
        """
        self.world = Places(text, [Declared(TYPES)])
        return types_in_force(self.world.places[-1].scope, TYPES, "text/html")

    def test_lists(self) -> None:
        """
        Several of one block are one list, in any case, with what is always in it; a block inside has its own.
        """
        self.assertEqual(self.found("server { }"), {"text/html"})
        self.assertEqual(
            self.found("server { some_types a/B; some_types c/d e/f; }"), {"text/html", "a/b", "c/d", "e/f"}
        )
        self.assertEqual(self.found("some_types a/b; server { location / { } }"), {"text/html", "a/b"})
        self.assertEqual(self.found("some_types a/b; server { some_types c/d; }"), {"text/html", "c/d"})
        self.assertIs(self.found("some_types a/b *; some_types c/d; server { }"), ANY)

    def test_twice(self) -> None:
        """
        A type that is there already is a warning, as in nginx.
        """
        self.found("some_types TEXT/html a/b; some_types a/B; server { some_types a/b; }")
        self.assertEqual(
            [str(each).partition(" in ")[0] for each in self.world.build.warnings],
            ['duplicate MIME type "text/html"', 'duplicate MIME type "a/b"'],
        )

    def test_type(self) -> None:
        """
        The charset does not count.
        """
        self.assertEqual([has_charset(said) for said in ("a/b;  Charset=c", "a/b; b=charset")], [True, False])
        for said, wanted in (("Text/HTML; charset=utf-8", "text/html"), ("A/B; c=d", "a/b; c=d"), ("", "")):
            self.assertEqual(type_of(Headers([("Content-type", said)])), wanted)
        self.assertEqual(type_of(Headers()), "")
