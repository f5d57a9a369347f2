"""
Tests of L{sniproxy.endpoints.server}.
"""

from __future__ import annotations

from io import BytesIO
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from twisted.conch.ssh.factory import SSHFactory
from twisted.conch.ssh.keys import Key
from twisted.conch.ssh.transport import SSHClientTransport
from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import TCP4ServerEndpoint, UNIXClientEndpoint, UNIXServerEndpoint
from twisted.internet.interfaces import IStreamServerEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactorClock
from twisted.protocols.basic import LineReceiver
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import Agent, FileBodyProducer, readBody
from twisted.web.iweb import IAgentEndpointFactory
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site
from zope.interface import implementer
from zope.interface.verify import verifyObject

from sniproxy.endpoints.client import ClientTLS, TLSClientEndpoint
from sniproxy.endpoints.names import ServerNames
from sniproxy.endpoints.server import TLSServerEndpoint
from sniproxy.errors import ConfigError
from sniproxy.tls.policies import ServerPolicy
from tests.endpoints.loopback import HOST, LoopbackCase, reactor
from tests.endpoints.memory import Disk, Kept, MemoryPort, client, shake
from tests.support import pki
from tests.tls.pump import NOW


class InMemoryTests(SynchronousTestCase):
    """
    The endpoint over a port in memory, by a clock that stands.
    """

    def setUp(self) -> None:
        self.reactor: Any = MemoryReactorClock()
        self.disk = Disk()
        self.authority = pki.authority()
        self.web = self.disk.add("web", pki.leaf(self.authority, "a.example"))
        self.inner = MemoryPort(self.reactor)
        self.factory = Kept()

    def endpoint(self, **more: Any) -> TLSServerEndpoint:
        options = {"read": self.disk.read, "clock": lambda: NOW, **more}
        return TLSServerEndpoint(self.reactor, self.inner, ServerPolicy((self.web,)), **options)

    def listen(self, endpoint: TLSServerEndpoint) -> Any:
        port = self.successResultOf(endpoint.listen(self.factory))
        self.addCleanup(port.stopListening)
        return port

    def serial(self) -> Any:
        """
        @return: the number of the certificate that a client sees now.
        """
        connection = client("a.example")
        shake(connection, self.inner.knock())
        return connection.get_peer_certificate(as_cryptography=True).serial_number

    def test_interface(self) -> None:
        """
        It is a Twisted server endpoint.
        """
        verifyObject(IStreamServerEndpoint, self.endpoint())

    def test_factory_is_told(self) -> None:
        """
        The factory hears of the beginning and the end of listening, and nothing stays in the reactor.
        """
        port = self.listen(self.endpoint())
        self.assertEqual(self.factory.running, 1)
        self.successResultOf(port.stopListening())
        self.assertEqual(self.factory.running, 0)
        self.assertEqual((self.reactor.getDelayedCalls(), self.reactor.getReaders()), ([], []))

    def test_watch(self) -> None:
        """
        A renewed certificate is served after a minute without anybody doing anything, and one that does not fit
        changes nothing.
        """
        self.listen(self.endpoint())
        first = self.serial()
        self.disk.add("web", pki.leaf(self.authority, "a.example"))
        self.assertEqual(self.serial(), first)
        self.reactor.advance(60)
        second = self.serial()
        self.assertNotEqual(second, first)
        self.disk.files["/web.key"] = pki.leaf(self.authority).key_pem
        self.reactor.advance(60)
        self.assertEqual(self.serial(), second)

    def test_reload(self) -> None:
        """
        Without a watch the files are read when somebody says so.
        """
        endpoint = self.endpoint(watch=None)
        port = self.listen(endpoint)
        first = self.serial()
        self.disk.add("web", pki.leaf(self.authority, "a.example"))
        self.reactor.advance(600)
        self.assertEqual(self.serial(), first)
        self.assertTrue(endpoint.reload())
        self.assertNotEqual(self.serial(), first)
        self.successResultOf(port.stopListening())

    def test_names_are_shared(self) -> None:
        """
        Endpoints that were given one table have one table.
        """
        names = ServerNames(ServerPolicy((self.web,)), read=self.disk.read)
        one = TLSServerEndpoint(self.reactor, self.inner, names)
        self.assertIs(one.names, names)

    def test_missing_file(self) -> None:
        """
        What cannot be read is said at once and not when somebody comes.
        """
        del self.disk.files["/web.key"]
        self.assertRaisesRegex(ConfigError, "web.key", self.endpoint)

    def test_handshake_timeout(self) -> None:
        """
        A silent client has as long as it was said.
        """
        self.listen(self.endpoint(handshake_timeout=5.0))
        line = self.inner.knock()
        self.reactor.advance(5.1)
        self.assertTrue(line.closed)

    def test_cannot_listen(self) -> None:
        """
        When the port cannot be opened the factory is not started.
        """
        endpoint = TLSServerEndpoint(self.reactor, ("here", 1), ServerPolicy((self.web,)), read=self.disk.read)
        self.failureResultOf(endpoint.listen(self.factory), ValueError)
        self.assertEqual(self.factory.running, 0)


class Lines(LineReceiver):
    """
    Answers each line with its length.
    """

    def lineReceived(self, line: bytes) -> None:
        self.sendLine(b"%d" % len(line))


class AskLines(LineReceiver):
    """
    Sends lines, and notes the answers.
    """

    def __init__(self) -> None:
        self.answers: list[bytes] = []
        self.done: Deferred[Any] = Deferred()

    def connectionMade(self) -> None:
        for length in (0, 1, 5000):
            self.sendLine(b"x" * length)

    def lineReceived(self, line: bytes) -> None:
        self.answers.append(line)
        if len(self.answers) == 3:
            transport: Any = self.transport
            transport.loseConnection()

    def connectionLost(self, reason: Any = None) -> None:
        self.done.callback(self.answers)


class Pages(Resource):
    """
    A page, a large page that is produced bit by bit, and one that tells who asks.
    """

    isLeaf = True
    PIECE = b"0123456789abcdef" * 4096
    PIECES = 64

    def __init__(self) -> None:
        super().__init__()
        self.most = 0
        self.produced = 0

    def render_GET(self, request: Any) -> Any:
        if request.path == b"/who":
            facts = request.channel.transport.facts
            return f"{facts.server_name} {facts.subject} {request.isSecure()}".encode()
        self.request = request
        request.registerProducer(self, True)
        self.going = True
        self.go_on()
        return NOT_DONE_YET

    def render_POST(self, request: Any) -> bytes:
        return b"%d" % len(request.content.read())

    def go_on(self) -> None:
        while self.going and self.produced < self.PIECES:
            self.produced += 1
            self.request.write(self.PIECE)
        if self.produced == self.PIECES:
            self.produced += 1
            self.request.unregisterProducer()
            self.request.finish()

    def pauseProducing(self) -> None:
        self.going = False
        self.most = self.most or self.produced

    def resumeProducing(self) -> None:
        self.going = True
        reactor.callLater(0, self.go_on)

    def stopProducing(self) -> None:
        self.going = False


@implementer(IAgentEndpointFactory)
class By:
    """
    An agent that goes by one endpoint.
    """

    def __init__(self, endpoint: Any) -> None:
        self.endpoint = endpoint

    def endpointForURI(self, uri: Any) -> Any:
        return self.endpoint


class SshFactory(SSHFactory):
    """
    An SSH server with one key and nothing behind it.
    """

    def __init__(self, key: Key) -> None:
        self.key = key

    def getPublicKeys(self) -> Any:
        return {b"ssh-ed25519": self.key.public()}

    def getPrivateKeys(self) -> Any:
        return {b"ssh-ed25519": self.key}


class SshClient(SSHClientTransport):
    """
    Shakes hands and is content.
    """

    def __init__(self) -> None:
        self.secure: Deferred[Any] = Deferred()
        self.over: Deferred[Any] = Deferred()

    def verifyHostKey(self, key: bytes, fingerprint: bytes) -> Any:
        self.host_key = key
        return succeed(True)

    def connectionSecure(self) -> None:
        self.secure.callback(None)

    def connectionLost(self, reason: Any = None) -> None:
        super().connectionLost(reason)
        self.over.callback(None)


class ProtocolsTests(LoopbackCase):
    """
    Twisted's own protocols live on it, over loopback, by sockets of our own and by Twisted's.
    """

    def tls(self) -> ClientTLS:
        return ClientTLS(self.client_policy(certificates=(self.me,)))

    async def site(self, where: Any = (HOST, 0)) -> tuple[Agent, Site]:
        self.pages = Pages()
        site = Site(self.pages)
        port = await self.listen(site, self.guarded_policy(), where)
        return Agent.usingEndpointFactory(reactor, By(self.way(port, self.tls()))), site

    async def test_site(self) -> None:
        """
        twisted.web's Site answers twisted.web's Agent, knows that the connection is secure, and whose it is.
        """
        agent, _ = await self.site()
        response = await agent.request(b"GET", b"https://a.example/who")
        self.assertEqual(await readBody(response), b"a.example CN=me True")

    async def test_site_back_pressure(self) -> None:
        """
        A large body from a producer arrives whole, and the producer is paused on the way; over Twisted's transports
        too.
        """
        for where in ((HOST, 0), TCP4ServerEndpoint(reactor, 0, interface=HOST)):
            agent, _ = await self.site(where)
            response = await agent.request(b"GET", b"https://a.example/large")
            body = await readBody(response)
            self.assertEqual(body, Pages.PIECE * Pages.PIECES)
            self.assertTrue(0 < self.pages.most < Pages.PIECES, self.pages.most)

    async def test_site_upload(self) -> None:
        """
        A large body to the site arrives whole.
        """
        agent, _ = await self.site()
        body: Any = FileBodyProducer(BytesIO(bytes(3_000_000)))
        response = await agent.request(b"POST", b"https://a.example/", None, body)
        self.assertEqual(await readBody(response), b"3000000")

    async def test_lines(self) -> None:
        """
        A LineReceiver on both sides.
        """
        port = await self.listen(Factory.forProtocol(Lines))
        asking: Any = await self.way(port).connect(Factory.forProtocol(AskLines))
        self.assertEqual(await asking.done, [b"0", b"1", b"5000"])

    async def test_ssh(self) -> None:
        """
        conch's server and client agree on keys over it.
        """
        key = Key(Ed25519PrivateKey.generate())
        port = await self.listen(SshFactory(key), self.guarded_policy())
        ssh: Any = await self.way(port, self.tls()).connect(Factory.forProtocol(SshClient))
        await ssh.secure
        self.assertEqual(ssh.host_key, key.public().blob())
        ssh.transport.loseConnection()
        await ssh.over

    async def test_over_a_unix_socket(self) -> None:
        """
        It wraps an endpoint on a unix socket as well.
        """
        path = self.mktemp()
        endpoint = TLSServerEndpoint(reactor, UNIXServerEndpoint(reactor, path), self.guarded_policy())
        port = await endpoint.listen(Kept())
        self.addCleanup(port.stopListening)
        way = TLSClientEndpoint(reactor, UNIXClientEndpoint(reactor, path), self.tls(), name="a.example")
        asking = await self.ask(way)
        self.assertEqual(asking.heard, b"hello")

    async def test_alpn(self) -> None:
        """
        What was agreed on is the transport's negotiatedProtocol, on both sides.
        """
        factory = Kept()
        port = await self.listen(factory, self.open_policy(alpn=("h2", "http/1.1")))
        asking = await self.ask(self.way(port, self.client_policy(alpn=("http/1.1", "x"))))
        self.assertEqual(asking.facts.alpn, "http/1.1")
        self.assertEqual(factory.made[0].transport.negotiatedProtocol, b"http/1.1")
        await factory.made[0].over

    async def test_resumes(self) -> None:
        """
        A second connection resumes, its certificate is known all the same, and both sides say so.
        """
        factory = Kept()
        port = await self.listen(factory, self.guarded_policy())
        tls = self.tls()
        for resumed in (False, True):
            asking = await self.ask(self.way(port, tls))
            self.assertEqual(asking.facts.resumed, resumed)
            facts = factory.made[-1].transport.facts
            self.assertEqual((facts.resumed, facts.subject, facts.verified), (resumed, "CN=me", True))
            await factory.made[-1].over
