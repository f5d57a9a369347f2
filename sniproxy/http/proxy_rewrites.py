"""
What an upstream says of places, in our words: C{proxy_redirect}, C{proxy_cookie_domain}, C{proxy_cookie_path} and
C{proxy_cookie_flags}.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from sniproxy.config.build import Build
from sniproxy.config.directives import Scope
from sniproxy.config.grammar import Node
from sniproxy.config.regex import NESTED, Regex
from sniproxy.config.template import Template, Variable
from sniproxy.errors import ConfigError

if TYPE_CHECKING:
    from sniproxy.http.request import Request

T = TypeVar("T")

_SAME_SITE: Final = ("strict", "lax", "none")
_SHOWN: Final = {"secure": "Secure", "httponly": "HttpOnly", "samesite": "SameSite"}


@dataclass(frozen=True, slots=True)
class Rewrite:
    """
    One pair of what to look for and what to put in its place.

    @ivar pattern: a beginning, or an expression.
    @ivar replacement: of the beginning; of the whole text where an expression was found.
    @ivar whole: the pattern must be all of the text, whatever its case, but for a dot before it, which stays.
    """

    pattern: Template | Regex
    replacement: Template
    whole: bool = False

    def apply(self, request: Request, text: str) -> str | None:
        """
        @return: None where it does not fit.
        """
        pattern = self.pattern
        if isinstance(pattern, Regex):
            if not pattern.test(request, text.encode("utf-8", "surrogateescape")):
                return None
            return self.replacement.render(request)
        wanted = pattern.render(request)
        if self.whole:
            bare = text.removeprefix(".")
            if bare.lower() != wanted.lower():
                return None
            return text[: len(text) - len(bare)] + self.replacement.render(request)
        return self.replacement.render(request) + text[len(wanted) :] if text.startswith(wanted) else None


def rewritten(rewrites: Sequence[Rewrite], request: Request, text: str) -> str | None:
    """
    @return: what the first that fits makes of a text; None where none does.
    """
    for each in rewrites:
        found = each.apply(request, text)
        if found is not None:
            return found
    return None


@dataclass(frozen=True, slots=True)
class Flags:
    """
    One C{proxy_cookie_flags}.

    @ivar name: of the cookies it is about.
    @ivar flags: the attribute's name in lower case with the text it is to be, or None for not at all; or what will be
        known only then.
    """

    name: Template | Regex
    flags: tuple[tuple[str, str | None] | Template, ...]

    def wanted(self, request: Request) -> dict[str, str | None]:
        """
        The flags, those that variables give among them: what these say that is none is nothing.
        """
        found = {}
        for flag in self.flags:
            told = _flag(flag.render(request)) if isinstance(flag, Template) else flag
            if told is not None:
                found[told[0]] = told[1]
        return found

    def fits(self, request: Request, name: str) -> bool:
        """
        Whether a cookie of this name is meant.
        """
        if isinstance(self.name, Regex):
            return self.name.test(request, name.encode("utf-8", "surrogateescape"))
        return self.name.render(request).lower() == name.lower()


@dataclass(frozen=True, slots=True)
class Cookies:
    """
    What is done to C{Set-Cookie}.
    """

    domains: tuple[Rewrite, ...]
    paths: tuple[Rewrite, ...]
    flags: tuple[Flags, ...]

    def rewritten(self, request: Request, text: str) -> str | None:
        """
        @return: None where nothing is to be done.
        """
        cookie, *attributes = [part.strip(" \t") for part in text.split(";")]
        changed = False
        for place, attribute in enumerate(attributes):
            name, equals, value = attribute.partition("=")
            if not equals:
                continue
            new = None
            if name.lower() == "domain" and self.domains:
                new = rewritten(self.domains, request, value)
            elif name.lower() == "path" and self.paths:
                new = rewritten(self.paths, request, value)
            if new is not None:
                attributes[place] = f"{name}={new}"
                changed = True
        key, equals, _ = cookie.partition("=")
        said = next((each for each in self.flags if equals and each.fits(request, key)), None)
        if said is not None and said.flags:
            attributes = _flagged(attributes, said.wanted(request))
            changed = True
        return "; ".join([cookie, *attributes]) if changed else None


def _flagged(attributes: list[str], wanted: dict[str, str | None]) -> list[str]:
    """
    @param attributes: of a cookie. Those that are there stay where they are, the others come behind them.
    @param wanted: as in L{Flags}.
    """
    kept: list[str] = []
    for each in attributes:
        flag: str | None = each
        name = each.partition("=")[0].lower()
        if name in wanted:
            flag = wanted.pop(name)
            if flag is not None and "=" not in flag:
                flag = each
        if flag is not None:
            kept.append(flag)
    return kept + [flag for name in _SHOWN if (flag := wanted.get(name)) is not None]


# What the directives mean.


def expression(node: Node, build: Build, text: str) -> Regex:
    """
    @param text: behind the tilde, C{*} for any case first.
    @raise ConfigError: it is none.
    """
    regex = Regex(text.removeprefix("*"), caseless=text.startswith("*"))
    if regex.nested:
        build.warn(NESTED.format(regex.text), node)
    for name in regex.names:
        build.define(Variable(name, lambda request, name=name: request.values.get(name)), node)
    return regex


def pair(node: Node, build: Build, *, whole: bool = False) -> Rewrite | None:
    """
    Two words; or C{off}, for None.

    @raise ConfigError: something else.
    """
    if len(node.args) == 1:
        if node.args[0] != "off":
            raise ConfigError(f'invalid parameter "{node.args[0]}"')
        return None
    text, replacement = node.args
    pattern: Template | Regex
    if text.startswith("~"):
        pattern = expression(node, build, text[1:])
        whole = False
    else:
        pattern = build.template(text.removeprefix(".") if whole else text, node)
    return Rewrite(pattern, build.template(replacement, node), whole)


def listed(found: Sequence[T | None]) -> tuple[T, ...]:
    """
    What several directives of one block come to, where one of them may be C{off}.
    """
    return () if None in found else tuple(each for each in found if each is not None)


def cookie_pair(whole: bool) -> Callable[[Node, Build, Scope], Rewrite | None]:
    """
    For C{proxy_cookie_domain} and C{proxy_cookie_path}.

    @param whole: whether the pattern is all of the text.
    """
    return lambda node, build, scope: pair(node, build, whole=whole)


def _flag(word: str) -> tuple[str, str | None] | None:
    """
    @return: as in L{Flags}; None for what is none.
    """
    lower = word.lower()
    key, _, value = lower.partition("=")
    if lower in ("secure", "httponly"):
        return lower, _SHOWN[lower]
    if lower in ("nosecure", "nohttponly", "nosamesite"):
        return lower[2:], None
    if key == "samesite" and value in _SAME_SITE:
        return key, f"{_SHOWN[key]}={value.capitalize()}"
    return None


def cookie_flags(node: Node, build: Build, scope: Scope) -> Flags | None:
    """
    For C{proxy_cookie_flags}.
    """
    name, *words = node.args
    if name == "off" and not words:
        return None
    flags: list[tuple[str, str | None] | Template] = []
    for word in words:
        text = build.template(word, node)
        flag = text if text.constant is None else _flag(word)
        if flag is None:
            raise ConfigError(f'invalid parameter "{word}"')
        flags.append(flag)
    found = expression(node, build, name[1:]) if name.startswith("~") else build.template(name, node)
    return Flags(found, tuple(flags))
