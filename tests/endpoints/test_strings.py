"""
Tests of L{sniproxy.endpoints.strings}.
"""

from __future__ import annotations

import os
from typing import Any

from twisted.internet.endpoints import clientFromString, serverFromString
from twisted.internet.interfaces import (
    IStreamClientEndpointStringParserWithReactor,
    IStreamServerEndpointStringParser,
)
from twisted.internet.testing import MemoryReactorClock
from twisted.plugin import getPlugins
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sniproxy.endpoints.client import TLSClientEndpoint
from sniproxy.endpoints.dialing import Over, To
from sniproxy.endpoints.server import TLSServerEndpoint
from sniproxy.endpoints.strings import ClientParser, ServerParser
from tests.endpoints.loopback import HOST, LoopbackCase, reactor
from tests.endpoints.memory import Kept
from tests.support import pki


class StringsCase(SynchronousTestCase):
    """
    A folder of files, which is the working directory.
    """

    def setUp(self) -> None:
        self.reactor: Any = MemoryReactorClock()
        folder = self.mktemp()
        self.authority = pki.authority()
        pki.leaf(self.authority, "a.example").write(folder, "web")
        pki.write(folder, "ca.pem", self.authority.pem)
        pki.write(folder, "crl.pem", pki.crl(self.authority))
        pki.leaf(self.authority, "a.example").write(folder, "locked", b"secret")
        pki.write(folder, "passwords", b"wrong\nsecret\n")
        both = pki.leaf(self.authority, "both.example")
        pki.write(folder, "both.pem", both.full_pem + both.key_pem)
        here = os.getcwd()
        os.chdir(folder)
        self.addCleanup(os.chdir, here)
        self.folder = os.getcwd()

    def refused(self, parse: Any, text: str, *expected: str) -> None:
        error = self.assertRaises(ValueError, parse, text)
        for each in expected:
            self.assertIn(each, str(error))


class ServerStringsTests(StringsCase):
    """
    C{mtls:} for servers.
    """

    def parse(self, text: str) -> TLSServerEndpoint:
        endpoint = serverFromString(self.reactor, text)
        assert isinstance(endpoint, TLSServerEndpoint)
        return endpoint

    def policy(self, text: str) -> Any:
        return self.parse(text).names.contexts[0].policy

    def test_found(self) -> None:
        """
        The parsers are plugins of Twisted, and provide what they say.
        """
        servers = [each for each in getPlugins(IStreamServerEndpointStringParser) if isinstance(each, ServerParser)]
        clients = [
            each for each in getPlugins(IStreamClientEndpointStringParserWithReactor) if isinstance(each, ClientParser)
        ]
        self.assertEqual((len(servers), len(clients)), (1, 1))
        verifyObject(IStreamServerEndpointStringParser, servers[0])
        verifyObject(IStreamClientEndpointStringParserWithReactor, clients[0])

    def test_shortest(self) -> None:
        """
        A port and a certificate are enough; the key may be in the same file.
        """
        endpoint = self.parse("mtls:8443:certificate=both.pem")
        self.assertEqual(endpoint._where, ("", 8443))
        path = os.path.join(self.folder, "both.pem")
        self.assertEqual(endpoint.names.contexts[0].policy.certificates, ((path, path),))

    def test_every_key(self) -> None:
        """
        Each key of a policy arrives where it belongs.
        """
        policy = self.policy(
            "mtls:port=0:interface=127.0.0.1:certificate=locked.pem:certificate_key=locked.key:password_file=passwords"
            ":client_certificate=ca.pem:trusted_certificate=ca.pem:crl=crl.pem:verify_client=optional:verify_depth=6"
            ":protocols=TLSv1.2,TLSv1.3:ciphers=HIGH\\:!aNULL:ciphersuites=TLS_AES_128_GCM_SHA256:ecdh_curve=X25519"
            ":prefer_server_ciphers=on:session_cache=shared\\:x\\:1m:session_tickets=off:session_timeout=1h:alpn=h2,http/1.1"
        )
        self.assertEqual(
            (policy.verify, policy.depth, policy.protocols, policy.ciphers, policy.tls13_ciphers, policy.curves),
            ("optional", 6, ("TLSv1.2", "TLSv1.3"), "HIGH:!aNULL", "TLS_AES_128_GCM_SHA256", "X25519"),
        )
        self.assertEqual(
            (policy.prefer_server_ciphers, policy.session_cache, policy.session_tickets, policy.session_timeout),
            (True, ("shared:x:1m",), False, 3600.0),
        )
        self.assertEqual((policy.alpn, policy.passwords), (("h2", "http/1.1"), (b"wrong", b"secret")))
        for path, file in (
            (policy.client_certificate, "ca.pem"),
            (policy.trusted_certificate, "ca.pem"),
            (policy.crl, "crl.pem"),
        ):
            self.assertEqual(path, os.path.join(self.folder, file))

    def test_short_words(self) -> None:
        """
        The frequent keys have short words too.
        """
        policy = self.policy("mtls:0:certificate=web.pem:key=web.key:client_ca=ca.pem:verify=on:depth=6:trusted=ca.pem")
        self.assertEqual((policy.verify, policy.depth, policy.certificates[0][1][-7:]), ("on", 6, "web.key"))
        self.assertTrue(policy.trusted_certificate)

    def test_endpoint_keys(self) -> None:
        """
        What is the endpoint's own arrives there.
        """
        endpoint = self.parse(
            "mtls:1:interface=\\:\\:1:certificate=web.pem:key=web.key:backlog=7:handshake_timeout=5s:watch=10s"
        )
        self.assertEqual(
            (endpoint._where, endpoint._backlog, endpoint._handshake_timeout, endpoint._watch),
            (("::1", 1), 7, 5.0, 10.0),
        )
        self.assertIsNone(self.parse("mtls:1:certificate=both.pem:watch=off")._watch)
        self.assertIsNone(self.parse("mtls:1:certificate=both.pem:watch=0")._watch)

    def test_over(self) -> None:
        """
        It goes over any other endpoint string.
        """
        endpoint = self.parse("mtls:over=unix\\:/nowhere/socket:certificate=both.pem")
        self.assertEqual(type(endpoint._where).__name__, "UNIXServerEndpoint")

    def test_server_name(self) -> None:
        """
        With names, clients that ask for others are refused, unless one of them is the default.
        """
        names = self.parse("mtls:1:certificate=both.pem:server_name=a.example,*.b.example").names
        self.assertIs(names.choose("a.example"), names.choose("x.b.example"))
        self.assertIsNone(names.choose("c.example"))
        self.assertIsNone(names.choose(None))
        names = self.parse("mtls:1:certificate=both.pem:server_name=a.example:default=a.example").names
        self.assertIsNotNone(names.choose("c.example"))

    def test_certificates(self) -> None:
        """
        A folder of certificates serves the names in them, under one policy.
        """
        text = "mtls:1:certificates=.:client_certificate=ca.pem:verify_client=on"
        os.remove("locked.pem")
        names = self.parse(text).names
        self.assertIsNotNone(names.choose("a.example"))
        self.assertIsNotNone(names.choose("both.example"))
        self.assertIsNone(names.choose("c.example"))
        self.assertEqual({context.policy.verify for context in names.contexts}, {"on"})
        self.assertIsNotNone(self.parse(text + ":default=both.example").names.choose(None))

    def test_refused(self) -> None:
        """
        What is not known, missing, contradictory or wrong is a ValueError that says so.
        """
        good = "mtls:1:certificate=both.pem"
        for text, *expected in (
            (good + ":bogus=1", 'unknown key "bogus"', "verify_client"),
            (good + ":extra", "extra", "key=value"),
            (good + ":port=2", '"port" is given twice'),
            (good + ":key=x:certificate_key=y", '"certificate_key" is given twice'),
            ("mtls:1", '"certificate" or "certificates"'),
            ("mtls:certificate=both.pem", '"port" or "over"'),
            ("mtls:x:certificate=both.pem", '"port"', "number"),
            ("mtls:65536:certificate=both.pem", '"port"', "65536"),
            ("mtls:1:certificate_key=web.key", '"certificate_key" needs'),
            ("mtls:1:certificate=", '"certificate" is empty'),
            (good + ":interface=here", '"here" is not an IP address'),
            (good + ":over=tcp\\:1", '"over" stands for'),
            (good + ":certificates=.", '"certificates" stands for'),
            (good + ":default=a.example", '"default" needs'),
            (good + ":server_name=a.example:default=b.example", '"b.example"'),
            (good + ":server_name=a*b", "a*b"),
            (good + ":server_name=,", '"server_name" is empty'),
            (good + ":verify_client=maybe", '"verify_client" is "maybe"', "optional_no_ca"),
            (good + ":verify_client=on", "no ssl_client_certificate"),
            (good + ":verify_depth=-1", '"verify_depth" is "-1"'),
            (good + ":protocols=TLSv1.4", '"protocols" has "TLSv1.4"'),
            (good + ":session_tickets=yes", '"session_tickets" is "yes"'),
            (good + ":session_timeout=long", '"session_timeout" is "long"'),
            (good + ":alpn=" + "x" * 256, '"alpn"', "too long"),
            (good + ":ciphers=NONSENSE", "SSL_CTX_set_cipher_list"),
            (good + ":password_file=missing", "missing", "No such file"),
            ("mtls:1:certificate=missing.pem", "missing.pem"),
            ("mtls:1:certificate=web.pem:key=both.pem", "key values mismatch"),
            ("mtls:1:certificates=missing", "missing"),
        ):
            self.refused(self.parse, text, *expected)


class ClientStringsTests(StringsCase):
    """
    C{mtls:} for clients.
    """

    def parse(self, text: str) -> TLSClientEndpoint:
        endpoint = clientFromString(self.reactor, text)
        assert isinstance(endpoint, TLSClientEndpoint)
        return endpoint

    def test_shortest(self) -> None:
        """
        A host, a port and somebody to trust are enough: the host is verified, and sent.
        """
        endpoint = self.parse("mtls:a.example:443:trusted=ca.pem")
        way = endpoint.way.way
        assert isinstance(way, To)
        self.assertEqual((way.host, way.port), ("a.example", 443))
        self.assertEqual((endpoint.way.name, endpoint.way.server_name), ("a.example", "a.example"))
        self.assertTrue(endpoint.tls.context.policy.verify)

    def test_every_key(self) -> None:
        """
        Each key arrives where it belongs.
        """
        endpoint = self.parse(
            "mtls:host=192.0.2.1:port=1:certificate=web.pem:certificate_key=web.key:trusted_certificate=ca.pem:crl=crl.pem"
            ":verify=on:verify_depth=3:name=a.example:server_name=off:protocols=TLSv1.3:ciphers=HIGH:alpn=h2"
            ":session_reuse=off:timeout=5s"
        )
        policy = endpoint.tls.context.policy
        self.assertEqual(
            (policy.depth, policy.protocols, policy.ciphers, policy.alpn, policy.session_reuse),
            (3, ("TLSv1.3",), "HIGH", ("h2",), False),
        )
        self.assertEqual(policy.certificates[0][1], os.path.join(self.folder, "web.key"))
        self.assertEqual((endpoint.way.name, endpoint.way.server_name, endpoint._timeout), ("a.example", "", 5.0))

    def test_over(self) -> None:
        """
        It goes over any other endpoint string, and needs a name then.
        """
        endpoint = self.parse("mtls:over=unix\\:/nowhere/socket:name=a.example:trusted=ca.pem")
        self.assertIsInstance(endpoint.way.way, Over)
        self.refused(self.parse, "mtls:over=unix\\:/nowhere/socket:trusted=ca.pem", "no name")

    def test_unverified(self) -> None:
        """
        Nobody is unverified unless it is said.
        """
        self.assertFalse(self.parse("mtls:a.example:1:verify=off").tls.context.policy.verify)
        self.refused(self.parse, "mtls:a.example:1", '"trusted_certificate" is needed')

    def test_refused(self) -> None:
        """
        What is not known, missing, contradictory or wrong is a ValueError that says so.
        """
        good = "mtls:a.example:1:trusted=ca.pem"
        for text, *expected in (
            (good + ":verify_client=on", 'unknown key "verify_client"', "session_reuse"),
            ("mtls:a.example:trusted=ca.pem", '"host" and "port"'),
            (good + ":over=tcp\\:x\\:1", '"over" stands for'),
            (good + ":verify=maybe", '"verify" is "maybe"'),
            (good + ":key=web.key", '"certificate_key" needs'),
            ("mtls:a.example:1:trusted=missing.pem", "missing.pem"),
        ):
            self.refused(self.parse, text, *expected)


class LoopbackTests(LoopbackCase):
    """
    Strings at both ends.
    """

    async def test_both_ends(self) -> None:
        """
        A server and a client that know each other, made from two strings.
        """
        server = serverFromString(
            reactor,
            f"mtls:0:interface={HOST}:certificate={self.web[0]}:key={self.web[1]}:client_ca={self.ca}:verify=on",
        )
        factory = Kept()
        port = await self.opened(server.listen(factory))
        client = clientFromString(
            reactor,
            f"mtls:{HOST}:{port}:certificate={self.me[0]}:key={self.me[1]}:trusted={self.ca}:name=a.example",
        )
        self.assertEqual((await self.ask(client)).heard, b"hello")
        self.assertEqual(factory.made[0].transport.facts.subject, "CN=me")
        await factory.made[0].over
