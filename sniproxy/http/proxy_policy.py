"""
What one location says about passing requests on, ready to use: L{sniproxy.http.proxy} makes it.

Strategy: whatever is the same for all requests is worked out once. Where variables have a say, a method here asks them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from sniproxy.addresses import Address, numeric
from sniproxy.common.proxy_bind import Local
from sniproxy.common.proxy_ssl import UpstreamTls
from sniproxy.common.resolver import ResolveFailure, ResolverSettings
from sniproxy.common.upstream import Upstream, literal
from sniproxy.config.template import Template
from sniproxy.errors import ConfigError
from sniproxy.http.attempt import ERROR, TIMEOUT
from sniproxy.http.keepalive import Pool
from sniproxy.http.proxy_headers import HeaderPlan
from sniproxy.http.proxy_replies import ReplyPlan
from sniproxy.http.proxy_target import Target, asked, target_of
from sniproxy.http.proxying import Proxying
from sniproxy.http.upstream_leg import Way
from sniproxy.net.connect import ConnectOptions

if TYPE_CHECKING:
    from sniproxy.http.request import Request

LITERALS: Final = 1024
"""How many addresses that variables name are remembered."""

Found = Callable[["Target | None", "Upstream | None"], None]


@dataclass(eq=False, slots=True)
class ProxyPolicy:
    """
    See the directives' documentation for what has its own name there.

    @ivar text: C{proxy_pass}.
    @ivar target: what that says, where it has no variables; else None.
    @ivar upstream: where to, likewise.
    @ivar known: the upstreams that a variable may name: groups by their names, and what others have written down by
        host and port, all in lower case.
    @ivar prefix: characters of the location's name, in whose place the URI stands.
    @ivar pooled: makes the pool of an upstream, which several locations may share; None where nothing is kept.
    @ivar headers: what upstreams are sent.
    @ivar replies: what clients are sent.
    @ivar version: of HTTP, C{(1, 1)}.
    @ivar buffers: bytes of an answer that are held for a client that is slow.
    @ivar buffer_size: of an answer's head.
    @ivar next_upstream: of what kinds failures must be for another try.
    @ivar next_statuses: the kinds of answers that are failures.
    @ivar tls: where C{target} is secure, or may be.
    """

    text: Template
    target: Target | None
    upstream: Upstream | None
    known: Callable[[str, int | None], Upstream | None]
    prefix: int
    pooled: Callable[[Upstream], Pool | None]
    resolver: ResolverSettings | None
    headers: HeaderPlan
    replies: ReplyPlan
    connect: ConnectOptions
    local: Local | None
    tls: UpstreamTls | None
    version: tuple[int, int] = (1, 1)
    method: Template | None = None
    set_body: Template | None = None
    pass_body: bool = True
    request_buffering: bool = True
    buffering: bool = True
    buffers: int = 32768
    buffer_size: int = 4096
    connect_timeout: float = 60.0
    send_timeout: float = 60.0
    read_timeout: float = 60.0
    next_upstream: int = ERROR | TIMEOUT
    next_statuses: Mapping[int, int] = field(default_factory=dict)
    next_tries: int = 0
    next_timeout: float = 0.0
    intercept: bool = False
    pass_trailers: bool = False
    ignore_client_abort: bool = False
    _way: Way | None = None
    _pools: dict[Upstream, Pool | None] = field(default_factory=dict)
    _literals: dict[Address, Upstream] = field(default_factory=dict)

    def __call__(self, request: Request) -> None:
        """
        @see: L{sniproxy.http.place.Content}
        """
        Proxying(request, self).begin()

    def pool_of(self, upstream: Upstream) -> Pool | None:
        """
        Where connections to an upstream are kept; None where they are not.
        """
        try:
            return self._pools[upstream]
        except KeyError:
            pool = self.pooled(upstream)
            if upstream.keepalive is not None:  # others live as long as a request does
                self._pools[upstream] = pool
            return pool

    def uri(self, request: Request, target: Target) -> str:
        """
        What is asked for at the upstream.
        """
        return asked(request, target.uri, self.prefix, self.target is None)

    def way(self, request: Request, target: Target) -> Way | None:
        """
        How its connections are made; None where that went wrong, and is in the log.
        """
        if self._way is not None:
            return self._way
        options = self.connect if self.local is None else self.local.options(request, self.connect)
        if not target.secure:
            way = Way(options, self.connect_timeout, self.buffer_size)
            fixed = True
        else:
            tls = self.tls
            assert tls is not None
            fixed = tls.find is None and tls.alpn is None and (tls.name is None or tls.name.constant is not None)
            if tls.find is not None:
                try:
                    tls = tls.find(request)
                except ConfigError as error:
                    request.error(error.message)
                    return None
            name = target.name if tls.name is None else _portless(tls.name.render(request))
            alpn = None if tls.alpn is None else tls.alpn(request)
            way = Way(options, self.connect_timeout, self.buffer_size, tls, name, alpn)
        if fixed and self.target is not None and (self.local is None or self.local.address is not None):
            self._way = way
        return way

    # Where variables say where to.

    def find(self, request: Request, found: Found) -> Any:
        """
        @param found: told of the target and the upstream; of no upstream where it cannot be found, and of no target
            where there is none, both of which is in the log then.
        @return: something to cancel, or None.
        """
        text = self.text.render(request)
        try:
            target = target_of(text)
        except ConfigError as error:
            request.error(f'{error.message} in "{text}"' if " in " not in error.message else error.message)
            found(None, None)
            return None
        request.notes[Target] = target
        written = target.written
        port = int(target.port or 0)
        upstream = self.known(target.name, written.port) or self.known(target.name, port)
        if upstream is not None:
            found(target, upstream)
        elif written.family is not None:
            found(target, self._literal(Address(written.family, written.host, port)))
        else:
            return self._resolve(request, target, port, found)
        return None

    def _resolve(self, request: Request, target: Target, port: int, found: Found) -> Any:
        host = target.name
        resolver = request.runtime.resolver(self.resolver)
        if resolver is None:
            request.error(f"no resolver defined to resolve {host}")
            found(target, None)
            return None
        over: list[bool] = []
        question = resolver.resolve(host, _answered(request, target, port, found, over))
        return None if over else question

    def _literal(self, address: Address) -> Upstream:
        """
        The upstream that is one address. Made once, for most variables have few values.
        """
        known = self._literals.get(address)
        if known is None:
            if len(self._literals) >= LITERALS:
                self._literals.clear()
            known = self._literals[address] = literal([address])
        return known


def _answered(request: Request, target: Target, port: int, found: Found, over: list[bool]) -> Callable[[Any], None]:
    """
    What hears of the addresses of a name.

    @param over: gets something to hold when it has.
    """
    host = target.name

    def answered(answer: Any) -> None:
        over.append(True)
        if isinstance(answer, ResolveFailure):
            request.error(f"{host} could not be resolved ({answer.code}: {answer.text})")
            request.run(found, target, None)
            return
        addresses = [address for one in answer if (address := numeric(one, port)) is not None]
        request.run(found, target, literal(addresses, host))

    return answered


def _portless(name: str) -> str:
    """
    A name without the port that C{$proxy_host} or C{$http_host} may have.
    """
    host, colon, port = name.rpartition(":")
    return host if colon and port.isdigit() and ("]" in host or ":" not in host) else name
