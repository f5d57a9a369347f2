"""
The road of a session: nginx's phases, and what a handler may answer in one.
"""

from __future__ import annotations

from enum import Enum, IntEnum
from typing import Final


class Phase(IntEnum):
    """
    In nginx's order (ngx_stream.h).
    """

    POST_ACCEPT = 0
    PREACCESS = 1
    ACCESS = 2
    SSL = 3
    PREREAD = 4
    CONTENT = 5
    LOG = 6


class Answer(Enum):
    """
    What a handler answers besides None (go on) and a status (end).
    """

    WAIT = "the handler arranged for session.resume() or session.finish()"
    DONE = "nothing else of this phase is needed"


WAIT: Final = Answer.WAIT
DONE: Final = Answer.DONE

OK: Final = 200
BAD_REQUEST: Final = 400
FORBIDDEN: Final = 403
INTERNAL_SERVER_ERROR: Final = 500
BAD_GATEWAY: Final = 502
SERVICE_UNAVAILABLE: Final = 503
