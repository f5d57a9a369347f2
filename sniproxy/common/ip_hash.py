"""
ngx_http_upstream_ip_hash_module: C{ip_hash}.
"""

from __future__ import annotations

from functools import partial
from ipaddress import IPv4Address, IPv6Address
from typing import Any, Final

from twisted.plugin import IPlugin
from zope.interface import implementer

from sniproxy.balancing.ip_hash import IpHash
from sniproxy.common.contexts import HTTP_UPSTREAM
from sniproxy.common.upstream import balance_with
from sniproxy.config.build import Build
from sniproxy.config.directives import Directive, Inherit, Repeat, Scope
from sniproxy.config.grammar import Node
from sniproxy.config.template import Variable
from sniproxy.interfaces import IModule

_NOWHERE: Final = bytes(3)
"""The network of clients on unix sockets."""


def network_of(subject: Any) -> bytes:
    """
    The first three octets of the client's IPv4 address, or all sixteen of its IPv6 address.
    """
    peer = subject.peer
    if peer.family == "unix":
        return _NOWHERE
    return IPv4Address(peer.host).packed[:3] if peer.family == "inet" else IPv6Address(peer.host).packed


def _ip_hash(node: Node, build: Build, scope: Scope) -> bool:
    balance_with(build, scope, partial(IpHash, key=network_of), node, backups=False)
    return True


IP_HASH: Final = Directive("ip_hash", (HTTP_UPSTREAM,), (0, 0), _ip_hash, False, Inherit.NEVER, Repeat.LAST)


@implementer(IPlugin, IModule)
class IpHashModule:
    """
    The module.
    """

    name = "http_upstream_ip_hash"
    directives = (IP_HASH,)
    variables: tuple[Variable, ...] = ()

    def prepare(self, build: Build) -> None:
        """
        The groups are made by L{sniproxy.common.upstream}.
        """

    def attach(self, server: Any, build: Build) -> None:
        """
        A way of balancing does nothing in a server by itself.
        """


ip_hash = IpHashModule()
