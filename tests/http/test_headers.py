"""
Tests for L{sniproxy.http.headers}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.http.headers import Headers, parted


class HeadersTests(SynchronousTestCase):
    """
    The fields of a head.
    """

    def setUp(self) -> None:
        self.headers = Headers([("A", "1"), ("b", "2"), ("a", "3")])

    def test_looking(self) -> None:
        """
        Names are looked for without case; the first value, or all, are found.
        """
        self.assertEqual((self.headers.get("a"), self.headers.get("c")), ("1", None))
        self.assertEqual(self.headers.all("a"), ["1", "3"])
        self.assertEqual((list(self.headers), len(self.headers)), ([("A", "1"), ("b", "2"), ("a", "3")], 3))

    def test_set(self) -> None:
        """
        A value that is set is the only one of its name, where the first was.
        """
        self.headers.set("a", "4")
        self.headers.set("C", "5")
        self.assertEqual(self.headers.items, [("a", "4"), ("b", "2"), ("C", "5")])

    def test_add_and_remove(self) -> None:
        """
        One more is one more, and none is none.
        """
        self.headers.add("B", "6")
        self.headers.remove("a")
        self.assertEqual(self.headers.items, [("b", "2"), ("B", "6")])

    def test_take(self) -> None:
        """
        What is taken is gone.
        """
        self.assertEqual((self.headers.take("a"), self.headers.take("x")), ("1", None))
        self.assertEqual(self.headers.items, [("b", "2")])

    def test_copy(self) -> None:
        """
        A copy changes by itself.
        """
        other = self.headers.copy()
        other.remove("a")
        self.assertEqual((len(other), len(self.headers)), (1, 3))

    def test_parted(self) -> None:
        """
        Names of letters, digits and dashes are one thing, others another.
        """
        headers = Headers([("A-1", "1"), ("b_c", "2"), ("d.e", "3"), ("-", "4")])
        kept, passed = parted(headers, False)
        self.assertEqual(([value for _, value in kept], [value for _, value in passed]), (["1", "4"], ["2", "3"]))
        self.assertEqual([value for _, value in parted(headers, True)[0]], ["1", "2", "4"])
