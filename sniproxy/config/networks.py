"""
What a text such as C{192.0.2.0/24} means, and which of many networks an address falls in: what C{allow} and C{deny},
C{geo} and C{set_real_ip_from} share.

Strategy: networks that lie in each other or overlap are cut, once, into pieces that do not, each with the value that
wins there. To look an address up is then one bisection, whether there are ten networks or a hundred thousand.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from heapq import heappop, heappush
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Final, Generic, Literal, TypeVar

from sniproxy.config.values import number_of

if TYPE_CHECKING:
    from sniproxy.addresses import Address

T = TypeVar("T")
Inet = Literal["inet", "inet6"]

NOBODY: Final = 0xFFFFFFFF
"""C{INADDR_NONE}: 255.255.255.255, by which nginx says that something is no IPv4 address."""

_MAPPED: Final = 0xFFFF << 32
"""::ffff:0:0, behind which IPv4 addresses are written as IPv6 ones."""

BITS: Final[dict[Inet, int]] = {"inet": 32, "inet6": 128}


def number4(text: str) -> int | None:
    """
    An IPv4 address as C{ngx_inet_addr} reads it: three dots, and octets that may have leading zeros or no digits.

    @return: None for what is none, and for 255.255.255.255.
    """
    octets = text.split(".")
    if len(octets) != 4:
        return None
    number = 0
    for octet in octets:
        value = number_of(octet) if octet else 0
        if value is None or value > 255:
            return None
        number = number << 8 | value
    return None if number == NOBODY else number


def number6(text: str) -> int | None:
    """
    An IPv6 address, without brackets and without a zone.
    """
    if "%" in text:
        return None
    try:
        return int(IPv6Address(text))
    except AddressValueError:
        return None


def unmapped(number: int) -> tuple[Inet, int]:
    """
    An IPv6 address, or the IPv4 address it stands for.
    """
    return ("inet", number - _MAPPED) if number >> 32 == 0xFFFF else ("inet6", number)


def numbered(text: str) -> tuple[Inet, int] | None:
    """
    The address a text is, as C{ngx_parse_addr} reads it; where IPv6 stands for IPv4 it is that.
    """
    number = number4(text)
    if number is not None:
        return "inet", number
    number = number6(text)
    return None if number is None else unmapped(number)


def located(address: Address) -> tuple[Inet, int] | None:
    """
    The number of a socket's address, by which networks are looked up; None for a unix socket.
    """
    if address.family == "inet":
        return "inet", int(IPv4Address(address.host))
    if address.family == "inet6":
        return unmapped(int(IPv6Address(address.host)))
    return None


@dataclass(frozen=True, slots=True)
class Network:
    """
    The addresses that have their first bits in common.

    @ivar first: the number of the first address.
    @ivar prefix: how many bits.
    @ivar vague: whether the text had other bits set as well.
    """

    family: Inet
    first: int
    prefix: int
    vague: bool = False

    @property
    def last(self) -> int:
        """
        The number of the last address.
        """
        return self.first + (1 << (BITS[self.family] - self.prefix)) - 1


def network(text: str) -> Network | None:
    """
    An address, or the beginning of addresses and its length in bits, as C{ngx_ptocidr} reads it.

    @return: None for what is neither, 255.255.255.255 included.
    """
    host, slash, length = text.partition("/")
    family: Inet = "inet"
    number = number4(host)
    if number is None:
        family = "inet6"
        number = number6(host)
        if number is None:
            return None
    bits = BITS[family]
    prefix = number_of(length) if slash else bits
    if prefix is None or prefix > bits:
        return None
    first = number >> (bits - prefix) << (bits - prefix)
    return Network(family, first, prefix, first != number)


class Areas(Generic[T]):
    """
    Values by number, over spans of numbers that may overlap.
    """

    __slots__ = ("_starts", "_values")

    def __init__(self, spans: Iterable[tuple[int, int, int, T]]) -> None:
        """
        @param spans: first and last number, rank and value of each: where spans overlap the lowest rank wins, and of
            equals the one that came first.
        """
        self._starts: list[int] = []
        self._values: list[T | None] = []
        ordered = sorted(((first, rank, place, last, value) for place, (first, last, rank, value) in enumerate(spans)))
        # those that cover the place where the sweep is, the winner on top; ends are noticed when they come to the top
        open_: list[tuple[int, int, int, T]] = []
        at = 0
        while at < len(ordered) or open_:
            if open_ and (at == len(ordered) or open_[0][2] < ordered[at][0]):
                ended = heappop(open_)[2]
                while open_ and open_[0][2] <= ended:
                    heappop(open_)
                self._begin(ended + 1, open_[0][3] if open_ else None)
            else:
                first, rank, place, last, value = ordered[at]
                at += 1
                heappush(open_, (rank, place, last, value))
                self._begin(first, open_[0][3])

    def _begin(self, first: int, value: T | None) -> None:
        """
        From here on.
        """
        if self._starts and self._starts[-1] == first:
            self._values[-1] = value
        elif not self._values or self._values[-1] is not value:
            self._starts.append(first)
            self._values.append(value)

    def find(self, number: int) -> T | None:
        """
        The value at a number; None where there is none.
        """
        at = bisect_right(self._starts, number)
        return self._values[at - 1] if at else None
