"""
Tests for L{sniproxy.http.spool}.
"""

from __future__ import annotations

import os

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.http.request import Request
from sniproxy.http.spool import PIECE, TURN, Gathering, Spool
from tests.support.webs import Web, answers, head


class SpoolTests(SynchronousTestCase):
    """
    Bytes that are kept.
    """

    def spool(self, limit: int) -> Spool:
        """
        One whose files are the test's.
        """
        spool = Spool(limit, os.path.join(self.mktemp(), "bodies"))
        self.addCleanup(spool.close)
        return spool

    def test_memory(self) -> None:
        """
        What is little stays in memory, and is read from any place.
        """
        spool = self.spool(10)
        self.assertEqual(spool.read(0), b"")
        spool.add(b"abc")
        spool.add(b"defg")
        self.assertEqual((spool.length, spool.filed), (7, False))
        self.assertEqual((spool.read(0), spool.read(2), spool.read(7)), (b"abcdefg", b"cdefg", b""))
        self.assertEqual(spool.read(0), b"abcdefg")

    def test_file(self) -> None:
        """
        What is more goes to a file, with what was before it, and is read a piece at a time.
        """
        spool = self.spool(10)
        whole = bytes(range(256)) * 1024
        spool.add(whole[:7])
        spool.add(whole[7:])
        self.assertTrue(spool.filed)
        self.assertEqual(spool.length, len(whole))
        found = b""
        while piece := spool.read(len(found)):
            self.assertLessEqual(len(piece), PIECE)
            found += piece
        self.assertEqual(found, whole)

    def test_nameless(self) -> None:
        """
        Nobody else finds the file, whose folder is made when it is needed; and its room is given back at the end.
        """
        folder = os.path.join(self.mktemp(), "a", "b")
        spool = Spool(0, folder)
        self.assertFalse(os.path.exists(folder))
        spool.add(b"x")
        self.assertEqual(os.listdir(folder), [])
        spool.close()
        self.assertFalse(spool.filed)
        spool.close()

    def test_anywhere(self) -> None:
        """
        Without a folder the file is where the system has such files.
        """
        spool = Spool(0)
        spool.add(b"x")
        self.assertEqual(spool.read(0), b"x")
        spool.close()


class GatheringTests(SynchronousTestCase):
    """
    Taking a body from a client.
    """

    def setUp(self) -> None:
        self.spools: list[Spool] = []

    def gather(self, request: Request) -> None:
        """
        Content that answers with the body.
        """

        def done(spool: Spool) -> None:
            self.spools.append(spool)
            request.respond(200, f"{spool.length} {spool.filed}".encode())

        Gathering(request, done).begin()

    def web(self, more: str = "") -> Web:
        """
        A server whose only content that is.
        """
        return Web(f"{more} location / {{ content gather; }}", {"gather": self.gather})

    def test_pieces(self) -> None:
        """
        A body is waited for, until it is whole.
        """
        web = self.web()
        leg = web.client(head("POST / HTTP/1.1", "Content-Length: 6"))
        leg.arrive(b"abc")
        self.assertEqual(leg.taken(), b"")
        self.assertEqual(next(iter(web.world.runtime.sessions)).client, leg)
        leg.arrive(b"def")
        self.assertEqual(answers(leg.taken())[0].body, b"6 False")
        self.assertEqual(self.spools[0].read(0), b"abcdef")  # for the log

    def test_large(self) -> None:
        """
        One that is larger than the buffer is in a file of the folder that was said, once, and the log says so.
        """
        folder = self.mktemp()
        web = self.web(f"client_body_buffer_size 4; client_body_temp_path {os.path.abspath(folder)};")
        self.assertEqual(web.ask("POST / HTTP/1.1", "Content-Length: 5", body=b"abcde").body, b"5 True")
        self.assertEqual(os.listdir(folder), [])
        (line,) = [line for line in web.lines if "[warn]" in line]
        told = f"[warn] *1 a client request body is buffered to a temporary file {os.path.abspath(folder)}/"
        self.assertIn(told, line)
        self.assertIn(', request: "POST / HTTP/1.1"', line)

    def test_large_chunk(self) -> None:
        """
        One whose chunk says that it will be too large is refused before anything goes to a file.
        """
        web = self.web("client_body_buffer_size 4; client_max_body_size 20;")
        leg = web.client(head("POST / HTTP/1.1", "Transfer-Encoding: chunked") + b"15\r\n" + bytes(9))
        self.assertEqual(answers(leg.taken())[0].status, 413)
        (line,) = [line for line in web.lines if "[warn]" in line or "[error]" in line]
        self.assertIn("[error] *1 client intended to send too large chunked body: 0+21 bytes", line)

    def test_turns(self) -> None:
        """
        A client that sends without a pause does not keep the others waiting.
        """
        web = self.web("client_max_body_size 0;")
        size = PIECE * (TURN + 2)
        leg = web.client(head("POST / HTTP/1.1", f"Content-Length: {size}") + bytes(size))
        self.assertEqual(leg.taken(), b"")
        web.world.pass_time(0.05)
        self.assertEqual(answers(leg.taken())[0].body, f"{size} True".encode())

    def test_gone_between_turns(self) -> None:
        """
        Nothing is taken from one that has gone in between.
        """
        web = self.web("client_max_body_size 0;")
        size = PIECE * (TURN + 2)
        leg = web.client(head("POST / HTTP/1.1", f"Content-Length: {size}") + bytes(size))
        web.world.session().finish()
        web.world.pass_time(0.05)
        self.assertTrue(leg.closed)
        self.assertEqual(self.spools, [])

    def test_too_large(self) -> None:
        """
        One of unknown length that is larger than it may be is refused where that shows.
        """
        web = self.web("client_max_body_size 4;")
        answer = web.ask("POST / HTTP/1.1", "Transfer-Encoding: chunked", body=b"5\r\nabcde\r\n0\r\n\r\n")
        self.assertEqual(answer.status, 413)
        self.assertIn("client intended to send too large chunked body: 0+5 bytes while reading client", web.lines[0])

    def test_broken(self) -> None:
        """
        One that breaks off is refused.
        """
        web = self.web()
        leg = web.client(head("POST / HTTP/1.1", "Transfer-Encoding: chunked") + b"x\r\n")
        self.assertEqual(answers(leg.taken())[0].status, 400)

    def test_no_room(self) -> None:
        """
        Where no file can be made it is our fault, and the log says why.
        """
        with open(self.mktemp(), "wb") as file:
            web = self.web(f"client_body_buffer_size 1; client_body_temp_path {os.path.abspath(file.name)};")
        self.assertEqual(web.ask("POST / HTTP/1.1", "Content-Length: 5", body=b"abcde").status, 500)
        self.assertIn("[crit] *1 a temporary file failed (17: File exists)", web.lines[0])
