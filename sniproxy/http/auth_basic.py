"""
ngx_http_auth_basic_module: who knows a password may come in.

Strategy: the file is read for each request that names somebody, a piece at a time, so that whoever is taken out of it
is out at once. What an answer then demands is kept in C{request.notes}, and a filter of every place says it: pages for
errors are answered elsewhere.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from twisted.plugin import IPlugin
from zope.interface import implementer

from sniproxy.common.contexts import HTTP, LIMIT_EXCEPT
from sniproxy.common.phases import DONE, FORBIDDEN, INTERNAL_SERVER_ERROR
from sniproxy.config.build import Build
from sniproxy.config.directives import Directive, Scope
from sniproxy.config.grammar import Node
from sniproxy.config.template import Template
from sniproxy.http.credentials import credentials
from sniproxy.http.files import SYSTEM, Disk, OpenFile, trouble
from sniproxy.http.passwords import matches
from sniproxy.http.phases import UNAUTHORIZED
from sniproxy.interfaces import IModule
from sniproxy.levels import CRIT, ERROR

if TYPE_CHECKING:
    from sniproxy.common.server import Server
    from sniproxy.http.exchange import Reply
    from sniproxy.http.place import Place
    from sniproxy.http.request import Request

PIECE: Final = 65536
LONGEST: Final = 65536
"""Bytes of a line that are looked at."""

_END: Final = re.compile(rb"[\r:]")
_BROKEN: Final = re.compile(r"[\x00\r\n]")


def _realm(node: Node, build: Build, scope: Scope) -> Template:
    build.shared[AuthBasic] = True
    return build.template(node.args[0], node)


def _file(node: Node, build: Build, scope: Scope) -> Template:
    name = node.args[0]
    return build.template(name if name.startswith("$") else build.path(name), node)


REALM: Final[Directive[Template | None]] = Directive("auth_basic", (*HTTP, LIMIT_EXCEPT), (1, 1), _realm, None)
FILE: Final[Directive[Template | None]] = Directive("auth_basic_user_file", (*HTTP, LIMIT_EXCEPT), (1, 1), _file, None)


@dataclass(frozen=True, slots=True)
class Demanded:
    """
    What the client is told; in C{request.notes} by this class.
    """

    realm: str


class AuthBasic:
    """
    The handler of one place.
    """

    __slots__ = ("_disk", "_file", "_realm")

    def __init__(self, realm: Template, file: Template, disk: Disk) -> None:
        self._realm = realm
        self._file = file
        self._disk = disk

    def __call__(self, request: Request) -> Any:
        """
        @see: L{sniproxy.interfaces.IPhaseHandler}
        """
        realm = self._realm.render(request)
        if realm == "off":
            return None
        found = credentials(request.headers.get("authorization"))
        if found is None:
            request.info("no user/password was provided for basic authentication")
            return _demand(request, realm)
        name, password = found
        path = self._file.render(request)
        call = "open"
        try:
            file = self._disk.open(path)
            call = "pread"
            try:
                known = _look_up(file, name)
            finally:
                file.close()
        except OSError as error:
            missing = error.errno == errno.ENOENT
            request.log(ERROR if missing else CRIT, f'{call}() "{path}" failed {trouble(error)}')
            return FORBIDDEN if missing else INTERNAL_SERVER_ERROR
        shown = name.decode("utf-8", "surrogateescape")
        if known is None:
            request.error(f'user "{shown}" was not found in "{path}"')
            return _demand(request, realm)
        try:
            right = matches(password, known)
        except OSError as error:
            request.log(CRIT, f"crypt_r() failed {trouble(error)}")
            return INTERNAL_SERVER_ERROR
        if right:
            return DONE
        request.error(f'user "{shown}": password mismatch')
        return _demand(request, realm)


def _look_up(file: OpenFile, name: bytes) -> bytes | None:
    """
    @return: what the first line about somebody says; None where there is none.
    """
    wanted = name + b":"
    for line in _lines(file):
        if line.startswith(wanted) and not line.startswith((b"#", b"\r")):
            return _END.split(line[len(wanted) :], maxsplit=1)[0]
    return None


def _lines(file: OpenFile) -> Iterator[bytes]:
    """
    The lines of a file; of one that is too long, its beginning.
    """
    place, begun = 0, b""
    while data := file.read(place, PIECE):
        place += len(data)
        first, *others = data.split(b"\n")
        begun = (begun + first)[:LONGEST]
        for line in others:
            yield begun
            begun = line
    yield begun


def _demand(request: Request, realm: str) -> int:
    request.notes[Demanded] = Demanded(_BROKEN.sub(" ", realm))
    return UNAUTHORIZED


def demand(request: Request, reply: Reply) -> None:
    """
    The filter that says what is demanded, of whoever has not got in.
    """
    demanded = request.notes.get(Demanded)
    if demanded is not None:
        reply.headers.add("WWW-Authenticate", f'Basic realm="{demanded.realm}"')


@implementer(IPlugin, IModule)
class AuthBasicModule:
    """
    The module.
    """

    name = "http_auth_basic"
    directives = (REALM, FILE)
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
        if AuthBasic not in build.shared:
            return
        place.filter(demand)
        realm, file = place.scope[REALM], place.scope[FILE]
        if realm is not None and file is not None:
            place.handle("access", AuthBasic(realm, file, self.disk), late=True)


auth_basic = AuthBasicModule()
