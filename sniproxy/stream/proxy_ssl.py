"""
The C{proxy_ssl…} directives of ngx_stream_proxy_module: TLS with upstreams, and what it takes to begin it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from sniproxy.config import values
from sniproxy.config.build import Build
from sniproxy.config.directives import MANY, Directive, Repeat, Scope
from sniproxy.config.grammar import Node
from sniproxy.config.template import Template
from sniproxy.errors import ConfigError
from sniproxy.stream.ssl import conf_command, passwords, plain_path, protocols, single, tell
from sniproxy.tls.commands import perform
from sniproxy.tls.contexts import ClientContext, client_context
from sniproxy.tls.policies import DEFAULT_PROTOCOLS, ClientPolicy
from sniproxy.tls.sessions import SessionCache

_PLACES: Final = ("stream", "stream.server")


def _alpn(node: Node, build: Build, scope: Scope) -> tuple[str, ...]:
    for word in node.args:
        if "$" in word:
            raise ConfigError(f'"{node.name}" takes no variables in sniproxy yet')
        if not 0 < len(word) <= 255:
            raise ConfigError(f'invalid ALPN protocol "{word}"')
    return node.args


PROXY_SSL: Final = single("proxy_ssl", values.flag, False)
CERTIFICATE: Final = single("proxy_ssl_certificate", plain_path, "")
CERTIFICATE_KEY: Final = single("proxy_ssl_certificate_key", plain_path, "")
PASSWORD_FILE: Final = single("proxy_ssl_password_file", passwords, ())
PROTOCOLS: Final = single("proxy_ssl_protocols", protocols, DEFAULT_PROTOCOLS, MANY)
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
    "proxy_ssl_conf_command", _PLACES, (2, 2), conf_command, (), repeat=Repeat.LISTED
)

DIRECTIVES: Final[tuple[Directive[Any], ...]] = (
    PROXY_SSL, CERTIFICATE, CERTIFICATE_KEY, PASSWORD_FILE, PROTOCOLS, CIPHERS, TRUSTED_CERTIFICATE, CRL, VERIFY,
    VERIFY_DEPTH, NAME, SERVER_NAME, ALPN, SESSION_REUSE, CONF_COMMAND,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class UpstreamTls:
    """
    What one server needs for TLS with its upstreams.

    @ivar context: what connections are made from.
    @ivar sessions: those that may be resumed.
    @ivar name: what an upstream's certificate must carry; None for the name in C{proxy_pass}.
    @ivar send_name: whether the name is sent (SNI).
    """

    context: ClientContext
    sessions: SessionCache
    name: Template | None
    send_name: bool


def upstream_tls(scope: Scope, build: Build) -> UpstreamTls | None:
    """
    @return: None where upstreams are spoken to in plain.
    @raise ConfigError: in nginx's words.
    """
    if not scope[PROXY_SSL]:
        return None
    certificates: tuple[tuple[str, str], ...] = ()
    if scope[CERTIFICATE]:
        if not scope[CERTIFICATE_KEY]:
            node = scope.where(CERTIFICATE)
            raise ConfigError(
                f'no "proxy_ssl_certificate_key" is defined for certificate "{node.args[0] if node else ""}"'
            )
        certificates = ((scope[CERTIFICATE], scope[CERTIFICATE_KEY]),)
    if scope[VERIFY] and not scope[TRUSTED_CERTIFICATE]:
        raise ConfigError("no proxy_ssl_trusted_certificate for proxy_ssl_verify")
    policy = ClientPolicy(
        certificates=certificates,
        passwords=scope[PASSWORD_FILE],
        protocols=scope[PROTOCOLS],
        ciphers=scope[CIPHERS],
        verify=scope[VERIFY],
        depth=scope[VERIFY_DEPTH],
        trusted_certificate=scope[TRUSTED_CERTIFICATE],
        crl=scope[CRL],
        alpn=scope[ALPN],
        session_reuse=scope[SESSION_REUSE],
    )
    commands = scope[CONF_COMMAND]
    if commands:
        policy, warnings = perform(policy, commands, CONF_COMMAND.name, build.read)
        tell(build, warnings, scope.where(CONF_COMMAND))
    context = client_context(policy, build.read, build.time)
    return UpstreamTls(context, SessionCache(context), scope[NAME], scope[SERVER_NAME])
