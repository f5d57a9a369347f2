"""
Tests of sniproxy/net/pipes.py: pipes lent and given back.
"""

from __future__ import annotations

import errno
import fcntl
import os
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.net.pipes import FIRST, LARGE, Pipe, Pipes
from tests.support.legs import open_descriptors


class PipesTests(SynchronousTestCase):
    """
    Real pipes.
    """

    def setUp(self) -> None:
        self.before = open_descriptors()
        self.pipes = Pipes(2)

    def tearDown(self) -> None:
        self.pipes.close()
        self.assertEqual(open_descriptors() - self.before, set())

    def borrow(self) -> Pipe:
        """
        There is one.
        """
        pipe = self.pipes.borrow()
        assert pipe is not None
        return pipe

    def test_lent_again(self) -> None:
        """
        A pipe that came back empty is lent again.
        """
        pipe = self.borrow()
        self.pipes.give_back(pipe)
        self.assertIs(self.borrow(), pipe)
        self.assertIsNot(other := self.borrow(), pipe)
        self.pipes.give_back(pipe)
        self.pipes.give_back(other)

    def test_ends(self) -> None:
        """
        What goes in at one end comes out at the other; neither blocks, and no child inherits them.
        """
        pipe = self.borrow()
        os.write(pipe.write, b"x")
        self.assertEqual(os.read(pipe.read, 10), b"x")
        for end in (pipe.read, pipe.write):
            self.assertFalse(os.get_blocking(end))
            self.assertFalse(os.get_inheritable(end))
        self.pipes.give_back(pipe)

    def test_dirty(self) -> None:
        """
        A pipe with bytes inside is closed: they are somebody's.
        """
        pipe = self.borrow()
        pipe.inside = os.write(pipe.write, b"secret")
        self.pipes.give_back(pipe)
        self.assertRaises(OSError, os.fstat, pipe.read)
        self.assertIsNot(self.borrow_and_return(), pipe)

    def borrow_and_return(self) -> Pipe:
        """
        For a moment.
        """
        pipe = self.borrow()
        self.pipes.give_back(pipe)
        return pipe

    def test_spare(self) -> None:
        """
        Not more are kept than may be.
        """
        lent = [self.borrow() for _ in range(4)]
        for pipe in lent:
            self.pipes.give_back(pipe)
        self.assertRaises(OSError, os.fstat, lent[2].read)
        self.assertRaises(OSError, os.fstat, lent[3].write)
        os.fstat(lent[1].read)

    def test_none_left(self) -> None:
        """
        Without descriptors there is no pipe, and no error.
        """

        def refuse(flags: int) -> Any:
            raise OSError(errno.EMFILE, "Too many open files")

        self.patch(os, "pipe2", refuse)
        self.assertIsNone(self.pipes.borrow())

    def test_grow(self) -> None:
        """
        A pipe grows once.
        """
        pipe = self.borrow()
        self.assertEqual(pipe.capacity, FIRST)
        asked: list[int] = []

        def grant(descriptor: int, command: int, argument: int) -> int:
            asked.append(argument)
            return argument

        self.patch(fcntl, "fcntl", grant)
        pipe.grow()
        pipe.grow()
        self.assertEqual((pipe.capacity, asked), (LARGE, [LARGE]))
        self.pipes.give_back(pipe)

    def test_grow_for_real(self) -> None:
        """
        The kernel understands the question.
        """
        pipe = self.borrow()
        pipe.grow()
        self.assertIn(pipe.capacity, (FIRST, LARGE))
        self.pipes.give_back(pipe)

    def test_may_not_grow(self) -> None:
        """
        A user without pipe memory keeps a small pipe, and does not ask again.
        """
        asked: list[int] = []

        def refuse(descriptor: int, command: int, argument: int) -> int:
            asked.append(argument)
            raise PermissionError(errno.EPERM, "Operation not permitted")

        self.patch(fcntl, "fcntl", refuse)
        pipe = self.borrow()
        pipe.grow()
        pipe.grow()
        self.assertEqual((pipe.capacity, len(asked)), (FIRST, 1))
        self.pipes.give_back(pipe)
