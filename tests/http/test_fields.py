"""
Tests for L{sniproxy.http.fields}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.http.exchange import Reply
from sniproxy.http.fields import fields_of
from sniproxy.http.request import Request
from tests.support.webs import Web, head

DATE = "Fri, 15 Jan 2027 08:00:00 GMT"


class FieldsTests(SynchronousTestCase):
    """
    The fields of an answer's head.
    """

    def fields(self, reply: Reply, server: str = "") -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
        """
        Of an answer of a server.
        """
        requests: list[Request] = []
        web = Web(f"{server} content hold;", {"hold": requests.append})
        web.client(head("GET / HTTP/1.1"))
        return fields_of(requests[0], reply)

    def test_order(self) -> None:
        """
        They come in nginx's order, and what modules added comes last.
        """
        given = [("X", "y"), ("location", "l"), ("Last-modified", "m"), ("content-type", "t"), ("Content-Type", "u")]
        first, rest = self.fields(Reply(200, given, 5))
        self.assertEqual(
            first,
            [
                ("Server", "nginx/1.31.5"),
                ("Date", DATE),
                ("Content-Type", "t"),
                ("Content-Length", "5"),
                ("Last-Modified", "m"),
                ("Location", "l"),
            ],
        )
        self.assertEqual(rest, [("X", "y")])

    def test_signature(self) -> None:
        """
        The server says as much of itself as it is told to, and what an answer says of it and its date goes before.
        """
        self.assertEqual(self.fields(Reply(200), "server_tokens off;")[0], [("Server", "nginx"), ("Date", DATE)])
        given = [("Server", "s"), ("Date", "d")]
        self.assertEqual(self.fields(Reply(200, given)), (given, []))

    def test_length(self) -> None:
        """
        204 has none, and no type either.
        """
        self.assertEqual(len(self.fields(Reply(204, [("Content-Type", "a/b")], length=0))[0]), 2)
