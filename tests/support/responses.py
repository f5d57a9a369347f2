"""
What do OCSP responders of tests say? Responses made by C{cryptography}, good and spoiled.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID

from tests.support import pki


def response(
    subject: pki.Identity,
    issuer: pki.Identity,
    now: float,
    word: str = "good",
    *,
    signer: pki.Identity | None = None,
    shown: pki.Identity | None = None,
    age: float = 60.0,
    lasts: float | None = 3600.0,
    algorithm: Any = None,
) -> bytes:
    """
    @param subject: whose status it is.
    @param signer: who signs; the issuer where None.
    @param shown: a certificate that comes with it.
    @param age: seconds since it was known.
    @param lasts: seconds until more will be known; None for nobody knows when.
    """
    moment = datetime.fromtimestamp(now, timezone.utc)
    signer = issuer if signer is None else signer
    builder = ocsp.OCSPResponseBuilder().add_response(
        cert=subject.certificate,
        issuer=issuer.certificate,
        algorithm=hashes.SHA1() if algorithm is None else algorithm,
        cert_status=ocsp.OCSPCertStatus[word.upper()],
        this_update=moment - timedelta(seconds=age),
        next_update=None if lasts is None else moment + timedelta(seconds=lasts),
        revocation_time=moment - timedelta(days=1) if word == "revoked" else None,
        revocation_reason=None,
    )
    builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, signer.certificate)
    if shown is not None:
        builder = builder.certificates([shown.certificate])
    kind = None if isinstance(signer.key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(signer.key, kind).public_bytes(Encoding.DER)


def unsuccessful(status: ocsp.OCSPResponseStatus) -> bytes:
    """
    A responder that says nothing but why.
    """
    return ocsp.OCSPResponseBuilder.build_unsuccessful(status).public_bytes(Encoding.DER)


def http(body: bytes, head: bytes = b"HTTP/1.0 200 OK\r\nContent-Type: application/ocsp-response\r\n\r\n") -> bytes:
    """
    The same as it comes over the network.
    """
    return head + body


def with_url(issuer: pki.Identity, name: str, *urls: str) -> pki.Identity:
    """
    A certificate that names responders.
    """
    plain = pki.leaf(issuer, name)
    access = x509.AuthorityInformationAccess(
        [
            x509.AccessDescription(
                AuthorityInformationAccessOID.CA_ISSUERS, x509.UniformResourceIdentifier("http://x/")
            ),
            *(
                x509.AccessDescription(AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier(url))
                for url in urls
            ),
        ]
    )
    builder = x509.CertificateBuilder(
        issuer.certificate.subject,
        plain.certificate.subject,
        plain.certificate.public_key(),
        plain.certificate.serial_number,
        plain.certificate.not_valid_before_utc,
        plain.certificate.not_valid_after_utc,
        [*plain.certificate.extensions, x509.Extension(access.oid, False, access)],
    )
    return pki.Identity(builder.sign(issuer.key, hashes.SHA256()), plain.key, plain.chain)


def delegate(issuer: pki.Identity, *, usage: bool = True, validity: Any = (pki.BEGIN, pki.END)) -> pki.Identity:
    """
    A certificate that may sign responses for its issuer.
    """
    key = pki.new_key()
    builder = (
        x509.CertificateBuilder()
        .subject_name(pki.subject("Responder"))
        .issuer_name(issuer.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(validity[0])
        .not_valid_after(validity[1])
    )
    use = ExtendedKeyUsageOID.OCSP_SIGNING if usage else ExtendedKeyUsageOID.CLIENT_AUTH
    builder = builder.add_extension(x509.ExtendedKeyUsage([use]), critical=False)
    return pki.Identity(builder.sign(issuer.key, hashes.SHA256()), key)
