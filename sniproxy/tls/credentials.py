"""
Who are we? A certificate with its chain and its key, from the files that C{ssl_certificate} and
C{ssl_certificate_key} name.

The words of the errors are nginx's (ngx_event_openssl.c, observed with OpenSSL 3.0).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from sniproxy.errors import ConfigError
from sniproxy.tls import pem
from sniproxy.tls.files import DATA

PrivateKey = (
    dsa.DSAPrivateKey
    | ec.EllipticCurvePrivateKey
    | ed448.Ed448PrivateKey
    | ed25519.Ed25519PrivateKey
    | rsa.RSAPrivateKey
)
"""
What pyOpenSSL takes as a key.
"""


@dataclass(frozen=True, slots=True)
class Credentials:
    """
    What a side of a TLS connection proves itself with.

    @ivar certificate: the leaf.
    @ivar chain: what is sent after it, in the order of the file.
    @ivar key: the leaf's private key.
    @ivar certificate_path: where the chain came from, for messages.
    @ivar key_path: where the key came from, for messages.
    """

    certificate: x509.Certificate
    chain: tuple[x509.Certificate, ...]
    key: PrivateKey = field(repr=False)
    certificate_path: str = ""
    key_path: str = ""


Known = dict[tuple[str, str, "tuple[bytes, ...]"], Credentials]
"""
By the names of certificate and key, and the passwords: what was loaded from files that have not been read again since.
"""


def load(certificate_path: str, key_path: str, passwords: tuple[bytes, ...], read: pem.Read) -> Credentials:
    """
    Read a certificate file (leaf first, then its chain) and the leaf's key.

    @param passwords: tried in turn on an encrypted key, see L{read_passwords}.
    @raise ConfigError: in nginx's words, without a place.
    """
    leaf, chain = _load_chain(certificate_path, read)
    key = _load_key(key_path, passwords, read)
    try:
        own = leaf.public_key()
    except (UnsupportedAlgorithm, ValueError) as error:
        raise ConfigError(f'cannot use certificate "{certificate_path}": {error}') from None
    if type(own) is not type(key.public_key()):
        raise ConfigError(_mismatch(key_path, "05800073:x509 certificate routines::key type mismatch"))
    if own != key.public_key():
        raise ConfigError(_mismatch(key_path, "05800074:x509 certificate routines::key values mismatch"))
    return Credentials(leaf, chain, key, certificate_path, key_path)


def read_passwords(path: str, read: pem.Read) -> tuple[bytes, ...]:
    """
    Read a password file, once: it may be a FIFO.

    @return: its lines without their ends and without the empty ones.
    @raise ConfigError: it cannot be read.
    """
    try:
        data = read(path)
    except OSError as error:
        raise ConfigError(f'open() "{path}" failed ({error.errno}: {error.strerror})') from None
    lines = (line.removesuffix(b"\r") for line in data.split(b"\n"))
    return tuple(line for line in lines if line)


def _mismatch(key_path: str, text: str) -> str:
    return f'SSL_CTX_use_PrivateKey("{shown_key(key_path)}") failed (SSL: error:{text})'


def _load_chain(path: str, read: pem.Read) -> tuple[x509.Certificate, tuple[x509.Certificate, ...]]:
    try:
        data = read(path)
    except IsADirectoryError:
        data = b""  # it can be opened, and is empty: a name that was left empty comes here
    except OSError as error:
        raise _unloadable("certificate", path, "BIO_new_file()", pem.read_failure(path, error)) from None
    try:
        certificates = pem.certificates(data)
    except pem.PemError as error:
        raise _unloadable("certificate", path, "PEM_read_bio_X509_AUX()", str(error)) from None
    if not certificates:
        text = f"{pem.NO_START}:Expecting: TRUSTED CERTIFICATE"
        raise _unloadable("certificate", path, "PEM_read_bio_X509_AUX()", text)
    return certificates[0], certificates[1:]


def _load_key(path: str, passwords: tuple[bytes, ...], read: pem.Read) -> PrivateKey:
    try:
        data = read(path)
    except IsADirectoryError:
        data = b""
    except OSError as error:
        raise _unloadable("certificate key", path, "BIO_new_file()", pem.read_failure(path, error)) from None
    try:
        return private_key(data, passwords)
    except pem.PemError as error:
        shown = shown_key(path)
        raise _unloadable("certificate key", shown, "PEM_read_bio_PrivateKey()", str(error)) from None


def shown_key(path: str) -> str:
    """
    The name of a key as messages have it: a key itself is none of their business.
    """
    return f"{DATA}..." if path.startswith(DATA) else path


def private_key(data: bytes, passwords: tuple[bytes, ...]) -> PrivateKey:
    """
    @param data: a PEM file; its first key counts.
    @param passwords: tried in turn on an encrypted key.
    @raise pem.PemError: there is none, or none that can be read.
    """
    found = next(pem.blocks(data, lambda label: label.endswith("PRIVATE KEY")), None)
    if found is None:
        raise pem.PemError(pem.UNSUPPORTED)
    label, block = found
    locked = label.startswith("ENCRYPTED") or b"Proc-Type: 4,ENCRYPTED" in block
    tries: tuple[bytes | None, ...] = passwords if locked else (None,)
    text = "error:04800068:PEM routines::bad password read"
    for password in tries:
        try:
            return cast(PrivateKey, load_pem_private_key(block, password))
        except (ValueError, TypeError, UnsupportedAlgorithm):
            text = (
                "error:1C800064:Provider routines::bad decrypt error:maybe wrong password"
                if locked
                else pem.UNSUPPORTED
            )
    raise pem.PemError(text)


def _unloadable(what: str, path: str, call: str, text: str) -> ConfigError:
    return ConfigError(f'cannot load {what} "{path}": {call} failed (SSL: {text})')
