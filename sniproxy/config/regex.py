"""
A regular expression in a configuration: PCRE's spelling, Python's engine, nginx's captures.

Strategy: the spelling is translated piece by piece where the two dialects differ, and compiled over bytes, because
nginx compares bytes: a dot is one byte, and case and classes are ASCII's. What Python's engine cannot do
(recursion, C{\\K}, branch reset, …) is refused, never approximated.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable
from typing import Any, Final

from sniproxy.errors import ConfigError

_WORDS: Final = (
    (r"missing \), unterminated subpattern", "missing closing parenthesis", None),
    (r"unbalanced parenthesis", "unmatched closing parenthesis", 0),
    (r"unterminated character set", "missing terminating ] for character class", None),
    (r"nothing to repeat", "quantifier does not follow a repeatable item", 0),
    (r"bad escape \(end of pattern\)", "\\ at end of pattern", None),
    (r"multiple repeat", "quantifier does not follow a repeatable item", 0),
    (r"unexpected end of pattern", "missing closing parenthesis", None),
    (r"missing -, : or \)", "missing closing parenthesis", None),
    (r"missing \), unterminated comment", "missing ) after (?# comment", None),
    (r"bad escape \\[FIJMOTYijmqy]", "unrecognized character follows \\", 1),
    (r"bad character in group name '\d", "subpattern name must start with a non-digit", 0),
    (r"bad character range", "range out of order in character class", 2),
    (r"invalid group reference", "reference to non-existent subpattern", 0),
    (r"unknown extension \?P?<\d", "subpattern name must start with a non-digit", 2),
    (r"unknown extension ", "unrecognized character after (? or (?-", 1),
    (r"missing >, unterminated name", "syntax error in subpattern name (missing terminator?)", None),
)
"""How Python's complaints begin, what PCRE says instead, and how far behind Python it has read by then; None: it has
read everything."""

_ELSEWHERE: Final = (
    (
        r"redefinition of group name '(?P<name>\w+)'",
        "two named subpatterns have the same name (PCRE2_DUPNAMES not set)",
    ),
    (r"min repeat greater than max repeat", "numbers out of order in {} quantifier"),
    (r"look-behind requires fixed-width pattern", "lookbehind assertion is not fixed length"),
    (r"unknown group name '(?P<name>\w+)'", "reference to non-existent subpattern"),
)
"""The same where PCRE is somewhere else; L{_places} says where."""

_OUTSIDE: Final = {
    "z": r"\Z",
    "Z": r"(?=\n?\Z)",
    "G": r"\A",
    "h": r"[\t \xa0]",
    "H": r"[^\t \xa0]",
    "v": r"[\n\x0b\f\r\x85]",
    "V": r"[^\n\x0b\f\r\x85]",
    "N": r"[^\n]",
    "R": r"(?:\r\n|[\n\x0b\f\r\x85])",
    "e": r"\x1b",
    "E": "",
}
"""Escapes outside of brackets that Python lacks or reads otherwise."""

_INSIDE: Final = {"h": r"\t \xa0", "v": r"\n\x0b\f\r\x85", "e": r"\x1b", "E": ""}
"""The same in brackets."""

_POSIX: Final = {
    "alnum": string.ascii_letters + string.digits,
    "alpha": string.ascii_letters,
    "ascii": "".join(map(chr, range(128))),
    "blank": " \t",
    "cntrl": "".join(map(chr, [*range(32), 127])),
    "digit": string.digits,
    "graph": string.ascii_letters + string.digits + string.punctuation,
    "lower": string.ascii_lowercase,
    "print": string.ascii_letters + string.digits + string.punctuation + " ",
    "punct": string.punctuation,
    "space": string.whitespace,
    "upper": string.ascii_uppercase,
    "word": string.ascii_letters + string.digits + "_",
    "xdigit": string.hexdigits,
}

_POSIX_CLASS: Final = re.compile(r"\[:(\^?)([a-z]+):\]")
_NAMED: Final = re.compile(r"\(\?(?:P?<([A-Za-z_]\w*)>|'([A-Za-z_]\w*)')")
_CONDITION: Final = re.compile(r"\(\?\((?:<(\w+)>|'(\w+)')\)")
_COMMENT: Final = re.compile(r"\(\?#[^)]*\)")
_OPTIONS: Final = re.compile(r"\(\?([imsx]*(?:-[imsx]+)?)\)")
_TOKEN: Final = re.compile(
    r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|(?P<open>\()|(?P<close>\))|(?P<many>[*+]|\{\d+,\})|.", re.DOTALL
)
"""As much as C{nested} must tell apart; brackets and what is escaped are one piece."""

_CODE: Final = re.compile(r"x\{([0-9A-Fa-f]+)\}|x([0-9A-Fa-f]{0,2})|o\{([0-7]+)\}|c([ -~])")
_REFERENCE: Final = re.compile(r"k(?:<(\w+)>|'(\w+)'|\{(\w+)\})|g\{([A-Za-z_]\w*)\}|g\{?(-?\d+)\}?")


NESTED: Final = 'regex "{}" repeats what repeats: a text made for it can keep the process busy for very long'
"""The warning about L{Regex.nested}."""


class Regex:
    """
    One regular expression of the configuration.

    @ivar text: as it stands in the file, without the tilde.
    @ivar names: the variables that its named groups set, in lower case as variables are.
    @ivar captures: whether it has groups that capture.
    @ivar nested: whether it repeats what repeats, as C{(a+)+} does: the time to find that a text does not match may
        double with each of its characters, and Python's engine knows no limit.
    """

    __slots__ = ("_named", "_search", "captures", "names", "nested", "text")

    def __init__(self, text: str, caseless: bool = False) -> None:
        """
        @raise ConfigError: PCRE would refuse it, or Python's engine cannot do it.
        """
        self.text = text
        self.nested = _nested(text)
        translation = _Translation(text)
        try:
            spelled = translation.run().encode("utf-8", "surrogateescape")
            compiled = re.compile(spelled, re.IGNORECASE if caseless else 0)
        except (re.error, OverflowError, RecursionError) as problem:
            words, at = _words(problem, translation)
            rest = f' at "{text[at:]}"' if at is not None and at < len(text) else ""
            raise ConfigError(f'pcre2_compile() failed: {words} in "{text}"{rest}') from None
        self._search: Callable[[bytes], re.Match[bytes] | None] = compiled.search
        self.captures = compiled.groups > 0
        self._named = tuple((name.lower(), number - 1) for name, number in compiled.groupindex.items())
        self.names = tuple(name for name, _ in self._named)

    def matches(self, text: bytes) -> bool:
        """
        Whether the expression is found in a text; what it captured is of no interest.
        """
        return self._search(text) is not None

    def test(self, subject: Any, text: bytes) -> bool:
        """
        Look for the expression in a text, and leave what it captured in the subject.

        @param subject: its C{captures} become the groups, and C{values} get the named ones; untouched where nothing
            is found. A group that took no part is empty.
        @return: whether it was found.
        """
        match = self._search(text)
        if match is None:
            return False
        captures = tuple([group.decode("utf-8", "surrogateescape") for group in match.groups(b"")])
        subject.captures = captures
        for name, number in self._named:
            subject.values[name] = captures[number]
        return True


def _nested(text: str) -> bool:
    """
    Whether a group in which something repeats without bound repeats so itself.
    """
    repeats = [False]  # for each open group, whether something in it does
    behind = False  # whether what was just read is a group in which something does
    for token in _TOKEN.finditer(text):
        if token["open"]:
            repeats.append(False)
        elif token["many"]:
            if behind:
                return True
            repeats[-1] = True
        behind = token["close"] is not None and len(repeats) > 1 and repeats.pop()
        repeats[-1] |= behind
    return False


def _words(problem: Exception, translation: _Translation) -> tuple[str, int | None]:
    """
    What PCRE would say of what Python has refused.

    @return: the words, and how far PCRE would have read; None for all of it, or where that is not known.
    """
    if isinstance(problem, _Refusal):
        return problem.msg, problem.at
    said = str(problem)
    for begin, words, further in _WORDS:
        if re.match(begin, said):
            at: int | None = getattr(problem, "pos", None)
            return words, None if further is None or at is None else translation.where(at) + further
    for begin, words in _ELSEWHERE:
        found = re.match(begin, said)
        if found is not None:
            name = found.groupdict().get("name", "")
            places = [place.end() for place in re.finditer(_places(words, re.escape(name)), translation.text)]
            return words, places[-1] if places else None
    return said, None


def _places(words: str, name: str) -> str:
    """
    Where PCRE has stopped when it says something: behind what this expression finds last.
    """
    if words.startswith("two named"):
        return rf"\(\?(?:P?<{name}>|'{name}')"
    if words.startswith("reference"):
        return rf"(?:\\k[<'{{]|\\g\{{|\(\?P=)(?={name}\b)"
    if words.startswith("lookbehind"):
        return r"(?=\(\?<[=!])"
    return r"\{\d+,\d+(?=\})"


class _Refusal(re.error):
    """
    What has no translation.

    @ivar at: how far PCRE has read when it says so; None for all.
    """

    def __init__(self, message: str, at: int | None = None) -> None:
        super().__init__(message)
        self.at = at


class _Translation:
    """
    One pattern on its way from PCRE to Python.

    @ivar text: the pattern.
    @ivar _at: how far it is read.
    @ivar _steps: where pieces begin, in what Python is given and in the text.
    @ivar _options: for each group that is open, the options set inside it so far. Python knows them only for a group
        as a whole, so each opens one more group, which ends with the enclosing one and is opened anew after a bar.
    @ivar _groups: how many capturing groups have begun.
    """

    def __init__(self, text: str) -> None:
        self.text = self._text = text
        self._at = 0
        self._steps: list[tuple[int, int]] = []
        self._options: list[list[str]] = [[]]
        self._groups = 0

    def run(self) -> str:
        """
        @raise re.error: something has no translation.
        """
        out = []
        size = 0
        while self._at < len(self._text):
            self._steps.append((size, self._at))
            out.append(self._piece(self._text[self._at]))
            size += len(out[-1].encode("utf-8", "surrogateescape"))
        out.append(")" * len(self._options[0]))
        return "".join(out)

    def where(self, at: int) -> int:
        """
        Where in the text that was read is what Python was given at C{at}.
        """
        given, read = max((step for step in self._steps if step[0] <= at), default=(at, at))
        return min(read + at - given, len(self.text) - 1)

    def _piece(self, char: str) -> str:
        if char == "\\":
            return self._escape(_OUTSIDE)
        if char == "[":
            return self._brackets()
        if char == "(":
            return self._group()
        self._at += 1
        if char == ")" and len(self._options) > 1:
            return ")" * len(self._options.pop()) + ")"
        if char == "|":
            options = self._options[-1]
            return ")" * len(options) + "|" + "".join(options)
        return char

    def _take(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        found = pattern.match(self._text, self._at)
        if found is not None:
            self._at = found.end()
        return found

    def _group(self) -> str:
        if self._take(_COMMENT):
            return ""
        options = self._take(_OPTIONS)
        if options is not None:
            if not options[1]:
                return ""
            self._options[-1].append(f"(?{options[1]}:")
            return self._options[-1][-1]
        if self._text.startswith("(*", self._at):
            raise _Refusal("verbs are not supported", self._at)
        self._options.append([])
        named = self._take(_NAMED)
        if named is not None:
            self._groups += 1
            return f"(?P<{named[1] or named[2]}>"
        condition = self._take(_CONDITION)
        if condition is not None:
            return f"(?({condition[1] or condition[2]})"
        self._at += 1
        if not self._text.startswith("?", self._at):
            self._groups += 1
        return "("

    def _brackets(self) -> str:
        out = ["["]
        self._at += 1
        for first in ("^", "]"):
            if self._text.startswith(first, self._at):
                out.append(first)
                self._at += 1
        while self._at < len(self._text):
            char = self._text[self._at]
            if char == "\\":
                out.append(self._escape(_INSIDE))
                continue
            posix = self._take(_POSIX_CLASS)
            if posix is not None:
                out.append(_posix(posix[2], bool(posix[1]), posix.start() + 2))
                continue
            self._at += 1
            if char == "]":
                return "".join([*out, "]"])
            out.append("\\" + char if char in "[&|~" else char)
        return "".join(out)

    def _escape(self, table: dict[str, str]) -> str:
        self._at += 1
        char = self._text[self._at : self._at + 1]
        if char == "Q":
            end = self._text.find("\\E", self._at)
            literal = self._text[self._at + 1 : end if end >= 0 else None]
            self._at = end + 2 if end >= 0 else len(self._text)
            return re.escape(literal)
        code = self._take(_CODE)
        if code is not None:
            return _code(code)
        reference = self._take(_REFERENCE) if table is _OUTSIDE else None
        if reference is not None:
            return self._reference(reference)
        self._at += 1
        return table.get(char, "\\" + char)

    def _reference(self, found: re.Match[str]) -> str:
        if found[5] is None:
            return f"(?P={found[1] or found[2] or found[3] or found[4]})"
        number = int(found[5])
        return f"(?:\\{number if number > 0 else self._groups + 1 + number})"


def _code(found: re.Match[str]) -> str:
    if found[4] is not None:
        value = ord(found[4].upper()) ^ 64
    elif found[3] is not None:
        value = int(found[3], 8)
    else:
        value = int(found[1] or found[2] or "0", 16)
    if value > 255:
        raise _Refusal("character code point value in \\x{} or \\o{} is too large", found.end() - 1)
    return f"\\x{value:02x}"


def _posix(name: str, negated: bool, at: int) -> str:
    if name not in _POSIX:
        raise _Refusal("unknown POSIX class name", at)
    members = {ord(char) for char in _POSIX[name]}
    return "".join(f"\\x{byte:02x}" for byte in range(256) if (byte in members) is not negated)
