"""
ngx_stream_core_module: C{stream}, C{server}, C{listen}, C{server_name} and the preread limits; and how server blocks become
addresses to listen on.
"""

from __future__ import annotations

from typing import Any, Final

from twisted.plugin import IPlugin
from zope.interface import implementer

from sniproxy.config import values
from sniproxy.config.build import Build
from sniproxy.config.directives import MANY, Directive, Inherit, Repeat, Scope
from sniproxy.config.grammar import Node
from sniproxy.config.hostnames import Verdict, lower
from sniproxy.config.places import listen_addresses
from sniproxy.config.regex import Regex
from sniproxy.config.template import Variable
from sniproxy.errors import ConfigError
from sniproxy.interfaces import IModule
from sniproxy.logs.error_log import error_log_of
from sniproxy.stream.core_variables import CORE_VARIABLES
from sniproxy.stream.listening import Listen, Listening, ListenOptions
from sniproxy.stream.server import Server

_REFUSED: Final = {
    "udp": "datagrams are not carried yet",
    "proxy_protocol": "PROXY headers are not read yet",
    "multipath": "Twisted and Python give no way to ask for MPTCP here",
}

_ONLY_ELSEWHERE: Final = ("setfib=", "accept_filter=")


def _listen(node: Node, build: Build, scope: Scope) -> tuple[Listen, ...]:
    given: dict[str, Any] = {}
    ssl = default = False
    for word in node.args[1:]:
        name, equals, value = word.partition("=")
        if word == "ssl":
            ssl = True
            continue
        if word in ("default_server", "default"):
            default = True
            continue
        if word in _REFUSED:
            raise ConfigError(
                f'the "{word}" parameter of the "listen" directive is not supported by sniproxy: {_REFUSED[word]}'
            )
        if word.startswith(_ONLY_ELSEWHERE):
            raise ConfigError(f'{name} "{word}" is not supported on this platform, ignored')
        _option(word, name, equals, value, given)
    options = ListenOptions(**given, given=bool(given))
    addresses = listen_addresses(node.args[0], build.lookup)
    if options.keepalive is not None and addresses[0].family == "unix":
        raise ConfigError('"so_keepalive" parameter is not supported for unix domain sockets')
    return tuple(Listen(address, ssl, default, options, node) for address in addresses)


def _option(word: str, name: str, equals: str, value: str, given: dict[str, Any]) -> None:
    """
    One parameter that concerns the socket.
    """
    if word in ("deferred", "bind", "reuseport"):
        given[word] = True
    elif name == "ipv6only" and value in ("on", "off"):
        given["ipv6only"] = value == "on"
    elif name == "ipv6only" and equals:
        raise ConfigError(f'invalid ipv6only flags "{value}"')
    elif name in ("backlog", "fastopen") and equals:
        number = values.number_of(value)
        if number is None or (number == 0 and name == "backlog"):
            raise ConfigError(f'invalid {name} "{value}"')
        given[name] = number
    elif name in ("rcvbuf", "sndbuf") and equals:
        size = values.size_of(value)
        if not size:
            raise ConfigError(f'invalid {name} "{value}"')
        given["receive_buffer" if name == "rcvbuf" else "send_buffer"] = size
    elif name == "so_keepalive" and equals:
        given["keepalive"] = _keepalive(value)
    else:
        raise ConfigError(f'invalid parameter "{word}"')


def _keepalive(value: str) -> tuple[int | None, ...] | bool:
    """
    C{on}, C{off}, or C{[idle]:[interval]:[count]}.
    """
    if value in ("on", "off"):
        return value == "on"
    parts = value.split(":")
    fault = ConfigError(f'invalid so_keepalive value: "{value}"')
    if len(parts) != 3 or not any(parts):
        raise fault
    times = [values.time_of(part, seconds=True) if part else None for part in parts[:2]]
    count = values.number_of(parts[2]) if parts[2] else None
    if any(part and time is None for part, time in zip(parts, times, strict=False)) or (parts[2] and count is None):
        raise fault
    return (*(None if time is None else int(time) for time in times), count)


def _name(node: Node, build: Build, scope: Scope) -> tuple[Any, ...]:
    """
    Names in lower case, and L{Regex}es.
    """
    found: list[Any] = []
    for word in node.args:
        if word.startswith("~"):
            if len(word) == 1:
                raise ConfigError('empty regex in server name "~"')
            caseless = any(letter.isupper() for letter in word)
            regex = Regex(word[1:], caseless=caseless)
            for name in regex.names:
                build.define(Variable(name, lambda session, name=name: session.values.get(name)), node)
            found.append(regex)
        elif "/" in word:
            raise ConfigError(f'server name "{word}" has suspicious symbols')
        else:
            found.append(lower(word))
    return tuple(found)


STREAM: Final = Directive[Any]("stream", ("main",), (0, 0), values.block, None, opens="stream")
SERVER: Final = Directive[tuple[Scope, ...]](
    "server", ("stream",), (0, 0), values.block, (), Inherit.NEVER, Repeat.LISTED, opens="stream.server"
)
LISTEN: Final = Directive[tuple[tuple[Listen, ...], ...]](
    "listen", ("stream.server",), (1, MANY), _listen, (), Inherit.NEVER, Repeat.LISTED
)
SERVER_NAME: Final = Directive[tuple[tuple[Any, ...], ...]](
    "server_name", ("stream.server",), (1, MANY), _name, (), Inherit.NEVER, Repeat.LISTED
)
PREREAD_BUFFER_SIZE: Final = Directive("preread_buffer_size", ("stream", "stream.server"), (1, 1), values.size, 16384)
PREREAD_TIMEOUT: Final = Directive("preread_timeout", ("stream", "stream.server"), (1, 1), values.time, 30.0)
TCP_NODELAY: Final = Directive("tcp_nodelay", ("stream", "stream.server"), (1, 1), values.flag, True)


@implementer(IPlugin, IModule)
class Core:
    """
    The module; see L{assemble} for what it makes.
    """

    name = "stream_core"
    directives = (STREAM, SERVER, LISTEN, SERVER_NAME, PREREAD_BUFFER_SIZE, PREREAD_TIMEOUT, TCP_NODELAY)
    variables = tuple(CORE_VARIABLES)

    def prepare(self, build: Build) -> None:
        """
        @see: L{IModule.prepare}
        """

    def attach(self, server: Server, build: Build) -> None:
        """
        @see: L{IModule.attach}
        """


core = Core()

LISTENINGS: Final = "stream listenings"
"""The key in C{build.shared} of what L{assemble} makes."""


def listenings(build: Build) -> tuple[Listening, ...]:
    """
    The addresses of a configuration, in file order.
    """
    found: tuple[Listening, ...] = build.shared.get(LISTENINGS, ())
    return found


def assemble(build: Build) -> None:
    """
    Make the servers, let every module attach what it does in them, and find out which address belongs to whom.
    """
    found: dict[Any, Listening] = {}
    for stream in build.root.inside("stream"):
        for scope in stream.inside("stream.server"):
            names = tuple(name for names in scope[SERVER_NAME] for name in names)
            server = Server(scope, scope[LISTEN], error_log_of(build, scope), scope[TCP_NODELAY])
            server.names = tuple(name for name in names if isinstance(name, str))
            if not scope[LISTEN]:
                assert scope.node is not None
                build.error('no "listen" is defined for server', scope.node)
            mine: set[Any] = set()
            for listens in scope[LISTEN]:
                for listen in listens:
                    _join(build, found, listen, server, mine)
            for module in build.modules:
                try:
                    module.attach(server, build)
                except ConfigError as error:
                    build.error(error, scope.node)
            for key in mine:
                _name_on(build, found[key], names, server)
    for listening in found.values():
        listening.by_name = len(listening.servers) > 1
    build.shared[LISTENINGS] = tuple(found.values())


def _join(build: Build, found: dict[Any, Listening], listen: Listen, server: Server, mine: set[Any]) -> None:
    """
    Add a server to an address, by the rules of ngx_stream_add_listening.
    """
    key = listen.address
    text = listen.address.text
    if key in mine:
        build.error(f"a duplicate listen {text}", listen.node)
        return
    mine.add(key)
    known = found.get(key)
    if known is None:
        known = found[key] = Listening(listen.address, listen.options, listen.ssl, server, listen.node)
    elif listen.options.given:
        if known.options.given:
            build.error(f"duplicate listen options for {text}", listen.node)
        known.options = listen.options
    if known.servers and known.ssl != listen.ssl:
        build.warn(f"protocol options redefined for {text}", listen.node)
        known.ssl = known.ssl or listen.ssl
    known.servers.append(server)
    if listen.default_server:
        if known.default_node is not None:
            build.error(f"a duplicate default server for {text}", listen.node)
        known.default_node = listen.node
        known.default = server


def _name_on(build: Build, listening: Listening, names: tuple[Any, ...], server: Server) -> None:
    """
    Tell an address the names of one of its servers.
    """
    for name in names:
        if isinstance(name, Regex):
            listening.add_pattern(name, server)
        elif name:
            verdict = listening.add_name(name, server)
            node = server.scope.where(SERVER_NAME)
            if verdict is Verdict.INVALID:
                build.error(f'invalid server name or wildcard "{name}" on {listening.text}', node)
            elif verdict is Verdict.CONFLICT:
                build.warn(f'conflicting server name "{name}" on {listening.text}, ignored', node)
