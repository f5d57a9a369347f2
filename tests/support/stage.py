"""
What stands around two proxies that are compared? Back ends and certificates, the same for both, by the names of the
places that they fill:

    b0 b1 b2        back ends that say their number and echo
    t0 t1           such with TLS, which say what they know of their client; t1 demands a certificate of ca
    d0 d1 d2        back ends of datagrams that put their number before what they send back
    twice mute      such that answer twice, or never
    dns             a name server that lies, see L{tests.support.lies}
    closed closed_udp   ports at which nobody is
    a b rsa mary gone late john deep    certificates, with C{_key} behind their name the keys; see L{identities}
    pki             the folder of all these
    dh              parameters for Diffie-Hellman
    ca ca2          their authorities, with C{_list} what these have revoked
"""

from __future__ import annotations

import base64
import socket
import ssl
import threading
from collections.abc import Callable
from functools import cache
from typing import Final

from cryptography.x509.oid import NameOID

from tests.support import pki
from tests.support.backends import Talk, Visit, backend, closed_port, echo, greet
from tests.support.clients import server_context
from tests.support.lies import lie
from tests.support.pki import Files
from tests.support.ports import free_port
from tests.support.programs import PATIENCE
from tests.support.proxies import ProxyTestCase

BACKENDS: Final = 3
MARY: Final = (
    (NameOID.COUNTRY_NAME, "DE"),
    (NameOID.ORGANIZATION_NAME, "Müller, Söhne"),
    (NameOID.COMMON_NAME, 'mary + "x"'),
    (NameOID.EMAIL_ADDRESS, "mary@example.com"),
)


def furnished(test: ProxyTestCase) -> dict[str, object]:
    """
    Start what stands behind both proxies, and write all certificates.

    @return: what places are filled with.
    """
    values: dict[str, object] = {
        "pki": test.path("pki"),
        "closed": closed_port(test),
        "closed_udp": free_port(socket.SOCK_DGRAM),
    }
    for name, identity in identities().items():
        values[name], values[f"{name}_key"] = identity.write(test.path("pki"), name)
    for name in ("ca", "ca2"):
        values[f"{name}_list"] = pki.write(
            test.path("pki"), f"{name}.crl", pki.crl(identities()[name], identities()["gone"])
        )
    values["dh"] = pki.write(test.path("pki"), "dh.pem", ffdhe2048())
    for number in range(BACKENDS):
        values[f"b{number}"] = backend(test, greet(b"%d:" % number)).port
        values[f"d{number}"] = answering(test, lambda data, said=b"%d:" % number: [said + data])  # type: ignore[misc]
    values["dns"] = answering(test, lie)
    values["twice"] = answering(test, lambda data: [b"1" + data, b"2" + data])
    values["mute"] = answering(test, lambda data: [])
    for name, asks in (("t0", None), ("t1", str(values["ca"]))):
        context = server_context(Files(str(values["rsa"]), str(values["rsa_key"])), trust=asks)
        context.set_alpn_protocols(["one", "two"])
        values[name] = backend(test, who_are_you(name), context).port
    return values


@cache
def identities() -> dict[str, pki.Identity]:
    """
    All who have a certificate: two authorities, servers of the first (C{a}, C{b}, C{rsa}), clients of both (C{mary},
    C{gone}, which is revoked, C{late}, which is expired, and C{john} of the second one), and one below C{ca}.
    """
    ca, ca2 = pki.authority("First CA"), pki.authority("Second CA")
    below = pki.intermediate(ca, "Below")
    return {
        "ca": ca,
        "ca2": ca2,
        "a": pki.leaf(ca, "a.example.com"),
        "b": pki.leaf(ca, "b.example.com"),
        "rsa": pki.leaf(ca, "rsa.example.com", kind="rsa"),
        "mary": pki.leaf(ca, MARY, names=(), serial=0x0123456789ABCDEF),
        "gone": pki.leaf(ca, "gone"),
        "late": pki.leaf(ca, "late", validity=pki.EXPIRED),
        "john": pki.leaf(ca2, "john"),
        "deep": pki.leaf(below, "deep"),
    }


@cache
def ffdhe2048() -> bytes:
    """
    The group of that name, from its definition (RFC 7919, appendix A.1), as PEM: to find another would take a minute.
    """
    bits = 1918
    euler, term, number = 0, 1 << (bits + 64), 0  # with 64 bits to spare
    while term:
        euler, number = euler + term, number + 1
        term //= number
    prime = 2**2048 - 2**1984 + ((euler >> 64) + 560316) * 2**64 - 1
    inside = b"".join(b"\2" + _sized(each.to_bytes(each.bit_length() // 8 + 1, "big")) for each in (prime, 2))
    text = base64.encodebytes(b"\x30" + _sized(inside))
    return b"-----BEGIN DH PARAMETERS-----\n" + text + b"-----END DH PARAMETERS-----\n"


def _sized(data: bytes) -> bytes:
    """
    Bytes as DER has them, with their length.
    """
    size = len(data)
    return (bytes([size]) if size < 128 else b"\x82" + size.to_bytes(2, "big")) + data


def who_are_you(name: str) -> Talk:
    """
    Say one's name and what the client asked for, then echo.
    """

    def talk(connection: socket.socket, visit: Visit) -> None:
        assert isinstance(connection, ssl.SSLSocket)
        alpn, certificate = connection.selected_alpn_protocol(), visit.certificate is not None
        connection.sendall(f"{name} {visit.version} {visit.name} {alpn} {certificate}:".encode())
        echo(connection, visit)

    return talk


def answering(test: ProxyTestCase, answer: Callable[[bytes], list[bytes]]) -> int:
    """
    @param answer: gives the datagrams that one is answered with.
    @return: the port of a back end of datagrams on 127.0.0.1 that ends with the test.
    """
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    port = int(sock.getsockname()[1])
    over = threading.Event()

    def serve() -> None:
        while True:
            data, sender = sock.recvfrom(70000)
            if over.is_set():
                return
            for each in answer(data):
                sock.sendto(each, sender)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()

    def close() -> None:
        over.set()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"", ("127.0.0.1", port))
        thread.join(PATIENCE)
        sock.close()

    test.addCleanup(close)
    return port
