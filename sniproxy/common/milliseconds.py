"""
How a span of time is written: in seconds, with three digits after the point, as nginx has it everywhere.

Strategy: most spans are short and there are a thousand texts for them, which are made once: to look one up costs less
than to format a number.
"""

from __future__ import annotations

from typing import Final

_SHORT: Final = [f"0.{thousandths:03d}" for thousandths in range(1000)]

_SECOND: Final = 0.9995
"""What would be written as a whole one."""


def milliseconds(seconds: float) -> str:
    """
    @param seconds: a clock that was set back may have made it negative: that counts as nothing.
    """
    if seconds >= _SECOND:
        return format(seconds, ".3f")
    return _SHORT[int(seconds * 1000.0 + 0.5)] if seconds > 0.0 else _SHORT[0]
