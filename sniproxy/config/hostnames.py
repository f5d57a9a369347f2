"""
Which of many names and masks a host name falls under: what C{map} with C{hostnames} and C{server_name} share.

Strategy: three dictionaries, for whole names, for what follows C{*.} and for what precedes C{.*}. A look-up walks the
labels of the name it was given, but never further than the longest mask has labels, so that its cost is set by the
configuration and not by whoever sends the name. Rules and precedence are those of nginx's C{ngx_hash.c}.
"""

from __future__ import annotations

from enum import Enum
from typing import Final, Generic, TypeVar

T = TypeVar("T")

_LOWER: Final = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}


def lower(text: str) -> str:
    """
    Lower-case as nginx does it: the letters of ASCII, and nothing else.
    """
    return text.lower() if text.isascii() else text.translate(_LOWER)


class Verdict(Enum):
    """
    What became of a name that was to be added.
    """

    TAKEN = "it is in the table"
    INVALID = "it is no name and no mask"
    CONFLICT = "it is there already"


class Hostnames(Generic[T]):
    """
    A table from names and masks to values.

    A mask is C{*.example.com} (any name below), C{.example.com} (that, and the name itself) or C{www.example.*}.
    The whole name wins over the longest C{*.} mask, and that over the longest C{.*} mask.
    """

    __slots__ = ("_below", "_below_labels", "_beside", "_beside_labels", "_whole")

    def __init__(self) -> None:
        self._whole: dict[str, T] = {}
        self._below: dict[str, T] = {}
        self._beside: dict[str, T] = {}
        self._below_labels = 0
        self._beside_labels = 0

    def add(self, name: str, value: T, masks: bool = True) -> Verdict:
        """
        @param name: a name or a mask, in any case.
        @param value: what C{find} answers for it; not None.
        @param masks: whether masks are masks; otherwise all of C{name} is compared, whatever is in it.
        """
        name = lower(name)
        if masks:
            if ".." in name or "\0" in name:
                return Verdict.INVALID
            if "*" in name or name.startswith("."):
                return self._add_mask(name, value)
        return self._add_whole(name, value)

    def _add_mask(self, name: str, value: T) -> Verdict:
        stars = name.count("*")
        if stars < 2:
            if name[0] == "." and len(name) > 1:
                return self._add_below(name[1:], value, itself=True)
            if name.startswith("*.") and len(name) > 2:
                return self._add_below(name[2:], value, itself=False)
            if name.endswith(".*") and len(name) > 2:
                return self._add_beside(name[:-2], value)
        if stars:
            return Verdict.INVALID
        return self._add_whole(name, value)  # a lone dot

    def _add_whole(self, name: str, value: T) -> Verdict:
        if name in self._whole:
            return Verdict.CONFLICT
        self._whole[name] = value
        return Verdict.TAKEN

    def _add_below(self, suffix: str, value: T, itself: bool) -> Verdict:
        if suffix in self._below or (itself and suffix in self._whole):
            return Verdict.CONFLICT
        self._below[suffix] = value
        self._below_labels = max(self._below_labels, suffix.count(".") + 1)
        if itself:
            self._whole[suffix] = value
        return Verdict.TAKEN

    def _add_beside(self, prefix: str, value: T) -> Verdict:
        if prefix in self._beside:
            return Verdict.CONFLICT
        self._beside[prefix] = value
        self._beside_labels = max(self._beside_labels, prefix.count(".") + 1)
        return Verdict.TAKEN

    def find(self, name: str) -> T | None:
        """
        @param name: in lower case; see L{lower}.
        @return: the value of what fits it best, or None.
        """
        found = self._whole.get(name)
        if found is not None:
            return found
        at = len(name)
        for _ in range(self._below_labels):
            at = name.rfind(".", 0, at)
            if at < 0:
                break
            found = self._below.get(name[at + 1 :], found)
        if found is not None:
            return found
        at = -1
        for _ in range(self._beside_labels):
            at = name.find(".", at + 1)
            if at < 0:
                break
            found = self._beside.get(name[:at], found)
        return found
