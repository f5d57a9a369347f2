"""
ngx_stream_ssl_preread_module: the server name, protocols and version of a TLS client that is passed through undecrypted.
"""

from __future__ import annotations

from typing import Any, Final

from twisted.plugin import IPlugin
from zope.interface import implementer

from sniproxy.config import values
from sniproxy.config.build import Build
from sniproxy.config.directives import Directive
from sniproxy.config.template import Variable
from sniproxy.interfaces import IModule
from sniproxy.levels import ERROR
from sniproxy.stream.core import PREREAD_BUFFER_SIZE, PREREAD_TIMEOUT
from sniproxy.stream.phases import BAD_REQUEST, DONE, OK, Phase
from sniproxy.stream.preread import Looking
from sniproxy.stream.server import Server
from sniproxy.stream.session import Session
from sniproxy.wire.client_hello import ClientHello, HelloReader, NotTLS, TooLarge

SSL_PREREAD: Final = Directive("ssl_preread", ("stream", "stream.server"), (1, 1), values.flag, False)

_PROTOCOLS: Final = {
    0x0002: "SSLv2",
    0x0300: "SSLv3",
    0x0301: "TLSv1",
    0x0302: "TLSv1.1",
    0x0303: "TLSv1.2",
    0x0304: "TLSv1.3",
}

_VERSION: Final = "ssl_preread version"
"""The key in C{session.notes} of the version an SSL 2 hello asks for."""


class Preread:
    """
    The handler of one server.
    """

    def __init__(self, limit: int, seconds: float) -> None:
        self._limit = limit
        self._seconds = seconds

    def __call__(self, session: Session) -> Any:
        """
        @see: L{sniproxy.interfaces.IPhaseHandler}
        """
        session.action = "prereading client data"
        return Looking(session, HelloReader(self._limit), self._limit, self._decided).begin(self._seconds, _late)

    def _decided(self, session: Session, verdict: Any) -> Any:
        if isinstance(verdict, ClientHello):
            session.hello = verdict
            if session.listening.by_name:
                session.server = session.listening.choose(verdict.server_name, session)
            session.action = ""
            return DONE
        if isinstance(verdict, TooLarge):
            session.log(ERROR, "preread buffer full")
            session.prefix = self._limit
            return BAD_REQUEST
        # Not TLS, or broken: there is no name, and whatever the map has for no name happens.
        if isinstance(verdict, NotTLS) and verdict.version is not None:
            session.notes[_VERSION] = verdict.version
        session.action = ""
        return None


def _late(session: Session) -> None:
    session.finish(OK)


def _server_name(session: Session) -> str | None:
    return None if session.hello is None else session.hello.server_name or ""


def _alpn(session: Session) -> str | None:
    if session.hello is None:
        return None
    return b",".join(session.hello.alpn).decode("utf-8", "surrogateescape")


def _protocol(session: Session) -> str | None:
    hello = session.hello
    if hello is not None:
        return _PROTOCOLS.get(max((known for known in hello.versions if known in _PROTOCOLS), default=0), "")
    version = session.notes.get(_VERSION)
    return None if version is None else _PROTOCOLS.get(version, "")


@implementer(IPlugin, IModule)
class SslPreread:
    """
    The module.
    """

    name = "stream_ssl_preread"
    directives = (SSL_PREREAD,)
    variables = (
        Variable("ssl_preread_server_name", _server_name),
        Variable("ssl_preread_alpn_protocols", _alpn),
        Variable("ssl_preread_protocol", _protocol),
    )

    def prepare(self, build: Build) -> None:
        """
        @see: L{IModule.prepare}
        """

    def attach(self, server: Server, build: Build) -> None:
        """
        @see: L{IModule.attach}
        """
        scope = server.scope
        if scope[SSL_PREREAD]:
            server.handle(Phase.PREREAD, Preread(scope[PREREAD_BUFFER_SIZE], scope[PREREAD_TIMEOUT]))


ssl_preread = SslPreread()
