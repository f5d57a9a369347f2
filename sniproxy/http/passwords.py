"""
Is this the password? What stands in files of passwords, as C{ngx_crypt} understands it: Apache's MD5, SHA-1 with and
without salt, plain text, and whatever the system's crypt(3) knows (bcrypt, yescrypt, SHA-512 …).

Strategy: Python's own door to crypt(3) is gone from 3.13, so the library is opened here.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import errno
import hashlib
from base64 import b64decode, b64encode
from collections.abc import Callable
from functools import cache
from hmac import compare_digest
from typing import Final

_APR1: Final = b"$apr1$"
_PLAIN: Final = b"{PLAIN}"
_SHA: Final = b"{SHA}"
_SSHA: Final = b"{SSHA}"

_DIGITS: Final = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_ROUNDS: Final = 1000
_LONGEST_SALT: Final = 8
_ORDER: Final = ((0, 6, 12), (1, 7, 13), (2, 8, 14), (3, 9, 15), (4, 10, 5))
"""Which bytes of the digest are written together, four digits for three; the last one, 11, stands alone."""

Crypt = Callable[[bytes, bytes], bytes | None]


@cache
def system_crypt() -> Crypt:
    """
    @return: crypt(3): from a password and what is known of it to what should be known; None where it cannot say.
    """
    name = ctypes.util.find_library("crypt")
    if name is None:
        return lambda password, known: None
    crypt = ctypes.CDLL(name).crypt
    crypt.argtypes = (ctypes.c_char_p, ctypes.c_char_p)
    crypt.restype = ctypes.c_char_p
    return crypt


def matches(password: bytes, known: bytes, crypt: Callable[[], Crypt] = system_crypt) -> bool:
    """
    @param password: ends with its first zero byte.
    @param known: what the file has.
    @raise OSError: nobody can tell.
    """
    password = password.partition(b"\0")[0]
    known = known.partition(b"\0")[0]
    made: bytes | None
    if known.startswith(_APR1):
        made = apr1(password, known[len(_APR1) :].partition(b"$")[0][:_LONGEST_SALT])
    elif known.startswith(_PLAIN):
        made = _PLAIN + password
    elif known.startswith(_SSHA):
        salt = _decoded(known[len(_SSHA) :])[20:]
        made = _SSHA + b64encode(hashlib.sha1(password + salt, usedforsecurity=False).digest() + salt)
    elif known.startswith(_SHA):
        made = _SHA + b64encode(hashlib.sha1(password, usedforsecurity=False).digest())
    else:
        made = crypt()(password, known)
        if made is None:
            raise OSError(errno.EINVAL, "Invalid argument")
    return compare_digest(made, known)


def _decoded(text: bytes) -> bytes:
    try:
        return b64decode(text)
    except ValueError:
        return b""


def apr1(password: bytes, salt: bytes) -> bytes:
    """
    Apache's variant of MD5-crypt, which differs from that in the word it begins with.
    """
    inner = _md5(password + salt + password)
    size = len(password)
    start = password + _APR1 + salt + (inner * (size // 16 + 1))[:size]
    bits = size
    while bits:
        start += b"\0" if bits & 1 else password[:1]
        bits >>= 1
    digest = _md5(start)
    for turn in range(_ROUNDS):
        digest = _md5(
            (password if turn & 1 else digest)
            + (salt if turn % 3 else b"")
            + (password if turn % 7 else b"")
            + (digest if turn & 1 else password)
        )
    text = b"".join(_written(digest[a] << 16 | digest[b] << 8 | digest[c], 4) for a, b, c in _ORDER)
    return _APR1 + salt + b"$" + text + _written(digest[11], 2)


def _md5(data: bytes) -> bytes:
    return hashlib.md5(data, usedforsecurity=False).digest()


def _written(number: int, digits: int) -> bytes:
    return bytes(_DIGITS[number >> 6 * place & 63] for place in range(digits))
