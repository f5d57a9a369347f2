"""
Tests for L{sniproxy.http.upstream_states}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.http.upstream_states import UpstreamState


class UpstreamStateTests(SynchronousTestCase):
    """
    What is known of a try.
    """

    def test_new(self) -> None:
        """
        Of one that has just begun nothing is known but the peer.
        """
        state = UpstreamState("192.0.2.2:80")
        times = (state.connect_time, state.header_time, state.response_time)
        counts = (state.status, state.response_length, state.bytes_sent, state.bytes_received)
        self.assertEqual((state.peer, times, counts), ("192.0.2.2:80", (None, None, None), (0, 0, 0, 0)))
        self.assertEqual((state.headers, state.fields, state.trailers), ((), {}, ()))
