"""
What stands behind machine A in the demonstration? A web page, and, where no sshd can be had, a greeter in its place.

Both listen from the moment they are made, so that a port that cannot be had is known before anything runs.
"""

from __future__ import annotations

from typing import Any, Final

from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IProtocolFactory
from twisted.internet.protocol import Factory, Protocol
from twisted.protocols.basic import LineReceiver
from twisted.web.resource import Resource
from twisted.web.server import Site

from sniproxy.service.demo.machines import HOST

PATIENCE: Final = 20.0
"""Seconds that a greeter waits for its visitor."""


def greeting(name: str) -> str:
    """
    What a greeter says.
    """
    return f"{name}: a greeter in place of sshd"


class Greeter(LineReceiver):
    """
    Says its name at once and ends at the first empty line, or when nothing more comes. An HTTP client that takes an
    answer without a header can talk to it, and so can C{openssl s_client}.
    """

    delimiter = b"\n"
    MAX_LENGTH = 4096
    transport: Any

    def __init__(self, name: str, reactor: Any) -> None:
        """
        @param reactor: C{IReactorTime}.
        """
        self._name = name
        self._reactor = reactor

    def connectionMade(self) -> None:
        """
        Greet.
        """
        self._end = self._reactor.callLater(PATIENCE, self.transport.abortConnection)
        self.transport.write(f"{greeting(self._name)}\n".encode("ascii"))

    def lineReceived(self, line: bytes) -> None:
        """
        Listen until there is nothing more to be said.
        """
        if not line.strip():
            self.transport.loseConnection()

    def connectionLost(self, reason: Any = None) -> None:
        """
        Forget the visitor.
        """
        if self._end.active():
            self._end.cancel()


class _Greeters(Factory):
    """
    A greeter for each visitor.
    """

    noisy = False

    def __init__(self, name: str, reactor: Any) -> None:
        self._name = name
        self._reactor = reactor

    def buildProtocol(self, addr: Any) -> Protocol:
        """
        One more.
        """
        return Greeter(self._name, self._reactor)


class _Page(Resource):
    """
    One text for every path.
    """

    isLeaf = True

    def __init__(self, text: bytes) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._text = text

    def render_GET(self, request: Any) -> bytes:
        """
        The text.
        """
        request.setHeader(b"content-type", b"text/plain; charset=utf-8")
        return self._text


class Backend(Service):
    """
    A server behind A. Owns its listening port.
    """

    def __init__(self, factory: IProtocolFactory, port: int, reactor: Any) -> None:
        """
        @param reactor: C{IReactorTCP}.
        @raise twisted.internet.error.CannotListenError: the port cannot be had.
        """
        self._port = reactor.listenTCP(port, factory, interface=HOST)

    def stopService(self) -> Deferred[Any]:
        """
        Listen no more.
        """
        super().stopService()  # type: ignore[no-untyped-call]
        return maybeDeferred(self._port.stopListening)


def greeter(name: str, port: int, reactor: Any) -> Backend:
    """
    @see: L{Backend}
    """
    return Backend(_Greeters(name, reactor), port, reactor)


def web(text: str, port: int, reactor: Any) -> Backend:
    """
    @param text: the page.
    @see: L{Backend}
    """
    site = Site(_Page(text.encode("utf-8")), reactor=reactor)  # type: ignore[no-untyped-call]
    site.noisy = False
    return Backend(site, port, reactor)
