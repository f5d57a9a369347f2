"""
From statements to the tree of directives, with the files of C{include} in their places: nginx's C{ngx_conf_parse}.

Strategy: blocks are kept on a stack of our own and not on Python's, so no text can be nested too deeply for us. An
error is noted and reading goes on: a stray brace is skipped, a missing one is taken as there.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from sniproxy.config.lexer import End, Lexer
from sniproxy.errors import ConfigError

Read = Callable[[str], bytes]
Glob = Callable[[str], Sequence[str]]
Rest = Callable[[], None]
"""Called often by what takes long, so that something else may be done in between."""


def no_rest() -> None:
    """
    The rest of those for whom nothing waits.
    """


DEPTH: Final = 64
"""How many blocks may stand inside each other, and how many files may include each other."""

FILES: Final = 10_000
"""How many files one configuration may have, counted each time they are included."""

AT_ONCE: Final = 256
"""How many lines of a file are taken together between two rests: a fraction of a millisecond."""

COMMAND_LINE: Final = "command line"
"""What stands for the name of the file where directives come from the command line."""


@dataclass(slots=True)
class Node:
    """
    One directive as it is written. Nothing but L{forget} changes it; a frozen value would take thrice as long to make,
    and there may be a hundred thousand.

    @ivar name: its first word.
    @ivar args: the other words, decoded.
    @ivar quoted: for the name and each argument whether it stood in quotes.
    @ivar block: the directives in its braces; None where it ends with a semicolon.
    @ivar file: where it stands; C{"command line"} for those given there.
    @ivar line: the line of its C{;} or C{{}, from 1; 0 on the command line.
    @ivar end: the line of its C{}}, where it has a block.
    """

    name: str
    args: tuple[str, ...]
    quoted: tuple[bool, ...]
    block: tuple[Node, ...] | None
    file: str
    line: int
    end: int = field(default=0, compare=False, repr=False)

    def forget(self, rest: Rest = no_rest) -> None:
        """
        Let go of what is in the braces.

        @param rest: called now and then meanwhile.
        """
        lines, self.block = list(self.block or ()), ()
        while lines:
            del lines[-AT_ONCE:]
            rest()


@dataclass(slots=True)
class _Open:
    """
    A block that is being read.
    """

    words: tuple[str, ...]
    quoted: tuple[bool, ...]
    line: int
    nodes: list[Node]


class Parser:
    """
    Reads a file and what it includes.

    At most L{FILES} files, L{DEPTH} deep. It holds no file open.

    @ivar errors: all that is wrong, in the order it was found.
    @ivar files: the names of the files as keys, in the order they were first opened.
    """

    def __init__(self, folder: str, read: Read, glob: Glob, rest: Rest = no_rest) -> None:
        """
        @param folder: what names in C{include} are relative to.
        @param read: the bytes of a file; raises OSError.
        @param glob: the names that match a pattern, in any order.
        @param rest: called now and then meanwhile.
        """
        self._rest = rest
        self._folder = folder
        self._read = read
        self._glob = glob
        self._opened = 0
        self._stack: list[str] = []
        self.errors: list[ConfigError] = []
        self.files: dict[str, None] = {}

    def parse(self, source: bytes, file: str) -> tuple[Node, ...]:
        """
        The directives of one text, as far as they can be read.
        """
        return tuple(self._file(Lexer(source, file), file))

    def parameter(self, source: bytes) -> tuple[Node, ...]:
        """
        The directives given on the command line, which may not have blocks.
        """
        found = self._file(Lexer(source, COMMAND_LINE, parameter=True), COMMAND_LINE)
        for node in found:
            if node.block is not None and node.file == COMMAND_LINE:
                self._error("block directives are not supported in -g option", node.file, node.line)
        return tuple(node for node in found if node.block is None or node.file != COMMAND_LINE)

    def _error(self, message: str, file: str, line: int) -> None:
        self.errors.append(ConfigError(message, file, line))

    def _file(self, lexer: Lexer, file: str) -> list[Node]:
        self.files[file] = None
        self._stack.append(file)
        blocks = [_Open((), (), 0, [])]
        nodes = blocks[-1].nodes
        reported = 0
        for number, (end, words, quoted, line) in enumerate(lexer.statements()):
            if number % AT_ONCE == 0:
                self._rest()
            if len(lexer.errors) > reported:
                # what the lexer found so far comes before what this statement brings
                self.errors.extend(lexer.errors[reported:])
                reported = len(lexer.errors)
            if end is End.SEMICOLON:
                if words[0] == "include" and len(words) == 2:
                    nodes.extend(self._include(words[1], file, line))
                else:
                    nodes.append(Node(words[0], words[1:], quoted, None, file, line))
                continue
            if end is End.OPEN:
                blocks.append(_Open(words, quoted, line, []))
                if len(blocks) == DEPTH + 2:
                    self._error(f"blocks are nested more than {DEPTH} deep", file, line)
            elif len(blocks) == 1:
                self._error('unexpected "}"', file, line)
            else:
                self._close(blocks, file, line)
            nodes = blocks[-1].nodes
        self.errors.extend(lexer.errors[reported:])
        if lexer.complete and len(blocks) > 1:
            self._error('unexpected end of file, expecting "}"', file, lexer.line)
        while len(blocks) > 1:
            self._close(blocks, file, lexer.line)
        self._stack.pop()
        return blocks[0].nodes

    def _close(self, blocks: list[_Open], file: str, end: int) -> None:
        """
        End the innermost block. What has no name or is nested too deeply was reported and is left out.
        """
        block = blocks.pop()
        if block.words and len(blocks) <= DEPTH:
            node = Node(block.words[0], block.words[1:], block.quoted, tuple(block.nodes), file, block.line, end)
            blocks[-1].nodes.append(node)

    def _include(self, name: str, file: str, line: int) -> list[Node]:
        path = posixpath.join(self._folder, name)
        if not any(char in path for char in "*?["):
            return self._included(path, file, line)
        nodes: list[Node] = []
        for found in sorted(self._glob(path)):
            nodes.extend(self._included(found, file, line))
        return nodes

    def _included(self, path: str, file: str, line: int) -> list[Node]:
        if path in self._stack:
            self._error(f'"{path}" includes itself', file, line)
            return []
        if len(self._stack) > DEPTH:
            self._error(f'"{path}" is included more than {DEPTH} files deep', file, line)
            return []
        self._opened += 1
        if self._opened > FILES:
            if self._opened == FILES + 1:
                self._error(f"more than {FILES} files are included", file, line)
            return []
        try:
            source = self._read(path)
        except OSError as error:
            call = "pread" if isinstance(error, IsADirectoryError) else "open"
            self._error(f'{call}() "{path}" failed ({error.errno}: {error.strerror})', file, line)
            return []
        return self._file(Lexer(source, path), path)
