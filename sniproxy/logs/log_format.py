"""
What a C{log_format} makes of a session: one line, with what others may have written made harmless.

Strategy: a format is read once into its variables and a shape that takes their values. Mostly all values of a line are
plain, and one test of them together says so; only else each is looked at. Text of the format itself is never escaped.
As ngx_stream_log_module does it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Final

from sniproxy.config.template import Getter
from sniproxy.errors import ConfigError

Escape = Callable[["str | None"], str]
"""From a value, None where it is not found, to what stands in the line."""

Plain = Callable[[str], object]
"""From a text to something that is true only where the escape leaves it alone."""

_PIECE: Final = re.compile(
    r"(?P<literal>[^$]+)"
    r"|\$\{(?P<braced>[A-Za-z0-9_]+)\}"
    r"|\$(?P<plain>[A-Za-z0-9_]+)"
    r"|\$\{(?P<unclosed>[A-Za-z0-9_]*)(?=[^A-Za-z0-9_}]|\Z)"
)


# values that the two escapes leave alone
def _printable(text: str) -> bool:
    return text.isascii() and text.isprintable() and '"' not in text and "\\" not in text


_SAFE_IN_JSON: Final = re.compile(r'[^\x00-\x1f"\\]*').fullmatch

_HEX: Final = tuple(f"\\x{byte:02X}" if byte < 32 or byte > 126 or byte in b'"\\' else chr(byte) for byte in range(256))
_JSON: Final = {
    **{code: f"\\u{code:04X}" for code in range(32)},
    **str.maketrans({"\n": "\\n", "\r": "\\r", "\t": "\\t", "\b": "\\b", "\f": "\\f", '"': '\\"', "\\": "\\\\"}),
}


def escape_default(value: str | None) -> str:
    """
    C{\\xXX} for quotes, backslashes and all that is not printable ASCII; C{-} for what is not found.
    """
    if value is None:
        return "-"
    if _printable(value):
        return value
    return "".join([_HEX[byte] for byte in value.encode("utf-8", "surrogateescape")])


def escape_json(value: str | None) -> str:
    """
    What may stand inside a JSON string.
    """
    if value is None:
        return ""
    return value if _SAFE_IN_JSON(value) else value.translate(_JSON)


def escape_none(value: str | None) -> str:
    """
    The value as it is.
    """
    return value or ""


ESCAPES: Final[dict[str, tuple[Escape, Plain]]] = {
    "default": (escape_default, _printable),
    "json": (escape_json, _SAFE_IN_JSON),
    "none": (escape_none, bool),
}
"""By the word after C{escape=}: the escape, and what may tell that it would change nothing."""


class LogFormat:
    """
    One format, ready to be filled in.
    """

    __slots__ = ("_escape", "_getters", "_missing", "_pieces", "_places", "_plain")

    def __init__(self) -> None:
        self._escape: Escape = escape_default
        self._plain: Plain = _printable
        self._missing = escape_default(None)
        self._pieces: list[str] = []
        self._getters: list[Getter] = []
        self._places: list[int] = []

    def read(self, words: Sequence[str], getter: Callable[[str], Getter]) -> None:
        """
        Add what a directive says.

        @param words: what follows the name of the format.
        @param getter: from the name of a variable to what reads it, None where it is not found.
        @raise ConfigError: with nginx's words.
        """
        if words and words[0].startswith("escape="):
            word = words[0][len("escape=") :]
            if word not in ESCAPES:
                raise ConfigError(f'unknown log format escaping "{word}"')
            self._escape, self._plain = ESCAPES[word]
            self._missing = self._escape(None)
            words = words[1:]
        for word in words:
            self._add(word, getter)

    def _add(self, word: str, getter: Callable[[str], Getter]) -> None:
        at = 0
        while at < len(word):
            match = _PIECE.match(word, at)
            # nothing behind "${" is no variable rather than one whose bracket is missing
            if match is None or word[at:] == "${":
                raise ConfigError(f'invalid parameter "{word[at:]}"')
            if match["unclosed"] is not None:
                raise ConfigError(f'the closing bracket in "{match["unclosed"]}" variable is missing')
            if match["literal"] is not None:
                self._pieces.append(match["literal"])
            else:
                self._places.append(len(self._pieces))
                self._pieces.append("")
                self._getters.append(getter((match["braced"] or match["plain"]).lower()))
            at = match.end()

    def render(self, subject: Any) -> bytes:
        """
        @return: the line, without its end.
        """
        missing = self._missing
        found = [get(subject) for get in self._getters]
        values = [missing if value is None else value for value in found]
        if not self._plain("".join(values)):
            escape = self._escape
            values = [escape(value) for value in found]
        pieces = self._pieces.copy()
        for index, place in enumerate(self._places):
            pieces[place] = values[index]
        return "".join(pieces).encode("utf-8", "surrogateescape")
