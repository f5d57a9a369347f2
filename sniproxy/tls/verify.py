"""
Is the peer who it must be? The one place where a certificate is let in or refused, always after the handshake.

Strategy: the handshake finishes whatever the certificate is (L{sniproxy.tls.native}); then the decision falls by
OpenSSL's verify result, which full and resumed handshakes both have. On a resumed one there are no links and no
chain, only the leaf and the result, so:

  - a leaf that has expired since is refused, for clients; the sessions of upstreams are not kept so long;
  - a verify hook, which wants to see every link, means that nothing is resumed at all; should something be, it is
  refused.

Names of upstreams are checked with service-identity on every connection. nginx (OpenSSL's C{X509_check_host}) takes the
common name of a certificate without DNS names and matches C{w*.example.com}; both are refused here, as RFC 9525 has it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address
from typing import Final

from cryptography import x509
from service_identity import CertificateError, VerificationError
from service_identity.cryptography import verify_certificate_hostname, verify_certificate_ip_address

from sniproxy.tls import native, settings
from sniproxy.tls.contexts import ClientContext, ServerContext
from sniproxy.tls.lean import Lean, whole
from sniproxy.tls.links import Link
from sniproxy.tls.native import TLSConnection
from sniproxy.tls.policies import VerifyHook, VerifyMode

FORGIVEN: Final = frozenset((18, 19, 20, 21))
"""
What C{optional_no_ca} overlooks (ngx_ssl_verify_error_optional): no way to a trusted authority, and nothing worse.
"""
NOTHING_SENT: Final = "client sent no required SSL certificate"
UNSPECIFIED: Final = 1
EXPIRED: Final = 10

Report = Callable[[Exception], None]
"""
Told of an exception in a verify hook.
"""


@dataclass(frozen=True, slots=True)
class Judgement:
    """
    What became of a peer's certificate.

    @ivar ok: whether the peer may stay.
    @ivar code: OpenSSL's number of what is wrong with the chain; it may be forgiven.
    @ivar reason: OpenSSL's words for C{code}; empty for 0.
    @ivar message: the line for the error log, in nginx's words; empty where the peer may stay.
    @ivar certificate: the peer's, or None where it sent none or was not asked.
    @ivar links: what OpenSSL said about each certificate of the chain; empty after a resumed handshake.
    """

    ok: bool
    code: int = 0
    reason: str = ""
    message: str = ""
    certificate: x509.Certificate | None = None
    links: tuple[Link, ...] = ()

    @property
    def text(self) -> str:
        """
        What C{$ssl_client_verify} says: C{NONE}, C{SUCCESS} or C{FAILED:reason}.
        """
        if self.certificate is None:
            return "NONE"
        return f"FAILED:{self.reason}" if self.code else "SUCCESS"


NOT_ASKED: Final = Judgement(True)


def judge_client(
    connection: TLSConnection | Lean, context: ServerContext, report: Report, verify: VerifyMode | None = None
) -> Judgement:
    """
    Decide about a client after its handshake (ngx_stream_ssl_handler).

    @param report: told of an exception in the policy's hook.
    @param verify: what the client's server demands, where the handshake was made for another one; None: what the
        context says. Where the context asks for no certificate there is none.
    """
    policy = context.policy
    if verify is None:
        verify = policy.verify
    if policy.verify == "off":
        return NOT_ASKED if verify != "on" else _refused(NOT_ASKED, NOTHING_SENT)
    seen = _see(whole(connection), context)
    if verify == "off":
        return seen
    if seen.certificate is None and not seen.code:
        if verify == "on":
            return _refused(seen, NOTHING_SENT)
        return seen
    code = seen.code
    if code and not (verify == "optional_no_ca" and code in FORGIVEN):
        return _refused(seen, f"client SSL certificate verify error: ({code}:{seen.reason})")
    if policy.hook is not None and not _approves(policy.hook, seen.links, report):
        return _refused(seen, "client SSL certificate refused by a verify hook")
    return seen


def judge_server(connection: TLSConnection, context: ClientContext, name: str, report: Report) -> Judgement:
    """
    Decide about an upstream after the handshake with it (ngx_stream_proxy_ssl_handshake); nothing may be sent before.

    @param name: what its certificate must carry: a DNS name, or an IP address, which only an IP address in the
        certificate matches.
    @param report: told of an exception in the policy's hook.
    """
    policy = context.policy
    if not policy.verify:
        connection.good_until = float("inf")
        return NOT_ASKED
    seen = _see(connection, context)
    if seen.code:
        return _refused(seen, f"upstream SSL certificate verify error: ({seen.code}:{seen.reason})")
    if seen.certificate is None or not matches(seen.certificate, name):
        return _refused(seen, f'upstream SSL certificate does not match "{name}"')
    if policy.hook is not None and not _approves(policy.hook, seen.links, report):
        return _refused(seen, "upstream SSL certificate refused by a verify hook")
    if context.resumes:
        ends = [link.certificate.not_valid_after_utc.timestamp() for link in seen.links]
        connection.good_until = min(ends) if ends else connection.offered_until
    return seen


@lru_cache(maxsize=256)
def matches(certificate: x509.Certificate, name: str) -> bool:
    """
    Whether a certificate is for C{name} (RFC 9525), by its subject alternative names alone. Upstreams are few and
    come again, so answers are remembered: they depend on nothing else.
    """
    try:
        if settings.is_address(name):
            verify_certificate_ip_address(certificate, str(ip_address(name.strip("[]"))))
        else:
            verify_certificate_hostname(certificate, name.removesuffix("."))
    except (VerificationError, CertificateError, ValueError, IndexError):
        return False
    return True


def _see(connection: TLSConnection, context: ServerContext | ClientContext) -> Judgement:
    """
    @return: a judgement that is good, with what was found; what cannot be found out counts as an error.
    """
    links = tuple(connection.links)
    resumed = native.session_reused(connection)
    try:
        certificate = native.peer_certificate(connection)
        code = native.verify_result(connection) if context.exact else _last_error(links)
        if resumed and code == 0:
            code = _aged(certificate, context)
        elif certificate is not None and not links and not resumed:
            code = code or UNSPECIFIED
    except ValueError:
        # OpenSSL could read it and cryptography cannot, so we cannot say whose it is.
        certificate, code = None, UNSPECIFIED
    return Judgement(True, code, native.error_text(code) if code else "", "", certificate, links)


def _last_error(links: tuple[Link, ...]) -> int:
    return next((link.error for link in reversed(links) if link.error), 0)


def _aged(certificate: x509.Certificate | None, context: ServerContext | ClientContext) -> int:
    """
    What is wrong with a resumed session whose certificate was good when it was made.
    """
    if not context.resumes:
        return UNSPECIFIED
    if certificate is not None and certificate.not_valid_after_utc.timestamp() <= context.clock():
        return EXPIRED
    return 0


def _refused(seen: Judgement, message: str) -> Judgement:
    return Judgement(False, seen.code, seen.reason, message, seen.certificate, seen.links)


def _approves(hook: VerifyHook, links: tuple[Link, ...], report: Report) -> bool:
    try:
        return bool(links) and all(hook(link.depth, link.certificate, link.error) for link in links)
    except Exception as error:
        report(error)
        return False
