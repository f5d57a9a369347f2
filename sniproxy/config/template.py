"""
Text with variables in it: how ``"$a-${b}:443"`` is read, and what it becomes.

Strategy: a template is parsed once, bound once all variables are known, and is then one callable from a subject (a
stream session, an http request) to text. Variables are asked lazily, and cached in C{subject.values} unless volatile.
What is bound depends on the shape: a text without variables, one variable alone, or pieces to join.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from sniproxy.errors import ConfigError

Getter = Callable[[Any], "str | None"]
Render = Callable[[Any], str]

_PIECE: Final = re.compile(
    r"(?P<literal>[^$]+)"
    r"|\$(?P<capture>[1-9])"
    r"|\$\{(?P<braced>[A-Za-z0-9_]+)\}"
    r"|\$(?P<plain>[A-Za-z0-9_]+)"
    r"|\$\{(?P<unclosed>[A-Za-z0-9_]*)(?P<fault>[^A-Za-z0-9_}]|\Z)"
)


ANY: Final = "any"
"""The kind of a variable that reads what sessions and requests both have."""


@dataclass(frozen=True, slots=True)
class Variable:
    """
    A variable a module provides.

    @ivar name: without the dollar sign, in any case; with C{prefix} the beginning that all its names share.
    @ivar get: from the subject to its value, or None where it has none (not found). With C{prefix}: from the whole
        name, in lower case, to such a getter.
    @ivar volatile: ask every time, never cache.
    @ivar kind: C{"stream"} or C{"http"}: whose subjects it reads; L{ANY} where those of both will do.
    """

    name: str
    get: Callable[..., Any]
    volatile: bool = False
    prefix: bool = False
    kind: str = "stream"


@dataclass(frozen=True, slots=True)
class Reference:
    """
    A variable that a template names.

    @ivar name: in lower case.
    """

    name: str


@dataclass(frozen=True, slots=True)
class Capture:
    """
    C{$1} to C{$9}: a group of the last regular expression that matched, C{subject.captures[number - 1]}.
    """

    number: int


Piece = str | Reference | Capture


def pieces(text: str) -> tuple[Piece, ...]:
    """
    What a text is made of, read as C{ngx_stream_script_compile} reads it: no escape for the dollar sign.

    @raise ConfigError: C{invalid variable name}, C{the closing bracket in "x" variable is missing}.
    """
    found: list[Piece] = []
    at = 0
    while at < len(text):
        match = _PIECE.match(text, at)
        if match is None:
            raise ConfigError("invalid variable name")
        at = match.end()
        if match["literal"] is not None:
            found.append(match["literal"])
        elif match["capture"] is not None:
            found.append(Capture(int(match["capture"])))
        elif match["unclosed"] is not None:
            # nginx notices that nothing follows "${" before it misses the brace
            if not match["unclosed"] and not match["fault"]:
                raise ConfigError("invalid variable name")
            raise ConfigError(f'the closing bracket in "{match["unclosed"]}" variable is missing')
        else:
            found.append(Reference((match["braced"] or match["plain"]).lower()))
    return tuple(found)


class Template:
    """
    A text, with its variables filled in when it is called.

    Calling it before C{build.finish()} raises RuntimeError, unless it is constant. Where every microsecond counts,
    C{template.render}, taken after that, is the same without the method call in between.

    @ivar text: as it is written.
    @ivar pieces: what it consists of.
    @ivar constant: the text where no variable occurs, else None.
    @ivar render: from a subject to text; variables that are not found are empty.
    """

    __slots__ = ("constant", "pieces", "render", "text")

    def __init__(self, text: str, found: tuple[Piece, ...]) -> None:
        self.text = text
        self.pieces = found
        variables = any(not isinstance(piece, str) for piece in found)
        self.constant: str | None = None if variables else text
        self.render: Render = _unbound if variables else _constant(text)

    def __call__(self, subject: Any) -> str:
        """
        @param subject: has C{values}, a dict that caches variables, and C{captures}, a tuple or None.
        """
        return self.render(subject)

    def __repr__(self) -> str:
        return f"<Template {self.text!r}>"

    def bind(self, reader: Callable[[str], Render | None]) -> tuple[str, ...]:
        """
        Look the variables up, once.

        @param reader: from a name in lower case to what reads it, or None where there is no such variable.
        @return: the names that are unknown; when there are any, the template stays unbound.
        """
        if self.constant is not None:
            return ()
        parts: list[Render] = []
        unknown: dict[str, None] = {}
        for piece in self.pieces:
            if isinstance(piece, str):
                parts.append(_constant(piece))
            elif isinstance(piece, Capture):
                parts.append(_capture(piece.number - 1))
            elif (found := reader(piece.name)) is None:
                unknown[piece.name] = None
            else:
                parts.append(found)
        if not unknown:
            self.render = _joined(parts)
        return tuple(unknown)


def cached(name: str, get: Getter) -> Render:
    """
    A reader that asks once a subject and keeps the answer, None included, in C{subject.values}.

    The place is taken before the question is asked, so that a variable which depends on itself is not found
    instead of asked for ever.
    """

    def read(subject: Any) -> str:
        values: dict[str, str | None] = subject.values
        if name in values:
            return values[name] or ""
        values[name] = None
        value = values[name] = get(subject)
        return value or ""

    return read


def volatile(name: str, get: Getter) -> Render:
    """
    A reader that asks each time, unless somebody has set the variable; one that depends on itself is not found.
    """
    busy = f"{name} is being asked"

    def read(subject: Any) -> str:
        values: dict[str, str | None] = subject.values
        if name in values:
            return values[name] or ""
        if busy in values:
            return ""
        values[busy] = None
        try:
            return get(subject) or ""
        finally:
            del values[busy]

    return read


def direct(get: Getter) -> Render:
    """
    A reader that asks each time, for variables that are made of no others.
    """

    def read(subject: Any) -> str:
        return get(subject) or ""

    return read


def _unbound(subject: Any) -> str:
    raise RuntimeError("a template was used before its variables were known")


def _constant(text: str) -> Render:
    return lambda subject: text


def _capture(index: int) -> Render:
    def read(subject: Any) -> str:
        captures = subject.captures
        return captures[index] or "" if captures is not None and index < len(captures) else ""

    return read


def _joined(parts: list[Render]) -> Render:
    if len(parts) == 1:
        return parts[0]
    if len(parts) == 2:
        first, second = parts
        return lambda subject: first(subject) + second(subject)
    return lambda subject: "".join([part(subject) for part in parts])
