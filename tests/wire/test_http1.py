"""
Requests and responses as readers tell of them: whole, in pieces, spoiled, too large, one behind the other.

What is dangerous is in tests/wire/test_http1_smuggling.py, what we write in tests/wire/test_http1_roundtrips.py.
"""

from __future__ import annotations

from itertools import islice
from typing import Final

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.wire.http1 import (
    EMPTY_LINES,
    INTERIM,
    PREFACE,
    Data,
    End,
    Limits,
    Refused,
    RequestHead,
    RequestReader,
    ResponseHead,
    ResponseReader,
    is_preface,
)
from tests.support.http1 import (
    Said,
    drained,
    every_cut,
    heard,
    kinds,
    of_request,
    of_response,
    refusal,
    requests,
    response,
    singly,
    spoiled,
)

END: Final = End(())

GET: Final = b"GET /a?b=c HTTP/1.1\r\nHost: a.example\r\nAccept: */*\r\n\r\n"
POST: Final = b"POST /p HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED: Final = (
    b"PUT /c HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: Chunked\r\n\r\n"
    b"3\r\nabc\r\nA;name=value\r\n0123456789\r\n0\r\nX-Sum: 1\r\n\r\n"
)
OK: Final = b"HTTP/1.1 200 OK\r\nServer: s\r\nContent-Length: 5\r\n\r\nhello"

SPOILING: Final = (0, 9, 10, 13, 32, 58, 44, 48, 57, 65, 122, 127, 128, 255)


class PrefaceTests(SynchronousTestCase):
    """
    How a connection of HTTP/2 is recognised.
    """

    def test_preface(self) -> None:
        """
        The preface is known by all its bytes, whatever follows; before that nothing is said.
        """
        self.assertIs(is_preface(PREFACE), True)
        self.assertIs(is_preface(PREFACE + b"\0\0\0\4"), True)
        for at in range(len(PREFACE)):
            self.assertIsNone(is_preface(PREFACE[:at]))
            self.assertIs(is_preface(PREFACE[:at] + b"\xff"), False)
        self.assertIs(is_preface(b"GET / HTTP/1.1\r\n"), False)


class RequestTests(SynchronousTestCase):
    """
    Requests that are good.
    """

    def test_head(self) -> None:
        """
        A head says all that was sent.
        """
        self.assertEqual(
            requests(GET),
            [
                RequestHead(
                    method="GET",
                    target="/a?b=c",
                    version=(1, 1),
                    headers=(("Host", "a.example"), ("Accept", "*/*")),
                    line="GET /a?b=c HTTP/1.1",
                    length=0,
                    keep_alive=True,
                    upgrade=False,
                    size=len(GET),
                    fields={"host": "a.example", "accept": "*/*"},
                ),
                END,
            ],
        )

    def test_cuts(self) -> None:
        """
        Where the network cuts the bytes changes nothing.
        """
        for data in (GET, POST, CHUNKED, b"\r\n\r\n" + GET, GET + POST + CHUNKED + GET):
            whole = requests(data)
            self.assertNotIsInstance(whole[-1], Refused)
            for pieces in every_cut(data):
                self.assertEqual(requests(*pieces), whole, pieces)

    def test_bodies(self) -> None:
        """
        A body comes by its length or by its chunks, with their trailers.
        """
        self.assertEqual(requests(POST)[1:], [b"hello", END])
        self.assertEqual(requests(CHUNKED)[1:], [b"abc0123456789", End((("X-Sum", "1"),))])
        self.assertEqual(of_request(requests(POST)).length, 5)
        self.assertIsNone(of_request(requests(CHUNKED)).length)

    def test_bodies_go_by(self) -> None:
        """
        A body's pieces are those that were fed, not copies and not gathered.
        """
        reader = RequestReader(Limits())
        reader.feed(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3000\r\n\r\n")
        self.assertEqual(len(list(drained(reader))), 1)
        for end in ([], [], [END]):
            piece = bytes(1000)
            reader.feed(piece)
            events = list(drained(reader))
            self.assertEqual(events, [Data(piece), *end])
            assert isinstance(events[0], Data)
            self.assertTrue(events[0].data is piece)

    def test_pipelined(self) -> None:
        """
        Requests that came together are told one by one, and what was not asked for is held.
        """
        reader = RequestReader(Limits())
        reader.feed(POST + GET + GET[:20])
        self.assertEqual(kinds(islice(drained(reader), 3)), [RequestHead, Data, End])
        self.assertEqual(reader.held, GET + GET[:20])
        self.assertEqual(kinds(drained(reader)), [RequestHead, End])
        self.assertEqual(reader.held, GET[:20])
        self.assertEqual(heard(reader, [GET[20:]]), requests(GET))
        self.assertEqual(reader.held, b"")

    def test_upgrade(self) -> None:
        """
        What follows a request for another protocol is held for whoever speaks it.
        """
        head = b"GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n\r\n"
        reader = RequestReader(Limits())
        reader.feed(head + b"\x81\x05hello")
        request = reader.next()
        assert isinstance(request, RequestHead)
        self.assertTrue(request.upgrade)
        self.assertTrue(request.keep_alive)
        self.assertEqual(reader.next(), END)
        self.assertEqual(reader.held, b"\x81\x05hello")

    def test_targets(self) -> None:
        """
        Targets of all forms, and methods that are not in any list, come through as sent.
        """
        for line in (
            b"OPTIONS * HTTP/1.1",
            b"GET http://a.example/x HTTP/1.1",
            b"CONNECT a.example:443 HTTP/1.1",
            b"FOO-BAR_X /\xc3\xa9\xff?# HTTP/1.0",
            b"M /%00 HTTP/1.2",
        ):
            head = of_request(requests(line + b"\r\nHost: a\r\n\r\n"))
            method, target, _ = line.split(b" ")
            self.assertEqual(head.method.encode(), method)
            self.assertEqual(head.target.encode("utf-8", "surrogateescape"), target)
            self.assertEqual(head.line.encode("utf-8", "surrogateescape"), line)

    def test_empty_lines(self) -> None:
        """
        Empty lines before a request are passed over, but not for ever.
        """
        self.assertEqual(requests(b"\r\n" * EMPTY_LINES + GET), requests(GET))
        self.assertEqual(
            requests(*singly(b"\r\n" * EMPTY_LINES + GET + b"\r\n" * EMPTY_LINES + GET)), requests(GET) * 2
        )
        self.assertEqual(refusal(requests(*singly(b"\r\n" * (EMPTY_LINES + 1))))[0], 400)

    def test_nothing_yet(self) -> None:
        """
        Of nothing, nothing is said.
        """
        self.assertEqual(requests(b"", b"\r"), [])


class TooLargeTests(SynchronousTestCase):
    """
    Heads over their limits.
    """

    limits = Limits(line=64, header=100, count=3, headers=5)

    def said(self, *lines: bytes) -> list[Said]:
        """
        What is said of a head, which does not depend on the cuts.
        """
        data = b"\r\n".join((*lines, b"", b""))
        whole = requests(data, limits=self.limits)
        for pieces in every_cut(data):
            events = requests(*pieces, limits=self.limits)
            self.assertEqual(kinds(events), kinds(whole), pieces)
            if kinds(events) == [Refused]:
                self.assertEqual(refusal(events), refusal(whole), pieces)
        return whole

    def test_line(self) -> None:
        """
        A request line has so many bytes with its end, and not one more.
        """
        fits = b"GET /%s HTTP/1.0" % (b"x" * (64 - 16))
        self.assertEqual(len(fits), 62)
        self.assertEqual(kinds(self.said(fits)), [RequestHead, End])
        self.assertEqual(refusal(self.said(b"GET /x" + fits[5:])), (414, "client sent too long URI"))
        self.assertEqual(refusal(requests(b"GET /" + b"x" * 60, limits=self.limits))[0], 414)

    def test_header(self) -> None:
        """
        So has each other line.
        """
        fits = b"A: " + b"x" * 95
        self.assertEqual(kinds(self.said(b"GET / HTTP/1.0", b"B: c", fits, b"C: d")), [RequestHead, End])
        self.assertEqual(
            refusal(self.said(b"GET / HTTP/1.0", b"B: c", fits + b"x", b"C: d")),
            (494, "client sent too long header line"),
        )

    def test_all(self) -> None:
        """
        All lines together have a limit too.
        """
        lines = [b"A: " + b"x" * 85] * 3
        self.assertEqual(kinds(self.said(b"GET / HTTP/1.0", *lines)), [RequestHead, End])
        self.assertEqual(
            refusal(self.said(b"GET / HTTP/1.0", *lines, b"B: " + b"c" * 20)), (494, "client sent too large request")
        )

    def test_count(self) -> None:
        """
        So has their number.
        """
        self.assertEqual(kinds(self.said(b"GET / HTTP/1.0", *[b"A: b"] * 5)), [RequestHead, End])
        self.assertEqual(
            refusal(self.said(b"GET / HTTP/1.0", *[b"A: b"] * 6)), (494, "client sent too many header lines")
        )

    def test_fields_longer_than_lines(self) -> None:
        """
        Either of the two limits may be the smaller one.
        """
        data = b"GET /%s HTTP/1.0\r\nA: %s\r\n\r\n"
        wide = Limits(line=100, header=64, count=3)
        self.assertEqual(kinds(requests(data % (b"x" * 80, b"y" * 9), limits=wide)), [RequestHead, End])
        self.assertEqual(refusal(requests(data % (b"x" * 8, b"y" * 65), limits=wide))[0], 494)

    def test_trailers(self) -> None:
        """
        Trailers have a limit, whole or not.
        """
        head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"
        for end in (b"", b"\r\n\r\n"):
            events = requests(head + b"A: " + b"x" * 8200 + end)
            self.assertEqual(refusal(events), (400, "client sent too big trailers"))


class RefusedTests(SynchronousTestCase):
    """
    What a refusal is.
    """

    def test_line_is_known(self) -> None:
        """
        A refusal has what is known of the request line, and what was done.
        """
        for data, line, action in (
            (b"GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n", "GET /\x01 HTTP/1.1", "reading client request line"),
            (b"GET /a\nHost: a", "GET /a", "reading client request line"),
            (b"GET /\xff HTTP/1.1\r\nHost a\r\n\r\n", "GET /\udcff HTTP/1.1", "reading client request headers"),
            (CHUNKED.replace(b"3\r\n", b"3\r"), "PUT /c HTTP/1.1", "reading client request body"),
        ):
            refused = requests(data)[-1]
            assert isinstance(refused, Refused)
            self.assertEqual(refused.line, line)
            self.assertEqual(refused.action, action)

    def test_nothing_behind(self) -> None:
        """
        Behind a refusal nothing is said, and nothing is held.
        """
        reader = RequestReader(Limits())
        self.assertEqual(kinds(heard(reader, [b"GET\r\n\r\n", GET, GET])), [Refused])
        self.assertEqual(reader.held, b"")

    def test_data_before_the_fault(self) -> None:
        """
        What precedes a broken chunk is told first.
        """
        head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        for broken in (b"3\r\nabcX", b"3\r\nabc\r\nX\r\n"):
            self.assertEqual(requests(head + broken)[1], b"abc")
            self.assertEqual(refusal(requests(head + broken)), (400, "client sent invalid chunked body"))

    def test_spoiled(self) -> None:
        """
        A message with any byte spoiled is answered or refused, or waits for more; nothing else is raised, and the cuts
        do not matter.
        """
        for data in (GET, POST, CHUNKED):
            for bad in spoiled(data, SPOILING):
                whole = requests(bad)
                pieces = requests(*singly(bad))
                self.assertEqual(kinds(whole), kinds(pieces), bad)
                if kinds(whole)[-1:] == [Refused]:
                    self.assertEqual(refusal(whole), refusal(pieces), bad)
                else:
                    self.assertEqual(whole, pieces, bad)
                self.assertLessEqual(len(whole), 4, bad)


class ResponseTests(SynchronousTestCase):
    """
    Responses.
    """

    def test_head(self) -> None:
        """
        A head says all that was sent.
        """
        self.assertEqual(
            response(OK),
            [
                ResponseHead(
                    status=200,
                    reason="OK",
                    version=(1, 1),
                    headers=(("Server", "s"), ("Content-Length", "5")),
                    length=5,
                    chunked=False,
                    until_close=False,
                    keep_alive=True,
                    line="HTTP/1.1 200 OK",
                    size=len(OK) - 5,
                    fields={"server": "s", "content-length": "5"},
                ),
                b"hello",
                END,
            ],
        )

    def test_cuts(self) -> None:
        """
        Where the network cuts the bytes changes nothing.
        """
        for data in (
            OK,
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nA: b\r\n\r\n",
            b"HTTP/1.0 200 \r\n\r\nuntil the end",
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\n" + OK,
            b"HTTP/1.1 204 No Content\r\nContent-Length: 7\r\n\r\n",
        ):
            whole = response(data)
            self.assertEqual(whole[-1].__class__, End)
            for pieces in every_cut(data):
                self.assertEqual(response(*pieces), whole, pieces)

    def test_spoiled(self) -> None:
        """
        A response with any byte spoiled is taken or refused, whatever the cuts; nothing else is raised.
        """
        for data in (OK, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"):
            for bad in spoiled(data, SPOILING):
                whole = response(bad)
                self.assertEqual(kinds(whole), kinds(response(*singly(bad))), bad)
                self.assertIn(type(whole[-1]), (End, Refused), bad)

    def test_no_body(self) -> None:
        """
        Some responses have no body, whatever their fields say.
        """
        for line, method in ((b"200 OK", "HEAD"), (b"204 No Content", "GET"), (b"304 Not Modified", "GET")):
            for field in (b"Content-Length: 5", b"Transfer-Encoding: chunked", b"A: b"):
                events = response(b"HTTP/1.1 " + line + b"\r\n" + field + b"\r\n\r\n", method=method)
                self.assertEqual(kinds(events), [ResponseHead, End])
                head = of_response(events)
                self.assertEqual(
                    (head.length, head.chunked, head.until_close, head.keep_alive), (0, False, False, True)
                )

    def test_until_close(self) -> None:
        """
        Where no length is said, the body ends with the connection, which is not kept.
        """
        events = response(b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\n\r\nhello", b" world")
        head = of_response(events)
        self.assertEqual((head.length, head.until_close, head.keep_alive), (None, True, False))
        self.assertEqual(events[1:], [b"hello world", END])

    def test_cut_short(self) -> None:
        """
        Whatever has to come and does not is a response cut short.
        """
        for data, action in (
            (b"", "reading response header from upstream"),
            (OK[:20], "reading response header from upstream"),
            (b"HTTP/1.1 100 Continue\r\n\r\n", "reading response header from upstream"),
            (OK[:-1], "reading upstream"),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "reading upstream"),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", "reading upstream"),
        ):
            refused = response(data)[-1]
            assert isinstance(refused, Refused), data
            self.assertEqual((refused.status, refused.action), (502, action), data)
            self.assertEqual(refused.reason, "upstream prematurely closed connection")

    def test_finish(self) -> None:
        """
        The end of a connection on which nothing is awaited says nothing, and the end of a body may come with it.
        """
        reader = ResponseReader(4096)
        self.assertIsNone(reader.finish())
        reader.begin("GET")
        reader.feed(OK)
        self.assertEqual(kinds(islice(drained(reader), 2)), [ResponseHead, Data])
        self.assertEqual(reader.finish(), END)
        self.assertIsNone(reader.finish())
        reader.begin("GET")
        reader.feed(b"garbage")
        self.assertIsInstance(reader.next(), Refused)
        self.assertIsNone(reader.finish())

    def test_one_behind_the_other(self) -> None:
        """
        A connection answers one request after the other.
        """
        reader = ResponseReader(4096)
        for _ in range(3):
            reader.begin("GET")
            self.assertEqual(heard(reader, [OK]), response(OK))
        self.assertEqual(reader.held, b"")

    def test_nobody_asked(self) -> None:
        """
        What comes before a request is its answer never.
        """
        reader = ResponseReader(4096)
        reader.begin("GET")
        self.assertEqual(heard(reader, [OK + OK]), response(OK))
        self.assertIsNone(reader.next())
        self.assertEqual(reader.held, OK)
        reader.begin("GET")
        self.assertEqual(refusal(heard(reader, [OK])), (502, "upstream sent data before it was asked"))

    def test_one_at_a_time(self) -> None:
        """
        To begin a request before the last one is answered is a mistake of the caller's.
        """
        reader = ResponseReader(4096)
        reader.begin("GET")
        self.assertRaises(AssertionError, reader.begin, "GET")

    def test_switching(self) -> None:
        """
        Behind 101 nothing is read: it is held.
        """
        reader = ResponseReader(4096)
        reader.begin("GET")
        events = heard(reader, [b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\nraw"])
        self.assertEqual(of_response(events).status, 101)
        self.assertEqual(len(events), 1)
        self.assertEqual(reader.held, b"raw")

    def test_interim(self) -> None:
        """
        Interim responses are told as they come, but not for ever.
        """
        interim = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
        self.assertEqual(len(response(interim * INTERIM + OK)), INTERIM + 3)
        self.assertEqual(refusal(response(interim * (INTERIM + 1))), (502, "upstream sent too many interim responses"))

    def test_too_big(self) -> None:
        """
        A head has so many bytes, and not one more.
        """
        head = b"HTTP/1.1 200 OK\r\nA: %s\r\nContent-Length: 0\r\n\r\n"
        fits = head % (b"x" * (200 - len(head) + 2))
        self.assertEqual(len(fits), 200)
        self.assertEqual(kinds(response(fits, limit=200)), [ResponseHead, End])
        large = head % (b"x" * (200 - len(head) + 3))
        for pieces in every_cut(large):
            self.assertEqual(refusal(response(*pieces, limit=200)), (502, "upstream sent too big header"))

    def test_reasons(self) -> None:
        """
        A reason may be empty, missing, or in any letters.
        """
        for line, reason in (
            (b"HTTP/1.1 200", ""),
            (b"HTTP/1.1 200 ", ""),
            (b"HTTP/1.0 599 Nicht \xc3\xb6ffentlich\xff", "Nicht öffentlich\udcff"),
        ):
            self.assertEqual(of_response(response(line + b"\r\n\r\n")).reason, reason)
