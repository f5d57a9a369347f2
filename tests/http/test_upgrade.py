"""
Tests for L{sniproxy.http.upgrade}.
"""

from __future__ import annotations

import errno
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.support.sessions import FakeLeg
from tests.support.upstreams import Proxied, asked, one
from tests.support.webs import head

ASK = head("GET /chat HTTP/1.1", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Key: x")
SWITCH = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: y\r\n\r\n"
)


class UpgradeTests(SynchronousTestCase):
    """
    Another protocol behind an answer 101.
    """

    def setUp(self) -> None:
        self.web = Proxied(
            "location / { proxy_pass http://192.0.2.2; proxy_set_header Upgrade $http_upgrade;"
            ' proxy_set_header Connection "upgrade"; proxy_read_timeout 10s; }'
        )

    def open(self, data: bytes = ASK, said: bytes = SWITCH) -> tuple[FakeLeg, FakeLeg]:
        """
        A tunnel: the client's leg, and the upstream's.
        """
        client = self.web.client(data)
        upstream = self.web.connected()
        sent = asked(upstream)
        self.assertEqual((sent.fields["upgrade"], sent.fields["connection"]), ("websocket", "upgrade"))
        upstream.arrive(said)
        return client, upstream

    def test_relay(self) -> None:
        """
        The client is told, then bytes go to and fro, also those that came too early; all are counted.
        """
        client, upstream = self.open(ASK + b"early", SWITCH + b"quick")
        told, _, rest = client.taken().partition(b"\r\n\r\n")
        lines = told.split(b"\r\n")
        self.assertEqual(lines[0], b"HTTP/1.1 101 Switching Protocols")
        self.assertEqual(lines[3:], [b"Upgrade: websocket", b"Sec-WebSocket-Accept: y", b"Connection: upgrade"])
        self.assertEqual((rest, upstream.taken()), (b"quick", b"early"))
        client.arrive(b"ping")
        upstream.arrive(b"pong!")
        self.assertEqual((upstream.taken(), client.taken()), (b"ping", b"pong!"))
        client.end()
        self.assertEqual((client.closed, upstream.closed), (True, True))
        request = self.web.request()
        (state,) = request.upstream_states
        self.assertEqual((request.status, request.body_sent, request.length), (101, 10, len(ASK) + 9))
        self.assertEqual((state.status, state.response_length), (101, 10))
        self.assertEqual(state.bytes_received, len(SWITCH) + 10)
        self.assertEqual(self.web.complaints(), [])

    def test_idle(self) -> None:
        """
        A tunnel on which nothing goes is closed; each byte puts that off.
        """
        client, upstream = self.open()
        self.web.world.pass_time(8)
        upstream.arrive(b"x")
        self.web.world.pass_time(8)
        self.assertFalse(client.closed)
        self.web.world.pass_time(3)
        self.assertTrue(client.closed and upstream.closed)
        self.assertIn("[info] *1 upstream timed out (110: Connection timed out) while proxying", self.web.lines[0])

    def test_upstream_breaks(self) -> None:
        """
        One side that breaks ends both, and the log says which.
        """
        client, upstream = self.open()
        upstream.lose()
        self.assertTrue(client.closed)
        self.assertEqual(
            self.web.complaint(), "recv() failed (104: Connection reset by peer) while reading from upstream"
        )

    def test_client_breaks(self) -> None:
        """
        A client that breaks is no complaint.
        """
        client, upstream = self.open()
        client._broken = OSError(errno.EPIPE, "Broken pipe")
        upstream.arrive(b"x")
        self.assertTrue(upstream.closed)
        self.assertEqual(self.web.complaints(), [])
        self.assertIn("[info] *1 send() failed (32: Broken pipe) while sending to client", self.web.lines[0])

    def test_gone(self) -> None:
        """
        A client that has gone when it is to be told takes the upstream with it.
        """
        client = self.web.client(ASK)
        upstream = self.web.connected()
        client._broken = OSError(errno.EPIPE, "Broken pipe")
        upstream.arrive(SWITCH)
        self.assertEqual((client.closed, upstream.closed), (True, True))

    def test_no_room(self) -> None:
        """
        One that does not even take the head of the answer gets nothing else.
        """
        client = self.web.client(ASK)
        upstream = self.web.connected()
        client.room = 10
        upstream.arrive(SWITCH)
        self.assertTrue(upstream.closed)
        self.assertIn("cannot be given to another protocol", self.web.complaint())

    def test_cannot(self) -> None:
        """
        Where the client's connection carries others too, as that of HTTP/2 does, it is 502.
        """
        client = self.web.client(ASK)
        upstream = self.web.connected()
        content: Any = self.web.world.session().pending
        request = content.request
        request.exchange = Unable(request.exchange)
        upstream.arrive(SWITCH)
        self.assertEqual(one(client).status, 502)
        self.assertTrue(upstream.closed)

    def test_refused(self) -> None:
        """
        An upstream that does not want to switch answers as any other.
        """
        client, upstream = self.open(said=b"HTTP/1.1 403 No\r\nContent-Length: 1\r\n\r\nx")
        self.assertEqual(one(client).status, 403)
        self.assertFalse(upstream.closed)


class Unable:
    """
    An exchange that cannot give its connection up.
    """

    def __init__(self, exchange: Any) -> None:
        self._exchange = exchange

    def __getattr__(self, name: str) -> Any:
        return getattr(self._exchange, name)

    def upgrade(self, reply: Any) -> None:
        """
        No.
        """
