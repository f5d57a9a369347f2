"""
ngx_stream_realip_module and ngx_http_realip_module: C{set_real_ip_from}, whose word about a client's address is
believed; in http C{real_ip_header}, which word that is, and C{real_ip_recursive}.

From the post-accept phase on the session's peer is the address in the PROXY header, for variables, rules and logs
alike; C{$realip_remote_addr} and C{$realip_remote_port} keep the one that is connected. In http it is the request whose
peer is another one: the next request of the connection may come from somebody else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from ipaddress import IPv4Address
from typing import Any, Final

from twisted.plugin import IPlugin
from zope.interface import implementer

from sniproxy.addresses import Address, text6
from sniproxy.common.contexts import HTTP, PLACES
from sniproxy.common.core_variables import host_of, port_of
from sniproxy.common.phases import Phase
from sniproxy.common.proxy_bind import local_address
from sniproxy.common.proxy_protocol import header_of
from sniproxy.common.server import Server
from sniproxy.common.session import Session
from sniproxy.config import values
from sniproxy.config.build import Build
from sniproxy.config.directives import Directive, Repeat, Scope
from sniproxy.config.grammar import Node
from sniproxy.config.networks import BITS, Areas, Network, located, network, number4, number6
from sniproxy.config.template import Variable
from sniproxy.errors import ConfigError
from sniproxy.interfaces import IHttpModule, IModule
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
    "set_real_ip_from", PLACES, (1, 1), _from, (), repeat=Repeat.LISTED
)
HEADER: Final = Directive("real_ip_header", HTTP, (1, 1), values.text, "X-Real-IP")
RECURSIVE: Final = Directive("real_ip_recursive", HTTP, (1, 1), values.flag, False)

PROXY_PROTOCOL: Final = "proxy_protocol"
"""The value of C{real_ip_header} by which the PROXY header is meant."""

FORWARDED: Final = "X-Forwarded-For"
"""The one field that may occur several times, and counts from its end."""

_DONE: Final = "realip done"
"""The key in C{request.notes} that says that the client is known by now."""


def _address(end: Endpoint) -> Address | None:
    """
    What a header says, if it is an address.
    """
    number = number4(end.host)
    if number is not None:
        return Address("inet", str(IPv4Address(number)), end.port)
    number = number6(end.host)
    return None if number is None else Address("inet6", text6(number), end.port)


class Trusted:
    """
    Whose word is believed.
    """

    def __init__(self, trusted: Sequence[tuple[Network, ...] | None]) -> None:
        self._unix = None in trusted
        self._areas = {
            family: Areas(
                (each.first, each.last, 0, True) for group in trusted for each in group or () if each.family == family
            )
            for family in BITS
        }

    def __call__(self, address: Address) -> bool:
        """
        Whether this is one of them.
        """
        place = located(address)
        return self._unix if place is None else bool(self._areas[place[0]].find(place[1]))


class RealIp:
    """
    The handler of one server.
    """

    def __init__(self, trusted: Trusted) -> None:
        self._trusted = trusted

    def __call__(self, subject: Any) -> None:
        """
        @see: L{sniproxy.interfaces.IPhaseHandler}
        """
        header = header_of(subject)
        if header is None or header.source is None or not self._trusted(subject.peer):
            return
        address = _address(header.source)
        if address is not None:
            subject.peer = address


class HttpRealIp:
    """
    The handler of one place of http. A request is looked at until its client is known, and not after.
    """

    def __init__(self, trusted: Trusted, field: str, recursive: bool) -> None:
        """
        @param field: see L{HEADER}.
        """
        self._trusted = trusted
        self._field = field.lower()
        self._many = field == FORWARDED
        self._recursive = recursive
        self._header = RealIp(trusted) if field == PROXY_PROTOCOL else None

    def __call__(self, request: Any) -> None:
        """
        @see: L{sniproxy.interfaces.IHttpModule}
        """
        if _DONE in request.notes:
            return
        before = request.peer
        if self._header is not None:
            self._header(request)
        else:
            said = request.headers.all(self._field)
            request.peer = forwarded(before, said if self._many else said[:1], self._trusted, self._recursive)
        if request.peer is not before:
            request.notes[_DONE] = True


def forwarded(address: Address, said: Sequence[str], trusted: Callable[[Address], bool], recursive: bool) -> Address:
    """
    Who the client is by the fields of a request (C{ngx_http_get_forwarded_addr}): each word is that of whoever came
    before it, beginning at the end, as long as he is trusted.

    @param address: who is connected.
    @param said: the values of the fields, in order.
    @param recursive: whether to go on until somebody is not trusted; else one step is all.
    @return: C{address} itself, where nothing is said, or nobody believes it.
    """
    for text in reversed(said):
        rest = text
        while rest:
            if not trusted(address):
                return address
            rest = rest.rstrip(" ,")
            cut = max(rest.rfind(" ", 1), rest.rfind(",", 1), 0)
            found = local_address(rest[cut + 1 :] if cut else rest)
            if found is None:
                return address
            address = found
            if not recursive:
                return address
            rest = rest[:cut]
    return address


def _connected(session: Session) -> Address:
    peer: Address = session.client.peer
    return peer


@implementer(IPlugin, IModule, IHttpModule)
class RealIpModule:
    """
    The module.
    """

    name = "stream_realip"
    directives: tuple[Directive[Any], ...] = (SET_REAL_IP_FROM, HEADER, RECURSIVE)
    variables = (
        Variable("realip_remote_addr", lambda session: host_of(_connected(session))),
        Variable("realip_remote_port", lambda session: port_of(_connected(session))),
        Variable("realip_remote_addr", lambda request: host_of(request.session.peer), kind="http"),
        Variable("realip_remote_port", lambda request: port_of(request.session.peer), kind="http"),
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
            server.handle(Phase.POST_ACCEPT, RealIp(Trusted(trusted)))

    def attach_place(self, place: Any, build: Build) -> None:
        """
        As soon as the head of a request is there; and again for the location, which may believe more.
        """
        scope = place.scope
        trusted = scope[SET_REAL_IP_FROM]
        if trusted:
            handler = HttpRealIp(Trusted(trusted), scope[HEADER], scope[RECURSIVE])
            place.handle("post_read", handler)
            place.handle("preaccess", handler)


realip = RealIpModule()
