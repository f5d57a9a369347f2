"""
Text with variables in it: how ``"$a-${b}:443"`` is read, and what it becomes.

Strategy: a template is parsed once, bound once all variables are known, and is then one callable from a subject (a
stream session, an http request) to text. Variables are asked lazily, and cached in C{subject.values} unless volatile.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Getter = Callable[[Any], "str | None"]


@dataclass(frozen=True, slots=True)
class Variable:
    """
    A variable a module provides.

    @ivar name: without the dollar sign; with C{prefix} the beginning that all its names share.
    @ivar get: from the subject to its value, or None where it has none (not found). With C{prefix}: from the whole
        name to such a getter.
    @ivar volatile: ask every time, never cache.
    @ivar kind: C{"stream"} or C{"http"}: whose subjects it reads.
    """

    name: str
    get: Callable[..., Any]
    volatile: bool = False
    prefix: bool = False
    kind: str = "stream"
