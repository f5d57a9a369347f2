"""
Tests for L{sniproxy.http.phases}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.http.phases import ACCESS, BY_NAME, CONTENT, LOG, POST_READ, PREACCESS, REWRITE, SERVER_REWRITE


class PhasesTests(SynchronousTestCase):
    """
    The road of a request.
    """

    def test_order(self) -> None:
        """
        Phases come in nginx's order, by the names modules give them.
        """
        self.assertEqual(list(BY_NAME), "post_read server_rewrite rewrite preaccess access content log".split())
        numbers = [POST_READ, SERVER_REWRITE, REWRITE, PREACCESS, ACCESS, CONTENT, LOG]
        self.assertEqual(list(BY_NAME.values()), numbers)
        self.assertEqual(numbers, list(range(7)))
