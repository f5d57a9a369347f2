"""
How is each part of a policy said to OpenSSL? One function for each group of directives; L{sniproxy.tls.contexts}
calls them on a context that has not made a connection yet.

Errors are L{ConfigError} in nginx's words, without a place; what cannot be done but does no harm is a warning in the
answer.

Security level: OpenSSL speaks TLS 1.0 and 1.1 only at level 0. As with nginx on Debian, C{ssl_protocols TLSv1} needs
C{@SECLEVEL=0} in C{ssl_ciphers}; where it is not there a warning says so.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterable
from functools import lru_cache
from ipaddress import ip_address
from typing import Final

from cryptography import x509
from OpenSSL import SSL, crypto

from sniproxy.errors import ConfigError
from sniproxy.tls import native, pem
from sniproxy.tls.credentials import Credentials, Known, load
from sniproxy.tls.files import Files, failed, wire
from sniproxy.tls.links import Link, note_links
from sniproxy.tls.policies import ClientPolicy, ServerPolicy

Policy = ServerPolicy | ClientPolicy

_NO_AUTO_CHAIN: Final = 0x8
"""
C{SSL_MODE_NO_AUTO_CHAIN}: send the chain of the file, never certificates of the trust store.
"""
_OPTIONS: Final = SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION | SSL.OP_IGNORE_UNEXPECTED_EOF

_VERSIONS: Final = {
    "TLSv1": (SSL.TLS1_VERSION, SSL.OP_NO_TLSv1),
    "TLSv1.1": (SSL.TLS1_1_VERSION, SSL.OP_NO_TLSv1_1),
    "TLSv1.2": (SSL.TLS1_2_VERSION, SSL.OP_NO_TLSv1_2),
    "TLSv1.3": (SSL.TLS1_3_VERSION, SSL.OP_NO_TLSv1_3),
}
_LEGACY: Final = ("TLSv1", "TLSv1.1")
_LEVEL: Final = re.compile(r"@SECLEVEL=(\d)")

_CACHE: Final = re.compile(
    r"off|none|builtin(?::(?P<sessions>\d+))?|shared:(?P<name>[^:]+):(?P<size>\d+)(?P<unit>[kKmM]?)"
)
_UNITS: Final = {"": 1, "k": 1024, "m": 1024 * 1024}
_SMALLEST_CACHE: Final = 8 * 4096


@lru_cache(maxsize=1024)
def is_address(name: str) -> bool:
    """
    Whether a name is an IP address, perhaps in brackets.
    """
    try:
        ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True


def _reason(error: SSL.Error) -> str:
    return " ".join(f"error:{library}::{text}" for library, _, text in (error.args[0] if error.args else ()))


def set_common(context: SSL.Context, policy: Policy) -> list[str]:
    """
    Modes, options, protocol versions and ciphers.
    """
    context.set_mode(_NO_AUTO_CHAIN | SSL.MODE_RELEASE_BUFFERS)
    context.set_options((_OPTIONS | policy.options) & ~policy.without)
    _set_ciphers(context, policy)
    if policy.tls13_ciphers:
        try:
            context.set_tls13_ciphersuites(wire(policy.tls13_ciphers))
        except SSL.Error:
            text = "error:0A0000B9:SSL routines::no cipher match"
            raise failed("SSL_CTX_set_ciphersuites", policy.tls13_ciphers, text) from None
    set_groups(context, policy)
    return _set_protocols(context, policy)


def _set_ciphers(context: SSL.Context, policy: Policy) -> None:
    """
    Without C{ssl_dhparam} a server leaves out ephemeral DH, which nginx does not speak then and OpenSSL 4 does, by RFC
    7919, at a high price in CPU time. A list of nothing else is left as it is.
    """
    if isinstance(policy, ServerPolicy) and not policy.dhparam:
        try:
            context.set_cipher_list(wire(f"{policy.ciphers}:!kDHE"))
            return
        except SSL.Error:
            pass
    try:
        context.set_cipher_list(wire(policy.ciphers))
    except SSL.Error:
        text = "error:0A0000B9:SSL routines::no cipher match"
        raise failed("SSL_CTX_set_cipher_list", policy.ciphers, text) from None


def set_groups(context: SSL.Context, policy: Policy) -> None:
    """
    Groups of the key exchange, and signature algorithms.
    """
    if not policy.curves:
        raise ConfigError('SSL_CTX_set1_curves_list("") failed')
    if policy.curves != "auto" and not native.set_groups(context, policy.curves):
        text = f"error:0A080106:SSL routines::passed invalid argument:group '{policy.curves}' cannot be set"
        raise failed("SSL_CTX_set1_curves_list", policy.curves, text)
    if policy.signature_algorithms:
        native.set_signature_algorithms(context, policy.signature_algorithms)


def _set_protocols(context: SSL.Context, policy: Policy) -> list[str]:
    wanted = [word for word in _VERSIONS if word in policy.protocols]
    warnings = [
        f'protocol "{word}" is not supported by {crypto_version()}'
        for word in policy.protocols
        if word not in _VERSIONS
    ]
    if not wanted:
        # nginx would start and refuse every handshake; the same here: no version is left.
        context.set_options(SSL.OP_NO_TLSv1 | SSL.OP_NO_TLSv1_1 | SSL.OP_NO_TLSv1_2 | SSL.OP_NO_TLSv1_3)
        return [*warnings, "no usable protocol is enabled, every handshake will fail"]
    context.set_min_proto_version(_VERSIONS[wanted[0]][0])
    context.set_max_proto_version(_VERSIONS[wanted[-1]][0])
    for word, (_, without) in _VERSIONS.items():
        if word not in wanted:
            context.set_options(without)
    levels = _LEVEL.findall(policy.ciphers)
    if not levels or levels[-1] != "0":
        warnings += [
            f'protocol "{word}" needs security level 0, add "@SECLEVEL=0" to the ciphers'
            for word in wanted
            if word in _LEGACY
        ]
    return warnings


def crypto_version() -> str:
    """
    @return: C{"OpenSSL 4.0.3"}.
    """
    return " ".join(SSL.OpenSSL_version(SSL.OPENSSL_VERSION).decode("ascii").split()[:2])


def use_credentials(context: SSL.Context, policy: Policy, files: Files, known: Known) -> tuple[Credentials, ...]:
    """
    Load what the policy names and give it to the context.

    @param known: what need not be loaded; what is loaded is added.
    """
    loaded = tuple(_loaded(chain, key, policy.passwords, files, known) for chain, key in policy.certificates)
    for each in loaded:
        try:
            if len(loaded) == 1:
                context.use_certificate(each.certificate)
                for link in each.chain:
                    context.add_extra_chain_cert(link)
            else:
                _use_chain(context, each)
        except SSL.Error as error:
            raise failed("SSL_CTX_use_certificate", each.certificate_path, _reason(error)) from None
        try:
            context.use_privatekey(each.key)
        except SSL.Error as error:
            raise failed("SSL_CTX_use_PrivateKey", each.key_path, _reason(error)) from None
    return loaded


def _loaded(chain: str, key: str, passwords: tuple[bytes, ...], files: Files, known: Known) -> Credentials:
    found = known.get((chain, key, passwords))
    if found is None:
        found = known[chain, key, passwords] = load(chain, key, passwords, files.read)
    else:
        for path in (chain, key):
            files.read(path)  # which makes it part of the digest
    return found


def _use_chain(context: SSL.Context, credentials: Credentials) -> None:
    """
    Give a certificate a chain that is its own. C{add_extra_chain_cert} fills one chain for all key types; only the
    call that reads a file keeps them apart, so it gets a file for a moment (certificates are no secret).
    """
    with tempfile.TemporaryDirectory(prefix="sniproxy-") as folder:
        path = os.path.join(folder, "chain.pem")
        with open(path, "wb") as file:
            file.write(pem.text(credentials.certificate, *credentials.chain))
        context.use_certificate_chain_file(path)


def set_key_exchange(context: SSL.Context, policy: ServerPolicy, files: Files) -> None:
    """
    C{ssl_dhparam}, C{ssl_prefer_server_ciphers}.
    """
    if policy.prefer_server_ciphers:
        context.set_options(SSL.OP_CIPHER_SERVER_PREFERENCE)
    if policy.dhparam:
        try:
            data = files.read(policy.dhparam)
        except OSError as error:
            raise failed("BIO_new_file", policy.dhparam, pem.read_failure(policy.dhparam, error)) from None
        if not native.set_dh_parameters(context, data):
            if native.has_dh_parameters(data):
                text = "error:0A00018A:SSL routines::dh key too small"
                raise failed("SSL_CTX_set_tmp_dh", policy.dhparam, text)
            text = f"{pem.NO_START}:Expecting: DH PARAMETERS"
            raise failed("PEM_read_bio_DHparams", policy.dhparam, text)


def set_sessions(context: SSL.Context, policy: ServerPolicy, resumes: bool) -> list[str]:
    """
    C{ssl_session_cache}, C{ssl_session_tickets}, C{ssl_session_timeout}, C{ssl_session_ticket_key}.

    @param resumes: whether sessions may be resumed at all.
    """
    if policy.session_ticket_key:
        raise ConfigError('"ssl_session_ticket_key" is not supported: pyOpenSSL cannot set ticket keys')
    mode, warnings = _cache_mode(policy.session_cache)
    context.set_timeout(max(1, int(policy.session_timeout)))
    if not (resumes and policy.session_tickets):
        context.set_options(SSL.OP_NO_TICKET)
    context.set_session_cache_mode(mode if resumes else SSL.SESS_CACHE_OFF)
    return warnings


def shared_cache(word: str) -> tuple[str, int] | None:
    """
    One word of C{ssl_session_cache}.

    @return: the name and the bytes of a cache that is shared; None for the other kinds.
    @raise ConfigError: as ngx_stream_ssl_session_cache.
    """
    match = _CACHE.fullmatch(word)
    if match is None:
        raise ConfigError(f'invalid session cache "{word}"')
    if match["size"] is None:
        return None
    size = int(match["size"]) * _UNITS[match["unit"].lower()]
    if size < _SMALLEST_CACHE:
        raise ConfigError(f'session cache "{word}" is too small')
    return match["name"], size


def _cache_mode(words: Iterable[str]) -> tuple[int, list[str]]:
    """
    @return: the C{SESS_CACHE_…} flags, and warnings.
    @raise ConfigError: see L{shared_cache}.
    """
    kind = ""
    warnings: list[str] = []
    for word in words:
        if shared_cache(word) is not None:
            kind = kind or "shared"
            warnings.append(f'session cache "{word}" is kept by each worker for itself and for each server alone')
            continue
        kind, _, sessions = word.partition(":")
        if sessions:
            warnings.append(f'session cache "{word}" has OpenSSL\'s size, 20480 sessions')
    # as nginx: of off, none and builtin the last one counts, and the first two leave a shared cache unused
    if kind == "off":
        return SSL.SESS_CACHE_OFF, []
    if kind == "none":
        return SSL.SESS_CACHE_SERVER | SSL.SESS_CACHE_NO_INTERNAL_STORE, []
    return SSL.SESS_CACHE_SERVER, warnings


def set_client_verification(context: SSL.Context, policy: ServerPolicy, files: Files, exact: bool) -> None:
    """
    C{ssl_verify_client} with all that belongs to it.

    @param exact: see L{set_verify}.
    """
    if policy.client_certificate:
        advertised = dict.fromkeys(files.authorities(policy.client_certificate))
        trust(context, advertised)
        names = set()
        for each in advertised:
            if each.subject.public_bytes() not in names:
                names.add(each.subject.public_bytes())
                context.add_client_ca(each)
    elif policy.verify != "optional_no_ca" and not policy.trusted_certificate:
        raise ConfigError("no ssl_client_certificate or ssl_trusted_certificate for ssl_verify_client")
    if policy.trusted_certificate:
        trust(context, files.authorities(policy.trusted_certificate))
    revoke(context, policy.crl, files)
    set_verify(context, policy.depth, exact)


def set_server_verification(context: SSL.Context, policy: ClientPolicy, files: Files, exact: bool) -> None:
    """
    C{proxy_ssl_verify} with all that belongs to it.
    """
    if not policy.trusted_certificate:
        raise ConfigError("no proxy_ssl_trusted_certificate for proxy_ssl_verify")
    trust(context, files.authorities(policy.trusted_certificate))
    revoke(context, policy.crl, files)
    set_verify(context, policy.depth, exact)


def _store(context: SSL.Context) -> crypto.X509Store:
    store = context.get_cert_store()
    assert store is not None  # pyOpenSSL answers None for a context without one, which there is not
    return store


def trust(context: SSL.Context, authorities: Iterable[x509.Certificate]) -> None:
    """
    Let chains end at C{authorities}.
    """
    store = _store(context)
    for each in authorities:
        store.add_cert(crypto.X509.from_cryptography(each))


def revoke(context: SSL.Context, path: str, files: Files) -> None:
    """
    Demand that every certificate of a chain is covered by the revocation lists at C{path}, if there is one.
    """
    if path:
        store = _store(context)
        for each in files.revocation_lists(path):
            store.add_crl(each)
        store.set_flags(crypto.X509StoreFlags.CRL_CHECK | crypto.X509StoreFlags.CRL_CHECK_ALL)


def set_verify(context: SSL.Context, depth: int, exact: bool) -> None:
    """
    Ask for the peer's certificate and note the links, whatever is wrong with them.

    @param exact: whether L{note_links} can be used; else pyOpenSSL's callback, after which OpenSSL's own
        result says nothing and sessions must not be resumed.
    """
    context.set_verify_depth(depth)
    if exact:
        note_links(context, SSL.VERIFY_PEER)
    else:
        context.set_verify(SSL.VERIFY_PEER, _note_publicly)


def _note_publicly(connection: SSL.Connection, certificate: crypto.X509, error: int, depth: int, ok: int) -> bool:
    links: list[Link] = connection.links  # it is one of ours
    links.append(Link(depth, 0 if ok else error, certificate._x509))
    return True


def select_alpn(ours: tuple[bytes, ...], connection: SSL.Connection, offered: list[bytes]) -> bytes:
    """
    The server's choice of protocol (RFC 7301 section 3.2): our first that the client offers.

    @raise SSL.Error: there is none; the client gets the alert no_application_protocol.
    """
    for each in ours:
        if each in offered:
            return each
    raise SSL.Error([("SSL routines", "", "no application protocol")])
