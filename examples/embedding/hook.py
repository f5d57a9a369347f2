"""
Refuse client certificates that are on a list of one's own, whatever the authorities say.
"""

from dataclasses import replace

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

from sniproxy.endpoints import ServerPolicy


def without(policy: ServerPolicy, refused: set[str]) -> ServerPolicy:
    """
    @param refused: SHA-256 fingerprints of certificates, in hexadecimal.
    @return: the same policy for all others.
    """

    def hook(depth: int, certificate: x509.Certificate, error: int) -> bool:
        return depth > 0 or certificate.fingerprint(SHA256()).hex() not in refused

    return replace(policy, hook=hook)
