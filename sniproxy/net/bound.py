"""
How are legs called as fast as C calls C, whatever they are?

Strategy: nearly all legs are sockets of ours, or TLS over them. Where the compiler sees that, a call is one of a C
function; else methods are looked up and arguments packed, which costs more than half of what a relay does itself. So
it is looked at here, once, and only for that: each function does the same for any L{ILeg}.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sniproxy.net.legs import NativeLeg


def receive(leg: Any, limit: int) -> bytes | None:
    """
    @see: L{ILeg.receive}
    """
    if isinstance(leg, NativeLeg):
        return leg.receive(limit)
    data: bytes | None = leg.receive(limit)
    return data


def send(leg: Any, data: bytes | memoryview) -> int:
    """
    @see: L{ILeg.send}
    """
    if isinstance(leg, NativeLeg):
        return leg.send(data)
    sent: int = leg.send(data)
    return sent


def send_last(leg: Any, data: bytes | memoryview) -> int:
    """
    @see: L{ILeg.send_last}
    """
    if isinstance(leg, NativeLeg):
        return leg.send_last(data)
    sent: int = leg.send_last(data)
    return sent


def over(leg: Any) -> bool:
    """
    @see: L{ILeg.over}
    """
    if isinstance(leg, NativeLeg):
        return leg.over
    ended: bool = leg.over
    return ended


def silent(leg: Any) -> bool:
    """
    @see: L{NativeLeg.silent}, which other legs do not know.
    """
    return isinstance(leg, NativeLeg) and leg.silent()


def set_handler(leg: Any, handler: Callable[[int], None]) -> None:
    """
    Assign C{leg.handler}.
    """
    if isinstance(leg, NativeLeg):
        leg.set_handler(handler)
    else:
        leg.handler = handler


def watch(leg: Any) -> bool:
    """
    @see: L{ILeg.watch}
    """
    if isinstance(leg, NativeLeg):
        return leg.watch()
    begun: bool = leg.watch()
    return begun


def take_held(leg: Any) -> bytes:
    """
    @see: L{ILeg.take_held}
    """
    if isinstance(leg, NativeLeg):
        return leg.take_held()
    held: bytes = leg.take_held()
    return held


def fill(leg: Any, limit: int) -> bool:
    """
    @see: L{ILeg.fill}
    """
    if isinstance(leg, NativeLeg):
        return leg.fill(limit)
    more: bool = leg.fill(limit)
    return more


def plain(leg: Any) -> bool:
    """
    @see: L{ILeg}
    """
    if isinstance(leg, NativeLeg):
        return leg.plain
    bare: bool = leg.plain
    return bare


def close(leg: Any) -> None:
    """
    @see: L{ILeg.close}
    """
    if isinstance(leg, NativeLeg):
        leg.close()
    else:
        leg.close()
