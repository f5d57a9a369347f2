"""
Ranges and conditions.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.http.dates import http_date
from sniproxy.http.ranges import Multipart, Since, Span, may_be_partial, spans_of, verdict

MODIFIED = 784111777
DATE = http_date(MODIFIED)
TAG = '"2ebcbe61-a"'
MANY = 1000


class SpanTests(SynchronousTestCase):
    """
    The field C{Range}.
    """

    def check(self, value: str, *wanted: tuple[int, int], length: int = 10, most: int = MANY) -> None:
        """
        These parts are wanted.
        """
        self.assertEqual(spans_of(value, length, most), tuple(Span(*each) for each in wanted), value)

    def test_one(self) -> None:
        """
        From here to there, to the end, or so many at the end; what lies behind the end is cut off.
        """
        self.check("bytes=0-0", (0, 1))
        self.check("bytes=2-4", (2, 5))
        self.check("bytes=9-", (9, 10))
        self.check("bytes=5-99", (5, 10))
        self.check("bytes=-3", (7, 10))
        self.check("bytes=-99", (0, 10))
        self.check("BYTES= 2 - 4 ", (2, 5))
        self.check("bytes= -1", (9, 10))

    def test_several(self) -> None:
        """
        Several are wanted in their order; one that lies behind the end is left out.
        """
        self.check("bytes=0-0,-1", (0, 1), (9, 10))
        self.check("bytes=4-5, 0-1", (4, 6), (0, 2))
        self.check("bytes=0-0,10-12", (0, 1))

    def test_not_there(self) -> None:
        """
        Nothing is there where all lie behind the end, or one is no range at all.
        """
        for value in (
            "bytes=10-",
            "bytes=99-100,50-",
            "bytes=a-b",
            "bytes=1",
            "bytes=1-2x",
            "bytes=--1",
            "bytes=1-2,,3-4",
            "bytes=1-2,",
            "bytes=5-3",
            "bytes=-0",
            f"bytes={1 << 63}-",
            f"bytes=0-{1 << 63}",
            "bytes=0-" + "9" * 5000,
            "bytes=٣-٤",
        ):
            self.check(value)

    def test_whole(self) -> None:
        """
        The whole is sent where the unit is another, ranges overlap to more than there is, or are too many.
        """
        for value in ("", "bytes=", "byte=1-2", "items=1-2", "bytes=0-5,5-9", "bytes=0-,0-", "bytes 1-2 "):
            self.assertIsNone(spans_of(value, 10, MANY), value)
        self.assertIsNone(spans_of("bytes=0-0", 10, 0))
        self.assertIsNone(spans_of("bytes=0-0,2-2", 10, 1))
        self.check("bytes=0-0,10-11,2-2", (0, 1), (2, 3), most=2)
        self.assertIsNone(spans_of("bytes=-5", 0, MANY))

    @settings(derandomize=True, deadline=None, database=None)
    @given(st.text("0123456789-, xb=", max_size=20), st.integers(0, 20))
    def test_within(self, text: str, length: int) -> None:
        """
        Whatever is asked for, what is given is not empty, lies inside, and is not more than there is.
        """
        spans = spans_of("bytes=" + text, length, MANY) or ()
        for span in spans:
            self.assertTrue(0 <= span.start < span.end <= length)
        self.assertLessEqual(sum(map(len, spans)), length)


class IfRangeTests(SynchronousTestCase):
    """
    The field C{If-Range}.
    """

    def test_counts(self) -> None:
        """
        Ranges count where there is no condition, or it names this tag or this very second.
        """
        for value, counts in (
            (None, True),
            (TAG, True),
            ('"other"', False),
            ("W/" + TAG, False),
            (DATE, True),
            (http_date(MODIFIED + 1), False),
            ("x", False),
            ('"', False),
        ):
            headers = {} if value is None else {"if-range": value}
            self.assertIs(may_be_partial(headers, TAG, MODIFIED), counts, value)
        self.assertFalse(may_be_partial({"if-range": TAG}, None, MODIFIED))
        self.assertFalse(may_be_partial({"if-range": "x"}, TAG, None))


class MultipartTests(SynchronousTestCase):
    """
    Several parts in one body.
    """

    def test_body(self) -> None:
        """
        Each part has type and range before it, and the length is that of all.
        """
        body = Multipart("00000000000000000001", "text/plain", (Span(0, 1), Span(8, 10)), 10)
        whole = body.heads[0] + b"0" + body.heads[1] + b"89" + body.tail
        self.assertEqual(
            whole,
            b"\r\n--00000000000000000001\r\nContent-Type: text/plain\r\nContent-Range: bytes 0-0/10\r\n\r\n0"
            b"\r\n--00000000000000000001\r\nContent-Type: text/plain\r\nContent-Range: bytes 8-9/10\r\n\r\n89"
            b"\r\n--00000000000000000001--\r\n",
        )
        self.assertEqual(body.length, len(whole))
        self.assertEqual(body.content_type, "multipart/byteranges; boundary=00000000000000000001")

    def test_without_type(self) -> None:
        """
        Parts of nothing in particular have no type.
        """
        self.assertEqual(
            Multipart("b", "", (Span(0, 1),), 1).heads, (b"\r\n--b\r\nContent-Range: bytes 0-0/1\r\n\r\n",)
        )


class ConditionTests(SynchronousTestCase):
    """
    What there is against what the client has.
    """

    def check(self, wanted: int | None, since: Since = Since.EXACT, **fields: str) -> None:
        """
        The conditions, their names with underscores, lead to this.
        """
        headers = {name.replace("_", "-"): value for name, value in fields.items()}
        self.assertEqual(verdict(headers, TAG, MODIFIED, since), wanted, fields)

    def test_none(self) -> None:
        """
        Without conditions the answer is sent.
        """
        self.check(None)

    def test_modified_since(self) -> None:
        """
        The exact second of the file is needed, unless a later one is said to do, or none.
        """
        later, earlier = http_date(MODIFIED + 1), http_date(MODIFIED - 1)
        for since, on_time, late in ((Since.EXACT, 304, None), (Since.BEFORE, 304, 304), (Since.OFF, None, None)):
            self.check(on_time, since, if_modified_since=DATE)
            self.check(late, since, if_modified_since=later)
            self.check(None, since, if_modified_since=earlier)
            self.check(None, since, if_modified_since="yesterday")
        self.assertIsNone(verdict({"if-modified-since": DATE}, TAG, None))

    def test_none_match(self) -> None:
        """
        The tag is found in a list, weak or not.
        """
        for value in (TAG, "*", "W/" + TAG, f'"x", {TAG}', f'W/"x" ,\tW/{TAG} , "y"', f"{TAG} "):
            self.check(304, if_none_match=value)
        for value in ('"x"', TAG + "x", "", ",,", f'"x{TAG}', TAG[:-1], '*, "x"'):
            self.check(None, if_none_match=value)
        self.assertEqual(verdict({"if-none-match": TAG}, "W/" + TAG, MODIFIED), 304)
        self.assertIsNone(verdict({"if-none-match": TAG}, None, MODIFIED))

    def test_both(self) -> None:
        """
        Where there are a date and tags, both have to say so.
        """
        self.check(304, if_none_match=TAG, if_modified_since=DATE)
        self.check(None, if_none_match=TAG, if_modified_since=http_date(0))
        self.check(None, if_none_match='"x"', if_modified_since=DATE)
        self.check(None, Since.OFF, if_none_match=TAG, if_modified_since=DATE)

    def test_match(self) -> None:
        """
        A tag that must be there and is not, or is weak, fails.
        """
        self.check(None, if_match=TAG)
        self.check(None, if_match="*")
        self.check(412, if_match='"x"')
        self.check(412, if_match="W/" + TAG)
        self.check(304, if_match=TAG, if_none_match=TAG)
        self.assertEqual(verdict({"if-match": TAG}, None, MODIFIED), 412)

    def test_unmodified_since(self) -> None:
        """
        A file that is younger than the client wants fails, and so does a date that is none.
        """
        self.check(None, if_unmodified_since=DATE)
        self.check(None, if_unmodified_since=http_date(MODIFIED + 1))
        self.check(412, if_unmodified_since=http_date(MODIFIED - 1))
        self.check(412, if_unmodified_since="x")
        self.assertEqual(verdict({"if-unmodified-since": DATE}, TAG, None), 412)
