"""
ngx_stream_geo_module and ngx_http_geo_module: C{geo}, a variable whose value depends on an address.

Strategy: networks go into a table that is cut into pieces once and bisected (L{sniproxy.config.networks}); ranges are
kept, as nginx keeps them, by the upper half of an address, since its rules about which ranges may overlap hold within
such a half.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from typing import Any, Final

from twisted.plugin import IPlugin
from zope.interface import implementer

from sniproxy.common.contexts import KINDS
from sniproxy.common.server import Server
from sniproxy.config.build import Build
from sniproxy.config.directives import Directive, Inherit, Repeat, Scope
from sniproxy.config.grammar import Node
from sniproxy.config.networks import BITS, NOBODY, Areas, Inet, Network, located, network, number4, numbered
from sniproxy.config.template import Reference, Template, Variable
from sniproxy.errors import ConfigError
from sniproxy.interfaces import IModule

HALF: Final = 0xFFFF
"""The lower half of an IPv4 address."""


class Networks:
    """
    The lines of a block without C{ranges}.

    @ivar known: the value by network, of both families.
    """

    def __init__(self) -> None:
        self.known: dict[tuple[Inet, int, int], str] = {}
        self._areas: dict[Inet, Areas[str]] = {}

    def line(self, words: tuple[str, str], line: Node, build: Build) -> None:
        """
        @raise ConfigError: it means nothing.
        """
        key, value = words
        if key == "default":
            for family in BITS:
                self._add(Network(family, 0, 0), key, value, line, build)
            return
        text = value if key == "delete" else key
        found = Network("inet", NOBODY, 32) if text == "255.255.255.255" else network(text)
        if found is None:
            raise ConfigError(f'invalid network "{text}"')
        if found.vague:
            build.warn(f"low address bits of {text} are meaningless", line)
        if key != "delete":
            self._add(found, key, value, line, build)
        elif self.known.pop((found.family, found.first, found.prefix), None) is None:
            build.warn(f'no network "{text}" to delete', line)

    def _add(self, found: Network, text: str, value: str, line: Node, build: Build) -> None:
        place = (found.family, found.first, found.prefix)
        old = self.known.get(place)
        if old is not None:
            build.warn(f'duplicate network "{text}", value: "{value}", old value: "{old}"', line)
        self.known[place] = value

    def finish(self) -> None:
        """
        All lines are there.
        """
        self._areas = {family: Areas(self._spans(family)) for family in BITS}
        self.known.clear()

    def _spans(self, wanted: Inet) -> Iterator[tuple[int, int, int, str]]:
        for (family, first, prefix), value in self.known.items():
            if family == wanted:
                yield first, Network(family, first, prefix).last, -prefix, value

    def find(self, place: tuple[Inet, int]) -> str:
        """
        The value of the longest network around an address.
        """
        return self._areas[place[0]].find(place[1]) or ""


class Ranges:
    """
    The lines of a block with C{ranges}, for IPv4 alone.

    @ivar default: the value of whatever is in no range; None while the block has not said.
    """

    def __init__(self) -> None:
        self.default: str | None = None
        # by the upper half: the first and the last lower halves of ranges that do not overlap, in order, and values
        self._blocks: dict[int, tuple[list[int], list[int], list[str]]] = {}

    def line(self, words: tuple[str, str], line: Node, build: Build) -> None:
        """
        @raise ConfigError: it means nothing, or cuts through another range.
        """
        key, value = words
        if key == "default":
            if self.default is not None:
                build.warn(f'duplicate default geo range value: "{value}", old value: "{self.default}"', line)
            self.default = value
            return
        text = value if key == "delete" else key
        first, dash, last = text.partition("-")
        low, high = number4(first), number4(last) if dash else None
        if low is None or high is None or low > high:
            raise ConfigError(f'invalid range "{text}"')
        if key == "delete":
            deleted = [self._delete(*part) for part in _parts(low, high)]
            if not all(deleted):
                build.warn(f'no address range "{text}" to delete', line)
            return
        for part in _parts(low, high):
            self._add(*part, value, text, line, build)

    def _delete(self, block: int, first: int, last: int) -> bool:
        """
        @return: whether there was exactly that.
        """
        firsts, lasts, values = self._blocks.get(block, ([], [], []))
        at = bisect_right(firsts, first) - 1
        if at < 0 or firsts[at] != first or lasts[at] != last:
            return False
        del firsts[at], lasts[at], values[at]
        return True

    def _add(self, block: int, first: int, last: int, value: str, text: str, line: Node, build: Build) -> None:
        firsts, lasts, values = self._blocks.setdefault(block, ([], [], []))
        # the last of those that begin before the end of the new one
        at = bisect_right(firsts, last) - 1
        if at < 0 or lasts[at] < first:
            firsts.insert(at + 1, first)
            lasts.insert(at + 1, last)
            values.insert(at + 1, value)
            return
        low, high, old = firsts[at], lasts[at], values[at]
        if first < low or last > high:
            raise ConfigError(f'range "{text}" overlaps "{_quad(block, low)}-{_quad(block, high)}"')
        if (low, high) == (first, last):
            build.warn(f'duplicate range "{text}", value: "{value}", old value: "{old}"', line)
        pieces = [(low, first - 1, old), (first, last, value), (last + 1, high, old)]
        kept = [piece for piece in pieces if piece[0] <= piece[1]]
        firsts[at : at + 1] = [piece[0] for piece in kept]
        lasts[at : at + 1] = [piece[1] for piece in kept]
        values[at : at + 1] = [piece[2] for piece in kept]

    def finish(self) -> None:
        """
        All lines are there.
        """

    def find(self, place: tuple[Inet, int]) -> str:
        """
        The value of the range an address is in.
        """
        family, number = place
        block = self._blocks.get(number >> 16) if family == "inet" else None
        if block is not None:
            at = bisect_right(block[0], number & HALF) - 1
            if at >= 0 and number & HALF <= block[1][at]:
                return block[2][at]
        return self.default or ""


def _parts(low: int, high: int) -> Iterator[tuple[int, int, int]]:
    """
    A range by upper halves of addresses, each with the first and the last lower half.
    """
    for block in range(low >> 16, (high >> 16) + 1):
        yield block, low & HALF if block == low >> 16 else 0, high & HALF if block == high >> 16 else HALF


def _quad(block: int, low: int) -> str:
    return f"{block >> 8}.{block & 0xFF}.{low >> 8}.{low & 0xFF}"


class Geo:
    """
    One C{geo} block.

    @ivar source: the text that is an address; None for the client's.
    @ivar volatile: whether each use looks anew.
    """

    def __init__(self, source: Template | None) -> None:
        self.source = source
        self.volatile = False
        self._table: Networks | Ranges | None = None

    def read(self, line: Node, build: Build) -> None:
        """
        One line of the block.

        @raise ConfigError: it means nothing.
        """
        words = (line.name, *line.args)
        if words == ("ranges",):
            if isinstance(self._table, Networks):
                raise ConfigError('the "ranges" directive must be the first directive inside "geo" block')
            self._table = self._table or Ranges()
        elif words == ("volatile",):
            self.volatile = True
        elif len(words) != 2:
            raise ConfigError("invalid number of the geo parameters")
        else:
            if self._table is None:
                self._table = Networks()
            self._table.line((words[0], words[1]), line, build)

    def finish(self) -> None:
        """
        All lines are there.
        """
        if self._table is None:
            self._table = Networks()
        self._table.finish()

    def __call__(self, subject: Any) -> str:
        """
        The value for one session or request. What is no address is looked up as 255.255.255.255, as nginx does it.
        """
        assert self._table is not None
        place = located(subject.peer) if self.source is None else numbered(self.source.render(subject))
        return self._table.find(("inet", NOBODY) if place is None else place)


def _geo(node: Node, build: Build, scope: Scope) -> Geo:
    for name in node.args:
        if not name.startswith("$"):
            raise ConfigError(f'invalid variable name "{name}"')
    source = None
    if len(node.args) == 2:
        source = build.template(node.args[0], node)
        if source.pieces != (Reference(node.args[0][1:].lower()),):
            raise ConfigError(f'unknown "{node.args[0][1:]}" variable')
    geo = Geo(source)
    for line in build.lines(node):
        try:
            geo.read(line, build)
        except ConfigError as error:
            build.error(error, line)
    geo.finish()
    build.define(Variable(node.args[-1][1:], geo, volatile=geo.volatile), node)
    return geo


GEO: Final = Directive[tuple[Geo, ...]]("geo", KINDS, (1, 2), _geo, (), Inherit.NEVER, Repeat.LISTED, free=True)


@implementer(IPlugin, IModule)
class GeoModule:
    """
    The module. All is done when the block is read.
    """

    name = "stream_geo"
    directives = (GEO,)
    variables = ()

    def prepare(self, build: Build) -> None:
        """
        @see: L{IModule.prepare}
        """

    def attach(self, server: Server, build: Build) -> None:
        """
        @see: L{IModule.attach}
        """


geo = GeoModule()
