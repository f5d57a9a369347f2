"""
What do the directives say about TLS? Two frozen values, one for each side; L{sniproxy.tls.contexts} makes OpenSSL do
it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Literal

from cryptography import x509

VerifyHook = Callable[[int, x509.Certificate, int], bool]
"""
Called after the handshake with depth, certificate and OpenSSL's error number (0 for none) of each link; a false
answer or an exception refuses. It cannot admit what was refused without it.
"""
Staple = Callable[[x509.Certificate], bytes]
"""
From a certificate of ours to the OCSP response that is shown with it; empty for none. It must not raise.
"""
VerifyMode = Literal["off", "on", "optional", "optional_no_ca"]

PROTOCOLS: Final = ("SSLv2", "SSLv3", "TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")
"""
The words of C{ssl_protocols}.
"""
DEFAULT_PROTOCOLS: Final = ("TLSv1.2", "TLSv1.3")


@dataclass(frozen=True, slots=True)
class ServerPolicy:
    """
    All that a server block says about TLS with its clients.

    @ivar certificates: paths of certificate and key, one pair for each key type.
    @ivar passwords: for encrypted keys, see L{sniproxy.tls.credentials.read_passwords}.
    @ivar ciphers: OpenSSL's cipher list for TLS 1.2 and older; C{@SECLEVEL=} in it sets the security level.
    @ivar tls13_ciphers: suites of TLS 1.3 joined by colons; empty for OpenSSL's default.
    @ivar curves: groups joined by colons, or C{"auto"}.
    @ivar dhparam: a path; empty for no DHE.
    @ivar session_cache: the words of C{ssl_session_cache}.
    @ivar session_timeout: seconds.
    @ivar session_ticket_key: paths; refused, since pyOpenSSL does not reach them.
    @ivar alpn: protocols in order of preference; a client that offers others and none of them is refused.
    @ivar depth: how many intermediate certificates a client's chain may have.
    @ivar client_certificate: path of authorities that are trusted and whose names are sent to clients.
    @ivar trusted_certificate: path of authorities that are trusted and not advertised.
    @ivar crl: path of revocation lists; with it, every certificate of a chain needs one.
    @ivar signature_algorithms: joined by colons; empty for OpenSSL's default.
    @ivar options: bits of C{SSL_OP_…} that are set besides our own.
    @ivar without: those of our own that are not.
    @ivar reject: refuse every client at its ClientHello.
    @ivar unnamed: its certificates are not known, so every handshake fails where they would be needed.
    @ivar ocsp: clients' certificates are asked about after the handshake. Such a context resumes no sessions, because
        a resumed session has no chain to ask about.
    @ivar staple: finds what is stapled to a certificate of ours, for clients that ask.
    @ivar signatures: note by which algorithms both sides have signed.
    @ivar hook: may refuse what OpenSSL and the mode let in. A context with a hook resumes no sessions, because a
        resumed session has no chain to show it.
    """

    certificates: tuple[tuple[str, str], ...]
    passwords: tuple[bytes, ...] = field(default=(), repr=False)
    protocols: tuple[str, ...] = DEFAULT_PROTOCOLS
    ciphers: str = "HIGH:!aNULL:!MD5"
    tls13_ciphers: str = ""
    prefer_server_ciphers: bool = False
    curves: str = "auto"
    dhparam: str = ""
    session_cache: tuple[str, ...] = ("none",)
    session_tickets: bool = True
    session_timeout: float = 300.0
    session_ticket_key: tuple[str, ...] = ()
    alpn: tuple[str, ...] = ()
    verify: VerifyMode = "off"
    depth: int = 1
    client_certificate: str = ""
    trusted_certificate: str = ""
    crl: str = ""
    signature_algorithms: str = ""
    options: int = 0
    without: int = 0
    reject: bool = False
    unnamed: bool = False
    ocsp: bool = False
    staple: Staple | None = None
    signatures: bool = False
    hook: VerifyHook | None = None


@dataclass(frozen=True, slots=True)
class ClientPolicy:
    """
    All that a server block says about TLS with its upstreams; fields of the same name mean the same as in
    L{ServerPolicy}.

    @ivar certificates: what is shown to an upstream that asks.
    @ivar verify: whether the upstream's chain and name must hold.
    @ivar trusted_certificate: path of authorities; needed with C{verify}.
    @ivar alpn: protocols to offer.
    @ivar session_reuse: whether sessions are kept and offered again.
    """

    certificates: tuple[tuple[str, str], ...] = ()
    passwords: tuple[bytes, ...] = field(default=(), repr=False)
    protocols: tuple[str, ...] = DEFAULT_PROTOCOLS
    ciphers: str = "DEFAULT"
    tls13_ciphers: str = ""
    verify: bool = False
    depth: int = 1
    trusted_certificate: str = ""
    crl: str = ""
    alpn: tuple[str, ...] = ()
    session_reuse: bool = True
    curves: str = "auto"
    signature_algorithms: str = ""
    options: int = 0
    without: int = 0
    hook: VerifyHook | None = None
