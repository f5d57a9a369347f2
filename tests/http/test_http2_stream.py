"""
Tests for L{sniproxy.http.http2_stream}.
"""

from __future__ import annotations

from h2.settings import SettingCodes
from hyperframe.frame import DataFrame

from sniproxy.http.body import BodyError
from sniproxy.http.exchange import Reply
from sniproxy.http.http2_stream import DATA, frame
from sniproxy.http.request import Request
from tests.http.test_http1 import Holding
from tests.http.test_http2 import CANCEL, INTERNAL_ERROR, Http2Case
from tests.support.http2 import Client, Pairs


class BodyTests(Http2Case):
    """
    Bodies of requests.
    """

    def test_pieces(self) -> None:
        """
        A body is had in pieces, its end and what is behind it at last, and its size is that of the request.
        """
        client = self.client()
        number = client.ask("/h", "POST", end=False)
        client.turn()
        (request,) = self.holding.requests
        before = request.length
        self.assertIsNone(request.body.read())
        for piece in (b"a" * 5000, b"b" * 10, b"c" * 10, b""):
            client.h2.send_data(number, piece)
        client.h2.send_headers(number, [("t", "u")], end_stream=True)
        client.turn()
        found = []
        while piece := request.body.read() or b"":
            found.append(piece)
        self.assertEqual(found, [b"a" * 5000, b"b" * 10 + b"c" * 10])
        self.assertEqual((request.body.trailers, request.length - before), ((("t", "u"),), 5020))
        self.assertEqual(request.body.read(), b"")

    def test_told(self) -> None:
        """
        Who waits for a body is told once for all that has come at once.
        """
        client = self.client()
        number = client.ask("/h", "POST", end=False)
        client.turn()
        (request,) = self.holding.requests
        told: list[int] = []
        request.body.on_data = lambda: told.append(1)
        request.body.read()
        client.h2.send_data(number, b"a" * 5000)
        client.h2.send_data(number, b"b" * 5000)
        client.turn()
        client.h2.send_data(number, b"c")
        client.turn()
        self.assertEqual(told, [1])

    def test_continue(self) -> None:
        """
        Who waits to be asked for a body is asked when somebody wants it, once, and not when it has come anyhow.
        """
        client = self.client()
        expect = [("expect", "100-continue")]
        number = client.ask("/r", "POST", expect, end=False)
        self.assertEqual(client.turn().answers[number].asked, 1)
        client.h2.send_data(number, b"abc", end_stream=True)
        heard = client.turn().answers[number]
        self.assertEqual((heard.status, heard.body, heard.asked), (200, b"abc", 1))
        number = client.ask("/h", "POST", expect, end=False)
        self.assertEqual(client.turn().answers[number].asked, 0)
        client.h2.send_data(number, b"a")
        client.turn()
        request = self.holding.requests[-1]
        self.assertEqual((request.body.read(), request.body.read()), (b"a", None))
        self.assertEqual(client.turn().answers[number].asked, 0)

    def test_late(self) -> None:
        """
        A body that stops coming is given up; each piece of it puts that off, and other streams do not care.
        """
        client = self.client("client_body_timeout 2s;")
        number = client.ask("/r", "POST", end=False)
        client.turn()
        self.last.world.pass_time(1.5)
        client.h2.send_data(number, b"a")
        client.turn()
        self.last.world.pass_time(1.5)
        self.assertEqual(self.holding.errors, [])
        self.last.world.pass_time(0.6)
        self.assertEqual(self.holding.errors, [408])
        self.assertEqual(client.turn().answers[number].reset, INTERNAL_ERROR)
        self.assertIn("client timed out (110: Connection timed out)", self.last.lines[-1])
        number = client.ask("/a")
        self.assertEqual(client.turn().answers[number].status, 200)

    def test_deadline_of_nothing(self) -> None:
        """
        A deadline that was set for what has come meanwhile is none.
        """
        client = self.client("client_body_timeout 2s;")
        number = client.ask("/h", "POST", end=False)
        client.turn()
        (request,) = self.holding.requests
        request.body.read()
        client.h2.send_data(number, b"a")
        client.turn()
        request.exchange.expired()  # type: ignore[attr-defined]
        self.last.world.pass_time(3)
        self.assertEqual((request.over, request.body.read()), (False, b"a"))

    def test_gone(self) -> None:
        """
        Of a body whose client has gone there is what came; then it is told.
        """
        client = self.client()
        number = client.ask("/h", "POST", end=False)
        client.h2.send_data(number, b"abc")
        client.turn()
        (request,) = self.holding.requests
        request.gone = lambda: True
        client.h2.reset_stream(number, CANCEL)
        client.turn()
        self.assertEqual(self.assertRaises(BodyError, request.body.read).status, 499)

    def test_gone_behind_it(self) -> None:
        """
        A whole body stays one when its client has gone.
        """
        client = self.client()
        number = client.ask("/h", "POST", end=False)
        client.h2.send_data(number, b"abc", end_stream=True)
        client.turn()
        (request,) = self.holding.requests
        request.gone = lambda: True
        client.h2.reset_stream(number, CANCEL)
        client.turn()
        self.assertEqual((request.body.read(), request.body.read()), (b"abc", b""))

    def test_window(self) -> None:
        """
        A client that may send nothing before somebody reads may send then, unless it has gone.
        """
        client = self.client("http2_body_preread_size 10;")
        number = client.ask("/r", "POST", end=False)
        client.turn()
        self.assertEqual(client.h2.local_flow_control_window(number), 65536)
        number = client.ask("/h", "POST", end=False)
        client.turn()
        self.assertEqual(client.h2.local_flow_control_window(number), 10)

    def test_too_much(self) -> None:
        """
        A body beyond what was announced ends its stream before anybody reads it.
        """
        client = self.client()
        number = client.ask("/h", "POST", [("content-length", "3")], end=False)
        client.turn()
        client.frames(DataFrame(number, b"abcd"))
        self.assertEqual(client.answers[number].reset, 1)
        self.assertIn("client intended to send body data larger than declared", self.last.lines[-1])


class AnswerTests(Http2Case):
    """
    Answers in pieces.
    """

    def begun(
        self, reply: Reply, method: str = "GET", server: str = "", end: bool = True
    ) -> tuple[Client, int, Request]:
        """
        A request whose answer has been begun.
        """
        self.holding = Holding()
        client = self.client(server)
        number = client.ask("/h", method, end=end)
        client.turn()
        request = self.holding.requests[-1]
        request.begin(reply)
        return client, number, request

    def test_pieces(self) -> None:
        """
        A head is kept until there is a body; little pieces are kept until there is a frame of them, or a flush.
        """
        client, number, request = self.begun(Reply(200, [("X", "y")]))
        heard = client.turn().answers[number]
        self.assertEqual(heard.status, 0)
        self.assertTrue(request.send(b""))
        self.assertTrue(request.send(b"abc"))
        self.assertEqual(client.turn().answers[number].status, 0)
        request.flush()
        request.flush()
        self.assertEqual(client.turn().answers[number].body, b"abc")
        self.assertEqual(heard.headers["x"], "y")
        request.send(b"d" * 1500)
        self.assertEqual(len(client.turn().answers[number].body), 1503)
        request.end([("T", "u"), ("Connection", "close")])
        client.turn()
        self.assertEqual((heard.trailers, heard.ended, heard.reset), ([("t", "u")], True, None))
        self.assertEqual((request.complete, request.body_sent), (True, 1503))
        self.assertGreater(request.exchange.head_sent, 3 * 9)

    def test_no_body(self) -> None:
        """
        An answer without a body is one frame; so is one to HEAD, whatever its length is said to be.
        """
        for method, reply, length in (
            ("GET", Reply(204), None),
            ("HEAD", Reply(200, length=5), "5"),
            ("GET", Reply(304, length=3), "3"),
        ):
            client, number, request = self.begun(reply, method)
            request.send(b"12345")
            request.end()
            heard = client.turn().answers[number]
            self.assertEqual((heard.ended, heard.body, heard.headers.get("content-length")), (True, b"", length))
            self.assertTrue(request.complete)

    def test_no_length(self) -> None:
        """
        An answer without a length ends where it ends.
        """
        client, number, request = self.begun(Reply(200))
        request.send(b"a" * 2000)
        client.turn()
        request.end()
        heard = client.turn().answers[number]
        self.assertEqual((heard.ended, len(heard.body), heard.headers.get("transfer-encoding")), (True, 2000, None))

    def test_of_the_connection(self) -> None:
        """
        What concerns a connection has no place in an answer.
        """
        fields = [("Connection", "close"), ("Keep-Alive", "1"), ("Upgrade", "x"), ("Transfer-Encoding", "y"), ("Z", "")]
        client, number, request = self.begun(Reply(200, fields, 0))
        request.end()
        headers = client.turn().answers[number].headers
        self.assertEqual(list(headers), ["server", "date", "content-length", "z"])

    def test_too_short(self) -> None:
        """
        An answer that is shorter than it was to be is broken off: nobody shall take it for all.
        """
        client, number, request = self.begun(Reply(200, length=10))
        request.send(b"abc")
        request.end()
        heard = client.turn().answers[number]
        self.assertEqual((heard.ended, heard.reset, request.complete, request.over), (False, 2, False, True))

    def test_aborted(self) -> None:
        """
        An answer that is broken off is, and no other.
        """
        client, number, request = self.begun(Reply(200))
        request.send(b"abc")
        request.flush()
        request.abort()
        request.abort()
        heard = client.turn().answers[number]
        self.assertEqual((heard.body, heard.reset, len(self.last.over)), (b"abc", INTERNAL_ERROR, 1))
        number = client.ask("/a")
        self.assertEqual(client.turn().answers[number].status, 200)

    def test_dropped(self) -> None:
        """
        A request that is to have no answer has none.
        """
        client = self.client()
        number = client.ask("/h")
        client.turn()
        self.holding.requests[0].finalize(444)
        heard = client.turn().answers[number]
        self.assertEqual((heard.status, heard.reset), (0, INTERNAL_ERROR))
        self.assertEqual([request.status for request in self.last.over], [444])

    def test_upgrade(self) -> None:
        """
        No stream is given up for another protocol.
        """
        _, _, request = self.begun(Reply(200))
        self.assertIsNone(request.exchange.upgrade(Reply(101)))

    def test_long_head(self) -> None:
        """
        A head that is longer than a frame goes in several.
        """
        fields: Pairs = [(f"x-{at}", "v" * 9000) for at in range(5)]
        client, number, request = self.begun(Reply(200, fields, 0))
        request.end()
        heard = client.turn().answers[number]
        self.assertEqual((heard.ended, len(heard.headers)), (True, 8))

    def test_chunks(self) -> None:
        """
        How long a frame of a body may be is configured, and what the client takes.
        """
        for setting, most in ((4000, 4000), (100_000, 16384)):
            client, _, request = self.begun(Reply(200), server=f"http2_chunk_size {setting};")
            client.leg.taken()
            request.send(b"x" * 40_000)
            sent = bytes(client.leg.sent)
            at = 0
            sizes = []
            while at < len(sent):
                size = int.from_bytes(sent[at : at + 3], "big")
                if sent[at + 3] == DATA:
                    sizes.append(size)
                at += 9 + size
            self.assertEqual((max(sizes), sum(sizes)), (most, 40_000))

    def test_stopped(self) -> None:
        """
        Who sends more than is taken is stopped, told when to go on, and may end meanwhile.
        """
        client = Client(self.web().client(), window=1000, manual=True)
        number = client.ask("/h")
        client.turn()
        (request,) = self.holding.requests
        told: list[int] = []
        request.on_writable = lambda: told.append(1)
        request.begin(Reply(200))
        self.assertFalse(request.send(b"x" * 1500))
        self.assertFalse(request.send(b"y" * 10))
        request.flush()
        client.turn()
        client.h2.increment_flow_control_window(400, number)
        client.turn()
        self.assertEqual((len(client.answers[number].body), told), (1400, []))
        client.h2.increment_flow_control_window(1000, number)
        client.turn()
        self.assertEqual((len(client.answers[number].body), told), (1510, [1]))
        self.assertFalse(request.send(b"z" * 2000))
        request.end()
        client.h2.increment_flow_control_window(10_000, number)
        heard = client.turn().answers[number]
        self.assertEqual((len(heard.body), heard.ended, request.over), (3510, True, True))

    def test_smaller_window(self) -> None:
        """
        A client may make its windows smaller than what it has got already.
        """
        client = Client(self.web().client(), window=3000, manual=True)
        number = client.ask("/h")
        client.turn()
        (request,) = self.holding.requests
        request.begin(Reply(200))
        request.send(b"x" * 2000)
        client.turn()
        client.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 1000})
        client.turn()
        self.assertFalse(request.send(b"x" * 2000))
        client.h2.increment_flow_control_window(5000, number)
        client.turn()
        self.assertEqual(len(client.answers[number].body), 4000)

    def test_given_up_in_one_breath(self) -> None:
        """
        What is sent to a client that has given up in the same piece as it asked for a body is dropped.
        """
        client = self.client()
        number = client.ask("/r", "POST", end=False)
        other = client.ask("/h")
        client.turn()
        request = self.holding.requests[0]
        self.holding.requests[1].gone = lambda: False
        client.h2.send_data(number, b"abc", end_stream=True)
        client.h2.reset_stream(number, CANCEL)
        client.turn()
        self.assertEqual((request.over, request.complete), (True, False))
        self.holding.requests[1].respond(200)
        self.assertEqual(client.turn().answers[other].status, 200)

    def test_nobody_there(self) -> None:
        """
        What is sent when the client has gone goes nowhere, and ends as usual.
        """
        client, number, request = self.begun(Reply(200))
        request.gone = lambda: True
        client.h2.reset_stream(number, CANCEL)
        client.turn()
        self.assertTrue(request.send(b"x" * 100_000))
        request.flush()
        request.end()
        self.assertEqual((request.over, request.complete, len(self.last.over)), (True, False, 1))

    def test_late(self) -> None:
        """
        A client that opens no window for too long loses its request, whoever would go on with it.
        """
        client = Client(self.web("send_timeout 2s;").client(), window=1000, manual=True)
        number = client.ask("/h")
        client.turn()
        (request,) = self.holding.requests
        request.gone = lambda: True
        request.begin(Reply(200))
        request.send(b"x" * 2000)
        self.last.world.pass_time(2.1)
        self.assertEqual((client.turn().answers[number].reset, request.over), (INTERNAL_ERROR, True))

    def test_frame(self) -> None:
        """
        The head of a frame is as RFC 9113 (4.1) has it.
        """
        self.assertEqual(frame(1, 5, 7, 0x012345), b"\x01\x23\x45\x01\x05\x00\x00\x00\x07")
