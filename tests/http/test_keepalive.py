"""
Tests for L{sniproxy.http.keepalive}.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.common.keepalive import Keepalive
from sniproxy.http.keepalive import Pool


class Connection:
    """
    A connection that nobody uses.
    """

    def __init__(self, key: Any) -> None:
        self.key = key
        self.closed = 0

    def close(self) -> None:
        """
        The end.
        """
        self.closed += 1


class PoolTests(SynchronousTestCase):
    """
    What is kept, and for whom.
    """

    def setUp(self) -> None:
        self.runtime: Any = SimpleNamespace(stopped=False, idle=set())

    def kept(self, pool: Pool, *keys: str) -> list[Any]:
        """
        Connections that were kept, in this order.
        """
        made: list[Any] = [Connection(key) for key in keys]
        for each in made:
            self.assertTrue(pool.keep(each, self.runtime))
        return made

    def test_key(self) -> None:
        """
        One is good for its own key alone, and once.
        """
        pool = Pool(Keepalive())
        a, b = self.kept(pool, "a", "b")
        self.assertIsNone(pool.take("c"))
        self.assertEqual((pool.take("b"), pool.take("b"), pool.take("a")), (b, None, a))
        self.assertEqual(len(pool), 0)

    def test_last(self) -> None:
        """
        Of several that fit the last one that was used is taken.
        """
        pool = Pool(Keepalive())
        first, second = self.kept(pool, "a", "a")
        self.assertEqual((pool.take("a"), pool.take("a"), pool.take("a")), (second, first, None))

    def test_most(self) -> None:
        """
        When there are too many, the one that has waited longest is closed.
        """
        pool = Pool(Keepalive(connections=2))
        a, b, c = self.kept(pool, "a", "b", "c")
        self.assertEqual((a.closed, b.closed, c.closed, len(pool)), (1, 0, 0, 2))
        self.assertIsNone(pool.take("a"))

    def test_none(self) -> None:
        """
        Where none may be kept none is, nor when the configuration takes no more requests.
        """
        connection: Any = Connection("a")
        self.assertFalse(Pool(Keepalive(connections=0)).keep(connection, self.runtime))
        self.runtime.stopped = True
        self.assertFalse(Pool(Keepalive()).keep(connection, self.runtime))
        self.assertEqual(connection.closed, 0)

    def test_forget(self) -> None:
        """
        One that has ended by itself is not given to anybody; to forget it twice does no harm.
        """
        pool = Pool(Keepalive())
        first, second = self.kept(pool, "a", "a")
        pool.forget(first)
        pool.forget(first)
        self.assertEqual((pool.take("a"), pool.take("a")), (second, None))
        (third,) = self.kept(pool, "a")
        self.assertEqual(self.runtime.idle, {pool})
        pool.forget(third)
        self.assertEqual(self.runtime.idle, set())

    def test_leave(self) -> None:
        """
        The configuration knows who keeps something, and may ask that it be closed.
        """
        pool = Pool(Keepalive())
        made = self.kept(pool, "a", "b")
        self.assertEqual(self.runtime.idle, {pool})
        pool.leave()
        self.assertEqual([each.closed for each in made], [1, 1])
        self.assertEqual((self.runtime.idle, len(pool)), (set(), 0))
