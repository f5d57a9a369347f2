"""
What the text of an address means: C{listen}'s, a peer's, a resolver's; nginx's C{ngx_parse_url}, without sockets.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import Final

from sniproxy.addresses import Address, Family
from sniproxy.config.values import number_of
from sniproxy.errors import ConfigError

Lookup = Callable[[str], "tuple[str, ...]"]

UNIX_PATH: Final = 108
"""Bytes of a unix socket's path on Linux, C{sizeof(sun_path)}."""

_QUAD: Final = re.compile(r"([0-9]+)\.([0-9]+)\.([0-9]+)\.([0-9]+)\Z")


@dataclass(frozen=True, slots=True)
class Place:
    """
    An address as it is written, taken apart.

    @ivar text: as it is written.
    @ivar family: C{"unix"}, or that of a numeric host, or None where C{host} is a name to look up.
    @ivar host: a numeric address in its shortest form without brackets, a name, or a unix socket's path.
    @ivar ports: one port or, for C{listen}, a range; empty where the text has none.
    """

    text: str
    family: Family | None
    host: str
    ports: range

    @property
    def port(self) -> int | None:
        """
        The first port, or None where the text has none.
        """
        return self.ports[0] if self.ports else None

    def addresses(self, lookup: Lookup, port: int | None = None) -> tuple[Address, ...]:
        """
        All addresses: those of the host's, and each with all ports.

        @param lookup: from a name to numeric addresses; raises OSError.
        @param port: what is taken where the text has none.
        @raise ConfigError: C{host not found} or C{no port}.
        """
        if self.family == "unix":
            return (Address("unix", self.host),)
        ports = self.ports
        if not ports and port is not None:
            ports = range(port, port + 1)
        hosts: tuple[str, ...] = (self.host,)
        if self.family is None:
            try:
                hosts = lookup(self.host)
            except OSError:
                hosts = ()
        if not hosts:
            raise ConfigError("host not found")
        if not ports:
            raise ConfigError("no port")
        return tuple(Address("inet6" if ":" in host else "inet", host, each) for each in ports for host in hosts)


def _ports(text: str, listen: bool) -> range:
    """
    @raise ConfigError: C{invalid port}, C{invalid port range}.
    """
    first, dash, last = text.partition("-") if listen else (text, "", "")
    low = number_of(first)
    high = number_of(last) if dash else low
    if low is None or high is None or not (1 <= low <= 65535 and 1 <= high <= 65535):
        raise ConfigError("invalid port")
    if low > high:
        raise ConfigError("invalid port range")
    return range(low, high + 1)


def quad(host: str) -> str | None:
    """
    An IPv4 address as nginx reads it, where leading zeros mean nothing, and never octal; or None.
    """
    match = _QUAD.match(host)
    if match is None:
        return None
    parts = [number_of(part) for part in match.groups()]
    if any(part is None or part > 255 for part in parts):
        return None
    return ".".join(str(part) for part in parts)


def place(text: str, *, listen: bool = False) -> Place:
    """
    Take an address apart.

    @param listen: C{*}, a port alone and a range of ports mean something.
    @raise ConfigError: nginx's reason, such as C{invalid port}, to be completed by whoever knows the directive.
    """
    if text[:5].lower() == "unix:":
        return _unix(text)
    if text.startswith("["):
        return _inet6(text, listen)
    if "/" in text or "?" in text:
        raise ConfigError("invalid host")
    host, colon, port = text.partition(":")
    ports = range(0)
    if colon:
        ports = _ports(port, listen)
    elif listen and _is_port(host):
        return Place(text, "inet", "0.0.0.0", _ports(host, True))
    if not host:
        raise ConfigError("no host")
    if listen and host == "*":
        return Place(text, "inet", "0.0.0.0", ports)
    numeric = quad(host)
    return Place(text, None if numeric is None else "inet", host if numeric is None else numeric, ports)


def _is_port(text: str) -> bool:
    first, dash, last = text.partition("-")
    return number_of(first) is not None and (not dash or number_of(last) is not None)


def _unix(text: str) -> Place:
    path = text[5:]
    if not path:
        raise ConfigError("no path in the unix domain socket")
    if len(path.encode("utf-8", "surrogateescape")) >= UNIX_PATH:
        raise ConfigError("too long path in the unix domain socket")
    return Place(text, "unix", path, range(0))


def _inet6(text: str, listen: bool) -> Place:
    host, bracket, rest = text[1:].partition("]")
    if not bracket or "/" in rest or "?" in rest or (rest and not rest.startswith(":")):
        raise ConfigError("invalid host")
    ports = _ports(rest[1:], listen) if rest else range(0)
    if not host:
        raise ConfigError("no host")
    try:
        if "%" in host:
            raise ValueError
        return Place(text, "inet6", str(IPv6Address(host)), ports)
    except ValueError:
        raise ConfigError("invalid IPv6 address") from None


def listen_addresses(text: str, lookup: Lookup, port: int | None = None) -> tuple[Address, ...]:
    """
    All addresses that one C{listen} means. That there is no such host is told before that there is no port.

    @param port: what is taken where the text has none.
    """
    try:
        return place(text, listen=True).addresses(lookup, port)
    except ConfigError as error:
        raise ConfigError(f'{error.message} in "{text}" of the "listen" directive') from None


def upstream_place(text: str, *, need_port: bool = True) -> Place:
    """
    The address of a peer, with errors in the words of C{server} and C{proxy_pass}.
    """
    try:
        found = place(text)
        if need_port and found.family != "unix" and not found.ports:
            raise ConfigError("no port")
    except ConfigError as error:
        raise ConfigError(f'{error.message} in upstream "{text}"') from None
    return found


def upstream_addresses(text: str, lookup: Lookup, port: int | None = None) -> tuple[Address, ...]:
    """
    All addresses of a peer, as they are at start-up. That there is no such host is told before that there is no port.

    @param port: what is taken where the text has none.
    """
    found = upstream_place(text, need_port=False)
    try:
        return found.addresses(lookup, port)
    except ConfigError as error:
        raise ConfigError(f'{error.message} in upstream "{text}"') from None
