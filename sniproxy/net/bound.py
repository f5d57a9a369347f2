"""
How does a relay call a leg as fast as C calls C, whatever the leg is?

Strategy: nearly all legs that carry bytes are sockets of ours. Where the compiler sees that, a call is one of a C
function; else methods are looked up and arguments packed, which costs more than half of what a relay does itself. So
it is looked at here, once, and only for that: each function does the same for any L{ILeg}.
"""

from __future__ import annotations

from typing import Any

from sniproxy.net.legs import SocketLeg


def receive(leg: Any, limit: int) -> bytes | None:
    """
    @see: L{ILeg.receive}
    """
    if isinstance(leg, SocketLeg):
        return leg.receive(limit)
    data: bytes | None = leg.receive(limit)
    return data


def send(leg: Any, data: bytes | memoryview) -> int:
    """
    @see: L{ILeg.send}
    """
    if isinstance(leg, SocketLeg):
        return leg.send(data)
    sent: int = leg.send(data)
    return sent


def send_last(leg: Any, data: bytes | memoryview) -> int:
    """
    @see: L{ILeg.send_last}
    """
    if isinstance(leg, SocketLeg):
        return leg.send_last(data)
    sent: int = leg.send_last(data)
    return sent


def over(leg: Any) -> bool:
    """
    @see: L{ILeg.over}
    """
    if isinstance(leg, SocketLeg):
        return leg.over
    ended: bool = leg.over
    return ended
