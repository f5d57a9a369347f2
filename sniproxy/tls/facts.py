"""
What do the C{$ssl_…} variables say? One function for each fact, of a connection or of a certificate, in nginx's
spelling (ngx_event_openssl.c). Nothing is computed before it is asked for.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final
from urllib.parse import quote

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL

from sniproxy.tls import names, native, sessions
from sniproxy.tls.native import TLSConnection

_SHORT_NAMES: Final = {
    "0.9.2342.19200300.100.1.1": "UID",
    "0.9.2342.19200300.100.1.25": "DC",
    "1.2.840.113549.1.9.1": "emailAddress",
    "1.2.840.113549.1.9.2": "unstructuredName",
    "1.3.6.1.4.1.311.60.2.1.1": "jurisdictionL",
    "1.3.6.1.4.1.311.60.2.1.2": "jurisdictionST",
    "1.3.6.1.4.1.311.60.2.1.3": "jurisdictionC",
    "2.5.4.3": "CN",
    "2.5.4.4": "SN",
    "2.5.4.5": "serialNumber",
    "2.5.4.6": "C",
    "2.5.4.7": "L",
    "2.5.4.8": "ST",
    "2.5.4.9": "street",
    "2.5.4.10": "O",
    "2.5.4.11": "OU",
    "2.5.4.12": "title",
    "2.5.4.13": "description",
    "2.5.4.15": "businessCategory",
    "2.5.4.16": "postalAddress",
    "2.5.4.17": "postalCode",
    "2.5.4.18": "postOfficeBox",
    "2.5.4.20": "telephoneNumber",
    "2.5.4.41": "name",
    "2.5.4.42": "GN",
    "2.5.4.43": "initials",
    "2.5.4.44": "generationQualifier",
    "2.5.4.46": "dnQualifier",
    "2.5.4.65": "pseudonym",
    "2.5.4.97": "organizationIdentifier",
}
"""
OpenSSL's short names of the attributes that are seen in certificates.
"""
_GROUPS: Final = {"secp256r1": "prime256v1", "x25519": "X25519", "x448": "X448"}
"""
Where nginx says another name of a group than OpenSSL's TLS layer.
"""
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def protocol(connection: SSL.Connection) -> str:
    """
    C{$ssl_protocol}: C{"TLSv1.3"}.
    """
    return connection.get_protocol_version_name()


def cipher(connection: SSL.Connection) -> str:
    """
    C{$ssl_cipher}: OpenSSL's name; empty before it is agreed on.
    """
    return connection.get_cipher_name() or ""


def ciphers(connection: SSL.Connection, codes: Iterable[int]) -> str:
    """
    C{$ssl_ciphers}: OpenSSL's names, joined by colons; in hexadecimal what it does not know.

    @param codes: what the client offers, in its order.
    """
    return ":".join(native.cipher_name(connection, code) or names.unknown(code) for code in codes)


def curve(connection: SSL.Connection) -> str:
    """
    C{$ssl_curve}: the group of the key exchange; empty where there was none.
    """
    name = connection.get_group_name() or ""
    return _GROUPS.get(name, name)


def session_id(connection: SSL.Connection) -> str:
    """
    C{$ssl_session_id}: in hexadecimal, perhaps empty.
    """
    return sessions.session_id(native.session_der(connection)).hex()


def signature(connection: TLSConnection) -> str:
    """
    C{$ssl_sigalg}: by what we have signed; empty where we have not.
    """
    return names.signatures((connection.signature,)) if connection.signature else ""


def peer_signature(connection: TLSConnection) -> str:
    """
    C{$ssl_client_sigalg}: the same of the peer.
    """
    return names.signatures((connection.peer_signature,)) if connection.peer_signature else ""


def session_reused(connection: SSL.Connection) -> str:
    """
    C{$ssl_session_reused}: C{"r"} or C{"."}.
    """
    return "r" if native.session_reused(connection) else "."


def alpn(connection: SSL.Connection) -> str:
    """
    C{$ssl_alpn_protocol}: what was agreed on, perhaps nothing.
    """
    return connection.get_alpn_proto_negotiated().decode("utf-8", "surrogateescape")


def subject(certificate: x509.Certificate) -> str:
    """
    C{$ssl_client_s_dn}.
    """
    return distinguished_name(certificate.subject)


def issuer(certificate: x509.Certificate) -> str:
    """
    C{$ssl_client_i_dn}.
    """
    return distinguished_name(certificate.issuer)


def distinguished_name(name: x509.Name) -> str:
    """
    @return: RFC 2253 as OpenSSL writes it (C{XN_FLAG_RFC2253}): last attribute first, all but printable ASCII in
        escapes.
    """
    return ",".join("+".join(_attribute(each) for each in reversed(list(rdn))) for rdn in reversed(list(name.rdns)))


def _attribute(attribute: x509.NameAttribute[str | bytes]) -> str:
    oid, value = attribute.oid.dotted_string, attribute.value
    short = _SHORT_NAMES.get(oid)
    raw = value if isinstance(value, bytes) else value.encode("utf-8")
    if short is None or isinstance(value, bytes):
        # What OpenSSL has no name for, or no characters, it writes as DER: here of a UTF8String or a BIT STRING.
        tag = 0x03 if isinstance(value, bytes) else 0x0C
        return f"{short or oid}=#{bytes((tag, len(raw))).hex().upper()}{raw.hex().upper()}"
    return f"{short}={_escaped(raw)}"


def _escaped(value: bytes) -> str:
    last = len(value) - 1
    pieces = []
    for at, byte in enumerate(value):
        character = chr(byte)
        if character in ',+"\\<>;' or (character == " " and at in (0, last)) or (character == "#" and at == 0):
            pieces.append(f"\\{character}")
        elif 0x20 <= byte < 0x7F:
            pieces.append(character)
        else:
            pieces.append(f"\\{byte:02X}")
    return "".join(pieces)


def serial(certificate: x509.Certificate) -> str:
    """
    C{$ssl_client_serial}: whole bytes in upper-case hexadecimal.
    """
    number = certificate.serial_number
    digits = f"{abs(number):X}"
    return f"{'-' if number < 0 else ''}{digits.zfill(len(digits) + len(digits) % 2)}"


def fingerprint(certificate: x509.Certificate) -> str:
    """
    C{$ssl_client_fingerprint}: SHA-1 of the DER, in hexadecimal.
    """
    return certificate.fingerprint(hashes.SHA1()).hex()


def valid_from(certificate: x509.Certificate) -> str:
    """
    C{$ssl_client_v_start}: C{"Jan  1 00:00:00 2024 GMT"}.
    """
    return _time(certificate.not_valid_before_utc)


def valid_to(certificate: x509.Certificate) -> str:
    """
    C{$ssl_client_v_end}.
    """
    return _time(certificate.not_valid_after_utc)


def _time(moment: datetime) -> str:
    return f"{_MONTHS[moment.month - 1]} {moment.day:2d} {moment:%H:%M:%S} {moment.year} GMT"


def days_left(certificate: x509.Certificate, now: float) -> str:
    """
    C{$ssl_client_v_remain}: whole days from C{now} (seconds since the epoch) to the end; 0 when it has passed.
    """
    return str(max(0, int(certificate.not_valid_after_utc.timestamp() - int(now)) // 86400))


def raw_pem(certificate: x509.Certificate) -> str:
    """
    C{$ssl_client_raw_cert}.
    """
    return certificate.public_bytes(Encoding.PEM).decode("ascii")


def tabbed_pem(certificate: x509.Certificate) -> str:
    """
    C{$ssl_client_cert}: fit for a header of several lines, each but the first begins with a tab.
    """
    return raw_pem(certificate).removesuffix("\n").replace("\n", "\n\t")


def escaped_pem(certificate: x509.Certificate) -> str:
    """
    C{$ssl_client_escaped_cert}: as a component of a URI.
    """
    return quote(raw_pem(certificate), safe="-._~")
