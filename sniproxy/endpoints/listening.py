"""
Where do connections of an endpoint come in? By a socket of our own, or by whatever another Twisted endpoint listens on.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from twisted.internet import defer
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IStreamServerEndpoint
from zope.interface import implementer

from sniproxy.addresses import Address, numeric
from sniproxy.endpoints.arrivals import Arrival, Arrivals
from sniproxy.endpoints.engine import Engine, Lease, lease
from sniproxy.net.legs import address_of
from sniproxy.net.portable import LandingFactory
from sniproxy.net.transport import twisted_address
from sniproxy.wire.client_hello import Verdict

Where: TypeAlias = "tuple[str, int] | IStreamServerEndpoint"
"""
An IP address of this machine, empty for every IPv4 address, and a port, 0 for any; or an endpoint to listen with.
"""

BACKLOG: Final = 511
"""Connections that the kernel keeps for us, as with nginx."""

_FAMILIES: Final = {"inet": socket.AF_INET, "inet6": socket.AF_INET6}


def local_address(interface: str, port: int) -> Address:
    """
    @raise ValueError: it is no IP address.
    """
    address = numeric(interface or "0.0.0.0", port)
    if address is None:
        raise ValueError(f'"{interface}" is not an IP address to listen on')
    return address


def listening_socket(address: Address, backlog: int) -> socket.socket:
    """
    @raise CannotListenError: as Twisted's reactors.
    """
    family = _FAMILIES[address.family]
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name == "posix":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # inherited by what is accepted
        sock.bind(address.sockaddr)
        sock.listen(backlog)
    except OSError as error:
        sock.close()
        raise CannotListenError(address.host, address.port, error) from None  # type: ignore[no-untyped-call]
    return sock


@implementer(IListeningPort)
class DoorPort:
    """
    An open port of an endpoint. Owns what it listens with, those who have arrived and are nobody's yet, and a lease.
    """

    def __init__(self, host: Any, arrivals: Arrivals, close: Callable[[], Any], claim: Lease) -> None:
        """
        @param host: the address it listens on, in Twisted's words.
        @param close: ends the listening; perhaps with a Deferred.
        """
        self._host = host
        self._arrivals = arrivals
        self._close = close
        self._claim = claim
        self._closed: Callable[[], None] | None = None

    def when_closed(self, call: Callable[[], None]) -> None:
        """
        @param call: called once when nothing comes in any more.
        """
        self._closed = call

    def startListening(self) -> None:
        """
        It does already.
        """

    def stopListening(self) -> defer.Deferred[None]:
        """
        Let nobody in any more. Connections that protocols have go on.
        """
        return self._stop()

    async def _stopped(self) -> None:
        await defer.maybeDeferred(self._close)
        self._arrivals.close()
        closed, self._closed = self._closed, None
        self._claim.end()
        if closed is not None:
            closed()

    def _stop(self) -> defer.Deferred[None]:
        return defer.Deferred.fromCoroutine(self._stopped())

    def getHost(self) -> Any:
        """
        Where it listens.
        """
        return self._host


def open_port(
    reactor: Any, where: Where, backlog: int, seconds: float, decided: Callable[[Arrival, Verdict], None]
) -> defer.Deferred[DoorPort]:
    """
    Let connections arrive.

    @param seconds: how long each may take until it is handed over.
    @param decided: see L{Arrivals}.
    @return: fails with L{CannotListenError} or with what the other endpoint says.
    """
    engine, claim = lease(reactor)
    arrivals = Arrivals(engine, seconds, decided)
    try:
        if isinstance(where, tuple):
            address = local_address(*where)
            return defer.succeed(_open_socket(engine, claim, address, backlog, arrivals))
        return defer.Deferred.fromCoroutine(_open_over(reactor, claim, where, arrivals))
    except BaseException:
        claim.end()
        return defer.fail()


def _open_socket(engine: Engine, claim: Lease, address: Address, backlog: int, arrivals: Arrivals) -> DoorPort:
    sock = listening_socket(address, backlog)
    listener: Any = engine.network.listen(sock, arrivals.accepted, arrivals.complain)

    def close() -> None:
        listener.stop()
        sock.close()

    listener.start()
    return DoorPort(twisted_address(address_of(sock.family, sock.getsockname())), arrivals, close, claim)


async def _open_over(reactor: Any, claim: Lease, endpoint: IStreamServerEndpoint, arrivals: Arrivals) -> DoorPort:
    try:
        port = await endpoint.listen(LandingFactory(reactor, arrivals.accepted))
    except BaseException:
        claim.end()
        raise
    return DoorPort(port.getHost(), arrivals, port.stopListening, claim)
