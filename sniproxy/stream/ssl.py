"""
ngx_stream_ssl_module: TLS with clients. The directives, and the handler of the ssl phase.

Strategy: look at the ClientHello, choose the server block by its name, and only then make the OpenSSL connection from
that block's context: certificates, protocols, client verification and sessions are those of one server from the first
byte to the last. What our own parser refuses is refused, whatever OpenSSL would make of it; OpenSSL only gets it to say
why.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from errno import ETIMEDOUT
from os import strerror
from typing import Any, Final

from OpenSSL import SSL
from twisted.plugin import IPlugin
from zope.interface import implementer

from sniproxy.config import values
from sniproxy.config.build import Build
from sniproxy.config.directives import MANY, Directive, Repeat, Scope
from sniproxy.config.grammar import Node
from sniproxy.errors import ConfigError
from sniproxy.interfaces import IModule
from sniproxy.levels import INFO
from sniproxy.net.legs import nothing
from sniproxy.net.tls_leg import failure
from sniproxy.stream.core import LISTEN
from sniproxy.stream.phases import INTERNAL_SERVER_ERROR, WAIT, Phase
from sniproxy.stream.preread import Looking
from sniproxy.stream.server import Server
from sniproxy.stream.session import Session
from sniproxy.stream.ssl_errors import HANDSHAKE, broken, level_of
from sniproxy.stream.ssl_variables import HANDSHAKING, SSL_VARIABLES, TlsFacts
from sniproxy.tls.commands import FILES, check_name, perform
from sniproxy.tls.contexts import ServerContext, server_context
from sniproxy.tls.credentials import read_passwords
from sniproxy.tls.policies import DEFAULT_PROTOCOLS, PROTOCOLS, ServerPolicy
from sniproxy.tls.verify import NOT_ASKED, judge_client
from sniproxy.wire.client_hello import ClientHello, HelloReader

DECODE_ERROR: Final = b"\x15\x03\x03\x00\x02\x02\x32"
"""A fatal alert (RFC 8446 section 6.2), in a record as before any handshake."""

HELLO_LIMIT: Final = 65536
"""Bytes of a ClientHello on a TLS listener: C{preread_buffer_size} is for ssl_preread alone."""

_PLACES: Final = ("stream", "stream.server")

T = Any


def protocols(node: Node, build: Build, scope: Scope) -> tuple[str, ...]:
    """
    C{ssl_protocols} and C{proxy_ssl_protocols}: words of L{PROTOCOLS}.
    """
    for word in node.args:
        if word not in PROTOCOLS:
            raise ConfigError(f'invalid value "{word}"')
    return tuple(dict.fromkeys(node.args))


def passwords(node: Node, build: Build, scope: Scope) -> tuple[bytes, ...]:
    """
    The lines of a password file, which is read here and not again: it may be a FIFO.
    """
    return read_passwords(build.path(node.args[0]), build.read)


def conf_command(node: Node, build: Build, scope: Scope) -> tuple[str, str]:
    """
    C{ssl_conf_command NAME VALUE}; what the value means is found out when a context is made.
    """
    name, value = node.args
    check_name(name, value, node.name)
    return name, build.path(value) if name.lower() in FILES else value


def plain_path(node: Node, build: Build, scope: Scope) -> str:
    """
    A file beside the configuration; variables are not known yet.
    """
    word = node.args[0]
    if "$" in word or word.startswith(("data:", "engine:", "store:")):
        raise ConfigError(f'"{node.name}" takes a file only in sniproxy, and not "{word}"')
    return build.path(word)


def listed(name: str, convert: Callable[[Node, Build, Scope], Any]) -> Directive[tuple[Any, ...]]:
    """
    A directive that may be repeated in a block.
    """
    return Directive(name, _PLACES, (1, 1), convert, (), repeat=Repeat.LISTED)


def single(name: str, convert: Callable[[Node, Build, Scope], Any], default: T, most: int = 1) -> Directive[T]:
    """
    A directive that stands once in a block.
    """
    return Directive(name, _PLACES, (1, most), convert, default)


def _alpn(node: Node, build: Build, scope: Scope) -> tuple[str, ...]:
    for word in node.args:
        if len(word) > 255:
            raise ConfigError("too long ALPN protocol")
    return node.args


CERTIFICATE: Final = listed("ssl_certificate", plain_path)
CERTIFICATE_KEY: Final = listed("ssl_certificate_key", plain_path)
PASSWORD_FILE: Final = single("ssl_password_file", passwords, ())
PROTOCOLS_: Final = single("ssl_protocols", protocols, DEFAULT_PROTOCOLS, MANY)
CIPHERS: Final = single("ssl_ciphers", values.text, "HIGH:!aNULL:!MD5")
PREFER: Final = single("ssl_prefer_server_ciphers", values.flag, False)
CURVE: Final = single("ssl_ecdh_curve", values.text, "auto")
DHPARAM: Final = single("ssl_dhparam", values.path, "")
SESSION_CACHE: Final = single("ssl_session_cache", values.words, ("none",), 2)
SESSION_TICKETS: Final = single("ssl_session_tickets", values.flag, True)
SESSION_TIMEOUT: Final = single("ssl_session_timeout", values.seconds, 300.0)
ALPN: Final = single("ssl_alpn", _alpn, (), MANY)
HANDSHAKE_TIMEOUT: Final = single("ssl_handshake_timeout", values.time, 60.0)
CLIENT_CERTIFICATE: Final = single("ssl_client_certificate", values.path, "")
TRUSTED_CERTIFICATE: Final = single("ssl_trusted_certificate", values.path, "")
CRL: Final = single("ssl_crl", values.path, "")
VERIFY_CLIENT: Final = single(
    "ssl_verify_client", values.one_of({word: word for word in ("off", "on", "optional", "optional_no_ca")}), "off"
)
VERIFY_DEPTH: Final = single("ssl_verify_depth", values.number, 1)
REJECT: Final = single("ssl_reject_handshake", values.flag, False)
CONF_COMMAND: Final[Directive[tuple[tuple[str, str], ...]]] = Directive(
    "ssl_conf_command", _PLACES, (2, 2), conf_command, (), repeat=Repeat.LISTED
)


def context_of(scope: Scope, build: Build, where: tuple[str, int], reject: bool) -> ServerContext | None:
    """
    The TLS context of one server; None where it has no certificate and does not refuse everybody either.

    @param where: file and line of the C{listen} that wants it.
    @param reject: whether all that it does is to refuse.
    @raise ConfigError: in nginx's words.
    """
    certificates, keys = scope[CERTIFICATE], scope[CERTIFICATE_KEY]
    if not certificates and not reject:
        return None
    if certificates and not keys:
        raise ConfigError('no "ssl_certificate_key" is defined for the "listen ... ssl" directive').at(*where)
    if len(keys) < len(certificates):
        raise ConfigError(
            f'no "ssl_certificate_key" is defined for certificate "{certificates[-1]}"'
            ' and the "listen ... ssl" directive'
        ).at(*where)
    policy = ServerPolicy(
        certificates=tuple(zip(certificates, keys, strict=False)),
        passwords=scope[PASSWORD_FILE],
        protocols=scope[PROTOCOLS_],
        ciphers=scope[CIPHERS],
        prefer_server_ciphers=scope[PREFER],
        curves=scope[CURVE],
        dhparam=scope[DHPARAM],
        session_cache=scope[SESSION_CACHE],
        session_tickets=scope[SESSION_TICKETS],
        session_timeout=scope[SESSION_TIMEOUT],
        alpn=scope[ALPN],
        verify=scope[VERIFY_CLIENT],
        depth=scope[VERIFY_DEPTH],
        client_certificate=scope[CLIENT_CERTIFICATE],
        trusted_certificate=scope[TRUSTED_CERTIFICATE],
        crl=scope[CRL],
        reject=reject,
        signatures=build.wants("ssl_sigalg", "ssl_client_sigalg"),
    )
    commands = scope[CONF_COMMAND]
    if commands:
        policy, warnings = perform(policy, commands, CONF_COMMAND.name, build.read)
        tell(build, warnings, scope.where(CONF_COMMAND))
    return server_context(policy, build.read, build.time)


def tell(build: Build, warnings: Iterable[str], node: Node | None) -> None:
    """
    Warn once, where many servers inherit what it is about.
    """
    told: set[str] = build.shared.setdefault(Ssl, set())
    for warning in warnings:
        if warning not in told:
            told.add(warning)
            build.warn(warning, node)


class Handshake:
    """
    The ssl phase of one session. Owns the client's leg meanwhile; its one deadline is C{ssl_handshake_timeout}, from
    its beginning to the verdict on the certificate.
    """

    __slots__ = ("_context", "_seconds", "_session", "_tls")

    def __init__(self, session: Session, seconds: float) -> None:
        self._context: Any = None
        self._session = session
        self._seconds = seconds
        self._tls: Any = None

    def begin(self) -> Any:
        """
        @return: what the handler has to answer.
        """
        session = self._session
        session.action = HANDSHAKING
        looking = Looking(session, HelloReader(HELLO_LIMIT), HELLO_LIMIT, self._decided, self._failed)
        return looking.begin(self._seconds)

    def _failed(self, session: Session, error: OSError | None, seen: bool) -> int:
        error = error or OSError(0, "")
        session.log(level_of(error, "client"), broken(error, HANDSHAKE))
        return INTERNAL_SERVER_ERROR

    def _late(self) -> None:
        self._session.tls = TlsFacts(self._tls.connection, NOT_ASKED)
        self._session.finish(self._failed(self._session, TimeoutError(ETIMEDOUT, strerror(ETIMEDOUT)), True))

    def _decided(self, session: Session, verdict: Any) -> Any:
        if not isinstance(verdict, ClientHello):
            return self._refuse(verdict)
        session.hello = verdict
        if session.listening.by_name:
            session.server = session.listening.choose(verdict.server_name, session)
        server, default = session.server, session.listening.default
        context: ServerContext | None = server.tls
        if context is None and server is not default:
            context = default.lent
        if context is None:
            session.error('no "ssl_certificate" is defined in server listening on SSL port')
            return INTERNAL_SERVER_ERROR
        self._context = context
        self._tls = session.client = session.runtime.network.start_tls(session.client, context.connection)
        session.client.handler = self._event
        session.wait_on(self._late)
        return self._go_on()

    def _refuse(self, verdict: Any) -> Any:
        """
        Not TLS, malformed or endless: let OpenSSL find its words and send its alert, and end whatever it thinks.
        """
        session = self._session
        context: ServerContext | None = session.server.tls
        level, why, alert = INFO, f"{HANDSHAKE} failed (SSL: {verdict})", DECODE_ERROR
        if context is not None:
            # Apart from the socket, so that nothing but an alert gets out of it: no certificate, no agreement.
            connection = context.connection(None)
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

    def _event(self, bits: int) -> None:
        answer = self._go_on()
        if answer is not WAIT:
            self._session.stop_waiting()
            self._session.answer(answer)

    def _go_on(self) -> Any:
        session = self._session
        try:
            if not self._tls.handshake():
                return WAIT
        except OSError as error:
            session.tls = TlsFacts(self._tls.connection, NOT_ASKED)
            session.log(level_of(error, "client"), broken(error, HANDSHAKE))
            return INTERNAL_SERVER_ERROR
        self._tls.handler = nothing
        context: ServerContext = self._context
        connection = self._tls.connection
        own = None if session.server.tls is context else session.server.scope[VERIFY_CLIENT]
        judgement = judge_client(connection, context, session.runtime.report, own)
        session.tls = TlsFacts(connection, judgement)
        if not judgement.ok:
            session.info(judgement.message)
            return INTERNAL_SERVER_ERROR
        session.action = ""
        return None


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
    directives = (
        CERTIFICATE, CERTIFICATE_KEY, PASSWORD_FILE, PROTOCOLS_, CIPHERS, PREFER, CURVE, DHPARAM, SESSION_CACHE,
        SESSION_TICKETS, SESSION_TIMEOUT, ALPN, HANDSHAKE_TIMEOUT, CLIENT_CERTIFICATE, TRUSTED_CERTIFICATE, CRL,
        VERIFY_CLIENT, VERIFY_DEPTH, REJECT, CONF_COMMAND,
    )  # fmt: skip
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
        server.handle(Phase.SSL, SslHandler(scope[HANDSHAKE_TIMEOUT]))
        if not scope[CERTIFICATE] and not reject:
            if not all(_lends(listening.default, server) for listening in listenings):
                build.error('no "ssl_certificate" is defined for the "listen ... ssl" directive', listen)
            return
        if scope[VERIFY_CLIENT] in ("on", "optional") and not scope[CLIENT_CERTIFICATE]:
            build.error("no ssl_client_certificate for ssl_verify_client", scope.where(VERIFY_CLIENT) or node)
            return
        try:
            server.tls = server.lent = context_of(scope, build, (listen.file, listen.line), reject)
            if reject:
                server.lent = context_of(scope, build, (listen.file, listen.line), False)
        except ConfigError as error:
            build.error(error, node)
            return
        assert server.tls is not None
        tell(build, server.tls.warnings, node)


ssl = Ssl()
