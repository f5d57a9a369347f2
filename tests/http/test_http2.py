"""
Tests for L{sniproxy.http.http2}: a client that is h2 itself, and frames it would not send.
"""

from __future__ import annotations

import errno
import gc
from collections.abc import Callable
from struct import pack
from typing import Any

from h2.settings import SettingCodes
from hpack import Encoder
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    ExtensionFrame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    PushPromiseFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.http import http2
from sniproxy.http.exchange import Reply
from sniproxy.http.http2_protocol import Protocol
from sniproxy.http.http2_stream import Stream
from sniproxy.http.request import Request
from sniproxy.wire.http1 import PREFACE
from tests.http.test_http1 import Holding
from tests.support.http2 import Client, Heard
from tests.support.sessions import FakeLeg
from tests.support.webs import Web

PROTOCOL_ERROR = 1
INTERNAL_ERROR = 2
FLOW_CONTROL_ERROR = 3
STREAM_CLOSED = 5
FRAME_SIZE_ERROR = 6
REFUSED_STREAM = 7
CANCEL = 8
COMPRESSION_ERROR = 9
ENHANCE_YOUR_CALM = 11

GET = [(":method", "GET"), (":scheme", "http"), (":authority", "x"), (":path", "/a")]
HELD = [*GET[:3], (":path", "/h")]
POST = [(":method", "POST"), *HELD[1:]]


def data(number: int, body: bytes, end: bool = False) -> DataFrame:
    """
    A piece of a body.
    """
    frame = DataFrame(number, body)
    if end:
        frame.flags.add("END_STREAM")
    return frame


class Http2Case(SynchronousTestCase):
    """
    What tests of this file share.
    """

    def setUp(self) -> None:
        self.holding = Holding()

    def web(self, server: str = "", **more: Any) -> Web:
        """
        A server with three locations: one that answers at once, one that holds, one that reads bodies.
        """
        contents: dict[str, Callable[[Request], None]] = {"hold": self.holding, "read": self.holding.read}
        locations = "location /a { content hello; } location /h { content hold; } location /r { content read; }"
        self.last = Web(f"http2 on; {server} {locations}", contents, **more)
        return self.last

    def client(self, server: str = "", **more: Any) -> Client:
        """
        A client of such a server.
        """
        return Client(self.web(server).client(), **more)

    def settle(self, client: Client) -> Client:
        """
        Let time stand, and everything else move until it rests.
        """
        for _ in range(40):
            self.last.turn()
            client.turn()
        return client


class RequestTests(Http2Case):
    """
    Requests that come as they should.
    """

    def test_one(self) -> None:
        """
        A request is answered, and the connection stays for the next one.
        """
        client = self.client()
        for count in (1, 2):
            number = client.ask("/a?b")
            heard = client.turn().answers[number]
            self.assertEqual((heard.status, heard.body, heard.ended, heard.reset), (200, b"hello\n", True, None))
            self.assertEqual(list(heard.headers), ["server", "date", "content-type", "content-length"])
            request = self.last.over[-1]
            self.assertEqual((request.line, request.text), ("GET /a?b HTTP/2.0", "HTTP/2.0"))
            self.assertEqual((request.count, request.complete, request.status), (count, True, 200))
            self.assertEqual(request.fields, {"host": "x"})
        self.assertFalse(client.leg.closed)

    def test_every_cut(self) -> None:
        """
        Where the network cuts what a client says changes nothing.
        """
        encoder = Encoder()
        frame = HeadersFrame(1, encoder.encode([(":method", "POST"), *GET[1:3], (":path", "/r")]))
        frame.flags.add("END_HEADERS")
        said = PREFACE + SettingsFrame(0).serialize() + frame.serialize() + data(1, b"12345", True).serialize()
        for cut in range(1, len(said)):
            self.holding = Holding()
            leg = self.web().client(said[:cut])
            leg.arrive(said[cut:])
            self.assertEqual([request.status for request in self.last.over], [200], cut)
            self.assertIn(b"12345", leg.taken())

    def test_strange_names(self) -> None:
        """
        Fields whose names are not of letters, digits and dashes are passed over here, too.
        """
        client = self.client()
        client.ask("/a", more=[("b_c", "1"), ("d-e", "2")])
        client.turn()
        self.assertEqual(self.last.over[-1].fields, {"host": "x", "d-e": "2"})

    def test_at_once(self) -> None:
        """
        Requests that come at once are under way at once, and answered in the order they are ready in.
        """
        client = self.client()
        first, second = client.ask("/h"), client.ask("/h")
        client.turn()
        self.assertEqual(len(self.holding.requests), 2)
        self.holding.requests[1].respond(201)
        self.assertEqual(client.turn().answers[second].status, 201)
        self.assertEqual(client.answers[first].status, 0)
        self.holding.requests[0].respond(204)
        self.assertEqual(client.turn().answers[first].status, 204)

    def test_body(self) -> None:
        """
        A body is read as it comes, with the fields behind it, and padding left away.
        """
        client = self.client()
        number = client.ask("/r", "POST", end=False)
        client.h2.send_data(number, b"abc", pad_length=7)
        client.turn()
        client.h2.send_data(number, b"de")
        client.h2.send_headers(number, [("t", "u")], end_stream=True)
        heard = client.turn().answers[number]
        self.assertEqual((heard.status, heard.body), (200, b"abcde"))
        self.assertEqual(self.last.over[0].body.trailers, (("t", "u"),))

    def test_length(self) -> None:
        """
        A body of a length that was said is of that length; else its stream is broken off, and no other.
        """
        for said, sent, sound in (("3", b"abc", True), ("4", b"abc", False), ("2", b"abc", False)):
            self.holding = Holding()
            client = self.client()
            other = client.ask("/h")
            number = client.ask("/r", "POST", [("content-length", said)], end=False)
            client.h2.send_data(number, sent, end_stream=True)
            heard = client.turn().answers[number]
            self.assertEqual((heard.status, heard.reset), (200, None) if sound else (0, PROTOCOL_ERROR))
            self.assertEqual([each.status for each in self.last.over], [200 if sound else 400])
            self.holding.requests[0].respond(200)
            self.assertEqual(client.turn().answers[other].status, 200)

    def test_length_of_none(self) -> None:
        """
        A body that was announced and does not come is none.
        """
        client = self.client()
        number = client.ask("/a", "POST", [("content-length", "3")])
        self.assertEqual(client.turn().answers[number].reset, PROTOCOL_ERROR)
        self.assertIn("only 0 out of 3 bytes", self.last.lines[-1])

    def test_bad_trailers(self) -> None:
        """
        Fields behind a body that may not be there break the stream off; so does a body that is too short for its head.
        """
        for fields, length in (([("host", "x")], "1"), ([("a", "b")], "2")):
            client = self.client()
            number = client.ask("/r", "POST", [("content-length", length)], end=False)
            client.h2.send_data(number, b"a")
            client.h2.send_headers(number, fields, end_stream=True)
            self.assertEqual(client.turn().answers[number].reset, PROTOCOL_ERROR)

    def test_too_large(self) -> None:
        """
        A body that is too large is refused by its head, and not waited for.
        """
        client = self.client("client_max_body_size 3;")
        number = client.ask("/a", "POST", [("content-length", "4")], end=False)
        heard = client.turn().answers[number]
        self.assertEqual((heard.status, heard.ended, heard.reset), (413, True, 0))
        client.ask("/a")
        self.assertFalse(client.turn().leg.closed)

    def test_body_nobody_wants(self) -> None:
        """
        A request may be answered before its body has come: the client is told that there is no need of it.
        """
        client = self.client()
        number = client.ask("/a", "POST", end=False)
        client.h2.send_data(number, b"x" * 1000)
        heard = client.turn().answers[number]
        self.assertEqual((heard.status, heard.ended, heard.reset), (200, True, 0))
        client.frames(data(number, b"more"))
        number = client.ask("/a")
        self.assertEqual(client.turn().answers[number].status, 200)

    def test_refused(self) -> None:
        """
        What is no request is answered with 400, or broken off where it cannot be one, and nothing else suffers.
        """
        client = self.client()
        other = client.ask("/h")
        for fields, status, reset in (
            ([GET[0], GET[1], GET[2]], 400, None),
            ([*GET[:2], GET[3]], 400, None),
            ([*GET, ("Upper", "a")], 0, PROTOCOL_ERROR),
            ([*GET, ("connection", "close")], 0, PROTOCOL_ERROR),
            ([*GET, ("a", "b" * 9000)], 400, None),
            ([*GET[:3], (":path", "/" + "a" * 8200)], 414, None),
        ):
            number = client.raw(fields)
            heard = client.turn().answers[number]
            self.assertEqual((heard.status, heard.reset), (status, reset))
        self.holding.requests[0].respond(200)
        self.assertEqual(client.turn().answers[other].status, 200)
        self.assertEqual([request.status for request in self.last.over], [400, 400, 400, 400, 400, 414, 200])
        self.assertIn("client sent no :path header while reading client request headers", "".join(self.last.lines))

    def test_goodbye_after_so_many(self) -> None:
        """
        How many requests a connection carries, and for how long, is configured; what comes too late may come again.
        """
        client = self.client("keepalive_requests 2; lingering_timeout 1s;")
        numbers = [client.ask(), client.ask(), client.ask()]
        client.turn()
        self.assertEqual([client.answers[number].status for number in numbers], [200, 200, 0])
        self.assertEqual(client.answers[numbers[2]].reset, REFUSED_STREAM)
        self.assertEqual((client.goodbye, client.last, client.leg.finished), (0, numbers[1], True))
        client.leg.end()
        self.assertTrue(client.leg.closed)
        client = self.client("keepalive_time 3s;")
        client.ask()
        client.turn()
        self.last.world.pass_time(3.5)
        client.ask()
        self.assertEqual(client.turn().goodbye, 0)
        client = self.client("keepalive_timeout 0;")
        client.ask()
        self.assertEqual((client.turn().goodbye, client.leg.finished), (0, True))

    def test_many_at_once(self) -> None:
        """
        Of more requests than there may be at once those that are too many are refused, for the client to try again;
        who does not understand that is left.
        """
        client = self.client("http2_max_concurrent_streams 2;")
        client.h2.remote_settings[SettingCodes.MAX_CONCURRENT_STREAMS] = 1000
        client.h2.remote_settings.acknowledge()
        numbers = [client.ask("/h") for _ in range(3)]
        client.turn()
        self.assertEqual([client.answers[number].reset for number in numbers], [None, None, REFUSED_STREAM])
        self.assertIn("concurrent streams exceeded 2", self.last.lines[-1])
        for _ in range(101):
            client.ask("/h")
            client.turn()
        self.assertEqual((client.goodbye, len(self.last.over), client.leg.finished), (0, 2, True))

    def test_too_many_in_one_piece(self) -> None:
        """
        More requests in one piece than twice those there may be at once are refused, however fast they are answered.
        """
        client = self.client("http2_max_concurrent_streams 1;")
        client.h2.remote_settings[SettingCodes.MAX_CONCURRENT_STREAMS] = 1000
        client.h2.remote_settings.acknowledge()
        client.frames(*[client.block(number, [*GET, ("x", "y")], "END_STREAM") for number in range(1, 10, 2)])
        self.assertIn("concurrent streams exceeded", "".join(self.last.lines))


class FlowTests(Http2Case):
    """
    Windows, and clients that take nothing.
    """

    def begun(self, length: int, server: str = "", **more: Any) -> tuple[Client, int, Request]:
        """
        A long answer that was begun and stopped.
        """
        client = self.client(server, **more)
        number = client.ask("/h")
        client.turn()
        request = self.holding.requests[-1]
        self.send(request, length)
        return client, number, request

    def send(self, request: Request, length: int, piece: int = 30000) -> None:
        """
        Answer with so many bytes, as fast as is wanted.
        """
        left = [length]

        def more() -> None:
            while left[0]:
                size = min(piece, left[0])
                left[0] -= size
                if not request.send(b"x" * size):
                    return
            request.end()

        request.on_writable = more
        request.begin(Reply(200, length=length))
        more()

    def test_long(self) -> None:
        """
        An answer that is longer than all windows arrives as they open.
        """
        client, number, request = self.begun(1_000_000)
        heard = self.settle(client).answers[number]
        self.assertEqual((len(heard.body), heard.ended), (1_000_000, True))
        self.assertEqual((request.complete, request.body_sent), (True, 1_000_000))
        self.assertGreater(request.exchange.head_sent, 1000)

    def test_stream_window(self) -> None:
        """
        A client that does not open a stream's window stops that stream and no other.
        """
        client, number, request = self.begun(100_000, window=1000, manual=True)
        client.turn()
        self.assertEqual((len(client.answers[number].body), request.over), (1000, False))
        other = client.ask("/a")
        self.assertEqual(client.turn().answers[other].body, b"hello\n")
        client.h2.increment_flow_control_window(5, number)
        client.turn()
        self.assertEqual(len(client.answers[number].body), 1005)
        client.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 50000})
        client.turn()
        self.assertEqual(len(client.answers[number].body), 50005)

    def test_late(self) -> None:
        """
        A client that opens no window for too long loses its request; each opening puts that off.
        """
        client, number, request = self.begun(100_000, "send_timeout 3s;", window=1000, manual=True)
        self.last.world.pass_time(2.5)
        client.h2.increment_flow_control_window(5, number)
        client.turn()
        self.last.world.pass_time(2.5)
        self.assertFalse(request.over)
        self.last.world.pass_time(0.6)
        self.assertEqual(client.turn().answers[number].reset, INTERNAL_ERROR)
        self.assertTrue(request.over)
        self.assertIn("client timed out (110: Connection timed out) while sending to client", self.last.lines[-1])
        self.assertFalse(client.leg.closed)

    def test_fair(self) -> None:
        """
        Streams that share a connection get frames in turn.
        """
        client = self.client(manual=True, window=1_000_000)
        numbers = [client.ask("/h") for _ in range(3)]
        client.turn()
        for request in self.holding.requests:
            self.send(request, 200_000, 200_000)
        client.turn()
        had = [len(client.answers[number].body) for number in numbers]
        self.assertEqual(had, [65535, 0, 0])
        client.h2.increment_flow_control_window(60_000, None)
        client.turn()
        sizes = [len(client.answers[number].body) - had[at] for at, number in enumerate(numbers)]
        self.assertEqual(sum(sizes), 60_000)
        self.assertLessEqual(max(sizes) - min(sizes), 8192)

    def test_stuck(self) -> None:
        """
        A leg that takes nothing stops everything, and its client is lost in the end; else all goes on where it was.
        """
        client = self.client("send_timeout 3s;")
        number = client.ask("/h")
        client.turn()
        client.leg.room = 100
        self.send(self.holding.requests[0], 300_000)
        got = len(client.leg.sent)
        self.assertEqual(got, 100)
        client.leg.room = None
        client.leg.edge(4)
        self.assertEqual(len(self.settle(client).answers[number].body), 300_000)
        number = client.ask("/h")
        client.turn()
        client.leg.room = 100
        self.send(self.holding.requests[1], 300_000)
        self.last.world.pass_time(3.1)
        self.assertEqual((client.leg.closed, len(self.last.over)), (True, 2))
        self.assertIn("while sending to client", "".join(self.last.lines[-2:]))

    def test_slow_upload(self) -> None:
        """
        A body that nobody reads stops its client when the window is full, and goes on when it is read.
        """
        client = self.client()
        number = client.ask("/h", "POST", end=False)
        client.turn()
        client.h2.send_data(number, b"x" * 16384)
        client.h2.send_data(number, b"x" * 16384)
        client.h2.send_data(number, b"x" * 16384)
        client.h2.send_data(number, b"x" * 16384)
        client.turn()
        self.assertEqual(client.h2.local_flow_control_window(number), 0)
        body = self.holding.requests[0].body
        got = 0
        while chunk := body.read():
            got += len(chunk)
        self.assertEqual(got, 65536)
        client.turn()
        self.assertGreaterEqual(client.h2.local_flow_control_window(number), 49152)

    def test_no_preread(self) -> None:
        """
        Where nothing may be sent before it is wanted, the window opens with the first look.
        """
        client = self.client("http2_body_preread_size 0;")
        number = client.ask("/h", "POST", end=False)
        client.turn()
        self.assertEqual(client.h2.local_flow_control_window(number), 0)
        self.assertIsNone(self.holding.requests[0].body.read())
        client.turn()
        self.assertEqual(client.h2.local_flow_control_window(number), 65536)

    def test_many_small_pieces(self) -> None:
        """
        A body in frames of a byte each is kept as few pieces, and nothing of it is lost.
        """
        client = self.client()
        number = client.ask("/h", "POST", end=False)
        client.turn()
        client.frames(*[data(number, b"%d" % (at % 10)) for at in range(9000)])
        body = self.holding.requests[0].body
        first = body.read()
        assert first is not None
        self.assertEqual(len(first), 4096)
        self.assertEqual(first[:12], b"012345678901")

    def test_window_overflow(self) -> None:
        """
        A window that is opened beyond all measure breaks its stream; that of the connection, the connection.
        """
        client = self.client(manual=True)
        number = client.ask("/h")
        client.turn()
        most = (1 << 31) - 1
        client.frames(WindowUpdateFrame(number, most))
        self.assertEqual(client.answers[number].reset, FLOW_CONTROL_ERROR)
        self.assertEqual([request.status for request in self.last.over], [499])
        client.frames(WindowUpdateFrame(0, most))
        self.assertEqual((client.goodbye, client.leg.finished), (FLOW_CONTROL_ERROR, True))

    def test_beyond_the_window(self) -> None:
        """
        A body that does not heed the window ends the connection.
        """
        client = self.client()
        number = client.ask("/h", "POST", end=False)
        client.turn()
        client.frames(*[data(number, b"x" * 16384) for _ in range(5)])
        self.assertEqual((client.goodbye, len(self.last.over)), (FLOW_CONTROL_ERROR, 1))


class ResetTests(Http2Case):
    """
    Clients that do not want what they wanted.
    """

    def test_reset(self) -> None:
        """
        A request that is given up is over, and whoever is busy with it hears of it.
        """
        client = self.client()
        number = client.ask("/h")
        client.turn()
        client.h2.reset_stream(number, CANCEL)
        client.turn()
        self.assertEqual([request.status for request in self.last.over], [499])
        self.assertIn("client terminated stream 1 with status 8", self.last.lines[-1])
        number = client.ask("/a")
        self.assertEqual(client.turn().answers[number].status, 200)

    def test_reset_but_wanted(self) -> None:
        """
        Who is busy with a request may go on without its client, which hears nothing more.
        """
        client = self.client()
        number = client.ask("/h", "POST", end=False)
        client.turn()
        request = self.holding.requests[0]
        request.gone = lambda: True
        client.h2.reset_stream(number, CANCEL)
        client.turn()
        self.assertEqual(self.last.over, [])
        request.respond(200, b"hello")
        self.assertEqual([each.status for each in self.last.over], [200])
        self.assertFalse(self.last.over[0].complete)

    def test_reset_in_the_body(self) -> None:
        """
        A body that is given up in the middle is no body.
        """
        client = self.client()
        number = client.ask("/r", "POST", end=False)
        client.h2.send_data(number, b"abc")
        client.turn()
        client.h2.reset_stream(number, CANCEL)
        client.turn()
        self.assertEqual((self.holding.errors, len(self.last.over)), ([499], 1))

    def test_reset_while_stopped(self) -> None:
        """
        An answer that nobody wants is not kept until it is.
        """
        client = self.client(manual=True)
        number = client.ask("/h")
        client.turn()
        request = self.holding.requests[0]
        request.begin(Reply(200))
        self.assertFalse(request.send(b"x" * 100_000))
        client.h2.reset_stream(number, CANCEL)
        client.turn()
        self.assertTrue(request.over)
        number = client.ask("/a")
        self.assertEqual(client.turn().answers[number].status, 200)

    def test_answered_and_wrong(self) -> None:
        """
        What is answered before the rest of it turns out wrong is over, once.
        """
        client = self.client()
        fields = [(":method", "POST"), *GET[1:], ("content-length", "1")]
        client.frames(client.block(1, fields), data(1, b"two", True), client.block(3, GET, "END_STREAM"))
        self.assertEqual(client.answers[3].status, 200)
        self.assertEqual([request.status for request in self.last.over], [200, 200])

    def test_rapid(self) -> None:
        """
        Requests that are given up in the breath they come in are not begun, and a flood of them is the end.
        """
        client = self.client("http2_max_concurrent_streams 10;")
        frames: list[Any] = []
        for number in range(1, 41, 2):
            frames += [client.block(number, HELD, "END_STREAM"), RstStreamFrame(number, CANCEL)]
        client.frames(*frames)
        self.assertEqual((self.holding.requests, client.goodbye), ([], None))
        client.frames(client.block(41, HELD, "END_STREAM"), RstStreamFrame(41, CANCEL))
        self.assertEqual((client.goodbye, client.leg.finished), (ENHANCE_YOUR_CALM, True))
        self.assertIn("client sent too many resets", self.last.lines[-1])

    def test_rapid_but_apart(self) -> None:
        """
        Given up one by one they count too; those that are answered make up for them.
        """
        client = self.client("http2_max_concurrent_streams 2;")
        for number in range(1, 21, 4):
            client.frames(client.block(number, HELD, "END_STREAM"))
            client.frames(RstStreamFrame(number, CANCEL))
            client.frames(client.block(number + 2, GET, "END_STREAM"))
        self.assertIsNone(client.goodbye)
        for number in range(21, 31, 2):
            client.frames(client.block(number, HELD, "END_STREAM"))
            client.frames(RstStreamFrame(number, CANCEL))
        self.assertEqual(client.goodbye, ENHANCE_YOUR_CALM)

    def test_made_to_reset(self) -> None:
        """
        Who makes us break streams off by what is wrong in them is counted as who does it himself.
        """
        client = self.client("http2_max_concurrent_streams 1;")
        for number in range(1, 7, 2):
            client.frames(client.block(number, HELD, "END_STREAM"))
            client.frames(data(number, b"late"))
        self.assertEqual(client.goodbye, ENHANCE_YOUR_CALM)
        self.assertEqual([request.status for request in self.last.over], [499] * 3)


class HostileTests(Http2Case):
    """
    What no client should say.
    """

    def test_connection_errors(self) -> None:
        """
        What breaks the rules of the connection ends it, with a code and a line; others go on.
        """
        encoder = Encoder()
        begin = HeadersFrame(1, encoder.encode(GET))
        rows: dict[str, tuple[list[Any], int]] = {
            "data on an idle stream": ([data(1, b"x")], PROTOCOL_ERROR),
            "fields on an even stream": ([HeadersFrame(2, b"\x82", flags=["END_HEADERS"])], PROTOCOL_ERROR),
            "a lone continuation": ([ContinuationFrame(1, b"\x82")], PROTOCOL_ERROR),
            "something between fields": ([begin, PingFrame(0, b"12345678")], PROTOCOL_ERROR),
            "endless fields": ([begin, *[ContinuationFrame(1, b"")] * 100], PROTOCOL_ERROR),
            "a promise": ([PushPromiseFrame(1, 2, b"\x82", flags=["END_HEADERS"])], PROTOCOL_ERROR),
            "fields that are none": ([HeadersFrame(1, b"\xff" * 10, flags=["END_HEADERS"])], PROTOCOL_ERROR),
            "a bad setting": ([SettingsFrame(0, {SettingCodes.ENABLE_PUSH: 7})], PROTOCOL_ERROR),
            "a window beyond measure": (
                [SettingsFrame(0, {SettingCodes.INITIAL_WINDOW_SIZE: 1 << 31})],
                FLOW_CONTROL_ERROR,
            ),
            "a stream that depends on itself": ([PriorityFrame(3, depends_on=3)], PROTOCOL_ERROR),
        }
        web = self.web()
        other = Client(web.client())
        for what, (frames, code) in rows.items():
            client = Client(web.client())
            client.frames(*frames)
            self.assertEqual((client.goodbye, client.leg.finished), (code, True), what)
            self.assertIn("client sent invalid HTTP/2: ", web.lines[-1], what)
            self.assertIn("[info]", web.lines[-1])
            client.leg.end()
            self.assertTrue(client.leg.closed)
        number = other.ask()
        self.assertEqual(other.turn().answers[number].status, 200)

    def test_frame_sizes(self) -> None:
        """
        Frames that are longer than was allowed, or too short to be what they say, end the connection.
        """
        for said in (
            b"\x00\x40\x01\x00\x00\x00\x00\x00\x01" + b"x" * 16385,
            b"\x00\x00\x03\x03\x00\x00\x00\x00\x01abc",
        ):
            client = self.client()
            number = client.ask("/h", "POST", end=False)
            client.turn()
            client.leg.arrive(said)
            client.turn()
            self.assertEqual((client.goodbye, number), (FRAME_SIZE_ERROR, 1))

    def test_no_preface(self) -> None:
        """
        Who was to speak HTTP/2 and does not, is left.
        """
        leg = self.web().client(PREFACE[:-1])
        leg.arrive(b"\n" + b"\xff" * 30)
        self.assertTrue(leg.finished)

    def test_bomb(self) -> None:
        """
        Few bytes that become many fields end the connection.
        """
        client = self.client()
        bomb = HeadersFrame(1, Encoder().encode([("x", "y" * 4000)]) + b"\xbe" * 1000, flags=["END_HEADERS"])
        client.frames(bomb)
        self.assertEqual(client.goodbye, ENHANCE_YOUR_CALM)

    def test_floods(self) -> None:
        """
        Frames that carry nothing are borne for a while, and no longer.
        """
        empty = HeadersFrame(1, Encoder().encode(POST), flags=["END_HEADERS"])
        for first, frame in (
            ([], PingFrame(0, b"12345678")),
            ([], SettingsFrame(0)),
            ([], PriorityFrame(5)),
            ([], ExtensionFrame(type=200, stream_id=0)),
            ([empty], data(1, b"")),
            ([empty], WindowUpdateFrame(1, 1)),
        ):
            self.patch(http2, "WASTE", 2000)
            client = self.client()
            client.frames(*first, *[frame] * 3000)
            self.assertEqual((client.goodbye, client.leg.finished), (0, True), frame)
            self.assertIn("http2 flood detected", self.last.lines[-1])

    def test_flood_nobody_reads(self) -> None:
        """
        A client that makes us talk, and does not listen, is not listened to either.
        """
        client = self.client()
        client.leg.room = 0
        client.leg._watched = False
        client.leg.arrive(PingFrame(0, b"12345678").serialize() * 50_000)
        client.leg._watched = True
        for _ in range(20):
            client.leg.edge(1)
            self.last.turn()
        self.assertGreater(len(client.leg.left), 400_000)
        client.leg.room = None
        client.leg.edge(4)
        for _ in range(20):
            self.last.turn()
        self.assertEqual(client.leg.left, b"")
        self.assertFalse(client.leg.finished)

    def test_settings_nobody_knows(self) -> None:
        """
        Settings may be unknown, but not thousands of them, which would all be remembered.
        """
        client = self.client()
        client.frames(SettingsFrame(0, dict.fromkeys(range(100, 110), 1)))
        self.assertIsNone(client.goodbye)
        many = b"".join(pack(">HI", key, 1) for key in range(1000, 2000))
        client.leg.arrive(b"\0" + pack(">HBBI", len(many), 4, 0, 0) + many)
        client.turn()
        self.assertEqual(client.goodbye, ENHANCE_YOUR_CALM)

    def test_half_closed(self) -> None:
        """
        What comes on a stream behind its end breaks it, and it alone.
        """
        client = self.client()
        other = client.ask("/h")
        client.turn()
        for number in (3, 5):
            begin = client.block(number, HELD, "END_STREAM")
            client.frames(begin, data(3, b"x") if number == 3 else client.block(5, [("a", "b")], "END_STREAM"))
            self.assertEqual(client.answers[number].reset, STREAM_CLOSED)
        self.holding.requests[0].respond(200)
        self.assertEqual(client.turn().answers[other].status, 200)

    def test_client_says_goodbye(self) -> None:
        """
        A client that begins nothing more still gets its answers.
        """
        client = self.client()
        number = client.ask("/h")
        client.turn()
        leg = client.leg
        leg.arrive(GoAwayFrame(0).serialize() + PingFrame(0, b"12345678").serialize())
        self.holding.requests[0].respond(200)
        heard: Heard = client.turn().answers[number]
        self.assertEqual(heard.status, 200)


class EndTests(Http2Case):
    """
    Connections that end.
    """

    def test_silent(self) -> None:
        """
        A client that asks for nothing is left when the time is up; one that has asked, after a while.
        """
        client = self.client("client_header_timeout 2s; keepalive_timeout 4s; lingering_timeout 1s;")
        self.last.world.pass_time(2.1)
        client.turn()
        self.assertEqual((client.goodbye, client.leg.finished), (0, True))
        self.last.world.pass_time(1.1)
        self.assertTrue(client.leg.closed)
        client = self.client("client_header_timeout 2s; keepalive_timeout 4s;")
        client.ask()
        client.turn()
        self.last.world.pass_time(3.5)
        self.assertIsNone(client.goodbye)
        self.last.world.pass_time(0.6)
        self.assertEqual(client.turn().goodbye, 0)

    def test_lingering(self) -> None:
        """
        What comes behind the end is dropped for as long as is configured, or not at all.
        """
        client = self.client("lingering_close off; keepalive_timeout 0;")
        client.ask()
        client.turn()
        self.assertTrue(client.leg.closed)
        client = self.client("lingering_time 3s; lingering_timeout 2s; keepalive_timeout 0;")
        client.ask()
        client.turn()
        for _ in range(2):
            self.last.world.pass_time(1.4)
            client.leg.arrive(b"x")
        self.assertFalse(client.leg.closed)
        self.last.world.pass_time(0.3)
        self.assertTrue(client.leg.closed)
        client = self.client("lingering_time 1s; lingering_timeout 5s; keepalive_timeout 0;")
        client.ask()
        client.turn()
        self.patch(self.last.world.runtime, "now", lambda: 1e9)
        client.leg.arrive(b"x")
        self.assertTrue(client.leg.closed)

    def test_gone(self) -> None:
        """
        A client that goes takes its requests with it.
        """
        for end, words in (
            (FakeLeg.end, "client prematurely closed connection"),
            (FakeLeg.lose, "recv() failed (104: Connection reset by peer) while processing HTTP/2 connection"),
        ):
            client = self.client()
            client.ask("/h")
            client.ask("/h")
            client.turn()
            end(client.leg)
            self.assertEqual(([each.status for each in self.last.over], client.leg.closed), ([499, 499], True))
            self.assertIn(words, "".join(self.last.lines))
        client = self.client()
        client.leg.end()
        self.assertTrue(client.leg.closed)
        self.assertNotIn("prematurely", "".join(self.last.lines))

    def test_gone_but_wanted(self) -> None:
        """
        Who is busy with a request may go on without its client, and only then the session ends.
        """
        client = self.client()
        client.ask("/h")
        client.turn()
        self.holding.requests[0].gone = lambda: True
        client.leg.end()
        self.assertEqual((client.leg.closed, self.last.over), (False, []))
        self.holding.requests[0].respond(200, b"hello")
        self.assertEqual((client.leg.closed, [each.status for each in self.last.over]), (True, [200]))

    def test_lost_in_an_answer(self) -> None:
        """
        A connection that breaks while something is sent is lost like any other.
        """
        client = self.client()
        client.ask("/h")
        client.turn()
        client.leg._broken = OSError(errno.EPIPE, "Broken pipe")
        self.holding.requests[0].respond(200, b"x" * 5000)
        self.last.turn()
        self.assertEqual((client.leg.closed, len(self.last.over)), (True, 1))

    def test_stopped(self) -> None:
        """
        A configuration that takes no more requests says so at once, answers those it has, and leaves.
        """
        web = self.web()
        idle, busy = Client(web.client()), Client(web.client())
        number = busy.ask("/h")
        busy.turn()
        web.world.runtime.stop()
        self.assertEqual((idle.turn().goodbye, idle.leg.finished), (0, True))
        self.assertEqual((busy.turn().goodbye, busy.leg.finished), (0, False))
        late = busy.ask("/a")
        self.assertEqual(busy.turn().answers[late].reset, REFUSED_STREAM)
        self.holding.requests[0].respond(200)
        self.assertEqual((busy.turn().answers[number].status, busy.leg.finished), (200, True))
        busy.leg.end()
        idle.leg.end()
        self.assertEqual((web.world.runtime.idle, web.world.runtime.sessions), (set(), set()))

    def test_session_ends(self) -> None:
        """
        When the session is ended, so are the requests it carries.
        """
        client = self.client()
        told: list[int] = []
        client.ask("/h")
        client.turn()

        def gone() -> bool:
            told.append(1)
            return True

        self.holding.requests[0].gone = gone
        self.last.world.runtime.abort()
        self.assertEqual(([each.status for each in self.last.over], client.leg.closed, told), ([499], True, [1]))

    def test_nothing_left(self) -> None:
        """
        What a connection was lives no longer than it, though no collector comes.
        """
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)
        client = self.client()
        client.ask("/a")
        number = client.ask("/h", "POST", end=False)
        client.turn()
        client.h2.reset_stream(number, CANCEL)
        client.turn()
        client.ask("/h")
        client.turn()
        self.last.over.clear()
        self.holding.requests.clear()
        client.leg.end()
        self.last.over.clear()
        kinds = (http2.Http2, Stream, Protocol, Request)
        self.assertEqual([each for each in gc.get_objects() if isinstance(each, kinds)], [])

    def test_fault_of_ours(self) -> None:
        """
        A fault of ours in one request is an answer 500, and no trouble for others.
        """

        def fail(request: Request) -> None:
            raise RuntimeError("ours")

        web = Web("http2 on; location /f { content fail; } location /a { content hello; }", {"fail": fail})
        client = Client(web.client())
        first, second = client.ask("/f"), client.ask("/a")
        client.turn()
        self.assertEqual([client.answers[number].status for number in (first, second)], [500, 200])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
