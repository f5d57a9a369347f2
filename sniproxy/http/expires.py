"""
C{expires} of ngx_http_headers_module: until when an answer may be kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import TYPE_CHECKING, Final

from sniproxy.config import values
from sniproxy.config.build import Build
from sniproxy.config.directives import Directive, Scope
from sniproxy.config.grammar import Node
from sniproxy.config.template import Template
from sniproxy.errors import ConfigError
from sniproxy.http.dates import http_date, parse_date

if TYPE_CHECKING:
    from sniproxy.http.exchange import Reply
    from sniproxy.http.request import Request

_DAY: Final = 86400

_EPOCH: Final = ("Thu, 01 Jan 1970 00:00:01 GMT", "no-cache")
_MAX: Final = ("Thu, 31 Dec 2037 23:55:55 GMT", "max-age=315360000")
"""What nginx says of answers that are old at once, and of those that never will be: ten years."""


class Counted(Enum):
    """
    From when on seconds count.
    """

    ACCESS = "from now"
    MODIFIED = "from when it was changed"
    DAILY = "from midnight, local time"


@dataclass(frozen=True, slots=True)
class Expires:
    """
    One setting.

    @ivar words: what is said in any case; None where it has to be worked out.
    """

    words: tuple[str, str] | None
    counted: Counted = Counted.ACCESS
    seconds: int = 0

    def say(self, reply: Reply, now: float) -> None:
        """
        Add C{Expires} and C{Cache-Control}, in the place of those that were there.

        @param now: on the wall.
        """
        date, control = self.words or self._words(reply, int(now))
        reply.headers.set("Expires", date)
        reply.headers.set("Cache-Control", control)

    def _words(self, reply: Reply, now: int) -> tuple[str, str]:
        if self.counted is Counted.DAILY:
            end = _next(self.seconds, now)
        elif not self.seconds:
            end = now
        else:
            changed = reply.headers.get("last-modified") if self.counted is Counted.MODIFIED else None
            since = parse_date(changed) if changed is not None else None
            end = (now if since is None else since) + self.seconds
        age = end - now
        return http_date(end), "no-cache" if self.seconds < 0 or age < 0 else f"max-age={age}"


def _next(seconds: int, now: int) -> int:
    """
    The next time that a day is so many seconds old.
    """
    midnight = datetime.fromtimestamp(now).replace(hour=0, minute=0, second=0)
    for day in (midnight, midnight + timedelta(days=1)):
        end = (day + timedelta(seconds=seconds)).timestamp()
        if end > now:
            break
    return int(end)


def expires_of(text: str, modified: bool) -> Expires | None:
    """
    @param modified: whether the word C{modified} stands before it.
    @return: None for C{off}.
    @raise ConfigError: it is no time.
    """
    if not modified:
        if text == "epoch":
            return Expires(_EPOCH)
        if text == "max":
            return Expires(_MAX)
        if text == "off":
            return None
    counted = Counted.MODIFIED if modified else Counted.ACCESS
    sign, word = text[:1], text[1:]
    if sign == "@":
        if modified:
            raise ConfigError('"expires" directive daily time cannot be used with "modified" parameter')
        counted = Counted.DAILY
    elif sign not in ("+", "-"):
        word = text
    seconds = values.time_of(word, seconds=True)
    if seconds is None:
        raise ConfigError('"expires" directive invalid value')
    if counted is Counted.DAILY and seconds > _DAY:
        raise ConfigError('"expires" directive daily time value must be less than 24 hours')
    return Expires(None, counted, int(-seconds if sign == "-" else seconds))


class Late:
    """
    A setting that has variables: what is none then is not said.
    """

    __slots__ = ("_modified", "_text")

    def __init__(self, text: Template, modified: bool) -> None:
        self._text = text
        self._modified = modified

    def find(self, request: Request) -> Expires | None:
        """
        The setting for one request.
        """
        try:
            return expires_of(self._text.render(request), self._modified)
        except ConfigError:
            return None


def _expires(node: Node, build: Build, scope: Scope) -> Expires | Late | None:
    modified = len(node.args) == 2
    if modified and node.args[0] != "modified":
        raise ConfigError('"expires" directive invalid value')
    template = build.template(node.args[-1], node)
    return Late(template, modified) if template.constant is None else expires_of(template.constant, modified)


EXPIRES: Final[Directive[Expires | Late | None]] = Directive(
    "expires",
    ("http", "http.server", "http.server.location", "http.server.location.if"),
    (1, 2),
    _expires,
    None,
)
