"""
C{notice}: tell whoever connects what is written in a file, and hang up. For the port of a service that has moved, or
that is closed today::

    server {
        listen 2222;
        notice closed.txt;
    }

The text may have variables; C{$visits} is how often the client's address has come.
"""

from __future__ import annotations

from typing import Final

from twisted.plugin import IPlugin
from zope.interface import implementer

from sniproxy.common.phases import Phase
from sniproxy.common.server import Server
from sniproxy.common.session import Session
from sniproxy.config.build import Build
from sniproxy.config.directives import Directive, Inherit, Scope
from sniproxy.config.grammar import Node
from sniproxy.config.template import Template, Variable
from sniproxy.errors import ConfigError
from sniproxy.interfaces import IModule
from sniproxy.stream.sending import send_text

LONGEST: Final = 65536
"""Bytes of a text at most."""

MOST: Final = 10_000
"""How many addresses are remembered."""

_VISITS: Final = "notice: visits"
"""The key of ours in C{session.notes}."""


def _text(node: Node, build: Build, scope: Scope) -> Template:
    path = build.path(node.args[0])
    try:
        data = build.read(path)
    except OSError as error:
        raise ConfigError(f'open() "{path}" failed ({error.errno}: {error.strerror})') from None
    if len(data) > LONGEST:
        raise ConfigError(f'"{path}" is longer than {LONGEST} bytes')
    return build.template(data.decode("utf-8", "surrogateescape"), node)


NOTICE: Final = Directive[Template | None]("notice", ("stream.server",), (1, 1), _text, None, Inherit.NEVER)


class Visits:
    """
    How often each address has come. Remembers C{MOST} of them and forgets the one that has stayed away the longest.
    """

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def __call__(self, session: Session) -> None:
        """
        Count one visit, and go on.
        """
        host = session.peer.host
        count = self._counts.pop(host, 0) + 1
        self._counts[host] = count
        if len(self._counts) > MOST:
            del self._counts[next(iter(self._counts))]
        session.notes[_VISITS] = count


def _visits(session: Session) -> str | None:
    count = session.notes.get(_VISITS)
    return None if count is None else str(count)


@implementer(IPlugin, IModule)
class Notice:
    """
    The module.
    """

    name = "notice"
    directives = (NOTICE,)
    variables = (Variable("visits", _visits),)

    def prepare(self, build: Build) -> None:
        """
        One count for all servers of a configuration.
        """
        build.shared[Visits] = Visits()

    def attach(self, server: Server, build: Build) -> None:
        """
        Count the clients of a server that has the directive, and give each of them the text.
        """
        text = server.scope[NOTICE]
        node = server.scope.where(NOTICE)
        if text is None or node is None:
            return
        server.handle(Phase.PREACCESS, build.shared[Visits])
        server.take_content(lambda session: send_text(session, text(session)), node)


notice = Notice()
