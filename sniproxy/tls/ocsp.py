"""
What does a responder say about a certificate, and is it to be believed (RFC 6960)?

Strategy: an answer counts only if it is about this certificate of this issuer, is signed by the issuer or by a
certificate that the issuer has made for it, and is neither old nor of tomorrow. Whatever else it may be is an error in
nginx's words (ngx_event_openssl_stapling.c).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID

TOLERANCE: Final = 300.0
"""Seconds that two clocks may differ."""

FOREVER: Final = float("inf")

_NOT_SUCCESSFUL: Final = {
    ocsp.OCSPResponseStatus.MALFORMED_REQUEST: "malformedrequest",
    ocsp.OCSPResponseStatus.INTERNAL_ERROR: "internalerror",
    ocsp.OCSPResponseStatus.TRY_LATER: "trylater",
    ocsp.OCSPResponseStatus.SIG_REQUIRED: "sigrequired",
    ocsp.OCSPResponseStatus.UNAUTHORIZED: "unauthorized",
}


class OcspError(Exception):
    """
    An answer that says nothing; the text is nginx's.
    """


@dataclass(frozen=True, slots=True)
class Status:
    """
    What is known of a certificate.

    @ivar word: C{"good"}, C{"revoked"} or C{"unknown"}.
    @ivar until: when the responder will know more, seconds since the epoch.
    """

    word: str
    until: float


def question(certificate: x509.Certificate, issuer: x509.Certificate) -> bytes:
    """
    @return: a request for the status of one certificate, DER.
    """
    made = ocsp.OCSPRequestBuilder().add_certificate(certificate, issuer, hashes.SHA1()).build()
    return made.public_bytes(Encoding.DER)


def responder(certificate: x509.Certificate) -> str:
    """
    @return: the URL of the responder that a certificate names first; empty where it names none.
    """
    try:
        access = certificate.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    except (x509.ExtensionNotFound, ValueError):
        return ""
    for each in access:
        if each.access_method == AuthorityInformationAccessOID.OCSP and isinstance(
            each.access_location, x509.UniformResourceIdentifier
        ):
            return each.access_location.value
    return ""


def load(data: bytes) -> ocsp.OCSPResponse:
    """
    @raise OcspError: it is no response.
    """
    try:
        return ocsp.load_der_ocsp_response(data)
    except (ValueError, UnsupportedAlgorithm):
        raise OcspError("d2i_OCSP_RESPONSE() failed") from None


def status(
    data: bytes, certificate: x509.Certificate, issuer: x509.Certificate, now: float, verify: bool = True
) -> Status:
    """
    @param data: a response, DER.
    @param now: seconds since the epoch.
    @param verify: whether it must be signed by whom it must; only for answers that others will verify.
    @raise OcspError: it says nothing about the certificate, or nothing that can be believed.
    """
    response = load(data)
    if response.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
        number = response.response_status.value
        raise OcspError(f"OCSP response not successful ({number}: {_NOT_SUCCESSFUL[response.response_status]})")
    try:
        if verify and not any(_signed(response, each) for each in _signers(response, issuer, now)):
            raise OcspError("OCSP_basic_verify() failed")
        found = next((each for each in response.responses if _about(each, certificate, issuer)), None)
    except (ValueError, UnsupportedAlgorithm):
        raise OcspError("OCSP_basic_verify() failed") from None
    if found is None:
        raise OcspError("certificate status not found in the OCSP response")
    begin, end = found.this_update_utc.timestamp(), _seconds(found.next_update_utc)
    if begin - TOLERANCE > now or end + TOLERANCE < now:
        raise OcspError("OCSP_check_validity() failed")
    return Status(found.certificate_status.name.lower(), end)


def _seconds(moment: datetime | None) -> float:
    return FOREVER if moment is None else moment.timestamp()


def _about(single: ocsp.OCSPSingleResponse, certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """
    Whether it is of this certificate: the serial number alone says nothing.
    """
    if single.serial_number != certificate.serial_number:
        return False
    asked = ocsp.OCSPRequestBuilder().add_certificate(certificate, issuer, single.hash_algorithm).build()
    return (single.issuer_name_hash, single.issuer_key_hash) == (asked.issuer_name_hash, asked.issuer_key_hash)


def _signers(response: ocsp.OCSPResponse, issuer: x509.Certificate, now: float) -> Iterator[x509.Certificate]:
    """
    Who may have signed: the issuer, and those it has made responders (RFC 6960 section 4.2.2.2).
    """
    yield issuer
    for each in response.certificates:
        try:
            usage = each.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
            each.verify_directly_issued_by(issuer)
        except (x509.ExtensionNotFound, InvalidSignature, ValueError, TypeError, UnsupportedAlgorithm):
            continue
        fresh = each.not_valid_before_utc.timestamp() <= now <= each.not_valid_after_utc.timestamp()
        if fresh and ExtendedKeyUsageOID.OCSP_SIGNING in usage:
            yield each


def _signed(response: ocsp.OCSPResponse, signer: x509.Certificate) -> bool:
    key, signature, signed = signer.public_key(), response.signature, response.tbs_response_bytes
    algorithm = response.signature_hash_algorithm
    try:
        if isinstance(key, rsa.RSAPublicKey) and algorithm is not None:
            key.verify(signature, signed, padding.PKCS1v15(), algorithm)
        elif isinstance(key, ec.EllipticCurvePublicKey) and algorithm is not None:
            key.verify(signature, signed, ec.ECDSA(algorithm))
        elif isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey):
            key.verify(signature, signed)
        else:
            return False
    except InvalidSignature:
        return False
    return True
