"""
What stands in the brackets of C{if}: a variable, a comparison, an expression, or a question about a file.

Strategy: as ngx_http_rewrite_if_condition takes the words apart, so that what nginx refuses is refused with its words.
A condition is a callable in the end.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from sniproxy.config.build import Build
from sniproxy.config.grammar import Node
from sniproxy.config.regex import NESTED, Regex
from sniproxy.config.template import Template, Variable
from sniproxy.errors import ConfigError
from sniproxy.http.files import MISSING, Disk, Facts, trouble
from sniproxy.levels import CRIT, NOTICE

if TYPE_CHECKING:
    from sniproxy.http.request import Request

Condition = Callable[["Request"], bool]

_VARIABLE: Final = re.compile(r"\$[A-Za-z0-9_]+\Z")
_MATCHES: Final = frozenset(("~", "~*", "!~", "!~*"))

_ASPECTS: Final[dict[str, Callable[[Facts], bool]]] = {
    "f": lambda facts: facts.is_file,
    "d": lambda facts: facts.is_folder,
    "e": lambda facts: True,
    "x": lambda facts: facts.executable,
}


def condition_of(node: Node, build: Build, disk: Disk, log: bool) -> Condition:
    """
    @param node: of the C{if}.
    @param log: whether matches are told, C{rewrite_log}.
    @raise ConfigError: it is none.
    """
    words = _unwrapped(list(node.args))
    first = words[0]
    if len(first) > 1 and first.startswith("$"):
        if len(words) not in (1, 3):
            raise ConfigError(f'invalid condition "{first}"')
        if not _VARIABLE.match(first):
            raise ConfigError(f'unknown "{first[1:]}" variable')
        subject = build.template(first, node)
        if len(words) == 1:
            return Truth(subject)
        operator, value = words[1:]
        if operator in ("=", "!="):
            return Equal(subject, build.template(value, node), operator == "=")
        if operator in _MATCHES:
            regex = expression(value, operator.endswith("*"), node, build)
            return Match(subject, regex, not operator.startswith("!"), log)
        raise ConfigError(f'unexpected "{operator}" in condition')
    plain = first.removeprefix("!")
    if len(plain) == 2 and plain[0] == "-" and plain[1] in _ASPECTS and len(words) == 2:
        return FileIs(build.template(words[1], node), _ASPECTS[plain[1]], plain is first, disk)
    raise ConfigError(f'invalid condition "{first}"')


def _unwrapped(words: list[str]) -> list[str]:
    """
    @return: the words between the brackets, at least one.
    @raise ConfigError: there are no brackets, or nothing is in them.
    """
    if not words[0].startswith("("):
        raise ConfigError(f'invalid condition "{words[0]}"')
    whole = words[0]
    words[0] = words[0][1:]
    if not words[0]:
        del words[0]
    if not words or not words[-1].endswith(")"):
        raise ConfigError(f'invalid condition "{words[-1] if words else whole}"')
    last = words[-1]
    words[-1] = last[:-1]
    if not words[-1]:
        del words[-1]
    if not words:
        raise ConfigError(f'invalid condition "{last}"')
    return words


def expression(text: str, caseless: bool, node: Node, build: Build) -> Regex:
    """
    An expression of a directive, whose named groups become variables.

    @raise ConfigError: it is none.
    """
    regex = Regex(text, caseless)
    if regex.nested:
        build.warn(NESTED.format(regex.text), node)
    for name in regex.names:
        build.define(Variable(name, _not_found), node, weak=True)
    return regex


def _not_found(request: Request) -> None:
    """
    A named group before its expression has matched.
    """


def matches(request: Request, regex: Regex, text: str, log: bool) -> bool:
    """
    Look for an expression; where it is not found nothing is captured any more.

    @param log: whether to tell.
    """
    found = regex.test(request, text.encode("utf-8", "surrogateescape"))
    if log:
        request.log(NOTICE, f'"{regex.text}" {"matches" if found else "does not match"} "{text}"')
    if not found:
        request.captures = None
    return found


class Truth:
    """
    C{$a}: neither empty nor 0.
    """

    __slots__ = ("_subject",)

    def __init__(self, subject: Template) -> None:
        self._subject = subject

    def __call__(self, request: Request) -> bool:
        """
        Whether it is so.
        """
        return self._subject.render(request) not in ("", "0")


class Equal:
    """
    C{$a = b}, or C{!=}.
    """

    __slots__ = ("_subject", "_value", "_wanted")

    def __init__(self, subject: Template, value: Template, wanted: bool) -> None:
        self._subject = subject
        self._value = value
        self._wanted = wanted

    def __call__(self, request: Request) -> bool:
        """
        Whether it is so.
        """
        return (self._subject.render(request) == self._value.render(request)) is self._wanted


class Match:
    """
    C{$a ~ b} and its like.
    """

    __slots__ = ("_log", "_regex", "_subject", "_wanted")

    def __init__(self, subject: Template, regex: Regex, wanted: bool, log: bool) -> None:
        self._subject = subject
        self._regex = regex
        self._wanted = wanted
        self._log = log

    def __call__(self, request: Request) -> bool:
        """
        Whether it is so; what was found is captured.
        """
        return matches(request, self._regex, self._subject.render(request), self._log) is self._wanted


class FileIs:
    """
    C{-f path} and its like.
    """

    __slots__ = ("_aspect", "_disk", "_path", "_wanted")

    def __init__(self, path: Template, aspect: Callable[[Facts], bool], wanted: bool, disk: Disk) -> None:
        self._path = path
        self._aspect = aspect
        self._wanted = wanted
        self._disk = disk

    def __call__(self, request: Request) -> bool:
        """
        Whether it is so; what cannot be looked at is not there.
        """
        path = self._path.render(request)
        try:
            found = self._aspect(self._disk.facts(path))
        except ValueError:
            found = False  # no path has a NUL
        except OSError as error:
            found = False
            if error.errno not in MISSING:
                request.log(CRIT, f'stat() "{path}" failed {trouble(error)}')
        return found is self._wanted
