"""
Logs whose names are made for each session: C{access_log logs/$server_port.log}.

Strategy: without C{open_log_file_cache} a file is opened for one line and closed, as nginx does it, so that a renamed
file is noticed at once. With it the files used last stay open.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from zope.interface import classImplements

from sniproxy.interfaces import ISessionLog


@dataclass(frozen=True, eq=False, slots=True)
class Keep:
    """
    What C{open_log_file_cache} says; compared by identity, for each directive has files of its own.

    @ivar most: how many files stay open.
    @ivar inactive: seconds after which a file nobody wrote to is closed.
    @ivar min_uses: how many lines must come in that time for a file to stay open.
    @ivar valid: seconds after which the name is opened anew, in case the file was renamed.
    """

    most: int
    inactive: float = 10.0
    min_uses: int = 1
    valid: float = 60.0


NOTHING: Final = Keep(0)
"""Where there is no cache."""


@dataclass(slots=True)
class _Kept:
    """
    @ivar descriptor: None while the file was not used often enough.
    """

    descriptor: int | None
    opened: float
    used: float
    uses: int = 0


class LogsByName:
    """
    Owns the descriptors that are kept, C{keep.most} at most.
    """

    def __init__(self, keep: Keep = NOTHING) -> None:
        self._keep = keep
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._name = ""
        self._now = 0.0

    def aim(self, name: str, now: float) -> LogsByName:
        """
        Say where the next line goes.

        @param now: on any clock that only goes forward, seconds.
        """
        self._name = name
        self._now = now
        return self

    def write(self, line: bytes) -> None:
        """
        Write to what was aimed at.

        @raise OSError: it cannot be opened or written.
        @raise ValueError: the name cannot be one.
        """
        self._forget()
        kept = self._kept.get(self._name)
        if kept is not None and kept.descriptor is not None and self._now - kept.opened > self._keep.valid:
            os.close(kept.descriptor)
            kept.descriptor = None
        if kept is None:
            kept = _Kept(None, self._now, self._now)
        if kept.descriptor is None:
            kept.descriptor = os.open(self._name, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            kept.opened = self._now
        kept.used = self._now
        kept.uses += 1
        try:
            os.write(kept.descriptor, line)
        finally:
            self._put(kept)

    def _put(self, kept: _Kept) -> None:
        """
        Keep a file or close it.
        """
        if (kept.uses < self._keep.min_uses or self._keep.most == 0) and kept.descriptor is not None:
            os.close(kept.descriptor)
            kept.descriptor = None
        if self._keep.most:
            self._kept[self._name] = kept
            self._kept.move_to_end(self._name)
            if len(self._kept) > self._keep.most:
                self._drop(self._kept.popitem(last=False)[1])

    def _forget(self) -> None:
        """
        Close what was not used for long: the oldest are first.
        """
        while self._kept:
            name, kept = next(iter(self._kept.items()))
            if self._now - kept.used <= self._keep.inactive:
                return
            del self._kept[name]
            self._drop(kept)

    def _drop(self, kept: _Kept) -> None:
        if kept.descriptor is not None:
            os.close(kept.descriptor)

    def reopen(self) -> None:
        """
        Files may have been renamed: each is opened anew when its next line comes.
        """
        while self._kept:
            self._drop(self._kept.popitem()[1])

    def close(self) -> None:
        """
        Give all files back. A later line would open its file again.
        """
        self.reopen()


classImplements(LogsByName, ISessionLog)
