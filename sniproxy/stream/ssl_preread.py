"""
ngx_stream_ssl_preread_module: the server name, protocols and version of a TLS client that is passed through
undecrypted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from twisted.plugin import IPlugin
from zope.interface import implementer

from sniproxy.common.phases import BAD_REQUEST, DONE, OK, Phase
from sniproxy.common.preread import Looking
from sniproxy.common.server import Server
from sniproxy.common.session import Session
from sniproxy.common.ssl_errors import level_of, moving
from sniproxy.config import values
from sniproxy.config.build import Build
from sniproxy.config.directives import Directive
from sniproxy.config.template import Variable
from sniproxy.interfaces import IModule
from sniproxy.levels import ERROR
from sniproxy.stream.core import PREREAD_BUFFER_SIZE, PREREAD_TIMEOUT
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

_SEEN: Final = "ssl_preread"
"""
The key in C{session.notes} where something was read that is no ClientHello: the version an SSL 2 hello asks for, or
None.
"""
_INSIDE: Final = "ssl_preread inside"
"""The key in C{session.notes} of a ClientHello that came within TLS of ours."""

READ_AHEAD: Final = (_SEEN, _INSIDE)
"""What a session that begins again elsewhere has to read again."""


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
        if session.listening.udp:
            return None
        session.action = "prereading client data"
        return Looking(session, HelloReader(self._limit), self._limit, self._decided, _failed).begin(self._seconds)

    def _decided(self, session: Session, verdict: Any) -> Any:
        if isinstance(verdict, ClientHello):
            session.action = ""
            if session.tls is not None:
                # The server was chosen before its policy was applied to the client; no second name may lead to another.
                session.notes[_INSIDE] = verdict
                return DONE
            session.hello = verdict
            if session.listening.by_name:
                session.server = session.listening.choose(verdict.server_name, session)
            return DONE
        # Not TLS, or broken: there is no name, and whatever the map has for no name happens.
        if isinstance(verdict, NotTLS) and verdict.version is not None:
            session.notes[_SEEN] = verdict.version
        if isinstance(verdict, TooLarge):
            session.notes[_SEEN] = None
            session.log(ERROR, "preread buffer full")
            return BAD_REQUEST
        session.action = ""
        return None


def _failed(session: Session, error: OSError | None, seen: bool) -> int:
    if error is not None and not isinstance(error, TimeoutError):
        told = moving(error, "recv()", session.tls is not None)
        if told:
            session.log(level_of(error, "client"), told)
    if seen:
        session.notes[_SEEN] = None
    return OK


def _hello(session: Session) -> ClientHello | None:
    """
    What was read by this module, and not by that of TLS with the client.
    """
    return session.hello if session.tls is None else session.notes.get(_INSIDE)


def _of_hello(ask: Callable[[ClientHello], str]) -> Callable[[Session], str | None]:
    """
    A variable: not found before the client has said anything, empty where that was no ClientHello.
    """

    def get(session: Session) -> str | None:
        hello = _hello(session)
        if hello is not None:
            return ask(hello)
        return "" if _SEEN in session.notes else None

    return get


def _alpn(hello: ClientHello) -> str:
    return b",".join(hello.alpn).decode("utf-8", "surrogateescape")


def _protocol(session: Session) -> str | None:
    hello = _hello(session)
    if hello is not None:
        return _PROTOCOLS.get(max((known for known in hello.versions if known in _PROTOCOLS), default=0), "")
    if _SEEN not in session.notes:
        return None
    version: int | None = session.notes[_SEEN]
    return "" if version is None else _PROTOCOLS.get(version, "")


@implementer(IPlugin, IModule)
class SslPreread:
    """
    The module.
    """

    name = "stream_ssl_preread"
    directives = (SSL_PREREAD,)
    variables = (
        Variable("ssl_preread_server_name", _of_hello(lambda hello: hello.sent_name or "")),
        Variable("ssl_preread_alpn_protocols", _of_hello(_alpn)),
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
            server.handle(Phase.PREREAD, Preread(max(1, scope[PREREAD_BUFFER_SIZE]), scope[PREREAD_TIMEOUT]))


ssl_preread = SslPreread()
