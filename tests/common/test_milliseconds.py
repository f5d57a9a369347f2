"""
L{sniproxy.common.milliseconds}.
"""

from __future__ import annotations

from twisted.trial.unittest import TestCase

from sniproxy.common.milliseconds import milliseconds


class MillisecondsTests(TestCase):
    """
    Spans of time.
    """

    def test_short(self) -> None:
        """
        Below a second each span is rounded to the nearest thousandth.
        """
        spans = (0.0, 0.0004, 0.0006, 0.0314, 0.1, 0.25, 0.9994)
        texts = ["0.000", "0.000", "0.001", "0.031", "0.100", "0.250", "0.999"]
        self.assertEqual([milliseconds(span) for span in spans], texts)

    def test_long(self) -> None:
        """
        From there on the same, however long it is.
        """
        spans = (0.9996, 1.0, 59.0314, 86400.5)
        self.assertEqual([milliseconds(span) for span in spans], ["1.000", "1.000", "59.031", "86400.500"])

    def test_all(self) -> None:
        """
        Every thousandth has its own text, as a format makes it.
        """
        self.assertEqual([milliseconds(n / 1000) for n in range(3000)], [f"{n / 1000:.3f}" for n in range(3000)])

    def test_backwards(self) -> None:
        """
        A clock that was set back has not made time negative.
        """
        self.assertEqual(milliseconds(-2.5), "0.000")
