"""
Tests for L{sniproxy.http.outgoing}.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.config.template import Template
from sniproxy.http.body import Body, BodyError
from sniproxy.http.headers import Headers
from sniproxy.http.outgoing import SMALL, Outgoing
from sniproxy.http.proxy_headers import HeaderPlan
from sniproxy.http.proxy_policy import ProxyPolicy
from sniproxy.http.proxy_replies import ReplyPlan
from sniproxy.http.proxy_target import target_of
from sniproxy.http.spool import Spool
from sniproxy.net.connect import ConnectOptions


class Pieces:
    """
    An exchange that has these pieces of a body, or raises them.
    """

    def __init__(self, *pieces: Any) -> None:
        self.pieces = list(pieces)

    def read_body(self) -> Any:
        """
        The next one.
        """
        piece = self.pieces.pop(0)
        if isinstance(piece, Exception):
            raise piece
        return piece


class OutgoingTests(SynchronousTestCase):
    """
    Requests as they are written.
    """

    def setUp(self) -> None:
        self.spool = Spool(SMALL * 4)
        self.addCleanup(self.spool.close)

    def outgoing(
        self,
        *pieces: Any,
        length: int | None = 0,
        uri: str = "/a?b",
        fields: Any = (),
        streams: bool = False,
        **policy: Any,
    ) -> Outgoing:
        """
        One of a request with these pieces of a body.
        """
        request: Any = SimpleNamespace(
            method="POST",
            headers=Headers(fields),
            fields={name.lower(): value for name, value in fields},
            body=Body(Pieces(*pieces), length),
            values={},
        )
        spool = self.spool if self.spool.length else None
        target = target_of("http://up")
        said: dict[str, Any] = {"headers": HeaderPlan(), **policy}
        made = ProxyPolicy(
            text=Template("http://up", ("http://up",)),
            target=target,
            upstream=None,
            known=lambda name, port: None,
            prefix=0,
            pooled=lambda upstream: None,
            resolver=None,
            replies=ReplyPlan(),
            connect=ConnectOptions(),
            local=None,
            tls=None,
            **said,
        )
        return Outgoing(request, made, target, uri, spool, streams)

    def all(self, outgoing: Outgoing) -> list[bytes | None]:
        """
        All pieces, up to the end or one that has not come.
        """
        found: list[bytes | None] = [outgoing.begin()]
        while not outgoing.whole and found[-1] is not None:
            found.append(outgoing.next())
        return found

    def test_none(self) -> None:
        """
        Where there is no body nothing is said of one, unless the client has.
        """
        self.assertEqual(self.all(self.outgoing()), [b"POST /a?b HTTP/1.1\r\nHost: up\r\n\r\n"])
        empty = self.outgoing(fields=[("Content-Length", "0")], version=(1, 0))
        self.assertEqual(self.all(empty), [b"POST /a?b HTTP/1.0\r\nHost: up\r\nContent-Length: 0\r\n\r\n"])
        self.assertFalse(empty.upgrades)

    def test_small(self) -> None:
        """
        A small body that is kept goes with the head.
        """
        self.spool.add(b"abc")
        found = self.all(self.outgoing())
        self.assertEqual(found, [b"POST /a?b HTTP/1.1\r\nHost: up\r\nContent-Length: 3\r\n\r\nabc"])

    def test_large(self) -> None:
        """
        A larger one comes behind it, and again from the beginning where it is sent again.
        """
        self.spool.add(bytes(SMALL + 1))
        outgoing = self.outgoing()
        for _ in range(2):
            first, second = self.all(outgoing)
            self.assertEqual(first, b"POST /a?b HTTP/1.1\r\nHost: up\r\nContent-Length: 16385\r\n\r\n")
            self.assertEqual(second, bytes(SMALL + 1))

    def test_filed(self) -> None:
        """
        What is in a file is read from there, however small it is.
        """
        spool = self.spool = Spool(0)
        self.addCleanup(spool.close)
        spool.add(b"abc")
        self.assertEqual(self.all(self.outgoing())[1:], [b"abc"])

    def test_stream(self) -> None:
        """
        One that is passed on as it comes is told as it was told to us.
        """
        outgoing = self.outgoing(b"ab", b"c", b"", length=3, streams=True)
        self.assertIn(b"\r\nContent-Length: 3\r\n", outgoing.first)
        self.assertEqual(self.all(outgoing)[1:], [b"ab", b"c", b""])

    def test_chunks(self) -> None:
        """
        Where nobody knows its length it goes in chunks of ours.
        """
        outgoing = self.outgoing(b"ab", None, b"", length=None, streams=True)
        self.assertIn(b"\r\nTransfer-Encoding: chunked\r\n", outgoing.first)
        self.assertEqual(self.all(outgoing)[1:], [b"2\r\nab\r\n", None])
        self.assertEqual(outgoing.next(), b"0\r\n\r\n")
        self.assertTrue(outgoing.whole)

    def test_broken(self) -> None:
        """
        What breaks at the client is told.
        """
        outgoing = self.outgoing(BodyError(400), length=3, streams=True)
        outgoing.begin()
        self.assertRaises(BodyError, outgoing.next)

    def test_set_body(self) -> None:
        """
        A body of ours takes the place of the client's.
        """
        self.spool.add(b"abc")
        outgoing = self.outgoing(set_body=Template("ü", ("ü",)), streams=True)
        self.assertEqual(outgoing.first, "POST /a?b HTTP/1.1\r\nHost: up\r\nContent-Length: 2\r\n\r\nü".encode())
        self.assertFalse(outgoing.streams)

    def test_no_body(self) -> None:
        """
        With proxy_pass_request_body off there is none, and no length of one.
        """
        self.spool.add(b"abc")
        outgoing = self.outgoing(pass_body=False, fields=[("Content-Length", "3")])
        self.assertEqual(self.all(outgoing), [b"POST /a?b HTTP/1.1\r\nHost: up\r\n\r\n"])

    def test_method(self) -> None:
        """
        proxy_method takes the place of the client's.
        """
        outgoing = self.outgoing(method=Template("PUT", ("PUT",)))
        self.assertEqual((outgoing.method, outgoing.first[:4]), ("PUT", b"PUT "))

    def test_upgrade(self) -> None:
        """
        It is known whether another protocol is asked for.
        """
        plan = HeaderPlan([("UPGRADE", Template("x", ("x",)))])
        self.assertTrue(self.outgoing(headers=plan).upgrades)

    def test_smuggled(self) -> None:
        """
        What a variable brings in cannot end a line, or the target.
        """
        plan = HeaderPlan([("X", Template("a\r\nb", ("a\r\nb",)))])
        self.assertRaises(ValueError, self.outgoing, headers=plan)
        self.assertRaises(ValueError, self.outgoing, uri="/a b")
