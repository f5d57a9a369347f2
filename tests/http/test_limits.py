"""
Tests for L{sniproxy.http.limits}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.http.limits import Limits


class LimitsTests(SynchronousTestCase):
    """
    What a configuration that says nothing means.
    """

    def test_defaults(self) -> None:
        """
        They are nginx's.
        """
        limits = Limits()
        self.assertEqual((limits.head.line, limits.head.header, limits.head.count), (8192, 8192, 4))
        self.assertEqual((limits.body_size, limits.keepalive_timeout, limits.keepalive_requests), (1 << 20, 75.0, 1000))
