"""
What a configuration amounts to, written in nginx's grammar: the text of C{--dump}.

Strategy: the tree is written back with its includes in their places. A directive that is inherited is repeated in
each block where it ends up, with a remark saying whence. What comes out, read again, gives the same values.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from sniproxy.config.build import Build
from sniproxy.config.directives import Inherit, Scope
from sniproxy.config.grammar import Node
from sniproxy.config.lexer import LIMIT, Lexer

INDENT: Final = "    "

_NAMED: Final = {"\t": r"\t", "\r": r"\r", "\n": r"\n"}
# a backslash means itself unless one of these follows, or the closing quote does
_SPECIAL: Final = re.compile(r"\\(?=[\"'\\trn\t\r\n]|\Z)|[\t\r\n]")


def quote(word: str, quoted: bool = False) -> str:
    """
    A word as nginx would read it, in quotes only where it needs them.

    @param quoted: use quotes in any case, because the author did.
    """
    if not quoted and _means(word, word):
        return word
    mark = "'" if '"' in word and "'" not in word else '"'
    escaped = _SPECIAL.sub(lambda match: _NAMED.get(match[0], r"\\"), word)
    return mark + escaped.replace(mark, "\\" + mark) + mark


def _means(raw: str, word: str) -> bool:
    """
    Whether C{raw}, as it is, is read as this one word.
    """
    lexer = Lexer(raw.encode("utf-8", "surrogateescape") + b";", "")
    found = [statement.words for statement in lexer.statements()]
    return found == [(word,)] and not lexer.errors and lexer.complete


def words(node: Node) -> str:
    """
    A directive's words on one line, without what ends it.
    """
    return " ".join(map(quote, (node.name, *node.args), node.quoted))


def dump(build: Build) -> str:
    """
    @param build: a configuration without errors.
    @return: lines of nginx's grammar, with a newline at the end; what was not UTF-8 is in surrogates.
    """
    lines = [f"# configuration file {_remark(build.file)}:"]
    lines.extend(_scope(build, build.root, build.nodes, ""))
    return "\n".join(lines) + "\n"


def _remark(text: str) -> str:
    """
    A text that cannot break out of its comment.
    """
    return re.sub(r"[\r\n]", "?", text)[: LIMIT // 8]


def _scope(build: Build, scope: Scope, nodes: tuple[Node, ...], indent: str) -> Iterator[str]:
    for node in _inherited(build, scope):
        place = _remark(f"{node.file}:{node.line}" if node.line else node.file)
        yield from _free(node, indent, f" # inherited from {place}")
    scopes = {id(child.node): child for child in scope.children}
    for node in nodes:
        child = scopes.get(id(node))
        if child is None:
            yield from _free(node, indent)
            continue
        assert node.block is not None
        yield f"{indent}{words(node)} {{"
        yield from _scope(build, child, node.block, indent + INDENT)
        yield f"{indent}}}"


def _free(node: Node, indent: str, remark: str = "") -> Iterator[str]:
    """
    A directive with what it has in its braces, which is data.
    """
    if node.block is None:
        yield f"{indent}{words(node)};{remark}"
        return
    yield f"{indent}{words(node)} {{{remark}"
    for line in node.block:
        yield from _free(line, indent + INDENT)
    yield f"{indent}}}"


def _inherited(build: Build, scope: Scope) -> Iterator[Node]:
    """
    What the blocks around set, and this one would see, and no block inside of it can see instead.
    """
    for candidates in build.declared.values():
        for directive in candidates:
            if directive.inherit is Inherit.NEVER or directive.opens is not None or scope.has(directive):
                continue
            if scope.context not in directive.contexts:
                continue
            if any(child.context in directive.contexts for child in scope.children):
                continue
            above = scope.parent
            while above is not None and directive not in above.nodes:
                above = above.parent
            if above is not None:
                yield from above.nodes[directive]
