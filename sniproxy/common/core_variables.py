"""
The variables of ngx_stream_core_module, and those of them that ngx_http_core_module has with the same meaning: who
connects to whom, how much, how long, and what time it is.

Strategy: getters read the session and nothing else, so that they cost little more than their text; what changes only
each second is made once a second.
"""

from __future__ import annotations

import os
import socket
from datetime import datetime, timezone
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, Final

from sniproxy.addresses import Address
from sniproxy.common.milliseconds import milliseconds
from sniproxy.config.template import ANY, Variable

if TYPE_CHECKING:
    from sniproxy.common.session import Session

NGINX_VERSION: Final = "1.31.5"
"""The version of nginx whose semantics we carry: C{$nginx_version}, and the start line of the error log."""

_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def host_of(address: Address) -> str:
    """
    Without the port, as C{ngx_sock_ntop} writes it.
    """
    return f"unix:{address.host}" if address.family == "unix" else address.host


def port_of(address: Address) -> str:
    """
    Empty where there is none.
    """
    return str(address.port) if address.port else ""


def binary_remote_addr(subject: Any) -> str:
    """
    The four or sixteen bytes of the client's address, as text that stands for bytes.
    """
    peer = subject.peer
    if peer.family == "unix":
        return "unix:"
    family = socket.AF_INET if peer.family == "inet" else socket.AF_INET6
    return socket.inet_pton(family, peer.host).decode("utf-8", "surrogateescape")


def bytes_received(session: Session) -> str:
    """
    From the client.
    """
    return str(session.bytes_received)


def bytes_sent(session: Session) -> str:
    """
    To the client.
    """
    return str(session.bytes_sent)


def connection(subject: Any) -> str:
    """
    The serial number of the connection.
    """
    return str(subject.number)


@cache
def own_hostname() -> str:
    """
    The name of this machine, in lower case, as it was when first asked for.
    """
    return socket.gethostname().lower()


def hostname(subject: Any) -> str:
    """
    The name of this machine, as it was when first asked for.
    """
    return own_hostname()


def msec(subject: Any) -> str:
    """
    Seconds since 1970, with milliseconds.
    """
    # to microseconds first: a float holds .123 as .12299999
    thousandths = round(subject.clock.time() * 1_000_000) // 1000
    return f"{thousandths // 1000}.{thousandths % 1000:03d}"


def nginx_version(subject: Any) -> str:
    """
    See L{NGINX_VERSION}.
    """
    return NGINX_VERSION


def pid(subject: Any) -> str:
    """
    The process that has the session.
    """
    return str(os.getpid())


def protocol(session: Session) -> str:
    """
    C{TCP} or C{UDP}.
    """
    return "UDP" if session.listening.udp else "TCP"


def remote_addr(subject: Any) -> str:
    """
    The client's address; C{unix:} for a client on a unix socket.
    """
    return host_of(subject.peer)


def remote_port(subject: Any) -> str:
    """
    The client's port; empty on a unix socket.
    """
    return port_of(subject.peer)


def server_addr(subject: Any) -> str:
    """
    The address the client connected to.
    """
    return host_of(subject.local)


def server_name(session: Session) -> str:
    """
    The first name of the server in force.
    """
    names = session.server.names
    return names[0] if names else ""


def server_port(subject: Any) -> str:
    """
    The port the client connected to; empty on a unix socket.
    """
    return port_of(subject.local)


def session_time(session: Session) -> str:
    """
    Seconds since the client was accepted, with milliseconds.
    """
    return milliseconds(session.clock.now() - session.begun)


def status(session: Session) -> str:
    """
    How the session ended; C{000} until it did.
    """
    return str(session.status).zfill(3)


def time_iso8601(subject: Any) -> str:
    """
    C{2023-03-17T08:19:45+08:00}.
    """
    return _iso8601(int(subject.clock.time()))


def time_local(subject: Any) -> str:
    """
    C{17/Mar/2023:08:19:45 +0800}.
    """
    return _common(int(subject.clock.time()))


@lru_cache(maxsize=2)
def _iso8601(second: int) -> str:
    return _zoned(second).isoformat()


@lru_cache(maxsize=2)
def _common(second: int) -> str:
    then = _zoned(second)
    # %b would speak the language of the locale
    return f"{then:%d}/{_MONTHS[then.month - 1]}/{then:%Y:%H:%M:%S %z}"


def _zoned(second: int) -> datetime:
    """
    A second since 1970 in the time zone of this machine.
    """
    return datetime.fromtimestamp(second, timezone.utc).astimezone()


CORE_VARIABLES: Final = (
    Variable("binary_remote_addr", binary_remote_addr, kind=ANY),
    Variable("bytes_received", bytes_received),
    Variable("bytes_sent", bytes_sent),
    Variable("connection", connection, kind=ANY),
    Variable("hostname", hostname, kind=ANY),
    Variable("msec", msec, volatile=True, kind=ANY),
    Variable("nginx_version", nginx_version, kind=ANY),
    Variable("pid", pid, kind=ANY),
    Variable("protocol", protocol),
    Variable("remote_addr", remote_addr, kind=ANY),
    Variable("remote_port", remote_port, kind=ANY),
    Variable("server_addr", server_addr, kind=ANY),
    Variable("server_name", server_name),
    Variable("server_port", server_port, kind=ANY),
    Variable("session_time", session_time, volatile=True),
    Variable("status", status, volatile=True),
    Variable("time_iso8601", time_iso8601, volatile=True, kind=ANY),
    Variable("time_local", time_local, volatile=True, kind=ANY),
)
"""As nginx flags them: what is volatile is asked each time, all else once a session."""
