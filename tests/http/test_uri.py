"""
Tests for L{sniproxy.http.uri}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.http.uri import BadTarget, Target, clean, escape, host_of, target_of, unescape


class TargetTests(SynchronousTestCase):
    """
    What a target means.
    """

    def test_paths(self) -> None:
        """
        A path is decoded, and dots and empty segments are gone from it.
        """
        rows = {
            "/": "/",
            "/a/b.c": "/a/b.c",
            "/a//b": "/a/b",
            "//": "/",
            "/a/": "/a/",
            "/a/./b": "/a/b",
            "/a/.": "/a/",
            "/a/b/..": "/a/",
            "/a/../b": "/b",
            "/a/..": "/",
            "/.hidden": "/.hidden",
            "/..a": "/..a",
            "/a%2fb": "/a/b",
            "/%61": "/a",
            "/a%20b": "/a b",
            "/a/%2e%2e/b": "/b",
            "/%e4": "/\udce4",
            "/a%3fb": "/a?b",
            "/a;b=1": "/a;b=1",
        }
        self.assertEqual({text: target_of(text).path for text in rows}, rows)

    def test_slashes_stay(self) -> None:
        """
        Without merging, empty segments are segments.
        """
        self.assertEqual(target_of("/a//b", merge_slashes=False).path, "/a//b")
        self.assertEqual(target_of("/a//../b", merge_slashes=False).path, "/a/b")

    def test_args(self) -> None:
        """
        Arguments are what was sent; a fragment is no part of them, but of what was sent.
        """
        self.assertEqual(target_of("/a?b=%31&c#d"), Target("/a", "b=%31&c", "/a?b=%31&c#d"))
        self.assertEqual(target_of("/a?"), Target("/a", "", "/a?"))
        self.assertEqual(target_of("/a"), Target("/a", None, "/a"))

    def test_absolute(self) -> None:
        """
        A whole address says the host, too.
        """
        self.assertEqual(target_of("http://A.example:81/b?c"), Target("/b", "c", "/b?c", "A.example:81"))
        self.assertEqual(target_of("HTTPS://a"), Target("/", None, "/", "a"))
        self.assertEqual(target_of("http://a?b"), Target("/", "b", "/?b", "a"))

    def test_refused(self) -> None:
        """
        What means no path is refused, and not repaired.
        """
        for text in (
            "/..",
            "/a/../..",
            "/%",
            "/%4",
            "/%zz",
            "/%00",
            "/%+1",
            "/%-1",
            "*",
            "a",
            "",
            "http:///a",
            "ftp://a/",
        ):
            with self.subTest(text):
                self.assertRaises(BadTarget, target_of, text)

    def test_every_spoiled_byte(self) -> None:
        """
        Whatever stands in a target, there is a path without a way out of the root, or a refusal.
        """
        whole = "/a/%2e./b/../c%20?x"
        for place in range(len(whole)):
            for code in range(256):
                text = whole[:place] + bytes((code,)).decode("utf-8", "surrogateescape") + whole[place + 1 :]
                try:
                    path = target_of(text).path
                except BadTarget:
                    continue
                self.assertTrue(path.startswith("/"))
                self.assertFalse({"..", "."} & set(path.split("/")))


class PartsTests(SynchronousTestCase):
    """
    The pieces by themselves.
    """

    def test_unescape(self) -> None:
        """
        Text without escapes is itself.
        """
        self.assertEqual(unescape("a+b"), "a+b")
        self.assertEqual(unescape("%41%c3%a4"), "A\u00e4")

    def test_clean(self) -> None:
        """
        A way out of the root leads nowhere.
        """
        self.assertRaises(BadTarget, clean, "/a/../../b")

    def test_escape(self) -> None:
        """
        What cannot stand in a target is encoded.
        """
        self.assertEqual(escape("/a b?%#\u00e4"), "/a%20b%3F%25%23%C3%A4")

    def test_hosts(self) -> None:
        """
        Hosts are compared without case, port and final dot; what is none is None.
        """
        rows = {
            "A.example": "a.example",
            "a.example.": "a.example",
            "a:80": "a",
            "a:": "a",
            "[::1]:443": "[::1]",
            "[::1]": "[::1]",
            "1.2.3.4": "1.2.3.4",
            "": None,
            "a..b": None,
            ".a": ".a",
            ".": None,
            "a_b-c~%41": "a_b-c~%41",
            "\u00e4": None,
            "a{b": None,
            "a/b": None,
            "a b": None,
            "a:x": None,
            "u@a": None,
            "a\\b": None,
            "[a": None,
        }
        self.assertEqual({text: host_of(text) for text in rows}, rows)
        self.assertEqual(host_of("A" * 300), "a" * 300)
