"""
What can a hostile client do to the running http proxy? Broken messages, silence, floods and early ends: each gets what
nginx gives, nothing is left open, nothing grows, and no request comes through that two readers could read in two ways.

Strategy: what nginx has an opinion of is given to both, and answers and logs are compared; the rest is asked of us
alone. What comes to the upstreams is written down there.
"""

from __future__ import annotations

import re
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Final

from hyperframe.frame import DataFrame

from sniproxy.wire.http1 import End, Refused, RequestHead
from tests.interop.test_http2 import Wire
from tests.support.backends import LINGER_ZERO, Visit
from tests.support.clients import read_all
from tests.support.http1 import requests
from tests.support.http2 import Client
from tests.support.programs import PATIENCE, eventually, read_text
from tests.support.proxies import NGINX, SNIPROXY, Kind
from tests.support.scripted import BODY, OK, USUAL, Twins, exchange, ok, request, tidy
from tests.wire.test_http1_smuggling import HIDDEN, REQUESTS

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
            {**USUAL, "small": (ok(b"small"),), "early": (BODY, ok(b"early"))},
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
