"""
What C{if} asks.
"""

from __future__ import annotations

import errno

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.errors import ConfigErrors
from sniproxy.http.rewrite import RewriteModule
from tests.support.requests import MemoryDisk, Site


class TextTests(SynchronousTestCase):
    """
    Variables and texts.
    """

    def holds(self, condition: str, target: str) -> bool:
        """
        Whether a condition holds for a request.
        """
        site = Site(f"if {condition} {{ return 200; }} return 204;", [RewriteModule()])
        return site.get(target).status == 200

    def test_truth(self) -> None:
        """
        A variable is true unless it is empty or 0.
        """
        for value, true in (("", False), ("0", False), ("00", True), ("0a", True), ("a", True)):
            for condition in ("($arg_a)", "( $arg_a )", "($arg_a )"):
                self.assertIs(self.holds(condition, f"/?a={value}"), true, (condition, value))

    def test_equal(self) -> None:
        """
        Texts are compared as they are; both sides may have variables.
        """
        for condition, target, true in (
            ("($arg_a = b)", "/?a=b", True),
            ("($arg_a = b)", "/?a=B", False),
            ("($arg_a = $arg_b)", "/?a=x&b=x", True),
            ('($arg_a = "")', "/", True),
            ('($arg_a = "b c")', "/", False),
            ("($arg_a != b)", "/?a=b", False),
            ("( $arg_a != b )", "/", True),
            ("($arg_a = b$arg_b)", "/?a=bc&b=c", True),
        ):
            self.assertIs(self.holds(condition, target), true, (condition, target))

    def test_match(self) -> None:
        """
        Expressions are looked for, with and without case, and the other way round.
        """
        for operator, wanted in (("~", "10"), ("~*", "11"), ("!~", "01"), ("!~*", "00")):
            got = "".join(str(int(self.holds(f"($arg_a {operator} ^b)", f"/?a={value}"))) for value in ("bc", "BC"))
            self.assertEqual(got, wanted, operator)


class CaptureTests(SynchronousTestCase):
    """
    What expressions leave behind.
    """

    def get(self, text: str, target: str) -> str:
        """
        The answer's body.
        """
        self.site = Site(text, [RewriteModule()])
        return self.site.get(target).body.decode()

    def test_captured(self) -> None:
        """
        Groups are there afterwards, by numbers and names; where nothing was found there are none any more.
        """
        text = (
            'if ($arg_a ~ "^(.)(?<rest>.*)") { set $b "$1-$rest"; } if ($arg_c ~ "(x)") { } return 200 "$b|$1|$rest";'
        )
        self.assertEqual(self.get(text, "/?a=bcd"), "b-cd||cd")
        self.assertEqual(self.get(text, "/?a=bcd&c=x"), "b-cd|x|cd")

    def test_told(self) -> None:
        """
        With C{rewrite_log} each look is told.
        """
        self.get("rewrite_log on; if ($arg_a ~ b) { } if ($arg_a !~ c) { } return 200;", "/?a=b")
        self.assertEqual(self.site.said(), ['[notice] *1 "b" matches "b"', '[notice] *1 "c" does not match "b"'])


class FileTests(SynchronousTestCase):
    """
    Files.
    """

    def setUp(self) -> None:
        self.disk = MemoryDisk({"/srv/a": b"a", "/srv/dir/x": b"x"})
        self.disk.programs.add("/srv/dir/x")
        self.disk.odd.add("/srv/pipe")

    def holds(self, condition: str) -> bool:
        """
        Whether a condition holds.
        """
        self.site = Site(f"if {condition} {{ return 200; }} return 204;", [RewriteModule(self.disk)])
        return self.site.get("/dir").status == 200

    def test_aspects(self) -> None:
        """
        Files, folders, programs, and whatever there is; and the other way round.
        """
        for letter, found in (("f", "1010"), ("d", "0100"), ("e", "1111"), ("x", "0110")):
            paths = ("/srv/a", "/srv$uri", "/srv/dir/x", "/srv/pipe")
            got = "".join(str(int(self.holds(f"(-{letter} {path})"))) for path in paths)
            self.assertEqual(got, found, letter)
            self.assertFalse(self.holds(f"(-{letter} /srv/none)"))
            self.assertTrue(self.holds(f"( !-{letter} /srv/a/none )"))
            self.assertIs(self.holds(f"(!-{letter} /srv/a)"), found[0] == "0")

    def test_trouble(self) -> None:
        """
        What cannot be looked at is not there, and the log says why; a name that cannot be is not there either.
        """
        self.disk.refused["/srv/a"] = errno.EACCES
        self.assertFalse(self.holds("(-e /srv/a)"))
        self.assertEqual(self.site.said(), ['[crit] *1 stat() "/srv/a" failed (13: Refused)'])
        self.site = Site("if (-e $arg_a) { return 200; } return 204;", [RewriteModule()])
        self.assertEqual(self.site.get("/?a=a\0b").status, 204)


class WrongTests(SynchronousTestCase):
    """
    What is no condition.
    """

    def test_refused(self) -> None:
        """
        nginx's words and the line of the C{if}.
        """
        for condition, words in (
            ("$arg_a", 'invalid condition "$arg_a"'),
            ("($arg_a", 'invalid condition "$arg_a"'),
            ("(", 'invalid condition "("'),
            ("()", 'invalid condition ")"'),
            ("( )", 'invalid condition ")"'),
            ("(arg_a)", 'invalid condition "arg_a"'),
            ("($)", 'invalid condition "$"'),
            ("($arg_a b)", 'invalid condition "$arg_a"'),
            ("($arg_a = b c)", 'invalid condition "$arg_a"'),
            ("($arg_a == b)", 'unexpected "==" in condition'),
            ("($arg_a ~ b()", None),
            ("($a-b)", 'unknown "a-b" variable'),
            ("(${uri})", 'unknown "{uri}" variable'),
            ("($nope)", 'unknown "nope" variable'),
            ("($arg_a = $nope)", 'unknown "nope" variable'),
            ("(-g /a)", 'invalid condition "-g"'),
            ("(-f)", 'invalid condition "-f"'),
            ("(-f a b)", 'invalid condition "-f"'),
            ("(!-g /a)", 'invalid condition "!-g"'),
            ("(!f /a)", 'invalid condition "!f"'),
        ):
            problem: ConfigErrors = self.assertRaises(
                ConfigErrors, Site, f"\nif {condition} {{ return 200; }}", [RewriteModule()]
            )
            (error,) = problem.errors
            self.assertEqual(error.line, 2)
            if words is not None:
                self.assertEqual(error.message, words, condition)

    def test_slow(self) -> None:
        """
        An expression that repeats what repeats is a warning.
        """
        site = Site('\nif ($arg_a ~ "(a+)+") { }', [RewriteModule()])
        self.assertEqual(len(site.warnings), 1)
        self.assertIn("repeats what repeats", site.warnings[0])
