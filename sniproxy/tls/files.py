"""
What is in the files that a policy names? Each is read once, parsed, and part of the digest that tells policies apart.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Final, TypeVar

from cryptography import x509

from sniproxy.errors import ConfigError
from sniproxy.tls import pem
from sniproxy.tls.policies import ClientPolicy, ServerPolicy

T = TypeVar("T")

DATA: Final = "data:"
"""What a certificate or key begins with that is written down in the configuration itself."""

_NOTHING_FOUND: Final = "error:05800088:x509 certificate routines::no certificate or crl found"


def failed(call: str, argument: str, text: str) -> ConfigError:
    """
    An OpenSSL call failed, told as nginx tells it.
    """
    return ConfigError(f'{call}("{argument}") failed (SSL: {text})')


def wire(text: str) -> bytes:
    """
    The bytes of a name as the configuration wrote it.
    """
    return text.encode("utf-8", "surrogateescape")


class Files:
    """
    The files of one policy: each is read once, and what was in them goes into the digest.
    """

    def __init__(self, read: pem.Read) -> None:
        self._read = read
        self._contents: dict[str, bytes] = {}

    def read(self, path: str) -> bytes:
        """
        @param path: or C{data:} with what the file would hold.
        @raise OSError: it cannot be read.
        """
        if path not in self._contents:
            self._contents[path] = wire(path.removeprefix(DATA)) if path.startswith(DATA) else self._read(path)
        return self._contents[path]

    def authorities(self, path: str) -> tuple[x509.Certificate, ...]:
        """
        @return: the certificates in a file, at least one.
        """
        return self._parsed(path, "SSL_CTX_load_verify_locations", pem.certificates)

    def revocation_lists(self, path: str) -> tuple[x509.CertificateRevocationList, ...]:
        """
        @return: the revocation lists in a file, at least one.
        """
        return self._parsed(path, "X509_LOOKUP_load_file", pem.revocation_lists)

    def _parsed(self, path: str, call: str, parse: Callable[[bytes], tuple[T, ...]]) -> tuple[T, ...]:
        try:
            found = parse(self.read(path))
        except OSError as error:
            text = f"{pem.read_failure(path, error)} error:05880002:x509 certificate routines::system lib"
            raise failed(call, path, text) from None
        except pem.PemError as error:
            raise failed(call, path, f"{error} error:05880009:x509 certificate routines::PEM lib") from None
        if not found:
            raise failed(call, path, _NOTHING_FOUND)
        return found

    def digest(self, policy: ServerPolicy | ClientPolicy) -> bytes:
        """
        @return: 32 bytes of everything in the policy and in the files that were read for it.
        """
        digest = hashlib.sha256(wire(repr(policy)))
        for path, content in sorted(self._contents.items()):
            digest.update(wire(path) + b"\0" + hashlib.sha256(content).digest())
        return digest.digest()
