"""
The C{$upstream_…} variables: what became of each peer that a session has tried.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sniproxy.common.milliseconds import milliseconds
from sniproxy.config.template import Variable

if TYPE_CHECKING:
    from sniproxy.common.session import Session


@dataclass(init=False, slots=True)
class UpstreamState:
    """
    How one try of one session went; kept in C{session.upstream_states}, in the order of the tries.

    @ivar peer: its address, or the name of the group where no peer was live.
    @ivar connect_time: seconds until it was connected, and with C{proxy_ssl} its handshake was over; None if never.
    @ivar first_byte_time: seconds until its first byte came; None if never.
    @ivar session_time: seconds until it was left; None while it is in use.
    @ivar bytes_sent: to it.
    @ivar bytes_received: from it.
    """

    peer: str
    connect_time: float | None
    first_byte_time: float | None
    session_time: float | None
    bytes_sent: int
    bytes_received: int

    def __init__(
        self,
        peer: str,
        connect_time: float | None = None,
        first_byte_time: float | None = None,
        session_time: float | None = None,
        bytes_sent: int = 0,
        bytes_received: int = 0,
    ) -> None:
        self.peer = peer
        self.connect_time = connect_time
        self.first_byte_time = first_byte_time
        self.session_time = session_time
        self.bytes_sent = bytes_sent
        self.bytes_received = bytes_received


def _listed(show: Callable[[UpstreamState], str]) -> Callable[[Session], str | None]:
    """
    A variable with one entry for each try; none where nothing was tried.
    """

    def get(session: Session) -> str | None:
        states: list[UpstreamState] = session.upstream_states
        if len(states) == 1:
            return show(states[0])
        return ", ".join([show(state) for state in states]) if states else None

    return get


def _time(seconds: float | None) -> str:
    """
    Milliseconds after the point, always three; a dash where there was no such moment.
    """
    return "-" if seconds is None else milliseconds(seconds)


VARIABLES: Final = (
    Variable("upstream_addr", _listed(lambda state: state.peer), volatile=True),
    Variable("upstream_bytes_received", _listed(lambda state: str(state.bytes_received)), volatile=True),
    Variable("upstream_bytes_sent", _listed(lambda state: str(state.bytes_sent)), volatile=True),
    Variable("upstream_connect_time", _listed(lambda state: _time(state.connect_time)), volatile=True),
    Variable("upstream_first_byte_time", _listed(lambda state: _time(state.first_byte_time)), volatile=True),
    Variable("upstream_session_time", _listed(lambda state: _time(state.session_time)), volatile=True),
)
