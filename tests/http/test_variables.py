"""
Tests for L{sniproxy.http.variables}.
"""

from __future__ import annotations

import socket
from base64 import b64encode
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.http import variables
from sniproxy.http.exchange import Reply
from sniproxy.http.request import Request
from sniproxy.http.spool import Spool
from tests.support.webs import Web, head


class VariablesCase(SynchronousTestCase):
    """
    What tests of this file share.
    """

    def setUp(self) -> None:
        self.requests: list[Request] = []

    def begun(self, data: bytes, server: str = "") -> Request:
        """
        A request under way.
        """
        self.web = Web(f"{server} content hold;", {"hold": self.requests.append})
        self.leg = self.web.client(data)
        return self.requests[-1]

    def value(self, text: str, request: Request) -> str:
        """
        What a text with variables says of it.
        """
        build = self.web.world.build
        return build.template(text, build.nodes[0], "http")(request)


class AskedTests(VariablesCase):
    """
    What was asked for.
    """

    def test_target(self) -> None:
        """
        The line, and what is in it.
        """
        request = self.begun(head("GET /a%20b//c?x=1&Y=%32&x=3 HTTP/1.1", "Host: N.example:81"), "server_name n;")
        rows = {
            "$request": "GET /a%20b//c?x=1&Y=%32&x=3 HTTP/1.1",
            "$request_method": "GET",
            "$request_uri": "/a%20b//c?x=1&Y=%32&x=3",
            "$uri $document_uri": "/a b/c /a b/c",
            "$args $query_string": "x=1&Y=%32&x=3 x=1&Y=%32&x=3",
            "$is_args": "?",
            "$arg_x $arg_y $arg_z": "1 %32 ",
            "$server_protocol": "HTTP/1.1",
            "$host": "n.example",
            "$http_host": "N.example:81",
            "$request_port$is_request_port": "81:",
            "$scheme $https $http2": "http  ",
            "$server_name": "n",
        }
        self.assertEqual({text: self.value(text, request) for text in rows}, rows)

    def test_strange_names(self) -> None:
        """
        Fields and cookies are found by names with underscores, and with blanks around what they say.
        """
        request = self.begun(head("GET / HTTP/1.1", "a_b-C: 1", "Cookie: x; D = 2 "), "underscores_in_headers on;")
        self.assertEqual(self.value("$http_a_b_c|$http_a_b|$cookie_d", request), "1||2")

    def test_kept_body(self) -> None:
        """
        The body is known once it was read, as long as it is in memory.
        """
        request = self.begun(head("POST / HTTP/1.1", "Content-Length: 3"))
        self.assertEqual(self.value("$request_body", request), "")
        request.notes[Spool] = spool = Spool(2)
        spool.add("\u00e4".encode())
        self.assertEqual(self.value("$request_body", request), "\u00e4")
        spool.add(b"x")
        self.assertEqual(self.value("$request_body", request), "")
        spool.close()

    def test_not_there(self) -> None:
        """
        Arguments that are none, and what a broken line asked for, are not there.
        """
        request = self.begun(head("GET /? HTTP/1.1"))
        self.assertEqual((variables.args(request), variables.request_uri(request)), (None, "/?"))
        self.web.client(head("GET /.. HTTP/1.1"))
        self.assertIsNone(variables.request_uri(self.web.over[-1]))

    def test_connection_before_the_answer(self) -> None:
        """
        What becomes of the connection can be asked before there is an answer.
        """
        request = self.begun(head("GET / HTTP/1.1"), "keepalive_timeout 5 4;")
        self.assertEqual(self.value("$sent_http_connection|$sent_http_keep_alive", request), "keep-alive|timeout=4")

    def test_nothing(self) -> None:
        """
        What is not there is empty.
        """
        request = self.begun(b"GET / HTTP/1.0\r\n\r\n", "server_name n;")
        self.assertEqual(self.value("$is_args$arg_a$cookie_b$http_c$remote_user$request_port", request), "")
        self.assertEqual(self.value("$host $server_protocol", request), "n HTTP/1.0")

    def test_fields(self) -> None:
        """
        Fields of one name are joined, cookies and the user's name found in theirs.
        """
        user = b64encode(b"me:secret").decode()
        request = self.begun(
            head(
                "GET / HTTP/1.1",
                "A-B: 1",
                "a-b: 2",
                "Cookie: x; C=1; d=2",
                "Cookie: e=3",
                f"Authorization: Basic {user}",
            )
        )
        self.assertEqual(self.value("$http_a_b|$cookie_c$cookie_D$cookie_e|$remote_user", request), "1, 2|123|me")
        for text in ("Basic %", "Basic bWU=", "Bearer x", f"Basic {b64encode(b':x').decode()}"):
            request = self.begun(head("GET / HTTP/1.1", f"Authorization: {text}"))
            self.assertEqual(self.value("$remote_user", request), "")

    def test_body(self) -> None:
        """
        What the head says of the body, and how long all is.
        """
        data = head("POST / HTTP/1.1", "Content-Type: a/b", "Content-Length: 3")
        request = self.begun(data + b"xyz")
        self.assertEqual(self.value("$content_type $content_length", request), "a/b 3")
        self.assertEqual(self.value("$request_length", request), str(len(data)))
        request.body.read()
        self.assertEqual(self.value("$request_length", request), str(len(data) + 3))

    def test_id(self) -> None:
        """
        Each request has a number of its own, which stays.
        """
        request = self.begun(head("GET / HTTP/1.1"))
        found = self.value("$request_id", request)
        self.assertEqual((len(found), self.value("$request_id", request)), (32, found))
        self.assertNotEqual(variables.request_id(request), found)

    def test_time(self) -> None:
        """
        How long requests and connections have been there.
        """
        request = self.begun(head("GET / HTTP/1.1"))
        self.web.world.pass_time(1.5)
        self.assertEqual(self.value("$request_time $connection_time", request), "1.500 1.500")

    def test_connection(self) -> None:
        """
        Requests are counted on their connection, and known where they came too soon.
        """
        request = self.begun(head("GET / HTTP/1.1") * 2)
        self.assertEqual(self.value("$connection_requests $pipe", request), "1 .")
        request.respond(200)
        self.web.turn()
        self.assertEqual(self.value("$connection_requests $pipe", self.requests[1]), "2 p")

    def test_tls(self) -> None:
        """
        TLS changes the scheme, HTTP/2 the version.
        """
        request = self.begun(head("GET / HTTP/1.1"))
        request.text = "HTTP/2.0"
        self.assertEqual(variables.http2(request), "h2c")
        request.session.tls = object()
        self.assertEqual((variables.http2(request), self.value("$scheme $https", request)), ("h2", "https on"))


class AnsweredTests(VariablesCase):
    """
    What was answered.
    """

    def test_answer(self) -> None:
        """
        The status, how much was sent, and the fields of the head.
        """
        request = self.begun(head("GET / HTTP/1.1"), "keepalive_timeout 5s 6s;")
        self.assertEqual(self.value("$status|$sent_http_x|$request_completion", request), "000||")
        reply = Reply(200, [("X", "1"), ("x", "2")], 5)
        request.begin(reply)
        request.send(b"12345")
        request.end()
        size = len(self.leg.sent)
        self.assertEqual(self.value("$status $body_bytes_sent $bytes_sent", request), f"200 5 {size}")
        rows = {
            "$sent_http_x": "1, 2",
            "$sent_http_content_length": "5",
            "$sent_http_connection": "keep-alive",
            "$sent_http_keep_alive": "timeout=6",
            "$sent_http_transfer_encoding": "",
            "$sent_http_y": "",
            "$request_completion": "OK",
        }
        self.assertEqual({text: self.value(text, request) for text in rows}, rows)

    def test_in_chunks(self) -> None:
        """
        An answer whose length is not known has none.
        """
        request = self.begun(head("GET / HTTP/1.1", "Connection: close"))
        request.begin(Reply(200))
        text = "$sent_http_transfer_encoding|$sent_http_content_length|$sent_http_connection|$sent_http_keep_alive"
        self.assertEqual(self.value(text, request), "chunked||close|")


class SystemTests(VariablesCase):
    """
    What the kernel knows.
    """

    def test_tcp_info(self) -> None:
        """
        Numbers of a TCP connection; nothing where it is none.
        """
        request = self.begun(head("GET / HTTP/1.1"))
        self.assertEqual(self.value("$tcpinfo_rtt", request), "")
        listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listener.close)
        client = socket.create_connection(listener.getsockname())
        self.addCleanup(client.close)
        pair = socket.socketpair()
        for sock in pair:
            self.addCleanup(sock.close)
        sockets: list[Any] = [client, pair[0]]
        self.patch(request.session.client, "socket", lambda: sockets[0])
        self.assertGreater(int(self.value("$tcpinfo_snd_cwnd", request)), 0)
        self.assertGreater(int(self.value("$tcpinfo_rcv_space", request)), 0)
        del sockets[0]
        self.assertEqual(self.value("$tcpinfo_rtt", request), "")
