"""
nginx's severity levels, from the worst to the most talkative.
"""

from __future__ import annotations

from typing import Final

STDERR: Final = 0
EMERG: Final = 1
ALERT: Final = 2
CRIT: Final = 3
ERROR: Final = 4
WARN: Final = 5
NOTICE: Final = 6
INFO: Final = 7
DEBUG: Final = 8

NAMES: Final = ("stderr", "emerg", "alert", "crit", "error", "warn", "notice", "info", "debug")
"""The name of each level, at its number, as C{error_log} takes it and log lines show it."""
