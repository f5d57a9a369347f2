"""
What is said to a client before its session ends.
"""

from __future__ import annotations

import errno
import re
import socket
import struct
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.common.listen import listenings
from sniproxy.common.phases import FORBIDDEN, INTERNAL_SERVER_ERROR, OK, Phase
from sniproxy.common.runtime import Engine as StreamEngine
from sniproxy.common.runtime import Runtime
from sniproxy.common.server import Server
from sniproxy.common.session import Session
from sniproxy.config.directives import Scope
from sniproxy.errors import TlsFailure
from sniproxy.levels import DEBUG
from sniproxy.logs.error_log import ErrorLog
from sniproxy.net.legs import SocketLeg
from sniproxy.stream.sending import DROPPED, PATIENCE, send_text
from tests.support.legs import Engine
from tests.support.messages import Correspondent, FakePort
from tests.support.sessions import World, failure, idle

LONG = bytes(range(256)) * 160_000
"""More than a socket takes at once."""


class Breaking:
    """
    A leg that breaks.
    """

    def __init__(self, leg: SocketLeg) -> None:
        self._leg = leg

    def __getattr__(self, name: str) -> Any:
        return getattr(self._leg, name)


class BrokenLeg(Breaking):
    """
    A leg on which TLS has failed.
    """

    def send(self, data: bytes | memoryview) -> int:
        """
        Fail.
        """
        raise TlsFailure((("SSL routines", "", "bad length"),))


class SendingTests(SynchronousTestCase):
    """
    One session whose content is a text.
    """

    def setUp(self) -> None:
        self.engine = Engine()
        self.addCleanup(self.engine.stop)
        self.runtime = Runtime(StreamEngine(self.engine.reactor, lambda: 0.0, self.engine.network), idle())
        self.lines: list[str] = []
        log = ErrorLog([(DEBUG, lambda level, line: self.lines.append(line.decode()))], lambda: 0.0)
        self.server = Server(Scope("stream.server", None, None), log, True)
        self.logged: list[tuple[int, int, int]] = []
        self.server.handle(
            Phase.LOG,
            lambda session: self.logged.append((session.status, session.bytes_received, session.bytes_sent)),
        )

    def session(self, leg: SocketLeg | Breaking) -> Session:
        """
        A session of a client that is connected.
        """
        (listening,) = listenings(idle())
        session = Session(self.runtime, listening, leg, self.server)
        self.runtime.sessions.add(session)
        return session

    def pair(self) -> tuple[Session, socket.socket]:
        """
        A session, and its client.
        """
        leg, far = self.engine.tcp()
        self.addCleanup(far.close)
        return self.session(leg), far

    def read(self, far: socket.socket, session: Session) -> bytes:
        """
        All that the client hears, to the end.
        """
        heard = bytearray()
        ended = False

        def reading() -> bool:
            nonlocal ended
            try:
                while data := far.recv(1 << 20):
                    heard.extend(data)
                ended = True
            except BlockingIOError:
                pass
            return ended

        self.engine.until(reading)
        self.assertTrue(session.ended)
        return bytes(heard)

    def told(self) -> list[str]:
        """
        What the error log says, from the message on.
        """
        return [re.sub(r"^.*? \*1 ", "", line).strip() for line in self.lines]

    def test_short(self) -> None:
        """
        A short text is sent at once, as UTF-8, and the session ends with 200.
        """
        session, far = self.pair()
        send_text(session, "grüß dich\n")
        self.assertTrue(session.ended)
        self.assertEqual(self.read(far, session), "grüß dich\n".encode())
        self.assertEqual(self.logged, [(OK, 0, 12)])
        self.assertEqual(self.runtime.sessions, set())

    def test_foreign_bytes(self) -> None:
        """
        Bytes of a file that were no UTF-8 leave as they came.
        """
        session, far = self.pair()
        send_text(session, b"\xff\xfe".decode("utf-8", "surrogateescape"))
        self.assertEqual(self.read(far, session), b"\xff\xfe")

    def test_nothing(self) -> None:
        """
        An empty text is an end without a word.
        """
        session, far = self.pair()
        send_text(session, "")
        self.assertEqual(self.read(far, session), b"")
        self.assertEqual(self.logged, [(OK, 0, 0)])

    def test_status(self) -> None:
        """
        The status of the session is what the handler says.
        """
        session, far = self.pair()
        send_text(session, b"not you", FORBIDDEN)
        self.assertEqual(self.read(far, session), b"not you")
        self.assertEqual(self.logged, [(FORBIDDEN, 0, 7)])

    def test_long(self) -> None:
        """
        A text that the kernel does not take at once arrives whole, while the client reads.
        """
        session, far = self.pair()
        send_text(session, LONG)
        self.assertFalse(session.ended)
        self.assertGreater(session.bytes_sent, 0)
        self.assertEqual(self.read(far, session), LONG)
        self.assertEqual(self.logged, [(OK, 0, len(LONG))])

    def test_long_to_one_that_is_watched(self) -> None:
        """
        The same where an earlier phase has watched the client already.
        """
        session, far = self.pair()
        self.assertTrue(session.client.watch())
        self.engine.turn()
        send_text(session, LONG)
        self.assertEqual(self.read(far, session), LONG)

    def test_silent_reader(self) -> None:
        """
        A client that takes nothing is given up after the deadline of nginx.
        """
        session, _ = self.pair()
        send_text(session, LONG)
        self.engine.until(lambda: True)
        self.engine.reactor.advance(PATIENCE - 0.5)
        self.assertFalse(session.ended)
        sent = session.bytes_sent
        self.engine.reactor.advance(1.5)
        self.assertEqual([status for status, _, _ in self.logged], [INTERNAL_SERVER_ERROR])
        self.assertEqual(
            self.told(),
            [
                "connection timed out (110: Connection timed out) while returning text, client: 127.0.0.1, server: "
                f"192.0.2.1:443, bytes from/to client:0/{sent}, bytes from/to upstream:0/0"
            ],
        )

    def test_slow_reader(self) -> None:
        """
        Whoever takes something in time may take as long as it likes; an edge that moves nothing puts nothing off.
        """
        session, far = self.pair()
        send_text(session, LONG, patience=10.0)
        for _ in range(3):
            self.engine.reactor.advance(9.0)
            self.read_until(far, session, session.bytes_sent + 100_000)
        self.assertFalse(session.ended)
        before = -1
        while not session.ended and session.bytes_sent != before:  # what was read may make room only now
            before = session.bytes_sent
            far.send(b"a word that makes an edge")
            self.engine.turn()
            self.engine.reactor.advance(6.0)
            far.send(b"another")
            self.engine.turn()
            self.engine.reactor.advance(6.0)
        self.assertTrue(session.ended)

    def read_until(self, far: socket.socket, session: Session, sent: int) -> None:
        """
        Let the client read until so much has been sent.
        """

        def reading() -> bool:
            try:
                far.recv(1 << 18)
            except BlockingIOError:
                pass
            return session.bytes_sent >= sent

        self.engine.until(reading)

    def test_gone(self) -> None:
        """
        A client that resets while it is told something ends the session with 500 and a line.
        """
        session, far = self.pair()
        send_text(session, LONG, action="telling")
        far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        far.close()
        self.engine.until(lambda: session.ended)
        self.assertEqual(self.logged[0][0], INTERNAL_SERVER_ERROR)
        (line,) = self.told()
        self.assertRegex(line, r"^send\(\) failed \((104: Connection reset by peer|32: Broken pipe)\) while telling, ")

    def test_tls_failure(self) -> None:
        """
        What breaks in TLS is told in OpenSSL's words.
        """
        leg, far = self.engine.tcp()
        self.addCleanup(far.close)
        broken = BrokenLeg(leg)
        send_text(self.session(broken), "x")
        (line,) = self.told()
        self.assertIn("SSL_write() failed (SSL: ", line)

    def test_no_reset(self) -> None:
        """
        What the client has said and nobody heard does not destroy the answer by a reset, and is counted.
        """
        session, far = self.pair()
        far.send(b"GET / HTTP/1.0\r\n\r\n")
        self.engine.until(lambda: session.client.peek(100))
        send_text(session, "closed on Mondays\n")
        self.assertEqual(self.read(far, session), b"closed on Mondays\n")
        self.assertEqual(self.logged, [(OK, 0, 18)])

    def test_flood(self) -> None:
        """
        Of a client that talks without end a bounded number of bytes is taken.
        """
        session, _ = self.pair()
        session.client.hold(b"x" * 10 * DROPPED)
        send_text(session, "enough")
        self.assertEqual(self.logged, [(OK, 0, 6)])
        self.assertEqual(len(session.client.held), 9 * DROPPED)

    def test_datagram(self) -> None:
        """
        To whom sends datagrams it is one; where it cannot be sent, or waits for room, the log speaks of one.
        """
        world = World("server { listen 192.0.2.1:1 udp; return $remote_addr; }")
        self.assertEqual(Correspondent(world, b"x").taken(), [b"192.0.2.77"])
        self.assertEqual((world.statuses(), world.value("$bytes_received/$bytes_sent")), ([200], "1/10"))
        world = World("server { listen 192.0.2.1:1 udp; return text; }")
        client = Correspondent(world, b"x", port=FakePort(world.reactor, room=0))
        client.port.room = 1
        world.pass_time(0.05)
        self.assertEqual((client.taken(), world.statuses()), ([b"text"], [200]))
        client = Correspondent(world, b"x", port=FakePort(world.reactor, error=failure(errno.EMSGSIZE)))
        self.assertEqual(world.statuses(), [200, 500])
        self.assertIn("sendmsg() failed (90: Message too long) while returning text, udp client: ", world.lines[-1])

    def test_broken_at_the_end(self) -> None:
        """
        A connection that breaks when all has been sent is an end like any other.
        """

        class BreakingLate(Breaking):
            def receive(self, limit: int) -> bytes | None:
                raise ConnectionResetError(104, "Connection reset by peer")

        leg, far = self.engine.tcp()
        self.addCleanup(far.close)
        send_text(self.session(BreakingLate(leg)), "x")
        self.assertEqual(self.logged, [(OK, 0, 1)])

    def test_no_upstream(self) -> None:
        """
        There is no upstream to count bytes of.
        """
        session, _ = self.pair()
        send_text(session, LONG)
        traffic: Any = session.traffic
        self.assertEqual((traffic.bytes_to_upstream, traffic.bytes_from_upstream), (0, 0))
        session.finish(OK)

    def test_end_from_outside(self) -> None:
        """
        A session that somebody else ends is told no more, and waits for nothing.
        """
        session, _ = self.pair()
        send_text(session, LONG)
        session.finish(OK)
        self.engine.reactor.advance(100.0)
        self.assertEqual((len(self.logged), self.flushLoggedErrors()), (1, []))
