"""
The C{proxy_ssl…} directives of ngx_stream_proxy_module and ngx_http_proxy_module: TLS with upstreams, and what it takes
to begin it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

from sniproxy.common import certificates, ssl_settings
from sniproxy.common.contexts import PLACES, STREAM
from sniproxy.common.ssl_settings import conf_command, joined, passwords, protocols, tell
from sniproxy.config import values
from sniproxy.config.build import Build
from sniproxy.config.directives import MANY, Directive, Repeat, Scope
from sniproxy.config.grammar import Node
from sniproxy.config.template import Template
from sniproxy.errors import ConfigError
from sniproxy.tls.commands import perform
from sniproxy.tls.contexts import ClientContext, client_context
from sniproxy.tls.credentials import Known
from sniproxy.tls.files import wire
from sniproxy.tls.named import Contents, NamedContexts, Pairs
from sniproxy.tls.pem import Read
from sniproxy.tls.policies import DEFAULT_PROTOCOLS, ClientPolicy
from sniproxy.tls.sessions import SessionCache

listed = partial(ssl_settings.listed, contexts=PLACES)
single = partial(ssl_settings.single, contexts=PLACES)

LONGEST: Final = 255
"""Bytes of a protocol's name (RFC 7301 section 3.1)."""


def _alpn(node: Node, build: Build, scope: Scope) -> tuple[Template, ...]:
    for word in node.args:
        if "$" not in word and not 0 < len(word) <= LONGEST:
            raise ConfigError(f'invalid ALPN protocol "{word}"')
    return tuple(build.template(word, node) for word in node.args)


PROXY_SSL: Final = Directive("proxy_ssl", STREAM, (1, 1), values.flag, False)
CERTIFICATE: Final[Directive[certificates.Name]] = single("proxy_ssl_certificate", certificates.certificate, "")
CERTIFICATE_KEY: Final[Directive[certificates.Name]] = single("proxy_ssl_certificate_key", certificates.key, "")
CERTIFICATE_CACHE: Final = single("proxy_ssl_certificate_cache", certificates.cache, None, 3)
PASSWORD_FILE: Final = single("proxy_ssl_password_file", passwords, ())
PROTOCOLS: Final[Directive[tuple[tuple[str, ...], ...]]] = listed("proxy_ssl_protocols", protocols, MANY)
CIPHERS: Final = single("proxy_ssl_ciphers", values.text, "DEFAULT")
TRUSTED_CERTIFICATE: Final = single("proxy_ssl_trusted_certificate", values.path, "")
CRL: Final = single("proxy_ssl_crl", values.path, "")
VERIFY: Final = single("proxy_ssl_verify", values.flag, False)
VERIFY_DEPTH: Final = single("proxy_ssl_verify_depth", values.number, 1)
NAME: Final[Directive[Template | None]] = single("proxy_ssl_name", values.template(), None)
SERVER_NAME: Final = single("proxy_ssl_server_name", values.flag, False)
ALPN: Final = single("proxy_ssl_alpn", _alpn, (), MANY)
SESSION_REUSE: Final = single("proxy_ssl_session_reuse", values.flag, True)
CONF_COMMAND: Final[Directive[tuple[tuple[str, str], ...]]] = Directive(
    "proxy_ssl_conf_command", PLACES, (2, 2), conf_command, (), repeat=Repeat.LISTED
)

DIRECTIVES: Final[tuple[Directive[Any], ...]] = (
    PROXY_SSL, CERTIFICATE, CERTIFICATE_KEY, CERTIFICATE_CACHE, PASSWORD_FILE, PROTOCOLS, CIPHERS, TRUSTED_CERTIFICATE,
    CRL, VERIFY, VERIFY_DEPTH, NAME, SERVER_NAME, ALPN, SESSION_REUSE, CONF_COMMAND,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class UpstreamTls:
    """
    What one server, or one location, needs for TLS with its upstreams.

    @ivar context: what connections are made from.
    @ivar sessions: those that may be resumed.
    @ivar name: what an upstream's certificate must carry; None for the name in C{proxy_pass}.
    @ivar send_name: whether the name is sent (SNI).
    @ivar alpn: what finds the protocols to offer to a session's upstream, where they are not those of the context.
    @ivar find: what finds the one of these with a session's certificate, where that is named by variables; raises
        L{ConfigError}.
    """

    context: ClientContext
    sessions: SessionCache
    name: Template | None
    send_name: bool
    alpn: Callable[[Any], tuple[str, ...]] | None = None
    find: Callable[[Any], UpstreamTls] | None = None


def upstream_tls(scope: Scope, build: Build) -> UpstreamTls | None:
    """
    What a server of C{stream} says.

    @return: None where upstreams are spoken to in plain.
    @raise ConfigError: in nginx's words.
    """
    return _made(scope, build) if scope[PROXY_SSL] else None


def location_tls(scope: Scope, build: Build) -> UpstreamTls:
    """
    What a location says that passes to C{https://}. Locations that say nothing of it themselves share what the block
    around them says, and with it the sessions that may be resumed.

    @raise ConfigError: in nginx's words.
    """
    said = scope
    while said.parent is not None and not any(said.has(directive) for directive in DIRECTIVES):
        said = said.parent
    key = (location_tls, said)
    known: UpstreamTls | None = build.shared.get(key)
    if known is None:
        known = build.shared[key] = _made(scope, build)
    return known


def _made(scope: Scope, build: Build) -> UpstreamTls:
    pairs: tuple[tuple[certificates.Name, certificates.Name], ...] = ()
    if scope[CERTIFICATE]:
        if not scope[CERTIFICATE_KEY]:
            node = scope.where(CERTIFICATE)
            raise ConfigError(
                f'no "proxy_ssl_certificate_key" is defined for certificate "{node.args[0] if node else ""}"'
            )
        pairs = ((scope[CERTIFICATE], scope[CERTIFICATE_KEY]),)
    if scope[VERIFY] and not scope[TRUSTED_CERTIFICATE]:
        raise ConfigError("no proxy_ssl_trusted_certificate for proxy_ssl_verify")
    varies = certificates.by_variable(pairs)
    offered = scope[ALPN]
    fixed = all(each.constant is not None for each in offered)
    policy = ClientPolicy(
        certificates=() if varies else pairs,  # type: ignore[arg-type]
        passwords=scope[PASSWORD_FILE],
        protocols=joined(scope[PROTOCOLS], DEFAULT_PROTOCOLS),
        ciphers=scope[CIPHERS],
        verify=scope[VERIFY],
        depth=scope[VERIFY_DEPTH],
        trusted_certificate=scope[TRUSTED_CERTIFICATE],
        crl=scope[CRL],
        alpn=tuple(each.text for each in offered) if fixed else (),
        session_reuse=scope[SESSION_REUSE],
    )
    once = certificates.once(build)
    commands = scope[CONF_COMMAND]
    if commands:
        policy, warnings = perform(policy, commands, CONF_COMMAND.name, once.read)
        tell(build, warnings, scope.where(CONF_COMMAND))

    def make(found: Pairs, read: Read, known: Known | None = None) -> UpstreamTls:
        named = replace(policy, certificates=(*policy.certificates, *found))
        context = client_context(named, read, build.time, known)
        alpn = None if fixed else _offering(offered)
        return UpstreamTls(context, SessionCache(context), scope[NAME], scope[SERVER_NAME], alpn)

    first = make((), once.read, once.credentials)
    if not varies:
        return first
    contexts: NamedContexts[UpstreamTls] = NamedContexts(
        make, Contents(lambda path: build.live(path), scope[CERTIFICATE_CACHE]), once.read
    )
    fill_in = certificates.names(pairs, build, optional=True)

    def find(subject: Any) -> UpstreamTls:
        found = fill_in(subject)
        return contexts.get(found, subject.runtime.now()) if found else first

    return replace(first, find=find)


def _offering(offered: tuple[Template, ...]) -> Callable[[Any], tuple[str, ...]]:
    """
    What fills in C{proxy_ssl_alpn}; what is empty then, or too long, is not offered.
    """

    def offer(subject: Any) -> tuple[str, ...]:
        return tuple(text for each in offered if 0 < len(wire(text := each.render(subject))) <= LONGEST)

    return offer
