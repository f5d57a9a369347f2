"""
Dates of HTTP.
"""

from __future__ import annotations

from email.utils import formatdate, parsedate_to_datetime

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.http.dates import http_date, parse_date

MOMENT = 784111777
"""The example of RFC 9110."""

FORMS = ("Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994")


class DateTests(SynchronousTestCase):
    """
    Written and read.
    """

    def test_written(self) -> None:
        """
        The form that is sent, whole seconds only, before the epoch too.
        """
        self.assertEqual(http_date(MOMENT + 0.99), FORMS[0])
        self.assertEqual(http_date(0), "Thu, 01 Jan 1970 00:00:00 GMT")
        self.assertEqual(http_date(-0.5), "Wed, 31 Dec 1969 23:59:59 GMT")

    def test_far(self) -> None:
        """
        What has no four digits of a year is the last second that has.
        """
        self.assertEqual(http_date(1e15), "Fri, 31 Dec 9999 23:59:59 GMT")
        self.assertEqual(http_date(-1e15), "Mon, 01 Jan 0001 00:00:00 GMT")

    @settings(derandomize=True, deadline=None, database=None)
    @given(st.integers(0, 253402300799))
    def test_as_others_write(self, second: int) -> None:
        """
        The standard library writes and reads the same, and we read what we write.
        """
        text = http_date(second)
        self.assertEqual(text, formatdate(second, usegmt=True))
        self.assertEqual(parsedate_to_datetime(text).timestamp(), second)
        self.assertEqual(parse_date(text), second)

    def test_three_forms(self) -> None:
        """
        All three forms are read.
        """
        self.assertEqual([parse_date(form) for form in FORMS], [MOMENT] * 3)
        self.assertEqual(parse_date("Tuesday, 19-Jan-38 03:14:07 GMT"), 0x7FFFFFFF)
        self.assertEqual(parse_date("Sunday, 06-Nov-70 00:00:00 GMT"), 26697600)
        self.assertEqual(parse_date("Sun Nov 16 08:49:37 1994"), MOMENT + 10 * 86400)

    def test_spoiled(self) -> None:
        """
        A date with one character spoiled is no date, unless a digit became another one.
        """
        for form in FORMS:
            for place in range(len(form)):
                for byte in "x0:- ,\x00é٣":
                    spoiled = form[:place] + byte + form[place + 1 :]
                    if spoiled != form and not (byte == "0" and form[place] in " 0123456789"):
                        self.assertIsNone(parse_date(spoiled), spoiled)

    def test_none(self) -> None:
        """
        Days that there are not, other zones, and text around a date are no dates.
        """
        for text in (
            "",
            "0",
            "Sun, 31 Feb 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 24:00:00 GMT",
            "Sun, 06 Nov 1994 08:49:60 GMT",
            "Sun, 06 Nov 1994 08:49:37 CET",
            "Sun, 06 Nov 1994 08:49:37 GMT ",
            "Sun, 06 Nov 1994 08:49:37 GMT\n",
            "Sun, 06 Nov 0000 08:49:37 GMT",
            "sun, 06 nov 1994 08:49:37 gmt",
            "Son, 06 Nov 1994 08:49:37 GMT",
            "Sun Nov 06 08:49:37 94",
        ):
            self.assertIsNone(parse_date(text), text)
