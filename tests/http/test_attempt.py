"""
Tests for L{sniproxy.http.attempt}.
"""

from __future__ import annotations

import errno

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.http.attempt import PIECE, TURN
from tests.support.sessions import FakeLeg
from tests.support.upstreams import Proxied, answer, asked, chunked, one
from tests.support.webs import answers, head

GET = head("GET /a HTTP/1.1")


class AttemptCase(SynchronousTestCase):
    """
    What tests of this file share.
    """

    def begin(self, more: str = "", data: bytes = GET, room: int | None = None) -> tuple[Proxied, FakeLeg, FakeLeg]:
        """
        A request that has reached its upstream.

        @param room: of the upstream's leg.
        @return: the web, the client's leg and the upstream's.
        """
        web = Proxied(
            "client_max_body_size 0; proxy_read_timeout 20s; proxy_send_timeout 10s;"
            f" location / {{ proxy_pass http://192.0.2.2; {more} }}"
        )
        client = web.client(data)
        attempt = web.world.attempt()
        upstream = FakeLeg(web.world.network, attempt.address, attempt.address)
        upstream.room = room
        upstream.watch()
        web.world.network.due.clear()
        attempt.deliver(upstream)
        web.turn()
        return web, client, upstream

    def said(self, web: Proxied, words: str) -> None:
        """
        The only complaint.
        """
        self.assertEqual(web.complaint(), words)


class SendingTests(AttemptCase):
    """
    What is sent.
    """

    def test_one_send(self) -> None:
        """
        Head and small body go out together.
        """
        _, _, upstream = self.begin(data=head("POST / HTTP/1.1", "Content-Length: 3") + b"abc")
        self.assertEqual(asked(upstream).body, b"abc")

    def test_cramped(self) -> None:
        """
        An upstream that takes little gets the rest when it takes more.
        """
        body = bytes(100_000)
        web, client, upstream = self.begin(
            data=head("POST / HTTP/1.1", f"Content-Length: {len(body)}") + body, room=5000
        )
        self.assertEqual(web.world.session().client, client)
        got = b""
        while data := upstream.taken():
            self.assertLessEqual(len(data), 5000)
            got += data
        self.assertTrue(got.endswith(body))
        upstream.arrive(answer(b"fine"))
        self.assertEqual(one(client).body, b"fine")
        self.assertEqual(web.request().upstream_states[0].bytes_sent, len(got))

    def test_late(self) -> None:
        """
        One that takes nothing for too long is given up.
        """
        web, client, _ = self.begin(room=10)
        web.world.pass_time(10.1)
        self.assertEqual(one(client).status, 504)
        self.said(web, "upstream timed out (110: Connection timed out) while sending request to upstream")

    def test_broken(self) -> None:
        """
        One that breaks before it has taken all is given up.
        """
        web, client, upstream = self.begin(room=10)
        upstream._broken = OSError(errno.EPIPE, "Broken pipe")
        receive = upstream.receive
        upstream.receive = lambda limit: None  # type: ignore[method-assign]
        upstream.edge(4)
        upstream.receive = receive  # type: ignore[method-assign]
        self.assertEqual(one(client).status, 502)
        self.said(web, "send() failed (32: Broken pipe) while sending request to upstream")

    def early(self, data: bytes, *, whole: bool = True) -> tuple[Proxied, FakeLeg, FakeLeg]:
        """
        An upstream that answers before it was told all, and takes no more.
        """
        web, client, upstream = self.begin(
            data=head("POST / HTTP/1.1", "Content-Length: 50000") + bytes(50000), room=100
        )
        send = upstream.send
        upstream.send = self._no_more  # type: ignore[method-assign]
        upstream._incoming += data
        upstream.edge(5)
        upstream.send = send  # type: ignore[method-assign]
        return web, client, upstream

    def _no_more(self, data: bytes | memoryview) -> int:
        raise OSError(errno.ECONNRESET, "Connection reset by peer")

    def test_early(self) -> None:
        """
        What it says is passed on, and its connection is not used again.
        """
        web, client, upstream = self.early(answer(b"too much", line="HTTP/1.1 413 No"))
        self.assertEqual(one(client).status, 413)
        self.assertEqual(web.complaints(), [])
        self.assertTrue(upstream.closed)

    def test_early_piece(self) -> None:
        """
        So is what it goes on to say.
        """
        web, client, upstream = self.early(answer(b"", "Content-Length: 4", length=False))
        upstream.arrive(b"rest")
        self.assertEqual(one(client).body, b"rest")
        self.assertTrue(upstream.closed)
        self.assertEqual(web.complaints(), [])

    def test_early_and_patient(self) -> None:
        """
        Also one that would take more, if it were told.
        """
        _, client, upstream = self.begin(data=head("POST / HTTP/1.1", "Content-Length: 50000") + bytes(50000), room=100)
        upstream.arrive(answer(b"fine"))
        self.assertEqual(one(client).body, b"fine")
        self.assertTrue(upstream.closed)

    def test_turns(self) -> None:
        """
        A large body keeps nobody else waiting.
        """
        size = PIECE * TURN
        _, client, upstream = self.begin(
            data=head("POST / HTTP/1.1", f"Content-Length: {size}") + bytes(size), more="proxy_request_buffering off;"
        )
        self.assertEqual(len(asked(upstream).body), size)
        upstream.arrive(answer(b"fine"))
        self.assertEqual(one(client).body, b"fine")


class StreamingTests(AttemptCase):
    """
    Bodies that are passed on as they come.
    """

    def stream(self, *fields: str, room: int | None = None) -> tuple[Proxied, FakeLeg, FakeLeg]:
        """
        A request whose head alone has come.
        """
        return self.begin("proxy_request_buffering off;", head("POST / HTTP/1.1", *fields), room)

    def test_pieces(self) -> None:
        """
        Each piece goes on when it comes.
        """
        _, client, upstream = self.stream("Content-Length: 6")
        self.assertTrue(upstream.taken().endswith(b"Content-Length: 6\r\n\r\n"))
        client.arrive(b"abc")
        self.assertEqual(upstream.taken(), b"abc")
        client.arrive(b"def")
        self.assertEqual(upstream.taken(), b"def")
        upstream.arrive(answer(b"fine"))
        self.assertEqual(one(client).body, b"fine")
        self.assertFalse(upstream.closed)

    def test_chunks(self) -> None:
        """
        Also in chunks.
        """
        _, client, upstream = self.stream("Transfer-Encoding: chunked")
        client.arrive(b"3\r\nabc\r\n")
        self.assertTrue(upstream.taken().endswith(b"\r\n\r\n3\r\nabc\r\n"))
        client.arrive(b"0\r\n\r\n")
        self.assertEqual(upstream.taken(), b"0\r\n\r\n")

    def test_patience(self) -> None:
        """
        As long as the client has something to send, the upstream is not late.
        """
        web, client, upstream = self.stream("Content-Length: 3")
        web.world.pass_time(30)
        client.arrive(b"abc")
        web.world.pass_time(15)
        upstream.arrive(answer(b"fine"))
        self.assertEqual(one(client).body, b"fine")

    def test_broken(self) -> None:
        """
        A client that breaks off is told so, and the upstream is left alone.
        """
        web, client, upstream = self.stream("Transfer-Encoding: chunked")
        client.arrive(b"x\r\n")
        self.assertEqual(one(client).status, 400)
        self.assertTrue(upstream.closed)
        self.said(web, "client sent invalid chunked body while sending request to upstream")

    def test_too_large(self) -> None:
        """
        A client that sends more than it may is refused, and the log says why.
        """
        web, client, upstream = self.begin(
            "proxy_request_buffering off; client_max_body_size 4;",
            head("POST / HTTP/1.1", "Transfer-Encoding: chunked"),
        )
        client.arrive(b"3\r\nabc\r\n")
        client.arrive(b"2\r\nde\r\n")
        self.assertEqual(one(client).status, 413)
        self.assertTrue(upstream.closed)
        self.said(web, "client intended to send too large chunked body: 3+2 bytes while sending request to upstream")

    def test_answered_meanwhile(self) -> None:
        """
        An answer is passed on while the body is still coming, and what follows of that is not asked for.
        """
        _, client, upstream = self.stream("Content-Length: 6")
        upstream.arrive(answer(b"", "Content-Length: 4", length=False) + b"ha")
        client.arrive(b"abc")
        self.assertTrue(upstream.taken().endswith(b"abc"))
        upstream.arrive(b"lt")
        self.assertTrue(upstream.closed)
        self.assertEqual(answers(client.taken())[0].body, b"halt")
        client.arrive(b"def")

    def test_cramped(self) -> None:
        """
        The client is not asked for more than the upstream takes.
        """
        _, client, upstream = self.stream("Content-Length: 200000", room=1000)
        client.arrive(bytes(200000))
        self.assertGreater(len(client.left), 100000)
        got = b""
        while data := upstream.taken():
            got += data
        self.assertTrue(got.endswith(bytes(200000)))


class ReadingTests(AttemptCase):
    """
    What comes back.
    """

    def test_whole(self) -> None:
        """
        An answer goes on as it is, and the times are noted.
        """
        web, client, upstream = self.begin()
        web.world.pass_time(1)
        upstream.arrive(answer(b"he"))
        self.assertEqual(one(client).body, b"he")
        (state,) = web.request().upstream_states
        self.assertEqual((state.status, state.response_length, state.bytes_received), (200, 2, len(answer(b"he"))))
        self.assertEqual((round(state.header_time, 3), round(state.response_time, 3)), (1.0, 1.0))

    def test_chunked(self) -> None:
        """
        Chunks are taken apart and made anew; trailers stay here.
        """
        web, client, upstream = self.begin()
        upstream.arrive(chunked(b"one", b"two"))
        upstream.arrive(b"0\r\nX: y\r\n\r\n")
        self.assertIn(b"\r\n6\r\nonetwo\r\n0\r\n\r\n", client.taken())
        self.assertFalse(upstream.closed)
        self.assertEqual(web.request().upstream_states[0].trailers, (("X", "y"),))

    def test_lengths(self) -> None:
        """
        All that comes behind the head counts, frames of chunks among it, and heads before the last one do not.
        """
        web, _, upstream = self.begin()
        upstream.arrive(b"HTTP/1.1 103 Early Hints\r\n\r\n")
        upstream.arrive(chunked(b"one"))
        upstream.arrive(b"0\r\n\r\n")
        self.assertEqual(web.request().upstream_states[0].response_length, len(b"3\r\none\r\n0\r\n\r\n"))

    def test_too_much(self) -> None:
        """
        What comes behind the end of an answer goes to nobody: the log tells of it, and the connection is not kept.
        """
        last = chunked(b"one") + b"0\r\n\r\n"
        for data, words in (
            (answer(b"abc"), 'upstream sent more data than specified in "Content-Length" header'),
            (
                answer(line="HTTP/1.1 304 Not Modified"),
                'upstream sent more data than specified in "Content-Length" header',
            ),
            (last, "upstream sent data after final chunk"),
        ):
            web, client, upstream = self.begin()
            upstream.arrive(data + answer(b"hidden"))
            self.assertNotIn(b"hidden", client.taken())
            (line,) = [line for line in web.lines if line.startswith("[warn]")]
            self.assertIn(f"{words} while reading upstream, client: ", line)
            self.assertTrue(upstream.closed)
            self.assertEqual(
                web.request().upstream_states[0].response_length,
                len(data + answer(b"hidden")) - len(data.partition(b"\r\n\r\n")[0]) - 4,
            )

    def test_a_body_for_head(self) -> None:
        """
        A body behind the answer to HEAD is nobody's, and nothing to tell of.
        """
        web, _, upstream = self.begin("", head("HEAD / HTTP/1.1"))
        upstream.arrive(answer(b"hidden"))
        self.assertEqual(([line for line in web.lines if "[warn]" in line], upstream.closed), ([], True))
        self.assertEqual(web.request().upstream_states[0].response_length, 0)

    def test_trailers(self) -> None:
        """
        With proxy_pass_trailers on they go on.
        """
        _, client, upstream = self.begin("proxy_pass_trailers on;")
        upstream.arrive(chunked(b"one") + b"0\r\nX: y\r\n\r\n")
        self.assertTrue(client.taken().endswith(b"\r\n0\r\nX: y\r\n\r\n"))

    def test_unbuffered(self) -> None:
        """
        With proxy_buffering off what comes goes out at once; else it waits until it is worth a segment.
        """
        for more, bodies in (("proxy_buffering off;", [b"a", b"b"]), ("", [b"", b""])):
            _, client, upstream = self.begin(more)
            upstream.arrive(answer(b"", "Content-Length: 3", length=False) + b"a")
            self.assertEqual(client.taken().partition(b"\r\n\r\n")[2], bodies[0])
            upstream.arrive(b"b")
            self.assertEqual(client.taken(), bodies[1])

    def test_slow_client(self) -> None:
        """
        Of an answer no more is taken than proxy_buffers say, while the client takes nothing; the upstream is not late.
        """
        web, client, upstream = self.begin("proxy_buffers 2 40k;")
        client.room = 1000
        body = bytes(range(256)) * 4000
        upstream.arrive(answer(body))
        self.assertGreater(len(upstream.left), len(body) - 6 * PIECE)
        web.world.pass_time(30)
        got = b""
        while data := client.taken():
            got += data
        web.turn()
        self.assertEqual(answers(got)[0].body, body)
        self.assertEqual(web.complaints(), [])
        self.assertFalse(upstream.closed)

    def test_let_go(self) -> None:
        """
        An upstream whose whole answer fits in the buffers is free before the client has it.
        """
        web, client, upstream = self.begin()
        client.room = 1000
        upstream.arrive(answer(b"", "Content-Length: 30000", length=False) + bytes(10000))
        upstream.arrive(bytes(20000))
        other = web.client(GET)
        upstream.taken()
        upstream.arrive(answer(b"next"))
        self.assertEqual(one(other).body, b"next")
        got = b""
        while data := client.taken():
            got += data
        self.assertEqual(answers(got)[0].body, bytes(30000))

    def test_client_breaks(self) -> None:
        """
        A client that breaks in the middle of an answer takes the upstream with it.
        """
        _, client, upstream = self.begin()
        upstream.arrive(answer(b"", "Content-Length: 30000", length=False) + bytes(10000))
        client._broken = OSError(errno.EPIPE, "Broken pipe")
        upstream.arrive(bytes(10000))
        self.assertTrue(upstream.closed)
        self.assertTrue(client.closed)

    def test_client_breaks_late(self) -> None:
        """
        So does one that breaks when the rest is sent.
        """
        _, client, upstream = self.begin()
        client.room = 1000
        upstream.arrive(answer(b"", "Content-Length: 300000", length=False) + bytes(80000))
        client.lose()
        self.assertTrue(upstream.closed)

    def test_turns(self) -> None:
        """
        An upstream that sends without a pause keeps nobody waiting.
        """
        web, client, upstream = self.begin()
        size = PIECE * (TURN + 3)
        upstream._incoming += answer(bytes(size))
        upstream.edge(5)
        self.assertGreater(len(upstream.left), 0)
        web.turn()
        self.assertEqual(len(one(client).body), size)

    def test_interim(self) -> None:
        """
        Answers that are none yet are not passed on.
        """
        _, client, upstream = self.begin()
        upstream.arrive(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n")
        upstream.arrive(answer(b"fine"))
        self.assertEqual(one(client).body, b"fine")


class BrokenTests(AttemptCase):
    """
    Upstreams that do not answer as they should.
    """

    def refused(self, data: bytes, words: str, *, end: bool = False) -> None:
        """
        It is 502 for the client.
        """
        web, client, upstream = self.begin()
        upstream.arrive(data)
        if end:
            upstream.end()
        self.assertEqual(one(client).status, 502)
        self.said(web, f"{words} while reading response header from upstream")
        self.assertTrue(upstream.closed)
        self.assertEqual(web.request().upstream_states[0].status, 502)

    def test_garbage(self) -> None:
        """
        Garbage is no answer.
        """
        self.refused(b"SSH-2.0-x\r\n", "upstream sent no valid HTTP/1.0 header")

    def test_too_big(self) -> None:
        """
        Nor is a head that is larger than proxy_buffer_size.
        """
        self.refused(answer(b"", f"X: {'x' * 4096}"), "upstream sent too big header")

    def test_nothing(self) -> None:
        """
        Nor is nothing.
        """
        self.refused(b"", "upstream prematurely closed connection", end=True)
        self.refused(b"HTTP/1.1 200 OK\r\nX", "upstream prematurely closed connection", end=True)

    def test_reset(self) -> None:
        """
        Nor is a broken connection.
        """
        web, client, upstream = self.begin()
        upstream.lose()
        self.assertEqual(one(client).status, 502)
        self.said(web, "recv() failed (104: Connection reset by peer) while reading response header from upstream")

    def test_late(self) -> None:
        """
        One that does not come in time is 504.
        """
        web, client, _ = self.begin()
        web.world.pass_time(20.1)
        self.assertEqual(one(client).status, 504)
        self.said(web, "upstream timed out (110: Connection timed out) while reading response header from upstream")

    def broken_off(self, words: str, *, data: bytes = b"", end: bool = False, lose: bool = False) -> None:
        """
        A body that breaks off breaks the client's connection off.
        """
        web, client, upstream = self.begin()
        upstream.arrive(chunked(b"abc"))
        if data:
            upstream.arrive(data)
        if end:
            upstream.end()
        if lose:
            upstream.lose()
        if not (data or end or lose):
            web.world.pass_time(20.1)
        self.assertTrue(client.taken().endswith(b"3\r\nabc\r\n"))
        web.turn()
        self.said(web, f"{words} while reading upstream")
        self.assertTrue(upstream.closed)
        self.assertTrue(client.closed or client.finished)

    def test_broken_off(self) -> None:
        """
        Whether the upstream has ended, has broken, is late or talks nonsense.
        """
        self.broken_off("upstream prematurely closed connection", end=True)
        self.broken_off("recv() failed (104: Connection reset by peer)", lose=True)
        self.broken_off("upstream sent invalid chunked response", data=b"zz\r\n")
        self.broken_off("upstream timed out (110: Connection timed out)")

    def test_unasked(self) -> None:
        """
        Another protocol that nobody asked for is no answer.
        """
        self.refused(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
            "upstream switched to another protocol, which nobody had asked for",
        )
