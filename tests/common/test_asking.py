"""
Tests for L{sniproxy.common.asking}: one question, and all that can become of it.
"""

from __future__ import annotations

import errno
from base64 import b64decode
from typing import Any
from urllib.parse import unquote

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.addresses import Address
from sniproxy.common.asking import LONGEST, PATIENCE, Asking, Responder, answer_in, responder_of
from sniproxy.errors import ConfigError
from sniproxy.tls.ocsp import OcspError
from tests.support.responses import http
from tests.support.sessions import World

TEXT = "resolver 192.0.2.53; server { listen 1; return x; }"


def lookup(host: str) -> tuple[str, ...]:
    """
    One host is known.
    """
    if host != "known.example":
        raise OSError
    return ("192.0.2.7", "192.0.2.8")


class ResponderTests(SynchronousTestCase):
    """
    URLs.
    """

    def test_places(self) -> None:
        """
        Host, port and path are taken apart; addresses are known of numbers, and of names that can be looked up.
        """
        for url, expected in (
            ("http://192.0.2.1/", Responder("192.0.2.1", 80, "/", (Address("inet", "192.0.2.1", 80),))),
            ("HTTP://192.0.2.1:81", Responder("192.0.2.1", 81, "/", (Address("inet", "192.0.2.1", 81),))),
            ("http://[::1]/a", Responder("[::1]", 80, "/a/", (Address("inet6", "::1", 80),))),
            ("http://any.example:81/a/b/", Responder("any.example", 81, "/a/b/")),
        ):
            self.assertEqual(responder_of(url), expected)
        known = responder_of("http://known.example/x", lookup)
        self.assertEqual([each.text for each in known.addresses], ["192.0.2.7:80", "192.0.2.8:80"])

    def test_wrong(self) -> None:
        """
        What is no such URL is told in nginx's words.
        """
        for url, message in (
            ("https://a/", 'invalid URL prefix in OCSP responder "https://a/"'),
            ("http://", 'invalid URL prefix in OCSP responder "http://"'),
            ("a", 'invalid URL prefix in OCSP responder "a"'),
            ("http://:80/", 'no host in OCSP responder ":80/"'),
            ("http://a:x/", 'invalid port in OCSP responder "a:x/"'),
            ("http://unix:/a", 'no path in the unix domain socket in OCSP responder "unix:/a"'),
            ("http://unknown.example/", 'host not found in OCSP responder "unknown.example/"'),
        ):
            self.assertEqual(self.assertRaises(ConfigError, responder_of, url, lookup).message, message)


class AnswerTests(SynchronousTestCase):
    """
    L{answer_in}.
    """

    def test_good(self) -> None:
        """
        The body is what follows the head, with whatever line ends, and any headers.
        """
        for data in (
            http(b"body"),
            b"HTTP/1.1 200 OK\nServer: x\nContent-type:  Application/OCSP-Response\n\nbody",
            b"HTTP/1.0 200\r\n\r\nbody",
        ):
            self.assertEqual(answer_in(data), b"body")

    def test_bad(self) -> None:
        """
        What is no answer says why.
        """
        for data, message in (
            (b"", "OCSP responder sent invalid response"),
            (b"junk\r\n\r\n", "OCSP responder sent invalid response"),
            (b"HTTP/1.0 OK\r\n\r\n", "OCSP responder sent invalid response"),
            (b"HTTP/1.0 200 OK\r\nContent-Type: text/html\r\n", "OCSP responder sent invalid response"),
            (b"HTTP/1.0 200 OK\r\nno header\r\n\r\n", "OCSP responder sent invalid response"),
            (b"HTTP/1.0 404 no\r\n\r\n", "OCSP responder answered 404"),
            (
                b"HTTP/1.0 200 OK\r\nContent-Type: text/html \r\n\r\n",
                'OCSP responder sent invalid "Content-Type" header: "text/html"',
            ),
        ):
            self.assertEqual(str(self.assertRaises(OcspError, answer_in, data)), message)


class AskingTests(SynchronousTestCase):
    """
    L{Asking}.
    """

    def setUp(self) -> None:
        self.world = World(TEXT)
        self.answers: list[bytes | None] = []
        self.complaints: list[str] = []

    def ask(self, url: str = "http://192.0.2.1/a", settings: Any = None) -> Asking:
        """
        One question under way.
        """
        asking = Asking(
            self.world.runtime, responder_of(url), b"question?", self.answers.append, self.complaints.append
        )
        asking.begin(settings)
        return asking

    def assertFailed(self, message: str, host: str = "192.0.2.1") -> None:
        """
        There was no answer, once, and this is why; nothing is waited for any more.
        """
        self.assertEqual(self.answers, [None])
        self.assertEqual(self.complaints, [f"{message} while requesting certificate status, responder: {host}"])
        self.world.pass_time(PATIENCE + 1)
        self.assertEqual(len(self.answers), 1)

    def test_answered(self) -> None:
        """
        The question is a GET of HTTP/1.0; the answer is the body, when the responder has ended.
        """
        self.ask()
        attempt = self.world.attempt()
        self.assertEqual(attempt.address, Address("inet", "192.0.2.1", 80))
        leg = attempt.succeed()
        request = leg.taken().decode()
        self.assertTrue(request.endswith(" HTTP/1.0\r\nHost: 192.0.2.1\r\n\r\n"))
        path = request.split()[1]
        self.assertEqual(b64decode(unquote(path.removeprefix("/a/"))), b"question?")
        self.assertNotIn("/", path.removeprefix("/a/"))
        answer = http(b"answer")
        for at in range(len(answer)):
            leg.arrive(answer[at : at + 1])
            self.assertEqual(self.answers, [])
        leg.end()
        self.assertEqual((self.answers, self.complaints, leg.closed), ([b"answer"], [], True))
        self.world.pass_time(PATIENCE + 1)
        self.assertEqual(len(self.answers), 1)

    def test_slow_responder(self) -> None:
        """
        A responder that takes the question in pieces gets all of it.
        """
        self.ask()
        attempt = self.world.attempt()
        attempt.answered = True
        from tests.support.sessions import FakeLeg

        leg = FakeLeg(self.world.network, attempt.address, attempt.address)
        leg.watch()
        leg.room = 10
        attempt._done(leg, leg.ready())
        asked = b""
        while piece := leg.taken():
            asked += piece
        self.assertTrue(asked.startswith(b"GET /a/") and asked.endswith(b"\r\n\r\n"))

    def test_refused(self) -> None:
        """
        A responder that cannot be reached is no answer.
        """
        self.ask()
        self.world.attempt().fail()
        self.assertFailed("connect() failed (111: Connection refused)")

    def test_broken(self) -> None:
        """
        A connection that breaks, or ends before anything was said, is no answer.
        """
        self.ask()
        self.world.attempt().succeed().lose(errno.ECONNRESET)
        self.assertFailed("recv() failed (104: Connection reset by peer)")
        self.setUp()
        self.ask()
        self.world.attempt().succeed().end()
        self.assertFailed("OCSP responder prematurely closed connection")
        self.setUp()
        self.ask()
        leg = self.world.attempt().succeed()
        leg.arrive(b"HTTP/1.0 500 x\r\n\r\n")
        leg.end()
        self.assertFailed("OCSP responder answered 500")

    def test_late(self) -> None:
        """
        One deadline holds for all: for connecting, and for reading drop by drop.
        """
        self.ask()
        self.world.pass_time(PATIENCE + 1)
        self.assertFailed("OCSP responder timed out (110: Connection timed out)")
        self.setUp()
        self.ask()
        leg = self.world.attempt().succeed()
        for _ in range(3):
            self.world.pass_time(PATIENCE / 4)
            leg.arrive(b"H")
        self.assertEqual(self.answers, [])
        self.world.pass_time(PATIENCE / 3)
        self.assertTrue(leg.closed)
        self.assertFailed("OCSP responder timed out (110: Connection timed out)")

    def test_endless(self) -> None:
        """
        An answer without end is cut off.
        """
        self.ask()
        leg = self.world.attempt().succeed()
        while not leg.closed:
            leg.arrive(bytes(16384))
        self.assertFailed("OCSP responder sent too long a response")
        self.assertGreater(LONGEST, 16384)

    def test_names(self) -> None:
        """
        A name is looked up by the resolver; without one what was known at the start is taken, or nothing.
        """
        answers: list[Any] = []

        class Resolver:
            def resolve(self, name: str, answer: Any) -> Any:
                answers.append((name, answer))
                return self

            def cancel(self) -> None:
                answers.append("cancelled")

        known: Any = self.world.runtime._resolvers
        known["settings"] = Resolver()
        self.ask("http://any.example:81/", "settings")
        ((name, answer),) = answers
        self.assertEqual((name, self.world.network.attempts), ("any.example", []))
        answer(["192.0.2.5", "192.0.2.6"])
        self.assertEqual(self.world.attempt().address, Address("inet", "192.0.2.5", 81))
        self.ask("http://any.example/", "settings").cancel()
        self.assertEqual(answers[-1], "cancelled")
        self.ask("http://any.example/")
        self.assertEqual(self.answers, [None])
        self.assertIn("no resolver defined to resolve any.example", self.complaints[-1])

    def test_name_unknown(self) -> None:
        """
        A name that leads nowhere is no answer.
        """
        from sniproxy.common.resolver import ResolveFailure

        class Resolver:
            def resolve(self, name: str, answer: Any) -> Any:
                answer(ResolveFailure(3, "Host not found"))
                return self

        known: Any = self.world.runtime._resolvers
        known["settings"] = Resolver()
        self.ask("http://any.example/", "settings")
        self.assertFailed("any.example could not be resolved (3: Host not found)", "any.example")

    def test_cancelled(self) -> None:
        """
        Who does not want to know any more is not told, wherever the question was.
        """
        asking = self.ask()
        attempt = self.world.attempt()
        asking.cancel()
        self.assertTrue(attempt.cancelled)
        asking = self.ask()
        leg = self.world.attempt().succeed()
        asking.cancel()
        self.assertTrue(leg.closed)
        self.world.pass_time(PATIENCE + 1)
        self.assertEqual((self.answers, self.complaints), ([], []))

    def test_our_fault(self) -> None:
        """
        A fault of ours while reading is no answer either.
        """
        self.ask().crashed()
        self.assertEqual(self.answers, [None])
