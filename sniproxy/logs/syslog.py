"""
ngx_syslog: what C{syslog:server=…} in C{error_log} and C{access_log} means, and how a line travels to such a server.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

from zope.interface import classImplements

from sniproxy.addresses import Address
from sniproxy.config.places import place
from sniproxy.errors import ConfigError
from sniproxy.interfaces import ISessionLog

if TYPE_CHECKING:
    from sniproxy.config.build import Build

PREFIX: Final = "syslog:"
PORT: Final = 514

FACILITIES: Final = (
    *("kern", "user", "mail", "daemon", "auth", "intern", "lpr", "news", "uucp", "clock", "authpriv", "ftp", "ntp"),
    *("audit", "alert", "cron", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7"),
)
"""By their numbers (RFC 3164, 4.1.1), in nginx's spelling."""

SEVERITIES: Final = ("emerg", "alert", "crit", "error", "warn", "notice", "info", "debug")

MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
"""C{strftime} would speak the operator's language."""

TAG: Final = 32
"""The longest tag."""

COMPLAINTS: Final = 60.0
"""Seconds between two complaints about one server."""

_WORD: Final = re.compile(r"[A-Za-z0-9_]*\Z")

_FAMILIES: Final = {"inet": socket.AF_INET, "inet6": socket.AF_INET6, "unix": socket.AF_UNIX}


@dataclass(frozen=True, slots=True)
class Syslog:
    """
    One syslog server, and what lines to it begin with.

    @ivar facility: a number, the place in L{FACILITIES}.
    @ivar severity: a number, the place in L{SEVERITIES}: of lines that have none of their own.
    @ivar hostname: whether the host's name is sent.
    """

    server: Address
    facility: int = 23
    severity: int = 6
    tag: str = "nginx"
    hostname: bool = True


def parse(text: str, build: Build) -> Syslog:
    """
    Read C{syslog:server=127.0.0.1:514,facility=local7,tag=edge,severity=info,nohostname}.

    @raise ConfigError: in nginx's words.
    """
    found: dict[str, str] = {}
    for part in text[len(PREFIX) :].split(","):
        name, equals, value = part.partition("=")
        if part == "nohostname":
            found[part] = ""
        elif name in ("server", "facility", "severity", "tag") and equals:
            if name in found:
                raise ConfigError(f'duplicate syslog "{name}"')
            found[name] = value
        else:
            raise ConfigError(f'unknown syslog parameter "{part}"')
    if "server" not in found:
        raise ConfigError("no syslog server specified")
    tag = found.get("tag", "nginx")
    if len(tag) > TAG:
        raise ConfigError(f"syslog tag length exceeds {TAG}")
    if not _WORD.match(tag):
        raise ConfigError('syslog "tag" only allows alphanumeric characters and underscore')
    return Syslog(
        _server(found["server"], build),
        _place_in(FACILITIES, "facility", found.get("facility", "local7")),
        _place_in(SEVERITIES, "severity", found.get("severity", "info")),
        tag,
        "nohostname" not in found,
    )


def _server(text: str, build: Build) -> Address:
    try:
        return place(text).addresses(build.lookup, PORT)[0]
    except ConfigError as error:
        raise ConfigError(f'{error.message} in syslog server "{text}"') from None


def _place_in(words: tuple[str, ...], what: str, word: str) -> int:
    if word.lower() not in words:
        raise ConfigError(f'unknown syslog {what} "{word}"')
    return words.index(word.lower())


class SyslogLog:
    """
    Datagrams to one server, sent at once; what the kernel cannot take now is lost. Owns one socket, made when needed.
    """

    def __init__(
        self, syslog: Syslog, time: Callable[[], float], complain: Callable[[str], None], hostname: str | None = None
    ) -> None:
        """
        @param time: wall clock, seconds since the epoch.
        @param complain: told at most once a minute that sending fails.
        @param hostname: the host's name; the kernel's where None.
        """
        self._syslog = syslog
        self._time = time
        self._complain = complain
        self._complained: float | None = None
        self._socket: socket.socket | None = None
        name = socket.gethostname() if hostname is None else hostname
        self._name = f"{name} " if syslog.hostname else ""

    def write(self, line: bytes) -> None:
        """
        Send with the severity of the configuration. Never raises.
        """
        self.send(self._syslog.severity, line)

    def send(self, severity: int, line: bytes) -> None:
        """
        Send with a severity of its own, a place in L{SEVERITIES}. Never raises.
        """
        data = self._head(severity).encode("utf-8", "surrogateescape") + line.rstrip(b"\n")
        try:
            try:
                self._put(data)
            except ConnectionError:
                # What came back for the line before, or a server that was restarted: once more, on a new socket.
                self.reopen()
                self._put(data)
        except OSError as error:
            self.close()
            now = self._time()
            if self._complained is None or now - self._complained >= COMPLAINTS:
                self._complained = now
                self._complain(f"send() to syslog {self._syslog.server.text} failed ({error.errno}: {error.strerror})")

    def _head(self, severity: int) -> str:
        now = datetime.fromtimestamp(self._time())
        stamp = f"{MONTHS[now.month - 1]} {now.day:2d} {now:%H:%M:%S}"
        return f"<{self._syslog.facility * 8 + severity}>{stamp} {self._name}{self._syslog.tag}: "

    def _put(self, data: bytes) -> None:
        if self._socket is None:
            server = self._syslog.server
            made = socket.socket(_FAMILIES[server.family], socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
            try:
                made.connect(server.sockaddr)
            except OSError:
                made.close()
                raise
            self._socket = made
        try:
            self._socket.send(data)
        except BlockingIOError:
            # The server is slower than we: a session does not wait for a log.
            pass

    def reopen(self) -> None:
        """
        The next line finds the server anew.
        """
        self.close()

    def close(self) -> None:
        """
        Give the socket back; a later line would make another.
        """
        if self._socket is not None:
            self._socket.close()
            self._socket = None


classImplements(SyslogLog, ISessionLog)
