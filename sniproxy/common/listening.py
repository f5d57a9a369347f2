"""
An address that servers listen on: which server blocks share it, and which of them a name chooses.

Strategy: names are told apart by nginx's precedence (whole name, longest C{*.x}, longest C{x.*}, first regular
expression), and the choice is made once, from the ClientHello, before any policy of a server has been applied.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sniproxy.addresses import Address, DatagramAddress
from sniproxy.config.grammar import Node
from sniproxy.config.hostnames import Hostnames, Verdict
from sniproxy.config.regex import Regex

if TYPE_CHECKING:
    from sniproxy.common.server import Server


@dataclass(frozen=True, slots=True)
class ListenOptions:
    """
    What a C{listen} directive says of its socket.

    @ivar backlog: None for nginx's default.
    @ivar keepalive: None to leave it alone, False for off, or (idle, interval, count), each None for the system's.
    @ivar receive_buffer: SO_RCVBUF in bytes, or None.
    @ivar send_buffer: SO_SNDBUF in bytes, or None.
    @ivar fastopen: the length of the TCP Fast Open queue, or None.
    @ivar deferred: TCP_DEFER_ACCEPT.
    @ivar bind: a socket of its own, though a wildcard address has the port as well.
    @ivar given: whether any of these was written down.
    """

    backlog: int | None = None
    keepalive: tuple[int | None, int | None, int | None] | bool | None = None
    receive_buffer: int | None = None
    send_buffer: int | None = None
    fastopen: int | None = None
    deferred: bool = False
    reuseport: bool = False
    ipv6only: bool = True
    bind: bool = False
    given: bool = False


@dataclass(frozen=True, slots=True)
class Listen:
    """
    One address of one C{listen} directive.

    @ivar address: a L{DatagramAddress} where it is C{udp}.
    @ivar http2: whether it has the old C{http2} parameter.
    """

    address: Address
    ssl: bool
    default_server: bool
    options: ListenOptions
    node: Node
    proxy_protocol: bool = False
    http2: bool = False


@dataclass(eq=False, slots=True)
class Listening:
    """
    One address and the servers on it.

    @ivar address: as it is bound.
    @ivar udp: whether its clients send datagrams.
    @ivar text: as logs name it.
    @ivar ssl: whether its clients speak TLS to us.
    @ivar proxy_protocol: whether a PROXY header comes before anything else.
    @ivar servers: in file order.
    @ivar default: the server of those who name none.
    @ivar by_name: whether a name means something: it may choose another server than the default, or an expression may
        capture from it.
    @ivar changed: whether what one C{listen} said of protocols was not what others had said.
    @ivar agreed: the protocols that the last of several C{listen}s named, or None.
    """

    address: Address
    options: ListenOptions
    ssl: bool
    default: Server
    node: Node
    default_node: Node | None = None
    servers: list[Server] = field(default_factory=list)
    by_name: bool = False
    proxy_protocol: bool = False
    changed: bool = False
    agreed: frozenset[str] | None = None
    text: str = ""
    udp: bool = False
    _names: Hostnames[Server] = field(default_factory=Hostnames)
    _patterns: list[tuple[Regex, Server]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.text = self.address.text
        self.udp = isinstance(self.address, DatagramAddress)

    def add_name(self, name: str, server: Server) -> Verdict:
        """
        @return: whether the name was new on this address and well formed.
        """
        return self._names.add(name, server)

    def add_pattern(self, pattern: Regex, server: Server) -> None:
        """
        Try this expression, after those that came before it, on names that are not in the table.
        """
        self._patterns.append((pattern, server))

    def choose(self, name: str | None, session: Any) -> Server:
        """
        @param name: normalised, or None where the client named nobody; empty for a server whose name is empty.
        @param session: whose captures the expression that chose sets.
        """
        if name is not None:
            server = self._names.find(name)
            if server is not None:
                return server
        if name and self._patterns:
            data = name.encode("utf-8", "surrogateescape")
            for pattern, server in self._patterns:
                if pattern.test(session, data):
                    return server
        return self.default
