"""
Tests for L{sniproxy.config.template}.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.config.template import Capture, Getter, Reference, Render, Template, cached, direct, pieces, volatile
from sniproxy.errors import ConfigError


@dataclass
class Subject:
    """
    What variables are asked about.
    """

    values: dict[str, str | None] = field(default_factory=dict)
    captures: tuple[str | None, ...] | None = None


class Pieces(SynchronousTestCase):
    """
    How a text falls into pieces.
    """

    def test_pieces(self) -> None:
        """
        Names end where their characters end or at their brace, and have no case; one digit is a capture.
        """
        self.assertEqual(pieces("a$b-${Cd}e:$F_1"), ("a", Reference("b"), "-", Reference("cd"), "e:", Reference("f_1")))
        self.assertEqual(pieces("$1$23${4}$0"), (Capture(1), Capture(2), "3", Reference("4"), Reference("0")))
        self.assertEqual(pieces("a}{\\"), ("a}{\\",))
        self.assertEqual(pieces(""), ())

    def test_faults(self) -> None:
        """
        nginx's words for a dollar without a name and for a missing brace.
        """
        for text, message in (
            ("$", "invalid variable name"),
            ("a$-", "invalid variable name"),
            ("$$a", "invalid variable name"),
            ("${}", "invalid variable name"),
            ("${", "invalid variable name"),
            ("${a", 'the closing bracket in "a" variable is missing'),
            ("${a-b}", 'the closing bracket in "a" variable is missing'),
            ("${-}", 'the closing bracket in "" variable is missing'),
        ):
            error = self.assertRaises(ConfigError, pieces, text)
            self.assertEqual(error.message, message, text)

    @settings(derandomize=True, deadline=None, database=None)
    @given(st.text("a1${}_-é"))
    def test_any_text(self, text: str) -> None:
        """
        Any text has pieces or a fault, and its literal parts are in it.
        """
        try:
            found = pieces(text)
        except ConfigError:
            self.assertIn("$", text)
            return
        for piece in found:
            if isinstance(piece, str):
                self.assertIn(piece, text)


class Templates(SynchronousTestCase):
    """
    How a template is filled in.
    """

    def template(self, text: str, **getters: Getter) -> Template:
        """
        A template with its variables.
        """
        template = Template(text, pieces(text))

        def reader(name: str) -> Render | None:
            return cached(name, getters[name]) if name in getters else None

        self.assertEqual(template.bind(reader), ())
        return template

    def test_constant(self) -> None:
        """
        A text without variables is known at once.
        """
        template = Template("a", pieces("a"))
        self.assertEqual((template.constant, template(None), template.text), ("a", "a", "a"))
        self.assertEqual(Template("", ()).constant, "")
        self.assertEqual(self.template("b")(None), "b")

    def test_shapes(self) -> None:
        """
        One variable alone, two pieces and more of them give the text they stand for.
        """
        for text, expected in (("$a", "1"), ("$a-", "1-"), ("$a-$b", "1-2"), ("${a}$b$a", "121")):
            template = self.template(text, a=lambda subject: "1", b=lambda subject: "2")
            self.assertIsNone(template.constant)
            self.assertEqual((template(Subject()), template.render(Subject())), (expected, expected))

    def test_not_found(self) -> None:
        """
        A variable without a value is empty.
        """
        self.assertEqual(self.template("<$a>", a=lambda subject: None)(Subject()), "<>")

    def test_captures(self) -> None:
        """
        Captures are those of the last match; a group that took no part, and one there is not, are empty.
        """
        template = self.template("<$1$2$3>")
        self.assertEqual(template(Subject(captures=("a", None))), "<a>")
        self.assertEqual(template(Subject()), "<>")

    def test_unknown(self) -> None:
        """
        Names that nobody knows are told, each once, and the template stays unbound.
        """
        template = Template("$a$b$a", pieces("$a$b$a"))
        self.assertEqual(template.bind(lambda name: None), ("a", "b"))
        self.assertRaises(RuntimeError, template, Subject())

    def test_repr(self) -> None:
        """
        A template shows its text.
        """
        self.assertEqual(repr(Template("$a", pieces("$a"))), "<Template '$a'>")


class Readers(SynchronousTestCase):
    """
    How often a variable is asked.
    """

    def setUp(self) -> None:
        self.asked = 0

    def count(self, subject: Subject) -> str | None:
        """
        A variable that tells how often it was asked; not found at first.
        """
        self.asked += 1
        return str(self.asked) if self.asked > 1 else None

    def test_cached(self) -> None:
        """
        A cached variable is asked once a subject, and an answer that something else wrote counts.
        """
        read = cached("a", self.count)
        first, second = Subject(), Subject()
        self.assertEqual([read(first), read(first), read(second), read(second)], ["", "", "2", "2"])
        self.assertEqual((first.values, second.values), ({"a": None}, {"a": "2"}))
        self.assertEqual(read(Subject({"a": "set"})), "set")

    def test_volatile(self) -> None:
        """
        A volatile variable is asked each time and leaves nothing behind.
        """
        for read in (volatile("a", self.count), direct(self.count)):
            self.asked = 0
            subject = Subject()
            self.assertEqual([read(subject), read(subject), read(subject)], ["", "2", "3"])
            self.assertEqual(subject.values, {})

    def test_volatile_set(self) -> None:
        """
        What a volatile variable was set to is what it is from then on.
        """
        read = volatile("a", self.count)
        self.assertEqual([read(Subject({"a": "set"})), read(Subject({"a": None})), self.asked], ["set", "", 0])

    def test_circle(self) -> None:
        """
        A variable that depends on itself is not found where it does.
        """
        for make in (cached, volatile):
            readers: list[Render] = []

            def itself(subject: Subject, readers: list[Render] = readers) -> str:
                return f"<{readers[0](subject)}>"

            readers.append(make("a", itself))
            self.assertEqual(readers[0](Subject()), "<>")

    def test_volatile_raises(self) -> None:
        """
        A volatile variable that fails can be asked again.
        """
        answers = [OSError()]
        read = volatile("a", lambda subject: f"{answers.pop()!r}")
        subject = Subject()
        self.assertEqual(read(subject), "OSError()")
        self.assertRaises(IndexError, read, subject)
        self.assertEqual(subject.values, {})
