"""
ngx_http_try_files_module: C{try_files}, the first of several files that is there, or else somewhere else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from twisted.plugin import IPlugin
from zope.interface import implementer

from sniproxy.common.phases import WAIT
from sniproxy.config import values
from sniproxy.config.build import Build
from sniproxy.config.directives import MANY, Directive, Inherit, Scope
from sniproxy.config.grammar import Node
from sniproxy.config.template import Template
from sniproxy.errors import ConfigError
from sniproxy.http.files import MISSING, SYSTEM, Disk, trouble
from sniproxy.http.roots import BadPath, Root, check
from sniproxy.interfaces import IModule
from sniproxy.levels import CRIT

if TYPE_CHECKING:
    from sniproxy.common.server import Server
    from sniproxy.http.place import Place
    from sniproxy.http.request import Request


@dataclass(frozen=True, slots=True)
class Candidate:
    """
    One name to try.

    @ivar folder: whether it has to be a directory.
    """

    name: Template
    folder: bool


@dataclass(frozen=True, slots=True)
class Trial:
    """
    What one C{try_files} says.

    @ivar otherwise: the path or C{@name} to go to in the end; None where a status is the answer.
    """

    candidates: tuple[Candidate, ...]
    otherwise: Template | None
    status: int


def _try_files(node: Node, build: Build, scope: Scope) -> Trial:
    candidates = []
    for name in node.args[:-1]:
        folder = name.endswith("/")
        candidates.append(Candidate(build.template(name[:-1] if folder else name, node), folder))
    last = node.args[-1]
    if not last.startswith("="):
        return Trial(tuple(candidates), build.template(last, node), 0)
    status = values.number_of(last[1:])
    if status is None or status > 999:
        raise ConfigError(f'invalid code "{last}"')
    return Trial(tuple(candidates), None, status)


TRY_FILES: Final[Directive[Trial | None]] = Directive(
    "try_files", ("http.server", "http.server.location"), (2, MANY), _try_files, None, Inherit.NEVER
)


class TryFiles:
    """
    The handler of one place.
    """

    __slots__ = ("_disk", "_root", "_trial")

    def __init__(self, trial: Trial, root: Root, disk: Disk) -> None:
        self._trial = trial
        self._root = root
        self._disk = disk

    def __call__(self, request: Request) -> Any:
        """
        @see: L{sniproxy.interfaces.IPhaseHandler}
        """
        trial = self._trial
        folder = self._root.folder(request)
        for candidate in trial.candidates:
            name = self._named(candidate.name, request)
            if self._is_there(request, folder + name, name, candidate.folder):
                self._take(request, name, candidate.folder)
                return None
        if trial.otherwise is None:
            return trial.status
        target = self._named(trial.otherwise, request)
        if target.startswith("@"):
            request.named(target)
        else:
            path, question, args = target.partition("?")
            request.redirect(path, args if question else None)
        return WAIT

    def _named(self, template: Template, request: Request) -> str:
        """
        The name below the folder: an C{alias} stands for the location's part of the path.
        """
        name = template.render(request)
        mine = self._root.name
        if mine and template.constant is None and request.uri.startswith(mine) and name.startswith(mine):
            return name[len(mine) :]
        return name

    def _is_there(self, request: Request, path: str, name: str, folder: bool) -> bool:
        try:
            check(name)
            return self._disk.facts(path).is_folder is folder
        except BadPath as problem:
            request.error(str(problem))
        except OSError as error:
            if error.errno not in MISSING:
                request.log(CRIT, f'stat() "{path}" failed {trouble(error)}')
        return False

    def _take(self, request: Request, name: str, folder: bool) -> None:
        root = self._root
        if not root.alias:
            request.uri = name
        elif root.name:
            request.uri = request.uri[: len(root.name)] + name
        elif not folder:
            request.uri = name
            request.notes[Root] = True


@implementer(IPlugin, IModule)
class TryFilesModule:
    """
    The module.
    """

    name = "http_try_files"
    directives = (TRY_FILES,)
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
        trial = place.scope[TRY_FILES]
        if trial is not None:
            place.handle("content", TryFiles(trial, Root(place.scope, build), self.disk))


try_files = TryFilesModule()
