"""
Listening sockets: made as C{listen} says, kept over a reload where the address stays.
"""

from __future__ import annotations

import os
import socket
from typing import Final

from sniproxy.addresses import Address
from sniproxy.common.listening import Listening
from sniproxy.common.runtime import Doors, doors_in
from sniproxy.config.build import Build
from sniproxy.errors import ConfigError, ConfigErrors

BACKLOG: Final = 511
"""NGX_LISTEN_BACKLOG on Linux."""

_KEEPALIVE: Final = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
_FAMILIES: Final = {"inet": socket.AF_INET, "inet6": socket.AF_INET6, "unix": socket.AF_UNIX}


def open_socket(listening: Listening) -> socket.socket:
    """
    @raise ConfigError: with the place of the C{listen} directive.
    """
    address, options = listening.address, listening.options
    sock: socket.socket | None = None
    bound = False
    step = "socket()"
    try:
        sock = socket.socket(_FAMILIES[address.family], socket.SOCK_DGRAM if listening.udp else socket.SOCK_STREAM)
        step = "setsockopt()"
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if options.reuseport:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if address.family == "inet6":
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(options.ipv6only))
        apply_options(sock, listening)
        step = "bind()"
        sock.bind(address.sockaddr)
        bound = True
        if address.family == "unix":
            step = "chmod()"
            os.chmod(address.host, 0o666)
        if not listening.udp:
            step = "listen()"
            sock.listen(options.backlog or BACKLOG)
    except OSError as error:
        if bound and sock is not None:
            close_socket(address, sock)
        elif sock is not None:
            sock.close()
        raise _failed(step, listening, error) from None
    return sock


def _failed(step: str, listening: Listening, error: OSError) -> ConfigError:
    to = " to" if step == "bind()" else ""
    message = f"{step}{to} {listening.text} failed ({error.errno}: {error.strerror or error})"
    return ConfigError(message, listening.node.file, listening.node.line)


def apply_options(sock: socket.socket, listening: Listening) -> None:
    """
    Set what may differ after a reload. Accepted sockets inherit it all.

    @raise OSError: the system refuses.
    """
    options = listening.options
    if options.receive_buffer is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, options.receive_buffer)
    if options.send_buffer is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, options.send_buffer)
    if listening.address.family == "unix":
        return
    if options.reuseport:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)  # it may be new, and others are to join
    if listening.udp:
        return
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, int(listening.default.tcp_nodelay))
    keepalive = options.keepalive
    if keepalive is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, int(bool(keepalive)))
    if isinstance(keepalive, tuple):
        for option, value in zip(_KEEPALIVE, keepalive, strict=True):
            if value is not None:
                sock.setsockopt(socket.IPPROTO_TCP, option, value)
    if options.fastopen is not None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN, options.fastopen)
    if options.deferred:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 1)


def open_sockets(
    build: Build, kept: dict[Address, socket.socket], before: Build | None = None
) -> dict[Address, socket.socket]:
    """
    All sockets a configuration needs.

    @param kept: open ones that may be used again; lent.
    @param before: the configuration that they have their options of; None where that is not known.
    @return: by address, those of C{kept} that are needed and new ones. If any cannot be had, no new one is left open.
    @raise ConfigErrors: for each that cannot be had.
    """
    found: dict[Address, socket.socket] = {}
    new: dict[Address, socket.socket] = {}
    errors: list[ConfigError] = []
    doors = doors_in(build)
    had = {} if before is None else doors_in(before)
    # new ones first: only when they are all there those that are in use are touched
    for address, (listening, _) in doors.items():
        sock = kept.get(address)
        if sock is None:
            try:
                sock = new[address] = open_socket(listening)
            except ConfigError as error:
                errors.append(error)
                continue
        found[address] = sock
    if not errors:
        for (address, (listening, _)), sock in zip(doors.items(), found.values(), strict=True):
            if address not in new and not _same(listening, had.get(address)):
                try:
                    _renew(sock, listening)
                except ConfigError as error:
                    errors.append(error)
        if errors:
            _restore(kept, doors, had)
    if errors:
        for address, sock in new.items():
            close_socket(address, sock)
        raise ConfigErrors(tuple(errors))
    return found


def _restore(kept: dict[Address, socket.socket], doors: Doors, had: Doors) -> None:
    """
    Give sockets back the options they had, where a configuration comes to nothing that has set others.
    """
    for address, (listening, _) in had.items():
        if address in kept and address in doors and not _same(doors[address][0], had[address]):
            try:
                _renew(kept[address], listening)
            except ConfigError:
                pass  # it keeps what it has


Queues = dict[Address, tuple[socket.socket, ...]]
"""By address: one socket that all workers share, or one for each of them."""


def open_queues(build: Build, kept: Queues, workers: int) -> Queues:
    """
    All sockets that a number of workers need: of an address with C{reuseport} each gets one of its own.

    @param kept: open ones that may be used again; lent.
    @return: those of C{kept} that are needed and new ones. If any cannot be had, no new one is left open.
    @raise ConfigErrors: for each that cannot be had.
    """
    firsts = {address: sockets[0] for address, sockets in kept.items()}
    found = {address: [sock] for address, sock in open_sockets(build, firsts).items()}
    doors = doors_in(build)
    try:
        for address, sockets in found.items():
            listening, _ = doors[address]
            if listening.options.reuseport and address.family != "unix":
                for number in range(1, workers):
                    others = kept.get(address, ())
                    kept_one = number < len(others)
                    sockets.append(_renew(others[number], listening) if kept_one else open_socket(listening))
    except ConfigError as error:
        close_queues({address: tuple(sockets) for address, sockets in found.items()}, kept)
        raise ConfigErrors((error,)) from None
    return {address: tuple(sockets) for address, sockets in found.items()}


def close_queues(queues: Queues, needed: Queues) -> None:
    """
    Close all sockets but those that are needed.
    """
    for address, sockets in queues.items():
        still = needed.get(address, ())
        for sock in sockets:
            if sock in still:
                continue
            if still:
                sock.close()
            else:
                close_socket(address, sock)


def queues_of(queues: Queues, worker: int) -> dict[Address, socket.socket]:
    """
    @param worker: from 0.
    @return: the sockets on which this worker accepts.
    """
    return {address: sockets[worker if len(sockets) > 1 else 0] for address, sockets in queues.items()}


def _same(listening: Listening, had: tuple[Listening, object] | None) -> bool:
    """
    Whether a socket has all that L{apply_options} would set.
    """
    if had is None:
        return False
    options, others = listening.options, had[0].options
    if (options.given or others.given) and options != others:
        return False
    return listening.default.tcp_nodelay == had[0].default.tcp_nodelay


def _renew(sock: socket.socket, listening: Listening) -> socket.socket:
    try:
        apply_options(sock, listening)
        if not listening.udp:
            sock.listen(listening.options.backlog or BACKLOG)
    except OSError as error:
        raise _failed("setsockopt()", listening, error) from None
    return sock


def close_socket(address: Address, sock: socket.socket) -> None:
    """
    Close a listening socket for good; a unix socket loses its name.
    """
    sock.close()
    if address.family == "unix":
        try:
            os.unlink(address.host)
        except OSError:
            pass  # somebody else took it away
