"""
What can only be had from pyOpenSSL's private cffi bindings? All of it is here, but for the bytes themselves, which
C{net/channel.py} carries by them; nothing else touches them.

Strategy: a client certificate is decided I{after} the handshake by C{SSL_get_verify_result}, which a session carries
from a full handshake to the resumed ones. The verify callback must therefore let the handshake go on I{without
clearing the error}. pyOpenSSL's own wrapper of Python callbacks clears it, and a certificate refused once would come
in with its ticket; so the callback here is a bare cffi function, one for the whole process, that notes each link on
the connection and answers 1.

Where a binding is gone (L{missing}), contexts are built to fail closed: pyOpenSSL's public callback notes the links,
the decision falls by them, and no session is ever resumed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, lru_cache
from typing import Any, Final, Protocol

from cryptography import x509
from OpenSSL import SSL, crypto

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
    "i2d_SSL_SESSION",
)
"""
What a decision that holds on resumption stands on.
"""
ATTRIBUTES: Final = (
    (SSL.Connection, "_reverse_mapping"),
    (crypto.X509, "_from_raw_x509_ptr"),
)


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
    return _parsed(_der(certificate._x509))


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


class Link:
    """
    What OpenSSL said about one certificate of a chain.

    @ivar depth: 0 for the leaf.
    @ivar error: OpenSSL's number (C{X509_V_ERR_…}); 0 where it found nothing wrong.
    """

    __slots__ = ("_x509", "depth", "error")

    def __init__(self, depth: int, error: int, certificate: crypto.X509) -> None:
        self.depth = depth
        self.error = error
        self._x509 = certificate

    @property
    def certificate(self) -> x509.Certificate:
        """
        The certificate itself.

        @raise ValueError: C{cryptography} cannot read it.
        """
        return readable(self._x509)

    @property
    def subject(self) -> str:
        """
        Its subject, in the order and the escapes of RFC 4514.
        """
        return self.certificate.subject.rfc4514_string()

    def __repr__(self) -> str:
        return f"<Link {self.depth} error {self.error}>"


class NotesLinks(Protocol):
    """
    A connection that keeps what the verify callback notes.

    @ivar links: from the first noted to the last; a certificate may come several times.
    """

    links: list[Link]


def _note(ok: int, store_context: Any) -> int:
    """
    OpenSSL calls this once a link, and again for each error. 1 goes on with the error standing, 0 ends the handshake.
    """
    try:
        ssl = _lib.X509_STORE_CTX_get_ex_data(store_context, _lib.SSL_get_ex_data_X509_STORE_CTX_idx())
        connection: NotesLinks = SSL.Connection._reverse_mapping[ssl]
        pointer = _lib.X509_STORE_CTX_get_current_cert(store_context)
        _lib.X509_up_ref(pointer)
        certificate = crypto.X509._from_raw_x509_ptr(pointer)
        error = 0 if ok else _lib.X509_STORE_CTX_get_error(store_context)
        connection.links.append(Link(_lib.X509_STORE_CTX_get_error_depth(store_context), error, certificate))
    except Exception:
        # A callback called from C must not raise; what cannot be noted cannot be judged, so it is refused.
        return 0
    return 1


_noting: Final = _ffi.callback("int (*)(int, X509_STORE_CTX *)", _note, error=0)
"""
Held for the life of the process: contexts keep only its address.
"""


def note_links(context: SSL.Context, mode: int) -> None:
    """
    Let handshakes of C{context} finish whatever the peer's certificate is, noting each link on the connection's
    C{links}.

    @param mode: C{SSL.VERIFY_…} flags.
    """
    _lib.SSL_CTX_set_verify(context._context, mode, _noting)


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
_MAKERS: Final = ("SSL_new", "SSL_free", "BIO_new", "BIO_s_mem", "SSL_set_bio", "SSL_CTX_clear_mode")


class Bare(SSL.Connection):
    """
    What is the same in all connections that are made by L{begin}.
    """

    _alpn_select_callback_args = None
    _app_data = None
    _cookie_generate_helper = None
    _cookie_verify_helper = None
    _socket = None
    _verify_callback = None
    _verify_helper = None


@cache
def familiar() -> bool:
    """
    Whether pyOpenSSL's connections are made of what we know, so that L{begin} can make them, for a fifth of what the
    constructor costs.
    """
    made = vars(SSL.Connection(SSL.Context(SSL.TLS_METHOD), None))
    return made.keys() == _PARTS and all(hasattr(_lib, name) for name in _MAKERS)


def ready(context: SSL.Context) -> SSL.Context:
    """
    @return: the same one, for L{begin} to make connections of; pyOpenSSL changes it no more.
    """
    if familiar():
        _lib.SSL_CTX_clear_mode(context._context, _lib.SSL_MODE_AUTO_RETRY)  # see stop_at_records_without_data
        context._used = True
    return context


def begin(connection: Bare, context: SSL.Context, called: bool) -> None:
    """
    What the constructor does for a connection in memory, where pyOpenSSL is L{familiar} and the context L{ready}.

    @param called: whether callbacks of the context ask for the connection.
    """
    made = _lib.SSL_new(context._context)
    into, out = _lib.BIO_new(_memory()), _lib.BIO_new(_memory())
    if not (made and into and out):
        raise MemoryError("OpenSSL")  # what there is of it is lost, and so are we
    connection._ssl = ssl = _ffi.gc(made, _lib.SSL_free)
    connection._context = context
    connection._into_ssl = into
    connection._from_ssl = out
    _lib.SSL_set_bio(ssl, into, out)
    if called:
        SSL.Connection._reverse_mapping[ssl] = connection


@cache
def _memory() -> Any:
    """
    What kind of BIO: a constant of OpenSSL's.
    """
    return _lib.BIO_s_mem()


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
