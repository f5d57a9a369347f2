"""
How a module declares a directive, and where its checked value is found afterwards.

Strategy: a L{Directive} is a module-level constant that carries the type of its value, so that
C{scope[PROXY_TIMEOUT]} is a C{float} to the type checker and needs no string look-up. A L{Scope} is one block of
the configuration; a directive that is absent from it is looked for in the enclosing ones if it inherits, and is
its default at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, cast

if TYPE_CHECKING:
    from sniproxy.config.build import Build
    from sniproxy.config.grammar import Node

T = TypeVar("T")

MANY: Final = 1_000_000
"""No upper bound on a directive's arguments."""


class Inherit(Enum):
    """
    What a block sees of a directive that it does not have itself.
    """

    VALUE = "the value of the nearest enclosing block that has it"
    NEVER = "the default"


class Repeat(Enum):
    """
    What a second directive of one name in one block means.
    """

    REFUSED = '"x" directive is duplicate'
    LAST = "the last one counts"
    LISTED = "values are collected, in order: the type is a tuple; a lower block that has one has only its own"


@dataclass(frozen=True, eq=False)
class Directive(Generic[T]):
    """
    One directive, in every context where it means the same.

    @ivar name: the word in the file.
    @ivar contexts: where it may stand: C{"main"}, C{"events"}, C{"stream"}, C{"stream.server"},
        C{"stream.upstream"}, …; a context is the path of the blocks around it. C{"*"}: anywhere.
    @ivar arity: the least and the greatest number of arguments.
    @ivar convert: makes the value from the node; raises L{ConfigError} without a place. With L{Repeat.LISTED} it makes
        one item. For a block that opens a context the value is its L{Scope}, so C{convert} is not called.
    @ivar default: the value where it is absent (the empty tuple where it is listed).
    @ivar opens: for a block of directives: the context inside.
    @ivar free: a block whose lines are data and not directives (map, geo, types): C{convert} reads C{node.block}.
    @ivar ignored: accepted for nginx's sake and without effect here; the reason in a few words.
    """

    name: str
    contexts: tuple[str, ...]
    arity: tuple[int, int]
    convert: Callable[[Node, Build, Scope], Any]
    default: T
    inherit: Inherit = Inherit.VALUE
    repeat: Repeat = Repeat.REFUSED
    opens: str | None = None
    free: bool = False
    ignored: str | None = None


@dataclass(eq=False, slots=True)
class Scope:
    """
    One block of the configuration, with the values of its directives.

    @ivar context: C{"main"}, C{"stream"}, C{"stream.server"}, …
    @ivar node: the directive that opened it; None for the file itself.
    @ivar parent: the enclosing block; None for the file itself.
    @ivar children: the blocks inside, in file order.
    @ivar values: what this very block sets.
    @ivar nodes: the directives that set it, in file order.
    """

    context: str
    node: Node | None
    parent: Scope | None
    children: list[Scope] = field(default_factory=list)
    values: dict[Directive[Any], Any] = field(default_factory=dict)
    nodes: dict[Directive[Any], list[Node]] = field(default_factory=dict)

    def __getitem__(self, directive: Directive[T]) -> T:
        """
        The effective value: this block's, else an enclosing one's where it inherits, else the default.
        """
        scope: Scope | None = self
        while scope is not None:
            if directive in scope.values:
                return cast(T, scope.values[directive])
            if directive.inherit is Inherit.NEVER:
                break
            scope = scope.parent
        return directive.default

    def has(self, directive: Directive[Any]) -> bool:
        """
        Whether this very block has the directive.
        """
        return directive in self.values

    def where(self, directive: Directive[Any]) -> Node | None:
        """
        The directive that set the effective value (the last one where it is listed), or None for a default.
        """
        scope: Scope | None = self
        while scope is not None:
            if directive in scope.nodes:
                return scope.nodes[directive][-1]
            if directive.inherit is Inherit.NEVER:
                break
            scope = scope.parent
        return None

    def inside(self, context: str) -> Iterator[Scope]:
        """
        The blocks of one context directly inside this one, in file order.
        """
        return (child for child in self.children if child.context == context)


def declared(modules: Sequence[Any]) -> dict[str, list[Directive[Any]]]:
    """
    Every directive of the modules, by its name.
    """
    found: dict[str, list[Directive[Any]]] = {}
    for module in modules:
        for directive in module.directives:
            found.setdefault(directive.name, []).append(directive)
    return found


def allowed(candidates: Sequence[Directive[Any]], context: str) -> Directive[Any] | None:
    """
    The directive that may stand in a context; one with a meaning before one that is ignored.
    """
    found: Directive[Any] | None = None
    for directive in candidates:
        if context in directive.contexts or "*" in directive.contexts:
            if directive.ignored is None:
                return directive
            found = found or directive
    return found


def clashes(directives: Mapping[str, Sequence[Directive[Any]]]) -> Iterator[str]:
    """
    The names that two modules give a meaning in one context: which of them would be right?
    """
    for name, candidates in directives.items():
        seen: set[str] = set()
        for directive in candidates:
            if directive.ignored is None:
                if not seen.isdisjoint(directive.contexts):
                    yield name
                    break
                seen.update(directive.contexts)
