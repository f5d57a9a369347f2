"""
Lines of access logs, by what a real nginx writes.
"""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.config.template import Getter
from sniproxy.errors import ConfigError
from sniproxy.logs.log_format import LogFormat


def getter(name: str) -> Getter:
    """
    Subjects are dictionaries here.
    """

    def get(subject: dict[str, str]) -> str | None:
        return subject.get(name)

    return get


def line(*words: str, **values: str) -> bytes:
    """
    One line of a format.
    """
    made = LogFormat()
    made.read(words, getter)
    return made.render(values)


class FormatTests(SynchronousTestCase):
    """
    What a format is made of.
    """

    def test_text_and_variables(self) -> None:
        """
        Words follow each other without a space; variables may stand in braces and in any case.
        """
        self.assertEqual(line("$a [${B}]x", "-$A$b", "}", a="1", b="2"), b"1 [2]x-12}")
        self.assertEqual(line("only text"), b"only text")
        self.assertEqual(line("escape=none"), b"")
        self.assertEqual(line(), b"")

    def test_text_is_not_escaped(self) -> None:
        """
        What stands in the format itself is written as it is, bytes that are no text too.
        """
        self.assertEqual(line('"\té\udcff\\ $a', a='"'), b'"\t\xc3\xa9\xff\\ \\x22')

    def test_not_found(self) -> None:
        """
        A variable that is not found is a dash, or nothing with the other two escapes; an empty one is nothing.
        """
        self.assertEqual(line("[$a][$b]", b=""), b"[-][]")
        self.assertEqual(line("escape=default", "[$a]"), b"[-]")
        self.assertEqual(line("escape=json", "[$a][$b]", b=""), b"[][]")
        self.assertEqual(line("escape=none", "[$a][$b]", b=""), b"[][]")

    def test_digits_are_names(self) -> None:
        """
        A log has no captures: digits name a variable.
        """
        self.assertEqual(line("$1x", **{"1x": "v"}), b"v")

    def test_escape_only_first(self) -> None:
        """
        Only the first word may choose the escape.
        """
        self.assertEqual(line("a", "escape=json", "$b", b="\n"), b"aescape=json\\x0A")

    def test_faults(self) -> None:
        """
        What is no variable is named, in nginx's words.
        """
        for word, message in (
            ("escape=xml", 'unknown log format escaping "xml"'),
            ("a $", 'invalid parameter "$"'),
            ("a $-b", 'invalid parameter "$-b"'),
            ("a ${}b", 'invalid parameter "${}b"'),
            ("a ${", 'invalid parameter "${"'),
            ("a ${b", 'the closing bracket in "b" variable is missing'),
            ("a ${b-c}", 'the closing bracket in "b" variable is missing'),
            ("a ${-", 'the closing bracket in "" variable is missing'),
        ):
            problem: ConfigError = self.assertRaises(ConfigError, line, word)
            self.assertEqual(problem.message, message)


class EscapeTests(SynchronousTestCase):
    """
    What is made of values.
    """

    def test_default(self) -> None:
        """
        Quotes, backslashes, controls and all beyond ASCII become their bytes in capital hexadecimal digits.
        """
        self.assertEqual(line("$a", a=' !#[]~az"\\\x00\x1f\x7f'), b" !#[]~az\\x22\\x5C\\x00\\x1F\\x7F")
        self.assertEqual(line("$a", a="é\udcff\n"), b"\\xC3\\xA9\\xFF\\x0A")

    def test_json(self) -> None:
        """
        Controls, quotes and backslashes are escaped as JSON wants; all else stays.
        """
        self.assertEqual(line("escape=json", "$a", a='"\\\n\r\t\b\f/'), b'\\"\\\\\\n\\r\\t\\b\\f/')
        self.assertEqual(
            line("escape=json", "$a", a="\x00\x0b\x1f\x7fé\udcff"), b"\\u0000\\u000B\\u001F\x7f\xc3\xa9\xff"
        )

    def test_none(self) -> None:
        """
        Without an escape all stays.
        """
        self.assertEqual(line("escape=none", "$a", a='"\n\udcff'), b'"\n\xff')

    @settings(derandomize=True, deadline=None, database=None)
    @given(st.binary())
    def test_any_bytes(self, raw: bytes) -> None:
        """
        Whatever a value holds, the line is one printable line, and can be read back.
        """
        made = line("$a", a=raw.decode("utf-8", "surrogateescape"))
        self.assertTrue(all(32 <= byte < 127 for byte in made))
        self.assertNotIn(b'"', made)
        self.assertEqual(made.decode("unicode_escape").encode("latin-1"), raw)

    @settings(derandomize=True, deadline=None, database=None)
    @given(st.text())
    def test_any_json(self, text: str) -> None:
        """
        Whatever text a value holds, a JSON reader gets it back.
        """
        self.assertEqual(json.loads(b'"' + line("escape=json", "$a", a=text) + b'"'), text)
