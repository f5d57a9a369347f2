"""
Tests for L{sniproxy.common.contexts}.
"""

from __future__ import annotations

from itertools import pairwise

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.common import contexts
from sniproxy.plugins import shipped


class ContextsTests(SynchronousTestCase):
    """
    The names of blocks.
    """

    def test_opened(self) -> None:
        """
        Each context that is named is one that some block opens, or a kind itself.
        """
        opened = {
            each.opens
            for name in shipped.__all__
            for each in getattr(shipped, name).directives
            if each.opens is not None
        }
        for context in (*contexts.PLACES, *contexts.UPSTREAMS, contexts.LIMIT_EXCEPT):
            self.assertIn(context.split(".")[0], contexts.KINDS)
            self.assertIn(context, {*contexts.KINDS, *opened})

    def test_around(self) -> None:
        """
        A block is listed with those around it, the outer ones first.
        """
        for listed in (contexts.STREAM, contexts.HTTP_SERVERS, contexts.HTTP):
            for outer, inner in pairwise(listed):
                self.assertEqual(inner.rpartition(".")[0], outer)
        self.assertEqual({*contexts.SERVERS, "http.server.location"}, set(contexts.PLACES))
