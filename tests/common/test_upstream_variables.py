"""
Tests for L{sniproxy.common.upstream_variables}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.common.upstream_variables import VARIABLES, UpstreamState
from tests.support.sessions import lone_session


class UpstreamVariablesTests(SynchronousTestCase):
    """
    What they say.
    """

    def setUp(self) -> None:
        self.session = lone_session()

    def values(self) -> dict[str, str | None]:
        """
        All variables.
        """
        return {variable.name: variable.get(self.session) for variable in VARIABLES}

    def test_nothing_tried(self) -> None:
        """
        Before anything is tried there are no values.
        """
        self.assertEqual(set(self.values().values()), {None})
        self.assertEqual(len(self.values()), 6)

    def test_lists_over_tries(self) -> None:
        """
        Each try is one entry, with a dash for what never happened.
        """
        self.session.upstream_states.extend(
            [
                UpstreamState("192.0.2.1:1", session_time=0.0009),
                UpstreamState("unix:/s", 0.001, 1.5, 1234.5678, 10, 20),
            ]
        )
        self.assertEqual(
            self.values(),
            {
                "upstream_addr": "192.0.2.1:1, unix:/s",
                "upstream_bytes_received": "0, 20",
                "upstream_bytes_sent": "0, 10",
                "upstream_connect_time": "-, 0.001",
                "upstream_first_byte_time": "-, 1.500",
                "upstream_session_time": "0.001, 1234.568",
            },
        )

    def test_clock_that_went_back(self) -> None:
        """
        There are no negative times.
        """
        self.session.upstream_states.append(UpstreamState("x", connect_time=-0.5))
        self.assertEqual(self.values()["upstream_connect_time"], "0.000")

    def test_never_cached(self) -> None:
        """
        The values change while a session goes on, so none is kept.
        """
        self.assertTrue(all(variable.volatile for variable in VARIABLES))
