"""
Tests of sniproxy/net/accept.py: how connections come in.
"""

from __future__ import annotations

import errno
import os
import socket
from types import SimpleNamespace
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.addresses import Address
from sniproxy.net.accept import PAUSE, SHARE, TURN, Listener
from sniproxy.net.poller import IN
from tests.support.legs import Engine, open_descriptors


class Failing:
    """
    A listening socket that fails as it is told before it accepts.
    """

    def __init__(self, sock: socket.socket, *numbers: int) -> None:
        self.sock = sock
        self.numbers = list(numbers)
        self.family, self.type, self.proto = sock.family, sock.type, sock.proto
        self.calls = 0

    def _accept(self) -> Any:
        self.calls += 1
        if self.numbers:
            number = self.numbers.pop(0)
            raise OSError(number, os.strerror(number))
        return self.sock._accept()  # type: ignore[attr-defined]

    def fileno(self) -> int:
        """
        The real one's.
        """
        return self.sock.fileno()

    def setblocking(self, flag: bool) -> None:
        """
        As the real one.
        """
        self.sock.setblocking(flag)


class ListenerTests(SynchronousTestCase):
    """
    Sockets on loopback.
    """

    def setUp(self) -> None:
        self.before = open_descriptors()
        self.engine = Engine()
        self.server = socket.create_server(("127.0.0.1", 0))
        self.legs: list[Any] = []
        self.complaints: list[OSError] = []
        self.clients: list[socket.socket] = []

    def tearDown(self) -> None:
        for each in (*self.legs, *self.clients, self.server):
            each.close()
        self.engine.stop()
        self.assertEqual(open_descriptors() - self.before, set())

    def listener(self, sock: Any = None, accepted: Any = None, turn: int = TURN) -> Listener:
        """
        One that has begun.
        """
        listener = Listener(
            self.engine.poller,
            self.engine.reactor,
            sock or self.server,
            accepted or self.legs.append,
            self.complaints.append,
            turn=turn,
        )
        listener.start()
        return listener

    def connect(self) -> socket.socket:
        """
        Come in.
        """
        client = socket.create_connection(self.server.getsockname())
        self.clients.append(client)
        return client

    def test_accept(self) -> None:
        """
        Each connection becomes a leg that knows both addresses and watches nothing yet; children do not inherit it.
        """
        self.listener()
        clients = [self.connect() for _ in range(3)]
        self.engine.until(lambda: len(self.legs) == 3)
        self.assertEqual(
            [leg.peer for leg in self.legs], [Address("inet", *client.getsockname()) for client in clients]
        )
        self.assertEqual(self.legs[0].local, Address("inet", *self.server.getsockname()))
        self.assertFalse(self.legs[0].watched)
        self.assertFalse(os.get_inheritable(self.legs[0].number))

    def test_last(self) -> None:
        """
        Who has connected already can be accepted without waiting to be told, as many as there are; not by one that has
        stopped.
        """
        listener = self.listener(turn=1)
        for _ in range(3):
            self.connect()
        listener.last()
        self.assertEqual(len(self.legs), 3)
        listener.stop()
        self.connect()
        listener.last()
        self.assertEqual(len(self.legs), 3)

    def test_steps_back(self) -> None:
        """
        With its first connection, and each sixteenth after that, it lets other processes be told first.
        """
        backs: list[int] = []
        poller = SimpleNamespace(step_back=backs.append, watch_level=lambda descriptor, watched: None)
        listener = Listener(
            poller, self.engine.reactor, self.server, self.legs.append, self.complaints.append, os.close
        )
        listener.start()
        for number in range(SHARE + 1):
            self.connect()
            listener.handler(IN)
            self.assertEqual(backs, [self.server.fileno()] * (2 if number == SHARE else 1))

    def test_unix(self) -> None:
        """
        Clients of a unix socket have no name.
        """
        path = self.mktemp()
        with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
            server.bind(path)
            server.listen()
            listener = self.listener(server)
            client.connect(path)
            self.engine.until(lambda: self.legs)
            self.assertEqual((self.legs[0].peer, self.legs[0].local), (Address("unix", ""), Address("unix", path)))
            listener.stop()

    def test_turns(self) -> None:
        """
        Not all are accepted in one go, and none is forgotten.
        """
        listener = self.listener(turn=2)
        for _ in range(5):
            self.connect()
        self.taken(listener, 1, 2)
        self.engine.until(lambda: len(self.legs) == 5)

    def taken(self, listener: Listener, *wanted: int) -> None:
        """
        So many are accepted when it is told in batches that follow each other.
        """
        for count in wanted:
            before = len(self.legs)
            self.engine.poller.batch += 1
            listener.handler(IN)
            self.assertEqual(len(self.legs) - before, count)

    def test_crowd(self) -> None:
        """
        One is accepted without asking for a second; who is told again at once takes as many as there are, and goes on
        so until no more than one was there.
        """
        asked: list[int] = []

        class Asked:
            """
            A listening socket that knows how often it was asked.
            """

            family, type, proto = self.server.family, self.server.type, self.server.proto
            fileno, setblocking = self.server.fileno, self.server.setblocking

            def _accept(this) -> Any:
                asked.append(1)
                return self.server._accept()  # type: ignore[attr-defined]

        listener = self.listener(Asked())
        poller = self.engine.poller
        poller.batch = 10
        for connections, skipped, wanted, questions in (
            (1, 1, 1, 1),
            (1, 1, 1, 1),
            (4, 1, 1, 1),
            (0, 0, 3, 4),
            (2, 1, 2, 3),
            (1, 1, 1, 2),
            (1, 1, 1, 1),
            (TURN + 1, 1, 1, 1),
            (0, 0, TURN, TURN),
            (0, 1, 0, 1),
            (1, 1, 1, 1),
        ):
            for _ in range(connections):
                self.connect()
            poller.batch += skipped
            self.taken(listener, wanted)
            self.assertEqual(len(asked), questions)
            asked.clear()
        listener.stop()

    def test_stop(self) -> None:
        """
        Who has stopped accepts nothing; the socket stays open, and another may accept on it. Starting and stopping
        twice is nothing.
        """
        listener = self.listener()
        listener.start()
        listener.stop()
        listener.stop()
        self.connect()
        self.engine.turn()
        self.assertEqual(self.legs, [])
        self.listener()
        self.engine.until(lambda: self.legs)

    def test_stopped_by_session(self) -> None:
        """
        A session may stop the listener that it came in by: the rest wait for whoever has the socket next.
        """

        def accepted(leg: Any) -> None:
            self.legs.append(leg)
            listener.stop()

        listener = self.listener(accepted=accepted)
        self.connect()
        self.connect()
        self.engine.until(lambda: self.legs)
        self.engine.turn()
        self.assertEqual(len(self.legs), 1)

    def test_exhausted(self) -> None:
        """
        Without descriptors it complains, leaves the processor alone for a while, and goes on.
        """
        for number in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
            failing = Failing(self.server, number)
            listener = self.listener(failing)
            self.connect()
            self.engine.until(lambda: self.complaints)
            for _ in range(3):
                self.engine.turn()
            self.assertEqual(([error.errno for error in self.complaints], failing.calls), ([number], 1))
            listener.start()
            self.engine.turn()
            self.assertEqual(failing.calls, 1, "a start is no reason to try at once")
            self.engine.reactor.advance(PAUSE)
            self.engine.until(lambda: self.legs)
            listener.stop()
            self.legs.pop().close()
            self.complaints.clear()

    def test_broken(self) -> None:
        """
        An error that nobody knows does not make it spin.
        """
        failing = Failing(self.server, errno.EINVAL)
        self.listener(failing)
        self.connect()
        self.engine.until(lambda: self.complaints)
        self.engine.turn()
        self.assertEqual(failing.calls, 1)

    def test_stop_while_pausing(self) -> None:
        """
        Who is stopped in such a pause stays stopped: the socket may be somebody else's by then.
        """
        listener = self.listener(Failing(self.server, errno.EMFILE))
        self.connect()
        self.engine.until(lambda: self.complaints)
        listener.stop()
        other: list[Any] = []
        self.listener(accepted=other.append)
        self.engine.reactor.advance(PAUSE)
        self.engine.until(lambda: other)
        self.assertEqual(self.legs, [])
        other.pop().close()

    def test_closed_while_pausing(self) -> None:
        """
        A socket that was closed in such a pause is not touched.
        """
        self.listener(Failing(self.server, errno.EMFILE))
        self.connect()
        self.engine.until(lambda: self.complaints)
        self.server.close()
        self.engine.reactor.advance(PAUSE)
        self.engine.turn()

    def test_gone_already(self) -> None:
        """
        A client that left before it was accepted is passed over, and the next one is accepted.
        """
        self.listener(Failing(self.server, errno.ECONNABORTED, errno.EPROTO))
        self.connect()
        self.engine.until(lambda: self.legs)
        self.assertEqual((len(self.legs), self.complaints), (1, []))

    def test_fault(self) -> None:
        """
        A session that cannot be made loses its connection; accepting goes on.
        """

        def accepted(leg: Any) -> None:
            if not self.legs:
                self.legs.append(leg)
                raise ZeroDivisionError
            self.legs.append(leg)

        self.listener(accepted=accepted)
        first = self.connect()
        self.engine.until(lambda: self.legs)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertRaises(ConnectionResetError, first.recv, 1)
        self.connect()
        self.engine.until(lambda: len(self.legs) == 2)
