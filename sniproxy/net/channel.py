"""
TLS without sockets: bytes in, bytes out, for what OpenSSL itself costs.

Strategy: pyOpenSSL makes the connection, with all its policy; here its SSL object is driven through the same bindings
that pyOpenSSL's own methods use, which allocate a buffer for each read and raise an exception wherever OpenSSL only
waits for more. What is no success and no waiting goes back to pyOpenSSL, which finds the words and raises what a
callback raised. These bindings are private: only this file, L{sniproxy.tls.native} and L{sniproxy.tls.lean} touch them.
"""

from __future__ import annotations

from typing import Any, Final

from OpenSSL import SSL

_lib: Final[Any] = SSL._lib  # type: ignore[attr-defined]
_ffi: Final[Any] = SSL._ffi  # type: ignore[attr-defined]

_SSL_do_handshake: Final[Any] = _lib.SSL_do_handshake
_SSL_get_error: Final[Any] = _lib.SSL_get_error
_SSL_read: Final[Any] = _lib.SSL_read
_SSL_write: Final[Any] = _lib.SSL_write
_SSL_shutdown: Final[Any] = _lib.SSL_shutdown
_SSL_version: Final[Any] = _lib.SSL_version
_BIO_read: Final[Any] = _lib.BIO_read
_BIO_write: Final[Any] = _lib.BIO_write
_BIO_get_mem_data: Final[Any] = _lib.BIO_get_mem_data
_from_buffer: Final[Any] = _ffi.from_buffer

_WANT_READ: Final[int] = _lib.SSL_ERROR_WANT_READ
_WANT_WRITE: Final[int] = _lib.SSL_ERROR_WANT_WRITE
_ZERO_RETURN: Final[int] = _lib.SSL_ERROR_ZERO_RETURN
_TLS1_3: Final[int] = SSL.TLS1_3_VERSION

ROOM: Final = 1 << 16
"""How many bytes one call gives at most."""

_buffer: Final[Any] = _ffi.new("char[]", ROOM)
"""What OpenSSL writes into. Each call has copied out of it before it returns, so one serves the whole process."""

_bytes: Final[Any] = _ffi.buffer(_buffer)
_data: Final[Any] = _ffi.new("char **")


class Channel:
    """
    An OpenSSL connection on memory BIOs. Owns nothing; holds what it was fed and what was not drained.
    """

    __slots__ = ("_given", "_in", "_out", "_ssl")

    def __init__(self, connection: Any) -> None:
        """
        @param connection: of pyOpenSSL's, made without a socket, accept or connect state set; or what has the same SSL
            object and BIOs, and makes one of them when it is asked for the C{whole()}.
        """
        self._given = connection
        self._ssl: Any = connection._ssl
        self._in: Any = connection._into_ssl
        self._out: Any = connection._from_ssl

    @property
    def connection(self) -> Any:
        """
        The pyOpenSSL connection.
        """
        given = self._given
        return given if isinstance(given, SSL.Connection) else given.whole()

    def feed(self, data: bytes) -> None:
        """
        What the far end has sent.
        """
        _BIO_write(self._in, data, len(data))

    def feed_end(self) -> None:
        """
        The far end sends no more.
        """
        _lib.BIO_set_mem_eof_return(self._in, 0)

    def fed(self) -> bool:
        """
        Whether OpenSSL has not taken all that it was fed.
        """
        return bool(_BIO_get_mem_data(self._in, _data) > 0)

    def drain(self) -> bytes:
        """
        @return: what is to be sent to the far end, up to 64 KiB of it; empty for nothing.
        """
        size: int = _BIO_read(self._out, _buffer, ROOM)
        if size <= 0:
            return b""
        data: bytes = _bytes[:size]
        return data

    def handshake(self) -> bool:
        """
        @return: whether the handshake is done; else it wants to be fed.
        @raise SSL.Error: it failed.
        """
        result: int = _SSL_do_handshake(self._ssl)
        if result > 0:
            return True
        self._must_wait(result, _SSL_get_error(self._ssl, result))
        return False

    def newest(self) -> bool:
        """
        Whether this is TLS 1.3, as far as has been agreed.
        """
        return bool(_SSL_version(self._ssl) == _TLS1_3)

    def read(self, limit: int) -> bytes | None:
        """
        @return: what a record bears, up to C{limit} bytes; C{b""} after close_notify; None when it wants to be fed, or
            was stopped by a record without data.
        @raise SSL.Error: TLS broke; L{SSL.SysCallError} where the far end left without close_notify.
        """
        size: int = _SSL_read(self._ssl, _buffer, limit if limit < ROOM else ROOM)
        if size > 0:
            data: bytes = _bytes[:size]
            return data
        error: int = _SSL_get_error(self._ssl, size)
        if error == _ZERO_RETURN:
            return b""
        self._must_wait(size, error)
        return None

    def write(self, data: bytes | memoryview) -> int:
        """
        @return: how many bytes were taken, one record's worth at most; 0 when it wants to be fed first.
        @raise SSL.Error: TLS broke.
        """
        size: int = _SSL_write(self._ssl, data if isinstance(data, bytes) else _from_buffer(data), len(data))
        if size > 0:
            return size
        self._must_wait(size, _SSL_get_error(self._ssl, size))
        return 0

    def shutdown(self) -> None:
        """
        Write close_notify.

        @raise SSL.Error: that is not possible any more.
        """
        result: int = _SSL_shutdown(self._ssl)
        if result < 0:
            self._must_wait(result, _SSL_get_error(self._ssl, result))

    def _must_wait(self, result: int, error: int) -> None:
        """
        @param error: what C{SSL_get_error} says of it.
        """
        if error != _WANT_READ and error != _WANT_WRITE:
            self.connection._raise_ssl_error(self._ssl, result)
            raise SSL.Error([])  # it found nothing wrong, and we cannot go on
