"""
Listening sockets: made as C{listen} says, kept over a reload where the address stays.
"""

from __future__ import annotations

import os
import socket
from typing import Final

from sniproxy.addresses import Address
from sniproxy.config.build import Build
from sniproxy.errors import ConfigError, ConfigErrors
from sniproxy.stream.core import listenings
from sniproxy.stream.listening import Listening
from sniproxy.stream.runtime import doors_of

BACKLOG: Final = 511
"""NGX_LISTEN_BACKLOG on Linux."""

_FAMILIES: Final = {"inet": socket.AF_INET, "inet6": socket.AF_INET6, "unix": socket.AF_UNIX}


def open_socket(listening: Listening) -> socket.socket:
    """
    @raise ConfigError: with the place of the C{listen} directive.
    """
    address, options = listening.address, listening.options
    sock = socket.socket(_FAMILIES[address.family], socket.SOCK_STREAM)
    step = "setsockopt()"
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if options.reuseport:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if address.family == "inet6":
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(options.ipv6only))
        apply_options(sock, listening)
        step = "bind()"
        sock.bind(address.sockaddr)
        if address.family == "unix":
            os.chmod(address.host, 0o666)
        step = "listen()"
        sock.listen(options.backlog or BACKLOG)
    except OSError as error:
        sock.close()
        node = listening.node
        message = f"{step} to {address.text} failed ({error.errno}: {error.strerror})"
        raise ConfigError(message, node.file, node.line) from None
    return sock


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
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, int(listening.default.tcp_nodelay))
    keepalive = options.keepalive
    if keepalive is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, int(bool(keepalive)))
    if isinstance(keepalive, tuple):
        for option, value in zip((socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT), keepalive, strict=True):
            if value is not None:
                sock.setsockopt(socket.IPPROTO_TCP, option, value)
    if options.fastopen is not None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN, options.fastopen)
    if options.deferred:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 1)


def open_sockets(build: Build, kept: dict[Address, socket.socket]) -> dict[Address, socket.socket]:
    """
    All sockets a configuration needs.

    @param kept: open ones that may be used again; lent.
    @return: by address, those of C{kept} that are needed and new ones. If any cannot be had, no new one is left open.
    @raise ConfigErrors: for each that cannot be had.
    """
    found: dict[Address, socket.socket] = {}
    made: list[socket.socket] = []
    errors: list[ConfigError] = []
    for address, (listening, _) in doors_of(listenings(build)).items():
        if address in kept:
            found[address] = kept[address]
            continue
        try:
            found[address] = open_socket(listening)
            made.append(found[address])
        except ConfigError as error:
            errors.append(error)
    if errors:
        for sock in made:
            sock.close()
        raise ConfigErrors(tuple(errors))
    for address, (listening, _) in doors_of(listenings(build)).items():
        if address in kept:
            apply_options(found[address], listening)
            found[address].listen(listening.options.backlog or BACKLOG)
    return found


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
