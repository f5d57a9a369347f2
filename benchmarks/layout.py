"""
Where does everything stand during a run? Ports, certificates and files of one temporary folder.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

from tests.support.pki import Files, authority, chain, leaf, write

DEPTH: Final = 6
"""Intermediates above the clients' certificate."""
SERVICES: Final = ("answer", "echo", "bytes")
"""Plain services of the back end; each has a name under example.com."""
ENTRANCES: Final = ("passed", "ended", "certified", "wrapped", "hybrid", "steady", "before", "after", "web", "other")
"""
Listeners of a proxy: TLS passed through, TLS ended, the same with client certificates, and plain in and TLS out; and
where reloads are watched, plain: what is always there, what a reload takes away, and what it brings; HTTP; and one for
whatever else is compared.
"""


@dataclass(frozen=True, slots=True)
class Layout:
    """
    One proxy's view of a run, made once.

    @ivar folder: holds all files.
    @ivar ports: by the names of C{ENTRANCES} and C{SERVICES}, and C{secret}, the service behind TLS; C{site}
        and C{sink}, those of HTTPS, and C{plain}, of HTTP.
    @ivar authority: path of the root that all trust.
    @ivar server: of everybody who ends TLS; names all of example.com.
    @ivar client: what the proxy shows to the upstream.
    @ivar deep_client: what clients show to the proxy.
    """

    folder: str
    ports: dict[str, int]
    authority: str
    server: Files
    client: Files
    deep_client: Files

    def path(self, *names: str) -> str:
        """
        A path inside the folder.
        """
        return os.path.join(self.folder, *names)


def make(folder: str, proxies: Sequence[str]) -> dict[str, Layout]:
    """
    Write the certificates, P-256 all of them, and choose ports.

    @return: by the names of C{proxies}; they differ in the ports of the entrances.
    """
    services = (*SERVICES, "secret", "site", "plain", "sink")
    ports = iter(free_ports(len(services) + len(ENTRANCES) * len(proxies)))
    common = {name: next(ports) for name in services}
    root = authority("Benchmark CA")
    trusted = write(folder, "ca.pem", root.pem)
    server = leaf(root, "*.example.com", usage="server").write(folder, "server")
    client = leaf(root, "proxy.example.com", usage="client").write(folder, "client")
    deep_client = leaf(chain(root, DEPTH), "client.example.com", usage="client").write(folder, "deep")
    return {
        proxy: Layout(folder, common | {name: next(ports) for name in ENTRANCES}, trusted, server, client, deep_client)
        for proxy in proxies
    }


def free_ports(count: int) -> list[int]:
    """
    Ports of 127.0.0.1 below those that outgoing connections take, so that none is taken before a server binds it.
    """
    with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as limits:
        ceiling = int(limits.read().split()[0])
    found: list[int] = []
    with ExitStack() as held:
        # From one place or another, lest two runs on a machine meet.
        for port in range(max(1025, ceiling - 4000 + os.getpid() * 37 % 3000), ceiling):
            each = held.enter_context(socket.socket())
            try:
                each.bind(("127.0.0.1", port))
            except OSError:
                continue
            found.append(port)
            if len(found) == count:
                return found
    raise OSError(f"no {count} free ports below {ceiling}")
