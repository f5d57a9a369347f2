"""
Where do the certificates of tests come from? From here: authorities, chains, leaves and revocation lists, made in
milliseconds and never stored in the tree.

Strategy: everything is one frozen L{Identity} (a certificate, its key and the certificates between it and the root),
made by three functions that call each other's results: L{authority}, L{intermediate} and L{leaf}. Keys are P-256,
which cost microseconds; RSA keys, which cost a tenth of a second, are made once a process for each label.

    root = authority("Example CA")
    web = leaf(chain(root, 2), "web.example.com", names=("*.example.com", "127.0.0.1"))
    files = web.write(folder, "web")        # paths: files.certificate (with its chain), files.key
    trust = write(folder, "ca.pem", root.pem)
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import cache
from ipaddress import ip_address
from typing import Final, Literal, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
KeyKind = Literal["ec", "rsa", "ed25519"]
Usage = Literal["both", "server", "client", "none"]

BEGIN: Final = datetime(2024, 1, 1, tzinfo=timezone.utc)
END: Final = datetime(2099, 1, 1, tzinfo=timezone.utc)
EXPIRED: Final = (datetime(2020, 1, 1, tzinfo=timezone.utc), datetime(2021, 1, 1, tzinfo=timezone.utc))
"""
For C{leaf(..., validity=EXPIRED)}.
"""
FUTURE: Final = (datetime(2098, 1, 1, tzinfo=timezone.utc), END)

_USAGES: Final = {
    "both": [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH],
    "server": [ExtendedKeyUsageOID.SERVER_AUTH],
    "client": [ExtendedKeyUsageOID.CLIENT_AUTH],
}


class Files(NamedTuple):
    """
    Paths of what L{Identity.write} wrote.
    """

    certificate: str
    key: str


@dataclass(frozen=True)
class Identity:
    """
    A certificate with its key.

    @ivar chain: the certificates between this one and its root, nearest first, without both.
    """

    certificate: x509.Certificate
    key: Key
    chain: tuple[x509.Certificate, ...] = ()

    @property
    def pem(self) -> bytes:
        """
        The certificate alone.
        """
        return pem(self.certificate)

    @property
    def full_pem(self) -> bytes:
        """
        The certificate, then its chain without the root: what C{ssl_certificate} names.
        """
        return pem(self.certificate, *self.chain)

    @property
    def key_pem(self) -> bytes:
        """
        The key, PKCS#8, without a password.
        """
        return self.encrypted_key_pem(None)

    def encrypted_key_pem(self, password: bytes | None) -> bytes:
        """
        The key, PKCS#8, under C{password} where there is one.
        """
        lock = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
        return self.key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, lock)

    def write(self, folder: str | os.PathLike[str], stem: str, password: bytes | None = None) -> Files:
        """
        Write C{stem.pem} (certificate and chain) and C{stem.key} into C{folder}, which is made if missing.
        """
        return Files(
            write(folder, f"{stem}.pem", self.full_pem), write(folder, f"{stem}.key", self.encrypted_key_pem(password))
        )


def pem(*certificates: x509.Certificate) -> bytes:
    """
    The certificates as one PEM file.
    """
    return b"".join(each.public_bytes(serialization.Encoding.PEM) for each in certificates)


def write(folder: str | os.PathLike[str], name: str, data: bytes) -> str:
    """
    @return: the path of the file C{name}, which now holds C{data}; its folder is made if missing.
    """
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, name)
    with open(path, "wb") as file:
        file.write(data)
    return path


@cache
def _rsa(label: str) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def new_key(kind: KeyKind = "ec", label: str = "") -> Key:
    """
    @param label: RSA keys of one label are one key; other kinds are new each time.
    """
    if kind == "rsa":
        return _rsa(label)
    if kind == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    return ec.generate_private_key(ec.SECP256R1())


def subject(name: str | Sequence[tuple[x509.ObjectIdentifier, str]]) -> x509.Name:
    """
    @param name: a common name, or the attributes of a distinguished name in order.
    """
    if isinstance(name, str):
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in name])


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _signed(builder: x509.CertificateBuilder, key: Key) -> x509.Certificate:
    return builder.sign(key, None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256())


def _builder(
    name: x509.Name,
    issuer: x509.Name,
    key: Key,
    validity: tuple[datetime, datetime],
    serial: int | None,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(serial or x509.random_serial_number())
        .not_valid_before(validity[0])
        .not_valid_after(validity[1])
    )


def _identified(builder: x509.CertificateBuilder, key: Key) -> x509.CertificateBuilder:
    return builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)


def _pointing(builder: x509.CertificateBuilder, issuer: x509.Certificate) -> x509.CertificateBuilder:
    identifier = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    pointer = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)
    return builder.add_extension(pointer, critical=False)


def _as_authority(builder: x509.CertificateBuilder) -> x509.CertificateBuilder:
    uses = dict.fromkeys(
        (
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "encipher_only",
            "decipher_only",
        ),
        False,
    )
    return builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True).add_extension(
        x509.KeyUsage(digital_signature=True, key_cert_sign=True, crl_sign=True, **uses), critical=True
    )


def authority(
    name: str | Sequence[tuple[x509.ObjectIdentifier, str]] = "Test CA",
    *,
    kind: KeyKind = "ec",
    validity: tuple[datetime, datetime] = (BEGIN, END),
) -> Identity:
    """
    A root: self-signed and allowed to sign. Two calls with one name give two authorities with the same subject and
    other keys.
    """
    key = new_key(kind, f"authority {name}")
    own = subject(name)
    builder = _as_authority(_identified(_builder(own, own, key, validity, None), key))
    return Identity(_signed(builder, key), key)


def intermediate(
    issuer: Identity,
    name: str,
    *,
    kind: KeyKind = "ec",
    validity: tuple[datetime, datetime] = (BEGIN, END),
) -> Identity:
    """
    An authority signed by C{issuer}.
    """
    key = new_key(kind, f"intermediate {name}")
    builder = _builder(subject(name), issuer.certificate.subject, key, validity, None)
    builder = _pointing(_as_authority(_identified(builder, key)), issuer.certificate)
    return Identity(_signed(builder, issuer.key), key, _chain_under(issuer))


def chain(root: Identity, count: int, name: str = "Intermediate") -> Identity:
    """
    @return: the last of C{count} intermediates under C{root}; C{root} itself for 0.
    """
    last = root
    for number in range(1, count + 1):
        last = intermediate(last, f"{name} {number}")
    return last


def _chain_under(issuer: Identity) -> tuple[x509.Certificate, ...]:
    root = issuer.certificate.subject == issuer.certificate.issuer
    return () if root else (issuer.certificate, *issuer.chain)


def leaf(
    issuer: Identity,
    name: str | Sequence[tuple[x509.ObjectIdentifier, str]] = "example.com",
    *,
    names: Sequence[str] | None = None,
    usage: Usage = "both",
    validity: tuple[datetime, datetime] = (BEGIN, END),
    pointer: bool = True,
    kind: KeyKind = "ec",
    serial: int | None = None,
) -> Identity:
    """
    An end-entity certificate.

    @param name: its common name, or the attributes of its subject.
    @param names: its subject alternative names, IP addresses among them; None: the common name alone; empty: no such
        extension.
    @param usage: its extended key usage; C{"none"}: no such extension.
    @param pointer: whether it has an authority key identifier.
    """
    key = new_key(kind, f"leaf {name}")
    builder = _identified(_builder(subject(name), issuer.certificate.subject, key, validity, serial), key)
    builder = _ended(builder, names if names is not None else ((name,) if isinstance(name, str) else ()), usage)
    if pointer:
        builder = _pointing(builder, issuer.certificate)
    return Identity(_signed(builder, issuer.key), key, _chain_under(issuer))


def self_signed(
    name: str = "self.example.com",
    *,
    names: Sequence[str] | None = None,
    usage: Usage = "both",
    validity: tuple[datetime, datetime] = (BEGIN, END),
    kind: KeyKind = "ec",
) -> Identity:
    """
    An end-entity certificate that nobody but itself has signed.
    """
    key = new_key(kind, f"self {name}")
    own = subject(name)
    builder = _ended(_identified(_builder(own, own, key, validity, None), key), names or (name,), usage)
    return Identity(_signed(builder, key), key)


def _ended(builder: x509.CertificateBuilder, names: Sequence[str], usage: Usage) -> x509.CertificateBuilder:
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    if names:
        alternatives = x509.SubjectAlternativeName([_general_name(each) for each in names])
        builder = builder.add_extension(alternatives, critical=False)
    if usage != "none":
        builder = builder.add_extension(x509.ExtendedKeyUsage(_USAGES[usage]), critical=False)
    return builder


def crl(issuer: Identity, *revoked: Identity, validity: tuple[datetime, datetime] = (BEGIN, END)) -> bytes:
    """
    @return: a revocation list of C{issuer}, PEM, that names C{revoked}.
    """
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.certificate.subject)
        .last_update(validity[0])
        .next_update(validity[1])
    )
    for each in revoked:
        entry = x509.RevokedCertificateBuilder().serial_number(each.certificate.serial_number)
        builder = builder.add_revoked_certificate(entry.revocation_date(BEGIN).build())
    algorithm = None if isinstance(issuer.key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(issuer.key, algorithm).public_bytes(serialization.Encoding.PEM)
