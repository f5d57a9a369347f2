"""
Tests for L{sniproxy.common.phases}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.common import phases
from sniproxy.common.phases import DONE, WAIT, Answer, Phase


class PhasesTests(SynchronousTestCase):
    """
    The road, and the answers on it.
    """

    def test_order(self) -> None:
        """
        The phases are nginx's, in nginx's order.
        """
        self.assertEqual(
            [phase.name for phase in sorted(Phase)],
            ["POST_ACCEPT", "PREACCESS", "ACCESS", "SSL", "PREREAD", "CONTENT", "LOG"],
        )
        self.assertEqual([phase.value for phase in Phase], list(range(7)))

    def test_answers(self) -> None:
        """
        What a handler may answer besides None are two words, which are no statuses.
        """
        self.assertEqual(set(Answer), {WAIT, DONE})
        self.assertFalse(isinstance(WAIT, int) or isinstance(DONE, int))

    def test_statuses(self) -> None:
        """
        The statuses are those of ngx_stream.h.
        """
        self.assertEqual(
            (
                phases.OK,
                phases.BAD_REQUEST,
                phases.FORBIDDEN,
                phases.INTERNAL_SERVER_ERROR,
                phases.BAD_GATEWAY,
                phases.SERVICE_UNAVAILABLE,
            ),
            (200, 400, 403, 500, 502, 503),
        )
