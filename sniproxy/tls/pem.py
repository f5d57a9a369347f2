"""
What is in a PEM file, and what does OpenSSL say when it is not there?

Strategy: blocks are found as OpenSSL's PEM reader finds them (blocks with other labels are passed over, text around
them is a comment) and are decoded one by one, so that an error can be told in the words that nginx's users know.
"""

from __future__ import annotations

import base64
import binascii
import errno
import os
import re
from collections.abc import Callable, Iterator
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

Read = Callable[[str], bytes]
"""
Reads a file whole; raises L{OSError}.
"""

_BEGIN: Final = re.compile(rb"^-----BEGIN ([A-Z0-9 ]+)-----[ \t\r]*$", re.MULTILINE)

CERTIFICATES: Final = ("CERTIFICATE", "X509 CERTIFICATE")
LISTS: Final = ("X509 CRL",)

NO_START: Final = "error:0480006C:PEM routines::no start line"
SYSTEM: Final = "10080002:BIO routines::system lib"
UNSUPPORTED: Final = "error:1E08010C:DECODER routines::unsupported:No supported data to decode. Input type: PEM"
BAD_END: Final = "error:04800066:PEM routines::bad end line"
BAD_BASE64: Final = "error:04800064:PEM routines::bad base64 decode"
BAD_ASN1: Final = "error:0488000D:PEM routines::ASN1 lib"


class PemError(Exception):
    """
    A block cannot be read; the text is OpenSSL's, with its error number.
    """


def read_failure(path: str, error: OSError, after: str = "") -> str:
    """
    @param after: what OpenSSL says behind it, where that is not what it says for C{BIO_new_file}.
    @return: how OpenSSL tells that C{path} cannot be opened.
    """
    number = error.errno or errno.EIO
    if not after:
        after = "10000080:BIO routines::no such file" if number == errno.ENOENT else SYSTEM
    return (
        f"error:{0x80000000 | number:08X}:system library::{os.strerror(number)}:calling fopen({path}, r) error:{after}"
    )


def blocks(data: bytes, labels: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    """
    @param labels: which labels are wanted.
    @return: label and whole text of each such block.
    @raise PemError: a block has no end.
    """
    at = 0
    while (begin := _BEGIN.search(data, at)) is not None:
        label = begin.group(1)
        closing = b"-----END " + label + b"-----"
        end = data.find(closing, begin.end())
        if end < 0:
            raise PemError(BAD_END)
        at = end + len(closing)
        if labels(text := label.decode("ascii")):
            yield text, data[begin.start() : at]


def payload(block: bytes) -> bytes:
    """
    @return: the DER inside one block.
    @raise PemError: it is not base64.
    """
    lines = block.splitlines()[1:-1]
    try:
        return base64.b64decode(b"".join(line.strip() for line in lines), validate=True)
    except binascii.Error:
        raise PemError(BAD_BASE64) from None


def certificates(data: bytes) -> tuple[x509.Certificate, ...]:
    """
    @return: all the certificates in a PEM file, in order; perhaps none.
    @raise PemError: one of them is damaged.
    """
    return tuple(_certificate(payload(block)) for _, block in blocks(data, CERTIFICATES.__contains__))


def _certificate(der: bytes) -> x509.Certificate:
    try:
        return x509.load_der_x509_certificate(der)
    except ValueError:
        raise PemError(BAD_ASN1) from None


def revocation_lists(data: bytes) -> tuple[x509.CertificateRevocationList, ...]:
    """
    @return: all the revocation lists in a PEM file, in order; perhaps none.
    @raise PemError: one of them is damaged.
    """
    try:
        return tuple(x509.load_der_x509_crl(payload(block)) for _, block in blocks(data, LISTS.__contains__))
    except ValueError:
        raise PemError(BAD_ASN1) from None


def text(*given: x509.Certificate) -> bytes:
    """
    @return: the certificates as a PEM file.
    """
    return b"".join(each.public_bytes(Encoding.PEM) for each in given)
