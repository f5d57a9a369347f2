"""
What does OpenSSL say about each certificate of a chain, while it goes through it?

Strategy: see L{sniproxy.tls.native}. The callback notes on the connection what it is told, and decides nothing.
"""

from __future__ import annotations

from typing import Any, Final

from cryptography import x509
from OpenSSL import SSL

from sniproxy.tls.native import read

_lib: Final[Any] = SSL._lib  # type: ignore[attr-defined]
_ffi: Final[Any] = SSL._ffi  # type: ignore[attr-defined]
_gc: Final[Any] = _ffi.gc

# None where they are gone: whatever is to be noted fails then
_X509_STORE_CTX_get_ex_data: Final[Any] = getattr(_lib, "X509_STORE_CTX_get_ex_data", None)
_X509_STORE_CTX_get_current_cert: Final[Any] = getattr(_lib, "X509_STORE_CTX_get_current_cert", None)
_X509_up_ref: Final[Any] = getattr(_lib, "X509_up_ref", None)
_X509_free: Final[Any] = getattr(_lib, "X509_free", None)
_X509_STORE_CTX_get_error: Final[Any] = getattr(_lib, "X509_STORE_CTX_get_error", None)
_X509_STORE_CTX_get_error_depth: Final[Any] = getattr(_lib, "X509_STORE_CTX_get_error_depth", None)
_get_index: Final[Any] = getattr(_lib, "SSL_get_ex_data_X509_STORE_CTX_idx", None)


class Link:
    """
    What OpenSSL said about one certificate of a chain.

    @ivar depth: 0 for the leaf.
    @ivar error: OpenSSL's number (C{X509_V_ERR_…}); 0 where it found nothing wrong.
    """

    __slots__ = ("_certificate", "depth", "error")

    def __init__(self, depth: int, error: int, certificate: Any) -> None:
        """
        @param certificate: C{X509 *}, which frees itself.
        """
        self.depth = depth
        self.error = error
        self._certificate = certificate

    @property
    def certificate(self) -> x509.Certificate:
        """
        The certificate itself.

        @raise ValueError: C{cryptography} cannot read it.
        """
        return read(self._certificate)

    @property
    def subject(self) -> str:
        """
        Its subject, in the order and the escapes of RFC 4514.
        """
        return self.certificate.subject.rfc4514_string()

    def __repr__(self) -> str:
        return f"<Link {self.depth} error {self.error}>"


def _note(ok: int, store_context: Any) -> int:
    """
    OpenSSL calls this once a link, and again for each error. 1 goes on with the error standing, 0 ends the handshake.
    """
    try:
        ssl = _X509_STORE_CTX_get_ex_data(store_context, _get_index())
        connection: Any = SSL.Connection._reverse_mapping[ssl]
        pointer = _X509_STORE_CTX_get_current_cert(store_context)
        _X509_up_ref(pointer)
        certificate = _gc(pointer, _X509_free)
        error: int = 0 if ok else _X509_STORE_CTX_get_error(store_context)
        connection.links.append(Link(_X509_STORE_CTX_get_error_depth(store_context), error, certificate))
    except Exception:
        # A callback called from C must not raise; what cannot be noted cannot be judged, so it is refused.
        return 0
    return 1


_noting: Final[Any] = _ffi.callback("int (*)(int, X509_STORE_CTX *)", _note, error=0)
"""
Held for the life of the process: contexts keep only its address.
"""


def note_links(context: SSL.Context, mode: int) -> None:
    """
    Let handshakes of C{context} finish whatever the peer's certificate is, noting each link on the connection's
    C{links}, which is a L{sniproxy.tls.native.TLSConnection}.

    @param mode: C{SSL.VERIFY_…} flags.
    """
    _lib.SSL_CTX_set_verify(context._context, mode, _noting)
