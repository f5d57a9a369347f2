"""
Tests for L{sniproxy.http.exchange}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.http.exchange import Reply
from sniproxy.http.headers import Headers


class ReplyTests(SynchronousTestCase):
    """
    The head of an answer.
    """

    def test_headers(self) -> None:
        """
        Pairs become fields that can be changed; fields are taken as they are.
        """
        fields = Headers()
        self.assertIs(Reply(200, fields).headers, fields)
        self.assertEqual(Reply(200, [("A", "b")]).headers.items, [("A", "b")])
