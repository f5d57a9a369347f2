"""
What can a hostile client, or a hostile upstream, do to the running http proxy? Broken messages, silence, floods and
early ends: each gets the status that nginx gives, or a clean close, with nginx's words in the error log; nothing is
left open, nothing grows, and no request comes through that two readers could read in two ways.

Strategy: an upstream does what the first part of a path says, from a table, to nginx and to us; answers, access logs
and error logs are compared. Where we are stricter than nginx that is a table, too. What nginx has no opinion of is
asked of us alone.
"""

from __future__ import annotations

import re
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, NamedTuple

from hyperframe.frame import DataFrame

from sniproxy.wire.http1 import End, Refused, RequestHead
from tests.interop.test_http2 import Wire
from tests.support import backends, clients, pki
from tests.support.backends import LINGER_ZERO, Visit
from tests.support.clients import read_all
from tests.support.http1 import requests
from tests.support.http2 import Client
from tests.support.ports import free_ports
from tests.support.programs import PATIENCE, eventually, need, read_text
from tests.support.proxies import NEWER_WORDS, NGINX, SNIPROXY, Kind, Proxy, ProxyTestCase, fill, read_lines
from tests.wire.test_http1_smuggling import HIDDEN, REQUESTS

Act = bytes | str
"""
What an upstream does: bytes are sent; C{close}, C{reset}, C{hang} (be silent until the other side ends), C{body} (read
the body of the request), C{drain} (say that this is all, and read on to the end), C{flood} (send what was sent last,
until the other side ends), C{swallow} (read as much as comes in a moment).
"""

CLOSE: Final = "close"
RESET: Final = "reset"
HANG: Final = "hang"
BODY: Final = "body"
DRAIN: Final = "drain"
FLOOD: Final = "flood"
SWALLOW: Final = "swallow"

OK: Final = b"HTTP/1.1 200 OK\r\n"
CHUNKED: Final = OK + b"Transfer-Encoding: chunked\r\n\r\n"


def ok(body: bytes, *lines: bytes, status: bytes = b"200 OK", length: int | None = None) -> bytes:
    """
    An answer with a length.
    """
    declared = len(body) if length is None else length
    return b"\r\n".join((b"HTTP/1.1 " + status, b"Content-Length: %d" % declared, *lines, b"", body))


ANSWERS: Final[dict[str, tuple[Act, ...]]] = {
    "good": (ok(b"good"),),
    "swallow": (SWALLOW, ok(b"swallowed")),
    "good-chunked": (CHUNKED + b"4\r\ngood\r\n0\r\n\r\n",),
    "good-until-close": (OK + b"\r\ngood", CLOSE),
    "good-1.0": (b"HTTP/1.0 200 OK\r\n\r\ngood", CLOSE),
    # Nothing, or not HTTP.
    "nothing": (CLOSE,),
    "reset": (RESET,),
    "silence": (HANG,),
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


class Scripted:
    """
    An upstream that does what the path of a request says.

    @ivar heard: the heads, and the bodies as far as they were read, in order.
    """

    def __init__(self, test: ProxyTestCase, answers: dict[str, tuple[Act, ...]] = ANSWERS) -> None:
        self._answers = answers
        self.heard: list[bytes] = []
        self.server = backends.backend(test, self._talk)
        self.port = self.server.port

    def _talk(self, connection: socket.socket, visit: Visit) -> None:
        data = bytearray()
        while True:
            while b"\r\n\r\n" not in data:
                block = connection.recv(65536)
                if not block:
                    return
                visit.received += block
                data += block
            head, _, rest = bytes(data).partition(b"\r\n\r\n")
            data = bytearray(rest)
            if b" HTTP/" not in head:
                continue  # of a body that was not read
            self.heard.append(head)
            name = head.split(b" ", 2)[1].split(b"/")[1].split(b"?")[0].decode()
            last = b""
            found = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
            for act in self._answers[name]:
                if isinstance(act, bytes):
                    connection.sendall(act)
                    last = act
                elif act == CLOSE:
                    return
                elif act == RESET:
                    # Behind what was sent, else that may be lost
                    threading.Event().wait(0.05)
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_ZERO)
                    return
                elif act in (HANG, DRAIN):
                    if act == DRAIN:
                        connection.shutdown(socket.SHUT_WR)
                    while block := connection.recv(65536):
                        visit.received += block
                    return
                elif act == BODY:
                    while len(data) < int(found[1] if found else 0):
                        block = connection.recv(65536)
                        if not block:
                            return
                        visit.received += block
                        data += block
                elif act == SWALLOW:
                    while not re.search(rb"\r\n\r\nabc$|\r\n0\r\n\r\n$", visit.received):
                        block = connection.recv(65536)
                        if not block:
                            return
                        visit.received += block
                elif act == FLOOD:
                    for _ in range(1 << 12):
                        connection.sendall(last * 64)
                else:
                    raise ValueError(act)
            if found:
                del data[: int(found[1])]


LEVELS: Final = ("emerg", "alert", "crit", "error", "warn")
_SAME: Final = (
    (re.compile(rb"nginx/\d+\.\d+\.\d+"), b"nginx/VERSION"),
    (re.compile(rb"(?m)^Date: \w{3}, .*$"), b"Date: NOW"),
)


def exchange(port: int, data: bytes, patience: float = PATIENCE) -> bytes:
    """
    Send bytes and read to the end.
    """
    with socket.create_connection(("127.0.0.1", port), patience) as connection:
        try:
            connection.sendall(data)
        except ConnectionError:
            pass  # the answer is there already
        try:
            return read_all(connection)
        except TimeoutError:
            return b"no end"


def request(path: str, *lines: str, method: str = "GET", body: bytes = b"", version: str = "1.1") -> bytes:
    """
    A request after which the connection is over.
    """
    head = [f"{method} {path} HTTP/{version}", "Host: www.example.com", "Connection: close", *lines, "", ""]
    return "\r\n".join(head).encode() + body


def tidy(data: bytes) -> str:
    """
    An answer, with fields in order and without what is different each time.
    """
    for pattern, word in _SAME:
        data = pattern.sub(word, data)
    first, end, body = data.decode("latin-1").partition("\r\n\r\n")
    status, *told = first.split("\r\n")
    return "\r\n".join([status, *sorted(told)]) + end + (body if len(body) < 2000 else f"{len(body)} bytes")


def plain(line: str) -> str:
    """
    A line of an error log, without ports, and with one name for reading, whichever call it is done with.
    """
    line = re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:PORT", line)
    # where it shows that there is too much depends on what came in one read
    line = re.sub(r"(too large chunked body): \d+\+\d+ bytes( while reading client request body)?", r"\1", line)
    line = re.sub(r'(upstream sent invalid header): ".*?\.\.\."', r"\1", line)
    return line.replace("readv() failed", "recv() failed")


CONFIGURATION: Final = """
http {
    client_body_temp_path @folder@/@kind@-body; proxy_temp_path @folder@/@kind@-proxy;
    fastcgi_temp_path @folder@/f; uwsgi_temp_path @folder@/u; scgi_temp_path @folder@/s;
    log_format seen '@format@';
    access_log @folder@/@kind@-access.log seen;
    upstream one { server 127.0.0.1:@back@ max_fails=0; @keepalive@ }
    upstream two { server 127.0.0.1:@back@ max_fails=0; server 127.0.0.1:@other@ max_fails=0; keepalive 4; }
    server {
        listen 127.0.0.1:@port@;
        server_name www.example.com;
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        proxy_read_timeout 500ms;
        proxy_send_timeout 500ms;
        proxy_next_upstream_tries 2;
        @inside@
        location / { proxy_pass http://one; }
    }
}
"""


class Told(NamedTuple):
    """
    What comes of one request: the answer, what was logged, and how many requests each upstream has heard.
    """

    answer: str
    logs: list[str]
    through: list[int]


class Twins(ProxyTestCase):
    """
    Both proxies before an upstream each.
    """

    maxDiff = None

    def serve(
        self,
        inside: str = "",
        answers: dict[str, tuple[Act, ...]] = ANSWERS,
        format: str = "$request|$status|$upstream_status",  # noqa: A002
        kinds: tuple[Kind, ...] = (NGINX, SNIPROXY),
    ) -> None:
        """
        Start all.
        """
        need("nginx")
        self.ports: dict[Kind, int] = dict(zip(kinds, free_ports(len(kinds)), strict=True))
        self.backs: dict[Kind, tuple[Scripted, Scripted]] = {}
        self.proxies: dict[Kind, Proxy] = {}
        for kind, port in self.ports.items():
            back, other = self.backs[kind] = Scripted(self, answers), Scripted(self, answers)
            text = CONFIGURATION.replace("@inside@", inside).replace("@format@", format)
            if kind == SNIPROXY:
                text = re.sub(r"(?m)^    fastcgi_temp_path.*$", "", text).replace(
                    "proxy_temp_path @folder@/@kind@-proxy;", ""
                )
            # nginx 1.22 keeps no connections where it is not told to, newer ones do
            text = text.replace("@keepalive@", "keepalive 0;" if kind == SNIPROXY else "")
            filled = fill(text, folder=self.folder, kind=kind, port=port, back=back.port, other=other.port)
            self.proxies[kind] = self.proxy(filled, kind, kind=kind)
        self.told = dict.fromkeys(self.ports, 0)
        self.before = Counter(self.proxies[SNIPROXY].descriptors())

    def one(self, kind: Kind, data: bytes) -> Told:
        """
        Ask one of both.
        """
        port, path = self.ports[kind], self.path(f"{kind}-access.log")
        counts = [len(back.heard) for back in self.backs[kind]]
        lines = read_text(path).count("\n")
        answer = tidy(exchange(port, data)).replace(f":{port}", ":PORT")
        eventually(lambda: read_text(path).count("\n") > lines, "a line in the access log")
        logged = read_text(path).splitlines()[lines:]
        told = [line for line in read_lines(self.proxies[kind].log_path) if line.level in LEVELS]
        fresh, self.told[kind] = told[self.told[kind] :], len(told)
        through = [len(back.heard) - count for back, count in zip(self.backs[kind], counts, strict=True)]
        return Told(answer, [*logged, *(plain(str(line)) for line in fresh)], through)

    def both(self, data: bytes) -> dict[Kind, Told]:
        """
        Ask both.
        """
        with ThreadPoolExecutor(2) as pool:
            return dict(zip(self.ports, pool.map(self.one, self.ports, [data] * 2), strict=True))

    def compare(self, cases: dict[str, bytes]) -> None:
        """
        Both do the same.
        """
        wrong = []
        for name, data in cases.items():
            found = self.both(data)
            parts = ("answer", "logs", "requests")
            wrong += [
                f"{name}: {part}\n    nginx: {theirs}\n    we:    {ours}"
                for part, theirs, ours in zip(parts, found[NGINX], found[SNIPROXY], strict=True)
                if theirs != ours
            ]
        self.assertEqual(wrong, [], "\n".join(wrong))

    def nothing_left(self, kept: int = 0) -> None:
        """
        All descriptors but logs, listeners and so many connections to upstreams have been closed again, and somebody
        who behaves is served.
        """
        edge = self.proxies[SNIPROXY]

        def more() -> Counter[str]:
            return Counter(edge.descriptors()) - self.before - Counter({"pipe": 16, "socket": kept})

        try:
            eventually(lambda: not more(), "descriptors as before")
        except AssertionError:
            self.fail(f"left: {more()}")
        self.assertTrue(exchange(self.ports[SNIPROXY], request("/good")).endswith(b"good"))
        self.clean()

    def clean(self) -> None:
        """
        Nobody has crashed, and nothing is left.
        """
        said = read_text(self.proxies[SNIPROXY].log_path) + self.proxies[SNIPROXY].program.output()
        self.assertEqual(re.findall(r"(?m)^.*(?:\[alert\]|\[emerg\]|Traceback|internal error|Unhandled).*$", said), [])


class UpstreamsTests(Twins):
    """
    Upstreams that do not do as they should.
    """

    def test_alike(self) -> None:
        """
        Of answers with which all is well, more or less, the same numbers are logged.
        """
        self.serve(
            format="$request|$status|$upstream_status|$body_bytes_sent|$upstream_response_length|$request_completion"
        )
        self.compare({name: request(f"/{name}") for name in ALIKE})
        self.nothing_left()

    def test_answers(self) -> None:
        """
        Each answer comes to what nginx makes of it, with its words.
        """
        self.serve()
        others = {*STRICTER, *INTERIM, *BROKEN_OFF, *OTHERWISE}
        self.compare({name: request(f"/{name}") for name in ANSWERS if name not in others})
        self.nothing_left()

    def test_stricter(self) -> None:
        """
        Where nginx hands on what is no proper answer, we answer 502 ourselves and tell why.
        """
        self.serve()
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
        self.serve()
        for name, end in OTHERWISE.items():
            answer = tidy(exchange(self.ports[SNIPROXY], request(f"/{name}")))
            self.assertTrue(answer.endswith(end), (name, answer))
            self.assertEqual("Content-Length" in answer, name != "204-body")
        self.nothing_left()

    def test_interim(self) -> None:
        """
        An answer comes behind those that only say it will.
        """
        self.serve()
        for name in INTERIM:
            answer, logs, _ = self.both(request(f"/{name}"))[SNIPROXY]
            self.assertTrue(answer.startswith("HTTP/1.1 200 OK") and answer.endswith("\r\n\r\nabc"), answer)
            self.assertEqual(logs, [f"GET /{name} HTTP/1.1|200|200"])

    def test_broken_off(self) -> None:
        """
        A client of an answer in broken chunks does not get the last one.
        """
        self.serve()
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


REFUSALS: Final[dict[str, bytes]] = {
    # Too large.
    "line-too-long": request("/" + "a" * 40000),
    "field-too-long": request("/good", "A: " + "b" * 40000),
    "fields-too-many": request("/good", *[f"A{number}: {'b' * 1000}" for number in range(60)]),
    "cookies": request("/good", "Cookie: " + "a=b; " * 20000),
    "body-declared": request("/good", "Content-Length: 5000000", method="POST", body=b"b"),
    "body-chunked": request("/good", "Transfer-Encoding: chunked", method="POST", body=b"200000\r\n" + bytes(1 << 21)),
    # Wrong.
    "host-missing": b"GET /good HTTP/1.1\r\n\r\n",
    "host-wrong": b"GET /good HTTP/1.1\r\nHost: a/b\r\n\r\n",
    "host-twice": request("/good", "Host: b"),
    "method": request("/good", method="get"),
    "version": request("/good", version="2.0"),
    "uri-outside": request("/../../etc/passwd"),
    "uri-outside-encoded": request("/%2e%2e/%2e%2e/etc/passwd"),
    "uri-nul": request("/good%00"),
    "uri-percent": request("/good%zz"),
    "connect": b"CONNECT www.example.com:443 HTTP/1.1\r\nHost: www.example.com\r\n\r\n",
    "trace": request("/good", method="TRACE"),
    "length-and-chunks": request(
        "/good", "Content-Length: 3", "Transfer-Encoding: chunked", method="POST", body=b"abc"
    ),
    "expect-odd": request("/good", "Expect: wonders", "Content-Length: 3", method="POST", body=b"abc"),
}
"""What clients may not say."""

EARLY: Final = request("/early", "Content-Length: 6")
GARBAGE: Final = (b"\0" * 100, b"\xff" * 5000, b"SSH-2.0-x\r\n", b"EHLO x\r\n", b"\x16\x03\x01\x00\x05hello", b"GET")


class ClientsTests(Twins):
    """
    Clients that do not do as they should.
    """

    def setUp(self) -> None:
        """
        Start both, impatient.
        """
        super().setUp()
        self.serve(
            "client_header_timeout 500ms; client_body_timeout 500ms; send_timeout 500ms; keepalive_timeout 500ms;"
            " lingering_timeout 500ms;"
            " location = /small { client_max_body_size 10; proxy_pass http://one; }"
            " location = /early/stream { proxy_request_buffering off; proxy_pass http://one; }",
            {**ANSWERS, "small": (ok(b"small"),), "early": (BODY, ok(b"early"))},
        )

    def heard(self, kind: Kind = SNIPROXY) -> int:
        """
        How many requests the upstreams of one have heard.
        """
        return sum(len(back.heard) for back in self.backs[kind])

    def more(self, kind: Kind, count: int) -> None:
        """
        Wait until an upstream has heard more than so many.
        """
        eventually(lambda: self.heard(kind) > count, "a request at the upstream")

    def test_refusals(self) -> None:
        """
        Each is refused as nginx does it, in its words, and no upstream hears of it.
        """
        before = self.heard()
        self.compare(REFUSALS)
        self.assertEqual(self.heard() - before, self.heard(NGINX))
        self.nothing_left()

    def test_garbage(self) -> None:
        """
        What is no HTTP gets nginx's answer or none, and reaches nobody.
        """
        for data in GARBAGE:
            theirs, ours = (exchange(self.ports[kind], data + b"\r\n\r\n") for kind in (NGINX, SNIPROXY))
            self.assertEqual(tidy(ours), tidy(theirs), data)
        self.assertEqual(self.heard(), 0)
        self.nothing_left()

    def test_smuggling(self) -> None:
        """
        Of a request that could be read in two ways nothing reaches the upstream: its client gets a refusal, the
        connection ends, and the request that is hidden in it is nobody's.
        """
        port = self.ports[SNIPROXY]
        for name, data, status, _ in REQUESTS:
            data = data.replace(b" /a ", b" /good ")
            answer = exchange(port, data + HIDDEN)
            self.assertEqual(answer.count(b"HTTP/1.1 "), 1, (name, answer))
            self.assertEqual(answer[9:12], b"%d" % status, name)
            self.assertIn(b"\r\nConnection: close\r\n", answer, name)
            self.assertEqual(self.heard(), 0, name)
        self.nothing_left()

    def test_smuggling_behind(self) -> None:
        """
        The same behind a good request on the same connection, where one whose body is passed on as it comes may have
        begun; nothing is begun twice.
        """
        port = self.ports[SNIPROXY]
        good = b"GET /good HTTP/1.1\r\nHost: www.example.com\r\n\r\n"
        for name, data, status, _ in REQUESTS:
            answer = exchange(port, good + data.replace(b" /a ", b" /early/stream ") + HIDDEN)
            self.assertEqual(answer.count(b"HTTP/1.1 "), 2, (name, answer))
            self.assertIn(b"HTTP/1.1 %d " % status, answer, name)
        self.nothing_left()
        lines = Counter(head.split(b"\r\n")[0] for back in self.backs[SNIPROXY] for head in back.heard)
        self.assertEqual(lines.pop(b"GET /good HTTP/1.1"), len(REQUESTS) + 1)
        self.assertLess(lines.pop(b"POST /early/stream HTTP/1.1"), len(REQUESTS) / 2)
        self.assertEqual(lines, Counter())

    def test_passed_on(self) -> None:
        """
        What goes to the upstream is written anew: no field of the connection, one host, one length.
        """
        lines = ("Connection: close, X-Secret", "X-Secret: s", "TE: trailers", "Keep-Alive: 5", "Proxy-Connection: x")
        data = request(
            "/small", *lines, "Transfer-Encoding: chunked", method="POST", body=b"3\r\nabc\r\n0\r\nX: y\r\n\r\n"
        )
        self.assertIn(b"small", exchange(self.ports[SNIPROXY], data))
        (head,) = self.backs[SNIPROXY][0].heard
        names = sorted(line.split(b":")[0].lower() for line in head.split(b"\r\n")[1:])
        self.assertEqual(names, sorted({*names}))
        self.assertIn(b"\r\nContent-Length: 3", head)
        for name in (b"connection", b"te", b"keep-alive", b"transfer-encoding", b"x"):
            self.assertNotIn(name, names)

    def slow(self, *pieces: bytes, pause: float = 0.2) -> bytes:
        """
        Send pieces with pauses between them, until somebody has had enough.
        """
        with socket.create_connection(("127.0.0.1", self.ports[SNIPROXY]), PATIENCE) as client:
            begun = time.monotonic()
            client.settimeout(pause)
            answer = b""
            for piece in pieces:
                try:
                    client.sendall(piece)
                    block = client.recv(65536)
                except TimeoutError:
                    continue
                except OSError:
                    break
                answer += block
                if not block:
                    break
            else:
                client.settimeout(PATIENCE)
                answer += read_all(client)
            self.took = time.monotonic() - begun
            return answer

    def test_slow_head(self) -> None:
        """
        A head that comes byte by byte is not waited for longer than its deadline, which no byte moves.
        """
        head = request("/good")
        answer = self.slow(*(head[at : at + 1] for at in range(len(head))))
        self.assertTrue(not answer or answer.startswith(b"HTTP/1.1 408"), answer)
        self.assertLess(self.took, 3)
        self.assertEqual(self.slow(), b"")
        self.assertEqual(self.slow(b"\r\n"), b"")
        self.assertEqual(self.heard(), 0)
        self.nothing_left()

    def test_slow_body(self) -> None:
        """
        A body that stops is not waited for, and its client is told nothing, as by nginx; one that comes slowly is.
        """
        head = request("/early", "Content-Length: 6", method="POST")
        self.assertEqual(self.slow(head + b"abc"), b"")
        self.assertEqual(self.heard(), 0)
        self.assertTrue(self.slow(head, b"a", b"b", b"c", b"d", b"e", b"f").startswith(b"HTTP/1.1 200"))
        self.assertEqual(self.heard(), 1)
        self.nothing_left()

    def test_half_closed(self) -> None:
        """
        Who ends his side behind a request is taken for gone, as nginx does it, and his upstream is let go; in the
        middle of a head or of a body he gets what nginx gives him.
        """
        for data in (
            request("/good"),
            request("/silence"),
            request("/good")[:20],
            request("/early", "Content-Length: 6"),
        ):
            found = {}
            for kind, port in self.ports.items():
                count = self.heard(kind)
                with socket.create_connection(("127.0.0.1", port), PATIENCE) as client:
                    client.sendall(data)
                    if b"silence" in data:
                        self.more(kind, count)
                    client.shutdown(socket.SHUT_WR)
                    found[kind] = tidy(read_all(client))[:12]
            if data == request("/good"):
                self.assertIn(found[SNIPROXY], ("", "HTTP/1.1 200"))
            elif data == EARLY:
                self.assertEqual((found[SNIPROXY], found[NGINX]), ("HTTP/1.1 400", ""))  # nginx only logs it
            else:
                self.assertEqual(found[SNIPROXY], found[NGINX], data)
        self.nothing_left()

    def test_resets(self) -> None:
        """
        Clients that reset at any time leave nothing behind.
        """
        for data in (request("/good"), request("/silence"), b"GET", request("/early", "Content-Length: 9") + b"a", b""):
            for _ in range(5):
                with socket.create_connection(("127.0.0.1", self.ports[SNIPROXY]), PATIENCE) as client:
                    client.sendall(data)
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_ZERO)
        self.nothing_left()


BLOCK: Final = bytes(65536)
LONG: Final = 1024
"""Blocks of a body that is long."""
CROWD: Final = 100
EACH: Final = 300
"""KiB that a client may cost: what C{proxy_buffers} say, one piece more, and the objects."""


class MemoryTests(Twins):
    """
    Bodies that nobody takes.
    """

    def resident(self) -> int:
        """
        Memory of the proxy, in KiB.
        """
        found = re.search(r"VmRSS:\s+(\d+)", read_text(f"/proc/{self.proxies[SNIPROXY].processes()[0]}/status"))
        assert found is not None
        return int(found[1])

    def settled(self) -> None:
        """
        Wait until nothing moves any more.
        """
        last: list[int] = []

        def still() -> bool:
            nonlocal last
            now, before = list(self.moved), last
            last = now
            time.sleep(0.2)  # there is nothing to wait for but that nothing happens
            return now == before and len(now) == CROWD and sum(now) > 0

        eventually(still, "nothing moves", 4 * PATIENCE)

    def crowd(self, head: bytes, inside: str, talk: Callable[[socket.socket, Visit], None]) -> list[socket.socket]:
        """
        Many clients ask for the same; what they cost together is what their buffers hold.
        """
        self.moved: list[int] = []
        patient = "proxy_read_timeout 60s; proxy_send_timeout 60s; send_timeout 60s; client_body_timeout 60s;"
        self.serve(f"location = /x {{ {patient} {inside} proxy_pass http://one; }}")
        server = self.backs[SNIPROXY][0].server
        usual, server._talk = server._talk, talk
        before = self.resident()
        clients = []
        for _ in range(CROWD):
            client = socket.create_connection(("127.0.0.1", self.ports[SNIPROXY]), PATIENCE)
            self.addCleanup(client.close)
            client.sendall(head)
            client.setblocking(False)
            clients.append(client)
        if b"POST" in head:
            self.moved = [0] * CROWD
            for number, client in enumerate(clients):
                self.push(number, client)
        self.settled()
        self.assertLess(max(self.moved), LONG)
        self.assertLess(self.resident() - before, CROWD * EACH)
        self.assertGreaterEqual(self.proxies[SNIPROXY].connections(), 2 * CROWD)
        server._talk = usual
        return clients

    def push(self, number: int, client: socket.socket) -> None:
        """
        Send as much as is taken.
        """
        deadline = time.monotonic() + 1
        while time.monotonic() < deadline and self.moved[number] < LONG:
            try:
                client.send(BLOCK)
            except BlockingIOError:
                return
            self.moved[number] += 1

    def downloads(self, inside: str) -> None:
        """
        Nobody reads.
        """

        def talk(connection: socket.socket, visit: Visit) -> None:
            number = len(self.moved)
            self.moved.append(0)
            connection.recv(65536)
            connection.sendall(OK + b"Content-Length: %d\r\n\r\n" % (LONG * len(BLOCK)))
            for _ in range(LONG):
                connection.sendall(BLOCK)
                self.moved[number] += 1

        for client in self.crowd(request("/x"), inside, talk):
            client.close()
        self.nothing_left()

    def test_downloads(self) -> None:
        """
        A hundred clients that ask for 64 MiB each and read nothing cost what their buffers hold; and when they go, so
        do their upstreams.
        """
        self.downloads("")

    def test_unbuffered(self) -> None:
        """
        The same where answers are passed on at once.
        """
        self.downloads("proxy_buffering off;")

    def test_uploads(self) -> None:
        """
        A hundred bodies that are passed on as they come, to an upstream that reads none of them, stay with the clients.
        """

        def talk(connection: socket.socket, visit: Visit) -> None:
            connection.recv(1)
            self.over.wait(8 * PATIENCE)

        self.over = threading.Event()
        self.addCleanup(self.over.set)
        head = request("/x", f"Content-Length: {LONG * len(BLOCK)}", method="POST")
        clients = self.crowd(head, "client_max_body_size 0; proxy_request_buffering off;", talk)
        for client in clients:
            client.close()
        self.over.set()
        self.nothing_left()


POST: Final = [(":method", "POST"), (":scheme", "http"), (":authority", "www.example.com"), (":path", "/swallow/x")]

SPOILED: Final[dict[str, tuple[list[tuple[str, str]], tuple[bytes, ...]]]] = {
    # what the head says beyond the usual, and the pieces of the body
    "length too small": ([*POST, ("content-length", "3")], (b"abc", b"GET /hidden HTTP/1.1\r\nHost: h\r\n\r\n")),
    "length too small, one piece": ([*POST, ("content-length", "3")], (b"abcGET /hidden HTTP/1.1\r\nHost: h\r\n\r\n",)),
    "length too large": ([*POST, ("content-length", "100")], (b"abc",)),
    "length without a body": ([*POST, ("content-length", "100")], ()),
    "length of nothing": ([*POST, ("content-length", "0")], (b"GET /hidden HTTP/1.1\r\nHost: h\r\n\r\n",)),
    "length twice": ([*POST, ("content-length", "3"), ("content-length", "3")], (b"abc",)),
    "length with plus": ([*POST, ("content-length", "+3")], (b"abc",)),
    "length in a list": ([*POST, ("content-length", "3, 3")], (b"abc",)),
    "chunked": ([*POST, ("transfer-encoding", "chunked")], (b"0\r\n\r\nGET /hidden HTTP/1.1\r\nHost: h\r\n\r\n",)),
    "chunked by a line end": ([*POST, ("x", "a\r\ntransfer-encoding: chunked")], (b"0\r\n\r\n",)),
    "line end in a name": ([*POST, ("x\r\ny", "a")], (b"abc",)),
    "colon in a name": ([*POST, ("transfer-encoding: chunked\r\nx", "a")], (b"0\r\n\r\n",)),
    "bare LF": ([*POST, ("x", "a\ncontent-length: 0")], (b"abc",)),
    "bare CR": ([*POST, ("x", "a\rcontent-length: 0")], (b"abc",)),
    "NUL": ([*POST, ("x", "a\0b")], (b"abc",)),
    "path with a line end": ([*POST[:3], (":path", "/swallow/x HTTP/1.1\r\nHost: h\r\n\r\nGET /hidden")], (b"abc",)),
    "path with a blank": ([*POST[:3], (":path", "/swallow/x HTTP/1.1")], (b"abc",)),
    "method with a line end": ([(":method", "GET /hidden HTTP/1.1\r\nHost: h\r\n\r\nPOST"), *POST[1:]], (b"abc",)),
    "host with a line end": ([*POST[:2], (":authority", "x\r\nA: b"), POST[3]], (b"abc",)),
    "two hosts": ([*POST, ("host", "other.example.com")], (b"abc",)),
    "connection": ([*POST, ("connection", "content-length")], (b"abc",)),
    "upgrade": ([*POST, ("upgrade", "websocket")], (b"abc",)),
}
"""Messages of HTTP/2 that would be two, or others, if they were written down as HTTP/1 without a thought."""


class DowngradeTests(Twins):
    """
    Requests of HTTP/2 that an upstream gets in HTTP/1.
    """

    def setUp(self) -> None:
        """
        Start the proxy with a location that gathers bodies and one that passes them on.
        """
        super().setUp()
        self.serve(
            "http2 on; location ~ /stream$ { proxy_request_buffering off; proxy_pass http://one; }", kinds=(SNIPROXY,)
        )

    def say(self, pairs: list[tuple[str, str]], pieces: tuple[bytes, ...]) -> tuple[int, int | None]:
        """
        One request on a connection of its own.

        @return: the status, and the code with which the stream or the connection was broken off.
        """
        wire = Wire(self.ports[SNIPROXY])
        self.addCleanup(wire.sock.close)
        client = Client(wire)  # type: ignore[arg-type]
        number = client.raw(list(pairs), end=not pieces)
        for at, piece in enumerate(pieces, 1):
            frame = DataFrame(number, piece)
            if at == len(pieces):
                frame.flags.add("END_STREAM")
            client.frames(frame)
        heard = client.answers[number]

        def ended() -> bool:
            client.turn()
            return heard.ended or heard.reset is not None or wire.closed or client.goodbye is not None

        eventually(ended, f"the end of {pairs}")
        wire.sock.close()
        return heard.status, heard.reset if heard.reset is not None else client.goodbye

    def test_spoiled(self) -> None:
        """
        Each is refused, and no upstream gets a whole request, or one with anything in it that was not said.
        """
        for name, (pairs, pieces) in SPOILED.items():
            for stream in ("", "/stream"):
                sent = [(key, value.replace("/swallow/x", f"/swallow/x{stream}")) for key, value in pairs]
                status, code = self.say(sent, pieces)
                self.assertTrue(status in (0, 400), (name, stream, status, code))
                self.assertTrue(status or code is not None, (name, stream))
        self.assertEqual(self.say([*POST, ("content-length", "3")], (b"a", b"bc")), (200, None))
        self.assertEqual(self.say([*POST[:3], (":path", "/swallow/stream")], (b"a", b"bc")), (200, None))
        self.nothing_left()
        whole = []
        for back in self.backs[SNIPROXY]:
            for visit in back.server.visits:
                self.assertNotIn(b"hidden", visit.received)
                events = requests(bytes(visit.received))
                self.assertFalse([event for event in events if isinstance(event, Refused)], visit.received)
                heads = [event for event in events if isinstance(event, RequestHead)]
                whole += heads[: sum(isinstance(event, End) for event in events)]
        self.assertEqual(sorted(head.target for head in whole), ["/good", "/swallow/stream", "/swallow/x"])


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
