"""
What does the http proxy make of upstreams that send garbage, too much, too little or nothing, that die in the middle,
or make up their mind before they were asked all? The status that nginx gives, or a clean close, with nginx's words in
the error log; nothing is left open, and nobody is asked twice who must not be.

Strategy: an upstream does what the first part of a path says, from a table, to nginx and to us; answers, access logs
and error logs are compared. Where we are stricter than nginx, or do something else, that is a table, too.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable
from typing import Final

from tests.support import clients, pki
from tests.support.backends import LINGER_ZERO, Visit
from tests.support.proxies import NEWER_WORDS, NGINX, SNIPROXY
from tests.support.scripted import (
    BODY,
    CHUNKED,
    CLOSE,
    DRAIN,
    FLOOD,
    HANG,
    OK,
    RESET,
    USUAL,
    Act,
    Twins,
    exchange,
    ok,
    request,
    tidy,
)

ANSWERS: Final[dict[str, tuple[Act, ...]]] = {
    **USUAL,
    "good-chunked": (CHUNKED + b"4\r\ngood\r\n0\r\n\r\n",),
    "good-until-close": (OK + b"\r\ngood", CLOSE),
    "good-1.0": (b"HTTP/1.0 200 OK\r\n\r\ngood", CLOSE),
    # Nothing, or not HTTP.
    "nothing": (CLOSE,),
    "reset": (RESET,),
    "ssh": (b"SSH-2.0-OpenSSH_9.2p1\r\n", CLOSE),
    "binary": (bytes(range(256)) * 4, CLOSE),
    "html": (b"<html>hello</html>\r\n\r\n", CLOSE),
    "version-2": (b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",),
    "status-2-digits": (b"HTTP/1.1 20 OK\r\n\r\n", CLOSE),
    "status-4-digits": (b"HTTP/1.1 2000 OK\r\n\r\n", CLOSE),
    "status-099": (b"HTTP/1.1 099 OK\r\n\r\n", CLOSE),
    "status-600": (ok(b"abc", status=b"600 Odd"),),
    "status-999": (ok(b"abc", status=b"999 Odd"),),
    "status-no-reason": (b"HTTP/1.1 200\r\nContent-Length: 3\r\n\r\nabc",),
    # Heads that do not end.
    "line-close": (b"HTTP/1.1 200", CLOSE),
    "line-hang": (b"HTTP/1.1 200", HANG),
    "head-close": (OK + b"Content-Length: 3\r\n", CLOSE),
    "head-reset": (OK + b"Content-Length: 3\r\n", RESET),
    "head-hang": (OK + b"A: b", HANG),
    "head-long-field": (OK + b"A: " + b"b" * 100000, HANG),
    "head-many-fields": (OK + b"A: bbbbbbbb\r\n" * 10000, HANG),
    "head-endless": (OK + b"A: bbbbbbbb\r\n" * 10, FLOOD),
    "line-endless": (b"HTTP/1.1 200 " + b"a" * 1000, FLOOD),
    # Bodies that end early, or late.
    "body-short": (ok(b"abc", length=10), CLOSE),
    "body-short-reset": (ok(b"abc", length=10), RESET),
    "body-short-hang": (ok(b"abc", length=10), HANG),
    "body-none": (ok(b"", length=10), CLOSE),
    "body-long": (ok(b"abcdefghij", length=3),),
    "body-long-later": (ok(b"abc"), b"defghij", CLOSE),
    "body-flood": (ok(b"x" * 1000, length=3), FLOOD),
    "two-answers": (ok(b"abc") + ok(b"def"),),
    "chunks-short": (CHUNKED + b"a\r\nabc", CLOSE),
    "chunks-no-end": (CHUNKED + b"3\r\nabc\r\n", CLOSE),
    "chunks-reset": (CHUNKED + b"3\r\nabc\r\n", RESET),
    "chunks-hang": (CHUNKED + b"3\r\nabc\r\n", HANG),
    "chunks-long": (CHUNKED + b"3\r\nabc\r\n0\r\n\r\nGARBAGE",),
    "chunks-nonsense": (CHUNKED + b"xyz\r\nabc\r\n0\r\n\r\n", CLOSE),
    "chunks-nonsense-later": (CHUNKED + b"3\r\nabc\r\nxyz\r\n", CLOSE),
    "chunks-negative": (CHUNKED + b"-1\r\nabc\r\n0\r\n\r\n", CLOSE),
    "chunks-enormous": (CHUNKED + b"ffffffffffffffffff\r\nabc\r\n0\r\n\r\n", CLOSE),
    "chunks-63-bits": (CHUNKED + b"7fffffffffffffff\r\nabc", CLOSE),
    "chunks-wrong-size": (CHUNKED + b"2\r\nabc\r\n0\r\n\r\n", CLOSE),
    "chunks-trailers": (CHUNKED + b"3\r\nabc\r\n0\r\nA: b\r\n\r\n",),
    # Lengths.
    "length-and-chunks": (OK + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", CLOSE),
    "length-twice": (OK + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", CLOSE),
    "length-twice-same": (OK + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", CLOSE),
    "length-negative": (OK + b"Content-Length: -3\r\n\r\nabc", CLOSE),
    "length-words": (OK + b"Content-Length: three\r\n\r\nabc", CLOSE),
    "length-enormous": (OK + b"Content-Length: 99999999999999999999\r\n\r\nabc", CLOSE),
    "length-empty": (OK + b"Content-Length:\r\n\r\nabc", CLOSE),
    "coding-unknown": (OK + b"Transfer-Encoding: gzip\r\n\r\nabc", CLOSE),
    "coding-twice": (OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", CLOSE),
    # Fields.
    "field-no-colon": (OK + b"nonsense\r\nContent-Length: 3\r\n\r\nabc", CLOSE),
    "field-no-name": (OK + b": b\r\nContent-Length: 3\r\n\r\nabc", CLOSE),
    "field-folded": (OK + b"A: b\r\n c\r\nContent-Length: 3\r\n\r\nabc", CLOSE),
    "field-nul": (OK + b"A: b\0c\r\nContent-Length: 3\r\n\r\nabc", CLOSE),
    "field-odd-name": (OK + b"A(b): c\r\nA_b: c\r\nContent-Length: 3\r\n\r\nabc", CLOSE),
    "field-high": (OK + b"A: \xff\xc3\xa4\r\nContent-Length: 3\r\n\r\nabc", CLOSE),
    "lines-lf": (b"HTTP/1.1 200 OK\nContent-Length: 3\n\nabc", CLOSE),
    "lines-cr": (b"HTTP/1.1 200 OK\rContent-Length: 3\r\r\nabc", CLOSE),
    "server-date": (ok(b"abc", b"Server: other", b"Date: yesterday", b"X-Accel-Expires: 0"),),
    "connection": (ok(b"abc", b"Connection: X-A, keep-alive", b"X-A: b", b"Keep-Alive: timeout=5"),),
    # Statuses that have no body.
    "204": (b"HTTP/1.1 204 No Content\r\n\r\n",),
    "204-body": (ok(b"abc", status=b"204 No Content"),),
    "204-chunks": (b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",),
    "304": (b'HTTP/1.1 304 Not Modified\r\nETag: "a"\r\n\r\n',),
    "304-body": (ok(b"abc", status=b"304 Not Modified"),),
    "304-length": (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 100\r\n\r\n",),
    # Answers before the answer.
    "100": (b"HTTP/1.1 100 Continue\r\n\r\n" + ok(b"abc"),),
    "102-103": (b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + ok(b"abc"),),
    "101": (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nhello", CLOSE),
    "1xx-endless": (b"HTTP/1.1 100 Continue\r\n\r\n", FLOOD),
    "1xx-alone": (b"HTTP/1.1 100 Continue\r\n\r\n", CLOSE),
    # Redirects and what else is acted upon.
    "accel": (ok(b"abc", b"X-Accel-Redirect: /good"),),
    "accel-nowhere": (ok(b"abc", b"X-Accel-Redirect: nowhere"),),
    "accel-loop": (ok(b"abc", b"X-Accel-Redirect: /accel-loop"),),
    "error-500": (ok(b"abc", status=b"500 Oh"),),
}


ALIKE: Final = ("good", "good-chunked", "good-until-close", "good-1.0", "chunks-trailers", "body-long", "status-600")
"""Answers of which every number is compared."""

NOT_HTTP: Final = "upstream sent no valid HTTP/1.0 header"
LENGTH: Final = 'upstream sent invalid "Content-Length" header'
TWICE: Final = "upstream sent duplicate header line"
INVALID: Final = "upstream sent invalid header"

STRICTER: Final = {
    # nginx hands these on: what is no HTTP at all as HTTP/0.9, lengths that are none as an answer without one
    "ssh": NOT_HTTP,
    "binary": NOT_HTTP,
    "html": NOT_HTTP,
    "version-2": NOT_HTTP,
    "status-2-digits": NOT_HTTP,
    "status-4-digits": NOT_HTTP,
    "status-099": NOT_HTTP,
    "length-and-chunks": 'upstream sent "Content-Length" and "Transfer-Encoding" headers at the same time',
    "length-twice": TWICE,
    "length-twice-same": TWICE,
    "length-negative": LENGTH,
    "length-words": LENGTH,
    "length-enormous": LENGTH,
    "length-empty": LENGTH,
    "coding-unknown": 'upstream sent unknown "Transfer-Encoding"',
    "coding-twice": TWICE,
    "field-no-colon": INVALID,
    "field-odd-name": INVALID,
    "lines-lf": NOT_HTTP,
    "lines-cr": NOT_HTTP,
    "101": "upstream switched to another protocol, which nobody had asked for",
    "1xx-endless": "upstream sent too many interim responses",
    "1xx-alone": "upstream prematurely closed connection",
}
"""Answers for which we give 502, and the words of our log."""

INTERIM: Final = ("100", "102-103")
"""Answers of which nginx 1.22 takes the first for the only one; newer ones read on."""

OTHERWISE: Final = {
    # how our answer ends
    "status-no-reason": "abc",  # a blank stands behind the status, as RFC 9112 has it
    "body-short-reset": "abc",  # nginx drops what has come before the reset
    "body-short-hang": "abc",
    "204-body": "VERSION\r\n\r\n",  # no length, which nginx hands on
    "body-long-later": "abc",  # the rest may come too late to be seen
    "accel-nowhere": "</html>\r\n",  # nginx has a folder for all that it does not know
}
"""Answers of which we make something else, as good or better."""

BROKEN_OFF: Final = (
    "chunks-nonsense",
    "chunks-nonsense-later",
    "chunks-negative",
    "chunks-enormous",
    "chunks-63-bits",
    "chunks-wrong-size",
)
"""Answers whose head nginx does not send when it finds their first bytes to be no chunks; we break them off."""


class UpstreamsTests(Twins):
    """
    Upstreams that do not do as they should.
    """

    def test_alike(self) -> None:
        """
        Of answers with which all is well, more or less, the same numbers are logged.
        """
        self.serve(
            answers=ANSWERS,
            format="$request|$status|$upstream_status|$body_bytes_sent|$upstream_response_length|$request_completion",
        )
        self.compare({name: request(f"/{name}") for name in ALIKE})
        self.nothing_left()

    def test_answers(self) -> None:
        """
        Each answer comes to what nginx makes of it, with its words.
        """
        self.serve(answers=ANSWERS)
        others = {*STRICTER, *INTERIM, *BROKEN_OFF, *OTHERWISE}
        self.compare({name: request(f"/{name}") for name in ANSWERS if name not in {*others, "swallow"}})
        self.nothing_left()

    def test_stricter(self) -> None:
        """
        Where nginx hands on what is no proper answer, we answer 502 ourselves and tell why.
        """
        self.serve(answers=ANSWERS)
        for name, words in STRICTER.items():
            found = self.both(request(f"/{name}"))
            answer, logs, through = found[SNIPROXY]
            self.assertTrue(answer.startswith("HTTP/1.1 502 Bad Gateway"), (name, answer))
            self.assertIn(f"[error] {words}", logs[1], name)
            self.assertEqual(through, [1, 0], name)
            self.assertFalse(found[NGINX][0].startswith("HTTP/1.1 502"), (name, found[NGINX]))
        self.nothing_left()

    def test_otherwise(self) -> None:
        """
        Where we do something else, that is what we say.
        """
        self.serve(answers=ANSWERS)
        for name, end in OTHERWISE.items():
            answer = tidy(exchange(self.ports[SNIPROXY], request(f"/{name}")))
            self.assertTrue(answer.endswith(end), (name, answer))
            self.assertEqual("Content-Length" in answer, name != "204-body")
        self.nothing_left()

    def test_interim(self) -> None:
        """
        An answer comes behind those that only say it will.
        """
        self.serve(answers=ANSWERS)
        for name in INTERIM:
            answer, logs, _ = self.both(request(f"/{name}"))[SNIPROXY]
            self.assertTrue(answer.startswith("HTTP/1.1 200 OK") and answer.endswith("\r\n\r\nabc"), answer)
            self.assertEqual(logs, [f"GET /{name} HTTP/1.1|200|200"])

    def test_broken_off(self) -> None:
        """
        A client of an answer in broken chunks does not get the last one.
        """
        self.serve(answers=ANSWERS)
        for name in BROKEN_OFF:
            answer, logs, _ = self.both(request(f"/{name}"))[SNIPROXY]
            self.assertTrue(answer.startswith("HTTP/1.1 200 OK") and "Transfer-Encoding: chunked" in answer, answer)
            self.assertFalse(answer.endswith("0\r\n\r\n"), answer)
            words = "prematurely closed connection" if name == "chunks-63-bits" else "sent invalid chunked response"
            self.assertIn(f"[error] upstream {words} while reading upstream", logs[1])
        self.nothing_left()


BODY_ANSWERS: Final[dict[str, tuple[Act, ...]]] = {
    "good": (BODY, ok(b"good")),
    "early": (ok(b"early"),),
    "early-close": (ok(b"early", b"Connection: close"), DRAIN),
    "early-413": (ok(b"no", b"Connection: close", status=b"413 No"), DRAIN),
    "close": (CLOSE,),
    "reset": (RESET,),
    "hang": (HANG,),
    "body-hang": (BODY, HANG),
    "body-close": (BODY, CLOSE),
    "body-half": (BODY, ok(b"abc", length=10), CLOSE),
    "500": (BODY, ok(b"abc", status=b"500 Oh")),
    "403": (BODY, ok(b"abc", status=b"403 No")),
    "503": (BODY, ok(b"abc", status=b"503 Later")),
}
"""What upstreams do with a body."""

TRIES: Final = """
    location ~ ^/[^/]+/two/ { proxy_pass http://two; }
    location ~ ^/[^/]+/twice/ { proxy_pass http://two; proxy_next_upstream error timeout non_idempotent http_500; }
    location ~ ^/[^/]+/statuses/ { proxy_pass http://two; proxy_next_upstream http_500 http_503 http_403; }
    location ~ ^/[^/]+/never/ { proxy_pass http://two; proxy_next_upstream off; }
    location ~ ^/[^/]+/stream/ { proxy_pass http://two; proxy_request_buffering off; }
"""


class BodiesTests(Twins):
    """
    Requests with bodies, and who is asked again.
    """

    def test_tries(self) -> None:
        """
        A request goes to the next peer where nginx sends it there: one with POST once it was sent only where that is
        allowed, one whose body is gone never.
        """
        self.serve(TRIES, BODY_ANSWERS)
        cases = {
            f"{method} {name} {where}": request(
                f"/{name}/{where}/x", f"Content-Length: {size}", method=method, body=b"b" * size
            )
            for name in BODY_ANSWERS
            for where in ("two", "twice", "statuses", "never", "stream")
            for method, size in (("POST", 10), ("PUT", 10), ("GET", 0))
            # A body that came with its head nginx holds for another try even where bodies are not gathered.
            if (method, where) != ("PUT", "stream") and ("hang" not in name or where == "twice")
        }
        self.compare(cases)
        self.nothing_left(kept=4)

    def test_large(self) -> None:
        """
        The same holds for bodies that are not sent at once when an upstream makes up its mind before their end.
        """
        self.serve(TRIES + " client_max_body_size 0;", BODY_ANSWERS)
        size = 3_000_000
        for name, where, status, peers in (
            ("good", "two", 200, 1),
            ("good", "stream", 200, 1),
            ("early", "two", 200, 1),
            ("early", "stream", 200, 1),
            ("early-413", "two", 413, 1),
            ("early-413", "stream", 413, 1),
            ("close", "two", 502, 1),
            ("close", "twice", 502, 2),
            ("close", "stream", 502, 1),
            ("hang", "two", 504, 1),
        ):
            data = request(f"/{name}/{where}/x", f"Content-Length: {size}", method="POST", body=b"b" * size)
            found = self.both(data)
            for kind, (answer, logs, through) in found.items():
                seen = (name, where, kind, answer[:200], logs, through)
                self.assertEqual((answer[9:12], sum(through)), (str(status), peers), seen)
        self.nothing_left(kept=4)


def shaken(data: bytes, how: str) -> Callable[[socket.socket, Visit], None]:
    """
    An upstream that, when the ClientHello is there, says something that is no handshake.

    @param how: C{close}, C{reset} or C{hang}.
    """

    def talk(connection: socket.socket, visit: Visit) -> None:
        connection.recv(65536)
        connection.sendall(data)
        if how == RESET:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_ZERO)
        while how == HANG and connection.recv(65536):
            pass

    return talk


def secured(context: ssl.SSLContext, data: bytes, how: str) -> Callable[[socket.socket, Visit], None]:
    """
    An upstream that speaks TLS, answers this, and does not take its leave in order.
    """

    def talk(connection: socket.socket, visit: Visit) -> None:
        copy = connection.dup()
        secure = context.wrap_socket(copy, server_side=True, suppress_ragged_eofs=True)
        with secure:
            secure.recv(65536)
            secure.sendall(data)
            if how == RESET:
                time.sleep(0.1)  # behind what was sent, else that may be lost
                secure.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_ZERO)
            elif how == HANG:
                while secure.recv(65536):
                    pass

    return talk


SHAKES: Final = {
    "closes": (b"", CLOSE),
    "resets": (b"", RESET),
    "hangs": (b"", HANG),
    "speaks plain": (b"HTTP/1.1 400 Bad Request\r\n\r\n", CLOSE),
    "sends garbage": (bytes(range(256)), CLOSE),
    "alerts": (b"\x15\x03\x03\x00\x02\x02\x28", CLOSE),
    "says half": (b"\x16\x03\x03\x00\x7a\x02\x00\x00", CLOSE),
    "sends a record that is too long": (b"\x16\x03\x03\xff\xff" + bytes(70000), CLOSE),
}
"""What upstreams do in the place of a handshake."""

ENDS: Final = {
    "whole": (ok(b"abc"), CLOSE),
    "until the end": (OK + b"\r\nabc", CLOSE),
    "half": (ok(b"abc", length=10), CLOSE),
    "half of a head": (OK, CLOSE),
    "nothing": (b"", CLOSE),
    "nothing, and hangs": (b"", HANG),
    "half, and hangs": (CHUNKED + b"3\r\nabc\r\n", HANG),
    "half, and resets": (CHUNKED + b"3\r\nabc\r\n", RESET),
}
"""What they answer over TLS, and how they end, none of them with a close_notify."""


class TlsUpstreamsTests(Twins):
    """
    Upstreams that break TLS, or break it off.
    """

    def setUp(self) -> None:
        """
        Start both before upstreams over TLS.
        """
        super().setUp()
        self.serve("location /tls { proxy_pass https://one; proxy_connect_timeout 500ms; }")

    def check(self, talks: dict[str, Callable[[socket.socket, Visit], None]]) -> None:
        """
        Both make the same of all.
        """
        servers = [backs[0].server for backs in self.backs.values()]
        usual = [server._talk for server in servers]
        wrong = []
        for name, talk in talks.items():
            for server in servers:
                server._talk = talk
            found = self.both(request("/tls"))
            theirs, ours = ([told.answer, *map(newer, told.logs)] for told in (found[NGINX], found[SNIPROXY]))
            if theirs != ours:
                wrong.append(f"{name}\n    nginx: {theirs}\n    we:    {ours}")
        self.assertEqual(wrong, [], "\n".join(wrong))
        for server, before in zip(servers, usual, strict=True):
            server._talk = before
        self.nothing_left()

    def test_handshakes(self) -> None:
        """
        A handshake that does not come to its end is a 502, or a 504 where nothing comes, in nginx's words.
        """
        self.check({name: shaken(*how) for name, how in SHAKES.items()})

    def test_ends(self) -> None:
        """
        Answers that end without TLS being ended come to what nginx makes of them.
        """
        context = clients.server_context(pki.self_signed("one").write(self.folder, "one"))
        self.check({name: secured(context, *how) for name, how in ENDS.items()})


def newer(line: str) -> str:
    """
    A line of a log in the words of an older OpenSSL, and with one name for an end that came too early: over TLS nginx
    takes a reset for an end.
    """
    line = line.replace("recv() failed (104: Connection reset by peer)", "upstream prematurely closed connection")
    for pattern, words in NEWER_WORDS:
        line = pattern.sub(words, line)
    return line
