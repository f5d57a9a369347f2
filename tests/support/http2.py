"""
A client of HTTP/2 over a connection in memory: h2 at the far end, and frames by hand for what h2 would not say.

    client = Client(web.client())
    number = client.ask("/a")
    client.turn().answers[number].status
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.settings import SettingCodes
from hpack import Decoder
from hyperframe.frame import ContinuationFrame, DataFrame, Frame, GoAwayFrame, HeadersFrame, RstStreamFrame

from tests.support.sessions import FakeLeg

Pairs = list[tuple[str, str]]


@dataclass
class Heard:
    """
    What came on a stream.

    @ivar status: of the answer; 0 as long as there is none.
    @ivar ended: the answer is whole.
    @ivar reset: the code it was broken off with; None where it was not.
    @ivar asked: how often the body was asked for.
    """

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    trailers: Pairs = field(default_factory=list)
    ended: bool = False
    reset: int | None = None
    asked: int = 0


class Client:
    """
    One connection.

    @ivar leg: its other end.
    @ivar answers: by the numbers of streams.
    @ivar goodbye: the code of GOAWAY; None where none came.
    @ivar last: the last stream that GOAWAY leaves.
    """

    def __init__(self, leg: FakeLeg, window: int = 65535, manual: bool = False) -> None:
        """
        @param window: of each stream.
        @param manual: whether the test opens windows by itself.
        """
        self.leg = leg
        self.answers: dict[int, Heard] = {}
        self.goodbye: int | None = None
        self.last = 0
        self._left = b""
        self._block = b""
        self._decoder = Decoder(max_header_list_size=1 << 24)
        self.h2 = H2Connection(
            H2Configuration(
                client_side=True,
                header_encoding="utf-8",
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
            )
        )
        self._manual = manual
        self.h2.initiate_connection()
        if window != 65535:
            self.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: window})
        self.turn()

    def ask(self, path: str = "/a", method: str = "GET", more: Sequence[tuple[str, str]] = (), end: bool = True) -> int:
        """
        Begin a request, and say it.

        @return: the number of its stream.
        """
        pairs = [(":method", method), (":scheme", "http"), (":authority", "x"), (":path", path), *more]
        return self.raw(pairs, end)

    def raw(self, pairs: Pairs, end: bool = True) -> int:
        """
        Begin a stream with any fields.
        """
        number = self.h2.get_next_available_stream_id()
        self.h2.send_headers(number, pairs, end_stream=end)
        self.answers[number] = Heard()
        return number

    def frames(self, *frames: Frame) -> Client:
        """
        Send frames that h2 knows nothing of.
        """
        self._pass()
        if not self.leg.closed:
            self.leg.arrive(b"".join(frame.serialize() for frame in frames))
        return self.turn()

    def block(self, number: int, pairs: Pairs, *flags: str) -> HeadersFrame:
        """
        A frame of fields for a stream, compressed in its turn.
        """
        frame = HeadersFrame(number, self.h2.encoder.encode(pairs))
        for flag in ("END_HEADERS", *flags):
            frame.flags.add(flag)
        self.answers.setdefault(number, Heard())
        return frame

    def turn(self) -> Client:
        """
        Carry bytes to and fro until there are no more.
        """
        while True:
            moved = self._pass()
            data = self.leg.taken()
            if not data and not moved:
                return self
            self._left += data
            while len(self._left) >= 9:
                frame, length = Frame.parse_frame_header(memoryview(self._left[:9]))
                whole, self._left = self._left[: 9 + length], self._left[9 + length :]
                frame.parse_body(memoryview(whole[9:]))
                self._hear(frame)
                known = frame.stream_id in self.h2.streams
                if known or not (frame.stream_id or isinstance(frame, GoAwayFrame)):
                    self._tell(whole, frame)

    def _pass(self) -> bool:
        data = self.h2.data_to_send()
        if data and not self.leg.closed:
            self.leg.arrive(data)
        return bool(data)

    def _tell(self, whole: bytes, frame: Frame) -> None:
        """
        Let h2 know: windows and streams are its affair.
        """
        self.h2.receive_data(whole)
        if isinstance(frame, DataFrame) and not self._manual and frame.flow_controlled_length:
            self.h2.acknowledge_received_data(frame.flow_controlled_length, frame.stream_id)

    def _hear(self, frame: Frame) -> None:
        heard = self.answers.setdefault(frame.stream_id, Heard())
        if isinstance(frame, GoAwayFrame):
            self.goodbye, self.last = frame.error_code, frame.last_stream_id
        elif isinstance(frame, RstStreamFrame):
            heard.reset = frame.error_code
        elif isinstance(frame, DataFrame):
            heard.body += frame.data
        elif isinstance(frame, (HeadersFrame, ContinuationFrame)):
            self._block += frame.data
            if "END_HEADERS" in frame.flags:
                block, self._block = self._block, b""
                self._fields(heard, [(str(name), str(value)) for name, value in self._decoder.decode(block)])
        heard.ended = heard.ended or "END_STREAM" in frame.flags

    def _fields(self, heard: Heard, pairs: Pairs) -> None:
        status = int(dict(pairs).get(":status", 0))
        if status == 100:
            heard.asked += 1
        elif status:
            heard.status = status
            heard.headers = {name: value for name, value in pairs if name[0] != ":"}
        else:
            heard.trailers = pairs
