"""
Files as bodies.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.http.exchange import Reply
from sniproxy.http.file_sending import PIECE, TURN, FileSending
from sniproxy.http.ranges import Span
from tests.support.encodings import Keeping
from tests.support.requests import Answer, MemoryDisk, Site

BIG = bytes(range(256)) * 1024


class SendingTests(SynchronousTestCase):
    """
    One file of four pieces.
    """

    def setUp(self) -> None:
        self.disk = MemoryDisk({"/big": BIG})
        self.site = Site("", [])

    def send(self, parts: Sequence[Span | bytes], room: int | None = None) -> Answer:
        """
        Answer with parts of the file.
        """
        length = sum(map(len, parts))

        def content(request: Any) -> None:
            file = self.disk.open("/big")
            request.cleanup.append(file.close)
            request.begin(Reply(200, (), length))
            FileSending(request, file, "/big", parts).begin()

        self.site.server.place.fallback = content
        return self.site.get("/", room=room)

    def test_whole(self) -> None:
        """
        It is read in pieces, and nothing is left open.
        """
        answer = self.send([Span(0, len(BIG))])
        self.assertTrue(answer.ended)
        self.assertEqual(answer.body, BIG)
        self.assertEqual(answer.pieces, [PIECE] * 4)
        self.assertEqual(self.disk.open_files, 0)

    def test_parts(self) -> None:
        """
        Parts come in their order, with what stands between them.
        """
        answer = self.send([b"<", Span(70000, 70010), b"|", Span(3, PIECE + 5), b">"])
        self.assertTrue(answer.ended)
        self.assertEqual(answer.body, b"<" + BIG[70000:70010] + b"|" + BIG[3 : PIECE + 5] + b">")

    def test_nothing(self) -> None:
        """
        Nothing to send is a whole answer.
        """
        self.assertTrue(self.send([]).ended)

    def test_slow_client(self) -> None:
        """
        No more is read than the client takes, and it goes on when there is room.
        """
        answer = self.send([Span(0, len(BIG))], room=1)
        self.assertEqual(len(self.disk.reads), 1)
        answer.more_room(PIECE + 1)
        self.assertEqual(len(self.disk.reads), 3)
        self.assertFalse(answer.ended)
        answer.more_room(None)
        self.assertTrue(answer.ended)
        self.assertEqual(answer.body, BIG)

    def test_client_goes(self) -> None:
        """
        When the client goes in between, the file is closed and not read any more.
        """
        answer = self.send([Span(0, len(BIG))], room=1)
        answer.over()
        self.assertEqual(self.disk.open_files, 0)
        answer.more_room(None)
        self.assertEqual(len(self.disk.reads), 1)

    def test_goes_while_sending(self) -> None:
        """
        A request that is over after a piece has no next one.
        """
        answer = self.send([Span(0, len(BIG))], room=1)

        def send(data: bytes) -> bool:
            answer.over()
            return True

        answer.send = send  # type: ignore[method-assign]
        assert answer.request is not None
        answer.request.on_writable()
        self.assertEqual(len(self.disk.reads), 2)
        self.assertFalse(answer.ended)

    def test_truncated(self) -> None:
        """
        A file that has become shorter breaks the answer off.
        """
        answer = self.send([Span(0, len(BIG))], room=1)
        self.disk.contents["/big"] = BIG[: PIECE + 10]
        answer.more_room(None)
        self.assertTrue(answer.aborted)
        self.assertEqual(self.site.said(), [f'[alert] *1 file "/big" was truncated at {PIECE + 10}'])
        self.assertEqual(self.disk.open_files, 0)

    def test_unreadable(self) -> None:
        """
        So does a disk that fails.
        """
        answer = self.send([Span(0, len(BIG))], room=1)
        self.disk.contents["/big"] = OSError(errno.EIO, "Input/output error")
        answer.more_room(None)
        self.assertTrue(answer.aborted)
        self.assertEqual(self.site.said(), ['[crit] *1 read() "/big" failed (5: Input/output error)'])

    def test_turns(self) -> None:
        """
        However fast a client takes what is encoded, others have their turn in between; one that goes meanwhile is left
        alone.
        """
        clock = Clock()
        self.site.runtime.network = SimpleNamespace(clock=clock)
        self.disk.contents["/big"] = bytes(PIECE * (TURN + 1))
        whole = [Span(0, PIECE * (TURN + 1))]
        coded = Keeping()
        self.site.server.place.encoding = coded
        answer = self.send(whole)
        self.assertEqual((coded.came, answer.ended), (TURN, False))
        assert answer.request is not None
        answer.request.on_writable()
        self.assertEqual(coded.came, TURN)
        clock.advance(0)
        self.assertEqual((coded.came, answer.ended), (TURN + 1, True))
        answer = self.send(whole)
        answer.abort()
        clock.advance(0)
        self.assertEqual(coded.came, 2 * TURN + 1)
        self.assertEqual(self.disk.open_files, 0)
