"""
Tests for L{sniproxy.common.ssl}.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from OpenSSL import SSL
from twisted.plugin import IPlugin
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sniproxy.common.phases import Phase
from sniproxy.common.ssl import HELLO_LIMIT, ssl
from sniproxy.errors import ConfigErrors
from sniproxy.interfaces import IModule
from tests.common import test_ocsp
from tests.support import hellos, pki
from tests.support.sessions import (
    FakeLeg,
    FarEnd,
    World,
    client_connection,
    client_of,
    client_settings,
    configured,
)

VERSIONS = (SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION)


@cache
def identities() -> dict[str, pki.Identity]:
    """
    The clients of nginx's tables of C{ssl_verify_client}, and two servers.
    """
    one, trusted = pki.authority("B's CA"), pki.authority("T's CA")
    return {
        "ca": one,
        "tc": trusted,
        "a.example": pki.leaf(one, "a.example"),
        "b.example": pki.leaf(one, "b.example"),
        "B": pki.leaf(one, "B"),
        "T": pki.leaf(trusted, "T"),
        "U": pki.leaf(pki.authority("Nobody's CA"), "U"),
        "self": pki.self_signed("self"),
        "exp": pki.leaf(one, "exp", validity=pki.EXPIRED),
        "deep": pki.leaf(pki.chain(one, 2), "deep"),
    }


def files() -> dict[str, bytes]:
    """
    All of them, as files.
    """
    found = {}
    for name, identity in identities().items():
        found[f"/etc/{name}.pem"] = identity.full_pem
        found[f"/etc/{name}.key"] = identity.key_pem
    found["/etc/locked.key"] = identities()["a.example"].encrypted_key_pem(b"sesame")
    found["/etc/passwords"] = b"wrong\nsesame\n"
    found["/etc/crl.pem"] = pki.crl(identities()["ca"], identities()["B"])
    return found


CERTIFICATE = "ssl_certificate a.example.pem; ssl_certificate_key a.example.key;"


def server(settings: str = "", listen: str = "192.0.2.1:443 ssl", port: int = 1) -> str:
    """
    A server block.
    """
    return f"server {{ listen {listen}; {settings} proxy_pass 192.0.2.2:{port}; }}\n"


def world(*servers: str) -> World:
    """
    These servers, with a certificate for those that have none.
    """
    return World(CERTIFICATE + "".join(servers or (server(),)), files())


def _gone(data: bytes) -> int:
    """
    Send to nobody.
    """
    raise ConnectionResetError


class SslCase(SynchronousTestCase):
    """
    What tests of this module share.
    """

    def begun(self, world: World, name: str | None = None, **settings: Any) -> FarEnd:
        """
        A client whose handshake went as far as it could.
        """
        return FarEnd(world.client(), client_connection(name, **settings)).shake()

    def assertRefused(self, world: World, leg: FakeLeg, word: str) -> None:
        """
        The session is over with 500, its leg is closed, no upstream heard of it, and the log has a line with this word.
        """
        self.assertEqual((world.statuses(), leg.closed, world.network.attempts), ([500], True, []))
        self.assertEqual(world.runtime.sessions, set())
        self.assertIn(word, world.lines[-1])

    def assertLetIn(self, world: World, far: FarEnd) -> None:
        """
        The session goes on to its upstream, and bytes go both ways.
        """
        self.assertIsNone(far.error)
        upstream = world.attempt().succeed()
        far.say(b"ping")
        self.assertEqual(upstream.taken(), b"ping")
        upstream.arrive(b"pong")
        far.shake()
        self.assertEqual(far.heard, b"pong")


class HandshakeTests(SslCase):
    """
    The road through a handshake.
    """

    def test_both_versions(self) -> None:
        """
        TLS 1.2 and 1.3 clients are let in, and what they say is passed on in plain.
        """
        for version in VERSIONS:
            here = world()
            self.assertLetIn(here, self.begun(here, version=version))

    def test_no_deadline_is_left(self) -> None:
        """
        After the handshake its deadline is over.
        """
        here = world(server("ssl_handshake_timeout 5s; proxy_connect_timeout 1h;"))
        self.begun(here)
        here.pass_time(10)
        self.assertEqual(here.statuses(), [])

    def test_small_pieces(self) -> None:
        """
        A hello that comes byte by byte ends up in OpenSSL whole.
        """
        here = world()
        far = FarEnd(here.client(), client_connection("a.example"))
        hello = far.hello()
        for at in range(len(hello)):
            far.leg.arrive(hello[at : at + 1])
        self.assertLetIn(here, far.shake())

    def test_facts(self) -> None:
        """
        Afterwards the session has its hello, its facts about TLS, and does nothing in particular.
        """
        here = world()
        self.begun(here, "a.example")
        session = here.session()
        self.assertEqual(session.hello and session.hello.server_name, "a.example")
        self.assertTrue(session.tls.judgement.ok)
        self.assertIs(session.tls.connection, session.client.connection)

    def test_plain_address(self) -> None:
        """
        A server that also listens in plain handshakes only where the address says ssl.
        """
        here = world(server(listen="192.0.2.1:443 ssl; listen 192.0.2.1:80"))
        here.client(at=1)
        self.assertEqual(here.attempt().address.port, 1)

    def test_limits_of_preread_do_not_count(self) -> None:
        """
        preread_buffer_size and preread_timeout say nothing here.
        """
        here = world(server("preread_buffer_size 64; preread_timeout 1s;"))
        far = FarEnd(here.client(), client_connection("a.example"))
        here.pass_time(3)
        self.assertLetIn(here, far.shake())


class ChoiceTests(SslCase):
    """
    Which server the handshake is made for.
    """

    def two(self, first: str = "", second: str = "") -> World:
        """
        An open server, and another for b.example.
        """
        return world(
            server("server_name a.example;" + first),
            server(
                "server_name b.example; ssl_certificate b.example.pem; ssl_certificate_key b.example.key;" + second,
                port=2,
            ),
        )

    def subject(self, far: FarEnd) -> str:
        """
        Whose certificate the client was shown.
        """
        certificate = far.connection.get_peer_certificate(as_cryptography=True)
        assert certificate is not None
        return certificate.subject.rfc4514_string()

    def test_certificate_by_name(self) -> None:
        """
        The name chooses the certificate and the content; unknown and missing names get the default server.
        """
        for name, subject, port in (
            ("a.example", "CN=a.example", 1),
            ("B.example", "CN=b.example", 2),
            ("c.example", "CN=a.example", 1),
            (None, "CN=a.example", 1),
        ):
            for version in VERSIONS:
                here = self.two()
                far = self.begun(here, name, version=version)
                self.assertEqual((self.subject(far), here.attempt().address.port), (subject, port))

    def test_policy_by_name(self) -> None:
        """
        The named server's demand for a certificate holds though the default server has none, and the other way round.
        """
        strict = "ssl_verify_client on; ssl_client_certificate ca.pem;"
        for version in VERSIONS:
            here = self.two(second=strict)
            self.assertLetIn(here, self.begun(here, "a.example", version=version))
            here = self.two(second=strict)
            self.assertRefused(here, self.begun(here, "b.example", version=version).leg, "no required SSL certificate")
            here = self.two(first=strict)
            self.assertLetIn(here, self.begun(here, "b.example", version=version))
            here = self.two(first=strict)
            self.assertRefused(here, self.begun(here, "a.example", version=version).leg, "no required SSL certificate")

    def test_no_ticket_opens_another_door(self) -> None:
        """
        A session made under an open server is not resumed under one that demands a certificate.
        """
        for version in VERSIONS:
            here = self.two(second="ssl_verify_client on; ssl_client_certificate ca.pem;")
            settings = client_settings(version=version)
            far = FarEnd(here.client(), client_of(settings, "a.example")).shake()
            self.assertLetIn(here, far)
            session = far.connection.get_session()
            here.session().finish()
            again = FarEnd(here.client(), client_of(settings, "b.example", session)).shake()
            self.assertEqual(here.statuses(), [200, 500])
            self.assertTrue(again.leg.closed)

    def test_malformed(self) -> None:
        """
        A hello that breaks the rules is refused whatever the servers allow, and whatever OpenSSL thinks of it; all that
        it gets to see is an alert.
        """
        for stream in (
            hellos.appended(hellos.hello("b.example"), 0, hellos.name_list(b"a.example")),
            hellos.hello("b example"),
        ):
            for strict in ({"first": "ssl_verify_client off;"}, {"second": "ssl_verify_client off;"}):
                here = self.two(**strict)
                leg = here.client(stream)
                self.assertRefused(here, leg, "SSL_do_handshake() failed (SSL: ")
                answer = leg.taken()
                self.assertEqual((answer[:1], len(answer)), (b"\x15", 7))

    def test_alert(self) -> None:
        """
        Whoever is refused before the handshake is told with an alert.
        """
        here = world()
        leg = here.client(b"\x16\x03\x01\x00\x05hello")
        self.assertRefused(here, leg, "SSL_do_handshake() failed (SSL: error:")
        self.assertEqual(leg.taken()[:1], b"\x15")

    def test_not_tls(self) -> None:
        """
        A plain request to a TLS port is refused in OpenSSL's words.
        """
        here = world()
        self.assertRefused(here, here.client(b"GET / HTTP/1.0\r\n\r\n"), "http request")

    def test_too_large(self) -> None:
        """
        A hello that says it is larger than our own limit is refused when it says so, and one that is by the headers of
        its records when it has got there.
        """
        here = world()
        self.assertRefused(here, here.client(hellos.record(b"\x01\x00\xff\xff")), "SSL_do_handshake() failed (SSL: ")
        here = world()
        leg = here.client(hellos.in_records(hellos.record(b"\x01\x00\xea\x60" + bytes(10000)), 1))
        self.assertFalse(leg.closed)
        leg.arrive(hellos.in_records(hellos.record(bytes(HELLO_LIMIT // 6 - 10000)), 1))
        self.assertRefused(here, leg, "SSL_do_handshake() failed (SSL: ")

    def test_no_context(self) -> None:
        """
        A server that has no certificate on a TLS address lets nobody in, whatever he says.
        """
        for data, word in ((hellos.hello(), 'no "ssl_certificate" is defined'), (b"plain", "NotTLS")):
            here = world()
            here.listening[0].default.tls = None
            self.assertRefused(here, here.client(data), word)


class RejectTests(SslCase):
    """
    C{ssl_reject_handshake}.
    """

    REJECTING = "ssl_reject_handshake on;"

    def assertRejected(self, here: World, far: FarEnd) -> None:
        """
        The client has got the alert unrecognized_name and nothing else, and the log a line of the level info.
        """
        self.assertRefused(here, far.leg, "[info] *1 handshake rejected while SSL handshaking, client: 192.0.2.77, ")
        self.assertIn("unrecognized name", str(far.error))
        self.assertIsNone(far.connection.get_peer_certificate())

    def test_nothing_but_an_alert(self) -> None:
        """
        Whoever comes, with a name or without, gets one alert of seven bytes; no certificate is needed, and one that is
        there is not shown.
        """
        for settings in (self.REJECTING, self.REJECTING + CERTIFICATE):
            for version in VERSIONS:
                for name in ("a.example", None):
                    here = World(server(settings), files())
                    leg = here.client(FarEnd(here.client(), client_connection(name, version=version)).hello())
                    self.assertEqual(leg.taken(), b"\x15\x03\x03\x00\x02\x02\x70")
                    here = World(server(settings), files())
                    self.assertRejected(here, self.begun(here, name, version=version))

    def test_names_that_are_known(self) -> None:
        """
        A default server that rejects leaves the others alone, and one that rejects behind an open one is alone, too.
        """
        for rejecting, first, second in ((1, self.REJECTING, CERTIFICATE), (2, CERTIFICATE, self.REJECTING)):
            for name, place in (("a.example", 1), ("b.example", 2), ("c.example", 1), (None, 1)):
                here = World(
                    server("server_name a.example;" + first) + server("server_name b.example;" + second, port=2),
                    files(),
                )
                far = self.begun(here, name)
                if place == rejecting:
                    self.assertRejected(here, far)
                else:
                    self.assertEqual(here.attempt().address.port, place)
                    self.assertLetIn(here, far)

    def test_wrong_version(self) -> None:
        """
        OpenSSL finds out first what it would refuse anyway, as with nginx.
        """
        here = World(server(self.REJECTING + "ssl_protocols TLSv1.3;"), files())
        self.assertRefused(here, self.begun(here, version=SSL.TLS1_2_VERSION).leg, "unsupported protocol")

    def test_elsewhere(self) -> None:
        """
        Whoever was passed on from another address speaks TLS already: he is let in unless certificates are asked for.
        """
        strict = "ssl_verify_client on; ssl_client_certificate ca.pem;"
        for settings, statuses in (("", []), (strict, [500])):
            here = world("server { listen 192.0.2.1:1 ssl; pass 192.0.2.1:443; }", server(settings))
            self.begun(here)
            self.assertEqual(here.statuses(), statuses)
        here = world(
            "server { listen 192.0.2.1:1 ssl; listen 192.0.2.1:2 ssl; pass $x;" + strict + "}"
            "server { listen 192.0.2.1:3; proxy_pass 192.0.2.2:1; }"
            "map $server_port $x { 1 192.0.2.1:2; 2 192.0.2.1:3; }"
        )
        self.assertLetIn(here, self.begun(here, identity=identities()["B"]))

    def test_gone_while_being_told(self) -> None:
        """
        A client that is gone before it can be told why is no trouble.
        """
        for data in (b"GET / HTTP/1.0\r\n\r\n", hellos.hello("b example")):
            here = world()
            leg = here.client(data[:3])
            self.patch(leg, "send", _gone)
            leg.arrive(data[3:])
            self.assertEqual(here.statuses(), [500])

    def test_malformed(self) -> None:
        """
        What is no hello, or one that breaks the rules, is refused in OpenSSL's words, or rejected.
        """
        for stream, word in (
            (b"GET / HTTP/1.0\r\n\r\n", "http request"),
            (hellos.hello("b example"), "handshake rejected"),
        ):
            here = World(server(self.REJECTING), files())
            self.assertRefused(here, here.client(stream), word)

    def test_its_own_certificate_must_hold(self) -> None:
        """
        Files that a server names which rejects everybody are read all the same.
        """
        text = f"stream {{ {server(self.REJECTING + 'ssl_certificate x.pem; ssl_certificate_key x.key;')} }}"
        (complaint,) = self.assertRaises(ConfigErrors, configured, text, files()).errors
        self.assertIn('cannot load certificate "/etc/x.pem"', str(complaint))


class LentTests(SslCase):
    """
    Servers without a certificate, behind a default server that has one.
    """

    STRICT = "ssl_verify_client on; ssl_client_certificate ca.pem;"

    def two(self, first: str = "", second: str = "") -> World:
        """
        A server with a certificate, and b.example without.
        """
        return World(
            server(CERTIFICATE + first) + server("server_name b.example;" + second, port=2),
            files(),
        )

    def test_certificate_of_the_default(self) -> None:
        """
        Clients of such a server are shown the default server's certificate, and get to the server they asked for.
        """
        for first in ("", "ssl_reject_handshake on;"):
            for version in VERSIONS:
                here = self.two(first)
                far = self.begun(here, "b.example", version=version)
                self.assertEqual(here.attempt().address.port, 2)
                certificate = far.connection.get_peer_certificate(as_cryptography=True)
                assert certificate is not None
                self.assertEqual(certificate.subject.rfc4514_string(), "CN=a.example")
                self.assertLetIn(here, far)

    def test_whose_demands(self) -> None:
        """
        The certificate is asked for as the default server says, and judged as the server says that was asked for.
        """
        good, bad = identities()["B"], identities()["exp"]
        for first, second, admitted, refusal in (
            (self.STRICT, "", (None, good, bad), ""),
            (self.STRICT, "ssl_verify_client on;", (good,), "(10:certificate has expired)"),
            (self.STRICT, "ssl_verify_client optional;", (None, good), "(10:certificate has expired)"),
            ("", self.STRICT, (), "client sent no required SSL certificate"),
            ("", "ssl_verify_client optional;", (None, good, bad), ""),
        ):
            for version in VERSIONS:
                for identity in (None, good, bad):
                    here = self.two(first, second)
                    far = self.begun(here, "b.example", version=version, identity=identity)
                    if identity in admitted:
                        self.assertEqual(here.attempt().address.port, 2)
                    else:
                        word = "no required SSL certificate" if identity is None else refusal
                        self.assertRefused(here, far.leg, word)

    def test_what_was_seen(self) -> None:
        """
        What the default server asked for is in the variables, though nobody cares.
        """
        here = self.two(self.STRICT)
        self.begun(here, "b.example", identity=identities()["exp"])
        session = here.session()
        self.assertEqual(
            here.value("$ssl_client_verify $ssl_client_s_dn", session), "FAILED:certificate has expired CN=exp"
        )

    def test_a_ticket_is_judged_again(self) -> None:
        """
        A session made where nobody cares opens no door where somebody does.
        """
        for identity in (None, identities()["exp"]):
            for version in VERSIONS:
                here = self.two(self.STRICT)
                settings = client_settings(version=version, identity=identity)
                far = FarEnd(here.client(), client_of(settings, "b.example")).shake()
                self.assertLetIn(here, far)
                session = far.connection.get_session()
                here.session().finish()
                FarEnd(here.client(), client_of(settings, "a.example", session)).shake()
                self.assertEqual(here.statuses(), [200, 500])

    def test_nobody_to_lend(self) -> None:
        """
        The default server of an address, and the others where it has no certificate itself, need one: that is an
        error of the line of their C{listen}.
        """
        for first, second, lines in (
            ("ssl_reject_handshake on;", "", [2]),
            ("", CERTIFICATE, [1]),
            ("", "", [1, 2]),
        ):
            text = "stream {" + server(first) + server("server_name b.example;" + second) + "}"
            found = self.assertRaises(ConfigErrors, configured, text, files()).errors
            self.assertEqual([error.line for error in found], lines)
            self.assertIn('no "ssl_certificate" is defined for the "listen ... ssl" directive', str(found[0]))


class BadClientTests(SslCase):
    """
    Clients that do not finish.
    """

    def half(self, here: World) -> FarEnd:
        """
        A client that has got the server's flight and says no more.
        """
        far = FarEnd(here.client(), client_connection("a.example"))
        far.leg.arrive(far.hello())
        self.assertNotEqual(far.leg.taken(), b"")
        return far

    def test_one_deadline(self) -> None:
        """
        ssl_handshake_timeout is counted from the beginning, over the hello and all flights after it.
        """
        here = world(server("ssl_handshake_timeout 5s;"))
        far = FarEnd(here.client(), client_connection("a.example"))
        hello = far.hello()
        far.leg.arrive(hello[:20])
        here.pass_time(3)
        far.leg.arrive(hello[20:])
        here.pass_time(1.9)
        self.assertFalse(far.leg.closed)
        here.pass_time(0.2)
        self.assertRefused(here, far.leg, " connected to ")

    def test_silence(self) -> None:
        """
        A client that says nothing, or half of something, is closed at the same deadline, and that is not told; what
        it has said is read, so that it sees an end and no reset.
        """
        for said in (b"", hellos.hello()[:30]):
            here = world(server("ssl_handshake_timeout 5s;"))
            leg = here.client(said)
            here.pass_time(5.1)
            self.assertRefused(here, leg, " connected to ")
            self.assertEqual(leg.left, b"")

    def test_leaves(self) -> None:
        """
        A client that ends or resets, within the hello or after it, is closed at once.
        """
        for leave in ("end", "lose"):
            here = world()
            leg = here.client(hellos.hello()[:30])
            getattr(leg, leave)()
            self.assertRefused(here, leg, "peer closed connection in SSL handshake")
            here = world()
            leg = self.half(here).leg
            getattr(leg, leave)()
            self.assertRefused(here, leg, "peer closed connection in SSL handshake")

    def test_garbage_afterwards(self) -> None:
        """
        Garbage after a good hello ends the handshake with an alert.
        """
        here = world()
        leg = self.half(here).leg
        leg.arrive(b"garbage")
        self.assertRefused(here, leg, "SSL_do_handshake() failed (SSL: error:")
        self.assertNotEqual(leg.taken(), b"")

    def test_client_refuses_us(self) -> None:
        """
        A client that does not trust our certificate says so by an alert, which the log tells.
        """
        for version in VERSIONS:
            here = world()
            settings = client_settings(version=version)
            settings.set_verify(SSL.VERIFY_PEER, lambda *_: False)
            far = FarEnd(here.client(), client_of(settings)).shake()
            self.assertIsNotNone(far.error)
            self.assertRefused(here, far.leg, "alert")

    def test_too_old(self) -> None:
        """
        A client without a version in common is refused.
        """
        here = world(server("ssl_protocols TLSv1.3;"))
        far = self.begun(here, version=SSL.TLS1_2_VERSION)
        self.assertIsNotNone(far.error)
        self.assertRefused(here, far.leg, "unsupported protocol")


class JudgementTests(SslCase):
    """
    nginx's table of C{ssl_verify_client}, effect by effect; L{tests.tls.test_verify} has all of its rows.
    """

    CC = "ssl_client_certificate ca.pem;"
    TC = "ssl_trusted_certificate tc.pem;"

    def let_in(self, settings: str, who: str, version: int) -> bool:
        """
        Whether a client with this certificate gets to the upstream, the first time and with the ticket it got.
        """
        identity = identities().get(who)
        here = world(server(settings))
        context = client_settings(version=version, identity=identity)
        far = FarEnd(here.client(), client_of(context)).shake()
        first = bool(here.network.attempts)
        if not first:
            self.assertEqual((here.statuses(), far.leg.closed), ([500], True))
        session = far.connection.get_session()
        if session is not None:
            again = FarEnd(here.client(), client_of(context, session=session)).shake()
            self.assertEqual(len(here.network.attempts), 2 if first else 0, f"{who} resumed with {settings}")
            self.assertEqual(again.leg.closed, not first)
        return first

    def test_rows(self) -> None:
        """
        In each mode the same clients are let in and refused as by nginx, also when they come back with their ticket.
        """
        for settings, admitted in (
            ("ssl_verify_client off;", "none B T U self exp"),
            ("ssl_verify_client on;" + self.CC, "B"),
            ("ssl_verify_client on;" + self.CC + self.TC, "B T"),
            ("ssl_verify_client optional;" + self.CC, "none B"),
            ("ssl_verify_client optional;" + self.CC + self.TC, "none B T"),
            ("ssl_verify_client optional_no_ca;", "none B T U self"),
            ("ssl_verify_client optional_no_ca;" + self.TC, "none B T U self"),
            ("ssl_verify_client optional_no_ca;" + self.CC, "none B T U self"),
        ):
            for version in VERSIONS:
                found = [who for who in ("none", "B", "T", "U", "self", "exp") if self.let_in(settings, who, version)]
                self.assertEqual(" ".join(found), admitted, settings)

    def test_depth(self) -> None:
        """
        A chain is let in as deep as ssl_verify_depth says.
        """
        chain = identities()["deep"]
        for depth, admitted in ((1, False), (2, True)):
            here = world(server(f"ssl_verify_client on; {self.CC} ssl_verify_depth {depth};"))
            settings = client_settings(identity=chain)
            for each in chain.chain:
                settings.add_extra_chain_cert(each)
            FarEnd(here.client(), client_of(settings)).shake()
            self.assertEqual(bool(here.network.attempts), admitted)

    def test_revoked(self) -> None:
        """
        A certificate on the list of C{ssl_crl} is refused.
        """
        here = world(server(f"ssl_verify_client on; {self.CC} ssl_crl crl.pem;"))
        far = self.begun(here, identity=identities()["B"])
        self.assertRefused(here, far.leg, "client SSL certificate verify error: (23:certificate revoked)")

    def test_why(self) -> None:
        """
        The log says why, and the variables what was found.
        """
        here = world(server("ssl_verify_client on;" + self.CC))
        far = self.begun(here, identity=identities()["exp"])
        self.assertRefused(here, far.leg, "client SSL certificate verify error: (10:certificate has expired)")
        self.assertEqual(here.value("$ssl_client_verify"), "FAILED:certificate has expired")


class DirectiveTests(SslCase):
    """
    What may be said, and what is wrong.
    """

    def complaints(self, settings: str, listen: str = "443 ssl") -> list[str]:
        """
        What is wrong with one server.
        """
        text = f"stream {{\nserver {{\nlisten {listen}; proxy_pass 192.0.2.2:1;\n{settings}\n}}\n}}"
        return [str(error) for error in self.assertRaises(ConfigErrors, configured, text, files()).errors]

    def test_interfaces(self) -> None:
        """
        The module is a plugin and a module.
        """
        self.assertTrue(verifyObject(IModule, ssl))
        self.assertTrue(IPlugin.providedBy(ssl))

    def test_no_certificate(self) -> None:
        """
        A TLS address without a certificate, and a certificate without its key, are refused with nginx's words and
        lines.
        """
        self.assertEqual(
            self.complaints(""),
            ['no "ssl_certificate" is defined for the "listen ... ssl" directive in /etc/edge.conf:3'],
        )
        self.assertEqual(
            self.complaints("ssl_certificate a.example.pem;"),
            ['no "ssl_certificate_key" is defined for the "listen ... ssl" directive in /etc/edge.conf:3'],
        )

    def test_files_of_plain_servers(self) -> None:
        """
        Where no address speaks TLS the files are never opened and need not exist.
        """
        here = World(server("ssl_certificate nowhere.pem; ssl_certificate_key nowhere.key;", "443"))
        self.assertIsNone(here.listening[0].default.tls)

    def test_unreadable(self) -> None:
        """
        A file that cannot be read, and a key that is another's, are errors of the line of the certificate.
        """
        (complaint,) = self.complaints("ssl_certificate nowhere.pem;\nssl_certificate_key a.example.key;")
        self.assertIn('cannot load certificate "/etc/nowhere.pem"', complaint)
        self.assertTrue(complaint.endswith(" in /etc/edge.conf:4"))
        (complaint,) = self.complaints("ssl_certificate a.example.pem;\nssl_certificate_key b.example.key;")
        self.assertIn("key values mismatch", complaint)

    def test_trusted_is_enough(self) -> None:
        """
        An authority that is trusted and not advertised is enough to verify clients by.
        """
        for mode in ("on", "optional"):
            here = world(server(f"ssl_verify_client {mode}; ssl_trusted_certificate a.example.pem;"))
            self.assertEqual(here.build.errors, [])

    def test_verify_without_authority(self) -> None:
        """
        Verifying clients needs to know by whose signature.
        """
        for mode in ("on", "optional"):
            self.assertEqual(
                self.complaints(f"{CERTIFICATE}\nssl_verify_client {mode};"),
                ["no ssl_client_certificate or ssl_trusted_certificate for ssl_verify_client in /etc/edge.conf:5"],
            )


class StatusTests(test_ocsp.ClientCase):
    """
    Clients whose certificates are asked about; L{tests.common.test_ocsp} has the questions.
    """

    def test_asked(self) -> None:
        """
        The handshake goes on with the answer: a client that is good is let in, and no other.
        """
        for word, statuses in (("good", [200]), ("revoked", [500])):
            here = test_ocsp.world("ssl_ocsp on; ssl_ocsp_cache shared:a:1m;")
            self.come(here)
            self.assertEqual(here.statuses(), [])
            self.answer(here, "client", word)
            self.assertEqual(here.statuses(), statuses)
            self.come(here)  # the answer is known at once
            self.assertEqual(here.statuses(), 2 * statuses)

    def test_no_chain(self) -> None:
        """
        A client without a verified chain is not let in.
        """
        here = test_ocsp.world("ssl_ocsp on;")
        self.patch(SSL.Connection, "get_verified_chain", lambda *_, **__: None)
        self.come(here)
        self.assertEqual((here.statuses(), here.network.attempts), ([500], []))


class NamedTests(SslCase):
    """
    Certificates named by variables; L{tests.common.test_ssl_settings} has the names.
    """

    def test_named(self) -> None:
        """
        The handshake is made with the named certificate, be it of the server or of the one that lends it.
        """
        named = "ssl_certificate $ssl_server_name.pem; ssl_certificate_key $ssl_server_name.key;"
        here = World(server(named) + server("server_name b.example;", port=2), files())
        for name, port in (("a.example", 1), ("b.example", 2)):
            far = self.begun(here, name)
            certificate = far.connection.get_peer_certificate(as_cryptography=True)
            assert certificate is not None
            self.assertEqual(certificate.subject.rfc4514_string(), f"CN={name}")
            self.assertEqual(here.network.attempts[-1].address.port, port)


class LenientTests(SslCase):
    """
    Servers that have words of their own for whom they do not want.
    """

    def lenient(self, settings: str = "") -> World:
        """
        Such a server, whose content takes every session and leaves it as it is.
        """
        here = world(server(settings))
        default = here.listening[0].default
        default.lenient = True
        default.content = lambda session: None
        return here

    def test_refused_certificates(self) -> None:
        """
        Content takes a client whatever was said of its certificate, and knows what that was; the log does not.
        """
        for name, text, message in (
            ("B", "SUCCESS", ""),
            (None, "NONE", "client sent no required SSL certificate"),
            (
                "exp",
                "FAILED:certificate has expired",
                "client SSL certificate verify error: (10:certificate has expired)",
            ),
        ):
            here = self.lenient("ssl_verify_client on; ssl_client_certificate ca.pem;")
            far = self.begun(here, identity=None if name is None else identities()[name])
            self.assertTrue(far.done)
            session = here.session()
            judgement = session.tls.judgement
            self.assertEqual((judgement.text, judgement.message, judgement.ok), (text, message, not message))
            self.assertEqual((session.action, session.plain_on_tls, len(here.lines)), ("", False, 1))
            self.assertEqual(here.value("$ssl_client_verify", session), text)

    def test_plain(self) -> None:
        """
        A client that speaks something else comes to content in plain, with all that it has said; one that begins as
        TLS does, or as SSL 2 does, is refused as anywhere.
        """
        here = self.lenient()
        leg = here.client(b"GET / HTTP/1.0\r\n\r\n")
        session = here.session()
        self.assertEqual((session.plain_on_tls, session.tls, session.action), (True, None, ""))
        self.assertEqual(session.client.receive(100), b"GET / HTTP/1.0\r\n\r\n")
        self.assertEqual(bytes(leg.sent), b"")
        here.pass_time(61)
        self.assertEqual(here.statuses(), [])
        for said in (b"\x16\x04garbage", b"\x80garbage"):
            here = self.lenient()
            self.assertRefused(here, here.client(said), "SSL_do_handshake() failed")

    def test_plain_elsewhere(self) -> None:
        """
        Other servers refuse it.
        """
        here = world()
        self.assertRefused(here, here.client(b"GET / HTTP/1.0\r\n\r\n"), "SSL_do_handshake() failed")

    def test_settings(self) -> None:
        """
        What the server says of protocols and of time is what holds.
        """
        here = world(server("ssl_alpn x; ssl_handshake_timeout 5s;"))
        default = here.listening[0].default
        default.alpn = ("h2", "http/1.1")
        default.opening_timeout = 2.0
        default.phases[Phase.SSL].clear()
        ssl.attach(default, here.build)
        assert default.tls is not None
        self.assertEqual(default.tls.policy.alpn, ("h2", "http/1.1"))
        leg = here.client()
        here.pass_time(1.9)
        self.assertFalse(leg.closed)
        here.pass_time(0.2)
        self.assertTrue(leg.closed)
