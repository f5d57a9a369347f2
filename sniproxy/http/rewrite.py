"""
ngx_http_rewrite_module: C{set}, C{rewrite}, C{if}, C{break} and C{return}, one after another as they stand in the file.

Strategy: each block's directives become one list of steps when places are made; a step answers as a handler does, so
that whatever is not None ends the list. An C{if} is a step with a list of its own, and, in a location, with the place
that takes the request from then on.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol

from twisted.plugin import IPlugin
from zope.interface import implementer

from sniproxy.common.phases import DONE, WAIT
from sniproxy.config import values
from sniproxy.config.build import Build
from sniproxy.config.directives import MANY, Directive, Inherit, Repeat, Scope
from sniproxy.config.grammar import Node
from sniproxy.config.regex import Regex
from sniproxy.config.template import Template, Variable
from sniproxy.errors import ConfigError
from sniproxy.http.conditions import Condition, condition_of, expression, matches
from sniproxy.http.files import SYSTEM, Disk
from sniproxy.http.phases import FOUND, MOVED_PERMANENTLY
from sniproxy.http.place import Place
from sniproxy.http.return_ import ADDRESSES, CONTEXTS, RETURN, Return, send_elsewhere
from sniproxy.http.types import ContentTypes
from sniproxy.interfaces import IModule
from sniproxy.levels import NOTICE, WARN

if TYPE_CHECKING:
    from sniproxy.common.server import Server
    from sniproxy.http.request import Request

_SERVER: Final = "http.server"
_LOCATION: Final = "http.server.location"
IFS: Final = ("http.server.if", "http.server.location.if")

_INTERNAL_SERVER_ERROR: Final = 500

_ESCAPED: Final = re.compile(rb'[\x00-\x20"#%&+;<>?\\^`{|}\x7f-\xff]')
_ENCODED: Final = re.compile(r"%([0-9A-Fa-f]{2})|(\?)")


class Step(Protocol):
    """
    One directive at work.
    """

    def __call__(self, request: Request) -> Any:
        """
        @return: None to go on with the next one, or what a handler may answer.
        """


class Steps:
    """
    The directives of one block.
    """

    __slots__ = ("_steps",)

    def __init__(self, steps: Sequence[Step]) -> None:
        self._steps = tuple(steps)

    def __call__(self, request: Request) -> Any:
        """
        @see: L{sniproxy.interfaces.IPhaseHandler}
        """
        for step in self._steps:
            answer = step(request)
            if answer is not None:
                return answer
        return None


class Assign:
    """
    C{set}.
    """

    __slots__ = ("_name", "_text")

    def __init__(self, name: str, text: Template) -> None:
        self._name = name
        self._text = text

    def __call__(self, request: Request) -> None:
        """
        @see: L{Step}
        """
        value = self._text.render(request)
        if self._name == "args":
            request.args = value
            request.question = bool(value)
        else:
            request.values[self._name] = value


class Break:
    """
    C{break}: the path stays as it is, and so does the location.
    """

    __slots__ = ()

    def __call__(self, request: Request) -> Any:
        """
        @see: L{Step}
        """
        request.changed = False
        return DONE


class Rewrite:
    """
    C{rewrite}.

    @ivar regex: what the path has to match.
    """

    __slots__ = ("_add", "_args", "_last", "_path", "_question", "_status", "_stay", "log", "regex")

    def __init__(self, regex: Regex, build: Build, node: Node, text: str, flag: str) -> None:
        self.regex = regex
        self.log = False
        self._add = not text.endswith("?")
        if not self._add:
            text = text[:-1]
        self._status = {"redirect": FOUND, "permanent": MOVED_PERMANENTLY}.get(flag, 0)
        if not self._status and text.startswith(ADDRESSES):
            self._status = FOUND
        self._stay = flag == "break"
        self._last = bool(flag)
        path, question, args = text.partition("?")
        self._question = bool(question)
        self._args: Template | None = None
        if self._status:
            path = text
        elif question:
            self._args = build.template(args, node)
        self._path = build.template(path, node)

    def __call__(self, request: Request) -> Any:
        """
        @see: L{Step}
        """
        if not matches(request, self.regex, request.uri, self.log):
            return None
        if self._status:
            self._redirect(request)
            return WAIT
        path = self._path.render(request)
        args = request.args
        if self._args is not None:
            added = args if self._add else ""
            args = _quoted(self._args, request) + (f"&{added}" if added else "")
        elif not self._add:
            args = ""
        request.internal = True
        request.changed = not self._stay
        request.uri, request.args, request.question = path, args, bool(args)
        if self.log:
            request.log(NOTICE, f'rewritten data: "{path}", args: "{args}"')
        if not path:
            request.error("the rewritten URI has a zero length")
            return _INTERNAL_SERVER_ERROR
        return DONE if self._last else None

    def _redirect(self, request: Request) -> None:
        location = _unescaped(_quoted(self._path, request))
        if self._add and request.args:
            location += ("&" if self._question else "?") + request.args
        if self.log:
            request.log(NOTICE, f'rewritten redirect: "{location}"')
        send_elsewhere(request, self._status, location)


def _quoted(template: Template, request: Request) -> str:
    """
    A text whose captures are escaped again where the path was escaped when it came: they are part of arguments now.
    """
    captures = request.captures
    path = request.target.partition("?")[0]
    if captures is None or ("%" not in path and "+" not in path):
        return template.render(request)
    request.captures = tuple([_escaped(each) for each in captures])
    try:
        return template.render(request)
    finally:
        request.captures = captures


def _escaped(text: str) -> str:
    data = text.encode("utf-8", "surrogateescape")
    return _ESCAPED.sub(lambda found: b"%%%02X" % found[0][0], data).decode("ascii")


def _unescaped(text: str) -> str:
    """
    Visible characters of an address that were escaped, up to its arguments, as C{NGX_UNESCAPE_REDIRECT} has it.
    """
    out: list[str] = []
    at = 0
    for found in _ENCODED.finditer(text):
        if found[2]:
            break
        char = chr(int(found[1], 16))
        if "%" < char < "\x7f":
            out += text[at : found.start()], char
            at = found.end()
            if char == "?":
                break
    return "".join((*out, text[at:]))


class If:
    """
    C{if}.
    """

    __slots__ = ("_condition", "_place", "_steps")

    def __init__(self, condition: Condition, steps: Steps, place: Place | None) -> None:
        """
        @param place: what takes the request when it is true; None where nothing changes.
        """
        self._condition = condition
        self._steps = steps
        self._place = place

    def __call__(self, request: Request) -> Any:
        """
        @see: L{Step}
        """
        if not self._condition(request):
            return None
        if self._place is not None:
            request.place = self._place
        return self._steps(request)


class Say:
    """
    C{return}, where it stands.
    """

    __slots__ = ("_said", "_types")

    def __init__(self, said: Return, types: ContentTypes) -> None:
        self._said = said
        self._types = types

    def __call__(self, request: Request) -> Any:
        """
        @see: L{Step}
        """
        return self._said(request, self._types)


# Directives


def _uninitialized(name: str, request: Request) -> None:
    """
    A variable before it was set.
    """
    if request.place.scope[UNINITIALIZED]:
        request.log(WARN, f'using uninitialized "{name}" variable')


def _set(node: Node, build: Build, scope: Scope) -> Assign:
    name, text = node.args
    if not name.startswith("$"):
        raise ConfigError(f'invalid variable name "{name}"')
    name = name[1:].lower()
    if name == "limit_rate" and not build.knows(name):
        raise ConfigError('the "limit_rate" variable is not supported by sniproxy: it is not carried yet')
    if name != "args":
        build.define(Variable(name, partial(_uninitialized, name)), node, weak=True)
    return Assign(name, build.template(text, node))


def _rewrite(node: Node, build: Build, scope: Scope) -> Rewrite:
    pattern, text = node.args[:2]
    flag = node.args[2] if len(node.args) > 2 else ""
    if not text:
        raise ConfigError("empty replacement")
    regex = expression(pattern, False, node, build)
    if flag not in ("", "last", "break", "redirect", "permanent"):
        raise ConfigError(f'invalid parameter "{flag}"')
    return Rewrite(regex, build, node, text, flag)


def _break(node: Node, build: Build, scope: Scope) -> Break:
    return Break()


def _listed(name: str, arity: tuple[int, int], convert: Any) -> Directive[tuple[Any, ...]]:
    return Directive(name, CONTEXTS, arity, convert, (), Inherit.NEVER, Repeat.LISTED)


def _if(context: str, opens: str) -> Directive[tuple[Scope, ...]]:
    return Directive("if", (context,), (1, MANY), values.block, (), Inherit.NEVER, Repeat.LISTED, opens=opens)


SET: Final[Directive[tuple[Assign, ...]]] = _listed("set", (2, 2), _set)
REWRITE: Final[Directive[tuple[Rewrite, ...]]] = _listed("rewrite", (2, 3), _rewrite)
BREAK: Final[Directive[tuple[Break, ...]]] = _listed("break", (0, 0), _break)
IF_IN_SERVER: Final = _if(_SERVER, IFS[0])
IF_IN_LOCATION: Final = _if(_LOCATION, IFS[1])
REWRITE_LOG: Final[Directive[bool]] = Directive("rewrite_log", ("http", *CONTEXTS), (1, 1), values.flag, False)
UNINITIALIZED: Final[Directive[bool]] = Directive(
    "uninitialized_variable_warn", ("http", *CONTEXTS), (1, 1), values.flag, True
)


@implementer(IPlugin, IModule)
class RewriteModule:
    """
    The module.
    """

    name = "http_rewrite"
    directives = (RETURN, SET, REWRITE, BREAK, IF_IN_SERVER, IF_IN_LOCATION, REWRITE_LOG, UNINITIALIZED)
    variables = ()

    def __init__(self, disk: Disk = SYSTEM) -> None:
        self.disk = disk

    def prepare(self, build: Build) -> None:
        """
        @see: L{IModule.prepare}
        """

    def attach(self, server: Server, build: Build) -> None:
        """
        @see: L{IModule.attach}
        """

    def attach_place(self, place: Place, build: Build) -> None:
        """
        @see: L{sniproxy.interfaces.IHttpModule}
        """
        if place.scope.context not in (_SERVER, _LOCATION):
            return  # steps of an if belong to those of the block around it
        steps = self._steps(place.scope, build, place.scope[REWRITE_LOG])
        if steps:
            place.handle("server_rewrite" if place.scope.context == _SERVER else "rewrite", Steps(steps))

    def _steps(self, scope: Scope, build: Build, log: bool) -> list[Step]:
        """
        The directives of one block, in file order.
        """
        types = ContentTypes(scope)
        made: dict[int, Step] = {}
        for directive in (SET, REWRITE, BREAK):
            steps: tuple[Any, ...] = scope.values.get(directive, ())
            made.update((id(node), step) for node, step in zip(scope.nodes.get(directive, ()), steps, strict=False))
        for node, said in zip(scope.nodes.get(RETURN, ()), scope.values.get(RETURN, ()), strict=False):
            made[id(node)] = Say(said, types)
        for rewrite in scope[REWRITE]:
            rewrite.log = log
        for inner in scope.children:
            if inner.context in IFS and inner.node is not None:
                try:
                    made[id(inner.node)] = self._if(inner, inner.node, build, log)
                except ConfigError as error:
                    build.error(error, inner.node)
        block = () if scope.node is None else scope.node.block or ()
        return [made[id(node)] for node in block if id(node) in made]

    def _if(self, scope: Scope, node: Node, build: Build, log: bool) -> If:
        condition = condition_of(node, build, self.disk, log)
        place: Place | None = None
        if scope.context == IFS[1]:
            place = build.shared[Place][scope]
        return If(condition, Steps(self._steps(scope, build, log)), place)


rewrite = RewriteModule()
