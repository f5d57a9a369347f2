"""
ngx_http_proxy_module: what the directives of one location come to.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from twisted.plugin import IPlugin
from zope.interface import implementer

from sniproxy.addresses import Address
from sniproxy.common import proxy_ssl
from sniproxy.common.keepalive import DEFAULT
from sniproxy.common.listen import TCP_NODELAY
from sniproxy.common.proxy_bind import BIND
from sniproxy.common.resolver import resolver
from sniproxy.common.upstream import Upstream, groups, implicit, literal
from sniproxy.config.build import Build
from sniproxy.config.directives import Scope
from sniproxy.config.grammar import Node
from sniproxy.config.template import Template, Variable
from sniproxy.errors import ConfigError
from sniproxy.http import proxy_settings as said
from sniproxy.http.keepalive import Pool
from sniproxy.http.proxy_headers import HeaderPlan, forwarded_for
from sniproxy.http.proxy_policy import ProxyPolicy
from sniproxy.http.proxy_replies import ReplyPlan, keep
from sniproxy.http.proxy_rewrites import Cookies, Rewrite, listed
from sniproxy.http.proxy_target import Target, target_of
from sniproxy.http.proxying import STATUSES
from sniproxy.interfaces import IModule
from sniproxy.net.connect import ConnectOptions

if TYPE_CHECKING:
    from sniproxy.common.server import Server
    from sniproxy.http.place import Place
    from sniproxy.http.request import Request

NO_URI: Final = (
    '"proxy_pass" cannot have URI part in location given by regular expression, or inside named location, or inside '
    '"if" statement, or inside "limit_except" block'
)


def _static(target: Target, node: Node, build: Build) -> Upstream:
    """
    The upstream of a C{proxy_pass} without variables.
    """
    written = target.written
    if written.family == "unix":
        key = (literal, target.address)
        known: Upstream | None = build.shared.get(key)
        if known is None:
            known = literal([Address("unix", written.host)], written.text)
            known.keepalive = DEFAULT
            build.shared[key] = known
        return known
    group = groups(build, "http").get(target.address.lower())
    if group is not None:
        return group
    return implicit(build, written.host, int(target.port), node, "http")


def _known(build: Build) -> Callable[[str, int | None], Upstream | None]:
    """
    What finds the upstreams that were written down somewhere.
    """
    named = groups(build, "http")
    shared = build.shared

    def find(host: str, port: int | None) -> Upstream | None:
        if port is None:
            return named.get(host.lower())
        found: Upstream | None = shared.get((implicit, "http", host.lower(), port))
        return found

    return find


def _pooling(build: Build) -> Callable[[Upstream], Pool | None]:
    """
    What makes the pools of one location.
    """
    shared = build.shared

    def pooled(upstream: Upstream) -> Pool | None:
        settings = upstream.keepalive
        if settings is None or not settings.connections:
            return None
        if settings.local:
            return Pool(settings)
        key = (Pool, upstream)
        known: Pool | None = shared.get(key)
        if known is None:
            known = shared[key] = Pool(settings)
        return known

    return pooled


def _redirects(scope: Scope, place: Place, target: Target | None, text: Template, build: Build) -> list[Rewrite]:
    """
    What is done to redirections.

    @raise ConfigError: C{default} where nothing is known that it could mean.
    """
    found = scope[said.REDIRECT] or (said.DEFAULT,)
    if None in found:
        return []
    rewrites: list[Rewrite] = []
    for each in found:
        if isinstance(each, Rewrite):
            rewrites.append(each)
        elif target is None:
            if scope[said.REDIRECT]:
                raise ConfigError('"proxy_redirect default" cannot be used with "proxy_pass" directive with variables')
        else:
            node = scope.where(said.PROXY_PASS)
            assert node is not None
            uri, name = (text.text, place.name) if target.uri else (text.text + "/", "/")
            rewrites.append(Rewrite(build.template(uri, node), build.template(name.replace("$", ""), node)))
    return rewrites


def _cookies(scope: Scope) -> Cookies | None:
    domains, paths, flags = scope[said.COOKIE_DOMAIN], scope[said.COOKIE_PATH], scope[said.COOKIE_FLAGS]
    cookies = Cookies(listed(domains), listed(paths), listed(flags))
    return cookies if cookies.domains or cookies.paths or cookies.flags else None


def _statuses(scope: Scope) -> dict[int, int]:
    wanted = scope[said.NEXT_UPSTREAM]
    return {status: kind for status, kind in STATUSES.items() if wanted & kind}


def policy_of(place: Place, build: Build, text: Template, node: Node) -> ProxyPolicy:
    """
    What one place says.

    @raise ConfigError: in nginx's words.
    """
    scope = place.scope
    sets, passes = scope[said.SET_HEADER], scope[said.PASS_HEADERS]
    hide, let_pass, ignored = scope[said.HIDE_HEADER], scope[said.PASS_HEADER], scope[said.IGNORE_HEADERS]
    target = None
    upstream = None
    if text.constant is not None:
        target = target_of(text.constant)
        if target.uri and (place.around is not None or place.regex is not None or place.name.startswith("@")):
            raise ConfigError(NO_URI)
        upstream = _static(target, node, build)
    may_be_secure = target.secure if target is not None else not text.text.startswith("http://")
    tls = None
    if may_be_secure:
        tls = proxy_ssl.location_tls(scope, build)
        for warning in tls.context.warnings:
            build.warn(warning, node)
    return ProxyPolicy(
        text=text,
        target=target,
        upstream=upstream,
        known=_known(build),
        prefix=len(place.name),
        pooled=_pooling(build),
        resolver=resolver(scope),
        headers=HeaderPlan(sets, passes),
        replies=ReplyPlan(
            hide,
            let_pass,
            ignored,
            _redirects(scope, place, target, text, build),
            _cookies(scope),
            scope[said.PASS_TRAILERS],
        ),
        connect=ConnectOptions(
            nodelay=scope[TCP_NODELAY],
            keepalive=scope[said.SOCKET_KEEPALIVE],
            receive_buffer=scope[said.SOCKET_RCVBUF],
            send_buffer=scope[said.SOCKET_SNDBUF],
            speaks_first=True,
        ),
        local=scope[BIND],
        tls=tls,
        version=scope[said.VERSION],
        method=scope[said.METHOD],
        set_body=scope[said.SET_BODY],
        pass_body=scope[said.PASS_BODY],
        request_buffering=scope[said.REQUEST_BUFFERING],
        buffering=scope[said.BUFFERING],
        buffers=scope[said.BUFFERS],
        buffer_size=scope[said.BUFFER_SIZE],
        connect_timeout=scope[said.CONNECT_TIMEOUT],
        send_timeout=scope[said.SEND_TIMEOUT],
        read_timeout=scope[said.READ_TIMEOUT],
        next_upstream=scope[said.NEXT_UPSTREAM],
        next_statuses=_statuses(scope),
        next_tries=scope[said.NEXT_TRIES],
        next_timeout=scope[said.NEXT_TIMEOUT],
        intercept=scope[said.INTERCEPT],
        pass_trailers=scope[said.PASS_TRAILERS],
        ignore_client_abort=scope[said.IGNORE_ABORT],
    )


# Variables.


def _target_of(request: Request) -> Target | None:
    policy = request.place.content
    if isinstance(policy, ProxyPolicy) and policy.target is not None:
        return policy.target
    found: Target | None = request.notes.get(Target)
    return found


def _host(request: Request) -> str | None:
    target = _target_of(request)
    return None if target is None else target.host


def _port(request: Request) -> str | None:
    target = _target_of(request)
    return None if target is None else target.port


@implementer(IPlugin, IModule)
class HttpProxy:
    """
    The module.
    """

    name = "http_proxy"
    directives = said.DIRECTIVES
    variables = (
        Variable("proxy_host", _host, volatile=True, kind="http"),
        Variable("proxy_port", _port, volatile=True, kind="http"),
        Variable("proxy_add_x_forwarded_for", forwarded_for, volatile=True, kind="http"),
    )

    def prepare(self, build: Build) -> None:
        """
        @see: L{IModule.prepare}
        """

    def attach(self, server: Server, build: Build) -> None:
        """
        Nothing is passed on by HTTP in a stream server.
        """

    def attach_place(self, place: Place, build: Build) -> None:
        """
        @see: L{sniproxy.interfaces.IModule.attach}
        """
        scope = place.scope
        place.filter(keep)
        text = scope[said.PROXY_PASS]
        node = scope.where(said.PROXY_PASS)
        if text is None or node is None:
            return
        try:
            policy = policy_of(place, build, text, node)
        except ConfigError as error:
            build.error(error, node)
            return
        place.take_content(policy, node)
        if place.around is None and place.name.endswith("/"):
            place.redirects = True


http_proxy = HttpProxy()
