"""
What are TLS connections made from? One context for each server block and side, built whole from a policy and never
changed.

Strategy: everything that decides who may come in is in the context. A session is bound to its context twice: OpenSSL
encrypts tickets with keys of that context alone, and the session id context is a digest of all that the policy says
and of the I{content} of the files it names. What a reload changed can therefore not be resumed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Final

from OpenSSL import SSL

from sniproxy.tls import native, settings
from sniproxy.tls.credentials import Known
from sniproxy.tls.files import Files, wire
from sniproxy.tls.lean import Lean, connect
from sniproxy.tls.native import TLSConnection
from sniproxy.tls.pem import Read
from sniproxy.tls.policies import ClientPolicy, ServerPolicy, Staple
from sniproxy.tls.signatures import scheme

Clock = Callable[[], float]
"""
Seconds since the epoch.
"""


def _stapled(connection: SSL.Connection, staple: Staple | None) -> bytes:
    certificate = connection.get_certificate(as_cryptography=True)
    return b"" if staple is None or certificate is None else staple(certificate)


def _note_signature(connection: TLSConnection, sent: bool, message: bytes) -> None:
    number = scheme(message)
    if number and sent:
        connection.signature = number
    elif number:
        connection.peer_signature = number


class ServerContext:
    """
    What connections of clients are made from. Immutable.

    @ivar policy: what it was built from.
    @ivar credentials: one for each key type.
    @ivar digest: 32 bytes that differ wherever the policy or the content of its files differs.
    @ivar warnings: what the policy asks for and cannot be had, in words for C{[warn]} lines.
    @ivar clock: the wall clock.
    @ivar exact: whether OpenSSL's own verify result can be read; without it no session is resumed.
    """

    __slots__ = ("_called", "_context", "_familiar", "clock", "credentials", "digest", "exact", "policy", "warnings")

    def __init__(self, policy: ServerPolicy, read: Read, clock: Clock, known: Known) -> None:
        """
        See L{server_context}.
        """
        self.policy: Final = policy
        self.clock: Final = clock
        self.exact: Final = not native.missing()
        files = Files(read)
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        warnings = settings.set_common(context, policy)
        self.credentials: Final = settings.use_credentials(context, policy, files, known)
        settings.set_key_exchange(context, policy, files)
        warnings += settings.set_sessions(context, policy, self.resumes)
        if policy.alpn:
            context.set_alpn_select_callback(partial(settings.select_alpn, tuple(map(wire, policy.alpn))))
        if policy.verify != "off":
            settings.set_client_verification(context, policy, files, self.exact)
        if policy.reject:
            native.reject_hellos(context)
        if policy.unnamed:
            native.fail_for_certificates(context)
        if policy.staple is not None:
            context.set_ocsp_server_callback(_stapled, policy.staple)
        if policy.signatures:
            native.show_handshakes(context, _note_signature)
        self.digest: Final = files.digest(policy)
        context.set_session_id(self.digest)
        self.warnings: Final = tuple(warnings)
        self._context: Final = native.ready(context)
        asks = policy.alpn or policy.verify != "off" or policy.staple is not None or policy.signatures
        self._called: Final = bool(asks)
        self._familiar: Final = native.familiar()

    @property
    def resumes(self) -> bool:
        """
        Whether clients may resume sessions, as far as safety is concerned.
        """
        return self.policy.verify == "off" or (self.exact and self.policy.hook is None and not self.policy.ocsp)

    def made(self, connection: SSL.Connection) -> bool:
        """
        Whether a connection is of this context.
        """
        return connection.get_context() is self._context

    def begin(self) -> TLSConnection | Lean:
        """
        @return: the same as L{connection}, for who carries bytes and perhaps asks for nothing else.
        """
        return Lean(self._context, True) if self._familiar and not self._called else self.connection()

    def connection(self) -> TLSConnection:
        """
        @return: a connection in memory that waits for a ClientHello.
        """
        if self._familiar:
            return connect(self._context, True, self._called)
        connection = TLSConnection(self._context)
        connection.set_accept_state()
        return connection


class ClientContext:
    """
    What connections to upstreams are made from. Immutable; the attributes are those of L{ServerContext}.
    """

    __slots__ = ("_called", "_context", "_familiar", "clock", "credentials", "digest", "exact", "policy", "warnings")

    def __init__(self, policy: ClientPolicy, read: Read, clock: Clock, known: Known) -> None:
        """
        See L{client_context}.
        """
        self.policy: Final = policy
        self.clock: Final = clock
        self.exact: Final = not native.missing()
        files = Files(read)
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        warnings = settings.set_common(context, policy)
        self.credentials: Final = settings.use_credentials(context, policy, files, known)
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)  # sessions.py keeps them
        if policy.alpn:
            context.set_alpn_protos([wire(name) for name in policy.alpn])
        if policy.verify:
            settings.set_server_verification(context, policy, files, self.exact)
        self.digest: Final = files.digest(policy)
        self.warnings: Final = tuple(warnings)
        self._context: Final = native.ready(context)
        self._called: Final = policy.verify
        self._familiar: Final = native.familiar()

    @property
    def resumes(self) -> bool:
        """
        Whether sessions may be kept and offered again.
        """
        return self.policy.session_reuse and self.exact and self.policy.hook is None

    def made(self, connection: SSL.Connection) -> bool:
        """
        Whether a connection is of this context.
        """
        return connection.get_context() is self._context

    def connection(self, server_name: str = "", alpn: Iterable[str] | None = None) -> TLSConnection:
        """
        @param server_name: sent as SNI where it is not empty; an IP address, which RFC 6066 section 3 forbids there,
            is not.
        @param alpn: offered instead of the policy's protocols, unless there are none.
        @return: a connection that will begin with a ClientHello.
        """
        if self._familiar:
            connection = connect(self._context, False, self._called)
        else:
            connection = TLSConnection(self._context)
            connection.set_connect_state()
        name = server_name.removesuffix(".")
        if name and not settings.is_address(name):
            connection.set_tlsext_host_name(wire(name))
        if alpn:
            connection.set_alpn_protos([wire(each) for each in alpn])
        return connection


def server_context(policy: ServerPolicy, read: Read, clock: Clock, known: Known | None = None) -> ServerContext:
    """
    @param read: reads a file whole, raising L{OSError}; called once for each file.
    @param clock: wall clock, seconds since the epoch.
    @param known: what need not be loaded from files that C{read} has read before; what is loaded is added.
    @raise sniproxy.errors.ConfigError: in nginx's words, without a place.
    """
    return ServerContext(policy, read, clock, {} if known is None else known)


def client_context(policy: ClientPolicy, read: Read, clock: Clock, known: Known | None = None) -> ClientContext:
    """
    As L{server_context}, for the other side.
    """
    return ClientContext(policy, read, clock, {} if known is None else known)
