"""
What are the groups and signature algorithms called that a ClientHello has numbers for? As nginx writes them: OpenSSL's
short names for groups, the names of RFC 8446 for signature algorithms, and what OpenSSL has no name for in hexadecimal.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

_GROUPS: Final[dict[int, str]] = {
    **dict(
        enumerate(
            (
                "sect163k1 sect163r1 sect163r2 sect193r1 sect193r2 sect233k1 sect233r1 sect239k1 sect283k1 sect283r1"
                " sect409k1 sect409r1 sect571k1 sect571r1 secp160k1 secp160r1 secp160r2 secp192k1 prime192v1 secp224k1"
                " secp224r1 secp256k1 prime256v1 secp384r1 secp521r1 brainpoolP256r1 brainpoolP384r1 brainpoolP512r1"
                " X25519 X448 brainpoolP256r1tls13 brainpoolP384r1tls13 brainpoolP512r1tls13"
            ).split(),
            1,
        )
    ),
    **dict(enumerate("ffdhe2048 ffdhe3072 ffdhe4096 ffdhe6144 ffdhe8192".split(), 0x100)),
}
"""By the numbers of the registry of supported groups; OpenSSL has no short names for the hybrids of ML-KEM."""

_IN_LISTS: Final = {
    **{code: name.lower() for code, name in _GROUPS.items()},
    0x0017: "secp256r1",
    0x0029: "curvesm2",
    0x11EB: "secp256r1mlkem768",
    0x11EC: "x25519mlkem768",
    0x11ED: "secp384r1mlkem1024",
    0x11EE: "curvesm2mlkem768",
}
"""The same, as OpenSSL lists them for a handshake and calls the one that was chosen, but in lower case."""

_SIGNATURES: Final = {
    0x0201: "rsa_pkcs1_sha1",
    0x0202: "dsa_sha1",
    0x0203: "ecdsa_sha1",
    0x0301: "rsa_pkcs1_sha224",
    0x0302: "dsa_sha224",
    0x0303: "ecdsa_sha224",
    0x0401: "rsa_pkcs1_sha256",
    0x0402: "dsa_sha256",
    0x0403: "ecdsa_secp256r1_sha256",
    0x0501: "rsa_pkcs1_sha384",
    0x0502: "dsa_sha384",
    0x0503: "ecdsa_secp384r1_sha384",
    0x0601: "rsa_pkcs1_sha512",
    0x0602: "dsa_sha512",
    0x0603: "ecdsa_secp521r1_sha512",
    0x0804: "rsa_pss_rsae_sha256",
    0x0805: "rsa_pss_rsae_sha384",
    0x0806: "rsa_pss_rsae_sha512",
    0x0807: "ed25519",
    0x0808: "ed448",
    0x0809: "rsa_pss_pss_sha256",
    0x080A: "rsa_pss_pss_sha384",
    0x080B: "rsa_pss_pss_sha512",
    0x081A: "ecdsa_brainpoolP256r1tls13_sha256",
    0x081B: "ecdsa_brainpoolP384r1tls13_sha384",
    0x081C: "ecdsa_brainpoolP512r1tls13_sha512",
    0x0904: "mldsa44",
    0x0905: "mldsa65",
    0x0906: "mldsa87",
}
"""By the numbers of the registry of signature schemes."""


def unknown(code: int) -> str:
    """
    @return: C{"0x0a0a"}.
    """
    return f"0x{code:04x}"


def _listed(codes: Iterable[int], names: Mapping[int, str]) -> str:
    return ":".join(names.get(code) or unknown(code) for code in codes)


def groups(codes: Iterable[int]) -> str:
    """
    C{$ssl_curves}: joined by colons, in the client's order.
    """
    return _listed(codes, _GROUPS)


def in_lists(code: int) -> str:
    """
    @return: the group as OpenSSL calls it where it is listed for handshakes, in lower case.
    """
    return _IN_LISTS.get(code) or unknown(code)


def signatures(codes: Iterable[int]) -> str:
    """
    C{$ssl_sigalgs}: the same for signature algorithms.
    """
    return _listed(codes, _SIGNATURES)
