"""
What C{ssl_certificate}, C{proxy_ssl_certificate} and their keys and caches say: files, C{data:}, or names with
variables, which are filled in for each client.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from sniproxy.config.build import Build
from sniproxy.config.directives import Scope
from sniproxy.config.grammar import Node
from sniproxy.config.template import Template
from sniproxy.config.values import number_of, time_of
from sniproxy.errors import ConfigError
from sniproxy.tls.files import DATA
from sniproxy.tls.named import Keep, Once, Pairs

if TYPE_CHECKING:
    from sniproxy.common.session import Session

_REFUSED: Final = {
    "engine:": "OpenSSL has no engines any more",
    "store:": "pyOpenSSL cannot load keys from stores",
}

Name = str | Template
"""A path, C{data:} with what a file would hold, or a text that becomes one of these."""


def _full(text: str, build: Build) -> str:
    return text if text.startswith(DATA) else build.path(text)


def certificate(node: Node, build: Build, scope: Scope) -> Name:
    """
    A chain of certificates.
    """
    word = node.args[0]
    return build.template(word, node) if "$" in word else _full(word, build)


def key(node: Node, build: Build, scope: Scope) -> Name:
    """
    A key.
    """
    for prefix, reason in _REFUSED.items():
        if node.args[0].startswith(prefix):
            raise ConfigError(f'"{prefix}" of "{node.name}" is not supported by sniproxy: {reason}')
    return certificate(node, build, scope)


def cache(node: Node, build: Build, scope: Scope) -> Keep | None:
    """
    C{ssl_certificate_cache} and C{proxy_ssl_certificate_cache}; None for C{off}.
    """
    most, inactive, valid = 0, 10.0, 60.0
    off = False
    for word in node.args:
        name, equals, value = word.partition("=")
        count = number_of(value) if name == "max" and equals else None
        seconds = time_of(value, seconds=True) if name in ("inactive", "valid") and equals else None
        if count:
            most = count
        elif name == "inactive" and seconds is not None:
            inactive = seconds
        elif name == "valid" and seconds is not None:
            valid = seconds
        elif word == "off":
            off = True
        else:
            raise ConfigError(f'invalid parameter "{word}"')
    if off:
        return None
    if not most:
        raise ConfigError(f'"{node.name}" must have the "max" parameter')
    return Keep(most, inactive, valid)


def once(build: Build) -> Once:
    """
    What reads the files of a configuration: many servers may share one.
    """
    found: Once = build.shared.setdefault(Once, Once(build.read))
    return found


def by_variable(pairs: tuple[tuple[Name, Name], ...]) -> bool:
    """
    Whether any of them has variables.
    """
    return any(isinstance(name, Template) for pair in pairs for name in pair)


def names(pairs: tuple[tuple[Name, Name], ...], build: Build, optional: bool = False) -> Callable[[Session], Pairs]:
    """
    @param optional: whether a certificate whose name is empty is none.
    @return: what fills them in for a session.
    """

    def full(name: Name, session: Session) -> str:
        return _full(name.render(session), build) if isinstance(name, Template) else name

    def fill_in(session: Session) -> Pairs:
        return tuple(
            (full(chain, session), full(its, session))
            for chain, its in pairs
            if not (optional and isinstance(chain, Template) and not chain.render(session))
        )

    return fill_in
