"""
What do the machines of the demonstration show each other? Authorities, certificates and ssh keys that live as long as
it runs.

Strategy: each machine has an authority of its own, as in the tutorial: what A shows is signed by A's, what B shows by
B's, and each holds the certificate of the other's. Keys are P-256 and Ed25519, made in less than a millisecond.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LIFE: Final = timedelta(days=7)
"""Longer than anybody leaves a demonstration running."""

EARLIER: Final = timedelta(hours=1)
"""Certificates begin before they are made, for clocks that differ."""

WILDCARD: Final = "*.example.com"


@dataclass(frozen=True, slots=True)
class Certificate:
    """
    A certificate and its key.
    """

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> bytes:
        """
        What C{ssl_certificate} names.
        """
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        """
        What C{ssl_certificate_key} names: PKCS#8 without a password.
        """
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )


@dataclass(frozen=True, slots=True)
class SshKey:
    """
    A key of ssh.

    @ivar private: the file as C{IdentityFile} and C{HostKey} want it, without a password.
    @ivar public: the line of C{authorized_keys} and C{known_hosts}: kind and key, no newline.
    """

    private: bytes
    public: bytes


def _begun(name: str, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(_named(name))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - EARLIER)
        .not_valid_after(now + LIFE)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _usage(*, signs_others: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=signs_others,
        crl_sign=signs_others,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def authority(name: str, now: datetime) -> Certificate:
    """
    A root of its own.

    @param name: its common name.
    @param now: with a time zone.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    builder = (
        _begun(name, _named(name), key, now)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_others=True), critical=True)
    )
    return Certificate(builder.sign(key, hashes.SHA256()), key)


def certificate(issuer: Certificate, name: str, now: datetime) -> Certificate:
    """
    A certificate for every name under example.com, good for servers and for clients: both machines of the tutorial
    are both.

    @param name: its common name, by which people tell it from others.
    @param now: with a time zone.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    signer = issuer.certificate
    identifier = signer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    builder = (
        _begun(name, signer.subject, key, now)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_others=False), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
        )
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(WILDCARD)]), critical=False)
    )
    return Certificate(builder.sign(issuer.key, hashes.SHA256()), key)


def ssh_key() -> SshKey:
    """
    For a host or for a user.
    """
    key = ed25519.Ed25519PrivateKey.generate()
    return SshKey(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
        ),
        key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH),
    )
