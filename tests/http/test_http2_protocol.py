"""
Tests for L{sniproxy.http.http2_protocol}.
"""

from __future__ import annotations

from typing import Any

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ConnectionTerminated, DataReceived, RemoteSettingsChanged, RequestReceived, WindowUpdated
from h2.settings import SettingCodes
from hyperframe.frame import GoAwayFrame
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.http.http2_protocol import WINDOW, Protocol
from sniproxy.http.http2_settings import Http2Settings

GET = [(":method", "GET"), (":scheme", "http"), (":authority", "x"), (":path", "/a")]


class ProtocolTests(SynchronousTestCase):
    """
    What h2 does differently here.
    """

    def setUp(self) -> None:
        config = H2Configuration(validate_outbound_headers=False, normalize_outbound_headers=False)
        self.client = H2Connection(config)
        self.client.initiate_connection()

    def meet(self, settings: Http2Settings) -> Protocol:
        """
        A connection on which both have said hello.
        """
        protocol = Protocol(settings, 65536)
        self.said = self.client.receive_data(protocol.data_to_send())
        protocol.receive_data(self.client.data_to_send())
        self.client.receive_data(protocol.data_to_send())
        return protocol

    def kinds(self, events: list[Any], kind: type[Any]) -> list[Any]:
        """
        The events of a kind.
        """
        return [event for event in events if type(event) is kind]

    def test_hello(self) -> None:
        """
        The client is told how many streams there may be, how large their windows are, and that it may not be pushed to;
        the connection's window is as large as can be.
        """
        self.meet(Http2Settings(7, 1000))
        (settings,) = self.kinds(self.said, RemoteSettingsChanged)
        changed = {code: change.new_value for code, change in settings.changed_settings.items()}
        self.assertEqual(changed[SettingCodes.MAX_CONCURRENT_STREAMS], 7)
        self.assertEqual(changed[SettingCodes.INITIAL_WINDOW_SIZE], 1000)
        (window,) = self.kinds(self.said, WindowUpdated)
        self.assertEqual((window.stream_id, window.delta), (0, WINDOW - 65535))

    def test_window_before_and_after(self) -> None:
        """
        A smaller window holds from when the client has heard of it: what it sent before is no fault.
        """
        protocol = Protocol(Http2Settings(7, 10), 65536)
        self.client.send_headers(1, GET)
        self.client.send_data(1, b"x" * 1000)
        events = protocol.receive_data(self.client.data_to_send())
        self.assertEqual(len(self.kinds(events, DataReceived)), 1)

    def test_more_streams(self) -> None:
        """
        Too many streams are no fault to h2.
        """
        protocol = self.meet(Http2Settings(1, 65536))
        self.client.remote_settings[SettingCodes.MAX_CONCURRENT_STREAMS] = 100
        self.client.remote_settings.acknowledge()
        for number in (1, 3, 5):
            self.client.send_headers(number, GET)
        events = protocol.receive_data(self.client.data_to_send())
        self.assertEqual(len(self.kinds(events, RequestReceived)), 3)

    def test_lengths(self) -> None:
        """
        What a head says of the body is nothing to h2.
        """
        protocol = self.meet(Http2Settings())
        for number, said in ((1, "2"), (3, "nonsense"), (5, "-1")):
            self.client.send_headers(number, [*GET, ("content-length", said)])
            self.client.send_data(number, b"abc", end_stream=True)
        events = protocol.receive_data(self.client.data_to_send())
        self.assertEqual(len(self.kinds(events, DataReceived)), 3)

    def test_goodbye(self) -> None:
        """
        A client that opens no more streams goes on with those it has.
        """
        protocol = self.meet(Http2Settings())
        self.client.send_headers(1, GET)
        said = self.client.data_to_send() + GoAwayFrame(0, 9).serialize()
        self.client.send_data(1, b"abc", end_stream=True)
        events = protocol.receive_data(said + self.client.data_to_send())
        (goodbye,) = self.kinds(events, ConnectionTerminated)
        self.assertEqual((goodbye.last_stream_id, len(self.kinds(events, DataReceived))), (9, 1))

    def test_overlong(self) -> None:
        """
        A frame that is to be too long is known by its first bytes.
        """
        protocol = self.meet(Http2Settings())
        self.assertFalse(protocol.overlong)
        for said, found in ((b"\x00", False), (b"\x40", False), (b"\x01", True)):
            protocol.receive_data(said)
            self.assertEqual(protocol.overlong, found)

    def test_what_has_ended(self) -> None:
        """
        Of streams that are over not too many are remembered.
        """
        self.assertEqual(Protocol.MAX_CLOSED_STREAMS, 1024)
