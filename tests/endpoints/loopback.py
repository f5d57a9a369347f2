"""
Endpoints on loopback, with the real reactor: certificates on disk, ports that the kernel chooses, and a limit on
every wait.
"""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol
from twisted.trial.unittest import TestCase

from sniproxy.endpoints.client import ClientTLS, TLSClientEndpoint
from sniproxy.endpoints.server import TLSServerEndpoint
from sniproxy.tls.policies import ClientPolicy, ServerPolicy
from tests.endpoints.memory import Kept
from tests.support import pki

reactor: Any = _reactor
HOST = "127.0.0.1"


class LoopbackCase(TestCase):
    """
    A folder of certificates, and ports that are closed at the end.

    @ivar web: certificate and key of C{a.example}.
    @ivar me: of a client.
    @ivar ca: path of the authority of both.
    @ivar other_ca: path of an authority of nobody.
    """

    timeout = 20

    def setUp(self) -> None:
        self.folder = self.mktemp()
        self.authority = pki.authority()
        self.web = tuple(pki.leaf(self.authority, "a.example").write(self.folder, "web"))
        self.me = tuple(pki.leaf(self.authority, "me").write(self.folder, "me"))
        self.ca = pki.write(self.folder, "ca.pem", self.authority.pem)
        self.other_ca = pki.write(self.folder, "other.pem", pki.authority("Other").pem)

    def open_policy(self, **more: Any) -> ServerPolicy:
        return ServerPolicy((self.web,), **more)  # type: ignore[arg-type]

    def guarded_policy(self, **more: Any) -> ServerPolicy:
        return self.open_policy(verify="on", client_certificate=self.ca, **more)

    def client_policy(self, **more: Any) -> ClientPolicy:
        return ClientPolicy(**{"trusted_certificate": self.ca, **more})

    async def listen(self, factory: Any, tls: Any = None, where: Any = (HOST, 0), **more: Any) -> int:
        """
        @return: the port of a TLS server, which is closed at the end of the test.
        """
        endpoint = TLSServerEndpoint(reactor, where, tls or self.open_policy(), **more)
        return await self.opened(endpoint.listen(factory))

    async def opened(self, opening: Deferred[Any]) -> int:
        """
        @return: the number of a port, which is closed at the end of the test.
        """
        port = await opening
        self.addCleanup(port.stopListening)
        number: int = port.getHost().port
        return number

    def way(self, port: int, tls: ClientTLS | ClientPolicy | None = None, **more: Any) -> TLSClientEndpoint:
        """
        @return: a TLS client's endpoint to C{port}.
        """
        options = {"name": "a.example", **more}
        return TLSClientEndpoint(reactor, (HOST, port), tls or self.client_policy(), **options)

    async def ask(self, endpoint: Any, data: bytes = b"hello") -> Asking:
        """
        Connect, say C{data}, and wait until it has come back and the connection is over.

        @return: the protocol that did it.
        """
        asking: Asking = await endpoint.connect(Kept(lambda: Asking(data)))
        await asking.over
        return asking


class Asking(Protocol):
    """
    Says something, and is content when it has heard as much.

    @ivar heard: what came.
    @ivar facts: of its connection.
    @ivar over: fires with why the connection was lost.
    """

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.heard = b""
        self.facts: Any = None
        self.over: Deferred[Any] = Deferred()

    def connectionMade(self) -> None:
        transport: Any = self.transport
        self.facts = getattr(transport, "facts", None)
        transport.write(self.data)

    def dataReceived(self, data: bytes) -> None:
        self.heard += data
        if len(self.heard) >= len(self.data):
            transport: Any = self.transport
            transport.loseConnection()

    def connectionLost(self, reason: Any = None) -> None:
        self.over.callback(reason.value)
