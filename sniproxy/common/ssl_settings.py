"""
What the C{ssl_…} directives of a server say, and the TLS contexts that are made of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

from sniproxy.common import certificates
from sniproxy.common.asking import Responder, responder_of
from sniproxy.common.contexts import HTTP_SERVERS, SERVERS, STREAM
from sniproxy.common.ocsp import ClientStatus, Memory, Stapler, Staples
from sniproxy.common.resolver import resolver
from sniproxy.common.runtime import attend
from sniproxy.common.zones import declare
from sniproxy.config import values
from sniproxy.config.build import Build
from sniproxy.config.directives import MANY, Directive, Repeat, Scope
from sniproxy.config.grammar import Node
from sniproxy.errors import ConfigError
from sniproxy.tls.commands import FILES, check_name, perform
from sniproxy.tls.contexts import ServerContext, server_context
from sniproxy.tls.credentials import read_passwords
from sniproxy.tls.files import Files, failed
from sniproxy.tls.named import Contents, NamedContexts, Pairs
from sniproxy.tls.ocsp import OcspError, load, responder
from sniproxy.tls.pem import Read, read_failure
from sniproxy.tls.policies import DEFAULT_PROTOCOLS, PROTOCOLS, ServerPolicy
from sniproxy.tls.settings import shared_cache

if TYPE_CHECKING:
    from sniproxy.common.session import Session

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


def listed(
    name: str, convert: Callable[[Node, Build, Scope], Any], most: int = 1, contexts: tuple[str, ...] = SERVERS
) -> Directive[tuple[Any, ...]]:
    """
    A directive that may be repeated in a block.
    """
    return Directive(name, contexts, (1, most), convert, (), repeat=Repeat.LISTED)


def single(
    name: str,
    convert: Callable[[Node, Build, Scope], Any],
    default: T,
    most: int = 1,
    contexts: tuple[str, ...] = SERVERS,
) -> Directive[T]:
    """
    A directive that stands once in a block.
    """
    return Directive(name, contexts, (1, most), convert, default)


def _alpn(node: Node, build: Build, scope: Scope) -> tuple[str, ...]:
    for word in node.args:
        if len(word) > 255:
            raise ConfigError('"ssl_alpn" directive protocol too long')
    return node.args


def _responder(node: Node, build: Build, scope: Scope) -> Responder:
    try:
        return responder_of(node.args[0], build.lookup)
    except ConfigError as error:
        raise ConfigError(f'{error.message} in "{node.name}"') from None


def _never(why: str) -> Callable[[Node, Build, Scope], bool]:
    """
    A flag that cannot be on.
    """

    def convert(node: Node, build: Build, scope: Scope) -> bool:
        if values.flag(node, build, scope):
            raise ConfigError(f'"{node.name}" is not supported by sniproxy: {why}')
        return False

    return convert


def _session_cache(node: Node, build: Build, scope: Scope) -> tuple[str, ...]:
    """
    What is shared is a zone in nginx, whose name has one use and one size.
    """
    for word in node.args:
        shared = shared_cache(word)
        if shared is not None:
            declare(build, *shared, f"{build.kind} {node.name}", node)
    return node.args


_OCSP_CACHE: Final = re.compile(r"shared:([^:]+):(.*)", re.DOTALL)
_SMALLEST: Final = 8 * 4096


def _ocsp_cache(node: Node, build: Build, scope: Scope) -> str:
    """
    @return: the name of the cache; empty for none.
    """
    word = node.args[0]
    if word == "off":
        return ""
    found = _OCSP_CACHE.fullmatch(word)
    size = None if found is None else values.size_of(found[2])
    if found is None or size is None:
        raise ConfigError(f'invalid OCSP cache "{word}"')
    if size < _SMALLEST:
        raise ConfigError(f'OCSP cache "{word}" is too small')
    declare(build, found[1], size, f"{build.kind} {node.name}", node)
    return found[1]


CERTIFICATE: Final = listed("ssl_certificate", certificates.certificate)
CERTIFICATE_KEY: Final = listed("ssl_certificate_key", certificates.key)
CERTIFICATE_CACHE: Final = single("ssl_certificate_cache", certificates.cache, None, 3)
PASSWORD_FILE: Final = single("ssl_password_file", passwords, ())
PROTOCOLS_: Final[Directive[tuple[tuple[str, ...], ...]]] = listed("ssl_protocols", protocols, MANY)
CIPHERS: Final = single("ssl_ciphers", values.text, "HIGH:!aNULL:!MD5")
PREFER: Final = single("ssl_prefer_server_ciphers", values.flag, False)
CURVE: Final = single("ssl_ecdh_curve", values.text, "auto")
DHPARAM: Final = single("ssl_dhparam", values.path, "")
SESSION_CACHE: Final[Directive[tuple[tuple[str, ...], ...]]] = listed("ssl_session_cache", _session_cache, 2)
SESSION_TICKETS: Final = single("ssl_session_tickets", values.flag, True)
SESSION_TIMEOUT: Final = single("ssl_session_timeout", values.seconds, 300.0)
ALPN: Final = single("ssl_alpn", _alpn, (), MANY, STREAM)
HANDSHAKE_TIMEOUT: Final = single("ssl_handshake_timeout", values.time, 60.0, contexts=STREAM)
CLIENT_CERTIFICATE: Final = single("ssl_client_certificate", values.path, "")
TRUSTED_CERTIFICATE: Final = single("ssl_trusted_certificate", values.path, "")
CRL: Final = single("ssl_crl", values.path, "")
VERIFY_CLIENT: Final = single(
    "ssl_verify_client", values.one_of({word: word for word in ("off", "on", "optional", "optional_no_ca")}), "off"
)
VERIFY_DEPTH: Final = single("ssl_verify_depth", values.number, 1)
REJECT: Final = single("ssl_reject_handshake", values.flag, False)
OCSP: Final = single("ssl_ocsp", values.one_of({word: word for word in ("off", "on", "leaf")}), "off")
OCSP_RESPONDER: Final[Directive[Responder | None]] = single("ssl_ocsp_responder", _responder, None)
OCSP_CACHE: Final = single("ssl_ocsp_cache", _ocsp_cache, "")
STAPLING: Final = single("ssl_stapling", values.flag, False)
STAPLING_FILE: Final = single("ssl_stapling_file", values.path, "")
STAPLING_RESPONDER: Final = single("ssl_stapling_responder", values.text, "")
STAPLING_VERIFY: Final = single("ssl_stapling_verify", values.flag, False)
CERTIFICATE_COMPRESSION: Final = single(
    "ssl_certificate_compression", _never("pyOpenSSL cannot compress certificates"), False
)
EARLY_DATA: Final = single(
    "ssl_early_data",
    _never("pyOpenSSL cannot read what comes before a handshake is over"),
    False,
    contexts=HTTP_SERVERS,
)
BUFFER_SIZE: Final[Directive[int]] = Directive(
    "ssl_buffer_size", HTTP_SERVERS, (1, 1), values.size, 16384, ignored="records are as long as what is sent at once"
)
CONF_COMMAND: Final[Directive[tuple[tuple[str, str], ...]]] = Directive(
    "ssl_conf_command", SERVERS, (2, 2), conf_command, (), repeat=Repeat.LISTED
)

DIRECTIVES: Final[tuple[Directive[Any], ...]] = (
    CERTIFICATE, CERTIFICATE_KEY, CERTIFICATE_CACHE, PASSWORD_FILE, PROTOCOLS_, CIPHERS, PREFER, CURVE, DHPARAM,
    SESSION_CACHE, SESSION_TICKETS, SESSION_TIMEOUT, ALPN, HANDSHAKE_TIMEOUT, CLIENT_CERTIFICATE, TRUSTED_CERTIFICATE,
    CRL, OCSP, OCSP_RESPONDER, OCSP_CACHE, STAPLING, STAPLING_FILE, STAPLING_RESPONDER, STAPLING_VERIFY,
    VERIFY_CLIENT, VERIFY_DEPTH, REJECT, CERTIFICATE_COMPRESSION, EARLY_DATA, BUFFER_SIZE, CONF_COMMAND,
)  # fmt: skip


def _pairs(scope: Scope, where: tuple[str, int]) -> tuple[tuple[certificates.Name, certificates.Name], ...]:
    """
    Certificates with their keys.

    @raise ConfigError: a key is missing.
    """
    chains, keys = scope[CERTIFICATE], scope[CERTIFICATE_KEY]
    if chains and not keys and not scope.context.startswith("http"):
        raise ConfigError('no "ssl_certificate_key" is defined for the "listen ... ssl" directive').at(*where)
    if len(keys) < len(chains):
        last = scope.where(CERTIFICATE)
        listens = "" if scope.context.startswith("http") else ' and the "listen ... ssl" directive'
        raise ConfigError(
            f'no "ssl_certificate_key" is defined for certificate "{last.args[0] if last else ""}"{listens}'
        ).at(*where)
    return tuple(zip(chains, keys, strict=False))


def context_of(
    scope: Scope, build: Build, where: tuple[str, int], reject: bool, alpn: tuple[str, ...] | None = None
) -> tuple[ServerContext, Callable[[Session], ServerContext] | None]:
    """
    The TLS context of one server that has a certificate, or refuses everybody.

    @param where: file and line of the C{listen} that wants it.
    @param reject: whether all that it does is to refuse.
    @param alpn: the protocols clients may choose from; None for what C{ssl_alpn} says.
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
        alpn=scope[ALPN] if alpn is None else alpn,
        verify=scope[VERIFY_CLIENT],
        depth=scope[VERIFY_DEPTH],
        client_certificate=scope[CLIENT_CERTIFICATE],
        trusted_certificate=scope[TRUSTED_CERTIFICATE],
        crl=scope[CRL],
        reject=reject,
        ocsp=scope[OCSP] != "off",
        signatures=build.wants("ssl_sigalg", "ssl_client_sigalg"),
    )
    once = certificates.once(build)
    staples: Staples | None = None
    if scope[STAPLING]:
        staples = Staples(_staple(scope[STAPLING_FILE], once.read))
        policy = replace(policy, staple=staples)
    commands = scope[CONF_COMMAND]
    if commands:
        policy, warnings = perform(policy, commands, CONF_COMMAND.name, once.read)
        tell(build, warnings, scope.where(CONF_COMMAND))
    if not varies:
        context = server_context(policy, once.read, build.time, once.credentials)
        if staples is not None and not scope[STAPLING_FILE]:
            _add_staplers(staples, context, scope, build, once.read)
        return context, None
    nameless = server_context(replace(policy, unnamed=True), once.read, build.time, once.credentials)
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


def client_status(scope: Scope, build: Build) -> ClientStatus | None:
    """
    What C{ssl_ocsp} says of one server.

    @raise ConfigError: in nginx's words.
    """
    if scope[OCSP] == "off" or scope[VERIFY_CLIENT] == "off":
        return None
    if scope[VERIFY_CLIENT] == "optional_no_ca":
        raise ConfigError('"ssl_ocsp" is incompatible with "ssl_verify_client optional_no_ca"')
    name = scope[OCSP_CACHE]
    memory = build.shared.setdefault((Memory, name), Memory()) if name else None
    return ClientStatus(scope[OCSP] == "leaf", scope[OCSP_RESPONDER], resolver(scope), memory)


def _staple(path: str, read: Read) -> bytes:
    """
    @param path: of C{ssl_stapling_file}, or empty.
    @raise ConfigError: in nginx's words.
    """
    if not path:
        return b""
    try:
        data = read(path)
    except OSError as error:
        raise failed("BIO_new_file", path, read_failure(path, error)) from None
    try:
        load(data)
    except OcspError:
        text = "error:0688010A:asn1 encoding routines::nested asn1 error"
        raise failed("d2i_OCSP_RESPONSE_bio", path, text) from None
    return data


def _add_staplers(staples: Staples, context: ServerContext, scope: Scope, build: Build, read: Read) -> None:
    """
    Find out who knows about each certificate; where nobody does there is a warning, as with nginx.

    @raise ConfigError: authorities cannot be read.
    """
    node = scope.where(STAPLING)
    files = Files(read)
    paths = [path for path in (scope[CLIENT_CERTIFICATE], scope[TRUSTED_CERTIFICATE]) if path]
    others = [authority for path in paths for authority in files.authorities(path)]
    for each in context.credentials:
        end = f'certificate "{each.certificate_path}"'
        issuer = next((other for other in (*each.chain, *others) if _issued(each.certificate, other)), None)
        if issuer is None:
            tell(build, [f'"ssl_stapling" ignored, issuer certificate not found for {end}'], node)
            continue
        url = scope[STAPLING_RESPONDER] or responder(each.certificate)
        if not url:
            tell(build, [f'"ssl_stapling" ignored, no OCSP responder URL in the {end}'], node)
            continue
        try:
            found = responder_of(url, build.lookup)
        except ConfigError as error:
            tell(build, [f'"ssl_stapling" ignored, {error.message} in the {end}'], node)
            continue
        stapler = Stapler(each.certificate, issuer, found, resolver(scope), scope[STAPLING_VERIFY])
        staples.add(stapler, each.certificate)
        attend(build, stapler.attend)


def _issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, ValueError, TypeError, UnsupportedAlgorithm):
        return False
    return True


def tell(build: Build, warnings: Iterable[str], node: Node | None) -> None:
    """
    Warn once, where many servers inherit what it is about.
    """
    told: set[str] = build.shared.setdefault(tell, set())
    for warning in warnings:
        if warning not in told:
            told.add(warning)
            build.warn(warning, node)
