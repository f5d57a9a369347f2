"""
Tests for L{sniproxy.http.phases}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.http.phases import BY_NAME, HttpPhase


class PhasesTests(SynchronousTestCase):
    """
    The road of a request.
    """

    def test_order(self) -> None:
        """
        Phases come in nginx's order, by the names modules give them.
        """
        self.assertEqual(list(BY_NAME), "post_read server_rewrite rewrite preaccess access content log".split())
        self.assertEqual(list(BY_NAME.values()), sorted(HttpPhase))
