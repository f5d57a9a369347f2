"""
From the tree to checked values: every directive in its place, converted by whoever declared it.

Strategy: nothing is raised on the way. Each fault is noted with its file and line and the walk goes on, so that one
run shows the operator everything; L{configure} raises at the end if anything was noted. Variables are bound last,
because a template may name a variable that a later block makes.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Final, NoReturn

from sniproxy.config.directives import Directive, Repeat, Scope, allowed, clashes, declared
from sniproxy.config.grammar import AT_ONCE, COMMAND_LINE, Glob, Node, Parser, Read, Rest, no_rest
from sniproxy.config.known import refusal
from sniproxy.config.template import ANY, Reference, Render, Template, Variable, cached, direct, pieces, volatile
from sniproxy.errors import ConfigError, ConfigErrors

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")

Lookup = Callable[[str], "tuple[str, ...]"]


def _no_file(path: str) -> NoReturn:
    raise FileNotFoundError(2, "No such file or directory", path)


def _no_glob(pattern: str) -> Sequence[str]:
    return ()


def _no_lookup(host: str) -> NoReturn:
    raise OSError(-2, "Name or service not known")


class Build:
    """
    One configuration while it is made, and afterwards what was made.

    @ivar file: the name of the main configuration file, as errors show it.
    @ivar prefix: what logs and the like are relative to.
    @ivar root: the main block.
    @ivar nodes: the directives of the main block, those of the command line first.
    @ivar modules: all modules, in order.
    @ivar shared: what modules keep for this one configuration, by any key of theirs.
    @ivar read: from a path to bytes; raises OSError. For all that belongs to the configuration.
    @ivar live: the same while the program runs, for what is named by variables.
    @ivar lookup: from a host name to its numeric addresses, at least one; raises OSError.
    @ivar time: wall clock, seconds since the epoch.
    @ivar rest: to be called now and then by what takes long: sessions may be waiting.
    @ivar errors: what is wrong so far.
    @ivar warnings: what the operator should know.
    @ivar kind: C{"stream"} or C{"http"}: whose subjects the templates and variables read that are made now; that of
        the block being read.
    @ivar finished: whether C{finish} has bound all templates.
    """

    def __init__(
        self,
        modules: Sequence[Any],
        *,
        file: str,
        prefix: str | None = None,
        read: Read = _no_file,
        lookup: Lookup = _no_lookup,
        time: Callable[[], float] = lambda: 0.0,
        rest: Rest = no_rest,
    ) -> None:
        self.time = time
        self.file = file
        self.prefix = posixpath.dirname(file) if prefix is None else prefix
        self.read = read
        self.live = read
        self.lookup = lookup
        self.rest = rest
        self.root = Scope("main", None, None)
        self.nodes: tuple[Node, ...] = ()
        self.modules = tuple(modules)
        self.shared: dict[Hashable, Any] = {}
        self.errors: list[ConfigError] = []
        self.warnings: list[ConfigError] = []
        self.finished = False
        self.kind = "stream"
        self.declared = declared(modules)
        self._templates: list[tuple[Template, Node, str]] = []
        self._readers: dict[tuple[str, str], Render | None] = {}
        self._variables: dict[tuple[str, str], Variable] = {}
        self._prefixes: dict[tuple[str, str], Variable] = {}
        self._made: set[tuple[str, str]] = set()
        for name in clashes(self.declared):
            self.error(f'two modules declare the "{name}" directive for one context')
        for module in modules:
            for variable in module.variables:
                self._provide(variable)

    def _provide(self, variable: Variable) -> None:
        known = self._prefixes if variable.prefix else self._variables
        key = (variable.kind, variable.name.lower())
        if key in known:
            self.errors.append(ConfigError(f'the duplicate "{variable.name}" variable'))
        known[key] = variable

    def error(self, message: str | ConfigError, node: Node | None = None) -> None:
        """
        Note what is wrong; a L{ConfigError} that has its place keeps it.
        """
        self.errors.append(_placed(message, node))

    def warn(self, message: str | ConfigError, node: Node | None = None) -> None:
        """
        Note what is not wrong but should be known.
        """
        self.warnings.append(_placed(message, node))

    def path(self, text: str) -> str:
        """
        The file a certificate, key or include means: relative to the folder of the main configuration file.
        """
        return posixpath.join(posixpath.dirname(self.file), text)

    def prefixed(self, text: str) -> str:
        """
        The file a log, pid or temporary path means: relative to the prefix.
        """
        return posixpath.join(self.prefix, text)

    def template(self, text: str, node: Node, kind: str | None = None) -> Template:
        """
        A text that may have variables. It can be called when C{finish} is through.

        @param kind: whose subjects it reads, where that is not C{self.kind}.

        Faults are noted as errors of C{node}: a name that is none now, one that nobody provides at C{finish}.
        """
        try:
            found = pieces(text)
        except ConfigError as error:
            self.error(error, node)
            found = ()
        template = Template(text, found)
        kind = kind or self.kind
        if template.constant is None:
            if self.finished:
                self._bind(template, node, kind)
            else:
                self._templates.append((template, node, kind))
        return template

    def define(self, variable: Variable, node: Node, *, weak: bool = False) -> None:
        """
        A variable the configuration makes, of the kind of the block being read. What a module provides cannot be made
        anew; of two makers the last wins.

        @param weak: leave it as it is where it was made before.
        """
        name = variable.name.lower()
        variable = replace(variable, kind=self.kind)
        key = (self.kind, name)
        if not name:
            self.error('invalid variable name "$"', node)
        elif self._find(name, self.kind, whole=True) is not None and key not in self._made:
            self.error(f'the duplicate "{name}" variable', node)
        elif not (weak and key in self._made):
            self._made.add(key)
            self._variables[key] = variable

    def knows(self, name: str, kind: str | None = None) -> bool:
        """
        Whether there is such a variable so far.
        """
        return self._find(name.lower(), kind or self.kind) is not None

    def wants(self, *names: str) -> bool:
        """
        Whether a template of C{self.kind} that was read so far has one of these variables.

        @param names: in lower case.
        """
        return any(
            isinstance(piece, Reference) and piece.name in names
            for template, _, of in self._templates
            if of == self.kind
            for piece in template.pieces
        )

    def _find(self, name: str, kind: str, *, whole: bool = False) -> Variable | None:
        """
        @param whole: only one that has just this name.
        """
        found = self._variables.get((kind, name)) or self._variables.get((ANY, name))
        if found is not None or whole:
            return found
        # the longest beginning wins, as in nginx
        for size in range(len(name), 0, -1):
            found = self._prefixes.get((kind, name[:size])) or self._prefixes.get((ANY, name[:size]))
            if found is not None:
                return found
        return None

    def _reader(self, name: str, kind: str) -> Render | None:
        key = (kind, name)
        if key in self._readers:
            return self._readers[key]
        variable = self._find(name, kind)
        reader: Render | None = None
        if variable is not None:
            get = variable.get(name) if variable.prefix else variable.get
            if not variable.volatile:
                reader = cached(name, get)
            elif key in self._made:
                reader = volatile(name, get)
            else:
                reader = direct(get)
        self._readers[key] = reader
        return reader

    def _bind(self, template: Template, node: Node, kind: str) -> None:
        for name in template.bind(lambda name: self._reader(name, kind)):
            self.error(f'unknown "{name}" variable', node)

    def finish(self) -> None:
        """
        Bind the variables of all templates. Templates made later are bound at once.
        """
        self.finished = True
        for template, node, kind in self._templates:
            self.rest()
            self._bind(template, node, kind)
        self._templates.clear()

    def lines(self, node: Node) -> Iterator[Node]:
        """
        The lines of a block of data, of which there may be very many, with a rest now and then.
        """
        for number, line in enumerate(node.block or ()):
            if number % AT_ONCE == 0:
                self.rest()
            yield line

    def forget_lines(self) -> None:
        """
        Let go of the text of blocks of data, which is in their values: it is most of what a big configuration weighs.
        """
        for scope in self._scopes():
            for directive, nodes in scope.nodes.items():
                if directive.free:
                    for node in nodes:
                        node.forget(self.rest)

    def dissolve(self) -> None:
        """
        Let go of all, when nobody uses it any more: what it holds goes round in circles.
        """
        for scope in self._scopes():
            self.rest()
            scope.parent = None
            for held in (scope.children, scope.values, scope.nodes):
                held.clear()
        for known in (self.shared, self._variables, self._prefixes, self._readers):
            known.clear()
        self.nodes = ()

    def _scopes(self) -> Iterator[Scope]:
        scopes = [self.root]
        while scopes:
            scope = scopes.pop()
            scopes += scope.children
            yield scope

    def walk(self, nodes: Sequence[Node], scope: Scope) -> None:
        """
        Check the directives of one block and give their values to its scope.
        """
        before, kind = self.kind, scope.context.split(".")[0]
        for node in nodes:
            self.rest()
            self.kind = kind
            directive = self._which(node, scope)
            if directive is not None:
                self._take(directive, node, scope)
        self.kind = before
        for directive, value in scope.values.items():
            if directive.repeat is Repeat.LISTED:
                scope.values[directive] = tuple(value)

    def _which(self, node: Node, scope: Scope) -> Directive[Any] | None:
        candidates = self.declared.get(node.name, ())
        directive = allowed(candidates, scope.context)
        if directive is None:
            room = scope.context.split(".")[0]
            if node.name == "include":
                # one that is as it should be was replaced by what it includes
                fault = 'invalid number of arguments in "include" directive'
                if node.block is not None:
                    fault = 'directive "include" is not terminated by ";"'
            elif any(context.split(".")[0] == room for each in candidates for context in each.contexts):
                fault = f'"{node.name}" directive is not allowed here'
            else:
                fault = refusal(node.name, room, declared=bool(candidates))
            self.error(fault, node)
            return None
        if (directive.opens is not None or directive.free) and node.block is None:
            self.error(f'directive "{node.name}" has no opening "{{"', node)
            return None
        if directive.opens is None and not directive.free and node.block is not None:
            self.error(f'directive "{node.name}" is not terminated by ";"', node)
            return None
        return directive

    def _take(self, directive: Directive[Any], node: Node, scope: Scope) -> None:
        least, most = directive.arity
        sound = least <= len(node.args) <= most
        if not sound:
            self.error(f'invalid number of arguments in "{node.name}" directive', node)
        elif directive.repeat is Repeat.REFUSED and directive in scope.nodes:
            self.error(f'"{node.name}" directive is duplicate', node)
            sound = False
        if sound:
            scope.nodes.setdefault(directive, []).append(node)
        value: Any = None
        if directive.opens is not None:
            # looked into even when its own line is wrong, for the faults inside
            assert node.block is not None
            value = Scope(directive.opens, node, scope)
            if sound:
                scope.children.append(value)
            self.walk(node.block, value)
        elif sound:
            if directive.free and not self._flat(node):
                return
            try:
                value = directive.convert(node, self, scope)
            except ConfigError as error:
                self.error(error, node)
                return
        if not sound:
            return
        if directive.repeat is Repeat.LISTED:
            # a list while the block is read: there may be a hundred thousand of them
            scope.values.setdefault(directive, []).append(value)
        else:
            scope.values[directive] = value

    def _flat(self, node: Node) -> bool:
        """
        Whether a block of data has no blocks inside.
        """
        assert node.block is not None
        inner = [line for line in node.block if line.block is not None]
        for line in inner:
            self.error('unexpected "{"', line)
        return not inner


def _placed(message: str | ConfigError, node: Node | None) -> ConfigError:
    error = message if isinstance(message, ConfigError) else ConfigError(message)
    return error if node is None else error.at(node.file, node.line)


def configure(
    source: str | bytes,
    modules: Sequence[Any],
    *,
    file: str,
    prefix: str | None = None,
    read: Read = _no_file,
    glob: Glob = _no_glob,
    lookup: Lookup = _no_lookup,
    globals_text: str = "",
    time: Callable[[], float] = lambda: 0.0,
    assemble: Sequence[Callable[[Build], None]] = (),
    rest: Rest = no_rest,
) -> Build:
    """
    Make a configuration of a text: read it, check it, prepare the modules, bind the variables.

    @param source: the main configuration file; bytes, or text that stands for bytes (UTF-8, surrogateescape).
    @param modules: L{sniproxy.interfaces.IModule}s, whose C{prepare} is called in this order.
    @param file: the name of that file; absolute where relative names in it shall mean anything.
    @param prefix: see L{Build}; the folder of the file where None.
    @param read: from a path to bytes; raises OSError.
    @param glob: from a pattern to names.
    @param lookup: from a host name to numeric addresses; raises OSError.
    @param time: wall clock, seconds since the epoch.
    @param assemble: called after every module has been prepared, to make what needs them all.
    @param globals_text: directives of the main context that come before the file, as nginx's C{-g}.
    @param rest: called often, so that something else may be done in between.
    @raise ConfigErrors: all that is wrong, sorted by where it stands.
    """
    build = Build(modules, file=file, prefix=prefix, read=read, lookup=lookup, time=time, rest=rest)
    parser = Parser(posixpath.dirname(file), read, glob, rest)
    build.nodes = parser.parameter(_bytes(globals_text)) + parser.parse(_bytes(source), file)
    build.errors.extend(parser.errors)
    build.walk(build.nodes, build.root)
    if not parser.errors:
        # a tree that was mended by guessing would only bring complaints about the guesses
        for module in build.modules:
            rest()
            module.prepare(build)
        for put_together in assemble:
            put_together(build)
        build.finish()
    if build.errors:
        raise ConfigErrors(_sorted(build.errors, tuple(parser.files)))
    return build


def _one_line(error: ConfigError) -> ConfigError:
    """
    The same error without the control characters that a quoted word may have brought into it.
    """
    message = _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02X}", error.message)
    return ConfigError(message, error.file, error.line)


def _bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")


def _sorted(errors: Sequence[ConfigError], files: Sequence[str]) -> tuple[ConfigError, ...]:
    """
    By file, in the order the files were opened, then by line, each once; what has no place comes last.
    """
    rank = {file: number for number, file in enumerate(files)}
    once = {(error.message, error.file, error.line): _one_line(error) for error in errors}

    def where(error: ConfigError) -> tuple[int, int]:
        return rank.get(error.file or "", len(rank)), error.line or 0

    return tuple(sorted(once.values(), key=where))


__all__ = ["COMMAND_LINE", "Build", "Lookup", "configure"]
