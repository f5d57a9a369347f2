"""
Who takes gzip.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.http.accept_encoding import accepts_gzip


class AcceptEncodingTests(SynchronousTestCase):
    """
    The field as nginx reads it.
    """

    def test_taken(self) -> None:
        """
        It is named, alone or among others, and whatever is said of how good it is, it is not nothing.
        """
        for value in (
            "gzip",
            "GZIP",
            "deflate,gzip",
            "deflate, gzip, br",
            "xgzip, gzip",
            "gzip ,x",
            "gzip;",
            "gzip; q=0.001",
            "gzip;q=1",
            "gzip;Q=1.000,x",
            "gzip;q=1. x",
            "xgzipgzip",
        ):
            self.assertTrue(accepts_gzip(value), value)

    def test_not_taken(self) -> None:
        """
        It is not named, is worth nothing, or nobody knows what.
        """
        for value in (
            "",
            "gzi",
            "x-gzip",
            "*",
            "gzip;q=0",
            "gzip;q=0.",
            "gzip;q=0.000",
            "gzip;q=0.0001",
            "gzip;q=1.001",
            "gzip;q=2",
            "gzip;q",
            "gzip;q=",
            "gzip;x=1",
            "gzip x",
            "gzip;q=0.5x",
            "gzip;q=0, gzip",
        ):
            self.assertFalse(accepts_gzip(value), value)
