"""
Which directives nginx has that nobody here declares, and why: so that each is refused by its name.
"""

from __future__ import annotations


def refusal(name: str, context: str) -> str | None:
    """
    Why a directive of nginx is not carried.
    """
    return None
