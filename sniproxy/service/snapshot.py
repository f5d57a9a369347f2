"""
What did a configuration depend on when it was read? Files, folders, addresses of hosts: written down, so that a
worker that is started an hour later gets the very configuration that its master has checked, whatever the disk and
the name servers say by then.

Strategy: the three callables by which a configuration learns of the world are all there is to write down. Faults are
answers too. Keys are among the files: a snapshot stays in memory, and is handed on in a file that has no name.
"""

from __future__ import annotations

import marshal
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NoReturn

_FAULT: Final = "fault"
_ANSWER: Final = "answer"


@dataclass(frozen=True, slots=True)
class World:
    """
    By what a configuration learns of the world.

    @ivar read: from a path to bytes.
    @ivar glob: from a pattern to paths.
    @ivar lookup: from a host's name to its addresses.
    """

    read: Callable[[str], bytes]
    glob: Callable[[str], list[str]]
    lookup: Callable[[str], tuple[str, ...]]


class Recorder:
    """
    Hands questions on, and remembers the answers.

    @ivar world: to be asked in the place of the real one.
    """

    def __init__(self, world: World) -> None:
        self._answers: dict[tuple[str, str], tuple[Any, ...]] = {}
        self.world = World(
            self._remembering("read", world.read),
            self._remembering("glob", world.glob),
            self._remembering("lookup", world.lookup),
        )

    def _remembering(self, kind: str, ask: Callable[[str], Any]) -> Callable[[str], Any]:
        def asked(question: str) -> Any:
            try:
                answer = ask(question)
            except OSError as error:
                self._answers[kind, question] = (_FAULT, error.errno, error.strerror, error.filename)
                raise
            self._answers[kind, question] = (_ANSWER, answer)
            return answer

        return asked

    def snapshot(self) -> bytes:
        """
        All answers so far, for L{replay} in a process of the same Python.
        """
        return marshal.dumps(self._answers)


def replay(snapshot: bytes) -> World:
    """
    The world as it was. It answers nothing that nobody asked then.
    """
    answers = marshal.loads(snapshot)

    def answering(kind: str) -> Callable[[str], Any]:
        def ask(question: str) -> Any:
            found = answers.get((kind, question))
            if found is None:
                _unknown(question)
            if found[0] == _FAULT:
                raise OSError(*found[1:])
            return found[1]

        return ask

    return World(answering("read"), answering("glob"), answering("lookup"))


def _unknown(question: str) -> NoReturn:
    raise FileNotFoundError(2, "No such file or directory", question)


def nameless(data: bytes) -> int:
    """
    A descriptor of a file that nobody else can open, with these bytes in it, to be read from its beginning with
    C{pread}; it belongs to the caller.
    """
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("sniproxy")
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
    return descriptor


def contents(descriptor: int) -> bytes:
    """
    All that L{nameless} has put in a file.
    """
    size = os.fstat(descriptor).st_size
    pieces: list[bytes] = []
    at = 0
    while at < size:
        piece = os.pread(descriptor, size - at, at)
        if not piece:
            break
        pieces.append(piece)
        at += len(piece)
    return b"".join(pieces)
