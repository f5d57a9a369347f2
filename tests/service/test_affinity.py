"""
Tests for L{sniproxy.service.affinity}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.errors import ConfigError
from sniproxy.service.affinity import affinity


class AffinityTests(SynchronousTestCase):
    """
    Which worker runs where.
    """

    def of(self, *words: str, workers: int = 4, cores: int = 4) -> list[list[int] | None]:
        """
        The cores of each worker.
        """
        found = [affinity(words).of(worker, range(cores)) for worker in range(workers)]
        return [None if each is None else sorted(each) for each in found]

    def test_masks(self) -> None:
        """
        The lowest core is the last digit; blanks mean nothing; the last mask is for all that remain.
        """
        self.assertEqual(self.of("0001", "0010", "0101"), [[0], [1], [0, 2], [0, 2]])
        self.assertEqual(self.of("10 10", workers=1), [[1, 3]])

    def test_auto(self) -> None:
        """
        C{auto} gives each worker one core, in turn, of those there are, or of those of its mask; an empty mask binds
        nobody.
        """
        self.assertEqual(self.of("auto", cores=3), [[0], [1], [2], [0]])
        self.assertEqual(self.of("auto", "1010"), [[1], [3], [1], [3]])
        self.assertEqual(self.of("auto", "0", workers=1), [None])

    def test_fits(self) -> None:
        """
        One mask fits any number of workers, several as many as they are, C{auto} all.
        """
        self.assertTrue(affinity(("01",)).fits(7))
        self.assertTrue(affinity(("01", "10")).fits(2))
        self.assertFalse(affinity(("01", "10")).fits(3))
        self.assertTrue(affinity(("auto", "01")).fits(3))

    def test_wrong(self) -> None:
        """
        What is no mask is refused in nginx's words.
        """
        for words, complaint in (
            (("auto", "01", "10"), 'invalid number of arguments in "worker_cpu_affinity" directive'),
            (("0121",), 'invalid character "2" in "worker_cpu_affinity"'),
            (("01", "auto"), 'invalid character "a" in "worker_cpu_affinity"'),
            (("0" * 1025,), '"worker_cpu_affinity" supports up to 1024 CPUs only'),
        ):
            self.assertEqual(str(self.assertRaises(ConfigError, affinity, words)), complaint)
