"""
ngx_stream_pass_module: C{pass}, which gives a client to another address of this process, as if it had connected there.

Strategy: nothing is connected and no byte is moved: the session begins again at the other address, on the same leg.
What was only looked at is still there to be looked at; TLS that ends here goes on ending here.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from twisted.plugin import IPlugin
from zope.interface import implementer

from sniproxy.addresses import Address
from sniproxy.common.limit_conn import OUTCOME
from sniproxy.common.listen import listenings
from sniproxy.common.listening import Listening
from sniproxy.common.phases import INTERNAL_SERVER_ERROR, OK
from sniproxy.common.server import Server
from sniproxy.common.session import Session
from sniproxy.config.build import Build
from sniproxy.config.directives import Directive, Inherit, Scope
from sniproxy.config.grammar import Node
from sniproxy.config.places import Place, place
from sniproxy.config.template import Template
from sniproxy.errors import ConfigError
from sniproxy.interfaces import IModule
from sniproxy.stream.ssl_preread import READ_AHEAD

MOST: Final = 10
"""How often one client may be passed on."""

PASSES: Final = "pass: how often"
"""The key in C{session.notes}."""

_WILD: Final = ("0.0.0.0", "::")


def address_of(found: Place) -> Address:
    """
    @raise ConfigError: C{no addresses}, since names are not looked up; C{no port}.
    """
    if found.family is None:
        raise ConfigError("no addresses")
    if found.family != "unix" and not found.ports:
        raise ConfigError("no port")
    return Address(found.family, found.host, found.port or 0)


def _target(node: Node, build: Build, scope: Scope) -> Template:
    template = build.template(node.args[0], node)
    if template.constant is not None:
        try:
            found = place(node.args[0])
        except ConfigError as error:
            raise ConfigError(f'{error.message} in "{node.args[0]}" of the "pass" directive') from None
        try:
            address_of(found)
        except ConfigError as error:
            raise ConfigError(f'"pass" directive has {error.message}') from None
    return template


PASS: Final[Directive[Template | None]] = Directive("pass", ("stream.server",), (1, 1), _target, None, Inherit.NEVER)


def listening_for(address: Address, found: Iterable[Listening]) -> Listening | None:
    """
    Which of the addresses a client of C{address} would come in by: it itself, or a wildcard that has its port.
    """
    wild: Listening | None = None
    for listening in found:
        its = listening.address
        if listening.udp:
            continue
        if its == address:
            return listening
        if its.host in _WILD and (its.family, its.port) == (address.family, address.port):
            wild = wild or listening
    return wild


class Passing:
    """
    The content of one server.
    """

    def __init__(self, template: Template) -> None:
        self._template = template

    def __call__(self, session: Session) -> None:
        """
        @see: L{sniproxy.interfaces.IContentHandler}
        """
        session.action = "passing connection to port"
        text = self._template.render(session)
        try:
            address = address_of(place(text))
        except ConfigError as error:
            self._refuse(session, f'{error.message} in pass "{text}"')
            return
        if session.listening.udp:
            self._refuse(session, "cannot pass udp connection")
            return
        if session.tls is not None and session.client.held:
            self._refuse(session, "cannot pass connection with preread data")
            return
        passes = session.notes.get(PASSES, 0) + 1
        if passes > MOST:
            self._refuse(session, "stream pass cycle")
            return
        listening = listening_for(address, listenings(session.runtime.build))
        if listening is None:
            session.error(f'port not found for "{address.text}"')
            session.finish(OK)
            return
        session.notes[PASSES] = passes
        for key in (*READ_AHEAD, OUTCOME):
            session.notes.pop(key, None)
        session.begin_again(listening, address)

    def _refuse(self, session: Session, message: str) -> None:
        session.error(message)
        session.finish(INTERNAL_SERVER_ERROR)


@implementer(IPlugin, IModule)
class Pass:
    """
    The module.
    """

    name = "stream_pass"
    directives = (PASS,)
    variables = ()

    def prepare(self, build: Build) -> None:
        """
        @see: L{IModule.prepare}
        """

    def attach(self, server: Server, build: Build) -> None:
        """
        @see: L{IModule.attach}
        """
        template = server.scope[PASS]
        node = server.scope.where(PASS)
        if template is not None and node is not None:
            server.take_content(Passing(template), node)


pass_ = Pass()
