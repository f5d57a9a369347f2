"""
From which address of ours do connections to upstreams come? C{proxy_bind}.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from ipaddress import IPv6Address
from typing import Any, Final

from sniproxy.addresses import Address
from sniproxy.common.contexts import PLACES
from sniproxy.config.build import Build
from sniproxy.config.directives import Directive, Scope
from sniproxy.config.grammar import Node
from sniproxy.config.places import quad
from sniproxy.config.template import Template
from sniproxy.config.values import number_of
from sniproxy.errors import ConfigError
from sniproxy.net.connect import ConnectOptions


def _host(text: str, port: int) -> Address | None:
    four = quad(text)
    if four is not None:
        return Address("inet", four, port)
    try:
        if "%" in text:
            raise ValueError
        return Address("inet6", str(IPv6Address(text)), port)
    except ValueError:
        return None


def local_address(text: str) -> Address | None:
    """
    @param text: C{192.0.2.1}, C{192.0.2.1:80}, C{2001:db8::1}, C{[2001:db8::1]:80}.
    @return: the address, with port 0 where there is none; None where it is no address.
    """
    whole = _host(text, 0)
    if whole is not None:
        return whole
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        colon, digits = rest[:1], rest[1:]
    else:
        host, colon, digits = text.partition(":")
    port = number_of(digits)
    if colon != ":" or port is None or not 1 <= port <= 65535:
        return None
    return _host(host, port)


@dataclass(frozen=True, slots=True)
class Local:
    """
    One C{proxy_bind}.

    @ivar template: the address, perhaps with variables.
    @ivar address: the address, where there are none.
    @ivar transparent: it need be no address of this machine.
    """

    template: Template
    address: Address | None
    transparent: bool

    def options(self, subject: Any, options: ConnectOptions) -> ConnectOptions:
        """
        How the connections of one session, or one request, are made. A variable that says nothing means any address; so
        does one that says something wrong, which is an error in the log.
        """
        address = self.address
        if address is None:
            text = self.template.render(subject)
            if not text:
                return options
            address = local_address(text)
            if address is None:
                subject.error(f'invalid local address "{text}"')
                return options
        return replace(options, bind=address, transparent=self.transparent)


def _bind(node: Node, build: Build, scope: Scope) -> Local | None:
    text, *rest = node.args
    if text == "off" and not rest:
        return None
    template = build.template(text, node)
    address = None
    if template.constant is not None:
        address = local_address(template.constant)
        if address is None:
            raise ConfigError(f'invalid address "{text}"')
    if rest and rest[0] != "transparent":
        raise ConfigError(f'invalid parameter "{rest[0]}"')
    return Local(template, address, bool(rest))


BIND: Final[Directive[Local | None]] = Directive("proxy_bind", PLACES, (1, 2), _bind, None)
