"""
The variables of ngx_stream_ssl_module and ngx_http_ssl_module: what is known of TLS with the client.

Strategy: nothing is asked of OpenSSL before somebody asks for the variable; what the client offered comes from our
own reading of its ClientHello, and so does its name, which on a resumed session may differ from the one the session
was made for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from cryptography import x509

from sniproxy.config.template import ANY, Variable
from sniproxy.tls import facts, names
from sniproxy.tls.lean import whole
from sniproxy.tls.verify import NOT_ASKED, Judgement

if TYPE_CHECKING:
    from sniproxy.common.session import Session
    from sniproxy.tls.native import TLSConnection
    from sniproxy.wire.client_hello import ClientHello

NO_CIPHER: Final = "(NONE)"
"""What C{$ssl_cipher} is where a handshake has failed before one was agreed on: OpenSSL's word."""

HANDSHAKING: Final = "SSL handshaking"
"""What a session does until its client has been let in."""


class TlsFacts:
    """
    What C{session.tls} holds once a client's handshake is done.

    @ivar judgement: what was decided about the client's certificate.
    """

    __slots__ = ("_connection", "judgement")

    def __init__(self, connection: Any, judgement: Judgement) -> None:
        """
        @param connection: what L{sniproxy.tls.contexts.ServerContext.begin} or C{connection} has made.
        """
        self._connection = connection
        self.judgement = judgement

    @property
    def connection(self) -> Any:
        """
        The OpenSSL connection.
        """
        return whole(self._connection)

    @property
    def certificate(self) -> x509.Certificate | None:
        """
        The client's, or None.
        """
        return self.judgement.certificate


def _tls(subject: Any) -> TlsFacts | None:
    """
    What is known of TLS with the client. Of a session that ends while the client was expected to begin its handshake
    it is what OpenSSL says of one that has not begun.
    """
    session: Session = subject.session
    found: TlsFacts | None = session.tls
    if found is None and session.ended and session.action == HANDSHAKING:
        context = session.server.tls or session.listening.default.lent
        if context is not None:
            found = session.tls = TlsFacts(context.connection(), NOT_ASKED)
    return found


def _of_connection(ask: Callable[[TLSConnection], str]) -> Callable[[Any], str | None]:
    def get(subject: Any) -> str | None:
        tls = _tls(subject)
        return None if tls is None else ask(tls.connection) or None

    return get


def _of_hello(ask: Callable[[TLSConnection, ClientHello], str], resumed: bool) -> Callable[[Any], str | None]:
    """
    @param resumed: whether OpenSSL, and so nginx, looks at it where a client of TLS 1.2 resumes a session.
    """

    def get(subject: Any) -> str | None:
        session: Session = subject.session
        hello, tls = session.hello, _tls(session)
        if hello is None or (tls is None and not session.listening.ssl):
            return None
        # known before the handshake: it may choose the certificate
        connection = session.listening.default.lent.connection() if tls is None else tls.connection
        if not resumed and facts.protocol(connection) != "TLSv1.3" and facts.session_reused(connection) == "r":
            return None
        return ask(connection, hello) or None

    return get


def _of_certificate(ask: Callable[[x509.Certificate], str]) -> Callable[[Any], str | None]:
    def get(subject: Any) -> str | None:
        tls: TlsFacts | None = subject.session.tls
        if tls is None or tls.certificate is None:
            return None
        return ask(tls.certificate)

    return get


def _server_name(subject: Any) -> str | None:
    session: Session = subject.session
    # known before the handshake: it may choose the certificate
    if session.hello is None or (session.tls is None and not session.listening.ssl):
        return None
    return session.hello.sent_name


def _verify(subject: Any) -> str | None:
    tls = _tls(subject)
    return None if tls is None else tls.judgement.text


def _days_left(subject: Any) -> str | None:
    tls: TlsFacts | None = subject.session.tls
    if tls is None or tls.certificate is None:
        return None
    return facts.days_left(tls.certificate, subject.clock.time())


def _early_data(subject: Any) -> None:
    """
    Nothing comes before a handshake is over.
    """


SSL_VARIABLES: Final = (
    Variable("ssl_protocol", _of_connection(facts.protocol), kind=ANY),
    Variable("ssl_cipher", _of_connection(lambda connection: facts.cipher(connection) or NO_CIPHER), kind=ANY),
    Variable(
        "ssl_ciphers",
        _of_hello(lambda connection, hello: facts.ciphers(connection, hello.cipher_suites), True),
        kind=ANY,
    ),
    Variable("ssl_curve", _of_connection(facts.curve), kind=ANY),
    Variable("ssl_curves", _of_hello(lambda _, hello: names.groups(hello.groups), False), kind=ANY),
    Variable("ssl_sigalg", _of_connection(facts.signature), kind=ANY),
    Variable("ssl_sigalgs", _of_hello(lambda _, hello: names.signatures(hello.signature_algorithms), False), kind=ANY),
    Variable("ssl_session_id", _of_connection(facts.session_id), kind=ANY),
    Variable("ssl_session_reused", _of_connection(facts.session_reused), kind=ANY),
    Variable("ssl_alpn_protocol", _of_connection(facts.alpn), kind=ANY),
    Variable("ssl_server_name", _server_name, kind=ANY),
    Variable("ssl_client_verify", _verify, kind=ANY),
    Variable("ssl_client_sigalg", _of_connection(facts.peer_signature), kind=ANY),
    Variable("ssl_client_s_dn", _of_certificate(facts.subject), kind=ANY),
    Variable("ssl_client_i_dn", _of_certificate(facts.issuer), kind=ANY),
    Variable("ssl_client_serial", _of_certificate(facts.serial), kind=ANY),
    Variable("ssl_client_fingerprint", _of_certificate(facts.fingerprint), kind=ANY),
    Variable("ssl_client_v_start", _of_certificate(facts.valid_from), kind=ANY),
    Variable("ssl_client_v_end", _of_certificate(facts.valid_to), kind=ANY),
    Variable("ssl_client_v_remain", _days_left, kind=ANY),
    Variable("ssl_client_cert", _of_certificate(facts.tabbed_pem), kind=ANY),
    Variable("ssl_client_raw_cert", _of_certificate(facts.raw_pem), kind=ANY),
    Variable("ssl_client_escaped_cert", _of_certificate(facts.escaped_pem), kind=ANY),
    Variable("ssl_early_data", _early_data, kind="http"),
)
