"""
What can a protocol know about the far end it talks TLS with? Asked as C{transport.facts}; nothing is computed
before it is asked for.
"""

from __future__ import annotations

from cryptography import x509
from OpenSSL import SSL

from sniproxy.tls import facts
from sniproxy.tls.verify import Judgement
from sniproxy.wire.client_hello import ClientHello


class TLSFacts:
    """
    One TLS connection after its handshake.

    @ivar connection: OpenSSL's.
    @ivar judgement: what became of the far end's certificate; see L{Judgement.text} for nginx's word.
    @ivar hello: what the client said first; None on a connection that we began.
    """

    __slots__ = ("connection", "hello", "judgement")

    def __init__(self, connection: SSL.Connection, judgement: Judgement, hello: ClientHello | None = None) -> None:
        self.connection = connection
        self.judgement = judgement
        self.hello = hello

    @property
    def server_name(self) -> str | None:
        """
        Whom this client asked for in this connection's ClientHello; None where it named nobody.
        """
        return None if self.hello is None else self.hello.server_name

    @property
    def certificate(self) -> x509.Certificate | None:
        """
        The far end's certificate, which was judged; None where there is none, or nobody asked.
        """
        return self.judgement.certificate

    @property
    def subject(self) -> str:
        """
        The subject of L{certificate} (RFC 2253), as C{$ssl_client_s_dn}; empty without one.
        """
        return "" if self.certificate is None else facts.subject(self.certificate)

    @property
    def verified(self) -> bool:
        """
        Whether the far end showed a certificate and everything was right with it.
        """
        return self.judgement.text == "SUCCESS"

    @property
    def protocol(self) -> str:
        """
        C{"TLSv1.3"}.
        """
        return facts.protocol(self.connection)

    @property
    def cipher(self) -> str:
        """
        OpenSSL's name of the cipher.
        """
        return facts.cipher(self.connection)

    @property
    def alpn(self) -> str:
        """
        The protocol that was agreed on; empty for none.
        """
        return facts.alpn(self.connection)

    @property
    def resumed(self) -> bool:
        """
        Whether an earlier session was resumed.
        """
        return facts.session_reused(self.connection) == "r"
