"""
What does a client see of a proxy? Plain and TLS clients in a few lines, blocking, with a deadline on everything.
"""

from __future__ import annotations

import socket
import ssl
from typing import Final

from cryptography import x509
from cryptography.x509.oid import NameOID

from tests.support.pki import Files
from tests.support.programs import PATIENCE

VERSIONS: Final = {"TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3}


def plain(port: int, address: str = "127.0.0.1") -> socket.socket:
    """
    @return: a connection.
    """
    return socket.create_connection((address, port), PATIENCE)


def context(
    version: str | None = None,
    *,
    identity: Files | None = None,
    trust: str | None = None,
    alpn: list[str] | None = None,
) -> ssl.SSLContext:
    """
    A client's context.

    @param version: the one version to speak; None: whatever both can.
    @param identity: the certificate to show.
    @param trust: the file of the authorities to believe; None: any server is believed.
    """
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if trust is None:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    else:
        made.load_verify_locations(trust)
    if version is not None:
        made.minimum_version = made.maximum_version = VERSIONS[version]
    if identity is not None:
        made.load_cert_chain(identity.certificate, identity.key)
    if alpn:
        made.set_alpn_protocols(alpn)
    return made


def server_context(identity: Files, *, trust: str | None = None, version: str | None = None) -> ssl.SSLContext:
    """
    A server's context.

    @param trust: demand a certificate of these authorities.
    """
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(identity.certificate, identity.key)
    if trust is not None:
        made.load_verify_locations(trust)
        made.verify_mode = ssl.CERT_REQUIRED
    if version is not None:
        made.minimum_version = made.maximum_version = VERSIONS[version]
    return made


def tls(
    port: int,
    name: str | None = None,
    settings: ssl.SSLContext | None = None,
    *,
    session: ssl.SSLSession | None = None,
) -> ssl.SSLSocket:
    """
    @param name: the server name to ask for; None: no name is sent.
    @return: a connection after its handshake.
    @raise OSError: there was none.
    """
    raw = plain(port)
    try:
        return (settings or context()).wrap_socket(raw, server_hostname=name, session=session)
    except BaseException:
        raw.close()
        raise


def read_all(connection: socket.socket) -> bytes:
    """
    @return: everything until the end, orderly or by reset.
    """
    found = bytearray()
    try:
        while block := connection.recv(65536):
            found += block
    except TimeoutError:
        raise
    except OSError:
        pass
    return bytes(found)


def read_exactly(connection: socket.socket, count: int) -> bytes:
    """
    @return: the next C{count} bytes, fewer where the connection ends.
    """
    found = bytearray()
    while len(found) < count:
        block = connection.recv(min(count - len(found), 65536))
        if not block:
            break
        found += block
    return bytes(found)


def hello(name: str | None = "a.example.com", version: str | None = None, alpn: list[str] | None = None) -> bytes:
    """
    @return: the first flight of a real TLS client.
    """
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    try:
        context(version, alpn=alpn).wrap_bio(incoming, outgoing, server_hostname=name).do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()


def records(flight: bytes, size: int) -> bytes:
    """
    The same handshake bytes in TLS records of C{size} bytes.

    @param flight: TLS records of one type.
    """
    kind, version, body = flight[:1], flight[1:3], bytearray()
    at = 0
    while at < len(flight):
        length = int.from_bytes(flight[at + 3 : at + 5], "big")
        body += flight[at + 5 : at + 5 + length]
        at += 5 + length
    pieces = [bytes(body[start : start + size]) for start in range(0, len(body), size)]
    return b"".join(kind + version + len(piece).to_bytes(2, "big") + piece for piece in pieces)


def common_name(connection: ssl.SSLSocket) -> str:
    """
    @return: the common name of the server's certificate, which need not be believed.
    """
    raw = connection.getpeercert(binary_form=True)
    assert raw is not None
    (found,) = x509.load_der_x509_certificate(raw).subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found.value)
