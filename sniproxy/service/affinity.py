"""
C{worker_cpu_affinity}: on which cores does a worker run?
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from sniproxy.errors import ConfigError

LARGEST: Final = 1024
"""CPU_SETSIZE of glibc: as many cores as a mask may have."""


@dataclass(frozen=True, slots=True)
class Affinity:
    """
    @ivar auto: whether each worker gets one core; else it gets a mask.
    @ivar masks: each the numbers of cores, by worker, the last one for all that remain; of C{auto} the one that limits
        it, or none.
    """

    auto: bool
    masks: tuple[frozenset[int], ...]

    def fits(self, workers: int) -> bool:
        """
        Whether there is one mask for all, or one for each.
        """
        return self.auto or len(self.masks) in (1, workers)

    def of(self, worker: int, online: Collection[int]) -> frozenset[int] | None:
        """
        @param worker: counted from 0.
        @param online: the cores there are.
        @return: those of this worker; None where it stays as it is.
        """
        if not self.auto:
            return self.masks[min(worker, len(self.masks) - 1)]
        cores = sorted(self.masks[0] if self.masks else online)
        return frozenset({cores[worker % len(cores)]}) if cores else None


def affinity(words: Sequence[str]) -> Affinity:
    """
    As ngx_set_cpu_affinity reads them: C{auto}, C{auto MASK}, or masks of digits, the lowest core last.

    @raise ConfigError: a mask is none.
    """
    auto = words[0] == "auto"
    if auto and len(words) > 2:
        raise ConfigError('invalid number of arguments in "worker_cpu_affinity" directive')
    return Affinity(auto, tuple(_mask(word) for word in words[auto:]))


def _mask(word: str) -> frozenset[int]:
    if len(word) > LARGEST:
        raise ConfigError(f'"worker_cpu_affinity" supports up to {LARGEST} CPUs only')
    for character in word:
        if character not in "01 ":
            raise ConfigError(f'invalid character "{character}" in "worker_cpu_affinity"')
    digits = word.replace(" ", "")
    return frozenset(len(digits) - 1 - at for at, digit in enumerate(digits) if digit == "1")
