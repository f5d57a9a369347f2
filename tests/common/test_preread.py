"""
Tests for L{sniproxy.common.preread}.
"""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.common.phases import WAIT, Phase
from sniproxy.common.preread import Looking
from sniproxy.common.session import Session
from sniproxy.net.legs import nothing
from sniproxy.net.poller import IN, OUT
from tests.support.sessions import FakeLeg, World


class Line:
    """
    A reader whose verdict is a whole line.
    """

    def __init__(self) -> None:
        self.longest = 0

    def look(self, prefix: bytes) -> bytes | None:
        """
        @see: L{sniproxy.net.look.Reader.look}
        """
        self.longest = max(self.longest, len(prefix))
        line, end, _ = prefix.partition(b"\n")
        return line if end else None


class LookingTests(SynchronousTestCase):
    """
    A handler that looks for a line, for three seconds.
    """

    def setUp(self) -> None:
        self.world = World("server { listen 192.0.2.1:1; proxy_pass 192.0.2.2:2; }")
        self.server = self.world.listening[0].default
        self.server.handle(Phase.PREREAD, self.look)
        self.server.content = lambda session: self.verdicts.append("content")
        self.reader = Line()
        self.verdicts: list[Any] = []
        self.answer: Any = None
        self.before: Any = None
        self.taken = False

    def look(self, session: Session) -> Any:
        """
        The handler.
        """
        if self.before is not None:
            self.before(session)
        return Looking(session, self.reader, 100, self.decided, self.failed, self.taken).begin(3.0)

    def decided(self, session: Session, verdict: Any) -> Any:
        """
        There is a verdict.
        """
        self.verdicts.append(verdict)
        return self.answer

    def failed(self, session: Session, error: OSError | None, seen: bool) -> int:
        """
        There is none.
        """
        self.verdicts.append((type(error), None if error is None else error.errno, seen))
        return 403

    def assertUntouched(self, client: FakeLeg, data: bytes) -> None:
        """
        Nothing was taken of what the client sent, and nobody hears of its edges.
        """
        self.assertEqual((client.left, client.held), (data, b""))
        self.assertIs(client.handler, nothing)

    def test_at_once(self) -> None:
        """
        What has come is judged at the first edge, stays where it is, and no deadline is left.
        """
        client = self.world.client(b"hello\nmore")
        self.assertEqual(self.verdicts, [b"hello", "content"])
        self.assertUntouched(client, b"hello\nmore")
        self.world.pass_time(4)
        self.assertEqual(self.world.statuses(), [])

    def test_in_pieces(self) -> None:
        """
        However the network cuts it, the verdict is the same and comes with the last piece.
        """
        client = self.world.client()
        for byte in b"hello":
            client.arrive(bytes([byte]))
            client.edge(OUT)
        self.assertEqual(self.verdicts, [])
        client.arrive(b"\n")
        self.assertEqual(self.verdicts, [b"hello", "content"])
        self.assertUntouched(client, b"hello\n")

    def test_long_patience(self) -> None:
        """
        A prefix that was looked at too often is taken and held, and is there for whoever reads next.
        """
        client = self.world.client()
        for byte in b"a very long line of a client that types":
            client.arrive(bytes([byte]))
        self.assertNotEqual(client.held, b"")
        client.arrive(b"\nrest")
        self.assertEqual(self.verdicts[0], b"a very long line of a client that types")
        self.assertEqual(client.held + client.left, b"a very long line of a client that types\nrest")

    def test_small_buffers(self) -> None:
        """
        Where the kernel may keep no more than what was peeked at, as for a unix socket, it is taken and held at once.
        """
        client = self.world.client()
        client.small = True
        client.arrive(b"hel")
        self.assertEqual((client.held, client.left), (b"hel", b""))
        client.arrive(b"lo\n")
        self.assertEqual(self.verdicts, [b"hello", "content"])
        self.assertEqual(client.held, b"hello\n")

    def test_room(self) -> None:
        """
        An edge that tells of nothing to read, as the first one of a silent client, is no reason to look.
        """
        client = self.world.client()
        looks: list[int] = []
        client.peek = looks.append  # type: ignore[method-assign, assignment]
        client.edge(OUT)
        self.assertEqual(looks, [])
        client.edge(IN | OUT)
        self.assertEqual(looks, [100])

    def test_taken(self) -> None:
        """
        Where whoever comes next reads it himself, it is taken and held at once.
        """
        self.taken = True
        client = self.world.client()
        client.arrive(b"hel")
        self.assertEqual((client.held, client.left), (b"hel", b""))
        client.arrive(b"lo\nrest")
        self.assertEqual(self.verdicts, [b"hello", "content"])
        self.assertEqual(client.held, b"hello\nrest")

    def test_limit(self) -> None:
        """
        The reader never sees more than the limit.
        """
        self.world.client(b"x" * 500)
        self.assertEqual(self.reader.longest, 100)

    def test_status(self) -> None:
        """
        The verdict may end the session.
        """
        self.answer = 400
        client = self.world.client(b"hello\n")
        self.assertEqual((self.verdicts, self.world.statuses(), client.closed), ([b"hello"], [400], True))

    def test_another_wait(self) -> None:
        """
        The verdict may be to wait for something else, under the same deadline.
        """

        def later(session: Session, verdict: Any) -> Any:
            session.wait_on(lambda: self.verdicts.append("late"))
            return WAIT

        self.decided = later  # type: ignore[method-assign]
        client = self.world.client()
        self.world.pass_time(2)
        client.arrive(b"hello\n")
        self.assertEqual(self.verdicts, [])
        self.world.pass_time(1.1)
        self.assertEqual(self.verdicts, ["late"])

    def test_end(self) -> None:
        """
        A client that ends before the verdict is gone at once, whether it said anything or not.
        """
        for data in (b"", b"hel"):
            self.setUp()
            client = self.world.client(data)
            client.end()
            self.assertEqual(self.verdicts, [(type(None), None, bool(data))])
            self.assertEqual((self.world.statuses(), client.closed), ([403], True))
            self.assertEqual(self.world.runtime.sessions, set())

    def test_verdict_with_the_end(self) -> None:
        """
        A client that said all and ended with it gets its verdict.
        """
        client = FakeLeg(self.world.network, self.world.listening[0].address, self.world.listening[0].address)
        client.end()
        client.arrive(b"hello\n")
        self.world.runtime.begin(self.world.listening[0], client)
        self.world.network.turn()
        self.assertEqual(self.verdicts, [b"hello", "content"])

    def test_reset(self) -> None:
        """
        A connection that breaks ends the look with its error.
        """
        client = self.world.client(b"hel")
        client.lose()
        self.assertEqual(self.verdicts, [(ConnectionResetError, 104, True)])
        self.assertEqual(self.world.statuses(), [403])

    def test_silence(self) -> None:
        """
        The whole look has one deadline, however the client trickles; what it has said is taken then, since a
        connection that ends with unread bytes ends with a reset.
        """
        client = self.world.client()
        for _ in range(5):
            self.world.pass_time(0.5)
            client.arrive(b"x")
        self.assertEqual(self.verdicts, [])
        self.world.pass_time(0.6)
        self.assertEqual(self.verdicts, [(TimeoutError, 110, True)])
        self.assertEqual((self.world.statuses(), client.closed, client.left), ([403], True, b""))

    def test_complete_silence(self) -> None:
        """
        A client that never said a word is told apart from one that did.
        """
        self.world.client()
        self.world.pass_time(3.1)
        self.assertEqual(self.verdicts, [(TimeoutError, 110, False)])

    def test_watched_before(self) -> None:
        """
        Where somebody watched the leg before, no first edge will come: it is looked at once without one.
        """
        self.before = lambda session: session.client.watch()
        self.world.client(b"hello\n")
        self.assertEqual(self.verdicts, [b"hello", "content"])
        self.world.pass_time(4)
        self.assertEqual(self.world.statuses(), [])
        self.world.session().finish()
        client = self.world.client(b"hel")
        client.arrive(b"lo\n")
        self.assertEqual(self.verdicts, [b"hello", "content"] * 2)
