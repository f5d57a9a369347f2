"""
ngx_stream_split_clients_module and ngx_http_split_clients_module: C{split_clients}, so many of a hundred clients here
and the rest there, always the same ones.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import Any, Final

from twisted.plugin import IPlugin
from zope.interface import implementer

from sniproxy.common.contexts import KINDS
from sniproxy.common.server import Server
from sniproxy.config.build import Build
from sniproxy.config.directives import Directive, Inherit, Repeat, Scope
from sniproxy.config.grammar import Node
from sniproxy.config.template import Template, Variable
from sniproxy.errors import ConfigError
from sniproxy.interfaces import IModule

WHOLE: Final = 10_000
"""All clients, in hundredths of a per cent."""

_PERCENT: Final = re.compile(r"([0-9]*)(?:\.([0-9]{0,2}))?%\Z")
_FACTOR: Final = 0x5BD1E995
_WORD: Final = 0xFFFFFFFF


def murmur2(data: bytes) -> int:
    """
    MurmurHash2 by Austin Appleby, of 32 bits and with the seed 0.
    """
    whole = len(data) & ~3
    hashed = len(data) & _WORD
    for at in range(0, whole, 4):
        part = int.from_bytes(data[at : at + 4], "little") * _FACTOR & _WORD
        part = (part ^ part >> 24) * _FACTOR & _WORD
        hashed = hashed * _FACTOR & _WORD ^ part
    if len(data) > whole:
        hashed = (hashed ^ int.from_bytes(data[whole:], "little")) * _FACTOR & _WORD
    hashed = (hashed ^ hashed >> 13) * _FACTOR & _WORD
    return hashed ^ hashed >> 15


class Split:
    """
    One C{split_clients} block.

    @ivar source: the text by which clients are told apart.
    """

    def __init__(self, source: Template, parts: list[tuple[int, str]]) -> None:
        """
        @param parts: hundredths of a per cent, 0 for whoever is left, and their values.
        @raise ConfigError: that is more than all.
        """
        self.source = source
        self._bounds: list[int] = []
        self._values: list[str] = []
        bound = total = 0
        rest = ""
        over = False
        for share, value in parts:
            total = total + share if share else WHOLE
            if total > WHOLE:
                raise ConfigError("percent total is greater than 100%")
            if over:
                continue  # nobody comes this far
            if share:
                bound += share * _WORD // WHOLE
                self._bounds.append(bound)
                self._values.append(value)
            else:
                rest, over = value, True
        self._values.append(rest)

    def __call__(self, subject: Any) -> str:
        """
        The value for one session or request; empty where nothing is left for it.
        """
        hashed = murmur2(self.source.render(subject).encode("utf-8", "surrogateescape"))
        return self._values[bisect_right(self._bounds, hashed)]


def _share(text: str) -> int:
    if text == "*":
        return 0
    match = _PERCENT.match(text)
    share = int(f"{match[1] or 0}{match[2] or '':0<2}") if match is not None and len(text) < 20 else 0
    if not share:
        raise ConfigError(f'invalid percent value "{text}"')
    return share


def _split(node: Node, build: Build, scope: Scope) -> Split:
    text, name = node.args
    source = build.template(text, node)
    if not name.startswith("$"):
        raise ConfigError(f'invalid variable name "{name}"')
    assert node.block is not None
    parts = []
    for line in node.block:
        try:
            if len(line.args) != 1:
                raise ConfigError("invalid number of the split_clients parameters")
            parts.append((_share(line.name), line.args[0]))
        except ConfigError as error:
            build.error(error, line)
    try:
        split = Split(source, parts)
    except ConfigError as error:
        raise error.at(node.file, node.end) from None
    build.define(Variable(name[1:], split), node)
    return split


SPLIT_CLIENTS: Final = Directive[tuple[Split, ...]](
    "split_clients", KINDS, (2, 2), _split, (), Inherit.NEVER, Repeat.LISTED, free=True
)


@implementer(IPlugin, IModule)
class SplitClients:
    """
    The module. All is done when the block is read.
    """

    name = "stream_split_clients"
    directives = (SPLIT_CLIENTS,)
    variables = ()

    def prepare(self, build: Build) -> None:
        """
        @see: L{IModule.prepare}
        """

    def attach(self, server: Server, build: Build) -> None:
        """
        @see: L{IModule.attach}
        """


split_clients = SplitClients()
