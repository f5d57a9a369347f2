"""
What the C{ssl_…} directives of a server say, and the TLS contexts that are made of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from sniproxy.config import values
from sniproxy.config.build import Build
from sniproxy.config.directives import MANY, Directive, Repeat, Scope
from sniproxy.config.grammar import Node
from sniproxy.errors import ConfigError
from sniproxy.stream import certificates
from sniproxy.tls.commands import FILES, check_name, perform
from sniproxy.tls.contexts import ServerContext, server_context
from sniproxy.tls.credentials import read_passwords
from sniproxy.tls.named import Contents, NamedContexts, Once, Pairs
from sniproxy.tls.pem import Read
from sniproxy.tls.policies import DEFAULT_PROTOCOLS, PROTOCOLS, ServerPolicy

if TYPE_CHECKING:
    from sniproxy.stream.session import Session

_PLACES: Final = ("stream", "stream.server")

T = Any


def protocols(node: Node, build: Build, scope: Scope) -> tuple[str, ...]:
    """
    C{ssl_protocols} and C{proxy_ssl_protocols}: words of L{PROTOCOLS}, added to those of the same directive before.
    """
    before = {word for node in scope.nodes.get(build.declared[node.name][0], ())[:-1] for word in node.args}
    for place, word in enumerate(node.args):
        if word not in PROTOCOLS:
            raise ConfigError(f'invalid value "{word}"')
        if word in before or word in node.args[:place]:
            build.warn(f'duplicate value "{word}"', node)
    return tuple(dict.fromkeys(node.args))


def joined(listed: tuple[tuple[str, ...], ...], default: tuple[str, ...]) -> tuple[str, ...]:
    """
    The words of a directive that may be repeated, each once.
    """
    return tuple(dict.fromkeys(word for words in listed for word in words)) or default


def passwords(node: Node, build: Build, scope: Scope) -> tuple[bytes, ...]:
    """
    The lines of a password file, which is read here and not again: it may be a FIFO.
    """
    return read_passwords(build.path(node.args[0]), build.read)


def conf_command(node: Node, build: Build, scope: Scope) -> tuple[str, str]:
    """
    C{ssl_conf_command NAME VALUE}; what the value means is found out when a context is made.
    """
    name, value = node.args
    check_name(name, value, node.name)
    return name, build.path(value) if name.lower() in FILES else value


def listed(name: str, convert: Callable[[Node, Build, Scope], Any], most: int = 1) -> Directive[tuple[Any, ...]]:
    """
    A directive that may be repeated in a block.
    """
    return Directive(name, _PLACES, (1, most), convert, (), repeat=Repeat.LISTED)


def single(name: str, convert: Callable[[Node, Build, Scope], Any], default: T, most: int = 1) -> Directive[T]:
    """
    A directive that stands once in a block.
    """
    return Directive(name, _PLACES, (1, most), convert, default)


def _alpn(node: Node, build: Build, scope: Scope) -> tuple[str, ...]:
    for word in node.args:
        if len(word) > 255:
            raise ConfigError("too long ALPN protocol")
    return node.args


CERTIFICATE: Final = listed("ssl_certificate", certificates.certificate)
CERTIFICATE_KEY: Final = listed("ssl_certificate_key", certificates.key)
CERTIFICATE_CACHE: Final = single("ssl_certificate_cache", certificates.cache, None, 3)
PASSWORD_FILE: Final = single("ssl_password_file", passwords, ())
PROTOCOLS_: Final[Directive[tuple[tuple[str, ...], ...]]] = listed("ssl_protocols", protocols, MANY)
CIPHERS: Final = single("ssl_ciphers", values.text, "HIGH:!aNULL:!MD5")
PREFER: Final = single("ssl_prefer_server_ciphers", values.flag, False)
CURVE: Final = single("ssl_ecdh_curve", values.text, "auto")
DHPARAM: Final = single("ssl_dhparam", values.path, "")
SESSION_CACHE: Final[Directive[tuple[tuple[str, ...], ...]]] = listed("ssl_session_cache", values.words, 2)
SESSION_TICKETS: Final = single("ssl_session_tickets", values.flag, True)
SESSION_TIMEOUT: Final = single("ssl_session_timeout", values.seconds, 300.0)
ALPN: Final = single("ssl_alpn", _alpn, (), MANY)
HANDSHAKE_TIMEOUT: Final = single("ssl_handshake_timeout", values.time, 60.0)
CLIENT_CERTIFICATE: Final = single("ssl_client_certificate", values.path, "")
TRUSTED_CERTIFICATE: Final = single("ssl_trusted_certificate", values.path, "")
CRL: Final = single("ssl_crl", values.path, "")
VERIFY_CLIENT: Final = single(
    "ssl_verify_client", values.one_of({word: word for word in ("off", "on", "optional", "optional_no_ca")}), "off"
)
VERIFY_DEPTH: Final = single("ssl_verify_depth", values.number, 1)
REJECT: Final = single("ssl_reject_handshake", values.flag, False)
CONF_COMMAND: Final[Directive[tuple[tuple[str, str], ...]]] = Directive(
    "ssl_conf_command", _PLACES, (2, 2), conf_command, (), repeat=Repeat.LISTED
)

DIRECTIVES: Final[tuple[Directive[Any], ...]] = (
    CERTIFICATE, CERTIFICATE_KEY, CERTIFICATE_CACHE, PASSWORD_FILE, PROTOCOLS_, CIPHERS, PREFER, CURVE, DHPARAM,
    SESSION_CACHE, SESSION_TICKETS, SESSION_TIMEOUT, ALPN, HANDSHAKE_TIMEOUT, CLIENT_CERTIFICATE, TRUSTED_CERTIFICATE,
    CRL, VERIFY_CLIENT, VERIFY_DEPTH, REJECT, CONF_COMMAND,
)  # fmt: skip


def _pairs(scope: Scope, where: tuple[str, int]) -> tuple[tuple[certificates.Name, certificates.Name], ...]:
    """
    Certificates with their keys.

    @raise ConfigError: a key is missing.
    """
    chains, keys = scope[CERTIFICATE], scope[CERTIFICATE_KEY]
    if chains and not keys:
        raise ConfigError('no "ssl_certificate_key" is defined for the "listen ... ssl" directive').at(*where)
    if len(keys) < len(chains):
        last = scope.where(CERTIFICATE)
        raise ConfigError(
            f'no "ssl_certificate_key" is defined for certificate "{last.args[0] if last else ""}"'
            ' and the "listen ... ssl" directive'
        ).at(*where)
    return tuple(zip(chains, keys, strict=False))


def context_of(
    scope: Scope, build: Build, where: tuple[str, int], reject: bool
) -> tuple[ServerContext, Callable[[Session], ServerContext] | None]:
    """
    The TLS context of one server that has a certificate, or refuses everybody.

    @param where: file and line of the C{listen} that wants it.
    @param reject: whether all that it does is to refuse.
    @return: the context; and what finds another one for each session, where certificates are named by variables.
    @raise ConfigError: in nginx's words.
    """
    pairs = _pairs(scope, where)
    varies = certificates.by_variable(pairs)
    policy = ServerPolicy(
        certificates=() if varies else pairs,  # type: ignore[arg-type]
        passwords=scope[PASSWORD_FILE],
        protocols=joined(scope[PROTOCOLS_], DEFAULT_PROTOCOLS),
        ciphers=scope[CIPHERS],
        prefer_server_ciphers=scope[PREFER],
        curves=scope[CURVE],
        dhparam=scope[DHPARAM],
        session_cache=tuple(word for words in scope[SESSION_CACHE] for word in words) or ("none",),
        session_tickets=scope[SESSION_TICKETS],
        session_timeout=scope[SESSION_TIMEOUT],
        alpn=scope[ALPN],
        verify=scope[VERIFY_CLIENT],
        depth=scope[VERIFY_DEPTH],
        client_certificate=scope[CLIENT_CERTIFICATE],
        trusted_certificate=scope[TRUSTED_CERTIFICATE],
        crl=scope[CRL],
        reject=reject,
        signatures=build.wants("ssl_sigalg", "ssl_client_sigalg"),
    )
    once = Once(build.read)
    commands = scope[CONF_COMMAND]
    if commands:
        policy, warnings = perform(policy, commands, CONF_COMMAND.name, once.read)
        tell(build, warnings, scope.where(CONF_COMMAND))
    if not varies:
        return server_context(policy, once.read, build.time), None
    nameless = server_context(replace(policy, unnamed=True), once.read, build.time)
    if reject:
        return nameless, None

    def make(found: Pairs, read: Read) -> ServerContext:
        return server_context(replace(policy, certificates=(*policy.certificates, *found)), read, build.time)

    contents = Contents(lambda path: build.live(path), scope[CERTIFICATE_CACHE])
    contexts: NamedContexts[ServerContext] = NamedContexts(make, contents, once.read)
    fill_in = certificates.names(pairs, build)

    def find(session: Session) -> ServerContext:
        try:
            return contexts.get(fill_in(session), session.runtime.now())
        except ConfigError as error:
            session.error(error.message.replace("SSL_CTX_use_", "SSL_use_", 1))
            return nameless

    return nameless, find


def tell(build: Build, warnings: Iterable[str], node: Node | None) -> None:
    """
    Warn once, where many servers inherit what it is about.
    """
    told: set[str] = build.shared.setdefault(tell, set())
    for warning in warnings:
        if warning not in told:
            told.add(warning)
            build.warn(warning, node)
