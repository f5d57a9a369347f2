"""
How little can a TLS connection be, as long as it only carries bytes?

Strategy: an SSL object and its two BIOs are all that L{sniproxy.net.channel.Channel} asks for. A pyOpenSSL connection
around them costs more than what most servers ever ask of it, so it is made for who does ask. Where a context has
callbacks, they ask: its connections are whole from the beginning, by L{connect}.
"""

from __future__ import annotations

from typing import Any, Final

from OpenSSL import SSL

from sniproxy.tls.native import TLSConnection

_lib: Final[Any] = SSL._lib  # type: ignore[attr-defined]
_ffi: Final[Any] = SSL._ffi  # type: ignore[attr-defined]

# None where they are gone: nothing is lean then, see native.familiar()
_SSL_new: Final[Any] = getattr(_lib, "SSL_new", None)
_SSL_free: Final[Any] = getattr(_lib, "SSL_free", None)
_SSL_set_bio: Final[Any] = getattr(_lib, "SSL_set_bio", None)
_SSL_set_connect_state: Final[Any] = getattr(_lib, "SSL_set_connect_state", None)
_SSL_set_accept_state: Final[Any] = getattr(_lib, "SSL_set_accept_state", None)
_BIO_new: Final[Any] = getattr(_lib, "BIO_new", None)
_memory: Final[Any] = getattr(_lib, "BIO_s_mem", lambda: None)()
_gc: Final[Any] = _ffi.gc


class Lean:
    """
    A connection in memory, made where pyOpenSSL is C{native.familiar()} and of a context that is
    C{native.ready()}. Its attributes are called as those of pyOpenSSL's.
    """

    __slots__ = ("_context", "_from_ssl", "_into_ssl", "_ssl", "_whole")

    def __init__(self, context: SSL.Context, server: bool) -> None:
        """
        @param server: whether it waits for a ClientHello, or else begins with one.
        """
        made = _SSL_new(context._context)
        into, out = _BIO_new(_memory), _BIO_new(_memory)
        if not (made and into and out):
            raise MemoryError("OpenSSL")  # what there is of it is lost, and so are we
        self._ssl: Any = _gc(made, _SSL_free)
        self._into_ssl: Any = into
        self._from_ssl: Any = out
        self._context = context
        self._whole: TLSConnection | None = None
        _SSL_set_bio(made, into, out)
        if server:
            _SSL_set_accept_state(made)
        else:
            _SSL_set_connect_state(made)

    def whole(self) -> TLSConnection:
        """
        @return: the pyOpenSSL connection, always the same.
        """
        if self._whole is None:
            made = TLSConnection.__new__(TLSConnection)
            made._ssl = self._ssl
            made._context = self._context
            made._into_ssl = self._into_ssl
            made._from_ssl = self._from_ssl
            made.links = []
            self._whole = made
        return self._whole


def connect(context: SSL.Context, server: bool, called: bool) -> TLSConnection:
    """
    What pyOpenSSL's constructor makes, and C{set_accept_state} or C{set_connect_state}.

    @param called: whether callbacks of the context ask for the connection.
    """
    begun = Lean(context, server)
    made = begun.whole()
    if called:
        SSL.Connection._reverse_mapping[begun._ssl] = made
    return made


def whole(connection: TLSConnection | Lean) -> TLSConnection:
    """
    @return: the pyOpenSSL connection.
    """
    return connection.whole() if isinstance(connection, Lean) else connection
