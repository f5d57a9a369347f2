"""
The h2 library as we use it: what comes from clients goes through it, and it knows the state of each stream.

Strategy: h2 treats some things as the end of a connection which are that of one stream, or nothing at all, and many
clients may share one connection where a proxy stands before us. So here what it asks of Content-Length is nothing (we
ask ourselves, and end the stream), too many streams are ours to refuse, and a client that says GOAWAY still gets its
answers. Fields are not looked at by it but by L{sniproxy.http.http2_head}, once.
"""

from __future__ import annotations

from typing import Any, Final

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ConnectionTerminated, Event
from h2.settings import SettingCodes, Settings
from h2.stream import H2Stream

from sniproxy.http.http2_settings import Http2Settings

WINDOW: Final = (1 << 31) - 1
"""Of the connection: what counts is the window of each stream."""

DEFAULT_WINDOW: Final = 65535

SETTINGS: Final = 64
"""Kinds of settings a client may send: unknown ones are kept by h2, and there could be 65,536."""

_CONFIGURATION: Final = H2Configuration(
    client_side=False,
    header_encoding=None,
    validate_outbound_headers=False,
    normalize_outbound_headers=False,
    validate_inbound_headers=False,
    normalize_inbound_headers=False,
)


class _Stream(H2Stream):
    """
    Knows nothing of Content-Length.
    """

    def _initialize_content_length(self, headers: Any) -> None:
        """
        Not h2's affair.
        """

    def _track_content_length(self, length: int, end_stream: bool) -> None:
        """
        Not h2's affair.
        """


class Protocol(H2Connection):
    """
    One client's connection. Holds a frame that is not whole, at most 16 KiB, and a block of fields that is not, at most
    64 of those; and of streams that are over, how the last thousand of them ended.
    """

    MAX_CLOSED_STREAMS = 1024

    def __init__(self, settings: Http2Settings, most_fields: int) -> None:
        """
        @param most_fields: bytes a block of fields may have; more are the end of the connection.
        """
        super().__init__(_CONFIGURATION)
        known = {
            SettingCodes.MAX_CONCURRENT_STREAMS: settings.streams,
            SettingCodes.INITIAL_WINDOW_SIZE: settings.preread,
        }
        self.local_settings = Settings(client=False, initial_values=known)
        self.initiate_connection()
        # What we have said holds when the client has heard it; how many streams there may be is decided elsewhere.
        self.local_settings = Settings(
            client=False,
            initial_values={
                SettingCodes.MAX_CONCURRENT_STREAMS: WINDOW,
                SettingCodes.INITIAL_WINDOW_SIZE: DEFAULT_WINDOW,
            },
        )
        if settings.preread != DEFAULT_WINDOW:
            self.local_settings[SettingCodes.INITIAL_WINDOW_SIZE] = settings.preread
        self.decoder.max_header_list_size = most_fields
        self.increment_flow_control_window(WINDOW - DEFAULT_WINDOW)

    def dissolve(self) -> None:
        """
        Let go of all: h2 knows itself, and would live until the collector comes.
        """
        vars(self).clear()

    @property
    def overlong(self) -> bool:
        """
        Whether a frame has begun to come that is too long: h2 says so when it is whole, which may be 16 MiB later.
        """
        held: bytearray = self.incoming_buffer._data
        return len(held) > 2 and int.from_bytes(held[:3], "big") > self.max_inbound_frame_size

    def _begin_new_stream(self, stream_id: int, allowed_ids: Any) -> H2Stream:
        stream = super()._begin_new_stream(stream_id, allowed_ids)
        stream.__class__ = _Stream
        return stream

    def _receive_goaway_frame(self, frame: Any) -> Any:
        """
        The client opens no more streams; those that are open go on (RFC 9113, 6.8).
        """
        event = ConnectionTerminated()
        event.last_stream_id = frame.last_stream_id
        events: list[Event] = [event]
        return [], events
