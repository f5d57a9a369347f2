"""
Which file imports which? The house as its tests see it, read with C{ast} and without importing anything.

Strategy: every import is resolved to the dotted name of a module; C{from sniproxy.net import legs} is an import of
C{sniproxy.net.legs} where that file exists, else of C{sniproxy.net}.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

TOP: Final = Path(__file__).resolve().parents[2]
HOUSE: Final = TOP / "sniproxy"


class Import(NamedTuple):
    """
    One import statement's target.

    @ivar name: dotted, absolute.
    @ivar line: where it stands.
    @ivar typing: under C{if TYPE_CHECKING}, so not there at run time.
    """

    name: str
    line: int
    typing: bool


def modules(house: Path = HOUSE) -> dict[str, Path]:
    """
    Every module under a folder, by its dotted name.
    """
    found = {}
    for path in sorted(house.rglob("*.py")):
        parts = path.relative_to(house.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(source: str, known: Mapping[str, object] = {}) -> Iterator[Import]:
    """
    The imports of a file, wherever in it they stand.

    @param known: the names of modules, to tell C{from package import module} from C{from package import name}.
    @raise ValueError: a relative import, which the house does not use.
    """
    tree = ast.parse(source)
    typing = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")
        for statement in node.body
        for inner in ast.walk(statement)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, node.lineno, id(node) in typing)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                raise ValueError(f"line {node.lineno}: relative import")
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield Import(whole if whole in known else str(node.module), node.lineno, id(node) in typing)


def room(name: str) -> str:
    """
    C{sniproxy.net.legs} is in the room C{net}; C{sniproxy} itself in C{""}.
    """
    parts = name.split(".")
    return parts[1] if len(parts) > 1 else ""


def circles(arrows: Mapping[str, set[str]]) -> list[list[str]]:
    """
    Groups of modules that import each other, directly or around corners.

    @param arrows: for each module those that it imports.
    """
    reach: dict[str, set[str]] = {}
    for start in arrows:
        seen: set[str] = set()
        ahead = list(arrows[start])
        while ahead:
            name = ahead.pop()
            if name not in seen:
                seen.add(name)
                ahead.extend(arrows.get(name, ()))
        reach[start] = seen
    round_trips = [name for name in arrows if name in reach[name]]
    groups = {frozenset(other for other in reach[name] if name in reach.get(other, ())) for name in round_trips}
    return sorted(sorted(group) for group in groups)
