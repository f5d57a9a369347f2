"""
Tests for L{sniproxy.http.request}.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.common.phases import DONE, WAIT
from sniproxy.common.ssl_variables import TlsFacts
from sniproxy.http.exchange import Reply
from sniproxy.http.request import Request
from sniproxy.tls.verify import Judgement
from tests.support.encodings import Keeping
from tests.support.webs import Answer, Web, answers, head


class Steps:
    """
    A module that has handlers of the test in every place, by phase.
    """

    name = "test_steps"
    directives: tuple[Any, ...] = ()
    variables: tuple[Any, ...] = ()

    def __init__(self, steps: dict[str, list[Callable[[Request], Any]]]) -> None:
        self.steps = steps
        self.places: dict[str, Any] = {}

    def prepare(self, build: Any) -> None:
        """
        Nothing to do.
        """

    def attach(self, server: Any, build: Any) -> None:
        """
        Nothing to do.
        """

    def attach_place(self, place: Any, build: Any) -> None:
        """
        Hand the steps over.
        """
        self.places[place.name] = place
        for phase, handlers in self.steps.items():
            for handler in handlers:
                place.handle(phase, handler)


class RequestCase(SynchronousTestCase):
    """
    What tests of this file share.
    """

    def setUp(self) -> None:
        self.seen: list[Any] = []
        self.requests: list[Request] = []

    def hold(self, request: Request) -> None:
        """
        Content that waits for the test.
        """
        self.requests.append(request)

    def web(self, server: str = "content hello;", http: str = "", **steps: list[Callable[[Request], Any]]) -> Web:
        """
        A server with these handlers in each place.
        """
        self.steps = Steps(steps)
        return Web(server, {"hold": self.hold}, http, [self.steps])

    def note(self, what: Any, answer: Any = None) -> Callable[[Request], Any]:
        """
        A handler that is seen.
        """

        def handler(request: Request) -> Any:
            self.seen.append(what)
            return answer

        return handler

    def get(self, web: Web, path: str = "/", *fields: str, version: str = "1.1") -> Answer:
        """
        A request's answer.
        """
        return web.ask(f"GET {path} HTTP/{version}", *fields)


class WalkTests(RequestCase):
    """
    The way through the phases.
    """

    def test_order(self) -> None:
        """
        Phases come in their order, and content before the log.
        """
        names = ["log", "access", "preaccess", "rewrite", "server_rewrite", "post_read", "content"]
        web = self.web("content hello;", "", **{name: [self.note(name)] for name in names})
        self.assertEqual(self.get(web).status, 200)
        order = ["post_read", "server_rewrite", "rewrite", "preaccess", "access", "content", "log"]
        self.assertEqual(self.seen, order)

    def test_answers(self) -> None:
        """
        A status ends the walk; DONE ends a phase, but for access, where everybody is asked.
        """
        web = self.web(preaccess=[self.note(1, DONE), self.note(2)], access=[self.note(3, DONE), self.note(4, 403)])
        self.assertEqual(self.get(web).status, 403)
        self.assertEqual(self.seen, [1, 3, 4])

    def test_satisfy_any(self) -> None:
        """
        With C{satisfy any} one who lets in is enough; else one who does not is.
        """
        for answers_, status, asked in (
            ([403, DONE, 401], 200, 2),
            ([403, None], 403, 2),
            ([None, None], 200, 2),
            ([401, 403], 401, 2),
        ):
            self.seen = []
            handlers = [self.note(answer, answer) for answer in answers_]
            web = self.web("satisfy any; content hello;", "", access=handlers)
            self.assertEqual((self.get(web).status, len(self.seen)), (status, asked))
            self.assertEqual(any("access forbidden by rule" in str(line) for line in web.lines), status == 403)

    def test_waiting(self) -> None:
        """
        A handler may wait, and the walk goes on where it was, or as if it had answered then.
        """
        web = self.web("location / { content hold; }", preaccess=[self.note(1, WAIT), self.note(2)])
        leg = web.client(head("GET / HTTP/1.1"))
        self.assertEqual(self.seen, [1])
        request = next(iter(web.world.runtime.sessions)).pending.request  # type: ignore[union-attr]
        request.answer(WAIT)
        request.resume()
        self.assertEqual((self.seen, self.requests), ([1, 2], [request]))
        request.respond(200)
        request.resume()
        request.answer(500)
        self.assertEqual(answers(leg.taken())[0].status, 200)
        self.seen, self.requests = [], []
        leg = web.client(head("GET / HTTP/1.1"))
        found = [session.pending.request for session in web.world.runtime.sessions]  # type: ignore[union-attr]
        (request,) = [each for each in found if each is not None]
        request.answer(418)
        self.assertEqual((self.seen, web.over[-1].status, leg.sent != b""), ([1], 418, True))

    def test_deadline(self) -> None:
        """
        A request has a deadline of its own, which may be put off or taken back.
        """
        web = self.web("location / { content hold; }")
        web.client(head("GET / HTTP/1.1"))
        request = self.requests[0]
        request.wait(2, lambda: self.seen.append("late"))
        web.world.pass_time(1)
        request.wait(2, lambda: self.seen.append("later"))
        web.world.pass_time(1.5)
        self.assertEqual(self.seen, [])
        web.world.pass_time(0.6)
        self.assertEqual(self.seen, ["later"])
        request.wait(1, lambda: self.seen.append("never"))
        request.stop_waiting()
        request.expired()
        web.world.pass_time(2)
        self.assertEqual(self.seen, ["later"])

    def test_faults(self) -> None:
        """
        A fault of ours is 500, or breaks the answer off, and nothing else is hurt.
        """

        def fault(request: Request) -> None:
            raise RuntimeError("ours")

        web = self.web(access=[fault])
        self.assertEqual(self.get(web).status, 500)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.assertIn("[alert] *1 internal error", web.lines[-1])
        web = self.web("content hold;")
        leg = web.client(head("GET / HTTP/1.1"))
        request = self.requests[0]
        request.begin(Reply(200))
        request.send(b"abc")
        request.run(fault, request)
        self.assertEqual((leg.closed, len(web.over), len(self.flushLoggedErrors(RuntimeError))), (True, 1, 1))
        request.crashed()

    def test_fault_in_the_page(self) -> None:
        """
        Where even the page of an error is a fault of ours, the connection ends.
        """

        def fault(*ignored: Any) -> None:
            raise RuntimeError("ours")

        web = self.web(access=[fault])
        self.steps.places[""].filter(fault)
        leg = web.client(head("GET / HTTP/1.1"))
        self.assertEqual((leg.closed, leg.sent, len(self.flushLoggedErrors(RuntimeError))), (True, b"", 2))

    def test_fault_at_the_end(self) -> None:
        """
        Whatever fails at the end does not keep the rest from being done.
        """

        def fault() -> None:
            raise RuntimeError("ours")

        def begin(request: Request) -> None:
            request.cleanup += [fault, lambda: self.seen.append("second")]

        web = self.web(access=[begin], log=[self.note("log")])
        self.assertEqual(self.get(web).status, 200)
        self.assertEqual((self.seen, len(self.flushLoggedErrors(RuntimeError))), (["second", "log"], 1))


class TargetTests(RequestCase):
    """
    Who is asked for what.
    """

    def test_server_by_host(self) -> None:
        """
        The host chooses among the servers of an address: that of the target before that of the field.
        """
        other = "server { listen 192.0.2.1:80; server_name b.example; location / { content hold; } }"
        web = self.web("server_name a.example; content hello;", http=other)
        web.world.listening[0].default = web.world.listening[0].servers[1]
        self.assertEqual(self.get(web, "/", "Host: A.example:80").status, 200)
        self.assertEqual(self.get(web, "/", "Host: c.example").status, 200)
        self.assertEqual(self.get(web, "http://a.example/x?y", "Host: b.example").status, 200)
        request = web.over[-1]
        self.assertEqual((request.host, request.uri, request.args, request.target), ("a.example", "/x", "y", "/x?y"))
        web.client(head("GET / HTTP/1.1", "Host: b.example."))
        self.assertEqual(self.requests[0].server.names, ("b.example",))

    def test_refused(self) -> None:
        """
        What is no path or host is a bad request.
        """
        web = self.web()
        for path, fields in (("/..", ()), ("/%", ()), ("*", ()), ("/", ("Host: a/b",)), ("http://a b/", ())):
            self.assertEqual(self.get(web, path, *fields).status, 400)
        self.assertEqual(self.get(web, "/", version="1.0").status, 200)

    def test_line_alone(self) -> None:
        """
        Behind a line that is wrong nothing is looked at; a host that is none is told of where it stands.
        """
        for path, tail in (
            ("/..", 'invalid request while reading client request line, #"GET /.. HTTP/1.1"'),
            ("http://a@b/", 'invalid request while reading client request line, #"GET http://a@b/ HTTP/1.1"'),
            ("/", 'invalid host header while reading client request headers, #"GET / HTTP/1.1", host: "a@b"'),
        ):
            web = self.web()
            self.assertEqual(self.get(web, path, "Host: a@b").status, 400)
            tail = tail.replace("#", "client: 192.0.2.77, server: , request: ")
            self.assertTrue(any(str(line).endswith(tail) for line in web.lines), web.lines)
        self.assertEqual(self.get(self.web(), "/", "Host:").status, 400)

    def test_no_host(self) -> None:
        """
        Who names no host comes to the server whose name is empty.
        """
        web = self.web("server_name a;", http="server { listen 192.0.2.1:80; content hello; }")
        web.world.listening[0].default = web.world.listening[0].servers[1]
        web.client(b"GET / HTTP/1.0\r\n\r\n")
        self.assertEqual([request.server.names for request in web.over], [("",)])

    def test_tunnels(self) -> None:
        """
        TRACE and CONNECT are allowed nowhere, and are the last of their connections.
        """
        for method in ("TRACE", "CONNECT"):
            web = self.web()
            answer = web.ask(f"{method} / HTTP/1.1")
            self.assertEqual((answer.status, answer.headers.get("connection")), (405, "close"))
            self.assertTrue(any(f"client sent {method} method" in str(line) for line in web.lines))

    def test_plain_on_tls(self) -> None:
        """
        A plain request where TLS is spoken has a page of its own.
        """
        web = self.web()
        leg = web.client()
        web.world.session().plain_on_tls = True
        leg.arrive(head("GET / HTTP/1.1"))
        (answer,) = answers(leg.taken())
        self.assertEqual((answer.status, web.over[0].status, leg.closed), (400, 400, True))
        self.assertIn(b"The plain HTTP request was sent to HTTPS port", answer.body)

    def test_certificates(self) -> None:
        """
        A server that asks for certificates answers 400 to who has none, or a wrong one, on each request; and clients
        that were let in by another server are misdirected.
        """
        other = "server { listen 192.0.2.1:80; server_name b; content hello; }"
        certificate: Any = object()
        rows = (
            (Judgement(True, certificate=certificate), "a", 200, 200),
            (Judgement(False, message="no", certificate=certificate), "a", 400, 400),
            (Judgement(False, message="no"), "a", 400, 400),
            (Judgement(True, certificate=certificate), "b", 421, 421),
        )
        for judgement, host, told, status in rows:
            web = self.web("server_name a; content hello;", other)
            for server in web.world.listening[0].servers:
                server.verify = "on"  # type: ignore[attr-defined]
            leg = web.client()
            session = web.world.session()
            session.tls = TlsFacts(certificate, judgement)
            session.server = next(each for each in web.world.listening[0].servers if each.names == ("a",))
            leg.arrive(head("GET / HTTP/1.1", f"Host: {host}"))
            (answer,) = answers(leg.taken())
            self.assertEqual(
                (answer.status, [request.status for request in web.over]), (told, [status] * bool(web.over))
            )

    def test_strange_names(self) -> None:
        """
        Fields with strange names are let go of, with a line in the log, unless all are taken.
        """
        for server, names in (("", ["Host"]), ("ignore_invalid_headers off;", ["Host", "b_c"])):
            web = self.web(f"{server} content hello;")
            self.assertEqual(self.get(web, "/", "Host: x", "b_c: d").status, 200)
            self.assertEqual([name for name, _ in web.over[0].headers], names)
            found = 'client sent invalid header line: "b_c: d"' in "".join(web.lines)
            self.assertEqual(found, len(names) == 1)

    def test_locations(self) -> None:
        """
        The path chooses the location; an internal one is none for those who come from outside.
        """
        web = self.web("location /a { content hello; } location /b { internal; content hello; }")
        self.assertEqual([self.get(web, path).status for path in ("/a", "/b", "/c")], [200, 404, 404])

    def test_slash(self) -> None:
        """
        A place that passes requests on is found without its last slash, and the client sent there.
        """
        web = self.web("location /a/ { content hello; }")
        self.steps.places["/a/"].redirects = True
        answer = self.get(web, "/a?b")
        self.assertEqual((answer.status, answer.headers.get("location")), (301, "http://x/a/?b"))

    def test_limit_except(self) -> None:
        """
        Methods that are not excepted have a place of their own, with the content of the one around it.
        """
        web = self.web("location / { content hello; limit_except GET { } }")
        answer = web.ask("POST / HTTP/1.1", "Content-Length: 0")
        self.assertEqual(answer.status, 200)
        outer, inner = (request.place for request in (self.after(web, "GET"), self.after(web, "PUT")))
        self.assertEqual((inner.around is outer, self.after(web, "HEAD").place is outer), (True, True))

    def after(self, web: Web, method: str) -> Request:
        """
        A request that is over.
        """
        web.ask(f"{method} / HTTP/1.1")
        return web.over[-1]

    def test_too_large(self) -> None:
        """
        A body that is announced too large is not even begun; how large it may be is the location's affair.
        """
        web = self.web("client_max_body_size 5; location /a { content hello; client_max_body_size 0; } content hello;")
        self.assertEqual(web.ask("POST / HTTP/1.1", "Content-Length: 6", body=b"123456").status, 413)
        self.assertIn("client intended to send too large body: 6 bytes", "".join(web.lines))
        self.assertEqual(web.ask("POST / HTTP/1.1", "Content-Length: 5", body=b"12345").status, 200)
        self.assertEqual(web.ask("POST /a HTTP/1.1", "Content-Length: 6", body=b"123456").status, 200)
        web = self.web("client_max_body_size 5; error_page 413 /own; location /own { content hello; }")
        answer = web.ask("POST / HTTP/1.1", "Content-Length: 6", body=b"123456")
        self.assertEqual((answer.status, answer.body), (413, b"hello\n"))


class RedirectTests(RequestCase):
    """
    Requests that are sent on from within.
    """

    def test_redirect(self) -> None:
        """
        Another path is looked for anew, and may be internal.
        """
        web = self.web("location /a { content hold; } location /b { internal; content hello; }")
        leg = web.client(head("GET /a HTTP/1.1"))
        self.requests[0].redirect("/b", "c=d")
        self.assertEqual(answers(leg.taken())[0].status, 200)
        request = web.over[0]
        self.assertEqual((request.uri, request.args, request.target), ("/b", "c=d", "/a"))

    def test_named(self) -> None:
        """
        A named location is gone to by its name.
        """
        web = self.web("location /a { content hold; } location @b { content hello; }")
        leg = web.client(head("GET /a HTTP/1.1"))
        self.requests[0].named("@b")
        self.assertEqual((answers(leg.taken())[0].status, web.over[0].place.name), (200, "@b"))
        leg = web.client(head("GET /a HTTP/1.1"))
        self.requests[1].named("@c")
        self.assertEqual(answers(leg.taken())[0].status, 500)
        self.assertIn('could not find named location "@c"', "".join(web.lines))

    def test_cycles(self) -> None:
        """
        Who is sent around in a circle gets 500 at last.
        """
        circles: dict[str, Callable[[Request], Any]] = {
            "internally redirecting to": lambda request: request.redirect("/"),
            "redirecting to named location": lambda request: request.named("@a"),
        }
        for words, go in circles.items():
            web = Web("location / { content go; } location @a { content go; }", {"go": go})
            self.assertEqual(self.get(web).status, 500)
            self.assertIn(f"rewrite or internal redirection cycle while {words}", "".join(web.lines))

        def change(request: Request) -> None:
            request.changed = True

        web = self.web(rewrite=[change])
        self.assertEqual(self.get(web).status, 500)
        self.assertIn('rewrite or internal redirection cycle while processing "/"', "".join(web.lines))


class AnswerTests(RequestCase):
    """
    What a client is told.
    """

    def test_statuses(self) -> None:
        """
        A status has nginx's page, or nothing where nothing belongs.
        """
        for status, closing in ((404, False), (503, False), (400, True), (500, True)):
            web = self.web(access=[self.note(status, status)])
            answer = self.get(web)
            self.assertEqual(answer.status, status)
            self.assertEqual(answer.headers.get("content-type"), "text/html")
            self.assertEqual(answer.headers.get("connection"), "close" if closing else "keep-alive")
            self.assertIn(str(status).encode(), answer.body)
        for status in (200, 204, 304):
            self.assertEqual(self.get(self.web(access=[self.note(status, status)])).body, b"")

    def test_closed(self) -> None:
        """
        Some statuses say nothing and close.
        """
        for status in (444, 499, 408):
            web = self.web(access=[self.note(status, status)])
            leg = web.client(head("GET / HTTP/1.1"))
            self.assertEqual((leg.sent, leg.closed, web.over[0].status), (b"", True, status))

    def test_begun_already(self) -> None:
        """
        A status that comes too late breaks the answer off; after the end nothing happens.
        """
        web = self.web("content hold;")
        leg = web.client(head("GET / HTTP/1.1"))
        request = self.requests[0]
        request.begin(Reply(200))
        request.send(b"abc")
        request.finalize(502)
        self.assertEqual((leg.closed, web.over[0].status), (True, 200))
        request.finalize(500)
        request.abort()
        request.abort()
        request.lost()
        request.done()
        self.assertEqual(len(web.over), 1)

    def test_error_page(self) -> None:
        """
        A hook of the place may make something else of a status, or leave it.
        """

        def hook(request: Request, status: int) -> bool:
            if status == 404:
                request.respond(200, b"found")
            return status == 404

        web = self.web("location /a { content hello; }", access=[self.note(1)])
        self.steps.places[""].error_page = hook
        self.assertEqual((self.get(web).status, self.get(web, "/..").status), (200, 400))

    def test_filters(self) -> None:
        """
        What a place does to answers is done to all of them.
        """
        web = self.web("location /a { content hello; }")
        for place in self.steps.places.values():
            place.filter(lambda request, reply: reply.headers.add("X", str(reply.status)))
        self.assertEqual([self.get(web, path).headers.get("x") for path in ("/a", "/b")], ["200", "404"])

    def test_respond(self) -> None:
        """
        A field of the answer's own goes before what is given for it.
        """
        web = self.web("content hold;")
        leg = web.client(head("GET / HTTP/1.1"))
        self.requests[0].respond(201, b"x", "a/b", [("Content-Type", "c/d")])
        (answer,) = answers(leg.taken())
        self.assertEqual((answer.status, answer.headers.all("content-type"), answer.body), (201, ["c/d"], b"x"))

    def test_encoded(self) -> None:
        """
        What a place encodes is sent when it was flushed, or is whole; without a body there is nothing to do.
        """
        web = self.web("content hold;")
        self.steps.places[""].encoding = keeping = Keeping()
        leg = web.client(head("GET / HTTP/1.1"))
        (request,) = self.requests
        request.begin(Reply(200, (), 6))
        self.assertTrue(request.send(b"abc"))
        request.flush()
        self.assertEqual(leg.taken().partition(b"\r\n\r\n")[2], b"3\r\nabc\r\n")
        request.send(b"def")
        request.end()
        self.assertEqual(leg.taken(), b"4\r\ndef.\r\n0\r\n\r\n")
        leg = web.client(head("HEAD / HTTP/1.1"))
        request = self.requests[1]
        request.begin(Reply(200, (), 6))
        request.send(b"abc")
        request.flush()
        request.end()
        self.assertEqual((leg.taken().partition(b"\r\n\r\n")[2], keeping.came), (b"", 2))

    def test_encoded_for_nobody(self) -> None:
        """
        A client that has gone meanwhile ends it.
        """
        for step in (Request.flush, Request.end):
            web = self.web("content hold;")
            self.steps.places[""].encoding = Keeping()
            leg = web.client(head("GET / HTTP/1.1"))
            request = self.requests[-1]
            request.begin(Reply(200))
            request.send(b"a" * 100000)
            leg._broken = BrokenPipeError(errno.EPIPE, "Broken pipe")
            step(request)
            self.assertTrue(request.over)
