"""
C{listen … proxy_protocol}: who the client is by the word of a proxy before us, C{proxy_protocol_timeout}, and the
C{$proxy_protocol_…} variables (ngx_stream_core_module, ngx_proxy_protocol.c).

Strategy: the header is looked at like anything else that comes first, and then taken, exactly: what follows stays where
it is, for whoever looks next. It is the first handler of a session on such an address.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from twisted.plugin import IPlugin
from zope.interface import implementer

from sniproxy.common.contexts import STREAM
from sniproxy.common.phases import BAD_REQUEST, OK, Phase
from sniproxy.common.preread import Looking
from sniproxy.common.server import Server
from sniproxy.common.session import Session
from sniproxy.common.ssl_errors import broken, level_of
from sniproxy.config import values
from sniproxy.config.build import Build
from sniproxy.config.directives import Directive
from sniproxy.config.template import ANY, Variable
from sniproxy.interfaces import IModule
from sniproxy.wire import proxy_protocol as wire
from sniproxy.wire.cursor import WireError
from sniproxy.wire.proxy_protocol import Endpoint, ProxyHeader, SslTlv, find_tlv, read_header

TIMEOUT: Final = Directive("proxy_protocol_timeout", STREAM, (1, 1), values.time, 30.0)

HEADER: Final = "proxy_protocol"
"""The key in C{session.notes} of a header that names a client."""

_TLV: Final = "proxy_protocol_tlv_"
_SSL: Final = "ssl_"

_NAMES: Final = {
    "alpn": wire.ALPN,
    "authority": wire.AUTHORITY,
    "unique_id": wire.UNIQUE_ID,
    "ssl": wire.SSL,
    "netns": wire.NETNS,
}
_SSL_NAMES: Final = {
    "version": wire.SSL_VERSION,
    "cn": wire.SSL_CN,
    "cipher": wire.SSL_CIPHER,
    "sig_alg": wire.SSL_SIG_ALG,
    "key_alg": wire.SSL_KEY_ALG,
}


def header_of(subject: Any) -> ProxyHeader | None:
    """
    What a proxy before us has said of the client; None where there is none, or it told nothing.

    @param subject: a session, or a request.
    """
    header: ProxyHeader | None = subject.session.notes.get(HEADER)
    return header


class Reading:
    """
    The header of one session, on its way. Owns the client's leg meanwhile; its one deadline is
    C{proxy_protocol_timeout}. Keeps nothing but the bytes that were looked at last, at most L{wire.LIMIT}.
    """

    __slots__ = ("_prefix",)

    def __init__(self) -> None:
        self._prefix = b""

    def begin(self, session: Session, seconds: float) -> Any:
        """
        @return: what the handler has to answer.
        """
        session.action = "reading PROXY protocol"
        return Looking(session, self, wire.LIMIT, self._decided, self._failed).begin(seconds)

    def look(self, prefix: bytes) -> ProxyHeader | wire.Broken | None:
        """
        @see: L{sniproxy.net.look.Reader.look}
        """
        self._prefix = prefix
        return read_header(prefix)

    def _decided(self, session: Session, verdict: ProxyHeader | wire.Broken) -> Any:
        if isinstance(verdict, wire.Broken):
            session.error(verdict.words)
            return BAD_REQUEST
        session.client.receive(verdict.size)  # the bytes are there: they were looked at
        if verdict.source is not None:
            session.notes[HEADER] = verdict
        session.action = "initializing session"
        return None

    def _failed(self, session: Session, error: OSError | None, seen: bool) -> int:
        if error is None:
            session.error(wire.broken(self._prefix).words)
            return BAD_REQUEST
        session.log(level_of(error, "client"), broken(error, "recv()"))
        return OK


class ProxyProtocolHandler:
    """
    The handler of one address's default server: its timeout holds, as in nginx.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def __call__(self, session: Session) -> Any:
        """
        @see: L{sniproxy.interfaces.IPhaseHandler}
        """
        if not session.listening.proxy_protocol:
            return None
        return Reading().begin(session, self._seconds)


# Variables


def _of_header(ask: Callable[[ProxyHeader], Endpoint | None]) -> tuple[Callable[[Any], str | None], ...]:
    """
    What reads the address, and what reads the port, of one end.
    """

    def address(subject: Any) -> str | None:
        header = header_of(subject)
        end = None if header is None else ask(header)
        return None if end is None else end.host

    def port(subject: Any) -> str | None:
        header = header_of(subject)
        end = None if header is None else ask(header)
        return None if end is None else str(end.port or "")

    return address, port


def _inside(tlvs: bytes, name: str) -> tuple[bytes, dict[str, int], str] | str | None:
    """
    Where a name is to be looked for: the TLVs, what they are called, and the rest of the name; or at once its value.
    """
    if not name.startswith(_SSL):
        return tlvs, _NAMES, name
    value = find_tlv(tlvs, wire.SSL)
    if value is None or len(value) < 5:
        return None
    about = SslTlv.read(value)
    name = name[len(_SSL) :]
    return str(about.verify) if name == "verify" else (about.tlvs, _SSL_NAMES, name)


def tlv(subject: Any, name: str) -> str | None:
    """
    The value of a TLV, by nginx's names (C{ngx_proxy_protocol_get_tlv}).

    @param name: such as C{authority}, C{ssl_cn}, C{0xea}, in lower case.
    """
    header = header_of(subject)
    if header is None:
        return None
    try:
        place = _inside(header.tlvs, name)
        if place is None or isinstance(place, str):
            return place
        tlvs, names, rest = place
        kind = _number(rest) if rest.startswith("0x") else names.get(rest)
        if kind is None:
            subject.error(f'{"invalid" if rest.startswith("0x") else "unknown"} PROXY protocol TLV "{name}"')
            return None
        value = find_tlv(tlvs, kind)
    except WireError:
        subject.error("broken PROXY protocol TLV")
        return None
    return None if value is None else value.decode("utf-8", "surrogateescape")


def _number(text: str) -> int | None:
    """
    C{0x} and hexadecimal digits.
    """
    digits = text[2:]
    return int(digits, 16) if digits and all(digit in "0123456789abcdef" for digit in digits) else None


def _tlv(name: str) -> Callable[[Any], str | None]:
    wanted = name[len(_TLV) :]
    return lambda subject: tlv(subject, wanted)


_ADDR, _PORT = _of_header(lambda header: header.source)
_SERVER_ADDR, _SERVER_PORT = _of_header(lambda header: header.destination)


@implementer(IPlugin, IModule)
class ProxyProtocol:
    """
    The module. What it carries belongs to nginx's ngx_stream_core_module and ngx_http_core_module, whose
    C{client_header_timeout} holds for the header.
    """

    name = "stream_proxy_protocol"
    directives = (TIMEOUT,)
    variables = (
        Variable("proxy_protocol_addr", _ADDR, kind=ANY),
        Variable("proxy_protocol_port", _PORT, kind=ANY),
        Variable("proxy_protocol_server_addr", _SERVER_ADDR, kind=ANY),
        Variable("proxy_protocol_server_port", _SERVER_PORT, kind=ANY),
        Variable(_TLV, _tlv, prefix=True, kind=ANY),
    )

    def prepare(self, build: Build) -> None:
        """
        @see: L{IModule.prepare}
        """

    def attach(self, server: Server, build: Build) -> None:
        """
        The header comes before whatever any module does.
        """
        if any(listening.proxy_protocol for listening in server.listenings):
            seconds = server.scope[TIMEOUT] if server.opening_timeout is None else server.opening_timeout
            server.phases[Phase.POST_ACCEPT].insert(0, ProxyProtocolHandler(seconds))


proxy_protocol = ProxyProtocol()
