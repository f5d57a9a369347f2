"""
C{proxy_protocol on | v2}: what an upstream is told of the client before anything else is said to it
(ngx_stream_proxy_module, ngx_proxy_protocol.c).

Version 2 tells, where the client speaks TLS with us, also which name and protocol it has asked for, what both have
agreed on, and who it is by its certificate.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.dsa import DSAPublicKey
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.x509.oid import NameOID

from sniproxy.tls import facts
from sniproxy.wire import proxy_protocol as wire
from sniproxy.wire.proxy_protocol import SslTlv, write_header, write_line, write_tlv

if TYPE_CHECKING:
    from sniproxy.common.session import Session
    from sniproxy.common.ssl_variables import TlsFacts

OFF: Final = "off"

UNSPECIFIED: Final = 1
"""X509_V_ERR_UNSPECIFIED: there is no certificate whose verification could have had a result."""

_KEYS: Final = ((RSAPublicKey, "RSA"), (EllipticCurvePublicKey, "EC"), (DSAPublicKey, "DSA"))

_SIGNATURES: Final = {
    "1.2.840.113549.1.1.4": "RSA-MD5",
    "1.2.840.113549.1.1.5": "RSA-SHA1",
    "1.2.840.113549.1.1.10": "RSASSA-PSS",
    "1.2.840.113549.1.1.11": "RSA-SHA256",
    "1.2.840.113549.1.1.12": "RSA-SHA384",
    "1.2.840.113549.1.1.13": "RSA-SHA512",
    "1.2.840.113549.1.1.14": "RSA-SHA224",
    "1.2.840.10040.4.3": "DSA-SHA1",
    "2.16.840.1.101.3.4.3.1": "dsa_with_SHA224",
    "2.16.840.1.101.3.4.3.2": "dsa_with_SHA256",
    "1.2.840.10045.4.1": "ecdsa-with-SHA1",
    "1.2.840.10045.4.3.1": "ecdsa-with-SHA224",
    "1.2.840.10045.4.3.2": "ecdsa-with-SHA256",
    "1.2.840.10045.4.3.3": "ecdsa-with-SHA384",
    "1.2.840.10045.4.3.4": "ecdsa-with-SHA512",
    "1.3.101.112": "ED25519",
    "1.3.101.113": "ED448",
}
"""OpenSSL's short names of the algorithms by which certificates are signed."""


def line(session: Session) -> bytes:
    """
    A header of version 1.
    """
    return write_line(session.peer, session.local)


def header(session: Session) -> bytes:
    """
    A header of version 2.
    """
    tls: TlsFacts | None = session.tls
    tlvs: list[tuple[int, bytes]] = []
    if tls is not None:
        name = session.hello.sent_name if session.hello is not None else None
        if name:
            tlvs.append((wire.AUTHORITY, name.encode("utf-8", "surrogateescape")))
        protocol = tls.connection.get_alpn_proto_negotiated()
        if protocol:
            tlvs.append((wire.ALPN, protocol))
        tlvs.append((wire.SSL, _about(tls).write()))
    return write_header(session.peer, session.local, tlvs, datagrams=session.listening.udp)


WRITERS: Final[dict[str, Callable[[Session], bytes] | None]] = {OFF: None, "on": line, "v2": header}
"""By the words of the directive."""


def _about(tls: TlsFacts) -> SslTlv:
    """
    What is known of TLS with the client.
    """
    client, verify = wire.CLIENT_SSL, UNSPECIFIED
    shown = tls.certificate
    if shown is not None:
        client |= wire.CLIENT_CERT_SESS
        if facts.session_reused(tls.connection) != "r":
            client |= wire.CLIENT_CERT_CONN
        verify = tls.judgement.code
    own = tls.connection.get_certificate(as_cryptography=True)
    said = (
        (wire.SSL_VERSION, facts.protocol(tls.connection)),
        (wire.SSL_CN, None if shown is None else _common_name(shown)),
        (wire.SSL_CIPHER, facts.cipher(tls.connection)),
        (wire.SSL_SIG_ALG, None if own is None else _SIGNATURES.get(own.signature_algorithm_oid.dotted_string)),
        (wire.SSL_KEY_ALG, None if own is None else _key(own)),
    )
    return SslTlv(
        client, verify, b"".join(write_tlv(kind, text.encode("utf-8")) for kind, text in said if text is not None)
    )


def _common_name(certificate: x509.Certificate) -> str | None:
    """
    The first in the subject; None where there is none that is text, or one that no name is as long as.
    """
    found = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    name = found[0].value if found else None
    return name if isinstance(name, str) and len(name) <= LONGEST_NAME else None


LONGEST_NAME: Final = 255
"""Characters of a common name that are passed on. X.520 allows 64; the header must stay one that others take."""


def _key(certificate: x509.Certificate) -> str | None:
    key = certificate.public_key()
    return next((f"{word}{key.key_size}" for kind, word in _KEYS if isinstance(key, kind)), None)
