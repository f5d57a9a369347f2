"""
ngx_http_gzip_filter_module, and what ngx_http_core_module says of C{gzip}: bodies that are compressed on their way to
clients that can read it.

Strategy: whether an answer is compressed is decided once, when its head is sent; what then compresses it is the
request's, which runs each piece of the body through it. zlib holds as much of it as C{gzip_window} says, and less where
the body is known to be short. A place where C{gzip} is off has nothing of all that.
"""

from __future__ import annotations

import re
import zlib
from typing import TYPE_CHECKING, Any, Final

from twisted.plugin import IPlugin
from zope.interface import implementer

from sniproxy.config import values
from sniproxy.config.build import Build
from sniproxy.config.directives import MANY, Directive, Repeat, Scope
from sniproxy.config.grammar import Node
from sniproxy.config.regex import Regex
from sniproxy.config.template import Variable
from sniproxy.errors import ConfigError
from sniproxy.http.accept_encoding import accepts_gzip
from sniproxy.http.dates import parse_date
from sniproxy.http.media_types import ANY, media_types, type_of, types_in_force
from sniproxy.interfaces import IModule

if TYPE_CHECKING:
    from sniproxy.common.server import Server
    from sniproxy.http.exchange import Reply
    from sniproxy.http.headers import Headers
    from sniproxy.http.place import Place
    from sniproxy.http.request import Request

_CONTEXTS: Final = ("http", "http.server", "http.server.location")

_STATUSES: Final = frozenset((200, 403, 404))

_ZLIB: Final = "zlib is given each piece as it comes"

PAGE: Final = 4096
"""Bytes that are sent at a time, but for the last ones: less is kept, as nginx keeps it in a buffer."""

_GZIP_FORMAT: Final = 16
"""What zlib is to add to the exponent of the window, to write the format of gzip."""

_MEMORY: Final = 8
"""zlib's own measure of what it remembers of the window (C{MAX_MEM_LEVEL - 1}, as nginx has it)."""

_LOOKAHEAD: Final = 262
"""Bytes of a window that zlib cannot use (C{MIN_LOOKAHEAD} in its deflate.h)."""

_MSIE: Final = re.compile(r"MSIE (?:[45]\..|6\.(?!.*SV1).)", re.DOTALL)
"""Of the first C{MSIE} in C{User-Agent}; those with the second service pack of Windows XP can do it."""

_VARY: Final = ("Vary", "Accept-Encoding")

_WORDS: Final = {
    name: name
    for name in ("off", "expired", "no-cache", "no-store", "private", "no_last_modified", "no_etag", "auth", "any")
}
_CONTROLS: Final = {
    name: re.compile(rf"(?:\A|[;,] *){name} *(?:,|\Z)", re.IGNORECASE) for name in ("no-cache", "no-store", "private")
}


def _power_of_two(most: int, words: str) -> Any:
    def convert(node: Node, build: Build, scope: Scope) -> int:
        size = values.size(node, build, scope)
        if size & (size - 1) or not 512 <= size <= most:
            raise ConfigError(f'"{node.name}" directive must be {words}')
        return size

    return convert


def _disable(node: Node, build: Build, scope: Scope) -> tuple[Regex, ...]:
    if "msie6" in node.args:
        build.shared.setdefault(_disable, {})[scope] = True
    return tuple(Regex(word, caseless=True) for word in node.args if word != "msie6")


GZIP: Final[Directive[bool]] = Directive("gzip", (*_CONTEXTS, "http.server.location.if"), (1, 1), values.flag, False)
TYPES: Final[Directive[tuple[frozenset[str], ...]]] = Directive(
    "gzip_types", _CONTEXTS, (1, MANY), media_types("text/html"), (), repeat=Repeat.LISTED
)
LEVEL: Final[Directive[int]] = Directive("gzip_comp_level", _CONTEXTS, (1, 1), values.number_within(1, 9), 1)
WINDOW: Final[Directive[int]] = Directive(
    "gzip_window", _CONTEXTS, (1, 1), _power_of_two(32768, "512, 1k, 2k, 4k, 8k, 16k, or 32k"), 32768
)
MIN_LENGTH: Final[Directive[int]] = Directive("gzip_min_length", _CONTEXTS, (1, 1), values.size, 20)
VARY: Final[Directive[bool]] = Directive("gzip_vary", _CONTEXTS, (1, 1), values.flag, False)
PROXIED: Final[Directive[frozenset[str]]] = Directive(
    "gzip_proxied", _CONTEXTS, (1, MANY), values.some_of(_WORDS), frozenset(("off",))
)
HTTP_VERSION: Final[Directive[str]] = Directive(
    "gzip_http_version", _CONTEXTS, (1, 1), values.one_of({"1.0": "1.0", "1.1": "1.1"}), "1.1"
)
DISABLE: Final[Directive[tuple[tuple[Regex, ...], ...]]] = Directive(
    "gzip_disable", _CONTEXTS, (1, MANY), _disable, (), repeat=Repeat.LISTED
)

DIRECTIVES: Final[tuple[Directive[Any], ...]] = (
    GZIP,
    TYPES,
    LEVEL,
    WINDOW,
    MIN_LENGTH,
    VARY,
    PROXIED,
    HTTP_VERSION,
    DISABLE,
    Directive("gzip_buffers", _CONTEXTS, (2, 2), values.buffers, None, ignored=_ZLIB),
    Directive(
        "gzip_hash",
        _CONTEXTS,
        (1, 1),
        _power_of_two(131072, "512, 1k, 2k, 4k, 8k, 16k, 32k, 64k, or 128k"),
        None,
        ignored="it goes with gzip_window",
    ),
    Directive("postpone_gzipping", _CONTEXTS, (1, 1), values.size, None, ignored=_ZLIB),
    Directive("gzip_no_buffer", _CONTEXTS, (1, 1), values.flag, None, ignored=_ZLIB),
)


class Deflater:
    """
    One body.

    @ivar ratio: how many times shorter it has become, C{$gzip_ratio}; None until it is whole.
    """

    __slots__ = ("_came", "_dirty", "_kept", "_level", "_memory", "_sent", "_window", "_zlib", "ratio")

    def __init__(self, level: int, window: int, length: int | None) -> None:
        """
        @param window: the exponent of two of its size.
        @param length: of the body, in bytes; None where nobody knows.
        """
        memory = _MEMORY
        if length is not None:
            while length < (1 << (window - 1)) - _LOOKAHEAD:
                window -= 1
                memory = max(memory - 1, 1)
        self._level = level
        self._window = window
        self._memory = memory
        self._zlib: Any = None
        self._kept = b""
        self._came = 0
        self._sent = 0
        self._dirty = False
        self.ratio: str | None = None

    def encode(self, data: bytes) -> bytes:
        """
        @see: L{sniproxy.http.exchange.Encoder.encode}
        """
        self._came += len(data)
        self._dirty = True
        kept = self._kept + self._engine().compress(data)
        if len(kept) < PAGE:
            self._kept = kept
            return b""
        self._kept = b""
        return self._told(kept)

    def flush(self) -> bytes:
        """
        @see: L{sniproxy.http.exchange.Encoder.flush}
        """
        if not self._dirty:
            return b""
        self._dirty = False
        kept, self._kept = self._kept, b""
        return self._told(kept + self._engine().flush(zlib.Z_SYNC_FLUSH))

    def finish(self) -> bytes:
        """
        @see: L{sniproxy.http.exchange.Encoder.finish}
        """
        data = self._told(self._kept + self._engine().flush(zlib.Z_FINISH))
        self._zlib = None
        self._kept = b""
        thousandths = self._came * 1000 // self._sent
        self.ratio = "{}.{:02}".format(*divmod(thousandths // 10 + (thousandths % 10 > 4), 100))
        return data

    def _engine(self) -> Any:
        if self._zlib is None:
            self._zlib = zlib.compressobj(self._level, zlib.DEFLATED, self._window + _GZIP_FORMAT, self._memory)
        return self._zlib

    def _told(self, data: bytes) -> bytes:
        self._sent += len(data)
        return data


class Gzip:
    """
    The encoding of one place, where it is on.
    """

    __slots__ = ("_disabled", "_least", "_level", "_msie6", "_newer", "_proxied", "_types", "_vary", "_window")

    def __init__(self, scope: Scope, build: Build) -> None:
        self._types = types_in_force(scope, TYPES, "text/html")
        self._level = scope[LEVEL]
        self._window = scope[WINDOW].bit_length() - 1
        self._least = scope[MIN_LENGTH]
        self._vary = scope[VARY]
        self._proxied = scope[PROXIED]
        self._newer = scope[HTTP_VERSION] == "1.1"
        named = build.shared.get(_disable, {})
        self._msie6 = False
        self._disabled: tuple[Regex, ...] = ()
        at: Scope | None = scope
        while at is not None:
            # the word is inherited apart from the expressions, as nginx does it
            self._msie6 = self._msie6 or at in named
            own = at.values.get(DISABLE, ())
            self._disabled = self._disabled or tuple(regex for regexes in own for regex in regexes)
            at = at.parent

    def may_part(self, request: Request, reply: Reply) -> bool:
        """
        @see: L{sniproxy.http.exchange.Encoding.may_part}
        """
        return not self._fits(reply) or not self._suits(request, reply.headers)

    def encoder(self, request: Request, reply: Reply) -> Deflater | None:
        """
        @see: L{sniproxy.http.exchange.Encoding.encoder}
        """
        if not self._fits(reply):
            return None
        headers = reply.headers
        if not self._suits(request, headers):
            return None
        headers.remove("content-length")
        headers.remove("accept-ranges")
        etag = headers.get("etag")
        if etag is not None and not etag.startswith("W/"):
            if etag.startswith('"'):
                headers.set("ETag", "W/" + etag)
            else:
                headers.remove("etag")
        headers.add("Content-Encoding", "gzip")
        length, reply.length = reply.length, None
        return Deflater(self._level, self._window, length)

    def _fits(self, reply: Reply) -> bool:
        """
        Whether it may be compressed, for whoever can read it; then it says so, where it shall.
        """
        if reply.status not in _STATUSES or (reply.length is not None and reply.length < self._least):
            return False
        headers = reply.headers
        if headers.get("content-encoding") or not (self._types is ANY or type_of(headers) in self._types):
            return False
        if self._vary and _VARY not in headers.items[:1]:
            headers.items.insert(0, _VARY)
        return True

    def _suits(self, request: Request, headers: Headers) -> bool:
        """
        Whether the client can read it (C{ngx_http_gzip_ok}).
        """
        asked = request.headers
        accepted = asked.get("accept-encoding")
        if accepted is None or not accepts_gzip(accepted):
            return False
        if self._newer and request.text == "HTTP/1.0":
            return False
        if asked.get("via") is not None and not self._suits_proxy(request, headers):
            return False
        agent = asked.get("user-agent")
        if agent is None:
            return True
        if self._msie6 and _is_msie6(agent):
            return False
        data = agent.encode("utf-8", "surrogateescape")
        return not any(regex.matches(data) for regex in self._disabled)

    def _suits_proxy(self, request: Request, headers: Headers) -> bool:
        """
        Whether it may be compressed for a proxy, which may hand it on to those who cannot read it.
        """
        words = self._proxied
        if "off" in words or "any" in words:
            return "off" not in words
        if "auth" in words and request.headers.get("authorization") is not None:
            return True
        expires = headers.get("expires")
        if expires is not None:
            return "expired" in words and _is_past(expires, headers.get("date"), request.clock.time())
        controls = headers.all("cache-control")
        if controls:
            named = [control for word, control in _CONTROLS.items() if word in words]
            return any(control.search(line) for control in named for line in controls)
        if "no_last_modified" in words and request.upstream_states and headers.get("last-modified") is not None:
            return False  # nginx looks for the field before it has put it on files
        return not ("no_etag" in words and headers.get("etag") is not None)


def _is_past(expires: str, date: str | None, now: float) -> bool:
    end = parse_date(expires)
    since = int(now) if date is None else parse_date(date)
    return end is not None and since is not None and end < since


def _is_msie6(agent: str) -> bool:
    place = agent.find("MSIE ")
    return place >= 0 and "Opera" not in agent and _MSIE.match(agent, place) is not None


def _ratio(request: Request) -> str | None:
    encoder = request.encoder
    return encoder.ratio if isinstance(encoder, Deflater) else None


@implementer(IPlugin, IModule)
class GzipModule:
    """
    The module.
    """

    name = "http_gzip"
    directives = DIRECTIVES
    variables = (Variable("gzip_ratio", _ratio, volatile=True, kind="http"),)

    def prepare(self, build: Build) -> None:
        """
        @see: L{IModule.prepare}
        """

    def attach(self, server: Server, build: Build) -> None:
        """
        @see: L{IModule.attach}
        """

    def attach_place(self, place: Place, build: Build) -> None:
        """
        @see: L{sniproxy.interfaces.IHttpModule}
        """
        if place.scope[GZIP]:
            place.encoding = Gzip(place.scope, build)


gzip = GzipModule()
