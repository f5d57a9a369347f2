"""
What a socket address is to us: one value for IPv4, IPv6 and unix sockets, written as nginx writes it.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Final, Literal

Family = Literal["inet", "inet6", "unix"]


@dataclass(init=False, slots=True, unsafe_hash=True)
class Address:
    """
    Where a socket listens or connects to.

    @ivar family: C{"inet"}, C{"inet6"} or C{"unix"}.
    @ivar host: the numeric address in its shortest form without brackets; for C{"unix"} the path, which is
        empty for a socket without a name.
    @ivar port: 0 to 65535; 0 for C{"unix"}.
    """

    family: Final[Family]
    host: Final[str]
    port: Final[int]

    def __init__(self, family: Family, host: str, port: int = 0) -> None:
        self.family = family
        self.host = host
        self.port = port

    @property
    def text(self) -> str:
        """
        nginx's spelling: C{127.0.0.1:80}, C{[::1]:80}, C{unix:/run/a.sock}.
        """
        if self.family == "inet":
            return f"{self.host}:{self.port}"
        if self.family == "inet6":
            return f"[{self.host}]:{self.port}"
        return f"unix:{self.host}"

    @property
    def sockaddr(self) -> tuple[str, int] | str:
        """
        What the calls of C{socket} want for this address.
        """
        if self.family == "unix":
            return self.host
        return (self.host, self.port)


@dataclass(init=False, slots=True, unsafe_hash=True)
class DatagramAddress(Address):
    """
    Where datagrams are received. It is never equal to an L{Address}: a port may be listened on both ways at once.
    """


def text6(number: int) -> str:
    """
    An IPv6 address as nginx writes it (C{ngx_inet6_ntop}): what may be an IPv4 address ends in one.
    """
    tail = str(IPv4Address(number & 0xFFFFFFFF))
    if number >> 32 == 0xFFFF:
        return f"::ffff:{tail}"
    if 0x10000 <= number <= 0xFFFFFFFF or (0xFF < number < 0x10000 and number & 0xFF != 1):
        return f"::{tail}"
    return str(IPv6Address(number))


def numeric(host: str, port: int) -> Address | None:
    """
    @param host: perhaps an IPv4 address, or an IPv6 one with or without brackets.
    @return: the address, or None where C{host} is a name.
    """
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    try:
        return Address("inet6", str(IPv6Address(bare)), port)
    except ValueError:
        pass
    try:
        return Address("inet", str(IPv4Address(host)), port)
    except ValueError:
        return None
