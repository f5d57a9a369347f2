"""
Tests for L{sniproxy.http.subject}.
"""

from __future__ import annotations

from sniproxy.addresses import Address
from tests.http.test_request import RequestCase
from tests.support.webs import Web, answers, head


class SubjectTests(RequestCase):
    """
    What handlers, variables and the log read.
    """

    def test_as_a_session(self) -> None:
        """
        A request has what common handlers ask of sessions.
        """
        web = self.web("content hold;")
        web.client(head("GET / HTTP/1.1"))
        request = self.requests[0]
        session = web.world.session()
        self.assertEqual((request.peer, request.local), (session.peer, session.local))
        self.assertEqual((request.number, request.hello, request.tls), (session.number, None, None))
        self.assertIs(request.clock, session.runtime)
        request.peer = Address("unix", "")
        request.values["a"] = "b"
        request.notes["c"] = "d"
        self.assertEqual((request.values, request.notes, session.peer.family), ({"a": "b"}, {"c": "d"}, "inet"))
        self.assertEqual((request.client_text(), request.scheme), ("unix:", "http"))

    def test_outside(self) -> None:
        """
        What C{Location} says for a path of ours is configured.
        """
        rows = {
            "": "http://x/a",
            "listen 192.0.2.1:8080;": "http://x:8080/a",
            "listen 192.0.2.1:8080; port_in_redirect off;": "http://x/a",
            "server_name n; server_name_in_redirect on;": "http://n/a",
            "absolute_redirect off;": "/a",
        }
        for server, location in rows.items():
            web = self.web(f"{server} content hold;")
            leg = web.client(head("GET / HTTP/1.1"))
            self.requests.pop().redirect_out(302, "/a")
            (answer,) = answers(leg.taken())
            self.assertEqual((answer.status, answer.headers.get("location")), (302, location))
        web = self.web("content hold;")
        leg = web.client(b"GET / HTTP/1.0\r\n\r\n")
        self.requests.pop().redirect_out(302, "/a")
        self.assertEqual(answers(leg.taken())[0].headers.get("location"), "http://192.0.2.1/a")

    def test_log(self) -> None:
        """
        A line of the error log says what nginx adds.
        """
        web = self.web("server_name n; content hold;")
        web.client(head("GET /a HTTP/1.1", "Referer: r"))
        request = self.requests[0]
        request.action = "testing"
        request.upstream = "http://u/"
        request.error("words")
        self.assertEqual(
            web.lines[-1],
            "[error] *1 words while testing, client: 192.0.2.77, server: n, "
            'request: "GET /a HTTP/1.1", upstream: "http://u/", host: "x", referrer: "r"',
        )

    def test_no_line_below_the_level(self) -> None:
        """
        What the log does not want is not even made.
        """
        web = Web("content hold;", {"hold": self.hold}, level=4)
        web.client(head("GET /a HTTP/1.1"))
        self.requests[0].info("x")
        self.requests[0].log(7, "x")
        self.assertEqual(web.lines, [])

    def test_lost_peer(self) -> None:
        """
        A client whose address cannot be found out any more is unknown.
        """
        web = self.web("content hold;")
        leg = web.client(head("GET /a HTTP/1.1"))
        del leg.peer
        leg.__class__ = type("Lost", (leg.__class__,), {"peer": property(lambda self: _lost())})
        self.assertEqual(self.requests[0].client_text(), "unknown")


def _lost() -> Address:
    raise OSError(107, "Transport endpoint is not connected")
