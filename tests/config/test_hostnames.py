"""
Whole names and masks, by the answers of a real nginx.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.config.hostnames import Hostnames, Verdict, lower

NAMES = (
    "*.example.com",
    ".example.org",
    "www.example.*",
    "*.com",
    "www.*",
    "exact.example.com",
    "*.a.example.com",
    ".b.example.com",
    "mail.*",
)


def table(*names: str, masks: bool = True) -> Hostnames[str]:
    """
    A table in which each name is its own value.
    """
    made: Hostnames[str] = Hostnames()
    for name in names:
        assert made.add(name, name, masks) is Verdict.TAKEN, name
    return made


class LowerTests(SynchronousTestCase):
    """
    Lower case is that of ASCII.
    """

    def test_ascii(self) -> None:
        """
        Letters of ASCII are lowered.
        """
        self.assertEqual(lower("WWW.Example-1.COM"), "www.example-1.com")

    def test_other_letters_stay(self) -> None:
        """
        Letters beyond ASCII stay as they are, and so do bytes that are no text.
        """
        self.assertEqual(lower("ÀB\udcffK\u212a"), "Àb\udcffk\u212a")


class FindTests(SynchronousTestCase):
    """
    Which name answers.
    """

    def check(self, names: Hostnames[str], expected: dict[str, str | None]) -> None:
        """
        Compare many answers at once.
        """
        self.assertEqual({name: names.find(name) for name in expected}, expected)

    def test_precedence(self) -> None:
        """
        The whole name wins, then the longest leading mask, then the longest trailing one.
        """
        self.check(
            table(*NAMES),
            {
                "exact.example.com": "exact.example.com",
                "x.example.com": "*.example.com",
                "example.com": "*.com",
                "a.example.com": "*.example.com",
                "x.a.example.com": "*.a.example.com",
                "www.example.com": "*.example.com",
                "www.other.com": "*.com",
                "www.com": "*.com",
                "www.example.net": "www.example.*",
                "www.example": "www.*",
                "www": None,
                "com": None,
            },
        )

    def test_dot_is_both(self) -> None:
        """
        A mask that begins with a dot takes the name itself and all below, and nothing that only ends alike.
        """
        self.check(
            table(*NAMES),
            {
                "example.org": ".example.org",
                "y.example.org": ".example.org",
                "z.y.example.org": ".example.org",
                "notexample.org": None,
                "b.example.com": ".b.example.com",
                "q.b.example.com": ".b.example.com",
            },
        )

    def test_odd_names(self) -> None:
        """
        Empty labels and stars in the name that is looked up mean nothing special.
        """
        self.check(
            table(*NAMES),
            {
                "": None,
                ".": None,
                ".example.com": "*.example.com",
                "z..com": "*.com",
                "*.example.com": "*.example.com",
                "x.example.com.": None,
                "mail": None,
                "mail.": "mail.*",
                "mail.x": "mail.*",
            },
        )

    def test_odd_masks(self) -> None:
        """
        What nginx takes for a leading mask is one, even where its rest contains a star.
        """
        self.check(
            table(".*", ".e.*", ".", "a."),
            {"x.*": ".*", "*": ".*", "y.e.*": ".e.*", "x.e": None, ".": ".", "a.": "a.", "a": None},
        )

    def test_without_masks(self) -> None:
        """
        Where masks are not wanted, stars and dots are letters.
        """
        self.check(
            table("*.pre.com", ".x.com", "w.*", "a..b", "*", masks=False),
            {"*.pre.com": "*.pre.com", "x.pre.com": None, ".x.com": ".x.com", "x.com": None, "w.x": None, "*": "*"},
        )

    @settings(derandomize=True, deadline=None, database=None)
    @given(st.lists(st.sampled_from("abw"), max_size=7).map(".".join))
    def test_same_as_trying_all(self, name: str) -> None:
        """
        Walking the labels answers as comparing with every mask would.
        """
        heads = ("a", "b.a", "a.b.a", "w.w.a.b", "b")
        tails = ("a", "a.w", "w", "w.b", "w.b.b.a")
        names = table(*(f"*.{head}" for head in heads), *(f"{tail}.*" for tail in tails))
        fits = [f"*.{head}" for head in sorted(heads, key=len, reverse=True) if name.endswith(f".{head}")]
        fits += [f"{tail}.*" for tail in sorted(tails, key=len, reverse=True) if name.startswith(f"{tail}.")]
        self.assertEqual(names.find(name), fits[0] if fits else None)


class AddTests(SynchronousTestCase):
    """
    What may be added.
    """

    def test_invalid(self) -> None:
        """
        A star that is not a whole first or last label, two stars, and an empty label are refused.
        """
        for name in ("a..b", "a.*.b", "*", "*.", "*.a.*", "a*", "..", "*..", "w.**", "a\0b", "*a.b"):
            self.assertIs(Hostnames[str]().add(name, "x"), Verdict.INVALID, name)

    def test_conflicts(self) -> None:
        """
        Two names that would answer for the same are refused, in either order and in any case.
        """
        for first, second in (
            ("a", "A"),
            (".x.com", "x.com"),
            ("x.com", ".x.com"),
            ("*.x.com", ".x.com"),
            (".x.com", "*.x.com"),
            ("*.X.com", "*.x.COM"),
            ("w.*", "W.*"),
        ):
            self.assertIs(table(first).add(second, "x"), Verdict.CONFLICT, (first, second))

    def test_mask_beside_its_name(self) -> None:
        """
        A leading mask does not conflict with the name it does not cover.
        """
        names = table("*.x.com", "x.com", "x.*", "x")
        self.assertEqual(names.find("x.com"), "x.com")
        self.assertEqual(names.find("x.net"), "x.*")
