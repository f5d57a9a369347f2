"""
Tests of L{sniproxy.endpoints.terminate}.
"""

from __future__ import annotations

from typing import Any

from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.endpoints.arrivals import Arrivals
from sniproxy.endpoints.names import ServerNames
from sniproxy.endpoints.terminate import Terminate
from sniproxy.tls.policies import ClientPolicy, ServerPolicy
from tests.endpoints.memory import (
    Disk,
    Kept,
    Line,
    arrivals_factory,
    client,
    drain,
    engine,
    exchange,
    heard,
    hello,
    shake,
)
from tests.support import hellos, pki
from tests.tls.pump import NOW


class TerminateCase(SynchronousTestCase):
    """
    A port that ends TLS, in memory.
    """

    def setUp(self) -> None:
        self.reactor, self.engine = engine(self)
        self.disk = Disk()
        self.authority = pki.authority()
        self.trust = self.disk.trust("ca", self.authority)
        self.web = self.disk.add("web", pki.leaf(self.authority, "a.example"))
        self.me = self.disk.add("me", pki.leaf(self.authority, "me"))
        self.stranger = self.disk.add("stranger", pki.leaf(pki.authority("Another"), "stranger"))
        self.open = ServerPolicy((self.web,))
        self.guarded = ServerPolicy((self.web,), verify="on", client_certificate=self.trust)
        self.factory = Kept()

    def serve(self, policies: Any, default: Any = None) -> None:
        names = ServerNames(policies, default, read=self.disk.read, clock=lambda: NOW)
        self.terminate = Terminate(names, self.factory)
        self.arrivals = Arrivals(self.engine, 10.0, self.terminate.take)
        self.addCleanup(self.arrivals.close)

    def line(self) -> Line:
        return Line(arrivals_factory(self.reactor, self.arrivals), self.reactor)

    def visit(self, name: str = "", policy: ClientPolicy | None = None, session: Any = None) -> Any:
        """
        @return: the client's connection after the handshake, the line, and what our side sent, or the error of the
            client.
        """
        connection = client(name, policy, self.disk)
        if session is not None:
            connection.set_session(session)
        line = self.line()
        shake(connection, line)
        return connection, line

    def as_me(self, **more: Any) -> ClientPolicy:
        return ClientPolicy((self.me,), **more)


class TerminateTests(TerminateCase):
    """
    From the hello to the protocol.
    """

    def test_protocol_lives_on_it(self) -> None:
        """
        A client that is let in talks with the factory's protocol, which knows with whom.
        """
        self.serve(self.guarded)
        connection, line = self.visit("a.example", self.as_me())
        connection.send(b"hello")
        exchange(connection, line)
        exchange(connection, line)
        self.assertEqual(heard(connection), b"hello")
        (protocol,) = self.factory.made
        transport = protocol.transport
        self.assertEqual((transport.facts.server_name, transport.facts.subject), ("a.example", "CN=me"))
        self.assertEqual(transport.getPeerCertificate().get_subject().CN, "me")
        self.assertIsNone(transport.negotiatedProtocol)
        self.assertEqual(transport.getPeer().host, "192.0.2.7")
        transport.loseConnection()
        line.heard()
        self.assertTrue(line.closed)

    def test_refused_clients_never_reach_the_factory(self) -> None:
        """
        Without a certificate, or with a stranger's, nobody comes to buildProtocol, in TLS 1.2 and 1.3.
        """
        self.serve(self.guarded)
        for version in ("TLSv1.2", "TLSv1.3"):
            for certificates in ((), (self.stranger,)):
                connection = client("a.example", ClientPolicy(certificates, protocols=(version,)), self.disk)
                line = self.line()
                try:
                    shake(connection, line)
                except SSL.Error:
                    pass
                self.assertTrue(line.closed, (version, certificates))
        self.assertEqual(self.factory.made, [])

    def test_refused_again_with_its_ticket(self) -> None:
        """
        A certificate that was refused is refused again when it comes with the session it was given.
        """
        self.serve(self.guarded)
        for version in ("TLSv1.2", "TLSv1.3"):
            policy = ClientPolicy((self.stranger,), protocols=(version,))
            context = self.disk.client(policy)
            session = None
            for _ in range(3):
                connection = context.connection("a.example")
                if session is not None:
                    connection.set_session(session)
                line = self.line()
                shake(connection, line)
                session = connection.get_session() or session
                self.assertTrue(line.closed, version)
        self.assertEqual(self.factory.made, [])

    def test_policy_of_the_name(self) -> None:
        """
        A guarded name demands a certificate though the default is open, and an open name demands none though the
        default is guarded.
        """
        for default, name, wanted in ((self.open, "guarded.example", 0), (self.guarded, "open.example", 1)):
            self.factory.made.clear()
            self.serve({"guarded.example": self.guarded, "open.example": self.open}, default)
            _, line = self.visit(name)
            self.assertEqual(len(self.factory.made), wanted)
            self.assertEqual(line.closed, not wanted)

    def test_ticket_of_another_name(self) -> None:
        """
        A session that was made under an open name is worth nothing under a guarded one, nor under its equal.
        """
        self.serve({"open.example": self.open, "guarded.example": self.guarded, "twin.example": self.open})
        for version in ("TLSv1.2", "TLSv1.3"):
            self.factory.made.clear()
            context = self.disk.client(ClientPolicy(protocols=(version,)))
            first: Any = context.connection("open.example")
            shake(first, self.line())
            session: Any = first.get_session()
            again = context.connection("open.example")
            again.set_session(session)
            shake(again, self.line())
            twin = context.connection("twin.example")
            twin.set_session(session)
            shake(twin, self.line())
            self.assertEqual([each.transport.facts.resumed for each in self.factory.made], [False, True, False])
            guarded = context.connection("guarded.example")
            guarded.set_session(session)
            line = self.line()
            shake(guarded, line)
            self.assertTrue(line.closed)
            self.assertEqual(len(self.factory.made), 3)

    def test_session_does_not_outlive_a_reload(self) -> None:
        """
        A session that was made under other authorities is refused after the reload that took them away.
        """
        self.serve(self.guarded)
        context = self.disk.client(self.as_me())
        first: Any = context.connection("a.example")
        shake(first, self.line())
        session = first.get_session()
        self.disk.trust("ca", pki.authority("Another"))
        self.assertTrue(self.terminate.names.reload())
        again = context.connection("a.example")
        again.set_session(session)
        line = self.line()
        shake(again, line)
        self.assertTrue(line.closed)
        self.assertEqual(len(self.factory.made), 1)

    def test_depth(self) -> None:
        """
        The depth is that of the policy: a chain with more intermediates is refused.
        """
        deep = self.disk.add("deep", pki.leaf(pki.chain(self.authority, 2), "deep"))
        for depth, wanted in ((1, 0), (2, 1)):
            self.factory.made.clear()
            self.serve(ServerPolicy((self.web,), verify="on", depth=depth, client_certificate=self.trust))
            self.visit("a.example", ClientPolicy((deep,)))
            self.assertEqual(len(self.factory.made), wanted)

    def test_optional(self) -> None:
        """
        optional lets in who shows nothing, and refuses a stranger; optional_no_ca lets the stranger in, unverified.
        """
        for mode, wanted in (("optional", [False]), ("optional_no_ca", [False, False])):
            self.factory.made.clear()
            self.serve(ServerPolicy((self.web,), verify=mode, client_certificate=self.trust))  # type: ignore[arg-type]
            self.visit("a.example")
            self.visit("a.example", ClientPolicy((self.stranger,)))
            self.assertEqual([each.transport.facts.verified for each in self.factory.made], wanted)


class RefusalTests(TerminateCase):
    """
    Hellos that nobody serves.
    """

    def alert(self, data: bytes) -> Any:
        line = self.line()
        line.say(data)
        self.assertTrue(line.closed)
        self.assertEqual(self.factory.made, [])
        heard = line.heard()
        return heard[-1] if heard else None

    def test_unknown_name(self) -> None:
        """
        Without a default an unknown name gets the alert unrecognized_name, and no name missing_extension.
        """
        self.serve({"a.example": self.open})
        self.assertEqual(self.alert(hello("b.example")), 112)
        self.assertEqual(self.alert(hello()), 109)

    def test_malformed_hello_goes_to_nobody(self) -> None:
        """
        A hello that breaks the rules, with two names say, is refused whatever the default allows, though OpenSSL
        never saw it.
        """
        self.serve({"guarded.example": self.guarded}, self.open)
        data = hellos.RECORDED["curl"].stream
        twice = hellos.with_extensions(data, lambda these: [*these, next(each for each in these if each[0] == 0)])
        self.assertEqual(self.alert(twice), 50)

    def test_not_tls(self) -> None:
        """
        What is not TLS is closed without a word.
        """
        self.serve(self.open)
        self.assertIsNone(self.alert(b"GET / HTTP/1.1\r\n\r\n"))

    def test_handshake_fails(self) -> None:
        """
        Where no version is shared OpenSSL's alert goes out and nobody is asked for a protocol.
        """
        self.serve(ServerPolicy((self.web,), protocols=("TLSv1.3",)))
        connection = client("a.example", ClientPolicy(protocols=("TLSv1.2",)), self.disk)
        line = self.line()
        self.assertRaises(SSL.Error, shake, connection, line)
        self.assertTrue(line.closed)
        self.assertEqual(self.factory.made, [])

    def test_deadline_covers_the_handshake(self) -> None:
        """
        A client that says its hello late and then nothing is dropped at the one deadline.
        """
        self.serve(self.open)
        line = self.line()
        self.reactor.advance(9)
        line.say(hello("a.example"))
        self.assertNotEqual(line.heard(), b"")
        self.reactor.advance(1.1)
        self.assertTrue(line.closed)
        self.assertEqual(self.factory.made, [])

    def test_fragments(self) -> None:
        """
        A hello in records of one byte reaches the policy of its name and not the default's.
        """
        self.serve({"guarded.example": self.guarded}, self.open)
        connection = client("guarded.example")
        line = self.line()
        try:
            connection.do_handshake()
        except SSL.WantReadError:
            pass
        line.say(hellos.in_records(drain(connection), 1))
        connection.bio_write(line.heard())
        shake(connection, line)
        self.assertTrue(line.closed)
        self.assertEqual(self.factory.made, [])


class HookTests(TerminateCase):
    """
    A verify hook of the caller's.
    """

    def hooked(self, hook: Any, mode: Any = "on") -> None:
        self.serve(ServerPolicy((self.web,), verify=mode, client_certificate=self.trust, hook=hook))

    def test_sees_every_link(self) -> None:
        """
        It is called with depth, certificate and error of each link, after OpenSSL has decided.
        """
        seen: list[Any] = []

        def hook(depth: int, certificate: Any, error: int) -> bool:
            seen.append((depth, certificate.subject.rfc4514_string(), error))
            return True

        self.hooked(hook)
        self.visit("a.example", self.as_me())
        self.assertEqual(seen, [(1, "CN=Test CA", 0), (0, "CN=me", 0)])
        self.assertEqual(len(self.factory.made), 1)

    def test_can_refuse(self) -> None:
        """
        Its no is a refusal.
        """
        self.hooked(lambda depth, certificate, error: depth > 0)
        _, line = self.visit("a.example", self.as_me())
        self.assertTrue(line.closed)
        self.assertEqual(self.factory.made, [])

    def test_cannot_admit(self) -> None:
        """
        Its yes lets in nobody whom OpenSSL refuses.
        """
        self.hooked(lambda depth, certificate, error: True)
        _, line = self.visit("a.example", ClientPolicy((self.stranger,)))
        self.assertTrue(line.closed)
        self.assertEqual(self.factory.made, [])

    def test_exception_refuses(self) -> None:
        """
        An exception in it is a refusal.
        """

        def hook(depth: int, certificate: Any, error: int) -> bool:
            raise ZeroDivisionError

        self.hooked(hook)
        _, line = self.visit("a.example", self.as_me())
        self.assertTrue(line.closed)
        self.assertEqual(self.factory.made, [])

    def test_is_asked_each_time(self) -> None:
        """
        With a hook nothing is resumed, so that it sees every connection.
        """
        seen: list[int] = []
        self.hooked(lambda depth, certificate, error: not seen.append(depth))  # type: ignore[func-returns-value]
        context = self.disk.client(self.as_me())
        first: Any = context.connection("a.example")
        shake(first, self.line())
        second = context.connection("a.example")
        second.set_session(first.get_session())
        shake(second, self.line())
        self.assertEqual(seen, [1, 0, 1, 0])


class FactoryTests(TerminateCase):
    """
    Factories that want no protocol, or break.
    """

    def test_no_protocol(self) -> None:
        """
        A factory may say None: the connection is closed in good order.
        """
        self.factory.buildProtocol = lambda addr: None  # type: ignore[method-assign]
        self.serve(self.open)
        leases = self.engine._leases
        _, line = self.visit("a.example")
        self.assertTrue(line.closed)
        self.assertEqual(self.engine._leases, leases)

    def test_exception(self) -> None:
        """
        An exception in buildProtocol is logged and costs that connection alone.
        """

        def broken(addr: Any) -> Any:
            raise RuntimeError("no")

        self.serve(self.open)
        self.factory.buildProtocol = broken  # type: ignore[method-assign]
        _, line = self.visit("a.example")
        self.assertTrue(line.closed)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_policies_are_made_ready(self) -> None:
        """
        A policy with real files, and a default beside a mapping, may be given in place of a table.
        """
        folder = self.mktemp()
        files = pki.leaf(self.authority, "a.example").write(folder, "web")
        policy = ServerPolicy((tuple(files),))  # type: ignore[arg-type]
        terminate = Terminate({"a.example": policy}, self.factory, policy)
        self.assertIsNotNone(terminate.names.choose("b.example"))
