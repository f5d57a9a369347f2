"""
ngx_stream_realip_module: C{set_real_ip_from}, whose word about a client's address is believed.

From the post-accept phase on the session's peer is the address in the PROXY header, for variables, rules and logs
alike; C{$realip_remote_addr} and C{$realip_remote_port} keep the one that is connected.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address
from typing import Final

from twisted.plugin import IPlugin
from zope.interface import implementer

from sniproxy.addresses import Address, text6
from sniproxy.common.core_variables import host_of, port_of
from sniproxy.common.phases import Phase
from sniproxy.common.proxy_protocol import header_of
from sniproxy.common.server import Server
from sniproxy.common.session import Session
from sniproxy.config.build import Build
from sniproxy.config.directives import Directive, Repeat, Scope
from sniproxy.config.grammar import Node
from sniproxy.config.networks import BITS, Areas, Network, located, network, number4, number6
from sniproxy.config.template import Variable
from sniproxy.errors import ConfigError
from sniproxy.interfaces import IModule
from sniproxy.wire.proxy_protocol import Endpoint


def _from(node: Node, build: Build, scope: Scope) -> tuple[Network, ...] | None:
    """
    @return: None for clients on unix sockets.
    """
    word = node.args[0]
    if word == "unix:":
        return None
    found = network(word)
    if found is not None:
        if found.vague:
            build.warn(f"low address bits of {word} are meaningless", node)
        return (found,)
    try:
        hosts = build.lookup(word)
    except OSError:
        raise ConfigError(f'host not found in set_real_ip_from "{word}"') from None
    return tuple(each for host in hosts if (each := network(host)) is not None)


SET_REAL_IP_FROM: Final[Directive[tuple[tuple[Network, ...] | None, ...]]] = Directive(
    "set_real_ip_from", ("stream", "stream.server"), (1, 1), _from, (), repeat=Repeat.LISTED
)


def _address(end: Endpoint) -> Address | None:
    """
    What a header says, if it is an address.
    """
    number = number4(end.host)
    if number is not None:
        return Address("inet", str(IPv4Address(number)), end.port)
    number = number6(end.host)
    return None if number is None else Address("inet6", text6(number), end.port)


class RealIp:
    """
    The handler of one server.
    """

    def __init__(self, trusted: Sequence[tuple[Network, ...] | None]) -> None:
        self._unix = None in trusted
        self._areas = {
            family: Areas(
                (each.first, each.last, 0, True) for group in trusted for each in group or () if each.family == family
            )
            for family in BITS
        }

    def __call__(self, session: Session) -> None:
        """
        @see: L{sniproxy.interfaces.IPhaseHandler}
        """
        header = header_of(session)
        if header is None or header.source is None:
            return
        place = located(session.peer)
        if not (self._unix if place is None else self._areas[place[0]].find(place[1])):
            return
        address = _address(header.source)
        if address is not None:
            session.peer = address


def _connected(session: Session) -> Address:
    peer: Address = session.client.peer
    return peer


@implementer(IPlugin, IModule)
class RealIpModule:
    """
    The module.
    """

    name = "stream_realip"
    directives = (SET_REAL_IP_FROM,)
    variables = (
        Variable("realip_remote_addr", lambda session: host_of(_connected(session))),
        Variable("realip_remote_port", lambda session: port_of(_connected(session))),
    )

    def prepare(self, build: Build) -> None:
        """
        @see: L{IModule.prepare}
        """

    def attach(self, server: Server, build: Build) -> None:
        """
        @see: L{IModule.attach}
        """
        trusted = server.scope[SET_REAL_IP_FROM]
        if trusted:
            server.handle(Phase.POST_ACCEPT, RealIp(trusted))


realip = RealIpModule()
