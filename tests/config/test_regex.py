"""
Regular expressions, by the answers of a real nginx with PCRE2.
"""

from __future__ import annotations

import warnings

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.config.regex import Regex
from sniproxy.errors import ConfigError


class Subject:
    """
    What captures are left in.
    """

    def __init__(self) -> None:
        self.values: dict[str, str | None] = {}
        self.captures: tuple[str, ...] | None = None


def found(pattern: str, text: str | bytes, caseless: bool = False) -> bool:
    """
    Whether a pattern is found in a text.
    """
    raw = text.encode() if isinstance(text, str) else text
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return Regex(pattern, caseless).test(Subject(), raw)


class CaptureTests(SynchronousTestCase):
    """
    What a match leaves behind.
    """

    def test_nested(self) -> None:
        """
        What repeats something that repeats is known, wherever the groups and brackets are.
        """
        for text, nested in (
            ("(a+)+", True),
            ("((a+))*", True),
            ("(a{2,})+", True),
            ("(x(a*)y)+", True),
            ("^(a+)b+", False),
            ("(a|b)*", False),
            ("[(+)]+(a)+", False),
            (r"\(a+\)+", False),
            ("(a{2,3})+", False),
        ):
            self.assertEqual(Regex(text).nested, nested, text)

    def test_groups(self) -> None:
        """
        Groups become captures, named ones variables too, and those that took no part are empty.
        """
        subject = Subject()
        regex = Regex(r"^(?<First>[a-z]+)\.(?<sec>[a-z]+)?x")
        self.assertEqual(regex.names, ("first", "sec"))
        self.assertEqual(regex.text, r"^(?<First>[a-z]+)\.(?<sec>[a-z]+)?x")
        self.assertTrue(regex.test(subject, b"ab.cdx"))
        self.assertEqual(subject.captures, ("ab", "cd"))
        self.assertEqual(subject.values, {"first": "ab", "sec": "cd"})
        self.assertTrue(regex.test(subject, b"ab.x"))
        self.assertEqual(subject.captures, ("ab", ""))
        self.assertEqual(subject.values, {"first": "ab", "sec": ""})

    def test_matches(self) -> None:
        """
        Whether there is a match can be asked alone.
        """
        self.assertEqual([Regex("^a").matches(text) for text in (b"ab", b"ba")], [True, False])

    def test_whether_it_captures(self) -> None:
        """
        It is known whether there are groups that capture.
        """
        self.assertEqual([Regex(text).captures for text in ("a(b)", "(?<n>a)", "(?:a)b")], [True, True, False])

    def test_no_match_touches_nothing(self) -> None:
        """
        The captures of an earlier match survive a later failure, and a match without groups empties them.
        """
        subject = Subject()
        self.assertTrue(Regex("(a)").test(subject, b"a"))
        self.assertFalse(Regex("(?<n>b)").test(subject, b"a"))
        self.assertEqual((subject.captures, subject.values), (("a",), {}))
        self.assertTrue(Regex("a").test(subject, b"a"))
        self.assertEqual(subject.captures, ())

    def test_bytes(self) -> None:
        """
        A dot is one byte, case is that of ASCII, and captured bytes survive.
        """
        subject = Subject()
        self.assertTrue(found("^.{2}$", "é"))
        self.assertFalse(found("^É$", "é", caseless=True))
        self.assertTrue(found("^É$", "É"))
        self.assertTrue(Regex("(.)$").test(subject, b"\xff\xfe"))
        self.assertEqual(subject.captures, ("\udcfe",))

    def test_caseless(self) -> None:
        """
        Only a caseless expression ignores case.
        """
        self.assertTrue(found("^ab$", "Ab", caseless=True))
        self.assertFalse(found("^ab$", "Ab"))


class SpellingTests(SynchronousTestCase):
    """
    PCRE's spellings that Python does not have.
    """

    def check(self, pattern: str, yes: tuple[str | bytes, ...], no: tuple[str | bytes, ...] = ()) -> None:
        """
        One pattern on several texts.
        """
        for text in yes:
            self.assertTrue(found(pattern, text), (pattern, text))
        for text in no:
            self.assertFalse(found(pattern, text), (pattern, text))

    def test_ends(self) -> None:
        """
        The three ends of a text differ by one newline.
        """
        self.check(r"^a$", ("a", "a\n"), ("a\n\n", "ab"))
        self.check(r"^a\z", ("a",), ("a\n",))
        self.check(r"\Aa\Z", ("a", "a\n"), ("a\n\n",))
        self.check(r"\Ga", ("ab",), ("ba",))

    def test_named_groups_and_references(self) -> None:
        """
        Names may be written in several ways, and be referred to in several.
        """
        for named in ("(?<n>.)", "(?P<n>.)", "(?'n'.)"):
            for reference in (r"\k<n>", r"\k'n'", r"\k{n}", r"\g{n}", "(?P=n)", r"\1", r"\g1", r"\g{1}", r"\g{-1}"):
                self.check(f"^{named}{reference}$", ("gg",), ("gh",))
        self.check(r"^(h)(?:i)(j)\g{-2}1$", ("hijh1",), ("hijj1",))
        self.check(r"^(?<q>a)?(?(<q>)b|c)$", ("ab", "c"), ("ac", "b"))
        self.check(r"^(?'q'a)?(?('q')b|c)$", ("ab", "c"), ("ac", "b"))
        self.check(r"^(a)?(?(1)b|c)$", ("ab", "c"), ("ac", "b"))

    def test_lookaround(self) -> None:
        """
        Looking behind is not a name.
        """
        self.check(r"(?<=a)b", ("ab",), ("cb",))
        self.check(r"(?<!a)b", ("cb",), ("ab",))
        self.check(r"^(?!a)(?=b)b", ("b",), ("a",))

    def test_options_in_the_middle(self) -> None:
        """
        An option holds to the end of its group, across bars.
        """
        self.check(r"^a(?i)b|c$", ("ab", "aB", "C", "c"), ("Ab",))
        self.check(r"^(?:d(?i)e)f$", ("def", "dEf"), ("dEF", "Def"))
        self.check(r"^(a(?i)b(?-i)c|d)e$", ("abce", "aBce", "de"), ("abCe", "De", "deE"))
        self.check(r"(?i)^x()y$", ("XY",), ())
        self.check(r"^(?i:x)y$", ("Xy",), ("XY",))
        self.check(r"^a(?)b(?#a comment)c$", ("abc",), ())

    def test_classes_of_characters(self) -> None:
        """
        Escapes for kinds of blanks and ends of lines.
        """
        self.check(r"^\h$", (" ", "\t", b"\xa0"), ("\n",))
        self.check(r"^\H$", ("a", "\n"), (" ", b"\xa0"))
        self.check(r"^\v$", ("\n", "\x0b", b"\x85"), ("a",))
        self.check(r"^\V$", ("a",), ("\x0b",))
        self.check(r"^\N\z", ("a",), ("\n",))
        self.check(r"^\R\z", ("\r\n", "\n", "\r"), ("a", "\n\r"))
        self.check(r"^[\h\v]+\z", (" \t\n\x0b",), ("a",))

    def test_codes(self) -> None:
        """
        Characters by number, and control characters.
        """
        self.check(r"^\x{41}\x42\x43\x9\e\o{101}\cA\ca\x\z", ("ABC\t\x1bA\x01\x01\x00",), ())
        self.check(r"^[\x{41}\e\cB-\cD]+$", ("A\x1b\x03",), ("B", "\x05"))
        self.check(r"^\\\.\/$", ("\\./",), ())

    def test_literal(self) -> None:
        """
        Between C{\\Q} and C{\\E} nothing is special, in brackets either.
        """
        self.check(r"^\Qx.(y\E.$", ("x.(yz",), ("xx(yz",))
        self.check(r"^\Qa+", ("a+",), ("aa",))
        self.check(r"^[\Q]^\Eab]+$", ("]^ab",), ("E",))
        self.check(r"^a\Eb[\Ec]$", ("abc",), ())

    def test_brackets(self) -> None:
        """
        POSIX classes, a first closing bracket, and what Python would warn of.
        """
        self.check(r"^[[:digit:]]+$", ("123",), ("a",))
        self.check(r"^[^[:digit:]_]+$", ("ab",), ("1", "_"))
        self.check(r"^[[:^digit:]x]+$", ("abx",), ("1",))
        self.check(r"^[[:upper:][:space:]]+$", ("A B",), ("a",))
        self.check(r"^[]a]+$", ("]a",), ("b",))
        self.check(r"^[^]a]+$", ("b",), ("]",))
        self.check(r"^[[a&&b||c~~]+$", ("[a&b|c~",), ("d",))


class RefusalTests(SynchronousTestCase):
    """
    What is refused, and how that is said.
    """

    def refused(self, pattern: str) -> str:
        """
        The message for a pattern.
        """
        problem: ConfigError = self.assertRaises(ConfigError, Regex, pattern)
        return problem.message

    def test_nginx_words(self) -> None:
        """
        Where PCRE would refuse, its words are used, with what it has not read by then.
        """
        for pattern, words, rest in (
            ("(", "missing closing parenthesis", ""),
            ("a(b|(?i)c", "missing closing parenthesis", ""),
            ("a(?", "missing closing parenthesis", ""),
            ("(?i", "missing closing parenthesis", ""),
            ("(?#x", "missing ) after (?# comment", ""),
            (")", "unmatched closing parenthesis", ")"),
            ("a(?i)b)", "unmatched closing parenthesis", ")"),
            ("(?<n>é))c", "unmatched closing parenthesis", ")c"),
            ("a[", "missing terminating ] for character class", ""),
            ("a[^", "missing terminating ] for character class", ""),
            ("+", "quantifier does not follow a repeatable item", "+"),
            ("(?<n>a)|*b", "quantifier does not follow a repeatable item", "*b"),
            ("a**", "quantifier does not follow a repeatable item", "*"),
            ("a\\", "\\ at end of pattern", ""),
            ("a\\y", "unrecognized character follows \\", "y"),
            ("xa{3,2}y", "numbers out of order in {} quantifier", "}y"),
            ("b[c-dz-a]e", "range out of order in character class", "a]e"),
            ("a(?<n>x)(?<n>y)", "two named subpatterns have the same name (PCRE2_DUPNAMES not set)", "y)"),
            ("(?<1a>b)", "subpattern name must start with a non-digit", "1a>b)"),
            ("(?P<1a>b)", "subpattern name must start with a non-digit", "1a>b)"),
            ("(?P<x", "syntax error in subpattern name (missing terminator?)", ""),
            ("(?z)", "unrecognized character after (? or (?-", "z)"),
            (r"(a)\2b", "reference to non-existent subpattern", "2b"),
            (r"a\k{n}b", "reference to non-existent subpattern", "n}b"),
            ("a(?P=n)b", "reference to non-existent subpattern", "n)b"),
            ("x(?<!a*)b", "lookbehind assertion is not fixed length", "(?<!a*)b"),
            ("a[[:nope:]]b", "unknown POSIX class name", "nope:]]b"),
            (r"\x{100}aa", r"character code point value in \x{} or \o{} is too large", "}aa"),
        ):
            end = f' at "{rest}"' if rest else ""
            self.assertEqual(self.refused(pattern), f'pcre2_compile() failed: {words} in "{pattern}"{end}')

    def test_beyond_the_engine(self) -> None:
        """
        What Python cannot do is refused and not taken for something else.
        """
        for pattern in (
            r"a\Kb",
            "(*UTF8)a",
            "(?R)",
            "(?|(a)|(b))",
            r"\p{L}",
            r"\X",
            r"(a)\g<1>",
            "a{99999999999999999999}",
        ):
            self.assertIn(f'in "{pattern}"', self.refused(pattern))

    def test_too_deep(self) -> None:
        """
        Thousands of nested groups are an error of the file and not a crash.
        """
        self.assertIn("pcre2_compile() failed", self.refused("(" * 20000 + ")" * 20000))
