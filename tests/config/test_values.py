"""
Tests for L{sniproxy.config.values}. What nginx accepts was tried with nginx 1.22.
"""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.config import values
from sniproxy.config.build import Build
from sniproxy.config.grammar import Node
from sniproxy.errors import ConfigError


class Numbers(SynchronousTestCase):
    """
    Numbers, sizes and times from single words.
    """

    def test_number(self) -> None:
        """
        A number has digits and nothing else, and fits nginx's integers.
        """
        for word, value in (("0", 0), ("007", 7), (str(values.LARGEST), values.LARGEST), ("0" * 30 + "1", 1)):
            self.assertEqual(values.number_of(word), value)
        for word in ("", "-1", "+1", " 1", "1\n", "1k", "٣", str(values.LARGEST + 1), "9" * 5000):
            self.assertIsNone(values.number_of(word), word)

    def test_size(self) -> None:
        """
        k and m, in both cases, are units of 1024; g is one where files are meant.
        """
        for word, value in (("5", 5), ("16k", 16384), ("1K", 1024), ("2m", 2097152), ("1M", 1048576)):
            self.assertEqual(values.size_of(word), value)
            self.assertEqual(values.size_of(word, giga=True), value)
        self.assertEqual(values.size_of("3g", giga=True), 3 * 2**30)
        self.assertEqual(values.size_of("3G", giga=True), 3 * 2**30)
        for word in ("", "k", "1g", "1kk", "1 k", "-1", "1k\n", "9" * 30, f"{2**62}k"):
            self.assertIsNone(values.size_of(word), word)

    def test_time(self) -> None:
        """
        Units follow each other from large to small, blanks may stand behind them, a bare number means seconds.
        """
        for word, value in (
            ("30", 30.0),
            ("0", 0.0),
            ("500ms", 0.5),
            ("1m", 60.0),
            ("1h30m", 5400.0),
            ("1m 5s", 65.0),
            ("1d 2h  3m4s 5ms", 93784.005),
            ("1w", 604800.0),
            ("1m5", 65.0),
            ("5 ", 5.0),
            (" 5", 5.0),
            ("1ms 5", 5.001),
        ):
            self.assertEqual(values.time_of(word), value, word)
        for word in ("", "s", "ms", " ", "1y", "1M", "5s1m", "1m1m", "1x", "-1", "1.5", "1ms1ms", "1s 2 3 ", "9" * 30):
            self.assertIsNone(values.time_of(word), word)

    def test_seconds(self) -> None:
        """
        Where nginx counts seconds there are years and months, and no milliseconds.
        """
        for word, value in (("1y", 31536000.0), ("1M", 2592000.0), ("1y2M3w4d5h6m7s", 38898367.0), ("5", 5.0)):
            self.assertEqual(values.time_of(word, seconds=True), value, word)
        for word in ("1ms", "1M1y", ""):
            self.assertIsNone(values.time_of(word, seconds=True), word)


class Converters(SynchronousTestCase):
    """
    What makes a directive's value.
    """

    def setUp(self) -> None:
        self.build = Build((), file="/etc/nginx/edge.conf", prefix="/var/lib/edge")

    def node(self, *args: str) -> Node:
        """
        A directive C{d} with arguments.
        """
        return Node("d", args, (False,) * (len(args) + 1), None, "f", 7)

    def convert(self, convert: Any, *args: str) -> Any:
        """
        The value of the arguments.
        """
        return convert(self.node(*args), self.build, self.build.root)

    def refused(self, message: str, convert: Any, *args: str) -> None:
        """
        Check what is said against the arguments; the place is for others to add.
        """
        error = self.assertRaises(ConfigError, self.convert, convert, *args)
        self.assertEqual((error.message, error.file), (message, None))

    def test_flag(self) -> None:
        """
        A flag is on or off, in any case.
        """
        self.assertIs(self.convert(values.flag, "on"), True)
        self.assertIs(self.convert(values.flag, "OFF"), False)
        self.refused('invalid value "Yes" in "d" directive, it must be "on" or "off"', values.flag, "Yes")

    def test_slots(self) -> None:
        """
        Sizes, offsets, times and numbers give their values, and nginx's words where they have none.
        """
        for convert, word, value in (
            (values.size, "1k", 1024),
            (values.offset, "1g", 2**30),
            (values.time, "1s", 1.0),
            (values.seconds, "1y", 31536000.0),
            (values.number, "5", 5),
        ):
            self.assertEqual(self.convert(convert, word), value)
        for convert, word in ((values.size, "1g"), (values.offset, "x"), (values.time, "1y"), (values.seconds, "1ms")):
            self.refused('"d" directive invalid value', convert, word)
        self.refused('"d" directive invalid number', values.number, "x")
        self.assertEqual(self.convert(values.buffers, "4", "8k"), (4, 8192))
        for words in (("0", "8k"), ("4", "0"), ("x", "8k"), ("4", "x")):
            self.refused('"d" directive invalid value', values.buffers, *words)

    def test_number_within(self) -> None:
        """
        Bounds include their ends.
        """
        self.assertEqual([self.convert(values.number_within(1, 3), word) for word in "123"], [1, 2, 3])
        for word in "04":
            self.refused("value must be between 1 and 3", values.number_within(1, 3), word)
        self.assertEqual(self.convert(values.number_within(2), "2"), 2)
        self.refused("value must be equal to or greater than 2", values.number_within(2), "1")

    def test_one_of(self) -> None:
        """
        A choice has no case.
        """
        convert = values.one_of({"a": 1, "b": 2})
        self.assertEqual([self.convert(convert, word) for word in "aB"], [1, 2])
        self.refused('invalid value "c"', convert, "c")

    def test_some_of(self) -> None:
        """
        Several choices have no order, and one that comes twice is a warning with its place.
        """
        convert = values.some_of({"tlsv1": 1, "tlsv1.2": 2})
        self.assertEqual(self.convert(convert, "TLSv1.2", "tlsv1"), {1, 2})
        self.assertEqual(self.build.warnings, [])
        self.assertEqual(self.convert(convert, "TLSv1", "tlsv1"), {1})
        self.assertEqual([str(warning) for warning in self.build.warnings], ['duplicate value "tlsv1" in f:7'])
        self.refused('invalid value "x"', convert, "tlsv1", "x")

    def test_words(self) -> None:
        """
        Text, words and presence are what they are.
        """
        self.assertEqual(self.convert(values.text, "a"), "a")
        self.assertEqual(self.convert(values.words, "a", "b"), ("a", "b"))
        self.assertIs(self.convert(values.present), True)

    def test_paths(self) -> None:
        """
        Certificates stand beside the configuration file, logs under the prefix.
        """
        self.assertEqual(self.convert(values.path, "a.crt"), "/etc/nginx/a.crt")
        self.assertEqual(self.convert(values.prefixed_path, "logs/a"), "/var/lib/edge/logs/a")
        for convert in (values.path, values.prefixed_path):
            self.assertEqual(self.convert(convert, "/a"), "/a")

    def test_template(self) -> None:
        """
        A template is of the kind that was asked for.
        """
        self.convert(values.template("http"), "$a")
        self.assertEqual(self.convert(values.template(), "b").constant, "b")
        self.build.finish()
        self.assertEqual([str(error) for error in self.build.errors], ['unknown "a" variable in f:7'])

    def test_block(self) -> None:
        """
        Nobody asks for the value of a block that opens a context.
        """
        self.assertRaises(NotImplementedError, self.convert, values.block)
