"""
What the words of a directive mean: flags, sizes, times, numbers, choices, paths, by nginx's rules and in its words.

Each public function of three arguments is ready for C{Directive.convert}; the others make such a function, or read
one word. All raise L{ConfigError} without a place.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeVar

from sniproxy.config.template import Template
from sniproxy.errors import ConfigError

if TYPE_CHECKING:
    from sniproxy.config.build import Build
    from sniproxy.config.directives import Scope
    from sniproxy.config.grammar import Node

T = TypeVar("T")
Convert = Callable[["Node", "Build", "Scope"], T]

LARGEST: Final = 2**63 - 1
"""NGX_MAX_INT_T_VALUE: larger numbers are invalid to nginx."""

_DIGITS: Final = re.compile(r"[0-9]+\Z")
_SIZE: Final = re.compile(r"([0-9]+)([kKmM]?)\Z")
_OFFSET: Final = re.compile(r"([0-9]+)([kKmMgG]?)\Z")
_UNITS: Final = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3}
_PART: Final = re.compile(r"([0-9]*)(ms|[yMwdhms ]|\Z) *")

# the order in which units may follow each other, and milliseconds in each
_STEPS: Final = {
    "y": (1, 365 * 86_400_000),
    "M": (2, 30 * 86_400_000),
    "w": (3, 7 * 86_400_000),
    "d": (4, 86_400_000),
    "h": (5, 3_600_000),
    "m": (6, 60_000),
    "s": (7, 1000),
    "ms": (8, 1),
    " ": (9, 1000),
}


def number_of(word: str) -> int | None:
    """
    A decimal number as C{ngx_atoi} reads it, or None.
    """
    if not _DIGITS.match(word):
        return None
    value = _int(word)
    return None if value > LARGEST else value


def _int(digits: str) -> int:
    # Python refuses very long numbers with a ValueError; here they are just too large
    digits = digits.lstrip("0")
    return int(digits or "0") if len(digits) < 20 else LARGEST + 1


def size_of(word: str, *, giga: bool = False) -> int | None:
    """
    Bytes, with C{k} or C{m} (and C{g} where nginx reads an offset), or None.
    """
    match = (_OFFSET if giga else _SIZE).match(word)
    if match is None:
        return None
    value = _int(match[1]) * _UNITS[match[2].lower()]
    return None if value > LARGEST else value


def time_of(word: str, *, seconds: bool = False) -> float | None:
    """
    A duration in seconds, or None, as C{ngx_parse_time} reads it: C{1h30m}, C{"1m 30s"}, C{500ms}, C{30}.

    @param seconds: for what nginx keeps in whole seconds: years and months may occur, milliseconds may not. For what it
        keeps in milliseconds it is the other way round.
    """
    at, step, total, valid = 0, 0 if seconds else 2, 0, False
    while at < len(word):
        match = _PART.match(word, at)
        if match is None:
            return None
        digits, unit = match[1], match[2]
        valid = valid or bool(digits)
        scale = 1000
        if unit:
            order, scale = _STEPS[unit]
            if order <= step or (seconds and unit == "ms"):
                return None
            step = order
        total += _int(digits) * scale
        at = match.end()
    if not valid or total > LARGEST * (1000 if seconds else 1):
        return None
    return total / 1000


def flag(node: Node, build: Build, scope: Scope) -> bool:
    """
    C{on} or C{off}, in any case.
    """
    word = node.args[0].lower()
    if word not in ("on", "off"):
        raise ConfigError(f'invalid value "{node.args[0]}" in "{node.name}" directive, it must be "on" or "off"')
    return word == "on"


def _or_fail(value: T | None, node: Node, what: str = "invalid value") -> T:
    if value is None:
        raise ConfigError(f'"{node.name}" directive {what}')
    return value


def size(node: Node, build: Build, scope: Scope) -> int:
    """
    Bytes: C{4096}, C{16k}, C{1m}.
    """
    return _or_fail(size_of(node.args[0]), node)


def buffers(node: Node, build: Build, scope: Scope) -> tuple[int, int]:
    """
    A number of buffers and the bytes of each: C{16 8k}; neither is 0.
    """
    found = number_of(node.args[0]), size_of(node.args[1])
    return _or_fail(found[0] or None, node), _or_fail(found[1] or None, node)


def offset(node: Node, build: Build, scope: Scope) -> int:
    """
    Bytes that may be many: C{1g} too.
    """
    return _or_fail(size_of(node.args[0], giga=True), node)


def time(node: Node, build: Build, scope: Scope) -> float:
    """
    Seconds, where nginx counts milliseconds (C{ngx_conf_set_msec_slot}).
    """
    return _or_fail(time_of(node.args[0]), node)


def seconds(node: Node, build: Build, scope: Scope) -> float:
    """
    Seconds, where nginx counts seconds (C{ngx_conf_set_sec_slot}).
    """
    return _or_fail(time_of(node.args[0], seconds=True), node)


def number(node: Node, build: Build, scope: Scope) -> int:
    """
    A number from 0.
    """
    return _or_fail(number_of(node.args[0]), node, "invalid number")


def number_within(low: int, high: int | None = None) -> Convert[int]:
    """
    A number within bounds, the ends included; no upper one where None.
    """

    def convert(node: Node, build: Build, scope: Scope) -> int:
        value = number(node, build, scope)
        if high is None and value < low:
            raise ConfigError(f"value must be equal to or greater than {low}")
        if high is not None and not low <= value <= high:
            raise ConfigError(f"value must be between {low} and {high}")
        return value

    return convert


def one_of(choices: Mapping[str, T]) -> Convert[T]:
    """
    One word of several, in any case, and what it stands for.

    @param choices: keys in lower case.
    """

    def convert(node: Node, build: Build, scope: Scope) -> T:
        word = node.args[0]
        if word.lower() not in choices:
            raise ConfigError(f'invalid value "{word}"')
        return choices[word.lower()]

    return convert


def some_of(choices: Mapping[str, T]) -> Convert[frozenset[T]]:
    """
    Several words, in any case and order; one that comes twice is a warning.

    @param choices: keys in lower case.
    """

    def convert(node: Node, build: Build, scope: Scope) -> frozenset[T]:
        found: set[T] = set()
        for word in node.args:
            if word.lower() not in choices:
                raise ConfigError(f'invalid value "{word}"')
            value = choices[word.lower()]
            if value in found:
                build.warn(f'duplicate value "{word}"', node)
            found.add(value)
        return frozenset(found)

    return convert


def text(node: Node, build: Build, scope: Scope) -> str:
    """
    The argument as it is.
    """
    return node.args[0]


def words(node: Node, build: Build, scope: Scope) -> tuple[str, ...]:
    """
    All arguments as they are.
    """
    return node.args


def present(node: Node, build: Build, scope: Scope) -> bool:
    """
    A directive without arguments that is there.
    """
    return True


def path(node: Node, build: Build, scope: Scope) -> str:
    """
    A file beside the main configuration file: certificates, keys.
    """
    return build.path(node.args[0])


def prefixed_path(node: Node, build: Build, scope: Scope) -> str:
    """
    A file under the prefix: logs, pid.
    """
    return build.prefixed(node.args[0])


def template(kind: str | None = None) -> Convert[Template]:
    """
    A text with variables.

    @param kind: whose, where that is not the kind of the block it stands in.
    """

    def convert(node: Node, build: Build, scope: Scope) -> Template:
        return build.template(node.args[0], node, kind)

    return convert


def block(node: Node, build: Build, scope: Scope) -> Any:
    """
    For a directive that opens a context: its value is made by the build, which never calls this.
    """
    raise NotImplementedError(f"{node.name} opens a context")
