"""
What of an upstream's answer goes on to the client, and what of it is meant for us: the head's fields.

Strategy: the names that are not passed on are one set, worked out once. Most answers have nothing else that concerns
us, and are looked at for the few names that would.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sniproxy.http.exchange import Reply
from sniproxy.http.headers import Headers
from sniproxy.http.proxy_rewrites import Cookies, Rewrite, rewritten
from sniproxy.http.uri import BadTarget, clean, unescape
from sniproxy.wire.http1 import ResponseHead

if TYPE_CHECKING:
    from sniproxy.http.request import Request

HIDDEN: Final = (
    "Date", "Server", "X-Pad", "X-Accel-Expires", "X-Accel-Redirect", "X-Accel-Limit-Rate", "X-Accel-Buffering",
    "X-Accel-Charset",
)  # fmt: skip
"""What C{proxy_pass_header} may let through, and nothing else does."""

OURS: Final = frozenset(("connection", "keep-alive", "transfer-encoding", "content-length", "proxy-connection"))
"""What is said of the connection to the client is ours to say (RFC 9110 section 7.6.1)."""

REDIRECT: Final = "x-accel-redirect"
BUFFERING: Final = "x-accel-buffering"

KEPT: Final = frozenset(
    ("content-type", "set-cookie", "content-disposition", "cache-control", "expires", "accept-ranges", "p3p")
)
"""What an answer with C{X-Accel-Redirect} says of the one that takes its place."""


@dataclass(frozen=True, slots=True)
class Kept:
    """
    Fields that come with another answer than their own; in C{request.notes} by this class.
    """

    fields: tuple[tuple[str, str], ...]


class ReplyPlan:
    """
    What one location makes of answers.
    """

    __slots__ = ("_cookies", "_hidden", "_ignored", "_redirects", "_rewrites", "_trailers")

    def __init__(
        self,
        hide: Collection[str] = (),
        let_pass: Collection[str] = (),
        ignored: Collection[str] = (),
        redirects: Sequence[Rewrite] = (),
        cookies: Cookies | None = None,
        trailers: bool = False,
    ) -> None:
        """
        @param hide: the names C{proxy_hide_header} gives.
        @param let_pass: those C{proxy_pass_header} gives.
        @param ignored: those C{proxy_ignore_headers} gives.
        @param redirects: what is done to C{Location} and C{Refresh}.
        @param cookies: what is done to C{Set-Cookie}.
        @param trailers: whether those are passed on.
        """
        shown = {name.lower() for name in let_pass}
        hidden = {name.lower() for name in hide} | {name.lower() for name in HIDDEN if name.lower() not in shown}
        self._hidden = frozenset(hidden | OURS | (frozenset() if trailers else {"trailer"}))
        self._ignored = frozenset(name.lower() for name in ignored)
        self._redirects = tuple(redirects)
        self._cookies = cookies
        self._rewrites = bool(redirects) or cookies is not None
        self._trailers = trailers

    def reply(self, request: Request, head: ResponseHead) -> Reply:
        """
        @return: the head of the answer that the client gets.
        """
        hidden = self._hidden
        kept = [pair for pair in head.headers if pair[0].lower() not in hidden]
        if self._rewrites:
            self._rewrite(request, kept)
        length = head.length
        if length == 0 and (request.method == "HEAD" or head.status == 304):
            # these have no body, and tell the length of the one that GET would get, or none
            said = head.fields.get("content-length")
            length = None if said is None else int(said)
        reply = Reply(head.status, Headers(kept), length, head.reason)
        reply.trailers = self._trailers and head.chunked
        return reply

    def _rewrite(self, request: Request, fields: list[tuple[str, str]]) -> None:
        for place, (name, value) in enumerate(fields):
            lower = name.lower()
            new: str | None = None
            if lower == "location":
                new = rewritten(self._redirects, request, value)
                if new is not None:
                    new = request.absolute(new)
            elif lower == "refresh":
                at = value.lower().find("url=")
                prefix = value[: at + 4] if at >= 0 else ""
                new = rewritten(self._redirects, request, value[len(prefix) :])
                if new is not None:
                    new = prefix + new
            elif lower == "set-cookie" and self._cookies is not None:
                new = self._cookies.rewritten(request, value)
            if new is not None:
                fields[place] = (name, new)

    # What is meant for us.

    def accelerated(self, fields: dict[str, str]) -> bool:
        """
        Whether an answer says something to us.
        """
        return REDIRECT in fields or BUFFERING in fields

    def unbuffered(self, fields: dict[str, str], otherwise: bool) -> bool:
        """
        @param otherwise: what holds where the answer says nothing.
        @return: whether what comes is sent on at once, C{X-Accel-Buffering}.
        """
        said = fields.get(BUFFERING, "").lower()
        if BUFFERING in self._ignored or said not in ("yes", "no"):
            return otherwise
        return said == "no"

    def steps(self, request: Request, head: ResponseHead) -> Callable[[], None] | None:
        """
        @return: what answers instead of this upstream, C{X-Accel-Redirect}; None where nothing does.
        """
        where = head.fields.get(REDIRECT)
        if where is None or REDIRECT in self._ignored:
            return None
        request.notes[Kept] = Kept(tuple(pair for pair in head.headers if pair[0].lower() in KEPT))
        if request.method != "HEAD":
            request.method = "GET"
        if where.startswith("@"):
            return lambda: request.named(where)
        path, question, args = where.partition("?")
        try:
            path = clean(unescape(path)) if path.startswith("/") else ""
        except BadTarget:
            path = ""
        if not path:
            return lambda: request.finalize(404)
        return lambda: request.redirect(path, args if question else None)


def keep(request: Request, reply: Reply) -> None:
    """
    The filter that gives an answer the fields of the one whose place it has taken.
    """
    kept: Kept | None = request._notes.pop(Kept, None) if request._notes else None
    if kept is None:
        return
    headers = reply.headers
    for name, value in kept.fields:
        if name.lower() == "content-type":
            headers.set(name, value)
        else:
            headers.add(name, value)
