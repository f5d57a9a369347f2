"""
Dates of HTTP, written and read (RFC 9110 section 5.6.7).

Strategy: what is written is mostly the present second or that of a file asked for often, so each second is made once
and remembered for a while. What is read has to be a date in one of the three forms to the last character: nobody
sends another on purpose.
"""

from __future__ import annotations

import re
from calendar import timegm
from datetime import datetime
from functools import lru_cache
from typing import Final

_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTH: Final = "(?P<month>" + "|".join(_MONTHS) + ")"
_TIME: Final = r"(?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d)"

_FORMS: Final = tuple(
    re.compile(form + r"\Z", re.ASCII)
    for form in (
        rf"(?:{'|'.join(_DAYS)}), (?P<day>\d\d) {_MONTH} (?P<year>\d{{4}}) {_TIME} GMT",
        rf"(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day, (?P<day>\d\d)-{_MONTH}-(?P<year>\d\d) {_TIME} GMT",
        rf"(?:{'|'.join(_DAYS)}) {_MONTH} (?P<day>\d\d| \d) {_TIME} (?P<year>\d{{4}})",
    )
)
"""IMF-fixdate, RFC 850 and asctime: C{Sun, 06 Nov 1994 08:49:37 GMT} and its elders."""

_CENTURY: Final = 70
"""Two digits below this mean a year of this century, as ngx_parse_http_time has it."""

_EPOCH: Final = datetime(1970, 1, 1)
_LAST: Final = 253402300799
"""The end of the year 9999: there is no way to write what comes then."""


@lru_cache(maxsize=1024)
def _written(second: int) -> str:
    days, rest = divmod(min(max(second, -62135596800), _LAST), 86400)
    day = datetime.fromordinal(_EPOCH.toordinal() + days)
    hour, rest = divmod(rest, 3600)
    minute, second = divmod(rest, 60)
    date = f"{_DAYS[day.weekday()]}, {day.day:02} {_MONTHS[day.month - 1]} {day.year:04}"
    return f"{date} {hour:02}:{minute:02}:{second:02} GMT"


def http_date(seconds: float) -> str:
    """
    @param seconds: since the epoch; parts of a second are left out.
    @return: the form that is sent today, C{Sun, 06 Nov 1994 08:49:37 GMT}.
    """
    return _written(int(seconds // 1))


def parse_date(text: str) -> int | None:
    """
    @return: seconds since the epoch; None for what is no date.
    """
    for form in _FORMS:
        found = form.match(text)
        if found is not None:
            break
    else:
        return None
    year = int(found["year"])
    if len(found["year"]) == 2:
        year += 2000 if year < _CENTURY else 1900
    try:
        day = datetime(
            year,
            _MONTHS.index(found["month"]) + 1,
            int(found["day"]),
            int(found["hour"]),
            int(found["minute"]),
            int(found["second"]),
        )
    except ValueError:
        return None
    return timegm(day.timetuple())
