"""
Tests of L{sniproxy.endpoints.client}.
"""

from __future__ import annotations

import os
import socket
from typing import Any

from OpenSSL.crypto import FILETYPE_PEM
from twisted.internet.defer import Deferred, fail
from twisted.internet.endpoints import SSL4ServerEndpoint, TCP4ClientEndpoint
from twisted.internet.error import ConnectingCancelledError, ConnectionLost, NoProtocol
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.error import TimeoutError as TooLate
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import Certificate, PrivateCertificate
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sniproxy.endpoints import client
from sniproxy.endpoints.client import ClientTLS, TLSClientEndpoint
from sniproxy.endpoints.engine import _engines
from sniproxy.endpoints.failures import CertificateRefused, HandshakeFailed
from sniproxy.errors import ConfigError, TlsFailure
from sniproxy.tls.policies import ClientPolicy, ServerPolicy
from sniproxy.tls.shares import AGREED, offered
from tests.endpoints.loopback import HOST, Asking, LoopbackCase, reactor
from tests.endpoints.memory import Disk, Echo, Kept, MemoryPort, drain
from tests.support import pki
from tests.tls.pump import NOW


class ClientTLSTests(SynchronousTestCase):
    """
    A policy made ready.
    """

    def setUp(self) -> None:
        self.disk = Disk()
        self.trust = self.disk.trust("ca", pki.authority())

    def tls(self, policy: ClientPolicy, **more: Any) -> ClientTLS:
        return ClientTLS(policy, read=self.disk.read, clock=lambda: NOW, **more)

    def test_verifies_unless_told_otherwise(self) -> None:
        """
        The policy's own word, which is off as in nginx, does not count: verification is on, and needs somebody to
        trust.
        """
        self.assertTrue(self.tls(ClientPolicy(trusted_certificate=self.trust, verify=False)).context.policy.verify)
        self.assertRaisesRegex(ConfigError, "no proxy_ssl_trusted_certificate", self.tls, ClientPolicy())
        self.assertFalse(self.tls(ClientPolicy(verify=True), verify=False).context.policy.verify)

    def test_paths(self) -> None:
        """
        Relative paths are against the working directory of now.
        """
        folder = os.path.relpath(self.mktemp())
        files = pki.self_signed("me").write(folder, "me")
        trust = pki.write(folder, "ca.pem", pki.authority().pem)
        policy = ClientTLS(ClientPolicy((tuple(files),), trusted_certificate=trust)).context.policy  # type: ignore[arg-type]
        self.assertEqual(policy.certificates[0][0], os.path.abspath(files.certificate))
        self.assertEqual((policy.trusted_certificate, policy.crl), (os.path.abspath(trust), ""))

    def test_reload(self) -> None:
        """
        Other authorities make another context without sessions; the same ones keep both, and broken ones change
        nothing.
        """
        tls = self.tls(ClientPolicy(trusted_certificate=self.trust))
        context, sessions = tls.context, tls.sessions
        self.assertFalse(tls.reload())
        self.assertIs(tls.sessions, sessions)
        self.disk.files[self.trust] = b""
        self.assertRaises(ConfigError, tls.reload)
        self.assertIs(tls.context, context)
        self.disk.trust("ca", pki.authority("Another"))
        self.assertTrue(tls.reload())
        self.assertIsNot(tls.context, context)
        self.assertIsNot(tls.sessions, sessions)


class InMemoryTests(SynchronousTestCase):
    """
    Over an endpoint in memory, by a clock that stands.
    """

    def setUp(self) -> None:
        self.reactor: Any = MemoryReactorClock()
        self.disk = Disk()
        self.authority = pki.authority()
        self.trust = self.disk.trust("ca", self.authority)
        self.web = self.disk.add("web", pki.leaf(self.authority, "a.example"))
        self.inner: Any = MemoryPort(self.reactor)
        self.factory = Kept()

    def endpoint(self, policy: ClientPolicy | None = None, **more: Any) -> TLSClientEndpoint:
        tls = ClientTLS(policy or ClientPolicy(trusted_certificate=self.trust), read=self.disk.read, clock=lambda: NOW)
        return TLSClientEndpoint(self.reactor, self.inner, tls, **{"name": "a.example", **more})

    def answer(self, web: Any = None) -> Any:
        """
        Shake hands as the far end.

        @return: its connection.
        """
        (line,) = self.inner.lines
        server = self.disk.server(ServerPolicy((web or self.web,))).connection()
        for _ in range(5):
            data = line.heard()
            if data:
                server.bio_write(data)
            try:
                server.do_handshake()
            except Exception:
                pass
            back = drain(server)
            if back and not line.closed:
                line.say(back)
        return server

    def nothing_left(self) -> None:
        self.assertNotIn(self.reactor, _engines)
        self.assertEqual(self.factory.running, 0)

    def test_interface(self) -> None:
        """
        It is a Twisted client endpoint.
        """
        verifyObject(IStreamClientEndpoint, self.endpoint())

    def test_connects(self) -> None:
        """
        The protocol is there once the far end is verified, and when it is over nothing is left.
        """
        connecting = self.endpoint().connect(self.factory)
        self.assertNoResult(connecting)
        server = self.answer()
        self.assertEqual(server.get_servername(), b"a.example")
        protocol: Any = self.successResultOf(connecting)
        self.assertEqual(self.factory.running, 1)
        protocol.transport.loseConnection()
        self.reactor.advance(0)
        self.inner.lines[0].lose()
        self.assertIsNotNone(protocol.lost)
        self.nothing_left()

    def test_no_server_name(self) -> None:
        """
        Without SNI the name is verified and not sent.
        """
        connecting = self.endpoint(server_name=False).connect(self.factory)
        self.assertIsNone(self.answer().get_servername())
        protocol: Any = self.successResultOf(connecting)
        protocol.transport.loseConnection()
        self.reactor.advance(0)

    def test_name_is_needed(self) -> None:
        """
        Over another endpoint the name must be said, unless nobody is verified.
        """
        self.assertRaisesRegex(ValueError, "no name to verify", self.endpoint, name="")
        TLSClientEndpoint(self.reactor, self.inner, ClientPolicy(), verify=False)

    def test_wrong_certificate(self) -> None:
        """
        A certificate of another name, or of a stranger, is CertificateRefused; nothing was sent and nothing is left.
        """
        for web in (
            self.disk.add("b", pki.leaf(self.authority, "b.example")),
            self.disk.add("s", pki.leaf(pki.authority("Another"), "a.example")),
        ):
            self.inner.lines.clear()
            connecting = self.endpoint().connect(self.factory)
            self.answer(web)
            error = self.failureResultOf(connecting, CertificateRefused).value
            self.assertFalse(error.judgement.ok)
            self.assertTrue(self.inner.lines[0].closed)
            self.assertEqual(self.factory.made, [])
            self.inner.lines[0].lose()
            self.nothing_left()

    def test_hook_can_refuse(self) -> None:
        """
        A verify hook that raises refuses the far end.
        """

        def hook(depth: int, certificate: Any, error: int) -> bool:
            raise ZeroDivisionError

        connecting = self.endpoint(ClientPolicy(trusted_certificate=self.trust, hook=hook)).connect(self.factory)
        self.answer()
        self.failureResultOf(connecting, CertificateRefused)

    def test_not_tls(self) -> None:
        """
        A far end that does not speak TLS is HandshakeFailed, with OpenSSL's words.
        """
        connecting = self.endpoint().connect(self.factory)
        self.inner.lines[0].say(b"SSH-2.0-OpenSSH\r\n")
        error = self.failureResultOf(connecting, HandshakeFailed).value
        self.assertIn("wrong version number", error.reasons)
        self.assertIsInstance(error.__cause__, TlsFailure)
        self.inner.lines[0].lose()
        self.nothing_left()

    def test_far_end_leaves(self) -> None:
        """
        A far end that leaves during the handshake is HandshakeFailed without reasons.
        """
        connecting = self.endpoint().connect(self.factory)
        self.inner.lines[0].lose()
        self.assertEqual(self.failureResultOf(connecting, HandshakeFailed).value.reasons, ())
        self.nothing_left()

    def test_no_connection(self) -> None:
        """
        Where there is no connection the other endpoint's failure comes through.
        """
        self.inner.connect = lambda factory: fail(Refused())
        self.failureResultOf(self.endpoint().connect(self.factory), Refused)
        self.nothing_left()

    def test_timeout(self) -> None:
        """
        One deadline covers connection and handshake.
        """
        connecting = self.endpoint(timeout=7.0).connect(self.factory)
        self.reactor.advance(6.9)
        self.assertNoResult(connecting)
        self.reactor.advance(0.2)
        self.failureResultOf(connecting, TooLate)
        self.assertTrue(self.inner.lines[0].closed)
        self.inner.lines[0].lose()
        self.nothing_left()

    def test_cancel(self) -> None:
        """
        Given up during the handshake or before, it fails as Twisted's endpoints do and closes what there is.
        """
        connecting = self.endpoint().connect(self.factory)
        connecting.cancel()
        error = self.failureResultOf(connecting, ConnectingCancelledError).value
        self.assertEqual(error.address.hostname, b"a.example")
        self.assertTrue(self.inner.lines[0].closed)
        self.inner.lines[0].lose()
        self.nothing_left()
        self.inner.connect = lambda factory: Deferred()
        connecting = self.endpoint().connect(self.factory)
        connecting.cancel()
        self.failureResultOf(connecting, ConnectingCancelledError)
        self.nothing_left()

    def test_doubts(self) -> None:
        """
        An upstream gets one key share after a while, until a handshake with it fails, is given up, or ends with a
        certificate that is refused: then OpenSSL chooses the shares again.
        """
        stranger = self.disk.add("stranger", pki.leaf(pki.authority("Another"), "a.example"))

        def leave(connecting: Deferred[Any]) -> None:
            self.inner.lines[0].lose()
            self.failureResultOf(connecting, HandshakeFailed)

        def give_up(connecting: Deferred[Any]) -> None:
            connecting.cancel()
            self.failureResultOf(connecting, ConnectingCancelledError)
            self.inner.lines[0].lose()

        def refuse(connecting: Deferred[Any]) -> None:
            self.answer(stranger)
            self.failureResultOf(connecting, CertificateRefused)
            self.inner.lines[0].lose()

        for failing in (leave, give_up, refuse):
            endpoint = self.endpoint()
            for _ in range(AGREED):
                connecting = endpoint.connect(self.factory)
                self.answer()
                protocol: Any = self.successResultOf(connecting)
                protocol.transport.loseConnection()
                self.reactor.advance(0)
                self.inner.lines.pop().lose()
            failing(endpoint.connect(self.factory))
            self.inner.lines.clear()
            connecting = endpoint.connect(self.factory)
            self.assertEqual(len(offered(self.inner.lines[0].heard())[1]), 2, failing.__name__)
            leave(connecting)
            self.inner.lines.clear()
            self.nothing_left()

    def test_no_protocol(self) -> None:
        """
        A factory that wants none, or raises, fails the attempt and closes the connection.
        """
        for build, expected in ((lambda addr: None, NoProtocol), (lambda addr: 1 / 0, ZeroDivisionError)):
            self.inner.lines.clear()
            self.factory.buildProtocol = build  # type: ignore[method-assign]
            connecting = self.endpoint().connect(self.factory)
            self.answer()
            self.failureResultOf(connecting, expected)
            self.assertTrue(self.inner.lines[0].closed)
            self.inner.lines[0].lose()
            self.nothing_left()

    def test_fault(self) -> None:
        """
        A fault of ours during the handshake fails the attempt and is logged.
        """
        self.patch(client, "judge_server", lambda *args: 1 / 0)
        connecting = self.endpoint().connect(self.factory)
        self.answer()
        self.failureResultOf(connecting, HandshakeFailed)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.inner.lines[0].lose()
        self.nothing_left()

    def test_reload_during_an_attempt(self) -> None:
        """
        An attempt ends under the context it began with.
        """
        endpoint = self.endpoint()
        connecting = endpoint.connect(self.factory)
        self.disk.trust("ca", pki.authority("Another"))
        self.assertTrue(endpoint.reload())
        self.answer()
        protocol: Any = self.successResultOf(connecting)
        protocol.transport.loseConnection()
        self.reactor.advance(0)
        self.assertEqual(len(endpoint.tls.sessions), 0)


class Aborting(Protocol):
    """
    Wants nothing.
    """

    def connectionMade(self) -> None:
        transport: Any = self.transport
        transport.abortConnection()


class LoopbackTests(LoopbackCase):
    """
    Real sockets.
    """

    async def test_mutual(self) -> None:
        """
        Both ends know each other.
        """
        factory = Kept()
        port = await self.listen(factory, self.guarded_policy())
        asking = await self.ask(self.way(port, self.client_policy(certificates=(self.me,))))
        self.assertEqual((asking.heard, asking.facts.subject, asking.facts.verified), (b"hello", "CN=a.example", True))
        self.assertEqual(factory.made[0].transport.facts.subject, "CN=me")
        await factory.made[0].over

    async def test_host_is_the_name(self) -> None:
        """
        Without a name of its own the host is what must be in the certificate, an IP address too.
        """
        web = tuple(pki.leaf(self.authority, "x", names=(HOST,)).write(self.folder, "x"))
        port = await self.listen(Kept(), ServerPolicy((web,)))  # type: ignore[arg-type]
        self.assertEqual((await self.ask(self.way(port, name=""))).heard, b"hello")
        other = await self.listen(Kept())
        await self.assertFailure(self.way(other, name="").connect(Kept()), CertificateRefused)

    async def test_refused_and_refused(self) -> None:
        """
        A refused connection is another failure than a refused certificate.
        """
        with socket.socket() as sock:
            sock.bind((HOST, 0))
            way = self.way(sock.getsockname()[1])
            await self.assertFailure(way.connect(Kept()), Refused)
        port = await self.listen(Kept())
        stranger = self.client_policy(trusted_certificate=self.other_ca)
        await self.assertFailure(self.way(port, stranger).connect(Kept()), CertificateRefused)

    async def test_unverified_when_told(self) -> None:
        """
        verify=False takes whoever is there.
        """
        port = await self.listen(Kept())
        asking = await self.ask(self.way(port, ClientPolicy(), name="nobody", verify=False))
        self.assertEqual((asking.heard, asking.facts.verified), (b"hello", False))

    async def test_late_refusal(self) -> None:
        """
        In TLS 1.3 a far end may refuse our certificate after the handshake: the connection is lost with its alert,
        and no session is kept. In TLS 1.2 the handshake fails.
        """
        with open(self.web[0], "rb") as certificate, open(self.web[1], "rb") as key:
            own = PrivateCertificate.loadPEM(certificate.read() + key.read())
        demanding = own.options(Certificate.load(self.authority.pem, FILETYPE_PEM))
        port = await self.opened(SSL4ServerEndpoint(reactor, 0, demanding, interface=HOST).listen(Kept()))
        tls = ClientTLS(self.client_policy(protocols=("TLSv1.3",)))
        for _ in range(2):
            asking: Any = await self.way(port, tls).connect(Kept(lambda: Asking(b"hello")))
            lost = await asking.over
            self.assertIsInstance(lost, ConnectionLost)
            self.assertIn("certificate required", str(lost.__cause__))
            self.assertEqual(len(tls.sessions), 0)
        older = self.way(port, self.client_policy(protocols=("TLSv1.2",)))
        error: Any = await self.assertFailure(older.connect(Kept()), HandshakeFailed)
        self.assertIn("handshake failure", " ".join(error.reasons))

    async def test_sessions(self) -> None:
        """
        Sessions are kept by place and name, on TLS 1.2 and 1.3, also when a connection is still open.
        """
        for version in ("TLSv1.2", "TLSv1.3"):
            port = await self.listen(Kept())
            tls = ClientTLS(self.client_policy(protocols=(version,)))
            reused = [(await self.ask(self.way(port, tls))).facts.resumed for _ in range(3)]
            self.assertEqual(reused, [False, True, True], version)
            self.assertFalse((await self.ask(self.way(port, tls, server_name=False))).facts.resumed)
            self.assertEqual(len(tls.sessions), 2)

    async def test_aborted_connection(self) -> None:
        """
        A connection that was aborted leaves no session behind.
        """
        factory = Kept()
        port = await self.listen(factory)
        tls = ClientTLS(self.client_policy())
        await self.ask(self.way(port, tls))
        self.assertEqual(len(tls.sessions), 1)
        echo: Any = await self.way(port, tls).connect(Kept(Echo))
        echo.transport.abortConnection()
        await echo.over
        self.assertEqual(len(tls.sessions), 0)
        for each in factory.made:
            await each.over

    async def test_over_another_endpoint(self) -> None:
        """
        It goes over Twisted's own client endpoint as well.
        """
        port = await self.listen(Kept())
        way = TLSClientEndpoint(
            reactor, TCP4ClientEndpoint(reactor, HOST, port), self.client_policy(), name="a.example"
        )
        self.assertEqual((await self.ask(way)).heard, b"hello")

    async def test_localhost(self) -> None:
        """
        A name is looked up by the reactor's resolver.
        """
        port = await self.listen(Kept())
        way = TLSClientEndpoint(reactor, ("localhost", port), self.client_policy(), name="a.example")
        self.assertEqual((await self.ask(way)).heard, b"hello")

    async def test_connection_breaks(self) -> None:
        """
        A reset is a ConnectionLost.
        """
        port = await self.listen(Factory.forProtocol(Aborting))
        echo: Any = await self.way(port).connect(Kept(Echo))
        self.assertIsInstance(await echo.over, ConnectionLost)
