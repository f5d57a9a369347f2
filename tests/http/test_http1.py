"""
Tests for L{sniproxy.http.http1}.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.http.body import BodyError
from sniproxy.http.exchange import Reply
from sniproxy.http.request import Request
from tests.support.sessions import FakeLeg
from tests.support.webs import Web, answers, head

GET = head("GET /a HTTP/1.1")
LAST = head("GET /a HTTP/1.1", "Connection: close")


class Options:
    """
    A socket whose options are seen.
    """

    def __init__(self) -> None:
        self.set: list[tuple[Any, ...]] = []

    def setsockopt(self, *what: Any) -> None:
        """
        Remember it.
        """
        self.set.append(what)


class Holding:
    """
    Content that answers when the test says so.
    """

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.bodies: list[bytes] = []
        self.errors: list[int] = []

    def __call__(self, request: Request) -> None:
        """
        Take it.
        """
        self.requests.append(request)

    def read(self, request: Request) -> None:
        """
        Read the body as it comes, and answer with it.
        """
        self.requests.append(request)
        body = request.body

        def more() -> None:
            try:
                while True:
                    data = body.read()
                    if data is None:
                        return
                    if not data:
                        break
                    self.bodies.append(data)
            except BodyError as error:
                self.errors.append(error.status)
                request.finalize(error.status)
                return
            request.respond(200, b"".join(self.bodies))

        body.on_data = more
        more()


class ConnectionCase(SynchronousTestCase):
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
        return Web(f"{server} {locations}", contents, **more)

    def statuses(self, leg: FakeLeg, count: int = 1) -> list[int]:
        """
        Of the answers on a connection so far.
        """
        return [answer.status for answer in answers(leg.taken(), ["GET"] * count)]


class RequestTests(ConnectionCase):
    """
    Requests that come as they should.
    """

    def test_one(self) -> None:
        """
        A request is answered, and the connection kept for the next one; nothing of it is in the error log.
        """
        web = self.web()
        leg = web.client(GET)
        (answer,) = answers(leg.taken())
        self.assertEqual((answer.status, answer.reason, answer.body), (200, "OK", b"hello\n"))
        names = [name for name, _ in answer.headers]
        self.assertEqual(names, ["Server", "Date", "Content-Type", "Content-Length", "Connection"])
        self.assertEqual(answer.headers.get("connection"), "keep-alive")
        self.assertFalse(leg.closed)
        leg.arrive(LAST)
        (answer,) = answers(leg.taken())
        self.assertEqual(answer.headers.get("connection"), "close")
        self.assertTrue(leg.closed)
        self.assertEqual([request.count for request in web.over], [1, 2])
        self.assertEqual([request.complete for request in web.over], [True, True])
        self.assertEqual(web.lines, [])

    def test_every_cut(self) -> None:
        """
        Where the network cuts a head and a body changes nothing.
        """
        whole = head("POST /r HTTP/1.1", "Content-Length: 5", "Connection: close") + b"12345"
        for cut in range(1, len(whole)):
            self.holding = Holding()
            leg = self.web().client(whole[:cut])
            leg.arrive(whole[cut:])
            (answer,) = answers(leg.taken())
            self.assertEqual(answer.body, b"12345")

    def test_pipelined(self) -> None:
        """
        Requests that come at once are answered in order, one after the other.
        """
        web = self.web()
        leg = web.client(GET + head("POST /r HTTP/1.1", "Content-Length: 3") + b"abc" + GET * 60 + LAST)
        found = answers(leg.taken(), ["GET"] * 63)
        self.assertEqual([answer.body for answer in found], [b"hello\n", b"abc", *[b"hello\n"] * 61])
        self.assertTrue(leg.closed)

    def test_held_meanwhile(self) -> None:
        """
        While a request is under way the next one waits.
        """
        web = self.web()
        leg = web.client(head("GET /h HTTP/1.1"))
        leg.arrive(LAST)
        self.assertEqual(leg.sent, b"")
        self.holding.requests[0].respond(204)
        web.turn()
        self.assertEqual(self.statuses(leg, 2), [204, 200])

    def test_old_version(self) -> None:
        """
        HTTP/1.0 gets one answer, unless it asks for more.
        """
        leg = self.web().client(b"GET /a HTTP/1.0\r\n\r\n")
        (answer,) = answers(leg.taken())
        self.assertEqual((answer.status, leg.closed), (200, True))
        leg = self.web().client(b"GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        (answer,) = answers(leg.taken())
        self.assertEqual((answer.headers.get("connection"), leg.closed), ("keep-alive", False))

    def test_chunked_body(self) -> None:
        """
        A body in chunks is read like any other, with the fields behind it.
        """
        web = self.web()
        sent = head("POST /r HTTP/1.1", "Transfer-Encoding: chunked", "Connection: close")
        leg = web.client(sent + b"3\r\nabc\r\n")
        leg.arrive(b"2\r\nde\r\n0\r\nX: y\r\n\r\n")
        (answer,) = answers(leg.taken())
        self.assertEqual(answer.body, b"abcde")
        self.assertEqual(web.over[0].body.trailers, (("X", "y"),))
        self.assertEqual(web.over[0].length, len(sent) + 5)

    def test_continue(self) -> None:
        """
        Who waits to be asked for a body is asked when somebody wants it, and not before.
        """
        sent = head("POST /r HTTP/1.1", "Content-Length: 1", "Expect: 100-continue", "Connection: close")
        leg = self.web().client(sent)
        self.assertEqual(leg.taken(), b"HTTP/1.1 100 Continue\r\n\r\n")
        leg.arrive(b"x")
        self.assertEqual(self.statuses(leg), [200])
        leg = self.web().client(sent.replace(b"/r", b"/a"))
        self.assertEqual(self.statuses(leg), [200])

    def test_settings(self) -> None:
        """
        How many requests a connection carries, and for how long, is configured.
        """
        leg = self.web("keepalive_requests 2;").client(GET + GET + GET)
        self.assertEqual(
            [answer.headers.get("connection") for answer in answers(leg.taken(), ["GET"] * 2)], ["keep-alive", "close"]
        )
        leg = self.web("keepalive_timeout 0;").client(GET)
        self.assertEqual(answers(leg.taken())[0].headers.get("connection"), "close")
        web = self.web("keepalive_timeout 5s 7s; keepalive_time 10s;")
        leg = web.client(GET)
        self.assertEqual(answers(leg.taken())[0].headers.get("keep-alive"), "timeout=7")
        web.world.pass_time(4)
        leg.arrive(GET)
        leg.taken()
        web.world.pass_time(4.5)
        leg.arrive(GET)
        leg.taken()
        web.world.pass_time(4.5)
        leg.arrive(GET)
        self.assertEqual(answers(leg.taken())[0].headers.get("connection"), "close")
        web = self.web("keepalive_timeout 5s;")
        leg = web.client(GET)
        web.world.pass_time(5.1)
        self.assertTrue(leg.closed)

    def test_no_chunks(self) -> None:
        """
        Where chunks are not allowed, or not known, the end of an answer is that of the connection.
        """
        for server, version in (("chunked_transfer_encoding off;", "1.1"), ("", "1.0")):
            leg = self.web(server).client(head(f"GET /h HTTP/{version}"))
            request = self.holding.requests.pop()
            request.begin(Reply(200))
            request.send(b"abc")
            request.end()
            (answer,) = answers(leg.taken())
            self.assertEqual((answer.body, answer.headers.get("transfer-encoding"), leg.closed), (b"abc", None, True))


class AnswerTests(ConnectionCase):
    """
    Answers in pieces.
    """

    def begun(self, reply: Reply, line: str = "GET /h HTTP/1.1", **more: Any) -> tuple[Web, FakeLeg, Request]:
        """
        A request whose answer has been begun.
        """
        web = self.web(**more)
        leg = web.client(head(line))
        request = self.holding.requests[-1]
        request.begin(reply)
        return web, leg, request

    def test_pieces(self) -> None:
        """
        A head is kept until there is a body; little pieces are kept until there is a segment of them, or a flush.
        """
        _, leg, request = self.begun(Reply(200, [("X", "y")]))
        self.assertEqual(leg.sent, b"")
        self.assertTrue(request.send(b""))
        self.assertTrue(request.send(b"abc"))
        self.assertEqual(leg.sent, b"")
        request.flush()
        self.assertTrue(leg.taken().endswith(b"X: y\r\n\r\n3\r\nabc\r\n"))
        request.send(b"d" * 1500)
        self.assertEqual(leg.taken(), b"5dc\r\n" + b"d" * 1500 + b"\r\n")
        request.end([("T", "u")])
        self.assertEqual(leg.taken(), b"0\r\nT: u\r\n\r\n")

    def test_back_pressure(self) -> None:
        """
        A client that takes no more stops the answer, and goes on where it stopped.
        """
        web, leg, request = self.begun(Reply(200, length=200_000))
        leg.room = 1000
        told: list[int] = []
        request.on_writable = lambda: told.append(len(told))
        self.assertFalse(request.send(b"x" * 100_000))
        self.assertEqual((told, len(leg.sent)), ([], 1000))
        size = len(leg.taken())
        while not told:
            leg.room = 30_000
            size += len(leg.taken())
        leg.room = None
        self.assertTrue(request.send(b"x" * 100_000))
        request.end()
        size += len(leg.taken())
        self.assertEqual(size - request.exchange.head_sent, 200_000)
        self.assertEqual((web.over, request.complete), ([request], True))

    def test_turns(self) -> None:
        """
        A client that takes whatever comes lets others have their turn after each megabyte.
        """
        web, leg, request = self.begun(Reply(200, length=3 << 20))
        left = [b"x" * 65536] * 48
        turns: list[int] = []

        def go_on() -> None:
            turns.append(len(left))
            while left:
                if not request.send(left.pop()):
                    return
            request.end()

        request.on_writable = go_on
        go_on()
        self.assertEqual((turns, len(left)), ([48], 32))
        web.world.network.turn()
        self.assertEqual((turns, web.over), ([48, 32, 16, 0], [request]))
        self.assertEqual(len(leg.taken()) - request.exchange.head_sent, 3 << 20)

    def test_ended_in_its_turn(self) -> None:
        """
        An answer may end just when its turn does.
        """
        web, leg, request = self.begun(Reply(200, length=1 << 20))
        self.assertFalse(request.send(b"x" * (1 << 20)))
        request.end()
        web.world.network.turn()
        self.assertEqual(web.over, [request])
        leg.arrive(head("GET /h HTTP/1.1"))
        self.assertEqual(len(self.holding.requests), 2)

    def test_head_only(self) -> None:
        """
        The answer to HEAD has the head of one to GET, and no body; without a length it has no frames either.
        """
        _, leg, request = self.begun(Reply(200, length=5), "HEAD /h HTTP/1.1")
        request.send(b"12345")
        request.end()
        self.assertTrue(leg.taken().endswith(b"Content-Length: 5\r\nConnection: keep-alive\r\n\r\n"))
        self.assertFalse(leg.closed)
        _, leg, request = self.begun(Reply(200), "HEAD /h HTTP/1.1")
        request.end()
        self.assertTrue(leg.taken().endswith(b"GMT\r\nConnection: keep-alive\r\n\r\n"))

    def test_bodyless(self) -> None:
        """
        204 and 304 have no body, and 204 no length.
        """
        for status, fields in ((204, b""), (304, b"Content-Length: 3\r\n")):
            _, leg, request = self.begun(Reply(status, length=3))
            request.send(b"abc")
            request.end()
            self.assertTrue(leg.taken().endswith(fields + b"Connection: keep-alive\r\n\r\n"))

    def test_too_short(self) -> None:
        """
        An answer that is shorter than it was to be ends the connection: what follows is no part of it.
        """
        _, leg, request = self.begun(Reply(200, length=10))
        request.send(b"abc")
        request.end()
        self.assertTrue(leg.taken().endswith(b"\r\n\r\nabc"))
        self.assertEqual((leg.closed, request.complete), (True, False))

    def test_aborted(self) -> None:
        """
        An answer that is broken off ends with the connection, without an end of its own.
        """
        web, leg, request = self.begun(Reply(200))
        request.send(b"abc")
        request.abort()
        request.abort()
        self.assertTrue(leg.taken().endswith(b"3\r\nabc\r\n"))
        self.assertEqual((leg.closed, len(web.over), request.complete), (True, 1, False))

    def test_aborted_by_a_lost_client(self) -> None:
        """
        Where nobody is left to notice, the end is the same.
        """
        web, leg, request = self.begun(Reply(200))
        leg._broken = OSError(errno.EPIPE, "Broken pipe")
        request.abort()
        self.assertEqual((leg.closed, len(web.over)), (True, 1))

    def test_own_fields(self) -> None:
        """
        An answer may sign with another name and time, and have another phrase.
        """
        _, leg, request = self.begun(Reply(299, [("server", "s"), ("date", "d")], 0, "Fine"))
        request.end()
        self.assertTrue(leg.taken().startswith(b"HTTP/1.1 299 Fine\r\nserver: s\r\ndate: d\r\n"))

    def test_upgrade(self) -> None:
        """
        A connection that is given up for another protocol is handed over with what has come already.
        """
        web = self.web()
        leg = web.client(head("GET /h HTTP/1.1", "Upgrade: x", "Connection: upgrade") + b"more")
        request = self.holding.requests[0]
        given = request.exchange.upgrade(Reply(101, [("Upgrade", "x"), ("Connection", "upgrade")]))
        self.assertIs(given, leg)
        self.assertTrue(leg.taken().endswith(b"Upgrade: x\r\nConnection: upgrade\r\n\r\n"))
        self.assertEqual(leg.receive(10), b"more")
        leg.arrive(b"x")
        web.world.session().finish()
        self.assertEqual((len(web.over), leg.closed), (1, True))

    def test_upgrade_of_who_takes_nothing(self) -> None:
        """
        A client that does not even take the head is handed to nobody.
        """
        web = self.web()
        leg = web.client(head("GET /h HTTP/1.1", "Upgrade: x", "Connection: upgrade"))
        leg.room = 0
        self.assertIsNone(self.holding.requests[0].exchange.upgrade(Reply(101, [], None, "Go")))
        web.world.session().finish()

    def test_late(self) -> None:
        """
        A client that takes nothing for too long is given up.
        """
        for more in ("", "reset_timedout_connection on;"):
            self.holding = Holding()
            web = self.web(f"send_timeout 3s; {more}")
            leg = web.client(head("GET /h HTTP/1.1"))
            leg.room = 10
            options = Options()
            self.patch(leg, "socket", lambda options=options: options)
            self.holding.requests[0].respond(200, b"x" * 2000)
            web.world.pass_time(2.5)
            leg.room = 10
            leg.taken()
            web.world.pass_time(2.5)
            self.assertFalse(leg.closed)
            web.world.pass_time(0.6)
            self.assertEqual((leg.closed, len(web.over), len(options.set)), (True, 1, bool(more)))
            self.assertIn("timed out", web.lines[-1])

    def test_broken(self) -> None:
        """
        A client that is lost while it is answered is the end of its request, which tells whoever is busy with it.
        """
        web, leg, request = self.begun(Reply(200))
        told: list[str] = []

        def gone() -> bool:
            told.append("gone")
            return False

        request.gone = gone
        leg.room = 10
        request.send(b"x" * 2000)
        leg.room = None
        leg.lose(errno.ECONNRESET)
        self.assertEqual((told, len(web.over), leg.closed), (["gone"], 1, True))
        self.assertEqual(web.over[0].status, 200)


class EndTests(ConnectionCase):
    """
    Connections that end, and clients that do not do what they should.
    """

    def test_silent(self) -> None:
        """
        A client that says nothing, or half a head, is closed when the time is up; the half is logged.
        """
        web = self.web("client_header_timeout 2s;")
        leg = web.client()
        web.world.pass_time(2.1)
        self.assertEqual((leg.closed, leg.sent, web.over), (True, b"", []))
        web = self.web("client_header_timeout 2s; reset_timedout_connection on;")
        leg = web.client(b"GET / HT")
        options = Options()
        self.patch(leg, "socket", lambda: options)
        web.world.pass_time(1.5)
        leg.arrive(b"TP")
        web.world.pass_time(0.6)
        self.assertEqual((leg.closed, len(options.set), [request.status for request in web.over]), (True, 1, [408]))

    def test_gone_before(self) -> None:
        """
        A client that leaves without a word leaves no line in the access log; one that leaves in a head does.
        """
        web = self.web()
        leg = web.client()
        leg.end()
        self.assertEqual((leg.closed, web.over), (True, []))
        self.assertIn("client closed connection while waiting for request", web.lines[-1])
        for end, words in ((FakeLeg.end, "client prematurely closed connection"), (FakeLeg.lose, "recv() failed")):
            web = self.web()
            leg = web.client(b"GET /")
            end(leg)
            self.assertEqual((leg.closed, [request.status for request in web.over]), (True, [400]))
            self.assertIn(words, web.lines[-1])

    def test_gone_between(self) -> None:
        """
        Between two requests a client may go.
        """
        web = self.web()
        leg = web.client(GET)
        leg.end()
        self.assertIn("closed keepalive connection", web.lines[-1])
        leg = web.client(GET)
        leg.lose()
        self.assertIn("recv() failed (104: Connection reset by peer) while keepalive", web.lines[-1])
        self.assertEqual(len(web.over), 2)

    def test_gone_meanwhile(self) -> None:
        """
        A client that goes while its request is under way ends it, unless it has asked for more.
        """
        for end in (FakeLeg.end, FakeLeg.lose):
            self.holding = Holding()
            web = self.web()
            leg = web.client(head("GET /h HTTP/1.1"))
            end(leg)
            self.assertEqual(([request.status for request in web.over], leg.closed), ([499], True))
        web = self.web()
        leg = web.client(head("GET /h HTTP/1.1"))
        leg.arrive(LAST)
        leg.end()
        self.assertEqual((web.over, leg.closed), ([], False))

    def test_gone_but_wanted(self) -> None:
        """
        Who is busy with a request may go on without its client.
        """
        web = self.web()
        leg = web.client(head("GET /h HTTP/1.1"))
        self.holding.requests[0].gone = lambda: True
        leg.end()
        self.assertEqual(web.over, [])
        self.holding.requests[0].respond(200)
        self.assertEqual(([request.status for request in web.over], self.statuses(leg)), ([200], [200]))

    def test_refused(self) -> None:
        """
        What is no request is answered, and nothing more is read.
        """
        rows = {
            b"GET / HTTP/1.1\r\n\r\n": 400,
            b"nonsense\r\n\r\n": 400,
            b"GET /" + b"a" * 9000: 414,
            head("GET / HTTP/1.1", "A: " + "b" * 9000): 400,
            b"GET / HTTP/3.0\r\n\r\n": 505,
            head("POST / HTTP/1.1", "Content-Length: 1", "Transfer-Encoding: chunked"): 400,
        }
        for sent, status in rows.items():
            web = self.web()
            leg = web.client(sent)
            (answer,) = answers(leg.taken())
            self.assertEqual((answer.status, answer.headers.get("connection")), (status, "close"))
            self.assertTrue(leg.closed)
            self.assertEqual(len(web.over), 1)

    def test_refused_by_a_server(self) -> None:
        """
        What is wrong with fields is told in the name of the host they ask for, as far as that is known.
        """
        other = "server { listen 192.0.2.1:80; server_name b; server_name_in_redirect on; }"
        for sent, name, shown in (
            (b"GET / HTTP/1.1\r\nHost: b\r\nhost: a\r\n\r\n", "b", ', host: "b"'),
            (b"GET / HTTP/1.1\r\nHost: /\r\nContent-Length: x\r\n\r\n", "a", ', host: "/"'),
            (b"GET / HTTP/1.1\r\n\r\n", "a", '"GET / HTTP/1.1"'),
            (b"GET /\r\nHost: b\r\n\r\n", "a", '"GET /"'),
        ):
            web = self.web("server_name a;", http=other)
            web.world.listening[0].default = web.world.listening[0].servers[1]
            web.client(sent)
            self.assertEqual([request.server_text() for request in web.over], [name])
            self.assertTrue(any(line.endswith(shown) for line in map(str, web.lines)), web.lines)

    def test_parts_of_heads(self) -> None:
        """
        The log has as much as there is of a head that is late, or ends; behind another request it says so.
        """
        rows = {
            b"GET /x HT": 'while reading client request line, # request: "GET /x HT"',
            b"GET /x HTTP/1.1\r\nA": 'while reading client request headers, # request: "GET /x HTTP/1.1"',
            GET + b"GET /x HT": 'while reading client pipelined request line, # request: "GET /x HT"',
            GET + b"GET /x HTTP/1.1\r\nA": 'while reading client request headers, # request: "GET /x HTTP/1.1"',
            GET + b"junk\r\n\r\n": 'while reading client pipelined request line, # request: "junk"',
            GET
            + head("GET /.. HTTP/1.1"): 'while reading client pipelined request line, # request: "GET /.. HTTP/1.1"',
        }
        for sent, words in rows.items():
            for late in (True, False):
                web = self.web("client_header_timeout 5s; keepalive_timeout 50s;")
                leg = web.client(sent)
                if not leg.closed and late:
                    web.world.pass_time(5.1)
                elif not leg.closed:
                    leg.end()
                words = words.replace("#", "client: 192.0.2.77, server: ,")
                self.assertTrue(web.lines[-1].endswith(words), (web.lines, words))
                self.assertTrue(leg.closed)

    def test_strange_names(self) -> None:
        """
        Fields whose names are not of letters, digits and dashes are passed over, unless the configuration takes them.
        """
        fields = ("A-1: a", "b_c: b", "d.e: c", "--: d")
        rows = {"": ["A-1", "--"], "underscores_in_headers on;": ["A-1", "b_c", "--"]}
        rows["ignore_invalid_headers off;"] = ["A-1", "b_c", "d.e", "--"]
        for server, names in rows.items():
            web = self.web(server)
            web.client(head("GET /a HTTP/1.1", *fields))
            (request,) = web.over
            self.assertEqual([name for name, _ in request.headers][1:], names)
            self.assertEqual(len(request.fields), len(names) + 1)

    def test_refused_between(self) -> None:
        """
        What follows a request may be none.
        """
        leg = self.web().client(GET + b"nonsense\r\n\r\n")
        self.assertEqual(self.statuses(leg, 2), [200, 400])

    def test_body_cut_short(self) -> None:
        """
        Who ends or breaks off in a body is told nothing, and the log 400; a body that is none is refused.
        """
        for end in (FakeLeg.end, FakeLeg.lose):
            self.holding = Holding()
            web = self.web()
            leg = web.client(head("POST /r HTTP/1.1", "Content-Length: 5") + b"abc")
            end(leg)
            self.assertEqual((self.holding.errors, [each.status for each in web.over]), ([499], [400]))
            self.assertEqual((leg.taken(), leg.closed), (b"", True))
        self.holding = Holding()
        leg = self.web().client(head("POST /r HTTP/1.1", "Transfer-Encoding: chunked") + b"x\r\n")
        self.assertEqual((self.holding.errors, self.statuses(leg)), ([400], [400]))

    def test_body_late(self) -> None:
        """
        A body that stops coming is given up; each piece of it puts that off.
        """
        web = self.web("client_body_timeout 2s;")
        leg = web.client(head("POST /r HTTP/1.1", "Content-Length: 5") + b"a")
        web.world.pass_time(1.5)
        leg.arrive(b"b")
        web.world.pass_time(1.5)
        self.assertEqual(self.holding.errors, [])
        web.world.pass_time(0.6)
        self.assertEqual((self.holding.errors, leg.closed, leg.sent), ([408], True, b""))

    def test_body_nobody_wants(self) -> None:
        """
        A short body nobody has read is dropped, and the connection goes on; of a long one it is not waited for.
        """
        web = self.web()
        leg = web.client(head("POST /a HTTP/1.1", "Content-Length: 5"))
        self.assertEqual(self.statuses(leg), [200])
        leg.arrive(b"abcde" + LAST)
        self.assertEqual(self.statuses(leg), [200])
        leg = web.client(head("POST /a HTTP/1.1", "Content-Length: 9999999"))
        web.turn()
        (answer,) = answers(leg.taken())
        self.assertEqual((answer.status, answer.headers.get("connection")), (413, "close"))
        self.assertEqual((leg.finished, leg.closed), (True, False))
        leg.arrive(b"x" * 100)
        self.assertEqual(leg.left, b"")
        web.world.pass_time(5.1)
        self.assertTrue(leg.closed)

    def test_chunks_nobody_wants(self) -> None:
        """
        Chunks are dropped as long as they are not too many.
        """
        web = self.web("client_max_body_size 0;")
        leg = web.client(head("POST /a HTTP/1.1", "Transfer-Encoding: chunked"))
        self.assertEqual(self.statuses(leg), [200])
        leg.arrive(b"1\r\na\r\n0\r\n\r\n" + GET)
        self.assertEqual(self.statuses(leg), [200])
        leg = web.client(head("POST /a HTTP/1.1", "Transfer-Encoding: chunked"))
        leg.taken()
        leg.arrive(b"200000\r\n" + b"x" * 0x110000)
        web.turn()
        self.assertTrue(leg.finished)
        leg = web.client(head("POST /a HTTP/1.1", "Transfer-Encoding: chunked"))
        leg.taken()
        leg.arrive(b"nonsense\r\n")
        self.assertTrue(leg.finished)
        leg.end()
        self.assertTrue(leg.closed)

    def test_lingering(self) -> None:
        """
        How long what still comes is dropped is configured, and whether at all.
        """
        big = head("POST /a HTTP/1.1", "Content-Length: 9999999")
        leg = self.web("lingering_close off;").client(big)
        self.assertTrue(leg.closed)
        web = self.web("lingering_time 6s; lingering_timeout 4s;")
        leg = web.client(big)
        web.turn()
        web.world.pass_time(3.5)
        leg.arrive(b"x")
        web.world.pass_time(2)
        self.assertFalse(leg.closed)
        web.world.pass_time(0.6)
        self.assertTrue(leg.closed)
        web = self.web("lingering_close always; lingering_timeout 2s;")
        leg = web.client(LAST)
        web.turn()
        self.assertEqual((leg.finished, leg.closed), (True, False))
        leg.end()
        self.assertTrue(leg.closed)

    def test_lingering_too_long(self) -> None:
        """
        A client that never stops is stopped.
        """
        web = self.web("lingering_time 3s; lingering_timeout 2s;")
        leg = web.client(head("POST /a HTTP/1.1", "Content-Length: 9999999"))
        web.turn()
        for _ in range(4):
            web.world.pass_time(0.9)
            leg.arrive(b"x")
        self.assertTrue(leg.closed)

    def test_discarding_too_long(self) -> None:
        """
        A body nobody wants does not hold a connection for ever.
        """
        web = self.web("lingering_time 3s; lingering_timeout 1s;")
        leg = web.client(head("POST /a HTTP/1.1", "Content-Length: 9"))
        leg.taken()
        web.world.pass_time(3.1)
        self.assertTrue(leg.closed)

    def test_stopped(self) -> None:
        """
        A configuration that takes no more requests closes connections that have none, and the others behind theirs.
        """
        web = self.web()
        idle = web.client(GET)
        busy = web.client(head("GET /h HTTP/1.1"))
        web.world.runtime.stop()
        self.assertEqual((idle.closed, busy.closed), (True, False))
        self.holding.requests[0].respond(200)
        self.assertTrue(busy.closed)
        self.assertEqual(web.world.runtime.idle, set())

    def test_session_ends(self) -> None:
        """
        When the session is ended, so is the request it carries.
        """
        web = self.web()
        leg = web.client(head("GET /h HTTP/1.1"))
        web.world.runtime.abort()
        self.assertEqual(([each.status for each in web.over], leg.closed), ([499], True))
