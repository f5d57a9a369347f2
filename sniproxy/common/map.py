"""
ngx_stream_map_module and ngx_http_map_module: C{map}, a variable whose value is found in a table by another text.

Strategy: whole names and masks are found in dictionaries, whatever their number; only regular expressions are tried
one by one, and only when nothing else fits. Text without variables is kept as text, so that a hundred thousand
entries are no more than a dictionary.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from twisted.plugin import IPlugin
from zope.interface import implementer

from sniproxy.common.contexts import KINDS
from sniproxy.config.build import Build
from sniproxy.config.directives import Directive, Inherit, Repeat, Scope
from sniproxy.config.grammar import Node
from sniproxy.config.hostnames import Hostnames, Verdict, lower
from sniproxy.config.regex import NESTED, Regex
from sniproxy.config.template import Template, Variable
from sniproxy.errors import ConfigError
from sniproxy.interfaces import IModule

if TYPE_CHECKING:
    from sniproxy.common.server import Server


class Table:
    """
    One C{map} block.

    @ivar source: the text to look up.
    @ivar hostnames: whether the look-up ignores a dot at the end, and names added from now on may be masks.
    @ivar volatile: whether each use looks anew.
    @ivar default: the value where nothing fits; None while the block has not said.
    """

    __slots__ = ("_names", "_regexes", "default", "hostnames", "source", "volatile")

    def __init__(self, source: Template) -> None:
        self.source = source
        self.hostnames = False
        self.volatile = False
        self.default: str | Template | None = None
        self._names: Hostnames[str | Template] = Hostnames()
        self._regexes: list[tuple[Regex, str | Template]] = []

    def add_name(self, name: str, value: str | Template) -> None:
        """
        @raise ConfigError: it is there already, or is no name.
        """
        verdict = self._names.add(name, value, masks=self.hostnames)
        if verdict is Verdict.INVALID:
            raise ConfigError(f'invalid hostname or wildcard "{name}"')
        if verdict is Verdict.CONFLICT:
            raise ConfigError(f'conflicting parameter "{lower(name)}"')

    def add_regex(self, regex: Regex, value: str | Template) -> None:
        """
        To be tried after those that came before.
        """
        self._regexes.append((regex, value))

    def __call__(self, subject: Any) -> str:
        """
        The value for one session or request: never None, for a map always has a default.
        """
        text = self.source.render(subject)
        if self.hostnames and text.endswith("."):
            text = text[:-1]
        if not text.isascii():
            # pieces of one character may have met: equal bytes have to be equal text
            text = text.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")
        value = self._names.find(lower(text))
        if value is None:
            value = self._by_regex(subject, text) if self._regexes and text else self.default
        if isinstance(value, str):
            return value
        return "" if value is None else value.render(subject)

    def _by_regex(self, subject: Any, text: str) -> str | Template | None:
        raw = text.encode("utf-8", "surrogateescape")
        for regex, value in self._regexes:
            if regex.test(subject, raw):
                return value
        return self.default


def _map(node: Node, build: Build, scope: Scope) -> Table:
    source, name = node.args
    table = Table(build.template(source, node))
    if not name.startswith("$"):
        raise ConfigError(f'invalid variable name "{name}"')
    for line in build.lines(node):
        try:
            _line(table, line, build)
        except ConfigError as error:
            build.error(error, line)
    build.define(Variable(name[1:], table, volatile=table.volatile), node)
    return table


def _line(table: Table, line: Node, build: Build) -> None:
    key = line.name
    if len(line.args) != 1:
        if line.args or key not in ("hostnames", "volatile"):
            raise ConfigError("invalid number of the map parameters")
        if key == "hostnames":
            table.hostnames = True
        else:
            table.volatile = True
        return
    text = line.args[0]
    value = build.template(text, line) if "$" in text else text
    if key == "default":
        if table.default is not None:
            raise ConfigError("duplicate default map parameter")
        table.default = value
    elif key.startswith("~"):
        caseless = key.startswith("~*")
        regex = Regex(key[2 if caseless else 1 :], caseless)
        if regex.nested:
            build.warn(NESTED.format(regex.text), line)
        for name in regex.names:
            build.define(Variable(name, _not_found), line)
        table.add_regex(regex, value)
    else:
        table.add_name(key[1:] if key.startswith("\\") else key, value)


def _not_found(subject: Any) -> None:
    """
    A named group before its expression has matched. Matching puts the value where cached ones are.
    """


MAP: Final = Directive[tuple[Table, ...]]("map", KINDS, (2, 2), _map, (), Inherit.NEVER, Repeat.LISTED, free=True)


@implementer(IPlugin, IModule)
class Map:
    """
    The module. All is done when the block is read.
    """

    name = "stream_map"
    directives = (MAP,)
    variables = ()

    def prepare(self, build: Build) -> None:
        """
        @see: L{IModule.prepare}
        """

    def attach(self, server: Server, build: Build) -> None:
        """
        @see: L{IModule.attach}
        """


map_ = Map()
