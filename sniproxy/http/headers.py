"""
The fields of a message's head: in order, by name without case, and several of one name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator


class Headers:
    """
    An ordered list of names and values, both text. There are few: looking through them costs less than an index that
    would have to be kept.

    @ivar items: the pairs, names as they were written; may be read, and changed only by the methods.
    """

    __slots__ = ("items",)

    def __init__(self, items: Iterable[tuple[str, str]] = ()) -> None:
        self.items: list[tuple[str, str]] = list(items)

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)

    def get(self, name: str) -> str | None:
        """
        @param name: in lower case, as in all methods that look.
        @return: the first value, or None.
        """
        for known, value in self.items:
            if known.lower() == name:
                return value
        return None

    def all(self, name: str) -> list[str]:
        """
        Every value of a name, in order.
        """
        return [value for known, value in self.items if known.lower() == name]

    def add(self, name: str, value: str) -> None:
        """
        One more, whatever there is.
        """
        self.items.append((name, value))

    def set(self, name: str, value: str) -> None:
        """
        This value in the place of the first of that name, and no other; at the end where there was none.
        """
        wanted = name.lower()
        for place, (known, _) in enumerate(self.items):
            if known.lower() == wanted:
                self.items[place] = (name, value)
                self.items[place + 1 :] = [pair for pair in self.items[place + 1 :] if pair[0].lower() != wanted]
                return
        self.items.append((name, value))

    def remove(self, name: str) -> None:
        """
        None of that name any more.
        """
        self.items = [pair for pair in self.items if pair[0].lower() != name]

    def take(self, name: str) -> str | None:
        """
        @return: the first value of a name, which is not there any more, nor are the others of it.
        """
        value = self.get(name)
        if value is not None:
            self.remove(name)
        return value

    def copy(self) -> Headers:
        """
        Another one with the same fields.
        """
        return Headers(self.items)


def parted(headers: Headers, underscores: bool) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """
    @param underscores: whether names may have them.
    @return: the fields whose names are of letters, digits and dashes, and the others.
    """
    kept: list[tuple[str, str]] = []
    passed: list[tuple[str, str]] = []
    for pair in headers.items:
        name = pair[0].replace("-", "")
        if underscores:
            name = name.replace("_", "")
        (kept if not name or name.isalnum() else passed).append(pair)
    return kept, passed
