"""
ngx_stream_ssl_module and ngx_http_ssl_module: TLS with clients. The handler of the ssl phase; the directives are in
L{ssl_settings}.

Strategy: look at the ClientHello, choose the server block by its name, and only then make the OpenSSL connection from
that block's context: certificates, protocols, client verification and sessions are those of one server from the first
byte to the last. What our own parser refuses is refused, whatever OpenSSL would make of it; OpenSSL only gets it to say
why. A server that is lenient has words of its own for those who shall not come in: it is told who they are.
"""

from __future__ import annotations

from dataclasses import replace
from errno import ETIMEDOUT
from os import strerror
from typing import Any, Final

from OpenSSL import SSL
from twisted.plugin import IPlugin
from zope.interface import implementer

from sniproxy.common.listen import LISTEN, kind_of
from sniproxy.common.ocsp import FAILED
from sniproxy.common.phases import INTERNAL_SERVER_ERROR, WAIT, Phase
from sniproxy.common.preread import Looking
from sniproxy.common.server import Server
from sniproxy.common.session import Session
from sniproxy.common.ssl_errors import HANDSHAKE, broken, level_of
from sniproxy.common.ssl_settings import (
    CERTIFICATE,
    CLIENT_CERTIFICATE,
    DIRECTIVES,
    HANDSHAKE_TIMEOUT,
    REJECT,
    TRUSTED_CERTIFICATE,
    VERIFY_CLIENT,
    client_status,
    context_of,
    tell,
)
from sniproxy.common.ssl_variables import HANDSHAKING, SSL_VARIABLES, TlsFacts
from sniproxy.config.build import Build
from sniproxy.errors import ConfigError
from sniproxy.interfaces import IModule
from sniproxy.levels import INFO
from sniproxy.net.tls_leg import TlsLeg, failure
from sniproxy.tls.contexts import ServerContext
from sniproxy.tls.lean import Lean, whole
from sniproxy.tls.native import TLSConnection
from sniproxy.tls.verify import NOT_ASKED, Judgement, judge_client
from sniproxy.wire.client_hello import HANDSHAKE as HANDSHAKE_RECORD
from sniproxy.wire.client_hello import ClientHello, HelloReader, NotTLS

DECODE_ERROR: Final = b"\x15\x03\x03\x00\x02\x02\x32"
"""A fatal alert (RFC 8446 section 6.2), in a record as before any handshake."""

HELLO_LIMIT: Final = 65536
"""Bytes of a ClientHello on a TLS listener: C{preread_buffer_size} is for ssl_preread alone."""


class Handshake:
    """
    The ssl phase of one session. Owns the client's leg meanwhile; its one deadline is C{ssl_handshake_timeout}, from
    its beginning to the verdict on the certificate.
    """

    __slots__ = ("_asking", "_connection", "_context", "_owner", "_seconds", "_session", "_tls", "_wrong")

    def __init__(self, session: Session, seconds: float) -> None:
        self._context: ServerContext | None = None
        self._connection: TLSConnection | Lean | None = None
        self._owner: Any = None
        self._asking = False
        self._wrong: Any = None
        self._session = session
        self._seconds = seconds
        self._tls: TlsLeg | None = None

    def begin(self) -> Any:
        """
        @return: what the handler has to answer.
        """
        session = self._session
        session.action = HANDSHAKING
        looking = Looking(session, HelloReader(HELLO_LIMIT), HELLO_LIMIT, self._decided, self._failed, taken=True)
        return looking.begin(self._seconds)

    def _failed(self, session: Session, error: OSError | None, seen: bool) -> int:
        # of a client that is late nginx's http tells, and its stream does not
        if not isinstance(error, TimeoutError) or kind_of(session.server.scope) == "http":
            error = error or OSError(0, "")
            session.log(level_of(error, "client"), broken(error, HANDSHAKE))
        return INTERNAL_SERVER_ERROR

    def _late(self) -> None:
        self._session.tls = TlsFacts(self._connection, NOT_ASKED)
        self._session.finish(self._failed(self._session, TimeoutError(ETIMEDOUT, strerror(ETIMEDOUT)), True))

    def _decided(self, session: Session, verdict: Any) -> Any:
        if not isinstance(verdict, ClientHello):
            if session.server.lenient and isinstance(verdict, NotTLS) and _plain(session):
                session.plain_on_tls = True
                session.action = ""
                return None
            return self._refuse(verdict)
        session.hello = verdict
        if session.listening.by_name:
            session.server = session.listening.choose(verdict.server_name, session)
        server, default = session.server, session.listening.default
        context: ServerContext | None = server.tls
        find = server.tls_of
        if context is None and server is not default:
            context = default.lent
            find = default.lent_of
            server = default
        if context is None:
            session.error('no "ssl_certificate" is defined in server listening on SSL port')
            return INTERNAL_SERVER_ERROR
        if find is not None:
            context = find(session)
        self._context = context
        self._owner = server
        connection = self._connection = context.begin()
        tls: TlsLeg = session.runtime.network.start_tls(session.client, connection)
        tls.hungry = tls.tickets_wait = True
        self._tls = session.client = tls
        session.wait_on(self._late)
        tls.shake(self._shaken)
        return WAIT

    def _refuse(self, verdict: Any) -> Any:
        """
        Not TLS, malformed or endless: let OpenSSL find its words and send its alert, and end whatever it thinks.
        """
        session = self._session
        context: ServerContext | None = session.server.tls
        level, why, alert = INFO, f"{HANDSHAKE} failed (SSL: {verdict})", DECODE_ERROR
        if context is not None:
            # Apart from the socket, so that nothing but an alert gets out of it: no certificate, no agreement.
            connection = context.connection()
            try:
                connection.bio_write(session.client.receive(HELLO_LIMIT) or b"")
                connection.do_handshake()
            except (SSL.WantReadError, SSL.WantWriteError):
                pass  # OpenSSL would have gone on
            except SSL.Error as error:
                said = failure(error)
                level, why = level_of(said, "client"), broken(said, HANDSHAKE)
                alert = _alert(connection)
            except OSError:
                pass  # the client is gone
        session.log(level, why)
        try:
            session.client.send(alert)
        except OSError:
            pass  # the client is gone
        return INTERNAL_SERVER_ERROR

    def _shaken(self, error: OSError | None) -> None:
        answer = self._verdict(error)
        if answer is not WAIT:
            self._session.stop_waiting()
            self._session.answer(answer)

    def _verdict(self, error: OSError | None) -> Any:
        session, tls, context, connection = self._session, self._tls, self._context, self._connection
        assert tls is not None and context is not None and connection is not None
        if error is not None:
            session.tls = TlsFacts(connection, NOT_ASKED)
            session.log(level_of(error, "client"), broken(error, HANDSHAKE))
            return INTERNAL_SERVER_ERROR
        tls.wait_with(session.runtime.network.tickets)
        own = None if session.server is self._owner else session.server.scope[VERIFY_CLIENT]
        judgement = judge_client(connection, context, session.runtime.report, own)
        session.tls = TlsFacts(connection, judgement)
        if not judgement.ok:
            return self._unwelcome(judgement)
        if self._owner.ocsp is not None and judgement.certificate is not None:
            return self._ask(whole(connection))
        session.action = ""
        return None

    def _ask(self, connection: SSL.Connection) -> Any:
        """
        Ask responders about the client's chain, within the time of the handshake.
        """
        chain = connection.get_verified_chain(as_cryptography=True)
        if not chain:
            return self._status(FAILED)
        self._wrong = None
        self._asking = True
        self._owner.ocsp.check(self._session, chain, self._known)
        self._asking = False
        return WAIT if self._wrong is None else self._status(self._wrong)

    def _known(self, wrong: str) -> None:
        self._wrong = wrong
        if not self._asking:
            self._session.stop_waiting()
            self._session.answer(self._status(wrong))

    def _status(self, wrong: str) -> Any:
        """
        @param wrong: what responders say against the client; empty for nothing.
        """
        session = self._session
        if wrong:
            message = f"client SSL certificate verify error: {wrong}"
            judgement = replace(session.tls.judgement, ok=False, message=message)
            if session.server.lenient:
                session.tls = TlsFacts(self._connection, judgement)
            return self._unwelcome(judgement)
        session.action = ""
        return None

    def _unwelcome(self, judgement: Judgement) -> Any:
        """
        The client shall not come in; a lenient server says so by itself.
        """
        session = self._session
        if session.server.lenient:
            session.action = ""
            return None
        session.info(judgement.message)
        return INTERNAL_SERVER_ERROR


def _plain(session: Session) -> bool:
    """
    Whether the client does not even mean to speak TLS, by its first byte (as ngx_http_ssl_handshake has it).
    """
    first = session.client.peek(1)  # it is held, since it was judged
    return bool(first) and first[0] != HANDSHAKE_RECORD and not first[0] & 0x80


def _lends(default: Server, server: Server) -> bool:
    """
    Whether a server without a certificate can speak TLS as the default server of its address.
    """
    return default is not server and bool(default.scope[CERTIFICATE])


def _alert(connection: SSL.Connection) -> bytes:
    """
    What a failed handshake has to say to the far end: perhaps nothing.
    """
    try:
        return bytes(connection.bio_read(1024))
    except SSL.WantReadError:
        return b""


def _let_in_elsewhere(session: Session) -> Any:
    """
    The client was passed on from another address and speaks TLS already. Who asks for certificates admits only those
    that he has judged himself.
    """
    context: ServerContext | None = session.server.tls
    own = context is not None and context.made(session.tls.connection)
    if own or session.server.scope[VERIFY_CLIENT] == "off":
        return None
    session.info("client SSL certificate verify error: another server has shaken hands with the client")
    return INTERNAL_SERVER_ERROR


class SslHandler:
    """
    The handler of one address's default server: what it says of time holds before a name is known, as in nginx.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def __call__(self, session: Session) -> Any:
        """
        @see: L{sniproxy.interfaces.IPhaseHandler}
        """
        if not session.listening.ssl:
            return None
        if session.tls is not None:
            return _let_in_elsewhere(session)
        return Handshake(session, self._seconds).begin()


@implementer(IPlugin, IModule)
class Ssl:
    """
    The module.
    """

    name = "stream_ssl"
    directives = DIRECTIVES
    variables = SSL_VARIABLES

    def prepare(self, build: Build) -> None:
        """
        @see: L{IModule.prepare}
        """

    def attach(self, server: Server, build: Build) -> None:
        """
        Make the server's context, if any of its addresses speaks TLS: files of the others are never opened. A server
        that is no address's default needs none, unless the default server has no certificate to lend.
        """
        listenings = [listening for listening in server.listenings if listening.ssl]
        if not listenings:
            return
        scope = server.scope
        said = [listen.node for listens in scope[LISTEN] for listen in listens if listen.ssl]
        listen = said[0] if said else listenings[0].node
        node = scope.where(CERTIFICATE) or listen
        reject = scope[REJECT]
        seconds = scope[HANDSHAKE_TIMEOUT] if server.opening_timeout is None else server.opening_timeout
        server.handle(Phase.SSL, SslHandler(seconds))
        if not scope[CERTIFICATE] and not reject:
            if not all(_lends(listening.default, server) for listening in listenings):
                build.error('no "ssl_certificate" is defined for the "listen ... ssl" directive', listen)
            return
        known = scope[CLIENT_CERTIFICATE] or scope[TRUSTED_CERTIFICATE]
        if scope[VERIFY_CLIENT] in ("on", "optional") and not known:
            why = "no ssl_client_certificate or ssl_trusted_certificate for ssl_verify_client"
            build.error(why, scope.where(VERIFY_CLIENT) or node)
            return
        try:
            where = (listen.file, listen.line)
            server.ocsp = client_status(scope, build)
            server.tls, server.tls_of = context_of(scope, build, where, reject, server.alpn)
            server.lent, server.lent_of = server.tls, server.tls_of
            if reject and scope[CERTIFICATE]:
                server.lent, server.lent_of = context_of(scope, build, where, False, server.alpn)
        except ConfigError as error:
            build.error(error, node)
            return
        tell(build, server.tls.warnings, node)


ssl = Ssl()
