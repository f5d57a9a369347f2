"""
TLS without sockets: bytes in, bytes out, for what OpenSSL itself costs.

Strategy: pyOpenSSL makes the connection, with all its policy; here its SSL object is driven through the same bindings
that pyOpenSSL's own methods use, which allocate a buffer for each read and raise an exception wherever OpenSSL only
waits for more. What is no success and no waiting goes back to pyOpenSSL, which finds the words and raises what a
callback raised. These bindings are private: this file and L{sniproxy.tls.native} are the only ones that touch them.
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
_unpack: Final[Any] = _ffi.unpack
_from_buffer: Final[Any] = _ffi.from_buffer

_WAITING: Final = frozenset((_lib.SSL_ERROR_WANT_READ, _lib.SSL_ERROR_WANT_WRITE))
_ZERO_RETURN: Final[int] = _lib.SSL_ERROR_ZERO_RETURN

_ROOM: Final = 1 << 16
_buffer: Final[Any] = _ffi.new("char[]", _ROOM)
"""What OpenSSL writes into. Each call has copied out of it before it returns, so one serves the whole process."""

_data: Final[Any] = _ffi.new("char **")


class Channel:
    """
    An OpenSSL connection on memory BIOs. Owns nothing; holds what it was fed and what was not drained.

    @ivar connection: the pyOpenSSL connection, made without a socket, accept or connect state set.
    """

    __slots__ = ("_in", "_out", "_ssl", "connection")

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self._ssl: Any = connection._ssl
        self._in: Any = connection._into_ssl
        self._out: Any = connection._from_ssl

    def feed(self, data: bytes) -> None:
        """
        What the far end has sent.
        """
        _BIO_write(self._in, data, len(data))

    def feed_end(self) -> None:
        """
        The far end sends no more.
        """
        self.connection.bio_shutdown()

    def fed(self) -> bool:
        """
        Whether OpenSSL has not taken all that it was fed.
        """
        return bool(_lib.BIO_get_mem_data(self._in, _data) > 0)

    def drain(self) -> bytes:
        """
        @return: what is to be sent to the far end, up to 64 KiB of it; empty for nothing.
        """
        size: int = _BIO_read(self._out, _buffer, _ROOM)
        if size <= 0:
            return b""
        data: bytes = _unpack(_buffer, size)
        return data

    def handshake(self) -> bool:
        """
        @return: whether the handshake is done; else it wants to be fed.
        @raise SSL.Error: it failed.
        """
        result: int = _SSL_do_handshake(self._ssl)
        if result > 0:
            return True
        self._must_wait(result)
        return False

    def newest(self) -> bool:
        """
        Whether this is TLS 1.3, as far as has been agreed.
        """
        return bool(_SSL_version(self._ssl) == SSL.TLS1_3_VERSION)

    def read(self, limit: int) -> bytes | None:
        """
        @return: what a record bears, up to C{limit} bytes; C{b""} after close_notify; None when it wants to be fed, or
            was stopped by a record without data.
        @raise SSL.Error: TLS broke; L{SSL.SysCallError} where the far end left without close_notify.
        """
        size: int = _SSL_read(self._ssl, _buffer, limit if limit < _ROOM else _ROOM)
        if size > 0:
            data: bytes = _unpack(_buffer, size)
            return data
        if _SSL_get_error(self._ssl, size) == _ZERO_RETURN:
            return b""
        self._must_wait(size)
        return None

    def write(self, data: bytes | memoryview) -> int:
        """
        @return: how many bytes were taken, one record's worth at most; 0 when it wants to be fed first.
        @raise SSL.Error: TLS broke.
        """
        size: int = _SSL_write(self._ssl, data if isinstance(data, bytes) else _from_buffer(data), len(data))
        if size > 0:
            return size
        self._must_wait(size)
        return 0

    def shutdown(self) -> None:
        """
        Write close_notify.

        @raise SSL.Error: that is not possible any more.
        """
        result: int = _SSL_shutdown(self._ssl)
        if result < 0:
            self._must_wait(result)

    def _must_wait(self, result: int) -> None:
        if _SSL_get_error(self._ssl, result) not in _WAITING:
            self.connection._raise_ssl_error(self._ssl, result)
            raise SSL.Error([])  # it found nothing wrong, and we cannot go on
