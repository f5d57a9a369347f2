"""
Which context has the certificate that a variable names? It is made when a client needs it, from what the files hold at
that moment.

Strategy: contexts are kept by the content of certificate and key, not by their names, so that a file that was changed
is noticed by the next client, one certificate under many names is one context, and what was the same stays resumable.
Unless C{ssl_certificate_cache} says otherwise the files are read for each client, as nginx reads them; they are only
parsed when they are new. All other files of a policy are those that were read with the configuration.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from sniproxy.tls.credentials import Known
from sniproxy.tls.files import DATA, wire
from sniproxy.tls.pem import Read

T = TypeVar("T")

Pairs = tuple[tuple[str, str], ...]
"""Certificate and key, each a path or C{data:} and what it would hold."""

MOST: Final = 256
"""How many contexts are kept."""


@dataclass(frozen=True, slots=True)
class Keep:
    """
    What C{ssl_certificate_cache} says.

    @ivar most: how many files are remembered.
    @ivar inactive: seconds after which one that nobody asked for is forgotten.
    @ivar valid: seconds after which one is read again.
    """

    most: int
    inactive: float = 10.0
    valid: float = 60.0


@dataclass(slots=True)
class _Kept:
    """
    @ivar read: when it was read.
    @ivar used: when it was last asked for.
    """

    content: bytes
    read: float
    used: float


class Contents:
    """
    What is in files, remembered as far as C{keep} allows; failures are not.
    """

    def __init__(self, read: Read, keep: Keep | None) -> None:
        self._read = read
        self._keep = keep
        self._kept: OrderedDict[str, _Kept] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, path: str, now: float) -> bytes:
        """
        @param now: on a clock that only goes forward, seconds.
        @raise OSError: it cannot be read.
        """
        keep = self._keep
        if keep is None:
            return self._read(path)
        self._forget(keep, now)
        kept = self._kept.get(path)
        if kept is None or now - kept.read > keep.valid:
            kept = self._kept[path] = _Kept(self._read(path), now, now)
        kept.used = now
        self._kept.move_to_end(path)
        if len(self._kept) > keep.most:
            self._kept.popitem(last=False)
        return kept.content

    def _forget(self, keep: Keep, now: float) -> None:
        """
        The one nobody has asked for is always the first.
        """
        while self._kept:
            oldest = next(iter(self._kept))
            if now - self._kept[oldest].used <= keep.inactive:
                return
            del self._kept[oldest]


class Once:
    """
    Reads each file once and remembers it: what a configuration was made of.

    @ivar credentials: what has been made of certificates and keys among them.
    """

    def __init__(self, read: Read) -> None:
        self._read = read
        self._contents: dict[str, bytes] = {}
        self.credentials: Known = {}

    def read(self, path: str) -> bytes:
        """
        @raise OSError: it cannot be read.
        """
        if path not in self._contents:
            self._contents[path] = self._read(path)
        return self._contents[path]


class NamedContexts(Generic[T]):
    """
    Owns the contexts, L{MOST} at most; the one that was not asked for the longest goes first.
    """

    def __init__(self, make: Callable[[Pairs, Read], T], contents: Contents, others: Read) -> None:
        """
        @param make: from the names and what reads all files to a context; raises L{sniproxy.errors.ConfigError}.
        @param others: reads the files that are named without variables.
        """
        self._make = make
        self._contents = contents
        self._others = others
        self._made: OrderedDict[bytes, T] = OrderedDict()

    def __len__(self) -> int:
        return len(self._made)

    def get(self, pairs: Pairs, now: float) -> T:
        """
        @param now: see L{Contents.get}.
        @raise sniproxy.errors.ConfigError: a file cannot be read, or is not what it must be; in nginx's words.
        """
        found: dict[str, bytes | OSError] = {}
        for path in _paths(pairs):
            try:
                found[path] = self._contents.get(path, now)
            except OSError as error:
                found[path] = error
        key = _digest(pairs, found)
        made = self._made.get(key)
        if made is None:

            def read(path: str) -> bytes:
                content = found.get(path)
                if content is None:
                    return self._others(path)
                if isinstance(content, OSError):
                    raise content
                return content

            made = self._made[key] = self._make(pairs, read)
            if len(self._made) > MOST:
                self._made.popitem(last=False)
        else:
            self._made.move_to_end(key)
        return made


def _paths(pairs: Pairs) -> Iterable[str]:
    return (path for pair in pairs for path in pair if not path.startswith(DATA))


def _digest(pairs: Pairs, found: dict[str, bytes | OSError]) -> bytes:
    digest = hashlib.sha256()
    for pair in pairs:
        for path in pair:
            content = found.get(path)
            data = content if isinstance(content, bytes) else wire(path)
            digest.update(b"%d:%s" % (len(data), data))
    return digest.digest()
