"""
Reason phrases.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.http.statuses import REASONS, reason, told


class StatusTests(SynchronousTestCase):
    """
    What stands behind a status.
    """

    def test_reasons(self) -> None:
        """
        nginx's words, and none where it has none.
        """
        self.assertEqual(
            [reason(status) for status in (200, 302, 405, 408)],
            ["OK", "Moved Temporarily", "Not Allowed", "Request Time-out"],
        )
        self.assertEqual([reason(status) for status in (100, 203, 299, 305, 418, 422, 599)], [""] * 7)
        self.assertEqual(len(REASONS), 36)

    def test_told(self) -> None:
        """
        nginx's own statuses are told as bad requests; all others as they are.
        """
        self.assertEqual([told(status) for status in (494, 495, 496, 497)], [400] * 4)
        self.assertEqual([told(status) for status in (200, 404, 498)], [200, 404, 498])
