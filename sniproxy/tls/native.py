"""
What can only be had from pyOpenSSL's private cffi bindings? All of it is here, but for the bytes themselves, which
C{net/channel.py} carries by them, and what C{tls/lean.py} and C{tls/links.py} do for each connection; nothing else
touches them.

Strategy: a client certificate is decided I{after} the handshake by C{SSL_get_verify_result}, which a session carries
from a full handshake to the resumed ones. The verify callback must therefore let the handshake go on I{without
clearing the error}. pyOpenSSL's own wrapper of Python callbacks clears it, and a certificate refused once would come
in with its ticket; so the callback is a bare cffi function, one for the whole process, that notes each link on the
connection and answers 1 (L{sniproxy.tls.links}).

Where a binding is gone (L{missing}), contexts are built to fail closed: pyOpenSSL's public callback notes the links,
the decision falls by them, and no session is ever resumed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, Final

from cryptography import x509
from OpenSSL import SSL, crypto

if TYPE_CHECKING:
    from sniproxy.tls.links import Link

_lib: Final[Any] = SSL._lib  # type: ignore[attr-defined]
_ffi: Final[Any] = SSL._ffi  # type: ignore[attr-defined]

BINDINGS: Final = (
    "SSL_CTX_set_verify",
    "SSL_get_verify_result",
    "SSL_session_reused",
    "SSL_get_session",
    "SSL_get_ex_data_X509_STORE_CTX_idx",
    "X509_STORE_CTX_get_ex_data",
    "X509_STORE_CTX_get_error",
    "X509_STORE_CTX_get_error_depth",
    "X509_STORE_CTX_get_current_cert",
    "X509_up_ref",
    "X509_free",
    "i2d_SSL_SESSION",
)
"""
What a decision that holds on resumption stands on.
"""
ATTRIBUTES: Final = ((SSL.Connection, "_reverse_mapping"),)


def missing() -> tuple[str, ...]:
    """
    @return: those of L{BINDINGS} and L{ATTRIBUTES} that this pyOpenSSL lacks.
    """
    return tuple(name for name in BINDINGS if not hasattr(_lib, name)) + tuple(
        name for owner, name in ATTRIBUTES if not hasattr(owner, name)
    )


@lru_cache(maxsize=512)
def _parsed(der: bytes) -> x509.Certificate:
    return x509.load_der_x509_certificate(der)


def readable(certificate: crypto.X509) -> x509.Certificate:
    """
    A certificate as C{cryptography} has it. The same ones come again and again: they are read once.

    @raise ValueError: C{cryptography} cannot read it.
    """
    return read(certificate._x509)


def read(certificate: Any) -> x509.Certificate:
    """
    The same of what OpenSSL has.

    @param certificate: C{X509 *}.
    @raise ValueError: C{cryptography} cannot read it.
    """
    return _parsed(_der(certificate))


_ROOM: Final = 1 << 14
_certificate: Final[Any] = _ffi.new("char[]", _ROOM)
"""What is copied out of the BIO, which each call leaves empty; one of both serves the whole process."""


@cache
def _scratch() -> Any:
    """
    A BIO in memory.
    """
    return _ffi.gc(_lib.BIO_new(_memory()), _lib.BIO_free)


def _der(certificate: Any) -> bytes:
    """
    @param certificate: C{X509 *}.
    """
    bio = _scratch()
    _lib.i2d_X509_bio(bio, certificate)
    found = b""
    while (size := _lib.BIO_read(bio, _certificate, _ROOM)) > 0:
        found += _ffi.unpack(_certificate, size)
    return found


def peer_certificate(connection: SSL.Connection) -> x509.Certificate | None:
    """
    @return: the peer's; None where it has sent none.
    @raise ValueError: C{cryptography} cannot read it.
    """
    shown = _lib.SSL_get_peer_certificate(connection._ssl)
    if not shown:
        return None
    try:
        return _parsed(_der(shown))
    finally:
        _lib.X509_free(shown)


_UNRECOGNIZED_NAME: Final = 112
"""RFC 6066 section 3."""


def _reject(ssl: Any, alert: Any, argument: Any) -> int:
    """
    OpenSSL calls this when it has read a ClientHello and agreed on a version, and has answered nothing.
    """
    alert[0] = _UNRECOGNIZED_NAME
    return int(_lib.SSL_TLSEXT_ERR_ALERT_FATAL)


_rejecting: Final = _ffi.callback("int (*)(SSL *, int *, void *)", _reject, error=_lib.SSL_TLSEXT_ERR_ALERT_FATAL)


def reject_hellos(context: SSL.Context) -> None:
    """
    Let no handshake of C{context} get beyond the ClientHello, whether it has a name or not: the far end gets the alert
    unrecognized_name and nothing else.
    """
    _lib.SSL_CTX_set_tlsext_servername_callback(context._context, _rejecting)


_HANDSHAKE: Final = 22

Heard = Callable[[Any, bool, bytes], None]


def show_handshakes(context: SSL.Context, hear: Heard) -> None:
    """
    Show each handshake message of C{context}'s connections to C{hear}: the connection, whether we send it, and the
    message with its header. Without the binding nothing is shown.
    """

    def show(sent: int, version: int, kind: int, data: Any, length: int, ssl: Any, argument: Any) -> None:
        if kind == _HANDSHAKE:
            connection = SSL.Connection._reverse_mapping.get(ssl)
            if connection is not None:
                hear(connection, bool(sent), bytes(_ffi.buffer(data, length)))

    if hasattr(_lib, "SSL_CTX_set_msg_callback"):
        # what it raises goes nowhere: OpenSSL asks for no answer
        shown = _ffi.callback("void (*)(int, int, int, const void *, size_t, SSL *, void *)", show, onerror=_quiet)
        _lib.SSL_CTX_set_msg_callback(context._context, shown)
        context._shown_to = shown  # type: ignore[attr-defined]  # lives as long as the context


def _quiet(kind: Any, error: Any, traceback: Any) -> None:
    """
    Called from C: nothing may be raised, and nothing depends on what was not heard.
    """


def cipher_name(connection: SSL.Connection, code: int) -> str:
    """
    @param code: of the registry of cipher suites.
    @return: OpenSSL's name; empty where it knows none.
    """
    cipher = _lib.SSL_CIPHER_find(connection._ssl, code.to_bytes(2, "big"))
    return "" if cipher == _ffi.NULL else str(_ffi.string(_lib.SSL_CIPHER_get_name(cipher)).decode("ascii"))


def _none(ssl: Any, argument: Any) -> int:
    """
    OpenSSL calls this when it needs a certificate.
    """
    return 0


_without: Final = _ffi.callback("int (*)(SSL *, void *)", _none, error=0)


def fail_for_certificates(context: SSL.Context) -> None:
    """
    Let every handshake of C{context} end where a certificate is needed, as that of nginx when it cannot be loaded.
    Without the binding they end a little later, for the want of one.
    """
    if hasattr(_lib, "SSL_CTX_set_cert_cb"):
        _lib.SSL_CTX_set_cert_cb(context._context, _without, _ffi.NULL)


def verify_result(connection: SSL.Connection) -> int:
    """
    @return: the last error of the chain's verification, from the session where it was resumed; 0 for none.
    """
    return int(_lib.SSL_get_verify_result(connection._ssl))


def session_reused(connection: SSL.Connection) -> bool:
    """
    Whether the handshake resumed a session. Without the binding nothing is resumed.
    """
    if not hasattr(_lib, "SSL_session_reused"):
        return False
    return bool(_lib.SSL_session_reused(connection._ssl))


def stop_at_records_without_data(connection: SSL.Connection) -> None:
    """
    Let a read of C{connection} give up (C{WantReadError}) after each record that bears no data, instead of going on to
    the next (C{SSL_MODE_AUTO_RETRY}): a peer that sends key updates without end would keep it from ever returning.
    Without the binding it stays as it is.
    """
    if hasattr(_lib, "SSL_clear_mode"):
        _lib.SSL_clear_mode(connection._ssl, _lib.SSL_MODE_AUTO_RETRY)


_PARTS: Final = frozenset(
    (
        "_alpn_select_callback_args _app_data _context _cookie_generate_helper _cookie_verify_helper _from_ssl"
        " _into_ssl _socket _ssl _verify_callback _verify_helper"
    ).split()
)
"""
What pyOpenSSL's constructor puts into a connection.
"""
_MAKERS: Final = (
    "SSL_new",
    "SSL_free",
    "BIO_new",
    "BIO_s_mem",
    "SSL_set_bio",
    "SSL_set_accept_state",
    "SSL_set_connect_state",
    "SSL_CTX_clear_mode",
)


@cache
def familiar() -> bool:
    """
    Whether pyOpenSSL's connections are made of what we know, so that L{sniproxy.tls.lean} can make them, for a fifth of
    what the constructor costs.
    """
    made = vars(SSL.Connection(SSL.Context(SSL.TLS_METHOD), None))
    return made.keys() == _PARTS and all(hasattr(_lib, name) for name in _MAKERS)


def ready(context: SSL.Context) -> SSL.Context:
    """
    @return: the same one, for connections to be made of by hand; pyOpenSSL changes it no more.
    """
    if familiar():
        _lib.SSL_CTX_clear_mode(context._context, _lib.SSL_MODE_AUTO_RETRY)  # see stop_at_records_without_data
        context._used = True
    return context


@cache
def _memory() -> Any:
    """
    What kind of BIO: a constant of OpenSSL's.
    """
    return _lib.BIO_s_mem()


class TLSConnection(SSL.Connection):
    """
    A pyOpenSSL connection that remembers what was found out about its peer. What is of the class here is the same in
    all connections that L{sniproxy.tls.lean} has made.

    @ivar links: what the verify callback noted, in order; empty after a resumed handshake.
    @ivar good_until: when a session of this connection stops being good, in seconds since the epoch; None as long as
        the peer was not judged, or was refused.
    @ivar offered_until: the same of the session that was offered, if one was.
    @ivar share: the only group that a key share was sent of; empty where OpenSSL has chosen.
    @ivar signature: the number of the scheme we have signed by; 0 where we have not, or it is not noted.
    @ivar peer_signature: the same of the peer.
    """

    _alpn_select_callback_args = None
    _app_data = None
    _cookie_generate_helper = None
    _cookie_verify_helper = None
    _socket = None
    _verify_callback = None
    _verify_helper = None

    share = ""
    signature = 0
    peer_signature = 0
    good_until: float | None = None
    offered_until: float | None = None

    def __init__(self, context: SSL.Context) -> None:
        super().__init__(context, None)
        stop_at_records_without_data(self)
        self.links: list[Link] = []


def session_der(connection: SSL.Connection) -> bytes:
    """
    @return: the connection's session as C{i2d_SSL_SESSION} writes it; empty where there is none.
    """
    session = _lib.SSL_get_session(connection._ssl)
    length = 0 if session == _ffi.NULL else _lib.i2d_SSL_SESSION(session, _ffi.NULL)
    if length <= 0:
        return b""
    buffer = _ffi.new("unsigned char[]", length)
    _lib.i2d_SSL_SESSION(session, _ffi.new("unsigned char **", buffer))
    return bytes(_ffi.buffer(buffer, length))


def error_text(code: int) -> str:
    """
    @return: OpenSSL's words for a verification error, C{"certificate has expired"}.
    """
    return str(_ffi.string(_lib.X509_verify_cert_error_string(code)).decode("ascii"))


_ALERTS: Final = 1000
"""
Where the reasons begin that stand for an alert of the far end: C{SSL_AD_REASON_OFFSET}.
"""


@cache
def _codes() -> dict[tuple[str, str], int]:
    """
    The error codes of the SSL library by its name and their reasons, which is all that pyOpenSSL leaves of them.
    """
    SSL.Context(SSL.TLS_METHOD)  # makes OpenSSL load its words
    known: dict[tuple[str, str], int] = {}
    for reason in range(1, _ALERTS + 256):
        code = 20 << 23 | reason
        why = _lib.ERR_reason_error_string(code)
        library = _lib.ERR_lib_error_string(code)
        if why != _ffi.NULL and library != _ffi.NULL:
            known.setdefault((_ffi.string(library).decode("ascii"), _ffi.string(why).decode("ascii")), code)
    return known


def error_code(library: str, reason: str) -> int:
    """
    @param library: the name of a library of OpenSSL.
    @param reason: in words.
    @return: its packed error code; 0 where it is not one of the SSL library.
    """
    return _codes().get((library, reason), 0)


def error_line(library: str, reason: str) -> str:
    """
    An entry of OpenSSL's error queue as OpenSSL writes it: C{error:0A00009C:SSL routines::http request}; without the
    code where it cannot be found. For an alert that was received its number is added, as nginx does.
    """
    code = error_code(library, reason)
    if not code:
        return f"error:{library}::{reason}"
    alert = (code & 0x7FFFFF) - _ALERTS
    number = f":SSL alert number {alert}" if alert >= 0 else ""
    return f"error:{code:08X}:{library}::{reason}{number}"


def set_groups(context: SSL.Context, groups: str) -> bool:
    """
    @param groups: names joined by colons, in order of preference.
    @return: whether OpenSSL knows them all.
    @raise AttributeError: the binding is gone.
    """
    taken: bool = _lib.SSL_CTX_set1_curves_list(context._context, groups.encode("utf-8", "surrogateescape")) == 1
    _lib.ERR_clear_error()
    return taken


_set_groups: Final[Any] = getattr(_lib, "SSL_set1_curves_list", None)
_group_name: Final[Any] = getattr(_lib, "SSL_get0_group_name", None)


def chosen_group(connection: SSL.Connection) -> str:
    """
    @return: what OpenSSL calls the group that keys were exchanged in, in lower case; empty before that, and where it
        cannot be had, or L{offer_groups} cannot.
    """
    if _group_name is None or _set_groups is None or _lib.SSL_get_session(connection._ssl) == _ffi.NULL:
        return ""  # without a session OpenSSL would look for the group at address 0
    name = _group_name(connection._ssl)
    return "" if name == _ffi.NULL else str(_ffi.string(name).decode("ascii").lower())


def group_list(groups: str) -> Any:
    """
    @param groups: names joined by colons, with an asterisk before those to send key shares of.
    """
    return _ffi.new("char[]", groups.encode("ascii"))


def offer_groups(connection: SSL.Connection, groups: Any) -> bool:
    """
    Before a handshake.

    @param groups: see L{group_list}.
    @return: whether OpenSSL takes them; else all is as before.
    """
    taken: bool = _set_groups(connection._ssl, groups) == 1
    if not taken:
        _lib.ERR_clear_error()
    return taken


def set_signature_algorithms(context: SSL.Context, algorithms: str) -> bool:
    """
    @param algorithms: names joined by colons, in order of preference.
    @return: whether OpenSSL takes them.
    @raise AttributeError: the binding is gone.
    """
    names = algorithms.encode("utf-8", "surrogateescape")
    taken: bool = _lib.SSL_CTX_set1_sigalgs_list(context._context, names) == 1
    _lib.ERR_clear_error()
    return taken


def has_dh_parameters(pem: bytes) -> bool:
    """
    @param pem: a PEM file.
    @return: whether there are DH parameters in it, be they fit for use or not.
    @raise AttributeError: a binding is gone.
    """
    bio = _ffi.gc(_lib.BIO_new_mem_buf(pem, len(pem)), _lib.BIO_free)
    parameters = _lib.PEM_read_bio_DHparams(bio, _ffi.NULL, _ffi.NULL, _ffi.NULL)
    _lib.ERR_clear_error()
    return parameters != _ffi.NULL and _ffi.gc(parameters, _lib.DH_free) is not None


def set_dh_parameters(context: SSL.Context, pem: bytes) -> bool:
    """
    @param pem: a PEM file with DH parameters.
    @return: whether there were any that OpenSSL takes.
    @raise AttributeError: a binding is gone.
    """
    bio = _ffi.gc(_lib.BIO_new_mem_buf(pem, len(pem)), _lib.BIO_free)
    parameters = _lib.PEM_read_bio_DHparams(bio, _ffi.NULL, _ffi.NULL, _ffi.NULL)
    taken = False
    if parameters != _ffi.NULL:
        taken = bool(_lib.SSL_CTX_set_tmp_dh(context._context, _ffi.gc(parameters, _lib.DH_free)) == 1)
    _lib.ERR_clear_error()
    return taken
