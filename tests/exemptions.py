"""
What is exempt from the house's laws, with reasons: one place, which only shrinks.

Paths are relative to the project's folder.
"""

from __future__ import annotations

from typing import Final

PURE: Final = frozenset({"wire", "config", "balancing"})
"""Rooms that import no clock, no dice, no socket and no disk, and whose every branch is covered."""

OWN_PURE: Final = 100.0
OWN_ELSEWHERE: Final = 95.0
"""The least branch coverage of a file by its own test file, in per cent."""

NO_OWN_TEST: Final[dict[str, str]] = {
    "sniproxy/interfaces.py": "nothing in it runs; verifyObject in the tests of its providers proves it",
    "sniproxy/levels.py": "constants, read by tests/logs/test_error_log.py",
}
"""Files without a test file of their own."""

SLEEPS: Final[dict[str, str]] = {
    "tests/support/programs.py": "asks programs that have no other way to say that they are ready, and has a deadline",
    "tests/soak.py": "is no test of the suite: it plays clients that stop to think, and waits until all is quiet",
}
"""Files of tests, apart from tests/interop, that may sleep."""

LESS_COVERED: Final[dict[str, tuple[float, str]]] = {}
"""Files that may be covered less by their own test file: how much, and why."""
