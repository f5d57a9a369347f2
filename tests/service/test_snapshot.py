"""
Tests for L{sniproxy.service.snapshot}.
"""

from __future__ import annotations

import os

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.service.snapshot import Recorder, World, contents, nameless, replay


def world() -> World:
    """
    A world in which some things are there.
    """

    def lookup(host: str) -> tuple[str, ...]:
        if host != "a.example":
            raise OSError(-2, "Name or service not known")
        return ("192.0.2.1", "2001:db8::1")

    def read(path: str) -> bytes:
        if path == "/etc/secret":
            raise PermissionError(13, "Permission denied", path)
        return b"\xff" + path.encode("utf-8", "surrogateescape")

    return World(read, lambda pattern: [pattern.replace("*", each) for each in "ab"], lookup)


class ReplayTests(SynchronousTestCase):
    """
    What was answered once is answered again.
    """

    def setUp(self) -> None:
        self.recorder = Recorder(world())

    def test_answers(self) -> None:
        """
        Files, folders and addresses are what they were, whatever bytes are in them or in their names.
        """
        asked = self.recorder.world
        for path in ("/etc/a.conf", "/etc/\udcff"):
            asked.read(path)
        asked.glob("/etc/*.conf")
        asked.lookup("a.example")
        again = replay(self.recorder.snapshot())
        self.assertEqual(again.read("/etc/a.conf"), b"\xff/etc/a.conf")
        self.assertEqual(again.read("/etc/\udcff"), b"\xff/etc/\xff")
        self.assertEqual(again.glob("/etc/*.conf"), ["/etc/a.conf", "/etc/b.conf"])
        self.assertEqual(again.lookup("a.example"), ("192.0.2.1", "2001:db8::1"))

    def test_faults(self) -> None:
        """
        Faults are answers, each of its kind and with all its words.
        """
        self.assertRaises(PermissionError, self.recorder.world.read, "/etc/secret")
        self.assertRaises(OSError, self.recorder.world.lookup, "b.example")
        again = replay(self.recorder.snapshot())
        error = self.assertRaises(PermissionError, again.read, "/etc/secret")
        self.assertEqual((error.errno, error.strerror, error.filename), (13, "Permission denied", "/etc/secret"))
        self.assertEqual(self.assertRaises(OSError, again.lookup, "b.example").strerror, "Name or service not known")

    def test_never_asked(self) -> None:
        """
        What nobody asked is not there.
        """
        again = replay(self.recorder.snapshot())
        self.assertRaises(FileNotFoundError, again.read, "/etc/a.conf")


class NamelessTests(SynchronousTestCase):
    """
    Files without names.
    """

    def test_whole(self) -> None:
        """
        All that was put in can be read, more than once, by whoever has the descriptor; with or without help from the
        system.
        """
        data = os.urandom(1000) * 300
        for helped in (True, False):
            if not helped and hasattr(os, "memfd_create"):
                self.patch(os, "memfd_create", None)
                del os.memfd_create
            descriptor = nameless(data)
            self.addCleanup(os.close, descriptor)
            self.assertEqual(contents(descriptor), data)
            self.assertEqual(contents(os.dup(descriptor)), data)

    def test_shorter_than_it_says(self) -> None:
        """
        A file that ends early is what it has.
        """
        descriptor = nameless(b"abc")
        self.addCleanup(os.close, descriptor)
        self.patch(os, "pread", lambda number, size, at: b"")
        self.assertEqual(contents(descriptor), b"")
